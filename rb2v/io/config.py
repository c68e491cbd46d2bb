"""Rigs and raw directories: ``capture_configs/*.yaml``, ``capture.yaml``, ``take.yaml``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rb2v.artifacts import (
    CAMERAS,
    CameraResponse,
    Category,
    ChromaChoice,
    ColorMatrix,
    ColorRange,
    FormatOverride,
    RawDirectory,
    Rig,
    ScreenColor,
    Split,
    Take,
)
from rb2v.configuration import Gamma
from rb2v.errors import InputError, require_file
from rb2v.io.store import check_schema, read_text, validate

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

# Beside its own errors, the YAML reader lets through those of the values that it makes: a date such as 2024-13-01.
_YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)

_RATIO = re.compile(r"(\d{1,9})/([1-9]\d{0,8})", re.ASCII)
_PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


Settings = TypeVar("Settings")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _parse_rate(value: object) -> object:
    """Return a ratio such as 30000/1001 as a number, and anything else as it is."""
    match = _RATIO.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) / int(match[2]) if match is not None else value


_FrameRate = Annotated[float, BeforeValidator(_parse_rate), Field(gt=0, le=100_000)]


class _CameraDocument(_Strict):
    model: str
    frame_rate: _FrameRate
    chroma: ChromaChoice = "auto"


class _GammaDocument(_Strict):
    gamma: Gamma


_SidePx = Annotated[int, Field(gt=0, le=8192)]


class _RigDocument(_Strict):
    name: Annotated[str, Field(pattern=_PLAIN_NAME)]
    description: str = ""
    blurry: _CameraDocument
    sharp: _CameraDocument
    mirrored: bool | Literal["auto"]
    response: Literal["linear", "srgb"] | _GammaDocument
    upsampling: Annotated[int, Field(gt=0, le=16)]
    frames_per_sequence: Annotated[int, Field(gt=0, le=101)]
    blur_samples: Annotated[int, Field(gt=0, le=1001)]
    output_size: tuple[_SidePx, _SidePx]
    search_range_seconds: Annotated[float, Field(gt=0, le=60)]


class _CaptureDocument(_Strict):
    rig: str


_Stated = TypeVar("_Stated")


class _PerCamera(_Strict, Generic[_Stated]):
    blurry: _Stated | None = None
    sharp: _Stated | None = None


class _TakeDocument(_Strict):
    category: Category
    subject: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")]
    green_screen: bool
    screen: ScreenColor = "auto"
    split: Split | None = None
    blurry: Annotated[list[str], Field(min_length=1)] | None = None
    sharp: Annotated[list[str], Field(min_length=1)] | None = None
    capture_fps: _PerCamera[_FrameRate] = _PerCamera[_FrameRate]()
    color_matrix: _PerCamera[ColorMatrix] = _PerCamera[ColorMatrix]()
    color_range: _PerCamera[ColorRange] = _PerCamera[ColorRange]()


def _read_yaml(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # A few lines of aliases to aliases stand for more than any memory holds.
            raise InputError(path, "holds an alias (*name)", expected="plain values")
        _check_keys(path, yaml.compose(text, yaml.SafeLoader))
        document = yaml.safe_load(text)
    except _YAML_ERRORS as error:
        if isinstance(error, InputError):
            raise
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        reason = str(getattr(error, "problem", error)).splitlines() or [type(error).__name__]
        raise InputError(path, f"is not YAML ({reason[0]}{where})") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InputError(path, "holds no mapping", expected="lines of 'key: value'")
    return document


def _check_keys(path: Path, node: yaml.Node | None) -> None:
    """Check that no mapping has a key twice, of which YAML's reader would take the last one."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if key.value in seen:
            raise InputError(path, f"is given twice, the second time in line {key.start_mark.line + 1}", str(key.value))
        seen.add(key.value)
        _check_keys(path, value)


def _read_versioned_yaml(path: Path) -> dict[str, Any]:
    document = _read_yaml(path)
    check_schema(path, document)
    return {key: value for key, value in document.items() if key != "schema"}


def read_settings(settings_type: type[Settings], path: Path) -> Settings:
    """Read a stage's settings from a YAML file of ``key: value`` lines; keys that are not there have their defaults.

    A camera response may be written as in a rig's file, ``{gamma: 2.2}``, or as the exponent alone.

    Parameters
    ----------
    settings_type : type
        The stage's frozen config.
    path : Path
        The file.

    Raises
    ------
    InputError
        If a key is unknown, of the wrong kind, or has a value that cannot be.
    """
    document = _read_yaml(path)
    if isinstance(document.get("response"), dict):
        document["response"] = validate(_GammaDocument, document["response"], path).gamma
    return validate(settings_type, document, path)


def rig_folder() -> Path:
    """Return the folder in which rigs are looked for by name, which is data of the package."""
    return Path(str(files("rb2v") / "capture_configs"))


def find_rig(name: str, relative_to: Path | None = None) -> Path:
    """Return the file of a rig given by name or by path.

    Parameters
    ----------
    name : str
        Name of a file in ``capture_configs`` without its suffix, or a path.
    relative_to : Path, optional
        Folder from which a relative path counts.

    Raises
    ------
    InputError
        If there is no such rig; the message lists the known names.
    """
    if name.endswith((".yaml", ".yml")):
        return (relative_to or Path()) / name
    if (rig_folder() / f"{name}.yaml").is_file():
        return rig_folder() / f"{name}.yaml"
    raise InputError(
        name, "there is no such rig", expected=f"one of {', '.join(list_rigs())}, or the path of a YAML file"
    )


def list_rigs() -> dict[str, Path]:
    """Return the file of every rig that is known by name, in the order of the names."""
    return {path.stem: path for path in sorted(rig_folder().glob("*.yaml"))}


def read_rig_description(path: Path) -> str:
    """Read for whom a rig is, in a line or two, from its YAML file; empty where it does not say.

    Raises
    ------
    InputError
        If the file is not a valid rig.
    """
    return validate(_RigDocument, _read_versioned_yaml(path), path).description


def read_rig(path: Path) -> Rig:
    """Read a rig from its YAML file.

    Raises
    ------
    InputError
        If a key is unknown, missing, of the wrong kind, or contradicts another.
    """
    document = validate(_RigDocument, _read_versioned_yaml(path), path)
    response: CameraResponse = (
        document.response.gamma if isinstance(document.response, _GammaDocument) else document.response
    )
    try:
        return Rig(
            name=document.name,
            blurry_model=document.blurry.model,
            sharp_model=document.sharp.model,
            blurry_fps=document.blurry.frame_rate,
            sharp_fps=document.sharp.frame_rate,
            mirrored=None if document.mirrored == "auto" else document.mirrored,
            response=response,
            upsampling=document.upsampling,
            frames_per_sequence=document.frames_per_sequence,
            blur_samples=document.blur_samples,
            output_size=document.output_size,
            search_range_seconds=document.search_range_seconds,
            blurry_chroma=document.blurry.chroma,
            sharp_chroma=document.sharp.chroma,
        )
    except ValueError as error:
        raise InputError(path, str(error)) from error


def read_raw_directory(root: Path) -> RawDirectory:
    """Read the rig and the calibration captures of a raw directory; no image is opened.

    Raises
    ------
    InputError
        If the folder, the description or the rig that it names is missing or wrong.
    """
    if not root.is_dir():
        raise InputError(root, "there is no such folder", expected="a raw directory")
    capture_path = root / "capture.yaml"
    require_file(capture_path, "a raw directory with capture.yaml in it")
    capture = validate(_CaptureDocument, _read_versioned_yaml(capture_path), capture_path)
    try:
        rig_path = find_rig(capture.rig, relative_to=root)
        if not rig_path.is_file():
            raise InputError(rig_path, "there is no such rig", expected="a rig's name, or the path of a YAML file")
    except InputError as error:
        raise InputError(capture_path, f"{capture.rig!r}: {error.problem}", "rig", error.expected) from error
    return RawDirectory(
        root=root,
        rig=read_rig(rig_path),
        geometry_pairs=_find_geometry_pairs(root / "calibration" / "geometry"),
        color_pair=_find_color_pair(root / "calibration" / "color"),
    )


def read_takes(root: Path, *, on_fault: Callable[[str, InputError], None] | None = None) -> tuple[Take, ...]:
    """Read the takes of a raw directory, in the order of their names; no video is opened.

    Folders whose name starts with a dot are not takes.

    Parameters
    ----------
    root : Path
        The raw directory.
    on_fault : callable, optional
        Called with the name of a take that cannot be read and the fault, which is raised by default.

    Raises
    ------
    InputError
        If there is no take, a description is wrong, or a video is missing.
    """
    folder = root / "takes"
    folders = [child for child in sorted(folder.glob("*")) if child.is_dir() and not _is_hidden(child)]
    if not folders:
        raise InputError(folder, "holds no take", expected="a folder per take, with take.yaml and two videos")
    takes = []
    for child in folders:
        try:
            takes.append(read_take(child))
        except InputError as error:
            if on_fault is None:
                raise
            on_fault(child.name, error)
    return tuple(takes)


def read_take(folder: Path) -> Take:
    """Read ``take.yaml`` of a take's folder and find the files that belong to it.

    Raises
    ------
    InputError
        If the description is wrong or a video is missing.
    """
    path = folder / "take.yaml"
    if re.fullmatch(_PLAIN_NAME, folder.name) is None:
        name = folder.name.encode(errors="backslashreplace").decode()
        raise InputError(folder.parent, f"{name!r} is not a name for a take", expected="letters, digits and . _ -")
    document = validate(_TakeDocument, _read_yaml(path), path)
    chapters = {camera: _find_videos(folder, camera, getattr(document, camera), path) for camera in CAMERAS}
    plates = {camera: _find_plate(folder / f"plate_{camera}.png") for camera in CAMERAS}
    blurry_format, sharp_format = (
        FormatOverride(
            capture_fps=getattr(document.capture_fps, camera),
            color_matrix=getattr(document.color_matrix, camera),
            color_range=getattr(document.color_range, camera),
        )
        for camera in CAMERAS
    )
    return Take(
        name=folder.name,
        category=document.category,
        subject=document.subject,
        green_screen=document.green_screen,
        split=document.split,
        blurry=chapters["blurry"],
        sharp=chapters["sharp"],
        plate_blurry=plates["blurry"],
        plate_sharp=plates["sharp"],
        blurry_format=blurry_format,
        sharp_format=sharp_format,
        screen=document.screen,
    )


def _find_plate(path: Path) -> Path | None:
    if path.is_file():
        return path
    if os.path.lexists(path):
        raise InputError(path, "is not a file", expected="an image, or nothing of this name")
    return None


def _find_videos(folder: Path, camera: str, listed: list[str] | None, take_path: Path) -> tuple[Path, ...]:
    if listed is not None:
        for name in listed:
            if Path(name).name != name:
                raise InputError(take_path, f"{name!r} is not a plain file name", camera, "files of the take's folder")
    paths = tuple(folder / name for name in (listed or [f"{camera}.mp4"]))
    for path in paths:
        require_file(path, f"the {camera} camera's video")
    return paths


def _is_hidden(path: Path) -> bool:
    # Left by notebooks, file managers and archives, beside what was recorded.
    return path.name.startswith(".")


def _find_geometry_pairs(folder: Path) -> tuple[tuple[Path, Path], ...]:
    names = {
        camera: {
            path.name
            for path in (folder / camera).glob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(path)
        }
        for camera in CAMERAS
    }
    for camera, other in zip(CAMERAS, reversed(CAMERAS), strict=True):
        lonely = sorted(names[camera] - names[other])
        if lonely:
            raise InputError(
                folder / camera / lonely[0], f"has no partner in {folder / other}", expected="pairs by name"
            )
    return tuple((folder / "blurry" / name, folder / "sharp" / name) for name in sorted(names["blurry"]))


def _find_color_pair(folder: Path) -> tuple[Path, Path] | None:
    paths = {camera: folder / f"{camera}.png" for camera in CAMERAS}
    present = [camera for camera in CAMERAS if paths[camera].is_file()]
    if not present:
        return None
    for camera in CAMERAS:
        if camera not in present:
            raise InputError(paths[camera], "there is no such file", expected="the checker seen by both cameras")
    return paths["blurry"], paths["sharp"]

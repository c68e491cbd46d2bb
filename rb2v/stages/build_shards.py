"""Data set from aligned takes: split by subject, green screens replaced, written as shards."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v import __version__
from rb2v.artifacts import REASONS, SPLITS, CameraResponse, Category, Crop, Split
from rb2v.core.color import encode, to_linear
from rb2v.core.compositing import blur_residual_psnr, composite
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.aligned import (
    MANIFEST_NAME,
    AlignedManifest,
    AlignedSample,
    AlignedTakeReader,
    aligned_take_path,
    read_aligned_manifest,
)
from rb2v.io.store import output_folder, validate
from rb2v.matting import Matte, TakeMatter, check_matter, fit_to_take, make_matter
from rb2v.matting.backgrounds import Picture, draw_background, find_pictures, locate_pictures, match_light
from rb2v.shards import Manifest, Provenance, ShardSample
from rb2v.shards.builder import Progress, ShardPlan, samples_per_shard, write_data_set
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.matte import CompositeLimits, digest_weights, measure_composites

logger = logging.getLogger(__name__)

_BROKEN = REASONS["matte"]


@dataclass(frozen=True)
class BuildShardsConfig:
    """How aligned takes become a data set."""

    output_size: tuple[int, int] | None = None
    """Width and height of the frames in pixels; None keeps the aligned takes'."""
    test_share: float = 0.2
    """Share for the test split: of the subjects of a category, where their takes do not say, and of the backgrounds."""
    shard_samples: int = 128
    """Most samples of one shard."""
    matter: str | None = None
    """What tells the foreground of green-screen takes; None takes what they were aligned with."""
    light_match: bool = False
    """Whether a background's brightness and white balance are brought nearer to the foreground's."""
    seed: int = 0
    """Seed of the split of the subjects, and of what is drawn from the backgrounds."""

    def __post_init__(self) -> None:
        if self.output_size is not None and min(self.output_size) < 1:
            raise ValueError(f"output_size must be positive, got {self.output_size}")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share must be at least 0 and less than 1, got {self.test_share}")
        if self.shard_samples < 1:
            raise ValueError(f"shard_samples must be at least 1, got {self.shard_samples}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.matter is not None:
            check_matter(self.matter)


@dataclass(frozen=True)
class _TakeRecord:
    """What the plan needs to know of an aligned take."""

    name: str
    category: Category
    subject: str
    green_screen: bool
    split: Split | None
    samples: int
    frames_per_sequence: int
    digest: str
    """Of everything but the frames, for which the digest of what they were made from stands."""
    is_judged: bool
    """Whether every accepted frame's composites were measured, where its screen is to be replaced."""


@dataclass(frozen=True)
class _Window:
    """The part of the aligned frames that is kept, and the size that it is brought to."""

    x: int
    y: int
    width: int
    height: int
    output_size: tuple[int, int]

    def cut(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of (..., H, W, 3) frames."""
        part = frames[..., self.y : self.y + self.height, self.x : self.x + self.width, :]
        return np.ascontiguousarray(part)

    def keeps_all(self, size: tuple[int, int]) -> bool:
        """Return whether the part is the whole of frames of a width and height."""
        return (self.x, self.y, self.width, self.height) == (0, 0, *size)

    @property
    def resizes(self) -> bool:
        """Whether the part is not of the output size yet."""
        return (self.width, self.height) != self.output_size


_Part = tuple[str, Sequence[int]]  # a take, and some of its accepted frames


@dataclass(frozen=True)
class _AlignedMatter:
    """What the align stage says of mattes in its configuration; the defaults are for folders that it left without."""

    matter: str = "chroma"
    weights_sha256: str | None = None
    min_composite_psnr_db: float = AlignConfig.min_composite_psnr_db
    min_explained_psnr_db: float = AlignConfig.min_explained_psnr_db

    @property
    def limits(self) -> CompositeLimits:
        """What composites have to reach."""
        return CompositeLimits(self.min_composite_psnr_db, self.min_explained_psnr_db)


@dataclass(frozen=True)
class _AlignedSettings:
    config: _AlignedMatter


@dataclass(frozen=True)
class _Keying:
    """How green-screen takes are keyed."""

    matter: str
    weights: Path | None
    weights_sha256: str | None
    as_aligned: bool
    """Whether the takes were judged by the same matter."""
    limits: CompositeLimits
    """Samples whose composites do not reach them are left out."""


@dataclass(frozen=True)
class _Recipe:
    """What all shards have in common."""

    aligned_dir: Path
    config: BuildShardsConfig
    response: CameraResponse
    aligned_size: tuple[int, int]
    window: _Window
    keying: _Keying
    backgrounds: Mapping[Split, tuple[Picture, ...]]


def run(
    aligned_dir: Path,
    out_dir: Path,
    config: BuildShardsConfig | None = None,
    *,
    weights: Path | None = None,
    backgrounds: Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build a data set and return its manifest; finished shards are skipped.

    Green-screen takes that were not judged by the same matter and weights when they were aligned, or of which only a
    part is kept, are judged before the shards are planned.

    Parameters
    ----------
    aligned_dir : Path
        A folder that ``rb2v align`` wrote.
    out_dir : Path
        The folder to write, new, empty, or left by an interrupted run of the same configuration.
    config : BuildShardsConfig, optional
        How to build.
    weights : Path, optional
        File of the matter's weights, for one that has some.
    backgrounds : Path, optional
        A folder of pictures to put behind green-screen takes; photographs of scikit-image by default.
    executor : Executor, optional
        Where the shards are written; here, by default.
    progress : callable, optional
        Called with the number of samples written and their total.

    Raises
    ------
    InputError
        If the aligned takes or the backgrounds cannot be used, no sample is accepted, a subject is in both splits, or
        the weights are not those that the takes were aligned with.
    """
    config = config or BuildShardsConfig()
    executor = executor or SerialExecutor()
    aligned = read_aligned_manifest(aligned_dir)
    takes = [_read_take(aligned_dir, name) for name in sorted(aligned.takes)]
    takes = [take for take in takes if take.samples]
    if not takes:
        raise InputError(aligned_dir, "no take holds an accepted frame", expected="at least one; see alignment.csv")
    if len({take.frames_per_sequence for take in takes}) > 1:
        raise InputError(aligned_dir, "takes differ in the number of sharp frames", expected="takes of one rig")
    split_of = _split_subjects(takes, config, aligned_dir)
    green_splits = {split_of[take.subject] for take in takes if take.green_screen}
    window = _fit_window(aligned.output_size, config.output_size, aligned_dir)
    pictures = find_pictures(backgrounds, green_splits, (window.width, window.height), config.test_share)
    keying = _choose_keying(aligned, aligned_dir, config, weights, is_needed=bool(green_splits))
    build = {
        **dataclasses.asdict(config),
        "matter": keying.matter,
        "weights_sha256": keying.weights_sha256,
        "backgrounds": {split: {one.path.name: one.sha256 for one in found} for split, found in pictures.items()},
    }
    provenance = Provenance(
        version=__version__,
        config={"align": aligned.config, "build_shards": build},
        calibration_sha256=aligned.calibration_sha256,
        seeds={"build_shards": config.seed},
        response=aligned.response,
    )
    settings = {**dataclasses.asdict(provenance), "takes": {take.name: take.digest for take in takes}}
    with output_folder(out_dir, settings):
        recipe = _Recipe(aligned_dir, config, aligned.response, aligned.output_size, window, keying, pictures)
        kept = _choose_samples(takes, recipe, executor)
        left_out = {take.name: take.samples - len(kept[take.name]) for take in takes}
        build |= {"left_out": {name: n_samples for name, n_samples in left_out.items() if n_samples}}
        provenance = dataclasses.replace(provenance, config={"align": aligned.config, "build_shards": build})
        limit = samples_per_shard(window.output_size, takes[0].frames_per_sequence, config.shard_samples)
        template = Manifest(
            rig=aligned.rig,
            output_size=window.output_size,
            crop=_cropped(aligned.crop, window, aligned.output_size),
            splits={},
            provenance=provenance,
            frames_per_sequence=takes[0].frames_per_sequence,
        )
        plans = list(_plan_shards(takes, kept, split_of, limit, recipe))
        return write_data_set(out_dir, plans, template, executor=executor, progress=progress)


def _read_take(folder: Path, name: str) -> _TakeRecord:
    path = aligned_take_path(folder, name)
    with AlignedTakeReader(path) as reader:
        if reader.name != name:
            raise InputError(path, f"holds the take {reader.name!r}", expected=name)
        said = (reader.category, reader.subject, reader.green_screen, reader.split, reader.inputs_sha256)
        digest = hashlib.sha256(repr(said).encode())
        plate = np.empty(0, dtype=np.uint8) if reader.plate is None else reader.plate
        for column in (reader.blurry_index, reader.position, reader.psnr, reader.color, plate):
            digest.update(np.ascontiguousarray(column).tobytes())
        return _TakeRecord(
            name=name,
            category=reader.category,
            subject=reader.subject,
            green_screen=reader.green_screen,
            split=reader.split,
            samples=len(reader),
            frames_per_sequence=len(reader.read(0).sharp) if len(reader) else 0,
            digest=digest.hexdigest(),
            is_judged=not reader.green_screen
            or not any(frame.accepted and math.isnan(frame.composite_psnr) for frame in reader.read_frames()),
        )


def _choose_keying(
    aligned: AlignedManifest, aligned_dir: Path, config: BuildShardsConfig, weights: Path | None, *, is_needed: bool
) -> _Keying:
    """Return the matter that was asked for, or that the takes were aligned with, once it is known to be there."""
    path = aligned_dir / MANIFEST_NAME
    names = {field.name for field in dataclasses.fields(_AlignedMatter)}
    settings = {name: value for name, value in aligned.config.items() if name in names}
    # Named as a part of the manifest, so that a message says where it is.
    said = validate(_AlignedSettings, {"config": settings}, path).config
    matter = config.matter or said.matter
    if not is_needed:
        return _Keying(matter, None, None, True, said.limits)
    if config.matter is None and said.weights_sha256 is not None and weights is None:
        problem = f"the takes were keyed by the matter {matter!r} with weights of SHA-256 {said.weights_sha256}"
        raise InputError(path, problem, "config.weights_sha256", "that file as --weights, or another --matter")
    make_matter(matter, weights)
    weights_sha256 = digest_weights(weights)
    as_aligned = (matter, weights_sha256) == (said.matter, said.weights_sha256)
    if config.matter is None and weights is not None and not as_aligned:
        expected = f"{said.weights_sha256} by {path}, or the matter as --matter, to judge the takes anew"
        raise InputError(weights, f"has the SHA-256 {weights_sha256}", expected=expected)
    return _Keying(matter, weights, weights_sha256, as_aligned, said.limits)


def _choose_samples(takes: Sequence[_TakeRecord], recipe: _Recipe, executor: Executor) -> dict[str, Sequence[int]]:
    """Return which accepted frames of each take become samples, after a look at those that were not judged so yet."""
    kept: dict[str, Sequence[int]] = {take.name: range(take.samples) for take in takes}
    as_aligned = recipe.keying.as_aligned and recipe.window.keeps_all(recipe.aligned_size)
    asked = [take for take in takes if take.green_screen and not (as_aligned and take.is_judged)]
    for take, indices in zip(asked, executor.map(partial(_judge_take, recipe), [t.name for t in asked]), strict=True):
        if len(indices) < take.samples:
            kept[take.name] = indices
            n_left_out = take.samples - len(indices)
            logger.warning("%s: %d of %d samples are left out: %s", take.name, n_left_out, take.samples, _BROKEN)
    if not any(map(len, kept.values())):
        limits, matter = recipe.keying.limits, recipe.keying.matter
        problem = (
            f"no composite reaches {limits.composite_psnr_db:g} dB, and explains its frame to "
            f"{limits.explained_psnr_db:g} dB, by the matter {matter!r}"
        )
        raise InputError(recipe.aligned_dir, problem, expected="at least one")
    return kept


def _judge_take(recipe: _Recipe, name: str) -> tuple[int, ...]:
    """Return the accepted frames of a take whose composites are what eq. (1) says."""
    with AlignedTakeReader(aligned_take_path(recipe.aligned_dir, name)) as reader:
        _read_sample(reader, 0, recipe)  # whose size is checked
        matter = make_matter(recipe.keying.matter, recipe.keying.weights)
        checks = measure_composites(reader, matter, recipe.response, recipe.window.cut)
        return tuple(index for index, check in enumerate(checks) if recipe.keying.limits.admit(check))


def _split_subjects(takes: Sequence[_TakeRecord], config: BuildShardsConfig, aligned_dir: Path) -> dict[str, Split]:
    """Give every subject its split: what its takes say, or else by a seeded draw within its category."""
    split_of: dict[str, Split] = {}
    said_by: dict[str, str] = {}
    for take in takes:
        if take.split is None:
            continue
        if split_of.setdefault(take.subject, take.split) != take.split:
            raise InputError(
                aligned_dir,
                f"takes {said_by[take.subject]!r} and {take.name!r} show the subject {take.subject!r}, "
                f"one for {split_of[take.subject]} and one for {take.split}",
                "split",
                expected="all takes of a subject in one split",
            )
        said_by.setdefault(take.subject, take.name)
    free: defaultdict[Category, list[str]] = defaultdict(list)
    for take in takes:
        if take.subject not in split_of and not any(take.subject in subjects for subjects in free.values()):
            free[take.category].append(take.subject)
    for subjects in free.values():
        # A test split is wanted wherever two subjects leave one for training.
        n_test = max(round(config.test_share * len(subjects)), int(config.test_share > 0 and len(subjects) > 1))
        drawn = sorted(subjects, key=lambda subject: hashlib.sha256(f"{config.seed}/{subject}".encode()).digest())
        for index, subject in enumerate(drawn):
            split_of[subject] = "test" if index < min(n_test, len(drawn) - 1) else "train"
    return split_of


def _fit_window(size: tuple[int, int], output_size: tuple[int, int] | None, source: Path) -> _Window:
    """Return the largest central part that has the output's aspect."""
    width, height = size
    out_width, out_height = output_size or size
    if out_width > width or out_height > height:
        raise InputError(
            source, f"its frames are {width}x{height}", expected=f"at least the output size, {out_width}x{out_height}"
        )
    scale = min(width / out_width, height / out_height)
    part = (min(width, round(out_width * scale)), min(height, round(out_height * scale)))
    return _Window((width - part[0]) // 2, (height - part[1]) // 2, *part, (out_width, out_height))


def _cropped(crop: Crop, window: _Window, size: tuple[int, int]) -> Crop:
    scale_x, scale_y = crop.width / size[0], crop.height / size[1]
    return Crop(
        crop.x + round(window.x * scale_x),
        crop.y + round(window.y * scale_y),
        max(1, round(window.width * scale_x)),
        max(1, round(window.height * scale_y)),
    )


def _plan_shards(
    takes: Sequence[_TakeRecord],
    kept: Mapping[str, Sequence[int]],
    split_of: Mapping[str, Split],
    limit: int,
    recipe: _Recipe,
) -> Iterator[ShardPlan]:
    for split in SPLITS:
        parts: list[list[_Part]] = []
        room = 0
        for take in takes:
            left = kept[take.name]
            while split_of[take.subject] == split and left:
                if room == 0:
                    parts.append([])
                    room = limit
                chosen, left = left[:room], left[room:]
                parts[-1].append((take.name, chosen))
                room -= len(chosen)
        for part in parts:
            samples = sum(len(indices) for _, indices in part)
            yield ShardPlan(split, samples, partial(_iter_samples, part, split, recipe))


def _iter_samples(parts: Sequence[_Part], split: Split, recipe: _Recipe) -> Iterator[ShardSample]:
    for name, indices in parts:
        with AlignedTakeReader(aligned_take_path(recipe.aligned_dir, name)) as reader:
            matter = None
            if reader.green_screen:
                unfitted = make_matter(recipe.keying.matter, recipe.keying.weights)
                matter = fit_to_take(reader, unfitted, recipe.response, recipe.window.cut)
            for index in indices:
                sample = _read_sample(reader, index, recipe)
                composite_psnr = math.nan
                blurry_index = int(reader.blurry_index[index])
                if matter is not None:
                    pictures, seed = recipe.backgrounds[split], recipe.config.seed
                    background = _draw_background(pictures, recipe.window, seed, name, blurry_index)
                    sample = _replace_screen(sample, matter, background, recipe)
                    light = (to_linear(frames, recipe.response) for frames in (sample.sharp, sample.blurry))
                    composite_psnr = blur_residual_psnr(*light)
                elif recipe.window.resizes:
                    frames = [
                        _finish(to_linear(frame, recipe.response), recipe.window, recipe.response)
                        for frame in (sample.blurry, *sample.sharp)
                    ]
                    sample = AlignedSample(frames[0], np.stack(frames[1:]))
                yield ShardSample(
                    blurry=sample.blurry,
                    sharp=sample.sharp,
                    color=reader.color[index],
                    take=name,
                    subject=reader.subject,
                    category=reader.category,
                    blurry_index=blurry_index,
                    position=int(reader.position[index]),
                    psnr=float(reader.psnr[index]),
                    composite_psnr=composite_psnr,
                )


def _read_sample(reader: AlignedTakeReader, index: int, recipe: _Recipe) -> AlignedSample:
    sample = reader.read(index)
    width, height = recipe.aligned_size
    for frame in (sample.blurry, sample.sharp[0]):
        if frame.shape != (height, width, 3):
            found = f"{frame.shape[1]}x{frame.shape[0]}"
            raise InputError(reader.path, f"its frames are {found}", expected=f"{width}x{height} by the manifest")
    return AlignedSample(recipe.window.cut(sample.blurry), recipe.window.cut(sample.sharp))


def _draw_background(
    pictures: Sequence[Picture], window: _Window, seed: int, take: str, blurry_index: int
) -> NDArray[np.float32]:
    scale = window.width / window.output_size[0]
    return draw_background(pictures, (window.width, window.height), seed, take, blurry_index, scale)


def _replace_screen(
    sample: AlignedSample, matter: TakeMatter, background_linear: NDArray[np.float32], recipe: _Recipe
) -> AlignedSample:
    sharp, blurry = matter.matte(sample.sharp, sample.blurry)
    window, response = recipe.window, recipe.response
    if recipe.config.light_match:
        background_linear = match_light(background_linear, blurry)
    return AlignedSample(
        _finish(composite(blurry.premultiplied_linear, blurry.alpha, background_linear), window, response),
        np.stack(
            [
                _finish(composite(foreground, alpha, background_linear), window, response)
                for foreground, alpha in zip(sharp.premultiplied_linear, sharp.alpha, strict=True)
            ]
        ),
    )


def _finish(image_linear: NDArray[np.float32], window: _Window, response: CameraResponse) -> NDArray[np.uint8]:
    """Bring a picture to the output size in linear light, where the mean of frames stays their mean, and code it."""
    if window.resizes:
        image_linear = np.asarray(cv2.resize(image_linear, window.output_size, interpolation=cv2.INTER_AREA))
    return encode(image_linear, response)


@dataclass(frozen=True)
class _Drawn:
    """What a manifest says of the backgrounds."""

    seed: int
    light_match: bool
    backgrounds: Mapping[Split, Mapping[str, str]]


class Recompositor:
    """Lays other foregrounds over the very backgrounds that the samples of a data set have.

    Parameters
    ----------
    manifest : Manifest
        Of the data set.
    source : Path
        The manifest's file, which messages name.
    aligned_size : tuple of int
        Width and height of the aligned frames in pixels.
    response : {"linear", "srgb"} or float
        The camera's response.
    pictures_dir : Path, optional
        The folder that the data set was built with; the packaged pictures by default.

    Raises
    ------
    InputError
        If the manifest does not say what was drawn, or a picture is not the one that was drawn from.
    """

    def __init__(
        self,
        manifest: Manifest,
        source: Path,
        aligned_size: tuple[int, int],
        response: CameraResponse,
        pictures_dir: Path | None = None,
    ) -> None:
        build = manifest.provenance.config.get("build_shards")
        names = {field.name for field in dataclasses.fields(_Drawn)}
        said = {name: value for name, value in build.items() if name in names} if isinstance(build, dict) else {}
        self._drawn = validate(_Drawn, said, source)
        self._pictures = {
            split: locate_pictures(digests, pictures_dir) for split, digests in self._drawn.backgrounds.items()
        }
        self._window = _fit_window(aligned_size, manifest.output_size, source)
        self._response = response

    def cut(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of aligned (..., H, W, 3) frames that was kept, and keyed."""
        return self._window.cut(frames)

    def cut_alpha(self, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the same part of (H, W) alphas."""
        window = self._window
        return alpha[window.y : window.y + window.height, window.x : window.x + window.width]

    def background(self, split: Split, take: str, blurry_index: int, blurry: Matte) -> NDArray[np.float32]:
        """Return the background of a sample.

        Parameters
        ----------
        split : {"train", "test"}
            Where the sample is.
        take : str
            Its take.
        blurry_index : int
            Index of its blurry frame.
        blurry : Matte
            Of that frame, to which the light was matched where that was asked for.

        Returns
        -------
        (H, W, 3) ndarray of float32
            RGB in linear light, as large as what `cut` returns.
        """
        pictures = self._pictures[split]
        background_linear = _draw_background(pictures, self._window, self._drawn.seed, take, blurry_index)
        return match_light(background_linear, blurry) if self._drawn.light_match else background_linear

    def lay(self, matte: Matte, background_linear: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the composite of one frame, as the data set would hold it.

        Parameters
        ----------
        matte : Matte
            Of one frame, as large as the aligned frames or as what `cut` returns.
        background_linear : (H, W, 3) ndarray of float32
            See `background`.

        Returns
        -------
        (height, width, 3) ndarray of uint8
            RGB, of the data set's size.
        """
        alpha, foreground = matte.alpha, matte.premultiplied_linear
        if alpha.shape != background_linear.shape[:2]:
            planes = [self.cut_alpha(foreground[..., channel]) for channel in range(3)]
            alpha, foreground = self.cut_alpha(alpha), np.stack(planes, axis=-1)
        return _finish(composite(foreground, alpha, background_linear), self._window, self._response)

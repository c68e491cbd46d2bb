"""Images, folders of them and videos, and the videos, images and folders of their sharp frames."""

from __future__ import annotations

import dataclasses
import errno
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.blur2vid.backbones import Backbone
from rb2v.blur2vid.deblur import (
    check_guided,
    digest_run,
    load_network,
    prepare_image,
    reblur_psnr,
    recover_frames,
)
from rb2v.blur2vid.direction import chain_sequences
from rb2v.blur2vid.predictor.sampling import describe_guidance
from rb2v.core.motion_classes import paint
from rb2v.deblurring.config import MAX_FPS, DeblurConfig
from rb2v.deblurring.guiding import Guide
from rb2v.device import check_torch_device
from rb2v.errors import InputError, Rb2vError
from rb2v.io.container import VIDEO_SUFFIXES
from rb2v.io.encoder import make_even, write_video
from rb2v.io.partial import scratch_folder
from rb2v.io.photo import PHOTO_SUFFIXES, natural_key, read_photo
from rb2v.io.store import SCHEMA, output_folder, whole_file
from rb2v.io.video import iter_frames, probe_video, write_gif, write_image
from rb2v.progress import Progress

DEFAULT_FPS = 10.0  # frames per second: seven frames in 0.7 s, slow enough to follow

_MAX_FPS = {"mp4": MAX_FPS, "gif": 50.0}  # what viewers of GIF keep up with
_MAX_SIDE_PX = {"mp4": 16_384, "gif": 65_535}
_FRAME_NAME = re.compile(r"frame_\d+\.png")

logger = logging.getLogger(__name__)

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Deblurred:
    """An image or video that is done."""

    source: Path
    out: Path
    reblur_psnr: float | None
    """Of the mean of the frames against the blurry image, in dB, the mean over the frames of a video; None where it
    was done before."""
    guidance: str | None = None
    """Directions of most of what moves, where guidance was given."""


def deblur_files(
    source: Path,
    out: Path,
    config: DeblurConfig | None = None,
    *,
    run: Path | None = None,
    guide: Guide | None = None,
    neighbor: Path | None = None,
    device: str = "auto",
    on_done: Callable[[Deblurred], None] | None = None,
    progress: Progress | None = None,
) -> list[Deblurred]:
    """Write the sharp frames of an image, of every image of a folder, or of every frame of a video.

    What is written is atomic. Of a folder, images that are done and have not changed since are skipped, and
    what cannot be read does not keep the others from being written.

    Parameters
    ----------
    source : Path
        An image, a folder of images, or a video each of whose frames is blurry.
    out : Path
        For an image a .mp4 or .gif file, or a folder for frame_1.png and so on. For a folder a folder, in which every
        output has its image's name. For a video a .mp4 file.
    config : DeblurConfig, optional
        How.
    run : Path, optional
        A checkpoint of ``rb2v train-blur2vid``, or the folder of its run; the weights that rb2v ships by default.
    guide : Guide, optional
        Where motion guidance comes from, for a network that was trained with it. Where it makes several maps, a single
        image becomes as many outputs, each named by its guidance, which is written beside it.
    neighbor : Path, optional
        The image that followed a single one, where the guide needs it.
    device : {"auto", "cpu", "cuda"}
        Where to compute; "auto" takes CUDA where there is one.
    on_done : callable, optional
        Called with each that is done.
    progress : callable, optional
        Called with the work done, all of it, and what it is.

    Returns
    -------
    list of Deblurred
        In the natural order of their names, in which image 10 follows image 9.

    Raises
    ------
    InputError
        If an image cannot be read or holds what is not finite, the output cannot be of that kind, or stands in the
        way of something else, the run cannot be read, or an option does not suit the output.
    Rb2vError
        If some images of a folder could not be used; the others are done.
    """
    config = config or DeblurConfig()
    show = progress or (lambda done, total, label: None)
    if not source.exists():
        raise InputError(source, "there is no such file", expected="an image, a folder of images, or a video")
    check_torch_device(device)
    job = _Job(config, run, guide, device, show)
    if neighbor is not None and (source.is_dir() or source.suffix.lower() in VIDEO_SUFFIXES):
        raise InputError("options", "is for a single image", "neighbor", "none: files of a folder have their own")
    if source.is_dir():
        return _deblur_folder(source, out, job, on_done)
    if config.format is not None:
        raise InputError("options", "is for a folder of images", "format", "an output whose suffix tells it")
    kind = _kind_of(out)
    _check_kind(kind, config)
    if out.exists() and out.samefile(source):
        raise InputError(out, "is the input", expected="another file to write to")
    if source.suffix.lower() in VIDEO_SUFFIXES:
        finished = [_deblur_video(source, out, kind, job)]
    else:
        _check_target(out, kind)
        image = prepare_image(read_photo(source), source)
        beside = None if neighbor is None else prepare_image(read_photo(neighbor), neighbor)
        maps = [None] if guide is None else guide.guide(image, neighbor=beside)
        network = job.load()
        is_named = guide is not None and guide.is_named
        finished = []
        for place, classes in enumerate(maps, start=1):
            target = _name_sample(out, place, classes) if is_named and classes is not None else out
            _check_target(target, kind)
            finished.append(_deblur_picture(network, _Picture(source, image, classes), target, kind, job))
            if is_named and classes is not None:
                write_image(target.with_name(f"{target.stem}.guidance.png"), paint(classes))
    if on_done is not None:
        for done in finished:
            on_done(done)
    return finished


@dataclass(frozen=True)
class _Job:
    """What all images of a call share."""

    config: DeblurConfig
    run: Path | None
    guide: Guide | None
    device: str
    show: Progress

    def load(self) -> Backbone:
        """Load the network, and check that it is given guidance if, and only if, it needs some."""
        network = load_network(self.run, self.device)
        check_guided(network, "guidance", is_given=self.guide is not None)
        return network


@dataclass(frozen=True, eq=False)
class _Picture:
    """A blurry image and its guidance."""

    source: Path
    image: NDArray[np.float32]
    guidance: NDArray[np.uint8] | None = None


def _name_sample(out: Path, place: int, classes: NDArray[np.uint8]) -> Path:
    return out.with_name(f"{out.stem}-{place}-{describe_guidance(classes)}{out.suffix}")


def _deblur_folder(source: Path, out: Path, job: _Job, on_done: Callable[[Deblurred], None] | None) -> list[Deblurred]:
    config, show, guide = job.config, job.show, job.guide
    if guide is not None and guide.is_named:
        raise InputError("options", "is for a single image", "samples", "none for a folder")
    kind = config.format or "mp4"
    _check_kind(kind, config)
    if out.suffix.lower() in (".mp4", ".gif"):
        raise InputError(out, "is one file for many images", expected=f"a folder, and --format {out.suffix[1:]}")
    targets = _list_targets(source, out, kind)
    settings = {
        "schema": SCHEMA,
        "stage": "deblur",
        "weights_sha256": digest_run(job.run),
        **dataclasses.asdict(config),
        "overlap": config.overlap_px,
        "format": kind,
        **({} if guide is None else {"guidance": guide.described}),
    }
    network = job.load()
    finished: list[Deblurred] = []
    faults: list[Rb2vError] = []
    with output_folder(out, settings):
        for index, (path, target) in enumerate(targets):
            show(index, len(targets), "deblurring images")
            try:
                if target.exists() and target.stat().st_mtime >= path.stat().st_mtime:
                    done = Deblurred(path, target, None)
                else:
                    _check_target(target, kind)
                    image = prepare_image(read_photo(path), path)
                    classes = None if guide is None else _guide_of_folder(guide, image, targets, index)
                    quiet = dataclasses.replace(job, show=lambda *_: None)
                    done = _deblur_picture(network, _Picture(path, image, classes), target, kind, quiet)
            except Rb2vError as error:
                fault = error
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:  # the only one that another image may not meet
                    raise
                fault = InputError(path, "has too long a name for what is written beside it", expected="a shorter one")
            else:
                finished.append(done)
                if on_done is not None:
                    on_done(done)
                continue
            logger.warning("%s", fault)
            faults.append(fault)
        show(len(targets), len(targets), "deblurring images")
    if faults:
        raise Rb2vError(f"{len(faults)} of {len(targets)} images could not be used, the others are done: {faults[0]}")
    return finished


def _guide_of_folder(
    guide: Guide, image: NDArray[np.float32], targets: Sequence[tuple[Path, Path]], index: int
) -> NDArray[np.uint8]:
    """Return the guidance of an image of a folder, whose images follow one another in time."""
    if not guide.needs_neighbor:
        return guide.guide(image, index)[0]
    if len(targets) < 2:
        raise InputError(targets[0][0], "has no neighbor in its folder", expected="at least two images")
    is_next = index + 1 < len(targets)
    path = targets[index + 1 if is_next else index - 1][0]
    return guide.guide(image, index, prepare_image(read_photo(path), path), is_next=is_next)[0]


def _list_targets(source: Path, out: Path, kind: str) -> list[tuple[Path, Path]]:
    pictures = [
        path
        for path in source.iterdir()
        if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    ]
    if not pictures:
        raise InputError(source, "holds no image", expected=", ".join(PHOTO_SUFFIXES))
    targets: dict[Path, Path] = {}
    for path in sorted(pictures, key=natural_key):
        target = out / (path.stem if kind == "png" else f"{path.stem}.{kind}")
        if target in targets:
            problem = f"would be written to the same {target.name} as {targets[target].name}"
            raise InputError(path, problem, expected="names that differ before their suffix")
        targets[target] = path
    return [(path, target) for target, path in targets.items()]


def _kind_of(out: Path) -> str:
    suffix = out.suffix.lower()
    if suffix in (".mp4", ".gif"):
        return suffix[1:]
    if out.name in ("", "..") or (suffix and not out.is_dir()):
        expected = ".mp4, .gif, or a name without suffix for a folder of images"
        raise InputError(out, "is not an output that can be written", expected=expected)
    return "png"


def _check_kind(kind: str, config: DeblurConfig) -> None:
    if kind == "png":
        for name, given in (("fps", config.fps is not None), ("loop", config.loop)):
            if given:
                raise InputError("options", "is not for frames in files of their own", name, "an .mp4 or .gif output")
    elif config.fps is not None and config.fps > _MAX_FPS[kind]:
        raise InputError("options", f"is {config.fps:g}", "fps", f"at most {_MAX_FPS[kind]:g} for .{kind}")


def _check_target(target: Path, kind: str) -> None:
    """Check that nothing else would be replaced."""
    if kind != "png":
        if target.is_dir():
            raise InputError(target, "is a folder", expected="a file to write")
        return
    if target.exists() and not target.is_dir():
        raise InputError(target, "is a file", expected="a folder to write to")
    if target.is_dir():
        for child in sorted(target.iterdir()):
            if not _FRAME_NAME.fullmatch(child.name) or child.is_dir():
                problem = f"holds {child.name!r}, which is not of this command"
                raise InputError(target, problem, expected="a new or empty folder")


def _deblur_picture(network: Backbone, picture: _Picture, out: Path, kind: str, job: _Job) -> Deblurred:
    image = picture.image
    height, width = image.shape[:2]
    _check_size(picture.source, height, width, kind)
    frames = recover_frames(
        network,
        image,
        guidance=picture.guidance,
        tile=job.config.tile,
        overlap=job.config.overlap_px,
        progress=lambda done, total: job.show(done, total, "deblurring tiles"),
    )
    _write(out, frames, kind, job.config)
    described = None if picture.guidance is None else describe_guidance(picture.guidance)
    return Deblurred(picture.source, out, reblur_psnr(frames, image), described)


def _check_size(source: Path, height: int, width: int, kind: str) -> None:
    if max(height, width) > _MAX_SIDE_PX.get(kind, math.inf):
        raise InputError(source, f"{width}x{height} pixels are too many for .{kind}", expected="an output folder")


def _write(out: Path, frames: Frames, kind: str, config: DeblurConfig) -> None:
    if kind == "png":
        _write_frames(out, frames)
        return
    fps = config.fps or DEFAULT_FPS
    shown = [*frames, *frames[-2:0:-1]] if config.loop and kind == "gif" else [*frames]
    if config.loop and kind == "mp4":
        # Players of videos stop at the end, so that it is to be where it began.
        shown = [*frames, *frames[-2::-1]]
    with whole_file(out) as temporary:
        if kind == "gif":
            write_gif(temporary, shown, [round(1000 / fps)] * len(shown))
        else:
            write_video(temporary, map(make_even, shown), fps)


def _write_frames(folder: Path, frames: Frames) -> None:
    digits = len(str(len(frames)))
    with scratch_folder(folder) as scratch:
        made = scratch / "frames"
        for k, frame in enumerate(frames, start=1):
            write_image(made / f"frame_{k:0{digits}d}.png", frame)
        if folder.exists():
            folder.rename(scratch / "before")
        made.rename(folder)


def _deblur_video(source: Path, out: Path, kind: str, job: _Job) -> Deblurred:
    config, guide = job.config, job.guide
    if kind != "mp4":
        raise InputError(out, "cannot hold the frames of a video", expected="an .mp4 file")
    if config.loop:
        raise InputError("options", "is for images, not for a video", "loop")
    if guide is not None and guide.is_named:
        raise InputError("options", "is for a single image", "samples", "none for a video")
    _check_target(out, kind)
    info = probe_video(source)
    _check_size(source, info.height, info.width, kind)
    network = job.load()
    fps = config.fps or min(network.n_frames * (info.nominal_fps or 25.0), MAX_FPS)
    scores: list[float] = []

    def sequences() -> Iterator[Frames]:
        images = (prepare_image(frame.image, source) for frame in iter_frames([source]))
        for image, classes in _with_guidance(images, guide):
            frames = recover_frames(network, image, guidance=classes, tile=config.tile, overlap=config.overlap_px)
            scores.append(reblur_psnr(frames, image))
            job.show(len(scores), max(info.n_stated, len(scores)), "deblurring frames")
            yield frames

    # What a neighbor or a person says of the direction is kept; what is drawn by chance is turned to fit.
    is_known = guide is not None and not guide.is_guess
    chained = sequences() if is_known else chain_sequences(sequences())
    with whole_file(out) as temporary:
        write_video(temporary, (make_even(frame) for one in chained for frame in one), fps)
    return Deblurred(source, out, float(np.mean(scores)))


def _with_guidance(
    images: Iterator[NDArray[np.float32]], guide: Guide | None
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8] | None]]:
    """Yield the images of a video with their guidance, one image read ahead where it takes the next one."""
    if guide is None or not guide.needs_neighbor:
        for index, image in enumerate(images):
            yield image, None if guide is None else guide.guide(image, index)[0]
        return
    previous, current = None, next(images, None)
    for following in images:
        assert current is not None
        yield current, guide.guide(current, neighbor=following)[0]
        previous, current = current, following
    if current is not None:
        yield current, guide.guide(current, neighbor=previous, is_next=False)[0]

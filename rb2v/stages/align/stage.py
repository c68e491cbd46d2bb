"""The stage: every take of a raw directory, one file each, and the table of all frames."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rb2v import __version__
from rb2v.artifacts import AlignedFrame, Calibration, Rig, Take
from rb2v.core.homography import warp_points
from rb2v.core.lens import distort_points
from rb2v.device import make_matrix_product
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import Executor, SerialExecutor
from rb2v.interpolation import digest_weights, make_interpolator
from rb2v.io.aligned import AlignedManifest, AlignedTakeReader, aligned_take_path, write_aligned_manifest
from rb2v.io.calibration import read_calibration
from rb2v.io.config import read_raw_directory, read_takes
from rb2v.io.partial import scratch_folder
from rb2v.io.store import output_folder, sha256_of, write_alignment
from rb2v.io.video import probe_video
from rb2v.matting import make_matting_method
from rb2v.profiling import stage
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.context import Resources, RunContext, TakeContext
from rb2v.stages.align.profile import add_profiles, record_profile, write_profiles
from rb2v.stages.align.records import TakeRecord, check_plates, digest_inputs, is_finished, is_made_from, read_record
from rb2v.stages.align.segments import align_in_ranges, is_worth_cutting
from rb2v.stages.align.session import converge_clocks
from rb2v.stages.align.take import write_take

logger = logging.getLogger(__name__)

ALIGNMENT_NAME = "alignment.csv"

_MAX_STRETCH = 0.02  # by which the crop's shape may differ from the output's, beside a pixel either way
_MAX_REACH = 0.1  # of a frame's larger side, by which the crop may reach out of it


@dataclass(frozen=True)
class Execution:
    """Which takes are aligned, where, and who is told."""

    take_names: Sequence[str] = ()
    """The takes to align; all by default."""
    executor: Executor = field(default_factory=SerialExecutor)
    """Where takes are aligned."""
    on_take: Callable[[TakeRecord, int], None] | None = None
    """Called with the record of each take that is done, and the number of takes."""
    is_profiled: bool = False
    """Whether ``profile.json`` is written, see `rb2v.stages.align.profile`."""


def run(
    raw_dir: Path,
    calibration_path: Path,
    out_dir: Path,
    config: AlignConfig | None = None,
    *,
    resources: Resources | None = None,
    execution: Execution | None = None,
) -> Path:
    """Align every take of a raw directory; takes that are finished are skipped.

    Parameters
    ----------
    raw_dir : Path
        The raw directory.
    calibration_path : Path
        The rig's ``calibration.json``.
    out_dir : Path
        Where the takes' frames and ``alignment.csv`` are written.
    config : AlignConfig, optional
        How windows are looked for.
    resources : Resources, optional
        Weights, and where arrays are computed.
    execution : Execution, optional
        Which takes are aligned, and where; all, serially, by default.

    Returns
    -------
    Path
        The table, ``out_dir/alignment.csv``.

    Raises
    ------
    InputError
        If a take is not there, cannot be read, does not fit the calibration, or shows no screen where its description
        says that there is one; or if the calibration's crop has another shape than the output, or
        reaches out of a frame. What is found in one take while it is aligned leaves the others to be finished first.
    Rb2vError
        If that is so in several takes, or the weights of the matting method or of the interpolator cannot be used.
    ConfigMismatchError
        If the folder was made with another configuration.
    """
    config = config or AlignConfig()
    resources, execution = resources or Resources(), execution or Execution()
    session = open_session(raw_dir, calibration_path, config, resources, take_names=execution.take_names)
    takes, calibration, rig = session.takes, session.calibration, session.rig
    manifest = session.manifest
    with output_folder(out_dir, session.settings):
        context = RunContext(rig, calibration, config, resources, out_dir, is_profiled=execution.is_profiled)
        align = partial(_align_takes, context=context, executor=execution.executor)
        records = map_takes(align, takes, execution)
        profiles = {record.name: record.profile for record in records if record.profile is not None}
        # A choice of takes leaves those in the folder that were finished before.
        finished = [take for take in session.known if take in takes or is_finished(take, out_dir)]
        names = tuple(take.name for take in finished)

        def align_again(name: str, known: AlignConfig) -> None:
            aligned_take_path(out_dir, name).unlink()
            take = next(take for take in finished if take.name == name)
            again = _try_take(take, dataclasses.replace(context, config=known))
            if isinstance(again, InputError):
                raise again
            if again.profile is not None:
                before = [profiles[name]] if name in profiles else []
                profiles[name] = add_profiles([*before, again.profile])

        clock = converge_clocks(out_dir, names, rig, config, align_again) if config.positions == "clock" else None
        frames: list[AlignedFrame] = []
        for take in finished:
            with AlignedTakeReader(aligned_take_path(out_dir, take.name)) as reader:
                frames += reader.read_frames()
        table = write_alignment(out_dir / ALIGNMENT_NAME, frames)
        if execution.is_profiled:
            write_profiles(out_dir, profiles)
        # Last, because its presence says that the folder is finished.
        write_aligned_manifest(out_dir, dataclasses.replace(manifest, takes=names, clock=clock))
        return table


@dataclass(frozen=True, eq=False)
class Session:
    """What is aligned, checked before anything is computed."""

    rig: Rig
    calibration: Calibration
    known: Sequence[Take]
    """All takes of the raw directory."""
    takes: Sequence[Take]
    """Those that are chosen."""
    manifest: AlignedManifest
    """Without takes."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what a finished take looks like; takes may be added to a session later."""
        settings = {"stage": "align", "version": __version__, "rig_settings": dataclasses.asdict(self.rig)}
        stated = dataclasses.asdict(self.manifest)
        return settings | {name: value for name, value in stated.items() if name not in ("takes", "clock")}


def open_session(
    raw_dir: Path, calibration_path: Path, config: AlignConfig, resources: Resources, *, take_names: Sequence[str] = ()
) -> Session:
    """Read what is aligned, and check all that can be checked before anything is written.

    Raises
    ------
    InputError
        As `run`.
    Rb2vError
        If the weights of the matting method or of the interpolator cannot be used.
    """
    raw = read_raw_directory(raw_dir)
    calibration = read_calibration(calibration_path)
    _check_crop(calibration_path, calibration, raw.rig)
    unreadable: dict[str, InputError] = {}
    known = read_takes(raw_dir, on_fault=unreadable.__setitem__)
    takes = _choose(known, take_names, raw_dir, unreadable)
    make_matrix_product(resources.device)
    make_matting_method(config.matter, resources.matting_weights)
    make_interpolator(config.interpolator, device=resources.device, weights=resources.interpolator_weights)
    for take in takes:
        _check_files(take, calibration)
    manifest = AlignedManifest(
        rig=raw.rig.name,
        response=raw.rig.response if config.response is None else config.response,
        output_size=raw.rig.output_size,
        crop=calibration.crop,
        calibration_sha256=sha256_of(calibration_path),
        config={
            **dataclasses.asdict(config),
            "weights_sha256": None if resources.matting_weights is None else sha256_of(resources.matting_weights),
            "interpolator_weights_sha256": digest_weights(resources.interpolator_weights),
        },
        takes=(),
    )
    return Session(raw.rig, calibration, known, takes, manifest)


def map_takes(
    perform: Callable[[Sequence[Take]], Iterable[TakeRecord | InputError]], takes: Sequence[Take], execution: Execution
) -> list[TakeRecord]:
    """Do something with every take, and return the records of all.

    Parameters
    ----------
    perform : callable
        Yields each take's record, or what is wrong with the take, in order.
    takes : sequence of Take
        The takes.
    execution : Execution
        Where it is done, and who is told.

    Raises
    ------
    InputError
        If something is wrong with a take; once the others are done.
    Rb2vError
        If that is so of several.
    """
    found: dict[str, InputError] = {}
    records: list[TakeRecord] = []
    # The longest first, so that none is begun when the other workers have nothing left to do.
    ordered = sorted(takes, key=_stored_bytes, reverse=True)
    for take, record in zip(ordered, perform(ordered), strict=True):
        if isinstance(record, InputError):
            found[take.name] = record
            continue
        logger.info("%s: %d of %d frames accepted", record.name, record.n_accepted, record.n_frames)
        records.append(record)
        if execution.on_take is not None:
            execution.on_take(record, len(takes))
    if found:
        faults = [found[take.name] for take in takes if take.name in found]
        raise faults[0] if len(faults) == 1 else Rb2vError("\n".join(dict.fromkeys(map(str, faults))))
    return records


def _choose(takes: Sequence[Take], names: Sequence[str], raw_dir: Path, faults: Mapping[str, InputError]) -> list[Take]:
    """Return the takes of the given names, all by default; takes that cannot be read must not be among them."""
    for name in names or faults:
        if name in faults:
            raise faults[name]
    known = {take.name: take for take in takes}
    for name in names:
        if name not in known:
            raise InputError(raw_dir / "takes", f"has no take {name!r}", expected=", ".join(known))
    return [take for take in takes if not names or take.name in names]


def _check_crop(path: Path, calibration: Calibration, rig: Rig) -> None:
    """Check that the crop has the shape of the output, and that both cameras can have recorded it."""
    crop, (width, height) = calibration.crop, rig.output_size
    if abs(crop.width * height - crop.height * width) > _MAX_STRETCH * crop.height * width + width + height:
        expected = f"the shape of the rig's output, {width}x{height}"
        raise InputError(path, f"is {crop.width}x{crop.height}", "crop", expected)
    columns, rows = (crop.x, crop.x + crop.width - 1), (crop.y, crop.y + crop.height - 1)
    corners = np.array([(column, row) for column in columns for row in rows], dtype=np.float64)
    to_sharp = np.linalg.inv(calibration.homography)
    with np.errstate(all="ignore"):
        depths = np.column_stack([corners, np.ones(len(corners))]) @ to_sharp[2]
        # Where the horizon runs through the crop no corner tells where it lies.
        in_sharp = np.where(np.all(depths * depths[0] > 0), warp_points(to_sharp, corners), np.nan)
        for camera, places, lens, size in (
            ("blurry", corners, calibration.lens_blurry, calibration.size_blurry),
            ("sharp", in_sharp, calibration.lens_sharp, calibration.size_sharp),
        ):
            recorded = places if lens is None else distort_points(places, lens.matrix, lens.distortion)
            reach_px = _MAX_REACH * max(size)
            if not np.all((recorded >= -reach_px) & (recorded <= np.array(size) - 1 + reach_px)):
                problem = f"by lenses and homography it is not in the {camera} camera's {size[0]}x{size[1]} frame"
                raise InputError(path, problem, "crop", "what 'rb2v calibrate' wrote")


def _check_files(take: Take, calibration: Calibration) -> None:
    """Check, before anything is computed, that a take's videos are of the sizes that the calibration was made for."""
    for paths, size, override in (
        (take.blurry, calibration.size_blurry, take.blurry_format),
        (take.sharp, calibration.size_sharp, take.sharp_format),
    ):
        for path in paths:
            info = probe_video(path, override)
            if (info.width, info.height) != size:
                expected = f"{size[0]}x{size[1]} as in the calibration"
                raise InputError(path, f"its frames are {info.width}x{info.height}", expected=expected)


def _stored_bytes(take: Take) -> int:
    return sum(path.stat().st_size for path in (*take.blurry, *take.sharp))


def _align_takes(takes: Sequence[Take], context: RunContext, executor: Executor) -> Iterable[TakeRecord | InputError]:
    # What the paper describes keeps a whole blur track, which every range would make anew.
    if context.config.search == "reduced" and is_worth_cutting(takes, context, executor):
        return align_in_ranges(takes, context, executor)
    return executor.map(partial(_try_take, context=context), takes)


def _try_take(take: Take, context: RunContext) -> TakeRecord | InputError:
    """Return what is wrong with a take in place of raising it, which would keep the takes behind it waiting."""
    try:
        return align_take(take, context)
    except InputError as error:
        return error


def align_take(take: Take, context: RunContext) -> TakeRecord:
    """Align one take and write its file, unless it is there already and was made from the same inputs.

    Raises
    ------
    InputError
        If a video or a plate cannot be decoded or has another size than the calibration, or no screen is seen in a
        green-screen take.
    """
    check_plates(take, context.calibration)
    path = aligned_take_path(context.out_dir, take.name)
    with record_profile(is_on=context.is_profiled) as recorded:
        with stage("inputs"):
            inputs_sha256 = digest_inputs(take)
        is_made = not is_made_from(path, inputs_sha256)
        if is_made:
            # What does not fit in memory goes beside the file.
            with scratch_folder(path) as scratch:
                write_take(TakeContext(take, context, scratch), path, inputs_sha256)
        record = read_record(take, context.out_dir, None)
        recorded.n_frames = record.n_frames
    return dataclasses.replace(record, profile=recorded.profile) if is_made else record

"""Inputs of a report, read and compared with each other before anything is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, Crop, Rig, Take
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.core.metrics import psnr
from rb2v.errors import InputError, Rb2vError, require_file
from rb2v.interpolation import GuardedInterpolator, digest_weights, make_interpolator
from rb2v.io.aligned import MANIFEST_NAME, AlignedTakeReader, aligned_take_path, read_aligned_manifest
from rb2v.io.calibration import read_calibration
from rb2v.io.config import read_raw_directory, read_takes
from rb2v.io.store import CONFIG_NAME, read_json, validate
from rb2v.shards import ShardReader, manifest_path, sha256_of
from rb2v.simulator.plans import TakePlan
from rb2v.simulator.rig import SimulatedRig
from rb2v.simulator.truth import TRUTH_NAME, Truth, read_truth
from rb2v.stages.align import AlignConfig

# A frame rendered from its own truth is above 35 dB; with another face alone it is below 20 dB.
_MIN_SAME_SCENE_DB = 25.0

MAIN_LABEL = "aligned"
"""What the folder that the data set was built from is called beside others."""


@dataclass(frozen=True)
class SessionPaths:
    """Where a data set and what it was made from lie; what is not given is not measured."""

    shards_dir: Path
    """The data set."""
    run_dir: Path | None = None
    """A finished run of the order network on this data set."""
    aligned_dir: Path | None = None
    """The aligned takes that it was built from."""
    raw_dir: Path | None = None
    """The raw directory that those come from."""
    calibration_path: Path | None = None
    """The calibration that they were aligned with."""
    truth_dir: Path | None = None
    """The truth, where the session was simulated."""
    compared_dirs: Mapping[str, Path] = field(default_factory=dict)
    """Other alignments of the same recordings, by label, that are compared with ``aligned_dir``."""
    weights: Path | None = None
    """File of the weights that the data set's mattes were made with, where its matting method has some."""
    interpolator_weights: Path | None = None
    """Weights that the takes were aligned with, where those were not the interpolator's usual ones."""
    backgrounds_dir: Path | None = None
    """Folder of the images that the data set was built with, where they are not the packaged ones."""


@dataclass(frozen=True)
class Aligned:
    """A folder that ``rb2v align`` wrote."""

    folder: Path
    rig: Rig
    crop: Crop
    calibration_sha256: str
    config: AlignConfig
    """How its takes were aligned."""
    take_names: tuple[str, ...]
    interpolator_weights: Path | None = None
    """In place of the interpolator's usual ones."""

    def open_take(self, name: str) -> AlignedTakeReader:
        """Open a take."""
        return AlignedTakeReader(aligned_take_path(self.folder, name))

    def make_interpolator(self) -> GuardedInterpolator:
        """Return what made the frames between recorded ones."""
        weights = self.interpolator_weights
        return make_interpolator(self.config.interpolator, response=self.rig.response, weights=weights)


@dataclass(frozen=True)
class Raw:
    """A raw directory's parts that a report shows."""

    geometry_pairs: tuple[tuple[Path, Path], ...]
    takes: tuple[Take, ...]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything that was given; what was not is None."""

    paths: SessionPaths
    shards: ShardReader
    aligned: Aligned | None
    calibration: Calibration | None
    raw: Raw | None
    truth: Truth | None
    compared: Mapping[str, Aligned]
    """Other alignments of the same recordings, by label."""
    colors_picture: Path | None = None
    """The checker's patches as ``rb2v calibrate`` drew them beside the calibration; None where it has not."""

    @property
    def common_takes(self) -> tuple[str, ...]:
        """Takes of the aligned folder that every compared folder holds too."""
        names = () if self.aligned is None else self.aligned.take_names
        return tuple(name for name in names if all(name in other.take_names for other in self.compared.values()))


def read_inputs(paths: SessionPaths) -> Inputs:
    """Read the inputs.

    Raises
    ------
    InputError
        If one of them cannot be read, or does not belong to the others.
    Rb2vError
        If there is nothing to compare other alignments with, or one of them has a label that is taken.
    """
    if paths.compared_dirs and paths.aligned_dir is None:
        raise Rb2vError("alignments can be compared with the one that the data set was built from; it is not given")
    if MAIN_LABEL in paths.compared_dirs:
        raise Rb2vError(f"the label {MAIN_LABEL!r} stands for the alignment that the data set was built from")
    weights, raw_dir, calibration_path = paths.interpolator_weights, paths.raw_dir, paths.calibration_path
    inputs = Inputs(
        paths=paths,
        shards=ShardReader(paths.shards_dir),
        aligned=None if paths.aligned_dir is None else _read_aligned(paths.aligned_dir, weights),
        calibration=None if calibration_path is None else read_calibration(calibration_path),
        raw=None
        if raw_dir is None
        else Raw(read_raw_directory(raw_dir).geometry_pairs, read_takes(raw_dir, on_fault=lambda name, fault: None)),
        truth=None if paths.truth_dir is None else read_truth(paths.truth_dir),
        compared={label: _read_aligned(folder) for label, folder in paths.compared_dirs.items()},
        colors_picture=None if calibration_path is None else _find_colors_picture(calibration_path),
    )
    if paths.run_dir is not None:
        _check_run(paths.run_dir, paths.shards_dir)
    if inputs.aligned is not None:
        _check_shards(inputs.shards, inputs.aligned)
        if calibration_path is not None:
            _check_calibration(calibration_path, inputs.aligned)
        if raw_dir is not None and inputs.raw is not None:
            _check_takes(inputs.aligned, {take.name for take in inputs.raw.takes}, raw_dir)
        _check_compared(inputs, inputs.aligned)
        if paths.truth_dir is not None or weights is not None:
            _check_interpolator_weights(inputs.aligned)
    if paths.truth_dir is not None and inputs.truth is not None:
        _check_truth(inputs, inputs.truth, paths.truth_dir / TRUTH_NAME)
    return inputs


def _find_colors_picture(calibration_path: Path) -> Path | None:
    picture = calibration_path.with_name(f"{calibration_path.stem}_colors.png")
    return picture if picture.is_file() else None


def _read_aligned(folder: Path, interpolator_weights: Path | None = None) -> Aligned:
    manifest = read_aligned_manifest(folder)
    config_path = folder / CONFIG_NAME
    rig = validate(Rig, read_json(config_path).get("rig_settings"), config_path)
    settings = {name: value for name, value in manifest.config.items() if name not in _DIGESTS}
    # Named as a part of the manifest, so that a message says where it is.
    config = validate(_Settings, {"config": settings}, folder / MANIFEST_NAME).config
    return Aligned(
        folder, rig, manifest.crop, manifest.calibration_sha256, config, manifest.takes, interpolator_weights
    )


_DIGESTS = ("weights_sha256", "interpolator_weights_sha256")
"""What the align stage states beside its configuration."""


@dataclass(frozen=True)
class _Settings:
    config: AlignConfig


def _check_run(run_dir: Path, shards_dir: Path) -> None:
    path = run_dir / CONFIG_NAME
    require_file(path, "a folder that 'rb2v train-hypercut' wrote")
    if read_json(path).get("data_sha256") != sha256_of(manifest_path(shards_dir)):
        raise InputError(path, "the run was trained on another data set", "data_sha256", f"that of {shards_dir}")


def _check_shards(shards: ShardReader, aligned: Aligned) -> None:
    path = manifest_path(shards.folder)
    made_from = shards.manifest.provenance.calibration_sha256
    if made_from is not None and made_from != aligned.calibration_sha256:
        raise InputError(path, "was not built from these aligned takes", "provenance.calibration_sha256")
    for name in sorted(set(shards.table["take"]) - set(aligned.take_names)):
        raise InputError(path, f"holds the take {name!r}", expected=f"takes of {aligned.folder}")


def _check_interpolator_weights(aligned: Aligned) -> None:
    manifest = read_aligned_manifest(aligned.folder)
    wanted, given = manifest.config.get("interpolator_weights_sha256"), aligned.interpolator_weights
    if digest_weights(given) != wanted:
        problem = f"the takes were not interpolated with {given or 'the usual weights'}"
        expected = "no --interpolator-weights" if wanted is None else f"--interpolator-weights of SHA-256 {wanted}"
        raise InputError(aligned.folder / MANIFEST_NAME, problem, "config.interpolator_weights_sha256", expected)


def _check_calibration(path: Path, aligned: Aligned) -> None:
    if sha256_of(path) != aligned.calibration_sha256:
        raise InputError(path, f"is not the calibration that {aligned.folder} was aligned with")


def _check_takes(aligned: Aligned, known: set[str], source: Path) -> None:
    for name in aligned.take_names:
        if name not in known:
            raise InputError(source, f"has no take {name!r}", expected=f"the session that {aligned.folder} is from")


def _check_compared(inputs: Inputs, aligned: Aligned) -> None:
    for other in inputs.compared.values():
        for path, key, found, wanted in (
            (other.folder / CONFIG_NAME, "rig_settings", other.rig, aligned.rig),
            (other.folder / MANIFEST_NAME, "crop", other.crop, aligned.crop),
        ):
            for part in dataclasses.fields(wanted):
                one, expected = getattr(found, part.name), getattr(wanted, part.name)
                if one != expected:
                    where = f"{expected!r} as in {aligned.folder}"
                    raise InputError(path, f"is {one!r}", f"{key}.{part.name}", expected=where)
        if not set(other.take_names) & set(aligned.take_names):
            raise InputError(other.folder / MANIFEST_NAME, f"has none of the takes of {aligned.folder}", "takes")
        for name in sorted(set(other.take_names) & set(aligned.take_names)):
            with other.open_take(name) as one_reader, aligned.open_take(name) as reader:
                if one_reader.inputs_sha256 != reader.inputs_sha256:
                    expected = f"those that {aligned.folder} was made from"
                    raise InputError(one_reader.path, "was made from other recordings", expected=expected)
    if not inputs.common_takes:
        raise Rb2vError(f"the compared alignments ({', '.join(inputs.compared)}) have no take in common")


def _check_truth(inputs: Inputs, truth: Truth, path: Path) -> None:
    if inputs.calibration is not None and inputs.calibration.size_blurry != truth.rig.config.size:
        found, wanted = ("x".join(map(str, size)) for size in (truth.rig.config.size, inputs.calibration.size_blurry))
        raise InputError(path, f"is of {found} frames", "config.size", expected=f"{wanted} as in the calibration")
    if inputs.aligned is None:
        return
    _check_takes(inputs.aligned, {plan.name for plan in truth.takes}, path)
    for name in inputs.aligned.take_names:
        with inputs.aligned.open_take(name) as reader:
            if not len(reader):
                continue
            seen = reader.read(0).blurry
            time_seconds = next(frame.blurry_time for frame in reader.read_frames() if frame.accepted)
        rendered = _render_blurry(truth.rig, truth.take(name), inputs.aligned, time_seconds)
        if seen.shape != rendered.shape or psnr(seen, rendered) < _MIN_SAME_SCENE_DB:
            expected = "the truth of this session, read by the version that simulated it"
            raise InputError(path, f"shows another scene than the take {name!r}", expected=expected)
        return  # one image tells sessions apart, and rendering more would take longer than it is worth


def _render_blurry(rig: SimulatedRig, plan: TakePlan, aligned: Aligned, time_seconds: float) -> NDArray[np.uint8]:
    return TruthRenderer(rig, plan, aligned.crop, aligned.rig.output_size).blurry(time_seconds)

"""Check of green-screen samples: those that stay samples once their screens are replaced."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rb2v.artifacts import REASONS
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import Executor
from rb2v.io.aligned import MANIFEST_NAME, AlignedManifest
from rb2v.io.store import SCHEMA, check_schema, read_json, sha256_of, to_json, validate, write_json
from rb2v.matting import make_matting_method
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.matte import CompositeLimits, measure_composites
from rb2v.stages.build_shards.config import BuildShardsConfig
from rb2v.stages.build_shards.takes import Source, TakeRecord

logger = logging.getLogger(__name__)

DECISIONS_NAME = "judged.json"
"""What was decided of takes that were judged anew, beside the shards."""


@dataclass(frozen=True)
class _AlignedMatting:
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
    config: _AlignedMatting


@dataclass(frozen=True)
class Keying:
    """How green-screen takes are keyed."""

    matter: str
    weights: Path | None
    weights_sha256: str | None
    as_aligned: bool
    """Whether the takes were judged by the same matting method."""
    limits: CompositeLimits
    """Samples whose composites do not reach them are left out."""


def choose_keying(
    aligned: AlignedManifest, aligned_dir: Path, config: BuildShardsConfig, weights: Path | None, *, is_needed: bool
) -> Keying:
    """Return the matting method that was asked for, or that the takes were aligned with, once it is known to be there.

    Raises
    ------
    InputError
        If the weights are not those that the takes were aligned with, or the manifest says what cannot be.
    Rb2vError
        If the weights are missing or cannot be used.
    """
    path = aligned_dir / MANIFEST_NAME
    names = {field.name for field in dataclasses.fields(_AlignedMatting)}
    settings = {name: value for name, value in aligned.config.items() if name in names}
    # Named as a part of the manifest, so that a message says where it is.
    said = validate(_AlignedSettings, {"config": settings}, path).config
    matting = config.matter or said.matter
    if not is_needed:
        return Keying(matting, None, None, True, said.limits)
    if config.matter is None and said.weights_sha256 is not None and weights is None:
        problem = (
            f"the takes were keyed by the matting method {matting!r} with weights of SHA-256 {said.weights_sha256}"
        )
        raise InputError(path, problem, "config.weights_sha256", "that file as --weights, or another --matter")
    make_matting_method(matting, weights)
    weights_sha256 = None if weights is None else sha256_of(weights)
    as_aligned = (matting, weights_sha256) == (said.matter, said.weights_sha256)
    if config.matter is None and weights is not None and not as_aligned:
        expected = f"{said.weights_sha256} by {path}, or the matting method as --matter, to judge the takes anew"
        raise InputError(weights, f"has the SHA-256 {weights_sha256}", expected=expected)
    return Keying(matting, weights, weights_sha256, as_aligned, said.limits)


@dataclass(frozen=True)
class _Decisions:
    """What an earlier run of the same settings decided."""

    schema: int
    settings_sha256: str
    kept: dict[str, tuple[int, ...]]
    """Which accepted frames of each take stay samples."""


def choose_samples(
    takes: Sequence[TakeRecord],
    source: Source,
    keying: Keying,
    executor: Executor,
    out_dir: Path,
    settings: Mapping[str, object],
) -> dict[str, Sequence[int]]:
    """Return which accepted frames of each take become samples, after a look at those that were not judged so yet.

    What is decided is kept in the output folder, so that no take is judged twice under the same settings.

    Raises
    ------
    InputError
        If no sample is left, a take shows no screen, or what is kept in the folder is damaged.
    """
    kept: dict[str, Sequence[int]] = {take.name: range(take.samples) for take in takes}
    as_aligned = keying.as_aligned and source.window.keeps_all
    asked = [take for take in takes if take.green_screen and not (as_aligned and take.is_judged)]
    path, settings_sha256 = out_dir / DECISIONS_NAME, hashlib.sha256(to_json(settings).encode()).hexdigest()
    decided = _read_decisions(path, settings_sha256, asked)
    todo = [take for take in asked if take.name not in decided]
    try:
        judge = partial(_judge_take, source, keying)
        for take, indices in zip(todo, executor.map(judge, [take.name for take in todo]), strict=True):
            decided[take.name] = indices
            write_json(path, dataclasses.asdict(_Decisions(SCHEMA, settings_sha256, decided)))
            n_left_out = take.samples - len(indices)
            if n_left_out:
                said = f"{n_left_out} of {take.samples} samples are left out"
                logger.warning("%s: %s: %s", take.name, said, REASONS["matte"])
        kept |= decided
        if not any(map(len, kept.values())):
            limits = keying.limits
            problem = (
                f"no composite reaches {limits.composite_psnr_db:g} dB, and explains its frame to "
                f"{limits.explained_psnr_db:g} dB, by the matting method {keying.matter!r}"
            )
            raise InputError(source.folder, problem, expected="at least one")
    except Rb2vError:
        # The next run will have other settings, and finds a folder in which nothing was made yet.
        path.unlink(missing_ok=True)
        raise
    return kept


def _read_decisions(path: Path, settings_sha256: str, asked: Sequence[TakeRecord]) -> dict[str, tuple[int, ...]]:
    if not path.exists():
        return {}
    document = read_json(path)
    check_schema(path, document)
    found = validate(_Decisions, document, path)
    if found.settings_sha256 != settings_sha256:
        return {}
    n_samples = {take.name: take.samples for take in asked}
    for name, indices in found.kept.items():
        if not set(indices) <= set(range(n_samples.get(name, 0))) or list(indices) != sorted(set(indices)):
            raise InputError(path, "does not list frames of the take", f"kept.{name}", "to remove the file")
    return found.kept


def _judge_take(source: Source, keying: Keying, name: str) -> tuple[int, ...]:
    """Return the accepted frames of a take whose composites are what eq. (1) says, and hold all of the foreground."""
    with source.open(name) as reader:
        source.read(reader, 0)  # whose size is checked
        matting = make_matting_method(keying.matter, keying.weights)
        checks = measure_composites(reader, matting, source.response, source.window.cut)
        return tuple(index for index, check in enumerate(checks) if keying.limits.admit(check))

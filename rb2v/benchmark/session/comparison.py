"""Comparison of alignments of the same recordings, which shows the effect of each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.benchmark.report.page import Section, make_table
from rb2v.benchmark.report.scores import TARGETS, Score
from rb2v.benchmark.session.aligned_take import position_errors
from rb2v.benchmark.session.fidelity import TakeFidelity
from rb2v.benchmark.session.inputs import MAIN_LABEL, Aligned
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.io.aligned import AlignedTakeReader

_SUITE, _STAGE = "alignment steps", "align"
_ALL_TAKES = "all takes"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a take in one alignment."""

    label: str
    take: str
    n_frames: int
    psnrs: NDArray[np.float64]
    """(A,) PSNR, in dB, of the accepted frames' synthetic blur."""
    fine_errors: NDArray[np.float64] | None
    """(A,) error of the sub-frame positions in fine frames; None without a truth."""
    whole_errors: NDArray[np.float64] | None
    """(A,) error of the integer positions in fine frames; None without a truth."""
    ours_db: NDArray[np.float64] | None
    """PSNR of sharp frames against the truth; None where they are not compared."""
    oracle_db: NDArray[np.float64] | None
    """PSNR of the oracle's sharp frames."""


def measure_take(
    label: str, reader: AlignedTakeReader, renderer: TruthRenderer | None, compared: TakeFidelity | None
) -> Outcome:
    """Return what came of a take.

    Parameters
    ----------
    label : str
        Name of the alignment.
    reader : AlignedTakeReader
        The take in it.
    renderer : TruthRenderer or None
        Tells the true positions.
    compared : TakeFidelity or None
        Its sharp frames against the truth.
    """
    frames = reader.read_frames()
    fine, whole = None, None
    if renderer is not None:
        true = np.array([renderer.position(frame.blurry_time) for frame in frames], dtype=np.float64)
        fine, whole = position_errors(frames, true)
    return Outcome(
        label=label,
        take=reader.name,
        n_frames=len(frames),
        psnrs=np.array([frame.psnr for frame in frames if frame.accepted], dtype=np.float64),
        fine_errors=fine,
        whole_errors=whole,
        ours_db=None if compared is None else compared.ours_db.ravel(),
        oracle_db=None if compared is None else compared.oracle_db.ravel(),
    )


def report(outcomes: Sequence[Outcome], aligned: Aligned, others: Mapping[str, Aligned]) -> Section:
    """Return the section on other alignments of the same recordings.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of every take that all alignments hold, in every alignment.
    aligned : Aligned
        The alignment that the data set was built from.
    others : mapping of str to Aligned
        The others by label.
    """
    labels = (MAIN_LABEL, *others)
    takes = tuple(dict.fromkeys(outcome.take for outcome in outcomes))
    settings = [[MAIN_LABEL, "what the data set was built from"]]
    settings += [[label, format_differences(other, aligned)] for label, other in others.items()]
    groups = [(_ALL_TAKES, ""), *((take, take) for take in takes)]
    has_positions = all(outcome.fine_errors is not None for outcome in outcomes)
    has_sharp = any(outcome.ours_db is not None for outcome in outcomes)
    lines: list[list[str | Score]] = []
    for shown, take in groups:
        for label in labels:
            chosen = [one for one in outcomes if one.label == label and take in ("", one.take)]
            scores = _score(chosen, label, take, has_positions=has_positions, has_sharp=has_sharp)
            lines.append([shown, label, *scores])
    limit = TARGETS["position_error_max"].limit
    header = ["Take", "Alignment", "accepted [%]", "synthetic blur, median PSNR [dB]"]
    caption = (
        "Figures of all frames that an alignment accepted; where it accepts more, it has harder ones. The synthetic "
        "blur's PSNR is told by the window that was taken: a wrong one may score well."
    )
    if has_positions:
        header += [
            "integer position, mean error [fine frames]",
            "integer position, largest error [fine frames]",
            "sub-frame position, mean error [fine frames]",
            f"integer position, over {limit:g} off [%]",
        ]
    if has_sharp:
        header += ["sharp frames [dB]", "below the oracle [dB]"]
        caption += (
            " Sharp frames are a few of each alignment's own, evenly spaced, against the truth at the true place, and "
            "the oracle's at the same ones."
        )
    tables = (
        make_table("How the other alignments differ from the data set's.", ("Alignment", "Settings"), settings, 2),
        make_table(caption, header, lines, n_text_columns=2, grouped=True),
    )
    left_out = sorted({name for one in (aligned, *others.values()) for name in one.take_names} - set(takes))
    lead = "The same recordings, aligned otherwise: what each step is worth."
    if left_out:
        lead += f" Takes that not every alignment holds are left out: {', '.join(left_out)}."
    return Section(
        "What each step changes",
        lead,
        tables,
        tuple(cell for line in lines for cell in line if isinstance(cell, Score)),
    )


def format_differences(other: Aligned, aligned: Aligned) -> str:
    """Return in what an alignment's settings differ from the main one's, which stand in brackets."""
    told = []
    for field in dataclasses.fields(aligned.config):
        one, main = (getattr(config, field.name) for config in (other.config, aligned.config))
        if one != main:
            told.append(f"{field.name} {_tell(one)} ({_tell(main)})")
    if other.calibration_sha256 != aligned.calibration_sha256:
        told.append("another calibration")
    return ", ".join(told) or "the same"


def _tell(value: object) -> str:
    return "the rig's" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _score(outcomes: Sequence[Outcome], label: str, take: str, *, has_positions: bool, has_sharp: bool) -> list[Score]:
    def pool(name: str) -> NDArray[np.float64]:
        parts = [part for part in (getattr(outcome, name) for outcome in outcomes) if part is not None]
        return np.concatenate(parts) if parts else np.empty(0)

    def score(
        metric: str, values: NDArray[np.float64], unit: str, reduce: Callable[..., np.floating] = np.mean
    ) -> Score:
        value = float(reduce(values)) if len(values) else None
        return Score(_SUITE, _STAGE, f"{metric}.{label}", value, unit, take)

    psnrs, n_frames = pool("psnrs"), sum(outcome.n_frames for outcome in outcomes)
    scores = [
        score("acceptance", np.array([100 * len(psnrs) / max(n_frames, 1)]), "%"),
        score("psnr_median", psnrs, "dB", np.median),
    ]
    if has_positions:
        fine, whole = pool("fine_errors"), pool("whole_errors")
        off = 100 * (whole > TARGETS["position_error_max"].limit).astype(np.float64)
        scores += [
            score("position_error_mean", whole, "fine frames"),
            score("position_error_max", whole, "fine frames", np.max),
            score("position_fine_error_mean", fine, "fine frames"),
            score("position_off", off, "%"),
        ]
    if has_sharp:
        ours, oracle = pool("ours_db"), pool("oracle_db")
        scores += [score("sharp_psnr", ours, "dB"), score("sharp_psnr_deficit", oracle - ours, "dB")]
    return scores

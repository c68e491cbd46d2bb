"""The sections of the guidance suite's report, and the scores they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.benchmark.report.page import Gallery, Section, Table, make_table
from rb2v.benchmark.report.scores import Score
from rb2v.training.intervals import TakeBootstrap, interval_of

SUITE, STAGE = "guidance", "train-guidance"
BORDER = "ppsnr_seq_border"
N_RESAMPLES = 1000  # 25 of which lie beyond either end of an interval of 95 %
COLUMNS: Mapping[str, tuple[str, int]] = {
    "ppsnr_seq": ("pPSNR [dB]", 2),
    "pssim_seq": ("pSSIM", 3),
    "plpips_seq": ("pLPIPS", 3),
    BORDER: ("border pPSNR [dB]", 2),
    "psnr_forward": ("PSNR as given [dB]", 2),
    "reblur_psnr": ("reblur PSNR [dB]", 2),
    "amplitude": ("amplitude", 2),
}
"""Header and decimals of the figures of one output."""
SEPARATE: Mapping[str, tuple[str, int]] = {
    "separate_psnr": ("PSNR [dB]", 2),
    "separate_ssim": ("SSIM", 3),
    "separate_lpips": ("LPIPS", 3),
    "separate_ppsnr": ("pPSNR [dB]", 2),
    "separate_pssim": ("pSSIM", 3),
    "separate_plpips": ("pLPIPS", 3),
}
"""Header and decimals of each measure's own best."""

_PAPER: Sequence[tuple[str, tuple[str, ...]]] = (
    ("P1, Zhong et al., from their paper", ("19.97", "0.860", "0.089")),
    ("P1, reproduced by HyperCUT's authors", ("20.58", "0.890", "0.068")),
    ("P1, + HyperCUT", ("22.16", "0.901", "0.102")),
    ("P3, from their paper", ("22.44", "0.890", "0.068")),
    ("P3, reproduced", ("21.21", "0.899", "0.063")),
    ("P3, + HyperCUT", ("23.31", "0.915", "0.062")),
    ("P5, from their paper", ("23.49", "0.911", "0.060")),
    ("P5, reproduced", ("22.48", "0.903", "0.061")),
    ("P5, + HyperCUT", ("23.81", "0.920", "0.060")),
)
"""Table 4 of the HyperCUT paper: pPSNR in dB, pSSIM and pLPIPS on B-AIST++."""


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the tables: the figures of every sample, one mapping a seed."""

    name: str
    """Of its scores."""
    label: str
    seeds: tuple[Mapping[str, NDArray[np.float64]], ...]

    def means(self, figure: str) -> list[float]:
        """Return a figure's mean over the samples, one a seed; empty where it was not measured."""
        return [float(np.nanmean(one[figure])) for one in self.seeds if figure in one]


@dataclass(frozen=True)
class Gain:
    """By how much a row is above another on the same samples, in dB."""

    name: str
    label: str
    figure: str
    value: float
    interval: tuple[float, float] | None


def gain(row: Row, baseline: Row, figure: str, takes: Sequence[str], label: str) -> Gain:
    """Return by how much a row is above another, mean over the seeds, and its bootstrap interval over takes."""
    ours, theirs = (np.mean([one[figure] for one in each.seeds], axis=0) for each in (row, baseline))
    difference = ours - theirs
    interval = interval_of(TakeBootstrap(takes, N_RESAMPLES, 0).means(difference[:, None])[:, 0])
    found = None if interval is None else (interval[0], interval[1])
    return Gain(f"{row.name}.above.{baseline.name}", label, figure, float(difference.mean()), found)


def report_table(rows: Sequence[Row], gains: Sequence[Gain]) -> Section:
    """Return the section of Table 4: one output a row, the best by PSNR."""
    shown = [name for name in COLUMNS if any(name in row.seeds[0] for row in rows)]
    header = ["Method", *(COLUMNS[name][0] for name in shown)]
    lines = [[row.label, *(_cell(row.means(name), COLUMNS[name][1]) for name in shown)] for row in rows]
    caption = (
        "Means over the held-out samples and the seeds (least..largest). P1, P3, P5: the best by pPSNR of one, three "
        "and five predicted guidance maps; all figures of a row are of that one output. pPSNR, pSSIM, pLPIPS: the "
        "whole sequence chooses its direction. As given: no choice of direction. Border: first and last frame."
    )
    gained = [
        [one.label, COLUMNS[one.figure][0], f"{one.value:+.2f}", "" if one.interval is None else _ends(one.interval)]
        for one in gains
    ]
    blocks: list[Table] = [make_table(caption, header, lines)]
    blocks.append(
        make_table(
            "On the same samples, mean over the seeds; 95 % bootstrap interval over takes.",
            ("Difference", "Figure", "gain [dB]", "95 %"),
            gained,
            n_text_columns=2,
        )
    )
    blocks.append(
        make_table(
            "Table 4 of the paper, measured on other data (B-AIST++, people who dance); no targets here. Their script "
            "keeps the best of each measure separately.",
            ("The paper", "pPSNR [dB]", "pSSIM", "pLPIPS"),
            [[name, *values] for name, values in _PAPER],
        )
    )
    scores = [score for row in rows for name in shown for score in _scores(row, name)]
    scores += [Score(SUITE, STAGE, f"{one.name}.{one.figure}", one.value, "dB") for one in gains]
    lead = (
        "A blurry image and, for every pixel, one of four directions or none. True guidance comes from the flow of the "
        "true frames and is an upper bound; predicted guidance is what an image alone allows."
    )
    return Section("Table 4", lead, tuple(blocks), tuple(scores))


def report_separate(rows: Sequence[Row]) -> Section:
    """Return the section of each measure's own best, as the authors' script prints them."""
    shown = [name for name in SEPARATE if any(name in row.seeds[0] for row in rows)]
    kept = [row for row in rows if shown and shown[0] in row.seeds[0]]
    lines = [[row.label, *(_cell(row.means(name), SEPARATE[name][1]) for name in shown)] for row in kept]
    caption = (
        "The best of each measure over the samples, whichever output it is of; the p-figures over both directions too. "
        "PSNR is the mean over the frames, where the authors take one error over all of them."
    )
    block = make_table(caption, ["Method", *(SEPARATE[name][0] for name in shown)], lines)
    scores = [score for row in kept for name in shown for score in _scores(row, name)]
    return Section("Separate bests", "As the authors' script prints them.", (block,), tuple(scores))


def report_guidance(
    predictors: Mapping[str, Sequence[Mapping[str, float]]], turning: Mapping[str, Sequence[float]]
) -> Section:
    """Return the section of the predictors' samples, and of whether frames follow guidance."""
    names = {
        "accuracy": "right pixels",
        "accuracy_free": "right pixels, either direction",
        "best_accuracy": "right pixels, best sample",
        "static_accuracy": "moves or not",
        "diversity": "two samples differ",
        "consistent": "consistent within moving regions",
    }
    lines = [
        [label, *(_cell([100 * run[name] for run in runs], 1) for name in names)] for label, runs in predictors.items()
    ]
    caption = "Five samples of each test image, in %: of pixels, of pixels in which two samples differ, and of samples."
    blocks = [make_table(caption, ("Predictor", *names.values()), lines)]
    followed = [[label, _cell([100 * value for value in values], 1)] for label, values in turning.items()]
    blocks.append(
        make_table(
            "Share of moving pixels whose estimated motion turns when true guidance is turned by 180 degrees, in %.",
            ("Decomposer", "turn"),
            followed,
        )
    )
    scores = [
        Score(SUITE, STAGE, f"{label}.{name}".replace(" ", "_"), float(np.mean([run[name] for run in runs])), "")
        for label, runs in predictors.items()
        for name in names
    ]
    scores += [
        Score(SUITE, STAGE, f"{label}.turning".replace(" ", "_"), float(np.mean(values)), "")
        for label, values in turning.items()
    ]
    return Section("Guidance", "What predictors draw, and whether frames follow it.", tuple(blocks), tuple(scores))


def report_pictures(galleries: Sequence[Gallery]) -> Section:
    """Return the section of held-out sequences."""
    lead = (
        "Blurry image and guidance (red right and up, green left and up, yellow left and down, blue right and down, "
        "black static), the seven frames, and the map of their errors in the better direction."
    )
    return Section("Pictures", lead, tuple(galleries), ())


def _cell(values: Sequence[float], decimals: int) -> str:
    if not values:
        return ""
    least, largest = f"{min(values):.{decimals}f}", f"{max(values):.{decimals}f}"
    return least if least == largest else f"{np.mean(values):.{decimals}f} ({least}..{largest})"


def _ends(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2f}..{interval[1]:.2f}"


def _scores(row: Row, figure: str) -> list[Score]:
    values = row.means(figure)
    if not values:
        return []
    unit = "dB" if "psnr" in figure else ""
    scores = [Score(SUITE, STAGE, f"{row.name}.{figure}.mean", float(np.mean(values)), unit)]
    if len(values) > 1:
        scores.append(Score(SUITE, STAGE, f"{row.name}.{figure}.least", min(values), unit))
        scores.append(Score(SUITE, STAGE, f"{row.name}.{figure}.largest", max(values), unit))
    return scores

"""The sections of the deblurring suite's report, and the scores they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rb2v.benchmark.report.page import Gallery, Plot, Section, Table, make_plot, make_table, new_figure
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.suites.deblur.config import BASELINE, METHODS, REGULARIZED
from rb2v.benchmark.suites.deblur.deblur_figures import Estimator
from rb2v.benchmark.suites.deblur.strips import STAGE, SUITE
from rb2v.benchmark.suites.figures import Figure, Interval, Scorer, plot_seeds

_scorer = Scorer(SUITE, STAGE)

BORDER = "ppsnr_seq_border"
COLUMNS: Mapping[str, tuple[str, str, int]] = {
    "ppsnr_seq": ("pPSNR seq", "dB", 2),
    BORDER: ("border", "dB", 2),
    "ppsnr_pair": ("pPSNR pair", "dB", 2),
    "ppsnr_frame": ("pPSNR frame", "dB", 2),
    "pssim_seq": ("pSSIM seq", "", 4),
    "plpips_seq": ("pLPIPS seq", "", 4),
    "reblur_psnr": ("reblur PSNR", "dB", 2),
    "direction_agreement": ("direction", "", 2),
    "amplitude": ("amplitude", "", 2),
    "correlation": ("correlation", "", 2),
    "survival": ("2x2 survival", "", 2),
    "true_survival": ("of the truth", "", 2),
    "one_sign": ("one sign", "", 2),
    "psnr_with": ("with most", "dB", 2),
    "psnr_against": ("against most", "dB", 2),
    "psnr_objects": ("objects", "dB", 2),
    "follows_order": ("follows order", "", 2),
}
"""Header, unit and decimals of the figures in the tables."""

_PAPER: Sequence[tuple[str, tuple[str, ...]]] = (
    ("Jin et al. on REDS", ("20.65", "22.63", "24.20", "23.50", "24.20", "22.63", "20.65")),
    ("the same with HyperCUT", ("22.87", "24.88", "26.29", "25.10", "26.29", "24.88", "22.86")),
    ("Purohit et al. on REDS *", ("22.78", "24.47", "26.14", "31.50", "26.12", "24.49", "22.83")),
    ("the same with HyperCUT *", ("26.75", "28.30", "29.42", "29.97", "29.41", "28.30", "26.76")),
    ("Purohit et al. on RB2V *", ("26.99", "27.99", "29.45", "32.08", "29.55", "28.06", "27.04")),
    ("the same with HyperCUT *", ("28.29", "29.20", "30.43", "32.08", "30.53", "29.22", "28.25")),
)
"""pPSNR by frame in dB, from the tables of the paper as the README of its code repeats them."""


@dataclass(frozen=True)
class Gain:
    """By how much a method is above the order-invariant loss without a regularizer, on the same samples."""

    backbone: str
    method: str
    value: float
    interval: Interval | None


def report_methods(estimators: Sequence[Estimator], gains: Sequence[Gain]) -> Section:
    """Return the section of all backbones and methods, all seeds, beside the trivial estimates."""
    shown = [name for name in COLUMNS if name in estimators[0].figures]
    timed = any(one.seconds is not None for one in estimators)
    header = ["Backbone", "Method", *(_title(name) for name in shown), *(["training [s]"] if timed else [])]
    lines = [
        [
            one.backbone,
            one.label,
            *(_cell(one.figures.get(name), COLUMNS[name][2]) for name in shown),
            *([f"{one.seconds:.0f}" if one.seconds is not None else ""] if timed else []),
        ]
        for one in estimators
    ]
    caption = (
        "Means over the held-out samples and the seeds (least..largest). seq: the whole sequence chooses its "
        "direction; pair, frame: every pair, every frame does, eq. (11), which a motionless estimate can exploit. "
        "border: pPSNR seq of the first and last frame. reblur: the mean of the frames against the blurry image. "
        "direction: samples whose pairs agree on one direction. amplitude: motion against the true one, 0 for what "
        "is static. Of the difference of the first and last frame: its correlation with the true one; the share of its "
        "energy that is left after 2x2 pixels were averaged, beside that of the truth; and the largest share of pixels "
        "with one sign, of any color and place among 2x2 pixels: next to 1 for a checkerboard. follows order: "
        "sequences that run the way the order network prefers for the true one. with most, against most, objects: the "
        "first and last frame where something moves, of what moves with or against the mean motion and of every "
        "object, each in its own better direction. Below: the blurry image, and the mean "
        "of the true frames, each shown seven times."
    )
    methods = make_table(caption, header, lines, n_text_columns=2, grouped=True)
    blocks: list[Table | Plot] = [methods, _plot_border(estimators)]
    if gains:
        gained = [
            [one.backbone, METHODS[one.method].label, f"{one.value:+.2f}", _interval(one.interval, 2)] for one in gains
        ]
        caption = (
            f"Border pPSNR seq above that of {METHODS[BASELINE].label}, in dB, on the same samples, mean over the "
            "seeds; 95 % bootstrap interval over takes."
        )
        blocks.append(make_table(caption, ("Backbone", "Method", "gain [dB]", "95 %"), gained, 2, grouped=True))
    scores = [
        score
        for one in estimators
        for name, figure in one.figures.items()
        for score in _scorer.spread(f"{one.name}.{name}", figure, "dB" if "psnr" in name else "")
    ]
    for one in gains:
        scores.append(_scorer.score(f"{one.backbone}.{one.method}.gain_border", one.value, "dB"))
        scores += _scorer.ends(f"{one.backbone}.{one.method}.gain_border", one.interval, "dB")
    lead = (
        "One blurry image in, seven sharp frames out. A blurry image does not tell which way its sequence ran, and the "
        "methods differ in what they make of that."
    )
    return Section("Methods", lead, tuple(blocks), tuple(scores))


def _title(name: str) -> str:
    title, unit, _ = COLUMNS[name]
    return f"{title} [{unit}]" if unit == "dB" else title


def _cell(figure: Figure | None, decimals: int) -> str:
    return "" if figure is None else figure.show(decimals)


def _interval(interval: Interval | None, decimals: int) -> str:
    return "" if interval is None else f"{interval[0]:.{decimals}f}..{interval[1]:.{decimals}f}"


def _plot_border(estimators: Sequence[Estimator]) -> Plot:
    figure, (axis,) = new_figure(1, 0.9 + 0.26 * len(estimators), left_inches=3.4)
    plot_seeds(axis, [one.figures[BORDER] for one in estimators], [bool(one.backbone) for one in estimators])
    labels = [" ".join(filter(None, (one.backbone, one.label))) for one in estimators]
    axis.set(yticks=range(len(estimators)), yticklabels=labels, xlabel="border pPSNR seq [dB]")
    axis.invert_yaxis()
    return make_plot(
        "First and last frame, the direction chosen by the whole sequence. A dot is a seed; a band the 95 % bootstrap "
        "interval over takes, of the mean over the seeds.",
        figure,
    )


def report_frames(estimators: Sequence[Estimator]) -> Section:
    """Return the section of the paper's Table 2."""
    n_frames = len(estimators[0].frames)
    header = ("Backbone", "Method", *(f"frame {k + 1}" for k in range(n_frames)))
    lines = [[one.backbone, one.label, *(f"{value:.2f}" for value in one.frames)] for one in estimators]
    blocks = [
        make_table(
            "PSNR of every frame in dB, the direction chosen by the whole sequence; mean over samples and seeds.",
            header,
            lines,
            n_text_columns=2,
            grouped=True,
        )
    ]
    scores = [
        _scorer.score(f"{one.name}.frame_{k + 1}", value, "dB")
        for one in estimators
        for k, value in enumerate(one.frames)
    ]
    blocks.append(
        make_table(
            "What the paper states on its own data, as the README of its code repeats it; no target here. *: the "
            "released code feeds Purohit's network the true center frame, in tests too, hence 30 to 32 dB in the "
            "middle; ours has its own center deblurrer.",
            ("The paper", *(f"frame {k}" for k in range(1, 8))),
            [[name, *values] for name, values in _PAPER],
        )
    )
    return Section("By frame: Table 2", "What an order adds is largest at the ends.", tuple(blocks), tuple(scores))


def report_alphas(by_method: Mapping[str, Mapping[float, Estimator]]) -> Section:
    """Return the section of the paper's Table 6, of eq. (3) first."""
    shown = ("ppsnr_seq", BORDER, "direction_agreement", "amplitude")
    header = ("Method", "alpha", *(_title(name) for name in shown))
    lines = [
        [METHODS[method].label, f"{alpha:g}", *(_cell(one.figures.get(name), COLUMNS[name][2]) for name in shown)]
        for method, by_alpha in by_method.items()
        for alpha, one in by_alpha.items()
    ]
    backbone = next(one.backbone for by_alpha in by_method.values() for one in by_alpha.values())
    caption = (
        f"{backbone}, the regularizer at weight alpha, in units of the distance between a sequence and its reversal; "
        "one seed. The paper's own weight is 0.2, of scores and images of another size."
    )
    scores = [
        _scorer.score(
            f"{'' if method == REGULARIZED else f'{method}.'}alpha_{alpha:g}.{name}",
            one.figures[name].mean,
            COLUMNS[name][1],
        )
        for method, by_alpha in by_method.items()
        for alpha, one in by_alpha.items()
        for name in shown
        if name in one.figures
    ]
    block = make_table(caption, header, lines, n_text_columns=1, grouped=True)
    return Section("Weight of the regularizer: Table 6", "", (block,), tuple(scores))


def report_toy(estimators: Sequence[Estimator], galleries: Sequence[Gallery]) -> Section:
    """Return the section of the paper's Figure 2."""
    shown = ("ppsnr_seq", BORDER, "direction_agreement", "amplitude")
    lines = [[one.label, *(_cell(one.figures.get(name), COLUMNS[name][2]) for name in shown)] for one in estimators]
    table = make_table(
        "On held-out sequences of the toy, one seed.", ("Method", *(_title(name) for name in shown)), lines
    )
    lead = (
        "A plain block moves before a dark wall. Of a naive training the mean of both directions is to be expected, of "
        "an order-invariant one that every pair, and every pixel, chooses a direction of its own; an order names one."
    )
    scores = [
        _scorer.score(f"toy.{one.name}.{name}", one.figures[name].mean, COLUMNS[name][1])
        for one in estimators
        for name in shown
        if name in one.figures
    ]
    return Section("What each loss returns: Figure 2", lead, (*galleries, table), tuple(scores))


def report_pictures(galleries: Sequence[Gallery]) -> Section:
    """Return the section of the paper's Figure 6."""
    lead = "Held-out sequences that move a lot, each estimate above the map of its errors in the better direction."
    return Section("Images: Figure 6", lead, tuple(galleries), ())


def report_real(galleries: Sequence[Gallery], scores: Sequence[Score]) -> Section:
    """Return the section of blurry images whose truth nobody knows."""
    lead = (
        "Blurry images without a truth. The mean of the frames should be the image again (reblur PSNR); that is "
        "necessary and proves little, because seven copies of the image pass as well."
    )
    return Section("Blurry images", lead, tuple(galleries), tuple(scores))

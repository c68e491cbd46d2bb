"""Takes of a real session: which are good, why others are not, and what to film again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rb2v.artifacts import REASONS, REMEDIES
from rb2v.benchmark.report.page import Cell, Section, make_table
from rb2v.benchmark.report.scores import TARGETS, Score, format_value
from rb2v.benchmark.session.aligned_take import AlignedTake, read_take
from rb2v.benchmark.session.inputs import Aligned, Inputs
from rb2v.shards import ShardReader

_GOOD_PERCENT = TARGETS["acceptance"].limit  # accepted frames, in %, as of a simulated session
_USABLE_PERCENT = 50.0  # below it, filming again costs less than what is lost
_MIN_REASON_SHARE = 0.05  # of a take's frames; rarer reasons are lost ends and single frames


def report(inputs: Inputs, aligned: Aligned) -> Section:
    """Return the section that leads the report of a session without a truth."""
    takes = [read_take(aligned, name, None) for name in aligned.take_names]
    missing = _find_missing(inputs, aligned)
    n_good = sum(_accepted_percent(take) >= _GOOD_PERCENT for take in takes)
    n_bad = sum(_accepted_percent(take) < _USABLE_PERCENT for take in takes) + len(missing)
    n_takes = len(takes) + len(missing)
    n_frames = sum(len(take.frames) for take in takes)
    n_accepted = sum(len(take.accepted) for take in takes)
    lead = (
        f"{n_good} of {n_takes} {'take is' if n_takes == 1 else 'takes are'} good, and {n_bad or 'none'} should be "
        "filmed again. "
        f"{n_accepted} of {n_frames} blurry frames were accepted; the data set holds {len(inputs.shards)} samples."
    )
    caption = (
        f"A take is good from {_GOOD_PERCENT:g} % of accepted frames on, and usable from {_USABLE_PERCENT:g} % on. The "
        "reasons are those of at least 5 % of its frames; the section on alignment counts all of them."
    )
    header = ("Take", "Result", "Reasons", "Next time", "accepted [%]", "PSNR, median [dB]")
    rows = [_line(take) for take in sorted(takes, key=_accepted_percent)] + [_missing_line(name) for name in missing]
    table = make_table(caption, header, rows, n_text_columns=4)
    advice = _advise(takes, missing, inputs.shards)
    # The verdict on what was filmed first, and then what follows from it.
    blocks = (
        (table, make_table("What to film next.", ("Found", "Advice"), advice, n_text_columns=2)) if advice else (table,)
    )
    return Section("What to keep, and what to film again", lead, blocks, (), leads=True)


def _accepted_percent(take: AlignedTake) -> float:
    return 100 * len(take.accepted) / max(len(take.frames), 1)


def _main_reasons(take: AlignedTake) -> list[str]:
    counts = Counter(take.frames[index].reason for index in take.rejected)
    return [reason for reason, n in counts.most_common() if n >= _MIN_REASON_SHARE * len(take.frames)]


def _line(take: AlignedTake) -> list[str | Score | Cell]:
    percent, reasons = _accepted_percent(take), _main_reasons(take)
    if percent >= _GOOD_PERCENT:
        result = Cell("good", passed=True)
    elif percent >= _USABLE_PERCENT:
        result = Cell("usable", noticed=True)
    else:
        result = Cell("film again", passed=False)
    psnrs = [take.frames[index].psnr for index in take.accepted]
    return [
        take.name,
        result,
        "; ".join(f"{reason}: {REASONS[reason]}" for reason in reasons) or "-",
        "; ".join(dict.fromkeys(REMEDIES[reason] for reason in reasons)) or "-",
        format_value(percent, "%", with_unit=False),
        format_value(float(np.median(psnrs)) if psnrs else None, "dB", with_unit=False),
    ]


def _missing_line(name: str) -> list[str | Score | Cell]:
    remedy = "'rb2v doctor' says what is wrong with its recordings"
    return [name, Cell("film again", passed=False), "it was not aligned", remedy, "-", "-"]


def _find_missing(inputs: Inputs, aligned: Aligned) -> list[str]:
    """Return the names of the takes of the raw directory that were not aligned."""
    if inputs.paths.raw_dir is None:
        return []
    folders = sorted((inputs.paths.raw_dir / "takes").glob("[!.]*"))
    return [folder.name for folder in folders if folder.is_dir() and folder.name not in aligned.take_names]


def _advise(takes: Sequence[AlignedTake], missing: Sequence[str], shards: ShardReader) -> list[list[str]]:
    """Return what concerns the session as a whole, most frequent first."""
    rejected = Counter(take.frames[index].reason for take in takes for index in take.rejected)
    n_frames = sum(len(take.frames) for take in takes)
    advice = [
        [f"{n} frames {reason}", REMEDIES[reason]]
        for reason, n in rejected.most_common()
        if n >= _MIN_REASON_SHARE * n_frames
    ]
    if missing:
        advice.append([f"{len(missing)} takes not aligned", "run 'rb2v doctor', and mend or film again what it names"])
    for split, entry in shards.manifest.splits.items():
        if not entry.samples:
            remedy = f"film another take (street) or person (face, hand); 'split: {split}' in a take.yaml chooses it"
            advice.append([f"no sample for {split}", remedy])
    return advice

"""Pairing of recordings to takes: by their start on their cameras' clocks, and their length.

The clocks of two cameras differ by a constant that nobody knows, seconds or days. All recordings together tell it: the
right constant makes many of them begin together, in the same order. What could be paired in another way just as well is
not paired at all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_START_SECONDS = 10.0
"""Two buttons are pressed within this, once the clocks' difference is taken off."""
MAX_CLOCK_SECONDS = 120.0
"""Clocks that were set, by hand or by an app, differ by less; one pair alone proves no larger difference."""

_Array = NDArray[np.float64]

_MAX_DURATION_SHARE = 0.25  # of the longer one: a recording that is a quarter longer was not stopped with the other
_MAX_DURATION_SECONDS = 10.0  # two buttons are pressed within this to stop, as they are to start
_SET_CLOCK_SCORE = 0.75  # in pairs: less than one, so that recordings decide where they can
_SET_CLOCK_SECONDS = 30.0  # over which that falls to 1/e: clocks set by an app agree better, by hand hardly
_MIN_SCORE_MARGIN = 0.5  # in pairs: the worth of half a pair that fits exactly
_MIN_WEIGHT_MARGIN = 0.15  # what starting 6 s apart costs an exact pair; less does not tell two rivals apart
_MAX_CANDIDATES = 16  # differences of clocks that are tried, those with most votes first


@dataclass(frozen=True)
class Span:
    """When a recording began, by its camera's clock, and how long it lasts."""

    start_seconds: float | None
    """From any common time on; None where the recording does not state it."""
    duration_seconds: float


@dataclass(frozen=True)
class Pairing:
    """Which recordings belong together."""

    pairs: tuple[tuple[int, int], ...]
    """(blurry, sharp) indices, in order."""
    offset_seconds: float | None
    """How far the sharp camera's clock is ahead; None where nothing tells."""
    doubts: tuple[str, ...] = ()
    """Why recordings were not paired that could have been."""


def pair_recordings(
    blurry: Sequence[Span],
    sharp: Sequence[Span],
    *,
    offset_seconds: float | None = None,
    usual_offset_seconds: float | None = None,
) -> Pairing:
    """Pair the recordings of two cameras, in order, by one difference of their clocks.

    Parameters
    ----------
    blurry, sharp : sequence of Span
        The recordings of each card, in any order.
    offset_seconds : float, optional
        How far the sharp camera's clock is ahead, where that is known.
    usual_offset_seconds : float, optional
        How far it was ahead in takes of the same cards that are paired already.

    Returns
    -------
    Pairing
        Without pairs, and with a doubt, where two ways of pairing are about as good.
    """
    if not blurry or not sharp:
        return Pairing((), offset_seconds)
    if len(blurry) == len(sharp) == 1 and offset_seconds is None and usual_offset_seconds is None:
        return _pair_only(blurry[0], sharp[0])
    known = [_by_start(spans) for spans in (blurry, sharp)]
    if not known[0] or not known[1]:
        return Pairing((), None, ("the recordings do not state when they began",))
    starts = [
        np.array([spans[i].start_seconds for i in order], dtype=np.float64)
        for spans, order in zip((blurry, sharp), known, strict=True)
    ]
    lengths = [
        np.array([spans[i].duration_seconds for i in order], dtype=np.float64)
        for spans, order in zip((blurry, sharp), known, strict=True)
    ]
    apart = starts[1][None] - starts[0][:, None]
    likeness = _likeness(lengths[0][:, None], lengths[1][None])
    offsets = [offset_seconds] if offset_seconds is not None else _candidates(apart[likeness > 0], usual_offset_seconds)
    is_fixed = offset_seconds is not None
    ways = [_match(apart, likeness, offset, usual_offset_seconds, is_fixed=is_fixed) for offset in offsets]
    if not any(way.pairs for way in ways):
        return Pairing((), offset_seconds, ("no two recordings began together and last about as long",))
    best = max(ways, key=lambda way: way.score)
    rival = max((way for way in ways if _contradict(way.pairs, best.pairs)), key=lambda way: way.score, default=None)
    if rival is not None and best.score - rival.score < _MIN_SCORE_MARGIN:
        doubt = (
            f"the clocks may differ by {best.offset_seconds:.0f} s, which pairs {len(best.pairs)} recordings, or by "
            f"{rival.offset_seconds:.0f} s, which pairs {len(rival.pairs)}"
        )
        return Pairing((), None, (doubt,))
    n_needed = max(2, (min(len(starts[0]), len(starts[1])) + 1) // 2)
    is_expected = is_fixed or _is_expected(best.offset_seconds, usual_offset_seconds)
    if not is_expected and len(best.pairs) < n_needed:
        doubt = (
            f"the clocks would differ by {best.offset_seconds:.0f} s, and only {len(best.pairs)} recordings would be "
            f"paired by that"
        )
        return Pairing((), None, (doubt,))
    pairs, doubts = _leave_out_doubtful(best, known)
    return Pairing(pairs, best.offset_seconds, doubts)


def _pair_only(blurry: Span, sharp: Span) -> Pairing:
    if _likeness(np.array(blurry.duration_seconds), np.array(sharp.duration_seconds)) <= 0:
        lengths = f"{blurry.duration_seconds:.1f} s and {sharp.duration_seconds:.1f} s"
        return Pairing((), None, (f"the only recordings of the cards last {lengths}",))
    if blurry.start_seconds is None or sharp.start_seconds is None:
        return Pairing(((0, 0),), None)
    return Pairing(((0, 0),), sharp.start_seconds - blurry.start_seconds)


def _by_start(spans: Sequence[Span]) -> list[int]:
    starts = {index: span.start_seconds for index, span in enumerate(spans) if span.start_seconds is not None}
    return sorted(starts, key=starts.__getitem__)


@dataclass(frozen=True, eq=False)
class _Way:
    offset_seconds: float
    pairs: tuple[tuple[int, int], ...]
    score: float
    weights: _Array


def _likeness(blurry_seconds: _Array, sharp_seconds: _Array) -> _Array:
    """Return from 0 to 1 how well two lengths go together."""
    limit = np.maximum(_MAX_DURATION_SECONDS, _MAX_DURATION_SHARE * np.maximum(blurry_seconds, sharp_seconds))
    return np.asarray(np.clip(1 - np.abs(blurry_seconds - sharp_seconds) / limit, 0, 1), dtype=np.float64)


def _is_expected(offset: float, usual_offset: float | None) -> bool:
    """Return whether a difference of clocks is as it was, or, where that is not known, one of clocks that were set."""
    if usual_offset is None:
        return abs(offset) <= MAX_CLOCK_SECONDS
    return abs(offset - usual_offset) <= MAX_START_SECONDS


def _set_clock_score(offset: float, usual_offset: float | None) -> float:
    """Return what a difference of clocks is worth by itself: nearly a pair, where it is the one to expect."""
    return _SET_CLOCK_SCORE * math.exp(-abs(offset - (usual_offset or 0.0)) / _SET_CLOCK_SECONDS)


def _candidates(differences: _Array, usual_offset: float | None) -> list[float]:
    """Return differences of clocks that many pairs agree on, the most agreed one first."""
    ordered = np.sort(differences)
    first = np.searchsorted(ordered, ordered - MAX_START_SECONDS, "left")
    beyond = np.searchsorted(ordered, ordered + MAX_START_SECONDS, "right")
    votes = beyond - first + np.array([_set_clock_score(offset, usual_offset) for offset in ordered.tolist()])
    chosen: list[float] = []
    for index in np.argsort(-votes, kind="stable"):
        if all(abs(ordered[index] - other) > MAX_START_SECONDS / 2 for other in chosen):
            chosen.append(float(ordered[index]))
        if len(chosen) == _MAX_CANDIDATES:
            break
    return chosen


def _match(apart: _Array, likeness: _Array, offset: float, usual_offset: float | None, *, is_fixed: bool) -> _Way:
    """Return the best pairing in order for a difference of clocks, which is refined unless it is fixed."""
    pairs: tuple[tuple[int, int], ...] = ()
    weights = np.zeros_like(apart)
    for _ in range(1 if is_fixed else 2):
        weights = _weights(apart - offset, likeness)
        pairs = _best_in_order(weights)
        if pairs and not is_fixed:
            offset = float(np.median([apart[pair] for pair in pairs]))
    score = float(sum(weights[pair] for pair in pairs))
    return _Way(offset, pairs, score + _set_clock_score(offset, usual_offset), weights)


def _weights(late: _Array, likeness: _Array) -> _Array:
    """Return what each pair is worth: at most 1, and 0 for one that cannot be."""
    is_possible = (np.abs(late) <= MAX_START_SECONDS) & (likeness > 0)
    return np.where(is_possible, 1 - 0.4 * (late / MAX_START_SECONDS) ** 2 - 0.4 * (1 - likeness), 0.0)


def _best_in_order(weights: _Array) -> tuple[tuple[int, int], ...]:
    """Return the pairs of greatest weight in all of which no two cross."""
    n, m = weights.shape
    total = np.zeros((n + 1, m + 1))
    for i, j in itertools.product(range(n), range(m)):
        paired = total[i, j] + weights[i, j] if weights[i, j] > 0 else -1.0
        total[i + 1, j + 1] = max(total[i, j + 1], total[i + 1, j], paired)
    pairs = []
    i, j = n, m
    while i and j:
        if total[i, j] == total[i - 1, j]:
            i -= 1
        elif total[i, j] == total[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return tuple(reversed(pairs))


def _contradict(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> bool:
    sharp_of, blurry_of = dict(one), {j: i for i, j in one}
    return any(sharp_of.get(i, j) != j or blurry_of.get(j, i) != i for i, j in other)


def _leave_out_doubtful(
    way: _Way, known: Sequence[Sequence[int]]
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Return the pairs for which no recording that is left over would do as well, in the callers' indices."""
    paired = [{pair[side] for pair in way.pairs} for side in (0, 1)]
    pairs, doubts = [], []
    for i, j in way.pairs:
        rivals = [way.weights[other, j] for other in range(way.weights.shape[0]) if other not in paired[0]]
        rivals += [way.weights[i, other] for other in range(way.weights.shape[1]) if other not in paired[1]]
        if any(rival > way.weights[i, j] - _MIN_WEIGHT_MARGIN and rival > 0 for rival in rivals):
            doubts.append("two recordings of one card began about when one of the other card did")
        else:
            pairs.append((known[0][i], known[1][j]))
    return tuple(pairs), tuple(dict.fromkeys(doubts))

import numpy as np
import pytest
from examples import draws
from hypothesis import given
from hypothesis import strategies as st

from rb2v.stages.ingest import Span, pair_recordings
from rb2v.stages.ingest.cards import find_recordings

DAY = 86_400.0


def spans(starts, lengths=30.0):
    return [Span(start, length) for start, length in zip(starts, np.broadcast_to(lengths, len(starts)), strict=True)]


def shifted(starts, offset, lengths=32.0, jitter=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return spans([start + offset + rng.uniform(-jitter, jitter) for start in starts], lengths)


STARTS = [0.0, 61.0, 190.0, 260.0, 1000.0, 1120.0]


@pytest.mark.parametrize("offset", [0.0, -3.0, 95.0, 754.0, -DAY - 12.0, 3 * DAY + 3600.0, 9 * 365 * DAY])
def test_a_constant_difference_of_clocks_is_found(offset):
    found = pair_recordings(spans(STARTS), shifted(STARTS, offset, jitter=2.0))
    assert found.pairs == tuple((index, index) for index in range(len(STARTS)))
    assert found.offset_seconds == pytest.approx(offset, abs=2.0)
    assert found.doubts == ()


@draws(60)
@given(st.data())
def test_recordings_without_a_partner_are_left_out(data):
    seed = data.draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(6, 14))
    starts = np.cumsum(rng.uniform(40, 900, n)).tolist()
    lengths = rng.uniform(15, 300, n)
    offset = data.draw(st.sampled_from([0.0, 40.0, 5000.0, -DAY]))
    gone = {side: set(rng.choice(n, data.draw(st.integers(0, 2)), replace=False).tolist()) for side in "bs"}
    blurry = [index for index in range(n) if index not in gone["b"]]
    sharp = [index for index in rng.permutation(n).tolist() if index not in gone["s"]]
    found = pair_recordings(
        [Span(starts[index], lengths[index]) for index in blurry],
        [Span(starts[index] + offset + rng.uniform(-2, 2), lengths[index] + 2.0) for index in sharp],
    )
    pairs = {(blurry[i], sharp[j]) for i, j in found.pairs}
    assert all(i == j for i, j in pairs)
    both = set(range(n)) - gone["b"] - gone["s"]
    assert {i for i, _ in pairs} == both


def test_takes_at_even_intervals_are_not_guessed():
    starts = [60.0 * index for index in range(5)]
    found = pair_recordings(spans(starts), shifted(starts[:4], 7000.0))
    assert found.pairs == ()
    assert "the clocks may differ by" in found.doubts[0]
    # The user's word settles it, and so do lengths, or clocks that were set.
    assert len(pair_recordings(spans(starts), shifted(starts[:4], 7000.0), offset_seconds=7000.0).pairs) == 4
    assert pair_recordings(spans(starts), shifted(starts[1:], 0.0)).pairs == ((1, 0), (2, 1), (3, 2), (4, 3))
    lengths = np.array([30.0, 80.0, 45.0, 120.0, 60.0])
    told = pair_recordings(spans(starts, lengths), shifted(starts[1:], 7000.0, lengths[1:]))
    assert told.pairs == ((1, 0), (2, 1), (3, 2), (4, 3))


def test_one_recording_on_each_card():
    assert pair_recordings(spans([0.0]), spans([5 * DAY])).pairs == ((0, 0),)
    assert pair_recordings([Span(None, 10.0)], [Span(None, 12.0)]).pairs == ((0, 0),)
    unlike = pair_recordings(spans([0.0], 10.0), spans([0.0], 200.0))
    assert unlike.pairs == ()
    assert "10.0 s and 200.0 s" in unlike.doubts[0]
    # Of cards whose clocks are known a lone pair has to agree with them.
    strange = pair_recordings(spans([0.0]), spans([5 * DAY]), usual_offset_seconds=40.0)
    assert strange.pairs == ()
    assert pair_recordings(spans([0.0]), spans([42.0]), usual_offset_seconds=40.0).pairs == ((0, 0),)


def test_two_recordings_for_one_are_not_guessed():
    found = pair_recordings(spans([0.0, 6.0, 100.0, 300.0]), spans([3.0, 100.0, 300.0]))
    assert set(found.pairs) == {(2, 1), (3, 2)}
    assert "two recordings of one card" in found.doubts[0]


def test_one_agreement_proves_no_wrong_clock():
    found = pair_recordings(spans([0.0, 500.0, 1300.0]), spans([40_000.0, 42_000.0, 47_000.0]))
    assert found.pairs == ()
    assert found.doubts


def test_recordings_that_state_no_time():
    found = pair_recordings([Span(None, 10.0)] * 2, spans([0.0, 60.0], 10.0))
    assert found.pairs == ()
    assert "do not state when they began" in found.doubts[0]
    assert pair_recordings([], spans([0.0])).pairs == ()


def test_many_recordings_take_no_time():
    rng = np.random.default_rng(1)
    starts = np.cumsum(rng.uniform(30, 600, 120)).tolist()
    found = pair_recordings(spans(starts), shifted(starts[7:], 1234.0, jitter=2.0))
    assert found.pairs == tuple((index + 7, index) for index in range(113))


def test_looped_chapters_are_one_recording_per_pair_of_letters(tmp_path):
    for name in ("GHAA0003", "GHAA0002", "GHAA0004", "GHAB0001", "GX010007"):
        (tmp_path / f"{name}.MP4").touch()
    found = {recording.name: recording for recording in find_recordings(tmp_path)}
    assert set(found) == {"GHAA", "GHAB", "GX0007"}
    assert [path.stem for path in found["GHAA"].paths] == ["GHAA0002", "GHAA0003", "GHAA0004"]
    assert all(recording.problem is None for recording in found.values())

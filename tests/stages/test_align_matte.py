"""Green screens in the align stage: what is measured of their composites, what is rejected, and what cannot be used."""

import dataclasses
import hashlib
import math
import shutil

import numpy as np
import pytest
from sessions import QUICK

from rb2v.artifacts import AlignedFrame
from rb2v.errors import ConfigMismatchError, InputError, Rb2vError
from rb2v.execution import SerialExecutor
from rb2v.io.aligned import AlignedSample, AlignedTakeReader, aligned_take_path
from rb2v.io.store import read_alignment, read_json
from rb2v.io.video import write_image
from rb2v.matting import MATTING_METHODS, Matte, make_matting_method
from rb2v.stages.align import AlignConfig, Execution, Resources, run
from rb2v.stages.align.matte import (
    CompositeLimits,
    SampleFile,
    SampleSpool,
    measure_composites,
    reject_broken_composites,
)


def copy_screen_take(session, root):
    shutil.copytree(session.raw / "takes" / "hand_train", root / "takes" / "hand_train")
    shutil.copy(session.root / "rig.yaml", root)
    (root / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    return root


@pytest.fixture
def raw(session, tmp_path):
    """A copy of the take before a green screen, to be changed."""
    return copy_screen_take(session, tmp_path / "raw")


@pytest.fixture
def brief_raw(brief_session, tmp_path):
    """A copy of a short take before a green screen, to be changed."""
    return copy_screen_take(brief_session, tmp_path / "raw")


class HalvingMatting:
    """A matting method whose weights say what part of the blurry frame's foreground it finds."""

    def __init__(self, weights):
        if weights is None or not weights.is_file():
            raise Rb2vError(f"{weights}: holds no weights; expected --weights FILE")
        self._share = np.float32(weights.read_text())

    def fit(self, frames, response, plate=None):
        self._fitted = make_matting_method("chroma").fit(frames, response, plate)
        return self

    def matte(self, sharp, blurry):
        of_sharp, of_blurry = self._fitted.matte(sharp, blurry)
        return of_sharp, Matte(self._share * of_blurry.alpha, self._share * of_blurry.premultiplied_linear)


@pytest.fixture
def halving(monkeypatch, tmp_path):
    """Files of weights for the matting method 'background', in whose place `HalvingMatting` is."""
    monkeypatch.setitem(MATTING_METHODS, "background", HalvingMatting)
    for share in ("1.0", "0.5"):
        (tmp_path / share).write_text(share)
    return tmp_path


def all_bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_composites_are_measured_where_there_is_a_screen(session):
    rows = read_alignment(session.aligned / "alignment.csv")
    accepted = [row for row in rows if row.accepted]
    assert all(math.isnan(row.composite_psnr) for row in rows if row.take == "street_train" or not row.accepted)
    hands = [row.composite_psnr for row in accepted if row.take == "hand_train"]
    assert len(hands) > 10
    assert min(hands) > 30
    with AlignedTakeReader(aligned_take_path(session.aligned, "hand_train")) as reader:
        stored = [frame.composite_psnr for frame in reader.read_frames() if frame.accepted]
    assert stored == pytest.approx(hands, abs=1e-4)


def test_what_breaks_when_its_screen_is_replaced_is_rejected(session, raw, tmp_path):
    before = {row.blurry_index: row for row in read_alignment(session.aligned / "alignment.csv") if "hand" in row.take}
    found = sorted(row.composite_psnr for row in before.values() if row.accepted)
    least_db = float(np.mean(found[len(found) // 2 - 1 : len(found) // 2 + 1]))  # the table rounds
    run(raw, session.calibration, tmp_path / "aligned", AlignConfig(min_composite_psnr_db=least_db))
    rows = read_alignment(tmp_path / "aligned" / "alignment.csv")
    accepted = [row for row in rows if row.accepted]
    rejected = [row for row in rows if row.reason == "matte"]
    assert min(len(accepted), len(rejected)) > 3
    assert len(accepted) + len(rejected) == sum(row.accepted for row in before.values())
    assert all(row.composite_psnr >= least_db for row in accepted)
    assert all(row.composite_psnr < least_db for row in rejected)
    whole = AlignedTakeReader(aligned_take_path(session.aligned, "hand_train"))
    part = AlignedTakeReader(aligned_take_path(tmp_path / "aligned", "hand_train"))
    with whole, part:
        assert part.blurry_index.tolist() == [row.blurry_index for row in accepted]
        for index, blurry_index in enumerate(part.blurry_index):
            same = whole.read(whole.blurry_index.tolist().index(blurry_index))
            np.testing.assert_array_equal(part.read(index).blurry, same.blurry)
            np.testing.assert_array_equal(part.read(index).sharp, same.sharp)
        # Whoever keys the take later learns its screen from what is left, and finds what was accepted.
        again = [
            (check.composite_psnr, check.explained_psnr)
            for check in measure_composites(part, make_matting_method("chroma"), "srgb")
        ]
        assert again == [(frame.composite_psnr, frame.explained_psnr) for frame in part.read_frames() if frame.accepted]


def test_what_the_foreground_explains_is_kept_and_decides(session, raw, tmp_path, rb2v):
    before = [row for row in read_alignment(session.aligned / "alignment.csv") if row.accepted]
    assert all(math.isnan(row.explained_psnr) for row in before if row.take == "street_train")
    found = sorted(row.explained_psnr for row in before if row.take == "hand_train")
    assert found[0] > AlignConfig().min_explained_psnr_db
    command = ("align", "--raw-dir", raw, "--calibration", session.calibration, "--out", tmp_path / "aligned")
    least_db = float(np.mean(found[len(found) // 2 - 1 : len(found) // 2 + 1]))
    assert rb2v(*command, "--workers", 1, "--min-explained-psnr", least_db)[0] == 0
    rows = read_alignment(tmp_path / "aligned" / "alignment.csv")
    assert {row.reason for row in rows if row.explained_psnr < least_db} == {"matte"}
    kept = [row.explained_psnr for row in rows if row.accepted]
    assert len(kept) > 3
    assert min(kept) >= least_db


class ScriptedMatting:
    """A matting method that gives one grey foreground, and the blurry frame's PSNRs of each fit as written down."""

    needs = "a script"

    def __init__(self, *rounds, alpha=1.0):
        self.rounds, self.fits, self._alpha = rounds, 0, alpha

    def fit(self, frames, response, plate=None):
        self._explained = iter(self.rounds[self.fits])
        self.fits += 1
        return self

    def matte(self, sharp, blurry):
        alpha = np.full(sharp.shape[:-1], self._alpha, np.float32)
        light = 0.5 * alpha[..., None].repeat(3, axis=-1)
        return Matte(alpha, light), Matte(alpha[0], light[0], next(self._explained))


def lay_aside(tmp_path, n_samples):
    tmp_path.mkdir()
    laid_aside = SampleFile(tmp_path / "samples")
    frames = []
    for index in range(n_samples):
        images = np.full((3, 4, 6, 3), index, np.uint8)
        laid_aside.append(AlignedSample(images[0], images[1:]))
        frames.append(AlignedFrame("take-a", index, index / 25, 8 * index, 8.0 * index, 35.0, 3.0, True, ""))
    return frames, SampleSpool(tmp_path / "take.yaml", None, laid_aside, range(n_samples))


def judge(tmp_path, matter, composite_db=30.0, explained_db=28.0, n_samples=6):
    frames, samples = lay_aside(tmp_path, n_samples)
    limits = CompositeLimits(composite_db, explained_db)
    frames, samples = reject_broken_composites(frames, samples, matter, "srgb", limits)
    assert list(samples.indices) == [frame.blurry_index for frame in frames if frame.accepted]
    assert {frame.reason for frame in frames if not frame.accepted} <= {"matte"}
    return list(samples.indices)


def test_a_sample_that_lost_its_foreground_is_rejected(tmp_path):
    explained = (35.0, 27.9, 28.0, math.nan, math.inf, 3.0)
    rest = (35.0, 28.0, math.nan, math.inf)
    assert judge(tmp_path / "a", ScriptedMatting(explained, rest)) == [0, 2, 3, 4]
    assert judge(tmp_path / "b", ScriptedMatting(explained), explained_db=0.0) == [0, 1, 2, 3, 4, 5]


def test_a_sample_without_any_foreground_is_rejected(tmp_path):
    matter = ScriptedMatting([math.nan] * 6, alpha=0.0)
    assert judge(tmp_path / "a", matter) == []
    assert judge(tmp_path / "b", ScriptedMatting([math.nan] * 6, alpha=0.0), composite_db=0.0) == [0, 1, 2, 3, 4, 5]


def test_a_take_is_keyed_no_more_than_three_times(tmp_path, caplog):
    settled = ScriptedMatting((1.0, *[30.0] * 5), (1.0, *[30.0] * 4), [30.0] * 4)
    assert judge(tmp_path / "a", settled) == [2, 3, 4, 5]
    assert not caplog.records
    unsettled = ScriptedMatting(*((1.0, *[30.0] * n) for n in range(5, 0, -1)))
    assert judge(tmp_path / "b", unsettled) == [3, 4, 5]
    assert unsettled.fits == 3
    assert "take-a: 1 more samples were rejected when it was keyed by what was left" in caplog.text


def test_a_take_may_lose_all_of_its_frames(brief_session, brief_raw, tmp_path):
    config = dataclasses.replace(QUICK, min_composite_psnr_db=90.0)
    run(brief_raw, brief_session.calibration, tmp_path / "aligned", config)
    rows = read_alignment(tmp_path / "aligned" / "alignment.csv")
    assert {row.reason for row in rows if math.isfinite(row.composite_psnr)} == {"matte"}
    with AlignedTakeReader(aligned_take_path(tmp_path / "aligned", "hand_train")) as reader:
        assert len(reader) == 0


def test_the_paper_rejects_nothing(brief_session, brief_raw, halving, tmp_path):
    paper = AlignConfig.paper()
    config = dataclasses.replace(
        QUICK, positions=paper.positions, min_composite_psnr_db=paper.min_composite_psnr_db, matter="background"
    )
    run(
        brief_raw,
        brief_session.calibration,
        tmp_path / "aligned",
        config,
        resources=Resources(matting_weights=halving / "0.5"),
    )
    rows = read_alignment(tmp_path / "aligned" / "alignment.csv")
    assert {row.reason for row in rows} <= {"", "out-of-range"}
    assert max(row.composite_psnr for row in rows if row.accepted) < 20


def test_a_take_without_its_screen_is_named_and_the_others_go_on(brief_session, brief_raw, tmp_path, rb2v):
    wrong = brief_raw / "takes" / "a_wrong"
    shutil.copytree(brief_session.raw / "takes" / "street_train", wrong)
    description = (wrong / "take.yaml").read_text()
    assert "green_screen: false" in description
    (wrong / "take.yaml").write_text(description.replace("green_screen: false", "green_screen: true"))
    out = tmp_path / "aligned"
    places = ("--raw-dir", brief_raw, "--calibration", brief_session.calibration, "--out", out)
    # A clock that all takes share would change the first with the second.
    command = ("align", *places, "--workers", 1, "--positions", "independent", "--interpolator", "quick-flow")
    status, _, error = rb2v(*command)
    assert status == 2
    assert f"{wrong / 'take.yaml'}: green_screen: " in error
    assert "; expected a take before a green screen, " in error
    assert error.rstrip().endswith(", or green_screen: false")
    assert [path.name for path in (out / "takes").iterdir()] == ["hand_train.h5"]
    assert not (out / "manifest.json").exists()
    finished_at = aligned_take_path(out, "hand_train").stat().st_mtime_ns
    (wrong / "take.yaml").write_text(description)
    assert rb2v(*command)[0] == 0
    assert read_json(out / "manifest.json")["takes"] == ["a_wrong", "hand_train"]
    assert aligned_take_path(out, "hand_train").stat().st_mtime_ns == finished_at


def test_all_takes_without_their_screens_are_named(brief_session, brief_raw, tmp_path):
    for name in ("a_wrong", "b_wrong"):
        shutil.copytree(brief_session.raw / "takes" / "street_train", brief_raw / "takes" / name)
        path = brief_raw / "takes" / name / "take.yaml"
        path.write_text(path.read_text().replace("green_screen: false", "green_screen: true"))
    with pytest.raises(Rb2vError) as caught:
        run(
            brief_raw,
            brief_session.calibration,
            tmp_path / "aligned",
            QUICK,
            execution=Execution(executor=SerialExecutor(check_pickle=True)),
        )
    first, second = str(caught.value).splitlines()
    assert "a_wrong/take.yaml: green_screen: " in first
    assert "b_wrong/take.yaml: green_screen: " in second
    assert aligned_take_path(tmp_path / "aligned", "hand_train").is_file()


@pytest.mark.parametrize("broken", [False, True])
def test_a_plate_that_cannot_be_used_is_named_and_the_others_go_on(brief_session, brief_raw, tmp_path, broken):
    shutil.copytree(brief_session.raw / "takes" / "hand_train", brief_raw / "takes" / "a_wrong")
    plate = brief_raw / "takes" / "a_wrong" / "plate_sharp.png"
    write_image(plate, np.full((120, 160, 3), 90, np.uint8))
    message = r"a_wrong/plate_sharp\.png: is 160x120; expected 192x160 as in the calibration"
    if broken:
        plate.write_bytes(plate.read_bytes()[:100])
        message = r"a_wrong/plate_sharp\.png: "
    with pytest.raises(InputError, match=message):
        run(brief_raw, brief_session.calibration, tmp_path / "aligned", QUICK)
    assert [path.name for path in (tmp_path / "aligned" / "takes").iterdir()] == ["hand_train.h5"]
    assert not (tmp_path / "aligned" / "manifest.json").exists()


def test_weights_are_known_by_their_digest(brief_session, brief_raw, halving, tmp_path):
    out, config = tmp_path / "aligned", dataclasses.replace(QUICK, matter="background")
    with pytest.raises(Rb2vError, match="None: holds no weights"):
        run(brief_raw, brief_session.calibration, out, config)
    assert not out.exists()
    run(brief_raw, brief_session.calibration, out, config, resources=Resources(matting_weights=halving / "1.0"))
    for name in ("config.json", "manifest.json"):
        found = read_json(out / name)["config"]
        assert (found["matter"], found["weights_sha256"]) == ("background", hashlib.sha256(b"1.0").hexdigest())
        assert str(tmp_path) not in (out / name).read_text()
    with pytest.raises(ConfigMismatchError, match=r"config\.weights_sha256: the folder was made with"):
        run(brief_raw, brief_session.calibration, out, config, resources=Resources(matting_weights=halving / "0.5"))
    run(
        brief_raw,
        brief_session.calibration,
        tmp_path / "half",
        config,
        resources=Resources(matting_weights=halving / "0.5"),
    )
    rows = read_alignment(tmp_path / "half" / "alignment.csv")
    assert not any(row.accepted for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--matter", "magic"), "--matter: 'magic' is not known; expected chroma or background"),
        (("--weights", "net.pt"), "net.pt: the matting method 'chroma' takes no weights"),
        (("--min-composite-psnr-db", "-1"), "--min-composite-psnr-db: -1 is out of range; expected at least 0"),
        (("--min-explained-psnr-db", "-1"), "--min-explained-psnr-db: -1 is out of range; expected at least 0"),
        (("--min-composite-psnr-db", "nan"), "--min-composite-psnr-db: nan is out of range; expected at least 0"),
    ],
)
def test_wrong_options_end_in_one_message(brief_session, brief_raw, tmp_path, rb2v, options, message):
    places = ("--raw-dir", brief_raw, "--calibration", brief_session.calibration, "--out", tmp_path / "aligned")
    status, _, error = rb2v("align", *places, *options)
    assert (status, len(error.splitlines())) == (2, 1)
    assert message in error
    assert not (tmp_path / "aligned").exists()

"""What an alignment costs by stage, and the preview of one."""

import hashlib
import json
import threading
import time

import pytest
from PIL import Image
from sessions import QUICK

from rb2v import profiling
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.execution import ProcessExecutor, SerialExecutor
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.stages.align import STAGES, Execution, add_profiles, read_profiles, run, run_preview
from rb2v.stages.build_shards import run as build_shards


def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_inner_stages_are_not_charged_to_outer_ones():
    with profiling.profiling() as profiler:
        with profiling.stage("outer"):
            spin(0.02)
            with profiling.stage("inner"):
                spin(0.04)
                profiling.count_bytes(read=3, written=5)
        profiling.count_bytes(read=7)
    outer, inner = profiler.costs["outer"], profiler.costs["inner"]
    assert outer.processor_seconds == pytest.approx(0.02, abs=0.01)
    assert inner.processor_seconds == pytest.approx(0.04, abs=0.01)
    assert (inner.bytes_read, inner.bytes_written) == (3, 5)
    assert (outer.bytes_read, outer.bytes_written) == (0, 0)


def test_threads_are_charged_to_their_own_stage_and_the_others_to_the_first_thread():
    def work():
        with profiling.stage("worker"):
            spin(0.05)

    with profiling.profiling() as profiler, profiling.stage("main"):
        # Twice, because the second one may have the number of the first.
        for target in (work, work, lambda: spin(0.03)):
            thread = threading.Thread(target=target)
            thread.start()
            spin(0.02)
            thread.join()
    assert profiler.costs["worker"].processor_seconds == pytest.approx(0.1, abs=0.02)
    assert profiler.costs["main"].processor_seconds == pytest.approx(0.09, abs=0.03)


def test_nothing_is_charged_where_nothing_is_profiled():
    with profiling.profiling() as profiler:
        pass
    with profiling.stage("late"):
        profiling.count_bytes(read=1)
    assert not profiler.costs


@pytest.fixture(scope="module")
def profiled(brief_session, tmp_path_factory):
    out = tmp_path_factory.mktemp("profiled") / "aligned"
    execution = Execution(executor=ProcessExecutor(1), is_profiled=True)
    run(brief_session.raw, brief_session.calibration, out, QUICK, execution=execution)
    return out


def test_a_profile_accounts_for_all_processor_time(brief_session, profiled):
    profiles = read_profiles(profiled)
    assert set(profiles) == {"hand_train", "street_train"}
    for one in profiles.values():
        seconds = {name: cost.processor_seconds for name, cost in one.stages.items()}
        assert list(seconds) == list(STAGES)
        assert sum(seconds.values()) == pytest.approx(one.processor_seconds)
        assert min(seconds.values()) >= 0
        assert seconds["other"] < 0.3 * one.processor_seconds
        assert one.n_frames == 9
        assert one.peak_memory_bytes > 50e6
        for name in ("decode", "color conversion", "warp", "reduce", "search", "interpolation", "write"):
            assert seconds[name] > 0
    street, hand = profiles["street_train"], profiles["hand_train"]
    assert hand.stages["matte"].processor_seconds > 0
    assert street.stages["matte"].processor_seconds == 0
    written = (profiled / "takes" / "street_train.h5").stat().st_size
    # Samples that are accepted before the colors are known are spooled first, each a blurry frame and seven sharp ones.
    assert written <= street.stages["write"].bytes_written <= 1.01 * (written + 9 * 8 * 96 * 96 * 3)
    assert add_profiles([street, hand]).n_frames == 18


def test_a_profile_changes_no_result(brief_session, profiled):
    made, known = digests(profiled), digests(brief_session.aligned)
    assert made.pop("profile.json")
    assert made == known


def test_finished_takes_keep_their_profile(brief_session, profiled, rb2v):
    before = (profiled / "profile.json").read_bytes()
    folders = ("--raw-dir", brief_session.raw, "--calibration", brief_session.calibration, "--out", profiled)
    done = rb2v("align", *folders, "--profile", "--executor", "serial", "--interpolator", "quick-flow")
    assert done.status == 0
    assert (profiled / "profile.json").read_bytes() == before
    assert all(name in done.out for name in STAGES)


def test_a_damaged_profile_is_named(tmp_path):
    (tmp_path / "profile.json").write_text('{"schema": 1, "takes": {"street": {"n_frames": "nine"}}}')
    with pytest.raises(InputError) as caught:
        read_profiles(tmp_path)
    assert caught.value.source == str(tmp_path / "profile.json")
    assert caught.value.key.startswith("takes.street")


@pytest.fixture(scope="module")
def preview(session, tmp_path_factory):
    out = tmp_path_factory.mktemp("preview") / "aligned_preview"
    execution = Execution(("street_train",), SerialExecutor(check_pickle=True), is_profiled=True)
    with pytest.MonkeyPatch.context() as patch:
        # Of 15 small frames every second one, at half the size.
        patch.setattr("rb2v.stages.align.context._MIN_PREVIEW_FRAMES", 7)
        patch.setattr("rb2v.stages.align.preview._MIN_SIDE_PX", 48)
        run_preview(session.raw, session.calibration, out, execution=execution)
    return out


def test_a_preview_says_what_the_alignment_does(session, preview):
    document = json.loads((preview / "preview.json").read_text())
    assert document["preview"] is True
    assert (document["size"], document["alignment"]["output_size"]) == ([48, 48], [96, 96])
    assert set(document["takes"]) == {"street_train"}
    for name, take in document["takes"].items():
        with AlignedTakeReader(aligned_take_path(session.aligned, name)) as reader:
            clock, n_accepted, n_frames = reader.timing.clock, len(reader), len(reader.read_frames())
        assert take["frames"] == 8
        assert take["accepted_share"] + sum(take["rejected_shares"].values()) == pytest.approx(1)
        assert take["accepted_share"] == pytest.approx(n_accepted / n_frames, abs=0.2)
        # A tenth of a fine frame.
        assert take["timing"]["clock"]["offset_seconds"] == pytest.approx(clock.offset_seconds, abs=5e-4)
        with Image.open(preview / take["contact_sheet"]) as sheet:
            assert sheet.size == (688, 60 + 8 * 166)


def test_a_preview_makes_few_windows(preview, profiled):
    for name, one in read_profiles(preview).items():
        assert one.n_frames == 8
        # Eight samples of a quarter of the pixels, spooled and written.
        assert one.stages["write"].bytes_written < 2 * 8 * 8 * 48 * 48 * 3
        whole = read_profiles(profiled)[name]
        assert one.stages["interpolation"].processor_seconds < whole.stages["interpolation"].processor_seconds


def test_a_preview_leaves_nothing_that_shards_are_built_of(preview, tmp_path):
    assert not (preview / "manifest.json").exists()
    assert not list(preview.rglob("*.h5"))
    assert not list(preview.rglob(".partial*"))
    with pytest.raises(InputError):
        build_shards(preview, tmp_path / "shards")


def test_previews_and_alignments_are_never_mixed(brief_session, preview, session):
    with pytest.raises(ConfigMismatchError):
        run(session.raw, session.calibration, preview)
    with pytest.raises(ConfigMismatchError):
        run_preview(brief_session.raw, brief_session.calibration, brief_session.aligned)


def test_the_command_previews_beside_the_alignment(brief_session, tmp_path, rb2v, monkeypatch):
    monkeypatch.setattr("rb2v.stages.align.context._MIN_PREVIEW_FRAMES", 4)
    out, preview = tmp_path / "aligned", tmp_path / "aligned_preview"
    folders = ("--raw-dir", brief_session.raw, "--calibration", brief_session.calibration, "--out", out)
    options = ("--take", "hand_train", "--executor", "serial", "--min-interpolation-psnr-db", "99")
    done = rb2v("align", *folders, *options, "--preview", "--profile")
    # Interpolation is measured for what a preview looks at, and nothing of it is so good.
    assert "0 % accepted, 100 % interpolation" in done.out
    assert done.status == 2
    assert "PREVIEW" in done.out
    assert all(name in done.out for name in STAGES)
    assert not out.exists()
    made = {str(path.relative_to(preview)) for path in preview.rglob("*") if path.is_file()}
    assert made == {"config.json", "preview.json", "profile.json", "contact_sheets/hand_train.jpg"}

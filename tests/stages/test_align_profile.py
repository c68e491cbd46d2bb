"""What an alignment costs by stage, and the preview of one."""

import hashlib
import json
import threading
import time

import pytest
from PIL import Image

from rb2v import profiling
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.execution import ProcessExecutor, SerialExecutor
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
    execution = Execution(executor=ProcessExecutor(2), is_profiled=True)
    run(brief_session.raw, brief_session.calibration, out, execution=execution)
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
    # The samples are spooled before the file is written: nine of a blurry frame and seven sharp ones.
    assert street.stages["write"].bytes_written == pytest.approx(written + 9 * 8 * 96 * 96 * 3, rel=0.01)
    assert add_profiles([street, hand]).n_frames == 18


def test_a_profile_changes_no_result(brief_session, profiled):
    made, known = digests(profiled), digests(brief_session.aligned)
    assert made.pop("profile.json")
    assert made == known


def test_finished_takes_keep_their_profile(brief_session, profiled, rb2v):
    before = (profiled / "profile.json").read_bytes()
    folders = ("--raw-dir", brief_session.raw, "--calibration", brief_session.calibration, "--out", profiled)
    done = rb2v("align", *folders, "--profile", "--executor", "serial")
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
    run_preview(session.raw, session.calibration, out, execution=Execution(executor=SerialExecutor(check_pickle=True)))
    return out


def test_a_preview_says_what_the_alignment_will(session, preview):
    document = json.loads((preview / "preview.json").read_text())
    assert document["preview"] is True
    assert document["size"] == [96, 96]
    for name, take in document["takes"].items():
        assert take["frames"] == 15
        assert take["accepted_share"] + sum(take["rejected_shares"].values()) == pytest.approx(1)
        assert take["accepted_share"] > 0.8, name
        truth = session.truth
        assert take["timing"]["clock"] is not None, truth
        with Image.open(preview / take["contact_sheet"]) as sheet:
            assert sheet.width > 500
            assert sheet.height > 500


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


def test_the_command_previews_beside_the_alignment(brief_session, tmp_path, rb2v):
    out = tmp_path / "aligned"
    folders = ("--raw-dir", brief_session.raw, "--calibration", brief_session.calibration, "--out", out)
    done = rb2v("align", *folders, "--preview", "--profile", "--take", "street_train", "--executor", "serial")
    assert done.status == 0
    assert "PREVIEW" in done.out
    assert not out.exists()
    made = {path.name for path in (tmp_path / "aligned_preview").rglob("*") if path.is_file()}
    assert {"preview.json", "profile.json", "street_train.png"} <= made

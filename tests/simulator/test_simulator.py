import dataclasses
import json
import signal
import textwrap

import cv2
import numpy as np
import pytest
from executors import LastFirstExecutor
from odd_files import moving, write_odd
from sessions import make_session, shared_session, write_rig

from rb2v.core.color import apply_color_map, encode, from_linear
from rb2v.core.homography import warp_points
from rb2v.core.sync import offset_from_sound
from rb2v.errors import ConfigMismatchError, InputError, Rb2vError
from rb2v.execution import SerialExecutor
from rb2v.io.config import read_raw_directory, read_takes
from rb2v.io.encoder import write_video
from rb2v.io.sound import read_sound
from rb2v.io.store import read_json
from rb2v.io.video import iter_frames, probe_video, read_image, write_image
from rb2v.simulator import SimulateConfig, read_truth, simulate
from rb2v.simulator.plans import plan_takes
from rb2v.simulator.rig import build_rig, frame_times
from rb2v.simulator.scene import ClipScene, LayeredScene, Motion, Mover, Wave, midpoints
from rb2v.simulator.textures import list_photos

STILL = Motion(Wave(), Wave())


def all_bytes(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def small_config(tmp_path_factory):
    rig = write_rig(tmp_path_factory.mktemp("small") / "rig.yaml")
    return SimulateConfig(
        rig=str(rig), size=(96, 80), seconds=0.2, categories=("hand",), test_takes=False, max_offset_seconds=0.1
    )


@pytest.fixture(scope="module")
def small(small_config, tmp_path_factory):
    root = tmp_path_factory.mktemp("small_session")
    simulate(root / "raw", small_config, executor=SerialExecutor(check_pickle=True))
    return root


def test_the_raw_directory_is_the_contract_s(small):
    raw = read_raw_directory(small / "raw")
    assert raw.rig.name == "tiny"
    assert len(raw.geometry_pairs) >= 4
    assert raw.color_pair is not None
    (take,) = read_takes(small / "raw")
    assert (take.name, take.category, take.green_screen, take.split) == ("hand_train", "hand", True, "train")
    assert take.plate_blurry is not None
    assert take.plate_sharp is not None
    blurry, sharp = probe_video(take.blurry[0]), probe_video(take.sharp[0])
    assert (blurry.width, blurry.height, blurry.nominal_fps, blurry.n_stated) == (96, 80, 25, 5)
    assert sharp.nominal_fps == 100
    assert sharp.n_stated >= 25
    assert blurry.has_audio
    assert sharp.has_audio
    assert not [name for name in all_bytes(small) if "partial" in name]


def test_the_same_configuration_gives_the_same_bytes_on_any_number_of_workers(small, small_config, tmp_path):
    simulate(tmp_path / "raw", small_config, executor=LastFirstExecutor())
    assert all_bytes(tmp_path) == all_bytes(small)


def test_another_seed_gives_another_session(small, small_config, tmp_path):
    simulate(tmp_path / "raw", dataclasses.replace(small_config, seed=5))
    one, other = all_bytes(small), all_bytes(tmp_path)
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] == other[name]} <= {"raw/capture.yaml", "raw/takes/hand_train/take.yaml"}


def test_a_killed_run_goes_on_to_the_same_bytes(small, small_config, tmp_path, fork_server):
    # Killed in the middle of the sharp recording: 18 captures and a plate come before it.
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from rb2v.simulator import SimulateConfig, simulate
        from rb2v.simulator.camera import SimulatedCamera

        develop, n_calls = SimulatedCamera.develop, 0

        def develop_or_die(camera, linear, noise):
            global n_calls
            n_calls += 1
            if n_calls == 60:
                os.kill(os.getpid(), signal.SIGKILL)
            return develop(camera, linear, noise)

        SimulatedCamera.develop = develop_or_die
        rig, out = sys.argv[1:]
        simulate(Path(out), SimulateConfig(
            rig=rig, size=(96, 80), seconds=0.2, categories=("hand",), test_takes=False, max_offset_seconds=0.1
        ))
    """)
    assert fork_server.start(script, small_config.rig, tmp_path / "raw").wait() == -signal.SIGKILL
    left = all_bytes(tmp_path)
    assert "raw/takes/hand_train/sharp.mp4" not in left
    assert any("partial" in name for name in left)
    done = []
    simulate(tmp_path / "raw", small_config, on_done=lambda n_done, n: done.append((n_done, n)))
    assert done == [(n_done, 3) for n_done in range(4)]
    assert all_bytes(tmp_path) == all_bytes(small)


def test_another_configuration_is_refused_in_the_same_folder(small, small_config, tmp_path):
    before = all_bytes(small)
    with pytest.raises(ConfigMismatchError) as caught:
        simulate(small / "raw", dataclasses.replace(small_config, seconds=0.3))
    assert caught.value.key == "seconds"
    rig = write_rig(tmp_path / "rig.yaml", response="linear")
    copy = tmp_path / "session"
    for name, content in before.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content.replace(small_config.rig.encode(), str(rig).encode()))
    with pytest.raises(ConfigMismatchError) as caught:
        simulate(copy / "raw", dataclasses.replace(small_config, rig=str(rig)))
    assert caught.value.key == "rig_settings.response"
    assert all_bytes(small) == before


def test_a_folder_of_something_else_is_not_written_to(small_config, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mine.txt").touch()
    with pytest.raises(InputError, match="is not empty"):
        simulate(tmp_path / "raw", small_config)
    assert list(all_bytes(tmp_path)) == ["raw/mine.txt"]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (97, 80)},
        {"size": (96, 62)},
        {"n_instants": 23},
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"test_seconds": float("inf")},
        {"drift_ppm": float("nan")},
        {"drift_ppm": -1e6},
        {"categories": ()},
        {"crf": 52},
        {"blurry_exposure_seconds": 0.0},
        {"blurry_exposure_seconds": float("nan")},
        {"blurry_readout_seconds": -1e-3},
        {"sharp_readout_seconds": float("inf")},
        {"screen": "tiny"},
        {"motion": -0.1},
        {"motion": float("nan")},
    ],
)
def test_configurations_that_cannot_be_simulated(changes):
    with pytest.raises(InputError) as caught:
        SimulateConfig(**changes)
    assert caught.value.key.partition(".")[0] == next(iter(changes))


def test_categories_and_splits_make_takes():
    plans = plan_takes(SimulateConfig(seconds=3.0, test_seconds=1.5, max_offset_seconds=0.4))
    assert {(plan.category, plan.split, plan.seconds) for plan in plans} == {
        (category, split, seconds)
        for category in ("street", "face", "hand")
        for split, seconds in (("train", 3.0), ("test", 1.5))
    }
    assert len({plan.subject for plan in plans}) == 6, "splits are disjoint by subject"
    assert len({plan.scene_seed for plan in plans}) == 6
    assert len({plan.offset_seconds for plan in plans}) == 6
    assert {plan.green_screen for plan in plans if plan.category == "street"} == {False}
    assert {plan.green_screen for plan in plans if plan.category != "street"} == {True}
    assert all(0.05 <= plan.offset_seconds <= 0.4 for plan in plans)


def test_photographs_of_one_s_own(small_config, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    with pytest.raises(InputError, match="photos: holds no image"):
        simulate(tmp_path / "raw", small_config, photos_dir=photos)
    (photos / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"a\.png"):
        simulate(tmp_path / "raw", small_config, photos_dir=photos)
    blue = np.full((64, 64, 3), (20, 30, 220), np.uint8)
    write_image(photos / "a.png", blue)
    simulate(tmp_path / "raw", small_config, photos_dir=photos)
    wall = read_image(tmp_path / "raw" / "calibration" / "geometry" / "blurry" / "wall_00.png")[30:50, 30:66]
    assert wall[..., 2].mean() > 2 * wall[..., :2].mean()


def test_the_recorded_sounds_are_apart_by_the_clock(session):
    for plan in session.truth.takes:
        folder = session.raw / "takes" / plan.name
        blurry, sharp = (read_sound([folder / f"{camera}.mp4"]) for camera in ("blurry", "sharp"))
        assert blurry.rate == sharp.rate
        found = offset_from_sound(blurry.samples, sharp.samples, blurry.rate)
        in_the_middle = plan.offset_seconds + session.truth.rig.config.drift_ppm * 1e-6 * plan.seconds / 2
        assert found.seconds + sharp.start_seconds - blurry.start_seconds == pytest.approx(in_the_middle, abs=1e-4)
        assert found.confidence > 1 / 3


def test_a_point_is_seen_where_the_true_homography_says(session, clean_session):
    spot = np.exp(-(((np.indices((31, 31)) - 15.0) ** 2).sum(axis=0)) / 8).astype(np.float32)
    for rig in (session.truth.rig, clean_session.truth.rig):
        for x, y in ((0, 0), (55, 30), (-60, -35), (40, -45)):
            mover = Mover(np.dstack([spot] * 4), Motion(Wave(x), Wave(y)))
            scene = LayeredScene(np.zeros((300, 300, 3), np.float32), [mover], STILL)
            centers = []
            for camera in (rig.blurry, rig.sharp):
                light = camera.expose(scene, 0.0)[..., 1]
                rows, columns = np.indices(light.shape)
                centers.append([(columns * light).sum() / light.sum(), (rows * light).sum() / light.sum()])
            np.testing.assert_allclose(warp_points(rig.homography, np.array(centers[1:]))[0], centers[0], atol=0.03)
        assert (np.linalg.det(rig.homography) < 0) == rig.config.mirrored


def test_the_true_color_map_takes_one_sensor_s_colors_to_the_other_s(session):
    rig = session.truth.rig
    for color in ((0.7, 0.2, 0.1), (0.1, 0.5, 0.3), (0.4, 0.4, 0.4)):
        scene = LayeredScene(np.full((400, 400, 3), color, np.float32), [], STILL)
        blurry, sharp = rig.blurry.expose(scene, 0.0), rig.sharp.expose(scene, 0.0)
        np.testing.assert_allclose(apply_color_map(rig.color, sharp), blurry, atol=1e-6)
        assert np.abs(blurry - sharp).max() > 0.01


def test_an_exposure_is_the_mean_of_the_light_while_it_lasts(clean_session):
    rig = clean_session.truth.rig
    scene, camera = rig.scene(clean_session.truth.takes[0]), rig.blurry
    assert camera.exposure_seconds == pytest.approx(19 / 600)
    instants = 0.4 + camera.exposure_seconds * ((np.arange(240) + 0.5) / 240 - 0.5)
    renders = [scene.render(t, camera.scene_to_view, camera.size) for t in instants]
    mean = np.mean(renders, axis=0) @ camera.mixing.T
    # Layers are drawn at steps below a pixel: along hard edges that shows, in the mean it is below the read noise.
    assert np.abs(camera.expose(scene, 0.4) - mean).max() < 1.5e-2
    assert np.abs(camera.expose(scene, 0.4) - mean).mean() < 2e-4 < camera.read_noise
    assert np.abs(mean - renders[120] @ camera.mixing.T).mean() > 2e-3, "something moves"


@pytest.mark.parametrize(("which", "index"), [("blurry", 0), ("blurry", 11), ("sharp", 0), ("sharp", 60)])
def test_a_recorded_frame_is_the_exposure_about_its_time(clean_session, which, index):
    rig, plan = clean_session.truth.rig, clean_session.truth.takes[0]
    frame = list(iter_frames([clean_session.raw / "takes" / plan.name / f"{which}.mp4"]))[index]
    drift = rig.config.drift_ppm * 1e-6
    # The scene's clock is the blurry camera's; the sharp camera started earlier, and its clock runs faster.
    seconds = frame.time_seconds if which == "blurry" else (frame.time_seconds - plan.offset_seconds) / (1 + drift)
    camera, scene = rig.camera(which), rig.scene(plan)

    def distance(at):
        expected = encode(camera.expose(scene, at) * camera.aperture[..., None], "srgb")
        return np.abs(frame.image.astype(int) - expected).mean()

    assert distance(seconds) < 1.8
    assert distance(seconds) < 0.75 * min(distance(seconds - 0.004), distance(seconds + 0.004))


def test_true_positions_are_window_starts_on_the_fine_track(session):
    document = read_json(session.root / "truth" / "truth.json")
    for plan, take in zip(session.truth.takes, document["takes"], strict=True):
        for index, position in enumerate(take["positions"]):
            middle_original_frame = (position + 3) / 2
            scene_time = session.truth.rig.scene_time(plan, middle_original_frame / 100)
            assert scene_time == pytest.approx(index / 25, abs=1e-7)
            assert session.truth.rig.true_position(plan, index / 25) == pytest.approx(position, abs=1e-6)
        assert len(take["positions"]) == 15


def test_the_housing_s_border_is_black(session):
    for which in ("blurry", "sharp"):
        image = read_image(session.raw / "calibration" / "geometry" / which / "wall_00.png")
        assert image[:, 0].max() <= 12
        assert image[0].max() <= 12
        assert image[:, -1].max() <= 12
        assert image[-1].max() <= 12
        assert np.median(image[20:-20, 20:-20]) > 40


@pytest.mark.parametrize("which", ["blurry", "sharp"])
def test_a_green_screen_picture_is_its_foreground_over_the_screen(session, which):
    rig = session.truth.rig
    scene, camera = rig.scene(session.truth.take("hand_train")), rig.camera(which)
    assert scene.green_screen
    scenes = [scene, dataclasses.replace(scene, wall=scene.wall[:, :, [1, 0, 2]].copy())]
    foreground = camera.expose_foreground(scene, 0.3)
    alpha = foreground[..., 3:]
    assert alpha.min() == 0
    assert alpha.max() == pytest.approx(1, abs=1e-3)
    assert ((alpha > 0.05) & (alpha < 0.95)).any()
    # What of the screen is seen is what the shadow leaves of 1 - alpha, whatever the screen is.
    screens = [camera.expose(s.without_movers(), 0.3) for s in scenes]
    pictures = [camera.expose(s, 0.3) for s in scenes]
    bright = np.abs(screens[0] - screens[1]) > 0.05
    seen = (pictures[0] - pictures[1])[bright] / (screens[0] - screens[1])[bright]
    through = np.broadcast_to(1 - alpha, bright.shape)[bright]
    assert (seen < through + 2e-3).all()
    assert (seen > 0.75 * through - 2e-3).all()
    assert seen[through > 0.999].min() < 0.85, "the shadow"
    # What is seen of the foreground is more than itself: the screen throws some of its light on it.
    lit = dataclasses.replace(scene, wall=np.zeros_like(scene.wall))
    spill = camera.expose(lit, 0.3) - foreground[..., :3]
    screen_light = screens[0][40:-40, 40:-40].mean(axis=(0, 1))
    inside = alpha[..., 0] > 0.999
    share = spill[..., 1] / np.maximum(alpha[..., 0], 1e-3) / screen_light[1]
    assert spill.min() > -1e-5
    assert 0.02 < share[inside].min() < 0.05
    assert 0.09 < share[(alpha[..., 0] > 0.1) & (alpha[..., 0] < 0.9)].mean() < 0.15
    plate = read_image(session.raw / "takes" / "hand_train" / f"plate_{which}.png")
    expected = encode(screens[0] * camera.aperture[..., None], "srgb")
    assert np.abs(plate.astype(int) - expected)[20:-20, 20:-20].mean() < 2


@pytest.mark.parametrize("category", ["face", "hand"])
def test_much_of_a_foreground_s_edge_is_finer_than_the_lens_resolves(mount, category):
    rig = build_rig(dataclasses.replace(mount.config, size=(480, 400), categories=(category,)), mount.photos)
    scene = rig.scene(plan_takes(rig.config)[0])
    alpha = rig.sharp.expose_foreground(scene, 0.3)[..., 3]
    # Strands are thinner than a core of 7 pixels, which a head, a body and a palm outlast.
    core = cv2.morphologyEx(alpha, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    is_fine, is_soft = alpha - core > 0.1, (alpha > 0.05) & (alpha < 0.95)
    assert is_fine.mean() > 0.01
    assert (is_fine & is_soft).sum() > 0.2 * is_soft.sum()
    assert (is_fine & is_soft).sum() > 0.8 * is_fine.sum(), "most of it is seen through"
    for mover in scene.movers:
        assert np.abs(mover.rgba[[0, -1]]).max() == 0
        assert np.abs(mover.rgba[:, [0, -1]]).max() == 0
        assert mover.rgba[..., 3].max() <= 1 + 1e-6
        assert (mover.rgba[..., :3] <= mover.rgba[..., 3:] + 1e-6).all()


def test_shadows_move_with_what_throws_them(mount):
    (plan,) = plan_takes(dataclasses.replace(mount.config, categories=("hand",)))
    scene, camera = mount.scene(plan), mount.sharp

    def middles(time_seconds):
        screen = camera.expose(scene.without_movers(), time_seconds)[..., 1]
        shade = 1 - camera.expose(dataclasses.replace(scene, movers=()), time_seconds)[..., 1] / screen
        assert 0.15 < shade.max() <= 0.25 + 1e-4
        alpha = camera.expose_foreground(scene, time_seconds)[..., 3]
        rows, columns = np.indices(shade.shape)
        return [np.array([(columns * w).sum(), (rows * w).sum()]) / w.sum() for w in (shade, alpha)]

    (shade, hand), (later_shade, later_hand) = middles(0.1), middles(0.2)
    np.testing.assert_allclose(later_shade - shade, later_hand - hand, atol=0.5)
    assert np.linalg.norm(later_hand - hand) > 4


@pytest.mark.parametrize("category", ["face", "hand"])
def test_a_small_screen_stands_in_a_studio_without_green(mount, category):
    (plan,) = plan_takes(dataclasses.replace(mount.config, categories=(category,)))
    small = dataclasses.replace(mount, config=dataclasses.replace(mount.config, screen="small"))
    scene = small.scene(plan)
    camera = dataclasses.replace(mount.sharp, mixing=np.eye(3), scene_to_view=mount.blurry.scene_to_view)
    wall = camera.expose(scene.without_movers(), 0.0)
    is_green = wall[..., 1] > 2 * wall[..., [0, 2]].max(axis=-1)
    height, width = is_green.shape
    rows, columns = np.flatnonzero(is_green.mean(axis=1) > 0.3), np.flatnonzero(is_green.mean(axis=0) > 0.3)
    assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))
    assert 0.5 * width < len(columns) < 0.65 * width
    assert (columns[0] + columns[-1]) / 2 == pytest.approx((width - 1) / 2, abs=1)
    assert rows[0] > 0.1 * height
    assert rows[-1] == height - 1
    around = np.ones_like(is_green)
    around[rows[0] - 2 :, columns[0] - 2 : columns[-1] + 3] = False
    assert (wall[around][:, 1] <= wall[around][:, [0, 2]].max(axis=-1) + 1e-3).all()
    assert wall[around].std() > 0.05
    over_edge = [(camera.expose_foreground(scene, t)[around][:, 3] > 0.5).sum() for t in np.linspace(0, 2, 9)]
    assert max(over_edge) > 0
    assert np.mean(over_edge) < 0.03 * height * width


@pytest.mark.parametrize("category", ["face", "hand"])
def test_nobody_wears_the_color_of_a_blue_screen(mount, category):
    (plan,) = plan_takes(dataclasses.replace(mount.config, categories=(category,)))
    blue = dataclasses.replace(mount, config=dataclasses.replace(mount.config, screen_color="blue"))
    scene = blue.scene(plan)
    camera = dataclasses.replace(mount.sharp, mixing=np.eye(3))
    wall, worn = camera.expose(scene.without_movers(), 0.0), camera.expose_foreground(scene, 0.0)
    assert (wall[..., 2] > 2 * wall[..., :2].max(axis=-1)).all()
    assert (worn[..., 2] <= worn[..., :2].max(axis=-1) + 0.01).all()  # strands cross in other shades
    assert worn[..., 3].max() > 0.99


def test_a_street_has_no_foreground(session):
    rig = session.truth.rig
    assert rig.blurry.expose_foreground(rig.scene(session.truth.take("street_train")), 0.0) is None


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    # Frame k has linear light 0.1 + 0.005 k.
    levels = np.rint(255 * from_linear(0.1 + 0.005 * np.arange(120), "srgb"))
    frames = [np.full((48, 64, 3), level, np.uint8) for level in levels]
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, 30.0, crf=1)


def test_a_clip_is_seen_upright(tmp_path):
    frames, half_turn = moving(3), [-1 << 16, 0, 0, 0, -1 << 16, 0, 0, 0, 1 << 30]
    plain = write_odd(tmp_path / "plain.mp4", frames, options={"qp": "4"})
    turned = write_odd(
        tmp_path / "turned.mp4", [frame[::-1, ::-1] for frame in frames], options={"qp": "4"}, matrix=half_turn
    )
    centered = np.array([[1, 0, 31.5], [0, 1, 23.5], [0, 0, 1]])
    seen = [ClipScene(path, (64, 48)).render(0.0, centered, (64, 48)) for path in (plain, turned)]
    assert np.abs(seen[0] - seen[1]).mean() < 0.02 < np.abs(seen[0] - seen[1][::-1, ::-1]).mean()


@pytest.mark.parametrize("category", ["street", "face", "hand"])
@pytest.mark.parametrize("has_screen", [False, True])
def test_a_clip_is_of_the_one_category_that_is_chosen(small_config, clip, tmp_path, category, has_screen):
    config = dataclasses.replace(small_config, categories=(category,))
    simulate(tmp_path / "raw", config, video=clip, green_screen=has_screen)
    (take,) = read_takes(tmp_path / "raw")
    assert (take.category, take.green_screen) == (category, has_screen)
    assert read_truth(tmp_path / "truth").takes == plan_takes(config, clip, has_screen)


def test_a_clip_s_frames_are_ticks_of_the_blur_track(small_config, clip, tmp_path):
    simulate(tmp_path / "raw", small_config, video=clip)
    truth = read_truth(tmp_path / "truth")
    (plan,) = truth.takes
    (take,) = read_takes(tmp_path / "raw")
    # The first and the last exposure, 19 ticks long each, lie inside the clip.
    assert plan.seconds == pytest.approx((120 - 18) / 600)
    frames = list(iter_frames(take.blurry))
    assert len(frames) == 4
    camera, scene = truth.rig.blurry, truth.rig.scene(plan)
    for index, frame in enumerate(frames):
        # A blurry frame is the mean of 19 whole frames of the clip, 24 further on each time.
        light = 0.9 * (0.1 + 0.005 * np.mean(24 * index + np.arange(19)))
        exposed = camera.expose(scene, frame.time_seconds)[30:50, 30:60].mean(axis=(0, 1))
        np.testing.assert_allclose(exposed, light * camera.mixing.sum(axis=1), rtol=0.01)
        recorded = frame.image[30:50, 30:60].mean(axis=(0, 1)) / 255
        np.testing.assert_allclose(recorded, from_linear(exposed, "srgb"), atol=0.012)


def test_a_sharp_frame_of_a_clip_is_one_of_its_frames(small_config, clip, tmp_path):
    simulate(tmp_path / "raw", small_config, video=clip)
    truth = read_truth(tmp_path / "truth")
    (plan,) = truth.takes
    camera, scene = truth.rig.sharp, truth.rig.scene(plan)
    for time_seconds in frame_times(truth.rig, plan, "sharp")[-40:-25]:
        (instant,) = scene.instants(float(time_seconds), camera.exposure_seconds, camera.n_instants)
        assert abs(instant - time_seconds) <= 0.5 / 600
        tick = np.clip(round(instant * 600) + 9, 0, 119)
        exposed = camera.expose(scene, float(time_seconds))[30:50, 30:60].mean(axis=(0, 1))
        expected = 0.9 * (0.1 + 0.005 * tick) * camera.mixing.sum(axis=1)
        np.testing.assert_allclose(exposed, expected, rtol=0.01)


def test_clips_that_are_no_scene(small_config, tmp_path):
    one = write_video(tmp_path / "one.mp4", [np.zeros((48, 64, 3), np.uint8)], 30.0)
    with pytest.raises(InputError, match=r"one\.mp4: holds 1 frame; expected a clip in which something moves"):
        simulate(tmp_path / "raw", small_config, video=one)
    with pytest.raises(InputError, match=r"none\.mp4"):
        simulate(tmp_path / "raw", small_config, video=tmp_path / "none.mp4")


def test_a_clip_covers_the_whole_view(clip):
    scene = ClipScene(clip, (96, 80))
    view = np.array([[1, 0, 47.5], [0, 1, 39.5], [0, 0, 1]])
    picture = scene.render(0.1, view, (96, 80))
    assert picture.std() < 1e-3
    assert picture.shape == (80, 96, 3)


def break_truth(folder, change):
    document = json.loads((folder / "truth.json").read_text())
    change(document)
    (folder / "truth.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("config"), "config"),
        (lambda document: document["config"].update(color=1), "color"),
        (lambda document: document.update(schema=2), "schema: is 2"),
        (lambda document: document["homography"][0].__setitem__(2, 7.0), "homography: was written by another version"),
    ],
)
def test_a_truth_that_is_another_simulator_s(small, tmp_path, change, message):
    for name in ("truth.json", "config.json"):
        (tmp_path / name).write_bytes((small / "truth" / name).read_bytes())
    break_truth(tmp_path, change)
    with pytest.raises(InputError, match=rf"truth\.json: .*{message}"):
        read_truth(tmp_path)


def test_a_truth_of_other_pictures_is_refused(small, tmp_path):
    for name in ("truth.json", "config.json"):
        (tmp_path / name).write_bytes((small / "truth" / name).read_bytes())
    record = json.loads((tmp_path / "config.json").read_text())
    record["photos"][0] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"config\.json: photos: is not what this machine has"):
        read_truth(tmp_path)


def test_a_truth_that_is_not_there(small, tmp_path):
    with pytest.raises(InputError, match=r"truth\.json: there is no such file"):
        read_truth(tmp_path)
    with pytest.raises(KeyError):
        read_truth(small / "truth").take("nobody")


def test_noise_is_there_where_it_is_asked_for(session):
    rig = session.truth.rig
    scene = LayeredScene(np.full((400, 400, 3), 0.3, np.float32), [], STILL)
    plate = read_image(session.raw / "takes" / "hand_train" / "plate_sharp.png").astype(np.float32)
    high = plate - cv2.GaussianBlur(plate, (0, 0), 2)
    assert 0.2 < high[40:-40, 40:-40].std() < 4
    light = rig.sharp.expose(scene, 0.0)
    assert rig.sharp.develop(light, None)[40:-40, 40:-40].std(axis=(0, 1)).max() < 0.6


class Changing:
    """A scene of one brightness, a known function of time."""

    def __init__(self, light):
        self.light = light

    def instants(self, center_seconds, exposure_seconds, n_instants):
        return midpoints(center_seconds, exposure_seconds, n_instants)

    def render(self, time_seconds, scene_to_view, size):
        return np.full((size[1], size[0], 3), self.light(time_seconds), np.float32)

    def foreground(self, time_seconds, scene_to_view, size):
        return np.full((size[1], size[0], 4), self.light(time_seconds), np.float32)


@pytest.fixture(scope="module")
def mount(tmp_path_factory):
    """The two cameras of a mirrored rig, with nothing recorded."""
    rig = write_rig(tmp_path_factory.mktemp("mount") / "rig.yaml")
    config = SimulateConfig(rig=str(rig), size=(192, 160), categories=("street",), test_takes=False)
    return build_rig(config, tuple(list_photos()))


def rolling_camera(rig, which, readout_seconds):
    return dataclasses.replace(rig.camera(which), mixing=np.eye(3), readout_seconds=readout_seconds)


BOTH = pytest.mark.parametrize("which", ["blurry", "sharp"])


@BOTH
@pytest.mark.parametrize("readout_seconds", [1e-4, 0.0081, 0.01])
def test_each_row_of_a_rolling_shutter_has_an_exposure_of_its_own(mount, which, readout_seconds):
    camera = rolling_camera(mount, which, readout_seconds)
    height = camera.size[1]
    # Rows from top to bottom; the frame's time is the middle row's.
    centers = 0.3 + readout_seconds * (np.arange(height) / (height - 1) - 0.5)
    rising = camera.expose(Changing(lambda t: 2 * t), 0.3)
    np.testing.assert_allclose(rising, np.broadcast_to(2 * centers[:, None, None], rising.shape), atol=1e-6)
    np.testing.assert_allclose(
        camera.expose_foreground(Changing(lambda t: 2 * t), 0.3)[..., 3], rising[..., 0], atol=1e-6
    )
    # The mean of a square knows how long the exposure is: its variance is that of a box.
    spread = camera.expose(Changing(lambda t: (1e3 * (t - 0.3)) ** 2), 0.3)[:, 0, 0] - (1e3 * (centers - 0.3)) ** 2
    box = (1e3 * camera.exposure_seconds) ** 2 / 12
    np.testing.assert_allclose(spread, box, rtol=0.02 if which == "blurry" else 0.55, atol=1e-5)


@BOTH
def test_what_moves_is_seen_by_each_row_where_it_was_then(mount, which):
    camera = rolling_camera(mount, which, 0.009)
    x = Wave(3.0, 40.0, 0.8, 0.02)
    profile = np.exp(-((np.arange(41) - 20.0) ** 2) / 18).astype(np.float32)
    bar = Mover(np.tile(profile[None, :, None], (400, 1, 4)), Motion(x, Wave()))
    light = camera.expose(LayeredScene(np.zeros((300, 300, 3), np.float32), [bar], STILL), 0.0)[..., 1]
    columns = np.arange(camera.size[0])
    for row in (0, 1, 40, 79, 80, 120, 158, 159):
        time_seconds = 0.009 * (row / 159 - 0.5)
        # Where the bar's middle line crosses the row in this camera's view.
        line = np.linalg.inv(camera.scene_to_view).T @ (1, 0, -x(time_seconds))
        expected = -(line[1] * row + line[2]) / line[0]
        assert (columns * light[row]).sum() / light[row].sum() == pytest.approx(expected, abs=0.04)
    # In the time of the read-out the bar goes on by more than that.
    assert x(0.0045) - x(-0.0045) > 1.5


@BOTH
def test_a_row_is_that_of_a_global_shutter_at_the_row_s_time(mount, which):
    scene = mount.scene(plan_takes(mount.config)[0])
    camera = dataclasses.replace(mount.camera(which), readout_seconds=0.01)
    still = dataclasses.replace(camera, readout_seconds=0.0)
    rolling = camera.expose(scene, 0.3)
    for row in (0, 33, 80, 120, 159):
        alike = np.abs(rolling[row] - still.expose(scene, 0.3 + 0.01 * (row / 159 - 0.5))[row])
        assert alike.mean() < 4e-4
        assert alike.max() < 0.01
    for row, shift in ((0, -0.005), (159, 0.005)):
        assert np.abs(rolling[row] - still.expose(scene, 0.3)[row]).mean() > 2e-3, f"row {row}, {shift} s off"


def test_a_part_of_a_view_is_read_out_as_the_whole(mount):
    (plan,) = plan_takes(dataclasses.replace(mount.config, categories=("hand",)))
    scene = mount.scene(plan)
    camera = dataclasses.replace(mount.blurry, readout_seconds=0.01)
    to_part = np.array([[1.0, 0, -30], [0, 1, -20], [0, 0, 1]])
    part = dataclasses.replace(
        camera,
        size=(120, 100),
        scene_to_view=to_part @ camera.scene_to_view,
        sensor_height=camera.size[1],
        view_to_sensor=np.linalg.inv(to_part),
    )
    for exposed, whole in (
        (part.expose(scene, 0.2), camera.expose(scene, 0.2)[20:120, 30:150]),
        (part.expose_foreground(scene, 0.2), camera.expose_foreground(scene, 0.2)[20:120, 30:150]),
    ):
        assert np.abs(exposed - whole).max() < 0.01
        assert np.abs(exposed - whole).mean() < 2e-4
    np.testing.assert_allclose(part.row_delays(), np.tile(camera.row_delays()[20:120], (1, 120)), atol=1e-12)


@pytest.fixture(scope="module")
def shutters(shared):
    return shared_session(
        shared,
        size=(96, 80),
        seconds=0.2,
        categories=("street",),
        max_offset_seconds=0.05,
        noise=False,
        crf=4,
        blurry_exposure_seconds=0.0125,
        blurry_readout_seconds=0.03,
        sharp_readout_seconds=0.008,
        motion=3.0,
    )


@pytest.mark.parametrize(("which", "index"), [("blurry", 2), ("sharp", 13)])
def test_recordings_have_the_shutters_that_were_asked_for(shutters, which, index):
    document = read_json(shutters.root / "truth" / "truth.json")
    assert document["exposure_seconds"] == {"blurry": 0.0125, "sharp": pytest.approx(1 / 1200)}
    assert document["readout_seconds"] == {"blurry": 0.03, "sharp": 0.008}
    rig, plan = shutters.truth.rig, shutters.truth.takes[0]
    frame = list(iter_frames([shutters.raw / "takes" / plan.name / f"{which}.mp4"]))[index].image
    center = frame_times(rig, plan, which)[index]
    camera, scene = rig.camera(which), rig.scene(plan)
    still = dataclasses.replace(camera, readout_seconds=0.0)

    def distance(rows, shift_seconds):
        expected = encode(still.expose(scene, center + shift_seconds) * camera.aperture[..., None], "srgb")
        # Of the brightness: half of the color's detail is lost to the coding.
        return np.abs((frame[rows].astype(int) - expected[rows]) @ (0.21, 0.72, 0.07)).mean()

    third = camera.readout_seconds / 3
    # Six rows about a sixth, a half and five sixths of the height.
    early, middle, late = (slice(round(79 * share) - 3, round(79 * share) + 3) for share in (1 / 6, 1 / 2, 5 / 6))
    for rows, shift in ((early, -third), (middle, 0.0), (late, third)):
        assert distance(rows, shift) < 1.5
        assert distance(rows, shift) < 0.75 * min(distance(rows, shift + step) for step in (-third, third))


def test_captures_of_what_stands_still_know_no_shutter(shutters, tmp_path):
    plain = make_session(
        tmp_path,
        **(
            dataclasses.asdict(shutters.truth.rig.config)
            | {"blurry_readout_seconds": 0.0, "sharp_readout_seconds": 0.0}
        ),
    )
    for path in sorted((shutters.raw / "calibration").rglob("*.png")):
        assert path.read_bytes() == (plain.raw / path.relative_to(shutters.raw)).read_bytes()


@pytest.mark.parametrize("category", ["street", "face", "hand"])
def test_a_scene_without_motion_stands_still(mount, category):
    (plan,) = plan_takes(dataclasses.replace(mount.config, categories=(category,)))

    def render(motion, time_seconds):
        moved = dataclasses.replace(mount, config=dataclasses.replace(mount.config, motion=motion))
        return moved.scene(plan).render(time_seconds, mount.blurry.scene_to_view, mount.blurry.size)

    assert np.array_equal(render(0.0, 0.1), render(0.0, 0.37))
    full, half = (np.abs(render(motion, 0.1) - render(motion, 0.11)).mean() for motion in (1.0, 0.5))
    assert 0.3 * full < half < 0.7 * full


def test_every_movement_is_multiplied():
    motion = Motion(Wave(1.0, 2.0, 3.0, 0.1), Wave(4.0, 5.0), Wave(0.0, 6.0), Wave(1.0, 0.1))
    assert motion.scaled(0.5) == Motion(Wave(1.0, 1.0, 3.0, 0.1), Wave(4.0, 2.5), Wave(0.0, 3.0), Wave(1.0, 0.05))
    assert motion.scaled(1.0) == motion


def test_a_take_without_motion_shows_one_picture(shared):
    changes = {"noise": False, "motion": 0.0, "max_offset_seconds": 0.05}
    still = shared_session(shared, size=(96, 80), seconds=0.16, categories=("street",), **changes)
    rig, plan = still.truth.rig, still.truth.takes[0]
    assert rig.config.motion == 0
    for which in ("blurry", "sharp"):
        frames = [frame.image for frame in iter_frames([still.raw / "takes" / plan.name / f"{which}.mp4"])]
        changes = [np.abs(frame.astype(int) - frames[0]).mean() for frame in frames]
        assert max(changes) < 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blurry_exposure_seconds": 0.041}, "blurry_exposure_seconds must be at most a frame of rig 'tiny', 0.04 s"),
        ({"blurry_readout_seconds": 0.041}, "blurry_readout_seconds must be at most"),
        ({"sharp_readout_seconds": 0.0101}, "sharp_readout_seconds must be at most a frame of rig 'tiny', 0.01 s"),
    ],
)
def test_shutters_that_do_not_fit_into_a_frame(small_config, tmp_path, changes, message):
    with pytest.raises(Rb2vError, match=message):
        simulate(tmp_path / "raw", dataclasses.replace(small_config, **changes))
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"blurry_exposure_seconds": 0.01},
        {"blurry_readout_seconds": 0.01},
        {"sharp_readout_seconds": 0.005},
        {"motion": 0.0},
    ],
)
def test_a_clip_has_the_rig_s_own_shutter_and_motion(small_config, clip, tmp_path, changes):
    with pytest.raises(InputError, match=rf"clip\.mp4: a clip cannot be shown with {next(iter(changes))} = "):
        simulate(tmp_path / "raw", dataclasses.replace(small_config, **changes), video=clip)
    assert not (tmp_path / "raw").exists()


def test_a_clip_is_not_read_out_row_by_row(mount, clip):
    camera = dataclasses.replace(mount.sharp, readout_seconds=0.005)
    with pytest.raises(ValueError, match="whole ticks"):
        camera.expose(ClipScene(clip, (96, 80)), 0.1)

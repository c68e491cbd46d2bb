import dataclasses
from itertools import pairwise

import cv2
import numpy as np
import pytest

from rb2v.core.color import encode, from_linear
from rb2v.core.homography import warp_points
from rb2v.errors import InputError, Rb2vError
from rb2v.simulator.config import MotionKind, SequencesConfig
from rb2v.simulator.scene import LayeredScene, Motion, Mover, Wave
from rb2v.simulator.sequences import SimulatedTake, build_take, split_photos
from rb2v.simulator.textures import list_photos, load_photo

KINDS = [kind for kind in MotionKind.__args__ if kind != "blocks"]
SIZE = 96
STILL = Motion(Wave(), Wave())


def make_view(size):
    return np.array([[1, 0, (size - 1) / 2], [0, 1, (size - 1) / 2], [0, 0, 1]], dtype=float)


def make_wall(size=160):
    photo = load_photo(list_photos(more=True)[0])
    return np.ascontiguousarray(photo[:size, 100 : 100 + size])


def ramp(center=0.0, rise=0.0):
    """A wave that rises by ``rise`` from -0.015 s to 0.015 s, all but evenly."""
    frequency = 0.5
    return Wave(center, rise / (2 * np.sin(2 * np.pi * frequency * 0.015)), frequency)


def make_take(kind="mixed", index=0, split="train", **changes):
    config = SequencesConfig(kind, **changes)
    return build_take(config, split_photos(list_photos(more=True), split), split, index)


def remap(picture, places):
    return cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR)


class TestDisplacement:
    def test_a_camera_that_pans_right_by_whole_pixels_moves_the_picture_by_as_many(self):
        scene = LayeredScene(make_wall(), (), Motion(ramp(rise=6), ramp(rise=-3)))
        view = make_view(SIZE)
        moved = scene.displacement(-0.015, 0.015, view, (SIZE, SIZE))
        np.testing.assert_allclose(moved, np.broadcast_to([6.0, -3.0], moved.shape), atol=1e-5)
        first, last = (scene.render(time, view, (SIZE, SIZE)) for time in (-0.015, 0.015))
        # What is seen at (x, y) first is seen at (x + 6, y - 3) last.
        np.testing.assert_allclose(last[:-3, 6:], first[3:, :-6], atol=0.02)
        assert np.abs(last[:-3, 6:] - first[3:, :-6]).mean() < 1e-3

    def test_the_first_frame_moved_by_the_displacement_is_the_last(self):
        motion = Motion(ramp(2, 7), ramp(-1, -4), ramp(10, 6), ramp(1.0, 0.05))
        scene = LayeredScene(make_wall(), (), motion)
        view = make_view(SIZE)
        moved = scene.displacement(-0.015, 0.015, view, (SIZE, SIZE))
        first, last = (scene.render(time, view, (SIZE, SIZE)) for time in (-0.015, 0.015))
        x, y = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))
        pixels = np.dstack([x, y])
        inner = (slice(14, -14), slice(14, -14))

        def difference(displacement):
            halves = [remap(first, pixels - displacement / 2), remap(last, pixels + displacement / 2)]
            return np.abs(halves[0] - halves[1])[inner].mean()

        assert np.ptp(moved[inner][..., 0]) > 5  # it turns and grows, so that no mean of it would do
        assert difference(moved) < 0.006
        assert difference(np.broadcast_to(moved.mean(axis=(0, 1)), moved.shape)) > 3 * difference(moved)
        assert difference(-moved) > 10 * difference(moved)

    def test_an_object_moves_with_the_camera_and_by_itself_and_counts_by_its_opacity(self):
        rgba = np.ones((60, 60, 4), np.float32)
        rgba[0] = rgba[-1] = rgba[:, 0] = rgba[:, -1] = 0
        mover = Mover(rgba, Motion(ramp(-10, 5), ramp(4, 2)))
        scene = LayeredScene(np.zeros((160, 160, 3), np.float32), [mover], Motion(ramp(rise=-2), ramp(rise=1)))
        view = make_view(SIZE)
        moved = scene.displacement(-0.015, 0.015, view, (SIZE, SIZE))
        np.testing.assert_allclose(moved[50, 40], [3, 3], atol=1e-4)
        np.testing.assert_allclose(moved[[2, 2, -3, -3], [2, -3, 2, -3]], np.tile([-2.0, 1.0], (4, 1)), atol=1e-4)
        # Before a black wall the white object shows its own opacity.
        opacity = scene.render(0.0, view, (SIZE, SIZE))[..., 0].mean()
        np.testing.assert_allclose(moved.mean(axis=(0, 1)), [-2 + 5 * opacity, 1 + 2 * opacity], atol=1e-3)
        assert 0.3 < opacity < 0.4

    def test_a_later_object_covers_an_earlier_one(self):
        rgba = np.pad(np.ones((40, 40, 4), np.float32), ((1, 1), (1, 1), (0, 0)))
        movers = [Mover(rgba, Motion(ramp(rise=rise), Wave())) for rise in (5, -4)]
        scene = LayeredScene(make_wall(), movers, STILL)
        moved = scene.displacement(-0.015, 0.015, make_view(SIZE), (SIZE, SIZE))
        np.testing.assert_allclose(moved[48, 48], [-4, 0], atol=1e-4)


class TestTakes:
    # Of opposed motion hardly any is left in the mean; its displacement is tested pixel by pixel.
    @pytest.mark.parametrize("kind", sorted(set(KINDS) - {"opposed"}))
    def test_the_motion_is_that_of_the_pictures(self, kind):
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        errors, lengths = [], []
        for index in range(4):
            take = make_take(kind, index, size=128)
            for sequence in range(2):
                gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in take.render(sequence).sharp]
                steps = [flow.calc(one, other, None).mean(axis=(0, 1)) for one, other in pairwise(gray)]
                errors.append(np.linalg.norm(np.sum(steps, axis=0) - take.motion_px(sequence)))
                lengths.append(np.linalg.norm(take.motion_px(sequence)))
        assert np.median(errors) < 0.1 * np.median(lengths)

    def test_opposed_objects_move_as_their_displacement_says(self):
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        errors, lengths = [], []
        for index in range(4):
            take = make_take("opposed", index, size=128)
            gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in take.render(0).sharp]
            # Half-way, where the displacement is told, from the frame before to the one after.
            steps = flow.calc(gray[2], gray[4], None) * 3
            moved, layers = take.displacement(0), take.layers(0)
            for layer in np.unique(layers)[1:]:
                inside = cv2.erode((layers == layer).astype(np.uint8), np.ones((9, 9))) > 0
                if inside.sum() > 100:
                    errors.append(np.linalg.norm(np.median((steps - moved)[inside], axis=0)))
                    lengths.append(np.linalg.norm(moved[inside].mean(axis=0)))
        assert len(errors) > 6
        assert np.median(errors) < 0.2 * np.median(lengths)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_camera_never_sees_beyond_the_wall(self, kind):
        for index in range(15):
            take = make_take(kind, index, size=32)
            corners = np.array([[0, 0], [31, 0], [0, 31], [31, 31]], dtype=float)
            reach = max(
                np.abs(warp_points(np.linalg.inv(take.scene_to_view @ take.scene.rig_motion.at(time)), corners)).max()
                for time in np.arange(0, 20, 0.05)
            )
            assert reach < (take.scene.wall.shape[0] - 1) / 2

    def test_a_sequence_is_seven_of_nineteen_instants_and_the_mean_light_of_all(self):
        take = make_take()
        times = take.instants(2)
        np.testing.assert_allclose(np.diff(times), np.full(18, 1 / 600), atol=1e-12)
        view = take.scene_to_view
        track = np.stack([take.scene.render(float(time), view, (SIZE, SIZE)) for time in times])
        sequence = take.render(2)
        assert sequence.sharp.shape == (7, SIZE, SIZE, 3)

        def error(picture, linear):
            return np.abs(picture.astype(float) - encode(linear, "srgb")).mean()

        assert all(error(sequence.sharp[k], track[3 * k]) < 0.8 for k in range(7))
        assert error(sequence.blurry, track.mean(axis=0)) < 0.8
        # The mean of coded values is another image, and so is that of the seven frames.
        coded = 255 * from_linear(track, "srgb").mean(axis=0)
        assert np.abs(sequence.blurry - coded).mean() > 1.2 * error(sequence.blurry, track.mean(axis=0))

    @pytest.mark.parametrize("kind", KINDS)
    def test_something_moves_from_every_frame_to_the_next(self, kind):
        for index in range(3):
            sharp = make_take(kind, index).render(0).sharp.astype(float)
            assert np.abs(np.diff(sharp, axis=0)).mean(axis=(1, 2, 3)).min() > 1.5  # noise alone makes 0.8

    def test_a_sequence_depends_on_its_index_alone(self):
        one, other = make_take(size=32), make_take(size=32)
        one.render(0)
        for name in ("blurry", "sharp"):
            np.testing.assert_array_equal(getattr(one.render(3), name), getattr(other.render(3), name))
        np.testing.assert_array_equal(one.motion_px(3), other.motion_px(3))
        assert not np.array_equal(one.render(3).sharp, one.render(4).sharp)
        for another in (make_take(size=32, index=1), make_take(size=32, seed=1), make_take(size=32, split="test")):
            assert not np.array_equal(another.render(3).sharp, one.render(3).sharp)

    def test_with_one_motion_pictures_move_as_one(self):
        spread = {}
        for kind in KINDS:
            shares = []
            for index in range(6):
                take = make_take(kind, index)
                times, size = take.instants(0), (SIZE, SIZE)
                moved = take.scene.displacement(times[0], times[-1], take.scene_to_view, size)
                shares.append(np.linalg.norm(moved - take.motion_px(0), axis=-1).mean() / 10)
            spread[kind] = np.mean(shares)
        assert spread["single"] < 0.5 * spread["mixed"]

    def test_a_take_can_be_made_of_any_scene(self):
        take = SimulatedTake("pan", LayeredScene(make_wall(), (), Motion(Wave(0, 8, 2.0), Wave())), 64, (0,))
        times = take.instants(0)
        expected = Wave(0, 8, 2.0)(times[-1]) - Wave(0, 8, 2.0)(times[0])
        np.testing.assert_allclose(take.motion_px(0), [expected, 0], atol=1e-4)


class TestBlocks:
    def test_one_block_moves_before_a_dark_wall(self):
        for index in range(4):
            sequence = make_take("blocks", index).render(0)
            bright = sequence.sharp.max(axis=-1) > 100
            assert (bright.mean(axis=(1, 2)) < 0.15).all()
            places = np.array([np.argwhere(frame).mean(axis=0) for frame in bright])
            assert np.linalg.norm(places[-1] - places[0]) > 0.12 * SIZE
            assert (np.linalg.norm(np.diff(places, axis=0), axis=1) > 0.5).all()


class TestSplits:
    @pytest.mark.parametrize("n", range(2, 9))
    def test_no_photograph_is_in_both(self, n, tmp_path):
        photos = [tmp_path / f"{index}.png" for index in range(n)]
        train, test = split_photos(photos, "train"), split_photos(photos, "test")
        assert train
        assert test
        assert sorted((*train, *test)) == photos

    def test_one_photograph_is_not_shared(self, tmp_path):
        with pytest.raises(Rb2vError, match="there is 1; expected 2 or more"):
            split_photos([tmp_path / "one.png"], "train")


@pytest.mark.parametrize(
    "changes",
    [
        {"motion": "fast"},
        {"train": 0},
        {"test": -1},
        {"size": 31},
        {"per_scene": 0},
        {"seed": -1},
    ],
)
def test_what_is_out_of_range_is_refused(changes):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(SequencesConfig(), **changes)
    assert caught.value.key.partition(".")[0] == next(iter(changes))

"""Tracking: numbers that stay, the detector where a track is lost, and nothing smoothed."""

import numpy as np
import pytest
from spots import SpotModel, draw_spots

from rb2v.errors import InputError
from rb2v.landmarks import Crop, LandmarkConfig, Tracker, find_landmarks
from rb2v.landmarks.instance import Landmarks
from rb2v.landmarks.tracking import track


def middles(found):
    return {index: landmarks.points.mean(axis=0).round().tolist() for index, landmarks in found.items()}


def test_a_spot_keeps_its_number_and_the_detector_runs_once():
    model = SpotModel()
    path = [(30 + 5 * k, 60) for k in range(10)]
    found = track(model, [draw_spots(point) for point in path], LandmarkConfig(max_instances=1))
    assert [middles(one) for one in found] == [{0: list(point)} for point in path]
    assert model.n_searches == 1


def test_a_lost_spot_is_searched_in_every_frame_and_comes_back_under_a_new_number():
    model = SpotModel()
    images = [draw_spots((30, 60)), *[draw_spots()] * 3, draw_spots((120, 20))]
    found = track(model, images, LandmarkConfig(max_instances=1, detect_every=100))
    assert [sorted(one) for one in found] == [[0], [], [], [], [1]]
    assert model.n_searches == 5


def test_a_jump_further_than_the_crop_is_caught_by_the_detector_in_the_same_frame():
    found = track(SpotModel(), [draw_spots((30, 60)), draw_spots((130, 60))], LandmarkConfig(max_instances=1))
    assert middles(found[1]) == {1: [130, 60]}


def test_further_spots_are_found_now_and_then():
    model = SpotModel()
    images = [draw_spots((30, 60)), *[draw_spots((30, 60), (120, 60))] * 6]
    found = track(model, images, LandmarkConfig(max_instances=2, detect_every=3))
    assert [sorted(one) for one in found] == [[0], [0], [0], [0, 1], [0, 1], [0, 1], [0, 1]]
    assert model.n_searches == 2


def test_two_tracks_on_one_spot_are_one():
    tracker = Tracker(SpotModel(), LandmarkConfig(max_instances=2, detect_every=1))
    assert sorted(tracker.update(draw_spots((60, 60), (90, 60)))) == [0, 1]
    assert sorted(tracker.update(draw_spots((75, 60)))) == [0]


def test_no_more_are_followed_than_asked_for():
    image = draw_spots((20, 60), (70, 60), (120, 60))
    assert len(find_landmarks(SpotModel(), image, LandmarkConfig(max_instances=2))) == 2
    assert len(find_landmarks(SpotModel(), image, LandmarkConfig(max_instances=5))) == 3
    assert find_landmarks(SpotModel(), draw_spots()) == []


def test_points_that_are_not_finite_are_not_found():
    class Broken(SpotModel):
        def measure(self, image, crop):
            return Landmarks(np.full((21, 2), np.nan), 1.0)

    assert find_landmarks(Broken(), draw_spots((60, 60))) == []


def test_several_passes_measure_about_what_was_measured():
    class Halfway(SpotModel):
        """Comes half of the way to the spot each time."""

        def measure(self, image, crop):
            there = super().measure(image, crop)
            return Landmarks((there.points + self._ring + crop.center) / 2, there.score)

        def find(self, image, min_score):
            return [Crop((crop.center[0] + 8, crop.center[1]), crop.side) for crop in super().find(image, min_score)]

    off = [
        find_landmarks(Halfway(), draw_spots((60, 60)), LandmarkConfig(passes=passes))[0].points[:, 0].mean() - 60
        for passes in (1, 2, 3)
    ]
    # Two passes more for what is new, but where one is asked for.
    np.testing.assert_allclose(off, [4, 0.5, 0.25])


@pytest.mark.parametrize(
    ("name", "value"), [("targets", ()), ("targets", ("foot",)), ("passes", 0), ("min_score", 1.5), ("smooth", -1)]
)
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(InputError) as error:
        LandmarkConfig(**{name: value})
    assert error.value.key == name or error.value.key.startswith(f"{name}.")

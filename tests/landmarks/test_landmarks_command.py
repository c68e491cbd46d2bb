"""The command: tables of images, folders, videos and data sets, with models that need no weights; and bad input."""

import csv

import numpy as np
import pytest
from spots import SpotModel, draw_spots

from rb2v.errors import InputError
from rb2v.io.encoder import write_video
from rb2v.io.video import iter_frames, read_image, write_image
from rb2v.landmarks import load_models, write_landmarks
from rb2v.models import CATALOGUE


@pytest.fixture
def spots(monkeypatch):
    models = {target: lambda target=target: SpotModel(target) for target in ("face", "hand")}
    monkeypatch.setattr("rb2v.landmarks.models.LANDMARK_MODELS", models)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models" / "landmarks"


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def video(tmp_path):
    """A spot that moves and is away in two frames, and in one is beside another."""
    frames = [draw_spots((30 + 4 * k, 60)) for k in range(8)]
    frames[4:6] = [draw_spots()] * 2
    frames[6] = draw_spots((54, 60), (120, 30))
    return write_video(tmp_path / "spots.mp4", frames, 25)


def test_a_video_becomes_a_table_and_a_drawn_video(rb2v, tmp_path, spots, video):
    out, drawn = tmp_path / "table.csv", tmp_path / "drawn.mp4"
    status, output, _ = rb2v("landmarks", video, "--out", out, "--drawn", drawn, "--targets", "hand")
    assert status == 0
    assert output == f"hand: found in 6 of 8 frames, more than one in 1\n{out}\n{drawn}\n"
    rows = read_rows(out)
    assert {row["source"] for row in rows} == {"spots.mp4"}
    assert sorted({int(row["frame"]) for row in rows}) == [0, 1, 2, 3, 6, 7]
    first = np.array([(float(row["x"]), float(row["y"])) for row in rows if row["frame"] == "2"])
    assert first.shape == (21, 2)
    np.testing.assert_allclose(first.mean(axis=0), [38, 60], atol=0.5)
    plain, marked = ([frame.image.astype(int) for frame in iter_frames([path])] for path in (video, drawn))
    changed = [np.abs(one - other).max() > 60 for one, other in zip(plain, marked, strict=True)]
    assert changed == [True] * 4 + [False] * 2 + [True] * 2


def test_the_same_input_gives_the_same_bytes(tmp_path, spots, video):
    for name in ("one", "other"):
        write_landmarks(video, tmp_path / f"{name}.csv", drawn=tmp_path / f"{name}.mp4")
    for suffix in ("csv", "mp4"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"other.{suffix}").read_bytes()


def test_both_targets_are_found_by_default(rb2v, tmp_path, spots):
    image = write_image(tmp_path / "spot.png", draw_spots((60, 60)))
    out, drawn = tmp_path / "table.csv", tmp_path / "drawn.png"
    status, output, _ = rb2v("landmarks", image, "--out", out, "--drawn", drawn)
    assert status == 0
    assert output.startswith("face: found in 1 of 1 frames\nhand: found in 1 of 1 frames\n")
    assert [row["target"] for row in read_rows(out)] == ["face"] * 68 + ["hand"] * 21
    assert np.abs(read_image(drawn).astype(int) - read_image(image)).max() > 60


def test_images_of_a_folder_are_found_one_by_one_and_those_without_anything_named(rb2v, tmp_path, spots):
    for name, centers in {"b10.png": [(60, 60)], "b9.png": [(60, 60), (120, 30)], "none.png": []}.items():
        write_image(tmp_path / "images" / name, draw_spots(*centers))
    out, drawn = tmp_path / "table.csv", tmp_path / "drawn"
    status, output, errors = rb2v("landmarks", tmp_path / "images", "--out", out, "--drawn", drawn, "--targets", "hand")
    assert status == 0
    assert output.startswith("hand: found in 2 of 3 frames, more than one in 1\n")
    assert errors == "no hand in none.png\n"
    sources = [row["source"] for row in read_rows(out)]
    assert sources == ["b9.png"] * 42 + ["b10.png"] * 21
    assert sorted(path.name for path in drawn.iterdir()) == ["b10.png.png", "b9.png.png", "none.png.png"]


def test_samples_of_a_data_set_are_clips_of_their_own(tmp_path, spots, tiny_shards):
    (count,) = write_landmarks(tiny_shards, tmp_path / "table.csv", drawn=tmp_path / "drawn.mp4")[1:]
    assert (count.target, count.frames) == ("hand", 16 * 7)
    assert len(list(iter_frames([tmp_path / "drawn.mp4"]))) == 16 * 7


def test_nothing_found_is_counted_and_leaves_an_empty_table(rb2v, tmp_path, spots):
    image = write_image(tmp_path / "dark.png", draw_spots(size=(20, 20)))
    status, output, _ = rb2v("landmarks", image, "--out", tmp_path / "table.csv")
    assert status == 0
    assert output.startswith("face: found in 0 of 1 frames\nhand: found in 0 of 1 frames\n")
    assert read_rows(tmp_path / "table.csv") == []


@pytest.mark.parametrize(
    ("source", "out", "drawn", "named"),
    [
        ("missing.png", "table.csv", None, "missing.png"),
        ("empty", "table.csv", None, "empty"),
        ("broken.png", "table.csv", None, "broken.png"),
        ("broken.mp4", "table.csv", None, "broken.mp4"),
        ("spot.png", "table.txt", None, "table.txt"),
        ("spot.png", "table.csv", "drawn.mp4", "drawn.mp4"),
        ("spot.png", "table.csv", "spot.png", "spot.png"),
        ("images", "table.csv", "drawn.png", "drawn.png"),
        ("images", "table.csv", "images", "images"),
        ("spots.mp4", "table.csv", "drawn.png", "drawn.png"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(tmp_path, spots, video, source, out, drawn, named):
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "spot.png", draw_spots((60, 60)))
    write_image(tmp_path / "images" / "spot.png", draw_spots((60, 60)))
    for name in ("broken.png", "broken.mp4"):
        (tmp_path / name).write_bytes(
            (tmp_path / name.replace("broken", "spot").replace("spot.mp4", "spots.mp4")).read_bytes()[:90]
        )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as error:
        write_landmarks(tmp_path / source, tmp_path / out, drawn=None if drawn is None else tmp_path / drawn)
    assert error.value.source == str(tmp_path / named)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [None, b"", b"TFL3" * 100])
def test_weights_that_are_missing_or_of_another_network_are_named(rb2v, tmp_path, cache, content):
    image = write_image(tmp_path / "spot.png", draw_spots((60, 60)))
    path = cache / "face_detection.tflite"
    if content is not None:
        cache.mkdir(parents=True)
        path.write_bytes(content)
    status, _, message = rb2v("landmarks", image, "--out", tmp_path / "table.csv")
    assert status == 2
    assert message.startswith(f"error: {path}: ")
    assert "rb2v models fetch landmarks" in message
    assert not (tmp_path / "table.csv").exists()


def test_weights_of_dlib_that_are_no_such_file_are_named(tmp_path):
    weights = tmp_path / "points.dat"
    for content in (None, b"no weights"):
        if content is not None:
            weights.write_bytes(content)
        with pytest.raises(InputError) as error:
            load_models(["face"], weights)
        assert error.value.source == str(weights)


def test_every_file_of_the_catalogue_has_a_size_and_a_hash():
    files = CATALOGUE["landmarks"].files
    assert [file.save_as for file in files] == [
        *("face_detection.tflite", "face_landmark.tflite", "palm_detection.tflite", "hand_landmark.tflite")
    ]
    assert all(len(file.sha256) == 64 and file.n_bytes > 0 and file.convert is None for file in files)

import pickle

import cv2
import numpy as np
import pytest
import yaml
from textures import write_data_set

from rb2v.core.motion_classes import vectors_of
from rb2v.errors import InputError
from rb2v.models.pickled_boxes import read_pickled_box
from rb2v.shards import ShardReader
from rb2v.shards.exchange import ImportConfig, export_shards, import_folder
from rb2v.shards.exchange.baist import place_box
from rb2v.shards.guidance_table import GuidanceReader, GuidanceSource, write_guidance

VIDEOS = {"train": ["gBR_d04"], "test": ["gPO_d10"]}
WIDTH, HEIGHT, N_IMAGES = 40, 30, 5


def write_videos(root, n_images=N_IMAGES):
    """Write the layout as the authors' data have it; returns blurry images and guidance by video and index."""
    rng = np.random.default_rng(0)
    images, maps = {}, {}
    root.mkdir()
    for split, videos in VIDEOS.items():
        (root / f"{split}.yaml").write_text(yaml.safe_dump(videos))
        for video in videos:
            for name in ("blur", "sharp", "blur_anno", "trend+_avg"):
                (root / video / name).mkdir(parents=True)
            for index in range(n_images):
                blurry = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
                cv2.imwrite(str(root / video / "blur" / f"{index:08d}.png"), blurry[..., ::-1])
                for k in range(7):
                    sharp = np.full((HEIGHT, WIDTH, 3), 10 * k, dtype=np.uint8)
                    cv2.imwrite(str(root / video / "sharp" / f"{index:08d}_{k:03d}.png"), sharp)
                box = np.array([8.0, 6.0, 32.0, 26.0, 0.99], dtype=np.float32)
                (root / video / "blur_anno" / f"{index:08d}.pkl").write_bytes(pickle.dumps({"bbox": box, "area": 1.5}))
                classes = rng.integers(0, 5, (HEIGHT // 2, WIDTH // 2), dtype=np.uint8)
                np.save(root / video / "trend+_avg" / f"{index:08d}_trend.npy", vectors_of(classes).astype(np.float32))
                images[video, index], maps[video, index] = blurry, classes
    return images, maps


@pytest.fixture(scope="module")
def authors(tmp_path_factory):
    root = tmp_path_factory.mktemp("baist") / "b-aist++"
    return root, *write_videos(root)


def config(**chosen):
    return ImportConfig(**{"skip_ends": 1, "box_size": (24, 20), "box_margin": 0.0, **chosen})


class TestImport:
    def test_samples_are_the_boxes_and_their_guidance(self, authors, tmp_path):
        root, images, maps = authors
        summary = import_folder(root, tmp_path / "shards", config(), guidance=tmp_path / "guidance.h5")
        assert summary.guidance == tmp_path / "guidance.h5"
        for split, (video,) in VIDEOS.items():
            reader = ShardReader(tmp_path / "shards", split)
            guidance = GuidanceReader(tmp_path / "guidance.h5", reader)
            assert reader.keys == [(split, video, index) for index in (1, 2, 3)]
            for row, (_, _, index) in enumerate(reader.keys):
                sample = reader.read(row)
                np.testing.assert_array_equal(sample.blurry, images[video, index][6:26, 8:32])
                assert [int(frame.mean()) for frame in sample.sharp] == [10 * k for k in range(7)]
                np.testing.assert_array_equal(guidance.read(row), maps[video, index][3:13, 4:16])

    def test_one_draw_of_the_crop_holds_for_all_images_of_a_sample(self, authors, tmp_path):
        root, images, _ = authors
        import_folder(root, tmp_path / "shards", config(box_margin=1.0))
        sizes = set()
        for row, (_, video, index) in enumerate(ShardReader(tmp_path / "shards", "train").keys):
            found = ShardReader(tmp_path / "shards", "train").read(row).blurry
            crops = [place_box((8, 6, 32, 26), (WIDTH, HEIGHT), share) for share in np.linspace(0, 1, 201)]
            near = [
                crop
                for crop in dict.fromkeys(crops)
                if np.array_equal(
                    cv2.resize(
                        images[video, index][crop[1] : crop[3], crop[0] : crop[2]],
                        (24, 20),
                        interpolation=cv2.INTER_AREA,
                    ),
                    found,
                )
            ]
            assert near
            sizes.add(near[0])
        assert len(sizes) > 1
        tested = ShardReader(tmp_path / "shards", "test").read(0)
        np.testing.assert_array_equal(tested.blurry, images["gPO_d10", 1][6:26, 8:32])

    def test_the_authors_leave_out_forty_images_at_either_end(self, authors, tmp_path):
        with pytest.raises(InputError):
            import_folder(authors[0], tmp_path / "shards", ImportConfig())

    def test_flow_stands_in_for_guidance(self, tmp_path):
        root = tmp_path / "videos"
        write_videos(root, 3)
        for path in root.glob("*/trend+_avg/*.npy"):
            path.unlink()
        for (video,) in VIDEOS.values():
            (root / video / "flow").mkdir()
            for index in range(3):
                flow = np.zeros((HEIGHT, WIDTH, 12), dtype=np.float32)
                flow[..., 0::2] = -1
                np.save(root / video / "flow" / f"{index:08d}_flow.npy", flow)
        import_folder(root, tmp_path / "shards", config(), guidance=tmp_path / "g.h5")
        assert (GuidanceReader(tmp_path / "g.h5", ShardReader(tmp_path / "shards")).read(0) == 2).all()

    def test_images_in_which_nobody_was_found_are_left_out(self, tmp_path):
        root = tmp_path / "videos"
        write_videos(root)
        (root / "gBR_d04" / "blur_anno" / "00000002.pkl").unlink()
        import_folder(root, tmp_path / "shards", config())
        assert [key[2] for key in ShardReader(tmp_path / "shards", "train").keys] == [1, 3]

    @pytest.mark.parametrize("fault", ["code", "box", "trend", "list", "sharp", "both"])
    def test_what_is_wrong_is_named(self, rb2v, tmp_path, fault):
        root = tmp_path / "videos"
        write_videos(root)
        named = root / "gBR_d04" / "blur_anno" / "00000002.pkl"
        if fault == "code":
            named.write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
        elif fault == "box":
            named.write_bytes(pickle.dumps({"bbox": [5, 5, 5, 9]}))
        elif fault == "trend":
            named = root / "gBR_d04" / "trend+_avg" / "00000002_trend.npy"
            named.write_bytes(named.read_bytes()[:-8])
        elif fault == "list":
            named = root / "train.yaml"
            named.write_text("- ../elsewhere\n")
        elif fault == "sharp":
            named = root / "gBR_d04" / "sharp" / "00000002_004.png"
            named.unlink()
        else:
            named = root
            (root / "test.yaml").write_text(yaml.safe_dump(VIDEOS["train"]))
        outcome = rb2v(
            *("import", root, "--format", "baist", "--out", tmp_path / "shards", "--guidance", tmp_path / "g.h5"),
            *("--skip-ends", 1, "--box-size", "24x20", "--workers", 1),
        )
        assert outcome.status == 2
        assert str(named) in outcome.err
        assert not (tmp_path / "g.h5").exists()


def test_what_is_exported_comes_back(rb2v, tmp_path):
    write_data_set(tmp_path / "shards", 4, 2, 24, n_takes=2)
    reader = ShardReader(tmp_path / "shards")
    rng = np.random.default_rng(0)
    rows = [(key, rng.integers(0, 5, (12, 12), dtype=np.uint8)) for key in reader.keys]
    write_guidance(tmp_path / "g.h5", tmp_path / "shards", GuidanceSource("dis", 1.0), rows)
    options = ("--format", "baist", "--guidance")
    assert rb2v("export", tmp_path / "shards", "--out", tmp_path / "out", *options, tmp_path / "g.h5").status == 0
    blurry = tmp_path / "out" / "train-take-0" / "blur"
    # As the authors' loader counts: all images but 40 at either end.
    n_images = len(list(blurry.iterdir()))
    assert [f"{k:08d}.png" for k in range(40, n_images - 40)] == sorted(path.name for path in blurry.glob("0*.png"))
    outcome = rb2v("import", tmp_path / "out", "--out", tmp_path / "back", "--guidance", tmp_path / "back.h5")
    assert outcome.status == 0, outcome.err
    back = ShardReader(tmp_path / "back")
    assert back.keys == reader.keys
    maps = GuidanceReader(tmp_path / "back.h5", back)
    for row, (_, classes) in enumerate(rows):
        one, other = reader.read(row), back.read(row)
        np.testing.assert_array_equal(one.blurry, other.blurry)
        np.testing.assert_array_equal(one.sharp, other.sharp)
        assert (one.take, one.subject, one.psnr) == (other.take, other.subject, other.psnr)
        np.testing.assert_array_equal(maps.read(row), classes)


def test_other_layouts_have_no_room_for_guidance(tmp_path):
    write_data_set(tmp_path / "shards", 1, 0, 24)
    with pytest.raises(InputError) as caught:
        export_shards(tmp_path / "shards", tmp_path / "out", "webdataset", guidance=tmp_path / "g.h5")
    assert caught.value.key == "guidance"


class TestBoxes:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize(
        "box",
        [
            [1, 2.5, 30, 40],
            np.array([1, 2.5, 30, 40, 0.9]),
            np.array([[1, 2.5, 30, 40]], dtype=np.float32),
            [np.float64(1), np.float32(2.5), np.int64(30), 40],
            [np.array([1, 2.5, 30, 40])],
        ],
        ids=["list", "score", "nested", "scalars", "in a list"],
    )
    def test_numbers_of_all_kinds_are_read(self, protocol, box):
        content = pickle.dumps({"keypoints": np.zeros((17, 3)), "bbox": box, "name": "x"}, protocol=protocol)
        assert read_pickled_box(content, "a.pkl") == (1, 2.5, 30, 40)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x80\x04N.",
            pickle.dumps([1, 2, 3, 4]),
            pickle.dumps({"bbox": "1 2 3 4"}),
            pickle.dumps({"bbox": [1, 2, 3]}),
            pickle.dumps({"bbox": [1, 2, float("nan"), 4]}),
            pickle.dumps({"bbox": [1, 2, 3, 4], "model": ImportConfig()}),
            pickle.dumps({"bbox": np.array([None] * 4)}),
            pickle.dumps({"bbox": [1, 2, 3, 4]})[:-3],
        ],
    )
    def test_everything_else_is_rejected(self, content):
        with pytest.raises(InputError) as caught:
            read_pickled_box(content, "a.pkl")
        assert caught.value.source == "a.pkl"

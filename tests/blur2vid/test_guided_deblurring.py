import cv2
import numpy as np
import PIL.Image
import pytest
import torch

import rb2v as library
from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.backbones.base import GuidedBackbone
from rb2v.blur2vid.checkpoint import GUIDANCE_DIGEST, save_backbone
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.blur2vid.deblur import load_network, prepare_guidance, recover_frames
from rb2v.blur2vid.predictor.checkpoint import save_predictor
from rb2v.blur2vid.predictor.config import TrainPredictorConfig
from rb2v.blur2vid.predictor.networks import make_predictor
from rb2v.core.motion_classes import paint
from rb2v.deblurring import GuideConfig, deblur_files, make_guide
from rb2v.errors import InputError
from rb2v.io.encoder import write_video
from rb2v.io.video import iter_frames

HEIGHT, WIDTH = 32, 44


class Shifting(GuidedBackbone):
    """Shifts the image by k - 3 pixels along the guidance."""

    multiple_px = 4
    needs_guidance = True

    def __init__(self):
        super().__init__(7)
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def estimate_stages(self, blurry, guidance):
        x = int(guidance[0, 0].sum().sign())
        frames = torch.stack([torch.roll(blurry, x * (k - 3), dims=-1) for k in range(7)], dim=1)
        return frames[None]


def texture(seed=0, height=HEIGHT, width=WIDTH):
    noise = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 3 - 1, 0, 1).astype(np.float32)


def save_run(folder, *, guided=True):
    network = make_backbone("zhong_small", 7, 0)
    sources = {"data_sha256": "0" * 64, **({GUIDANCE_DIGEST: "0" * 64} if guided else {})}
    folder.mkdir()
    save_backbone(
        folder / "checkpoint.safetensors", network.state_dict(), TrainBlur2VidConfig("zhong_small"), 7, sources
    )
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    save_run(folder / "run")
    save_run(folder / "alone", guided=False)
    predictor = make_predictor("categorical", 24, is_symmetric=True, seed=0)
    (folder / "predictor").mkdir()
    save_predictor(
        folder / "predictor" / "checkpoint.safetensors",
        predictor.state_dict(),
        TrainPredictorConfig(image_size=24),
        {},
        is_symmetric=True,
    )
    PIL.Image.fromarray(np.rint(texture() * 255).astype(np.uint8)).save(folder / "photo.png")
    classes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    classes[:, :20] = 4
    PIL.Image.fromarray(paint(classes)).save(folder / "painted.png")
    return folder


class TestInPython:
    def test_guidance_is_a_direction_classes_or_colors(self, files):
        image, run = texture(), files / "run"
        classes = np.full((HEIGHT, WIDTH), 4)
        frames = library.deblur(image, run, guidance=classes)
        for same in ((1, 1), paint(classes.astype(np.uint8)), classes[::2, ::2]):
            np.testing.assert_array_equal(library.deblur(image, run, guidance=same), frames)
        still = library.deblur(image, run, guidance=(0, 0))
        np.testing.assert_array_equal(still, np.rint(image * 255)[None].repeat(7, axis=0).astype(np.uint8))

    def test_what_is_missing_or_too_much_is_named(self, files):
        given = {"guidance": (1, 1)}
        for run, options in ((files / "run", {}), (files / "alone", given), (None, given)):
            with pytest.raises(InputError) as caught:
                library.deblur(texture(), run, **options)
            assert caught.value.key == "guidance"

    def test_tiles_go_as_their_guidance_says(self):
        image = texture(3, 64, 128)
        guidance = np.full((64, 128), 4, dtype=np.uint8)
        whole = recover_frames(Shifting(), image, guidance=guidance)
        tiled = recover_frames(Shifting(), image, guidance=guidance, tile=64, overlap=32)
        # What is rolled in at a tile's rim is no part of the whole.
        assert np.abs(tiled[:, :, 48:80].astype(int) - whole[:, :, 48:80]).mean() < 1
        assert np.abs(tiled[:, :, 48:80].astype(int) - whole[::-1, :, 48:80]).mean() > 5

    @pytest.mark.parametrize(
        ("guidance", "key"),
        [
            (np.zeros((10, 10), dtype=np.uint8), "size"),
            (np.full((HEIGHT, WIDTH), 5), "classes"),
            (np.full((HEIGHT, WIDTH, 3), 77, dtype=np.uint8), "row 0, column 0"),
            (np.zeros((HEIGHT, WIDTH, 2)), None),
            ((np.nan, 1.0), None),
        ],
    )
    def test_other_guidance_is_rejected(self, guidance, key):
        with pytest.raises(InputError) as caught:
            prepare_guidance(guidance, (HEIGHT, WIDTH), "mine")
        assert (caught.value.source, caught.value.key) == ("mine", key)

    def test_what_shows_through_is_static(self):
        painted = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
        painted[..., :3] = (90, 80, 70)  # of the image behind
        painted[:8] = (0, 255, 0, 255)
        classes = prepare_guidance(painted, (HEIGHT, WIDTH))
        assert (classes[:8] == 2).all()
        assert (classes[8:] == 0).all()

    def test_the_authors_folder_is_taken_for_a_run(self, tmp_path):
        (tmp_path / "decomposer_s1.pth").write_bytes(b"no weights")
        with pytest.raises(InputError) as caught:
            load_network(tmp_path, "cpu")
        assert caught.value.source == str(tmp_path / "decomposer_s2.pth")


class TestCommand:
    def test_a_painted_picture_and_a_direction(self, rb2v, files, tmp_path):
        for guidance, named in ((files / "painted.png", "right-down"), ("-1,0", "left-up")):
            outcome = rb2v(
                *("deblur", files / "photo.png", "--run", files / "run", "--out", tmp_path / named),
                *("--guidance", guidance, "--device", "cpu"),
            )
            assert outcome.status == 0, outcome.err
            assert f"guidance {named}" in outcome.out
            assert len(list((tmp_path / named).glob("frame_*.png"))) == 7

    def test_samples_are_named_by_their_guidance(self, rb2v, files, tmp_path):
        outcome = rb2v(
            *("deblur", files / "photo.png", "--run", files / "run", "--predictor", files / "predictor"),
            *("--samples", 3, "--out", tmp_path / "photo.gif", "--device", "cpu"),
        )
        assert outcome.status == 0, outcome.err
        videos = sorted(path.name for path in tmp_path.glob("*.gif"))
        assert [name.split("-")[:2] for name in videos] == [["photo", str(k)] for k in (1, 2, 3)]
        for name in videos:
            painted = tmp_path / name.replace(".gif", ".guidance.png")
            again = make_guide(GuideConfig(guidance=str(painted))).guide(texture())
            assert again[0].shape == (HEIGHT, WIDTH)

    def test_neighbors_of_a_video_and_of_a_folder(self, rb2v, files, tmp_path):
        wide = texture(1, HEIGHT, WIDTH + 20)
        images = [np.rint(255 * wide[:, 2 * k : 2 * k + WIDTH]).astype(np.uint8) for k in (4, 3, 2)]  # moves right
        write_video(tmp_path / "clip.mp4", images, 25)
        (tmp_path / "frames").mkdir()
        for k, image in enumerate(images):
            PIL.Image.fromarray(image).save(tmp_path / "frames" / f"{k}.png")
        options = ("--run", files / "run", "--guidance", "neighbor", "--device", "cpu")
        assert rb2v("deblur", tmp_path / "clip.mp4", "--out", tmp_path / "out.mp4", *options).status == 0
        assert len(list(iter_frames([tmp_path / "out.mp4"]))) == 21
        outcome = rb2v("deblur", tmp_path / "frames", "--out", tmp_path / "out", "--format", "gif", *options)
        assert outcome.status == 0, outcome.err
        lines = [line for line in outcome.out.splitlines() if "guidance" in line]
        assert len(lines) == 3
        assert all("guidance right-" in line and "left" not in line for line in lines)

    @pytest.mark.parametrize(
        ("options", "key"),
        [
            (["--guidance", "predicted"], "predictor"),
            (["--guidance", "1,1", "--samples", "2"], "samples"),
            (["--guidance", "neighbor"], "neighbor"),
            (["--guidance", "sideways"], "guidance"),
            ([], "guidance"),
        ],
    )
    def test_wrong_options_are_named(self, rb2v, files, tmp_path, options, key):
        run = ("--run", files / "run", "--out", tmp_path / "out.gif", "--device", "cpu")
        outcome = rb2v("deblur", files / "photo.png", *run, *options)
        assert outcome.status == 2
        assert f"{key}: " in outcome.err
        assert not list(tmp_path.iterdir())

    def test_a_truncated_array_is_named(self, rb2v, files, tmp_path):
        path = tmp_path / "trend.npy"
        np.save(path, np.ones((HEIGHT, WIDTH, 2)))
        path.write_bytes(path.read_bytes()[:-9])
        outcome = rb2v(
            *("deblur", files / "photo.png", "--run", files / "run", "--out", tmp_path / "out.gif"),
            *("--guidance", path, "--device", "cpu"),
        )
        assert outcome.status == 2
        assert str(path) in outcome.err
        assert not (tmp_path / "out.gif").exists()

    def test_a_folder_knows_its_guidance(self, files, tmp_path):
        (tmp_path / "in").mkdir()
        PIL.Image.fromarray(np.rint(texture() * 255).astype(np.uint8)).save(tmp_path / "in" / "a.png")
        guide = make_guide(GuideConfig(guidance="1,1"))
        options = {"run": files / "run", "device": "cpu"}
        deblur_files(tmp_path / "in", tmp_path / "out", guide=guide, **options)
        with pytest.raises(InputError) as caught:
            deblur_files(tmp_path / "in", tmp_path / "out", guide=make_guide(GuideConfig(guidance="-1,1")), **options)
        assert caught.value.key == "guidance"

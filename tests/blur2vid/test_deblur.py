import itertools
import re

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from examples import draws
from hypothesis import given
from hypothesis import strategies as st
from odd_files import write_odd

import rb2v
from rb2v.blur2vid import deblur as module
from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.backbones.base import Backbone
from rb2v.blur2vid.checkpoint import save_backbone
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.blur2vid.deblur import find_run, load_network, prepare_image, reblur_psnr, recover_frames
from rb2v.blur2vid.direction import chain_sequences
from rb2v.blur2vid.tiles import blend_weights, lay_tiles
from rb2v.deblurring import DeblurConfig, deblur_files, files
from rb2v.errors import ConfigMismatchError, InputError, Rb2vError
from rb2v.io.encoder import write_video
from rb2v.io.photo import read_photo
from rb2v.io.video import iter_frames, probe_video


class Fake(Backbone):
    """Shifts by k - 3 pixels within its tile; the rows where ``flips`` says so come backward."""

    multiple_px = 4

    def __init__(self, flips=lambda call: False):
        super().__init__(7)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.flips, self.calls = flips, 0

    def estimate(self, blurry, center):
        frames = torch.stack([torch.roll(blurry, k - 3, dims=-1) for k in range(7)], dim=1)
        frames = frames.flip(1) if self.flips(self.calls) else frames
        self.calls += 1
        return frames


class Identity(Fake):
    def estimate(self, blurry, center):
        return blurry[:, None].repeat(1, 7, 1, 1, 1)


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 3 - 1, 0, 1).astype(np.float32)


def as_bytes(image):
    return np.rint(image * 255).astype(np.uint8)


def save_run(folder, backbone="unet"):
    network = make_backbone(backbone, 7, 0)
    config = TrainBlur2VidConfig(backbone=backbone)
    folder.mkdir()
    save_backbone(folder / "checkpoint.safetensors", network.state_dict(), config, 7, {"data_sha256": "0" * 64})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("deblur") / "run")


@pytest.fixture
def photo(tmp_path):
    PIL.Image.fromarray(as_bytes(texture(21, 30))).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


class TestTiles:
    @draws(60)
    @given(
        side=st.integers(1, 700),
        tile=st.integers(40, 300),
        share=st.floats(0, 0.5),
        multiple=st.sampled_from([1, 8, 20]),
    )
    def test_they_cover_the_image_and_their_weights_sum_to_one(self, side, tile, share, multiple):
        overlap = int(share * tile)
        spans = lay_tiles(1, side, tile, overlap, multiple).columns
        assert (spans[0][0], spans[-1][1]) == (0, side)
        assert all(start % multiple == 0 and stop - start <= tile for start, stop in spans)
        for (start, stop), (following, end) in itertools.pairwise(spans):
            assert start < following
            assert stop < end
            assert stop - following >= overlap
        total = np.zeros(side)
        for weights, (start, stop) in zip(blend_weights(spans), spans, strict=True):
            assert (weights >= 0).all()
            total[start:stop] += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)

    @pytest.mark.parametrize(("tile", "overlap"), [(31, 8), (64, 33), (64, -1), (39, 0)])
    def test_sizes_out_of_range(self, tile, overlap):
        with pytest.raises(InputError, match=r"(tile|overlap): is"):
            lay_tiles(100, 100, tile, overlap, 20)

    def test_as_one_pass_away_from_what_a_tile_does_not_see(self):
        image = texture(90, 110)
        whole = recover_frames(Fake(), image, tile=128)
        tiled = recover_frames(Fake(), image, tile=48, overlap=24)
        # At its edges the network wraps around by 3 pixels, which have an eighth of the weight.
        assert np.abs(whole.astype(int) - tiled)[:, :, 3:-3].mean() < 1.5
        spans = lay_tiles(90, 110, 48, 24, 4).columns
        seen_once = [x for x in range(3, 107) if sum(start <= x < stop for start, stop in spans) == 1]
        assert len(seen_once) > 20
        np.testing.assert_array_equal(whole[:, :, seen_once], tiled[:, :, seen_once])

    def test_where_every_tile_says_the_same_so_does_the_image(self):
        image = texture(70, 81)
        np.testing.assert_array_equal(
            recover_frames(Identity(), image, tile=32, overlap=16), np.repeat(as_bytes(image)[None], 7, axis=0)
        )


class TestDirection:
    @pytest.mark.parametrize("seed", range(4))
    def test_tiles_that_turn_at_random_agree(self, seed):
        image = texture(150, 170)
        # Nothing moves in the middle, so that a tile there tells nothing of its neighbors.
        image[60:100, 60:100] = 0.5
        flips = np.random.default_rng(seed).random(1000) < 0.5
        straight = recover_frames(Fake(), image, tile=40, overlap=20)
        mixed = recover_frames(Fake(lambda call: flips[call]), image, tile=40, overlap=20)
        assert np.array_equal(mixed, straight) or np.array_equal(mixed[::-1], straight)

    def test_most_of_the_motion_keeps_its_direction(self):
        image = texture(60, 200)
        straight = recover_frames(Fake(), image, tile=64, overlap=16)
        for odd in range(4):
            one_against = recover_frames(Fake(lambda call, odd=odd: call == odd), image, tile=64, overlap=16)
            np.testing.assert_array_equal(one_against, straight)

    def test_sequences_of_a_video_meet(self):
        wide = as_bytes(texture(16, 200))
        true = [wide[:, start : start + 30] for start in range(0, 60, 2)]
        sequences = [np.stack(true[start : start + 7]) for start in range(0, 28, 7)]
        for turned in itertools.product([False, True], repeat=4):
            given = [one[::-1] if turn else one for one, turn in zip(sequences, turned, strict=True)]
            chained = np.concatenate(list(chain_sequences(given)))
            np.testing.assert_array_equal(chained, np.concatenate(sequences))

    @pytest.mark.parametrize("n", [0, 1])
    def test_short_videos(self, n):
        assert len(list(chain_sequences([np.zeros((7, 2, 2, 3), np.uint8)] * n))) == n


class TestImages:
    def test_a_constant_image(self):
        image = np.full((5, 6, 3), 120, np.uint8)
        frames = recover_frames(Identity(), prepare_image(image))
        assert frames.shape == (7, 5, 6, 3)
        assert (frames == 120).all()
        assert reblur_psnr(frames, prepare_image(image)) > 100

    def test_reblur_psnr(self):
        image = np.full((4, 4, 3), 0.5, np.float32)
        assert reblur_psnr(np.full((7, 4, 4, 3), 153, np.uint8), image) == pytest.approx(20, abs=1e-3)
        assert reblur_psnr(np.full((7, 4, 4, 3), 255, np.uint8), np.ones((4, 4, 3), np.float32)) == np.inf

    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (33, 50)])
    def test_any_size(self, run, size):
        frames = rb2v.deblur(as_bytes(texture(*size)), run, device="cpu")
        assert frames.shape == (7, *size, 3)
        assert frames.dtype == np.uint8

    def test_kinds_of_one_image(self):
        levels = as_bytes(texture(4, 5))
        expected = levels / 255
        opaque = np.dstack([levels, np.full((4, 5), 255, np.uint8)])
        for image in (levels, levels * np.uint16(257), expected, expected.astype(np.float16), opaque, levels.tolist()):
            if isinstance(image, list):
                with pytest.raises(InputError, match="holds int64"):
                    prepare_image(image)
                continue
            np.testing.assert_allclose(prepare_image(image), expected, atol=1e-3)
        grey = prepare_image(levels[..., 0])
        np.testing.assert_array_equal(grey, np.repeat(grey[..., :1], 3, axis=2))
        np.testing.assert_allclose(grey[..., 0], expected[..., 0], atol=1e-6)

    def test_alpha_is_laid_over_white(self):
        image = np.zeros((1, 3, 4), np.uint8)
        image[0, :, 3] = 0, 51, 255
        np.testing.assert_allclose(prepare_image(image)[0, :, 0], [1, 0.8, 0], atol=1e-6)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((0, 4, 3), np.uint8), r"has the shape \(0, 4, 3\)"),
            (np.zeros((4, 4, 2), np.uint8), "has the shape"),
            (np.zeros(4, np.uint8), "has the shape"),
            (np.zeros((4, 4), bool), "holds bool"),
            (np.zeros((4, 4), np.complex64), "holds complex64"),
            (np.full((4, 4, 3), 200.0), "go from 200 to 200"),
            ([[1, 2], [3]], "is not an array"),
            ("photo.png", "holds <U9"),
        ],
    )
    def test_what_is_no_image(self, image, message):
        with pytest.raises(InputError, match=message):
            prepare_image(image)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, value):
        image = np.zeros((4, 6, 3))
        image[2, 5, 1] = value
        with pytest.raises(InputError, match="row 2, column 5: 1 of its values are not finite"):
            prepare_image(image, "a.tif")


class TestRuns:
    def test_the_true_center_is_not_to_be_had(self, tmp_path):
        with pytest.raises(InputError, match="nobody has of a photograph"):
            load_network(save_run(tmp_path / "oracle", "purohit_oracle"), "cpu")

    def test_weights_that_are_not_there(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            rb2v.deblur(np.zeros((4, 4, 3), np.uint8), tmp_path)

    def test_shipped_weights_are_found(self, run, tmp_path, monkeypatch):
        path = tmp_path / "deblur_unet.safetensors"
        path.write_bytes((run / "checkpoint.safetensors").read_bytes())
        monkeypatch.setattr(module, "shipped_path", {module.DEFAULT_MODEL: path}.__getitem__)
        assert find_run(None) == path
        assert rb2v.deblur(np.zeros((4, 4, 3), np.uint8), device="cpu").shape == (7, 4, 4, 3)

    def test_a_network_that_gives_no_numbers(self):
        class Broken(Fake):
            def estimate(self, blurry, center):
                return super().estimate(blurry, center) * torch.nan

        with pytest.raises(InputError, match="not finite"):
            recover_frames(Broken(), texture(4, 4))


class TestPhotos:
    def test_the_way_up(self, tmp_path):
        picture = PIL.Image.fromarray(as_bytes(texture(8, 12)))
        exif = picture.getexif()
        exif[0x0112] = 6  # to be turned right by a quarter
        picture.save(tmp_path / "turned.png", exif=exif)
        np.testing.assert_array_equal(read_photo(tmp_path / "turned.png"), np.rot90(np.asarray(picture), -1))

    @pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
    def test_the_way_up_of_an_uncompressed_tiff(self, tmp_path, mode):
        picture = PIL.Image.fromarray(as_bytes(texture(8, 12))).convert("L")
        picture = PIL.Image.fromarray(np.asarray(picture, np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(tmp_path / "turned.tif", exif=exif)
        np.testing.assert_array_equal(read_photo(tmp_path / "turned.tif"), np.rot90(np.asarray(picture), -1))

    def test_a_grey_that_counts_as_transparent(self, tmp_path):
        picture = PIL.Image.fromarray(np.array([[0, 90], [180, 0]], np.uint8))
        picture.save(tmp_path / "grey.png", transparency=0)
        np.testing.assert_array_equal(read_photo(tmp_path / "grey.png")[..., 3], [[0, 255], [255, 0]])

    @pytest.mark.parametrize(
        ("mode", "shape", "dtype"),
        [
            ("1", (6, 9), "uint8"),
            ("L", (6, 9), "uint8"),
            ("LA", (6, 9, 4), "uint8"),
            ("P", (6, 9, 3), "uint8"),
            ("RGB", (6, 9, 3), "uint8"),
            ("RGBA", (6, 9, 4), "uint8"),
            ("CMYK", (6, 9, 3), "uint8"),
            ("I;16", (6, 9), "uint16"),
            ("F", (6, 9), "float32"),
        ],
    )
    def test_modes(self, tmp_path, mode, shape, dtype):
        grey = as_bytes(texture(6, 9))[..., 0]
        if mode == "I;16":
            picture = PIL.Image.fromarray(grey * np.uint16(257))
        elif mode == "F":
            picture = PIL.Image.fromarray((grey / 255).astype(np.float32))
        else:
            picture = PIL.Image.fromarray(grey).convert(mode)
        picture.save(tmp_path / "photo.tif")
        read = read_photo(tmp_path / "photo.tif")
        assert (read.shape, read.dtype) == (shape, dtype)
        if mode not in ("1", "CMYK"):
            np.testing.assert_allclose(prepare_image(read)[..., 0], grey / 255, atol=1e-2)

    def test_the_first_of_several(self, tmp_path):
        first, second = (PIL.Image.fromarray(as_bytes(texture(16, 24, seed))) for seed in range(2))
        first.save(tmp_path / "stereo.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
        assert np.abs(read_photo(tmp_path / "stereo.jpg").astype(int) - np.asarray(first)).mean() < 8

    def test_16_bit_colors(self, tmp_path):
        levels = as_bytes(texture(6, 9))
        cv2.imwrite(str(tmp_path / "deep.png"), levels[..., ::-1] * np.uint16(257))
        np.testing.assert_array_equal(read_photo(tmp_path / "deep.png"), levels)

    def test_wrong_files(self, tmp_path, photo):
        whole = photo.read_bytes()
        (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "text.jpg").write_text("no image")
        (tmp_path / "empty.png").touch()
        PIL.Image.new("1", (12_000, 10_000)).save(tmp_path / "bomb.png")
        for name in ("cut.png", "text.jpg", "empty.png", "bomb.png", "missing.png", "."):
            with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
                read_photo(tmp_path / name)


class TestFiles:
    def test_a_folder_of_frames(self, run, photo, tmp_path):
        out = tmp_path / "frames"
        done = deblur_files(photo, out, run=run, device="cpu")
        assert sorted(path.name for path in out.iterdir()) == [f"frame_{k}.png" for k in range(1, 8)]
        frames = rb2v.deblur(read_photo(photo), run, device="cpu")
        np.testing.assert_array_equal(read_photo(out / "frame_2.png"), frames[1])
        assert done[0].reblur_psnr == pytest.approx(reblur_psnr(frames, prepare_image(read_photo(photo))))
        deblur_files(photo, out, run=run, device="cpu")
        assert len(list(out.iterdir())) == 7
        (out / "other.txt").touch()
        with pytest.raises(InputError, match=r"holds 'other.txt'"):
            deblur_files(photo, out, run=run, device="cpu")
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    @pytest.mark.parametrize(("loop", "n_frames"), [(False, 7), (True, 13)])
    def test_a_video_of_odd_size(self, run, photo, tmp_path, loop, n_frames):
        deblur_files(photo, tmp_path / "a.mp4", DeblurConfig(loop=loop), run=run, device="cpu")
        info = probe_video(tmp_path / "a.mp4")
        assert (info.width, info.height, info.n_stated, info.nominal_fps) == (30, 22, n_frames, 10)

    def test_one_pixel(self, run, tmp_path):
        PIL.Image.new("RGB", (1, 1), "red").save(tmp_path / "red.png")
        for suffix in (".mp4", ".gif", ""):
            deblur_files(tmp_path / "red.png", tmp_path / f"red{suffix}", run=run, device="cpu")
        assert probe_video(tmp_path / "red.mp4").n_stated == 7

    def test_a_gif(self, run, photo, tmp_path):
        deblur_files(photo, tmp_path / "a.gif", DeblurConfig(loop=True, fps=20), run=run, device="cpu")
        with PIL.Image.open(tmp_path / "a.gif") as gif:
            assert gif.info["loop"] == 0
            durations = []
            for k in range(gif.n_frames):
                gif.seek(k)
                durations.append(gif.info["duration"])
        assert sum(durations) == 12 * 50

    def test_a_folder_of_pictures(self, run, tmp_path):
        source, out = tmp_path / "in", tmp_path / "out"
        source.mkdir()
        for name in ("photo 10.png", "photo 9.jpg", ".hidden.png"):
            PIL.Image.fromarray(as_bytes(texture(8, 10))).save(source / name)
        (source / "notes.txt").touch()
        done = deblur_files(source, out, run=run, device="cpu")
        assert [one.out.name for one in done] == ["photo 9.mp4", "photo 10.mp4"]
        before = (out / "photo 9.mp4").stat().st_mtime_ns
        (out / "photo 10.mp4").unlink()
        (source / "cut.png").write_bytes((source / "photo 10.png").read_bytes()[:60])
        seen = []
        with pytest.raises(Rb2vError, match=r"1 of 3 images could not be used, the others are done: .*cut\.png"):
            deblur_files(source, out, run=run, device="cpu", on_done=seen.append)
        assert [one.reblur_psnr is None for one in seen] == [True, False]
        assert (out / "photo 9.mp4").stat().st_mtime_ns == before
        with pytest.raises(ConfigMismatchError, match="format"):
            deblur_files(source, out, DeblurConfig(format="gif"), run=run, device="cpu")

    def test_a_name_too_long_for_a_video_keeps_no_other_from_being_written(self, run, tmp_path):
        source, out = tmp_path / "in", tmp_path / "out"
        source.mkdir()
        for name in ("a" * 245 + ".png", "b.png"):
            PIL.Image.fromarray(as_bytes(texture(8, 10))).save(source / name)
        with pytest.raises(Rb2vError, match=r"1 of 2 images could not be used.*a\.png: has too long a name"):
            deblur_files(source, out, run=run, device="cpu")
        assert sorted(path.name for path in out.iterdir()) == ["b.mp4", "config.json"]

    def test_a_stop_leaves_nothing(self, run, photo, tmp_path, monkeypatch):
        def fail(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(files, "write_image", fail)
        monkeypatch.setattr(files, "write_gif", fail)
        for name in ("frames", "a.gif"):
            with pytest.raises(KeyboardInterrupt):
                deblur_files(photo, tmp_path / name, run=run, device="cpu")
        assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]

    def test_a_blurry_video(self, run, tmp_path):
        frames = [as_bytes(texture(16, 22, seed)) for seed in range(3)]
        write_video(tmp_path / "in.mp4", frames, 25)
        done = deblur_files(tmp_path / "in.mp4", tmp_path / "out.mp4", run=run, device="cpu")
        info = probe_video(tmp_path / "out.mp4")
        assert (info.n_stated, info.nominal_fps) == (21, 175)
        assert len(list(iter_frames([tmp_path / "out.mp4"]))) == 21
        assert done[0].reblur_psnr > 0

    def test_a_portrait_video_of_a_phone_stays_upright(self, run, tmp_path):
        lying = [as_bytes(texture(16, 22, seed)) for seed in range(2)]
        clockwise = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30]
        write_odd(tmp_path / "in.MOV", lying, matrix=clockwise)
        deblur_files(tmp_path / "in.MOV", tmp_path / "out.mp4", run=run, device="cpu")
        info = probe_video(tmp_path / "out.mp4")
        assert (info.width, info.height, info.n_stated) == (16, 22, 14)


class TestCommand:
    def test_one_picture(self, rb2v, run, photo, tmp_path):
        code, out, _ = rb2v("deblur", photo, "--run", run, "--out", tmp_path / "a.mp4", "--tile", "32")
        assert code == 0
        assert re.fullmatch(r"photo\.png: reblur PSNR \d+\.\d\d dB; .*a\.mp4\n", out)

    def test_a_folder(self, rb2v, run, photo, tmp_path):
        arguments = ("deblur", photo.parent, "--run", run, "--out", tmp_path / "out", "--format", "png")
        assert rb2v(*arguments)[0] == 0
        assert (tmp_path / "out" / "photo" / "frame_7.png").is_file()
        assert "photo.png: done before" in rb2v(*arguments)[1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("missing.png --out a.mp4", "missing.png: there is no such file"),
            ("text.png --out a.mp4", "text.png: cannot be read as an image"),
            ("cut.png --out a.mp4", "cut.png: is cut short or damaged"),
            ("bomb.png --out a.mp4", "bomb.png: is too large"),
            ("nan.tif --out a.mp4", "nan.tif: row 1, column 2: 1 of its values are not finite"),
            ("empty --out out", "empty: holds no image"),
            ("pair --out out", "would be written to the same a.mp4"),
            ("pair --out out.mp4", "is one file for many images"),
            ("photo.png --out a.avi", "a.avi: is not an output that can be written"),
            ("photo.png --out full", "full: holds 'notes.txt'"),
            ("photo.png --out taken.mp4", "taken.mp4: is a folder"),
            ("photo.png --out notes", "notes: is a file"),
            ("photo.png --out a.mp4 --fps 0", "fps: 0 is out of range"),
            ("photo.png --out a.gif --fps 100", "at most 50"),
            ("photo.png --out frames --fps 5", "fps: is not for frames"),
            ("photo.png --out frames --loop", "loop: is not for frames"),
            ("photo.png --out a.mp4 --format gif", "format: is for a folder"),
            ("photo.png --out new/..", "is not an output that can be written"),
            ("photo.png --out a.mp4 --tile 8", "tile: is 8"),
            ("photo.png --out a.mp4 --tile 0", "tile: is 0"),
            ("photo.png --out a.mp4 --overlap -1", "overlap: is -1"),
            ("photo.png --out a.mp4 --run empty", "there is no such file"),
            ("photo.png --out a.mp4 --run photo.png", "photo.png: "),
            ("video.mp4 --out a.gif", "cannot hold the frames of a video"),
            ("video.mp4 --out a.mp4 --loop", "loop: is for images"),
            ("video.mp4 --out video.mp4", "is the input"),
            ("cut.mp4 --out a.mp4", "cut.mp4: "),
        ],
    )
    def test_wrong_input(self, rb2v, run, photo, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "text.png").write_text("no image")
        (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:200])
        for folder in ("empty", "pair", "full", "taken.mp4"):
            (tmp_path / folder).mkdir()
        for other in ("pair/a.png", "pair/a.bmp"):
            PIL.Image.new("RGB", (3, 3)).save(tmp_path / other)
        (tmp_path / "full" / "notes.txt").touch()
        (tmp_path / "notes").touch()
        if "bomb" in arguments:
            PIL.Image.new("1", (12_000, 10_000)).save(tmp_path / "bomb.png")
        if ".mp4 " in arguments:
            write_video(tmp_path / "video.mp4", [np.zeros((16, 16, 3), np.uint8)] * 3, 25)
            (tmp_path / "cut.mp4").write_bytes((tmp_path / "video.mp4").read_bytes()[:500])
        values = np.zeros((3, 4), np.float32)
        values[1, 2] = np.nan
        PIL.Image.fromarray(values).save(tmp_path / "nan.tif")
        before = sorted(tmp_path.rglob("*"))
        given_run = () if "--run" in arguments else ("--run", run)
        code, _, error = rb2v("deblur", *arguments.split(), *given_run)
        assert code == 2, error
        assert message in error
        assert "Traceback" not in error
        assert sorted(tmp_path.rglob("*")) == before

    def test_help(self, rb2v):
        code, out, _ = rb2v("deblur", "--help")
        assert code == 0
        assert "rb2v deblur photo.jpg --run session/blur2vid --out photo.mp4" in out

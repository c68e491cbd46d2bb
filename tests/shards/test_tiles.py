import blosc2
import h5py
import hdf5plugin  # noqa: F401 - its filters decode the tiles
import numpy as np
import pytest
from examples import draws
from hypothesis import given
from hypothesis import strategies as st

from rb2v.io.hdf5 import create_hdf5
from rb2v.shards.tiles import append_tiles, compress_tile, create_tiles, fletcher32


@draws(25)
@given(
    n_frames=st.sampled_from([None, 1, 3, 7]),
    size=st.tuples(st.integers(1, 300), st.integers(1, 150)),
    n_entries=st.integers(1, 3),
    levels=st.sampled_from([1, 2, 256]),
    seed=st.integers(0, 99),
)
def test_frames_of_any_size_come_back_through_plain_h5py(tmp_path_factory, n_frames, size, n_entries, levels, seed):
    shape = (*size, 3) if n_frames is None else (n_frames, *size, 3)
    entries = np.random.default_rng(seed).integers(0, levels, (n_entries, *shape)).astype(np.uint8)
    path = tmp_path_factory.mktemp("tiles") / "frames.h5"
    with create_hdf5(path) as file:
        dataset = create_tiles(file, "frames", shape)
        for entry in entries:
            append_tiles(dataset, entry)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["frames"][:], entries)
        assert file["frames"].fletcher32


@pytest.mark.parametrize("n_bytes", [0, 1, 2, 3, 1000, 65535, 65536, 65537, 200_001])
@pytest.mark.parametrize("fill", ["zeros", "ones", "random"])
def test_the_checksum_is_the_one_that_hdf5_expects(tmp_path, n_bytes, fill):
    data = {
        "zeros": np.zeros(n_bytes, np.uint8),
        "ones": np.full(n_bytes, 255, np.uint8),
        "random": np.random.default_rng(0).integers(0, 256, n_bytes, dtype=np.uint8),
    }[fill]
    if n_bytes == 0:
        assert fletcher32(b"") == bytes(4)
        return
    with h5py.File(tmp_path / "data.h5", "w") as file:
        written = file.create_dataset("by_hdf5", data=data, chunks=(n_bytes,), fletcher32=True)
        _, stored = written.id.read_direct_chunk((0,))
        assert fletcher32(data.tobytes()) == stored[-4:]


def test_a_still_tile_is_left_to_lz4_and_a_moving_one_is_predicted():
    rng = np.random.default_rng(0)
    ramp = np.arange(64, dtype=np.uint8)[:, None, None] + rng.integers(0, 4, (64, 64, 3), dtype=np.uint8)
    still = np.repeat(rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8), 7, axis=0)
    moving = np.stack([np.roll(ramp, 5 * k, axis=0) + k for k in range(7)]).astype(np.uint8)
    assert len(compress_tile(still)) < 0.2 * still.nbytes
    assert len(compress_tile(moving)) < 0.5 * moving.nbytes


def test_bytes_know_nothing_of_the_machine_s_cores():
    threads_before = blosc2.set_nthreads(3)
    try:
        header = compress_tile(np.zeros((5, 7, 3), np.uint8))  # of a size of its own, so that its header is made here
    finally:
        blosc2.set_nthreads(threads_before)
    # Two 16-bit integers of MessagePack: threads of compression and of decompression.
    assert header[62:68] == b"\xd1\0\1\xd1\0\1"

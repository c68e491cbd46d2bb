"""How fast samples with random crops come from shards, from PNG folders and from memory.

One run writes the same samples as shards and as PNG files, eight a sample, and reads them in the same order with the
same crops into the same tensors: PNG and memory through a plain DataLoader, which stacks the crops of its samples, and
shards through make_loader. Each figure is the best of several passes; the ratios are of figures of one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from simulated_session import frames_of, make_shards, spread_samples
from torch.utils.data import DataLoader, Dataset

from rb2v.artifacts import Crop
from rb2v.shards import (
    Manifest,
    Provenance,
    SplitEntry,
    write_manifest,
    write_shard,
)
from rb2v.shards.epoch_order import place_crop
from rb2v.training.data import ShardDataset
from rb2v.training.loader import make_loader

SIZE_PX = 448
SHARD_SAMPLES = 32
BATCH_SIZE = 8


class CroppedFolder(Dataset):
    """Eight PNG files a sample, read whole and cropped: what a folder of frames leaves to its reader."""

    def __init__(self, folder, dataset):
        self.folder, self.dataset = folder, dataset

    def __len__(self):
        return len(self.dataset)

    def frames(self, index):
        paths = [self.folder / f"{index:05d}" / f"{k}.png" for k in range(8)]
        return np.stack([cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[self.crop(index)] for path in paths])

    def crop(self, index):
        size = (SIZE_PX, SIZE_PX)
        return place_crop(self.dataset.crop, "random", size, seed=0, epoch=self.dataset.epoch, index=index)

    def __getitem__(self, index):
        frames = torch.from_numpy(self.frames(index)).permute(0, 3, 1, 2).contiguous()
        frames = frames if self.dataset.dtype == "uint8" else frames.float() / 255
        return {"blurry": frames[0], "sharp": frames[1:], "order": 0, "index": index}


class CroppedMemory(CroppedFolder):
    """The same crops from decoded frames in memory."""

    def __init__(self, memory, dataset):
        self.memory, self.dataset = memory, dataset

    def frames(self, index):
        rows, columns = self.crop(index)
        return self.memory[index, :, rows, columns].copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, help="take the samples from these shards; simulated ones by default")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--passes", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        shards, folder = Path(scratch) / "shards", Path(scratch) / "png"
        source = arguments.shards or make_shards(Path(scratch) / "simulated")
        samples = spread_samples(source, arguments.samples)
        started = time.perf_counter()
        write_data_set(shards, samples)
        print(f"shards written at {len(samples) / (time.perf_counter() - started):.1f} samples/s")
        write_folder(folder, samples)
        sizes = {place.name: sum(path.stat().st_size for path in place.rglob("*.*")) for place in (shards, folder)}
        print(
            f"{len(samples)} samples of 8 x {SIZE_PX}x{SIZE_PX}: PNG {sizes['png']} bytes, shards {sizes['shards']}, "
            f"ratio {sizes['shards'] / sizes['png']:.3f}"
        )
        memory = frames_of(samples)
        print(f"memcpy {memcpy_rate():.1f} GB/s\n")
        print("dtype    workers     PNG   memory   shards  shards/PNG  shards/memory   (samples/s)")
        for dtype in ("uint8", "float32"):
            for workers in (0, 2):
                measure(shards, folder, memory, dtype, workers, arguments)


def measure(shards, folder, memory, dtype, workers, arguments):
    dataset = ShardDataset(shards, "train", crop=arguments.crop, dtype=dtype)
    others = [CroppedFolder(folder, dataset), CroppedMemory(memory, dataset)]
    for other in others:
        assert all(torch.equal(other[3][name], dataset[3][name]) for name in ("blurry", "sharp"))
    ours = make_loader(dataset, BATCH_SIZE, workers=workers)
    loaders = [
        *(DataLoader(other, BATCH_SIZE, True, num_workers=workers, persistent_workers=workers > 0) for other in others),
        ours,
    ]
    # In turns, so that what else the machine does meets all of them.
    rates = np.max([[rate(loader) for loader in loaders] for _ in range(arguments.passes)], axis=0)
    png, copied, read = rates
    print(
        f"{dtype:8} {workers:7} {png:7.1f} {copied:8.1f} {read:8.1f} {read / png:11.2f} {read / copied:14.2f}",
        flush=True,
    )


def rate(loader):
    """Samples per second of a pass, from the first batch that is asked for."""
    n_samples, started = 0, time.perf_counter()
    for batch in loader:
        n_samples += len(batch["index"])
    return n_samples / (time.perf_counter() - started)


def memcpy_rate():
    source = np.ones(2**27, dtype=np.uint8)
    target = np.zeros_like(source)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return source.nbytes / min(seconds) / 1e9


def write_data_set(folder, samples):
    folder.mkdir()
    entries = tuple(
        write_shard(folder / f"train-{start // SHARD_SAMPLES:05d}.h5", samples[start : start + SHARD_SAMPLES])
        for start in range(0, len(samples), SHARD_SAMPLES)
    )
    counts = {name: sum(sample.category == name for sample in samples) for name in ("street", "face", "hand")}
    crop = Crop(0, 0, SIZE_PX, SIZE_PX)
    provenance = Provenance("0", {}, None, {}, "linear")
    write_manifest(
        folder, Manifest("none", (SIZE_PX, SIZE_PX), crop, {"train": SplitEntry(entries, counts)}, provenance)
    )


def write_folder(folder, samples):
    for index, sample in enumerate(samples):
        (folder / f"{index:05d}").mkdir(parents=True)
        for k, frame in enumerate((sample.blurry, *sample.sharp)):
            cv2.imwrite(str(folder / f"{index:05d}" / f"{k}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()

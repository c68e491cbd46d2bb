"""Data sets of given samples."""

from rb2v.artifacts import Crop
from rb2v.shards import Manifest, Provenance, SplitEntry, write_manifest, write_shard

PROVENANCE = Provenance("0", {}, None, {}, "linear")


def write_samples(folder, splits, size, *, crop=None, rig="rig", provenance=PROVENANCE, n_frames=7):
    """Write samples, given per split and shard, and return the manifest.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    splits : dict
        For each split a list of shards, each a list of samples.
    size : tuple of int
        Width and height of the frames.
    crop, rig, provenance, n_frames
        What the manifest says of them; the crop is all of the frame by default.

    Returns
    -------
    Manifest
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for split, shards in splits.items():
        written = [write_shard(folder / f"{split}-{index:05d}.h5", samples) for index, samples in enumerate(shards)]
        categories = [sample.category for samples in shards for sample in samples]
        counts = {name: categories.count(name) for name in sorted(set(categories))}
        entries[split] = SplitEntry(tuple(written), counts)
    manifest = Manifest(rig, tuple(size), crop or Crop(0, 0, *size), entries, provenance, n_frames)
    write_manifest(folder, manifest)
    return manifest

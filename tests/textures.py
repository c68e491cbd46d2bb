"""A data set whose answer is known: textures that move left or right."""

import numpy as np
from data_sets import write_samples
from scipy.ndimage import gaussian_filter

from rb2v.shards import Provenance, ShardSample

N_FRAMES = 7


def translating_texture(rng, size, direction, n_frames=N_FRAMES):
    """Return a sequence (n_frames, size, size, 3) that moves right (+1) or left (-1) by 3 to 8 pixels in all."""
    reach = 12
    texture = np.stack(
        [gaussian_filter(rng.standard_normal((size, size + 2 * reach)), rng.uniform(1, 3)) for _ in range(3)], -1
    )
    texture = (texture - texture.min()) / np.ptp(texture) * rng.uniform(0.4, 0.9)
    step = direction * rng.uniform(0.5, 1.3)
    columns = np.arange(size) + reach
    frames = []
    for t in range(n_frames):
        at = columns - step * (t - n_frames // 2)
        left = np.floor(at).astype(int)
        share = (at - left)[:, None]
        frames.append(texture[:, left] * (1 - share) + texture[:, left + 1] * share)
    return np.round(np.array(frames) * 255).astype(np.uint8)


def write_data_set(folder, n_train, n_test, size, seed=0, n_frames=N_FRAMES, n_takes=1):
    """Write shards of translating textures; return the true direction of every sample, by split."""
    rng = np.random.default_rng(seed)
    splits, directions = {}, {}
    for split, n in (("train", n_train), ("test", n_test)):
        directions[split] = rng.choice([-1, 1], n)
        samples = []
        for index, direction in enumerate(directions[split]):
            sharp = translating_texture(rng, size, direction, n_frames)
            blurry = sharp.mean(axis=0).round().astype(np.uint8)
            color = np.eye(3, 4, dtype=np.float32)
            take = f"{split}-take-{index * n_takes // n}"
            samples.append(ShardSample(blurry, sharp, color, take, f"{split}-person", "street", index, 0, 40.0))
        if samples:
            splits[split] = [samples]
    provenance = Provenance("0", {}, None, {"test": seed}, "linear")
    write_samples(folder, splits, (size, size), rig="none", provenance=provenance, n_frames=n_frames)
    return directions

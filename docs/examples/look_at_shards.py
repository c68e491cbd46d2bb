"""Look at a data set: python look_at_shards.py SHARDS OUT.png [SPLIT]."""

import sys

import numpy as np
from PIL import Image

from rb2v import ShardReader
from rb2v.core.color import to_linear
from rb2v.core.metrics import psnr

shards, out, split = sys.argv[1], sys.argv[2], (*sys.argv[3:], "test")[0]

reader = ShardReader(shards, split)
print(reader.table.groupby("category")["psnr"].describe()[["count", "min", "50%", "max"]])

# Eq. (1): in linear light, the blurry frame is the mean of its sharp frames.
response = reader.manifest.provenance.response
for index in np.linspace(0, len(reader) - 1, 3, dtype=int):
    sample = reader.read(index)
    mean = to_linear(sample.sharp, response).mean(axis=0)
    print(f"{sample.take} {sample.blurry_index}: {psnr(mean, to_linear(sample.blurry, response)):.1f} dB")

sample = reader.read(0)
Image.fromarray(np.concatenate([sample.blurry, *sample.sharp], axis=1)).save(out)
print(f"{out}: the blurry frame of {sample.take}, then x_0 to x_6")

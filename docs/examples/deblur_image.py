"""Recover a short video from a blurry image: python deblur_image.py IMAGE OUT.gif."""

import sys

import numpy as np
from PIL import Image

import rb2v

image = np.asarray(Image.open(sys.argv[1]).convert("RGB"))

# (7, H, W, 3) uint8. run="session/blur2vid" takes weights of your own in place of the shipped ones.
frames = rb2v.deblur(image, device="cpu")

first, *others = [Image.fromarray(frame) for frame in [*frames, *frames[-2:0:-1]]]  # forward, and back again
first.save(sys.argv[2], save_all=True, append_images=others, duration=100, loop=0)

# The frames explain the blur where their mean in linear light is the image.
mean = np.mean((frames / 255.0) ** 2.2, axis=0) ** (1 / 2.2)
print(
    f"{sys.argv[2]}: {len(frames)} frames; their mean differs from the image by {np.abs(255 * mean - image).mean():.1f}"
)

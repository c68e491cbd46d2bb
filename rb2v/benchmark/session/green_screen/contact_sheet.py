"""Contact sheet of a keyed sample: its frames as aligned, alpha, foreground and composite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.benchmark.report.page import Gallery, Picture, make_picture
from rb2v.core.color import encode
from rb2v.matting import Matte

GRAY = np.float32(0.2158605)
"""Linear light of a coded 128 in sRGB."""

_SHOWN_PX = 300  # of the longer side: several side by side in a page


@dataclass(frozen=True, eq=False)
class View:
    """A frame that was keyed."""

    name: str
    kind: Literal["sharp", "blurry"]
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, coded."""
    matte: Matte


def show(caption: str, views: Sequence[View], composites: Sequence[NDArray[np.uint8]]) -> Gallery:
    """Return a row of images for each frame, the blurry one first.

    Parameters
    ----------
    caption : str
        What is shown.
    views : sequence of View
        The frames.
    composites : sequence of (h, w, 3) ndarray of uint8
        What the data set has of each.
    """
    pictures: list[Picture] = []
    for view, composed in sorted(zip(views, composites, strict=True), key=lambda pair: pair[0].kind):
        for label, image in (
            (f"{view.name} as aligned", view.image),
            (f"alpha of {view.name}", np.rint(view.matte.alpha.clip(0, 1) * 255).astype(np.uint8)),
            (f"foreground of {view.name}", _show_foreground(view.matte)),
            (f"{view.name} in the shards", composed),
        ):
            pictures.append(make_picture(label, _fit(image)))
    return Gallery(caption, tuple(pictures), columns=4)


def _show_foreground(matte: Matte) -> NDArray[np.uint8]:
    """Return the foreground's own colors wherever there is any of it, on gray."""
    share = matte.alpha[..., None]
    color = matte.premultiplied_linear / np.maximum(share, np.float32(0.05))
    cover = np.minimum(share / np.float32(0.1), 1)
    return encode(np.asarray(cover * color + (1 - cover) * GRAY, dtype=np.float32), "srgb")


def _fit(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _SHOWN_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

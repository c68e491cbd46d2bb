"""The screen's light that falls on the foreground, measured in the take: more near its edges than inside.

Inside one small place a foreground's colors lie near a plane in linear RGB (one material, more or less lit, is even a
line). What bends such planes towards the screen's color the nearer to an edge is the screen's light, and its slope is
the same all over a take. How much of it lies on all of the foreground no single surface tells; but few takes show
nothing gray. What is gray agrees on how much greener it is than that; where too little is, it is what the greenest
surfaces are greener than gray, unless they have the screen's hue themselves. Light that reaches the edges reaches the
inside too, and so the slope tells of it as well: alone where nothing gray is seen, as on a bare hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.matting.screen import Plane

REACH_SHARE = 0.02
"""How far spilled light reaches into the foreground, as the sigma of a Gaussian over the shorter side of the image."""

_BLOCK_SHARE = 1 / 37  # of the shorter side: small enough for one plane of colors, large enough for the slope
_MIN_BLOCK_PX = 6  # 36 pixels for the four numbers of a block
_MIN_OPAQUE = 0.5  # share of a block
_OPAQUE = 0.98  # alpha
_NOISE = 1e-5  # variance of linear light, below which a plane does not count more
_MAX_SLOPE, _MAX_INSIDE = 0.3, 0.1  # more is no spill, but a material of the screen's color
_GRAY, _BIN = 0.02, 0.01  # difference of a color's two shares, were it gray; and of gray colors that agree
_INSIDE_PER_SLOPE = 0.2  # mean over simulated takes in which gray things tell what lies inside
_TRUST = 2.0  # in what gray things tell, beside the slope; both err by a third of it or more
_MIN_GRAY = 0.01  # of the opaque pixels, that agree
_GREENEST = 97.0  # percentile of color differences: noise, and what the key missed, lies above


@dataclass(frozen=True, eq=False)
class Spill:
    """How much of the screen's light lies on the foreground."""

    inside: float
    """Share of the screen's light that lies on all of it."""
    slope: float
    """How much more lies at a place with nothing but screen around."""

    def share(self, nearness: Plane) -> Plane:
        """Return the share of the screen's light that lies on the foreground, by how near its edge is, 0..1."""
        return np.asarray(np.float32(self.inside) + np.float32(self.slope) * nearness, dtype=np.float32)


def nearness_to_edge(alpha: Plane) -> Plane:
    """Return how much of what is around every cell of an (h, w) alpha is screen, 0..1."""
    reach = max(REACH_SHARE * min(alpha.shape), 0.5)
    return np.asarray(1 - cv2.GaussianBlur(alpha, (0, 0), reach), dtype=np.float32)


def measure_spill(
    keyed: Iterable[tuple[NDArray[np.float32], Plane]], color_linear: NDArray[np.float32], high: tuple[int, ...]
) -> Spill:
    """Measure the spilled light in a few keyed frames.

    Parameters
    ----------
    keyed : iterable of ((H, W, 3) ndarray of float32, (H, W) ndarray of float32)
        Frames in linear light, and their alpha.
    color_linear : (3,) ndarray of float32
        The screen's light.
    high : tuple of int
        Channels in which the screen stands above the others, one of them.

    Returns
    -------
    Spill
        Nothing where no opaque foreground is seen, or the screen has no single high channel.
    """
    if len(high) > 1:
        return Spill(0.0, 0.0)
    (lead,) = high
    others = [channel for channel in range(3) if channel != lead]
    stands_out = color_linear[lead] - color_linear[others]
    found: list[NDArray[np.float64]] = []
    greener: list[tuple[NDArray[np.float32], Plane]] = []
    for image, alpha in keyed:
        near = nearness_to_edge(alpha)
        opaque = cv2.erode(alpha, np.ones((3, 3), np.uint8)) > _OPAQUE
        found.append(_bend(image, near, opaque, color_linear, lead))
        smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), dtype=np.float32)
        seen = smooth[opaque]
        greener.append(((seen[:, lead, None] - seen[:, others]) / stands_out, near[opaque]))
    products, squares, weights = np.concatenate(found).T
    total = float(np.sum(weights * squares))
    slope = float(np.clip(np.sum(weights * products) / total, 0, _MAX_SLOPE)) if total > 0 else 0.0
    left = np.concatenate([shares - slope * near[:, None] for shares, near in greener])
    expected, told = _INSIDE_PER_SLOPE * slope, _measure_inside(left)
    return Spill(expected if told is None else (expected + _TRUST * told) / (1 + _TRUST), slope)


def _measure_inside(shares: NDArray[np.float32]) -> float | None:
    """Return the share of the screen's light that gray things show on all of a foreground, if there are any.

    Parameters
    ----------
    shares : (n, 2) ndarray of float32
        That share in opaque colors, were they gray: by the screen's high channel above either of the others.
    """
    if not len(shares):
        return None
    gray = shares.mean(axis=1)[np.abs(shares[:, 0] - shares[:, 1]) < _GRAY]
    counts, edges = np.histogram(gray, bins=round(_MAX_INSIDE / _BIN), range=(0, _MAX_INSIDE))
    peak = int(counts.argmax())
    if counts[peak] > _MIN_GRAY * len(shares):
        around = (gray > edges[peak] - _BIN) & (gray < edges[peak + 1] + _BIN)
        return float(gray[around].mean())
    greenest = float(np.percentile(shares.min(axis=1), _GREENEST))
    # Clothes and eyes of the screen's hue tell nothing of its light.
    return greenest if 0 < greenest < _MAX_INSIDE else None


def _bend(
    image: NDArray[np.float32], near: Plane, opaque: NDArray[np.bool_], color: NDArray[np.float32], lead: int
) -> NDArray[np.float64]:
    """Return, for every opaque block, the regression of its colors' distance from their plane on the nearness.

    Returns
    -------
    (n, 3) ndarray of float64
        Sum of products, sum of squares, and the weight of the block.
    """
    side = max(_MIN_BLOCK_PX, round(_BLOCK_SHARE * min(opaque.shape)))
    others = [channel for channel in range(3) if channel != lead]
    pixels, nearness = _blocks(image, side).astype(np.float64), _blocks(near[..., None], side).astype(np.float64)
    inside = _blocks(opaque[..., None], side).astype(np.float64)
    enough = inside.sum(axis=(1, 2)) > _MIN_OPAQUE * side**2
    pixels, nearness, inside = pixels[enough], nearness[enough] * inside[enough], inside[enough]
    planes = np.concatenate([inside, inside * pixels[..., others]], axis=-1)
    normal = np.swapaxes(planes, 1, 2) @ planes + 1e-6 * np.eye(3)
    values = pixels[..., lead : lead + 1] * inside

    def fit(target: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.solve(normal, np.swapaxes(planes, 1, 2) @ target))

    plane = fit(values)
    # Light of the screen's color leaves the plane by what its high channel has beyond what the others foretell.
    beyond = color[lead] - plane[:, 1] * color[others[0]] - plane[:, 2] * color[others[1]]
    bent = nearness * beyond[:, None]
    off_plane, off_bent = values - planes @ plane, bent - planes @ fit(bent)
    spread = np.square(off_plane).sum(axis=(1, 2)) / np.maximum(inside.sum(axis=(1, 2)), 1)
    return np.stack(
        [(off_plane * off_bent).sum(axis=(1, 2)), np.square(off_bent).sum(axis=(1, 2)), 1 / (spread + _NOISE)], axis=1
    )


def _blocks(planes: NDArray[np.generic], side: int) -> NDArray[np.generic]:
    """Return (n, side * side, c) blocks of (H, W, c) planes; what is left over at two borders is left out."""
    down, across = planes.shape[0] // side, planes.shape[1] // side
    cut = planes[: down * side, : across * side].reshape(down, side, across, side, -1)
    return cut.transpose(0, 2, 1, 3, 4).reshape(down * across, side * side, -1)

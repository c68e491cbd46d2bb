"""The 24-patch color checker in one image: where it lies, and whether it is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import CHECKER_SRGB, Response, fit_color_map_by_consensus, to_linear
from rb2v.core.homography import Homography, normalized, warp_points
from rb2v.stages.calibrate.captures import Image, Points

COLUMNS, ROWS = 6, 4  # of a 24-patch color checker
GRAY_ROW = slice(18, 24)
MIN_PITCH_PX = 5.0
"""Patches nearer to each other than this hold too few pixels that no edge reaches."""
MIN_AGREEING = 16
"""Patches that must look like the checker's own."""

MAX_SPREAD = 0.05
"""Standard deviation of the coded values, 0..1, within a patch beyond which it is no plain surface."""

_CENTERS = np.array([(column, row) for row in range(ROWS) for column in range(COLUMNS)], dtype=np.float64)
_PUBLISHED_LINEAR = to_linear(CHECKER_SRGB / 255.0, "srgb").astype(np.float64)
_SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
_MAX_INNER = 0.27  # of the pitch, to either side of a patch's center: far enough from its edges
_MIN_INNER = 0.1  # the same at least: a pixel across, at `MIN_PITCH_PX`
_LEAST_PITCH_PX = 2.5  # at which a chart is still found, to be called too small
_MAX_ENLARGED_PIXELS = 4_000_000  # the detector's time grows with them; only small images need enlarging
_EDGE_PX = 1.3  # on which a lens and a decoder smear an edge
_PATCH_SHARE = 0.82  # of the pitch, the rest being the black between the patches
_UPRIGHT_PITCH_PX = 16  # three times `MIN_PITCH_PX`; the smallest chart is enlarged, and none is large
_UPRIGHT_MARGIN_PX = 2  # shows the edges of the outer patches
_UPRIGHT_SIZE = (
    COLUMNS * _UPRIGHT_PITCH_PX + 2 * _UPRIGHT_MARGIN_PX,
    ROWS * _UPRIGHT_PITCH_PX + 2 * _UPRIGHT_MARGIN_PX,
)
_UPRIGHT_TO_GRID = np.array(
    [[1, 0, 0.5 - _UPRIGHT_MARGIN_PX], [0, 1, 0.5 - _UPRIGHT_MARGIN_PX], [0, 0, 0]], dtype=np.float64
)
_UPRIGHT_TO_GRID = _UPRIGHT_TO_GRID / _UPRIGHT_PITCH_PX + np.array([[0, 0, -0.5], [0, 0, -0.5], [0, 0, 1]])
# Blur in upright pixels, and whether the patches' own colors are what is looked for in place of the published ones.
_REFINEMENTS = ((4.0, False), (2.0, False), (1.0, True))
_MIN_PERSPECTIVE_PITCH_PX = 15.0  # smaller patches leave the perspective open
# Exponents of the published linear light: coded as most cameras do, linear, and between.
_CODINGS = (1 / 2.2, 1 / 1.5, 1.0)
_MAX_RESIDUAL = 0.16  # of a patch's coded color, under the map that most patches agree on
_MAX_CLIPPED_SHARE = 0.02  # of a patch's pixels: more than hot pixels and a speck make up
_MAX_BLACK_SHARE = 0.5  # likewise at black, where noise clips some pixels of any dark patch
_CLIPPED_LEVEL = 253  # of 255; a decoder's rounding leaves white that low
_MIN_GRAY_STEP = 0.01  # of coded values, by which each patch of the gray row is darker than the one before
_MAX_GRAY_CAST = 0.08  # of coded values, that a gray may lie off the line through all of them
_MIN_COLOR_SPREAD = 0.05  # of coded values over all patches; less is no chart
# The ways to count the patches of a grid: as it is, turned by half, and both mirrored.
_ORDERS = [
    np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float64),
    np.array([[-1, 0, COLUMNS - 1], [0, -1, ROWS - 1], [0, 0, 1]], dtype=np.float64),
    np.array([[-1, 0, COLUMNS - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64),
    np.array([[1, 0, 0], [0, -1, ROWS - 1], [0, 0, 1]], dtype=np.float64),
]


@dataclass(frozen=True, eq=False)
class PatchColors:
    """The pixels of the 24 patches, as histograms."""

    shares: NDArray[np.float64]
    """(24, 3, 256) share of a patch's pixels at each coded level, per channel."""

    def linear(self, response: Response) -> NDArray[np.float64]:
        """Return the (24, 3) mean linear light of the patches under a camera response."""
        return self.shares @ to_linear(np.arange(256, dtype=np.uint8), response).astype(np.float64)

    @cached_property
    def coded(self) -> NDArray[np.float64]:
        """The (24, 3) mean coded colors, 0..1."""
        return self.linear("linear")

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """The (24,) largest standard deviation within a patch over the channels, in coded values of 0..1."""
        levels = np.arange(256) / 255
        variance = self.shares @ levels**2 - self.coded**2
        return np.asarray(np.sqrt(np.maximum(variance, 0)).max(axis=1), dtype=np.float64)

    @cached_property
    def clipped(self) -> NDArray[np.bool_]:
        """The (24,) patches of which a channel is clipped, at white or at black."""
        white = self.shares[..., _CLIPPED_LEVEL:].sum(axis=-1) > _MAX_CLIPPED_SHARE
        black = self.shares[..., 0] > _MAX_BLACK_SHARE
        return np.asarray((white | black).any(axis=1))


@dataclass(frozen=True, eq=False)
class Chart:
    """A color checker in an image."""

    grid_to_image: Homography
    """From the grid of patches, whose centers are at (0..5, 0..3), to pixels."""
    patches: PatchColors
    agreeing: NDArray[np.bool_]
    """(24,) patches whose color is the published one's, up to the map that most of them share."""
    residual: float
    """Root mean square of what that map leaves, in coded values of 0..1, no patch counting for more than the bound."""

    @property
    def centers(self) -> Points:
        """The (24, 2) centers of the patches in pixels."""
        return warp_points(self.grid_to_image, _CENTERS)

    @property
    def mirrored(self) -> bool:
        """Whether the image shows the chart's mirror image."""
        return bool(np.linalg.det(self.grid_to_image) < 0)

    @property
    def pitch_px(self) -> float:
        """The least distance between the centers of neighboring patches."""
        return _pitch_px(self.grid_to_image)


def find_chart(image: Image) -> Chart | None:
    """Find the color checker in an image, in whatever orientation and mirrored or not.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB.

    Returns
    -------
    Chart or None
        The chart whose patches fit the published colors best; None where no grid of patches does, as where less than
        two thirds of a chart are seen.
    """
    found: list[Chart] = []
    for scale in (1.0, 2.0, 4.0):
        if scale > 1 and scale**2 * image.shape[0] * image.shape[1] > _MAX_ENLARGED_PIXELS:
            break
        charts = [place_chart(image, seed) for seed in _detect(image, scale)]
        found += [chart for chart in charts if chart is not None]
        # The detector's places are sure where patches are large.
        if any(chart.pitch_px >= _MIN_PERSPECTIVE_PITCH_PX for chart in found):
            break
    return max(found, key=partial(_explained, image), default=None)


def place_chart(image: Image, grid_to_image: Homography) -> Chart | None:
    """Return the chart that lies about a place, moved to where its patches are; None where there is none.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB.
    grid_to_image : (3, 3) ndarray
        About where the grid of patches lies.
    """
    starts = (grid_to_image, _similar(grid_to_image))
    # Where the colors tell already how the patches are counted, the other ways need not be refined.
    told = [order for order in _ORDERS if _judge(image, normalized(grid_to_image @ order)) is not None]
    found = []
    for order in told or _ORDERS:
        for start in starts:
            for place in (_refine(image, start @ order), start @ order):
                chart = None if place is None else _judge(image, place)
                if chart is not None:
                    found.append((order, chart))
    if not found:
        return None
    # Colors tell how the patches are counted; where they lie is told by their edges.
    counted = min(found, key=lambda one: one[1].residual)[0]
    return max((chart for order, chart in found if order is counted), key=partial(_explained, image))


def _similar(grid_to_image: Homography) -> Homography:
    """Return the turn, scale and shift nearest to a homography: small patches leave its perspective open."""
    source, target = _CENTERS - _CENTERS.mean(axis=0), warp_points(grid_to_image, _CENTERS)
    center = target.mean(axis=0)
    left, sizes, right = np.linalg.svd((target - center).T @ source)
    turn = left @ right * (sizes.sum() / np.square(source).sum())
    similar = np.eye(3)
    similar[:2, :2] = turn
    similar[:2, 2] = center - turn @ _CENTERS.mean(axis=0)
    return similar


def _detect(image: Image, scale: float) -> Iterator[Homography]:
    """Yield the places of all grids that the detector takes for a chart."""
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = image if scale == 1 else np.asarray(cv2.resize(image, size, interpolation=interpolation))
    detector = cv2.mcc.CCheckerDetector.create()
    detector.setColorChartType(cv2.mcc.MCC24)
    # The second argument is the number of charts to look for; a chart type there finds nothing without a word.
    if not detector.process(cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR), 2):
        return
    to_image = np.diag([image.shape[1] / size[0], image.shape[0] / size[1], 1.0])
    to_image[:2, 2] = (np.diag(to_image)[:2] - 1) / 2
    for found in detector.getListColorChecker():
        corners = np.asarray(found.getColorCharts(), dtype=np.float64).reshape(-1, 4, 2)
        if len(corners) != ROWS * COLUMNS:
            continue
        place = fit_grid(corners.mean(axis=1))
        if place is not None:
            yield normalized(to_image @ place)


def fit_grid(centers: Points) -> Homography | None:
    """Return the place of a grid whose patches have these (24, 2) centers in pixels; None where they are no grid."""
    homography, _ = cv2.findHomography(_CENTERS, np.asarray(centers, dtype=np.float64), 0)
    if homography is None or not abs(np.linalg.det(homography)) > 0 or abs(homography[2, 2]) < 1e-9:
        return None
    return normalized(np.asarray(homography, dtype=np.float64))


def _pitch_px(grid_to_image: Homography) -> float:
    grid = warp_points(grid_to_image, _CENTERS).reshape(ROWS, COLUMNS, 2)
    steps = [np.linalg.norm(np.diff(grid, axis=axis), axis=-1).min() for axis in (0, 1)]
    return float(min(steps))


def is_in_picture(image: Image, grid_to_image: Homography) -> bool:
    """Return whether the inner parts of all patches of a grid lie in the image."""
    if not _is_before_camera(grid_to_image):
        return False
    inner = _inner_quads(grid_to_image)
    height, width = image.shape[:2]
    return bool(inner.min() >= 0 and inner[..., 0].max() <= width - 1 and inner[..., 1].max() <= height - 1)


def _is_before_camera(grid_to_image: Homography) -> bool:
    corners = np.array([[-0.5, -0.5], [COLUMNS - 0.5, -0.5], [COLUMNS - 0.5, ROWS - 0.5], [-0.5, ROWS - 0.5]])
    depth = np.column_stack([corners, np.ones(4)]) @ grid_to_image[2]
    return bool(depth.min() > 0.2 * depth.max())


def _inner_quads(grid_to_image: Homography) -> NDArray[np.float64]:
    """Return the (24, 4, 2) corners of the patches' inner parts in pixels."""
    inner = min(_MAX_INNER, _PATCH_SHARE / 2 - _EDGE_PX / _pitch_px(grid_to_image))
    inner = max(inner, _MIN_INNER)
    corners = _CENTERS[:, None] + inner * _SQUARE
    return warp_points(grid_to_image, corners.reshape(-1, 2)).reshape(-1, 4, 2)


def _refine(image: Image, grid_to_image: Homography) -> Homography | None:
    """Return the place at which patches of uniform color with black between them explain the image best.

    The published colors guide the coarse steps, from which the detector's place may be half a patch off; the patches'
    own the last one.
    """
    place = grid_to_image
    brightness = _PUBLISHED_LINEAR.max(axis=1)
    for blur_px, own in _REFINEMENTS:
        if not _is_before_camera(place):
            return None
        upright = _straighten(image, place)
        levels = _inner_medians(upright)
        if not own and levels.std() > 0:
            levels = max((brightness**coding for coding in _CODINGS), key=partial(_correlation, levels))
        template = _draw_template(levels, float(np.percentile(upright, 2)) if own else 0.0)
        smooth = [np.asarray(cv2.GaussianBlur(picture, (0, 0), blur_px)) for picture in (template, upright)]
        perspective = own and _pitch_px(place) >= _MIN_PERSPECTIVE_PITCH_PX
        motion, rows = (cv2.MOTION_HOMOGRAPHY, 3) if perspective else (cv2.MOTION_AFFINE, 2)
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
        warp = np.eye(3, dtype=np.float64)
        try:
            _, found = cv2.findTransformECC(smooth[0], smooth[1], np.eye(rows, 3, dtype=np.float32), motion, criteria)
            warp[:rows] = found
            place = normalized(place @ _UPRIGHT_TO_GRID @ warp @ np.linalg.inv(_UPRIGHT_TO_GRID))
        except (cv2.error, np.linalg.LinAlgError, ValueError):
            return None
    return place


def _explained(image: Image, chart: Chart) -> float:
    """Return how well uniform patches with black between them explain a chart's image."""
    upright = _straighten(image, chart.grid_to_image)
    template = _draw_template(_inner_medians(upright), float(np.percentile(upright, 2)))
    return _correlation(template.ravel(), upright.ravel())


def _straighten(image: Image, grid_to_image: Homography) -> NDArray[np.float32]:
    """Return the upright chart's image: the brightest channel, (H, W), in levels of 0..255."""
    size, flags = _UPRIGHT_SIZE, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    place = grid_to_image @ _UPRIGHT_TO_GRID
    upright = cv2.warpPerspective(image, place, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.asarray(upright, dtype=np.float32).max(axis=2))


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def _draw_template(levels: NDArray[np.floating], black: float) -> NDArray[np.float32]:
    """Return the upright chart of patches of given brightness, (H, W)."""
    half = round(_PATCH_SHARE * _UPRIGHT_PITCH_PX / 2)
    first = _UPRIGHT_MARGIN_PX + _UPRIGHT_PITCH_PX // 2 - half
    template = np.full(_UPRIGHT_SIZE[::-1], black, dtype=np.float32)
    for index, level in enumerate(levels):
        row, column = divmod(index, COLUMNS)
        top, left = (n * _UPRIGHT_PITCH_PX + first for n in (row, column))
        template[top : top + 2 * half, left : left + 2 * half] = level
    return template


def _inner_medians(upright: NDArray[np.float32]) -> NDArray[np.float32]:
    margin, quarter = _UPRIGHT_MARGIN_PX, _UPRIGHT_PITCH_PX // 4
    inside = upright[margin:-margin, margin:-margin]
    blocks = inside.reshape(ROWS, _UPRIGHT_PITCH_PX, COLUMNS, _UPRIGHT_PITCH_PX)
    return np.asarray(np.median(blocks[:, quarter:-quarter, :, quarter:-quarter], axis=(1, 3)).ravel(), np.float32)


def measure_patches(image: Image, grid_to_image: Homography) -> PatchColors:
    """Return the colors of the patches' inner parts.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB.
    grid_to_image : (3, 3) ndarray
        Where the grid of patches lies.
    """
    shares = np.zeros((len(_CENTERS), 3, 256))
    for index, quad in enumerate(_inner_quads(grid_to_image)):
        low = np.maximum(np.floor(quad.min(axis=0)).astype(int), 0)
        high = np.ceil(quad.max(axis=0)).astype(int) + 1
        part = image[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros(part.shape[:2], dtype=np.uint8)
        cv2.fillConvexPoly(mask, np.rint(quad - low).astype(np.int32), 1)
        pixels = part[mask > 0]
        for channel in range(3):
            shares[index, channel] = np.bincount(pixels[:, channel], minlength=256) / max(len(pixels), 1)
    return PatchColors(shares)


def _judge(image: Image, grid_to_image: Homography) -> Chart | None:
    """Return the chart of a place if its patches look like the published ones up to an affine map."""
    if not is_in_picture(image, grid_to_image) or _pitch_px(grid_to_image) < _LEAST_PITCH_PX:
        return None
    patches = measure_patches(image, grid_to_image)
    even = patches.spread <= MAX_SPREAD
    fitted = even & ~patches.clipped
    if fitted.sum() < MIN_AGREEING // 2 or patches.coded[fitted].std(axis=0).max() < _MIN_COLOR_SPREAD:
        return None
    best: Chart | None = None
    for coding in _CODINGS:
        published = _PUBLISHED_LINEAR**coding
        color_map, _ = fit_color_map_by_consensus(published[fitted], patches.coded[fitted])
        # A clipped patch agrees with whatever lies beyond.
        expected = np.clip(published @ color_map[:, :3].T + color_map[:, 3], 0, 1)
        errors = np.linalg.norm(expected - patches.coded, axis=1)
        agreeing = even & (errors <= _MAX_RESIDUAL)
        if agreeing.sum() < MIN_AGREEING or np.linalg.det(color_map[:, :3]) <= 0:
            continue
        if not _gray_row_is_gray(patches.coded, agreeing, patches.clipped):
            continue
        residual = float(np.sqrt(np.square(np.minimum(errors, _MAX_RESIDUAL)).mean()))
        if best is None or residual < best.residual:
            best = Chart(grid_to_image, patches, agreeing, residual)
    return best


def _gray_row_is_gray(colors: NDArray[np.float64], agreeing: NDArray[np.bool_], clipped: NDArray[np.bool_]) -> bool:
    """Return whether the gray row darkens from patch to patch, and has one cast."""
    kept = (agreeing & ~clipped)[GRAY_ROW]
    grays = colors[GRAY_ROW][kept]
    if len(grays) < 3:
        return False
    if (np.diff(grays.mean(axis=1)) > -_MIN_GRAY_STEP).any():
        return False
    centered = grays - grays.mean(axis=0)
    direction = np.linalg.svd(centered)[2][0]
    off_line = centered - np.outer(centered @ direction, direction)
    return bool(np.linalg.norm(off_line, axis=1).max() <= _MAX_GRAY_CAST)

"""Green-screen takes: mattes and composites against the true ones, and whether composites still blur as light does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import AlignedFrame, Camera, CameraResponse, Split
from rb2v.benchmark.report.page import Gallery
from rb2v.benchmark.session.green_screen.contact_sheet import GRAY, View, show
from rb2v.benchmark.session.green_screen.plain_key import PlainKey, find_screen
from rb2v.benchmark.truth.reference import TruthRenderer, spread_indices
from rb2v.core.color import encode, to_linear
from rb2v.core.compositing import blur_residual_psnr, composite
from rb2v.core.metrics import alpha_errors, psnr, screen_hue_share
from rb2v.errors import InputError
from rb2v.interpolation.dense_flow import Flow, estimate_dis
from rb2v.io.aligned import AlignedSample, AlignedTakeReader
from rb2v.matting import Matte, fit_to_take, make_matting_method
from rb2v.shards import ShardReader, manifest_path, sha256_of
from rb2v.stages.build_shards import Recompositor

PLAIN = "plain key"
"""Who keys beside the matting method."""

ERRORS = ("mad", "mse", "sad", "gradient", "connectivity", "mad_soft")
"""Errors of alpha; the last is the mean absolute difference on soft edges."""

SOFT = (0.01, 0.99)
"""True alpha of soft edges."""

REGION_ALPHA = 0.02
"""True alpha from which on composites are compared."""

REGION_MARGIN_PX = 2
"""Around that, where a fringe would be."""

BAND_PX = 5
"""How far the band around the foreground's edge reaches, in which composites are compared once more."""

_N_SHOWN = 2  # samples of a take, the worst first

Frame = NDArray[np.uint8]
Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Keying:
    """How a data set was keyed."""

    matter: str
    weights: Path | None
    is_known: bool
    """Whether its mattes can be made again: weights that it needs are given."""
    pictures_dir: Path | None
    """The folder of its backgrounds, where they are not the packaged ones."""


@dataclass(frozen=True)
class TakeKeying:
    """What is measured of a green-screen take."""

    take: str
    errors: Mapping[tuple[str, str], Figures]
    """Mean errors of alpha by who keyed (matting or plain key) and kind of frame; none without a truth. Without the
    weights they are not measured, and None."""
    fidelity: Mapping[tuple[str, str], float | None]
    """Mean PSNR in the foreground, in dB, by what is compared with the truth and kind of frame. Without the weights or
    the backgrounds it is not measured, and None."""
    has_backgrounds: bool
    """Whether the data set's backgrounds are at hand."""
    has_screen: bool
    """Whether the screen's color is known: not without the weights, or where nothing green stands behind."""
    aligned_residual_db: float
    """Mean PSNR, in linear light, of the sharp frames' mean against the blurry frame, before the screen is replaced."""
    residual_db: float
    """The same in the shards."""
    all_residuals_db: tuple[float, ...]
    """Of every sample of the take in the shards."""
    all_bounds_db: tuple[float, ...]
    """The least PSNR over any background, of every frame that was keyed to judge it, accepted or not."""
    rejected_percent: float
    """Share of the frames that nothing else speaks against which were rejected for their mattes."""
    flicker: float | None
    """Mean absolute change of alpha along the motion between two sharp frames, over that of the true alpha; None
    without a truth, or where the true one does not change."""
    fringe_percents: tuple[float | None, float | None]
    """Share of pixels near edges with the screen's hue, over gray, by the matting method and by the plain key. Edges
    are the true ones, or else the matting method's; None where there are none."""
    sheet: tuple[Gallery, ...]


def find_keying(shards: ShardReader, weights: Path | None = None, pictures_dir: Path | None = None) -> Keying:
    """Return how a data set was keyed.

    Parameters
    ----------
    shards : ShardReader
        The data set.
    weights : Path, optional
        File of its matting method's weights.
    pictures_dir : Path, optional
        Folder of its backgrounds.

    Raises
    ------
    InputError
        If its manifest does not say, or the weights are not those that it was keyed with.
    """
    path = manifest_path(shards.folder)
    build = shards.manifest.provenance.config.get("build_shards")
    said = build if isinstance(build, dict) else {}
    matting, digest = said.get("matter"), said.get("weights_sha256")
    if not isinstance(matting, str):
        raise InputError(
            path, f"is {matting!r}", "provenance.config.build_shards.matter", "the name of a matting method"
        )
    if weights is not None and sha256_of(weights) != digest:
        raise InputError(weights, "is not what the data set was keyed with", expected=f"SHA-256 {digest} by {path}")
    return Keying(matting, weights, digest is None or weights is not None, pictures_dir)


def measure_take(
    reader: AlignedTakeReader,
    shards: ShardReader,
    response: CameraResponse,
    renderer: TruthRenderer | None,
    keying: Keying,
    n_samples: int,
) -> TakeKeying:
    """Key a few frames of a green-screen take, and compare them with the truth and with the shards.

    Parameters
    ----------
    reader : AlignedTakeReader
        The aligned take.
    shards : ShardReader
        The data set that was built from it.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the frames.
    renderer : TruthRenderer or None
        The take's true frames and mattes, where it was simulated.
    keying : Keying
        How the data set was keyed.
    n_samples : int
        Frames to key, evenly spaced over those in the shards; the worst are shown beside.

    Raises
    ------
    InputError
        If none of the take's frames is in the shards, or the backgrounds are not those of the data set.
    Rb2vError
        If the take cannot be keyed.
    """
    take = _Take(reader, shards, response, renderer, keying)
    chosen = [take.kept[index] for index in spread_indices(len(take.kept), n_samples)]
    ranked = sorted((i for i in take.kept if not math.isnan(take.stored_psnr(i))), key=take.stored_psnr)
    shown = ranked[:_N_SHOWN] or chosen
    measured = {index: take.measure(index, shown=index in shown) for index in sorted({*chosen, *shown})}
    samples = [measured[index] for index in chosen]
    keys = dict.fromkeys(key for sample in samples for key in sample.errors)
    compared = dict.fromkeys(key for sample in samples for key in sample.fidelity)
    fringes = [_mean([pair[place] for sample in samples for pair in sample.fringes]) for place in (0, 1)]
    if not ranked:  # shards of older versions, which do not tell
        shown = sorted(chosen, key=lambda index: measured[index].residual_db)[:_N_SHOWN]
    sheet = []
    for place, index in enumerate(shown):
        gallery = measured[index].gallery
        if gallery is not None:
            rank = "the worst" if place == 0 else f"number {place + 1} from the worst"
            ranking = f": {rank} of {len(ranked)} samples by eq. (1)" if ranked else ""
            told = f"{gallery.caption}{ranking}. {measured[index].tell()}"
            sheet.append(Gallery(told, gallery.pictures, gallery.columns))
    return TakeKeying(
        take=reader.name,
        errors={
            key: {name: _mean([value for one in samples for value in one.error_values(key, name)]) for name in ERRORS}
            for key in keys
        },
        fidelity={
            key: _mean([value for sample in samples for value in sample.fidelity.get(key, ())]) for key in compared
        },
        has_backgrounds=take.has_backgrounds,
        has_screen=take.has_screen,
        aligned_residual_db=float(np.mean([sample.aligned_residual_db for sample in samples])),
        residual_db=float(np.mean([sample.residual_db for sample in samples])),
        all_residuals_db=tuple(take.stored_psnr(index) for index in take.kept),
        all_bounds_db=tuple(f.composite_psnr for f in take.judged if not math.isnan(f.composite_psnr)),
        rejected_percent=100 * float(np.mean([not frame.accepted for frame in take.judged])),
        flicker=_mean([sample.flicker for sample in samples]),
        fringe_percents=(_percent(fringes[0]), _percent(fringes[1])),
        sheet=tuple(sheet),
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is measured of a sample; values are of its frames."""

    errors: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
    fidelity: Mapping[tuple[str, str], Sequence[float]]
    fringes: Sequence[tuple[float, float]]
    """By the matting method, and by the plain key."""
    flicker: float
    aligned_residual_db: float
    residual_db: float
    gallery: Gallery | None

    def error_values(self, key: tuple[str, str], name: str) -> list[float]:
        return [errors[name] for errors in self.errors[key]]

    def tell(self) -> str:
        """Return the figures in words."""
        parts = [f"PSNR of eq. (1) {self.residual_db:.1f} dB, as aligned {self.aligned_residual_db:.1f} dB"]
        parts += [
            f"mean absolute difference of alpha, {kind}, {np.mean([error['mad'] for error in errors]):.4f}"
            for (key, kind), errors in self.errors.items()
            if key != PLAIN
        ]
        parts += [
            f"composite, {kind}, {np.mean(values):.1f} dB"
            for (what, kind), values in self.fidelity.items()
            if what == "composite" and values
        ]
        fringe = _percent(_mean([ours for ours, _ in self.fringes]))
        if fringe is not None:
            parts.append(f"green fringe {fringe:.3f} %")
        return "; ".join(parts) + "."


class _Take:
    """A green-screen take, ready to be keyed again."""

    def __init__(
        self,
        reader: AlignedTakeReader,
        shards: ShardReader,
        response: CameraResponse,
        renderer: TruthRenderer | None,
        keying: Keying,
    ) -> None:
        self._reader, self._shards, self._response, self._renderer = reader, shards, response, renderer
        table = shards.table[shards.table["take"] == reader.name]
        self._rows = dict(zip(table["blurry_index"].tolist(), table.index.tolist(), strict=True))
        self.judged = [frame for frame in reader.read_frames() if frame.accepted or frame.reason == "matte"]
        self._frames = [frame for frame in self.judged if frame.accepted]
        self.kept = [index for index, frame in enumerate(self._frames) if frame.blurry_index in self._rows]
        if not self.kept:
            raise InputError(
                reader.path, "none of its frames is in the shards", expected="the take they were built from"
            )
        shutter = reader.timing.rolling_shutter
        self._camera: Camera = "blurry" if shutter is not None and shutter.compensated else "sharp"
        first = reader.read(self.kept[0])
        self._compositor = _find_compositor(shards, first.blurry.shape[1::-1], response, keying.pictures_dir)
        self._matting, self._screen = None, None
        if keying.is_known:
            cut = None if self._compositor is None else self._compositor.cut
            self._matting = fit_to_take(reader, make_matting_method(keying.matter, keying.weights), response, cut)
            self._screen = find_screen(self._matting, reader.plate, response)
        self._matting_name = keying.matter
        self._key_plainly = PlainKey(self._screen)
        self._split: Split = "test" if table["shard"].iloc[0].startswith("test") else "train"

    @property
    def has_backgrounds(self) -> bool:
        return self._compositor is not None

    @property
    def has_screen(self) -> bool:
        return self._screen is not None

    def stored_psnr(self, index: int) -> float:
        """Return the PSNR of eq. (1) that the shards give for an accepted frame; NaN where they do not."""
        return float(self._shards.table["composite_psnr"][self._rows[self._frames[index].blurry_index]])

    def measure(self, index: int, *, shown: bool) -> _Measured:
        frame, sample = self._frames[index], self._reader.read(index)
        stored = self._shards.read(self._rows[frame.blurry_index])
        ks = (0, len(sample.sharp) // 2, len(sample.sharp) - 1)
        errors: dict[tuple[str, str], list[dict[str, float]]] = {}
        fidelity: dict[tuple[str, str], list[float]] = {}
        fringes: list[tuple[float, float]] = []
        gallery, flicker = None, math.nan
        truths = self._render(frame, ks)
        if self._matting is None:
            for kind in (kind for kind, true in zip(("sharp", "blurry"), truths[-2:], strict=True) if true is not None):
                errors[self._matting_name, kind], fidelity["composite", kind] = [], []
        else:
            kept = sample
            if self._compositor is not None:
                kept = AlignedSample(self._compositor.cut(sample.blurry), self._compositor.cut(sample.sharp))
            sharp, blurry = self._matting.matte(kept.sharp, kept.blurry)
            mattes = [Matte(sharp.alpha[k], sharp.premultiplied_linear[k]) for k in ks]
            views = [
                *(View(f"x{k}", "sharp", kept.sharp[k], matte) for k, matte in zip(ks, mattes, strict=True)),
                View("y", "blurry", kept.blurry, blurry),
            ]
            flicker = self._measure_flicker(sharp.alpha, frame, ks[1])
            in_shards = [*(stored.sharp[k] for k in ks), stored.blurry]
            for view, held, true in zip(views, in_shards, truths, strict=True):
                if self._screen is not None:
                    fringes.append(self._measure_fringe(view, true, self._screen))
                if true is not None:
                    self._compare(view, held, true, frame, blurry, errors, fidelity)
            if shown:
                gallery = show(f"{frame.take}, blurry frame {frame.blurry_index}", views, in_shards)
        return _Measured(
            errors,
            fidelity,
            fringes,
            flicker,
            _blur_residual(sample, self._response),
            _blur_residual(AlignedSample(stored.blurry, stored.sharp), self._response),
            gallery,
        )

    def _render(self, frame: AlignedFrame, ks: Sequence[int]) -> list[_True | None]:
        if self._renderer is None:
            return [None] * (len(ks) + 1)
        found: list[_True | None] = []
        for k in ks:
            matte = self._renderer.sharp_matte(frame.position + k, self._camera)
            found.append(self._cut(matte, self._renderer.sharp(frame.position + k, self._camera)))
        matte = self._renderer.blurry_matte(frame.blurry_time)
        return [*found, self._cut(matte, self._renderer.blurry(frame.blurry_time))]

    def _cut(self, matte: Matte | None, picture: Frame) -> _True | None:
        if matte is None or self._compositor is None:
            return None if matte is None else _True(matte, matte.alpha, picture)
        return _True(matte, self._compositor.cut(matte.alpha), self._compositor.cut(picture))

    def _compare(
        self,
        view: View,
        stored: Frame,
        true: _True,
        frame: AlignedFrame,
        blurry: Matte,
        errors: dict[tuple[str, str], list[dict[str, float]]],
        fidelity: dict[tuple[str, str], list[float]],
    ) -> None:
        plain = self._key_plainly(view.image)
        for name, estimate in ((self._matting_name, view.matte.alpha), (PLAIN, plain)):
            errors.setdefault((name, view.kind), []).append(_measure(estimate, true.alpha))
        found = fidelity.setdefault(("composite", view.kind), [])
        compositor = self._compositor
        if compositor is None:
            return
        background = compositor.background(self._split, frame.take, frame.blurry_index, blurry)
        plain_matte = Matte(plain, plain[..., None] * to_linear(view.image, self._response))
        truth = compositor.lay(true.matte, background)
        region = _foreground_region(true.alpha, truth.shape[1::-1])
        as_aligned = _foreground_region(true.alpha, true.picture.shape[1::-1])
        if not as_aligned.any() or not region.any():
            return
        found.append(psnr(stored[region], truth[region]))
        keyed_plainly = compositor.lay(plain_matte, background)
        self._measure_gaps(view, stored, true, background, fidelity)
        for what, value in (
            ("aligned", psnr(view.image[as_aligned], true.picture[as_aligned])),
            (PLAIN, psnr(keyed_plainly[region], truth[region])),
        ):
            fidelity.setdefault((what, view.kind), []).append(value)

    def _measure_gaps(
        self,
        view: View,
        stored: Frame,
        true: _True,
        background: NDArray[np.float32],
        fidelity: dict[tuple[str, str], list[float]],
    ) -> None:
        """Compare a composite with what the same frame gives with the true alpha and all other light told apart."""
        compositor = self._compositor
        assert compositor is not None
        # All that the true frame shows beyond the foreground is taken off: what is left is the frame's own error.
        error = to_linear(view.image, self._response) - to_linear(true.picture, self._response)
        light = np.clip(compositor.cut(true.matte.premultiplied_linear) + error, 0, true.alpha[..., None])
        best = compositor.lay(Matte(true.alpha, np.asarray(light, dtype=np.float32)), background)
        truth = compositor.lay(true.matte, background)
        size = truth.shape[1::-1]
        for what, region in (
            ("gap", _foreground_region(true.alpha, size)),
            ("gap at edges", _edge_region(true.alpha, size)),
        ):
            if region.any():
                gap = psnr(best[region], truth[region]) - psnr(stored[region], truth[region])
                fidelity.setdefault((what, view.kind), []).append(gap)

    def _measure_flicker(self, alpha: NDArray[np.float32], frame: AlignedFrame, k: int) -> float:
        """Return how much alpha changes along the motion from a sharp frame to the next, over the true alpha's."""
        if self._renderer is None or k + 1 >= len(alpha):
            return math.nan
        positions = (frame.position + k, frame.position + k + 1)
        mattes = [self._renderer.sharp_matte(position, self._camera) for position in positions]
        pictures = [self._renderer.sharp(position, self._camera) for position in positions]
        first, second = (self._cut(matte, image) for matte, image in zip(mattes, pictures, strict=True))
        if first is None or second is None:
            return math.nan
        flow = estimate_dis(first.picture, second.picture)
        true = _change_along(first.alpha, second.alpha, flow)
        return _change_along(alpha[k], alpha[k + 1], flow) / true if true > 0 else math.nan

    def _measure_fringe(self, view: View, true: _True | None, screen_rgb: Frame) -> tuple[float, float]:
        matte = view.matte
        gray = np.full((*matte.alpha.shape, 3), GRAY, dtype=np.float32)
        laid = encode(composite(matte.premultiplied_linear, matte.alpha, gray), self._response)
        plain = np.where(self._key_plainly(view.image)[..., None] > 0, view.image, encode(gray, self._response))
        # A matting method that finds no edge at all has no fringe along its own.
        alpha = matte.alpha if true is None else true.alpha
        return screen_hue_share(laid, alpha, screen_rgb), screen_hue_share(plain, alpha, screen_rgb)


@dataclass(frozen=True, eq=False)
class _True:
    """What a frame should be."""

    matte: Matte
    """Of the whole aligned frame."""
    alpha: NDArray[np.float32]
    """Of the part of it that was kept."""
    picture: Frame
    """The same part."""


def _find_compositor(
    shards: ShardReader, size: tuple[int, ...], response: CameraResponse, pictures_dir: Path | None
) -> Recompositor | None:
    """Return what draws the data set's backgrounds again; None where its images are not at hand."""
    path = manifest_path(shards.folder)
    try:
        return Recompositor(shards.manifest, path, (size[0], size[1]), response, pictures_dir)
    except InputError:
        if pictures_dir is not None:
            raise
        return None


def _foreground_region(alpha: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.bool_]:
    if alpha.shape != size[::-1]:
        alpha = np.asarray(cv2.resize(alpha, (size[0], size[1]), interpolation=cv2.INTER_AREA), dtype=np.float32)
    reach = 2 * REGION_MARGIN_PX + 1
    return cv2.dilate((alpha > REGION_ALPHA).astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool)


def _edge_region(alpha: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.bool_]:
    if alpha.shape != size[::-1]:
        alpha = np.asarray(cv2.resize(alpha, (size[0], size[1]), interpolation=cv2.INTER_AREA), dtype=np.float32)
    edge = ((alpha > REGION_ALPHA) & (alpha < 1 - REGION_ALPHA)).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND_PX + 1,) * 2)
    return cv2.dilate(edge, disc).astype(bool)


def _change_along(first: NDArray[np.float32], second: NDArray[np.float32], flow: Flow) -> float:
    """Return the mean absolute difference of an image and the next, fetched from where the flow leads."""
    height, width = first.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    there = cv2.remap(second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(there - first).mean())


def _blur_residual(sample: AlignedSample, response: CameraResponse) -> float:
    sharp_linear = np.stack([to_linear(frame, response) for frame in sample.sharp])
    return blur_residual_psnr(sharp_linear, to_linear(sample.blurry, response))


def _measure(alpha: NDArray[np.float32], true: NDArray[np.float32]) -> dict[str, float]:
    errors = alpha_errors(alpha, true)
    soft = (true > SOFT[0]) & (true < SOFT[1])
    mad_soft = float(np.abs(alpha - true)[soft].mean()) if soft.any() else math.nan
    return {
        "mad": errors.mad,
        "mse": errors.mse,
        "sad": errors.sad,
        "gradient": errors.gradient,
        "connectivity": errors.connectivity,
        "mad_soft": mad_soft,
    }


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share

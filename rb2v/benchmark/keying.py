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
from rb2v.benchmark.page import Gallery, Picture, Section, Table, make_picture, make_table
from rb2v.benchmark.reference import TruthRenderer, spread_indices
from rb2v.benchmark.scores import Score
from rb2v.core.color import encode, to_linear
from rb2v.core.compositing import blur_residual_psnr, composite
from rb2v.core.metrics import alpha_errors, psnr, screen_hue_share
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedSample, AlignedTakeReader
from rb2v.matting import Matte, fit_to_take, make_matter
from rb2v.shards import ShardReader, manifest_path, sha256_of
from rb2v.stages.build_shards import Recompositor

_SUITE, _STAGE = "mattes", "build-shards"
_SOFT = (0.01, 0.99)
_REGION_ALPHA = 0.02  # of the true foreground, from which on composites are compared
_REGION_MARGIN_PX = 2  # around that, where a fringe would be
_N_SHOWN = 2  # samples of a take, the worst first
_SHOWN_PX = 300
_GRAY = np.float32(0.2158605)  # linear light of a coded 128 in sRGB

_ERRORS = {"mad": "", "mse": "", "sad": "pixels", "gradient": "sum", "connectivity": "pixels", "mad_soft": ""}
_HEADER = (
    "mean absolute difference",
    "mean squared difference",
    "sum of absolute differences [pixels]",
    "gradient error",
    "connectivity error [pixels]",
    "mean absolute difference on soft edges",
)
_PLAIN = "plain key"
_KINDS = ("sharp", "blurry")

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
    """Mean errors of alpha by who keyed (matter or plain key) and kind of frame; empty without a truth."""
    fidelity: Mapping[tuple[str, str], float | None]
    """Mean PSNR in the foreground, in dB, by what is held against the truth and kind of frame."""
    aligned_residual_db: float
    """Mean PSNR, in linear light, of the sharp frames' mean against the blurry frame, before the screen is replaced."""
    residual_db: float
    """The same in the shards."""
    all_residuals_db: tuple[float, ...]
    """Of every sample of the take in the shards."""
    fringe_percents: tuple[float | None, float | None]
    """Share of pixels near edges with the screen's hue, over grey, by the matter and by the plain key."""
    sheet: tuple[Gallery, ...]


def report(results: Sequence[TakeKeying], keying: Keying) -> Section:
    """Return the section on the data set's green-screen takes."""
    blocks: list[Table | Gallery] = []
    errors = [line for result in results for line in _error_lines(result)]
    if errors:
        caption = (
            f"Alpha of the matter '{keying.matter}', 0..1, against the rendered one, beside a plain key: foreground is "
            "where green less the greater of red and blue (coded values) is below half of what it is on the screen. "
            "Sums and gradient errors are of a whole frame. Soft edges are pixels whose true alpha is between "
            f"{_SOFT[0]:g} and {_SOFT[1]:g}."
        )
        blocks.append(make_table(caption, ("Take", "Frames", "Key", *_HEADER), errors, n_text_columns=3, grouped=True))
    fidelities = [line for result in results for line in _fidelity_lines(result)]
    if fidelities:
        caption = (
            "PSNR in the foreground, in dB: coded values where the true alpha is above "
            f"{_REGION_ALPHA:g}, and {_REGION_MARGIN_PX} pixels around. Composites are held against the true "
            "foreground over the same background; 'as aligned' are the frames before they are keyed, screen and all, "
            "against the true frames, which tells what noise, coding and interpolation leave to lose."
        )
        header = ("Take", "Frames", "as aligned", "composite in the shards", "composite of the plain key")
        blocks.append(make_table(caption, header, fidelities, n_text_columns=2, grouped=True))
    residuals = [_residual_line(result) for result in results]
    caption = (
        "How well the mean of the sharp frames explains the blurry frame (eq. 1), as PSNR in linear light, in dB: as "
        "aligned, and after the screen was replaced. The blurry camera also sees the time between the sharp frames, "
        "so that even perfect ones leave a residual. Green fringe: share of pixels within 3 pixels of an edge that "
        "have the screen's hue, in composites over neutral grey, in percent."
    )
    columns = (
        "aligned",
        "in the shards",
        "change",
        "median of all samples",
        "worst sample",
        "fringe [%]",
        "of the plain key [%]",
    )
    blocks.append(make_table(caption, ("Take", *columns), residuals))
    lines = (*errors, *fidelities, *residuals)
    scores = tuple(cell for line in lines for cell in line if isinstance(cell, Score))
    lead = "Mattes of green-screen takes, and the composites that the data set holds."
    galleries = [gallery for result in results for gallery in result.sheet]
    return Section("Green-screen takes", lead, (*blocks, *galleries), scores)


def find_keying(shards: ShardReader, weights: Path | None = None, pictures_dir: Path | None = None) -> Keying:
    """Return how a data set was keyed.

    Parameters
    ----------
    shards : ShardReader
        The data set.
    weights : Path, optional
        File of its matter's weights.
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
    matter, digest = said.get("matter"), said.get("weights_sha256")
    if not isinstance(matter, str):
        raise InputError(path, f"is {matter!r}", "provenance.config.build_shards.matter", "the name of a matter")
    if weights is not None and sha256_of(weights) != digest:
        raise InputError(weights, "is not what the data set was keyed with", expected=f"SHA-256 {digest} by {path}")
    return Keying(matter, weights, digest is None or weights is not None, pictures_dir)


def _error_lines(result: TakeKeying) -> list[list[str | Score]]:
    lines: list[list[str | Score]] = []
    for (key, kind), errors in result.errors.items():
        is_plain = key == _PLAIN
        prefix = "plain_key." if is_plain else ""
        scores = [
            Score(
                *(_SUITE, _STAGE, f"{prefix}alpha_{name}.{kind}", errors[name], unit, result.take),
                checked=name == "mad" and not is_plain,
            )
            for name, unit in _ERRORS.items()
        ]
        lines.append([result.take, kind, key, *scores])
    return lines


def _fidelity_lines(result: TakeKeying) -> list[list[str | Score]]:
    metrics = {"aligned": "aligned_fidelity", "composite": "composite_fidelity", _PLAIN: "plain_key.composite_fidelity"}
    lines: list[list[str | Score]] = []
    for kind in _KINDS:
        if ("composite", kind) in result.fidelity:
            scores = [
                Score(
                    *(_SUITE, _STAGE, f"{metric}.{kind}", result.fidelity[what, kind], "dB", result.take),
                    checked=what == "composite",
                )
                for what, metric in metrics.items()
            ]
            lines.append([result.take, kind, *scores])
    return lines


def _residual_line(result: TakeKeying) -> list[str | Score]:
    known = [value for value in result.all_residuals_db if not math.isnan(value)]
    values = {
        "blur_residual.aligned": result.aligned_residual_db,
        "blur_residual.composite": result.residual_db,
        "blur_residual.change": result.residual_db - result.aligned_residual_db,
        "composite_psnr.median": float(np.median(known)) if known else None,
        "composite_psnr.worst": min(known) if known else None,
    }
    return [
        result.take,
        *(
            Score(_SUITE, _STAGE, name, value, "dB", result.take, name == "composite_psnr.median" and bool(known))
            for name, value in values.items()
        ),
        *(
            Score(_SUITE, _STAGE, name, value, "% of edges", result.take, checked=checked and value is not None)
            for name, value, checked in (
                ("green_fringe", result.fringe_percents[0], True),
                ("plain_key.green_fringe", result.fringe_percents[1], False),
            )
        ),
    ]


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
    worst = sorted(take.kept, key=lambda index: (take.stored_psnr(index), index))[:_N_SHOWN]
    measured = {index: take.measure(index, shown=index in worst) for index in sorted({*chosen, *worst})}
    samples = [measured[index] for index in chosen]
    keys = dict.fromkeys(key for sample in samples for key in sample.errors)
    compared = dict.fromkeys(key for sample in samples for key in sample.fidelity)
    fringes = [_mean([pair[place] for sample in samples for pair in sample.fringes]) for place in (0, 1)]
    sheet = []
    for place, index in enumerate(worst):
        gallery = measured[index].gallery
        if gallery is not None:
            rank = "the worst" if place == 0 else f"number {place + 1} from the worst"
            told = f"{gallery.caption}: {rank} of {len(take.kept)} samples by eq. (1). {measured[index].tell()}"
            sheet.append(Gallery(told, gallery.pictures, gallery.columns))
    return TakeKeying(
        take=reader.name,
        errors={
            key: {name: _mean([value for one in samples for value in one.error_values(key, name)]) for name in _ERRORS}
            for key in keys
        },
        fidelity={key: _mean([value for sample in samples for value in sample.fidelity[key]]) for key in compared},
        aligned_residual_db=float(np.mean([sample.aligned_residual_db for sample in samples])),
        residual_db=float(np.mean([sample.residual_db for sample in samples])),
        all_residuals_db=tuple(take.stored_psnr(index) for index in take.kept),
        fringe_percents=(_percent(fringes[0]), _percent(fringes[1])),
        sheet=tuple(sheet),
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is measured of a sample; values are of its frames."""

    errors: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
    fidelity: Mapping[tuple[str, str], Sequence[float]]
    fringes: Sequence[tuple[float, float]]
    """By the matter, and by the plain key."""
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
            if key != _PLAIN
        ]
        parts += [
            f"composite, {kind}, {np.mean(values):.1f} dB"
            for (what, kind), values in self.fidelity.items()
            if what == "composite"
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
        self._frames = [frame for frame in reader.read_frames() if frame.accepted]
        self.kept = [index for index, frame in enumerate(self._frames) if frame.blurry_index in self._rows]
        if not self.kept:
            raise InputError(
                reader.path, "none of its frames is in the shards", expected="the take they were built from"
            )
        shutter = reader.timing.rolling_shutter
        self._camera: Camera = "blurry" if shutter is not None and shutter.compensated else "sharp"
        first = reader.read(self.kept[0])
        self._compositor = _find_compositor(shards, first.blurry.shape[1::-1], response, keying.pictures_dir)
        self._matter = None
        if keying.is_known:
            cut = None if self._compositor is None else self._compositor.cut
            self._matter = fit_to_take(reader, make_matter(keying.matter, keying.weights), response, cut)
        self._matter_name = keying.matter
        self._threshold, self._screen = _learn_plain_key(first.sharp)
        self._split: Split = "test" if table["shard"].iloc[0].startswith("test") else "train"

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
        gallery = None
        if self._matter is not None:
            kept = sample
            if self._compositor is not None:
                kept = AlignedSample(self._compositor.cut(sample.blurry), self._compositor.cut(sample.sharp))
            sharp, blurry = self._matter.matte(kept.sharp, kept.blurry)
            mattes = [Matte(sharp.alpha[k], sharp.premultiplied_linear[k]) for k in ks]
            views = [
                *(_View(f"x{k}", "sharp", kept.sharp[k], matte) for k, matte in zip(ks, mattes, strict=True)),
                _View("y", "blurry", kept.blurry, blurry),
            ]
            in_shards = [*(stored.sharp[k] for k in ks), stored.blurry]
            fringes = [self._measure_fringe(view) for view in views]
            for view, held, true in zip(views, in_shards, self._render(frame, ks), strict=True):
                if true is not None:
                    self._compare(view, held, true, frame, blurry, errors, fidelity)
            if shown:
                gallery = _show(frame, views, in_shards)
        return _Measured(
            errors,
            fidelity,
            fringes,
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
            picture = self._renderer.sharp(frame.position + k, self._camera)
            found.append(None if matte is None else _True(matte, picture))
        blurry = self._renderer.blurry_matte(frame.blurry_time)
        return [*found, None if blurry is None else _True(blurry, self._renderer.blurry(frame.blurry_time))]

    def _compare(
        self,
        view: _View,
        stored: Frame,
        true: _True,
        frame: AlignedFrame,
        blurry: Matte,
        errors: dict[tuple[str, str], list[dict[str, float]]],
        fidelity: dict[tuple[str, str], list[float]],
    ) -> None:
        compositor = self._compositor
        alpha, picture = true.matte.alpha, true.picture
        if compositor is not None:
            picture = compositor.cut(picture)
            alpha = compositor.cut_alpha(alpha)
        plain = self._key_plainly(view.image)
        for name, estimate in ((self._matter_name, view.matte.alpha), (_PLAIN, plain)):
            errors.setdefault((name, view.kind), []).append(_measure(estimate, alpha))
        if compositor is None:
            return
        background = compositor.background(self._split, frame.take, frame.blurry_index, blurry)
        plain_matte = Matte(plain, plain[..., None] * to_linear(view.image, self._response))
        truth = compositor.lay(true.matte, background)
        region = _foreground_region(alpha, truth.shape[1::-1])
        for what, ours, wanted, where in (
            ("aligned", view.image, picture, _foreground_region(alpha, picture.shape[1::-1])),
            ("composite", stored, truth, region),
            (_PLAIN, compositor.lay(plain_matte, background), truth, region),
        ):
            if where.any():
                fidelity.setdefault((what, view.kind), []).append(psnr(ours[where], wanted[where]))

    def _measure_fringe(self, view: _View) -> tuple[float, float]:
        gray = np.full((*view.matte.alpha.shape, 3), _GRAY, dtype=np.float32)
        laid = encode(composite(view.matte.premultiplied_linear, view.matte.alpha, gray), self._response)
        plain = np.where(self._key_plainly(view.image)[..., None] > 0, view.image, encode(gray, self._response))
        alpha = view.matte.alpha
        return screen_hue_share(laid, alpha, self._screen), screen_hue_share(plain, alpha, self._screen)

    def _key_plainly(self, image: Frame) -> NDArray[np.float32]:
        return (_greenness(image) < self._threshold).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _View:
    """A frame that was keyed."""

    name: str
    kind: str
    image: Frame
    matte: Matte


@dataclass(frozen=True, eq=False)
class _True:
    """What a frame should be."""

    matte: Matte
    picture: Frame


def _find_compositor(
    shards: ShardReader, size: tuple[int, ...], response: CameraResponse, pictures_dir: Path | None
) -> Recompositor | None:
    """Return what draws the data set's backgrounds again; None where its pictures are not at hand."""
    path = manifest_path(shards.folder)
    try:
        return Recompositor(shards.manifest, path, (size[0], size[1]), response, pictures_dir)
    except InputError:
        if pictures_dir is not None:
            raise
        return None


def _greenness(image: Frame) -> NDArray[np.int16]:
    red, green, blue = np.moveaxis(image.astype(np.int16), -1, 0)
    return np.asarray(green - np.maximum(red, blue), dtype=np.int16)


def _learn_plain_key(frames: NDArray[np.uint8]) -> tuple[float, NDArray[np.float64]]:
    """Return half of the screen's median greenness, and its median colour; Otsu's threshold tells the screen."""
    greenness = _greenness(frames)
    split, _ = cv2.threshold(greenness.clip(0, 255).astype(np.uint8).reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    is_screen = greenness > split
    if not is_screen.any():
        return 0.0, np.array([0.0, 255.0, 0.0])
    return float(np.median(greenness[is_screen])) / 2, np.median(frames[is_screen], axis=0).astype(np.float64)


def _foreground_region(alpha: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.bool_]:
    if alpha.shape != size[::-1]:
        alpha = np.asarray(cv2.resize(alpha, (size[0], size[1]), interpolation=cv2.INTER_AREA), dtype=np.float32)
    reach = 2 * _REGION_MARGIN_PX + 1
    return cv2.dilate((alpha > _REGION_ALPHA).astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool)


def _blur_residual(sample: AlignedSample, response: CameraResponse) -> float:
    sharp_linear = np.stack([to_linear(frame, response) for frame in sample.sharp])
    return blur_residual_psnr(sharp_linear, to_linear(sample.blurry, response))


def _measure(alpha: NDArray[np.float32], true: NDArray[np.float32]) -> dict[str, float]:
    errors = alpha_errors(alpha, true)
    soft = (true > _SOFT[0]) & (true < _SOFT[1])
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


def _show(frame: AlignedFrame, views: Sequence[_View], in_shards: Sequence[Frame]) -> Gallery:
    """Return a row for each frame, the blurry one first: as aligned, alpha, foreground, composite."""
    pictures: list[Picture] = []
    for view, composed in sorted(zip(views, in_shards, strict=True), key=lambda pair: pair[0].kind):
        for label, image in (
            (f"{view.name} as aligned", view.image),
            (f"alpha of {view.name}", np.rint(view.matte.alpha.clip(0, 1) * 255).astype(np.uint8)),
            (f"foreground of {view.name}", _show_foreground(view.matte)),
            (f"{view.name} in the shards", composed),
        ):
            pictures.append(make_picture(label, _fit(image)))
    return Gallery(f"{frame.take}, blurry frame {frame.blurry_index}", tuple(pictures), columns=4)


def _show_foreground(matte: Matte) -> Frame:
    """Return the foreground's own colours wherever there is any of it, on grey."""
    share = matte.alpha[..., None]
    color = matte.premultiplied_linear / np.maximum(share, np.float32(0.05))
    cover = np.minimum(share / np.float32(0.1), 1)
    return encode(np.asarray(cover * color + (1 - cover) * _GRAY, dtype=np.float32), "srgb")


def _fit(image: Frame) -> Frame:
    scale = _SHOWN_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

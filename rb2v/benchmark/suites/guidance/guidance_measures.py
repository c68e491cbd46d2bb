"""Measurements of decomposers with true and with predicted guidance, and the figures of Table 4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rb2v.benchmark.suites.guidance.config import DECOMPOSERS, N_SAMPLES, GuidanceSuiteConfig
from rb2v.benchmark.suites.guidance.guidance_grid import GuidanceCell
from rb2v.benchmark.suites.suite import RUNS_NAME
from rb2v.blur2vid.backbones import Backbone
from rb2v.blur2vid.checkpoint import load_backbone
from rb2v.blur2vid.evaluate import (
    MEASURES,
    TrueGuidance,
    estimate_frames,
    figures_of_samples,
    make_scorers,
    measure_frames,
    read_sample,
)
from rb2v.blur2vid.predictor.checkpoint import load_predictor
from rb2v.blur2vid.predictor.sampling import sample_guidance
from rb2v.blur2vid.train import LABELS_NAME
from rb2v.core.motion_classes import STATIC, reverse
from rb2v.device import one_torch_thread, torch_device_of
from rb2v.interpolation.dense_flow import mean_flow
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.shards.labels import read_orders
from rb2v.training.state import write_table
from rb2v.training.tables import read_table

MEASURED_NAME = "measured"
MIN_TURNING_PX = 1.0
"""Motion over a sequence from which a pixel's direction is looked at: that of the threshold of static pixels."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Measuring:
    """Measure runs of the suite on the test split."""

    shards_dir: Path
    out_dir: Path
    config: GuidanceSuiteConfig
    guidance: Path
    lpips: bool
    device: str

    def __call__(self, cell: GuidanceCell) -> str:
        """Measure a run on the test split, or find it measured; return its name."""
        path = measured_path(self.out_dir, cell)
        if not path.exists():
            with one_torch_thread():
                write_table(path, self._measure(cell))
        return cell.name

    def _measure(self, cell: GuidanceCell) -> pd.DataFrame:
        folder = self.out_dir / RUNS_NAME / cell.name
        device = torch_device_of(self.device)
        network = load_backbone(folder).network.to(device)
        method = DECOMPOSERS[cell.method]
        reader = ShardReader(self.shards_dir, "test")
        scorers = make_scorers(next(network.parameters()).device, lpips=self.lpips)
        truth = predictor = None
        if method.is_guided:
            orders = read_orders(folder / LABELS_NAME, reader) if method.loss == "label" else None
            truth = TrueGuidance(GuidanceReader(self.guidance, reader), orders)
            named = GuidanceCell("predictor", str(method.predictor), cell.seed)
            predictor = load_predictor(self.out_dir / RUNS_NAME / named.name).network.to(device)
        rows: list[dict[str, Any]] = []
        keys = reader.table[["take", "blurry_index"]]
        for index in range(len(reader)):
            blurry, sharp = read_sample(reader, index, self.config.image_size)
            given: dict[str, NDArray[np.uint8] | None] = {"none": None}
            if truth is not None and predictor is not None:
                image = np.divide(blurry, 255, dtype=np.float32)
                maps = sample_guidance(predictor, image, max(N_SAMPLES), seed=cell.seed, index=index)
                given = {"true": truth.read(index, blurry.shape[:2])}
                given |= {f"sample_{k}": classes for k, classes in enumerate(maps)}
            for source, classes in given.items():
                frames = estimate_frames(network, blurry, None, classes)
                row: dict[str, Any] = {"source": source, "turning": np.nan}
                row |= {str(name): value for name, value in keys.iloc[index].items()}
                if source == "true" and classes is not None:
                    row["turning"] = turning_share(network, blurry, frames, classes)
                rows.append(row | measure_frames(frames, blurry, sharp, scorers))
        return pd.DataFrame(rows)


def turning_share(network: Backbone, blurry: Frames, frames: Frames, classes: NDArray[np.uint8]) -> float:
    """Return the share of moving pixels whose estimated motion turns when the guidance is turned by 180 degrees.

    A pixel counts where the guidance moves it, and both sequences do by at least one pixel.

    Parameters
    ----------
    network : Backbone
        The guided network.
    blurry : (H, W, 3) ndarray of uint8
        The blurry image.
    frames : (T, H, W, 3) ndarray of uint8
        Its estimate with the guidance.
    classes : (H, W) ndarray of uint8
        The guidance.

    Returns
    -------
    float
        NaN where no pixel counts.
    """
    turned = estimate_frames(network, blurry, None, reverse(classes))
    flows = [mean_flow(one) * np.float32(len(one) - 1) for one in (frames, turned)]
    lengths = [np.hypot(flow[..., 0], flow[..., 1]) for flow in flows]
    counts = (classes != STATIC) & (lengths[0] >= MIN_TURNING_PX) & (lengths[1] >= MIN_TURNING_PX)
    if not counts.any():
        return float("nan")
    return float(np.mean((flows[0] * flows[1]).sum(axis=-1)[counts] < 0))


def measured_path(out_dir: Path, cell: GuidanceCell) -> Path:
    """Return where the measurements of a run lie."""
    return out_dir / MEASURED_NAME / f"{cell.name}.csv"


def read_measured(out_dir: Path, cell: GuidanceCell) -> pd.DataFrame:
    """Read the measurements of a run.

    Raises
    ------
    InputError
        If they are missing or damaged.
    """
    columns = ("source", "take", "blurry_index", "psnr_forward_0", "psnr_backward_0", "reblur_psnr", "amplitude")
    expected = "a table that 'rb2v benchmark guidance' measured"
    return read_table(measured_path(out_dir, cell), columns, texts=("source", "take"), expected=expected)


def figures_of(rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return the figures of every sample of one source of guidance; see `rb2v.blur2vid.evaluate.figures_of_samples`.

    Returns
    -------
    dict of str to (n,) ndarray of float64
        With ``psnr_forward`` and so on besides: in the direction that the frames come in.
    """
    figures = figures_of_samples(rows)
    for measure in MEASURES:
        columns = [name for name in rows if str(name).startswith(f"{measure}_forward_")]
        if columns:
            figures[f"{measure}_forward"] = rows[columns].to_numpy(np.float64).mean(axis=1)
    return figures


def best_of_samples(table: pd.DataFrame, n: int) -> dict[str, NDArray[np.float64]]:
    """Return the figures of the best of the first ``n`` samples of every image: Table 4.

    Parameters
    ----------
    table : DataFrame
        What `Measuring` wrote of a guided run.
    n : int
        Samples of each image.

    Returns
    -------
    dict of str to (images,) ndarray of float64
        The figures of `figures_of` of the sample with the highest ``ppsnr_seq``, one output for all of them; and beside
        them, as the authors' script keeps them, each measure's own best over the samples: ``separate_psnr`` forward
        alone, ``separate_ppsnr`` forward or reversed, SSIM and LPIPS alike.
    """
    tables = [figures_of(table[table["source"] == f"sample_{k}"]) for k in range(n)]
    stacked = {name: np.stack([one[name] for one in tables]) for name in tables[0]}
    best = stacked["ppsnr_seq"].argmax(axis=0)
    figures = {name: np.take_along_axis(values, best[None], axis=0)[0] for name, values in stacked.items()}
    for measure, sign in MEASURES.items():
        for ours, theirs in (
            (f"{measure}_forward", f"separate_{measure}"),
            (f"p{measure}_seq", f"separate_p{measure}"),
        ):
            if ours in stacked:
                figures[theirs] = sign * (sign * stacked[ours]).max(axis=0)
    return figures


def figures_of_still(samples: pd.DataFrame) -> Mapping[str, NDArray[np.float64]]:
    """Return the figures of the blurry image, seven times, from the samples of any run of ``rb2v train-blur2vid``."""
    return figures_of(samples[samples["estimator"] == "blurry"])

"""Strips of held-out sequences: image, guidance, frames and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.benchmark.report.page import Gallery, Picture, error_map, make_picture
from rb2v.benchmark.suites.deblur.strips import frame_strip
from rb2v.benchmark.suites.guidance.config import DECOMPOSERS, GuidanceSuiteConfig
from rb2v.benchmark.suites.guidance.guidance_grid import GuidanceCell
from rb2v.benchmark.suites.suite import RUNS_NAME
from rb2v.blur2vid.checkpoint import load_backbone
from rb2v.blur2vid.evaluate import TrueGuidance, estimate_frames, read_sample
from rb2v.blur2vid.predictor.checkpoint import load_predictor
from rb2v.blur2vid.predictor.sampling import sample_guidance
from rb2v.core.metrics import psnr
from rb2v.core.motion_classes import paint
from rb2v.device import one_torch_thread
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceReader

Frames = NDArray[np.uint8]

_N_SHOWN = 3  # predicted guidance maps of a sequence


def show_sequences(
    out_dir: Path, config: GuidanceSuiteConfig, reader: ShardReader, guidance: Path, indices: Sequence[int]
) -> list[Gallery]:
    """Return a gallery for each sequence: what the first seed makes of true, turned and predicted guidance."""
    runs = out_dir / RUNS_NAME
    guided = load_backbone(runs / GuidanceCell("decomposer", "guided", 0).name).network
    label = load_backbone(runs / GuidanceCell("decomposer", "label", 0).name).network
    predictor = load_predictor(runs / GuidanceCell("predictor", str(DECOMPOSERS["guided"].predictor), 0).name).network
    truth = TrueGuidance(GuidanceReader(guidance, reader))
    galleries = []
    with one_torch_thread():
        for index in indices:
            blurry, sharp = read_sample(reader, index, config.image_size)
            classes = truth.read(index, blurry.shape[:2])
            maps = sample_guidance(predictor, np.divide(blurry, 255, dtype=np.float32), _N_SHOWN, seed=0, index=index)
            white = np.full_like(blurry, 255)
            strips = [
                make_picture("blurry image, true guidance, true frames", frame_strip([blurry, paint(classes), *sharp]))
            ]
            strips.append(_show("label, no guidance", white, estimate_frames(label, blurry), sharp))
            strips.append(_show("true guidance", paint(classes), estimate_frames(guided, blurry, None, classes), sharp))
            for k, drawn in enumerate(maps, start=1):
                frames = estimate_frames(guided, blurry, None, drawn)
                strips.append(_show(f"predicted guidance {k}", paint(drawn), frames, sharp))
            take, frame = reader.table.iloc[index][["take", "blurry_index"]]
            galleries.append(Gallery(f"{take}, blurry frame {frame}.", tuple(strips), columns=1))
    return galleries


def _show(label: str, guidance: Frames, frames: Frames, sharp: Frames) -> Picture:
    white = np.full_like(guidance, 255)
    forward, backward = (
        float(np.mean([psnr(one, other) for one, other in zip(frames, true, strict=True)]))
        for true in (sharp, sharp[::-1])
    )
    true = sharp if forward >= backward else sharp[::-1]
    errors = [error_map(one, other) for one, other in zip(frames, true, strict=True)]
    strip = np.vstack([frame_strip([white, guidance, *frames]), frame_strip([white, white, *errors])])
    return make_picture(f"{label}: {max(forward, backward):.2f} dB, {forward:.2f} dB as given", strip)

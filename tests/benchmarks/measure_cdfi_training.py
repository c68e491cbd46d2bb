"""How fast CDFI trains by the processor's clock, and where its kernels look after a time of pans alone.

Run it with ``python tests/benchmarks/measure_cdfi_training.py --pans 130 --out run``; with the Python path of another
checkout it measures that one. ``--set precision=bfloat16 --set few_taps_share=0.75`` are fields of the configuration.
Processor seconds of a step of 32 pans and of one of four triplets of 64x64, medians, data included. Then a training of
pans: its processor seconds, and how far from the truth kernels of all taps look on 64 pans of held-out photographs,
with motion of up to 6 px from the middle; whoever looks at the place itself misses the mean motion, which stands beside
it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from rb2v.interpolation.learned.cdfi import train
from rb2v.interpolation.learned.cdfi.config import TrainInterpolatorConfig
from rb2v.interpolation.learned.cdfi.pans import PanBatches
from rb2v.interpolation.learned.cdfi.triplets import generated_triplets
from rb2v.interpolation.learned.cdfi.weights import load_cdfi


def train_for(out, chosen, **fixed):
    """Return the folder's checkpoint and the processor seconds at the end of every step."""
    marks = []

    def note(done, total, label):
        if label == "training":
            marks.append(time.process_time())

    usual = {"batch_size": 4, "crop_size": 64, "lr": 1e-3, "warmup_steps": 20, "ema_decay": 0.95, "n_held_out": 1}
    config = TrainInterpolatorConfig(**{**usual, "log_every": 10, "checkpoint_every": 10**6, **chosen, **fixed})
    return train.run(out, config, device="cpu", progress=note), np.array(marks)


def missed_px(checkpoint):
    held_out, _ = generated_triplets(64, 0, held_out=True)
    views, motion = PanBatches(held_out.photos, range(64), range(100), 100, 0)[99]
    first, last = (views.float() / 255).unbind(1)
    truth = torch.cat([motion, -motion], dim=1)[:, :, None, None]
    estimate = load_cdfi(checkpoint)(first, last, motion_only=True).motion
    return float((estimate - truth).abs().mean()), float(truth.abs().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("cdfi_training"))
    parser.add_argument("--pans", type=int, default=130, help="steps of the training of pans")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = dict(each.split("=") for each in options.set)
    for name, share in (("pans", 1), ("triplets", 0)):
        n_steps = 8
        _, marks = train_for(options.out / f"short_{name}", chosen, steps=n_steps, motion_share=share)
        halves = np.diff(marks)[: n_steps // 2 - 1], np.diff(marks)[n_steps // 2 :]
        print(f"{name}: {' and '.join(f'{np.median(half):.3f}' for half in halves)} s a step, first and last half")
    began = time.process_time()
    checkpoint, marks = train_for(options.out / "pans", chosen, steps=options.pans, motion_share=1)
    missed, still = missed_px(checkpoint)
    print(f"{options.pans} steps of pans: {marks[-1] - began:.0f} s, missed by {missed:.2f} px of {still:.2f} px")


if __name__ == "__main__":
    main()

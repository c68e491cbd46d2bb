"""Processor time of a training step, by its parts, for the order network, the U-Net and CDFI at the sizes used.

Run it with the Python of either checkout that is to be compared, in turn: ``python tests/benchmarks/bench_steps.py``.
``--losses`` compares the losses of one U-Net in turn, step by step, so that what else runs slows all of them alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.losses import best_direction, order_invariant
from rb2v.hypercut.augmentation import draw_batch
from rb2v.hypercut.losses import agreement
from rb2v.hypercut.networks import ORDER_NETWORKS, make_order_network
from rb2v.interpolation.learned.cdfi.network import Cdfi
from rb2v.interpolation.learned.cdfi.triplets import TripletBatches, generated_triplets
from rb2v.training.average import MovingAverage

Parts = tuple[nn.Module, Callable[[int], tuple[Tensor, ...]], Callable[..., Tensor]]


def order_network(arch: str) -> Parts:
    """Return network, data and loss of the demo's order network: 16 sequences at 64 px."""
    shown = np.random.default_rng(0).integers(0, 256, (60, 7, 3, 64, 64), dtype=np.uint8)
    sequences = torch.from_numpy(shown)
    network = make_order_network(arch, 128, 0)
    return network, lambda step: draw_batch(sequences, 16, 0, step), lambda *pairs: agreement(*network(*pairs))


def unet() -> Parts:
    """Return network, data and loss of the U-Net in the small suite: 16 crops of 32 px, which are there already."""
    frames = torch.rand(16, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = make_backbone("unet", 7, 0)
    batch = frames[:, 0], frames[:, 1:]
    return network, lambda step: batch, lambda blurry, sharp: best_direction(network(blurry), sharp).mean()


def cdfi() -> Parts:
    """Return network, data and loss of CDFI: 8 generated triplets of 128 px."""
    triplets, _ = generated_triplets(128, 0)
    batches = TripletBatches(triplets, range(8), 8, range(10**6), 0)
    network = Cdfi().start_narrow()

    def draw(step: int) -> tuple[Tensor, ...]:
        return (batches[step].float() / 255).unbind(1)

    return network, draw, lambda first, middle, last: (network(first, last).frame - middle).abs().mean()


def measure(name: str, parts: Parts, n_steps: int) -> None:
    """Print the medians of a step's parts in milliseconds of processor time."""
    network, draw, loss_of = parts
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=name == "U-Net" or None)
    average = MovingAverage(network, 0.99)
    rows = []
    for step in range(n_steps + 1):
        marks = [time.process_time()]
        batch = draw(step)
        marks.append(time.process_time())
        loss = loss_of(*batch)
        marks.append(time.process_time())
        optimizer.zero_grad()
        loss.backward()
        marks.append(time.process_time())
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        marks.append(time.process_time())
        average.update(network, step)
        marks.append(time.process_time())
        rows.append(np.diff(marks))
    cells = 1000 * np.median(rows[1:], axis=0)  # the first one finds its kernels
    print(f"{name:<22}", *(f"{cell:>9.1f}" for cell in (*cells, cells.sum())))


def measure_losses(n_rounds: int) -> None:
    """Print a step's median processor time by loss, and how it compares with eq. (3) in the same round."""
    from rb2v.training.windows import VALUES, WHOLE, Windows  # which earlier checkouts that are compared do not have

    network, draw, _ = unet()
    blurry, sharp = draw(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    average = MovingAverage(network, 0.99)
    sides = {"eq. (3)": VALUES, **{f"windows of {side} px": Windows(side) for side in (4, 8, 16, 32)}}
    sides |= {"windows of 16 px, per pair": Windows(16, shared=False), "best direction": WHOLE}
    rows = []
    for step in range(n_rounds + 1):
        row = []
        # Another one first in every round: what comes first finds the caches as other work left them.
        for place in np.roll(np.arange(len(sides)), step):
            windows = list(sides.values())[place].shifted(0, step)
            start = time.process_time()
            loss = order_invariant(network(blurry), sharp, windows).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            average.update(network, step)
            row.append((place, time.process_time() - start))
        rows.append([seconds for _, seconds in sorted(row)])
    times = np.array(rows[1:])
    print(f"{'U-Net, a step':<28}{'ms':>8}{'of eq. (3)':>12}{'25 %':>8}{'75 %':>8}")
    for name, column in zip(sides, times.T, strict=True):
        low, middle, high = np.percentile(column / times[:, 0], (25, 50, 75))
        print(f"{name:<28}{1000 * np.median(column):>8.1f}{middle:>12.3f}{low:>8.3f}{high:>8.3f}")


def main() -> None:
    """Measure all of them on one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", help="start of the names to measure")
    parser.add_argument("--losses", action="store_true", help="compare the losses of the U-Net, in as many rounds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.losses:
        measure_losses(options.steps)
        return
    makers = {f"order, {arch}": lambda arch=arch: order_network(arch) for arch in ORDER_NETWORKS}
    makers |= {"U-Net": unet, "CDFI": cdfi}
    print(f"{'ms':<22}", *(f"{title:>9}" for title in ("data", "forward", "backward", "optimizer", "average", "all")))
    for name, make in makers.items():
        if name.startswith(options.only or ""):
            measure(name, make(), options.steps if name != "CDFI" else max(2, options.steps // 4))


if __name__ == "__main__":
    main()

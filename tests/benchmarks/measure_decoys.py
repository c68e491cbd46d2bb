"""What order networks make of sequences that they should not take for motion: ``measure_decoys.py SHARDS RUN...``.

Every test sequence is turned to the side that the network prefers. Then its differences are shrunk, their signs are
swapped in a part, or they are laid below a checkerboard of their size. Scores are in the root mean square of those of
the true sequences.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.networks import OrderNetwork
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.hypercut.sequences import load_sequences
from rb2v.shards import ShardReader
from rb2v.training.data import to_float

N_SEQUENCES = 200  # a minute on one thread
BATCH = 40  # sequences


def score(network: OrderNetwork, first: Tensor, second: Tensor) -> Tensor:
    with torch.inference_mode():
        parts = zip(first.split(BATCH), second.split(BATCH), strict=True)
        return torch.cat([network.score(*part) for part in parts])


def swapped(difference: Tensor, side: int) -> Tensor:
    """Swap the signs in 30 % of squares of a side, for all pairs alike."""
    n, _, _, height, width = difference.shape
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(n, 1, 1, -(-height // side), -(-width // side), generator=generator) < 0.7
    return (
        difference
        * torch.where(kept, 1.0, -1.0).repeat_interleave(side, -1).repeat_interleave(side, -2)[..., :height, :width]
    )


def main(shards: Path, runs: list[Path]) -> None:
    for run in runs:
        network, config = load_order_network(run)
        sequences = load_sequences(ShardReader(shards, "test"), config.image_size)
        frames = to_float(sequences[:: max(1, len(sequences) // N_SEQUENCES)])
        first, second = sequence_pairs(frames)
        scores = score(network, first, second)
        rms = scores.square().mean().sqrt()
        backward = (scores.sum(dim=1) > 0)[:, None, None, None, None]
        mean, true = (first + second) / 2, torch.where(backward, first - second, second - first)
        rows, columns = (torch.arange(side) for side in true.shape[-2:])
        board = true.abs() * torch.where((rows[:, None] + columns) % 2 == 0, 1.0, -1.0)
        decoys = {
            "true": true,
            **{f"true difference x {share}": share * true for share in (0.1, 0.25, 0.5)},
            "checkerboard of its size": board,
            **{f"checkerboard + {share} of it": board + share * true for share in (0.1, 0.2)},
            **{f"70 % of squares of {side} px": swapped(true, side) for side in (1, 4, 8, 16)},
        }
        print(f"\n{run}: {config.arch}, root mean square {float(rms):.2f}\n")
        print("| frames | score | of the true | pairs on the side |\n| --- | --- | --- | --- |")
        whole = None
        for name, difference in decoys.items():
            found = score(network, mean - difference / 2, mean + difference / 2) / rms
            whole = whole or float(found.mean())
            side = float((found < 0).float().mean())
            print(f"| {name} | {float(found.mean()):.2f} | {float(found.mean()) / whole:.2f} | {side:.2f} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]])

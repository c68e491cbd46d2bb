"""How fast the order networks train: one batched pass of all pairs in both orders against a pass for each.

The authors' code takes the pairs of a sequence one after the other, each in either order: six passes a step. Both ways
are run by the same network on the same batch, forward and backward, in turns; each figure is the median of several
repeats, with their range. The loss is left out but for a sum, so that it is the passes that are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch

from rb2v.hypercut.networks import ORDER_NETWORKS, make_order_network
from rb2v.hypercut.pair_order import sequence_pairs

BATCH_SIZES = {64: 8, 256: 4}
"""Sequences per step, by the frames' side in pixels."""
N_FRAMES = 7
N_DIMENSIONS = 128
MAX_REPEATS = 15
N_REPEATS_LEAST = 2
SECONDS_EACH = 4.0
"""Time for the repeats of one network at one size, beyond the least number."""


def batched(network, first, second):
    network(first, second).sum().backward()


def separate(score, first, second):
    total = 0
    for k in range(first.shape[1]):
        total = total + score(first[:, k], second[:, k]).sum() + score(second[:, k], first[:, k]).sum()
    total.backward()


def time_in_turns(ways: dict[str, Callable[[], None]], device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of every repeat, by way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    started = time.perf_counter()
    for repeat in range(MAX_REPEATS):
        if repeat >= N_REPEATS_LEAST and time.perf_counter() - started > SECONDS_EACH:
            break
        for name, way in ways.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            before = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - before)
    # The first repeat allocates, and compiles; it counts only where each takes so long that this hardly matters.
    return {name: values[1:] if len(values) > N_REPEATS_LEAST else values for name, values in seconds.items()}


def in_words(seconds: list[float]) -> str:
    milliseconds = [1e3 * value for value in seconds]
    return f"{statistics.median(milliseconds):8.1f} ({min(milliseconds):.1f} to {max(milliseconds):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--arch", choices=list(ORDER_NETWORKS), nargs="*", default=list(ORDER_NETWORKS))
    options = parser.parse_args()
    device = torch.device(options.device)
    place = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"on {place}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("3 pairs in both orders, forward and backward; ms, median (range)")
    print(
        f"{'network':14} {'size':>4} {'batch':>5} {'mode':14} {'one pass':>26} {'six passes':>26} {'ratio':>6} "
        f"{'sequences/s':>11}"
    )
    for size, batch_size in BATCH_SIZES.items():
        generator = torch.Generator().manual_seed(0)
        sequences = torch.rand((batch_size, N_FRAMES, 3, size, size), generator=generator).to(device)
        for arch in options.arch:
            # fp32, then what a GPU has beside it.
            modes = ["fp32"] + (["bf16", "bf16 last", "bf16 compile"] if device.type == "cuda" else [])
            for mode in modes:
                first, second = (frames.contiguous() for frames in sequence_pairs(sequences))
                network = make_order_network(arch, N_DIMENSIONS, 0).to(device)
                if mode == "bf16 last":
                    network = network.to(memory_format=torch.channels_last)
                scores, score = network, network.score
                if mode == "bf16 compile":
                    scores, score = torch.compile(network), torch.compile(network.score)
                scope = nullcontext() if mode == "fp32" else torch.autocast("cuda", torch.bfloat16)

                def step(way, called, scope=scope, network=network, first=first, second=second):
                    network.zero_grad()
                    with scope:
                        way(called, first, second)

                ways = {"one": partial(step, batched, scores), "six": partial(step, separate, score)}
                seconds = time_in_turns(ways, device)
                one, six = statistics.median(seconds["one"]), statistics.median(seconds["six"])
                print(
                    f"{arch:14} {size:4} {batch_size:5} {mode:14} {in_words(seconds['one']):>26} "
                    f"{in_words(seconds['six']):>26} {six / one:6.2f} {batch_size / one:11.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

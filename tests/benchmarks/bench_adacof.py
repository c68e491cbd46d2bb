"""What the adaptive collaboration of flows costs: the fast operator against its definition, and the network around it.

Run it with ``python tests/benchmarks/bench_adacof.py``. Kernels of 11 by 11 taps collaborate a frame of 448x448 and the
60 feature maps of CDFI, 63 channels, in one pass; their offsets are normally distributed by 2 pixels. Times are those
of one processor, so that other programs on the machine do not count; with CUDA, those of the clock, beside what share
of the memory's bandwidth it is to read and write every tensor once (``--bandwidth``, in GB/s).
"""

import argparse
import time
from functools import partial

import torch

from rb2v.interpolation.learned.cdfi.collaboration import collaborate, collaborate_by_taps
from rb2v.interpolation.learned.cdfi.network import Cdfi

TARGET = 8.0
CHANNELS, TAPS, MARGIN = 63, 121, 20


def draw(height, width, device):
    torch.manual_seed(0)
    image = torch.rand(1, CHANNELS, height + MARGIN, width + MARGIN)
    weight = torch.rand(1, TAPS, height, width).softmax(dim=1)
    alpha, beta = (2 * torch.randn(weight.shape) for _ in range(2))
    return [each.to(device) for each in (image, weight, alpha, beta)]


def time_of(function, rounds, device):
    """Return the least seconds of some rounds, and the result."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    seconds = []
    for _ in range(rounds + (device == "cuda")):
        start = clock()
        result = function()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return min(seconds), result


def compare(height, width, device, bandwidth):
    tensors = draw(height, width, device)
    with torch.inference_mode():
        for rounding in ("floor", "truncate"):
            fast_seconds, fast = time_of(partial(collaborate, *tensors, rounding=rounding), 3, device)
            slow_seconds, slow = time_of(partial(collaborate_by_taps, *tensors, rounding=rounding), 1, device)
            ratio, apart = slow_seconds / fast_seconds, float((fast - slow).abs().max())
            print(f"{rounding:9s} {fast_seconds:7.3f} s, definition {slow_seconds:7.3f} s: {ratio:5.1f} times as fast")
            print(f"          (target {TARGET:.0f}), values {apart:.1e} apart (target 1e-5)")
            if device == "cuda":
                n_bytes = 4 * (sum(each.numel() for each in tensors) + fast.numel())
                print(f"          {n_bytes / fast_seconds / bandwidth / 1e7:.0f} % of the bandwidth")


def time_network(height, width, device):
    network = Cdfi().eval().to(device)
    frames = torch.rand(2, 1, 3, height, width, device=device)
    for kind in ("float32", "float16")[: 2 if device == "cuda" else 1]:
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=kind == "float16"):
            seconds, _ = time_of(lambda: network(*frames).frame, 2 if device == "cuda" else 1, device)
        memory = f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if device == "cuda" else ""
        print(f"network {width}x{height} {kind}: {seconds:.3f} s a frame{memory}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bandwidth", type=float, default=3350.0, help="of the GPU's memory, GB/s")
    parser.add_argument("--large", action="store_true", help="the network at 1280x720 too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    compare(448, 448, device, options.bandwidth)
    for height, width in ((448, 448), (720, 1280))[: 2 if options.large else 1]:
        time_network(height, width, device)


if __name__ == "__main__":
    main()

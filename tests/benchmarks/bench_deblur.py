"""How fast the backbones train and deblur, and what memory they take, on the CPU and on a GPU where there is one.

Run it with ``python tests/benchmarks/bench_deblur.py``; ``--backbones unet --crop 32 --batch 2 --size 96x64 --steps 1``
is a matter of seconds. Each figure comes from a process of its own, so that the peak of memory is its own: on the CPU
how far the process grew beyond what it had with the network loaded, on a GPU what PyTorch had allocated at most.
Training steps are forward, loss, backward and optimizer on random crops in memory, so that reading does not count;
images are noise, computed in tiles as ``rb2v deblur`` does. The best of the steps counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.config import OVERLAP_PX, TILE_PX
from rb2v.blur2vid.deblur import prepare_image, recover_frames
from rb2v.blur2vid.losses import LOSSES
from rb2v.blur2vid.tiles import lay_tiles

N_FRAMES = 7
BACKBONES = ("unet", "jin", "purohit")


def peak_bytes(device):
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    kilo = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo


def finish(device):
    if device == "cuda":
        torch.cuda.synchronize()


def best_seconds(step, device, n_steps):
    # The first of them loads kernels and fills caches, and is not timed where there is another.
    times = []
    for _ in range(n_steps + (n_steps > 1)):
        start = time.perf_counter()
        step()
        finish(device)
        times.append(time.perf_counter() - start)
    return min(times[1:] or times)


def measure_training(backbone, device, options):
    network = make_backbone(backbone, N_FRAMES, 0).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters())
    generator = torch.Generator().manual_seed(0)
    sharp = torch.rand(options.batch, N_FRAMES, 3, options.crop, options.crop, generator=generator).to(device)
    blurry = sharp.mean(dim=1)
    before = 0 if device == "cuda" else peak_bytes(device)

    def step():
        loss = LOSSES["best_direction"](network(blurry), sharp).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seconds = best_seconds(step, device, options.steps)
    return {"samples_per_second": options.batch / seconds, "peak_gb": (peak_bytes(device) - before) / 1e9}


def measure_deblurring(backbone, device, options):
    network = make_backbone(backbone, N_FRAMES, 0).to(device).eval()
    width, height = map(int, options.size.split("x"))
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = 0 if device == "cuda" else peak_bytes(device)

    def step():
        recover_frames(network, prepare_image(picture), tile=options.tile, overlap=options.overlap)

    seconds = best_seconds(step, device, options.pictures)
    return {"seconds": seconds, "peak_gb": (peak_bytes(device) - before) / 1e9}


MEASURES = {"training": measure_training, "deblurring": measure_deblurring}


def in_own_process(what, backbone, device):
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--measure", f"{what},{backbone},{device}"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        return {"fault": (made.stderr.strip().splitlines() or [f"exit status {made.returncode}"])[-1][:60]}
    return json.loads(made.stdout)


def describe(device):
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", default=",".join(BACKBONES), help="names, with commas between")
    parser.add_argument("--devices", default="cpu,cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="1280x720", help="of the images, WIDTHxHEIGHT")
    parser.add_argument("--tile", type=int, default=TILE_PX)
    parser.add_argument("--overlap", type=int, default=OVERLAP_PX)
    parser.add_argument("--pictures", type=int, default=1)
    parser.add_argument("--crop", type=int, default=64, help="side of the parts that are trained on")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, backbone, device = options.measure.split(",")
        print(json.dumps(MEASURES[what](backbone, device, options)))
        return
    width, height = map(int, options.size.split("x"))
    n_tiles = len(lay_tiles(height, width, options.tile, options.overlap).boxes)
    print(f"torch {torch.__version__}, float32; training on {options.batch} crops of {options.crop} px a step")
    print(f"deblurring {options.size} px in {n_tiles} tiles of at most {options.tile} px, {options.overlap} px shared")
    for device in options.devices.split(","):
        print(f"\n{device}: {describe(device)}")
        print(f"{'backbone':<10}{'samples/s':>11}{'train GB':>10}{'s/picture':>11}{'deblur GB':>11}")
        for backbone in options.backbones.split(","):
            training, deblurring = (in_own_process(what, backbone, device) for what in MEASURES)
            columns = [
                (training, "samples_per_second", 11, 2),
                (training, "peak_gb", 10, 2),
                (deblurring, "seconds", 11, 2),
                (deblurring, "peak_gb", 11, 2),
            ]
            cells = [f"{made[key]:>{w}.{n}f}" if key in made else f"{'-':>{w}}" for made, key, w, n in columns]
            faults = {made["fault"] for made in (training, deblurring) if "fault" in made}
            print(f"{backbone:<10}{''.join(cells)}{''.join(f'  {fault}' for fault in sorted(faults))}", flush=True)


if __name__ == "__main__":
    main()

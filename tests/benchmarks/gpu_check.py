"""Check and measure everything that computes on a GPU: ``make gpu-check``, at most eight minutes.

Run it with ``python tests/benchmarks/gpu_check.py --out gpu_check`` on a machine with PyTorch and a GPU. It writes
``gpu_check.json`` and ``gpu_check.md``, a table with the device's name. ``--dry-run`` runs every step on the CPU, with
small images. Networks have random weights, so that nothing has to be fetched; speed and agreement are the same.

Steps are in the order of what they are worth; one that would begin after ``--budget`` seconds is listed as not run. The
exit status is 1 where a step failed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

from rb2v import __version__
from rb2v.blur2vid.backbones import BACKBONES, make_backbone
from rb2v.device import make_matrix_product
from rb2v.hypercut.networks import ORDER_NETWORKS, make_order_network
from rb2v.interpolation.flow import FlowInterpolator
from rb2v.interpolation.learned.cdfi.collaboration import collaborate, has_triton
from rb2v.interpolation.learned.cdfi.interpolator import CdfiInterpolator
from rb2v.interpolation.learned.cdfi.network import Cdfi, smoothness
from rb2v.interpolation.learned.combined import CombinedInterpolator
from rb2v.interpolation.learned.raft import Raft
from rb2v.interpolation.learned.rife import VERSIONS, RifeInterpolator
from rb2v.lpips import Lpips
from rb2v.matting.background.network import MattingNetwork, Refinement

ROOT = Path(__file__).resolve().parents[2]
N_FRAMES = 7
FP32_TOLERANCE = 1e-4  # of the largest value of the CPU's output, or of 1
PRODUCT_TOLERANCE = 1e-9  # of float64
BUDGET_SECONDS = 420  # a minute less than a run may take
TIMES = (1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6)


class Check:
    """Steps, their time and what came out."""

    def __init__(self, device, is_dry, budget):
        self.device, self.is_dry, self.budget = device, is_dry, budget
        self.start = time.perf_counter()
        self.steps, self.rows = [], []

    def run(self, name, step):
        began = time.perf_counter()
        if began - self.start > self.budget:
            self.steps.append({"step": name, "result": "not run: no time left"})
        else:
            try:
                step(self)
                result = "passed"
            except Exception as error:  # the other steps are still worth their time
                traceback.print_exc()
                result = f"failed: {type(error).__name__}: {error}"[:400]
            self.steps.append({"step": name, "result": result, "seconds": round(time.perf_counter() - began, 2)})
        print(f"{self.steps[-1]}", flush=True)

    def add(self, table, **row):
        self.rows.append({"table": table, **row})
        print("  " + "  ".join(f"{key} {_show(value)}" for key, value in row.items()), flush=True)

    def seconds(self, function, repeats=5):
        """Median seconds of a call that warmed up."""
        repeats = 1 if self.is_dry else repeats
        if not self.is_dry:
            function()
        measured = []
        for _ in range(repeats):
            self.wait()
            began = time.perf_counter()
            function()
            self.wait()
            measured.append(time.perf_counter() - began)
        return sorted(measured)[len(measured) // 2]

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def peak_gib(self, function):
        """Peak memory of a call on the GPU; not a number on the CPU."""
        if self.device != "cuda":
            function()
            return math.nan
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        function()
        self.wait()
        return torch.cuda.max_memory_allocated() / 2**30


def _show(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def run_tests(check):
    """All tests that need CUDA; on the CPU they are collected and skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/test_device.py", "tests/interpolation"]
    environment = os.environ | ({} if check.is_dry else {"RB2V_REQUIRE_GPU": "1"})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    check.add("tests", command="pytest -m gpu", outcome=last)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-500:])


def networks(size):
    """Every network: its name, its module and the images that it is given."""
    random = torch.Generator().manual_seed(0)

    def images(n, side=size):
        return [torch.rand(1, 3, side, side, generator=random) for _ in range(n)]

    for name in ORDER_NETWORKS:
        network = make_order_network(name, 32, 0)
        yield f"order {name}", network, network.score, images(2)
    for name in BACKBONES:
        network = make_backbone(name, N_FRAMES, 0)
        yield f"deblur {name}", network, network, images(2 if network.takes_center else 1)
    for name, kind in VERSIONS.items():
        network = kind()
        yield f"rife {name}", network, lambda a, b, it=network: it.between(a, b, [0.3])[0], images(2)
    cdfi = Cdfi().start_narrow()
    yield "cdfi", cdfi, lambda a, b: cdfi(a, b).frame, images(2)
    raft = Raft()
    yield "raft", raft, lambda a, b: raft(a, b, 2), images(2, max(size, 128))
    for name in ("alex", "vgg"):
        lpips = Lpips(name)
        yield f"lpips {name}", lpips, lpips, images(2)
    matting = MattingNetwork("mobilenetv2")
    yield "matting", matting, lambda a, b: matting(a, b, 0.5, Refinement("full"))[0], images(2)


def compare_networks(check):
    """Every network on the device against the CPU: float32, half precision, channels_last and torch.compile."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    worst = []
    with torch.inference_mode():
        for name, network, call, given in networks(64 if check.is_dry else 256):
            network.eval()
            expected = call(*given).float()
            scale = max(1.0, float(expected.abs().max()))
            network.to(check.device)
            moved = [image.to(check.device) for image in given]

            def difference(call=call, moved=moved, expected=expected, scale=scale):
                return float((call(*moved).float().cpu() - expected).abs().max()) / scale

            row = {"network": name, "fp32": difference()}
            # A CPU without instructions for float16 takes a minute for one network.
            for dtype in (torch.bfloat16,) if check.is_dry else (torch.bfloat16, torch.float16):
                with torch.autocast(check.device, dtype):
                    row[str(dtype).removeprefix("torch.")] = difference()
            row["fp32 s"] = check.seconds(lambda call=call, moved=moved: call(*moved))
            network.to(memory_format=torch.channels_last)
            moved = [image.contiguous(memory_format=torch.channels_last) for image in moved]
            row["channels_last"] = difference(moved=moved)
            row["channels_last s"] = check.seconds(lambda call=call, moved=moved: call(*moved))
            check.add("networks", **row)
            if max(row["fp32"], row["channels_last"]) > FP32_TOLERANCE:
                worst.append(f"{name}: {row['fp32']:.1e}, channels_last {row['channels_last']:.1e}")
    if worst:
        raise ArithmeticError(f"differ from the CPU by more than {FP32_TOLERANCE}: {'; '.join(worst)}")


def compare_products(check):
    """The product of the search for positions, in float64."""
    side = 200 if check.is_dry else 2000
    random = np.random.default_rng(0)
    a, b = random.random((side, 10 * side)), random.random((10 * side, side // 2))
    product = make_matrix_product(check.device)
    difference = float(np.abs(product(a, b) - a @ b).max() / np.abs(a @ b).max())
    on_cpu, here = (check.seconds(lambda by=by: by(a, b), 3) for by in (np.matmul, product))
    check.add("search product", size=f"{a.shape}x{b.shape}", difference=difference, ratio=on_cpu / here)
    if difference > PRODUCT_TOLERANCE:
        raise ArithmeticError(f"differs from the CPU by {difference:.1e}")


def measure_bandwidth(check):
    n = 2**22 if check.is_dry else 2**29
    source = torch.empty(n, dtype=torch.float32, device=check.device).fill_(1)
    target = torch.empty_like(source)
    return 2 * source.nbytes / check.seconds(lambda: target.copy_(source)) / 1e9


def measure_collaboration(check):
    """The operator of CDFI, whose time on a GPU is that of moving its kernels through memory once."""
    bandwidth = measure_bandwidth(check)
    check.add("bandwidth", copy_gb_per_s=bandwidth)
    side = 32 if check.is_dry else 448
    image = torch.rand(1, 63, side + 20, side + 20, device=check.device)
    maps = [torch.rand(1, 121, side, side, device=check.device, requires_grad=True) for _ in range(3)]
    n_bytes = image.nbytes + 3 * maps[0].nbytes + 4 * 63 * side**2
    seconds = check.seconds(lambda: collaborate(image, *maps))

    def both():
        collaborate(image, *maps).sum().backward()

    least = n_bytes / bandwidth / 1e9
    check.add(
        "collaboration",
        size=f"{side}x{side}, 63 channels",
        triton=check.device == "cuda" and has_triton(),
        forward_s=seconds,
        both_s=check.seconds(both),
        share_of_bandwidth=least / seconds,
    )


def interpolators(device):
    for version, kind in VERSIONS.items():
        yield f"rife {version}", RifeInterpolator(kind().eval(), "srgb", device)
        yield f"rife {version} both ways", RifeInterpolator(kind().eval(), "srgb", device, symmetric=True)
    parts = {version: RifeInterpolator(VERSIONS[version]().eval(), "srgb", device) for version in ("3.1", "4.6")}
    yield "combined", CombinedInterpolator(parts)
    yield "cdfi", CdfiInterpolator(Cdfi().start_narrow().eval().requires_grad_(False), "srgb", device)
    yield "flow (CPU)", FlowInterpolator()


def measure_interpolators(check):
    """Frames a second and peak memory of every interpolator."""
    bandwidth = measure_bandwidth(check)
    for width, height in ((64, 64),) if check.is_dry else ((448, 448), (1280, 720)):
        random = np.random.default_rng(0)
        pair = [random.random((height, width, 3), dtype=np.float32) for _ in range(2)]
        for name, interpolator in interpolators(check.device):
            one = check.seconds(lambda it=interpolator, pair=pair: it.between(*pair, [0.5]), 3)
            five = check.seconds(lambda it=interpolator, pair=pair: it.between(*pair, TIMES), 3)
            peak = check.peak_gib(lambda it=interpolator, pair=pair: it.between(*pair, [0.5]))
            check.add(
                "interpolators",
                size=f"{width}x{height}",
                method=name,
                frames_per_s=1 / one,
                frames_per_s_of_five=len(TIMES) / five,
                peak_gib=peak,
                memory_passes_gb=bandwidth * one,
            )


def measure_training(check):
    """Training samples a second, in float32 and in mixed precision, with finite losses."""
    side, batch = (64, 1) if check.is_dry else (128, 16)
    trained = [(f"order {name}", make_order_network(name, 32, 0)) for name in ORDER_NETWORKS]
    trained += [(f"deblur {name}", make_backbone(name, N_FRAMES, 0)) for name in BACKBONES]
    trained.append(("cdfi", Cdfi().start_narrow()))
    for name, network in trained:
        network.to(check.device).train()
        optimizer = torch.optim.AdamW(network.parameters(), 1e-5)
        first, second = torch.rand(2, batch, 3, side, side, device=check.device)
        row = {"network": name, "batch": batch, "size": f"{side}x{side}"}
        for kind in ("fp32", "bf16"):

            def step(kind=kind, network=network, optimizer=optimizer, first=first, second=second, name=name):
                optimizer.zero_grad()
                with torch.autocast(check.device, torch.bfloat16, enabled=kind == "bf16"):
                    if name.startswith("order"):
                        loss = network(first, second).square().mean()
                    elif name == "cdfi":
                        estimate = network(first, second)
                        loss = (estimate.frame - first).abs().mean() + 0.01 * smoothness(estimate.offsets.float())
                    else:
                        given = (first, second) if network.takes_center else (first,)
                        loss = network(*given).float().square().mean()
                loss.backward()
                optimizer.step()
                if not torch.isfinite(loss):
                    raise ArithmeticError(f"{name}: the loss is {float(loss.detach())} in {kind}")

            row[f"{kind} samples/s"] = batch / check.seconds(step, 3)
        row["peak GiB"] = check.peak_gib(step)
        check.add("training", **row)
        network.to("cpu")


def measure_compiled(check):
    """``torch.compile`` of the networks that the pipeline runs most, against themselves."""
    side = 64 if check.is_dry else 448
    backend = "eager" if check.is_dry else "inductor"  # on the CPU inductor wants a compiler
    frames = torch.rand(2, 1, 3, side, side, device=check.device)
    for version in ("3.1", "4.6"):
        network = VERSIONS[version]().eval().to(check.device)
        compiled = torch.compile(network.make, backend=backend)
        with torch.inference_mode():
            plain = network.make(*frames, [0.5])[0].frame
            difference = float((compiled(*frames, [0.5])[0].frame - plain).abs().max())
            seconds = [check.seconds(lambda by=by: by(*frames, [0.5])) for by in (network.make, compiled)]
        check.add("torch.compile", network=f"rife {version}", difference=difference, ratio=seconds[0] / seconds[1])
        if difference > 10 * FP32_TOLERANCE:
            raise ArithmeticError(f"rife {version}: compiled differs by {difference:.1e}")


def write(check, folder):
    on_gpu = check.device == "cuda"
    machine = {
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
        "memory_gib": torch.cuda.get_device_properties(0).total_memory / 2**30 if on_gpu else None,
        "dry_run": check.is_dry,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": has_triton(),
        "rb2v": __version__,
        "seconds": round(time.perf_counter() - check.start, 1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    document = {"schema": 1, **machine, "steps": check.steps, "rows": check.rows}
    text = json.dumps(document, indent=1).replace("NaN", "null")
    (folder / "gpu_check.json").write_text(text + "\n")
    lines = [f"# {machine['device']}", "", ", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    lines += ["| step | result | s |", "| --- | --- | --- |"]
    lines += [f"| {each['step']} | {each['result']} | {each.get('seconds', '')} |" for each in check.steps]
    for table in dict.fromkeys(row["table"] for row in check.rows):
        rows = [
            {key: value for key, value in row.items() if key != "table"} for row in check.rows if row["table"] == table
        ]
        columns = list(rows[0])
        lines += ["", f"## {table}", "", f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
        lines += [f"| {' | '.join(_show(row.get(column, '')) for column in columns)} |" for row in rows]
    (folder / "gpu_check.md").write_text("\n".join(lines) + "\n")


STEPS = {
    "tests": run_tests,
    "networks against the CPU": compare_networks,
    "search product": compare_products,
    "collaboration of flows": measure_collaboration,
    "interpolators": measure_interpolators,
    "training": measure_training,
    "torch.compile": measure_compiled,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu_check"))
    parser.add_argument("--dry-run", action="store_true", help="every step on the CPU, with small images")
    parser.add_argument(
        "--budget", type=float, help="seconds after which no step begins; 420, without end for --dry-run"
    )
    parser.add_argument("--only", choices=list(STEPS), action="append", help="steps to run; all by default")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --dry-run runs every step on the CPU")
    budget = options.budget or (math.inf if options.dry_run else BUDGET_SECONDS)
    check = Check("cpu" if options.dry_run else "cuda", options.dry_run, budget)
    if check.is_dry:
        torch.set_num_threads(1)
    for name in options.only or STEPS:
        check.run(name, STEPS[name])
        write(check, options.out)
    print(f"written: {options.out / 'gpu_check.md'}")
    sys.exit(any(not each["result"].startswith("passed") for each in check.steps))


if __name__ == "__main__":
    main()

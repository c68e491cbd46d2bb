"""Ways to compute RIFE on a CPU: processor seconds for a frame between two, and how far each is from the plain network.

Run it with ``python tests/benchmarks/bench_rife_engines.py --versions 3.1,4.6``. One thread; ways take turns, and the
best of the repeats counts. OpenVINO is measured where it is
installed; the project does not need it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from bench_interpolation import TIMES, make_pair
from torch import nn

from rb2v.interpolation.learned.pictures import show
from rb2v.interpolation.learned.quick_layers import quicken
from rb2v.interpolation.learned.rife import load_rife


class Whole(nn.Module):
    """The frames alone, as a graph is traced."""

    def __init__(self, network, times):
        super().__init__()
        self.network, self.times = network, times

    def forward(self, frame_a, frame_b):
        return tuple(made.frame for made in self.network.make(frame_a, frame_b, self.times))


def of_openvino(network, frames, times, precision):
    import openvino

    traced = torch.jit.trace(Whole(network, times), frames, check_trace=False)
    model = openvino.convert_model(traced, example_input=frames, input=[frame.shape for frame in frames])
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    arrays = [frame.numpy() for frame in frames]
    return lambda: [torch.from_numpy(made) for made in request.infer(arrays).values()]


def ways(version, frames, times):
    plain = load_rife(version)
    yield "torch, as it is", lambda: Whole(plain, times)(*frames)
    last = load_rife(version).to(memory_format=torch.channels_last)
    moved = [frame.contiguous(memory_format=torch.channels_last) for frame in frames]
    yield "torch, channels_last", lambda: Whole(last, times)(*moved)
    quick = load_rife(version)
    quicken(quick)
    yield "torch, layers of quick_layers", lambda: Whole(quick, times)(*frames)
    compiled = torch.compile(Whole(load_rife(version), times), dynamic=False)
    yield "torch.compile", lambda: compiled(*frames)
    try:
        for precision in ("f32", "bf16"):
            yield f"OpenVINO, {precision}", of_openvino(plain, frames, times, precision)
    except ImportError:
        print("OpenVINO is not installed")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", default="3.1,4.6")
    parser.add_argument("--five", action="store_true", help="five times of a pair, too; compilers take minutes for it")
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for version in options.versions.split(","):
        frames = tuple(
            show(frame, "srgb", 64, "cpu").flip(1).contiguous() for frame in make_pair(options.side, options.side)
        )
        for times in ((0.5,), TIMES) if options.five else ((0.5,),):
            with torch.inference_mode():
                runs = dict(ways(version, frames, times))
                made = {name: run() for name, run in runs.items()}  # the first call of some compiles
                best = dict.fromkeys(runs, np.inf)
                for _ in range(options.repeats):
                    for name, run in runs.items():
                        began = time.process_time()
                        run()
                        best[name] = min(best[name], time.process_time() - began)
            plain = next(iter(made.values()))
            print(f"RIFE {version}, {options.side}x{options.side}, times: {len(times)}")
            for name, seconds in best.items():
                apart = max(float((a - b).abs().max()) for a, b in zip(made[name], plain, strict=True))
                gain = next(iter(best.values())) / seconds
                print(
                    f"  {name:<32}{seconds / len(times):>8.3f} s/frame{gain:>7.2f} times{apart:>9.1e} apart", flush=True
                )


if __name__ == "__main__":
    main()

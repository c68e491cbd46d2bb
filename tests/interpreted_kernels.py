"""Runs the Triton kernels of the collaboration of flows in Triton's interpreter, in a process of its own.

Triton decides when it is imported whether it compiles or interprets. ``python interpreted_kernels.py CASES RESULTS``
reads the cases that `write_cases` wrote, and writes what `read_results` reads.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

TENSORS = ("image", "weight", "alpha", "beta", "gradient")
RESULTS = ("result", "of_image", "of_weight", "of_alpha", "of_beta")


def interpret(cases, folder):
    """Return the result of every case and its four gradients.

    Parameters
    ----------
    cases : dict of str to tuple
        By name the tensors of ``TENSORS``, and a dict with dilation, truncate and top.
    folder : Path
        For the files that pass between the processes.
    """
    tensors = {
        f"{name}/{kind}": tensor.detach().contiguous()
        for name, (given, _) in cases.items()
        for kind, tensor in zip(TENSORS, given, strict=True)
    }
    save_file(
        tensors, folder / "cases.safetensors", {name: json.dumps(options) for name, (_, options) in cases.items()}
    )
    subprocess.run(
        [sys.executable, __file__, str(folder / "cases.safetensors"), str(folder / "results.safetensors")],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        check=True,
    )
    found = load_file(folder / "results.safetensors")
    return {name: [found[f"{name}/{kind}"] for kind in RESULTS] for name in cases}


def _main(cases_path, results_path):
    from safetensors import safe_open

    from rb2v.interpolation.learned.cdfi import collaboration_cuda

    with safe_open(cases_path, framework="pt") as file:
        options = {name: json.loads(text) for name, text in file.metadata().items()}
    given = load_file(cases_path)
    results = {}
    for name, chosen in options.items():
        *tensors, gradient = (given[f"{name}/{kind}"] for kind in TENSORS)
        settings = chosen["dilation"], chosen["truncate"], chosen["top"]
        made = [
            collaboration_cuda.forward(*tensors, *settings),
            *collaboration_cuda.backward(gradient, *tensors, *settings),
        ]
        for kind, tensor in zip(RESULTS, made, strict=True):
            results[f"{name}/{kind}"] = tensor.contiguous()
    save_file(results, results_path)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    torch.set_num_threads(1)
    _main(*sys.argv[1:])

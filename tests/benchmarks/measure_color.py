"""Measure what the color checker's maps leave on simulated rigs; prints the table of docs/calibration.md.

    PYTHONPATH=tests python tests/benchmarks/measure_color.py

Twenty rigs for each response, every second one mirrored, with noise, 240x200 pixels.
"""

import tempfile
from pathlib import Path

import numpy as np
from checkers import CheckerRig

from rb2v.stages.calibrate.checker import fit_checker

SEEDS = range(20)


def main() -> None:
    """Print, for each response, the range of the differences and the responses that were found."""
    for response in ("srgb", "linear", 2.2):
        figures, found = [], []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                rig = CheckerRig(Path(folder), seed, response, mirrored=seed % 2 == 0)
                quality = (
                    (made := fit_checker(rig.write(), rig.calibration, response)).complete(rig.calibration).quality
                )
            figures.append((quality.delta_e_before, quality.delta_e, quality.delta_e_coded))
            found.append(made.response)
        ranges = ", ".join(
            f"{name} {low:.2f} to {high:.2f}"
            for name, low, high in zip(
                ("before", "color", "color_coded"), np.min(figures, axis=0), np.max(figures, axis=0), strict=True
            )
        )
        print(f"{response}: {ranges}; found {', '.join(map(str, sorted(set(found), key=str)))}")


if __name__ == "__main__":
    main()

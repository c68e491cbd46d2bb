"""The closed-form window search against the literal one: a least-squares map and a PSNR per window.

Run it with ``python tests/benchmarks/bench_search.py``; both do the same work in the same process, in turns.
"""

import time

import numpy as np

from rb2v.core.color import apply_color_map, fit_color_map
from rb2v.core.metrics import psnr
from rb2v.core.temporal import errors_to_psnr, window_errors

SIZE, N_WINDOWS, N_REPEATS = 56, 101, 5


def search_literally(windows, frame):
    scores = []
    for window in windows:
        color_map = fit_color_map(window, frame)
        scores.append(psnr(np.clip(apply_color_map(color_map, window), 0, 1), frame))
    return np.array(scores)


def main():
    rng = np.random.default_rng(0)
    windows = rng.random((N_WINDOWS, SIZE * SIZE, 3), dtype=np.float32) * np.float32(0.5) + np.float32(0.2)
    mapping = np.array([[0.9, 0.05, 0.0, 0.01], [0.02, 0.95, 0.0, 0.0], [0.0, 0.03, 0.9, 0.02]])
    frame = apply_color_map(mapping, windows[40]) + rng.normal(0, 0.01, (SIZE * SIZE, 3)).astype(np.float32)
    ratios = []
    for _ in range(N_REPEATS):
        start = time.perf_counter()
        literal = search_literally(windows, frame)
        middle = time.perf_counter()
        closed = errors_to_psnr(window_errors(windows, frame))
        ratios.append((middle - start) / (time.perf_counter() - middle))
    print(
        f"{N_WINDOWS} windows of {SIZE}x{SIZE}: closed form {np.median(ratios):.1f} times as fast as the literal search"
    )
    print(f"same best window: {literal.argmax() == closed.argmax()}; ", end="")
    print(f"largest difference at the best window: {abs(literal - closed)[40]:.1e} dB")


if __name__ == "__main__":
    main()

"""Write generated triplets of held-out photographs as folders of images, for ``rb2v benchmark interpolation --data``.

Run it with ``python tests/benchmarks/write_triplets.py --out triplets --n 24 --size 192``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rb2v.interpolation.learned.cdfi.triplets import generated_triplets
from rb2v.io.video import write_image


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("triplets"))
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    triplets, _ = generated_triplets(options.size, options.seed, held_out=True)
    for index in range(options.n):
        folder = options.out / "generated" / f"{index:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        for place, frame in enumerate(triplets.draw(index)):
            write_image(folder / f"{place}.png", frame)


if __name__ == "__main__":
    main()

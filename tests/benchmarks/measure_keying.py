"""What `chroma` loses on simulated takes before a screen, and how its mattes flicker: a take in a few seconds.

Run it with ``python tests/benchmarks/measure_keying.py [--seeds 501 502] [--color green] [--small-screen] [--no-plates]
[--kept FOLDER]``. Takes of 0.6 s are simulated and aligned once for each seed, and kept with the truth of three of
their samples: one to two minutes each. Every later run with the same folder keys them alone, to try an idea. The gap is
the PSNR below the composite that the same frames give with the true alpha, and with the true light of screen and spill
taken off: over the whole foreground, and in a band around its edge.
"""

import argparse
import dataclasses
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from rb2v.benchmark.truth.reference import TruthRenderer, spread_indices
from rb2v.core.color import encode, to_linear
from rb2v.core.compositing import composite
from rb2v.core.metrics import psnr, screen_hue_share
from rb2v.interpolation.dense_flow import estimate_dis
from rb2v.io.aligned import AlignedSample, AlignedTakeReader, aligned_take_path, read_aligned_manifest
from rb2v.io.video import read_image
from rb2v.matting import fit_to_take, make_matting_method
from rb2v.matting.backgrounds import packaged_picture
from rb2v.simulator import SimulateConfig, simulate
from rb2v.simulator.truth import read_truth
from rb2v.stages import align, calibrate

N_SAMPLES = 3  # of a take, evenly spread
SHOWN = (0, 3, 6)  # sharp frames whose composites are compared
BAND_PX = 5  # around the edge
EDGE = (0.02, 0.98)  # true alpha of an edge


@dataclass
class KeptSample:
    """A sample with its truth; lights are premultiplied and linear."""

    sharp: np.ndarray
    blurry: np.ndarray
    true_alpha: np.ndarray  # (8, H, W): seven sharp ones and the blurry one
    true_light: np.ndarray  # (8, H, W, 3)
    true_picture: np.ndarray  # (8, H, W, 3) uint8
    true_screen: np.ndarray  # (8, H, W, 3) what stands behind, its shadows too, in linear light

    @property
    def frames(self):
        return np.concatenate([self.sharp, self.blurry[None]])


class KeptTake:
    """A take that was simulated, aligned and kept: a source of samples for `fit_to_take`, and the truth of some."""

    def __init__(self, path):
        self.path, self.name, self.screen = path, path.stem, "auto"
        with np.load(path) as file:
            self._sharp, self._blurry = file["sharp"], file["blurry"]
            self.plate = file.get("plate")
            self.response = str(file["response"])
            self.kept = [
                KeptSample(
                    self._sharp[index],
                    self._blurry[index],
                    file[f"alpha_{index}"].astype(np.float32),
                    file[f"light_{index}"].astype(np.float32),
                    file[f"picture_{index}"],
                    file[f"screen_{index}"].astype(np.float32),
                )
                for index in file["kept"]
            ]

    def __len__(self):
        return len(self._blurry)

    def read(self, index):
        return AlignedSample(self._blurry[index], self._sharp[index])


def make_session(folder, config, n_kept=N_SAMPLES):
    """Simulate and align a session, and keep its takes with the truth of a few samples as `folder`/<take>.npz."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        simulate(root / "raw", config)
        calibrate.run(root / "raw", root / "calibration.json")
        align.run(root / "raw", root / "calibration.json", root / "aligned")
        keep_session(root, folder, n_kept)


def keep_session(root, folder, n_kept=N_SAMPLES):
    """Keep an aligned session's takes and their truth."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest, truth = read_aligned_manifest(root / "aligned"), read_truth(root / "truth")
    for name in manifest.takes:
        with AlignedTakeReader(aligned_take_path(root / "aligned", name)) as reader:
            renderer = TruthRenderer(truth.rig, truth.take(name), manifest.crop, manifest.output_size)
            empty = TruthRenderer(truth.rig, truth.take(name), manifest.crop, manifest.output_size)
            empty._scene = dataclasses.replace(empty._scene, movers=())  # shadows stay
            frames = [frame for frame in reader.read_frames() if frame.accepted]
            if not frames:
                continue
            samples = [reader.read(index) for index in range(len(reader))]
            kept = spread_indices(len(samples), n_kept)
            values = {
                "sharp": np.stack([sample.sharp for sample in samples]),
                "blurry": np.stack([sample.blurry for sample in samples]),
                "response": np.array(str(manifest.response)),
                "kept": np.array(kept),
            }
            if reader.plate is not None:
                values["plate"] = reader.plate
            for index in kept:
                frame = frames[index]
                mattes = [renderer.sharp_matte(frame.position + k) for k in range(7)]
                mattes.append(renderer.blurry_matte(frame.blurry_time))
                pictures = [renderer.sharp(frame.position + k) for k in range(7)]
                values[f"alpha_{index}"] = np.stack([matte.alpha for matte in mattes]).astype(np.float16)
                light = np.stack([matte.premultiplied_linear for matte in mattes])
                values[f"light_{index}"] = light.astype(np.float16)
                values[f"picture_{index}"] = np.stack([*pictures, renderer.blurry(frame.blurry_time)])
                screens = [empty.sharp(frame.position + k) for k in range(7)]
                screens.append(empty.blurry(frame.blurry_time))
                values[f"screen_{index}"] = to_linear(np.stack(screens), manifest.response).astype(np.float16)
        np.savez(folder / f"{name}.npz", **values)


@cache
def backgrounds(size):
    """Return linear images to lay foregrounds over."""
    pictures = [read_image(packaged_picture(name)) for name in ("coffee.png", "chelsea.png", "rocket.jpg")]
    scaled = [to_linear(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), "srgb") for picture in pictures]
    return [cv2.GaussianBlur(picture, (0, 0), 1) for picture in scaled]


def regions(true_alpha):
    """Return the whole foreground with a margin, and the band around its edge."""
    whole = cv2.dilate((true_alpha > EDGE[0]).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    edge = ((true_alpha > EDGE[0]) & (true_alpha < EDGE[1])).astype(np.uint8)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND_PX + 1,) * 2)
    return whole, cv2.dilate(edge, reach) > 0


def change_along(alphas, flow):
    """Return the mean absolute change of alpha from a frame to the next, along the motion."""
    height, width = alphas[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    there = cv2.remap(alphas[1], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(there - alphas[0]).mean())


def measure_sample(sample, fitted, background, response):
    """Return the figures of a sample by name, those of sharp frames as their mean."""
    mattes = fitted.matte(sample.sharp, sample.blurry)
    alphas, lights = (
        np.concatenate([getattr(mattes[0], name), getattr(mattes[1], name)[None]])
        for name in ("alpha", "premultiplied_linear")
    )
    figures = {}
    coded = [encode(composite(light, alpha, background), response) for light, alpha in zip(lights, alphas, strict=True)]
    for index in (*SHOWN, 7):
        alpha, light = sample.true_alpha[index], sample.true_light[index]
        truth = encode(composite(light, alpha, background), response)
        error = to_linear(sample.frames[index], response) - to_linear(sample.true_picture[index], response)
        best = np.clip(light + error, 0, alpha[..., None]).astype(np.float32)
        best = encode(composite(best, alpha, background), response)
        kind = "sharp" if index < 7 else "blurry"
        for name, region in zip(("gap", "edge gap"), regions(alpha), strict=True):
            gap = psnr(best[region], truth[region]) - psnr(coded[index][region], truth[region])
            figures.setdefault(f"{kind} {name}", []).append(gap)
        figures.setdefault(f"{kind} PSNR", []).append(psnr(coded[index][regions(alpha)[0]], truth[regions(alpha)[0]]))
        figures.setdefault(f"{kind} MAD x1000", []).append(1000 * np.abs(alphas[index] - alpha).mean())
        if hasattr(fitted, "screen"):
            color = np.median(fitted.screen.grid_linear.reshape(-1, 3), axis=0).reshape(1, 1, 3).astype(np.float32)
            gray = np.full((*alpha.shape, 3), 0.216, np.float32)
            laid = encode(composite(lights[index], alphas[index], gray), response)
            share = screen_hue_share(laid, alpha, encode(color, response).reshape(3))
            figures.setdefault("fringe %", []).append(100 * share)
    linear = [to_linear(frame, response) for frame in coded]
    figures["eq. (1)"] = [psnr(np.mean(linear[:7], axis=0), linear[7])]
    flow = estimate_dis(sample.true_picture[3], sample.true_picture[4])
    figures["flicker"] = [change_along(alphas[3:5], flow) / change_along(sample.true_alpha[3:5], flow)]
    return {name: float(np.mean(values)) for name, values in figures.items()}


def measure_takes(folders, fit):
    """Return (take, figures) of kept sessions, with what learns a take."""
    rows = []
    for path in sorted(path for folder in folders for path in folder.glob("*.npz")):
        take = KeptTake(path)
        fitted = fit(take)
        found = [
            measure_sample(sample, fitted, backgrounds(sample.blurry.shape[1::-1])[index % 3], take.response)
            for index, sample in enumerate(take.kept)
        ]
        rows.append(
            (f"{path.parent.name} {take.name}", {name: np.mean([one[name] for one in found]) for name in found[0]})
        )
    return rows


def show(rows):
    """Print a table of takes and their means."""
    names = list(rows[0][1])
    print("take".ljust(28), *(name.rjust(max(len(name), 7)) for name in names))
    for take, figures in [*rows, ("mean", {name: np.mean([row[name] for _, row in rows]) for name in names})]:
        print(take.ljust(28), *(f"{figures[name]:{max(len(name), 7)}.2f}" for name in names), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[501, 503])
    parser.add_argument("--color", choices=("green", "blue"), default="green")
    parser.add_argument("--small-screen", action="store_true")
    parser.add_argument("--no-plates", action="store_true")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "rb2v_keying")
    given = parser.parse_args()
    kind = "small" if given.small_screen else "noplate" if given.no_plates else "full"
    cv2.setNumThreads(1)
    folders = []
    for seed in given.seeds:
        folders.append(given.kept / f"{seed}{given.color}{kind}")
        if not folders[-1].exists():
            config = SimulateConfig(
                seconds=0.6,
                test_takes=False,
                categories=("face", "hand"),
                seed=seed,
                screen_color=given.color,
                screen="small" if given.small_screen else "full",
                plates=not given.no_plates,
            )
            make_session(folders[-1], config)
    show(measure_takes(folders, lambda take: fit_to_take(take, make_matting_method("chroma"), take.response)))


if __name__ == "__main__":
    main()

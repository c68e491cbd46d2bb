"""How near each synthesis comes to the blur of a continuous exposure, on simulated scenes whose exposure is known.

Run it with ``python tests/benchmarks/measure_realism.py [scenes [kind ...]]``; the table of docs/synthesize.md is its
output. Streets pan and objects move across them. They are seen as they are (plain), exposed so that much of them is up
to twice white (overexposed), or with small lamps that move, up to sixteen times white (lamps). The truth is the mean of
193 instants in linear light, clipped after the mean. The synthesis sees the seven instants that are recorded, or every
second of them, clipped and rounded to 8 bits as a camera leaves them. PSNR is of coded values, mean over the scenes.
"""

import sys

import cv2
import numpy as np

from rb2v.core.color import encode
from rb2v.core.exposure import mean_light
from rb2v.core.metrics import psnr
from rb2v.simulator.config import SequencesConfig
from rb2v.simulator.scene import LayeredScene, Motion, Mover, Wave
from rb2v.simulator.sequences import build_take, split_photos
from rb2v.simulator.textures import list_photos
from rb2v.stages.synthesize import SynthesizeConfig
from rb2v.stages.synthesize.rendering import Renderer

SIDE, N_TRUE, N_SCENES = 192, 193, 24
SPEEDS = {"slow": 0.1, "usual": 0.5, "fast": 1.5}
"""Shares of the simulator's own motion: about 2, 10 and 30 px over a sequence."""
N_LAMPS, LAMP_LIGHT = 6, (2.0, 16.0)
SYNTHESES = {
    "coded 7": {"blur_samples": 7, "response": "linear"},
    "linear 7": {"blur_samples": 7},
    "linear 19": {"blur_samples": 19},
    "linear 25": {"blur_samples": 25},
    "linear 65": {"blur_samples": 65},
}
KINDS = ("plain", "overexposed", "lamps")
SATURATIONS = (1.0, 1.5, 2.0, 4.0, 8.0)


def add_lamps(scene, rng):
    """Return the scene with small lamps that move on their own, brighter than white."""
    lamps = []
    for _ in range(N_LAMPS):
        side = int(rng.integers(5, 10))
        light = np.zeros((side, side, 4), np.float32)
        cv2.circle(light, (side // 2, side // 2), side // 2 - 1, (*[float(rng.uniform(*LAMP_LIGHT))] * 3, 1.0), -1)
        x, y = SIDE * rng.uniform(-0.4, 0.4, 2)
        speed = SIDE * rng.uniform(0.5, 2.0)
        waves = [Wave(place, speed / (2 * np.pi), 1.0, rng.uniform()) for place in (x, y)]
        lamps.append(Mover(light, Motion(*waves)))
    return LayeredScene(scene.wall, [*scene.movers, *lamps], scene.rig_motion)


def render_track(index, speed, kind):
    """Return the light of the instants of an exposure, (193, H, W, 3), which may exceed white."""
    take = build_take(
        SequencesConfig(size=SIDE, seed=11), split_photos(list_photos(more=True), "train"), "train", index
    )
    rng = np.random.default_rng(index)
    scene = add_lamps(take.scene, rng) if kind == "lamps" else take.scene
    times = rng.uniform(0, 20) + speed * np.linspace(0, 6 / 200, N_TRUE)
    track = np.stack([scene.render(float(time), take.scene_to_view, (SIDE, SIDE)) for time in times])
    # The brightest hundredth of a scene at twice white.
    return track * np.float32(2 / np.percentile(track[::64], 99)) if kind == "overexposed" else track


def synthesize(frames, **options):
    upsampling = 6 // (len(frames) - 1)
    renderer = Renderer(SynthesizeConfig(upsampling=upsampling, **options))
    return renderer.render(frames, 0, np.random.default_rng(0)).blurry


def measure(kind, name, n_scenes):
    results = {}
    for index in range(n_scenes):
        track = render_track(index, SPEEDS[name], kind)
        true = encode(mean_light(track), "srgb")
        seven = [encode(frame, "srgb") for frame in track[::32]]
        for label, options in SYNTHESES.items():
            of_linear = (1.0,) if kind == "plain" else SATURATIONS if label == "linear 19" else (1.0, 1.5)
            for saturation in (1.0,) if label.startswith("coded") else of_linear:
                for frames in (seven, seven[::2]) if label == "linear 19" else (seven,):
                    blurry = synthesize(frames, saturation=saturation, **options)
                    results.setdefault((len(frames), label, saturation), []).append(psnr(blurry, true))
        # What a camera that does not clip would give.
        for label, clip_before in (("true light, clipped after", False), ("true light, clipped before", True)):
            ideal = encode(mean_light(track[::32], clip_before=clip_before), "srgb")
            results.setdefault((7, label, 0), []).append(psnr(ideal, true))
    for (count, label, saturation), values in results.items():
        print(
            f"{kind:12s} {name:6s} {count} recorded  {label:28s} saturation {saturation:4.1f}  "
            f"{np.mean(values):6.2f} dB, worst {np.min(values):6.2f}",
            flush=True,
        )


def main():
    n_scenes = int(sys.argv[1]) if sys.argv[1:] else N_SCENES
    for kind in sys.argv[2:] or KINDS:
        for name in SPEEDS:
            measure(kind, name, n_scenes)


if __name__ == "__main__":
    main()

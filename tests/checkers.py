"""Images of a color checker as a simulated rig's two cameras see them, and a calibration that registers them."""

import dataclasses

import cv2
import numpy as np
from sessions import write_rig

from rb2v.artifacts import Calibration, CalibrationQuality, Crop
from rb2v.core.color import CHECKER_SRGB, to_linear
from rb2v.core.homography import warp_points
from rb2v.io.video import write_image
from rb2v.simulator import SimulateConfig
from rb2v.simulator.rig import build_rig
from rb2v.simulator.targets import checker_scene

SIZE = (240, 200)
LIGHT = to_linear(CHECKER_SRGB, "srgb")
PITCH_PX = 21  # of the simulated chart at this size: 18 px of a patch, 3 px between


class SmallNoise:
    """Normal noise that is made as it is asked for."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)

    def draw(self, shape):
        return self._rng.standard_normal(shape, dtype=np.float32)


class CheckerRig:
    """A simulated rig before a color checker."""

    def __init__(self, folder, seed=0, response="srgb", mirrored=True, exposure=(1.0, 1.0), size=SIZE):
        rig_path = write_rig(folder / "rig.yaml", response={"gamma": response} if _is_gamma(response) else response)
        config = SimulateConfig(rig=str(rig_path), size=size, seed=seed, mirrored=mirrored)
        self.rig = build_rig(config, ())
        self.size, self.response, self.seed = size, response, seed
        self.exposure = dict(zip(("blurry", "sharp"), exposure, strict=True))
        self.pair = (folder / "blurry.png", folder / "sharp.png")
        self.calibration = Calibration(
            homography=self.rig.homography,
            mirrored=mirrored,
            size_blurry=size,
            size_sharp=size,
            crop=Crop(20, 20, 100, 100),
            color=None,
            quality=CalibrationQuality(0.1, 1, 1, None),
        )
        self.light = {which: self._expose(which) for which in ("blurry", "sharp")}

    def _expose(self, which):
        return self.rig.camera(which).expose(checker_scene(self.size), 0.0) * np.float32(self.exposure[which])

    def patch_quad(self, which, index, half=0.5):
        """Corners of a patch's place, so many patches to each side of its centre, in a camera's pixels."""
        row, column = divmod(index, 6)
        patch = max(round(self.size[1] * 0.09), 6)
        pitch = patch + max(patch // 5, 1)
        center = np.array([column - 2.5, row - 1.5]) * pitch
        corners = center + half * pitch * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        return warp_points(self.rig.camera(which).scene_to_view, corners)

    def add_light(self, which, index, amount):
        """Let a camera see a glare on a patch."""
        mask = np.zeros(self.light[which].shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, np.rint(self.patch_quad(which, index)).astype(np.int32), 1)
        self.light[which][mask > 0] += np.float32(amount)

    def write(self):
        """Write both images and return their paths."""
        for path, (which, light) in zip(self.pair, self.light.items(), strict=True):
            camera = dataclasses.replace(self.rig.camera(which), response=self.response)
            write_image(path, camera.develop(light.copy(), SmallNoise(self.seed)))
        return self.pair

    @property
    def true_map(self):
        gain = self.exposure["blurry"] / self.exposure["sharp"]
        return self.rig.color * gain


def _is_gamma(response):
    return not isinstance(response, str)

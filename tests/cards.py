"""Small memory cards for the tests, as two GoPro cameras would write them."""

from datetime import datetime, timedelta

import numpy as np

from rb2v.io.encoder import CameraNotes, write_video
from rb2v.io.gopro import Telemetry

NOON = datetime(2024, 5, 6, 12, 0, 0)
SIZE = (64, 48)
RATES = {"blurry": 25.0, "sharp": 100.0}
SHUTTERS = {"blurry": 1 / 30, "sharp": 1 / 800}
SETTINGS = {
    **{"EXPT": "1/30", "EISE": "N", "EISA": "N/A", "PTWB": "5500K", "VFOV": "L", "ZFOV": 92.0, "SROT": 0.0082},
    **{"PIMN": 100.0, "PIMX": 100.0, "PRTN": "Y", "PTCL": "FLAT", "PTSH": "LOW", "PTEV": "0.0"},
}


def make_telemetry(camera, seconds, **changes):
    settings = SETTINGS | changes.pop("settings", {})
    n = max(round(25 * seconds), 2)
    times = np.arange(n) / 25
    gyro_times = np.arange(8 * n) / 200
    fields = {
        "model": "HERO8 Black",
        "gyro": np.random.default_rng(0).normal(0, 0.1, (8 * n, 3)),
        "gyro_times": gyro_times,
        "shutter_seconds": np.full(n, SHUTTERS[camera]),
        "shutter_times": times,
        "iso": np.full(n, 100.0),
        "iso_times": times,
        "white_balance": np.full(n, 5500.0),
        "white_balance_times": times,
        "gains": np.tile([1.8, 1.0, 1.7], (n, 1)),
        "gains_times": times,
    }
    stated = {key: value for key, value in settings.items() if value is not None}
    return Telemetry(**fields | {"settings": stated} | changes)


def write_recording(path, camera, seconds=1.0, created=NOON, *, fps=None, size=SIZE, lost=(), telemetry=None, **more):
    """Write one file; `telemetry` changes what the camera states of itself, False leaves it out."""
    fps = fps or RATES[camera]
    width, height = size
    n_frames = round(seconds * fps) - len(lost)
    frames = [np.full((height, width, 3), 7 * index % 200, np.uint8) for index in range(n_frames)]
    stated = None if telemetry is False else make_telemetry(camera, seconds, **(telemetry or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = CameraNotes(telemetry=stated, created=created, lost=lost, **more)
    return write_video(path, frames, fps, notes=notes, crf=30)


def write_cards(root, takes, *, clock_offset=0.0, sharp_lead=0.5):
    """Write two cards of takes, (seconds after noon, seconds long); the sharp camera starts earlier and stops later."""
    for index, (start, seconds) in enumerate(takes, start=1):
        begun = NOON + timedelta(seconds=start)
        write_recording(root / "blurry" / "DCIM" / "100GOPRO" / f"GX01{index:04d}.MP4", "blurry", seconds, begun)
        begun += timedelta(seconds=clock_offset - sharp_lead)
        path = root / "sharp" / "DCIM" / "100GOPRO" / f"GX01{index + 40:04d}.MP4"
        write_recording(path, "sharp", seconds + 2 * sharp_lead, begun)
    return root / "blurry", root / "sharp"

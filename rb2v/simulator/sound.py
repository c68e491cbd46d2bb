"""The sound of a simulated session, as each camera records it."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Camera
from rb2v.io.sound import Sound
from rb2v.simulator.plans import TakePlan
from rb2v.simulator.rig import SimulatedRig

_SOUND_RATE = 48_000  # per second, as cameras record it


def record_sound(rig: SimulatedRig, plan: TakePlan, which: Camera, seconds: float) -> Sound:
    """Return the world's sound as one camera's clock samples it, with that camera's own noise."""
    file_times = np.arange(int(seconds * _SOUND_RATE)) / _SOUND_RATE
    world_start = -1.0 - plan.offset_seconds
    world = _world_sound(np.random.default_rng([rig.config.seed, 6, plan.scene_seed]), plan, world_start)
    times = file_times if which == "blurry" else np.vectorize(partial(rig.scene_time, plan))(file_times)
    samples = np.interp(times, world_start + np.arange(len(world)) / _SOUND_RATE, world)
    hiss = np.random.default_rng([rig.config.seed, 7, plan.scene_seed, which == "sharp"])
    samples = samples + 0.005 * hiss.standard_normal(len(samples))
    return Sound(np.clip(samples, -1, 1).astype(np.float32), _SOUND_RATE, 0.0)


def _world_sound(rng: np.random.Generator, plan: TakePlan, start_seconds: float) -> NDArray[np.float64]:
    """Return a street's sound: low rumble and, a few times a second, short bursts."""
    n = int((plan.seconds + 2.0 - start_seconds) * _SOUND_RATE)
    rumble = np.convolve(rng.standard_normal(n), np.ones(200) / 200, mode="same")
    sound = 0.3 * rumble
    burst_length = int(0.04 * _SOUND_RATE)
    envelope = np.exp(-np.arange(burst_length) / (0.008 * _SOUND_RATE))
    for start in rng.integers(0, n - burst_length, size=max(int(6 * n / _SOUND_RATE), 3)):
        sound[start : start + burst_length] += rng.uniform(0.1, 0.5) * envelope * rng.standard_normal(burst_length)
    return np.asarray(sound, dtype=np.float64)

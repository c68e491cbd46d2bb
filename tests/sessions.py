"""Small simulated sessions for the tests."""

import dataclasses
import logging
import shutil
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import yaml

from rb2v.core.homography import warp_points
from rb2v.execution import SerialExecutor
from rb2v.simulator import SimulateConfig, Truth, read_truth, simulate
from rb2v.stages import align, calibrate

QUICK = align.AlignConfig(interpolator="quick-flow")
"""For takes of which it does not matter how frames are made between the recorded ones, which takes half of the time."""

RIG = {
    "schema": 1,
    "name": "tiny",
    "blurry": {"model": "simulated", "frame_rate": 25},
    "sharp": {"model": "simulated", "frame_rate": 100},
    "mirrored": "auto",
    "response": "srgb",
    "upsampling": 2,
    "frames_per_sequence": 7,
    "blur_samples": 19,
    "output_size": [96, 96],
    "search_range_seconds": 0.1,
}


@dataclass(frozen=True)
class Session:
    """A simulated recording session and what the first two stages made of it."""

    root: Path
    truth: Truth

    def __repr__(self):
        return f"Session({str(self.root)!r})"

    @property
    def raw(self):
        return self.root / "raw"

    @property
    def calibration(self):
        return self.root / "calibration.json"

    @property
    def aligned(self):
        return self.root / "aligned"

    def homography_errors_px(self, homography, crop):
        """How far sharp-camera points land from the truth, over a crop of the blurry camera's frame."""
        x, y = np.meshgrid(*(np.linspace(low, low + n - 1, 15) for low, n in ((crop[0], crop[2]), (crop[1], crop[3]))))
        grid = np.column_stack([x.ravel(), y.ravel()])
        sharp = warp_points(np.linalg.inv(self.truth.rig.homography), grid)
        return np.linalg.norm(warp_points(homography, sharp) - grid, axis=1)


@contextmanager
def collect_warnings():
    """Collect what rb2v warns of, for fixtures that outlive a test, as a list of messages."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("rb2v").addHandler(handler)
    try:
        yield messages
    finally:
        logging.getLogger("rb2v").removeHandler(handler)


def write_rig(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(RIG | changes, sort_keys=False))
    return path


def make_session(root, rig_changes=None, *, captures=True, **changes):
    """Simulate a session in a folder, without the captures where nothing reads them."""
    rig = write_rig(root / "rig.yaml", **(rig_changes or {}))
    config = SimulateConfig(rig=str(rig), size=(192, 160), test_takes=False, max_offset_seconds=0.3)
    config = dataclasses.replace(config, **changes)
    left_out = mock.patch("rb2v.simulator.simulation._capture_targets", return_value="calibration")
    with nullcontext() if captures else left_out:
        truth_dir = simulate(root / "raw", config, executor=SerialExecutor(check_pickle=True))
    return Session(root, read_truth(truth_dir))


def shared_session(shared, *, maker=None, upto="raw", **changes):
    """Return a session that may be read only, simulated as by `make_session`.

    Parameters
    ----------
    shared : SharedFolders
        The fixture of that name.
    maker : function, optional
        Makes it otherwise: called with the folder and the changes.
    upto : str
        What is there: the ``raw`` directory, the ``calibration`` too, or also the ``aligned`` takes.
    **changes
        Changes of the simulator's configuration, ``rig_changes``, and whether there are ``captures``; of the takes'
        alignment the ``interpolator``; ``calibrated``, a session of the same cameras whose calibration is taken.
    """
    root = shared(maker or record_session, **({} if maker else {"upto": upto}), **changes)
    return Session(root, read_truth(root / "truth"))


def record_session(root, *, upto="raw", calibrated=None, interpolator="flow", **changes):
    """Simulate a session and run the first stages on it, as `shared_session` says."""
    made = make_session(root, **changes)
    if calibrated is not None:
        shutil.copy(calibrated.calibration, made.calibration)
    elif upto in ("calibration", "aligned"):
        calibrate.run(made.raw, made.calibration)
    if upto == "aligned":
        align.run(
            made.raw,
            made.calibration,
            made.aligned,
            align.AlignConfig(interpolator=interpolator),
            execution=align.Execution(executor=SerialExecutor(check_pickle=True)),
        )
    return made

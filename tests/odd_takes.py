"""Takes whose two recordings are one simulated take, each written anew in an odd way; and where their frames belong."""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import yaml
from odd_files import BT601, FULL, LIMITED, UNSTATED, cut_by_edit_list, cut_out_by_edit_list, write_odd
from sessions import write_rig

from rb2v.artifacts import CAMERAS
from rb2v.errors import Rb2vError
from rb2v.io.config import read_raw_directory, read_take
from rb2v.io.sound import read_sound
from rb2v.io.store import read_alignment
from rb2v.io.video import iter_frames
from rb2v.stages import align
from rb2v.stages.doctor import diagnose

TAKE = "street_train"
RATES = {"blurry": 25, "sharp": 100}
MAX_ERROR_FINE = 0.55  # frames of the fine track

_ALWAYS_NAMED = ("telemetry", "color")
_FAST = {"preset": "ultrafast", "qp": "8", "bf": "0"}
_B_FRAMES = {"preset": "veryfast", "qp": "8", "bf": "2"}
_FINE_MJPEG = {"qmin": "2", "qmax": "3"}
_HALF_TURN = [-1 << 16, 0, 0, 0, -1 << 16, 0, 0, 0, 1 << 30]


@dataclass(frozen=True)
class Way:
    """How one recording is written."""

    suffix: str = "mp4"
    settings: dict = field(default_factory=dict)
    """Of `write_odd`."""
    half_turn: bool = False
    """Stored upside down, with the matrix that says so."""
    quarter_turn: bool = False
    """Stored lying on its side, likewise."""
    mirrored: bool = False
    """Stored mirrored, with the matrix that says so."""
    hidden: int = 0
    """First frames that an edit list hides."""
    cut_out: float = 0.0
    """Share of the frames that an edit list hides in the middle."""
    lost: tuple[float, ...] = ()
    """Frames that are not there, as shares of the length; their times are."""
    repeated: tuple[float, ...] = ()
    """Frames that repeat those before them, likewise."""
    jitter: float = 0.0
    """By which the times of frames vary, in frames."""
    channels: tuple[int, ...] = ()
    """Of the sound, each the take's sound times this."""
    capture_fps: bool = False
    """Stored at 30 frames per second, with the true rate in take.yaml."""
    pulldown: bool = False
    """Every fourth frame is shown twice."""


def _coded(codec, pix_fmt="yuv420p", options=None, color=(UNSTATED, LIMITED)):
    return {"codec": codec, "pix_fmt": pix_fmt, "options": options or {}, "color": color}


WAYS = {
    "plain": Way(),
    "half-turn": Way(half_turn=True),
    "quarter-turn": Way(quarter_turn=True),
    "mirrored": Way(mirrored=True),
    "edit-list": Way(hidden=3, settings={"options": {**_FAST, "g": "250"}}),
    "edit-list, short groups": Way(hidden=3, settings={"options": {**_FAST, "g": "1"}}),
    "cut-out": Way(cut_out=0.15),
    "cover-first": Way(settings={"cover": np.zeros((32, 32, 3), np.uint8)}),
    "two-tracks": Way(settings={"second": True}),
    "repeats": Way(repeated=(0.4,)),
    "gap": Way(lost=(0.5,)),
    "uneven": Way(jitter=0.1),
    "very-uneven": Way(jitter=0.45),
    "pulldown": Way(pulldown=True),
    "mkv": Way("mkv", {"options": _B_FRAMES}),
    "mov": Way("mov", {"options": _B_FRAMES}),
    "fragmented": Way(settings={"options": _B_FRAMES, "movflags": ("frag_keyframe", "empty_moov")}),
    "avi": Way("avi", _coded("mpeg4", options=_FINE_MJPEG)),
    "mpeg-ts": Way("ts", {"options": _B_FRAMES}),
    "mjpeg-avi": Way("avi", _coded("mjpeg", "yuvj420p", _FINE_MJPEG, (BT601, FULL))),
    "mjpeg-422": Way("mov", _coded("mjpeg", "yuvj422p", _FINE_MJPEG, (BT601, FULL))),
    "10-bit": Way(settings=_coded("libx264", "yuv420p10le", _FAST)),
    "4:2:2": Way(settings=_coded("libx264", "yuv422p", _FAST)),
    "4:2:2, 10 bit": Way(settings=_coded("libx264", "yuv422p10le", _FAST)),
    "4:4:4": Way(settings=_coded("libx264", "yuv444p", _FAST)),
    "4:1:1": Way("mkv", _coded("ffv1", "yuv411p")),
    "full-range": Way(settings=_coded("libx264", "yuvj420p", _FAST, (BT601, FULL))),
    "untagged": Way(settings=_coded("libx264", "yuv420p", _FAST)),
    "hevc": Way(settings=_coded("libx265", "yuv420p", {"x265-params": "qp=12:log-level=none:pools=1"})),
    "vp9": Way("webm", _coded("libvpx-vp9", options={"crf": "12", "b": "0", "cpu-used": "8", "deadline": "realtime"})),
    "av1": Way(settings=_coded("libsvtav1", options={"preset": "12", "qp": "12", "svtav1-params": "lp=1"})),
    "prores": Way("mov", _coded("prores_ks", "yuv422p10le", {"profile": "2"})),
    "nv12": Way("avi", _coded("rawvideo", "nv12")),
    "v210": Way("mov", _coded("v210", "yuv422p10le")),
    "rgb": Way("mkv", _coded("ffv1", "bgr0")),
    "sound": Way(channels=(1,)),
    "opposite-channels": Way(channels=(1, -1)),
    "silent": Way(channels=(0,)),
    "slow-motion": Way(capture_fps=True),
}
"""Sound is left out but where a way has channels."""


@dataclass(frozen=True)
class Tried:
    """What came of an odd take."""

    named: tuple
    """What doctor named of its files, but for what all takes lack: telemetry and stated colors."""
    n_frames: int
    """Blurry frames, 0 where the take was not aligned."""
    reasons: dict
    """Rejected frames by reason."""
    errors: np.ndarray
    """Of the accepted frames' positions, in fine frames; NaN where the sharp recording lacks them."""
    refusal: str
    """The message of `align`, empty where it aligned the take."""

    @property
    def is_refused(self):
        """Whether doctor refuses the take."""
        return any(finding.level == "refuse" for finding in self.named)

    @property
    def faults(self):
        """What breaks the promise, in words."""
        found = []
        if not np.all(self.errors <= MAX_ERROR_FINE):
            found.append(f"accepted {self.errors.max():.2f} fine frames off")
        if not all(finding.advice for finding in self.named if finding.level == "refuse"):
            found.append("refused without a remedy")
        if not self.is_refused and self.refusal:
            found.append(f"passed by doctor and refused by align: {self.refusal}")
        # Frames that are lost or repeated cost those whose windows hold them.
        elif not self.is_refused and len(self.errors) + self.reasons.get("dropped-frames", 0) < 0.9 * self.n_frames:
            found.append(f"{len(self.errors)} of {self.n_frames} accepted: {self.reasons}")
        return found


class OddTakes:
    """A raw directory of odd takes of one simulated session, which is decoded once.

    Parameters
    ----------
    session : Session
        The simulated session, calibrated.
    root : Path
        A folder for the raw directory and what is aligned.
    """

    def __init__(self, session, root):
        self._session, self._root, self._raw = session, root, root / "raw"
        source = session.raw / "takes" / TAKE
        shutil.copytree(session.raw, self._raw, ignore=shutil.ignore_patterns("takes"))
        write_rig(root / "rig.yaml", output_size=[64, 64])
        (self._raw / "capture.yaml").write_text("schema: 1\nrig: ../rig.yaml\n")
        self._frames = {c: [frame.image for frame in iter_frames([source / f"{c}.mp4"])] for c in CAMERAS}
        self._sound = {camera: read_sound([source / f"{camera}.mp4"]).samples for camera in CAMERAS}
        self._document = yaml.safe_load((source / "take.yaml").read_text())
        self._n_takes = 0

    def try_take(self, blurry, sharp):
        """Write a take, each recording in its way, ask doctor, and align it whatever doctor says."""
        name = f"take{self._n_takes}"
        self._n_takes += 1
        kept = self._add(name, {"blurry": WAYS[blurry], "sharp": WAYS[sharp]})
        found = diagnose(read_take(self._raw / "takes" / name), read_raw_directory(self._raw).rig).findings
        named = tuple(finding for finding in found if finding.level != "ok" and finding.check not in _ALWAYS_NAMED)
        refusal, rows = "", []
        try:
            config = align.AlignConfig(interpolator="quick-flow")
            table = align.run(
                self._raw, self._session.calibration, self._root / name, config, execution=align.Execution([name])
            )
            rows = read_alignment(table)
        except Rb2vError as error:
            refusal = str(error)
        accepted = [row for row in rows if row.accepted]
        errors = np.abs(np.array([row.position for row in accepted]) - self._true_positions(accepted, kept))
        return Tried(named, len(rows), dict(Counter(row.reason for row in rows if not row.accepted)), errors, refusal)

    def _add(self, name, ways):
        """Write a take and return which frames of the simulated one each file shows."""
        folder = self._raw / "takes" / name
        folder.mkdir(parents=True)
        document, kept = dict(self._document), {}
        for camera, way in ways.items():
            kept[camera] = self._write(folder / f"{camera}.{way.suffix}", camera, way)
            document[camera] = [f"{camera}.{way.suffix}"]
            if way.capture_fps:
                document.setdefault("capture_fps", {})[camera] = RATES[camera]
        (folder / "take.yaml").write_text(yaml.safe_dump(document))
        return kept

    def _write(self, path, camera, way):
        frames, n = self._frames[camera], len(self._frames[camera])
        settings = {"color": (UNSTATED, LIMITED), "options": _FAST, **way.settings}
        if way.half_turn or way.mirrored:
            frames = [frame[:: -1 if way.half_turn else 1, ::-1] for frame in frames]
            settings["matrix"] = _HALF_TURN if way.half_turn else [-1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]
        if way.quarter_turn:
            frames = [np.ascontiguousarray(np.rot90(frame)) for frame in frames]
            settings["matrix"] = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30]
        if settings.get("second"):
            settings["second"] = [np.repeat(np.repeat(frame, 2, 0), 2, 1) for frame in frames[:3]]
        shown = np.array([index for index in range(n) if index not in [round(share * n) for share in way.lost]])
        sources = shown.copy()
        for share in way.repeated:
            sources[round(share * n)] -= 1
        if way.pulldown:
            shown = sources = np.repeat(np.arange(n), np.where(np.arange(n) % 4 == 3, 2, 1))
        if way.lost or way.jitter:
            ticks = 1000  # of a frame
            offsets = way.jitter * (np.random.default_rng(5).uniform(-1, 1, len(shown)) if way.jitter else 0)
            settings["pts"] = np.rint(ticks * (shown - shown[0] + np.abs(offsets))).astype(int).tolist()
            settings["time_base"] = Fraction(1, ticks * RATES[camera])
        if way.channels:
            settings["sound"] = np.stack([gain * self._sound[camera] for gain in way.channels])
        rate = 30 if way.capture_fps else RATES[camera]
        write_odd(path, [frames[index] for index in sources], rate=rate, **settings)
        if way.hidden:
            cut_by_edit_list(path, way.hidden, rate)
        if way.cut_out:
            first, last = n // 3, n // 3 + round(way.cut_out * n)
            cut_out_by_edit_list(path, first, last, rate)
            shown = np.delete(shown, np.s_[first:last])
        return shown[way.hidden :]

    def _true_positions(self, rows, kept):
        """Return where rows of an alignment table belong, in positions of the take's own sharp recording."""
        rig, plan, sharp = self._session.truth.rig, self._session.truth.take(TAKE), kept["sharp"]
        times = [kept["blurry"][row.blurry_index] / RATES["blurry"] for row in rows]
        first = np.array([rig.true_position(plan, time) for time in times])
        # The middle of a window, among the frames that are there.
        half, upsampling = (rig.rig.frames_per_sequence - 1) / 2, rig.rig.upsampling
        middle = np.interp((first + half) / upsampling, sharp, np.arange(len(sharp)), left=np.nan, right=np.nan)
        return middle * upsampling - half

"""A second family of simulated rigs: every frame drawn from known functions of time, apart from `rb2v.simulator`.

Nothing of the package draws, moves or encodes here, so that neither family is tuned to the other. A painted sheet and
a disc before it move by sums of sines; each row of each frame is drawn at its own time, in linear light.
"""

import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import yaml

TEXELS_PER_PX = 2
SHEET_MARGIN_PX = 70  # beyond the frame on every side: how far the sheet moves, and what lenses and homographies add
N_BLUR_SAMPLES = 14  # of an exposure; what moves fastest moves by less than a pixel between two of them
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
MATRIX_CODES = {"bt601": 6, "bt709": 1}
SITINGS = {"left": (0.0, 0.5), "center": (0.5, 0.5), "topleft": (0.0, 0.0)}


@dataclass(frozen=True)
class SecondRig:
    """How the two cameras see and record; the first of a pair is the blurry camera's."""

    mirrored: bool = False
    chroma: str = "left"
    states_chroma: bool = False
    matrix: str = "bt709"
    full_range: bool = False
    tagged: bool = True
    codec: str = "h264"
    size: tuple[int, int] = (320, 180)
    rates: tuple[Fraction, Fraction] = (Fraction(25), Fraction(100))
    readouts_ms: tuple[float, float] = (0.0, 0.0)
    bending: tuple[float, float] = (0.0, 0.0)
    """Brown's k1 of the lenses, at a focal length of the frame's width."""
    shading: float = 0.0
    """Gain of red at the right border of the blurry view less 1, that of blue at the left one."""
    flicker: float = 0.0
    """Amplitude of the lamps' light, relative to its mean."""
    flicker_hz: float = 100.0
    knock_px: float = 0.0
    """How far the sharp view is shifted after the captures."""
    knock_inside_px: float = 0.0
    """How far it is shifted once more in the middle of every take."""
    tone: float = 1.0
    """Exponent by which the sharp camera's coded values differ from the sRGB curve."""
    drift_ppm: float = 80.0
    noise_levels: float = 0.8
    crf: int = 14
    captures_as_video: bool = False
    """Whether every capture was recorded, too."""

    @property
    def exposure_seconds(self) -> float:
        """Duration of the blurry camera's exposure: 19 steps of three per fine frame."""
        return float(19 / (self.rates[1] * 6))


@dataclass(frozen=True)
class TakeTruth:
    """What is true of a take."""

    name: str
    offset_seconds: float
    knock: np.ndarray
    """(3, 3) what the homography of the captures is to be multiplied by, from the left."""
    knock_inside: np.ndarray
    seconds: float
    motion_seed: int


class SecondSession:
    """A recording session of a rig: writes the raw directory, and draws what the cameras ideally saw.

    Parameters
    ----------
    rig : SecondRig
        The rig.
    seed : int
        Of all that is drawn.
    output_size : tuple of int
        Width and height of the data set's frames.
    """

    def __init__(self, rig, seed=0, output_size=(112, 112)):
        self.rig, self.seed, self.output_size = rig, seed, output_size
        rng = np.random.default_rng([seed, 1])
        width, height = rig.size
        mirror = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]]) if rig.mirrored else np.eye(3)
        turn = similarity(rng.uniform(-1.0, 1.0), rng.uniform(0.98, 1.04), rng.uniform(-5, 5, 2), rig.size)
        bend = np.eye(3)
        bend[2, :2] = rng.uniform(-2e-5, 2e-5, 2)
        self.homography = turn @ bend @ mirror
        """(3, 3) from the sharp camera's undistorted pixels to the blurry camera's."""
        self.homography /= self.homography[2, 2]
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        self._grid = np.stack([x, y], axis=-1)
        self._rays = [undistort(self._grid, k1, rig.size) for k1 in rig.bending]
        self.takes = []

    def write(self, root, n_takes=1, seconds=2.0, n_captures=4, captures=True):
        """Write captures and takes; return the raw directory."""
        root = Path(root)
        root.mkdir(parents=True, exist_ok=True)
        self._write_description(root)
        if captures:
            for index in range(n_captures):
                self._write_capture(root, index)
        rng = np.random.default_rng([self.seed, 2])
        for index in range(n_takes):
            self.takes.append(self._make_truth(rng, index, seconds))
            self._write_take(root, self.takes[-1])
        return root

    def positions(self, take):
        """Return the true position of every blurry frame, to a fraction of a fine frame."""
        blurry_fps, sharp_fps = self.rig.rates
        times = np.arange(round(take.seconds * blurry_fps)) / float(blurry_fps)
        sharp_times = take.offset_seconds + (1 + 1e-6 * self.rig.drift_ppm) * times
        return 2 * float(sharp_fps) * sharp_times - 3

    def ideal_frame(self, take, position):
        """Return the instant at a fine-track position as the blurry camera would see it, coded (H, W, 3) float.

        Without flicker, noise and encoder, in the blurry camera's colors and under its rolling shutter.
        """
        sharp_time = position / (2 * float(self.rig.rates[1]))
        time = (sharp_time - take.offset_seconds) / (1 + 1e-6 * self.rig.drift_ppm)
        rows = self._row_times(0, time)
        return srgb(self._shaded(World(self, take.motion_seed).draw(self._rays[0], rows)))

    def _write_description(self, root):
        blurry_fps, sharp_fps = (float(rate) for rate in self.rig.rates)
        rig = {
            "schema": 1,
            "name": "second",
            "blurry": {"model": "second", "frame_rate": blurry_fps},
            "sharp": {"model": "second", "frame_rate": sharp_fps},
            "mirrored": "auto",
            "response": "srgb",
            "upsampling": 2,
            "frames_per_sequence": 7,
            "blur_samples": 19,
            "output_size": list(self.output_size),
            "search_range_seconds": 0.1,
        }
        (root / "rig.yaml").write_text(yaml.safe_dump(rig, sort_keys=False))
        (root / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")

    def _write_capture(self, root, index):
        world = World(self, 1000 + index, still=True)
        views = (self._rays[0], warp(self.homography, self._rays[1]))
        for camera, (name, rays) in enumerate(zip(("blurry", "sharp"), views, strict=True)):
            light = world.draw(rays, np.zeros((self.rig.size[1], 1)))
            coded = self._code(self._shaded(light) if camera == 0 else light, camera)
            folder = root / "calibration" / "geometry" / name
            folder.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([self.seed, 3, index, camera])
            picture = np.rint(np.clip(self._noisy(coded, rng), 0, 1) * 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{index}.png"), picture[..., ::-1])
            if self.rig.captures_as_video:
                frames = (self._noisy(coded, rng) for _ in range(2))
                encode_video(folder / f"{index}.mp4", frames, self.rig.rates[camera], self.rig)

    def _make_truth(self, rng, index, seconds):
        knocks = []
        for length in (self.rig.knock_px, self.rig.knock_inside_px):
            angle = rng.uniform(0, 2 * np.pi)
            shift = length * np.array([np.cos(angle), np.sin(angle)])
            knocks.append(similarity(rng.uniform(-0.05, 0.05) * min(length, 1), 1.0, shift, self.rig.size))
        return TakeTruth(f"take{index}", float(rng.uniform(0.1, 0.3)), *knocks, seconds, int(rng.integers(1 << 30)))

    def _write_take(self, root, take):
        rig, world = self.rig, World(self, take.motion_seed)
        folder = root / "takes" / take.name
        folder.mkdir(parents=True, exist_ok=True)
        description = {"category": "street", "subject": take.name, "green_screen": False}
        (folder / "take.yaml").write_text(yaml.safe_dump(description))
        blurry_fps, sharp_fps = (float(rate) for rate in rig.rates)
        starts = 1 + 1e-6 * rig.drift_ppm
        n_sharp = round((take.seconds + take.offset_seconds + 0.2) * sharp_fps)
        times = (
            np.arange(round(take.seconds * blurry_fps)) / blurry_fps,
            (np.arange(n_sharp) / sharp_fps - take.offset_seconds) / starts,
        )
        plans = ((N_BLUR_SAMPLES, rig.exposure_seconds), (2, 0.002))
        for camera, name in enumerate(("blurry", "sharp")):
            frames = self._frames(world, take, camera, times[camera], *plans[camera])
            encode_video(folder / f"{name}.mp4", frames, rig.rates[camera], rig)

    def _frames(self, world, take, camera, times, n_samples, exposure_seconds):
        rng = np.random.default_rng([self.seed, 4, take.motion_seed, camera])
        knocked = take.knock @ self.homography
        views = (
            [self._rays[0]] * 2
            if camera == 0
            else [warp(knock @ knocked, self._rays[1]) for knock in (np.eye(3), take.knock_inside)]
        )
        parts = ((np.arange(n_samples) + 0.5) / n_samples - 0.5) * exposure_seconds
        for time in times:
            light = 0
            for part in parts:
                rows = self._row_times(camera, time + part)
                view = views[int(time > take.seconds / 2)]
                light = light + world.draw(view, rows) * self._lamps(rows) / n_samples
            yield self._noisy(self._code(self._shaded(light) if camera == 0 else light, camera), rng)

    def _row_times(self, camera, time):
        height = self.rig.size[1]
        share = (np.arange(height) + 0.5) / height - 0.5
        return (time + 1e-3 * self.rig.readouts_ms[camera] * share)[:, None]

    def _lamps(self, rows):
        return np.float32(1 + self.rig.flicker * np.sin(2 * np.pi * self.rig.flicker_hz * rows + 0.7))[..., None]

    def _shaded(self, light):
        across = np.linspace(-1, 1, self.rig.size[0])[None, :, None]
        return light * np.float32(1 + self.rig.shading * across * np.array([1, 0, -1]))

    def _code(self, light, camera):
        coded = srgb(light)
        return coded ** np.float32(self.rig.tone) if camera == 1 and self.rig.tone != 1 else coded

    def _noisy(self, coded, rng):
        return coded + rng.standard_normal(coded.shape, dtype=np.float32) * np.float32(self.rig.noise_levels / 255)


class World:
    """A painted sheet that fills the view, and a disc before it, as functions of time."""

    def __init__(self, session, seed, still=False):
        rng = np.random.default_rng([session.seed, 5, seed])
        width, height = session.rig.size
        self._center = np.array([(width - 1) / 2, (height - 1) / 2])
        self._sheet = paint(rng, width + 2 * SHEET_MARGIN_PX, height + 2 * SHEET_MARGIN_PX)
        self._still = still
        self._disc = np.dstack([paint(rng, 80, 80), np.zeros((80 * TEXELS_PER_PX,) * 2, np.float32)])
        alpha = np.zeros(self._disc.shape[:2], np.uint8)
        cv2.circle(alpha, (80, 80), 70, 255, -1, cv2.LINE_AA)
        self._disc[..., 3] = cv2.GaussianBlur(alpha, (0, 0), 1.0) / np.float32(255)
        self._disc[..., :3] *= self._disc[..., 3:]
        self._waves = [
            [(rng.uniform(*reach), rng.uniform(*hertz), rng.uniform(0, 2 * np.pi)) for reach, hertz in bands]
            for bands in (
                [((8, 22), (0.4, 0.9)), ((2, 6), (1.2, 2.0))],
                [((4, 12), (0.4, 0.9)), ((1, 4), (1.2, 2.0))],
                [((0.5, 1.5), (0.3, 0.8))],
                [((30, 60), (0.5, 1.0)), ((5, 10), (1.5, 2.0))],
                [((15, 30), (0.5, 1.0)), ((5, 10), (1.5, 2.0))],
            )
        ]

    def _wave(self, index, times):
        if self._still:
            return np.zeros_like(times)
        return sum(reach * np.sin(2 * np.pi * hertz * times + phase) for reach, hertz, phase in self._waves[index])

    def draw(self, rays, rows):
        """Return the (H, W, 3) linear light at places (H, W, 2) of the blurry camera, row by row at (H, 1) times."""
        angle = np.deg2rad(self._wave(2, rows))
        x = rays[..., 0] - self._center[0] - self._wave(0, rows)
        y = rays[..., 1] - self._center[1] - self._wave(1, rows)
        cosine, sine = np.cos(angle), np.sin(angle)
        light = sample(self._sheet, cosine * x + sine * y, cosine * y - sine * x, cv2.BORDER_REFLECT_101)
        if self._still:
            return light
        x = rays[..., 0] - self._center[0] - self._wave(3, rows)
        y = rays[..., 1] - self._center[1] - self._wave(4, rows)
        disc = sample(self._disc, x, y, cv2.BORDER_CONSTANT)
        return light * (1 - disc[..., 3:]) + disc[..., :3]


def paint(rng, width, height):
    """Return colored polygons over each other, (h, w, 3) linear light, at the texels of a sheet of so many pixels."""
    sheet = np.empty((height * TEXELS_PER_PX, width * TEXELS_PER_PX, 3), np.float32)
    sheet[:] = rng.uniform(0.1, 0.4, 3)
    for _ in range(width * height // 160):
        center = rng.uniform(0, 1, 2) * sheet.shape[1::-1]
        n = int(rng.integers(3, 7))
        angles = np.sort(rng.uniform(0, 2 * np.pi, n))
        corners = center + rng.uniform(6, 34) * np.column_stack([np.cos(angles), np.sin(angles)])
        color = rng.uniform(0.02, 0.85) * rng.uniform(0.15, 1.0, 3)
        cv2.fillPoly(sheet, [np.rint(corners * 16).astype(np.int32)], color.tolist(), cv2.LINE_8, 4)
    return cv2.GaussianBlur(sheet, (0, 0), 0.6 * TEXELS_PER_PX)


def sample(texture, x, y, border):
    """Return a texture at places given in pixels from its middle."""
    height, width = texture.shape[:2]
    at = ((x * TEXELS_PER_PX + (width - 1) / 2), (y * TEXELS_PER_PX + (height - 1) / 2))
    return cv2.remap(texture, *(one.astype(np.float32) for one in at), cv2.INTER_LINEAR, borderMode=border)


def similarity(degrees, scale, shift, size):
    """Return a turn about the middle of a frame, a scale and a shift, as (3, 3)."""
    center = (np.array(size) - 1) / 2
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, center + shift - turn @ center
    return matrix


def warp(homography, points):
    """Return (..., 2) points under a homography."""
    moved = points @ homography[:, :2].T + homography[:, 2]
    return moved[..., :2] / moved[..., 2:]


def undistort(points, k1, size):
    """Return where straight lines would have brought (..., 2) recorded pixels."""
    center = (np.array(size) - 1) / 2
    bent = (points - center) / size[0]
    straight = bent
    for _ in range(30):
        straight = bent / (1 + k1 * (straight**2).sum(axis=-1, keepdims=True))
    return straight * size[0] + center


def srgb(light):
    """Return the coded values of linear light (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1).astype(np.float32)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055).astype(np.float32)


def encode_video(path, frames, rate, rig):
    """Encode coded (H, W, 3) frames, 0..1, with chroma where the rig's encoder puts it."""
    is_hevc = rig.codec == "hevc10"
    deep = "10le" if is_hevc else ""
    options = {"crf": str(rig.crf), "preset": "ultrafast", "threads": "1"}
    if is_hevc:
        options["x265-params"] = "log-level=none:pools=none:frame-threads=1"
    if rig.states_chroma:
        options["chroma_sample_location"] = rig.chroma
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265" if is_hevc else "libx264", rate=rate, options=options)
        stream.width, stream.height = rig.size
        stream.pix_fmt = f"yuv420p{deep}"
        context = stream.codec_context
        context.thread_count = 1
        if rig.tagged:
            context.color_range = 2 if rig.full_range else 1
            context.colorspace = context.color_primaries = context.color_trc = MATRIX_CODES[rig.matrix]
        for index, coded in enumerate(frames):
            planes = to_planes(coded, rig, 10 if is_hevc else 8)
            picture = av.VideoFrame(*rig.size, f"yuv420p{deep}")
            for plane, values in zip(picture.planes, planes, strict=True):
                padded = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
                padded[:, : values.shape[1]] = values
                plane.update(padded)
            if rig.tagged:
                picture.color_range, picture.colorspace = context.color_range, MATRIX_CODES[rig.matrix]
            picture.pts, picture.time_base = index, 1 / Fraction(rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def to_planes(coded, rig, bits):
    """Return the luma and the two chroma planes of a coded image as whole levels."""
    kr, kb = LUMA_WEIGHTS[rig.matrix]
    red, green, blue = np.moveaxis(np.clip(coded, 0, 1), 2, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    halves = [subsample((blue - luma) / (2 - 2 * kb), rig.chroma), subsample((red - luma) / (2 - 2 * kr), rig.chroma)]
    step = 1 << (bits - 8)
    y_scale, y_zero, c_scale = (255 * step, 0, 255 * step) if rig.full_range else (219 * step, 16 * step, 224 * step)
    levels = [y_zero + y_scale * luma, *(128 * step + c_scale * half for half in halves)]
    kind = np.uint8 if bits == 8 else np.uint16
    return [np.clip(np.rint(one), 0, (256 * step) - 1).astype(kind) for one in levels]


def subsample(plane, chroma):
    """Return a plane of half the size, its samples where the siting puts them."""
    for axis, siting in zip((1, 0), SITINGS[chroma], strict=True):
        ahead = np.roll(plane, -1, axis)
        plane = 0.5 * (plane + ahead) if siting else 0.25 * np.roll(plane, 1, axis) + 0.5 * plane + 0.25 * ahead
        plane = plane[:, ::2] if axis else plane[::2]
    return plane


def control_of(rig):
    """Return the same rig without anything that may go wrong."""
    return replace(SecondRig(), size=rig.size, rates=rig.rates, drift_ppm=rig.drift_ppm, crf=rig.crf)


def describe(rig):
    """Return what differs from the rig without faults, in a line."""
    usual = asdict(SecondRig())
    changes = {key: value for key, value in asdict(rig).items() if value != usual[key]}
    return json.dumps(changes, default=str) if changes else "control"

"""Checks of a take: each is a function of both recordings and the rig, and returns its findings.

Every threshold has its reason beside it; docs/ingest.md lists them for users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CAMERAS, Camera, Rig
from rb2v.core.clock import MIN_FRAMES
from rb2v.core.frame_times import GAP_FRAMES, MAX_JITTER, MAX_REPEATED_SHARE, frame_jitter
from rb2v.io.config import list_rigs, read_rig
from rb2v.io.picture_track import MATRIX_NAMES
from rb2v.io.recording import Recording, count_missing

Level = Literal["ok", "info", "warn", "refuse"]

LEVELS: tuple[Level, ...] = ("ok", "info", "warn", "refuse")
"""From fine to useless."""

MAX_RATE_DIFFERENCE = 0.02
"""Relative; alignment reads nothing that is further from the rig's frame rate."""
MAX_LOST_SHARE = 0.05
"""Of a recording's frames; each lost sharp frame costs every sequence that it would be in."""
MAX_EXPOSURE_CHANGE = 0.01
"""Relative, within a take; telemetry rounds to less."""
MAX_GAIN_CHANGE = 0.02
"""Relative, within a take; steps of a white balance that is fixed are none at all."""
MAX_ISO_CHANGE = 0.05
"""Relative; a fixed ISO 100 is logged as 100 and 101."""
MAX_LACK_SECONDS = 1.0
"""By which the sharp recording may be shorter than the blurry one."""

_SAME_RATE = 5e-4  # between 29.97 and 30 lie 1e-3, and clocks are off by less than 1e-4
_WARN_RATE_DIFFERENCE = 0.002  # 29.97 for 30 is 0.1 %
_WARN_JITTER = 0.05  # of the usual step: frames are interpolated at even steps
_MAX_ZOOM_DIFFERENCE = 0.01  # relative; rounding of what cameras state leaves less, another setting far more
_STATED_SHUTTER = 1.01  # a shutter of 1/400 s is stated a little longer, too
_MAX_STEPS = 101  # a rig's frames_per_sequence is no larger
_PROFILE = {"PTCL": "color", "PTSH": "sharpness", "PTEV": "exposure compensation"}
"""Settings of the picture profile (Protune) that change what light becomes, with their names in the camera's menu."""
_OFF = ("", "OFF", "N", "NO", "NONE", "N/A")

Check = Callable[["TakeRecordings"], Iterator["Finding"]]


@dataclass(frozen=True)
class Finding:
    """What one check says of a take."""

    check: str
    level: Level
    message: str = ""
    """What is wrong."""
    camera: Camera | None = None
    """Whose recording it is; None for both."""
    expected: str = ""
    advice: str = ""
    """What to do about it."""

    def __str__(self) -> str:
        camera = f"{self.camera} camera: " if self.camera else ""
        expected = f"; expected {self.expected}" if self.expected else ""
        advice = f". {self.advice[:1].upper()}{self.advice[1:]}." if self.advice else ""
        return f"{camera}{self.message}{expected}{advice}"


@dataclass(frozen=True, eq=False)
class TakeRecordings:
    """Both recordings of a take, and the rig that they are to fit."""

    blurry: Recording
    sharp: Recording
    rig: Rig

    def recording(self, camera: Camera) -> Recording:
        """Return one camera's recording."""
        return self.blurry if camera == "blurry" else self.sharp

    def rig_fps(self, camera: Camera) -> float:
        """Return the frame rate that the rig states of a camera."""
        return self.rig.blurry_fps if camera == "blurry" else self.rig.sharp_fps

    def rig_model(self, camera: Camera) -> str:
        """Return the model that the rig states of a camera."""
        return self.rig.blurry_model if camera == "blurry" else self.rig.sharp_model

    def setting(self, camera: Camera, key: str) -> str | float | None:
        """Return a setting of a camera's telemetry, None where it is not stated; texts in upper case."""
        telemetry = self.recording(camera).telemetry
        value = None if telemetry is None else telemetry.settings.get(key)
        return value.strip().upper() if isinstance(value, str) else value


def swapped(blurry_fps: float, sharp_fps: float, rig: Rig) -> bool:
    """Return whether each frame rate is the other camera's."""
    if _is_near(rig.blurry_fps, rig.sharp_fps, MAX_RATE_DIFFERENCE):
        return False
    return _is_near(blurry_fps, rig.sharp_fps, MAX_RATE_DIFFERENCE) and _is_near(
        sharp_fps, rig.blurry_fps, MAX_RATE_DIFFERENCE
    )


def exposure_seconds(rig: Rig) -> float:
    """Return the exposure that the rig's synthetic blur stands for: its samples, each a step of the blur track long."""
    return rig.blur_samples / (rig.sharp_fps * rig.blur_steps_per_frame)


def check_take(recordings: TakeRecordings) -> list[Finding]:
    """Return what every check says of a take; a check that found nothing says ok, by one finding."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        findings = list(check(recordings))
        found += findings or [Finding(name, "ok")]
    return found


def worst(findings: list[Finding]) -> Level:
    """Return the gravest level of findings, ok for none."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")


def _is_near(value: float, target: float, share: float) -> bool:
    return abs(value / target - 1) <= share


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _shutter(seconds: float) -> str:
    return f"1/{1 / seconds:.0f} s" if 0 < seconds < 0.5 else f"{seconds:.3g} s"


def _readable(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        for problem in take.recording(camera).problems:
            yield Finding("file", "refuse", problem, camera, advice="copy the file from the card again")


def _frame_rate(take: TakeRecordings) -> Iterator[Finding]:
    rates = {camera: take.recording(camera).frame_rate for camera in CAMERAS}
    if swapped(rates["blurry"], rates["sharp"], take.rig):
        message = (
            f"the cameras are swapped: blurry has {rates['blurry']:.4g} frames per second, sharp {rates['sharp']:.4g}"
        )
        expected = f"{take.rig.blurry_fps:g} and {take.rig.sharp_fps:g} as in the rig"
        yield Finding("frame-rate", "refuse", message, None, expected, "exchange the two recordings")
        return
    for camera, rate in rates.items():
        fps = take.rig_fps(camera)
        difference = abs(rate / fps - 1)
        if difference > _WARN_RATE_DIFFERENCE:
            level: Level = "refuse" if difference > MAX_RATE_DIFFERENCE else "warn"
            advice = f"set the camera's frame rate, or {_name_rig(take)}"
            if rate < (1 - MAX_RATE_DIFFERENCE) * fps:
                advice += f"; where the file plays slow motion, state capture_fps: {{{camera}: {fps:g}}} in take.yaml"
                advice += f", or pass --capture-fps-{camera} {fps:g} to 'rb2v ingest'"
            yield Finding(
                "frame-rate", level, f"{rate:.4g} frames per second", camera, f"{fps:.5g} as in the rig", advice
            )


def find_rigs(blurry_fps: float, sharp_fps: float, shutter_seconds: float | None = None) -> list[str]:
    """Return the names of the rigs in ``capture_configs`` that fit two frame rates, and the blurry camera's shutter.

    Parameters
    ----------
    blurry_fps, sharp_fps : float
        Frames per second.
    shutter_seconds : float, optional
        Of the blurry camera; the nearest exposure comes first, and any fits where it is not known.
    """
    fitting = []
    for name, path in list_rigs().items():
        rig = read_rig(path)
        if _is_near(blurry_fps, rig.blurry_fps, _SAME_RATE) and _is_near(sharp_fps, rig.sharp_fps, _SAME_RATE):
            error = 0.0 if shutter_seconds is None else abs(shutter_seconds - exposure_seconds(rig)) * rig.fine_fps
            if error <= 1:
                fitting.append((error, name))
    return [name for _, name in sorted(fitting)]


def _name_rig(take: TakeRecordings) -> str:
    """Say which rigs fit a take's frame rates."""
    telemetry = take.blurry.telemetry
    stated = np.zeros(0) if telemetry is None else telemetry.shutter_seconds
    seconds = float(np.median(stated)) if len(stated) else 0.0
    names = find_rigs(take.blurry.frame_rate, take.sharp.frame_rate, seconds if seconds > 0 else None)
    return (
        f"name a rig that fits: {', '.join(names)}" if names else "write a rig with this one; 'rb2v rigs' lists others"
    )


def _steady_rate(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        recording = take.recording(camera)
        jitter = frame_jitter(recording.frame_times, recording.format.tick_seconds)
        if jitter > _WARN_JITTER:
            level: Level = "refuse" if jitter > MAX_JITTER else "warn"
            message = f"the frame rate varies: steps between frames differ by {_percent(jitter)}"
            advice = "use the camera's own file, not one that a program or a phone has written anew"
            yield Finding("steady-rate", level, message, camera, f"at most {_percent(_WARN_JITTER)}", advice)


def _dropped_frames(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        recording = take.recording(camera)
        n_missing = count_missing(recording)
        if n_missing:
            gaps = np.flatnonzero(np.diff(recording.frame_times) > GAP_FRAMES * recording.step_seconds)
            places = ", ".join(f"{recording.frame_times[index]:.2f}" for index in gaps[:5])
            more = ", ..." if len(gaps) > 5 else ""
            share = n_missing / (n_missing + recording.n_frames)
            yield Finding(
                "dropped-frames", "refuse" if share > MAX_LOST_SHARE else "warn",
                f"{n_missing} frames are missing ({_percent(share)}), after {places}{more} s", camera,
                f"none; at most {_percent(MAX_LOST_SHARE)}", "use a card that is fast enough, and a fresh battery",
            )  # fmt: skip


def _cuts(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        cuts = take.recording(camera).cuts
        if cuts:
            places = ", ".join(f"{cut:.2f}" for cut in cuts[:5]) + (", ..." if len(cuts) > 5 else "")
            message = f"parts were cut out after {places} s, and what is behind has wrong times"
            advice = "use the camera's own file; trim its ends alone, or make each part a take"
            yield Finding("cuts", "refuse", message, camera, "one recording", advice)


def _repeated_frames(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        recording = take.recording(camera)
        n_repeated = int(recording.repeated.sum())
        if n_repeated:
            share = n_repeated / recording.n_frames
            is_converted = share > MAX_REPEATED_SHARE
            level: Level = "refuse" if share > MAX_LOST_SHARE else "warn"
            message = f"{n_repeated} frames ({_percent(share)}) repeat the one before them"
            message += ", as where a file is converted to another frame rate" if is_converted else ""
            advice = "use the camera's own file, not one of a converter or a capture card"
            yield Finding(
                "repeated-frames", level, message, camera, f"none; at most {_percent(MAX_LOST_SHARE)}", advice
            )


def _interlaced(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        if take.recording(camera).format.is_interlaced:
            message = "frames are interlaced: where every other row was recorded later, edges are combs"
            advice = "record progressive frames (25p, not 50i)"
            yield Finding("interlaced", "warn", message, camera, "progressive frames", advice)


def _speed(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        recording = take.recording(camera)
        if recording.format.time_scale != 1:
            message = (
                f"the file plays {recording.format.nominal_fps:.4g} frames per second, which were recorded at "
                f"{recording.frame_rate:.4g}; its sound is not used"
            )
            yield Finding("speed", "info", message, camera)


def _sound(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        if take.recording(camera).is_silent:
            advice = "switch the microphone on; the offset has to come from gyros or from what moves"
            yield Finding("sound", "warn", "the sound track is silent", camera, "the sound of the scene", advice)


def _color(take: TakeRecordings) -> Iterator[Finding]:
    colors = {camera: take.recording(camera).format.color for camera in CAMERAS}
    for camera, color in colors.items():
        is_stated = {"matrix": color.matrix_stated, "range": color.range_stated}
        unstated = [name for name, known in is_stated.items() if not known]
        if unstated:
            message = f"the file states no color {' and no '.join(unstated)}; it is read as {color}"
            advice = "where that is wrong, state color_matrix and color_range in take.yaml"
            yield Finding("color", "info", message, camera, "", advice)
    for camera in CAMERAS:
        transfer = take.recording(camera).format.transfer
        if transfer:
            advice = "switch HDR and log profiles off; the levels are read as those of standard video"
            yield Finding(
                "color", "warn", f"its levels are coded as {transfer}", camera, "standard dynamic range", advice
            )
    if colors["blurry"].matrix != colors["sharp"].matrix:
        names = {camera: MATRIX_NAMES[color.matrix] for camera, color in colors.items()}
        message = f"color matrices differ: blurry {names['blurry']}, sharp {names['sharp']}"
        is_assumed = not all(color.matrix_stated for color in colors.values())
        advice = "state color_matrix in take.yaml where one is wrong; each file is read by its own"
        yield Finding("color", "warn" if is_assumed else "info", message, None, "the same", advice)


def _telemetry(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        telemetry = take.recording(camera).telemetry
        if telemetry is None:
            message = "there is no telemetry, so shutter, stabilization and white balance cannot be checked"
            advice = "copy the camera's own file; editors leave the telemetry out"
            yield Finding("telemetry", "warn", message, camera, "the camera's GPMF track", advice)
            continue
        for problem in telemetry.problems:
            yield Finding(
                "telemetry", "warn", f"the telemetry is damaged: {problem}", camera,
                advice="copy the file from the card again",
            )  # fmt: skip


def _stabilization(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        switch = take.setting(camera, "EISE")
        modes = [str(value) for key in ("EISA", "HSGT") if (value := take.setting(camera, key)) is not None]
        named = next((mode for mode in modes if mode not in _OFF), None)
        # The mode stays stated while the switch is off.
        if switch == "Y" or (switch is None and named is not None):
            message = f"stabilization is on ({named or 'EISE'}), which moves and warps every frame differently"
            advice = "switch HyperSmooth off; these frames cannot be mended"
            yield Finding("stabilization", "refuse", message, camera, "off", advice)


def _field_of_view(take: TakeRecordings) -> Iterator[Finding]:
    views = {camera: take.setting(camera, "VFOV") for camera in CAMERAS}
    if None not in views.values() and views["blurry"] != views["sharp"]:
        message = f"the fields of view differ: blurry {views['blurry']}, sharp {views['sharp']}"
        advice = "set both cameras to the same lens; no homography maps one onto the other"
        yield Finding("field-of-view", "refuse", message, None, "the same", advice)
        return
    angles = [take.setting(camera, "ZFOV") for camera in CAMERAS]
    blurry, sharp = (value if isinstance(value, float) else 0.0 for value in angles)
    if min(blurry, sharp) > 0 and not _is_near(blurry, sharp, _MAX_ZOOM_DIFFERENCE):
        message = f"the diagonal fields of view differ: blurry {blurry:.1f} degrees, sharp {sharp:.1f}"
        yield Finding("field-of-view", "warn", message, None, "the same", "set both cameras to the same zoom")


def _varies(samples: NDArray[np.float64]) -> float:
    """Return by how much of its median a series varies, from its 5th to its 95th percentile."""
    if len(samples) < 2:
        return 0.0
    low, middle, high = np.percentile(samples, (5, 50, 95))
    return float((high - low) / middle) if middle > 0 else 0.0


def _exposure(take: TakeRecordings) -> Iterator[Finding]:
    blur_step = exposure_seconds(take.rig) / take.rig.blur_samples
    for camera in CAMERAS:
        telemetry = take.recording(camera).telemetry
        shutter = np.zeros(0) if telemetry is None else telemetry.shutter_seconds
        change = _varies(shutter)
        is_auto = take.setting(camera, "EXPT") == "AUTO"
        how = "exposure is automatic" if is_auto else "the shutter varies"
        advice = "fix the shutter (Protune) and lock the exposure"
        if change > MAX_EXPOSURE_CHANGE:
            low, high = np.percentile(shutter, (5, 95))
            # Two ends of a blur that are not those of the window: more than one blur-track step is another window.
            level: Level = "refuse" if camera == "blurry" and high - low > blur_step else "warn"
            message = f"{how}: from {_shutter(low)} to {_shutter(high)} within the take"
            yield Finding("exposure", level, message, camera, "one shutter for the whole take", advice)
        elif is_auto:
            yield Finding("exposure", "warn", f"{how}, and stayed as it was in this take", camera, "fixed", advice)


def _shutter_time(take: TakeRecordings) -> Iterator[Finding]:
    wanted, fine_step = exposure_seconds(take.rig), 1 / take.rig.fine_fps
    for camera in CAMERAS:
        telemetry = take.recording(camera).telemetry
        if telemetry is None or not len(telemetry.shutter_seconds):
            continue
        seconds = float(np.median(telemetry.shutter_seconds))
        if seconds <= 0:
            message = f"the telemetry states a shutter of {seconds:.3g} s"
            yield Finding("shutter", "warn", message, camera, "more than 0", "copy the file from the card again")
        elif camera == "blurry":
            error = abs(seconds - wanted)
            if error > fine_step / 2:
                expected = f"{_shutter(wanted)}, give or take {1e3 * fine_step / 2:.1f} ms, as in the rig"
                yield Finding(
                    "shutter", "refuse" if error > fine_step else "warn",
                    f"shutter {_shutter(seconds)}", camera, expected, _rig_for(seconds, take.rig),
                )  # fmt: skip
        elif seconds > _STATED_SHUTTER * fine_step / 2:
            expected = f"{_shutter(fine_step / 2)} or less, half a step of the fine track"
            advice = "take the shortest shutter that the light allows"
            level: Level = "refuse" if seconds > _STATED_SHUTTER * fine_step else "warn"
            yield Finding("shutter", level, f"shutter {_shutter(seconds)}", camera, expected, advice)


def _rig_for(seconds: float, rig: Rig) -> str:
    """Say which rig a shutter would fit: as many fine frames as it spans, an odd number."""
    factor = rig.blur_factor
    n_steps = max(2, 2 * round((seconds * rig.fine_fps - 1 / factor) / 2))
    spanned_seconds = (n_steps + 1 / factor) / rig.fine_fps
    if (
        n_steps + 1 == rig.frames_per_sequence
        or n_steps >= _MAX_STEPS
        or abs(spanned_seconds - seconds) > 1 / rig.fine_fps
    ):
        return "set the shutter"
    return (
        f"set the shutter, or name a rig with frames_per_sequence: {n_steps + 1} and "
        f"blur_samples: {n_steps * factor + 1}"
    )


def _iso(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        telemetry = take.recording(camera).telemetry
        if telemetry is not None and (change := _varies(telemetry.iso)) > MAX_ISO_CHANGE:
            low, high = np.percentile(telemetry.iso, (5, 95))
            message = f"ISO varies from {low:.0f} to {high:.0f} within the take ({_percent(change)})"
            advice = "set the same ISO minimum and maximum"
            yield Finding("iso", "warn", message, camera, f"at most {_percent(MAX_ISO_CHANGE)}", advice)


def _white_balance(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        telemetry = take.recording(camera).telemetry
        is_auto = take.setting(camera, "PTWB") == "AUTO"
        changes = [0.0]
        if telemetry is not None:
            gains = telemetry.gains
            changes += (
                [_varies(gains[:, index]) for index in range(3)] if len(gains) else [_varies(telemetry.white_balance)]
            )
        change = max(changes)
        advice = "set a white balance in kelvin (Protune)"
        if change > MAX_GAIN_CHANGE:
            how = "white balance is automatic and" if is_auto else "white balance"
            message = f"{how} drifts by {_percent(change)} within the take"
            yield Finding("white-balance", "warn", message, camera, f"at most {_percent(MAX_GAIN_CHANGE)}", advice)
        elif is_auto:
            message = "white balance is automatic, and stayed as it was in this take"
            yield Finding("white-balance", "warn", message, camera, "fixed", advice)


def _picture_profile(take: TakeRecordings) -> Iterator[Finding]:
    for key, name in _PROFILE.items():
        blurry, sharp = (take.setting(camera, key) for camera in CAMERAS)
        if None in (blurry, sharp) or blurry == sharp:
            continue
        message = f"the picture profiles differ in {name} ({key}): blurry {blurry}, sharp {sharp}"
        advice = "set both cameras alike (Protune), or take two geometry captures or more, which tell the tone curve"
        yield Finding("picture-profile", "warn", message, None, "the same", advice)


def plain_model(model: str) -> str:
    """Return a camera's model without what is written in one place and not in another.

    Examples
    --------
    >>> plain_model("GoPro HERO8 Black") == plain_model("Hero8 Black")
    True
    """
    return model.upper().removeprefix("GOPRO").strip()


def _model(take: TakeRecordings) -> Iterator[Finding]:
    for camera in CAMERAS:
        telemetry = take.recording(camera).telemetry
        model, wanted = None if telemetry is None else telemetry.model, take.rig_model(camera)
        if model is not None and not fnmatchcase(plain_model(model), plain_model(wanted)):
            advice = "name the rig of these cameras"
            yield Finding("model", "warn", f"recorded by a {model}", camera, f"{wanted} as in the rig", advice)


def _size(take: TakeRecordings) -> Iterator[Finding]:
    blurry, sharp = ((take.recording(camera).width, take.recording(camera).height) for camera in CAMERAS)
    if blurry != sharp:
        message = f"frames are of different sizes: blurry {blurry[0]}x{blurry[1]}, sharp {sharp[0]}x{sharp[1]}"
        is_same_shape = _is_near(blurry[0] / blurry[1], sharp[0] / sharp[1], 0.01)
        tail = "" if is_same_shape else ", and of different shape, so that the crops of the sensor differ"
        yield Finding("size", "warn", message + tail, None, "the same", "set both cameras to one resolution")


def _range(take: TakeRecordings) -> Iterator[Finding]:
    ranges = {camera: take.recording(camera).full_range for camera in CAMERAS}
    if None not in ranges.values() and ranges["blurry"] != ranges["sharp"]:
        names = {True: "full", False: "limited"}
        message = f"levels differ: blurry {names[bool(ranges['blurry'])]} range, sharp {names[bool(ranges['sharp'])]}"
        advice = "use the files as the cameras wrote them; levels are read as each file states them"
        yield Finding("range", "warn", message, None, "full range, as GoPro cameras write it", advice)


def _duration(take: TakeRecordings) -> Iterator[Finding]:
    n_window = -(-(take.rig.frames_per_sequence - 1) // take.rig.upsampling) + 1
    n_least: dict[Camera, int] = {"blurry": MIN_FRAMES, "sharp": n_window}
    too_short = [camera for camera in CAMERAS if take.recording(camera).n_frames < n_least[camera]]
    for camera in too_short:
        message = f"holds {take.recording(camera).n_frames} frames"
        yield Finding("duration", "refuse", message, camera, f"at least {n_least[camera]}", "record longer takes")
    if too_short:
        return
    blurry, sharp = take.blurry.duration_seconds, take.sharp.duration_seconds
    if blurry - sharp > MAX_LACK_SECONDS:
        message = f"the sharp recording lasts {sharp:.1f} s, the blurry one {blurry:.1f} s"
        advice = "start the sharp camera first and stop it last; blurry frames outside of it are lost"
        level: Level = "refuse" if sharp < blurry / 2 else "warn"
        yield Finding("duration", level, message, None, "at least as long", advice)


def _read_out(take: TakeRecordings) -> Iterator[Finding]:
    blurry, sharp = (take.setting(camera, "SROT") for camera in CAMERAS)
    if isinstance(blurry, float) and isinstance(sharp, float) and abs(blurry - sharp) > 1 / take.rig.fine_fps / 10:
        message = f"the sensors are read out in {1e3 * blurry:.1f} ms (blurry) and {1e3 * sharp:.1f} ms (sharp)"
        yield Finding("read-out", "info", message, None, "", "consider 'rb2v align --rolling-shutter compensate'")


CHECKS: Mapping[str, Check] = {
    "file": _readable,
    "frame-rate": _frame_rate,
    "steady-rate": _steady_rate,
    "dropped-frames": _dropped_frames,
    "cuts": _cuts,
    "repeated-frames": _repeated_frames,
    "interlaced": _interlaced,
    "speed": _speed,
    "sound": _sound,
    "telemetry": _telemetry,
    "stabilization": _stabilization,
    "field-of-view": _field_of_view,
    "exposure": _exposure,
    "shutter": _shutter_time,
    "iso": _iso,
    "white-balance": _white_balance,
    "picture-profile": _picture_profile,
    "model": _model,
    "size": _size,
    "range": _range,
    "color": _color,
    "duration": _duration,
    "read-out": _read_out,
}
"""In the order in which they are shown."""

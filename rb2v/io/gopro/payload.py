"""One piece of GPMF: what a camera states of itself in a second, or in the index of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rb2v.io.gopro.elements import Element, Walk

SETTINGS = (
    *("DZOM", "DZST", "EISA", "EISE", "EXPT", "HSGT", "PIMN", "PIMX", "PRTN", "PTCL", "PTEV"),
    *("PTSH", "PTWB", "RATE", "SROT", "VFOV", "ZFOV"),
)
"""The settings that are kept; others, such as serial numbers, are nobody's business."""

MILLISECONDS = {"SROT"}
N_AXES = {"GYRO": 3, "SHUT": 1, "ISOE": 1, "ISOG": 1, "WBAL": 1, "WRGB": 3}
"""Numbers of a sample, by the key of its stream."""
ISO_OF_UNIT_GAIN = 100.0  # a gain of 1 is ISO 100
MAX_PROBLEMS = 20  # that a person is told; what follows is of the same kind


@dataclass(frozen=True, eq=False)
class Payload:
    """What one piece of GPMF states, without times."""

    model: str | None
    samples: Mapping[str, NDArray[np.float64]]
    """By key, (n, axes), in their units; of the first device that states them."""
    stamps_seconds: Mapping[str, float]
    """By key, when the first sample arrived on the camera's clock; only of streams that state it."""
    settings: Mapping[str, str | float]
    problems: tuple[str, ...] = ()
    """What is damaged."""
    totals: Mapping[str, int] = field(default_factory=dict)
    """By key, how many samples the camera has written until the end of this piece; only of streams that state it."""

    @property
    def gyro(self) -> NDArray[np.float64]:
        """(n, 3) in rad/s."""
        return self.samples.get("GYRO", np.zeros((0, 3)))

    @property
    def shutter_seconds(self) -> NDArray[np.float64]:
        """(m,)."""
        return self.samples.get("SHUT", np.zeros((0, 1)))[:, 0]

    @property
    def iso(self) -> NDArray[np.float64]:
        """(k,)."""
        if "ISOE" not in self.samples and "ISOG" in self.samples:
            return ISO_OF_UNIT_GAIN * self.samples["ISOG"][:, 0]
        return self.samples.get("ISOE", np.zeros((0, 1)))[:, 0]

    @property
    def white_balance(self) -> NDArray[np.float64]:
        """(l,) in kelvin."""
        return self.samples.get("WBAL", np.zeros((0, 1)))[:, 0]

    @property
    def gains(self) -> NDArray[np.float64]:
        """(l, 3)."""
        return self.samples.get("WRGB", np.zeros((0, 3)))


def parse_payload(data: bytes) -> Payload:
    """Read what one piece of GPMF states of the camera, its rotation, its exposure and its white balance.

    Parameters
    ----------
    data : bytes
        Any bytes. What is whole is read, and what is damaged stands in ``problems``.
    """
    reading = _Reading()
    walk = Walk(data)
    for element in walk:
        reading.take(element)
    return Payload(
        model=reading.model or (reading.name if reading.name != "Global Settings" else None),
        samples={key: np.concatenate(blocks) for key, blocks in reading.samples.items()},
        stamps_seconds=reading.stamps_seconds,
        settings=reading.settings,
        problems=tuple([*walk.problems, *reading.problems][:MAX_PROBLEMS]),
        totals=reading.totals,
    )


class _Reading:
    """What has been read of a payload so far."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.model: str | None = None
        self.samples: dict[str, list[NDArray[np.float64]]] = {}
        self.stamps_seconds: dict[str, float] = {}
        self.totals: dict[str, int] = {}
        self.settings: dict[str, str | float] = {}
        self.problems: list[str] = []
        self._device: bytes | None = None
        self._device_of: dict[str, bytes | None] = {}
        self._scale = np.ones(1)
        self._stamp_seconds: float | None = None
        self._n_so_far: int | None = None

    def take(self, element: Element) -> None:
        """Take note of an element; one of another key says nothing that is kept."""
        if (take := _TAKES.get(element.key.decode("ascii"))) is not None:
            take(self, element)

    def begin_stream(self, _: Element) -> None:
        self._scale, self._stamp_seconds, self._n_so_far = np.ones(1), None, None

    def begin_device(self, _: Element) -> None:
        self._device = None

    def take_device(self, element: Element) -> None:
        self._device = element.content

    def take_scale(self, element: Element) -> None:
        self._scale = element.numbers().ravel()

    def take_total(self, element: Element) -> None:
        total = element.scalar()
        self._n_so_far = int(total) if isinstance(total, float) else None

    def take_stamp(self, element: Element) -> None:
        stamp = element.scalar()
        self._stamp_seconds = stamp / 1e6 if isinstance(stamp, float) else None

    def take_name(self, element: Element) -> None:
        self.name = self.name or element.text()

    def take_model(self, element: Element) -> None:
        self.model = self.model or element.text()

    def take_setting(self, element: Element) -> None:
        key = element.key.decode("ascii")
        if (value := _setting(element)) is not None:
            self.settings[key] = value / 1000 if key in MILLISECONDS and isinstance(value, float) else value

    def take_samples(self, element: Element) -> None:
        key = element.key.decode("ascii")
        if not element.content:
            return
        if self._device_of.setdefault(key, self._device) != self._device:
            return  # a second device, such as a gimbal, has sensors and a rate of its own
        rows = _scaled(element.numbers(), self._scale, N_AXES[key])
        if len(rows) == 0:
            self.problems.append(f"{key} holds no numbers that make sense")
        if key not in self.samples and self._stamp_seconds is not None:
            self.stamps_seconds[key] = self._stamp_seconds
        if key not in self.samples and self._n_so_far is not None:
            self.totals[key] = self._n_so_far
        self.samples.setdefault(key, []).append(rows)


_TAKES: Mapping[str, Callable[[_Reading, Element], None]] = {
    "DEVC": _Reading.begin_device,
    "STRM": _Reading.begin_stream,
    "DVID": _Reading.take_device,
    "DVNM": _Reading.take_name,
    "MINF": _Reading.take_model,
    "SCAL": _Reading.take_scale,
    "TSMP": _Reading.take_total,
    "STMP": _Reading.take_stamp,
    **dict.fromkeys(SETTINGS, _Reading.take_setting),
    **dict.fromkeys(N_AXES, _Reading.take_samples),
}
"""What is done with an element, by its key."""


def _setting(element: Element) -> str | float | None:
    """Return a setting; one that is stated for every image, as the HERO7 does its read-out, by its median."""
    value = element.scalar()
    numbers = element.numbers()
    if value is None and element.key.decode("ascii") in MILLISECONDS and numbers.size and np.isfinite(numbers).all():
        return float(np.median(numbers))
    return value


def _scaled(values: NDArray[np.float64], scale: NDArray[np.float64], n_axes: int) -> NDArray[np.float64]:
    """Return (n, n_axes) values in their unit, or none where values or scale make no sense."""
    if values.shape[1] != n_axes or len(scale) not in (1, n_axes) or not np.all(np.abs(scale) > 0):
        return np.zeros((0, n_axes))
    with np.errstate(all="ignore"):
        return np.asarray(values / scale, dtype=np.float64)

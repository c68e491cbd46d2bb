"""The plan of an ingest: which recordings of two cards are one take, and whether it is good enough."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rb2v.artifacts import CAMERAS, Camera, FormatOverride, Rig
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.config import find_rig, read_raw_directory, read_rig
from rb2v.io.recording import Recording, read_recording
from rb2v.progress import Count
from rb2v.stages.doctor import Diagnosis, TakeRecordings, check_take, describe_recording, swapped
from rb2v.stages.ingest.cards import CardRecording, find_recordings, printable
from rb2v.stages.ingest.config import IngestConfig
from rb2v.stages.ingest.pairing import Span, pair_recordings
from rb2v.stages.ingest.records import identity_of, read_records
from rb2v.stages.ingest.rotation import MIN_AGREEMENT, agreement, pair_by_rotation

State = Literal["new", "present", "refused"]

_DAY_SECONDS = 86_400.0  # timecodes begin again at midnight
_MAX_NAME_LETTERS = 100  # file systems allow 255, from which prefixes and suffixes go


@dataclass(frozen=True, eq=False)
class PlannedTake:
    """Two recordings that are one take."""

    name: str
    blurry: CardRecording
    sharp: CardRecording
    state: State
    evidence: str
    """Why the two belong together."""
    diagnosis: Diagnosis
    identities: Mapping[Camera, list[str | int]]
    """What tells either recording from any other."""

    def recording(self, camera: Camera) -> CardRecording:
        """Return one camera's recording."""
        return self.blurry if camera == "blurry" else self.sharp


@dataclass(frozen=True)
class Leftover:
    """A recording that is in no take."""

    camera: Camera
    recording: CardRecording
    reason: str
    is_readable: bool = True
    """Whether its files make up a recording at all; it has no partner otherwise."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be made of two cards."""

    root: Path
    rig: Rig
    rig_name: str
    """As ``capture.yaml`` names it."""
    takes: tuple[PlannedTake, ...]
    leftovers: tuple[Leftover, ...]
    offset_seconds: float | None
    """How far the sharp camera's clock is ahead."""
    doubts: tuple[str, ...]
    """Why recordings are not paired that could be."""


_Read = dict[Camera, dict[CardRecording, Recording]]


def plan(
    card_blurry: Path,
    card_sharp: Path,
    out: Path,
    config: IngestConfig | None = None,
    *,
    executor: Executor | None = None,
    on_recording: Count | None = None,
) -> Plan:
    """Find, pair and check the recordings of two cards; nothing is written.

    Parameters
    ----------
    card_blurry, card_sharp : Path
        The cards, or folders with what was on them.
    out : Path
        The raw directory, which need not exist. What it holds of these recordings already stays as it is.
    config : IngestConfig, optional
        What is made of the recordings.
    executor : Executor, optional
        Where files are read; serial by default.
    on_recording : callable, optional
        Called with the number of recordings that are read and their total.

    Raises
    ------
    InputError
        If a card is missing, holds no recording, or is the other camera's, if cards and raw directory do not lie apart,
        or the raw directory is another rig's.
    """
    config = config or IngestConfig()
    rig_name, rig = _choose_rig(out, config.rig)
    cards: dict[Camera, Path] = {"blurry": card_blurry, "sharp": card_sharp}
    if card_blurry.resolve() == card_sharp.resolve():
        raise InputError(card_sharp, "is given for both cameras", expected="a card, or a folder, for each")
    for folder, other in ((card_sharp, card_blurry), (card_blurry, card_sharp), (out, card_blurry), (out, card_sharp)):
        if folder.resolve().is_relative_to(other.resolve()):
            raise InputError(folder, f"lies in {other}", expected="folders apart from each other")
    listed = [(camera, recording) for camera in CAMERAS for recording in find_recordings(cards[camera])]
    read: _Read = {"blurry": {}, "sharp": {}}
    leftovers: list[Leftover] = []
    examined = [(recording, FormatOverride(config.capture_fps_of(camera))) for camera, recording in listed]
    results = (executor or SerialExecutor()).map(_examine, examined)
    for n_done, ((camera, recording), result) in enumerate(zip(listed, results, strict=True), start=1):
        if isinstance(result, str):
            leftovers.append(Leftover(camera, recording, result, is_readable=False))
        else:
            read[camera][recording] = result
        if on_recording is not None:
            on_recording(n_done, len(listed))
    _check_cards(cards, read, rig)
    takes, taken = _takes_present(read, dict(read_records(out)), rig)
    fresh: _Read = {
        camera: {recording: stated for recording, stated in read[camera].items() if (camera, recording) not in taken}
        for camera in CAMERAS
    }
    names = {take.name for take in takes} | {path.name for path in (out / "takes").glob("*")}
    present = [(read["blurry"][take.blurry], read["sharp"][take.sharp]) for take in takes]
    paired, offset_seconds, doubts = _pair(fresh, present, config.clock_offset_seconds)
    for blurry, sharp, evidence in paired:
        name = _take_name(blurry, names)
        names.add(name)
        take = _make_take(name, blurry, sharp, read, rig, "new", evidence)
        is_refused = take.diagnosis.level == "refuse" and not config.keep_refused
        takes.append(replace(take, state="refused") if is_refused else take)
    reason = "; ".join(doubts) or "no recording of the other card began with it and lasts about as long"
    in_pair = {(camera, pair[side]) for pair in paired for side, camera in enumerate(CAMERAS)}
    leftovers += [
        Leftover(camera, recording, reason if _states_its_time(stated) else "it does not state when it began")
        for camera in CAMERAS
        for recording, stated in fresh[camera].items()
        if (camera, recording) not in in_pair
    ]
    takes.sort(key=lambda take: take.name)
    return Plan(out, rig, rig_name, tuple(takes), tuple(leftovers), offset_seconds, doubts)


def _choose_rig(out: Path, name: str | None) -> tuple[str, Rig]:
    capture = out / "capture.yaml"
    if out.exists() and not out.is_dir():
        raise InputError(out, "is a file", expected="a folder to write to")
    if not capture.is_file():
        # Captures may have been laid down first.
        if out.is_dir() and any(child.name[0] != "." and child.name != "calibration" for child in out.iterdir()):
            raise InputError(out, "is not empty and is not a raw directory", expected="a new or empty folder")
        path = find_rig(name or "gopro_hero8")
        is_path = path == Path(name or "")
        return (str(path.resolve()) if is_path else name or "gopro_hero8"), read_rig(path)
    rig = read_raw_directory(out).rig
    if name is not None and read_rig(find_rig(name)) != rig:
        raise InputError(capture, f"names the rig {rig.name}, not {name}", "rig", "takes of one rig in one folder")
    return rig.name, rig


def _examine(given: tuple[CardRecording, FormatOverride]) -> Recording | str:
    """Return what a recording's files state, or why they cannot be used."""
    recording, override = given
    if recording.problem is not None:
        return recording.problem
    try:
        return read_recording(recording.paths, override)
    except InputError as error:
        return f"{printable(Path(error.source).name)}: {error.problem}"


def _check_cards(cards: Mapping[Camera, Path], read: _Read, rig: Rig) -> None:
    """Check that each card is the camera's whose it is said to be."""
    if not all(read.values()):
        return
    rates = {camera: float(np.median([found.frame_rate for found in read[camera].values()])) for camera in CAMERAS}
    if swapped(rates["blurry"], rates["sharp"], rig):
        raise InputError(
            cards["blurry"],
            f"is the sharp camera's card, and {cards['sharp']} the blurry camera's: their recordings have "
            f"{rates['blurry']:.4g} and {rates['sharp']:.4g} frames per second",
            expected=f"the card with {rig.blurry_fps:g} frames per second first",
        )


def _takes_present(
    read: _Read, records: Mapping[str, Mapping[str, Any]], rig: Rig
) -> tuple[list[PlannedTake], set[tuple[Camera, CardRecording]]]:
    """Return the takes of these cards that are in the raw directory, and the recordings that are in one."""
    take_of = {(camera, *record[camera]["identity"]): name for name, record in records.items() for camera in CAMERAS}
    in_take: dict[str, dict[Camera, CardRecording]] = {}
    taken: set[tuple[Camera, CardRecording]] = set()
    for camera in CAMERAS:
        for recording, stated in read[camera].items():
            name = take_of.get((camera, *identity_of(recording, stated)))
            if name is not None:
                in_take.setdefault(name, {})[camera] = recording
                taken.add((camera, recording))
    takes = [
        _make_take(name, found["blurry"], found["sharp"], read, rig, "present", str(records[name]["evidence"]))
        for name, found in in_take.items()
        if len(found) == len(CAMERAS)
    ]
    return takes, taken


def _make_take(
    name: str, blurry: CardRecording, sharp: CardRecording, read: _Read, rig: Rig, state: State, evidence: str
) -> PlannedTake:
    stated = {"blurry": read["blurry"][blurry], "sharp": read["sharp"][sharp]}
    facts: dict[Camera, dict[str, Any]] = {camera: describe_recording(stated[camera]) for camera in CAMERAS}
    findings = tuple(check_take(TakeRecordings(stated["blurry"], stated["sharp"], rig)))
    identities: dict[Camera, list[str | int]] = {
        "blurry": identity_of(blurry, stated["blurry"]),
        "sharp": identity_of(sharp, stated["sharp"]),
    }
    return PlannedTake(name, blurry, sharp, state, evidence, Diagnosis(name, findings, facts), identities)


def _pair(
    fresh: _Read, present: Sequence[tuple[Recording, Recording]], offset_seconds: float | None
) -> tuple[list[tuple[CardRecording, CardRecording, str]], float | None, tuple[str, ...]]:
    """Return pairs with their evidence, how far the sharp clock is ahead, and why others are not paired.

    Takes that are present tell how far it usually is.
    """
    recordings = {camera: list(fresh[camera].items()) for camera in CAMERAS}
    stated = {camera: [found for _, found in recordings[camera]] for camera in CAMERAS}
    clock = "creation times" if all(_have_distinct_times(found) for found in stated.values()) else "timecodes"
    spans = {camera: _spans(stated[camera], clock) for camera in CAMERAS}
    usual = [
        sharp.start_seconds - blurry.start_seconds
        for blurry, sharp in zip(*(_spans([pair[side] for pair in present], clock) for side in (0, 1)), strict=True)
        if sharp.start_seconds is not None and blurry.start_seconds is not None
    ]
    pairing = pair_recordings(
        spans["blurry"],
        spans["sharp"],
        offset_seconds=offset_seconds,
        usual_offset_seconds=float(np.median(usual)) if usual else None,
    )
    is_only = all(len(found) == 1 for found in stated.values())
    pairs = []
    for blurry, sharp in pairing.pairs:
        parts = ["the only new recordings of the cards"] if is_only else []
        starts = spans["blurry"][blurry].start_seconds, spans["sharp"][sharp].start_seconds
        if starts[0] is not None and starts[1] is not None and pairing.offset_seconds is not None:
            apart = starts[1] - starts[0] - pairing.offset_seconds
            shown = f"{_tenths(apart)} s apart; the clocks differ by {_tenths(pairing.offset_seconds)} s"
            parts.append(f"{clock} {shown}")
        if agreement(stated["blurry"][blurry], stated["sharp"][sharp]) >= MIN_AGREEMENT:
            parts.append("turned alike")
        pairs.append((blurry, sharp, parts))
    doubts = pairing.doubts
    if doubts:
        left = {
            camera: sorted(set(range(len(stated[camera]))) - {pair[side] for pair in pairing.pairs})
            for side, camera in enumerate(CAMERAS)
        }
        told = pair_by_rotation(*([stated[camera][index] for index in left[camera]] for camera in CAMERAS))
        pairs += [(left["blurry"][i], left["sharp"][j], ["turned alike, and unlike all others"]) for i, j in told]
        # What has no partner now has none on its card.
        doubts = () if told and len(told) == min(len(found) for found in left.values()) else doubts
    described = []
    for blurry, sharp, parts in pairs:
        lengths = (spans[camera][i].duration_seconds for camera, i in zip(CAMERAS, (blurry, sharp), strict=True))
        parts.append("{:.1f} s and {:.1f} s long".format(*lengths))
        described.append((recordings["blurry"][blurry][0], recordings["sharp"][sharp][0], ", ".join(parts)))
    return described, pairing.offset_seconds, doubts


def _states_its_time(recording: Recording) -> bool:
    return recording.created is not None or recording.timecode_seconds is not None


def _have_distinct_times(recordings: Sequence[Recording]) -> bool:
    """Return whether the creation times of a card's recordings tell them apart; a few may lack theirs."""
    created = [recording.created for recording in recordings if recording.created is not None]
    # A program that copied a card may have stamped all files with one time.
    is_varied = len(created) < 2 or len(set(created)) > len(created) // 2
    return is_varied and 2 * len(created) >= len(recordings)


def _spans(recordings: Sequence[Recording], clock: str) -> list[Span]:
    """Return when recordings began by one of their clocks; timecodes start anew at midnight."""
    spans = []
    before, day_seconds = 0.0, 0.0
    for recording in recordings:
        seconds = recording.timecode_seconds
        if clock == "creation times":
            seconds = None if recording.created is None else recording.created.timestamp()
        elif seconds is not None:
            if seconds < before - _DAY_SECONDS / 2:
                day_seconds += _DAY_SECONDS
            before = seconds
            seconds += day_seconds
        spans.append(Span(seconds, recording.duration_seconds))
    return spans


def _tenths(seconds: float) -> str:
    return f"{round(seconds, 1) + 0.0:+.1f}"  # without a sign to nothing


def _take_name(recording: CardRecording, names: set[str]) -> str:
    """Return a name for a take that is not taken: by the camera's number, or the file's name."""
    text = recording.number or re.sub(r"[^A-Za-z0-9._-]+", "_", recording.name).strip("._-") or "recording"
    text = text[:_MAX_NAME_LETTERS]
    name, index = f"take_{text}", 2
    while name in names:
        name, index = f"take_{text}_{index}", index + 1
    return name

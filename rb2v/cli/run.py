"""The command that runs the whole pipeline."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from rb2v.choices import Category
from rb2v.cli.shared import FILES, METHOD, Device, Workers, echo, echo_error, files, make_command
from rb2v.errors import InputError, Rb2vError

app, command = make_command("run", "rb2v run --raw-dir session/raw --out session")

_STATE_NAME = "run.json"
_DIAGNOSES_NAME = "doctor.json"


@command
def run(
    out: Annotated[Path, files("Folder for everything that is made; a run that was stopped resumes there.")],
    raw_dir: Annotated[
        Path | None,
        typer.Option("--raw-dir", help="Raw directory: capture.yaml, calibration/, takes/.", rich_help_panel=FILES),
    ] = None,
    cards: Annotated[
        tuple[Path, Path] | None,
        files(
            "Memory cards of the blurry and of the sharp camera, or folders of their files, in place of --raw-dir.",
            metavar="BLURRY SHARP",
        ),
    ] = None,
    truth: Annotated[Path | None, files("Truth folder of what was simulated.")] = None,
    rig: Annotated[
        str | None,
        typer.Option(
            help="With --cards: name or path of the rig, see 'rb2v rigs'; gopro_hero8 by default.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    category: Annotated[
        Category | None, typer.Option(help="With --cards: category of all takes.", rich_help_panel=METHOD)
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="With --cards: who or what is filmed.", rich_help_panel=METHOD)
    ] = None,
    green_screen: Annotated[
        bool, typer.Option("--green-screen", help="With --cards: filmed before a green screen.", rich_help_panel=METHOD)
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of the order network's training; its own default if not given.", min=1, rich_help_panel=METHOD
        ),
    ] = None,
    device: Device = "auto",
    workers: Workers = None,
) -> None:
    """Turn recordings into shards, an order network and a report, by all commands in order.

    Each command is printed, so that it can be repeated alone with other options. Takes that cannot be used are named
    and left out, and the others are finished; the exit status is 2 then.
    """
    given = {"--rig": rig, "--category": category, "--subject": subject}
    from_cards = [text for name, value in given.items() if value is not None for text in (name, value)]
    from_cards += ["--green-screen"] if green_screen else []
    if (raw_dir is None) == (cards is None):
        raise Rb2vError("--raw-dir: either a raw directory or --cards is needed; expected one of them")
    if cards is None and from_cards:
        raise Rb2vError(f"{from_cards[0]}: take.yaml and capture.yaml state it; expected it with --cards")
    session = Session(out, out / "raw" if raw_dir is None else raw_dir)
    local = [] if workers is None else ["--workers", str(workers)]
    if cards is not None:
        ingest = ["ingest", *map(str, cards), "--out", str(session.raw), *from_cards, *local]
        session.steps.append(Step(ingest, may_reject=True))
    session.steps += [
        Step(["doctor", str(session.raw), "--json", str(out / _DIAGNOSES_NAME), *local], may_reject=True),
        Step(
            ["calibrate", "--raw-dir", str(session.raw), "--out", str(out / "calibration.json")],
            is_finished=session.has_calibrated,
        ),
        Step(
            [
                *("align", "--raw-dir", str(session.raw), "--calibration", str(out / "calibration.json")),
                *("--out", str(out / "aligned"), *local, "--device", device),
            ],
            added=session.choose_takes,
        ),
        Step(["build-shards", "--aligned", str(out / "aligned"), "--out", str(out / "shards"), *local]),
        Step(
            [
                *("train-hypercut", "--shards", str(out / "shards"), "--out", str(out / "hypercut")),
                *("--device", device, *([] if steps is None else ["--steps", str(steps)])),
            ],
            obstacle=session.lacks_training,
        ),
        Step(
            [
                *("benchmark", "--shards", str(out / "shards")),
                *("--aligned", str(out / "aligned"), "--calibration", str(out / "calibration.json")),
                *("--raw-dir", str(session.raw), "--out", str(out / "report"), *local),
                *([] if truth is None else ["--truth", str(truth)]),
            ],
            added=lambda: [] if session.lacks_training() else ["--run", str(out / "hypercut")],
        ),
    ]
    session.run()


@dataclass
class Step:
    """A command of the pipeline."""

    arguments: list[str]
    may_reject: bool = False
    """Continue with the other steps where it ends in an error; takes that it rejects are skipped."""
    is_finished: Callable[[], bool] | None = None
    """Whether an earlier run has done it, for a command that does not resume by itself."""
    added: Callable[[], Sequence[str]] = tuple
    """Arguments that the steps before decide."""
    obstacle: Callable[[], str] = str
    """Why it cannot be done by what the steps before made; empty where it can."""

    @property
    def name(self) -> str:
        """The command's name."""
        return self.arguments[0]


@dataclass
class Session:
    """A folder in which the commands of the pipeline work one after the other."""

    out: Path
    raw: Path
    steps: list[Step] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What was left out, and why."""

    def run(self) -> None:
        """Run every step, and name at the end what was left out.

        Raises
        ------
        Rb2vError
            If a step cannot be done, or takes were left out.
        """
        from rich.text import Text

        self.out.mkdir(parents=True, exist_ok=True)
        for number, step in enumerate(self.steps, start=1):
            arguments = [*step.arguments, *step.added()]
            _print_line(f"[{number}/{len(self.steps)}] rb2v {shlex.join(arguments)}")
            if obstacle := step.obstacle():
                _print_line(f"passed over: {obstacle}")
                continue
            if step.is_finished is not None and step.is_finished():
                _print_line("finished by an earlier run")
                continue
            self._perform(step, arguments)
            self._note(step)
        for problem in self.problems:
            echo_error(Text(f"left out: {problem}"), soft_wrap=True)
        if verdict := self._read_verdict():
            _print_line(verdict)
        _print_line(f"report: {self.out / 'report' / 'report.html'}")
        if self.problems:
            raise Rb2vError(f"{self.raw}: finished without what is named above; expected takes that can be used")

    def _perform(self, step: Step, arguments: list[str]) -> None:
        try:
            _invoke(arguments)
        except Rb2vError as error:
            if step.name == "align":
                self._align_others(step, error)
            elif step.may_reject and self._names_of_takes():
                self.problems.append(str(error))
            else:
                raise

    def _align_others(self, step: Step, error: Rb2vError) -> None:
        """Complete the alignment of the takes that were finished where others could not be aligned."""
        from rb2v.io.aligned import aligned_take_path

        usable = self._find_usable()
        finished = [name for name in usable if aligned_take_path(self.out / "aligned", name).is_file()]
        if not finished or len(finished) == len(usable):
            raise error
        self.problems.append(str(error))
        _invoke([*step.arguments, *(text for name in finished for text in ("--take", name))])

    def has_calibrated(self) -> bool:
        """Return whether an earlier run calibrated by the files that are there now."""
        path = self.out / "calibration.json"
        return path.is_file() and self._state().get("calibrated") == self._fingerprint(path)

    def choose_takes(self) -> list[str]:
        """Return the arguments that name the usable takes; none where all are.

        Raises
        ------
        InputError
            If none is.
        """
        usable = self._find_usable()
        if not usable:
            problem = "no take can be used, for what is named above"
            raise InputError(self.raw / "takes", problem, expected="a take that 'rb2v doctor' does not refuse")
        return [] if usable == self._names_of_takes() else [text for name in usable for text in ("--take", name)]

    def lacks_training(self) -> str:
        """Return why no order network can be trained; nothing where one can."""
        from rb2v.shards import read_manifest

        splits = read_manifest(self.out / "shards").splits
        if "train" in splits and splits["train"].samples:
            return ""
        return "no sample is for training; film another subject, or state split: train in a take.yaml"

    def _read_verdict(self) -> str:
        """Return how many takes are good, and how many frames of them were accepted; nothing where none is known."""
        from rb2v.io.store import read_alignment

        path = self.out / "aligned" / "alignment.csv"
        if not path.is_file():
            return ""
        frames = read_alignment(path)
        n_takes, n_accepted = len({frame.take for frame in frames}), sum(frame.accepted for frame in frames)
        counts = f"{n_accepted} of {len(frames)} blurry frames in {n_takes} {'take' if n_takes == 1 else 'takes'}"
        return f"{counts} are accepted; the report says which takes are good, and what to film next"

    def _find_usable(self) -> list[str]:
        """Return the names of the takes that doctor does not refuse."""
        document = json.loads((self.out / _DIAGNOSES_NAME).read_text())
        return [take["take"] for take in document["takes"] if take["level"] != "refuse"]

    def _names_of_takes(self) -> list[str]:
        folders = sorted((self.raw / "takes").glob("[!.]*"))
        return [folder.name for folder in folders if folder.is_dir()]

    def _note(self, step: Step) -> None:
        from rb2v.io.store import SCHEMA, write_json

        if step.name == "calibrate":
            fingerprint = self._fingerprint(self.out / "calibration.json")
            write_json(self.out / _STATE_NAME, {"schema": SCHEMA, "calibrated": fingerprint})

    def _state(self) -> dict[str, Any]:
        try:
            document = json.loads((self.out / _STATE_NAME).read_text())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def _fingerprint(self, calibration: Path) -> str:
        """Return a digest of the calibration, and of the names, sizes and times of all files that it is made from."""
        digest = hashlib.sha256(calibration.read_bytes())
        for path in sorted(path for path in self.raw.rglob("*") if path.is_file()):
            status = path.stat()
            digest.update(f"{path.relative_to(self.raw)}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def _print_line(text: str) -> None:
    from rich.text import Text

    echo(Text(text), soft_wrap=True)


def _invoke(arguments: list[str]) -> None:
    """Run a command of rb2v in this process."""
    from rb2v.cli import app as commands

    typer.main.get_command(commands).main(arguments, prog_name="rb2v", standalone_mode=False)

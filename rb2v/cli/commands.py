"""The commands by name, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter
    from typer._click.shell_completion import CompletionItem


@dataclass(frozen=True)
class Entry:
    """A command that is not imported yet."""

    module: str
    """The module of `rb2v.cli` whose ``app`` holds the command, or is a group of commands."""
    help: str
    """The first line of its help."""


COMMANDS: Mapping[str, Entry] = MappingProxyType(
    {
        "run": Entry("run", "Turn recordings into shards, an order network and a report, by all commands in order."),
        "simulate": Entry("simulate", "Simulate a recording session whose answer is known."),
        "simulate-shards": Entry(
            "simulate_shards",
            "Write a data set straight from simulated streets, without cameras, and the true motion apart from it.",
        ),
        "synthesize": Entry(
            "synthesize", "Make blurry frames and their sharp sequences from fast videos, without a rig."
        ),
        "ingest": Entry(
            "ingest", "Pair the recordings of two memory cards into takes, check them, and lay down a raw directory."
        ),
        "doctor": Entry("doctor", "Check settings, shutter, frame rates and telemetry of every take against the rig."),
        "rigs": Entry("rigs", "List the rigs that are known by name, and explain them."),
        "calibrate": Entry("calibrate", "Find lenses, mirror, homography, crop and color map from static captures."),
        "align": Entry(
            "align", "Find for every blurry frame the sharp frames that it integrated, and map their colors."
        ),
        "build-shards": Entry("build_shards", "Replace green screens, split by subject and write HDF5 shards."),
        "verify": Entry(
            "verify", "Check the files of a data set against its manifest, and name the samples that are lost."
        ),
        "inspect": Entry("inspect", "Count, plot and show what a data set holds."),
        "import": Entry("import_", "Turn a data set in another layout into shards."),
        "export": Entry("export", "Write a data set in the layout of another program."),
        "train-hypercut": Entry(
            "train_hypercut", "Train the order network, score it on the test split and label every sequence."
        ),
        "label-order": Entry("label_order", "Write the order of every sequence of a data set, and how sure it is."),
        "guidance": Entry(
            "guidance",
            "Write for every pixel of every sequence in which of four directions it moves, or that it is static.",
        ),
        "train-guidance": Entry(
            "train_guidance", "Train a network that predicts motion guidance from a blurry image, and score it."
        ),
        "train-blur2vid": Entry(
            "train_blur2vid",
            "Train a network that recovers seven sharp frames from one blurry image, and score it on the test split.",
        ),
        "deblur": Entry("deblur", "Recover seven sharp frames, a short video, from a blurry image."),
        "landmarks": Entry("landmarks", "Find the landmarks of faces and hands in images, videos or data sets."),
        "train-matting": Entry(
            "train_matting", "Train the network of the matting method 'background' on generated composites."
        ),
        "train-interpolator": Entry(
            "train_interpolator",
            "Train the network of the interpolator 'cdfi'; a stopped training resumes.",
        ),
        "benchmark": Entry(
            "benchmark", "Score a data set and a run, or train networks on it and compare them, and write a report."
        ),
        "cache": Entry(
            "cache",
            "List and clear the cache of frames, which trainings decode and shrink once for each data set and size.",
        ),
        "models": Entry("models", "List and fetch weights that others trained, or that the project ships."),
    }
)
"""The commands in the order of the pipeline; a test compares each line with the command's own."""


class _LazyCommands(MutableMapping[str, "Command"]):
    """The commands by name; a value is imported when it is asked for, and names alone import nothing."""

    def __init__(self) -> None:
        self._loaded: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._loaded:
            module = import_module(f"rb2v.cli.{COMMANDS[name].module}")
            command = typer.main.get_command(module.app)
            command.name = name
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(TyperGroup):
    """The group of all commands, which lists and completes them without importing one."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - as the base class has them
        super().__init__(**attributes)
        self.commands = _LazyCommands()

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names in the order of the pipeline."""
        return list(COMMANDS)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write each command's name and the first line of its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, or else the options, that begin with what was typed."""
        from typer._click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return found or super().shell_complete(ctx, incomplete)

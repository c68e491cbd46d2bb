"""The command that finds landmarks of faces and hands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import METHOD, echo, echo_error, files, make_command, show_progress
from rb2v.landmarks.config import LandmarkConfig

if TYPE_CHECKING:
    from rb2v.landmarks.stage import TargetCount

app, command = make_command("landmarks", "rb2v landmarks hand.mp4 --out hand.csv --drawn hand_drawn.mp4")

_MOST_NAMES = 5  # of clips without a face or hand: as many as fit a line


@command
@OptionsOf(
    LandmarkConfig,
    {METHOD: ("targets", "points", "max_instances", "min_score", "detect_every", "passes", "smooth")},
)
def landmarks(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="An image, a folder of images, a video, or a folder of shards.")
    ],
    out: Annotated[Path, files("The .csv file to write: source, frame, time, target, instance, point, x, y, score.")],
    given: Given,
    drawn: Annotated[
        Path | None,
        files("Where to draw the points: an .mp4 file, an image for an image, a folder for a folder of images."),
    ] = None,
    landmark_weights: Annotated[
        Path | None,
        files(
            "dlib's file of 68 points, in place of the face mesh; it needs the package dlib, and its license admits "
            "no commercial product."
        ),
    ] = None,
) -> None:
    """Find the landmarks of faces and hands in images, videos or data sets.

    The networks are MediaPipe's; 'rb2v models fetch landmarks' brings them.
    """
    from rb2v.landmarks import write_landmarks

    config = LandmarkConfig(**given)
    with show_progress("finding landmarks") as show:
        counts = write_landmarks(source, out, config, drawn=drawn, face_weights=landmark_weights, progress=show)
    for count in counts:
        _print_count(count)
    for path in filter(None, (out, drawn)):
        echo(str(path), soft_wrap=True)


def _print_count(count: TargetCount) -> None:
    several = f", more than one in {count.several}" if count.several else ""
    echo(f"{count.target}: found in {count.found} of {count.frames} frames{several}", soft_wrap=True)
    if count.missing and count.found:
        others = len(count.missing) - _MOST_NAMES
        ending = f" and {others} others" if others > 0 else ""
        echo_error(f"no {count.target} in {', '.join(count.missing[:_MOST_NAMES])}{ending}", soft_wrap=True)

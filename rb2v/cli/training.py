"""The head of the commands that train: processes, progress, and the scores in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rb2v.cli.shared import echo, show_progress
from rb2v.errors import InputError


def run_training(
    train: Callable[..., Path], metrics_path: Path, print_scores: Callable[[Mapping[str, Any]], None]
) -> None:
    """Train, print the scores, and print the path of the checkpoint.

    Of several processes all train, and the main one prints.

    Parameters
    ----------
    train : callable
        Given ``progress``, or nothing where nobody looks; returns the checkpoint.
    metrics_path : Path
        The JSON document of scores that it writes.
    print_scores : callable
        Given that document.

    Raises
    ------
    InputError
        If the document is not what the training writes.
    """
    from rb2v.io.store import read_json
    from rb2v.training.ranks import is_first_process

    if not is_first_process():
        train()
        return
    with show_progress("training") as show:
        checkpoint = train(progress=show)
    try:
        print_scores(read_json(metrics_path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(metrics_path, "is not what this command writes", str(error)) from error
    echo(str(checkpoint), soft_wrap=True)

"""The command that trains an order network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, FILES, METHOD, Command, Device, echo, make_app, show_progress
from rb2v.errors import InputError
from rb2v.hypercut.config import TrainHyperCutConfig, recommend

app = make_app()


@app.command(
    "train-hypercut",
    cls=Command,
    epilog="Example: rb2v train-hypercut --shards session/shards --out session/hypercut",
)
@OptionsOf(
    TrainHyperCutConfig,
    {
        METHOD: ("arch", "loss", "n_dimensions", "agreement_weight", "product_weight", "consistency_weight"),
        "Training": ("steps", "batch_size", "image_size", "lr"),
        EXECUTION: ("seed",),
    },
    former={"n_dimensions": "--dimensions"},
    recommended=("loss", "lr"),
)
def train_hypercut(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.", rich_help_panel=FILES)],
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoint, metrics and order labels.", rich_help_panel=FILES)
    ],
    given: Given,
    device: Device = "auto",
) -> None:
    """Train the order network, score it on the test split and label every sequence.

    What is not given is what is recommended for the network.
    """
    from rb2v.hypercut import train as stage
    from rb2v.io.store import read_json
    from rb2v.training.ranks import is_first_process

    config = recommend(**{"arch": TrainHyperCutConfig.arch, **given})
    if not is_first_process():
        stage.run(shards, out, config, device=device)
        return
    with show_progress("training") as show:
        checkpoint = stage.run(shards, out, config, device=device, progress=show)
    try:
        _print_order_scores(read_json(out / "metrics.json"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(out / "metrics.json", "is not what this command writes", str(error)) from error
    echo(str(checkpoint), soft_wrap=True)


def _print_order_scores(metrics: Mapping[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if metrics["test"] is None:
        echo("the test split is empty: nothing to score")
        return
    tested = metrics["test"]
    all_pairs = f"con@{len(tested['hit_pairs'])}"
    headers = {
        "hit": "hit",
        "con@2": "con@2",
        "con@2_outer": "outer\ncon@2",
        all_pairs: all_pairs,
        "labels_flipped": "back-\nward",
        "contrast_reversed": "nega-\ntive",
        "contrast_scaled": "pale",
        "brightness_shifted": "brigh-\nter",
    }
    table = Table(
        title=f"order on {metrics['test_sequences']} test sequences, %", box=SIMPLE_HEAD, padding=(0, 0, 0, 1)
    )
    table.add_column("scorer", no_wrap=True)
    for header in headers.values():
        table.add_column(header, justify="right", no_wrap=True)
    table.add_row("network", *(f"{100 * tested[name]:.1f}" for name in headers))
    intervals = tested["intervals"]
    if intervals["hit"] is not None:
        for label, end in (("  95 % from", 0), ("  95 % to", 1)):
            table.add_row(label, *(f"{100 * intervals[name][end]:.1f}" for name in headers))
    for scorer, scores in (metrics["controls"] or {}).items():
        table.add_row(scorer.replace("_", " "), *(f"{100 * scores[name]:.1f}" for name in headers))
    echo(table)
    echo(
        "hit and con: pairs that turn, and that agree; backward: labels that turn with\n"
        "the sequence; the rest: labels that stay in the negative, paler, brighter"
    )

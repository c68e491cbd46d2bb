"""The command that trains an order network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, METHOD, Device, echo, files, make_command
from rb2v.cli.training import run_training
from rb2v.hypercut.config import TrainHyperCutConfig, recommend

app, command = make_command("train-hypercut", "rb2v train-hypercut --shards session/shards --out session/hypercut")


@command
@OptionsOf(
    TrainHyperCutConfig,
    {
        METHOD: (
            *("arch", "loss", "n_dimensions", "window_px"),
            *("agreement_weight", "product_weight", "consistency_weight", "likelihood_weight"),
        ),
        "Training": ("steps", "batch_size", "image_size", "lr"),
        EXECUTION: ("seed",),
    },
    former={"n_dimensions": "--dimensions"},
    recommended=("loss", "lr"),
)
def train_hypercut(
    shards: Annotated[Path, files("Folder that 'rb2v build-shards' wrote.")],
    out: Annotated[Path, files("Folder for the checkpoint, metrics and order labels.")],
    given: Given,
    device: Device = "auto",
) -> None:
    """Train the order network, score it on the test split and label every sequence.

    What is not given is what is recommended for the network.
    """
    from rb2v.hypercut import train as stage

    config = recommend(**{"arch": TrainHyperCutConfig.arch, **given})
    train = partial(stage.run, shards, out, config, device=device)
    run_training(train, out / stage.METRICS_NAME, _print_order_scores)


def _print_order_scores(metrics: Mapping[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if metrics["test"] is None:
        echo("the test split is empty: nothing to score; another take or subject makes one")
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

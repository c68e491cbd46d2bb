"""The suite itself: train what is not trained yet, score it, write the results and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rb2v import __version__
from rb2v.benchmark import page
from rb2v.benchmark.motion_truth import read_motion
from rb2v.benchmark.order_suite import report
from rb2v.benchmark.order_suite.config import OrderSuiteConfig
from rb2v.benchmark.order_suite.figures import KEYS, RunResult, read_result
from rb2v.benchmark.order_suite.grid import (
    RUNS_NAME,
    Training,
    dimension_archs,
    dimension_cells,
    main_cells,
    plan,
)
from rb2v.benchmark.order_suite.points import map_points
from rb2v.benchmark.scores import to_document, write_scores
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.hypercut.checkpoint import CHECKPOINT_NAME
from rb2v.io.store import SCHEMA, output_folder, sha256_of, write_json, write_text
from rb2v.progress import Progress
from rb2v.shards import ShardReader, manifest_path
from rb2v.simulator.rig import TRUTH_NAME
from rb2v.stages.simulate_shards import MOTION_NAME

RESULTS_NAME = "results.json"
TABLE_NAME = "results.csv"
REPORT_NAME = "report.html"

_SHOWN_ARCHS = ("upstream", "motion")


def run(
    shards_dir: Path,
    out_dir: Path,
    config: OrderSuiteConfig,
    *,
    truth_dir: Path | None = None,
    device: str = "auto",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train every network from several seeds and compare them, beside trivial controls on the same data.

    Writes ``results.json``, ``results.csv`` and ``report.html``, the runs themselves into ``runs/<arch>-n<n>-s<seed>``,
    and how long they were trained into ``times``. A finished run is not trained again, and a stopped one goes on; times
    apart, the same data and settings give the same results, whatever the number of workers.

    Parameters
    ----------
    shards_dir : Path
        A data set with both splits.
    out_dir : Path
        Where everything is written: new, empty, or of a suite of the same data, steps and sizes, whose results are
        replaced and whose runs are kept.
    config : OrderSuiteConfig
        What is trained.
    truth_dir : Path, optional
        True motion, see `rb2v.benchmark.motion_truth.read_motion`.
    device : {"auto", "cpu", "cuda"}
        Where each run is trained.
    executor : Executor, optional
        Where the runs are trained; one after the other, here, by default. Each has one thread of the CPU.
    progress : callable, optional
        Called with the steps of the suite that are done, all of them, and what comes next.

    Returns
    -------
    Path
        The report, ``out_dir/report.html``.

    Raises
    ------
    InputError
        If the data set holds no sequence to train or to test on, the truth is not its own, or ``out_dir`` holds other
        things or is being written by another suite.
    ConfigMismatchError
        If ``out_dir``, or a run's folder in it, was made with other data or settings.
    """
    show = progress or (lambda done, total, label: None)
    test_reader = ShardReader(shards_dir, "test")
    if not len(test_reader):
        raise InputError(manifest_path(shards_dir), "holds no sequence to test on", "splits.test")
    motion = None if truth_dir is None else read_motion(truth_dir, test_reader)
    data_sha256 = sha256_of(manifest_path(shards_dir))
    truth_sha256 = None if truth_dir is None else sha256_of(_truth_path(truth_dir))
    with output_folder(out_dir, _common_settings(config, data_sha256)):
        cells = plan(config)
        n_steps = len(cells) + 1
        show(0, n_steps, "training")
        training = Training(shards_dir, out_dir, config, device)
        for done, name in enumerate((executor or SerialExecutor()).map(training, cells), start=1):
            show(done, n_steps, f"trained {name}")
        show(len(cells), n_steps, "scoring")
        results = {cell: read_result(out_dir, cell, motion) for cell in cells}
        main: dict[str, list[RunResult]] = {
            arch: [results[cell] for cell in main_cells(config, arch)] for arch in config.archs
        }
        by_dimension = {
            arch: {n: [results[cell] for cell in dimension_cells(config, arch, n)] for n in config.dimensions}
            for arch in dimension_archs(config)
        }
        sections = _report(out_dir, config, test_reader, motion, main, by_dimension)
        scores = [score for section in sections for score in section.scores]
        document = {
            "schema": SCHEMA,
            "version": __version__,
            "suite": report.SUITE,
            "rig": test_reader.manifest.rig,
            "inputs": ["shards", *(["truth"] if truth_dir is not None else [])],
            "data_sha256": data_sha256,
            "truth_sha256": truth_sha256,
            "config": dataclasses.asdict(config),
            "runs": [cell.name for cell in cells],
            "scores": [to_document(score) for score in scores],
        }
        n_takes = test_reader.table["take"].nunique()
        facts = {
            "Data set": f"rig {test_reader.manifest.rig}; {len(test_reader)} held-out sequences of {n_takes} takes",
            "Runs": f"{len(cells)}, at {config.image_size} px",
            "Held against": "the true motion and trivial controls" if motion is not None else "trivial controls",
            "rb2v": __version__,
        }
        write_json(out_dir / RESULTS_NAME, document)
        write_scores(out_dir / TABLE_NAME, scores)
        path = write_text(out_dir / REPORT_NAME, page.render(facts, (), sections))
    show(n_steps, n_steps, "done")
    return path


def _common_settings(config: OrderSuiteConfig, data_sha256: str) -> dict[str, Any]:
    """Return what all runs in a folder share: networks, seeds, dimensions and the truth may be added later."""
    return {
        "schema": SCHEMA,
        "stage": "order-suite",
        "image_size": config.image_size,
        "steps": config.steps,
        "steps_of": dict(config.steps_of),
        "n_dimensions": config.n_dimensions,
        "data_sha256": data_sha256,
    }


def _truth_path(truth_dir: Path) -> Path:
    path = truth_dir / MOTION_NAME
    return path if path.is_file() else truth_dir / TRUTH_NAME


def _report(
    out_dir: Path,
    config: OrderSuiteConfig,
    test_reader: ShardReader,
    motion: pd.DataFrame | None,
    main: Mapping[str, Sequence[RunResult]],
    by_dimension: Mapping[str, Mapping[int, Sequence[RunResult]]],
) -> list[page.Section]:
    rows = report.main_rows(main)
    keys = test_reader.table[[*KEYS, "category"]]
    sections = [report.report_networks(main, rows), report.report_categories(main, keys)]
    if by_dimension and config.dimensions:
        sections.append(report.report_dimensions(by_dimension))
    sections.append(report.report_seeds(main, rows))
    shown = [arch for arch in _SHOWN_ARCHS if arch in main] or list(main)[-1:]
    maps = {
        arch: map_points(
            out_dir / RUNS_NAME / main[arch][0].cell.name / CHECKPOINT_NAME,
            test_reader,
            config.shown_sequences,
            motion,
        )
        for arch in shown
    }
    return [*sections, report.report_points(maps)]


def read_main_table(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the main table, short enough for a terminal.

    Parameters
    ----------
    document : mapping
        What `run` wrote to ``results.json``.
    """
    values = {row["metric"]: row["value"] for row in document["scores"]}
    names = [metric.removesuffix(".hit.mean") for metric in values if metric.endswith(".hit.mean")]
    con = report.last_con([metric.split(".")[-2] for metric in values if metric.startswith(f"{names[0]}.con@")])
    columns = {
        "hit": "hit.mean",
        "con@2": "con@2.mean",
        con: f"{con}.mean",
        "spread": f"{con}.spread",
        "motion": "agreement.mean",
        "contrast": "contrast_reversed.mean",
    }
    shown = {title: ending for title, ending in columns.items() if f"{names[0]}.{ending}" in values}
    rows = [
        [
            name.replace(".", " ").replace("_", " "),
            *("" if (value := values.get(f"{name}.{ending}")) is None else f"{value:.1f}" for ending in shown.values()),
        ]
        for name in names
    ]
    if "random.agreement.mean" in values:
        ending = [f"{values['random.agreement.mean']:.1f}" if title == "motion" else "" for title in shown]
        rows.append(["random orders", *ending])
    return ["in %", *shown], rows

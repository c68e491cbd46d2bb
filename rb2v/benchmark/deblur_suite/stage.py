"""The suite itself: train what is not trained yet, score it, write the results and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rb2v import __version__
from rb2v.benchmark import page
from rb2v.benchmark.deblur_suite import pictures, report
from rb2v.benchmark.deblur_suite.config import BASELINE, METHODS, DeblurSuiteConfig
from rb2v.benchmark.deblur_suite.figures import Estimator, gain, over_seeds, read_run, read_seconds
from rb2v.benchmark.deblur_suite.grid import (
    RUNS_NAME,
    TOY_BACKBONE,
    TOY_NAME,
    TOY_SIZE_PX,
    Cell,
    OrderTraining,
    Training,
    alpha_cells,
    main_cells,
    order_folder,
    plan,
    toy_cells,
    training_config,
)
from rb2v.benchmark.scores import to_document, write_scores
from rb2v.blur2vid.checkpoint import CHECKPOINT_NAME
from rb2v.blur2vid.evaluate import TRIVIAL, check_measurable, read_sample
from rb2v.blur2vid.train import TrainBlur2VidConfig, make_dataset
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.hypercut.checkpoint import CHECKPOINT_NAME as ORDER_CHECKPOINT_NAME
from rb2v.hypercut.checkpoint import load_order_network
from rb2v.io.store import SCHEMA, output_folder, sha256_of, write_json, write_text
from rb2v.progress import Progress
from rb2v.shards import ShardReader, manifest_path
from rb2v.simulator.config import SequencesConfig
from rb2v.stages import simulate_shards
from rb2v.training.tensor_files import check_file

RESULTS_NAME = "results.json"
TABLE_NAME = "results.csv"
REPORT_NAME = "report.html"

_TRIVIAL_LABELS = {"blurry": "blurry image", "mean_frame": "mean of the true frames"}
_N_TOY_SHOWN = 3  # sequences, the ones that move most


def run(
    shards_dir: Path,
    out_dir: Path,
    config: DeblurSuiteConfig,
    *,
    order_run: Path | None = None,
    pictures_dir: Path | None = None,
    lpips: bool = False,
    device: str = "auto",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train every backbone by every method from several seeds and compare them, beside trivial estimates.

    Writes ``results.json``, ``results.csv`` and ``report.html``, the runs themselves into ``runs``, the toy's data set
    into ``toy``, and how long training took into ``times``. A finished run is not trained again, and a stopped one
    goes on; times apart, the same data and settings give the same results, whatever the number of workers.

    Parameters
    ----------
    shards_dir : Path
        A data set with both splits.
    out_dir : Path
        Where everything is written: new, empty, or of a suite of the same data, steps and sizes, whose results are
        replaced and whose runs are kept.
    config : DeblurSuiteConfig
        What is trained.
    order_run : Path, optional
        A trained order network; one is trained from the same data by default, if a method asks for it.
    pictures_dir : Path, optional
        Folder of blurry pictures to be shown with what the networks make of them.
    lpips : bool
        Whether to measure LPIPS too, whose weights have to be there.
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
        If the data set holds no sequence to train or to test on, or frames smaller than the crop or too small to be
        scored, LPIPS's weights are not there, the order network or a picture cannot be read, or ``out_dir`` holds other
        things or is being written by another suite.
    ConfigMismatchError
        If ``out_dir``, or a run's folder in it, was made with other data or settings.
    """
    show = progress or (lambda done, total, label: None)
    executor = executor or SerialExecutor()
    reader = ShardReader(shards_dir, "test")
    if not len(reader):
        raise InputError(manifest_path(shards_dir), "holds no sequence to test on", "splits.test")
    sides = [] if pictures_dir is None else pictures.list_pictures(pictures_dir)
    data_sha256 = sha256_of(manifest_path(shards_dir))
    order_sha256 = None if order_run is None else sha256_of(_order_path(order_run))
    _check_trainable(shards_dir, config, order_run, lpips)
    with output_folder(out_dir, _common_settings(config, data_sha256, order_sha256, lpips)):
        cells = plan(config)
        ordered = {cell.toy for cell in cells if training_config(cell, config).needs_order}
        toys = [toy for toy in (False, True) if toy in ordered and (toy or order_run is None)]
        n_steps = len(toys) + len(cells) + 1
        show(0, n_steps, "training")
        if config.toy_steps:
            sizes = {"train": config.toy_train, "test": config.toy_test, "size": TOY_SIZE_PX}
            toy_data = SequencesConfig(motion="blocks", **sizes)
            simulate_shards.run(out_dir / TOY_NAME, toy_data)
        order_training = OrderTraining(shards_dir, out_dir, config, device)
        done = 0
        for done, name in enumerate(executor.map(order_training, toys), start=1):
            show(done, n_steps, f"trained {name}")
        training = Training(shards_dir, out_dir, config, order_run or order_folder(out_dir), lpips, device)
        for done, name in enumerate(executor.map(training, cells), start=len(toys) + 1):
            show(done, n_steps, f"trained {name}")
        show(done, n_steps, "scoring")
        sections = _report(out_dir, config, reader, sides)
        scores = [score for section in sections for score in section.scores]
        document = {
            "schema": SCHEMA,
            "version": __version__,
            "suite": pictures.SUITE,
            "rig": reader.manifest.rig,
            "data_sha256": data_sha256,
            "order_sha256": order_sha256,
            "config": dataclasses.asdict(config),
            "runs": [cell.name for cell in cells],
            "scores": [to_document(score) for score in scores],
        }
        n_takes = reader.table["take"].nunique()
        size = "as they are" if config.image_size is None else f"shrunk to {config.image_size} px"
        facts = {
            "Data set": f"rig {reader.manifest.rig}; {len(reader)} held-out sequences of {n_takes} takes, {size}",
            "Runs": f"{len(cells)}, {config.steps} steps of {config.batch_size} crops of {config.crop_size} px",
            "Order": _say_order(order_run, toys),
            "rb2v": __version__,
        }
        write_json(out_dir / RESULTS_NAME, document)
        write_scores(out_dir / TABLE_NAME, scores)
        path = write_text(out_dir / REPORT_NAME, page.render(facts, (), sections))
    show(n_steps, n_steps, "done")
    return path


def _say_order(order_run: Path | None, trained: Sequence[bool]) -> str:
    if order_run is not None:
        return "a network that was given"
    return "its own network, trained on the same data" if trained else "no method asks for one"


def _check_trainable(shards_dir: Path, config: DeblurSuiteConfig, order_run: Path | None, lpips: bool) -> None:
    """Refuse before the first run what the last one would fail at."""
    check_measurable(ShardReader(shards_dir, "test"), config.image_size, lpips=lpips)
    sizes = TrainBlur2VidConfig(image_size=config.image_size, crop_size=config.crop_size)
    make_dataset(shards_dir, sizes, shards_dir)  # which refuses a crop that is larger than the frames
    if order_run is not None:
        load_order_network(order_run)


def _order_path(order_run: Path) -> Path:
    path = order_run / ORDER_CHECKPOINT_NAME if order_run.is_dir() else order_run
    check_file(path, "what 'rb2v train-hypercut' wrote")  # before a digest that might take hours
    return path


def _common_settings(
    config: DeblurSuiteConfig, data_sha256: str, order_sha256: str | None, lpips: bool
) -> dict[str, Any]:
    """Return what all runs in a folder share: backbones, methods, seeds and weights may be added later."""
    changing = ("backbones", "methods", "seeds", "alphas", "shown_sequences")
    shared = {name: value for name, value in dataclasses.asdict(config).items() if name not in changing}
    return {
        "schema": SCHEMA,
        "stage": "deblur-suite",
        **shared,
        "lpips": lpips,
        "data_sha256": data_sha256,
        "order_sha256": order_sha256,
    }


def _report(out_dir: Path, config: DeblurSuiteConfig, reader: ShardReader, sides: Sequence[Path]) -> list[page.Section]:
    tables: dict[tuple[str, str], list[pd.DataFrame]] = {}
    estimators: list[Estimator] = []
    for backbone in config.backbones:
        for method in config.methods:
            cells = main_cells(config, backbone, method)
            runs = tables[backbone, method] = [read_run(out_dir, cell) for cell in cells]
            seconds = read_seconds(out_dir, cells)
            label = METHODS[method].label
            estimators.append(over_seeds(f"{backbone}.{method}", backbone, label, runs, "network", seconds))
    # No network and no seed is in the trivial estimates: one run tells of them for all.
    first = [next(iter(tables.values()))[0]]
    estimators += [over_seeds(name, "", _TRIVIAL_LABELS[name], first, name) for name in TRIVIAL]
    gains = [
        report.Gain(backbone, method, *gain(runs, tables[backbone, BASELINE], report.BORDER))
        for (backbone, method), runs in tables.items()
        if method != BASELINE and (backbone, BASELINE) in tables
    ]
    sections = [report.report_methods(estimators, gains), report.report_frames(estimators)]
    if config.alphas:
        by_alpha = {
            alpha: over_seeds(cell.name, cell.backbone, f"{alpha:g}", [read_run(out_dir, cell)], "network")
            for alpha, cell in alpha_cells(config).items()
        }
        sections.append(report.report_alphas(by_alpha))
    if config.toy_steps:
        sections.append(_report_toy(out_dir, config))
    if config.shown_sequences:
        sections.append(report.report_pictures(_show_errors(out_dir, config, reader)))
    if sides:
        sections.append(report.report_real(*pictures.show_real(sides, _checkpoints(out_dir, config), _names(config))))
    return sections


def _checkpoint(out_dir: Path, cell: Cell) -> Path:
    return out_dir / RUNS_NAME / cell.name / CHECKPOINT_NAME


def _checkpoints(out_dir: Path, config: DeblurSuiteConfig) -> dict[str, Path]:
    """Return the first seed's checkpoint of every backbone and method, by label."""
    return {
        label: _checkpoint(out_dir, main_cells(config, *name.split("."))[0]) for label, name in _names(config).items()
    }


def _names(config: DeblurSuiteConfig) -> dict[str, str]:
    """Return what the scores call every backbone and method, by label."""
    return {
        (f"{backbone}: " if len(config.backbones) > 1 else "") + METHODS[method].label: f"{backbone}.{method}"
        for backbone in config.backbones
        for method in config.methods
    }


def _report_toy(out_dir: Path, config: DeblurSuiteConfig) -> page.Section:
    cells = toy_cells(config)
    estimators = [
        over_seeds(method, TOY_BACKBONE, METHODS[method].label, [read_run(out_dir, cell)], "network")
        for method, cell in cells.items()
    ]
    toy_reader = ShardReader(out_dir / TOY_NAME, "test")
    checkpoints = {METHODS[method].label: _checkpoint(out_dir, cell) for method, cell in cells.items()}
    galleries = []
    for index in pictures.liveliest(toy_reader, _N_TOY_SHOWN):
        blurry, sharp = read_sample(toy_reader, index, None)
        shown = pictures.show_sequences(blurry, sharp, pictures.estimate_all(checkpoints, blurry))
        galleries.append(page.Gallery("A held-out sequence.", tuple(shown), columns=1))
    return report.report_toy(estimators, galleries)


def _show_errors(out_dir: Path, config: DeblurSuiteConfig, reader: ShardReader) -> list[page.Gallery]:
    galleries = []
    for index in pictures.liveliest(reader, config.shown_sequences):
        blurry, sharp = read_sample(reader, index, config.image_size)
        estimates = pictures.estimate_all(_checkpoints(out_dir, config), blurry)
        take, frame = reader.table.iloc[index][["take", "blurry_index"]]
        strips = [*pictures.show_sequences(blurry, sharp, {}), *pictures.show_errors(sharp, estimates)]
        galleries.append(page.Gallery(f"{take}, blurry frame {frame}.", tuple(strips), columns=1))
    return galleries


def read_main_table(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the main table, short enough for a terminal.

    Parameters
    ----------
    document : mapping
        What `run` wrote to ``results.json``.
    """
    values = {row["metric"]: row["value"] for row in document["scores"]}
    names = [metric.removesuffix(".ppsnr_seq.mean") for metric in values if metric.endswith(".ppsnr_seq.mean")]
    columns = {"pPSNR": "ppsnr_seq", "border": report.BORDER, "direction": "direction_agreement", "motion": "amplitude"}
    rows = []
    for name in names:
        found = (values.get(f"{name}.{metric}.mean") for metric in columns.values())
        rows.append([name.replace(".", " ").replace("_", " "), *("" if one is None else f"{one:.2f}" for one in found)])
    return ["in dB", *columns], rows

"""The stage itself: read what was given, measure, write the results and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from rb2v import __version__
from rb2v.benchmark import alignment, calibration, data_set, page, takes
from rb2v.benchmark.config import BenchmarkConfig
from rb2v.benchmark.inputs import Inputs, read_inputs
from rb2v.benchmark.motion_truth import read_motion
from rb2v.benchmark.page import Section
from rb2v.benchmark.scores import summarize, to_document, write_scores
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.store import CONFIG_NAME, SCHEMA, write_json, write_text

RESULTS_NAME = "results.json"
TABLE_NAME = "results.csv"
REPORT_NAME = "report.html"


def run(
    shards_dir: Path,
    out_dir: Path,
    *,
    run_dir: Path | None = None,
    aligned_dir: Path | None = None,
    raw_dir: Path | None = None,
    calibration_path: Path | None = None,
    truth_dir: Path | None = None,
    compared_dirs: Mapping[str, Path] | None = None,
    weights: Path | None = None,
    interpolator_weights: Path | None = None,
    backgrounds_dir: Path | None = None,
    config: BenchmarkConfig | None = None,
    executor: Executor | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Path:
    """Measure a data set and what it was made from, and write ``results.json``, ``results.csv`` and ``report.html``.

    What is not given is not measured: its section is absent. The same inputs give the same bytes.

    Parameters
    ----------
    shards_dir : Path
        The data set.
    out_dir : Path
        Where the results are written; results that are there are replaced.
    run_dir : Path, optional
        A finished run of the order network on this data set.
    aligned_dir : Path, optional
        The aligned takes that it was built from.
    raw_dir : Path, optional
        The raw directory that those come from.
    calibration_path : Path, optional
        The calibration that they were aligned with.
    truth_dir : Path, optional
        The truth, where the session was simulated.
    compared_dirs : mapping of str to Path, optional
        Other alignments of the same recordings, by label, that are compared with ``aligned_dir``.
    weights : Path, optional
        File of the weights that the data set's mattes were made with, where its matter has some.
    interpolator_weights : Path, optional
        Weights that the takes were aligned with, where those were not the interpolator's usual ones.
    backgrounds_dir : Path, optional
        Folder of the pictures that the data set was built with, where they are not the packaged ones.
    config : BenchmarkConfig, optional
        How much is compared.
    executor : Executor, optional
        Where takes are compared with the truth; serial by default.
    on_step : callable, optional
        Called with the name of each step as it begins.

    Returns
    -------
    Path
        The report, ``out_dir/report.html``.

    Raises
    ------
    InputError
        If an input cannot be read, or does not belong to the others.
    Rb2vError
        If there is nothing to compare other alignments with, or one of them has a label that is taken.
    """
    config, executor = config or BenchmarkConfig(), executor or SerialExecutor()
    step = on_step or (lambda name: None)
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(out_dir, "is a file", expected="a folder to write to")
    if (out_dir / CONFIG_NAME).exists():
        raise InputError(out_dir, "is another command's, whose report would be lost", expected="a folder of its own")
    step("reading the inputs")
    inputs = read_inputs(
        shards_dir,
        run_dir,
        aligned_dir,
        raw_dir,
        calibration_path,
        truth_dir,
        compared_dirs,
        weights,
        interpolator_weights,
        backgrounds_dir,
    )
    sections = _measure(inputs, config, executor, step)
    scores = [score for section in sections for score in section.scores]
    verdicts = summarize(scores)

    step("writing the report")
    manifest = inputs.shards.manifest
    given = {
        "run": run_dir,
        "raw_dir": raw_dir,
        "calibration": calibration_path,
        "aligned": aligned_dir,
        "truth": truth_dir,
    }
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "rig": manifest.rig,
        "inputs": ["shards", *(name for name, path in given.items() if path is not None)],
        "compared": list(inputs.compared),
        "config": dataclasses.asdict(config),
        "targets_met": all(verdict.passed for verdict in verdicts) if verdicts else None,
        "scores": [to_document(score) for score in scores],
    }
    facts = {
        "Data set": f"{len(inputs.shards)} samples of rig {manifest.rig}",
        "Held against": _tell_inputs(inputs),
        "rb2v": __version__,
    }
    write_json(out_dir / RESULTS_NAME, document)
    write_scores(out_dir / TABLE_NAME, scores)
    return write_text(out_dir / REPORT_NAME, page.render(facts, verdicts, sections))


def _measure(inputs: Inputs, config: BenchmarkConfig, executor: Executor, step: Callable[[str], None]) -> list[Section]:
    truth_rig = None if inputs.truth is None else inputs.truth.rig
    step("data set")
    sections = [data_set.report(inputs.shards)]
    if inputs.run_dir is not None:
        from rb2v.benchmark import order  # brings torch, which nothing else here needs

        step("order network")
        motion = None if inputs.truth_dir is None else read_motion(inputs.truth_dir, inputs.shards)
        sections.append(order.report(inputs.run_dir, motion))
    if inputs.calibration is not None:
        step("calibration")
        sections.append(
            calibration.report(inputs.calibration, inputs.raw, truth_rig, config.grid_points, inputs.colors_picture)
        )
    if inputs.aligned is not None:
        step("alignment")
        sections.append(alignment.report(inputs.aligned, inputs.truth))
        step("sharp frames and mattes")
        sections += takes.report(inputs, inputs.aligned, config, executor)
    return sections


def _tell_inputs(inputs: Inputs) -> str:
    parts = {
        "the truth of a simulated session": inputs.truth,
        "its recordings": inputs.raw,
        "its calibration": inputs.calibration,
        "its aligned takes": inputs.aligned,
        f"other alignments ({', '.join(inputs.compared)})": inputs.compared or None,
        "a run of the order network": inputs.run_dir,
    }
    return ", ".join(name for name, part in parts.items() if part is not None) or "nothing else"

"""The stage itself: read what was given, measure, write the results and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from rb2v import __version__
from rb2v.benchmark.report.output import scores_of, write_results
from rb2v.benchmark.report.page import Section
from rb2v.benchmark.report.scores import summarize
from rb2v.benchmark.session import alignment, calibration_section, data_set, take_sections, usable_takes
from rb2v.benchmark.session.config import BenchmarkConfig
from rb2v.benchmark.session.inputs import Inputs, SessionPaths, read_inputs
from rb2v.benchmark.truth.motion_truth import read_motion
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.store import CONFIG_NAME, SCHEMA


def run(
    paths: SessionPaths,
    out_dir: Path,
    *,
    config: BenchmarkConfig | None = None,
    executor: Executor | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Path:
    """Measure a data set and what it was made from, and write ``results.json``, ``results.csv`` and ``report.html``.

    What is not given is not measured: its section is absent. The same inputs give the same bytes, but for the seconds
    that are told where there are ``blur_methods``.

    Parameters
    ----------
    paths : SessionPaths
        The data set, and what it was made from.
    out_dir : Path
        Where the results are written; results that are there are replaced.
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
    inputs = read_inputs(paths)
    sections = _measure(inputs, config, executor, step)
    step("writing the report")
    verdicts = summarize(scores_of(sections))
    manifest = inputs.shards.manifest
    given = {
        "run": paths.run_dir,
        "raw_dir": paths.raw_dir,
        "calibration": paths.calibration_path,
        "aligned": paths.aligned_dir,
        "truth": paths.truth_dir,
    }
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "rig": manifest.rig,
        "inputs": ["shards", *(name for name, path in given.items() if path is not None)],
        "compared": list(inputs.compared),
        "config": dataclasses.asdict(config),
        "targets_met": all(verdict.passed for verdict in verdicts) if verdicts else None,
    }
    facts = {
        "Data set": f"{len(inputs.shards)} samples of rig {manifest.rig}",
        "Inputs": _format_inputs(inputs),
    }
    return write_results(out_dir, document, facts, sections)


def _measure(inputs: Inputs, config: BenchmarkConfig, executor: Executor, step: Callable[[str], None]) -> list[Section]:
    truth_rig = None if inputs.truth is None else inputs.truth.rig
    sections = []
    if inputs.aligned is not None and inputs.truth is None:
        step("takes")
        sections.append(usable_takes.report(inputs, inputs.aligned))
    step("data set")
    sections.append(data_set.report(inputs.shards))
    if inputs.paths.run_dir is not None:
        from rb2v.benchmark.session import order_section  # brings torch, which nothing else here needs

        step("order network")
        motion = None if inputs.paths.truth_dir is None else read_motion(inputs.paths.truth_dir, inputs.shards)
        sections.append(order_section.report(inputs.paths.run_dir, motion))
    if inputs.calibration is not None:
        step("calibration")
        sections.append(
            calibration_section.report(
                inputs.calibration, inputs.raw, truth_rig, config.grid_points, inputs.colors_picture
            )
        )
    if inputs.aligned is not None:
        step("alignment")
        sections.append(alignment.report(inputs.aligned, inputs.truth))
        step("sharp frames and mattes")
        sections += take_sections.report(inputs, inputs.aligned, config, executor)
    return sections


def _format_inputs(inputs: Inputs) -> str:
    parts = {
        "the truth of a simulated session": inputs.truth,
        "its recordings": inputs.raw,
        "its calibration": inputs.calibration,
        "its aligned takes": inputs.aligned,
        f"other alignments ({', '.join(inputs.compared)})": inputs.compared or None,
        "a run of the order network": inputs.paths.run_dir,
    }
    return ", ".join(name for name, part in parts.items() if part is not None) or "nothing else"

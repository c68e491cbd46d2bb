"""The suite itself: measure what is not measured yet, write the results and the report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v import __version__
from rb2v.benchmark import page
from rb2v.benchmark.interpolation_suite import report
from rb2v.benchmark.interpolation_suite.config import InterpolationSuiteConfig
from rb2v.benchmark.interpolation_suite.measure import Distance, Measurement, measure_method, middle_frame
from rb2v.benchmark.interpolation_suite.triplets import Triplet, digest, find_triplets
from rb2v.benchmark.scores import Score, summarize, to_document, write_scores
from rb2v.core.metrics import SSIM_WINDOW_PX
from rb2v.device import Device, torch_device_of
from rb2v.errors import InputError, Rb2vError
from rb2v.interpolation import Interpolator, digest_weights, make_interpolator
from rb2v.io.store import SCHEMA, output_folder, write_json, write_text
from rb2v.progress import Progress

RESULTS_NAME = "results.json"
TABLE_NAME = "results.csv"
REPORT_NAME = "report.html"
MEASURED_NAME = "measured"

_HOW_TO_GET_WEIGHTS = ("rb2v models fetch", "--weights FILE")


def run(
    data_dir: Path,
    out_dir: Path,
    config: InterpolationSuiteConfig | None = None,
    *,
    weights: Path | None = None,
    lpips: bool = False,
    device: Device = "auto",
    progress: Progress | None = None,
) -> Path:
    """Make the middle frame of triplets by several methods, and compare them with the truth and with each other.

    Writes ``results.json``, ``results.csv``, ``report.html``, and ``measured/<method>.csv`` with a row a triplet. What
    is measured is not measured again, and a stopped suite goes on. One triplet comes after the other, because frames
    per second are measured too.

    Parameters
    ----------
    data_dir : Path
        Folder of triplets, see `find_triplets`.
    out_dir : Path
        Where everything is written: new, empty, or of a suite of the same data.
    config : InterpolationSuiteConfig, optional
        Which methods are compared. One whose weights are not fetched is listed without figures.
    weights : Path, optional
        Weights of the one method that is compared, in place of its usual ones.
    lpips : bool
        Whether to measure LPIPS too, whose weights have to be there.
    device : {"auto", "cpu", "cuda"}
        Where networks compute.
    progress : callable, optional
        Called with the frames that are made, all of them, and what is being made.

    Returns
    -------
    Path
        The report, ``out_dir/report.html``.

    Raises
    ------
    Rb2vError
        If weights are given for several methods.
    InputError
        If there is no triplet, a picture cannot be read or is too small, weights that are given cannot be used, no
        method has weights, or ``out_dir`` holds other things.
    ConfigMismatchError
        If ``out_dir`` was made with other data or weights.
    """
    config = config or InterpolationSuiteConfig()
    if weights is not None and len(config.methods) != 1:
        raise Rb2vError("weights: are given for several methods; expected one method")
    show = progress or (lambda done, total, label: None)
    triplets = find_triplets(data_dir)
    methods, missing = _load_methods(config.methods, weights, device)
    distance, min_size_px = _load_distance() if lpips else (None, SSIM_WINDOW_PX)
    for triplet in triplets:
        triplet.read(min_size_px)  # before minutes of work end at the last of them
    settings = {
        "schema": SCHEMA,
        "stage": "interpolation-suite",
        "lpips": lpips,
        "device": device,
        "data_sha256": digest(triplets),
        "weights_sha256": digest_weights(weights),
    }
    # What else the machine does counts little in the processor's time, and a GPU's work is none of it.
    clock = time.perf_counter if torch_device_of(device) == "cuda" else time.process_time
    with output_folder(out_dir, settings):
        (out_dir / MEASURED_NAME).mkdir(exist_ok=True)
        measured: dict[str, list[Measurement] | None] = {}
        total = len(methods) * len(triplets)
        for name in config.methods:
            if name in missing:
                measured[name] = None
                continue
            before = sum(len(rows) for rows in measured.values() if rows is not None)
            path = out_dir / MEASURED_NAME / f"{name}.csv"

            def tell(done: int, name: str = name, before: int = before) -> None:
                show(before + done, total, name)

            tell(0)
            measured[name] = measure_method(methods[name], triplets, path, distance, min_size_px, clock, tell)
        show(total, total, "writing the report")
        by_set = _split(triplets, measured)
        sections = [
            report.report_set(name, of_set, _show_worst(name, of_set, triplets, methods, config.shown_triplets))
            for name, of_set in by_set.items()
        ]
        scores = [score for section in sections for score in section.scores]
        told = {name: report.score_set(name, of_set) for name, of_set in by_set.items()}
        document: dict[str, Any] = {
            **settings,
            "version": __version__,
            "suite": report.SUITE,
            "methods": list(config.methods),
            "missing": missing,
            "table": [_to_row(name, method, one) for name, each in told.items() for method, one in each.items()],
            "scores": [to_document(score) for score in scores],
        }
        facts = {
            "Triplets": f"{len(triplets)} in {len(sections)} sets",
            "Methods": ", ".join(methods),
            **({"Not measured": "; ".join(f"{name}: {why}" for name, why in missing.items())} if missing else {}),
            "Machine": _say_machine(device),
            "rb2v": __version__,
        }
        write_json(out_dir / RESULTS_NAME, document)
        write_scores(out_dir / TABLE_NAME, scores)
        return write_text(out_dir / REPORT_NAME, page.render(facts, summarize(scores), sections))


def _load_methods(
    names: Sequence[str], weights: Path | None, device: Device
) -> tuple[dict[str, Interpolator], dict[str, str]]:
    """Return the methods, and why the others cannot be used."""
    methods: dict[str, Interpolator] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            # Triplets hold coded values, and are made of coded values.
            methods[name] = make_interpolator(name, response="linear", device=device, weights=weights)
        except InputError as error:
            if weights is not None or not any(how in str(error) for how in _HOW_TO_GET_WEIGHTS):
                raise
            missing[name] = str(error)
    if not methods:
        raise InputError("method", "none has its weights", expected="; ".join(missing.values()))
    return methods, missing


def _load_distance() -> tuple[Distance, int]:
    from rb2v.lpips import load_lpips

    network = load_lpips("alex")

    def distance(estimate: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
        return float(network.distance(estimate, truth))

    return distance, max(network.min_size_px, SSIM_WINDOW_PX)


def _split(
    triplets: Sequence[Triplet], measured: Mapping[str, Sequence[Measurement] | None]
) -> dict[str, dict[str, list[Measurement] | None]]:
    """Return the measurements of every method by set."""
    return {
        set_name: {
            method: None if rows is None else [row for row in rows if row.set_name == set_name]
            for method, rows in measured.items()
        }
        for set_name in dict.fromkeys(triplet.set_name for triplet in triplets)
    }


def _show_worst(
    set_name: str,
    measured: Mapping[str, Sequence[Measurement] | None],
    triplets: Sequence[Triplet],
    methods: Mapping[str, Interpolator],
    n_shown: int,
) -> list[page.Gallery]:
    known = {name: rows for name, rows in measured.items() if rows is not None}
    best = max(known.values(), key=lambda rows: float(np.mean([row.psnr_db for row in rows])))
    by_name = {triplet.name: triplet for triplet in triplets if triplet.set_name == set_name}
    galleries = []
    for row in sorted(best, key=lambda row: row.psnr_db)[:n_shown]:
        frames = by_name[row.triplet].read()
        made = {name: middle_frame(methods[name], frames) for name in known}
        galleries.append(report.show_triplet(f"{set_name}/{row.triplet}", frames, made))
    return galleries


def _say_machine(device: Device) -> str:
    is_on_gpu = torch_device_of(device) == "cuda"
    told = "networks on its GPU; elapsed time" if is_on_gpu else "networks on one thread; time of the processor"
    return f"{platform.machine()}, {os.cpu_count()} cores; {told}"


def _to_row(set_name: str, method: str, told: Mapping[str, Score]) -> dict[str, Any]:
    verdicts = [score.passed for score in told.values() if score.passed is not None]
    values = {name: score.value for name, score in told.items()}
    return {"set": set_name, "method": method, **values, "passed": all(verdicts) if verdicts else None}


def read_main_table(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the main table, short enough for a terminal.

    Parameters
    ----------
    document : mapping
        What `run` wrote to ``results.json``.
    """
    columns = (("psnr", 2), ("ssim", 3), ("lpips", 4), ("seconds", 3))
    verdicts = {None: "", True: "met", False: "missed"}
    table = [
        [
            row["set"],
            row["method"],
            *(f"{row[name]:.{decimals}f}" if name in row else "" for name, decimals in columns),
            verdicts[row["passed"]],
        ]
        for row in document["table"]
    ]
    table += [["", name, "no weights", *[""] * 4] for name in document["missing"]]
    return ["set", "method", "PSNR [dB]", "SSIM", "LPIPS", "s/frame", "target"], table

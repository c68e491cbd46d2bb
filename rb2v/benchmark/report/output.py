"""The files that every benchmark writes: results.json, results.csv and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rb2v import __version__
from rb2v.benchmark.report import page
from rb2v.benchmark.report.page import Section
from rb2v.benchmark.report.scores import Score, summarize, to_document, write_scores
from rb2v.io.store import write_json, write_text

RESULTS_NAME = "results.json"
TABLE_NAME = "results.csv"
REPORT_NAME = "report.html"


def scores_of(sections: Sequence[Section]) -> list[Score]:
    """Return the scores that sections tell of, in their order."""
    return [score for section in sections for score in section.scores]


def write_results(
    out_dir: Path, document: Mapping[str, Any], facts: Mapping[str, str], sections: Sequence[Section]
) -> Path:
    """Write the results and the report, each file atomically; files that are there are replaced.

    Parameters
    ----------
    out_dir : Path
        The folder.
    document : mapping
        What ``results.json`` holds beside the scores, which come last.
    facts : mapping of str to str
        What the report is about, shown under its title; the version is added.
    sections : sequence of Section
        The report's parts, in order.

    Returns
    -------
    Path
        The report.
    """
    scores = scores_of(sections)
    write_json(out_dir / RESULTS_NAME, {**document, "scores": [to_document(score) for score in scores]})
    write_scores(out_dir / TABLE_NAME, scores)
    text = page.render({**facts, "rb2v": __version__}, summarize(scores), sections)
    return write_text(out_dir / REPORT_NAME, text)

"""Layouts of other programs by name: their export and import."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rb2v import __version__
from rb2v.artifacts import Split
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.store import output_folder
from rb2v.progress import Count
from rb2v.shards import ShardReader, manifest_path, sha256_of
from rb2v.shards.builder import write_data_set
from rb2v.shards.exchange import baist, baist_export, baist_names, huggingface, hypercut, webdataset
from rb2v.shards.exchange.config import ImportConfig
from rb2v.shards.exchange.samples import ImportPart, ImportPlan, Source
from rb2v.shards.guidance_table import GuidanceReader, GuidanceSource, check_guidance_path, write_guidance
from rb2v.shards.labels import read_orders


@dataclass(frozen=True)
class Layout:
    """A form that data sets have elsewhere."""

    recognize: Callable[[Path], bool]
    """Whether a folder looks like it."""
    export_shards: Callable[[Source, Path, Executor, Count], Path]
    """Writes a data set in this form into a folder, and returns the file that completes it."""
    plan_import: Callable[[Path, ImportConfig], ImportPlan]
    """Checks a folder of this form and plans its shards."""


LAYOUTS: Mapping[str, Layout] = {
    hypercut.LAYOUT: Layout(hypercut.recognize, hypercut.export_shards, hypercut.plan_import),
    webdataset.LAYOUT: Layout(webdataset.recognize, webdataset.export_shards, webdataset.plan_import),
    huggingface.LAYOUT: Layout(huggingface.recognize, huggingface.export_shards, huggingface.plan_import),
    baist_names.LAYOUT: Layout(baist.recognize, baist_export.export_shards, baist.plan_import),
}
"""Layouts by name."""


@dataclass(frozen=True)
class ImportSummary:
    """What an import did."""

    manifest: Path
    n_val: int
    """Samples of the partition ``val``, which went where the configuration says."""
    guidance: Path | None = None
    """The table of motion guidance, where one was asked for."""


def export_shards(
    shards_dir: Path,
    out_dir: Path,
    layout: str,
    *,
    labels: Path | None = None,
    only_consistent: bool = False,
    guidance: Path | None = None,
    executor: Executor | None = None,
    progress: Count | None = None,
) -> Path:
    """Write a data set in another layout and return the file that completes it; finished files are skipped.

    Parameters
    ----------
    shards_dir : Path
        A folder of shards.
    out_dir : Path
        The folder to write, new, empty, or left by an interrupted run on the same shards.
    layout : str
        A name of `LAYOUTS`.
    labels : Path, optional
        A table of ``rb2v label-order``: orders in place of those of the shards.
    only_consistent : bool
        Whether samples whose pairs lie on different sides by that table have order 0.
    guidance : Path, optional
        A table of ``rb2v guidance``, for the layout ``baist``.
    executor : Executor, optional
        Where the files are written; here, by default.
    progress : callable, optional
        Called with the number of samples written and their total.

    Raises
    ------
    InputError
        If the shards or the labels cannot be used, or the folder holds something else.
    """
    reader = ShardReader(shards_dir)
    if not len(reader):
        raise InputError(manifest_path(shards_dir), "holds no sample", expected="at least one")
    if labels is None and only_consistent:
        raise InputError("options", "is missing", "labels", "the table that only_consistent asks")
    orders = (
        tuple(reader.table["order"].tolist())
        if labels is None
        else read_orders(labels, reader, only_consistent=only_consistent)
    )
    if guidance is not None and layout != baist_names.LAYOUT:
        problem = f"is given, and {layout!r} has no room for it"
        raise InputError("options", problem, "guidance", f"--format {baist_names.LAYOUT}")
    maps = None if guidance is None else GuidanceReader(guidance, reader)
    settings = {
        "export": {
            "format": layout,
            "version": __version__,
            "manifest_sha256": sha256_of(manifest_path(shards_dir)),
            "labels_sha256": None if labels is None else sha256_of(labels),
            "only_consistent": only_consistent,
            **({} if guidance is None else {"guidance_sha256": sha256_of(guidance)}),
        }
    }
    with output_folder(out_dir, settings):
        return LAYOUTS[layout].export_shards(
            Source(reader, orders, maps), out_dir, executor or SerialExecutor(), progress or _show_nothing
        )


def import_folder(
    source_dir: Path,
    out_dir: Path,
    config: ImportConfig | None = None,
    *,
    layout: str | None = None,
    guidance: Path | None = None,
    static_px: float = 1.0,
    executor: Executor | None = None,
    progress: Count | None = None,
) -> ImportSummary:
    """Turn a folder of another layout into shards; finished shards are skipped.

    Parameters
    ----------
    source_dir : Path
        The folder.
    out_dir : Path
        The folder to write, new, empty, or left by an interrupted run on the same data.
    config : ImportConfig, optional
        What a layout leaves open.
    layout : str, optional
        A name of `LAYOUTS`; by default the one that the folder looks like.
    guidance : Path, optional
        Table of motion guidance to write, from what a folder of the layout ``baist`` holds.
    static_px : float
        Motion over a sequence below which a pixel is static, in px, where the folder holds flow and no guidance.
    executor : Executor, optional
        Where the shards are written; here, by default.
    progress : callable, optional
        Called with the number of samples written and their total.

    Raises
    ------
    InputError
        If the folder cannot be used, or is of no layout or several.
    """
    plan = LAYOUTS[layout or _find_layout(source_dir)].plan_import(source_dir, config or ImportConfig())
    if guidance is not None:
        check_guidance_path(guidance)
        if plan.guidance is None:
            raise InputError(source_dir, "holds no guidance and no flow", "guidance", "trend or flow files of a video")
    executor = executor or SerialExecutor()
    _check_subjects(plan.parts, executor, source_dir)  # before hours of work
    with output_folder(out_dir, dataclasses.asdict(plan.template.provenance)):
        manifest = write_data_set(out_dir, plan.parts, plan.template, executor=executor, progress=progress)
    if guidance is not None and plan.guidance is not None:
        source = GuidanceSource("imported", static_px)
        write_guidance(guidance, out_dir, source, plan.guidance(static_px))
    return ImportSummary(manifest, plan.n_val, guidance)


def _read_subjects(part: ImportPart) -> frozenset[str]:
    return part.read_subjects() if part.read_subjects is not None else frozenset()


def _check_subjects(parts: Sequence[ImportPart], executor: Executor, source: Path) -> None:
    if len({part.split for part in parts}) < 2:
        return
    told = [part for part in parts if part.read_subjects is not None]
    subjects_of: defaultdict[Split, set[str]] = defaultdict(set)
    for part, subjects in zip(told, executor.map(_read_subjects, told), strict=True):
        subjects_of[part.split] |= subjects
    shared = sorted(subjects_of["train"] & subjects_of["test"])
    if shared:
        raise InputError(source, f"the subject {shared[0]!r} is in both splits", expected="each in one split")


def _find_layout(folder: Path) -> str:
    found = [name for name, layout in LAYOUTS.items() if layout.recognize(folder)]
    if len(found) == 1:
        return found[0]
    expected = "metadata.json (hypercut), tar files (webdataset), a folder data (datasets) or videos (baist)"
    if not folder.is_dir():
        raise InputError(folder, "there is no such folder", expected=f"one that holds {expected}")
    if not found:
        raise InputError(folder, "is of no known layout", expected=expected)
    raise InputError(folder, f"looks like {' and '.join(found)}", expected="one of them by --format")


def _show_nothing(done: int, total: int) -> None:
    """Take progress that nobody asked for."""

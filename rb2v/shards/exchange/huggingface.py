"""A folder that Hugging Face's ``datasets`` opens: one Parquet file per shard, and a card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rb2v.artifacts import SPLITS
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import Executor
from rb2v.io.store import write_text
from rb2v.progress import Count
from rb2v.shards import Manifest, ShardSample
from rb2v.shards.exchange.config import ImportConfig
from rb2v.shards.exchange.packs import Packing, export_packs, plan_packs
from rb2v.shards.exchange.samples import (
    COLUMN_NAMES,
    MAX_PNG_BYTES,
    MAX_TEXT_BYTES,
    ImportPlan,
    ShardPart,
    Source,
    check_columns,
    decode_png,
    encode_png,
)
from rb2v.shards.layout import LATER_NAMES, MARK_NAME
from rb2v.shards.manifest import MAX_SAMPLE_BYTES

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

LAYOUT = "datasets"
CARD_NAME = "README.md"

_DATA = "data"
_ROW_GROUP_SAMPLES = 16  # a reader holds a row group as a whole, which is why few samples share one
_TYPES = {
    "take": "string",
    "subject": "string",
    "category": "string",
    "blurry_index": "int64",
    "position": "int64",
    "psnr": "float32",
    "order": "int8",
    "composite_psnr": "float32",
}


def recognize(folder: Path) -> bool:
    """Return whether a folder holds one of data."""
    return (folder / _DATA).is_dir()


def export_shards(source: Source, out_dir: Path, executor: Executor, progress: Count) -> Path:
    """Write ``data/train-00000.parquet``, ..., ``README.md`` and ``manifest.json``, and return its path.

    Raises
    ------
    Rb2vError
        If pyarrow is not installed.
    """
    _require_pyarrow()
    write_text(out_dir / CARD_NAME, _card(source.manifest))
    return export_packs(source, out_dir, _PACKING, executor, progress)


def plan_import(folder: Path, config: ImportConfig) -> ImportPlan:
    """Plan one shard per Parquet file.

    Raises
    ------
    InputError
        If the manifest or a file that it lists is missing, or the manifest cannot be used.
    Rb2vError
        If pyarrow is not installed.
    """
    _require_pyarrow()
    return plan_packs(folder, _PACKING)


def _require_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise Rb2vError("the layout 'datasets' needs pyarrow; expected pip install 'rb2v[datasets]'") from error


def _frame_names(frames_per_sequence: int) -> list[str]:
    return ["blurry", *(f"sharp_{index}" for index in range(frames_per_sequence))]


def _schema(frames_per_sequence: int, *, marked: bool) -> pyarrow.Schema:
    import pyarrow as pa

    frames = _frame_names(frames_per_sequence)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {name: pa.type_for_alias(kind) for name, kind in _TYPES.items()}
    columns["color"] = pa.list_(pa.list_(pa.float32()))
    number = {"_type": "Value", "dtype": "float32"}
    features: dict[str, Any] = {name: {"_type": "Image"} for name in frames}
    features |= {name: {"_type": "Value", "dtype": kind} for name, kind in _TYPES.items()}
    features["color"] = {"_type": "List", "feature": {"_type": "List", "feature": number}}
    if marked:
        columns[MARK_NAME] = pa.list_(pa.bool_())
        features[MARK_NAME] = {"_type": "List", "feature": {"_type": "Value", "dtype": "bool"}}
    names = (*COLUMN_NAMES, MARK_NAME) if marked else COLUMN_NAMES
    return pa.schema(
        [*((name, image) for name in frames), *((name, columns[name]) for name in names)],
        # By this key the library knows which columns are images.
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


def _write_parquet(path: Path, samples: Iterable[ShardSample], part: ShardPart) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    writer: parquet.ParquetWriter | None = None
    rows: list[dict[str, Any]] = []
    try:
        for index, sample in enumerate(samples):
            if writer is None:
                # The images are compressed already, and statistics would repeat whole ones.
                writer = parquet.ParquetWriter(
                    path,
                    _schema(len(sample.sharp), marked=sample.is_interpolated is not None),
                    compression="none",
                    use_dictionary=False,
                    write_statistics=False,
                )
            rows.append(_row_of(sample))
            if len(rows) == _ROW_GROUP_SAMPLES or index + 1 == part.samples:
                writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
                rows.clear()
    finally:
        if writer is not None:
            writer.close()


def _row_of(sample: ShardSample) -> dict[str, Any]:
    frames = zip(_frame_names(len(sample.sharp)), (sample.blurry, *sample.sharp), strict=True)
    columns = {name: getattr(sample, name) for name in COLUMN_NAMES}
    pictures = {name: {"bytes": encode_png(frame), "path": None} for name, frame in frames}
    if sample.is_interpolated is not None:
        columns[MARK_NAME] = sample.is_interpolated.tolist()
    return {**pictures, **columns, "color": sample.color.tolist()}


def _read_parquet(path: Path, size: tuple[int, int], n_sharp: int) -> Iterator[ShardSample]:
    schema = _schema(n_sharp, marked=False)
    with _open_parquet(path) as file:
        older = schema
        for name in LATER_NAMES:
            older = older.remove(older.get_field_index(name))
        known = (schema, older, _schema(n_sharp, marked=True))
        if not any(file.schema_arrow.equals(one) for one in known):
            raise InputError(path, "has other columns", expected=", ".join(schema.names))
        # One row at a time, because a small file can hold one large value many times.
        for index, batch in enumerate(file.iter_batches(batch_size=1)):
            _check_cells(batch, path, index)
            yield _sample_of(batch.to_pylist()[0], index, path, size, n_sharp)


def _read_subjects(path: Path) -> frozenset[str]:
    with _open_parquet(path) as file:
        subjects = set()
        if "subject" in file.schema_arrow.names and file.schema_arrow.field("subject").type == "string":
            for index, batch in enumerate(file.iter_batches(batch_size=1, columns=["subject"])):
                _check_cells(batch, path, index)
                subjects.add(batch.column(0)[0].as_py())
        return frozenset(subjects - {None})


@contextmanager
def _open_parquet(path: Path) -> Iterator[parquet.ParquetFile]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(path, f"is damaged, or no Parquet file ({error})") from error


def _check_cells(row: pyarrow.RecordBatch, path: Path, index: int) -> None:
    """Check that the cells of one row are no larger than they ever need to be, before they become objects."""
    for name, cell in zip(row.schema.names, row.columns, strict=True):
        limit = MAX_TEXT_BYTES if name in (*COLUMN_NAMES, MARK_NAME) else MAX_PNG_BYTES
        if cell.nbytes > limit:
            raise InputError(path, "is too large", f"row {index}.{name}", f"at most {limit} bytes")
    if row.nbytes > MAX_SAMPLE_BYTES:
        raise InputError(path, "is too large", f"row {index}", f"at most {MAX_SAMPLE_BYTES} bytes")


def _sample_of(row: dict[str, Any], index: int, path: Path, size: tuple[int, int], n_sharp: int) -> ShardSample:
    known = {name: row[name] for name in (*COLUMN_NAMES, MARK_NAME) if name in row}
    columns = check_columns(known, path, f"row {index}")
    frames = []
    for name in _frame_names(n_sharp):
        picture = row[name] or {}
        if picture.get("bytes") is None or picture.get("path") is not None:
            raise InputError(path, "is missing, or stored outside the file", f"row {index}.{name}", "an image in it")
        frames.append(decode_png(picture["bytes"], size, path, f"row {index}.{name}"))
    return columns.with_frames(frames[0], np.stack(frames[1:]), path, f"row {index}")


def _card(manifest: Manifest) -> str:
    splits = [split for split in SPLITS if manifest.splits[split].shards]
    files = "".join(f"  - split: {split}\n    path: {_DATA}/{split}-*.parquet\n" for split in splits)
    counts = "".join(
        f"| {split} | {entry.samples} | {', '.join(f'{name}: {n}' for name, n in entry.categories.items() if n)} |\n"
        for split, entry in manifest.splits.items()
    )
    width, height = manifest.output_size
    last = manifest.frames_per_sequence - 1
    return (
        f"---\ntags:\n- deblurring\n- video\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n"
        "# Blur-to-video data set\n\n"
        f"Each sample is a blurry frame and the {last + 1} sharp frames that it integrated, `sharp_0` to "
        f"`sharp_{last}`, {width}x{height} pixels, 8-bit RGB.\n\n"
        f"| split | samples | categories |\n| --- | --- | --- |\n{counts}\n"
        "| column | |\n| --- | --- |\n"
        "| `take`, `subject`, `category` | the recording, what it shows, and its kind: street, face or hand |\n"
        "| `blurry_index` | index of the blurry frame in its video |\n"
        "| `position` | fine-track index of `sharp_0`; -1 where it is not known |\n"
        "| `psnr` | of the synthetic blur against the blurry frame, dB; NaN where it is not known |\n"
        "| `color` | the 3x4 color map used, in linear light; NaN where it is not known |\n"
        "| `order` | 1 keep, -1 reverse, 0 not assigned |\n"
        "| `composite_psnr` | where a green screen was replaced: of the mean of the sharp frames against the blurry "
        "frame, in linear light, dB; NaN elsewhere |\n"
        "| `is_interpolated` | of each sharp frame, whether it lies between recorded ones; where it is known |\n\n"
        "Written by rb2v; `manifest.json` tells where the data come from.\n"
    )


_PACKING = Packing(LAYOUT, "{split}-{index:05d}.parquet", _DATA, _write_parquet, _read_parquet, _read_subjects)

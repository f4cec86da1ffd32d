"""A data set in the forms that others read: Parquet with images inside, or WebDataset shards."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ecgvision.dataset.about import SPLITS, TEXT_COLUMNS, WHOLE_COLUMNS
from ecgvision.dataset.folders import whole_folder
from ecgvision.dataset.store import Dataset
from ecgvision.errors import UsageError
from ecgvision.output import json_bytes, png_bytes, write_files

EXPORT = "export.json"
"""What was exported, with the hash of each file; marks the folder as ours."""

_USED = SPLITS[:3]
UNSPLIT = "unsplit"
"""The name of the rows of a data set that was not split."""


def export(
    dataset: Dataset, target: Path, form: str, *, shard_rows: int = 1000, replace: bool = False
) -> dict[str, int]:
    """Write the rows of each split as shards of at most `shard_rows`; gives how many there were.

    Excluded rows are left out, and, where the data set is split, those of no split. The same data
    set gives the same bytes. Raises `DatasetError` and `OutputError` as `write_dataset` does.
    """
    if shard_rows < 1:
        raise UsageError(f"--shard-rows must be at least 1, found {shard_rows}")
    if form not in _FORMS:
        raise UsageError(f"no form is called {form!r}; there are {', '.join(_FORMS)}")
    ending, encode = _FORMS[form]
    chosen = _chosen(dataset)
    hashes = {}
    with whole_folder(target, EXPORT, replace=replace) as new:
        for split, numbers in chosen.items():
            count = math.ceil(len(numbers) / shard_rows)
            for shard in range(count):
                name = f"{split}-{shard:05d}-of-{count:05d}{ending}"
                part = numbers[shard * shard_rows : (shard + 1) * shard_rows]
                content = encode(dataset, part)
                write_files({new / name: content})
                hashes[name] = hashlib.sha256(content).hexdigest()
        counts = {split: len(numbers) for split, numbers in chosen.items()}
        told = {
            "form": form,
            "rows": counts,
            "sha256": hashes,
            "dataset": dataset.about.model_dump(mode="json"),
        }
        write_files({new / EXPORT: json_bytes(told)})
    return counts


def _chosen(dataset: Dataset) -> dict[str, Any]:
    every = {str(split): dataset.chosen(split) for split in _USED}
    found: dict[str, Any] = {split: rows for split, rows in every.items() if len(rows)}
    if found:
        return found
    rest = np.flatnonzero(dataset.rows["split"].isna().to_numpy(bool))
    if not len(rest):
        raise UsageError("every row is excluded: there is nothing to export")
    return {UNSPLIT: rest}


def _png(dataset: Dataset, number: int) -> bytes:
    if dataset.images is None or dataset.about.image is None:
        raise UsageError("the data set has no images")
    return png_bytes(np.asarray(dataset.images[number]), dataset.about.image.px_per_mm)


def _described(dataset: Dataset, number: int) -> dict[str, Any]:
    """The row as JSON has it: None for what is not known."""
    row = dataset.rows.iloc[number]
    names = (*TEXT_COLUMNS, *WHOLE_COLUMNS, *dataset.about.columns)
    return {name: _plain(row[name], name in WHOLE_COLUMNS) for name in names}


def _plain(value: Any, whole: bool) -> str | int | float | None:
    if pd.isna(value):
        return None
    if isinstance(value, str):
        return value
    return int(value) if whole else float(value)


# --- Parquet ------------------------------------------------------------------------------------


def _parquet(dataset: Dataset, numbers: Any) -> bytes:
    """One shard as `datasets.load_dataset` reads it: the image is its feature `Image`.

    That is a struct of the PNG's bytes and a path, and metadata named "huggingface" that says so,
    after the documentation of Hugging Face Datasets.
    """
    columns: dict[str, tuple[pa.Array, dict[str, Any]]] = {}
    if dataset.images is not None:
        images = [{"bytes": _png(dataset, number), "path": None} for number in numbers]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns["image"] = pa.array(images, kind), {"_type": "Image"}
    if dataset.signals is not None:
        kind = pa.list_(pa.list_(pa.float32()))
        rows = [list(dataset.signals[number]) for number in numbers]
        value = {"dtype": "float32", "_type": "Value"}
        inner = {"feature": value, "_type": "Sequence"}
        columns["signal_mv"] = pa.array(rows, kind), {"feature": inner, "_type": "Sequence"}
    described = [_described(dataset, number) for number in numbers]
    for name in described[0]:
        if name in columns:
            raise UsageError(f"a column is called {name}, as the export's own; rename it")
        kind, told = _kind(dataset, name)
        values = [row[name] for row in described]
        columns[name] = pa.array(values, kind), {"dtype": told, "_type": "Value"}
    features = {name: feature for name, (_, feature) in columns.items()}
    table = pa.table({name: array for name, (array, _) in columns.items()})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    file = io.BytesIO()
    # Small groups of rows, as readers fetch a whole one to see an image.
    pq.write_table(
        table.replace_schema_metadata(metadata), file, row_group_size=100, compression="zstd"
    )
    return file.getvalue()


def _kind(dataset: Dataset, name: str) -> tuple[pa.DataType, str]:
    if name in WHOLE_COLUMNS:
        return pa.int64(), "int64"
    if name in TEXT_COLUMNS or dataset.rows[name].dtype == object:
        return pa.string(), "string"
    return pa.float64(), "float64"


# --- WebDataset ---------------------------------------------------------------------------------


def _webdataset(dataset: Dataset, numbers: Any) -> bytes:
    """One shard, a tar: for each example its row as .json, its image as .png, its signals as .npy.

    Examples are named by the number of their row, so that nothing of a file's name can end one.
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in numbers:
            for ending, content in _members(dataset, int(number)):
                member = tarfile.TarInfo(f"{number:08d}.{ending}")
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _members(dataset: Dataset, number: int) -> Iterator[tuple[str, bytes]]:
    yield "json", json_bytes(_described(dataset, number))
    if dataset.images is not None:
        yield "png", _png(dataset, number)
    if dataset.signals is not None:
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(dataset.signals[number]), allow_pickle=False)
        yield "npy", file.getvalue()


_FORMS: dict[str, tuple[str, Callable[[Dataset, Any], bytes]]] = {
    "parquet": (".parquet", _parquet),
    "webdataset": (".tar", _webdataset),
}

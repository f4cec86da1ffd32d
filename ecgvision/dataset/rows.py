"""The table of a data set: which columns it has, of which type, and how it is kept."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ecgvision.dataset.about import (
    FIXED_COLUMNS,
    SPLITS,
    TEXT_COLUMNS,
    WHOLE_COLUMNS,
    DatasetError,
    DatasetInfo,
)
from ecgvision.dataset.parquet import parquet_table

_NEEDED = ("record", "patient", "source")


def checked_rows(rows: pd.DataFrame, about: DatasetInfo, path: Path) -> pd.DataFrame:
    """The rows in the types and the order of columns that they are kept in.

    Fixed columns that are missing are added empty, `page` as 1. Raises `DatasetError` by column and
    row, counted from 1.
    """
    _check_names(rows, about, path)
    if not len(rows):
        raise _wrong(path, "at least one row", "none", "see why all were left out")
    columns: dict[str, Any] = {}
    for name in (*FIXED_COLUMNS, *about.columns):
        if name not in rows:
            columns[name] = pd.Series([1 if name == "page" else None] * len(rows), dtype=object)
        else:
            columns[name] = rows[name].reset_index(drop=True)
        columns[name] = _typed(columns[name], name, about, path)
    for problem in _impossible(columns):
        raise _wrong(path, *problem, "mend the row or leave it out")
    return pd.DataFrame(columns)


def _check_names(rows: pd.DataFrame, about: DatasetInfo, path: Path) -> None:
    names = list(rows.columns)
    doubled = sorted({str(name) for name in names if names.count(name) > 1})
    if doubled:
        raise _wrong(path, "columns of different names", f"two of {', '.join(doubled)}", "drop one")
    lacking = [name for name in (*_NEEDED, *about.columns) if name not in names]
    if lacking:
        raise _wrong(path, "all columns of the data set", f"no {', '.join(lacking)}", "add them")
    clash = sorted(set(about.columns) & set(FIXED_COLUMNS))
    surplus = [str(name) for name in names if name not in (*FIXED_COLUMNS, *about.columns)]
    if clash or surplus:
        raise _wrong(
            path,
            "a role for every column besides the fixed ones, and for none of these",
            ", ".join(clash or surplus),
            "give it a role in `columns`, or another name",
        )


def _typed(values: Any, name: str, about: DatasetInfo, path: Path) -> Any:
    """Text as objects with None, whole numbers as Int64, all others as float64 or text."""
    if name in TEXT_COLUMNS:
        return _texts(values, name, path)
    if name in WHOLE_COLUMNS:
        return _numbers(values, name, path, whole=True).astype("Int64")
    if about.columns[name].role != "clinical" and any(isinstance(one, str) for one in values):
        return _texts(values, name, path)
    return _numbers(values, name, path, whole=False)


def _texts(values: Any, name: str, path: Path) -> Any:
    found: list[str | None] = []
    for number, value in enumerate(values, 1):
        if _is_missing(value):
            found.append(None)
        elif isinstance(value, str):
            found.append(str(value))
        else:
            raise _wrong(
                path,
                f"text in column {name}, row {number}",
                f"{value!r}",
                "numbers that are names must be text, or lose their zeros in front",
            )
    return pd.Series(found, dtype=object)


def _numbers(values: Any, name: str, path: Path, *, whole: bool) -> Any:
    found = np.full(len(values), np.nan)
    for number, value in enumerate(values, 1):
        if _is_missing(value):
            continue
        fine = isinstance(value, int | float | np.integer | np.floating | np.bool_)
        if not fine or not np.isfinite(value) or (whole and int(value) != value):
            kind = "a whole number" if whole else "a finite number"
            raise _wrong(
                path,
                f"{kind} or nothing in column {name}, row {number}",
                f"{value!r}",
                "mend the value, or leave it out where it is not known",
            )
        found[number - 1] = float(value)
    return pd.Series(found, dtype="float64")


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _impossible(columns: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What was expected and found, for values that no row may have."""
    for name in _NEEDED:
        for number, value in enumerate(columns[name], 1):
            if not value:
                yield f"a value in column {name}, row {number}", "none"
    for number, value in enumerate(columns["split"], 1):
        if value is not None and value not in SPLITS:
            yield f"one of {', '.join(SPLITS)} or nothing in column split, row {number}", value


def _wrong(path: Path, expected: str, found: str, hint: str) -> DatasetError:
    return DatasetError("rows-wrong", path, None, expected=expected, found=found, hint=hint)


# --- as Parquet -------------------------------------------------------------------------------


def rows_bytes(rows: pd.DataFrame, about: DatasetInfo) -> bytes:
    """Checked rows as a Parquet file; the same rows give the same bytes."""
    arrays, fields = [], []
    for name in (*FIXED_COLUMNS, *about.columns):
        kind = _kind(name, rows[name])
        arrays.append(pa.array(rows[name], type=kind, from_pandas=True))
        fields.append(pa.field(name, kind))
    file = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), file, compression="zstd")
    return file.getvalue()


def _kind(name: str, values: Any) -> pa.DataType:
    if name in WHOLE_COLUMNS:
        return pa.int64()
    if name in TEXT_COLUMNS or values.dtype == object:
        return pa.string()
    return pa.float64()


def read_rows(path: Path, about: DatasetInfo) -> pd.DataFrame:
    """The rows of a data set as `checked_rows` gave them; raises `DatasetError`."""
    try:
        table = parquet_table(path.read_bytes())
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            "dataset-torn",
            path,
            None,
            expected="a Parquet file of rows",
            found=f"one that cannot be read ({type(error).__name__})",
            hint="make the data set again, or take a whole copy of it",
        ) from error
    columns = {
        name: pd.Series(column.to_pylist(), dtype=object)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return checked_rows(pd.DataFrame(columns), about, path)

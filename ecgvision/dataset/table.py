"""Tables that users bring, CSV or Parquet: read without guessing at the types of columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgvision.dataset.about import DatasetError

_SHOWN = 20
_PARQUET = b"PAR1"
# A cell of a table of labels; more is a file that is no table.
_LARGEST_FIELD = 1 << 20


@dataclass(frozen=True)
class Table:
    """Columns by name; `lines` are the rows' numbers as users see them, in the columns' order.

    In a CSV every value is text and the header is row 1; a Parquet file keeps its types and counts
    its rows from 1.
    """

    path: Path
    columns: dict[str, list[Any]] = field(repr=False)
    lines: list[int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.lines)


def read_table(path: Path) -> Table:
    """A .csv (UTF-8, commas) or .parquet file; raises `DatasetError`."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__, "check its name") from error
    table = _parquet(path, content) if content.startswith(_PARQUET) else _csv(path, content)
    if not len(table):
        raise _unreadable(path, "none", "see how it was saved", expected="at least one row")
    return table


def _csv(path: Path, content: bytes) -> Table:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = "save it as CSV UTF-8; or name a .parquet file"
        raise _unreadable(path, f"other bytes in line {line}", hint, "text in UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    csv.field_size_limit(_LARGEST_FIELD)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header)
        rows, lines, wrong = _csv_rows(reader, len(header))
    except csv.Error as error:
        hint = "mend its quotation marks and line ends"
        raise _unreadable(path, f"{error} in line {reader.line_num}", hint, "a CSV") from error
    raise_all(path, wrong, "rows with as many values as the header has names")
    return Table(path, {name: [row[k] for row in rows] for k, name in enumerate(header)}, lines)


def _csv_rows(reader: Any, width: int) -> tuple[list[list[str]], list[int], list[str]]:
    """All rows that are not blank, their numbers, and what is wrong with others."""
    rows, lines, wrong = [], [], []
    for line, row in enumerate(reader, 2):
        if not any(value.strip() for value in row):
            continue
        if len(row) == width:
            rows.append([value.strip() for value in row])
            lines.append(line)
        else:
            wrong.append(f"row {line}: {len(row)} values for {width} columns")
    return rows, lines, wrong


def _check_header(path: Path, header: Sequence[str]) -> None:
    if len(header) < 2:
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if header and mark in header[0]:
                hint = "save it with commas (and points in numbers), or as .parquet"
                raise _unreadable(path, f"one with {name}", hint, "a CSV with commas")
    if not header or "" in header:
        found = f"none for column {header.index('') + 1}" if header else "an empty file"
        raise _unreadable(path, found, "name every column", "a name in each column of row 1")
    _check_doubled(path, header)


def _check_doubled(path: Path, names: Sequence[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        hint = "rename one of them, or drop it"
        raise _unreadable(path, f"two named {', '.join(doubled)}", hint, "different columns")


def _parquet(path: Path, content: bytes) -> Table:
    import pyarrow as pa

    from ecgvision.dataset.parquet import parquet_table

    try:
        found = parquet_table(content)
        _check_doubled(path, found.column_names)
        columns = {name: found[name].to_pylist() for name in found.column_names}
    except (pa.ArrowException, OSError, ValueError) as error:
        hint = "write it again, or name a .csv"
        raise _unreadable(path, type(error).__name__, hint, "a Parquet file") from error
    return Table(path, columns, list(range(1, found.num_rows + 1)))


def raise_all(path: Path, problems: Iterable[str], expected: str) -> None:
    """Raise a `DatasetError` that tells the first 20 problems and how many there are, if any."""
    found = list(problems)
    if not found:
        return
    told = "; ".join(found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    raise DatasetError(
        "table-wrong",
        path,
        None,
        expected=expected,
        found=f"{len(found):,} problem{'s' if len(found) > 1 else ''}: {told}{more}",
        hint="mend the table, or say in the schema what its values mean",
    )


def _unreadable(
    path: Path, found: str, hint: str, expected: str = "a table, CSV or Parquet"
) -> DatasetError:
    return DatasetError("table-unreadable", path, None, expected=expected, found=found, hint=hint)

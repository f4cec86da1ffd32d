"""A table of labels read by its schema: every row checked, all that is wrong told at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ecgvision.dataset.about import DatasetError
from ecgvision.dataset.schema import Schema, key_meaning
from ecgvision.dataset.table import Table, raise_all, read_table

Value = float | str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table: what it is about, and what is known; `line` is the row's number."""

    line: int
    keys: dict[str, str | int | None]
    values: dict[str, Value] = field(repr=False)

    @property
    def join_key(self) -> str:
        return str(self.keys.get("source") or self.keys.get("record"))

    @property
    def patient(self) -> str:
        return str(self.keys["patient"])


def read_labels(path: Path, schema: Schema) -> list[Entry]:
    """All rows of the table; raises `DatasetError` that tells what is wrong with it, by row."""
    table = read_table(path)
    _check_columns(table, schema)
    problems: list[str] = []
    entries = [_entry(table, schema, number, problems) for number in range(len(table))]
    if not problems:
        problems += _twice(entries)
        problems += _two_patients(entries)
    raise_all(table.path, problems, "values as the schema has them")
    return entries


def _check_columns(table: Table, schema: Schema) -> None:
    wanted = [column for _, column in schema.columns.named()]
    wanted += [rule.column or name for name, (_, rule) in schema.rules().items()]
    lacking = [name for name in dict.fromkeys(wanted) if name not in table.columns]
    if lacking:
        there = ", ".join(list(table.columns)[:40])
        raise DatasetError(
            "table-wrong",
            table.path,
            None,
            expected=f"columns {', '.join(lacking)}",
            found=f"only {there}",
            hint="name the table's own columns in the schema or the options",
        )


def _entry(table: Table, schema: Schema, number: int, problems: list[str]) -> Entry:
    line = table.lines[number]
    keys: dict[str, str | int | None] = {}
    values: dict[str, Value] = {}

    def wrong(column: str, expected: object) -> None:
        found = table.columns[column][number]
        problems.append(f"row {line}, column {column}: expected {expected}, found {found!r}")

    for name, column in schema.columns.named():
        try:
            keys[name] = key_meaning(name, table.columns[column][number], schema.missing)
        except ValueError as error:
            wrong(column, error)
        else:
            if keys[name] is None and name in ("source", "record", "patient", "page"):
                wrong(column, "a value")
    for name, (_, rule) in schema.rules().items():
        column = rule.column or name
        try:
            values[name] = rule.meaning(table.columns[column][number])
        except ValueError as error:
            wrong(column, error)
    return Entry(line, keys, values)


def _twice(entries: list[Entry]) -> Iterator[str]:
    seen: dict[tuple[str, object], int] = {}
    for entry in entries:
        key = (entry.join_key, entry.keys.get("page"))
        first = seen.setdefault(key, entry.line)
        if first != entry.line:
            page = "" if key[1] is None else f", page {key[1]}"
            yield f"rows {first} and {entry.line}: both are about {key[0]!r}{page}"


def _two_patients(entries: list[Entry]) -> Iterator[str]:
    seen: dict[object, Entry] = {}
    for entry in entries:
        record = entry.keys.get("record")
        first = seen.setdefault(record, entry) if record is not None else entry
        if first.patient != entry.patient:
            yield (
                f"rows {first.line} and {entry.line}: one record, {record!r}, of two patients, "
                f"{first.patient!r} and {entry.patient!r}"
            )

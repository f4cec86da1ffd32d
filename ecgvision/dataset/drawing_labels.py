"""What is known of the records that are drawn, from a table with a schema, and that of PTB-XL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ecgvision.dataset.about import ColumnInfo, DatasetError
from ecgvision.dataset.labels import Entry, read_labels
from ecgvision.dataset.schema import ColumnRule, Keys, Schema, read_schema
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.dataset.records import Records
    from ecgvision.plugins import Format, Formats

SCHEMA = "schema.toml"
"""The schema of the labels that lie beside records."""

_BINARY: dict[str, Any] = {"values": "binary"}
# Wagner et al., PTB-XL, a large publicly available electrocardiography dataset. Scientific Data
# 2020;7:154. Ages over 89 are hidden as 300; sex is 0 for men and 1 for women.
PTBXL_SCHEMA = Schema(
    columns=Keys(record="ecg_id", patient="patient_id", fold="strat_fold"),
    clinical={
        "age_years": ColumnRule(
            column="age", at_least=0, at_most=120, replace={"300": 90.0}, title="Age (years)"
        ),
        "sex": ColumnRule(**_BINARY, title="Female"),
    },
    labels={
        "norm": ColumnRule(**_BINARY, title="Normal ECG"),
        "mi": ColumnRule(**_BINARY, title="Myocardial infarction"),
        "sttc": ColumnRule(**_BINARY, title="ST/T change"),
        "cd": ColumnRule(**_BINARY, title="Conduction disturbance"),
        "hyp": ColumnRule(**_BINARY, title="Hypertrophy"),
        "infarction_stadium": ColumnRule(values="text", title="Stadium of infarction"),
    },
    other={"scp_codes": ColumnRule(values="text", title="SCP statements")},
)
"""The packed PTB-XL's `labels.csv`; an age over 89 years is told as 90."""


@dataclass(frozen=True)
class Labelled:
    """What is known of each record; `format_of` where it was printed in one format alone."""

    entries: Mapping[str, Entry] = field(default_factory=dict, repr=False)
    schema: Schema | None = None
    format_of: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def columns(self) -> dict[str, ColumnInfo]:
        rules = {} if self.schema is None else self.schema.rules()
        return {n: ColumnInfo(role=role, title=rule.title) for n, (role, rule) in rules.items()}

    def rows(
        self, records: Sequence[str], format_ids: Sequence[str], drawings: Sequence[int]
    ) -> pd.DataFrame:
        """A row for each page; a record of which nothing is known is of a patient of its own."""
        nobody = Entry(0, {}, {})
        entries = [self.entries.get(record, nobody) for record in records]
        columns: dict[str, list[Any]] = {
            "record": list(records),
            "patient": [
                entry.keys.get("patient") or record
                for record, entry in zip(records, entries, strict=True)
            ],
            "source": [f"{a}-{b}" for a, b in zip(records, format_ids, strict=True)],
            "page": [1] * len(records),
            "drawing": list(drawings),
            "format": list(format_ids),
        }
        for name in ("year", "fold", "group"):
            columns[name] = [entry.keys.get(name) for entry in entries]
        for name in self.columns:
            columns[name] = [entry.values.get(name) for entry in entries]
        return pd.DataFrame({n: pd.Series(values, dtype=object) for n, values in columns.items()})


def read_labelled(records: Records, table: Path | None, schema: Path | None) -> Labelled:
    """The labels that were named, or lie beside the records; raises `DatasetError`.

    Beside them they need a schema; PTB-XL's is known.
    """
    path = table or records.labels
    if path is None:
        return Labelled()
    if schema is not None:
        rules = read_schema(schema)
    elif records.ptbxl and table is None:
        rules = PTBXL_SCHEMA
    elif (path.parent / SCHEMA).is_file():
        rules = read_schema(path.parent / SCHEMA)
    elif table is None:
        return Labelled()
    else:
        raise DatasetError(
            "schema-missing",
            path,
            None,
            expected=f"a schema: --schema TOML, or {SCHEMA} beside the table",
            found="none",
            hint="docs/datasets.md describes it",
        )
    entries = {_record(entry, path): entry for entry in read_labels(path, rules)}
    format_of = {
        record: str(entry.keys["format"])
        for record, entry in entries.items()
        if entry.keys.get("format")
    }
    return Labelled(entries, rules, format_of)


def _record(entry: Entry, path: Path) -> str:
    record = entry.keys.get("record")
    if record is None:
        raise DatasetError(
            "schema-wrong",
            path,
            None,
            expected="a column that names the record",
            found="none in the schema",
            hint='give the schema record = "COLUMN" under [columns]',
        )
    return str(record)


def formats_to_draw(
    labelled: Labelled, names: Sequence[str], records: Sequence[str], installed: Formats
) -> tuple[Labelled, tuple[Format, ...]]:
    """Who is drawn in which format: every record in all of `names`, or each in its own.

    Raises `UsageError` for an unknown format, and for a record without any.
    """
    if names:
        formats = {one.info.id: one for one in map(installed.find, names)}
        return Labelled(labelled.entries, labelled.schema), tuple(formats.values())
    lacking = [record for record in records if record not in labelled.format_of]
    if lacking:
        raise UsageError(
            f"no label says in which format record {lacking[0]!r} was printed; "
            "name formats with --format"
        )
    found = {name: installed.find(name) for name in sorted(set(labelled.format_of.values()))}
    own = {record: found[name].info.id for record, name in labelled.format_of.items()}
    used = {own[record] for record in records}
    return (
        Labelled(labelled.entries, labelled.schema, own),
        tuple(one for one in found.values() if one.info.id in used),
    )

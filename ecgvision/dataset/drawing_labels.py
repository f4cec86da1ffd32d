"""What is known of the records that are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ecgvision.dataset.about import FIXED_COLUMNS, WHOLE_COLUMNS, ColumnInfo, DatasetError
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecgvision.plugins import Format, Formats

_CLINICAL = ("age_years", "sex", "smoking", "diabetes", "hypertension", "dyslipidemia")


@dataclass(frozen=True)
class Labelled:
    """What is known of each record: one row each, indexed by the record's name.

    `columns` gives the role of those that are not among the fixed ones of a data set. `format_of`
    says in which format a record was printed, where the table knows.
    """

    rows: pd.DataFrame
    columns: dict[str, ColumnInfo]
    format_of: dict[str, str] = field(default_factory=dict)

    @classmethod
    def nothing(cls) -> Labelled:
        return cls(pd.DataFrame(index=pd.Index([], dtype=object)), {})

    def in_formats(
        self, names: Sequence[str], records: Sequence[str], installed: Formats
    ) -> tuple[Labelled, tuple[Format, ...]]:
        """Who is drawn in which format: every record in all of `names`, or each in its own.

        Raises `UsageError` for an unknown format, and for a record without any.
        """
        if names:
            formats = {one.info.id: one for one in map(installed.find, names)}
            return replace(self, format_of={}), tuple(formats.values())
        lacking = [record for record in records if record not in self.format_of]
        if lacking:
            raise UsageError(
                f"the labels do not say in which format record {lacking[0]!r} was printed; "
                "name formats with --format"
            )
        found = {name: installed.find(name) for name in sorted(set(self.format_of.values()))}
        own = {record: found[name].info.id for record, name in self.format_of.items()}
        return replace(self, format_of=own), tuple(found.values())


def read_labelled(path: Path) -> Labelled:
    """A table of labels by `record`; raises `DatasetError` where there is no such column."""
    try:
        table = pd.read_csv(path, dtype={"record": str, "patient": str, "format": str})
    except (OSError, ValueError) as error:
        raise _wrong(path, f"something else ({type(error).__name__})") from error
    if "record" not in table:
        raise _wrong(path, "no column record")
    if table["record"].duplicated().any() or table["record"].isna().any():
        raise _wrong(path, "a record twice, or a row without one")
    rows = table.set_index("record")
    format_of = rows.pop("format").dropna().to_dict() if "format" in rows else {}
    for name in WHOLE_COLUMNS:
        if name in rows:
            rows[name] = rows[name].astype("Int64")
    columns = {
        name: ColumnInfo(role="clinical" if name in _CLINICAL else "label")
        for name in rows
        if name not in FIXED_COLUMNS
    }
    return Labelled(rows, columns, format_of)


def _wrong(path: Path, found: str) -> DatasetError:
    return DatasetError(
        "labels-wrong",
        path,
        None,
        expected="a table with a row for each record, named in the column record",
        found=found,
        hint="see docs/render.md",
    )

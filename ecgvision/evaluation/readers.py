"""Readers: people whose sensitivity and specificity stand as points in a ROC diagram."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from ecgvision.errors import PageError
from ecgvision.evaluation.estimates import Estimate
from ecgvision.evaluation.rates import wilson

NEEDED = ("task", "reader", "sensitivity", "specificity")
OPTIONAL = ("format", "positives", "negatives", "note")


class ReadersError(PageError):
    """A table of readers cannot be used; the message names row and column."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader at one task. `format` is the one they read, empty for all.

    `positives` and `negatives` are how many ECGs they read, 0 where that is not known.
    """

    task: str
    name: str
    sensitivity: float
    specificity: float
    format: str = ""
    positives: int = 0
    negatives: int = 0
    note: str = ""

    @property
    def intervals(self) -> tuple[Estimate, Estimate]:
        """Sensitivity and specificity, with Wilson's intervals where the numbers are known."""
        return (
            _interval(self.sensitivity, self.positives),
            _interval(self.specificity, self.negatives),
        )


_STUDY_NOTE = "the study's own test ECGs (new format), not these"
STUDY = (
    Reader("scar", "cardiologist, experienced", 0.441, 0.926, "philips-tc30", note=_STUDY_NOTE),
    Reader("scar", "cardiologist, in training", 0.445, 0.864, "philips-tc30", note=_STUDY_NOTE),
)
"""The two cardiologists of the study (doi 10.1038/s41598-024-58131-6)."""


def read_readers(path: Path) -> tuple[Reader, ...]:
    """Readers from a CSV with the columns `NEEDED` and any of `OPTIONAL`; raises `ReadersError`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
        raise _wrong(path, "a CSV in UTF-8", why) from error
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
        columns = set(rows[0]) if rows else set()
    except csv.Error as error:
        raise _wrong(path, "a CSV", str(error)) from error
    if not rows or not set(NEEDED) <= columns <= {*NEEDED, *OPTIONAL}:
        found = ", ".join(sorted(str(name) for name in columns)) or "no row"
        needed = f"the columns {', '.join(NEEDED)}, and any of {', '.join(OPTIONAL)}"
        raise _wrong(path, needed, found)
    return tuple(_reader(path, number, row) for number, row in enumerate(rows, 1))


def _reader(path: Path, number: int, row: dict[str, str | None]) -> Reader:
    told = {name: (value or "").strip() for name, value in row.items()}
    for name in ("task", "reader"):
        if not told[name]:
            raise _wrong(path, f"a name in column {name}, row {number}", "nothing")
    return Reader(
        told["task"],
        told["reader"],
        _share(path, number, "sensitivity", told["sensitivity"]),
        _share(path, number, "specificity", told["specificity"]),
        told.get("format", ""),
        _count(path, number, "positives", told.get("positives", "")),
        _count(path, number, "negatives", told.get("negatives", "")),
        told.get("note", ""),
    )


def _share(path: Path, number: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        expected = f"a share from 0 to 1, such as 0.441, in column {column}, row {number}"
        raise _wrong(path, expected, repr(text))
    return value


def _count(path: Path, number: int, column: str, text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise _wrong(path, f"a number of ECGs in column {column}, row {number}", repr(text))
    return int(text)


def _interval(share: float, n: int) -> Estimate:
    if not n:
        return Estimate(share, note="how many were read is not known")
    found = wilson(round(share * n), n)
    return Estimate(share, found.low, found.high, found.method)


def _wrong(path: Path, expected: str, found: str) -> ReadersError:
    hint = "mend the table of --readers"
    return ReadersError("readers", path, None, expected=expected, found=found, hint=hint)

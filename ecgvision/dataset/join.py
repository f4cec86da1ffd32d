"""Joins pages with rows of a table of labels; says of everything left out why."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ecgvision.dataset.about import DatasetError
from ecgvision.dataset.candidates import Candidate, Sources
from ecgvision.dataset.labels import Entry
from ecgvision.dataset.table import raise_all

LEFT_OUT = "left-out.csv"
"""The list of what did not become an example, in the folder of the data set."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A page or a row of the table that is not in the data set, and why."""

    source: str
    page: int | None
    row: int | None
    reason: str
    message: str


@dataclass(frozen=True)
class Joined:
    """Pages with their labels, in the order of the pages, and what was left out."""

    pairs: list[tuple[Candidate, Entry]] = field(repr=False)
    left_out: list[LeftOut] = field(repr=False)


def join(
    candidates: Sequence[Candidate], entries: Sequence[Entry], table: Path, *, several: bool
) -> Joined:
    """Give every page the row that is about it: the first page of a file, or the one it names.

    Raises `DatasetError` where a row fits several files, unless `several`, or two rows one page.
    """
    wanted = _wanted(candidates, entries, table, several)
    of_file = {source: entry for (source, _), entry in wanted.items()}
    pairs, left_out, used = [], [], set()
    for candidate in candidates:
        entry = wanted.get((candidate.source, candidate.page))
        if candidate.page == 0:  # the whole file could not be read
            entry = of_file.get(candidate.source)
        if entry is not None:
            used.add(entry.line)
        line = entry.line if entry else None
        if candidate.reason:
            left_out.append(_left(candidate, line, candidate.reason, candidate.message))
        elif entry is None:
            left_out.append(_left(candidate, None, *_without(candidate, wanted)))
        else:
            pairs.append((candidate, entry))
    left_out += [
        LeftOut(entry.join_key, _page(entry), entry.line, "no-page", "no page of that name")
        for entry in entries
        if entry.line not in used
    ]
    return Joined(pairs, left_out)


def _wanted(
    candidates: Sequence[Candidate], entries: Sequence[Entry], table: Path, several: bool
) -> dict[tuple[str, int], Entry]:
    """The row for each page that one is about."""
    sources = Sources(candidates)
    wanted: dict[tuple[str, int], Entry] = {}
    problems = []
    for entry in entries:
        found = sources.find(entry.join_key)
        if len(found) > 1 and not several:
            shown = ", ".join(found[:3])
            problems.append(
                f"row {entry.line}: {entry.join_key!r} fits {len(found)} files, {shown}"
                " (name them with their folders, or say --several if all show that record)"
            )
            continue
        for source in found:
            other = wanted.setdefault((source, _page(entry)), entry)
            if other is not entry:
                problems.append(f"rows {other.line} and {entry.line}: both are about {source!r}")
    raise_all(table, problems, "one row for each page, and one page for each row")
    return wanted


def _page(entry: Entry) -> int:
    page = entry.keys.get("page")
    return 1 if page is None else int(page)


def _left(candidate: Candidate, line: int | None, reason: str, message: str) -> LeftOut:
    return LeftOut(candidate.source, candidate.page, line, reason, message)


def _without(candidate: Candidate, wanted: dict[tuple[str, int], Entry]) -> tuple[str, str]:
    if candidate.page > 1 and (candidate.source, 1) in wanted:
        return "other-page", "the table is about another page of the file"
    return "no-label", "no row of the table is about it"


def record_of(candidate: Candidate, entry: Entry) -> str:
    """The ECG's id: what the table says, or the path of the file without its ending."""
    record = entry.keys.get("record")
    if record is not None:
        return str(record)
    stem = PurePosixPath(candidate.source).with_suffix("").as_posix()
    return stem if candidate.page <= 1 else f"{stem}-p{candidate.page}"


def refuse_nothing(
    joined: Joined, candidates: Sequence[Candidate], entries: Sequence[Entry], table: Path
) -> None:
    """Raise `DatasetError` where no example is left, with what both sides are called."""
    if joined.pairs:
        return
    usable = [one for one in candidates if not one.reason] or candidates
    counts = Counter(one.reason for one in joined.left_out)
    told = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    raise DatasetError(
        "dataset-empty",
        table,
        None,
        expected="rows that are about pages that came out",
        found=f"none ({told})",
        hint=f"pages are called {_shown(c.source for c in usable)}, rows are about "
        f"{_shown(e.join_key for e in entries)}",
    )


def _shown(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for _, name in zip(range(2), names, strict=False))


def left_out_bytes(left_out: Iterable[LeftOut]) -> bytes:
    """The list as CSV: source, page, row of the table, reason, message."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "page", "row", "reason", "message"])
    for one in left_out:
        writer.writerow([one.source, one.page, one.row, one.reason, one.message])
    return text.getvalue().encode("utf-8")

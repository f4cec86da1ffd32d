"""The numbers of a report, counted in one pass over the manifest's rows."""

from __future__ import annotations

import heapq
import json
import math
import zlib
from array import array
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecgvision.report.manifest import Row
from ecgvision.report.throughput import Clock, Throughput

STATUSES = ("done", "refused", "failed")

_EXAMPLES = 6
_SLOWEST = 10
# Values that machines print, for the histograms of scales.
_SPEEDS = (12.5, 25.0, 50.0, 100.0)
_GAINS = (2.5, 5.0, 10.0, 20.0, 40.0)
_ALIKE = 0.05
_COUNTED = (
    "reasons",
    "quality",
    "findings",
    "warnings",
    "formats",
    "origins",
    "years",
    "scale_sources",
    "speeds",
    "gains",
    "options",
    "versions",
)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many came out, were refused, failed."""

    done: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        return self.done + self.refused + self.failed


@dataclass(frozen=True, slots=True)
class Example:
    """One page of the manifest, to be looked up."""

    source: str
    root: str
    source_bytes: int
    source_mtime_ns: int
    page: int
    status: str
    reason: str
    message: str
    origin: str
    format: str
    layout: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reason:
    """The pages of one reason code, and some of them picked at random."""

    code: str
    outcomes: Outcomes
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds that pages took; all 0 where there are none."""

    median_s: float = 0.0
    p95_s: float = 0.0
    longest_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True)
class Figures:
    """All numbers of a report. Mappings run from the most frequent to the rarest, years upwards.

    `findings` and `warnings` count pages by code; `scale_sources` pages by where (speed, gain)
    came from. Blank keys stand for what is not known.
    """

    pages: Outcomes
    files: Outcomes
    source_bytes: int
    reasons: tuple[Reason, ...]
    quality: Mapping[str, int]
    findings: Mapping[str, int]
    warnings: Mapping[str, int]
    formats: Mapping[tuple[str, str], Outcomes]
    origins: Mapping[str, Outcomes]
    years: Mapping[int | None, Outcomes]
    scale_sources: Mapping[tuple[str, str], int]
    speeds: Mapping[float | None, int]
    gains: Mapping[float | None, int]
    durations: Durations
    slowest: tuple[Example, ...]
    retried: int
    throughput: Throughput
    first_s: float | None
    last_s: float | None
    untimed: int
    options: Mapping[str, int]
    versions: Mapping[str, int]


def count(rows: Iterable[Row]) -> Figures:
    """Count all rows; raises `ValueError` for a status that is none."""
    tally = _Tally()
    for row in rows:
        tally.add(row)
    return tally.figures()


@dataclass
class _Files:
    """What is known per file, in 17 bytes a row: a set of names would outgrow everything else."""

    keys: array[int] = field(default_factory=lambda: array("q"))
    worst: array[int] = field(default_factory=lambda: array("B"))
    sizes: array[int] = field(default_factory=lambda: array("q"))

    def add(self, source: str, status: int, source_bytes: int) -> None:
        self.keys.append(hash(source))  # 64 bits: among a million names two are alike once in 10^7
        self.worst.append(status)
        self.sizes.append(source_bytes)

    def counted(self) -> tuple[Outcomes, int]:
        """Files by the worst of their pages, and the bytes of all files."""
        if not self.keys:
            return Outcomes(), 0
        order = np.argsort(np.frombuffer(self.keys, np.int64), kind="stable")
        keys = np.frombuffer(self.keys, np.int64)[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        worst = np.maximum.reduceat(np.frombuffer(self.worst, np.uint8)[order], starts)
        sizes = np.maximum.reduceat(np.frombuffer(self.sizes, np.int64)[order], starts)
        counts = np.bincount(worst, minlength=len(STATUSES))
        return Outcomes(*(int(one) for one in counts)), int(sizes.sum())


class _Tally:
    def __init__(self) -> None:
        self.files = _Files()
        self.clock = Clock()
        self.seconds = array("d")
        self.retried = 0
        self.pages: Counter[Any] = Counter()
        self.by: dict[str, Counter[Any]] = {name: Counter() for name in _COUNTED}
        self.examples: dict[str, list[tuple[int, int, Example]]] = {}
        self.slowest: list[tuple[float, int, Example]] = []

    def add(self, row: Row) -> None:
        status = row["status"]
        if status not in STATUSES:
            raise ValueError(f"a page's status is done, refused or failed, found {status!r}")
        seconds = _seconds(row)
        self.files.add(row["source"] or "", STATUSES.index(status), row["source_bytes"] or 0)
        self.clock.add(row["finished_at"], seconds)
        self.seconds.append(seconds)
        self.retried += (row["attempts"] or 1) > 1
        self.pages[status] += 1
        self._count(row, status)
        if status != "done":
            self._exemplify(row)
        # The running number keeps the earlier of two that took as long.
        slow = (seconds, -len(self.seconds))
        if len(self.slowest) < _SLOWEST:
            heapq.heappush(self.slowest, (*slow, _example(row)))
        elif slow > self.slowest[0][:2]:
            heapq.heapreplace(self.slowest, (*slow, _example(row)))

    def _count(self, row: Row, status: str) -> None:
        by = self.by
        if status != "done":
            by["reasons"][row["reason"] or "", status] += 1
        by["quality"][row["quality"] or ""] += 1
        by["findings"].update(set(row["findings"] or ()))
        by["warnings"].update(set(row["warnings"] or ()))
        by["formats"][(row["format"] or "", row["layout"] or ""), status] += 1
        by["origins"][row["origin"] or "", status] += 1
        by["years"][row["year"], status] += 1
        by["options"][row["options"] or ""] += 1
        by["versions"][row["versions"] or ""] += 1
        if row["speed_mm_per_s"] is not None or row["gain_mm_per_mv"] is not None:
            by["scale_sources"][row["speed_from"] or "", row["gain_from"] or ""] += 1
            by["speeds"][_printed(row["speed_mm_per_s"], _SPEEDS)] += 1
            by["gains"][_printed(row["gain_mm_per_mv"], _GAINS)] += 1

    def _exemplify(self, row: Row) -> None:
        """Keep the page if chance, which is the same in every run, says so; one of each file."""
        source, kept = row["source"] or "", self.examples.setdefault(row["reason"] or "", [])
        chance = zlib.crc32(source.encode("utf-8", "surrogatepass"))
        full = len(kept) == _EXAMPLES
        if (full and chance >= kept[-1][0]) or any(one.source == source for *_, one in kept):
            return
        insort(kept, (chance, len(self.seconds), _example(row)), key=lambda one: one[:2])
        del kept[_EXAMPLES:]

    def figures(self) -> Figures:
        by = self.by
        files, source_bytes = self.files.counted()
        return Figures(
            pages=Outcomes(*(self.pages[status] for status in STATUSES)),
            files=files,
            source_bytes=source_bytes,
            reasons=self._reasons(),
            quality=_ranked(by["quality"]),
            findings=_ranked(by["findings"]),
            warnings=_ranked(by["warnings"]),
            formats=_outcomes(by["formats"]),
            origins=_outcomes(by["origins"]),
            years=dict(sorted(_outcomes(by["years"]).items(), key=_year_order)),
            scale_sources=_ranked(by["scale_sources"]),
            speeds=_ranked(by["speeds"]),
            gains=_ranked(by["gains"]),
            durations=_durations(self.seconds),
            slowest=tuple(one for *_, one in sorted(self.slowest, key=lambda s: s[:2])[::-1]),
            retried=self.retried,
            throughput=self.clock.throughput(),
            first_s=self.clock.first_s,
            last_s=self.clock.last_s,
            untimed=self.clock.untimed,
            options=_ranked(by["options"]),
            versions=_ranked(_told(by["versions"])),
        )

    def _reasons(self) -> tuple[Reason, ...]:
        return tuple(
            Reason(code, outcomes, tuple(one for *_, one in self.examples[code]))
            for code, outcomes in _outcomes(self.by["reasons"]).items()
        )


def _example(row: Row) -> Example:
    return Example(
        source=row["source"] or "",
        root=row["root"] or "",
        source_bytes=row["source_bytes"] or 0,
        source_mtime_ns=row["source_mtime_ns"] or 0,
        page=row["page"] or 0,
        status=row["status"],
        reason=row["reason"] or "",
        message=row["message"] or "",
        origin=row["origin"] or "",
        format=row["format"] or "",
        layout=row["layout"] or "",
        seconds=_seconds(row),
    )


def _seconds(row: Row) -> float:
    seconds = row["seconds"] or 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _printed(value: float | None, known: tuple[float, ...]) -> float | None:
    """The value that machines print and that is meant: the known one within 5 %, else none."""
    if value is None or not math.isfinite(value):
        return None
    return next((one for one in known if abs(value / one - 1) <= _ALIKE), None)


def _ranked(counts: Mapping[Any, int]) -> dict[Any, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))))


def _outcomes(counts: Mapping[tuple[Any, str], int]) -> dict[Any, Outcomes]:
    """From counts of (key, status) to outcomes by key, the most frequent first."""
    keys = _ranked(_sums(counts))
    return {key: Outcomes(*(counts.get((key, s), 0) for s in STATUSES)) for key in keys}


def _sums(counts: Mapping[tuple[Any, str], int]) -> Counter[Any]:
    sums: Counter[Any] = Counter()
    for (key, _), number in counts.items():
        sums[key] += number
    return sums


def _year_order(item: tuple[int | None, Outcomes]) -> float:
    return math.inf if item[0] is None else item[0]


def _durations(seconds: array[float]) -> Durations:
    if not seconds:
        return Durations()
    all_s = np.frombuffer(seconds, np.float64)
    median_s, p95_s = np.percentile(all_s, [50, 95])
    return Durations(float(median_s), float(p95_s), float(all_s.max()), float(all_s.sum()))


def _told(versions: Mapping[str, int]) -> Counter[str]:
    """The JSON of versions as words, such as "ecgvision 1.0, python 3.12"."""
    told: Counter[str] = Counter()
    for text, number in versions.items():
        try:
            known = json.loads(text) if text else {}
        except ValueError:
            known = {}
        pairs = sorted(known.items()) if isinstance(known, dict) else []
        told[", ".join(f"{name} {version}" for name, version in pairs)] += number
    return told

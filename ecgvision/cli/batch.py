"""What `convert` says while it runs and at its end: failures, progress, and a summary."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import error_line, printable

if TYPE_CHECKING:
    from ecgvision.archive.rows import PageRow

# With more failures than that only their number is told: the manifest has them all.
_MOST_LINES = 50
# How often the progress is told, on a terminal and elsewhere.
_TERMINAL_S, _PLAIN_S = 0.2, 60.0
_REASONS_SHOWN = 3


@dataclass
class Teller:
    """Counts what becomes of `total` files, and tells it on stderr."""

    total: int
    clock: Callable[[], float] = time.monotonic
    written: int = 0
    noted: int = 0
    withheld: int = 0
    kept_done: int = 0
    kept_refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    _over: int = 0
    _converted: int = 0

    def __post_init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._began_s = self._told_s = self.clock()
        if self._terminal:
            self._tell()

    @property
    def failed(self) -> int:
        """How many pages were refused or failed now."""
        return self.reasons.total()

    @property
    def is_well(self) -> bool:
        """Whether every page of the inputs is done, now or in an earlier run."""
        return not (self.failed or self.kept_refused)

    def kept(self, done: int, refused: int) -> None:
        self._over += 1
        self.kept_done += done
        self.kept_refused += refused
        self.tick()

    def finished(self, folder: Path, rows: Sequence[PageRow], traces: Sequence[str]) -> None:
        self._over += 1
        self._converted += 1
        for row in rows:
            if row.status == "done":
                self.written += 1
                self.noted += bool(row.warnings) or row.quality not in ("", "good")
            else:
                self._fail(folder, row)
        for trace in traces:
            error_line(trace)
        self.tick()

    def tick(self) -> None:
        """Tell the progress, if it is time."""
        pause_s = _TERMINAL_S if self._terminal else _PLAIN_S
        if self.clock() - self._told_s >= pause_s:
            self._tell()

    def end(self) -> None:
        """Tell how far it came, and, where not all failures were told, how many there are."""
        if self._terminal:
            self._tell()
            click.echo(err=True)
        if self.failed > _MOST_LINES:
            for reason, count in self.reasons.most_common():
                error_line(f"{count} {reason}")

    def summary(self) -> str:
        pages = "page" if self.written == 1 else "pages"
        noted = f"; {self.noted} with warnings, see the JSON" if self.noted else ""
        withheld = f", {self.withheld} of them only in their signals" if self.withheld else ""
        count = self.kept_done + self.kept_refused
        refused = f" ({self.kept_refused} of them refused)" if self.kept_refused else ""
        kept = f", {count} kept{refused}" if count else ""
        return f"{self.written} {pages} written, {self.failed} failed{withheld}{kept}{noted}"

    def _fail(self, folder: Path, row: PageRow) -> None:
        """Count it and tell it; errors name the file only, so its sub-folder goes before it."""
        self.reasons[row.reason] += 1
        self.withheld += row.status == "refused" and bool(row.outputs)
        if self.failed <= _MOST_LINES:
            named = row.reason != "output-unwritable"  # which names an output
            inside = printable(f"{folder}{os.sep}") if named and folder != Path() else ""
            error_line(f"{inside}{row.message}")
        elif self.failed == _MOST_LINES + 1:
            error_line("further failures are counted only; the manifest names them")

    def _tell(self) -> None:
        self._told_s = self.clock()
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[2K{self._progress()[:width]}", err=True, nl=False)
        else:
            click.echo(self._progress(), err=True)

    def _progress(self) -> str:
        """Files that are over, pages per second, the time that is left, and the failures."""
        parts = [f"Converting {self._over}/{self.total}"]
        seconds = self.clock() - self._began_s
        if self._converted and seconds > 0:
            pages = self.written + self.failed
            parts.append(f"{pages / seconds:.3g} pages/s")
            if self._over < self.total:
                left_s = (self.total - self._over) * seconds / self._converted
                parts.append(f"{_duration(left_s)} left")
        reasons = self.reasons.most_common(_REASONS_SHOWN)
        if reasons:
            told = ", ".join(f"{count} {reason}" for reason, count in reasons)
            more = ", ..." if len(self.reasons) > _REASONS_SHOWN else ""
            parts.append(f"{self.failed} failed: {told}{more}")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    """The time in two units at most.

    >>> [_duration(s) for s in (7, 95, 3 * 3600, 100_000)]
    ['7 s', '1 min 35 s', '3 h 0 min', '1 d 3 h']
    """
    whole = round(seconds)
    units = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    for size, name, smaller, part in units:
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller} {part}"
    return f"{whole} s"

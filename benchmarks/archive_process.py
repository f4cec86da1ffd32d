"""`ecgvision convert` over an archive, watched from outside, and killed with all its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ecgvision.archive.journal import JOURNAL

_POLL_S = 0.2
_DONE_MARK = b'"kind":"file"'


@dataclass(frozen=True)
class Asked:
    """How `ecgvision convert` is called; `timeout_s` is for one page, `more` other options."""

    reports: Path
    workers: int
    signals: str = ""
    timeout_s: float = 600.0
    more: tuple[str, ...] = ()

    def command(self, out: Path) -> list[str]:
        base = [sys.executable, "-m", "ecgvision", "convert", str(self.reports), "-o", str(out)]
        limits = ["--workers", str(self.workers), "--timeout", f"{self.timeout_s:g}"]
        signals = ["--signals", self.signals] if self.signals else []
        return [*base, *limits, *signals, *(self.more or ("--format", "auto"))]


@dataclass(frozen=True)
class Spell:
    """One start of the command up to its end; `code` is negative where a signal ended it.

    `files_done` is how many files the journal held at the kill. `peak_mb` is the most that any
    one of its processes had in memory.
    """

    seconds: float
    code: int
    peak_mb: float
    files_done: int = 0


def spell(asked: Asked, out: Path, log: Path, kill_at: int = 0, delay_s: float = 0.0) -> Spell:
    """Run the command; kill its process group `delay_s` after `kill_at` files are in the journal.

    With `kill_at` 0 it runs to its end.
    """
    seen = JournalCount(out / JOURNAL)
    peak_mb = 0.0
    started = time.monotonic()
    with log.open("ab") as told:
        process = subprocess.Popen(
            asked.command(out), stdout=told, stderr=told, start_new_session=True
        )
        try:
            while process.poll() is None:
                peak_mb = max([peak_mb, *peaks_mb(process.pid).values()])
                if kill_at and seen.count() >= kill_at:
                    time.sleep(delay_s)
                    break
                time.sleep(_POLL_S)
        finally:
            end_group(process)
    return Spell(time.monotonic() - started, process.returncode, peak_mb, seen.count())


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all its workers at once, and wait until none of them runs."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while any(True for _ in group(process.pid)):
        if time.monotonic() > deadline:
            raise RuntimeError("a killed run goes on for 30 s")
        time.sleep(0.02)


def group(group_id: int) -> Iterator[int]:
    """The processes of a group that are alive; those that wait to be buried are not."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        state, _, its_group = told.rpartition(")")[2].split()[:3]
        if int(its_group) == group_id and state not in "ZX":
            yield int(path.name)


def peaks_mb(group_id: int) -> dict[int, float]:
    """The greatest resident memory that each process of the group has had so far, in MB."""
    found: dict[int, float] = {}
    for process in group(group_id):
        try:
            told = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in told.splitlines():
            if line.startswith("VmHWM:"):
                found[process] = int(line.split()[1]) / 1024
    return found


class JournalCount:
    """How many files a growing journal says are done; each byte is read once."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._found, self._rest = path, 0, 0, b""

    def count(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                fresh = file.read()
            self._at += len(fresh)
            lines = (self._rest + fresh).split(b"\n")
            self._rest = lines.pop()
            self._found += sum(_DONE_MARK in line[:40] for line in lines)
        return self._found

"""How fast a run was: pages counted by the time they were finished, pauses left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

# Counting by the second would fill the memory over months: more seconds than this are merged.
_MOST_BINS = 4096
# With no page finished for this long, the run stood still or was over.
_PAUSE_S = 600.0
_MOST_SPELLS = 120
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Spell:
    """`pages` finished in the `seconds` from `start_s`, seconds since 1970."""

    start_s: float
    seconds: float
    pages: int

    @property
    def pages_per_s(self) -> float:
        return self.pages / self.seconds


@dataclass(frozen=True, slots=True)
class Throughput:
    """The times in which work went on, each cut into spells; between them the run stood still."""

    stretches: tuple[tuple[Spell, ...], ...] = ()

    @property
    def pages(self) -> int:
        return sum(spell.pages for stretch in self.stretches for spell in stretch)

    @property
    def seconds(self) -> float:
        return sum(spell.seconds for stretch in self.stretches for spell in stretch)

    @property
    def pages_per_s(self) -> float:
        return self.pages / self.seconds if self.stretches else 0.0


class Clock:
    """Counts pages as they come, in any order; its memory does not grow with their number."""

    def __init__(self) -> None:
        self.first_s: float | None = None
        self.last_s: float | None = None
        self.untimed = 0
        self._step_s = 1
        # Per step of time: pages, when the first of them began, when the last ended.
        self._bins: dict[int, tuple[int, float, float]] = {}

    def add(self, finished_at: str | None, seconds: float) -> None:
        end_s = seconds_since_1970(finished_at)
        if end_s is None:
            self.untimed += 1
            return
        self.first_s = end_s if self.first_s is None else min(self.first_s, end_s)
        self.last_s = end_s if self.last_s is None else max(self.last_s, end_s)
        self._put(int(end_s // self._step_s), (1, end_s - max(seconds, 0.0), end_s))
        while len(self._bins) > _MOST_BINS:
            self._coarsen()

    def throughput(self) -> Throughput:
        stretches = [self._stretch(keys) for keys in self._runs()]
        total_s = sum(end_s - begin_s for begin_s, end_s, _ in stretches)
        step_s = next((s for s in _STEPS_S if total_s / s <= _MOST_SPELLS), _STEPS_S[-1])
        return Throughput(
            tuple(
                _spells(begin_s, end_s, counts, max(step_s, self._step_s))
                for begin_s, end_s, counts in stretches
            )
        )

    def _put(self, key: int, new: tuple[int, float, float]) -> None:
        pages, begin_s, end_s = self._bins.get(key, (0, new[1], new[2]))
        self._bins[key] = (pages + new[0], min(begin_s, new[1]), max(end_s, new[2]))

    def _coarsen(self) -> None:
        fine, self._bins = self._bins, {}
        self._step_s *= 2
        for key, one in fine.items():
            self._put(key // 2, one)

    def _runs(self) -> list[list[int]]:
        """The keys of the steps in order, cut where the run paused."""
        runs: list[list[int]] = []
        for key in sorted(self._bins):
            pause_s = self._bins[key][1] - self._bins[runs[-1][-1]][2] if runs else 0.0
            if runs and pause_s < _PAUSE_S:
                runs[-1].append(key)
            else:
                runs.append([key])
        return runs

    def _stretch(self, keys: Sequence[int]) -> tuple[float, float, list[tuple[float, int]]]:
        """Begin, end, and the pages by the time they were finished."""
        bins = [self._bins[key] for key in keys]
        begin_s, end_s = bins[0][1], bins[-1][2]
        end_s = max(end_s, begin_s + 0.001)  # a page that took no time has a rate all the same
        return begin_s, end_s, [(one[2], one[0]) for one in bins]


def _spells(
    begin_s: float, end_s: float, counts: Sequence[tuple[float, int]], step_s: float
) -> tuple[Spell, ...]:
    # A short rest at the end belongs to the spell before it: its rate would be chance.
    number = max(1, round((end_s - begin_s) / step_s))
    pages = [0] * number
    for at_s, count in counts:
        pages[min(number - 1, int((at_s - begin_s) // step_s))] += count
    starts = [begin_s + step_s * k for k in range(number)]
    ends = [*starts[1:], end_s]
    return tuple(
        Spell(start, stop - start, count)
        for start, stop, count in zip(starts, ends, pages, strict=True)
    )


def seconds_since_1970(iso: str | None) -> float | None:
    """None where it is no time; a time without a zone is UTC.

    >>> seconds_since_1970("1970-01-01T00:01:00Z")
    60.0
    """
    try:
        time = datetime.fromisoformat(iso or "")
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()

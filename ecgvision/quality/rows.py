"""The printed boxes made ready for the checks: one rate, gaps filled but remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import LeadSignal, Recording

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

FS_HZ = 250.0
"""The rate at which the checks look: enough for a QRS, and half the work of 500 Hz."""

# Less than this is too little to say anything about a box, in seconds.
LEAST_S = 0.6


@dataclass(frozen=True, slots=True)
class Row:
    """One box at `FS_HZ`: sample i stands at (first + i) / FS_HZ on the page's time axis.

    `mv` is (n,) float64, its median taken off, gaps filled by straight lines; `seen` is False
    where it was filled. `middle_mv` is the median that was taken off.
    """

    lead: str
    rhythm_strip: bool
    first: int
    mv: Floats
    seen: Bools
    middle_mv: float

    @property
    def name(self) -> str:
        return f"{self.lead} strip" if self.rhythm_strip else self.lead

    @property
    def last(self) -> int:
        return self.first + len(self.mv)

    def cut(self, first: int, last: int) -> tuple[Floats, Bools]:
        """Its mV and `seen` from sample `first` to `last` of the page; all must be in the row."""
        part = slice(first - self.first, last - self.first)
        return self.mv[part], self.seen[part]


def rows_of(recording: Recording) -> tuple[Row, ...]:
    """Every box of which at least 0.6 s and a quarter could be read, in the layout's order."""
    rows = (_row(box, recording.fs_hz) for box in recording.boxes)
    return tuple(row for row in rows if row is not None)


def _row(box: LeadSignal, fs_hz: float) -> Row | None:
    raw = np.asarray(box.signal_mv, dtype=np.float64)
    known = np.isfinite(raw)
    if known.sum() < max(LEAST_S * fs_hz, 0.25 * len(raw)):
        return None
    at_s = np.arange(len(raw)) / fs_hz
    filled = raw if known.all() else np.interp(at_s, at_s[known], raw[known])
    first = int(np.ceil(box.start_s * FS_HZ - 1e-6))
    count = int(np.floor((box.start_s + at_s[-1]) * FS_HZ + 1e-6)) - first + 1
    wanted_s = (first + np.arange(count)) / FS_HZ - box.start_s
    mv = np.interp(wanted_s, at_s, _smooth(filled, fs_hz))
    seen = known[np.clip(np.rint(wanted_s * fs_hz).astype(int), 0, len(raw) - 1)]
    middle = float(np.median(mv[seen])) if seen.any() else 0.0
    return Row(box.lead, box.rhythm_strip, first, mv - middle, seen, middle)


def _smooth(signal: Floats, fs_hz: float) -> Floats:
    """The mean over one sample of the slower rate, so that noise does not fold down."""
    width = round(fs_hz / FS_HZ) // 2 * 2 + 1
    if width < 3:
        return signal
    padded = np.pad(signal, width // 2, mode="edge")
    sums = np.cumsum(np.concatenate([[0.0], padded]))
    means: Floats = (sums[width:] - sums[:-width]) / width
    return means

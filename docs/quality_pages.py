"""Pages for the measurements of the documentation: PTB-XL signals as a page would show them.

Also pages made wrong on purpose. Nothing is drawn: noise stands for the drawing and reading.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from ecgvision.layouts import regular_layout
from ecgvision.recording import LeadSignal, Recording
from ecgvision.testing.synthetic import Ecg
from ecgvision.types import LEADS, Layout

FS_HZ = 500.0
# Noise of what is drawn and read: that of scans, of pages of 300 dpi, and of lines.
SNR_DB = (14.0, 20.0, 40.0)
_THREE = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
_SIX = tuple(zip(LEADS[:6], LEADS[6:], strict=True))
_TWELVE = tuple((lead,) for lead in LEADS)


def _layout(
    name: str, rows: Sequence[Sequence[str]], strips: Sequence[str], column_s: float
) -> Layout:
    heights = [20.0 + 20.0 * row for row in range(len(rows) + len(strips))]
    return regular_layout(
        name,
        page_mm=(300, 300),
        rows=rows,
        left_mm=10,
        baselines_mm=heights[: len(rows)],
        column_s=column_s,
        rhythm=strips,
        rhythm_baselines_mm=heights[len(rows) :],
    )


LAYOUTS: Mapping[str, Layout] = {
    one.name: one
    for one in (
        _layout("3x4+1R", _THREE, ("II",), 2.5),
        _layout("3x4", _THREE, (), 2.5),
        _layout("6x2", _SIX, (), 5.0),
        _layout("6x2+1R", _SIX, ("II",), 5.0),
        _layout("12x1", _TWELVE, (), 10.0),
        _layout("3x4+3R", _THREE, ("V1", "II", "V5"), 2.5),
    )
}

# What electrodes reversed on the patient make of the six limb leads: (lead shown, its sign).
REVERSALS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "LA/RA": {
        "I": ("I", -1),
        "II": ("III", 1),
        "III": ("II", 1),
        "aVR": ("aVL", 1),
        "aVL": ("aVR", 1),
    },
    "RA/LL": {
        "I": ("III", -1),
        "II": ("II", -1),
        "III": ("I", -1),
        "aVR": ("aVF", 1),
        "aVF": ("aVR", 1),
    },
}


@dataclass(frozen=True, eq=False)
class Records:
    """`eight_uv` is (r, 8, n) int16 at 250 Hz; `folds` is (r,)."""

    eight_uv: np.ndarray
    folds: np.ndarray

    def of_folds(self, folds: range) -> list[int]:
        return [int(at) for at in np.flatnonzero(np.isin(self.folds, list(folds)))]

    def twelve_mv(self, number: int) -> np.ndarray:
        """(12, 2n) mV at 500 Hz: between two samples stands their mean."""
        eight = self.eight_uv[number].astype(np.float64)
        count = eight.shape[1]
        at = np.arange(2 * count) / 2
        fine = np.stack([np.interp(at, np.arange(count), one) for one in eight])
        return Ecg.from_eight(fine, FS_HZ).signal_mv.astype(np.float64)


def load_records(folder: Path) -> Records:
    with np.load(folder / "signals.npz") as file:
        eight_uv = np.cumsum(file["delta_uv"], axis=2, dtype=np.int16)
    with (folder / "labels.csv").open(encoding="utf-8") as text:
        folds = [int(row["strat_fold"]) for row in csv.DictReader(text)]
    return Records(eight_uv, np.array(folds))


def page_of(
    twelve_mv: np.ndarray,
    layout: Layout,
    rng: np.random.Generator,
    snr_db: float,
    shown: Mapping[str, str] | None = None,
) -> Recording:
    """Every box with noise of its own, its zero level off by up to 0.05 mV.

    `shown` says which lead stands in a box instead of its own, at that box's time; strips stay.
    """
    boxes = []
    length = twelve_mv.shape[1]
    for box in layout.boxes:
        lead = box.lead if box.rhythm_strip else (shown or {}).get(box.lead, box.lead)
        first, last = round(box.start_s * FS_HZ), min(length, round(box.stop_s * FS_HZ))
        signal = twelve_mv[LEADS.index(lead), first:last]
        noise = np.convolve(rng.normal(size=len(signal)), (0.25, 0.5, 0.25), "same")
        noise *= signal.std() * 10 ** (-snr_db / 20) / noise.std()
        mv = signal + noise - np.median(signal) + rng.uniform(-0.05, 0.05)
        boxes.append(
            LeadSignal(
                box.lead,
                box.rhythm_strip,
                box.start_s,
                box.stop_s,
                mv.astype(np.float32),
                "raster",
                1.0,
                1.0,
            )
        )
    return recording_of(boxes, length)


def recording_of(boxes: Sequence[LeadSignal], length: int) -> Recording:
    signal = np.full((len(LEADS), length), np.nan, np.float32)
    strips = []
    for box in boxes:
        first = round(box.start_s * FS_HZ)
        row = signal[LEADS.index(box.lead)]
        if box.rhythm_strip:
            row = np.full(length, np.nan, np.float32)
            strips.append(row)
        row[first : first + len(box.signal_mv)] = box.signal_mv
    rhythm = np.stack(strips) if strips else np.zeros((0, length), np.float32)
    names = tuple(box.lead for box in boxes if box.rhythm_strip)
    return Recording(signal, FS_HZ, rhythm, names, boxes=tuple(boxes))


def swapped(one: str, other: str) -> Mapping[str, str]:
    """Two leads of the page in each other's place, for `page_of`."""
    return {one: other, other: one}


def rows_off(layout: Layout, step: int) -> Mapping[str, str]:
    """Every row shows what belongs to the row `step` below, the last the first's; for `page_of`."""
    rows = [[b.lead for b in row if not b.rhythm_strip] for row in layout.rows]
    rows = [row for row in rows if row]
    return {
        lead: rows[(at + step) % len(rows)][column]
        for at, row in enumerate(rows)
        for column, lead in enumerate(row)
    }


def reversed_electrodes(twelve_mv: np.ndarray, kind: str) -> np.ndarray:
    """(12, n) as recorded with two limb electrodes reversed."""
    found = twelve_mv.copy()
    for lead, (shown, sign) in REVERSALS[kind].items():
        found[LEADS.index(lead)] = sign * twelve_mv[LEADS.index(shown)]
    return found


def wilson(found: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, J Am Stat Assoc 1927;22:209-212)."""
    z = 1.959964
    share, extra = found / count, z * z / count
    middle = (share + extra / 2) / (1 + extra)
    half = z * sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


def cell(flags: Sequence[bool]) -> str:
    """One cell of a table: how many of how many, with the interval."""
    if not flags:
        return ""
    low, high = wilson(sum(flags), len(flags))
    return (
        f"{sum(flags)}/{len(flags)} = {100 * np.mean(flags):.1f} % "
        f"({100 * low:.1f} to {100 * high:.1f})"
    )

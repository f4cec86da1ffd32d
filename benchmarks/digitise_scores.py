"""What a page shows, the plainest tracer that reads it, and the scores of a reading.

A part of `digitise.py`, the accuracy benchmark.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgvision import convert
from ecgvision.evidence import upright
from ecgvision.media import open_report
from ecgvision.media.views import rendered
from ecgvision.metrics import (
    aligned_snr_db,
    challenge_snr_db,
    coverage,
    delays_ms,
    gain_error,
    pearson_r,
    raw_snr_db,
    rmse_uv,
)
from ecgvision.recognition import choose_formats, recognise
from ecgvision.testing import Ecg
from ecgvision.types import LEADS, Layout, LeadBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import Recording
    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]

DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")
FS_HZ = 500.0

# --- truth and estimates ----------------------------------------------------------------------


def longest_boxes(layout: Layout) -> dict[str, LeadBox]:
    """The box of each lead that shows the most of it: its rhythm strip, where it has one."""
    boxes = sorted(layout.boxes, key=lambda b: b.stop_s - b.start_s)
    return {b.lead: b for b in boxes}


def sample_count(layout: Layout) -> int:
    return round(max(b.stop_s for b in layout.boxes) * FS_HZ)


def printed_truth(ecg: Ecg, layout: Layout) -> Floats:
    """(12, n) mV at `FS_HZ`: what the page shows, straight lines between the ECG's samples."""
    times_s = np.arange(sample_count(layout)) / FS_HZ
    truth = np.full((12, len(times_s)), np.nan)
    for lead, box in longest_boxes(layout).items():
        at_s, drawn_mv = ecg.window(lead, box.start_s, box.stop_s)
        if len(at_s):
            shown = (times_s >= at_s[0] - 1e-9) & (times_s <= at_s[-1] + 1e-9)
            truth[LEADS.index(lead), shown] = np.interp(times_s[shown], at_s, drawn_mv)
    return truth


def fitted(signal_mv: NDArray[Any], count: int) -> Floats:
    """(12, count): cut at the end, or NaN added there."""
    out = np.full((12, count), np.nan)
    kept = min(count, signal_mv.shape[1])
    out[:, :kept] = signal_mv[:, :kept]
    return out


def read_by_us(path: Path, format_name: str) -> Recording:
    (found,) = convert(path, format=format_name, signals=True, fs_hz=FS_HZ)
    recording: Recording = found.recording
    return recording


def column_means(ink: Pixels, px_per_mm: float, layout: Layout) -> Floats:
    """(12, n) mV: the mean dark row of every pixel column of a lead's box, nothing else.

    `ink` is (H, W), 0 ink and 255 paper. This is the tracer of classical tools: no path, no
    overlap between rows, no sub-pixel weights. The lead's printed name is wiped out first; columns
    without ink are bridged by a straight line.
    """
    dark = ink < 128
    for box in layout.boxes:
        if box.name_mm:
            left, top = (max(0, round((at - 0.5) * px_per_mm)) for at in box.name_mm)
            right = left + round((1 + 2.2 * len(box.lead)) * px_per_mm)
            dark[top : top + round(4 * px_per_mm), left:right] = False
    times_s = np.arange(sample_count(layout)) / FS_HZ
    signal = np.full((12, len(times_s)), np.nan)
    for lead, lead_box in longest_boxes(layout).items():
        at_s, found_mv = _column_means(dark, px_per_mm, lead_box, layout)
        if len(at_s):
            within = (times_s >= at_s[0]) & (times_s <= at_s[-1])
            signal[LEADS.index(lead), within] = np.interp(times_s[within], at_s, found_mv)
    return signal


def _column_means(
    dark: NDArray[np.bool_], px_per_mm: float, lead_box: LeadBox, layout: Layout
) -> tuple[Floats, Floats]:
    """Times in s and mV of the columns that have ink."""
    box = lead_box.box
    left, right = round(box.left_mm * px_per_mm), round(box.right_mm * px_per_mm)
    top, bottom = (max(0, round(at * px_per_mm)) for at in (box.top_mm, box.bottom_mm))
    area = dark[top:bottom, max(0, left) : right]
    count = area.sum(axis=0)
    inked = np.flatnonzero(count)
    rows = np.arange(area.shape[0]) + 0.5
    y_mm = (top + (rows @ area)[inked] / count[inked]) / px_per_mm
    x_mm = (max(0, left) + inked + 0.5) / px_per_mm
    at_s = lead_box.start_s + (x_mm - box.left_mm) / layout.speed_mm_per_s
    return at_s, (lead_box.baseline_mm - y_mm) / layout.gain_mm_per_mv


def read_by_column_means(path: Path, format_name: str) -> Floats:
    """The baseline, with the same layout, the same levelling and the same grid removal as ours."""
    with open_report(path) as report:
        page = rendered(report.page(1))
        found = recognise(page, choose_formats(format_name))
        level = upright(page, found.match)
        ink = found.format.remove_grid(level, found.match.layout)
        return column_means(ink, level.px_per_mm, found.match.layout)


# --- scores -----------------------------------------------------------------------------------


def scores_of(truth_mv: Floats, estimate_mv: Floats) -> dict[str, float]:
    """The figures of one page, by their names in `PageScore`."""
    delays = delays_ms(truth_mv, estimate_mv, FS_HZ)
    known = np.abs(delays[np.isfinite(delays)])
    return {
        "aligned_db": aligned_snr_db(truth_mv, estimate_mv, FS_HZ),
        "raw_db": raw_snr_db(truth_mv, estimate_mv),
        "challenge_db": challenge_snr_db(truth_mv, estimate_mv),
        "r": pearson_r(truth_mv, estimate_mv),
        "rmse_uv": rmse_uv(truth_mv, estimate_mv),
        "coverage": coverage(truth_mv, estimate_mv),
        "gain_error": gain_error(truth_mv, estimate_mv, FS_HZ),
        "delay_ms": float(np.median(known)) if len(known) else math.nan,
    }


def median_known(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def table_line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"

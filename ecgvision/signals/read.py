"""From a recognised page to a calibrated recording: curves in mm, then seconds and millivolts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.recording import Calibration, Lattice, LeadCurve, LeadSignal, Recording
from ecgvision.signals.lattice import lattice_of
from ecgvision.signals.raster import raster_curves
from ecgvision.signals.vector import vector_curves
from ecgvision.signals.zero import RowZero, row_zeros, zero_line
from ecgvision.types import LEADS, Layout, LeadBox, Match, Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]
    Signal = NDArray[np.float32]

# Times are met to this fraction of a sample.
_SLACK = 1e-6


@dataclass(frozen=True)
class Reading:
    """What was read off a page: the recording, and each box's curve on the page."""

    recording: Recording
    curves: tuple[LeadCurve, ...] = field(repr=False)
    zeros: tuple[RowZero, ...] = field(repr=False)


def read_signals(
    page: Page,
    match: Match,
    declared: Layout | None,
    ink: Pixels,
    calibration: Calibration,
    fs_hz: float = 500.0,
) -> Reading:
    """The signals of an upright page.

    `match.layout` is the layout as measured on `page`, `declared` the same layout as its format
    gives it, which tells the rows' distances. `ink` is the page without its grid, grey; a vector
    page does not need it. The time axis has `fs_hz` samples per second.

    Raises `ValueError` for an impossible `fs_hz`.
    """
    if not 0 < fs_hz < 1e5:
        raise ValueError(f"the sampling rate must be positive, found {fs_hz} Hz")
    layout = match.layout
    vector = page.origin == "vector"
    curves = vector_curves(page, layout) if vector else raster_curves(page, layout, ink)
    zeros = row_zeros(curves, layout, declared, calibration)
    boxes = tuple(
        _lead_signal(curve, _row_zero(curve.lead_box, layout, zeros), layout, calibration, fs_hz)
        for curve in curves
    )
    lattice = lattice_of(curves, calibration) if vector else None
    return Reading(_recording(boxes, fs_hz, lattice), curves, zeros)


def _row_zero(lead_box: LeadBox, layout: Layout, zeros: Sequence[RowZero]) -> RowZero:
    """The 0 mV of the row the box stands in."""
    index = next(i for i, row in enumerate(layout.rows) if lead_box in row)
    return zeros[index]


def _lead_signal(
    curve: LeadCurve, zero: RowZero, layout: Layout, calibration: Calibration, fs_hz: float
) -> LeadSignal:
    lead_box = curve.lead_box
    first, last = _samples(lead_box, fs_hz)
    times_s = np.arange(first, last) / fs_hz
    x_mm = lead_box.box.left_mm + (times_s - lead_box.start_s) * calibration.speed_mm_per_s
    y_mm = _between(x_mm, curve)
    zero_mm = zero_line(zero, layout, x_mm)
    signal_mv = ((zero_mm - y_mm) / calibration.gain_of(lead_box.lead)).astype(np.float32)
    known = np.isfinite(signal_mv)
    return LeadSignal(
        lead=lead_box.lead,
        rhythm_strip=lead_box.rhythm_strip,
        start_s=first / fs_hz,
        stop_s=last / fs_hz,
        signal_mv=signal_mv,
        origin=curve.origin if known.any() else None,
        confidence=curve.confidence,
        coverage=float(known.mean()) if len(known) else 0.0,
        reason=curve.reason,
    )


def _samples(lead_box: LeadBox, fs_hz: float) -> tuple[int, int]:
    """Numbers of the first sample of the box's window and of the one after the last."""
    first = max(0, math.ceil(lead_box.start_s * fs_hz - _SLACK))
    return first, max(first, math.ceil(lead_box.stop_s * fs_hz - _SLACK))


def _between(x_mm: Floats, curve: LeadCurve) -> Floats:
    """The curve's height at `x_mm`, straight from point to point; NaN where it has none.

    A machine's sample stands for its whole period: the last one holds until the next is due.
    """
    if len(curve.x_mm) < 2:
        return np.full(x_mm.shape, np.nan)
    tolerance = _SLACK * float(np.median(np.diff(curve.x_mm)))
    after = np.clip(np.searchsorted(curve.x_mm, x_mm - tolerance), 1, len(curve.x_mm) - 1)
    x0, x1 = curve.x_mm[after - 1], curve.x_mm[after]
    y0, y1 = curve.y_mm[after - 1], curve.y_mm[after]
    share = np.clip((x_mm - x0) / (x1 - x0), 0.0, 1.0)
    mixed = np.where(share > 1 - _SLACK, y1, np.where(share < _SLACK, y0, y0 + share * (y1 - y0)))
    held = curve.sample_mm if curve.sample_mm is not None else 0.0
    if held:
        ends = np.isnan(mixed) & np.isfinite(y0) & (x_mm - x0 < held * (1 - _SLACK))
        mixed = np.where(ends, y0, mixed)
    beyond = x_mm - curve.x_mm[-1] >= max(held * (1 - _SLACK), tolerance)
    return np.where((x_mm < curve.x_mm[0] - tolerance) | beyond, np.nan, mixed)


def _recording(boxes: tuple[LeadSignal, ...], fs_hz: float, lattice: Lattice | None) -> Recording:
    """The boxes on one time axis: twelve leads, and the rhythm strips as further rows."""
    count = max((round(b.start_s * fs_hz) + len(b.signal_mv) for b in boxes), default=0)
    signal_mv = np.full((len(LEADS), count), np.nan, np.float32)
    strips = [b for b in boxes if b.rhythm_strip]
    rhythm_mv = np.full((len(strips), count), np.nan, np.float32)
    for row, strip in enumerate(strips):
        _put(rhythm_mv[row], strip, fs_hz)
    for row, lead in enumerate(LEADS):
        known = [b for b in boxes if b.lead == lead and np.isfinite(b.signal_mv).any()]
        if known:
            longest = max(known, key=lambda b: int(np.isfinite(b.signal_mv).sum()))
            _put(signal_mv[row], longest, fs_hz)
    return Recording(
        signal_mv,
        fs_hz,
        rhythm_mv,
        tuple(b.lead for b in strips),
        boxes=boxes,
        lattice=lattice,
    )


def _put(row: Signal, box: LeadSignal, fs_hz: float) -> None:
    first = round(box.start_s * fs_hz)
    row[first : first + len(box.signal_mv)] = box.signal_mv

"""The pen of a page: how wide, how dark and how blurred its line is, measured on the flat parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.optimize import least_squares
from scipy.special import ndtr

from ecgvision.signals.edges import ColumnInk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Pens of real machines, and what a first look at the ink takes them for.
_NARROWEST_MM, _WIDEST_MM, USUAL_MM = 0.1, 1.2, 0.3
_SHARPEST_PX, _SOFTEST_PX = 0.05, 3.0
# A stretch of columns is flat where the line moves by less than this per column (px).
_FLAT_SLOPE = 0.15
_LEAST_COLUMNS = 40
# A pen that trembles within its own width draws a wider line. Columns where it moves by no more
# than this (px) tell its width, and this share of a row's flat columns in any case.
_STILL_PX, _STILLEST = 0.25, 0.1
_BINS_PER_PX = 8
# Flat columns whose ink is much thicker than the others' touch something.
_ODD = 1.5


@dataclass(frozen=True, slots=True)
class Pen:
    """A round pen: `width_px` of full ink, `darkness` from 0 to 1, `blur_px` a standard deviation.

    The blur leaves out what a pixel's own size does.
    """

    width_px: float
    darkness: float
    blur_px: float

    @property
    def sharp_px(self) -> float:
        """The blur's standard deviation with what a pixel's own size does."""
        return float(np.hypot(self.blur_px, 12**-0.5))


def ink_darkness(values: NDArray[np.float32]) -> float:
    """A first guess of the pen's darkness: what the darker part of the inked pixels reaches."""
    return float(np.clip(np.percentile(values, 90), 0.1, 1.0)) if len(values) else 1.0


def measured_pen(dark: NDArray[np.float32], rows: Sequence[ColumnInk], px_per_mm: float) -> Pen:
    """The pen from the profile of the flat columns, laid over each other by their middles.

    `dark` is (H, W) from 0 to 1. The profile of a line of width w and darkness D, seen by square
    pixels through a Gaussian blur s, is D times a box of width w, smoothed by a box of one pixel
    and by the Gaussian; those three numbers are fitted.
    """
    offsets, values = _profile(dark, rows, px_per_mm)
    usual = USUAL_MM * px_per_mm
    if len(offsets) < _LEAST_COLUMNS:
        return Pen(usual, 1.0, 0.5)
    bins = np.round(offsets * _BINS_PER_PX).astype(np.int64)
    order = np.argsort(bins, kind="stable")
    names, starts = np.unique(bins[order], return_index=True)
    groups = np.split(values[order], starts[1:])
    full = np.array([len(group) >= 5 for group in groups])
    height = np.array([group.mean() for group in groups])[full]
    place = names[full] / _BINS_PER_PX
    low = (_NARROWEST_MM * px_per_mm, 0.1, _SHARPEST_PX)
    high = (_WIDEST_MM * px_per_mm, 1.05, _SOFTEST_PX)
    start = np.clip((usual, height.max(), 0.5), np.array(low) * 1.01, np.array(high) * 0.99)
    fitted = least_squares(
        lambda p: line_profile(place, p[0], p[1], p[2]) - height, start, bounds=(low, high)
    )
    width, darkness, blur = (float(v) for v in fitted.x)
    return Pen(width, min(darkness, 1.0), blur)


def line_profile(offset_px: Floats, width_px: float, darkness: float, blur_px: float) -> Floats:
    """Darkness of pixels `offset_px` off the middle of a straight line.

    >>> float(line_profile(np.array([0.0]), 4.0, 1.0, 0.1)[0].round(6))
    1.0
    """
    half = width_px / 2

    def ramp(z: Floats) -> Floats:  # the integral of the Gaussian's distribution
        u = z / blur_px
        density = np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)
        result: Floats = blur_px * (u * ndtr(u) + density)
        return result

    rise = ramp(offset_px + 0.5 + half) - ramp(offset_px - 0.5 + half)
    fall = ramp(offset_px + 0.5 - half) - ramp(offset_px - 0.5 - half)
    return darkness * (rise - fall)


def _profile(
    dark: NDArray[np.float32], rows: Sequence[ColumnInk], px_per_mm: float
) -> tuple[Floats, Floats]:
    """(offsets from the line's middle, darkness there) of the flat columns of all rows."""
    reach, usual = int(np.ceil(_WIDEST_MM / 2 * px_per_mm)) + 2, USUAL_MM * px_per_mm
    steps = np.arange(-reach, reach + 1)
    offsets, values = [], []
    for ink in rows:
        centre = np.where(ink.seen, ink.split + (ink.below - ink.above) / 2, np.nan)
        slope = np.abs(np.gradient(centre))
        flat = ink.seen & ink.upper_seen & ink.lower_seen & ~ink.shared & (slope < _FLAT_SLOPE)
        if not flat.any():
            continue
        moved = _moved(centre, usual)
        flat &= moved <= max(_STILL_PX, float(np.quantile(moved[flat], _STILLEST)))
        flat &= ink.thickness < _ODD * np.median(ink.thickness[flat])
        y = ink.split[flat].astype(np.int64)[:, None] + steps
        inside = (y >= 0) & (y < dark.shape[0])
        x = np.broadcast_to(ink.columns[flat][:, None], y.shape)
        offsets.append((y + 0.5 - centre[flat][:, None])[inside])
        values.append(dark[np.clip(y, 0, dark.shape[0] - 1), x][inside])
    if not offsets:
        return np.empty(0), np.empty(0)
    return np.concatenate(offsets), np.concatenate(values).astype(np.float64)


def _moved(centre: Floats, pen_px: float) -> Floats:
    """(n,): how far the line goes up and down within a pen's width of each column."""
    around = 2 * int(np.ceil(pen_px / 2)) + 1
    known = np.isfinite(centre)
    highest = maximum_filter1d(np.where(known, centre, np.inf), around)
    lowest = minimum_filter1d(np.where(known, centre, -np.inf), around)
    result: Floats = highest - lowest
    return result

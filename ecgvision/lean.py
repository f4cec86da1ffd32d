"""How far a page still leans: by the phase of its grid's lines, or by where its rows begin.

The rows of ink tell a page's skew only as far as the signals in them are level: wander and slow
waves pull it by up to half a degree, where many leads wander one way by more. A grid is level by
itself, and rows begin one exactly above the other, whatever the signals do.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.grid_seen import find_grid, grid_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]
    Waves = NDArray[np.complex128]

# Bands this high are summed up, with half of it between their starts (mm).
_BAND_MM = 6.0
# The bands' phases must follow one line as well as this (1: exactly).
_COHERENT = 0.8
# More than this is not what levelling by the rows leaves over.
_MOST_DEG = 2.5
# So many rows, and half of all, must begin within this of one line, over so many mm of the page.
_LEAST_ROWS, _BESIDE_MM, _LEAST_HEIGHT_MM = 4, 0.2, 50.0
# More is no lean of the page but an edge of something else.
_MOST_LEAN_DEG = 3.5


def grid_lean_deg(pixels: Pixels, px_per_mm: float) -> float | None:
    """The clockwise lean of the grid in degrees; None where no grid is clear enough to tell.

    `pixels` is (H, W, 3) or (H, W) ``uint8``, level to about two degrees.
    """
    lines = grid_lines(pixels)
    seen = find_grid(cv2.bitwise_not(lines), px_per_mm)
    if seen is None:
        return None
    band_px = max(4, round(_BAND_MM * px_per_mm))
    across = _lean(_waves(lines, seen.across_px, band_px), seen.across_px, band_px)
    down = _lean(_waves(cv2.transpose(lines), seen.down_px, band_px), seen.down_px, band_px)
    # Seen along the page, upright lines that lean clockwise move left going down, level ones down
    # going right.
    found = [slope for slope in (None if across is None else -across, down) if slope is not None]
    if not found:
        return None
    lean = float(np.degrees(np.arctan(np.mean(found))))
    return lean if abs(lean) <= _MOST_DEG else None


def starts_lean_deg(left_mm: Floats, level_mm: Floats) -> float | None:
    """The clockwise lean of the line on which most rows begin, in degrees; None without one.

    Each row's ink begins at `left_mm`, at the height `level_mm`, both (n,).

    >>> level_mm = np.array([30.0, 60.0, 90.0, 120.0, 130.0])
    >>> starts_lean_deg(np.array([15.0, 14.0, 13.0, 12.0, 70.0]), level_mm).__round__(3)
    1.909
    """
    least = max(_LEAST_ROWS, -(-len(left_mm) // 2))
    best, most = None, 0.0
    for a, b in combinations(range(len(left_mm)), 2):
        high = level_mm[b] - level_mm[a]
        if abs(high) < _LEAST_HEIGHT_MM / 2:
            continue
        slope = (left_mm[b] - left_mm[a]) / high
        off = np.abs(left_mm - left_mm[a] - slope * (level_mm - level_mm[a]))
        near, close = off < _BESIDE_MM, np.clip(1 - (off / _BESIDE_MM) ** 2, 0, 1).sum()
        if close > most and near.sum() >= least and np.ptp(level_mm[near]) >= _LEAST_HEIGHT_MM:
            best, most = near, float(close)
    if best is None:
        return None
    lean = -float(np.degrees(np.arctan(np.polyfit(level_mm[best], left_mm[best], 1)[0])))
    return lean if abs(lean) <= _MOST_LEAN_DEG else None


def _waves(lines: Pixels, pitch_px: float, band_px: int) -> Waves:
    """Strength and phase of the lines across each band, bands overlapping by half."""
    height, width = lines.shape
    wave = np.exp(-2j * np.pi * np.arange(width) / pitch_px) * np.hanning(width)
    step = band_px // 2
    starts = range(0, height - band_px + 1, step)
    sums = np.array(
        [cv2.reduce(lines[s : s + band_px], 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0] for s in starts]
    )
    if len(sums) < 4:
        return np.zeros(0, np.complex128)
    found: Waves = (sums - sums.mean(axis=1, keepdims=True)) @ wave
    return found


def _lean(waves: Waves, pitch_px: float, band_px: int) -> float | None:
    """Pixels that the lines move across per pixel down, from the bands' phases."""
    if len(waves) < 4:
        return None
    turns = waves[1:] * np.conj(waves[:-1])
    weight = np.abs(turns).sum()
    total = turns.sum()
    if weight <= 0 or np.abs(total) < _COHERENT * weight:
        return None
    return float(-np.angle(total) / (2 * np.pi) * pitch_px / (band_px // 2))

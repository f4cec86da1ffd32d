"""The grid that is seen on a page of pixels: its pitch across and down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.fft import rfft

from ecgvision.grid import brightest_channel, darkest_channel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]

_FFT_SIZE = 1 << 14


@dataclass(frozen=True, slots=True)
class GridSeen:
    """A printed grid: pixels per small box across and down, and how clearly it stands out."""

    across_px: float
    down_px: float
    strength: float


def find_grid(pixels: Pixels, px_per_mm: float | None = None) -> GridSeen | None:
    """The grid of an upright page, or None. `pixels` is (H, W, 3) or (H, W) ``uint8``.

    With `px_per_mm` the pitch is looked for within 8 % of it, else from 2.5 to 40 px.
    """
    lines = grid_lines(pixels)
    across = _comb(_spectrum(lines), px_per_mm)
    down = _comb(_spectrum(cv2.transpose(lines)), px_per_mm)
    if across is None or down is None or not 0.94 < across[0] / down[0] < 1.06:
        return None
    return GridSeen(across[0], down[0], min(across[1], down[1]))


def grid_lines(pixels: Pixels) -> Pixels:
    """(H, W) ``uint8``: how dark the page's light print is, the ink left out."""
    # Ink would drown the grid: what is darker than a grid line counts as paper.
    paper = cv2.erode(
        cv2.threshold(brightest_channel(pixels), 109, 255, cv2.THRESH_BINARY)[1],
        np.ones((3, 3), np.uint8),
    )
    lines: Pixels = cv2.bitwise_and(cv2.bitwise_not(darkest_channel(pixels)), paper)
    return lines


def _spectrum(lines: Pixels) -> Floats:
    """Mean power spectrum of the column sums of bands, so that a small skew does no harm."""
    height, width = lines.shape
    bands = np.array_split(lines, min(max(4, height // 90), height), axis=0)
    profiles = np.concatenate([cv2.reduce(b, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F) for b in bands])
    smooth = cv2.blur(profiles, (61, 1))
    profiles = (profiles - smooth) * np.hanning(width).astype(np.float32)
    power = np.abs(rfft(profiles, _FFT_SIZE, axis=1)) ** 2
    # A strong band must not decide alone: each counts by its shape.
    power /= power.sum(axis=1, keepdims=True) + 1e-9
    mean: Floats = power.mean(axis=0, dtype=np.float64)
    return mean


def _comb(power: Floats, px_per_mm: float | None) -> tuple[float, float] | None:
    """(pitch in px of 1 mm, strength) of the comb of a grid in a power spectrum.

    Lines every 1 mm with every fifth stronger give peaks at all multiples of 1/5 per mm and a
    high one at 1 per mm; lines every 5 mm alone give the same peaks without the high one.
    """
    window = np.ones(161) / 161
    prominence = power / (np.convolve(power, window, "same") + 1e-12)
    if px_per_mm:
        low, high = px_per_mm * 0.92, px_per_mm * 1.08
    else:
        low, high = 2.5, 40.0
    pitches = np.geomspace(low, high, 400 if px_per_mm else 3000)
    orders = np.arange(1, 11) / 5.0
    frequency = orders[None, :] / pitches[:, None] * _FFT_SIZE
    inside = frequency < len(power) - 2
    index = np.clip(np.round(frequency).astype(int), 0, len(power) - 1)
    values = np.where(inside, np.log1p(prominence[index]), 0.0)
    # The line every mm must be there, or the large boxes alone must be clear.
    score = values[:, 4] * 2 + values[:, :4].mean(axis=1) + values[:, 5:].mean(axis=1)
    best = int(np.argmax(score))
    strength = float(score[best])
    if strength < 4.5:
        return None
    near = pitches[max(0, best - 3) : best + 4]
    weight = score[max(0, best - 3) : best + 4] ** 4
    return float((near * weight).sum() / weight.sum()), strength

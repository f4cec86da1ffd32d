"""How long a millimetre of the printed grid is on the page, across and down, to 0.1 %.

A vector page's grid lines give it by a straight line through their places. On a page of pixels
the spectrum of the page's brightness is searched finely about the pitch that `find_grid` saw: the
peak of a comb 250 mm long is about 0.4 % wide, and its top is found to a small part of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.fft import rfft

from ecgvision.grid import darkest_channel
from ecgvision.grid_seen import find_grid
from ecgvision.media.raster import reduced
from ecgvision.media.views import one_channel
from ecgvision.strokes import sorted_strokes
from ecgvision.types import Page, Stroke

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]

# Grids have lines so far apart, in mm of paper; the paper may be printed this much off its size.
_UNITS_MM = (1.0, 5.0, 0.5, 2.0)
_MOST_OFF = 0.08
# A straight grid line is at least so long, a dot at most so large.
_LINE_MM, _STRAIGHT_MM, _DOT_MM = 8.0, 0.02, 1.2
_LEAST_PLACES = 12
# A line lies no further from its place in the grid than this share of the pitch.
_MOST_STRAY = 0.06
# Pixels: so many per mm show a grid well enough to search about its pitch.
_SEEN_PX_PER_MM = 6.0
# Bands of the page, the range searched about the first guess, and its steps.
_BAND_MM = 10.0
_SEARCH, _STEPS = 0.012, 121
_FFT_SIZE = 1 << 15
# Lines every mm and every 5 mm both have these harmonics, in lines per mm of paper. Lower ones are
# too broad to tell a pitch finely.
_ORDERS = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0)
# How far about a harmonic, as a share of its frequency, the spectrum is taken as background.
_AROUND = 0.05
# So many times the background all harmonics together must have at their top.
_LEAST_PROMINENCE = 40.0
# Two halves of the page must give the same pitch.
_MOST_UNLIKE = 0.0015
_LEAST_PX_PER_MM = 3.0
# Single dark dots of a grid count no more than this, so that specks of ink do no harm.
_DARKEST = 120


@dataclass(frozen=True, slots=True)
class GridPitch:
    """Millimetres of the page per millimetre of printed grid."""

    across_mm: float
    down_mm: float


def grid_pitch(page: Page, ink: Pixels) -> GridPitch | None:
    """The pitch of the grid of an upright, level page; None where there is none, or no sure one.

    `ink` is the page without its grid at `page.px_per_mm`, and is not used on a vector page.
    """
    return _of_strokes(page) if page.origin == "vector" else _of_pixels(page, ink)


# --- strokes ----------------------------------------------------------------------------------


def _of_strokes(page: Page) -> GridPitch | None:
    lines = sorted_strokes(page).grid
    dots = [s for s in page.strokes if s.filled and len(s.points_mm) > 1]
    across = _lattice_mm(_places(lines, 0)) or _lattice_mm(_dot_places(dots, 0))
    down = _lattice_mm(_places(lines, 1)) or _lattice_mm(_dot_places(dots, 1))
    return GridPitch(across, down) if across and down else None


def _places(strokes: Iterable[Stroke], axis: int) -> list[float]:
    """Where straight lines square to `axis` stand on it, and where dots do."""
    found = []
    for stroke in strokes:
        points = stroke.points_mm
        size = np.ptp(points, axis=0)
        is_line = size[axis] <= _STRAIGHT_MM and size[1 - axis] >= _LINE_MM
        if is_line or size.max() <= _DOT_MM:
            found.append(float(points[:, axis].min() + points[:, axis].max()) / 2)
    return found


def _dot_places(strokes: Iterable[Stroke], axis: int) -> list[float]:
    """Where filled specks stand, in places that many of them share: print has specks too."""
    places = np.round(_places(strokes, axis), 2)
    values, counts = np.unique(places, return_counts=True)
    return [float(v) for v in values[counts >= _LEAST_PLACES]]


def _lattice_mm(places_mm: Iterable[float]) -> float | None:
    """The pitch of lines that stand evenly, as mm of the page per mm of paper."""
    places = np.sort(np.array(list(places_mm)))
    if len(places) < _LEAST_PLACES:
        return None
    places = places[np.diff(places, prepend=-np.inf) > 0.05]
    gaps = np.diff(places)
    gaps = gaps[gaps > 0.3]
    if len(gaps) < _LEAST_PLACES - 1:
        return None
    pitch = float(np.median(gaps))
    counts = np.concatenate([[0.0], np.cumsum(np.round(np.diff(places) / pitch))])
    on_grid = np.ones(len(places), bool)
    for _ in range(2):  # a frame may stand beside the grid: once more without it
        slope, start = np.polyfit(counts[on_grid], places[on_grid], 1)
        on_grid = np.abs(places - start - slope * counts) < _MOST_STRAY * pitch
        if on_grid.sum() < max(_LEAST_PLACES, 0.8 * len(places)):
            return None
    near = [float(slope) / unit for unit in _UNITS_MM if abs(slope / unit - 1) <= _MOST_OFF]
    return near[0] if near else None


# --- pixels -----------------------------------------------------------------------------------


def _of_pixels(page: Page, ink: Pixels) -> GridPitch | None:
    scale = page.px_per_mm
    if scale < _LEAST_PX_PER_MM:
        return None
    lines = _lines(one_channel(page, darkest_channel), ink)
    factor = max(1, round(scale / _SEEN_PX_PER_MM))
    seen = find_grid(cv2.bitwise_not(reduced(lines, factor)), scale / factor)
    if seen is None:
        return None
    across = _refined_px(lines, factor * seen.across_px)
    down = _refined_px(cv2.transpose(lines), factor * seen.down_px)
    if across is None or down is None:
        return None
    if max(abs(across / scale - 1), abs(down / scale - 1)) > _MOST_OFF:
        return None
    return GridPitch(across / scale, down / scale)


def _lines(pixels: Pixels, ink: Pixels) -> Pixels:
    """(H, W) ``uint8``: how dark the page is away from its ink, where it is darkest `_DARKEST`.

    `pixels` are each pixel's darkest channel.
    """
    height, width = (min(a, b) for a, b in zip(pixels.shape, ink.shape, strict=True))
    dark = cv2.min(cv2.bitwise_not(pixels[:height, :width]), np.array([_DARKEST], np.float64))
    paper = cv2.threshold(ink[:height, :width], 250, 255, cv2.THRESH_BINARY)[1]
    lines: Pixels = cv2.bitwise_and(dark, cv2.erode(paper, np.ones((3, 3), np.uint8)))
    return lines


def _refined_px(lines: Pixels, pitch_px: float) -> float | None:
    """The pitch of upright lines near `pitch_px`; None where two halves of the page differ."""
    power = _band_powers(lines, pitch_px)
    if len(power) < 4:
        return None
    parts = (part.mean(axis=0, dtype=np.float64) for part in (power, power[::2], power[1::2]))
    whole, *halves = (_peak_px(part, pitch_px) for part in parts)
    if whole is None or any(h is None or abs(h / whole - 1) > _MOST_UNLIKE for h in halves):
        return None
    return whole


def _band_powers(lines: Pixels, pitch_px: float) -> NDArray[np.float32]:
    """(bands, frequencies): power spectra of the bands' profiles, each with a sum of 1."""
    height, width = lines.shape
    count = max(4, round(height / (_BAND_MM * pitch_px)))
    bands = np.array_split(lines, min(count, height), axis=0)
    sums = np.concatenate([cv2.reduce(b, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F) for b in bands])
    level = cv2.blur(sums, (2 * round(5 * pitch_px) + 1, 1))
    # scipy's keeps single precision, which is twice as quick and plenty.
    waves = rfft((sums - level) * np.hanning(width).astype(np.float32), _FFT_SIZE, axis=1)
    power: NDArray[np.float32] = waves.real**2 + waves.imag**2
    total = power.sum(axis=1, keepdims=True)
    power /= np.where(total > 0, total, 1.0)
    return power if total.all() else power[total[:, 0] > 0]


def _peak_px(power: Floats, pitch_px: float) -> float | None:
    """The pitch at the top of the comb's peak, None where none stands out or it is at an edge.

    Each harmonic counts by how far it stands out of what is round about it.
    """
    frequency = (1 + np.linspace(-_SEARCH, _SEARCH, _STEPS)) / pitch_px
    bins = np.arange(len(power))
    score = np.zeros(_STEPS)
    for order in _ORDERS:
        at = order * frequency * _FFT_SIZE
        if at[-1] * (1 + _AROUND) >= len(power):
            continue
        near = power[int(at[0] * (1 - _AROUND)) : int(at[-1] * (1 + _AROUND))]
        score += np.interp(at, bins, power) / np.median(near)
    top = int(np.argmax(score))
    if not 0 < top < _STEPS - 1 or score[top] < _LEAST_PROMINENCE:
        return None
    before, at_top, after = score[top - 1 : top + 2]
    bend = before - 2 * at_top + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(1 / (frequency[top] + shift * (frequency[1] - frequency[0])))

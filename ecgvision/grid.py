"""Ink without its grid.

Ink is told from a grid by its darkness in the channel where the page is brightest: a red grid is
bright in red, black and dark blue ink is dark in every channel. That survives JPEG, blur and
resampling, where exact colours do not. Only a grid as dark as the ink is told by its shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.media.raster import reduced
from ecgvision.media.views import one_channel
from ecgvision.strokes import sorted_strokes
from ecgvision.types import Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

# Darkest against lightest: below this a page holds no ink at all.
_LEAST_CONTRAST = 60
# The core of a pen is at least this dark, as a share of the way from paper to ink.
_CORE = 0.62
# A pen's edge is at least this dark; what is fainter does not tell ink from paper.
_PEN = 0.38
# The thinnest pen in use, and the usual blur of a scanner.
_THIN_PEN_MM = 0.3
_BLUR_PX = 0.7
# So fine are the pixels by which a pen is told from the grid; so many of them are clear of ink.
_LEVELS_PX_PER_MM, _MOSTLY_CLEAR = 6.0, 0.8
# A grid counts as dark as the ink when this share of all dark pixels lies on long thin lines.
_DARK_GRID_SHARE = 0.45
_LONG_LINE_MM = 6.0
# ... on a page of which more than this is dark: traces and print alone stay well below.
_DARK_PAGE_SHARE = 0.055
_FRAME_MM = 150.0
# A dark grid has at least so many lines each way, each inked over this share of the page.
_GRID_LINES = 12
_LINE_SHARE = 0.25
# A line's points that lie this near to the line between the others are not seen.
_BEND_PX = 0.1
_MANY_SPECKS = 100
_SPECK_MM = 1.5
_ROWS_AT_ONCE = 64


def ink_of_page(page: Page) -> Pixels:
    """(H, W) ``uint8`` of the whole page at `page.px_per_mm`: 0 ink, 255 paper, no grid.

    On a vector page grid strokes are simply not drawn. On a raster page they are told by their
    brightness, or by their shape where they are as dark as the ink.
    """
    if page.origin == "vector":
        return draw_strokes(page)
    return ink_of_pixels(one_channel(page, brightest_channel), page.px_per_mm)


def draw_strokes(page: Page, px_per_mm: float | None = None, *, smooth: bool = True) -> Pixels:
    """The page's strokes that are not grid, drawn with their own widths: (H, W) ``uint8``.

    Without `smooth` there is only 0 and 255, which is drawn several times quicker.
    """
    scale = px_per_mm or page.px_per_mm
    width_px, height_px = (max(1, round(side * scale)) for side in page.known_mm)
    paper = np.full((height_px, width_px), 255, np.uint8)
    for stroke in sorted_strokes(page).ink:
        draw_line(paper, stroke.points_mm * scale, stroke.width_mm * scale, smooth=smooth)
    return paper


def draw_line(paper: Pixels, points_px: Floats, width_px: float, *, smooth: bool = True) -> None:
    """Draw a polyline into `paper` in place; `points_px` is (n, 2), x and y in pixels.

    Point (0, 0) is the corner of the first pixel, as on the page; OpenCV counts from its centre.
    OpenCV draws whole pixel widths only, so a thin line is drawn one pixel wide and never lost.
    """
    shift = 4
    # OpenCV takes its time over every joint: points that do not bend the line are left out.
    bends = cv2.approxPolyDP((points_px - 0.5).astype(np.float32), _BEND_PX, False)
    fixed = np.round(bends * (1 << shift)).astype(np.int32)
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    cv2.polylines(paper, [fixed], False, 0, max(1, round(width_px)), kind, shift)


def ink_of_pixels(pixels: Pixels, px_per_mm: float) -> Pixels:
    """Ink of (H, W, 3) RGB or (H, W) grey pixels as (H, W) ``uint8``, 0 ink and 255 paper.

    Pixels near the core of a pen stroke keep their grey, so that its edge stays where it was;
    everything else becomes paper. A page without ink comes back as blank paper.
    """
    bright = brightest_channel(pixels)
    darkness = _darkness(bright)
    if darkness is None:
        return np.full(bright.shape, 255, np.uint8)
    core_level, pen_level = _levels(darkness, px_per_mm)
    pen = _threshold(darkness, pen_level)
    near = _threshold(darkness, core_level)
    reach = np.ones((2 * max(2, round(0.25 * px_per_mm)) + 1,) * 2, np.uint8)
    for _ in range(2):  # from the core outwards, along what is darker than the grid
        near = cv2.bitwise_and(cv2.dilate(near, reach), pen)
    near = _without_specks(_without_dark_grid(near, px_per_mm), px_per_mm)
    near = cv2.dilate(near, np.ones((3, 3), np.uint8))
    kept = cv2.bitwise_and(darkness, darkness, mask=near)
    inverted: Pixels = cv2.bitwise_not(kept)
    return inverted


def brightest_channel(pixels: Pixels) -> Pixels:
    """(H, W): each pixel's brightest channel, in which coloured grids fade and ink does not."""
    return _of_channels(pixels, cv2.max)


def darkest_channel(pixels: Pixels) -> Pixels:
    """(H, W) ``uint8``: the darkest of a pixel's channels; grey pixels as they are."""
    return _of_channels(pixels, cv2.min)


def _of_channels(pixels: Pixels, pick: Callable[..., Pixels]) -> Pixels:
    """(H, W): one of each pixel's channels; grey pixels as they are.

    A few rows at a time: channels of a whole page would not stay in the processor's cache, which
    takes many times as long.
    """
    if pixels.ndim == 2:
        return pixels
    picked = np.empty(pixels.shape[:2], np.uint8)
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        red, green, blue = cv2.split(pixels[rows])
        pick(pick(red, green), blue, dst=picked[rows])
    return picked


def _darkness(bright: Pixels) -> Pixels | None:
    """0 for paper, 255 for ink, with uneven light evened out; None where nothing is printed."""
    small = bright[:: max(1, bright.shape[0] // 600), :: max(1, bright.shape[1] // 600)]
    paper, ink = _percentile(small, 70), _percentile(small, 0.3)
    if paper - ink < _LEAST_CONTRAST:
        ink = _percentile(bright, 0.02)
        if paper - ink < _LEAST_CONTRAST:
            return None
    # Means of 8 x 8 pixels first: OpenCV is quick with whole factors and slow with others.
    coarse = reduced(bright, 8 if min(bright.shape) >= 512 else 1)
    blocks = cv2.resize(coarse, (32, 24), interpolation=cv2.INTER_AREA)
    if float(np.percentile(blocks, 5)) > 0.82 * paper:  # evenly lit: one table for all pixels
        levels = np.arange(256, dtype=np.float64)
        table = np.clip((paper - levels) / (paper - ink) * 255, 0, 255).round().astype(np.uint8)
        even: Pixels = cv2.LUT(bright, table)
        return even
    return _shaded_darkness(bright, ink)


def _percentile(pixels: Pixels, percent: float) -> float:
    """``np.percentile`` of 8-bit pixels by counting them, which is many times quicker."""
    counts = cv2.calcHist([np.ascontiguousarray(pixels)], [0], None, [256], [0, 256])
    place = (pixels.size - 1) * percent / 100
    up_to = np.cumsum(counts, dtype=np.float64)
    low, high = np.searchsorted(up_to, [int(place), min(int(place) + 1, pixels.size - 1)], "right")
    return float(low + (high - low) * (place - int(place)))


def _shaded_darkness(bright: Pixels, ink: float) -> Pixels:
    """Darkness against the paper round about, for pages with shadows."""
    factor = max(1, min(bright.shape) // 256)
    small = cv2.resize(bright, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    paper = cv2.dilate(small, np.ones((5, 5), np.uint8))
    paper = cv2.GaussianBlur(paper, (0, 0), 6)
    paper = cv2.resize(paper, bright.shape[::-1], interpolation=cv2.INTER_LINEAR)
    span = np.maximum(paper.astype(np.float32) - min(ink, 60.0), 40.0)
    dark = (paper.astype(np.float32) - bright) / span * 255
    result: Pixels = np.clip(dark, 0, 255).astype(np.uint8)
    return result


def _threshold(darkness: Pixels, level: float) -> Pixels:
    """1 where darkness reaches the level, else 0."""
    mask: Pixels = cv2.threshold(darkness, level - 1, 1, cv2.THRESH_BINARY)[1]
    return mask


def _levels(darkness: Pixels, px_per_mm: float) -> tuple[float, float]:
    """(what only the core of a pen reaches, what a pen reaches and the grid does not).

    The grid's darkness is that of the lines away from the darkest ink: a level above which almost
    nothing is left once the surroundings of the darkest ink are taken out.
    """
    peak = _peak_darkness(px_per_mm)
    ink = 255 * 0.85 * min(1.0, 1.1 * peak)
    # Of a fine page some pixels tell as much as all, but where a grid as dark leaves few clear.
    step = max(1, round(px_per_mm / _LEVELS_PX_PER_MM))
    histogram = _clear_of_ink(darkness, ink, px_per_mm, step)
    if step > 1 and histogram.sum() < _MOSTLY_CLEAR * darkness.size / step**2:
        histogram = _clear_of_ink(darkness, ink, px_per_mm, 1)
    above = np.cumsum(histogram[::-1])[::-1]
    total = max(float(above[0]), 1.0)
    # Half a percent of the paper may be darker: faint print that never reaches full ink.
    levels = np.nonzero(above < 0.005 * total)[0]
    grid = float(levels[0]) if len(levels) else 255.0
    least = 255 * min(_CORE, 0.72 * peak)
    core = min(max(least, 1.25 * grid), 255 * 0.92)
    return core, min(max(min(255 * _PEN, 0.8 * least), 1.2 * grid), core)


def _clear_of_ink(darkness: Pixels, ink: float, px_per_mm: float, step: int) -> Floats:
    """(256,): how many of every `step`th pixel have each darkness, half a millimetre off ink."""
    paper = cv2.threshold(darkness, ink - 1, 1, cv2.THRESH_BINARY_INV)[1]
    # Lines as thin as a pixel must not lie between those that are looked at.
    paper = cv2.erode(paper, np.ones((2 * step - 1,) * 2, np.uint8))
    some, paper = (np.ascontiguousarray(one[::step, ::step]) for one in (darkness, paper))
    far = 2 * max(2, round(0.5 * px_per_mm / step)) + 1
    clear = cv2.erode(paper, np.ones((far, far), np.uint8))
    return np.asarray(cv2.calcHist([some], [0], clear, [256], [0, 256])).ravel()


def _peak_darkness(px_per_mm: float) -> float:
    """How dark the middle of a thin pen gets, as a share of ink: coarse scans smear it.

    The middle of a line of width w under a Gaussian blur of sigma s is erf(w / (2 sqrt(2) s)).
    """
    return math.erf(_THIN_PEN_MM * px_per_mm / (2 * math.sqrt(2) * _BLUR_PX))


def _without_specks(core: Pixels, px_per_mm: float) -> Pixels:
    """Drop specks when there are many and they are little of the ink: noise, crossings of a grid.

    A thin trace that has come apart into dashes is not specks: they are most of its ink.
    """
    most_px = _SPECK_MM * px_per_mm
    if not _has_many_specks(core, most_px):
        return core
    _, labels, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=8)
    size = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    area = stats[:, cv2.CC_STAT_AREA]
    speck = size < most_px
    speck[0] = False
    if area[speck].sum() > 0.3 * area[1:].sum():
        return core
    keep = (~speck).astype(np.uint8)
    keep[0] = 0
    kept: Pixels = keep[labels]
    return kept


def _has_many_specks(core: Pixels, most_px: float) -> bool:
    """Whether enough parts are small: outlines tell that far quicker than labelling all pixels."""
    outlines, tree = cv2.findContours(core, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) < _MANY_SPECKS:
        return False
    outer = (line for line, (*_, parent) in zip(outlines, tree[0], strict=True) if parent < 0)
    small = sum(bool(max(cv2.boundingRect(line)[2:]) < most_px) for line in outer)
    return small >= _MANY_SPECKS


def _without_dark_grid(core: Pixels, px_per_mm: float) -> Pixels:
    """Take out a grid as dark as the ink: long straight lines that are thinner than the pen."""
    if not _may_have_dark_grid(core, px_per_mm):
        return _without_frame(core, px_per_mm)
    across, down = _long_lines(core, px_per_mm, 0), _long_lines(core, px_per_mm, 1)
    lines = cv2.countNonZero(cv2.bitwise_or(across, down))
    few = _line_count(cv2.transpose(down)) < _GRID_LINES
    if few or lines < _DARK_GRID_SHARE * cv2.countNonZero(core):
        return _without_frame(core, px_per_mm)
    without = core
    for mask, axis in ((across, 0), (down, 1)):
        without = cv2.bitwise_and(without, _erase_lines(core, mask, px_per_mm, axis))
    return without


def _may_have_dark_grid(core: Pixels, px_per_mm: float) -> bool:
    """Whether there is so much ink and so many lines across that a grid is worth looking for."""
    in_row = _row_sums(core)
    much = cv2.countNonZero(core) >= _DARK_PAGE_SHARE * core.size
    if not much and int(in_row.max()) < _FRAME_MM * px_per_mm:
        return False
    # Lines are looked for only where they can be: in few rows of pixels of the usual page.
    rows = np.flatnonzero(in_row > _LINE_SHARE * core.shape[1])
    if len(rows) < _GRID_LINES:
        return False
    across = np.zeros_like(core)
    across[rows] = _long_lines(core[rows], px_per_mm, 0)
    return _line_count(across) >= _GRID_LINES


def _row_sums(mask: Pixels) -> NDArray[np.int32]:
    sums: NDArray[np.int32] = cv2.reduce(mask, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    return sums


def _long_lines(core: Pixels, px_per_mm: float, axis: int) -> Pixels:
    """The straight lines of at least `_LONG_LINE_MM` in `core`; small breaks are no end.

    `axis` is the direction across the lines: 0 for lines that run across the page.
    """

    def bar(length_px: int) -> Pixels:
        return np.ones((1, length_px) if axis == 0 else (length_px, 1), np.uint8)

    whole = cv2.morphologyEx(core, cv2.MORPH_CLOSE, bar(2 * round(0.3 * px_per_mm) + 1))
    lines = cv2.morphologyEx(whole, cv2.MORPH_OPEN, bar(round(_LONG_LINE_MM * px_per_mm)))
    kept: Pixels = cv2.bitwise_and(lines, core)
    return kept


def _line_count(across: Pixels) -> int:
    """How many separate lines run across: rows with much of them, or stacks of such rows."""
    full = _row_sums(across) > _LINE_SHARE * across.shape[1]
    return int(np.count_nonzero(np.diff(full.astype(np.int8)) == 1))


def _erase_lines(core: Pixels, lines: Pixels, px_per_mm: float, axis: int) -> Pixels:
    """Erase grid lines but not what crosses them: a line's pixel stays where ink goes on beyond."""
    reach = _thickness(lines, px_per_mm, axis) + 1
    beyond = np.ones((2 * reach + 1, 1) if axis == 0 else (1, 2 * reach + 1), np.uint8)
    rest = cv2.bitwise_and(core, 1 - lines)
    # A trace through the line has ink on both sides; one along it is thicker than the line.
    bridged = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, beyond)
    thick = cv2.morphologyEx(core, cv2.MORPH_OPEN, np.ones((reach, reach), np.uint8))
    # A steep limb may be as thin as a line for a small box: what joins its thick parts is kept.
    along = 2 * round(0.75 * px_per_mm) + 1
    thick = cv2.morphologyEx(
        thick, cv2.MORPH_CLOSE, np.ones((1, along) if axis == 0 else (along, 1), np.uint8)
    )
    thick = cv2.dilate(thick, np.ones((3, 3), np.uint8))
    kept: Pixels = cv2.bitwise_and(core, rest | bridged | thick)
    return kept


def _thickness(lines: Pixels, px_per_mm: float, axis: int) -> int:
    """The thickness of the thicker lines in pixels; 0.17 mm at most, for pens are thicker."""
    flat = lines if axis == 1 else lines.T
    step = np.diff(flat.astype(np.int8), axis=1, prepend=0, append=0)
    runs = np.nonzero(step == -1)[1] - np.nonzero(step == 1)[1]
    if len(runs) == 0:
        return 1
    return int(min(np.percentile(runs, 88), max(1, round(0.17 * px_per_mm))))


def _without_frame(core: Pixels, px_per_mm: float) -> Pixels:
    """Take out a grid's frame: ruled lines across the page, and the upright lines between them.

    No trace is straight over 150 mm, for another lead begins before that. Upright bars between
    the columns stay: they do not reach from one such line to another.
    """
    length = round(_FRAME_MM * px_per_mm)
    # Only rows with that much ink can hold a ruled line: mostly there are few, or none.
    rows = np.flatnonzero(_row_sums(core) >= length)
    if len(rows) == 0 or length >= core.shape[1]:
        return core
    bar = np.ones((1, length), np.uint8)
    lines = cv2.morphologyEx(_long_lines(core[rows], px_per_mm, 0), cv2.MORPH_OPEN, bar)
    levels = rows[lines.any(axis=1)]
    if len(levels) < 2 or levels[-1] - levels[0] < 40 * px_per_mm:
        return core
    height = int(levels[-1] - levels[0])
    ruled = np.zeros_like(core)
    ruled[rows] = lines
    down = _long_lines(core, px_per_mm, 1)
    posts = cv2.morphologyEx(down, cv2.MORPH_OPEN, np.ones((height - 4, 1), np.uint8))
    frame = cv2.dilate(cv2.bitwise_or(ruled, posts), np.ones((3, 3), np.uint8))
    result: Pixels = cv2.bitwise_and(core, 1 - frame)
    return result

"""What of a page's pixels is known: grid, paper, and the ink of the leads; the rest is other print.

In the leads' area all that is neither grid nor paper has to be ink of a trace, a pulse, a separator
or a lead's name. What is not, a word or a note by hand, is told with all that stands around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ecgvision.grid import brightest_channel, darkest_channel
from ecgvision.media.views import own_pixels
from ecgvision.print_boxes import name_boxes
from ecgvision.trace import LeadTrace, row_ways, trace_leads
from ecgvision.types import Box, Layout, LeadBox, Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

    Bools = NDArray[np.bool_]

_MARGIN_MM = 2.0
_BESIDE_MM = 16.0
# The dark edge of a pen's line reaches so far beyond what counts as its ink.
_HALO_MM = 0.35
# Grid lines go on straight for at least this, which no bar of a letter does. A letter's strokes go
# on for at least that, which no dot of a grid does.
_LINE_MM, _STROKE_MM = 4.0, 0.6
# Print is so much darker than paper and grid, at the least, and so many times their noise.
_LEAST_CONTRAST, _NOISE = 14.0, 4.0
# Specks smaller than this, or of less ink, are dust or dots of a grid; parts of print nearer than
# that are one.
_SPECK_MM, _SPECK_MM2, _GAP_MM = 0.7, 0.2, 0.5
# What is told as print has so much more around it, so that no shape is left to be read.
_AROUND_MM, _WORDS_GAP_MM = 2.0, 5.0
# A trace is one line. Where spikes touch, or a letter, there are two at most for a part of a word's
# length; where words run along it, for most of it. Lines nearer than that are one.
_WORD_MM, _MOST_SEVERAL, _BETWEEN_MM = 6.0, 0.35, 0.25
# A separator stands this near to where its column begins, in parts of at least this length.
_BAR_MM, _BAR_PART_MM = 1.5, 8.0
_LETTER_MM, _NAME_HEIGHT_MM = 2.5, 3.4


@dataclass(frozen=True, slots=True)
class _Sight:
    """A level page as pixels: `px` brings mm to pixels of (H, W)."""

    pixels: Pixels
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.pixels.shape[:2]
        return height, width

    def px(self, length_mm: float) -> int:
        return max(1, round(length_mm * self.scale))

    def cut(self, box: Box) -> tuple[slice, slice]:
        height, width = self.shape
        rows = (round(box.top_mm * self.scale), round(box.bottom_mm * self.scale))
        columns = (round(box.left_mm * self.scale), round(box.right_mm * self.scale))
        (y0, y1), (x0, x1) = np.clip(rows, 0, height).tolist(), np.clip(columns, 0, width).tolist()
        return slice(y0, y1), slice(x0, x1)

    def filled(self, boxes: Sequence[Box]) -> Bools:
        mask = np.zeros(self.shape, bool)
        for box in boxes:
            mask[self.cut(box)] = True
        return mask


@dataclass(frozen=True, eq=False)
class LeadArea:
    """`kept` is (H, W) bool, True for pixels that are known not to be other print.

    Outside the leads' area only their own ink is. `lost` is the share of the area that is other
    print, with what stands around it. `printed_over` are leads whose ink is more than one line:
    words over a trace hang together with it, and are kept with it.
    """

    kept: Bools = field(repr=False)
    lost: float
    printed_over: tuple[str, ...]


def lead_area(level: Page, layout: Layout, ink: Pixels, gain_mm_per_mv: float) -> LeadArea:
    """What is known of an upright, level page of pixels.

    `layout` is the layout as measured on it, `ink` the page without its grid, (H, W) ``uint8``.
    """
    pixels = own_pixels(level)
    sight = _Sight(pixels, pixels.shape[1] / level.known_mm[0])
    inked = _fitted(ink < 255, sight.shape)
    bars = _bars(inked, layout, sight)
    traces = trace_leads(level, layout, ink)
    known = _trace_ink(traces, sight) | _way_ink(level, layout, ink, inked) | bars
    known |= _pulse_ink(inked & ~bars, layout, sight, gain_mm_per_mv)
    known = _grown(known, sight.px(_HALO_MM))
    names = _names(layout, inked & ~known, sight)
    known |= _grown(names, sight.px(_HALO_MM))
    area = sight.filled([_area(level, layout)])
    taken = sight.filled([*layout.clear, *_printed_words(level, layout)])
    taken |= _print(sight, area, known)
    # Traces may leave the area of their boxes.
    return LeadArea(
        kept=known | (area & ~taken),
        lost=float((taken & area & ~known).sum()) / max(1.0, float(area.sum())),
        printed_over=tuple(
            trace.lead_box.lead for trace in traces if _printed_over(trace, layout, sight.scale)
        ),
    )


def _area(level: Page, layout: Layout) -> Box:
    """All leads' boxes and the pulses beside them, with a margin."""
    boxes = [lead_box.box for lead_box in layout.boxes]
    left = min(box.left_mm for box in boxes)
    if layout.pulse_mm is not None:
        left = min(left, layout.pulse_mm[0])
    width_mm, height_mm = level.known_mm
    return Box(
        max(0.0, left - _MARGIN_MM),
        max(0.0, min(box.top_mm for box in boxes)),
        min(width_mm, max(box.right_mm for box in boxes) + _MARGIN_MM),
        min(height_mm, max(box.bottom_mm for box in boxes)),
    )


def _fitted(mask: Bools, shape: tuple[int, int]) -> Bools:
    """The mask cut or filled up to `shape`."""
    out = np.zeros(shape, bool)
    height, width = min(mask.shape[0], shape[0]), min(mask.shape[1], shape[1])
    out[:height, :width] = mask[:height, :width]
    return out


def _grown(mask: Bools, reach_px: int) -> Bools:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_px + 1,) * 2)
    grown: Bools = cv2.dilate(mask.astype(np.uint8), disc) > 0
    return grown


def _morphed(mask: Bools, how: int, height_px: int, width_px: int) -> Pixels:
    """The mask opened or closed by a rectangle: (H, W) ``uint8`` of 0 and 1."""
    done: Pixels = cv2.morphologyEx(
        mask.astype(np.uint8), how, np.ones((height_px, width_px), np.uint8)
    )
    return done


# --- what is known ----------------------------------------------------------------------------


def _trace_ink(traces: Sequence[LeadTrace], sight: _Sight) -> Bools:
    """The ink that belongs to the leads."""
    mask = np.zeros(sight.shape, bool)
    for trace in traces:
        _put(mask, trace, sight)
    return mask


def _way_ink(level: Page, layout: Layout, ink: Pixels, inked: Bools) -> Bools:
    """The ink of the rows' ways, which go on before and after the boxes to where their ink ends."""
    followed = row_ways(level, layout, ink)
    factor = followed.factor
    passed = np.zeros(inked.shape, bool)
    for way in followed.ways:
        for at, (top, bottom) in enumerate(zip(way.top.tolist(), way.bottom.tolist(), strict=True)):
            left = (way.first + at) * factor
            passed[top * factor : (bottom + 1) * factor, left : left + factor] = True
    result: Bools = passed & inked
    return result


def _put(mask: Bools, trace: LeadTrace, sight: _Sight) -> None:
    if trace.ink is None or trace.ink_box is None:
        return
    own = trace.ink < 255
    y0, x0 = round(trace.ink_box.top_mm * sight.scale), round(trace.ink_box.left_mm * sight.scale)
    place = mask[y0 : y0 + own.shape[0], x0 : x0 + own.shape[1]]
    place |= own[: place.shape[0], : place.shape[1]]


def _printed_over(trace: LeadTrace, layout: Layout, px_per_mm: float) -> bool:
    """Whether a lead's ink is no line: over more than some mm there are two or more in a column.

    Words printed over a trace cannot be told from it pixel by pixel.
    """
    if trace.ink is None or trace.ink_box is None:
        return False
    sight = _Sight(trace.ink, px_per_mm)
    own = trace.ink < 128
    corner = (-trace.ink_box.left_mm, -trace.ink_box.top_mm)
    own &= ~sight.filled([box.shifted(*corner) for box in name_boxes(layout.boxes)])
    closed = _morphed(own, cv2.MORPH_CLOSE, max(2, sight.px(_BETWEEN_MM)), 1)
    starts = np.diff(closed.astype(np.int8), axis=0, prepend=0) == 1
    several = (starts.sum(axis=0) > 1).astype(np.float64)
    window = sight.px(_WORD_MM)
    share = np.convolve(several, np.ones(window) / window)
    return bool(share.max(initial=0.0) > _MOST_SEVERAL)


def _pulse_ink(inked: Bools, layout: Layout, sight: _Sight, gain_mm_per_mv: float) -> Bools:
    """Ink beside a row that goes up from its baseline by a millivolt."""
    mask = np.zeros(sight.shape, bool)
    for row in layout.rows:
        level = row[0].baseline_mm
        for left, right in (
            (row[0].box.left_mm - _BESIDE_MM, row[0].box.left_mm + 0.8),
            (row[-1].box.right_mm - 0.8, row[-1].box.right_mm + _BESIDE_MM),
        ):
            window = Box(left, level - gain_mm_per_mv - 6.0, right, level + 6.0)
            cut = sight.cut(window)
            mask[cut] |= _pulses(inked[cut], gain_mm_per_mv * sight.scale, sight.px(1.5))
    return mask


def _pulses(inked: Bools, height_px: float, least_width_px: int) -> Bools:
    """The parts of a window's ink that are about as high as a pulse, and wide enough for one."""
    mask = np.zeros(inked.shape, bool)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inked.astype(np.uint8))
    for label in range(1, count):
        _, _, width, height, _ = stats[label]
        if 0.85 * height_px <= height <= 1.35 * height_px and width >= least_width_px:
            mask |= labels == label
    return mask


def _bars(inked: Bools, layout: Layout, sight: _Sight) -> Bools:
    """Ink of the upright bars where columns begin, where the layout has them."""
    if not layout.separators:
        return np.zeros(sight.shape, bool)
    top = min(b.box.top_mm for b in layout.boxes)
    bottom = max(b.box.bottom_mm for b in layout.boxes)
    edges = sorted({round(b.box.left_mm, 1) for b in layout.twelve})[1:]
    strips = sight.filled([Box(x - _BAR_MM, top, x + _BAR_MM, bottom) for x in edges])
    return _morphed(inked & strips, cv2.MORPH_OPEN, sight.px(_BAR_PART_MM), 1) > 0


def _names(layout: Layout, inked: Bools, sight: _Sight) -> Bools:
    """Ink that stands wholly where a lead's name is printed: what reaches out is other print."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inked.astype(np.uint8))
    boxes = stats[:, :4].copy()
    boxes[:, 2:] += boxes[:, :2]
    wanted = np.zeros(count, bool)
    for place in _name_places(layout):
        rows, columns = sight.cut(place)
        wanted |= (
            (boxes[:, 0] >= columns.start)
            & (boxes[:, 1] >= rows.start)
            & (boxes[:, 2] <= columns.stop)
            & (boxes[:, 3] <= rows.stop)
        )
    wanted[0] = False
    names: Bools = wanted[labels]
    return names


def _name_places(layout: Layout) -> Iterator[Box]:
    for b in layout.boxes:
        if b.name_mm is not None:
            x, y = b.name_mm
            width_mm = _LETTER_MM * len(b.lead)
            yield Box(x - 1.0, y - 1.0, x + width_mm + 1.0, y + _NAME_HEIGHT_MM + 1.0)


def _printed_words(level: Page, layout: Layout) -> Iterator[Box]:
    """Where words stand that a text layer knows, but those of leads in their own boxes."""
    for text in level.texts:
        if not _is_own_name(text.text.strip().lower(), text.box, layout.boxes):
            yield text.box.grown(0.6, 0.6)


def _is_own_name(word: str, box: Box, boxes: Sequence[LeadBox]) -> bool:
    return any(
        word == b.lead.lower() and b.box.grown(3.0, 4.0).contains(*box.centre_mm) for b in boxes
    )


# --- what is not ------------------------------------------------------------------------------


def _print(sight: _Sight, area: Bools, known: Bools) -> Bools:
    """Boxes around all marks that are neither grid nor known, in the leads' area."""
    marks = _marks(sight, area & ~known) & area & ~known
    gap = 2 * sight.px(_GAP_MM / 2) + 1
    joined = _morphed(marks, cv2.MORPH_CLOSE, gap, gap)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    inked = np.bincount(labels[marks], minlength=count)
    taken = np.zeros(sight.shape, bool)
    speck, around = sight.px(_SPECK_MM), sight.px(_AROUND_MM)
    least = _SPECK_MM2 * sight.scale**2
    for (x, y, width, height, _), amount in zip(stats[1:], inked[1:].tolist(), strict=True):
        if max(width, height) > speck and amount >= least:
            top, left = max(0, y - around), max(0, x - around)
            taken[top : y + height + around, left : x + width + around] = True
    # A letter that was missed goes with its word.
    return _morphed(taken, cv2.MORPH_CLOSE, sight.px(2 * _GAP_MM), sight.px(_WORDS_GAP_MM)) > 0


def _marks(sight: _Sight, looked_at: Bools) -> Bools:
    """Where the page is darker than its paper and its grid's lines, in whatever channel.

    In the brightest channel a coloured grid fades, and pale print stands out; in the darkest one
    print as red as the grid does.
    """
    marks = _darker(brightest_channel(sight.pixels), sight, looked_at)
    if sight.pixels.ndim == 3:
        marks |= _darker(darkest_channel(sight.pixels), sight, looked_at)
    return marks


def _darker(channel: Pixels, sight: _Sight, looked_at: Bools) -> Bools:
    dark = cv2.blur(cv2.bitwise_not(channel), (3, 3))  # the least blur there is, against noise
    contrast = cv2.subtract(dark, _paper(dark, sight))
    rest = _without_dots(cv2.subtract(contrast, _lines(contrast, sight)), sight)
    seen = rest[looked_at]
    if not len(seen):
        return np.zeros(sight.shape, bool)
    noise = float(np.percentile(seen, 84))
    marks: Bools = rest > max(_LEAST_CONTRAST, _NOISE * noise)
    return marks


def _paper(dark: Pixels, sight: _Sight) -> Pixels:
    """How dark the paper is round about, shadows included."""
    around = sight.px(6.0) // 4 + 1
    small = cv2.resize(dark, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    lightest = cv2.erode(small, np.ones((around, around), np.uint8))
    paper: Pixels = cv2.resize(cv2.blur(lightest, (around, around)), dark.shape[::-1])
    return paper


def _without_dots(rest: Pixels, sight: _Sight) -> Pixels:
    """What goes on for some length in one of four directions."""
    length = sight.px(_STROKE_MM)
    straight, slant = np.ones((1, length), np.uint8), np.eye(length, dtype=np.uint8)
    kernels = (straight, straight.T, slant, slant[::-1])
    kept = [cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ascontiguousarray(k)) for k in kernels]
    strokes: Pixels = np.maximum.reduce(kept)
    return strokes


def _lines(contrast: Pixels, sight: _Sight) -> Pixels:
    """How dark the straight lines along the page's edges are, where there are any."""
    length = sight.px(_LINE_MM)
    # Lines wander by a pixel, where they lean or where they were sampled.
    across = cv2.dilate(contrast, np.ones((3, 1), np.uint8))
    across = cv2.morphologyEx(across, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    down = cv2.dilate(contrast, np.ones((1, 3), np.uint8))
    down = cv2.morphologyEx(down, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    lines: Pixels = cv2.max(across, down)
    return lines

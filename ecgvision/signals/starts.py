"""Where on the page time begins: the places of the leads' first samples, read off their ink.

Boxes are placed to about a tenth of a millimetre, which is 4 ms: too much for a QRS, and a page
that is not quite level has its rows moved against each other. Where a lead begins in the open, the
stroke that draws its first pixels best is found: its ink begins half a pen before the first sample
if the pen is round, just there if it is cut off square. Ends are read alike; a lead ends one
sample before its box; how long a sample is, the ends on either side must say. All ends that can be
seen give one place for the page, the lean of its rows and, where columns stand apart, their places:
evenly apart, as far as their ends do not say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation, label
from scipy.special import ndtr

from ecgvision.compiled import compiled
from ecgvision.signals.edges import INK_SHARE, ColumnInk
from ecgvision.signals.fit import Line
from ecgvision.signals.pen import Pen
from ecgvision.types import LeadBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ink = NDArray[np.float32]

# A lead ends within this of its box's edge; so far inside the box its line is known (mm).
_REACH_MM, _KNOWN_MM = 0.8, 1.1
# What is looked at: so much above and below, and so much of the line from its end on.
_HALF_MM, _BODY_MM = 1.5, 0.45
# The line runs straight from its end so far; then come the known places, so far apart (mm).
_FREE_MM, _JOINT_MM = 0.12, 0.1
# Other print stays so far from the stroke's end (mm), or the end is not in the open.
_CLEAR_MM = 0.15
# A line that is steeper at its end, or that is this much off in its pixels (rms), says nothing.
_STEEPEST, _WORST_FIT = 6.0, 0.12
# An end further than this from where the pen's ink ends is a failed fit (mm).
_MOST_MOVE_MM = 0.3
# Points per pixel where a stroke is drawn; rounds of the fit, moves after which it is near its end
# (px), its step for slopes, its ridge.
_FINE, _ROUNDS, _NEAR_PX, _TRY_PX, _RIDGE = 3, 6, 0.1, 0.05, (1e-3, 1e-3, 1e-2)
# Standard errors in mm: of an end beside what its pixels say, of the page, of a column's place
# among even ones; and of the rows' lean and of how far apart the columns are (mm per mm).
_END_MM, _PAGE_MM, _COLUMN_MM, _LEAN, _STRETCH = 0.01, 0.3, 0.02, 0.0004, 0.0015
# One sample at 500 and at 250 Hz and 25 mm/s, and its standard error (mm); before it is known.
_SAMPLES_MM, _SAMPLE_ERROR_MM, _SAMPLE_MM, _ANY_MM = (0.05, 0.1), 0.005, 0.06, 1.0
# Renderers draw a pen's round end as a polygon, a little short of it (mm). A sample and both ends
# of the pen then look so long.
_SHORT_MM, _SHORT_ERROR_MM, _LENGTHS_MM, _UNUSUAL_MM = 0.008, 0.006, (0.02, 0.15), 0.03
# Misfits must be this much apart to tell round from square ends.
_TELLS = 1.3
# More than that no single end speaks against a place.
_MOST_SQUARES = 9.0
# An end that is off the others by this counts for a quarter, at first for more; rounds.
_STRAY_MM, _FIRST_STRAY_MM, _SETTLING, _SOLVING = 0.03, 0.1, 8, 20
_LEAST_ENDS = 2
# Columns with so much between them (mm) were placed by that gap, each by itself.
_APART_MM = 0.3


@dataclass(frozen=True, slots=True)
class _Fit:
    """Where a stroke ends right of its box's edge and how surely, in mm; what is left over.

    It `is_end` where it runs on from there, not too steep and as a stroke does.
    """

    off_mm: float
    error_mm: float
    misfit: float
    is_end: bool


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a lead in the open, by a round and by a square pen."""

    lead_box: LeadBox
    is_start: bool
    round_: _Fit
    square: _Fit


@dataclass(frozen=True)
class _Stroke:
    """The pixels around one end, the stroke on their right, in px of the patch.

    `patch` is (H, W), `clear` where it holds nothing else. The line is known from the `joint` on;
    it begins near (`begin`, `middle`). `across` and `down` turn fine points into pixels. `known` is
    each fine point's distance from the known line, squared.
    """

    patch: Floats
    clear: Bools
    joint: tuple[float, float]
    known: Floats
    begin: float
    middle: float
    free_px: float
    radius: float
    across: Floats
    down: Floats


def time_shifts_mm(
    rows: Sequence[Sequence[LeadBox]],
    dark: Ink,
    inks: Sequence[ColumnInk],
    lines: Sequence[Line],
    pen: Pen,
    px_per_mm: float,
) -> tuple[tuple[float, ...], ...]:
    """How far right of its box's left edge each lead's first sample stands, in mm, as in `rows`.

    `dark` is (H, W) from 0 to 1. 0 for all where no end of a lead lies in the open. If only right
    ends do, the unknown length of a sample leaves an error of up to 0.05 mm.
    """
    ends = [
        end
        for row, ink, line in zip(rows, inks, lines, strict=True)
        for lead_box in row
        for is_start in (True, False)
        if (end := _end(lead_box, dark, ink, line, pen, px_per_mm, is_start=is_start))
    ]
    if not ends:
        return tuple(tuple(0.0 for _ in row) for row in rows)
    columns = _loose_columns(rows)
    return _best_placed(ends, columns).shifts_mm(rows)


def _loose_columns(rows: Sequence[Sequence[LeadBox]]) -> tuple[float, ...]:
    """The left edges of columns that stand apart, if any: only those were placed one by one."""
    gaps = [b.box.left_mm - a.box.right_mm for row in rows for a, b in pairwise(row)]
    apart = bool(gaps) and min(gaps) > _APART_MM
    return tuple(sorted({_column(b) for row in rows for b in row})) if apart else ()


def _is_round(ends: Sequence[_End], columns: Sequence[float]) -> bool:
    """Whether the pen's ends are round: by the misfits, or else by the ends on either side.

    With the wrong pen, leads come out too short or too long by nearly a pen, or their ends do not
    agree. Most pens are round.
    """
    ratio = sum(e.square.misfit for e in ends) / max(sum(e.round_.misfit for e in ends), 1e-9)
    if ratio > _TELLS or ratio < 1 / _TELLS:
        return ratio > 1
    starts = sum(end.is_start for end in ends)
    if min(starts, len(ends) - starts) < _LEAST_ENDS:
        return True
    low, high = _LENGTHS_MM
    doubt = []
    for one in (True, False):
        placed = _placed(ends, columns, is_round=one, sample=(_SAMPLE_MM, _ANY_MM))
        unusual_mm = max(low - placed.sample_mm, placed.sample_mm - high, 0.0)
        doubt.append(placed.squares + (unusual_mm / _UNUSUAL_MM) ** 2)
    return doubt[0] <= doubt[1]


@dataclass(frozen=True)
class _Placed:
    """The page's shift at the height `level_mm`, its growth down the page, each column's own."""

    page_mm: float
    lean: float
    sample_mm: float
    level_mm: float
    columns_mm: dict[float, float]
    squares: float

    def weighed(self, shares: Sequence[float], others: Sequence[_Placed]) -> _Placed:
        """The mean of `others`, each weighted by its share."""
        page_mm = float(np.dot(shares, [one.page_mm for one in others]))
        lean = float(np.dot(shares, [one.lean for one in others]))
        columns = {
            at: float(np.dot(shares, [one.columns_mm[at] for one in others]))
            for at in self.columns_mm
        }
        return replace(self, page_mm=page_mm, lean=lean, columns_mm=columns)

    def shifts_mm(self, rows: Sequence[Sequence[LeadBox]]) -> tuple[tuple[float, ...], ...]:
        def shift(lead_box: LeadBox) -> float:
            down = lead_box.baseline_mm - self.level_mm
            return self.page_mm + self.lean * down + self.columns_mm.get(_column(lead_box), 0.0)

        return tuple(tuple(shift(lead_box) for lead_box in row) for row in rows)


def _best_placed(ends: Sequence[_End], columns: Sequence[float]) -> _Placed:
    """The page's place with every usual length of a sample, weighted by how well each fits."""
    is_round = _is_round(ends, columns)
    found = [
        _placed(ends, columns, is_round=is_round, sample=(one, _SAMPLE_ERROR_MM))
        for one in _SAMPLES_MM
    ]
    best = min(found, key=lambda one: one.squares)
    likely = np.exp((best.squares - np.array([one.squares for one in found])) / 2)
    return best.weighed((likely / likely.sum()).tolist(), found)


def _placed(
    ends: Sequence[_End],
    columns: Sequence[float],
    *,
    is_round: bool,
    sample: tuple[float, float],
) -> _Placed:
    """Least squares with the prior knowledge above; ends far off the others lose weight.

    `sample` is how long a sample is and how sure that is, in mm.
    """
    y_mm = np.array([end.lead_box.baseline_mm for end in ends])
    level_mm = float(y_mm.mean())
    fits = [end.round_ if is_round else end.square for end in ends]
    off = np.array([fit.off_mm for fit in fits])
    trust = 1 / (np.array([fit.error_mm for fit in fits]) ** 2 + _END_MM**2)
    after = [0.0 if end.is_start else -1.0 for end in ends]
    short = [1.0 if end.is_start else -1.0 for end in ends]
    along = np.array(columns) - np.mean(columns) if columns else np.zeros(0)
    own = np.array([[_column(end.lead_box) == one for one in columns] for end in ends], float)
    # A page without such columns keeps a term that is 0 throughout.
    apart = own @ along
    terms = np.column_stack([np.ones(len(ends)), y_mm - level_mm, after, short, apart, own])
    short_mm = _SHORT_MM if is_round else 0.0
    aim = np.array([0.0, 0.0, sample[0], short_mm, 0.0, *(0.0 for _ in columns)])
    spread = np.array(
        [_PAGE_MM, _LEAN, sample[1], _SHORT_ERROR_MM, _STRETCH, *(_COLUMN_MM for _ in columns)]
    )
    weight = np.ones(len(ends))
    found = aim
    for round_ in range(_SOLVING):
        normal = terms.T @ (terms * (weight * trust)[:, None]) + np.diag(1 / spread**2)
        found = np.linalg.solve(normal, terms.T @ (weight * trust * off) + aim / spread**2)
        stray = _FIRST_STRAY_MM if round_ < _SETTLING else _STRAY_MM
        weight = 1 / (1 + ((off - terms @ found) / stray) ** 2)
        weight = weight if round_ < _SETTLING else weight**2
    squares = np.minimum(trust * (off - terms @ found) ** 2, _MOST_SQUARES).sum()
    squares += (((found - aim) / spread) ** 2).sum()
    page_mm, lean, sample_mm, _, stretch = (float(value) for value in found[:5])
    places = (stretch * along + found[5:]).tolist()
    columns_mm = dict(zip(columns, places, strict=True))
    return _Placed(page_mm, lean, sample_mm, level_mm, columns_mm, float(squares))


def _column(lead_box: LeadBox) -> float:
    return round(lead_box.box.left_mm, 2)


def _end(
    lead_box: LeadBox,
    dark: Ink,
    ink: ColumnInk,
    line: Line,
    pen: Pen,
    px_per_mm: float,
    *,
    is_start: bool,
) -> _End | None:
    """One end of a lead; None where it does not lie in the open or cannot be read."""
    edge_px = (lead_box.box.left_mm if is_start else lead_box.box.right_mm) * px_per_mm
    x_px, y_px, seen, sign = line.x_px, line.y_px, dark, 1.0
    known = edge_px + (_KNOWN_MM if is_start else -_KNOWN_MM) * px_per_mm
    column = int(known) - int(ink.columns[0])
    if not 0 <= column < len(ink.seen) or not ink.seen[column] or ink.shared[column]:
        return None
    if not is_start:  # the page's mirror image has beginnings there
        width = dark.shape[1]
        x_px, y_px, seen = width - x_px[::-1], y_px[::-1], dark[:, ::-1]
        edge_px, sign = width - edge_px, -1.0
    cut = _cut(seen, x_px, y_px, edge_px, pen, px_per_mm)
    if cut is None:
        return None
    stroke, edge = cut
    round_ = _fitted(stroke, edge, px_per_mm, sign, is_round=True)
    # Whatever the pen, its ends look nearly round: a stroke that does not is something else.
    if not round_.is_end:
        return None
    return _End(lead_box, is_start, round_, _fitted(stroke, edge, px_per_mm, sign, is_round=False))


def _cut(
    dark: Ink, x_px: Floats, y_px: Floats, edge_px: float, pen: Pen, px_per_mm: float
) -> tuple[_Stroke, float] | None:
    """The pixels where a stroke begins near `edge_px`, and that edge's place in them."""
    radius = pen.width_px / 2
    tail = int(np.ceil(2 * pen.blur_px))
    left = int(edge_px - _REACH_MM * px_per_mm) - 2
    right = int(edge_px + _KNOWN_MM * px_per_mm) + 1
    level = float(np.interp(right - 0.5, x_px, y_px))
    if left < 0 or right >= dark.shape[1] or not np.isfinite(level):
        return None
    top, bottom = int(level - _HALF_MM * px_per_mm), int(level + _HALF_MM * px_per_mm)
    if top < 0 or bottom > dark.shape[0]:
        return None
    window = np.minimum(dark[top:bottom, left:right] / pen.darkness, 1.0).astype(np.float64)
    names, _ = label(window > INK_SHARE, np.ones((3, 3)))
    name = names[int(level) - top, -1]
    own = names == name
    if name == 0:
        return None
    begin = int(np.flatnonzero(own.any(axis=0))[0])
    first = own[:, begin : begin + max(2, round(radius))]
    middle = float(np.flatnonzero(first.any(axis=1)).mean()) + 0.5
    half = int(np.ceil(radius + tail + 1 + 0.2 * px_per_mm))
    low, high = int(middle) - half, int(middle) + half + 1
    start, stop = begin - 2 - tail, begin + round(_BODY_MM * px_per_mm)
    if low < 0 or high > len(window) or start < 0 or stop > window.shape[1]:
        return None
    clear = ~binary_dilation((names > 0) & ~own, iterations=1 + tail)[low:high]
    if not clear[:, max(0, begin - round(_CLEAR_MM * px_per_mm)) : begin + 2].all():
        return None
    free, joint = _FREE_MM * px_per_mm, _JOINT_MM * px_per_mm
    # The known part runs on past the patch, so that its own end is not drawn.
    knots = np.arange(begin - start + radius + free + joint, stop - start + radius + 3, joint)
    heights = np.interp(knots, x_px - left - start, y_px - top - low)
    if not np.isfinite(heights).all():
        return None
    patch = window[low:high, start:stop]
    across, down = (_optics(size, pen.blur_px) for size in (stop - start, high - low))
    known = np.full((down.shape[1], across.shape[1]), np.inf)
    _distances(knots, heights, known, np.empty(known.shape))
    stroke = _Stroke(
        patch, clear[:, start:stop], (float(knots[0]), float(heights[0])), known, begin - start,
        middle - low, free, radius, across, down,
    )  # fmt: skip
    return stroke, edge_px - left - start


def _optics(size: int, blur_px: float) -> Floats:
    """(size, size * _FINE): how much of each fine point every pixel sees through the blur."""
    fine = (np.arange(size * _FINE) + 0.5) / _FINE
    off = (fine - np.arange(size)[:, None] - 0.5) / blur_px
    half = 0.5 / blur_px
    result: Floats = (ndtr(off + half) - ndtr(off - half)) / _FINE
    return result


def _fitted(stroke: _Stroke, edge: float, px_per_mm: float, sign: float, *, is_round: bool) -> _Fit:
    """Gauss-Newton on the end's place, its height, and the height a little further on."""
    begin = stroke.begin + (stroke.radius if is_round else 0.0)
    place = np.array([begin, stroke.middle, (stroke.middle + stroke.joint[1]) / 2])
    steps = np.concatenate([np.zeros((1, 3)), _TRY_PX * np.eye(3)])
    misfit, normal, slopes = np.zeros(0), np.eye(3), np.zeros((3, 0))
    moved_px = np.inf
    for _ in range(_ROUNDS):
        # Near its end the slopes hardly change, and they take three times as long as the misfit.
        tried = steps if moved_px > _NEAR_PX else steps[:1]
        drawn = _drawn(place + tried, stroke, is_round=is_round)[:, stroke.clear]
        misfit = stroke.patch[stroke.clear] - drawn[0]
        if len(drawn) > 1:
            slopes = (drawn[1:] - drawn[0]) / _TRY_PX
            normal = slopes @ slopes.T + np.diag(_RIDGE)
        move = np.clip(np.linalg.solve(normal, slopes @ misfit), -1.0, 1.0)
        place, moved_px = place + move, np.abs(move).max()
    left_over = float(misfit @ misfit)
    variance = left_over / len(misfit)
    steep = abs(place[2] - place[1]) > _STEEPEST * stroke.free_px
    moved = abs(place[0] - begin) > _MOST_MOVE_MM * px_per_mm
    is_end = not (steep or moved or variance > _WORST_FIT**2)
    error = float(np.sqrt(variance * np.linalg.inv(normal)[0, 0]))
    return _Fit(
        sign * float(place[0] - edge) / px_per_mm, error / px_per_mm, left_over, bool(is_end)
    )


def _drawn(places: Floats, stroke: _Stroke, *, is_round: bool) -> Floats:
    """(k, H, W): what the pen draws for each of the (k, 3) places."""
    inked = np.empty((len(places), *stroke.known.shape))
    past = np.empty(stroke.known.shape)
    joint_x, joint_y = stroke.joint
    for (x, y, onward_y), ink in zip(places.tolist(), inked, strict=True):
        ink[:] = stroke.known
        xs, ys = np.array([x, x + stroke.free_px, joint_x]), np.array([y, onward_y, joint_y])
        _distances(xs, ys, ink, past)
        _to_ink(ink, past, stroke.radius, is_round)
    result: Floats = stroke.down @ inked @ stroke.across.T
    return result


@compiled
def _distances(xs, ys, nearest, past):  # type: ignore[no-untyped-def]
    """Brings `nearest`, (H, W) squared distances of fine points, down to those from a line.

    `past` (H, W) becomes how far past the line's beginning they are, along it.
    """
    for j in range(len(xs) - 1):
        across, down = xs[j + 1] - xs[j], ys[j + 1] - ys[j]
        squared, length = across**2 + down**2, np.hypot(across, down)
        for row in range(nearest.shape[0]):
            off_y = (row + 0.5) / _FINE - ys[j]
            for column in range(nearest.shape[1]):
                off_x = (column + 0.5) / _FINE - xs[j]
                along = (off_x * across + off_y * down) / squared
                if j == 0:
                    past[row, column] = along * length
                along = min(max(along, 0.0), 1.0)
                distance = (off_x - along * across) ** 2 + (off_y - along * down) ** 2
                nearest[row, column] = min(nearest[row, column], distance)


@compiled
def _to_ink(nearest, past, radius, is_round):  # type: ignore[no-untyped-def]
    """Turns squared distances from a line into ink, 0 to 1; a square pen begins where it does."""
    for row in range(nearest.shape[0]):
        for column in range(nearest.shape[1]):
            ink = min(max((radius - np.sqrt(nearest[row, column])) * _FINE + 0.5, 0.0), 1.0)
            if not is_round:
                ink = min(ink, min(max(past[row, column] * _FINE + 0.5, 0.0), 1.0))
            nearest[row, column] = ink

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

from ecgvision.signals.edges import ColumnInk
from ecgvision.signals.fit import Line
from ecgvision.signals.pen import Pen
from ecgvision.signals.stroke_ends import KNOWN_MM, EndFit, cut_stroke, fitted_end
from ecgvision.types import LeadBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ink = NDArray[np.float32]

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
class _End:
    """One end of a lead in the open, by a round and by a square pen."""

    lead_box: LeadBox
    is_start: bool
    round_: EndFit
    square: EndFit


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
    known = edge_px + (KNOWN_MM if is_start else -KNOWN_MM) * px_per_mm
    column = int(known) - int(ink.columns[0])
    if not 0 <= column < len(ink.seen) or not ink.seen[column] or ink.shared[column]:
        return None
    if not is_start:  # the page's mirror image has beginnings there
        width = dark.shape[1]
        x_px, y_px, seen = width - x_px[::-1], y_px[::-1], dark[:, ::-1]
        edge_px, sign = width - edge_px, -1.0
    cut = cut_stroke(seen, x_px, y_px, edge_px, pen, px_per_mm)
    if cut is None:
        return None
    stroke, edge = cut
    round_ = fitted_end(stroke, edge, px_per_mm, sign, is_round=True)
    # Whatever the pen, its ends look nearly round: a stroke that does not is something else.
    if not round_.is_end:
        return None
    return _End(
        lead_box, is_start, round_, fitted_end(stroke, edge, px_per_mm, sign, is_round=False)
    )

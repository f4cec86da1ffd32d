"""Pairs the rows of a layout with the rows of ink on a page, and measures where those lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import median

from ecgvision.evidence import Evidence, rescaled
from ecgvision.ink_rows import Row
from ecgvision.types import Layout

MOST_OFFSET_MM = 14.0
EDGE_SLACK_MM = 2.0
# Between the rows nothing else is due: a row this dense there is one too many, or this one where
# the names show which rows are meant.
BETWEEN, BETWEEN_NAMED = 0.3, 0.45
# So much of a row's length has ink at its level; where text names the leads, this is enough.
LEAST, LEAST_NAMED = 0.3, 0.12
# Beginnings and ends of rows that are no further from each other agree.
AGREE_MM = 0.4
# Without a known scale, what is measured in the guessed scale may be this much off.
_SCALE_RANGE = (0.55, 1.6)


@dataclass(frozen=True, slots=True)
class RowFit:
    """Rows of a layout paired with rows on the page, and how far off the worst one is."""

    dy_mm: float
    rows: tuple[Row, ...]
    worst_mm: float
    left_over: bool = False


def fit_rows(
    evidence: Evidence, layout: Layout, *, between: float = BETWEEN, least: float = LEAST
) -> RowFit | None:
    """Pair every row of the layout with a row on the page, by the offset that fits best.

    The rows must be as dense as `least`, and no other as dense as `between` stand among them.
    """
    strong = [row for row in evidence.rows if _strong(row, least)]
    due = [row[0].baseline_mm for row in layout.rows]
    best: RowFit | None = None
    for first, found in product(range(len(due)), evidence.rows):
        dy_mm = found.baseline_mm - due[first]
        paired = _paired([y + dy_mm for y in due], strong, layout.row_slack_mm)
        if paired is None:
            continue
        strays = [row.baseline_mm - y for row, y in zip(paired, due, strict=True)]
        middle = (max(strays) + min(strays)) / 2
        worst = (max(strays) - min(strays)) / 2
        if abs(middle) > MOST_OFFSET_MM or worst > layout.row_slack_mm:
            continue
        if _row_left_over(evidence, paired, between):
            continue
        if best is None or worst < best.worst_mm:
            best = RowFit(middle, tuple(paired), worst, left_over=between > BETWEEN)
    return best


def _paired(due: Sequence[float], rows: Sequence[Row], slack_mm: float) -> list[Row] | None:
    """For each due level the row nearest to it, all different and in order, or None."""
    reach = 2 * slack_mm
    taken: list[Row] = []
    for y in due:
        near = [r for r in rows if abs(r.baseline_mm - y) <= reach]
        near = [r for r in near if not taken or r.baseline_mm > taken[-1].baseline_mm + 4]
        if not near:
            return None
        taken.append(min(near, key=lambda r: abs(r.baseline_mm - y) - 6 * r.coverage))
    return taken


def _strong(row: Row, least: float) -> bool:
    return row.right_mm - row.left_mm >= 100 and row.coverage >= least


def _row_left_over(evidence: Evidence, paired: Sequence[Row], between: float) -> bool:
    """Whether a row as long and dense as the paired ones stands on the page unpaired.

    Ruled lines may frame a header or a footer; three of them are ruled paper.
    """
    ruled = 0
    left = median([row.left_mm for row in paired])
    right = median([row.right_mm for row in paired])
    dense = median([row.coverage for row in paired])
    pitch = min(
        (b.baseline_mm - a.baseline_mm for a, b in pairwise(paired)),
        default=30.0,
    )
    # A row's own T waves or a wandering baseline may make a second row up to this far from it.
    near_mm = min(0.45 * pitch, 12.0)
    for row in evidence.rows:
        if min(abs(row.baseline_mm - other.baseline_mm) for other in paired) < near_mm:
            continue
        # Print above and below may be as long, but does not begin and end where the rows do.
        beyond = row.baseline_mm < paired[0].baseline_mm or row.baseline_mm > paired[-1].baseline_mm
        if beyond:
            as_long = abs(row.left_mm - left) < 5.0 and abs(row.right_mm - right) < 5.0
        else:
            as_long = row.right_mm - row.left_mm > 0.6 * (right - left)
        # Between the rows a broken row counts as well.
        least = max(0.55, 0.7 * dense) if beyond else between
        if as_long and row.coverage >= least:
            if not row.ruled:
                return True
            ruled += 1
    return ruled >= 3


def due_edges(layout: Layout) -> list[tuple[float, tuple[float, ...]]]:
    """Where rows of ink may begin, with the pulse and without, and where each of them ends."""
    left = min(b.box.left_mm for b in layout.boxes)
    rights = tuple(max(b.box.right_mm for b in row) for row in layout.rows)
    if layout.pulse_mm is None:
        return [(left, rights)]
    return [(min(left, layout.pulse_mm[0]), rights), (left, rights)]


def fit_edges(
    evidence: Evidence, layout: Layout, rows: RowFit, left_mm: float | None = None
) -> tuple[float, float] | None:
    """(dx, how far the ends are off) in mm, or None where the rows are of another width.

    The rows begin at `left_mm`, or where most of them do, and end where most of them do. Drift may
    take most of them off their levels there: on vector pages, where nothing else is beside them,
    and with `left_mm` the longest will do. Where beginnings and ends are apart, one of them was not
    seen, and dx is what most rows tell.
    """
    longest = evidence.page.origin == "vector" or left_mm is not None
    lefts = [row.left_mm for row in rows.rows] if left_mm is None else [left_mm]
    best: tuple[float, float] | None = None
    for due_left, due_rights in due_edges(layout):
        begins = [left - due_left for left in lefts]
        ends = [row.right_mm - due for row, due in zip(rows.rows, due_rights, strict=True)]
        for begin, end in product(
            (median(begins), *([min(begins)] * longest)), (median(ends), *([max(ends)] * longest))
        ):
            error, dx = abs(end - begin) / 2, (end + begin) / 2
            fits = error <= EDGE_SLACK_MM and abs(dx) <= MOST_OFFSET_MM
            if fits and (best is None or error < best[1]):
                told = _told_by_most(begins, ends) if evidence.scale_from != "layout" else dx
                apart = error > AGREE_MM and abs(told) <= MOST_OFFSET_MM
                best = (told if apart else dx, error)
    return best


def _told_by_most(begins_mm: Sequence[float], ends_mm: Sequence[float]) -> float:
    """The shift that most of the rows' beginnings and ends agree on, the beginnings before ends.

    >>> _told_by_most([0.0, 0.1, 0.1, 3.0], [-2.8, -2.8, 0.0, -2.7])
    0.05
    """
    shifts = [*begins_mm, *ends_mm]
    agreeing = [[one for one in shifts if abs(one - at) <= AGREE_MM] for at in shifts]
    most = max(agreeing, key=len)
    return median(most)


def scaled_by_extent(evidence: Evidence, layout: Layout) -> Evidence | None:
    """The evidence in the scale at which its rows are as wide as the layout's, if one fits."""
    strong = [row for row in evidence.rows if row.right_mm - row.left_mm >= 60]
    if len(strong) < len(layout.rows):
        return None
    widest = median(sorted(row.right_mm - row.left_mm for row in strong)[-len(layout.rows) :])
    for left, rights in due_edges(layout):
        factor = (median(rights) - left) / widest
        if not _SCALE_RANGE[0] < factor < _SCALE_RANGE[1]:
            continue
        tried = rescaled(evidence, factor)
        if fit_rows(tried, layout) is not None:
            return tried
    return None

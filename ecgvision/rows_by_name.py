"""Places a layout's rows by the names of its leads, where those are text and stand as declared.

Drift over many millimetres takes the ink off its level, and adds rows that are none. A machine
prints its names in the same places all the same.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from ecgvision.evidence import Evidence, printed_names
from ecgvision.ink_rows import Row
from ecgvision.row_fit import MOST_OFFSET_MM, RowFit, fit_edges
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from ecgvision.types import Layout

# All names stand this near to their places, after one common shift.
_SAME_MM = 0.6
# A row of ink this near to where a row is due tells how far the names are from their rows.
_NEAR_MM = 4.0


def fit_rows_by_name(
    evidence: Evidence, layout: Layout
) -> tuple[RowFit, tuple[float, float]] | None:
    """The rows, with their edges as `fit_edges` has them; None unless every lead's name is there.

    Names stand where the layout has them but for one shift of the page, and for how a name's font
    fills its box: so much the rows of ink may be off, all alike.
    """
    shift = _shift_mm(evidence, layout)
    if shift is None:
        return None
    due = [row[0].baseline_mm + shift[1] for row in layout.rows]
    near = [
        found.baseline_mm - y
        for y in due
        for found in evidence.rows
        if abs(found.baseline_mm - y) <= _NEAR_MM
    ]
    down = median(near) if near else 0.0
    if not evidence.rows or abs(shift[1] + down) > MOST_OFFSET_MM:
        return None
    left = min(row.left_mm for row in evidence.rows)
    right = max(row.right_mm for row in evidence.rows)
    rows = tuple(Row(y + down, left, right, 1.0) for y in due)
    fitted = RowFit(shift[1] + down, rows, 0.0, left_over=True)
    edges = fit_edges(evidence, layout, fitted)
    return (fitted, edges) if edges else None


def _shift_mm(evidence: Evidence, layout: Layout) -> tuple[float, float] | None:
    """How far right and down of their places all twelve names stand, if they agree."""
    if len({lead for lead, _, _ in evidence.names}) < len(LEADS):
        return None
    due = {b.lead: b.name_mm for b in layout.twelve if b.name_mm}
    if len(due) < len(LEADS):
        return None
    shifts: dict[str, list[tuple[float, float]]] = {lead: [] for lead in due}
    for lead, box in printed_names(evidence.page):
        x, y = due[lead]  # by their left edges, as names are of different lengths
        shifts[lead].append((box.left_mm - x, box.centre_mm[1] - y))
    once = [found[0] for found in shifts.values() if len(found) == 1]
    if len(once) < len(due) / 2:
        return None
    across, down = median(x for x, _ in once), median(y for _, y in once)
    agree = all(
        any(abs(x - across) <= _SAME_MM and abs(y - down) <= _SAME_MM for x, y in found)
        for found in shifts.values()
    )
    return (across, down) if agree else None

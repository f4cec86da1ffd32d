"""Finds which of a format's layouts a page has, and where it lies: the default detect_layout.

A layout fits when its rows of ink stand where they are due (after one common offset), nothing
else that looks like a row stands among them, and the rows begin and end where they are due. Grid,
separators and printed lead names must agree where the layout speaks of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from ecgvision.columns import measured_columns
from ecgvision.errors import LayoutError
from ecgvision.evidence import Evidence, gather, names_seen
from ecgvision.row_fit import (
    AGREE_MM,
    BETWEEN_NAMED,
    EDGE_SLACK_MM,
    LEAST,
    LEAST_NAMED,
    MOST_OFFSET_MM,
    RowFit,
    due_edges,
    fit_edges,
    fit_rows,
    scaled_by_extent,
)
from ecgvision.rows_by_name import fit_rows_by_name
from ecgvision.types import FormatInfo, Layout, LeadBox, Match, Page

GOOD_SCORE = 0.6
"""A match scoring less is no match."""

_PAGE_SLACK_MM = 22.0
_BAR_SLACK_MM = 2.5
_COLUMN_SLACK_MM = 3.0
# So many rows that begin this near to one line, which leans by more, are seen in perspective.
_LEANING_ROWS, _ON_LINE_MM, _MOST_LEAN_DEG = 4, 0.6, 1.5
# Print where such shares of the lead names are due: by chance, enough, beyond doubt.
_HARDLY_NAMED, _NAMED, _SURELY_NAMED = 0.25, 0.65, 0.9


def find_layout(page: Page, layouts: Sequence[Layout]) -> Match | None:
    """The best fitting of `layouts` on the page, turned by quarters if need be.

    Gives the best attempt with its score and evidence even where that is no match (a score under
    `GOOD_SCORE`), so that a refusal can say what was found. None where nothing was found at all.
    """
    best: Match | None = None
    for turns in _likely_turns(page):
        for match in (_fit(gather(page, turns), layout) for layout in layouts):
            # Where nothing fits, what is told is how the page lies as it is.
            if best is None or (match.score, turns == 0) > (best.score, best.quarter_turns == 0):
                best = match
        if best is not None and best.score >= GOOD_SCORE:
            break
    return best


def _likely_turns(page: Page) -> tuple[int, ...]:
    """The ways up worth trying: long rows of ink run across an upright or upside-down page."""
    evidence = gather(page, 0)
    long_mm = 0.75 * _page_mm(evidence)[0]
    long = [r for r in evidence.rows if r.right_mm - r.left_mm >= long_mm and r.coverage > 0.7]
    if len(long) >= 3:
        return (0, 2)
    # A page on its side shows rows too: of bars, of names, of complexes one beside the other.
    across, down = (
        sum(r.coverage * (r.right_mm - r.left_mm) for r in gather(page, turns).rows)
        for turns in (0, 1)
    )
    return (0, 2, 1, 3) if across >= down else (1, 3, 0, 2)


def with_header(match: Match, info: FormatInfo, page: Page) -> Match:
    """The match, scored down where the page has text but none that the format always prints."""
    if not info.header_text or match.score <= 0 or not page.texts:
        return match
    printed = " ".join(text.text for text in page.texts).lower()
    found = [words for words in info.header_text if words.lower() in printed]
    if found:
        note = f"printed text has {found[0]!r}"
        return replace(match, score=min(1.0, match.score + 0.05), evidence=(*match.evidence, note))
    note = f"printed text has none of {', '.join(map(repr, info.header_text))}"
    return replace(match, score=match.score * 0.9, evidence=(*match.evidence, note))


def _fit(evidence: Evidence, layout: Layout) -> Match:
    """How well one layout fits; a score of 0 with the reason where it does not."""
    if evidence.scale_from is None:
        scaled = scaled_by_extent(evidence, layout)
        if scaled is None:
            return _no(evidence, layout, *_rows_text(evidence, layout))
        evidence = scaled
    width_mm, height_mm = _page_mm(evidence)
    due_width, due_height = layout.page_mm
    if max(abs(width_mm - due_width), abs(height_mm - due_height)) > _PAGE_SLACK_MM:
        return _no(
            evidence,
            layout,
            f"looked for a page of {due_width:.0f} x {due_height:.0f} mm, "
            f"found {width_mm:.0f} x {height_mm:.0f} mm",
        )
    match = _fit_by_ink(evidence, layout)
    by_name = fit_rows_by_name(evidence, layout) if match.score < GOOD_SCORE else None
    other = _on_page(evidence, layout, *by_name) if by_name else match
    return other if other.score > match.score else match


def _fit_by_ink(evidence: Evidence, layout: Layout) -> Match:
    """How well a layout fits the page's rows of ink."""
    rows = fit_rows(evidence, layout)
    edges = fit_edges(evidence, layout, rows) if rows else None
    if rows is None or edges is None:
        named = _fit_named_rows(evidence, layout)
        if named is not None:
            rows, edges = named
    if rows is None:
        return _no(evidence, layout, *_rows_text(evidence, layout))
    if edges is None:
        left, rights = due_edges(layout)[0]
        return _no(
            evidence,
            layout,
            f"looked for rows {median(rights) - left:.1f} mm wide from x = {left:.1f} mm, "
            f"found {median([r.right_mm - r.left_mm for r in rows.rows]):.1f} mm "
            f"from {median([r.left_mm for r in rows.rows]):.1f} mm",
        )
    return _on_page(evidence, layout, rows, edges)


def _on_page(evidence: Evidence, layout: Layout, rows: RowFit, edges: tuple[float, float]) -> Match:
    """The match, or none where the layout, moved to its rows, would leave the page."""
    try:
        return _scored(evidence, layout, rows, edges)
    except LayoutError as error:
        return _no(evidence, layout, str(error))


def _scored(evidence: Evidence, layout: Layout, rows: RowFit, edges: tuple[float, float]) -> Match:
    dx_mm, edge_error_mm = edges
    columns = measured_columns(evidence, _placed(layout, rows, dx_mm))
    placed = columns.layout
    dx_mm = placed.boxes[0].box.left_mm - layout.boxes[0].box.left_mm
    notes = [
        f"{len(rows.rows)} rows of ink within {rows.worst_mm:.1f} mm of their places",
        f"their ends within {edge_error_mm:.1f} mm",
    ]
    score = 1.0
    score -= 0.25 * min(1.0, rows.worst_mm / layout.row_slack_mm)
    score -= 0.10 * min(1.0, (abs(dx_mm) + abs(rows.dy_mm)) / (2 * MOST_OFFSET_MM))
    score -= 0.15 * edge_error_mm / EDGE_SLACK_MM
    score -= 0.15 * min(1.0, columns.stray_mm / _COLUMN_SLACK_MM)
    if columns.unseen:
        score *= 0.75
        notes.append(f"{columns.unseen} columns do not begin where they are due")
    if layout.grid is not None and evidence.page.origin == "vector":
        has_grid = evidence.grid_mm is not None
        if has_grid != layout.grid:
            score *= 0.55
            notes.append(f"looked for {_grid(layout.grid)}, found {_grid(has_grid)}")
    elif layout.grid is False and evidence.grid_mm is not None:
        score *= 0.55
        notes.append("looked for no grid, found a grid")
    if rows.left_over:
        score *= 0.85
        notes.append("rows told by the lead names beside them")
    score *= _lean_factor(evidence, rows, notes)
    score *= _bars_factor(evidence, placed, notes)
    score *= _names_factor(evidence, placed, notes)
    score *= _glyphs_factor(evidence, placed, notes)
    return Match(
        layout=placed,
        score=max(0.0, score),
        offset_mm=(dx_mm, rows.dy_mm),
        rotation_deg=evidence.rotation_deg,
        quarter_turns=evidence.quarter_turns,
        page_mm=_page_mm(evidence),
        scale_from=evidence.scale_from or "layout",
        evidence=tuple(notes),
    )


def _grid(has_grid: bool) -> str:
    return "a grid" if has_grid else "no grid"


def _no(evidence: Evidence, layout: Layout, *notes: str) -> Match:
    return Match(
        layout=layout,
        score=0.0,
        rotation_deg=evidence.rotation_deg,
        quarter_turns=evidence.quarter_turns,
        page_mm=_page_mm(evidence),
        scale_from=evidence.scale_from or "layout",
        evidence=notes,
    )


def _page_mm(evidence: Evidence) -> tuple[float, float]:
    return evidence.page.known_mm


def _rows_text(evidence: Evidence, layout: Layout) -> tuple[str, ...]:
    due = [row[0].baseline_mm for row in layout.rows]
    found = [row.baseline_mm for row in evidence.rows]
    where = f" at {_numbers(found)} mm" if found else ""
    looked_for = f"looked for {len(due)} rows of ink at y = {_numbers(due)} mm"
    return (f"{looked_for}, found {len(found)}{where}",)


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.0f}" for value in values[:12])
    return shown + (" ..." if len(values) > 12 else "")


# --- rows -------------------------------------------------------------------------------------


def _fit_named_rows(
    evidence: Evidence, layout: Layout
) -> tuple[RowFit, tuple[float, float]] | None:
    """The rows, with their edges, of a page on which the leads' names stand beside them.

    High T waves of a fast rhythm, or a drifting baseline, make rows of their own. Names that are
    text are surer than print in their places: with them even rows will do that noise has spread
    over a wide band, or that drift at the beginning keeps off their level.
    """
    least = LEAST_NAMED if evidence.names else LEAST
    rows = fit_rows(evidence, layout, between=BETWEEN_NAMED, least=least)
    if rows is None:
        return None
    edges = fit_edges(evidence, layout, rows)
    if edges is None:
        edges = fit_edges(evidence, layout, rows, left_mm=min(row.left_mm for row in rows.rows))
        if edges is None or edges[1] > AGREE_MM:
            return None
    placed = _placed(layout, rows, edges[0])
    named = _text_share(evidence, placed) if evidence.names else _names_share(evidence, placed)
    return (rows, edges) if named is not None and named >= _SURELY_NAMED else None


# --- what else must agree ---------------------------------------------------------------------


def _lean_factor(evidence: Evidence, rows: RowFit, notes: list[str]) -> float:
    """On a level page rows begin one above the other, in perspective on a line that leans."""
    if evidence.page.origin == "vector" or len(rows.rows) < _LEANING_ROWS:
        return 1.0
    level_mm = np.array([row.baseline_mm for row in rows.rows])
    left_mm = np.array([row.left_mm for row in rows.rows])
    slope, start = np.polyfit(level_mm, left_mm, 1)
    lean_deg = abs(float(np.degrees(np.arctan(slope))))
    on_line = np.abs(left_mm - start - slope * level_mm).max() <= _ON_LINE_MM
    if lean_deg <= _MOST_LEAN_DEG or not on_line:
        return 1.0
    notes.append(f"rows that begin on a line which leans by {lean_deg:.1f} degrees: a photo?")
    return 0.55


def _bars_factor(evidence: Evidence, placed: Layout, notes: list[str]) -> float:
    """Upright bars must stand between the columns of a layout with separators, and only there."""
    if not placed.separators:
        inside = _separators_seen(evidence, placed)
        if inside:
            notes.append(f"looked for no upright bars, found some at x = {_numbers(inside)} mm")
        return 0.55 if inside else 1.0
    starts = sorted({round(b.box.left_mm, 2) for b in placed.twelve})[1:]
    seen = sum(
        any(abs(bar - start) <= _BAR_SLACK_MM for bar in evidence.bars_mm) for start in starts
    )
    notes.append(f"{seen} of {len(starts)} separators seen")
    return 1.0 if seen == len(starts) else 0.5


def _separators_seen(evidence: Evidence, placed: Layout) -> list[float]:
    """Bars that stand where the rows fall into two or four columns; none of other places.

    Tall complexes one above the other look like bars, but not just there and nowhere else.
    """
    left = min(b.box.left_mm for b in placed.boxes)
    right = max(b.box.right_mm for b in placed.boxes)
    inside = [bar for bar in evidence.bars_mm if left + 8 < bar < right - 8]
    quarters = [left + (right - left) * part / 4 for part in (1, 2, 3)]
    strays = [x for x in inside if min(abs(x - q) for q in quarters) > _BAR_SLACK_MM]
    in_the_middle = any(abs(x - quarters[1]) <= _BAR_SLACK_MM for x in inside)
    return inside if in_the_middle and not strays else []


def _glyphs_factor(evidence: Evidence, placed: Layout, notes: list[str]) -> float:
    """On a page without text, something must be printed where most leads' names are due.

    A page with nothing at all in those places may have its names elsewhere: that counts little.
    """
    seen = _names_share(evidence, placed)
    if seen is None:
        return 1.0
    notes.append(f"print where {seen:.0%} of the lead names are due")
    if seen >= _NAMED:
        return 1.0
    return 0.55 if seen > _HARDLY_NAMED else 0.8


def _names_share(evidence: Evidence, placed: Layout) -> float | None:
    """The share of the places of lead names that have print; None if nobody can tell."""
    due = [b.name_mm for b in placed.twelve if b.name_mm]
    if evidence.page.texts or evidence.page.origin == "vector" or len(due) < 8:
        return None
    return names_seen(evidence, placed, due) / len(due)


def _text_share(evidence: Evidence, placed: Layout) -> float:
    """The share of the twelve leads whose own name is printed as text in their box."""
    seen = [b.lead in _leads_named_in(evidence, b) for b in placed.twelve]
    return sum(seen) / len(seen)


def _leads_named_in(evidence: Evidence, lead_box: LeadBox) -> set[str]:
    area = lead_box.box.grown(3.0, 4.0)
    return {lead for lead, x, y in evidence.names if area.contains(x, y)}


def _names_factor(evidence: Evidence, placed: Layout, notes: list[str]) -> float:
    """Lead names printed as text must stand in their own leads' boxes."""
    if len({lead for lead, _, _ in evidence.names}) < 8:
        return 1.0
    wrong = []
    for lead_box in placed.boxes:
        inside = _leads_named_in(evidence, lead_box)
        if inside and lead_box.lead not in inside:
            wrong.append(f"{'/'.join(sorted(inside))} where {lead_box.lead} is due")
    if wrong:
        notes.append(f"printed lead names stand elsewhere: {'; '.join(wrong[:3])}")
        return 0.3
    notes.append("printed lead names stand in their boxes")
    return 1.0


def _placed(layout: Layout, rows: RowFit, dx_mm: float) -> Layout:
    """The layout with each row moved to where it was found."""
    moved = []
    for row, found in zip(layout.rows, rows.rows, strict=True):
        moved += [b.shifted(dx_mm, found.baseline_mm - b.baseline_mm) for b in row]
    order = {(b.lead, b.rhythm_strip, b.start_s): i for i, b in enumerate(layout.boxes)}
    moved.sort(key=lambda b: order[(b.lead, b.rhythm_strip, b.start_s)])
    pulse = layout.pulse_mm and (layout.pulse_mm[0] + dx_mm, layout.pulse_mm[1] + dx_mm)
    return replace(layout, boxes=tuple(moved), pulse_mm=pulse)

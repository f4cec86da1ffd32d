"""How leads can be arranged on a page that no layout describes yet, and vector pages' strokes.

On a vector page the ends of the strokes tell rows and columns; `ink_arrangement` reads the pages
of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from ecgvision.calibration.pulse import pulse_of
from ecgvision.evidence import Evidence
from ecgvision.strokes import joined, sorted_strokes, trace_strokes
from ecgvision.types import LEADS, Box, Page, Stroke

# A lead is at least this wide on paper.
LEAST_LEAD_MM = 20.0
# Rows lie at least this far apart; a row's leads differ by less in their level.
LEAST_PITCH_MM = 7.0
# Columns may be this unequal.
COLUMN_SLACK_MM = 1.0


class NotFoundError(Exception):
    """What could not be found, in a sentence."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A calibration pulse before the rows, in mm; the traces begin at `begins_mm`.

    `feet_mm` are its feet, row by row, where all of them are known exactly.
    """

    left_mm: float
    right_mm: float
    height_mm: float
    begins_mm: float
    feet_mm: tuple[float, ...] = ()


@dataclass(frozen=True)
class Arrangement:
    """What was measured of the leads, in mm.

    `baselines_mm` are those of the rows of the twelve leads, then those of the rhythm strips.
    """

    baselines_mm: tuple[float, ...]
    strips: int
    starts_mm: tuple[float, ...]
    column_mm: float
    strip_mm: float | None
    pulse: Pulse | None
    separators: bool = False
    columns_from: str = ""


def printed_names(page: Page) -> tuple[tuple[str, Box], ...]:
    """The lead names printed as text, and the boxes they fill."""
    spelt = {lead.lower(): lead for lead in LEADS}
    words = ((spelt.get(t.text.strip().lower()), t.box) for t in page.texts)
    return tuple((lead, box) for lead, box in words if lead)


def split(values: Iterable[float], gap: float) -> list[list[float]]:
    """Sorted values in groups with more than `gap` between them."""
    groups: list[list[float]] = []
    for value in sorted(values):
        if groups and value - groups[-1][-1] <= gap:
            groups[-1].append(value)
        else:
            groups.append([value])
    return groups


# --- strokes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """A stroke's extents in mm; `level_mm` is its median height on the page."""

    left_mm: float
    right_mm: float
    top_mm: float
    bottom_mm: float
    level_mm: float


def _span(stroke: Stroke) -> _Span:
    x, y = stroke.points_mm[:, 0], stroke.points_mm[:, 1]
    ends = (x.min(), x.max(), y.min(), y.max(), np.median(y))
    return _Span(*(float(end) for end in ends))


def stroke_arrangement(evidence: Evidence) -> Arrangement | None:
    """Rows and columns from where the strokes end; None where those do not tell."""
    rows = _stroke_rows(evidence.page)
    counts = [len(row) for row in rows]
    columns = max(counts, default=0)
    if columns == 0 or any(_overlap(row) for row in rows):
        return None
    strips = 0
    while columns > 1 and strips < len(rows) and counts[-1 - strips] == 1:
        strips += 1
    twelve = rows[: len(rows) - strips]
    if any(len(row) != columns for row in twelve):
        return None
    if columns == 1 and len(rows) != 12:
        return None  # one stroke runs through all leads of a row
    starts = tuple(median(row[k].left_mm for row in twelve) for k in range(columns))
    widths = [s.right_mm - s.left_mm for row in twelve for s in row]
    strip_mm = [row[0].right_mm - row[0].left_mm for row in rows[len(twelve) :]]
    pulse = _stroke_pulse(evidence.page, rows, starts[0])
    levels = [median(s.level_mm for s in row) for row in rows]
    return Arrangement(
        baselines_mm=on_feet(levels, pulse),
        strips=strips,
        starts_mm=starts,
        column_mm=median(widths),
        strip_mm=median(strip_mm) if strip_mm else None,
        pulse=pulse,
        separators=_bars_between(evidence, starts),
        columns_from="the ends of the strokes",
    )


def stroke_ends(page: Page) -> tuple[float, float, Pulse | None] | None:
    """(left end, right end, pulse) of a vector page's rows, however their strokes are cut."""
    rows = _stroke_rows(page)
    if not rows:
        return None
    left = median(row[0].left_mm for row in rows)
    right = median(max(span.right_mm for span in row) for row in rows)
    return left, right, _stroke_pulse(page, rows, left)


def _stroke_rows(page: Page) -> list[list[_Span]]:
    spans = [_span(s) for s in trace_strokes(page) if len(s.points_mm) > 5]
    return _grouped([s for s in spans if s.right_mm - s.left_mm >= LEAST_LEAD_MM])


def _grouped(spans: Sequence[_Span]) -> list[list[_Span]]:
    """Spans in rows, top to bottom, each from left to right."""
    rows: list[list[_Span]] = []
    for span in sorted(spans, key=lambda s: s.level_mm):
        if rows and span.level_mm - rows[-1][-1].level_mm < LEAST_PITCH_MM:
            rows[-1].append(span)
        else:
            rows.append([span])
    return [sorted(row, key=lambda s: s.left_mm) for row in rows]


def _overlap(row: Sequence[_Span]) -> bool:
    return any(b.left_mm < a.right_mm - COLUMN_SLACK_MM for a, b in pairwise(row))


def _stroke_pulse(page: Page, rows: Sequence[Sequence[_Span]], left_mm: float) -> Pulse | None:
    """The pulses drawn left of the leads, one on each row's baseline."""
    found = [
        pulse_of(stroke.points_mm)
        for stroke in joined(sorted_strokes(page).ink)
        if stroke.points_mm[:, 0].max() <= left_mm + COLUMN_SLACK_MM
    ]
    pulses = [pulse for pulse in found if pulse is not None]
    feet = []
    for row in rows:
        level = median(s.level_mm for s in row)
        near = [p.foot_mm for p in pulses if abs(p.foot_mm - level) < LEAST_PITCH_MM]
        feet += sorted(near, key=lambda y: abs(y - level))[:1]
    if not pulses or 2 * len(feet) < len(rows):
        return None
    return Pulse(
        median(p.left_mm for p in pulses),
        median(p.right_mm for p in pulses),
        median(p.height_mm for p in pulses),
        left_mm,
        tuple(feet) if len(feet) == len(rows) else (),
    )


def on_feet(levels: Sequence[float], pulse: Pulse | None) -> tuple[float, ...]:
    """The rows' baselines: a pulse stands on 0 mV exactly, a trace's median only about there."""
    if pulse and len(pulse.feet_mm) == len(levels):
        return pulse.feet_mm
    return tuple(levels)


def _bars_between(evidence: Evidence, starts_mm: Sequence[float]) -> bool:
    """Whether upright bars stand where columns begin."""
    inner = starts_mm[1:]
    near = 2 * COLUMN_SLACK_MM
    return bool(inner) and all(any(abs(b - x) < near for b in evidence.bars_mm) for x in inner)

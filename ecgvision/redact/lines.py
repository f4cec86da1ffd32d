"""What may stay of a vector page: grid, traces, pulses and separators; words are set anew.

Everything is chosen by what it is. What is not known to be one of these is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.calibration.pulse import pulse_of
from ecgvision.calibration.text import printed_scale
from ecgvision.media.redaction import LineSheet, Word
from ecgvision.strokes import LEAST_BAR_MM, sorted_strokes, trace_strokes
from ecgvision.types import RGB, Box, Layout, LeadBox, Page, Stroke

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Points

    Floats = NDArray[np.float64]

NAME_MM = 2.6
_SCALE_MM = 2.3
_STRAIGHT_MM = 0.02
# No letter is as long as a grid line, and no letter has its dots where so many others stand.
_LEAST_GRID_LINE_MM = 20.0
_DOT_MM, _LEAST_DOTS, _LEAST_SPREAD_MM = 1.2, 20, 30.0
# A stroke of no more points is a bar, a frame or an underline, or the line of a lead that is off.
_PLAIN_POINTS = 5
_LEAST_TRACE_MM = 4.0
_BESIDE_MM, _FOOT_MM, _BAR_MM = 16.0, 6.0, 2.5


def line_sheet(level: Page, layout: Layout) -> LineSheet:
    """The redacted page of an upright vector page; `layout` is as measured and calibrated on it."""
    ink = tuple(_ink(level, layout))
    area = leads_area(level, layout, ink)
    return LineSheet(
        size_mm=level.known_mm,
        lines=(*_grid_lines(level, area), *ink),
        dots=tuple(_grid_dots(level, area)),
        words=(*_lead_names(level, layout), *_scale_words(level, area)),
    )


def leads_area(level: Page, layout: Layout, ink: Sequence[Stroke]) -> Box:
    """The box around all leads, what is kept of their ink, and a little more, within the page."""
    boxes = [lead_box.box for lead_box in layout.boxes]
    corners = [np.array([(b.left_mm, b.top_mm), (b.right_mm, b.bottom_mm)]) for b in boxes]
    every = np.concatenate([*corners, *(stroke.points_mm for stroke in ink)])
    (left, top), (right, bottom) = every.min(axis=0) - 2.0, every.max(axis=0) + 2.0
    width_mm, height_mm = level.known_mm
    return Box(
        max(0.0, float(left)),
        max(0.0, float(top)),
        min(width_mm, float(right)),
        min(height_mm, float(bottom)),
    )


# --- traces -----------------------------------------------------------------------------------


def _ink(level: Page, layout: Layout) -> Iterator[Stroke]:
    """Traces, pulses and separators, in the order in which they were drawn."""
    traces = {id(stroke) for stroke in trace_strokes(level)}
    for stroke in sorted_strokes(level).ink:
        if (
            (id(stroke) in traces and _is_of_a_row(stroke, layout))
            or _is_pulse(stroke, layout)
            or _is_separator(stroke, layout)
        ):
            yield stroke


def _is_of_a_row(stroke: Stroke, layout: Layout) -> bool:
    """Whether it runs through a lead's window, and about as high as its row."""
    points = stroke.points_mm
    left, right = float(points[:, 0].min()), float(points[:, 0].max())
    level = float(np.median(points[:, 1]))
    levels = [row[0].baseline_mm for row in layout.rows]
    pitch = min((b - a for a, b in pairwise(levels)), default=layout.boxes[0].box.height_mm)
    reach = (0.5 if len(points) <= _PLAIN_POINTS else 1.5) * pitch
    return any(
        abs(level - b.baseline_mm) <= reach
        and min(right, b.box.right_mm) - max(left, b.box.left_mm)
        >= min(_LEAST_TRACE_MM, 0.9 * (right - left))
        for b in layout.boxes
    )


def _is_pulse(stroke: Stroke, layout: Layout) -> bool:
    """Whether it is a calibration pulse that stands beside a row."""
    pulse = pulse_of(stroke.points_mm)
    if pulse is None:
        return False
    return any(
        abs(pulse.foot_mm - row[0].baseline_mm) <= _FOOT_MM
        and row[0].box.left_mm - _BESIDE_MM <= pulse.left_mm
        and pulse.right_mm <= row[-1].box.right_mm + _BESIDE_MM
        for row in layout.rows
    )


def _is_separator(stroke: Stroke, layout: Layout) -> bool:
    """Whether it is an upright bar where a column of a layout with separators begins or ends."""
    across, down = np.ptp(stroke.points_mm, axis=0)
    if not layout.separators or across > _STRAIGHT_MM or down < LEAST_BAR_MM:
        return False
    x = float(stroke.points_mm[0, 0])
    edges = {b.box.left_mm for b in layout.boxes} | {b.box.right_mm for b in layout.boxes}
    return any(abs(x - edge) <= _BAR_MM for edge in edges)


# --- grid -------------------------------------------------------------------------------------


def _grid_lines(level: Page, area: Box) -> Iterator[Stroke]:
    """The long straight lines of the grid, each by its two ends, cut to the leads' area."""
    for stroke in sorted_strokes(level).grid:
        for ends in _straights(stroke.points_mm):
            cut = _cut(ends, area)
            if cut is not None:
                yield replace(stroke, points_mm=cut)


def _straights(points: Points) -> list[Points]:
    """The long straight lines that a stroke is: one, or the sides of a frame."""
    whole = _straight(points)
    if whole is not None:
        return [whole]
    if len(points) > _PLAIN_POINTS:
        return []
    sides = [_straight(np.array(pair)) for pair in pairwise(points)]
    return [side for side in sides if side is not None]


def _straight(points: Points) -> Points | None:
    """The ends of a long line along an edge of the page; None for anything else."""
    low, high = points.min(axis=0), points.max(axis=0)
    long = high - low
    if min(long) > _STRAIGHT_MM or max(long) < _LEAST_GRID_LINE_MM:
        return None
    middle = (low + high) / 2
    along = int(long[1] > long[0])
    ends = np.array([middle, middle])
    ends[0, along], ends[1, along] = low[along], high[along]
    return ends


def _cut(ends: Points, area: Box) -> Points | None:
    low, high = np.array([area.left_mm, area.top_mm]), np.array([area.right_mm, area.bottom_mm])
    along = int(abs(ends[1, 1] - ends[0, 1]) > abs(ends[1, 0] - ends[0, 0]))
    across = 1 - along
    if not low[across] <= ends[0, across] <= high[across]:
        return None
    cut = ends.copy()
    cut[:, along] = np.clip(cut[:, along], low[along], high[along])
    return cut if cut[1, along] - cut[0, along] > 1.0 else None


def _grid_dots(level: Page, area: Box) -> Iterator[tuple[Box, RGB]]:
    """The dots of a dotted grid: specks in columns and rows that many specks share."""
    specks = [
        (box, stroke.rgb)
        for stroke in (*sorted_strokes(level).grid, *(s for s in level.strokes if s.filled))
        if (box := _speck(stroke)) is not None and area.contains(*box.centre_mm)
    ]
    if not specks:
        return
    centres = np.array([box.centre_mm for box, _ in specks])
    shared = _in_line(centres[:, 0], centres[:, 1]) & _in_line(centres[:, 1], centres[:, 0])
    for (box, rgb), wanted in zip(specks, shared, strict=True):
        if wanted:
            yield box, rgb


def _speck(stroke: Stroke) -> Box | None:
    (left, top), (right, bottom) = stroke.points_mm.min(axis=0), stroke.points_mm.max(axis=0)
    half = stroke.width_mm / 2
    width, height = right - left + 2 * half, bottom - top + 2 * half
    if not (0 < width <= _DOT_MM and 0 < height <= _DOT_MM):
        return None
    return Box(float(left - half), float(top - half), float(right + half), float(bottom + half))


def _in_line(places_mm: Floats, along_mm: Floats) -> NDArray[np.bool_]:
    """Which specks share their place with many others that are spread far along the line."""
    _, group = np.unique(np.round(places_mm / 0.05).astype(np.int64), return_inverse=True)
    counts = np.bincount(group)
    low = np.full(len(counts), np.inf)
    high = np.full(len(counts), -np.inf)
    np.minimum.at(low, group, along_mm)
    np.maximum.at(high, group, along_mm)
    good: NDArray[np.bool_] = (counts >= _LEAST_DOTS) & (high - low >= _LEAST_SPREAD_MM)
    return good[group]


# --- words ------------------------------------------------------------------------------------


def _lead_names(level: Page, layout: Layout) -> Iterator[Word]:
    """Each lead's name, set where the page prints it, or where the layout has it."""
    for lead_box in layout.boxes:
        x_mm, y_mm = _name_place(level, lead_box)
        yield Word(lead_box.lead, x_mm, y_mm, NAME_MM)


def _name_place(level: Page, lead_box: LeadBox) -> tuple[float, float]:
    area = lead_box.box.grown(3.0, 4.0)
    found = [
        text.box
        for text in level.texts
        if text.text.strip().lower() == lead_box.lead.lower() and area.contains(*text.box.centre_mm)
    ]
    due = lead_box.name_mm or (lead_box.box.left_mm + 1.0, lead_box.box.top_mm + 1.0)
    if not found:
        return due
    near = min(found, key=lambda b: abs(b.left_mm - due[0]) + abs(b.top_mm - due[1]))
    return near.left_mm, near.centre_mm[1] - NAME_MM / 2


def _scale_words(level: Page, area: Box) -> Iterator[Word]:
    """Speed and gain where the page prints them: its numbers, in words of our own."""
    printed = printed_scale(level.texts)
    told = []
    if len(printed.speeds_mm_per_s) == 1:
        told.append(f"{printed.speeds_mm_per_s[0]:.3g} mm/s")
    if len(printed.gains_mm_per_mv) == 1:
        told.append(f"{printed.gains_mm_per_mv[0]:.3g} mm/mV")
    if len(printed.chest_gains_mm_per_mv) == 1:
        told.append(f"Chest: {printed.chest_gains_mm_per_mv[0]:.3g} mm/mV")
    lowest = level.known_mm[1] - 1.5 * _SCALE_MM
    if told:
        yield Word("  ".join(told), area.left_mm, min(area.bottom_mm + 1.5, lowest), _SCALE_MM)

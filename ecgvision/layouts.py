"""Builds layouts whose leads stand on a regular grid of rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from ecgvision.errors import LayoutError
from ecgvision.types import WIDTH_SLACK_MM, Box, Layout, LeadBox


def regular_layout(
    name: str,
    *,
    page_mm: tuple[float, float],
    rows: Sequence[Sequence[str]],
    left_mm: float,
    baselines_mm: Sequence[float],
    column_s: float,
    rhythm: Sequence[str] = (),
    rhythm_baselines_mm: Sequence[float] = (),
    column_pitch_mm: float | None = None,
    column_mm: float | None = None,
    row_height_mm: float | None = None,
    name_offset_mm: tuple[float, float] | None = None,
    speed_mm_per_s: float = 25.0,
    gain_mm_per_mv: float = 10.0,
    **more: Any,
) -> Layout:
    """A layout on a regular grid of leads: `rows` of names, then the rhythm strips below.

    Columns start every `column_pitch_mm` from `left_mm` and are `column_mm` wide; both are
    `column_s` seconds of paper unless given. A rhythm strip runs over all the columns' time.
    `name_offset_mm` is where a lead's name starts, from its box's left edge and its baseline.
    Further arguments go to `Layout`. Raises `LayoutError` where the numbers contradict each other.

    >>> from ecgvision import LEADS
    >>> layout = regular_layout(
    ...     "12x1", page_mm=(210, 297), rows=[[lead] for lead in LEADS], left_mm=10,
    ...     baselines_mm=[20 + 20 * row for row in range(12)], column_s=7.5)
    >>> layout.boxes[0].box
    Box(left_mm=10.0, top_mm=10.0, right_mm=197.5, bottom_mm=30.0)
    """
    where = f"layout {name!r}"
    if len(baselines_mm) != len(rows):
        raise LayoutError(f"{where}: {len(rows)} rows of leads but {len(baselines_mm)} baselines")
    if len(rhythm_baselines_mm) != len(rhythm):
        raise LayoutError(
            f"{where}: {len(rhythm)} rhythm strips but {len(rhythm_baselines_mm)} baselines"
        )
    if not column_s > 0 or not speed_mm_per_s > 0:
        raise LayoutError(f"{where}: the seconds per column and the paper speed must be positive")
    width_mm = column_mm if column_mm is not None else column_s * speed_mm_per_s
    pitch_mm = column_pitch_mm if column_pitch_mm is not None else width_mm
    if pitch_mm < width_mm - WIDTH_SLACK_MM:
        raise LayoutError(
            f"{where}: columns {width_mm:g} mm wide start every {pitch_mm:g} mm, so they overlap"
        )
    half_mm = (row_height_mm or _row_pitch([*baselines_mm, *rhythm_baselines_mm])) / 2

    def lead_box(
        lead: str,
        left: float,
        baseline: float,
        start: float,
        stop: float,
        width: float,
        strip: bool,
    ) -> LeadBox:
        at = name_offset_mm and (left + name_offset_mm[0], baseline + name_offset_mm[1])
        box = Box(left, baseline - half_mm, left + width, baseline + half_mm)
        return LeadBox(lead, box, start, stop, strip, at)

    boxes = [
        lead_box(
            lead,
            left_mm + column * pitch_mm,
            baseline,
            column * column_s,
            (column + 1) * column_s,
            width_mm,
            False,
        )
        for row, baseline in zip(rows, baselines_mm, strict=True)
        for column, lead in enumerate(row)
    ]
    columns = max(len(row) for row in rows)
    strip_mm = columns * column_s * speed_mm_per_s
    boxes += [
        lead_box(lead, left_mm, baseline, 0.0, columns * column_s, strip_mm, True)
        for lead, baseline in zip(rhythm, rhythm_baselines_mm, strict=True)
    ]
    return Layout(name, page_mm, tuple(boxes), speed_mm_per_s, gain_mm_per_mv, **more)


def _row_pitch(baselines_mm: Iterable[float]) -> float:
    """The smallest distance between two rows; 30 mm where there is only one."""
    ordered = sorted(baselines_mm)
    return min((b - a for a, b in pairwise(ordered)), default=30.0)

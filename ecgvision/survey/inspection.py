"""What is on a page whose machine nobody has described yet: what one needs to write a layout.

`inspect_report` gives all of it as text or as plain data. That shows the page's printed words,
and with them perhaps a patient's: it is for the eyes of whoever has the page, and nothing here
writes it to a file. Leave the words out with `texts=False`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgvision.evidence import Evidence, gather
from ecgvision.grid_seen import find_grid
from ecgvision.media import Renderer, open_report
from ecgvision.strokes import grid_pitch_mm, sorted_strokes, trace_strokes
from ecgvision.survey.arrangement import Pulse, printed_names
from ecgvision.survey.ink_arrangement import ink_pulse, trace_rows
from ecgvision.types import RGB, Page, Stroke


@dataclass(frozen=True, slots=True)
class StrokeGroup:
    """All strokes of one colour and width; `looks_like` is "grid", "trace", "filled" or ""."""

    rgb: RGB
    width_mm: float
    count: int
    length_mm: float
    typical_mm: tuple[float, float]
    looks_like: str


@dataclass(frozen=True, slots=True)
class RowFacts:
    """A row of ink, in mm; `trace` tells whether it looks like leads and not like print."""

    baseline_mm: float
    left_mm: float
    right_mm: float
    trace: bool


@dataclass(frozen=True)
class PageFacts:
    """One page in numbers: places in mm from its top left corner, words with theirs.

    `texts` and `names` are (word, left, top). `grid` is the distance of its finest lines across
    and down, in `grid_unit`. `scale_from` is None where the size in mm is only guessed.
    """

    source: str
    number: int
    origin: str
    size_mm: tuple[float, float]
    scale_from: str | None
    size_px: tuple[int, int] | None
    px_per_mm: float
    rotation_deg: float
    texts: tuple[tuple[str, float, float], ...]
    strokes: tuple[StrokeGroup, ...]
    grid: tuple[float, float] | None
    grid_unit: str
    rows: tuple[RowFacts, ...]
    pulse: Pulse | None
    bars_mm: tuple[float, ...]
    names: tuple[tuple[str, float, float], ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        sections = (
            self._heading(),
            _section("texts, x and y in mm", [_text_line(*text) for text in self.texts]),
            _section("strokes", [_stroke_line(group) for group in self.strokes]),
            _section("rows of ink, mm", [_row_line(row) for row in self.rows]),
            _section("lead names", [f"{n} at {x:.1f}, {y:.1f} mm" for n, x, y in self.names]),
        )
        return "\n".join(line for section in sections for line in section)

    def _heading(self) -> list[str]:
        width, height = self.size_mm
        guessed = "" if self.scale_from else " (guessed: no resolution, no grid)"
        lines = [
            f"{self.source} page {self.number}: {self.origin}",
            f"  size: {width:.1f} x {height:.1f} mm{guessed}",
        ]
        if self.size_px is not None:
            what = "embedded image" if self.origin == "scan" else "image"
            pixels = f"{self.size_px[0]} x {self.size_px[1]} px"
            lines.append(f"  {what}: {pixels}, {self.px_per_mm:.3f} px/mm")
        if self.rotation_deg:
            lines.append(f"  skew: {self.rotation_deg:.2f} degrees clockwise, undone below")
        grid = "none found"
        if self.grid is not None:
            grid = f"{self.grid[0]:.3f} across, {self.grid[1]:.3f} down, {self.grid_unit}"
        lines.append(f"  grid: {grid}")
        if self.pulse is not None:
            p = self.pulse
            where = f"x {p.left_mm:.1f} to {p.right_mm:.1f} mm, {p.height_mm:.1f} mm high"
            lines.append(f"  calibration pulse: {where}")
        bars = ", ".join(f"{x:.1f}" for x in self.bars_mm)
        lines.append(f"  upright bars at x: {bars + ' mm' if bars else 'none found'}")
        return lines


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"  {title}: {len(lines)}", *(f"    {line}" for line in lines)] if lines else []


def _text_line(text: str, x: float, y: float) -> str:
    # A page's words may hold anything, also what would steer the terminal they are shown in.
    return f"{x:7.1f} {y:7.1f}  {''.join(c if c.isprintable() else '?' for c in text)}"


def _stroke_line(group: StrokeGroup) -> str:
    looks = f", looks like {group.looks_like}" if group.looks_like else ""
    width, height = group.typical_mm
    return (
        f"rgb {group.rgb}, {group.width_mm:.2f} mm wide: {group.count}, {group.length_mm:.0f} mm "
        f"in all, typically {width:.1f} x {height:.1f} mm{looks}"
    )


def _row_line(row: RowFacts) -> str:
    what = "trace" if row.trace else "print or rule"
    return f"y {row.baseline_mm:.1f}, x {row.left_mm:.1f} to {row.right_mm:.1f}: {what}"


def inspect_report(
    path: str | Path, *, texts: bool = True, renderer: Renderer = "pymupdf"
) -> tuple[PageFacts, ...]:
    """The facts of every page of a report. Raises `PageError` where it cannot be read."""
    with open_report(path, renderer=renderer) as report:
        return tuple(inspect_page(page, texts=texts) for page in report.pages())


def inspect_page(page: Page, *, texts: bool = True) -> PageFacts:
    """The facts of one page as it lies; `texts` False leaves its printed words out."""
    evidence = gather(page, 0)
    level = evidence.page
    traces = trace_rows(evidence)
    grid, unit = _grid(evidence)
    words = [(t.text, t.box.left_mm, t.box.top_mm) for t in level.texts] if texts else []
    return PageFacts(
        source=page.source.name,
        number=page.number,
        origin=page.origin,
        size_mm=level.size_mm or (0.0, 0.0),
        scale_from=evidence.scale_from,
        size_px=page.size_px,
        px_per_mm=level.px_per_mm,
        rotation_deg=evidence.rotation_deg,
        texts=tuple(words),
        strokes=stroke_groups(level),
        grid=grid,
        grid_unit=unit,
        rows=tuple(
            RowFacts(row.baseline_mm, row.left_mm, row.right_mm, row in traces)
            for row in evidence.rows
        ),
        pulse=ink_pulse(evidence, traces),
        bars_mm=evidence.bars_mm,
        names=tuple((lead, box.left_mm, box.top_mm) for lead, box in printed_names(level)),
    )


def _grid(evidence: Evidence) -> tuple[tuple[float, float] | None, str]:
    """The grid's pitch (across, down) and its unit: mm of a vector page, pixels of an image."""
    page = evidence.page
    if page.origin != "vector":
        known = page.px_per_mm if evidence.scale_from else None
        seen = find_grid(page.pixels(), known)
        return ((seen.across_px, seen.down_px) if seen else None), "px per small box"
    lines = sorted_strokes(page).grid
    across = grid_pitch_mm(lines)
    down = grid_pitch_mm([replace(s, points_mm=s.points_mm[:, ::-1]) for s in lines])
    return ((across, down) if across and down else None), "mm"


def stroke_groups(page: Page) -> tuple[StrokeGroup, ...]:
    """The page's strokes by colour and width, the most frequent first."""
    groups: dict[tuple[RGB, float, bool], list[Stroke]] = defaultdict(list)
    for stroke in page.strokes:
        if len(stroke.points_mm):
            groups[stroke.rgb, round(stroke.width_mm, 2), stroke.filled].append(stroke)
    grid = {id(stroke) for stroke in sorted_strokes(page).grid}
    # Straight lines run on like traces do, but have no more than their ends.
    traces = {(s.rgb, round(s.width_mm, 2)) for s in trace_strokes(page) if len(s.points_mm) > 5}
    found = []
    for (rgb, width, filled), strokes in groups.items():
        looks = "trace" if (rgb, width) in traces else ""
        if filled:
            looks = "filled"
        elif 2 * sum(id(s) in grid for s in strokes) > len(strokes):
            looks = "grid"
        sizes = np.array([np.ptp(s.points_mm, axis=0) for s in strokes])
        length = sum(float(np.hypot(*np.diff(s.points_mm, axis=0).T).sum()) for s in strokes)
        typical = (float(np.median(sizes[:, 0])), float(np.median(sizes[:, 1])))
        found.append(StrokeGroup(rgb, width, len(strokes), length, typical, looks))
    return tuple(sorted(found, key=lambda group: -group.count))

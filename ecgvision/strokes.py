"""Tells a vector page's traces from its grid, by geometry and not by colour alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.types import RGB, Page, Stroke

if TYPE_CHECKING:
    from ecgvision.types import Points

# A grid is a family of straight lines or dots in one colour and width. Separators, frames and
# underlines come in smaller families.
_FAMILY_LINES = 12
_FAMILY_DOTS = 400
_DOT_MM = 1.2
_STRAIGHT_MM = 0.02
_LINE_MM = 8.0
LEAST_BAR_MM = 60.0
"""Separators are at least this long: longer than any complex."""

# Pieces of one trace end and start at the same point, to the precision PDFs are written with.
_JOIN_MM = 0.15
_SAME_MM = 0.002


@dataclass(frozen=True, slots=True)
class SortedStrokes:
    """A vector page's strokes: `ink` may be trace, pulse or separator; `grid` is grid."""

    ink: tuple[Stroke, ...]
    grid: tuple[Stroke, ...]


def sorted_strokes(page: Page) -> SortedStrokes:
    """The page's strokes, sorted once and remembered with the page."""
    if "strokes" not in page.memo:
        page.memo["strokes"] = sort_strokes(page.strokes)
    found: SortedStrokes = page.memo["strokes"]
    return found


def sort_strokes(strokes: Sequence[Stroke]) -> SortedStrokes:
    """Separate grid strokes from all others; fills are neither, they are print or paper.

    Pieces of one line are joined first: a trace may come as one path per sample.
    """
    lines = joined(s for s in strokes if not s.filled and len(s.points_mm) > 1)
    kinds = [_kind(stroke) for stroke in lines]
    grid_families = _grid_families(lines, kinds)
    has_grid = bool(grid_families) or _is_dotted_by_fills(strokes)
    # Lines that frame or stress a grid come in smaller families: where there is a grid, a straight
    # line or a frame that is not dark belongs to it, unless traces are drawn in its colour.
    curved_rgb = {s.rgb for s, kind in zip(lines, kinds, strict=True) if not _plain(s, kind)}
    ink: list[Stroke] = []
    grid: list[Stroke] = []
    for kind, stroke in zip(kinds, lines, strict=True):
        in_family = (kind, stroke.rgb, round(stroke.width_mm, 2)) in grid_families
        frames = has_grid and _plain(stroke, kind) and not _dark(stroke.rgb)
        is_grid = in_family or (frames and stroke.rgb not in curved_rgb)
        (grid if is_grid else ink).append(stroke)
    return SortedStrokes(tuple(ink), tuple(grid))


_Family = tuple[str, RGB, float]


def _grid_families(lines: Sequence[Stroke], kinds: Sequence[str]) -> set[_Family]:
    """The families of lines both across and down, and of dots, that are large enough for a grid."""
    families = Counter(
        (kind, stroke.rgb, round(stroke.width_mm, 2))
        for kind, stroke in zip(kinds, lines, strict=True)
        if kind
    )
    found: set[_Family] = set()
    for (kind, rgb, width), count in families.items():
        if kind == "dot":
            large = count >= _FAMILY_DOTS
        else:  # leads that are off are straight too, but only across
            crossing = families["down" if kind == "across" else "across", rgb, width]
            large = max(count, crossing) >= _FAMILY_LINES and min(count, crossing) >= 4
        if large:
            found.add((kind, rgb, width))
    return found


def _is_dotted_by_fills(strokes: Sequence[Stroke]) -> bool:
    """Whether specks filled with one colour are enough for the dots of a grid."""
    specks = Counter(s.rgb for s in strokes if s.filled and _kind(s) == "dot")
    return any(count >= _FAMILY_DOTS for count in specks.values())


def _plain(stroke: Stroke, kind: str) -> bool:
    """A straight line, a dot, or a shape of few corners such as a frame."""
    return bool(kind) or len(stroke.points_mm) <= 5


def _dark(rgb: tuple[int, int, int]) -> bool:
    return max(rgb) < 128


def _kind(stroke: Stroke) -> str:
    """Tell a straight line ("across", "down") and a speck ("dot") from anything else ("")."""
    points = stroke.points_mm
    if len(points) > 5:
        return ""
    width, height = np.ptp(points, axis=0)
    if width <= _STRAIGHT_MM and height >= _LINE_MM:
        return "down"
    if height <= _STRAIGHT_MM and width >= _LINE_MM:
        return "across"
    if max(width, height) <= _DOT_MM:
        return "dot"
    return ""


def grid_pitch_mm(grid: Iterable[Stroke]) -> float | None:
    """The distance between the finest upright grid lines, or None without a regular grid."""
    xs = np.array([s.points_mm[0, 0] for s in grid if _kind(s) == "down"])
    gaps = np.diff(np.unique(np.round(xs, 2)))
    gaps = gaps[gaps > 0.3]
    return float(np.median(gaps)) if len(gaps) >= _FAMILY_LINES - 1 else None


def upright_bars(page: Page) -> tuple[float, ...]:
    """Where straight upright strokes at least 60 mm long stand that are not grid, x in mm."""
    bars = {
        round(float(stroke.points_mm[0, 0]), 1)
        for stroke in sorted_strokes(page).ink
        if _kind(stroke) == "down" and float(np.ptp(stroke.points_mm[:, 1])) >= LEAST_BAR_MM
    }
    return tuple(sorted(bars))


def joined(strokes: Iterable[Stroke]) -> tuple[Stroke, ...]:
    """Strokes whose ends meet, in drawing order, made into one: some machines cut a lead.

    >>> a = Stroke(np.array([[0.0, 1.0], [1.0, 2.0]]), 0.3, (0, 0, 0))
    >>> b = Stroke(np.array([[1.0, 2.0], [2.0, 1.0]]), 0.3, (0, 0, 0))
    >>> len(joined([a, b])[0].points_mm)
    3
    """
    runs: list[list[Stroke]] = []
    for stroke in strokes:
        if runs and _follows(runs[-1][-1], stroke):
            runs[-1].append(stroke)
        else:
            runs.append([stroke])
    return tuple(_merged(run) for run in runs)


def _follows(before: Stroke, after: Stroke) -> bool:
    if before.rgb != after.rgb or abs(before.width_mm - after.width_mm) > 0.01:
        return False
    step: Points = after.points_mm[0] - before.points_mm[-1]
    return bool(abs(step[0]) < _JOIN_MM and abs(step[1]) < _JOIN_MM)


def _merged(run: Sequence[Stroke]) -> Stroke:
    if len(run) == 1:
        return run[0]
    points = [run[0].points_mm]
    for before, stroke in pairwise(run):
        # Pieces share the point at which they meet. Where they do not, it is two samples.
        off: Points = np.abs(stroke.points_mm[0] - before.points_mm[-1])
        points.append(stroke.points_mm[int(off.max() < _SAME_MM) :])
    return Stroke(np.concatenate(points), run[0].width_mm, run[0].rgb)


def trace_strokes(page: Page) -> tuple[Stroke, ...]:
    """The strokes that can be traces: they run on for at least 4 mm and never turn far back."""
    if "trace strokes" not in page.memo:
        page.memo["trace strokes"] = tuple(s for s in sorted_strokes(page).ink if _runs_on(s))
    found: tuple[Stroke, ...] = page.memo["trace strokes"]
    return found


def _runs_on(stroke: Stroke) -> bool:
    x = stroke.points_mm[:, 0]
    across = float(np.ptp(x))
    backwards = float(-np.minimum(np.diff(x), 0).sum())
    if x[-1] < x[0]:  # drawn from right to left
        backwards = float(np.maximum(np.diff(x), 0).sum())
    return across >= 4.0 and backwards <= 0.02 * across

"""Lines and words of a PDF page, in mm of the page as shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgvision.types import RGB, Box, Stroke, Text

if TYPE_CHECKING:
    from ecgvision.types import Points

MM_PER_PT = 25.4 / 72

# Ends of neighbouring segments closer than this (in pt) are joined: the noise of 32-bit floats.
_JOINED_PT = 1e-3
# Points further away than this, 350 m, come of damaged numbers, and are too far for pictures.
_FARTHEST_PT = 1e6
_WIDEST_PT = 1e3
# What PyMuPDF's path items hold: "l" for a straight line, then its ends.
_KIND, _START, _END = itemgetter(0), itemgetter(1), itemgetter(2)
# Words of one line further apart than this many times their height stand in different columns.
_WORD_GAP = 0.6


class Frame:
    """From a PDF library's unrotated points to mm as shown: `xy @ turn + shift`.

    `rotation` is the page's /Rotate, `shown_pt` its (width, height) as shown, `stretch` brings
    the mm to the page's pixels where those are not exactly square.
    """

    def __init__(
        self, rotation: int, shown_pt: tuple[float, float], stretch: tuple[float, float] = (1, 1)
    ) -> None:
        width, height = shown_pt
        quarter = rotation // 90 % 4
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter]
        move = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))[quarter]
        scale = np.array(stretch, np.float64) * MM_PER_PT
        self.turn = np.array([[cos, sin], [-sin, cos]], np.float64) * scale
        self.shift = np.array(move, np.float64) * scale
        self.scale = float(np.sqrt(scale[0] * scale[1]))

    def points(self, points_pt: Points) -> Points:
        return points_pt @ self.turn + self.shift

    def box(self, corners_pt: Sequence[float]) -> tuple[float, float, float, float]:
        """The upright box of a box: (left, top, right, bottom) in mm."""
        ends = self.points(np.array(corners_pt, np.float64).reshape(2, 2))
        (left, top), (right, bottom) = ends.min(axis=0), ends.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


def strokes_of(drawings: Sequence[dict[str, Any]], frame: Frame) -> tuple[Stroke, ...]:
    """Strokes and filled areas from PyMuPDF's drawings, in drawing order."""
    with np.errstate(invalid="ignore", over="ignore"):  # such numbers are left out
        painted = list(_painted(drawings))
    if not painted:
        return ()
    # All points at once: a grid has hundreds of short lines.
    points_mm = frame.points(np.concatenate([points_pt for points_pt, *_ in painted]))
    stops = np.cumsum([len(points_pt) for points_pt, *_ in painted]).tolist()
    return tuple(
        Stroke(points_mm[start:stop], width_pt * frame.scale, rgb, filled)
        for (start, stop), (_, width_pt, rgb, filled) in zip(
            pairwise([0, *stops]), painted, strict=True
        )
    )


def _painted(drawings: Sequence[dict[str, Any]]) -> Iterator[tuple[Points, float, RGB, bool]]:
    """Points and width in pt, colour, and whether it is a filled area."""
    for drawing in drawings:
        kind = drawing["type"]
        fill = _seen(drawing.get("fill"), drawing.get("fill_opacity")) if "f" in kind else None
        line = _seen(drawing.get("color"), drawing.get("stroke_opacity")) if "s" in kind else None
        if fill is None and line is None:
            continue
        width_pt = min(max(0.0, float(drawing.get("width") or 0.0)), _WIDEST_PT)  # 0 for NaN
        for points_pt in _polylines(drawing["items"], bool(drawing.get("closePath"))):
            if fill is not None and not np.isnan(points_pt).any():
                yield np.clip(points_pt, -_FARTHEST_PT, _FARTHEST_PT), 0.0, fill, True
            if line is not None:
                for part_pt in _near(points_pt):
                    yield part_pt, width_pt, line, False


def _near(points_pt: Points) -> Iterator[Points]:
    """The parts of a line whose points are numbers and near enough; what lies between is lost."""
    near = (np.abs(points_pt) < _FARTHEST_PT).all(axis=1)  # also False for NaN
    if near.all():
        yield points_pt
        return
    for part_pt in np.split(points_pt, np.flatnonzero(~near)):
        kept = part_pt[1:] if len(part_pt) and not _is_near(part_pt[0]) else part_pt
        if len(kept) > 1:
            yield kept


def _is_near(point_pt: Points) -> bool:
    return bool((np.abs(point_pt) < _FARTHEST_PT).all())


def _seen(color: Sequence[float] | None, opacity: float | None) -> RGB | None:
    """The colour as seen on white paper; None for what is not painted."""
    alpha = 1.0 if opacity is None else min(max(float(opacity), 0.0), 1.0)
    if color is None or alpha == 0.0:
        return None
    parts = list(color) if len(color) == 3 else [color[0]] * 3 if len(color) == 1 else [0.0] * 3
    red, green, blue = (round(255 * (1 - alpha * (1 - min(max(p, 0.0), 1.0)))) for p in parts)
    return red, green, blue


def _polylines(items: Sequence[Any], closed: bool) -> Iterator[Points]:
    """A path's runs of connected points, (n, 2) in pt."""
    if len(items) == 1 and items[0][0] == "l":  # one line, of which grids have hundreds
        yield np.array(items[0][1:3], np.float64)
        return
    straight = set(map(_KIND, items)) == {"l"}
    for segments in (_segments(items),) if straight else _mixed(items):
        yield from _runs(segments, closed)


def _segments(items: Sequence[Any]) -> Points:
    """Straight lines as (n, 4): x and y of the start, x and y of the end."""
    ends = chain.from_iterable(zip(map(_START, items), map(_END, items), strict=True))
    flat = chain.from_iterable(ends)
    return np.fromiter(flat, np.float64, 4 * len(items)).reshape(-1, 4)


def _mixed(items: Sequence[Any]) -> Iterator[Points]:
    """Runs of lines and curves as segments; rectangles and quads each on their own, closed."""
    run: list[Points] = []
    for item in items:
        if item[0] == "l":
            run.append(_segments([item]))
        elif item[0] == "c":
            run.append(_flattened(np.array(item[1:5], np.float64)))
        else:
            if run:
                yield np.concatenate(run)
                run = []
            corners = _corners(item)
            if corners is not None:
                yield np.hstack([corners[:-1], corners[1:]])
    if run:
        yield np.concatenate(run)


def _corners(item: Any) -> Points | None:
    if item[0] == "re":
        x0, y0, x1, y1 = item[1]
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], np.float64)
    if item[0] == "qu":
        upper_left, upper_right, lower_left, lower_right = np.array(item[1], np.float64)
        return np.array([upper_left, upper_right, lower_right, lower_left, upper_left])
    return None


def _flattened(control: Points) -> Points:
    """A cubic curve as segments, finer for longer ones."""
    length = float(np.abs(np.diff(control, axis=0)).sum())
    steps = int(np.clip(4 + 2 * np.sqrt(length), 4, 64)) if np.isfinite(length) else 4
    t = np.linspace(0.0, 1.0, steps + 1)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    points = weights @ control
    return np.hstack([points[:-1], points[1:]])


def _runs(segments: Points, closed: bool) -> Iterator[Points]:
    """Split where one segment does not start at the end of the one before."""
    jumps = np.abs(segments[1:, :2] - segments[:-1, 2:]).max(axis=1) > _JOINED_PT
    breaks = [0, *(np.flatnonzero(jumps) + 1).tolist(), len(segments)]
    for start, stop in pairwise(breaks):
        points = np.vstack([segments[start, :2], segments[start:stop, 2:]])
        # The closing flag of a path means its last run; earlier ones end where they began.
        if closed and stop == len(segments) and len(points) > 2:
            points = np.vstack([points, points[:1]])
        yield points


def texts_of(words: Sequence[Any], frame: Frame) -> tuple[Text, ...]:
    """Words of one line that stand together become one text, in reading order of the file.

    `words` are PyMuPDF's: x0, y0, x1, y1, word, block, line, number.
    """
    groups: list[tuple[list[str], list[float]]] = []
    last: tuple[int, int] | None = None
    for word in words:
        text = str(word[4]).strip().strip("\x00\ufffd")
        corners = frame.box(word[:4])
        if not text or not all(abs(number) < 1e5 for number in corners):
            continue
        line = (int(word[5]), int(word[6]))
        if groups and line == last and _together(groups[-1][1], corners):
            words_so_far, box = groups[-1]
            words_so_far.append(text)
            box[:2] = [min(a, b) for a, b in zip(box[:2], corners[:2], strict=True)]
            box[2:] = [max(a, b) for a, b in zip(box[2:], corners[2:], strict=True)]
        else:
            groups.append(([text], list(corners)))
        last = line
    return tuple(
        Text(" ".join(parts), Box(*box))
        for parts, box in groups
        if box[2] > box[0] and box[3] > box[1]
    )


def _together(box: Sequence[float], corners: Sequence[float]) -> bool:
    """Whether a word follows so closely that only a space lies between."""
    across = max(corners[0] - box[2], box[0] - corners[2])
    along = max(corners[1] - box[3], box[1] - corners[3])
    height = min(corners[2] - corners[0], corners[3] - corners[1], box[2] - box[0], box[3] - box[1])
    return max(across, along) <= _WORD_GAP * height

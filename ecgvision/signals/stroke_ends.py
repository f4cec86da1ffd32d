"""Where a stroke of the pen begins, to a part of a pixel: it is drawn until the drawing fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.special import ndtr

from ecgvision.compiled import compiled
from ecgvision.signals.edges import INK_SHARE
from ecgvision.signals.pen import Pen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ink = NDArray[np.float32]

# A lead ends within this of its box's edge; so far inside the box its line is known (mm).
_REACH_MM, KNOWN_MM = 0.8, 1.1
# What is looked at: so much above and below, and so much of the line from its end on.
_HALF_MM, _BODY_MM = 1.5, 0.45
# The line runs straight from its end so far; then come the known places, so far apart (mm).
_FREE_MM, _JOINT_MM = 0.12, 0.1
# Other print stays so far from the stroke's end (mm), or the end is not in the open.
_CLEAR_MM = 0.15
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
# A line that is steeper at its end, or that is this much off in its pixels (rms), says nothing.
_STEEPEST, _WORST_FIT = 6.0, 0.12
# An end further than this from where the pen's ink ends is a failed fit (mm).
_MOST_MOVE_MM = 0.3
# Points per pixel where a stroke is drawn; rounds of the fit, moves after which it is near its end
# (px), its step for slopes, its ridge.
_FINE, _ROUNDS, _NEAR_PX, _TRY_PX, _RIDGE = 3, 6, 0.1, 0.05, (1e-3, 1e-3, 1e-2)


@dataclass(frozen=True, slots=True)
class EndFit:
    """Where a stroke ends right of its box's edge and how surely, in mm; what is left over.

    It `is_end` where it runs on from there, not too steep and as a stroke does.
    """

    off_mm: float
    error_mm: float
    misfit: float
    is_end: bool


@dataclass(frozen=True)
class StrokeEnd:
    """The pixels around one end, the stroke on their right, in px of the patch.

    `patch` is (W, H), column by column, `clear` where it holds nothing else. The line is known from
    the `joint` on; it begins near (`begin`, `middle`). `known`, (fine W, fine H), is the distance
    of each fine point from the known line, squared; `across`, (W, fine W), and `down`, (fine H, H),
    tell how much of the fine points each pixel sees.
    """

    patch: Floats
    clear: Bools
    joint: tuple[float, float]
    known: Floats
    begin: float
    middle: float
    free_px: float
    radius: float
    across: Floats
    down: Floats


def cut_stroke(
    dark: Ink, x_px: Floats, y_px: Floats, edge_px: float, pen: Pen, px_per_mm: float
) -> tuple[StrokeEnd, float] | None:
    """The pixels where a stroke begins near `edge_px`, and that edge's place in them."""
    radius = pen.width_px / 2
    tail = int(np.ceil(2 * pen.blur_px))
    left = int(edge_px - _REACH_MM * px_per_mm) - 2
    right = int(edge_px + KNOWN_MM * px_per_mm) + 1
    level = float(np.interp(right - 0.5, x_px, y_px))
    if left < 0 or right >= dark.shape[1] or not np.isfinite(level):
        return None
    top, bottom = int(level - _HALF_MM * px_per_mm), int(level + _HALF_MM * px_per_mm)
    if top < 0 or bottom > dark.shape[0]:
        return None
    window = np.minimum(dark[top:bottom, left:right] / pen.darkness, 1.0).astype(np.float64)
    names = cv2.connectedComponents((window > INK_SHARE).view(np.uint8), connectivity=8)[1]
    name = names[int(level) - top, -1]
    own = names == name
    if name == 0:
        return None
    begin = int(np.flatnonzero(own.any(axis=0))[0])
    first = own[:, begin : begin + max(2, round(radius))]
    middle = float(np.flatnonzero(first.any(axis=1)).mean()) + 0.5
    half = int(np.ceil(radius + tail + 1 + 0.2 * px_per_mm))
    low, high = int(middle) - half, int(middle) + half + 1
    start, stop = begin - 2 - tail, begin + round(_BODY_MM * px_per_mm)
    if low < 0 or high > len(window) or start < 0 or stop > window.shape[1]:
        return None
    others = ((names > 0) & ~own).view(np.uint8)
    clear = cv2.dilate(others, _CROSS, iterations=1 + tail)[low:high] == 0
    if not clear[:, max(0, begin - round(_CLEAR_MM * px_per_mm)) : begin + 2].all():
        return None
    free, joint = _FREE_MM * px_per_mm, _JOINT_MM * px_per_mm
    # The known part runs on past the patch, so that its own end is not drawn.
    knots = np.arange(begin - start + radius + free + joint, stop - start + radius + 3, joint)
    heights = np.interp(knots, x_px - left - start, y_px - top - low)
    if not np.isfinite(heights).all():
        return None
    patch, clear = window[low:high, start:stop].T.copy(), clear[:, start:stop].T.copy()
    across, down = (_optics(size, pen.blur_px) for size in (stop - start, high - low))
    known = _known(knots, heights, np.full((across.shape[1], down.shape[1]), np.inf))
    stroke = StrokeEnd(
        patch, clear, (float(knots[0]), float(heights[0])), known, begin - start,
        middle - low, free, radius, across, down.T.copy(),
    )  # fmt: skip
    return stroke, edge_px - left - start


def _optics(size: int, blur_px: float) -> Floats:
    """(size, size * _FINE): how much of each fine point every pixel sees through the blur."""
    fine = (np.arange(size * _FINE) + 0.5) / _FINE
    off = (fine - np.arange(size)[:, None] - 0.5) / blur_px
    half = 0.5 / blur_px
    result: Floats = (ndtr(off + half) - ndtr(off - half)) / _FINE
    return result


@compiled
def _known(knots, heights, nearest):  # type: ignore[no-untyped-def]
    past = np.empty(nearest.shape)
    for k in range(len(knots) - 1):
        _distances(knots[k], heights[k], knots[k + 1], heights[k + 1], nearest, past)
    return nearest


def fitted_end(
    stroke: StrokeEnd, edge: float, px_per_mm: float, sign: float, *, is_round: bool
) -> EndFit:
    """Gauss-Newton on the end's place, its height, and the height a little further on."""
    begin = stroke.begin + (stroke.radius if is_round else 0.0)
    place = np.array([begin, stroke.middle, (stroke.middle + stroke.joint[1]) / 2])
    left_over, spread = _fit(
        place, stroke.patch, stroke.clear, stroke.known, stroke.across, stroke.down,
        stroke.joint, stroke.free_px, stroke.radius, is_round,
    )  # fmt: skip
    variance = left_over / np.count_nonzero(stroke.clear)
    steep = abs(place[2] - place[1]) > _STEEPEST * stroke.free_px
    moved = abs(place[0] - begin) > _MOST_MOVE_MM * px_per_mm
    is_end = not (steep or moved or variance > _WORST_FIT**2)
    error = float(np.sqrt(variance * spread))
    return EndFit(
        sign * float(place[0] - edge) / px_per_mm, error / px_per_mm, left_over, bool(is_end)
    )


@compiled
def _fit(  # type: ignore[no-untyped-def]
    place, patch, clear, known, across, down, joint, free_px, radius, is_round
):
    """Brings `place`, (3,), to where a stroke that begins there draws the patch best.

    Gives the squares that are left over, and the variance of the place's x for each of them.
    """
    ink, past = np.empty(known.shape), np.empty(known.shape)
    half_seen = np.empty((len(across), known.shape[1]))
    drawn, moved = np.empty(patch.shape), np.empty(patch.shape)
    slopes, misfit = np.zeros((3, patch.size)), np.zeros(patch.size)
    inverse, off, moved_px = np.eye(3), 0.0, np.inf
    for _ in range(_ROUNDS):
        _draw(
            place, known, across, down, joint, free_px, radius, is_round,
            ink, past, half_seen, drawn,
        )  # fmt: skip
        misfit[:] = np.where(clear, patch - drawn, 0.0).ravel()
        # Near its end the slopes hardly change, and they take three times as long as the misfit.
        if moved_px > _NEAR_PX:
            for k in range(3):
                tried = place.copy()
                tried[k] += _TRY_PX
                _draw(
                    tried, known, across, down, joint, free_px, radius, is_round,
                    ink, past, half_seen, moved,
                )  # fmt: skip
                slopes[k] = np.where(clear, (moved - drawn) / _TRY_PX, 0.0).ravel()
            inverse = _inverse(slopes)
        off, moved_px = (misfit**2).sum(), 0.0
        downhill = np.array([(slopes[k] * misfit).sum() for k in range(3)])
        for k in range(3):
            step = min(max((inverse[k] * downhill).sum(), -1.0), 1.0)
            place[k] += step
            moved_px = max(moved_px, abs(step))
    return off, inverse[0, 0]


@compiled
def _inverse(slopes):  # type: ignore[no-untyped-def]
    """The inverse of three slopes' normal matrix, (3, 3), by its cofactors."""
    normal = np.empty((3, 3))
    for j in range(3):
        for k in range(3):
            normal[j, k] = (slopes[j] * slopes[k]).sum() + (_RIDGE[j] if j == k else 0.0)
    inverse = np.empty((3, 3))
    for j in range(3):
        for k in range(3):
            a, b, c, d = (j + 1) % 3, (j + 2) % 3, (k + 1) % 3, (k + 2) % 3
            inverse[k, j] = normal[a, c] * normal[b, d] - normal[a, d] * normal[b, c]
    return inverse / (normal[0] * inverse[:, 0]).sum()


@compiled
def _draw(  # type: ignore[no-untyped-def]
    place, known, across, down, joint, free_px, radius, is_round, ink, past, half_seen, drawn
):
    """What the pen draws for a place, (W, H), into `drawn`; what stands before it is scratch.

    Fine points of a column lie side by side, for there are more of them than in a row, and each
    loop over them has few arrays: so they become vector instructions.
    """
    x, y, onward_y = place
    ink[:] = known
    _distances(x + free_px, onward_y, joint[0], joint[1], ink, past)
    _distances(x, y, x + free_px, onward_y, ink, past)
    for column in range(len(ink)):
        _to_ink(ink[column], radius)
        if not is_round:  # a square pen begins where it does
            _cut_off(ink[column], past[column])
    _seen(across, ink, half_seen)
    for column in range(len(drawn)):
        for row in range(drawn.shape[1]):
            drawn[column, row] = 0.0
        for k in range(len(down)):
            for row in range(drawn.shape[1]):
                drawn[column, row] += half_seen[column, k] * down[k, row]


@compiled
def _seen(across, ink, half_seen):  # type: ignore[no-untyped-def]
    """Each column of pixels' share of the fine columns of ink."""
    for column in range(len(across)):
        for y in range(ink.shape[1]):
            half_seen[column, y] = 0.0
        for k in range(len(ink)):
            share = across[column, k]
            if share > 0.0:
                for y in range(ink.shape[1]):
                    half_seen[column, y] += share * ink[k, y]


@compiled
def _distances(x, y, to_x, to_y, nearest, past):  # type: ignore[no-untyped-def]
    """Brings `nearest`, (W, H) squared distances of fine points, down to those from a stroke.

    `past` (W, H) becomes how far past the stroke's beginning they are, along it.
    """
    across, down = to_x - x, to_y - y
    length = np.hypot(across, down)
    across, down = across / length, down / length
    for column in range(len(nearest)):
        off_x = (column + 0.5) / _FINE - x
        for row in range(nearest.shape[1]):
            off_y = (row + 0.5) / _FINE - y
            along = off_x * across + off_y * down
            past[column, row] = along
            along = 0.0 if along < 0.0 else along
            along = length if along > length else along
            distance = (off_x - along * across) ** 2 + (off_y - along * down) ** 2
            closer = distance < nearest[column, row]
            nearest[column, row] = distance if closer else nearest[column, row]


@compiled
def _to_ink(nearest, radius):  # type: ignore[no-untyped-def]
    """Turns squared distances from a line into ink, 0 to 1."""
    for row in range(len(nearest)):
        ink = (radius - np.sqrt(nearest[row])) * _FINE + 0.5
        ink = 0.0 if ink < 0.0 else ink
        nearest[row] = 1.0 if ink > 1.0 else ink


@compiled
def _cut_off(ink, past):  # type: ignore[no-untyped-def]
    for row in range(len(ink)):
        begun = past[row] * _FINE + 0.5
        begun = 0.0 if begun < 0.0 else begun
        ink[row] = begun if begun < ink[row] else ink[row]

"""Where a stroke of the pen begins, to a part of a pixel: it is drawn until the drawing fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation, label
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

    `patch` is (H, W), `clear` where it holds nothing else. The line is known from the `joint` on;
    it begins near (`begin`, `middle`). `across` and `down` turn fine points into pixels. `known` is
    each fine point's distance from the known line, squared.
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
    names, _ = label(window > INK_SHARE, np.ones((3, 3)))
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
    clear = ~binary_dilation((names > 0) & ~own, iterations=1 + tail)[low:high]
    if not clear[:, max(0, begin - round(_CLEAR_MM * px_per_mm)) : begin + 2].all():
        return None
    free, joint = _FREE_MM * px_per_mm, _JOINT_MM * px_per_mm
    # The known part runs on past the patch, so that its own end is not drawn.
    knots = np.arange(begin - start + radius + free + joint, stop - start + radius + 3, joint)
    heights = np.interp(knots, x_px - left - start, y_px - top - low)
    if not np.isfinite(heights).all():
        return None
    patch = window[low:high, start:stop]
    across, down = (_optics(size, pen.blur_px) for size in (stop - start, high - low))
    known = np.full((down.shape[1], across.shape[1]), np.inf)
    _distances(knots, heights, known, np.empty(known.shape))
    stroke = StrokeEnd(
        patch, clear[:, start:stop], (float(knots[0]), float(heights[0])), known, begin - start,
        middle - low, free, radius, across, down,
    )  # fmt: skip
    return stroke, edge_px - left - start


def _optics(size: int, blur_px: float) -> Floats:
    """(size, size * _FINE): how much of each fine point every pixel sees through the blur."""
    fine = (np.arange(size * _FINE) + 0.5) / _FINE
    off = (fine - np.arange(size)[:, None] - 0.5) / blur_px
    half = 0.5 / blur_px
    result: Floats = (ndtr(off + half) - ndtr(off - half)) / _FINE
    return result


def fitted_end(
    stroke: StrokeEnd, edge: float, px_per_mm: float, sign: float, *, is_round: bool
) -> EndFit:
    """Gauss-Newton on the end's place, its height, and the height a little further on."""
    begin = stroke.begin + (stroke.radius if is_round else 0.0)
    place = np.array([begin, stroke.middle, (stroke.middle + stroke.joint[1]) / 2])
    steps = np.concatenate([np.zeros((1, 3)), _TRY_PX * np.eye(3)])
    misfit, normal, slopes = np.zeros(0), np.eye(3), np.zeros((3, 0))
    moved_px = np.inf
    for _ in range(_ROUNDS):
        # Near its end the slopes hardly change, and they take three times as long as the misfit.
        tried = steps if moved_px > _NEAR_PX else steps[:1]
        drawn = _drawn(place + tried, stroke, is_round=is_round)[:, stroke.clear]
        misfit = stroke.patch[stroke.clear] - drawn[0]
        if len(drawn) > 1:
            slopes = (drawn[1:] - drawn[0]) / _TRY_PX
            normal = slopes @ slopes.T + np.diag(_RIDGE)
        move = np.clip(np.linalg.solve(normal, slopes @ misfit), -1.0, 1.0)
        place, moved_px = place + move, np.abs(move).max()
    left_over = float(misfit @ misfit)
    variance = left_over / len(misfit)
    steep = abs(place[2] - place[1]) > _STEEPEST * stroke.free_px
    moved = abs(place[0] - begin) > _MOST_MOVE_MM * px_per_mm
    is_end = not (steep or moved or variance > _WORST_FIT**2)
    error = float(np.sqrt(variance * np.linalg.inv(normal)[0, 0]))
    return EndFit(
        sign * float(place[0] - edge) / px_per_mm, error / px_per_mm, left_over, bool(is_end)
    )


def _drawn(places: Floats, stroke: StrokeEnd, *, is_round: bool) -> Floats:
    """(k, H, W): what the pen draws for each of the (k, 3) places."""
    inked = np.empty((len(places), *stroke.known.shape))
    past = np.empty(stroke.known.shape)
    joint_x, joint_y = stroke.joint
    for (x, y, onward_y), ink in zip(places.tolist(), inked, strict=True):
        ink[:] = stroke.known
        xs, ys = np.array([x, x + stroke.free_px, joint_x]), np.array([y, onward_y, joint_y])
        _distances(xs, ys, ink, past)
        _to_ink(ink, past, stroke.radius, is_round)
    result: Floats = stroke.down @ inked @ stroke.across.T
    return result


@compiled
def _distances(xs, ys, nearest, past):  # type: ignore[no-untyped-def]
    """Brings `nearest`, (H, W) squared distances of fine points, down to those from a line.

    `past` (H, W) becomes how far past the line's beginning they are, along it.
    """
    for j in range(len(xs) - 1):
        across, down = xs[j + 1] - xs[j], ys[j + 1] - ys[j]
        squared, length = across**2 + down**2, np.hypot(across, down)
        for row in range(nearest.shape[0]):
            off_y = (row + 0.5) / _FINE - ys[j]
            for column in range(nearest.shape[1]):
                off_x = (column + 0.5) / _FINE - xs[j]
                along = (off_x * across + off_y * down) / squared
                if j == 0:
                    past[row, column] = along * length
                along = min(max(along, 0.0), 1.0)
                distance = (off_x - along * across) ** 2 + (off_y - along * down) ** 2
                nearest[row, column] = min(nearest[row, column], distance)


@compiled
def _to_ink(nearest, past, radius, is_round):  # type: ignore[no-untyped-def]
    """Turns squared distances from a line into ink, 0 to 1; a square pen begins where it does."""
    for row in range(nearest.shape[0]):
        for column in range(nearest.shape[1]):
            ink = min(max((radius - np.sqrt(nearest[row, column])) * _FINE + 0.5, 0.0), 1.0)
            if not is_round:
                ink = min(ink, min(max(past[row, column] * _FINE + 0.5, 0.0), 1.0))
            nearest[row, column] = ink

"""Plain functions on pixels that every kind of page shares: rounding, cutting, turning."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from ecgvision.errors import UnreadableError
from ecgvision.types import Box

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecgvision.types import Pixels

PAPER = 255

PIXEL_LIMIT = 120_000_000
"""Pixels an image may have: A3 at 780 dpi, the largest phone photos but one or two."""

RENDER_LIMIT = 60_000_000
"""Pixels a page may have when it is rendered at 300 dpi: nearly A1, far above any ECG paper."""

# A scale this close to an image's own is its own: it moves no pixel by more than a tenth.
_SAME_SCALE = 1e-5


class NativeReader(Protocol):
    """A page reader that can hand out all of its own pixels, unscaled."""

    def native(self, grey: bool) -> Pixels: ...


class NativeCache:
    """Keeps the pixels of the kind asked for last, grey or colour, and no more than that."""

    def __init__(self, load: Callable[[bool], Pixels]) -> None:
        self._load = load
        self._kept: tuple[bool, Pixels] | None = None

    def __call__(self, grey: bool) -> Pixels:
        if self._kept is None or self._kept[0] != grey:
            self._kept = None  # let go of the old kind before the new one is made
            self._kept = (grey, self._load(grey))
        return self._kept[1]


def pixel_count(length_mm: float, px_per_mm: float) -> int:
    """How many pixels a length takes: the one rounding rule of all pages."""
    return max(1, round(length_mm * px_per_mm))


def clip_shape(clip: Box, px_per_mm: float) -> tuple[int, int]:
    """(height, width) in pixels of a clip."""
    return pixel_count(clip.height_mm, px_per_mm), pixel_count(clip.width_mm, px_per_mm)


def refuse_too_large(
    pixels: float, limit: int, source: Path, page: int | None, what: str = "a page"
) -> None:
    """Raise `UnreadableError` (page-too-large) above `limit` pixels, before any is made."""
    if not pixels <= limit:
        raise UnreadableError(
            "page-too-large",
            source,
            page,
            expected=f"{what} of at most {limit / 1e6:.0f} megapixels",
            found=f"{pixels / 1e6:.0f} megapixels",
            hint="check the size that the file declares, or scan it again at 300 dpi",
        )


def paper(shape: tuple[int, int], grey: bool) -> Pixels:
    """Blank paper."""
    return np.full(shape if grey else (*shape, 3), PAPER, np.uint8)


def to_grey(rgb: Pixels) -> Pixels:
    """Luma of RGB pixels, the weights every decoder here uses."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def to_rgb(grey: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def as_kind(pixels: Pixels, grey: bool) -> Pixels:
    """`pixels` as grey or RGB, whichever they were."""
    if grey:
        return to_grey(pixels) if pixels.ndim == 3 else pixels
    return to_rgb(pixels) if pixels.ndim == 2 else pixels


def slice_padded(native: Pixels, left: int, top: int, shape: tuple[int, int]) -> Pixels:
    """A copy of the `shape` pixels from (left, top) on; those outside `native` are paper."""
    height, width = shape
    y0, y1 = max(0, top), min(native.shape[0], top + height)
    x0, x1 = max(0, left), min(native.shape[1], left + width)
    if y0 >= y1 or x0 >= x1:
        return paper(shape, native.ndim == 2)
    part = native[y0:y1, x0:x1]
    if part.shape[:2] == shape:
        return part.copy()
    edges = (y0 - top, top + height - y1, x0 - left, left + width - x1)
    out = cv2.copyMakeBorder(part, *edges, cv2.BORDER_CONSTANT, value=(PAPER, PAPER, PAPER))
    return np.asarray(out, np.uint8)


def cut(native: Pixels, own_px_per_mm: float, px_per_mm: float, clip: Box) -> Pixels:
    """The part of a raster page in `clip`, at `px_per_mm`.

    At the page's own resolution the pixels are copied as they are: the clip moves to the nearest
    whole pixel, for blurring all of them would be worse. At any other resolution the corner is
    met exactly, and reduction averages (no aliasing of thin traces).
    """
    shape = clip_shape(clip, px_per_mm)
    left, top = clip.left_mm * own_px_per_mm, clip.top_mm * own_px_per_mm
    if abs(px_per_mm / own_px_per_mm - 1) < _SAME_SCALE:
        return slice_padded(native, round(left), round(top), shape)
    ratio = own_px_per_mm / px_per_mm
    # Reduce in two steps: a shift and a mild enlargement to a whole multiple, which skips no
    # pixel of a thin trace; then exact averages.
    times = max(1, math.ceil(ratio - 1e-6))
    fine = (shape[0] * times, shape[1] * times)
    step = ratio / times
    moved = _resampled(native, left, top, step, fine)
    if times == 1:
        return moved
    small = cv2.resize(moved, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _resampled(
    native: Pixels, left: float, top: float, step: float, shape: tuple[int, int]
) -> Pixels:
    """Pixels every `step` of a native pixel from the corner (left, top) on."""
    whole = abs(step - 1) < 1e-9 and max(abs(left - round(left)), abs(top - round(top))) < 1e-3
    if whole:
        return slice_padded(native, round(left), round(top), shape)
    # Only the part that is looked at: warpAffine takes time for all of its source otherwise,
    # and OpenCV addresses no source larger than 32767 pixels a side.
    x0, y0 = math.floor(left) - 1, math.floor(top) - 1
    size = (math.ceil(shape[0] * step) + 4, math.ceil(shape[1] * step) + 4)
    source = slice_padded(native, x0, y0, size)
    shift = step / 2 - 0.5  # pixel centres, not corners, lie on the lattice
    inverse = np.array([[step, 0.0, left - x0 + shift], [0.0, step, top - y0 + shift]], np.float64)
    return warped(source, inverse, shape)


def warped(source: Pixels, inverse: np.ndarray, shape: tuple[int, int]) -> Pixels:
    """`source` seen through the 2 x 3 matrix from result to source pixels; paper around it."""
    out = cv2.warpAffine(
        source,
        inverse,
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(PAPER, PAPER, PAPER),
    )
    return np.asarray(out, np.uint8)


def reduced(pixels: Pixels, factor: int) -> Pixels:
    """Means of `factor` x `factor` pixels; what is left over at the right and below is cut off."""
    if factor == 1:
        return pixels
    height, width = (side // factor for side in pixels.shape[:2])
    whole = pixels[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def squared(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """The whole image brought to (width, height); used where pixels are not square."""
    if (pixels.shape[1], pixels.shape[0]) == size_px:
        return pixels
    return np.asarray(cv2.resize(pixels, size_px, interpolation=cv2.INTER_LINEAR), np.uint8)


def oriented(pixels: Pixels, transposed: bool, mirror_x: bool, mirror_y: bool) -> Pixels:
    """Rows and columns swapped first, then mirrored left-right and top-bottom."""
    if transposed:
        pixels = np.swapaxes(pixels, 0, 1)
    if mirror_x:
        pixels = pixels[:, ::-1]
    if mirror_y:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)

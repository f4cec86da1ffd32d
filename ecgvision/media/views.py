"""A page seen another way: given a scale, turned, or levelled. Nothing is copied until asked for.

Every view is a new `Page` over the old one, with an empty `memo`; lines and words move with the
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from ecgvision.media.raster import NativeCache, NativeReader, clip_shape, cut, warped
from ecgvision.types import RENDER_PX_PER_MM, Box, Page, PageReader, Stroke, Text

if TYPE_CHECKING:
    from ecgvision.types import Pixels, Points

_LEAST_ROTATION_DEG = 0.02


def scaled(page: Page, px_per_mm: float) -> Page:
    """A raster page whose own pixels are taken to be `px_per_mm` fine.

    For images without a believable resolution, or with a wrong one. Raises `ValueError` for
    vector pages, which know their size.
    """
    if page.size_px is None:
        raise ValueError("a page drawn by lines has a size of its own")
    if not 0 < px_per_mm < math.inf:
        raise ValueError(f"the scale must be a positive number of px/mm, found {px_per_mm}")
    size_mm = (page.size_px[0] / px_per_mm, page.size_px[1] / px_per_mm)
    factor = size_mm[0] / page.size_mm[0] if page.size_mm else 1.0
    reader = _Scaled(page.reader, size_mm[0], page.size_px[0], factor)
    return replace(page, size_mm=size_mm, reader=reader, memo={})


def turned(page: Page, quarter_turns: int) -> Page:
    """The page turned clockwise by `quarter_turns` times 90 degrees, pixel by pixel.

    Works before the size in mm is known. Turning by nothing returns the page itself.
    """
    turns = quarter_turns % 4
    if turns == 0:
        return page
    reader = _Turned(page.reader, turns, page.size_mm)
    size_mm, size_px = page.size_mm, page.size_px
    if turns % 2:
        size_mm = size_mm and (size_mm[1], size_mm[0])
        size_px = size_px and (size_px[1], size_px[0])
    return replace(page, size_mm=size_mm, size_px=size_px, reader=reader, memo={})


def levelled(page: Page, rotation_deg: float) -> Page:
    """The page with a skew undone: its content leans clockwise by `rotation_deg`.

    It turns about the page's centre and keeps the page's size; corners that come from outside
    are paper. Below 0.02 degrees the page itself is returned.
    """
    if not math.isfinite(rotation_deg):
        raise ValueError(f"the rotation must be a number of degrees, found {rotation_deg}")
    if abs(rotation_deg) < _LEAST_ROTATION_DEG:
        return page
    reader = _Levelled(page.reader, rotation_deg, page.size_mm)
    return replace(page, reader=reader, memo={})


def rendered(page: Page) -> Page:
    """A vector page as a raster page of 300 dpi, drawn by its report's renderer.

    Its words stay; it has no strokes. Other pages come back as they are.
    """
    if page.origin != "vector":
        return page
    size_mm = page.known_mm
    height, width = clip_shape(Box(0.0, 0.0, *size_mm), RENDER_PX_PER_MM)
    return replace(
        page,
        origin="rendered",
        size_mm=(width / RENDER_PX_PER_MM, height / RENDER_PX_PER_MM),
        size_px=(width, height),
        reader=_Rendered(page),
        memo={},
    )


def own_pixels(page: Page) -> Pixels:
    """All of a raster page's own pixels, RGB. The page may keep them: they must not be changed."""
    return _native(page.reader, False)


def one_channel(page: Page, pick: Callable[[Pixels], Pixels]) -> Pixels:
    """(H, W): what `pick` makes of all of a raster page's own pixels.

    On a levelled page it is asked before: one channel is levelled in a third of the time of three.
    """
    if isinstance(page.reader, _Levelled):
        return page.reader.levelled(pick)
    return pick(own_pixels(page))


def levelled_pixels(pixels: Pixels, rotation_deg: float) -> Pixels:
    """All pixels of a page with a skew undone, as `levelled` does it for the page."""
    height, width = pixels.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return warped(pixels, _about(_clockwise(rotation_deg), centre, centre), (height, width))


def _clockwise(rotation_deg: float) -> Points:
    """The turn of a page whose y points down; rows are (x, y), so `points @ turn.T`."""
    angle = math.radians(rotation_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _about(turn: Points, pivot: Points, source_pivot: Points) -> Points:
    """From pixels of the result to those of the source, which is turned about its pivot."""
    return np.hstack([turn, (source_pivot - turn @ pivot)[:, None]])


def _native(reader: PageReader, grey: bool) -> Pixels:
    return cast(NativeReader, reader).native(grey)


class _View:
    """What the views share: lines and words of the page below, moved once."""

    def __init__(self, base: PageReader) -> None:
        self._base = base
        self._strokes: tuple[Stroke, ...] | None = None
        self._texts: tuple[Text, ...] | None = None

    def _moved(self, points_mm: Points) -> Points:
        raise NotImplementedError

    def _moved_box(self, box: Box) -> Box:
        corners = np.array([(box.left_mm, box.top_mm), (box.right_mm, box.bottom_mm)])
        ends = self._moved(corners)
        (left, top), (right, bottom) = ends.min(axis=0), ends.max(axis=0)
        return Box(float(left), float(top), float(right), float(bottom))

    def _width(self, width_mm: float) -> float:
        return width_mm

    def strokes(self) -> tuple[Stroke, ...]:
        if self._strokes is None:
            self._strokes = tuple(
                replace(s, points_mm=self._moved(s.points_mm), width_mm=self._width(s.width_mm))
                for s in self._base.strokes()
            )
        return self._strokes

    def texts(self) -> tuple[Text, ...]:
        if self._texts is None:
            self._texts = tuple(Text(t.text, self._moved_box(t.box)) for t in self._base.texts())
        return self._texts


class _Scaled(_View):
    def __init__(self, base: PageReader, width_mm: float, width_px: int, factor: float) -> None:
        super().__init__(base)
        self._px_per_mm = width_px / width_mm
        self._factor = factor
        # A view below may have to turn or warp all its pixels; clips come in series.
        self.native = NativeCache(lambda grey: _native(base, grey))

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        return cut(self.native(grey), self._px_per_mm, px_per_mm, clip)

    def _moved(self, points_mm: Points) -> Points:
        return points_mm * self._factor

    def _width(self, width_mm: float) -> float:
        return width_mm * self._factor


class _Rendered:
    def __init__(self, page: Page) -> None:
        self._page = page
        self.native = NativeCache(lambda grey: page.pixels(RENDER_PX_PER_MM, grey=grey))

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        return cut(self.native(grey), RENDER_PX_PER_MM, px_per_mm, clip)

    def strokes(self) -> tuple[Stroke, ...]:
        return ()

    def texts(self) -> tuple[Text, ...]:
        return self._page.texts


class _Turned(_View):
    def __init__(self, base: PageReader, turns: int, size_mm: tuple[float, float] | None) -> None:
        super().__init__(base)
        self._turns, self._base_mm = turns, size_mm

    def native(self, grey: bool) -> Pixels:
        return np.ascontiguousarray(np.rot90(_native(self._base, grey), -self._turns))

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        height, width = clip_shape(clip, px_per_mm)
        # Whole pixels from the clip's top left corner, so that the base, which counts from
        # another corner, starts its pixels on the same lattice.
        whole = np.array(
            [
                (clip.left_mm, clip.top_mm),
                (clip.left_mm + width / px_per_mm, clip.top_mm + height / px_per_mm),
            ]
        )
        ends = self._unmoved(whole)
        (left, top), (right, bottom) = ends.min(axis=0), ends.max(axis=0)
        base_clip = Box(float(left), float(top), float(right), float(bottom))
        pixels = self._base.pixels(px_per_mm, base_clip, grey)
        return np.ascontiguousarray(np.rot90(pixels, -self._turns))

    def _size_mm(self) -> tuple[float, float]:
        if self._base_mm is None:
            raise ValueError("give the page its size in mm first")
        return self._base_mm

    def _moved(self, points_mm: Points) -> Points:
        if not len(points_mm):
            return points_mm
        width, height = self._size_mm()
        x, y = points_mm[:, 0], points_mm[:, 1]
        pairs = {1: (height - y, x), 2: (width - x, height - y), 3: (y, width - x)}
        return np.stack(pairs[self._turns], axis=1)

    def _unmoved(self, points_mm: Points) -> Points:
        width, height = self._size_mm()
        x, y = points_mm[:, 0], points_mm[:, 1]
        pairs = {1: (y, height - x), 2: (width - x, height - y), 3: (width - y, x)}
        return np.stack(pairs[self._turns], axis=1)


class _Levelled(_View):
    def __init__(
        self, base: PageReader, rotation_deg: float, size_mm: tuple[float, float] | None
    ) -> None:
        super().__init__(base)
        self._rotation_deg, self._skew = rotation_deg, _clockwise(rotation_deg)
        self._size_mm = size_mm

    def native(self, grey: bool) -> Pixels:
        return levelled_pixels(_native(self._base, grey), self._rotation_deg)

    def levelled(self, pick: Callable[[Pixels], Pixels]) -> Pixels:
        return levelled_pixels(pick(_native(self._base, False)), self._rotation_deg)

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        shape = clip_shape(clip, px_per_mm)
        corner = np.array([clip.left_mm, clip.top_mm])
        far = corner + np.array(shape[::-1]) / px_per_mm
        corners = np.array([corner, far, (corner[0], far[1]), (far[0], corner[1])])
        ends = (corners - self._centre()) @ self._skew.T + self._centre()
        # One pixel around for the interpolation, on the base's lattice so that it only copies.
        low = (np.floor(ends.min(axis=0) * px_per_mm) - 1) / px_per_mm
        high = (np.ceil(ends.max(axis=0) * px_per_mm) + 1) / px_per_mm
        source = self._base.pixels(
            px_per_mm, Box(float(low[0]), float(low[1]), float(high[0]), float(high[1])), grey
        )
        pivot = (self._centre() - corner) * px_per_mm - 0.5
        source_pivot = (self._centre() - low) * px_per_mm - 0.5
        return warped(source, _about(self._skew, pivot, source_pivot), shape)

    def _centre(self) -> Points:
        if self._size_mm is None:
            raise ValueError("give the page its size in mm first")
        return np.array(self._size_mm) / 2

    def _moved(self, points_mm: Points) -> Points:
        if not len(points_mm):
            return points_mm
        return np.asarray((points_mm - self._centre()) @ self._skew + self._centre(), np.float64)

    def _moved_box(self, box: Box) -> Box:
        # Words stay upright and keep their size: only their place changes.
        (x, y) = self._moved(np.array([box.centre_mm]))[0]
        return box.shifted(float(x) - box.centre_mm[0], float(y) - box.centre_mm[1])

"""Small pictures of pages that did not come out: their arrangement is seen, no print can be read.

A picture has 24 x 40 cells for the whole page, whatever its size or resolution: on A4 a cell is
about 12 x 5 mm. Printed capitals of 3 mm are less than a cell, and those of 20 mm still come out as
smears. Only the cells go into the report, not the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.archive.rows import unescaped
from ecgvision.archive.store import LOCAL, Place, is_url, placed
from ecgvision.errors import EcgVisionError, UsageError

if TYPE_CHECKING:
    from pebble import ProcessPool

    from ecgvision.report.figures import Example
    from ecgvision.types import Page, Pixels

CELLS_ACROSS, CELLS_DOWN = 24, 40

NOT_FOUND = "source not found"

# These stopped a worker once: they are not opened again.
_DANGEROUS = frozenset({"worker-crashed", "timed-out", "memory-exceeded"})

# A report must not take an hour because all its examples take their time.
_TIMEOUT_S, _MOST_LOST = 20.0, 5
_MEMORY_BYTES = 3 << 30
_LONG_SIDE_PX = 176
# Thin lines vanish in large cells, so contrast is raised until the darkest cells are this far off.
_CONTRAST, _MOST_CONTRAST = 110.0, 8.0
_RENDER_PX_PER_MM = 2.0


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A PNG of 24 x 40 cells and how large to show it; without a PNG, `why` says why not."""

    png: bytes = b""
    width_px: int = 0
    height_px: int = 0
    why: str = ""


@contextmanager
def drawer(sources: Place | None) -> Iterator[Drawer]:
    """Draws pages in a process of its own, which is lost alone where a page breaks or blocks it."""
    from pebble import ProcessPool

    pool = ProcessPool(1, context=get_context("spawn"), initializer=_limit_memory)
    try:
        yield Drawer(sources, pool)
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


class Drawer:
    """Draws the pages of files that have not changed since.

    They lie in the folder `sources`, or where the manifest says.
    """

    def __init__(self, sources: Place | None, pool: ProcessPool) -> None:
        self._sources, self._pool = sources, pool
        self._lost = 0

    def drawn(self, example: Example) -> Thumbnail:
        if example.reason in _DANGEROUS:
            return Thumbnail(why="not opened again, as it stopped a worker")
        try:
            place = self._place(example)
            now = place.store.state(place.path)
        except UsageError:  # a kind of store that is not there any more
            now = None
        if now is None or not (place.store.url or place.path.is_file()):
            return Thumbnail(why=NOT_FOUND)
        if (now.size_bytes, now.mtime_ns) != (example.source_bytes, example.source_mtime_ns):
            return Thumbnail(why="source changed since")
        if self._lost == _MOST_LOST:
            return Thumbnail(why="cannot be drawn")
        try:
            future = self._pool.schedule(draw, (place, max(example.page, 1)), timeout=_TIMEOUT_S)
            thumbnail: Thumbnail = future.result()
        except Exception:  # whatever a damaged page does to the process that draws it
            self._lost += 1
            return Thumbnail(why="cannot be drawn")
        return thumbnail

    def _place(self, example: Example) -> Place:
        source = unescaped(example.source)
        if self._sources is not None:
            return Place(self._sources.store, self._sources.path / source)
        root = unescaped(example.root)
        if is_url(root):
            return placed(f"{root.rstrip('/')}/{source}")
        return placed(source) if is_url(source) else Place(LOCAL, Path(root) / source)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _MEMORY_BYTES if most == resource.RLIM_INFINITY else min(most, _MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def draw(place: Place, number: int) -> Thumbnail:
    """The page as a picture of few cells, or why there is none."""
    from ecgvision.media import open_report
    from ecgvision.output import png_bytes

    try:
        with place.store.fetched(place.path) as here, open_report(here) as report:
            pixels = _pixels(report.page(number))
    except (EcgVisionError, OSError):
        return Thumbnail(why="cannot be drawn")
    height, width = pixels.shape[:2]
    factor = _LONG_SIDE_PX / max(height, width)
    return Thumbnail(
        png_bytes(cells(pixels)), max(1, round(width * factor)), max(1, round(height * factor))
    )


def _pixels(page: Page) -> Pixels:
    if page.origin == "vector":
        return page.pixels(_RENDER_PX_PER_MM)
    from ecgvision.media.views import own_pixels

    return own_pixels(page)


def cells(pixels: Pixels) -> Pixels:
    """(40, 24, 3) RGB ``uint8`` of a page of any size: means of the cells, contrast raised."""
    import cv2

    small = cv2.resize(pixels, (CELLS_ACROSS, CELLS_DOWN), interpolation=cv2.INTER_AREA)
    means = np.asarray(small, np.float64)
    paper = np.percentile(means.reshape(-1, 3), 80, axis=0)
    away = float(np.percentile(np.abs(means - paper).max(axis=2), 98))
    factor = min(max(1.0, _CONTRAST / max(away, 1.0)), _MOST_CONTRAST)
    return np.clip(paper + factor * (means - paper), 0, 255).astype(np.uint8)

"""What the fuzzers run: each target takes any bytes, and may end in a `PageError` at most."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.errors import PageError
from ecgvision.grid import draw_strokes
from ecgvision.media import image as _image  # noqa: F401 -- loaded late, but to be watched
from ecgvision.media import open_report
from ecgvision.media import pdf as _pdf_file  # noqa: F401
from ecgvision.media.vectors import MM_PER_PT
from ecgvision.recording import Calibration
from ecgvision.signals.read import read_signals
from ecgvision.strokes import sorted_strokes, trace_strokes, upright_bars
from ecgvision.types import Box, Layout, LeadBox, Match, Page, Stroke, Text
from tests.hostile import raw_pdf

if TYPE_CHECKING:
    from ecgvision.types import Pixels

# Numbers that overflow are wrong numbers.
warnings.simplefilter("error", RuntimeWarning)

# More than the first few pages tell nothing new, and large ones only take time.
_PAGES = 3
_MOST_PX = 1_000_000
_PX_PER_MM = 2.0


def _small_layout() -> Layout:
    """Two rows of two leads and a rhythm strip, so short that a page of it takes few bytes."""
    places = [("I", 0, 0), ("aVR", 0, 1), ("II", 1, 0), ("aVL", 1, 1)]
    boxes = [
        LeadBox(
            lead,
            Box(10 + 30 * column, 10 + 20 * row, 40 + 30 * column, 30 + 20 * row),
            1.2 * column,
            1.2 * (column + 1),
        )
        for lead, row, column in places
    ]
    strip = LeadBox("II", Box(10, 50, 70, 70), 0.0, 2.4, rhythm_strip=True)
    return Layout("fuzz", (80.0, 80.0), (*boxes, strip))


LAYOUT = _small_layout()


def media(data: bytes) -> None:
    """A file of any kind: opened, and its pages read to the last word and pixel."""
    try:
        with open_report(_written(data)) as report:
            assert report.page_count > 0
            for number in range(1, min(report.page_count, _PAGES) + 1):
                _read(report.page(number))
    except PageError:
        return


def _read(page: Page) -> None:
    assert page.size_mm is None or min(page.size_mm) > 0
    for stroke in page.strokes:
        assert stroke.points_mm.ndim == 2
        assert np.isfinite(stroke.points_mm).all()
    for text in page.texts:
        assert text.text.strip()
    if page.size_px is not None and page.size_px[0] * page.size_px[1] > _MOST_PX:
        return
    if page.size_mm is not None and max(page.size_mm) < 500:
        grey = page.pixels(_PX_PER_MM, grey=True)
        assert grey.ndim == 2
        assert grey.dtype == np.uint8


def vectors(data: bytes) -> None:
    """What a page draws, in a PDF that is sound: read as strokes, and as signals of a layout."""
    try:
        with open_report(_written(_pdf(data))) as report:
            page = report.page(1)
            if page.origin == "vector":
                _check_strokes(page)
    except PageError:
        return


def strokes(data: bytes) -> None:
    """Lines of any shape, as no PDF has them: ends that meet, steps of nothing, lone points.

    Four bytes are a point in hundredths of a mm; a point that is all ones ends a line.
    """
    pairs = np.frombuffer(data[: len(data) // 4 * 4], "<i2").reshape(-1, 2)
    ends = np.flatnonzero((pairs == -1).all(axis=1))
    lines = np.split(pairs, ends)
    lines = [line[1:] if len(line) and (line[0] == -1).all() else line for line in lines]
    found = tuple(
        Stroke(line / 100.0, 0.1 * (1 + len(line) % 3), (0, 0, 40 * (len(line) % 5)), False)
        for line in lines
        if len(line)
    )
    _check_strokes(Page(Path("fuzz"), 1, "vector", LAYOUT.page_mm, None, _Strokes(found)))


class _Strokes:
    """A page of nothing but strokes."""

    def __init__(self, found: tuple[Stroke, ...]) -> None:
        self._found = found

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        raise AssertionError("nobody draws a page whose strokes are read")

    def strokes(self) -> tuple[Stroke, ...]:
        return self._found

    def texts(self) -> tuple[Text, ...]:
        return ()


def _check_strokes(page: Page) -> None:
    found = sorted_strokes(page)
    assert all(np.isfinite(s.points_mm).all() for s in (*found.ink, *found.grid))
    trace_strokes(page)
    upright_bars(page)
    draw_strokes(page, _PX_PER_MM)
    _check_signals(page, LAYOUT)


def _check_signals(page: Page, layout: Layout) -> None:
    scale = Calibration(layout.speed_mm_per_s, layout.gain_mm_per_mv, "layout", "layout")
    blank = np.full((80, 80), 255, np.uint8)
    recording = read_signals(page, Match(layout, 1.0), layout, blank, scale).recording
    for lead in recording.boxes:
        assert not np.isinf(lead.signal_mv).any()
        assert 0.0 <= lead.coverage <= 1.0
        assert lead.coverage == 1.0 or np.isnan(lead.signal_mv).any()


def _pdf(content: bytes) -> bytes:
    size_pt = (LAYOUT.page_mm[0] / MM_PER_PT, LAYOUT.page_mm[1] / MM_PER_PT)
    fonts = b"/Font<</F0 5 0 R>>"
    return raw_pdf.one_page(content, fonts, [raw_pdf.FONT], size_pt=size_pt, packed=False)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="ecgvision-fuzz-"))


def _written(data: bytes) -> Path:
    path = _folder() / f"input-{os.getpid()}"
    path.write_bytes(data)
    return path


TARGETS: dict[str, Callable[[bytes], None]] = {
    "media": media,
    "vectors": vectors,
    "strokes": strokes,
}

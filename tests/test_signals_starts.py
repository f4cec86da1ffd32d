"""Where time begins on a page of pixels, against pages whose leads begin where we drew them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ecgvision.conversion import as_read
from ecgvision.evidence import upright
from ecgvision.media.canvas import PdfCanvas
from ecgvision.plugins import Format
from ecgvision.recognition import recognise
from ecgvision.signals import raster
from ecgvision.signals.fit import fitted_line
from ecgvision.signals.starts import time_shifts_mm
from ecgvision.testing import DrawnPage, Ecg, as_png, draw_page, scanned, synthetic_ecg
from ecgvision.trace import row_ways
from ecgvision.types import Layout, Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels

PAGES = [
    ("philips-tc30", "3x4+1R"),
    ("ge-mac1200", "6x2"),
    ("ge-muse", "3x4+3R"),
    ("edan-se3", "6x2+1R"),
]

Open = Callable[..., Page]
Find = Callable[[str, str], Layout]
Drawing = Callable[..., DrawnPage]


@pytest.fixture
def drawing(formats: dict[str, Format], layout_of: Find) -> Drawing:
    """Draws a page of a format, moved by what a seed gives, so that leads lie between pixels."""
    quiet = synthetic_ecg(seed=3, seconds=12, noise_mv=0.0)

    def draw(format_id: str, name: str, seed: int, one: Ecg = quiet, **how: Any) -> DrawnPage:
        offset_mm = tuple(np.random.default_rng(seed).uniform(-1, 1, 2))
        layout, info = layout_of(format_id, name), formats[format_id].info
        return draw_page(layout, info, one, offset_mm=offset_mm, **how)

    return draw


def shifts_of(page: Page, layout: Layout, ink: Pixels) -> list[float]:
    """What is found for each box of `layout.rows`."""
    scale = ink.shape[1] / page.known_mm[0]
    dark = (np.float32(255) - ink) / np.float32(255)
    inks, pen = raster._inks_and_pen(dark, row_ways(page, layout, ink), scale)
    lines = [fitted_line(one, pen) for one in inks]
    shifts_mm = time_shifts_mm(layout.rows, dark, inks, lines, pen, scale)
    return [shift for row in shifts_mm for shift in row]


def errors_mm(page: Page, told: Layout, ink: Pixels, truth: Layout) -> list[float]:
    """How far the first samples are found from where they were drawn."""
    due = {(b.lead, b.rhythm_strip): b.box.left_mm for b in truth.boxes}
    boxes = [b for row in told.rows for b in row]
    found = shifts_of(page, told, ink)
    return [
        b.box.left_mm + shift - due[b.lead, b.rhythm_strip]
        for b, shift in zip(boxes, found, strict=True)
    ]


def moved(layout: Layout, dx_mm: float, lean: float = 0.0) -> Layout:
    """The layout as it is found: off by `dx_mm`, its rows further the lower they are."""
    boxes = (b.shifted(dx_mm + lean * (b.baseline_mm - 100), 0.0) for b in layout.boxes)
    return replace(layout, boxes=tuple(boxes))


# A renderer draws round ends as polygons, which end up to 0.02 mm short. Where a pulse touches the
# leads' beginnings, as on the MUSE, only their right ends can be seen.
@pytest.mark.parametrize(
    ("page", "dx_mm", "lean"),
    [(PAGES[0], 0.12, 0.0), (PAGES[1], -0.15, 0.0), (PAGES[2], 0.1, 0.0), (PAGES[3], 0.2, 0.002)],
)
def test_the_first_sample_of_a_clean_image(
    page: tuple[str, str], dx_mm: float, lean: float, drawing: Drawing, page_of: Open
) -> None:
    drawn = drawing(*page, seed=1)
    image = as_read(page_of(as_png(drawn.ink_only_pdf, 300), ".png"))
    told = moved(drawn.layout, dx_mm, lean)
    off = errors_mm(image, told, image.pixels(grey=True), drawn.layout)
    assert np.max(np.abs(off)) < 0.025


def test_strokes_cut_off_square(
    drawing: Drawing, page_of: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_round = PdfCanvas.polyline

    def square(
        self: PdfCanvas,
        points: Any,
        width: float,
        rgb: Any,
        caps: bool = False,
        *rest: Any,
        **how: Any,
    ) -> None:
        drawn_round(self, points, width, rgb, False, *rest, **how)

    monkeypatch.setattr(PdfCanvas, "polyline", square)
    drawn = drawing("philips-tc30", "3x4+1R", seed=3)
    image = as_read(page_of(as_png(drawn.ink_only_pdf, 300), ".png"))
    off = errors_mm(image, moved(drawn.layout, 0.1), image.pixels(grey=True), drawn.layout)
    assert np.max(np.abs(off)) < 0.01


def test_a_scan_laid_askew(drawing: Drawing, formats: dict[str, Format], page_of: Open) -> None:
    drawn = drawing("edan-se3", "6x2+1R", seed=4)
    scan = as_read(page_of(scanned(drawn.pdf, rotation_deg=0.7, seed=4)))
    found = recognise(scan, [formats["edan-se3"]])
    level = upright(scan, found.match)
    ink = found.format.remove_grid(level, found.match.layout)
    off = errors_mm(level, found.match.layout, ink, drawn.layout)
    assert np.max(np.abs(off)) < 0.05


def test_a_real_recording(drawing: Drawing, ptbxl: Callable[[int], Ecg], page_of: Open) -> None:
    drawn = drawing("ge-mac1200", "6x2", 5, ptbxl(7))
    image = as_read(page_of(as_png(drawn.ink_only_pdf, 300), ".png"))
    off = errors_mm(image, moved(drawn.layout, -0.1), image.pixels(grey=True), drawn.layout)
    assert np.max(np.abs(off)) < 0.03


def test_empty_paper_moves_nothing(drawing: Drawing, page_of: Open) -> None:
    drawn = drawing("ge-mac1200", "6x2", seed=6)
    image = as_read(page_of(as_png(drawn.ink_only_pdf, 300), ".png"))
    paper = np.full_like(image.pixels(grey=True), 255)
    assert set(shifts_of(image, drawn.layout, paper)) == {0.0}


def test_columns_found_too_far_apart(drawing: Drawing, page_of: Open) -> None:
    """The boxes' pitch is 0.06 mm too long: also columns without an end in the open come right."""
    drawn = drawing("philips-tc30", "3x4+1R", seed=7)
    image = as_read(page_of(as_png(drawn.ink_only_pdf, 300), ".png"))
    starts = sorted({b.box.left_mm for b in drawn.layout.boxes})
    boxes = (b.shifted(0.06 * starts.index(b.box.left_mm), 0.0) for b in drawn.layout.boxes)
    told = replace(drawn.layout, boxes=tuple(boxes))
    off = errors_mm(image, told, image.pixels(grey=True), drawn.layout)
    assert np.max(np.abs(off)) < 0.025

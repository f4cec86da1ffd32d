"""Grid removal keeps the traces' ink and leaves the paper white; the grid's pitch is measured."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecgvision.grid import (
    brightest_channel,
    darkest_channel,
    ink_of_page,
    ink_of_pixels,
)
from ecgvision.grid_seen import find_grid
from ecgvision.media.views import levelled
from ecgvision.plugins import Format
from ecgvision.testing import (
    DrawnPage,
    Ecg,
    as_jpeg,
    draw_page,
    ink_truth,
    paper_truth,
    rasterise,
    scanned,
    scanned_pixels,
    synthetic_ecg,
)
from ecgvision.types import RENDER_PX_PER_MM, Page

FORMATS = ("philips-tc30", "ge-mac1200", "ge-muse", "edan-se3")
SCAN_PX_PER_MM = 200 / 25.4
LEAST_KEPT, MOST_INKED = 0.99, 0.001
LEAST_KEPT_ON_BLACK = 0.985


@dataclass(frozen=True)
class Truth:
    """Which pixels of a drawn page are ink and which are paper; the grid changes neither."""

    ink: np.ndarray
    paper: np.ndarray

    def check(self, found: np.ndarray, least_kept: float = LEAST_KEPT) -> None:
        height, width = (min(a, b) for a, b in zip(found.shape, self.ink.shape, strict=True))
        dark = found[:height, :width] < 128
        kept = dark[self.ink[:height, :width]].mean()
        inked = dark[self.paper[:height, :width]].mean()
        assert kept >= least_kept, f"{kept:.4f} of the ink kept"
        assert inked <= MOST_INKED, f"{inked:.5f} of the paper inked"


@pytest.fixture(scope="module")
def draw(formats: dict[str, Format], request: pytest.FixtureRequest) -> Callable[..., DrawnPage]:
    """Draws a page of a format from a real record, or from the synthetic one (number None)."""

    def drawn(format_id: str, number: int | None, grid: Any = None) -> DrawnPage:
        one = formats[format_id]
        source: Ecg = (
            synthetic_ecg(seed=3) if number is None else request.getfixturevalue("ptbxl")(number)
        )
        gridded = [layout for layout in one.layouts if len(layout.rows[0]) == 4]
        return draw_page((gridded or one.layouts)[0], one.info, source, grid=grid)

    return drawn


@pytest.fixture(scope="module")
def truth(draw: Callable[..., DrawnPage]) -> Iterator[Callable[..., Truth]]:
    @cache
    def of(format_id: str, number: int | None, px_per_mm: float, rotation_deg: float) -> Truth:
        page = draw(format_id, number, False)
        return Truth(
            ink_truth(page, px_per_mm, rotation_deg), paper_truth(page, px_per_mm, rotation_deg)
        )

    yield of
    of.cache_clear()


def jpeg_pixels(drawn: DrawnPage, quality: int = 75) -> np.ndarray:
    with Image.open(io.BytesIO(as_jpeg(drawn.pdf, quality))) as image:
        return np.asarray(image.convert("RGB"))


def one_bit(drawn: DrawnPage) -> np.ndarray:
    return np.where(rasterise(drawn.pdf, grey=True) < 128, 0, 255).astype(np.uint8)


# A format, a record (None: synthetic) and a grid (None: the format's own).
PAGES = [
    *[(format_id, None, None) for format_id in FORMATS[:2]],
    *[("philips-tc30", 3, grid) for grid in (None, "grey", "dotted", False)],
    *[("ge-mac1200", 17, grid) for grid in ("grey", False)],
    ("ge-muse", 30, None),
    ("edan-se3", 44, None),
    ("philips-tc30", 51, None),
]


@pytest.mark.parametrize(("format_id", "number", "grid"), PAGES)
def test_ink_stays_and_paper_is_white(
    format_id: str,
    number: int | None,
    grid: Any,
    draw: Callable[..., DrawnPage],
    truth: Callable[..., Truth],
    page_of: Callable[..., Page],
) -> None:
    drawn = draw(format_id, number, grid)
    due = truth(format_id, number, RENDER_PX_PER_MM, 0.0)
    clean = rasterise(drawn.pdf)
    due.check(ink_of_pixels(clean, RENDER_PX_PER_MM))
    due.check(ink_of_pixels(jpeg_pixels(drawn), RENDER_PX_PER_MM))
    due.check(ink_of_pixels(rasterise(drawn.pdf, grey=True), RENDER_PX_PER_MM))
    scan = page_of(scanned(drawn.pdf))
    askew = truth(format_id, number, SCAN_PX_PER_MM, 0.7)
    askew.check(ink_of_pixels(scan.pixels(), scan.px_per_mm))


@pytest.mark.parametrize(
    ("format_id", "number", "grid"),
    [("philips-tc30", 3, "black"), ("ge-mac1200", 17, "black"), ("philips-tc30", None, "black")],
)
def test_a_grid_as_black_as_ink(
    format_id: str,
    number: int | None,
    grid: Any,
    draw: Callable[..., DrawnPage],
    truth: Callable[..., Truth],
) -> None:
    drawn = draw(format_id, number, grid)
    due = truth(format_id, number, RENDER_PX_PER_MM, 0.0)
    for pixels in (rasterise(drawn.pdf), jpeg_pixels(drawn), one_bit(drawn)):
        due.check(ink_of_pixels(pixels, RENDER_PX_PER_MM), LEAST_KEPT_ON_BLACK)


@pytest.mark.parametrize(("format_id", "number"), [("philips-tc30", 3), ("ge-mac1200", 17)])
def test_one_bit_pages(
    format_id: str,
    number: int,
    draw: Callable[..., DrawnPage],
    truth: Callable[..., Truth],
) -> None:
    due = truth(format_id, number, RENDER_PX_PER_MM, 0.0)
    pixels = one_bit(draw(format_id, number, None))
    due.check(ink_of_pixels(pixels, RENDER_PX_PER_MM))


@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-mac1200"])
def test_a_levelled_scan(
    format_id: str,
    draw: Callable[..., DrawnPage],
    truth: Callable[..., Truth],
    page_of: Callable[..., Page],
) -> None:
    drawn = draw(format_id, None, None)
    level = levelled(page_of(scanned(drawn.pdf)), 0.7)
    truth(format_id, None, SCAN_PX_PER_MM, 0.0).check(ink_of_page(level))


@pytest.mark.parametrize("kind", ["paper", "shadow", "dark"])
def test_scans_that_are_not_white(
    kind: str, draw: Callable[..., DrawnPage], truth: Callable[..., Truth]
) -> None:
    """Yellow paper, a shadow that falls across the page, a scan much too dark."""
    drawn = draw("philips-tc30", None, None)
    pixels = scanned_pixels(drawn.pdf).astype(np.float64)
    fall = {
        "paper": np.array([0.98, 0.93, 0.75]),
        "shadow": np.linspace(0.72, 1.0, pixels.shape[1])[None, :, None],
        "dark": np.array(0.7),
    }[kind]
    found = ink_of_pixels((pixels * fall).round().astype(np.uint8), SCAN_PX_PER_MM)
    truth("philips-tc30", None, SCAN_PX_PER_MM, 0.7).check(found)


def test_vector_grids_are_not_drawn(
    draw: Callable[..., DrawnPage], truth: Callable[..., Truth], page_of: Callable[..., Page]
) -> None:
    ink = ink_of_page(page_of(draw("philips-tc30", None, None).pdf))
    bare = ink_of_page(page_of(draw("philips-tc30", None, False).pdf))
    np.testing.assert_array_equal(ink, bare)
    truth("philips-tc30", None, RENDER_PX_PER_MM, 0.0).check(ink)


# --- pages with nothing on them ---------------------------------------------------------------


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(850, 1100), (850, 1100, 3), (40, 60), (3, 2000), (1, 1, 3)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_plain_pages_have_no_ink(shape: tuple[int, ...], level: int) -> None:
    pixels = np.full(shape, level, np.uint8)
    ink = ink_of_pixels(pixels, SCAN_PX_PER_MM)
    assert ink.shape == shape[:2]
    assert ink.dtype == np.uint8
    assert (ink == 255).all()
    assert find_grid(pixels) is None
    assert find_grid(pixels, SCAN_PX_PER_MM) is None


@pytest.mark.parametrize("shape", [(800, 1100), (800, 1100, 3), (25, 25)])
def test_noise_does_no_harm(shape: tuple[int, ...]) -> None:
    pixels = noise(shape)
    ink = ink_of_pixels(pixels, SCAN_PX_PER_MM)
    assert ink.shape == shape[:2]
    assert find_grid(pixels) is None


def test_a_blank_scan_with_dust_stays_clean() -> None:
    pixels = np.full((1700, 2200), 250, np.uint8)
    pixels = (pixels + np.random.default_rng(1).normal(0, 3, pixels.shape)).clip(0, 255)
    assert (ink_of_pixels(pixels.astype(np.uint8), SCAN_PX_PER_MM) >= 128).mean() > 0.9999


def test_the_pixels_given_are_not_changed(draw: Callable[..., DrawnPage]) -> None:
    pixels = rasterise(draw("philips-tc30", None, None).pdf, 6.0)
    before = pixels.copy()
    first = ink_of_pixels(pixels, 6.0)
    find_grid(pixels, 6.0)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(first, ink_of_pixels(pixels, 6.0))


# --- the grid's pitch -------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("px_per_mm", [5.0, 7.874, 11.811])
@pytest.mark.parametrize("grid", [True, "grey"])
@pytest.mark.parametrize("format_id", ["philips-tc30", "edan-se3"])
def test_the_pitch_is_measured(
    format_id: str, grid: Any, px_per_mm: float, known: bool, draw: Callable[..., DrawnPage]
) -> None:
    pixels = rasterise(draw(format_id, None, grid).pdf, px_per_mm)
    seen = find_grid(pixels, px_per_mm if known else None)
    assert seen is not None
    assert seen.across_px == pytest.approx(px_per_mm, rel=0.005)
    assert seen.down_px == pytest.approx(px_per_mm, rel=0.005)


def test_the_pitch_of_a_scan(draw: Callable[..., DrawnPage]) -> None:
    pixels = scanned_pixels(draw("philips-tc30", None, True).pdf)
    seen = find_grid(pixels)
    assert seen is not None
    assert seen.across_px == pytest.approx(SCAN_PX_PER_MM, rel=0.005)


@pytest.mark.parametrize("px_per_mm", [None, 7.874])
@pytest.mark.parametrize("format_id", FORMATS)
def test_no_grid_has_no_pitch(
    format_id: str, px_per_mm: float | None, draw: Callable[..., DrawnPage]
) -> None:
    assert find_grid(rasterise(draw(format_id, None, False).pdf, 7.874), px_per_mm) is None


def test_the_channels_of_many_rows() -> None:
    """More rows than are looked at at once, and some that are left over."""
    pixels = np.random.default_rng(5).integers(0, 256, (150, 7, 3), np.uint8)
    assert np.array_equal(brightest_channel(pixels), pixels.max(axis=2))
    assert np.array_equal(darkest_channel(pixels), pixels.min(axis=2))

"""How drawn pages differ from one another, as exports and scans of one machine do.

What a page looks like is decided by the seed, the record and the format alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.testing import SYNTHETIC_PATIENT, GridStyle, draw_page, scanned

if TYPE_CHECKING:
    from ecgvision.plugins import Format
    from ecgvision.testing.synthetic import Ecg
    from ecgvision.types import RGB, FormatInfo, Layout

# How pages differ, from least to most. Pens, places and colours are those of exports that the
# formats' tests allow for; nobody has measured how they are distributed.
_PEN_MM = (0.22, 0.42)
_OFFSET_MM = 2.0
_DECIMALS = (2, 4)
_COLOUR_STEP = 3  # the study gives its grid's colours to so many levels
_MAJOR_MM, _MINOR_MM = (0.15, 0.28), (0.08, 0.14)
_DPI = (150, 200)
_ROTATION_DEG = 1.2
_BLUR_PX, _NOISE, _JPEG = (0.4, 0.9), (2.0, 8.0), (60, 92)
_GREY_SHARE = 0.3
# A record may be that much shorter than its page.
_SLACK_S = 0.05


@dataclass(frozen=True, slots=True)
class ScanStyle:
    """How a page was scanned, as `ecgvision.testing.scanned` takes it."""

    dpi: int
    rotation_deg: float
    blur_px: float
    noise_sigma: float
    jpeg_quality: int
    grey: bool
    seed: int


@dataclass(frozen=True, slots=True)
class PageStyle:
    """How one page looks: a layout of its format, as drawn by one machine on one day."""

    layout: Layout
    pen_mm: float
    offset_mm: tuple[float, float]
    decimals: int
    patient_text: tuple[str, ...]
    footer: bool
    grid: GridStyle | None
    scan: ScanStyle | None


def page_style(
    chosen: Format, record: str, seconds: float, seed: int, scan_share: float
) -> PageStyle:
    """How the page of a record of so many seconds looks: the same for the same arguments.

    Layouts that print more seconds are for longer records, where there is another.
    """
    told = f"{seed}\0{chosen.info.id}\0{record}".encode()
    rng = np.random.default_rng(list(hashlib.sha256(told).digest()))
    longest_s = [max(box.stop_s for box in layout.boxes) for layout in chosen.layouts]
    most_s = max(seconds + _SLACK_S, min(longest_s))
    layouts = [one for one, s in zip(chosen.layouts, longest_s, strict=True) if s <= most_s]
    layout = layouts[int(rng.integers(len(layouts)))]
    has_grid = bool(chosen.info.grid_rgb) if layout.grid is None else layout.grid
    return PageStyle(
        layout=layout,
        pen_mm=float(rng.uniform(*_PEN_MM)),
        offset_mm=(float(rng.uniform(-1, 1)) * _OFFSET_MM, float(rng.uniform(-1, 1)) * _OFFSET_MM),
        decimals=int(rng.integers(_DECIMALS[0], _DECIMALS[1] + 1)),
        patient_text=SYNTHETIC_PATIENT[: int(rng.integers(1, len(SYNTHETIC_PATIENT) + 1))],
        footer=bool(rng.random() < 0.9),
        grid=_grid_style(rng, chosen.info) if has_grid else None,
        scan=_scan_style(rng) if rng.random() < scan_share else None,
    )


def _grid_style(rng: np.random.Generator, info: FormatInfo) -> GridStyle:
    """The format's own grid, its colours a few levels and its lines a little off."""

    def near(rgb: RGB) -> RGB:
        red, green, blue = np.clip(np.array(rgb) + rng.integers(-1, 2, 3) * _COLOUR_STEP, 0, 255)
        return int(red), int(green), int(blue)

    style = GridStyle.of(info)
    return replace(
        style,
        major_rgb=near(style.major_rgb),
        minor_rgb=near(style.minor_rgb),
        major_mm=float(rng.uniform(*_MAJOR_MM)),
        minor_mm=float(rng.uniform(*_MINOR_MM)),
    )


def _scan_style(rng: np.random.Generator) -> ScanStyle:
    return ScanStyle(
        dpi=int(rng.integers(_DPI[0], _DPI[1] + 1)),
        rotation_deg=float(rng.uniform(-1, 1)) * _ROTATION_DEG,
        blur_px=float(rng.uniform(*_BLUR_PX)),
        noise_sigma=float(rng.uniform(*_NOISE)),
        jpeg_quality=int(rng.integers(_JPEG[0], _JPEG[1] + 1)),
        grey=bool(rng.random() < _GREY_SHARE),
        seed=int(rng.integers(2**31)),
    )


def page_pdf(chosen: Format, ecg: Ecg, style: PageStyle) -> bytes:
    """The page as a PDF: of vectors, or of nothing but its scan."""
    pdf = draw_page(
        style.layout,
        chosen.info,
        ecg,
        pen_mm=style.pen_mm,
        grid=style.grid or False,
        offset_mm=style.offset_mm,
        patient_text=style.patient_text,
        footer=style.footer,
        decimals=style.decimals,
    ).pdf
    scan = style.scan
    if scan is None:
        return pdf
    return scanned(
        pdf,
        dpi=scan.dpi,
        rotation_deg=scan.rotation_deg,
        blur_px=scan.blur_px,
        noise_sigma=scan.noise_sigma,
        jpeg_quality=scan.jpeg_quality,
        grey=scan.grey,
        seed=scan.seed,
    )

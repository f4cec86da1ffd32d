"""What may stay of a page of pixels: the leads' area, without the print that is in it.

Pixels are kept or made white, never changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecgvision.errors import PageError
from ecgvision.leadarea import lead_area
from ecgvision.media.redaction import PixelSheet
from ecgvision.media.views import levelled_pixels, own_pixels
from ecgvision.types import Match, Page

if TYPE_CHECKING:
    from ecgvision.types import Pixels

# A page of whose leads' area more than this share would go holds too much that is not known.
_MOST_LOST = 0.35


def pixel_sheet(
    page: Page, level: Page, match: Match, ink: Pixels, gain_mm_per_mv: float
) -> PixelSheet:
    """The redacted page of a page of pixels, lying and sized as the page itself.

    `level` is the page upright and level, `match.layout` as measured and calibrated on it, `ink`
    the level page without its grid, (H, W) ``uint8``. Raises `PageError` "redaction-unsure".
    """
    area = lead_area(level, match.layout, ink, gain_mm_per_mv)
    if area.printed_over:
        leads = " and ".join(dict.fromkeys(area.printed_over))
        raise _unsure(level, f"print over the trace of {leads}, or more lines than one")
    if area.lost > _MOST_LOST:
        raise _unsure(level, f"{area.lost:.0%} of it that is not known to be any of these")
    hidden = np.where(area.kept, 0, 255).astype(np.uint8)
    if match.rotation_deg:
        hidden = levelled_pixels(hidden, -match.rotation_deg)
    hidden = np.rot90(hidden, match.quarter_turns % 4)
    pixels = own_pixels(page).copy()
    height, width = (min(a, b) for a, b in zip(pixels.shape[:2], hidden.shape, strict=True))
    pixels[height:], pixels[:, width:] = 255, 255
    pixels[:height, :width][hidden[:height, :width] >= 128] = 255
    return PixelSheet(_size_mm(page, match), pixels)


def _size_mm(page: Page, match: Match) -> tuple[float, float]:
    if page.size_mm is not None:
        return page.size_mm
    width_mm, height_mm = match.page_mm or match.layout.page_mm
    return (height_mm, width_mm) if match.quarter_turns % 2 else (width_mm, height_mm)


def _unsure(level: Page, found: str) -> PageError:
    return PageError(
        "redaction-unsure",
        level.source,
        level.number,
        expected="an area of leads with hardly anything but grid, traces and lead names",
        found=found,
        hint="a page like this cannot be redacted; convert it and pass on its signals",
    )

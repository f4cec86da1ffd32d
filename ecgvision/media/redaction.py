"""Writes redacted pages as a new PDF: lines, dots, words and pixels that were chosen, nothing else.

Nothing of the old file is copied. There is no metadata, no date and no identifier, and the same
pages give the same file byte for byte.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ecgvision.media.canvas import PdfCanvas
from ecgvision.media.mupdf import pymupdf
from ecgvision.types import RGB, Box, Stroke

if TYPE_CHECKING:
    from ecgvision.types import Pixels

_BLACK: RGB = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Word:
    """A word to be set: the top left corner of its capitals, and how high these are, in mm."""

    text: str
    x_mm: float
    y_mm: float
    height_mm: float


@dataclass(frozen=True, slots=True)
class LineSheet:
    """A page of lines: painted are the `dots` (filled boxes), then `lines`, then `words`."""

    size_mm: tuple[float, float]
    lines: tuple[Stroke, ...] = field(repr=False)
    dots: tuple[tuple[Box, RGB], ...] = field(default=(), repr=False)
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class PixelSheet:
    """A page of pixels: (H, W, 3) RGB or (H, W) grey ``uint8`` that fill it."""

    size_mm: tuple[float, float]
    pixels: Pixels = field(repr=False)


Sheet = LineSheet | PixelSheet


class SheetWriter:
    """A PDF that grows by sheets, and keeps them packed."""

    def __init__(self) -> None:
        self._document = pymupdf.open()

    def add(self, sheet: Sheet) -> None:
        """One more page. It has its own resources, so that a scan stays its page's only image."""
        with pymupdf.open(stream=page_pdf(sheet), filetype="pdf") as page:
            self._document.insert_pdf(page)

    def tobytes(self) -> bytes:
        """The finished file. Raises `ValueError` without a page."""
        # The library adds its own name as a producer: the file is to have no metadata at all.
        self._document.xref_set_key(self._document.pdf_catalog(), "Info", "null")
        data: bytes = self._document.tobytes(garbage=1, no_new_id=True)
        return data

    def close(self) -> None:
        self._document.close()


def page_pdf(sheet: Sheet) -> bytes:
    """A PDF of this page alone."""
    canvas = PdfCanvas(sheet.size_mm)
    if isinstance(sheet, PixelSheet):
        canvas.image(_png_of(sheet.pixels), Box(0.0, 0.0, *sheet.size_mm))
        return canvas.tobytes()
    for box, rgb in sheet.dots:
        canvas.rect(box, rgb)
    for line in sheet.lines:
        canvas.polyline(line.points_mm, line.width_mm, line.rgb)
    for word in sheet.words:
        canvas.text(word.text, word.x_mm, word.y_mm, word.height_mm, _BLACK)
    return canvas.tobytes()


def _png_of(pixels: Pixels) -> bytes:
    """The pixels without loss; grey where all of them are, as that is a third of the size."""
    if pixels.ndim == 3 and bool((pixels == pixels[:, :, :1]).all()):
        pixels = np.ascontiguousarray(pixels[:, :, 0])
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()

"""Pages of PDF files, read with PyMuPDF; poppler may draw their pixels instead."""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecgvision.errors import UnreadableError
from ecgvision.media import scan as scans
from ecgvision.media.embedded import check_images
from ecgvision.media.filedata import SourceFile
from ecgvision.media.mupdf import pymupdf
from ecgvision.media.pagecost import refuse_long_ways, refuse_slow_drawing, refuse_too_complex
from ecgvision.media.pdfcheck import (
    check_boxes,
    damaged_pdf,
    empty_page,
    losses_refused,
    opened,
)
from ecgvision.media.raster import (
    PIXEL_LIMIT,
    RENDER_LIMIT,
    NativeCache,
    as_kind,
    clip_shape,
    cut,
    paper,
    reduced,
    refuse_too_large,
)
from ecgvision.media.vectors import MM_PER_PT, Frame, strokes_of, texts_of
from ecgvision.types import RENDER_PX_PER_MM, Box, Page, Stroke, Text

if TYPE_CHECKING:
    from ecgvision.types import Pixels

_CHECK_PX_PER_MM = 30 / 25.4
_LEAST_MM = 5.0
# MuPDF cuts lines at the edge of what it draws and then rounds their ends: drawn with a margin,
# a clip differs from the whole page by less than a tenth of a pixel, and mostly by nothing.
_MARGIN_PX = 8


class PdfFile:
    """An open PDF; refuses what cannot be shown whole."""

    def __init__(self, file: SourceFile, renderer: Literal["pymupdf", "poppler"]) -> None:
        if renderer == "poppler" and shutil.which("pdftoppm") is None:
            raise UnreadableError(
                "renderer-missing",
                file.source,
                None,
                expected="poppler's pdftoppm on the path",
                found="no such program",
                hint="install poppler-utils, or use renderer='pymupdf'",
            )
        pymupdf.TOOLS.mupdf_display_errors(False)
        pymupdf.TOOLS.mupdf_display_warnings(False)
        self._file, self._source, self._renderer = file, file.source, renderer
        self._document = opened(file)
        self.page_count = int(self._document.page_count)

    def page(self, number: int) -> Page:
        if self._file.data is None or self._renderer == "poppler":  # both read it from disk
            self._file.check_unchanged(number)
        with losses_refused(self._source, number):
            page = self._document.load_page(number - 1)
            check_boxes(self._document, page, self._source, number)
            return self._page(page, number)

    def _page(self, page: Any, number: int) -> Page:
        shown_pt = (float(page.rect.width), float(page.rect.height))
        size_mm = (shown_pt[0] * MM_PER_PT, shown_pt[1] * MM_PER_PT)
        pixels = size_mm[0] * size_mm[1] * RENDER_PX_PER_MM**2
        refuse_too_large(pixels, RENDER_LIMIT, self._source, number)
        if min(size_mm) < _LEAST_MM:
            raise empty_page(self._source, number, f"{size_mm[0]:.1f} x {size_mm[1]:.1f} mm")
        refuse_too_complex(self._document, page, self._source, number)
        page.read_contents()  # finds damage now instead of at the first stroke
        check_images(self._document, page, self._source, number)
        frame = Frame(page.rotation, shown_pt)
        scan = scans.find_scan(page, frame, size_mm)
        drawn = Drawn(self._document, page, self._source, number, self._renderer)
        if scan is None:
            return Page(self._source, number, "vector", size_mm, None, VectorReader(drawn, frame))
        for image in scan.images:
            count = image.size_px[0] * image.size_px[1]
            refuse_too_large(count, PIXEL_LIMIT, self._source, number, "an embedded image")
        size_px, own_mm = scans.page_frame(scan, size_mm)
        refuse_too_large(size_px[0] * size_px[1], PIXEL_LIMIT, self._source, number)
        stretch = (own_mm[0] / size_mm[0], own_mm[1] / size_mm[1])
        frame = Frame(page.rotation, shown_pt, stretch)
        reader = ScanReader(drawn, frame, scan, size_px, own_mm, stretch)
        return Page(self._source, number, "scan", own_mm, size_px, reader)

    def close(self) -> None:
        self._document.close()


class Drawn:
    """One PDF page and the means to draw it."""

    def __init__(
        self,
        document: Any,
        page: Any,
        source: Path,
        number: int,
        renderer: Literal["pymupdf", "poppler"],
    ) -> None:
        self.document, self.page, self.source, self.number = document, page, source, number
        self.renderer, self._checked = renderer, False
        self._by_poppler: tuple[tuple[float, bool], Pixels] | None = None

    def pixels(
        self, px_per_mm: float, clip: Box, grey: bool, stretch: tuple[float, float] = (1, 1)
    ) -> Pixels:
        """The clip drawn at `px_per_mm`; `stretch` is applied to the page before."""
        shape = clip_shape(clip, px_per_mm)
        refuse_too_large(shape[0] * shape[1], PIXEL_LIMIT, self.source, self.number)
        self._refuse_slow()
        if self.renderer == "poppler":
            return cut(self._poppler(px_per_mm, grey), px_per_mm, px_per_mm, clip)
        with losses_refused(self.source, self.number):
            return self._mupdf(px_per_mm, clip, grey, stretch, shape)

    def _refuse_slow(self) -> None:
        """Once for each page: its cost does not depend on the clip."""
        if not self._checked:
            with losses_refused(self.source, self.number):
                refuse_slow_drawing(self.page, self.source, self.number)
            self._checked = True

    @cached_property
    def _display_list(self) -> Any:
        return self.page.get_displaylist()

    def _mupdf(
        self,
        px_per_mm: float,
        clip: Box,
        grey: bool,
        stretch: tuple[float, float],
        shape: tuple[int, int],
    ) -> Pixels:
        left, top = clip.left_mm * px_per_mm, clip.top_mm * px_per_mm
        # Only the fraction of a pixel goes into the matrix: clips that start on a pixel are
        # drawn exactly as the whole page is.
        x0, y0 = _whole(left), _whole(top)
        x_scale, y_scale = (px_per_mm * MM_PER_PT * part for part in stretch)
        matrix = pymupdf.Matrix(x_scale, 0, 0, y_scale, _part(x0 - left), _part(y0 - top))
        wanted = pymupdf.Rect(
            (left - _MARGIN_PX) / x_scale,
            (top - _MARGIN_PX) / y_scale,
            (left + shape[1] + _MARGIN_PX) / x_scale,
            (top + shape[0] + _MARGIN_PX) / y_scale,
        )
        out = paper(shape, grey)
        if (wanted & self.page.rect).is_empty:
            return out
        pixmap = self._display_list.get_pixmap(
            matrix=matrix,
            colorspace=pymupdf.csGRAY if grey else pymupdf.csRGB,
            alpha=0,
            clip=wanted,
        )
        _paste(out, scans.array_of(pixmap), pixmap.x - x0, pixmap.y - y0)
        return out

    def _find_losses(self) -> None:
        """Poppler draws what it can and says nothing; MuPDF tells what is lost."""
        with losses_refused(self.source, self.number):
            self._display_list.get_pixmap(
                matrix=pymupdf.Matrix(0.4, 0.4), colorspace=pymupdf.csGRAY, alpha=0
            )

    def _poppler(self, px_per_mm: float, grey: bool) -> Pixels:
        """The whole page by poppler; the last one is kept, for clips come in series."""
        key = (px_per_mm, grey)
        if self._by_poppler is None:
            self._find_losses()
        if self._by_poppler is None or self._by_poppler[0] != key:
            self._by_poppler = None
            self._by_poppler = (key, drawn_by_poppler(self.source, self.number, px_per_mm, grey))
        return self._by_poppler[1]


class VectorReader:
    """A PDF page that is drawn by lines."""

    def __init__(self, drawn: Drawn, frame: Frame) -> None:
        self._drawn, self._frame = drawn, frame

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        _ = self._strokes  # refuses those that would take minutes to draw
        return self._drawn.pixels(px_per_mm, clip, grey)

    def strokes(self) -> tuple[Stroke, ...]:
        return self._strokes

    def texts(self) -> tuple[Text, ...]:
        return self._texts

    @cached_property
    def _strokes(self) -> tuple[Stroke, ...]:
        drawn, shown = self._drawn, self._drawn.page.rect
        with losses_refused(drawn.source, drawn.number):
            strokes = strokes_of(drawn.page.get_cdrawings(), self._frame)
            size_mm = (float(shown.width) * MM_PER_PT, float(shown.height) * MM_PER_PT)
            refuse_long_ways(strokes, size_mm, drawn.source, drawn.number)
            return strokes

    @cached_property
    def _texts(self) -> tuple[Text, ...]:
        with losses_refused(self._drawn.source, self._drawn.number):
            return texts_of(self._drawn.page.get_text("words", sort=False), self._frame)


class ScanReader(VectorReader):
    """A PDF page that is one scanned image (or several, side by side)."""

    def __init__(
        self,
        drawn: Drawn,
        frame: Frame,
        scan: scans.Scan,
        size_px: tuple[int, int],
        size_mm: tuple[float, float],
        stretch: tuple[float, float],
    ) -> None:
        super().__init__(drawn, frame)
        self._scan, self._size_px, self._size_mm = scan, size_px, size_mm
        self._stretch = stretch
        self._px_per_mm = size_px[0] / size_mm[0]
        self._trusted: bool | None = None if drawn.renderer == "pymupdf" else False
        self.native = NativeCache(self._load)

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        return cut(self.native(grey), self._px_per_mm, px_per_mm, clip)

    def _load(self, grey: bool) -> Pixels:
        if self._trusted is None and self._is_plain():
            self._trusted = True
        own = self._own(grey) if self._trusted is not False else None
        if own is not None and self._trusted is None:
            self._trusted = self._as_drawn(own)
        if own is not None and self._trusted:
            return own
        self._trusted = False
        return self._drawn.pixels(
            self._px_per_mm, Box(0.0, 0.0, *self._size_mm), grey, self._stretch
        )

    def _is_plain(self) -> bool:
        xref, drawn = self._scan.xref, self._drawn
        return xref is not None and scans.is_plain(drawn.document, drawn.page, xref)

    def _own(self, grey: bool) -> Pixels | None:
        image, xref = self._scan.images[0], self._scan.xref
        if xref is None:
            return None
        pixels = None
        with (
            losses_refused(self._drawn.source, self._drawn.number),
            # Where this fails, drawing the page tells whether the file is at fault.
            suppress(RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase),
        ):
            pixels = scans.own_pixels(self._drawn.document, xref, image, grey)
        return (
            None if pixels is None else scans.on_page(pixels, image, self._size_px, self._px_per_mm)
        )

    def _as_drawn(self, own: Pixels) -> bool:
        """Whether the image's pixels look as the page does: masks and the like may say no."""
        clip = Box(0.0, 0.0, *self._size_mm)
        # Whole pixels first: half way is quick, and the rest is little.
        factor = max(1, int(self._px_per_mm / _CHECK_PX_PER_MM / 2))
        grey = as_kind(reduced(own, factor), True)
        small = cut(grey, self._px_per_mm / factor, _CHECK_PX_PER_MM, clip)
        shown = self._drawn.pixels(_CHECK_PX_PER_MM, clip, True, self._stretch)
        return scans.agree(small, shown)


def drawn_by_poppler(source: Path, number: int, px_per_mm: float, grey: bool) -> Pixels:
    """A page by poppler, through pdf2image as the study's code does."""
    from pdf2image import convert_from_path
    from pdf2image import exceptions as failures

    dpi: Any = px_per_mm * 25.4  # declared as int, but handed on to pdftoppm, which takes any
    try:
        (image,) = convert_from_path(
            source.absolute(),
            dpi=dpi,
            first_page=number,
            last_page=number,
            grayscale=grey,
            use_cropbox=True,
            timeout=120,
        )
    except (failures.PDFInfoNotInstalledError, FileNotFoundError) as error:
        raise UnreadableError(
            "renderer-missing",
            source,
            number,
            expected="poppler",
            found="no such program",
            hint="install poppler-utils, or use renderer='pymupdf'",
        ) from error
    except Exception as error:  # pdf2image has no base class for its errors
        raise damaged_pdf(source, number, "a page that poppler cannot draw") from error
    return np.array(image.convert("L" if grey else "RGB"), np.uint8)


def _whole(position: float) -> int:
    """The pixel a position falls in; a hair before the next pixel is the next pixel."""
    return math.floor(position + 1e-3)


def _part(shift: float) -> float:
    """A shift by part of a pixel; what is only rounding is none."""
    return shift if abs(shift) > 1e-3 else 0.0


def _paste(out: Pixels, drawn: Pixels, left: int, top: int) -> None:
    """Put `drawn` at (left, top) of `out`, where they overlap."""
    y0, y1 = max(0, top), min(out.shape[0], top + drawn.shape[0])
    x0, x1 = max(0, left), min(out.shape[1], left + drawn.shape[1])
    if y0 < y1 and x0 < x1:
        out[y0:y1, x0:x1] = drawn[y0 - top : y1 - top, x0 - left : x1 - left]

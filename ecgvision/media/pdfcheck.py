"""What a PDF must be like before anything is read from it: whole, open, of a sane size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecgvision.errors import UnreadableError
from ecgvision.media.mupdf import pymupdf
from ecgvision.media.raster import RENDER_LIMIT, refuse_too_large
from ecgvision.media.vectors import MM_PER_PT
from ecgvision.types import RENDER_PX_PER_MM

# What MuPDF reports when part of a page is lost. A wrong checksum at the end loses nothing.
_LOST = re.compile(
    r"zlib error(?!: incorrect data check)|treating as end of file|premature end|truncated"
)
_AGAIN = "copy or export the file again"


@contextmanager
def losses_refused(source: Path, number: int) -> Iterator[None]:
    """Raise `UnreadableError` (page-damaged) where MuPDF had to leave something out."""
    pymupdf.TOOLS.reset_mupdf_warnings()
    try:
        yield
    except UnreadableError:
        raise
    except (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase) as error:
        raise damaged_pdf(source, number, "a page that cannot be drawn") from error
    if _LOST.search(pymupdf.TOOLS.mupdf_warnings()):
        raise damaged_pdf(source, number, "a page of which parts are lost")


def opened(source: Path) -> Any:
    try:
        document = pymupdf.open(**_openable(source), filetype="pdf")
    except (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase) as error:
        raise damaged_pdf(source, None, "one that cannot be opened") from error
    if document.needs_pass:
        raise _refused(
            document,
            "pdf-encrypted",
            source,
            "a PDF that opens without a password",
            "one that asks for it",
            "save a copy without a password",
        )
    if document.is_repaired:
        raise _refused(
            document,
            "pdf-damaged",
            source,
            "a whole PDF",
            "one that stops early or has a broken index",
            _AGAIN,
        )
    if document.page_count < 1:
        raise _refused(document, "pdf-no-pages", source, "a PDF with pages", "no page", _AGAIN)
    return document


def _openable(source: Path) -> dict[str, Any]:
    """By its name, which leaves a large file on disk; MuPDF only takes names that are UTF-8."""
    try:
        str(source).encode("utf-8")
    except UnicodeEncodeError:
        return {"stream": source.read_bytes()}
    return {"filename": source}


def _refused(
    document: Any, code: str, source: Path, expected: str, found: str, hint: str
) -> UnreadableError:
    document.close()
    return UnreadableError(code, source, None, expected=expected, found=found, hint=hint)


def damaged_pdf(source: Path, number: int | None, found: str) -> UnreadableError:
    code = "pdf-damaged" if number is None else "page-damaged"
    return UnreadableError(code, source, number, expected="a whole PDF", found=found, hint=_AGAIN)


def empty_page(source: Path, number: int, found: str) -> UnreadableError:
    return UnreadableError(
        "page-empty-size", source, number, expected="a page with a size", found=found, hint=_AGAIN
    )


def check_boxes(document: Any, page: Any, source: Path, number: int) -> None:
    """Refuse impossible boxes, for which MuPDF silently takes US Letter instead."""
    box = _inherited(document, page.xref, "MediaBox")
    if box is None:
        raise empty_page(source, number, "no MediaBox")
    if "null" in box:
        raise empty_page(source, number, "a MediaBox that is not four numbers")
    media = _four(box)
    if media is None:
        return  # references to numbers elsewhere: what MuPDF makes of them has to do
    crop = _four(_inherited(document, page.xref, "CropBox") or "") or media
    width = min(media[2], crop[2]) - max(media[0], crop[0])
    height = min(media[3], crop[3]) - max(media[1], crop[1])
    if width <= 0 or height <= 0:
        raise empty_page(source, number, "MediaBox and CropBox without an area")
    unit = _number(document.xref_get_key(page.xref, "UserUnit")[1]) or 1.0
    pixels = width * height * (unit * MM_PER_PT * RENDER_PX_PER_MM) ** 2
    refuse_too_large(pixels, RENDER_LIMIT, source, number)


def _inherited(document: Any, xref: int, key: str) -> str | None:
    for _ in range(64):  # page trees are shallow; broken ones may go round in circles
        kind, value = document.xref_get_key(xref, key)
        if kind == "array":
            return str(value)
        if kind == "xref":
            return str(document.xref_object(int(value.split()[0]), compressed=True))
        kind, value = document.xref_get_key(xref, "Parent")
        if kind != "xref":
            return None
        xref = int(value.split()[0])
    return None


def _four(box: str) -> tuple[float, float, float, float] | None:
    numbers = [_number(part) for part in box.strip("[] \n").split()]
    if len(numbers) != 4:
        return None
    x0, y0, x1, y1 = numbers
    if x0 is None or y0 is None or x1 is None or y1 is None:
        return None
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

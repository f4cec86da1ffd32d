"""What a PDF must be like before anything is read from it: whole, open, of a sane size."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecgvision.errors import UnreadableError
from ecgvision.media.filedata import SourceFile
from ecgvision.media.mupdf import pymupdf
from ecgvision.media.pdfkeys import inherited_array, number_of
from ecgvision.media.raster import RENDER_LIMIT, refuse_too_large
from ecgvision.media.vectors import MM_PER_PT
from ecgvision.types import RENDER_PX_PER_MM

# What MuPDF reports when part of a page is lost. A wrong checksum at the end loses nothing.
_LOST = re.compile(
    r"zlib error(?!: incorrect data check)|treating as end of file|premature end|truncated"
    r"|[Ii]gnoring error during interpretation"
)
# What PyMuPDF raises where it cannot go on.
_MUPDF_ERRORS = (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase)

_AGAIN = "copy or export the file again"


@contextmanager
def losses_refused(source: Path, number: int) -> Iterator[None]:
    """Raise `UnreadableError` (page-damaged) where MuPDF had to leave something out."""
    pymupdf.TOOLS.reset_mupdf_warnings()
    try:
        yield
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:
        if "alloc" in str(error):  # the file asks for more than there is, or may be taken
            raise MemoryError from error
        if not isinstance(error, _MUPDF_ERRORS) and not _theirs(error):
            raise
        raise damaged_pdf(source, number, "a page that cannot be drawn") from error
    if _LOST.search(pymupdf.TOOLS.mupdf_warnings()):
        raise damaged_pdf(source, number, "a page of which parts are lost")


def _theirs(error: Exception) -> bool:
    """Whether PyMuPDF itself stumbled: names of objects may be bytes that it cannot handle."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Path(where.filename).parent.name == "pymupdf"


def opened(file: SourceFile) -> Any:
    """The PDF, opened; raises `UnreadableError` where it is locked, broken or without pages."""
    source = file.source
    by = {"filename": source} if file.data is None else {"stream": file.data}
    try:
        document = pymupdf.open(**by, filetype="pdf")
    except Exception as error:  # also what PyMuPDF itself stumbles over
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
    count = _page_count(document)  # to count is to read: only then the index may turn out broken
    if document.is_repaired:
        raise _refused(
            document,
            "pdf-damaged",
            source,
            "a whole PDF",
            "one that stops early or has a broken index",
            _AGAIN,
        )
    # Each page is an object of its own: more pages than objects are a lie.
    if count is None or count >= document.xref_length():
        raise _refused(
            document, "pdf-damaged", source, "a whole PDF", "impossible numbers of pages", _AGAIN
        )
    if count < 1:
        raise _refused(document, "pdf-no-pages", source, "a PDF with pages", "no page", _AGAIN)
    return document


def _page_count(document: Any) -> int | None:
    try:
        return int(document.page_count)
    except Exception:
        return None


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
    box = inherited_array(document, page.xref, "MediaBox")
    if box is None:
        raise empty_page(source, number, "no MediaBox")
    if "null" in box:
        raise empty_page(source, number, "a MediaBox that is not four numbers")
    media = _four(box)
    if media is None:
        return  # references to numbers elsewhere: what MuPDF makes of them has to do
    crop = _four(inherited_array(document, page.xref, "CropBox") or "") or media
    width = min(media[2], crop[2]) - max(media[0], crop[0])
    height = min(media[3], crop[3]) - max(media[1], crop[1])
    if width <= 0 or height <= 0:
        raise empty_page(source, number, "MediaBox and CropBox without an area")
    unit = number_of(document.xref_get_key(page.xref, "UserUnit")[1]) or 1.0
    pixels = width * height * (unit * MM_PER_PT * RENDER_PX_PER_MM) ** 2
    refuse_too_large(pixels, RENDER_LIMIT, source, number)


def _four(box: str) -> tuple[float, float, float, float] | None:
    numbers = [number_of(part) for part in box.strip("[] \n").split()]
    if len(numbers) != 4:
        return None
    x0, y0, x1, y1 = numbers
    if x0 is None or y0 is None or x1 is None or y1 is None:
        return None
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

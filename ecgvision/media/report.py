"""`open_report`: any file a hospital sends, told apart by its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from ecgvision.errors import UnreadableError
from ecgvision.media.filedata import SourceFile
from ecgvision.types import Page

Renderer = Literal["pymupdf", "poppler"]

# No report has so many pages; a file that says so, or is made to, would be read for days.
_MOST_PAGES = 100_000

_IMAGE_MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
    b"BM",
)


class _OpenFile(Protocol):
    page_count: int

    def page(self, number: int) -> Page: ...

    def close(self) -> None: ...


class Report:
    """An open report. Use it as a context manager; pages can be read until it is closed.

    Not to be shared between threads or processes: every worker opens its own.
    """

    def __init__(self, source: SourceFile, file: _OpenFile) -> None:
        self.source = source.source
        self._source_file, self._file = source, file

    @property
    def sha256(self) -> str:
        """The SHA-256, in hex, of the very bytes that are read."""
        return self._source_file.sha256

    @property
    def page_count(self) -> int:
        return self._file.page_count

    def page(self, number: int) -> Page:
        """Page `number`, from 1. Raises `UnreadableError` where this page cannot be read."""
        if not 1 <= number <= self.page_count:
            raise UnreadableError(
                "page-missing",
                self.source,
                number,
                expected=f"a page from 1 to {self.page_count}",
                found=f"{number}",
                hint="ask for a page that the file has",
            )
        return self._file.page(number)

    def pages(self) -> Iterator[Page]:
        """All pages in order; raises at the first that cannot be read."""
        for number in range(1, self.page_count + 1):
            yield self.page(number)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_report(path: str | Path, *, renderer: Renderer = "pymupdf") -> Report:
    """Open a report: PDF, PNG, JPEG, TIFF (also of many pages) or BMP.

    The first bytes of the file decide, never its name. `renderer` says who draws the pixels of
    PDF pages: PyMuPDF, or poppler as the study's own code did (ten times slower). Raises
    `UnreadableError` with a stable `code` where the file cannot be used.

    >>> with open_report("report.pdf") as report:  # doctest: +SKIP
    ...     grey = report.page(1).pixels(grey=True)
    """
    file = SourceFile(Path(path))
    opened: _OpenFile
    if _kind_of(file) == "image":
        from ecgvision.media.image import ImageFile

        opened = ImageFile(file)
    else:
        from ecgvision.media.pdf import PdfFile  # the PDF library is loaded for PDFs only

        opened = PdfFile(file, renderer)
    if opened.page_count > _MOST_PAGES:
        opened.close()
        raise UnreadableError(
            "file-too-large",
            file.source,
            None,
            expected=f"a report of at most {_MOST_PAGES:,} pages",
            found=f"{opened.page_count:,} pages",
            hint="split the file",
        )
    return Report(file, opened)


def _kind_of(file: SourceFile) -> Literal["pdf", "image"]:
    """What the first bytes say; raises `UnreadableError` where that is nothing known."""
    if file.head.startswith(_IMAGE_MAGIC):
        return "image"
    if b"%PDF-" in file.head:
        return "pdf"
    raise UnreadableError(
        "file-type-unknown",
        file.source,
        None,
        expected="a PDF, PNG, JPEG, TIFF or BMP file",
        found="other content, whatever the file is called",
        hint="export the report as PDF or as an image",
    )

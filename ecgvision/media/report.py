"""`open_report`: any file a hospital sends, told apart by its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from ecgvision.errors import UnreadableError
from ecgvision.types import Page

Renderer = Literal["pymupdf", "poppler"]

# The PDF standard lets its header stand anywhere in the first kilobyte.
_HEAD_BYTES = 1024

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

    def __init__(self, source: Path, file: _OpenFile) -> None:
        self.source = source
        self._file = file

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
    source = Path(path)
    kind = _kind_of(source)
    if kind == "image":
        from ecgvision.media.image import ImageFile

        return Report(source, ImageFile(source))
    from ecgvision.media.pdf import PdfFile  # the PDF library is loaded for PDFs only

    return Report(source, PdfFile(source, renderer))


def _kind_of(source: Path) -> Literal["pdf", "image"]:
    """What the first bytes say; raises `UnreadableError` where that is nothing known."""
    head = _head(source)
    if head.startswith(_IMAGE_MAGIC):
        return "image"
    if b"%PDF-" in head:
        return "pdf"
    raise UnreadableError(
        "file-type-unknown",
        source,
        None,
        expected="a PDF, PNG, JPEG, TIFF or BMP file",
        found="other content, whatever the file is called",
        hint="export the report as PDF or as an image",
    )


def _head(source: Path) -> bytes:
    if source.is_dir():
        raise UnreadableError(
            "file-is-directory",
            source,
            None,
            expected="a file",
            found="a folder",
            hint="name the file inside it",
        )
    try:
        with source.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise UnreadableError(
            "file-missing",
            source,
            None,
            expected="a file",
            found="nothing of that name",
            hint="check the path",
        ) from error
    except (OSError, ValueError) as error:
        raise UnreadableError(
            "file-unreadable",
            source,
            None,
            expected="a file that can be read",
            found=type(error).__name__,
            hint="check the path and its permissions",
        ) from error
    if not head:
        raise UnreadableError(
            "file-empty",
            source,
            None,
            expected="a report",
            found="a file of 0 bytes",
            hint="copy or export the file again",
        )
    return head

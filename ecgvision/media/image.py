"""Pages that are image files: PNG, JPEG, TIFF (also of many pages), BMP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecgvision.errors import UnreadableError
from ecgvision.media.decode import (
    ImageHead,
    check_whole,
    decode_upright,
    frame_count,
    read_head,
)
from ecgvision.media.filedata import SourceFile
from ecgvision.media.raster import NativeCache, cut, squared
from ecgvision.types import Box, Page, Stroke, Text

if TYPE_CHECKING:
    from ecgvision.types import Pixels

MM_PER_INCH = 25.4

# Resolutions that differ by less than this are the same number written down twice.
_SAME_DPI = 0.005


class ImageFile:
    """An image file that is open; its pages are decoded when their pixels are asked for."""

    def __init__(self, file: SourceFile) -> None:
        self._source = file.source
        self._data = file.whole()
        check_whole(self._data, self._source)
        self.page_count = frame_count(self._data, self._source)

    def page(self, number: int) -> Page:
        head = read_head(self._data, self._source, number)
        size_px, px_per_mm = _square_size(head)
        size_mm = px_per_mm and (size_px[0] / px_per_mm, size_px[1] / px_per_mm)
        reader = ImageReader(self._data, head, self._source, number, size_px, px_per_mm)
        return Page(self._source, number, "image", size_mm or None, size_px, reader)

    def close(self) -> None:
        self._data = b""


class ImageReader:
    """The pixels of one image; `px_per_mm` is None while its size on paper is not known."""

    def __init__(
        self,
        data: bytes,
        head: ImageHead,
        source: Path,
        number: int,
        size_px: tuple[int, int],
        px_per_mm: float | None,
    ) -> None:
        self._data, self._head = data, head
        self._source, self._number = source, number
        self._size_px, self._px_per_mm = size_px, px_per_mm
        self.native = NativeCache(self._decode)

    def _decode(self, grey: bool) -> Pixels:
        pixels = decode_upright(self._data, self._head, self._source, self._number, grey)
        if (pixels.shape[1], pixels.shape[0]) != self._head.upright_px:
            raise UnreadableError(
                "image-damaged",
                self._source,
                self._number,
                expected="the size that the header declares",
                found="another one",
                hint="export the file again",
            )
        return squared(pixels, self._size_px)

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels:
        if self._px_per_mm is None:
            raise ValueError(f"{self._source.name}: give the image its size in mm first")
        return cut(self.native(grey), self._px_per_mm, px_per_mm, clip)

    def strokes(self) -> tuple[Stroke, ...]:
        return ()

    def texts(self) -> tuple[Text, ...]:
        return ()


def _square_size(head: ImageHead) -> tuple[tuple[int, int], float | None]:
    """(width, height) in square pixels, and their px/mm where the resolution is known."""
    width, height = head.upright_px
    if head.upright_dpi is None:
        return (width, height), None
    x_dpi, y_dpi = head.upright_dpi
    dpi = max(x_dpi, y_dpi)
    if dpi <= min(x_dpi, y_dpi) * (1 + _SAME_DPI):
        return (width, height), dpi / MM_PER_INCH
    square = (round(width * dpi / x_dpi), round(height * dpi / y_dpi))
    return square, dpi / MM_PER_INCH

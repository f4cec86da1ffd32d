"""What the images inside a PDF are in truth: how large, and whether they are all there.

The PDF says a width and a height, and the image's own data may say others; what is decoded is the
latter. MuPDF leaves out what it cannot decode, so a cut image would be a page with less on it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ecgvision.errors import UnreadableError
from ecgvision.media.pdfkeys import numbers_at, xref_at
from ecgvision.media.raster import PIXEL_LIMIT, refuse_too_large

# JPEG 2000 is decoded to whole numbers of four bytes, twice, for each colour of each pixel.
_JPEG2000_SAMPLES = 110_000_000
_CODESTREAM = b"\xff\x4f\xff\x51"
_DATA_STARTS, _ENDS = b"\xff\x93", b"\xff\xd9"

# JBIG2 segments that begin with the size of a region, and the one with the page's.
_REGIONS = frozenset((4, 6, 7, 20, 22, 23, 36, 38, 39, 40, 42, 43))
_PAGE_INFO = 48
_UNKNOWN = 0xFFFFFFFF


class _CutError(Exception):
    """The image's data stop early."""


def check_images(document: Any, page: Any, source: Path, number: int) -> None:
    """Refuse images that are too large, whatever the PDF says of them, or cut off."""
    for xref in _images(document, page):
        try:
            for pixels, limit in _claims(document, xref):
                refuse_too_large(pixels, limit, source, number, "an embedded image")
        except _CutError as error:
            raise UnreadableError(
                "page-damaged",
                source,
                number,
                expected="whole images on the page",
                found="one that stops early",
                hint="copy or export the file again",
            ) from error


def _images(document: Any, page: Any) -> set[int]:
    """The page's images and their masks."""
    found = {int(entry[0]) for entry in page.get_images(full=True)}
    masks = {xref_at(document, xref, key) for xref in found for key in ("SMask", "Mask")}
    return {xref for xref in found | masks if xref}


def _claims(document: Any, xref: int) -> Iterator[tuple[float, int]]:
    """How many pixels, or samples, the image says it has in all places, and how many it may."""
    sides = [numbers_at(document, xref, key) for key in ("Width", "Height")]
    if all(len(side) == 1 for side in sides):
        yield sides[0][0] * sides[1][0], PIXEL_LIMIT
    packed_by = document.xref_get_key(xref, "Filter")[1].replace(" ", "").strip("[]")
    if packed_by not in ("/JPXDecode", "/JBIG2Decode", "/DCTDecode"):
        return
    data: bytes = document.xref_stream_raw(xref) or b""
    if packed_by == "/JPXDecode":
        yield _jpeg2000_samples(data), _JPEG2000_SAMPLES
    elif packed_by == "/JBIG2Decode":
        yield jbig2_pixels(data), PIXEL_LIMIT
    else:
        yield _jpeg_pixels(data), PIXEL_LIMIT


def _jpeg2000_samples(data: bytes) -> int:
    at = data.find(_CODESTREAM)
    starts = data.find(_DATA_STARTS, at)
    # No packet of data holds the end's two bytes.
    if at < 0 or len(data) < at + 42 or starts < 0 or data.find(_ENDS, starts) < 0:
        raise _CutError
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    (colours,) = struct.unpack_from(">H", data, at + 40)
    return int(max(0, right - left) * max(0, bottom - top) * colours)


def _jpeg_pixels(data: bytes) -> int:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return int(image.width) * int(image.height)
    except Image.DecompressionBombError:
        return PIXEL_LIMIT + 1
    except Exception:  # whatever Pillow stumbles over is MuPDF's to judge
        return 0


def jbig2_pixels(data: bytes) -> int:
    """The largest size, in pixels, in the segments of an embedded JBIG2 image."""
    largest, at = 0, 0
    while at + 11 <= len(data):
        kind, at, length = _segment(data, at)
        if length == _UNKNOWN:
            break  # allowed for one kind of region, which then ends somewhere
        if at + length > len(data):
            raise _CutError
        if (kind in _REGIONS or kind == _PAGE_INFO) and length >= 8:
            width, height = struct.unpack_from(">II", data, at)
            largest = max(largest, width * (1 if height == _UNKNOWN else height))
        at += length
    return largest


def _segment(data: bytes, at: int) -> tuple[int, int, int]:
    """Kind, start and length of the data of the segment whose head is at `at`."""
    try:
        number, flags, count = struct.unpack_from(">IBB", data, at)
        at, count = at + 6, count >> 5
        if count == 7:  # the long form of the count
            (count,) = struct.unpack_from(">I", data, at - 1)
            count &= 0x1FFFFFFF
            at += 3 + (count + 8) // 8
        at += count * (1 if number <= 256 else 2 if number <= 65536 else 4)
        at += 4 if flags & 0x40 else 1
        (length,) = struct.unpack_from(">I", data, at)
    except struct.error as error:
        raise _CutError from error
    return flags & 0x3F, at + 4, int(length)

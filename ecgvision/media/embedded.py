"""What the images inside a PDF are in truth: how large, and whether they are all there.

The PDF says a width and a height, and the image's own data may say others; what is decoded is the
latter. MuPDF leaves out what it cannot decode, so a cut image would be a page with less on it.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ecgvision.errors import UnreadableError
from ecgvision.media.jbig2 import CutError, jbig2_pixels
from ecgvision.media.pagecost import TooMuchError, too_complex, unpacked
from ecgvision.media.pdfkeys import numbers_at, xref_at
from ecgvision.media.raster import PIXEL_LIMIT, refuse_too_large

# JPEG 2000 is decoded to whole numbers of four bytes, twice, for each colour of each pixel.
_JPEG2000_SAMPLES = 110_000_000
_CODESTREAM = b"\xff\x4f\xff\x51"
_DATA_STARTS, _ENDS = b"\xff\x93", b"\xff\xd9"

# The parameters of one filter among several are an array, into which no key leads.
_SHARED = re.compile(r"/JBIG2Globals\s+(\d+)\s+\d+\s+R")


def check_images(document: Any, page: Any, source: Path, number: int) -> None:
    """Refuse images that are too large, whatever the PDF says of them, or cut off."""
    for xref in _images(document, page):
        try:
            for pixels, limit in _claims(document, xref):
                refuse_too_large(pixels, limit, source, number, "an embedded image")
        except CutError as error:
            raise UnreadableError(
                "page-damaged",
                source,
                number,
                expected="whole images on the page",
                found="one that stops early",
                hint="copy or export the file again",
            ) from error
        except TooMuchError as error:
            raise too_complex(source, number, str(error)) from error


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
        yield jbig2_pixels(_jbig2_shared(document, xref) + data), PIXEL_LIMIT
    else:
        yield _jpeg_pixels(data), PIXEL_LIMIT


def _jbig2_shared(document: Any, xref: int) -> bytes:
    """The segments that several images share, which are decoded before the image's own."""
    shared = xref_at(document, xref, "DecodeParms/JBIG2Globals")
    if shared is None:
        among = _SHARED.search(document.xref_get_key(xref, "DecodeParms")[1])
        shared = int(among[1]) if among else None
    if shared is None or not 0 < shared < document.xref_length():
        return b""
    return unpacked(document, shared)


def _jpeg2000_samples(data: bytes) -> int:
    at = data.find(_CODESTREAM)
    starts = data.find(_DATA_STARTS, at)
    # No packet of data holds the end's two bytes.
    if at < 0 or len(data) < at + 42 or starts < 0 or data.find(_ENDS, starts) < 0:
        raise CutError
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

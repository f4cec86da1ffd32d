"""PDF files put together by hand, so that every part of them can be wrong."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def stream(data: bytes, entries: bytes = b"", *, packed: bool = False) -> bytes:
    """A stream object; `packed` adds the deflate filter."""
    if packed:
        data, entries = zlib.compress(data, 9), entries + b"/Filter/FlateDecode"
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (entries, len(data), data)


def assembled(objects: Sequence[bytes]) -> bytes:
    """Objects 1, 2 and so on, their index and the trailer; object 1 is the catalogue."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def one_page(
    content: bytes,
    resources: bytes = b"",
    more: Sequence[bytes] = (),
    *,
    size_pt: tuple[float, float] = (792, 612),
    packed: bool = True,
) -> bytes:
    """A PDF of one page, object 3; its content is object 4, `more` follows from object 5 on."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Resources<<%b>>/Contents 4 0 R>>" % (
        *size_pt,
        resources,
    )
    tree = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]
    return assembled([*tree, page, stream(content, packed=packed), *more])


def with_image(data: bytes, entries: bytes, more: Sequence[bytes] = ()) -> bytes:
    """A page that one image covers; the image is object 5."""
    image = stream(data, b"/Type/XObject/Subtype/Image" + entries)
    return one_page(b"q 792 0 0 612 0 0 cm /I Do Q", b"/XObject<</I 5 0 R>>", [image, *more])


def jpeg2000(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG2000", irreversible=False)
    return out.getvalue()


def jbig2(bits: np.ndarray) -> bytes:
    """(H, W) bool, True for ink, as a JBIG2 page of one region, the way PDFs embed it."""
    height, width = bits.shape
    region = struct.pack(">IIIIB", width, height, 0, 0, 0) + b"\x01" + _group4(bits)
    page = struct.pack(">IIIIBH", width, height, 0, 0, 0, 0)
    return _segment(0, 48, page) + _segment(1, 38, region)


def jbig2_claim(width: int, height: int) -> bytes:
    """A JBIG2 page that is all header: so many pixels, of one colour."""
    return _segment(0, 48, struct.pack(">IIIIBH", width, height, 0, 0, 0x04, 0))


def jbig2_dictionary(symbols: int) -> bytes:
    """A JBIG2 image of which only a dictionary is there, of so many symbols."""
    return _segment(0, 0, struct.pack(">HHII", 0x0400, 0, symbols, symbols) + b"\0\0")


def jbig2_patterns(side: int, count: int) -> bytes:
    """A JBIG2 dictionary of so many square patterns."""
    return _segment(0, 16, struct.pack(">BBBI", 0, side, side, count - 1) + b"\0\0")


def _segment(number: int, kind: int, body: bytes) -> bytes:
    return struct.pack(">IBBBI", number, kind, 0, 1, len(body)) + body


def _group4(bits: np.ndarray) -> bytes:
    """The pixels as fax group 4 codes, taken out of a TIFF, where black is zero."""
    out = io.BytesIO()
    image = Image.fromarray(bits)
    image.save(out, "TIFF", compression="group4", tiffinfo={278: bits.shape[0]})
    with Image.open(out) as read:
        (start,), (length,) = read.tag_v2[273], read.tag_v2[279]
    return out.getvalue()[start : start + length]

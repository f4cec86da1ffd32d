"""The picture that a card shows: a PNG with pixels in it, and nothing else."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from ecgvision.errors import EcgVisionError

PICTURE = "calibration.png"
LARGEST_BYTES = 1_000_000
LARGEST_SIDE_PX = 4096

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The chunks that may be there, with their least and largest size. No other: text, EXIF, the time
# and profiles can hold words, names and paths.
_CHUNKS: dict[bytes, tuple[int, int]] = {
    b"IHDR": (13, 13),
    b"PLTE": (3, 768),
    b"tRNS": (1, 256),
    b"gAMA": (4, 4),
    b"cHRM": (32, 32),
    b"sRGB": (1, 1),
    b"pHYs": (9, 9),
    b"IDAT": (0, LARGEST_BYTES),
    b"IEND": (0, 0),
}
_ORDER = re.compile(rb"IHDR (?:(?:PLTE|tRNS|gAMA|cHRM|sRGB|pHYs) )*(?:IDAT )+IEND")
# Of each colour type the samples of a pixel, and how many bits a sample may have.
_COLOURS: dict[int, tuple[int, tuple[int, ...]]] = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
_PALETTE, _FILTERS = 3, 5
_ANEW = "draw it anew, or save it anew as a plain PNG"


class PictureError(EcgVisionError):
    """A card's picture cannot go up as it is; the message names the file."""

    code = "not-for-the-hub"


def read_picture(path: Path) -> bytes:
    """The picture in that file, as it may go up; raises `PictureError`."""
    name = f"{path.parent.name}/{path.name}"
    # A link may lead anywhere.
    if path.is_symlink():
        raise PictureError(
            f"{name}: expected a file, found a link; put the picture itself beside the card"
        )
    if not path.is_file():
        raise PictureError(
            f"{name}: expected the picture that the card shows, found none; put it beside the "
            "card, or take it out of the text"
        )
    try:
        with path.open("rb") as opened:
            data = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{name}: cannot be read: {error.strerror}; check its rights") from error
    check_picture(name, data)
    return data


def check_picture(name: str, data: bytes) -> None:
    """Raise `PictureError` unless these are one whole PNG without words, times or places."""
    if len(data) > LARGEST_BYTES:
        raise PictureError(
            f"{name}: expected {LARGEST_BYTES:,} bytes at most, found more; draw it smaller"
        )
    if not data.startswith(_SIGNATURE):
        raise PictureError(f"{name}: expected a PNG, found something else; save it as PNG")
    chunks = list(_chunks(name, data))
    order = [kind for kind, _ in chunks]
    once = [kind for kind in order if kind != b"IDAT"]
    if not _ORDER.fullmatch(b" ".join(order)) or len(set(once)) < len(once):
        found = " ".join(dict.fromkeys(kind.decode() for kind in order))
        raise PictureError(
            f"{name}: expected a PNG's chunks in their order, each once, found {found}; {_ANEW}"
        )
    _check_pixels(name, chunks[0][1], b"PLTE" in order, _joined(chunks))


def _joined(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(body for kind, body in chunks if kind == b"IDAT")


def _chunks(name: str, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks up to IEND, which must be the end, by name and content."""
    at = len(_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        size = int.from_bytes(data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        check = data[at + 8 + size : at + 12 + size]
        if len(check) < 4:
            raise PictureError(f"{name}: expected a whole PNG, found it cut off; copy it anew")
        if kind not in _CHUNKS:
            raise PictureError(
                f"{name}: expected pixels alone, found a chunk {kind.decode('latin-1')!r}, which "
                "may hold words, a time or a place; save it without metadata, in matplotlib with "
                "savefig(..., metadata={'Software': None})"
            )
        least, most = _CHUNKS[kind]
        if not least <= size <= most or zlib.crc32(kind + body) != int.from_bytes(check):
            raise PictureError(
                f"{name}: expected a PNG that is intact, found its chunk {kind.decode()} damaged; "
                f"{_ANEW}"
            )
        yield kind, body
        at += 12 + size
    if at < len(data):
        raise PictureError(
            f"{name}: expected the end of the file after the picture, found {len(data) - at:,} "
            f"bytes more; {_ANEW}"
        )


def _check_pixels(name: str, head: bytes, palette: bool, packed: bytes) -> None:
    """Raise unless the packed bytes are all rows of the picture, and no byte more."""
    width_px, height_px, bits, colour, packing, filtering, interlaced = struct.unpack(
        ">IIBBBBB", head
    )
    if not (0 < width_px <= LARGEST_SIDE_PX and 0 < height_px <= LARGEST_SIDE_PX):
        raise PictureError(
            f"{name}: expected 1 to {LARGEST_SIDE_PX:,} px a side, found {width_px:,} x "
            f"{height_px:,}; draw it in another size"
        )
    samples, allowed = _COLOURS.get(colour, (0, ()))
    needs_palette = colour == _PALETTE and not palette
    if bits not in allowed or packing or filtering or interlaced or needs_palette:
        raise PictureError(
            f"{name}: expected a plain PNG that is not interlaced, found another kind; {_ANEW}"
        )
    row = 1 + (width_px * samples * bits + 7) // 8
    unpacking = zlib.decompressobj()
    try:
        rows = unpacking.decompress(packed, row * height_px + 1)
    except zlib.error as error:
        raise PictureError(f"{name}: expected pixels, found {error}; {_ANEW}") from error
    whole = len(rows) == row * height_px and unpacking.eof and not unpacking.unused_data
    if not whole or max(rows[::row]) >= _FILTERS:
        raise PictureError(
            f"{name}: expected {height_px:,} rows of pixels and nothing else, found other bytes; "
            f"{_ANEW}"
        )

"""What a JBIG2 image asks for, told from the heads of its segments, before it is decoded.

Nothing but the heads is read: their fields are those of ITU-T T.88, section 7.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SYMBOLS, _PATTERNS, _PAGE = 0, 16, 48
_TEXTS, _HALFTONES, _BITMAPS = (4, 6, 7), (20, 22, 23), (36, 38, 39, 40, 42, 43)
# Regions that are not painted at once are kept, as dictionaries are.
_KEPT = frozenset((_SYMBOLS, _PATTERNS, 4, 20, 36, 40))
_REGION_BYTES = 17
_UNKNOWN = 0xFFFFFFFF

# What a symbol, a pattern or the place of one takes in memory is at least one pointer, and a cell
# of a halftone two bytes. A pixel is one bit.
_ENTRY_PX = 64
_CELL_PX = 16


class CutError(Exception):
    """The data stop within a segment."""


def jbig2_pixels(data: bytes) -> int:
    """The memory that decoding asks for at once, in pixels of one bit.

    `data` are segments one after the other, as a PDF embeds them. Raises `CutError` where they stop
    early.
    """
    largest = kept = 0
    for kind, body in _segments(data):
        pixels = _pixels(kind, body)
        if kind in _KEPT:
            kept += pixels
        else:
            largest = max(largest, pixels)
    return max(largest, kept)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 11 <= len(data):
        kind, at, length = _head(data, at)
        if length == _UNKNOWN:  # allowed for one kind of region, which then ends somewhere
            yield kind, data[at:]
            return
        if at + length > len(data):
            raise CutError
        yield kind, data[at : at + length]
        at += length


def _head(data: bytes, at: int) -> tuple[int, int, int]:
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
        raise CutError from error
    return flags & 0x3F, at + 4, int(length)


def _pixels(kind: int, body: bytes) -> int:
    if kind == _SYMBOLS:
        at = _symbol_counts_at(body)
        return _ENTRY_PX * max(_number(body, at), _number(body, at + 4))
    if kind == _PATTERNS:
        width, height = _number(body, 1, 1), _number(body, 2, 1)
        return (_number(body, 3) + 1) * max(_ENTRY_PX, width * height) if len(body) >= 7 else 0
    if kind == _PAGE or kind in _BITMAPS:
        return _area(body, 0)
    if kind in _TEXTS:
        return max(_area(body, 0), _ENTRY_PX * _number(body, _text_count_at(body)))
    if kind in _HALFTONES:
        return max(_area(body, 0), _CELL_PX * _area(body, _REGION_BYTES + 1))
    return 0


def _number(body: bytes, at: int, size: int = 4) -> int:
    """The number that stands there; 0 where the body is too short for it, and so to be decoded."""
    found = body[at : at + size]
    return int.from_bytes(found) if len(found) == size else 0


def _area(body: bytes, at: int) -> int:
    width, height = _number(body, at), _number(body, at + 4)
    return width * (1 if height == _UNKNOWN else height)


def _symbol_counts_at(body: bytes) -> int:
    """Where a symbol dictionary says how many it exports and how many are new."""
    flags = _number(body, 0, 2)
    huffman, refined = flags & 1, flags & 2
    own = 0 if huffman else (2 if flags >> 10 & 3 else 8)
    return 2 + own + (4 if refined and not flags >> 12 & 1 else 0)


def _text_count_at(body: bytes) -> int:
    """Where a text region says how many symbols it places."""
    flags = _number(body, _REGION_BYTES, 2)
    huffman, refined = flags & 1, flags & 2
    return _REGION_BYTES + 2 + (2 if huffman else 0) + (4 if refined and not flags >> 15 & 1 else 0)

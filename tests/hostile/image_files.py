"""Images that are bombs, lie about their size, or go round in circles."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from ecgvision.testing import as_jpeg
from tests.hostile.case import (
    BOMB_BYTES,
    BOMB_SIDE,
    GOOD,
    NO_ECG,
    Case,
    good_pdf,
    good_png,
    of,
    zeros,
)


def cases() -> list[Case]:
    def png(name: str, data: Callable[[], bytes], *codes: str) -> Case:
        return of(name, data, *codes, suffix=".png")

    def tiff(name: str, data: Callable[[], bytes], *codes: str) -> Case:
        return of(name, data, *codes, suffix=".tif")

    return [
        png(
            "png-bomb", lambda: png_of(BOMB_SIDE, BOMB_SIDE, bits=1, packed=True), "page-too-large"
        ),
        png("png-largest-alpha", lambda: png_of(10_900, 10_900, kind=6, packed=True), NO_ECG),
        png("png-largest-16-bit", lambda: png_of(10_900, 10_900, bits=16, packed=True), NO_ECG),
        png("png-profile-bomb", _profile_bomb, "image-damaged", GOOD),
        png("png-text-bomb", _text_chunk_bomb, "image-damaged", GOOD),
        png("png-one-row", lambda: png_of(100_000_000, 1, packed=True), "image-damaged"),
        png("png-one-pixel", lambda: png_of(1, 1, packed=True), NO_ECG, "page-empty-size"),
        tiff("tiff-bomb", lambda: tiff_of(BOMB_SIDE, BOMB_SIDE), "page-too-large"),
        tiff("tiff-claims", lambda: tiff_of(9_000, 9_000), "image-damaged", NO_ECG),
        tiff("tiff-loop", _tiff_loop, "image-damaged", NO_ECG),
        tiff("tiff-tag-bomb", _tiff_tag_bomb, "image-damaged", "page-too-large", NO_ECG),
        tiff("tiff-many-frames", lambda: many_frames(50_000), "file-too-large"),
        of("jpeg-bomb", _jpeg_bomb, "page-too-large", suffix=".jpg"),
        of("bmp-bomb", _bmp_bomb, "page-too-large", "image-damaged", suffix=".bmp"),
    ]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(
    width: int,
    height: int,
    *,
    bits: int = 8,
    kind: int = 0,
    packed: bool = False,
    extra: bytes = b"",
) -> bytes:
    """A black PNG, whole if `packed`, else with next to no pixels; `kind` is PNG's colour type."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    depth = bits * {0: 1, 2: 3, 6: 4}[kind]
    body = zeros(height * (1 + (width * depth + 7) // 8)) if packed else zlib.compress(bytes(1000))
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", body)
    return b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b"")


def _with_chunk(chunk: bytes) -> bytes:
    data = good_png()
    return data[:33] + chunk + data[33:]


def _profile_bomb() -> bytes:
    return _with_chunk(_chunk(b"iCCP", b"x\0\0" + zeros(BOMB_BYTES)))


def _text_chunk_bomb() -> bytes:
    return _with_chunk(_chunk(b"zTXt", b"x\0\0" + zeros(BOMB_BYTES)) * 3)


def tiff_of(width: int, height: int, *, following: int = 0, entries: bytes = b"") -> bytes:
    """A TIFF that says it is so large and has one strip of ten bytes."""
    fields = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 4, 1, height),
        (279, 4, 1, 10),
    ]
    count = len(fields) + len(entries) // 12
    listed = b"".join(struct.pack("<HHII", *field) for field in fields) + entries
    body = bytes(10)
    head = b"II*\0" + struct.pack("<I", 8 + len(body)) + body
    return head + struct.pack("<H", count) + listed + struct.pack("<I", following)


def _tiff_loop() -> bytes:
    """Its first page is followed by itself."""
    return tiff_of(300, 300, following=18)


def _tiff_tag_bomb() -> bytes:
    """A description that says it is 4 GB long."""
    return tiff_of(300, 300, entries=struct.pack("<HHII", 305, 2, 0xFFFFFFF0, 0))


def many_frames(count: int) -> bytes:
    """So many pages, which share nothing but their one strip."""
    frame = tiff_of(3, 3)[18:-4]
    out = bytearray(tiff_of(3, 3)[:18])
    for _ in range(count):
        out += frame + struct.pack("<I", len(out) + len(frame) + 4)
    out[-4:] = bytes(4)
    return bytes(out)


def _jpeg_bomb() -> bytes:
    data = bytearray(as_jpeg(good_pdf(), dpi=40))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", BOMB_SIDE, BOMB_SIDE)
    return bytes(data)


def _bmp_bomb() -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, BOMB_SIDE, BOMB_SIDE, 1, 24, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + bytes(1000)

"""What JBIG2 segments ask for, written out field by field as ITU-T T.88 has them."""

from __future__ import annotations

import struct

import pytest

from ecgvision.media.jbig2 import CutError, jbig2_pixels

REGION = struct.pack(">IIIIB", 30, 20, 0, 0, 0)  # width, height, x, y, how it is combined


def segment(kind: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">IBBBI", 0, kind, 0, 1, len(body)) + body


def symbols(flags: int, placed: int, new: int) -> bytes:
    """`placed` bytes of adaptive pixels stand before the counts of exported and new symbols."""
    return segment(0, struct.pack(">H", flags), b"\xff" * placed, struct.pack(">II", 3, new))


HUFFMAN, REFINED, TEMPLATE_1, REFINED_BY_1 = 1, 2, 1 << 10, 1 << 12


@pytest.mark.parametrize(
    ("flags", "placed"),
    [
        (0, 8),
        (TEMPLATE_1, 2),
        (HUFFMAN, 0),
        (REFINED, 12),
        (REFINED | TEMPLATE_1, 6),
        (REFINED | REFINED_BY_1, 8),
        (REFINED | HUFFMAN, 4),
    ],
)
def test_symbols_of_a_dictionary(flags, placed):
    assert jbig2_pixels(symbols(flags, placed, 1000)) == 64_000
    assert jbig2_pixels(symbols(flags, placed, 1000) * 3) == 192_000  # all three are kept


@pytest.mark.parametrize(("flags", "between"), [(0, 0), (1, 2), (2, 4), (3, 6), (2 | 1 << 15, 0)])
def test_symbols_that_a_region_places(flags, between):
    places = struct.pack(">H", flags) + b"\xff" * between + struct.pack(">I", 500)
    assert jbig2_pixels(segment(6, REGION, places)) == 32_000


def test_a_text_region_is_as_large_as_it_says():
    assert jbig2_pixels(segment(6, REGION, struct.pack(">HI", 0, 2))) == 600


@pytest.mark.parametrize("kind", [4, 6, 7, 20, 22, 23])
def test_a_region_that_stops_after_its_size_is_as_large_as_it_says(kind):
    assert jbig2_pixels(segment(kind, REGION[:8])) == 600


def test_patterns_and_the_cells_that_show_them():
    patterns = struct.pack(">BBBI", 0, 16, 10, 49)  # template, width, height, the last one's number
    assert jbig2_pixels(segment(16, patterns)) == 50 * 160
    cells = struct.pack(">BII", 0, 40, 25)
    assert jbig2_pixels(segment(22, REGION, cells)) == 16_000


@pytest.mark.parametrize("kind", [36, 38, 39, 40, 42, 43, 48])
def test_bitmaps_and_the_page(kind):
    assert jbig2_pixels(segment(kind, REGION)) == 600


def test_regions_that_are_painted_do_not_add_up():
    assert jbig2_pixels(segment(38, REGION) * 5) == 600
    assert jbig2_pixels(segment(36, REGION) * 5) == 3000


def test_a_page_that_grows():
    assert jbig2_pixels(segment(48, struct.pack(">II", 30, 0xFFFFFFFF))) == 30


def test_a_region_of_unknown_length_is_the_last():
    data = struct.pack(">IBBBI", 0, 38, 0, 1, 0xFFFFFFFF) + REGION + b"\x00" * 20
    assert jbig2_pixels(data) == 600


@pytest.mark.parametrize("kind", [0, 4, 6, 16, 22, 38, 48, 62])
def test_too_short_to_be_decoded_asks_for_nothing(kind):
    assert jbig2_pixels(segment(kind, b"\0")) == 0


@pytest.mark.parametrize("kept", [11, 15, 25])
def test_cut_data(kept):
    with pytest.raises(CutError):
        jbig2_pixels(segment(38, REGION)[:kept])

"""Paper speed and gain are read from a page's words in all the ways machines print them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ecgvision.calibration.text import PrintedScale, printed_scale
from ecgvision.types import Box, Text


def line(*words: str, top_mm: float = 200.0, gap_mm: float = 1.0) -> list[Text]:
    """Words side by side on one line, each letter 1.5 mm wide."""
    texts, left = [], 10.0
    for word in words:
        right = left + 1.5 * len(word)
        texts.append(Text(word, Box(left, top_mm, right, top_mm + 3.0)))
        left = right + gap_mm
    return texts


def read(*words: str, gap_mm: float = 1.0) -> tuple[Sequence[float], Sequence[float]]:
    found = printed_scale(line(*words, gap_mm=gap_mm))
    return found.speeds_mm_per_s, found.gains_mm_per_mv


@pytest.mark.parametrize(
    "words",
    [
        "25 mm/s 10 mm/mV",
        "25mm/sec 10mm/mV",
        "10mm/mV 25mm/s",
        "25 mm/s 10 mm/mV 0.05-150 Hz",
        "25,0 mm/s; 10,0 mm/mV",
        "25.0mm/s10.0mm/mV",
        "Speed: 25 mm/sec  Gain: 10.0 mm/mV",
        "Geschwindigkeit 25 mm/s Verstärkung 10 mm/mV",
        "Vitesse : 25 mm / s  Gain : 10 mm / mV",
        "Speed (mm/s): 25  Gain (mm/mV): 10",
        "25 MM/SEC 10 MM/MV",
        "25 mm per sec, 1 cm/mV",
        "25 \u339c/s 10\u00a0mm\u2044mV",
        "25mm/s 10mm/mV ~40Hz 12SL 241 CID: 163",
        "25mm/s 10mm/mV 25 mm/s",
    ],
)
def test_as_machines_print_them(words: str) -> None:
    assert read(words) == ((25.0,), (10.0,))


def test_one_line_in_pieces() -> None:
    assert read("25", "mm/s", "10", "mm/mV") == ((25.0,), (10.0,))
    assert read("25", "mm", "/s", "10.0", "mm/", "mV") == ((25.0,), (10.0,))
    assert read("2", "5 mm/s", gap_mm=0.05) == ((25.0,), ())
    texts = line("25", "mm/s") + line("10", "mm/mV", top_mm=206.0)
    assert printed_scale(texts[::-1]) == PrintedScale((25.0,), (10.0,))


def test_pieces_of_two_lines_are_not_put_together() -> None:
    texts = line("25") + line("mm/s", top_mm=206.0)
    assert printed_scale(texts) == PrintedScale()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "HR 72 /min PR 160 ms",
        "1000 mm/s 0.1 mm/mV",
        "0 mm/s 400 mm/mV",
        "25 mm/svp 10 mm/mVs",
        "25 mm 10 mV",
        "mm/s mm/mV",
        "1.25.2000 mm/s",
    ],
)
def test_what_is_no_scale(words: str) -> None:
    assert read(words or " ") == ((), ())


def test_two_values_are_both_told() -> None:
    assert read("25 mm/s 10 mm/mV", "50 mm/s 5 mm/mV") == ((25.0, 50.0), (10.0, 5.0))


@pytest.mark.parametrize(
    "words",
    [
        "Speed: 25 mm/sec Limb: 10 mm/mV Chest: 5.0 mm/mV",
        "25mm/s Extremitäten 10 mm/mV, Brustwand 5 mm/mV",
        "25 mm/s 10/5 mm/mV",
        "25 mm/s limb leads 10 mm/mV V1-V6: 5 mm/mV",
    ],
)
def test_chest_leads_at_another_gain(words: str) -> None:
    found = printed_scale(line(words))
    assert found == PrintedScale((25.0,), (10.0,), (5.0,))


def test_no_words() -> None:
    assert printed_scale([]) == PrintedScale()

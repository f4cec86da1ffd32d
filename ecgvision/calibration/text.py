"""Paper speed and gain as a page prints them: "25 mm/s", "10mm/mV", "Limb: 10 mm/mV Chest: 5"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from ecgvision.types import Text

# Machines run their paper at 5 to 100 mm/s, and draw a millivolt 2.5 to 40 mm high.
_SPEEDS_MM_PER_S = (5.0, 100.0)
_GAINS_MM_PER_MV = (2.5, 40.0)

_NUMBER = r"(?<![\d.,])(\d{1,4}(?:[.,]\d+)?)"
_PER_S = r"([mc])m\s*(?:/|per)\s*s(?:e[ck]s?|ec(?:ond)?|ekunde)?(?![a-z])"
_PER_MV = r"([mc])m\s*(?:/|per)\s*1?\s*mv(?![a-z])"
_LIMB = r"limbs?|extremit\w*|frontal|membres?|peripher\w*"
_CHEST = r"chest|precordials?|v1\s*-\s*v?6|brust\w*|thora\w*|précord\w*"

_SPEED = re.compile(rf"{_NUMBER}\s*{_PER_S}", re.IGNORECASE)
_SPEED_AFTER = re.compile(rf"{_PER_S}\s*\)?\s*[:=]\s*{_NUMBER}", re.IGNORECASE)
# One gain, or two as "10/5 mm/mV": that of the limb leads and that of the chest leads.
_GAIN = re.compile(
    rf"(?:\b({_LIMB})|\b({_CHEST}))?[\s:=]*{_NUMBER}(?:\s*/\s*(\d{{1,3}}(?:[.,]\d+)?))?\s*{_PER_MV}",
    re.IGNORECASE,
)
_GAIN_AFTER = re.compile(rf"{_PER_MV}\s*\)?\s*[:=]\s*{_NUMBER}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PrintedScale:
    """All believable paper speeds and gains printed on a page, in order, none twice.

    `chest_gains_mm_per_mv` are those that are marked as the chest leads' own.
    """

    speeds_mm_per_s: tuple[float, ...] = ()
    gains_mm_per_mv: tuple[float, ...] = ()
    chest_gains_mm_per_mv: tuple[float, ...] = ()


def printed_scale(texts: Iterable[Text]) -> PrintedScale:
    """What the page's words say of speed and gain; numbers no machine prints are left out.

    >>> from ecgvision.types import Box
    >>> printed_scale([Text("25mm/sec 10,0 mm/mV 40 Hz", Box(0, 0, 50, 3))])
    ... # doctest: +NORMALIZE_WHITESPACE
    PrintedScale(speeds_mm_per_s=(25.0,), gains_mm_per_mv=(10.0,), chest_gains_mm_per_mv=())
    """
    speeds: list[float] = []
    gains: list[float] = []
    chest: list[float] = []
    for line in text_lines(list(texts)):
        speeds += [_mm(number, unit) for number, unit in _SPEED.findall(line)]
        speeds += [_mm(number, unit) for unit, number in _SPEED_AFTER.findall(line)]
        gains += [_mm(number, unit) for unit, number in _GAIN_AFTER.findall(line)]
        for _, of_chest, number, second, unit in _GAIN.findall(line):
            (chest if of_chest else gains).append(_mm(number, unit))
            if second:
                chest.append(_mm(second, unit))
    return PrintedScale(
        _believable(speeds, _SPEEDS_MM_PER_S),
        _believable(gains, _GAINS_MM_PER_MV),
        _believable(chest, _GAINS_MM_PER_MV),
    )


def text_lines(texts: Sequence[Text]) -> list[str]:
    """The words line by line from left to right, as some machines print every piece by itself.

    Pieces that touch make one word. Odd forms of letters and digits become the plain ones.
    """
    heights = [text.box.height_mm for text in texts]
    reach = 0.4 * median(heights) if heights else 0.0
    lines: list[list[Text]] = []
    for text in sorted(texts, key=lambda t: t.box.centre_mm[1]):
        if lines and text.box.centre_mm[1] - lines[-1][0].box.centre_mm[1] <= reach:
            lines[-1].append(text)
        else:
            lines.append([text])
    return [_joined(sorted(line, key=lambda t: t.box.left_mm)) for line in lines]


def _joined(line: Sequence[Text]) -> str:
    words = ""
    end = line[0].box.left_mm
    for text in line:
        touches = text.box.left_mm - end < 0.12 * text.box.height_mm
        words += text.text if touches else f" {text.text}"
        end = text.box.right_mm
    # NFKC turns "㎜" into "mm", and takes wide digits and odd slashes and spaces to plain ones.
    return unicodedata.normalize("NFKC", words).replace("\u2044", "/").replace("\u2215", "/")


def _mm(number: str, unit: str) -> float:
    return float(number.replace(",", ".")) * (10.0 if unit.lower() == "c" else 1.0)


def _believable(values: Sequence[float], between: tuple[float, float]) -> tuple[float, ...]:
    low, high = between
    return tuple(dict.fromkeys(value for value in values if low <= value <= high))

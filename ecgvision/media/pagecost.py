"""What a PDF page costs to read and to draw, told before either is done.

A few hundred bytes of PDF can ask for hours of work: streams that unpack to gigabytes, forms that
show each other, one rectangle filled a million times. No ECG report comes near these limits.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgvision.errors import UnreadableError
from ecgvision.media.pdfkeys import inherited_from, name_of, numbers_at, xref_at
from ecgvision.types import Stroke

# The largest report known has 0.4 MB of operators and 31,000 segments on a page.
_MOST_BYTES = 16_000_000
_MOST_SEGMENTS = 500_000
_MOST_RUNS = 150_000
_MOST_CHARACTERS = 1_000_000
_MOST_TILES = 50_000_000
# Each outline within which others cut out more takes a picture of the page in memory.
_MOST_CLIPS = 20
# No path takes fewer than six bytes to begin: below so many nothing can be above its limit.
_FEW_BYTES = 6 * _MOST_RUNS
# A stream packed by anything but deflate is not unpacked here; MuPDF stops at 200 times its size.
_MOST_ODD_BYTES = 1_000_000
_DEEPEST = 28
# Showing a form costs this much, however little is in it.
_SHOWING_BYTES = 50

# How often the page may be painted all over, and how far its lines may run across or down in all:
# a 1 mm grid on A3 runs for 125 m, traces for less than 20 m.
_MOST_COATS = 300.0
_LONGEST_WAY_MM = 200_000.0

# Possessive throughout: what does not fit is given up at once, however long it is.
_BLANK = rb"(?:\s|%[^\r\n]{0,200}+[\r\n])++"
_SHOWN = re.compile(rb"/([^\s/<>\[\](){}%]++)" + _BLANK + rb"(Do|scn|SCN|gs)(?![A-Za-z])")
_INNERMOST = rb"\((?:[^()\\]++|\\.)*+\)"
_INNER = rb"\((?:[^()\\]++|\\.|" + _INNERMOST + rb")*+\)"
_STRING = re.compile(rb"\((?:[^()\\]++|\\.|" + _INNER + rb")*+\)|<[0-9A-Fa-f\s]*+>", re.DOTALL)
_NOT_IN_NAME = rb"(?<![A-Za-z/*'\"])"
_SEGMENT = re.compile(_NOT_IN_NAME + rb"(?:[lcvy]|re)(?![A-Za-z*])")
_RUN = re.compile(_NOT_IN_NAME + rb"(?:m|re)(?![A-Za-z*])")
_STATE = re.compile(_NOT_IN_NAME + rb"(?:[qQ]|W\*?)(?![A-Za-z*])")
_AFTER_RECTANGLE = re.compile(rb"re\s+\Z")
_KEYS = {b"Do": "XObject/{}", b"scn": "Pattern/{}", b"SCN": "Pattern/{}", b"gs": "ExtGState/{}"}


@dataclass(frozen=True, slots=True)
class _Cost:
    """What one stream asks for: bytes of operators, path segments, paths, printed characters.

    `clips` is how many outlines cut out what is drawn at most, one within the other.
    """

    size: int = 0
    segments: int = 0
    runs: int = 0
    characters: int = 0
    clips: int = 0

    def plus(self, other: _Cost, times: int) -> _Cost:
        return _Cost(
            self.size + times * other.size,
            self.segments + times * other.segments,
            self.runs + times * other.runs,
            self.characters + times * other.characters,
            max(self.clips, other.clips),
        )


class TooMuchError(Exception):
    """Says what there is too much of, in words for a message."""


def refuse_too_complex(document: Any, page: Any, source: Path, number: int) -> None:
    """Raise `UnreadableError` (page-too-complex) for a page that takes too long to be read."""
    try:
        if _Walk(document, page, exact=False).total().size > _FEW_BYTES:
            _Walk(document, page, exact=True).total()
    except TooMuchError as error:
        raise too_complex(source, number, str(error)) from error


def refuse_slow_drawing(page: Any, source: Path, number: int) -> None:
    """Raise `UnreadableError` (page-too-complex) for a page that is painted over and over."""
    coats = _coats(page)
    if coats > _MOST_COATS:
        raise too_complex(source, number, f"one that is painted over {coats:.0f} times")


def refuse_long_ways(
    strokes: Sequence[Stroke], size_mm: tuple[float, float], source: Path, number: int
) -> None:
    """Raise `UnreadableError` (page-too-complex) where lines run to and fro for too long."""
    if not strokes:
        return
    points_mm = np.clip(np.concatenate([s.points_mm for s in strokes]), 0.0, size_mm)
    steps_mm = np.abs(np.diff(points_mm, axis=0))
    steps_mm[np.cumsum([len(s.points_mm) for s in strokes])[:-1] - 1] = 0.0  # from line to line
    way_mm = steps_mm.sum(axis=0)
    if way_mm.max() > _LONGEST_WAY_MM:
        found = f"one whose lines run to and fro for {way_mm.max() / 1e3:.0f} m"
        raise too_complex(source, number, found)


def too_complex(source: Path, number: int, found: str) -> UnreadableError:
    return UnreadableError(
        "page-too-complex",
        source,
        number,
        expected="a page of lines and words as reports have them",
        found=found,
        hint="print the page to a picture of 300 dpi and convert that",
    )


def _check(cost: _Cost) -> None:
    for found, most, what in (
        (cost.size, _MOST_BYTES, "bytes of drawing"),
        (cost.segments, _MOST_SEGMENTS, "points of lines"),
        (cost.runs, _MOST_RUNS, "lines"),
        (cost.characters, _MOST_CHARACTERS, "characters"),
        (cost.clips, _MOST_CLIPS, "outlines one within the other"),
    ):
        if found > most:
            raise TooMuchError(f"one with more than {most:,} {what}")


class _Walk:
    """Adds up what the page's streams ask for, each as often as it is shown."""

    def __init__(self, document: Any, page: Any, *, exact: bool) -> None:
        self._document, self._page, self._exact = document, page, exact
        self._known: dict[tuple[int, int], _Cost] = {}
        self._open: set[int] = set()

    def total(self) -> _Cost:
        home = inherited_from(self._document, self._page.xref, "Resources")
        cost = _Cost()
        for xref, times in Counter(self._page.get_contents()).items():
            cost = cost.plus(self._of(xref, home, 0), times)
            _check(cost)
        for xref in self._looks():
            cost = cost.plus(self._of(xref, home, 0), 1)
            _check(cost)
        return cost

    def _looks(self) -> Iterator[int]:
        """The streams that annotations look like."""
        for xref, *_ in self._page.annot_xrefs():
            look = xref_at(self._document, xref, "AP/N")
            if look is not None:
                yield look

    def _of(self, xref: int, home: int | None, depth: int) -> _Cost:
        """What stream `xref` asks for; `home` has the resources where it has none of its own."""
        if xref in self._open:  # MuPDF does not go round in circles either
            return _Cost()
        if depth > _DEEPEST:
            raise TooMuchError(f"one with drawings nested more than {_DEEPEST} deep")
        if self._document.xref_get_key(xref, "Resources")[0] != "null":
            home = xref
        if (xref, home or 0) not in self._known:
            self._open.add(xref)
            self._known[xref, home or 0] = self._counted(xref, home, depth)
            self._open.discard(xref)
        return self._known[xref, home or 0]

    def _counted(self, xref: int, home: int | None, depth: int) -> _Cost:
        data = unpacked(self._document, xref)
        own_clips = _clips(data)
        cost = replace(_of_bytes(data) if self._exact else _Cost(len(data)), clips=own_clips)
        if home is None:
            return cost
        shown = Counter((name_of(m[1]), m[2]) for m in _SHOWN.finditer(data))
        for (name, how), times in shown.items():
            child = self._shown(home, _KEYS[how].format(name), how)
            if child is not None:
                inside = self._of(child, home, depth + 1)
                inside = replace(inside, clips=inside.clips + own_clips)
                cost = cost.plus(_Cost(_SHOWING_BYTES).plus(inside, 1), times)
                _check(cost)
        return cost

    def _shown(self, home: int, key: str, how: bytes) -> int | None:
        """The stream that a name stands for; None for images and what is no stream."""
        key = f"Resources/{key}"
        if how == b"gs":
            return xref_at(self._document, home, f"{key}/SMask/G")
        child = xref_at(self._document, home, key)
        if child is None or not self._document.xref_is_stream(child):
            return None
        if how == b"Do":
            is_form = self._document.xref_get_key(child, "Subtype")[1] == "/Form"
            return child if is_form else None
        self._check_tiles(child)
        return child

    def _check_tiles(self, xref: int) -> None:
        step = [numbers_at(self._document, xref, key) for key in ("XStep", "YStep")]
        matrix = numbers_at(self._document, xref, "Matrix")
        area = abs(step[0][0] * step[1][0]) if all(len(one) == 1 for one in step) else 0.0
        if len(matrix) == 6:
            area *= abs(matrix[0] * matrix[3] - matrix[1] * matrix[2])
        width, height = self._page.rect.width, self._page.rect.height
        if area > 0 and width * height / area > _MOST_TILES:
            raise TooMuchError(f"a pattern of more than {_MOST_TILES:,} tiles")


def unpacked(document: Any, xref: int) -> bytes:
    """A stream's bytes; raises `TooMuchError` before they take more memory than they may."""
    raw: bytes = document.xref_stream_raw(xref) or b""
    packed_by = document.xref_get_key(xref, "Filter")[1].replace(" ", "").strip("[]")
    if packed_by.startswith("/FlateDecode"):
        try:
            opened = zlib.decompressobj().decompress(raw, _MOST_BYTES + 1)
        except zlib.error:  # it is damaged: MuPDF takes what can be had, and says so
            opened = b""
        size = len(opened)
    else:
        size = len(raw)
    odd = packed_by not in ("", "null", "/FlateDecode")
    if size > (_MOST_ODD_BYTES if odd else _MOST_BYTES):
        raise TooMuchError(f"one with more than {_MOST_BYTES:,} bytes of drawing")
    data: bytes = document.xref_stream(xref) or b""
    return data


def _of_bytes(data: bytes) -> _Cost:
    bare = _STRING.sub(b" ", data)
    strings = len(data) - len(bare)
    if b"(" in bare:  # nested deeper than anybody writes: take all for text
        strings = len(data)
    segments = sum(1 for _ in _SEGMENT.finditer(bare))
    return _Cost(len(data), segments, sum(1 for _ in _RUN.finditer(bare)), strings)


def _clips(data: bytes) -> int:
    """How many outlines are in force at once; upright rectangles cost nothing."""
    if data.count(b"W") <= _MOST_CLIPS // 4:
        return 0
    saved, now, most = [], 0, 0
    for found in _STATE.finditer(data):
        if found[0] == b"q":
            saved.append(now)
        elif found[0] == b"Q":
            now = saved.pop() if saved else 0
        elif not _AFTER_RECTANGLE.search(data, max(0, found.start() - 8), found.start()):
            now += 1
            most = max(most, now)
    return most


def _coats(page: Any) -> float:
    """How often the page would be covered by all that is filled, boxes taken for their content."""
    boxes = [box for kind, box, *_ in page.get_bboxlog() if kind != "stroke-path"]
    if not boxes:
        return 0.0
    width, height = float(page.rect.width), float(page.rect.height)
    corners = np.nan_to_num(np.array(boxes, np.float64).reshape(-1, 4))
    across = np.clip(corners[:, 2], 0, width) - np.clip(corners[:, 0], 0, width)
    down = np.clip(corners[:, 3], 0, height) - np.clip(corners[:, 1], 0, height)
    return float((across * down).sum()) / (width * height)

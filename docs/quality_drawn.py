"""Measures the verdicts on pages that were drawn, read and judged by the whole pipeline.

python docs/quality_drawn.py DATA/ptbxl [FOLD [RECORDS]]

Pages of the four stock formats are drawn from records of PTB-XL's fold 10 unless told, right ones
and ones made wrong on purpose, and given to `ecgvision.convert` as vector PDFs, as images of 300
dpi, and as scans of 200 dpi turned by up to 1 degree. Prints a table in Markdown, with 95 %
intervals after Wilson, and what was said of the good pages. 20 records take about 20 minutes.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from quality_pages import FS_HZ, Records, load_records, reversed_electrodes, share, swap_kind

from ecgvision import convert
from ecgvision.conversion import Conversion, SignalOptions
from ecgvision.errors import PageError
from ecgvision.plugins import Format
from ecgvision.recognition import choose_formats
from ecgvision.testing import SYNTHETIC_PATIENT, DrawnPage, Ecg, as_png, draw_page, scanned
from ecgvision.types import LEADS, Layout

PAGES = (
    ("philips-tc30", "3x4+1R"),
    ("ge-mac1200", "6x2"),
    ("edan-se3", "6x2+1R"),
    ("ge-muse", "3x4+3R"),
)
MEDIA = ("vector", "image", "scan")
KINDS = (
    "good",
    "two leads swapped",
    "of these, not both chest leads",
    "of these, both chest leads",
    "layout off by a row",
    "LA/RA reversed",
    "gain mis-stated",
)
_PAIRS = tuple(combinations(LEADS, 2))
# A drawn box that is longer is a rhythm strip.
_STRIP_S = 6.0


@dataclass(frozen=True, eq=False)
class Misplaced(Ecg):
    """A recording whose boxes, but not its strips, are printed in the places of others."""

    shown: Mapping[str, str] = field(default_factory=dict)

    def window(self, name: str, start_s: float, stop_s: float) -> tuple[np.ndarray, np.ndarray]:
        in_its_place = stop_s - start_s > _STRIP_S
        return Ecg.window(self, name if in_its_place else self.shown.get(name, name), start_s, stop_s)


def drawn_pages(
    twelve_mv: np.ndarray, layout: Layout, chosen: Format, number: int
) -> Iterator[tuple[str, DrawnPage]]:
    """The kind of each page, and the page: one right, the others wrong."""
    rng = np.random.default_rng(number)
    signal_mv = twelve_mv.astype(np.float32)
    ecg = Ecg(signal_mv, FS_HZ)
    yield "good", draw_page(layout, chosen.info, ecg)
    one, other = _PAIRS[int(rng.integers(len(_PAIRS)))]
    swapped = Misplaced(signal_mv, FS_HZ, shown={one: other, other: one})
    yield swap_kind(one, other), draw_page(layout, chosen.info, swapped)
    off = Misplaced(signal_mv, FS_HZ, shown=_rows_off(layout, 1 if number % 2 else -1))
    yield "layout off by a row", draw_page(layout, chosen.info, off)
    turned = Ecg(reversed_electrodes(twelve_mv, "LA/RA").astype(np.float32), FS_HZ)
    yield "LA/RA reversed", draw_page(layout, chosen.info, turned)
    words = (*SYNTHETIC_PATIENT, f"25 mm/s {(5, 20)[number % 2]} mm/mV 0.05-150 Hz")
    yield "gain mis-stated", draw_page(layout, chosen.info, ecg, patient_text=words, footer=False)


def _rows_off(layout: Layout, step: int) -> dict[str, str]:
    rows = [[b.lead for b in row if not b.rhythm_strip] for row in layout.rows]
    rows = [row for row in rows if row]
    return {
        lead: rows[(at + step) % len(rows)][column]
        for at, row in enumerate(rows)
        for column, lead in enumerate(row)
    }


def read(drawn: DrawnPage, medium: str, format_id: str, number: int) -> Conversion | PageError:
    """The page as the pipeline reads it, or what it refused it with."""
    tilt_deg = float(np.random.default_rng(number).uniform(-1.0, 1.0))
    content = {
        "vector": lambda: drawn.pdf,
        "image": lambda: as_png(drawn.pdf, 300),
        "scan": lambda: scanned(drawn.pdf, dpi=200, rotation_deg=tilt_deg, seed=number),
    }[medium]()
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("page.png" if medium == "image" else "page.pdf")
        path.write_bytes(content)
        try:
            how = SignalOptions(min_quality="refused")
            (found,) = convert(path, format=format_id, signals=how)
        except PageError as error:
            return error
    return found

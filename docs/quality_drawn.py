"""Measures the verdicts on pages that were drawn, read and judged by the whole pipeline.

python docs/quality_drawn.py DATA/ptbxl [FOLD [RECORDS [PIXELS]]]

Pages of the four stock formats are drawn from records of PTB-XL's fold 10 unless told, right ones
and ones made wrong on purpose, and given to `ecgvision.convert`: RECORDS (50) of them as vector
PDFs, PIXELS (12) as images of 300 dpi or as scans of 200 dpi turned by up to 1 degree, too. Prints
a table in Markdown, with 95 % intervals after Wilson, and what was said of the right pages. Takes
some fifteen minutes on two cores.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from quality_pages import (
    FS_HZ,
    Records,
    cell,
    load_records,
    reversed_electrodes,
    rows_off,
    swapped,
)
from scipy.ndimage import maximum_filter1d

from ecgvision import convert
from ecgvision.conversion import Conversion, SignalOptions
from ecgvision.errors import PageError
from ecgvision.metrics import aligned_snr_db
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
    "drawn right but misread",
    "two leads swapped",
    "of these, not both chest leads",
    "of these, both chest leads",
    "layout off by a row",
    "LA/RA reversed",
    "gain mis-stated",
)
_PAIRS = tuple(combinations(LEADS, 2))
# A right page is misread where what was read has an aligned SNR under this, or where a peak is
# this much higher or lower than it was drawn. Peaks are looked for in windows so long.
_MISREAD_DB, _MISREAD_MV = 15.0, 0.2
_SHORT_S, _LONG_S = 0.08, 0.12
# A drawn box that is longer is a rhythm strip.
_STRIP_S = 6.0


@dataclass(frozen=True, eq=False)
class Misplaced(Ecg):
    """A recording whose boxes, but not its strips, are printed in the places of others."""

    shown: Mapping[str, str] = field(default_factory=dict)

    def window(self, name: str, start_s: float, stop_s: float) -> tuple[np.ndarray, np.ndarray]:
        in_its_place = stop_s - start_s > _STRIP_S
        return Ecg.window(
            self, name if in_its_place else self.shown.get(name, name), start_s, stop_s
        )


def drawn_pages(
    twelve_mv: np.ndarray, layout: Layout, chosen: Format, number: int
) -> Iterator[tuple[str, DrawnPage]]:
    """The kind of each page, and the page: one right, the others wrong."""
    rng = np.random.default_rng(number)
    signal_mv = twelve_mv.astype(np.float32)
    ecg = Ecg(signal_mv, FS_HZ)
    yield "good", draw_page(layout, chosen.info, ecg)
    one, other = _PAIRS[int(rng.integers(len(_PAIRS)))]
    mixed = Misplaced(signal_mv, FS_HZ, shown=swapped(one, other))
    yield KINDS[4 if one in LEADS[6:] else 3], draw_page(layout, chosen.info, mixed)
    off = Misplaced(signal_mv, FS_HZ, shown=rows_off(layout, 1 if number % 2 else -1))
    yield "layout off by a row", draw_page(layout, chosen.info, off)
    turned = Ecg(reversed_electrodes(twelve_mv, "LA/RA").astype(np.float32), FS_HZ)
    yield "LA/RA reversed", draw_page(layout, chosen.info, turned)
    words = (*SYNTHETIC_PATIENT, f"25 mm/s {(5, 20)[number % 2]} mm/mV 0.05-150 Hz")
    yield "gain mis-stated", draw_page(layout, chosen.info, ecg, patient_text=words, footer=False)


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


Judged = tuple[str, str, str, tuple[str, ...]]


def judged(turn_and_number: tuple[int, int], folder: Path, pixels: int) -> list[Judged]:
    """Format, medium, kind, and the codes that were found, of all pages of one record.

    Reading pixels takes seconds: the first `pixels` records have one right page per format as an
    image or a scan, and one wrong one as a scan. A code "not-read" stands for a page that was not
    read at all.
    """
    cv2.setNumThreads(1)
    turn, number = turn_and_number
    twelve_mv = _records(folder).twelve_mv(number)
    found = []
    for at, (format_id, name) in enumerate(PAGES):
        chosen = choose_formats(format_id)[0]
        layout = next(one for one in chosen.layouts if one.name == name)
        wrong = 1 + (turn + at) % 3
        for order, (kind, drawn) in enumerate(drawn_pages(twelve_mv, layout, chosen, number)):
            media = ["vector"]
            if turn < pixels and order in (0, wrong):
                media.append("image" if order == 0 and (turn + at) % 2 == 0 else "scan")
            for medium in media:
                result = read(drawn, medium, format_id, number)
                misread = kind == "good" and _is_misread(result, drawn.ecg)
                found.append((format_id, medium, KINDS[1] if misread else kind, _codes(result)))
    return found


def _is_misread(result: Conversion | PageError, ecg: Ecg) -> bool:
    if isinstance(result, PageError) or result.recording is None:
        return True
    boxes = result.recording.boxes
    truth, estimate = np.full((2, len(boxes), ecg.signal_mv.shape[1]), np.nan)
    for row, box in enumerate(boxes):
        _, shown = ecg.window(box.lead, box.start_s, box.stop_s)
        truth[row, : len(shown)] = shown
        estimate[row, : len(box.signal_mv)] = box.signal_mv
    snr_db = aligned_snr_db(truth, estimate, FS_HZ)
    return snr_db < _MISREAD_DB or _peaks_off_mv(truth, estimate) > _MISREAD_MV


def _peaks_off_mv(truth: np.ndarray, estimate: np.ndarray) -> float:
    """How much a peak of one is past all that the other shows at about that time."""
    known = np.isfinite(truth) & np.isfinite(estimate)
    worst = 0.0
    for sign in (1.0, -1.0):
        one, other = (np.where(known, sign * mv, -1e6) for mv in (truth, estimate))
        for peaks, shown in ((one, other), (other, one)):
            high = maximum_filter1d(peaks, round(_SHORT_S * FS_HZ), axis=1)
            reached = maximum_filter1d(shown, round(_LONG_S * FS_HZ), axis=1)
            worst = max(worst, float(np.max((high - reached)[known], initial=0.0)))
    return worst


def _codes(result: Conversion | PageError) -> tuple[str, ...]:
    if isinstance(result, PageError) or result.quality is None:
        return ("not-read",)
    findings = result.quality.findings
    return tuple(dict.fromkeys(one.code for one in findings if one.severity != "note"))


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2, 3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    fold, count, pixels = (
        int(arguments[at]) if len(arguments) > at else usual
        for at, usual in ((1, 10), (2, 50), (3, 12))
    )
    flags: dict[tuple[str, str], list[bool]] = defaultdict(list)
    said: Counter[str] = Counter()
    numbers = chosen_records(_records(folder), fold, count)
    with ProcessPoolExecutor(2) as pool:
        several = pool.map(partial(judged, folder=folder, pixels=pixels), enumerate(numbers))
        for name, medium, kind, codes in (page for some in several for page in some):
            for group in (kind, KINDS[2]) if kind in KINDS[3:5] else (kind,):
                flags[medium, group].append(bool(codes))
            if kind in KINDS[:2]:
                said.update(f"{name} {medium} {kind}: {code}" for code in codes)
    print(f"| page | {' | '.join(MEDIA)} |\n|---|{'---|' * len(MEDIA)}")
    for kind in KINDS:
        print(f"| {kind} | {' | '.join(cell(flags[medium, kind]) for medium in MEDIA)} |")
    print("\nWhat was said of right pages:", dict(said))
    return 0


@cache
def _records(folder: Path) -> Records:
    return load_records(folder)


def chosen_records(records: Records, fold: int, count: int) -> list[int]:
    """`count` records of a fold, drawn by lot with a fixed seed."""
    of_fold = records.of_folds(range(fold, fold + 1))
    return [int(at) for at in np.random.default_rng(10).permutation(of_fold)[:count]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

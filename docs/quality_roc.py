"""Measures how many pages made wrong on purpose are found, and draws the ROC curve.

python docs/quality_roc.py DATA/ptbxl docs/pictures/quality-roc.png [FOLD]

On PTB-XL's fold 10 unless told; folds 1 to 8 made the table, 1 to 9 the thresholds. Prints a table
in Markdown, with 95 % intervals after Wilson. All pages of the fold are tried as they are, every
fourth is made wrong. Takes some minutes.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from quality_pages import (
    LAYOUTS,
    cell,
    load_records,
    page_of,
    reversed_electrodes,
    rows_off,
    swapped,
)

from ecgvision.quality import Quality, assess
from ecgvision.quality.thresholds import TEMPO_HIGH, TEMPO_LOW, thresholds_for
from ecgvision.recording import Calibration, Recording, ScaleSource
from ecgvision.types import LEADS, Layout, Notice

RIGHT = Calibration(25.0, 10.0, "text", "text")
# What the calibration says of a page whose text says 5 mm/mV and whose pulse is 10 mm high.
MISSTATED = replace(
    RIGHT,
    gain_mm_per_mv=5.0,
    gain_sources=(ScaleSource("text", 5.0, 0.0), ScaleSource("pulse", 10.0, 1.0)),
    notices=(Notice("calibration-disagrees", "The text says 5 mm/mV, the pulse 10 mm/mV."),),
)
KINDS = (
    "good",
    "two leads swapped",
    "of these, not both chest leads",
    "of these, chest leads apart",
    "of these, chest neighbours",
    "gain mis-stated",
    "layout off by a row",
    "LA/RA reversed",
    "RA/LL reversed",
    "speed taken as half",
    "speed taken as double",
)
_EVERY = 4
_PAIRS = tuple(combinations(LEADS, 2))


def pages(
    twelve_mv: np.ndarray, layout: Layout, number: int, rng: np.random.Generator
) -> Iterator[tuple[str, Recording, Calibration]]:
    """The kind of each page, its signals and its scale: one right, the others made wrong."""
    snr_db = 14.0 if number % 2 else 20.0
    good = page_of(twelve_mv, layout, rng, snr_db)
    yield "good", good, RIGHT
    if number % _EVERY:
        return
    snr_db = 14.0 if number % (2 * _EVERY) else 20.0
    good = page_of(twelve_mv, layout, rng, snr_db)
    one, other = _PAIRS[int(rng.integers(len(_PAIRS)))]
    mixed = page_of(twelve_mv, layout, rng, snr_db, swapped(one, other))
    yield _swap_kind(one, other), mixed, RIGHT
    yield "gain mis-stated", good, MISSTATED
    off = rows_off(layout, 1 if number % (2 * _EVERY) else -1)
    yield "layout off by a row", page_of(twelve_mv, layout, rng, snr_db, off), RIGHT
    for kind in ("LA/RA", "RA/LL"):
        turned = page_of(reversed_electrodes(twelve_mv, kind), layout, rng, snr_db)
        yield f"{kind} reversed", turned, RIGHT
    yield "speed taken as half", _stretched(good, 2.0), RIGHT
    yield "speed taken as double", _stretched(good, 0.5), RIGHT


def _swap_kind(one: str, other: str) -> str:
    apart = LEADS.index(other) - LEADS.index(one)
    if one not in LEADS[6:]:
        return KINDS[2]
    return KINDS[4] if apart == 1 else KINDS[3]


def _stretched(page: Recording, factor: float) -> Recording:
    """The page with its time axis read `factor` times as long."""
    boxes = tuple(
        replace(box, start_s=box.start_s * factor, stop_s=box.stop_s * factor) for box in page.boxes
    )
    return replace(page, boxes=boxes, fs_hz=page.fs_hz / factor)


def severity(quality: Quality, layout: Layout) -> float:
    """The largest of the measures, each over its threshold, for the ROC curve."""
    measures, level = quality.measures, thresholds_for(layout)
    tempo = measures["tempo"] or 0.0
    own = [
        (measures["limb_left_over"] or 0.0) / level.physics,
        (measures["limb_margin"] or 0.0) / level.limb,
        # These scores run below 0 too: so that 1 is the threshold and all keep their order.
        float(np.exp((measures["reversal_margin"] or 0.0) - level.reversal)),
        float(np.exp((measures["chest_margin"] or 0.0) - level.chest)),
        tempo / TEMPO_HIGH if tempo > 0 else tempo / TEMPO_LOW,
    ]
    return max(own)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    records = load_records(Path(arguments[0]))
    fold = int(arguments[2]) if len(arguments) == 3 else 10
    flags: dict[tuple[str, str], list[bool]] = defaultdict(list)
    scores: dict[str, list[float]] = defaultdict(list)
    codes: dict[str, int] = defaultdict(int)
    for name, layout in LAYOUTS.items():
        rng = np.random.default_rng(10)
        for number in records.of_folds(range(fold, fold + 1)):
            for kind, page, scale in pages(records.twelve_mv(number), layout, number, rng):
                quality = assess(page, scale, layout)
                wrong = quality.verdict != "good"
                groups = (kind, KINDS[1]) if kind in KINDS[2:5] else (kind,)
                for group in groups:
                    flags[name, group].append(wrong)
                    scores[group].append(severity(quality, layout))
                if kind == "good":
                    for finding in quality.findings:
                        codes[f"{name} {finding.code} {finding.severity}"] += 1
    print_table(flags)
    print("\nWhat was said of good pages:", dict(codes))
    draw(scores, Path(arguments[1]))
    return 0


def print_table(flags: dict[tuple[str, str], list[bool]]) -> None:
    names = [*LAYOUTS, "all"]
    print(f"| page | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for kind in KINDS:
        cells = []
        for name in names:
            known = LAYOUTS if name == "all" else [name]
            found = [flag for one in known for flag in flags[one, kind]]
            cells.append(cell(found))
        print(f"| {kind} | {' | '.join(cells)} |")


def draw(scores: dict[str, list[float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.6), dpi=110)
    good = np.sort(scores["good"])
    for kind in KINDS[1:]:
        if kind == "gain mis-stated":
            continue  # a notice, no score
        steps = np.concatenate([[0.0], np.unique(scores[kind]), [np.inf]])[::-1]
        alarms = 1 - np.searchsorted(good, steps, side="left") / len(good)
        ordered = np.sort(scores[kind])
        found = 1 - np.searchsorted(ordered, steps, side="left") / len(ordered)
        axes.plot(100 * alarms, 100 * found, label=kind, linewidth=1.4)
    axes.axvline(2, color="grey", linestyle=":", linewidth=1)
    axes.axhline(95, color="grey", linestyle=":", linewidth=1)
    axes.set(
        xlabel="good pages called doubtful, %",
        ylabel="wrong pages found, %",
        xlim=(0, 10),
        ylim=(40, 101),
        title="PTB-XL, all five layouts",
    )
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

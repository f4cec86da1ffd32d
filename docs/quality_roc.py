"""Measures how many pages made wrong on purpose are found, and draws the ROC curve.

python docs/quality_roc.py DATA/ptbxl docs/pictures/quality-roc.png [FOLD]

On PTB-XL's fold 10 unless told; folds 1 to 8 made the table and the limits. Prints a table in
Markdown, with 95 % intervals after Wilson. Every record stands on one page, of each layout in turn,
which is tried as it is, with two leads swapped, with LA and RA reversed, and with one fault more.
Takes two minutes on two cores.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
from quality_pages import (
    LAYOUTS,
    SNR_DB,
    Records,
    cell,
    load_records,
    page_of,
    reversed_electrodes,
    rows_off,
    swapped,
)

from ecgvision.quality import Quality, assess
from ecgvision.quality.thresholds import STRIP_UNLIKE, TEMPO_HIGH, TEMPO_LOW, thresholds_for
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
    "of these, both chest leads",
    "chest neighbours swapped",
    "other chest leads swapped",
    "gain mis-stated",
    "layout off by a row",
    "LA/RA reversed",
    "RA/LL reversed",
    "speed taken as half",
    "speed taken as double",
)
# A notice has no score to move; two leads swapped are drawn by their kinds.
_UNDRAWN = ("gain mis-stated", "of these, both chest leads")
_PAIRS = tuple(combinations(LEADS, 2))
_CHEST = tuple(combinations(LEADS[6:], 2))
_NEIGHBOURS = tuple(pair for pair in _CHEST if LEADS.index(pair[1]) - LEADS.index(pair[0]) == 1)
_OTHERS = tuple(pair for pair in _CHEST if pair not in _NEIGHBOURS)


def pages(
    twelve_mv: np.ndarray, layout: Layout, turn: int, rng: np.random.Generator
) -> Iterator[tuple[str, Recording, Calibration]]:
    """The kind of each page, its signals and its scale: one right, the others made wrong."""
    snr_db = SNR_DB[turn // len(LAYOUTS) % len(SNR_DB)]
    good = page_of(twelve_mv, layout, rng, snr_db)
    yield "good", good, RIGHT

    def mixed(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], Recording]:
        pair = pairs[int(rng.integers(len(pairs)))]
        return pair, page_of(twelve_mv, layout, rng, snr_db, swapped(*pair))

    def turned(kind: str) -> Recording:
        return page_of(reversed_electrodes(twelve_mv, kind), layout, rng, snr_db)

    pair, page = mixed(_PAIRS)
    yield KINDS[3 if pair in _CHEST else 2], page, RIGHT
    yield "LA/RA reversed", turned("LA/RA"), RIGHT
    match turn // (len(LAYOUTS) * len(SNR_DB)) % 6:
        case 0:
            yield KINDS[4], mixed(_NEIGHBOURS)[1], RIGHT
        case 1:
            yield KINDS[5], mixed(_OTHERS)[1], RIGHT
        case 2:
            yield "RA/LL reversed", turned("RA/LL"), RIGHT
        case 3:
            off = rows_off(layout, 1 if turn % 2 else -1)
            yield "layout off by a row", page_of(twelve_mv, layout, rng, snr_db, off), RIGHT
        case 4:
            yield "gain mis-stated", good, MISSTATED
        case _:
            yield "speed taken as half", _stretched(good, 2.0), RIGHT
            yield "speed taken as double", _stretched(good, 0.5), RIGHT


def _stretched(page: Recording, factor: float) -> Recording:
    """The page with its time axis read `factor` times as long."""
    boxes = tuple(
        replace(box, start_s=box.start_s * factor, stop_s=box.stop_s * factor) for box in page.boxes
    )
    return replace(page, boxes=boxes, fs_hz=page.fs_hz / factor)


def severity(quality: Quality, layout: Layout) -> float:
    """The largest of the measures, each over its threshold, for the ROC curve."""
    measures, level = quality.measures, thresholds_for(layout)
    pace = measures["tempo"] or 0.0
    margin = max(measures["reversal_margin"] or 0.0, measures["chest_margin"] or 0.0)
    return max(
        (measures["limb_left_over"] or 0.0) / level.physics,
        (measures["limb_margin"] or 0.0) / level.limb,
        (measures["limb_kept_margin"] or 0.0) / level.limb_kept,
        max(measures["strip_unlike"].values(), default=0.0) / STRIP_UNLIKE,
        # These scores run below 0 too: so that 1 is the threshold and all keep their order.
        float(np.exp(margin - level.arrangement)),
        pace / TEMPO_HIGH if pace > 0 else pace / TEMPO_LOW,
    )


Judged = tuple[str, str, bool, float, tuple[str, ...]]


def judged_pages(turn_and_number: tuple[int, int], folder: Path) -> list[Judged]:
    """Layout, kind, whether it was found wrong, severity and codes, of all pages of a record."""
    turn, number = turn_and_number
    name = list(LAYOUTS)[turn % len(LAYOUTS)]
    rng = np.random.default_rng(number)
    found = []
    for kind, page, scale in pages(_records(folder).twelve_mv(number), LAYOUTS[name], turn, rng):
        quality = assess(page, scale, LAYOUTS[name])
        codes = tuple(one.code for one in quality.findings if one.severity != "note")
        score = severity(quality, LAYOUTS[name])
        found.append((name, kind, quality.verdict != "good", score, codes))
    return found


@cache
def _records(folder: Path) -> Records:
    return load_records(folder)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    folder, fold = Path(arguments[0]), int(arguments[2]) if len(arguments) == 3 else 10
    numbers = _records(folder).of_folds(range(fold, fold + 1))
    with ProcessPoolExecutor(2) as pool:
        judge = partial(judged_pages, folder=folder)
        several = pool.map(judge, enumerate(numbers), chunksize=50)
        report([page for some in several for page in some], Path(arguments[1]))
    return 0


def report(judged: Sequence[Judged], path: Path) -> None:
    """Prints the table, and draws the picture."""
    flags: dict[tuple[str, str], list[bool]] = defaultdict(list)
    scores: dict[str, list[float]] = defaultdict(list)
    said: Counter[str] = Counter()
    for name, kind, wrong, score, codes in judged:
        for group in (kind, KINDS[1]) if kind in KINDS[2:4] else (kind,):
            flags[name, group].append(wrong)
            scores[group].append(score)
        if kind == "good":
            said.update(codes)
    print_table(flags)
    print("\nWhat was said of good pages:", dict(said))
    draw(scores, path)


def print_table(flags: dict[tuple[str, str], list[bool]]) -> None:
    """The shares in percent by layout, and all together with the counts and an interval."""
    print(f"| page | {' | '.join(LAYOUTS)} | all |\n|---|{'---|' * (len(LAYOUTS) + 1)}")
    for kind in KINDS:
        shares = [f"{100 * np.mean(flags[name, kind]):.1f}" for name in LAYOUTS]
        every = [flag for name in LAYOUTS for flag in flags[name, kind]]
        print(f"| {kind} | {' | '.join(shares)} | {cell(every)} |")


def draw(scores: dict[str, list[float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8.4, 4.4), dpi=110)
    good = np.sort(scores["good"])
    for at, kind in enumerate(kind for kind in KINDS[1:] if kind not in _UNDRAWN):
        steps = np.concatenate([[0.0], np.unique(scores[kind]), [np.inf]])[::-1]
        alarms = 1 - np.searchsorted(good, steps, side="left") / len(good)
        ordered = np.sort(scores[kind])
        found = 1 - np.searchsorted(ordered, steps, side="left") / len(ordered)
        style = "-" if at < 6 else "--"
        axes.plot(100 * alarms, 100 * found, style, label=kind, linewidth=1.4)
    axes.axvline(2, color="grey", linestyle=":", linewidth=1)
    axes.axhline(95, color="grey", linestyle=":", linewidth=1)
    axes.set(
        xlabel="good pages called doubtful, %",
        ylabel="wrong pages found, %",
        xscale="log",
        xlim=(0.05, 100),
        ylim=(0, 101),
        title="PTB-XL, all layouts",
    )
    axes.set_xticks([0.1, 0.5, 1, 2, 5, 10, 100], labels=["0.1", "0.5", "1", "2", "5", "10", "100"])
    axes.minorticks_off()
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Learns the table of `ecgvision.quality.arrangement`, and sets the limits, on folds 1 to 8.

python docs/quality_table.py DATA/ptbxl ecgvision/quality/arrangement.npz

DATA/ptbxl holds `signals.npz` (first differences of I, II, V1 to V6 in microvolt at 250 Hz) and
`labels.csv` with the folds. Writes the table, and prints what `ecgvision/quality/thresholds.py`
holds for each kind of page: the limit that so few good pages pass as `_PASSED` says. The margins
are those of tables that had not seen the page's patient: three, each learned without a third of
the folds. Takes about ten minutes on two cores.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from quality_pages import LAYOUTS, SNR_DB, Records, load_records, page_of

from ecgvision.quality.arrangement import (
    arrangements,
    check_limb_leads,
    natural_scores,
    table_inputs,
)
from ecgvision.quality.beats import find_beats
from ecgvision.quality.checks import tempo
from ecgvision.quality.features import BINS, PRODUCTS, eight_leads, features, products
from ecgvision.quality.physics import at_their_times, check_physics, standing_together
from ecgvision.quality.rows import rows_of
from ecgvision.quality.thresholds import kind_of

FOLDS = range(1, 9)
# The folds each of the three tables is not learned on.
_THIRDS = ((1, 2, 3), (4, 5, 6), (7, 8))
# Of good pages so many may pass the limit of a measure.
_PASSED = {"arrangement": 0.01, "limb": 0.002, "limb_kept": 0.002, "physics": 0.002}

_HIDDEN, _EPOCHS, _BATCH = 64, 40, 96
_RATE, _DECAY, _DROPPED = 3e-3, 0.2, 0.3
# Two hearts added up make a heart, as far as the body conducts linearly: as good as more records.
_MIXED = 0.7
_SPREAD, _NOISE = 0.08, 0.03


@dataclass(frozen=True)
class GoodPage:
    """What is measured of a page that is as it should be; `described` is (8, BINS) or None."""

    fold: int
    kind: tuple[int, bool]
    described: np.ndarray | None
    limb: float
    limb_kept: float
    physics: float
    tempo: float


def pages_of(number: int, folder: Path) -> list[GoodPage]:
    """One record on a page of every layout, with much and little noise in turn."""
    records = _records(folder)
    twelve_mv = records.twelve_mv(number)
    found = []
    for turn, layout in enumerate(LAYOUTS.values()):
        rng = np.random.default_rng((number, turn))
        rows = rows_of(page_of(twelve_mv, layout, rng, SNR_DB[(number + turn) % len(SNR_DB)]))
        physics = check_physics(rows)
        lined_up = at_their_times(rows, physics)
        beats = find_beats(lined_up)
        eight = eight_leads(beats.average_mv)
        together = standing_together(lined_up)
        _, best, kept = check_limb_leads(beats.average_mv, layout, together)
        found.append(
            GoodPage(
                int(records.folds[number]),
                kind_of(layout),
                None if eight is None else features(eight).astype(np.float32),
                best.margin if best else 0.0,
                kept.margin if kept else 0.0,
                physics.fraction or 0.0,
                tempo(beats) or 0.0,
            )
        )
    return found


@cache
def _records(folder: Path) -> Records:
    return load_records(folder)


def learn(natural: np.ndarray, seed: int = 1) -> dict[str, np.ndarray]:
    """Raises the score of the natural arrangement over all others of the same page (softmax)."""
    rng = np.random.default_rng(seed)
    every = arrangements().astype(np.float32)
    inputs = 8 * BINS + PRODUCTS
    spread = np.sqrt((natural**2).mean(axis=(0, 1)))
    scales = {
        "scale": (1 / np.maximum(spread, 0.02)).astype(np.float32),
        "product_scale": 1 / np.maximum(products(natural).std(axis=0), 0.05),
    }
    weights = {
        "inner": rng.normal(0, 1.5 / np.sqrt(inputs), (inputs, _HIDDEN)).astype(np.float32),
        "bias": rng.normal(0, 0.1, _HIDDEN).astype(np.float32),
        "outer": rng.normal(0, 0.3, _HIDDEN).astype(np.float32),
    }
    first = {name: np.zeros_like(one) for name, one in weights.items()}
    second = {name: np.zeros_like(one) for name, one in weights.items()}
    step = 0
    for epoch in range(_EPOCHS):
        rate = _RATE * 0.5 * (1 + np.cos(np.pi * epoch / _EPOCHS)) + 1e-5
        order = rng.permutation(len(natural))
        for start in range(0, len(order) - _BATCH + 1, _BATCH):
            batch = _varied(natural, order[start : start + _BATCH], rng)
            shown = table_inputs(np.einsum("kij,njt->nkit", every, batch), scales)
            slopes = _slopes(shown, weights, rng)
            step += 1
            for name, slope in slopes.items():
                first[name] = 0.9 * first[name] + 0.1 * slope
                second[name] = 0.999 * second[name] + 0.001 * slope**2
                mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                decay = 0.0 if name == "bias" else _DECAY
                change = mean / (np.sqrt(square) + 1e-8) + decay * weights[name]
                weights[name] = (weights[name] - rate * change).astype(np.float32)
    return {**scales, **weights}


def _varied(natural: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pages mixed with others, their leads a little larger or smaller, with noise."""
    count = len(chosen)
    share = 0.5 * rng.random((count, 1, 1)) * (rng.random((count, 1, 1)) < _MIXED)
    batch = (1 - share) * natural[chosen] + share * natural[rng.integers(len(natural), size=count)]
    batch = batch * np.exp(rng.normal(0, _SPREAD, (count, 8, 1)))
    return (batch + rng.normal(0, _NOISE, batch.shape)).astype(np.float32)


def _slopes(
    shown: np.ndarray, weights: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The slope of the mean of -log p(natural) in each weight; `shown` is (n, ways, inputs)."""
    count, ways = shown.shape[:2]
    kept = (rng.random((count, 1, shown.shape[2])) > _DROPPED) / (1 - _DROPPED)
    inputs = (shown * kept.astype(np.float32)).reshape(count * ways, -1)
    hidden = np.tanh(inputs @ weights["inner"] + weights["bias"])
    scores = (hidden @ weights["outer"]).reshape(count, ways)
    slope = np.exp(scores - scores.max(axis=1, keepdims=True))
    slope /= slope.sum(axis=1, keepdims=True)
    slope[:, 0] -= 1
    column = slope.reshape(-1, 1) / count
    back = column * weights["outer"] * (1 - hidden**2)
    return {
        "inner": inputs.T @ back,
        "bias": back.sum(axis=0),
        "outer": (hidden * column).sum(axis=0),
    }


def learned_without(folds: Sequence[int], pages: Sequence[GoodPage]) -> dict[str, np.ndarray]:
    """The table of all pages that are not of these folds, as it is stored."""
    # Every record on three of its pages: there are no more hearts on six.
    some = [page for at, page in enumerate(pages) if (at // len(LAYOUTS) + at) % 2]
    known = [page.described for page in some if page.fold not in folds]
    table = learn(np.stack([one for one in known if one is not None]))
    return {name: one.astype(np.float16) for name, one in table.items()}


def margins(
    pages: Sequence[GoodPage], tables: Sequence[dict[str, np.ndarray]]
) -> dict[tuple[int, bool], list[float]]:
    """How far above each good page its best other arrangement is, by a table without its fold."""
    found: dict[tuple[int, bool], list[float]] = defaultdict(list)
    for folds, table in zip(_THIRDS, tables, strict=True):
        wide = {name: one.astype(np.float64) for name, one in table.items()}
        for page in pages:
            if page.fold in folds and page.described is not None:
                scores = natural_scores(page.described[None].astype(np.float64), wide)[0]
                found[page.kind].append(float(scores[1:].max() - scores[0]))
    return found


def print_limits(pages: Sequence[GoodPage], learned: dict[tuple[int, bool], list[float]]) -> None:
    """Each kind's limits, as `_BY_COLUMNS` of `ecgvision.quality.thresholds` has them."""
    for kind in sorted({page.kind for page in pages}):
        mine = [page for page in pages if page.kind == kind]
        limits = {
            "arrangement": learned[kind],
            "limb": [page.limb for page in mine],
            "limb_kept": [page.limb_kept for page in mine],
            "physics": [page.physics for page in mine],
        }
        told = [
            f"{name}={np.quantile(values, 1 - _PASSED[name]):.4f}"
            for name, values in limits.items()
        ]
        print(f"{kind}: Thresholds({', '.join(told)}) of {len(mine)} pages")
    paces = [page.tempo for page in pages]
    print("tempo, 1 and 999 in 1000:", np.quantile(paces, [0.001, 0.999]).round(3))


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    with ProcessPoolExecutor(4) as pool:
        numbers = _records(folder).of_folds(FOLDS)
        several = pool.map(partial(pages_of, folder=folder), numbers, chunksize=50)
        pages = [page for some in several for page in some]
        print(f"{len(pages)} pages", flush=True)
        *parts, table = pool.map(partial(learned_without, pages=pages), (*_THIRDS, ()))
    np.savez_compressed(arguments[1], **table)
    print(f"{Path(arguments[1]).stat().st_size} bytes")
    print_limits(pages, margins(pages, parts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

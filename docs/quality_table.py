"""Learns the table of `ecgvision.quality.arrangement` from PTB-XL, folds 1 to 8.

python docs/quality_table.py DATA/ptbxl ecgvision/quality/arrangement.npz

DATA/ptbxl holds `signals.npz` (first differences of I, II, V1 to V6 in microvolt at 250 Hz) and
`labels.csv` with the folds. Takes about five minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from quality_pages import LAYOUTS, Records, load_records, page_of

from ecgvision.quality.arrangement import arrangements
from ecgvision.quality.beats import find_beats
from ecgvision.quality.features import BINS, eight_leads, features
from ecgvision.quality.rows import rows_of

_HIDDEN, _EPOCHS, _BATCH = 64, 100, 96
_RATE, _DECAY, _DROPPED = 3e-3, 0.2, 0.4
# Two hearts added up make a heart, as far as the body conducts linearly: as good as more records.
_MIXED = 0.7
_SPREAD, _NOISE = 0.12, 0.06


def described(records: Records, folds: range, seed: int = 0) -> np.ndarray:
    """(n, 8, BINS) of every record on a page of every layout, clean and scanned in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for number in records.of_folds(folds):
        twelve_mv = records.twelve_mv(number)
        for turn, layout in enumerate(LAYOUTS.values()):
            snr_db = 14.0 if (number + turn) % 2 else 20.0
            page = page_of(twelve_mv, layout, rng, snr_db)
            eight = eight_leads(find_beats(rows_of(page)).average_mv)
            if eight is not None:
                found.append(features(eight).astype(np.float32))
    return np.stack(found)


def learn(natural: np.ndarray, seed: int = 1) -> dict[str, np.ndarray]:
    """Raises the score of the natural arrangement over all others of the same page (softmax)."""
    rng = np.random.default_rng(seed)
    every = arrangements().astype(np.float32)
    inputs = 8 * BINS
    spread = np.sqrt((natural**2).mean(axis=(0, 1)))
    scale = (1 / np.maximum(spread, 0.02)).astype(np.float32)
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
            slopes = _slopes(batch, every, scale, weights, rng)
            step += 1
            for name, slope in slopes.items():
                first[name] = 0.9 * first[name] + 0.1 * slope
                second[name] = 0.999 * second[name] + 0.001 * slope**2
                mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                decay = 0.0 if name == "bias" else _DECAY
                change = mean / (np.sqrt(square) + 1e-8) + decay * weights[name]
                weights[name] = (weights[name] - rate * change).astype(np.float32)
    return {"scale": scale, **weights}


def _varied(natural: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pages mixed with others, their leads a little larger or smaller, with noise."""
    count = len(chosen)
    share = 0.5 * rng.random((count, 1, 1)) * (rng.random((count, 1, 1)) < _MIXED)
    batch = (1 - share) * natural[chosen] + share * natural[rng.integers(len(natural), size=count)]
    batch = batch * np.exp(rng.normal(0, _SPREAD, (count, 8, 1)))
    return (batch + rng.normal(0, _NOISE, batch.shape)).astype(np.float32)


def _slopes(
    batch: np.ndarray,
    every: np.ndarray,
    scale: np.ndarray,
    weights: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The slope of the mean of -log p(natural) in each weight."""
    count, ways = len(batch), len(every)
    inputs = (np.einsum("kij,njt->nkit", every, batch) * scale).reshape(count, ways, -1)
    kept = (rng.random((count, 1, inputs.shape[2])) > _DROPPED) / (1 - _DROPPED)
    inputs = (inputs * kept.astype(np.float32)).reshape(count * ways, -1)
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


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    natural = described(load_records(Path(arguments[0])), range(1, 9))
    table = learn(natural)
    np.savez_compressed(arguments[1], **{k: v.astype(np.float16) for k, v in table.items()})
    print(f"{len(natural)} pages, {Path(arguments[1]).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Tiny data sets whose labels can be seen in them, for tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ecgvision.dataset.about import ColumnInfo, DatasetInfo, ImageInfo, SignalInfo
from ecgvision.dataset.store import Dataset, write_dataset

SIDE_PX = 64
FS_HZ = 100.0
SAMPLES = 500
# What a small run takes: enough to learn a dark corner.
TINY = (
    "model.backbone=resnet10t",
    f"model.image_px=[{SIDE_PX}, {SIDE_PX}]",
    "training.batch=8",
    "training.warmup_steps=2",
    "training.workers=0",
)
# A network of whole recordings, of which an epoch takes a blink.
TINY_RECORDINGS = (
    *TINY,
    "model.backbone=resnet1d",
    "model.fs_hz=100",
    "model.width=4",
    "model.lead_width=4",
    "model.depth=1",
    "training.learning_rate=1e-3",
)


def tiny_rows(count: int, seed: int = 0) -> pd.DataFrame:
    """Half training, the rest validation and test; a third in the new format.

    Scar and LVEF are as the picture shows them.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    scar = (number % 2).astype(float)
    weak = (number // 2 % 2).astype(float)
    return pd.DataFrame(
        {
            "record": [f"r{k}" for k in number],
            "patient": [f"p{k}" for k in number],
            "source": [f"p{k}.pdf" for k in number],
            "format": np.where(number // 16 % 3 == 1, "philips-tc30", "ge-mac1200"),
            "split": np.resize(["train"] * 8 + ["validation"] * 4 + ["test"] * 4, count),
            "age_years": 50 + 20 * scar + rng.normal(0, 3, count),
            "sex": rng.integers(0, 2, count).astype(float),
            "scar": scar,
            "lvef_percent": np.where(weak == 1, 35.0, 60.0),
        }
    )


def tiny_images(rows: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Grey noise; a dark corner at the left for a scar, at the right for a weak ventricle."""
    rng = np.random.default_rng(seed)
    images = rng.integers(200, 256, (len(rows), SIDE_PX, SIDE_PX)).astype(np.uint8)
    images[rows["scar"].to_numpy() == 1, :24, :24] //= 4
    images[rows["lvef_percent"].to_numpy() < 50, -24:, -24:] //= 4
    return images


def tiny_signals(rows: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Beats a second apart; Q waves for a scar, low voltage for a weak ventricle, half printed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(SAMPLES) / FS_HZ
    phase = (time_s[None] + rng.uniform(0, 1, (len(rows), 1))) % 1 - 0.5
    height = np.where(rows["lvef_percent"] < 50, 0.4, 1.2)[:, None]
    beat = height * np.exp(-((phase / 0.02) ** 2))
    beat = beat - (rows["scar"].to_numpy() == 1)[:, None] * np.exp(-(((phase + 0.05) / 0.02) ** 2))
    signals = beat[:, None] + rng.normal(0, 0.02, (len(rows), 12, SAMPLES))
    signals[:, :6, SAMPLES // 2 :] = np.nan
    signals[:, 6:, : SAMPLES // 2] = np.nan
    return signals.astype(np.float32)


def tiny_dataset(
    folder: Path, count: int = 48, *, images: bool = True, signals: bool = True
) -> Dataset:
    rows = tiny_rows(count)
    about = DatasetInfo(
        name="tiny",
        simulated=True,
        image=ImageInfo(height_px=SIDE_PX, width_px=SIDE_PX) if images else None,
        signal=SignalInfo(fs_hz=FS_HZ, samples=SAMPLES) if signals else None,
        columns={
            "age_years": ColumnInfo(role="clinical"),
            "sex": ColumnInfo(role="clinical"),
            "scar": ColumnInfo(role="label"),
            "lvef_percent": ColumnInfo(role="label"),
        },
    )
    return write_dataset(
        folder,
        about,
        rows,
        tiny_images(rows) if images else None,
        tiny_signals(rows) if signals else None,
    )

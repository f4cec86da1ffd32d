"""A network's ONNX files, tried against each other before anybody gets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecgvision.evaluation.auc import auc
from ecgvision.exporting.int8 import MOST_AUC_LOST, int8_bytes, log_odds, most_apart
from ecgvision.exporting.onnx_file import ExportError, onnx_bytes

if TYPE_CHECKING:
    from ecgvision.exporting.source import Pages, Source


@dataclass(frozen=True)
class Compared:
    """An int8 file against the network: the largest difference of an uncalibrated probability.

    `auc` has, by task, that of the network and that of the int8 file; empty where no labels were
    given.
    """

    probability: float
    pages: int
    auc: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def most_auc_apart(self) -> float:
        return max((abs(a - b) for a, b in self.auc.values()), default=0.0)

    def lines(self) -> list[str]:
        """What it says in words."""
        told = [
            f"int8: probabilities differ by {self.probability:.4f} at most, on {self.pages} pages"
        ]
        told += [
            f"int8: AUC of {name}: {one:.4f} before, {other:.4f} in int8"
            for name, (one, other) in self.auc.items()
        ]
        return told


@dataclass(frozen=True)
class Exported:
    """The ONNX file, and the int8 one with what it was compared by."""

    onnx: bytes = field(repr=False)
    int8: bytes | None = field(default=None, repr=False)
    compared: Compared | None = None


def exported(
    source: Source, calibration: Pages | None, judged: Pages | None = None, *, force: bool = False
) -> Exported:
    """The network as ONNX, and with pages of `calibration` as int8, too.

    `judged` are labelled pages, on which the AUC of both must be within 0.005 unless `force`.
    Raises `ExportError`.
    """
    data = onnx_bytes(source.net, source.recordings)
    if calibration is None:
        return Exported(data)
    small = int8_bytes(data, calibration.given, calibration.clinical)
    pages = judged or calibration
    one, other = (log_odds(file, pages.given, pages.clinical) for file in (data, small))
    both = {} if judged is None else _both(judged.targets, one, other)
    compared = Compared(most_apart(one, other), len(pages.given), both)
    if compared.most_auc_apart > MOST_AUC_LOST and not force:
        raise ExportError(
            f"{source.name}: expected an int8 file whose AUC is within {MOST_AUC_LOST:g} of the "
            f"network's, found {compared.most_auc_apart:.4f}: {'; '.join(compared.lines())}; "
            "calibrate on more pages, leave --int8 out, or use --force"
        )
    return Exported(data, small, compared)


def _both(
    targets: Mapping[str, NDArray[np.float32]],
    one: Mapping[str, NDArray[np.float64]],
    other: Mapping[str, NDArray[np.float64]],
) -> dict[str, tuple[float, float]]:
    """The AUCs of tasks that have labels of both kinds."""
    found = {}
    for name, labels in targets.items():
        known = np.isfinite(labels)
        if np.unique(labels[known]).size < 2:
            continue
        pair = tuple(float(auc(labels[known], each[name][known])) for each in (one, other))
        if all(map(math.isfinite, pair)):
            found[name] = (pair[0], pair[1])
    if not found:
        raise ExportError("no task has positive and negative labels on the pages of --data")
    return found

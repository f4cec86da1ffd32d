"""Tasks with several classes: each against all others, and the mean over the classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.evaluation.calibration import log_odds_of_class
from ecgvision.evaluation.estimates import Estimate
from ecgvision.evaluation.measure import shown
from ecgvision.evaluation.resampling import (
    Statistic,
    auc_of,
    average_precision_of,
    method_of,
    once,
    percentile,
    replicates,
    weighted_f1_of,
)
from ecgvision.evaluation.tables import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray


def macro(
    truth: NDArray[np.float64],
    logits: NDArray[np.float64],
    patients: NDArray[np.str_],
    *,
    draws: int,
    seed: int,
) -> list[Row]:
    """Macro AUC and average precision, and weighted F1 of the likeliest class, as cells.

    Each class is asked against the rest; every class counts the same. `truth` are numbers of
    classes, `logits` (n, k). A class that no row or every row has makes the macro figures NaN.
    """
    counts: Row = {"n": truth.size, "patients": int(np.unique(patients).size)}
    there = [
        number for number in range(logits.shape[1]) if 0 < (truth == number).sum() < truth.size
    ]
    if len(there) < logits.shape[1]:
        missing = logits.shape[1] - len(there)
        why = Estimate(
            math.nan, note=f"{missing} of {logits.shape[1]} classes cannot be told apart"
        )
        return [{**counts, **shown("auc", why)}]
    scores = [log_odds_of_class(logits, number) for number in there]
    statistics: dict[str, Statistic] = {
        "auc": _mean([auc_of(truth == k, one) for k, one in zip(there, scores, strict=True)]),
        "average_precision": _mean(
            [average_precision_of(truth == k, one) for k, one in zip(there, scores, strict=True)]
        ),
        "weighted_f1": weighted_f1_of(truth, logits.argmax(axis=1)),
    }
    drawn = replicates(statistics, truth, patients, draws=draws, seed=seed)
    return [
        {
            **counts,
            **shown(name, percentile(once(one, truth.size), drawn[name], method_of(patients))),
        }
        for name, one in statistics.items()
    ]


def _mean(statistics: list[Statistic]) -> Statistic:
    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.mean([one(weights) for one in statistics], axis=0))

    return statistic

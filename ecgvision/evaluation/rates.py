"""Sensitivity and specificity at thresholds, with intervals. Positive is a score at or over it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from ecgvision.evaluation.estimates import LEVEL, Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SENSITIVITIES = (0.80, 0.90, 0.95)
"""The operating points of the study."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many positives and negatives were called so or not."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def sensitivity(self) -> Estimate:
        return wilson(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> Estimate:
        return wilson(self.true_negative, self.true_negative + self.false_positive)

    @property
    def positive_predictive_value(self) -> Estimate:
        return wilson(self.true_positive, self.true_positive + self.false_positive)

    @property
    def negative_predictive_value(self) -> Estimate:
        return wilson(self.true_negative, self.true_negative + self.false_negative)


@dataclass(frozen=True, slots=True)
class Curve:
    """A ROC curve: rates at falling thresholds, from none called positive to all."""

    thresholds: NDArray[np.float64]
    false_positives: NDArray[np.int64]
    true_positives: NDArray[np.int64]

    @property
    def fpr(self) -> NDArray[np.float64]:
        return _share(self.false_positives)

    @property
    def tpr(self) -> NDArray[np.float64]:
        return _share(self.true_positives)

    def corners(self) -> Curve:
        """Without the points that lie on a line between their neighbours."""
        across, up = np.diff(self.false_positives), np.diff(self.true_positives)
        turn = across[:-1] * up[1:] != across[1:] * up[:-1]
        kept = np.concatenate([[True], turn, [True]])
        return Curve(self.thresholds[kept], self.false_positives[kept], self.true_positives[kept])


def wilson(successes: int, n: int, *, level: float = LEVEL) -> Estimate:
    """A share with Wilson's score interval (JASA 1927 (22), 209).

    >>> wilson(8, 10)
    Estimate(value=0.8, low=0.490..., high=0.943..., method='Wilson', note='')
    """
    if n == 0:
        return Estimate(math.nan, method="Wilson", note="nothing to count")
    low, high = wilson_bounds(np.array([successes]), np.array([n]), level=level)
    return Estimate(successes / n, float(low[0]), float(high[0]), "Wilson")


def wilson_bounds(
    successes: ArrayLike, n: ArrayLike, *, level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's interval of each share; NaN where n is 0."""
    hits, all_ = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (hits + z2 / 2) / (all_ + z2)
        half = np.sqrt(z2 * (hits * (all_ - hits) / all_ + z2 / 4)) / (all_ + z2)
    low = np.where(hits == 0, 0.0, np.clip(middle - half, 0, 1))
    high = np.where(hits == all_, 1.0, np.clip(middle + half, 0, 1))
    none = all_ == 0
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def counts_at(labels: ArrayLike, scores: ArrayLike, threshold: float) -> Counts:
    """What the threshold calls.

    >>> counts_at([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.4)
    Counts(true_positive=1, false_positive=1, true_negative=1, false_negative=1)
    """
    positive = np.asarray(labels) == 1
    called = np.asarray(scores, np.float64) >= threshold
    return Counts(
        int((positive & called).sum()),
        int((~positive & called).sum()),
        int((~positive & ~called).sum()),
        int((positive & ~called).sum()),
    )


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> Curve:
    """All points of the curve, the first with threshold infinity."""
    values = np.asarray(scores, np.float64)
    order = np.argsort(-values, kind="stable")
    falling, positive = values[order], (np.asarray(labels) == 1)[order]
    last = np.append(np.flatnonzero(np.diff(falling)), values.size - 1)
    ups = np.concatenate([[0], np.cumsum(positive)[last]])
    downs = np.concatenate([[0], np.cumsum(~positive)[last]])
    return Curve(np.concatenate([[np.inf], falling[last]]), downs, ups)


def threshold_for(labels: ArrayLike, scores: ArrayLike, sensitivity: float) -> float:
    """The highest threshold that finds at least this share of the positives; NaN without any.

    >>> threshold_for([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.9)
    0.35
    """
    positives = np.sort(np.asarray(scores, np.float64)[np.asarray(labels) == 1])[::-1]
    if not positives.size:
        return math.nan
    # A share such as 0.9 of 10 must not become 10 of 10 by rounding.
    needed = max(math.ceil(sensitivity * positives.size - 1e-9), 1)
    return float(positives[needed - 1])


def best_f1_threshold(
    labels: ArrayLike, scores: ArrayLike, prevalence: float | None = None
) -> float:
    """The threshold of the best weighted F1, infinity where none called positive is best.

    The F1 of both classes, weighted by their size. With `prevalence` positives and negatives weigh
    as if they had that share. Of equal ones it is the lowest; NaN where there is only one class.

    >>> best_f1_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.35
    """
    curve = roc_curve(labels, scores)
    up, down = float(curve.true_positives[-1]), float(curve.false_positives[-1])
    if not up or not down:
        return math.nan
    share = up / (up + down) if prevalence is None else prevalence
    tp = np.asarray(share * curve.tpr, np.float64)
    fp = np.asarray((1 - share) * curve.fpr, np.float64)
    f1 = share * _f1(tp, fp, share - tp) + (1 - share) * _f1(1 - share - fp, share - tp, fp)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)[-1]
    return float(curve.thresholds[best])


def _f1(
    hits: NDArray[np.float64], false: NDArray[np.float64], missed: NDArray[np.float64]
) -> NDArray[np.float64]:
    whole = 2 * hits + false + missed
    return np.divide(2 * hits, whole, out=np.zeros_like(whole), where=whole > 0)


def _share(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    whole = counts[-1]
    return counts / whole if whole else np.full(counts.shape, np.nan)

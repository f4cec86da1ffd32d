"""The area under the ROC curve, its variance, and tests between models on the same ECGs.

Everywhere `labels` are 0 and 1, `scores` finite, and higher means more likely positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.stats import norm, rankdata

from ecgvision.evaluation.estimates import LEVEL, Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Scale = Literal["plain", "logit"]

ONE_CLASS = "only one class: there is no AUC"
TIED = "all scores are the same"
APART = "every positive lies above every negative, or below: the sample tells no interval"
TOO_FEW = "an interval needs two positives and two negatives"


@dataclass(frozen=True, slots=True)
class Areas:
    """AUCs of k models on the same examples, and the covariance matrix (k, k) of their errors."""

    aucs: NDArray[np.float64]
    covariance: NDArray[np.float64]
    method: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two AUCs on the same examples: a minus b with its interval, z and the two-sided p."""

    auc_a: float
    auc_b: float
    difference: Estimate
    z: float
    p: float


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The share of pairs of a positive and a negative in the right order, ties half (Bamber 1975).

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    v10, _ = _placements(*_checked(labels, scores))
    return float(v10.mean()) if v10.size else math.nan


def delong(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    level: float = LEVEL,
    scale: Scale = "plain",
) -> Estimate:
    """AUC with the interval of DeLong et al. 1988, cut to 0 to 1 as in pROC.

    With `patients`, of whom some have several examples, the variance is Obuchowski's of 1997.
    On the "logit" scale the interval is symmetric for log(A / (1 - A)) and stays within 0 and 1
    (Pepe 2003, 5.2.4). No interval is given where the sample has no spread to make one of.

    >>> delong([0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.9])
    Estimate(value=0.833..., low=0.371..., high=1.0, method='DeLong', note='')
    """
    known, table = _checked(labels, scores)
    note = _spread(known, table[0])
    if note:
        return Estimate(auc(known, table[0]), method="DeLong", note=note)
    found = areas(known, table, patients)
    value, variance = float(found.aucs[0]), float(found.covariance[0, 0])
    half = _z(level) * math.sqrt(max(variance, 0.0))
    if scale == "logit":
        method = f"{found.method}, logit scale"
        middle = math.log(value / (1 - value))
        half /= value * (1 - value)
        low, high = (1 / (1 + math.exp(-(middle + side * half))) for side in (-1, 1))
        return Estimate(value, low, high, method)
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), found.method)


def compare(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    level: float = LEVEL,
) -> Comparison:
    """The paired test of DeLong et al. 1988 for two models on the same examples.

    Where the difference has no variance, as between equal rankings, z is 0 and p is 1 if there is
    no difference, and NaN otherwise.
    """
    known, table = _checked(labels, np.stack([np.asarray(scores_a), np.asarray(scores_b)]))
    positives = int(known.sum())
    if min(positives, known.size - positives) < 2:
        nothing = Estimate(math.nan, note=TOO_FEW)
        return Comparison(math.nan, math.nan, nothing, math.nan, math.nan)
    found = areas(known, table, patients)
    a, b = (float(value) for value in found.aucs)
    contrast = np.array([1.0, -1.0])
    variance = float(contrast @ found.covariance @ contrast)
    if variance <= 1e-15:
        same = abs(a - b) < 1e-12
        why = Estimate(a - b, method=found.method, note="the difference has no variance")
        return Comparison(a, b, why, 0.0 if same else math.nan, 1.0 if same else math.nan)
    error = math.sqrt(variance)
    half = _z(level) * error
    z = (a - b) / error
    difference = Estimate(a - b, a - b - half, a - b + half, found.method)
    return Comparison(a, b, difference, z, float(2 * norm.sf(abs(z))))


def areas(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None) -> Areas:
    """AUCs and covariance of models whose `scores` are the rows of (k, n), or one of (n,).

    Without patients, or with one example each, that of DeLong et al., Biometrics 1988 (44), 837,
    by midranks as Sun and Xu, IEEE Signal Processing Letters 2014 (21), 1389. Otherwise the sums
    over the examples of a patient, as Obuchowski, Biometrics 1997 (53), 567. There must be two
    positives and two negatives.
    """
    known, table = _checked(labels, scores)
    v10, v01 = _placements(known, table)
    aucs = v10.mean(axis=1)
    if patients is None or not repeat(patients):
        covariance = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
        return Areas(aucs, np.atleast_2d(covariance), "DeLong")
    who = np.unique(np.asarray(patients).astype(str), return_inverse=True)[1]
    by_patient = _clustered(known, who, (v10 - aucs[:, None], v01 - aucs[:, None]))
    return Areas(aucs, by_patient, "DeLong, by patient")


def repeat(patients: ArrayLike) -> bool:
    """Whether some patient has two examples or more."""
    names = np.asarray(patients).astype(str)
    return np.unique(names).size < names.size


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted for their number (Holm, Scand J Stat 1979 (6), 65); NaN is not counted.

    >>> holm([0.01, 0.04, 0.03, 0.005])
    array([0.03, 0.06, 0.06, 0.02])
    """
    given = np.asarray(p, np.float64)
    adjusted = np.full(given.shape, np.nan)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = given[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if order.size else steps
    return adjusted


def _clustered(
    labels: NDArray[np.float64],
    who: NDArray[np.int64],
    centred: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Covariance of the AUCs from the centred placements of all positives and negatives."""
    patients = int(who.max()) + 1
    sums = []
    for value, placements in zip((1, 0), centred, strict=True):
        here = np.zeros((placements.shape[0], patients))
        np.add.at(here.T, who[labels == value], placements.T)
        sums.append(here)
    counts = [np.unique(who[labels == value]).size for value in (1, 0)]
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    parts = [
        _unbiased(count) * (one @ one.T) / number**2
        for one, count, number in zip(sums, counts, (positives, negatives), strict=True)
    ]
    cross = _unbiased(patients) * (sums[0] @ sums[1].T) / (positives * negatives)
    return np.asarray(parts[0] + parts[1] + cross + cross.T)


def _unbiased(count: int) -> float:
    return count / (count - 1) if count > 1 else math.nan


def _placements(
    labels: NDArray[np.float64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each positive the share of negatives below it, for each negative of positives above."""
    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return np.empty((0, 0)), np.empty((0, 0))
    ranks = rankdata(scores, axis=1)
    below = ranks[:, positive] - rankdata(scores[:, positive], axis=1)
    above = ranks[:, ~positive] - rankdata(scores[:, ~positive], axis=1)
    return below / n, 1 - above / m


def _spread(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> str:
    """Why no interval can be made, or nothing."""
    positive = labels == 1
    least = min(int(positive.sum()), int((~positive).sum()))
    if least == 0:
        return ONE_CLASS
    high, low = scores[positive], scores[~positive]
    if scores.min() == scores.max():
        return TIED
    if high.min() > low.max() or high.max() < low.min():
        return APART
    return TOO_FEW if least < 2 else ""


def _checked(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels (n,) and scores (k, n); raises `ValueError` for what is neither 0, 1 nor finite."""
    known: NDArray[Any] = np.asarray(labels, np.float64)
    table: NDArray[Any] = np.atleast_2d(np.asarray(scores, np.float64))
    if known.ndim != 1 or table.ndim != 2 or table.shape[1] != known.size:
        raise ValueError(f"labels {known.shape} and scores {np.shape(scores)} do not fit")
    if not np.isin(known, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1: leave out what is not known")
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite")
    return known, table


def _z(level: float) -> float:
    return float(norm.ppf((1 + level) / 2))

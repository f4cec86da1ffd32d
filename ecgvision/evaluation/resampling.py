"""The bootstrap: by patient, both classes kept, the same draws for every model and figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.evaluation.auc import repeat
from ecgvision.evaluation.estimates import LEVEL, Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Statistic = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""Takes how often each example was drawn, (draws, n), and gives a figure for each draw."""

_SAME = 1e-12  # less than this is rounding
_CELLS = 4_000_000  # draws times examples that are in memory at once


def replicates(
    statistics: Mapping[str, Statistic],
    labels: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    draws: int = 1000,
    seed: int | tuple[int, ...] = 0,
) -> dict[str, NDArray[np.float64]]:
    """Each figure in every draw; NaN where a draw has none.

    Positives and negatives, or several classes, are drawn apart, each as many as there are
    (Carpenter and Bithell 2000, Stat Med 19, 1141). Where patients repeat, they are drawn with all
    their examples, those with a positive one apart from those without, or by their highest class
    (Field and Welsh 2007, JRSS B 69, 369).
    """
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for weights in _drawn(np.asarray(labels, np.float64), patients, draws, seed):
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def percentile(value: float, drawn: ArrayLike, method: str, *, level: float = LEVEL) -> Estimate:
    """The interval between percentiles of the draws (Efron 1981), around the figure itself."""
    known = np.asarray(drawn, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return Estimate(value, method=method, note="there is none in any draw")
    if np.ptp(known) < _SAME:
        return Estimate(value, method=method, note="the draws do not differ")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), method)


def method_of(patients: ArrayLike | None) -> str:
    """What the draws are called in tables."""
    clustered = patients is not None and repeat(patients)
    return "bootstrap, by patient" if clustered else "bootstrap, stratified"


def _drawn(
    labels: NDArray[np.float64],
    patients: ArrayLike | None,
    draws: int,
    seed: int | tuple[int, ...],
) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    if patients is None or not repeat(patients):
        who = np.arange(labels.size)
    else:
        who = np.unique(np.asarray(patients).astype(str), return_inverse=True)[1]
    highest = np.full(who.max() + 1 if who.size else 0, -np.inf)
    np.maximum.at(highest, who, labels)
    strata = [np.flatnonzero(highest == kind) for kind in np.unique(highest)]
    at_once = max(_CELLS // max(labels.size, 1), 1)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        times = np.zeros((count, highest.size))
        for members in strata:
            picked = generator.integers(0, members.size, (count, members.size))
            picked += np.arange(count)[:, None] * members.size
            often = np.bincount(picked.ravel(), minlength=count * members.size)
            times[:, members] = often.reshape(count, members.size)
        yield times[:, who]


# --- figures of weighted examples --------------------------------------------------------------


def auc_of(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """The AUC of each draw.

    >>> float(auc_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])(np.array([[1, 1, 1, 0]]))[0])
    0.5
    """
    positive, starts, order = _sorted(labels, scores)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn = weights[:, order]
        ups = _runs(drawn * positive, starts)
        downs = _runs(drawn * ~positive, starts)
        below = np.cumsum(downs, axis=1) - downs / 2
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        return _ratio((ups * below).sum(axis=1), pairs)

    return statistic


def average_precision_of(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """The average precision of each draw: precision summed over the steps of recall.

    The same as scikit-learn's `average_precision_score`: no interpolation.

    >>> one = average_precision_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> round(float(one(np.ones((1, 4)))[0]), 4)
    0.8333
    """
    positive, starts, order = _sorted(labels, -np.asarray(scores, np.float64))

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn = weights[:, order]
        hits = _runs(drawn * positive, starts)
        called = np.cumsum(_runs(drawn, starts), axis=1)
        precision = _ratio(np.cumsum(hits, axis=1), called)
        return _ratio((hits * np.nan_to_num(precision)).sum(axis=1), hits.sum(axis=1))

    return statistic


def mean_of(values: ArrayLike) -> Statistic:
    """The mean of each draw, of a loss such as Brier's."""
    each = np.asarray(values, np.float64)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return _ratio(weights @ each, weights.sum(axis=1))

    return statistic


def weighted_f1_of(labels: ArrayLike, called: ArrayLike) -> Statistic:
    """The F1 of every class, weighted by how many examples it has, in each draw.

    `labels` and `called` are numbers of classes. The same as scikit-learn's `f1_score` with
    `average="weighted"`; a class neither there nor called counts 0.
    """
    truth, said = np.asarray(labels), np.asarray(called)
    classes = np.unique(truth)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros(weights.shape[0])
        for one in classes:
            there = weights @ (truth == one).astype(float)
            named = weights @ (said == one).astype(float)
            both = weights @ ((truth == one) & (said == one)).astype(float)
            total += there * np.nan_to_num(_ratio(2 * both, there + named))
        return _ratio(total, weights.sum(axis=1))

    return statistic


def once(statistic: Statistic, n: int) -> float:
    """The figure of the examples as they are, each once."""
    return float(statistic(np.ones((1, n)))[0]) if n else math.nan


def _sorted(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Positive or not in the order of scores, where a new score begins, and that order."""
    values = np.asarray(scores, np.float64)
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf) > 0)
    return np.asarray(labels)[order] == 1, starts, order


def _runs(values: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sums over examples of equal scores."""
    if starts.size == values.shape[1]:
        return values
    return np.asarray(np.add.reduceat(values, starts, axis=1))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Above / below, NaN where there is nothing below."""
    nothing = np.full(np.shape(above), np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0))

"""Whether a probability is one: Brier score, reliability curve, temperature scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logsumexp

from ecgvision.evaluation.rates import wilson_bounds

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Temperatures are looked for between 1/100 and 100.
_LOG_BOUND = math.log(100.0)
BINS = 10


@dataclass(frozen=True, slots=True)
class Temperature:
    """What logits are divided by; 1 with a `note` where none could be fitted.

    `nll` and `nll_before` are the mean negative log-likelihoods of the `n` examples it was fitted
    on, with and without it.
    """

    value: float
    n: int
    nll_before: float = math.nan
    nll: float = math.nan
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins of examples of like probability: how many, mean probability, share of positives."""

    n: NDArray[np.int64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def brier(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """The squared error of each probability; their mean is the score (Brier 1950).

    >>> float(brier([0, 1, 1], [0.5, 0.5, 1.0]).mean())
    0.166...
    """
    each = (np.asarray(probabilities, np.float64) - np.asarray(labels, np.float64)) ** 2
    return np.asarray(each)


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> Reliability:
    """Bins of about equally many examples, with Wilson's intervals; equal ones share a bin.

    >>> reliability([0, 0, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2).observed
    array([0., 1.])
    """
    truth, chance = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    if not truth.size:
        nothing = np.empty(0)
        return Reliability(np.empty(0, np.int64), nothing, nothing, nothing, nothing)
    edges = np.unique(np.quantile(chance, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    place = np.unique(np.searchsorted(edges, chance, side="left"), return_inverse=True)[1]
    n = np.bincount(place)
    hits = np.bincount(place, weights=truth)
    low, high = wilson_bounds(hits, n)
    return Reliability(n, np.bincount(place, weights=chance) / n, hits / n, low, high)


def fit_temperature(labels: ArrayLike, logits: ArrayLike) -> Temperature:
    """The temperature of the least negative log-likelihood (Guo et al., ICML 2017).

    `logits` are (n,) log-odds with labels 0 and 1, or (n, k) with numbers of classes. It must be
    fitted on examples that are not the ones it is judged on.
    """
    truth, table = np.asarray(labels, np.float64), np.asarray(logits, np.float64)
    if not truth.size:
        return Temperature(1.0, 0, note="not fitted: no validation example has this label")
    if np.unique(truth).size < 2:
        return Temperature(1.0, truth.size, note="not fitted: only one class in validation")
    if np.ptp(table) == 0:
        return Temperature(1.0, truth.size, note="not fitted: all scores are the same")

    def loss(log_temperature: float) -> float:
        return _nll(truth, table / math.exp(log_temperature))

    found = minimize_scalar(
        loss, bounds=(-_LOG_BOUND, _LOG_BOUND), method="bounded", options={"xatol": 1e-6}
    )
    before, after = loss(0.0), float(found.fun)
    if abs(found.x) > 0.99 * _LOG_BOUND or not math.isfinite(after):
        why = "not fitted: no temperature between 0.01 and 100 is best"
        return Temperature(1.0, truth.size, before, before, why)
    return Temperature(math.exp(float(found.x)), truth.size, before, after)


def log_odds_of_class(logits: ArrayLike, number: int) -> NDArray[np.float64]:
    """(n,) log-odds of one class against all others, from logits (n, k).

    >>> bool(np.allclose(expit(log_odds_of_class([[0.0, 0.0, 0.0]], 1)), 1 / 3))
    True
    """
    table = np.asarray(logits, np.float64)
    others = logsumexp(np.delete(table, number, axis=1), axis=1)
    return np.asarray(table[:, number] - others)


def _nll(truth: NDArray[np.float64], logits: NDArray[np.float64]) -> float:
    if logits.ndim == 1:
        return float(np.mean(np.logaddexp(0.0, logits) - truth * logits))
    rows = np.arange(truth.size)
    return float(-np.mean(log_softmax(logits, axis=1)[rows, truth.astype(int)]))


def probability(log_odds: ArrayLike) -> NDArray[np.float64]:
    """Of log-odds, without overflow."""
    return np.asarray(expit(np.asarray(log_odds, np.float64)))

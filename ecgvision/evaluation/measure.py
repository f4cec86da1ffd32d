"""One question put to all models over one choice of rows: every figure, as rows of tables."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.evaluation import calibration
from ecgvision.evaluation.auc import Comparison, compare, delong, holm
from ecgvision.evaluation.estimates import Estimate
from ecgvision.evaluation.prevalence import Matched, matched
from ecgvision.evaluation.rates import (
    SENSITIVITIES,
    best_f1_threshold,
    counts_at,
    roc_curve,
    threshold_for,
    wilson_bounds,
)
from ecgvision.evaluation.resampling import (
    Statistic,
    auc_of,
    average_precision_of,
    mean_of,
    method_of,
    once,
    percentile,
    replicates,
    weighted_f1_of,
)
from ecgvision.evaluation.tables import Row, Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALIDATION, TEST = "validation", "test, as in the study"
FEWEST = 10
"""Positive and negative patients that a part of the rows must have for any figure of it."""

_GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's log-odds for one question, on the rows judged and on those of validation."""

    model: str
    test: NDArray[np.float64] = field(repr=False)
    validation: NDArray[np.float64] = field(repr=False)
    temperature: calibration.Temperature | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """The rows on which a question is asked: labels 0 or 1 and patients, and the models' answers.

    `truth` and `patients` are of the rows judged, `chosen_on` are the labels of the validation rows
    that thresholds are chosen on, empty where there are none.
    """

    task: str
    rows: str
    truth: NDArray[np.float64] = field(repr=False)
    patients: NDArray[np.str_] = field(repr=False)
    chosen_on: NDArray[np.float64] = field(repr=False)
    answers: tuple[Answers, ...] = field(repr=False)
    fewest: int = 1

    @property
    def counts(self) -> Row:
        return counted(self.truth, self.patients)

    @property
    def too_few(self) -> str:
        """Why this sample gets no figures, or nothing."""
        return too_few(self.truth, self.patients, self.fewest)

    def seed(self, seed: int) -> tuple[int, ...]:
        """The draws of a sample do not depend on which others there are."""
        return seed, zlib.crc32(f"{self.task}\n{self.rows}".encode())

    def who(self, model: str) -> Row:
        return {"task": self.task, "rows": self.rows, "model": model}


def counted(truth: NDArray[np.float64], patients: NDArray[np.str_]) -> Row:
    return {
        "n": truth.size,
        "positive": int((truth == 1).sum()),
        "patients": int(np.unique(patients).size),
    }


def too_few(truth: NDArray[np.float64], patients: NDArray[np.str_], fewest: int) -> str:
    """Why these rows get no figures, or nothing: patients count, not their rows."""
    positive, negative = (int(np.unique(patients[truth == kind]).size) for kind in (1, 0))
    if min(positive, negative) >= fewest:
        return ""
    return (
        f"too few: {positive:,} positive and {negative:,} negative patients, "
        f"{fewest} of each are needed"
    )


def measure(sample: Sample, tables: Tables, *, draws: int, seed: int) -> None:
    """Add all figures of the sample to the tables."""
    if sample.too_few:
        nothing: Row = {"metric": "auc", "note": sample.too_few}
        tables.add(
            "metrics", [{**sample.who(a.model), **sample.counts, **nothing} for a in sample.answers]
        )
        return
    tables.add("metrics", _metrics(sample, draws, seed))
    tables.add("comparisons", _comparisons(sample))
    for answer in sample.answers:
        tables.add("operating", _operating(sample, answer))
        tables.add("roc", _roc(sample, answer))
        tables.add("thresholds", _thresholds(sample, answer))
        if answer.temperature is not None:
            tables.add("calibration", _calibration(sample, answer))


def _metrics(sample: Sample, draws: int, seed: int) -> list[Row]:
    """AUC by both methods, then what the bootstrap gives an interval."""
    thresholds = {
        answer.model: best_f1_threshold(sample.chosen_on, answer.validation)
        if sample.chosen_on.size
        else math.nan
        for answer in sample.answers
    }
    statistics = {
        (answer.model, metric): statistic
        for answer in sample.answers
        for metric, statistic in _statistics(sample, answer, thresholds[answer.model]).items()
    }
    drawn = _replicates(statistics, sample, draws, seed)
    rows: list[Row] = []
    for answer in sample.answers:
        who = {**sample.who(answer.model), **sample.counts}
        rows.append({**who, **shown("auc", delong(sample.truth, answer.test, sample.patients))})
        for (model, metric), statistic in statistics.items():
            if model == answer.model:
                value = once(statistic, sample.truth.size)
                found = percentile(value, drawn[model, metric], method_of(sample.patients))
                rows.append({**who, **shown(metric, found)})
        if math.isnan(thresholds[answer.model]):
            why = Estimate(math.nan, note="no threshold: validation has not both classes")
            rows.append({**who, **shown("weighted_f1", why)})
        else:
            chosen = Estimate(thresholds[answer.model], method="best weighted F1 in validation")
            rows.append({**who, **shown("weighted_f1_threshold", chosen)})
    return rows


def _replicates(
    statistics: Mapping[tuple[str, str], Statistic], sample: Sample, draws: int, seed: int
) -> dict[tuple[str, str], NDArray[np.float64]]:
    keys = list(statistics)
    found = replicates(
        {str(number): statistics[key] for number, key in enumerate(keys)},
        sample.truth,
        sample.patients,
        draws=draws,
        seed=sample.seed(seed),
    )
    return {key: found[str(number)] for number, key in enumerate(keys)}


def _statistics(sample: Sample, answer: Answers, threshold: float) -> dict[str, Statistic]:
    truth = sample.truth
    found = {
        "auc": auc_of(truth, answer.test),
        "average_precision": average_precision_of(truth, answer.test),
    }
    if not math.isnan(threshold):
        found["weighted_f1"] = weighted_f1_of(truth, (answer.test >= threshold).astype(float))
    if answer.temperature is not None:
        plain = calibration.probability(answer.test)
        found["brier"] = mean_of(calibration.brier(truth, plain))
        if not answer.temperature.note:
            scaled = calibration.probability(answer.test / answer.temperature.value)
            found["brier_scaled"] = mean_of(calibration.brier(truth, scaled))
    return found


def shown(metric: str, found: Estimate) -> Row:
    """An estimate as cells."""
    return {
        "metric": metric,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "method": found.method,
        "note": found.note,
    }


def _comparisons(sample: Sample) -> list[Row]:
    """Every pair of models, with p-values for as many tests as there are pairs."""
    pairs = list(combinations(sample.answers, 2))
    found = [compare(sample.truth, a.test, b.test, sample.patients) for a, b in pairs]
    adjusted = holm([one.p for one in found])
    counted_tests = int(np.isfinite(adjusted).sum())
    tests = "1 test" if counted_tests == 1 else f"{counted_tests} tests"
    correction = f"Holm, {tests} of this task on these rows"
    return [
        {
            "task": sample.task,
            "rows": sample.rows,
            **sample.counts,
            "model_a": a.model,
            "model_b": b.model,
            **_compared(one),
            "p_adjusted": float(p),
            "correction": correction,
        }
        for (a, b), one, p in zip(pairs, found, adjusted, strict=True)
    ]


def _compared(one: Comparison) -> Row:
    return {
        "auc_a": one.auc_a,
        "auc_b": one.auc_b,
        "difference": one.difference.value,
        "low": one.difference.low,
        "high": one.difference.high,
        "method": one.difference.method,
        "note": one.difference.note,
        "z": one.z,
        "p": one.p,
    }


def _operating(sample: Sample, answer: Answers) -> list[Row]:
    """The study's operating points, by thresholds from validation and, as it did, from test."""
    rows: list[Row] = []
    places = ((VALIDATION, sample.chosen_on, answer.validation), (TEST, sample.truth, answer.test))
    for name, labels, scores in places:
        for target in SENSITIVITIES:
            who: Row = {**sample.who(answer.model), **sample.counts}
            who |= {"target_sensitivity": target, "chosen_on": name}
            threshold = threshold_for(labels, scores, target)
            if math.isnan(threshold):
                rows.append({**who, "note": "no threshold: validation has no positive"})
                continue
            rows.append({**who, **at_threshold(sample.truth, answer.test, threshold)})
    return rows


def at_threshold(truth: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> Row:
    """Counts, rates and predictive values at a threshold, as cells."""
    counts = counts_at(truth, scores, threshold)
    rates = {
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "ppv": counts.positive_predictive_value,
        "npv": counts.negative_predictive_value,
    }
    row: Row = {
        "threshold": threshold,
        "probability": float(calibration.probability(threshold)),
        "true_positive": counts.true_positive,
        "false_positive": counts.false_positive,
        "true_negative": counts.true_negative,
        "false_negative": counts.false_negative,
        "note": "",
    }
    for name, rate in rates.items():
        row |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
    return row


def _roc(sample: Sample, answer: Answers) -> list[Row]:
    curve = roc_curve(sample.truth, answer.test).corners()
    chances = calibration.probability(curve.thresholds)
    who = sample.who(answer.model)
    return [
        {**who, "threshold": float(t), "probability": float(p), "fpr": float(x), "tpr": float(y)}
        for t, p, x, y in zip(curve.thresholds, chances, curve.fpr, curve.tpr, strict=True)
    ]


def _thresholds(sample: Sample, answer: Answers) -> list[Row]:
    """The classification plot: both rates with Wilson's intervals at 101 probabilities."""
    chances = calibration.probability(answer.test)
    columns: dict[str, NDArray[np.float64]] = {"probability": _GRID}
    for name, value in (("tpr", 1), ("fpr", 0)):
        members = np.sort(chances[sample.truth == value])
        over = members.size - np.searchsorted(members, _GRID, side="left")
        low, high = wilson_bounds(over, np.full(_GRID.size, members.size))
        columns |= {name: over / members.size, f"{name}_low": low, f"{name}_high": high}
    who = sample.who(answer.model)
    return [
        {**who, **{name: float(values[k]) for name, values in columns.items()}}
        for k in range(_GRID.size)
    ]


def _calibration(sample: Sample, answer: Answers) -> list[Row]:
    """The reliability curve of the probabilities as they are, and by temperature where it fits."""
    temperature = answer.temperature
    kinds = [("as given", 1.0)]
    if temperature is not None and not temperature.note:
        kinds.append(("by temperature", temperature.value))
    rows: list[Row] = []
    for name, value in kinds:
        chances = calibration.probability(answer.test / value)
        curve = calibration.reliability(sample.truth, chances)
        who: Row = {**sample.who(answer.model), "scaled": name, "temperature": value}
        rows += [
            {
                **who,
                "n": int(curve.n[k]),
                "predicted": float(curve.predicted[k]),
                "observed": float(curve.observed[k]),
                "low": float(curve.low[k]),
                "high": float(curve.high[k]),
            }
            for k in range(curve.n.size)
        ]
    return rows


def at_prevalence(
    sample: Sample, prevalence: float, tables: Tables, *, draws: int, seed: int
) -> None:
    """Add what draws of another prevalence give, by the threshold best for it in validation."""
    if sample.too_few:
        return
    for answer in sample.answers:
        threshold = math.nan
        if sample.chosen_on.size:
            threshold = best_f1_threshold(sample.chosen_on, answer.validation, prevalence)
        found = matched(
            sample.truth,
            answer.test,
            prevalence,
            threshold=threshold,
            draws=draws,
            seed=sample.seed(seed),
        )
        tables.add("prevalence", _at_prevalence(sample.who(answer.model), found))


def _at_prevalence(who: Row, found: Matched) -> list[Row]:
    common: Row = {
        **who,
        "prevalence": found.prevalence,
        "draws": found.draws,
        "size": found.size,
        "positive": found.positives,
    }
    figures: Sequence[tuple[str, Estimate]] = (
        ("auc", found.auc),
        ("auc_mean", found.mean_auc),
        ("weighted_f1", found.weighted_f1),
        ("ppv", found.positive_predictive_value),
        ("npv", found.negative_predictive_value),
    )
    return [{**common, **shown(name, figure)} for name, figure in figures]

"""The same model in different people: sex, age, format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ecgvision.evaluation.auc import delong
from ecgvision.evaluation.measure import FEWEST, Answers, Sample, counted, too_few
from ecgvision.evaluation.rates import counts_at, threshold_for
from ecgvision.evaluation.tables import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.dataset.store import Dataset

AGES = (50, 65, 75)
"""Years at which a new age group begins."""

SENSITIVITY = 0.90
"""Rates in groups are those of the threshold that finds this share of all validation positives."""

NOT_KNOWN = "not known"


def groups_of(dataset: Dataset, numbers: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
    """For each kind of group the group of each of these rows."""
    table = dataset.rows.iloc[numbers]
    found: dict[str, NDArray[np.str_]] = {
        "format": np.array([one or NOT_KNOWN for one in table["format"]], dtype=str)
    }
    if "sex" in table:
        names = {0.0: "male", 1.0: "female"}
        found["sex"] = np.array([names.get(one, NOT_KNOWN) for one in table["sex"]], dtype=str)
    if "age_years" in table:
        ages = table["age_years"].to_numpy(np.float64)
        found["age"] = np.array([_age(one) for one in ages], dtype=str)
    return found


def _age(years: float) -> str:
    """The group's name.

    >>> [_age(years) for years in (49.9, 50, 74, 75, float("nan"))]
    ['under 50', '50 to 64', '65 to 74', '75 and over', 'not known']
    """
    if np.isnan(years):
        return NOT_KNOWN
    if years < AGES[0]:
        return f"under {AGES[0]}"
    for low, high in pairwise(AGES):
        if years < high:
            return f"{low} to {high - 1}"
    return f"{AGES[-1]} and over"


def group_rows(sample: Sample, groups: Mapping[str, NDArray[np.str_]]) -> list[Row]:
    """AUC, sensitivity and specificity in every group; none where it has too few cases."""
    return [
        {
            "task": sample.task,
            "group": kind,
            "value": value,
            "model": answer.model,
            **counted(sample.truth[inside], sample.patients[inside]),
            **_figures(sample, answer, inside),
        }
        for kind, value, inside in _parts(groups)
        for answer in sample.answers
    ]


def _parts(
    groups: Mapping[str, NDArray[np.str_]],
) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    order = ["under", *(str(age) for age in AGES)]
    for kind, values in groups.items():
        names = sorted(set(values), key=lambda name: (name == NOT_KNOWN, _place(name, order), name))
        for name in names:
            yield kind, str(name), values == name


def _place(name: str, order: list[str]) -> int:
    first = name.split(" ")[0]
    return order.index(first) if first in order else 0


def _figures(sample: Sample, answer: Answers, inside: NDArray[np.bool_]) -> Row:
    truth, scores = sample.truth[inside], answer.test[inside]
    why = too_few(truth, sample.patients[inside], FEWEST)
    if why:
        return {"note": why}
    found = delong(truth, scores, sample.patients[inside])
    row: Row = {
        "auc": found.value,
        "auc_low": found.low,
        "auc_high": found.high,
        "auc_method": found.method,
        "note": found.note,
    }
    threshold = threshold_for(sample.chosen_on, answer.validation, SENSITIVITY)
    if np.isnan(threshold):
        return row
    counts = counts_at(truth, scores, threshold)
    for name, rate in (("sensitivity", counts.sensitivity), ("specificity", counts.specificity)):
        row |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
    return row

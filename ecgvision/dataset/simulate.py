"""A made-up cohort: patients, what they have, when and on which machine their ECGs were taken.

The figures marked "study" are those of Boribalburephan et al. (Scientific Reports 14:7523, 2024).
All others are assumptions, chosen so that the features are about as telling as in the study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgvision.dataset.simulate_heart import (
    TERRITORIES,
    Disease,
    Effects,
    Recorded,
    Territory,
    simulated_ecg,
)
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.testing.synthetic import Ecg

    Floats = NDArray[np.float64]

# Study.
_AGE_YEARS, _AGE_SD_YEARS, _MALE = 72.3, 13.8, 0.505
_SCAR = 0.271
_LVEF_BELOW = ((40.0, 0.124), (50.0, 0.187))
_ONLY_AGE_AND_SEX = 0.385
_ECGS, _PATIENTS = 14_052, 13_707
_OLD_FORMAT, _NEW_FORMAT, _FIRST_NEW_YEAR = "ge-mac1200", "philips-tc30", 2017
# ECGs of each year: study for 2015, 2016 and the sums of 2009-2014 and 2017-2021, which are spread
# evenly.
_ECGS_OF_YEAR = {
    **dict.fromkeys(range(2009, 2015), 5795 / 6),
    2015: 1217.0,
    2016: 895.0,
    **dict.fromkeys(range(2017, 2022), 6145 / 5),
}

# Assumptions: how common the four other features are in men of the mean age; what a standard
# deviation of age and being a woman add, in standard deviations of a hidden normal variable.
_FEATURES = {
    "smoking": (0.30, -0.10, -0.60),
    "diabetes": (0.28, 0.05, 0.00),
    "hypertension": (0.65, 0.25, 0.05),
    "dyslipidemia": (0.50, 0.05, -0.05),
}
# Likewise of scar, for age, being a woman and the four features.
_SCAR_BY = (0.10, -0.45, 0.30, 0.30, 0.15, 0.25)
# Likewise of a high ejection fraction, for scar (and its extent's chance), age and being a woman.
_LVEF_BY_SCAR, _LVEF_BY_AGE, _LVEF_BY_WOMAN = -1.10, -0.05, 0.30
# Which territory a scar has; and the ejection fraction (percent) at ranks between the study's.
_TERRITORY_SHARES = (0.45, 0.35, 0.20)
_LVEF_AT_RANK = (
    (0.0, 12.0), (0.03, 25.0), *((rank, lvef) for lvef, rank in _LVEF_BELOW),
    (0.50, 61.0), (0.80, 68.0), (0.97, 76.0), (1.0, 82.0),
)  # fmt: skip
_YOUNGEST_YEARS, _OLDEST_YEARS = 18.0, 104.0
_REFERENCE = 200_000
_LVEF_DRIFT_PERCENT = 2.0


@dataclass(frozen=True, slots=True)
class CohortOptions:
    """How many patients, by which seed, and how strongly what they have shows in their ECGs."""

    patients: int
    seed: int = 0
    effects: Effects = field(default_factory=Effects)
    recorded: Recorded = field(default_factory=Recorded)

    def __post_init__(self) -> None:
        if not 1 <= self.patients <= 1_000_000:
            raise UsageError(f"--patients must lie in 1 to 1000000, found {self.patients}")
        if self.seed < 0:
            raise UsageError(f"--seed must not be negative, found {self.seed}")
        for flag, number in (
            ("--effect-scar", self.effects.scar),
            ("--effect-lvef", self.effects.lvef),
        ):
            if not 0 <= number <= 3:
                raise UsageError(f"{flag} must lie in 0 to 3, found {number:g}")


@dataclass(frozen=True)
class _People:
    """Arrays of one value a person; the four features are rows of `features`."""

    age: Floats
    woman: Floats
    features: Floats
    scar_score: Floats
    lvef_score: Floats


def _people(rng: np.random.Generator, count: int) -> _People:
    age = rng.normal(0.0, 1.0, count)
    woman = (rng.random(count) >= _MALE).astype(float)
    features = np.stack(
        [
            _common(share, by_age * age + by_woman * woman + rng.standard_normal(count))
            for share, by_age, by_woman in _FEATURES.values()
        ]
    )
    known = np.vstack([age, woman, features])
    scar_score = np.array(_SCAR_BY) @ known + rng.standard_normal(count)
    lvef_score = _LVEF_BY_AGE * age + _LVEF_BY_WOMAN * woman + rng.standard_normal(count)
    return _People(age, woman, features, scar_score, lvef_score)


def _common(share: float, hidden: Floats) -> Floats:
    return (hidden > NormalDist().inv_cdf(1 - share)).astype(float)


@lru_cache
def _reference() -> tuple[float, Floats]:
    """Above which score there is scar, and the sorted scores of the ejection fraction.

    Both by a large population of its own, so that every cohort, however small, is drawn from a
    population that has the study's shares.
    """
    people = _people(np.random.default_rng(20240401), _REFERENCE)
    limit = float(np.quantile(people.scar_score, 1 - _SCAR))
    scores = people.lvef_score + _LVEF_BY_SCAR * (people.scar_score > limit)
    return limit, np.sort(scores)


@dataclass(frozen=True, slots=True)
class SimulatedEcg:
    """One ECG of the cohort: its row of the labels, and what it takes to make its signal."""

    row: dict[str, Any]
    disease: Disease
    heart_seed: tuple[int, ...]
    beat_seed: tuple[int, ...]

    def ecg(self, options: CohortOptions) -> Ecg:
        """The recording itself."""
        return simulated_ecg(
            self.heart_seed, self.beat_seed, self.disease, options.effects, options.recorded
        )


def simulated_ecgs(options: CohortOptions) -> Iterator[SimulatedEcg]:
    """All ECGs of the cohort, patient by patient, each patient's by year.

    One in forty patients has two, in different years, as the study's numbers have it.
    """
    rng = np.random.default_rng([options.seed, 0])
    people = _people(rng, options.patients)
    limit, scores = _reference()
    scarred = people.scar_score > limit
    places = rng.choice(len(TERRITORIES), options.patients, p=_TERRITORY_SHARES)
    lvef = _lvef_percent(people.lvef_score + _LVEF_BY_SCAR * scarred, scores)
    again = rng.random(options.patients) < _ECGS / _PATIENTS - 1
    years = np.array(list(_ECGS_OF_YEAR))
    shares = np.array(list(_ECGS_OF_YEAR.values()))
    for number in range(options.patients):
        own = np.random.default_rng([options.seed, 1, number])
        territory: Territory = TERRITORIES[places[number]] if scarred[number] else "none"
        count = 2 if again[number] else 1
        taken = np.sort(own.choice(years, count, replace=False, p=shares / shares.sum()))
        for turn, year in enumerate(taken.tolist()):
            drift = float(own.normal(0.0, _LVEF_DRIFT_PERCENT)) if turn else 0.0
            percent = float(np.floor(np.clip(lvef[number] + drift, 5.0, 85.0)))
            known = own.random() >= _ONLY_AGE_AND_SEX
            row = _row(people, number, turn, year, year - int(taken[0]), known)
            row |= {
                "scar": int(scarred[number]),
                "scar_territory": territory,
                "lvef_percent": percent,
            }
            yield SimulatedEcg(
                row,
                Disease(territory, percent),
                (options.seed, 2, number),
                (options.seed, 3, number, turn),
            )


def _lvef_percent(scores: Floats, reference: Floats) -> Floats:
    """Each score's ejection fraction, by its rank in the reference population."""
    ranks = np.searchsorted(reference, scores) / len(reference)
    at, percent = np.array(_LVEF_AT_RANK).T
    return np.asarray(np.interp(ranks, at, percent), dtype=np.float64)


def _row(
    people: _People, number: int, turn: int, year: int, later_years: int, known: bool
) -> dict[str, Any]:
    """Who, when, and the features; without `known` all but age and sex are missing."""
    patient = f"sim{number + 1:06d}"
    age = _AGE_YEARS + _AGE_SD_YEARS * people.age[number] + later_years
    features = people.features[:, number] if known else np.full(len(_FEATURES), np.nan)
    return {
        "record": f"{patient}-{turn + 1}",
        "patient": patient,
        "year": year,
        "format": _NEW_FORMAT if year >= _FIRST_NEW_YEAR else _OLD_FORMAT,
        "age_years": round(float(np.clip(age, _YOUNGEST_YEARS, _OLDEST_YEARS)), 1),
        "sex": int(people.woman[number]),
        **{
            name: None if np.isnan(value) else int(value)
            for name, value in zip(_FEATURES, features, strict=True)
        },
    }

"""Clinical features that are not known, filled in from age and sex as the study did.

Each feature is a linear function of age and sex, fitted by Bayesian ridge regression on the rows
where it is known, and cut where the filled-in rows keep the prevalence among the known ones. Only
training data are filled in; validation and test data stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (makes the next line work)
from sklearn.impute import IterativeImputer
from sklearn.linear_model import BayesianRidge
from sklearn.utils.validation import check_is_fitted

from ecgvision.dataset.clinical_fitted import (
    ClinicalError,
    FeatureModel,
    Fitted,
    Step,
    check_values,
    feature_scores,
    filled_base,
)

Floats = NDArray[np.float64]

# Rounds of filling age and sex in from each other; they settle after three or four.
_MOST_ROUNDS = 100
_NEVER = sys.float_info.max


class ClinicalImputer(TransformerMixin, BaseEstimator):
    """A scikit-learn transformer of data frames that fills in clinical features.

    `age` and `sex` (0 or 1) name their columns, `features` those of 0 and 1 that are filled in from
    them, all other columns unless given. Age and sex that are missing themselves are first filled
    in from each other, by scikit-learn's chained `IterativeImputer` over `BayesianRidge`, and sex
    is cut like the features. What is known stays as it is.

    Raises `ClinicalError` for columns that are missing, hold other values, or have no known one.
    """

    def __init__(
        self,
        age: str = "age_years",
        sex: str = "sex",
        features: Sequence[str] | None = None,
    ) -> None:
        self.age = age
        self.sex = sex
        self.features = features

    def fit(self, frame: pd.DataFrame, y: object = None) -> Self:
        """Learn from these rows, which should be training rows only; `y` is not looked at."""
        features = self._features(frame)
        for name in (self.age, self.sex, *features):
            if np.isnan(self._values(frame, name)).all():
                raise ClinicalError(
                    f"column {name} has no known value in {len(frame)} rows; nothing is guessed "
                    "from nothing: leave the column out"
                )
        base = self._base(frame)
        chain = _imputer().fit(base)
        sex_scores, sex_known = chain.transform(base)[:, 1], base[:, 1]
        partial: dict[str, Any] = {
            "age": self.age,
            "sex": self.sex,
            "mean_age": chain.initial_imputer_.statistics_[0],
            "mean_sex": chain.initial_imputer_.statistics_[1],
            "steps": [_step(*triplet) for triplet in chain.imputation_sequence_],
            "sex_threshold": _threshold(sex_scores, sex_known),
        }
        filled = filled_base(base, Fitted(**partial, features={}))
        models = {name: _model(filled, self._values(frame, name)) for name in features}
        self.fitted_ = Fitted(**partial, features=models)
        self.feature_names_in_ = np.array([self.age, self.sex, *features], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        return self

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A copy of the frame in which age, sex and features are float64 and known."""
        check_is_fitted(self, "fitted_")
        fitted: Fitted = self.fitted_
        names = (fitted.age, fitted.sex, *fitted.features)
        return frame.assign(**fitted.filled({name: self._values(frame, name) for name in names}))

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """The columns that are filled in."""
        check_is_fitted(self, "fitted_")
        return np.asarray(self.feature_names_in_, dtype=object)

    def _features(self, frame: pd.DataFrame) -> tuple[str, ...]:
        names = frame.columns if self.features is None else self.features
        return tuple(str(name) for name in names if name not in (self.age, self.sex))

    def _base(self, frame: pd.DataFrame) -> Floats:
        """(n, 2): age and sex, NaN where they are not known."""
        return np.stack([self._values(frame, self.age), self._values(frame, self.sex)], axis=1)

    def _values(self, frame: pd.DataFrame, name: str) -> Floats:
        if name not in frame:
            raise ClinicalError(f"expected a column {name}, found {', '.join(map(str, frame))}")
        try:
            values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ClinicalError(f"column {name}: expected numbers, found others") from error
        check_values(name, values, is_age=name == self.age)
        return np.asarray(values, dtype=np.float64)

    # --- kept without pickle ------------------------------------------------------------------

    def to_json(self) -> str:
        """All that `transform` needs, as JSON; numbers come back to the last bit."""
        check_is_fitted(self, "fitted_")
        fitted: Fitted = self.fitted_
        return fitted.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: Path | str = "clinical.json") -> ClinicalImputer:
        """The imputer that `to_json` was called on; raises `ClinicalError` for anything else."""
        fitted = Fitted.from_json(text, source)
        names = tuple(fitted.features)
        imputer = cls(fitted.age, fitted.sex, names)
        imputer.fitted_ = fitted
        imputer.feature_names_in_ = np.array([fitted.age, fitted.sex, *names], dtype=object)
        imputer.n_features_in_ = len(imputer.feature_names_in_)
        return imputer


def _imputer() -> Any:
    return IterativeImputer(BayesianRidge(), max_iter=_MOST_ROUNDS, random_state=0)


def _step(target: int, _: object, regression: Any) -> Step:
    return Step(
        target=int(target),  # type: ignore[arg-type]
        slope=float(regression.coef_[0]),
        intercept=float(regression.intercept_),
    )


def _model(base: Floats, values: Floats) -> FeatureModel:
    """The regression of one feature on age and sex, which are both known by now."""
    imputer = _imputer().fit(np.column_stack([base, values]))
    regression = next(
        found for target, _, found in reversed(imputer.imputation_sequence_) if target == 2
    )
    (per_year, per_sex), intercept = regression.coef_, regression.intercept_
    model = FeatureModel(
        per_year=float(per_year),
        per_sex=float(per_sex),
        intercept=float(intercept),
        threshold=_NEVER,
        prevalence=float(np.nanmean(values)),
    )
    threshold = _threshold(feature_scores(base, model), values)
    return model.model_copy(update={"threshold": threshold})


def _threshold(scores: Floats, values: Floats) -> float:
    """The score from which a missing value is 1, so that these rows have the known prevalence.

    Where nothing is missing, the known rows themselves are cut. Of two cuts that are as good the
    one with fewer ones is taken.
    """
    missing = np.isnan(values)
    prevalence = float(np.mean(values[~missing]))
    if prevalence in (0.0, 1.0):
        return _NEVER if prevalence == 0 else -_NEVER
    found = np.sort(scores[missing] if missing.any() else scores)
    cuts = np.unique(found)
    ones = len(found) - np.searchsorted(found, cuts)
    cuts, ones = np.append(cuts, np.nextafter(cuts[-1], np.inf)), np.append(ones, 0)
    off = np.abs(ones / len(found) - prevalence)
    best = np.flatnonzero(off <= off.min() + 1e-12)[-1]
    below = cuts[best - 1] if best else cuts[best]
    # Half way to the next lower score, so that rounding elsewhere does not tip a row.
    return float((cuts[best] + below) / 2) if ones[best] else float(cuts[best])


def fill_in_training(
    rows: pd.DataFrame, columns: Sequence[str], age: str = "age_years", sex: str = "sex"
) -> tuple[pd.DataFrame, ClinicalImputer]:
    """The rows with `columns` filled in where the split is "train", and what filled them in.

    All other rows are as they were: what is not known of a test patient is not guessed.
    """
    names = [age, sex, *(name for name in columns if name not in (age, sex))]
    train = (rows["split"] == "train").to_numpy(bool)
    if not train.any():
        raise ClinicalError("no row is in training: split the data set first")
    imputer = ClinicalImputer(age, sex, tuple(names[2:]))
    filled = imputer.fit_transform(rows.loc[train, names])
    result = rows.copy()
    result.loc[train, names] = filled
    return result, imputer

"""Clinical features filled in from age and sex, by what was fitted before: NumPy alone.

`ecgvision.dataset.clinical` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecgvision.dataset.schema import first_fields
from ecgvision.errors import EcgVisionError

Floats = NDArray[np.float64]


class ClinicalError(EcgVisionError, ValueError):
    """Clinical features that cannot be filled in; the message names the column."""

    code = "clinical-unusable"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Step(_Frozen):
    """One regression of the chain for age (0) and sex (1), each on the other."""

    target: Literal[0, 1]
    slope: float
    intercept: float


class FeatureModel(_Frozen):
    """A feature as a function of age and sex, 1 from `threshold` on."""

    per_year: float
    per_sex: float
    intercept: float
    threshold: float
    prevalence: Annotated[float, Field(ge=0, le=1)]


class Fitted(_Frozen):
    """All that filling in needs."""

    kind: Literal["ecgvision-clinical-imputer"] = "ecgvision-clinical-imputer"
    version: Literal[1] = 1
    age: str
    sex: str
    mean_age: float
    mean_sex: float
    steps: tuple[Step, ...]
    sex_threshold: float
    features: dict[str, FeatureModel]

    @classmethod
    def from_json(cls, text: str | bytes, source: Path | str = "clinical.json") -> Self:
        """What `ClinicalImputer.to_json` wrote; raises `ClinicalError` for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ClinicalError(
                f"{source}: expected a clinical imputer of version 1, found "
                f"{'; '.join(first_fields(error))}"
            ) from error

    def filled(self, values: Mapping[str, Floats]) -> dict[str, Floats]:
        """Age, sex and features, (n,) each, with what is NaN filled in; what is known stays.

        `values` has all of them.
        """
        base = filled_base(np.stack([values[self.age], values[self.sex]], axis=1), self)
        found = {self.age: base[:, 0], self.sex: base[:, 1]}
        for name, model in self.features.items():
            guessed = (feature_scores(base, model) >= model.threshold).astype(np.float64)
            found[name] = np.where(np.isnan(values[name]), guessed, values[name])
        return found


def check_values(name: str, values: Floats, *, is_age: bool) -> None:
    """Raise `ClinicalError` for an age that is not finite, another feature not 0 or 1."""
    known = values[~np.isnan(values)]
    fine = np.isfinite(known) if is_age else np.isin(known, (0.0, 1.0))
    if not fine.all():
        wanted = "finite ages" if is_age else "0 and 1"
        raise ClinicalError(f"column {name}: expected {wanted}, found {known[~fine][0]:g}")


def filled_base(base: Floats, fitted: Fitted) -> Floats:
    """Age and sex filled in from each other, as `IterativeImputer.transform` does, and sex cut."""
    missing = np.isnan(base)
    filled = np.where(missing, (fitted.mean_age, fitted.mean_sex), base)
    for step in fitted.steps:
        guessed = filled[:, 1 - step.target] * step.slope + step.intercept
        filled[:, step.target] = np.where(missing[:, step.target], guessed, filled[:, step.target])
    cut = (filled[:, 1] >= fitted.sex_threshold).astype(np.float64)
    filled[:, 1] = np.where(missing[:, 1], cut, base[:, 1])
    return filled


def feature_scores(base: Floats, model: FeatureModel) -> Floats:
    return base[:, 0] * model.per_year + base[:, 1] * model.per_sex + model.intercept

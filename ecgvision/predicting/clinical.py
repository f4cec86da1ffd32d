"""Clinical features as people write them, as a network takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.clinical_fitted import ClinicalError, check_values
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.predicting.config import ModelConfig

AGE = "age_years"
_OLDEST_YEARS = 120
_NAMES = {"age": AGE}
# A data set's own column `sex`: 0 is male, 1 is female.
_WORDS = {"male": 0.0, "m": 0.0, "female": 1.0, "f": 1.0, "no": 0.0, "yes": 1.0}
_SEX_ALONE = {"male", "m", "female", "f"}

Value = float | int | str | None


def features(given: Mapping[str, Value], columns: tuple[str, ...]) -> dict[str, float]:
    """The features by column, NaN where not known; "age" is `age_years`, words are 0 and 1.

    Raises `UsageError` for a name that is none of the columns, and for a value that cannot be.

    >>> features({"age": 67, "sex": "female"}, ("age_years", "sex", "smoking"))
    {'age_years': 67.0, 'sex': 1.0, 'smoking': nan}
    """
    found = dict.fromkeys(columns, float("nan"))
    for name, value in given.items():
        column = _NAMES.get(name, name)
        if column not in found:
            raise UsageError(
                f"the model knows no {name}; it takes "
                f"{', '.join(columns) or 'no clinical features'}"
            )
        found[column] = _number(column, value)
    return found


def _number(column: str, value: Value) -> float:
    if value is None or value == "" or value != value:
        return float("nan")
    word = str(value).strip().lower()
    if word in _WORDS and (column == "sex") == (word in _SEX_ALONE):
        return _WORDS[word]
    try:
        number = float(value)
    except ValueError:
        number = float("inf")
    if column == AGE:
        if not 0 <= number <= _OLDEST_YEARS:
            raise UsageError(f"{column}: expected 0 to {_OLDEST_YEARS}, found {value!r}")
        return number
    if number not in (0.0, 1.0):
        words = "female or male, 1 or 0" if column == "sex" else "0 or 1"
        raise UsageError(f"{column}: expected {words}, found {value!r}")
    return number


def network_features(
    rows: list[dict[str, float]], config: ModelConfig
) -> NDArray[np.float32] | None:
    """(n, k) as the network takes them, unknown ones filled in; None for one that takes none."""
    columns = config.recipe.clinical
    if not columns:
        return None
    fitted = config.clinical
    names = columns if fitted is None else (fitted.age, fitted.sex, *fitted.features)
    values = {
        name: np.array([row.get(name, np.nan) for row in rows], np.float64)
        for name in dict.fromkeys((*columns, *names))
    }
    for name, column in values.items():
        check_values(name, column, is_age=name == (fitted.age if fitted else AGE))
    if fitted is not None and not config.keeps_unknown:
        values |= fitted.filled(values)
    return np.stack([values[name] for name in columns], axis=1).astype(np.float32)


__all__ = ["AGE", "ClinicalError", "Value", "features", "network_features"]

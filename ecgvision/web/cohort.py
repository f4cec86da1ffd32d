"""Where a probability lies among those of a model's test cohort, by its `cohort.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

COHORT = "cohort.json"
_PERCENT = np.arange(101)


@dataclass(frozen=True, slots=True)
class Cohort:
    """The cohort's calibrated probabilities by task, as their 0th to 100th percentiles, (101,)."""

    test_set: str
    percentiles: Mapping[str, NDArray[np.float64]]

    def place(self, task: str, probability: float) -> dict[str, Any] | None:
        """Percent of the cohort below the probability; None for a task it does not have.

        >>> cohort = Cohort("100 records", {"mi": np.linspace(0, 1, 101)})
        >>> cohort.place("mi", 0.25)
        {'percentile': 25.0, 'test_set': '100 records'}
        """
        if task not in self.percentiles:
            return None
        known = self.percentiles[task]
        # In the middle of those that are equal.
        below = np.searchsorted(known, probability, "left")
        above = np.searchsorted(known, probability, "right")
        place = (
            np.interp(probability, known, _PERCENT) if above == below else (below + above - 1) / 2
        )
        return {"percentile": round(float(place), 1), "test_set": self.test_set}


def cohort_bytes(test_set: str, probabilities: Mapping[str, ArrayLike]) -> bytes:
    """A `cohort.json` of (n,) calibrated probabilities by task; percentiles name no record."""
    told = {
        task: [round(float(one), 5) for one in np.percentile(np.asarray(values), _PERCENT)]
        for task, values in probabilities.items()
    }
    return (json.dumps({"test_set": test_set, "percentiles": told}, indent=1) + "\n").encode()


def read_cohort(model_toml: Path) -> Cohort | None:
    """The cohort of a model; None where there is none, or a file that is none."""
    try:
        told = json.loads((model_toml.parent / COHORT).read_bytes())
        found = {task: np.array(one, np.float64) for task, one in told["percentiles"].items()}
        good = all(
            one.shape == _PERCENT.shape and (np.diff(one) >= 0).all() for one in found.values()
        )
        return Cohort(str(told["test_set"]), found) if good else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

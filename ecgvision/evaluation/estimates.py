"""A figure with its interval, and what both of them are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ecgvision.errors import EcgVisionError

LEVEL = 0.95
"""Of every interval, unless told otherwise."""


class EvaluationError(EcgVisionError):
    """Models and data do not go together, or nothing can be measured; the message says what."""

    code = "evaluation-impossible"


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` and its interval from `low` to `high`, NaN where there is none; `note` says why.

    `method` is how the interval was made.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    method: str = ""
    note: str = ""

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

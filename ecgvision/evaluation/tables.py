"""The tables of an evaluation: their columns, and the same numbers as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Cell = str | int | float | bool
Row = dict[str, Cell]

_WHO = ("simulated", "task", "rows", "model")
_COUNTS = ("n", "positive", "patients")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "metrics": (*_WHO, *_COUNTS, "metric", "value", "low", "high", "method", "note"),
    "roc": (*_WHO, "threshold", "probability", "fpr", "tpr"),
    "thresholds": (
        *(*_WHO, "probability", "tpr", "tpr_low", "tpr_high", "fpr", "fpr_low", "fpr_high"),
    ),
    "calibration": (*_WHO, "scaled", "temperature", "n", "predicted", "observed", "low", "high"),
    "operating": (
        *(*_WHO, *_COUNTS, "target_sensitivity", "chosen_on", "threshold", "probability"),
        *("sensitivity", "sensitivity_low", "sensitivity_high"),
        *("specificity", "specificity_low", "specificity_high"),
        *("ppv", "ppv_low", "ppv_high", "npv", "npv_low", "npv_high"),
        *("true_positive", "false_positive", "true_negative", "false_negative", "note"),
    ),
    "groups": (
        *("simulated", "task", "group", "value", "model", *_COUNTS),
        *("auc", "auc_low", "auc_high", "auc_method"),
        *("sensitivity", "sensitivity_low", "sensitivity_high"),
        *("specificity", "specificity_low", "specificity_high", "note"),
    ),
    "comparisons": (
        *("simulated", "task", "rows", "model_a", "model_b", *_COUNTS, "auc_a", "auc_b"),
        *("difference", "low", "high", "method", "z", "p", "p_adjusted", "correction", "note"),
    ),
    "prevalence": (
        *(*_WHO, "prevalence", "draws", "size", "positive", "metric"),
        *("value", "low", "high", "method", "note"),
    ),
    "readers": (
        *("simulated", "task", "format", "reader", "sensitivity", "sensitivity_low"),
        *("sensitivity_high", "specificity", "specificity_low", "specificity_high", "note"),
    ),
}
"""Each table's columns. `rows` is "all" or a format; `threshold` is in log-odds of the score."""


@dataclass(eq=False)
class Tables:
    """Rows for each of `COLUMNS`; `add` gives every row what is said of the whole data set."""

    simulated: bool
    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, name: str, rows: Sequence[Row]) -> None:
        for row in rows:
            whole: Row = {"simulated": "simulated" if self.simulated else "no", **row}
            unknown = set(whole) - set(COLUMNS[name])
            if unknown:
                raise KeyError(f"{name} has no columns {sorted(unknown)}")
            self.rows[name].append({key: whole.get(key, math.nan) for key in COLUMNS[name]})

    def where(self, name: str, **values: Cell) -> list[Row]:
        """The rows of a table that have these values."""
        return [
            row for row in self.rows[name] if all(row[key] == one for key, one in values.items())
        ]

    def csv(self, name: str) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS[name])
        writer.writerows([_cell(row[key]) for key in COLUMNS[name]] for row in self.rows[name])
        return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Cell) -> str:
    """Seven digits are more than any figure here has; nothing for NaN.

    >>> [_cell(value) for value in (0.123456789, float("nan"), float("inf"), 12, "a", "=1+1")]
    ['0.1234568', '', 'inf', '12', 'a', "'=1+1"]
    """
    if isinstance(value, str):
        # Spreadsheets take such a text for a formula.
        return f"'{value}" if value[:1] in "=+-@\t\r" and value else value
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.7g}"
    return str(value)

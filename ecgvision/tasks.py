"""What a model is asked: named tasks, each made from one column of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecgvision.errors import EcgVisionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class LabelError(EcgVisionError):
    """A label that its task does not know; the message names column, row and value."""

    code = "label-unknown"


class Task(BaseModel):
    """A question about an ECG that `column` of the label table answers.

    Binary, the column is 0 or 1, or is cut: with `below` what lies under it is positive, with
    `at_least` what does not. With `classes`, two or more, it is one of these words. `weight` is the
    task's share of the loss. What is not known stays NaN: it is masked, never guessed.

    >>> Task(name="lvef", column="lvef_percent", below=50).targets([35.0, 62.0, None])
    array([ 1.,  0., nan], dtype=float32)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    column: str = ""
    title: str = ""
    below: float | None = None
    at_least: float | None = None
    classes: tuple[str, ...] = ()
    weight: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        cuts = (self.below is not None) + (self.at_least is not None) + bool(self.classes)
        if cuts > 1:
            raise ValueError("give one of below, at_least and classes")
        if len(self.classes) == 1 or len(set(self.classes)) != len(self.classes):
            raise ValueError("classes need two different names or more")
        return self

    @property
    def source(self) -> str:
        """The column of the labels."""
        return self.column or self.name

    @property
    def is_binary(self) -> bool:
        return not self.classes

    @property
    def outputs(self) -> int:
        """How many classes there are, for a binary task 2."""
        return len(self.classes) or 2

    def targets(self, values: Sequence[object]) -> NDArray[np.float32]:
        """(n,) float32: the number of the class, 1 for positive, NaN where it is not known.

        Raises `LabelError` for anything that is no answer to this task.
        """
        if self.classes:
            return self._numbered(values)
        found = np.array([self._number(value, row) for row, value in enumerate(values)])
        known = np.isfinite(found)
        if self.below is not None:
            found[known] = found[known] < self.below
        elif self.at_least is not None:
            found[known] = found[known] >= self.at_least
        elif not np.isin(found[known], (0.0, 1.0)).all():
            row = int(np.flatnonzero(known & ~np.isin(found, (0.0, 1.0)))[0])
            raise self._unknown(row, values[row], "0, 1 or nothing")
        return found.astype(np.float32)

    def _numbered(self, values: Sequence[object]) -> NDArray[np.float32]:
        numbers = {name: float(k) for k, name in enumerate(self.classes)}
        found = np.full(len(values), np.nan, np.float32)
        for row, value in enumerate(values):
            if value is None or value != value or value == "":
                continue
            if value not in numbers:
                raise self._unknown(row, value, f"one of {', '.join(self.classes)}")
            found[row] = numbers[str(value)]
        return found

    def _number(self, value: object, row: int) -> float:
        if value is None or value == "":
            return float("nan")
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self._unknown(row, value, "a number or nothing") from None
        if np.isinf(number):
            raise self._unknown(row, value, "a finite number or nothing")
        return number

    def _unknown(self, row: int, value: object, expected: str) -> LabelError:
        return LabelError(
            f"task {self.name}: column {self.source}, row {row + 1}: expected {expected}, "
            f"found {value!r}; mend the table, or leave the value out where it is not known"
        )

"""Tasks: labels become targets, and what is not known is never guessed."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ecgvision.tasks import LabelError, Task


def test_a_cut_counts_what_lies_below_it_and_not_on_it() -> None:
    below = Task(name="lvef", column="lvef_percent", below=50)
    assert below.targets([49.9, 50, "50.1", 0]).tolist() == [1, 0, 0, 1]
    assert Task(name="old", at_least=65).targets([64.9, 65]).tolist() == [0, 1]


@pytest.mark.parametrize("nothing", [None, "", float("nan"), np.nan, np.float32("nan")])
def test_what_is_not_known_stays_unknown(nothing: object) -> None:
    for task in (
        Task(name="scar"),
        Task(name="lvef", below=50),
        Task(name="rhythm", classes=("sinus", "af")),
    ):
        assert np.isnan(task.targets([nothing])).all()


def test_classes_are_numbered_in_their_order() -> None:
    task = Task(name="rhythm", classes=("sinus", "af", "paced"))
    assert task.targets(["paced", "sinus", "af"]).tolist() == [2, 0, 1]
    assert (task.outputs, task.is_binary) == (3, False)
    assert (Task(name="scar").outputs, Task(name="scar").is_binary) == (2, True)


@pytest.mark.parametrize(
    ("task", "values", "told"),
    [
        (Task(name="scar", column="ms"), [0, 1, 2], r"column ms, row 3: .* 0, 1 .* found 2"),
        (Task(name="scar"), ["yes"], r"row 1: expected a number .* found 'yes'"),
        (Task(name="lvef", below=50), [float("inf")], "finite"),
        (Task(name="r", classes=("a", "b")), ["a", "c"], r"row 2: expected one of a, b, found 'c'"),
    ],
)
def test_other_values_are_refused_by_column_and_row(
    task: Task, values: list[object], told: str
) -> None:
    with pytest.raises(LabelError, match=told):
        task.targets(values)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "LVEF"},
        {"name": "a", "below": 1, "at_least": 2},
        {"name": "a", "below": 1, "classes": ("x", "y")},
        {"name": "a", "classes": ("x",)},
        {"name": "a", "classes": ("x", "x")},
        {"name": "a", "weight": -1},
        {"name": "a", "cutoff": 50},
    ],
)
def test_a_task_has_one_meaning(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Task.model_validate(given)

"""What a model says of a page: a probability for each task, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgvision.errors import PageError
from ecgvision.types import Notice

RESEARCH_ONLY = "Research software, not a medical device: no answer is a diagnosis."
SIMULATED = "This model was trained or tested on simulated data: its answers say nothing of people."


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The calibrated probability of one task.

    `positive` tells whether it reaches `threshold`, that of the operating point which the model's
    `model.toml` has as its default; all three are None where it has none.
    """

    task: str
    title: str
    probability: float
    positive: bool | None
    threshold: float | None
    operating_point: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "task": self.task,
            "title": self.title,
            "probability": round(self.probability, 6),
            "positive": self.positive,
            "threshold": self.threshold,
            "operating_point": self.operating_point,
        }


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """A page's answers, in the order of the model's tasks; none where there is a `refusal`.

    `page` is None where a whole file was refused. `weights` is the file that answered, `format_id`
    the format that the page was taken for. `simulated` is the model's: its answers then say
    nothing of people.
    """

    source: Path
    page: int | None
    model: str
    tasks: tuple[TaskAnswer, ...] = ()
    warnings: tuple[Notice, ...] = ()
    refusal: PageError | None = None
    format_id: str = ""
    weights: str = ""
    simulated: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON: codes and numbers, nothing of the page's text."""
        refusal = self.refusal
        return {
            "source": self.source.as_posix(),
            "page": self.page,
            "model": self.model,
            "weights": self.weights,
            "simulated": self.simulated,
            "notice": f"{RESEARCH_ONLY} {SIMULATED}" if self.simulated else RESEARCH_ONLY,
            "format": self.format_id or None,
            "tasks": [task.as_dict() for task in self.tasks],
            "warnings": [{"code": n.code, "message": n.message} for n in self.warnings],
            "refusal": refusal and {"code": refusal.code, "message": str(refusal)},
        }

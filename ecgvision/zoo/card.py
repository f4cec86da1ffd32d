"""A model's card on the Hub: its author's text under the metadata that the entry gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ecgvision.errors import EcgVisionError
from ecgvision.zoo.entry import Entry, Metric
from ecgvision.zoo.links import local_links
from ecgvision.zoo.picture import PICTURE

# The author's own of these go up; the rest comes from the entry.
_THEIRS = ("language", "tags")
_TAGS = ("ecg", "electrocardiogram", "medical", "research-only", "safetensors")

# What the Hub calls metrics otherwise than we do.
_METRICS = {"auc": "roc_auc", "brier": "brier_score", "sensitivity": "recall"}


class CardError(EcgVisionError):
    """A card cannot be read, or leads nowhere; the message names the file."""

    code = "card"


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its author wrote it: text, and the metadata between two lines `---` above it."""

    text: str
    head: Mapping[str, Any]

    @property
    def licence(self) -> str:
        return str(self.head.get("license") or "")

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(_listed(self.head.get("datasets")))

    @property
    def links(self) -> tuple[str, ...]:
        """Where its text leads beside the web: names of files, as they are written."""
        return local_links(self.text)


def read_card(path: Path) -> Card:
    """The card in that file; raises `CardError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror}; check --card") from error
    except UnicodeDecodeError as error:
        raise CardError(f"{path.name}: expected UTF-8 text, found other bytes") from error
    try:
        card = ModelCard(text, ignore_metadata_errors=True)
    except Exception as error:  # YAML's own, of a package that is not ours to know
        raise CardError(f"{path.name}: its head is no YAML: {error}") from error
    if not card.text.strip():
        raise CardError(f"{path.name}: expected a card's text, found none; see docs/publish.md")
    return Card(card.text.strip(), card.data.to_dict())


def check_links(name: str, card: Card, there: Collection[str]) -> None:
    """Raise `CardError` where the card leads to a file that is not `there`, beside it."""
    dead = next((one for one in card.links if one not in there), None)
    if dead is not None:
        raise CardError(
            f"{name}: expected links to the web, or to what goes up ({', '.join(there)}), found "
            f"{dead[:80]!r}, which the Hub would not have; write its whole address, https://..., "
            f"or take it out; the one picture that goes up is {PICTURE} beside the card"
        )


def card_text(entry: Entry, card: Card) -> str:
    """The whole `README.md`: metadata of the entry, then the author's text."""
    theirs = {key: card.head[key] for key in _THEIRS if key in card.head}
    tags = dict.fromkeys((*_TAGS, *_listed(theirs.get("tags"))))
    if entry.simulated:
        tags["simulated-data"] = None
    told: dict[str, Any] = {
        "license": entry.licence.lower(),
        "library_name": "ecgvision",
        "tags": list(tags),
        "datasets": list(entry.datasets) or None,
        "language": theirs.get("language"),
    }
    if entry.input == "image":
        told["pipeline_tag"] = "image-classification"
    if entry.metrics:
        told["metrics"] = sorted({_hub_name(metric) for metric in entry.metrics})
        told["model_name"] = entry.title
        told["eval_results"] = [_result(entry, metric) for metric in entry.metrics]
    return f"---\n{ModelCardData(**told).to_yaml()}\n---\n\n{card.text}\n"


def _result(entry: Entry, metric: Metric) -> EvalResult:
    """A metric for the Hub's index, which has a place for the interval in the name alone."""
    task = next(task for task in entry.tasks if task.name == metric.task)
    interval = f"{metric.confidence:.0%} CI {metric.low:.3f} to {metric.high:.3f}"
    return EvalResult(
        task_type="image-classification" if entry.input == "image" else "other",
        task_name=task.title or task.name,
        dataset_type="simulated" if entry.simulated else "other",
        dataset_name=metric.test_set,
        dataset_config=metric.format or None,
        metric_type=_hub_name(metric),
        metric_name=f"{metric.task} {metric.name}, {interval} ({metric.interval})",
        metric_value=metric.value,
    )


def _hub_name(metric: Metric) -> str:
    return _METRICS.get(metric.name, metric.name)


def _listed(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    return [value] if isinstance(value, str) else [str(one) for one in value]

"""The network: a body for pages or signals, clinical features beside it, a head for each task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgvision.models.backbones import image_backbone, width_of
from ecgvision.models.clinical import ClinicalEncoder
from ecgvision.models.settings import STRIPS, ModelError, ModelSettings
from ecgvision.models.signals import BeatBody, ResNet1d
from ecgvision.models.strips import LeadStrips
from ecgvision.tasks import Task

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class MultiTaskNet(nn.Module):
    """Logits for every task from an image or a signal, and clinical features where it has them.

    `backbone` is a name or whole `ModelSettings`; `clinical` the names of the columns that
    `forward` gets. What the body gives is brought to 512 numbers (which resnet34d gives by itself),
    joined with the 512 of the clinical encoder, cut at zero (ReLU) and read by one linear layer
    with bias per task: `Task.outputs` logits, for a binary task two.

    Of several `members` this is the first and holds the others.

    Raises `ModelError` where it cannot be built.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        backbone: str | ModelSettings = "resnet34d",
        clinical: Sequence[str] | None = None,
        signal: bool = False,
    ) -> None:
        super().__init__()
        settings = ModelSettings(backbone=backbone) if isinstance(backbone, str) else backbone
        if not tasks or len({task.name for task in tasks}) != len(tasks):
            raise ModelError("a network needs one task or more, each with a name of its own")
        if settings.whole_recordings and not signal:
            raise ModelError(f"{settings.backbone} takes signals; set input = 'signal'")
        self.settings, self.signal = settings, signal
        self.body, width = _body(settings, signal)
        self.project = (
            nn.Identity() if width == settings.embedding else nn.Linear(width, settings.embedding)
        )
        self.clinical = ClinicalEncoder(clinical, settings.unknown) if clinical else None
        self.width = settings.embedding + (self.clinical.width if self.clinical else 0)
        self.dropout = nn.Dropout(settings.dropout)
        self.heads = nn.ModuleDict(
            {task.name: nn.Linear(self.width, task.outputs) for task in tasks}
        )
        alone = settings.model_copy(update={"members": 1})
        self.others = nn.ModuleList(
            MultiTaskNet(tasks, alone, clinical, signal) for _ in range(settings.members - 1)
        )

    @property
    def members(self) -> tuple[MultiTaskNet, ...]:
        """The networks whose mean counts, this one first."""
        return (self, *self.others)  # type: ignore[arg-type,unused-ignore]

    def pages(self, images: Tensor) -> Tensor:
        """(n, H, W) ``uint8`` grey, paper 255, as (n, 1, *image_px) from 0 to 1."""
        grey = images[:, None].float() / 255
        if tuple(grey.shape[-2:]) == self.settings.image_px:
            return grey
        return functional.interpolate(
            grey, self.settings.image_px, mode="bilinear", antialias=True, align_corners=False
        )

    def forward(self, x: Tensor, clinical: Tensor | None = None) -> dict[str, Tensor]:
        """Logits by task of what `pages` gave, or of (n, 12, T) signals in mV."""
        each = self.each(x, clinical)
        if len(each) == 1:
            return each[0]
        return {name: torch.stack([one[name] for one in each]).mean(dim=0) for name in self.heads}

    def each(self, x: Tensor, clinical: Tensor | None = None) -> list[dict[str, Tensor]]:
        """What `forward` gives, of every member by itself."""
        return [one.alone(x, clinical) for one in self.members]

    def alone(self, x: Tensor, clinical: Tensor | None = None) -> dict[str, Tensor]:
        """What `forward` gives, of this member alone."""
        return self.read(self.embedded(x, clinical))

    def read(self, embedded: Tensor) -> dict[str, Tensor]:
        """Logits by task of what `embedded` gave."""
        return {name: head(embedded) for name, head in self.heads.items()}

    def embedded(self, x: Tensor, clinical: Tensor | None = None) -> Tensor:
        """(n, width) what this member's heads read."""
        embedded = self.project(self.body(x if self.signal else self._planes(x)))
        if self.clinical is not None:
            if clinical is None:
                raise ModelError(f"the clinical features {self.clinical.columns} are missing")
            embedded = torch.cat([embedded, self.clinical(clinical)], dim=1)
        dropped: Tensor = self.dropout(torch.relu(embedded))
        return dropped

    def _planes(self, pages: Tensor) -> Tensor:
        settings = self.settings
        if settings.normalise == "ink":
            return (1 - pages).expand(-1, settings.planes, -1, -1)
        if settings.planes == 1:
            mean, std = sum(_IMAGENET_MEAN) / 3, sum(_IMAGENET_STD) / 3
            return (pages - mean) / std
        as_three = (1, 3, 1, 1)
        mean3 = torch.tensor(_IMAGENET_MEAN, device=pages.device, dtype=pages.dtype)
        std3 = torch.tensor(_IMAGENET_STD, device=pages.device, dtype=pages.dtype)
        return (pages - mean3.reshape(as_three)) / std3.reshape(as_three)


def _body(settings: ModelSettings, signal: bool) -> tuple[nn.Module, int]:
    if settings.whole_recordings:
        whole = ResNet1d(settings)
        return whole, whole.width
    if signal:
        beats = BeatBody(settings)
        return beats, beats.width
    if settings.backbone == STRIPS:
        strips = LeadStrips(settings)
        return strips, strips.width
    image = image_backbone(settings)
    return image, width_of(image)

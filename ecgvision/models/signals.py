"""Bodies for signals: beats through shared weights as in the study, and whole recordings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgvision.models.backbones import beat_backbone, width_of
from ecgvision.models.residual import ResidualBlock
from ecgvision.models.settings import ModelSettings

LEADS = 12
# A beat of which less is printed says little; its lead is left out.
_LEAST_SEEN = 0.5


class BeatBody(nn.Module):
    """(n, 12, T) one beat a lead, NaN where not printed, to (n, width).

    The leads run through the same weights and their embeddings are averaged over the leads that
    show half of the beat or more. Where no lead does, the embedding is zero.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.lead = beat_backbone(settings)
        self.width = width_of(self.lead)

    def forward(self, beats: Tensor) -> Tensor:
        seen = torch.isfinite(beats)
        used = (seen.float().mean(dim=2) >= _LEAST_SEEN).float()
        filled = torch.where(seen, beats, torch.zeros_like(beats))
        n, leads, samples = filled.shape
        embedded = self.lead(filled.reshape(n * leads, 1, 1, samples)).reshape(n, leads, -1)
        total = (embedded * used[:, :, None]).sum(dim=1)
        return total / used.sum(dim=1).clamp(min=1)[:, None]


class ResNet1d(nn.Module):
    """(n, 12, T) mV on the page's time axis, NaN where not printed, to (n, width).

    First every lead runs by itself through the same weights, with a plane that says which samples
    are printed, down to a quarter of the rate: a Q wave is one whichever lead shows it, and few
    records are enough to learn it. Then the leads are mixed and go through residual blocks; the
    mean and the maximum over time come out. The residual form is He et al. 2016, the use on 12
    leads that of Strodthoff et al. 2021, who mix the leads at once.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        each, mixed, kernel = settings.lead_width, settings.width, settings.kernel
        drop = settings.dropout
        self.lead = nn.Sequential(
            *_convolved(2, each, 2 * kernel + 1, stride=2),
            *_convolved(each, each, kernel, stride=2),
            ResidualBlock(each, each, kernel, 1, drop),
        )
        self.mix = nn.Sequential(*_convolved(LEADS * each, mixed, 1))
        blocks, entering = [], mixed
        for stage, leaving in enumerate((mixed, mixed * 4 // 3)):
            for number in range(settings.depth):
                stride = 2 if number == 0 and stage > 0 else 1
                blocks.append(ResidualBlock(entering, leaving, kernel, stride, drop))
                entering = leaving
        self.blocks = nn.Sequential(*blocks)
        self.width = 2 * entering

    def forward(self, signals: Tensor) -> Tensor:
        seen = torch.isfinite(signals)
        filled = torch.where(seen, signals, torch.zeros_like(signals))
        n, leads, samples = signals.shape
        both = torch.stack([filled, seen.to(filled.dtype)], dim=2)
        each = self.lead(both.reshape(n * leads, 2, samples))
        features = self.blocks(self.mix(each.reshape(n, leads * each.shape[1], each.shape[2])))
        return torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)


def _convolved(entering: int, leaving: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv1d(entering, leaving, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm1d(leaving),
        nn.ReLU(inplace=True),
    ]

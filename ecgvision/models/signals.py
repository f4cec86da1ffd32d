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

    Twelve planes of millivolts and twelve that say which samples are printed go through residual
    blocks of two convolutions with squeeze-and-excitation; the mean and the maximum over time come
    out. The residual form is He et al. 2016, the use on 12 leads that of Strodthoff et al. 2021.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        first, kernel = settings.width, settings.kernel
        planes = [first, first * 2, first * 3, first * 4]
        self.stem = nn.Sequential(
            nn.Conv1d(2 * LEADS, first, 2 * kernel + 1, stride=2, padding=kernel, bias=False),
            nn.BatchNorm1d(first),
            nn.ReLU(inplace=True),
        )
        blocks, entering = [], first
        for stage, leaving in enumerate(planes):
            for number in range(settings.depth):
                stride = 2 if number == 0 and stage > 0 else 1
                blocks.append(ResidualBlock(entering, leaving, kernel, stride, settings.dropout))
                entering = leaving
        self.blocks = nn.Sequential(*blocks)
        self.width = 2 * entering

    def forward(self, signals: Tensor) -> Tensor:
        seen = torch.isfinite(signals)
        filled = torch.where(seen, signals, torch.zeros_like(signals))
        features = self.blocks(self.stem(torch.cat([filled, seen.to(filled.dtype)], dim=1)))
        return torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)

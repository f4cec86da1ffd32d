"""A network as it is asked: recordings at its rate, seen in pieces whose mean counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgvision.models.net import MultiTaskNet


@dataclass(frozen=True, slots=True)
class Recordings:
    """What a network of whole recordings is asked about: `samples` of 12 leads at `fs_hz`.

    `crop_s` is the length of the pieces that it sees, 0 for all at once.
    """

    fs_hz: float
    samples: int
    crop_s: float = 0.0


class Asked(nn.Module):
    """(n, 1, H, W) pages, or (n, 12, T) mV, NaN where not printed, to logits by task."""

    def __init__(self, net: MultiTaskNet, recordings: Recordings | None = None) -> None:
        super().__init__()
        self.net = net
        self._fs_hz = recordings.fs_hz if recordings else None
        self._samples = crop_samples(net, recordings.crop_s) if recordings else 0

    def forward(self, x: Tensor, clinical: Tensor | None = None) -> dict[str, Tensor]:
        return mean_logits(self.net, at_its_rate(self.net, x, self._fs_hz), clinical, self._samples)


def crop_samples(net: MultiTaskNet, crop_s: float) -> int:
    """How many samples of a recording the network sees at once; 0 for all of it."""
    return round(crop_s * net.settings.fs_hz) if net.settings.whole_recordings else 0


def at_its_rate(net: MultiTaskNet, x: Tensor, fs_hz: float | None) -> Tensor:
    """Recordings of `fs_hz` at the rate of the network; pages and beats as they are."""
    if not net.settings.whole_recordings or fs_hz is None:
        return x
    return resampled(x, fs_hz, net.settings.fs_hz)


def mean_logits(
    net: MultiTaskNet, x: Tensor, clinical: Tensor | None, samples: int
) -> dict[str, Tensor]:
    """The mean logits over pieces of so many samples; of all of it where that is 0."""
    if not samples:
        found: dict[str, Tensor] = net(x, clinical)
        return found
    each = [net(piece, clinical) for piece in pieces(x, samples)]
    return {name: torch.stack([one[name] for one in each]).mean(dim=0) for name in each[0]}


def resampled(signals: Tensor, from_hz: float, to_hz: float) -> Tensor:
    """(n, 12, T) at another rate; NaN stays NaN and spreads nowhere.

    Several samples for one are averaged over, which keeps what is faster from folding back; the
    rest is linear interpolation. A sample is known where at least half of what it is made of is.
    """
    if from_hz == to_hz:
        return signals
    seen = torch.isfinite(signals)
    both = torch.cat([torch.where(seen, signals, torch.zeros_like(signals)), seen.to(signals)], 1)
    together = int(from_hz // to_hz)
    if together > 1:
        both = functional.avg_pool1d(both, together)
    # While a network is exported, shapes are tensors.
    samples = round(int(signals.shape[2]) * to_hz / from_hz)
    if int(both.shape[2]) != samples:
        both = functional.interpolate(both, samples, mode="linear", align_corners=False)
    values, known = both.chunk(2, dim=1)
    nothing = torch.full_like(values, float("nan"))
    return torch.where(known >= 0.5, values / known.clamp(min=1e-6), nothing)


def pieces(signals: Tensor, samples: int) -> list[Tensor]:
    """(n, 12, T) as pieces of so many samples that cover it, each half over the one before."""
    total = int(signals.shape[2])
    if not samples or samples >= total:
        return [signals]
    count = 1 + -(-(total - samples) // max(samples // 2, 1))
    starts = [round(k * (total - samples) / (count - 1)) for k in range(count)]
    return [signals[:, :, start : start + samples] for start in starts]

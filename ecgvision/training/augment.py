"""Training examples varied a little, whole batches at a time, on the device they are on.

Randomness is torch's global one; the training seeds it for every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as v2

from ecgvision.training.recipe import AugmentSettings

_BLUR_PX = 3
_MOTION_PX = 5
# Seconds: a slower drift is an offset, a faster one a wave.
_WANDER_S = (2.0, 8.0)


def varied_pages(pages: Tensor, how: AugmentSettings) -> Tensor:
    """(n, 1, H, W) grey from 0 to 1, paper 1, as `AugmentSettings` says; the same shape."""
    if how.shift or how.stretch:
        pages = _moved(pages, how.shift, how.stretch)
    if how.blur:
        sigma = 0.4 + 0.8 * float(torch.rand(()))
        pages = _some_of(
            pages, how.blur, lambda few: v2.gaussian_blur(few, [_BLUR_PX] * 2, [sigma, sigma])
        )
    if how.motion_blur:
        pages = _some_of(pages, how.motion_blur, _smeared)
    if how.contrast or how.brightness:
        # Contrast about the mean, then brightness, as one multiplication and addition: on a CPU
        # every pass over the pixels counts.
        contrast, brightness = _factors(pages, how.contrast), _factors(pages, how.brightness)
        mean = pages.mean(dim=(1, 2, 3), keepdim=True)
        pages = torch.addcmul(mean * (1 - contrast) * brightness, pages, contrast * brightness)
    return pages.clamp(0, 1)


def _some_of(pages: Tensor, share: float, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The pages with a share of them changed, drawn anew each time."""
    chosen = (torch.rand(len(pages), device=pages.device) < share).nonzero().flatten()
    if not len(chosen):
        return pages
    return pages.index_copy(0, chosen, change(pages[chosen]))


def _factors(x: Tensor, most: float) -> Tensor:
    return 1 + most * _uniform(x)


def _uniform(x: Tensor) -> Tensor:
    """From -1 to 1 for each example, to be broadcast."""
    return 2 * torch.rand(_per_example(x), device=x.device, dtype=x.dtype) - 1


def _per_example(x: Tensor) -> tuple[int, ...]:
    return (len(x), *(1,) * (x.ndim - 1))


def _moved(pages: Tensor, shift: float, stretch: float) -> Tensor:
    n = len(pages)
    theta = torch.zeros(n, 2, 3, device=pages.device, dtype=pages.dtype)
    for axis in (0, 1):
        theta[:, axis, axis] = 1 + stretch * _uniform(theta[:, 0, 0])
        theta[:, axis, 2] = 2 * shift * _uniform(theta[:, 0, 0])  # the page runs from -1 to 1
    grid = functional.affine_grid(theta, list(pages.shape), align_corners=False)
    # What comes in from outside is paper, which is 0 as ink.
    return 1 - functional.grid_sample(1 - pages, grid, align_corners=False)


def _smeared(pages: Tensor) -> Tensor:
    """A short straight movement in one of four directions."""
    line = torch.eye(_MOTION_PX)
    flat = torch.zeros(_MOTION_PX, _MOTION_PX)
    flat[_MOTION_PX // 2] = 1
    kernels = (flat, flat.T, line, line.flip(0))
    kernel = kernels[int(torch.randint(len(kernels), ()))] / _MOTION_PX
    half = _MOTION_PX // 2
    padded = functional.pad(pages, (half, half, half, half), mode="replicate")
    return functional.conv2d(padded, kernel[None, None].to(pages))


def varied_signals(signals: Tensor, how: AugmentSettings, fs_hz: float) -> Tensor:
    """(n, 12, T) mV, NaN where not printed, as `AugmentSettings` says; cut to `crop_s`."""
    if how.crop_s:
        signals = _cropped(signals, round(how.crop_s * fs_hz))
    if how.gain:
        signals = signals * _factors(signals, how.gain)
    if how.wander_mv:
        signals = signals + _wander(signals, how.wander_mv, fs_hz)
    if how.noise_mv:
        spread = how.noise_mv * torch.rand(_per_example(signals), device=signals.device)
        signals = signals + spread * torch.randn_like(signals)
    if how.drop_lead:
        n, leads, _ = signals.shape
        dropped = torch.rand(n, leads, 1, device=signals.device) < how.drop_lead
        signals = torch.where(dropped, torch.full_like(signals, math.nan), signals)
    return signals


def _cropped(signals: Tensor, samples: int) -> Tensor:
    n, leads, total = signals.shape
    if samples >= total:
        return signals
    starts = torch.randint(total - samples + 1, (n, 1, 1), device=signals.device)
    places = starts + torch.arange(samples, device=signals.device)
    return signals.gather(2, places.expand(n, leads, samples))


def _wander(signals: Tensor, most_mv: float, fs_hz: float) -> Tensor:
    n, leads, samples = signals.shape
    time_s = torch.arange(samples, device=signals.device, dtype=signals.dtype) / fs_hz
    shortest, longest = _WANDER_S
    period_s = shortest + (longest - shortest) * torch.rand(n, 1, 1, device=signals.device)
    phase = 2 * math.pi * torch.rand(n, leads, 1, device=signals.device)
    height = most_mv * torch.rand(n, leads, 1, device=signals.device)
    return height * torch.sin(2 * math.pi * time_s / period_s + phase)


def mixed(x: Tensor, alpha: float) -> tuple[Tensor, Tensor, float]:
    """Every example mixed with another: what comes out, the others' places, the first's share."""
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    others = torch.randperm(len(x), device=x.device)
    return share * x + (1 - share) * x[others], others, share

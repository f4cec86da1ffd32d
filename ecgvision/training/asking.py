"""A network asked for its opinion of many examples, the same way everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgvision.models import MultiTaskNet
from ecgvision.models.asked import at_its_rate, crop_samples, mean_logits
from ecgvision.tasks import Task
from ecgvision.training.data import Examples, loader
from ecgvision.training.recipe import Recipe

# More at a time are hardly quicker, and a GPU's memory must hold them.
_AT_A_TIME = 32


def entered(net: MultiTaskNet, x: Tensor, fs_hz: float | None) -> Tensor:
    """A batch's `x` as the network takes it: pages at its size, recordings at its rate."""
    return at_its_rate(net, x, fs_hz) if net.signal else net.pages(x)


def log_odds(task: Task, logits: Tensor) -> NDArray[np.float64]:
    """(n,) log-odds of the positive class of a binary task, (n, k) logits of one with classes."""
    found: NDArray[np.float64] = logits.detach().double().cpu().numpy()
    return found[:, 1] - found[:, 0] if task.is_binary else found


def ask(
    net: MultiTaskNet,
    recipe: Recipe,
    examples: Examples,
    fs_hz: float | None,
    device: torch.device,
) -> dict[str, NDArray[np.float64]]:
    """Scores of every task for every example, in fp32, in their order."""
    net = net.to(device).eval()
    laid_out = not net.signal and recipe.training.channels_last
    layout = torch.channels_last if laid_out else torch.contiguous_format
    crop = crop_samples(net, recipe.training.augment.crop_s)
    found: dict[str, list[NDArray[np.float64]]] = {task.name: [] for task in recipe.tasks}
    with torch.inference_mode():
        for batch in loader(examples, _AT_A_TIME):
            x = entered(net, batch["x"].to(device), fs_hz).contiguous(memory_format=layout)
            clinical = batch.get("clinical")
            clinical = None if clinical is None else clinical.to(device)
            logits = mean_logits(net, x, clinical, crop)
            for task in recipe.tasks:
                found[task.name].append(log_odds(task, logits[task.name]))
    return {task.name: _joined(task, found[task.name]) for task in recipe.tasks}


def _joined(task: Task, parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    if parts:
        return np.concatenate(parts)
    return np.empty((0,) if task.is_binary else (0, task.outputs))


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

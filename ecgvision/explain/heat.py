"""Grad-CAM++ of a multi-task network (Chattopadhay et al. 2018), by pytorch-grad-cam."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgvision.models import MultiTaskNet
from ecgvision.tasks import Task


class _OneTask(nn.Module):
    """The network with one task's logits alone, as the library wants it."""

    def __init__(self, net: MultiTaskNet, task: Task, clinical: Tensor | None) -> None:
        super().__init__()
        self.net, self._task, self._clinical = net, task.name, clinical

    def forward(self, pages: Tensor) -> Tensor:
        logits: Tensor = self.net(pages, self._clinical)[self._task]
        return logits


def heat_map(
    net: MultiTaskNet, task: Task, image: NDArray[np.uint8], clinical: Tensor | None, shown: int
) -> NDArray[np.float32]:
    """(H, W) of 0 to 1, of the network's input size: what speaks for class number `shown`.

    For a binary task it is what raises the log-odds of that class. All 0 where nothing does. Of a
    network of several members it is the mean of theirs.
    """
    from pytorch_grad_cam import GradCAMPlusPlus  # takes seconds to load

    def score(logits: Tensor) -> Tensor:
        others = torch.cat([logits[:shown], logits[shown + 1 :]])
        return logits[shown] - torch.logsumexp(others, dim=0)

    page = net.pages(torch.from_numpy(np.ascontiguousarray(image))[None])
    layers = [last_features(one) for one in net.members]
    with GradCAMPlusPlus(_OneTask(net, task, clinical), layers) as cam:
        found = cam(input_tensor=page, targets=[score])
    return np.nan_to_num(np.asarray(found[0], dtype=np.float32))


def last_features(net: MultiTaskNet) -> nn.Module:
    """The last layer of the body whose features still have a place on the page."""
    name = net.body.feature_info[-1]["module"]
    return net.body.get_submodule(name)

"""A body that keeps the leads apart: features are pooled at each lead's place on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgvision.models.settings import ModelSettings

# Where the leads stand on a normalised page: rows and columns.
LEAD_GRID = (6, 2)


class LeadBody(nn.Module):
    """(n, planes, H, W) to (n, width): what a timm model sees in each lead, side by side.

    A mean over the whole page forgets where on it something was, and so in which lead. Here the
    last features are brought to `lead_width` planes, and averaged over the place of each of the
    12 leads of a page of `image_px`.
    """

    def __init__(self, features: nn.Module, settings: ModelSettings) -> None:
        super().__init__()
        self.features = features
        with torch.no_grad():
            page = torch.zeros(1, settings.planes, *settings.image_px)
            was_training = features.training
            _, planes, height, width = features.eval().forward_features(page).shape
            features.train(was_training)
        self.narrow = nn.Sequential(
            nn.Conv2d(planes, settings.lead_width, 1, bias=False),
            nn.BatchNorm2d(settings.lead_width),
            nn.ReLU(inplace=True),
        )
        rows, columns = LEAD_GRID
        # Not learnt, and no part of the weights: they follow from the size of the page.
        self.register_buffer("_rows", _shares(height, rows), persistent=False)
        self.register_buffer("_columns", _shares(width, columns), persistent=False)
        self.width = settings.lead_width * rows * columns

    @property
    def feature_info(self) -> list[Mapping[str, Any]]:
        """As timm has it: the layers by their names in this module."""
        return [
            {**one, "module": f"features.{one['module']}"} for one in self.features.feature_info
        ]

    def forward(self, pages: Tensor) -> Tensor:
        narrow = self.narrow(self.features.forward_features(pages))
        pooled = self._rows @ (narrow @ self._columns.T)
        return pooled.flatten(1)


def _shares(places: int, parts: int) -> Tensor:
    """(parts, places): how much of each place counts in the mean of each part, by its overlap.

    >>> _shares(3, 2).tolist()
    [[0.6666666865348816, 0.3333333432674408, 0.0], [0.0, 0.3333333432674408, 0.6666666865348816]]
    """
    edges = np.linspace(0, places, parts + 1)
    starts = np.arange(places)
    overlap: NDArray[np.float64] = np.minimum(edges[1:, None], starts + 1) - np.maximum(
        edges[:-1, None], starts
    )
    overlap = overlap.clip(min=0)
    return torch.from_numpy(overlap / overlap.sum(axis=1, keepdims=True)).float()

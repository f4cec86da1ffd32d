"""A small body for normalised pages: each lead's strip is read as a row of columns of ink.

A first convolution as tall as a strip turns every column of ink into numbers; being linear, it can
give where the trace is, as a digitiser would. What follows is the 1-D residual network of signals,
with the same weights for every lead, so that little data teach it much. Leads meet only where
their features are joined, in the order of their places, because on a page they were not always
recorded at the same time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgvision.models.residual import ResidualBlock
from ecgvision.models.settings import ModelSettings

# Where the leads stand on a normalised page: rows and columns.
LEAD_GRID = (6, 2)
# A strip is taller than a row, as complexes reach into the next one.
_TALLER = 1.25
_FIRST_PX = 7
_STAGES = 4


class LeadStrips(nn.Module):
    """(n, planes, H, W) to (n, width): paper 0 or any constant, ink something else.

    H must be a multiple of twice the rows of leads, W of the columns.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        rows, columns = LEAD_GRID
        height_px, _ = settings.image_px
        self._rows, self._columns = rows, columns
        self._strip_px = int(height_px / rows * _TALLER) // 2 * 2
        first, kernel = settings.width, settings.kernel
        self.stem = nn.Sequential(
            nn.Conv2d(
                settings.planes,
                first,
                (self._strip_px, _FIRST_PX),
                stride=(1, 2),
                padding=(0, _FIRST_PX // 2),
                bias=False,
            ),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        self.lead = nn.Parameter(torch.zeros(rows * columns, first, 1))
        blocks, entering = [], first
        for stage in range(_STAGES):
            leaving = first * (stage + 1)
            for number in range(settings.depth):
                stride = 2 if number == 0 and stage > 0 else 1
                blocks.append(ResidualBlock(entering, leaving, kernel, stride, settings.dropout))
                entering = leaving
        self.blocks = nn.Sequential(*blocks)
        # Its output has a place on the page, which heat maps need.
        self.placed = nn.Identity()
        self.narrow = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(2 * entering, settings.lead_width),
            nn.ReLU(inplace=True),
        )
        self.width = settings.lead_width * rows * columns
        self.feature_info = [{"num_chs": entering, "reduction": 16, "module": "placed"}]

    def forward(self, pages: Tensor) -> Tensor:
        rows, columns = self._rows, self._columns
        features = self.stem(self._strips(pages))[:, :, 0]
        # The number of pages is left open, for exported networks.
        features = features.unflatten(0, (-1, rows * columns)) + self.lead
        features = self.blocks(features.flatten(0, 1))
        # To (n, planes, rows, columns * places), as on the page.
        page = features.unflatten(0, (-1, columns, rows)).permute(0, 3, 2, 1, 4).flatten(3)
        page = self.placed(page)
        leads_apart = page.unflatten(3, (columns, -1))
        pooled = torch.cat([leads_apart.mean(dim=4), leads_apart.amax(dim=4)], dim=1)
        narrow: Tensor = self.narrow(pooled.permute(0, 3, 2, 1)).flatten(1)
        return narrow

    def _strips(self, pages: Tensor) -> Tensor:
        """(n * leads, planes, strip, W / columns), column by column of leads."""
        height_px = pages.shape[2]
        strip_px, pitch_px = self._strip_px, height_px // self._rows
        padded = functional.pad(pages, (0, 0, strip_px, strip_px), mode="replicate")
        tops = [strip_px + row * pitch_px + (pitch_px - strip_px) // 2 for row in range(self._rows)]
        strips = torch.stack([padded[:, :, top : top + strip_px] for top in tops], dim=1)
        # (n, rows, planes, strip, columns, px) to (n, columns, rows, planes, strip, px).
        strips = strips.unflatten(4, (self._columns, -1)).permute(0, 4, 1, 2, 3, 5)
        return strips.flatten(0, 2)

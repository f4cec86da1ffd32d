"""The residual block of the 1-D networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """(n, entering, T) to (n, leaving, T / stride): two convolutions, a gate, a way beside.

    The residual form is He et al. 2016, the gate squeeze-and-excitation of Hu et al. 2018.
    """

    def __init__(self, entering: int, leaving: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        padding = kernel // 2
        self.body = nn.Sequential(
            nn.Conv1d(entering, leaving, kernel, stride=stride, padding=padding, bias=False),
            nn.BatchNorm1d(leaving),
            nn.ReLU(inplace=True),
            nn.Dropout(drop),
            nn.Conv1d(leaving, leaving, kernel, padding=padding, bias=False),
            nn.BatchNorm1d(leaving),
        )
        self.gate = nn.Sequential(
            nn.Linear(leaving, leaving // 8 or 1),
            nn.ReLU(inplace=True),
            nn.Linear(leaving // 8 or 1, leaving),
            nn.Sigmoid(),
        )
        if stride == 1 and entering == leaving:
            self.beside: nn.Module = nn.Identity()
        else:
            self.beside = nn.Sequential(
                nn.AvgPool1d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv1d(entering, leaving, 1, bias=False),
                nn.BatchNorm1d(leaving),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        out = out * self.gate(out.mean(dim=2))[:, :, None]
        return torch.relu(out + self.beside(x))

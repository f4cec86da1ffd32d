"""Clinical features beside the picture: an encoder as in the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ecgvision.models.settings import ModelError

AGE = "age_years"
_AGE_SCALE = 100.0  # years: "age divided by 100"
_EMBEDDED = 5
_OUTPUT = 512


class ClinicalEncoder(nn.Module):
    """(n, columns) of clinical features to (n, 512).

    Every feature of 0 or 1 is embedded in 5 numbers, the age is appended as a last step of the
    sequence, and a bidirectional recurrent network reads it; the last outputs of both directions
    are summed. The study does not say how one number, the age, makes a step of five: here it is
    repeated. With `unknown` "category" NaN is a third value of a feature, and an unknown age is 0;
    otherwise NaN is an error: impute first.
    """

    def __init__(
        self, columns: Sequence[str], unknown: Literal["imputed", "category"] = "imputed"
    ) -> None:
        super().__init__()
        if not columns:
            raise ModelError("a clinical encoder needs one column or more")
        self.columns = tuple(columns)
        self.width = _OUTPUT
        self._unknown = unknown
        self._age = [k for k, name in enumerate(columns) if name == AGE]
        self._kinds = [k for k, name in enumerate(columns) if name != AGE]
        values = 3 if unknown == "category" else 2
        self.embedded = nn.ModuleList(nn.Embedding(values, _EMBEDDED) for _ in self._kinds)
        self.recurrent = nn.RNN(_EMBEDDED, _OUTPUT, batch_first=True, bidirectional=True)

    def forward(self, features: Tensor) -> Tensor:
        known = torch.isfinite(features)
        if self._unknown == "imputed" and not bool(known.all()):
            raise ModelError("clinical features hold NaN; impute them or use unknown = 'category'")
        filled = torch.where(known, features, torch.zeros_like(features))
        steps = []
        for place, table in zip(self._kinds, self.embedded, strict=True):
            number = (filled[:, place] >= 0.5).long()
            number = torch.where(known[:, place], number, torch.full_like(number, 2))
            steps.append(table(number))
        steps.extend(
            (filled[:, place, None] / _AGE_SCALE).expand(-1, _EMBEDDED) for place in self._age
        )
        _, last = self.recurrent(torch.stack(steps, dim=1))
        return last.sum(dim=0)

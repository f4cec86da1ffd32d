"""A trained network as a function of arrays, for those who do not know torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from ecgvision.models.asked import Asked, Recordings
from ecgvision.models.net import MultiTaskNet
from ecgvision.models.settings import ModelError, ModelSettings
from ecgvision.models.weights import load_weights
from ecgvision.tasks import Task


class FrozenNet:
    """What it is asked about, and (n, k) clinical features, to (n, 2) logits by task, in fp32.

    It is asked about (n, H, W) ``uint8`` pages, or about `recordings`, (n, 12, T) float32 mV with
    NaN where not printed.

    Raises `ModelError` for settings and weights that are none or do not fit each other.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        settings: Mapping[str, Any],
        clinical: Sequence[str],
        weights: Path,
        recordings: Recordings | None = None,
    ) -> None:
        try:
            found = ModelSettings.model_validate({**settings, "pretrained": ""})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ModelError(
                f"{weights.name}: its network's setting {where}: {first['msg']}; update ecgvision"
            ) from error
        self.net = MultiTaskNet(tasks, found, clinical, signal=recordings is not None)
        load_weights(self.net, weights)
        self.recordings = recordings
        self._asked = Asked(self.net, recordings).float().eval()

    def __call__(
        self, given: NDArray[Any], clinical: NDArray[np.float32] | None
    ) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(given))
            x = x if self.net.signal else self.net.pages(x)
            logits = self._asked(x, None if clinical is None else torch.from_numpy(clinical))
        return {name: found.numpy() for name, found in logits.items()}

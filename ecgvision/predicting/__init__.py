"""Models of the zoo asked about pages: calibrated probabilities, decisions, and refusals.

It needs no torch: ONNX Runtime is enough.
"""

from __future__ import annotations

from ecgvision.predicting.answers import PageAnswer, TaskAnswer
from ecgvision.predicting.model import ZooModel, load_model

__all__ = ["PageAnswer", "TaskAnswer", "ZooModel", "load_model"]

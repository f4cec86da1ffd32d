"""Networks with one body and a head for each task, their settings and their weights."""

from __future__ import annotations

from ecgvision.models.net import MultiTaskNet
from ecgvision.models.settings import ModelError, ModelSettings
from ecgvision.models.weights import load_weights, save_weights

__all__ = ["ModelError", "ModelSettings", "MultiTaskNet", "load_weights", "save_weights"]

"""Recipes become trained models: `train_run` fits one, `predict_run` asks it."""

from __future__ import annotations

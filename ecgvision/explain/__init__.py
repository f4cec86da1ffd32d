"""Where on a page a network looked: heat maps by task, and the share of each lead in them."""

from __future__ import annotations

from ecgvision.explain.network import ExplainError, ImageNetwork, image_network
from ecgvision.explain.run import Explained, Subject, explain, page_subjects, row_subject

__all__ = [
    "ExplainError",
    "Explained",
    "ImageNetwork",
    "Subject",
    "explain",
    "image_network",
    "page_subjects",
    "row_subject",
]

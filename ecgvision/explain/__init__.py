"""Where on a page a network looked: heat maps by task, and the share of each lead in them."""

from __future__ import annotations

from ecgvision.explain.run import (
    Explained,
    ExplainError,
    Subject,
    explain,
    page_subjects,
    row_subject,
)

__all__ = ["ExplainError", "Explained", "Subject", "explain", "page_subjects", "row_subject"]

"""Opening reports: the only part of the toolkit that knows about file formats and PDF libraries."""

from __future__ import annotations

from ecgvision.media.report import Renderer as Renderer
from ecgvision.media.report import Report as Report
from ecgvision.media.report import open_report as open_report

__all__ = ["Renderer", "Report", "open_report"]

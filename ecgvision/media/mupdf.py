"""PyMuPDF, which has no types of its own: the one place that imports it."""

from __future__ import annotations

from typing import Any

import pymupdf as _untyped

pymupdf: Any = _untyped

"""For tests, plugin authors and demos: pages drawn from synthetic ECGs, with their truth.

>>> from ecgvision.testing import synthetic_ecg
>>> synthetic_ecg(heart_rate_bpm=60).signal_mv.shape
(12, 5000)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgvision.predicting.contract import ModelContract as ModelContract
    from ecgvision.testing.contract import FormatContract as FormatContract
    from ecgvision.testing.degrade import as_jpeg as as_jpeg
    from ecgvision.testing.degrade import as_png as as_png
    from ecgvision.testing.degrade import ink_truth as ink_truth
    from ecgvision.testing.degrade import paper_truth as paper_truth
    from ecgvision.testing.degrade import rasterise as rasterise
    from ecgvision.testing.degrade import scanned as scanned
    from ecgvision.testing.degrade import scanned_pixels as scanned_pixels
    from ecgvision.testing.draw import SYNTHETIC_PATIENT as SYNTHETIC_PATIENT
    from ecgvision.testing.draw import DrawnPage as DrawnPage
    from ecgvision.testing.draw import draw_page as draw_page
    from ecgvision.testing.draw import trace_points as trace_points
    from ecgvision.testing.paper import GridStyle as GridStyle
    from ecgvision.testing.synthetic import Ecg as Ecg
    from ecgvision.testing.synthetic import synthetic_ecg as synthetic_ecg

_NAMES = {
    "contract": ("FormatContract",),
    "degrade": (
        "as_jpeg",
        "as_png",
        "ink_truth",
        "paper_truth",
        "rasterise",
        "scanned",
        "scanned_pixels",
    ),
    "draw": ("SYNTHETIC_PATIENT", "DrawnPage", "draw_page", "trace_points"),
    "paper": ("GridStyle",),
    "synthetic": ("Ecg", "synthetic_ecg"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}
# What a model's contract needs lies far above this package: it is named here, and loaded if asked.
_HOME["ModelContract"] = "ecgvision.predicting.contract"

__all__ = [*sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use: the drawing needs OpenCV and the PDF."""
    if name not in _HOME:
        raise AttributeError(f"module 'ecgvision.testing' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

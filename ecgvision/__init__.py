"""ecgvision: ECG reports as hospitals have them, turned into data. Research software."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from ecgvision.conversion import SignalOptions as SignalOptions
    from ecgvision.conversion import convert as convert
    from ecgvision.detect import find_layout as find_layout
    from ecgvision.errors import EcgVisionError as EcgVisionError
    from ecgvision.errors import LayoutError as LayoutError
    from ecgvision.errors import NoMatchError as NoMatchError
    from ecgvision.errors import PageError as PageError
    from ecgvision.errors import PluginError as PluginError
    from ecgvision.errors import UnreadableError as UnreadableError
    from ecgvision.errors import UsageError as UsageError
    from ecgvision.grid import ink_of_page as ink_of_page
    from ecgvision.heartbeats import Beats as Beats
    from ecgvision.heartbeats import beats as beats
    from ecgvision.hookspecs import hookimpl as hookimpl
    from ecgvision.layouts import regular_layout as regular_layout
    from ecgvision.media import open_report as open_report
    from ecgvision.plugins import load_formats as load_formats
    from ecgvision.predicting import PageAnswer as PageAnswer
    from ecgvision.predicting import TaskAnswer as TaskAnswer
    from ecgvision.predicting import ZooModel as ZooModel
    from ecgvision.predicting import load_model as load_model
    from ecgvision.quality import Quality as Quality
    from ecgvision.recording import Calibration as Calibration
    from ecgvision.recording import LeadSignal as LeadSignal
    from ecgvision.recording import Recording as Recording
    from ecgvision.result import Conversion as Conversion
    from ecgvision.types import LEADS as LEADS
    from ecgvision.types import Box as Box
    from ecgvision.types import EcgImage as EcgImage
    from ecgvision.types import FormatInfo as FormatInfo
    from ecgvision.types import Layout as Layout
    from ecgvision.types import LeadBox as LeadBox
    from ecgvision.types import Match as Match
    from ecgvision.types import Notice as Notice
    from ecgvision.types import Page as Page
    from ecgvision.types import PublishedStyle as PublishedStyle
    from ecgvision.types import Stroke as Stroke
    from ecgvision.types import Text as Text
    from ecgvision.types import Tile as Tile
    from ecgvision.writers import recording_files as recording_files

_HOME = {
    "SignalOptions": "conversion",
    "convert": "conversion",
    "find_layout": "detect",
    "ink_of_page": "grid",
    "Beats": "heartbeats",
    "beats": "heartbeats",
    "hookimpl": "hookspecs",
    "regular_layout": "layouts",
    "open_report": "media",
    "load_formats": "plugins",
    **dict.fromkeys(("PageAnswer", "TaskAnswer", "ZooModel", "load_model"), "predicting"),
    "Quality": "quality",
    "Calibration": "recording",
    "LeadSignal": "recording",
    "Recording": "recording",
    "Conversion": "result",
    "recording_files": "writers",
    **dict.fromkeys(
        (
            "EcgVisionError",
            "LayoutError",
            "NoMatchError",
            "PageError",
            "PluginError",
            "UnreadableError",
            "UsageError",
        ),
        "errors",
    ),
    **dict.fromkeys(
        (
            "LEADS",
            "Box",
            "EcgImage",
            "FormatInfo",
            "Layout",
            "LeadBox",
            "Match",
            "Notice",
            "Page",
            "PublishedStyle",
            "Stroke",
            "Text",
            "Tile",
        ),
        "types",
    ),
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use: importing ecgvision stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 'ecgvision' has no attribute {name!r}")
    value = getattr(import_module(f"ecgvision.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

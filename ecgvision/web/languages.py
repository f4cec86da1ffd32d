"""The words of the page and of the summary, a JSON file a language."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).with_name("static") / "lang"
DEFAULT = "en"


def words(language: str) -> Mapping[str, str]:
    """All words of a language; English for one that there is no file of."""
    known = {path.stem: path for path in FOLDER.glob("*.json")}
    path = known.get(language, FOLDER / f"{DEFAULT}.json")
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found

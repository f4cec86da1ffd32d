"""Every language has the same words, and the page asks for none that is not there."""

from __future__ import annotations

import re

import pytest

from ecgvision.report.reasons import REASONS
from ecgvision.web.languages import FOLDER, words

STATIC = FOLDER.parent
OTHERS = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "en")


@pytest.mark.parametrize("language", OTHERS)
def test_languages_agree(language: str) -> None:
    english, other = words("en"), words(language)
    assert list(other) == list(english)
    for key, text in english.items():
        assert other[key].strip(), key
        assert set(re.findall(r"{\w+}", other[key])) == set(re.findall(r"{\w+}", text)), key


def test_every_language_is_offered() -> None:
    offered = re.search(r"LANGUAGES = {(.*?)}", (STATIC / "i18n.js").read_text("utf-8"))
    assert offered is not None
    assert set(re.findall(r"(\w+): ", offered[1])) == {"en", *OTHERS}


def test_every_word_that_is_asked_for_is_there() -> None:
    known = words("en")
    asked = set()
    for path in STATIC.glob("*.js"):
        asked |= set(re.findall(r'\bt\(\s*"([^"]+)"', path.read_text("utf-8")))
    page = (STATIC / "index.html").read_text("utf-8")
    asked |= set(re.findall(r'data-i18n="([^"]+)"', page))
    assert len(asked) > 60
    assert asked <= set(known), asked - set(known)


def test_what_refuses_a_page_has_words() -> None:
    """The codes that a page of one upload can end in."""
    not_here = (
        "dicom-",
        "file-",
        "folder-",
        "output-",
        "recording-",
        "renderer-",
        "signal",
        "style-",
    )
    due = {code for code in REASONS if not code.startswith((*not_here, "style-"))}
    assert {f"reason.{code}" for code in due} <= set(words("en"))


def test_the_words_of_the_page_are_the_english_ones() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    for key, text in re.findall(r'data-i18n="([^"]+)"[^>]*>([^<]*)<', page):
        if text.strip():
            assert " ".join(text.split()) == words("en")[key]

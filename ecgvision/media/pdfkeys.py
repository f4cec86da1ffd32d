"""Looking up what the objects of a PDF say, with answers for what they should not."""

from __future__ import annotations

import math
import re
from typing import Any

# Page trees are shallow; broken ones may go round in circles.
_DEEPEST = 64
_ESCAPED = re.compile(rb"#([0-9A-Fa-f]{2})")


def name_of(written: bytes) -> str:
    """A name's own letters, without the escapes it may be written with."""
    return _ESCAPED.sub(lambda m: bytes.fromhex(m[1].decode()), written).decode("utf-8", "replace")


def xref_at(document: Any, xref: int, key: str) -> int | None:
    """The number of the object that `key` refers to, or None where it is no reference."""
    kind, value = document.xref_get_key(xref, key)
    if kind != "xref":
        return None
    number = int(value.split()[0])
    return number if 0 < number < document.xref_length() else None


def inherited_from(document: Any, xref: int, key: str) -> int | None:
    """The page, or the node above it, that has `key`; None where none has."""
    for _ in range(_DEEPEST):
        if document.xref_get_key(xref, key)[0] != "null":
            return xref
        above = xref_at(document, xref, "Parent")
        if above is None:
            return None
        xref = above
    return None


def inherited_array(document: Any, xref: int, key: str) -> str | None:
    """An array that a page has or inherits, as text."""
    owner = inherited_from(document, xref, key)
    if owner is None:
        return None
    kind, value = document.xref_get_key(owner, key)
    if kind != "xref":
        return str(value) if kind == "array" else None
    number = xref_at(document, owner, key)
    return str(document.xref_object(number, compressed=True)) if number else None


def numbers_at(document: Any, xref: int, key: str) -> tuple[float, ...]:
    """The finite number or array of numbers at `key`; empty where it is anything else."""
    kind, value = document.xref_get_key(xref, key)
    if kind == "xref":
        number = xref_at(document, xref, key)
        value = str(document.xref_object(number, compressed=True)) if number else ""
    found = [number_of(part) for part in value.strip("[] \n").split()]
    return tuple(n for n in found if n is not None) if None not in found else ()


def number_of(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

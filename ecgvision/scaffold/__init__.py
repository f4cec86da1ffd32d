"""Writes the package of a new format: one that installs, and a contract test to go with it."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from string import Template

from ecgvision.errors import UsageError

RESERVED = frozenset({"auto", "custom"})
"""Names that `--format` understands by itself."""

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40

# Template file -> file in the new package.
_FILES = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "README.md.tmpl": "README.md",
    "package.py.tmpl": "ecgvision_$module/__init__.py",
    "test_format.py.tmpl": "tests/test_format.py",
}


def new_format(name: str, folder: Path, *, taken: Collection[str] = ()) -> Path:
    """Write the package `ecgvision-<name>` into `folder` and return where it lies.

    `name` is the id of the new format; `taken` are the ids and aliases that are in use. Raises
    `UsageError` where the name cannot be an id or is taken, or where the package's folder exists.
    """
    check_name(name, taken)
    home = folder / f"ecgvision-{name}"
    if home.exists():
        raise UsageError(f"{home} exists already; choose another name or folder, or remove it")
    words = name.split("-")
    fields = {
        "id": name,
        "module": "_".join(words),
        "camel": "".join(word.capitalize() for word in words),
        "title": " ".join(word.capitalize() for word in words),
        "version": _core_version(),
    }
    texts = {
        Template(target).substitute(fields): Template(_template(source)).substitute(fields)
        for source, target in _FILES.items()
    }
    try:
        for target, text in texts.items():
            path = home / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {home}: {error.strerror or error}") from error
    return home


def check_name(name: str, taken: Collection[str] = ()) -> None:
    """Raise `UsageError` unless `name` can be the id of a new format.

    >>> check_name("acme-cardio")
    >>> check_name("Acme Cardio")
    Traceback (most recent call last):
    ecgvision.errors.UsageError: 'Acme Cardio' cannot be the id of a format: ... try 'acme-cardio'
    """
    if not _ID.fullmatch(name) or len(name) > _LONGEST:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].rstrip("-")
        advice = f"; try {plain!r}" if _ID.fullmatch(plain) else ""
        raise UsageError(
            f"{name!r} cannot be the id of a format: it needs a small letter first, then small "
            f"letters and digits, words joined by single hyphens, {_LONGEST} characters at "
            f"most{advice}"
        )
    if name in RESERVED:
        raise UsageError(f"{name!r} has a meaning of its own for --format; choose another name")
    if name in {other.lower() for other in taken}:
        raise UsageError(f"a format {name!r} is installed already; choose another name")


def _template(name: str) -> str:
    return (files(__name__) / "template" / name).read_text(encoding="utf-8")


def _core_version() -> str:
    from ecgvision import __version__

    return __version__

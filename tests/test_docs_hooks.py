"""docs/hooks.md names every hook with its exact arguments, and its examples are plugins."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ecgvision import hookspecs
from ecgvision.plugins import build_formats

HOOKS_PAGE = Path(__file__).resolve().parents[1] / "docs" / "hooks.md"

_HEADING = re.compile(r"^## `(\w+)\((.*?)\)`$", re.MULTILINE)
_EXAMPLE = re.compile(
    r"^```\{code-block\} python\n(?::[^\n]*\n)*(.*?)^```", re.MULTILINE | re.DOTALL
)


def declared_hooks() -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(value).parameters)
        for name, value in vars(hookspecs).items()
        if hasattr(value, "ecgvision_spec")
    }


def test_the_hooks_are_found() -> None:
    assert declared_hooks()["detect_layout"] == ["page", "layouts"]


def test_every_hook_is_documented_with_its_arguments() -> None:
    documented = {
        name: [argument for argument in arguments.split(", ") if argument]
        for name, arguments in _HEADING.findall(HOOKS_PAGE.read_text(encoding="utf-8"))
    }
    assert documented == declared_hooks()


def test_every_hook_has_an_example_that_registers() -> None:
    namespace: dict[str, Any] = {}
    for example in _EXAMPLE.findall(HOOKS_PAGE.read_text(encoding="utf-8")):
        exec(compile(example, str(HOOKS_PAGE), "exec"), namespace)
    marked = {name: value for name, value in namespace.items() if hasattr(value, "ecgvision_impl")}
    assert set(marked) == set(declared_hooks())
    formats = build_formats([("documented", SimpleNamespace(**marked))])
    assert formats.broken == ()
    assert [found.info.id for found in formats.formats] == ["acme-cardio"]

"""A broken plugin costs only itself; each format gets its own hooks, or the core's."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgvision import plugins as plugins_module
from ecgvision.detect import find_layout
from ecgvision.errors import PluginError, UsageError
from ecgvision.hookspecs import hookimpl
from ecgvision.layouts import regular_layout
from ecgvision.plugins import Format, build_formats, load_formats, plugin_from
from ecgvision.testing import Ecg, as_png, draw_page
from ecgvision.types import FormatInfo, Layout, Match, Page

SHIPPED = ("edan-se3", "ge-mac1200", "ge-muse", "philips-tc30")
LAYOUT = regular_layout(
    "3x4",
    page_mm=(297, 210),
    rows=(("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")),
    left_mm=20,
    baselines_mm=[70, 110, 150],
    column_s=2.5,
    grid=False,
)
# Sources of modules that are plugins, and what is said of them.
BROKEN = {
    "does-not-import": ("import no_such_module_anywhere\n", "ModuleNotFoundError"),
    "raises-on-import": ("raise RuntimeError('no licence')\n", "RuntimeError: no licence"),
    "bad-syntax": ("def format_info(:\n", "SyntaxError"),
    "no-hooks": ("VALUE = 1\n", "it does not implement the hook format_info()"),
    "no-layouts": (
        "import ecgvision as e\n@e.hookimpl\ndef format_info(): return e.FormatInfo('x')\n",
        "it does not implement the hook lead_layouts()",
    ),
}


def plugin(info: FormatInfo, layouts: Any = (LAYOUT,), **hooks: Callable[..., Any]) -> Any:
    made = types.ModuleType("ecgvision_made_for_a_test")
    own = {"format_info": lambda: info, "lead_layouts": lambda: layouts, **hooks}
    for name, hook in own.items():
        setattr(made, name, hookimpl(hook))
    return made


def acme(**hooks: Callable[..., Any]) -> Any:
    return plugin(FormatInfo("acme", aliases=("ac",)), **hooks)


def reasons(*pairs: tuple[str, Any]) -> dict[str, str]:
    return {one.name: one.reason for one in build_formats(list(pairs)).broken}


# --- what is installed ------------------------------------------------------------------------


def test_the_shipped_formats_are_there() -> None:
    installed = load_formats()
    assert not installed.broken
    assert {f.info.id for f in installed.formats} >= set(SHIPPED)


@pytest.mark.parametrize(
    ("name", "format_id"),
    [("philips", "philips-tc30"), ("GE", "ge-mac1200"), (" Ge-Muse ", "ge-muse"),
     ("edan", "edan-se3")],
)  # fmt: skip
def test_formats_go_by_alias_too(name: str, format_id: str) -> None:
    assert load_formats().find(name).info.id == format_id


def test_broken_entry_points_are_named_and_the_rest_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [EntryPoint("philips", "ecgvision_philips_tc30", "ecgvision")]
    entries.append(EntryPoint("gone", "ecgvision_was_uninstalled", "ecgvision"))
    entries.append(EntryPoint("no-attribute", "ecgvision_philips_tc30:missing", "ecgvision"))
    for number, (name, (source, _)) in enumerate(BROKEN.items()):
        module = f"ecgvision_broken_{number}"
        (tmp_path / f"{module}.py").write_text(source)
        entries.append(EntryPoint(name, module, "ecgvision"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins_module, "entry_points", lambda group: entries)
    found = load_formats()
    assert [f.info.id for f in found.formats] == ["philips-tc30"]
    said = {one.name: one.reason for one in found.broken}
    assert set(said) == {"gone", "no-attribute", *BROKEN}
    assert "ecgvision_was_uninstalled" in said["gone"]
    assert "missing" in said["no-attribute"]
    for name, (_, reason) in BROKEN.items():
        assert reason in said[name], name
    with pytest.raises(UsageError, match="plugin bad-syntax is broken: SyntaxError"):
        found.find("bad-syntax")
    for module in [one for one in sys.modules if one.startswith("ecgvision_broken_")]:
        del sys.modules[module]


# --- what is wrong with a plugin --------------------------------------------------------------


@pytest.mark.parametrize("misspelt", ["detect_layot", "remove_grids", "format_infos"])
def test_a_misspelt_hook_is_an_error(misspelt: str) -> None:
    made = acme(**{misspelt: lambda page: None})
    said = reasons(("acme", made), ("good", plugin(FormatInfo("good"))))
    assert list(said) == ["acme"]
    assert misspelt in said["acme"]


def test_a_misspelt_argument_is_an_error() -> None:
    made = acme(remove_grid=lambda page, lay_out: None)
    assert "lay_out" in reasons(("acme", made))["acme"]


def test_a_class_is_no_plugin() -> None:
    class Acme:
        @hookimpl
        def format_info(self) -> FormatInfo:
            return FormatInfo("acme")

        @hookimpl
        def lead_layouts(self) -> tuple[Layout, ...]:
            return (LAYOUT,)

    said = reasons(("acme", Acme))["acme"]
    assert said == "PluginError: Acme is a class; register a module or an instance"
    assert not build_formats([("acme", Acme())]).broken


def fail() -> Any:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("info", "layouts", "reason"),
    [
        (lambda: fail(), lambda: (LAYOUT,), "ZeroDivisionError: division by zero"),
        (lambda: FormatInfo("acme"), lambda: fail(), "ZeroDivisionError: division by zero"),
        (lambda: {"id": "acme"}, lambda: (LAYOUT,), "expected a FormatInfo"),
        (lambda: None, lambda: (LAYOUT,), "format_info() returned None"),
        (lambda: FormatInfo("acme"), lambda: (), "must return at least one Layout"),
        (lambda: FormatInfo("acme"), lambda: None, "must return at least one Layout"),
        (lambda: FormatInfo("acme"), lambda: (LAYOUT, "3x4"), "and nothing else"),
        (lambda: FormatInfo("acme"), lambda: 12, "TypeError"),
        (lambda: FormatInfo("acme"), lambda: (LAYOUT, LAYOUT), "uses a layout name twice"),
        (
            lambda: FormatInfo("acme"),
            lambda: (regular_layout("x", page_mm=(10, 10), rows=[["I"]], left_mm=0,
                                    baselines_mm=[5], column_s=2.5),),
            "LayoutError: layout 'x': lead I reaches from 0 to 62.5 mm",
        ),
    ],
)  # fmt: skip
def test_a_plugin_that_breaks_its_promise(info: Any, layouts: Any, reason: str) -> None:
    made = types.SimpleNamespace(format_info=hookimpl(info), lead_layouts=hookimpl(layouts))
    found = build_formats([("bad", made), ("good", acme())])
    assert [f.info.id for f in found.formats] == ["acme"]
    assert [one.name for one in found.broken] == ["bad"]
    assert reason in found.broken[0].reason


def test_the_second_of_two_with_one_id_is_broken() -> None:
    found = build_formats([("first", acme()), ("second", acme())])
    assert len(found.formats) == 1
    assert found.broken[0].name == "second"
    assert "another plugin already has the format id 'acme'" in found.broken[0].reason


# --- names ------------------------------------------------------------------------------------


def test_an_ambiguous_alias_names_both() -> None:
    both = [(i, plugin(FormatInfo(i, aliases=("ecg",)))) for i in ("alpha", "beta")]
    found = build_formats(both)
    with pytest.raises(UsageError, match=r"'ecg' is ambiguous: alpha and beta use it"):
        found.find("ecg")
    assert found.find("beta").info.id == "beta"


def test_an_id_wins_over_another_formats_alias() -> None:
    pair = [("a", plugin(FormatInfo("ge", aliases=()))), ("b", plugin(FormatInfo("x", ("ge",))))]
    assert build_formats(pair).find("ge").info.id == "ge"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("phillips", "'philips'"), ("ge-mac120", "'ge-mac1200'"), ("EDAN-SE4", "'edan-se3'")],
)
def test_an_unknown_name_gets_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UsageError) as error:
        load_formats().find(name)
    assert f"did you mean {nearest}?" in str(error.value)
    assert all(shipped in str(error.value) for shipped in SHIPPED)


@pytest.mark.parametrize("name", ["", "   ", "zzzzzzzz", "*"])
def test_a_name_like_none_gets_the_list_alone(name: str) -> None:
    with pytest.raises(UsageError) as error:
        load_formats().find(name)
    assert "did you mean" not in str(error.value)
    assert all(shipped in str(error.value) for shipped in SHIPPED)


# --- whose hooks are called -------------------------------------------------------------------


@pytest.fixture
def page(ecg: Ecg, page_of: Callable[..., Page]) -> Page:
    return page_of(draw_page(LAYOUT, FormatInfo("acme"), ecg).pdf)


@pytest.fixture
def two() -> tuple[Format, Format]:
    """A format with hooks of its own, and one without."""
    own = Match(LAYOUT, 0.123, evidence=("mine",))
    bold = acme(
        detect_layout=lambda page, layouts: own,
        remove_grid=lambda page, layout: np.full((3, 4), 7, np.uint8),
    )
    plain = plugin(FormatInfo("plain"))
    made = build_formats([("bold", bold), ("plain", plain)])
    assert not made.broken
    return made.formats[0], made.formats[1]


def test_a_plugins_own_hooks_are_used(two: tuple[Format, Format], page: Page) -> None:
    match = two[0].detect(page)
    assert match is not None
    assert (match.score, match.evidence) == (0.123, ("mine",))
    assert (two[0].remove_grid(page, LAYOUT) == 7).all()


def test_a_plugin_without_them_gets_the_cores(two: tuple[Format, Format], page: Page) -> None:
    match = two[1].detect(page)
    assert match == find_layout(page, [LAYOUT])
    assert match is not None
    assert match.score > 0.6
    ink = two[1].remove_grid(page, LAYOUT)
    assert ink.shape == (round(210 * page.px_per_mm), round(297 * page.px_per_mm))
    assert 0.002 < (ink < 128).mean() < 0.1


def test_the_order_of_plugins_changes_nothing(page: Page) -> None:
    own = Match(LAYOUT, 0.9)
    pairs = [
        ("plain", plugin(FormatInfo("plain"))),
        ("bold", acme(detect_layout=lambda page, layouts: own)),
    ]
    for order in (pairs, pairs[::-1]):
        by_id = {f.info.id: f for f in build_formats(order).formats}
        assert by_id["acme"].detect(page) == own
        assert by_id["plain"].detect(page) != own


def test_none_leaves_it_to_the_core(page: Page) -> None:
    asked: list[Page] = []

    def detect_layout(page: Page) -> None:
        asked.append(page)

    made = build_formats([("acme", acme(detect_layout=detect_layout))]).formats[0]
    match = made.detect(page)
    assert asked == [page]
    assert match is not None
    assert match.layout.name == "3x4"


def test_a_plugin_gets_its_own_layouts_only(page: Page) -> None:
    given: list[tuple[Layout, ...]] = []

    def detect_layout(page: Page, layouts: tuple[Layout, ...]) -> Match:
        given.append(tuple(layouts))
        return Match(layouts[0], 1.0)

    made = build_formats(
        [("other", plugin(FormatInfo("other"))), ("acme", acme(detect_layout=detect_layout))]
    )
    made.find("acme").detect(page)
    assert given == [(LAYOUT,)]


@pytest.mark.parametrize(
    "ink",
    [None, [[0]], np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), bool)],
    ids=["nothing", "list", "floats", "colours", "bools"],
)
def test_ink_of_another_kind_is_refused(ink: Any, page: Page) -> None:
    made = build_formats([("acme", acme(remove_grid=lambda page, layout: ink))]).formats[0]
    if ink is None:  # left to the core
        assert made.remove_grid(page, LAYOUT).dtype == np.uint8
        return
    with pytest.raises(PluginError, match=r"format acme: remove_grid must return \(H, W\) uint8"):
        made.remove_grid(page, LAYOUT)


def test_a_match_of_another_kind_is_refused(page: Page) -> None:
    made = build_formats([("acme", acme(detect_layout=lambda page: 0.9))]).formats[0]
    with pytest.raises(PluginError, match=r"format acme: detect_layout returned 0\.9, no Match"):
        made.detect(page)


def test_a_plugin_made_of_data(page: Page) -> None:
    made = build_formats([("data", plugin_from(FormatInfo("data"), [LAYOUT])), ("acme", acme())])
    assert not made.broken
    for one in made.formats:
        match = one.detect(page)
        assert match is not None
        assert match.score > 0.6


def test_an_unhashable_plugin_with_hooks_does_not_hurt_others(page: Page) -> None:
    @dataclass
    class Acme:  # with __eq__ and without __hash__, as dataclasses are
        @hookimpl
        def format_info(self) -> FormatInfo:
            return FormatInfo("acme")

        @hookimpl
        def lead_layouts(self) -> tuple[Layout, ...]:
            return (LAYOUT,)

        @hookimpl
        def detect_layout(self, page: Page) -> Match:
            return Match(LAYOUT, 0.5)

    made = build_formats([("acme", Acme()), ("plain", plugin(FormatInfo("plain")))])
    match = made.find("plain").detect(page)
    assert match is not None
    assert match.score > 0.6
    assert made.find("plain").remove_grid(page, LAYOUT).dtype == np.uint8


def test_hooks_leave_the_page_as_it_is(
    ecg: Ecg, page_of: Callable[..., Page], formats: dict[str, Format]
) -> None:
    philips = formats["philips-tc30"]
    drawn = draw_page(philips.layouts[0], philips.info, ecg)
    page = page_of(as_png(drawn.pdf, 150), ".png")
    before = page.pixels().copy()
    first = philips.detect(page)
    assert first is not None
    ink = philips.remove_grid(page, first.layout)
    np.testing.assert_array_equal(page.pixels(), before)
    assert philips.detect(page) == first
    np.testing.assert_array_equal(philips.remove_grid(page, first.layout), ink)

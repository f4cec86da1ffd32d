"""Layout files: what they say, what is refused and how, and that writing loses nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ecgvision.errors import LayoutError, UsageError
from ecgvision.layout_file import (
    dump_layout_file,
    load_layout_file,
    parse_layout_file,
    schema,
    to_toml,
    with_rhythm_s,
)
from ecgvision.layouts import regular_layout
from ecgvision.plugins import load_formats
from ecgvision.types import LEADS, Box, FormatInfo, Layout, LeadBox

DOCS = Path(__file__).resolve().parents[1] / "docs" / "layout-file.md"

REGULAR = """
[format]
id = "acme-cardio"
header_text = ["ACME HEALTH"]
grid_rgb = [[216, 111, 98], [250, 200, 168]]

[[layout]]
name = "3x4+1R"
page_mm = [297.0, 210]
pulse_mm = [8.5, 15.1]
rows = [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]]
baselines_mm = [55.0, 95.0, 135.0]
left_mm = 16.2
column_s = 2.48
rhythm = ["II"]
rhythm_baselines_mm = [175.0]
rhythm_s = 9.98
name_offset_mm = [1.0, -9.0]
"""

SINGLE = """
[format]
id = "one"
[[layout]]
name = "I alone"
page_mm = [100.0, 100.0]
speed_mm_per_s = 50.0
gain_mm_per_mv = 5
grid = false
row_slack_mm = 2.0
separators = true
clear_mm = [[0.0, 0.0, 100.0, 20.0]]
[[layout.lead]]
lead = "I"
box_mm = [10.0, 40.0, 60.0, 60.0]
start_s = 1.0
stop_s = 2.0
name_mm = [11.0, 41.0]
[[layout.lead]]
lead = "I"
box_mm = [10.0, 70.0, 60.0, 90.0]
start_s = 0.0
stop_s = 1.0
rhythm_strip = true
"""


def test_a_regular_grid_of_leads() -> None:
    info, (layout,) = parse_layout_file(REGULAR, "acme.toml")
    assert info == FormatInfo(
        "acme-cardio",
        header_text=("ACME HEALTH",),
        grid_rgb=((216, 111, 98), (250, 200, 168)),
    )
    assert (layout.speed_mm_per_s, layout.gain_mm_per_mv) == (25.0, 10.0)
    assert (layout.grid, layout.separators, layout.row_slack_mm) == (None, False, 5.0)
    assert layout.pulse_mm == (8.5, 15.1)
    v5 = next(b for b in layout.boxes if b.lead == "V5")
    assert v5.box.left_mm == pytest.approx(16.2 + 3 * 62.0)
    assert (v5.baseline_mm, v5.start_s, v5.stop_s) == pytest.approx((95.0, 7.44, 9.92))
    assert v5.name_mm == pytest.approx((203.2, 86.0))
    strip = layout.boxes[-1]
    assert (strip.lead, strip.rhythm_strip, strip.stop_s) == ("II", True, 9.98)
    assert strip.box.width_mm == pytest.approx(249.5)


def test_single_leads() -> None:
    info, (layout,) = parse_layout_file(SINGLE, "one.toml")
    assert info == FormatInfo("one")
    assert layout == Layout(
        "I alone",
        (100.0, 100.0),
        (
            LeadBox("I", Box(10, 40, 60, 60), 1.0, 2.0, name_mm=(11.0, 41.0)),
            LeadBox("I", Box(10, 70, 60, 90), 0.0, 1.0, rhythm_strip=True),
        ),
        speed_mm_per_s=50.0,
        gain_mm_per_mv=5.0,
        grid=False,
        row_slack_mm=2.0,
        separators=True,
        clear=(Box(0, 0, 100, 20),),
    )


def test_a_file_becomes_a_format(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text(REGULAR, encoding="utf-8")
    loaded = load_layout_file(path)
    assert loaded.info.id == "acme-cardio"
    assert [layout.name for layout in loaded.layouts] == ["3x4+1R"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("55.0, ", "", "layout[0].baselines_mm: expected 3 numbers, one per row, found 2"),
        ("[175.0]", "[]", "layout[0].rhythm_baselines_mm: expected 1 numbers, one per rhythm"),
        ("55.0", '"55"', "layout[0].baselines_mm[0]: expected a number, found '55'"),
        ("55.0", "nan", "layout[0].baselines_mm[0]: expected a finite number, found nan"),
        ("55.0", "true", "layout[0].baselines_mm[0]: expected a number, found True"),
        ('"V6"', '"V7"', "layout[0].rows[2][3]: expected 'I', "),
        ("left_mm", "left", "layout[0].left: expected 'left_mm', found a key that nobody reads"),
        ("left_mm = 16.2", "", "layout[0].left_mm: expected a value"),
        ("210]", "210, 3]", "layout[0].page_mm: expected at most 2 of them, found 3"),
        ("297.0, 210", "297.0", "layout[0].page_mm[1]: expected a value, found nothing"),
        ("[297.0", "[-1", "layout[0].page_mm[0]: expected a number greater than 0, found -1"),
        ('id = "acme-cardio"', "", "format.id: expected a value, found nothing"),
        ("216", "256", "format.grid_rgb[0][0]: expected a number of at most 255, found 256"),
        ("216", "21.6", "format.grid_rgb[0][0]: expected a whole number, found 21.6"),
        ('name = "3x4+1R"', 'name = ""', "layout[0].name: expected a text that is not empty"),
        ("297.0", "29.7", "layout[0]: layout '3x4+1R': lead I reaches from 16.2"),
        ("2.48", "2.48\ncolumn_mm = 70", "lead I is 70 mm wide but 2.48 s at 25 mm/s is 62 mm"),
        ("2.48", '2.48\ngrid = "yes"', "layout[0].grid: expected true or false, found 'yes'"),
        ('rhythm = ["II"]\nrhythm_baselines_mm = [175.0]', "", "layout[0].rhythm_s: expected rhy"),
        ("page_mm = [297.0, 210]", "page_mm = 297.0", "layout[0].page_mm: expected a list"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(old: str, new: str, message: str) -> None:
    assert old in REGULAR
    with pytest.raises(LayoutError) as caught:
        parse_layout_file(REGULAR.replace(old, new, 1), "acme.toml")
    assert str(caught.value).startswith("acme.toml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.toml: layout: expected a value, found nothing"),
        ('[format]\nid = "a"\nlayout = []', "format.layout: expected one of aliases, grid_rgb"),
        ('layout = []\n[format]\nid = "a"', "x.toml: layout: expected at least 1 of them"),
        (SINGLE + "left_mm = 3.0\n", "layout[0].lead[1].left_mm: expected one of box_mm, lead"),
        (SINGLE.replace("separators", "left_mm = 1.0\nseparators"), "expected either rows or sing"),
        (SINGLE.replace("60.0, 60.0", "6.0, 60.0"), "layout[0].lead[0].box_mm: expected [left, t"),
        (SINGLE.partition("[[layout.lead]]")[0], "expected rows, or [[layout.lead]] tables"),
        (REGULAR + REGULAR.partition("]]\n\n")[2], "layout[1].name: expected a name of its own"),
    ],
)
def test_files_that_miss_or_repeat_something(text: str, message: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(message)):
        parse_layout_file(text, "x.toml")


def test_broken_toml_is_told_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text('[format]\nid = "acme\n', encoding="utf-8")
    with pytest.raises(LayoutError, match=r"acme\.toml: .*line 2, column 11"):
        load_layout_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LayoutError, match=r"acme\.toml: expected UTF-8"):
        load_layout_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            load_layout_file(path)


@pytest.mark.parametrize("name", ["philips-tc30", "ge-mac1200", "ge-muse", "edan-se3"])
def test_installed_formats_survive_the_round_trip(name: str, tmp_path: Path) -> None:
    installed = load_formats().find(name)
    path = tmp_path / "copy.toml"
    dump_layout_file(installed.info, installed.layouts, path, ["a note\nof two lines"])
    loaded = load_layout_file(path)
    assert loaded.info == installed.info
    assert loaded.layouts == tuple(replace(one, published=None) for one in installed.layouts)
    assert path.read_text(encoding="utf-8").startswith("# a note\n# of two lines\n")


@pytest.mark.parametrize("text", [REGULAR, SINGLE], ids=["regular", "single"])
def test_a_file_survives_the_round_trip(text: str) -> None:
    info, layouts = parse_layout_file(text, "a.toml")
    written = to_toml(info, layouts)
    assert parse_layout_file(written, "b.toml") == (info, layouts)
    assert ("rows = " in written) == ("rows = " in text)


def test_a_regular_grid_is_written_as_one() -> None:
    layout = regular_layout(
        "6x2",
        page_mm=(297, 210),
        rows=[[a, b] for a, b in zip(LEADS[:6], LEADS[6:], strict=True)],
        left_mm=20.03,
        baselines_mm=[40, 61.7, 85.13, 110, 132, 160],
        column_s=5.0,
        column_pitch_mm=128.3,
        row_height_mm=30.0,
        rhythm=["II", "V1"],
        rhythm_baselines_mm=[180, 195],
        separators=True,
    )
    layout = with_rhythm_s(layout, 10.1)
    written = to_toml(FormatInfo("a"), [layout])
    assert "[[layout.lead]]" not in written
    assert parse_layout_file(written, "a.toml")[1] == (layout,)


@pytest.mark.parametrize("text", ['quote " and \\ backslash', "line\nbreak", "\x7f\x00", "Größe ♥"])
def test_any_text_survives(text: str) -> None:
    _, layouts = parse_layout_file(SINGLE, "a.toml")
    info = FormatInfo("id", vendor=text, header_text=(text,), source=text)
    assert parse_layout_file(to_toml(info, layouts), "a.toml")[0] == info


def test_the_documented_example_loads_and_every_key_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    _, (layout,) = parse_layout_file(blocks[0], "acme.toml")
    assert len(layout.boxes) == 13
    tables = schema()["$defs"]
    keys = {key for table in tables.values() for key in table["properties"]} - {"lead"}
    assert {key for key in keys if f"`{key}`" not in text} == set()
    assert json.loads(json.dumps(schema()))["additionalProperties"] is False

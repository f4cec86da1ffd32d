"""A format kept in a TOML file: read, checked key by key, and written. No code needed.

The schema is described in docs/layout-file.md; `schema` gives it as JSON schema.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecgvision.errors import LayoutError, UsageError
from ecgvision.layouts import regular_layout
from ecgvision.plugins import Format, build_formats, plugin_from
from ecgvision.types import Box, FormatInfo, Layout, LeadBox

Lead = Literal["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
Name = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0, lt=1e4)]
Level = Annotated[int, Field(ge=0, le=255)]
# TOML knows lists only, so these alone are not strict; what stands in them still is.
Pair = Annotated[tuple[float, float], Field(strict=False)]
Size = Annotated[tuple[Positive, Positive], Field(strict=False)]
Corners = Annotated[tuple[float, float, float, float], Field(strict=False)]
Colour = Annotated[tuple[Level, Level, Level], Field(strict=False)]
RowOfLeads = Annotated[list[Lead], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class FormatTable(_Table):
    """The machine: see `FormatInfo`."""

    id: Name
    aliases: list[Name] = []
    vendor: str = ""
    model: str = ""
    header_text: list[Name] = []
    paper_rgb: Colour = (255, 255, 255)
    ink_rgb: Colour = (0, 0, 0)
    grid_rgb: list[Colour] = []
    source: str = ""


class LeadTable(_Table):
    """One lead by itself: see `LeadBox`."""

    lead: Lead
    box_mm: Corners
    start_s: float
    stop_s: float
    rhythm_strip: bool = False
    name_mm: Pair | None = None


class LayoutTable(_Table):
    """One layout, either as a regular grid of `rows` or as single `lead`s."""

    name: Name
    page_mm: Size
    speed_mm_per_s: Positive = 25.0
    gain_mm_per_mv: Positive = 10.0
    grid: bool | None = None
    pulse_mm: Pair | None = None
    separators: bool = False
    row_slack_mm: Positive = 5.0
    clear_mm: list[Corners] = []
    rows: Annotated[list[RowOfLeads], Field(min_length=1)] | None = None
    baselines_mm: list[float] | None = None
    left_mm: float | None = None
    column_s: Positive | None = None
    column_pitch_mm: Positive | None = None
    column_mm: Positive | None = None
    row_height_mm: Positive | None = None
    rhythm: list[Lead] = []
    rhythm_baselines_mm: list[float] = []
    rhythm_s: Positive | None = None
    name_offset_mm: Pair | None = None
    lead: list[LeadTable] = []


class LayoutFile(_Table):
    """The whole file."""

    format: FormatTable
    layout: Annotated[list[LayoutTable], Field(min_length=1)]


_TABLES: dict[str, type[_Table]] = {
    "": LayoutFile, "format": FormatTable, "layout": LayoutTable, "lead": LeadTable,
}  # fmt: skip
# The keys that speak of a regular grid.
_GRID_KEYS = (
    "rows", "baselines_mm", "left_mm", "column_s", "column_pitch_mm", "column_mm",
    "row_height_mm", "rhythm", "rhythm_baselines_mm", "rhythm_s", "name_offset_mm",
)  # fmt: skip
_COMMON_KEYS = (
    "speed_mm_per_s", "gain_mm_per_mv", "grid", "row_slack_mm", "pulse_mm", "separators",
)  # fmt: skip


def schema() -> dict[str, Any]:
    """The JSON schema of a layout file."""
    return LayoutFile.model_json_schema()


# --- reading ----------------------------------------------------------------------------------


def load_layout_file(path: Path) -> Format:
    """The format that a TOML file describes, ready to be used like an installed one.

    Raises `UsageError` where there is no such file and `LayoutError`, naming file and key, where
    the file cannot be read or its numbers contradict each other.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"layout file {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path.name}: expected UTF-8 text, found other bytes") from error
    info, layouts = parse_layout_file(text, path.name)
    formats = build_formats([(path.name, plugin_from(info, layouts))])
    if formats.broken:
        raise LayoutError(f"{path.name}: {formats.broken[0].reason}")
    return formats.formats[0]


def parse_layout_file(text: str, name: str) -> tuple[FormatInfo, tuple[Layout, ...]]:
    """What the text of a layout file says; `name` is the file's, for messages."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:  # its message ends with line and column
        raise LayoutError(f"{name}: expected TOML, found a mistake: {error}") from error
    try:
        tables = LayoutFile.model_validate(raw)
    except ValidationError as error:
        raise LayoutError("\n".join(_complaint(name, one) for one in error.errors())) from error
    layouts: list[Layout] = []
    for number, table in enumerate(tables.layout):
        key = f"layout[{number}]"
        if table.name in [layout.name for layout in layouts]:
            raise _error(name, f"{key}.name", "a name of its own", f"{table.name!r} once more")
        layouts.append(_layout(name, key, table))
    return _info(tables.format), tuple(layouts)


def _error(name: str, key: str, expected: str, found: str) -> LayoutError:
    return LayoutError(f"{name}: {key}: expected {expected}, found {found}")


def _info(table: FormatTable) -> FormatInfo:
    values: dict[str, Any] = {key: getattr(table, key) for key in FormatTable.model_fields}
    for key in ("aliases", "header_text", "grid_rgb"):
        values[key] = tuple(values[key])
    return FormatInfo(**values)


def _layout(name: str, key: str, table: LayoutTable) -> Layout:
    """One layout; the keys that contradict each other are named before any number is used."""
    given = table.model_fields_set
    regular = [k for k in _GRID_KEYS if k in given]
    if table.lead and regular:
        raise _error(name, f"{key}.lead", "either rows or single leads", f"also {regular[0]}")
    if not table.lead and table.rows is None:
        raise _error(name, key, "rows, or [[layout.lead]] tables", "neither")
    try:
        if table.lead:
            boxes = [_lead_box(name, f"{key}.lead[{n}]", one) for n, one in enumerate(table.lead)]
            return Layout(table.name, table.page_mm, tuple(boxes), **_common(table))
        _check_grid(name, key, table)
        return _regular(table)
    except LayoutError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise LayoutError(f"{name}: {key}: {error}") from error


def _check_grid(name: str, key: str, table: LayoutTable) -> None:
    for needed in ("baselines_mm", "left_mm", "column_s"):
        if getattr(table, needed) is None:
            raise _error(name, f"{key}.{needed}", "a value, for the layout has rows", "nothing")
    for leads, baselines, what in (
        ("rows", "baselines_mm", "row"),
        ("rhythm", "rhythm_baselines_mm", "rhythm strip"),
    ):
        due, found = len(getattr(table, leads)), len(getattr(table, baselines))
        if due != found:
            raise _error(name, f"{key}.{baselines}", f"{due} numbers, one per {what}", f"{found}")
    if table.rhythm_s is not None and not table.rhythm:
        raise _error(name, f"{key}.rhythm_s", "rhythm strips to go with it", "none in rhythm")


def _regular(table: LayoutTable) -> Layout:
    numbers = {key: getattr(table, key) for key in _GRID_KEYS if key != "rhythm_s"}
    layout = regular_layout(table.name, page_mm=table.page_mm, **numbers, **_common(table))
    return layout if table.rhythm_s is None else with_rhythm_s(layout, table.rhythm_s)


def with_rhythm_s(layout: Layout, seconds: float) -> Layout:
    """The layout with its rhythm strips `seconds` long, where they are not as long as a row."""

    def stretched(one: LeadBox) -> LeadBox:
        if not one.rhythm_strip:
            return one
        right_mm = one.box.left_mm + seconds * layout.speed_mm_per_s
        return replace(one, box=replace(one.box, right_mm=right_mm), stop_s=one.start_s + seconds)

    return replace(layout, boxes=tuple(stretched(one) for one in layout.boxes))


def _common(table: LayoutTable) -> dict[str, Any]:
    """What both kinds of layouts share, as arguments of `Layout`."""
    clear = tuple(Box(*corners) for corners in table.clear_mm)
    return {**{key: getattr(table, key) for key in _COMMON_KEYS}, "clear": clear}


def _lead_box(name: str, key: str, table: LeadTable) -> LeadBox:
    left, top, right, bottom = table.box_mm
    if right <= left or bottom <= top:
        raise _error(name, f"{key}.box_mm", "[left, top, right, bottom]", _value(table.box_mm))
    box = Box(left, top, right, bottom)
    span_s = (table.start_s, table.stop_s)
    return LeadBox(table.lead, box, *span_s, table.rhythm_strip, table.name_mm)


_EXPECTED = {
    "missing": "a value",
    "string_type": "a text in quotes",
    "string_too_short": "a text that is not empty",
    "float_type": "a number",
    "int_type": "a whole number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than": "a number greater than {gt:g}",
    "less_than": "a number less than {lt:g}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "literal_error": "{expected}",
}


def _complaint(name: str, error: Mapping[str, Any]) -> str:
    """One of pydantic's findings as file, key, expected and found."""
    place, kind, limits = error["loc"], error["type"], error.get("ctx", {})
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
    if kind == "extra_forbidden":
        around = [p for p in place[:-1] if isinstance(p, str)]
        known = sorted(_TABLES[around[-1] if around else ""].model_fields)
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        expected = f"{near[0]!r}" if near else f"one of {', '.join(known)}"
        return str(_error(name, key, expected, "a key that nobody reads"))
    expected = _EXPECTED.get(kind, error["msg"]).format(**limits)
    found = "nothing" if kind == "missing" else repr(error["input"])
    if kind in ("too_short", "too_long"):
        found = f"{limits['actual_length']} of them" if error["input"] else "none"
    return str(_error(name, key, expected, found))


# --- writing ----------------------------------------------------------------------------------


def dump_layout_file(
    info: FormatInfo, layouts: Sequence[Layout], path: Path, notes: Iterable[str] = ()
) -> None:
    """Write a layout file, over one that is there."""
    path.write_text(to_toml(info, layouts, notes), encoding="utf-8")


def to_toml(info: FormatInfo, layouts: Sequence[Layout], notes: Iterable[str] = ()) -> str:
    """The TOML that `load_layout_file` reads as these very values; `notes` stand on top of it.

    What a publication cut out of the page (`Layout.published`) has no place in a file.
    """
    lines = [f"# {line}".rstrip() for note in notes for line in note.splitlines() or [""]]
    lines += ["", "[format]"] if lines else ["[format]"]
    plain = FormatInfo(info.id)
    lines.append(f"id = {_value(info.id)}")
    for key in list(FormatTable.model_fields)[1:]:
        if getattr(info, key) != getattr(plain, key):
            lines.append(f"{key} = {_value(getattr(info, key))}")
    for layout in layouts:
        lines += ["", "[[layout]]", *_layout_lines(layout)]
    return "\n".join(lines) + "\n"


def _layout_lines(layout: Layout) -> Iterator[str]:
    yield f"name = {_value(layout.name)}"
    yield f"page_mm = {_value(layout.page_mm)}"
    yield f"speed_mm_per_s = {_value(layout.speed_mm_per_s)}"
    yield f"gain_mm_per_mv = {_value(layout.gain_mm_per_mv)}"
    for key, usual in (("grid", None), ("pulse_mm", None), ("separators", False)):
        if getattr(layout, key) != usual:
            yield f"{key} = {_value(getattr(layout, key))}"
    yield f"row_slack_mm = {_value(layout.row_slack_mm)}"
    if layout.clear:
        yield f"clear_mm = {_value([_corners(box) for box in layout.clear])}"
    regular = _as_grid(layout)
    if regular is not None:
        written = ("speed_mm_per_s", "gain_mm_per_mv")
        yield from (f"{k} = {_value(v)}" for k, v in regular.items() if k not in written)
        return
    for one in layout.boxes:
        yield from ("", "[[layout.lead]]", f"lead = {_value(one.lead)}")
        yield f"box_mm = {_value(_corners(one.box))}"
        yield f"start_s = {_value(one.start_s)}"
        yield f"stop_s = {_value(one.stop_s)}"
        if one.rhythm_strip:
            yield "rhythm_strip = true"
        if one.name_mm is not None:
            yield f"name_mm = {_value(one.name_mm)}"


def _corners(box: Box) -> tuple[float, ...]:
    return box.left_mm, box.top_mm, box.right_mm, box.bottom_mm


def _as_grid(layout: Layout) -> dict[str, Any] | None:
    """The fewest keys that make this very layout as a regular grid, or None where it is not one.

    The numbers are read off the boxes without the dust of floating point, then tried.
    """
    must, may = _grid_keys(layout)
    for count in range(len(may) + 1):
        for chosen in combinations(may, count):
            keys = {key: value for key, value in {**must, **may}.items() if key in (*must, *chosen)}
            table = {"name": layout.name, "page_mm": layout.page_mm, **keys}
            try:
                made = _regular(LayoutTable.model_validate(table))
            except (ValidationError, LayoutError):
                continue
            if made.boxes == layout.boxes:
                return keys
    return None


def _grid_keys(layout: Layout) -> tuple[dict[str, Any], dict[str, Any]]:
    """(keys a regular grid must have, keys it may need) as read off the boxes."""
    rows: list[list[LeadBox]] = []
    for one in layout.boxes:
        if one.rhythm_strip:
            continue
        if not rows or _clean(one.baseline_mm) != _clean(rows[-1][0].baseline_mm):
            rows.append([])
        rows[-1].append(one)
    strips = [one for one in layout.boxes if one.rhythm_strip]
    first = layout.boxes[0]
    must: dict[str, Any] = {
        "speed_mm_per_s": layout.speed_mm_per_s,
        "gain_mm_per_mv": layout.gain_mm_per_mv,
        "rows": [[one.lead for one in row] for row in rows],
        "baselines_mm": [_clean(row[0].baseline_mm) for row in rows],
        "left_mm": _clean(first.box.left_mm),
        "column_s": _clean(first.stop_s - first.start_s),
    }
    may: dict[str, Any] = {}
    if rows and len(rows[0]) > 1:
        may["column_pitch_mm"] = _clean(rows[0][1].box.left_mm - first.box.left_mm)
    may["row_height_mm"] = _clean(first.box.height_mm)
    may["column_mm"] = _clean(first.box.width_mm)
    if strips:
        must["rhythm"] = [one.lead for one in strips]
        must["rhythm_baselines_mm"] = [_clean(one.baseline_mm) for one in strips]
        may["rhythm_s"] = _clean(strips[0].stop_s - strips[0].start_s)
    if first.name_mm is not None:
        must["name_offset_mm"] = [
            _clean(first.name_mm[0] - first.box.left_mm),
            _clean(first.name_mm[1] - first.baseline_mm),
        ]
    return must, may


def _clean(number: float) -> float:
    return round(number, 4)


def _value(value: Any) -> str:
    """A value as TOML; texts as JSON writes them, for a TOML text is almost one of JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value if isinstance(value, int) else float(value))
    return f"[{', '.join(_value(one) for one in value)}]"

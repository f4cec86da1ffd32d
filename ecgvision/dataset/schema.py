"""What the columns of a table of labels are: read from TOML or options, and held against it."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ecgvision.dataset.about import FIXED_COLUMNS, DatasetError, Role
from ecgvision.tasks import Name

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""What stands for a value that is not known, unless the schema says otherwise."""

_FIRST_YEAR, _LAST_YEAR = 1900, 2100
_ISO_DATE = re.compile(r"(\d{4})-\d\d-\d\d(?:[T ].*)?")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnRule(_Frozen):
    """One column of labels or clinical features: where it stands and what it may hold.

    `column` is its name in the table. Values are numbers from `at_least` to `at_most`, or 0 and 1
    ("binary"), or words ("text"), of `classes` where there are some. `replace` maps a value as it
    is written, such as "male", to what it means; `missing` are further marks of what is not known.
    """

    column: str = ""
    values: Literal["number", "binary", "text"] = "number"
    at_least: float | None = None
    at_most: float | None = None
    classes: tuple[str, ...] = ()
    replace: dict[str, float | str] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()
    title: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.classes and self.values != "text":
            raise ValueError('classes need values = "text"')
        if self.values != "number" and (self.at_least is not None or self.at_most is not None):
            raise ValueError('at_least and at_most need values = "number"')
        return self

    def meaning(self, value: object) -> float | str | None:
        """The value in the data set, None for one that is missing; raises `ValueError`.

        The message says what was expected.
        """
        text = _written(value)
        # Tables that went through other tools have 300.0 for 300.
        same = text if self.values == "text" else _shortest(text)
        told = self.replace.get(text, self.replace.get(same, text))
        if {text, same, told} & set(self.missing):
            return None
        if self.values == "text":
            return self._word(told)
        return self._number(told)

    def _word(self, told: float | str) -> str:
        if self.classes and told not in self.classes:
            raise ValueError(f"one of {', '.join(self.classes)}")
        return str(told)

    def _number(self, told: float | str) -> float:
        if self.values == "binary":
            if _written(told) not in ("0", "1", "0.0", "1.0"):
                raise ValueError("0 or 1")
            return float(told)
        number = _float(told)
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        if not (math.isfinite(number) and low <= number <= high):
            raise ValueError(_range(self.at_least, self.at_most))
        return number


def _float(told: float | str) -> float:
    try:
        if isinstance(told, str) and "_" in told:  # Python reads 1_0 as ten
            raise ValueError
        return float(told)
    except ValueError:
        raise ValueError("a number") from None


def _shortest(text: str) -> str:
    """A whole number without its decimals, anything else as it is.

    >>> _shortest("300.0"), _shortest("3.5"), _shortest("m")
    ('300', '3.5', 'm')
    """
    whole, point, decimals = text.partition(".")
    return whole if point and not decimals.strip("0") else text


def _range(low: float | None, high: float | None) -> str:
    parts = [f"at least {low:g}"] if low is not None else []
    parts += [f"at most {high:g}"] if high is not None else []
    return " and ".join(parts) or "a finite number"


# What is known of columns of these names, unless a schema says otherwise.
_KNOWN: dict[str, dict[str, Any]] = {
    "age": {"at_least": 0, "at_most": 120},
    "age_years": {"at_least": 0, "at_most": 120},
    "sex": {"values": "binary"},
    "lvef_percent": {"at_least": 0, "at_most": 100},
}


class Keys(_Frozen):
    """Which columns of the table say what a row is about; empty where there is none.

    `source` names the file, `record` the ECG: rows are joined by the one that is given, by `source`
    where both are. `patient` has to be there. `group` joins patients that are the same person, or
    must not be parted for another reason.
    """

    source: str = ""
    record: str = ""
    page: str = ""
    patient: str = ""
    year: str = ""
    format: str = ""
    fold: str = ""
    group: str = ""

    def named(self) -> Iterator[tuple[str, str]]:
        """Each key that the table has, with the name of its column."""
        for name in type(self).model_fields:
            if column := getattr(self, name):
                yield name, column


class Schema(_Frozen):
    """What a table's columns are. See docs/datasets.md for the TOML file.

    With `several` one row of the table may be about several files: drawings of one record.
    """

    columns: Keys
    clinical: dict[Name, ColumnRule] = Field(default_factory=dict)
    labels: dict[Name, ColumnRule] = Field(default_factory=dict)
    other: dict[Name, ColumnRule] = Field(default_factory=dict)
    missing: tuple[str, ...] = MISSING
    several: bool = False

    @field_validator("clinical", "labels", "other", mode="before")
    @classmethod
    def _with_what_is_known(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        plain = {
            name: rule.model_dump(exclude_unset=True) if isinstance(rule, ColumnRule) else rule
            for name, rule in given.items()
        }
        return {
            name: {**_KNOWN.get(name, {}), **rule} if isinstance(rule, dict) else rule
            for name, rule in plain.items()
        }

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not (self.columns.source or self.columns.record):
            raise ValueError("columns: name the table's column `source` or `record`, or both")
        if not self.columns.patient:
            raise ValueError(
                "columns: name the table's column `patient`; where every ECG is of another "
                "patient, name the column of the record"
            )
        names = [name for rules in (self.clinical, self.labels, self.other) for name in rules]
        doubled = sorted({name for name in names if names.count(name) > 1})
        taken = sorted(set(names) & set(FIXED_COLUMNS))
        if doubled or taken:
            raise ValueError(f"{', '.join(doubled or taken)}: the name is taken twice")
        words = [name for name, rule in self.clinical.items() if rule.values == "text"]
        if words:
            raise ValueError(f"{', '.join(words)}: clinical columns are numbers")
        return self

    def rules(self) -> dict[str, tuple[Role, ColumnRule]]:
        """Every column of the data set with its role and rule, clinical ones first."""
        parts: tuple[tuple[Role, dict[str, ColumnRule]], ...] = (
            ("clinical", self.clinical),
            ("label", self.labels),
            ("other", self.other),
        )
        return {
            name: (role, rule.model_copy(update={"missing": (*self.missing, *rule.missing)}))
            for role, rules in parts
            for name, rule in rules.items()
        }


def read_schema(path: Path) -> Schema:
    """The schema in a TOML file; raises `DatasetError` that names the fields that are wrong."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return Schema.model_validate(told)
    except ValidationError as error:
        raise wrong_toml(path, "a schema", "; ".join(first_fields(error))) from error
    except (OSError, ValueError) as error:
        raise wrong_toml(path, "a schema in TOML", str(error).splitlines()[0]) from error


def wrong_toml(path: Path, expected: str, found: str) -> DatasetError:
    hint = "docs/datasets.md describes it"
    return DatasetError("schema-wrong", path, None, expected=expected, found=found, hint=hint)


def first_fields(error: ValidationError) -> Iterable[str]:
    """The first fields that are wrong, each with what is wrong with it."""
    for one in error.errors()[:5]:
        where = ".".join(str(part) for part in one["loc"])
        yield f"{where}: {one['msg']}" if where else str(one["msg"])


def schema_of(keys: Keys, labels: Iterable[str], clinical: Iterable[str]) -> Schema:
    """The schema for columns that need no more than their names; raises `DatasetError`.

    What is no number in them is an error; `age_years`, `sex` and `lvef_percent` have bounds.
    """
    told = {
        "columns": keys,
        "labels": {name: {} for name in labels},
        "clinical": {name: {} for name in clinical},
    }
    try:
        return Schema.model_validate(told)
    except ValidationError as error:
        raise wrong_toml(
            Path("options"), "columns for a schema", "; ".join(first_fields(error))
        ) from (error)


# --- keys -------------------------------------------------------------------------------------


def _written(value: object) -> str:
    """A value as a CSV would have it; NaN and None are empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def key_meaning(name: str, value: object, missing: tuple[str, ...]) -> str | int | None:
    """What a key's value is: text, but for page, year and fold; raises `ValueError`."""
    text = _written(value)
    if name in ("page", "year", "fold"):
        return None if text in missing else _whole(name, text)
    if isinstance(value, float) and text:
        raise ValueError("text or a whole number (decimals lose digits of an id)")
    return None if text == "" or text in missing else text


def _whole(name: str, text: str) -> int:
    if name == "year" and (date := _ISO_DATE.fullmatch(text)):
        text = date[1]
    try:
        number = _float(text)
        whole = int(number)
    except (ValueError, OverflowError):
        raise ValueError("a whole number") from None
    if number != whole:
        raise ValueError("a whole number")
    if name == "year" and not _FIRST_YEAR <= whole <= _LAST_YEAR:
        raise ValueError(f"a year from {_FIRST_YEAR} to {_LAST_YEAR}, or a date like 2016-03-31")
    if name != "year" and whole < (1 if name == "page" else 0):
        raise ValueError("a positive number")
    return whole

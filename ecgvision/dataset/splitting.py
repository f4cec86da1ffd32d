"""Splits a data set into training, validation and test, and nobody stands in two of them."""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from ecgvision.dataset.about import FIXED_COLUMNS
from ecgvision.dataset.people import Link, names_of, people
from ecgvision.dataset.schema import first_fields, wrong_toml
from ecgvision.dataset.store import Dataset, replace_rows
from ecgvision.dataset.stratify import shared_out, strata
from ecgvision.errors import UsageError

Used = Literal["train", "validation", "test"]
USED: tuple[Used, Used, Used] = ("train", "validation", "test")
EXCLUDED = "excluded.csv"
"""The list of rows that are in no split, in the folder of the data set."""


class Rule(BaseModel):
    """Rows of these formats from the first to the last of `years` belong into `split`.

    With `share` only that part of the people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Used
    formats: tuple[str, ...] = ()
    years: tuple[int, int]
    share: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _years_rise(self) -> Self:
        if self.years[0] > self.years[1]:
            raise ValueError("years: the first must not be after the last")
        return self

    def fits(self, format_id: str | None, year: int) -> bool:
        first, last = self.years
        return first <= year <= last and (not self.formats or format_id in self.formats)


class Rules(BaseModel):
    """A table of rules, and which split keeps a person who would stand in several."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    prefer: tuple[Used, Used, Used] = USED

    @model_validator(mode="after")
    def _prefers_each_once(self) -> Self:
        if set(self.prefer) != set(USED):
            raise ValueError(f"prefer: name each of {', '.join(USED)} once")
        return self


@dataclass(frozen=True, slots=True)
class Unused:
    """A row that is in no split, by its number, and why."""

    row: int
    split: str | None
    reason: str
    message: str


@dataclass(frozen=True)
class Splitting:
    """The split of each row, "excluded" or None, and those that are in none."""

    split: list[str | None] = field(repr=False)
    unused: list[Unused] = field(repr=False)
    told: dict[str, JsonValue]


def read_rules(path: Path | None = None) -> Rules:
    """The rules in a TOML file, or those of the study; raises `DatasetError`."""
    try:
        if path is None:
            text = (files("ecgvision.dataset") / "study.toml").read_text(encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8-sig")
        return Rules.model_validate(tomllib.loads(text))
    except ValidationError as error:
        found = "; ".join(first_fields(error))
        raise wrong_toml(Path(path or "study.toml"), "rules of a split", found) from error
    except (OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise wrong_toml(Path(path or "study.toml"), "rules in TOML", found) from error


# --- the three ways ---------------------------------------------------------------------------


def by_rules(
    rows: pd.DataFrame, rules: Rules, links: Iterable[Link] = (), seed: int = 0
) -> Splitting:
    """By format and year; nobody stands in two splits, see `Rules.prefer`."""
    links = list(links)
    who = people(rows, links)
    names = names_of(who, list(rows["patient"]))
    proposed: list[str | None] = []
    unused = []
    for number, (person, format_id, year) in enumerate(
        zip(who.tolist(), rows["format"], rows["year"], strict=True)
    ):
        split = None if pd.isna(year) else _ruled(rules, format_id, int(year), names[person], seed)
        proposed.append(split)
        if split is None:
            reason = "no-year" if pd.isna(year) else "no-rule"
            shown = "no year" if pd.isna(year) else f"{format_id or 'no format'}, {int(year)}"
            unused.append(Unused(number, None, reason, f"{shown}: no rule fits"))
    told = {"by": "rules", "seed": seed, "links": len(links), **rules.model_dump(mode="json")}
    return _drawn_once(rows, _one_split_each(who, proposed, rules.prefer, unused, told))


def _ruled(rules: Rules, format_id: str | None, year: int, person: str, seed: int) -> str | None:
    for number, rule in enumerate(rules.rules):
        if rule.fits(format_id, year) and (
            rule.share == 1 or _drawn(f"{seed}:{number}:{person}") < rule.share
        ):
            return rule.split
    return None


def _drawn(text: str) -> float:
    """A number from 0 to 1 that hangs on the text alone, not on what else there is."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def by_fold(
    rows: pd.DataFrame, folds: dict[Used, frozenset[int]], links: Iterable[Link] = ()
) -> Splitting:
    """By given folds; nobody stands in two splits, training comes before validation and test."""
    links = list(links)
    taken = [fold for numbers in folds.values() for fold in numbers]
    if doubled := sorted({fold for fold in taken if taken.count(fold) > 1}):
        raise UsageError(f"folds {', '.join(map(str, doubled))} are named for two splits")
    of_fold = {fold: split for split, numbers in folds.items() for fold in numbers}
    there = {int(fold) for fold in rows["fold"].dropna()}
    if lacking := sorted(set(taken) - there):
        shown = ", ".join(map(str, sorted(there))) or "none"
        raise UsageError(f"no row is of fold {', '.join(map(str, lacking))}; there are {shown}")
    proposed: list[str | None] = []
    unused = []
    for number, fold in enumerate(rows["fold"]):
        proposed.append(None if pd.isna(fold) else of_fold.get(int(fold)))
        if proposed[-1] is None:
            shown = "no fold" if pd.isna(fold) else f"fold {int(fold)}"
            unused.append(Unused(number, None, "no-fold", f"{shown}: for no split"))
    told: dict[str, JsonValue] = {"by": "fold", "links": len(links)}
    told |= {split: [*sorted(numbers)] for split, numbers in folds.items()}
    found = _one_split_each(people(rows, links), proposed, USED, unused, told)
    return _drawn_once(rows, found)


def by_patient(
    rows: pd.DataFrame,
    fractions: Sequence[float],
    stratify: Sequence[str] = (),
    links: Iterable[Link] = (),
    seed: int = 0,
) -> Splitting:
    """Whole people, drawn so that `stratify` are as frequent in each split; see `strata`."""
    if len(fractions) != len(USED) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError("fractions: give three that add up to 1, such as 0.8,0.1,0.1")
    links = list(links)
    who = people(rows, links)
    share = shared_out(who, strata(rows, stratify), fractions, seed)
    told: dict[str, JsonValue] = {
        "by": "patient",
        "fractions": list(fractions),
        "stratify": list(stratify),
        "links": len(links),
        "seed": seed,
    }
    found = Splitting([USED[number] for number in share[who].tolist()], [], told)
    return _drawn_once(rows, found)


def _one_split_each(
    who: NDArray[np.int64],
    proposed: list[str | None],
    prefer: Sequence[str],
    unused: list[Unused],
    told: dict[str, Any],
) -> Splitting:
    """Keep each person in the first of `prefer` that has them; what they have elsewhere goes."""
    rank = {split: number for number, split in enumerate(prefer)}
    kept: dict[int, str] = {}
    for person, split in zip(who.tolist(), proposed, strict=True):
        if split is not None and rank[split] < rank.get(kept.get(person, ""), len(rank)):
            kept[person] = split
    final = list(proposed)
    for number, (person, split) in enumerate(zip(who.tolist(), proposed, strict=True)):
        if split is not None and split != kept[person]:
            final[number] = "excluded"
            message = f"the same person has rows in {kept[person]}"
            unused.append(Unused(number, split, "patient-elsewhere", message))
    unused.sort(key=lambda one: one.row)
    return Splitting(final, unused, told)


# --- into the data set ------------------------------------------------------------------------


def split_dataset(dataset: Dataset, splitting: Splitting) -> Dataset:
    """Write the splits into the data set, with the list of rows that are in none.

    Raises `UsageError` where nothing is in training.
    """
    if "train" not in splitting.split:
        raise UsageError("no row is in training; the data set was left as it was")
    rows = dataset.rows.assign(split=pd.Series(splitting.split, dtype=object))
    about = dataset.about.model_copy(update={"split_by": splitting.told})
    listed = _unused_bytes(rows, splitting.unused)
    return replace_rows(dataset, rows, about, {EXCLUDED: listed})


def _drawn_once(rows: pd.DataFrame, splitting: Splitting) -> Splitting:
    """Keep further drawings of a record in training alone, or one would count several times."""
    if "drawing" not in rows:
        return splitting
    final, unused = list(splitting.split), list(splitting.unused)
    for number, (drawing, split) in enumerate(zip(rows["drawing"], final, strict=True)):
        if not pd.isna(drawing) and drawing > 1 and split in ("validation", "test"):
            final[number] = "excluded"
            message = f"drawing {int(drawing)} of a record that counts once"
            unused.append(Unused(number, split, "drawn-again", message))
    unused.sort(key=lambda one: one.row)
    return Splitting(final, unused, splitting.told)


def _unused_bytes(rows: pd.DataFrame, unused: Iterable[Unused]) -> bytes:
    """CSV: the row's number from 0, what it is, the split it would have had, and why not."""
    shown = [name for name in FIXED_COLUMNS if name in ("record", "patient", "source", "page")]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *shown, "split", "reason", "message"])
    for one in unused:
        values = [rows[name].iloc[one.row] for name in shown]
        writer.writerow([one.row, *values, one.split or "", one.reason, one.message])
    return text.getvalue().encode("utf-8")


def parsed_folds(text: str) -> frozenset[int]:
    """Numbers and ranges: "1-8,10"; raises `UsageError`.

    >>> sorted(parsed_folds("1-3, 7"))
    [1, 2, 3, 7]
    """
    try:
        return frozenset(number for part in text.split(",") for number in _span(part))
    except ValueError:
        raise UsageError(f"folds: expected numbers like 1-8 or 9,10, found {text!r}") from None


def _span(part: str) -> Iterator[int]:
    first, dash, last = part.strip().partition("-")
    span = range(int(first), int(last if dash else first) + 1)
    if not 0 < len(span) <= 10_000:
        raise ValueError
    yield from span

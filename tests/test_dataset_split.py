"""Splits: nobody stands in two, training comes first, and what is drawn is as frequent in each."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgvision.dataset.about import ColumnInfo, DatasetError, DatasetInfo, ImageInfo
from ecgvision.dataset.people import people, read_links
from ecgvision.dataset.splitting import (
    Rules,
    Splitting,
    by_fold,
    by_patient,
    by_rules,
    parsed_folds,
    read_rules,
    split_dataset,
)
from ecgvision.dataset.store import Dataset, open_dataset, write_dataset
from ecgvision.errors import UsageError

GE, PHILIPS = "ge-mac1200", "philips-tc30"
FOLDS = {"train": frozenset({1, 2}), "validation": frozenset({3}), "test": frozenset({4})}


def table(patients: Sequence[str], **columns: Sequence[object]) -> pd.DataFrame:
    found = pd.DataFrame({"patient": list(patients)})
    found["record"] = columns.pop("record", [f"r{k}" for k in range(len(patients))])
    for name in ("group", "format"):
        found[name] = pd.Series(columns.pop(name, [None] * len(patients)), dtype=object)
    for name in ("year", "fold"):
        found[name] = pd.Series(columns.pop(name, [None] * len(patients)), dtype="Int64")
    return found.assign(**columns)


# --- who is the same person ---------------------------------------------------------------------


def test_rows_hang_together_through_patients_records_groups_and_links() -> None:
    rows = table(
        ["a", "b", "c", "d", "e", "a", "f"],
        record=["1", "2", "2", "3", "4", "5", "6"],
        group=[None, None, "g", "g", None, None, None],
    )
    # b-c share a record, c-d a group, d-x-e a chain of links through someone without rows.
    assert people(rows, [("d", "x"), ("x", "e")]).tolist() == [0, 1, 1, 1, 1, 0, 2]
    assert people(rows).tolist() == [0, 1, 1, 1, 2, 0, 3]


def test_a_patient_is_not_a_record_or_a_group_of_the_same_name() -> None:
    rows = table(["a", "b", "c"], record=["b", "c", "x"], group=[None, None, "a"])
    assert people(rows).tolist() == [0, 1, 2]


def test_cycles_and_links_to_oneself_change_nothing() -> None:
    rows = table(["a", "b", "c", "d"])
    links = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d")]
    assert people(rows, links).tolist() == [0, 0, 0, 1]


ids = st.sampled_from([f"p{k}" for k in range(12)])
examples = st.lists(
    st.tuples(
        ids,
        st.sampled_from([f"r{k}" for k in range(15)]),
        st.sampled_from([None, None, None, "g0", "g1"]),
        st.one_of(st.none(), st.integers(1, 5)),
    ),
    min_size=1,
    max_size=40,
)
linked = st.lists(st.tuples(ids, st.one_of(ids, st.sampled_from(["x", "y"]))), max_size=8)


def components(rows: pd.DataFrame, links: Sequence[tuple[str, str]]) -> list[set[int]]:
    """The same the slow way: sets of rows and ids that touch are merged until none do."""
    parts: list[set[object]] = []
    touching: list[set[object]] = [{("patient", a), ("patient", b)} for a, b in links]
    for number, row in rows.iterrows():
        kinds = ("patient", "record", "group")
        touching.append({number, *((kind, row[kind]) for kind in kinds if row[kind] is not None)})
    for one in touching:
        apart = [part for part in parts if not part & one]
        parts = [*apart, one.union(*(part for part in parts if part & one))]
    found = [{one for one in part if isinstance(one, int)} for part in parts]
    return [part for part in found if part]


@given(examples, linked)
@settings(max_examples=150, deadline=None)
def test_nobody_stands_in_two_splits_and_no_more_is_excluded_than_must_be(
    drawn: list[tuple[str, str, str | None, int | None]], links: list[tuple[str, str]]
) -> None:
    patients, records, groups, folds = zip(*drawn, strict=True)
    rows = table(patients, record=records, group=groups, fold=folds)
    there = {fold for fold in folds if fold is not None}
    wanted = {split: numbers & there for split, numbers in FOLDS.items()}
    split = by_fold(rows, wanted, links).split
    own = [
        next((name for name, numbers in wanted.items() if fold in numbers), None) for fold in folds
    ]
    for part in components(rows, links):
        stands_in = {split[row] for row in part} - {"excluded", None}
        could = {own[row] for row in part} - {None}
        assert len(stands_in) == (1 if could else 0)
        kept = next((name for name in ("train", "validation", "test") if name in could), None)
        for row in part:
            # All that belongs into the preferred split is there; all else of the person is not.
            expected = own[row] if own[row] in (kept, None) else "excluded"
            assert split[row] == expected


@given(examples, linked, st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_drawn_splits_part_nobody(
    drawn: list[tuple[str, str, str | None, int | None]], links: list[tuple[str, str]], seed: int
) -> None:
    patients, records, groups, folds = zip(*drawn, strict=True)
    rows = table(patients, record=records, group=groups, fold=folds)
    split = by_patient(rows, [0.6, 0.2, 0.2], ["fold"], links, seed).split
    assert set(split) <= {"train", "validation", "test"}
    for part in components(rows, links):
        assert len({split[row] for row in part}) == 1


# --- as in the study ----------------------------------------------------------------------------


def ruled(formats: Sequence[str | None], years: Sequence[int | None], **more: object) -> Splitting:
    patients = more.pop("patients", [f"p{k}" for k in range(len(years))])
    rows = table(patients, format=formats, year=years)  # type: ignore[arg-type]
    return by_rules(rows, read_rules(), **more)  # type: ignore[arg-type]


def test_the_study_splits_by_year_and_format() -> None:
    years = [2008, 2009, 2014, 2015, 2016, 2017]
    assert ruled([GE] * 6, years).split == [None, "train", "train", "validation", "test", None]
    years = [2016, 2017, 2020, 2021, 2022]
    assert ruled([PHILIPS] * 5, years).split == [None, "train", "train", "train", None]
    assert ruled([None, "ge-muse", GE], [2012, 2012, None]).split == [None, None, None]


def test_years_that_the_study_names_twice_are_drawn_by_person() -> None:
    split = ruled([PHILIPS] * 4000, [2018] * 4000).split
    # 0.95 of 4,000, within four standard deviations of a binomial draw.
    assert split.count("test") == pytest.approx(3800, abs=4 * (4000 * 0.95 * 0.05) ** 0.5)
    assert split.count("test") + split.count("validation") == 4000
    split = ruled([PHILIPS] * 4000, [2019] * 4000).split
    assert split.count("validation") == pytest.approx(3800, abs=56)
    assert split.count("train") == 4000 - split.count("validation")


def test_what_is_drawn_hangs_on_person_and_seed_not_on_the_order_of_rows() -> None:
    patients = [f"p{k}" for k in range(300)]
    first = dict(
        zip(patients, ruled([PHILIPS] * 300, [2018] * 300, patients=patients).split, strict=True)
    )
    mixed = random.Random(1).sample(patients, 200)
    again = ruled([PHILIPS] * 200, [2018] * 200, patients=mixed).split
    assert again == [first[patient] for patient in mixed]
    other = ruled([PHILIPS] * 300, [2018] * 300, patients=patients, seed=1).split
    assert other != list(first.values())


def test_training_is_preferred_and_the_others_are_listed() -> None:
    done = ruled(
        [GE, GE, GE, GE, GE, GE],
        [2010, 2015, 2016, 2015, 2016, 2016],
        patients=["a", "a", "b", "c", "c", "d"],
        links=[("a", "b")],
    )
    assert done.split == ["train", "excluded", "excluded", "validation", "excluded", "test"]
    told = [(one.row, one.split, one.reason, one.message) for one in done.unused]
    assert told == [
        (1, "validation", "patient-elsewhere", "the same person has rows in train"),
        (2, "test", "patient-elsewhere", "the same person has rows in train"),
        (4, "test", "patient-elsewhere", "the same person has rows in validation"),
    ]


def test_another_preference_can_be_given() -> None:
    told = read_rules().model_dump() | {"prefer": ["test", "validation", "train"]}
    rows = table(["a", "a", "a"], format=[GE] * 3, year=[2010, 2015, 2016])
    assert by_rules(rows, Rules.model_validate(told)).split == ["excluded", "excluded", "test"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules = []", "rules: Tuple should have at least 1 item"),
        ('[[rules]]\nsplit = "dev"\nyears = [1, 2]', "rules.0.split"),
        ('[[rules]]\nsplit = "test"\nyears = [3, 2]', "the first must not be after the last"),
        ('[[rules]]\nsplit = "test"\nyear = [1, 2]', "rules.0.years"),
        ('[[rules]]\nsplit = "test"\nyears = [1, 2]\nshare = 0', "rules.0.share"),
        ('prefer = ["test", "test", "train"]\n[[rules]]\nsplit = "test"\nyears = [1, 2]', "once"),
        ("[[rules", "rules in TOML"),
    ],
)
def test_wrong_rules_are_refused_by_their_field(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_rules(path)
    assert told in str(caught.value)
    assert "rules.toml" in str(caught.value)


# --- by fold ------------------------------------------------------------------------------------


def test_folds_are_taken_as_given() -> None:
    rows = table("abcdef", fold=[1, 2, 3, 4, 5, None])
    done = by_fold(rows, FOLDS)  # type: ignore[arg-type]
    assert done.split == ["train", "train", "validation", "test", None, None]
    assert [(one.row, one.reason) for one in done.unused] == [(4, "no-fold"), (5, "no-fold")]


def test_folds_that_are_not_there_or_named_twice_are_refused() -> None:
    rows = table("ab", fold=[1, 2])
    with pytest.raises(UsageError, match=r"no row is of fold 3, 4; there are 1, 2"):
        by_fold(rows, FOLDS)  # type: ignore[arg-type]
    twice = {"train": frozenset({1, 2}), "validation": frozenset({2}), "test": frozenset({1})}
    with pytest.raises(UsageError, match="folds 1, 2 are named for two splits"):
        by_fold(rows, twice)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "a", "1-", "8-1", "1,,2", "-3", "1-99999999"])
def test_folds_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected numbers like 1-8"):
        parsed_folds(text)


# --- stratified ---------------------------------------------------------------------------------


def cohort(count: int = 3000) -> pd.DataFrame:
    """Patients of one to four ECGs, labels that go together and are partly unknown."""
    rng = np.random.default_rng(4)
    patient = np.sort(rng.integers(0, count // 2, count))
    ill = rng.random(count // 2) < 0.2
    mi = (ill[patient] & (rng.random(count) < 0.8)).astype(float)
    rare = (rng.random(count) < 0.03).astype(float)
    lvef = np.where(mi == 1, 42, 61) + rng.normal(0, 9, count)
    lvef[rng.random(count) < 0.3] = np.nan
    names = [f"p{k}" for k in patient]
    return table(names, mi=mi, rare=rare, lvef_percent=lvef, format=[GE, PHILIPS] * (count // 2))


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.25, 0.25)])
def test_labels_are_as_frequent_in_each_split(fractions: tuple[float, ...]) -> None:
    rows = cohort()
    wanted = ["mi", "rare", "lvef_percent<50", "format"]
    split = pd.Series(by_patient(rows, fractions, wanted, seed=2).split)
    for name, fraction in zip(("train", "validation", "test"), fractions, strict=True):
        part = rows[split == name]
        assert len(part) / len(rows) == pytest.approx(fraction, abs=0.005)
        # Drawn without care, the standard error of `mi` in 300 rows is 0.02, of `rare` 0.01.
        assert part["mi"].mean() == pytest.approx(rows["mi"].mean(), abs=0.005)
        assert part["rare"].mean() == pytest.approx(rows["rare"].mean(), abs=0.005)
        low = [(one["lvef_percent"].dropna() < 50).mean() for one in (part, rows)]
        assert low[0] == pytest.approx(low[1], abs=0.01)
        assert (part["format"] == GE).mean() == pytest.approx(0.5, abs=0.01)


def test_drawn_splits_repeat_with_their_seed_only() -> None:
    rows = cohort(400)
    first, again, other = (by_patient(rows, [0.8, 0.1, 0.1], ["mi"], seed=s) for s in (0, 0, 1))
    assert first.split == again.split
    assert first.split != other.split


def test_a_split_of_no_share_stays_empty() -> None:
    split = by_patient(cohort(200), [0.8, 0.0, 0.2], ["mi", "rare"]).split
    assert set(split) == {"train", "test"}


@pytest.mark.parametrize(
    ("fractions", "stratify", "told"),
    [
        ((0.8, 0.1), [], "three that add up to 1"),
        ((0.8, 0.1, 0.2), [], "three that add up to 1"),
        ((1.2, -0.1, -0.1), [], "three that add up to 1"),
        ((0.8, 0.1, 0.1), ["scar"], "cannot stratify by 'scar'"),
        ((0.8, 0.1, 0.1), ["lvef_percent"], "it has .* values; cut it, such as lvef_percent<"),
        ((0.8, 0.1, 0.1), ["format<50"], "it is not about numbers"),
        ((0.8, 0.1, 0.1), ["mi<x"], "cannot stratify by 'mi<x'"),
    ],
)
def test_wrong_wishes_are_refused(
    fractions: tuple[float, ...], stratify: list[str], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        by_patient(cohort(200), fractions, stratify)


# --- into the data set --------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    rows = table(["007", "007", "8"], fold=[1, 4, 3], scar=[1.0, 0.0, np.nan])
    about = DatasetInfo(
        name="small",
        image=ImageInfo(height_px=2, width_px=2),
        columns={"scar": ColumnInfo(role="label")},
    )
    rows["source"] = ["a.pdf", "b.pdf", "c.pdf"]
    return write_dataset(tmp_path / "data", about, rows, np.zeros((3, 2, 2), np.uint8))


def test_the_split_and_its_list_are_written(small: Dataset) -> None:
    folds = {"train": frozenset({1}), "validation": frozenset({3}), "test": frozenset({4})}
    split_dataset(small, by_fold(small.rows, folds))  # type: ignore[arg-type]
    found = open_dataset(small.folder, check=True)
    assert found.rows["split"].tolist() == ["train", "excluded", "validation"]
    assert found.about.split_by == {
        "by": "fold",
        "links": 0,
        "train": [1],
        "validation": [3],
        "test": [4],
    }
    with (small.folder / "excluded.csv").open(newline="") as file:
        (listed,) = csv.DictReader(file)
    assert listed["patient"] == "007"
    assert (listed["row"], listed["source"], listed["split"]) == ("1", "b.pdf", "test")
    assert found.chosen("excluded").tolist() == [1]


def test_a_data_set_without_training_is_left_as_it_was(small: Dataset) -> None:
    before = {path.name: path.read_bytes() for path in small.folder.iterdir()}
    with pytest.raises(UsageError, match="no row is in training"):
        split_dataset(small, by_rules(small.rows, read_rules()))
    assert {path.name: path.read_bytes() for path in small.folder.iterdir()} == before


def test_links_are_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "links.csv"
    path.write_text("\ufefffirst,second\n007,8\n7,0008\n", encoding="utf-8")
    assert read_links(path) == [("007", "8"), ("7", "0008")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b,c\n1,2,3\n", "two columns, each with a patient's id, found 3: a, b, c"),
        ("a,b\n1,\n2,3\n", "row 2: expected two ids as text, found '1' and ''"),
        ("a,b\n", "at least one row, found none"),
    ],
)
def test_wrong_links_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "links.csv"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_links(path)
    assert told in str(caught.value)

"""Whole evaluations whose figures are known otherwise, down to the page and the CSVs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import sys
import types
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from sklearn import metrics

from ecgvision.cli import main
from ecgvision.dataset.about import ColumnInfo, DatasetInfo, ImageInfo
from ecgvision.dataset.predictions import Predictions, write_predictions
from ecgvision.dataset.store import Dataset, file_sha256, write_dataset
from ecgvision.errors import EcgVisionError, PageError, UsageError
from ecgvision.evaluation import rates
from ecgvision.evaluation.auc import TIED, compare, delong
from ecgvision.evaluation.estimates import EvaluationError
from ecgvision.evaluation.evaluate import Evaluation, Settings, evaluate, rows_needed
from ecgvision.evaluation.models import Model, collect, stored
from ecgvision.evaluation.page import page
from ecgvision.evaluation.readers import STUDY, Reader, ReadersError, read_readers
from ecgvision.evaluation.tables import COLUMNS, Row
from ecgvision.evaluation.writing import write_report
from ecgvision.tasks import Task

SCAR = Task(name="scar", title="Myocardial scar")
LVEF = Task(name="lvef", column="lvef_percent", below=50)
RHYTHM = Task(name="rhythm", classes=("sinus", "af", "paced"))
QUICK = Settings(draws=100)
HOSTILE = "<script>alert(1)</script>\"'><img src=x> &amp; {{ 7 * 7 }}"

MakeData = Callable[..., Dataset]


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """A data set of `n` patients, each drawn in both formats; `changed` replaces columns."""

    def make(
        n: int = 240, *, simulated: bool = False, name: str = "data", **changed: Any
    ) -> Dataset:
        rng = np.random.default_rng(3)
        scar = (rng.random(n) < 0.3).astype(float)
        scar[::17] = np.nan
        columns: dict[str, Any] = {
            "record": [f"r{k}" for k in range(n)],
            "patient": [f"p{k}" for k in range(n)],
            "source": "drawn",
            "split": [("train", "validation", "test", "test")[k % 4] for k in range(n)],
            "age_years": rng.normal(68, 12, n),
            "sex": rng.integers(0, 2, n).astype(float),
            "scar": scar,
            "lvef_percent": np.clip(rng.normal(52, 14, n), 10, 80),
            "rhythm": rng.choice(["sinus", "af", "paced"], n, p=[0.5, 0.3, 0.2]).astype(object),
            **changed,
        }
        one = pd.DataFrame(columns)
        rows = pd.concat(
            [one.assign(format="ge-mac1200"), one.assign(format="philips-tc30")], ignore_index=True
        )
        about = DatasetInfo(
            name=name,
            simulated=simulated,
            image=ImageInfo(height_px=1, width_px=1),
            columns={
                **{key: ColumnInfo(role="clinical") for key in ("age_years", "sex")},
                **{key: ColumnInfo(role="label") for key in ("scar", "lvef_percent", "rhythm")},
            },
        )
        folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        return write_dataset(folder, about, rows, np.full((len(rows), 1, 1), 255, np.uint8))

    return make


def scores_of(
    dataset: Dataset, task: Task, rows: NDArray[np.int64], seed: int, strength: float = 1.5
) -> NDArray[np.float64]:
    """Scores that know something of the labels, with ties."""
    rng = np.random.default_rng(seed)
    values = dataset.rows[task.source].iloc[rows]
    truth = task.targets([None if one != one else one for one in values]).astype(float)
    if task.is_binary:
        return np.round(strength * np.nan_to_num(truth) - 1 + rng.normal(size=rows.size), 1)
    classes = np.arange(task.outputs)
    return strength * (truth[:, None] == classes) + rng.normal(size=(rows.size, task.outputs))


def model(
    dataset: Dataset,
    name: str = "one",
    tasks: tuple[Task, ...] = (SCAR,),
    *,
    seed: int = 1,
    split: str = "test",
    **scores: Any,
) -> Model:
    rows = rows_needed(dataset, split)
    said = {
        task.name: np.asarray(scores[task.name], np.float64)
        if task.name in scores
        else scores_of(dataset, task, rows, seed)
        for task in tasks
    }
    return Model(name, "", Predictions(tasks, rows, said), dataset.digest)


def truth_of(dataset: Dataset, column: str, **where: str) -> tuple[Any, Any]:
    """Which of the rows that are predicted are known and in these parts, and their labels."""
    table = dataset.rows.iloc[rows_needed(dataset, "test")]
    chosen = table[column].notna().to_numpy()
    for key, value in where.items():
        chosen &= (table[key] == value).to_numpy()
    return chosen, table[column].to_numpy()[chosen]


def only(rows: list[Row]) -> Row:
    (row,) = rows
    return row


def metric(found: Evaluation, name: str, **where: Any) -> Row:
    """A metric's row; of the AUC that of DeLong."""
    rows = found.tables.where("metrics", metric=name, **where)
    return rows[0] if name == "auc" else only(rows)


# --- figures ----------------------------------------------------------------------------------


def test_figures_are_those_of_scikit_learn_on_the_known_rows(make_data: MakeData) -> None:
    data = make_data()
    one = model(data)
    found = evaluate([one], data, QUICK)
    scores = one.predictions.scores["scar"]
    for where in ({}, {"format": "ge-mac1200"}, {"format": "philips-tc30"}):
        chosen, truth = truth_of(data, "scar", split="test", **where)
        rows = where.get("format", "all")
        auc = metric(found, "auc", rows=rows)
        assert auc["value"] == pytest.approx(metrics.roc_auc_score(truth, scores[chosen]))
        assert (auc["n"], auc["positive"]) == (truth.size, truth.sum())
        expected = metrics.average_precision_score(truth, scores[chosen])
        assert metric(found, "average_precision", rows=rows)["value"] == pytest.approx(expected)
        chance = 1 / (1 + np.exp(-scores[chosen]))
        expected = metrics.brier_score_loss(truth, chance)
        assert metric(found, "brier", rows=rows)["value"] == pytest.approx(expected)
    whole = found.tables.where("metrics", metric="auc", rows="all")
    assert [row["method"] for row in whole] == ["DeLong, by patient", "bootstrap, by patient"]
    part = found.tables.where("metrics", metric="auc", rows="ge-mac1200")
    assert [row["method"] for row in part] == ["DeLong", "bootstrap, stratified"]
    assert all(row["low"] < row["value"] < row["high"] for row in [*whole, *part])
    assert any("not independent" in remark for remark in found.remarks)


def test_thresholds_are_chosen_on_validation_and_reported_on_test(make_data: MakeData) -> None:
    data = make_data()
    rows = rows_needed(data, "test")
    validation = (data.rows["split"].iloc[rows] == "validation").to_numpy()
    # In validation all scores lie higher: a threshold from there finds less in test.
    scores = scores_of(data, SCAR, rows, 4) + 1.0 * validation
    found = evaluate([model(data, scar=scores)], data, QUICK)
    test, truth = truth_of(data, "scar", split="test")
    seen, labels = truth_of(data, "scar", split="validation")
    for target in (0.8, 0.9, 0.95):
        row = only(
            found.tables.where(
                "operating", rows="all", target_sensitivity=target, chosen_on="validation"
            )
        )
        positives = np.sort(scores[seen][labels == 1])
        threshold = next(t for t in positives[::-1] if (positives >= t).mean() >= target)
        assert row["threshold"] == threshold
        assert row["sensitivity"] == pytest.approx((scores[test][truth == 1] >= threshold).mean())
        assert row["specificity"] == pytest.approx((scores[test][truth == 0] < threshold).mean())
        assert row["sensitivity"] < target - 0.1
        study = only(
            found.tables.where(
                "operating",
                rows="all",
                target_sensitivity=target,
                chosen_on="test, as in the study",
            )
        )
        assert study["sensitivity"] >= target
    best = metric(found, "weighted_f1_threshold", rows="all")["value"]
    assert best == rates.best_f1_threshold(labels, scores[seen])
    expected = metrics.f1_score(truth, scores[test] >= best, average="weighted")
    assert metric(found, "weighted_f1", rows="all")["value"] == pytest.approx(expected)


def test_the_temperature_knows_validation_alone(make_data: MakeData) -> None:
    rng = np.random.default_rng(8)
    n = 4000
    true = rng.normal(0, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)
    splits = np.array([("validation", "test")[k % 2] for k in range(n)])
    other = labels.copy()
    other[splits == "test"] = 1 - labels[splits == "test"]
    temperatures = []
    for scar in (labels, other):
        data = make_data(n, scar=scar, split=splits)
        scores = np.tile(true, 2)[rows_needed(data, "test")] * 2.5
        found = evaluate([model(data, scar=scores)], data, QUICK)
        temperatures.append(found.temperatures["one", "scar"].value)
        if scar is labels:
            plain, scaled = (
                metric(found, "brier", rows="all"),
                metric(found, "brier_scaled", rows="all"),
            )
            assert scaled["value"] < plain["value"]
            curve = found.tables.where("calibration", rows="all", scaled="by temperature")
            assert len(curve) == 10
            for row in curve:
                assert row["observed"] == pytest.approx(row["predicted"], abs=0.08)
    assert temperatures[0] == temperatures[1] == pytest.approx(2.5, rel=0.12)


def test_another_cut_is_scored_by_the_output_there_is(make_data: MakeData) -> None:
    data = make_data()
    one = model(data, tasks=(LVEF,))
    found = evaluate([one], data, Settings(draws=100, cuts=(("lvef", 40),)))
    chosen, ejection = truth_of(data, "lvef_percent", split="test")
    scores = one.predictions.scores["lvef"][chosen]
    for task, cut in (("lvef", 50), ("lvef < 40", 40)):
        row = metric(found, "auc", task=task, rows="all")
        assert row["value"] == pytest.approx(metrics.roc_auc_score(ejection < cut, scores))
        assert row["positive"] == (ejection < cut).sum()
    assert found.tables.where("calibration", task="lvef")
    assert not found.tables.where("calibration", task="lvef < 40")
    for cuts, told in (((("scar", 1.0),), "no run has"), ((("rhythm", 1.0),), "no run has")):
        with pytest.raises(UsageError, match=told):
            evaluate([one], data, Settings(cuts=cuts))
    with pytest.raises(UsageError, match="no cut"):
        evaluate([model(data)], data, Settings(cuts=(("scar", 0.5),)))


def test_classes_are_asked_one_against_the_rest(make_data: MakeData) -> None:
    data = make_data()
    one = model(data, tasks=(RHYTHM,))
    found = evaluate([one], data, QUICK)
    chosen, words = truth_of(data, "rhythm", split="test")
    truth = np.array([RHYTHM.classes.index(word) for word in words])
    chances = one.predictions.probabilities("rhythm")[chosen]
    each = metrics.roc_auc_score(truth, chances, multi_class="ovr", average=None)
    got = [metric(found, "auc", task=f"rhythm: {c}", rows="all")["value"] for c in RHYTHM.classes]
    assert got == pytest.approx(each)
    mean = only(found.tables.where("metrics", task="rhythm: macro", rows="all", metric="auc"))
    assert mean["value"] == pytest.approx(np.mean(each))
    assert mean["low"] < mean["value"] < mean["high"]
    expected = metrics.f1_score(truth, chances.argmax(1), average="weighted")
    f1 = metric(found, "weighted_f1", task="rhythm: macro", rows="all")
    assert f1["value"] == pytest.approx(expected)


def test_groups_with_too_few_cases_get_no_figure(make_data: MakeData) -> None:
    sex = np.array([0.0, 1.0] * 120)
    sex[:6] = np.nan
    scar = np.where(np.arange(240) % 3 == 0, 1.0, 0.0)
    scar[sex == 1] = 0.0  # no woman has a scar
    data = make_data(sex=sex, scar=scar)
    one = model(data)
    found = evaluate([one], data, QUICK)
    women = only(found.tables.where("groups", group="sex", value="female"))
    assert math.isnan(women["auc"])
    assert str(women["note"]).startswith("too few: 0 positive")
    unknown = only(found.tables.where("groups", group="sex", value="not known"))
    # Patients 2 and 3, each in both formats: patients count, not rows.
    assert unknown["n"] == 4
    assert str(unknown["note"]).startswith("too few: 1 positive and 1 negative patients")
    men = only(found.tables.where("groups", group="sex", value="male"))
    chosen, truth = truth_of(data, "scar", split="test", sex=0.0)
    expected = metrics.roc_auc_score(truth, one.predictions.scores["scar"][chosen])
    assert men["auc"] == pytest.approx(expected)
    assert sum(row["n"] for row in found.tables.where("groups", group="age")) == 240
    assert {row["value"] for row in found.tables.where("groups", group="format")} == {
        "ge-mac1200",
        "philips-tc30",
    }
    assert "too few: 0 positive" in page(found).decode()


def test_models_are_compared_where_they_answer_the_same(make_data: MakeData) -> None:
    data = make_data()
    models = [
        model(data, "a", (SCAR, LVEF), seed=1),
        model(data, "b", (SCAR,), seed=2),
        model(data, "c", (SCAR,), seed=3),
        model(data, "d", (LVEF,), seed=4),
    ]
    found = evaluate(models, data, QUICK)
    scar = found.tables.where("comparisons", task="scar", rows="all")
    assert [(row["model_a"], row["model_b"]) for row in scar] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    chosen, truth = truth_of(data, "scar", split="test")
    patients = data.rows["patient"].iloc[rows_needed(data, "test")].to_numpy()[chosen]
    said = [one.predictions.scores["scar"][chosen] for one in models[:2]]
    assert scar[0]["p"] == pytest.approx(compare(truth, *said, patients).p)
    smallest = min(scar, key=lambda row: float(row["p"]))
    assert smallest["p_adjusted"] == pytest.approx(min(1, 3 * float(smallest["p"])))
    assert scar[0]["correction"] == "Holm, 3 tests of this task on these rows"
    (pair,) = found.tables.where("comparisons", task="lvef", rows="all")
    assert (pair["model_a"], pair["model_b"], pair["p"]) == ("a", "d", pair["p_adjusted"])


def test_one_name_has_one_meaning(make_data: MakeData) -> None:
    data = make_data()
    other = Task(name="lvef", column="lvef_percent", below=40)
    with pytest.raises(EvaluationError, match=r"task lvef: .*below': 50.*below': 40"):
        evaluate([model(data, tasks=(LVEF,)), model(data, "b", (other,))], data, QUICK)
    titled = Task(name="lvef", column="lvef_percent", below=50, title="EF", weight=2)
    both = [model(data, tasks=(LVEF,)), model(data, "b", (titled,))]
    assert evaluate(both, data, QUICK).tables.where("comparisons", task="lvef")
    missing = Task(name="block", column="lbbb")
    rows = rows_needed(data, "test")
    with pytest.raises(EvaluationError, match="column lbbb"):
        evaluate([model(data, tasks=(missing,), block=np.zeros(rows.size))], data, QUICK)


def test_another_prevalence_takes_its_threshold_from_validation(make_data: MakeData) -> None:
    data = make_data()
    one = model(data)
    found = evaluate([one], data, Settings(draws=200, prevalences=(0.08,)))
    rows = {str(row["metric"]): row for row in found.tables.where("prevalence", rows="all")}
    assert {(row["size"], row["positive"]) for row in rows.values()} == {(500, 40)}
    whole = metric(found, "auc", rows="all")["value"]
    assert rows["auc"]["value"] == pytest.approx(whole, abs=0.02)
    seen, labels = truth_of(data, "scar", split="validation")
    test, truth = truth_of(data, "scar", split="test")
    scores = one.predictions.scores["scar"]
    threshold = rates.best_f1_threshold(labels, scores[seen], 0.08)
    hit = (scores[test][truth == 1] >= threshold).mean()
    false = (scores[test][truth == 0] >= threshold).mean()
    assert rows["npv"]["value"] == pytest.approx(
        0.92 * (1 - false) / (0.92 * (1 - false) + 0.08 * (1 - hit)), abs=0.01
    )
    assert "460 cases and 40 controls, which must be the other way round" in " ".join(
        page(found).decode().split()
    )


# --- what is wrong with data ------------------------------------------------------------------


def test_without_validation_nothing_is_calibrated(make_data: MakeData) -> None:
    data = make_data(split=["train", "test", "test"] * 80)
    found = evaluate([model(data)], data, Settings(draws=100, prevalences=(0.1,)))
    assert any("no validation rows" in remark for remark in found.remarks)
    assert "no validation example" in found.temperatures["one", "scar"].note
    assert not found.tables.where("metrics", metric="brier_scaled")
    assert {row["scaled"] for row in found.tables.rows["calibration"]} == {"as given"}
    assert math.isnan(metric(found, "weighted_f1", rows="all")["value"])
    by_place = {
        place: found.tables.where("operating", rows="all", chosen_on=place)
        for place in ("validation", "test, as in the study")
    }
    assert all("no threshold" in str(row["note"]) for row in by_place["validation"])
    assert all(row["sensitivity"] >= 0.8 for row in by_place["test, as in the study"])
    html = page(found).decode()
    assert "no threshold: validation has no positive" in html
    assert "no validation rows" in html


def test_validation_itself_is_judged_without_choosing_on_it(make_data: MakeData) -> None:
    data = make_data()
    found = evaluate([model(data, split="validation")], data, Settings("validation", draws=100))
    assert any("too good" in remark for remark in found.remarks)
    assert found.temperatures["one", "scar"].note
    rows = found.tables.where("operating", rows="all", chosen_on="validation")
    assert all("no threshold" in str(row["note"]) for row in rows)


def test_one_class_in_validation_is_no_ground_for_a_threshold(make_data: MakeData) -> None:
    scar = np.where(np.arange(240) % 5 == 0, 1.0, 0.0)
    scar[1::4] = 0.0  # all of validation
    data = make_data(scar=scar)
    found = evaluate([model(data)], data, QUICK)
    assert "only one class" in found.temperatures["one", "scar"].note
    assert math.isnan(metric(found, "weighted_f1", rows="all")["value"])
    assert page(found)


def test_a_baseline_that_says_always_the_same(make_data: MakeData) -> None:
    data = make_data()
    n = rows_needed(data, "test").size
    models = [model(data, "majority", scar=np.full(n, -0.8)), model(data, "net")]
    found = evaluate(models, data, Settings(draws=100, prevalences=(0.08,)))
    auc = metric(found, "auc", rows="all", model="majority")
    assert (auc["value"], auc["note"]) == (0.5, TIED)
    assert math.isnan(auc["low"])
    _, truth = truth_of(data, "scar", split="test")
    f1 = metrics.f1_score(truth, np.zeros(truth.size), average="weighted")
    assert metric(found, "weighted_f1", rows="all", model="majority")["value"] == pytest.approx(f1)
    row = only(found.tables.where("comparisons", rows="all"))
    assert 0 <= row["p"] <= 1
    assert TIED in page(found).decode()


@pytest.mark.parametrize(
    ("scar", "told"),
    [
        ([math.nan] * 40, "too few: 0 positive and 0 negative"),
        ([1.0] * 40, "too few: 20 positive and 0 negative"),
        ([math.nan] * 2 + [1.0] + [math.nan] * 37, "too few: 1 positive and 0 negative"),
    ],
)
def test_what_cannot_be_measured_is_said(make_data: MakeData, scar: list[float], told: str) -> None:
    data = make_data(40, scar=scar)
    n = rows_needed(data, "test").size
    rows = data.rows.copy()
    data = Dataset(
        data.folder, data.about, rows.assign(format="ge-mac1200").iloc[:40], data.images, None
    )
    one = Model(
        "one", "", Predictions((SCAR,), rows_needed(data, "test"), {"scar": np.arange(n / 2)})
    )
    found = evaluate([one], data, QUICK)
    assert str(metric(found, "auc", rows="all")["note"]).startswith(told)
    html = page(found).decode()
    assert told in html
    assert "interval by nan" not in html
    assert found.selections == ("all",)


def test_a_single_patient_of_each_kind(make_data: MakeData) -> None:
    data = make_data(4, split=["test"] * 4, scar=[1.0, 0.0, math.nan, math.nan])
    found = evaluate([model(data, tasks=(SCAR, LVEF, RHYTHM))], data, QUICK)
    auc = metric(found, "auc", task="scar", rows="all")
    assert auc["n"] == 4
    assert page(found)


def test_splits_that_share_patients_and_rows_that_do_not_fit(make_data: MakeData) -> None:
    patients = [f"p{k // 3}" for k in range(240)]
    data = make_data(patient=patients)
    found = evaluate([model(data)], data, QUICK)
    assert any("rows in training or validation as well" in remark for remark in found.remarks)
    nothing = make_data(split=["train", "excluded"] * 120)
    with pytest.raises(EvaluationError, match=r"split test, found excluded 240, train 240"):
        rows_needed(nothing, "test")
    none = make_data(split=[None] * 240)
    with pytest.raises(EvaluationError, match="no split at all"):
        rows_needed(none, "test")


@pytest.mark.parametrize(
    "settings",
    [{"prevalences": (0.0,)}, {"prevalences": (8.0,)}, {"draws": 5}, {"seed": -1}],
)
def test_impossible_settings_are_refused(settings: Mapping[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"--(prevalence|draws|seed)"):
        Settings(**settings)


# --- the same again ---------------------------------------------------------------------------


def test_the_same_gives_the_same_bytes_and_models_do_not_disturb_each_other(
    make_data: MakeData,
) -> None:
    data = make_data(120)
    one, other = model(data, "one"), model(data, "other", seed=9)
    first, again = (evaluate([one, other], data, QUICK) for _ in range(2))
    assert page(first) == page(again)
    assert all(first.tables.csv(name) == again.tables.csv(name) for name in COLUMNS)
    alone = evaluate([one], data, QUICK)
    same = [str(e.tables.where("metrics", model="one")) for e in (alone, first)]
    assert same[0] == same[1]
    seeded = evaluate([one], data, Settings(draws=100, seed=5))
    delongs = [e.tables.where("metrics", metric="auc", rows="all") for e in (alone, seeded)]
    assert delongs[0][0] == delongs[1][0]
    assert delongs[0][1]["low"] != delongs[1][1]["low"]


# --- the page and the tables ------------------------------------------------------------------


class Parsed(HTMLParser):
    """Sections with their texts, tables with their captions, all addresses and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.section = ""
        self.tables = self.captions = 0
        self.bare: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag not in (
            "meta",
            "link",
            "img",
            "br",
            "line",
            "rect",
            "polyline",
            "polygon",
            "circle",
        ):
            self.open.append(tag)
        if tag == "section":
            self.section = told["id"] or ""
            self.sections[self.section] = ""
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "th" and "scope" not in told:
            self.bare.append(str(attrs))
        self.addresses += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href")]
        self.ids += [v or "" for k, v in attrs if k == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "rect", "polyline", "polygon", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.section:
            self.sections[self.section] += data


def full(data: Dataset) -> Evaluation:
    tasks = (SCAR, LVEF, RHYTHM)
    models = [model(data, "one", tasks), model(data, HOSTILE, tasks, seed=2)]
    return evaluate(
        models,
        data,
        Settings(draws=100, prevalences=(0.08,), cuts=(("lvef", 40),), readers=STUDY),
        [HOSTILE],
    )


def test_simulated_data_are_called_so_in_every_section_and_row(make_data: MakeData) -> None:
    for simulated in (True, False):
        found = full(make_data(120, simulated=simulated))
        parsed = Parsed(page(found).decode())
        assert len(parsed.sections) == 12
        said = ["Simulated data" in text for text in parsed.sections.values()]
        assert said == [simulated] * len(said)
        for name in COLUMNS:
            rows = list(csv.DictReader(io.StringIO(found.tables.csv(name).decode())))
            assert rows, name
            assert {row["simulated"] for row in rows} == {"simulated" if simulated else "no"}


def test_the_page_stands_alone_and_can_be_read_aloud(make_data: MakeData) -> None:
    html = page(full(make_data(120))).decode()
    parsed = Parsed(html)
    assert parsed.tables == parsed.captions > 10
    assert not parsed.bare
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert all(address.startswith("#") for address in parsed.addresses)
    assert {address[1:] for address in parsed.addresses} <= set(parsed.ids)
    assert not re.search(r"https?://|url\(|@import|<script", html)
    assert "default-src 'none'" in html
    assert "no medical device" in html
    assert html.count("&lt;script&gt;") > 5
    assert "49" not in re.findall(r"\{\{ 7 \* 7 \}\}|>49<", html)
    assert html.count('role="img"') == html.count("<desc") > 10


def test_figures_of_the_page_are_those_of_the_tables(make_data: MakeData) -> None:
    data = make_data(120)
    found = evaluate([model(data)], data, QUICK)
    html = page(found).decode()
    row = metric(found, "auc", rows="all")
    low, high = float(row["low"]), float(row["high"])
    assert f"{row['value']:.3f} " in html
    assert f"({low:.3f}–{high:.3f})" in html  # noqa: RUF001
    read = list(csv.DictReader(io.StringIO(found.tables.csv("metrics").decode())))
    assert float(read[0]["value"]) == pytest.approx(float(row["value"]), abs=1e-6)
    assert float(read[0]["low"]) == pytest.approx(low, abs=1e-6)


def test_readers_stand_where_they_should(make_data: MakeData) -> None:
    data = make_data(120)
    reader = Reader("scar", "Dr. A", 0.6, 0.8, "ge-mac1200", 20, 30)
    other = Reader("lvef", "Dr. B", 0.5, 0.5)
    found = evaluate([model(data)], data, Settings(draws=100, readers=(reader, other)))
    row = only(found.tables.rows["readers"])
    wilson = rates.wilson(12, 20)
    assert (row["sensitivity_low"], row["sensitivity_high"]) == (wilson.low, wilson.high)
    html = page(found).decode()
    charts = re.findall(r'<svg class="plot".*?</svg>', html, re.DOTALL)
    # A diamond around (1 - 0.8, 0.6) in a square of 1000: x 200, y 400; on one format alone.
    marked = [chart for chart in charts if "200.0,384.4 215.6,400.0" in chart]
    assert len(marked) == 1
    assert "Dr. A" in html
    assert "Dr. B" not in "".join(charts)
    assert any("Dr. B" in remark for remark in found.remarks)
    elsewhere = Settings(draws=100, readers=(Reader("scar", "Dr. C", 0.6, 0.8, "ge-muse"),))
    gone = evaluate([model(data)], data, elsewhere)
    assert not gone.tables.rows["readers"]
    assert any("Dr. C" in remark for remark in gone.remarks)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("task,reader,sensitivity\nscar,A,0.5\n", "the columns task, reader"),
        ("task,reader,sensitivity,specificity\nscar,A,44.1,92.6\n", r"column sensitivity, row 1"),
        ("task,reader,sensitivity,specificity\nscar,,0.4,0.9\n", "column reader, row 1"),
        (
            "task,reader,sensitivity,specificity\nscar,A,0.4,0.9\nscar,B,0.4,\n",
            "specificity, row 2",
        ),
        ("task,reader,sensitivity,specificity,positives\nscar,A,0.4,0.9,-3\n", "positives, row 1"),
        ("task,reader,sensitivity,specificity\n", "no row"),
        ("\0", "column"),
    ],
)
def test_readers_that_are_none_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "readers.csv"
    path.write_text(text)
    with pytest.raises(ReadersError, match=told):
        read_readers(path)


def test_readers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "readers.csv"
    path.write_text(
        "reader,task,sensitivity,specificity,format,positives,negatives,note\n"
        "A,scar,0.441,0.926,ge-mac1200,100,200,blind\nB,scar,1,0,,,,\n"
    )
    assert read_readers(path) == (
        Reader("scar", "A", 0.441, 0.926, "ge-mac1200", 100, 200, "blind"),
        Reader("scar", "B", 1.0, 0.0),
    )
    with pytest.raises(ReadersError, match="no such file"):
        read_readers(tmp_path / "none.csv")


def test_the_report_replaces_reports_only(make_data: MakeData, tmp_path: Path) -> None:
    data = make_data(60)
    found = evaluate([model(data)], data, QUICK)
    target = tmp_path / "report"
    assert write_report(found, target) == target / "index.html"
    assert {path.name for path in target.iterdir()} == {
        "index.html",
        *(f"{name}.csv" for name in COLUMNS),
    }
    write_report(found, target)
    (target / "index.html").write_text("mine")
    with pytest.raises(PageError, match="output-exists"):
        write_report(found, target)
    assert (target / "index.html").read_text() == "mine"
    write_report(found, target, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        write_report(found, tmp_path / "file")


# --- runs and the command ---------------------------------------------------------------------


def write_run(
    folder: Path, data: Dataset, one: Model, *, told: Mapping[str, Any] | None = None
) -> Path:
    """A run as training leaves it, its model a few bytes."""
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    write_predictions(folder / "predictions.parquet", one.predictions)
    names = ("weights.safetensors", "predictions.parquet")
    about = {
        "status": "done",
        "data": {"sha256": data.digest, "simulated": data.about.simulated},
        "sha256": {name: file_sha256(folder / name) for name in names},
        **(told or {}),
    }
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "recipe.toml").write_text('title = "A recipe"\n')
    return folder


def test_stored_predictions_are_used_only_where_every_hash_fits(
    make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(40)
    one = model(data)
    rows = rows_needed(data, "test")
    run = write_run(tmp_path / "run", data, one)
    found = stored(run, data, rows)
    assert found is not None
    assert (found.scores["scar"] == one.predictions.scores["scar"]).all()
    some = rows[3:9]
    part = stored(run, data, some)
    assert part is not None
    assert (part.scores["scar"] == one.predictions.scores["scar"][3:9]).all()
    assert stored(run, data, np.arange(len(data))) is None  # training rows are not there
    assert stored(run, make_data(41), rows) is None
    (run / "weights.safetensors").write_bytes(b"others")
    assert stored(run, data, rows) is None
    half = write_run(tmp_path / "half", data, one, told={"status": "running"})
    assert stored(half, data, rows) is None
    bare = write_run(tmp_path / "bare", data, one, told={"sha256": {"weights.safetensors": "0"}})
    assert stored(bare, data, rows) is None
    changed = write_run(tmp_path / "changed", data, one)
    write_predictions(changed / "predictions.parquet", model(data, seed=5).predictions)
    assert stored(changed, data, rows) is None
    assert stored(tmp_path / "none", data, rows) is None


def test_runs_become_models_with_what_must_be_known_of_them(
    make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(40)
    one = model(data)
    rows = rows_needed(data, "test")
    other = {"data": {"sha256": "f" * 64, "simulated": True}, "status": "running"}
    runs = [
        write_run(tmp_path / "same", data, one),
        write_run(tmp_path / "other", data, one, told=other),
        tmp_path / "broken",
    ]

    def predict(run: Path, dataset: Dataset, wanted: NDArray[np.int64]) -> Predictions:
        if run.name == "broken":
            raise EcgVisionError("broken: no weights")
        return one.predictions

    found = collect(runs, data, rows, predict)
    assert [(m.name, m.title) for m in found.models] == [
        ("same", "A recipe"),
        ("other", "A recipe"),
    ]
    assert found.models[0].remarks == ()
    told = " ".join(found.models[1].remarks)
    assert "trained on other data (ffffffffffff)" in told
    assert "simulated" in told
    assert "training is done" in told
    assert str(found.failed["broken"]) == "broken: no weights"
    with pytest.raises(EcgVisionError, match="no weights"):
        collect([tmp_path / "broken"], data, rows, predict)
    with pytest.raises(UsageError, match="twice"):
        collect([runs[0], runs[0]], data, rows, predict)
    with pytest.raises(EvaluationError, match="expected predictions of"):
        collect([runs[0]], data, rows[1:], predict)


def test_runs_of_one_name_are_told_apart(make_data: MakeData, tmp_path: Path) -> None:
    data = make_data(40)
    one = model(data)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    runs = [write_run(tmp_path / part / "run", data, one) for part in ("a", "b")]
    found = collect(runs, data, rows_needed(data, "test"), lambda *_: one.predictions)
    assert [m.name for m in found.models] == ["a/run", "b/run"]


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that cannot be asked, and torch that is not loaded for it."""
    fake = types.ModuleType("ecgvision.training.predicting")

    def predict_run(run: Path, *_: object) -> Predictions:
        raise EcgVisionError(f"{run.name}: expected a run, found none")

    fake.predict_run = predict_run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, fake.__name__, fake)


@pytest.mark.usefixtures("no_models")
def test_the_command_evaluates_finished_runs_without_torch(
    make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(120, simulated=True)
    runs = [
        write_run(tmp_path / name, data, model(data, name, (SCAR, LVEF), seed=seed))
        for seed, name in enumerate(("multi", "single"), 1)
    ]
    target = tmp_path / "report"
    done = run_command(
        *runs, "--data", data.folder, "-o", target, "--draws", 100, "--cut", "lvef=40",
        "--readers", "study", "--prevalence", "0.08",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "Simulated data"
    assert lines[-1] == str(target / "index.html")
    assert sum(": AUC 0." in line for line in lines) == 6
    digest = hashlib.sha256((target / "index.html").read_bytes()).hexdigest()
    again = run_command(
        *runs, "--data", data.folder, "-o", target, "--draws", 100, "--cut", "lvef=40",
        "--readers", "study", "--prevalence", "0.08",
    )  # fmt: skip
    assert again.exit_code == 0
    assert hashlib.sha256((target / "index.html").read_bytes()).hexdigest() == digest


@pytest.mark.usefixtures("no_models")
def test_a_run_that_cannot_be_used_does_not_hold_up_the_others(
    make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(60)
    good = write_run(tmp_path / "good", data, model(data))
    (tmp_path / "empty").mkdir()
    target = tmp_path / "report"
    done = run_command(
        good, tmp_path / "empty", "--data", data.folder, "-o", target, "--draws", 100
    )
    assert done.exit_code == 1
    assert "empty could not be evaluated" in done.output
    assert "empty could not be evaluated" in (target / "index.html").read_text()
    alone = run_command(tmp_path / "empty", "--data", data.folder, "-o", tmp_path / "no")
    assert alone.exit_code == 1
    assert "expected a run, found none" in alone.output
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ("--cut", "lvef"),
        ("--cut", "lvef=nan"),
        ("--prevalence", "8"),
        ("--draws", "3"),
        ("--split", "excluded"),
        ("--cut", "scar=1"),
    ],
)
def test_wrong_commands_end_with_2_and_write_nothing(
    make_data: MakeData, tmp_path: Path, wrong: tuple[str, str]
) -> None:
    data = make_data(40)
    run = write_run(tmp_path / "run", data, model(data))
    target = tmp_path / "report"
    done = run_command(run, "--data", data.folder, "-o", target, *wrong)
    assert done.exit_code == 2, done.output
    assert not target.exists()


def test_the_method_of_the_paper_is_the_method_of_the_table(make_data: MakeData) -> None:
    """On one format, where no patient repeats, the interval is plain DeLong's."""
    data = make_data()
    one = model(data)
    found = evaluate([one], data, QUICK)
    chosen, truth = truth_of(data, "scar", split="test", format="ge-mac1200")
    expected = delong(truth, one.predictions.scores["scar"][chosen])
    row = metric(found, "auc", rows="ge-mac1200")
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))

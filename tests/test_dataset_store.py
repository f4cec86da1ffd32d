"""Data sets on disk: what is written comes back, and what is torn or changed is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from ecgvision.dataset.about import ColumnInfo, DatasetError, DatasetInfo, ImageInfo, SignalInfo
from ecgvision.dataset.predictions import Predictions, read_predictions, write_predictions
from ecgvision.dataset.store import (
    Dataset,
    one_after_the_other,
    open_dataset,
    replace_rows,
    write_dataset,
)
from ecgvision.errors import UsageError
from ecgvision.tasks import Task

ABOUT = DatasetInfo(
    name="small",
    simulated=True,
    image=ImageInfo(height_px=4, width_px=6, px_per_mm=8.0, style="canonical"),
    signal=SignalInfo(fs_hz=100.0, samples=5),
    columns={
        "age_years": ColumnInfo(role="clinical"),
        "sex": ColumnInfo(role="clinical"),
        "lvef_percent": ColumnInfo(role="label", title="LVEF, %"),
        "rhythm": ColumnInfo(role="label"),
    },
    sources=({"path": "out", "rows": 3},),
    seed=7,
)


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "record": ["001", "002", "002"],
            "patient": ["007", "008", "008"],
            "source": ["a.pdf", "b.pdf", "b.pdf"],
            "page": [1, 1, 2],
            "format": ["ge-mac1200", "philips-tc30", "ge-mac1200"],
            "year": [2009, None, 2017],
            "split": ["train", "test", None],
            "age_years": [61.5, None, 70.0],
            "sex": [0, 1, None],
            "lvef_percent": [35.0, np.nan, 60.0],
            "rhythm": ["sinus", None, "af"],
        }
    )


def pixels(count: int = 3) -> NDArray[np.uint8]:
    return np.arange(count * 24, dtype=np.uint8).reshape(count, 4, 6)


def signals(count: int = 3) -> NDArray[np.float32]:
    values = np.linspace(-1, 1, count * 60, dtype=np.float32).reshape(count, 12, 5)
    values[0, 3] = np.nan
    return values


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "data", ABOUT, rows(), pixels(), signals())


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what is written comes back -----------------------------------------------------------------


def test_what_is_written_comes_back(small: Dataset) -> None:
    found = open_dataset(small.folder, check=True)
    assert found.images is not None
    assert found.signals is not None
    np.testing.assert_array_equal(found.images, pixels())
    np.testing.assert_array_equal(found.signals, signals())
    assert found.about.model_copy(update={"sha256": {}}) == ABOUT
    assert set(found.about.sha256) == {"rows.parquet", "images.npy", "signals.npy"}
    table = found.rows
    assert list(table.columns[:10]) == [
        *(
            "record",
            "patient",
            "source",
            "page",
            "drawing",
            "format",
            "year",
            "split",
            "fold",
            "group",
        )
    ]
    assert table["patient"].tolist() == ["007", "008", "008"]
    assert table["rhythm"].tolist() == ["sinus", None, "af"]
    assert table["split"].tolist() == ["train", "test", None]
    assert table["year"].dtype == "Int64"
    assert table["year"][0] == 2009
    assert table["year"].isna().tolist() == [False, True, False]
    assert table["sex"].dtype == np.float64
    np.testing.assert_array_equal(table["lvef_percent"], [35, np.nan, 60])


def test_arrays_are_mapped_and_read_only(small: Dataset) -> None:
    assert isinstance(small.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        small.images[0, 0, 0] = 1


def test_examples_may_come_one_after_the_other(tmp_path: Path) -> None:
    def drawn() -> Iterator[NDArray[np.uint8]]:
        yield from one_after_the_other(pixels(), [2, 0, 1])

    about = ABOUT.model_copy(update={"signal": None})
    found = write_dataset(tmp_path / "data", about, rows(), drawn())
    assert found.images is not None
    np.testing.assert_array_equal(found.images, pixels()[[2, 0, 1]])
    assert found.signals is None
    assert not (found.folder / "signals.npy").exists()


def test_signals_alone_will_do(tmp_path: Path) -> None:
    about = ABOUT.model_copy(update={"image": None})
    found = write_dataset(tmp_path / "data", about, rows(), signals=signals())
    assert found.images is None
    assert found.signals is not None
    assert found.signals.shape == (3, 12, 5)


def test_the_same_data_set_has_the_same_bytes(tmp_path: Path, small: Dataset) -> None:
    again = write_dataset(tmp_path / "again", ABOUT, rows(), pixels(), signals())
    for name in names_in(small.folder):
        assert (again.folder / name).read_bytes() == (small.folder / name).read_bytes()
    assert again.digest == small.digest


def test_the_digest_changes_with_what_a_model_sees(tmp_path: Path, small: Dataset) -> None:
    other = pixels()
    other[2, 3, 5] ^= 1
    changed = write_dataset(tmp_path / "pixels", ABOUT, rows(), other, signals())
    renamed = ABOUT.model_copy(update={"name": "other"})
    assert changed.digest != small.digest
    assert write_dataset(tmp_path / "name", renamed, rows(), pixels(), signals()).digest == (
        small.digest
    )
    moved = rows().assign(split=["train", "test", "test"])
    assert replace_rows(small, moved, ABOUT).digest != small.digest


def test_it_travels_without_its_pixels(small: Dataset) -> None:
    packed = pickle.dumps(small)
    assert pixels().tobytes() not in packed
    found = pickle.loads(packed)
    np.testing.assert_array_equal(found.images, pixels())
    pd.testing.assert_frame_equal(found.rows, small.rows)


def test_rows_are_chosen_by_split_and_format(small: Dataset) -> None:
    assert small.chosen().tolist() == [0, 1, 2]
    assert small.chosen("train").tolist() == [0]
    assert small.chosen(formats=["ge-mac1200"]).tolist() == [0, 2]
    assert small.chosen("test", ["ge-mac1200"]).tolist() == []
    assert small.chosen("validation").dtype == np.int64
    with pytest.raises(UsageError, match="no split is called 'dev'"):
        small.chosen("dev")
    with pytest.raises(UsageError, match="no rows of format 'ge'; it has ge-mac1200, philips"):
        small.chosen(formats=["ge"])


def test_rows_can_be_replaced_and_arrays_stay(small: Dataset) -> None:
    before = (small.folder / "images.npy").stat()
    changed = small.rows.assign(split=["test"] * 3)
    found = replace_rows(small, changed, small.about)
    assert open_dataset(small.folder, check=True).rows["split"].tolist() == ["test"] * 3
    assert found.rows["patient"].tolist() == ["007", "008", "008"]
    assert (small.folder / "images.npy").stat() == before
    with pytest.raises(UsageError, match="expected 3 rows"):
        replace_rows(small, changed[:2], small.about)


# --- whole or not at all ------------------------------------------------------------------------


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def breaks() -> Iterator[NDArray[np.uint8]]:
        yield pixels()[0]
        raise ZeroDivisionError

    about = ABOUT.model_copy(update={"signal": None})
    with pytest.raises(ZeroDivisionError):
        write_dataset(tmp_path / "data", about, rows(), breaks())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (pixels(2), "expected 3 examples, found 2"),
        (pixels(4), "expected 3 examples, found more"),
        (pixels().transpose(0, 2, 1), "example 0: expected 4 x 6 uint8, found 6 x 4 uint8"),
        (pixels().astype(np.float32), "expected 4 x 6 uint8, found 4 x 6 float32"),
    ],
)
def test_other_arrays_than_described_are_refused(
    tmp_path: Path, images: NDArray[Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        write_dataset(tmp_path / "data", ABOUT, rows(), images, signals())
    assert names_in(tmp_path) == []


def test_an_older_data_set_is_replaced_only_when_asked(tmp_path: Path, small: Dataset) -> None:
    about = ABOUT.model_copy(update={"name": "new"})
    with pytest.raises(DatasetError, match=r"found one with dataset\.json; use --force"):
        write_dataset(small.folder, about, rows(), pixels(), signals())
    found = write_dataset(small.folder, about, rows(), pixels(), signals(), replace=True)
    assert open_dataset(found.folder).about.name == "new"
    assert names_in(tmp_path) == ["data"]


def test_a_failed_replacement_leaves_the_older_one(tmp_path: Path, small: Dataset) -> None:
    with pytest.raises(UsageError):
        write_dataset(small.folder, ABOUT, rows(), pixels(2), signals(), replace=True)
    assert open_dataset(small.folder, check=True).digest == small.digest
    assert names_in(tmp_path) == ["data"]


def test_another_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="not written by this command"):
        write_dataset(tmp_path / "home", ABOUT, rows(), pixels(), signals(), replace=True)
    assert names_in(tmp_path / "home") == ["thesis.txt"]


# --- torn, foreign, changed ---------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0\0")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, lengthened, emptied, Path.unlink])
@pytest.mark.parametrize("name", ["images.npy", "signals.npy", "rows.parquet", "dataset.json"])
def test_a_torn_part_is_named(small: Dataset, name: str, harm: Callable[[Path], None]) -> None:
    harm(small.folder / name)
    with pytest.raises(DatasetError) as caught:
        open_dataset(small.folder)
    said = str(caught.value)
    assert name in said
    assert caught.value.code in ("dataset-torn", "dataset-changed", "dataset-missing")
    assert "expected" in said
    assert "found" in said


def test_a_changed_pixel_is_found_when_asked_for(small: Dataset) -> None:
    path = small.folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    open_dataset(small.folder)
    with pytest.raises(DatasetError, match=r"images\.npy: expected the hash .*dataset-changed"):
        open_dataset(small.folder, check=True)


def test_changed_rows_are_always_found(tmp_path: Path, small: Dataset) -> None:
    other = rows().assign(split=["test", "test", "test"])
    another = write_dataset(tmp_path / "other", ABOUT, other, pixels(), signals())
    (small.folder / "rows.parquet").write_bytes((another.folder / "rows.parquet").read_bytes())
    with pytest.raises(DatasetError, match=r"rows\.parquet.*dataset-changed"):
        open_dataset(small.folder)


def test_an_array_of_another_shape_is_refused(small: Dataset) -> None:
    np.save(small.folder / "images.npy", pixels().reshape(3, 6, 4))
    with pytest.raises(
        DatasetError, match=r"expected an array of 3 x 4 x 6 uint8.*found 3 x 6 x 4"
    ):
        open_dataset(small.folder)


def test_pickles_are_not_opened(small: Dataset) -> None:
    np.save(small.folder / "images.npy", np.array([{"a": 1}] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="dataset-torn"):
        open_dataset(small.folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version"),
        ({"kind": "something"}, "kind"),
        ({"surprise": 1}, "surprise"),
        ({"image": None, "signal": None}, "neither"),
        ({"image": {"height_px": 0, "width_px": 6}}, "height_px"),
    ],
)
def test_another_description_is_refused(
    small: Dataset, change: dict[str, object], told: str
) -> None:
    path = small.folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DatasetError, match=told):
        open_dataset(small.folder)


def test_a_folder_that_is_no_data_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found none; name the folder"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")


def test_rows_that_are_no_parquet_are_told_even_with_their_hash(small: Dataset) -> None:
    (small.folder / "rows.parquet").write_bytes(b"PAR1 not")
    path = small.folder / "dataset.json"
    told = json.loads(path.read_text())
    told["sha256"]["rows.parquet"] = hashlib.sha256(b"PAR1 not").hexdigest()
    path.write_text(json.dumps(told))
    with pytest.raises(DatasetError, match="expected a Parquet file of rows"):
        open_dataset(small.folder)


# --- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("patient", [7, 8, 8], "text in column patient, row 1, found 7; .* zeros in front"),
        ("patient", ["7", None, "8"], "a value in column patient, row 2, found none"),
        ("record", ["a", "", "b"], "a value in column record, row 2"),
        ("split", ["train", "dev", None], "column split, row 2, found dev"),
        ("year", [2009.5, None, 2010], "a whole number or nothing in column year, row 1"),
        ("sex", ["male", None, None], "a finite number or nothing in column sex, row 1"),
        ("age_years", [1.0, float("inf"), None], "column age_years, row 2, found inf"),
        ("rhythm", ["sinus", 3, None], "text in column rhythm, row 2, found 3"),
    ],
)
def test_impossible_values_are_refused_by_column_and_row(
    tmp_path: Path, column: str, values: list[object], told: str
) -> None:
    wrong = rows().assign(**{column: pd.Series(values, dtype=object)})
    with pytest.raises(DatasetError, match=told):
        write_dataset(tmp_path / "data", ABOUT, wrong, pixels(), signals())
    assert names_in(tmp_path) == []


def test_columns_and_roles_must_agree(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with pytest.raises(DatasetError, match="no rhythm"):
        write_dataset(target, ABOUT, rows().drop(columns="rhythm"), pixels(), signals())
    with pytest.raises(DatasetError, match=r"a role for every column .* found surprise"):
        write_dataset(target, ABOUT, rows().assign(surprise=1), pixels(), signals())
    doubled = pd.concat([rows(), rows()[["sex"]]], axis=1)
    with pytest.raises(DatasetError, match="two of sex"):
        write_dataset(target, ABOUT, doubled, pixels(), signals())
    fixed = ABOUT.model_copy(
        update={"columns": {**ABOUT.columns, "year": ColumnInfo(role="label")}}
    )
    with pytest.raises(DatasetError, match="for none of these, found year"):
        write_dataset(target, fixed, rows(), pixels(), signals())


def test_no_row_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least one row, found none"):
        write_dataset(tmp_path / "data", ABOUT, rows()[:0], pixels()[:0], signals()[:0])


# --- predictions --------------------------------------------------------------------------------

TASKS = (Task(name="scar"), Task(name="row", classes=("sinus", "af", "paced")))


def predictions() -> Predictions:
    scores = {
        "scar": np.array([0.0, 1000.0, -1000.0]),
        "row": np.array([[0.0, 0, 0], [1000, 0, 0], [0, np.log(2), 0]]),
    }
    return Predictions(TASKS, np.array([4, 2, 9]), scores)


def test_predictions_come_back(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.parquet", predictions())
    found = read_predictions(tmp_path / "predictions.parquet")
    assert found.tasks == TASKS
    assert found.rows.tolist() == [4, 2, 9]
    for name, scores in predictions().scores.items():
        np.testing.assert_array_equal(found.scores[name], scores)


def test_probabilities_do_not_overflow() -> None:
    found = predictions()
    assert found.probabilities("scar").tolist() == [0.5, 1.0, 0.0]
    expected = [[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0.25, 0.5, 0.25]]
    np.testing.assert_allclose(found.probabilities("row"), expected, rtol=1e-12)
    with pytest.raises(UsageError, match="no task 'lvef'"):
        found.task("lvef")


@pytest.mark.parametrize(
    ("rows", "scores", "told"),
    [
        ([0, 1], {"scar": np.zeros(3)}, r"expected \(2,\) float64, found \(3,\)"),
        ([0, 1], {"scar": np.zeros((2, 2))}, "found"),
        ([0, 1], {"lvef": np.zeros(2)}, "do not fit the tasks"),
        ([0, 1], {"scar": np.array([0, np.nan])}, "row 1 is not finite"),
        ([0.0, 1.0], {"scar": np.zeros(2)}, "int64"),
    ],
)
def test_scores_that_do_not_fit_are_refused(
    rows: list[Any], scores: dict[str, NDArray[np.float64]], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        Predictions((Task(name="scar"),), np.array(rows), scores)


def test_files_that_are_no_predictions_are_told(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(b"torn")
    with pytest.raises(DatasetError, match="predictions-unreadable"):
        read_predictions(path)
    pq.write_table(pa.table({"row": [1]}), path)
    with pytest.raises(DatasetError, match="predictions-unreadable"):
        read_predictions(path)

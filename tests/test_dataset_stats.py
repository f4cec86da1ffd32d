"""The study's Table 1: every number against one counted by hand."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ecgvision.cli import main
from ecgvision.dataset.about import ColumnInfo, DatasetError, DatasetInfo, ImageInfo
from ecgvision.dataset.stats import Statistics, as_csv, as_html, as_markdown, read_tasks, statistics
from ecgvision.dataset.store import Dataset, write_dataset
from ecgvision.tasks import LabelError, Task

ABOUT = DatasetInfo(
    name="a|b <c>",
    simulated=True,
    image=ImageInfo(height_px=2, width_px=2),
    columns={
        "age_years": ColumnInfo(role="clinical"),
        "sex": ColumnInfo(role="clinical"),
        "lvef_percent": ColumnInfo(role="label", title="LVEF, %"),
        "rhythm": ColumnInfo(role="label"),
        "empty": ColumnInfo(role="label"),
    },
)
ROWS = pd.DataFrame(
    {
        "record": ["1", "2", "3", "4", "4", "5", "6", "7"],
        "patient": ["a", "a", "b", "c", "c", "d", "a", "e"],
        "source": list("stuvwxyz"),
        "format": ["ge", "ge", "ge", "tc", "tc", "tc", "tc", "tc"],
        "year": [2009, 2010, 2010, 2018, 2018, None, 2019, 2019],
        "split": ["train", "train", "train", "train", "test", "test", "excluded", None],
        "age_years": [60.0, 70, 80, None, 50, 52, 1, 2],
        "sex": [1.0, 0, None, 1, 1, 1, 0, 0],
        "lvef_percent": [35.0, 49.9, 50, None, None, None, 10, 10],
        "rhythm": ["sinus", "sinus", "af", None, "af", "sinus", "af", "af"],
        "empty": [np.nan] * 8,
    }
)
TASKS = (
    Task(name="lvef", title="LVEF < 50 %", column="lvef_percent", below=50),
    Task(name="rhythm", classes=("sinus", "af")),
)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "data", ABOUT, ROWS, np.zeros((8, 2, 2), np.uint8))


@pytest.fixture
def table(data: Dataset) -> Statistics:
    return statistics(data, TASKS)


def texts(table: Statistics, title: str) -> list[str]:
    (line,) = [line for line in table.lines if line.title == title]
    return [line.cells[name].text for name in table.columns]


def test_columns_are_the_splits_and_what_is_in_none(table: Statistics) -> None:
    assert table.columns == ("train", "test", "all", "excluded", "no split")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("ECGs", ["4", "2", "6", "1", "1"]),
        ("Records", ["4", "2", "5", "1", "1"]),
        ("Patients", ["3", "2", "4", "1", "1"]),
        ("Format: ge", ["3 (75.0 %)", "0 (0.0 %)", "3 (50.0 %)", "0 (0.0 %)", "0 (0.0 %)"]),
        ("Year", ["2009-2018", "2018", "2009-2018", "2019", "2019"]),
        ("Year: not known", ["0 (0.0 %)", "1 (50.0 %)", "1 (16.7 %)", "0 (0.0 %)", "0 (0.0 %)"]),
        # 60, 70, 80: mean 70, sd 10; 50, 52: 51, 1.414; together 62.4, sqrt(635.2 / 4) = 12.60.
        ("Age, years", ["70.0 ± 10.0", "51.0 ± 1.4", "62.4 ± 12.6", "1.0", "2.0"]),
        (
            "Age, years: not known",
            ["1 (25.0 %)", "0 (0.0 %)", "1 (16.7 %)", "0 (0.0 %)", "0 (0.0 %)"],
        ),
        ("Female", ["2 (66.7 %)", "2 (100.0 %)", "4 (80.0 %)", "0 (0.0 %)", "0 (0.0 %)"]),
        ("LVEF, %", ["45.0 ± 8.6", "-", "45.0 ± 8.6", "10.0", "10.0"]),
        ("rhythm: af", ["1 (33.3 %)", "1 (50.0 %)", "2 (40.0 %)", "1 (100.0 %)", "1 (100.0 %)"]),
        ("rhythm: not known", ["1 (25.0 %)", "0 (0.0 %)", "1 (16.7 %)", "0 (0.0 %)", "0 (0.0 %)"]),
        ("empty", ["-"] * 5),
        (
            "Task LVEF < 50 %: positive",
            ["2 (66.7 %)", "-", "2 (66.7 %)", "1 (100.0 %)", "1 (100.0 %)"],
        ),
        (
            "Task rhythm: sinus",
            ["2 (66.7 %)", "1 (50.0 %)", "3 (60.0 %)", "0 (0.0 %)", "0 (0.0 %)"],
        ),
    ],
)
def test_every_cell_is_what_counting_gives(
    table: Statistics, title: str, expected: list[str]
) -> None:
    assert texts(table, title) == expected


def test_without_a_split_all_rows_are_told(tmp_path: Path) -> None:
    rows = ROWS.assign(split=None)
    data = write_dataset(tmp_path / "data", ABOUT, rows, np.zeros((8, 2, 2), np.uint8))
    table = statistics(data)
    assert table.columns == ("all",)
    assert texts(table, "ECGs") == ["8"]


def test_a_task_that_does_not_fit_is_refused(data: Dataset) -> None:
    with pytest.raises(LabelError, match="column rhythm, row 1"):
        statistics(data, [Task(name="rhythm")])
    with pytest.raises(DatasetError, match="a column scar for task scar"):
        statistics(data, [Task(name="scar")])


# --- written ------------------------------------------------------------------------------------


def test_csv_has_the_numbers_in_full(table: Statistics) -> None:
    rows = {
        (row["variable"], row["level"], row["split"]): row
        for row in csv.DictReader(io.StringIO(as_csv(table)))
    }
    age = rows["Age, years", "", "all"]
    assert age["simulated"] == "1"
    assert (age["n"], age["known"], age["missing"], age["percent"]) == ("5", "5", "1", "")
    ages = np.array([60, 70, 80, 50, 52])
    assert float(age["mean"]) == pytest.approx(ages.mean())
    assert float(age["sd"]) == pytest.approx(ages.std(ddof=1), abs=1e-6)
    share = rows["Task LVEF < 50 %", "positive", "train"]
    assert (share["n"], share["known"], share["missing"]) == ("2", "3", "1")
    assert float(share["percent"]) == pytest.approx(200 / 3, abs=1e-6)
    assert rows["ECGs", "", "train"]["percent"] == ""


def test_markdown_is_one_table_whose_rows_are_as_wide(table: Statistics) -> None:
    lines = [line for line in as_markdown(table).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}
    assert "| Age, years | 70.0 ± 10.0 | 51.0 ± 1.4 | 62.4 ± 12.6 | 1.0 | 2.0 |" in lines


def test_html_says_the_same_and_stands_alone(table: Statistics) -> None:
    class Cells(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.rows: list[list[str]] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag == "tr":
                self.rows.append([])
            elif tag in ("td", "th"):
                self.rows[-1].append("")

        def handle_data(self, data: str) -> None:
            if self.rows and self.rows[-1] and data.strip():
                self.rows[-1][-1] += data

    page = as_html(table)
    cells = Cells()
    cells.feed(page.split("</table>")[0])
    body = {row[0]: row[1:] for row in cells.rows[1:]}
    assert cells.rows[0][1:] == list(table.columns)
    assert body == {line.title: texts(table, line.title) for line in table.lines}
    assert "<c>" not in page
    assert "http" not in page
    assert "src=" not in page


@pytest.mark.parametrize("write", [as_markdown, as_html, as_csv])
def test_simulated_data_are_called_so(data: Dataset, write: object) -> None:
    table = statistics(data)
    assert callable(write)
    assert "imulated" in write(table)
    honest = Statistics("real", False, table.columns, table.lines)
    if write is not as_csv:
        assert "imulated" not in write(honest)


def run(arguments: list[str], code: int = 0) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_prints_or_writes_several(tmp_path: Path, data: Dataset) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('id = "x"\n[[tasks]]\nname = "lvef"\ncolumn = "lvef_percent"\nbelow = 50\n')
    folder = str(data.folder)
    assert "| Patients | 3 | 2 | 4 | 1 | 1 |" in run(["dataset", "stats", folder])
    files = [tmp_path / f"table.{ending}" for ending in ("md", "csv", "html")]
    out = [part for path in files for part in ("-o", str(path))]
    tasks = ["--tasks", str(recipe)]
    assert run(["dataset", "stats", folder, *out, *tasks]) == ""
    for path in files:
        assert "Task lvef" in path.read_text(encoding="utf-8")
    assert "output-exists" in run(["dataset", "stats", folder, *out], 1)
    assert "must end in" in run(["dataset", "stats", folder, "-o", str(tmp_path / "x.xls")], 2)
    said = run(["dataset", "stats", folder, *out, "--force", "--format", "csv"])
    assert said == files[1].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"\[\[tasks\]\]"),
        ('[[tasks]]\nname = "A"', "name"),
        ('[[tasks]]\nname = "a"\ncut = 2', "cut"),
        ("[[", "tasks in TOML"),
    ],
)
def test_files_without_tasks_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=told):
        read_tasks(path)

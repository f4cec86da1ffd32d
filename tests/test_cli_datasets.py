"""The command `dataset split`, and what all commands for data sets have in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ecgvision.cli import main
from ecgvision.cli.common import extra
from ecgvision.dataset.about import ColumnInfo, DatasetInfo, ImageInfo
from ecgvision.dataset.store import open_dataset, write_dataset
from ecgvision.errors import UsageError


def run(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["dataset", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = pd.DataFrame(
        {
            "record": [f"r{k}" for k in range(8)],
            "patient": list("aabbcdef"),
            "source": [f"{k}.pdf" for k in range(8)],
            "format": ["ge-mac1200"] * 8,
            "year": [2010, 2016, 2011, 2015, 2016, 2015, 2013, 1999],
            "fold": [1, 1, 2, 3, 3, 2, None, 1],
            "mi": [0.0, 1, 0, 1, 0, 1, 0, 1],
        }
    )
    about = DatasetInfo(
        name="small",
        image=ImageInfo(height_px=2, width_px=2),
        columns={"mi": ColumnInfo(role="label")},
    )
    write_dataset(tmp_path / "data", about, rows, np.zeros((8, 2, 2), np.uint8))
    return tmp_path / "data"


def splits(data: Path) -> list[str | None]:
    return list(open_dataset(data).rows["split"])


def test_by_study_tells_who_is_in_no_split_and_why(data: Path) -> None:
    said = run("split", data, "--by", "study")
    assert said.splitlines()[0] == "train 3, validation 1, test 1"
    assert "in no split: 2 patient-elsewhere, 1 no-rule" in said
    assert splits(data) == [
        *("train", "excluded", "train", "excluded", "test", "validation", "train", None)
    ]


def test_links_join_patients_and_a_new_split_replaces_the_old(data: Path, tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("one,other\nc,x\nx,a\n")
    run("split", data, "--by", "study")
    said = run("split", data, "--by", "study", "--links", tmp_path / "links.csv")
    assert "train 3, validation 1, test 0" in said
    assert "warning: nothing is in test" in said
    assert splits(data)[4] == "excluded"


def test_rules_can_be_shown_changed_and_given(data: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(run("split", "--show-rules"))
    run("split", data, "--by", "study")
    before = splits(data)
    run("split", data, "--by", "study", "--rules", rules)
    assert splits(data) == before
    rules.write_text('[[rules]]\nsplit = "train"\nyears = [1990, 2020]\n')
    run("split", data, "--by", "study", "--rules", rules)
    assert splits(data) == ["train"] * 8


def test_by_fold_and_by_patient(data: Path) -> None:
    said = run("split", data, "--by", "fold", "--train", "1-1", "--validation", "2", "--test", "3")
    assert said.splitlines()[0] == "train 3, validation 2, test 1"
    said = run("split", data, "--by", "patient", "--fractions", "0.5,0.25,0.25")
    assert said.splitlines()[0] == "train 4, validation 2, test 2"
    about = open_dataset(data).about.split_by
    assert about is not None
    assert about["fractions"] == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--by", "study", "--fractions", "0.8,0.1,0.1"], "--fractions: for --by patient"),
        (["--by", "fold", "--stratify", "mi"], "--stratify: for --by patient"),
        (["--by", "patient", "--train", "1-8"], "--train: for --by fold"),
        (["--by", "patient", "--rules", "x.toml"], "--rules: for --by study"),
        (["--by", "fold", "--train", "1", "--test", "3"], "--by fold needs --validation"),
        (["--by", "patient", "--fractions", "most,few,few"], "expected numbers like 0.8,0.1,0.1"),
        (["--by", "patient", "--stratify", "lvef"], "cannot stratify by 'lvef'"),
        (["--by", "year"], "'year' is not one of"),
    ],
)
def test_wrong_commands_end_with_2_and_change_nothing(
    data: Path, options: list[str], told: str
) -> None:
    before = open_dataset(data).digest
    assert told in run("split", data, *options, code=2)
    assert open_dataset(data).digest == before


def test_a_torn_data_set_ends_with_1(data: Path) -> None:
    (data / "images.npy").write_bytes((data / "images.npy").read_bytes()[:-1])
    assert "dataset-torn" in run("stats", data, code=1)
    assert "dataset-missing" in run("stats", data / "nowhere", code=1)


def test_an_extra_that_is_missing_is_named_in_one_line() -> None:
    told = r"needs nowhere, .* pip install 'ecgvision\[data\]'"
    with pytest.raises(UsageError, match=told), extra("data"):
        import nowhere.at_all  # noqa: F401
    with pytest.raises(ModuleNotFoundError), extra("data"):
        import ecgvision.nowhere  # noqa: F401


def test_without_pandas_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pandas'] = None; from ecgvision.cli import main; "
    code += f"main(['dataset', 'stats', {str(tmp_path)!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: this needs pandas, which is not installed: pip install")
    assert len(done.stderr.splitlines()) == 1

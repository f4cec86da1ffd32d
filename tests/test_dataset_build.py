"""Data sets from conversions and tables: what is joined, what is refused, what is left out."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from ecgvision.cli import main
from ecgvision.dataset.about import DatasetError
from ecgvision.dataset.images import network_image
from ecgvision.dataset.labels import read_labels
from ecgvision.dataset.schema import Keys, Schema, read_schema, schema_of
from ecgvision.dataset.store import open_dataset
from ecgvision.dataset.table import read_table

Run = Callable[..., str]
KEYS = ("--source", "file", "--patient", "pid")


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four files: two pages, one in a sub-folder, one that is refused, one that fails."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "in" / "2019").mkdir(parents=True)
    run(["sample", "--format", "philips", "-o", str(folder / "in/2019/a.pdf")])
    run(["sample", "--format", "ge", "-o", str(folder / "in/b.pdf")])
    (folder / "in" / "broken.pdf").write_bytes(b"%PDF-1.4 torn")
    cv2.imwrite(str(folder / "in" / "white.png"), np.full((2550, 3300), 255, np.uint8))
    out = ["-o", str(folder / "out"), "--signals", "npz", "--fs", "100", "--workers", "0"]
    run(["convert", str(folder / "in"), *out], code=1)
    return folder / "out"


def run(arguments: list[str], code: int = 0) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == code, done.output
    return done.output


def left_out(data: Path) -> list[tuple[str, str, str]]:
    with (data / "left-out.csv").open(newline="", encoding="utf-8") as file:
        return [(row["source"], row["row"], row["reason"]) for row in csv.DictReader(file)]


@pytest.fixture
def built(tmp_path: Path, converted: Path) -> Callable[..., str]:
    """Builds `data` from the conversion and the text of a table; gives what was said."""

    def build(text: str, *options: str, code: int = 0) -> str:
        (tmp_path / "labels.csv").write_bytes(text.encode())
        data = ["-o", str(tmp_path / "data"), "--labels", str(tmp_path / "labels.csv")]
        return run(["dataset", "build", str(converted), *data, *options], code)

    return build


# --- joined -------------------------------------------------------------------------------------

LABELS = (
    "file,pid,when,scar,lvef_percent,age_years,sex\n"
    "2019/a.pdf,007,2019-03-31,1,35.5,70,0\n"
    "b.pdf,08,2016,,,,1\n"
    "broken.pdf,9,2016,0,60,50,1\n"
    "nowhere.pdf,10,2016,0,60,50,1\n"
)
COLUMNS = (
    "--label",
    "scar",
    "--label",
    "lvef_percent",
    "--clinical",
    "age_years",
    "--year",
    "when",
)


def test_pages_get_the_labels_that_are_about_them(
    tmp_path: Path, converted: Path, built: Run
) -> None:
    said = built(LABELS, *KEYS, *COLUMNS, "--signals", "--seconds", "4", "--image-px", "64", "48")
    assert "2 examples" in said
    assert "1 no-page" in said
    data = open_dataset(tmp_path / "data", check=True)
    rows = data.rows
    assert rows["source"].tolist() == ["2019/a.pdf", "b.pdf"]
    assert rows["record"].tolist() == ["2019/a", "b"]
    assert rows["patient"].tolist() == ["007", "08"]
    assert rows["format"].tolist() == ["philips-tc30", "ge-mac1200"]
    assert rows["year"].tolist() == [2019, 2016]
    np.testing.assert_array_equal(rows["scar"], [1, np.nan])
    np.testing.assert_array_equal(rows["lvef_percent"], [35.5, np.nan])
    assert data.about.named("label") == ("scar", "lvef_percent")
    assert data.about.named("clinical") == ("age_years",)
    # The examples are those of the pages: the same picture and the first 4 s of the same signals.
    native = cv2.imread(str(converted / "2019" / "a.png"), cv2.IMREAD_GRAYSCALE)
    assert data.images is not None
    np.testing.assert_array_equal(data.images[0], network_image(native, 64, 48))
    assert data.signals is not None
    assert data.signals.shape == (2, 12, 400)
    with np.load(converted / "b.npz") as file:
        np.testing.assert_array_equal(data.signals[1], file["signal_mv"][:, :400])
    assert data.about.signal is not None
    assert data.about.signal.fs_hz == 100
    assert data.about.image is not None
    assert (data.about.image.style, data.about.image.px_per_mm) == ("canonical", None)


def test_all_that_is_left_out_is_listed_with_its_reason(tmp_path: Path, built: Run) -> None:
    built(LABELS, *KEYS, *COLUMNS)
    found = {source: (row, reason) for source, row, reason in left_out(tmp_path / "data")}
    assert set(found) == {"broken.pdf", "white.png", "nowhere.pdf"}
    assert found["nowhere.pdf"] == ("5", "no-page")
    assert found["broken.pdf"][0] == "4"
    assert "pdf" in found["broken.pdf"][1]
    assert found["white.png"] == ("", "format-not-found")


def test_short_signals_end_in_nothing(tmp_path: Path, built: Run) -> None:
    built(LABELS, *KEYS, "--label", "scar", "--signals", "--seconds", "30", "--no-images")
    data = open_dataset(tmp_path / "data", check=True)
    assert data.images is None
    assert data.signals is not None
    assert data.signals.shape == (2, 12, 3000)
    assert np.isfinite(data.signals[:, 1, 50:200]).all()
    assert np.isnan(data.signals[:, :, 1500:]).all()


def test_a_stem_will_do_where_it_is_of_one_file(tmp_path: Path, built: Run) -> None:
    built("file,pid,scar\na,1,0\nb,2,1\n", *KEYS, "--label", "scar")
    assert open_dataset(tmp_path / "data").rows["scar"].tolist() == [0, 1]


def test_a_path_of_another_folder_is_never_taken_for_ours(tmp_path: Path, built: Run) -> None:
    text = "file,pid,scar\n2020/a.pdf,1,0\nelsewhere/b.pdf,2,1\n2019/a.pdf,3,1\n"
    built(text, *KEYS, "--label", "scar")
    assert open_dataset(tmp_path / "data").rows["patient"].tolist() == ["3"]


def test_records_join_and_name_the_rows(tmp_path: Path, built: Run) -> None:
    built(
        "ecg,pid,scar\n2019/a,1,0\nb,2,1\n",
        *("--record", "ecg", "--patient", "pid", "--label", "scar"),
    )
    assert open_dataset(tmp_path / "data").rows["record"].tolist() == ["2019/a", "b"]


def images(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((40, 50), 255, np.uint8))
    return folder / "images"


def build_images(tmp_path: Path, text: str, *options: str, code: int = 0) -> str:
    (tmp_path / "labels.csv").write_text(text)
    data = ["-o", str(tmp_path / "data"), "--labels", str(tmp_path / "labels.csv")]
    return run(["dataset", "build", str(tmp_path / "images"), *data, *options], code)


def test_one_row_may_be_about_several_drawings_only_when_said(tmp_path: Path) -> None:
    images(tmp_path, "ge/001.png", "philips/001.png")
    options = ("--record", "ecg", "--patient", "pid", "--label", "mi", "--format", "format")
    text = "ecg,pid,mi,format\n001,7,1,\n"
    said = build_images(tmp_path, text, *options, code=1)
    assert "row 2: '001' fits 2 files, ge/001.png, philips/001.png" in said
    build_images(tmp_path, text, *options, "--several")
    rows = open_dataset(tmp_path / "data").rows
    assert rows["record"].tolist() == ["001", "001"]
    assert rows["source"].tolist() == ["ge/001.png", "philips/001.png"]


def test_a_page_is_the_first_unless_the_table_names_another(
    tmp_path: Path, converted: Path
) -> None:
    shutil.copytree(converted, tmp_path / "images")
    path = tmp_path / "images" / "manifest.parquet"
    rows = pq.read_table(path).to_pylist()
    (page,) = (row for row in rows if row["source"] == "b.pdf")
    second = page | {"page": 2, "outputs": ["2019/a.json", "2019/a.png"]}
    pq.write_table(pa.Table.from_pylist([second, page]), path)
    build_images(tmp_path, "file,pid,mi\nb.pdf,7,1\n", *KEYS, "--label", "mi")
    assert open_dataset(tmp_path / "data").rows["page"].tolist() == [1]
    assert left_out(tmp_path / "data") == [("b.pdf", "", "other-page")]
    text = "file,pid,mi,page\nb.pdf,7,1,2\nb.pdf,7,0,1\n"
    build_images(tmp_path, text, *KEYS, "--label", "mi", "--page", "page", "--force")
    rows = open_dataset(tmp_path / "data").rows
    assert rows[["page", "mi", "record"]].to_numpy().tolist() == [[1, 0.0, "b"], [2, 1.0, "b-p2"]]


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    folder = images(tmp_path, "a.png", "b.png", "c.png")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:40])
    (folder / "c.png").write_bytes(b"")
    text = "file,pid,mi\na.png,1,1\nb.png,2,0\nc.png,3,0\n"
    build_images(tmp_path, text, *KEYS, "--label", "mi")
    data = open_dataset(tmp_path / "data", check=True)
    assert data.rows["patient"].tolist() == ["1"]
    assert [(source, row) for source, row, _ in left_out(data.folder)] == [
        ("b.png", "3"),
        ("c.png", "4"),
    ]


def test_transparent_and_turned_images_are_seen_as_people_see_them(tmp_path: Path) -> None:
    folder = images(tmp_path, "grey.png")
    Image.new("RGBA", (50, 40), (0, 0, 0, 0)).save(folder / "clear.png")
    picture = np.full((40, 80), 255, np.uint8)
    picture[:8] = 0  # after a quarter turn to the right this stands on the right
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(picture).save(folder / "turned.jpg", exif=exif, quality=100)
    text = "file,pid,mi\nclear.png,1,1\nturned.jpg,2,0\n"
    build_images(tmp_path, text, *KEYS, "--label", "mi", "--image-px", "32", "32")
    data = open_dataset(tmp_path / "data").images
    assert data is not None
    assert (data[0] == 255).all()
    assert (data[1][:, -4:] < 20).all()
    assert (data[1][:, :20] > 235).all()


def test_signals_that_were_withheld_cost_their_page(tmp_path: Path, converted: Path) -> None:
    shutil.copytree(converted, tmp_path / "images")
    (tmp_path / "images" / "b.npz").unlink()
    np.savez(tmp_path / "images" / "2019" / "a.npz", signal_mv=np.zeros((8, 5)))
    text = "file,pid,mi\n2019/a.pdf,1,1\nb.pdf,2,0\n"
    said = build_images(tmp_path, text, *KEYS, "--label", "mi", "--signals", code=1)
    assert "found none (" in said
    assert "1 signals-missing" in said
    assert "1 example-unusable" in said
    assert not (tmp_path / "data").exists()
    build_images(tmp_path, text, *KEYS, "--label", "mi")
    assert len(open_dataset(tmp_path / "data")) == 2


def test_signals_of_two_rates_are_refused(tmp_path: Path, converted: Path) -> None:
    shutil.copytree(converted, tmp_path / "images")
    path = tmp_path / "images" / "b.npz"
    with np.load(path) as file:
        np.savez(path, **{**file, "fs_hz": np.float64(500)})
    text = "file,pid,mi\n2019/a.pdf,1,1\nb.pdf,2,0\n"
    said = build_images(tmp_path, text, *KEYS, "--label", "mi", "--signals", code=2)
    assert "b.pdf has 500 Hz and 2019/a.pdf 100 Hz" in said


def test_images_of_two_styles_are_refused(tmp_path: Path, converted: Path) -> None:
    shutil.copytree(converted, tmp_path / "images")
    path = tmp_path / "images" / "b.json"
    told = json.loads(path.read_text())
    told["image"]["style"] = "published"
    path.write_text(json.dumps(told))
    text = "file,pid,mi\n2019/a.pdf,1,1\nb.pdf,2,0\n"
    said = build_images(tmp_path, text, *KEYS, "--label", "mi", code=2)
    assert "b.pdf is published and 2019/a.pdf canonical" in said


def test_a_run_that_has_not_ended_is_refused(tmp_path: Path, converted: Path) -> None:
    shutil.copytree(converted, tmp_path / "images")
    (tmp_path / "images" / "manifest.journal").write_bytes(b"{}")
    said = build_images(tmp_path, "file,pid,mi\nb.pdf,1,1\n", *KEYS, "--label", "mi", code=1)
    assert "run-unfinished" in said


def test_nothing_left_says_what_both_sides_are_called(built: Run) -> None:
    said = built("file,pid,mi\nx/1.pdf,1,1\nx/2.pdf,2,1\n", *KEYS, "--label", "mi", code=1)
    assert "dataset-empty" in said
    assert "pages are called '2019/a.pdf', 'b.pdf', rows are about 'x/1.pdf', 'x/2.pdf'" in said


def test_folders_without_pages_are_told(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    said = build_images(tmp_path, "file,pid,mi\nb,1,1\n", *KEYS, "--label", "mi", code=1)
    assert "pages-missing" in said
    (tmp_path / "images").rmdir()
    said = build_images(tmp_path, "file,pid,mi\nb,1,1\n", *KEYS, "--label", "mi", code=2)
    assert "is not a folder" in said


def test_an_older_data_set_stays_without_force(tmp_path: Path, built: Run) -> None:
    built(LABELS, *KEYS, *COLUMNS)
    digest = open_dataset(tmp_path / "data").digest
    assert "use --force" in built(LABELS, *KEYS, "--label", "scar", code=1)
    assert open_dataset(tmp_path / "data", check=True).digest == digest
    built(LABELS, *KEYS, "--label", "scar", "--force", "--simulated")
    assert open_dataset(tmp_path / "data").about.simulated
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "labels.csv"]


# --- tables -------------------------------------------------------------------------------------


def written(folder: Path, content: bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(content)
    return path


def test_a_csv_is_read_as_text(tmp_path: Path) -> None:
    content = '\ufeffid , note\r\n007,"a, ""b""\r\nc"\r\n\r\n1e5, x \r\n'.encode()
    table = read_table(written(tmp_path, content))
    assert table.columns == {"id": ["007", "1e5"], "note": ['a, "b"\r\nc', "x"]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"a,b\n", "at least one row, found none"),
        (b"a,b\n\n,\n", "at least one row, found none"),
        (b"a;b\n1;2\n", "one with semicolons; save it with commas"),
        (b"a\tb\n1\t2\n", "one with tabs; save it with commas"),
        (b"a,b,a\n1,2,3\n", "two named a"),
        (b"a,,c\n1,2,3\n", "found none for column 2"),
        (b"a,b\n1,\xe9\n", "text in UTF-8, found other bytes in line 2"),
        (b"a,b\n1,2,3\n4\n5,6\n", "row 2: 3 values for 2 columns; row 3: 1 values for 2 columns"),
        (b'a,b\n1,"2\n', "in line 2; mend its quotation marks"),
        (b"a,b\n1,x\x00y\n", None),
        (b"PAR1 torn", "a Parquet file"),
        (b"%PDF-1.4\n\xff\xd8", "text in UTF-8"),
    ],
)
def test_ugly_tables_are_refused(tmp_path: Path, content: bytes, told: str | None) -> None:
    path = written(tmp_path, content)
    if told is None:
        assert read_table(path).columns["b"] == ["x\0y"]
        return
    with pytest.raises(DatasetError) as caught:
        read_table(path)
    assert told in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_table(tmp_path / "none.csv")


# --- values -------------------------------------------------------------------------------------

SCHEMA = """
missing = ["", "?"]

[columns]
source = "file"
patient = "pid"
year = "when"

[clinical.age_years]
column = "age"
replace = { "300" = 90 }

[clinical.sex]
replace = { m = 0, f = 1, x = "?" }

[labels.scar]
values = "binary"
missing = ["-9"]

[labels.lvef_percent]
column = "ef"
title = "LVEF, %"

[labels.rhythm]
values = "text"
classes = ["sinus", "af"]
"""


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    path = tmp_path / "schema.toml"
    path.write_text(SCHEMA)
    return read_schema(path)


HEADER = b"file,pid,when,age,sex,scar,ef,rhythm\n"


def test_values_mean_what_the_schema_says(tmp_path: Path, schema: Schema) -> None:
    content = HEADER + b"a,007,2016-02-29,300,f,1,35,sinus\nb,0,2016,?,x,-9,,?\n"
    first, second = read_labels(written(tmp_path, content), schema)
    assert first.keys == {"source": "a", "patient": "007", "year": 2016}
    assert first.values == {
        "age_years": 90.0,
        "sex": 1.0,
        "scar": 1.0,
        "lvef_percent": 35.0,
        "rhythm": "sinus",
    }
    assert second.patient == "0"
    assert second.values == dict.fromkeys(first.values)


def test_decimals_that_say_nothing_change_no_meaning(tmp_path: Path, schema: Schema) -> None:
    content = HEADER + b"a,1,2016.0,300.0,f,1.0,35.0,af\nb,1,,90.50,m,-9.0,,\n"
    first, second = read_labels(written(tmp_path, content), schema)
    assert (first.values["age_years"], first.values["scar"]) == (90.0, 1.0)
    assert first.keys["year"] == 2016
    assert (second.values["age_years"], second.values["scar"]) == (90.5, None)


def test_the_labels_of_ptbxl_are_read(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(PTBXL)
    entries = read_labels(data / "ptbxl" / "labels.csv", read_schema(path))
    assert len(entries) == 3396
    assert entries[0].keys == {"record": "1", "patient": "15709", "fold": 3}
    assert entries[0].values["age_years"] == 56
    assert max(float(entry.values["age_years"] or 0) for entry in entries) == 90
    assert sum(entry.keys["fold"] == 10 for entry in entries) == 1101


PTBXL = """
[columns]
record = "ecg_id"
patient = "patient_id"
fold = "strat_fold"

[clinical.age_years]
column = "age"
replace = { "300" = 90 }

[clinical.sex]

[labels.mi]
values = "binary"
"""


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (b"a,1,2016,400,f,1,35,af", "column age: expected at least 0 and at most 120, found '400'"),
        (b"a,1,2016,-1,f,1,35,af", "column age: expected at least 0"),
        (b"a,1,2016,1_0,f,1,35,af", "column age: expected a number, found '1_0'"),
        (b"a,1,2016,inf,f,1,35,af", "column age: expected at least 0 and at most 120, found 'inf'"),
        (b'a,1,2016,"70,5",f,1,35,af', "column age: expected a number, found '70,5'"),
        (b"a,1,2016,70,F,1,35,af", "column sex: expected 0 or 1, found 'F'"),
        (b"a,1,2016,70,f,1.5,35,af", "column scar: expected 0 or 1, found '1.5'"),
        (b"a,1,2016,70,f,2,35,af", "column scar: expected 0 or 1, found '2'"),
        (b"a,1,2016,70,f,1,101,af", "column ef: expected at least 0 and at most 100, found '101'"),
        (b"a,1,2016,70,f,1,35,AF", "column rhythm: expected one of sinus, af, found 'AF'"),
        (b"a,1,16,70,f,1,35,af", "column when: expected a year from 1900 to 2100"),
        (b"a,1,31.12.2016,70,f,1,35,af", "column when: expected a whole number"),
        (b"a,,2016,70,f,1,35,af", "column pid: expected a value, found ''"),
        (b"a,?,2016,70,f,1,35,af", "column pid: expected a value, found '?'"),
        (b",1,2016,70,f,1,35,af", "column file: expected a value, found ''"),
    ],
)
def test_impossible_values_are_told_by_row_and_column(
    tmp_path: Path, schema: Schema, row: bytes, told: str
) -> None:
    path = written(tmp_path, HEADER + b"z,1,2016,70,f,1,35,af\n" + row + b"\n")
    with pytest.raises(DatasetError) as caught:
        read_labels(path, schema)
    assert "found 1 problem: row 3, " + told in str(caught.value)


def test_the_first_twenty_problems_are_told_and_how_many_there_are(
    tmp_path: Path, schema: Schema
) -> None:
    rows = b"".join(b"f%d,1,2016,999,f,7,35,af\n" % k for k in range(30))
    with pytest.raises(DatasetError) as caught:
        read_labels(written(tmp_path, HEADER + rows), schema)
    said = str(caught.value)
    assert "60 problems: row 2, column age" in said
    assert said.count("column") == 20
    assert "and 40 more" in said


def test_two_rows_about_one_thing_are_refused(tmp_path: Path) -> None:
    keys = Keys(source="file", record="ecg", patient="pid")
    schema = schema_of(keys, ["mi"], [])
    path = written(tmp_path, b"file,ecg,pid,mi\na,1,7,1\nb,1,7,1\na,1,7,0\nc,1,8,0\n")
    with pytest.raises(DatasetError) as caught:
        read_labels(path, schema)
    said = str(caught.value)
    assert "rows 2 and 4: both are about 'a'" in said
    assert "rows 2 and 5: one record, '1', of two patients, '7' and '8'" in said


def test_two_names_of_one_file_are_refused(built: Run) -> None:
    said = built("file,pid,mi\nb,1,1\nb.pdf,2,0\n", *KEYS, "--label", "mi", code=1)
    assert "rows 2 and 3: both are about 'b.pdf'" in said


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    schema = schema_of(Keys(source="file", patient="pid"), ["mi", "flag"], [])
    columns = {"file": ["a", "b"], "pid": [7, 8], "mi": [1.0, None], "flag": [True, None]}
    pq.write_table(pa.table(columns), path)
    first, second = read_labels(path, schema)
    assert (first.patient, second.patient) == ("7", "8")
    assert first.values == {"mi": 1.0, "flag": 1.0}
    assert second.values == {"mi": None, "flag": None}
    pq.write_table(pa.table({**columns, "pid": [7.5, 8.0]}), path)
    with pytest.raises(DatasetError, match="row 1, column pid: expected text or a whole number"):
        read_labels(path, schema)


def test_columns_that_are_not_there_are_named(built: Run) -> None:
    said = built("file,pid,mi\nb,1,1\n", *KEYS, "--label", "scar", "--clinical", "age", code=1)
    assert "expected columns age, scar, found only file, pid, mi" in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[columns]\nsource = 'f'", "name the table's column `patient`"),
        ("[columns]\npatient = 'p'", "name the table's column `source` or `record`"),
        ("[columns]\nsource = 'f'\npatient = 'p'\n[labels.year]", "year: the name is taken twice"),
        (
            "[columns]\nsource = 'f'\npatient = 'p'\n[labels.a]\n[clinical.a]",
            "a: the name is taken twice",
        ),
        ("[columns]\nsource = 'f'\npatient = 'p'\n[labels.a]\nvalue = 'text'", "labels.a.value"),
        (
            "[columns]\nsource = 'f'\npatient = 'p'\n[clinical.a]\nvalues = 'text'",
            "clinical columns are numbers",
        ),
        ("[columns]\nsource = 'f'\npatient = 'p'\n[labels.A]", "labels.A"),
        ("[columns", "a schema in TOML"),
    ],
)
def test_wrong_schemas_are_refused_by_their_field(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_schema(path)
    assert told in str(caught.value)


def test_options_and_schema_exclude_each_other(tmp_path: Path, built: Run) -> None:
    (tmp_path / "schema.toml").write_text(SCHEMA)
    said = built(LABELS, "--schema", str(tmp_path / "schema.toml"), "--label", "scar", code=2)
    assert "not both" in said


def test_age_300_is_refused_until_it_is_explained(built: Run, tmp_path: Path) -> None:
    text = "file,pid,age\nb.pdf,1,300\n"
    said = built(text, *KEYS, "--clinical", "age", code=1)
    assert "row 2, column age: expected at least 0 and at most 120, found '300'" in said
    path = tmp_path / "schema.toml"
    path.write_text(
        '[columns]\nsource = "file"\npatient = "pid"\n'
        '[clinical.age_years]\ncolumn = "age"\nreplace = { "300" = 90 }\n'
    )
    built(text, "--schema", str(path))
    assert open_dataset(tmp_path / "data").rows["age_years"].tolist() == [90]

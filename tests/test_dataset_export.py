"""Exports: what others read is what the data set has, and the same again and again."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from ecgvision.cli import main
from ecgvision.dataset.about import ColumnInfo, DatasetError, DatasetInfo, ImageInfo, SignalInfo
from ecgvision.dataset.export import export
from ecgvision.dataset.store import Dataset, write_dataset
from ecgvision.errors import UsageError

SPLITS = ["train", "test", "train", "excluded", None, "train"]


def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 10), dtype=np.uint8)


def signals() -> NDArray[np.float32]:
    found = np.random.default_rng(1).normal(size=(6, 12, 7)).astype(np.float32)
    found[:, 4, 3:] = np.nan
    return found


def written(folder: Path, **changed: object) -> Dataset:
    rows = pd.DataFrame(
        {
            "record": [f"r{k}" for k in range(6)],
            "patient": [f"00{k}" for k in range(6)],
            "source": [f"a.b/{k}.pdf" for k in range(6)],
            "year": [2016, None, 2017, 2017, 2017, 2017],
            "split": SPLITS,
            "mi": [1.0, 0, None, 0, 0, 0],
            "rhythm": ["sinus", None, "af", None, None, "sinus"],
        }
    ).assign(**changed)
    about = DatasetInfo(
        name="small",
        image=ImageInfo(height_px=8, width_px=10, px_per_mm=8.0),
        signal=SignalInfo(fs_hz=100, samples=7),
        columns={"mi": ColumnInfo(role="label"), "rhythm": ColumnInfo(role="label")},
    )
    return write_dataset(folder / "data", about, rows, pixels(), signals())


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return written(tmp_path)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def decoded(png: bytes) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]


def test_parquet_has_every_row_of_the_splits_with_its_image(tmp_path: Path, data: Dataset) -> None:
    assert export(data, tmp_path / "out", "parquet", shard_rows=2) == {"train": 3, "test": 1}
    assert names_in(tmp_path / "out") == [
        "export.json",
        "test-00000-of-00001.parquet",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    rows = [
        row
        for shard in (0, 1)
        for row in pq.read_table(
            tmp_path / "out" / f"train-{shard:05d}-of-00002.parquet"
        ).to_pylist()
    ]
    assert [row["patient"] for row in rows] == ["000", "002", "005"]
    assert [row["mi"] for row in rows] == [1.0, None, 0.0]
    assert [row["rhythm"] for row in rows] == ["sinus", "af", "sinus"]
    assert [row["year"] for row in rows] == [2016, 2017, 2017]
    for row, number in zip(rows, (0, 2, 5), strict=True):
        np.testing.assert_array_equal(decoded(row["image"]["bytes"]), pixels()[number])
        np.testing.assert_array_equal(np.float32(row["signal_mv"]), signals()[number])


def test_parquet_says_what_hugging_face_datasets_look_for(tmp_path: Path, data: Dataset) -> None:
    """After the docs of Datasets: an image is a struct of bytes and path, told in the metadata."""
    export(data, tmp_path / "out", "parquet")
    schema = pq.read_schema(tmp_path / "out" / "train-00000-of-00001.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert str(schema.field("image").type) == "struct<bytes: binary, path: string>"
    assert features["mi"] == {"dtype": "float64", "_type": "Value"}
    assert features["patient"] == {"dtype": "string", "_type": "Value"}
    for name in schema.names[2:]:
        told = {"string": "string", "int64": "int64", "double": "float64"}
        assert told[str(schema.field(name).type)] == features[name]["dtype"]


LOAD = """
import json, sys
import numpy as np
from datasets import Image, load_dataset
folder, cache = sys.argv[1:]
files = {"train": folder + "/train-*.parquet", "test": folder + "/test-*.parquet"}
found = load_dataset("parquet", data_files=files, cache_dir=cache)
assert isinstance(found["train"].features["image"], Image), found["train"].features
row = found["train"][1]
whole = load_dataset(folder, cache_dir=cache)
print(json.dumps({
    "rows": {name: len(one) for name, one in found.items()},
    "again": {name: len(one) for name, one in whole.items()},
    "image": np.asarray(row["image"]).tolist(),
    "signal": np.nan_to_num(np.float32(row["signal_mv"]), nan=99).tolist(),
    "patient": row["patient"],
    "mi": row["mi"],
}))
"""


@pytest.mark.slow
def test_hugging_face_datasets_load_it(tmp_path: Path, data: Dataset) -> None:
    if find_spec("datasets") is None:
        pytest.skip("the package datasets is not installed")
    export(data, tmp_path / "out", "parquet", shard_rows=2)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "out"), str(tmp_path / "cache")],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == found["again"] == {"train": 3, "test": 1}
    assert (found["patient"], found["mi"]) == ("002", None)
    np.testing.assert_array_equal(found["image"], pixels()[2])
    np.testing.assert_array_equal(np.float32(found["signal"]), np.nan_to_num(signals()[2], nan=99))


def test_webdataset_shards_are_plain_tars_of_whole_examples(tmp_path: Path, data: Dataset) -> None:
    export(data, tmp_path / "out", "webdataset", shard_rows=2)
    with tarfile.open(tmp_path / "out" / "train-00001-of-00002.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for member in tar.getmembers():
            assert (member.mtime, member.uid, member.uname, member.mode) == (0, 0, "", 0o644)
    assert list(members) == ["00000005.json", "00000005.png", "00000005.npy"]
    row = json.loads(members["00000005.json"])
    assert (row["record"], row["patient"], row["rhythm"], row["mi"]) == ("r5", "005", "sinus", 0)
    np.testing.assert_array_equal(decoded(members["00000005.png"]), pixels()[5])
    found = np.load(io.BytesIO(members["00000005.npy"]), allow_pickle=False)
    np.testing.assert_array_equal(found, signals()[5])


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_the_same_data_set_gives_the_same_bytes(tmp_path: Path, data: Dataset, form: str) -> None:
    for name in ("one", "two"):
        export(data, tmp_path / name, form)
    for name in names_in(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_data_set_that_was_not_split_is_exported_whole(tmp_path: Path) -> None:
    data = written(tmp_path, split=None)
    assert export(data, tmp_path / "out", "parquet") == {"unsplit": 6}
    with pytest.raises(UsageError, match="every row is excluded"):
        export(written(tmp_path / "other", split="excluded"), tmp_path / "none", "parquet")
    assert not (tmp_path / "none").exists()


def test_only_an_older_export_is_replaced(tmp_path: Path, data: Dataset) -> None:
    export(data, tmp_path / "out", "parquet")
    with pytest.raises(DatasetError, match="use --force"):
        export(data, tmp_path / "out", "webdataset")
    export(data, tmp_path / "out", "webdataset", replace=True)
    assert not list((tmp_path / "out").glob("*.parquet"))
    with pytest.raises(DatasetError, match="not written by this command"):
        export(data, data.folder, "parquet", replace=True)


def test_the_command(tmp_path: Path, data: Dataset) -> None:
    arguments = ["dataset", "export", str(data.folder), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, "--as", "webdataset"])
    assert done.exit_code == 0, done.output
    assert "train 3, test 1" in done.output
    assert CliRunner().invoke(main, [*arguments, "--as", "zip"]).exit_code == 2
    assert CliRunner().invoke(main, [*arguments, "--as", "parquet"]).exit_code == 1

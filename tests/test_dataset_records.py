"""Records to be drawn: WFDB, NPZ and packed; what cannot be read is named, and costs itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from ecgvision.dataset.drawing_labels import read_labelled
from ecgvision.dataset.records import RecordError, open_records, packed_bytes
from ecgvision.errors import EcgVisionError
from ecgvision.testing import Ecg, synthetic_ecg
from ecgvision.types import LEADS

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture(scope="module")
def ecg() -> Ecg:
    return synthetic_ecg(seed=1, fs_hz=250, seconds=3)


def write_npz(path: Path, ecg: Ecg, leads: tuple[str, ...] = LEADS) -> None:
    rows = [ecg.lead(lead) for lead in leads]
    np.savez(path, signal_mv=np.stack(rows), leads=np.array(leads), fs_hz=ecg.fs_hz)


def write_wfdb(folder: Path, name: str, ecg: Ecg, unit: str, names: tuple[str, ...]) -> None:
    """The eight leads alone, called `names`."""
    scale = {"mV": 1.0, "uV": 1000.0}[unit]
    signal = np.stack([ecg.lead(lead) for lead in EIGHT], axis=1).astype(float) * scale
    wfdb.wrsamp(
        name,
        fs=ecg.fs_hz,
        units=[unit] * 8,
        sig_name=list(names),
        p_signal=signal,
        fmt=["16"] * 8,
        adc_gain=[1000.0 / scale] * 8,
        baseline=[0] * 8,
        write_dir=str(folder),
    )


def test_npz_files_give_what_was_written(tmp_path: Path, ecg: Ecg) -> None:
    (tmp_path / "ward").mkdir()
    write_npz(tmp_path / "ward" / "b.npz", ecg)
    write_npz(tmp_path / "a.npz", ecg)
    records = open_records(str(tmp_path))
    assert records.names == ("a", "ward/b")
    assert not records.simulated
    got = records.read("ward/b")
    assert got.fs_hz == 250
    assert np.array_equal(got.signal_mv, ecg.signal_mv)


@pytest.mark.parametrize("unit", ["mV", "uV"])
@pytest.mark.parametrize("upper", [False, True])
def test_wfdb_of_eight_leads_gives_twelve(tmp_path: Path, ecg: Ecg, unit: str, upper: bool) -> None:
    names = tuple(lead.upper() if upper else lead.lower() for lead in EIGHT)
    write_wfdb(tmp_path, "r1", ecg, unit, names)
    got = open_records(str(tmp_path)).read("r1")
    assert np.abs(got.signal_mv - ecg.signal_mv).max() < 0.0011


def test_what_is_not_known_stays_unknown(tmp_path: Path, ecg: Ecg) -> None:
    signal_mv = ecg.signal_mv.copy()
    signal_mv[6, 100:] = np.nan
    np.savez(tmp_path / "a.npz", signal_mv=signal_mv, leads=np.array(LEADS), fs_hz=250.0)
    got = open_records(str(tmp_path)).read("a")
    assert np.array_equal(np.isnan(got.signal_mv), np.isnan(signal_mv))


def test_packed_ones_come_in_the_order_of_their_table(tmp_path: Path, ecg: Ecg) -> None:
    eight_uv = np.rint(np.stack([ecg.lead(lead) for lead in EIGHT]) * 1000).astype(np.int16)
    both = np.stack([eight_uv, -eight_uv])
    (tmp_path / "signals.npz").write_bytes(packed_bytes(both, 250.0))
    (tmp_path / "labels.csv").write_text("record\n007\nx\n")
    records = open_records(str(tmp_path))
    assert records.names == ("007", "x")
    assert np.abs(records.read("007").signal_mv - ecg.signal_mv).max() < 1e-5
    assert np.abs(records.read("x").signal_mv + ecg.signal_mv).max() < 1e-5


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("record\na\n", "records-contradict"),
        ("record\na\na\n", "record-unusable"),
        ('record\na\n""\n', "record-unusable"),
        ("", "record-unreadable"),
    ],
)
def test_a_packed_table_that_does_not_fit(tmp_path: Path, table: str, code: str) -> None:
    (tmp_path / "signals.npz").write_bytes(packed_bytes(np.zeros((2, 8, 9), np.int16), 250.0))
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(RecordError) as caught:
        open_records(str(tmp_path))
    assert caught.value.code == code


def test_torn_and_foreign_files_are_named(tmp_path: Path, ecg: Ecg) -> None:
    write_npz(tmp_path / "few.npz", ecg, ("I", "II", "V1"))
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(
        tmp_path / "volts.npz", signal_mv=ecg.signal_mv * 1000, leads=np.array(LEADS), fs_hz=250
    )
    np.savez(tmp_path / "rate.npz", signal_mv=ecg.signal_mv, leads=np.array(LEADS), fs_hz=0)
    np.savez(tmp_path / "empty.npz", signal_mv=ecg.signal_mv[:, :0], leads=LEADS, fs_hz=250)
    records = open_records(str(tmp_path))
    found = {}
    for name in records.names:
        with pytest.raises(RecordError) as caught:
            records.read(name)
        assert f"{name}.npz" in str(caught.value)
        found[name] = caught.value.code
    unreadable = {name for name, code in found.items() if code == "record-unreadable"}
    assert unreadable == {"torn", "other"}
    assert set(found) - unreadable == {"few", "volts", "rate", "empty"}


def test_a_broken_wfdb_header_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.hea").write_text("x 2 broken\n")
    with pytest.raises(RecordError, match=r"x\.hea.*record-unreadable"):
        open_records(str(tmp_path)).read("x")


@pytest.mark.parametrize("given", ["nowhere", "ptbxl:nowhere", "ptbxl:."])
def test_nothing_to_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EcgVisionError, match="records-missing"):
        open_records(given)


def test_the_real_ptbxl_and_its_labels(data: Path) -> None:
    folder = data / "ptbxl"
    if not (folder / "signals.npz").is_file():
        pytest.skip(f"no PTB-XL signals in {folder}")
    records = open_records(f"ptbxl:{folder}")
    table = pd.read_csv(folder / "labels.csv", dtype={"ecg_id": str, "patient_id": str})
    assert records.names == tuple(table["ecg_id"])
    with np.load(folder / "signals.npz") as file:
        last_uv = file["delta_uv"][-1].astype(int).cumsum(axis=1)
    got = records.read(records.names[-1])
    for lead, row_uv in zip(EIGHT, last_uv, strict=True):
        assert np.abs(got.lead(lead) - row_uv / 1000).max() < 1e-5
    entries = read_labelled(records, None, None).entries
    old = table[table["age"] == 300]["ecg_id"].iloc[0]
    assert entries[old].values["age_years"] == 90.0
    for name in ("norm", "mi", "sttc", "cd", "hyp"):
        assert sum(e.values[name] == 1.0 for e in entries.values()) == table[name].sum()
    assert {entries[i].keys["fold"] for i in records.names} == set(range(1, 11))

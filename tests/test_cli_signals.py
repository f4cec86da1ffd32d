"""`convert --signals`: every kind of file read back, told what is withheld, nothing half done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from ecgvision.cli import main
from ecgvision.cli.converting import _KINDS
from ecgvision.metrics import raw_snr_db
from ecgvision.output import output_names
from ecgvision.plugins import load_formats
from ecgvision.recording import Recording
from ecgvision.testing import draw_page, synthetic_ecg
from ecgvision.types import LEADS, Layout
from ecgvision.writers import KINDS, recording_files

PATIENT = ("Name: ZYXWVUT, QUENTIN", "ID: 98761234", "17-Mar-1931 04:05:06")
SECRETS = ("ZYXWVUT", "QUENTIN", "98761234", "1931", "04:05:06")
ECG = synthetic_ecg(seed=3)
FINE_DB = 60.0
FILES = {
    "npz": ["x.npz"],
    "csv": ["x.csv"],
    "wfdb": ["x.dat", "x.hea"],
    "dicom": ["x.dcm"],
}
ALWAYS = ["x.json", "x.png"]


def draw(change: Callable[[Layout], Layout] = lambda layout: layout, **way: object) -> bytes:
    """A GE MUSE page: three rows of four leads, and three rhythm strips."""
    one = load_formats().find("ge-muse")
    return draw_page(change(one.layouts[0]), one.info, ECG, patient_text=PATIENT, **way).pdf


@pytest.fixture(scope="module")
def muse() -> bytes:
    return draw()


@pytest.fixture(scope="module")
def conflict() -> bytes:
    """Its pulse says 5 mm/mV and its format 10, and nothing else says anything."""
    return draw(lambda layout: replace(layout, gain_mm_per_mv=5.0), footer=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, muse: bytes) -> Path:
    """A folder to work in, with the page x.pdf."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pdf").write_bytes(muse)
    return tmp_path


def convert(*arguments: str | Path) -> Result:
    command = ["convert", *map(str, arguments), "--format", "muse", "-o", "out"]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def outputs() -> list[str]:
    """What lies in the output folder, but for what each run leaves there."""
    found = (p.relative_to("out").as_posix() for p in Path("out").rglob("*") if p.is_file())
    return sorted(set(found) - {"manifest.parquet", ".lock"})


def truth_mv(fs_hz: float = 500.0) -> np.ndarray:
    """(12, n): 2.5 s of each lead, the whole 10 s of those that have a strip."""
    layout = load_formats().find("ge-muse").layouts[0]
    times_s = np.arange(round(10 * fs_hz)) / fs_hz
    truth = np.full((12, len(times_s)), np.nan)
    for box in sorted(layout.boxes, key=lambda b: b.stop_s - b.start_s):
        at_s, mv = ECG.window(box.lead, box.start_s, box.stop_s)
        shown = (times_s >= at_s[0] - 1e-9) & (times_s <= at_s[-1] + 1e-9)
        truth[LEADS.index(box.lead), shown] = np.interp(times_s[shown], at_s, mv)
    return truth


def npz(path: str = "out/x.npz") -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def signal_of(kind: str) -> tuple[np.ndarray, float]:
    """The (12, n) mV in a file of that kind, read by another's library, and the sampling rate."""
    if kind == "npz":
        return npz()["signal_mv"], float(npz()["fs_hz"])
    if kind == "csv":
        table = np.genfromtxt("out/x.csv", delimiter=",", names=True)
        columns = [table[f"{lead}_mV"] for lead in LEADS]
        return np.array(columns), 1 / float(table["time_s"][1])
    if kind == "wfdb":
        record = pytest.importorskip("wfdb").rdrecord("out/x")
        return record.p_signal.T[:12], record.fs
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.dcmread("out/x.dcm")
    parts = [dataset.waveform_array(k).T for k in range(len(dataset.WaveformSequence))]
    return parts[0][:12], float(dataset.WaveformSequence[0].SamplingFrequency)


# --- what is written ----------------------------------------------------------------------------


def test_the_kinds_are_those_of_the_writers() -> None:
    assert _KINDS == KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stem", ["page", "a b", "ö.1", "x" * 60])
def test_names_are_known_before_there_is_a_recording(kind: str, stem: str) -> None:
    recording = Recording(np.zeros((12, 50), np.float32), 500.0, np.zeros((0, 50), np.float32))
    names = output_names(Path(f"{stem}.pdf"), 1, Path("out"), kinds=(kind,))
    written = recording_files(recording, kind, names.stem)
    assert {path.name for path in names.signals} == set(written)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_holds_what_was_drawn(folder: Path, kind: str) -> None:
    done = convert("x.pdf", "--signals", kind)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "1 page written, 0 failed\n"
    assert outputs() == sorted([*ALWAYS, *FILES[kind]])
    signal_mv, fs_hz = signal_of(kind)
    assert fs_hz == pytest.approx(500)
    assert signal_mv.shape == (12, 5000)
    known = np.isfinite(truth_mv())
    if kind != "dicom":  # which pads what is not there
        assert (np.isfinite(signal_mv) == known).mean() > 0.999
    # Whole microvolts are the limit of WFDB and DICOM, a tenth of one that of CSV.
    least = FINE_DB if kind in ("npz", "csv") else 50
    assert raw_snr_db(truth_mv(), np.where(known, signal_mv, np.nan)) >= least


def test_several_kinds_at_once_and_one_of_them_twice(folder: Path) -> None:
    kinds = [word for kind in (*KINDS, "npz") for word in ("--signals", kind)]
    assert convert("x.pdf", *kinds).exit_code == 0
    assert outputs() == sorted([*ALWAYS, *(name for kind in KINDS for name in FILES[kind])])
    told = json.loads(Path("out/x.json").read_text())
    assert told["quality"]["verdict"] == "good"
    assert told["signals"]["withheld"] is None
    boxes = told["signals"]["boxes"]
    assert sum(box["rhythm_strip"] for box in boxes) == 3
    assert list(npz()["box_coverage"].round(3)) == [box["coverage"] for box in boxes]


def test_another_sampling_rate(folder: Path) -> None:
    assert convert("x.pdf", "--signals", "npz", "--fs", "250").exit_code == 0
    found = npz()
    assert (found["fs_hz"], found["signal_mv"].shape) == (250, (12, 2500))
    assert raw_snr_db(truth_mv(250), found["signal_mv"]) > FINE_DB
    assert json.loads(Path("out/x.json").read_text())["signals"]["fs_hz"] == 250


def test_nothing_of_the_page_or_its_name_gets_into_signals(folder: Path, muse: bytes) -> None:
    (folder / "Quentin 1931.pdf").write_bytes(muse)
    kinds = [word for kind in KINDS for word in ("--signals", kind)]
    done = convert("Quentin 1931.pdf", *kinds, "--qc")
    assert done.exit_code == 0, done.stderr
    for path in Path("out").iterdir():
        if path.name == "manifest.parquet":  # which has the names of all sources
            continue
        content = path.read_bytes()
        if path.suffix == ".npz":
            content = b"".join(value.tobytes() for value in npz(str(path)).values())
        words = set(SECRETS) - {"1931"}
        if path.suffix in (".hea", ".json"):  # a header names its record, the JSON its source
            content = content.replace(b"Quentin_1931", b"").replace(b"Quentin 1931", b"")
        for word in words:
            assert word.lower().encode() not in content.lower(), path.name
            assert "".join(c + "\0" for c in word).encode() not in content, path.name
    header = next(Path("out").glob("*.hea")).read_text()
    assert "# format: ge-muse\n" in header
    assert "# verdict: good\n" in header
    assert "# gain_mm_per_mv: 10 from pulse\n" in header


def test_names_that_wfdb_does_not_take(folder: Path, muse: bytes) -> None:
    wfdb = pytest.importorskip("wfdb")
    (folder / "a b.pdf").write_bytes(muse)
    assert convert("a b.pdf", "--signals", "wfdb").exit_code == 0
    (header,) = Path("out").glob("*.hea")
    assert header.stem.startswith("a_b-")
    assert wfdb.rdrecord(str(header.with_suffix(""))).sig_len == 5000
    assert convert("a b.pdf", "--signals", "wfdb").stdout == "0 pages written, 0 failed, 1 kept\n"
    again = convert("a b.pdf", "--signals", "wfdb", "--no-resume")
    assert again.exit_code == 1
    assert "[output-exists]" in again.stderr


def test_a_name_that_signals_cannot_have_is_told(folder: Path, muse: bytes) -> None:
    (folder / "a\nb.pdf").write_bytes(muse)
    done = convert("a\nb.pdf", "--signals", "npz")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("[signals-unwritable]\n")
    assert outputs() == []
    assert convert("a\nb.pdf").exit_code == 0


# --- what is not replaced -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npz", "x.hea", "x.dat", "x.qc.png"])
def test_only_force_replaces_any_of_the_files(folder: Path, name: str) -> None:
    (folder / "out").mkdir()
    (folder / "out" / name).write_text("mine")
    options = ["--signals", "npz", "--signals", "wfdb", "--qc"]
    done = convert("x.pdf", *options)
    assert done.exit_code == 1
    assert f"no file {Path('out', name)}" in done.stderr
    assert done.stderr.endswith("[output-exists]\n")
    assert outputs() == [name]
    assert (folder / "out" / name).read_text() == "mine"
    assert convert("x.pdf", *options, "--force").exit_code == 0
    assert outputs() == ["x.dat", "x.hea", "x.json", "x.npz", "x.png", "x.qc.png"]
    assert (folder / "out" / name).read_bytes() != b"mine"


def test_two_inputs_never_write_one_file(folder: Path, muse: bytes) -> None:
    """The picture to check x.pdf by has the name of the picture of x.qc.pdf."""
    (folder / "x.qc.pdf").write_bytes(muse)
    done = convert("x.pdf", "x.qc.pdf", "--qc", "--force")
    assert done.stdout == "1 page written, 1 failed\n"
    assert done.stderr.startswith("x.qc.pdf: expected outputs named 'x.qc' for this input alone")
    assert outputs() == ["x.json", "x.png", "x.qc.png"]
    assert convert("x.pdf", "x.qc.pdf", "--force").exit_code == 0


def test_an_input_is_never_replaced(folder: Path, muse: bytes) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "x.dcm").write_bytes(muse)  # a file named by itself may have any ending
    done = convert("x.pdf", "out/x.dcm", "--signals", "dicom", "--force")
    assert "[output-is-input]" in done.stderr
    assert (folder / "out" / "x.dcm").read_bytes() == muse


# --- verdicts -----------------------------------------------------------------------------------


def test_qc_draws_a_picture_and_writes_no_signals(folder: Path) -> None:
    done = convert("x.pdf", "--qc")
    assert (done.exit_code, done.stderr) == (0, "")
    assert outputs() == ["x.json", "x.png", "x.qc.png"]
    assert cv2.imread("out/x.qc.png").shape[1] == 1600
    assert json.loads(Path("out/x.json").read_text())["quality"]["verdict"] == "good"


# A gain that is given is believed. These make waves of 30 mV, and waves half as high as printed.
REFUSED, DOUBTFUL = ("--gain", "0.5"), ("--gain", "20")


@pytest.mark.parametrize(
    ("gain", "least", "code"),
    [
        (REFUSED, [], "quality-refused"),
        (REFUSED, ["--min-quality", "good"], "quality-refused"),
        (REFUSED, ["--min-quality", "refused"], None),
        (DOUBTFUL, [], None),
        (DOUBTFUL, ["--min-quality", "good"], "quality-too-low"),
    ],
)
def test_signals_that_cannot_be_believed_are_withheld(
    folder: Path, gain: tuple[str, ...], least: list[str], code: str | None
) -> None:
    done = convert("x.pdf", "--signals", "npz", "--qc", *gain, *least)
    told = json.loads(Path("out/x.json").read_text())
    assert told["signals"]["withheld"] == code
    assert told["quality"]["verdict"] == ("refused" if gain == REFUSED else "doubtful")
    assert (told["scale"]["gain_from"], told["scale"]["gain_mm_per_mv"]) == (
        "given",
        float(gain[1]),
    )
    if code is None:
        assert done.exit_code == 0
        assert outputs() == ["x.json", "x.npz", "x.png", "x.qc.png"]
        assert done.stdout == "1 page written, 0 failed; 1 with warnings, see the JSON\n"
        return
    assert done.exit_code == 1
    assert outputs() == ["x.json", "x.png", "x.qc.png"]
    assert done.stdout == "0 pages written, 1 failed, 1 of them only in their signals\n"
    assert done.stderr.startswith("x.pdf page 1: expected ")
    assert f"{told['quality']['findings'][0]['code']}: " in done.stderr
    assert done.stderr.endswith(f"[{code}]\n")


def test_qc_alone_fails_no_page(folder: Path) -> None:
    assert convert("x.pdf", "--qc", *REFUSED).exit_code == 0
    assert json.loads(Path("out/x.json").read_text())["quality"]["verdict"] == "refused"
    done = convert("x.pdf", "--qc", *REFUSED, "--min-quality", "doubtful", "--force")
    assert done.exit_code == 1


def test_old_signals_do_not_stay_beside_a_new_refusal(folder: Path) -> None:
    assert convert("x.pdf", "--signals", "npz").exit_code == 0
    assert convert("x.pdf", "--signals", "npz", *REFUSED, "--force").exit_code == 1
    assert outputs() == ALWAYS


def test_signals_too_large_for_a_kind_name_the_page(folder: Path) -> None:
    keep = ["--gain", "0.5", "--min-quality", "refused"]
    assert convert("x.pdf", "--signals", "csv", *keep).exit_code == 0
    tall = draw(lambda layout: replace(layout, gain_mm_per_mv=20.0))
    (folder / "tall.pdf").write_bytes(tall)
    done = convert("tall.pdf", "--signals", "wfdb", *keep)
    assert done.exit_code == 1
    assert done.stderr.startswith("tall.pdf page 1: expected at most 32.767 mV")
    assert done.stderr.endswith("[signal-out-of-range]\n")
    assert outputs() == ["x.csv", *ALWAYS]


# --- scale --------------------------------------------------------------------------------------


def test_a_conflict_costs_its_page_only_and_gain_settles_it(folder: Path, conflict: bytes) -> None:
    (folder / "y.pdf").write_bytes(conflict)
    done = convert("y.pdf", "x.pdf", "--signals", "npz")
    assert done.exit_code == 1
    assert done.stdout == "1 page written, 1 failed\n"
    assert done.stderr.startswith("y.pdf page 1: expected sources that agree on the gain")
    assert done.stderr.endswith("[calibration-conflict]\n")
    assert outputs() == ["x.json", "x.npz", "x.png"]
    assert convert("y.pdf", "--signals", "npz", "--gain", "5").exit_code == 0
    assert raw_snr_db(truth_mv(), npz("out/y.npz")["signal_mv"]) > FINE_DB
    assert convert("y.pdf", "--gain", "5", "--force").exit_code == 0  # without signals, too


def test_a_given_speed_wins(folder: Path) -> None:
    done = convert("x.pdf", "--signals", "npz", "--speed", "50")
    assert done.exit_code == 0
    assert npz()["signal_mv"].shape == (12, 2500)
    scale = json.loads(Path("out/x.json").read_text())["scale"]
    assert (scale["speed_mm_per_s"], scale["speed_from"]) == (50, "given")


# --- wrong commands -----------------------------------------------------------------------------

WRONG: dict[str, tuple[list[str], str]] = {
    "kind": (["--signals", "edf"], "'edf' is not one of"),
    "no rate": (["--signals", "npz", "--fs", "0"], "sampling rate (--fs) must lie in 50"),
    "no number": (["--signals", "npz", "--fs", "nan"], "sampling rate (--fs)"),
    "absurd rate": (["--signals", "npz", "--fs", "1e6"], "to 10000 Hz"),
    "no speed": (["--speed", "0"], "paper speed (--speed) must lie in 1 to 500 mm/s"),
    "negative gain": (["--signals", "npz", "--gain", "-10"], "gain (--gain) must lie in"),
    "endless gain": (["--gain", "inf"], "gain (--gain) must lie in 0.5 to 200 mm/mV"),
    "quality": (["--signals", "npz", "--min-quality", "fair"], "'fair' is not one of"),
    "rate of nothing": (["--fs", "250"], "--fs needs --signals or --qc"),
    "quality of nothing": (["--min-quality", "good"], "--min-quality needs --signals or --qc"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_commands_exit_with_2(folder: Path, case: str) -> None:
    arguments, message = WRONG[case]
    done = convert("x.pdf", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not (folder / "out").exists()

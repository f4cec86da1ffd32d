"""What is written can be read back by others, is the same every time, and nothing is clipped."""

from __future__ import annotations

import csv
import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from ecgvision.errors import UsageError
from ecgvision.recording import LeadSignal, Recording
from ecgvision.testing import synthetic_ecg
from ecgvision.types import LEADS
from ecgvision.writers import KINDS, WriterError, recording_files
from ecgvision.writers.wfdb import record_name

wfdb = pytest.importorskip("wfdb")

# PS3.3: type 1 must be there and filled, type 2 be there. A.34.3 with the modules it names.
TYPE_1 = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("InstanceNumber", "ContentDate", "ContentTime", "AcquisitionDateTime", "WaveformSequence"),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "Manufacturer"),
    "AcquisitionContextSequence",
)
GROUP_TYPE_1 = (
    *("WaveformOriginality", "NumberOfWaveformChannels", "NumberOfWaveformSamples"),
    *("SamplingFrequency", "ChannelDefinitionSequence", "WaveformBitsAllocated"),
    *("WaveformSampleInterpretation", "WaveformPaddingValue", "WaveformData"),
)
CHANNEL_TYPE_1 = (
    *("ChannelSourceSequence", "ChannelSensitivity", "ChannelSensitivityUnitsSequence"),
    *("ChannelSensitivityCorrectionFactor", "ChannelBaseline", "ChannelSampleSkew"),
    "WaveformBitsStored",
)


def made(
    signal_mv: np.ndarray, fs_hz: float = 500.0, strips: tuple[str, ...] = (), **more: Any
) -> Recording:
    """A recording whose rhythm strips repeat its own leads."""
    signal_mv = signal_mv.astype(np.float32)
    rows = np.array([LEADS.index(lead) for lead in strips], dtype=int)
    rhythm_mv = signal_mv[rows]
    return Recording(signal_mv, fs_hz, rhythm_mv, strips, **more)


@pytest.fixture(scope="module")
def page() -> Recording:
    """A 3x4 page of 10 s with strips of II, V1 and II again, and a hole of 0.1 s in V6."""
    full_mv = synthetic_ecg(seed=5).signal_mv
    signal_mv = np.full_like(full_mv, np.nan)
    boxes = []
    for number, lead in enumerate(LEADS):
        start_s = 2.5 * (number // 3)
        part = slice(int(start_s * 500), int(start_s * 500) + 1250)
        signal_mv[number, part] = full_mv[number, part]
        boxes.append(LeadSignal(lead, False, start_s, start_s + 2.5, full_mv[0], "vector", 0.9, 1))
    signal_mv[11, 4000:4050] = np.nan
    boxes[11] = replace(boxes[11], coverage=0.96, reason="partly-missing", origin="raster")
    strips = ("II", "V1", "II")
    boxes += [LeadSignal(s, True, 0, 10, full_mv[0], "vector", 1.0, 1) for s in strips]
    boxes[-1] = replace(boxes[-1], origin=None, confidence=0.0, coverage=0.0, reason="no-line")
    rhythm_mv = full_mv[[1, 6, 1]].copy()
    rhythm_mv[2] = np.nan
    return Recording(signal_mv, 500.0, rhythm_mv, strips, boxes=tuple(boxes))


def all_channels(recording: Recording) -> np.ndarray:
    return np.concatenate([recording.signal_mv, recording.rhythm_mv])


def read_wfdb(files: dict[str, bytes], folder: Path) -> Any:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (header,) = (name for name in files if name.endswith(".hea"))
    return wfdb.rdrecord(str(folder / header.removesuffix(".hea")))


def read_dicom(content: bytes) -> tuple[pydicom.Dataset, np.ndarray]:
    """The object and (channels, n) mV of all groups, padding as NaN."""
    found = pydicom.dcmread(io.BytesIO(content))
    rows = []
    for number, group in enumerate(found.WaveformSequence):
        shape = (group.NumberOfWaveformSamples, group.NumberOfWaveformChannels)
        raw = np.frombuffer(group.WaveformData, "<i2").reshape(shape)
        padding = np.frombuffer(group.WaveformPaddingValue, "<i2")[0]
        rows.append(np.where(raw == padding, np.nan, found.waveform_array(number)).T)
    return found, np.concatenate(rows)


def read_csv(content: bytes) -> tuple[list[str], np.ndarray]:
    header, *rows = csv.reader(io.StringIO(content.decode("ascii"), newline=""))
    return header, np.array([[float(c) if c else np.nan for c in row] for row in rows])


# --- every kind -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_recording_gives_the_same_bytes(kind: str, page: Recording) -> None:
    again = replace(page, signal_mv=page.signal_mv.copy())
    first = recording_files(page, kind, "page", {"format": "x", "speed": 25.0})
    assert first == recording_files(again, kind, "page", {"speed": 25.0, "format": "x"})
    other = replace(page, signal_mv=page.signal_mv + np.float32(0.01))
    assert first != recording_files(other, kind, "page", {"format": "x", "speed": 25.0})


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("npz", ["ผู้ป่วย a.b.npz"]),
        ("csv", ["ผู้ป่วย a.b.csv"]),
        ("dicom", ["ผู้ป่วย a.b.dcm"]),
    ],
)
def test_names(kind: str, names: list[str], page: Recording) -> None:
    assert list(recording_files(page, kind, "ผู้ป่วย a.b")) == names


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "a\\b", "a\nb", "a\0b"])
def test_stems_that_are_no_names_are_refused(stem: str, page: Recording) -> None:
    with pytest.raises(UsageError, match="cannot be named"):
        recording_files(page, "npz", stem)


def test_unknown_kinds_are_refused(page: Recording) -> None:
    with pytest.raises(UsageError, match="npz, csv, wfdb, dicom"):
        recording_files(page, "edf", "page")


@pytest.mark.parametrize(
    "details",
    [{"Name": "x"}, {"a b": 1}, {"a": "two\nlines"}, {"a": object()}, {"a": "x" * 901}, {1: "x"}],
)
def test_details_that_cannot_be_are_refused(details: dict[str, Any], page: Recording) -> None:
    with pytest.raises(UsageError, match="detail"):
        recording_files(page, "wfdb", "page", details)


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_recordings_are_refused(kind: str, page: Recording) -> None:
    for wrong in (
        replace(page, fs_hz=0.0),
        replace(page, fs_hz=float("nan")),
        replace(page, leads=LEADS[::-1]),
        replace(page, rhythm_leads=("II",)),
        replace(page, rhythm_leads=("II", "V1", "V7")),
        replace(page, rhythm_mv=page.rhythm_mv[:, :-1]),
        replace(page, signal_mv=page.signal_mv[:11]),
    ):
        with pytest.raises(WriterError) as refused:
            recording_files(wrong, kind, "page")
        assert refused.value.code == "recording-impossible"
    endless = page.signal_mv.copy()
    endless[3, 7] = np.inf
    with pytest.raises(WriterError, match="infinite value in aVR") as refused:
        recording_files(replace(page, signal_mv=endless), kind, "page")
    assert refused.value.code == "signal-out-of-range"


@pytest.mark.parametrize("kind", ["wfdb", "dicom"])
def test_nothing_is_clipped(kind: str, page: Recording) -> None:
    signal_mv = page.signal_mv.copy()
    signal_mv[6, 2500] = -32.767
    recording_files(replace(page, signal_mv=signal_mv), kind, "page")
    signal_mv[6, 2500] = -32.768  # would read as NaN
    with pytest.raises(WriterError, match=r"32\.768 mV in V1") as refused:
        recording_files(replace(page, signal_mv=signal_mv), kind, "page")
    assert refused.value.code == "signal-out-of-range"
    assert "NPZ" in refused.value.hint


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_a_recording_without_samples_is_still_a_table(kind: str) -> None:
    (content,) = recording_files(made(np.zeros((12, 0))), kind, "page").values()
    if kind == "csv":
        assert content.count(b"\n") == 1
    else:
        assert np.load(io.BytesIO(content))["signal_mv"].shape == (12, 0)


def test_errors_travel_between_processes() -> None:
    error = WriterError("some-code", expected="a", found="b", hint="c")
    there = pickle.loads(pickle.dumps(error))
    assert (there.code, there.hint, str(there)) == ("some-code", "c", str(error))


# --- each kind --------------------------------------------------------------------------------


def test_npz(page: Recording) -> None:
    (content,) = recording_files(page, "npz", "page").values()
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        assert set(file) == {
            *("signal_mv", "leads", "fs_hz", "rhythm_mv", "rhythm_leads"),
            *("box_leads", "box_rhythm", "box_start_s", "box_stop_s", "box_origin"),
            *("box_confidence", "box_coverage", "box_reason"),
        }
        np.testing.assert_array_equal(file["signal_mv"], page.signal_mv)
        np.testing.assert_array_equal(file["rhythm_mv"], page.rhythm_mv)
        assert file["signal_mv"].dtype == file["rhythm_mv"].dtype == np.float32
        assert tuple(file["leads"]) == LEADS
        assert file["fs_hz"] == 500.0
        assert list(file["rhythm_leads"]) == ["II", "V1", "II"]
        assert list(file["box_leads"]) == [*LEADS, "II", "V1", "II"]
        assert list(file["box_rhythm"]) == [False] * 12 + [True] * 3
        assert list(file["box_start_s"][[0, 3, 12]]) == [0, 2.5, 0]
        assert list(file["box_stop_s"][[0, 3, 12]]) == [2.5, 5, 10]
        assert list(file["box_origin"][[0, 11, 14]]) == ["vector", "raster", ""]
        assert list(file["box_reason"][[0, 11, 14]]) == ["", "partly-missing", "no-line"]
        assert list(file["box_confidence"][[0, 14]]) == [0.9, 0.0]
        assert list(file["box_coverage"][[0, 11]]) == [1.0, 0.96]
    dates = {info.date_time for info in zipfile.ZipFile(io.BytesIO(content)).infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}


def test_csv(page: Recording) -> None:
    (content,) = recording_files(page, "csv", "page").values()
    assert b"\r" not in content
    assert content.endswith(b"\n")
    header, table = read_csv(content)
    due = ["time_s", *(f"{lead}_mV" for lead in LEADS)]
    assert header == [*due, "rhythm_II_mV", "rhythm_V1_mV", "rhythm_II_2_mV"]
    assert table.shape == (5000, 16)
    np.testing.assert_allclose(table[:, 0], np.arange(5000) / 500, atol=5e-7)
    np.testing.assert_allclose(table[:, 1:].T, all_channels(page), atol=5.1e-5)
    assert content.splitlines()[1].split(b",")[4] == b""  # aVR is not printed in the first 2.5 s


def test_csv_has_no_negative_zero() -> None:
    (content,) = recording_files(made(np.full((12, 1), -1e-6)), "csv", "page").values()
    assert content.splitlines()[1] == b"0.000000" + b",0.0000" * 12


def test_wfdb(page: Recording, tmp_path: Path) -> None:
    files = recording_files(page, "wfdb", "page-p2", {"format": "ge-muse", "gain": [10, 5]})
    assert set(files) == {"page-p2.hea", "page-p2.dat"}
    record = read_wfdb(files, tmp_path)
    assert record.record_name == "page-p2"
    assert record.sig_name == [*LEADS, "rhythm_II", "rhythm_V1", "rhythm_II_2"]
    assert record.fs == 500
    assert set(record.units) == {"mV"}
    np.testing.assert_allclose(record.p_signal.T, all_channels(page), atol=0.00051)
    assert record.comments[11] == (
        "box=V6 start_s=7.500 stop_s=10.000 origin=raster confidence=0.900 coverage=0.960 "
        "reason=partly-missing"
    )
    assert record.comments[12].startswith("box=rhythm_II start_s=0.000 stop_s=10.000 origin=vector")
    assert "box=rhythm_II_2 " in record.comments[14]
    assert "origin=none" in record.comments[14]
    assert record.comments[15:] == ["format: ge-muse", "gain: [10, 5]"]
    raw = wfdb.rdrecord(str(tmp_path / "page-p2"), physical=False)
    # The format has them signed, the reader computes them without a sign.
    assert [one % 65536 for one in raw.checksum] == raw.calc_checksum()
    assert min(raw.checksum) < 0
    assert raw.init_value == raw.d_signal[0].tolist()
    assert raw.d_signal[0, 3] == -32768


@pytest.mark.parametrize("stem", ["a b", "a.b", "ผู้ป่วย", "-x", "x" * 51, "é", "a_b-c8687a08.x"])
def test_wfdb_names_that_are_not_legal_are_changed(
    stem: str, page: Recording, tmp_path: Path
) -> None:
    files = recording_files(page, "wfdb", stem)
    record = read_wfdb(files, tmp_path)
    assert set(files) == {f"{record.record_name}.hea", f"{record.record_name}.dat"}
    assert record.record_name != stem
    assert len(record.record_name) <= 50
    assert all(c.isascii() and (c.isalnum() or c in "_-") for c in record.record_name)
    assert record.p_signal.shape == (5000, 15)


def test_wfdb_names_stay_apart() -> None:
    stems = ["a b", "a.b", "a  b", "ก", "ข", "x" * 51, "x" * 52, "a_b"]
    assert len({record_name(stem) for stem in stems}) == len(stems)


def test_wfdb_needs_a_sample() -> None:
    with pytest.raises(WriterError) as refused:
        recording_files(made(np.zeros((12, 0))), "wfdb", "page")
    assert refused.value.code == "recording-empty"


def test_dicom_has_what_the_standard_asks_for(page: Recording) -> None:
    (content,) = recording_files(page, "dicom", "page", {"format": "ge-muse"}).values()
    found, rows = read_dicom(content)
    assert found.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert found.SOPClassUID == "1.2.840.10008.5.1.4.1.1.9.1.1"
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert len({found.SOPInstanceUID, found.StudyInstanceUID, found.SeriesInstanceUID}) == 3
    assert [name for name in TYPE_1 if name not in found or found[name].is_empty] == []
    assert [name for name in TYPE_2 if name not in found] == []
    for group in found.WaveformSequence:
        assert [name for name in GROUP_TYPE_1 if name not in group or group[name].is_empty] == []
        for channel in group.ChannelDefinitionSequence:
            wrong = [n for n in CHANNEL_TYPE_1 if n not in channel or channel[n].is_empty]
            assert wrong == []
            (units,) = channel.ChannelSensitivityUnitsSequence
            assert (units.CodeValue, units.CodingSchemeDesignator) == ("mV", "UCUM")
    np.testing.assert_allclose(rows, all_channels(page), atol=0.00051)
    first, second = found.WaveformSequence
    assert (first.WaveformOriginality, first.SamplingFrequency) == ("DERIVED", 500)
    assert (first.NumberOfWaveformChannels, second.NumberOfWaveformChannels) == (12, 3)
    labels = [channel.ChannelLabel for channel in second.ChannelDefinitionSequence]
    assert labels == ["rhythm_II", "rhythm_V1", "rhythm_II_2"]


def test_dicom_leads_have_the_codes_of_cid_3001(page: Recording) -> None:
    (content,) = recording_files(page, "dicom", "page").values()
    found, _ = read_dicom(content)
    table = {code.value: code for code in (getattr(codes.cid3001, n) for n in codes.cid3001.dir())}
    for group, leads in zip(found.WaveformSequence, (LEADS, page.rhythm_leads), strict=True):
        for channel, lead in zip(group.ChannelDefinitionSequence, leads, strict=True):
            (source,) = channel.ChannelSourceSequence
            code = table[source.CodeValue]
            assert source.CodingSchemeDesignator == "MDC"
            assert source.CodeMeaning == code.meaning
            assert code.meaning.removeprefix("Lead ").split(",")[0] == lead


def test_dicom_knows_no_patient_and_no_date(page: Recording) -> None:
    (content,) = recording_files(page, "dicom", "Jane Doe 1950-01-02").values()
    found, _ = read_dicom(content)
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
        assert found[name].is_empty, name
    assert b"Doe" not in content
    assert found.PatientIdentityRemoved == "YES"
    assert found.LongitudinalTemporalInformationModified == "REMOVED"
    assert found.AcquisitionDateTime == "19000101000000"
    assert (found.ContentDate, found.ContentTime) == ("19000101", "000000")


def test_dicom_annotations_name_their_channels(page: Recording) -> None:
    (content,) = recording_files(page, "dicom", "page", {"format": "ge-muse"}).values()
    found, _ = read_dicom(content)
    notes = found.WaveformAnnotationSequence
    channels = [list(note.ReferencedWaveformChannels) for note in notes]
    assert channels == [[1, n] for n in range(1, 13)] + [[2, 1], [2, 2], [2, 3], [1, 0, 2, 0]]
    assert notes[11].UnformattedTextValue.startswith("box=V6 ")
    assert notes[-1].UnformattedTextValue == "format: ge-muse"


def test_a_box_without_a_channel_is_noted_on_the_whole_group(page: Recording) -> None:
    only_v1 = replace(page, rhythm_mv=page.rhythm_mv[1:2], rhythm_leads=("V1",))
    (content,) = recording_files(only_v1, "dicom", "page").values()
    notes = read_dicom(content)[0].WaveformAnnotationSequence
    assert [list(note.ReferencedWaveformChannels) for note in notes][12:] == [
        [1, 0],
        [2, 1],
        [1, 0],
    ]


@pytest.mark.parametrize(
    ("fs_hz", "samples", "strips", "found"),
    [
        (199.9, 10, 0, "199.9 Hz"),
        (1000.5, 10, 0, "1000.5 Hz"),
        (500.0, 0, 0, "found 0"),
        (500.0, 16385, 0, "found 16385"),
        (500.0, 10, 14, "found 14"),
    ],
)
def test_dicom_refuses_what_the_standard_does(
    fs_hz: float, samples: int, strips: int, found: str
) -> None:
    with pytest.raises(WriterError, match=found) as refused:
        recording_files(made(np.zeros((12, samples)), fs_hz, ("II",) * strips), "dicom", "page")
    assert refused.value.code == "dicom-limits"
    assert "A.34.3" in refused.value.expected


@pytest.mark.parametrize("samples", [1, 16384])
def test_dicom_takes_what_the_standard_does(samples: int) -> None:
    recording = made(np.full((12, samples), 0.001), 1000.0, ("II",))
    (content,) = recording_files(recording, "dicom", "page").values()
    assert read_dicom(content)[1].shape == (13, samples)


# --- any recording ----------------------------------------------------------------------------


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    samples = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signal_mv = rng.uniform(-1, 1, (12, samples)) * draw(st.sampled_from([0.001, 1.0, 32.0]))
    signal_mv[rng.random((12, samples)) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = np.nan
    signal_mv[sorted(draw(st.sets(st.integers(0, 11), max_size=3)))] = np.nan
    fs_hz = draw(st.floats(200, 1000))
    strips = tuple(draw(st.lists(st.sampled_from(LEADS), max_size=4)))
    return made(signal_mv, fs_hz, strips)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(recording=recordings())
def test_every_recording_comes_back(recording: Recording, tmp_path: Path) -> None:
    due = all_channels(recording)
    with np.load(io.BytesIO(recording_files(recording, "npz", "r")["r.npz"])) as arrays:
        np.testing.assert_array_equal(arrays["signal_mv"], recording.signal_mv)
        np.testing.assert_array_equal(arrays["rhythm_mv"], recording.rhythm_mv)
        assert arrays["fs_hz"] == recording.fs_hz
    header, table = read_csv(recording_files(recording, "csv", "r")["r.csv"])
    assert len(set(header)) == len(header) == 13 + len(recording.rhythm_leads)
    np.testing.assert_allclose(table[:, 1:].T, due, atol=6e-5)
    record = read_wfdb(recording_files(recording, "wfdb", "r"), tmp_path)
    assert record.fs == pytest.approx(recording.fs_hz, rel=1e-12)
    assert len(set(record.sig_name)) == len(due)
    np.testing.assert_allclose(record.p_signal.T, due, atol=0.000501)
    found, rows = read_dicom(recording_files(recording, "dicom", "r")["r.dcm"])
    assert float(found.WaveformSequence[0].SamplingFrequency) == pytest.approx(recording.fs_hz)
    np.testing.assert_allclose(rows, due, atol=0.000501)

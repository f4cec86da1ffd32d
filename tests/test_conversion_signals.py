"""Signals through the front door: right in mV and seconds, or refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymupdf
import pytest

import ecgvision
from ecgvision import Conversion, LeadBox, SignalOptions, convert
from ecgvision.conversion import PageOptions, as_read, calibrated, convert_each
from ecgvision.errors import PageError, UsageError
from ecgvision.media import open_report
from ecgvision.media.canvas import PdfCanvas
from ecgvision.metrics import raw_snr_db
from ecgvision.plugins import Format
from ecgvision.recording import Calibration, Recording
from ecgvision.testing import DrawnPage, Ecg, as_png, draw_page, synthetic_ecg, trace_points
from ecgvision.types import LEADS, Box, Layout, Match

FINE_DB = 60.0
SECRETS = ("Zaphod", "BEEBLEBROX", "4711-0815", "17-May-1952")
LayoutOf = Callable[[str, str], Layout]


@pytest.fixture(scope="module")
def clean() -> Ecg:
    return synthetic_ecg(seed=3)


@pytest.fixture
def draw(formats: dict[str, Format], clean: Ecg) -> Callable[..., DrawnPage]:
    """Draws a format's first layout, or another one given, with a patient in its header."""

    def drawn(format_id: str = "philips-tc30", layout: Layout | None = None, **way: object):
        one = formats[format_id]
        return draw_page(layout or one.layouts[0], one.info, clean, patient_text=SECRETS, **way)

    return drawn


def saved(content: bytes, folder: Path, name: str = "report.pdf") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def truth_mv(drawn: DrawnPage, fs_hz: float, length: int) -> np.ndarray:
    """(12, length): what the page shows of each lead on the page's time axis; NaN elsewhere."""
    times_s = np.arange(length) / fs_hz
    truth = np.full((12, length), np.nan)
    for one in sorted(drawn.layout.boxes, key=lambda b: b.stop_s - b.start_s):  # the longest wins
        at_s, mv = drawn.ecg.window(one.lead, one.start_s, one.stop_s)
        shown = (times_s >= at_s[0] - 1e-9) & (times_s <= at_s[-1] + 1e-9)
        truth[LEADS.index(one.lead)] = np.nan
        truth[LEADS.index(one.lead), shown] = np.interp(times_s[shown], at_s, mv)
    return truth


def assert_true(recording: Recording | None, drawn: DrawnPage) -> None:
    """As drawn, in mV from 0 mV and in seconds, without any alignment."""
    assert recording is not None
    truth = truth_mv(drawn, recording.fs_hz, recording.signal_mv.shape[1])
    assert raw_snr_db(truth, recording.signal_mv) > FINE_DB


def in_other_seconds(layout: Layout, speed_mm_per_s: float) -> Layout:
    """The same boxes in mm, printed at another paper speed."""
    share = layout.speed_mm_per_s / speed_mm_per_s
    boxes = tuple(
        replace(b, start_s=b.start_s * share, stop_s=b.stop_s * share) for b in layout.boxes
    )
    return replace(layout, boxes=boxes, speed_mm_per_s=speed_mm_per_s)


# --- what comes out -----------------------------------------------------------------------------


@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-mac1200", "ge-muse", "edan-se3"])
def test_signals_are_what_was_drawn(
    format_id: str, draw: Callable[..., DrawnPage], tmp_path: Path
) -> None:
    drawn = draw(format_id)
    (found,) = convert(saved(drawn.pdf, tmp_path), format=format_id, signals=True)
    assert isinstance(found, Conversion)
    recording = found.recording
    assert recording is not None
    assert recording.fs_hz == 500
    assert_true(recording, drawn)
    assert found.quality is not None
    assert found.quality.verdict == "good"
    assert (found.refusal, found.qc) == (None, None)
    assert found.match.layout.speed_mm_per_s == pytest.approx(25, rel=1e-6)


def test_without_signals_there_is_a_scale_and_nothing_more(
    draw: Callable[..., DrawnPage], tmp_path: Path
) -> None:
    (found,) = convert(saved(draw().pdf, tmp_path))
    assert (found.recording, found.quality, found.qc, found.refusal) == (None, None, None, None)
    assert found.calibration.gain_from == "text"
    assert not {"signals", "quality"} & set(found.summary())


def test_another_sampling_rate(draw: Callable[..., DrawnPage], tmp_path: Path) -> None:
    drawn = draw("ge-muse")
    (found,) = convert(saved(drawn.pdf, tmp_path), signals=True, fs_hz=250)
    recording = found.recording
    assert recording is not None
    assert (recording.fs_hz, recording.signal_mv.shape) == (250, (12, 2500))
    assert_true(recording, drawn)


@pytest.mark.parametrize("turns", [90, 180, 270])
def test_a_turned_vector_page_keeps_its_samples(
    turns: int, draw: Callable[..., DrawnPage], tmp_path: Path
) -> None:
    drawn = draw("ge-mac1200")
    with pymupdf.open(stream=drawn.pdf, filetype="pdf") as pdf:
        pdf[0].set_rotation(turns)
        content = pdf.tobytes()
    (found,) = convert(saved(content, tmp_path), format="ge", signals=True)
    assert (found.origin, found.match.quarter_turns) == ("vector", 4 - turns // 90)
    recording = found.recording
    assert recording is not None
    assert recording.lattice is not None
    assert recording.lattice.fs_hz == 500
    assert_true(recording, drawn)


@pytest.mark.parametrize("turned", [0, 90])
def test_traces_that_are_filled_shapes_are_read_by_pixels(turned: int, tmp_path: Path) -> None:
    """Upright bars and frames are lines, too, but no traces: also when the page is turned."""
    with pymupdf.open() as pdf:
        page = pdf.new_page(width=792, height=612)
        for row in range(3):
            top = [(50 + 2 * k, 150 + 150 * row + 20 * np.sin(k / 3)) for k in range(340)]
            page.draw_polyline(
                [*top, *((x, y + 1) for x, y in reversed(top))], fill=(0, 0, 0), width=0
            )
        for x in (220, 390, 560):
            page.draw_line((x, 100), (x, 500))
        page.set_rotation(turned)
        path = saved(pdf.tobytes(), tmp_path)
    assert as_read(open_report(path).page(1)).origin == "rendered"


# --- scale --------------------------------------------------------------------------------------


def test_a_page_at_half_the_gain_gives_the_same_picture(
    draw: Callable[..., DrawnPage], layout_of: LayoutOf, tmp_path: Path
) -> None:
    layout = layout_of("ge-mac1200", "6x2")
    usual, half = (draw("ge-mac1200", replace(layout, gain_mm_per_mv=gain)) for gain in (10.0, 5.0))
    (due,) = convert(saved(usual.pdf, tmp_path, "usual.pdf"), format="ge")
    (found,) = convert(saved(half.pdf, tmp_path, "half.pdf"), format="ge", signals=True)
    assert found.calibration.gain_mm_per_mv == pytest.approx(5, rel=1e-4)
    assert found.match.layout.gain_mm_per_mv == pytest.approx(5, rel=1e-4)
    assert "gain-unlike-format" in {n.code for n in found.notices}
    off = np.abs(found.image.pixels.astype(int) - due.image.pixels)
    assert (off > 100).mean() < 0.001  # of 4 % of ink
    assert_true(found.recording, half)


def test_a_page_at_twice_the_speed_shows_half_the_time(
    draw: Callable[..., DrawnPage], layout_of: LayoutOf, tmp_path: Path
) -> None:
    quick = in_other_seconds(layout_of("ge-mac1200", "6x2"), 50.0)
    drawn = draw("ge-mac1200", quick)
    (found,) = convert(saved(drawn.pdf, tmp_path), format="ge", signals=True)
    assert "speed-unlike-format" in {n.code for n in found.notices}
    spans = {(round(b.start_s, 3), round(b.stop_s, 3)) for b in found.match.layout.boxes}
    assert spans == {(0.0, 2.5), (2.5, 5.0)}
    recording = found.recording
    assert recording is not None
    assert recording.seconds == pytest.approx(5.0, abs=0.003)
    assert_true(recording, drawn)
    assert found.image.boxes[6].start_s == pytest.approx(2.5, abs=1e-3)


def test_a_conflict_is_refused_and_settled_by_the_user(
    draw: Callable[..., DrawnPage], layout_of: LayoutOf, tmp_path: Path
) -> None:
    """The pulse alone says 5 mm/mV, the format 10: nobody can tell."""
    layout = replace(layout_of("ge-muse", "3x4+1R"), gain_mm_per_mv=5.0)
    drawn = draw("ge-muse", layout, footer=False)
    path = saved(drawn.pdf, tmp_path)
    with pytest.raises(PageError) as caught:
        convert(path, format="muse")
    assert caught.value.code == "calibration-conflict"
    assert "--gain" in str(caught.value)
    (found,) = convert(path, format="muse", signals=True, gain_mm_per_mv=5)
    assert found.calibration.gain_from == "given"
    assert_true(found.recording, drawn)
    (plain,) = convert(path, format="muse", gain_mm_per_mv=5)  # the picture needs it, too
    assert plain.match.layout.gain_mm_per_mv == 5


def calibration(speed: float, gain: float = 10.0) -> Calibration:
    return Calibration(speed, gain, "given", "given")


def test_paper_of_another_size_shows_the_same_seconds(layout_of: LayoutOf) -> None:
    layout = layout_of("philips-tc30", "3x4+1R")
    fitted = calibrated(Match(layout, 1.0), calibration(25 * 0.97)).layout
    for before, after in zip(layout.boxes, fitted.boxes, strict=True):
        assert (after.start_s, after.stop_s) == (before.start_s, before.stop_s)
        assert after.box.left_mm == before.box.left_mm
        assert after.box.width_mm == pytest.approx(0.97 * before.box.width_mm)


@pytest.mark.parametrize("speed", [5.0, 6.25, 12.5, 12.5 * 1.03, 50.0, 50.0 * 0.97, 100.0, 37.0])
def test_another_speed_shows_other_seconds(speed: float, layout_of: LayoutOf) -> None:
    layout = layout_of("ge-muse", "3x4+3R")
    fitted = calibrated(Match(layout, 1.0), calibration(speed)).layout
    setting = min((5.0, 6.25, 12.5, 37.0, 50.0, 100.0), key=lambda s: abs(speed / s - 1))
    for before, after in zip(layout.boxes, fitted.boxes, strict=True):
        assert after.start_s == pytest.approx(before.start_s * 25 / setting)
        seconds = after.stop_s - after.start_s
        assert after.box.width_mm == pytest.approx(seconds * speed, rel=0.01)


def test_what_reaches_off_the_page_is_cut_off() -> None:
    box = LeadBox("I", Box(10, 20, 110, 60), 0.0, 4.0)
    layout = Layout("narrow", (111.0, 80.0), (box,))
    (after,) = calibrated(Match(layout, 1.0), calibration(27.0)).layout.boxes
    assert after.box.right_mm == pytest.approx(111.0)
    assert after.stop_s == pytest.approx(101 / 27)


# --- verdicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gain", "least", "code"),
    [
        (0.5, None, "quality-refused"),
        (0.5, "doubtful", "quality-refused"),
        (0.5, "good", "quality-refused"),
        (0.5, "refused", None),
        (5.0, None, None),
        (5.0, "good", "quality-too-low"),
        (None, "good", None),
    ],
)
def test_signals_worse_than_asked_for_are_an_error(
    gain: float | None,
    least: str | None,
    code: str | None,
    draw: Callable[..., DrawnPage],
    formats: dict[str, Format],
    tmp_path: Path,
) -> None:
    """A wrong gain makes signals that no heart makes, or doubtful ones."""
    path = saved(draw().pdf, tmp_path)
    options = SignalOptions(gain_mm_per_mv=gain, min_quality=least)  # type: ignore[arg-type]
    if code is None:
        (found,) = convert(path, signals=options)
        assert found.refusal is None
        return
    with pytest.raises(PageError) as caught:
        convert(path, signals=options)
    assert caught.value.code == code
    assert caught.value.page == 1
    wanted = PageOptions(signals=options, read_signals=True)
    (kept,) = convert_each(path, [formats["philips-tc30"]], wanted)
    assert isinstance(kept, Conversion)
    assert kept.quality is not None
    worst = kept.quality.findings[0]
    assert f"{kept.quality.verdict} ones: {worst.code}: " in str(caught.value)
    assert str(kept.refusal) == str(caught.value)
    assert kept.summary()["signals"]["withheld"] == code


def test_a_finding_is_told_in_the_json(draw: Callable[..., DrawnPage], tmp_path: Path) -> None:
    (found,) = convert(saved(draw().pdf, tmp_path), signals=True, gain_mm_per_mv=5)
    told = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert told["quality"]["verdict"] == "doubtful"
    assert told["quality"]["findings"][0]["code"] == "scale-sources-disagree"
    assert (told["scale"]["gain_mm_per_mv"], told["scale"]["gain_from"]) == (5, "given")
    text = next(one for one in told["scale"]["gain_sources"] if one["source"] == "text")
    assert text["off_percent"] == pytest.approx(100, abs=0.1)


# --- what is told -------------------------------------------------------------------------------


@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-muse"])
def test_the_json_has_every_box_and_no_word_of_the_page(
    format_id: str, draw: Callable[..., DrawnPage], tmp_path: Path
) -> None:
    drawn = draw(format_id)
    options = SignalOptions(qc=True)
    (found,) = convert(saved(drawn.pdf, tmp_path, "Zaphod.pdf"), signals=options)
    told = json.loads(json.dumps(found.summary(), allow_nan=False))
    boxes = told["signals"]["boxes"]
    assert [b["lead"] for b in boxes] == [b.lead for b in drawn.layout.boxes]
    assert {b["origin"] for b in boxes} == {"vector"}
    assert {b["coverage"] for b in boxes} == {1.0}
    assert [b["start_s"] for b in boxes] == [b.start_s for b in drawn.layout.boxes]
    assert told["signals"]["lattice"]["fs_hz"] == 500
    assert told["signals"]["withheld"] is None
    assert (told["signals"]["fs_hz"], told["signals"]["seconds"]) == (500, 10.0)
    del told["source"]
    everything = json.dumps(told) + json.dumps(dict(found.details())) + repr(found.quality)
    for word in SECRETS:
        assert word.lower() not in everything.lower()
    assert found.qc is not None
    assert found.qc.shape[1:] == (1600, 3)


def test_the_picture_to_check_by_shows_nothing_of_the_header(
    draw: Callable[..., DrawnPage], formats: dict[str, Format], clean: Ecg, tmp_path: Path
) -> None:
    one = formats["philips-tc30"]
    anonymous = draw_page(one.layouts[0], one.info, clean, patient_text=())
    pictures = [
        convert(saved(page.pdf, tmp_path), format="philips", signals=SignalOptions(qc=True))[0].qc
        for page in (draw(), anonymous)
    ]
    assert pictures[0] is not None
    np.testing.assert_array_equal(pictures[0], pictures[1])


# --- cost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "times"), [("vector", 0), ("image", 1)])
def test_the_grid_is_removed_once_where_anybody_looks(
    kind: str,
    times: int,
    draw: Callable[..., DrawnPage],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pdf = draw().pdf
    name = "page.pdf" if kind == "vector" else "page.png"
    path = saved(pdf if kind == "vector" else as_png(pdf, 150), tmp_path, name)
    calls = []
    real = Format.remove_grid

    def counted(self: Format, page: object, layout: object) -> np.ndarray:
        calls.append(self.info.id)
        return real(self, page, layout)  # type: ignore[arg-type]

    monkeypatch.setattr(Format, "remove_grid", counted)
    convert(path, format="philips", signals=SignalOptions(min_quality="refused"))
    assert len(calls) == times


def test_a_vector_page_of_dashes_is_still_drawn(
    draw: Callable[..., DrawnPage], layout_of: LayoutOf, clean: Ecg, tmp_path: Path
) -> None:
    """Dashes are too short to be traces: the picture is made of the ink, and no signal is made up.

    A curve in the header keeps the page from being taken by its pixels at once.
    """
    layout = layout_of("ge-mac1200", "6x2")
    canvas = PdfCanvas(layout.page_mm)
    canvas.polyline(np.array([(100 + k, 10 + np.sin(k)) for k in range(40)]), 0.3, (0, 0, 0))
    for one in layout.boxes:
        points = trace_points(one, layout, clean)
        for first in range(0, len(points), 40):
            canvas.polyline(points[first : first + 36], 0.3, (0, 0, 0))
    (due,) = convert(saved(draw("ge-mac1200").pdf, tmp_path, "whole.pdf"), format="ge")
    options = SignalOptions(min_quality="refused")
    (found,) = convert(saved(canvas.tobytes(), tmp_path), format="ge", signals=options)
    assert found.origin == "vector"
    dark = (found.image.pixels < 128).sum() / (due.image.pixels < 128).sum()
    assert 0.8 < dark < 1.3  # a pen drawn on pixels is not as wide as one of lines
    assert found.quality is not None
    assert found.quality.verdict == "refused"


# --- wrong arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fs_hz": 0.0}, "sampling rate"),
        ({"fs_hz": float("nan")}, "sampling rate"),
        ({"fs_hz": 1e6}, "50 to 10000 Hz"),
        ({"speed_mm_per_s": -25.0}, "paper speed"),
        ({"gain_mm_per_mv": float("inf")}, "gain"),
        ({"min_quality": "bad"}, "good"),
    ],
)
def test_impossible_options(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SignalOptions(**arguments)  # type: ignore[arg-type]


def test_the_scale_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in the SignalOptions"):
        convert(tmp_path / "x.pdf", signals=SignalOptions(), gain_mm_per_mv=10)


def test_names_for_users_are_there() -> None:
    names = ("Calibration", "LeadSignal", "Quality", "Recording", "SignalOptions", "beats")
    assert set(names) <= set(ecgvision.__all__)
    assert callable(ecgvision.beats)

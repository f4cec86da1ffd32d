"""Pages whose faults are known get the right verdict, and good ones are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ecgvision import convert
from ecgvision.conversion import SignalOptions
from ecgvision.layouts import regular_layout
from ecgvision.plugins import Format
from ecgvision.quality import Quality, assess
from ecgvision.quality.arrangement import arrangements
from ecgvision.quality.beats import find_beats
from ecgvision.quality.checks import is_clipped, jumps_s, strips_unlike
from ecgvision.quality.physics import FROM_I_AND_II, check_physics, off_plane
from ecgvision.quality.rows import rows_of
from ecgvision.recording import Calibration, LeadSignal, Recording, ScaleSource
from ecgvision.testing import Ecg, draw_page, synthetic_ecg
from ecgvision.types import LEADS, Layout, Notice

THREE = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
SIX = tuple(zip(LEADS[:6], LEADS[6:], strict=True))
SCALE = Calibration(25.0, 10.0, "text", "text")


def layout(name: str) -> Layout:
    rows: Sequence[Sequence[str]]
    rows, column_s, strips = {
        "3x4": (THREE, 2.5, ()),
        "3x4+1R": (THREE, 2.5, ("II",)),
        "6x2": (SIX, 5.0, ()),
        "6x2+1R": (SIX, 5.0, ("II",)),
        "12x1": ([(lead,) for lead in LEADS], 10.0, ()),
    }[name]
    heights = [20.0 + 20.0 * row for row in range(len(rows) + len(strips))]
    return regular_layout(
        name,
        page_mm=(300, 300),
        rows=rows,
        left_mm=10,
        baselines_mm=heights[: len(rows)],
        column_s=column_s,
        rhythm=strips,
        rhythm_baselines_mm=heights[len(rows) :],
    )


NAMES = ("3x4", "3x4+1R", "6x2", "6x2+1R", "12x1")


def printed(ecg: Ecg, page: Layout, noise_mv: float = 0.01, seed: int = 0) -> Recording:
    """The recording a perfect reader makes of a page, each box with noise and zero of its own."""
    rng = np.random.default_rng(seed)
    boxes = []
    for box in page.boxes:
        _, mv = ecg.window(box.lead, box.start_s, box.stop_s)
        mv = (mv + rng.normal(0, noise_mv, len(mv)) + rng.uniform(-0.05, 0.05)).astype(np.float32)
        one = LeadSignal(
            box.lead, box.rhythm_strip, box.start_s, box.stop_s, mv, "raster", 1.0, 1.0
        )
        boxes.append(one)
    nothing = np.full((12, ecg.signal_mv.shape[1]), np.nan, np.float32)
    return Recording(nothing, ecg.fs_hz, nothing[:0], boxes=tuple(boxes))


def changed(
    page: Recording, lead: str, change: Callable[[np.ndarray], np.ndarray], *, strip: bool = False
) -> Recording:
    boxes = tuple(
        replace(box, signal_mv=change(box.signal_mv.copy()))
        if box.lead == lead and box.rhythm_strip == strip
        else box
        for box in page.boxes
    )
    return replace(page, boxes=boxes)


def swapped(page: Recording, one: str, other: str) -> Recording:
    signals = {box.lead: box.signal_mv for box in page.boxes if not box.rhythm_strip}
    page = changed(page, one, lambda _: signals[other])
    return changed(page, other, lambda _: signals[one])


def codes(quality: Quality) -> set[str]:
    return {finding.code for finding in quality.findings}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate_bpm", [40, 75, 150])
def test_a_good_page_is_good(name: str, rate_bpm: int) -> None:
    ecg = synthetic_ecg(seed=rate_bpm, heart_rate_bpm=rate_bpm)
    quality = assess(printed(ecg, layout(name)), SCALE, layout(name))
    assert (quality.verdict, quality.findings) == ("good", ())
    assert quality.measures["rate_bpm"] == pytest.approx(rate_bpm, rel=0.04)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        (name, one, other)
        for name in NAMES
        for one, other in (("I", "II"), ("II", "V2"), ("aVL", "aVF"), ("aVR", "V6"), ("V1", "V5"))
    ],
)
def test_swapped_leads_are_found(ecg: Ecg, name: str, one: str, other: str) -> None:
    quality = assess(swapped(printed(ecg, layout(name)), one, other), SCALE, layout(name))
    assert quality.verdict != "good"
    named = {lead for finding in quality.findings for lead in finding.leads}
    assert {one, other} & named


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_off_by_a_row_is_found(ecg: Ecg, name: str) -> None:
    page = layout(name)
    rows = [[b.lead for b in row if not b.rhythm_strip] for row in page.rows]
    rows = [row for row in rows if row]
    recording = printed(ecg, page)
    signals = {box.lead: box.signal_mv for box in recording.boxes if not box.rhythm_strip}
    for row, below in zip(rows, [*rows[1:], rows[0]], strict=True):
        for lead, shown in zip(row, below, strict=True):
            recording = changed(recording, lead, lambda _, shown=shown: signals[shown])
    assert "layout-off-by-a-row" in codes(assess(recording, SCALE, page))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["LA/RA", "RA/LL"])
def test_reversed_electrodes_keep_the_equations_and_are_found(
    ecg: Ecg, name: str, kind: str
) -> None:
    eight = ecg.signal_mv[[0, 1, *range(6, 12)]].astype(np.float64) * 1000
    one, two = eight[0].copy(), eight[1].copy()
    eight[0], eight[1] = (-one, two - one) if kind == "LA/RA" else (one - two, -two)
    page = printed(Ecg.from_eight(eight, ecg.fs_hz), layout(name))
    quality = assess(page, SCALE, layout(name))
    assert codes(quality) == {"limb-leads-reversed"}
    assert kind in quality.findings[0].message
    assert quality.measures["limb_left_over"] < 0.01


def test_residuals_are_those_that_were_put_in(ecg: Ecg) -> None:
    page = printed(ecg, layout("6x2"), noise_mv=0.0)
    wave = 0.2 * np.sin(2 * np.pi * 5 * np.arange(2500) / 500)
    found = check_physics(rows_of(changed(page, "III", lambda mv: mv + wave + 0.3))).residuals
    by_name = {residual.equation: residual for residual in found}
    one = by_name["I + III = II"]
    assert one.rms_uv == pytest.approx(200 / np.sqrt(2), rel=0.03)
    whole = check_physics(rows_of(page)).residuals
    before = next(r.offset_uv for r in whole if r.equation == one.equation)
    # A constant is told apart, as it is no error where rows have no zero of their own.
    assert one.offset_uv - before == pytest.approx(300, abs=3)
    assert by_name["aVR + aVL + aVF = 0"].rms_uv < 1


@pytest.mark.parametrize("name", ["3x4+1R", "6x2", "12x1"])
def test_only_leads_printed_together_are_put_in_equations(ecg: Ecg, name: str) -> None:
    found = check_physics(rows_of(printed(ecg, layout(name)))).residuals
    equations = [(residual.equation, residual.start_s) for residual in found]
    if name == "3x4+1R":
        assert sorted(equations) == [
            ("I + III = II", 0.0),
            ("II strip = II", 0.0),
            ("aVR + aVL + aVF = 0", 2.5),
        ]
    else:
        assert len(equations) == 5
    assert all(residual.fraction < 0.02 for residual in found)


@pytest.mark.parametrize(("origin", "verdict"), [("raster", "good"), ("vector", "doubtful")])
def test_lines_of_a_page_must_keep_the_equations_closer_than_pixels(
    ecg: Ecg, origin: Literal["raster", "vector"], verdict: str
) -> None:
    page = layout("6x2")
    noisy = printed(ecg, page, noise_mv=0.029)
    boxes = tuple(replace(box, origin=origin) for box in noisy.boxes)
    quality = assess(replace(noisy, boxes=boxes), SCALE, page)
    assert 0.02 < quality.measures["limb_left_over"] < 0.04
    assert quality.verdict == verdict


@pytest.mark.parametrize(
    ("shown", "words", "code"),
    [
        (("I", "II"), None, None),
        (("II", "I"), None, "leads-swapped"),
        (("I", "II"), "25 mm/s 5 mm/mV", "calibration-disagrees"),
    ],
)
def test_a_page_drawn_wrong_is_found_after_reading_it(
    ecg: Ecg,
    formats: dict[str, Format],
    tmp_path: Path,
    shown: tuple[str, str],
    words: str | None,
    code: str | None,
) -> None:
    chosen = formats["edan-se3"]
    drawn = next(one for one in chosen.layouts if one.name == "6x2")
    signal_mv = ecg.signal_mv.copy()
    signal_mv[:2] = [ecg.lead(lead) for lead in shown]
    done = draw_page(
        drawn,
        chosen.info,
        Ecg(signal_mv, ecg.fs_hz),
        patient_text=(words,) if words else ("Not a real recording",),
        footer=words is None,
    )
    how = SignalOptions(min_quality="refused")
    (found,) = convert(done.save(tmp_path / "page.pdf"), format="edan-se3", signals=how)
    assert found.quality is not None
    codes = [finding.code for finding in found.quality.findings]
    assert (found.quality.verdict == "good") == (code is None), codes
    assert code is None or code in codes


def test_a_row_printed_a_little_late_is_told_and_forgiven(ecg: Ecg) -> None:
    page = changed(printed(ecg, layout("6x2"), noise_mv=0.0), "II", lambda mv: np.roll(mv, 6))
    quality = assess(page, SCALE, layout("6x2"))
    assert quality.verdict == "good"
    assert codes(quality) == {"rows-shifted"}
    assert quality.measures["shifts_ms"]["II"] == pytest.approx(12, abs=4)


def test_limb_leads_lie_in_a_plane() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 50))
    limb = np.stack([a * first + b * second for a, b in FROM_I_AND_II.values()])
    assert np.abs(off_plane(list(FROM_I_AND_II)) @ limb).max() < 1e-12
    ways = arrangements()
    assert np.allclose(ways @ ways, np.eye(8))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("flat-lead", lambda mv: 0 * mv),
        ("clipped", lambda mv: np.minimum(mv, 0.25 * mv.max())),
        ("jump", lambda mv: mv + 1.2 * (np.arange(len(mv)) > 450)),
        ("amplitude-too-large", lambda mv: 20 * mv),
    ],
)
def test_a_spoilt_row_is_named(
    ecg: Ecg, code: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    page = changed(printed(ecg, layout("3x4+1R"), noise_mv=0.003), "V4", change)
    found = [f for f in assess(page, SCALE, layout("3x4+1R")).findings if f.code == code]
    assert [finding.leads for finding in found] == [("V4",)]


def test_a_quiet_row_that_drift_makes_lowest_is_not_clipped(ecg: Ecg) -> None:
    def drifting(mv: np.ndarray) -> np.ndarray:
        seconds = np.arange(len(mv)) / ecg.fs_hz
        risen = np.clip((seconds - 0.2) / 0.6, 0, 1)
        return np.asarray(risen * mv - 2.0 * (1 - risen), np.float32)

    page = changed(printed(ecg, layout("6x2"), noise_mv=0.0), "V4", drifting)
    (row,) = (row for row in rows_of(page) if row.lead == "V4")
    still = row.mv <= row.mv.min() + 0.001
    assert still.sum() > 0.15 * 250  # it does stand still at its lowest
    assert -row.mv.min() > 0.3 * (row.mv.max() - row.mv.min())
    assert not is_clipped(row)


def test_a_jump_is_put_at_its_time(ecg: Ecg) -> None:
    page = printed(ecg, layout("12x1"))
    rows = rows_of(changed(page, "V2", lambda mv: mv + 1.5 * (np.arange(len(mv)) > 2600)))
    (row,) = (row for row in rows if row.lead == "V2")
    assert jumps_s(row) == (pytest.approx(5.2, abs=0.03),)


def test_a_row_of_other_seconds_is_found(ecg: Ecg) -> None:
    page = changed(printed(ecg, layout("6x2")), "V3", lambda mv: np.roll(mv, 100))
    found = assess(page, SCALE, layout("6x2")).findings
    assert [f.leads for f in found if f.code == "beats-not-aligned"] == [("V3",)]


def test_a_strip_of_another_gain_is_found(ecg: Ecg) -> None:
    page = changed(printed(ecg, layout("6x2+1R")), "II", lambda mv: 2 * mv, strip=True)
    quality = assess(page, SCALE, layout("6x2+1R"))
    assert "strip-gain" in codes(quality)
    assert quality.measures["strip_gain"]["II"] == pytest.approx(2, rel=0.05)


def test_a_strip_that_shows_another_lead_is_found(ecg: Ecg) -> None:
    page = printed(ecg, layout("3x4+1R"))
    late = changed(page, "II", lambda mv: np.roll(mv, 6), strip=True)
    assert strips_unlike(rows_of(late))["II"] < 0.02  # 12 ms beside is the same lead
    other = next(box.signal_mv for box in printed(ecg, layout("12x1")).boxes if box.lead == "V2")
    wrong = changed(page, "II", lambda mv: other[: len(mv)], strip=True)
    found = {finding.code: finding for finding in assess(wrong, SCALE, layout("3x4+1R")).findings}
    assert found["strip-unlike-lead"].leads == ("II",)
    # A strip of a chest lead is bound by no other equation.
    names = [box.lead for box in page.boxes]
    chest = replace(page.boxes[names.index("V1")], rhythm_strip=True)
    doubled = replace(page, boxes=(*page.boxes, chest))
    assert strips_unlike(rows_of(doubled))["V1"] < 1e-6
    assert strips_unlike(rows_of(swapped(doubled, "V1", "V5")))["V1"] > 0.12


def test_unread_parts_are_told(ecg: Ecg) -> None:
    page = layout("3x4+1R")
    good = printed(ecg, page)

    def reading(share: float, leads: Sequence[str]) -> Recording:
        boxes = []
        for box in good.boxes:
            mv = box.signal_mv.copy()
            if box.lead in leads:
                mv[round(share * len(mv)) :] = np.nan
                box = replace(box, signal_mv=mv, coverage=share)
            boxes.append(box)
        return replace(good, boxes=tuple(boxes))

    part = assess(reading(0.5, ["V2"]), SCALE, page)
    assert [(f.code, f.leads) for f in part.findings] == [("coverage-low", ("V2",))]
    none = assess(reading(0.0, ["V2"]), SCALE, page)
    assert codes(none) == {"lead-missing", "arrangement-unchecked"}
    assert none.verdict == "doubtful"
    assert assess(reading(0.0, LEADS), SCALE, page).verdict == "refused"


@pytest.mark.parametrize("level_mv", [0.0, 0.003])
def test_a_page_without_a_heart_is_refused(level_mv: float) -> None:
    noise = np.random.default_rng(1).normal(0, 1, (12, 5000)) * level_mv
    page = printed(Ecg(noise.astype(np.float32), 500.0), layout("3x4+1R"), noise_mv=0.0)
    quality = assess(page, SCALE, layout("3x4+1R"))
    assert quality.verdict == "refused"
    assert "amplitude-too-small" in codes(quality)


def test_an_empty_recording_is_refused() -> None:
    nothing = np.empty((12, 0), np.float32)
    quality = assess(Recording(nothing, 500.0, nothing[:0]), SCALE, layout("12x1"))
    assert quality.verdict == "refused"
    json.dumps(quality.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "scale",
    [
        replace(SCALE, notices=(Notice("calibration-disagrees", "5 mm/mV and 10 mm/mV."),)),
        replace(SCALE, notices=(Notice("gain-unlike-format", "20 mm/mV instead of 10."),)),
        replace(SCALE, gain_sources=(ScaleSource("pulse", 20.0, 1.0),)),
    ],
)
def test_a_doubtful_scale_makes_a_page_doubtful(ecg: Ecg, scale: Calibration) -> None:
    page = printed(ecg, layout("12x1"))
    assert assess(page, SCALE, layout("12x1")).verdict == "good"
    quality = assess(page, scale, layout("12x1"))
    assert quality.verdict == "doubtful"
    assert len(quality.findings) == 1


def test_a_slow_wide_page_asks_for_the_paper_speed() -> None:
    ecg = synthetic_ecg(heart_rate_bpm=60, seconds=10)
    page = printed(ecg, layout("12x1"))
    boxes = tuple(replace(box, stop_s=3 * box.stop_s) for box in page.boxes)
    slow = assess(replace(page, boxes=boxes, fs_hz=page.fs_hz / 3), SCALE, layout("12x1"))
    assert codes(slow) & {"speed-implausible", "rate-implausible"}
    assert slow.measures["rate_bpm"] == pytest.approx(20, rel=0.05)


def test_beats_stand_at_the_r_peaks(ecg: Ecg) -> None:
    beats = find_beats(rows_of(printed(ecg, layout("3x4+1R"))))
    peaks_s = [s for s in ecg.r_peaks_s if 0.1 < s < 9.9]
    assert beats.at / 250 == pytest.approx(peaks_s, abs=0.02)


def test_an_assessment_can_be_written_as_json(ecg: Ecg) -> None:
    quality = assess(printed(ecg, layout("6x2+1R")), SCALE, layout("6x2+1R"))
    told = json.loads(json.dumps(quality.as_dict(), allow_nan=False))
    assert told["verdict"] == "good"
    assert told["measures"]["limb_left_over"] < 0.01
    residuals = {one["equation"]: one for one in told["measures"]["equations"]}
    assert residuals["I + III = II"]["rms_uv"] == pytest.approx(10 * np.sqrt(3) * 0.6, rel=0.5)


def test_few_real_pages_are_doubted(ptbxl: Callable[[int], Ecg]) -> None:
    pages = [printed(ptbxl(number), layout("6x2+1R"), seed=number) for number in range(60)]
    verdicts = [assess(page, SCALE, layout("6x2+1R")).verdict for page in pages]
    assert verdicts.count("good") >= 57
    wrong = [assess(swapped(p, "I", "II"), SCALE, layout("6x2+1R")).verdict for p in pages]
    assert wrong.count("good") <= 3

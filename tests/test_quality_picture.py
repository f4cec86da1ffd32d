"""The picture for a person to judge shows what was read, and nothing of the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecgvision.plugins import Format
from ecgvision.quality import Finding, judged
from ecgvision.quality.picture import qc_picture
from ecgvision.recording import Calibration, LeadCurve
from ecgvision.testing import Ecg, draw_page
from ecgvision.types import Layout

STRIP_PX = 44


def curves_of(ecg: Ecg, layout: Layout) -> list[LeadCurve]:
    found = []
    for one in layout.boxes:
        times_s, mv = ecg.window(one.lead, one.start_s, one.stop_s)
        x_mm = one.box.left_mm + (times_s - one.start_s) * layout.speed_mm_per_s
        y_mm = one.baseline_mm - mv.astype(np.float64) * layout.gain_mm_per_mv
        found.append(LeadCurve(one, x_mm, y_mm, "vector", 1.0))
    return found


def coloured(picture: np.ndarray) -> np.ndarray:
    low, high = picture.min(axis=2).astype(int), picture.max(axis=2).astype(int)
    return high - low > 60


def red(picture: np.ndarray) -> int:
    return int(np.sum((picture == (230, 0, 0)).all(axis=2)))


@pytest.fixture
def drawn(formats: dict[str, Format], ecg: Ecg, page_of):  # type: ignore[no-untyped-def]
    chosen = formats["ge-mac1200"]
    (layout,) = (one for one in chosen.layouts if one.name == "6x2")
    done = draw_page(layout, chosen.info, ecg, patient_text=("Name: NOBODY, AT ALL",) * 4)
    return page_of(done.pdf), done.layout


def test_curves_lie_on_the_page_and_gaps_are_red(drawn, ecg: Ecg) -> None:  # type: ignore[no-untyped-def]
    page, layout = drawn
    curves = curves_of(ecg, layout)
    whole = qc_picture(page, layout, curves, None, None)
    assert whole.shape[1:] == (1600, 3)
    assert whole.dtype == np.uint8
    bare = qc_picture(page, layout, [], None, None)
    dark = bare[STRIP_PX:].min(axis=2) < 180
    covered = coloured(whole[STRIP_PX:])[dark].mean()
    assert covered > 0.6  # lead names and bars are dark too
    assert red(whole) == 0
    y_mm = curves[3].y_mm.copy()
    y_mm[500:1500] = np.nan
    broken = [*curves[:3], replace(curves[3], y_mm=y_mm), *curves[4:]]
    gap = red(qc_picture(page, layout, broken, None, None))
    left_out = red(qc_picture(page, layout, broken[:-1], None, None))
    assert 0 < gap < left_out < red(bare)


def test_the_strip_has_the_colour_of_the_verdict(drawn) -> None:  # type: ignore[no-untyped-def]
    page, layout = drawn
    scale = Calibration(25.0, 10.0, "text", "pulse")
    findings = [Finding("flat-lead", "doubtful", "V3 shows no heart. " * 20, ("V3",))]
    colours = {
        verdict: tuple(int(v) for v in qc_picture(page, layout, [], quality, scale)[2, 2])
        for verdict, quality in (
            ("good", judged([], {})),
            ("doubtful", judged(findings, {})),
            ("refused", judged([replace(findings[0], severity="refused")] * 5, {})),
            ("none", None),
        )
    }
    assert len(set(colours.values())) == 4
    assert colours["good"][1] > colours["good"][0]
    assert colours["refused"][0] > colours["refused"][1]


def test_the_patient_is_not_shown(drawn) -> None:  # type: ignore[no-untyped-def]
    page, layout = drawn
    named = [word.box for word in page.texts if "NOBODY" in word.text]
    assert named
    # Boxes so high that the area takes in the header: what is written there must go.
    high = tuple(
        replace(one, box=one.box.grown(0, one.box.top_mm - 2)) if one.box.top_mm < 60 else one
        for one in layout.boxes
    )
    area_top = min(one.box.top_mm for one in high)
    assert area_top < min(box.top_mm for box in named)
    taller = replace(layout, boxes=high)
    picture = qc_picture(page, taller, [], None, None)[STRIP_PX:]
    left_mm = min(one.box.left_mm for one in high) - 2.0
    width_mm = max(one.box.right_mm for one in high) + 2.0 - left_mm
    px_per_mm = 1600 / width_mm
    for box in named:
        top, bottom = (
            round((y - max(0.0, area_top)) * px_per_mm) for y in (box.top_mm, box.bottom_mm)
        )
        left, right = (round((x - left_mm) * px_per_mm) for x in (box.left_mm, box.right_mm))
        part = picture[max(0, top) : bottom, max(0, left) : right]
        assert part.size
        assert (part.min(axis=2) < 200).mean() < 0.02

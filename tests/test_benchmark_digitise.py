"""The accuracy benchmark's own parts: its truth, its baseline, its table."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ecgvision.errors import NoMatchError
from ecgvision.plugins import Format
from ecgvision.recording import Recording
from ecgvision.testing import Ecg, as_png, draw_page
from ecgvision.types import LEADS, Box, Layout, LeadBox

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "digitise.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_digitise", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with pytest.MonkeyPatch.context() as patch:  # as a script it finds its parts beside it
        patch.syspath_prepend(SCRIPT.parent)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scores(bench: ModuleType) -> ModuleType:
    """The part with the truth, the baseline and the scores."""
    return sys.modules[bench.printed_truth.__module__]


@pytest.fixture
def job(bench: ModuleType) -> Any:
    """A page of PTB-XL's shape: 10 s at 250 Hz, a small slow sine in each of eight leads."""
    times_s = np.arange(2500) / 250
    eight = [100 * np.sin(2 * np.pi * (0.5 + 0.1 * lead) * times_s) for lead in range(8)]
    leads8_uv = np.rint(eight).astype(np.int16)
    return bench.Job(bench.Condition("png", "png"), "philips", 7, leads8_uv)


# --- truth ------------------------------------------------------------------------------------


def test_the_truth_is_what_the_page_shows(
    bench: ModuleType, layout_of: Callable[[str, str], Layout]
) -> None:
    # A ramp at 100 Hz: straight lines between its samples are the ramp itself.
    ramp = np.tile(np.arange(1000) / 100, (12, 1)).astype(np.float32)
    layout = layout_of("philips-tc30", "3x4+1R")
    truth = bench.printed_truth(Ecg(ramp, 100.0), layout)
    assert truth.shape == (12, 5000)
    times_s = np.arange(5000) / 500
    for lead, start_s, stop_s in (("I", 0, 2.5), ("V2", 5, 7.5), ("II", 0, 10), ("V6", 7.5, 10)):
        row = truth[LEADS.index(lead)]
        # The last sample drawn is 0.01 s before the end of the box: no line beyond it.
        shown = (times_s >= start_s) & (times_s <= stop_s - 0.01 + 1e-9)
        assert np.array_equal(np.isfinite(row), shown), lead
        assert row[shown] == pytest.approx(times_s[shown], abs=1e-5)


def test_a_short_record_leaves_the_rest_of_the_truth_empty(
    bench: ModuleType, layout_of: Callable[[str, str], Layout]
) -> None:
    ecg = Ecg(np.ones((12, 300), np.float32), 100.0)
    truth = bench.printed_truth(ecg, layout_of("ge-mac1200", "6x2"))
    assert np.isfinite(truth[0]).sum() == round(2.99 * 500) + 1
    assert np.isnan(truth[6]).all()


def test_estimates_are_fitted_to_the_page(bench: ModuleType) -> None:
    signal = np.ones((12, 4), np.float32)
    assert bench.fitted(signal, 2).shape == (12, 2)
    longer = bench.fitted(signal, 6)
    assert np.isfinite(longer).sum(axis=1).tolist() == [4] * 12
    assert np.isnan(longer[:, 4:]).all()


# --- baseline ---------------------------------------------------------------------------------


def test_column_means_of_a_drawn_line(scores: ModuleType) -> None:
    # 10 px/mm, lead I from 1 mm to 26 mm at 1 s for 25 mm, baseline 10 mm: 3 px of ink at 0.5 mV.
    lead_box = LeadBox("I", Box(1.0, 0.0, 26.0, 20.0), 0.0, 1.0)
    layout = Layout("one", (30.0, 20.0), (lead_box,))
    ink = np.full((200, 300), 255, np.uint8)
    ink[49:52, 10:260] = 0
    ink[:, 100:120] = 255
    signal = scores.column_means(ink, 10.0, layout)
    assert signal.shape == (12, 500)
    assert np.isnan(signal[1:]).all()
    read = np.isfinite(signal[0])
    assert read[2:498].all()  # the gap is bridged, the ends are not stretched
    assert signal[0][read] == pytest.approx(np.full(read.sum(), (10.0 - 5.05) / 10), abs=1e-9)


def test_column_means_average_what_stands_above_each_other(scores: ModuleType) -> None:
    lead_box = LeadBox("V1", Box(0.0, 0.0, 25.0, 20.0), 0.0, 1.0, name_mm=(2.0, 1.0))
    layout = Layout("one", (25.0, 20.0), (lead_box,))
    ink = np.full((200, 250), 255, np.uint8)
    ink[100, :] = 0
    ink[140, 200:] = 0
    ink[12:35, 22:50] = 0  # the lead's name, which must not count
    signal = scores.column_means(ink, 10.0, layout)[LEADS.index("V1")]
    assert signal[50] == pytest.approx(-0.005)
    assert signal[450] == pytest.approx(-0.205)


def test_a_box_without_ink_is_not_read(scores: ModuleType) -> None:
    lead_box = LeadBox("I", Box(0.0, 0.0, 25.0, 20.0), 0.0, 1.0)
    layout = Layout("one", (25.0, 20.0), (lead_box,))
    assert np.isnan(scores.column_means(np.full((200, 250), 255, np.uint8), 10.0, layout)).all()


def test_the_baseline_reads_an_easy_page_well(
    bench: ModuleType, job: Any, tmp_path: Path, formats: dict[str, Format]
) -> None:
    chosen = formats["philips-tc30"]
    ecg = Ecg.from_eight(job.leads8_uv, 250.0)
    drawn = draw_page(chosen.layouts[0], chosen.info, ecg)
    path = tmp_path / "page.png"
    path.write_bytes(as_png(drawn.pdf, dpi=200))
    truth = bench.printed_truth(ecg, drawn.layout)
    score = bench.page_score(job, bench.BASELINE, path, truth, bench.read_by_column_means)
    assert score.refused is None
    assert score.aligned_db > 25
    assert score.r > 0.99
    assert abs(score.gain_error) < 0.01


# --- scores and table -------------------------------------------------------------------------


def recording(signal_mv: np.ndarray) -> Recording:
    return Recording(
        signal_mv.astype(np.float32), 500.0, np.empty((0, signal_mv.shape[1]), np.float32)
    )


def test_a_recording_is_scored_and_a_refusal_is_a_result(bench: ModuleType, job: Any) -> None:
    truth = np.sin(np.arange(5000) / 20) * np.ones((12, 1))
    about = (job, bench.OURS, Path("page.png"), truth)
    score = bench.page_score(*about, lambda path, name: recording(0.9 * truth))
    assert (score.condition, score.format, score.page) == ("png", "philips", "7")
    assert score.raw_db == pytest.approx(20.0, abs=1e-3)
    assert score.gain_error == pytest.approx(-0.1, abs=1e-4)
    assert score.delay_ms == pytest.approx(0.0, abs=0.05)

    def refuse(path: Path, name: str) -> Recording:
        raise NoMatchError("format-not-found", path, 1, expected="a", found="b", hint="c")

    refused = bench.page_score(*about, refuse)
    assert (refused.refused, refused.aligned_db, refused.coverage) == ("format-not-found", 0.0, 0.0)
    assert bench.page_score(*about, lambda path, name: None).refused == "no-recording"

    def broken(path: Path, name: str) -> Recording:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.page_score(*about, broken)


def page_scores(bench: ModuleType) -> list[Any]:
    one = bench.PageScore("vector", "ge", "1", bench.OURS, 0.5, aligned_db=30.0, raw_db=25.0, r=0.9)
    scores = [replace(one, page=str(n), aligned_db=20.0 + n, rmse_uv=5.0) for n in range(9)]
    scores.append(replace(one, page="9", refused="too-small", aligned_db=0.0, r=math.nan))
    return scores + [replace(s, method=bench.BASELINE, aligned_db=4.0) for s in scores]


def test_refused_pages_count_as_zero_db_and_as_failures(bench: ModuleType) -> None:
    found = bench.grouped(page_scores(bench))
    assert list(found) == [
        ("vector", name, method) for name in ("ge", "all") for method in (bench.OURS, "column mean")
    ]
    told = found["vector", "ge", bench.OURS]
    assert (told["pages"], told["aligned_db"], told["aligned_db_min"]) == (10, 23.5, 0.0)
    assert told["failure_rate"] == pytest.approx(0.1)
    assert told["refused"] == {"too-small": 1}
    assert (told["r"], told["rmse_uv"]) == (0.9, 5.0)
    assert found["vector", "ge", bench.BASELINE]["failure_rate"] == 1.0


def test_the_interval_of_the_median(bench: ModuleType) -> None:
    assert bench.median_interval([[7.0]] * 5) == (7.0, 7.0, 7.0)
    values = np.random.default_rng(0).normal(20, 2, (400, 1))
    median, low, high = bench.median_interval(values)
    assert low < median < high
    # The median's standard error is 1.253 sigma / sqrt(n) for a normal distribution.
    assert high - low == pytest.approx(2 * 1.96 * 1.253 * 2 / 20, rel=0.35)
    # Four pages that say the same of a record are no more evidence than one.
    assert bench.median_interval(np.repeat(values, 4, axis=1)) == pytest.approx((median, low, high))
    assert bench.median_interval([[20.0], [-math.inf], [-math.inf]])[1] == -math.inf


def test_the_report_is_a_table_and_strict_json(bench: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "table.md"
    real = [
        {"set": "edan", "page": "a", "refused": None, "einthoven": 0.02},
        {"set": "edan", "page": "b", "refused": None, "einthoven": 0.2},
        {"set": "photos", "page": "c", "refused": "format-not-found"},
    ]
    text = bench.write_report(out, 10, page_scores(bench), real)
    lines = text.splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert lines[2].startswith("| vector | ge | 10 | 23.5 (")
    assert "| edan | 2 | 2 | Einthoven residual median 11.00 %" in text
    assert "under 10 % on 1 |" in text
    assert "| photos | 1 | 0 | refused: format-not-found 1 |" in text
    assert out.read_text(encoding="utf-8").endswith(f"<!-- tables -->\n\n{text}")

    def no_constant(name: str) -> None:
        raise AssertionError(name)

    told = json.loads(out.with_suffix(".json").read_text("utf-8"), parse_constant=no_constant)
    assert len(told["pages"]) == 20
    assert told["pages"][9]["r"] is None


def test_pages_come_from_fold_ten_and_only_picks(
    bench: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (data / "ptbxl" / "signals.npz").is_file():
        pytest.skip(f"no PTB-XL signals in {data}")
    monkeypatch.setattr(bench, "DATA", data)
    jobs = bench.jobs_of(2, ["scan", "0.24 pt/edan"])
    assert len(jobs) == 2 * (4 + 1)
    rows = (data / "ptbxl" / "labels.csv").read_text(encoding="utf-8").splitlines()[1:]
    folds = {int(row.split(",")[0]): row.split(",")[2] for row in rows}
    assert {folds[job.ecg_id] for job in jobs} == {"10"}
    assert [j.ecg_id for j in bench.jobs_of(2, ["scan"])][::4] == [j.ecg_id for j in jobs][::5]
    assert bench.jobs_of(0, []) == []

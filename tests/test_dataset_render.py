"""Records drawn as pages: what comes out is what conversion gives, the same for the same seed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ecgvision.cli import main
from ecgvision.dataset.drawing import DrawOptions, draw_record, printed_signals, whole_signals
from ecgvision.dataset.drawing_style import page_pdf, page_style
from ecgvision.dataset.images import network_image
from ecgvision.dataset.simulate import CohortOptions
from ecgvision.dataset.simulate_files import write_cohort
from ecgvision.dataset.splitting import Used, by_fold, split_dataset
from ecgvision.dataset.stats import statistics
from ecgvision.dataset.store import open_dataset
from ecgvision.errors import UsageError
from ecgvision.normalise import ImageOptions
from ecgvision.plugins import Format
from ecgvision.testing import Ecg, synthetic_ecg
from ecgvision.types import LEADS

FORMATS = ("ge-mac1200", "philips-tc30")
BOTH = "ge-mac1200,philips-tc30"


@pytest.fixture(scope="module")
def ten() -> Ecg:
    return synthetic_ecg(seed=5, fs_hz=250, seconds=10, noise_mv=0.005)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render") / "cohort"
    write_cohort(folder, CohortOptions(3, seed=1))
    return folder


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["dataset", "render", *map(str, arguments)])
    return done.exit_code, done.output


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(255.0 - a.ravel(), 255.0 - b.ravel())[0, 1])


# --- a page ---------------------------------------------------------------------------------------


def test_an_image_is_what_convert_makes_of_the_page(
    tmp_path: Path, ten: Ecg, formats: dict[str, Format]
) -> None:
    from ecgvision import convert

    options = DrawOptions(image_px=(256, 224), scan_share=0.0, signals="read")
    for name in FORMATS:
        (drawn,) = draw_record("r", ten, [name], options)
        style = page_style(formats[name], "r", ten.seconds, 0, 0.0)
        page = tmp_path / f"{name}.pdf"
        page.write_bytes(page_pdf(formats[name], ten, style))
        (result,) = convert(page, format=name, signals=True, fs_hz=200)
        assert drawn.image is not None
        assert drawn.image.shape == (256, 224)
        assert np.array_equal(drawn.image, network_image(result.image.pixels, 256, 224))
        assert result.recording is not None
        assert drawn.signal_mv is not None
        seen = result.recording.signal_mv
        assert np.array_equal(drawn.signal_mv[:, : seen.shape[1]], seen, equal_nan=True)


def test_the_same_seed_gives_the_same_page_and_another_another(ten: Ecg) -> None:
    options = DrawOptions(image_px=(96, 96), scan_share=0.0, direct=True)
    (first,), (again,) = (draw_record("r", ten, FORMATS[:1], options) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    styles = {
        (seed, record): page_style_of(seed, record) for seed in (0, 1) for record in ("r", "s")
    }
    assert len(set(styles.values())) == 4


def page_style_of(seed: int, record: str) -> object:
    from ecgvision.plugins import load_formats

    return page_style(load_formats().find("ge"), record, 10.0, seed, 0.5)


def test_styles_vary_as_much_as_is_said(formats: dict[str, Format]) -> None:
    chosen = formats["philips-tc30"]
    styles = [page_style(chosen, str(n), 11.0, 3, 0.3) for n in range(400)]
    assert {style.layout.name for style in styles} == {one.name for one in chosen.layouts}
    scans = sum(style.scan is not None for style in styles)
    assert abs(scans - 120) < 4 * np.sqrt(400 * 0.3 * 0.7)
    across = np.array([style.offset_mm for style in styles])
    assert np.abs(across).max() <= 2.0
    assert np.abs(across.mean(axis=0)).max() < 0.3
    assert all(style.grid is not None for style in styles)
    assert all(
        abs(a - b) <= 3
        for style in styles
        if style.grid is not None
        for a, b in zip(style.grid.major_rgb, chosen.info.grid_rgb[0], strict=True)
    )
    ge = [page_style(formats["ge-mac1200"], str(n), 10.0, 3, 0.3) for n in range(20)]
    assert all(style.grid is None for style in ge)


def test_layouts_that_a_record_cannot_fill_are_not_drawn(formats: dict[str, Format]) -> None:
    names = {
        page_style(formats["philips-tc30"], str(n), 10.0, 0, 0.0).layout.name for n in range(60)
    }
    assert names == {"3x4+1R", "3x4+1R-joined"}
    # A record too short for all of them is drawn in those that it fills most.
    short = page_style(formats["philips-tc30"], "x", 4.0, 0, 0.0)
    assert short.layout.name in names


@pytest.mark.parametrize("name", FORMATS)
def test_a_scan_looks_like_its_page(ten: Ecg, name: str) -> None:
    options = DrawOptions(image_px=(192, 192), scan_share=1.0)
    (scan,) = draw_record("scanned", ten, [name], options)
    (page,) = draw_record("scanned", ten, [name], replace(options, scan_share=0.0))
    assert scan.scan
    assert not page.scan
    assert scan.image is not None
    assert page.image is not None
    assert likeness(scan.image, page.image) > 0.85
    assert not np.array_equal(scan.image, page.image)


# --- the direct way -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_the_direct_way_gives_the_canonical_image_of_a_vector_page(ten: Ecg, name: str) -> None:
    options = DrawOptions(scan_share=0.0)
    for record in ("a", "b"):
        (page,) = draw_record(record, ten, [name], options)
        (direct,) = draw_record(record, ten, [name], replace(options, direct=True))
        assert page.image is not None
        assert direct.image is not None
        assert likeness(page.image, direct.image) > 0.995
        assert np.abs(page.image.astype(float) - direct.image).mean() < 0.2


@pytest.mark.parametrize("name", FORMATS)
def test_the_direct_way_is_near_to_published_images_and_scans(ten: Ecg, name: str) -> None:
    published = DrawOptions(ImageOptions(style="published-windows"), scan_share=0.0)
    scans = DrawOptions(scan_share=1.0)
    for options, least in ((published, 0.85), (scans, 0.85)):
        (page,) = draw_record("near", ten, [name], options)
        (direct,) = draw_record("near", ten, [name], replace(options, direct=True))
        assert page.image is not None
        assert direct.image is not None
        assert likeness(page.image, direct.image) > least
        ink = [float((255.0 - image).mean()) for image in (page.image, direct.image)]
        assert ink[1] == pytest.approx(ink[0], rel=0.25)


# --- signals --------------------------------------------------------------------------------------


def test_true_signals_are_the_records_where_the_page_prints_them(
    ten: Ecg, formats: dict[str, Format]
) -> None:
    (ge,) = formats["ge-mac1200"].layouts
    at_250 = printed_signals(ten, ge, 250.0, 2500)
    assert np.array_equal(at_250[:6, :1250], ten.signal_mv[:6, :1250])
    assert np.array_equal(at_250[6:, 1250:], ten.signal_mv[6:, 1250:])
    assert np.isnan(at_250[:6, 1250:]).all()
    assert np.isnan(at_250[6:, :1250]).all()
    joined = next(one for one in formats["philips-tc30"].layouts if one.name == "3x4+1R-joined")
    philips = printed_signals(ten, joined, 250.0, 2500)
    # The rhythm strip has all of II; V4 stands in the last column.
    assert np.array_equal(philips[1], ten.lead("II"))
    v4 = philips[LEADS.index("V4")]
    assert np.isnan(v4[:1875]).all()
    assert np.array_equal(v4[1875:], ten.lead("V4")[1875:])


def test_whole_signals_end_where_the_record_does(ten: Ecg) -> None:
    whole = whole_signals(ten, 125.0, 1500)
    assert np.array_equal(whole[:, :1250], ten.signal_mv[:, ::2])
    assert np.isnan(whole[:, 1250:]).all()
    assert np.array_equal(whole_signals(ten, 250.0, 700), ten.signal_mv[:, :700])


def test_read_signals_are_near_the_true_ones(ten: Ecg) -> None:
    options = DrawOptions(image_px=(64, 64), scan_share=0.0, signals="read", fs_hz=250.0)
    for name in FORMATS:
        (read,) = draw_record("r", ten, [name], options)
        (true,) = draw_record("r", ten, [name], replace(options, signals="true"))
        assert read.signal_mv is not None
        assert true.signal_mv is not None
        both = np.isfinite(read.signal_mv) & np.isfinite(true.signal_mv)
        assert both.mean() > 0.97 * np.isfinite(true.signal_mv).mean()
        assert np.abs(read.signal_mv - true.signal_mv)[both].mean() < 0.02


# --- a data set -----------------------------------------------------------------------------------


def test_a_cohort_is_drawn_each_in_its_own_format(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    code, told = run(
        cohort, "-o", out, "--image-px", 128, 96, "--signals", "true", "--fs", 100,
        "--scan-share", 0, "--workers", 1,
    )  # fmt: skip
    assert code == 0, told
    dataset = open_dataset(out, check=True)
    assert dataset.about.simulated
    assert dataset.images is not None
    assert dataset.signals is not None
    table = pd.read_csv(cohort / "labels.csv")
    assert dataset.rows["record"].tolist() == table["record"].tolist()
    assert dataset.rows["patient"].tolist() == table["patient"].tolist()
    assert dataset.rows["format"].tolist() == table["format"].tolist()
    assert dataset.rows["year"].tolist() == table["year"].tolist()
    assert dataset.rows["lvef_percent"].tolist() == table["lvef_percent"].tolist()
    assert dataset.images.shape == (len(table), 128, 96)
    assert dataset.signals.shape == (len(table), 12, 1000)
    # Ink in every image, in each half.
    assert all((image[:, half] < 128).any() for image in dataset.images for half in
               (slice(0, 48), slice(48, 96)))  # fmt: skip
    assert (out / "left-out.csv").read_text().count("\n") == 1
    roles = {name: column.role for name, column in dataset.about.columns.items()}
    assert roles["scar"] == roles["lvef_percent"] == "label"
    assert roles["age_years"] == roles["smoking"] == "clinical"


def test_further_drawings_begin_later_and_are_for_training_alone(
    cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    words = ("--format", BOTH, "--image-px", 64, 64, "--direct", "--workers", 1, "--fs", 100)
    code, told = run(cohort, "-o", out, *words, "--drawings", 2, "--signals", "whole")
    assert code == 0, told
    dataset = open_dataset(out)
    rows, count = dataset.rows, len(pd.read_csv(cohort / "labels.csv"))
    assert rows["drawing"].tolist() == [1, 1, 2, 2] * count
    assert rows["format"].tolist() == [*FORMATS, *FORMATS] * count
    assert dataset.images is not None
    assert dataset.signals is not None
    first, second = dataset.signals[0], dataset.signals[2]
    half = first.shape[1] // 2
    assert np.allclose(second[:, :half], first[:, half:], atol=1e-6)
    assert np.allclose(second[:, half:], first[:, :half], atol=1e-6)
    assert not np.array_equal(dataset.images[0], dataset.images[2])
    # The first drawing is what it is without others.
    assert run(cohort, "-o", tmp_path / "one", *words)[0] == 0
    one = open_dataset(tmp_path / "one")
    assert one.images is not None
    assert np.array_equal(one.images, dataset.images[(rows["drawing"] == 1).to_numpy(bool)])

    who = sorted(set(rows["patient"]))
    assert len(who) >= 2
    test = (rows["patient"] == who[-1]).to_numpy(bool)
    numbered = rows.assign(fold=np.where(test, 2, 1))
    folds: dict[Used, frozenset[int]] = {"train": frozenset({1}), "test": frozenset({2})}
    split = split_dataset(dataset, by_fold(numbered, folds)).rows
    again = (rows["drawing"] == 2).to_numpy(bool)
    assert set(split["split"][~test]) == {"train"}
    assert set(split["split"][test & ~again]) == {"test"}
    assert set(split["split"][test & again]) == {"excluded"}
    listed = pd.read_csv(out / "excluded.csv")
    assert listed["row"].tolist() == np.flatnonzero(test & again).tolist()
    assert set(listed["reason"]) == {"drawn-again"}
    lines = {line.variable: line for line in statistics(open_dataset(out)).lines}
    assert lines["ECGs"].cells["train"].count == (~test & ~again).sum()


def test_workers_and_order_change_nothing(cohort: Path, tmp_path: Path) -> None:
    parts = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        code, told = run(
            cohort, "-o", out, "--format", BOTH, "--image-px", 64, 64, "--direct",
            "--workers", workers, "--seed", 9,
        )  # fmt: skip
        assert code == 0, told
        parts.append(json.loads((out / "dataset.json").read_text())["sha256"])
    assert parts[0] == parts[1]


def test_what_cannot_be_read_is_listed_and_the_rest_is_drawn(tmp_path: Path, ten: Ecg) -> None:
    records = tmp_path / "records"
    records.mkdir()
    np.savez(records / "good.npz", signal_mv=ten.signal_mv, leads=np.array(LEADS), fs_hz=250)
    np.savez(records / "blank.npz", signal_mv=ten.signal_mv * np.nan, leads=LEADS, fs_hz=250)
    (records / "torn.npz").write_bytes(b"PK torn")
    out = tmp_path / "data"
    arguments = (records, "-o", out, "--format", "ge", "--image-px", 64, 64, "--scan-share", 0,
                 "--workers", 1)  # fmt: skip
    code, told = run(*arguments)
    assert code == 1
    dataset = open_dataset(out)
    assert dataset.rows["record"].tolist() == ["good"]
    assert dataset.rows["patient"].tolist() == ["good"]
    lines = (out / "left-out.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == ["blank-ge-mac1200", "torn"]
    assert "record-unreadable" in lines[1]
    assert "torn" in told
    assert "2 left out" in told
    assert not list(tmp_path.glob(".ecgvision-*"))
    assert run(*arguments)[0] == 1
    assert "output-exists" in run(*arguments)[1]


def test_no_page_at_all_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "torn.npz").write_bytes(b"PK torn")
    code, told = run(tmp_path / "records", "-o", tmp_path / "data", "--format", "ge")
    assert code == 1
    assert "render-failed" in told
    assert not (tmp_path / "data").exists()
    assert not list(tmp_path.glob(".ecgvision-*"))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--format", "nosuch"), "no format 'nosuch'"),
        (("--format", "ge", "--image-px", 8, 8), "--image-px"),
        (("--format", "ge", "--direct", "--signals", "read"), "--direct"),
        (("--format", "ge", "--fs", 1), "--fs"),
        (("--format", "ge", "--seconds", 0), "--seconds"),
        (("--format", "ge", "--lead-height", -1), "--lead-height"),
    ],
)
def test_wrong_usage(
    cohort: Path, tmp_path: Path, arguments: tuple[object, ...], found: str
) -> None:
    code, told = run(cohort, "-o", tmp_path / "data", *arguments)
    assert code == 2
    assert found in told


def test_without_labels_a_format_must_be_named(tmp_path: Path, ten: Ecg) -> None:
    np.savez(tmp_path / "a.npz", signal_mv=ten.signal_mv, leads=np.array(LEADS), fs_hz=250)
    code, told = run(tmp_path, "-o", tmp_path / "data")
    assert code == 2
    assert "--format" in told


def test_options_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="--scan-share"):
        DrawOptions(scan_share=1.5)
    with pytest.raises(UsageError, match="signals"):
        DrawOptions(signals="all")  # type: ignore[arg-type]

"""How well the signals read off a page agree with the ECG that was drawn on it.

Pages of every stock format are drawn from PTB-XL records of the official test fold, 10, as vector
PDFs, as images and as scans. Each goes through `ecgvision.convert` and through a column-mean tracer
that is given the same layout, and both are scored against what the page shows: the record's own
samples with straight lines between them. Seeds are fixed: the same command scores the same pages.

With `--real` come pages of real machines, scored by what is known of them without a truth. What
the scores are is told in docs/accuracy.md, how to run this in README.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ecgvision import convert
from ecgvision.errors import PageError
from ecgvision.evidence import upright
from ecgvision.media import open_report
from ecgvision.media.views import rendered
from ecgvision.metrics import (
    FAILED_BELOW_DB,
    aligned_snr_db,
    challenge_snr_db,
    coverage,
    delays_ms,
    einthoven_residual,
    failure_rate,
    gain_error,
    pearson_r,
    raw_snr_db,
    rmse_uv,
)
from ecgvision.plugins import load_formats
from ecgvision.recognition import choose_formats, recognise
from ecgvision.testing import DrawnPage, Ecg, as_png, draw_page, scanned
from ecgvision.types import LEADS, Layout, LeadBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.recording import Recording
    from ecgvision.types import Pixels

    Floats = NDArray[np.float64]

DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")
FORMATS = ("philips", "ge", "edan", "muse")  # the first layout of each
FS_HZ = 500.0
SEED = 20250101
OURS, BASELINE = "ecgvision", "column mean"
EINTHOVEN_TARGET = 0.10

# --- conditions -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """What is done to a drawn page: a vector PDF, a PNG of `dpi`, or a scan of `dpi`."""

    name: str
    kind: str
    snap_pt: float | None = None
    dpi: float = 200
    pen_mm: float = 0.3


CONDITIONS = (
    Condition("vector", "vector"),
    *(Condition(f"vector, {snap:g} pt", "vector", snap_pt=snap) for snap in (0.01, 0.12, 0.24)),
    *(
        Condition(f"png {dpi:g} dpi, pen {pen:g} mm", "png", dpi=dpi, pen_mm=pen)
        for dpi in (300, 200)
        for pen in (0.2, 0.3, 0.4)
    ),
    Condition("scan 200 dpi", "scan"),
)


@dataclass(frozen=True, eq=False)
class Job:
    """One page to draw and read: `leads8_uv` is (8, n) int16 of the PTB-XL record `ecg_id`."""

    condition: Condition
    format: str
    ecg_id: int
    leads8_uv: NDArray[np.int16]


def draw(job: Job) -> DrawnPage:
    chosen = load_formats().find(job.format)
    ecg = Ecg.from_eight(job.leads8_uv, 250.0)
    condition = job.condition
    return draw_page(
        chosen.layouts[0], chosen.info, ecg, pen_mm=condition.pen_mm, snap_pt=condition.snap_pt
    )


def as_file(drawn: DrawnPage, job: Job, folder: Path) -> Path:
    """The drawn page as its condition has it. A scan turns by up to 1 degree either way."""
    condition = job.condition
    if condition.kind == "vector":
        name, content = "page.pdf", drawn.pdf
    elif condition.kind == "png":
        name, content = "page.png", as_png(drawn.pdf, dpi=condition.dpi)
    else:
        seed = [SEED, job.ecg_id, FORMATS.index(job.format)]
        turn = np.random.default_rng(seed).uniform(-1, 1)
        name = "page.pdf"
        content = scanned(
            drawn.pdf,
            dpi=condition.dpi,
            rotation_deg=turn,
            blur_px=0.7,
            noise_sigma=6.0,
            jpeg_quality=80,
            seed=job.ecg_id,
        )
    path = folder / name
    path.write_bytes(content)
    return path


# --- truth and estimates ----------------------------------------------------------------------


def longest_boxes(layout: Layout) -> dict[str, LeadBox]:
    """The box of each lead that shows the most of it: its rhythm strip, where it has one."""
    boxes = sorted(layout.boxes, key=lambda b: b.stop_s - b.start_s)
    return {b.lead: b for b in boxes}


def sample_count(layout: Layout) -> int:
    return round(max(b.stop_s for b in layout.boxes) * FS_HZ)


def printed_truth(ecg: Ecg, layout: Layout) -> Floats:
    """(12, n) mV at `FS_HZ`: what the page shows, straight lines between the ECG's samples."""
    times_s = np.arange(sample_count(layout)) / FS_HZ
    truth = np.full((12, len(times_s)), np.nan)
    for lead, box in longest_boxes(layout).items():
        at_s, drawn_mv = ecg.window(lead, box.start_s, box.stop_s)
        if len(at_s):
            shown = (times_s >= at_s[0] - 1e-9) & (times_s <= at_s[-1] + 1e-9)
            truth[LEADS.index(lead), shown] = np.interp(times_s[shown], at_s, drawn_mv)
    return truth


def fitted(signal_mv: NDArray[Any], count: int) -> Floats:
    """(12, count): cut at the end, or NaN added there."""
    out = np.full((12, count), np.nan)
    kept = min(count, signal_mv.shape[1])
    out[:, :kept] = signal_mv[:, :kept]
    return out


def read_by_us(path: Path, format_name: str) -> Recording:
    (found,) = convert(path, format=format_name, signals=True, fs_hz=FS_HZ)
    recording: Recording = found.recording
    return recording


def column_means(ink: Pixels, px_per_mm: float, layout: Layout) -> Floats:
    """(12, n) mV: the mean dark row of every pixel column of a lead's box, nothing else.

    `ink` is (H, W), 0 ink and 255 paper. This is the tracer of classical tools: no path, no
    overlap between rows, no sub-pixel weights. The lead's printed name is wiped out first; columns
    without ink are bridged by a straight line.
    """
    dark = ink < 128
    for box in layout.boxes:
        if box.name_mm:
            left, top = (max(0, round((at - 0.5) * px_per_mm)) for at in box.name_mm)
            right = left + round((1 + 2.2 * len(box.lead)) * px_per_mm)
            dark[top : top + round(4 * px_per_mm), left:right] = False
    times_s = np.arange(sample_count(layout)) / FS_HZ
    signal = np.full((12, len(times_s)), np.nan)
    for lead, lead_box in longest_boxes(layout).items():
        at_s, found_mv = _column_means(dark, px_per_mm, lead_box, layout)
        if len(at_s):
            within = (times_s >= at_s[0]) & (times_s <= at_s[-1])
            signal[LEADS.index(lead), within] = np.interp(times_s[within], at_s, found_mv)
    return signal


def _column_means(
    dark: NDArray[np.bool_], px_per_mm: float, lead_box: LeadBox, layout: Layout
) -> tuple[Floats, Floats]:
    """Times in s and mV of the columns that have ink."""
    box = lead_box.box
    left, right = round(box.left_mm * px_per_mm), round(box.right_mm * px_per_mm)
    top, bottom = (max(0, round(at * px_per_mm)) for at in (box.top_mm, box.bottom_mm))
    area = dark[top:bottom, max(0, left) : right]
    count = area.sum(axis=0)
    inked = np.flatnonzero(count)
    rows = np.arange(area.shape[0]) + 0.5
    y_mm = (top + (rows @ area)[inked] / count[inked]) / px_per_mm
    x_mm = (max(0, left) + inked + 0.5) / px_per_mm
    at_s = lead_box.start_s + (x_mm - box.left_mm) / layout.speed_mm_per_s
    return at_s, (lead_box.baseline_mm - y_mm) / layout.gain_mm_per_mv


def read_by_column_means(path: Path, format_name: str) -> Floats:
    """The baseline, with the same layout, the same levelling and the same grid removal as ours."""
    with open_report(path) as report:
        page = rendered(report.page(1))
        found = recognise(page, choose_formats(format_name))
        level = upright(page, found.match)
        ink = found.format.remove_grid(level, found.match.layout)
        return column_means(ink, level.px_per_mm, found.match.layout)


# --- scores -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PageScore:
    """One page as one method read it. A refused page has its code in `refused` and 0 dB."""

    condition: str
    format: str
    page: str
    method: str
    seconds: float
    refused: str | None = None
    aligned_db: float = 0.0
    raw_db: float = 0.0
    challenge_db: float = 0.0
    r: float = math.nan
    rmse_uv: float = math.nan
    coverage: float = 0.0
    gain_error: float = math.nan
    delay_ms: float = math.nan


def scores_of(truth_mv: Floats, estimate_mv: Floats) -> dict[str, float]:
    """The figures of one page, by their names in `PageScore`."""
    delays = delays_ms(truth_mv, estimate_mv, FS_HZ)
    known = np.abs(delays[np.isfinite(delays)])
    return {
        "aligned_db": aligned_snr_db(truth_mv, estimate_mv, FS_HZ),
        "raw_db": raw_snr_db(truth_mv, estimate_mv),
        "challenge_db": challenge_snr_db(truth_mv, estimate_mv),
        "r": pearson_r(truth_mv, estimate_mv),
        "rmse_uv": rmse_uv(truth_mv, estimate_mv),
        "coverage": coverage(truth_mv, estimate_mv),
        "gain_error": gain_error(truth_mv, estimate_mv, FS_HZ),
        "delay_ms": float(np.median(known)) if len(known) else math.nan,
    }


def page_score(
    job: Job, method: str, path: Path, truth_mv: Floats, read: Callable[[Path, str], Any]
) -> PageScore:
    """`read` gives a `Recording` or (12, n) mV. A refusal is a result, any other error a bug."""
    about = (job.condition.name, job.format, str(job.ecg_id), method)
    start = time.perf_counter()
    try:
        found = read(path, job.format)
    except PageError as error:
        return PageScore(*about, time.perf_counter() - start, refused=error.code)
    took = time.perf_counter() - start
    if found is None:
        return PageScore(*about, took, refused="no-recording")
    signal = getattr(found, "signal_mv", found)
    return PageScore(*about, took, **scores_of(truth_mv, fitted(signal, truth_mv.shape[1])))


def run_job(job: Job) -> list[PageScore]:
    """Draw one page, read it both ways."""
    drawn = draw(job)
    truth = printed_truth(drawn.ecg, drawn.layout)
    with tempfile.TemporaryDirectory() as folder:
        path = as_file(drawn, job, Path(folder))
        return [
            page_score(job, OURS, path, truth, read_by_us),
            page_score(job, BASELINE, path, truth, read_by_column_means),
        ]


def fold10_records(count: int) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """`count` records of fold 10, drawn by chance: their ecg_id and (8, n) microvolt."""
    with (DATA / "ptbxl" / "labels.csv").open(encoding="utf-8") as file:
        labels = [(int(row["ecg_id"]), row["strat_fold"]) for row in csv.DictReader(file)]
    fold = [at for at, (_, name) in enumerate(labels) if name == "10"]
    chosen = np.random.default_rng(SEED).permutation(fold)[:count]
    with np.load(DATA / "ptbxl" / "signals.npz") as signals:
        steps_uv = signals["delta_uv"][chosen]
    for at, steps in zip(chosen, steps_uv, strict=True):
        yield labels[at][0], np.cumsum(steps, axis=1, dtype=np.int16)


def jobs_of(pages: int, only: Sequence[str]) -> list[Job]:
    """Every record under every condition and in every format that `only` names."""
    chosen = [
        (condition, name)
        for condition in CONDITIONS
        for name in FORMATS
        if not only or any(word in f"{condition.name}/{name}" for word in only)
    ]
    records = list(fold10_records(pages)) if pages and chosen else []
    return [Job(c, name, ecg_id, leads) for ecg_id, leads in records for c, name in chosen]


# --- pages of real machines -------------------------------------------------------------------

# Drawn from PTB-XL by others. What they drew was found by least squares from page and record, which
# then agree within a few microvolt: every fourth value of the record's mean over 5 samples, the
# fifth value of a column first. A column shows 2.48 s at 25 mm/s, then the next begins, 2.5 s into
# the record.
VECTOR_LAYOUT = """
[format]
id = "vector-study"

[[layout]]
name = "3x4+1R"
page_mm = [297.0, 210.0]
rows = [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]]
left_mm = 16.2
baselines_mm = [55.0, 95.0, 135.0]
column_s = 2.48
column_pitch_mm = 62.0
rhythm = ["II"]
rhythm_baselines_mm = [175.0]
pulse_mm = [8.5, 15.1]
"""
SHOWN_S, COLUMN_S = 2.48, 2.5


def csv_truth(path: Path, layout: Layout) -> Floats:
    """(12, n) mV on the page's time axis, from the 500 Hz record beside a page of `vector/`."""
    record = np.genfromtxt(path, delimiter=",", skip_header=1).T
    times_s = np.arange(sample_count(layout)) / FS_HZ
    truth = np.full((12, len(times_s)), np.nan)
    for lead, box in longest_boxes(layout).items():
        first = round(COLUMN_S * 500) * round(box.start_s / SHOWN_S)
        smooth = np.convolve(record[LEADS.index(lead)][first:], np.full(5, 0.2), "same")
        drawn_mv = smooth[4:-2:4]
        drawn_s = box.start_s + np.arange(len(drawn_mv)) * 4 / 500
        shown = (times_s >= box.start_s - 1e-9) & (times_s < box.stop_s - 1e-9)
        shown &= times_s <= drawn_s[-1] + 1e-9
        truth[LEADS.index(lead), shown] = np.interp(times_s[shown], drawn_s, drawn_mv)
    return truth


def outcome(path: Path, format_name: str, layout: Path | None = None) -> Any:
    """The first page's conversion with its recording, or the error it was refused with."""
    try:
        return convert(path, format=format_name, layout=layout, signals=True, fs_hz=FS_HZ)[0]
    except PageError as error:
        return error


def real_pages() -> list[dict[str, Any]]:
    """A row per page: set, page, and what was found. Sets that are not there are left out."""
    rows = []
    for path in sorted((DATA / "edan").glob("*.jpg")):
        found = outcome(path, "edan")
        told: dict[str, Any] = {"refused": getattr(found, "code", None)}
        if not isinstance(found, PageError):
            told["einthoven"] = einthoven_residual(found.recording.signal_mv, FS_HZ)
        rows.append({"set": "edan", "page": path.stem, **told})
    for path in sorted((DATA / "muse").glob("*.pdf")):
        found = outcome(path, "muse")
        told = {"refused": getattr(found, "code", None)}
        if not isinstance(found, PageError):
            told["einthoven"] = einthoven_residual(found.recording.signal_mv, FS_HZ)
            told["lattice"] = found.recording.lattice and asdict(found.recording.lattice)
        rows.append({"set": "muse", "page": path.stem, **told})
    rows += vector_pages()
    for name in ("photos", "scans"):
        for path in sorted((DATA / name).glob("*.[jp]*g")):
            found = outcome(path, "auto")
            refused = getattr(found, "code", None)
            rows.append({"set": name, "page": path.stem, "refused": refused})
    return rows


def vector_pages() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        layout = Path(folder) / "vector.toml"
        layout.write_text(VECTOR_LAYOUT, encoding="utf-8")
        for path in sorted((DATA / "vector").glob("*.pdf")):
            found = outcome(path, "custom", layout)
            told: dict[str, Any] = {"refused": getattr(found, "code", None)}
            if not isinstance(found, PageError):
                truth = csv_truth(path.with_suffix(".csv"), found.match.layout)
                told |= scores_of(truth, fitted(found.recording.signal_mv, truth.shape[1]))
            yield {"set": "vector", "page": path.stem, **told}


# --- report -----------------------------------------------------------------------------------


def median_interval(records: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The median of all values and its 95 % interval, from 2,000 bootstrapped sets of records.

    `records` holds each record's values, as many for each: pages of one record go together.
    """
    values = np.asarray(records, dtype=np.float64)
    rng = np.random.default_rng(SEED)
    drawn = values[rng.integers(0, len(values), (2000, len(values)))].reshape(2000, -1)
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975), method="nearest")
    return float(np.median(values)), float(low), float(high)


def summary(pages: Sequence[PageScore]) -> dict[str, Any]:
    """The figures of one group of pages. Refused pages count as 0 dB, and not in r or RMSE."""
    aligned = [p.aligned_db for p in pages]
    by_record: dict[str, list[float]] = defaultdict(list)
    for page in pages:
        by_record[page.page].append(page.aligned_db)
    median, low, high = median_interval(list(by_record.values()))
    told = {
        name: _median(getattr(p, name) for p in pages)
        for name in ("raw_db", "challenge_db", "r", "rmse_uv", "gain_error", "delay_ms", "seconds")
    }
    return {
        "pages": len(pages),
        "aligned_db": median,
        "aligned_db_95": [low, high],
        "aligned_db_p5": float(np.quantile(aligned, 0.05, method="nearest")),
        "aligned_db_min": min(aligned),
        **told,
        "coverage": float(np.mean([p.coverage for p in pages])),
        "failure_rate": failure_rate([None if p.refused else p.aligned_db for p in pages]),
        "refused": dict(Counter(p.refused for p in pages if p.refused)),
    }


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def grouped(scores: Iterable[PageScore]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Summaries by (condition, format, method); "all" is every format together."""
    groups: dict[tuple[str, str, str], list[PageScore]] = defaultdict(list)
    for score in scores:
        groups[score.condition, score.format, score.method].append(score)
        groups[score.condition, "all", score.method].append(score)
    order = {c.name: at for at, c in enumerate(CONDITIONS)}
    keys = sorted(groups, key=lambda k: (order[k[0]], (*FORMATS, "all").index(k[1]), k[2] != OURS))
    return {key: summary(groups[key]) for key in keys}


HEAD = (
    "condition", "format", "pages", "aligned SNR, dB (95 %)", "5 % of pages under", "least",
    "raw SNR, dB", "challenge, dB", "r", "RMSE, µV", "gain", "time, ms", "read", "failed",
    "s a page", "column mean, dB (95 %)", "its 5 %", "its RMSE, µV", "its failed",
)  # fmt: skip


def markdown(found: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """One row per condition and format: ours, then the column mean on the same pages."""
    lines = [_line(HEAD), _line(["---"] * 2 + ["---:"] * (len(HEAD) - 2))]
    for (condition, name, method), ours in found.items():
        base = found.get((condition, name, BASELINE))
        if method != OURS or base is None:
            continue
        cells = [
            condition,
            name,
            ours["pages"],
            _with_interval(ours),
            f"{ours['aligned_db_p5']:.1f}",
            f"{ours['aligned_db_min']:.1f}",
            f"{ours['raw_db']:.1f}",
            f"{ours['challenge_db']:.1f}",
            f"{ours['r']:.4f}",
            f"{ours['rmse_uv']:.1f}",
            f"{100 * ours['gain_error']:+.2f} %",
            f"{ours['delay_ms']:.2f}",
            f"{100 * ours['coverage']:.2f} %",
            f"{100 * ours['failure_rate']:.1f} %",
            f"{ours['seconds']:.2f}",
            _with_interval(base),
            f"{base['aligned_db_p5']:.1f}",
            f"{base['rmse_uv']:.1f}",
            f"{100 * base['failure_rate']:.1f} %",
        ]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _with_interval(told: dict[str, Any]) -> str:
    low, high = told["aligned_db_95"]
    return f"{told['aligned_db']:.1f} ({low:.1f} to {high:.1f})"


def real_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A line per set of real pages."""
    by_set: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_set[row["set"]].append(row)
    lines = [_line(("set", "pages", "converted", "what was found")), _line(["---"] * 4)]
    for name, pages in by_set.items():
        kept = [row for row in pages if not row["refused"]]
        codes = Counter(row["refused"] for row in pages if row["refused"])
        told = [_found_on(name, kept)] if kept else []
        told += [f"refused: {', '.join(f'{code} {n}' for code, n in codes.items())}"] * bool(codes)
        lines.append(_line((name, len(pages), len(kept), "; ".join(filter(None, told)))))
    return "\n".join(lines) + "\n"


def _found_on(name: str, pages: Sequence[dict[str, Any]]) -> str:
    if name == "edan":
        residuals = [row["einthoven"] for row in pages]
        good = sum(value < EINTHOVEN_TARGET for value in residuals)
        return (
            f"Einthoven residual median {100 * _median(residuals):.2f} % of the leads' power, "
            f"greatest {100 * max(residuals):.1f} %, under {100 * EINTHOVEN_TARGET:g} % on {good}"
        )
    if name == "muse":
        lattice = pages[0]["lattice"]
        return "no lattice" if lattice is None else ", ".join(
            f"{key} {value:.4g}" for key, value in lattice.items() if value is not None
        )  # fmt: skip
    if name == "vector":
        least, raw = (min(row[key] for row in pages) for key in ("aligned_db", "raw_db"))
        worst = max(row["rmse_uv"] for row in pages)
        snr = f"aligned from {least:.1f} dB, raw from {raw:.1f} dB"
        return f"against the record: {snr}, RMSE to {worst:.1f} µV"
    return ""


def finite(value: Any) -> Any:
    """Floats to four decimals and no NaN or infinity, which JSON has no words for."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def write_report(
    out: Path, pages: int, scores: Sequence[PageScore], real: Sequence[dict[str, Any]]
) -> str:
    """Markdown to `out` and JSON beside it; gives the Markdown's tables."""
    found = grouped(scores)
    tables = [markdown(found)] if found else []
    tables += [real_markdown(real)] if real else []
    text = "\n".join(tables)
    # No page of its own in the documentation: docs/accuracy.md takes in what follows the mark.
    out.write_text(f"---\norphan: true\n---\n\n<!-- tables -->\n\n{text}", encoding="utf-8")
    told = {
        "pages_per_format": pages,
        "seed": SEED,
        "fs_hz": FS_HZ,
        "failed_below_db": FAILED_BELOW_DB,
        "groups": [
            {"condition": c, "format": f, "method": m, **one} for (c, f, m), one in found.items()
        ],
        "pages": [asdict(score) for score in scores],
        "real": list(real),
    }
    content = json.dumps(finite(told), indent=1, allow_nan=False)
    out.with_suffix(".json").write_text(content + "\n", encoding="utf-8")
    return text


def _one_thread() -> None:
    cv2.setNumThreads(1)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--pages", type=int, default=25, help="records; 0 for none (default 25)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help='only what has this in "condition/format": scan, png 300, /ge; may be repeated',
    )
    parser.add_argument("--real", action="store_true", help="pages of real machines as well")
    parser.add_argument(
        "--out", type=Path, default=Path("accuracy_table.md"), help="Markdown; JSON goes beside it"
    )
    return parser


def main() -> int:
    given = arguments().parse_args()
    if not (DATA / "ptbxl" / "signals.npz").is_file():
        print(f"No PTB-XL signals in {DATA}: set ECGVISION_DATA to their folder.", file=sys.stderr)
        return 2
    jobs = jobs_of(given.pages, given.only)
    print(f"Reading {len(jobs)} pages in {given.workers} processes ...", flush=True)
    with ProcessPoolExecutor(given.workers, initializer=_one_thread) as pool:
        scores = [score for both in pool.map(run_job, jobs, chunksize=4) for score in both]
    real = real_pages() if given.real else []
    print(write_report(given.out, given.pages, scores, real))
    return 0


if __name__ == "__main__":
    sys.exit(main())

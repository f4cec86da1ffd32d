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
from digitise_real import real_markdown, real_pages
from digitise_scores import (
    DATA,
    FS_HZ,
    fitted,
    median_known,
    printed_truth,
    read_by_column_means,
    read_by_us,
    scores_of,
    table_line,
)

from ecgvision.errors import PageError
from ecgvision.metrics import FAILED_BELOW_DB, failure_rate
from ecgvision.plugins import load_formats
from ecgvision.testing import DrawnPage, Ecg, as_png, draw_page, scanned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FORMATS = ("philips", "ge", "edan", "muse")  # the first layout of each
SEED = 20250101
OURS, BASELINE = "ecgvision", "column mean"

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


def page_score(
    job: Job, method: str, path: Path, truth_mv: Floats, read: Callable[[Path, str], Any]
) -> PageScore:
    """`read` gives a `Recording` or (12, n) mV. A refusal is a result, any other error a bug."""
    about = (job.condition.name, job.format, str(job.ecg_id), method)
    start = time.process_time()
    try:
        found = read(path, job.format)
    except PageError as error:
        return PageScore(*about, time.process_time() - start, refused=error.code)
    took = time.process_time() - start
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
        name: median_known(getattr(p, name) for p in pages)
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
    lines = [table_line(HEAD), table_line(["---"] * 2 + ["---:"] * (len(HEAD) - 2))]
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
        lines.append(table_line(cells))
    return "\n".join(lines) + "\n"


def _with_interval(told: dict[str, Any]) -> str:
    low, high = told["aligned_db_95"]
    return f"{told['aligned_db']:.1f} ({low:.1f} to {high:.1f})"


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

"""Pages of real machines, scored by what is known of them without a truth.

A part of `digitise.py`, the accuracy benchmark.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from digitise_scores import (
    DATA,
    FS_HZ,
    fitted,
    longest_boxes,
    median_known,
    sample_count,
    scores_of,
    table_line,
)

from ecgvision import convert
from ecgvision.errors import PageError
from ecgvision.metrics import einthoven_residual
from ecgvision.types import LEADS, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EINTHOVEN_TARGET = 0.10
VECTOR_LAYOUT = Path(__file__).with_name("vector_study.toml")
# Drawn from PTB-XL by others. What they drew was found by least squares from page and record, which
# then agree within a few microvolt: every fourth value of the record's mean over 5 samples, the
# fifth value of a column first. A column shows 2.48 s at 25 mm/s, then the next begins, 2.5 s into
# the record.
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
    for path in sorted((DATA / "vector").glob("*.pdf")):
        found = outcome(path, "custom", VECTOR_LAYOUT)
        told: dict[str, Any] = {"refused": getattr(found, "code", None)}
        if not isinstance(found, PageError):
            truth = csv_truth(path.with_suffix(".csv"), found.match.layout)
            told |= scores_of(truth, fitted(found.recording.signal_mv, truth.shape[1]))
        yield {"set": "vector", "page": path.stem, **told}


def real_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A line per set of real pages."""
    by_set: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_set[row["set"]].append(row)
    lines = [table_line(("set", "pages", "converted", "what was found")), table_line(["---"] * 4)]
    for name, pages in by_set.items():
        kept = [row for row in pages if not row["refused"]]
        codes = Counter(row["refused"] for row in pages if row["refused"])
        told = [_found_on(name, kept)] if kept else []
        told += [f"refused: {', '.join(f'{code} {n}' for code, n in codes.items())}"] * bool(codes)
        lines.append(table_line((name, len(pages), len(kept), "; ".join(filter(None, told)))))
    return "\n".join(lines) + "\n"


def _found_on(name: str, pages: Sequence[dict[str, Any]]) -> str:
    if name == "edan":
        residuals = [row["einthoven"] for row in pages]
        good = sum(value < EINTHOVEN_TARGET for value in residuals)
        return (
            f"Einthoven residual median {100 * median_known(residuals):.2f} % of the leads' power, "
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

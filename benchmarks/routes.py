"""What a route costs: fold 10 of PTB-XL as vector PDFs and scans, converted and answered.

Each record of the test half is drawn as a vector PDF of both published formats and as a scan of the
gridded one. `ecgvision convert` and `ecgvision predict` read them as they would anybody's files;
the AUC of each route is that of the answers, with refused pages counted apart. See README.md.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from ecgvision.dataset.drawing_labels import read_labelled
from ecgvision.dataset.drawing_style import page_pdf, page_style
from ecgvision.dataset.records import open_records
from ecgvision.evaluation.auc import auc, delong
from ecgvision.plugins import load_formats
from ecgvision.predicting.model import DEFAULT

DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")
TEST_FOLD = 10
# A name, the format, and the share of scans.
ROUTES = (
    ("ge-vector", "ge-mac1200", 0.0),
    ("philips-vector", "philips-tc30", 0.0),
    ("philips-scan", "philips-tc30", 1.0),
)
MARK = "<!-- figures -->"
SEED = 7  # another one than the training pages had

TASKS = ("mi", "sttc", "cd", "hyp")
DRAWS = 1000


def command(*words: str | Path) -> None:
    """Run `ecgvision` with these words; 1 says that pages were refused, which is counted."""
    called = [sys.executable, "-m", "ecgvision", *map(str, words)]
    print("$ ecgvision", *called[3:], flush=True)
    code = subprocess.run(called, check=False).returncode
    if code > 1:
        sys.exit(code)


def drawn(record: str, folder: Path) -> None:
    records = open_records(f"ptbxl:{DATA / 'ptbxl'}")
    formats = load_formats()
    ecg = records.read(record)
    for route, format_id, scan_share in ROUTES:
        chosen = formats.find(format_id)
        style = page_style(chosen, record, ecg.seconds, SEED, scan_share)
        path = folder / route / f"{record}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page_pdf(chosen, ecg, style))


def draw_all(records: list[str], folder: Path, workers: int) -> None:
    missing = [one for one in records if not (folder / ROUTES[-1][0] / f"{one}.pdf").is_file()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(drawn, missing, [folder] * len(missing), chunksize=8))


def predicted(path: Path) -> dict[str, dict[str, float]]:
    """Probabilities by record and task."""
    found: dict[str, dict[str, float]] = {}
    with (path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            record = Path(row["source"]).stem
            found.setdefault(record, {})[row["task"]] = float(row["probability"])
    return found


def table(
    routes: dict[str, dict[str, dict[str, float]]], truth: dict[str, dict[str, float]], count: int
) -> str:
    """AUC of each route over the pages that all routes answer, and the difference to the first."""
    common = sorted(set.intersection(*(set(found) for found in routes.values())))
    rng = np.random.default_rng(1)
    draws = [rng.integers(len(common), size=len(common)) for _ in range(DRAWS)]
    labels = {task: np.array([truth[one][task] for one in common]) for task in TASKS}
    scores = {
        (route, task): np.array([found[one][task] for one in common])
        for route, found in routes.items()
        for task in TASKS
    }

    def macro(route: str, chosen: np.ndarray) -> float:
        return float(np.mean([auc(labels[t][chosen], scores[route, t][chosen]) for t in TASKS]))

    everything = np.arange(len(common))
    spread = {route: np.array([macro(route, one) for one in draws]) for route in routes}
    first = next(iter(routes))
    lines = [
        f"{count} records; {len(common)} answered on all routes, on which the figures are.",
        "",
        f"| route | answered | {' | '.join(TASKS)} | macro | macro less {first} |",
        f"|---|---|{'---|' * (len(TASKS) + 2)}",
    ]
    for route, found in routes.items():
        cells = []
        for task in TASKS:
            one = delong(labels[task], scores[route, task])
            cells.append(f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})")
        for values, value in (
            (spread[route], macro(route, everything)),
            (spread[route] - spread[first], macro(route, everything) - macro(first, everything)),
        ):
            low, high = np.percentile(values, [2.5, 97.5])
            cells.append(f"{value:.3f} ({low:.3f} to {high:.3f})")
        lines.append(f"| {route} | {len(found)} | {' | '.join(cells)} |")
    lines += ["", *differences(routes, common)]
    return "\n".join(lines) + "\n"


def differences(routes: dict[str, dict[str, dict[str, float]]], common: list[str]) -> list[str]:
    """How far the same record's probabilities lie apart between two routes."""
    first, *others = routes
    lines = []
    for other in others:
        cells = []
        for task in TASKS:
            apart = [abs(routes[first][one][task] - routes[other][one][task]) for one in common]
            cells.append(f"{task} {np.mean(apart):.3f}")
        lines.append(
            f"Mean absolute difference of probability, {first} and {other}: {', '.join(cells)}.  "
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/routes"), help="for everything")
    parser.add_argument(
        "--model", action="append", metavar="ID", help="id, or a model.toml; repeatable"
    )
    parser.add_argument("--every", type=int, default=1, help="one record in so many")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help=f"page whose part after {MARK} to replace")
    asked = parser.parse_args()
    if not (DATA / "ptbxl" / "signals.npz").is_file():
        print(f"No PTB-XL in {DATA}: set ECGVISION_DATA to its folder.", file=sys.stderr)
        return 2
    labelled = read_labelled(open_records(f"ptbxl:{DATA / 'ptbxl'}"), None, None)
    truth = {
        record: {task: float(entry.values[task] or 0) for task in TASKS}
        for record, entry in labelled.entries.items()
        if entry.keys["fold"] == TEST_FOLD
    }
    records = list(truth)[:: asked.every]
    draw_all(records, asked.work / "pages", asked.workers)
    for route, *_ in ROUTES:
        command("convert", asked.work / "pages" / route, "-o", asked.work / "converted" / route,
                "--format", "auto", "--signals", "npz",
                "--workers", str(asked.workers))  # fmt: skip
    texts = []
    for model in asked.model or [DEFAULT]:
        routes = {}
        for route, *_ in ROUTES:
            out = asked.work / Path(model).stem / route
            command("predict", asked.work / "converted" / route, "--model", model, "-o", out,
                    "--force")  # fmt: skip
            routes[route] = predicted(out)
        texts.append(f"### {model}\n\n{table(routes, truth, len(records))}")
    text = "\n".join(texts)
    print(text)
    if asked.out is not None:
        before, mark, _ = asked.out.read_text(encoding="utf-8").partition(MARK)
        asked.out.write_text(f"{before}{mark}\n\n{text}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

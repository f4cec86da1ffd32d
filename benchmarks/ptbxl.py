"""The study's table on real labels: every paradigm on PTB-XL, trained and evaluated by commands.

Draws the records as pages of both published formats, trains each recipe on folds 1 to 8, and
evaluates all of them on fold 10, as `ecgvision` does for anyone. What is there already is kept, so
that a run that was stopped goes on. See README.md.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")
TASKS = ("mi", "sttc", "cd", "hyp")
# In this order, as some start from others.
RECIPES = {
    # Normalised pages of both formats, each record drawn four times for training.
    "pages": (
        "ptbxl-multi",
        "ptbxl-mi",
        "ptbxl-multi-ge",
        "ptbxl-multi-transferred",
        "ptbxl-multi-philips",
        "ptbxl-compact",
        "ptbxl-multi-clinical",
        "ptbxl-xgboost",
        "ptbxl-majority",
    ),
    # Signals read off vector pages, by way of the whole conversion.
    "digitised": ("ptbxl-beats-digitised", "ptbxl-signal-digitised"),
    # The records' own 10 s.
    "whole": ("ptbxl-signal-true",),
}
# For a GPU: with --only.
LARGE = {"pages": ("ptbxl-resnet34d",)}
BOTH = ("--format", "ge-mac1200,philips-tc30", "--seed", "1")
DRAWN = {
    "pages": (*BOTH, "--direct", "--image-px", "384", "384", "--drawings", "4"),
    "digitised": (*BOTH, "--image-px", "384", "384", "--scan-share", "0", "--signals", "read"),
    "whole": (
        *("--format", "ge-mac1200", "--direct", "--image-px", "32", "32"),
        *("--signals", "whole", "--fs", "100"),
    ),
}
MARK = "<!-- figures -->"


def command(*words: str | Path, fine: Sequence[int] = (0,)) -> None:
    """Run `ecgvision` with these words; exit codes other than `fine` end the benchmark."""
    called = [sys.executable, "-m", "ecgvision", *map(str, words)]
    print("$ ecgvision", *called[3:], flush=True)
    code = subprocess.run(called, check=False).returncode
    if code not in fine:
        sys.exit(code)


def thinned(source: Path, folder: Path, every: int) -> Path:
    """PTB-XL with one record in `every`: a trial that takes minutes."""
    if every == 1:
        return source
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(source / "signals.npz") as file:
        np.savez(folder / "signals.npz", delta_uv=file["delta_uv"][::every])
    with (source / "labels.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows[::every]])
    return folder


def drawn(source: Path, out: Path, words: Sequence[str]) -> Path:
    """A data set of the records, split by their folds."""
    if not (out / "dataset.json").exists():
        # 1: pages that the conversion refused are left out, and listed.
        command("dataset", "render", f"ptbxl:{source}", "-o", out, *words, fine=(0, 1))
        folds = ("--by", "fold", "--train", "1-8", "--validation", "9", "--test", "10")
        command("dataset", "split", out, *folds)
    return out


def trained(recipes: Sequence[str], data: Path, asked: argparse.Namespace) -> list[Path]:
    found = []
    for recipe in recipes:
        settings = [word for one in asked.set for word in ("--set", one)]
        command("train", recipe, "--data", data, "-o", asked.work / "runs" / recipe, *settings)
        found.append(asked.work / "runs" / recipe)
    return found


def figures(report: Path) -> Iterator[dict[str, str]]:
    with (report / "metrics.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            # The same figure stands there with its bootstrap interval, too.
            if row["metric"] == "auc" and not row["method"].startswith("bootstrap"):
                yield row


def table(reports: Sequence[Path]) -> str:
    """AUC with its interval: a line for each model and format, and the mean over the tasks."""
    cells: dict[tuple[str, str], dict[str, tuple[float, str]]] = {}
    for report in reports:
        for row in figures(report):
            if row["value"]:
                value = float(row["value"])
                told = f"{value:.3f}"
                if row["low"]:
                    told += f" ({float(row['low']):.3f} to {float(row['high']):.3f})"
                cells.setdefault((row["model"], row["rows"]), {})[row["task"]] = value, told
    lines = [f"| model | pages | {' | '.join(TASKS)} | mean |", f"|---|---|{'---|' * 5}"]
    for (model, rows), found in cells.items():
        values = [found[task][0] for task in TASKS if task in found]
        shown = [found[task][1] if task in found else "" for task in TASKS]
        mean = f"{np.mean(values):.3f}" if len(values) == len(TASKS) else ""
        lines.append(f"| {model} | {rows} | {' | '.join(shown)} | {mean} |")
    return "\n".join(lines) + "\n"


def given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/ptbxl"), help="for everything")
    parser.add_argument("--only", action="append", default=[], metavar="RECIPE", help="repeatable")
    parser.add_argument("--train-only", action="store_true", help="leave the evaluation out")
    parser.add_argument("--every", type=int, default=1, help="one record in so many: a trial")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as train")
    parser.add_argument("--out", type=Path, help=f"page whose part after {MARK} to replace")
    return parser.parse_args()


def main() -> int:
    asked = given()
    source = DATA / "ptbxl"
    if not (source / "signals.npz").is_file():
        print(f"No PTB-XL in {source}: set ECGVISION_DATA to its folder.", file=sys.stderr)
        return 2
    work = asked.work
    source = thinned(source, work / "records", asked.every)
    reports = []
    for name, recipes in RECIPES.items():
        if asked.only:
            large = LARGE.get(name, ())
            recipes = tuple(one for one in (*recipes, *large) if one in asked.only)
            if not recipes:
                continue
        data = drawn(source, work / name, DRAWN[name])
        runs = trained(recipes, data, asked)
        if not asked.train_only:
            reports.append(work / f"report-{name}")
            command("evaluate", *runs, "--data", data, "-o", reports[-1], "--force")
    if asked.train_only:
        return 0
    text = table(reports)
    print(text)
    if asked.out is not None:
        before, mark, _ = asked.out.read_text(encoding="utf-8").partition(MARK)
        asked.out.write_text(f"{before}{mark}\n\n{text}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Figures of an evaluation into a model's `model.toml` and card: what is said there is measured.

    python benchmarks/card.py REPORT ptbxl-multi zoo/ptbxl-compact --test-set TEXT --command TEXT

REPORT is the folder that `ecgvision evaluate` wrote, the second argument the model's name in it.
Metrics, operating points and temperatures of `model.toml` are replaced, and the part of the card
after its mark; `calibration.png` is drawn beside it.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomlkit
from matplotlib.figure import Figure

from ecgvision.predicting.model import probability
from ecgvision.web.cohort import COHORT, cohort_bytes

MARK = "<!-- figures -->"
PLOT = "calibration.png"
_CALIBRATED = (
    "Calibration on the test rows: what was predicted and how often it was so, in tenths of the "
    "pages, with"
)
METRICS = ("auc", "average_precision", "brier")
DEFAULT = 0.9  # of the study's operating points


def rows_of(report: Path, name: str, model: str) -> Iterator[dict[str, str]]:
    with (report / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.DictReader(file) if row["model"] == model)


def as_format(rows: str) -> str:
    return "" if rows == "all" else rows


def metrics(report: Path, model: str, test_set: str, how: str) -> list[dict[str, Any]]:
    """One of each name, task and format: the first method that gives an interval."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows_of(report, "metrics", model):
        key = (row["task"], row["metric"], row["rows"])
        if row["metric"] not in METRICS or key in found or not row["low"]:
            continue
        found[key] = {
            "task": row["task"],
            "name": row["metric"],
            **{name: round(float(row[name]), 4) for name in ("value", "low", "high")},
            "interval": row["method"],
            "test_set": test_set,
            "examples": int(row["n"]),
            "positives": int(row["positive"]),
            "format": as_format(row["rows"]),
            "command": how,
        }
    return list(found.values())


def temperatures(report: Path, model: str) -> dict[str, float]:
    return {
        row["task"]: float(row["temperature"])
        for row in rows_of(report, "calibration", model)
        if row["rows"] == "all" and row["scaled"] != "as given"
    }


def operating(report: Path, model: str) -> Iterator[dict[str, str]]:
    """The operating points that were chosen on validation, of all formats together."""
    for row in rows_of(report, "operating", model):
        if row["rows"] == "all" and row["chosen_on"] == "validation":
            yield row


def thresholds(
    report: Path, model: str, by_task: dict[str, float], validation: str
) -> list[dict[str, Any]]:
    found = []
    for row in operating(report, model):
        target = float(row["target_sensitivity"])
        log_odds = float(row["threshold"]) / by_task[row["task"]]
        found.append(
            {
                "task": row["task"],
                "name": f"sensitivity {target * 100:.0f} %",
                "threshold": round(1 / (1 + math.exp(-log_odds)), 4),
                "sensitivity": round(float(row["sensitivity"]), 4),
                "specificity": round(float(row["specificity"]), 4),
                "chosen_on": validation,
                "default": target == DEFAULT,
            }
        )
    return found


def card_part(report: Path, model: str) -> str:
    """The tables of the card: AUC by format and group, operating points."""
    lines = headed("task", "pages", "AUC (95 % interval)", "average precision", "Brier")
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one in metrics(report, model, "-", "-"):
        told = f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        cells.setdefault((one["task"], one["format"] or "all"), {})[one["name"]] = told
    for (task, rows), found in cells.items():
        lines.append(line(task, rows, *(found.get(name, "") for name in METRICS)))
    lines += [
        "",
        f"![How often each task was there, by the tenth of its predicted probability]({PLOT})",
        "",
        _CALIBRATED,
        "95 % intervals after Wilson; after the temperature that was fitted on validation.",
    ]
    lines += ["", *headed("task", "chosen on validation for", "sensitivity", "specificity", "PPV")]
    for row in operating(report, model):
        shown = (interval(row, name) for name in ("sensitivity", "specificity", "ppv"))
        lines.append(line(row["task"], f"{float(row['target_sensitivity']):.0%}", *shown))
    lines += ["", *headed("task", "group", "n", "positive", "AUC")]
    for row in rows_of(report, "groups", model):
        told = row["note"] or interval(row, "auc", ".3f")
        group = f"{row['group']}: {row['value']}"
        lines.append(line(row["task"], group, row["n"], row["positive"], told))
    return "\n".join(lines) + "\n"


def calibration_plot(report: Path, model: str, path: Path) -> None:
    """Predicted and observed shares of each task, as they are after scaling."""
    rows = [r for r in rows_of(report, "calibration", model) if r["rows"] == "all"]
    scaled = [row for row in rows if row["scaled"] != "as given"]
    tasks = list(dict.fromkeys(row["task"] for row in scaled))
    figure = Figure(figsize=(3.0 * len(tasks), 3.2), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        points = [row for row in scaled if row["task"] == task]
        names = ("predicted", "observed", "low", "high")
        x, y, low, high = (np.array([float(row[name]) for row in points]) for name in names)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        axes.errorbar(x, y, [y - low, high - y], fmt="o-", color="#1f5a96", markersize=4, capsize=2)
        axes.set(title=task, xlim=(0, 1), ylim=(0, 1), xlabel="predicted", ylabel="observed")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def headed(*cells: str) -> list[str]:
    return [line(*cells), line(*["---"] * len(cells))]


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def interval(row: dict[str, str], name: str, digits: str = ".2f") -> str:
    values = (f"{float(row[key]):{digits}}" for key in (name, f"{name}_low", f"{name}_high"))
    return "{} ({} to {})".format(*values)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("model")
    parser.add_argument("home", type=Path, help="the model's folder in zoo/")
    parser.add_argument("--test-set", required=True)
    parser.add_argument("--validation-set", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--run", type=Path, help="the model's run: its cohort.json is written, too")
    parser.add_argument("--data", type=Path, help="the data set, for --run")
    asked = parser.parse_args()
    by_task = temperatures(asked.report, asked.model)
    path = asked.home / "model.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    told = {
        "metrics": metrics(asked.report, asked.model, asked.test_set, asked.command),
        "thresholds": thresholds(asked.report, asked.model, by_task, asked.validation_set),
        "calibration": [
            {"task": task, "temperature": round(value, 4), "fitted_on": asked.validation_set}
            for task, value in by_task.items()
        ],
    }
    for key, tables in told.items():
        array = tomlkit.aot()
        for table in tables:
            array.append(tomlkit.item(table))
        document[key] = array
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    if asked.run is not None:
        written = cohort(asked.run, asked.data, asked.test_set, by_task)
        (asked.home / COHORT).write_bytes(written)
    calibration_plot(asked.report, asked.model, asked.home / PLOT)
    card = asked.home / "README.md"
    before, mark, _ = card.read_text(encoding="utf-8").partition(MARK)
    card.write_text(f"{before}{mark}\n\n{card_part(asked.report, asked.model)}", encoding="utf-8")


def cohort(run: Path, data: Path, test_set: str, by_task: dict[str, float]) -> bytes:
    """Percentiles of the calibrated probabilities of the test rows."""
    scores = pd.read_parquet(run / "predictions.parquet").set_index("row")
    rows = pd.read_parquet(data / "rows.parquet")
    test = scores[(rows["split"] == "test").to_numpy(bool)[scores.index]]
    return cohort_bytes(
        test_set,
        {
            task: probability(test[f"score.{task}"].to_numpy(float), temperature)
            for task, temperature in by_task.items()
        },
    )


if __name__ == "__main__":
    main()

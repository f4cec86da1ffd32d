"""Times a model's answer: from a PDF, cold and warm, and the network alone.

Cold is a new process that loads the model, converts one page with its signals and answers, as
`ecgvision predict` does; warm is the second page and those after it in one process; the network
alone is one image at a time. The baseline is the same model by torch, in the same run, turn and
turn about: what the answer costs whoever has no ONNX file. Of all repeats the fastest counts, for
what else the machine does only ever adds to it; the median stands beside it. See README.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np

from ecgvision.conversion import convert
from ecgvision.plugins import load_formats
from ecgvision.predicting.model import DEFAULT, ZooModel, load_model
from ecgvision.testing import draw_page, scanned, synthetic_ecg

FORMATS = ("philips-tc30", "ge-mac1200")
TARGETS = {"cold": 1.5, "warm": 0.25, "network": 0.060}
COLD = """
import sys
from ecgvision import convert, load_model
model = load_model(sys.argv[1], backend=sys.argv[2])
page = convert(sys.argv[3], options=model.image_options, signals=True)[0]
assert model.answer(page).tasks
"""


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of so many times."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def drawn(folder: Path) -> dict[str, Path]:
    """A page of each format as vector PDF, and the first as a scan."""
    ecg = synthetic_ecg(seed=3, noise_mv=0.01, seconds=12)
    pages: dict[str, bytes] = {}
    for name in FORMATS:
        one = load_formats().find(name)
        pages[f"{name}, vector"] = draw_page(one.layouts[0], one.info, ecg).pdf
    pages[f"{FORMATS[0]}, scan"] = scanned(pages[f"{FORMATS[0]}, vector"], dpi=300)
    paths = {}
    for kind, content in pages.items():
        paths[kind] = folder / f"{kind.replace(', ', '-')}.pdf"
        paths[kind].write_bytes(content)
    return paths


def cold(name: str, backend: str, page: Path) -> Callable[[], object]:
    def run() -> object:
        words = [sys.executable, "-c", COLD, name, backend, str(page)]
        return subprocess.run(words, check=True)

    return run


def warm(model: ZooModel, page: Path) -> Callable[[], object]:
    def run() -> object:
        (found,) = convert(page, options=model.image_options, signals=True)
        return model.answer(found)

    return run


def measured(name: str, folder: Path, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by what was timed and by who computed."""
    backends = ["auto", *(["torch"] if find_spec("torch") else [])]
    models = {backend: load_model(name, backend=backend) for backend in backends}  # type: ignore[arg-type]
    image = np.full((1, *next(iter(models.values())).image_px), 255, np.uint8)
    image[0, ::7] = 0
    works: dict[str, dict[str, Callable[[], object]]] = {}
    for kind, page in drawn(folder).items():
        works[f"cold, {kind}"] = {b: cold(name, b, page) for b in backends}
        works[f"warm, {kind}"] = {b: warm(models[b], page) for b in backends}
    works["network"] = {b: lambda m=models[b]: m.logits(image) for b in backends}  # type: ignore[misc]
    found: dict[str, dict[str, list[float]]] = {}
    for what, by_backend in works.items():
        times = 10 * repeats if what == "network" else repeats
        for work in by_backend.values():  # what is compiled or read for the first time
            work()
        found[what] = {b: [] for b in backends}
        for _ in range(times):
            for backend, work in by_backend.items():
                found[what][backend] += timed(work, 1)
    return found


@click.command()
@click.option("--model", "name", default=DEFAULT, show_default=True, help="ID or model.toml.")
@click.option("--repeats", default=5, show_default=True, help="Times that each is done.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the times there.")
def main(name: str, repeats: int, json_path: Path | None) -> None:
    """Time a model's answer, and compare it with torch's."""
    model = load_model(name)
    print(
        f"{model.entry.id}, {model.weights}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = measured(name, Path(folder), repeats)
    print(f"{'':<30}{'fastest s':>10}{'median s':>10}{'target s':>10}{'torch s':>10}{'times':>8}")
    for what, by_backend in found.items():
        ours, theirs = by_backend["auto"], by_backend.get("torch")
        target = TARGETS[what.split(",")[0]]
        row = f"{what:<30}{min(ours):>10.3f}{statistics.median(ours):>10.3f}{target:>10.3f}"
        if theirs:
            row += f"{min(theirs):>10.3f}{min(theirs) / min(ours):>8.1f}"
        print(row + ("" if min(ours) <= target else "   over the target"))
    if json_path:
        json_path.write_text(json.dumps({"model": name, "seconds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()

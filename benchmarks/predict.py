"""Times a model's answer: from a PDF, cold and warm, and the network alone.

Cold is the command `ecgvision predict` for one page, from its start to its end; warm is the second
page and those after it in one process; the network alone is one image at a time. The baseline is
the same model by torch, in the same run, turn and turn about: what the answer costs whoever has no
ONNX file. Of all repeats the fastest counts, for what else the machine does only ever adds to it;
beside it stand the median and the processor time, which other work hardly touches. See README.md.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import as_command  # noqa: F401, before numpy is loaded
import click
import numpy as np

from ecgvision.conversion import convert_each
from ecgvision.errors import PageError
from ecgvision.plugins import load_formats
from ecgvision.predicting.model import DEFAULT, ZooModel, load_model
from ecgvision.recognition import AUTO, choose_formats
from ecgvision.testing import draw_page, scanned, synthetic_ecg

FORMATS = ("philips-tc30", "ge-mac1200")
TARGETS = {"cold": 1.5, "warm": 0.25, "network": 0.060}


@dataclass(frozen=True)
class Times:
    """Seconds by the clock, and of processors, of each repeat."""

    elapsed: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, work: Callable[[], object]) -> None:
        before, started = processor_s(), time.perf_counter()
        work()
        self.elapsed.append(time.perf_counter() - started)
        self.processor.append(processor_s() - before)


def processor_s() -> float:
    """Of this process and of those it has started that are over."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


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
        words = [sys.executable, "-m", "ecgvision", "predict", str(page), "--model", name]
        words += ["--backend", backend, "-o", str(page.with_suffix("")), "--force"]
        return subprocess.run(words, check=True, capture_output=True)

    return run


def warm(model: ZooModel, page: Path) -> Callable[[], object]:
    formats = choose_formats(AUTO)  # once for all pages, as the command does

    def run() -> object:
        (found,) = convert_each(page, formats, model.page_options)
        if isinstance(found, PageError):
            raise found
        return model.answer(found)

    return run


def works_of(
    name: str, folder: Path, backends: list[str]
) -> dict[str, dict[str, Callable[[], object]]]:
    """What is timed, by what it is and by who computes."""
    models = {one: load_model(name, backend=one) for one in backends}  # type: ignore[arg-type]
    image = np.full((1, *models["auto"].image_px), 255, np.uint8)
    image[0, ::7] = 0

    def network(model: ZooModel) -> Callable[[], object]:
        return lambda: model.logits(image)

    found: dict[str, dict[str, Callable[[], object]]] = {}
    for kind, page in drawn(folder).items():
        found[f"cold, {kind}"] = {one: cold(name, one, page) for one in backends}
        found[f"warm, {kind}"] = {one: warm(models[one], page) for one in backends}
    found["network"] = {one: network(models[one]) for one in backends}
    return found


def row(what: str, times: dict[str, Times]) -> str:
    ours, theirs = times["auto"], times.get("torch")
    fastest, target = min(ours.elapsed), TARGETS[what.split(",")[0]]
    told = f"{what:<30}{fastest:>10.3f}{statistics.median(ours.elapsed):>10.3f}"
    told += f"{min(ours.processor):>10.3f}{target:>10.3f}"
    if theirs:
        torch_s = min(theirs.elapsed)
        told += f"{torch_s:>10.3f}{torch_s / fastest:>8.1f}"
    return told + ("" if fastest <= target else "   over the target")


@click.command()
@click.option("--model", "name", default=DEFAULT, show_default=True, help="ID or model.toml.")
@click.option("--repeats", default=5, show_default=True, help="Times that each is done.")
@click.option("--baseline/--no-baseline", default=True, help="Time torch as well.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the times there.")
def main(name: str, repeats: int, baseline: bool, json_path: Path | None) -> None:
    """Time a model's answer, and compare it with torch's."""
    model = load_model(name)
    load = os.getloadavg()[0]
    print(f"{model.entry.id}, {model.weights}, {os.cpu_count()} cores, load {load:.1f}")
    heads = ("fastest s", "median s", "cpu s", "target s", "torch s")
    print(f"{'':<30}{''.join(f'{head:>10}' for head in heads)}{'times':>8}", flush=True)
    backends = ["auto", "torch"] if baseline and find_spec("torch") else ["auto"]
    found: dict[str, dict[str, Times]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for what, works in works_of(name, Path(folder), backends).items():
            found[what] = {one: Times() for one in backends}
            for work in works.values():  # what is compiled or read for the first time
                work()
            for _ in range(10 * repeats if what == "network" else repeats):
                for one, work in works.items():
                    found[what][one].add(work)
            print(row(what, found[what]), flush=True)
    if json_path:
        told = {what: {k: asdict(t) for k, t in each.items()} for what, each in found.items()}
        json_path.write_text(json.dumps({"model": name, "seconds": told}, indent=2) + "\n")


if __name__ == "__main__":
    main()

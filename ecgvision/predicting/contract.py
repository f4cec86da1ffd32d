"""The contract every model passes.

A model's test is three lines::

    from ecgvision.testing import ModelContract


    class TestAcme(ModelContract):
        model_id = "acme"

It says that the model loads, answers the same way however it is asked, and comes with all that a
reader needs. How good its answers are it cannot say.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgvision.conversion import convert
from ecgvision.plugins import load_formats
from ecgvision.predicting.model import ZooModel, load_model
from ecgvision.testing.draw import draw_page
from ecgvision.testing.synthetic import Ecg, synthetic_ecg
from ecgvision.zoo.catalogue import CARD, Model, find_model
from ecgvision.zoo.files import verify_bundled

MOST_BATCH_DIFFERENCE = 1e-4
"""By how much a logit may depend on the other images that are asked about with it."""

_RESEARCH = "Research software, not a medical device."
_SAFETENSORS_HEAD = struct.Struct("<Q")
# Files that run code when they are loaded.
_PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npy"}


class ModelContract:
    """Subclass it with `model_id` set, an id or the path of a `model.toml`, and pytest checks it.

    `most_machine_difference` is the mean absolute difference of a task's probability between two
    drawings of one recording, as pages of two formats that the model has seen.
    """

    model_id: ClassVar[str] = ""
    most_machine_difference: ClassVar[float] = 0.03

    @classmethod
    def recordings(cls) -> Iterable[Ecg]:
        """What is drawn in all formats; synthetic ones unless you have better."""
        for seed in range(6):
            yield synthetic_ecg(seed=seed, heart_rate_bpm=55.0 + 12 * seed, noise_mv=0.01)

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls) -> Model:
        """The model's facts."""
        assert cls.model_id, "set model_id to the id of the model to check"
        return find_model(cls.model_id)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, found: Model) -> ZooModel:
        """The model, loaded as `predict` loads it."""
        return load_model(found.path)

    # --- its files ----------------------------------------------------------------------------

    def test_its_files_are_those_of_its_model_toml(self, found: Model) -> None:
        if not found.bundled:
            pytest.skip(f"{found.entry.id} is on the Hub: `models verify` checks it there")
        wrong = [f"{one.file.name}: {one.problem}" for one in verify_bundled(found) if one.problem]
        assert not wrong, "; ".join(wrong)

    def test_nothing_is_pickled(self, found: Model) -> None:
        there = [path.name for path in found.path.parent.iterdir() if path.suffix in _PICKLES]
        assert not there, f"files that may run code lie beside model.toml: {', '.join(there)}"
        for file in found.entry.files:
            path = found.beside(file)
            if path is not None and file.role == "weights":
                _check_safetensors(path)
            elif path is not None and file.role in ("onnx", "onnx-int8"):
                assert path.read_bytes()[:1] == b"\x08", f"{file.name} is no ONNX file"

    def test_its_weights_load_strictly(self, found: Model) -> None:
        if find_spec("torch") is None:
            pytest.skip("torch is not installed: pip install 'ecgvision[train]'")
        model = load_model(found.path, backend="torch")  # no tensor is missing or left over
        assert all(np.isfinite(one).all() for one in model.logits(_pages(model)).values())

    # --- its answers --------------------------------------------------------------------------

    def test_it_answers_twice_the_same(self, found: Model, model: ZooModel) -> None:
        pages = _pages(model)
        first = model.logits(pages)
        for again in (model.logits(pages), load_model(found.path).logits(pages)):
            for name, logits in first.items():
                assert np.array_equal(logits, again[name]), f"task {name}: two answers"

    def test_its_probabilities_are_some(self, model: ZooModel) -> None:
        found = model.probabilities(_pages(model))
        assert list(found) == [task.name for task in model.entry.tasks]
        for name, chances in found.items():
            fine = np.isfinite(chances).all() and (chances >= 0).all() and (chances <= 1).all()
            assert fine, f"task {name}: {chances}"

    def test_it_looks_at_the_page(self, model: ZooModel) -> None:
        for name, logits in model.logits(_pages(model)).items():
            assert np.ptp(logits) > 0, f"task {name}: the same answer whatever the page shows"

    def test_the_size_of_the_batch_does_not_matter(self, model: ZooModel) -> None:
        pages = _pages(model)
        together = model.logits(pages)
        alone = [model.logits(page[None]) for page in pages]
        for name, logits in together.items():
            each = np.concatenate([one[name] for one in alone])
            most = float(np.abs(each - logits).max())
            assert most <= MOST_BATCH_DIFFERENCE, f"task {name}: logits differ by {most:.2g}"

    def test_the_machine_does_not_matter(self, model: ZooModel) -> None:
        seen = [one for one in load_formats().formats if one.info.id in model.entry.formats]
        if len(seen) < 2:
            pytest.skip("it was trained on one format, or the others are not installed")
        chances: dict[str, list[NDArray[np.float64]]] = {}
        with TemporaryDirectory() as folder:
            for ecg in self.recordings():
                given = []
                for one in seen:
                    path = Path(folder) / "page.pdf"
                    path.write_bytes(draw_page(one.layouts[0], one.info, ecg).pdf)
                    how = model.page_options
                    (page,) = convert(
                        path, format=one.info.id, options=how.image, signals=how.signals
                    )
                    given.append(model.prepared(page.image, page.recording))
                for name, found in model.probabilities(np.stack(given)).items():
                    chances.setdefault(name, []).append(found)
        for name, rows in chances.items():
            table = np.stack(rows)
            for a, b in combinations(range(len(seen)), 2):
                apart = float(np.abs(table[:, a] - table[:, b]).mean())
                where = f"task {name}, {seen[a].info.id} and {seen[b].info.id}"
                assert apart < self.most_machine_difference, (
                    f"{where}: probabilities of one recording differ by {apart:.3f} on average"
                )

    # --- what is said of it -------------------------------------------------------------------

    def test_its_card_says_what_it_is_not(self, found: Model) -> None:
        assert found.card is not None, f"there is no {CARD} beside model.toml"
        text = " ".join(found.card.read_text(encoding="utf-8").split())
        assert _RESEARCH in text, f"{CARD} does not say: {_RESEARCH}"
        if found.entry.simulated:
            assert "simulated" in text.lower(), f"{CARD} does not say that data were simulated"

    def test_its_model_toml_is_complete(self, found: Model) -> None:
        entry = found.entry
        assert entry.formats, "formats: it does not say which pages it was trained on"
        assert entry.datasets or entry.simulated, "datasets: it does not say where they are from"
        told = entry.signal if entry.input == "signal" else entry.image
        assert told is not None, f"{entry.input}: it does not say which {entry.input}s it takes"
        for task in entry.tasks:
            metrics = [one for one in entry.metrics if one.task == task.name]
            assert metrics, f"metrics: task {task.name} has none"
            points = [one for one in entry.thresholds if one.task == task.name]
            fine = len(points) == 1 or sum(one.default for one in points) == 1
            assert fine, f"thresholds: task {task.name} needs one, or a default"
            fitted = [one for one in entry.calibration if one.task == task.name]
            assert fitted, f"calibration: task {task.name} has none"


def _pages(model: ZooModel) -> NDArray[Any]:
    """Eight that differ, as the model takes them."""
    return _signals(model) if model.config.is_signal else _images(model)


def _signals(model: ZooModel) -> NDArray[np.float32]:
    """Nothing printed, a flat line, and six of waves and noise, partly not printed."""
    due = model.config.signal
    signals = np.full((8, len(due.leads), due.samples), np.nan, np.float32)
    signals[1] = 0
    rng = np.random.default_rng(0)
    time_s = np.arange(due.samples) / due.fs_hz
    for number, page in enumerate(signals[2:], start=1):
        page[:] = np.sin(2 * np.pi * number * time_s) + rng.normal(0, 0.1, page.shape)
        page[: number * 2, : due.samples // 2] = np.nan
    return signals


def _images(model: ZooModel) -> NDArray[np.uint8]:
    """Empty, full, and six with lines that differ."""
    height, width = model.image_px
    pages = np.full((8, height, width), 255, np.uint8)
    pages[1] = 0
    rng = np.random.default_rng(0)
    for number, page in enumerate(pages[2:], start=1):
        rows = height / 2 + height / 3 * np.sin(np.arange(width) * number / 9)
        page[rows.astype(int), np.arange(width)] = 0
        page[rng.random(page.shape) < 0.01 * number] = 0
    return pages


def _check_safetensors(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(_SAFETENSORS_HEAD.size)
        (size,) = _SAFETENSORS_HEAD.unpack(head)
        assert 0 < size < path.stat().st_size, f"{path.name} is no safetensors file"
        assert isinstance(json.loads(file.read(size)), dict), f"{path.name} is no safetensors file"


__all__ = ("MOST_BATCH_DIFFERENCE", "ModelContract")

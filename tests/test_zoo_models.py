"""Models that plugins bring, the contract of all models, and the weights that come with us."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from zoo_data import tiny_zoo

from ecgvision.cli import main
from ecgvision.dataset.drawing_labels import read_labelled
from ecgvision.dataset.records import open_records
from ecgvision.errors import UsageError
from ecgvision.hookspecs import hookimpl
from ecgvision.plugins import build_formats
from ecgvision.predicting.model import DEFAULT
from ecgvision.testing import Ecg, ModelContract
from ecgvision.zoo.catalogue import catalogue, find_model, installed_models
from tests.conftest import DATA

TEST_FOLD = 10  # which the model was not trained on
LARGEST_BYTES, ALL_BYTES, WHEEL_BYTES = 16_000_000, 25_000_000, 12_000_000
METRICS = [
    {
        "task": task,
        "name": "auc",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "interval": "DeLong",
        "test_set": "none",
        "examples": 10,
        "command": "none",
    }
    for task in ("mi", "cd")
]
POINTS = [
    {"task": task, "name": "Youden", "threshold": 0.5, "chosen_on": "none"} for task in ("mi", "cd")
]
FITTED = [{"task": task, "temperature": 2.0, "fitted_on": "none"} for task in ("mi", "cd")]
WHOLE = {
    "metrics": METRICS,
    "thresholds": POINTS,
    "calibration": FITTED,
    "datasets": ["none"],
}


def bringing(*paths: object) -> SimpleNamespace:
    @hookimpl
    def ecgvision_models() -> Iterable[object]:
        return paths

    return SimpleNamespace(ecgvision_models=ecgvision_models)


# --- plugins ----------------------------------------------------------------------------------


def test_a_plugin_s_models_are_found_by_id(tmp_path: Path) -> None:
    path = tiny_zoo(tmp_path)
    plugin = ("acme-models", bringing(path))
    assert installed_models([plugin]).models["tiny"].path == path
    assert find_model("tiny", [plugin]).entry.title == "A tiny network"
    with pytest.raises(UsageError, match="no model is called 'tiny'"):
        find_model("tiny")
    # It brings no format, and is not broken for that.
    assert build_formats([plugin]).broken == ()
    assert build_formats([plugin]).formats == ()


def test_a_broken_plugin_costs_only_itself(tmp_path: Path) -> None:
    good, cardless = tiny_zoo(tmp_path), tiny_zoo(tmp_path, "cardless")
    (cardless.parent / "README.md").unlink()
    torn = tmp_path / "torn.toml"
    torn.write_text("id = ")

    @hookimpl
    def raising() -> None:
        raise RuntimeError("no licence")

    installed = installed_models(
        [
            ("good", bringing(good)),
            ("twice", bringing(good)),
            ("taken", bringing(catalogue()["scar-lvef"].path)),
            ("cardless", bringing(cardless)),
            ("torn", bringing(torn)),
            ("lost", bringing(tmp_path / "none.toml")),
            ("number", bringing(7)),
            ("text", SimpleNamespace(ecgvision_models=hookimpl(lambda: str(good)))),
            ("raising", SimpleNamespace(ecgvision_models=raising)),
            ("misspelt", SimpleNamespace(ecgvision_model=hookimpl(lambda: [good]))),
        ]
    )
    assert set(installed.models) == {*catalogue(), "tiny"}
    told = {one.name: one.reason for one in installed.broken}
    assert set(told) == {
        *("twice", "taken", "cardless", "torn", "lost", "number", "text", "raising", "misspelt")
    }
    assert "there is a model tiny already" in told["twice"]
    assert "expected a card" in told["cardless"]
    assert "no licence" in told["raising"]
    assert "several paths" in told["text"]


def test_a_broken_plugin_is_named_where_models_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecgvision import plugins

    found = ([("acme", bringing(tiny_zoo(tmp_path))), ("sad", bringing("none"))], [])
    monkeypatch.setattr(plugins, "_installed", lambda: found)
    done = CliRunner().invoke(main, ["models", "list", "--all"])
    assert done.exit_code == 0
    assert "warning: plugin sad is broken" in done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("tiny "))
    assert "in the package" in line
    assert "no weights" in done.stdout


# --- the contract -----------------------------------------------------------------------------


@pytest.fixture(scope="class")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    request.cls.model_id = str(tiny_zoo(tmp_path_factory.mktemp("zoo"), **WHOLE))


@pytest.mark.usefixtures("made")
class TestTiny(ModelContract):
    # It has learnt nothing, this least of all.
    most_machine_difference: ClassVar[float] = 0.3

    @classmethod
    def recordings(cls) -> Iterable[Ecg]:
        return list(super().recordings())[:2]


def test_the_contract_sees_what_is_wrong(tmp_path: Path) -> None:
    contract = ModelContract()
    bare = find_model(str(tiny_zoo(tmp_path, "bare")))
    with pytest.raises(AssertionError, match="datasets"):
        contract.test_its_model_toml_is_complete(bare)
    (bare.path.parent / "README.md").write_text("# A fine device\n")
    with pytest.raises(AssertionError, match="does not say"):
        contract.test_its_card_says_what_it_is_not(bare)
    (bare.path.parent / "old.pkl").write_bytes(b"")
    with pytest.raises(AssertionError, match=r"old\.pkl"):
        contract.test_nothing_is_pickled(bare)
    (bare.path.parent / "model.onnx").write_bytes(b"")
    with pytest.raises(AssertionError, match=r"model\.onnx: expected"):
        contract.test_its_files_are_those_of_its_model_toml(bare)


# --- what comes with the package --------------------------------------------------------------


def test_the_weights_are_small() -> None:
    sizes = {
        path: path.stat().st_size
        for model in catalogue().values()
        for path in model.path.parent.iterdir()
        if path.suffix in (".safetensors", ".onnx")
    }
    assert all(size <= LARGEST_BYTES for size in sizes.values()), sizes
    assert sum(sizes.values()) <= ALL_BYTES, sizes
    default = [size for path, size in sizes.items() if path.parent.name == DEFAULT]
    assert sum(default) <= WHEEL_BYTES, sizes


@pytest.mark.skipif(
    catalogue()[DEFAULT].entry.status == "no-weights", reason=f"{DEFAULT} has no weights yet"
)
class TestDefault(ModelContract):
    model_id: ClassVar[str] = DEFAULT

    @classmethod
    def recordings(cls) -> Iterable[Ecg]:
        """Real ones besides, of fold 10, where they are."""
        yield from super().recordings()
        folder = DATA / "ptbxl"
        if (folder / "signals.npz").is_file():
            records = open_records(f"ptbxl:{folder}")
            entries = read_labelled(records, None, None).entries
            unseen = [name for name, one in entries.items() if one.keys["fold"] == TEST_FOLD]
            for number in np.linspace(0, len(unseen) - 1, 24).astype(int):
                yield records.read(unseen[number])


class TestSignal(TestDefault):
    model_id: ClassVar[str] = "ptbxl-signal"
    # It sees 5 s of each lead on one page and 2.5 s on the other, as its card says.
    most_machine_difference: ClassVar[float] = 0.06

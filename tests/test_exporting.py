"""Networks as ONNX files and folders of the zoo: the same answers, nothing of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import safe_open
from training_data import tiny_rows
from zoo_data import CARD, MODEL, SIDE_PX, tiny_net, tiny_zoo, untrained_run

from ecgvision import load_model
from ecgvision.cli import main
from ecgvision.dataset.about import ColumnInfo, DatasetInfo, ImageInfo
from ecgvision.dataset.store import Dataset, write_dataset
from ecgvision.exporting import files as files_module
from ecgvision.exporting.int8 import int8_bytes, log_odds, most_apart
from ecgvision.exporting.onnx_file import OPSET, difference, onnx_bytes
from ecgvision.models import ModelError
from ecgvision.models.weights import weight_bytes
from ecgvision.training.recipe import load_recipe
from ecgvision.zoo.packing import check_onnx


def pages(rows: int, seed: int = 0) -> np.ndarray:
    """Pages with more or less ink."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.02, 0.4, (rows, 1, 1))
    return np.where(rng.random((rows, *SIDE_PX)) < shares, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rows = tiny_rows(48)
    about = DatasetInfo(
        name="tiny",
        image=ImageInfo(height_px=SIDE_PX[0], width_px=SIDE_PX[1], style="canonical"),
        columns={
            "age_years": ColumnInfo(role="clinical"),
            "sex": ColumnInfo(role="clinical"),
            "scar": ColumnInfo(role="label"),
            "lvef_percent": ColumnInfo(role="label"),
        },
    )
    folder = tmp_path_factory.mktemp("data") / "tiny"
    return write_dataset(folder, about, rows, pages(48), None)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `train` leaves, of a network that was not trained."""
    recipe = load_recipe("multi", [f"model.{key}={json.dumps(MODEL[key])}" for key in MODEL])
    net = tiny_net(tasks=recipe.tasks)
    return untrained_run(tmp_path_factory.mktemp("runs") / "tiny", recipe, net, data.about)


def command(*words: object) -> Result:
    return CliRunner().invoke(main, ["models", *map(str, words)], catch_exceptions=False)


# --- files ------------------------------------------------------------------------------------


def test_an_onnx_file_says_nothing_of_its_machine_and_is_the_same_each_time() -> None:
    data = onnx_bytes(tiny_net())
    assert data == onnx_bytes(tiny_net())
    check_onnx("model.onnx", data)
    told = onnx.load_from_string(data)
    assert [one.version for one in told.opset_import if not one.domain] == [OPSET]
    assert (told.producer_name, told.doc_string, list(told.metadata_props)) == ("ecgvision", "", [])
    (page,) = told.graph.input
    sides = [one.dim_param or one.dim_value for one in page.type.tensor_type.shape.dim]
    assert (page.name, sides) == ("page", ["n", 1, *SIDE_PX])
    assert [one.name for one in told.graph.output] == ["mi", "cd"]


def test_a_file_of_other_weights_is_seen_to_differ() -> None:
    net = tiny_net()
    data = onnx_bytes(net)
    assert difference(net, data) < 1e-4
    assert difference(tiny_net(seed=1), data) > 1e-3


def test_int8_is_static_smaller_and_close() -> None:
    net = tiny_net()
    data = onnx_bytes(net)
    small = int8_bytes(data, pages(32, seed=1))
    check_onnx("model-int8.onnx", small)
    assert len(small) < 0.45 * len(data)
    operators = {node.op_type for node in onnx.load_from_string(small).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    assert not [name for name in operators if name.startswith("Dynamic")]
    seen = pages(16, seed=2)
    exact = log_odds(data, seen)
    rounded = log_odds(small, seen)
    assert 0 < most_apart(exact, rounded) < 0.3
    # A network that was never trained answers all pages nearly alike; still it ranks them so.
    assert np.corrcoef(exact["mi"], rounded["mi"])[0, 1] > 0.6
    with torch.inference_mode():
        due = net(net.pages(torch.from_numpy(seen)))["mi"]
    np.testing.assert_allclose(exact["mi"], (due[:, 1] - due[:, 0]).numpy(), atol=1e-4)


def test_numbers_that_16_bits_cannot_hold_are_refused() -> None:
    net = tiny_net()
    with torch.no_grad():
        net.heads["mi"].bias[0] = 1e6
    with pytest.raises(ModelError, match=r"heads\.mi\.bias: has numbers over 65,504"):
        weight_bytes(net, half=True)


# --- models export ------------------------------------------------------------------------------


def test_a_run_is_exported(run: Path, data: Dataset, tmp_path: Path) -> None:
    arguments = ("export", run, "--onnx", "--int8", "--calibrate", data.folder, "-o", tmp_path)
    done = command(*arguments)
    assert done.exit_code == 0, done.stderr
    assert "int8: probabilities differ by" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model-int8.onnx"}
    again = command(*arguments)
    assert (again.exit_code, "[output-exists]" in again.stderr) == (1, True)


def test_a_model_of_the_zoo_is_exported(tmp_path: Path) -> None:
    path = tiny_zoo(tmp_path)
    done = command("export", path, "--onnx", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    due = (path.parent / "model.onnx").read_bytes()
    assert (tmp_path / "out" / "model.onnx").read_bytes() == due


def test_an_int8_file_that_ranks_otherwise_is_refused(
    run: Path, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = ("--calibrate", data.folder, "--data", data.folder, "-o", tmp_path / "out")
    # Nothing is as near as that.
    monkeypatch.setattr(files_module, "MOST_AUC_LOST", -1.0)
    done = command("export", run, "--int8", *judged)
    assert done.exit_code == 1
    assert "expected an int8 file whose AUC is within -1" in done.stderr
    assert not (tmp_path / "out").exists()
    forced = command("export", run, "--int8", *judged, "--force")
    assert forced.exit_code == 0
    assert "int8: AUC of scar: " in forced.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "--onnx, --int8 or both"),
        (("--int8",), 2, "--int8 needs --calibrate"),
        (("--onnx", "--calibrate", "DATA"), 2, "--calibrate needs --int8"),
        (("--onnx", "--data", "DATA"), 2, "it needs --int8"),
        (("--int8", "--calibrate", "OTHER"), 1, "expected canonical images of 64 x 96 px"),
    ],
)
def test_what_cannot_be_exported(
    arguments: tuple[str, ...], code: int, told: str, run: Path, data: Dataset, tmp_path: Path
) -> None:
    about = data.about.model_copy(update={"image": ImageInfo(height_px=64, width_px=64)})
    write_dataset(tmp_path / "other", about, data.rows, pages(48)[:, :, :64], None)
    places = {"DATA": str(data.folder), "OTHER": str(tmp_path / "other")}
    words = [places.get(word, word) for word in arguments]
    done = command("export", run, *words, "-o", tmp_path / "out")
    assert (done.exit_code, told in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "out").exists()


# --- models bundle ------------------------------------------------------------------------------

TOML = """# kept as it is
id = "tiny"
title = "Tiny"
status = "no-weights"
reason = "not trained yet"
recipe = "multi"
licence = "Apache-2.0"

[[tasks]]
name = "scar"
title = "Myocardial scar"
definition = '''two
lines'''

[[tasks]]
name = "lvef"
title = "LVEF < 50 %"
column = "lvef_percent"
below = 50
definition = "LVEF"

[[calibration]]
task = "scar"  # by evaluate
temperature = 1.5
fitted_on = "validation"
"""


def home_of(folder: Path, text: str = TOML) -> Path:
    home = folder / "tiny"
    home.mkdir()
    (home / "model.toml").write_text(text)
    (home / "README.md").write_text(CARD)
    return home


def test_a_run_becomes_a_folder_of_the_zoo(run: Path, data: Dataset, tmp_path: Path) -> None:
    home = home_of(tmp_path)
    arguments = ("bundle", run, "-o", home, "--calibrate", data.folder)
    done = command(*arguments, "--onnx")
    assert done.exit_code == 0, done.stderr
    assert "16 bits: probabilities differ by 0.0" in done.stderr
    text = (home / "model.toml").read_text()
    for kept in ("# kept as it is", "'''two\nlines'''", "# by evaluate"):
        assert kept in text
    assert "not trained yet" not in text
    assert command("verify", home / "model.toml").exit_code == 0
    with safe_open(home / "weights.safetensors", framework="numpy") as opened:
        kinds = {opened.get_tensor(name).dtype for name in opened.keys()}  # noqa: SIM118
    assert kinds == {np.dtype("float16"), np.dtype("int64")}

    seen = pages(8, seed=3)
    net = tiny_net(tasks=load_recipe("multi").tasks)
    with torch.inference_mode():
        found = net(net.pages(torch.from_numpy(seen)))["scar"]
    due = 1 / (1 + np.exp(-(found[:, 1] - found[:, 0]).numpy() / 1.5))
    model = load_model(home / "model.toml")
    assert model.weights == "model-int8.onnx"
    for backend, slack in (("onnx", 0.2), ("torch", 0.005)):
        model = load_model(home / "model.toml", backend=backend)  # type: ignore[arg-type]
        np.testing.assert_allclose(model.probabilities(seen)["scar"], due, atol=slack)

    again = command(*arguments)
    assert (again.exit_code, "[output-exists]" in again.stderr) == (1, True)
    forced = command(*arguments, "--force")
    assert forced.exit_code == 0
    # What is not wanted any more is gone.
    assert not (home / "model.onnx").exists()
    assert command("verify", home / "model.toml").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('recipe = "multi"', 'recipe = "scar"', "recipe: expected 'multi' as the run has it"),
        ("below = 50", "below = 40", "tasks: expected"),
        ('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nsimulated = true', "simulated: "),
    ],
)
def test_an_entry_of_something_else_is_refused(
    old: str, new: str, told: str, run: Path, data: Dataset, tmp_path: Path
) -> None:
    home = home_of(tmp_path, TOML.replace(old, new))
    before = (home / "model.toml").read_bytes()
    done = command("bundle", run, "-o", home, "--calibrate", data.folder)
    assert (done.exit_code, told in done.stderr) == (1, True), done.stderr
    assert {path.name for path in home.iterdir()} == {"model.toml", "README.md"}
    assert (home / "model.toml").read_bytes() == before


def test_a_folder_without_an_entry_is_refused(run: Path, data: Dataset, tmp_path: Path) -> None:
    done = command("bundle", run, "-o", tmp_path / "none", "--calibrate", data.folder)
    assert (done.exit_code, "expected model.toml, found none" in done.stderr) == (2, True)
    assert command("bundle", run, "-o", tmp_path).exit_code == 2

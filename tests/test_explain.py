"""Heat maps: they lie where the network looked, and leads get their share."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from training_data import SIDE_PX, TINY, tiny_dataset
from zoo_data import tiny_zoo

from ecgvision.cli import main
from ecgvision.dataset.store import Dataset
from ecgvision.explain.picture import LeadPart, canonical_parts, heat_by_lead, overlay
from ecgvision.training.recipe import load_recipe
from ecgvision.training.run import train_run
from ecgvision.types import LEADS


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    torch.set_num_threads(1)
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="module")
def run(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "multi"
    train_run(load_recipe("multi", (*TINY, "training.epochs=8")), tiny, folder)
    return folder


def test_the_shares_of_heat_by_hand() -> None:
    heat = np.zeros((12, 4), np.float32)
    heat[0, 0] = 3  # I
    heat[11, 3] = 1  # V6
    shares = heat_by_lead(heat, canonical_parts())
    assert list(shares) == list(LEADS)
    assert (shares["I"], shares["V6"], shares["II"]) == (0.75, 0.25, 0.0)
    assert heat_by_lead(np.zeros((4, 4), np.float32), canonical_parts()) == {}


def test_even_heat_is_shared_evenly_at_any_size() -> None:
    for shape in ((384, 384), (97, 61)):
        shares = heat_by_lead(np.ones(shape, np.float32), canonical_parts())
        assert sum(shares.values()) == pytest.approx(1)
        assert max(abs(s - 1 / 12) for s in shares.values()) < 0.01


def test_the_picture_is_warm_where_the_heat_is_and_grey_elsewhere() -> None:
    heat = np.zeros((60, 60), np.float32)
    heat[:30] = 1
    page = np.full((600, 600), 255, np.uint8)
    page[300] = 0
    parts = (LeadPart("I", 0, 0, 1, 0.5), LeadPart("II", 0, 0.5, 1, 1))
    picture = overlay(page, heat, "Task", parts, heat_by_lead(heat, parts))
    assert picture.shape == (900 + 52, 900, 3)
    warm, cold = picture[52 + 200, 600].astype(int), picture[52 + 700, 600].astype(int)
    assert warm[0] - warm[2] > 30
    assert cold.tolist() == [255, 255, 255]


def test_the_heat_lies_where_the_scar_was_drawn(run: Path, tiny: Dataset, tmp_path: Path) -> None:
    row = int(np.flatnonzero((tiny.rows["scar"] == 1) & (tiny.rows["lvef_percent"] > 50))[0])
    arguments = ["explain", str(run), "--data", str(tiny.folder), "--row", str(row)]
    done = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / f"row-{row}.json").read_text())
    assert told["simulated"] is True
    scar = told["tasks"]["scar"]
    assert scar["probability"] > 0.5
    assert scar["calibrated"] is False
    assert sum(scar["heat_by_lead"].values()) == pytest.approx(1, abs=1e-3)
    # The dark corner is the upper left: I, II and the upper half of III.
    corner = sum(scar["heat_by_lead"][lead] for lead in ("I", "II", "III"))
    assert corner > 0.4
    assert corner > 1.5 * sum(scar["heat_by_lead"][lead] for lead in ("V1", "V2", "V3"))
    picture = cv2.imread(str(tmp_path / f"row-{row}.scar.png"))
    assert picture.shape == (900 + 52, 900, 3)
    assert len(done.output.split()) == 3


def test_a_page_goes_through_the_conversion(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.pdf"
    runner = CliRunner()
    assert runner.invoke(main, ["sample", "--format", "philips", "-o", str(page)]).exit_code == 0
    done = runner.invoke(main, ["explain", str(run), str(page), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "page.json").read_text())
    assert list(told["tasks"]["lvef"]["heat_by_lead"] or LEADS) == list(LEADS)
    # It is shown as large as it was normalised: 1000 x 1920 pixels, 900 wide.
    assert cv2.imread(str(tmp_path / "out" / "page.scar.png")).shape == (1728 + 52, 900, 3)


def test_a_model_of_the_zoo_is_explained_with_its_calibrated_probability(tmp_path: Path) -> None:
    toml, page = tiny_zoo(tmp_path), tmp_path / "page.pdf"
    runner = CliRunner()
    assert runner.invoke(main, ["sample", "--format", "ge", "-o", str(page)]).exit_code == 0
    done = runner.invoke(main, ["explain", str(toml), str(page), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "page.json").read_text())
    asked = runner.invoke(
        main, ["predict", str(page), "--model", str(toml), "-o", str(tmp_path / "asked")]
    )
    assert asked.exit_code == 0, asked.output
    answers = json.loads((tmp_path / "asked" / "predictions.json").read_text())["pages"][0]
    due = {task["task"]: task["probability"] for task in answers["tasks"]}
    assert {name: one["probability"] for name, one in told["tasks"].items()} == pytest.approx(
        due, abs=2e-4
    )
    assert [one["calibrated"] for one in told["tasks"].values()] == [True, False]
    assert (told["model"], told["simulated"]) == ("tiny", False)


def test_the_map_is_of_the_networks_size(run: Path, tiny: Dataset) -> None:
    from ecgvision.explain.heat import heat_map
    from ecgvision.training.predicting import trained_net
    from ecgvision.training.recipe import read_recipe

    recipe = read_recipe(run / "recipe.toml")
    net = trained_net(recipe, run)
    assert tiny.images is not None
    heat = heat_map(net, recipe.tasks[0], np.array(tiny.images[1]), None, 1)
    assert heat.shape == (SIDE_PX, SIDE_PX)
    assert 0 <= heat.min() <= heat.max() <= 1


def test_what_cannot_be_explained_is_refused_in_one_line(
    run: Path, tiny: Dataset, tmp_path: Path
) -> None:
    settings = (
        *TINY,
        "training.epochs=1",
        "model.backbone=resnet1d",
        "model.width=4",
        "model.lead_width=4",
    )
    train_run(load_recipe("multi-1d", settings), tiny, tmp_path / "signals")
    runner, out = CliRunner(), ["-o", str(tmp_path / "out")]
    data = ["--data", str(tiny.folder), "--row", "0"]
    done = runner.invoke(main, ["explain", str(tmp_path / "signals"), *data, *out])
    assert done.exit_code == 1
    assert "expected a run of images, found one of signals (multi-1d)" in done.output
    assert len(done.output.strip().splitlines()) == 1
    for arguments, told in (
        ([str(run), *data, "--row", "999"], "row 999 is not there"),
        ([str(run)], "give a PAGE, or --data with --row"),
        ([str(run), *data, "--clinical", "age"], "expected NAME=VALUE"),
    ):
        wrong = runner.invoke(main, ["explain", *arguments, *out])
        assert wrong.exit_code == 2
        assert told in wrong.output
    missing = runner.invoke(main, ["explain", str(tmp_path / "none"), *data, *out])
    assert missing.exit_code == 1
    assert "name the folder that `ecgvision train` wrote" in missing.output

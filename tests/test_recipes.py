"""Recipes: the study's table holds, and a wrong key is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch

from ecgvision.models import MultiTaskNet
from ecgvision.training.module import joint_loss, task_losses
from ecgvision.training.recipe import (
    Recipe,
    RecipeError,
    load_recipe,
    read_recipe,
    recipe_paths,
    recipe_text,
)

CLINICAL = ("age_years", "sex", "smoking", "diabetes", "hypertension", "dyslipidemia")
OLD, NEW = ("ge-mac1200",), ("philips-tc30",)
# The study's paradigms: tasks, input, formats trained on, clinical features, start.
STUDY = {
    "multi": ("scar lvef", "image", (), (), ""),
    "multi-old": ("scar lvef", "image", OLD, (), ""),
    "multi-transferred": ("scar lvef", "image", NEW, (), "multi-old"),
    "scar": ("scar", "image", (), (), ""),
    "lvef": ("lvef", "image", (), (), ""),
    "multi-clinical": ("scar lvef", "image", (), CLINICAL, ""),
    "scar-clinical": ("scar", "image", (), CLINICAL, ""),
    "lvef-clinical": ("lvef", "image", (), CLINICAL, ""),
    "multi-1d": ("scar lvef", "signal", (), (), ""),
    "multi-old-1d": ("scar lvef", "signal", OLD, (), ""),
    "multi-transferred-1d": ("scar lvef", "signal", NEW, (), "multi-old-1d"),
    "scar-1d": ("scar", "signal", (), (), ""),
    "lvef-1d": ("lvef", "signal", (), (), ""),
}


@pytest.mark.parametrize("name", STUDY)
def test_the_paradigms_differ_where_the_studys_do_and_nowhere_else(name: str) -> None:
    recipe = load_recipe(name)
    tasks, entering, formats, clinical, start = STUDY[name]
    assert recipe.id == name
    assert " ".join(task.name for task in recipe.tasks) == tasks
    assert (recipe.kind, recipe.input, recipe.formats) == ("deep", entering, formats)
    assert (recipe.clinical, recipe.start) == (clinical, start)
    assert recipe.training == load_recipe("multi").training
    assert recipe.model == load_recipe("multi").model
    for task in recipe.tasks:
        expected = load_recipe("multi").tasks[0 if task.name == "scar" else 1]
        assert task.model_copy(update={"weight": 1}) == expected.model_copy(update={"weight": 1})


def test_the_figures_are_the_studys() -> None:
    recipe = load_recipe("multi")
    model, training = recipe.model, recipe.training
    assert (model.backbone, model.image_px, model.planes) == ("resnet34d", (384, 384), 3)
    assert (model.normalise, model.embedding, model.unknown) == ("imagenet", 512, "imputed")
    assert (model.fs_hz, model.beat_s, model.before_s) == (200, 2.0, 0.5)
    assert (training.learning_rate, training.warmup_steps) == (5e-3, 100)
    assert (training.epochs, training.batch, training.patience) == (30, 16, 5)
    assert (training.swa, training.precision) == (True, "auto")
    assert [task.weight for task in recipe.tasks] == [0.5, 0.5]
    assert (recipe.tasks[1].source, recipe.tasks[1].below) == ("lvef_percent", 50)


def test_the_two_without_a_network_are_there_too() -> None:
    xgboost, majority = load_recipe("xgboost"), load_recipe("majority")
    assert (xgboost.kind, xgboost.clinical) == ("xgboost", CLINICAL)
    assert (majority.kind, majority.clinical) == ("majority", ())
    for recipe in (xgboost, majority):
        assert [task.name for task in recipe.tasks] == ["scar", "lvef"]


def test_ptbxl_has_every_paradigm_of_the_table() -> None:
    found = {name: load_recipe(name) for name in recipe_paths() if name.startswith("ptbxl-")}
    tasks = {"mi", "sttc", "cd", "hyp"}
    for name, recipe in found.items():
        assert {task.name for task in recipe.tasks} == ({"mi"} if name == "ptbxl-mi" else tasks)
    assert found["ptbxl-multi-ge"].formats == OLD
    assert found["ptbxl-multi-philips"].formats == NEW
    assert found["ptbxl-multi-transferred"].start == "ptbxl-multi-ge"
    assert found["ptbxl-multi-clinical"].clinical == ("age_years", "sex")
    assert found["ptbxl-xgboost"].clinical == ("age_years", "sex")
    assert {r.input for n, r in found.items() if "signal" in n or "beats" in n} == {"signal"}
    assert found["ptbxl-majority"].kind == "majority"


# Building the large network for each of them takes time and shows nothing new.
QUICK = ("model.image_px=[96, 96]", 'model.pretrained=""')


@pytest.mark.parametrize("name", sorted(recipe_paths()))
def test_every_recipe_builds_and_takes_a_step(name: str) -> None:
    recipe = load_recipe(name, QUICK)
    assert recipe.id == name
    assert Recipe.model_validate(tomllib.loads(recipe_text(recipe))) == recipe
    if recipe.kind != "deep":
        return
    torch.manual_seed(0)
    settings, signal = recipe.model, recipe.input == "signal"
    net = MultiTaskNet(recipe.tasks, settings, recipe.clinical, signal).train()
    samples = 500 if settings.whole_recordings else settings.beat_samples
    x = torch.randn(4, 12, samples) if signal else torch.rand(4, 1, *settings.image_px)
    clinical = torch.tensor([[65.0] + [1.0] * (len(recipe.clinical) - 1)]).repeat(4, 1)
    targets = {task.name: torch.tensor([0.0, 1.0, 1.0, float("nan")]) for task in recipe.tasks}
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        logits = net(x, clinical if recipe.clinical else None)
        loss = joint_loss(*task_losses(logits, targets), recipe.tasks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None for p in net.parameters())
    assert losses[1] != losses[0]
    assert all(0 < loss < 20 for loss in losses)


# --- files --------------------------------------------------------------------------------------


def test_values_on_the_command_line_change_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(
        "multi",
        [
            "training.epochs=2",
            "tasks.scar.weight=0.7",
            "model.backbone=resnet10t",
            "trainer.devices=2",
        ],
    )
    assert (recipe.training.epochs, recipe.tasks[0].weight, recipe.trainer.devices) == (2, 0.7, 2)
    assert (recipe.model.backbone, recipe.training.batch) == ("resnet10t", 16)
    # Where it is trained is no part of what is.
    assert recipe.what == load_recipe("multi", [
        "training.epochs=2", "tasks.scar.weight=0.7", "model.backbone=resnet10t",
    ]).what  # fmt: skip


def test_tasks_can_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text('[[tasks]]\nname = "af"\ncolumn = "rhythm"\nclasses = ["sr", "af"]\n')
    assert [t.name for t in load_recipe("multi", tasks=path).tasks] == ["af"]
    path.write_text("[model]\n")
    with pytest.raises(
        RecipeError, match=r"tasks\.toml: expected \[\[tasks\]\] alone, found model"
    ):
        load_recipe("multi", tasks=path)


def test_a_recipe_can_extend_one_beside_it_or_one_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "multi"\nid = "a"\n[training]\nepochs = 3\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\nid = "b"\n[training]\nbatch = 2\n')
    recipe = load_recipe(tmp_path / "b.toml")
    assert (recipe.id, recipe.training.epochs, recipe.training.batch) == ("b", 3, 2)
    assert recipe.training.warmup_steps == 100
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(tmp_path / "b.toml")


def test_a_written_recipe_comes_back(tmp_path: Path) -> None:
    recipe = load_recipe("lvef-clinical", ['title=Odd "quotes" \\ and ü'])
    assert recipe.title == 'Odd "quotes" \\ and ü'
    (tmp_path / "r.toml").write_text(recipe_text(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["training.epoch=3"], r"training\.epoch: Extra inputs"),
        (["training.epochs=none"], r"training\.epochs: Input should be a valid integer"),
        (["training.epochs"], r"expected key\.key=value"),
        (["tasks.x.weight=1"], r"no task is called 'x'"),
        (["title.x=1"], r"'title\.x=1': title has no keys"),
        (["tasks.scar.weight=0", "tasks.lvef.weight=0"], r"needs a weight above 0"),
        (["model.backbone=resnet1d"], r"resnet1d needs input = 'signal'"),
        (["kind=xgboost"], r"xgboost needs clinical columns"),
        (["model.kernel=8"], r"kernel must be odd"),
    ],
)
def test_what_is_wrong_is_named(settings: list[str], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        load_recipe("multi", settings)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe is called 'multy'; there are .*multi"):
        load_recipe("multy")
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="expected TOML"):
        load_recipe(tmp_path / "x.toml")

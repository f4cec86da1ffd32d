"""Statements that are learnt beside the tasks, and networks of several members."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch.nn import functional
from training_data import TINY_RECORDINGS, tiny_dataset

from ecgvision.dataset.predictions import read_predictions
from ecgvision.dataset.store import Dataset
from ecgvision.training.data import Examples
from ecgvision.training.errors import TrainingError
from ecgvision.training.module import statement_loss
from ecgvision.training.recipe import RecipeError, load_recipe
from ecgvision.training.run import train_run
from ecgvision.training.statements import frequent_words, statements_of, word_targets

NAN = float("nan")
SMALL = (*TINY_RECORDINGS, "model.dropout=0.2", "training.epochs=2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    torch.set_num_threads(1)
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


def train(data: Dataset, run: Path, *settings: str) -> Path:
    train_run(load_recipe("multi-1d", (*SMALL, *settings)), data, run)
    return run


def test_words_are_counted_once_a_row_and_rare_ones_left_out() -> None:
    cells = ["A A B", "A,C", "A; B", None, NAN, ""]
    assert frequent_words(cells, 2 / 6) == ("A", "B")
    assert frequent_words(cells, 1 / 6) == ("A", "B", "C")
    found = word_targets(cells, ("A", "B"))
    assert found[:3].tolist() == [[1, 1], [1, 0], [1, 1]]
    assert np.isnan(found[3:]).all()


def test_the_loss_is_the_mean_over_what_is_known() -> None:
    logits = torch.tensor([[0.0, 2.0], [5.0, -3.0]], requires_grad=True)
    said = torch.tensor([[1.0, 0.0], [NAN, NAN]])
    loss = statement_loss(logits, said)
    assert loss.item() == pytest.approx((np.log(2) + np.log1p(np.exp(2))) / 2, abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[1], torch.zeros(2))
    nothing = statement_loss(logits.detach(), torch.full((2, 2), NAN))
    assert nothing.item() == 0


def test_parts_and_loaders_keep_the_statements() -> None:
    said = np.arange(8, dtype=np.float32).reshape(4, 2)
    whole = Examples(np.zeros((4, 2, 2), np.uint8), np.arange(4), {}, None, said)
    batch = whole.part(np.array([3, 1])).__getitems__([0])
    assert batch["statements"].tolist() == [[6.0, 7.0]]


def test_a_run_tells_its_statements_and_its_weights_are_the_networks_alone(
    tiny: Dataset, tmp_path: Path
) -> None:
    plain = train(tiny, tmp_path / "plain")
    taught = train(tiny, tmp_path / "taught", "training.statements.column=format")
    about = json.loads((taught / "run.json").read_text())
    assert about["statements"] == ["ge-mac1200", "philips-tc30"]
    assert "statements" not in json.loads((plain / "run.json").read_text())
    one, other = (load_file(run / "weights.safetensors") for run in (plain, taught))
    assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}
    # They were learnt: the body is another one.
    assert any(not np.array_equal(one[key], other[key]) for key in one if "body" in key)
    # A weight of nothing is as if they were not there, but for how the steps draw by chance.
    silent = train(
        tiny,
        tmp_path / "silent",
        "training.statements.column=format",
        "training.statements.weight=0.0",
    )
    third = load_file(silent / "weights.safetensors")
    assert all(np.allclose(one[key], third[key], atol=1e-6) for key in one)


def test_a_layer_reads_the_statements_off_what_the_network_learns(tiny: Dataset) -> None:
    """What cannot be told from the tasks can be told from the statements, if they are learnt."""
    from ecgvision.models import MultiTaskNet
    from ecgvision.training.module import MultiTaskModule

    recipe = load_recipe("multi-1d", (*SMALL, "training.statements.column=format"))
    rows = np.arange(8)
    assert tiny.signals is not None
    said = word_targets(tiny.rows["format"].iloc[rows].tolist(), ("ge-mac1200",))
    train_examples = Examples(np.asarray(tiny.signals), rows, {}, None, said)
    net = MultiTaskNet(
        recipe.tasks, recipe.model.model_copy(update={"members": 2}), (), signal=True
    )
    module = MultiTaskModule(net, recipe, train_examples, train_examples, 100.0)
    assert [tuple(reader.weight.shape) for reader in module.readers] == [(1, net.width)] * 2
    names = {name for name, _ in module.named_parameters()}
    assert {"readers.0.weight", "readers.1.weight"} <= names
    optimizer = module.parameters()
    assert sum(p.numel() for p in optimizer) > sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("training.statements.column=scp_codes",), "needs a column 'scp_codes', which data set"),
        (
            ("training.statements.column=patient", "training.statements.least_share=0.9"),
            r"no word of column 'patient' stands in 90\.00% of the training rows",
        ),
    ],
)
def test_statements_that_cannot_be_learnt_are_told(
    settings: tuple[str, ...], told: str, tiny: Dataset
) -> None:
    recipe = load_recipe("multi-1d", (*SMALL, *settings))
    with pytest.raises(TrainingError, match=told):
        statements_of(recipe.training.statements, tiny, np.arange(8))


def test_members_are_trained_apart_and_answer_together(tiny: Dataset, tmp_path: Path) -> None:
    run = train(tiny, tmp_path / "two", "model.members=2")
    weights = load_file(run / "weights.safetensors")
    first = weights["heads.scar.weight"]
    second = weights["others.0.heads.scar.weight"]
    assert first.shape == second.shape
    assert np.abs(first - second).max() > 1e-3
    scores = read_predictions(run / "predictions.parquet")
    assert all(np.isfinite(one).all() for one in scores.scores.values())


def test_each_member_has_a_loss_of_its_own(tiny: Dataset) -> None:
    """By the loss of the mean, a member that is right would leave nothing to learn to another."""
    from ecgvision.models import MultiTaskNet
    from ecgvision.training.module import MultiTaskModule

    recipe = load_recipe("multi-1d", (*SMALL, "model.members=2", "model.dropout=0.0"))
    torch.manual_seed(0)
    net = MultiTaskNet(recipe.tasks, recipe.model, (), signal=True).eval()
    assert tiny.signals is not None
    targets = {task.name: np.ones(8, np.float32) for task in recipe.tasks}
    examples = Examples(np.asarray(tiny.signals), np.arange(8), targets)
    module = MultiTaskModule(net, recipe, examples, examples, 100.0)
    batch = examples.__getitems__(list(range(8)))
    found = [
        module._loss(number, member.embedded(batch["x"]), batch, None)
        for number, member in enumerate(net.members)
    ]
    total = sum(task.weight for task in recipe.tasks)
    for one, member in zip(found, net.members, strict=True):
        logits = {k: v.detach() for k, v in member.alone(batch["x"]).items()}
        due = sum(
            task.weight / total * functional.cross_entropy(logits[task.name], torch.ones(8).long())
            for task in recipe.tasks
        )
        assert float(one.detach()) == pytest.approx(float(due), abs=1e-5)
    assert abs(float(found[0].detach() - found[1].detach())) > 1e-6


# --- joined networks ------------------------------------------------------------------------------


def joined(folder: Path, *names: str, **other: str) -> Path:
    """A recipe that joins runs of those names."""
    path = folder / "both.toml"
    path.write_text(
        f'extends = "multi-1d"\nid = "both"\ntitle = "Both"\njoin = {json.dumps(names)}\n'
        f"[model]\nmembers = {other.get('members', len(names))}\n"
    )
    return path


@pytest.fixture(scope="module")
def runs(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two single networks, of both formats and of one."""
    folder = tmp_path_factory.mktemp("joined")
    for name in ("multi-1d", "multi-old-1d"):
        train_run(load_recipe(name, SMALL), tiny, folder / name)
    return folder


def test_joined_networks_answer_by_their_mean(tiny: Dataset, runs: Path, tmp_path: Path) -> None:
    recipe = load_recipe(joined(tmp_path, "multi-1d", "multi-old-1d"), SMALL)
    told = train_run(recipe, tiny, runs / "both")
    assert told["weights_of"] == "members"
    assert [one["recipe"] for one in told["joined"]] == ["multi-1d", "multi-old-1d"]
    each = [read_predictions(runs / name / "predictions.parquet") for name in recipe.join]
    found = read_predictions(runs / "both" / "predictions.parquet")
    assert set(found.scores) == {"scar", "lvef"}
    for task, scores in found.scores.items():
        due = (each[0].scores[task] + each[1].scores[task]) / 2
        np.testing.assert_allclose(scores, due, atol=1e-5)
        assert np.abs(each[0].scores[task] - each[1].scores[task]).max() > 1e-3
    # Asked again, it is left alone; of other members it is another run.
    assert train_run(recipe, tiny, runs / "both") == told
    about = json.loads((runs / "both" / "run.json").read_text())
    about["joined"][0]["sha256"] = "0" * 64
    (runs / "both" / "run.json").write_text(json.dumps(about))
    with pytest.raises(TrainingError, match="another joined runs: expected the hash 000"):
        train_run(recipe, tiny, runs / "both")


def test_what_cannot_be_joined_is_told(tiny: Dataset, runs: Path, tmp_path: Path) -> None:
    def refused(told: str, recipe: Path, *settings: str, data: Dataset = tiny) -> None:
        with pytest.raises((TrainingError, RecipeError), match=told):
            train_run(load_recipe(recipe, (*SMALL, *settings)), data, runs / "other")

    two = joined(tmp_path, "multi-1d", "multi-old-1d")
    refused("joins multi-1d: expected the same network, found another", two, "model.width=8")
    refused("joins multi-1d: expected the same tasks", two, "tasks.scar.weight=9")
    other = tiny_dataset(tmp_path / "other", 64)
    refused("joins multi-1d: expected the same data set", two, data=other)
    refused("joins a run of scar-1d: expected it in", joined(tmp_path, "multi-1d", "scar-1d"))
    refused("join needs model.members = 2", joined(tmp_path, "multi-1d", "scar-1d", members="3"))
    refused("join has recipes that differ", joined(tmp_path, "multi-1d", "multi-1d"))
    assert not (runs / "other").exists()

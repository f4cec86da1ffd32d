"""Training: losses, orders, signals and pages as networks get them; runs and their refusals."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from training_data import FS_HZ, TINY, tiny_dataset, tiny_rows, tiny_signals

from ecgvision.cli import main
from ecgvision.dataset.predictions import read_predictions
from ecgvision.dataset.store import Dataset, replace_rows
from ecgvision.models import ModelError, ModelSettings
from ecgvision.models.asked import pieces, resampled
from ecgvision.tasks import Task
from ecgvision.training.augment import varied_pages, varied_signals
from ecgvision.training.beats import lead_beats, r_peaks_s
from ecgvision.training.data import EpochOrder, Examples
from ecgvision.training.errors import TrainingError
from ecgvision.training.module import auc, joint_loss, task_losses
from ecgvision.training.predicting import predict_run
from ecgvision.training.recipe import AugmentSettings, Recipe, load_recipe
from ecgvision.training.run import read_run, train_run

NAN = float("nan")
Train = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def trained(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains a recipe with small settings, each combination once."""
    folder = tmp_path_factory.mktemp("runs")
    done: dict[tuple[str, ...], Path] = {}

    def train(name: str, *settings: str, epochs: int = 4) -> Path:
        key = (name, *settings, str(epochs))
        if key not in done:
            done[key] = folder / f"{len(done)}" / name
            recipe = load_recipe(name, (*TINY, f"training.epochs={epochs}", *settings))
            train_run(recipe, tiny, done[key])
        return done[key]

    return train


# --- losses -------------------------------------------------------------------------------------

TASKS = (Task(name="a", weight=60), Task(name="b", weight=40))


def test_the_loss_is_the_weighted_mean_over_known_labels() -> None:
    logits = {
        "a": torch.tensor([[0.0, 0.0], [0.0, 2.0], [5.0, 5.0]]),
        "b": torch.tensor([[1.0, 0.0], [9.0, 9.0], [0.0, 1.0]]),
    }
    targets = {"a": torch.tensor([1.0, 1.0, NAN]), "b": torch.tensor([0.0, NAN, NAN])}
    sums, counts = task_losses(logits, targets)
    loss_a = (np.log(2) + np.log1p(np.exp(-2))) / 2
    loss_b = np.log1p(np.exp(-1))
    assert {name: int(n) for name, n in counts.items()} == {"a": 2, "b": 1}
    found = joint_loss(sums, counts, TASKS).item()
    assert found == pytest.approx(0.6 * loss_a + 0.4 * loss_b, abs=1e-6)


def test_a_batch_without_labels_costs_nothing_and_gives_no_nan() -> None:
    logits = {n: torch.randn(3, 2, requires_grad=True) for n in ("a", "b")}
    targets = {n: torch.full((3,), NAN) for n in ("a", "b")}
    loss = joint_loss(*task_losses(logits, targets), TASKS)
    loss.backward()
    assert loss.item() == 0
    assert all(torch.equal(x.grad, torch.zeros(3, 2)) for x in logits.values())


def test_unknown_examples_do_not_move_anything() -> None:
    x = torch.randn(4, 2, requires_grad=True)
    targets = torch.tensor([1.0, NAN, 0.0, NAN])
    joint_loss(*task_losses({"a": x}, {"a": targets}), TASKS[:1]).backward()
    assert torch.equal(x.grad[[1, 3]], torch.zeros(2, 2))
    assert x.grad[[0, 2]].abs().min() > 0


def test_area_under_the_curve_by_hand() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8, 9.0])
    targets = np.array([0, 0, 1, 1, NAN], np.float32)
    assert auc(Task(name="a"), targets, scores) == pytest.approx(0.75)
    assert np.isnan(auc(Task(name="a"), targets[:2], scores[:2]))


# --- orders -------------------------------------------------------------------------------------


def test_every_epoch_has_each_example_once_in_an_order_of_its_own() -> None:
    order = EpochOrder(10, seed=1)
    first = list(order)
    order.set_epoch(1)
    assert sorted(first) == sorted(order) == list(range(10))
    assert first != list(order)
    again = EpochOrder(10, seed=1)
    again.set_epoch(1)
    assert list(again) == list(order)
    assert list(EpochOrder(10, seed=2)) != first


def test_processes_share_an_epoch_evenly() -> None:
    dealt = [list(EpochOrder(11, 1, rank, 3)) for rank in range(3)]
    assert [len(one) for one in dealt] == [4, 4, 4]
    every = [place for one in dealt for place in one]
    assert set(every) == set(range(11))
    assert len(every) == 12


def test_a_batch_is_what_lies_at_its_places(tiny: Dataset) -> None:
    rows = np.array([3, 5, 8])
    targets = {"scar": np.array([1.0, NAN, 0.0], np.float32)}
    assert tiny.images is not None
    examples = Examples(tiny.images, rows, targets, np.eye(3, dtype=np.float32))
    batch = examples.__getitems__([2, 0])
    assert batch["x"].dtype == torch.uint8
    assert np.array_equal(batch["x"].numpy(), tiny.images[[8, 3]])
    assert batch["targets"]["scar"].tolist() == [0.0, 1.0]
    assert batch["clinical"].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert batch["place"].tolist() == [2, 0]


def test_examples_travel_by_their_file_not_by_its_pixels(tiny: Dataset) -> None:
    assert tiny.images is not None
    examples = Examples(tiny.images, np.array([3, 5]), {"scar": np.ones(2, np.float32)})
    data = pickle.dumps(examples)
    assert len(data) < tiny.images.nbytes / 50
    again = pickle.loads(data)
    assert torch.equal(again[1]["x"], examples[1]["x"])
    assert again[1]["targets"]["scar"].tolist() == [1.0]


# --- signals ------------------------------------------------------------------------------------


def drawn_signals() -> np.ndarray:
    """A QRS at 0.8, 1.8, 2.8, 3.8 s of 5 s at 250 Hz; the last six leads from 2.5 s alone."""
    time_s = np.arange(1250) / 250
    lead = sum(np.exp(-(((time_s - at) / 0.015) ** 2)) for at in (0.8, 1.8, 2.8, 3.8))
    signals = np.tile(lead, (12, 1)) * np.linspace(0.5, 2, 12)[:, None]
    signals[:6, 625:] = NAN
    signals[6:, :625] = NAN
    return signals.astype(np.float32)


def test_beats_are_found_across_leads_printed_one_after_the_other() -> None:
    found = r_peaks_s(drawn_signals(), 250)
    assert np.allclose(found, [0.8, 1.8, 2.8, 3.8], atol=0.03)


def test_a_beat_stands_where_the_study_has_it_and_is_standardised() -> None:
    settings = ModelSettings(backbone="resnet10t")
    beats = lead_beats(drawn_signals(), 250, settings)
    assert beats.shape == (12, 400)
    for lead in (0, 11):
        # 0.5 s before the R peak at 200 Hz.
        assert abs(int(np.nanargmax(beats[lead, :200])) - 100) <= 6
        assert np.nanmean(beats[lead]) == pytest.approx(0, abs=1e-5)
        assert np.nanstd(beats[lead]) == pytest.approx(1, abs=1e-4)
    # 0.3 s to 2.3 s of the first leads are printed.
    assert np.isfinite(beats[0]).all()
    # The last leads' beat at 3.8 s would end at 5.3 s, that at 2.8 s begins at 2.3 s: 0.2 s lacks.
    assert np.isnan(beats[11]).sum() == pytest.approx(40, abs=8)


def test_signals_without_beats_or_leads_give_no_error() -> None:
    settings = ModelSettings(backbone="resnet10t")
    flat = np.zeros((12, 1250), np.float32)
    flat[3] = NAN
    beats = lead_beats(flat, 250, settings)
    assert np.isnan(beats[3]).all()
    assert np.array_equal(beats[0][np.isfinite(beats[0])], np.zeros(np.isfinite(beats[0]).sum()))


@pytest.mark.parametrize(("from_hz", "to_hz"), [(500, 100), (250, 100), (200, 250), (100, 100)])
def test_resampling_keeps_a_slow_wave_and_the_gaps(from_hz: float, to_hz: float) -> None:
    time_s = np.arange(round(4 * from_hz)) / from_hz
    wave = (
        torch.tensor(np.sin(2 * np.pi * 2 * time_s), dtype=torch.float32).expand(1, 12, -1).clone()
    )
    wave[0, 0, : round(from_hz)] = NAN
    found = resampled(wave, from_hz, to_hz)
    assert found.shape == (1, 12, round(4 * to_hz))
    new_s = np.arange(found.shape[2]) / to_hz
    # An average over samples stands in their middle.
    late_s = 0.5 / to_hz - 0.5 / from_hz
    expected = np.sin(2 * np.pi * 2 * (new_s + late_s))
    inner = slice(3, -3)
    assert np.abs(found[0, 1].numpy() - expected)[inner].max() < 0.03
    known = torch.isfinite(found[0, 0]).numpy()
    assert (
        np.array_equal(known, new_s + late_s >= 1 - 0.51 / to_hz)
        or abs(int(known.sum()) - round(3 * to_hz)) <= 1
    )
    assert np.abs(found[0, 0].numpy() - expected)[known][3:-3].max() < 0.03


def test_pieces_cover_a_recording() -> None:
    x = torch.arange(10.0).expand(1, 12, 10)
    found = pieces(x, 4)
    assert [piece[0, 0, 0].item() for piece in found] == [0, 2, 4, 6]
    assert all(piece.shape[2] == 4 for piece in found)
    assert found[-1][0, 0, -1] == 9
    assert pieces(x, 0)[0] is x


def test_crops_are_pieces_of_the_recording() -> None:
    x = torch.arange(100.0).expand(5, 12, 100)
    torch.manual_seed(0)
    found = varied_signals(x, AugmentSettings(crop_s=0.4), fs_hz=100)
    assert found.shape == (5, 12, 40)
    assert torch.equal(found, found[:, :, :1] + torch.arange(40.0))
    assert len(set(found[:, 0, 0].tolist())) > 1


def test_what_is_not_printed_stays_so_however_signals_vary() -> None:
    x = torch.from_numpy(tiny_signals(tiny_rows(4)))
    torch.manual_seed(0)
    how = AugmentSettings(gain=0.2, noise_mv=0.05, wander_mv=0.2)
    found = varied_signals(x, how, FS_HZ)
    assert torch.equal(torch.isnan(found), torch.isnan(x))
    assert 0.01 < float((found - x).nan_to_num().abs().mean()) < 0.3
    dropped = varied_signals(x, AugmentSettings(drop_lead=0.5), FS_HZ)
    gone = torch.isnan(dropped).all(dim=2)
    assert 10 < int(gone.sum()) < 38
    assert torch.equal(dropped[~gone].nan_to_num(), x[~gone].nan_to_num())


# --- pages --------------------------------------------------------------------------------------


def test_pages_without_augmentation_are_left_alone() -> None:
    off = AugmentSettings(blur=0, motion_blur=0, brightness=0, contrast=0)
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(varied_pages(x, off), x)


@pytest.mark.parametrize("name", ["blur", "motion_blur"])
def test_a_blurred_line_keeps_its_ink(name: str) -> None:
    x = torch.ones(6, 1, 33, 33)
    x[:, :, 16] = 0
    off = {"blur": 0, "motion_blur": 0, "brightness": 0, "contrast": 0}
    torch.manual_seed(1)
    found = varied_pages(x, AugmentSettings(**{**off, name: 1.0}))
    assert not torch.equal(found, x)
    assert torch.allclose((1 - found).sum(dim=(2, 3)), (1 - x).sum(dim=(2, 3)), rtol=0.13)


def test_a_moved_page_brings_in_paper_and_moves_by_what_was_said() -> None:
    x = torch.ones(8, 1, 100, 100)
    x[:, :, 50, 50] = 0
    off = {"blur": 0, "motion_blur": 0, "brightness": 0, "contrast": 0}
    torch.manual_seed(0)
    found = varied_pages(x, AugmentSettings(**off, shift=0.1))
    assert float(found.min()) < 0.8
    assert torch.equal(found[:, :, :5], torch.ones(8, 1, 5, 100))
    ink = (1 - found)[:, 0]
    at = (ink.sum(dim=2) * torch.arange(100)).sum(dim=1) / ink.sum(dim=(1, 2))
    assert float((at - 50).abs().max()) <= 10.6
    assert float(at.std()) > 2


# --- runs ---------------------------------------------------------------------------------------


def told(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "run.json").read_text())
    return found


def test_a_network_learns_what_is_in_the_pictures(trained: Train, tiny: Dataset) -> None:
    run = trained("multi", epochs=8)
    table = pd.read_csv(run / "metrics.csv")
    assert list(table["epoch"]) == list(range(8))
    assert table["train_loss"].iloc[-1] < table["train_loss"].iloc[0]
    found = read_predictions(run / "predictions.parquet")
    assert list(found.rows) == sorted(
        [*tiny.chosen("validation").tolist(), *tiny.chosen("test").tolist()]
    )
    test = np.isin(found.rows, tiny.chosen("test"))
    for task in found.tasks:
        targets = task.targets(tiny.rows[task.source].iloc[found.rows[test]].tolist())
        assert auc(task, targets, found.scores[task.name][test]) > 0.9


def test_run_json_says_what_made_it(trained: Train, tiny: Dataset) -> None:
    found = told(trained("multi", epochs=8))
    assert found["status"] == "done"
    data = found["data"]
    assert isinstance(data, dict)
    assert (data["sha256"], data["simulated"]) == (tiny.digest, True)
    assert data["rows"] == {"train": 24, "validation": 12}
    assert data["image"]["height_px"] == 64
    assert found["seed"] == 1
    assert found["steps"] == 8 * 3
    assert found["weights_of"] in ("best epoch", "average")
    assert float(found["examples_per_s"]) > 0  # type: ignore[arg-type]
    assert 0 <= float(found["waiting_share"]) < 1  # type: ignore[arg-type]
    assert "torch" in found["environment"]["packages"]  # type: ignore[index]
    # Where it was made is nobody's business.
    assert str(tiny.folder.parent) not in (trained("multi", epochs=8) / "run.json").read_text()


def test_those_weights_are_kept_that_have_the_lower_validation_loss(trained: Train) -> None:
    found = told(trained("multi", epochs=8))
    best, average = found["validation_loss_best"], found["validation_loss_average"]
    assert isinstance(best, float)
    assert isinstance(average, float)
    assert found["weights_of"] == ("average" if average < best else "best epoch")
    table = pd.read_csv(trained("multi", epochs=8) / "metrics.csv")
    assert best == pytest.approx(table["validation_loss"].min(), abs=1e-4)


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    trained: Train, tiny: Dataset, tmp_path: Path
) -> None:
    run = trained("multi")
    recipe = load_recipe("multi", (*TINY, "training.epochs=4"))
    train_run(recipe, tiny, tmp_path / "again")
    for name in ("metrics.csv", "weights.safetensors", "predictions.parquet"):
        assert (run / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    other = load_recipe("multi", (*TINY, "training.epochs=1", "training.seed=2"))
    train_run(other, tiny, tmp_path / "other")
    first = [(r / "metrics.csv").read_text().splitlines()[1] for r in (run, tmp_path / "other")]
    assert first[0].split(",")[3] != first[1].split(",")[3]


def test_a_stored_run_says_the_same_again(trained: Train, tiny: Dataset) -> None:
    run = trained("multi")
    stored = read_predictions(run / "predictions.parquet")
    again = predict_run(run, tiny, stored.rows)
    for name, scores in stored.scores.items():
        assert np.array_equal(scores, again.scores[name])
    some = predict_run(run, tiny, stored.rows[[4, 1]])
    assert np.allclose(some.scores["scar"], stored.scores["scar"][[4, 1]], atol=1e-4)
    assert predict_run(run, tiny, stored.rows[:0]).scores["scar"].shape == (0,)


def test_weights_of_another_recipe_are_not_believed(
    trained: Train, tiny: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(trained("multi"), tmp_path / "run")
    text = (tmp_path / "run" / "recipe.toml").read_text()
    (tmp_path / "run" / "recipe.toml").write_text(text.replace('"lvef"', '"ef"'))
    with pytest.raises(ModelError, match=r"lacks tensor heads\.ef"):
        predict_run(tmp_path / "run", tiny, np.arange(2))


def test_unknown_labels_are_masked_and_still_predicted(tiny: Dataset, tmp_path: Path) -> None:
    rows = tiny.rows.copy()
    rows.loc[rows.index[::2], "scar"] = NAN
    shutil.copytree(tiny.folder, tmp_path / "data")
    copied = Dataset(tmp_path / "data", tiny.about, tiny.rows, tiny.images, tiny.signals)
    dataset = replace_rows(copied, rows, tiny.about)
    recipe = load_recipe("multi", (*TINY, "training.epochs=1"))
    train_run(recipe, dataset, tmp_path / "run")
    assert np.isfinite(read_predictions(tmp_path / "run/predictions.parquet").scores["scar"]).all()


# Three steps an epoch: until the statistics of batch normalisation have come after the weights, a
# network of some layers answers by chance.
WHOLE = (
    "model.backbone=resnet1d",
    "model.width=16",
    "model.lead_width=8",
    "model.fs_hz=100",
    "training.learning_rate=1e-3",
    "training.patience=0",
)


@pytest.mark.parametrize(("settings", "epochs"), [((), 6), (WHOLE, 25)], ids=["beats", "whole"])
def test_signals_can_be_trained_on(
    trained: Train, tiny: Dataset, settings: tuple[str, ...], epochs: int
) -> None:
    run = trained("multi-1d", *settings, epochs=epochs)
    found = read_predictions(run / "predictions.parquet")
    targets = Task(name="scar").targets(tiny.rows["scar"].iloc[found.rows].tolist())
    assert auc(Task(name="scar"), targets, found.scores["scar"]) > 0.9


def test_the_majority_says_the_prevalence_to_everyone(trained: Train) -> None:
    run = trained("majority")
    found = read_predictions(run / "predictions.parquet")
    # 12 of 24 each in training, and half an example more of both.
    assert set(found.scores["scar"]) == {0.0}


def test_a_transferred_run_starts_where_the_other_ended(
    trained: Train, tiny: Dataset, tmp_path: Path
) -> None:
    old = trained("multi-old", epochs=3)
    recipe = load_recipe(
        "multi-transferred", (*TINY, "training.epochs=1", "training.learning_rate=1e-12")
    )
    train_run(recipe, tiny, tmp_path / "run", start=old)
    found = told(tmp_path / "run")
    assert found["start"]["sha256"] == told(old)["sha256"]["weights.safetensors"]  # type: ignore[index]
    assert found["data"]["rows"] == {"train": 8, "validation": 4}  # type: ignore[index]
    rows = tiny.chosen("test")
    began = predict_run(old, tiny, rows).scores["scar"]
    fresh = predict_run(trained("multi"), tiny, rows).scores["scar"]
    ended = predict_run(tmp_path / "run", tiny, rows).scores["scar"]
    # Nothing but the statistics of batch normalisation can have moved.
    assert np.corrcoef(began, ended)[0, 1] > 0.9
    assert not np.allclose(fresh, ended)


# --- refusals -----------------------------------------------------------------------------------


def small(name: str = "multi", *settings: str) -> Recipe:
    return load_recipe(name, (*TINY, "training.epochs=4", *settings))


def test_a_data_set_must_have_what_the_recipe_needs(tmp_path: Path) -> None:
    signals = tiny_dataset(tmp_path / "signals", images=False)
    with pytest.raises(TrainingError, match="needs images, data set 'tiny' has signals only"):
        train_run(small(), signals, tmp_path / "run")
    images = tiny_dataset(tmp_path / "images", signals=False)
    with pytest.raises(TrainingError, match="needs signals, data set 'tiny' has images only"):
        train_run(small("multi-1d"), images, tmp_path / "run2")
    with pytest.raises(TrainingError, match=r"clinical columns smoking.*has age_years, sex"):
        train_run(small("multi-clinical"), images, tmp_path / "run3")
    with pytest.raises(TrainingError, match=r"column 'scars'.*labels scar, lvef_percent"):
        train_run(small("multi", "tasks.scar.column=scars"), images, tmp_path / "run4")


def test_every_split_needs_rows_and_labels(tiny: Dataset, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder, tmp_path / "data")
    copied = Dataset(tmp_path / "data", tiny.about, tiny.rows, tiny.images, tiny.signals)
    rows = tiny.rows.copy()
    rows.loc[rows["split"] == "validation", "scar"] = NAN
    unlabelled = replace_rows(copied, rows, tiny.about)
    with pytest.raises(
        TrainingError, match="scar: no label is known in the 12 rows of split valid"
    ):
        train_run(small(), unlabelled, tmp_path / "run")
    rows["split"] = "test"
    with pytest.raises(TrainingError, match="no rows in split train"):
        train_run(small(), replace_rows(copied, rows, tiny.about), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_run_or_other_files_is_left_alone(
    trained: Train, tiny: Dataset, tmp_path: Path
) -> None:
    run = trained("multi")
    with pytest.raises(TrainingError, match=r"another recipe: training\.epochs was 4 and is 5"):
        train_run(small("multi", "training.epochs=5"), tiny, run)
    with pytest.raises(TrainingError, match=r"another data set: expected the hash"):
        train_run(small(), tiny_dataset(tmp_path / "data", count=64), run)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("x")
    with pytest.raises(TrainingError, match=r"others' files \(thesis\.txt\)"):
        train_run(small(), tiny, tmp_path / "home")


def test_a_finished_run_is_not_trained_again(trained: Train, tiny: Dataset) -> None:
    run = trained("multi")
    before = (run / "weights.safetensors").stat().st_mtime_ns
    said: list[str] = []
    train_run(small(), tiny, run, say=said.append)
    assert said == ["multi is trained already"]
    assert (run / "weights.safetensors").stat().st_mtime_ns == before


def test_a_start_must_be_there_and_be_the_right_one(
    trained: Train, tiny: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"train multi-old first, or name its run with --start"):
        train_run(small("multi-transferred"), tiny, tmp_path / "run")
    with pytest.raises(TrainingError, match="found one of multi in multi"):
        train_run(small("multi-transferred"), tiny, tmp_path / "run", start=trained("multi"))
    with pytest.raises(TrainingError, match="starts from no other run"):
        train_run(small(), tiny, tmp_path / "run", start=trained("multi"))


def test_a_loss_that_explodes_is_told(tiny: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no longer finite; try a smaller"):
        train_run(small("multi", "training.learning_rate=1e30"), tiny, tmp_path / "run")
    assert told(tmp_path / "run")["status"] == "failed"
    with pytest.raises(TrainingError, match="expected a finished run, found one that is failed"):
        read_run(tmp_path / "run")


# --- command ------------------------------------------------------------------------------------


def test_the_command_trains_and_says_so(tiny: Dataset, tmp_path: Path) -> None:
    arguments = ["train", "majority", "--data", str(tiny.folder), "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "Always the majority class, trained" in done.output
    wrong = CliRunner().invoke(main, [*arguments, "--set", "training.epoch=1"])
    assert wrong.exit_code == 2
    assert "training.epoch: Extra inputs" in wrong.output
    other = CliRunner().invoke(main, [*arguments, "--set", "training.seed=7"])
    assert other.exit_code == 1
    assert "training.seed was 1 and is 7 now" in other.output

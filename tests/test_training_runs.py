"""Trainings that are killed and go on, and trainings by two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from training_data import TINY_RECORDINGS, tiny_dataset

from ecgvision.dataset.predictions import read_predictions
from ecgvision.dataset.store import Dataset
from ecgvision.training.errors import TrainingError
from ecgvision.training.recipe import Recipe, load_recipe
from ecgvision.training.run import train_run

# A machine with much else to do takes its time over starting Python.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = 30
RECIPE = "multi-1d"
# Dropout and augmentation draw by chance; averaging and early stopping have memories of their own.
SETTINGS = (
    *TINY_RECORDINGS,
    f"training.epochs={EPOCHS}",
    "training.swa_share=0.9",
    f"training.patience={EPOCHS}",
    "training.augment.noise_mv=0.05",
    "training.augment.crop_s=3.0",
    "model.dropout=0.2",
    # Learnt beside the tasks, by layers that are in the checkpoints alone.
    "model.members=2",
    "training.statements.column=format",
)
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    torch.set_num_threads(1)
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


def command(data: Path, run: Path, *settings: str) -> list[str]:
    options = [part for one in settings for part in ("--set", one)]
    program = [sys.executable, "-m", "ecgvision", "train", RECIPE]
    return [*program, "--data", str(data), "-o", str(run), *options]


def rows_of(run: Path) -> int:
    path = run / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def recipe() -> Recipe:
    return load_recipe(RECIPE, SETTINGS)


def test_a_killed_training_goes_on_to_the_same_end(tiny: Dataset, tmp_path: Path) -> None:
    train_run(recipe(), tiny, tmp_path / "whole")
    run = tmp_path / "killed"
    process = subprocess.Popen(
        command(tiny.folder, run, *SETTINGS), env=ONE_THREAD, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 600
        while rows_of(run) < 4 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert 4 <= rows_of(run) < EPOCHS, "the training was not killed half way"
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    said: list[str] = []
    told = train_run(recipe(), tiny, run, say=said.append)
    assert said[0] == "goes on from its last epoch"
    assert told["starts"] == 2
    for name in ("metrics.csv", "weights.safetensors", "predictions.parquet"):
        assert (tmp_path / "whole" / name).read_bytes() == (run / name).read_bytes(), name


def test_a_training_that_ended_but_was_not_written_is_not_trained_on(
    tiny: Dataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    short = load_recipe(RECIPE, (*TINY_RECORDINGS, "training.epochs=3"))
    train_run(short, tiny, run)
    weights = (run / "weights.safetensors").read_bytes()
    told = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**told, "status": "running"}))
    for name in ("weights.safetensors", "predictions.parquet"):
        (run / name).unlink()
    assert train_run(short, tiny, run)["epochs"] == 3
    assert (run / "weights.safetensors").read_bytes() == weights


def test_a_torn_checkpoint_is_told(tiny: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    short = load_recipe(RECIPE, (*TINY_RECORDINGS, "training.epochs=1"))
    train_run(short, tiny, run)
    told = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**told, "status": "running"}))
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"last\.ckpt: expected a checkpoint.*delete it"):
        train_run(short, tiny, run)


def test_two_processes_train_one_network(tiny: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = (*TINY_RECORDINGS, "training.epochs=4", "training.batch=4")
    two = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    done = subprocess.run(
        command(tiny.folder, run, *settings, *two),
        env=ONE_THREAD,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 1
    told = json.loads((run / "run.json").read_text())
    # 24 examples, two processes, four at a time in each.
    assert (told["status"], told["steps"]) == ("done", 4 * 3)
    table = pd.read_csv(run / "metrics.csv")
    assert len(table) == 4
    assert table["train_loss"].iloc[-1] < table["train_loss"].iloc[0]
    # The validation loss is that of all rows, not of one process's.
    best = float(table["validation_loss"].min())
    assert told["validation_loss_best"] == pytest.approx(best, abs=1e-4)
    scores = read_predictions(run / "predictions.parquet").scores["scar"]
    assert np.isfinite(scores).all()

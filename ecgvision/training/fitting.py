"""A network fitted with Lightning: trainer, checkpoints, and which of its weights are kept."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from ecgvision.models import MultiTaskNet
from ecgvision.training.asking import ask, entered
from ecgvision.training.callbacks import Averaging, Clock, History, Say
from ecgvision.training.data import Examples, loader
from ecgvision.training.errors import TrainingError
from ecgvision.training.module import MultiTaskModule, joint_loss, task_losses
from ecgvision.training.recipe import Recipe, TrainingSettings

LAST, BEST = "last.ckpt", "best.ckpt"
_NODE_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
# What Lightning and torch say of choices made here on purpose.
_EXPECTED_WARNINGS = (
    r".*does not have many workers which may be a bottleneck.*",
    r".*The number of training batches \(\d+\) is smaller than the logging interval.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*GPU available but not used.*",
    r".*You are using a CUDA device .* that has Tensor Cores.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*It is recommended to use `self.log\(.*sync_dist=True\)`.*",
    r".*Trying to infer the `batch_size` from an ambiguous collection.*",
)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training gave: its network, which weights these are, and its figures."""

    net: MultiTaskNet
    kept: str
    figures: dict[str, Any]


def is_first_process() -> bool:
    """Whether this is the process that writes; others train along with it."""
    return not any(int(os.environ.get(name) or 0) for name in _NODE_VARIABLES)


def fit(
    net: MultiTaskNet,
    recipe: Recipe,
    train: Examples,
    validation: Examples,
    fs_hz: float | None,
    run: Path,
    say: Say,
) -> Fitted | None:
    """Train the network, from the last checkpoint in the folder where there is one.

    None in all processes but the first. Raises `TrainingError` where the loss is not finite, or a
    checkpoint cannot be read.
    """
    how = recipe.training
    checkpoints = run / "checkpoints"
    history = History(run / "metrics.csv", say, how.epochs)
    clock = Clock()
    averaging = Averaging(_first_averaged(how)) if how.swa else None
    module = MultiTaskModule(net, recipe, train, validation, fs_hz)
    if how.channels_last and not net.signal:
        net.to(memory_format=torch.channels_last)
    if how.compile:
        for one in net.members:
            one.body.compile()
    last = checkpoints / LAST
    with _quiet():
        trainer = _trainer(recipe, run, [history, clock, *([averaging] if averaging else [])])
        if last.is_file():
            say("goes on from its last epoch")
            state = _checkpoint(last)
            if _has_ended(state, how):
                # Lightning would train one epoch more.
                _restore(state, net, history, clock, averaging)
            else:
                _train(trainer, module, ckpt_path=last, weights_only=True)
        else:
            _train(trainer, module)
    if not is_first_process():
        return None
    kept = _best_weights(net, recipe, averaging, checkpoints / BEST, train, validation, fs_hz)
    best = min(history.rows, key=lambda row: row["validation_loss"])
    figures = {
        "epochs": len(history.rows),
        "steps": int(history.rows[-1]["step"]),
        "best_epoch": int(best["epoch"]) + 1,
        **kept[1],
        **clock.told(),
    }
    return Fitted(net, kept[0], figures)


def _train(trainer: Any, module: MultiTaskModule, **options: Any) -> None:
    try:
        trainer.fit(module, **options)
    except SystemExit as error:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from error


def _first_averaged(how: TrainingSettings) -> int:
    return min(how.epochs - 1, round(how.epochs * (1 - how.swa_share)))


def precision_of(how: TrainingSettings) -> Any:
    """Lightning's word for it; half precision by itself only where the device computes in it."""
    named = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
    if how.precision != "auto":
        return named[how.precision]
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def _trainer(recipe: Recipe, run: Path, callbacks: list[Any]) -> Any:
    how, where = recipe.training, recipe.trainer
    kept = {"dirpath": run / "checkpoints", "save_on_train_epoch_end": True}
    kept["enable_version_counter"] = False
    if how.patience:
        stop = {"monitor": "validation_loss", "patience": how.patience}
        callbacks.append(EarlyStopping(**stop, check_on_train_epoch_end=True))
    callbacks.append(
        ModelCheckpoint(**kept, filename="best", monitor="validation_loss", save_weights_only=True)
    )
    callbacks.append(ModelCheckpoint(**kept, filename="last", save_top_k=1))
    return pl.Trainer(
        accelerator=where.accelerator,
        devices=where.devices,
        num_nodes=where.nodes,
        strategy=where.strategy,
        precision=precision_of(how),
        max_epochs=how.epochs,
        gradient_clip_val=how.clip_norm or None,
        callbacks=callbacks,
        logger=TensorBoardLogger(run, name="tensorboard", version=""),
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        deterministic="warn" if torch.cuda.is_available() else True,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Lightning says of itself, and warnings about what is meant to be so."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


# --- going on ---------------------------------------------------------------------------------


def _checkpoint(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its archive reader does
        raise TrainingError(
            f"{path.name}: expected a checkpoint, found a file that cannot be read "
            f"({type(error).__name__}); delete it to train from the beginning"
        ) from error
    return found


def _state_of(state: dict[str, Any], name: str) -> dict[str, Any] | None:
    for key, value in state.get("callbacks", {}).items():
        if key.startswith(name):
            return dict(value)
    return None


def _has_ended(state: dict[str, Any], how: TrainingSettings) -> bool:
    """Whether the training had stopped by itself when it was saved, early or at its end."""
    stop = _state_of(state, "EarlyStopping")
    waited = stop is not None and how.patience and int(stop["wait_count"]) >= how.patience
    return bool(waited) or int(state["epoch"]) + 1 >= how.epochs


def _restore(
    state: dict[str, Any], net: nn.Module, history: History, clock: Clock, averaging: Any
) -> None:
    net.load_state_dict(_net_state(state))
    for callback in (history, clock, averaging):
        found = None if callback is None else _state_of(state, type(callback).__name__)
        if found is not None:
            callback.load_state_dict(found)


def _net_state(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix("net."): tensor
        for name, tensor in state["state_dict"].items()
        if name.startswith("net.")
    }


# --- which weights ----------------------------------------------------------------------------


def _best_weights(
    net: MultiTaskNet,
    recipe: Recipe,
    averaging: Averaging | None,
    best: Path,
    train: Examples,
    validation: Examples,
    fs_hz: float | None,
) -> tuple[str, dict[str, float]]:
    """Leave those weights in the network that have the lower validation loss; say which."""
    device = next(net.parameters()).device
    average = averaging.restored(net) if averaging else None
    net.load_state_dict(_net_state(_checkpoint(best)))
    losses = {"validation_loss_best": _loss(net, recipe, validation, fs_hz, device)}
    if average is None:
        return "best epoch", losses
    averaged = average.module.to(device)
    _renew_statistics(averaged, recipe, train, fs_hz, device)
    losses["validation_loss_average"] = _loss(averaged, recipe, validation, fs_hz, device)
    if losses["validation_loss_average"] < losses["validation_loss_best"]:
        net.load_state_dict(averaged.state_dict())
        return "average", losses
    return "best epoch", losses


def _loss(
    net: Any, recipe: Recipe, examples: Examples, fs_hz: float | None, device: torch.device
) -> float:
    scores = ask(net, recipe, examples, fs_hz, device)
    logits = {
        # Log-odds against 0 are the same two classes.
        name: torch.from_numpy(np.stack([np.zeros_like(s), s], 1) if s.ndim == 1 else s)
        for name, s in scores.items()
    }
    targets = {name: torch.from_numpy(t) for name, t in examples.targets.items()}
    return float(joint_loss(*task_losses(logits, targets), recipe.tasks))


def _renew_statistics(
    net: Any, recipe: Recipe, train: Examples, fs_hz: float | None, device: torch.device
) -> None:
    """The statistics of batch normalisation over the training examples, as they are."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    net.train()
    with torch.no_grad():
        for batch in loader(train, recipe.training.batch):
            if len(batch["place"]) < 2 <= len(train):
                continue
            clinical = batch.get("clinical")
            x = entered(net, batch["x"].to(device), fs_hz)
            net(x, None if clinical is None else clinical.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()

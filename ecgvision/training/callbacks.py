"""What goes along with a training: its table, its clock, averaged weights, a line an epoch."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.optim.swa_utils import AveragedModel

from ecgvision.output import write_files
from ecgvision.training.errors import TrainingError
from ecgvision.training.module import MultiTaskModule

Say = Callable[[str], None]


class History(pl.Callback):
    """Keeps metrics.csv: one row an epoch. The rows travel in the checkpoints."""

    def __init__(self, path: Path, say: Say, epochs: int) -> None:
        self._path, self._say, self._epochs = path, say, epochs
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]

    def on_train_epoch_end(self, trainer: Any, pl_module: MultiTaskModule) -> None:
        metrics = pl_module.metrics
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        head = {"epoch": trainer.current_epoch, "step": trainer.global_step, "learning_rate": rate}
        self.rows.append({**head, **metrics})
        if not all(math.isfinite(v) for k, v in metrics.items() if k.endswith("_loss")):
            raise TrainingError(
                f"epoch {trainer.current_epoch + 1}: the loss is no longer finite; "
                "try a smaller training.learning_rate, or training.clip_norm=1"
            )
        if trainer.is_global_zero:
            write_files({self._path: csv_bytes(self.rows)})
            self._say(_line(metrics, trainer.current_epoch + 1, self._epochs))


def csv_bytes(rows: list[dict[str, float]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _line(metrics: dict[str, float], epoch: int, epochs: int) -> str:
    areas = [
        f"{name.removeprefix('validation_auc_')} {value:.3f}"
        for name, value in metrics.items()
        if name.startswith("validation_auc_")
    ]
    return (
        f"epoch {epoch}/{epochs}: loss {metrics['train_loss']:.4f}, "
        f"validation {metrics['validation_loss']:.4f}, AUC {', '.join(areas)}"
    )


class Clock(pl.Callback):
    """How many examples a second were trained on, and how long steps waited for their data.

    Waiting is all between two steps: loading, what remains of it, and the way to the device.
    The first step, which sets up much, is left out. On a GPU steps run on while the next is
    prepared; the clock waits for it once an epoch alone.
    """

    def __init__(self) -> None:
        self.seconds = self.waiting_s = 0.0
        self.examples = 0
        self._ended: float | None = None
        self._began: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "waiting_s": self.waiting_s, "examples": self.examples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = float(state_dict["seconds"])
        self.waiting_s = float(state_dict["waiting_s"])
        self.examples = int(state_dict["examples"])

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._ended is None:
            return
        now = time.perf_counter()
        self.waiting_s += now - self._ended
        self.examples += len(batch["place"]) * trainer.world_size
        self._began = self._ended

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 == trainer.num_training_batches and torch.cuda.is_available():
            torch.cuda.synchronize()
        self._ended = time.perf_counter()
        if self._began is not None:
            self.seconds += self._ended - self._began
            self._began = None

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._ended = None

    def told(self) -> dict[str, float | None]:
        """For run.json."""
        if not self.seconds:
            return {"examples_per_s": None, "waiting_share": None}
        return {
            "examples_per_s": round(self.examples / self.seconds, 2),
            "waiting_share": round(self.waiting_s / self.seconds, 4),
        }


class Averaging(pl.Callback):
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the last epochs' weights.

    From `first_epoch` on, at the end of each; the learning rate stays what it is. Statistics of
    batch normalisation are not averaged: pass the data through `average` afterwards.
    """

    def __init__(self, first_epoch: int) -> None:
        self._first_epoch = first_epoch
        self._kept: dict[str, Any] | None = None
        self.average: AveragedModel | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"average": None if self.average is None else self.average.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._kept = state_dict["average"]

    def on_train_start(self, trainer: Any, pl_module: MultiTaskModule) -> None:
        if self._kept is not None:
            self.average = AveragedModel(pl_module.net)
            self.average.load_state_dict(self._kept)
            self._kept = None

    def on_train_epoch_end(self, trainer: Any, pl_module: MultiTaskModule) -> None:
        if trainer.current_epoch < self._first_epoch:
            return
        if self.average is None:
            self.average = AveragedModel(pl_module.net)
        self.average.update_parameters(pl_module.net)

    def restored(self, net: torch.nn.Module) -> AveragedModel | None:
        """The average, also of a training that ended before it was asked to go on."""
        if self.average is None and self._kept is not None:
            self.average = AveragedModel(net)
            self.average.load_state_dict(self._kept)
        return self.average

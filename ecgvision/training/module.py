"""The training step and the validation of a network, for Lightning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from ecgvision.models import MultiTaskNet
from ecgvision.models.asked import crop_samples, mean_logits
from ecgvision.tasks import Task
from ecgvision.training.asking import entered, log_odds
from ecgvision.training.augment import mixed, varied_pages, varied_signals
from ecgvision.training.data import Batch, EpochOrder, Examples, loader
from ecgvision.training.recipe import Recipe

# Loaders in processes of their own, beside a GPU.
_WORKERS_FOR_GPU = 2


def task_losses(
    logits: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    smoothing: float = 0.0,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Summed cross-entropy of each task over the examples whose label is known, and their number.

    NaN targets are not known. Where none is, the sum is 0 and still hangs on the logits, so that
    its gradient is 0.
    """
    sums, counts = {}, {}
    for name, found in logits.items():
        known = torch.isfinite(targets[name])
        classes = torch.where(known, targets[name], torch.zeros_like(targets[name])).long()
        losses = functional.cross_entropy(
            found.float(), classes, reduction="none", label_smoothing=smoothing
        )
        sums[name] = (losses * known).sum()
        counts[name] = known.sum()
    return sums, counts


def joint_loss(
    sums: Mapping[str, Tensor], counts: Mapping[str, Tensor], tasks: Sequence[Task]
) -> Tensor:
    """The tasks' mean losses by their weights, which are taken as shares of their sum."""
    total = sum(task.weight for task in tasks)
    parts = [t.weight / total * sums[t.name] / counts[t.name].clamp(min=1) for t in tasks]
    return torch.stack(parts).sum()


def statement_loss(logits: Tensor, said: Tensor) -> Tensor:
    """The mean cross-entropy of (n, words) logits over what is known of them, 0 without any."""
    known = torch.isfinite(said)
    each = functional.binary_cross_entropy_with_logits(
        logits.float(), torch.where(known, said, torch.zeros_like(said)), reduction="none"
    )
    return (each * known).sum() / known.sum().clamp(min=1)


class MultiTaskModule(pl.LightningModule):
    """A network with the data it learns from. All it draws by chance hangs on seed, step and rank.

    That makes a training that goes on from a checkpoint the same as one that never stopped.
    """

    def __init__(
        self,
        net: MultiTaskNet,
        recipe: Recipe,
        train: Examples,
        validation: Examples,
        fs_hz: float | None,
    ) -> None:
        super().__init__()
        self.net, self.recipe = net, recipe
        self._train, self._validation = train, validation
        self._fs_hz = fs_hz
        words = 0 if train.statements is None else train.statements.shape[1]
        self.readers = nn.ModuleList(nn.Linear(net.width, words) for _ in net.members if words)
        """What reads the statements off each member: no part of the network."""
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._scores: list[tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]] = []
        self.metrics: dict[str, float] = {}
        """What the last epoch gave, by the name of the column in metrics.csv."""

    # --- data ---------------------------------------------------------------------------------

    def train_dataloader(self) -> Any:
        trainer, how = self.trainer, self.recipe.training
        order = EpochOrder(len(self._train), how.seed, trainer.global_rank, trainer.world_size)
        return self._loader(self._train, order)

    def val_dataloader(self) -> Any:
        trainer = self.trainer
        places = np.arange(trainer.global_rank, len(self._validation), trainer.world_size)
        return self._loader(self._validation.part(places), None)

    def _loader(self, examples: Examples, order: EpochOrder | None) -> Any:
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        workers = self.recipe.training.workers
        if workers < 0:
            workers = _WORKERS_FOR_GPU if on_gpu else 0
        how = self.recipe.training
        return loader(examples, how.batch, order=order, workers=workers, pin=on_gpu)

    # --- training -----------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        self._sums["train"] = {}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        how = self.recipe.training
        torch.manual_seed(_step_seed(how.seed, self.global_step, self.global_rank))
        x = entered(self.net, batch["x"], self._fs_hz)
        if self.net.signal:
            x = varied_signals(x, how.augment, self.recipe.model.fs_hz)
        else:
            x = varied_pages(x, how.augment)
        others, share = None, 1.0
        if how.augment.mixup and "clinical" not in batch:
            x, others, share = mixed(x, how.augment.mixup)
        x = self._laid_out(x)
        # Each member has a loss of its own: with that of their mean they would lean on others.
        losses = []
        for number, member in enumerate(self.net.members):
            embedded = member.embedded(x, batch.get("clinical"))
            loss = self._loss(number, embedded, batch, None)
            if others is not None:
                theirs = self._loss(number, embedded, batch, others)
                loss = share * loss + (1 - share) * theirs
            losses.append(loss)
        # So scaled, the gradient of all is about as long as that of one: clipping means the same.
        return torch.stack(losses).sum() / len(losses) ** 0.5

    def _loss(self, number: int, embedded: Tensor, batch: Batch, others: Tensor | None) -> Tensor:
        """A member's loss by the labels of the batch, or those of the `others` mixed into it."""
        how, net = self.recipe.training, self.net.members[number]
        targets = batch["targets"]
        if others is not None:
            targets = {name: values[others] for name, values in targets.items()}
        sums, counts = task_losses(net.read(embedded), targets, how.label_smoothing)
        if others is None:
            self._add("train", sums, counts)
        loss = joint_loss(sums, counts, self.recipe.tasks)
        if not len(self.readers):
            return loss
        said = batch["statements"] if others is None else batch["statements"][others]
        return loss + how.statements.weight * statement_loss(self.readers[number](embedded), said)

    def _laid_out(self, x: Tensor) -> Tensor:
        if self.net.signal or not self.recipe.training.channels_last:
            return x
        return x.contiguous(memory_format=torch.channels_last)

    def _add(self, split: str, sums: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> None:
        total = self._sums.setdefault(split, {})
        for name in sums:
            for key, value in ((f"sum {name}", sums[name]), (f"count {name}", counts[name])):
                total[key] = total.get(key, 0) + value.detach().double()

    # --- validation ---------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._sums["validation"], self._scores = {}, []

    def validation_step(self, batch: Batch, _: int) -> None:
        x = self._laid_out(entered(self.net, batch["x"], self._fs_hz))
        crop = crop_samples(self.net, self.recipe.training.augment.crop_s)
        logits = mean_logits(self.net, x, batch.get("clinical"), crop)
        self._add("validation", *task_losses(logits, batch["targets"]))
        scores = {t.name: log_odds(t, logits[t.name]) for t in self.recipe.tasks}
        # Places count within this process's part.
        places = batch["place"].cpu().numpy() * self.trainer.world_size + self.global_rank
        self._scores.append((places, scores))

    def on_validation_epoch_end(self) -> None:
        metrics = {}
        for split in ("train", "validation"):
            metrics.update(self._losses(split, self._gathered_sums(split)))
        metrics.update(self._aucs())
        self.metrics = metrics
        for name, value in metrics.items():
            self.log(name, torch.tensor(value, dtype=torch.float32), rank_zero_only=False)

    def _gathered_sums(self, split: str) -> dict[str, float]:
        sums = self._sums.get(split, {})
        if not sums:
            return {}
        told = torch.stack([sums[key] for key in sorted(sums)])
        if self.trainer.world_size > 1:
            told = self.trainer.strategy.reduce(told, reduce_op="sum")
        return dict(zip(sorted(sums), told.tolist(), strict=True))

    def _losses(self, split: str, sums: Mapping[str, float]) -> dict[str, float]:
        if not sums:
            return {}
        tasks = self.recipe.tasks
        means = {t.name: sums[f"sum {t.name}"] / max(sums[f"count {t.name}"], 1) for t in tasks}
        joint = sum(t.weight * means[t.name] for t in tasks) / sum(t.weight for t in tasks)
        return {f"{split}_loss": joint, **{f"{split}_loss_{n}": v for n, v in means.items()}}

    def _aucs(self) -> dict[str, float]:
        parts = self._scores
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, parts)
            parts = [part for one in gathered for part in one]
        places = np.concatenate([place for place, _ in parts])
        found = {}
        for task in self.recipe.tasks:
            scores = np.concatenate([scores[task.name] for _, scores in parts])
            targets = self._validation.targets[task.name][places]
            found[f"validation_auc_{task.name}"] = auc(task, targets, scores)
        return found

    # --- optimisation -------------------------------------------------------------------------

    def configure_optimizers(self) -> dict[str, Any]:
        how = self.recipe.training
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        warm_up = min(how.warmup_steps, max(steps // 2, 1)) if how.warmup_steps else 0

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            return max(0.0, (steps - step) / max(steps - warm_up, 1))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def auc(task: Task, targets: NDArray[np.float32], scores: NDArray[np.float64]) -> float:
    """The area under the ROC curve, for several classes the mean of one against the rest.

    NaN where it is not defined.
    """
    if not np.isfinite(scores).all():
        return np.nan
    known = np.isfinite(targets)
    targets, scores = targets[known], scores[known]
    if task.is_binary:
        return float(roc_auc_score(targets, scores)) if len(np.unique(targets)) == 2 else np.nan
    each = [
        float(roc_auc_score(targets == k, scores[:, k] - np.delete(scores, k, axis=1).max(axis=1)))
        for k in range(task.outputs)
        if 0 < (targets == k).sum() < len(targets)
    ]
    return float(np.mean(each)) if each else np.nan


def _step_seed(seed: int, step: int, rank: int) -> int:
    """One number of three that do not collide in any training."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)

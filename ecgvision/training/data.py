"""Rows of a data set as batches: arrays are read where they lie, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from ecgvision.dataset.store import Dataset
from ecgvision.tasks import Task
from ecgvision.training.beats import lead_beats
from ecgvision.training.errors import TrainingError
from ecgvision.training.recipe import Recipe

Rows = NDArray[np.int64]
Batch = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Examples(torch.utils.data.Dataset):  # type: ignore[type-arg,unused-ignore]
    """Some rows of a data set with what a network gets of them.

    A batch has `x`, (n, H, W) ``uint8`` images or (n, 12, T) float32 mV, `clinical` (n, columns)
    and `statements` (n, words) where there are any, `targets` by task, NaN where unknown, and the
    places of its rows.
    """

    source: NDArray[Any]
    rows: Rows
    targets: dict[str, NDArray[np.float32]]
    clinical: NDArray[np.float32] | None = None
    statements: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Batch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> Batch:
        chosen = np.asarray(places, dtype=np.int64)
        batch: Batch = {
            "x": torch.from_numpy(np.stack([self.source[row] for row in self.rows[chosen]])),
            "targets": {n: torch.from_numpy(t[chosen]) for n, t in self.targets.items()},
            "place": torch.from_numpy(chosen),
        }
        for name, values in (("clinical", self.clinical), ("statements", self.statements)):
            if values is not None:
                batch[name] = torch.from_numpy(values[chosen])
        return batch

    def __reduce__(self) -> tuple[object, ...]:
        # Loaders in other processes open the file; a memory map would travel by its contents.
        rest = (self.rows, self.targets, self.clinical, self.statements)
        return _examples, (_by_path(self.source), *rest)

    def part(self, places: Rows) -> Examples:
        return Examples(
            self.source,
            self.rows[places],
            {name: values[places] for name, values in self.targets.items()},
            None if self.clinical is None else self.clinical[places],
            None if self.statements is None else self.statements[places],
        )


def _by_path(source: NDArray[Any]) -> object:
    if isinstance(source, np.memmap) and source.filename is not None:
        return (str(source.filename), source.dtype.str, source.shape, source.offset)
    return source


def _examples(source: Any, *rest: Any) -> Examples:
    if isinstance(source, tuple):
        path, dtype, shape, offset = source
        source = np.memmap(path, dtype, "r", offset, shape)
    return Examples(source, *rest)


class EpochOrder(Sampler[int]):
    """Places in an order that seed and epoch alone decide, dealt out to so many processes.

    Each process gets as many: those that would be left over are given out twice.
    """

    def __init__(self, count: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self._count, self._seed = count, seed
        self._rank, self._processes = rank, processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._count // self._processes)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._count)
        dealt = np.resize(order, len(self) * self._processes)
        return iter(dealt[self._rank :: self._processes].tolist())


def as_batch(found: Batch) -> Batch:
    """The collate function: `Examples` gives whole batches already."""
    return found


def loader(
    examples: Examples,
    batch: int,
    *,
    order: Sampler[int] | None = None,
    workers: int = 0,
    pin: bool = False,
) -> DataLoader[Any]:
    """Batches of examples, in `order` or as they stand; of an order full batches only."""
    return DataLoader(
        examples,
        batch_size=batch,
        sampler=order,
        # A last batch of one would spoil batch normalisation; which rows it has changes anyway.
        drop_last=order is not None and len(order) > batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        collate_fn=as_batch,
    )


# --- what a recipe takes of a data set --------------------------------------------------------


def input_array(recipe: Recipe, dataset: Dataset) -> NDArray[Any]:
    """Images, signals or beats of all rows; raises `TrainingError` where there are none."""
    name = dataset.about.name
    if recipe.input == "image":
        if dataset.images is None:
            raise TrainingError(
                f"recipe {recipe.id} needs images, data set {name!r} has signals only; render or "
                "build it with images, or take a recipe of signals"
            )
        return dataset.images
    if dataset.signals is None or dataset.about.signal is None:
        raise TrainingError(
            f"recipe {recipe.id} needs signals, data set {name!r} has images only; build it from a "
            "conversion with --signals, or take a recipe of images"
        )
    if recipe.model.whole_recordings:
        return dataset.signals
    fs_hz = dataset.about.signal.fs_hz
    beats = np.empty(
        (len(dataset), dataset.signals.shape[1], recipe.model.beat_samples), np.float32
    )
    for row, signal in enumerate(dataset.signals):
        beats[row] = lead_beats(signal, fs_hz, recipe.model)
    return beats


def targets_of(
    tasks: Sequence[Task], dataset: Dataset, rows: Rows
) -> dict[str, NDArray[np.float32]]:
    """The targets of all tasks; raises `TrainingError` where a column is missing, `LabelError`."""
    found = {}
    for task in tasks:
        if task.source not in dataset.rows:
            raise TrainingError(
                f"task {task.name} needs a column {task.source!r}, data set "
                f"{dataset.about.name!r} has the labels "
                f"{', '.join(dataset.about.named('label')) or '(none)'}; "
                "give other tasks with --tasks, or build the data set with that label"
            )
        found[task.name] = task.targets(dataset.rows[task.source].iloc[rows].tolist())
    return found


def clinical_frame(columns: Sequence[str], dataset: Dataset) -> Any:
    """The clinical columns of all rows as a frame; raises `TrainingError` where one is missing."""
    lacking = [name for name in columns if name not in dataset.rows]
    if lacking:
        raise TrainingError(
            f"clinical columns {', '.join(lacking)} are needed, data set "
            f"{dataset.about.name!r} has {', '.join(dataset.about.named('clinical')) or '(none)'}; "
            "build it with them, or take a recipe without clinical features"
        )
    return dataset.rows[list(columns)].astype("float64")


def split_rows(recipe: Recipe, dataset: Dataset, split: str) -> Rows:
    """The rows of a split that a recipe trains on or is stopped by; of its formats.

    Raises `TrainingError` where there are none, or where a task's label is known in none of them.
    """
    rows = dataset.chosen(split, recipe.formats)
    where = f" of format {', '.join(recipe.formats)}" if recipe.formats else ""
    if not len(rows):
        raise TrainingError(
            f"data set {dataset.about.name!r} has no rows{where} in split {split}; "
            "make splits with `ecgvision dataset split`"
        )
    for name, targets in targets_of(recipe.tasks, dataset, rows).items():
        if not np.isfinite(targets).any():
            raise TrainingError(
                f"task {name}: no label is known in the {len(rows)} rows{where} of split {split}; "
                "leave the task out with --tasks, or split so that some are"
            )
    return rows

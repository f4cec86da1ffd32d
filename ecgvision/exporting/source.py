"""What is exported: the network of a run, or of a model of the zoo, and pages to try it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecgvision.dataset.store import Dataset
from ecgvision.exporting.onnx_file import ExportError
from ecgvision.models.asked import Recordings
from ecgvision.tasks import Task
from ecgvision.training.data import clinical_frame, targets_of
from ecgvision.training.run import ABOUT, read_run

if TYPE_CHECKING:
    from ecgvision.models import MultiTaskNet

# More pages hardly move the ranges.
MOST_PAGES = 512


@dataclass(frozen=True)
class Source:
    """A trained network: of images of `image_px` and `style`, or of `recordings`."""

    name: str
    net: MultiTaskNet = field(repr=False)
    tasks: tuple[Task, ...]
    clinical: tuple[str, ...]
    formats: tuple[str, ...]
    image_px: tuple[int, int]
    style: str
    recordings: Recordings | None = None


def source_of(name: str) -> Source:
    """The network of the run in a folder, or of the model of that id or `model.toml`.

    Raises `ExportError` for one that cannot be exported; `TrainingError`, `ModelError`.
    """
    run = Path(name)
    found = _of_run(run) if (run / ABOUT).is_file() else _of_model(name)
    if found.recordings is None and found.image_px != found.net.settings.image_px:
        raise ExportError(
            f"{found.name}: expected a network that takes images as its data set has them, "
            f"{found.image_px[0]} x {found.image_px[1]} px, found model.image_px "
            f"{found.net.settings.image_px}; train it with one size"
        )
    return found


def _of_run(run: Path) -> Source:
    from ecgvision.training.predicting import trained_net

    recipe, about = read_run(run)
    image, signal = about["data"].get("image"), about["data"].get("signal")
    whole = recipe.input == "signal" and recipe.model.whole_recordings
    if recipe.kind != "deep" or not (whole or recipe.input == "image"):
        raise ExportError(
            f"{run.name}: expected a network of images or of whole recordings, found {recipe.id}"
        )
    about_it = (run.name, trained_net(recipe, run), recipe.tasks, recipe.clinical, recipe.formats)
    if whole:
        crop_s = recipe.training.augment.crop_s
        told = Recordings(float(signal["fs_hz"]), int(signal["samples"]), crop_s)
        return Source(*about_it, (0, 0), "", told)
    size = (int(image["height_px"]), int(image["width_px"]))
    return Source(*about_it, size, image["style"] or "canonical")


def _of_model(name: str) -> Source:
    from ecgvision.predicting.model import load_torch_model

    model, network = load_torch_model(name)
    config, entry = model.config, model.entry
    about_it = (entry.id, network.net, config.recipe.tasks, model.clinical, entry.formats)
    if config.is_signal:
        return Source(*about_it, (0, 0), "", network.recordings)
    return Source(*about_it, model.image_px, config.image.style)


@dataclass(frozen=True)
class Pages:
    """Pages with what is known of them: (n, k) clinical features, and targets by task.

    `given` is what the network takes: (n, H, W) ``uint8``, or (n, 12, T) float32 mV.
    """

    given: NDArray[Any] = field(repr=False)
    clinical: NDArray[np.float32] | None = field(repr=False)
    targets: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)


def pages_of(
    source: Source, dataset: Dataset, split: str, *, most: int = 0, labelled: bool = False
) -> Pages:
    """Pages of a split in the formats that the network was trained on, `most` of them, evenly.

    Features that are not known are filled in by their means: the pages only try a file against
    another. Raises `ExportError` for images of another size, signals of another rate or length, and
    a split without rows.
    """
    about = dataset.about
    array = _images(source, dataset) if source.recordings is None else _signals(source, dataset)
    rows = dataset.chosen(split, source.formats)
    if not len(rows):
        raise ExportError(f"data set {about.name!r} has no rows in split {split}; split it")
    if most and len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    clinical = None
    if source.clinical:
        table = np.asarray(clinical_frame(source.clinical, dataset).iloc[rows], np.float32)
        known = np.isfinite(table)
        sums = np.where(known, table, 0).sum(axis=0)
        clinical = np.where(known, table, sums / np.maximum(known.sum(axis=0), 1))
        clinical = clinical.astype(np.float32)
    targets = targets_of(source.tasks, dataset, rows) if labelled else {}
    return Pages(np.array(array[rows]), clinical, targets)


def _images(source: Source, dataset: Dataset) -> NDArray[Any]:
    about, images = dataset.about, dataset.images
    if images is None or about.image is None:
        raise ExportError(f"data set {about.name!r} has no images; name one that has")
    found = (about.image.height_px, about.image.width_px)
    style = about.image.style or "canonical"
    if (found, style) != (source.image_px, source.style):
        raise ExportError(
            f"data set {about.name!r}: expected {source.style} images of {source.image_px[0]} x "
            f"{source.image_px[1]} px, found {style} ones of {found[0]} x {found[1]}; name one "
            "that the network could have been trained on"
        )
    return images


def _signals(source: Source, dataset: Dataset) -> NDArray[Any]:
    about, signals, due = dataset.about, dataset.signals, source.recordings
    if signals is None or about.signal is None or due is None:
        raise ExportError(f"data set {about.name!r} has no signals; name one that has")
    found = about.signal
    if (found.fs_hz, found.samples) != (due.fs_hz, due.samples):
        raise ExportError(
            f"data set {about.name!r}: expected signals of {due.samples} samples at {due.fs_hz:g} "
            f"Hz, found {found.samples} at {found.fs_hz:g} Hz; name one that the network could "
            "have been trained on"
        )
    return signals

"""A tiny network as a folder of the zoo: random weights from a seed, all files in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecgvision.dataset.about import DatasetInfo
from ecgvision.exporting.onnx_file import onnx_bytes
from ecgvision.models import ModelSettings, MultiTaskNet
from ecgvision.models.asked import Recordings
from ecgvision.models.weights import weight_bytes
from ecgvision.tasks import Task
from ecgvision.training.recipe import Recipe, recipe_text
from ecgvision.types import LEADS
from ecgvision.zoo.catalogue import entry_text
from ecgvision.zoo.entry import Entry

TASKS = (Task(name="mi", title="Infarction"), Task(name="cd", title="Conduction"))
SIDE_PX = (64, 96)
MODEL = {
    "backbone": "mobilenetv3_small_050",
    "image_px": list(SIDE_PX),
    "planes": 1,
    "normalise": "ink",
    "embedding": 32,
}
SIGNAL_MODEL = {
    "backbone": "resnet1d", "fs_hz": 100.0, "width": 8, "lead_width": 4, "depth": 1, "kernel": 5,
    "embedding": 16,
}  # fmt: skip
RECORDINGS = Recordings(200.0, 2000, crop_s=5.0)
CARD = "# Tiny\n\nResearch software, not a medical device. It knows nothing.\n"
FITTED = {
    "age": "age_years",
    "sex": "sex",
    "mean_age": 60.0,
    "mean_sex": 0.5,
    "steps": [],
    "sex_threshold": 0.5,
    "features": {},
}


def tiny_signal_net(seed: int = 0, tasks: Sequence[Task] = TASKS) -> MultiTaskNet:
    """One of whole recordings, whose answers differ from one to the next."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    net = MultiTaskNet(tasks, ModelSettings.model_validate(SIGNAL_MODEL), (), signal=True)
    rng = np.random.default_rng(seed)
    # Beats and flat lines: running statistics of what it is going to be asked about.
    heights = rng.uniform(0, 2, (16, len(LEADS), 1))
    beats = heights * (rng.random((16, 1, 500)) < 0.03) + rng.normal(0, 0.05, (16, len(LEADS), 500))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None
    with torch.no_grad():
        net.train()(torch.from_numpy(beats.astype(np.float32)))
        for head in net.heads.values():
            head.weight.mul_(2)
    return net.eval()


def tiny_net(
    clinical: tuple[str, ...] = (), seed: int = 0, tasks: Sequence[Task] = TASKS
) -> MultiTaskNet:
    """Its answers differ from page to page, as an untrained network's hardly do."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    net = MultiTaskNet(tasks, ModelSettings.model_validate(MODEL), clinical)
    # Running statistics of some pages, so that what comes out is neither nothing nor too much.
    rng = np.random.default_rng(seed)
    pages = np.ones((16, 1, *SIDE_PX), np.float32)
    pages[rng.random(pages.shape) < rng.uniform(0.02, 0.3, (16, 1, 1, 1))] = 0
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()
        for _ in range(2):
            net(torch.from_numpy(pages), torch.zeros(16, len(clinical)) if clinical else None)
        for head in net.heads.values():
            head.weight.mul_(4)
    return net.eval()


@lru_cache
def _network(clinical: tuple[str, ...], signal: bool) -> tuple[bytes, bytes]:
    if signal:
        net = tiny_signal_net()
        return weight_bytes(net), onnx_bytes(net, RECORDINGS)
    net = tiny_net(clinical)
    return weight_bytes(net), onnx_bytes(net)


def tiny_zoo(
    folder: Path,
    name: str = "tiny",
    *,
    clinical: tuple[str, ...] = (),
    with_onnx: bool = True,
    signal: bool = False,
    **entry: Any,
) -> Path:
    """Write the folder; gives its `model.toml`. `entry` replaces what that says."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    image = {"style": "canonical", "height_px": SIDE_PX[0], "width_px": SIDE_PX[1]}
    seen = {"fs_hz": RECORDINGS.fs_hz, "samples": RECORDINGS.samples, "leads": list(LEADS)}
    shape = {"signal": {"fs_hz": RECORDINGS.fs_hz, "seconds": 10.0}} if signal else {"image": image}
    config = {
        "kind": "ecgvision-model",
        "version": 1,
        "recipe": {
            "id": name,
            "tasks": [task.model_dump(mode="json") for task in TASKS],
            "input": "signal" if signal else "image",
            "clinical": list(clinical),
            "model": SIGNAL_MODEL if signal else MODEL,
            "training": {"augment": {"crop_s": RECORDINGS.crop_s}},
        },
        "run": {"data": {"name": "tiny", "simulated": False, "image": image, "signal": seen}},
    }
    if clinical:
        config["clinical"] = FITTED
    weights, onnx = _network(clinical, signal)
    files = {"config.json": json.dumps(config).encode(), "weights.safetensors": weights}
    if with_onnx:
        files["model.onnx"] = onnx
    roles = {"config.json": "config", "weights.safetensors": "weights", "model.onnx": "onnx"}
    told = {
        "id": name,
        "title": "A tiny network",
        "status": "available",
        "licence": "Apache-2.0",
        "formats": ["ge-mac1200", "philips-tc30"],
        "input": "signal" if signal else "image",
        **shape,
        "tasks": [{**t.model_dump(mode="json"), "definition": t.title} for t in TASKS],
        "files": [
            {
                "name": one,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "role": roles[one],
            }
            for one, data in files.items()
        ],
        "thresholds": [
            {"task": "mi", "name": "Youden", "threshold": 0.4, "chosen_on": "validation"}
        ],
        "calibration": [{"task": "mi", "temperature": 2.0, "fitted_on": "validation"}],
        **entry,
    }
    for one, data in files.items():
        (home / one).write_bytes(data)
    (home / "README.md").write_text(CARD)
    (home / "model.toml").write_text(entry_text(Entry.model_validate(told)))
    return home / "model.toml"


def rehashed(path: Path, name: str, data: bytes) -> None:
    """Replace a file of a folder of the zoo, and tell its `model.toml`."""
    file = path.parent / name
    old = file.read_bytes()
    file.write_bytes(data)
    text = path.read_text().replace(f"bytes = {len(old)}", f"bytes = {len(data)}")
    path.write_text(text.replace(*(hashlib.sha256(one).hexdigest() for one in (old, data))))


def untrained_run(run: Path, recipe: Recipe, net: MultiTaskNet, data: DatasetInfo) -> Path:
    """What `train` leaves, of a network that was not trained."""
    run.mkdir()
    weights = weight_bytes(net)
    image, signal = (one and one.model_dump(mode="json") for one in (data.image, data.signal))
    about = {
        "kind": "ecgvision-run",
        "version": 1,
        "status": "done",
        "recipe": {"id": recipe.id, "title": recipe.title, "kind": recipe.kind},
        "data": {"name": data.name, "simulated": False, "image": image, "signal": signal},
        "sha256": {"weights.safetensors": hashlib.sha256(weights).hexdigest()},
    }
    (run / "recipe.toml").write_text(recipe_text(recipe))
    (run / "run.json").write_text(json.dumps(about))
    (run / "weights.safetensors").write_bytes(weights)
    return run

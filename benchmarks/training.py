"""Images a second in training, against the plain loop of the study, and how long steps wait.

Both train the same network on the same pages, made here of noise and lines, on the same machine
one after the other, several times in turn; the medians count. The plain loop is what the study
describes, written plainly: pages as PNG files, each opened with Pillow, scaled, blurred and changed
in brightness and contrast one by one, three planes, fp32, channels first. Ours is `train_run`:
one memory-mapped array, light steps on whole batches on the device, channels last, bf16 on a GPU.

    python benchmarks/training.py [--backbone resnet34d] [--side 384] [--batch 16] [--steps 8]

Seconds of a busy machine tell little; beside them stand those of the processor that this process
used, which others' work hardly touches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageEnhance, ImageFilter

from ecgvision.dataset.about import ColumnInfo, DatasetInfo, ImageInfo
from ecgvision.dataset.store import Dataset, write_dataset
from ecgvision.models import MultiTaskNet
from ecgvision.training.module import joint_loss, task_losses
from ecgvision.training.recipe import Recipe, load_recipe
from ecgvision.training.run import train_run

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def main() -> None:
    options = _options()
    recipe = load_recipe(
        "multi",
        [
            f"model.backbone={options.backbone}",
            f"model.image_px=[{options.side}, {options.side}]",
            f"model.planes={options.planes}",
            f"training.batch={options.batch}",
            "training.epochs=1",
            "training.swa=false",
            "training.warmup_steps=0",
        ],
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rates: dict[str, list[float]] = {"plain": [], "ours": [], "plain cpu": [], "ours cpu": []}
    waiting = []
    with tempfile.TemporaryDirectory() as name:
        dataset = made(Path(name) / "data", options.steps * options.batch, options.side)
        files = as_files(dataset, Path(name) / "pages")
        for turn in range(options.turns):
            wall, cpu = plain_loop(recipe, dataset, files, device)
            rates["plain"].append(wall)
            rates["plain cpu"].append(cpu)
            began_s = time.process_time()
            told = train_run(recipe, dataset, Path(name) / f"run-{turn}")
            spent_s = time.process_time() - began_s
            rates["ours"].append(told["examples_per_s"])
            # With the validation of one batch and all that a run writes.
            rates["ours cpu"].append(told["data"]["rows"]["train"] / spent_s)
            waiting.append(told["waiting_share"])
    medians = {key: round(statistics.median(values), 2) for key, values in rates.items()}
    print(
        json.dumps(
            {
                "backbone": options.backbone,
                "side_px": options.side,
                "batch": options.batch,
                "device": torch.cuda.get_device_name(0) if device == "cuda" else "cpu",
                "threads": torch.get_num_threads(),
                "images_per_s": medians,
                "ratio": round(medians["ours"] / medians["plain"], 2),
                "ratio_cpu": round(medians["ours cpu"] / medians["plain cpu"], 2),
                "waiting_share": round(statistics.median(waiting), 4),
            },
            indent=2,
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet34d")
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--planes", type=int, default=3, choices=(1, 3), help="ours; plain: 3")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


def made(folder: Path, count: int, side_px: int) -> Dataset:
    """So many training pages and one batch to validate on; no step depends on what they show."""
    rng = np.random.default_rng(0)
    total = count + 8
    images = np.full((total, side_px, side_px), 255, np.uint8)
    heights = rng.integers(0, side_px, (total, side_px))
    images[np.arange(total)[:, None], heights, np.arange(side_px)] = 0
    rows = pd.DataFrame(
        {
            "record": [str(k) for k in range(total)],
            "patient": [str(k) for k in range(total)],
            "source": "made",
            "split": ["train"] * count + ["validation"] * 8,
            "scar": np.arange(total) % 2.0,
            "lvef_percent": 40.0 + 20 * (np.arange(total) % 2),
        }
    )
    about = DatasetInfo(
        name="made",
        simulated=True,
        image=ImageInfo(height_px=side_px, width_px=side_px),
        columns={"scar": ColumnInfo(role="label"), "lvef_percent": ColumnInfo(role="label")},
    )
    return write_dataset(folder, about, rows, images)


def as_files(dataset: Dataset, folder: Path) -> list[Path]:
    folder.mkdir()
    assert dataset.images is not None
    paths = []
    for row in dataset.chosen("train"):
        path = folder / f"{row}.png"
        Image.fromarray(np.array(dataset.images[row])).convert("RGB").save(path)
        paths.append(path)
    return paths


def plain_loop(
    recipe: Recipe, dataset: Dataset, files: list[Path], device: str
) -> tuple[float, float]:
    """Images a second of wall and of processor time."""
    torch.manual_seed(1)
    model = recipe.model.model_copy(update={"planes": 3})
    net = MultiTaskNet(recipe.tasks, model).to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.training.learning_rate)
    rng = np.random.default_rng(1)
    rows = dataset.chosen("train")
    targets = {t.name: t.targets(dataset.rows[t.source].iloc[rows].tolist()) for t in recipe.tasks}
    batch = recipe.training.batch
    wall_s = cpu_s = 0.0
    done = 0
    for first in range(0, len(files) - batch + 1, batch):
        began = time.perf_counter(), time.process_time()
        pages = [
            plain_page(path, recipe.model.image_px, rng) for path in files[first : first + batch]
        ]
        x = torch.from_numpy(np.stack(pages)).to(device)
        known = {
            name: torch.from_numpy(values[first : first + batch]).to(device)
            for name, values in targets.items()
        }
        loss = joint_loss(*task_losses(_logits(net, x), known), recipe.tasks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        if first:  # the first step sets up much
            wall_s += time.perf_counter() - began[0]
            cpu_s += time.process_time() - began[1]
            done += batch
    return done / wall_s, done / cpu_s


def _logits(net: MultiTaskNet, x: torch.Tensor) -> dict[str, Any]:
    """The network on three planes that are normalised already."""
    embedded = torch.relu(net.project(net.body(x)))
    return {name: head(embedded) for name, head in net.heads.items()}


def plain_page(path: Path, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    with Image.open(path) as file:
        page = file.convert("RGB").resize((size[1], size[0]))
    if rng.random() < 0.2:
        page = page.filter(ImageFilter.GaussianBlur(0.8))
    if rng.random() < 0.2:
        kernel = [0.0] * 10 + [0.2] * 5 + [0.0] * 10
        page = page.filter(ImageFilter.Kernel((5, 5), kernel, scale=1))
    page = ImageEnhance.Brightness(page).enhance(rng.uniform(0.8, 1.2))
    page = ImageEnhance.Contrast(page).enhance(rng.uniform(0.8, 1.2))
    values = np.asarray(page, np.float32).transpose(2, 0, 1) / 255
    return (values - MEAN) / STD


if __name__ == "__main__":
    main()

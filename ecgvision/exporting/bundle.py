"""A run as a folder of the zoo: weights of 16 bits, configuration, int8 file, and their hashes."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import tomlkit

from ecgvision.errors import UsageError
from ecgvision.exporting.files import Exported, exported
from ecgvision.exporting.int8 import log_odds, most_apart
from ecgvision.exporting.onnx_file import ExportError, onnx_bytes
from ecgvision.models import MultiTaskNet
from ecgvision.models.weights import load_weights, weight_bytes
from ecgvision.output import json_bytes
from ecgvision.zoo.catalogue import CARD, ENTRY, entry_of_text
from ecgvision.zoo.packing import CONFIG, WEIGHTS, check_onnx, listed, told_of

if TYPE_CHECKING:
    from ecgvision.exporting.source import Pages, Source
    from ecgvision.zoo.entry import ModelFile

INT8, ONNX = "model-int8.onnx", "model.onnx"
LARGEST_BYTES = 16_000_000
"""No file of the zoo may be larger."""


@dataclass(frozen=True)
class Bundle:
    """The files of a folder of the zoo, `model.toml` last; `told` says how they were tried."""

    files: Mapping[Path, bytes] = field(repr=False)
    told: tuple[str, ...]


def bundle(
    source: Source,
    run: Path,
    home: Path,
    calibration: Pages,
    judged: Pages | None = None,
    *,
    with_onnx: bool = False,
    force: bool = False,
) -> Bundle:
    """The files that make `home`, a folder with `model.toml` and card, an available model.

    The ONNX files are made of the weights as rounded to 16 bits: all files are one network. What
    `model.toml` says stays, but for status, reason, image or signal, and files. Raises
    `UsageError`, `PackingError`, `EntryError`, `ExportError`.
    """
    path = home / ENTRY
    for needed in (path, home / CARD):
        if not needed.is_file():
            raise UsageError(
                f"{home}: expected {needed.name}, found none; write it first, with status "
                '"no-weights" and a reason, as docs/models.md describes'
            )
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    _, config, left_out = told_of(run, home / CARD)
    weights = weight_bytes(source.net, half=True)
    rounded = replace(source, net=_loaded(source.net, weights))
    done: Exported = exported(rounded, calibration, judged, force=force)
    off = _rounding(source, done, calibration)
    files: dict[str, bytes] = {CONFIG: json_bytes(config), WEIGHTS: weights}
    if with_onnx:
        files[ONNX] = done.onnx
    if done.int8 is not None:
        files[INT8] = done.int8
    for name, data in files.items():
        if name.endswith(".onnx"):
            check_onnx(name, data)
        if len(data) > LARGEST_BYTES:
            raise ExportError(f"{name}: expected 16 MB at most, found {len(data):,} bytes")
    _describe(document, config, listed(files))
    text = tomlkit.dumps(document)
    entry_of_text(text, path)  # raises where the whole contradicts itself
    told = [
        *(f"left out: {key}" for key in left_out),
        f"16 bits: probabilities differ by {off:.4f} at most from those of 32",
        *(done.compared.lines() if done.compared else ()),
        *(f"{name}: {len(data):,} bytes" for name, data in files.items()),
    ]
    written = {home / name: data for name, data in files.items()}
    return Bundle({**written, path: text.encode()}, tuple(told))


def _loaded(net: MultiTaskNet, weights: bytes) -> MultiTaskNet:
    """The same network with weights read back from what is written, strictly, in 32 bits."""
    other = copy.deepcopy(net)
    with TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        path.write_bytes(weights)
        load_weights(other, path)
    other.eval()
    return other


def _rounding(source: Source, done: Exported, pages: Pages) -> float:
    some = slice(0, 64)
    clinical = None if pages.clinical is None else pages.clinical[some]
    given = np.ascontiguousarray(pages.given[some])
    exact = onnx_bytes(source.net, source.recordings)
    return most_apart(*(log_odds(one, given, clinical) for one in (exact, done.onnx)))


def _describe(
    document: tomlkit.TOMLDocument, config: Mapping[str, Any], files: tuple[ModelFile, ...]
) -> None:
    """Set what the files make true; all else, comments too, stays as it was written."""
    document["status"] = "available"
    document.pop("reason", None)
    # The Hub may have other files than these.
    document.pop("hub", None)
    for key in ("image", "signal", "files"):
        document.pop(key, None)
    data, table = config["run"]["data"], tomlkit.table()
    if config["recipe"]["input"] == "signal":
        table["fs_hz"] = data["signal"]["fs_hz"]
        table["seconds"] = data["signal"]["samples"] / data["signal"]["fs_hz"]
        document["signal"] = table
    else:
        image = data["image"]
        table["style"] = image.get("style") or "canonical"
        table["height_px"], table["width_px"] = image["height_px"], image["width_px"]
        document["image"] = table
    array = tomlkit.aot()
    for file in files:
        one = tomlkit.table()
        for key, value in file.model_dump(mode="json").items():
            one[key] = value
        array.append(one)
    document["files"] = array


def previous(home: Path) -> list[str]:
    """The names of files that a bundle would replace."""
    return [name for name in (CONFIG, WEIGHTS, ONNX, INT8) if os.path.lexists(home / name)]

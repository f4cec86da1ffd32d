"""A Hub on this machine, a client that knows no other, and a finished run to bring to it."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the tests' own Hub needs fastapi: pip install -e '.[dev]'")
pytest.importorskip("huggingface_hub")

from huggingface_hub import constants
from safetensors.numpy import save

from ecgvision.zoo.entry import Entry
from ecgvision.zoo.hub import Hub

from .server import HubServer, serving

_NUMBER = count(1)
# Large enough to be cut in several pieces.
WEIGHTS = save({"head": np.arange(70_000, dtype=np.float32)}, metadata={"format": "pt"})

RECIPE = """
id = "tiny"
title = "A tiny network"
kind = "deep"
input = "image"
formats = ["ge-mac1200"]
clinical = []
start = ""

[[tasks]]
name = "lvef"
column = "lvef_percent"
title = "LVEF < 50 %"
below = 50.0
classes = []
weight = 1.0

[model]
backbone = "resnet10t"
image_px = [64, 64]
pretrained = "/home/somebody/start.safetensors"

[training]
epochs = 1
batch = 4

[training.augment]
blur = 0.2

[trainer]
accelerator = "auto"
"""
CARD = """---
license: apache-2.0
tags: [my-tag]
---
# A tiny network

It knows nothing.
"""


@pytest.fixture(scope="session")
def running() -> Iterator[HubServer]:
    with serving() as hub:
        yield hub


@pytest.fixture
def server(
    running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubServer]:
    """The Hub, with a client that may go nowhere else, neither on purpose nor by the way."""
    running.forget()
    # The client asks a Hub for this list once a day, at an address of its own.
    harnesses = tmp_path / "harnesses.json"
    harnesses.write_text('{"standardEnvVars": [], "harnesses": {}}')
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(harnesses), raising=False)
    # As it would be, had HF_ENDPOINT been set when the client was imported.
    hosts = frozenset({*getattr(constants, "HF_URL_HOSTS", ()), "127.0.0.1"})
    monkeypatch.setattr(constants, "HF_URL_HOSTS", hosts, raising=False)
    # This machine may be busy; what is dead is tested with the client's own limits.
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 60)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 60)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    elsewhere: list[object] = []
    looked_up = socket.getaddrinfo

    def local_only(host: object, *rest: object, **named: object) -> object:
        if host not in ("127.0.0.1", "localhost"):
            elsewhere.append(host)
            raise socket.gaierror("tests stay on this machine")
        return looked_up(host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", local_only)
    yield running
    assert not elsewhere, elsewhere


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Hub:
    return Hub(server.url, tmp_path / "cache")


@pytest.fixture
def token(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "token-writes")


@pytest.fixture
def name() -> str:
    """A repository that is not there yet."""
    return f"somebody/model-{next(_NUMBER)}"


@pytest.fixture
def published(server: HubServer, name: str) -> Entry:
    """A model that is on the Hub, as a catalogue lists it."""
    return put(server, name)


def put(server: HubServer, name: str, *, private: bool = False) -> Entry:
    files = {"config.json": b'{"kind": "ecgvision-model"}\n', "weights.safetensors": WEIGHTS}
    commit = server.add(name, files, private=private)
    return entry_of(name, commit, files)


def entry_of(name: str, commit: str, files: dict[str, bytes]) -> Entry:
    roles = {"config.json": "config", "weights.safetensors": "weights", "README.md": "card"}
    return Entry.model_validate(
        {
            "id": "tiny",
            "title": "A tiny network",
            "status": "available",
            "licence": "Apache-2.0",
            "tasks": [{"name": "lvef", "below": 50, "definition": "LVEF under 50 % by CMR"}],
            "hub": {"repository": name, "revision": commit},
            "files": [
                {
                    "name": key,
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "role": roles[key],
                }
                for key, data in files.items()
            ],
        }
    )


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Gives the folder of a finished run; keywords replace values of its run.json."""

    def made(**told: object) -> Path:
        run = tmp_path / f"run-{next(_NUMBER)}"
        (run / "checkpoints").mkdir(parents=True)
        (run / "checkpoints" / "last.ckpt").write_bytes(b"\x80\x04pickled")
        (run / "metrics.csv").write_text("epoch,loss\n0,1\n")
        (run / "predictions.parquet").write_bytes(b"PAR1 patient-4711")
        (run / "recipe.toml").write_text(RECIPE)
        (run / "weights.safetensors").write_bytes(WEIGHTS)
        about = {
            "kind": "ecgvision-run",
            "version": 1,
            "status": "done",
            "recipe": {"id": "tiny", "title": "A tiny network", "kind": "deep"},
            "data": {
                "name": "cohort",
                "simulated": False,
                "sha256": "ab" * 32,
                "image": {"style": "canonical", "height_px": 64, "width_px": 64, "px_per_mm": None},
                "signal": None,
                "rows": {"train": 8, "validation": 2},
            },
            "seed": 1,
            "code": {"version": "0.1.0", "sha256": "cd" * 32},
            "environment": {"python": "3.11.7", "packages": {"torch": "2.15.0"}, "gpus": []},
            "wall_s": 3.5,
            "sha256": {"weights.safetensors": hashlib.sha256(WEIGHTS).hexdigest()},
        }
        (run / "run.json").write_text(json.dumps(about | told))
        return run

    return made


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    path = folder / "card.md"
    path.write_text(CARD)
    return path

"""`ecgvision models` as a user gives it, the client set by its own environment variables."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ecgvision.cli import main
from ecgvision.zoo.catalogue import entry_text
from ecgvision.zoo.hub import Hub

from .conftest import CARD, WEIGHTS, put
from .server import HubServer

# The client's own way of sending large files.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def models(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `ecgvision models` in this process; `cache` is another computer's."""

    def run(*arguments: object, token: str = "", cache: Path = hub.cache) -> Result:
        monkeypatch.setenv("HF_TOKEN", token)
        monkeypatch.setattr(Hub, "default", classmethod(lambda cls: Hub(hub.endpoint, cache)))
        given = ["models", *map(str, arguments)]
        return CliRunner().invoke(main, given, catch_exceptions=False)

    return run


def test_from_a_run_to_another_computer(
    models: Callable[..., Result],
    server: HubServer,
    name: str,
    make_run: Callable[..., Path],
    card: Path,
    tmp_path: Path,
) -> None:
    ready = tmp_path / "tiny.toml"
    asked = ("push", make_run(), "--repo", name, "--card", card, "--private", "--tag", "v1.0")
    seen = models(*asked, "--dry-run")
    assert seen.exit_code == 0, seen.stderr
    assert f"would go up: weights.safetensors, {len(WEIGHTS):,} bytes" in seen.stderr
    assert name not in server.repositories

    done = models(*asked, "-o", ready, token="token-writes")
    assert done.exit_code == 0, done.stderr
    repository = server.repositories[name]
    assert repository.private
    assert repository.tags == {"v1.0": repository.head}
    assert f"(private): commit {repository.head}, tag v1.0" in done.stderr
    assert "left out: recipe.toml: trainer" in done.stderr

    pulled = models("pull", ready, token="token-reads", cache=tmp_path / "another")
    assert pulled.exit_code == 0, pulled.stderr
    first, *paths = pulled.stdout.splitlines()
    assert first == "tiny: 3 files, all as they must be"
    weights = next(Path(path) for path in paths if path.endswith(".safetensors"))
    assert weights.read_bytes() == WEIGHTS
    assert tmp_path / "another" in weights.parents

    again = models(*asked, token="token-writes")
    assert again.exit_code == 2
    assert "tags are never moved" in again.stderr
    assert "token-" not in done.stderr + again.stderr + pulled.stderr


def test_a_picture_that_may_not_go_up_keeps_all_down(
    models: Callable[..., Result],
    server: HubServer,
    name: str,
    make_run: Callable[..., Path],
    card: Path,
) -> None:
    card.write_text(f"{CARD}![Plot](calibration.png)\n")
    asked = ("push", make_run(), "--repo", name, "--card", card)
    refused = models(*asked, token="token-writes")
    assert refused.exit_code == 1
    (line,) = refused.stderr.splitlines()
    assert "tiny/calibration.png: expected the picture that the card shows, found none" in line
    assert (server.asked, name in server.repositories) == ([], False)
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    (card.parent / "calibration.png").write_bytes(picture.getvalue())
    seen = models(*asked, "--dry-run")
    assert seen.exit_code == 0, seen.stderr
    assert "would go up: calibration.png, " in seen.stderr


def test_a_cached_model_is_verified_and_mended(
    models: Callable[..., Result], server: HubServer, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.toml"
    path.write_text(entry_text(put(server, name)))
    missing = models("verify", path)
    assert missing.exit_code == 1
    assert "weights.safetensors: not in the cache" in missing.stdout
    assert "ecgvision models pull" in missing.stderr

    weights = Path(models("pull", path).stdout.splitlines()[-1])
    server.asked.clear()
    assert models("verify", path).exit_code == 0
    assert server.asked == []

    weights.resolve().chmod(0o644)
    weights.resolve().write_bytes(WEIGHTS[:-1] + b"?")
    damaged = models("verify", path)
    assert damaged.exit_code == 1
    assert "weights.safetensors: expected SHA-256" in damaged.stdout
    mended = models("pull", path)
    assert mended.exit_code == 0
    assert "weights.safetensors in the cache was damaged" in mended.stderr
    assert weights.read_bytes() == WEIGHTS


def test_the_environment_is_the_client_s(server: HubServer, name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(entry_text(put(server, name, private=True)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    # Time for a busy machine: who is dead refuses at once.
    patient = {"HF_HUB_ETAG_TIMEOUT": "60", "HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    kept = patient | {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    ours = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": dead}

    def pull(**variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ecgvision", "models", "pull", str(path)]
        environment = kept | ours | variables
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    failed = pull()
    assert (failed.returncode, failed.stdout) == (1, "")
    (line,) = failed.stderr.splitlines()
    assert f"cannot reach {dead}" in line
    done = pull(HF_ENDPOINT=server.url, HF_TOKEN="token-reads")
    assert done.returncode == 0, done.stderr
    weights = Path(done.stdout.splitlines()[-1])
    assert tmp_path / "home" / "hub" in weights.parents
    assert weights.read_bytes() == WEIGHTS
    assert pull(HF_HUB_OFFLINE="1").returncode == 0


def test_a_model_without_weights_cannot_be_pulled(models: Callable[..., Result]) -> None:
    done = models("pull", "scar-lvef")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "scar-lvef has no weights to pull: no public ECG set" in line
    assert models("pull", "no-such-model").exit_code == 2


def test_the_list_says_whose_weights_are_not_there() -> None:
    short = CliRunner().invoke(main, ["models", "list"])
    assert (short.exit_code, "scar-lvef" in short.output) == (0, True)
    assert "without weights" in short.output
    every = CliRunner().invoke(main, ["models", "list", "--all"])
    assert "no weights" in every.output
    assert "not trained yet" in every.output


def test_all_that_is_known_is_shown() -> None:
    shown = CliRunner().invoke(main, ["models", "show", "scar-lvef"])
    assert shown.exit_code == 0
    for told in ("no-weights", "cardiac MR", "short-axis cine", "multi", "README.md"):
        assert told in shown.output


def test_without_the_client_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils.logging", None)
    for arguments in (["pull", "scar-lvef"], ["verify", "scar-lvef"]):
        done = CliRunner().invoke(main, ["models", *arguments])
        assert done.exit_code == 2
        assert "pip install 'ecgvision[hub]'" in done.output

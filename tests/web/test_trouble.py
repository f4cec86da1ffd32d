"""Workers that die, hang or take too much, a full queue, and a server that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ecgvision.cli import main
from ecgvision.web.private import PrivateFolder, sweep
from ecgvision.web.settings import Limits, Settings
from tests.web.conftest import Site, eventually, running
from tests.web.readers import CRASH, GREEDY, HANG, troubled


@pytest.fixture(scope="module")
def shaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two workers, each page allowed six seconds, two uploads at a time."""
    limits = Limits(page_s=6, waiting=2)
    settings = Settings(workers=2, limits=limits)
    with running(settings, tmp_path_factory.mktemp("shaky"), troubled) as found:
        yield found


@pytest.mark.parametrize(
    ("content", "code"), [(CRASH, "worker-crashed"), (GREEDY, "memory-exceeded")]
)
def test_a_lost_worker_costs_its_upload_alone(shaky: Site, content: bytes, code: str) -> None:
    beside = shaky.send("/api/reports", HANG).json["id"]
    state = shaky.read(content)
    assert (state["state"], state["error"]["code"], state["pages"]) == ("failed", code, [])
    assert shaky.get(f"/api/reports/{beside}").json["state"] != "done"
    # The other one is still the worker's own: it ends by its time, not by the crash.
    assert shaky.finished(beside)["error"]["code"] == "timed-out"
    reply = shaky.send("/api/predict", content)
    assert (reply.status, reply.json["code"]) == (422, code)


def test_a_page_that_takes_too_long_is_given_up(shaky: Site) -> None:
    reply = shaky.send("/api/predict", HANG)
    assert (reply.status, reply.json["code"]) == (422, "timed-out")
    assert shaky.get("/healthz").json["waiting"] == 0


def test_a_full_queue_says_when_to_come_back(shaky: Site) -> None:
    names = [shaky.send("/api/reports", HANG).json["id"] for _ in range(2)]
    reply = shaky.send("/api/predict", HANG)
    assert (reply.status, reply.json["code"]) == (429, "queue-full")
    assert int(reply.headers["retry-after"]) > 0
    for name in names:
        assert shaky.ask("DELETE", f"/api/reports/{name}").status == 204
    eventually(lambda: shaky.get("/healthz").json["waiting"] == 0)
    assert shaky.send("/api/predict", b"%PDF-1.7").json["code"] == "pdf-damaged"


def test_too_many_reports_are_refused(tmp_path: Path) -> None:
    with running(Settings(limits=Limits(kept=1)), tmp_path) as site:
        first = site.read(b"%PDF-1.7")
        reply = site.send("/api/reports", b"%PDF-1.7")
        assert (reply.status, reply.json["code"]) == (429, "too-many-reports")
        again = site.post(f"/api/reports/{first['id']}/corrections", {"page": 1, "format": "auto"})
        assert again.status == 429


def test_folders_of_dead_servers_are_swept(tmp_path: Path) -> None:
    dead = tmp_path / "ecgvision-serve-dead"
    dead.mkdir()
    (dead / "report").write_bytes(b"x")
    others = tmp_path / "ecgvision-archive"
    others.mkdir()
    with PrivateFolder(tmp_path) as alive:
        assert not dead.exists()
        assert alive.stat().st_mode & 0o777 == 0o700
        sweep(tmp_path)
        assert alive.exists()
    assert not alive.exists()
    assert others.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_server_that_ends(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ecgvision", "serve", "--port", "0", "--model", "none"],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("ecgvision: http://127.0.0.1:")
        site = Site(int(line.rstrip("/\n").rpartition(":")[2]), tmp_path)
        eventually(lambda: _is_up(site))
        assert site.read(b"%PDF-1.7")["state"] == "failed"
        assert site.folders()
        server.send_signal(how)
        server.wait(60)
    eventually(lambda: not list(tmp_path.glob("ecgvision-serve-*")))


def _is_up(site: Site) -> bool:
    try:
        return site.get("/healthz").status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--allow-host"),
        (["--token", "short"], "at least 16"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(main, ["serve", *arguments])
    assert done.exit_code == 2, done.output
    assert words in done.output


def test_a_port_in_use_is_told(site: Site) -> None:
    done = CliRunner().invoke(main, ["serve", "--model", "none", "--port", str(site.port)])
    assert done.exit_code == 1
    assert "choose another with --port" in done.output


def test_beyond_loopback_a_token_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    arguments = ["serve", "--model", "none", "--port", "0", "--host", "0.0.0.0"]
    done = CliRunner().invoke(main, [*arguments, "--allow-host", "ecg.example"])
    assert done.exit_code == 0, done.output
    assert "#token=" in done.output
    assert "TLS" in done.output
    here = CliRunner().invoke(main, ["serve", "--model", "none", "--port", "0"])
    assert "token" not in here.output

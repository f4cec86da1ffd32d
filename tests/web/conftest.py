"""A server of the screening page on a port of its own, and what asks it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from ecgvision.plugins import Format
from ecgvision.testing import Ecg, draw_page
from ecgvision.web.app import create_app
from ecgvision.web.cohort import COHORT, cohort_bytes
from ecgvision.web.settings import Settings
from ecgvision.web.uploads import Reader
from ecgvision.web.work import read_upload
from tests.zoo_data import tiny_zoo

PDF = "application/pdf"
_PATIENCE_S = 240.0


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A server that runs, with the folder that its private folders lie in."""

    port: int
    temporary: Path
    token: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        told = dict(headers or {})
        if self.token:
            told.setdefault("Authorization", f"Bearer {self.token}")
        try:
            connection.request(method, path, body, told, encode_chunked=chunked)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.ask("GET", path)

    def send(self, path: str, content: bytes, kind: str = PDF) -> Reply:
        return self.ask("POST", path, content, {"Content-Type": kind})

    def post(self, path: str, value: Any) -> Reply:
        body = json.dumps(value).encode()
        return self.ask("POST", path, body, {"Content-Type": "application/json"})

    def finished(self, name: str) -> Any:
        """The report's state once it is over."""

        def over() -> Any:
            state = self.get(f"/api/reports/{name}").json
            return state if state["state"] in ("done", "failed") else None

        return eventually(over)

    def read(self, content: bytes, kind: str = PDF) -> Any:
        """Send a report and wait until it is read."""
        sent = self.send("/api/reports", content, kind)
        assert sent.status == 202, sent.body
        return self.finished(sent.json["id"])

    def folders(self) -> list[Path]:
        """Uploads that lie in the private folder."""
        return list(self.temporary.glob("ecgvision-serve-*/upload-*"))


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` gives once it gives something; fails where that never comes."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


@contextmanager
def running(settings: Settings, temporary: Path, reader: Reader = read_upload) -> Iterator[Site]:
    """A server in a thread of this process; its workers are processes as ever."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = create_app(replace(settings, temporary=temporary), reader)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive())
        assert server.started
        yield Site(listening.getsockname()[1], temporary, settings.token)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network that takes age and sex and knows nothing."""
    folder = tmp_path_factory.mktemp("zoo")
    path = tiny_zoo(folder, "tiny-clinical", clinical=("age_years", "sex"))
    shares = np.linspace(0, 0.5, 201)
    path.with_name(COHORT).write_bytes(cohort_bytes("201 shares", {"mi": shares}))
    return path


@pytest.fixture(scope="session")
def site(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server that most tests ask."""
    settings = Settings(workers=1, model=str(model))
    with running(settings, tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture(scope="session")
def report(formats: dict[str, Format], ecg: Ecg) -> bytes:
    """A drawn page of a Philips machine, with the made-up patient's name on it."""
    one = formats["philips-tc30"]
    return draw_page(one.layouts[0], one.info, ecg).pdf

"""Stores for tests, an S3 server, memory, and one that renames, and what is converted there.

A plugin of pytest for the modules that name it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ecgvision.archive import lease
from ecgvision.archive.store import placed
from ecgvision.archive.urlstore import UrlStore
from ecgvision.media.mupdf import pymupdf
from ecgvision.plugins import load_formats
from ecgvision.testing import draw_page, synthetic_ecg
from tests.stores import SECRET, convert, outputs, put, rows

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def pages() -> list[bytes]:
    chosen = load_formats().find("philips")
    ecgs = [synthetic_ecg(seed=seed) for seed in range(2)]
    return [draw_page(chosen.layouts[0], chosen.info, ecg).pdf for ecg in ecgs]


@pytest.fixture(scope="session")
def files(pages: list[bytes]) -> dict[str, bytes]:
    """Files in sub-folders, one of three pages, one that is bad."""
    with pymupdf.open() as pdf:
        for content in (*pages, pages[0]):
            with pymupdf.open(stream=content, filetype="pdf") as one:
                pdf.insert_pdf(one)
        many = bytes(pdf.tobytes())
    found = {f"{n % 2}/ward/{n}.pdf": pages[n % 2] for n in range(6)}
    return {**found, "many.pdf": many, "bad.pdf": b"no report"}


@pytest.fixture(scope="session")
def whole(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """What a run on this machine gives: outputs and rows."""
    folder = tmp_path_factory.mktemp("whole")
    for name, content in files.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert convert(str(folder / "in"), str(folder / "out")).exit_code == 1
    return outputs(str(folder / "out")), rows(str(folder / "out"))


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """An S3 server at 127.0.0.1, which all that is started here finds by the environment."""
    pytest.importorskip("moto", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    started = [sys.executable, "-c", SERVER]
    log = subprocess.DEVNULL
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(
            started, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        assert server.stdout is not None
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{int(server.stdout.readline())}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        fs = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        fs.mkdir("ecg")
        yield fs
        server.terminate()


@pytest.fixture(params=["s3", "memory", "share"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, files: dict[str, bytes]) -> str:
    """The URL of a fresh folder with the folder `in`, in each kind of store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    place = {"s3": "ecg", "memory": "", "share": str(tmp_path)}[request.param]
    url = f"{request.param}://{place}/{tmp_path.name}".replace(
        ":///", "://", request.param != "share"
    )
    put(f"{url}/in", files)
    return url


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[UrlStore, Path]:
    """A folder in memory, and no pauses."""
    monkeypatch.setattr(lease, "_SETTLE_S", 0.0)
    store, folder = placed(f"memory://{tmp_path.name}/out")
    assert isinstance(store, UrlStore)
    return store, folder

"""Pulling: the right bytes or none, from a Hub that misbehaves in every way it can."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from ecgvision.zoo.entry import Entry
from ecgvision.zoo.errors import HubError
from ecgvision.zoo.hub import Hub

from .conftest import WEIGHTS, put
from .server import HubServer

SIZE = len(WEIGHTS)


def with_file(entry: Entry, name: str, **values: object) -> Entry:
    told = entry.model_dump()
    for file in told["files"]:
        if file["name"] == name:
            file |= values
    return Entry.model_validate(told)


def cached_files(hub: Hub) -> list[str]:
    """Names of all files with content in the cache, the client's own notes aside."""
    blobs = [path for path in hub.cache.rglob("blobs/*") if not path.name.endswith(".incomplete")]
    return sorted(path.name for path in [*blobs, *hub.cache.rglob("snapshots/*/*")])


def test_what_is_pulled_is_what_was_put_there(hub: Hub, published: Entry) -> None:
    paths = hub.pull(published)
    assert paths["weights.safetensors"].read_bytes() == WEIGHTS
    assert list(paths) == [file.name for file in published.files]
    assert all(hub.cache in path.parents for path in paths.values())


def test_what_is_cached_costs_no_request(
    server: HubServer, hub: Hub, published: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hub.pull(published)
    assert server.count("GET", "weights.safetensors") + server.count("GET", "/store/") == 1
    server.asked.clear()
    assert hub.pull(published) == first
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.pull(published) == first
    assert [one.problem for one in hub.verify(published)] == ["", ""]
    assert server.asked == []


def test_a_commit_is_pinned_though_the_branch_moves_on(
    server: HubServer, hub: Hub, name: str
) -> None:
    entry = put(server, name)
    server.add(name, {"config.json": b"{}", "weights.safetensors": b"others"})
    assert hub.pull(entry)["weights.safetensors"].read_bytes() == WEIGHTS


def test_a_tag_will_do_as_long_as_its_files_are_the_same(
    server: HubServer, hub: Hub, name: str
) -> None:
    entry = put(server, name)
    server.repositories[name].tags["v1"] = server.repositories[name].head
    assert hub.pull(entry, "v1")["weights.safetensors"].read_bytes() == WEIGHTS
    server.add(name, {"config.json": b"{}", "weights.safetensors": WEIGHTS})
    server.repositories[name].tags["v2"] = server.repositories[name].head
    with pytest.raises(HubError, match=r"config\.json: expected 28 bytes, found 2; .*removed"):
        hub.pull(entry, "v2")


def test_a_broken_line_is_taken_up_where_it_broke(
    server: HubServer, hub: Hub, published: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client keeps what has come in pieces of this size, otherwise 10 MB.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 20_000)
    server.drop("/store/", after=100_000)
    assert hub.pull(published)["weights.safetensors"].read_bytes() == WEIGHTS
    assert server.begun[-2:] == [0, 100_000]


def test_a_hub_that_is_busy_is_asked_again(server: HubServer, hub: Hub, published: Entry) -> None:
    server.fail("HEAD", "/resolve/", 503)
    assert hub.pull(published)["weights.safetensors"].read_bytes() == WEIGHTS
    assert server.count("HEAD", "/resolve/") == 3


def test_a_download_that_fails_is_told_with_what_the_hub_said(
    server: HubServer, hub: Hub, published: Entry
) -> None:
    server.fail("GET", "/store/", 500)
    with pytest.raises(HubError, match=r"weights\.safetensors: the Hub answered 500: .*try again"):
        hub.pull(published)
    assert hub.pull(published)["weights.safetensors"].read_bytes() == WEIGHTS


def test_what_is_not_there_is_named(server: HubServer, hub: Hub, published: Entry) -> None:
    place = published.hub
    assert place is not None
    gone = published.model_copy(update={"hub": place.model_copy(update={"repository": "a/none"})})
    with pytest.raises(HubError, match=r"a/none .*no such repository, or a private one.*HF_TOKEN"):
        hub.pull(gone)
    with pytest.raises(HubError, match=r"no such revision; check --revision"):
        hub.pull(published, "f" * 40)
    server.repositories[place.repository].commits[place.revision].pop("config.json")
    with pytest.raises(HubError, match=r"config\.json: the repository has no such file"):
        hub.pull(published)


def test_a_private_model_needs_a_token(
    server: HubServer, hub: Hub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(server, name, private=True)
    with pytest.raises(HubError, match="HF_TOKEN") as raised:
        hub.pull(entry)
    assert raised.value.code == "hub-not-found"
    monkeypatch.setenv("HF_TOKEN", "token-of-nobody")
    with pytest.raises(HubError, match="HF_TOKEN") as raised:
        hub.pull(entry)
    assert "token-of-nobody" not in str(raised.value)
    monkeypatch.setenv("HF_TOKEN", "token-reads")
    assert hub.pull(entry)["weights.safetensors"].read_bytes() == WEIGHTS


def test_a_file_with_another_hash_is_removed_and_named(hub: Hub, published: Entry) -> None:
    other = with_file(published, "weights.safetensors", sha256="0" * 64)
    with pytest.raises(
        HubError, match=r"weights\.safetensors: expected SHA-256 0{12}, found .*removed"
    ) as raised:
        hub.pull(other)
    assert raised.value.code == "model-damaged"
    assert [name for name in cached_files(hub) if "safetensors" in name] == []
    assert hub.pull(published)["weights.safetensors"].read_bytes() == WEIGHTS


def test_a_file_of_another_size_is_refused(hub: Hub, published: Entry) -> None:
    other = with_file(published, "weights.safetensors", bytes=SIZE + 1)
    with pytest.raises(HubError, match=rf"expected {SIZE + 1:,} bytes, found {SIZE:,}"):
        hub.pull(other)


def test_a_flipped_byte_in_the_cache_is_found_and_fetched_again(
    server: HubServer, hub: Hub, published: Entry
) -> None:
    path = hub.pull(published)["weights.safetensors"]
    blob = path.resolve()
    data = bytearray(WEIGHTS)
    data[SIZE // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    checked = {one.file.name: one.problem for one in hub.verify(published)}
    assert checked["config.json"] == ""
    assert checked["weights.safetensors"].startswith("expected SHA-256")
    said: list[str] = []
    assert hub.pull(published, say=said.append)["weights.safetensors"].read_bytes() == WEIGHTS
    assert "weights.safetensors in the cache was damaged" in said[0]
    assert server.count("GET", "/store/") == 2


def test_a_damaged_file_is_not_used_where_no_other_can_be_had(
    hub: Hub, published: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub.pull(published)["weights.safetensors"]
    path.resolve().chmod(0o644)
    path.resolve().write_bytes(WEIGHTS[:-1] + b"!")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        hub.pull(published)
    assert not path.exists()


def test_removing_a_damaged_file_leaves_others_alone(
    hub: Hub, published: Entry, tmp_path: Path
) -> None:
    path = hub.pull(published)["weights.safetensors"]
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    path.unlink()
    path.symlink_to(outside)
    assert hub.pull(published)["weights.safetensors"].read_bytes() == WEIGHTS
    assert outside.read_bytes() == b"mine"


def test_a_full_disk_is_told_as_one(
    hub: Hub, published: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = file_download.http_get

    def full(url: str, temp_file: object, **rest: object) -> None:
        class Full:
            def write(self, data: bytes) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

        real(url, Full(), **rest)

    with monkeypatch.context() as patched:
        patched.setattr(file_download, "http_get", full)
        with pytest.raises(HubError, match=r"no space is left in .*HF_HOME") as raised:
            hub.pull(published)
    assert raised.value.code == "disk-full"
    assert hub.pull(published)["weights.safetensors"].read_bytes() == WEIGHTS


def test_nobody_at_the_endpoint(published: Entry, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    dead = Hub(f"http://127.0.0.1:{port}", tmp_path / "cache")
    with pytest.raises(HubError, match=rf"cannot reach http://127\.0\.0\.1:{port}: .*HTTPS_PROXY"):
        dead.pull(published)


@pytest.mark.timeout(30)  # the client alone waits twice for it, and then for longer
def test_an_endpoint_that_accepts_and_says_nothing_does_not_hang(
    published: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", constants.DEFAULT_ETAG_TIMEOUT)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hub = Hub(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "cache")
        with pytest.raises(HubError, match="cannot reach"):
            hub.pull(published)


def test_an_endpoint_without_a_scheme_is_named(published: Entry, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"HF_ENDPOINT is 'localhost:80': expected .*https://"):
        Hub("localhost:80", tmp_path / "cache").pull(published)


def test_offline_says_so_and_asks_nothing(
    server: HubServer, hub: Hub, published: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set") as raised:
        hub.pull(published)
    assert raised.value.code == "hub-offline"
    assert server.asked == []


def test_what_is_no_hub_is_told(hub: Hub, published: Entry) -> None:
    place = published.hub
    assert place is not None
    elsewhere = Hub(f"{hub.endpoint}/api/agent-harnesses", hub.cache)
    with pytest.raises(HubError) as raised:
        elsewhere.pull(published)
    assert "\n" not in str(raised.value)


def test_a_model_without_weights_says_why(hub: Hub, published: Entry) -> None:
    told = published.model_dump() | {"status": "no-weights", "reason": "not trained yet"}
    without = Entry.model_validate(told | {"hub": None, "files": ()})
    with pytest.raises(HubError, match="tiny has no weights to pull: not trained yet"):
        hub.pull(without)

"""What tests of archives behind URLs share: a store that renames, runs, and what they left."""

from __future__ import annotations

from typing import Any

import fsspec
import pyarrow.parquet as pq
from click.testing import CliRunner, Result
from fsspec.implementations.local import LocalFileSystem

from ecgvision.archive.manifest import MANIFEST
from ecgvision.archive.store import LOCK, placed
from ecgvision.archive.urlstore import UrlStore
from ecgvision.cli import main

SECRET = "GEHEIM77"
# What differs from run to run, and from store to store.
CHANGING = {"seconds", "finished_at", "source_mtime_ns", "source_etag", "root", "year"}


class Share(LocalFileSystem):  # type: ignore[misc]
    """A file system that is no object store, but can rename, as SFTP."""

    protocol = "share"


# By its name: pytest's search for doctests imports this file once more, as another module.
fsspec.register_implementation("share", "tests.stores.Share", clobber=True)


# --- what is converted --------------------------------------------------------------------------


def put(url: str, contents: dict[str, bytes]) -> None:
    store, folder = placed(url)
    store.write({folder / name: content for name, content in contents.items()})


def convert(source: str, out: str, *more: str, workers: str = "0") -> Result:
    command = ["convert", source, "--format", "philips", "-o", out, "--workers", workers, *more]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def everything(url: str) -> dict[str, bytes]:
    store, folder = placed(url)
    if isinstance(store, UrlStore):
        paths = [path for path, _ in store.tree(folder)]
    else:
        paths = [path for path in folder.rglob("*") if path.is_file()]
    return {p.relative_to(folder).as_posix(): store.read(p, 10**9) for p in paths}


def outputs(url: str) -> dict[str, bytes]:
    """All files but manifest and lock; nothing half done may be among them."""
    found = everything(url)
    assert not [name for name in found if ".ecgvision-" in name]
    return {name: data for name, data in found.items() if name not in (MANIFEST, LOCK)}


def rows(url: str) -> list[dict[str, Any]]:
    """The manifest without what differs, in order."""
    store, folder = placed(url)
    with store.fetched(folder / MANIFEST) as here:
        told = pq.read_table(here).to_pylist()
    kept = [{key: row[key] for key in row if key not in CHANGING} for row in told]
    return sorted(kept, key=lambda row: (row["source"], row["page"]))

"""The lock and the journal of an output folder behind a URL."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ecgvision.archive import lease
from ecgvision.archive.journal import JOURNAL, journal_line, read_journal
from ecgvision.archive.lease import HOLD_S, Lease, leased
from ecgvision.archive.segments import SegmentJournal, end_segments
from ecgvision.archive.store import LOCK, InUseError
from ecgvision.archive.urlstore import UrlStore
from tests.stores import everything

pytest_plugins = ["tests.store_fixtures"]
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uses signals"),
    # Connections of the S3 library, which it leaves to the end of the process.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # Of the S3 library, about itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


# --- the lock -----------------------------------------------------------------------------------


def test_a_lock_keeps_others_out_until_its_time_is_over(held: tuple[UrlStore, Path]) -> None:
    store, folder = held
    lock = folder / LOCK

    def write(age_s: float) -> None:
        told = {"token": "theirs", "renewed_at_s": time.time() - age_s}
        store.put(lock, json.dumps(told).encode())

    with leased(store, folder) as first:
        with pytest.raises(InUseError, match="120 s after"), leased(store, folder):
            pass
        first.check()
        write(0)  # as by another one, which took it after a long sleep of this one
        with pytest.raises(InUseError), leased(store, folder):
            pass
    assert store.has(lock)  # it is not ours to remove
    write(HOLD_S - 10)
    with pytest.raises(InUseError), leased(store, folder):
        pass
    write(HOLD_S + 1)
    with leased(store, folder):
        pass
    assert not store.has(lock)
    store.put(lock, b"{half")  # of nobody knows whom, just now
    with pytest.raises(InUseError), leased(store, folder):
        pass


def test_a_run_that_has_lost_its_lock_writes_no_more(
    held: tuple[UrlStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = held
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    with leased(store, folder) as ours, SegmentJournal(store, folder / JOURNAL, ours) as journal:
        journal.append({"n": 1})
        journal.sync()
        before = everything("memory://" + folder.as_posix())
        store.put(folder / LOCK, b'{"token": "theirs", "renewed_at_s": 4e9}')
        for _ in range(500):
            if ours._taken_away:
                break
            time.sleep(0.01)
        with pytest.raises(OSError, match="another run has taken its lock"):
            journal.append({"n": 2})
    after = everything("memory://" + folder.as_posix())
    assert {**before, LOCK: b""} == {**after, LOCK: b""}
    assert b"theirs" in after[LOCK]


def test_what_is_there_is_known_whatever_the_store_says(
    held: tuple[UrlStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = held
    store.put(folder / "x", b"first", new=True)

    def precondition(*_: Any, **__: Any) -> None:
        raise OSError(22, "PreconditionFailed")

    memory = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(memory, "pipe_file", precondition)
    with pytest.raises(FileExistsError):
        store.put(folder / "x", b"second", new=True)
    with pytest.raises(OSError, match="does not answer") as raised:
        store.put(folder / "y", b"second", new=True)
    assert not isinstance(raised.value, FileExistsError)


# --- the journal --------------------------------------------------------------------------------


class Free(Lease):
    """A lock that is never asked for."""

    def __init__(self) -> None:
        pass

    def check(self) -> None:
        pass


def told(store: UrlStore, path: Path) -> list[dict[str, Any]]:
    with store.journal_text(path) as here:
        return list(read_journal(here))


def test_a_journal_of_segments_is_read_in_order(held: tuple[UrlStore, Path]) -> None:
    store, folder = held
    path = folder / JOURNAL
    assert told(store, path) == []
    records = [{"n": number} for number in range(150)]
    with SegmentJournal(store, path, Free()) as journal:
        for record in records[:100]:
            journal.append(record)
        assert told(store, path) == records[:64]  # a kill now costs the others
    with SegmentJournal(store, path, Free()) as journal:
        for record in records[100:]:
            journal.append(record)
    assert told(store, path) == records
    names = sorted(everything("memory://" + path.as_posix()))
    assert names == [f"{number:08d}" for number in (1, 2, 3)]
    store.put(path / "00000002", journal_line({"n": "x"}) + b"00000000 {torn")
    assert [record["n"] for record in told(store, path)] == [*range(64), "x", *range(100, 150)]


def test_a_second_journal_of_the_same_run_is_noticed(held: tuple[UrlStore, Path]) -> None:
    store, folder = held
    first = SegmentJournal(store, folder / JOURNAL, Free())
    second = SegmentJournal(store, folder / JOURNAL, Free())
    first.append({"n": 1})
    first.sync()
    second.append({"n": 2})
    with pytest.raises(OSError, match="another run writes"):
        second.sync()
    assert told(store, folder / JOURNAL) == [{"n": 1}]


def test_what_is_in_the_manifest_does_not_come_back_when_the_end_is_cut_short(
    held: tuple[UrlStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = held
    path = folder / JOURNAL
    for number in range(3):
        with SegmentJournal(store, path, Free()) as journal:
            journal.append({"n": number})

    def cut(_: UrlStore, paths: Sequence[Path]) -> None:
        store.remove(paths[-1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(UrlStore, "remove_all", cut)
        with pytest.raises(KeyboardInterrupt):
            end_segments(store, path)
    assert len(everything("memory://" + path.as_posix())) == 3
    assert told(store, path) == []
    with SegmentJournal(store, path, Free()) as journal:
        journal.append({"n": "new"})
    assert told(store, path) == [{"n": "new"}]
    end_segments(store, path)
    assert everything("memory://" + path.as_posix()) == {}

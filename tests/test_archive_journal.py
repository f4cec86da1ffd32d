"""Journal and manifest: nothing is lost, torn lines are noticed, the last record counts."""

from __future__ import annotations

import errno
import json
import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecgvision.archive import manifest as manifests
from ecgvision.archive.journal import JOURNAL, Journal, read_journal
from ecgvision.archive.manifest import MANIFEST, compact, knowledge
from ecgvision.archive.rows import COLUMNS, PageRow, escaped, row_of, schema, unescaped
from ecgvision.errors import PageError


def record(source: str, *rows: PageRow) -> dict[str, Any]:
    return {"kind": "file", "source": source, "rows": [row.as_record() for row in rows]}


def done(source: str, page: int = 1, pages: int = 1, **more: Any) -> PageRow:
    stem = source.rpartition(".")[0] + ("" if page == 1 else f"-p{page}")
    values = {"outputs": [f"{stem}.json"], "options": "o", **more}
    return PageRow(source, page=page, pages=pages, status="done", **values)


def journal(folder: Path, *records: dict[str, Any]) -> Path:
    with Journal(folder / JOURNAL) as file:
        for one in records:
            file.append(one)
        file.sync()
    return folder / JOURNAL


def table(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / MANIFEST).to_pylist()


def everything(_: str) -> bool:
    return True


# --- rows ---------------------------------------------------------------------------------------


def test_a_row_comes_back_as_it_was() -> None:
    row = PageRow(
        "a\nb.pdf",
        "ab",
        12,
        34,
        2,
        3,
        "refused",
        "why",
        "Why?",
        score=0.5,
        findings=["x"],
        outputs=["a.png"],
        year=2019,
        versions={"ecgvision": "1"},
        root="/in",
    )
    assert row_of(json.loads(json.dumps(row.as_record()))) == row
    batch = pa.Table.from_pylist([row.as_record()], schema=schema())
    assert batch.to_pylist() == [row.as_record()]
    assert tuple(batch.schema.names) == COLUMNS


@pytest.mark.parametrize("name", ["plain.pdf", "ö.pdf", os.fsdecode(b"\xff\x80a.pdf"), "a\\b"])
def test_any_name_is_text_and_comes_back(name: str) -> None:
    escaped(name).encode("utf-8")
    assert unescaped(escaped(name)) == name


# --- journal ------------------------------------------------------------------------------------


def test_records_come_back_in_order(tmp_path: Path) -> None:
    records = [{"kind": "start", "sources": ["ö\n"]}, record("a.pdf", done("a.pdf"))]
    path = journal(tmp_path, *records)
    assert list(read_journal(path)) == records
    assert list(read_journal(tmp_path / "none")) == []


def test_a_line_torn_anywhere_costs_only_itself(tmp_path: Path) -> None:
    path = journal(tmp_path, {"n": 1}, {"n": 2}, {"n": 3})
    whole = path.read_bytes()
    begin = whole.rindex(b"\n", 0, -1) + 1
    for length in range(begin, len(whole)):
        path.write_bytes(whole[:length])
        assert [one["n"] for one in read_journal(path)] == [1, 2]
        journal(tmp_path, {"n": 4})
        assert [one["n"] for one in read_journal(path)] == [1, 2, 4]
        assert path.read_bytes().startswith(whole[:begin])


def test_a_flipped_bit_costs_only_its_line(tmp_path: Path) -> None:
    path = journal(tmp_path, *({"n": number} for number in range(3)))
    whole = path.read_bytes()
    lengths = [len(line) for line in whole.splitlines(keepends=True)]
    for position in random.Random(1).sample(range(lengths[0], lengths[0] + lengths[1] - 1), 12):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        assert [one["n"] for one in read_journal(path)] == [0, 2]


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journal(tmp_path, {"n": 1})
    whole = path.read_bytes()

    class Full:
        """Takes a few bytes, then no more."""

        def __init__(self, file: Any) -> None:
            self.file, self.writes = file, 0

        def write(self, data: bytes) -> int:
            self.writes += 1
            if self.writes > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(self.file.write(data[:5]))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with Journal(path) as file:
        file._file = Full(file._file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space"):
            file.append({"n": 2})
    assert path.read_bytes() == whole


def test_it_is_synced_every_second_or_so_many_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, synced = [100.0], []
    monkeypatch.setattr("ecgvision.archive.journal.time.monotonic", lambda: now[0])
    with Journal(tmp_path / JOURNAL) as file:
        monkeypatch.setattr(os, "fsync", lambda _: synced.append(now[0]))
        for _ in range(70):
            file.append({"n": 1})
        assert synced == [100.0]
        now[0] += 1.5
        file.sync_if_due()
        file.sync_if_due()
        assert synced == [100.0, 101.5]


# --- manifest -----------------------------------------------------------------------------------


def test_the_last_record_of_a_source_counts(tmp_path: Path) -> None:
    failed = PageRow("b.pdf", reason="file-empty")
    journal(
        tmp_path,
        {"kind": "run", "roots": ["/in"]},
        {"kind": "start", "sources": ["a.pdf", "b.pdf"]},
        record("b.pdf", failed),
        record("a.pdf", done("a.pdf", 1, 2), done("a.pdf", 2, 2)),
        record("b.pdf", done("b.pdf")),
    )
    compact(tmp_path)
    assert not (tmp_path / JOURNAL).exists()
    assert [(row["source"], row["page"]) for row in table(tmp_path)] == [
        ("a.pdf", 1),
        ("a.pdf", 2),
        ("b.pdf", 1),
    ]
    journal(
        tmp_path,
        {"kind": "run", "roots": ["/other"]},
        record("a.pdf", PageRow("a.pdf", reason="file-missing")),
    )
    compact(tmp_path)
    rows = {(row["source"], row["status"]) for row in table(tmp_path)}
    assert rows == {("b.pdf", "done"), ("a.pdf", "failed")}
    kept = pq.read_schema(tmp_path / MANIFEST).metadata[b"ecgvision.roots"]
    assert json.loads(kept) == ["/in", "/other"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST]


def test_rows_whose_outputs_went_to_another_source_are_dropped(tmp_path: Path) -> None:
    journal(tmp_path, record("x.pdf", done("x.pdf", 1, 2), done("x.pdf", 2, 2)))
    compact(tmp_path)
    journal(tmp_path, record("x.png", done("x.png")))
    compact(tmp_path)
    assert [(row["source"], row["page"]) for row in table(tmp_path)] == [("x.pdf", 2), ("x.png", 1)]


def test_a_kill_between_manifest_and_journal_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(tmp_path, record("a.pdf", done("a.pdf")))

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ecgvision.archive.store.sync_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            compact(tmp_path)
    assert (tmp_path / JOURNAL).exists()
    assert (tmp_path / MANIFEST).exists()
    compact(tmp_path)
    assert len(table(tmp_path)) == 1


def test_a_full_disk_keeps_manifest_and_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(tmp_path, record("a.pdf", done("a.pdf")))
    compact(tmp_path)
    before = (tmp_path / MANIFEST).read_bytes()
    journal(tmp_path, record("b.pdf", done("b.pdf")))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        compact(tmp_path)
    assert (tmp_path / MANIFEST).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [JOURNAL, MANIFEST]


def test_what_is_known_of_sources(tmp_path: Path) -> None:
    for name in ("a.json", "a-p2.json", "b.json", "e.json"):
        (tmp_path / name).write_text("")
    refused = PageRow("c.pdf", page=1, pages=1, status="refused", options="o")
    journal(
        tmp_path,
        record("a.pdf", done("a.pdf", 1, 2, source_sha256="5a"), done("a.pdf", 2, 2)),
        record("b.pdf", done("b.pdf", 1, 2)),  # its second page has no row
        record("c.pdf", refused),
        record("d.pdf", done("d.pdf")),  # its output is gone
    )
    compact(tmp_path)
    journal(
        tmp_path,
        {"kind": "start", "sources": ["e.pdf", "f.pdf", "g.pdf"]},
        record("e.pdf", done("e.pdf")),
        record("f.pdf", PageRow("f.pdf", reason="worker-crashed")),
    )
    found = knowledge(tmp_path, everything)
    settled = {name for name, known in found.known.items() if known.settled}
    assert settled == {"a.pdf", "c.pdf", "e.pdf"}
    assert set(found.known) == {f"{letter}.pdf" for letter in "abcdef"}
    assert found.begun == {"g.pdf"}
    assert found.known["a.pdf"].owned == (1, 2)
    assert found.known["a.pdf"].sha256 == "5a"
    assert found.known["c.pdf"].owned == ()
    only = knowledge(tmp_path, lambda name: name == "c.pdf")
    assert (set(only.known), only.begun) == ({"c.pdf"}, set())


@pytest.mark.parametrize("kind", ["torn", "text", "foreign"])
def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / MANIFEST
    journal(tmp_path, record("a.pdf", done("a.pdf")))
    compact(tmp_path)
    if kind == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    elif kind == "text":
        path.write_text("mine")
    else:
        pq.write_table(pa.table({"source": ["x"]}), path)
    with pytest.raises(PageError) as caught:
        knowledge(tmp_path, everything)
    assert caught.value.code == "manifest-unreadable"


def test_a_hundred_thousand_rows_take_little_room(tmp_path: Path) -> None:
    """Fewer here, for the sake of time: twice as many must not take twice the room to write."""

    def peak_bytes(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()

        def rows() -> Iterator[dict[str, Any]]:
            for number in range(count):
                yield done(f"{number}.pdf").as_record()

        tracemalloc.start()
        manifests._write(folder / MANIFEST, rows(), [])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert pq.ParquetFile(folder / MANIFEST).metadata.num_rows == count
        return peak

    few, many = peak_bytes(9_000), peak_bytes(27_000)
    assert many < 1.3 * few

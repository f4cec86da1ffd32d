"""Parquet is read without pyarrow's threads, which may abort a process at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecgvision.archive.manifest import COLUMNS
from ecgvision.dataset.parquet import parquet_table

COUNTED = """
import os, sys
from pathlib import Path
import pyarrow.parquet as pq
from ecgvision.archive.manifest import manifest_rows
from ecgvision.dataset.parquet import parquet_table

def threads():
    return len(os.listdir("/proc/self/task"))

path = Path(sys.argv[1])
before = threads()
assert parquet_table(path.read_bytes()).num_rows == 1000
assert len(list(manifest_rows(path, ("source", "page")))) == 1000
ours = threads()
pq.read_table(path)
print(ours - before, threads() - ours)
"""


def written(path: Path) -> Path:
    pq.write_table(pa.table({name: ["a"] * 1000 for name in COLUMNS}), path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_thread_is_started(tmp_path: Path) -> None:
    words = [sys.executable, "-c", COUNTED, str(written(tmp_path / "rows.parquet"))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    ours, theirs = map(int, done.stdout.split())
    assert ours == 0
    assert theirs > 0  # or nothing is compared


def test_the_table_is_the_one_that_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet")
    assert parquet_table(path.read_bytes()).equals(pq.read_table(path))

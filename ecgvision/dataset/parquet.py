"""Reads Parquet in this thread alone.

pyarrow's `read_table` starts threads that may outlive the interpreter: now and then, on a busy
machine, the process then ends with "terminate called without an active exception" and exit code
134 after all is done (apache/arrow, issue 34314).
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_table(content: bytes) -> pa.Table:
    """The table in the bytes of a Parquet file; raises `pyarrow.ArrowException`, `OSError`."""
    # Bytes and no path: pyarrow would read a folder's name as a partition.
    with pq.ParquetFile(io.BytesIO(content), pre_buffer=False) as file:
        return file.read(use_threads=False)

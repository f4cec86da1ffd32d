"""Large arrays on disk: written one example after the other, opened without being read."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ecgvision.dataset.about import DatasetError
from ecgvision.errors import UsageError


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What an array must be: its shape, examples first, and its type."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape))} {self.dtype}"


def write_array(path: Path, spec: ArraySpec, examples: Iterable[NDArray[Any]]) -> str:
    """Write the examples as one .npy file, and give its hash.

    Raises `UsageError` where one has another shape or type, or there are not as many; `OSError`.
    """
    digest = hashlib.sha256()
    count = 0
    with path.open("xb") as file:

        def put(data: bytes | memoryview) -> None:
            file.write(data)
            digest.update(data)

        put(_header(spec))
        for example in examples:
            count += 1
            if count > spec.shape[0]:
                break
            _check(example, spec, count - 1, path.name)
            put(np.ascontiguousarray(example).data.cast("B"))
        if count != spec.shape[0]:
            more = "more" if count > spec.shape[0] else str(count)
            raise UsageError(f"{path.name}: expected {spec.shape[0]} examples, found {more}")
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _check(example: NDArray[Any], spec: ArraySpec, number: int, name: str) -> None:
    if example.shape != spec.shape[1:] or example.dtype != spec.dtype:
        raise UsageError(
            f"{name}, example {number}: expected {' x '.join(map(str, spec.shape[1:]))} "
            f"{spec.dtype}, found {' x '.join(map(str, example.shape))} {example.dtype}"
        )


def _header(spec: ArraySpec) -> bytes:
    header = io.BytesIO()
    described = {
        "descr": npy.dtype_to_descr(spec.dtype),
        "fortran_order": False,
        "shape": spec.shape,
    }
    npy.write_array_header_1_0(header, described)
    return header.getvalue()


def open_array(path: Path, spec: ArraySpec) -> NDArray[Any]:
    """The array as a read-only memory map; raises `DatasetError` unless it is what it must be."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _other(path, spec, _seen(path)) from error
    if not isinstance(array, np.memmap):
        raise _other(path, spec, _seen(path))
    if array.shape != spec.shape or array.dtype != spec.dtype:
        shown = f"{' x '.join(map(str, array.shape))} {array.dtype}"
        raise _other(path, spec, shown)
    if path.stat().st_size != array.offset + spec.size_bytes:
        raise _other(path, spec, _seen(path))
    return array


def _seen(path: Path) -> str:
    if not path.is_file():
        return "no such file"
    return f"{path.stat().st_size:,} bytes that are not that array"


def _other(path: Path, spec: ArraySpec, found: str) -> DatasetError:
    return DatasetError(
        "dataset-torn",
        path,
        None,
        expected=f"an array of {spec}, {spec.size_bytes:,} bytes and a header",
        found=found,
        hint="the file was cut or changed; make the data set again, or take a whole copy of it",
    )

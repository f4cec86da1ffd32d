"""Files out: names the outputs of pages, and writes them whole or not at all.

Nothing is ever half written: data goes to a temporary file beside its place and is renamed.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import struct
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgvision.errors import EcgVisionError

if TYPE_CHECKING:
    from ecgvision.types import Pixels

# Signature and IHDR chunk: what may follow them is ours to choose.
_PNG_HEAD_BYTES = 8 + 25
# What the names of all temporary files begin with.
TEMPORARY = ".ecgvision-"
# Errors that the next file would meet as well: no space, no quota, a disk that is read-only.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class OutputError(EcgVisionError):
    """An output file cannot be written; `full` where no other could be, either: no space left."""

    code = "output-unwritable"

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


@dataclass(frozen=True, slots=True)
class OutputNames:
    """The files that one page gives: `qc` where a picture to check signals by is asked for.

    `stem` is what its signal files are named by; `signals` are their paths, of all kinds.
    """

    stem: str
    png: Path
    json: Path
    qc: Path | None = None
    signals: tuple[Path, ...] = ()

    @property
    def every(self) -> tuple[Path, ...]:
        qc = () if self.qc is None else (self.qc,)
        return (self.png, self.json, *qc, *self.signals)


def output_names(
    source: Path,
    page_number: int,
    out_dir: Path,
    base: Path | None = None,
    *,
    kinds: Iterable[str] = (),
    qc: bool = False,
) -> OutputNames:
    """Where a page's files go: `<stem>` for page 1, `<stem>-p2` and so on, in `out_dir / base`.

    `kinds` are those of signal files, see `ecgvision.writers.KINDS`.

    >>> names = output_names(Path("in/a b.pdf"), 2, Path("out"), kinds=("npz", "wfdb"))
    >>> [path.as_posix() for path in names.every]
    ['out/a b-p2.png', 'out/a b-p2.json', 'out/a b-p2.npz',
     'out/a_b_p2-9bb34a90.hea', 'out/a_b_p2-9bb34a90.dat']
    """
    folder = out_dir / (base or Path())
    return page_names(source.stem, page_number, folder, kinds=kinds, qc=qc)


def page_names(
    stem: str, page_number: int, folder: Path, *, kinds: Iterable[str] = (), qc: bool = False
) -> OutputNames:
    """As `output_names`, for a source whose files are to be named by `stem` in `folder`."""
    if page_number > 1:
        stem = f"{stem}-p{page_number}"
    return OutputNames(
        stem,
        folder / f"{stem}.png",
        folder / f"{stem}.json",
        folder / f"{stem}.qc.png" if qc else None,
        tuple(folder / name for kind in kinds for name in _signal_names(kind, stem)),
    )


def _signal_names(kind: str, stem: str) -> tuple[str, ...]:
    """The names that `ecgvision.writers.recording_files` gives its files, before there are any."""
    if kind == "wfdb":
        from ecgvision.writers.wfdb import record_name

        return f"{record_name(stem)}.hea", f"{record_name(stem)}.dat"
    return (f"{stem}.{'dcm' if kind == 'dicom' else kind}",)


# --- writing ----------------------------------------------------------------------------------


def png_bytes(pixels: Pixels, px_per_mm: float | None = None) -> bytes:
    """(H, W) grey or (H, W, 3) RGB ``uint8`` as a PNG that knows its resolution, nothing else.

    Without `px_per_mm` it does not know that either.
    """
    import cv2
    import numpy as np

    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[:, :, ::-1])  # OpenCV stores blue first
    # OpenCV's own choice, run lengths, is right for line drawings: with a level given it is three
    # times slower and the file no smaller.
    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise OutputError(f"cannot encode an image of {pixels.shape[1]} x {pixels.shape[0]} pixels")
    data = encoded.tobytes()
    if px_per_mm is None:
        return data
    per_metre = round(px_per_mm * 1000)
    return data[:_PNG_HEAD_BYTES] + _phys_chunk(per_metre) + data[_PNG_HEAD_BYTES:]


def _phys_chunk(px_per_metre: int) -> bytes:
    body = b"pHYs" + struct.pack(">IIB", px_per_metre, px_per_metre, 1)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def json_bytes(value: Any) -> bytes:
    """UTF-8; a file name's undecodable bytes come out as JSON's own escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "backslashreplace")


def write_png(path: Path, pixels: Pixels, px_per_mm: float) -> None:
    """Write the picture whole or not at all; raises `OutputError`."""
    write_files({path: png_bytes(pixels, px_per_mm)})


def write_json(path: Path, value: Any) -> None:
    """Write the value whole or not at all; raises `OutputError`."""
    write_files({path: json_bytes(value)})


def write_files(files: Mapping[Path, bytes], removed: Iterable[Path] = ()) -> None:
    """Write files that belong together, with their folders; raises `OutputError`.

    All are on disk under temporary names before the first is renamed, so that a full disk leaves
    neither a part of a file nor one file without the other. They are renamed in the order given.
    Existing files are replaced, and the files in `removed`, which do not belong to them, go where
    they exist. When it returns, all of it outlives a power cut.
    """
    staged: dict[Path, Path] = {}
    path = Path()
    try:
        for path, data in files.items():
            make_folder(path.parent)
            # Short, as the final name may already be as long as the file system allows.
            staged[path] = temporary_beside(path)
            _write_through(staged[path], data)
        for path in files:
            if path.is_dir():  # before the first of them is renamed
                raise IsADirectoryError(0, "a folder has that name")
        for path, temporary in staged.items():
            temporary.replace(path)
        for path in removed:
            path.unlink(missing_ok=True)
        for folder in dict.fromkeys(path.parent for path in files):
            sync_folder(folder)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        for temporary in staged.values():
            with suppress(OSError):  # also that of a disk that is read-only
                temporary.unlink()


def temporary_beside(path: Path) -> Path:
    """A name of its own in the same folder, for what is to be renamed to `path`."""
    return path.parent / f"{TEMPORARY}{secrets.token_hex(6)}.tmp"


def unwritable(path: Path | str, error: OSError) -> OutputError:
    """What the system's refusal to write there is told as."""
    return OutputError(
        f"cannot write {path}: {error.strerror or type(error).__name__}; "
        "check permissions and free space, or choose another folder with -o",
        full=error.errno in _FULL,
    )


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, and let them outlive a power cut; raises `OSError`."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Let names in the folder outlive a power cut, where the system has a way to; raises `OSError`.

    Windows has none, nor have some network shares.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

"""Files in and out: finds the reports to convert, names their outputs, writes them whole or not.

Nothing is ever half written: data goes to a temporary file beside its place and is renamed.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgvision.errors import EcgVisionError, UsageError

if TYPE_CHECKING:
    from ecgvision.types import Pixels

ENDINGS = frozenset({".pdf", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""Endings of the files that are picked up in folders; a file named by itself may have any."""

# Signature and IHDR chunk: what may follow them is ours to choose.
_PNG_HEAD_BYTES = 8 + 25


class OutputError(EcgVisionError):
    """An output file cannot be written."""

    code = "output-unwritable"


@dataclass(frozen=True, slots=True)
class Job:
    """A file to convert; its outputs go to the sub-folder `relative` of the output folder."""

    source: Path
    relative: Path = Path()


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
    stem = source.stem if page_number == 1 else f"{source.stem}-p{page_number}"
    folder = out_dir / (base or Path())
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


# --- finding ----------------------------------------------------------------------------------


def find_jobs(paths: Iterable[str | Path], out_dir: Path | None = None) -> list[Job]:
    """The files that `paths` name: files as they are, folders with all below, patterns expanded.

    What was found in a folder, or by a pattern, keeps its sub-folder. `out_dir` is left out where
    it lies in a searched folder, as its pictures are no reports. Raises `UsageError` for a path
    that gives no file.
    """
    jobs: dict[tuple[Path, Path], Job] = {}
    for path in paths:
        found = list(_jobs_of(Path(path), out_dir))
        if not found:
            endings = " ".join(sorted(ENDINGS))
            raise UsageError(f"no reports in {str(path)!r}; looked for files ending in {endings}")
        for job in found:
            jobs.setdefault((Path.cwd() / job.source, job.relative), job)
    return list(jobs.values())


def _jobs_of(path: Path, out_dir: Path | None) -> Iterator[Job]:
    if path.is_dir():
        if out_dir is not None and _real(path) == _real(out_dir):
            raise UsageError(
                f"{str(path)!r} is searched for reports and cannot take the output, which would be "
                "read as reports next time; name another folder with -o"
            )
        yield from _in_folder(path, Path(), out_dir)
    elif os.path.lexists(path):
        if not _maybe_file(path):
            raise UsageError(f"{str(path)!r} is neither a file nor a folder")
        yield Job(path)
    elif glob.has_magic(str(path)):
        yield from _by_pattern(path, out_dir)
    else:
        raise UsageError(f"{str(path)!r} does not exist; check the path")


def _in_folder(top: Path, base: Path, out_dir: Path | None) -> Iterator[Job]:
    """All reports below a folder, in order; links to folders are not followed: they may loop.

    A folder that cannot be listed comes as a job of its own, so that it is not lost silently.
    """
    closed: list[Path] = []
    skipped = out_dir and _real(out_dir)
    for folder, folders, files in os.walk(
        top, onerror=lambda error: closed.append(Path(error.filename))
    ):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _real(here / name) != skipped)
        relative = base / here.relative_to(top)
        for name in sorted(files):
            if _is_report(here / name):
                yield Job(here / name, relative)
    yield from (Job(path, base / path.relative_to(top).parent) for path in closed)


def _by_pattern(pattern: Path, out_dir: Path | None) -> Iterator[Job]:
    root = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    skipped = out_dir and _real(out_dir)
    if skipped == _real(root):
        skipped = None
    # Not Path.glob: it takes no absolute pattern, and finds hidden files.
    for name in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207
        found = Path(name)
        if skipped and skipped in (_real(found), *_real(found).parents):
            continue
        relative = found.relative_to(root).parent
        if ".." in relative.parts:  # would lead out of the output folder
            relative = Path()
        if found.is_dir() and "**" not in pattern.parts:
            yield from _in_folder(found, relative / found.name, out_dir)
        elif not found.is_dir() and _is_report(found):
            yield Job(found, relative)


def _is_report(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and _maybe_file(path)


def _maybe_file(path: Path) -> bool:
    """False for pipes and devices, which may block for ever; a broken link is tried and named."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


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
    neither a part of a file nor one file without the other. Existing files are replaced, and the
    files in `removed`, which do not belong to them, go where they exist.
    """
    staged: dict[Path, Path] = {}
    path = Path()
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Short, as the final name may already be as long as the file system allows.
            staged[path] = path.parent / f".ecgvision-{secrets.token_hex(6)}.tmp"
            _write_through(staged[path], data)
        for path in files:
            if path.is_dir():  # before the first of them is renamed
                raise IsADirectoryError(0, "a folder has that name")
        for path, temporary in staged.items():
            temporary.replace(path)
        for path in removed:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or type(error).__name__}; "
            "check permissions and free space, or choose another folder with -o"
        ) from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

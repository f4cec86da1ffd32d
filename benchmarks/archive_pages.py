"""An archive to run over: report pages drawn from PTB-XL records, and hostile files among them.

Three of four files are vector PDFs, some of them with several pages; the others are PNGs and scans.
Everything follows from the seed: the same call draws the same files. `expected.json`, beside the
archive, says what each file holds.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import pymupdf
from PIL import Image

from ecgvision.plugins import load_formats
from ecgvision.testing import Ecg, as_png, draw_page, scanned

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")
SEED = 20261122
HOSTILE_SHARE = 0.03
YEARS = range(2009, 2025)
Kind = Literal["vector", "png", "scan", "hostile"]
KINDS: tuple[Kind, ...] = ("vector", "png", "scan")
# Of 20 pages in a row 15 are vectors, 2 PNGs and 3 scans.
_TURN: tuple[Kind, ...] = (*(("vector",) * 5 + ("scan",)) * 3, "png", "png")
# Every so many files one has so many pages, which all are vectors.
_EVERY, _PAGES_EACH = 12, (2, 3, 5)
_SAMPLES_HZ = 250.0
_MUPDF: Any = pymupdf  # which has no types


@dataclass(frozen=True)
class DueFile:
    """One file of the archive: `name` is relative to it, `formats` and `layouts` are per page.

    Of a hostile file, `layouts` is empty, and `formats` says in one word what is wrong with it.
    """

    name: str
    kind: Kind
    formats: tuple[str, ...]
    layouts: tuple[str, ...]
    record_rows: tuple[int, ...] = ()


# --- what is to be drawn ------------------------------------------------------------------------


def planned(
    pages: int, kinds: Sequence[Kind] = KINDS, hostile_share: float = HOSTILE_SHARE
) -> list[DueFile]:
    """Files of the `kinds` that hold so many pages in all, and that share of hostile ones."""
    rng = np.random.default_rng(SEED)
    pairs = [(f.info.id, layout.name) for f in load_formats().formats for layout in f.layouts]
    turn = [kind for kind in _TURN if kind in kinds]
    rows = rng.permutation(_record_count())
    files: list[DueFile] = []
    drawn = 0
    while drawn < pages:
        kind = turn[drawn % len(turn)]
        several = kind == "vector" and len(files) % _EVERY == 1
        count = min(int(rng.choice(_PAGES_EACH)) if several else 1, pages - drawn)
        chosen = [pairs[(drawn + k) % len(pairs)] for k in range(count)]
        year = int(rng.choice(YEARS))
        ending = "png" if kind == "png" else "pdf"
        files.append(
            DueFile(
                f"{year}/{kind}-{len(files):05d}.{ending}",
                kind,
                tuple(one for one, _ in chosen),
                tuple(one for _, one in chosen),
                tuple(int(rows[(drawn + k) % len(rows)]) for k in range(count)),
            )
        )
        drawn += count
    return _with_hostile(files, round(hostile_share * pages), rng)


def _with_hostile(files: list[DueFile], count: int, rng: np.random.Generator) -> list[DueFile]:
    """Hostile files of all kinds in turn, in folders drawn by chance."""
    words = list(HOSTILE)
    for number in range(count):
        word, year = words[number % len(words)], int(rng.choice(YEARS))
        ending = "png" if word.endswith("png") else "pdf"
        files.append(DueFile(f"{year}/x-{number:04d}-{word}.{ending}", "hostile", (word,), ()))
    return files


# --- drawing ------------------------------------------------------------------------------------


def archive(
    folder: Path,
    pages: int,
    processes: int,
    kinds: Sequence[Kind] = KINDS,
    hostile_share: float = HOSTILE_SHARE,
) -> Path:
    """Draw what is missing of the archive in `folder`; gives the file of what is due."""
    due = folder / "expected.json"
    if due.is_file():
        return due
    files = planned(pages, kinds, hostile_share)
    reports = folder / "reports"
    for one in files:
        (reports / one.name).parent.mkdir(parents=True, exist_ok=True)
    wanted = [(reports, one, leads) for one, leads in _with_records(files)]
    with ProcessPoolExecutor(processes, initializer=_one_thread) as pool:
        for _ in pool.map(_draw_file, wanted, chunksize=8):
            pass
    # A folder named as a report, which is searched as any other folder.
    (reports / "2009" / "folder.pdf").mkdir(parents=True, exist_ok=True)
    due.write_text(json.dumps([asdict(one) for one in files], indent=0), encoding="utf-8")
    return due


def due_files(path: Path) -> list[DueFile]:
    """What `archive` has written down."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return [
        DueFile(
            one["name"],
            one["kind"],
            tuple(one["formats"]),
            tuple(one["layouts"]),
            tuple(one["record_rows"]),
        )
        for one in told
    ]


def counts(files: Sequence[DueFile]) -> Counter[str]:
    """Pages by kind; a hostile file counts as one."""
    found: Counter[str] = Counter()
    for one in files:
        found[one.kind] += len(one.formats)
    return found


def _record_count() -> int:
    with (DATA / "ptbxl" / "labels.csv").open(encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


def _with_records(files: Sequence[DueFile]) -> Iterator[tuple[DueFile, NDArray[np.int16]]]:
    """Each file with its records' steps: (pages, 8, n) int16 microvolt."""
    with np.load(DATA / "ptbxl" / "signals.npz") as signals:
        steps_uv = signals["delta_uv"]
    for one in files:
        rows = list(one.record_rows)
        yield one, np.cumsum(steps_uv[rows], axis=2, dtype=np.int16)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _draw_file(wanted: tuple[Path, DueFile, NDArray[np.int16]]) -> None:
    reports, one, leads = wanted
    path = reports / one.name
    if one.kind == "hostile":
        HOSTILE[one.formats[0]](path)
    elif not path.exists():
        whole = path.with_suffix(".part")
        whole.write_bytes(_content(one, leads))
        whole.replace(path)


def _content(one: DueFile, leads: NDArray[np.int16]) -> bytes:
    pages = [
        _page(format_id, layout, leads8)
        for format_id, layout, leads8 in zip(one.formats, one.layouts, leads, strict=True)
    ]
    content = pages[0] if len(pages) == 1 else _joined(pages)
    rng = np.random.default_rng([SEED, *one.record_rows])
    if one.kind == "png":
        content = as_png(content, dpi=float(rng.integers(150, 201)))
    elif one.kind == "scan":
        content = scanned(
            content,
            dpi=200,
            rotation_deg=float(rng.uniform(-1, 1)),
            blur_px=0.7,
            noise_sigma=6.0,
            jpeg_quality=80,
            seed=one.record_rows[0],
        )
    return content


def _page(format_id: str, layout_name: str, leads8_uv: NDArray[np.int16]) -> bytes:
    chosen = load_formats().find(format_id)
    layout = next(one for one in chosen.layouts if one.name == layout_name)
    shown = math.ceil(max(box.stop_s for box in layout.boxes) * _SAMPLES_HZ) + 1
    # One layout shows more than the 10 s of a record. A machine's rows are full: ours go on with
    # the record's end in reverse.
    missing = max(0, shown - leads8_uv.shape[1])
    longer = np.pad(leads8_uv, ((0, 0), (0, missing)), mode="reflect")
    return draw_page(layout, chosen.info, Ecg.from_eight(longer, _SAMPLES_HZ)).pdf


def _joined(pages: Sequence[bytes]) -> bytes:
    with _MUPDF.open() as whole:
        for page in pages:
            with _MUPDF.open(stream=page, filetype="pdf") as one:
                whole.insert_pdf(one)
        # Else each file has an identifier drawn by chance.
        content: bytes = whole.tobytes(garbage=3, deflate=True, no_new_id=True)
    return content


# --- hostile files ------------------------------------------------------------------------------

_BOMB_PX = 30_000


def _good_page() -> bytes:
    """Any page, to be broken."""
    format_id = load_formats().formats[0].info.id
    layout = load_formats().formats[0].layouts[0].name
    rows = np.random.default_rng(SEED).integers(-30, 31, (8, 2500))
    return _page(format_id, layout, np.cumsum(rows, axis=1).clip(-900, 900).astype(np.int16))


def _truncated_pdf(path: Path) -> None:
    content = _good_page()
    path.write_bytes(content[: len(content) // 2])


def _truncated_png(path: Path) -> None:
    content = as_png(_good_page(), dpi=100)
    path.write_bytes(content[: len(content) // 2])


def _html(path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html><title>Session expired</title><p>Sign in")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _encrypted(path: Path) -> None:
    with _MUPDF.open(stream=_good_page(), filetype="pdf") as document:
        document.save(path, encryption=_MUPDF.PDF_ENCRYPT_AES_256, user_pw="u", owner_pw="o")


def _png_bomb(path: Path) -> None:
    """900 million black pixels in some 100 kB."""
    row = bytes(1 + (_BOMB_PX + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(_BOMB_PX)) + packer.flush()
    header = struct.pack(">IIBBBBB", _BOMB_PX, _BOMB_PX, 1, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _content_bomb(path: Path) -> None:
    """A page whose content unpacks to 200 MB of nothing."""
    _save_page(path, b"\n" * 200_000_000)


def _nan(path: Path) -> None:
    _save_page(path, b"nan nan m NaN inf l 1e999 -1e999 l S 10 10 m nan 20 l S\n" * 50)


def _no_ecg(path: Path) -> None:
    with _MUPDF.open() as document:
        page = document.new_page(width=792, height=612)
        for line in range(30):
            page.insert_text((60, 50 + 18 * line), "Dear colleague, thank you for the referral.")
        document.save(path, no_new_id=True)


def _no_ecg_png(path: Path) -> None:
    rng = np.random.default_rng(SEED)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (85, 110), dtype=np.uint8), 10, 0), 10, 1)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG", dpi=(100, 100))
    path.write_bytes(held.getvalue())


def _save_page(path: Path, content: bytes) -> None:
    with _MUPDF.open() as document:
        page = document.new_page(width=792, height=612)
        page.insert_text((9, 9), ".")  # so that it has a content to be replaced
        document.update_stream(page.get_contents()[0], content)
        document.save(path, deflate=True, no_new_id=True)


def _dangling(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("gone.pdf")


HOSTILE: dict[str, Callable[[Path], None]] = {
    "truncated": _truncated_pdf,
    "truncated-png": _truncated_png,
    "html": _html,
    "empty": _empty,
    "encrypted": _encrypted,
    "bomb-png": _png_bomb,
    "bomb": _content_bomb,
    "nan": _nan,
    "no-ecg": _no_ecg,
    "no-ecg-png": _no_ecg_png,
    "dangling": _dangling,
    "empty-png": _empty,
}
"""What makes each kind of hostile file; those that end in `png` have that ending."""

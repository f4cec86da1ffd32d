"""What one page gives: its files, and what its row says of how it was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgvision.archive.rows import escaped
from ecgvision.errors import PageError, UsageError
from ecgvision.output import OutputNames, json_bytes, png_bytes

if TYPE_CHECKING:
    from ecgvision.result import Conversion


def page_files(names: OutputNames, page: Conversion, kinds: Sequence[str]) -> dict[Path, bytes]:
    """All files of a page, the JSON first: it tells whose the others are.

    Signals that were refused are left out. Raises `PageError` where a kind cannot hold them.
    """
    files = {
        names.json: json_bytes(page.summary()),
        names.png: png_bytes(page.image.pixels, page.image.px_per_mm),
    }
    if names.qc is not None and page.qc is not None:
        files[names.qc] = png_bytes(page.qc)
    if page.refusal is None:
        for name, content in _signal_files(names.stem, page, kinds).items():
            files[names.png.parent / name] = content
    return files


def _signal_files(stem: str, page: Conversion, kinds: Sequence[str]) -> dict[str, bytes]:
    """Name and content of the page's signal files; raises `PageError` where one cannot be."""
    from ecgvision.writers import WriterError, recording_files

    files: dict[str, bytes] = {}
    if page.recording is None:
        return files
    try:
        for kind in kinds:
            files |= recording_files(page.recording, kind, stem, page.details())
    except WriterError as error:
        raise PageError(
            error.code,
            page.source,
            page.page_number,
            expected=error.expected,
            found=error.found,
            hint=error.hint,
        ) from error
    except UsageError as error:
        raise PageError(
            "signals-unwritable",
            page.source,
            page.page_number,
            expected="names that a signal file can have",
            found=str(error),
            hint="rename the file, its format or its layout",
        ) from error
    return files


def described(page: Conversion) -> dict[str, Any]:
    """What a page's row says of how it was read."""
    quality, scale = page.quality, page.calibration
    findings = () if quality is None else quality.findings
    return {
        "source_sha256": page.source_sha256,
        "pages": page.page_count,
        "origin": page.origin,
        "format": escaped(page.format_id),
        "layout": escaped(page.match.layout.name),
        "score": round(page.match.score, 3),
        "speed_mm_per_s": scale.speed_mm_per_s,
        "gain_mm_per_mv": scale.gain_mm_per_mv,
        "speed_from": scale.speed_from,
        "gain_from": scale.gain_from,
        "quality": "" if quality is None else quality.verdict,
        "findings": list(dict.fromkeys(finding.code for finding in findings)),
        "warnings": list(dict.fromkeys(notice.code for notice in page.notices)),
    }

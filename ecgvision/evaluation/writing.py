"""The report of an evaluation on disk: one page and its tables, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ecgvision.errors import PageError, UsageError
from ecgvision.evaluation.evaluate import Evaluation
from ecgvision.evaluation.page import MARK, page
from ecgvision.evaluation.tables import COLUMNS
from ecgvision.output import write_files

PAGE = "index.html"
_HEAD_BYTES = 512


def check_report(folder: Path, *, force: bool = False) -> None:
    """Raise unless a report may be written there: an older one is replaced, other pages are not."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {str(folder)!r} is a file; name a folder")
    target = folder / PAGE
    if force or not target.exists() or _is_report(target):
        return
    raise PageError(
        "output-exists",
        target,
        None,
        expected="no file of that name, or an older evaluation",
        found="another file",
        hint="use --force to replace it, or another folder",
    )


def write_report(evaluation: Evaluation, folder: Path, *, force: bool = False) -> Path:
    """Write index.html and a CSV for each table; the path of the page.

    Raises `PageError` where another page stands, `OutputError` where nothing can be written.
    """
    check_report(folder, force=force)
    written = {folder / f"{name}.csv": evaluation.tables.csv(name) for name in COLUMNS}
    write_files({**written, folder / PAGE: page(evaluation)})
    return folder / PAGE


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK in file.read(_HEAD_BYTES)
    except OSError:
        return False

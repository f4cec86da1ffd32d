"""Folders that appear whole or not at all, and replace only what they are meant to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecgvision.dataset.about import DatasetError
from ecgvision.output import make_folder, sync_folder, temporary_beside, unwritable


@contextmanager
def whole_folder(folder: Path, mark: str, *, replace: bool) -> Iterator[Path]:
    """Gives an empty folder to fill, which gets the name `folder` when all went well.

    With `replace` an older folder that holds the file `mark` goes when the new one stands. Raises
    `DatasetError` for any other that is not empty, `OutputError` where nothing can be written.
    """
    folder = Path(folder)
    check_target(folder, mark, replace)
    temporary = temporary_beside(folder)
    try:
        make_folder(temporary)
        yield temporary
        _put_in_place(temporary, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_target(folder: Path, mark: str, replace: bool) -> None:
    """Raise `DatasetError` unless the folder is free, empty, or has `mark` and may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    ours = (folder / mark).is_file()
    if replace and ours:
        return
    raise DatasetError(
        "output-exists",
        folder,
        None,
        expected="no file or folder of that name",
        found=f"one with {mark}" if ours else "something that was not written by this command",
        hint="use --force to replace it, or another name" if ours else "use another name",
    )


def _put_in_place(temporary: Path, folder: Path) -> None:
    if folder.exists():
        aside = temporary_beside(folder)
        folder.rename(aside)
        try:
            temporary.rename(folder)
        except OSError:
            aside.rename(folder)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    else:
        temporary.rename(folder)
    sync_folder(folder.parent)

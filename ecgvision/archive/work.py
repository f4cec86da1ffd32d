"""One file converted and written: what a worker does, in whatever process or machine it runs."""

from __future__ import annotations

import errno
import hashlib
import json
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgvision.archive.pages import described, page_files
from ecgvision.archive.rows import PageRow, Status, escaped, now, one_line, year_of
from ecgvision.archive.store import State
from ecgvision.archive.task import FileResult, FileTask
from ecgvision.conversion import convert_each
from ecgvision.errors import EcgVisionError, PageError, UnreadableError
from ecgvision.output import OutputError
from ecgvision.recognition import choose_formats
from ecgvision.result import Conversion

if TYPE_CHECKING:
    from ecgvision.plugins import Format

# Errors by which a page was not judged: it may come out the next time. Others refuse it.
_FAILURES = (
    "file-",
    "folder-",
    "internal",
    "memory-exceeded",
    "output-",
    "plugin-broken",
    "renderer-",
    "signals-unwritable",
)
_MOST_JSON_BYTES = 16_000_000
# Why a store gives no copy of a file: reason code, what was expected, what to try.
_UNFETCHED = {
    errno.ENOENT: ("file-missing", "a file", "check the path"),
    errno.EISDIR: ("folder-unreadable", "a folder that can be listed", "check its permissions"),
    errno.EACCES: ("file-unreadable", "a file that can be read", "check credentials and rights"),
    errno.EFBIG: ("file-too-large", "a report", "look at what it is"),
    errno.EINVAL: ("file-name-unusable", "a name that can be a path", "rename it in its store"),
}
_UNREACHABLE = ("file-unreachable", "a store that gives the file", "run the command again")


def convert_file(task: FileTask) -> FileResult:
    """Convert all pages of a file and write them; whatever goes wrong is told in their rows."""
    run = _FileRun(task, task.at.state(task.source))
    try:
        with _opened(task) as path:
            if not run.is_as_seen(path):
                run.convert(path)
                return run.result()
            return FileResult(same=True)
    except Exception as error:  # a bug of ours must not cost more than this file
        run.fail(0, error)
        return run.result()


@contextmanager
def _opened(task: FileTask) -> Iterator[Path]:
    """The path under which the file can be read as long as the context is open."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(task.at.fetched(task.source))
        except OSError as error:
            raise _unfetched(task, error) from None
        yield path


@dataclass
class _FileRun:
    """The conversion of one file as far as it has come."""

    task: FileTask
    before: State | None
    rows: list[PageRow] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    full: bool = False
    _is_whole: bool = False

    def is_as_seen(self, path: Path) -> bool:
        """Whether it was done before and is the same; raises `PageError` for another's place."""
        task = self.task
        if not (task.seen_sha256 and path.is_file()):
            return False
        same = _sha256(path) == task.seen_sha256
        if task.moved and task.owned and not same:
            raise _exists(task, None, task.names(min(task.owned)).json)
        return same and task.settled

    def convert(self, path: Path) -> None:
        task = self.task
        if path.is_dir():
            raise PageError(
                "folder-unreadable",
                task.shown,
                None,
                expected="a folder that can be listed",
                found="one that cannot",
                hint="check its permissions",
            )
        _check_names(task, 1, None)
        formats = _formats(task.work.token, task.format, task.work.layout_of(task.format))
        started = time.perf_counter()
        for page in convert_each(path, formats, task.work.options):
            number = (page.page or 0) if isinstance(page, PageError) else page.page_number
            try:
                self._finish(page, number, started)
            except Exception as error:
                self.fail(number, error, time.perf_counter() - started)
            self._spool(page)
            if self.full:
                return
            started = time.perf_counter()
        self._fill(path)
        self._clear()

    def result(self) -> FileResult:
        return FileResult(tuple(self.rows), full=self.full, traces=tuple(self.traces))

    def fail(self, number: int, error: Exception, seconds: float = 0.0) -> None:
        """A row for the page, or as page 0 the file, that ended in the error."""
        told = _told(self.task, number, error)
        self.full |= isinstance(error, OutputError) and error.full
        if self.task.work.debug and told.code == "internal":
            self.traces.append(_hidden(self.task, "".join(traceback.format_exception(error))))
        self._add(
            number,
            status=_status(told),
            reason=told.code,
            message=_sentence(self.task, told),
            seconds=seconds,
        )

    def _add(self, number: int, **more: Any) -> None:
        task, state = self.task, self.before or State(0, 0)
        self.rows.append(
            PageRow(
                source=task.name,
                source_bytes=state.size_bytes,
                source_mtime_ns=state.mtime_ns,
                source_etag=state.etag,
                page=number,
                attempts=task.attempt,
                options=task.options,
                year=year_of(state.mtime_ns) if state.mtime_ns else None,
                finished_at=now(),
                root=task.root,
                **more,
            )
        )

    def _finish(self, page: Conversion | PageError, number: int, started: float) -> None:
        """Write the page and add its row; raises what keeps it from being written."""
        self._check_unchanged(number)
        if isinstance(page, PageError):
            raise page
        _check_names(self.task, number, number)
        shown = replace(page, source=self.task.shown)
        names, refusal = self.task.names(number), page.refusal
        files = page_files(names, shown, self.task.work.kinds)
        self.task.work.store.write(files, () if refusal is None else names.signals)
        self._add(
            number,
            status="done" if refusal is None else "refused",
            reason=refusal.code if refusal else "",
            message=_sentence(self.task, _renamed(self.task, refusal)) if refusal else "",
            outputs=[_relative(self.task, one) for one in files],
            seconds=time.perf_counter() - started,
            **described(page),
        )

    def _check_unchanged(self, number: int) -> None:
        """A file that is still being written gives half a page, or pages of two reports."""
        at = self.task.at
        if self._is_whole or self.before is None or at.state(self.task.source) == self.before:
            self._is_whole = at.copies
            return
        raise UnreadableError(
            "file-changed",
            self.task.shown,
            number or None,
            expected="a file that stays as it is while it is read",
            found="that it was changed, replaced or taken away",
            hint="convert it again when it is whole",
        )

    def _spool(self, page: Conversion | PageError) -> None:
        """Keep the row of one page of several where it outlives this process."""
        alone = isinstance(page, Conversion) and page.page_count == 1
        if self.task.spool is not None and not alone:
            line = json.dumps(self.rows[-1].as_record())
            self.task.spool_store.note(self.task.spool, len(self.rows), line)

    def _fill(self, path: Path) -> None:
        """Give all rows what is known of the file only now: how many pages it has, and its hash."""
        count = max((row.page for row in self.rows), default=0)
        digest = next((row.source_sha256 for row in self.rows if row.source_sha256), "")
        digest = digest or _sha256(path)
        self.rows = [replace(row, pages=count, source_sha256=digest) for row in self.rows]

    def _clear(self) -> None:
        """Remove the outputs of pages that are no more, or are refused now."""
        count = max((row.page for row in self.rows), default=0)
        refused = {row.page for row in self.rows if row.status == "refused" and not row.outputs}
        if count == 0:  # the file could not be read: its pages may come back
            return
        for number in self.task.owned:
            if number in refused or number > count:
                for path in self.task.names(number).every:
                    with suppress(OSError):
                        self.task.work.store.remove(path)


# --- whose outputs ------------------------------------------------------------------------------


def _check_names(task: FileTask, number: int, page: int | None) -> None:
    """Raise `PageError` unless this page's files may be written."""
    names = task.names(number)
    if number in task.taken:
        raise PageError(
            "output-clash",
            task.shown,
            page,
            expected=f"{names.png.name} for this input alone",
            found="that another input writes it, too",
            hint="rename one of them, or convert them to different folders",
        )
    allowed = task.work.force or number in task.owned or (task.begun and _is_of(task, number))
    for path in names.every:
        if path.name in task.inputs:
            raise PageError(
                "output-is-input",
                task.shown,
                page,
                expected="outputs apart from the inputs",
                found=f"{task.work.store.told(path)}, which is an input",
                hint="choose another folder with -o",
            )
        if not allowed and task.work.store.has(path):
            raise _exists(task, page, path)


def _unfetched(task: FileTask, error: OSError) -> UnreadableError:
    """What keeps a file of a store from being copied."""
    code, expected, hint = _UNFETCHED.get(error.errno or 0, _UNREACHABLE)
    found = error.strerror or type(error).__name__
    return UnreadableError(code, task.shown, None, expected=expected, found=found, hint=hint)


def _exists(task: FileTask, page: int | None, path: Path) -> PageError:
    return PageError(
        "output-exists",
        task.shown,
        page,
        expected=f"no file {task.work.store.told(path)}",
        found="one",
        hint="use --force to replace it, or another folder with -o",
    )


def _is_of(task: FileTask, number: int) -> bool:
    """Whether the JSON that lies there says that it is of this page of this source."""
    path = task.names(number).json
    try:
        source = json.loads(task.work.store.read(path, _MOST_JSON_BYTES))["source"]
        return bool(source["name"] == task.shown.name and source["page"] == number)
    except (OSError, ValueError, KeyError, TypeError):
        return False


# --- small things -------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _formats(token: str, name: str, layout: Path | None) -> Sequence[Format]:
    """The formats to try, loaded once a run."""
    return choose_formats(name, layout)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _relative(task: FileTask, path: Path) -> str:
    return escaped(path.relative_to(task.work.out_dir).as_posix())


def _status(error: EcgVisionError) -> Status:
    unreadable = isinstance(error, UnreadableError) or not isinstance(error, PageError)
    return "failed" if unreadable or error.code.startswith(_FAILURES) else "refused"


def _told(task: FileTask, number: int, error: Exception) -> EcgVisionError:
    """The error as it is to be told: by its name, or by what stands behind it."""
    if _is_memory(error):
        return UnreadableError(
            "memory-exceeded",
            task.shown,
            number or None,
            expected="a page that fits into the memory of a worker",
            found="that it does not",
            hint="check the size of its pages, or allow more with --memory",
        )
    if isinstance(error, PageError):
        return _renamed(task, error)
    if isinstance(error, EcgVisionError):
        return error
    where = traceback.extract_tb(error.__traceback__)[-1]
    return PageError(
        "internal",
        task.shown,
        number or None,
        expected="a file that can be worked on",
        found=f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}",
        hint="please report it with what --debug shows",
    )


def _renamed(task: FileTask, error: PageError) -> PageError:
    told = type(error)(
        error.code,
        task.shown,
        error.page,
        expected=error.expected,
        found=error.found,
        hint=error.hint,
    )
    told.__cause__ = error.__cause__
    return told


def _sentence(task: FileTask, error: EcgVisionError) -> str:
    # A page's error has its code in the message.
    text = str(error) if isinstance(error, PageError) else f"{error} [{error.code}]"
    return one_line(_hidden(task, text))


def _hidden(task: FileTask, text: str) -> str:
    """The text without the file's own name, where that is not to be shown."""
    if task.shown != task.source:
        for told in (str(task.source), task.source.name):
            text = text.replace(told, str(task.shown))
    return text


def _is_memory(error: BaseException) -> bool:
    return any(
        isinstance(one, MemoryError) or "nsufficient memory" in str(one) or "malloc (" in str(one)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

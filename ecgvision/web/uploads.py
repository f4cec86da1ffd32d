"""Uploads on their way: into a folder, through a worker, and away after some minutes."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from ecgvision.archive.local import end_of_process, worker_processes
from ecgvision.web.errors import WebError, busy, unknown_report
from ecgvision.web.settings import Limits
from ecgvision.web.shapes import PageResult, Reason, State
from ecgvision.web.work import (
    PAGE_JSON,
    TOTAL_FILE,
    Failure,
    UploadTask,
    page_folder,
    read_upload,
)

Reader = Callable[[UploadTask], Failure | None]

_TICK_S = 0.1
_SWEEP_S = 2.0
_PRELOADED = (
    "ecgvision.web.work",
    "ecgvision.media.image",
    "ecgvision.media.pdf",
    "ecgvision.quality.picture",
    "ecgvision.signals.read",
    "ecgvision.writers.wfdb",
)


@dataclass
class Upload:
    """One upload and how far it is; `made_s` is on the monotonic clock."""

    id: str
    folder: Path
    made_s: float
    state: State = "waiting"
    error: Reason | None = None
    work: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def pages_total(self) -> int | None:
        with suppress(OSError, ValueError):
            return int((self.folder / TOTAL_FILE).read_text(encoding="ascii"))
        return None

    def numbers(self) -> list[int]:
        """The pages that are finished, in order."""
        with suppress(OSError):
            names = [path.name for path in self.folder.glob("page-*")]
            return sorted(int(name.removeprefix("page-")) for name in names)
        return []

    def page(self, number: int) -> PageResult:
        """What is told of a page; raises `WebError` where it is not there."""
        return PageResult.model_validate(json.loads(self.file(number, PAGE_JSON)))

    def file(self, number: int, name: str) -> bytes:
        """A file of a finished page. `name` is one that the server has given, never a client's."""
        try:
            return (page_folder(self.folder, number) / name).read_bytes()
        except OSError as error:
            raise WebError(
                404, "page-unknown", f"the report has no such file on page {number}", "look again"
            ) from error

    def results(self) -> list[PageResult]:
        found = []
        for number in self.numbers():
            with suppress(WebError):  # it was removed a moment ago
                found.append(self.page(number))
        return found


class Uploads:
    """All uploads of a server, in `root`, and the processes that read them."""

    def __init__(
        self, root: Path, workers: int, limits: Limits, reader: Reader = read_upload
    ) -> None:
        self._root, self._workers, self._limits, self._reader = root, workers, limits, reader
        self._all: dict[str, Upload] = {}
        self._pool: ProcessPool | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._pool = await asyncio.to_thread(self._started)
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for upload in list(self._all.values()):
            self._end(upload)
        if self._pool is not None:
            await asyncio.to_thread(_ended, self._pool)

    @property
    def kept(self) -> int:
        return len(self._all)

    @property
    def waiting(self) -> int:
        return sum(upload.state in ("waiting", "working") for upload in self._all.values())

    def find(self, name: str) -> Upload:
        """The upload of that id; raises `WebError`."""
        try:
            return self._all[name]
        except KeyError:
            raise unknown_report() from None

    def check_room(self) -> None:
        """Raise `WebError` where there is no room for one more."""
        if self.waiting >= self._limits.waiting:
            raise busy()
        if self.kept >= self._limits.kept:
            raise WebError(
                429,
                "too-many-reports",
                f"{self.kept} reports are open",
                "remove some, or wait: each goes by itself after 10 minutes",
                {"Retry-After": "30"},
            )

    async def receive(self, chunks: AsyncIterator[bytes]) -> Upload:
        """A new upload of the bytes as they come; raises `WebError` for too many or too few."""
        self.check_room()
        upload = self._new()
        try:
            async with asyncio.timeout(self._limits.upload_s):
                await self._store(upload, chunks)
        except TimeoutError:
            self.remove(upload)
            raise WebError(
                408,
                "upload-too-slow",
                f"the file did not arrive within {self._limits.upload_s:g} s",
                "try again, nearer to the server",
            ) from None
        except BaseException:
            self.remove(upload)
            raise
        return upload

    async def _store(self, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
        received = 0
        with (upload.folder / "report").open("xb") as file:
            async for chunk in chunks:
                received += len(chunk)
                if received > self._limits.upload_bytes:
                    raise too_large(self._limits)
                file.write(chunk)
        if not received:
            raise WebError(422, "file-empty", "the file has 0 bytes", "export or copy it again")

    def copy(self, upload: Upload) -> Upload:
        """Another upload of the same file, to be read in another way."""
        self.check_room()
        other = self._new()
        try:
            shutil.copyfile(upload.folder / "report", other.folder / "report")
        except OSError:
            self.remove(other)
            raise unknown_report() from None
        return other

    def begin(self, upload: Upload, task: UploadTask) -> None:
        """Put it in line for a worker."""
        upload.work = asyncio.create_task(self._work(upload, task))

    async def finished(self, upload: Upload) -> None:
        """Wait until all its pages are read, or it failed."""
        if upload.work is not None:
            await asyncio.wait([upload.work])

    def remove(self, upload: Upload) -> None:
        self._all.pop(upload.id, None)
        self._end(upload)

    # --- within ---------------------------------------------------------------------------------

    def _new(self) -> Upload:
        name = secrets.token_urlsafe(16)
        folder = self._root / f"upload-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        upload = Upload(name, folder, time.monotonic())
        self._all[name] = upload
        return upload

    def _end(self, upload: Upload) -> None:
        if upload.work is not None:
            upload.work.cancel()
        shutil.rmtree(upload.folder, ignore_errors=True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._limits.keep_s / 4))
            due_s = time.monotonic() - self._limits.keep_s
            for upload in [one for one in self._all.values() if one.made_s < due_s]:
                self.remove(upload)

    async def _work(self, upload: Upload, task: UploadTask) -> None:
        """One upload through a worker. What breaks there ends in this upload's error alone."""
        try:
            upload.error = await self._read(upload, task)
        except Exception as error:  # never a silent end
            upload.error = _crash("internal", type(error).__name__)
        upload.state = "failed" if upload.error else "done"

    async def _read(self, upload: Upload, task: UploadTask) -> Reason | None:
        for _ in range(2):  # a pool that broke says not whose fault it was
            pool = self._pool
            if pool is None:
                raise RuntimeError("the workers are not started")
            try:
                future = pool.schedule(self._reader, args=(task,))
            except RuntimeError:
                await self._renew(pool)
                continue
            try:
                late = await self._watch(upload, future)
            except asyncio.CancelledError:
                future.cancel()  # type: ignore[no-untyped-call]
                await asyncio.to_thread(shutil.rmtree, upload.folder, True)
                raise
            if late:
                return _crash("timed-out", f"that one page took longer than {late:g} s")
            error = future.exception()
            if error is None:
                failure = future.result()
                return None if failure is None else Reason(**_as_dict(failure))
            if not isinstance(error, BrokenProcessPool):
                return _told(error)
            await self._renew(pool)
        return _crash("worker-crashed", "that its process ended")

    async def _watch(self, upload: Upload, future: Any) -> float | None:
        """Until the worker is done; the seconds allowed where a page took longer."""
        finished, since_s = -1, time.monotonic()
        while not future.done():
            await asyncio.sleep(_TICK_S)
            now_s = time.monotonic()
            if not future.running():
                since_s = now_s
                continue
            upload.state = "working"
            count = len(upload.numbers())
            if count != finished:
                finished, since_s = count, now_s
            elif now_s - since_s > self._limits.page_s:
                future.cancel()  # ends its process
                return self._limits.page_s
        if future.cancelled():
            return self._limits.page_s
        return None

    def _started(self) -> ProcessPool:
        return worker_processes(self._workers, self._limits.memory_bytes, _PRELOADED)

    async def _renew(self, broken: ProcessPool) -> None:
        """A new pool, unless another upload has seen to it."""
        if self._pool is broken:
            self._pool = self._started()
            await asyncio.to_thread(_ended, broken)


def too_large(limits: Limits) -> WebError:
    return WebError(
        413,
        "upload-too-large",
        f"the file has more than {limits.upload_bytes / 1e6:g} MB",
        "send fewer pages, or a scan of 300 dpi; `ecgvision convert` takes larger files",
    )


def _as_dict(failure: Failure) -> dict[str, str]:
    return {
        "code": failure.code,
        "expected": failure.expected,
        "found": failure.found,
        "hint": failure.hint,
    }


def _told(error: BaseException) -> Reason:
    if isinstance(error, ProcessExpired):
        return _crash(*end_of_process(error.exitcode))
    if isinstance(error, MemoryError):
        return _crash("memory-exceeded", "that it is full")
    return _crash("internal", type(error).__name__)


def _crash(code: str, found: str) -> Reason:
    return Reason(
        code=code,
        expected="a file that can be worked on",
        found=found,
        hint="look at the file; others are not touched by this",
    )


def _ended(pool: ProcessPool) -> None:
    with suppress(RuntimeError):
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()

"""All records drawn, by several processes, in their order: a data set, and a list of the refused.

Pages go to a file as they come, so that memory does not grow with their number, and become a data
set when all are there.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgvision import __version__
from ecgvision.dataset.about import DatasetInfo, ImageInfo, SignalInfo
from ecgvision.dataset.arrays import Spool
from ecgvision.dataset.drawing import Drawn, DrawOptions, draw_record
from ecgvision.dataset.folders import check_target
from ecgvision.dataset.join import LEFT_OUT, LeftOut, left_out_bytes
from ecgvision.dataset.store import ABOUT, Dataset, write_dataset
from ecgvision.errors import EcgVisionError, PageError
from ecgvision.orphans import end_with_parent
from ecgvision.output import TEMPORARY, make_folder, unwritable

if TYPE_CHECKING:
    from ecgvision.dataset.drawing_labels import Labelled
    from ecgvision.dataset.records import Records
    from ecgvision.plugins import Format

_IN_FLIGHT_PER_WORKER = 4

Tell = Callable[[int, int], None]


class RenderError(EcgVisionError):
    """No page could be drawn, or those who draw them are lost."""

    code = "render-failed"


@dataclass(frozen=True)
class Rendered:
    """The data set, and what was refused on the way to it."""

    dataset: Dataset
    left_out: tuple[LeftOut, ...]
    scans: int


@dataclass(frozen=True)
class RenderJob:
    """What is to be drawn, and where the data set goes.

    `formats` are all that occur. A record is drawn in the one that `labelled` has for it, or else
    in each of them.
    """

    records: Records
    labelled: Labelled
    formats: tuple[Format, ...]
    options: DrawOptions
    folder: Path
    workers: int
    replace: bool = False

    def formats_of(self, record: str) -> tuple[str, ...]:
        """The ids of the formats that a record is drawn in."""
        own = self.labelled.format_of.get(record)
        return (own,) if own is not None else tuple(one.info.id for one in self.formats)


def render(job: RenderJob, tell: Tell) -> Rendered:
    """Draw all records and write the data set whole or not at all.

    `tell` is called with the number of records that are over, and of all. Raises `RenderError`
    where no page came out, and as `write_dataset` does.
    """
    check_target(job.folder, ABOUT, job.replace)
    left_out: list[LeftOut] = []
    pages: list[tuple[str, Drawn]] = []
    try:
        make_folder(job.folder.absolute().parent)
        aside = tempfile.TemporaryDirectory(
            prefix=TEMPORARY, dir=job.folder.absolute().parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise unwritable(job.folder, error) from error
    with aside as name:
        with Spool(Path(name) / "images") as images, Spool(Path(name) / "signals") as signals:
            for over, (record, drawn) in enumerate(_all_drawn(job, left_out), 1):
                for one in drawn:
                    left_out += _lost(record, one)
                    if one.image is not None:
                        images.add(one.image)
                        signals.add(one.signal_mv)
                        pages.append((record, replace(one, image=None, signal_mv=None)))
                tell(over, len(job.records.names))
        if not pages:
            why = left_out[0].message if left_out else "there are no records"
            raise RenderError(f"no page could be drawn: {why}")
        dataset = write_dataset(
            job.folder,
            _about(job, pages, left_out),
            job.labelled.rows(*zip(*_keys(pages), strict=True)),
            images.array(),
            signals.array(),
            replace=job.replace,
            others={LEFT_OUT: left_out_bytes(left_out)},
        )
    return Rendered(dataset, tuple(left_out), sum(one.scan for _, one in pages))


def _keys(pages: Sequence[tuple[str, Drawn]]) -> Iterator[tuple[str, str, int]]:
    for record, one in pages:
        yield record, one.format_id, one.drawing


def _lost(record: str, one: Drawn) -> Iterator[LeftOut]:
    """A page that was refused, or the signals of one that were."""
    page = f"{record}-{one.format_id}"
    if one.drawing > 1:
        page += f" (drawing {one.drawing})"
    if one.error is not None:
        yield LeftOut(page, 1, None, one.error.code, f"the page is left out: {one.error.found}")
    if one.withheld is not None:
        found = one.withheld.found
        yield LeftOut(page, 1, None, one.withheld.code, f"its signals are left out: {found}")


def _about(
    job: RenderJob, pages: Sequence[tuple[str, Drawn]], left_out: Sequence[LeftOut]
) -> DatasetInfo:
    options = job.options
    height_px, width_px = options.image_px
    source: dict[str, Any] = {
        "kind": f"drawn from {'ptbxl' if job.records.ptbxl else job.records.kind} records",
        "name": job.records.folder.resolve().name,
        "records": len(job.records.names),
        "direct": options.direct,
        "drawings": options.drawings,
        "scan_share": options.scan_share,
        "scans": sum(one.scan for _, one in pages),
        "signals": options.signals,
        "left_out": len(left_out),
    }
    signal = None
    if options.signals != "none":
        signal = SignalInfo(fs_hz=options.fs_hz, samples=options.samples)
    return DatasetInfo(
        name=job.folder.resolve().name,
        simulated=job.records.simulated,
        image=ImageInfo(height_px=height_px, width_px=width_px, style=options.image.style),
        signal=signal,
        columns=job.labelled.columns,
        sources=(source,),
        seed=options.seed,
        versions={"ecgvision": __version__},
    )


# --- by several processes -------------------------------------------------------------------------


def _all_drawn(job: RenderJob, left_out: list[LeftOut]) -> Iterator[tuple[str, list[Drawn]]]:
    """Each record's name and pages, in order; those that cannot be read are `left_out`."""
    tasks = _tasks(job, left_out)
    if job.workers <= 1:
        for task in tasks:
            yield task[0], draw_record(*task) if task[1] is not None else []
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(job.workers, 64), mp_context=context, initializer=_prepare)
    with closing(_Ordered(pool, job.workers)) as ordered:
        yield from ordered.results(tasks)


class _Ordered:
    """Results in the order of their tasks, with few of them in flight."""

    def __init__(self, pool: ProcessPoolExecutor, workers: int) -> None:
        self._pool, self._most = pool, _IN_FLIGHT_PER_WORKER * workers

    def results(self, tasks: Iterator[Any]) -> Iterator[tuple[str, list[Drawn]]]:
        flights: deque[tuple[str, Future[list[Drawn]] | None]] = deque()
        try:
            while True:
                for task in islice(tasks, self._most - len(flights)):
                    readable = task[1] is not None
                    future = self._pool.submit(draw_record, *task) if readable else None
                    flights.append((task[0], future))
                if not flights:
                    return
                record, first = flights.popleft()
                yield record, first.result() if first is not None else []
        except BrokenProcessPool as error:
            raise RenderError(
                "a process that draws pages was ended, perhaps for want of memory; "
                "try fewer --workers"
            ) from error

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _tasks(
    job: RenderJob, left_out: list[LeftOut]
) -> Iterator[tuple[str, Any, tuple[str, ...], DrawOptions]]:
    """The arguments of `draw_record`; the recording is None where it could not be read."""
    for record in job.records.names:
        formats = job.formats_of(record)
        try:
            ecg = job.records.read(record)
        except PageError as error:
            left_out.append(LeftOut(record, None, None, error.code, error.found))
            ecg = None
        yield record, ecg, formats, job.options


def _prepare() -> None:
    import cv2

    end_with_parent()
    cv2.setNumThreads(1)

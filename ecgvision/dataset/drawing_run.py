"""All records drawn, by several processes, in their order: a data set, and a list of the refused.

Pages go to a file as they come, so that memory does not grow with their number, and become a data
set when all are there.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd

from ecgvision import __version__
from ecgvision.dataset.about import DatasetInfo, ImageInfo, SignalInfo
from ecgvision.dataset.drawing import Drawn, DrawOptions, draw_record, signal_samples
from ecgvision.dataset.store import Dataset, write_dataset
from ecgvision.errors import EcgVisionError, PageError
from ecgvision.output import make_folder, temporary_beside, unwritable
from ecgvision.types import LEADS

if TYPE_CHECKING:
    from ecgvision.dataset.drawing_labels import Labelled
    from ecgvision.dataset.records import Records
    from ecgvision.plugins import Format

_IN_FLIGHT_PER_WORKER = 4

Tell = Callable[[int, int], None]


class RenderError(EcgVisionError):
    """No page could be drawn, or those who draw them are lost."""

    code = "render-failed"


@dataclass(frozen=True, slots=True)
class Refused:
    """A page, or with an empty format a whole record, that gave no row or no signals."""

    record: str
    format_id: str
    code: str
    message: str
    lost: str

    @classmethod
    def of(cls, record: str, format_id: str, error: PageError, lost: str) -> Refused:
        return cls(record, format_id, error.code, str(error), lost)


@dataclass(frozen=True)
class Rendered:
    """The data set, and what was refused on the way to it."""

    dataset: Dataset
    refused: tuple[Refused, ...]
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
    samples = signal_samples(job.formats, job.options.fs_hz)
    spool = _Spool(job.options, samples, temporary_beside(job.folder))
    refused: list[Refused] = []
    try:
        with spool:
            for over, (record, drawn) in enumerate(_all_drawn(job, samples, refused), 1):
                for one in drawn:
                    _take(record, one, spool, refused)
                tell(over, len(job.records.names))
        if not spool.rows:
            first = refused[0].message if refused else "there are no records"
            raise RenderError(f"no page could be drawn: {first}")
        dataset = _written(job, spool, samples, refused)
    finally:
        spool.remove()
    return Rendered(dataset, tuple(refused), spool.scans)


def _take(record: str, one: Drawn, spool: _Spool, refused: list[Refused]) -> None:
    if one.image is None:
        if one.error is None:
            raise ValueError("a page without an image needs an error")
        refused.append(Refused.of(record, one.format_id, one.error, "page"))
        return
    if one.withheld is not None:
        refused.append(Refused.of(record, one.format_id, one.withheld, "signals"))
    spool.put(record, one)


class _Spool:
    """Images and signals one after the other in two files beside the data set to be."""

    def __init__(self, options: DrawOptions, samples: int, stem: Path) -> None:
        self.rows: list[tuple[str, str]] = []
        self.scans = 0
        self._image_shape = options.image_px
        self._signal_shape = (len(LEADS), samples) if options.signals != "none" else None
        self._paths = (stem.with_suffix(".images"), stem.with_suffix(".signals"))
        self._files: list[BinaryIO] = []

    def __enter__(self) -> _Spool:
        try:
            make_folder(self._paths[0].parent)
            self._files = [path.open("xb") for path in self._paths]
        except OSError as error:
            raise unwritable(self._paths[0], error) from error
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files:
            file.close()

    def put(self, record: str, one: Drawn) -> None:
        try:
            self._files[0].write(np.ascontiguousarray(one.image).data)
            if one.signal_mv is not None:
                self._files[1].write(np.ascontiguousarray(one.signal_mv).data)
        except OSError as error:
            raise unwritable(self._paths[0], error) from error
        self.rows.append((record, one.format_id))
        self.scans += one.scan

    @property
    def images(self) -> np.memmap[Any, Any]:
        return np.memmap(self._paths[0], np.uint8, "r", shape=(len(self.rows), *self._image_shape))

    @property
    def signals(self) -> np.memmap[Any, Any] | None:
        if self._signal_shape is None:
            return None
        shape = (len(self.rows), *self._signal_shape)
        return np.memmap(self._paths[1], np.float32, "r", shape=shape)

    def remove(self) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)


def _written(job: RenderJob, spool: _Spool, samples: int, refused: Sequence[Refused]) -> Dataset:
    options = job.options
    height_px, width_px = options.image_px
    source: dict[str, Any] = {
        "kind": f"drawn from {'ptbxl' if job.records.ptbxl else job.records.kind} records",
        "name": job.records.folder.name,
        "records": len(job.records.names),
        "scan_share": options.scan_share,
        "scans": spool.scans,
        "signals": options.signals,
        "refused": [
            {"record": r.record, "format": r.format_id, "code": r.code, "lost": r.lost}
            for r in refused
        ],
    }
    about = DatasetInfo(
        name=job.folder.name,
        simulated=job.records.simulated,
        image=ImageInfo(height_px=height_px, width_px=width_px, style=options.image.style),
        signal=None
        if options.signals == "none"
        else SignalInfo(fs_hz=options.fs_hz, samples=samples),
        columns=job.labelled.columns,
        sources=(source,),
        seed=options.seed,
        versions={"ecgvision": __version__},
    )
    return write_dataset(
        job.folder,
        about,
        _table(spool.rows, job),
        spool.images,
        spool.signals,
        replace=job.replace,
    )


def _table(rows: Sequence[tuple[str, str]], job: RenderJob) -> pd.DataFrame:
    """A row for each page: what is known of its record, and its format."""
    records = [record for record, _ in rows]
    known = job.labelled.rows.reindex(records).reset_index(drop=True)
    known.insert(0, "record", records)
    known["format"] = [format_id for _, format_id in rows]
    known["source"] = job.records.folder.name or "records"
    if "patient" not in known:
        known["patient"] = None
    # Where nobody says whose a record is, it is a patient of its own.
    known["patient"] = known["patient"].where(known["patient"].notna(), known["record"])
    return known


# --- by several processes -------------------------------------------------------------------------


def _all_drawn(
    job: RenderJob, samples: int, refused: list[Refused]
) -> Iterator[tuple[str, list[Drawn]]]:
    """Each record's name and pages, in order; records that cannot be read are `refused`."""
    tasks = _tasks(job, samples, refused)
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
    job: RenderJob, samples: int, refused: list[Refused]
) -> Iterator[tuple[str, Any, tuple[str, ...], DrawOptions, int]]:
    """The arguments of `draw_record`; the recording is None where it could not be read."""
    for record in job.records.names:
        formats = job.formats_of(record)
        try:
            ecg = job.records.read(record)
        except PageError as error:
            refused.append(Refused.of(record, "", error, "record"))
            ecg = None
        yield record, ecg, formats, job.options, samples


def _prepare() -> None:
    import cv2

    cv2.setNumThreads(1)


def refused_counts(refused: Sequence[Refused]) -> str:
    """How many of what was lost, and why, on one line."""
    counts = Counter((one.lost, one.code) for one in refused)
    told = [f"{count} {lost} ({code})" for (lost, code), count in counts.most_common()]
    return ", ".join(told)

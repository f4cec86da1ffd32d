"""Many pages asked about: reports as they are, or what `convert` has made of an archive."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ecgvision.archive.finding import Found
from ecgvision.archive.manifest import MANIFEST, manifest_rows
from ecgvision.archive.rows import unescaped
from ecgvision.archive.store import LOCAL
from ecgvision.conversion import convert_each
from ecgvision.dataset.loading import PageSignals, read_signals
from ecgvision.errors import PageError, UsageError
from ecgvision.output import json_bytes
from ecgvision.predicting.answers import RESEARCH_ONLY, SIMULATED, PageAnswer
from ecgvision.predicting.clinical import Value
from ecgvision.predicting.model import QUALITY_DOUBTFUL, QUALITY_UNKNOWN, ZooModel
from ecgvision.types import EcgImage

if TYPE_CHECKING:
    from ecgvision.plugins import Format

COLUMNS = ("source", "page", "model", "task", "probability", "positive")
"""Those of predictions.csv."""

# What is known of the patient of a page, by the source's name and the number of the page.
Known = Callable[[str, int | None], Mapping[str, Value]]

_NEEDED = ("source", "page", "status", "reason", "format", "quality", "outputs")


# --- reports ------------------------------------------------------------------------------------


def answer_reports(
    model: ZooModel, found: Iterable[Found], formats: Sequence[Format], known: Known
) -> Iterator[PageAnswer]:
    """Page by page what the model says of reports; what cannot be used comes as a refusal.

    Raises `UsageError` for features that the model does not know, and for URLs.
    """
    options = model.page_options
    for one in found:
        if one.at != LOCAL:
            raise UsageError(
                f"{one.name}: reports are read from this machine; convert them first, and name the "
                "output folder here"
            )
        for page in convert_each(one.source, formats, options):
            if isinstance(page, PageError):
                answer = model.refused(page)
            else:
                answer = model.answer(page, known(one.name, page.page_number))
            yield replace(answer, source=Path(one.name))


# --- an archive ---------------------------------------------------------------------------------


def archive_of(path: Path) -> Path | None:
    """The output folder of `convert` that a path names, or whose manifest it is; None for others.

    >>> archive_of(Path("no/such/place")) is None
    True
    """
    if path.name == MANIFEST and path.is_file():
        return path.parent
    return path if (path / MANIFEST).is_file() else None


def answer_archive(model: ZooModel, folder: Path, known: Known) -> Iterator[PageAnswer]:
    """Page by page what the model says of the pictures that `convert` wrote.

    Pages that were refused or failed, or whose verdict is "refused", get no answer. Raises
    `PageError` for a manifest that cannot be read.
    """
    for row in manifest_rows(folder / MANIFEST, _NEEDED):
        try:
            yield _archived(model, folder, row, known)
        except PageError as error:
            yield model.refused(error, row["format"] or "")


def _archived(model: ZooModel, folder: Path, row: Mapping[str, Any], known: Known) -> PageAnswer:
    source, number = Path(row["source"]), int(row["page"]) or None
    if row["status"] != "done":
        raise PageError(
            str(row["reason"] or "not-converted"),
            source,
            number,
            expected="a page that `ecgvision convert` has done",
            found=f"one that it has {row['status']}",
            hint=f"its row in {MANIFEST} says why",
        )
    if row["quality"] == "refused":
        raise PageError(
            "quality-refused",
            source,
            number,
            expected="signals that are good or doubtful",
            found="refused ones",
            hint="look at the page: no model is asked about it",
        )
    outputs = row["outputs"] or ()
    image = _picture(folder, source, number, outputs)
    signals = _signals(folder, source, number, outputs) if model.config.is_signal else None
    given = known(source.as_posix(), number)
    warnings = model.warnings(row["format"], image, given)
    notices = {"": QUALITY_UNKNOWN, "doubtful": QUALITY_DOUBTFUL}
    notice = notices.get(row["quality"] or "")
    return replace(
        model.answer_prepared(model.prepared(image, signals), given),
        source=source,
        page=number,
        format_id=row["format"],
        warnings=warnings if notice is None else (*warnings, notice),
    )


def _picture(folder: Path, source: Path, number: int | None, outputs: Sequence[str]) -> EcgImage:
    """The picture of a row, with what its JSON says of it; raises `PageError`."""
    names = [folder / unescaped(one) for one in outputs]
    pictures = [
        name for name in names if name.suffix == ".png" and not name.name.endswith(".qc.png")
    ]
    texts = [name for name in names if name.suffix == ".json"]
    try:
        (picture,), (text,) = pictures, texts
        told = json.loads(text.read_bytes())["image"]
        pixels = cv2.imdecode(np.fromfile(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is None or list(pixels.shape[::-1]) != told["size_px"]:
            raise ValueError("the picture is not the one of its JSON")
        return EcgImage(
            np.asarray(pixels, np.uint8),
            float(told["px_per_mm"]),
            str(told["style"]),
            (),
            float(told["speed_mm_per_s"]),
            float(told["gain_mm_per_mv"]),
        )
    except (OSError, KeyError, TypeError, ValueError, cv2.error) as error:
        raise PageError(
            "picture-unreadable",
            source,
            number,
            expected="the picture and the JSON that convert wrote",
            found=f"others, or none ({type(error).__name__})",
            hint="convert the page again",
        ) from error


def _signals(folder: Path, source: Path, number: int | None, outputs: Sequence[str]) -> PageSignals:
    """The signals of a row; raises `PageError`."""
    found = [folder / unescaped(one) for one in outputs]
    found = [path for path in found if path.suffix == ".npz"]
    if len(found) != 1:
        raise PageError(
            "signals-missing",
            source,
            number,
            expected="the signals of the page, which the model takes",
            found=f"{len(found) or 'no'} NPZ files among its outputs",
            hint="convert with --signals npz",
        )
    return read_signals(found[0])


# --- what is known of patients ------------------------------------------------------------------


class ClinicalTable:
    """The rows of a CSV with `source`, `page` if need be, and clinical features.

    `ignored` are columns that the model does not take. Raises `UsageError` for a table that cannot
    be used.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        from ecgvision.predicting.clinical import features

        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--clinical {path.name}: expected a CSV in UTF-8: {error}") from error
        reader = csv.DictReader(io.StringIO(text))
        names = tuple(reader.fieldnames or ())
        theirs = {"age" if name == "age_years" else name for name in columns} | {*columns}
        self._features = [name for name in names if name in theirs]
        self.ignored = tuple(
            name for name in names if name not in theirs and name not in ("source", "page")
        )
        if "source" not in names or not self._features:
            raise UsageError(
                f"--clinical {path.name}: expected the columns source and some of "
                f"{', '.join(columns) or 'no features: the model takes none'}; found "
                f"{', '.join(names) or 'none'}"
            )
        self._rows: dict[tuple[str, str], dict[str, str]] = {}
        self._used: set[tuple[str, str]] = set()
        for number, row in enumerate(reader, start=2):
            key = (row["source"], (row.get("page") or "").strip())
            if key in self._rows:
                raise UsageError(f"--clinical {path.name} line {number}: {key[0]} stands twice")
            found = {name: row[name] or "" for name in self._features}
            try:
                features(found, tuple(columns))  # says what is wrong before any page is read
            except UsageError as error:
                raise UsageError(f"--clinical {path.name} line {number}: {error}") from error
            self._rows[key] = found

    def __call__(self, source: str, page: int | None) -> Mapping[str, Value]:
        for key in ((source, str(page or "")), (source, "")):
            if key in self._rows:
                self._used.add(key)
                return self._rows[key]
        return {}

    @property
    def unused(self) -> int:
        """How many rows have been of no page so far."""
        return len(self._rows) - len(self._used)


# --- writing ------------------------------------------------------------------------------------


def csv_bytes(answers: Iterable[PageAnswer]) -> bytes:
    """predictions.csv: a row for each task of each page that was answered."""
    into = io.StringIO(newline="")
    writer = csv.writer(into, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        for task in answer.tasks:
            positive = "" if task.positive is None else int(task.positive)
            chance = f"{task.probability:.6f}"
            row = (answer.source.as_posix(), answer.page, answer.model, task.task, chance, positive)
            writer.writerow(row)
    return into.getvalue().encode("utf-8", "backslashreplace")


def predictions_json(model: ZooModel, answers: Iterable[PageAnswer]) -> bytes:
    """predictions.json: the model, and every page with its answers, warnings or refusal."""
    entry = model.entry
    return json_bytes(
        {
            "kind": "ecgvision-predictions",
            "version": 1,
            "notice": f"{RESEARCH_ONLY} {SIMULATED}" if entry.simulated else RESEARCH_ONLY,
            "model": {
                "id": entry.id,
                "title": entry.title,
                "simulated": entry.simulated,
                "formats": list(entry.formats),
                "weights": model.weights,
                "sha256": next(f.sha256 for f in entry.files if f.name == model.weights),
                "calibrated": sorted(one.task for one in entry.calibration),
            },
            "pages": [answer.as_dict() for answer in answers],
        }
    )

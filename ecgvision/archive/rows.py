"""What the manifest says of one page."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from ecgvision import __version__

if TYPE_CHECKING:
    import pyarrow as pa

_VERSIONS = {"ecgvision": __version__, "python": platform.python_version()}
Status = Literal["done", "refused", "failed"]
_ESCAPED_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])")


@dataclass(frozen=True, slots=True)
class PageRow:
    """One page of one source, or, as page 0, a whole file that failed before its pages were known.

    `source` is relative to the folder `root`, in which it was found, or as it was given. `status`
    is "done" where all files asked for are written, "refused" where the page could be read but not
    be used, "failed" otherwise; `reason` and `message` say why. `outputs` are relative to the
    output folder. `options` stands for all options that change outputs. Strings are valid UTF-8.
    """

    source: str
    source_sha256: str = ""
    source_bytes: int = 0
    source_mtime_ns: int = 0
    page: int = 0
    pages: int = 0
    status: Status = "failed"
    reason: str = ""
    message: str = ""
    origin: str = ""
    format: str = ""
    layout: str = ""
    score: float | None = None
    speed_mm_per_s: float | None = None
    gain_mm_per_mv: float | None = None
    speed_from: str = ""
    gain_from: str = ""
    quality: str = ""
    findings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    seconds: float = 0.0
    attempts: int = 1
    options: str = ""
    year: int | None = None
    finished_at: str = ""
    versions: dict[str, str] = field(default_factory=lambda: dict(_VERSIONS))
    root: str = ""
    source_etag: str = ""

    def as_record(self) -> dict[str, Any]:
        """The row as journal and manifest hold it: versions are a string of JSON."""
        record = {name: getattr(self, name) for name in COLUMNS}
        record["versions"] = json.dumps(self.versions, sort_keys=True)
        return record


COLUMNS = tuple(one.name for one in dataclasses.fields(PageRow))
"""The names of the columns, in the manifest's order."""


def row_of(record: Mapping[str, Any]) -> PageRow:
    """The row in a journal's record; raises `KeyError`, `TypeError`, `ValueError` for others."""
    values = {name: record[name] for name in COLUMNS}
    return PageRow(**{**values, "versions": json.loads(record["versions"])})


def schema() -> pa.Schema:
    """The columns as Parquet has them."""
    import pyarrow as pa

    whole, text, number = pa.int64(), pa.string(), pa.float64()
    kinds: dict[str, pa.DataType] = {
        **dict.fromkeys(("source_bytes", "source_mtime_ns"), whole),
        **dict.fromkeys(("page", "pages", "attempts", "year"), pa.int32()),
        **dict.fromkeys(("score", "speed_mm_per_s", "gain_mm_per_mv", "seconds"), number),
        **dict.fromkeys(("findings", "warnings", "outputs"), pa.list_(text)),
    }
    return pa.schema([(name, kinds.get(name, text)) for name in COLUMNS])


def now() -> str:
    """This moment in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def year_of(mtime_ns: int) -> int | None:
    """The year, in UTC, of a file's time; None for times out of the calendar."""
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9, UTC).year
    except (OverflowError, ValueError, OSError):
        return None


def escaped(name: str) -> str:
    r"""The name as valid UTF-8: bytes that are none become `\udc80` to `\udcff`.

    >>> print(escaped("a\udcff.pdf"))
    a\udcff.pdf
    """
    if name.isascii():
        return name
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def unescaped(name: str) -> str:
    r"""The file name that `escaped` was given.

    >>> unescaped(escaped("a\udcff.pdf")) == "a\udcff.pdf"
    True
    """
    if "\\" not in name:
        return name
    return _ESCAPED_BYTE.sub(lambda found: chr(0xDC00 + int(found[1], 16)), name)


def one_line(text: str) -> str:
    r"""The text as valid UTF-8 on one line.

    >>> print(one_line("a\nb\udcff"))
    a\nb\udcff
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

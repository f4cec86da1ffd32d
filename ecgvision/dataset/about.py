"""What `dataset.json` says of a data set, and the error for those that cannot be used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ecgvision.errors import PageError
from ecgvision.types import LEADS

Role = Literal["label", "clinical", "other"]
Split = Literal["train", "validation", "test", "excluded"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "excluded")
"""What a row's `split` may be, besides nothing."""

TEXT_COLUMNS = ("record", "patient", "source", "format", "split", "group")
WHOLE_COLUMNS = ("page", "drawing", "year", "fold")
FIXED_COLUMNS = (
    "record",
    "patient",
    "source",
    "page",
    "drawing",
    "format",
    "year",
    "split",
    "fold",
    "group",
)
"""The columns of every data set; all others have a role in `DatasetInfo.columns`."""


class DatasetError(PageError):
    """A data set, or a table that one is made of, cannot be used.

    The message names the file, what was expected, what was found and what to try.
    """


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageInfo(_Frozen):
    """The size of all images; `px_per_mm` is that of the paper shown, None where they differ."""

    height_px: Annotated[int, Field(ge=1)]
    width_px: Annotated[int, Field(ge=1)]
    px_per_mm: Annotated[float, Field(gt=0)] | None = None
    style: str = ""


class SignalInfo(_Frozen):
    """The shape of all signals: `samples` of each lead, `fs_hz` a second."""

    fs_hz: Annotated[float, Field(gt=0)]
    samples: Annotated[int, Field(ge=1)]
    leads: tuple[str, ...] = LEADS


class ColumnInfo(_Frozen):
    """What a column beside the fixed ones is for, and how tables call it."""

    role: Role
    title: str = ""


class DatasetInfo(_Frozen):
    """All of `dataset.json`. `sha256` is filled in when the data set is written.

    `simulated` data sets hold nothing measured on people; every report says so. `sources` and
    `split_by` tell in plain words and numbers what the rows were made from and split by.
    """

    kind: Literal["ecgvision-dataset"] = "ecgvision-dataset"
    version: Literal[1] = 1
    name: str
    simulated: bool = False
    image: ImageInfo | None = None
    signal: SignalInfo | None = None
    columns: dict[str, ColumnInfo] = Field(default_factory=dict)
    sources: tuple[dict[str, JsonValue], ...] = ()
    split_by: dict[str, JsonValue] | None = None
    seed: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    sha256: dict[str, str] = Field(default_factory=dict)

    def named(self, role: Role) -> tuple[str, ...]:
        """The columns of a role, in their order."""
        return tuple(name for name, column in self.columns.items() if column.role == role)

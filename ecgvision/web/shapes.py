"""The shapes of the JSON that comes and goes; the OpenAPI description is made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ecgvision.layout_file import Lead

Millimetres = Annotated[float, Field(ge=-10_000, le=10_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
State = Literal["waiting", "working", "done", "failed"]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


# --- out ------------------------------------------------------------------------------------------


class Reason(_Shape):
    """Why a page or file was refused."""

    code: str
    expected: str
    found: str
    hint: str


class Told(_Shape):
    """A warning or a finding: a code for programs, a sentence for people."""

    code: str
    message: str
    severity: str = "note"
    leads: list[str] = []


class LeadArea(_Shape):
    """Where a lead stands on the upright page, in mm from its top left corner."""

    lead: Lead
    rhythm_strip: bool = False
    left_mm: Millimetres
    top_mm: Millimetres
    right_mm: Millimetres
    bottom_mm: Millimetres
    start_s: Seconds = 0.0


class Scale(_Shape):
    """Speed and gain of the page, and which source they come from."""

    speed_mm_per_s: float
    gain_mm_per_mv: float
    speed_from: str
    gain_from: str


class Arrangement(_Shape):
    """The lead boxes of a page and the size of the page they lie on."""

    page_mm: tuple[float, float]
    boxes: list[LeadArea]


class LeadWeight(_Shape):
    """How much of a heat map lies on a lead, 0 to 1."""

    lead: str
    share: float


class Cohort(_Shape):
    """Where a probability lies among the cases of the model's test set, in percent of them."""

    percentile: float
    test_set: str


class Answer(_Shape):
    """A model's answer to one task, for research only.

    `probability` is calibrated where the model is. `positive` is the decision at `threshold`,
    the operating point named; None where the model has none. `heat_map` is a file of the page.
    """

    task: str
    title: str
    probability: float
    positive: bool | None
    threshold: float | None
    operating_point: str | None
    cohort: Cohort | None = None
    heat_map: str | None = None
    heat_map_method: str | None = None
    leads: list[LeadWeight] = []


class PageResult(_Shape):
    """One page. `status` is "withheld" where it was read, but its signals are not to be used.

    Then, and where it is "refused", `reason` says why, and there is no answer.
    """

    page: int
    pages: int
    status: Literal["done", "withheld", "refused"]
    reason: Reason | None = None
    origin: str | None = None
    format: str | None = None
    layout: str | None = None
    score: float | None = None
    scale: Scale | None = None
    verdict: str | None = None
    findings: list[Told] = []
    warnings: list[Told] = []
    answers: list[Answer] = []
    no_answer: Reason | None = None
    arrangement: Arrangement | None = None
    picture_px: tuple[int, int] | None = None
    picture_mm: tuple[float, float] | None = None
    files: list[str] = []


class ReportState(_Shape):
    """An upload, as far as it has come; `pages_total` is None until the file was opened."""

    id: str
    state: State
    pages_total: int | None
    pages: list[PageResult]
    error: Reason | None
    notice: str


class Prediction(_Shape):
    """All pages of a report, each with its answers."""

    notice: str
    version: str
    model: str | None
    pages: list[PageResult]


class TaskAbout(_Shape):
    """A question that the model answers."""

    name: str
    title: str


class ModelAbout(_Shape):
    """The model in use; `ready` is False where it has no weights, and `reason` says why."""

    id: str
    title: str
    ready: bool
    reason: str = ""
    simulated: bool = False
    formats: list[str] = []
    tasks: list[TaskAbout] = []
    clinical: list[str] = []


class FormatAbout(_Shape):
    """An installed format."""

    id: str
    vendor: str
    model: str
    layouts: list[str]


class Ceilings(_Shape):
    """What one upload may have, and how long it is kept."""

    upload_bytes: int
    pages: int
    page_s: float
    keep_s: float


class About(_Shape):
    """What the page needs to know of the server."""

    version: str
    notice: str
    model: ModelAbout | None
    formats: list[FormatAbout]
    risk_low: float
    risk_high: float
    limits: Ceilings


class Health(_Shape):
    """The server answers; how many uploads wait or are in work, and how many are kept."""

    status: Literal["ok"]
    version: str
    waiting: int
    kept: int


# --- in -------------------------------------------------------------------------------------------


class Corrected(_Shape):
    """Lead boxes as a person put them; seconds follow from each box's width and the speed."""

    boxes: Annotated[list[LeadArea], Field(min_length=1, max_length=48)]
    page_mm: tuple[Annotated[float, Field(gt=0, lt=5000)], Annotated[float, Field(gt=0, lt=5000)]]
    speed_mm_per_s: Annotated[float, Field(ge=1, le=500)] = 25.0
    gain_mm_per_mv: Annotated[float, Field(ge=0.5, le=200)] = 10.0


class Correction(_Shape):
    """What to read a page as: a format by its id, or lead boxes."""

    page: Annotated[int, Field(ge=1, le=100_000)]
    format: Annotated[str, Field(max_length=100)] | None = None
    boxes: Corrected | None = None
    clinical: Annotated[str, Field(max_length=300)] = ""


class SummaryAsked(_Shape):
    """`name` is printed on the summary; nothing of a patient is where it is empty."""

    name: Annotated[str, Field(max_length=120)] = ""
    language: Annotated[str, Field(pattern="^[a-z]{2}$")] = "en"


class ZipAsked(_Shape):
    """Reports to be put into one ZIP."""

    reports: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=100)
    ]
    language: Annotated[str, Field(pattern="^[a-z]{2}$")] = "en"

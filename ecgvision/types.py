"""The shapes that travel through the pipeline, all frozen and with units in their names.

Coordinates on a page are millimetres from the top left corner, y down. Angles are degrees,
clockwise positive (as the page is seen). Pixels are ``uint8``; greys run from 0 (ink) to
255 (paper).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ecgvision.errors import LayoutError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Points = NDArray[np.float64]

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve leads in standard order."""

RENDER_PX_PER_MM = 300 / 25.4
"""Resolution at which pages without pixels of their own are rendered: 300 dpi, the study's."""

RGB = tuple[int, int, int]

# Drawn or printed boxes may be this much off their time span before a layout is called impossible:
# half a small box, or 1 % of the width where that is more.
WIDTH_SLACK_MM = 0.5
_WIDTH_SLACK_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the page in millimetres.

    >>> Box(10, 20, 72.5, 50).width_mm
    62.5
    """

    left_mm: float
    top_mm: float
    right_mm: float
    bottom_mm: float

    def __post_init__(self) -> None:
        numbers = (self.left_mm, self.top_mm, self.right_mm, self.bottom_mm)
        if not all(abs(number) < 1e5 for number in numbers):  # also false for NaN
            raise LayoutError(f"a box needs four finite numbers in mm, found {numbers}")
        if self.right_mm <= self.left_mm or self.bottom_mm <= self.top_mm:
            raise LayoutError(f"a box needs left < right and top < bottom, found {numbers}")

    @property
    def width_mm(self) -> float:
        return self.right_mm - self.left_mm

    @property
    def height_mm(self) -> float:
        return self.bottom_mm - self.top_mm

    @property
    def centre_mm(self) -> tuple[float, float]:
        return (self.left_mm + self.right_mm) / 2, (self.top_mm + self.bottom_mm) / 2

    def shifted(self, dx_mm: float, dy_mm: float) -> Box:
        return Box(
            self.left_mm + dx_mm, self.top_mm + dy_mm, self.right_mm + dx_mm, self.bottom_mm + dy_mm
        )

    def grown(self, dx_mm: float, dy_mm: float) -> Box:
        """The box with `dx_mm` more on the left and right, `dy_mm` more above and below."""
        return Box(
            self.left_mm - dx_mm, self.top_mm - dy_mm, self.right_mm + dx_mm, self.bottom_mm + dy_mm
        )

    def contains(self, x_mm: float, y_mm: float) -> bool:
        return self.left_mm <= x_mm <= self.right_mm and self.top_mm <= y_mm <= self.bottom_mm


@dataclass(frozen=True, slots=True)
class LeadBox:
    """Where one lead is printed: its baseline runs through the middle of the box.

    `start_s` and `stop_s` say which part of the recording the box shows; `name_mm` is the top
    left corner of the printed lead name, where one is printed.
    """

    lead: str
    box: Box
    start_s: float
    stop_s: float
    rhythm_strip: bool = False
    name_mm: tuple[float, float] | None = None

    @property
    def baseline_mm(self) -> float:
        return (self.box.top_mm + self.box.bottom_mm) / 2

    def shifted(self, dx_mm: float, dy_mm: float) -> LeadBox:
        name = self.name_mm and (self.name_mm[0] + dx_mm, self.name_mm[1] + dy_mm)
        return replace(self, box=self.box.shifted(dx_mm, dy_mm), name_mm=name)


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of page pixels and where it goes in a published image, all in pixels.

    `left_px` and `top_px` count from the page's corner at the style's resolution.
    """

    left_px: int
    top_px: int
    width_px: int
    height_px: int
    to_left_px: int
    to_top_px: int


@dataclass(frozen=True, slots=True)
class PublishedStyle:
    """How a publication cut its images out of a page, in its own pixels.

    `windows_px` are column ranges of the finished image that the publication put side by side
    to show fewer beats; `source` cites where the numbers come from.
    """

    source: str
    width_px: int
    height_px: int
    tiles: tuple[Tile, ...]
    windows_px: tuple[tuple[int, int], ...] = ()
    px_per_mm: float = RENDER_PX_PER_MM

    def shown_px(self, windows: bool) -> tuple[tuple[int, int], ...]:
        """The column ranges that a picture shows side by side: its windows, or all of it."""
        return self.windows_px if windows and self.windows_px else ((0, self.width_px),)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the leads of one kind of report stand on its page.

    `grid` says whether the page has a printed grid (``None``: either). `row_slack_mm` is how far
    a machine may move single rows from the places given here. `pulse_mm` is the left and right
    end of the calibration pulse printed before each row. `separators` tells that upright bars
    stand between the columns. `clear` are boxes where other print may reach into the leads'
    boxes (a header, say); nothing in them is taken for a trace's surroundings.

    Raises `LayoutError` when the numbers cannot be true.
    """

    name: str
    page_mm: tuple[float, float]
    boxes: tuple[LeadBox, ...]
    speed_mm_per_s: float = 25.0
    gain_mm_per_mv: float = 10.0
    grid: bool | None = None
    row_slack_mm: float = 5.0
    pulse_mm: tuple[float, float] | None = None
    separators: bool = False
    clear: tuple[Box, ...] = ()
    published: PublishedStyle | None = None

    def __post_init__(self) -> None:
        check_layout(self)

    @property
    def rows(self) -> tuple[tuple[LeadBox, ...], ...]:
        """The boxes grouped into rows, top to bottom, each from left to right."""
        rows: list[list[LeadBox]] = []
        for lead_box in sorted(self.boxes, key=lambda b: b.baseline_mm):
            if rows and lead_box.baseline_mm - rows[-1][0].baseline_mm < 1.0:
                rows[-1].append(lead_box)
            else:
                rows.append([lead_box])
        return tuple(tuple(sorted(row, key=lambda b: b.box.left_mm)) for row in rows)

    @property
    def twelve(self) -> tuple[LeadBox, ...]:
        """The boxes of the twelve leads in standard order, rhythm strips left out."""
        by_lead = {b.lead: b for b in self.boxes if not b.rhythm_strip}
        return tuple(by_lead[lead] for lead in LEADS if lead in by_lead)

    def shifted(self, dx_mm: float, dy_mm: float) -> Layout:
        """The same layout moved on its page; published pixels move by whole pixels."""
        return replace(
            self,
            boxes=tuple(b.shifted(dx_mm, dy_mm) for b in self.boxes),
            pulse_mm=self.pulse_mm and (self.pulse_mm[0] + dx_mm, self.pulse_mm[1] + dx_mm),
        )


def check_layout(layout: Layout) -> None:
    """Raise `LayoutError`, naming the layout and the lead, unless the numbers can be true."""
    where = f"layout {layout.name!r}"
    if not layout.boxes:
        raise LayoutError(f"{where} has no leads")
    for name, number in (
        ("page width", layout.page_mm[0]),
        ("page height", layout.page_mm[1]),
        ("paper speed", layout.speed_mm_per_s),
        ("gain", layout.gain_mm_per_mv),
    ):
        if not 0 < number < 1e4:
            raise LayoutError(f"{where}: the {name} must be a positive number, found {number}")
    seen: set[str] = set()
    for lead_box in layout.boxes:
        _check_lead_box(where, lead_box, layout)
        if not lead_box.rhythm_strip:
            if lead_box.lead in seen:
                raise LayoutError(
                    f"{where}: lead {lead_box.lead} stands twice; a repeated lead must be marked "
                    "as a rhythm strip"
                )
            seen.add(lead_box.lead)


def _check_lead_box(where: str, lead_box: LeadBox, layout: Layout) -> None:
    lead, box = lead_box.lead, lead_box.box
    if lead not in LEADS:
        raise LayoutError(f"{where}: {lead!r} is not a lead; the leads are {', '.join(LEADS)}")
    seconds = lead_box.stop_s - lead_box.start_s
    if not seconds > 0:
        raise LayoutError(
            f"{where}: lead {lead} runs from {lead_box.start_s:g} s to {lead_box.stop_s:g} s; "
            "it must stop after it starts"
        )
    due_mm = seconds * layout.speed_mm_per_s
    if abs(box.width_mm - due_mm) > max(WIDTH_SLACK_MM, _WIDTH_SLACK_SHARE * due_mm):
        raise LayoutError(
            f"{where}: lead {lead} is {box.width_mm:g} mm wide but {seconds:g} s at "
            f"{layout.speed_mm_per_s:g} mm/s is {due_mm:g} mm"
        )
    width_mm, height_mm = layout.page_mm
    if box.left_mm < -1 or box.right_mm > width_mm + 1 or not 0 < lead_box.baseline_mm < height_mm:
        raise LayoutError(
            f"{where}: lead {lead} reaches from {box.left_mm:g} to {box.right_mm:g} mm across and "
            f"has its baseline at {lead_box.baseline_mm:g} mm, outside the page of "
            f"{width_mm:g} x {height_mm:g} mm"
        )


@dataclass(frozen=True, slots=True)
class Stroke:
    """One line of a vector page: `points_mm` is (n, 2) float64, x and y in mm."""

    points_mm: Points
    width_mm: float
    rgb: RGB
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A run of printed text and the box it fills."""

    text: str
    box: Box


class PageReader(Protocol):
    """What stands behind a `Page`: a PDF page, an image, or a view of another page."""

    def pixels(self, px_per_mm: float, clip: Box, grey: bool) -> Pixels: ...

    def strokes(self) -> tuple[Stroke, ...]: ...

    def texts(self) -> tuple[Text, ...]: ...


@dataclass(frozen=True)
class Page:
    """One page of a report.

    `origin` is "vector" (drawn by lines), "scan" (a PDF that embeds an image), "image", or
    "rendered" (a vector page taken by its pixels, without strokes).
    `size_px` is the (width, height) of the page's own pixels, `size_mm` its size on paper;
    an image without a believable resolution has none until it is measured. A page's own pixels
    are square. `memo` keeps what was measured on this page, so that trying five formats does
    not measure it five times; it is no part of the page's value.
    """

    source: Path
    number: int
    origin: Literal["vector", "scan", "image", "rendered"]
    size_mm: tuple[float, float] | None
    size_px: tuple[int, int] | None
    reader: PageReader = field(repr=False, compare=False)
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def known_mm(self) -> tuple[float, float]:
        """`size_mm` where it is known; raises `ValueError` where it has not been measured yet."""
        if self.size_mm is None:
            raise ValueError(f"{self.source.name} page {self.number}: its size in mm is not known")
        return self.size_mm

    @property
    def px_per_mm(self) -> float:
        """Pixels per mm that `pixels` gives unless told: the page's own, or 300 dpi."""
        return RENDER_PX_PER_MM if self.size_px is None else self.size_px[0] / self.known_mm[0]

    def pixels(
        self, px_per_mm: float | None = None, clip: Box | None = None, *, grey: bool = False
    ) -> Pixels:
        """The page, or the part in `clip`, as (H, W, 3) RGB or (H, W) grey ``uint8``.

        Where `clip` reaches over the edge of the page, the pixels there are paper (255).
        """
        box = clip or Box(0.0, 0.0, *self.known_mm)
        return self.reader.pixels(px_per_mm or self.px_per_mm, box, grey)

    @property
    def strokes(self) -> tuple[Stroke, ...]:
        """The page's lines; empty where it has only pixels."""
        return self.reader.strokes()

    @property
    def texts(self) -> tuple[Text, ...]:
        """The page's printed words with their places; empty where it has only pixels."""
        return self.reader.texts()


@dataclass(frozen=True, slots=True)
class FormatInfo:
    """What a format is: names, machine, and the looks of its paper.

    `header_text` are words that every page of the machine prints, `source` says where the
    figures come from. Colours are RGB, 0 to 255; a format without a grid has no grid colours.
    """

    id: str
    aliases: tuple[str, ...] = ()
    vendor: str = ""
    model: str = ""
    header_text: tuple[str, ...] = ()
    paper_rgb: RGB = (255, 255, 255)
    ink_rgb: RGB = (0, 0, 0)
    grid_rgb: tuple[RGB, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A layout found on a page.

    `layout` is the layout as measured there: its boxes where the leads lie on the page once it
    has been turned by `quarter_turns` (clockwise) and levelled by `rotation_deg`. `offset_mm` is
    how far that is from the layout as declared. `page_mm` is the page's size, `scale_from` tells
    where it came from. `score` runs from 0 to 1; `evidence` says what was looked for and found.
    """

    layout: Layout
    score: float
    offset_mm: tuple[float, float] = (0.0, 0.0)
    rotation_deg: float = 0.0
    quarter_turns: int = 0
    page_mm: tuple[float, float] | None = None
    scale_from: str = "page"
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a reader of the output must know: a reason code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class EcgImage:
    """A normalised picture of the leads: `pixels` is (H, W) ``uint8``, 0 ink and 255 paper.

    `boxes` tell where each lead stands in the picture, in mm from its top left corner.
    """

    pixels: Pixels
    px_per_mm: float
    style: str
    boxes: tuple[LeadBox, ...]
    speed_mm_per_s: float
    gain_mm_per_mv: float

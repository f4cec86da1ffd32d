"""Every format's leads become the same picture; the published pictures have their pixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ecgvision import convert
from ecgvision.grid import ink_of_page
from ecgvision.layouts import regular_layout
from ecgvision.media.views import levelled
from ecgvision.normalise import STYLES, ImageOptions, canonical_image, cut_out, published_image
from ecgvision.plugins import Format
from ecgvision.result import Conversion
from ecgvision.testing import Ecg, as_png, draw_page, scanned, synthetic_ecg
from ecgvision.trace import trace_leads
from ecgvision.types import LEADS, EcgImage, Layout, Match, Page

SAME_TIME = ("I", "II", "III", "V1", "V2", "V3")  # of the first 2.5 s in 6x2 and 3x4 alike
PX_PER_MM = 300 / 25.4
LETTER_PX = (3300, 2550)  # at 300 dpi
GE_AREA_PX = (180, 280)
PHILIPS_AREA_PX = (82, 950)
HEIGHT_MM = round(ImageOptions().lead_height_mm)
OpenPage = Callable[..., Page]


@pytest.fixture
def picture(formats: dict[str, Format], tmp_path: Path) -> Callable[..., Conversion]:
    """Draws a page, turns it into a file of that kind and converts it."""

    def made(
        format_id: str, source: Ecg, kind: str = "vector", options: ImageOptions | None = None,
        **drawing: object,
    ) -> Conversion:  # fmt: skip
        one = formats[format_id]
        pdf = draw_page(one.layouts[0], one.info, source, **drawing).pdf  # type: ignore[arg-type]
        content = {"vector": bytes, "png": lambda b: as_png(b, 200), "scan": scanned}[kind](pdf)
        path = tmp_path / ("page.png" if kind == "png" else "page.pdf")
        path.write_bytes(content)
        return convert(path, format=format_id, options=options)[0]

    return made


def lead_pixels(image: EcgImage, lead: str) -> np.ndarray:
    box = next(b.box for b in image.boxes if b.lead == lead)
    scale = image.px_per_mm
    rows = slice(round(box.top_mm * scale), round(box.bottom_mm * scale))
    return image.pixels[rows, round(box.left_mm * scale) : round(box.right_mm * scale)]


def near(dark: np.ndarray, other: np.ndarray, reach_px: int = 2) -> float:
    """The share of dark pixels that the other picture has within `reach_px`."""
    kernel = np.ones((2 * reach_px + 1,) * 2, np.uint8)
    grown = cv2.dilate(other.astype(np.uint8), kernel) > 0
    return float((dark & grown).sum() / max(1, dark.sum()))


def likeness(one: np.ndarray, other: np.ndarray, shift_px: int = 0) -> float:
    """How much of the ink of either lies on the other's, moved up or down by up to `shift_px`."""
    dark, second = one < 128, other < 128
    moved = [np.roll(second, s, axis=0) for s in range(-shift_px, shift_px + 1, 2)] or [second]
    return max(min(near(dark, m), near(m, dark)) for m in moved)


def worst(one: EcgImage, other: EcgImage, leads: Sequence[str], shift_px: int = 0) -> float:
    pairs = {k: likeness(lead_pixels(one, k), lead_pixels(other, k), shift_px) for k in leads}
    return min(pairs.values())


# --- the canonical picture --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (ImageOptions(), (1000, 6 * 8 * HEIGHT_MM)),
        (ImageOptions(px_per_mm=4), (500, 6 * 4 * HEIGHT_MM)),
        (ImageOptions(lead_s=5.0, lead_height_mm=30), (2000, 1440)),
        (ImageOptions(lead_s=1.0, lead_height_mm=20, px_per_mm=5), (250, 600)),
        (ImageOptions(beats=3, lead_height_mm=30), (2000, 1440)),
        (ImageOptions(beats=4, lead_s=3, lead_height_mm=30), (1200, 1440)),
    ],
)
def test_size_goes_by_the_options_alone(
    options: ImageOptions,
    size: tuple[int, int],
    picture: Callable[..., Conversion],
    ecg: Ecg,
) -> None:
    for format_id in ("philips-tc30", "ge-mac1200"):
        image = picture(format_id, ecg, options=options).image
        assert image.pixels.shape == size[::-1]
        assert image.pixels.dtype == np.uint8
        assert image.px_per_mm == options.px_per_mm
        assert (image.speed_mm_per_s, image.gain_mm_per_mv, image.style) == (25, 10, "canonical")


@pytest.mark.parametrize("kind", ["vector", "png"])
def test_six_rows_by_two_columns_in_standard_order(
    kind: str, picture: Callable[..., Conversion], ecg: Ecg
) -> None:
    image = picture("philips-tc30", ecg, kind).image
    assert [b.lead for b in image.boxes] == list(LEADS)
    for index, b in enumerate(image.boxes):
        assert b.box.left_mm == pytest.approx(62.5 * (index // 6))
        assert b.box.top_mm == pytest.approx(HEIGHT_MM * (index % 6))
        assert (b.box.width_mm, b.box.height_mm) == pytest.approx((62.5, HEIGHT_MM))
    assert [b.start_s for b in image.boxes] == [0] * 3 + [2.5] * 3 + [5] * 3 + [7.5] * 3
    for lead in LEADS:
        share = (lead_pixels(image, lead) < 128).mean()
        assert 0.005 < share < 0.05, lead


def test_each_lead_is_its_own(picture: Callable[..., Conversion], ecg: Ecg) -> None:
    """One lead alone beats: its place in the picture moves, the other eleven are flat."""
    for index in (0, 5, 6, 10):
        signal_mv = np.zeros_like(ecg.signal_mv)
        signal_mv[index] = ecg.signal_mv[index]
        image = picture("philips-tc30", Ecg(signal_mv, ecg.fs_hz)).image
        tall = [
            np.ptp(np.nonzero((lead_pixels(image, lead) < 128).any(axis=1))[0]) for lead in LEADS
        ]
        assert int(np.argmax(tall)) == index
        assert sorted(tall)[-2] < 6


def test_a_millivolt_is_ten_mm_and_a_second_25(picture: Callable[..., Conversion]) -> None:
    """A spike of 1 mV at 1 s in every lead of the first column."""
    signal_mv = np.zeros((12, 5000), np.float32)
    signal_mv[:, 500:504] = 1.0
    for format_id in ("philips-tc30", "ge-mac1200"):
        image = picture(format_id, Ecg(signal_mv, 500.0)).image
        for lead in ("I", "II", "III"):
            y, x = np.nonzero(lead_pixels(image, lead) < 128)
            middle = HEIGHT_MM / 2 * 8
            assert y.max() == pytest.approx(middle, abs=3)
            assert y.min() == pytest.approx(middle - 10 * 8, abs=3)
            assert x[y < middle - 20].mean() == pytest.approx(25.1 * 8, abs=2)


@pytest.mark.parametrize(
    ("kinds", "least"),
    [(("vector", "vector"), 0.99), (("png", "png"), 0.97), (("vector", "scan"), 0.95)],
)
def test_two_machines_give_one_picture(
    kinds: tuple[str, str], least: float, picture: Callable[..., Conversion]
) -> None:
    source = synthetic_ecg(seed=3)
    ge = picture("ge-mac1200", source, kinds[0]).image
    philips = picture("philips-tc30", source, kinds[1]).image
    assert worst(ge, philips, SAME_TIME) >= least
    here, there = (
        np.hstack([lead_pixels(i, lead) for lead in SAME_TIME]).astype(float) for i in (ge, philips)
    )
    assert np.abs(here - there).mean() < (0.3 if kinds[1] == "vector" else 3.0)
    # The times differ here, so this likeness is no matter of course.
    other = picture("philips-tc30", synthetic_ecg(seed=4, heart_rate_bpm=95)).image
    assert worst(ge, other, SAME_TIME) < 0.9


@pytest.mark.parametrize(("number", "kind"), [(3, "vector"), (44, "vector"), (44, "png")])
def test_two_machines_give_one_picture_of_a_real_record(
    number: int, kind: str, picture: Callable[..., Conversion], ptbxl: Callable[[int], Ecg]
) -> None:
    """A lead's level is taken over 5 s by one and 2.5 s by the other: it may lie up to 2 mm off."""
    ge = picture("ge-mac1200", ptbxl(number), kind).image
    philips = picture("philips-tc30", ptbxl(number), kind).image
    assert worst(ge, philips, SAME_TIME, shift_px=16) >= 0.93


def as_drawn(
    layout: Layout, source: Ecg, formats: dict[str, Format], page_of: OpenPage
) -> EcgImage:
    """The canonical picture of a page whose layout is known."""
    drawn = draw_page(layout, formats["ge-mac1200"].info, source)
    page = page_of(drawn.pdf)
    traces = trace_leads(page, layout, np.full((1, 1), 255, np.uint8))
    return canonical_image(traces, layout, ImageOptions())[0]


@pytest.mark.parametrize(
    ("speed", "gain", "column_s", "kind"),
    [
        (25, 5, 2.5, "vector"),
        (25, 20, 2.5, "vector"),
        (50, 10, 2.5, "vector"),
        (12.5, 10, 5.0, "vector"),
        (50, 10, 2.5, "png"),
    ],
)
def test_speed_and_gain_are_made_the_same(
    speed: float,
    gain: float,
    column_s: float,
    kind: str,
    formats: dict[str, Format],
    page_of: OpenPage,
) -> None:
    def layout(speed: float, gain: float, column_s: float) -> Layout:
        return regular_layout(
            "6x2",
            page_mm=(297, 420),  # room for rows of 20 mm/mV
            rows=tuple(zip(LEADS[:6], LEADS[6:], strict=True)),
            left_mm=15,
            baselines_mm=[60 + 60 * row for row in range(6)],
            column_s=column_s,
            speed_mm_per_s=speed,
            gain_mm_per_mv=gain,
        )

    source = synthetic_ecg(seed=5)
    usual, other = layout(25, 10, column_s), layout(speed, gain, column_s)
    due = as_drawn(usual, source, formats, page_of)
    found = as_drawn(other, source, formats, page_of)
    least = 0.97
    if kind == "png":
        drawn = draw_page(other, formats["ge-mac1200"].info, source)
        page = page_of(as_png(drawn.pdf, 300), ".png")
        traces = trace_leads(page, other, ink_of_page(page))
        found = canonical_image(traces, other, ImageOptions())[0]
        least = 0.9  # a pen twice as wide or half as wide
    assert found.pixels.shape == due.pixels.shape
    assert worst(due, found, LEADS) >= least


def test_missing_leads_are_told_and_left_blank(
    picture: Callable[..., Conversion], ecg: Ecg
) -> None:
    signal_mv = ecg.signal_mv.copy()
    signal_mv[9] = np.nan
    found = picture("philips-tc30", Ecg(signal_mv, ecg.fs_hz))
    assert [n.message for n in found.notices if n.code == "lead-incomplete"] == [
        "less than half seen of V4"
    ]
    assert (lead_pixels(found.image, "V4") == 255).all()


def test_leads_that_reach_out_are_told(picture: Callable[..., Conversion], ecg: Ecg) -> None:
    found = picture("philips-tc30", ecg, options=ImageOptions(lead_height_mm=10))
    (clipped,) = [n.message for n in found.notices if n.code == "lead-clipped"]
    assert "II" in clipped
    assert "10 mm high" in clipped
    whole = picture("philips-tc30", ecg, options=ImageOptions(lead_height_mm=60))
    assert not [n for n in whole.notices if n.code == "lead-clipped"]


# --- the published pictures -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_id", "style", "size"),
    [
        ("philips-tc30", "published", (1402, 2100)),
        ("ge-mac1200", "published", (2820, 1320)),
        ("ge-mac1200", "published-windows", (1530, 1320)),
    ],
)
@pytest.mark.parametrize("kind", ["vector", "scan"])
def test_published_pixels(
    kind: str,
    format_id: str,
    style: str,
    size: tuple[int, int],
    picture: Callable[..., Conversion],
    ecg: Ecg,
) -> None:
    image = picture(format_id, ecg, kind, ImageOptions(style=style)).image  # type: ignore[arg-type]
    assert (image.pixels.shape[1], image.pixels.shape[0]) == size
    assert image.style == style
    assert image.px_per_mm == pytest.approx(PX_PER_MM)
    assert 0.005 < (image.pixels < 128).mean() < 0.08


def marked_page(page_of: OpenPage) -> tuple[Page, np.ndarray]:
    """A Letter page of 300 dpi, and ink that is different at every pixel within 251 x 241."""
    out = io.BytesIO()
    Image.fromarray(np.full(LETTER_PX[::-1], 255, np.uint8)).save(out, "PNG", dpi=(300, 300))
    y, x = np.mgrid[: LETTER_PX[1], : LETTER_PX[0]]
    return page_of(out.getvalue(), ".png"), ((x * 7 + y * 13) % 251).astype(np.uint8)


def published(page: Page, ink: np.ndarray, match: Match, *, windows: bool = False) -> np.ndarray:
    return published_image(page, match, ink, windows=windows).pixels


@pytest.mark.parametrize("offset_px", [(0, 0), (20, -31), (-82, 5)])
def test_philips_tiles_stand_where_published(
    offset_px: tuple[int, int], formats: dict[str, Format], page_of: OpenPage
) -> None:
    page, ink = marked_page(page_of)
    dx, dy = offset_px
    layout = formats["philips-tc30"].layouts[0]
    found = published(page, ink, Match(layout, 1.0, (dx / PX_PER_MM, dy / PX_PER_MM)))
    assert found.shape == (2100, 1402)
    order = (("I", "II", "III", "aVR", "aVL", "aVF"), ("V1", "V2", "V3", "V4", "V5", "V6"))
    on_page = {
        lead: (PHILIPS_AREA_PX[0] + left, PHILIPS_AREA_PX[1] + 350 * row)
        for left, column in zip((0, 740, 1478, 2217), (0, 1, 2, 3), strict=True)
        for row, lead in enumerate(
            (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))[
                column
            ]
        )
    }
    for half, leads in enumerate(order):
        for row, lead in enumerate(leads):
            x, y = on_page[lead][0] + dx, on_page[lead][1] + dy
            tile = found[350 * row : 350 * (row + 1), 701 * half : 701 * (half + 1)]
            np.testing.assert_array_equal(tile, ink[y : y + 350, x : x + 701], err_msg=lead)


@pytest.mark.parametrize("offset_px", [(0, 0), (-40, 17)])
@pytest.mark.parametrize(
    ("format_id", "windows", "least_s"),
    [("philips-tc30", False, 2.1), ("ge-mac1200", False, 4.5), ("ge-mac1200", True, 2.4)],
)
def test_published_pictures_know_where_their_leads_stand(
    format_id: str,
    windows: bool,
    least_s: float,
    offset_px: tuple[int, int],
    formats: dict[str, Format],
    page_of: OpenPage,
) -> None:
    page, ink = marked_page(page_of)
    offset_mm = (offset_px[0] / PX_PER_MM, offset_px[1] / PX_PER_MM)
    layout = formats[format_id].layouts[0].shifted(*offset_mm)
    image = published_image(page, Match(layout, 1.0, offset_mm), ink, windows=windows)
    assert [one.lead for one in image.boxes] == list(LEADS)
    for shown, lead_box in zip(image.boxes, layout.twelve, strict=True):
        assert lead_box.start_s - 1e-9 <= shown.start_s
        assert shown.stop_s <= lead_box.stop_s + 1e-9
        assert shown.stop_s - shown.start_s > least_s
        # What the page has where the box says that the lead is, the picture has in the box.
        x_mm = lead_box.box.left_mm + (shown.start_s - lead_box.start_s) * layout.speed_mm_per_s
        seen = shown.box
        size = (int(seen.width_mm * PX_PER_MM) - 2, int(seen.height_mm * PX_PER_MM) - 2)
        at = (round(seen.left_mm * PX_PER_MM), round(seen.top_mm * PX_PER_MM))
        cut = image.pixels[at[1] : at[1] + size[1], at[0] : at[0] + size[0]]
        due_x = round(x_mm * PX_PER_MM)
        tops = [round(lead_box.box.top_mm * PX_PER_MM) + k for k in range(-1, 8)]
        same = [
            np.array_equal(cut, ink[top : top + size[1], due_x + k : due_x + k + size[0]])
            for top in tops
            for k in (-1, 0, 1)
        ]
        assert any(same), shown.lead


@pytest.mark.parametrize("offset_px", [(0, 0), (-40, 17)])
def test_ge_area_and_windows_stand_where_published(
    offset_px: tuple[int, int], formats: dict[str, Format], page_of: OpenPage
) -> None:
    page, ink = marked_page(page_of)
    dx, dy = offset_px
    match = Match(formats["ge-mac1200"].layouts[0], 1.0, (dx / PX_PER_MM, dy / PX_PER_MM))
    left, top = GE_AREA_PX[0] + dx, GE_AREA_PX[1] + dy
    area = ink[top : top + 1320, left : left + 2820]
    np.testing.assert_array_equal(published(page, ink, match), area)
    windows = published(page, ink, match, windows=True)
    assert windows.shape == (1320, 1530)
    np.testing.assert_array_equal(windows[:, :800], area[:, :800])
    np.testing.assert_array_equal(windows[:, 800:], area[:, 1470:2200])


def test_cuts_beyond_the_page_are_paper(formats: dict[str, Format], page_of: OpenPage) -> None:
    page, ink = marked_page(page_of)
    match = Match(formats["ge-mac1200"].layouts[0], 1.0, (400 / PX_PER_MM, 0))
    found = published(page, ink, match)
    reach = LETTER_PX[0] - GE_AREA_PX[0] - 400
    assert (found[:, reach:] == 255).all()
    np.testing.assert_array_equal(found[:, :reach], ink[280:1600, 580:])


def test_cut_out_keeps_its_size() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(cut_out(pixels, 1, 1, 2, 2), [[5, 6], [9, 10]])
    np.testing.assert_array_equal(cut_out(pixels, -1, 2, 3, 2), [[255, 8, 9], [255, 255, 255]])
    assert (cut_out(pixels, 50, -50, 3, 2) == 255).all()


def test_vector_and_raster_publish_the_same_place(
    picture: Callable[..., Conversion], ecg: Ecg
) -> None:
    options = ImageOptions(style="published")
    drawn = picture("philips-tc30", ecg, "vector", options, offset_mm=(4.0, -5.0)).image
    raster = picture("philips-tc30", ecg, "png", options, offset_mm=(4.0, -5.0)).image
    assert near(drawn.pixels < 128, raster.pixels < 160, reach_px=3) > 0.97
    level = picture("philips-tc30", ecg, "vector", options).image
    assert near(drawn.pixels < 128, level.pixels < 128, reach_px=3) > 0.97


def test_formats_that_were_not_published_say_so(
    formats: dict[str, Format], page_of: OpenPage
) -> None:
    page, ink = marked_page(page_of)
    with pytest.raises(ValueError, match=r"layout 3x4\+3R has no published style"):
        published(page, ink, Match(formats["ge-muse"].layouts[0], 1.0))


# --- nothing of the header gets out -----------------------------------------------------------

LOUD = tuple(f"PATIENT {k} " + "W" * 60 for k in range(40))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("format_id", ["philips-tc30", "ge-mac1200"])
def test_the_header_leaves_no_pixel_vector(
    format_id: str, style: str, picture: Callable[..., Conversion], ecg: Ecg
) -> None:
    options = ImageOptions(style=style)  # type: ignore[arg-type]
    loud = picture(format_id, ecg, "vector", options, patient_text=LOUD).image
    quiet = picture(format_id, ecg, "vector", options, header=False).image
    np.testing.assert_array_equal(loud.pixels, quiet.pixels)


@pytest.mark.parametrize(
    ("format_id", "style"), [("philips-tc30", "canonical"), ("ge-mac1200", "published")]
)
def test_the_header_leaves_no_pixel_raster(
    format_id: str,
    style: str,
    formats: dict[str, Format],
    picture: Callable[..., Conversion],
    page_of: OpenPage,
) -> None:
    """How dark ink is may be judged by all print, but none of the print itself comes through."""
    source, options = synthetic_ecg(seed=3), ImageOptions(style=style)  # type: ignore[arg-type]
    loud = picture(format_id, source, "png", options, patient_text=LOUD).image.pixels
    quiet = picture(format_id, source, "png", options, header=False).image.pixels
    grown = cv2.dilate((quiet < 250).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (loud[~grown] < 128).sum() == 0
    assert (loud[~grown] < 250).sum() < 30
    assert ((loud < 128) != (quiet < 128)).mean() < 0.01


def test_print_right_above_the_first_row_is_left_out(
    formats: dict[str, Format], ecg: Ecg, page_of: OpenPage
) -> None:
    """A scan whose header stands in the first row's own box, 8 mm above its baseline."""
    one = formats["ge-mac1200"]
    layout = replace(one.layouts[0], boxes=tuple(
        replace(b, name_mm=None) for b in one.layouts[0].boxes))  # fmt: skip
    small = Ecg(ecg.signal_mv * np.float32(0.2), ecg.fs_hz)
    drawn = draw_page(layout, one.info, small, header=False, footer=False)
    page = levelled(page_of(scanned(drawn.pdf, rotation_deg=0)), 0)
    ink = ink_of_page(page)
    top, scale = layout.boxes[0].baseline_mm - 8, page.px_per_mm
    for k in range(60):
        x = round((20 + 4 * k) * scale)
        cv2.putText(ink, "W", (x, round(top * scale)), cv2.FONT_HERSHEY_PLAIN, 1.2, 0, 2)
    image, _ = canonical_image(trace_leads(page, layout, ink), layout, ImageOptions())
    for lead in LEADS:
        y = np.nonzero(lead_pixels(image, lead) < 200)[0]
        assert abs(y - HEIGHT_MM / 2 * 8).max() < 5 * 8, lead

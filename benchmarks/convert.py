"""Times `ecgvision convert` against the steps of the study, page by page, in one run.

The study's steps were written anew from their description: render page 1 at 300 dpi with
pdf2image, mask the grid's three colours with numpy, crop at the published positions and stack,
save a JPEG. The masks are written the plain way; what a quicker way of writing them would change
is timed too. Ours is what `ecgvision convert --format NAME --style published` does with a page, in
this process: open the PDF, find the layout, take the grid out, write the PNG and its JSON.

Pages are drawn in the two published formats, from PTB-XL records where $ECGVISION_DATA or
../shared/data has them and from the synthetic ECG elsewhere, as vector PDFs and as 300-dpi scans.
Each page goes through every method in turn, `--repeats` times; its fastest time counts, for what
else the machine does only ever adds to it. See README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from pdf2image import convert_from_path
from PIL import Image

from ecgvision.conversion import PageOptions, convert_each
from ecgvision.errors import PageError
from ecgvision.normalise import ImageOptions, Style
from ecgvision.output import json_bytes, output_names, png_bytes, write_files
from ecgvision.plugins import Format, load_formats
from ecgvision.recognition import AUTO, choose_formats
from ecgvision.testing import Ecg, draw_page, scanned, synthetic_ecg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecgvision.types import Pixels

DATA = Path(os.environ.get("ECGVISION_DATA") or Path(__file__).parents[2] / "shared" / "data")
FORMATS = ("philips", "ge")
KINDS = ("vector", "scan")
TARGETS = {"vector": 8.0, "scan": 3.0}
STUDY, QUICK, OURS = "study's steps", "  with quicker masks", "ours, published"

# --- the study's steps ------------------------------------------------------------------------

GRID_RGB = ((216, 111, 98), (250, 200, 168), (168, 0, 0))
GRID_SLACK = 3
PHILIPS_AREA = (82, 950, 3000, 2000)
PHILIPS_LEFTS, PHILIPS_TOPS = (0, 740, 1478, 2217), (0, 350, 700)
PHILIPS_LEAD = (701, 350)
GE_AREA = (180, 280, 3000, 1600)


def study_steps(
    pdf: Path, out_dir: Path, name: str, mask_grid: Callable[[Pixels], None]
) -> tuple[int, int]:
    """The study's way from a PDF to a JPEG; gives the picture's (width, height)."""
    (page,) = convert_from_path(pdf, dpi=300, first_page=1, last_page=1)
    pixels = np.array(page)
    if name == "philips":
        mask_grid(pixels)
        picture = stacked(cropped(pixels, PHILIPS_AREA))
    else:
        picture = cropped(pixels, GE_AREA)
    image = Image.fromarray(picture)
    image.save(out_dir / f"{pdf.stem}.jpg", quality=95)
    return image.size


def mask_plainly(pixels: Pixels) -> None:
    """Make the grid's colours white, in place; (H, W, 3) RGB."""
    for low, high in colour_ranges():
        near = np.all((pixels >= low) & (pixels <= high), axis=2)
        pixels[near] = 255


def mask_quickly(pixels: Pixels) -> None:
    """The same channel by channel, which numpy does several times quicker."""
    for low, high in colour_ranges():
        near = np.ones(pixels.shape[:2], bool)
        for channel in range(3):
            near &= pixels[:, :, channel] >= low[channel]
            near &= pixels[:, :, channel] <= high[channel]
        pixels[near] = 255


def colour_ranges() -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The lowest and the highest RGB of each of the grid's colours."""
    rgb = np.array(GRID_RGB)
    lows, highs = np.clip(rgb - GRID_SLACK, 0, 255), np.clip(rgb + GRID_SLACK, 0, 255)
    return list(zip(lows.astype(np.uint8), highs.astype(np.uint8), strict=True))


def cropped(pixels: Pixels, area: tuple[int, int, int, int]) -> Pixels:
    left, top, right, bottom = area
    return pixels[top:bottom, left:right]


def stacked(area: Pixels) -> Pixels:
    """Six rows by two columns of leads: limb leads on the left, chest leads on the right."""
    width, height = PHILIPS_LEAD
    columns = [
        np.vstack([area[top : top + height, left : left + width] for top in PHILIPS_TOPS])
        for left in PHILIPS_LEFTS
    ]
    return np.hstack([np.vstack(columns[:2]), np.vstack(columns[2:])])


# --- ours -------------------------------------------------------------------------------------


def ours(
    pdf: Path, out_dir: Path, formats: Sequence[Format], options: ImageOptions
) -> tuple[int, int]:
    """What `ecgvision convert` does with a file; gives the picture's (width, height)."""
    (result,) = convert_each(pdf, formats, PageOptions(options))
    if isinstance(result, PageError):
        raise result
    names, image = output_names(pdf, 1, out_dir), result.image
    write_files(
        {
            names.png: png_bytes(image.pixels, image.px_per_mm),
            names.json: json_bytes(result.summary()),
        }
    )
    height, width = image.pixels.shape
    return width, height


# --- pages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One page to convert, and what it is."""

    format: str
    kind: str
    pdf: Path


def draw_cases(folder: Path, count: int) -> Iterator[Case]:
    """`count` pages of each format, each as a vector PDF and as a scan."""
    installed = load_formats()
    for number, ecg in enumerate(ecgs(count)):
        for name in FORMATS:
            chosen = installed.find(name)
            drawn = draw_page(chosen.layouts[0], chosen.info, ecg).pdf
            for kind in KINDS:
                pdf = folder / f"{name}-{kind}-{number}.pdf"
                # Every scan lies a little differently on the glass.
                turn = (0.7, -0.4, 0.0, 1.2)[number % 4]
                data = scanned(drawn, dpi=300, rotation_deg=turn, seed=number)
                pdf.write_bytes(drawn if kind == "vector" else data)
                yield Case(name, kind, pdf)


def ecgs(count: int) -> list[Ecg]:
    """PTB-XL records, evenly spread, or synthetic ones where there is no PTB-XL."""
    path = DATA / "ptbxl" / "signals.npz"
    if not path.is_file():
        return [synthetic_ecg(seed, 55.0 + 9.0 * (seed % 6)) for seed in range(count)]
    with np.load(path) as signals:
        steps_uv = signals["delta_uv"]
    chosen = np.linspace(0, len(steps_uv) - 1, count + 2).astype(int)[1:-1]
    return [Ecg.from_eight(np.cumsum(steps_uv[at], axis=1, dtype=np.int16), 250.0) for at in chosen]


# --- timing -----------------------------------------------------------------------------------

Method = Callable[[Case], tuple[int, int]]
Times = dict[tuple[str, str, str], list[float]]


def methods_into(out_dir: Path) -> dict[str, Method]:
    """The methods by name, the study's first."""
    given = {name: choose_formats(name) for name in FORMATS}
    everything = choose_formats(AUTO)

    def published_or_not(style: Style, auto: bool) -> Method:
        options = ImageOptions(style)
        return lambda case: ours(
            case.pdf, out_dir, everything if auto else given[case.format], options
        )

    return {
        STUDY: lambda case: study_steps(case.pdf, out_dir, case.format, mask_plainly),
        QUICK: lambda case: study_steps(case.pdf, out_dir, case.format, mask_quickly),
        OURS: published_or_not("published", False),
        "ours, published, auto": published_or_not("published", True),
        "ours, canonical": published_or_not("canonical", False),
        "ours, canonical, auto": published_or_not("canonical", True),
    }


def timed(cases: Sequence[Case], methods: dict[str, Method], repeats: int) -> Times:
    """The fastest of `repeats` in ms for every page, by (format, kind, method), interleaved."""
    fastest: dict[tuple[Case, str], float] = {}
    names = list(methods)
    for repeat, case in product(range(repeats), cases):
        # Whoever comes after poppler finds cold caches: every other time the order is turned round.
        for name in names if repeat % 2 == 0 else reversed(names):
            start = time.perf_counter()
            methods[name](case)
            took = (time.perf_counter() - start) * 1000
            fastest[case, name] = min(took, fastest.get((case, name), took))
    times: Times = defaultdict(list)
    for (case, name), took in fastest.items():
        times[case.format, case.kind, name].append(took)
    return times


def usable(cases: Sequence[Case], methods: dict[str, Method]) -> list[Case]:
    """The pages that every method converts; each is run once, untimed, so that all is loaded.

    A page that is refused is named and left out. Both published pictures must be as large.
    """
    kept = []
    for case in cases:
        try:
            sizes = {name: method(case) for name, method in methods.items()}
        except PageError as error:
            click.echo(f"left out: {error}")
            continue
        if sizes[STUDY] != sizes[OURS]:
            raise click.ClickException(f"{case.pdf.name}: {sizes[STUDY]} px and {sizes[OURS]} px")
        kept.append(case)
    return kept


# --- report -----------------------------------------------------------------------------------


def overall_ratio(times: Times, kind: str, baseline: str) -> float:
    """How many times longer the baseline takes for as many pages of the one format as the other."""
    study, own = (
        sum(statistics.mean(times[f, kind, name]) for f in FORMATS) for name in (baseline, OURS)
    )
    return study / own


def report(times: Times, methods: Sequence[str]) -> None:
    click.echo(
        "\nHow many times faster than the study's steps, both formats, to the published style:"
    )
    for kind, target in TARGETS.items():
        plain, quick = (overall_ratio(times, kind, name) for name in (STUDY, QUICK))
        verdict = "reached" if plain >= target else "missed"
        click.echo(
            f"  {kind:8}{plain:5.1f}x (target {target:g}x: {verdict}); "
            f"{quick:.1f}x if the study's masks had been written the quick way"
        )
    click.echo(f"\n{'per page (median)':28}{'faster':>8}{'ms':>8}")
    for name, kind in product(FORMATS, KINDS):
        study = statistics.median(times[name, kind, STUDY])
        click.echo(f"{name}, {kind}")
        for method in methods:
            own = statistics.median(times[name, kind, method])
            click.echo(f"  {method:26}{study / own:7.1f}x{own:8.0f}")


def as_json(times: Times, pages: int, repeats: int) -> str:
    rows = [
        {
            "format": name,
            "kind": kind,
            "method": method,
            "median_ms": round(statistics.median(values), 2),
            "pages_ms": [round(value, 2) for value in values],
        }
        for (name, kind, method), values in times.items()
    ]
    overall = {
        label: {kind: round(overall_ratio(times, kind, baseline), 2) for kind in KINDS}
        for label, baseline in (("ratio", STUDY), ("ratio_quicker_masks", QUICK))
    }
    found = {"pages": pages, "repeats": repeats, "target": TARGETS, **overall, "times": rows}
    return json.dumps(found, indent=2) + "\n"


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--pages", default=8, show_default=True, type=click.IntRange(1), help="Per format.")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1), help="Per page.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the times here.")
def main(pages: int, repeats: int, json_path: Path | None) -> None:
    if shutil.which("pdftoppm") is None:
        click.echo("The study's steps need poppler: install poppler-utils (pdftoppm) first.")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        click.echo(f"Drawing {pages} pages of {len(FORMATS)} formats as {' and '.join(KINDS)} ...")
        cases = list(draw_cases(folder, pages))
        methods = methods_into(folder / "out")
        (folder / "out").mkdir()
        cases = usable(cases, methods)
        click.echo(f"Timing {len(methods)} methods on {len(cases)} pages, {repeats} times ...")
        times = timed(cases, methods, repeats)
    report(times, list(methods))
    if json_path:
        json_path.write_text(as_json(times, pages, repeats), encoding="utf-8")


if __name__ == "__main__":
    main()

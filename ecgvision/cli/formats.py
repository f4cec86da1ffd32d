"""`ecgvision formats`: which there are, what they declare, and the tools to make one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import (
    Commands,
    check_output,
    described,
    error_line,
    installed_formats,
    one_format,
    printable,
)
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.plugins import Format
    from ecgvision.types import RGB, Layout


_page_option = click.option(
    "--page",
    "number",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Page of the file, from 1.",
)


@click.group(cls=Commands, short_help="List, show, check and make formats.")
def formats() -> None:
    """List, show, check and make formats: what is known of one machine's pages."""


@formats.command("list")
def list_formats() -> None:
    """List the installed formats; plugins that are broken come last."""
    installed = installed_formats(warn=False)
    rows = [
        (
            f.info.id,
            ", ".join(f.info.aliases),
            f.info.vendor,
            f.info.model,
            ", ".join(layout.name for layout in f.layouts),
        )
        for f in sorted(installed.formats, key=lambda f: f.info.id)
    ]
    rows.append(("custom", "", "any", "any", "from a TOML file: --layout"))
    click.echo(_table([("id", "aliases", "vendor", "model", "layouts"), *rows]))
    for broken in installed.broken:
        click.echo(f"broken: {printable(f'{broken.name}: {broken.reason}')}")


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


@formats.command()
@click.argument("name")
def show(name: str) -> None:
    """Show all that the format NAME declares: its looks, and each layout in mm."""
    chosen = installed_formats().find(name)
    click.echo("\n".join(_described_format(chosen)))


def _described_format(chosen: Format) -> Iterator[str]:
    info = chosen.info
    for label, value in (
        ("id", info.id),
        ("aliases", ", ".join(info.aliases)),
        ("vendor", info.vendor),
        ("model", info.model),
        ("header text", ", ".join(map(repr, info.header_text))),
        ("paper", _colour(info.paper_rgb)),
        ("ink", _colour(info.ink_rgb)),
        ("grid", ", ".join(map(_colour, info.grid_rgb))),
        ("source", info.source),
    ):
        yield f"{label:<12} {value or '-'}"
    for layout in chosen.layouts:
        yield ""
        yield from _described_layout(layout)


def _colour(rgb: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _described_layout(layout: Layout) -> Iterator[str]:
    grid = {None: "with or without grid", True: "grid", False: "no grid"}[layout.grid]
    yield f"layout {layout.name}"
    yield f"  page       {layout.page_mm[0]:g} x {layout.page_mm[1]:g} mm, {grid}"
    yield f"  speed      {layout.speed_mm_per_s:g} mm/s"
    yield f"  gain       {layout.gain_mm_per_mv:g} mm/mV"
    if layout.pulse_mm is not None:
        yield f"  pulse      {layout.pulse_mm[0]:.1f} to {layout.pulse_mm[1]:.1f} mm, in each row"
    if layout.separators:
        yield "  separators between the columns"
    if layout.published is not None:
        published = layout.published
        yield f"  published  {published.width_px} x {published.height_px} px: {published.source}"
    for number, row in enumerate(layout.rows, 1):
        names = " ".join(b.lead + (" (rhythm)" if b.rhythm_strip else "") for b in row)
        yield f"  row {number:<6} {names}, baseline {row[0].baseline_mm:.1f} mm"
    yield "  boxes in mm (left, top, right, bottom) and the seconds they show"
    for b in layout.boxes:
        edges = (b.box.left_mm, b.box.top_mm, b.box.right_mm, b.box.bottom_mm)
        numbers = " ".join(f"{edge:7.1f}" for edge in edges)
        strip = "  rhythm" if b.rhythm_strip else ""
        yield f"    {b.lead:<4} {numbers}   {b.start_s:g} to {b.stop_s:g} s{strip}"


@formats.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PNG",
    help="Picture to write, replaced where it exists; its name must end in .png.",
)
@click.option(
    "--layout",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="Layout file, for the format custom.",
)
@_page_option
@click.pass_context
def check(
    ctx: click.Context, name: str, file: Path, out: Path, layout: Path | None, number: int
) -> None:
    """Draw the leads' boxes of the format NAME on a page of FILE, to be looked at.

    Each box should hold its own lead and start where the trace starts, with the baseline through
    its middle. Where the page is refused, the boxes are drawn as declared, in orange. The picture
    shows the page with its header: it is to be kept like the report.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"-o {str(out)!r}: the name must end in .png")
    check_output(out, force=True, source=file)
    chosen = one_format(name, layout)

    from ecgvision.media import open_report
    from ecgvision.output import write_png
    from ecgvision.survey.check import check_page

    with open_report(file) as report:
        checked = check_page(report.page(number), chosen)
    write_png(out, checked.pixels, checked.px_per_mm)
    click.echo(f"{out}: {checked.caption}; look at it")
    if checked.refusal is not None:
        error_line(described(checked.refusal))
        ctx.exit(1)


@formats.command()
@click.argument("name")
@click.option(
    "-o",
    "--out",
    "folder",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder in which the package's own folder is made.",
)
def new(name: str, folder: Path) -> None:
    """Write the package of a new format NAME: it installs, with its contract test."""
    from ecgvision.scaffold import new_format

    installed = installed_formats(warn=False)
    taken = [name for f in installed.formats for name in (f.info.id, *f.info.aliases)]
    home = new_format(name, folder, taken=taken)
    click.echo(f"{home} is written; fill in its numbers, then: pip install -e '{home}[test]'")


@formats.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="Layout file to write.",
)
@_page_option
@click.option("--force", is_flag=True, help="Replace the layout file if it exists.")
@click.pass_context
def propose(ctx: click.Context, file: Path, out: Path, number: int, force: bool) -> None:
    """Measure one page of FILE and write a first layout, to be corrected by hand.

    It says what was found and what was not. Use the layout with `convert --format custom
    --layout TOML`, and look at it with `formats check custom FILE --layout TOML`.
    """
    check_output(out, force=force, source=file)

    from ecgvision.media import open_report
    from ecgvision.output import write_files
    from ecgvision.survey.propose import propose_layout

    with open_report(file) as report:
        proposal = propose_layout(report.page(number))
    for line in proposal.found:
        click.echo(f"found: {printable(line)}")
    for line in proposal.missing:
        click.echo(f"not found: {printable(line)}")
    if proposal.layout is None:
        error_line(f"{printable(file.name)} page {number}: no layout could be made, none written")
        ctx.exit(1)
    write_files({out: proposal.to_toml().encode("utf-8")})
    click.echo(f"{out} is written: layout {proposal.layout.name}")

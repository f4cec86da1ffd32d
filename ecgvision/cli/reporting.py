"""`ecgvision report`: what became of the pages of an archive, as one HTML file."""

from __future__ import annotations

import click

from ecgvision.cli.common import printable


@click.command(short_help="Sum up a converted archive as one HTML page.")
@click.argument("out_dir", metavar="OUT")
@click.option(
    "-o",
    "--out",
    "target",
    metavar="FILE",
    help="File to write.  [default: report.html in OUT]",
)
@click.option(
    "--sources",
    metavar="DIR",
    help="Folder that was converted, to draw examples from.  [default: where it was]",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    show_default=True,
    help="Draw some of the pages that did not come out, too coarse for print to be read.",
)
@click.option("--force", is_flag=True, help="Replace a file that is no older report.")
def report(
    out_dir: str, target: str | None, sources: str | None, thumbnails: bool, force: bool
) -> None:
    """Sum up what `ecgvision convert` wrote to OUT: one HTML page that needs no network.

    It counts the pages that came out, says why others did not and what to do about it, and shows
    quality, speed, formats, years, scales and the slowest pages. It names files as the manifest
    does and holds no text of a page. An older report is replaced. OUT, FILE and DIR may be URLs.
    """
    from ecgvision.report import write_report

    summary = write_report(out_dir, target, sources=sources, thumbnails=thumbnails, force=force)
    pages, files = summary.pages, summary.files
    click.echo(
        f"{printable(summary.told)}: {pages.total:,} pages of {files.total:,} files: "
        f"{pages.done:,} done, {pages.refused:,} refused, {pages.failed:,} failed"
    )

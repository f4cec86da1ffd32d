"""`ecgvision dataset`: make data sets, split them by patient, sum them up, pass them on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import Commands, check_output, extra, printable
from ecgvision.errors import UsageError

if TYPE_CHECKING:
    from ecgvision.dataset.schema import Schema


@click.group(cls=Commands, short_help="Make, split, sum up and export data sets.")
def dataset() -> None:
    """Make data sets of pages and labels, split them by patient, sum them up, and export them."""


@dataset.command()
@click.argument("pages", type=click.Path(path_type=Path), metavar="CONVERTED")
@click.option(
    "--labels",
    "table",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Table of labels, .csv (UTF-8, commas) or .parquet.",
)
@click.option(
    "-o",
    "--out",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DATA",
    help="Folder of the data set.",
)
@click.option(
    "--schema",
    "schema_file",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="What the table's columns are; in place of the options for single columns.",
)
@click.option("--source", metavar="COLUMN", help="Column that names the file.")
@click.option("--record", metavar="COLUMN", help="Column with the id of the ECG.")
@click.option("--page", metavar="COLUMN", help="Column with the page.  [default: page 1]")
@click.option("--patient", metavar="COLUMN", help="Column with the id of the patient.")
@click.option("--year", metavar="COLUMN", help="Column with the year or date of the ECG.")
@click.option("--format", metavar="COLUMN", help="Column with the format, where pages have none.")
@click.option("--fold", metavar="COLUMN", help="Column with the number of the fold.")
@click.option("--group", metavar="COLUMN", help="Column of those who must not be parted.")
@click.option("--label", "labels", multiple=True, metavar="COLUMN", help="A column of labels.")
@click.option("--clinical", multiple=True, metavar="COLUMN", help="A column of clinical features.")
@click.option("--several", is_flag=True, help="A row may be about several files: drawings of one.")
@click.option(
    "--image-px",
    type=click.IntRange(min=1),
    nargs=2,
    default=(384, 384),
    show_default=True,
    metavar="H W",
    help="Height and width of the images.",
)
@click.option("--no-images", is_flag=True, help="Take the signals alone.")
@click.option("--signals", is_flag=True, help="Take the signals, too: NPZ beside the images.")
@click.option(
    "--seconds",
    type=float,
    default=10.0,
    show_default=True,
    help="Length of the signals; longer ones are cut, shorter ones end in NaN.",
)
@click.option("--name", help="Name of the data set.  [default: that of DATA]")
@click.option("--simulated", is_flag=True, help="Nothing in it was measured on people.")
@click.option("--force", is_flag=True, help="Replace an older data set of that name.")
def build(
    pages: Path,
    table: Path,
    target: Path,
    schema_file: Path | None,
    image_px: tuple[int, int],
    no_images: bool,
    signals: bool,
    seconds: float,
    name: str | None,
    simulated: bool,
    force: bool,
    labels: tuple[str, ...],
    clinical: tuple[str, ...],
    several: bool,
    **keys: str | None,
) -> None:
    """Join pages with a table of labels.

    CONVERTED is the output folder of `ecgvision convert`, or a folder of images. Rows of the table
    name pages by file or by ECG. What is not known stays unknown. Pages and rows that are left out
    are listed with the reason in DATA/left-out.csv.
    """
    with extra("data"):
        from ecgvision.dataset.build import BuildOptions
        from ecgvision.dataset.build import build as build_dataset

    schema = _schema(schema_file, keys, labels, clinical, several)
    options = BuildOptions(
        name or target.resolve().name, None if no_images else image_px, signals, seconds, simulated
    )
    built = build_dataset(pages, table, schema, target, options, replace=force)
    click.echo(f"{printable(str(target))}: {len(built.dataset):,} examples")
    _tell_reasons("left out", (one.reason for one in built.left_out), target / "left-out.csv")


def _schema(
    file: Path | None,
    keys: dict[str, str | None],
    labels: Iterable[str],
    clinical: Iterable[str],
    several: bool,
) -> Schema:
    from ecgvision.dataset.schema import Keys, read_schema, schema_of

    given = {name: column for name, column in keys.items() if column}
    if file is None:
        schema = schema_of(Keys(**given), labels, clinical)
        return schema.model_copy(update={"several": several})
    if given or labels or clinical or several:
        raise UsageError("give --schema, or options for single columns, not both")
    return read_schema(file)


def _tell_reasons(what: str, reasons: Iterable[str], listed: Path) -> None:
    counts = Counter(reasons)
    if counts:
        told = ", ".join(f"{count:,} {printable(name)}" for name, count in counts.most_common())
        click.echo(f"{what}: {told}; see {printable(str(listed))}")


@dataset.command()
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option(
    "--by",
    type=click.Choice(["study", "patient", "fold"]),
    required=True,
    help="study: by year and format; patient: whole people, drawn; fold: by the table's folds.",
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="For study: years and formats of your own, see --show-rules.",
)
@click.option(
    "--show-rules",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, shown: _show_rules(ctx) if shown else None,
    help="Print the study's rules as TOML, to be changed, and end.",
)
@click.option(
    "--fractions",
    metavar="TRAIN,VALIDATION,TEST",
    help="For patient: parts that add up to 1.  [default: 0.8,0.1,0.1]",
)
@click.option(
    "--stratify",
    metavar="COLUMNS",
    help="For patient: what is to be as frequent in each split, such as mi,sex,lvef_percent<50.",
)
@click.option("--train", metavar="FOLDS", help="For fold: such as 1-8.")
@click.option("--validation", metavar="FOLDS", help="For fold: such as 9.")
@click.option("--test", metavar="FOLDS", help="For fold: such as 10.")
@click.option(
    "--links",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Table of two columns: ids of patients who are the same person.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn.")
def split(
    data: Path,
    by: str,
    rules: Path | None,
    fractions: str | None,
    stratify: str | None,
    links: Path | None,
    seed: int,
    **folds: str | None,
) -> None:
    """Split DATA into training, validation and test; nobody stands in two of them.

    Rows that share a patient, a record or a group, and patients in --links, are one person. By year
    or fold a person may stand in several splits: training keeps them, and their other rows are
    excluded. DATA/excluded.csv lists all rows in no split, and why. An older split is replaced.
    """
    _only(by, "study", {"--rules": rules})
    _only(by, "patient", {"--fractions": fractions, "--stratify": stratify})
    _only(by, "fold", {f"--{name}": value for name, value in folds.items()})
    with extra("data"):
        from ecgvision.dataset import splitting
        from ecgvision.dataset.people import read_links
        from ecgvision.dataset.store import open_dataset

    opened = open_dataset(data)
    linked = read_links(links) if links else []
    if by == "study":
        done = splitting.by_rules(opened.rows, splitting.read_rules(rules), linked, seed)
    elif by == "patient":
        parts = _numbers(fractions or "0.8,0.1,0.1")
        wanted = [one.strip() for one in (stratify or "").split(",") if one.strip()]
        done = splitting.by_patient(opened.rows, parts, wanted, linked, seed)
    else:
        lacking = [f"--{name}" for name, value in folds.items() if not value]
        if lacking:
            raise UsageError(f"--by fold needs {', '.join(lacking)}")
        given = {name: splitting.parsed_folds(folds[name] or "") for name in splitting.USED}
        done = splitting.by_fold(opened.rows, given, linked)
    result = splitting.split_dataset(opened, done)
    counts = Counter(done.split)
    click.echo(", ".join(f"{name} {counts[name]:,}" for name in splitting.USED))
    for name in splitting.USED:
        if not counts[name]:
            click.echo(f"warning: nothing is in {name}", err=True)
    unused = (one.reason for one in done.unused)
    _tell_reasons("in no split", unused, result.folder / splitting.EXCLUDED)


def _show_rules(ctx: click.Context) -> None:
    from importlib.resources import files

    click.echo((files("ecgvision.dataset") / "study.toml").read_text(encoding="utf-8"), nl=False)
    ctx.exit()


def _only(by: str, way: str, options: dict[str, object]) -> None:
    """Refuse options of another way to split than the one that was chosen."""
    surplus = [name for name, value in options.items() if value is not None]
    if surplus and by != way:
        raise UsageError(f"{', '.join(surplus)}: for --by {way}, not for --by {by}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"expected numbers like 0.8,0.1,0.1, found {text!r}") from None


@dataset.command()
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["md", "csv", "html"]),
    help="What is printed.  [default: md, and nothing with -o]",
)
@click.option(
    "-o",
    "--out",
    "targets",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Write a .md, .csv or .html; may be given several times.",
)
@click.option(
    "--tasks",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="File with [[tasks]], such as a recipe: their prevalence is added.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
def stats(
    data: Path, kind: str | None, targets: tuple[Path, ...], tasks: Path | None, force: bool
) -> None:
    """Sum up DATA split by split: n, %, mean and standard deviation, and what is not known."""
    kinds = {target: target.suffix.lower().removeprefix(".") for target in targets}
    for target, ending in kinds.items():
        if ending not in ("md", "csv", "html"):
            raise UsageError(f"-o {str(target)!r}: the name must end in .md, .csv or .html")
        check_output(target, force=force)
    with extra("data"):
        from ecgvision.dataset.stats import WRITTEN, read_tasks, statistics
        from ecgvision.dataset.store import open_dataset
    from ecgvision.output import write_files

    table = statistics(open_dataset(data), read_tasks(tasks) if tasks else ())
    write_files({target: WRITTEN[ending](table).encode() for target, ending in kinds.items()})
    if kind or not targets:
        click.echo(WRITTEN[kind or "md"](table), nl=False)


@dataset.command()
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option(
    "-o",
    "--out",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="Folder for the shards.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["parquet", "webdataset"]),
    required=True,
    help="parquet: what datasets.load_dataset reads; webdataset: tar files.",
)
@click.option("--shard-rows", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--force", is_flag=True, help="Replace an older export of that name.")
def export(data: Path, target: Path, form: str, shard_rows: int, force: bool) -> None:
    """Write DATA in a form that other tools read, a set of files for each split.

    Ids of patients, records and sources go with it, as DATA has them. Excluded rows do not.
    """
    with extra("data"):
        from ecgvision.dataset.export import export as export_dataset
        from ecgvision.dataset.store import open_dataset

    opened = open_dataset(data)
    counts = export_dataset(opened, target, form, shard_rows=shard_rows, replace=force)
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    click.echo(f"{printable(str(target))}: {told}")

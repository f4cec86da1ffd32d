"""`ecgvision models export` and `bundle`: networks as ONNX files, and as folders of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import check_output, error_line, extra, printable
from ecgvision.errors import PageError, UsageError

if TYPE_CHECKING:
    from ecgvision.exporting.source import Pages, Source

_calibrate_option = click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="Data set whose training pages give the int8 file its ranges.",
)
_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="Data set on which the AUC of the int8 file must be within 0.005 of the network's.",
)
_force_option = click.option(
    "--force", is_flag=True, help="Replace files that are there, and keep an int8 file that is off."
)
_split_option = click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Rows of --data.",
)


@click.command()
@click.argument("name", metavar="ID|RUN")
@click.option("--onnx", "with_onnx", is_flag=True, help="Write model.onnx, in 32 bits.")
@click.option("--int8", "with_int8", is_flag=True, help="Write model-int8.onnx; needs --calibrate.")
@_calibrate_option
@_data_option
@_split_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the files.",
)
@_force_option
def export(
    name: str,
    with_onnx: bool,
    with_int8: bool,
    calibrate: Path | None,
    data: Path | None,
    split: str,
    out: Path,
    force: bool,
) -> None:
    """Write the network of a model, or of a trained RUN, as ONNX files.

    They take `page`, (n, 1, H, W) float32 from 0, ink, to 1, or `signal`, (n, 12, T) float32 mV
    with NaN where nothing is printed, and `clinical` where the network has clinical features. They
    give two logits a task. Each file is tried before it is written.
    """
    if not (with_onnx or with_int8):
        raise UsageError("say what is to be written: --onnx, --int8 or both")
    if with_int8 != (calibrate is not None):
        raise UsageError("--int8 needs --calibrate DATASET, and --calibrate needs --int8")
    if data is not None and not with_int8:
        raise UsageError("--data judges the int8 file; it needs --int8")
    for file, wanted in (("model.onnx", with_onnx), ("model-int8.onnx", with_int8)):
        if wanted:
            check_output(out / file, force=force)
    with extra("train"):
        from ecgvision.exporting.files import exported
        from ecgvision.exporting.source import source_of
        from ecgvision.output import write_files

        source = source_of(name)
        calibration, judged = _pages(source, calibrate, data, split)
        done = exported(source, calibration, judged, force=force)
        files = {out / "model.onnx": done.onnx} if with_onnx else {}
        if done.int8 is not None:
            files[out / "model-int8.onnx"] = done.int8
        write_files(files)
    for line in done.compared.lines() if done.compared else ():
        error_line(printable(line))
    for path, content in files.items():
        click.echo(printable(f"{path}: {len(content):,} bytes"))


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@_calibrate_option
@_data_option
@_split_option
@click.option("--onnx", "with_onnx", is_flag=True, help="Add model.onnx, in 32 bits.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of the model, with its model.toml and README.md.",
)
@_force_option
def bundle(
    run: Path,
    calibrate: Path | None,
    data: Path | None,
    split: str,
    with_onnx: bool,
    out: Path,
    force: bool,
) -> None:
    """Put the trained RUN into DIR, such as zoo/ID: a model with its files beside its model.toml.

    DIR has a model.toml, with status "no-weights" so far, and a card. It gets weights in 16 bits,
    config.json and an int8 ONNX file, and model.toml their sizes and hashes. All else in model.toml
    stays as it was written.
    """
    if calibrate is None:
        raise UsageError("--calibrate DATASET is needed: pages to take the int8 file's ranges from")
    with extra("hub"):
        import huggingface_hub.utils.logging
        import markdown_it  # noqa: F401
        import tomlkit  # noqa: F401

        # That a card has no head is no matter here.
        huggingface_hub.utils.logging.set_verbosity_error()
    with extra("train"):
        from ecgvision.exporting.bundle import bundle as bundled
        from ecgvision.exporting.bundle import previous
        from ecgvision.exporting.source import source_of
        from ecgvision.output import write_files

        there = previous(out)
        if there and not force:
            raise PageError(
                "output-exists",
                out / there[0],
                None,
                expected="a folder without a model's files",
                found="one with them",
                hint="use --force to replace them, or another folder",
            )
        source = source_of(str(run))
        calibration, judged = _pages(source, calibrate, data, split)
        if calibration is None:
            raise AssertionError("--calibrate is given")
        done = bundled(source, run, out, calibration, judged, with_onnx=with_onnx, force=force)
        # What an earlier bundle wrote and this one does not would go into the wheel.
        left = [out / one for one in there if out / one not in done.files]
        write_files(done.files, left)
    for line in done.told:
        error_line(printable(line))
    click.echo(printable(f"{out}: ecgvision models verify {out / 'model.toml'}"))


def _pages(
    source: Source, calibrate: Path | None, data: Path | None, split: str
) -> tuple[Pages | None, Pages | None]:
    """Training pages to calibrate by, and labelled ones to judge by."""
    from ecgvision.dataset.store import open_dataset
    from ecgvision.exporting.source import MOST_PAGES, pages_of

    calibration = judged = None
    if calibrate is not None:
        calibration = pages_of(source, open_dataset(calibrate), "train", most=MOST_PAGES)
    if data is not None:
        judged = pages_of(source, open_dataset(data), split, labelled=True)
    return calibration, judged

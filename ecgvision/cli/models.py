"""`ecgvision models`: those of the zoo: which there are, pulled, checked, exported, pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.common import Commands, check_output, error_line, extra, printable
from ecgvision.cli.exporting import bundle, export

if TYPE_CHECKING:
    from ecgvision.zoo.catalogue import Model
    from ecgvision.zoo.entry import Entry
    from ecgvision.zoo.hub import Hub

_revision_option = click.option(
    "--revision",
    default="",
    metavar="REV",
    help="Another commit, branch or tag than the catalogue's; its files must be the same.",
)


@click.group(cls=Commands, short_help="List, show, pull, verify, export and push models.")
def models() -> None:
    """List, show, pull, verify, export and push models: small networks with their facts and hashes.

    ID is a model of the catalogue, or the path of a `model.toml`.
    """


@models.command("list")
@click.option("--all", "every", is_flag=True, help="Also those whose weights are not there.")
def list_models(every: bool) -> None:
    """List the models of the package, and those that plugins bring."""
    from ecgvision.zoo.catalogue import installed_models

    installed = installed_models()
    for broken in installed.broken:
        error_line(f"warning: plugin {printable(f'{broken.name} is broken: {broken.reason}')}")
    found = list(installed.models.values())
    without = [model.entry for model in found if model.entry.status == "no-weights"]
    for model in found if every else [one for one in found if one.entry not in without]:
        entry = model.entry
        tasks = " ".join(task.name for task in entry.tasks)
        click.echo(f"{entry.id:<24} {_where(model):<14} {tasks:<18} {entry.title}")
        if entry.reason:
            click.echo(f"    {entry.reason}")
    if without and not every:
        names = ", ".join(entry.id for entry in without)
        click.echo(f"without weights, see --all: {names}")


def _where(model: Model) -> str:
    """Where the model's files are."""
    if model.entry.status == "no-weights":
        return "no weights"
    return "in the package" if model.bundled else "on the Hub" if model.entry.hub else "files lost"


@models.command()
@click.argument("name", metavar="ID")
def show(name: str) -> None:
    """Show all that is known of the model ID: tasks, data, figures, files, card."""
    from ecgvision.zoo.catalogue import find_model

    click.echo("\n".join(_described(find_model(name))))


def _described(model: Model) -> Iterator[str]:
    entry = model.entry
    image = entry.image
    style = f"{image.style}, {image.height_px} x {image.width_px} px" if image else ""
    if entry.signal:
        style = f"{entry.signal.seconds:g} s at {entry.signal.fs_hz:g} Hz"
    place = entry.hub
    for label, value in (
        ("id", entry.id),
        ("title", entry.title),
        ("status", entry.status),
        ("files", _where(model)),
        ("why", entry.reason),
        ("recipe", entry.recipe),
        ("formats", ", ".join(entry.formats)),
        (entry.input, style),
        ("simulated", "yes: no figure of it holds for patients" if entry.simulated else "no"),
        ("data", ", ".join(entry.datasets)),
        ("licence", entry.licence),
        ("hub", f"{place.repository} at {place.revision}" if place else ""),
        ("card", str(model.card or "")),
    ):
        yield f"{label:<12} {printable(value) or '-'}"
    for task in entry.tasks:
        yield f"task {task.name:<7} {printable(task.definition)}"
    yield from _figures(entry)
    for file in entry.files:
        yield f"file         {file.name}, {file.role}, {file.bytes:,} bytes, {file.sha256[:12]}"


def _figures(entry: Entry) -> Iterator[str]:
    for m in entry.metrics:
        n = f"n {m.examples}" if m.positives is None else f"{m.positives} of {m.examples} positive"
        yield (
            f"{m.name:<12} {m.task} {m.value:.3f}, {m.confidence:.0%} CI {m.low:.3f} to "
            f"{m.high:.3f} ({m.interval}), {m.test_set}{m.format and f', {m.format}'}, {n}"
        )
        yield f"             from: {m.command}"
    for t in entry.thresholds:
        mark = ", the default" if t.default else ""
        yield f"threshold    {t.task} {t.threshold:.3f}: {t.name}, chosen on {t.chosen_on}{mark}"
    for c in entry.calibration:
        yield f"calibration  {c.task}: temperature {c.temperature:.3f}, fitted on {c.fitted_on}"


@models.command()
@click.argument("name", metavar="ID")
@_revision_option
def pull(name: str, revision: str) -> None:
    """Fetch the model ID from the Hub into the Hub's own cache, and check every file.

    What is there and intact costs no request, and works offline. A model that is in the package is
    checked alone, unless --revision asks for the Hub's.
    """
    from ecgvision.zoo.catalogue import find_model

    model = find_model(name)
    entry = model.entry
    if model.bundled and not revision:
        from ecgvision.zoo.files import checked_path

        places = {file: model.beside(file) for file in entry.files}
        for file, path in places.items():
            if path is not None:
                checked_path(model, file, path)
        click.echo(f"{entry.id}: in the package, {len(places)} files, all as they must be")
        return
    paths = _hub().pull(entry, revision, say=lambda text: error_line(printable(text)))
    click.echo(f"{entry.id}: {len(paths)} files, all as they must be")
    for path in paths.values():
        click.echo(str(path))


@models.command()
@click.argument("name", metavar="ID")
@_revision_option
@click.pass_context
def verify(ctx: click.Context, name: str, revision: str) -> None:
    """Check the files of the model ID, in the package or in the cache, without a request."""
    from ecgvision.zoo.catalogue import find_model
    from ecgvision.zoo.files import verify_bundled

    model = find_model(name)
    bundled = not revision and (model.bundled or (model.entry.hub is None and model.entry.files))
    checked = verify_bundled(model) if bundled else _hub().verify(model.entry, revision)
    for one in checked:
        click.echo(f"{one.file.name}: {one.problem or 'as it must be'}")
    if any(one.problem for one in checked):
        fetch = f"fetch what is missing or wrong with: ecgvision models pull {name}"
        error_line("these files are in the package: install it anew" if bundled else fetch)
        ctx.exit(1)


@models.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--repo", required=True, metavar="OWNER/NAME", help="Repository on the Hub.")
@click.option(
    "--card",
    required=True,
    type=click.Path(path_type=Path),
    metavar="MD",
    help="Card to go with it.",
)
@click.option("--private", is_flag=True, help="Make a repository that only its owner sees.")
@click.option("--tag", default="", help="Name of this version: v1, v2 and so on unless given.")
@click.option("--dry-run", is_flag=True, help="Say what would go up; nothing does.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="TOML",
    help="Write the ready model.toml there instead of printing it.",
)
@click.option("--force", is_flag=True, help="Replace the file of -o if it exists.")
def push(
    run: Path,
    repo: str,
    card: Path,
    private: bool,
    tag: str,
    dry_run: bool,
    out: Path | None,
    force: bool,
) -> None:
    """Bring the trained RUN to the Hub, with its card, and print a `model.toml` to pull it by.

    Weights, configuration and card go up, calibration.png beside the card where the card shows it,
    and ONNX files where the run has them; predictions, rows, checkpoints and paths of this machine
    do not. A token with the right to write must be in
    HF_TOKEN, or saved by `hf auth login`.
    """
    if out is not None:
        check_output(out, force=force)
    hub = _hub()
    from ecgvision.output import write_files
    from ecgvision.zoo.catalogue import entry_text

    with extra("hub"):
        from ecgvision.zoo.packing import pack
    from ecgvision.zoo.push import push as push_pack

    packed = pack(run, card)
    for key in packed.left_out:
        error_line(f"left out: {printable(key)}")
    for file in packed.listed:
        error_line(f"{'would go' if dry_run else 'goes'} up: {file.name}, {file.bytes:,} bytes")
    if dry_run:
        return
    pushed = push_pack(hub, packed, repo, private=private, tag=tag)
    seen = "private" if pushed.private else "public"
    error_line(f"{pushed.url} ({seen}): commit {pushed.commit}, tag {pushed.tag}")
    text = entry_text(pushed.entry)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_files({out: text.encode()})
        click.echo(f"{out} is written: ecgvision models pull {out}")


def _hub() -> Hub:
    """The Hub of the environment, its client saying nothing that we say ourselves."""
    with extra("hub"):
        import huggingface_hub.utils.logging
        import safetensors  # noqa: F401
        import tomlkit  # noqa: F401

    from ecgvision.zoo.hub import Hub

    huggingface_hub.utils.logging.set_verbosity_error()
    return Hub.default()


for _command in (export, bundle):
    models.add_command(_command)

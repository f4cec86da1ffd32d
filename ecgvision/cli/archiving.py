"""A call of `convert` from its inputs to its exit code: who does the work, and what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecgvision.cli.batch import Teller
from ecgvision.cli.common import error_line, installed_formats, printable
from ecgvision.errors import EcgVisionError, UsageError

if TYPE_CHECKING:
    from ecgvision.archive.engine import Engine
    from ecgvision.archive.inputs import Inputs
    from ecgvision.archive.run import Ending
    from ecgvision.archive.store import Place
    from ecgvision.archive.task import Work
    from ecgvision.conversion import PageOptions

_INTERRUPTED = 130
_GB = 1024**3


@dataclass(frozen=True, slots=True)
class Limited:
    """How many workers, and what each may take; `given` where the user named a limit."""

    workers: int | None
    timeout_s: float
    memory_gb: float
    given: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """All that a call of `convert` asks for."""

    paths: tuple[str, ...]
    listed: str | None
    format_name: str
    layout: Path | None
    out: Place
    options: PageOptions
    kinds: tuple[str, ...]
    limited: Limited
    keyfile: Path | None
    scheduler: str | None
    resume: bool
    force: bool
    debug: bool


def convert_all(asked: Asked) -> int:
    """Convert everything; gives the exit code. Raises `UsageError` for what cannot be."""
    from ecgvision.archive.manifest import knowledge
    from ecgvision.archive.plan import Plan
    from ecgvision.archive.run import locked, run, sweep
    from ecgvision.output import unwritable

    inputs = _inputs(asked)
    work = _work(asked)
    hashes = _hashes(asked, work, inputs)
    store, out_dir = asked.out
    _check_stores(asked, inputs)
    with locked(out_dir, store) as held:
        _link(asked, inputs)
        try:
            sweep(out_dir, store)
            known = knowledge(out_dir, inputs.might_have, store)
        except OSError as error:
            raise unwritable(asked.out.told, error) from error
        plan = Plan(inputs, work, hashes, asked.format_name, known, asked.resume)
        teller = Teller(len(inputs))
        ending = run(plan, _engine(asked, len(inputs)), teller, held)
    return _end(teller, ending)


def _check_stores(asked: Asked, inputs: Inputs) -> None:
    """Raise `UsageError` for stores that the workers could not use, and for an output file."""
    stores = {asked.out.store, *inputs.stores}
    if any(store.in_process for store in stores) and not _is_alone(asked, len(inputs)):
        raise UsageError("memory:// is only seen by this process; it needs --workers 0")
    if asked.scheduler is not None and any(store.secret for store in stores):
        raise UsageError(
            "a URL with a password or token cannot be sent to a cluster; give the workers their "
            "credentials by the environment, and name the URL without"
        )
    store, out_dir = asked.out
    if not store.url and out_dir.exists() and not out_dir.is_dir():
        raise UsageError(f"-o {str(out_dir)!r} is not a folder; name one")


def _inputs(asked: Asked) -> Inputs:
    from ecgvision.archive.finding import find, find_listed
    from ecgvision.archive.inputs import Inputs
    from ecgvision.archive.store import placed

    naming = None
    if asked.keyfile is not None:
        from ecgvision.archive.pseudonyms import Pseudonyms

        naming = Pseudonyms.load(asked.keyfile).name
    inputs = Inputs("wfdb" in asked.kinds, asked.options.signals.qc, naming)
    for found in find(asked.paths, asked.out):
        inputs.add(found)
    if asked.listed is not None:
        for found in find_listed(placed(asked.listed)):
            inputs.add(found)
    return inputs


def _work(asked: Asked) -> Work:
    import secrets

    from ecgvision.archive.task import Work

    return Work(
        asked.out.path,
        asked.options,
        asked.kinds,
        asked.layout,
        asked.force,
        asked.debug,
        secrets.token_hex(6),
        asked.out.store,
    )


def _hashes(asked: Asked, work: Work, inputs: Inputs) -> Mapping[str, str]:
    """The hash of all options by the formats that the list names, "" for that of the command."""
    from ecgvision.archive.task import options_hash
    from ecgvision.recognition import AUTO, CUSTOM, choose_formats

    custom = asked.format_name.lower() == CUSTOM
    installed = None if custom and inputs.formats <= {""} else installed_formats()
    hashes: dict[str, str] = {}
    for name in {""} | inputs.formats:
        wanted = name or asked.format_name
        layout = asked.layout if not name or name.lower() == CUSTOM else None
        try:
            formats = choose_formats(wanted, layout, installed)
        except EcgVisionError as error:  # a layout file that is wrong: nothing can be converted
            raise UsageError(str(error)) from error
        plain = wanted.lower()
        same = plain if plain in (AUTO, CUSTOM) else formats[0].info.id
        hashes[name] = options_hash(same, work)
    return hashes


def _link(asked: Asked, inputs: Inputs) -> None:
    """Write down whose the pseudonyms are, before there is any output of that name."""
    if asked.keyfile is None:
        return
    from ecgvision.archive.pseudonyms import Pseudonyms

    with closing(Pseudonyms.load(asked.keyfile)) as pseudonyms:
        for one in inputs:
            pseudonyms.link(one.given, one.name)


def _engine(asked: Asked, count: int) -> Engine:
    """A cluster, a pool, or this process for one file of which nothing is to be limited."""
    if asked.scheduler is not None:
        from ecgvision.archive.cluster import Cluster
        from ecgvision.archive.store import SPOOL

        spool_dir, timeout_s = asked.out.path / SPOOL, asked.limited.timeout_s
        return Cluster(asked.scheduler, spool_dir, timeout_s, store=asked.out.store)
    from ecgvision.archive.engine import InProcess

    if _is_alone(asked, count):
        return InProcess()
    from ecgvision.archive.local import Limits, Pool, usable_cores

    limited = asked.limited
    limits = Limits(
        min(limited.workers or usable_cores(), count),
        limited.timeout_s,
        round(limited.memory_gb * _GB),
    )
    return Pool(limits, asked.out.store.local_spool(asked.out.path))


def _is_alone(asked: Asked, count: int) -> bool:
    """Whether this process does all the work."""
    limited = asked.limited
    alone = count == 1 and limited.workers is None and not limited.given
    return asked.scheduler is None and (alone or limited.workers == 0)


def _end(teller: Teller, ending: Ending) -> int:
    """Tell how it ended; gives the exit code."""
    teller.end()
    click.echo(teller.summary())
    if ending.interrupted:
        error_line(f"interrupted, {ending.left} of {teller.total} files are left{_GO_ON}")
        return _INTERRUPTED
    if ending.stopped:
        left = f"{ending.left} of {teller.total} files are left"
        code = "" if ending.stopped.endswith("]") else " [output-unwritable]"
        error_line(printable(f"stopped: {ending.stopped}{code}; {left}{_GO_ON}"))
        return 1
    return 0 if teller.is_well else 1


_GO_ON = "; the same command goes on where this one stopped"

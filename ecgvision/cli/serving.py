"""`ecgvision serve`: the screening page."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING, Literal

import click

from ecgvision.cli.common import extra
from ecgvision.errors import EcgVisionError, UsageError

if TYPE_CHECKING:
    import uvicorn

_LEAST_TOKEN = 16


class ServeError(EcgVisionError):
    """The server cannot listen where it was told to."""

    code = "serve"


@click.command(short_help="Serve the screening page to a browser.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on. Any but this machine's own asks for a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes any that is free.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A further name or address by which browsers call this server.",
)
@click.option(
    "--model",
    default="ptbxl-compact",
    show_default=True,
    metavar="ID",
    help="Model that answers: an id from `models list`, a model.toml, or none.",
)
@click.option(
    "--heat-maps",
    type=click.Choice(["auto", "grad-cam", "occlusion", "none"]),
    default="auto",
    show_default=True,
    help="How to find what raised an answer: auto is grad-cam where PyTorch is installed.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Reports that are read at the same time.  [default: the cores, 4 at most]",
)
@click.option(
    "--token",
    envvar="ECGVISION_TOKEN",
    metavar="TEXT",
    help="Token that requests must have, at least 16 characters; also in $ECGVISION_TOKEN."
    "  [default: none on this machine, else a new one]",
)
def serve(
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    model: str,
    heat_maps: Literal["auto", "grad-cam", "occlusion", "none"],
    workers: int | None,
    token: str | None,
) -> None:
    """Serve a page on which reports are dropped and looked at, until Ctrl-C.

    Reports lie in a private folder while they are looked at, ten minutes at most, and nothing of
    them is kept or logged. The page asks no other host for anything. Research software, not a
    medical device.
    """
    with extra("web"):
        import uvicorn

        from ecgvision.web.answering import heat_of
        from ecgvision.web.app import create_app
        from ecgvision.web.settings import NOTICE, Settings, host_names, is_loopback
    from ecgvision.archive.local import usable_cores

    if token is not None and (len(token) < _LEAST_TOKEN or not token.isascii()):
        raise UsageError(f"--token: expected at least {_LEAST_TOKEN} plain characters")
    hosts = host_names(host, allow_host)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    asked = None if model.lower() == "none" else model
    settings = Settings(
        workers=workers or min(4, usable_cores()),
        model=asked,
        heat=heat_of(heat_maps, asked),
        token=token,
        hosts=hosts,
    )
    app = create_app(settings)
    # Addresses and queries may tell of patients: nothing of requests is logged.
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
    )
    with _listening(config) as listening:
        _tell(host, listening.getsockname()[1], token)
        click.echo(NOTICE)
        uvicorn.Server(config).run(sockets=[listening])


def _tell(host: str, port: int, token: str | None) -> None:
    shown = f"[{host}]" if ":" in host else host
    told = f"http://{shown}:{port}/"
    click.echo(f"ecgvision: {told}{f'#token={token}' if token else ''}")
    if token:
        click.echo("Who has this address can use the server. It speaks plain HTTP: put it behind")
        click.echo("a proxy with TLS where others may listen on the network.")


def _listening(config: uvicorn.Config) -> socket.socket:
    """The socket to serve on, made here so that its port is known; raises `ServeError`."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((config.host, config.port))
        found.listen()  # who comes before all is started waits
    except OSError as error:
        found.close()
        raise ServeError(
            f"cannot listen on {config.host} port {config.port}: {error.strerror or error}; "
            "choose another with --port"
        ) from error
    return found

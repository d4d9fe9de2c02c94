"""``model-observer``: the command line. Heavy modules are imported inside the command."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from model_observer import __version__

app = typer.Typer(
    name="model-observer",
    help="Compare what two revisions of a model answer, on sampled live requests.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
MIB = 1024 * 1024


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"model-observer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def run(
    plan: Annotated[Path, typer.Option(help="JSON file that says what to observe; read again when it changes.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    tap_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for the routers (gRPC).")] = 18080,
    views_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for counts, metrics and probes.")] = 18081,
    max_payload: Annotated[
        int, typer.Option(min=1024, max=256 * MIB, help="Bytes; larger requests or answers are not compared.")
    ] = MIB,
    memory: Annotated[
        int, typer.Option(min=MIB, max=16384 * MIB, help="Bytes of all exchanges that are held at once.")
    ] = 64 * MIB,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Replays at the same time.")] = 4,
    replay_seconds: Annotated[
        float, typer.Option(min=0.1, max=300, help="Seconds after which a replay is given up.")
    ] = 5.0,
) -> None:
    """Take exchanges from routers, replay them, and count how many answers agree."""
    import asyncio

    from model_observer.app import Settings
    from model_observer.app import run as observe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        plan=plan,
        host=host,
        tap_port=tap_port,
        views_port=views_port,
        largest=max_payload,
        memory=memory,
        parallel=parallel,
        replay_seconds=replay_seconds,
    )
    try:
        asyncio.run(observe(settings))
    except OSError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the console script."""
    app()

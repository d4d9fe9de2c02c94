"""``kubectl md``: look at ModelDeployments and tell the operator what you decided.

Everything heavy is imported inside the commands, so that ``--help`` is there at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tidegate.people.problem import EXIT_PROBLEM, Problem

if TYPE_CHECKING:
    from datetime import timedelta

    from tidegate.people.cluster import Cluster

EXIT_CODES = """Exit codes: status: 0 Ready, 1 failed, given up, Stalled or suspended, 2 still under way; with --watch
3 when time is up. promote, abort, retry, rollback: 0 carried out, 1 refused, 3 not seen in time. Every command: 4 when
it is not written rightly or the cluster cannot be asked, 130 when it is interrupted."""

app = typer.Typer(
    help="Look at ModelDeployments, and promote, abort, retry or roll back what they run.",
    epilog=EXIT_CODES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Output(StrEnum):
    """Form of what is shown."""

    text = "text"
    json = "json"


class Ended(Exception):
    """A command came to its end, with this exit code."""

    def __init__(self, code: int) -> None:
        self.code = code


@dataclass(frozen=True)
class Where:
    """The cluster and the namespace, as far as they were named."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    def or_else(self, other: Where) -> Where:
        """What is not named here is taken from ``other``."""
        return Where(
            self.namespace or other.namespace, self.context or other.context, self.kubeconfig or other.kubeconfig
        )


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the ModelDeployment: NAME or md/NAME.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace; the context's if not given.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="Form of what is shown.")]
Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait at most, such as 90s or 10m.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the operator's answer.")]


@app.callback()
def _root(
    ctx: typer.Context, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None
) -> None:
    ctx.obj = Where(namespace, context, kubeconfig)


@dataclass(frozen=True)
class Session:
    """The cluster, the namespace, and the name that was given."""

    cluster: Cluster
    namespace: str
    name: str


def _session(ctx: typer.Context, where: Where, name: str = "") -> Session:
    """Connect. Raises Problem when there is nothing to connect to, or the name is none."""
    from tidegate.adapters.api import ApiServer
    from tidegate.adapters.errors import Unavailable
    from tidegate.adapters.kubeconfig import person
    from tidegate.people.cluster import Cluster
    from tidegate.people.words import bare

    where = where.or_else(ctx.obj)
    try:
        plain = bare(name) if name else ""
        client, namespace = person(str(where.kubeconfig) if where.kubeconfig else None, where.context)
    except (ValueError, Unavailable) as error:
        said = str(error)
        raise Problem(said[:1].upper() + said[1:]) from error
    return Session(Cluster(ApiServer(client)), where.namespace or namespace, plain)


def _duration(text: str) -> timedelta:
    from tidegate.api.types import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Problem(f"--timeout: {error}") from error


@app.command(epilog=EXIT_CODES)
def get(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="NAME or md/NAME; all if not given.")] = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Those of all namespaces.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Format = Output.text,
) -> None:
    """List ModelDeployments: model, phase, pods, weight, revision, reason and age."""
    from tidegate.people import commands

    session = _session(ctx, Where(namespace, context, kubeconfig), name or "")
    everything = None if everywhere else session.namespace
    raise Ended(commands.get(session.cluster, everything, session.name, as_json=output is Output.json))


@app.command(epilog=EXIT_CODES)
def status(
    ctx: typer.Context,
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it is Ready or will not be.")] = False,
    timeout: Timeout = "10m",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Format = Output.text,
) -> None:
    """Show where a rollout is: steps, weights, checks with their evidence, pods, and what is amiss."""
    from tidegate.people import commands

    limit = _duration(timeout)
    s = _session(ctx, Where(namespace, context, kubeconfig), name)
    if watch:
        raise Ended(commands.follow(s.cluster, s.namespace, s.name, limit, as_json=output is Output.json))
    raise Ended(commands.status(s.cluster, s.namespace, s.name, as_json=output is Output.json))


@app.command(epilog=EXIT_CODES)
def promote(
    ctx: typer.Context,
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Skip every step that is left, not only this one.")] = False,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Go on to the next step now; after a promotion, let the warm revision go."""
    where = Where(namespace, context, kubeconfig)
    _ask(ctx, where, name, "promote", "full" if full else "", None if no_wait else timeout)


@app.command(epilog=EXIT_CODES)
def abort(
    ctx: typer.Context,
    name: Name,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Give up the rollout under way, or while it is warm, go back to the former revision."""
    _ask(ctx, Where(namespace, context, kubeconfig), name, "abort", "", None if no_wait else timeout)


@app.command(epilog=EXIT_CODES)
def retry(
    ctx: typer.Context,
    name: Name,
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Try again what spec asks for, after it was given up."""
    _ask(ctx, Where(namespace, context, kubeconfig), name, "retry", "", None if no_wait else timeout)


@app.command(epilog=EXIT_CODES)
def rollback(
    ctx: typer.Context,
    name: Name,
    to: Annotated[str, typer.Option("--to", metavar="REVISION", help="One of history; else the one before.")] = "",
    timeout: Timeout = "30s",
    no_wait: NoWait = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Go back to a revision that had all requests before, until spec asks for something else."""
    _ask(ctx, Where(namespace, context, kubeconfig), name, "rollback-to", to, None if no_wait else timeout)


def _ask(ctx: typer.Context, where: Where, name: str, verb: str, argument: str, timeout: str | None) -> NoReturn:
    from tidegate.people.requesting import Asking, ask

    limit = _duration(timeout) if timeout is not None else None
    session = _session(ctx, where, name)
    raise Ended(ask(session.cluster, Asking(session.namespace, session.name, verb, argument, limit), print))


@app.command(epilog=EXIT_CODES)
def pause(
    ctx: typer.Context,
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Hold the rollout at its weight, by spec.paused; the checks go on."""
    from tidegate.people import commands

    session = _session(ctx, Where(namespace, context, kubeconfig), name)
    raise Ended(commands.set_paused(session.cluster, session.namespace, session.name, paused=True))


@app.command(epilog=EXIT_CODES)
def resume(
    ctx: typer.Context,
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a paused rollout go on, by spec.paused."""
    from tidegate.people import commands

    session = _session(ctx, Where(namespace, context, kubeconfig), name)
    raise Ended(commands.set_paused(session.cluster, session.namespace, session.name, paused=False))


@app.command(epilog=EXIT_CODES)
def history(
    ctx: typer.Context,
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Format = Output.text,
) -> None:
    """List the revisions that had all requests: digest, address, when, and which are stable, canary or warm."""
    from tidegate.people import commands

    session = _session(ctx, Where(namespace, context, kubeconfig), name)
    raise Ended(commands.history(session.cluster, session.namespace, session.name, as_json=output is Output.json))


@app.command(epilog=EXIT_CODES)
def explain(
    ctx: typer.Context,
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Format = Output.text,
) -> None:
    """Say in sentences why it is where it is, and what to do next."""
    from tidegate.people import commands

    session = _session(ctx, Where(namespace, context, kubeconfig), name)
    raise Ended(commands.explain(session.cluster, session.namespace, session.name, as_json=output is Output.json))


def run(arguments: list[str]) -> int:
    """Carry out one command line; returns the exit code."""
    try:
        app(args=arguments or ["--help"], prog_name="kubectl md")
    except Ended as end:
        return end.code
    except SystemExit as end:
        # Help ends with 0. What typer says of a wrong command line has a code that status means something else by.
        return EXIT_PROBLEM if end.code else 0
    except Exception as error:
        if not isinstance(error, Problem):
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_PROBLEM
    return 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))

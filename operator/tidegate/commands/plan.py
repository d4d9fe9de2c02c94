"""``tidegate plan``: what a change would do, without doing it."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from tidegate.domain.snapshot import Snapshot
    from tidegate.planning.documents import Document, Documents
    from tidegate.planning.outlook import Outlook

EPILOG = (
    "Exit codes, as of terraform plan -detailed-exitcode: 0 nothing would change, 2 something would change, 1 the "
    "change is refused, or it could not be found out."
)
UNCHANGED, FAILED, CHANGES = 0, 1, 2
USAGE = 2


class PlanOutput(StrEnum):
    """How the plan is written."""

    TEXT = "text"
    JSON = "json"


class PlanCommand(TyperCommand):
    """Ends wrong usage with 1: 2 is what a change ends with."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the options."""
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            if getattr(error, "exit_code", None) == USAGE:
                error.exit_code = FAILED  # type: ignore[attr-defined]
            raise


class PlanError(Exception):
    """Why nothing can be told, in one sentence."""


def plan(
    filename: Annotated[
        Path | None, typer.Option("--filename", "-f", help="YAML or JSON with ModelDeployments; - is standard input.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace where the file names none; else the context's.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig; else the current one.")] = None,
    snapshot: Annotated[
        Path | None, typer.Option(help="Decide again from this file instead of a cluster; -f replaces its change.")
    ] = None,
    save_snapshot: Annotated[
        Path | None,
        typer.Option(
            help="Also write what the decision is made from to this file: the objects around the ModelDeployment and "
            "the ends of failed servers' logs, never a Secret."
        ),
    ] = None,
    output: Annotated[PlanOutput, typer.Option("--output", "-o", help="Form of the result.")] = PlanOutput.TEXT,
) -> None:
    """Show what applying a file would do, without doing it.

    The cluster is only read, and the decision is the operator's own: whether there is a new revision and why, its
    steps and pods, what would be written, what is refused and what would have to be waited for.
    """
    from tidegate.adapters.errors import ApiError

    try:
        if snapshot:
            outlooks = _again(snapshot, filename, namespace, save_snapshot)
        else:
            outlooks = list(_live(filename, namespace, context, save_snapshot))
    except (PlanError, ApiError) as error:
        typer.echo(f"tidegate: {error}", err=True)
        raise typer.Exit(FAILED) from error
    _write(outlooks, output)
    outcomes = {outlook.outcome for outlook in outlooks}
    raise typer.Exit(FAILED if "Refused" in outcomes else CHANGES if "Changes" in outcomes else UNCHANGED)


def _write(outlooks: "list[Outlook]", output: PlanOutput) -> None:
    from tidegate.planning.render import text

    if output is PlanOutput.JSON:
        sys.stdout.write(json.dumps([outlook.to_wire() for outlook in outlooks], indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(text(outlook) for outlook in outlooks))


def _documents(filename: Path) -> "Documents":
    from tidegate.planning.documents import read

    place = "standard input" if str(filename) == "-" else str(filename)
    try:
        found = read(sys.stdin.read() if str(filename) == "-" else filename.read_text(encoding="utf-8"), place)
    except OSError as error:
        raise PlanError(f"{place} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PlanError(str(error) if place in str(error) else f"{place}: {error}") from error
    for skipped in found.skipped:
        typer.echo(f"tidegate: {skipped} is left out: only ModelDeployments are planned", err=True)
    return found


def _in_namespace(document: "Document", namespace: str | None, default: str) -> "Document":
    from dataclasses import replace

    if namespace and document.namespace and namespace != document.namespace:
        raise PlanError(
            f"{document.name} is in namespace {document.namespace} by its file, and --namespace says {namespace}"
        )
    return replace(document, namespace=document.namespace or namespace or default)


def _live(filename: Path | None, namespace: str | None, context: str | None, save: Path | None) -> "Iterator[Outlook]":
    """Outlooks from a cluster, which is only read."""
    from tidegate.adapters.api import ApiServer
    from tidegate.adapters.envoy import EnvoyTelemetry
    from tidegate.adapters.kube import KubeCluster
    from tidegate.adapters.kubeconfig import in_pod, person
    from tidegate.adapters.proxied import ProxiedTelemetry
    from tidegate.domain.revision import Pins
    from tidegate.planning.ahead import look_ahead
    from tidegate.planning.outlook import refusal
    from tidegate.planning.taking import Refused, take

    if filename is None:
        raise PlanError("name a file with -f, or a snapshot with --snapshot")
    models = _documents(filename).models
    if save and len(models) > 1:
        raise PlanError(f"--save-snapshot takes one ModelDeployment, and {filename} holds {len(models)}")
    client, default = person(context=context)
    api = ApiServer(client, may_write=lambda: False)
    cluster = KubeCluster(api, Pins(packager_image="unknown"), "tidegate-plan", gateway_api=True)
    telemetry = EnvoyTelemetry() if in_pod(context=context) else ProxiedTelemetry(api)
    for model in models:
        document = _in_namespace(model, namespace, default)
        try:
            taken, notes = take(cluster, telemetry, document, datetime.now(UTC))
        except Refused as refused:
            yield refusal(document.namespace, document.name, refused.sentences)
            continue
        if save:
            _save(taken, save)
        yield look_ahead(taken).model_copy(update={"notes": notes})


def _save(taken: "Snapshot", path: Path) -> None:
    from tidegate.domain.snapshot import to_text

    try:
        path.write_text(to_text(taken), encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path} cannot be written: {error.strerror}") from error


def _again(path: Path, filename: Path | None, namespace: str | None, save: Path | None) -> "list[Outlook]":
    """The outlook from a snapshot; no cluster is asked."""
    from tidegate.domain.snapshot import from_text
    from tidegate.planning.ahead import look_ahead
    from tidegate.planning.documents import checked
    from tidegate.planning.outlook import refusal

    if save:
        raise PlanError("--save-snapshot writes what is read from a cluster: leave out --snapshot")
    try:
        taken = from_text(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PlanError(f"{path} cannot be used: {error}") from error
    if filename:
        subject = taken.observed.subject
        models = [_in_namespace(m, namespace, subject.namespace) for m in _documents(filename).models]
        mine = [m for m in models if (m.namespace, m.name) == (subject.namespace, subject.name)]
        if not mine:
            raise PlanError(f"{path} is of {subject.namespace}/{subject.name}, which {filename} does not hold")
        spec, broken = checked(mine[0])
        if spec is None:
            return [refusal(subject.namespace, subject.name, broken)]
        taken = taken.model_copy(update={"proposed": spec})
    try:
        return [look_ahead(taken)]
    except ValueError as error:
        raise PlanError(f"{path} cannot be used: {error}") from error

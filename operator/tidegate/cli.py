"""``tidegate``: run the operator, or print what it is made of."""

import json
import logging
import sys
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _logging(style: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if style == "json" else plain)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("kopf.objects", "kubernetes.client.rest", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _resources(text: str) -> dict[str, dict[str, str]]:
    """The value of --router-resources. Ends the program with a sentence when it is not what it should be."""
    wrong = typer.BadParameter(
        f'{text!r} is not JSON such as {{"requests": {{"cpu": "100m"}}}}', param_hint="--router-resources"
    )
    try:
        found = json.loads(text)
        known = {kind: {k: str(v) for k, v in found[kind].items()} for kind in found}
    except (ValueError, AttributeError, TypeError) as error:
        raise wrong from error
    if not set(known) <= {"requests", "limits"}:
        raise wrong
    return known


@app.command()
def run(
    packager_image: Annotated[str, typer.Option(envvar="TIDEGATE_PACKAGER_IMAGE", help="Image of model-packager.")],
    router_image: Annotated[str, typer.Option(envvar="TIDEGATE_ROUTER_IMAGE", help="Image of Envoy.")],
    router_replicas: Annotated[int, typer.Option(envvar="TIDEGATE_ROUTER_REPLICAS", min=1)] = 2,
    router_resources: Annotated[
        str, typer.Option(envvar="TIDEGATE_ROUTER_RESOURCES", help="JSON: requests and limits of a router.")
    ] = "{}",
    drain_seconds: Annotated[int, typer.Option(envvar="TIDEGATE_DRAIN_SECONDS", min=0, max=600)] = 40,
    watch_namespace: Annotated[list[str] | None, typer.Option(help="Only these namespaces; all when absent.")] = None,
    lease_namespace: Annotated[str, typer.Option(envvar="TIDEGATE_LEASE_NAMESPACE")] = "tidegate-system",
    lease_name: Annotated[str, typer.Option(envvar="TIDEGATE_LEASE_NAME")] = "tidegate-operator",
    metrics_port: Annotated[int, typer.Option(envvar="TIDEGATE_METRICS_PORT", help="0 serves none.")] = 8080,
    workers: Annotated[int, typer.Option(envvar="TIDEGATE_WORKERS", min=1, max=64)] = 8,
    cluster_domain: Annotated[str, typer.Option(envvar="TIDEGATE_CLUSTER_DOMAIN")] = "cluster.local",
    log_format: Annotated[str, typer.Option(envvar="TIDEGATE_LOG_FORMAT", help="json or text")] = "text",
    log_level: Annotated[str, typer.Option(envvar="TIDEGATE_LOG_LEVEL")] = "info",
) -> None:
    """Run the operator until it is told to stop."""
    from tidegate.resources.settings import DEFAULT_LIMITS, DEFAULT_REQUESTS, Settings
    from tidegate.runtime.app import Options, main

    _logging(log_format, log_level)
    resources = _resources(router_resources)
    settings = Settings(
        packager_image=packager_image,
        router_image=router_image,
        router_replicas=router_replicas,
        drain_seconds=drain_seconds,
        router_requests=resources.get("requests", DEFAULT_REQUESTS),
        router_limits=resources.get("limits", DEFAULT_LIMITS),
        operator_namespace=lease_namespace,
        cluster_domain=cluster_domain,
    )
    options = Options(
        settings=settings,
        namespaces=tuple(watch_namespace or ()),
        lease_namespace=lease_namespace,
        lease_name=lease_name,
        metrics_port=metrics_port,
        workers=workers,
    )
    raise typer.Exit(main(options))


@app.command()
def crd() -> None:
    """Print the CustomResourceDefinition."""
    from tidegate.api.crd import render

    sys.stdout.write(render())


@app.command()
def version() -> None:
    """Print the version."""
    from tidegate import __version__

    sys.stdout.write(f"{__version__}\n")


def main() -> None:
    """Entry point of the console script."""
    app()

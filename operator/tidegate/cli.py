"""``tidegate``: run the operator, see what a change would do, or print what it is made of."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.api.types import QUANTITY_PATTERN
from tidegate.commands import plan, simulate

if TYPE_CHECKING:
    from tidegate.adapters.prometheus import Prometheus

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.command(cls=plan.PlanCommand, epilog=plan.EPILOG)(plan.plan)
app.add_typer(simulate.app, name="simulate")


class LogFormat(StrEnum):
    """How the log is written."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class JsonFormatter(logging.Formatter):
    """One JSON object a line; times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _logging(style: LogFormat, level: LogLevel) -> None:
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if style is LogFormat.JSON else plain)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("kopf.objects", "kubernetes.client.rest", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _resources(text: str) -> dict[str, dict[str, str]]:
    """The value of --router-resources. Ends the program with a sentence when it is not what it should be."""
    wrong = typer.BadParameter(
        f'{text!r} is not JSON such as {{"requests": {{"cpu": "100m"}}, "limits": {{"memory": "512Mi"}}}}',
        param_hint="--router-resources",
    )
    try:
        # Amounts stay as they are written, 0.5 as well as "500m".
        found = json.loads(text, parse_int=str, parse_float=str)
        amounts = [amount for kind in found.values() for amount in kind.values()]
    except (ValueError, AttributeError) as error:
        raise wrong from error
    known = set(found) <= {"requests", "limits"}
    if not known or not all(isinstance(a, str) and re.fullmatch(QUANTITY_PATTERN, a) for a in amounts):
        raise wrong
    return dict(found)


def _prometheus(url: str, token_file: Path | None, ca_file: Path | None) -> "Prometheus | None":
    """The Prometheus that is asked; None when there is none. Ends the program with a sentence when it cannot work."""
    from tidegate.adapters.prometheus import Prometheus, PrometheusSettings

    if not url and (token_file or ca_file):
        raise typer.BadParameter("a token or certificates without an address", param_hint="--prometheus-url")
    try:
        return Prometheus(PrometheusSettings(url, token_file, ca_file)) if url else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--prometheus-url") from error


PrometheusUrl = Annotated[
    str, typer.Option(envvar="TIDEGATE_PROMETHEUS_URL", help="Address that PromQL checks are asked of.")
]
GatewayApi = Annotated[
    bool, typer.Option(envvar="TIDEGATE_GATEWAY_API", help="Let models be routed by a Gateway of the Gateway API.")
]


@app.command()
def run(
    packager_image: Annotated[str, typer.Option(envvar="TIDEGATE_PACKAGER_IMAGE", help="Image of model-packager.")],
    router_image: Annotated[str, typer.Option(envvar="TIDEGATE_ROUTER_IMAGE", help="Image of Envoy.")],
    observer_image: Annotated[str, typer.Option(envvar="TIDEGATE_OBSERVER_IMAGE", help="Image of model-observer.")],
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
    prometheus_url: PrometheusUrl = "",
    prometheus_token_file: Annotated[
        Path | None, typer.Option(envvar="TIDEGATE_PROMETHEUS_TOKEN_FILE", help="File with a bearer token for it.")
    ] = None,
    prometheus_ca_file: Annotated[
        Path | None, typer.Option(envvar="TIDEGATE_PROMETHEUS_CA_FILE", help="Certificates that vouch for it, as PEM.")
    ] = None,
    gateway_api: GatewayApi = False,
    log_format: Annotated[LogFormat, typer.Option(envvar="TIDEGATE_LOG_FORMAT")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(envvar="TIDEGATE_LOG_LEVEL")] = LogLevel.INFO,
) -> None:
    """Run the operator until it is told to stop."""
    from tidegate.adapters.errors import ApiError
    from tidegate.resources.settings import DEFAULT_LIMITS, DEFAULT_REQUESTS, Settings
    from tidegate.runtime.app import Options, main

    _logging(log_format, log_level)
    resources = _resources(router_resources)
    settings = Settings(
        packager_image=packager_image,
        observer_image=observer_image,
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
        prometheus=_prometheus(prometheus_url, prometheus_token_file, prometheus_ca_file),
        gateway_api=gateway_api,
    )
    try:
        raise typer.Exit(main(options))
    except ApiError as error:
        typer.echo(f"tidegate: {error}", err=True)
        raise typer.Exit(1) from None


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

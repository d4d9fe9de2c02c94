"""``tidegate simulate scaling``: what a scaling policy would do to traffic, and what it would cost."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidegate.simulation.compare import Row, Score
from tidegate.simulation.model import Model
from tidegate.simulation.ours import Tidegate
from tidegate.simulation.plot import svg
from tidegate.simulation.rivals import HorizontalPodAutoscaler, KnativePodAutoscaler
from tidegate.simulation.run import Scaler
from tidegate.simulation.traffic import GENERATORS, BadTraffic, generate, read

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class PolicyName(StrEnum):
    """Policies that can be simulated."""

    ALL = "all"
    TIDEGATE = "tidegate"
    HPA = "hpa"
    KPA = "kpa"
    STATIC = "static"


def policies(row: Row, name: PolicyName, percentile: float, profile_factor: float) -> list[Scaler]:
    """The policies behind a name, with the fixed fleets and bounds for ``all`` and ``static``."""
    ours = Tidegate.of(row.model, row.most, percentile=percentile, profile_factor=profile_factor)
    published = row.published()
    chosen: dict[PolicyName, Sequence[Scaler]] = {
        PolicyName.ALL: [ours, *published, *row.bounds()],
        PolicyName.TIDEGATE: [ours],
        PolicyName.HPA: [each for each in published if isinstance(each, HorizontalPodAutoscaler)],
        PolicyName.KPA: [each for each in published if isinstance(each, KnativePodAutoscaler)],
        PolicyName.STATIC: row.bounds(),
    }
    return list(chosen[name])


def _refuse(sentence: str) -> typer.Exit:
    typer.echo(f"tidegate: {sentence}", err=True)
    return typer.Exit(2)


def _model(startup: float, service_ms: float, each_ms: float, batch: int, instances: int, limit_ms: float) -> Model:
    model = Model(
        fixed=service_ms / 1000,
        each=each_ms / 1000,
        max_batch=batch,
        instances=instances,
        startup=startup,
        limit=limit_ms / 1000,
    )
    if model.patience <= 0:
        raise _refuse(
            f"a batch of {batch} takes {model.seconds(batch) * 1000:g} ms and the objective is {limit_ms:g} ms: "
            "no fleet can keep it; raise --limit-ms, or lower --batch or --service-ms"
        )
    return model


@app.command()
def scaling(
    traffic: Annotated[
        str, typer.Option(help=f"One of {', '.join(GENERATORS)}, or a CSV with arrival times in seconds.")
    ] = "bursty",
    policy: Annotated[PolicyName, typer.Option(help="Which policies to play.")] = PolicyName.ALL,
    startup: Annotated[float, typer.Option(min=0, max=3600, help="Seconds until a new replica serves.")] = 60.0,
    seconds: Annotated[int, typer.Option(min=60, max=604_800, help="Length of generated traffic.")] = 7200,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="Mean rate of generated traffic.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of generated traffic.")] = 1,
    service_ms: Annotated[float, typer.Option(min=0.1, help="Time of a batch, without its requests' share.")] = 200.0,
    each_ms: Annotated[float, typer.Option(min=0, help="Time that each request adds to its batch.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Most requests of a batch.")] = 1,
    instances: Annotated[int, typer.Option(min=1, max=64, help="Instances of the model in a replica.")] = 1,
    limit_ms: Annotated[float, typer.Option(min=1, help="The objective's latency.")] = 800.0,
    percentile: Annotated[float, typer.Option(min=50, max=99.9, help="The objective's percentile.")] = 95.0,
    profile_factor: Annotated[float, typer.Option(min=0.01, max=100, help="How wrong the profile is.")] = 1.0,
    most: Annotated[int, typer.Option("--max-replicas", min=1, max=1000)] = 60,
    plot: Annotated[Path | None, typer.Option(help="Folder for a picture (SVG) of each policy's run.")] = None,
) -> None:
    """Replay traffic against every policy and print cost over the optimum, share inside the objective and price."""
    model = _model(startup, service_ms, each_ms, batch, instances, limit_ms)
    try:
        arrivals = generate(traffic, seconds, rate, seed) if traffic in GENERATORS else read(Path(traffic))
    except BadTraffic as error:
        raise _refuse(str(error) + ("" if "." in traffic else f"; generators are {', '.join(GENERATORS)}")) from error
    if not len(arrivals):
        raise _refuse("the traffic has no requests: raise --rate or --seconds")
    row = Row(arrivals, model, most)
    typer.echo(f"{len(arrivals)} requests; optimum {row.optimum.cost:,.0f} replica seconds\n")
    typer.echo(f"{'policy':22} {'cost':>6} {'inside':>8} {'price':>7} {'changes':>8}")
    for scaler in policies(row, policy, percentile, profile_factor):
        outcome = row.play(scaler)
        score = row.judge(outcome)
        typer.echo(_line(score))
        if plot:
            plot.mkdir(parents=True, exist_ok=True)
            name = "".join(letter if letter.isalnum() else "-" for letter in outcome.policy.lower())
            (plot / f"{name}.svg").write_text(svg(outcome, model, score.cost), encoding="utf-8")


def _line(score: Score) -> str:
    return f"{score.policy:22} {score.cost:6.2f} {score.inside:7.2f}% {score.price:7.2f} {score.changes:8}"

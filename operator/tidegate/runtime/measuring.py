"""What a decision rests on besides objects: counts of the routers, answers to queries, the cluster's room."""

from collections.abc import Mapping
from dataclasses import replace

from tidegate.api.autoscaling import Autoscaling
from tidegate.domain.checks.queries import QueryAnswer
from tidegate.domain.checks.templates import expand
from tidegate.domain.checks.windows import Window
from tidegate.domain.observed import Observed, Subject
from tidegate.domain.rollout.gate import watched
from tidegate.domain.rollout.people import requests
from tidegate.domain.rollout.planning import needs_capacity
from tidegate.domain.scaling.load import Live, Reading, sample, total
from tidegate.ports import Clock, Cluster, Found, Observers, Queries, Servers, Telemetry
from tidegate.runtime.meter import Measured, Meter, Taken

SHORTEST = 0.75
"""Looks at the size are no closer, in intervals: events come in bursts, and a moment says little of demand."""
NO_PROMETHEUS = "the operator knows no Prometheus: install it with prometheus.url"


class Measuring:
    """Adds to a snapshot what was measured; every part is asked only while a decision needs it."""

    def __init__(
        self,
        cluster: Cluster,
        telemetry: Telemetry,
        clock: Clock,
        meter: Meter,
        *,
        queries: Queries | None,
        observers: Observers | None,
        servers: Servers | None,
    ) -> None:
        self._cluster = cluster
        self._telemetry = telemetry
        self._clock = clock
        self._meter = meter
        self._queries = queries
        self._observers = observers
        self._servers = servers

    def measure(self, found: Found, observed: Observed) -> tuple[Observed, Taken]:
        """The snapshot with everything measured, and the counts from which the next windows may begin."""
        pair, subject = watched(found.status), found.subject
        scaling = None if found.spec.suspend else found.spec.autoscaling
        sized = subject.name if scaling else ""
        reports = self._telemetry.reports(observed.routers(), observed.table(), pair or (), sized)
        observed = replace(observed, reports=reports, requests=requests(found.raw["metadata"].get("annotations", {})))
        if needs_capacity(found.status):
            observed = replace(observed, capacity=self._cluster.capacity(subject.namespace))
        observed, reading = self._sized(subject, observed, scaling) if scaling else (observed, None)
        if not scaling:
            self._meter.unsized(subject.namespace, subject.name)
        if pair is None:
            self._meter.compare_no_more(subject.namespace, subject.name)
            return observed, Taken(reading=reading)
        compared = self._observers.comparisons(observed.observers()) if self._observers else {}
        observed = replace(observed, watched={pod: found.plan for pod, found in compared.items()})
        measured = Measured(pair, self._clock.now(), {r.pod: r for r in reports}, compared)
        window = self._meter.window(subject.namespace, subject.name, measured)
        return replace(observed, window=self._asked(found, pair, window)), Taken(measured, reading)

    def _sized(self, subject: Subject, observed: Observed, scaling: Autoscaling) -> tuple[Observed, Reading | None]:
        """The snapshot with what the size is decided by, and the counts to begin the next look with, once it is due."""
        route = observed.table().routes.get(subject.name)
        serving = [pod for b in (route.backends if route else ()) if b.weight for pod in observed.pods(b.revision)]
        ready = [pod for pod in serving if pod.ready]
        now, last = self._clock.now().timestamp(), self._meter.sized(subject.namespace, subject.name)
        if last and 0 <= now - last[0].at < SHORTEST * scaling.interval.total_seconds():
            return replace(observed, scaling=Live(None, last[1])), None
        counted = self._servers.served(ready) if self._servers else {}
        reading = Reading(now, total((r.pod, r.loads) for r in observed.reports if r.reachable), counted)
        if last is None:
            return observed, reading
        seen = sample(last[0], reading, ready=len(ready), starting=len(serving) - len(ready))
        return replace(observed, scaling=Live(seen, last[1])), reading

    def _asked(self, found: Found, pair: tuple[str, str], window: Window | None) -> Window | None:
        """The window with the answers to the queries of spec, once it is long enough for a look."""
        analysis = found.spec.rollout.analysis
        texts = {check.name: check.prometheus.query for check in analysis.checks or () if check.prometheus}
        if window is None or not texts or window.seconds < analysis.interval.total_seconds():
            return window
        names = {"namespace": found.subject.namespace, "model": found.subject.name}
        answers = self._answers(texts, names | {"stable": pair[0], "canary": pair[1]})
        return replace(
            window,
            values={name: answer.value for name, answer in answers.items() if answer.value is not None},
            reasons={name: answer.why for name, answer in answers.items() if answer.why},
        )

    def _answers(self, texts: Mapping[str, str], names: Mapping[str, str]) -> dict[str, QueryAnswer]:
        if self._queries is None:
            return {name: QueryAnswer(None, NO_PROMETHEUS) for name in texts}
        found: dict[str, QueryAnswer] = {}
        ready: dict[str, str] = {}
        for name, text in texts.items():
            try:
                ready[name] = expand(text, names)
            except ValueError as error:
                found[name] = QueryAnswer(None, str(error))
        return found | dict(self._queries.values(ready))

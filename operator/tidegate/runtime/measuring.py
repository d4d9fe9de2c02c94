"""What a decision rests on besides objects: counts of the routers, answers to queries, the cluster's room."""

from collections.abc import Mapping
from dataclasses import replace

from tidegate.domain.checks.queries import QueryAnswer
from tidegate.domain.checks.templates import expand
from tidegate.domain.checks.windows import Window
from tidegate.domain.observed import Observed
from tidegate.domain.rollout.gate import watched
from tidegate.domain.rollout.people import requests
from tidegate.domain.rollout.planning import needs_capacity
from tidegate.ports import Clock, Cluster, Found, Observers, Queries, Telemetry
from tidegate.runtime.meter import Measured, Meter

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
    ) -> None:
        self._cluster = cluster
        self._telemetry = telemetry
        self._clock = clock
        self._meter = meter
        self._queries = queries
        self._observers = observers

    def measure(self, found: Found, observed: Observed) -> tuple[Observed, Measured | None]:
        """The snapshot with everything measured, and the routers' counts, from which the next window may begin."""
        pair, subject = watched(found.status), found.subject
        reports = self._telemetry.reports(observed.routers(), observed.table(), pair or ())
        observed = replace(observed, reports=reports, requests=requests(found.raw["metadata"].get("annotations", {})))
        if needs_capacity(found.status):
            observed = replace(observed, capacity=self._cluster.capacity(subject.namespace))
        if pair is None:
            self._meter.forget(subject.namespace, subject.name)
            return observed, None
        compared = self._observers.comparisons(observed.observers()) if self._observers else {}
        observed = replace(observed, watched={pod: found.plan for pod, found in compared.items()})
        measured = Measured(pair, self._clock.now(), {r.pod: r for r in reports}, compared)
        window = self._meter.window(subject.namespace, subject.name, measured)
        return replace(observed, window=self._asked(found, pair, window)), measured

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

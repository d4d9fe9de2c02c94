"""The API server as a person's command uses it: every failure is one sentence that says what to do."""

import time
from collections.abc import Mapping
from typing import Any

from tidegate.adapters.api import ApiServer
from tidegate.adapters.errors import ApiError, Forbidden, NotFound, Unavailable
from tidegate.api.v1alpha1 import GROUP, KIND, PLURAL, VERSION
from tidegate.people.model import Event, Model, read, read_event
from tidegate.people.problem import Missing, NotAllowed, NotAnswering, Problem

ROOT = f"/apis/{GROUP}/{VERSION}"
RESOURCE = f"{PLURAL}.{GROUP}"
MANAGER = "kubectl-md"
"""Field manager of what people write."""
MERGE = "application/merge-patch+json"
TRIES = 2
"""How often a request is sent that was not answered. Nothing that is sent does harm when it is sent twice."""
PAUSE_SECONDS = 0.5


def pause(seconds: float) -> None:
    """Let time pass between two looks."""
    time.sleep(seconds)


class Cluster:
    """Reads and writes of one person."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    def get(self, namespace: str, name: str) -> Model:
        """The ModelDeployment. Raises Problem like every method here."""
        return self._one("get", namespace, name, "GET")

    def find_all(self, namespace: str | None) -> list[Model]:
        """All of a namespace, or of all namespaces, by name."""
        path = _path(namespace) if namespace else f"{ROOT}/{PLURAL}"
        found = [read(item) for item in self._ask("list", RESOURCE, namespace, "GET", path)["items"]]
        return sorted(found, key=lambda model: (model.namespace, model.name))

    def events(self, model: Model) -> list[Event]:
        """Events about exactly this object."""
        path = f"/api/v1/namespaces/{model.namespace}/events"
        query = [("fieldSelector", f"involvedObject.uid={model.uid},involvedObject.kind={KIND}")]
        answer = self._ask("list", "events", model.namespace, "GET", path, query=query)
        return [read_event(item) for item in answer["items"]]

    def patch(self, model: Model, body: Mapping[str, Any]) -> Model:
        """Merge something into the object, unless it was deleted and made anew since it was read."""
        # The API server refuses a patch that would change the uid.
        content = {**body, "metadata": {**body.get("metadata", {}), "uid": model.uid}}
        query = [("fieldManager", MANAGER)]
        return self._one("patch", model.namespace, model.name, "PATCH", query=query, body=content)

    def _one(self, verb: str, namespace: str, name: str, method: str, **sent: Any) -> Model:
        try:
            return read(self._ask(verb, RESOURCE, namespace, method, _path(namespace, name), **sent))
        except Missing as error:
            raise Missing(f"There is no ModelDeployment {name} in namespace {namespace}.") from error

    def _ask(
        self,
        verb: str,
        resource: str,
        namespace: str | None,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            return self._send(method, path, query, body)
        except Forbidden as error:
            if error.status == 401:
                raise NotAllowed("The cluster does not accept your credentials: log in again.") from error
            where = f"namespace {namespace}" if namespace else "all namespaces"
            raise NotAllowed(
                f"You may not {verb} {resource} in {where}: ask for a role that allows it, such as tidegate-"
                f"{'editor' if verb == 'patch' else 'viewer'} of the chart."
            ) from error
        except NotFound as error:
            self._check_installed()
            raise Missing(str(error)) from error
        except Unavailable as error:
            raise NotAnswering(f"The cluster does not answer: {error}") from error
        except ApiError as error:
            raise Problem(f"The cluster refuses it: {error}") from error

    def _send(
        self, method: str, path: str, query: list[tuple[str, str]] | None, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        content_type = MERGE if body is not None else None
        for _ in range(TRIES - 1):
            try:
                return self._api.request(method, path, query=query, content_type=content_type, body=body)
            except Unavailable:
                pause(PAUSE_SECONDS)
        return self._api.request(method, path, query=query, content_type=content_type, body=body)

    def _check_installed(self) -> None:
        """Raise Missing when it is the CustomResourceDefinition that is not there."""
        try:
            known = self._send("GET", ROOT, None, None)
        except NotFound as error:
            raise _not_installed() from error
        except ApiError:
            return
        if PLURAL not in {found.get("name") for found in known.get("resources", ())}:
            raise _not_installed()


def _not_installed() -> Problem:
    return Problem(f"This cluster has no {RESOURCE}: install Tidegate first (helm install tidegate charts/tidegate).")


def _path(namespace: str, name: str = "") -> str:
    return f"{ROOT}/namespaces/{namespace}/{PLURAL}" + (f"/{name}" if name else "")

"""Named failures of the world, so that nothing above the adapters knows whose client raised what."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

BODY_LIMIT = 512


class ApiError(Exception):
    """The API server could not be asked, or said no.

    ``status`` is the HTTP status of its answer, and None where there was none.
    """

    status: int | None = None


class NotFound(ApiError):
    """The object does not exist."""


class Conflict(ApiError):
    """The object changed, or somebody else owns a field."""


class Remains(Conflict):
    """Objects of a deleted predecessor of the same name are still being removed; they go by themselves."""


class Forbidden(ApiError):
    """The operator may not do this; the chart's roles are missing something, or were changed."""


class Invalid(ApiError):
    """The API server refuses the object."""


class Unavailable(ApiError):
    """The API server does not answer, or asks to come back later."""


BY_STATUS: dict[int, type[ApiError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Conflict,
    422: Invalid,
    400: Invalid,
    429: Unavailable,
}


def _message(error: ApiException) -> str:
    try:
        said = json.loads(error.body or "")["message"]
    except (TypeError, ValueError, KeyError):
        said = str(error.body or error.reason)
    return str(said)[:BODY_LIMIT]


@contextmanager
def named(action: str) -> Iterator[None]:
    """Turn the client's exceptions into ours, with what was tried."""
    try:
        yield
    except ApiException as error:
        kind = BY_STATUS.get(error.status or 0, Unavailable if (error.status or 500) >= 500 else ApiError)
        failure = kind(f"{action}: {_message(error)} (HTTP {error.status})")
        failure.status = error.status
        raise failure from error
    except (HTTPError, OSError) as error:
        raise Unavailable(f"{action}: {str(error)[:BODY_LIMIT]}") from error

"""Every name the operator gives, in one place. All are DNS labels of at most 63 characters."""

import hashlib

MAX_LABEL = 63
ROUTER = "tidegate-router"
OBSERVER = "tidegate-observer"


def router(shard: int) -> str:
    """Name of the objects of one router of a namespace: ``tidegate-router``, ``tidegate-router-1`` and so on."""
    return f"{ROUTER}-{shard}" if shard else ROUTER


def child(owner: str, suffix: str) -> str:
    """``<owner>-<suffix>``, with a long owner shortened to a stem and a hash so that two owners never meet."""
    name = f"{owner}-{suffix}"
    if len(name) <= MAX_LABEL:
        return name
    mark = hashlib.sha256(owner.encode()).hexdigest()[:6]
    stem = owner[: MAX_LABEL - len(suffix) - len(mark) - 2].rstrip("-")
    return f"{stem}-{mark}-{suffix}"


def revision(owner: str, revision_id: str) -> str:
    """Name of a revision, its Deployment, its headless Service and its ControllerRevision."""
    return child(owner, revision_id)


def backend(revision: str) -> str:
    """Name of the Service of a revision that a Gateway sends requests to."""
    return child(revision, "gateway")


def route(owner: str, kind: str) -> str:
    """Name of an HTTPRoute or a GRPCRoute: ``<owner>-http``, ``<owner>-grpc``.

    Two kinds may bear one name, but Contour (1.33) keeps what it says of routes by name alone, and one is told nothing.
    """
    return child(owner, {"HTTPRoute": "http", "GRPCRoute": "grpc"}[kind])


def resolve_job(owner: str, key: str, attempt: int) -> str:
    """Name of the Job that resolves one address; a retry is a new Job."""
    return child(owner, f"resolve-{key}-{attempt}")


def parity_job(owner: str, revision: str, attempt: int) -> str:
    """Name of the Job that replays the golden cases on the pods of a revision; a retry is a new Job."""
    return child(owner, f"parity-{revision[-8:]}-{attempt}")

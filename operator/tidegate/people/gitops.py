"""Who else writes a spec: a change by hand lasts only until they write again."""

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.domain.observed import Raw

TOOLS = {
    "argocd": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "flux": "Flux",
    "gotk": "Flux",
    "fleet": "Fleet",
    "config-sync": "Config Sync",
    "configsync": "Config Sync",
}
"""Beginnings of field managers, and whose they are."""


@dataclass(frozen=True)
class Owner:
    """A field manager of a GitOps tool, and whether it set the very field."""

    manager: str
    tool: str
    owns_field: bool


def owner_of_spec(managed_fields: Sequence[Raw], field: str) -> Owner | None:
    """The GitOps tool that wrote spec, before all the one that wrote ``field`` of it; None where there is none."""
    found = []
    for entry in managed_fields:
        manager = str(entry.get("manager", ""))
        tool = next((tool for start, tool in TOOLS.items() if manager.lower().startswith(start)), None)
        owned = (entry.get("fieldsV1") or {}).get("f:spec")
        if tool and owned is not None and not entry.get("subresource"):
            found.append(Owner(manager, tool, f"f:{field}" in owned))
    return max(found, key=lambda owner: owner.owns_field, default=None)


def warning(owner: Owner, field: str) -> str:
    """What a person should know before relying on a change by hand."""
    sets = "sets spec.%s itself and will undo this" if owner.owns_field else "writes spec and may undo this of spec.%s"
    return f"{owner.tool} (field manager {owner.manager}) {sets % field}: change it in the repository to make it last."

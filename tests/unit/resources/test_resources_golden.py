"""Promises about upgrades: what was built for a revision is built again, and a new rendering says that it is new."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from resources_examples import CPU, GPU, OTHER_SETTINGS, PLAN, SETTINGS, SIGNED, SUBJECT, TABLE, observed

from tidegate.domain import routing
from tidegate.domain.observed import Observed
from tidegate.domain.revision import Pins, StoredRevision
from tidegate.resources.build import own_objects
from tidegate.resources.envoy import files
from tidegate.resources.settings import Settings
from tidegate.resources.triton import pod_template

GOLDEN = Path(__file__).parent / "golden"


GOLDEN_PODS = [
    ("pod-template-gpu.json", GPU),
    ("pod-template-cpu.json", CPU),
    ("pod-template-signed.json", SIGNED),
]


def text(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize(("name", "stored"), GOLDEN_PODS)
def test_the_pod_template_of_a_revision_never_changes(name: str, stored: StoredRevision) -> None:
    assert text(pod_template(SUBJECT, stored)) == (GOLDEN / name).read_text(), (
        f"The pod template of an existing revision differs from {name}. Released like this, an upgrade of the "
        "operator restarts every pod of every model in every cluster. Let the change depend on something that only "
        "new revisions have (a pin). Only a change that is worth all those restarts may edit the golden file."
    )


def test_the_golden_templates_show_what_differs_between_accelerators() -> None:
    gpu, cpu = (json.loads((GOLDEN / f"pod-template-{kind}.json").read_text()) for kind in ("gpu", "cpu"))
    assert gpu["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in text(cpu)


def test_the_golden_templates_show_that_the_first_container_checks_the_signature() -> None:
    signed, plain = (json.loads((GOLDEN / f"pod-template-{kind}.json").read_text()) for kind in ("signed", "cpu"))
    (fetch,) = signed["spec"]["initContainers"]
    reference = {"name": "signing", "key": "cosign.pub"}
    assert fetch["env"][-1] == {"name": "MODEL_PACKAGER_PUBLIC_KEY", "valueFrom": {"secretKeyRef": reference}}
    assert "MODEL_PACKAGER_PUBLIC_KEY" not in text(plain)


def templates(seen: Observed, settings: Settings) -> str:
    found = [o["spec"]["template"] for o in own_objects(seen, PLAN, settings) if o["kind"] == "Deployment"]
    assert len(found) == 2
    return text(found)


def test_an_upgrade_of_the_operator_restarts_no_model_whatever_its_settings_become() -> None:
    after = replace(observed(), pins=Pins(packager_image="other/packager:2.0", drain_seconds=99))
    assert templates(observed(), SETTINGS) == templates(after, OTHER_SETTINGS)


def test_a_new_rendering_of_routes_has_a_new_number() -> None:
    rendered = files(TABLE, "vision", "cluster.local")
    found = {name: hashlib.sha256(_without_version(content).encode()).hexdigest() for name, content in rendered.items()}
    known = json.loads((GOLDEN / "rendering.json").read_text())
    changed = sorted(name for name in found | known["files"] if found.get(name) != known["files"].get(name))
    assert not changed or known["number"] != routing.RENDERING, (
        f"{', '.join(changed)} are rendered differently: raise routing.RENDERING. Routers that serve the old rendering "
        "would report the version of the new one, and the operator would believe them. Then put the new number and "
        "hashes into rendering.json."
    )
    assert {"number": routing.RENDERING, "files": found} == known, (
        "rendering.json holds another rendering than routing.RENDERING says: put the new number and hashes in."
    )


def _without_version(content: str) -> str:
    """The file as it is but for the version, which changes with every number."""
    return json.dumps(json.loads(content) | {"version_info": ""}, sort_keys=True)


def test_the_number_of_the_rendering_is_part_of_every_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions() -> list[str]:
        return [json.loads(content)["version_info"] for content in files(TABLE, "vision", "cluster.local").values()]

    before = versions()
    monkeypatch.setattr(routing, "RENDERING", routing.RENDERING + 1)
    assert not set(before) & set(versions())


def test_rendering_is_the_same_every_time() -> None:
    assert files(TABLE, "vision", "cluster.local") == files(TABLE.model_copy(deep=True), "vision", "cluster.local")

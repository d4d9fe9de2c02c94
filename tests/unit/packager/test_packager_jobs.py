"""What the operator's Jobs ask, the packager does; what the packager reports, the operator reads."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden_server import golden_server
from resources_examples import OTHER_SETTINGS, REPLAY, RESOLVE, SUBJECT
from store_actions import publish
from store_bundles import variant

from model_packager import cli
from model_packager.folder import read_manifest
from tidegate.domain.contract import comparison
from tidegate.domain.observed import JobView, Observed, PodView
from tidegate.domain.parity import parity
from tidegate.domain.plan import Base
from tidegate.domain.revision import Pins, Revision, StoredRevision
from tidegate.resources.jobs import SUCCESSOR, parity_job, resolve_job

Raw = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> str:
    (tmp_path / "store").mkdir()
    return f"file://{tmp_path}/store"


def run(job: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **places: str) -> JobView:
    """Run the containers of a Job one after the other, and return what its pod looks like then."""
    spec, statuses = job["spec"]["template"]["spec"], []
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        log = tmp_path / f"{container['name']}.log"
        told = places | {"/dev/termination-log": str(log), SUCCESSOR: str(tmp_path / "successor.json")}
        monkeypatch.setattr(sys, "argv", ["model-packager", *(told.get(word, word) for word in container["args"])])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        state = {"terminated": {"exitCode": ended.value.code, "message": log.read_text()}}
        statuses.append({"name": container["name"], "state": state})
    made = {"kind": "Pod", "metadata": {"name": "p"}, "status": {"containerStatuses": statuses}}
    return JobView(job, (PodView(made),))


def test_a_job_that_resolves_and_compares(
    bundle: Path, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bundle, store)
    uri = publish(variant(bundle, tmp_path / "next", "another card", "2"), store)
    old, new = read_manifest(bundle).digest(), read_manifest(tmp_path / "next").digest()
    base = Base(old, f"{store}/small@{old}", None)
    asked = replace(RESOLVE, uri=uri, digest=new, base=base)
    view = run(resolve_job(SUBJECT, asked, OTHER_SETTINGS), tmp_path, monkeypatch)
    resolved = view.result("resolve")
    assert resolved is not None
    assert (resolved["digest"], resolved["version"]) == (new, "2")
    found = comparison(view.result("contract"), new, base)
    assert found is not None
    assert (found.stable, found.verdict, found.message) == (old, "Compatible", "")


@pytest.mark.parametrize("right", [True, False])
def test_a_job_that_replays(
    bundle: Path, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    publish(bundle, store)
    digest = read_manifest(bundle).digest()
    asked = replace(REPLAY, uri=f"{store}/small@{digest}", digest=digest, addresses=("10.0.0.7",))
    job = parity_job(SUBJECT, asked, OTHER_SETTINGS)
    with golden_server(bundle) as server:
        if not right:
            server.spoil = lambda handler, answer, head: handler.send(answer[:-4] + b"\0\0\xf0\x40", head)
        view = run(job, tmp_path, monkeypatch, **{"10.0.0.7:8000": server.endpoint})
    labels = {"job-name": view.name}
    pod = {"kind": "Pod", **view.pods[0].raw, "metadata": {"name": "p", "labels": labels}}
    server_spec = {"image": "tidegate/triton-cpu:1.0", "accelerator": "CPU"}
    revision = Revision.model_validate(
        {"digest": digest, "uri": f"{store}/small:1", "modelName": "small", "server": server_spec}
        | {"pins": Pins(packager_image="x").to_wire()}
    )
    seen = Observed(subject=SUBJECT, pins=Pins(packager_image="x"), objects=(job, pod))
    stored = StoredRevision(name=REPLAY.revision, number=1, revision=revision)
    found = parity(seen, stored, (), now=None)  # type: ignore[arg-type]
    cases = len(read_manifest(bundle).golden.cases)
    if right:
        assert (found.verdict, found.message.split()[0]) == ("Pass", str(cases))
    else:
        assert found.verdict == "Fail"
        assert f"{cases} of {cases} answers of small are not the recorded ones" in found.message
    assert json.loads((tmp_path / "parity.log").read_text())["digest"] == digest

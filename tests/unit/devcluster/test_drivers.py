"""Which driver a command uses, and what it refuses before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import find, up
from devcluster.cli import main
from devcluster.drivers import choose_driver
from devcluster.errors import DevclusterError
from devcluster.progress import Progress


@pytest.mark.parametrize(
    ("asked", "context", "recorded", "docker", "chosen"),
    [
        ("auto", None, None, True, "kind"),
        ("auto", None, None, False, "host"),
        ("auto", "prod", None, True, "existing"),
        ("auto", None, "host", True, "host"),
        ("host", None, None, True, "host"),
    ],
)
def test_the_driver_follows_what_is_asked_recorded_and_available(
    asked: str, context: str | None, recorded: str | None, docker: bool, chosen: str
) -> None:
    assert choose_driver(asked, context=context, recorded=recorded, docker=docker) == chosen


@pytest.mark.parametrize(
    ("asked", "context", "recorded", "message"),
    [
        ("existing", None, None, "needs --context"),
        ("kind", "prod", None, "--context belongs to"),
        ("host", None, "kind", "take it down first"),
        ("minikube", None, None, "unknown driver"),
    ],
)
def test_contradictions_are_refused(asked: str, context: str | None, recorded: str | None, message: str) -> None:
    with pytest.raises(DevclusterError, match=message):
        choose_driver(asked, context=context, recorded=recorded, docker=False)


@pytest.mark.parametrize("name", ["", "Up", "a/b", "-a", "a" * 31])
def test_a_name_that_is_no_label_is_refused_before_anything_happens(name: str) -> None:
    with pytest.raises(DevclusterError, match="cannot name a cluster"):
        up(name, driver="host", progress=Progress(quiet=True))


def test_taking_down_a_cluster_that_never_was_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    cluster = find("never", Progress(quiet=True))
    cluster.down()
    assert not cluster.status().running


def test_loading_into_no_cluster_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match="devcluster up --name never"):
        main(["load", "--name", "never", "image.tar"])

"""What `up` does about every state that a killed run can leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster.host.layout import Layout, Record, load_record
from devcluster.host.recovery import Action, decide

FULL = Record(control_plane_only=False, block=128, ports=(6443, 2379, 2380), ready=True)
HALF = Record(control_plane_only=False, block=128, ports=(6443, 2379, 2380), ready=False)
BARE = Record(control_plane_only=True, block=None, ports=(1, 2, 3), ready=True)


@pytest.mark.parametrize(
    ("record", "supervisor", "problems", "bare", "remains", "action"),
    [
        pytest.param(None, False, [], False, False, Action.CREATE, id="nothing is there"),
        pytest.param(None, False, [], False, True, Action.RECREATE, id="killed before the record was written"),
        pytest.param(None, True, [], False, True, Action.RECREATE, id="record lost, processes alive"),
        pytest.param(HALF, False, [], False, True, Action.RECREATE, id="killed before the supervisor started"),
        pytest.param(HALF, True, [], False, True, Action.RECREATE, id="killed half way, processes alive"),
        pytest.param(FULL, False, [], False, True, Action.RECREATE, id="the machine was restarted"),
        pytest.param(FULL, True, ["etcd ended"], False, True, Action.RECREATE, id="a component died"),
        pytest.param(FULL, True, [], False, True, Action.KEEP, id="healthy"),
        pytest.param(FULL, True, [], True, True, Action.KEEP, id="healthy and more than asked for"),
        pytest.param(BARE, True, [], True, True, Action.KEEP, id="healthy control plane"),
        pytest.param(BARE, True, [], False, True, Action.REFUSE, id="a node is asked of a control plane in use"),
    ],
)
def test_up_recovers_from_what_it_finds(
    record: Record | None, supervisor: bool, problems: list[str], bare: bool, remains: bool, action: Action
) -> None:
    found = decide(record, supervisor=supervisor, problems=problems, control_plane_only=bare, remains=remains)
    assert found is action


def test_a_record_reads_back_as_written(tmp_path: Path) -> None:
    FULL.save(tmp_path / "cluster.json")
    assert load_record(tmp_path / "cluster.json") == FULL


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ports": [1]}', '{"ports": [1, 2, 3], "block": "x"}'])
def test_an_unreadable_record_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    assert load_record(tmp_path / "cluster.json") is None


def test_kernel_names_of_equal_cluster_names_in_different_folders_differ() -> None:
    one, other = Layout("demo", Path("/a/demo")), Layout("demo", Path("/b/demo"))
    assert one.veth != other.veth
    assert one.cgroup != other.cgroup
    assert len(one.veth) <= 15

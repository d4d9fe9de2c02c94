"""Promises of ``kubectl md status``: where a rollout is, told from real statuses of every phase."""

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import people_worlds
import pytest
from domain_world import World
from people_worlds import WORLDS, model, played, raw

from tidegate.people.model import Model, read
from tidegate.people.problem import Problem
from tidegate.people.report import Report, report_of
from tidegate.people.state import State, state_of, stuck
from tidegate.people.text import ASCII, UNICODE, change_line, marks_for, status_lines
from tidegate.people.wire import wire

STATES = {
    "unseen": State.UNDER_WAY,
    "resolving": State.UNDER_WAY,
    "starting": State.UNDER_WAY,
    "progressing": State.UNDER_WAY,
    "waiting": State.UNDER_WAY,
    "extended": State.UNDER_WAY,
    "paused": State.UNDER_WAY,
    "promoting": State.UNDER_WAY,
    "known_good": State.UNDER_WAY,
    "aborted": State.FAILED,
    "baking": State.READY,
    "gone_back": State.FAILED,
    "ready": State.READY,
    "degraded": State.FAILED,
    "failed": State.FAILED,
    "suspended": State.FAILED,
    "edited": State.UNDER_WAY,
}
PHASES = {
    "Resolving",
    "Starting",
    "Progressing",
    "Paused",
    "Promoting",
    "Aborted",
    "Baking",
    "Ready",
    "Degraded",
    "Suspended",
    "Failed",
}


@pytest.fixture(scope="session")
def worlds() -> Callable[[str], World]:
    """Worlds by name, each played once."""
    return functools.cache(lambda name: played(name))


Worlds = Callable[[str], World]


def report(world: World) -> Report:
    return report_of(model(world), world.cluster.now)


def text(world: World) -> str:
    return "\n".join(line.plain for line in status_lines(report(world), world.cluster.now))


def test_every_phase_that_the_operator_tells_is_among_the_worlds(worlds: Worlds) -> None:
    assert {str(worlds(name).status.phase) for name in WORLDS if worlds(name).status.phase} == PHASES


@pytest.mark.parametrize("name", WORLDS)
def test_a_script_learns_from_the_exit_code_how_it_stands(worlds: Worlds, name: str) -> None:
    assert state_of(model(worlds(name))) is STATES[name]


@pytest.mark.parametrize("name", WORLDS)
def test_waiting_ends_only_where_waiting_does_not_help(worlds: Worlds, name: str) -> None:
    # A store that is down comes back by itself: nobody has to start anything again.
    assert stuck(model(worlds(name))) is (name in {"aborted", "gone_back", "degraded", "suspended"})


@pytest.mark.parametrize("name", WORLDS)
def test_every_phase_is_shown_whole_in_text_and_in_json(worlds: Worlds, name: str) -> None:
    world = worlds(name)
    shown, facts = text(world), json.loads(json.dumps(wire(report(world))))
    assert shown.startswith(f"digits in vision: {facts['phase']}")
    assert facts["uri"] in shown
    assert facts["state"] == {"READY": "Ready", "FAILED": "Failed", "UNDER_WAY": "UnderWay"}[STATES[name].name]
    for revision in facts["revisions"]:
        assert revision["revision"] in shown
    for check in facts["checks"]:
        assert check["message"] in shown
    for condition in facts["conditions"]:
        assert condition["message"] in shown


def marks(world: World) -> list[tuple[str, str]]:
    found = report(world).rollout
    assert found is not None
    return [(step.mark, step.text) for step in found.step_views]


def test_steps_are_marked_as_done_current_and_coming(worlds: Worlds) -> None:
    assert marks(worlds("waiting")) == [
        ("done", "parity"),
        ("done", "weight 5 % for 1m"),
        ("current", "pause until somebody promotes"),
        ("coming", "weight 50 % for 2m"),
        ("coming", "promotion to 100 %"),
    ]
    assert "    \u2713 parity\n" in text(worlds("waiting"))
    assert "    \u25b6 pause until somebody promotes\n" in text(worlds("waiting"))


def test_a_promotion_is_the_last_step_and_a_known_good_revision_has_no_other(worlds: Worlds) -> None:
    assert [mark for mark, _ in marks(worlds("promoting"))] == ["done", "done", "current"]
    assert marks(worlds("known_good")) == [("current", "promotion to 100 %")]
    assert marks(worlds("starting")) == [], "nothing is compared with the first revision"


def test_a_rollout_that_was_given_up_shows_at_which_step_and_why(worlds: Worlds) -> None:
    assert [mark for mark, _ in marks(worlds("aborted"))] == ["failed", "coming", "coming"]
    shown = text(worlds("aborted"))
    assert "given up: AnalysisFailed" in shown
    assert shown.count("odds are over 10^6 to 1") == 2, "once as the check's evidence, once as the reason"


def test_what_is_left_of_a_hold_is_counted_down(worlds: Worlds) -> None:
    world = worlds("progressing")
    begun = world.status.rollout.step_started_at if world.status.rollout else None
    assert begun is not None

    def left(now: datetime) -> int | None:
        found = report_of(model(world), now).rollout
        return found.step_views[0].left_seconds if found else None

    assert left(begun + timedelta(seconds=20)) == 40
    assert left(begun + timedelta(minutes=5)) == 0
    assert left(begun - timedelta(minutes=5)) == 60, "a clock that is behind promises no more than the hold"
    assert "weight 10 % for 1m, 40s left" in "\n".join(
        line.plain
        for line in status_lines(report_of(model(world), begun + timedelta(seconds=20)), begun + timedelta(seconds=20))
    )


def test_the_warm_revision_is_shown_with_the_time_it_stays(worlds: Worlds) -> None:
    world = worlds("baking")
    found = report(world)
    assert [r.role for r in found.revisions] == ["stable", "warm"]
    assert found.revisions[1].revision == world.name_of(1)
    assert found.bake_left_seconds is not None
    assert 270 <= found.bake_left_seconds <= 290


def test_only_conditions_that_are_not_as_they_should_be_are_shown(worlds: Worlds) -> None:
    assert report(worlds("ready")).conditions == ()
    assert report(worlds("baking")).conditions == ()
    assert [c.types for c in report(worlds("progressing")).conditions] == [("Ready",)]
    (found,) = report(worlds("aborted")).conditions
    assert found.types == ("Ready", "CanaryHealthy", "RolledBack", "Stalled")
    assert found.since == worlds("aborted").condition("RolledBack").last_transition_time


def test_no_sentence_is_shown_twice(worlds: Worlds) -> None:
    for name in ("progressing", "starting", "paused"):
        rollout = worlds(name).status.rollout
        assert rollout is not None
        assert text(worlds(name)).count(rollout.message) == 1


def test_a_spec_that_the_operator_has_not_seen_is_not_ready_and_says_so(worlds: Worlds) -> None:
    assert "has not looked at it since" in text(worlds("edited"))
    assert "has not looked at it yet" in text(worlds("unseen"))
    assert change_line(report(worlds("edited"))).startswith("Ready (of the spec before)")


def test_the_plan_of_the_pods_is_shown(worlds: Worlds) -> None:
    item = raw(worlds("progressing"))
    item["status"]["rollout"]["plan"] = {"mode": "Surge", "extra": 1, "message": "The cluster has room for 3 pods."}
    now = worlds("progressing").cluster.now
    shown = "\n".join(line.plain for line in status_lines(report_of(read(item), now), now))
    assert "  Plan       Surge: The cluster has room for 3 pods.\n" in shown


def test_following_a_rollout_gives_a_line_for_every_change_and_none_for_time_alone() -> None:
    world = people_worlds.rolling()
    lines: list[str] = []
    while not world.ready:
        world.tick()
        line = change_line(report(world))
        if not lines or lines[-1] != line:
            lines.append(line)
    assert len(lines) == len(set(lines)), "nothing is said twice"
    assert len(lines) < 30
    assert [
        part for part in ("step 1/2 at 10 %", "step 2/2 at 50 %", "promotion") if any(part in x for x in lines)
    ] == [
        "step 1/2 at 10 %",
        "step 2/2 at 50 %",
        "promotion",
    ]
    assert lines[-1].startswith(("Ready", "Baking"))


def test_a_terminal_without_unicode_gets_plain_marks(worlds: Worlds) -> None:
    assert (marks_for("utf-8"), marks_for("UTF8"), marks_for("ascii"), marks_for("latin-1"), marks_for("")) == (
        UNICODE,
        UNICODE,
        ASCII,
        ASCII,
        ASCII,
    )
    world = worlds("waiting")
    shown = "\n".join(line.plain for line in status_lines(report(world), world.cluster.now, ASCII))
    assert shown.isascii()
    assert "    > pause until somebody promotes" in shown


def test_a_log_that_ended_up_in_a_message_cannot_steer_the_terminal(worlds: Worlds) -> None:
    item = raw(worlds("aborted"))
    item["status"]["lastFailure"]["message"] = "\x1b]0;owned\x07\x1b[2Jgone\u009b31m"
    now = worlds("aborted").cluster.now
    shown = "\n".join(line.plain for line in status_lines(report_of(read(item), now), now))
    assert "?]0;owned??[2Jgone?31m" in shown
    assert "\x1b" not in shown


def test_a_status_of_a_newer_operator_is_read_without_what_is_new(worlds: Worlds) -> None:
    item = raw(worlds("aborted"))
    item["status"] |= {"shadow": {"compared": 3}}
    item["status"]["rollout"]["aborted"]["by"] = "jane"
    item["status"]["conditions"][0]["severity"] = "high"
    item["spec"]["rollout"]["steps"][0]["label"] = "first"
    item["spec"]["somethingNew"] = True
    assert read(item) == model(worlds("aborted"))


@pytest.mark.parametrize("wrong", [{"phase": "Levitating"}, {"conditions": "none"}, {"rollout": {"step": "x"}}])
def test_a_status_that_cannot_be_read_is_one_sentence(worlds: Worlds, wrong: dict[str, Any]) -> None:
    item = raw(worlds("ready"))
    item["status"] |= wrong
    with pytest.raises(Problem, match=r"^The status of digits cannot be read \(.*\): install the kubectl md of"):
        read(item)


def test_an_object_without_status_or_most_of_its_spec_is_read() -> None:
    meta = {"name": "a", "namespace": "b", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    found: Model = read({"metadata": meta})
    assert state_of(found) is State.UNDER_WAY
    assert report_of(found, datetime(2026, 1, 2, tzinfo=UTC)).phase == "Unknown"

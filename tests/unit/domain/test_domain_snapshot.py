"""Promises about snapshots: what was decided once is decided again from the file, and the file holds no secret."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from domain_objects import edited, make_spec
from domain_world import World, serving
from hypothesis import given
from hypothesis import strategies as st
from plan_cases import seen, snapshot

from tidegate.adapters.kube import OWN_KINDS, ROUTER_KINDS
from tidegate.api.status import ModelDeploymentStatus
from tidegate.domain.compute import compute
from tidegate.domain.observed import Observed, Owner, Subject
from tidegate.domain.revision import Pins
from tidegate.domain.routing import RouterReport
from tidegate.domain.snapshot import Snapshot, from_text, to_text


def moments(world: World, seconds: int) -> Iterator[Snapshot]:
    """The world second by second."""
    for _ in range(seconds):
        world.tick()
        yield snapshot(world)


def troubled() -> Iterator[Snapshot]:
    """A life with a first start, a rollout, a sick model, a deaf router, a suspension and a way back."""
    world = World(make_spec(1, replicas=2))
    yield from moments(world, 15)
    world.move_to(2)
    yield from moments(world, 15)
    world.cluster.sick.add(world.cluster.store[make_spec(3).model.uri]["digest"])
    world.move_to(3)
    world.cluster.routers[0].reachable = False
    yield from moments(world, 10)
    world.edit(suspend=True)
    yield from moments(world, 5)
    world.edit(suspend=False, model={"uri": make_spec(1).model.uri})
    yield from moments(world, 10)


def test_every_moment_of_a_troubled_life_is_decided_again_from_its_file() -> None:
    verdicts = set()
    for taken in troubled():
        text = to_text(taken)
        again = from_text(text)
        assert again == taken
        assert to_text(again) == text
        assert again.spec is not None
        assert taken.spec is not None
        decided = compute(again.spec, again.status, again.observed, again.now)
        assert decided == compute(taken.spec, taken.status, taken.observed, taken.now)
        verdicts.add(decided[1].phase)
    assert len(verdicts) >= 5, "the life was not troubled enough to show anything"


def test_a_model_that_does_not_exist_yet_and_a_proposed_change_survive() -> None:
    world = serving(1)
    taken = snapshot(world, edited(world.spec, replicas=7), exists=False)
    assert from_text(to_text(taken)) == taken


def pins(image: str, seconds: int) -> Pins:
    return Pins(packager_image=image, drain_seconds=seconds)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
RAW = st.dictionaries(st.text(), JSON, max_size=4)
NAME = st.text(min_size=1)
REPORT = st.builds(
    RouterReport,
    pod=NAME,
    reachable=st.booleans(),
    listeners=st.text(),
    clusters=st.text(),
    routes=st.dictionaries(NAME, st.text(), max_size=3),
    endpoints=st.dictionaries(NAME, st.frozensets(st.text(), max_size=4), max_size=3),
)
OBSERVED = st.builds(
    Observed,
    subject=st.builds(Subject, name=NAME, namespace=NAME, uid=NAME, generation=st.integers(1, 2**40)),
    pins=st.builds(pins, NAME, st.integers(0, 600)),
    owners=st.lists(st.builds(Owner, name=NAME, uid=NAME), max_size=3).map(tuple),
    objects=st.lists(RAW, max_size=3).map(tuple),
    service=st.none() | RAW,
    foreign=st.lists(RAW, max_size=2).map(tuple),
    router=st.lists(RAW, max_size=2).map(tuple),
    reports=st.lists(REPORT, max_size=2).map(tuple),
    logs=st.dictionaries(NAME, st.text(), max_size=2),
)
NOW = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))


@given(observed=OBSERVED, now=NOW)
def test_whatever_was_seen_is_read_back_as_it_was(observed: Observed, now: datetime) -> None:
    taken = Snapshot(spec=None, status=ModelDeploymentStatus(), observed=observed, now=now)
    assert from_text(to_text(taken)) == taken


def test_no_field_of_what_was_seen_is_left_out_of_the_file() -> None:
    written = json.loads(to_text(snapshot(serving(1))))
    assert set(written["observed"]) == set(vars(seen(serving(1))))
    assert set(written["observed"]["reports"][0]) == set(vars(seen(serving(1)).reports[0]))


def test_no_kind_that_is_read_holds_secrets() -> None:
    assert "Secret" not in {*OWN_KINDS, *ROUTER_KINDS}


WHOLE: dict[str, Any] = json.loads(to_text(snapshot(serving(1))))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is not JSON: "),
        ("{", "it is not JSON: "),
        ("[]", "it is no snapshot: write one with tidegate plan --save-snapshot FILE"),
        ("{}", "it is no snapshot"),
        (json.dumps(WHOLE | {"format": 2}), "its format is 2 and this version of tidegate reads 1"),
        (json.dumps(WHOLE | {"format": None}), "its format is None"),
        (json.dumps(WHOLE | {"now": "soon"}), "it cannot be read: now: "),
        (json.dumps(WHOLE | {"spec": {"model": {}}}), "it cannot be read: spec.model.uri: "),
        (json.dumps(WHOLE | {"observed": WHOLE["observed"] | {"news": 1}}), "it cannot be read: observed.news: "),
        (json.dumps({k: v for k, v in WHOLE.items() if k != "status"}), "it cannot be read: status: "),
    ],
)
def test_another_text_is_refused_in_one_line(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^its? ") as failed:
        from_text(text)
    assert str(failed.value).startswith(sentence)
    assert "\n" not in str(failed.value)

"""What became of a request: the operator's events and its status say the same, for every request in every phase."""

from collections.abc import Callable

import pytest
from domain_world import World
from people_worlds import WORLDS, events, model, played

from tidegate.domain.rollout.people import Request
from tidegate.people.outcome import (
    from_events,
    from_status,
    handled,
    outranked,
    request_text,
    revision_before,
    standing,
)

CARRIED_OUT = {
    "promote": {"progressing", "waiting", "extended", "paused", "promoting", "known_good", "baking"},
    "abort": {"progressing", "waiting", "extended", "paused", "promoting", "known_good", "baking"},
    "retry": {"aborted", "gone_back"},
}
LOOKED_AT = sorted(name for name in WORLDS if name not in ("unseen", "edited"))


def asked(world: World, verb: str, argument: str = "") -> Request:
    request = Request(verb, request_text(argument, world.cluster.now))
    world.ask(verb, request.text)
    return request


@pytest.mark.parametrize("verb", CARRIED_OUT)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_events_and_status_agree_on_what_became_of_a_request(name: str, verb: str) -> None:
    world = played(name)
    before, known = world.status, {e.uid for e in events(world)}
    request = asked(world, verb)
    assert not handled(model(world), request)
    world.look()
    assert handled(model(world), request)
    told = from_events(request, events(world), known)
    assert told is not None, "the operator says nothing about the request"
    guessed = from_status(request, before, world.status)
    # A promotion that has nothing left to skip is carried out without a trace in status.
    if (verb, name) not in {("promote", "promoting"), ("promote", "known_good")}:
        assert guessed.carried_out is told.carried_out
    assert told.carried_out is (name in CARRIED_OUT[verb])
    assert ("refused" in told.message) is not told.carried_out


def test_going_back_is_told_by_events_and_status() -> None:
    world = played("ready")
    before, known = world.status, {e.uid for e in events(world)}
    former = revision_before(model(world))
    assert former == world.name_of(1)
    request = asked(world, "rollback-to", former)
    world.look()
    told = from_events(request, events(world), known)
    assert told is not None
    assert told.carried_out
    assert from_status(request, before, world.status).carried_out


def test_going_back_to_what_never_served_is_refused_with_those_that_did() -> None:
    world = played("ready")
    before, known = world.status, {e.uid for e in events(world)}
    request = asked(world, "rollback-to", "digits-00000000")
    world.look()
    told = from_events(request, events(world), known)
    assert told is not None
    assert not told.carried_out
    assert world.name_of(1) in told.message
    assert not from_status(request, before, world.status).carried_out


@pytest.mark.parametrize(
    ("name", "former"),
    [
        ("ready", lambda w: w.name_of(1)),
        ("baking", lambda w: w.name_of(1)),
        ("gone_back", lambda w: w.name_of(3)),
        ("failed", lambda _: None),
        ("degraded", lambda _: None),
    ],
)
def test_the_revision_before_is_that_which_served_before(name: str, former: Callable[[World], str | None]) -> None:
    world = played(name)
    assert revision_before(model(world)) == former(world)


def test_events_of_before_say_nothing_about_this_request() -> None:
    world = played("ready")
    asked(world, "abort")
    world.look()
    refusal = events(world)
    assert refusal[-1].reason == "RequestRefused"
    later = asked(world, "abort")
    assert from_events(later, refusal, {e.uid for e in refusal}) is None
    assert from_events(Request("retry", "x"), refusal, set()) is None


def test_a_request_of_somebody_else_that_goes_first_is_named() -> None:
    world = played("progressing")
    mine = asked(world, "promote")
    assert outranked(model(world), mine) is None
    theirs = asked(world, "abort")
    assert outranked(model(world), mine) == "abort"
    assert outranked(model(world), theirs) is None


def test_two_requests_are_never_alike_and_carry_their_argument() -> None:
    world = played("ready")
    first = request_text("full", world.cluster.now)
    world.tick(0.001)
    assert first == "full@2026-01-01T" + first.partition("T")[2]
    assert request_text("full", world.cluster.now) != first
    assert Request("promote", first).argument == "full"
    plain = request_text("", world.cluster.now)
    assert "@" not in plain
    assert Request("abort", plain).argument == plain


@pytest.mark.parametrize("name", WORLDS)
def test_where_it_stands_is_one_sentence(name: str) -> None:
    said = standing(model(played(name)))
    assert said.startswith("Now ")
    assert said.endswith(".")

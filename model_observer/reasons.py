"""Why an exchange was not compared: a closed set, so that every one that is lost is counted under a name."""

from enum import StrEnum


class Reason(StrEnum):
    """Why an exchange was left out."""

    INCOMPLETE = "incomplete"
    """The router ended the stream before the answer was there: a client that went away, or a router that restarted."""
    SIZE = "size"
    """Request or answer is larger than what is observed."""
    MEMORY = "memory"
    """The observer holds as many bytes as it may."""
    UNKNOWN = "unknown"
    """The revision that answered is in no model of the plan; the plan may be a few seconds old."""
    ALONE = "alone"
    """The model has no other revision to compare with."""
    REFUSED = "refused"
    """The revision that was asked answered with an error: there is nothing to compare."""
    RATE = "rate"
    """More exchanges than the model's replays a second."""
    QUEUE = "queue"
    """Too many exchanges wait for their replay already: the newest is dropped."""
    UNSUPPORTED = "unsupported"
    """Asked in a way that cannot be repeated: shared memory, a sequence, a stream, an unknown encoding."""
    DECODE = "decode"
    """Not what the protocol says; bytes that cannot be read."""
    UNREACHABLE = "unreachable"
    """The replay got no answer in time, or one that says "not now"."""
    UNJUDGED = "unjudged"
    """Nothing in the answer can be compared by meaning: all outputs have a length of their own."""


class Left(Exception):
    """An exchange is left out, for a reason."""

    def __init__(self, reason: Reason, why: str = "") -> None:
        super().__init__(f"{reason.value}: {why}" if why else reason.value)
        self.reason = reason

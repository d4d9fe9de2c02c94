"""What Triton's log says about a model it could not load.

Triton ends with a page of tables, so that the end of its log, which Kubernetes keeps, is not where the reason is.
"""

import re

_FAILED = re.compile(r"failed to load '[^']+' version \d+: ")
_POLL = re.compile(r"Poll failed for model directory '[^']+': ")
_OPTION = re.compile(r"tritonserver: (?:unrecognized|ambiguous|invalid).*")
_NEXT_LINE = re.compile(r"\n(?=[IWEF]\d{4} |\+-)")


def reason(log: str) -> str | None:
    """The first reason in the log, on one line without Triton's quotes; None when it names none."""
    for pattern in (_FAILED, _POLL, _OPTION):
        if match := pattern.search(log):
            rest = log[match.start() :]
            end = _NEXT_LINE.search(rest)
            text = rest[: end.start()] if end else rest
            return " ".join(text.replace("\\n", " ").split()).rstrip('"')
    return None

"""One GET whose answer is bounded in time and size: a pod that trickles or floods must not hold a thread or memory."""

import json
import time
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

CHUNK = 65536


@dataclass(frozen=True)
class Bounds:
    """``seconds`` and ``size`` (bytes) of one whole answer."""

    seconds: float
    size: int


def get_json(http: urllib3.PoolManager, url: str, bounds: Bounds) -> Any:
    """The answer's JSON. Raises HTTPError or ValueError with what was asked and what came."""
    return json.loads(get_text(http, url, bounds))


def get_text(http: urllib3.PoolManager, url: str, bounds: Bounds) -> str:
    """The answer's text. Raises HTTPError or ValueError with what was asked and what came."""
    until = time.monotonic() + bounds.seconds
    answer = http.request("GET", url, preload_content=False, redirect=False)
    try:
        if answer.status != 200:
            raise HTTPError(f"{url} answered {answer.status}")
        body = bytearray()
        while chunk := answer.read1(CHUNK):
            body += chunk
            if len(body) > bounds.size or time.monotonic() > until:
                raise HTTPError(f"{url} does not come to an end")
    except BaseException:
        answer.close()
        raise
    answer.release_conn()
    return body.decode()

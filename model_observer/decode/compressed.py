"""Bodies that were compressed on their way, with a bound on what they become."""

import zlib

from model_observer.reasons import Left, Reason

WINDOWS = {"gzip": 31, "deflate": 15}


def expand(encoding: str, body: bytes, limit: int) -> bytes:
    """The body as it was meant. Raises Left: unknown encoding, more than ``limit`` bytes, or damaged."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOWS:
        raise Left(Reason.UNSUPPORTED, "unknown encoding")
    try:
        plain = zlib.decompressobj(WINDOWS[encoding])
        found = plain.decompress(body, limit + 1)
    except zlib.error as error:
        raise Left(Reason.DECODE, "the compressed body is damaged") from error
    if len(found) > limit:
        raise Left(Reason.SIZE, "the compressed body is too large")
    if not plain.eof:
        raise Left(Reason.DECODE, "the compressed body is cut off")
    return found

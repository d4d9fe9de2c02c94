"""Which relative paths may appear in a bundle.

A bundle is unpacked by a privileged-enough process from a place that others can write to, and may travel through
case-insensitive or normalising file systems on the way. One strict rule, used when writing and when reading, is
easier to reason about than escaping.
"""

from __future__ import annotations

import re
import unicodedata

MANIFEST_NAME = "manifest.json"
MAX_PATH_LENGTH = 512
MAX_DEPTH = 16

_FORBIDDEN = re.compile(r'[\\:*?"<>|]')


def path_problem(path: str) -> str | None:
    """Why ``path`` may not be in a bundle, as the end of a sentence, or None if it may."""
    if not path or len(path) > MAX_PATH_LENGTH:
        return f"must be 1 to {MAX_PATH_LENGTH} characters long"
    if any(unicodedata.category(char).startswith("C") for char in path):
        return "contains a control, format or unassigned character"
    if _FORBIDDEN.search(path):
        return "contains a backslash or a character that some file systems reserve"
    if path.startswith("/"):
        return "is absolute"
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        return f"is more than {MAX_DEPTH} folders deep"
    if any(part in ("", ".", "..") for part in parts):
        return "contains an empty, '.' or '..' segment"
    if any(part != part.strip() or part.endswith(".") or len(part.encode()) > 255 for part in parts):
        return "contains a segment that is too long or that starts or ends with a space or ends with a dot"
    if identity(path) == MANIFEST_NAME:
        return "is the manifest itself"
    return None


def identity(path: str) -> str:
    """Equal for two paths that some file system would take for the same file."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())

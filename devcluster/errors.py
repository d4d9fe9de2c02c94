"""The one error that devcluster shows to its users."""

from __future__ import annotations


class DevclusterError(Exception):
    """What went wrong, where, and what to do about it; the command line prints it without a traceback."""

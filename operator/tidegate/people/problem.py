"""How a command ends: its exit codes, and what keeps it from its answer, one sentence each with what to do."""

EXIT_READY, EXIT_FAILED, EXIT_UNDER_WAY, EXIT_TIMEOUT, EXIT_PROBLEM = 0, 1, 2, 3, 4
EXIT_INTERRUPTED = 130


class Problem(Exception):
    """The command cannot be carried out; the text is what a person reads."""


class NotAnswering(Problem):
    """The cluster does not answer now; it may a moment later."""


class NotAllowed(Problem):
    """The person has no right to it."""


class Missing(Problem):
    """There is no such object, or its CustomResourceDefinition is not installed."""

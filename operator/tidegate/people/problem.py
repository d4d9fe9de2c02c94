"""What keeps a command from its answer: one sentence each, with what to do."""


class Problem(Exception):
    """The command cannot be carried out; the text is what a person reads."""


class NotAnswering(Problem):
    """The cluster does not answer now; it may a moment later."""


class NotAllowed(Problem):
    """The person has no right to it."""


class Missing(Problem):
    """There is no such object, or its CustomResourceDefinition is not installed."""

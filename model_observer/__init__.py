"""Compares what two revisions of a model answer, on sampled live requests, beside the path of the requests.

Nothing of a request outlives its comparison: only counts are kept, in memory.
"""

__version__ = "0.1.0"

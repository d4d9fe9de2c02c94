"""Replays traffic against simulated replicas, and compares scaling policies with each other and with the optimum.

Not part of the operator: it needs numpy (the extra ``simulate``) and is never imported by ``tidegate run``.
"""

"""Checks of a rollout: is the canary worse than stable, or than its limits? Exact tests that may be looked at any time.

Pure: counts come in, a verdict, the evidence in words and a small state come out. ``docs/analysis.md`` has the method,
the split of the error probability and what it costs and saves in simulation.
"""

"""Tidegate's operator: runs verified model bundles on Triton and moves traffic to each new revision step by step."""

__version__ = "0.1.0"

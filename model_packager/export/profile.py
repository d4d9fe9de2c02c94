"""Latency by batch size on this machine's CPU: a first guess for sizing, corrected later by what is served."""

from __future__ import annotations

import time

import numpy as np

from model_packager.export.batching import buckets
from model_packager.export.runtime import Session
from model_packager.export.samples import take_rows
from model_packager.export.tensors import Arrays
from model_packager.manifest import Profile, ProfilePoint

WARM_RUNS = 5
TIMED_RUNS = 50
SECONDS_A_SIZE = 5.0


def measure(session: Session, sample: Arrays, max_batch_size: int, threads: int) -> Profile:
    """Median and 95th percentile in milliseconds for each bucket of batch sizes."""
    points = []
    for size in buckets(max_batch_size) or (1,):
        inputs = take_rows(sample, size) if max_batch_size else sample
        for _ in range(WARM_RUNS):
            session.run(inputs)
        taken: list[float] = []
        while len(taken) < TIMED_RUNS and sum(taken) < SECONDS_A_SIZE * 1000:
            start = time.perf_counter()
            session.run(inputs)
            taken.append((time.perf_counter() - start) * 1000)
        p50, p95 = (float(f"{value:.3g}") for value in np.percentile(taken, (50, 95)))
        points.append(ProfilePoint(batch_size=size, p50_ms=p50, p95_ms=p95))
    return Profile(device="CPU", threads=threads, points=tuple(points))

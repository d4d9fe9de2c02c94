"""Prints what the policy would cost if it were told what to keep ready, instead of having to learn it.

    python -m tests.bench.scaling.known_reserve --seeds 3 --seed 11

On abrupt load whose jumps come at a constant rate no rule that does not see the future can do more than keep the right
number of replicas ready. Here the right one is known from the start: the best of a few fixed rates, or multiples of
demand, for each traffic and start-up time, chosen afterwards. What it is better by is what learning costs.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from statistics import fmean
from unittest import mock

from tests.bench.scaling.scaling_table import STARTUPS, Case, line
from tidegate.domain.scaling import laws
from tidegate.domain.scaling.laws import Reserve, Terms
from tidegate.domain.scaling.phases import Phases
from tidegate.simulation.compare import best_price

RATES = (0.0, 40.0, 60.0, 75.0, 90.0, 105.0, 120.0, 135.0)
TIMES = (0.0, 1.4, 1.8, 2.2, 2.6, 3.0)
KNOWN = {"steps": RATES, "spike": RATES, "bursty": TIMES}
"""What is tried: requests a second, or for traffic on a wave multiples of its lower level."""


def keeping(known: float, *, times: bool) -> Callable[[Phases, Terms], Mapping[Reserve, float]]:
    """What stands for ``laws.reserves``: the same for every law, in replicas."""

    def reserves(_: Phases, terms: Terms) -> Mapping[Reserve, float]:
        unit = min(terms.base, terms.level) if times else 1 / terms.rate
        return dict.fromkeys(Reserve, known * unit)

    return reserves


def ratios(case: Case) -> dict[float | None, float]:
    """Price over the best published, by what is kept ready for; None is what is learned."""
    row = case.row()
    published = best_price([row.score(scaler) for scaler in row.published()])
    found = {None: row.score(row.ours()).price / published}
    choices = KNOWN[case.traffic]
    for known in choices:
        with mock.patch.object(laws, "reserves", keeping(known, times=choices is TIMES)):
            found[known] = row.score(row.ours()).price / published
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="traces of each traffic")
    parser.add_argument("--seed", type=int, default=11, help="the first seed")
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.seeds)
    cases = [Case(name, startup, seed) for name in KNOWN for startup in STARTUPS for seed in seeds]
    print(line("traffic", "start-up", "learned", "known", "what is known"))
    print("|" + "---|" * 5)
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        played = zip(cases, pool.map(ratios, cases), strict=True)
        for (name, startup), group in groupby(played, key=lambda each: (each[0].traffic, each[0].startup)):
            found = [ratio for _, ratio in group]
            means = {known: fmean(each[known] for each in found) for known in found[0]}
            learned = means.pop(None)
            best = min(means, key=lambda known: means[known])
            unit = "times the lower level" if KNOWN[name] is TIMES else "requests/s"
            print(
                line(name, f"{startup:g} s", f"{learned:.3f}", f"{means[best]:.3f}", f"{best:g} {unit}"),
                flush=True,
            )


if __name__ == "__main__":
    main()

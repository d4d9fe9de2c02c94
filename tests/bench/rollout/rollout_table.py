"""Prints what a bad canary costs under each rule, and how often an equal one is rolled back.

    python -m tests.bench.rollout.rollout_table --runs 2000

Every rule plays the same seeded streams; the same seed prints the same tables.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.bench.rollout.rollout_rules import Oracle, Outcome, Thresholds, published, tidegate, tuned
from tests.bench.rollout.rollout_streams import (
    BAD,
    DISTURBED,
    EQUAL,
    LOOK_SECONDS,
    MORE,
    PAUSING,
    WITHIN,
    Scenario,
    Stream,
)
from tidegate.domain.checks.analysis import Analysis


@dataclass(frozen=True)
class Summary:
    """Many runs of one rule on one scenario; ``error`` is the standard error of the mean number of harmed requests."""

    rolled_back: int
    runs: int
    harmed: float
    error: float
    seconds: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Summary":
        """Count and average."""
        harmed = np.array([outcome.harmed for outcome in outcomes], dtype=float)
        looks = np.array([outcome.looks for outcome in outcomes], dtype=float)
        return cls(
            rolled_back=sum(outcome.rolled_back for outcome in outcomes),
            runs=len(outcomes),
            harmed=float(harmed.mean()),
            error=float(harmed.std() / np.sqrt(len(harmed))),
            seconds=LOOK_SECONDS * float(looks.mean()),
        )

    @property
    def percent(self) -> float:
        return 100 * self.rolled_back / self.runs

    def share(self) -> str:
        """The share that was rolled back, with its Wilson 95 % interval."""
        share, extra = self.rolled_back / self.runs, 1.96**2 / self.runs
        centre, half = share + extra / 2, np.sqrt(extra * share * (1 - share) + extra**2 / 4)
        low, high = max(centre - half, 0) / (1 + extra), (centre + half) / (1 + extra)
        return f"{self.percent:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def play(scenario: Scenario, seeds: Iterable[int], rules: Sequence[Oracle | Thresholds]) -> list[Summary]:
    """Tidegate first, then every rule, on the same streams."""
    outcomes: list[list[Outcome]] = [[] for _ in range(1 + len(rules))]
    for seed in seeds:
        stream = Stream(scenario, seed)
        outcomes[0].append(tidegate(stream, Analysis()))
        for found, rule in zip(outcomes[1:], rules, strict=True):
            found.append(rule.play(stream))
    return [Summary.of(found) for found in outcomes]


def row(*cells: str) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def head(*cells: str) -> str:
    """The first two rows."""
    return row(*cells) + "\n" + "|" + "---|" * len(cells)


def harm(summary: Summary) -> str:
    """Mean number of harmed requests, and the share caught where it is not all of them."""
    text = f"{summary.harmed:,.1f}" if summary.harmed < 1000 else f"{summary.harmed:,.0f}"
    return text + (f" ({summary.percent:.1f} % caught)" if summary.percent < 99.95 else "")


def print_equal(seeds: range) -> None:
    """Equal canaries, quiet and in bad weather."""
    rules = published()
    scenarios = (EQUAL, DISTURBED)
    results = [play(scenario, seeds, rules) for scenario in scenarios]
    print(f"\nEqual canaries that were rolled back, {len(seeds)} rollouts each (95 % interval)\n")
    print(head("rule", *(scenario.name for scenario in scenarios)))
    for index, name in enumerate(("Tidegate", *(rule.name for rule in rules))):
        print(row(name, *(result[index].share() for result in results)), flush=True)


def print_bad(oracles: Sequence[Oracle], seeds: range) -> None:
    """Bad canaries under every rule: scenarios are columns."""
    rules = published()
    results = [play(oracle.scenario, seeds, (oracle, *rules)) for oracle in oracles]
    print(f"\nMean requests harmed before weight 0, {len(seeds)} rollouts each\n")
    print(head("rule", *(oracle.scenario.name for oracle in oracles)))
    for index, name in enumerate(("Tidegate", "oracle", *(rule.name for rule in rules))):
        print(row(name, *(harm(result[index]) for result in results)))
    print(row("Tidegate's standard error", *(f"{result[0].error:.2f}" for result in results)))
    print(row("Tidegate / oracle", *(f"{result[0].harmed / result[1].harmed:.2f}" for result in results)))
    print(row("Tidegate caught", *(f"{result[0].percent:.2f} %" for result in results)))
    print(row("Tidegate, seconds to weight 0", *(f"{result[0].seconds:.1f}" for result in results)), flush=True)


def print_more(oracles: Sequence[Oracle], seeds: range) -> None:
    """Canaries beyond the aims: other shapes, and those that turn bad late."""
    print(f"\nOther bad canaries, {len(seeds)} rollouts each\n")
    print(head("canary", "caught", "mean harmed", "oracle", "Tidegate / oracle"))
    for oracle in oracles:
        ours, best = play(oracle.scenario, seeds, (oracle,))
        ratio = f"{ours.harmed / best.harmed:.2f}"
        print(row(oracle.scenario.name, f"{ours.percent:.2f} %", harm(ours), harm(best), ratio), flush=True)


def print_within(seeds: range) -> None:
    """Canaries that are a little worse, at the default margins, and equal ones whose bad requests come in clusters."""
    print(f"\nOn the edge of what is promised, {len(seeds)} rollouts each (95 % interval)\n")
    print(head("canary", "rolled back"))
    for scenario in (*WITHIN, PAUSING):
        print(row(scenario.name, play(scenario, seeds, ())[0].share()), flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="rollouts of each scenario")
    parser.add_argument("--oracle-runs", type=int, default=5000, help="equal rollouts that the oracles are tuned on")
    parser.add_argument("--within-runs", type=int, default=300, help="rollouts of each canary on the edge")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first rollout")
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.runs)
    oracles = tuned((*BAD, *MORE), given.oracle_runs, given.seed)
    print_bad(oracles[: len(BAD)], seeds)
    print_more(oracles[len(BAD) :], seeds)
    print_equal(seeds)
    print_within(seeds[: given.within_runs])


if __name__ == "__main__":
    main()

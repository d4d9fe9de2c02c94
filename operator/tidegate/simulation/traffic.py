"""Arrival times: seeded generators, and a file of a user's own.

Every generator is a rate over time, in steps of one second, and a Poisson process with that rate.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rates = NDArray[np.float64]
Arrivals = NDArray[np.float64]


class BadTraffic(ValueError):
    """A trace that cannot be used, in one sentence."""


def constant(seconds: int, rate: float, _: np.random.Generator) -> Rates:
    """The same rate all the time."""
    return np.full(seconds, rate)


def steps(seconds: int, rate: float, random: np.random.Generator) -> Rates:
    """A new level every 10 minutes on average, between 0.25 and 2 times the rate."""
    rates = np.empty(seconds)
    at = 0
    while at < seconds:
        length = int(random.uniform(300, 900))
        rates[at : at + length] = rate * random.uniform(0.25, 2.0)
        at += length
    return rates


def spike(seconds: int, rate: float, random: np.random.Generator) -> Rates:
    """Half the rate, and about every 20 minutes 1 to 3 minutes of three times as much or more."""
    rates = np.full(seconds, rate * 0.5)
    at = random.exponential(1200.0)
    while at < seconds:
        length = random.uniform(60, 180)
        rates[int(at) : int(at + length)] *= random.uniform(3.0, 5.0)
        at += length + random.exponential(1200.0)
    return rates


def diurnal(seconds: int, rate: float, random: np.random.Generator) -> Rates:
    """A slow wave between 0.2 and 1.8 times the rate, two periods in all."""
    phase = random.uniform(0, 2 * np.pi)
    return rate * (1 + 0.8 * np.sin(4 * np.pi * np.arange(seconds) / seconds + phase))


def bursty(seconds: int, rate: float, random: np.random.Generator) -> Rates:
    """The slow wave, and on it bursts of 2 to 3 times as much: a Markov-modulated process, 5 minutes apart."""
    rates = diurnal(seconds, rate * 0.8, random)
    at = random.exponential(300.0)
    while at < seconds:
        length = random.exponential(45.0)
        rates[int(at) : int(at + length)] *= random.uniform(2.0, 3.0)
        at += length + random.exponential(300.0)
    return rates


def on_off(seconds: int, rate: float, random: np.random.Generator) -> Rates:
    """Traffic for 2 to 8 minutes, then next to nothing for as long."""
    rates = np.full(seconds, rate * 0.02)
    at = 0.0
    while at < seconds:
        length = random.uniform(120, 480)
        rates[int(at) : int(at + length)] = rate * 1.5
        at += length + random.uniform(120, 480)
    return rates


def ramp(seconds: int, rate: float, _: np.random.Generator) -> Rates:
    """Up from a tenth of the rate to twice as much, and down again."""
    half = seconds // 2
    up = np.linspace(0.1, 2.0, half)
    return rate * np.concatenate([up, up[::-1], np.full(seconds - 2 * half, 0.1)])


GENERATORS: dict[str, Callable[[int, float, np.random.Generator], Rates]] = {
    "constant": constant,
    "ramp": ramp,
    "diurnal": diurnal,
    "bursty": bursty,
    "steps": steps,
    "spike": spike,
    "on-off": on_off,
}
SMOOTH = ("constant", "ramp", "diurnal")


def generate(name: str, seconds: int, rate: float, seed: int) -> Arrivals:
    """Arrival times of a generator; the same arguments give the same times. Raises BadTraffic."""
    if name not in GENERATORS:
        raise BadTraffic(f"there is no traffic called {name!r}: choose one of {', '.join(GENERATORS)}")
    random = np.random.default_rng([seed, *name.encode()])
    rates = GENERATORS[name](seconds, rate, random)
    counts = random.poisson(rates)
    times = np.repeat(np.arange(seconds, dtype=np.float64), counts) + random.random(int(counts.sum()))
    return np.sort(times)


def read(path: Path) -> Arrivals:
    """Arrival times from a CSV: the first column in seconds, a heading allowed. Raises BadTraffic.

    The first request comes at 0, whatever clock the file has.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadTraffic(f"{path} cannot be read: {error}") from error
    times = []
    for number, line in enumerate(lines, start=1):
        cell = line.split(",")[0].strip()
        try:
            times.append(float(cell))
        except ValueError:
            if cell and number > 1:
                raise BadTraffic(f"{path}, line {number}: {cell[:40]!r} is not a time in seconds") from None
    found = np.array(times)
    if not len(found) or not np.isfinite(found).all():
        raise BadTraffic(f"{path} has no arrival times: write one time in seconds a line, in the first column")
    found.sort()
    return np.asarray(found - found[0])

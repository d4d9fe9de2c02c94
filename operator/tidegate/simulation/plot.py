"""A run as a picture: demand, replicas and latency over time, as plain SVG."""

from collections.abc import Callable, Sequence
from html import escape

from tidegate.simulation.model import Model
from tidegate.simulation.run import Moment, Outcome

WIDTH, HEIGHT, MARGIN = 960, 180, 48
_POINTS = 900


def svg(outcome: Outcome, model: Model, cost: float) -> str:
    """Three panels above each other. ``cost`` is over the optimum."""
    moments = thinned(outcome.timeline)
    title = f"{outcome.policy}: {cost:.2f} times the optimum, {outcome.inside:.2f} % inside {model.limit * 1000:g} ms"
    panels = [
        _panel(moments, 0, "requests a second", [("#1f77b4", lambda moment: moment.rate)]),
        _panel(
            moments,
            1,
            "replicas: wanted (grey), ready",
            [("#999999", lambda moment: moment.wanted), ("#2ca02c", lambda moment: moment.ready)],
        ),
        _panel(moments, 2, "p95, in limits (at most 3)", [("#d62728", lambda m: min(m.slow / model.limit, 3.0))]),
    ]
    height = 3 * (HEIGHT + MARGIN) + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 2 * MARGIN}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{MARGIN}" y="20" font-size="15">{escape(title)}</text>{"".join(panels)}</svg>\n'
    )


def thinned(moments: Sequence[Moment]) -> list[Moment]:
    """At most as many moments as can be seen: of each stretch the one with the slowest answers."""
    stretch = max(len(moments) // _POINTS, 1)
    return [max(moments[at : at + stretch], key=lambda moment: moment.slow) for at in range(0, len(moments), stretch)]


def _panel(
    moments: Sequence[Moment], index: int, title: str, lines: Sequence[tuple[str, Callable[[Moment], float]]]
) -> str:
    top = MARGIN + index * (HEIGHT + MARGIN)
    end = max(moments[-1].time, 1.0) if moments else 1.0
    highest = max((value(moment) for _, value in lines for moment in moments), default=0.0) or 1.0
    parts = [
        f'<rect x="{MARGIN}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#cccccc"/>',
        f'<text x="{MARGIN}" y="{top - 6}">{escape(title)}</text>',
        f'<text x="{MARGIN - 6}" y="{top + 10}" text-anchor="end">{highest:.3g}</text>',
        f'<text x="{MARGIN + WIDTH}" y="{top + HEIGHT + 14}" text-anchor="end">{end:.0f} s</text>',
    ]
    for colour, value in lines:
        points = " ".join(
            f"{MARGIN + WIDTH * m.time / end:.1f},{top + HEIGHT * (1 - value(m) / highest):.1f}" for m in moments
        )
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{points}"/>')
    return "".join(parts)

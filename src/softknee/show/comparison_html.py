"""A comparison as one HTML file that needs no other: text, tables and small drawings laid out by the template.

Positions are percentages of their box, so that the page fits a phone; colours are CSS variables, so that light
and dark come from one text.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from softknee.compare.records import Comparison, Curve, Level
from softknee.show.scale import scale_of

Point = tuple[float, float]


def html(comparison: Comparison) -> str:
    """The whole report."""
    return _environment().get_template("comparison.html.j2").render(_view(comparison))


def fragment(comparison: Comparison) -> str:
    """The answer and the rankings, for a notebook's cell."""
    return _environment().get_template("comparison_fragment.html.j2").render(_view(comparison))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("softknee.show"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "percent": lambda share, digits=1: f"{100 * share:.{digits}f}",
        "signed": lambda share, digits=1: f"{100 * share:+.{digits}f}".replace("-", "−"),
        "probability": _probability,
        "unbroken": lambda text: text.replace(" %", "\u00a0%").replace("p ", "p\u00a0"),
        "layers": lambda depth: f"{depth} hidden layer{'s' * (depth > 1)}",
        "mean": lambda values: sum(values) / len(values),
    }
    return environment


def _view(comparison: Comparison) -> dict[str, Any]:
    """Everything the template needs besides the comparison: geometry."""
    count = len(comparison.levels)
    return {
        "c": comparison,
        "levels": [
            {"level": level, "scale": scale_of(level), "rows": _rows(level)} | _times(level)
            for level in comparison.levels
        ],
        "shades": [f"var(--series-{_shade(i, count)})" for i in range(count)],
        "panels": [_panel(comparison, label) for label in comparison.labels],
        "loss_top": _loss_top(comparison),
        "failures": [
            (s.label, level.depth, s.failures)
            for level in comparison.levels
            for s in level.standings
            if s.failures
        ],
    }


def _shade(index: int, count: int) -> int:
    """Series colours 1 (palest) to 4 (strongest): the deeper the network, the stronger."""
    return 4 - round(3 * (count - 1 - index) / max(1, count - 1))


def _rows(level: Level) -> list[dict[str, Any]]:
    """The dot plot: where everything stands, in percent of the track."""
    axis = scale_of(level)
    rows = []
    for standing in level.standings:
        a = standing.accuracy
        low, high = (v if math.isfinite(v) else a.mean for v in (a.low, a.high))
        rows.append(
            {
                "standing": standing,
                "off": a.mean < axis.low,
                "seeds": [100 * axis.place(v) for v in standing.scores if v >= axis.low],
                "low": 100 * axis.place(low),
                "width": 100 * (axis.place(high) - axis.place(low)),
                "mean": 100 * axis.place(a.mean),
            }
        )
    return rows


def _times(level: Level) -> dict[str, Any]:
    """Time per step, fastest first, each as a share of the slowest."""
    slowest = max(s.step_seconds[0] for s in level.standings)
    fastest = min(s.step_seconds[0] for s in level.standings)
    ordered = sorted(level.standings, key=lambda s: s.step_seconds[0])
    return {
        "times": [
            {
                "label": s.label,
                "microseconds": 1e6 * s.step_seconds[0],
                "share": 100 * s.step_seconds[0] / slowest,
                "ratio": s.step_seconds[0] / fastest,
            }
            for s in ordered
        ],
        "together": sorted({s.together for s in level.standings}),
    }


def _panel(comparison: Comparison, label: str) -> dict[str, Any]:
    """One activation's curves: accuracy by epoch and by depth, training loss by epoch."""
    found = [next(s for s in level.standings if s.label == label) for level in comparison.levels]
    top = _loss_top(comparison)
    floor = comparison.data.majority
    depths = [math.log(level.depth) for level in comparison.levels]
    span = depths[-1] - depths[0] or 1.0
    at = [(d - depths[0]) / span for d in depths] if len(depths) > 1 else [0.5]
    return {
        "label": label,
        "standings": found,
        "learning": [_drawn(s.validation_accuracy, 0.0, 1.0) for s in found],
        "losses": [_drawn(s.train_loss, 0.0, top) for s in found],
        "depth": _line([(x, s.accuracy.mean) for x, s in zip(at, found, strict=True)], 0.0, 1.0),
        "dots": [(100 * x, 100 * (1 - s.accuracy.mean)) for x, s in zip(at, found, strict=True)],
        "chance": 100 * (1 - floor),
    }


def _drawn(curve: Curve, low: float, high: float) -> dict[str, str]:
    """A curve and the band between its quartiles as SVG points in a box of 100 x 100."""
    steps = max(1, len(curve.middle) - 1)

    def points(values: Sequence[float]) -> list[Point]:
        return [(i / steps, v) for i, v in enumerate(values)]

    return {
        "line": _line(points(curve.middle), low, high),
        "band": _line(points(curve.low) + points(curve.high)[::-1], low, high),
    }


def _line(points: Sequence[Point], low: float, high: float) -> str:
    """`x,y x,y ...`; what lies outside the box is drawn on its edge."""
    inside = [(x, min(1.0, max(0.0, (y - low) / (high - low)))) for x, y in points]
    return " ".join(f"{100 * x:.1f},{100 * (1 - y):.1f}" for x, y in inside)


def _loss_top(comparison: Comparison) -> float:
    """The loss of guessing all classes alike, ln(classes), with some air above: nothing learnt lies there."""
    return 1.15 * math.log(comparison.data.classes)


def _probability(p: float) -> str:
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}".rstrip("0").rstrip(".")

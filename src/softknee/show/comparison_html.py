"""A comparison as one HTML file that needs no other: text, tables and small drawings laid out by the template.

Positions are percentages of their box, so that the page fits a phone; colours are CSS variables, so that light
and dark come from one text.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment

from softknee.compare.judge import groups
from softknee.compare.protocol import Protocol
from softknee.compare.records import Comparison, Curve, Level, Ranks
from softknee.compare.specification import parse
from softknee.compare.statistics import Interval
from softknee.show.pages import environment
from softknee.show.scale import fenced, scale, scale_of

Point = tuple[float, float]

_CURVES = 4  # conditions in one box of learning curves


def html(comparison: Comparison) -> str:
    """The whole report."""
    return _environment().get_template("comparison.html.j2").render(_view(comparison))


def fragment(comparison: Comparison) -> str:
    """The answer and the rankings, for a notebook's cell."""
    return _environment().get_template("comparison_fragment.html.j2").render(_view(comparison))


@functools.cache
def _environment() -> Environment:
    return environment(
        {
            "percent": lambda share, digits=1: f"{100 * share:.{digits}f}",
            "signed": lambda share, digits=1: f"{100 * share:+.{digits}f}".replace("-", "−"),
            "probability": _probability,
            "unbroken": lambda text: text.replace(" %", "\u00a0%").replace("p ", "p\u00a0"),
            "mean": lambda values: sum(values) / len(values),
        }
    )


def _view(comparison: Comparison) -> dict[str, Any]:
    """Everything the template needs besides the comparison: geometry."""
    levels = comparison.levels
    shown = [levels[round(i)] for i in _even(len(levels), _CURVES)]
    return {
        "c": comparison,
        "data_names": ", ".join(data.name for data in comparison.data),
        "metric": levels[0].metric if len({level.metric for level in levels}) == 1 else "score",
        "varied": _varied(comparison),
        "levels": [
            {
                "level": level,
                "scale": scale_of(level),
                "rows": _rows(level),
                "rates": list(level.common_rates),
                "scatter": _scatter(level),
            }
            | _times(level)
            for level in levels
        ],
        "overview": [_nearness(level) for level in levels],
        "sweeps": [sweep for name in levels[0].varies if (sweep := _sweep(comparison, name))],
        "ranked": comparison.ranks and _ranked(comparison, comparison.ranks),
        "dials": _dials(comparison.labels, shown),
        "rates": _sensitivity(comparison.labels, shown),
        "shown": shown,
        "shades": [f"var(--series-{_shade(i, len(shown))})" for i in range(len(shown))],
        "panels": [_panel(comparison, shown, label) for label in comparison.labels],
        "learned": _learned(comparison.labels, shown),
        "loss_top": _loss_top(shown),
        "failures": [
            (s.label, level.title, s.failures) for level in levels for s in level.standings if s.failures
        ],
        "settings": settings(comparison),
    }


def _even(count: int, most: int) -> list[float]:
    """At most so many numbers of 0..count-1, evenly spread, the ends among them."""
    used = min(count, most)
    return [i * (count - 1) / max(1, used - 1) for i in range(used)]


def _varied(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """The settings that differ between the conditions; without any, the depth."""
    names = list(comparison.levels[0].varies) or ["depth"]
    found = [
        (
            name.replace("_", " "),
            list(dict.fromkeys(_word(getattr(v.protocol, name)) for v in comparison.levels)),
        )
        for name in names
    ]
    return [("hidden layers" if name == "depth" else name, values) for name, values in found]


def _word(value: Any) -> str:
    return (
        {True: "on", False: "off"}[value]
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value).partition("#")[0]  # a network of one's own has a hash there
    )


def _nearness(level: Level) -> dict[str, float]:
    """1 for the best, 0 for one that is no better than guessing."""
    best = level.standings[0].score.mean
    return {
        s.label: _clamped((s.score.mean - level.guess) / max(1e-9, best - level.guess))
        for s in level.standings
    }


def _across(
    label: str,
    notes: Sequence[str],
    unit: str,
    series: Sequence[Sequence[tuple[float, Interval]]],
    low: float,
    high: float,
) -> dict[str, Any]:
    """A panel of lines: scores with their intervals against a number, by its logarithm where it spans enough."""
    steps = sorted({step for line in series for step, _ in line})
    ratio = steps[0] > 0 and steps[-1] >= 4 * steps[0]
    place = (lambda v: math.log(v)) if ratio else float
    span = max(1e-12, place(steps[-1]) - place(steps[0]))

    def points(line: Sequence[tuple[float, float]]) -> list[Point]:
        return [((place(step) - place(steps[0])) / span, v) for step, v in line]

    lines = []
    for line in series:
        means = points([(step, v.mean) for step, v in line])
        bounded = all(math.isfinite(v.low) and math.isfinite(v.high) for _, v in line)
        band = points([(step, v.low) for step, v in line] + [(step, v.high) for step, v in line][::-1])
        lines.append(
            {
                "points": _line(means, low, high),
                "dots": [(100 * x, 100 * (1 - _clamped((y - low) / (high - low)))) for x, y in means],
                "band": _line(band, low, high) if bounded else "",
            }
        )
    return {
        "label": label,
        "notes": notes,
        "unit": unit,
        "first": _word(steps[0]),
        "last": _word(steps[-1]),
        "lines": lines,
    }


def _dials(labels: Sequence[str], levels: Sequence[Level]) -> list[dict[str, Any]]:
    """A panel for each parameter of an activation that has several values while its others stay."""
    found: dict[tuple[str, str, str], list[tuple[float, str]]] = {}
    for label in labels:
        specification = parse(label)[0]
        settings = dict(specification.settings)
        for name, value in settings.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                rest = ", ".join(f"{k}={v}" for k, v in settings.items() if k != name)
                found.setdefault((specification.name, name, rest), []).append((value, label))
    panels = []
    for (activation, name, rest), values in found.items():
        if len(values) < 2:
            continue
        values.sort()
        series = [[(value, level.of(label).score) for value, label in values] for level in levels]
        bounds = [b for line in series for _, v in line for b in (v.mean, v.low, v.high) if math.isfinite(b)]
        axis = scale(min(bounds), max(bounds))
        best = ", ".join(f"{max(line, key=lambda at: at[1].mean)[0]:g}" for line in series)
        notes = [rest] * bool(rest)
        notes += [f"{100 * axis.low:.4g} to {100 * axis.high:.4g} %; highest at {best}"]
        panels.append(_across(f"{activation}: {name}", notes, name, series, axis.low, axis.high))
    return panels


def _sensitivity(labels: Sequence[str], levels: Sequence[Level]) -> list[dict[str, Any]]:
    """A panel for each activation: its validation score against the learning rate, on one scale for all."""
    if len(levels[0].standings[0].by_rate) < 2:
        return []
    every = sorted(v for level in levels for s in level.standings for _, v in s.by_rate)
    axis = scale(fenced(every)[0], every[-1])
    panels = []
    for label in labels:
        standings = [level.of(label) for level in levels]
        series = [[(rate, Interval(v, math.nan, math.nan)) for rate, v in s.by_rate] for s in standings]
        chosen = " · ".join(f"{max(sorted(set(s.rates)), key=s.rates.count):g}" for s in standings)
        panels.append(_across(label, [chosen], "", series, axis.low, axis.high))
    ends = f"{100 * axis.low:.4g} to {100 * axis.high:.4g} %"
    panels[0]["scale"] = ends
    return panels


def _scatter(level: Level) -> dict[str, Any]:
    """Time of a step against score. A name stands where it covers no other and no dot, in a box of this many pixels;
    one that finds no place is left to the table."""
    wide, high, line = 320.0, 240.0, 13.0  # the room that there is on a phone
    times = [1e6 * s.step_seconds[0] for s in level.standings]
    down, across = scale_of(level, seeds=False), scale(min(times), max(times))
    places = [
        (across.place(time), 1 - down.place(s.score.mean))
        for s, time in zip(level.standings, times, strict=True)
    ]
    taken = [(wide * x - 5, high * y - 5, wide * x + 5, high * y + 5) for x, y in places]
    dots = []
    for s, time, (x, y) in zip(level.standings, times, places, strict=True):
        low = f" ↓ {100 * s.score.mean:.1f}" if s.score.mean < down.low else ""
        width = 6.6 * len(s.label + low)
        spot = None
        for before, shift in itertools.product((False, True), (0, -1, 1, -2, 2)):
            left = wide * x - (width + 9 if before else -9)
            top = high * y + (shift * 0.8 - 0.5) * line
            box = (left, top, left + width, top + line)
            inside = box[0] >= 0 and box[1] >= -line / 2 and box[2] <= wide and box[3] <= high + line / 2
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                spot = ("before" if before else "after", 100 * (y + shift * 0.8 * line / high))
                break
        title = f"{s.label}: {100 * s.score.mean:.2f} %, {time:.0f} µs"
        dots.append(
            {"label": s.label + low, "x": 100 * x, "y": 100 * y, "spot": spot, "tied": s.tied, "title": title}
        )
    return {
        "dots": dots,
        "down": [{"at": 100 * (1 - down.place(t)), "text": f"{100 * t:.4g}"} for t in down.ticks],
        "across": [{"at": 100 * across.place(t), "text": f"{t:.4g}"} for t in across.ticks],
    }


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _sweep(comparison: Comparison, name: str) -> dict[str, Any] | None:
    """One activation's score against one setting, a line for each combination of the other settings."""
    levels = comparison.levels
    steps = sorted({v for level in levels if isinstance(v := level.varies[name], (int, float))})
    if len(steps) < 2 or isinstance(steps[0], bool):
        return None
    ratio = steps[0] > 0 and steps[-1] >= 4 * steps[0]
    place = (lambda v: math.log(v)) if ratio else float
    span = place(steps[-1]) - place(steps[0])
    groups: dict[str, list[Level]] = {}
    for level in levels:
        rest = [_said(n, v) for n, v in level.varies.items() if n != name]
        groups.setdefault(", ".join([level.data] * (len(comparison.data) > 1) + rest), []).append(level)
    if len(groups) > _CURVES:  # too many lines: one for each data set, or one of all
        groups = {}
        for level in levels:
            groups.setdefault(
                level.data if 1 < len(comparison.data) <= _CURVES else "mean of all", []
            ).append(level)
    low = min(0.0, *(s.score.mean for level in levels for s in level.standings))
    shades = [f"var(--series-{_shade(i, len(groups))})" for i in range(len(groups))]
    guesses = {round(level.guess, 9) for level in levels}

    def line(label: str, group: list[Level], shade: str) -> dict[str, Any]:
        at = {step: [v.of(label).score.mean for v in group if v.varies[name] == step] for step in steps}
        points = [
            ((place(step) - place(steps[0])) / span, sum(found) / len(found))
            for step, found in at.items()
            if found
        ]
        dots = [(100 * x, 100 * (1 - _clamped((y - low) / (1 - low)))) for x, y in points]
        return {
            "shade": shade,
            "points": _line(points, low, 1.0),
            "dots": dots,
            "ends": (points[0][1], points[-1][1]),
        }

    panels = []
    for label in comparison.labels:
        lines = [line(label, group, shade) for group, shade in zip(groups.values(), shades, strict=True)]
        ends = [f"{100 * first:.1f} → {100 * last:.1f}" for first, last in (found["ends"] for found in lines)]
        panels.append({"label": label, "lines": lines, "ends": ends if len(ends) < 3 else []})
    return {
        "heading": "What depth costs" if name == "depth" else f"What {name.replace('_', ' ')} does",
        "unit": "layers" if name == "depth" else name.replace("_", " "),
        "first": _word(steps[0]),
        "last": _word(steps[-1]),
        "low": low,
        "chance": 100 * (1 - (guesses.pop() - low) / (1 - low)) if len(guesses) == 1 else None,
        "legend": list(zip(groups, shades, strict=True)),
        "panels": panels,
    }


def _said(name: str, value: Any) -> str:
    return f"{name.replace('_', ' ')} {_word(value)}"


def _ranked(comparison: Comparison, ranks: Ranks) -> dict[str, Any]:
    """The critical-difference diagram: every activation's mean rank, and bars over those that are alike; and the
    table of each one's mean score on every data set."""
    count = len(ranks.mean)
    means = {
        name: {label: sum(v.of(label).score.mean for v in of) / len(of) for label in comparison.labels}
        for name in ranks.sets
        if (of := [level for level in comparison.levels if level.data == name])
    }
    guess = {level.data: level.guess for level in comparison.levels}

    def at(rank: float) -> float:
        return 100 * (rank - 1) / max(1, count - 1)

    def near(name: str, score: float) -> float:
        best = max(means[name].values())
        return _clamped((score - guess[name]) / max(1e-9, best - guess[name]))

    bars = groups(ranks.mean, ranks.critical)
    table = [
        {
            "label": label,
            "rank": rank,
            "scores": [{"score": of[label], "near": near(name, of[label])} for name, of in means.items()],
        }
        for label, rank in ranks.mean
    ]
    return {
        "table": table,
        "ticks": [(at(rank), rank) for rank in range(1, count + 1)],
        "rows": [
            {
                "label": label,
                "rank": rank,
                "at": at(rank),
                "bars": [
                    (at(ranks.mean[first][1]), at(ranks.mean[last][1]) - at(ranks.mean[first][1]))
                    for first, last in bars
                    if first == i
                ],
            }
            for i, (label, rank) in enumerate(ranks.mean)
        ],
    }


def settings(comparison: Comparison) -> list[tuple[str, str]]:
    """What defines the runs, in words."""
    protocol, levels = comparison.protocol, comparison.levels
    each = {
        "classification": "classes",
        "multilabel": "labels",
        "next_token": "tokens",
        "regression": "targets",
    }
    found = [
        (
            "data",
            f"{d.name}: {d.samples:,} samples, {d.features} features, {d.classes} {each[d.kind]}; every seed splits "
            f"them anew into {d.split[0]:,} for training, {d.split[1]:,} for validation, {d.split[2]:,} for the test; "
            f"SHA-256 {d.digest[:16]}…",
        )
        for d in comparison.data
    ]
    rates = ", ".join(f"{rate:g}" for rate in comparison.learning_rates)
    choice = ": each seed’s validation data choose" if len(comparison.learning_rates) > 1 else " for all"
    gains = ", ".join(f"{label} {gain:.3f}" for label, gain in comparison.gains.items())
    own = (
        "The activation’s own: weights of standard deviation gain/√(fan in), layers that read the inputs 1/√(fan in), "
        f"biases {protocol.bias:g}. Gains 1/√(E f(z)²), z ~ N(0, 1): {gains}"
    )
    built = "As the network is built, the same numbers for all"
    same = f"The same for all: weights of standard deviation √(2/fan in), biases {protocol.bias:g}"
    more = {
        "noise": "Gaussian noise on the inputs", "scale": "factor on the inputs", "samples": "training samples",
        "weight_penalty": "weight penalty", "activation_penalty": "activation penalty",
        "batch_norm": "batch normalisation", "dropout": "dropout", "layers": "layers with the activation",
        "patience": "early stopping after epochs without a lower validation loss",
    }  # fmt: skip
    usual, varies = Protocol(), levels[0].varies
    found += [
        (
            "network",
            protocol.network_name + f", depth {protocol.depth}, width {protocol.width}" * (not protocol.own),
        ),
        (
            "training",
            f"{protocol.optimiser}, {protocol.epochs} epochs, batches of {protocol.batch_size}, {protocol.dtype}, "
            f"learning rate {rates}{choice}",
        ),
        ("initialisation", own if protocol.init == "own" else built if protocol.own else same),
    ]
    found += [
        (text, _word(getattr(protocol, name)))
        for name, text in more.items()
        if name not in varies and getattr(protocol, name) != getattr(usual, name)
    ]
    if varies:
        found.append(
            ("conditions", "; ".join(f"{name}: {', '.join(values)}" for name, values in _varied(comparison)))
        )
    return found


def _learned(labels: Sequence[str], levels: Sequence[Level]) -> list[dict[str, Any]]:
    """A panel for each learned parameter and condition, a line for each layer."""
    panels = []
    for label, level in ((label, level) for label in labels for level in levels):
        for name, curves in level.of(label).learned.items():
            found = [v for curve in curves for v in curve.middle if math.isfinite(v)]
            if not found:
                continue
            low, high = min(found), max(found)
            steps = len(curves[0].middle) - 1
            lines = [
                {
                    "shade": f"var(--series-{_shade(i, len(curves))})",
                    "points": _line(
                        [(step / max(1, steps), v) for step, v in enumerate(curve.middle)], low, high + 1e-9
                    ),
                }
                for i, curve in enumerate(curves)
            ]
            last = ", ".join(f"{curve.middle[-1]:.2f}" for curve in curves[:6])
            panels.append(
                {
                    "label": f"{label}: {name}",
                    "title": level.title,
                    "last": last + ", …" * (len(curves) > 6),
                    "lines": lines,
                    "low": f"{low:.2f}",
                    "high": f"{high:.2f}",
                    "epochs": steps,
                }
            )
    return panels


def _clamped(value: float) -> float:
    return min(1.0, max(0.0, value))


def _shade(index: int, count: int) -> int:
    """Series colours 1 (palest) to 4 (strongest): the deeper the network, the stronger."""
    return 4 - round(3 * (count - 1 - index) / max(1, count - 1))


def _rows(level: Level) -> list[dict[str, Any]]:
    """The dot plot: where everything stands, in percent of the track."""
    axis = scale_of(level)
    rows = []
    for standing in level.standings:
        a = standing.score
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
                "saved": _kilobytes(s.saved),
                "peak": _kilobytes(s.peak),
                "score": s.score.mean,
            }
            for s in ordered
        ],
        "together": sorted({s.together for s in level.standings}),
    }


def _panel(comparison: Comparison, shown: Sequence[Level], label: str) -> dict[str, Any]:
    """One activation's curves by epoch: validation score and training loss."""
    found = [level.of(label) for level in shown]
    top = _loss_top(shown)
    return {
        "label": label,
        "standings": found,
        "learning": [_drawn(s.validation_score, 0.0, 1.0) for s in found],
        "losses": [_drawn(s.train_loss, 0.0, top) for s in found],
    }


def _drawn(curve: Curve, low: float, high: float) -> dict[str, str]:
    """A curve and the band between its quartiles as SVG points in a box of 100 x 100."""
    steps = max(1, len(curve.middle) - 1)

    def points(values: Sequence[float]) -> list[Point]:
        return [
            (i / steps, v) for i, v in enumerate([*values, *values[: len(values) == 1]])
        ]  # one: a level line

    return {
        "line": _line(points(curve.middle), low, high),
        "band": _line(points(curve.low) + points(curve.high)[::-1], low, high),
    }


def _line(points: Sequence[Point], low: float, high: float) -> str:
    """`x,y x,y ...`; what lies outside the box is drawn on its edge."""
    inside = [(x, min(1.0, max(0.0, (y - low) / (high - low)))) for x, y in points]
    return " ".join(f"{100 * x:.1f},{100 * (1 - y):.1f}" for x, y in inside)


def _loss_top(levels: Sequence[Level]) -> float:
    """The highest loss that someone begins with, with some air above; of those that diverge nothing is seen."""
    first = [s.train_loss.middle[0] for level in levels for s in level.standings]
    return 1.15 * min([max([v for v in first if math.isfinite(v)], default=1.0), 5.0])


def _kilobytes(count: int) -> str:
    return f"{count / 1000:,.0f} kB" if count else "–"


def _probability(p: float) -> str:
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}".rstrip("0").rstrip(".")

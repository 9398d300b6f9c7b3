"""Relations that a function satisfies, looked for in a short general list and checked numerically."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from softknee.analysis.function import Array, Function, evaluated

__all__ = ["Identity", "identities"]

_CLOSE = 1e-11


@dataclass(frozen=True)
class Identity:
    """text: the relation; where: for which x; error: its largest relative deviation at the points tried."""

    text: str
    where: str
    error: float


def identities(function: Function) -> tuple[Identity, ...]:
    """The derivative as a polynomial of f (so that it can be computed from the output), and mirror rules."""
    points = np.concatenate([np.linspace(0.05, 6, 40), [0.731, 2.213]])
    regions = {"all x": np.concatenate([-points, points]), "x > 0": points, "x < 0": -points}
    found: list[Identity] = []
    for where, x in regions.items():
        identity = _of_output(function, x, where)
        if identity:
            found.append(identity)
        if identity and where == "all x":
            break
    return (*found, *_mirrored(function, points))


def _of_output(function: Function, x: Array, where: str) -> Identity | None:
    """f' = a + b f + c f^2, unless f' is constant or f determines nothing."""
    f, slope = evaluated((function.order(0), function.order(1)), x)
    if not (np.isfinite(f).all() and np.isfinite(slope).all()) or np.ptp(slope) < 1e-9 or np.ptp(f) < 1e-9:
        return None
    order = np.argsort(f)
    chosen = order[[0, len(x) // 2, len(x) - 1]]
    powers = np.stack([np.ones_like(f), f, f * f], axis=1)
    try:
        a, b, c = (_nice(v) for v in np.linalg.solve(powers[chosen], slope[chosen]))
    except np.linalg.LinAlgError:
        return None
    deviation = np.abs(slope - (a + b * f + c * f * f))
    size = np.abs(slope) + np.abs(a) + np.abs(b * f) + np.abs(c * f * f)
    error = float(np.max(deviation / np.maximum(size, 1e-300)))
    return Identity(f"f' = {_polynomial(a, b, c)}", where, error) if error <= _CLOSE else None


def _nice(value: float) -> float:
    near = float(Fraction(value).limit_denominator(1000))
    return near if abs(near - value) <= 1e-9 * max(1.0, abs(near)) else value


def _polynomial(a: float, b: float, c: float) -> str:
    if a == 0 and c == -b and b:
        return f"{_factor(b)}f (1 - f)"
    if b == 0 and c == -a and a:
        return f"{_factor(a)}(1 - f²)" if a != 1 else "1 - f²"
    if a > 0 and c > 0 and math.isclose(b * b, 4 * a * c):
        root = math.sqrt(c / a)
        inner = f"1 {'+' if b > 0 else '-'} {_factor(root)}f"
        return f"{_factor(a)}({inner})²"
    terms = [(a, ""), (b, "f"), (c, "f²")] if c or b < 0 else [(b, "f"), (a, "")]
    text = ""
    for value, name in terms:
        if value:
            size = f"{abs(value):.12g}"
            part = name if size == "1" and name else f"{size} {name}".strip()
            text += (" - " if value < 0 else " + ") + part if text else ("-" if value < 0 else "") + part
    return text or "0"


def _factor(value: float) -> str:
    return "" if value == 1 else "-" if value == -1 else f"{value:.12g} "


def _mirrored(function: Function, points: Array) -> Iterator[Identity]:
    """Rules that join f(x) and f(-x), beyond odd and even."""
    f, g = (evaluated((function.order(0),), x)[0] for x in (points, -points))
    (middle,) = evaluated((function.order(0),), np.zeros(1))[0]
    for text, left, right, at_0 in (
        ("f(-x) = 1 - f(x)", g, 1 - f, abs(2 * middle - 1) <= _CLOSE),
        ("f(x) - f(-x) = x", f - g, points, True),
    ):
        size = np.abs(f) + np.abs(g) + np.abs(right)
        if np.isfinite(size).all():
            error = float(np.max(np.abs(left - right) / size))
            if error <= _CLOSE and np.ptp(f - points) > 1e-9:
                yield Identity(text, "all x" if at_0 else "x \N{NOT EQUAL TO} 0", error)

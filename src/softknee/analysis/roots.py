"""Roots and signs of a derived expression along the line, found in float64 and settled in mpmath.

A sign that float64 gets wrong by cancellation, or a zero that is only underflow, is found out: every
sign change is confirmed, and every stretch of zeros examined, in 40 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import mpmath as mp
import numpy as np

from softknee.analysis.function import Array, evaluated
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled, evaluate_mp
from softknee.lang.nodes import OPS, Node, absolute, make, walk

__all__ = ["Stretch", "grid", "roots_of", "stretches"]

REACH = 1e4  # how far out roots are looked for
_DENSE = 30.0
_MOST = 120  # more roots than that are looked for nearer to 0 only


def grid(breaks: Sequence[float] = ()) -> Array:
    """Points to look at: dense in [-30, 30], by powers out to 1e4, in to 1e-6, and towards every break."""
    near = np.geomspace(1e-6, 1, 60)
    far = np.geomspace(_DENSE, REACH, 160)
    parts = [np.arange(-_DENSE, _DENSE + 0.025, 0.05) + 1e-3, far, -far, near, -near]
    for place in breaks:
        parts += [place + near * max(1.0, abs(place)), place - near * max(1.0, abs(place))]
    points = np.unique(np.concatenate(parts))
    return points[~np.isin(points, breaks)]


@dataclass(frozen=True)
class Stretch:
    """An open interval on which a function has one sign (1, -1), or is exactly 0."""

    low: float
    high: float
    sign: int


def _sign(expression: Node, at: object) -> int | None:
    """The sign in exact arithmetic; None where the function is not defined."""
    try:
        value = evaluate_mp(expression, {"x": at}, 12)
    except (ArithmeticError, ValueError, TypeError):
        return None
    if isinstance(value, mp.mpc) or mp.isnan(value):
        return None
    return int(mp.sign(value))


def _signs(expression: Node, points: Array) -> Array:
    """The signs in float64; NaN where what remains after cancellation may be rounding alone."""
    values, size = evaluated((expression, _magnitude(expression)), points)
    with np.errstate(invalid="ignore"):
        return np.where((np.abs(values) < 1e-12 * size) & (values != 0), np.nan, np.sign(values))


def _magnitude(expression: Node) -> Node:
    """The sum of the sizes of the terms that an expression adds up: what its rounding errors scale with."""
    sizes: dict[int, Node] = {}
    for n in walk(expression):
        below = [sizes[id(a)] for a in n.args if id(a) in sizes]
        if n.op in ("add", "sub"):
            sizes[id(n)] = below[0] + below[1]
        elif n.op == "mul":
            sizes[id(n)] = below[0] * below[1]
        elif n.op == "div":
            sizes[id(n)] = below[0] / absolute(n.args[1])
        elif n.op == "where":
            sizes[id(n)] = make(n.op, (n.args[0], *below))
        elif OPS[n.op].result == "R":
            sizes[id(n)] = below[0] if n.op == "neg" else absolute(n)
    return sizes[id(expression)]


def stretches(expression: Node, breaks: Sequence[float] = ()) -> list[Stretch]:
    """The line cut into intervals of constant sign, at the roots and at the breaks.

    Where the function is not defined there is no stretch. Roots where the sign does not change are
    not seen, and neither are roots beyond |x| = 1e4 (nearer, where a function oscillates).
    """
    points = grid(breaks)
    signs = _signs(expression, points)
    far = np.abs(points) > _DENSE
    if np.count_nonzero(np.diff(signs[far])) > 12:  # an oscillation, which so wide a net does not follow
        points, signs = points[~far], signs[~far]
    reach = _DENSE
    while np.count_nonzero(np.diff(signs)) > _MOST:
        reach /= 2
        near = np.abs(points) < reach
        points, signs = points[near], signs[near]
    edges = [-math.inf, *sorted(breaks), math.inf]
    found: list[Stretch] = []
    for low, high in pairwise(edges):
        inside = (points > low) & (points < high) & ~np.isnan(signs)
        found += _piece(expression, low, high, points[inside], signs[inside])
    return found


def _piece(expression: Node, low: float, high: float, points: Array, signs: Array) -> list[Stretch]:
    """The stretches of one piece without breaks."""
    if not len(points):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(signs)) + 1), len(signs)]
    runs: list[tuple[int, float, float]] = []  # sign, first and last point
    for first, last in pairwise(cuts):
        a, b, sign = float(points[first]), float(points[last - 1]), int(signs[first])
        if sign == 0:  # a stretch of zeros, or underflow, or a root met by chance?
            nearest = min(points[first:last], key=abs)
            real = _sign(expression, float(nearest)) if last - first > 1 else 0
            if last - first == 1 or real is None:
                continue
            sign = real
        elif last - first <= 3 and len(cuts) > 3:  # short: rounding noise?
            real = _sign(expression, float(points[(first + last - 1) // 2]))
            if real is None:
                continue
            sign = real
        if runs and runs[-1][0] == sign:
            runs[-1] = sign, runs[-1][1], b
        else:
            runs.append((sign, a, b))
    found: list[Stretch] = []
    start = low
    for (sign, _, last), following in zip(runs, [*runs[1:], None], strict=True):
        end = high if following is None else _crossing(expression, last, following[1], sign, following[0])
        if end is None:  # float64 was wrong about the sign: no change here
            continue
        if found and found[-1].sign == sign:
            found[-1] = Stretch(found[-1].low, end, sign)
        else:
            found.append(Stretch(start, end, sign))
        start = end
    return found


def _crossing(expression: Node, low: float, high: float, before: int, after: int) -> float | None:
    """Where the sign changes from `before` to `after`; None where float64 was wrong and it does not.

    Found in float64, made exact by a secant step, confirmed by the signs on both sides of it.
    """
    if low < 0 < high and _sign(expression, 0.0) == 0:
        ends = _sign(expression, low), _sign(expression, high)
        return 0.0 if ends == (before, after) else None
    if before and after:
        function = compiled((expression,), ("x",), "float")
        narrow = 1e-13 * max(abs(low), abs(high), 1e-3)
        close = _bisect(lambda x: bool((function(x)[0] > 0) == (before > 0)), low, high)
        with mp.workdps(30):
            step = mp.mpf(narrow) * 1000
            here, there = (evaluate_mp(expression, {"x": x}, 20) for x in (mp.mpf(close), close + step))
            root = close - here * step / (there - here) if here != there else mp.inf
            if abs(root - close) < step:
                around = [_sign(expression, root - narrow), _sign(expression, root + narrow)]
                if around == [before, after]:
                    return float(root)
    if (_sign(expression, low), _sign(expression, high)) != (before, after):
        return None
    return _bisect(lambda x: _sign(expression, x) == before, low, high)


def _bisect(is_before: Callable[[float], bool], low: float, high: float) -> float:
    while high - low > 1e-22 and low < (middle := (low + high) / 2) < high:
        if is_before(middle):
            low = middle
        else:
            high = middle
    return high


def roots_of(expression: Node, breaks: Sequence[float] = ()) -> tuple[list[float], list[tuple[float, float]]]:
    """The isolated roots, and the intervals on which the function is 0; roots at breaks included."""
    parts = stretches(expression, breaks)
    intervals = [(s.low, s.high) for s in parts if s.sign == 0]
    crossings = {s.low for s in parts if math.isfinite(s.low)} - set(breaks)
    at_breaks = {b for b in breaks if _sign(expression, b) == 0}
    beside = {r for r in crossings for b in breaks if abs(r - b) <= 1e-12 * max(1.0, abs(b))}
    roots = (crossings - beside) | at_breaks | set(_touching(expression, breaks))
    return sorted(r for r in roots if not any(a <= r <= b for a, b in intervals)), intervals


def _touching(expression: Node, breaks: Sequence[float]) -> list[float]:
    """Roots at which the sign does not change: where the slope has a root and the value is 0 too."""
    slope = derivative(expression, "x")
    points = grid(breaks)
    values, slopes = evaluated((expression, slope), points)
    size = np.abs(values)
    with np.errstate(all="ignore"):
        turns = (slopes[:-1] * slopes[1:] < 0) & (values[:-1] * values[1:] > 0)
        turns &= np.isfinite(_signs(slope, points)[:-1]) & np.isfinite(_signs(slope, points)[1:])
        turns &= (np.minimum(size[:-1], size[1:]) < 0.05) & (np.diff(points) < 0.06)
    found = []
    for i in np.flatnonzero(turns)[:50]:
        if (
            root := _crossing(slope, float(points[i]), float(points[i + 1]), *np.sign(slopes[i : i + 2]))
        ) is None:
            continue
        if abs(evaluate_mp(expression, {"x": root}, 12)) < 1e-28:
            found.append(root)
    return found

"""The shape of a function: where it rises and bends, what values it takes, where it repeats itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from softknee.analysis.function import Function, Measured, evaluated
from softknee.analysis.kinks import Breaks, beside
from softknee.analysis.roots import REACH, Stretch, grid, roots_of, stretches
from softknee.lang.limits import Limit, limit
from softknee.lang.nodes import symbol
from softknee.lang.simplify import simplify

__all__ = [
    "FixedPoint",
    "Piece",
    "Range",
    "fixed_points",
    "monotone_pieces",
    "range_of",
    "symmetry",
    "turning",
]

Direction = Literal["increasing", "decreasing", "constant"]
_DIRECTIONS: dict[int, Direction] = {1: "increasing", -1: "decreasing", 0: "constant"}
_ROUNDING = 2.3e-16


class Range(NamedTuple):
    """All values between low and high. closed: the end itself is taken; at: on this interval (low = high
    at a single place), the one nearest to 0 if there are several; None where it is only approached."""

    low: Measured
    high: Measured
    low_closed: bool
    high_closed: bool
    low_at: tuple[float, float] | None
    high_at: tuple[float, float] | None

    def __str__(self) -> str:
        return (
            f"{'[' if self.low_closed else '('}{_short(self.low)}, "
            f"{_short(self.high)}{']' if self.high_closed else ')'}"
        )


def _short(value: float) -> str:
    return f"{value:.6g}".replace("inf", "∞")


class Piece(NamedTuple):
    low: float
    high: float
    direction: Direction


@dataclass(frozen=True)
class FixedPoint:
    """f(x) = x, at every x from low to high (low = high: at one place). slope: f' there, the larger of the
    two at a kink. attracting: |f'| < 1, so that iterating f comes back to it; neutral: |f'| = 1."""

    low: float
    high: float
    slope: float
    stability: Literal["attracting", "repelling", "neutral"]


class _Value(NamedTuple):
    value: float
    low: float
    high: float
    attained: bool
    error: float


def turning(function: Function, k: int, breaks: Breaks) -> list[Stretch]:
    """The stretches on which the k-th derivative rises (1), falls (-1) or is constant (0)."""
    parts = stretches(function.order(k + 1), breaks.places)
    (values,) = evaluated((function.order(k),), np.array([_inside(part) for part in parts]))
    return [part for part, value in zip(parts, values, strict=True) if not math.isnan(value)]


def range_of(
    function: Function, k: int, breaks: Breaks, parts: list[Stretch], ends: tuple[Limit, Limit]
) -> Range:
    """The values of the k-th derivative; parts: its stretches, ends: its limits."""
    values = [v for v in _values(function, k, breaks, parts, ends) if not math.isnan(v.value)]
    if not values:
        raise ValueError(f"{function.name} is defined nowhere")
    low = min(values, key=lambda v: v.value)
    high = max(values, key=lambda v: v.value)
    far = _beyond(function, k, ends)
    low, high = far[0] or _chosen(values, low), far[1] or _chosen(values, high)
    return Range(
        Measured(low.value, low.error), Measured(high.value, high.error),
        low.attained, high.attained,
        (low.low, low.high) if low.attained else None,
        (high.low, high.high) if high.attained else None,
    )  # fmt: skip


def _chosen(values: list[_Value], best: _Value) -> _Value:
    """Of the equally good, one that is attained, an interval before a point, near 0 before far."""
    close = 1e-14 * max(1.0, abs(best.value)) if math.isfinite(best.value) else 0.0
    equal = [v for v in values if v.value == best.value or abs(v.value - best.value) <= close]
    return min(equal, key=lambda v: (not v.attained, v.low == v.high, min(abs(v.low), abs(v.high)), -v.low))


def _values(
    function: Function, k: int, breaks: Breaks, parts: list[Stretch], ends: tuple[Limit, Limit]
) -> Iterator[_Value]:
    for part in parts:
        if part.sign == 0:  # a plateau
            yield _Value(_rounded(function.exact(_inside(part), k, 18)), part.low, part.high, True, _ROUNDING)
    for place in {e for part in parts for e in (part.low, part.high) if math.isfinite(e)} - set(
        breaks.places
    ):
        value = _rounded(function.exact(place, k, 18))
        yield _Value(value, place, place, True, _ROUNDING * abs(value))
    used = {kink.place: kink.used if k else kink.value for kink in breaks.kinks}
    for place in breaks.places:
        here = used[place] if place in used else _rounded(function.exact(place, k, 18))
        for side in (-1, 1):
            value = _rounded(beside(function, place, k, side))
            yield _Value(
                value, place, place, value == here, _ROUNDING * abs(value) if math.isfinite(value) else 0.0
            )
        yield _Value(here, place, place, True, _ROUNDING * abs(here))
    for at, end in zip((-math.inf, math.inf), ends, strict=True):
        if end.value is not None:
            error = 0.0 if end.how == "rule" or math.isinf(end.value) else 1e-6 * max(1.0, abs(end.value))
            yield _Value(end.value, at, at, False, error)


def _rounded(value: Any) -> float:
    """To float64; what is 0 but for the rounding of the place is 0."""
    return 0.0 if abs(value) < 1e-20 else float(value)


def _inside(part: Stretch) -> float:
    if math.isinf(part.low) and math.isinf(part.high):
        return 0.0
    if math.isinf(part.low):
        return part.high - 1
    return part.low + 1 if math.isinf(part.high) else (part.low + part.high) / 2


def _beyond(function: Function, k: int, ends: tuple[Limit, Limit]) -> tuple[_Value | None, _Value | None]:
    """+-inf where a function without a limit swings ever wider."""
    if all(end.value is not None for end in ends):
        return None, None
    near, far = (evaluated((function.order(k),), np.linspace(-r, r, 20_001))[0] for r in (20.0, REACH))
    size = 10 * (np.nanmax(np.abs(near)) + 1)
    return (
        _Value(-math.inf, 0, 0, False, 0.0) if np.nanmin(far) < -size else None,
        _Value(math.inf, 0, 0, False, 0.0) if np.nanmax(far) > size else None,
    )


def monotone_pieces(function: Function, breaks: Breaks, parts: list[Stretch]) -> tuple[Piece, ...]:
    """Where f rises, falls, is constant; a jump ends a piece unless it goes on in the same direction."""
    jumps = {k.place: np.sign(k.right_value - k.left_value) for k in breaks.kinks if k.jump}
    pieces: list[Piece] = []
    for part in parts:
        direction = _DIRECTIONS[part.sign]
        if pieces and pieces[-1].direction == direction and jumps.get(part.low, part.sign) == part.sign:
            pieces[-1] = Piece(pieces[-1].low, part.high, direction)
        else:
            pieces.append(Piece(part.low, part.high, direction))
    return tuple(pieces)


def direction_of(pieces: tuple[Piece, ...], breaks: Breaks) -> Direction | None:
    """increasing or decreasing throughout (constant parts allowed), constant, or None."""
    signs = {piece.direction for piece in pieces}
    for kink in breaks.kinks:
        if kink.jump:
            up = kink.left_value <= kink.value <= kink.right_value
            down = kink.left_value >= kink.value >= kink.right_value
            signs.add("increasing" if up else "decreasing" if down else "constant")
            if not up and not down:
                return None
    moving = signs - {"constant"}
    if len(moving) > 1:
        return None
    return moving.pop() if moving else "constant"


def curvature(
    function: Function, breaks: Breaks, parts: list[Stretch]
) -> Literal["convex", "concave", "linear"] | None:
    """parts: the stretches of f' (whose sign is that of f'')."""
    signs = {part.sign for part in parts} - {0}
    if breaks.order < 0:
        return None
    for kink in breaks.kinks:
        signs.add(1 if kink.right > kink.left else -1)
    if len(signs) > 1:
        return None
    return "linear" if not signs else "convex" if signs.pop() > 0 else "concave"


def symmetry(function: Function, breaks: Breaks) -> Literal["odd", "even"] | None:
    points = np.abs(grid(breaks.places))
    points = points[points <= 30]
    f, mirrored = (evaluated((function.order(0),), x)[0] for x in (points, -points))
    size = np.maximum(np.abs(f), np.abs(mirrored)) + 1e-300
    if np.all(np.abs(f - mirrored) <= 1e-11 * size):
        return "even"
    return "odd" if np.all(np.abs(f + mirrored) <= 1e-11 * size) else None


def fixed_points(function: Function, breaks: Breaks) -> tuple[FixedPoint, ...]:
    """Where f(x) = x, for |x| up to 10,000; of the roots of an oscillating function only the first 20."""
    places, intervals = roots_of(simplify(function.order(0) - symbol("x")), breaks.places)
    found = [_fixed(function, low, high) for low, high in intervals]
    for place in sorted(places, key=abs)[:20]:
        if place in breaks.places:
            slope = max((float(beside(function, place, 1, side)) for side in (-1, 1)), key=abs)
            found.append(_stable(place, place, slope))
        else:
            found.append(_fixed(function, place, place))
    return tuple(sorted(found, key=lambda p: p.low))


def _fixed(function: Function, low: float, high: float) -> FixedPoint:
    inside = low if low == high else _inside(Stretch(low, high, 0))
    return _stable(low, high, float(function.exact(inside, 1)))


def _stable(low: float, high: float, slope: float) -> FixedPoint:
    neutral = abs(abs(slope) - 1) <= 1e-12
    return FixedPoint(
        low, high, slope, "neutral" if neutral else "attracting" if abs(slope) < 1 else "repelling"
    )


def limits_of(function: Function, k: int) -> tuple[Limit, Limit]:
    below, above = (limit(function.order(k), at) for at in (-math.inf, math.inf))
    return below, above

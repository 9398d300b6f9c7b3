"""Where a function or one of its derivatives jumps, and the one-sided derivatives there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mpmath as mp

from softknee.analysis.function import Function
from softknee.analysis.roots import stretches
from softknee.catalogue.definition import LEFT, MEAN, RIGHT
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import evaluate_mp
from softknee.lang.nodes import Node, as_node, substitute, symbols_in, walk
from softknee.lang.simplify import simplify

__all__ = ["Breaks", "Kink", "beside", "breaks_of"]

#: derivatives of up to this order are compared; what is continuous that far counts as smooth
HIGHEST = 4
_STEP = mp.mpf(10) ** -24  # how far beside a place "beside" is
_EQUAL = mp.mpf(10) ** -18  # relative difference below which two sides agree


@dataclass(frozen=True)
class Kink:
    """A place where f or f' jumps.

    left, right: the one-sided derivatives (inf where the tangent is vertical). used: the derivative
    that is computed with there. left_value, right_value, value: of f; they differ at a jump of f
    itself. declared: the definition says so.
    """

    place: float
    left: float
    right: float
    used: float
    left_value: float
    right_value: float
    value: float
    declared: bool

    @property
    def jump(self) -> bool:
        """Whether f itself jumps."""
        return not self.left_value == self.right_value == self.value


@dataclass(frozen=True)
class Breaks:
    """kinks: f or f' jumps there. places: those, and where a higher derivative does. order: the highest
    continuous derivative (-1: f jumps; inf: smooth)."""

    kinks: tuple[Kink, ...]
    places: tuple[float, ...]
    order: float
    closed: tuple[float, ...]  # declared as kinks, but f' is continuous there for these parameters

    @property
    def smoothness(self) -> str:
        """The class of the function: discontinuous, C0, C1, ..., C∞."""
        if self.order < 0:
            return "discontinuous"
        return "C∞" if math.isinf(self.order) else f"C{self.order:.0f}"


def breaks_of(function: Function) -> Breaks:
    """Every place where something jumps, found by solving for the boundaries of its branches."""
    declared = dict(_declared(function))
    places = sorted({*declared, *_candidates(function.order(0))})
    kinks, kept, order = [], [], math.inf
    for place in places:
        k = _first_jump(function, place)
        if k is None:
            continue
        order = min(order, k - 1)
        kept.append(float(place))
        if k <= 1:
            kinks.append(_kink(function, place, declared))
    closed = tuple(float(p) for p in declared if not any(k.place == float(p) for k in kinks))
    return Breaks(tuple(kinks), tuple(kept), order, closed)


def _declared(function: Function) -> Iterator[tuple[Any, Any]]:
    for place, slope in function.definition.kinks.items():
        at = evaluate_mp(substitute(place, function.values), {}, 50)
        if mp.isfinite(at):
            yield at, slope


def _candidates(root: Node) -> set[Any]:
    """Roots of everything at whose roots an operation may be rough."""
    found: set[Any] = set()
    for boundary in {id(b): b for b in _boundaries(root)}.values():
        found.update(_solve(boundary))
    merged: list[Any] = []
    for place in sorted(found):
        if not merged or abs(place - merged[-1]) > mp.mpf(10) ** -20 * max(1, abs(place)):
            merged.append(place)
    return set(merged)


def _boundaries(root: Node) -> Iterator[Node]:
    for n in walk(root):
        if n.op in ("lt", "le", "gt", "ge", "eq", "ne", "minimum", "maximum"):
            boundary = n.args[0] - n.args[1]
        elif n.op in ("abs", "sign", "sqrt", "log"):
            boundary = n.args[0]
        elif n.op == "log1p":
            boundary = 1 + n.args[0]
        elif n.op == "div":
            boundary = n.args[1]
        elif n.op == "pow" and not (isinstance(n.args[1].payload, int) and n.args[1].payload >= 0):
            boundary = n.args[0]
        else:
            continue
        if "x" in symbols_in(boundary):
            yield simplify(boundary)


def _solve(boundary: Node) -> list[Any]:
    slope = derivative(boundary, "x")
    if slope.op == "number" and slope.payload:
        with mp.workdps(60):
            place = -evaluate_mp(boundary, {"x": 0}, 50) / evaluate_mp(slope, {}, 50)
        return [place] if mp.isfinite(place) else []
    ends = {e for s in stretches(boundary, _places_inside(boundary)) for e in (s.low, s.high)}
    return [_polished(boundary, e) for e in ends if math.isfinite(e)]


def _places_inside(boundary: Node) -> list[float]:
    """The breaks of a boundary that has branches itself: |x| - 1."""
    return sorted({float(p) for p in _candidates(boundary)})


def _polished(boundary: Node, place: float) -> Any:
    """A root known in float64, in 50 digits, by Newton's method."""
    slope = derivative(boundary, "x")
    with mp.workdps(60):
        root = mp.mpf(place)
        for _ in range(3):
            value = evaluate_mp(boundary, {"x": root}, 50)
            if value == 0:
                break
            steepness = evaluate_mp(slope, {"x": root}, 50)
            if not steepness or abs(value / steepness) > 1e-9 * max(1.0, abs(place)):
                return mp.mpf(place)
            root -= value / steepness
        return root


def beside(function: Function, place: Any, k: int, side: int) -> Any:
    """The k-th derivative's limit from one side; +-inf where it grows without bound."""
    with mp.workdps(80):
        step = _STEP * max(1, abs(place))
        try:
            near, nearer = (function.exact(place + side * h, k, 30) for h in (step, step * step))
        except (ArithmeticError, ValueError, TypeError):
            return mp.nan
        if isinstance(nearer, mp.mpc):
            return mp.nan
        return mp.sign(nearer) * mp.inf if abs(nearer) > 1e6 * max(1, abs(near)) else nearer


def _differ(a: Any, b: Any) -> bool:
    if mp.isnan(a) or mp.isnan(b):
        return not (mp.isnan(a) and mp.isnan(b))
    return bool(a != b if mp.isinf(a) or mp.isinf(b) else abs(a - b) > _EQUAL * max(1, abs(a), abs(b)))


def _first_jump(function: Function, place: Any) -> int | None:
    """The lowest order whose derivative jumps at a place; None up to HIGHEST."""
    for k in range(HIGHEST + 1):
        left, right = beside(function, place, k, -1), beside(function, place, k, 1)
        if mp.isnan(left) and mp.isnan(right):
            return None  # not defined around here
        if _differ(left, right) or mp.isinf(left):
            return k
        if k == 0 and _differ(_value(function, place), left):
            return 0
    return None


def _value(function: Function, place: Any) -> Any:
    try:
        return function.exact(place, 0, 30)
    except (ArithmeticError, ValueError, TypeError):
        return mp.nan


def _kink(function: Function, place: Any, declared: dict[Any, Any]) -> Kink:
    left, right = (_rounded(beside(function, place, 1, side)) for side in (-1, 1))
    known = [p for p in declared if abs(p - place) <= 1e-15 * max(1, abs(place))]
    slope = declared[known[0]] if known else function.order(1)
    if isinstance(slope, str):
        used = {LEFT: left, RIGHT: right, MEAN: (left + right) / 2}[slope]  # type: ignore[index]
    else:
        used = _rounded(evaluate_mp(substitute(as_node(slope), function.values), {"x": place}, 25))
    return Kink(
        place=float(place), left=left, right=right, used=used,
        left_value=_rounded(beside(function, place, 0, -1)), right_value=_rounded(beside(function, place, 0, 1)),
        value=_rounded(_value(function, place)), declared=bool(known),
    )  # fmt: skip


def _rounded(value: Any) -> float:
    """To float64; what is 0 but for the step beside the place is 0."""
    return 0.0 if abs(value) < 1e-20 else float(value)

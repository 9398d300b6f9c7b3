"""The truth, from the textbook formula alone: values and derivatives to 20 digits and more.

Nothing is shared with the package but the formula itself: the operations are mpmath's, only the
branch that holds is evaluated, and a derivative is a finite difference of values, at a precision that
is raised until two differences agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath as mp

from softknee.lang.nodes import Node, walk

__all__ = ["Exact", "exact_value"]

#: digits to work with, one after the other
LEVELS = (60, 150, 500, 1500)
_AGREED = mp.mpf(10) ** -20
_HUGE = mp.mpf(10) ** 8  # e^-_HUGE is 0 for every purpose


def _exp(a: Any) -> Any:
    return mp.exp(a) if abs(a) < _HUGE else (mp.inf if a > 0 else mp.mpf(0))


def _expm1(a: Any) -> Any:
    return mp.expm1(a) if abs(a) < _HUGE else (mp.inf if a > 0 else mp.mpf(-1))


def _log1p(a: Any) -> Any:
    # the first terms of the series are exact where 1 + a is 1
    return a - a * a / 2 if abs(a) < mp.mpf(2) ** -mp.mp.prec else mp.log1p(a)


def _sigmoid(a: Any) -> Any:
    return 1 / (1 + _exp(-a)) if a > 0 else _exp(a) / (1 + _exp(a))


def _softplus(a: Any) -> Any:
    return max(a, mp.mpf(0)) + _log1p(_exp(-abs(a)))


def _tanh(a: Any) -> Any:
    return mp.tanh(a) if abs(a) < _HUGE else mp.sign(a)


def _erfc(a: Any) -> Any:
    return mp.erfc(a) if abs(a) < 10**4 else mp.mpf(2 if a < 0 else 0)


def _power(a: Any, b: Any) -> Any:
    return mp.power(a, int(b)) if b == int(b) else mp.power(a, b)


def _number(value: Any) -> Any:
    return mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else mp.mpf(value)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "neg": lambda a: -a, "pow": _power, "sqrt": mp.sqrt, "exp": _exp, "expm1": _expm1, "log": mp.log,
    "log1p": _log1p, "tanh": _tanh, "sigmoid": _sigmoid, "softplus": _softplus,
    "erf": lambda a: mp.erf(a) if abs(a) < 10**4 else mp.sign(a),
    "normal_cdf": lambda a: _erfc(-a / mp.sqrt(2)) / 2,
    "normal_pdf": lambda a: _exp(-a * a / 2) / mp.sqrt(2 * mp.pi),
    "sin": mp.sin, "cos": mp.cos, "atan": mp.atan, "asinh": mp.asinh, "detach": lambda a: a,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
}  # fmt: skip


class _Evaluation:
    """One evaluation; `taken` says which pieces of the function it went through."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.done: dict[int, Any] = {}
        self.taken: list[int] = []

    def of(self, n: Node) -> Any:
        key = id(n)
        if key not in self.done:
            self.done[key] = self._evaluate(n)
        return self.done[key]

    def _evaluate(self, n: Node) -> Any:
        op = n.op
        if op == "symbol":
            return self.values[n.payload]
        if op == "number":
            return _number(n.payload)
        if op == "constant":
            return +mp.pi
        if op == "where":
            holds = self.of(n.args[0])
            self.taken.append(bool(holds))
            return self.of(n.args[1] if holds else n.args[2])
        if op in ("and", "or"):
            first = self.of(n.args[0])
            return self.of(n.args[1]) if bool(first) is (op == "and") else first
        if op == "not":
            return not self.of(n.args[0])
        args = [self.of(a) for a in n.args]
        if op in _COMPARISONS:
            return _COMPARISONS[op](*args)
        if op in ("minimum", "maximum"):
            a, b = args
            self.taken.append((a > b) - (a < b))
            return (min if op == "minimum" else max)(a, b)
        if op in ("abs", "sign"):
            self.taken.append(int(mp.sign(args[0])))
            return abs(args[0]) if op == "abs" else mp.sign(args[0])
        return _OPERATIONS[op](*args)


@lru_cache(maxsize=256)
def _weights(offsets: tuple[int, ...], order: int) -> tuple[Fraction, ...]:
    """The weights with which values at these offsets give the order-th derivative at 0, times h^order."""
    size = len(offsets)
    rows = [
        [Fraction(o) ** k for o in offsets] + [Fraction(math.factorial(k) if k == order else 0)]
        for k in range(size)
    ]
    for i in range(size):  # Gauss-Jordan
        pivot = next(r for r in range(i, size) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(size):
            if r != i and rows[r][i]:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return tuple(row[-1] for row in rows)


class Exact:
    """A function of x: an expression with values for its other symbols.

    kinks: place -> the slope used there ("left", "right", "mean" or an expression).
    """

    def __init__(
        self,
        expression: Node,
        values: Mapping[str, Any] | None = None,
        kinks: Mapping[Any, Any] | None = None,
    ) -> None:
        self.expression = expression
        self.given = dict(values or {})
        self.kinks = dict(kinks or {})
        #: a sine turns within 1 wherever x is; what else there is varies with the size of x
        self._turns = any(n.op in ("sin", "cos") for n in walk(expression))
        self._known: dict[tuple[float, int], Any] = {}
        self._point: dict[tuple[float, int, int], tuple[Any, tuple[int, ...]]] = {}

    def _at(self, x: Any, root: Node | None = None) -> tuple[Any, tuple[int, ...]]:
        values = {n: _number(v) for n, v in self.given.items()}
        run = _Evaluation(values | {"x": x})
        try:
            value = run.of(self.expression if root is None else root)
        except ZeroDivisionError:
            value = mp.nan
        if isinstance(value, mp.mpc):
            value = mp.nan
        return value, tuple(run.taken)

    def value(self, x: float) -> Any:
        return self.derivative(x, 0)

    def derivative(self, x: float, order: int = 1) -> Any:
        """The order-th derivative at a finite x; at a kink the stated slope; NaN where there is none."""
        key = (x, order)
        if key not in self._known:
            self._known[key] = self._value(x) if order == 0 else self._derivative(x, order)
        return self._known[key]

    def settled(self, x: float, order: int = 0) -> Any:
        """The same to 1,500 digits, so that it tells on which side of a midpoint it lies, or that it is one."""
        with mp.workdps(LEVELS[-1]):
            if order == 0:
                return self._at(mp.mpf(x))[0]
            best = self._difference(x, order, 0, LEVELS[-1:])
            if best is None or mp.isnan(best):
                return self.derivative(x, order)
            short = mp.mpf(best)
            with mp.workprec(70):
                short = +short
            return short if abs(best - short) <= abs(best) * mp.mpf(10) ** -(LEVELS[-1] // 2) else best

    def _value(self, x: float) -> Any:
        previous = None
        for digits in LEVELS:
            with mp.workdps(digits):
                value, _ = self._at(mp.mpf(x))
                if mp.isnan(value) or mp.isinf(value):
                    return value
                if previous is not None and (
                    value == previous != 0 or abs(value - previous) < abs(value) * mp.mpf(10) ** -30
                ):
                    return value
                previous = value
        return mp.mpf(0) if abs(previous) < mp.mpf(10) ** -1000 else previous

    def _derivative(self, x: float, order: int) -> Any:
        found = self._difference(x, order, 0)
        if found is not None:
            return found
        left, right = self._difference(x, order, -1), self._difference(x, order, 1)
        if order == 1:
            stated = self._stated(x)
            if stated is not None:
                return {"left": left, "right": right}.get(
                    stated, (left + right) / 2 if stated == "mean" else stated
                )
        if left is None or right is None:
            return mp.nan
        return left if abs(left - right) <= mp.mpf(10) ** -18 * abs(left) else mp.nan

    def _stated(self, x: float) -> Any:
        for place, slope in self.kinks.items():
            with mp.workdps(60):
                if self._at(mp.mpf(x), place)[0] == mp.mpf(x):
                    return (
                        slope
                        if isinstance(slope, str)
                        else self._at(mp.mpf(x), slope)[0]
                        if isinstance(slope, Node)
                        else _number(slope)
                    )
        return None

    def _difference(self, x: float, order: int, side: int, levels: Sequence[int] = LEVELS) -> Any:
        """side 0: values on both sides, None where they are of different pieces."""
        reach = 2 if order < 3 else 3
        offsets = tuple(range(-reach, reach + 1)) if not side else tuple(side * j for j in range(1, 6))
        weights = _weights(offsets, order)
        previous = None
        split = False
        scale = math.frexp(max(abs(x), 1.0))[1]
        more = int(scale * 0.302) if self._turns else 0
        for digits in levels[1 if side else 0 :]:
            with mp.workdps(digits + more):
                at = mp.mpf(x)
                h = mp.ldexp(1, (0 if self._turns else scale) - int(digits * 3.32 / (order + 3)))
                found = [self._at(at + o * h) for o in offsets]
                split = len({taken for _, taken in found}) > 1
                if split:
                    continue
                if any(mp.isnan(v) or mp.isinf(v) for v, _ in found):
                    return mp.nan
                terms = (
                    mp.mpf(w.numerator) / w.denominator * v for w, (v, _) in zip(weights, found, strict=True)
                )
                best = mp.fsum(terms) / h**order
                # what is rounding alone, or vanishes, is settled by more digits
                if (
                    previous is not None
                    and abs(best - previous) <= _AGREED * abs(best)
                    and (best or digits >= 500)
                ):
                    return best
                previous = best
        if split:
            return None
        if len(levels) == 1:
            return previous
        return previous if previous is not None and abs(previous) > mp.mpf(10) ** -330 else mp.mpf(0)


def exact_value(expression: Node, values: Mapping[str, Any]) -> Any:
    """An expression's value, x among the values."""
    rest = {n: v for n, v in values.items() if n != "x"}
    return Exact(expression, rest).value(values.get("x", 0.0))

"""Limits and asymptotes at infinity: by rules where they decide, else numerically, and it says which.

The rules expand an expression in t = |x| -> inf as an asymptotic series, operation by operation; the first term that
is left decides. A bounded oscillation is a remainder of O(1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import mpmath as mp

from softknee.lang.evaluate import evaluate_mp
from softknee.lang.nodes import Node, Number, symbol, symbols_in
from softknee.lang.series import (
    LOG1P,
    ONE,
    Growth,
    Series,
    UnprovenError,
    compared,
    constant,
    exactly,
    exponential,
    logarithm,
    power,
    taylor,
)  # fmt: skip

__all__ = ["Asymptote", "Limit", "asymptote", "limit"]

How = Literal["rule", "numeric", "unproven"]

_DIGITS = 50
_SIN = [Fraction(0), Fraction(1), Fraction(0), Fraction(-1, 6)]
_COS = [Fraction(1), Fraction(0), Fraction(-1, 2), Fraction(0)]
_ATAN = [Fraction(0), Fraction(1), Fraction(0), Fraction(-1, 3)]


@dataclass(frozen=True)
class Limit:
    """The limit at one end.

    value: a number, +-inf, or None: there is none (found "numeric": it oscillates) or none was found
    ("unproven"). side: the sign of f minus its limit far out (0: it is reached exactly; None: unknown).
    """

    value: float | None
    how: How
    side: int | None = None


@dataclass(frozen=True)
class Asymptote:
    """The line slope x + intercept that the function approaches; None: there is no such line."""

    slope: float | None
    intercept: float | None
    how: How


def _tail(u: Series) -> Series:
    """1 - Phi(u) for u -> inf: phi(u) / u (1 - 1/u^2 + 3/u^4 - ...)"""
    square = u * u
    inverse = power(square, mp.mpf(-1))
    density = constant(1 / mp.sqrt(2 * mp.pi)) * exponential(constant(mp.mpf(-1) / 2) * square)
    return density * power(u, mp.mpf(-1)) * taylor([mp.mpf(1), mp.mpf(-1), mp.mpf(3)], inverse)


def _inverse(u: Series) -> Series:
    return power(u, mp.mpf(-1))


def _root(u: Series) -> Series:
    return power(u, mp.mpf(1) / 2) if u.terms or u.rest else u


def _sigmoid(u: Series) -> Series:
    return _inverse(constant(1) + exponential(-u))


def _tanh(u: Series) -> Series:
    return constant(1) - constant(2) * _inverse(constant(1) + exponential(u + u))


def _asinh(u: Series) -> Series:
    return logarithm(u + _root(u * u + constant(1)))


def _normal_cdf(u: Series) -> Series:
    """Around a finite limit L: the derivatives of Phi are phi, -L phi, (L^2 - 1) phi, (3 L - L^3) phi."""
    at = u.limit()
    density = mp.npdf(at)
    slopes = [1, -at / 2, (at**2 - 1) / 6, (3 * at - at**3) / 24]
    return taylor([mp.ncdf(at), *(density * c for c in slopes)], u - constant(at))


def _erf(u: Series) -> Series:
    return constant(2) * _normal_cdf(constant(mp.sqrt(2)) * u) - constant(1)


def _atan(u: Series) -> Series:
    at = u.limit()
    v = u - constant(at)
    return constant(mp.atan(at)) + taylor(_ATAN, v * _inverse(constant(1 + at**2) + constant(at) * v))


def _wave(shift: int) -> Callable[[Series], Series]:
    def expand(u: Series) -> Series:
        at = u.limit()
        v = u - constant(at)
        along = (mp.sin, mp.cos)[shift](at), (mp.cos, lambda a: -mp.sin(a))[shift](at)
        return constant(along[0]) * taylor(_COS, v) + constant(along[1]) * taylor(_SIN, v)

    return expand


#: f(u) for u -> inf; for u -> -inf in terms of m = -u -> inf; for u -> a number
_FUNCTIONS: dict[str, tuple[Callable[[Series], Series], ...]] = {
    "tanh": (_tanh, lambda m: -_tanh(m), _tanh),
    "sigmoid": (_sigmoid, lambda m: exponential(-m) * _sigmoid(m), _sigmoid),
    "softplus": (
        lambda u: u + taylor(LOG1P, exponential(-u)),
        lambda m: taylor(LOG1P, exponential(-m)),
        lambda u: logarithm(constant(1) + exponential(u)),
    ),
    "normal_cdf": (lambda u: constant(1) - _tail(u), _tail, _normal_cdf),
    "erf": (
        lambda u: constant(1) - constant(2) * _tail(constant(mp.sqrt(2)) * u),
        lambda m: constant(2) * _tail(constant(mp.sqrt(2)) * m) - constant(1),
        _erf,
    ),
    "atan": (
        lambda u: constant(mp.pi / 2) - taylor(_ATAN, _inverse(u)),
        lambda m: taylor(_ATAN, _inverse(m)) - constant(mp.pi / 2),
        _atan,
    ),
    "asinh": (_asinh, lambda m: -_asinh(m), _asinh),
    "sin": (lambda u: Series([], ONE), lambda m: Series([], ONE), _wave(0)),
    "cos": (lambda u: Series([], ONE), lambda m: Series([], ONE), _wave(1)),
}
_EXACT: dict[str, Callable[..., Series]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a * _inverse(b),
    "neg": lambda a: -a,
    "sqrt": _root,
    "exp": exponential,
    "expm1": lambda a: exponential(a) - constant(1),
    "log": logarithm,
    "log1p": lambda a: logarithm(constant(1) + a),
    "normal_pdf": lambda a: constant(1 / mp.sqrt(2 * mp.pi)) * exponential(constant(mp.mpf(-1) / 2) * a * a),
    "abs": lambda a: constant(a.sign) * a,
    "sign": lambda a: constant(a.sign),
    "minimum": lambda a, b: a if (a - b).sign <= 0 else b,
    "maximum": lambda a, b: a if (a - b).sign >= 0 else b,
    "detach": lambda a: a,
}
_COMPARE: dict[str, Callable[[int], bool]] = {
    "lt": lambda s: s < 0, "le": lambda s: s <= 0, "gt": lambda s: s > 0, "ge": lambda s: s >= 0,
    "eq": lambda s: s == 0, "ne": lambda s: s != 0,
}  # fmt: skip


class _Expansion:
    """Expands the nodes that matter: of a where, the branch that holds far out."""

    def __init__(self, values: Mapping[str, Number], at: float, wrt: str) -> None:
        self.values, self.at, self.wrt = values, at, wrt
        self.done: dict[int, Series] = {}

    def holds(self, n: Node) -> bool:
        if n.op in _COMPARE:
            return _COMPARE[n.op]((self.of(n.args[0]) - self.of(n.args[1])).sign)
        if n.op == "not":
            return not self.holds(n.args[0])
        first = self.holds(n.args[0])
        return first if first is (n.op == "or") else self.holds(n.args[1])

    def of(self, n: Node) -> Series:
        if id(n) not in self.done:
            self.done[id(n)] = self._expand(n)
        return self.done[id(n)]

    def _expand(self, n: Node) -> Series:
        if n.op == "symbol":
            if n.payload == self.wrt:
                return Series([(mp.mpf(1 if self.at > 0 else -1), ((), 1.0, 0.0))])
            return constant(exactly(self.values[n.payload]))
        if n.op == "number":
            return constant(exactly(n.payload))
        if n.op == "constant":
            return constant(+mp.pi)
        if n.op == "where":
            return self.of(n.args[1] if self.holds(n.args[0]) else n.args[2])
        args = [self.of(a) for a in n.args]
        if n.op == "pow":
            base, exponent = args
            if exponent.rest is None and all(compared(g) == 0 for _, g in exponent.terms):
                return power(base, exponent.limit())
            return exponential(exponent * logarithm(base))
        if n.op in _EXACT:
            return _EXACT[n.op](*args)
        (u,) = args
        if not u.terms and u.rest is not None and compared(u.rest) == 0:
            return Series([], ONE)  # a continuous function of something bounded
        towards = u.limit()
        up, down, around = _FUNCTIONS[n.op]
        return around(u) if mp.isfinite(towards) else up(u) if towards > 0 else down(-u)


@lru_cache(maxsize=256)
def _expanded(
    root: Node, at: float, values: tuple[tuple[str, Number], ...], wrt: str
) -> Series | UnprovenError:
    try:
        return _Expansion(dict(values), at, wrt).of(root)
    except (UnprovenError, ZeroDivisionError, RecursionError) as error:
        return error if isinstance(error, UnprovenError) else UnprovenError(str(error))


def _expand(root: Node, at: float, values: Mapping[str, Number], wrt: str) -> Series:
    if not math.isinf(at):
        raise ValueError(f"limits are taken at inf and -inf, got {at!r}")
    if missing := [s for s in symbols_in(root) if s != wrt and s not in values]:
        raise KeyError(f"the limit needs a value for {missing[0]!r}")
    found = _expanded(root, at, tuple(values.items()), wrt)
    if isinstance(found, UnprovenError):
        raise found
    return found


def limit(root: Node, at: float, values: Mapping[str, Number] | None = None, wrt: str = "x") -> Limit:
    """The limit of an expression as `wrt` goes to `at` (inf or -inf), its other symbols being `values`.

    >>> from softknee.lang import symbol, softplus
    >>> x = symbol("x")
    >>> limit(softplus(x) - x, float("inf"))
    Limit(value=0.0, how='rule', side=1)
    """
    with mp.workdps(_DIGITS):
        try:
            series = _expand(root, at, values or {}, wrt)
            value = series.limit()
            if not mp.isinf(value):
                series = series - constant(value)
            return Limit(float(value), "rule", _side(series))
        except UnprovenError:
            return _numeric(root, at, values or {}, wrt)


def _side(difference: Series) -> int | None:
    return difference.sign if difference.terms or difference.rest is None else None


def asymptote(root: Node, at: float, values: Mapping[str, Number] | None = None, wrt: str = "x") -> Asymptote:
    """The line an expression approaches as `wrt` goes to `at`; a horizontal one has slope 0."""
    linear: Growth = ((), 1.0, 0.0)
    with mp.workdps(_DIGITS):
        try:
            series = _expand(root, at, values or {}, wrt)
            faster = [g for _, g in series.terms if compared(g, linear) > 0]
            if faster or (series.rest is not None and compared(series.rest, linear) >= 0):
                return Asymptote(None, None, "rule")
            between = [g for _, g in series.terms if compared(g, linear) < 0 < compared(g)]
            slope = sum((c for c, g in series.terms if compared(g, linear) == 0), mp.mpf(0)) * mp.sign(at)
            if between or (series.rest is not None and compared(series.rest) >= 0):
                return Asymptote(float(slope), None, "rule")
            level = sum((c for c, g in series.terms if compared(g) == 0), mp.mpf(0))
            return Asymptote(float(slope), float(level), "rule")
        except UnprovenError:
            slope = _numeric(root / symbol(wrt), at, values or {}, wrt).value
            if slope is None or math.isinf(slope):
                return Asymptote(None, None, "numeric")
            level = _numeric(root - slope * symbol(wrt), at, values or {}, wrt).value
            return Asymptote(slope, None if level is None or math.isinf(level) else level, "numeric")


#: uneven, so that no oscillation is met at the same phase again and again
_PLACES = tuple(10.0 * 1.37**k for k in range(20))  # 10 ... 4,000


def _numeric(root: Node, at: float, values: Mapping[str, Number], wrt: str) -> Limit:
    """The limit as values at growing |x| suggest it."""
    found = []
    for place in _PLACES:
        try:
            value = evaluate_mp(root, {**values, wrt: math.copysign(place, at)}, 20)
        except (ArithmeticError, TypeError, ValueError):
            return Limit(None, "unproven")
        if isinstance(value, (bool, mp.mpc)) or mp.isnan(value):
            return Limit(None, "unproven")
        found.append(value)
    last, late = found[-1], found[-10:]
    steps = [b - a for a, b in pairwise(late)]
    if max(map(abs, steps)) <= mp.mpf(10) ** -13 * abs(last):
        return Limit(float(last), "numeric")
    ratios = [b / a for a, b in pairwise(steps) if a]
    if ratios and 0 < max(ratios) < 0.95 and min(ratios) > 0:  # steps shrink as those of a power of t do
        towards = last + steps[-1] * ratios[-1] / (1 - ratios[-1])
        return Limit(0.0 if abs(towards) < abs(last) / 10 else float(towards), "numeric")
    if max(map(abs, late)) <= mp.mpf(10) ** -13:
        return Limit(0.0, "numeric")
    if min(ratios, default=0) > 0.99 and all(s * last > 0 for s in steps):
        return Limit(float(mp.sign(last)) * math.inf, "numeric")
    turns = sum(a * b < 0 for a, b in pairwise(steps))
    lasting = max(map(abs, steps[-4:])) > max(map(abs, steps[:4])) / 4
    return Limit(None, "numeric" if turns >= 3 and lasting else "unproven")

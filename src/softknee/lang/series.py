"""Asymptotic series: what an expression is for t -> inf, as terms c e^(a1 t^k1 + ...) t^p (log t)^q and a
remainder that is O(such a term). Exponentials beat powers beat logarithms, and what cancels leaves the next term.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cmp_to_key, reduce
from itertools import zip_longest
from typing import Any

import mpmath as mp

__all__ = [
    "ONE",
    "Growth",
    "Series",
    "UnprovenError",
    "compared",
    "constant",
    "exactly",
    "exponential",
    "logarithm",
    "power",
    "taylor",
]  # fmt: skip

_TINY = mp.mpf(10) ** -30  # what is smaller, relatively, has cancelled
_TERMS = 5  # kept of a series
_ORDER = 3  # of Taylor expansions
_BEYOND = 1e9  # the power of t in the exponent of what grows like e^(e^t)


LOG1P = [Fraction(0), *(Fraction((-1) ** (k + 1), k) for k in range(1, _ORDER + 1))]
_EXP = [Fraction(1, math.factorial(k)) for k in range(_ORDER + 1)]


class UnprovenError(ArithmeticError):
    """The rules do not decide."""


# Growth: (((k, a), ...) with k falling, p, q) stands for e^(a t^k + ...) t^p (log t)^q.
Growth = tuple[tuple[tuple[float, Any], ...], float, float]
ONE: Growth = ((), 0.0, 0.0)


def _cancel(a: Any, b: Any) -> bool:
    return bool(abs(a + b) <= _TINY * abs(a))


def _times(g: Growth, h: Growth) -> Growth:
    exponent = dict(g[0])
    for k, a in h[0]:
        exponent[k] = mp.mpf(0) if k in exponent and _cancel(exponent[k], a) else exponent.get(k, 0) + a
    if exponent.get(_BEYOND) == 0:
        raise UnprovenError("two functions beyond every exponential")
    return tuple(sorted(((k, a) for k, a in exponent.items() if a), reverse=True)), g[1] + h[1], g[2] + h[2]


def _over(g: Growth) -> Growth:
    return tuple((k, -a) for k, a in g[0]), -g[1], -g[2]


def compared(g: Growth, h: Growth = ONE) -> int:
    """1, 0 or -1: g grows faster than, like, slower than h."""
    if g is h or (
        g[0] and h[0] and g[0][0][0] == h[0][0][0] == _BEYOND and g[0][0][1] < 0 and h[0][0][1] < 0
    ):
        return 0  # two smaller than anything else need not be told apart
    none: tuple[float, Any] = (0.0, 0.0)
    for (k, a), (l, b) in zip_longest(g[0], h[0], fillvalue=none):
        if k != l:
            return (1 if a > 0 else -1) if k > l else (1 if b < 0 else -1)
        if a != b and not _cancel(a, -b):
            return 1 if a > b else -1
    for a, b in ((g[1], h[1]), (g[2], h[2])):
        if abs(a - b) > 1e-9:
            return 1 if a > b else -1
    return 0


@cmp_to_key
def _by_growth(a: tuple[Any, Growth], b: tuple[Any, Growth]) -> int:
    return compared(b[1], a[1])


class Series:
    """Terms, the fastest growing first, and a remainder that is O(rest); rest None: it is exact."""

    def __init__(self, terms: list[tuple[Any, Growth]], rest: Growth | None = None) -> None:
        merged: list[tuple[Any, Growth, Any]] = []  # coefficient, growth, the largest that went in
        for c, g in sorted(terms, key=_by_growth):
            if merged and compared(merged[-1][1], g) == 0:
                merged[-1] = merged[-1][0] + c, g, max(merged[-1][2], abs(c))
            else:
                merged.append((c, g, abs(c)))
        kept = [
            (c, g)
            for c, g, size in merged
            if abs(c) > _TINY * size and (rest is None or compared(g, rest) > 0)
        ]
        if len(kept) > _TERMS:
            kept, rest = kept[:_TERMS], kept[_TERMS][1]
        self.terms, self.rest = kept, rest

    def __add__(self, other: Series) -> Series:
        return Series(self.terms + other.terms, _larger(self.rest, other.rest))

    def __sub__(self, other: Series) -> Series:
        return self + constant(-1) * other

    def __mul__(self, other: Series) -> Series:
        rest = None
        for one, two in ((self, other), (other, self)):
            if one.rest is not None and (two.terms or two.rest is not None):
                rest = _larger(rest, _times(one.rest, two.size))
        return Series([(a * b, _times(g, h)) for a, g in self.terms for b, h in other.terms], rest)

    def __neg__(self) -> Series:
        return constant(-1) * self

    @property
    def size(self) -> Growth:
        """The growth of the leading term, or of the remainder where there is none."""
        if not self.terms and self.rest is None:
            raise UnprovenError("zero has no order of growth")
        return self.terms[0][1] if self.terms else self.rest  # type: ignore[return-value]

    @property
    def sign(self) -> int:
        """The sign far out."""
        if self.terms:
            return 1 if self.terms[0][0] > 0 else -1
        if self.rest is None:
            return 0
        raise UnprovenError("the sign of a remainder")

    def limit(self) -> Any:
        if not self.terms and self.rest is None:
            return mp.mpf(0)
        order = compared(self.size)
        if order < 0:
            return mp.mpf(0)
        if not self.terms:
            raise UnprovenError("a remainder that does not vanish")
        return self.terms[0][0] if order == 0 else self.sign * mp.inf

    def parts(self) -> tuple[Series, Series]:
        """The leading term c g, and v of c g (1 + v)."""
        if not self.terms:
            raise UnprovenError("no leading term")
        c, g = self.terms[0]
        inverse = Series([(1 / c, _over(g))])
        return Series([(c, g)]), Series(self.terms[1:], self.rest) * inverse


def _larger(g: Growth | None, h: Growth | None) -> Growth | None:
    if g is None or h is None:
        return h if g is None else g
    return g if compared(g, h) >= 0 else h


def constant(value: Any) -> Series:
    return Series([(exactly(value), ONE)] if value else [])


def exactly(value: Any) -> Any:
    return mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else mp.mpf(value)


def taylor(coefficients: list[Any], v: Series, exact: bool = False) -> Series:
    """c0 + c1 v + ...; v vanishes. exact: there are no further terms."""
    total, raised = constant(coefficients[0]), constant(1)
    for c in coefficients[1:]:
        raised = raised * v
        total = total + constant(c) * raised
    if not exact and (v.terms or v.rest is not None):
        total = total + Series([], (raised * v).size)
    return total


def power(s: Series, b: Any) -> Series:
    whole = mp.isint(b)
    if whole and 0 <= b <= _ORDER and not s.terms:
        return reduce(lambda p, _: p * s, range(int(b)), constant(1))
    lead, v = s.parts()
    c, (exponent, p, q) = lead.terms[0]
    if c < 0 and not whole:
        raise UnprovenError("a broken power of a negative number")
    growth = tuple((k, a * b) for k, a in exponent), p * float(b), q * float(b)
    first = Series([(mp.power(c, int(b) if whole else b), growth if b else ONE)])
    stops = whole and 0 <= b <= _ORDER
    return first * taylor([mp.binomial(b, k) for k in range(int(b) + 1 if stops else _ORDER + 1)], v, stops)


def exponential(s: Series) -> Series:
    if s.rest is not None and compared(s.rest) > 0:
        raise UnprovenError("an exponent that is not known to O(1)")
    growth, factor, small = ONE, mp.mpf(1), Series([], s.rest)
    for c, g in s.terms:
        order = compared(g)
        if order == 0:
            factor *= mp.exp(c)
        elif order < 0:
            small = small + Series([(c, g)])
        elif not g[0] and g[2] == 0:
            growth = _times(growth, (((g[1], c),), 0.0, 0.0))
        elif not g[0] and g[1:] == (0, 1):
            growth = _times(growth, ((), float(c), 0.0))
        else:
            growth = _times(growth, (((_BEYOND, mp.sign(c)),), 0.0, 0.0))
    if growth[0] and growth[0][0][0] == _BEYOND:
        return Series([(factor, growth)]) if growth[0][0][1] > 0 else Series([], growth)
    if s.rest is not None and compared(s.rest) == 0:
        return Series([], growth)
    return Series([(factor, growth)]) * taylor(_EXP, small)


def logarithm(s: Series) -> Series:
    lead, v = s.parts()
    c, (exponent, p, q) = lead.terms[0]
    if c <= 0 or q or any(k == _BEYOND for k, _ in exponent):
        raise UnprovenError("a logarithm of what is negative, or of a logarithm")
    terms: list[tuple[Any, Growth]] = [(a, ((), k, 0.0)) for k, a in exponent]
    terms += [(mp.mpf(p), ((), 0.0, 1.0))] if p else []
    return Series(terms) + constant(mp.log(c)) + taylor(LOG1P, v)

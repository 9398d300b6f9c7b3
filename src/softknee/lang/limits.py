"""Limits and asymptotes at infinity: by rules where they decide, else numerically, and it says which.

The rules expand an expression in t = |x| -> inf as a sum of terms c e^(a1 t^k1 + ...) t^p (log t)^q
with a remainder that is O(such a term): exponentials beat powers beat logarithms, and what cancels,
as in softplus(x) - x, leaves the next term. A bounded oscillation is a remainder of O(1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key, lru_cache, reduce
from itertools import pairwise, zip_longest
from typing import Any, Literal

import mpmath as mp

from softknee.lang.evaluate import evaluate_mp
from softknee.lang.nodes import Node, Number, symbol, symbols_in

__all__ = ["Asymptote", "Limit", "asymptote", "limit"]

How = Literal["rule", "numeric", "unproven"]

_DIGITS = 50
_TINY = mp.mpf(10) ** -30  # what is smaller, relatively, has cancelled
_TERMS = 5  # kept of a series
_ORDER = 3  # of Taylor expansions
_BEYOND = 1e9  # the power of t in the exponent of what grows like e^(e^t)


_GEOMETRIC = [Fraction((-1) ** k) for k in range(_ORDER + 1)]  # 1 / (1 + v), and so on
_LOG1P = [Fraction(0), *(Fraction((-1) ** (k + 1), k) for k in range(1, _ORDER + 1))]
_EXP = [Fraction(1, math.factorial(k)) for k in range(_ORDER + 1)]
_SIN = [Fraction(0), Fraction(1), Fraction(0), Fraction(-1, 6)]
_COS = [Fraction(1), Fraction(0), Fraction(-1, 2), Fraction(0)]
_ATAN = [Fraction(0), Fraction(1), Fraction(0), Fraction(-1, 3)]


class UnprovenError(ArithmeticError):
    """The rules do not decide."""


@dataclass(frozen=True)
class Limit:
    """The limit at one end.

    value: a number, +-inf, or None: there is none (found "numeric": it oscillates) or none was found
    ("unproven"). side: the sign of f minus
    its limit far out (0: it is reached exactly; None: unknown).
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


# Growth: (((k, a), ...) with k falling, p, q) stands for e^(a t^k + ...) t^p (log t)^q.
Growth = tuple[tuple[tuple[float, Any], ...], float, float]
_ONE: Growth = ((), 0.0, 0.0)


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


def _order(g: Growth, h: Growth = _ONE) -> int:
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
    return _order(b[1], a[1])


class Series:
    """Terms, the fastest growing first, and a remainder that is O(rest); rest None: it is exact."""

    def __init__(self, terms: list[tuple[Any, Growth]], rest: Growth | None = None) -> None:
        merged: list[tuple[Any, Growth, Any]] = []  # coefficient, growth, the largest that went in
        for c, g in sorted(terms, key=_by_growth):
            if merged and _order(merged[-1][1], g) == 0:
                merged[-1] = merged[-1][0] + c, g, max(merged[-1][2], abs(c))
            else:
                merged.append((c, g, abs(c)))
        kept = [
            (c, g) for c, g, size in merged if abs(c) > _TINY * size and (rest is None or _order(g, rest) > 0)
        ]
        if len(kept) > _TERMS:
            kept, rest = kept[:_TERMS], kept[_TERMS][1]
        self.terms, self.rest = kept, rest

    def __add__(self, other: Series) -> Series:
        return Series(self.terms + other.terms, _larger(self.rest, other.rest))

    def __sub__(self, other: Series) -> Series:
        return self + _constant(-1) * other

    def __mul__(self, other: Series) -> Series:
        rest = None
        for one, two in ((self, other), (other, self)):
            if one.rest is not None and (two.terms or two.rest is not None):
                rest = _larger(rest, _times(one.rest, two.size))
        return Series([(a * b, _times(g, h)) for a, g in self.terms for b, h in other.terms], rest)

    def __neg__(self) -> Series:
        return _constant(-1) * self

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
        order = _order(self.size)
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
    return g if _order(g, h) >= 0 else h


def _constant(value: Any) -> Series:
    return Series([(_exactly(value), _ONE)] if value else [])


def _exactly(value: Any) -> Any:
    return mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else mp.mpf(value)


def _taylor(coefficients: list[Any], v: Series, exact: bool = False) -> Series:
    """c0 + c1 v + ...; v vanishes. exact: there are no further terms."""
    total, power = _constant(coefficients[0]), _constant(1)
    for c in coefficients[1:]:
        power = power * v
        total = total + _constant(c) * power
    if not exact and (v.terms or v.rest is not None):
        total = total + Series([], (power * v).size)
    return total


def _power(s: Series, b: Any) -> Series:
    whole = mp.isint(b)
    if whole and 0 <= b <= _ORDER and not s.terms:
        return reduce(lambda p, _: p * s, range(int(b)), _constant(1))
    lead, v = s.parts()
    c, (exponent, p, q) = lead.terms[0]
    if c < 0 and not whole:
        raise UnprovenError("a broken power of a negative number")
    growth = tuple((k, a * b) for k, a in exponent), p * float(b), q * float(b)
    first = Series([(mp.power(c, int(b) if whole else b), growth if b else _ONE)])
    stops = whole and 0 <= b <= _ORDER
    return first * _taylor([mp.binomial(b, k) for k in range(int(b) + 1 if stops else _ORDER + 1)], v, stops)


def _exp(s: Series) -> Series:
    if s.rest is not None and _order(s.rest) > 0:
        raise UnprovenError("an exponent that is not known to O(1)")
    growth, factor, small = _ONE, mp.mpf(1), Series([], s.rest)
    for c, g in s.terms:
        order = _order(g)
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
    if s.rest is not None and _order(s.rest) == 0:
        return Series([], growth)
    return Series([(factor, growth)]) * _taylor(_EXP, small)


def _log(s: Series) -> Series:
    lead, v = s.parts()
    c, (exponent, p, q) = lead.terms[0]
    if c <= 0 or q or any(k == _BEYOND for k, _ in exponent):
        raise UnprovenError("a logarithm of what is negative, or of a logarithm")
    terms: list[tuple[Any, Growth]] = [(a, ((), k, 0.0)) for k, a in exponent]
    terms += [(mp.mpf(p), ((), 0.0, 1.0))] if p else []
    return Series(terms) + _constant(mp.log(c)) + _taylor(_LOG1P, v)


def _tail(u: Series) -> Series:
    """1 - Phi(u) for u -> inf: phi(u) / u (1 - 1/u^2 + 3/u^4 - ...)"""
    square = u * u
    inverse = _power(square, mp.mpf(-1))
    density = _constant(1 / mp.sqrt(2 * mp.pi)) * _exp(_constant(mp.mpf(-1) / 2) * square)
    return density * _power(u, mp.mpf(-1)) * _taylor([mp.mpf(1), mp.mpf(-1), mp.mpf(3)], inverse)


def _inverse(u: Series) -> Series:
    return _power(u, mp.mpf(-1))


def _root(u: Series) -> Series:
    return _power(u, mp.mpf(1) / 2) if u.terms or u.rest else u


def _sigmoid(u: Series) -> Series:
    return _inverse(_constant(1) + _exp(-u))


def _tanh(u: Series) -> Series:
    return _constant(1) - _constant(2) * _inverse(_constant(1) + _exp(u + u))


def _asinh(u: Series) -> Series:
    return _log(u + _root(u * u + _constant(1)))


def _normal_cdf(u: Series) -> Series:
    """Around a finite limit L: the derivatives of Phi are phi, -L phi, (L^2 - 1) phi, (3 L - L^3) phi."""
    at = u.limit()
    density = mp.npdf(at)
    slopes = [1, -at / 2, (at**2 - 1) / 6, (3 * at - at**3) / 24]
    return _taylor([mp.ncdf(at), *(density * c for c in slopes)], u - _constant(at))


def _erf(u: Series) -> Series:
    return _constant(2) * _normal_cdf(_constant(mp.sqrt(2)) * u) - _constant(1)


def _atan(u: Series) -> Series:
    at = u.limit()
    v = u - _constant(at)
    return _constant(mp.atan(at)) + _taylor(_ATAN, v * _inverse(_constant(1 + at**2) + _constant(at) * v))


def _wave(shift: int) -> Callable[[Series], Series]:
    def expand(u: Series) -> Series:
        at = u.limit()
        v = u - _constant(at)
        along = (mp.sin, mp.cos)[shift](at), (mp.cos, lambda a: -mp.sin(a))[shift](at)
        return _constant(along[0]) * _taylor(_COS, v) + _constant(along[1]) * _taylor(_SIN, v)

    return expand


#: f(u) for u -> inf; for u -> -inf in terms of m = -u -> inf; for u -> a number
_FUNCTIONS: dict[str, tuple[Callable[[Series], Series], ...]] = {
    "tanh": (_tanh, lambda m: -_tanh(m), _tanh),
    "sigmoid": (_sigmoid, lambda m: _exp(-m) * _sigmoid(m), _sigmoid),
    "softplus": (
        lambda u: u + _taylor(_LOG1P, _exp(-u)),
        lambda m: _taylor(_LOG1P, _exp(-m)),
        lambda u: _log(_constant(1) + _exp(u)),
    ),
    "normal_cdf": (lambda u: _constant(1) - _tail(u), _tail, _normal_cdf),
    "erf": (
        lambda u: _constant(1) - _constant(2) * _tail(_constant(mp.sqrt(2)) * u),
        lambda m: _constant(2) * _tail(_constant(mp.sqrt(2)) * m) - _constant(1),
        _erf,
    ),
    "atan": (
        lambda u: _constant(mp.pi / 2) - _taylor(_ATAN, _inverse(u)),
        lambda m: _taylor(_ATAN, _inverse(m)) - _constant(mp.pi / 2),
        _atan,
    ),
    "asinh": (_asinh, lambda m: -_asinh(m), _asinh),
    "sin": (lambda u: Series([], _ONE), lambda m: Series([], _ONE), _wave(0)),
    "cos": (lambda u: Series([], _ONE), lambda m: Series([], _ONE), _wave(1)),
}
_EXACT: dict[str, Callable[..., Series]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a * _inverse(b),
    "neg": lambda a: -a,
    "sqrt": _root,
    "exp": _exp,
    "expm1": lambda a: _exp(a) - _constant(1),
    "log": _log,
    "log1p": lambda a: _log(_constant(1) + a),
    "normal_pdf": lambda a: _constant(1 / mp.sqrt(2 * mp.pi)) * _exp(_constant(mp.mpf(-1) / 2) * a * a),
    "abs": lambda a: _constant(a.sign) * a,
    "sign": lambda a: _constant(a.sign),
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
            return _constant(_exactly(self.values[n.payload]))
        if n.op == "number":
            return _constant(_exactly(n.payload))
        if n.op == "constant":
            return _constant(+mp.pi)
        if n.op == "where":
            return self.of(n.args[1] if self.holds(n.args[0]) else n.args[2])
        args = [self.of(a) for a in n.args]
        if n.op == "pow":
            base, exponent = args
            if exponent.rest is None and all(_order(g) == 0 for _, g in exponent.terms):
                return _power(base, exponent.limit())
            return _exp(exponent * _log(base))
        if n.op in _EXACT:
            return _EXACT[n.op](*args)
        (u,) = args
        if not u.terms and u.rest is not None and _order(u.rest) == 0:
            return Series([], _ONE)  # a continuous function of something bounded
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
                series = series - _constant(value)
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
            faster = [g for _, g in series.terms if _order(g, linear) > 0]
            if faster or (series.rest is not None and _order(series.rest, linear) >= 0):
                return Asymptote(None, None, "rule")
            between = [g for _, g in series.terms if _order(g, linear) < 0 < _order(g)]
            slope = sum((c for c, g in series.terms if _order(g, linear) == 0), mp.mpf(0)) * mp.sign(at)
            if between or (series.rest is not None and _order(series.rest) >= 0):
                return Asymptote(float(slope), None, "rule")
            level = sum((c for c, g in series.terms if _order(g) == 0), mp.mpf(0))
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

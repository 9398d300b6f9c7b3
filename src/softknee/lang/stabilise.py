"""Stability: named rewrites after which an expression keeps its digits in floating point.

`rewrite` applies identities (`IDENTITIES`, each with an example): before differentiation, because
the derivative of a stable form is stable. `stabilise` is the last step before a backend: it adds
guards against overflow (`GUARDS`), a Taylor polynomial where terms cancel at 0 or far out (`series`),
and finite inputs in place of infinite ones where the arithmetic would meet inf * 0, inf - inf or
inf / inf on the way to a limit that exists (`tame`). Where terms cancel at a root (`vanishes`) a kernel
computes in more digits.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import product
from random import Random
from typing import Any

from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import (
    Node,
    absolute,
    exp,
    expm1,
    log,
    log1p,
    logical_and,
    make,
    normal_cdf,
    number,
    rebuild,
    sigmoid,
    softplus,
    sqrt,
    substitute,
    symbol,
    symbols_in,
    tanh,
    walk,
    where,
)  # fmt: skip
from softknee.lang.simplify import simplify

__all__ = ["EXAMPLES", "GUARDS", "IDENTITIES", "rewrite", "series", "stabilise", "tame", "vanishes"]

Rule = Callable[[Node], Node | None]
#: name -> rule; `EXAMPLES` has an expression that each one changes
IDENTITIES: dict[str, Rule] = {}
GUARDS: dict[str, Rule] = {}
EXAMPLES: dict[str, Node] = {}
_x = symbol("x")


def _rule(example: Node, table: dict[str, Rule] = IDENTITIES) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        name = function.__name__.strip("_")
        table[name] = function
        EXAMPLES[name] = example
        return function

    return register


def _is_one(n: Node) -> bool:
    return n.op == "number" and n.payload == 1


def _one_plus(n: Node) -> Node | None:
    """The u of 1 + u or u + 1."""
    if n.op != "add":
        return None
    a, b = n.args
    return b if _is_one(a) else a if _is_one(b) else None


def _one_minus(n: Node) -> Node | None:
    """The u of 1 - u."""
    return n.args[1] if n.op == "sub" and _is_one(n.args[0]) else None


def _square_of(n: Node) -> Node | None:
    return n.args[0] if n.op == "mul" and n.args[0] is n.args[1] else None


@_rule(exp(_x) - 1)
def _exp_minus_one(n: Node) -> Node | None:
    """e^u - 1 = expm1(u): no cancellation near 0"""
    if n.op == "sub" and n.args[0].op == "exp" and _is_one(n.args[1]):
        return expm1(n.args[0].args[0])
    u = _one_minus(n)
    if u is not None and u.op == "exp":
        return -expm1(u.args[0])
    if n.op == "add" and n.args[0].op == "exp" and n.args[1].op == "number" and n.args[1].payload == -1:
        return expm1(n.args[0].args[0])
    return None


@_rule(log(1 + absolute(_x)))
def _log_of_one_plus(n: Node) -> Node | None:
    """log(1 + u) = log1p(u)"""
    u = _one_plus(n.args[0]) if n.op == "log" else None
    return None if u is None else log1p(u)


@_rule(log1p(exp(_x)))
def _log_of_one_plus_exp(n: Node) -> Node | None:
    """log(1 + e^u) = softplus(u): no overflow"""
    if n.op == "log1p" and n.args[0].op == "exp":
        return softplus(n.args[0].args[0])
    return None


@_rule(log(exp(_x) + exp(-_x)))
def _log_of_two_exponentials(n: Node) -> Node | None:
    """log(c (e^u + e^v)) = v + softplus(u - v) + log c: no overflow"""
    if n.op != "log":
        return None
    total, factor = n.args[0], number(1)
    if total.op in ("mul", "div"):
        for k, a in enumerate(total.args):
            if a.op == "number" and a.payload > 0 and (k or total.op == "mul"):
                total, factor = total.args[1 - k], a if total.op == "mul" else 1 / a
                break
    if total.op != "add" or any(a.op != "exp" for a in total.args):
        return None
    u, v = (a.args[0] for a in total.args)
    return v + softplus(u - v) + log(factor)


@_rule(1 / (1 + exp(-_x)))
def _logistic(n: Node) -> Node | None:
    """a / (1 + e^u) = a s(-u) and e^u / (1 + e^u) = s(u), with the sigmoid s: no overflow"""
    u = _one_plus(n.args[1]) if n.op == "div" else None
    if u is None or u.op != "exp":
        return None
    if n.args[0] is u:
        return sigmoid(u.args[0])
    return n.args[0] * sigmoid(-u.args[0])


@_rule(log(sigmoid(_x)))
def _log_of_sigmoid(n: Node) -> Node | None:
    """log s(u) = -softplus(-u)"""
    if n.op == "log" and n.args[0].op == "sigmoid":
        return -softplus(-n.args[0].args[0])
    return None


@_rule(1 - sigmoid(_x))
def _complement(n: Node) -> Node | None:
    """1 - s(u) = s(-u), 1 - Phi(u) = Phi(-u), 1 -+ erf(u) = 2 Phi(-+ sqrt(2) u): the tail survives"""
    u = _one_minus(n)
    if u is not None:
        if u.op == "sigmoid":
            return sigmoid(-u.args[0])
        if u.op == "normal_cdf":
            return normal_cdf(-u.args[0])
        if u.op == "erf":
            return 2 * normal_cdf(-(sqrt(number(2)) * u.args[0]))
    u = _one_plus(n)
    if u is not None and u.op == "erf":
        return 2 * normal_cdf(sqrt(number(2)) * u.args[0])
    return None


@_rule(1 + tanh(_x))
def _one_plus_tanh(n: Node) -> Node | None:
    """1 + tanh u = 2 s(2u), 1 - tanh u = 2 s(-2u), 1 - tanh^2 u = 4 s(2u) s(-2u)"""
    u = _one_plus(n)
    if u is not None and u.op == "tanh":
        return 2 * sigmoid(2 * u.args[0])
    u = _one_minus(n)
    if u is not None and u.op == "tanh":
        return 2 * sigmoid(-(2 * u.args[0]))
    root = _square_of(u) if u is not None else None
    if root is not None and root.op == "tanh":
        return 4 * sigmoid(2 * root.args[0]) * sigmoid(-(2 * root.args[0]))
    return None


@_rule(sigmoid(-_x) - sigmoid(_x))
def _difference_of_sigmoids(n: Node) -> Node | None:
    """s(-u) - s(u) = -tanh(u / 2): no cancellation near 0"""
    if n.op == "sub" and n.args[0].op == n.args[1].op == "sigmoid":
        a, b = n.args[0].args[0], n.args[1].args[0]
        if simplify(-a) is b:
            return tanh(a / 2)
    return None


@_rule(1 - 4 * sigmoid(2 * _x) * sigmoid(-(2 * _x)))
def _complement_of_tanh_slope(n: Node) -> Node | None:
    """1 - 4 s(2u) s(-2u) = tanh^2 u: no cancellation near 0"""
    if n.op not in ("add", "sub"):
        return None
    for one, term in (n.args, n.args[::-1]) if n.op == "add" else (n.args,):
        factors = _factors(term)
        numbers = [f.payload for f in factors if f.op == "number"]
        inner = [f.args[0] for f in factors if f.op == "sigmoid"]
        if _is_one(one) and numbers == [-4 if n.op == "add" else 4] and len(inner) == 2 == len(factors) - 1:
            a, b = inner
            if simplify(-a) is simplify(b):
                return tanh(a / 2) * tanh(a / 2)
    return None


def _factors(n: Node) -> list[Node]:
    return [f for a in n.args for f in _factors(a)] if n.op == "mul" else [n]


@_rule(tanh(softplus(_x)))
def _tanh_of_softplus(n: Node) -> Node | None:
    """tanh(log(1 + e^u)) = w / (w + 2) with w = e^u (e^u + 2): one exponential; 1 from u = 40 on"""
    if n.op != "tanh" or n.args[0].op != "softplus":
        return None
    e = exp(make("minimum", (n.args[0].args[0], number(40))))
    w = e * (e + 2)
    return w / (w + 2)


@_rule((exp(_x) - exp(-_x)) / (exp(_x) + exp(-_x)))
def _ratio_of_exponentials(n: Node) -> Node | None:
    """(e^u - e^-u) / (e^u + e^-u) = tanh u"""
    if n.op != "div" or n.args[0].op != "sub" or n.args[1].op != "add":
        return None
    (a, b), (c, d) = n.args[0].args, n.args[1].args
    if a.op == b.op == "exp" and a is c and b is d and simplify(a.args[0] + b.args[0]).payload == 0:
        return tanh(a.args[0])
    return None


def _root_of_multiple_plus(n: Node) -> tuple[Node | None, Node, Node] | None:
    """k, u and c of sqrt(k u^2 + c), k and c without x; k is None where it is 1"""
    if n.op != "sqrt" or n.args[0].op != "add":
        return None
    for term, c in (n.args[0].args, n.args[0].args[::-1]):
        if "x" in symbols_in(c) or term.op != "mul":
            continue
        if (u := _square_of(term)) is not None:
            return None, u, c
        for k, rest in (term.args, term.args[::-1]):  # k (u u)
            if "x" not in symbols_in(k) and (u := _square_of(rest)) is not None:
                return k, u, c
        for part, u in (term.args, term.args[::-1]):  # (k u) u
            if part.op == "mul" and any(u is a for a in part.args):
                k = part.args[0] if part.args[1] is u else part.args[1]
                if "x" not in symbols_in(k):
                    return k, u, c
    return None


@_rule(_x + sqrt(_x * _x + 4))
def _conjugate(n: Node) -> Node | None:
    """u + sqrt(u^2 + c) = c / (sqrt(u^2 + c) - u) for u < 0: no cancellation"""
    if n.op != "add":
        return None
    for u, r in (n.args, n.args[::-1]):
        if "x" not in symbols_in(u) or r.op != "sqrt" or r.args[0].op != "add":
            continue
        square = simplify(u * u)
        for term, c in (r.args[0].args, r.args[0].args[::-1]):
            if "x" not in symbols_in(c) and simplify(term) is square:
                # written r + u in its own branch, and differently from n: the rule ends there
                return where(u > 0, r - (-u), c / (r - u))
    return None


_HUGE = number(2**60)


@_rule(sqrt(_x * _x + 4), GUARDS)
def _root_without_overflow(n: Node) -> Node | None:
    """sqrt(k u^2 + c) = sqrt(k) |u| to the last bit where |u| > 2^60: u^2 may overflow there; where k u^2 > 2^120 if k may
    be 0"""
    parts = _root_of_multiple_plus(n)
    if parts is None:
        return None
    k, u, _ = parts
    huge = simplify(k * u * u) > _HUGE * _HUGE if k is not None and symbols_in(k) else absolute(u) > _HUGE
    return where(huge, absolute(u) if k is None else sqrt(k) * absolute(u), n)


def _applied(root: Node, rules: Mapping[str, Rule]) -> Node:
    def apply(n: Node) -> Node | None:
        for rule in rules.values():
            changed = rule(n)
            if changed is not None:
                n = changed
        return n

    return simplify(rebuild(root, apply))


@lru_cache(maxsize=4096)
def rewrite(root: Node) -> Node:
    """The expression after all `IDENTITIES`, bottom up, until nothing changes."""
    root = simplify(root)
    for _ in range(8):
        better = _applied(root, IDENTITIES)
        if better is root:
            break
        root = better
    return root


def guard_dead_branches(root: Node) -> Node:
    """where(u > c, a, b) with e^u or expm1(u) in b: min(u, c) goes into the exponential.

    The branch that is not taken then stays finite, so that a library that differentiates the
    emitted operations itself meets no 0 * inf.
    """

    def rule(n: Node) -> Node | None:
        if n.op != "where" or n.args[0].op not in ("gt", "ge", "lt", "le"):
            return None
        (u, c), upper = n.args[0].args, n.args[0].op in ("gt", "ge")
        if c.op != "number":
            return None
        dead = 2 if upper else 1

        def inner(m: Node) -> Node | None:
            if m.op in ("exp", "expm1") and m.args[0] is u:
                return make(m.op, (make("minimum", (u, c)),))
            return None

        args = list(n.args)
        args[dead] = rebuild(args[dead], inner)
        return make("where", tuple(args))

    return rebuild(root, rule)


# Cancellation at 0 and far out

#: where it is asked whether terms cancel: at 0, and on the way to either infinity
_ENDS = {0: 1e-5, 1: 1e5, -1: -1e5}
#: values for other symbols to see whether it depends on them
_SAMPLES = (1.0, 1.25, 0.3)


def series(root: Node, name: str = "x", ends: Sequence[int] = tuple(_ENDS)) -> Node:
    """A factor of the expression that is a sum of x alone whose terms cancel at 0 becomes its Taylor
    polynomial near 0, one whose terms cancel at an infinity the same of 1/x far out; and so where x comes
    as (x - c) / b.

    x - tanh(x), evaluated as written, has no right digit below 1e-6; its series has them all.
    ends: where the expression is taken.
    """
    if root.op in ("mul", "div", "neg"):
        return make(root.op, tuple(series(a, name, ends) for a in root.args))
    if root.op == "where":
        condition, *branches = root.args
        taken = [[e for e in ends if not e or _holds(condition, name, e) in (k, None)] for k in (True, False)]
        return where(condition, *(series(a, name, e) for a, e in zip(branches, taken, strict=True)))
    if root.op not in ("add", "sub"):
        return root
    if symbols_in(root) != [name]:
        return _series_around(root, name, ends)
    result = root
    for there, polynomial in _expansions(root, name, ends):
        result = where(there, polynomial, result)
    return result


def _expansions(root: Node, name: str, ends: Sequence[int] = tuple(_ENDS)) -> Iterator[tuple[Node, Node]]:
    """Where a sum of x alone has a polynomial that keeps more digits, and the polynomial"""
    x, function = symbol(name), compiled((root, *root.args), (name,), "float")
    for end in ends:
        f, a, b = map(abs, function(_ENDS[end]))
        if not math.isfinite(a) or f > 1e-4 * min(a, b) or (end and not f):
            continue
        polynomial, radius = _taylor(root, name, end)
        if polynomial is not None:
            far = number(end / radius) if end else x
            there = x > far if end > 0 else x < far if end else absolute(x) < number(radius)
            if end:  # what is not taken stays finite
                t = number(end) / make("maximum" if end > 0 else "minimum", (x, far))
                polynomial = substitute(polynomial, {name: t})
            yield there, polynomial


def _series_around(root: Node, name: str, ends: Sequence[int]) -> Node:
    """A sum f(u) + c g(u) of u = (x - c) / b, other symbols among b and c, whose terms cancel in f: its polynomial of
    u takes the place of f.

    So it is with the slope of x F(u): f is that of u F(u), whatever b and c are, and g is F'(u) / b.
    """
    around = [
        n
        for n in walk(root)
        if n.op in ("add", "sub", "mul", "div")
        and name in symbols_in(n) != [name]
        and name not in symbols_in(derivative(n, name))
    ]
    parts = {id(a) for n in around for a in n.args}
    whole = [n for n in around if id(n) not in parts]
    if len(whole) != 1:
        return root
    u, slope = whole[0], derivative(whole[0], name)
    center = simplify(-substitute(u, {name: 0}) / slope)
    inner, c = symbol("inner_"), symbol("center_")
    shifted = substitute(rebuild(root, lambda n: inner if n is u else None), {name: inner / slope + c})
    g = derivative(shifted, "center_")
    f = _independent(substitute(shifted, {"center_": 0}), "inner_")
    if f is None or f.op not in ("add", "sub") or "center_" in symbols_in(g):
        return root
    result, given = root, tuple(symbols_in(slope))
    rising = compiled((slope,), given, "float")(*[1.0] * len(given))[0] > 0
    for there, polynomial in _expansions(f, "inner_", ends if rising else [-end for end in ends]):
        found = substitute(polynomial + c * g, {"center_": center})
        result = where(substitute(there, {"inner_": u}), substitute(found, {"inner_": u}), result)
    return result


def _independent(root: Node, name: str) -> Node | None:
    """The expression with 1 for all other symbols, if its value does not depend on them"""
    import mpmath as mp

    others = [other for other in symbols_in(root) if other != name]
    fixed = simplify(substitute(root, dict.fromkeys(others, 1)))
    function = compiled((fixed, root), (name, *others), "mpmath")
    with mp.workdps(40):
        for x, value in product((-1e5, -30, -3, -0.3, 0.3, 3, 30, 1e5), _SAMPLES):
            try:
                one, other = function(mp.mpf(x), *(mp.mpf(value + k / 8) for k in range(len(others))))
            except (ValueError, ZeroDivisionError, TypeError):
                return None
            if not abs(other - one) <= mp.mpf(10) ** -20 * abs(one):
                return None
    return fixed


def _holds(condition: Node, name: str, end: int) -> bool | None:
    """Whether it does at that end; None: that depends on other symbols, too"""
    others = [other for other in symbols_in(condition) if other != name]
    function = compiled((condition,), (name, *others), "float")
    found = {bool(function(_ENDS[end], *[value] * len(others))[0]) for value in _SAMPLES}
    return found.pop() if len(found) == 1 and (end or not others) else None


@lru_cache(maxsize=256)
def _taylor(n: Node, name: str, end: int) -> tuple[Node | None, Fraction]:
    """The polynomial, in x, and the radius within which it holds. At an infinity: of t = 1/|x|."""
    import mpmath as mp

    none = None, Fraction(0)
    of_x = compiled((n,), (name,), "mpmath")

    def function(t: Any) -> Any:
        return of_x(end / t if end else t)[0]

    with mp.workdps(60):
        try:
            one_sided = {"direction": 1, "singular": True} if end else {}
            terms = mp.taylor(function, 0, 27, **one_sided)
        except (ValueError, ZeroDivisionError, TypeError):
            return none
        terms = [t if abs(t) > mp.mpf(10) ** -40 else mp.mpf(0) for t in terms]
        late = [abs(t) ** (mp.mpf(1) / k) for k, t in enumerate(terms) if k > 15 and t]
        if not late or not any(terms):
            return none
        radius = Fraction(1, 2 ** max(2, math.ceil(math.log2(6 * float(max(late))))))
        for side in (
            (0.5, 0.9) if end else (-0.9, 0.9)
        ):  # a function that is not analytic there has no such polynomial
            at = mp.mpf(side) * radius.numerator / radius.denominator
            value, sum_ = function(at), mp.polyval(terms[::-1], at)
            if not abs(sum_ - value) <= abs(value) * mp.mpf(2) ** -58:
                return none
        exact = [Fraction(int(mp.nint(t * mp.mpf(2) ** 180)), 2**180) for t in terms]
    x = symbol(name)
    lowest = next(k for k, t in enumerate(exact) if t)
    step = 2 if not any(exact[lowest + 1 :: 2]) else 1
    u = x * x if step == 2 else x
    total: Node | None = None
    for coefficient in reversed(exact[lowest::step]):
        if total is not None or coefficient:
            total = number(coefficient) if total is None else total * u + number(coefficient)
    assert total is not None
    for _ in range(lowest):
        total = total * x
    return total, radius


# Cancellation at roots

#: numbers between which they are looked for, no likely roots themselves, and values of other symbols
_SIZES = (*(k / 3 for k in range(-30, 16)), *range(6, 60, 3))
_LOOKED = tuple(sorted(s * 1.01 * 2.0**k for s in (1, -1) for k in _SIZES))
_TRIED = (1.25, -1.25, 0.5, -0.4)


@lru_cache(maxsize=256)
def vanishes(n: Node, name: str) -> bool:
    """Whether an expression changes its sign at a number other than 0, for some values of the other symbols"""
    others = [other for other in symbols_in(n) if other != name]
    function, draw = compiled((n,), (name, *others), "float"), Random(0)
    for _ in range(32 if others else 1):
        given = draw.choices(_TRIED, k=len(others))
        values = [function(x, *given)[0] for x in _LOOKED]
        if any(
            f * g < 0 < x * y for x, y, f, g in zip(_LOOKED, _LOOKED[1:], values, values[1:], strict=False)
        ):
            return True
    return False


# Infinite and huge inputs

_LARGEST = 1.7976931348623157e308
_FARTHEST: tuple[float, ...] = (_LARGEST, -_LARGEST)
#: from here on a value at the far point counts as growing without bound
_GROWN = 2.0**31


_PROBES = tuple(s * v for s in (1.0, -1.0) for v in (0.3, 3.0, 30.0, 60.0, 120.0, 500.0, 1e4, 2.0**62, 1e300))


def _small_first(root: Node, names: tuple[str, ...], values: Sequence[Sequence[float]]) -> Node:
    """The expression with factors that are at most 1 before others in products, if fewer of them overflow on the way."""

    def rule(n: Node) -> Node | None:
        factors, stack = list[Node](), [n]
        while stack:
            m = stack.pop()
            if m.op == "mul":
                stack += m.args[::-1]
            else:
                factors.append(m)
        return reduce(operator.mul, sorted(factors, key=lambda m: m.op not in _BOUNDED))

    ordered, points = rebuild(root, lambda n: rule(n) if n.op == "mul" else None), list(product(*values))
    before, after = (
        sum(math.isnan(float(f(*p)[0])) for p in points)
        for f in (compiled((n,), names, "float") for n in (root, ordered))
    )
    return ordered if after < before else root


def _capped(root: Node, names: tuple[str, ...], values: Sequence[Sequence[float]]) -> Node:
    """Exponentials whose overflow would give NaN get their argument kept below 40 (or their input,
    where that is not enough), if no value that is not NaN changes by it.

    An exponential of an exponential has decided everything long before it overflows:
    e^u e^(-e^u) is 0 from u = 7 on, but inf * 0 in floating point from u = 710 on.
    """
    function = compiled((root,), names, "float")
    points = list(product(*values))
    plain = [float(function(*p)[0]) for p in points]
    if not any(map(math.isnan, plain)):
        return root

    def cap(n: Node) -> Node | None:
        if n.op in ("exp", "expm1") and symbols_in(n):
            return make(n.op, (make("minimum", (n.args[0], number(40))),))
        return None

    candidates = [rebuild(root, cap)]
    for name in names[: len(symbols_in(root)) == 1]:  # another symbol could scale it
        x = symbol(name)
        candidates.append(substitute(root, {name: make("minimum", (x, number(40)))}))
        candidates.append(substitute(root, {name: make("maximum", (x, number(-40)))}))
    best, fewest = root, sum(map(math.isnan, plain))
    for candidate in candidates:
        if candidate is root:
            continue
        again = compiled((candidate,), names, "float")
        changed = [float(again(*p)[0]) for p in points]
        nans = sum(map(math.isnan, changed))
        same = all(
            math.isnan(a) or a == b or abs(a - b) <= 1e-14 * abs(a) or max(abs(a), abs(b)) < 1e-290
            for a, b in zip(plain, changed, strict=True)
        )
        if same and nans < fewest:
            best, fewest = candidate, nans
    return best


#: functions that are at most 1; and that are at 2^62, in every float type, what they are at infinity
_BOUNDED = {"sigmoid", "tanh", "normal_cdf", "normal_pdf", "erf"}
_SATURATED = _BOUNDED | {"exp"}


def _substituted(root: Node, tamed: Mapping[str, Node]) -> Node:
    """The inputs replaced, but not within functions that do not tell the replacement from the input: they
    stay the same in several results, and are computed once for all of them."""
    replaced = {id(symbol(name)): inner for name, inner in tamed.items()}
    done: dict[int, Node] = {}

    def saturated(n: Node) -> bool:
        if n.op not in _SATURATED:
            return False
        a = n.args[0].args[0] if n.args[0].op == "neg" else n.args[0]
        if a.op == "mul" and a.args[0].op == "number" and abs(a.args[0].payload) >= 2**-40:
            a = a.args[1]
        return a.op == "symbol"

    for n in walk(root):
        if id(n) in replaced or saturated(n) or not n.args:
            done[id(n)] = replaced.get(id(n), n)
        else:
            done[id(n)] = make(n.op, tuple(done[id(a)] for a in n.args), n.payload)
    return done[id(root)]


def tame(
    root: Node, inputs: Iterable[str] = ("x",), samples: Mapping[str, Sequence[float]] | None = None,
    several: bool = False,
) -> Node:  # fmt: skip
    """The expression with its limits at infinity, where plain arithmetic gives NaN.

    Evaluated in IEEE arithmetic at +-inf and +-1e300; where an input gives NaN there although the
    values at 2^61 and 2^62 agree (or both grow), the input is replaced by +-2^62 on that side, and
    a value that grows is made infinite, one that vanishes 0. samples: values to try for the other
    symbols. several: it is one of several results, which are to keep what they share.
    """
    inputs = [name for name in inputs if name in symbols_in(root)]
    others = [s for s in symbols_in(root) if s not in inputs]
    samples = samples or {}
    choices = [tuple(samples.get(name, (1.25, -1.25, 0.5))) for name in others]
    rest = [(0.7, -0.7, 1e300, -1e300, math.inf, -math.inf)] * (len(inputs) - 1)
    root = _small_first(root, (*inputs, *others), [_FARTHEST] * len(inputs) + choices)
    root = _capped(root, (*inputs, *others), [_PROBES] * len(inputs) + choices)
    function = compiled((root,), (*inputs, *others), "float")
    tamed: dict[str, Node] = {}
    grown: list[Node] = []
    shrunk: list[Node] = []
    for position, name in enumerate(inputs):
        x = symbol(name)
        infinite: list[int] = []
        huge: list[int] = []
        growing = shrinking = False
        for side in (1, -1):
            meets_nan = overflows = False
            for given in product(*rest, *choices):
                head, tail = given[:position], given[position:]

                def at(value: float, head: tuple[float, ...] = head, tail: tuple[float, ...] = tail) -> float:
                    return float(function(*head, side * value, *tail)[0])  # noqa: B023

                far, nearer = at(2.0**62), at(2.0**61)
                grows = math.isfinite(far) and abs(far) >= _GROWN and abs(nearer) >= _GROWN / 2
                settled = abs(far - nearer) <= 1e-9 * abs(far) or max(abs(far), abs(nearer)) < 1e-9
                if grows or settled:  # else there is no limit to be seen
                    meets_nan |= math.isnan(at(math.inf))
                    overflows |= (math.isnan(at(1e300)) or math.isnan(at(_LARGEST))) and not grows
                    growing |= meets_nan and grows
                    shrinking |= abs(far) < 1e-9 and (overflows or (meets_nan and far != 0))
            if overflows:
                huge.append(side)
            elif meets_nan:
                infinite.append(side)
        inner: Node = x
        for side in infinite:
            inner = where(x == number(side * math.inf), number(side * 2**62), inner)
        for side in huge:
            inner = make("minimum" if side > 0 else "maximum", (inner, number(side * 2**62)))
        if inner is not x:
            tamed[name] = inner
        if growing:
            grown.append(absolute(x) == number(math.inf))
        if shrinking:
            shrunk.append(absolute(x) == number(math.inf))
    result = (_substituted if several else substitute)(root, tamed) if tamed else root
    for infinity in grown:
        at_infinity = logical_and(infinity, absolute(result) >= number(_GROWN))
        result = where(at_infinity, result * number(math.inf), result)
    for infinity in shrunk:
        at_infinity = logical_and(infinity, absolute(result) <= number(1 / _GROWN))
        result = where(at_infinity, 0, result)
    return result


def stabilise(
    root: Node, inputs: Iterable[str] = ("x",), samples: Mapping[str, Sequence[float]] | None = None,
    several: bool = False,
) -> Node:  # fmt: skip
    """What a backend should evaluate: `rewrite`, `GUARDS`, `series` and `tame`, in this order."""
    inputs = tuple(inputs)
    root = _applied(rewrite(root), GUARDS)
    for name in inputs:
        root = series(root, name)
    return tame(root, inputs, samples, several)

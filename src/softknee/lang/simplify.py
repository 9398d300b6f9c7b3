"""Simplification: local, exact rewrites, applied bottom up until nothing changes.

Numbers are folded as rationals, so no rounding enters; a Python float is the rational it stands
for. `0 a` is 0: in the mathematics of an activation nothing finite times an infinity is meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from softknee.lang.nodes import Node, Number, make, number

__all__ = ["simplify"]

_FOLD: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "abs": abs,
    "sign": lambda a: (a > 0) - (a < 0),
    "minimum": min,
    "maximum": max,
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}
#: the value of a function at 0, where it is rational
_AT_ZERO: dict[str, Number] = {
    "exp": 1, "expm1": 0, "log1p": 0, "sqrt": 0, "tanh": 0, "erf": 0, "sin": 0, "cos": 1, "atan": 0,
    "asinh": 0, "sigmoid": Fraction(1, 2), "normal_cdf": Fraction(1, 2),
}  # fmt: skip
_ODD = {"tanh", "erf", "sin", "atan", "asinh", "sign"}
_EVEN = {"cos", "abs", "normal_pdf"}


@lru_cache(maxsize=65536)
def simplify(root: Node) -> Node:
    """An equal expression, usually smaller. Idempotent."""
    args = tuple(map(simplify, root.args))
    same = all(a is b for a, b in zip(args, root.args, strict=True))
    node = root if same else make(root.op, args, root.payload)
    changed = _rewrite(node)
    if changed is None or changed is node:
        return node if same else simplify(node)
    return simplify(changed)


def _number(n: Node) -> Number | None:
    return n.payload if n.op == "number" else None


def _exact(n: Node) -> Fraction | None:
    """A finite literal as a rational, else None."""
    if n.op != "number" or (isinstance(n.payload, float) and not math.isfinite(n.payload)):
        return None
    return Fraction(n.payload)


def _is(n: Node, value: int) -> bool:
    return n.op == "number" and n.payload == value


def _fold(n: Node) -> Node | None:
    """A node all of whose operands are literals."""
    if n.op in _COMPARE:
        return None  # folded where it is used: truth values have no literal
    if not n.args or any(a.op != "number" for a in n.args):
        return None
    values = [v for v in map(_exact, n.args) if v is not None]
    if n.op == "mul" and len(values) < 2 and all(a.payload != 0 for a in n.args):
        return number(float(n.args[0].payload) * float(n.args[1].payload))  # with an infinity
    if n.op == "neg":
        return number(-n.args[0].payload)
    if len(values) < len(n.args):
        return None
    if n.op in _FOLD and not (n.op == "div" and values[1] == 0):
        return number(Fraction(_FOLD[n.op](*values)))
    if n.op == "pow" and values[1].denominator == 1 and abs(values[1]) <= 64 and values[0] != 0:
        return number(values[0] ** int(values[1]))
    if n.op in _AT_ZERO and values[0] == 0:
        return number(_AT_ZERO[n.op])
    if n.op == "sqrt" and values[0] in (1, 4):
        return number(1 if values[0] == 1 else 2)
    if n.op == "log" and values[0] == 1:
        return number(0)
    return None


def _truth(n: Node) -> bool | None:
    """The value of a condition that does not depend on anything."""
    if n.op in _COMPARE:
        a, b = _number(n.args[0]), _number(n.args[1])
        if a is not None and b is not None:
            return bool(_COMPARE[n.op](a, b))
    elif n.op == "not" and (inner := _truth(n.args[0])) is not None:
        return not inner
    elif n.op in ("and", "or"):
        left, right = map(_truth, n.args)
        absorbing = n.op == "or"
        if left is absorbing or right is absorbing:
            return absorbing
        if left is not None and right is not None:
            return not absorbing
    return None


def _negative(n: Node) -> bool:
    value = _number(n)
    return value is not None and value < 0


def _rewrite(n: Node) -> Node | None:
    if (folded := _fold(n)) is not None:
        return folded
    rule = _RULES.get(n.op)
    if rule is not None and (changed := rule(n)) is not None:
        return changed
    if n.op in _ODD and n.args[0].op == "neg":
        return -make(n.op, n.args[0].args)
    if n.op in _EVEN and n.args[0].op == "neg":
        return make(n.op, n.args[0].args)
    return None


def _add(n: Node) -> Node | None:
    a, b = n.args
    if _is(a, 0):
        return b
    if _is(b, 0):
        return a
    if b.op == "neg":
        return a - b.args[0]
    if a.op == "neg":
        return b - a.args[0]
    if a is b:
        return 2 * a
    if b.op == "number" and a.op == "add" and a.args[1].op == "number":
        return a.args[0] + (a.args[1] + b)
    if a.op == "number" and b.op != "number":
        return b + a  # literals stand on the right of a sum
    merged = _merge_where(n)  # an expression has no truth value
    return _common_factor(n) if merged is None else merged


def _sub(n: Node) -> Node | None:
    a, b = n.args
    if _is(b, 0):
        return a
    if _is(a, 0):
        return -b
    if a is b:
        return number(0)
    if b.op == "neg":
        return a + b.args[0]
    if a.op == "neg":
        return -(a.args[0] + b)
    if b.op == "number" and _negative(b):
        return a + -b
    if a.op == "add":  # (p + q) - q = p, whatever the order of q's factors
        for p, q in (a.args, a.args[::-1]):
            if q is b or (q.op == "mul" and _factors(q) == _factors(b)):
                return p
    if a.op == "sqrt":  # r - k (q/r) = (r^2 - k q) / r
        k, part = b.args if b.op == "mul" and b.args[0].op == "number" else (number(1), b)
        if part.op == "div" and part.args[1] is a:
            return (a.args[0] - k * part.args[0]) / a
    merged = _merge_where(n)  # an expression has no truth value
    return _common_factor(n) if merged is None else merged


def _factors(n: Node) -> tuple[Fraction | None, list[int]]:
    """A product as its literal and the other factors, in an order that does not depend on how it is nested."""
    if n.op == "mul":
        (x, left), (y, right) = map(_factors, n.args)
        return (None if x is None or y is None else x * y), sorted(left + right)
    if n.op == "neg":
        x, left = _factors(n.args[0])
        return (None if x is None else -x), left
    exact = _exact(n)
    return (exact, []) if exact is not None else (Fraction(1), [id(n)])


def _common_factor(n: Node) -> Node | None:
    """a b + a -> a (b + 1) and a b + a c -> a (b + c), for the very same a."""
    a, b = n.args
    factors = a.args if a.op == "mul" else (a, number(1))
    others = b.args if b.op == "mul" else (b, number(1))
    for i, left in enumerate(factors):
        for j, right in enumerate(others):
            if left is right and left.op not in ("number", "constant") and not (a is left and b is right):
                return left * make(n.op, (factors[1 - i], others[1 - j]))
    return None


def _mul(n: Node) -> Node | None:
    a, b = n.args
    if _is(a, 0) or _is(b, 0):
        return number(0)
    if _is(a, 1):
        return b
    if _is(b, 1):
        return a
    if _is(a, -1):
        return -b
    if _is(b, -1):
        return -a
    if a.op == "neg":
        return -(a.args[0] * b)
    if b.op == "neg":
        return -(a * b.args[0])
    if b.op == "number" and a.op != "number":
        return b * a  # literals stand on the left of a product
    if a.op == "number" and b.op == "mul" and b.args[0].op == "number":
        return (a * b.args[0]) * b.args[1]
    if b.op == "mul" and b.args[0].op == "number":
        return b.args[0] * (a * b.args[1])
    if a.op == "mul" and a.args[0].op == "number" and b.op != "number":
        return a.args[0] * (a.args[1] * b)
    if a.op == "number" and b.op == "div" and b.args[0].op == "number":
        return (a * b.args[0]) / b.args[1]
    if b.op == "div" and _is(b.args[0], 1):
        return a / b.args[1]
    if a.op == "div" and _is(a.args[0], 1):
        return b / a.args[1]
    if a is b and a.op == "sqrt":
        return a.args[0]
    for one, other in ((a, b), (b, a)):
        if one.op == "sign" and one.args[0] is other:
            return make("abs", (other,))
        if one.op == "div" and one.args[1].op == "sqrt" and one.args[1] is not other and other.op != "number":
            return (one.args[0] * other) / one.args[1]
    for one, other in ((a, b), (b, a)):  # a product with a branch that is 0 or 1
        if one.op == "where" and all(k.op == "number" and k.payload in (0, 1, -1) for k in one.args[1:]):
            return make("where", (one.args[0], one.args[1] * other, one.args[2] * other))
    return _merge_where(n)


def _div(n: Node) -> Node | None:
    a, b = n.args
    if _is(a, 0):
        return number(0)
    if _is(b, 1):
        return a
    if exact := _exact(b):
        numerator, denominator = abs(exact).numerator, abs(exact).denominator
        if numerator & (numerator - 1) == 0 and denominator & (denominator - 1) == 0:
            return number(1 / exact) * a  # a power of two: exact
    if a.op == "neg":
        return -(a.args[0] / b)
    if b.op == "neg":
        return -(a / b.args[0])
    if b.op == "mul" and (m := _exact(b.args[0])):  # u / (m v)
        return number(1 / m) * (a / b.args[1])
    if a.op == "mul" and (k := _exact(a.args[0])):  # (k u) / v
        return number(k) * (a.args[1] / b)
    if a is b and b.op in ("exp", "sigmoid"):
        return number(1)
    return None


def _neg(n: Node) -> Node | None:
    a = n.args[0]
    if a.op == "neg":
        return a.args[0]
    if a.op == "sub":
        return a.args[1] - a.args[0]
    if a.op == "mul" and a.args[0].op == "number":
        return -a.args[0] * a.args[1]
    return None


def _pow(n: Node) -> Node | None:
    a, b = n.args
    if _is(b, 0):
        return number(1)
    if _is(b, 1):
        return a
    if _is(b, 2):
        return a * a
    if _is(b, -1):
        return 1 / a
    if _exact(b) == Fraction(1, 2):
        return make("sqrt", (a,))
    return None


def _where(n: Node) -> Node | None:
    condition, a, b = n.args
    if a is b:
        return a
    truth = _truth(condition)
    if truth is not None:
        return a if truth else b
    if condition.op == "not":
        return make("where", (condition.args[0], b, a))
    if a.op == "where" and a.args[0] is condition:
        return make("where", (condition, a.args[1], b))
    if b.op == "where" and b.args[0] is condition:
        return make("where", (condition, a, b.args[2]))
    return None


def _merge_where(n: Node) -> Node | None:
    """where(c, a, b) + where(c, p, q) -> where(c, a + p, b + q)"""
    a, b = n.args
    if a.op == "where" and b.op == "where" and a.args[0] is b.args[0]:
        branches = (make(n.op, pair) for pair in zip(a.args[1:], b.args[1:], strict=True))
        return make("where", (a.args[0], *branches))
    return None


def _extremum(n: Node) -> Node | None:
    a, b = n.args
    neutral = math.inf if n.op == "minimum" else -math.inf
    if a is b or _number(b) == neutral:
        return a
    return b if _number(a) == neutral else None


def _abs(n: Node) -> Node | None:
    return n.args[0] if n.args[0].op == "abs" else None


_RULES = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "pow": _pow,
    "where": _where,
    "minimum": _extremum,
    "maximum": _extremum,
    "abs": _abs,
}

"""How far a float32 computation may stray: an estimate in units in the last place.

Used to decide whether float32 arithmetic is good enough (`plan.arithmetic_for`). Errors of the
parts are added; where terms of opposite sign could cancel, or an inexact argument meets a function
that magnifies it, the estimate is infinite. That it holds is measured by the tests, not proven.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Set as AbstractSet
from fractions import Fraction

from softknee.kernels.primitives import SINGLE_ERROR, exact
from softknee.lang.nodes import Node, walk

__all__ = ["SINGLE_LIMIT", "digits_of", "single_error"]

#: largest error, in units in the last place, of a value and of a derivative computed in float32
SINGLE_LIMIT = (1.6, 3.4)

#: functions that do not magnify the relative error of their argument
_CALM = {"tanh", "softplus", "sqrt", "erf", "atan", "asinh"}
_NONNEGATIVE = {"exp", "sigmoid", "softplus", "normal_pdf", "normal_cdf", "abs", "sqrt"}
_EXACT = {"neg", "abs", "sign", "minimum", "maximum", "where", "detach"}


def single_error(root: Node, scalars: AbstractSet[str] = frozenset()) -> float:
    """ULP of a float32 result computed in float32. scalars: symbols that are float64 numbers."""
    error: dict[int, float] = {}
    positive: set[int] = set()
    for n in walk(root):
        parts = [error[id(a)] for a in n.args]
        signs = [id(a) in positive for a in n.args]
        if n.op == "symbol":
            error[id(n)] = math.inf if n.payload in scalars else 0.0
        elif n.op in ("number", "constant"):
            error[id(n)] = 0.0  # a factor carries what it lost in rounding
        elif n.op in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"):
            moved = n.op in ("eq", "ne") and any(a.op == "number" and not _single(a) for a in n.args)
            error[id(n)] = math.inf if moved or any(parts) else 0.0  # borders are rounded to the right side
        elif n.op in _EXACT:
            picked = any(a.op == "number" and not _single(a) for a in n.args)  # rounded before it is used
            error[id(n)] = max([0.5 * picked, *parts])
        elif n.op in ("add", "sub"):
            exact = not any(parts)
            agree = n.op == "add" and all(signs)
            literal = 0.5 if any(a.op == "number" and not _single(a) for a in n.args) else 0.0
            error[id(n)] = 0.5 + literal if exact else max(parts) + 0.5 if agree else math.inf
        elif n.op == "mul" and _chained(n):
            error[id(n)] = math.inf
        elif n.op == "mul":
            error[id(n)] = sum(parts) + (0.0 if any(map(_power_of_two, n.args)) else 0.5)
        elif n.op == "div":
            error[id(n)] = sum(parts) + (0.0 if _power_of_two(n.args[1]) else 0.5)
        elif n.op in SINGLE_ERROR and (not any(parts) or n.op in _CALM):
            error[id(n)] = sum(parts) + SINGLE_ERROR[n.op]
        elif n.op == "sqrt":
            error[id(n)] = sum(parts) + 0.5
        else:
            error[id(n)] = math.inf
        if (
            n.op in _NONNEGATIVE
            or (n.op == "number" and n.payload >= 0)
            or (n.op in ("add", "mul", "div", "where", "minimum") and all(signs[-2:]))
            or (n.op == "maximum" and any(signs))
        ):
            positive.add(id(n))
    return error[id(root)]


def _chained(n: Node) -> bool:
    """Whether a product has a product among its factors, other than one made smaller by a literal: what
    is in between may be too large or too small for float32 where the result is not."""
    small = any(a.op == "number" and abs(a.payload) <= 1 for a in n.args)
    return not small and any(a.op in ("mul", "div") for a in n.args)


def _single(n: Node) -> bool:
    """Whether a literal is a float32 number."""
    value = Fraction(n.payload) if math.isfinite(n.payload) else Fraction(0)
    return Fraction(struct.unpack("f", struct.pack("f", float(value)))[0]) == value


def _power_of_two(n: Node) -> bool:
    if n.op != "number" or not isinstance(n.payload, (int, Fraction)):
        return n.op == "number" and math.frexp(abs(n.payload))[0] == 0.5
    p, q = abs(Fraction(n.payload)).as_integer_ratio()
    return p != 0 and p & (p - 1) == 0 and q & (q - 1) == 0


def digits_of(n: Node, of: dict[str, int]) -> float:
    """The most binary digits that the exact value of a product or a choice can have; infinitely many for others"""
    if n.op == "symbol":
        return of.get(str(n.payload), math.inf)
    if n.op == "sign":
        return 0
    if n.op == "number":
        value = exact(n.payload) if math.isfinite(n.payload) else Fraction(0)
        size, scale = abs(value.numerator), value.denominator
        if size in (0, scale):  # a product with it is the other factor, or 0
            return 0
        return (
            (size // (size & -size)).bit_length() if scale & (scale - 1) == 0 and scale < 2**126 else math.inf
        )
    if n.op == "mul":
        return sum(digits_of(a, of) for a in n.args)
    if n.op in ("neg", "abs", "minimum", "maximum", "where"):
        return max(digits_of(a, of) for a in n.args[n.op == "where" :])
    return math.inf

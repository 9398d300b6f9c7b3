"""The slope of a function as an expression of its value: tanh' = 1 - y^2 where y = tanh(x).

What it is good for: a gradient from the output, which the next layer keeps anyway. Where the function
saturates, the output has lost the digits that the slope needs.
"""

from __future__ import annotations

from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import Node, expm1, make, number, rebuild, symbol, symbols_in, where
from softknee.lang.simplify import simplify

__all__ = ["slope_by_output"]

_MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}


def slope_by_output(root: Node, name: str, output: str) -> Node | None:
    """f'(x) as an expression of y = f(x), the symbols `name` and `output`; None where the rules give none.

    Where f is made of pieces it must rise, so that y tells on which one x lies. Whether the expression is f' is
    tried at some hundred points.
    """
    found = _slope(root, name, symbol(output))
    if found is None:
        return None
    found = simplify(found)
    return found if name not in symbols_in(found) and _holds(root, found, name, output) else None


def _slope(n: Node, x: str, v: Node) -> Node | None:
    """The slope of n where its value is v"""
    if n.op == "symbol":
        return number(1)
    if n.op == "neg":
        inner = _slope(n.args[0], x, -v)
        return None if inner is None else -inner
    if n.op == "where":
        return _pieces(n, x, v)
    if n.op in ("add", "sub", "mul", "div"):
        return _line(n, x, v)
    made = {
        "sigmoid": lambda: v * (1 - v),
        "tanh": lambda: (1 - v) * (1 + v),
        "exp": lambda: v,
        "expm1": lambda: v + 1,
        "softplus": lambda: -expm1(-v),
    }.get(n.op)
    if made is None:
        return None
    inside = derivative(n.args[0], x)
    return None if x in symbols_in(inside) else made() * inside


def _line(n: Node, x: str, v: Node) -> Node | None:
    """a + c, a - c, c - a, a c and a / c, with c without x"""
    for k, (a, c) in enumerate((n.args, n.args[::-1])):
        if x in symbols_in(c) or x not in symbols_in(a):
            continue
        if n.op == "add":
            return _slope(a, x, v - c)
        if n.op == "sub":
            inner = _slope(a, x, c - v if k else v + c)
            return None if inner is None else -inner if k else inner
        if n.op == "mul" or not k:
            inner = _slope(a, x, v / c if n.op == "mul" else v * c)
            return None if inner is None else inner * c if n.op == "mul" else inner / c
    return None


def _pieces(n: Node, x: str, v: Node) -> Node | None:
    condition, *pieces = n.args
    if condition.op not in _MIRRORED:
        return None
    (a, b), order = condition.args, condition.op
    if b.op == "symbol":
        a, b, order = b, a, _MIRRORED[order]
    if a.op != "symbol" or x in symbols_in(b):
        return None
    border = rebuild(n, lambda m: b if m.op == "symbol" and m.payload == x else None)
    if not symbols_in(border):
        border = number(compiled((border,), (), "float")()[0])
    slopes = [_slope(p, x, v) if x in symbols_in(p) else number(0) for p in pieces]
    return None if None in slopes else where(make(order, (v, border)), *slopes)  # type: ignore[arg-type]


def _holds(root: Node, slope: Node, x: str, output: str) -> bool:
    points = [s * k / 16 for k in range(1, 100) for s in (1, -1)]
    f, right = compiled((root,), (x,), "float"), compiled((derivative(root, x),), (x,), "float")
    found = compiled((slope,), (output,), "float")
    for at in points:
        want, got = right(at)[0], found(f(at)[0])[0]
        if not abs(got - want) <= 1e-6 * max(abs(want), 1e-3):
            return False
    return True

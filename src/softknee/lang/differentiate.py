"""Derivatives: one rule an operation, applied by the chain rule.

The rules are written so that the derivative keeps its digits where the function saturates: the
slope of tanh is 4 s(2a) s(-2a) with the sigmoid s, not 1 - tanh(a)^2, which is 0 from |a| = 20 on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from softknee.lang.nodes import (
    Node,
    cos,
    exp,
    log,
    make,
    normal_pdf,
    number,
    pi,
    power,
    sigmoid,
    sign,
    sin,
    sqrt,
    walk,
    where,
)  # fmt: skip
from softknee.lang.simplify import simplify

__all__ = ["RULES", "derivative", "gradient"]

_ZERO = number(0)
Rule = Callable[[Node], tuple[Node, ...]]


def _power(n: Node) -> tuple[Node, ...]:
    a, b = n.args
    # at a = 0 the slope in the exponent is 0, as torch
    return b * power(a, b - 1), (_ZERO if b.op == "number" else where(a == 0, 0, log(a) * n))


def _where(n: Node) -> tuple[Node, ...]:
    condition = n.args[0]
    return _ZERO, where(condition, 1, 0), where(condition, 0, 1)


#: operation -> the partial derivatives of a node with respect to its operands
RULES: dict[str, Rule] = {
    "number": lambda n: (),
    "constant": lambda n: (),
    "symbol": lambda n: (),
    "add": lambda n: (number(1), number(1)),
    "sub": lambda n: (number(1), number(-1)),
    "mul": lambda n: (n.args[1], n.args[0]),
    "div": lambda n: (1 / n.args[1], -n / n.args[1]),
    "neg": lambda n: (number(-1),),
    "pow": _power,
    "sqrt": lambda n: (1 / (2 * n),),
    "exp": lambda n: (n,),
    "expm1": lambda n: (exp(n.args[0]),),
    "log": lambda n: (1 / n.args[0],),
    "log1p": lambda n: (1 / (1 + n.args[0]),),
    "tanh": lambda n: (4 * sigmoid(2 * n.args[0]) * sigmoid(-(2 * n.args[0])),),
    "sigmoid": lambda n: (n * sigmoid(-n.args[0]),),
    "softplus": lambda n: (sigmoid(n.args[0]),),
    "erf": lambda n: (2 / sqrt(pi) * exp(-(n.args[0] * n.args[0])),),
    "normal_cdf": lambda n: (normal_pdf(n.args[0]),),
    "normal_pdf": lambda n: (-n.args[0] * n,),
    "sin": lambda n: (cos(n.args[0]),),
    "cos": lambda n: (-sin(n.args[0]),),
    "atan": lambda n: (1 / (1 + n.args[0] * n.args[0]),),
    "asinh": lambda n: (1 / sqrt(1 + n.args[0] * n.args[0]),),
    "abs": lambda n: (sign(n.args[0]),),
    "sign": lambda n: (_ZERO,),
    # At a tie the derivative is the second operand's: maximum(x, 0) has slope 0 at 0, as torch.
    "minimum": lambda n: (where(n.args[0] >= n.args[1], 0, 1), where(n.args[0] >= n.args[1], 1, 0)),
    "maximum": lambda n: (where(n.args[0] <= n.args[1], 0, 1), where(n.args[0] <= n.args[1], 1, 0)),
    "where": _where,
    "detach": lambda n: (_ZERO,),
    # A condition has no derivative; a where passes over it.
    "lt": lambda n: (_ZERO, _ZERO),
    "le": lambda n: (_ZERO, _ZERO),
    "gt": lambda n: (_ZERO, _ZERO),
    "ge": lambda n: (_ZERO, _ZERO),
    "eq": lambda n: (_ZERO, _ZERO),
    "ne": lambda n: (_ZERO, _ZERO),
    "and": lambda n: (_ZERO, _ZERO),
    "or": lambda n: (_ZERO, _ZERO),
    "not": lambda n: (_ZERO,),
}


def _select(condition: Node, a: Node, b: Node) -> Node:
    return a if a is b else make("where", (condition, a, b))


@lru_cache(maxsize=4096)
def derivative(root: Node, wrt: str, order: int = 1) -> Node:
    """The order-th derivative of an expression with respect to a symbol, simplified.

    At a kink it is the slope that the expression implies: `where(c, a, b)' = where(c, a', b')`,
    `maximum(a, b)' = a'` where a > b else b', `abs' = sign`.
    """
    if order < 0:
        raise ValueError(f"order must be 0 or more, got {order}")
    for _ in range(order):
        root = _derivative(root, wrt)
    return root


def _derivative(root: Node, wrt: str) -> Node:
    tangent: dict[int, Node] = {}
    for n in walk(root):
        if n.op == "symbol":
            tangent[id(n)] = number(1) if n.payload == wrt else _ZERO
            continue
        slopes = [tangent[id(a)] for a in n.args]
        if all(s is _ZERO for s in slopes) or n.op == "detach":
            tangent[id(n)] = _ZERO
        elif n.op == "where":
            tangent[id(n)] = _select(n.args[0], slopes[1], slopes[2])
        elif n.op in ("minimum", "maximum"):
            a, b = n.args
            # at NaN it is the first operand's, as torch's gradients of relu and hardtanh
            tangent[id(n)] = _select(a >= b if n.op == "minimum" else a <= b, *reversed(slopes))
        else:
            if n.op == "div" and all(s is not _ZERO for s in slopes):
                # (u' v - u v') / v^2: the terms of the numerator often cancel exactly
                u, v = n.args
                top = simplify(simplify(slopes[0] * v) - simplify(u * slopes[1]))
                tangent[id(n)] = simplify(top / (v * v))
                continue
            total: Node | None = None
            for partial, slope in zip(RULES[n.op](n), slopes, strict=True):
                if slope is not _ZERO:
                    term = simplify(partial * slope)
                    total = term if total is None else simplify(total + term)
            tangent[id(n)] = _ZERO if total is None else total
    return simplify(tangent[id(root)])


def gradient(root: Node, wrt: tuple[str, ...]) -> tuple[Node, ...]:
    """The first derivatives with respect to several symbols; common parts are shared."""
    return tuple(derivative(root, name) for name in wrt)

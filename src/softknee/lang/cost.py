"""What an expression costs to evaluate once per element, each shared node counted once.

A rough guide, in units of one addition on a vector unit, for comparing forms of the same function;
what a function really costs is measured (`softknee bench`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from softknee.lang.differentiate import derivative
from softknee.lang.nodes import Node, walk

__all__ = ["WEIGHTS", "Cost", "cost", "derivative_costs"]

#: operation -> additions it takes the time of, as branch-free polynomials in float32 do
WEIGHTS: dict[str, int] = {
    "number": 0, "constant": 0, "symbol": 0, "detach": 0,
    "add": 1, "sub": 1, "mul": 1, "neg": 1, "abs": 1, "sign": 2, "minimum": 1, "maximum": 1, "where": 1,
    "lt": 1, "le": 1, "gt": 1, "ge": 1, "eq": 1, "ne": 1, "and": 1, "or": 1, "not": 1,
    "div": 4, "sqrt": 4, "exp": 12, "expm1": 16, "log": 15, "log1p": 18, "normal_pdf": 14, "sigmoid": 17,
    "tanh": 18, "sin": 18, "cos": 18, "atan": 18, "erf": 24, "asinh": 26, "softplus": 30, "normal_cdf": 36,
    "pow": 30,
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """operations: nodes that compute; weight: their WEIGHTS added; transcendental: those above a division."""

    operations: int
    weight: int
    transcendental: int


def cost(*roots: Node) -> Cost:
    """The cost of evaluating all of these together.

    >>> from softknee.lang import symbol, sigmoid
    >>> x = symbol("x")
    >>> cost(x * sigmoid(x))
    Cost(operations=2, weight=18, transcendental=1)
    """
    count = Counter(node.op for node in walk(*roots) if node.args)
    return Cost(
        operations=count.total(),
        weight=sum(WEIGHTS[op] * n for op, n in count.items()),
        transcendental=sum(n for op, n in count.items() if WEIGHTS[op] > WEIGHTS["div"]),
    )


def derivative_costs(root: Node, order: int = 2, wrt: str = "x") -> tuple[Cost, ...]:
    """The costs of f, f', f'', ..., each evaluated alone."""
    return tuple(cost(derivative(root, wrt, k)) for k in range(order + 1))

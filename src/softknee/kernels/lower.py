"""Lowering: expressions -> a Program, in one of the arithmetics of `primitives`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from softknee.kernels.program import Program, Value
from softknee.lang.nodes import Node, walk

__all__ = ["SPELLING", "lower"]

Emit = Callable[[Any, Node, list[Any]], Any]


def _method(name: str) -> Emit:
    return lambda arithmetic, node, args: getattr(arithmetic, name)(*args)


def _power(arithmetic: Any, node: Node, args: list[Any]) -> Any:
    exponent = node.args[1]
    if exponent.op == "number" and isinstance(exponent.payload, int):
        return arithmetic.power(args[0], exponent.payload)
    return arithmetic.power(*args)


#: how each operation of the language is written in an arithmetic: mostly by the method of its name
SPELLING: dict[str, Emit] = {
    name: _method(name)
    for name in (
        "add", "sub", "mul", "div", "neg", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid",
        "softplus", "erf", "normal_cdf", "normal_pdf", "sin", "cos", "atan", "asinh", "abs", "sign",
        "minimum", "maximum", "lt", "le", "gt", "ge", "eq", "ne",
    )
} | {
    "pow": _power,
    "where": lambda arithmetic, node, args: arithmetic.select(*args),
    "detach": lambda arithmetic, node, args: args[0],
    "and": lambda arithmetic, node, args: arithmetic.program.and_(*args),
    "or": lambda arithmetic, node, args: arithmetic.program.or_(*args),
    "not": lambda arithmetic, node, args: arithmetic.program.not_(*args),
    "number": lambda arithmetic, node, args: arithmetic.const(node.payload),
    "constant": lambda arithmetic, node, args: arithmetic.const(constant_value(node)),
    "symbol": lambda arithmetic, node, args: _unknown(node),
}  # fmt: skip


def _unknown(node: Node) -> Any:
    raise KeyError(f"the kernel was given no input for the symbol {node.payload!r}")


def constant_value(node: Node) -> Any:
    """A subexpression without symbols, to 40 digits."""
    from softknee.lang.evaluate import evaluate_mp

    return evaluate_mp(node, {}, 40)


def lower(
    roots: Sequence[Node], program: Program, arithmetic: Any, inputs: Mapping[str, Value]
) -> list[Value]:
    """Writes the expressions into the program; returns one value each, to be rounded to the result.

    inputs: the program's inputs by symbol, in the type the arithmetic computes in. Parts without
    symbols are computed here, to more digits than any arithmetic holds.
    """
    numbers = {name: arithmetic.from_value(value) for name, value in inputs.items()}
    done: dict[int, Any] = {}
    free: set[int] = set()  # nodes that depend on a symbol
    for node in walk(*roots):
        if node.op == "symbol" or any(id(a) in free for a in node.args):
            free.add(id(node))
        elif node.op != "number":
            continue  # a constant part: written where it is used
        if node.op == "symbol" and node.payload in numbers:
            done[id(node)] = numbers[node.payload]
            continue
        args = []
        for a in node.args:
            if id(a) not in done:
                done[id(a)] = _constant(a, program, arithmetic)
            args.append(done[id(a)])
        done[id(node)] = SPELLING[node.op](arithmetic, node, args)
    for root in roots:
        if id(root) not in done:
            done[id(root)] = _constant(root, program, arithmetic)
    return [arithmetic.to_value(done[id(root)]) for root in roots]


def _constant(node: Node, program: Program, arithmetic: Any) -> Any:
    value = constant_value(node)
    if isinstance(value, bool):
        zero = program.const(0.0)
        return program.eq(zero, zero) if value else program.ne(zero, zero)
    return arithmetic.const(value)

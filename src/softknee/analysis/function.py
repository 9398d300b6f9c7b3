"""One function of one variable: a definition with its choices and parameters filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from softknee.catalogue.definition import Choice, Definition
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled, evaluate, evaluate_mp
from softknee.lang.nodes import Node, Number, number, substitute, symbol, symbols_in
from softknee.lang.simplify import simplify
from softknee.lang.stabilise import rewrite

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Function", "Measured", "factors_of", "function_of", "split_arguments"]

Array = np.ndarray[Any, np.dtype[np.float64]]


class Measured(float):
    """A number and the error it may have: an absolute bound, or an estimate of one."""

    error: float

    def __new__(cls, value: float, error: float = 0.0) -> Self:
        made = super().__new__(cls, value)
        made.error = float(error)
        return made

    def __repr__(self) -> str:
        return f"{float(self)!r} +- {self.error:.1g}" if self.error else repr(float(self))

    def __reduce__(self) -> tuple[type[Measured], tuple[float, float]]:
        return type(self), (float(self), self.error)


@dataclass(frozen=True, eq=False)
class Function:
    """f and its derivatives as expressions in x alone, and ways to evaluate them."""

    name: str
    expression: Node
    definition: Definition
    values: Mapping[str, Number]  # of the parameters
    choices: Mapping[str, Choice]

    @cached_property
    def derivatives(self) -> list[Node]:
        return [rewrite(self.expression)]

    def order(self, k: int) -> Node:
        """The k-th derivative."""
        while len(self.derivatives) <= k:
            self.derivatives.append(derivative(self.derivatives[-1], "x"))
        return self.derivatives[k]

    def numpy(self, *orders: int) -> Callable[[Array], list[Array]]:
        """The derivatives of these orders together, on arrays; NaN where they are not defined."""
        roots = tuple(self.order(k) for k in orders)
        return lambda x: evaluated(roots, x)

    def exact(self, at: Any, k: int = 0, digits: int = 30) -> Any:
        """The k-th derivative in mpmath numbers."""
        return evaluate_mp(self.order(k), {"x": at}, digits)


def evaluated(roots: tuple[Node, ...], x: Array) -> list[Array]:
    """The values of expressions in x on an array, in one pass."""
    function = compiled(roots, ("x",), "numpy")
    with np.errstate(all="ignore"):
        return [np.broadcast_to(np.asarray(y, dtype=np.float64), x.shape) for y in function(x)]


def split_arguments(
    definition: Definition, choices: Mapping[str, Choice] | None, arguments: Mapping[str, Any]
) -> tuple[dict[str, Choice], dict[str, Number]]:
    """The choices and the parameter values of a call, defaults filled in, constraints checked."""
    chosen = dict(choices or {})
    values: dict[str, Number] = dict(definition.defaults)
    parameters = [p.name for p in definition.parameters]
    for name, value in arguments.items():
        if name in definition.choices:
            chosen[name] = value
        elif name in parameters:
            values[name] = _number(definition, name, value)
        else:
            known = ", ".join((*parameters, *definition.choices))
            has = f"it has {known}" if known else "it has none"
            raise TypeError(f"{definition.name} has no parameter {name!r}; {has}")
    if unknown := [name for name in chosen if name not in definition.choices]:
        raise TypeError(f"{definition.name} has no choice {unknown[0]!r}")
    if missing := [name for name in parameters if name not in values]:
        needs = " and ".join(missing)
        example = ", ".join(f"{name}=..." for name in missing)
        raise TypeError(f"{definition.name} has no default for {needs}: give {example}")
    for constraint in definition.conditions(chosen):
        if not evaluate(constraint, values):
            given = ", ".join(f"{k}={float(v):g}" for k, v in values.items())
            raise ValueError(f"{definition.name} needs {constraint!r}, got {given}")
    return chosen, values


def _number(definition: Definition, name: str, value: Any) -> Number:
    if isinstance(value, (int, float, Fraction)) and not isinstance(value, bool):
        return value
    if getattr(value, "size", None) == 1 or getattr(value, "numel", lambda: 0)() == 1:
        return float(value)
    raise TypeError(f"{definition.name}: {name} must be a number here, got {type(value).__name__}")


def function_of(
    definition: Definition, choices: Mapping[str, Choice] | None = None, /, **arguments: Any
) -> Function:
    """The function that a definition is for these choices and parameters."""
    chosen, values = split_arguments(definition, choices, arguments)
    return _function(definition, tuple(sorted(chosen.items())), tuple(values.items()))


@lru_cache(maxsize=256)
def _function(
    definition: Definition, choices: tuple[tuple[str, Choice], ...], values: tuple[tuple[str, Number], ...]
) -> Function:
    given = dict(values)
    expression = simplify(substitute(definition.chosen(dict(choices)), given))
    return Function(definition.name, expression, definition, given, dict(choices))


def factors_of(
    definition: Definition, choices: Mapping[str, Choice] | None = None, /, **arguments: Any
) -> tuple[Function, ...]:
    """The functions of one variable whose product a definition is: one for each of its inputs, as a gated
    unit has two; a definition of one input is its own only factor."""
    chosen, values = split_arguments(definition, choices, arguments)
    return _factors(definition, tuple(sorted(chosen.items())), tuple(values.items()))


@lru_cache(maxsize=64)
def _factors(
    definition: Definition, choices: tuple[tuple[str, Choice], ...], values: tuple[tuple[str, Number], ...]
) -> tuple[Function, ...]:
    if len(definition.inputs) == 1:
        return (_function(definition, choices, values),)
    given = dict(values)
    parts: dict[str, Node] = {name: number(1) for name in definition.inputs}
    waiting = [substitute(definition.chosen(dict(choices)), given)]
    while waiting:
        part = waiting.pop()
        if part.op == "mul":
            waiting += part.args
            continue
        read = [name for name in definition.inputs if name in symbols_in(part)] or [definition.inputs[0]]
        if len(read) > 1:
            raise ValueError(
                f"{definition.name} is no product of functions of {' and '.join(definition.inputs)}"
            )
        parts[read[0]] = parts[read[0]] * part
    return tuple(
        Function(
            definition.name, simplify(substitute(part, {name: symbol("x")})), definition, given, dict(choices)
        )
        for name, part in parts.items()
    )

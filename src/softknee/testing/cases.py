"""A function under test: a definition, its choices, and a value for every parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from softknee.catalogue.definition import Definition
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import evaluate
from softknee.lang.limits import Limit, limit
from softknee.lang.nodes import Node, substitute
from softknee.nn.runtime import runtime
from softknee.testing.metric import rounded
from softknee.testing.oracle import Exact
from softknee.testing.points import hard_points, log_uniform, roots

__all__ = ["Case", "cases_of"]


@dataclass(frozen=True, eq=False)
class Case:
    """values: a number for every parameter. tensors: those that are given as tensors, as learnable
    ones are; their values must be numbers of every type they are tried in (0.25, not 0.1)."""

    definition: Definition
    choices: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: frozenset[str] = frozenset()

    def __str__(self) -> str:
        shown = [repr(v) for v in self.choices.values()]
        d = self.definition
        shown += [
            f"{p.name}={float(self.values[p.name]):g}"
            for p in d.parameters
            if p.default is None or float(p.default) != float(self.values[p.name])
        ]
        return d.name + (f"({', '.join(shown)})" if shown else "")

    @cached_property
    def exact(self) -> Exact:
        """The truth."""
        return Exact(self.definition.chosen(self.choices), self.values, self.definition.kinks)

    def limit(self, side: float, order: int) -> Limit:
        """The limit of the order-th derivative at inf or -inf."""
        return limit(derivative(self.definition.chosen(self.choices), "x", order), side, dict(self.values))

    @cached_property
    def _function(self) -> Node:
        return substitute(self.definition.chosen(self.choices), dict(self.values))

    def near_root(self, x: float, order: int) -> bool:
        """Whether x lies around a root of the order-th derivative, crossed or touched: between the
        neighbouring extrema."""
        return any(low <= x <= high for low, high in self._regions(order))

    def _regions(self, order: int) -> list[tuple[float, float]]:
        cache = self.__dict__.setdefault("_known_regions", {})
        if order not in cache:
            slope = derivative(self._function, "x", order)
            extrema = roots(derivative(self._function, "x", order + 1), 60)
            ends = [*extrema, *self.kinks]
            touching = [e for e in extrema if abs(_float_value(slope, e)) < 1e-9]
            cache[order] = [
                (
                    max((e for e in ends if e < root - 1e-9), default=-math.inf),
                    min((e for e in ends if e > root + 1e-9), default=math.inf),
                )
                for root in (*roots(slope, 60), *touching)
            ]
        return cache[order]

    def floor(self, x: float, order: int) -> float:
        """What `ulp_error` takes as its floor at x: 1/4 around a root of a derivative, else 0."""
        return (
            0.25
            if order and self.near_root(x, order) and abs(self.exact.derivative(x, order)) < 0.25
            else 0.0
        )

    @cached_property
    def kinks(self) -> list[float]:
        from softknee.testing.points import breaks

        return breaks(self.definition, self.values)

    def points(self, dtype: Any, samples: int = 64, seed: int = 0) -> list[float]:
        hard = hard_points(self.definition, dtype, self.values, self.choices)
        seen = {v.hex() for v in hard}
        return hard + [v for v in log_uniform(dtype, samples, seed) if v.hex() not in seen]

    # What is measured

    def __call__(self, x: torch.Tensor) -> Any:
        """The library's value."""
        return self.call(
            x, {n: torch.tensor(float(self.values[n]), dtype=x.dtype) for n in sorted(self.tensors)}
        )

    def call(self, x: Any, tensors: Mapping[str, Any]) -> Any:
        """The library's value, with these tensors for the parameters that are tensors."""
        given = {n: tensors[n] if n in self.tensors else float(v) for n, v in self.values.items()}
        return runtime(self.definition)(x, given, dict(self.choices))

    def derivatives(self, xs: Sequence[float], dtype: torch.dtype, order: int) -> list[list[float]]:
        """The library's value and its derivatives by autograd, up to this order, as float64 numbers."""
        x = torch.tensor(xs, dtype=torch.float64).to(dtype).requires_grad_(order > 0)
        y = self(x)
        found = [y.detach().to(torch.float64).tolist()]
        for k in range(order):
            if not y.requires_grad:
                found.append([0.0] * len(xs))
                y = y.detach()
                continue
            (y,) = torch.autograd.grad(
                y, x, torch.ones_like(y), create_graph=k + 1 < order, materialize_grads=True
            )
            found.append(y.detach().to(torch.float64).tolist())
        return found


def _float_value(expression: Node, x: float) -> float:
    return float(evaluate(expression, {"x": x}))


def _plain(value: Any, dtype: str | None) -> Any:
    return float(value) if dtype is None else float(rounded(float(value), dtype))


def cases_of(definition: Definition, dtype: str | None = None) -> list[Case]:
    """Every choice with default parameters; learnable ones as tensors at their initial values, rounded
    to a type; one that has no default at its example."""
    values: dict[str, Any] = {}
    for p in definition.parameters:
        value = p.default if p.default is not None else p.example
        if value is None:
            value = 0.75
        values[p.name] = _plain(value, dtype or "float32") if p.learnable else value
    tensors = frozenset(p.name for p in definition.learnable)
    keys = [dict(zip(definition.choices, k, strict=True)) for k in definition.expression]
    return [Case(definition, choices, values, tensors) for choices in keys]

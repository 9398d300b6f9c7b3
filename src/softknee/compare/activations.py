"""From a specification to a function on tensors, and what a comparison needs to know of it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softknee import catalogue
from softknee.catalogue import Definition
from softknee.catalogue.gates import GATES
from softknee.compare.errors import CompareError, SpecificationError
from softknee.compare.specification import Specification, parse
from softknee.nn import functional

Function = Callable[[Tensor], Tensor]

DEFAULT = "relu,leaky_relu,elu,selu,gelu,silu,mish,hardswish,softplus,softsign,tanh,sigmoid"
OTHER = DEFAULT.split(",", maxsplit=1)[0]

_GRID = torch.linspace(-12.0, 12.0, 24_001, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Activation:
    """One contestant: `gain` is 1/sqrt(E f(z)^2), z ~ N(0,1); `steepest` the largest |f'| on [-12, 12];
    `fingerprint` names the function's values, so that a redefined function is not taken for the old one;
    `learnable` are the parameters that the network learns, by layer, and where they start. Of a `gate`, a function of two
    tensors, the gain is that for two independent z, and the slope that by its gate where the other input is 1."""

    label: str
    function: Callable[..., Tensor]
    gain: float
    steepest: float
    fingerprint: str
    learnable: tuple[tuple[str, float], ...] = ()
    specification: Specification | None = None
    gate: bool = False

    def of_one(self, z: Tensor, **learned: Tensor) -> Tensor:
        """The function; of a gate with 1 as its other input."""
        return self.function(z, torch.ones_like(z)) if self.gate else self.function(z, **learned)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is made again; one of the caller's own takes its definition along."""
        if self.specification is None:
            raise TypeError(f"{self.label} was not made from a specification: it cannot be sent")
        definition = _definition(self.specification.name)
        return _again, (self.specification, definition if definition.family == "user" else None)

    @functools.cached_property
    def other(self) -> Activation:
        """The activation of the layers that do not have this one."""
        return activation(parse(OTHER)[0])


def resolve(specification: Specification) -> tuple[Definition, str, dict[str, Any], dict[str, float]]:
    """The definition, the label with the catalogue's own name, what is set, and what the network learns."""
    definition = _definition(specification.name)
    settings = dict(specification.settings)
    names = [p.name for p in definition.parameters] + list(definition.choices)
    for name in settings:
        if name not in names:
            has = f"its parameters: {', '.join(names)}" if names else "it has none"
            raise SpecificationError(f"{definition.name} has no parameter {name!r}; {has}")
    learnable: dict[str, float] = {}
    for parameter in definition.parameters:
        if parameter.name in settings:
            continue
        if parameter.learnable and definition.inputs == ("x",):
            learnable[parameter.name] = next(
                v for v in (parameter.default, parameter.example, 1.0) if v is not None
            )
        elif parameter.default is None:
            value = 1.0 if parameter.example is None else parameter.example
            raise SpecificationError(
                f"{definition.name} needs a value for {parameter.name}: {definition.name}({parameter.name}={value})"
            )
    return definition, str(Specification(definition.name, specification.settings)), settings, learnable


def _definition(name: str) -> Definition:
    try:
        return catalogue.get(name)
    except catalogue.UnknownActivationError as error:
        if gate := next((g for g in GATES if g.name == name.lower().replace("-", "_")), None):
            return gate.definition
        raise SpecificationError(str(error)) from None


def activation(specification: Specification) -> Activation:
    """The contestant, tried on a grid: it must be pointwise and differentiable."""
    definition, label, settings, learnable = resolve(specification)
    if definition.inputs != ("x",):
        return _gate(specification, definition, label, settings)
    function = functools.partial(functional.function_of(definition), **settings)
    start: Function = functools.partial(function, **{n: _GRID.new_tensor(v) for n, v in learnable.items()})
    try:
        values, slopes = start(_GRID), slope(start, _GRID)
    except (TypeError, RuntimeError, ValueError) as error:
        raise CompareError(f"{label} cannot be used: {error}") from None
    if values.shape != _GRID.shape:
        raise CompareError(f"{label} is not pointwise: it maps shape {(*_GRID.shape,)} to {(*values.shape,)}")
    steepest = float(slopes.abs().nan_to_num().max())
    if steepest == 0:
        raise CompareError(f"{label} cannot be trained: its slope is 0 everywhere")
    return Activation(
        label, function, gain(start), steepest, _fingerprint(values), tuple(learnable.items()), specification
    )


def _gate(
    specification: Specification, definition: Definition, label: str, settings: dict[str, Any]
) -> Activation:
    unit = getattr(functional, definition.name)

    def function(gate: Tensor, up: Tensor) -> Tensor:
        return (  # type: ignore[no-any-return]
            unit(up, gate=gate, **settings) if definition.torch else unit(gate, up, **settings)
        )

    up = torch.linspace(-10.0, 10.0, 101, dtype=torch.float64)
    weight = _density(up) * (up[1] - up[0])
    try:
        values, slopes = (
            function(_GRID, torch.ones_like(_GRID)),
            slope(lambda z: function(z, torch.ones_like(z)), _GRID),
        )
        squares = function(_GRID[:, None], up) ** 2 @ weight
    except (TypeError, RuntimeError, ValueError) as error:
        raise CompareError(f"{label} cannot be used: {error}") from None
    steepest = float(slopes.abs().nan_to_num().max())
    return Activation(
        label, function, _gain(squares), steepest, _fingerprint(values), (), specification, gate=True
    )


def _again(specification: Specification, own: Definition | None) -> Activation:
    if own is None:
        return _made(specification)
    catalogue.add(own, replace=True)
    return activation(specification)


@functools.lru_cache(maxsize=256)
def _made(specification: Specification) -> Activation:
    return activation(specification)


def slope(function: Function, z: Tensor) -> Tensor:
    """f'(z), element by element."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(function(z).sum(), z, materialize_grads=True)[0]


def gain(function: Function) -> float:
    """1/sqrt(E f(z)^2) for z ~ N(0, 1): the weight scale that keeps the mean square of the outputs at 1.

    By the trapezoidal rule with step 0.001 on [-12, 12]: relative error below 1e-6 for a continuous f (its kinks
    cost h^2/12; what lies outside is below 1e-31 of the weight).
    """
    return _gain(function(_GRID) ** 2)


def _gain(squares: Tensor) -> float:
    second_moment = float(torch.trapezoid(squares * _density(_GRID), _GRID))
    return second_moment**-0.5 if 0 < second_moment < float("inf") else 1.0


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z**2) / (2 * torch.pi) ** 0.5


def _fingerprint(values: Tensor) -> str:
    """Six significant digits of 241 values: the same on every machine, another for another function."""
    return hashlib.sha256(" ".join(f"{v:.5e}" for v in values[::100].tolist()).encode()).hexdigest()[:16]

"""From a specification to a function on tensors, and what a comparison needs to know of it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from softknee.compare.errors import CompareError, SpecificationError, nearest
from softknee.compare.specification import Specification

Function = Callable[[Tensor], Tensor]

DEFAULT = "relu,leaky_relu,elu,selu,gelu,silu,mish,softplus,tanh,sigmoid,hardswish,softsign"

_GRID = torch.linspace(-12.0, 12.0, 24_001, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Activation:
    """One contestant: `gain` is 1/sqrt(E f(z)^2), z ~ N(0,1); `steepest` the largest |f'| on [-12, 12];
    `fingerprint` names the function's values, so that a redefined function is not taken for the old one."""

    label: str
    function: Function
    gain: float
    steepest: float
    fingerprint: str


def resolve(specification: Specification) -> Function:
    """The specification's function on tensors."""
    name, settings = specification.name, dict(specification.settings)
    function = getattr(F, name, None)
    if function is None:
        known = DEFAULT.split(",")
        raise SpecificationError(f"no activation called {name!r}; nearest: {', '.join(nearest(name, known))}")
    return functools.partial(function, **settings)


def activation(specification: Specification) -> Activation:
    """The contestant, tried on a grid: it must be pointwise, finite somewhere and differentiable."""
    label, function = str(specification), resolve(specification)
    try:
        values, slopes = function(_GRID), slope(function, _GRID)
        pointwise = values.shape == _GRID.shape and torch.allclose(
            function(_GRID.flip(0)[::2]), values.flip(0)[::2], equal_nan=True
        )
    except (TypeError, RuntimeError, ValueError) as error:
        raise CompareError(f"{label} cannot be used: {error}") from None
    if not pointwise:
        raise CompareError(f"{label} is not pointwise: its value at one unit depends on others; leave it out")
    return Activation(
        label, function, gain(function), float(slopes.abs().nan_to_num().max()), _fingerprint(values)
    )


def slope(function: Function, z: Tensor) -> Tensor:
    """f'(z), element by element."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(function(z).sum(), z)[0]


def gain(function: Function) -> float:
    """1/sqrt(E f(z)^2) for z ~ N(0, 1): the weight scale that keeps the mean square of the outputs at 1.

    By the trapezoidal rule with step 0.001 on [-12, 12]: relative error below 1e-6 for a continuous f (its kinks
    cost h^2/12; what lies outside is below 1e-31 of the weight).
    """
    density = torch.exp(-0.5 * _GRID**2) / (2 * torch.pi) ** 0.5
    second_moment = float(torch.trapezoid(function(_GRID) ** 2 * density, _GRID))
    return second_moment**-0.5 if 0 < second_moment < float("inf") else 1.0


def _fingerprint(values: Tensor) -> str:
    """Six significant digits of 241 values: the same on every machine, another for another function."""
    return hashlib.sha256(" ".join(f"{v:.5e}" for v in values[::100].tolist()).encode()).hexdigest()[:16]

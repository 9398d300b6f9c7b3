"""Functions that cannot be trained by their gradient, with the gradient of another: straight-through."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor

from softknee.catalogue.definition import Definition
from softknee.nn import functional
from softknee.nn.make import named
from softknee.nn.pointwise import constant
from softknee.nn.runtime import runtime

__all__ = ["BinaryLinear", "StraightThrough", "binarize", "straight_through"]


def straight_through(input: Tensor, activation: Any, gradient: Any = None) -> Tensor:
    """The value of one function with the derivative of another: y = f(x), dy/dx = g'(x).

    activation: f, a name or anything to call. gradient: g, a name; None is the clipped identity, whose
    slope is 1 for -1 <= x <= 1 and 0 elsewhere; "pass" lets every gradient through.

    Source: Bengio, Léonard, Courville (2013), Estimating or propagating gradients through stochastic
    neurons; the clipped form: Hubara, Courbariaux, Soudry, El-Yaniv, Bengio (2016), equation 4.
    """
    return _applied(input, *_prepared(activation, gradient))


Slope = Callable[[Tensor], Tensor] | Literal["pass"] | None

_kept = SimpleNamespace()  # what was asked for, as text -> the function


def _prepared(activation: Any, gradient: Any) -> tuple[Callable[[Tensor], Tensor], Slope]:
    """f, and the derivative of g"""
    if not torch.compiler.is_dynamo_compiling():
        return _value(activation), _slope(gradient)
    f = getattr(_kept, _keep_value(activation)) if isinstance(activation, str) else activation
    if gradient is None or gradient == "pass":
        return f, gradient
    return f, getattr(_kept, _keep_slope(gradient))


@constant
def _keep_value(activation: str) -> str:
    """Makes what a tracer must not see being made; returns where it is kept."""
    setattr(_kept, activation, _value(activation))
    return activation


@constant
def _keep_slope(gradient: Any) -> str:
    key = f"slope of {gradient}"
    setattr(_kept, key, _slope(gradient))
    return key


def _value(activation: Any) -> Callable[[Tensor], Tensor]:
    found = named(activation) if isinstance(activation, str) else None
    if found is not None:
        definition, given = found
        if required := [p.name for p in definition.parameters if p.default is None and p.name not in given]:
            raise TypeError(
                f"{activation} needs a value for {required[0]!r}: {activation}({required[0]}=...)"
            )
        f = functional.function_of(definition)
        return partial(f, **given) if given else f
    if not callable(activation):
        raise TypeError(f"straight_through takes a name or a function, got {activation!r:.60}")
    return activation  # type: ignore[no-any-return]


def _slope(gradient: Any) -> Slope:
    if gradient is None or gradient == "pass":
        return gradient  # type: ignore[no-any-return]
    found = named(gradient)
    if found is None:
        raise TypeError(f'gradient is the name of an activation, "pass" or None, got {gradient!r:.60}')
    definition, given = found
    if unknown := [
        n for n in given if n not in (*(p.name for p in definition.parameters), *definition.choices)
    ]:
        raise TypeError(f"{definition.name} has no parameter {unknown[0]!r}")
    choices = {n: given.pop(n) for n in definition.choices if n in given}
    definition.chosen(choices)  # says what is not offered
    return _Derivative(definition, given, choices)


class _Derivative:
    def __init__(self, definition: Definition, values: Any, choices: Any) -> None:
        self.run, self.values, self.choices = runtime(definition), values, choices

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x, self.values, self.choices, order=1)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:  # compiled kernels stay here
        return type(self), (self.run.definition, self.values, self.choices)


class _Straight(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, activation: Any, slope: Any) -> Tensor:
        y = activation(x)
        if y.shape != x.shape:
            raise ValueError(
                f"straight_through needs a function that keeps the shape; of {tuple(x.shape)} it made {tuple(y.shape)}"
            )
        return y.clone() if y is x else y  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, _, ctx.slope = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> Any:  # type: ignore[override]
        return _times_slope(incoming, ctx.saved_tensors[0], ctx.slope), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:  # type: ignore[override]
        return _times_slope(tangent, ctx.saved_tensors[0], ctx.slope)


class _Traced(torch.autograd.Function):
    """A value with the slope s, for torch.compile, which cannot trace a function with its own jvp"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, s: Tensor) -> Tensor:
        ctx.save_for_backward(s)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> Any:  # type: ignore[override]
        return incoming * ctx.saved_tensors[0], None, None


def _times_slope(incoming: Tensor, x: Tensor, slope: Any) -> Tensor:
    if slope == "pass":
        return incoming.clone()
    if slope is None:
        return torch.where(x.abs() <= 1, incoming, 0)
    return incoming * slope(x)  # type: ignore[no-any-return]


def _applied(input: Tensor, activation: Any, slope: Any) -> Tensor:
    if not isinstance(input, Tensor) or not input.is_floating_point():
        raise TypeError(
            f"straight_through needs a floating tensor, got {getattr(input, 'dtype', type(input))}"
        )
    if not torch.compiler.is_dynamo_compiling():
        return _Straight.apply(input, activation, slope)  # type: ignore[no-any-return]
    with torch.no_grad():
        y, s = _Straight.forward(input, activation, slope), _times_slope(torch.ones_like(input), input, slope)
    return _Traced.apply(input, y, s)  # type: ignore[no-any-return]


class StraightThrough(torch.nn.Module):
    """The value of one function with the derivative of another, so that a step can be trained through.

    >>> layer = StraightThrough("sign")  # slope 1 between -1 and 1
    >>> layer = StraightThrough("binary_step", gradient="sigmoid")
    >>> layer = StraightThrough(torch.round, gradient="pass")

    Args:
        activation: a name (or "hardtanh(min_val=-2)"), a module or a function of one tensor that keeps its shape
        gradient: the name of the activation whose derivative is used; None: the clipped identity;
            "pass": the identity
    """

    def __init__(self, activation: Any, gradient: Any = None) -> None:
        super().__init__()
        function, self._slope = _value(activation), _slope(gradient)
        self._shown = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
        self._given = "" if gradient is None else getattr(gradient, "name", gradient)
        self.activation = function

    def forward(self, input: Tensor) -> Tensor:
        return _applied(input, self.activation, self._slope)

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (self._shown, self._given and f"gradient={self._given!r}")))


def binarize(input: Tensor, stochastic: bool = False) -> Tensor:
    """-1 or 1: the sign, with 1 at 0; or 1 with the probability clip((x + 1) / 2, 0, 1).

    The gradient passes where -1 <= x <= 1.

    Source: Courbariaux, Bengio, David (2015), BinaryConnect, equations 1 to 3.
    """
    return _applied(input, _drawn if stochastic else _sign, None)


def _sign(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, torch.where(x < 0, -1.0, x)).to(x.dtype)  # NaN stays NaN


def _drawn(x: Tensor) -> Tensor:
    return torch.where(torch.rand_like(x) < (x + 1) / 2, 1.0, -1.0).to(x.dtype)


class BinaryLinear(torch.nn.Linear):
    """A linear layer that computes with weights of -1 and 1, and learns the real numbers behind them.

    The gradient of a binary weight goes to the real one while that is between -1 and 1. Call `clip_()`
    after each step of the optimizer: beyond, a real weight would change nothing and never come back.

    Args:
        in_features: the size of the input's last dimension
        out_features: the size of the output's last dimension
        bias: whether to add a (real) bias
        stochastic: draw the weights in training, 1 with the probability (w + 1) / 2
        binary_input: make the input -1 or 1, too

    Source: Courbariaux, Bengio, David (2015), BinaryConnect, algorithm 1.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, stochastic: bool = False,
        binary_input: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.stochastic, self.binary_input = stochastic, binary_input
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        weight = binarize(self.weight, self.stochastic and self.training)
        return torch.nn.functional.linear(binarize(input) if self.binary_input else input, weight, self.bias)

    @torch.no_grad()
    def clip_(self) -> BinaryLinear:
        """Puts the real weights back between -1 and 1."""
        self.weight.clamp_(-1, 1)
        return self

    def extra_repr(self) -> str:
        more = [f"{n}=True" for n in ("stochastic", "binary_input") if getattr(self, n)]
        return ", ".join([super().extra_repr(), *more])

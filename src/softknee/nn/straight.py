"""Functions that cannot be trained by their gradient, with the gradient of another: straight-through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from softknee import catalogue
from softknee.catalogue.definition import Definition
from softknee.nn import functional
from softknee.nn.runtime import runtime

__all__ = ["BinaryLinear", "StraightThrough", "binarize", "straight_through"]


def straight_through(input: Tensor, activation: Any, gradient: Any = None) -> Tensor:
    """The value of one function with the derivative of another: y = f(x), dy/dx = g'(x).

    activation: f, a name or anything to call. gradient: g, a name; None is the clipped identity, whose
    slope is 1 for -1 <= x <= 1 and 0 elsewhere; "pass" lets every gradient through.

    Source: Bengio, Léonard, Courville (2013), Estimating or propagating gradients through stochastic
    neurons; the clipped form: Hubara, Courbariaux, Soudry, El-Yaniv, Bengio (2016), equation 4.
    """
    return _applied(input, *_checked(activation, gradient))


def _checked(activation: Any, gradient: Any) -> tuple[Callable[[Tensor], Tensor], Definition | str | None]:
    if isinstance(activation, str):
        definition = catalogue.get(activation)
        if required := [p.name for p in definition.parameters if p.default is None]:
            raise TypeError(f"{activation} needs a value for {required[0]!r}: give a module or a lambda")
        activation = functional.function_of(definition)
    if not callable(activation):
        raise TypeError(f"straight_through takes a name or a function, got {activation!r:.60}")
    if gradient is None or gradient == "pass":
        return activation, gradient
    return activation, getattr(gradient, "definition", None) or catalogue.get(gradient)


class _Straight(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, activation: Any, gradient: Any) -> Tensor:
        y = activation(x)
        return y.clone() if y is x else y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, _, ctx.gradient = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> Any:  # type: ignore[override]
        return _times_slope(incoming, ctx.saved_tensors[0], ctx.gradient), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:  # type: ignore[override]
        return _times_slope(tangent, ctx.saved_tensors[0], ctx.gradient)


def _times_slope(incoming: Tensor, x: Tensor, gradient: Any) -> Tensor:
    if gradient == "pass":
        return incoming.clone()
    if gradient is None:
        return torch.where(x.abs() <= 1, incoming, 0)
    return incoming * runtime(gradient)(x, {}, {}, order=1)


def _applied(input: Tensor, activation: Any, gradient: Any) -> Tensor:
    if not input.is_floating_point():
        raise TypeError(f"straight_through needs a floating tensor, got {input.dtype}")
    return _Straight.apply(input, activation, gradient)  # type: ignore[no-any-return]


class StraightThrough(torch.nn.Module):
    """The value of one function with the derivative of another, so that a step can be trained through.

    >>> layer = StraightThrough("sign")  # slope 1 between -1 and 1
    >>> layer = StraightThrough("binary_step", gradient="sigmoid")
    >>> layer = StraightThrough(torch.round, gradient="pass")

    Args:
        activation: a name, a module or a function of one tensor that keeps its shape
        gradient: the name of the activation whose derivative is used; None: the clipped identity;
            "pass": the identity
    """

    def __init__(self, activation: Any, gradient: Any = None) -> None:
        super().__init__()
        function, self._gradient = _checked(activation, gradient)
        self._shown = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
        self._given = "" if gradient is None else getattr(gradient, "name", gradient)
        self.activation = function

    def forward(self, input: Tensor) -> Tensor:
        return _applied(input, self.activation, self._gradient)

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (self._shown, self._given and f"gradient={self._given!r}")))


def binarize(input: Tensor, stochastic: bool = False) -> Tensor:
    """-1 or 1: the sign, with 1 at 0; or 1 with the probability clip((x + 1) / 2, 0, 1).

    The gradient passes where -1 <= x <= 1.

    Source: Courbariaux, Bengio, David (2015), BinaryConnect, equations 1 to 3.
    """
    return straight_through(input, _drawn if stochastic else _sign)


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

"""Calls of a function of one tensor and a tensor for each parameter: what a shape needs is worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softknee.nn import launch
from softknee.nn.pointwise import Call, Pointwise
from softknee.nn.saved import applied

if TYPE_CHECKING:
    from softknee.nn.launch import _Ready

__all__ = ["Way"]


class Way:
    """How an operator is done at tensors of some shapes, strides and types, and its gradients.

    tensors: as they are given; shapes: of them as they broadcast; ready: how the values are computed; on: the
    same for tensors like these alone, None for others.
    """

    __slots__ = ("_backs", "_ons", "alike", "call", "on", "op", "ready", "shapes")

    def __init__(
        self, op: Pointwise, ready: _Ready, tensors: tuple[Tensor, ...], shapes: list[torch.Size], call: Call
    ) -> None:
        self.op, self.ready, self.shapes, self.call = op, ready, shapes, call
        self.on = ready.bound(tensors)
        #: whether they have one type: then autocast changes nothing
        self.alike = all(t.dtype is tensors[0].dtype for t in tensors)
        self._backs: dict[Any, Any] = {}
        self._ons: dict[tuple[bool, ...], Any] = {}  # what gives the gradients, by which are needed

    def values(self, tensors: tuple[Tensor, ...]) -> Any:
        if (y := self.on(*tensors)) is None:
            y = self.ready(tensors, self.call)
        return self.op.evaluate((*self._broadcast(tensors), self.call)) if y is None else y

    def gradients(
        self, tensors: tuple[Tensor, ...], gradient: Tensor, needs: tuple[bool, ...]
    ) -> Sequence[Any]:
        """A gradient for each tensor that needs one."""
        plain = launch.plain(gradient)
        on = self._ons.get(needs) if plain else None
        if on is not None and (made := on(*tensors, gradient)) is not None:
            return made  # type: ignore[no-any-return]
        derived = self.op.backward(needs)
        results: list[Any] = [None] * len(tensors)
        if derived is None:
            return results
        back, places = derived
        values = None
        key = (needs, gradient.stride())
        if plain and (ready := self._backs.get(key)) is not None:
            try:
                values = ready((*tensors, gradient), self.call)
            except RuntimeError as error:
                if "data pointer" not in str(error):  # of vmap's old kind of tensor
                    raise
        if values is None:
            inputs = (*self._broadcast(tensors), gradient)
            call = Call((), tuple([self.shapes[p] for p in places]), self.call.precision)
            values = back.evaluate((*inputs, call)) if plain else back(*inputs, call)
            if plain and (ready := back.ready.get(launch.met(inputs, call))) is not None:
                self._backs[key] = ready
                if places == tuple(range(len(tensors))):
                    self._ons[needs] = ready.bound((*tensors, gradient), [t.shape for t in tensors])
        for place, value in zip(places, (values,) if back.single else values, strict=True):
            shape = tensors[place].shape
            results[place] = value if value.shape == shape else value.reshape(shape)
        return results

    def _broadcast(self, tensors: tuple[Tensor, ...]) -> list[Tensor]:
        return [t if t.shape == s else t.reshape(s) for t, s in zip(tensors, self.shapes, strict=True)]


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, made: tuple[Way, Tensor | None], *tensors: Tensor) -> Any:
        ctx.to_save = tensors  # what save_for_backward does
        ctx.way, y = made
        return ctx.way.values(tensors) if y is None else y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, *ctx.way.gradients(ctx.saved_tensors, gradient, ctx.needs_input_grad[1:])


recorded = applied(_Learned)

"""Functions of several parts of one tensor, as gates are of its halves.

Stretches are views, so nothing is copied on the way in; the gradients of all parts are written into
one tensor, so nothing is joined on the way out. Parts that take turns are taken apart and joined again. What is saved is the tensor itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from softknee.nn import launch
from softknee.nn.pointwise import Call, Pointwise

__all__ = ["Layout", "apply"]


class Layout(NamedTuple):
    """How a dimension is cut into `count` parts: into stretches, or (interleaved) every count-th
    element, from the first, the second, ... on. backwards: the last part is named first."""

    dim: int
    count: int
    interleaved: bool = False
    backwards: bool = False

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """Views of x, all of one shape."""
        if self.interleaved:
            views = x.unflatten(self.dim, (-1, self.count)).unbind(self.dim % x.dim() + 1)
        else:
            views = x.chunk(self.count, self.dim)
        return views[::-1] if self.backwards else views

    def apart(self, x: Tensor) -> tuple[Tensor, ...]:
        """As `parts`, each in one piece: one pass takes turns apart, where kernels read stretches."""
        if not self.interleaved:
            return self.parts(x)
        groups = x.unflatten(self.dim, (-1, self.count))
        pieces = groups.movedim(self.dim % x.dim() + 1, 0).contiguous().unbind(0)
        return pieces[::-1] if self.backwards else pieces

    def joined(self, values: tuple[Tensor, ...]) -> Tensor:
        """A new tensor of which these are the parts."""
        values = values[::-1] if self.backwards else values
        if not self.interleaved:
            return torch.cat(values, self.dim)
        dim = self.dim % values[0].dim()
        return torch.stack(values, dim + 1).flatten(dim, dim + 1)


def apply(op: Pointwise, x: Tensor, layout: Layout, tensors: tuple[Tensor, ...], call: Call) -> Tensor:
    """The operator of one output at the parts of x and at further tensors."""
    recording = x.requires_grad and torch.is_grad_enabled()
    if (
        (recording or layout.interleaved)
        and not torch.compiler.is_dynamo_compiling()
        and launch.eligible((x, *tensors))
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    ):
        if recording:
            return _recorded(x, op, layout, call, *tensors)  # type: ignore[no-any-return]
        return op(*layout.apart(x), *tensors, call)  # type: ignore[no-any-return]
    return op(*layout.parts(x), *tensors, call)  # type: ignore[no-any-return]


class _Parts(torch.autograd.Function):
    """For eager mode on the CPU; elsewhere autograd goes through the views."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, op: Pointwise, layout: Layout, call: Call, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(x, *tensors)
        ctx.op, ctx.layout, ctx.call = op, layout, call
        return op.evaluate((*layout.apart(x), *tensors, call))  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, *tensors = ctx.saved_tensors
        layout: Layout = ctx.layout
        count = layout.count
        views = layout.parts(x) if torch.is_grad_enabled() else layout.apart(x)
        results: list[Any] = [None] * (4 + len(tensors))
        derived = ctx.op.backward((ctx.needs_input_grad[0],) * count + ctx.needs_input_grad[4:])
        if derived is None:
            return tuple(results)
        back, places = derived
        inputs = (*views, *tensors, gradient)
        call = Call(ctx.call.scalars, tuple([inputs[p].shape for p in places]), ctx.call.precision)
        values = None
        if (
            not torch.is_grad_enabled()
            and places[:count] == tuple(range(count))
            and gradient.shape == views[0].shape
            and not layout.interleaved
            and back.spelled
            and launch.eligible(inputs)
        ):
            whole = launch.fresh_like(x)
            values = launch.write(back, inputs, call, (*layout.parts(whole), *[None] * (len(places) - count)))
        if values is not None:
            results[0] = whole
        else:
            values = back(*inputs, call)
            values = (values,) if back.single else values
            given = dict(zip(places, values, strict=True))
            if ctx.needs_input_grad[0]:
                pieces = [given[k] if k in given else torch.zeros_like(v) for k, v in enumerate(views)]
                results[0] = layout.joined(tuple(pieces))
        for place, value in zip(places, values, strict=True):
            if place >= count:
                results[4 + place - count] = value
        return tuple(results)


# Function.apply asks what cannot be so here; the C function does not
_recorded = super(torch.autograd.Function, _Parts).apply  # type: ignore[misc]

"""Maxout: the largest of several linear maps (Goodfellow et al. 2013)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

__all__ = ["Maxout", "maxout"]

# names of this module: at few elements the way to an attribute of an attribute counts
_unflatten, _grad_enabled, _is_compiling, _functorch_active, _dual_level = (
    torch.unflatten,
    torch.is_grad_enabled,
    torch.compiler.is_compiling,
    torch._C._are_functorch_transforms_active,
    torch.autograd.forward_ad,
)
#: of so many elements, places may take eight bytes each: it is sooner done
FEW = 262144


def maxout(input: Tensor, pieces: int, dim: int = -1) -> Tensor:
    """The largest of every `pieces` consecutive units, so dim shrinks by that factor.

    Where several are the largest, the first has the slope. With fixed maps it is relu (x and 0), abs (x and
    -x), leaky_relu and prelu (x and a x); with enough pieces it approximates any convex function.

    Args:
        input: a tensor whose size in dim is a multiple of pieces
        pieces: how many units compete
        dim: the dimension of the units
    """
    if has_torch_function_unary(input):
        return handle_torch_function(maxout, (input,), input, pieces, dim)  # type: ignore[no-any-return]
    if not isinstance(input, Tensor):
        raise TypeError(f"maxout takes a tensor, got {type(input).__name__}: {input!r:.60}")
    if not isinstance(pieces, int) or pieces < 1:
        raise ValueError(f"maxout: pieces must be a positive whole number, got {pieces!r}")
    rank = input.dim()
    if not -rank <= dim < rank:
        raise IndexError(f"maxout: there is no dimension {dim} in an input of shape {tuple(input.shape)}")
    size = input.shape[dim]
    if size % pieces:
        raise ValueError(
            f"maxout: {pieces} pieces do not divide dimension {dim} of the input, whose size is {size}"
        )
    if pieces == 1:
        return input * 1
    groups, along = _unflatten(input, dim, (size // pieces, pieces)), dim % rank + 1
    recording = input.requires_grad and _grad_enabled()
    if (
        _is_compiling()
        or (recording and input.numel() <= FEW)
        or _functorch_active()
        or _dual_level._current_level >= 0
    ):
        return groups.max(along).values  # which remembers where the largest was: the first of equal ones
    if recording:
        return _Largest.apply(groups, along)  # type: ignore[no-any-return]
    return groups.amax(along)  # takes half the time


class _Largest(torch.autograd.Function):
    """torch's max along a dimension; it keeps a byte or two for each place, not the eight of int64."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        values, places = x.max(dim)
        ctx.dim, ctx.pieces = dim, x.shape[dim]
        ctx.save_for_backward(places.to(torch.uint8 if ctx.pieces <= 256 else torch.int32))
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        shape = [*gradient.shape[: ctx.dim], ctx.pieces, *gradient.shape[ctx.dim :]]
        places, gradient = places.long().unsqueeze(ctx.dim), gradient.unsqueeze(ctx.dim)
        return gradient.new_zeros(shape).scatter_(ctx.dim, places, gradient), None


class Maxout(torch.nn.Module):
    """A linear map to pieces * out_features units, of which every `pieces` consecutive ones compete.

    Args:
        in_features: the size of the last dimension of the input
        out_features: the size of the last dimension of the result
        pieces: how many linear maps each unit is the maximum of
        bias: whether the linear maps have one
    """

    def __init__(
        self, in_features: int, out_features: int, pieces: int = 2, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(pieces, int) or pieces < 1:
            raise ValueError(f"Maxout: pieces must be a positive whole number, got {pieces!r}")
        self.pieces = pieces
        self.linear = torch.nn.Linear(in_features, out_features * pieces, bias, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return maxout(self.linear(input), self.pieces)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"

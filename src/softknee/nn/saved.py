"""What is kept for backward in place of the input: a code of a few bits an element.

Where the derivative takes a few values that depend on no tensor (relu, leaky_relu, hardtanh, the shrink
functions), one to three bits say all of it, exactly: the default. With `options(saved="lean")` the
derivative of any other function of one tensor is rounded to the nearest of 2^bits levels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softknee.kernels.codes import Codes, exact_codes, rounded_codes
from softknee.kernels.llvm import Operand, Scalar
from softknee.kernels.plan import Plan, compile_plan
from softknee.lang.differentiate import derivative
from softknee.lang.nodes import symbol
from softknee.lang.stabilise import rewrite, stabilise
from softknee.nn import launch

if TYPE_CHECKING:
    from softknee.nn.pointwise import Call, Pointwise

__all__ = ["levels_for", "saved_form"]

#: codes are padded to whole vectors of this many elements
PADDED = 64


def levels_for(slope: Any, bits: int, count: int = 1024) -> tuple[float, ...]:
    """The 2^bits levels with the least mean squared distance to f'(X), X ~ N(0, 1).

    The best partition of `count` equally likely values of f'(X) into runs, by dynamic programming
    (Bruce 1965, "Optimum quantization"). slope: f' of an array of float64.
    """
    import numpy as np
    from scipy.special import ndtri

    values = np.sort(np.asarray(slope(ndtri((np.arange(count) + 0.5) / count)), dtype=float))
    sums = np.concatenate([[0], np.cumsum(values)])
    squares = np.concatenate([[0], np.cumsum(values**2)])
    first, last = np.mgrid[: count + 1, : count + 1]
    with np.errstate(divide="ignore", invalid="ignore"):  # of values[first:last] around their mean
        spread = squares[last] - squares[first] - (sums[last] - sums[first]) ** 2 / (last - first)
    spread[last <= first] = np.inf
    best, starts = spread[0], []
    for _ in range((1 << bits) - 1):
        total = best[:, None] + spread
        starts.append(total.argmin(0))
        best = total.min(0)
    ends = [count]
    for start in reversed(starts):
        ends.append(int(start[ends[-1]]))
    ends = [0, *reversed(ends)]
    return tuple(float(np.float32(values[i:j].mean())) for i, j in pairwise(ends))


def saved_form(op: Pointwise, kept: tuple[str, int]) -> Saved | None:
    """How the operator records itself for backward by codes; None where it keeps its input.

    kept: the options `saved` and `bits`.
    """
    forms = op.forms
    if kept not in forms:
        forms[kept] = _made(op, *kept)
    return forms[kept]


def _made(op: Pointwise, saved: str, bits: int) -> Saved | None:
    if op.tensors != ("x",) or not op.single or not op.spelled or op.outputs[0].terms[0].factors:
        return None
    slope = rewrite(derivative(op.outputs[0].terms[0].expression, "x"))
    codes = exact_codes(slope, {"x"})
    if codes is None and saved == "lean" and not op.scalars:
        tame = stabilise(slope, op.inputs, op.samples)
        codes = rounded_codes(tame, levels_for(_evaluated(tame), bits))
    return None if codes is None else Saved(op, codes)


def _evaluated(slope: Any) -> Any:
    from softknee.lang.evaluate import compiled

    function = compiled((slope,), ("x",), "numpy")
    return lambda x: function(x)[0]


def _length(size: int) -> int:
    """Bytes of one bit an element, a whole number of vectors"""
    return -(-size // PADDED) * (PADDED // 8)


class Saved:
    """An operator's autograd function that keeps codes of the derivative."""

    def __init__(self, op: Pointwise, codes: Codes) -> None:
        self.op = op
        self.codes = codes
        self.count = len(codes.planes)
        self._kernels: dict[Any, Any] = {}
        self.function = _function_of(self)
        # Function.apply inspects signatures on every call; the C function does not
        self.apply: Any = super(torch.autograd.Function, self.function).apply  # type: ignore[misc]

    def takes(self, x: Tensor) -> bool:
        """Tensors that lie in the CPU's memory without gaps; those of a GPU are kept themselves"""
        return x.is_cpu and (x.is_contiguous() or launch.dense(x))

    def forward(self, x: Tensor, call: Call, inplace: bool) -> tuple[Tensor, Tensor]:
        """The result and the codes, in one pass."""
        kernel = self._kernels.get((x.dtype, call.precision)) or self._forward_kernel(x.dtype, call.precision)
        y = x if inplace else torch.empty_like(x)
        size = x.numel()
        codes = torch.empty(self.count * _length(size), dtype=torch.uint8, device="cpu")
        fresh = () if inplace else (y,)
        launch.flat(kernel, size, fresh, (x.data_ptr(), y.data_ptr(), *self._planes(codes), *call.scalars))
        return y, codes

    def backward(self, codes: Tensor, gradient: Tensor, like: Any, call: Call) -> Tensor:
        """gradient times the derivative that the codes stand for; like: (shape, strides, size) of x"""
        shape, stride, size = like
        splat = False
        if gradient.stride() == stride:
            result = torch.empty_like(gradient)
        else:
            splat = not any(gradient.stride())  # the gradient of a sum: one number for all
            result = torch.empty_strided(shape, stride, dtype=gradient.dtype, device="cpu")
            gradient = gradient if splat else result.copy_(gradient)
        key = (gradient.dtype, splat, call.precision)
        kernel = self._kernels.get(key) or self._backward_kernel(*key)
        addresses = (*self._planes(codes), gradient.data_ptr(), result.data_ptr())
        launch.flat(kernel, size, (result,), (*addresses, *call.scalars))
        return result

    def slope(self, codes: Tensor, dtype: torch.dtype, like: Any, call: Call) -> Tensor:
        """The derivative that the codes stand for"""
        one = torch.ones((), dtype=dtype, device="cpu").expand(like[0])
        return self.backward(codes, one, like, call)

    def _planes(self, codes: Tensor) -> list[int]:
        start, length = codes.data_ptr(), codes.numel() // self.count
        return [start + k * length for k in range(self.count)]

    def _forward_kernel(self, dtype: torch.dtype, precision: Any) -> Any:
        op, storage = self.op, launch.STORAGE[dtype]
        outputs = [(op.expressions[0], Operand(storage)), *((p, Operand("bits")) for p in self.codes.planes)]
        plan = Plan(tuple(outputs), (("x", Operand(storage)), *self._scalars()), precision)
        made = self._kernels[dtype, precision] = compile_plan(plan)
        return made

    def _backward_kernel(self, dtype: torch.dtype, splat: bool, precision: Any) -> Any:
        storage = launch.STORAGE[dtype]
        bits = [symbol(f"bit{k}_") for k in range(self.count)]
        product = symbol("g_") * self.codes.decoded(bits)
        inputs = [(f"bit{k}_", Operand("bits")) for k in range(self.count)]
        inputs.append(("g_", Operand(storage, "splat" if splat else "row")))
        plan = Plan(((product, Operand(storage)),), (*inputs, *self._scalars()), precision)
        made = self._kernels[dtype, splat, precision] = compile_plan(plan)
        return made

    def _scalars(self) -> list[tuple[str, Scalar]]:
        return [(name, Scalar()) for name in self.op.scalars]


def _function_of(form: Saved) -> type[torch.autograd.Function]:
    class SavedFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, call: Call, inplace: bool) -> Tensor:
            y, codes = form.forward(x, call, inplace)
            ctx.save_for_backward(codes)
            ctx.rest = ((x.shape, x.stride(), x.numel()), call)
            if inplace:
                ctx.mark_dirty(x)
            return y

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:
            (codes,) = ctx.saved_tensors
            if not torch.is_grad_enabled() and launch.eligible((gradient,)):
                try:
                    return form.backward(codes, gradient, *ctx.rest), None, None
                except RuntimeError as error:
                    if "data pointer" not in str(error):  # of vmap's old kind of tensor
                        raise
            # to be differentiated again, or batched: the gradient enters by one product
            return gradient * form.slope(codes, gradient.dtype, *ctx.rest), None, None

    SavedFunction.__name__ = SavedFunction.__qualname__ = "Pointwise"
    return SavedFunction

"""What an operator of one tensor keeps for backward: the input, the output, or a code of a few bits an element.

Where the derivative takes a few values that depend on no tensor (relu, leaky_relu, hardtanh, the shrink
functions), one to three bits say all of it, exactly: the default. With `options(saved="lean")` the
derivative of any other function of one tensor is rounded to the nearest of 2^bits levels. With
`options(saved="output")` functions whose slope is an expression of their value keep that value. What is kept
is decided here, once, for the CPU's kernels and the GPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softknee.kernels.codes import Codes, EvenCodes, even_codes, exact_codes, rounded_codes
from softknee.kernels.llvm import Operand, Scalar
from softknee.kernels.plan import Plan, compile_plan
from softknee.lang.by_output import slope_by_output
from softknee.lang.differentiate import derivative
from softknee.lang.nodes import Node, symbol, symbols_in
from softknee.lang.stabilise import rewrite, stabilise
from softknee.nn import gpu, launch

if TYPE_CHECKING:
    from softknee.nn.pointwise import Call, Pointwise

__all__ = ["Joint", "joint_form", "levels_for", "saved_form"]

#: how the input of codes lay in memory, where nothing else is said
CONTIGUOUS = "contiguous"
#: codes are padded to whole vectors of this many elements
PADDED = 64

empty, empty_like, uint8, cpu = torch.empty, torch.empty_like, torch.uint8, torch.device("cpu")
flat_kernel, plain = launch.flat_kernel, launch.plain
#: whether `torch.autograd.grad(..., is_grads_batched=True)` made it
_is_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", lambda gradient: False)


def _normal(count: int) -> Any:
    """The middles of as many equally likely parts of N(0, 1)"""
    import numpy as np
    from scipy.special import ndtri

    return ndtri((np.arange(count) + 0.5) / count)


def levels_for(slope: Any, bits: int, count: int = 1024) -> tuple[float, ...]:
    """The 2^bits levels with the least mean squared distance to f'(X), X ~ N(0, 1).

    The best partition of `count` equally likely values of f'(X) into runs, by dynamic programming
    (Bruce 1965, "Optimum quantization"). slope: f' of an array of float64.
    """
    import numpy as np

    values = np.sort(np.asarray(slope(_normal(count)), dtype=float))
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


def lean_codes(slope: Node, bits: int) -> Codes | EvenCodes:
    """Codes of f', an expression of x, with levels for X ~ N(0, 1): up to 4 bits the best of all; for 8, where that
    would gain little, as far apart as they cover what f' is within 6 standard deviations."""
    import numpy as np

    from softknee.lang.evaluate import compiled

    function = compiled((slope,), ("x",), "numpy")
    if bits <= 4:
        return rounded_codes(slope, levels_for(lambda x: function(x)[0], bits))
    values = function(np.linspace(-6, 6, 2401))[0]
    return even_codes(slope, float(values.min()), float(values.max()), bits)


def saved_form(op: Pointwise, kept: tuple[str, int]) -> Saved | None:
    """How the operator records itself for backward where nobody but autograd watches; None where it
    takes several tensors, or torch operations.

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
    if (exact := exact_codes(slope, {"x"})) is not None:
        return Coded(op, exact)
    if saved == "lean" and not op.scalars:
        tame = stabilise(slope, op.inputs, op.samples)
        return Coded(op, lean_codes(tame, bits))
    if saved == "output" and (back := _from_output(op)) is not None:
        return Whole(op, back, output=True)
    derived = op.backward((True,))
    if derived is None or not (op.reads_all and derived[0].reads_all):
        return None
    return Whole(op, derived[0])


def _from_output(op: Pointwise) -> Pointwise | None:
    """The operator that gives the gradient of x from the output and the output's gradient"""
    from softknee.nn.pointwise import Output, Pointwise, Term

    if op.scalars:
        return None
    slope = slope_by_output(op.outputs[0].terms[0].expression, "x", "y_")
    if slope is None or not symbols_in(slope):
        return None
    return Pointwise((Output((Term(slope, ("g_",)),)),), ("y_", "g_"), inputs=("y_",))


class Saved:
    """An operator with its autograd function: one kernel forward, one backward.

    The functions are written out for the time that a call takes: each layer of Python counts in it. Tensors
    that no kernel takes as they are (see `kernels/entry.py`) go the operator's own way.
    """

    #: whether the input may be written over
    free = False
    #: `apply` for tensors of a GPU; None: the operator's own way keeps them themselves
    elsewhere: Any = None
    #: an autograd function of a tensor of that type alone, for the usual options
    quick: Callable[[torch.dtype], type[torch.autograd.Function]]

    def __init__(
        self,
        op: Pointwise,
        function: type[torch.autograd.Function],
        elsewhere: type[torch.autograd.Function] | None = None,
    ) -> None:
        self.op = op
        self.function = function
        self.apply = _apply(function)
        if elsewhere is not None:
            self.elsewhere = _apply(elsewhere)

    def way(self, x: Tensor) -> Any:
        """What to call for a tensor, which on the CPU has no gaps; None where it goes the operator's own way."""
        if not x.is_cpu:
            return self.elsewhere
        return self.apply if x.is_contiguous() or launch.dense(x) else None

    def usual(self, dtype: torch.dtype) -> Any:
        """What to call for CPU tensors of a type while nothing is out of the ordinary."""
        return _apply(self.quick(dtype))


def _apply(function: type[torch.autograd.Function]) -> Any:
    function.__name__ = function.__qualname__ = "Pointwise"
    if (node := getattr(function, "_backward_cls", None)) is not None:
        node.apply = function.backward  # torch's own asks first which of two names the function has
    # Function.apply inspects signatures on every call; the C function does not
    return super(torch.autograd.Function, function).apply  # type: ignore[misc]


class _Gradient:
    """The kernels of a gradient, by type, whether the incoming one is one number for all, and precision. Their
    operands are the tensors, the incoming gradient, and the results."""

    def __init__(self, back: Pointwise, count: int) -> None:
        self.back, self.count = back, count
        self.made: dict[Any, Any] = {}
        self.usual: dict[torch.dtype, Any] = {}  # what is called without options, by type

    def kernel(self, dtype: torch.dtype, splat: bool, precision: str) -> Any:
        accesses = (*["row"] * self.count, "splat" if splat else "row")
        made = launch.kernel_for(self.back, dtype, accesses, precision)
        if not splat and precision == "default":
            self.usual[dtype] = made.on
        return self.made.setdefault((dtype, splat, precision), made)

    def __call__(self, tensors: Sequence[Tensor], gradient: Tensor, call: Call) -> Any:
        """The result, or the results; None where no kernel takes the tensors as they are."""
        key = (gradient.dtype, False, call.precision)
        made = (self.made.get(key) or self.kernel(*key)).on(*tensors, gradient, *call.scalars)
        if made is None and not any(gradient.stride()):
            key = (gradient.dtype, True, call.precision)  # the gradient of a sum: one number for all
            made = (self.made.get(key) or self.kernel(*key)).on(*tensors, gradient, *call.scalars)
        return made


class Whole(Saved):
    """Keeps the input, or the output."""

    def __init__(self, op: Pointwise, back: Pointwise, output: bool = False) -> None:
        from softknee.nn.pointwise import usual

        self.free = output
        forwards, backwards = op.kernels, _Gradient(back, 1)
        slopes = backwards.usual

        def product(x: Tensor, gradient: Tensor, call: Call) -> Any:
            if not plain(gradient):  # to be differentiated again
                return back(x, gradient, call)
            result = backwards((x,), gradient, call)
            return back.evaluate((x, gradient, call)) if result is None else result

        class WholeFunction(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, call: Call = usual, inplace: bool = False) -> Tensor:
                key = x.dtype, call.precision
                kernel = forwards.get(key) or flat_kernel(op, *key)
                if inplace:
                    y = x if kernel.on(x, x, *call.scalars) else _otherwise(op, x, call, inplace)
                    ctx.mark_dirty(x)
                elif (y := kernel.on(x, *call.scalars)) is None:
                    y = op.evaluate((x, call))
                ctx.save_for_backward(y if output else x)
                ctx.call = call
                return y

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                return product(*ctx.saved_tensors, gradient, ctx.call), None, None

        def quick(dtype: torch.dtype) -> type[torch.autograd.Function]:
            on = (forwards.get((dtype, "default")) or flat_kernel(op, dtype, "default")).on

            class QuickFunction(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, x: Tensor) -> Tensor:
                    if (y := on(x)) is None:
                        y = op.evaluate((x, usual))
                    ctx.to_save = (y if output else x,)  # what save_for_backward does
                    return y  # type: ignore[no-any-return]

                @staticmethod
                def backward(ctx: Any, gradient: Tensor) -> Any:
                    (x,) = ctx.saved_tensors
                    slope = slopes.get(dtype)
                    if slope is not None and plain(gradient) and (result := slope(x, gradient)) is not None:
                        return result
                    return product(x, gradient, usual)

            return QuickFunction

        self.quick = quick
        super().__init__(op, WholeFunction, _by_output(op, back) if output else None)


def _by_output(op: Pointwise, back: Pointwise) -> type[torch.autograd.Function]:
    """Keeps the output, on any device."""
    from softknee.nn.pointwise import usual

    class OutputFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, call: Call = usual, inplace: bool = False) -> Tensor:
            y = launch.run(op, (x,), call, out=x if inplace else None)
            if y is None:
                y = _otherwise(op, x, call, inplace)
            if inplace:
                ctx.mark_dirty(x)
            ctx.save_for_backward(y)
            ctx.call = call
            return y  # type: ignore[no-any-return]

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:
            return back(*ctx.saved_tensors, gradient, ctx.call), None, None

    return OutputFunction


def _otherwise(op: Pointwise, x: Tensor, call: Call, inplace: bool) -> Tensor:
    y: Tensor = op.evaluate((x, call))
    return x.copy_(y) if inplace else y


def joint_form(op: Pointwise) -> Joint | None:
    """How an operator of several tensors of one shape records itself; None where it takes torch
    operations."""
    if "joint" not in op.forms:
        derived = (
            op.backward((True,) * len(op.tensors)) if op.single and op.spelled and op.reads_all else None
        )
        usual = derived is not None and derived[0].reads_all and len(derived[1]) == len(op.tensors)
        op.forms["joint"] = Joint(op, derived[0]) if usual and derived is not None else None
    return op.forms["joint"]


class Joint(Saved):
    """Several tensors of one shape and type, each in one piece: keeps them. One kernel gives all gradients.

    backward_kernel: (type, one gradient for all, precision) -> the kernel; its operands are the tensors, the
    gradient, and the results.
    """

    def __init__(self, op: Pointwise, back: Pointwise) -> None:
        forwards, backwards = op.kernels, _Gradient(back, len(op.tensors))

        class JointFunction(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *args: Any) -> Tensor:
                *tensors, call = args
                key = tensors[0].dtype, call.precision
                y = (forwards.get(key) or flat_kernel(op, *key)).on(*tensors, *call.scalars)
                if y is None:
                    y = op.evaluate(args)
                ctx.save_for_backward(*tensors)
                ctx.call = call
                return y

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                if plain(gradient) and False not in ctx.needs_input_grad[:-1]:
                    results = backwards(ctx.saved_tensors, gradient, ctx.call)
                    if results is not None:
                        return *results, None
                return op.function.backward(ctx, gradient)  # type: ignore[attr-defined]

        super().__init__(op, JointFunction)
        self.back = back
        self.backward_kernel = lambda *key: backwards.made.get(key) or backwards.kernel(*key)


class Coded(Saved):
    """Keeps codes of the derivative."""

    free = True

    def __init__(self, op: Pointwise, codes: Codes | EvenCodes) -> None:
        from softknee.nn.pointwise import usual

        count = len(codes.planes)
        scalars = [(name, Scalar()) for name in op.scalars]
        kernels: dict[Any, Any] = {}
        slopes: dict[torch.dtype, Any] = {}  # what is called for backward without options, by type

        def forward_plan(dtype: torch.dtype, precision: Any) -> Plan:
            storage = launch.STORAGE[dtype]
            outputs = [(op.expressions[0], Operand(storage)), *((p, Operand("bits")) for p in codes.planes)]
            return Plan(tuple(outputs), (("x", Operand(storage)), *scalars), precision)

        def backward_plan(dtype: torch.dtype, splat: bool, precision: Any) -> Plan:
            storage = launch.STORAGE[dtype]
            bits = [symbol(f"bit{k}_") for k in range(count)]
            product = symbol("g_") * codes.decoded(bits)
            inputs = [(f"bit{k}_", Operand("bits")) for k in range(count)]
            inputs.append(("g_", Operand(storage, "splat" if splat else "row")))
            return Plan(((product, Operand(storage)),), (*inputs, *scalars), precision, frozenset({"g_"}))

        def forward_kernel(*key: Any) -> Any:
            return kernels.setdefault(key, compile_plan(forward_plan(*key)))

        def backward_kernel(*key: Any) -> Any:
            made = compile_plan(backward_plan(*key))
            if key[1:] == (False, "default"):
                slopes[key[0]] = made.on
            return kernels.setdefault(key, made)

        def product(kept: Sequence[Tensor], gradient: Tensor, like: Any, call: Call) -> Tensor | None:
            """gradient times the derivative that the codes stand for, None where no kernel takes the
            gradient; like: (shape, strides) of x"""
            shape, stride = like
            splat = False
            if gradient.stride() != stride:
                if _is_batched(gradient):
                    return None
                splat = not any(gradient.stride())  # the gradient of a sum: one number for all
                result = torch.empty_strided(shape, stride, dtype=gradient.dtype, device=cpu)
                gradient = gradient if splat else result.copy_(gradient)
            key = (gradient.dtype, splat, call.precision)
            kernel = kernels.get(key) or backward_kernel(*key)
            if not splat and (made := kernel.on(*kept, gradient, *call.scalars)) is not None:
                return made  # type: ignore[no-any-return]
            result = torch.empty_strided(shape, stride, dtype=gradient.dtype, device=cpu)
            return result if kernel.on(*kept, gradient, result, *call.scalars) else None

        def gradient_with(product: Any, ctx: Any, gradient: Tensor, call: Call) -> Any:
            kept, like = ctx.saved_tensors, ctx.like
            if like is None:
                derived = op.backward((True,))
                return derived and derived[0](*kept, gradient, call)
            if like is CONTIGUOUS:
                shape = gradient.shape
                like = shape, torch.empty(shape, device="meta").stride()
            result = product(kept, gradient, like, call) if plain(gradient) else None
            if result is None:
                # to be differentiated again, or batched: the gradient enters by one product
                one = torch.ones((), dtype=gradient.dtype, device=kept[0].device).expand(like[0])
                result = gradient * product(kept, one, like, call)
            return result

        def without_codes(ctx: Any, x: Tensor, call: Call, inplace: bool) -> Tensor:
            """Where no kernel takes the tensor: the input is kept"""
            y = _otherwise(op, x, call, inplace)
            ctx.save_for_backward(x)
            ctx.like = None
            return y

        def keep_codes(ctx: Any, x: Tensor, call: Call, inplace: bool) -> Tensor:
            key = x.dtype, call.precision
            kernel = kernels.get(key) or forward_kernel(*key)
            made = None if inplace else kernel.on(x, *call.scalars)
            if made is None:
                bytes_ = -(-x.numel() // PADDED) * PADDED // 8
                kept = [empty(bytes_, dtype=uint8, device=cpu) for _ in range(count)]
                given = (x if inplace else empty_like(x), *kept)
                made = given if kernel.on(x, *given, *call.scalars) else None
            if made is None:
                return without_codes(ctx, x, call, inplace)
            ctx.save_for_backward(*made[1:])
            ctx.like = x.shape, x.stride()
            return made[0]  # type: ignore[no-any-return]

        class CodedFunction(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, call: Call = usual, inplace: bool = False) -> Tensor:
                ctx.call = call
                y = keep_codes(ctx, x, call, inplace)
                if inplace:
                    ctx.mark_dirty(x)
                return y

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                return gradient_with(product, ctx, gradient, ctx.call), None, None

        def quick(dtype: torch.dtype) -> type[torch.autograd.Function]:
            on = (kernels.get((dtype, "default")) or forward_kernel(dtype, "default")).on

            class QuickFunction(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, x: Tensor) -> Tensor:
                    if (made := on(x)) is None:
                        return keep_codes(ctx, x, usual, False)
                    ctx.to_save = made[1:]  # what save_for_backward does
                    if not x.is_contiguous():
                        ctx.like = x.shape, x.stride()
                    return made[0]  # type: ignore[no-any-return]

                @staticmethod
                def backward(ctx: Any, gradient: Tensor) -> Any:
                    slope = slopes.get(dtype)
                    if (
                        slope is not None
                        and ctx.like is CONTIGUOUS
                        and gradient.is_contiguous()
                        and plain(gradient)
                    ):
                        result = slope(*ctx.saved_tensors, gradient)
                        if result is not None:
                            return result
                    return gradient_with(product, ctx, gradient, usual)

            QuickFunction._backward_cls.like = CONTIGUOUS  # type: ignore[attr-defined]
            return QuickFunction

        self.quick = quick
        far = gpu.Coded()

        def far_product(kept: Sequence[Tensor], gradient: Tensor, like: Any, call: Call) -> Tensor | None:
            """As `product`, for a gradient of any strides; the planes are the rows of one tensor"""
            shape, stride = like
            result = torch.empty_strided(shape, stride, dtype=gradient.dtype, device=gradient.device)
            key = (gradient.dtype, False, call.precision)
            tensors = (*kept[0], gradient, result)
            done = far.run(lambda: backward_plan(*key), key, like, tensors, count + 1, call.scalars)
            return result if done else None

        class FarFunction(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, call: Call = usual, inplace: bool = False) -> Tensor:
                y = x if inplace and launch.dense(x) else empty_like(x)
                key, like = (x.dtype, call.precision), (x.shape, y.stride())
                kept = gpu.codes_for(x, count)
                tensors = (x, y, *kept)
                if far.run(lambda: forward_plan(*key), key, like, tensors, 1, call.scalars):
                    ctx.save_for_backward(kept)
                    ctx.like = like
                    y = x.copy_(y) if inplace and y is not x else y
                else:
                    y = without_codes(ctx, x, call, inplace)
                if inplace:
                    ctx.mark_dirty(x)
                ctx.call = call
                return y

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                return gradient_with(far_product, ctx, gradient, ctx.call), None, None

        super().__init__(op, CodedFunction, FarFunction)

"""What an operator keeps for backward: its inputs, its output, or codes of a few bits an element.

Where the derivative takes a few values that depend on no tensor (relu, leaky_relu, hardtanh, the shrink
functions), one to three bits say all of it, exactly: the default. With `options(saved="lean")` each slope of
any other function, and of a gate, is rounded to the nearest of 2^bits levels. With
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
from softknee.lang.nodes import Node, number, substitute, symbol, symbols_in
from softknee.lang.stabilise import rewrite, stabilise
from softknee.nn import gpu, launch

if TYPE_CHECKING:
    from softknee.nn.pointwise import Call, Pointwise

__all__ = ["Coded", "Joint", "Saved", "levels_for", "saved_form"]

#: how the input of codes lay in memory, where nothing else is said
CONTIGUOUS = "contiguous"
#: codes are padded to whole vectors of this many elements
PADDED = 64

empty, empty_like, uint8, cpu = torch.empty, torch.empty_like, torch.uint8, torch.device("cpu")
flat_kernel, plain, grad_enabled = launch.flat_kernel, launch.plain, torch.is_grad_enabled
#: whether `torch.autograd.grad(..., is_grads_batched=True)` made it
_is_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", lambda gradient: False)


def _normal(count: int, dimensions: int) -> Any:
    """Numbers that stand for `count` independent ones from N(0, 1), in so many dimensions: for one the middles of
    equally likely parts, else those of Sobol's points"""
    import numpy as np
    from scipy.special import ndtri
    from scipy.stats import qmc

    if dimensions == 1:
        return ndtri((np.arange(count) + 0.5) / count)[None]
    points = qmc.Sobol(dimensions, scramble=False, bits=30).random(count)
    return ndtri(points.T + 0.5 / count)


def levels_for(slopes: Any, bits: int, count: int = 1024) -> tuple[float, ...]:
    """The 2^bits levels with the least mean squared distance to a slope.

    The best partition of `count` equally likely slopes into runs, by dynamic programming (Bruce 1965, "Optimum
    quantization"). slopes: an array of a multiple of `count` values, all equally likely.
    """
    import numpy as np

    values = np.sort(np.asarray(slopes, dtype=float)).reshape(count, -1).mean(1)
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


def lean_codes(slope: Node, names: tuple[str, ...], bits: int) -> Codes | EvenCodes | None:
    """Codes of a slope, an expression of those symbols, with levels for independent ones from N(0, 1): up to 4 bits the
    best of all; for 8, where that would gain little, as far apart as they cover what the slope is within 6 standard
    deviations. None where the slope is the same everywhere, or no float32 number somewhere."""
    import numpy as np

    from softknee.lang.evaluate import compiled

    function, dimensions = compiled((slope,), names, "numpy"), len(names)
    if bits <= 4:
        numbers = _normal(1024 if dimensions == 1 else 1 << 17, dimensions)
    elif dimensions == 1:
        numbers = np.linspace(-6, 6, 2401)[None]
    else:
        numbers = _normal(1 << 17, dimensions)
        numbers *= 6 / np.sqrt((numbers**2).sum(0)) * np.linspace(0, 1, numbers.shape[1]) ** 0.5
    with np.errstate(all="ignore"):
        values = np.asarray(function(*numbers)[0])
    if not values.min() < values.max() or not np.abs(values).max() < np.finfo(np.float32).max:
        return None
    if bits <= 4:
        return rounded_codes(slope, levels_for(values, bits))
    return even_codes(slope, float(values.min()), float(values.max()), bits)


def saved_form(op: Pointwise, kept: tuple[str, int], scalars: tuple[float, ...] = ()) -> Saved | None:
    """How the operator records itself for backward where nobody but autograd watches, and its tensors have one
    shape and type; None where it takes torch operations.

    kept: the options `saved` and `bits`; scalars: the numbers of a call.
    """
    forms = op.forms
    if kept not in forms:
        forms[kept] = _made(op, *kept)
    form = forms[kept]
    return form.at(scalars) if type(form) is Lean else form


def _made(op: Pointwise, saved: str, bits: int) -> Saved | Lean | None:
    if not op.single or not op.spelled or op.outputs[0].terms[0].factors:
        return None
    alone = op.tensors == ("x",)
    if alone:
        slope = rewrite(derivative(op.outputs[0].terms[0].expression, "x"))
        if (exact := exact_codes(slope, {"x"})) is not None:
            return Coded(op, (exact,))
        if saved == "output" and (back := _from_output(op)) is not None:
            return Whole(op, back, output=True)
    derived = op.backward((True,) * len(op.tensors))
    if derived is None or not (op.reads_all and derived[0].reads_all) or len(derived[1]) < len(op.tensors):
        return None
    full = Whole(op, derived[0]) if alone else Joint(op, derived[0])
    return Lean(op, derived[0], bits, full) if saved == "lean" and op.tensors == op.data else full


class Lean:
    """Codes of rounded slopes, made for every value that the parameters are given; after many values what is kept
    without codes, as a parameter may change with every call; and so where a slope is one number, or not finite."""

    MANY = 16

    def __init__(self, op: Pointwise, back: Pointwise, bits: int, full: Saved) -> None:
        self.op, self.slopes, self.bits = op, [o.terms[0].expression for o in back.outputs], bits
        self.full, self.made = full, dict[tuple[float, ...], Saved]()

    def at(self, scalars: tuple[float, ...]) -> Saved:
        form = self.made.get(scalars)
        if form is None:
            if len(self.made) == self.MANY:
                return self.full
            codes = [c for s in self.slopes if (c := self._codes(s, scalars)) is not None]
            every = len(codes) == len(self.slopes)
            form = self.made[scalars] = Coded(self.op, codes, rounded=True) if every else self.full
        return form

    def _codes(self, slope: Node, scalars: tuple[float, ...]) -> Codes | EvenCodes | None:
        op = self.op
        given = rewrite(substitute(slope, dict(zip(op.scalars, map(number, scalars), strict=True))))
        try:
            return lean_codes(stabilise(given, op.inputs, op.samples), op.tensors, self.bits)
        except OverflowError:  # powers of the numbers are beyond float64
            return None


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
    #: an autograd function of a tensor of that type alone, for the usual options; the call: its numbers
    quick: Callable[[torch.dtype, Call], type[torch.autograd.Function]]

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

    def way(self, *tensors: Tensor) -> Any:
        """What to call for tensors; None where they go the operator's own way, as one with gaps on the CPU does."""
        x = tensors[0]
        if not x.is_cpu:
            return self.elsewhere
        return self.apply if len(tensors) > 1 or x.is_contiguous() or launch.dense(x) else None

    def usual(self, dtype: torch.dtype, call: Call) -> Any:
        """What to call for CPU tensors of a type, with the numbers of a call, while nothing is out of the ordinary."""
        return _apply(self.quick(dtype, call))


def _apply(function: type[torch.autograd.Function]) -> Any:
    function.__name__ = function.__qualname__ = "Pointwise"
    return applied(function)


def applied(function: type[torch.autograd.Function]) -> Any:
    """What calls an autograd function that has a `backward` of its own"""
    if (node := getattr(function, "_backward_cls", None)) is not None:
        node.__name__ = node.__qualname__ = "PointwiseBackward"  # what `grad_fn` shows
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
        splat = gradient.numel() > 1 and not any(
            gradient.stride()
        )  # the gradient of a sum: one number for all
        key = (gradient.dtype, splat, call.precision)
        return (self.made.get(key) or self.kernel(*key)).on(*tensors, gradient, *call.scalars)


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

        def quick(dtype: torch.dtype, call: Call) -> type[torch.autograd.Function]:
            on = (forwards.get((dtype, "default")) or flat_kernel(op, dtype, "default")).on
            scalars = call.scalars

            class QuickFunction(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, x: Tensor) -> Tensor:
                    if (y := on(x, *scalars)) is None:
                        y = op.evaluate((x, call))
                    ctx.to_save = (y if output else x,)  # what save_for_backward does
                    return y  # type: ignore[no-any-return]

                @staticmethod
                def backward(ctx: Any, gradient: Tensor) -> Any:
                    (x,) = ctx.saved_tensors
                    slope = slopes.get(dtype)
                    # the kernel asks for the rest of what `plain` does
                    if slope is not None and type(gradient) is Tensor and not grad_enabled():
                        result = slope(x, gradient, *scalars)
                        if result is not None:
                            return result
                    return product(x, gradient, call)

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
                *tensors, call, _ = args
                key = tensors[0].dtype, call.precision
                y = (forwards.get(key) or flat_kernel(op, *key)).on(*tensors, *call.scalars)
                if y is None:
                    y = op.evaluate(args[:-1])
                ctx.save_for_backward(*tensors)
                ctx.call = call
                return y

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                tensors, needs = ctx.saved_tensors, ctx.needs_input_grad[:-2]
                results = None
                if plain(gradient) and False not in needs:
                    results = backwards(tensors, gradient, ctx.call)
                if results is None:
                    results = op.gradients(tensors, (gradient,), ctx.call, needs)
                return *results, None, None

        def quick(dtype: torch.dtype, call: Call) -> type[torch.autograd.Function]:
            on = (forwards.get((dtype, "default")) or flat_kernel(op, dtype, "default")).on
            scalars = call.scalars

            class QuickFunction(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, *tensors: Tensor) -> Tensor:
                    if (y := on(*tensors, *scalars)) is None:
                        y = op.evaluate((*tensors, call))
                    ctx.to_save = tensors  # what save_for_backward does
                    return y  # type: ignore[no-any-return]

                @staticmethod
                def backward(ctx: Any, gradient: Tensor) -> Any:
                    tensors, needs = ctx.saved_tensors, ctx.needs_input_grad
                    if False not in needs and type(gradient) is Tensor and not grad_enabled():
                        slopes = backwards.usual.get(dtype)
                        results = slopes and slopes(*tensors, gradient, *scalars)
                        if results is None and plain(gradient):
                            results = backwards(tensors, gradient, call)
                        if results is not None:
                            return results
                    return tuple(op.gradients(tensors, (gradient,), call, needs))

            return QuickFunction

        self.quick = quick
        super().__init__(op, JointFunction)
        self.back = back
        self.backward_kernel = lambda *key: backwards.made.get(key) or backwards.kernel(*key)


class Coding:
    """The kernels that write codes in the pass that gives an operator's value, and those that multiply a gradient by
    the slopes that codes stand for.

    Operands of the first: the tensors, the value, and the planes of codes, one a bit; of the second: the planes, the
    incoming gradient, and the gradients of the tensors. places: how the tensors, or their gradients, lie in memory, if
    not in a row each.
    """

    def __init__(self, op: Pointwise, codes: Sequence[Codes | EvenCodes]) -> None:
        self.op, self.codes = op, codes
        self.planes = [plane for c in codes for plane in c.planes]
        self.made: dict[Any, Any] = {}
        self.usual: dict[torch.dtype, Any] = {}  # what is called for backward without options, by type
        self._scalars = [(name, Scalar()) for name in op.scalars]

    def forward_plan(self, dtype: torch.dtype, precision: Any, places: Sequence[Operand] = ()) -> Plan:
        row = Operand(launch.STORAGE[dtype])
        tensors = zip(self.op.tensors, places or [row] * len(self.op.tensors), strict=True)
        bits = [(plane, Operand("bits")) for plane in self.planes]
        return Plan(((self.op.expressions[0], row), *bits), (*tensors, *self._scalars), precision)

    def backward_plan(
        self, dtype: torch.dtype, splat: bool, precision: Any, places: Sequence[Operand] = ()
    ) -> Plan:
        storage = launch.STORAGE[dtype]
        bits = [symbol(f"bit{k}_") for k in range(len(self.planes))]
        inputs = [(bit.payload, Operand("bits")) for bit in bits]
        inputs.append(("g_", Operand(storage, "splat" if splat else "row")))
        left = iter(bits)
        products = [symbol("g_") * c.decoded([next(left) for _ in c.planes]) for c in self.codes]
        outputs = zip(products, places or [Operand(storage)] * len(products), strict=True)
        return Plan(tuple(outputs), (*inputs, *self._scalars), precision, frozenset({"g_"}))  # type: ignore[arg-type]

    def forward(self, *key: Any) -> Any:
        """The compiled kernel of `forward_plan`"""
        made = self.made.get(key)
        return made or self.made.setdefault(key, compile_plan(self.forward_plan(*key)))

    def backward(self, *key: Any) -> Any:
        """The compiled kernel of `backward_plan`"""
        made = self.made.get(("back", key))
        if made is None:
            made = self.made["back", key] = compile_plan(self.backward_plan(*key))
            if key[1:] == (False, "default"):
                self.usual[key[0]] = made.on
        return made


class Coded(Saved):
    """Keeps codes of the derivatives. rounded: they are not exact, so there is nothing to differentiate again."""

    free = True

    def __init__(self, op: Pointwise, codes: Sequence[Codes | EvenCodes], rounded: bool = False) -> None:

        self.coding = coding = Coding(op, codes)
        count, bits = len(op.tensors), len(coding.planes)
        forwards, slopes = coding.made, coding.usual

        def products(
            kept: Sequence[Tensor], gradient: Tensor, like: Any, call: Call
        ) -> Sequence[Tensor] | None:
            """gradient times the slopes that the codes stand for, None where no kernel takes the
            gradient; like: (shape, strides) of a tensor"""
            shape, stride = like

            def fresh() -> Tensor:
                return torch.empty_strided(shape, stride, dtype=gradient.dtype, device=cpu)

            splat = False
            if gradient.stride() != stride:
                if _is_batched(gradient):
                    return None
                splat = not any(gradient.stride())  # the gradient of a sum: one number for all
                gradient = gradient if splat else fresh().copy_(gradient)
            kernel = coding.backward(gradient.dtype, splat, call.precision)
            if not splat and (made := kernel.on(*kept, gradient, *call.scalars)) is not None:
                return made if count > 1 else (made,)
            results = [fresh() for _ in range(count)]
            return results if kernel.on(*kept, gradient, *results, *call.scalars) else None

        def gradients_with(
            products: Any, ctx: Any, kept: tuple[Tensor, ...], gradient: Tensor, call: Call
        ) -> Sequence[Any]:
            """kept: what is saved, given because a checkpoint allows to ask once"""
            like = ctx.like
            if like is None:
                return op.gradients(kept, (gradient,), call, ctx.needs_input_grad[:count])
            if like is CONTIGUOUS:
                shape = gradient.shape
                like = shape, torch.empty(shape, device="meta").stride()
            found = products(kept, gradient, like, call) if plain(gradient) else None
            if found is None:
                # to be differentiated again, or batched: the gradient enters by one product
                one = torch.ones((), dtype=gradient.dtype, device=kept[0].device).expand(like[0])
                slopes = products(kept, one, like, call)
                found = [gradient * slope for slope in (final(slopes) if rounded else slopes)]
            return found  # type: ignore[no-any-return]

        def without_codes(ctx: Any, tensors: Sequence[Tensor], call: Call, inplace: bool) -> Tensor:
            """Where no kernel takes the tensors: they are kept, or a copy of what is written over"""
            y: Tensor = op.evaluate((*tensors, call))
            ctx.save_for_backward(*[t.clone() if inplace else t for t in tensors])
            ctx.like, ctx.call = None, call
            return tensors[0].copy_(y) if inplace else y

        def keep_codes(ctx: Any, tensors: Sequence[Tensor], call: Call, inplace: bool) -> Tensor:
            kernel = coding.forward(tensors[0].dtype, call.precision)
            made = None if inplace else kernel.on(*tensors, *call.scalars)
            if made is None:
                if count > 1:  # each may lie in an order of its own
                    tensors = [t.contiguous() for t in tensors]
                x = tensors[0]
                bytes_ = -(-x.numel() // PADDED) * PADDED // 8
                kept = [empty(bytes_, dtype=uint8, device=cpu) for _ in range(bits)]
                given = (x if inplace else empty_like(x), *kept)
                made = given if kernel.on(*tensors, *given, *call.scalars) else None
            if made is None:
                return without_codes(ctx, tensors, call, inplace)
            ctx.save_for_backward(*made[1:])
            ctx.like = made[0].shape, made[0].stride()
            return made[0]  # type: ignore[no-any-return]

        class CodedFunction(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *args: Any) -> Tensor:
                *tensors, call, inplace = args
                ctx.call = call
                y = keep_codes(ctx, tensors, call, inplace)
                if inplace:
                    ctx.mark_dirty(y)
                return y

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                return *gradients_with(products, ctx, ctx.saved_tensors, gradient, ctx.call), None, None

        def quick(dtype: torch.dtype, call: Call) -> type[torch.autograd.Function]:
            on = (forwards.get((dtype, "default")) or coding.forward(dtype, "default")).on
            scalars = call.scalars

            class QuickFunction(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, x: Tensor) -> Tensor:
                    if (made := on(x, *scalars)) is None:
                        return keep_codes(ctx, (x,), call, False)
                    ctx.to_save = made[1:]  # what save_for_backward does
                    if not x.is_contiguous():
                        ctx.like = x.shape, x.stride()
                    return made[0]  # type: ignore[no-any-return]

                @staticmethod
                def backward(ctx: Any, gradient: Tensor) -> Any:
                    slope, kept = slopes.get(dtype), ctx.saved_tensors
                    if (
                        slope is not None
                        and ctx.like is CONTIGUOUS
                        and gradient.is_contiguous()
                        and type(gradient) is Tensor
                        and not grad_enabled()  # the kernel asks for the rest of what `plain` does
                    ):
                        result = slope(*kept, gradient, *scalars)
                        if result is not None:
                            return result
                    return gradients_with(products, ctx, kept, gradient, call)[0]

            QuickFunction._backward_cls.like = CONTIGUOUS  # type: ignore[attr-defined]
            return QuickFunction

        self.quick = quick
        far = gpu.Coded()

        def far_products(
            kept: Sequence[Tensor], gradient: Tensor, like: Any, call: Call
        ) -> Sequence[Tensor] | None:
            """As `products`, for a gradient of any strides; the planes are the rows of one tensor"""
            shape, stride = like
            key, device = (gradient.dtype, False, call.precision), gradient.device
            results = [torch.empty_strided(shape, stride, dtype=key[0], device=device) for _ in range(count)]
            tensors = (*kept[0], gradient, *results)
            done = far.run(lambda: coding.backward_plan(*key), key, like, tensors, bits + 1, call.scalars)
            return results if done else None

        class FarFunction(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *args: Any) -> Tensor:
                *tensors, call, inplace = args
                x = tensors[0]
                y = x if inplace and launch.dense(x) else empty_like(x)
                key, like = (x.dtype, call.precision), (x.shape, y.stride())
                kept = gpu.codes_for(x, bits)
                every = (*tensors, y, *kept)
                if far.run(lambda: coding.forward_plan(*key), key, like, every, count, call.scalars):
                    ctx.save_for_backward(kept)
                    ctx.like, ctx.call = like, call
                    y = x.copy_(y) if inplace and y is not x else y
                else:
                    y = without_codes(ctx, tensors, call, inplace)
                if inplace:
                    ctx.mark_dirty(x)
                return y

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                return *gradients_with(far_products, ctx, ctx.saved_tensors, gradient, ctx.call), None, None

        super().__init__(op, CodedFunction, FarFunction)


def final(slopes: Sequence[Tensor]) -> Sequence[Tensor]:
    """The same, for rounded slopes; an error where they are differentiated again, as autograd records."""
    if not torch.is_grad_enabled():
        return slopes
    message = (
        b'with softknee.options(saved="lean") slopes are kept rounded, so that gradients cannot be differentiated '
        b'again; use saved="full" for second derivatives'
    )
    refusing = torch._C._functions.DelayedError(message, len(slopes))
    made = refusing(*[slope.detach().requires_grad_() for slope in slopes])
    return made if len(slopes) > 1 else (made,)

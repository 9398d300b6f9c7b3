"""Functions of several parts of one tensor, as gates are of its halves.

Stretches, and two parts that take turns, are read where they are, so nothing is copied on the way in; the
gradients of all parts are written into one tensor, so nothing is joined on the way out. More parts that take
turns, and those beside further tensors, are taken apart and joined again. What is saved is the tensor itself.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softknee.kernels import entry
from softknee.kernels.llvm import Operand
from softknee.nn import launch
from softknee.nn.pointwise import Call, Pointwise
from softknee.nn.pointwise import current as _options
from softknee.nn.saved import PADDED, Coded, applied, final, saved_form

__all__ = ["Layout", "apply", "halved"]

_empty_like, _grad_enabled, _modes, _tracing = (
    torch.empty_like,
    torch.is_grad_enabled,
    launch._modes,
    launch._tracing,
)
_is_compiling, _functorch_active = (
    torch.compiler.is_dynamo_compiling,
    torch._C._are_functorch_transforms_active,
)
_dual_level = torch.autograd.forward_ad
#: what is asked for where nothing is kept
FULL = ("full", 4)


class _Strips(NamedTuple):
    """Where the parts of a contiguous tensor lie. starts: of each in a row; turns: they are no stretches,
    but single elements in turns; shape: of a part; forward: the geometry of the parts and a result of their
    shape; backward: of what is kept, a gradient and the gradients of the parts, which lie as they do. Kept are the
    parts, or planes of codes, `plane` bytes each, which forward writes, too: their rows begin with whole vectors"""

    starts: tuple[int, ...]
    turns: bool
    shape: tuple[int, ...]
    forward: launch._Geometry
    backward: launch._Geometry
    plane: int


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


@lru_cache(maxsize=512)
def _strips(layout: Layout, shape: torch.Size, planes: int = 0) -> _Strips:
    dim, count = layout.dim % len(shape), layout.count
    rows, width = math.prod(shape[:dim]), math.prod(shape[dim:])
    if layout.interleaved:  # each group of neighbours is a row
        rows, width = rows * (shape[dim] // count), math.prod(shape[dim + 1 :]) * count
    own = width // count
    starts = tuple(range(0, width, own) if own else (0,) * count)
    turns = own == 1 and count == 2  # rows of two, as well
    if turns:
        rows, width, own, starts = 1, 0, rows, (0,) * count
    padded = -(-own // PADDED) * PADDED
    codes, parts = [padded] * planes, [width] * count
    return _Strips(
        starts[:: -1 if layout.backwards else 1],
        turns,
        (*shape[:dim], shape[dim] // count, *shape[dim + 1 :]),
        launch.strips(rows, own, *parts, own, *codes),
        launch.strips(rows, own, *(codes or parts), own, *parts),
        rows * padded // 8,
    )


def _turns(layout: Layout, dtype: torch.dtype) -> tuple[Operand, ...]:
    """Where parts whose elements take turns lie"""
    places = tuple([Operand(launch.STORAGE[dtype], turns=layout.count, turn=k) for k in range(layout.count)])
    return places[::-1] if layout.backwards else places


def _in_turns(op: Pointwise, layout: Layout, dtype: torch.dtype, precision: str) -> Any:
    """The kernel for parts whose elements take turns: of a unit, or (it has as many results) of its gradients"""
    key = ("turns", layout.backwards, dtype, precision)
    kernel = op.kernels.get(key)
    if kernel is None:
        places = _turns(layout, dtype)
        results = (Operand(launch.STORAGE[dtype]),) if op.single else places
        kernel = op.kernels[key] = launch.turns_kernel(op, dtype, places, results, precision)
    return kernel


def apply(op: Pointwise, x: Tensor, layout: Layout, tensors: tuple[Tensor, ...], call: Call) -> Tensor:
    """The operator of one output at the parts of x and at further tensors."""
    recording = x.requires_grad and torch.is_grad_enabled()
    if (
        torch.compiler.is_dynamo_compiling()
        or not launch.eligible((x, *tensors))
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    ):
        return op(*layout.parts(x), *tensors, call)  # type: ignore[no-any-return]
    size = x.numel()
    here = not layout.interleaved or layout.count == 2
    if here and not tensors and size and x.is_cpu and x.is_contiguous() and x.data_ptr():
        kept = _options.kept if recording else FULL
        if saved_form(op, kept, call.scalars) is not None:
            way = _way(op, x, layout, call, kept)
            return _stretched(x, (way, None), call) if recording else way.values(x, call)  # type: ignore[no-any-return]
    if recording and (tensors or _options.kept[0] != "lean"):
        return _recorded(x, op, layout, call, *tensors)  # type: ignore[no-any-return]
    return op(*layout.apart(x), *tensors, call)  # type: ignore[no-any-return]


class _Way:
    """How an operator is done at the parts of a contiguous tensor of one shape and type, and its gradient."""

    __slots__ = (
        "back",
        "backward",
        "coded",
        "coding",
        "forward",
        "gradient",
        "kept",
        "kernel",
        "layout",
        "like",
        "on",
        "op",
        "places",
        "planes",
        "small",
        "whole",
        "writing",
    )

    def __init__(self, op: Pointwise, x: Tensor, layout: Layout, call: Call, kept: tuple[str, int]) -> None:
        form: Any = saved_form(op, kept, call.scalars)
        coding = self.coding = form.coding if isinstance(form, Coded) else None
        planes = len(coding.planes) if coding else 0
        starts, turns, shape, self.forward, self.backward, plane = _strips(layout, x.shape, planes)
        self.op, self.layout = op, layout
        self.places = tuple([x.element_size() * s for s in starts])
        self.planes, self.coded = tuple([plane * k for k in range(planes)]), plane * planes
        #: where what is kept lies
        self.kept = self.planes or self.places
        self.whole = _without_memory(torch.empty(x.shape, dtype=x.dtype, device="cpu"))
        self.like = _without_memory(torch.empty(shape, dtype=x.dtype, device="cpu"))
        self.small = self.like.numel() < launch.SERIAL
        dtype, precision = key = x.dtype, call.precision
        places = _turns(layout, dtype) if turns else ()
        kernel = _in_turns(op, layout, *key) if turns else op.kernels.get(key) or launch.flat_kernel(op, *key)
        self.kernel = kernel.call
        self.writing = coding and coding.forward(*key, places).call
        if coding:
            self.gradient = cache(lambda: coding.backward(dtype, False, precision, places))
        elif turns:
            self.gradient = cache(lambda: _in_turns(form.back, layout, *key))
        else:
            self.gradient = cache(lambda: form.backward_kernel(dtype, False, precision))
        # the same for tensors like these alone; they may decline
        inputs, one = [entry.Place(0, start) for start in self.places], entry.Place(1)
        slopes = [entry.Place(2, start) for start in self.places]
        storage = launch.STORAGE[dtype]
        whole, part = (entry.Tensor(storage, tuple(t.shape), t.stride()) for t in (self.whole, self.like))

        def bound(kernel: Any, geometry: launch._Geometry, given: Any, result: Any, *places: Any) -> Any:
            return kernel.bound(geometry.values, self.like.numel(), given, (result,), places)

        self.on = bound(kernel, self.forward, (whole,), part, *inputs, one)
        self.back = cache(
            lambda: (
                launch.declined
                if coding
                else bound(self.gradient(), self.backward, (whole, part), whole, *inputs, one, *slopes)
            )
        )

    def values(self, x: Tensor, call: Call) -> Tensor:
        if (made := self.on(x, *call.scalars)) is not None:
            return made  # type: ignore[no-any-return]
        y, start = _empty_like(self.like), x.data_ptr()
        addresses = (*[start + p for p in self.places], y.data_ptr(), *call.scalars)
        if self.small:
            self.kernel(-self.forward.address, 1, 1, *addresses)
        else:
            launch.stripped(self.kernel, self.forward, y.numel(), (y,), addresses)
        return y

    def recorded(self, x: Tensor, call: Call) -> tuple[Tensor, Tensor]:
        """The values, and what is kept for `gradients`: the tensor itself, or codes"""
        if not self.planes:
            return self.values(x, call), x
        y, start = _empty_like(self.like), x.data_ptr()
        codes = torch.empty(self.coded, dtype=torch.uint8, device="cpu")
        starts, planes = [start + p for p in self.places], [codes.data_ptr() + p for p in self.planes]
        addresses = (*starts, y.data_ptr(), *planes, *call.scalars)
        launch.stripped(self.writing, self.forward, y.numel(), (y, codes), addresses)
        return y, codes

    def gradients(self, kept: Tensor, gradient: Tensor, call: Call) -> Tensor:
        if (made := self.back()(kept, gradient, *call.scalars)) is not None:
            return made  # type: ignore[no-any-return]
        kept = kept.contiguous()  # hooks may have brought it back in another order
        whole, start = _empty_like(self.whole), kept.data_ptr()
        own = whole.data_ptr()
        starts, own_starts = [start + p for p in self.kept], [own + p for p in self.places]
        addresses = (*starts, gradient.data_ptr(), *own_starts, *call.scalars)
        if self.small:
            self.gradient().call(-self.backward.address, 1, 1, *addresses)
        else:
            launch.stripped(self.gradient().call, self.backward, gradient.numel(), (whole,), addresses)
        return whole


def _without_memory(t: Tensor) -> Tensor:
    """What empty_like needs to know: one that is kept should hold nothing."""
    t.untyped_storage().resize_(0)
    return t


def _key(x: Tensor, layout: Layout, call: Call, kept: tuple[str, int]) -> tuple[Any, ...]:
    """What a way is kept by in `op.ready`"""
    return layout, x.shape, x.dtype, call.precision, kept, call.scalars if kept[0] == "lean" else ()


def _way(op: Pointwise, x: Tensor, layout: Layout, call: Call, kept: tuple[str, int]) -> _Way:
    key = _key(x, layout, call, kept)
    way = op.ready.get(key)
    if way is None:
        if len(op.ready) >= launch.READY:
            op.ready.clear()
        way = op.ready[key] = _Way(op, x, layout, call, kept)
    return way  # type: ignore[no-any-return]


def halved(op: Pointwise) -> Any:
    """The operator as a function of a plain tensor's two halves, as `Pointwise.unary` is of one tensor: what it
    has done before takes the short way. None where another is wanted."""
    kept: dict[Any, _Way] = {}
    strided = torch.strided
    #: how the last call was done, and for what
    latest: Any = (None, None, None, None, None, None)

    def call(x: Tensor, dim: int, interleaved: bool, backwards: bool) -> Tensor | None:
        nonlocal latest
        if _is_compiling():
            return None
        options, recording = _options.call, x.requires_grad and _grad_enabled()
        saved = _options.kept if recording else FULL
        if _dual_level._current_level < 0:
            way, at, turns, order, as_said, form = latest  # at once: another thread may be calling, too
            if (
                options is as_said
                and dim == at
                and interleaved == turns
                and backwards == order
                and saved == form
                and (y := way.on(x)) is not None  # it asks for the rest
            ):
                return _stretched(x, (way, y), options) if recording else y  # type: ignore[no-any-return]
            if (
                x.is_cpu
                and x.layout is strided
                and not x.is_neg()
                and not _functorch_active()
                and not _modes()
                and _tracing() is None
            ):
                key = x.shape, x.dtype, dim, interleaved, backwards, options.precision, saved
                if (way := kept.get(key)) is not None and x.is_contiguous():
                    if not way.coding:
                        latest = way, dim, interleaved, backwards, options, saved
                    return _stretched(x, (way, None), options) if recording else way.values(x, options)  # type: ignore[no-any-return]
        if (
            x.layout is not strided
            or not -x.dim() <= dim < x.dim()
            or x.shape[dim] % 2
            or not x.is_floating_point()
        ):
            return None
        key = x.shape, x.dtype, dim, interleaved, backwards, options.precision, saved
        layout = Layout(dim, 2, interleaved, backwards)
        y = apply(op, x, layout, (), options)
        if (way := op.ready.get(_key(x, layout, options, saved))) is not None:
            if len(kept) >= launch.READY:
                kept.clear()
            kept[key] = way
        return y

    return call


class _Stretches(torch.autograd.Function):
    """The parts of a contiguous tensor on the CPU, stretches or two in turns, and nothing else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: tuple[_Way, Tensor | None], call: Call) -> Tensor:
        way, y = made
        y, kept = way.recorded(x, call) if y is None else (y, x)
        ctx.to_save = (kept,)  # what save_for_backward does
        ctx.way, ctx.call = way, call
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (kept,), way = ctx.saved_tensors, ctx.way
        if launch.plain(gradient) and gradient.is_contiguous():
            try:
                return way.gradients(kept, gradient, ctx.call), None, None
            except RuntimeError as error:
                if "data pointer" not in str(error):  # of vmap's old kind of tensor
                    raise
        if way.coding:
            (slopes,) = final([way.gradients(kept, torch.ones_like(way.like), ctx.call)])
            products = tuple([gradient * slope for slope in way.layout.parts(slopes)])
            return way.layout.joined(products), None, None
        ctx.op, ctx.layout = way.op, way.layout
        return _gradients(ctx, (kept,), gradient)[:3]


class _Parts(torch.autograd.Function):
    """For eager mode on the CPU; elsewhere autograd goes through the views."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, op: Pointwise, layout: Layout, call: Call, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(x, *tensors)
        ctx.op, ctx.layout, ctx.call = op, layout, call
        return op.evaluate((*layout.apart(x), *tensors, call))  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _gradients(ctx, ctx.saved_tensors, gradient)


def _gradients(ctx: Any, saved: tuple[Tensor, ...], gradient: Tensor) -> Any:
    """What `_Parts` gives. saved: the tensor and further ones, given because a checkpoint allows to ask once"""
    x, *tensors = saved
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
        try:
            values = launch.write(back, inputs, call, (*layout.parts(whole), *[None] * (len(places) - count)))
        except RuntimeError as error:
            if "data pointer" not in str(error):  # of vmap's old kind of tensor
                raise
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


_stretched = applied(_Stretches)
# Function.apply asks what cannot be so here; the C function does not
_recorded = super(torch.autograd.Function, _Parts).apply  # type: ignore[misc]

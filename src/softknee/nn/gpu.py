"""Runs an operator's kernel on torch tensors in GPU memory, with Triton.

Nothing here waits for the GPU, and all memory comes from torch's allocator, so that calls work on any
stream and in CUDA graphs (after one call outside, which compiles). Without Triton, without a GPU or
without a compiler for Triton's launcher, torch operations serve, silently.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import math
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from softknee.kernels.llvm import Operand, Scalar
from softknee.kernels.plan import Plan, kernel_of
from softknee.kernels.triton import BLOCK, BYTES, OPTIONS, Layout, tables, to_triton
from softknee.nn import launch

if TYPE_CHECKING:
    from softknee.nn.pointwise import Call, Pointwise

__all__ = ["Coded", "codes_for", "missing", "require", "run", "usable"]

_MANY = 1 << 31
#: elements side by side along the dimension that is innermost in memory, where a sum keeps it
WIDTH = 64
#: programs that share a sum: enough to fill a GPU, few enough that their slots are quickly added up
SLOTS = 1024


@cache
def missing() -> str | None:
    """What GPU kernels lack here, in words; None where they can run."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (pip install triton; torch's CUDA wheels bring it)"
    if not torch.cuda.is_available():
        return "torch finds no GPU (torch.cuda.is_available() is False)"
    return None


def require() -> None:
    """Raises where GPU kernels cannot run: for who asks for them by name."""
    reason = missing()
    if reason is not None:
        raise RuntimeError(
            f"GPU kernels cannot run here: {reason}; leave the backend to softknee, or read the source with "
            "`softknee source NAME --backend gpu`"
        )


def usable(tensors: tuple[Tensor, ...]) -> bool:
    """Tensors of one GPU that our kernels can run on."""
    device = tensors[0].device
    return device.type == "cuda" and missing() is None and all(t.device == device for t in tensors)


@cache
def _function(source: str) -> Any:
    """The Triton function of a generated module. Triton reads its source where debuggers do."""
    name = f"<softknee {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": "softknee.generated"}
    exec(compile(source, name, "exec"), scope)
    return scope["kernel"]


@cache
def _table(kind: str, contents: Any, device: torch.device) -> Tensor:
    """A table in the memory of a device, where it stays."""
    if isinstance(contents, bytes):
        contents = struct.unpack(f"<{len(contents) // 4}f", contents)
    dtype = torch.float64 if kind == "f64" else torch.float32
    return torch.tensor(contents, dtype=dtype, device=device)


class _Compiled:
    """One kernel for one layout; what depends on alignment and sizes is Triton's to compile."""

    __slots__ = ("_made", "_tables", "contents", "function")

    def __init__(self, plan: Plan, layout: Layout) -> None:
        kernel = kernel_of(plan, "gpu")
        self.function = _function(to_triton(kernel, layout))
        self.contents = tables(kernel)
        self._tables: dict[int | None, list[Tensor]] = {}
        self._made: dict[object, Any] = {}

    def tables(self, device: torch.device) -> list[Tensor]:
        found = self._tables.get(device.index)
        if found is None:
            found = self._tables[device.index] = [_table(*c, device) for c in self.contents]
        return found

    def start(self, kind: object, programs: int, numbers: Sequence[int], arguments: Sequence[Any]) -> Any:
        """Launches it by Triton's launcher, or by what this has compiled for such arguments; returns what
        launches the same again, without looking at every argument: that takes several times as long.

        kind: the device, and which addresses are multiples of 16."""
        # the rest of what Triton compiles for: numbers that are 1, multiples of 16, or long
        key = (kind, *[(v == 1, v % 16 == 0, v >= _MANY) for v in numbers])
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self.function[programs,](*arguments, **OPTIONS)
            return made and made[programs, 1, 1]  # None: interpreted
        again = made[programs, 1, 1]
        again(*arguments)
        return again


class _Launch:
    """A kernel for tensors of some shapes and strides: how many programs, and the numbers they are given."""

    __slots__ = ("_again", "kernel", "numbers", "programs")

    def __init__(self, kernel: _Compiled, geometry: _Geometry) -> None:
        self.kernel, self.programs, self.numbers = kernel, geometry.programs, geometry.numbers
        self._again: dict[object, Any] = {}

    def __call__(self, tensors: Sequence[Tensor], scalars: Sequence[float]) -> bool:
        """False where a tensor has no memory: the zeros that forward-mode derivatives make"""
        together = 0
        for t in tensors:
            if not (address := t.data_ptr()):
                return False
            together |= address
        device = tensors[0].device
        aligned = not together & 15 or tuple([t.data_ptr() & 15 == 0 for t in tensors])
        if device.type == "cuda" and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):
                self._launch((device.index, aligned), device, tensors, scalars)
        else:
            self._launch((device.index, aligned), device, tensors, scalars)
        return True

    def _launch(
        self, kind: object, device: torch.device, tensors: Sequence[Tensor], scalars: Sequence[float]
    ) -> None:
        arguments = (*tensors, *self.kernel.tables(device), *self.numbers, *scalars)
        if (again := self._again.get(kind)) is not None:
            again(*arguments)
        else:
            self._again[kind] = self.kernel.start(kind, self.programs, self.numbers, arguments)


def run(op: Pointwise, tensors: tuple[Tensor, ...], call: Call, outs: tuple[Tensor | None, ...]) -> Any:
    """The operator's results, written into `outs` where one is given; None where this combination of
    types is left to torch operations."""
    key = (
        "gpu",
        launch.met(tensors, call),
        *[o if o is None else (o.dtype, o.shape, o.stride()) for o in outs],
    )
    ready = op.ready.get(key)
    if ready is None:
        ready = _Ready.of(op, tensors, call, outs)
        if ready is None:
            return None
        if len(op.ready) >= launch.READY:
            op.ready.clear()
        op.ready[key] = ready
    return ready(tensors, call, outs)


class _Result(NamedTuple):
    """A result: its type, shape and strides; for one that is summed the shape of the partial sums, the order
    in which they have the dimensions, and the shape it is given."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    order: tuple[int, ...] | None = None
    target: tuple[int, ...] | None = None


class _Ready:
    """How a call on tensors of some shapes, strides and types is done."""

    __slots__ = ("launch", "like", "places", "results", "single")

    def __init__(
        self, op: Pointwise, tensors: tuple[Tensor, ...], places: list[int], precision: Any,
        geometry: _Geometry, full: tuple[int, ...], results: list[_Result],
    ) -> None:  # fmt: skip
        self.single, self.places, self.results = op.single, places, results
        kinds = [_Result(t.dtype, tuple(t.shape), t.stride()) for t in tensors]
        #: a tensor that all results are made like, which is the shortest way to make them
        self.like = next(
            (k for k, t in enumerate(tensors) if {*results} == {kinds[k]} and launch.dense(t)), None
        )
        dtypes = tuple(t.dtype for t in tensors)
        key = ("gpu", dtypes, geometry.layout, tuple(r.dtype for r in results), precision)
        kernel = op.kernels.get(key)
        if kernel is None:
            ends = [
                Operand(launch.STORAGE[r.dtype]) if r.order is None else Operand("float64", "sum")
                for r in results
            ]
            inputs: list[Any] = [(op.tensors[k], Operand(launch.STORAGE[dtypes[k]])) for k in places]
            inputs += [(name, Scalar()) for name in op.scalars]
            plan = Plan(tuple(zip(op.expressions, ends, strict=True)), tuple(inputs), precision, op.factors)
            kernel = op.kernels[key] = _Compiled(plan, geometry.layout)
        self.launch = _Launch(kernel, geometry) if 0 not in full else None

    @classmethod
    def of(
        cls, op: Pointwise, tensors: tuple[Tensor, ...], call: Call, outs: tuple[Tensor | None, ...]
    ) -> _Ready | None:
        made = launch.results_of(op, tensors, call, outs)
        if made is None:
            return None
        full, outputs, targets, layout = made
        places = [k for k, name in enumerate(op.tensors) if name in op.used]
        strides = [launch.expanded(tuple(tensors[k].shape), tensors[k].stride(), full) for k in places]
        sums: list[tuple[int, ...] | None] = []
        for o, target in zip(outputs, targets, strict=True):
            summed = target is not None and math.prod(target) != math.prod(full)
            sums.append(target if summed else None)
            if target is None:
                strides.append(launch.expanded(full, o.stride(), full))
            elif summed:
                strides.append(launch.expanded(target, launch.contiguous_stride(target), full))
            else:  # the same elements in another shape
                strides.append(launch.contiguous_stride(full))
        geometry = _geometry(full, layout, tuple(strides), len(places), tuple(sums))
        slots = iter(geometry.slots)
        results = []
        for o, stride, target, summed in zip(outputs, strides[len(places) :], targets, sums, strict=True):
            if summed is None:
                results.append(_Result(o.dtype, full, stride, None, target))
                continue
            count, kept = next(slots)
            shape = (count, *(full[d] for d in kept))
            order = tuple(sorted(range(len(kept)), key=lambda k: kept[k]))
            results.append(_Result(o.dtype, shape, launch.contiguous_stride(shape), order, target))
        return cls(op, tensors, places, call.precision, geometry, full, results)

    def __call__(self, tensors: tuple[Tensor, ...], call: Call, outs: tuple[Tensor | None, ...]) -> Any:
        outputs: list[Tensor] = []
        for r, given in zip(self.results, outs, strict=True):
            if given is not None:
                outputs.append(given)
            elif self.like is not None:
                outputs.append(torch.empty_like(tensors[self.like]))
            else:
                dtype = r.dtype if r.order is None else torch.float64
                outputs.append(torch.empty_strided(r.shape, r.stride, dtype=dtype, device=tensors[0].device))
        if self.launch is not None:
            given_ = tensors if len(self.places) == len(tensors) else [tensors[k] for k in self.places]
            if not self.launch((*given_, *outputs), call.scalars):
                return None
        if self.like is None:
            for k, r in enumerate(self.results):
                if r.order is not None:  # over the slots, in an order that depends on the shapes alone
                    outputs[k] = outputs[k].sum(0).permute(r.order).reshape(r.target).to(r.dtype)
                elif r.target is not None:
                    outputs[k] = outputs[k].view(r.target)
        return outputs[0] if self.single else tuple(outputs)


def codes_for(x: Tensor, planes: int) -> Tensor:
    """Memory for so many truth values an element: each plane has a row of bytes."""
    rows = -(-x.numel() // BLOCK)
    return torch.empty((planes, rows * BYTES), dtype=torch.uint8, device=x.device)


class Coded:
    """Kernels some of whose operands are truth values, a row of `codes_for` each (uint8)."""

    def __init__(self) -> None:
        self._kernels: dict[object, _Compiled] = {}
        self._ready: dict[object, _Launch] = {}

    def run(
        self, plan: Callable[[], Plan], key: tuple[Any, ...], like: tuple[Any, Any],
        tensors: Sequence[Tensor], count: int, scalars: Sequence[float],
    ) -> bool:  # fmt: skip
        """Runs the kernel of a plan on tensors the first `count` of which are inputs; False where one has no
        memory. key: what the plan depends on. The truth values follow each other as the elements do of a
        dense tensor like `like` (shape, strides)."""
        if 0 in like[0]:
            return True
        met = (key, like, *[t.dtype is torch.uint8 or (t.shape, t.stride()) for t in tensors])
        ready = self._ready.get(met)
        if ready is None:
            geometry = self._geometry(like, tensors, count)
            kernel = self._kernels.get((key, geometry.layout))
            if kernel is None:
                kernel = self._kernels[key, geometry.layout] = _Compiled(plan(), geometry.layout)
            if len(self._ready) >= launch.READY:
                self._ready.clear()
            ready = self._ready[met] = _Launch(kernel, geometry)
        return ready(tensors, scalars)

    def _geometry(self, like: tuple[Any, Any], tensors: Sequence[Tensor], count: int) -> _Geometry:
        shape, stride = tuple(like[0]), tuple(like[1])
        order = _order(shape, stride)
        running = [0] * len(shape)
        for d, step in zip(order, launch.contiguous_stride(tuple(shape[d] for d in order)), strict=True):
            running[d] = step
        strides = tuple(
            tuple(running) if t.dtype is torch.uint8 else launch.expanded(tuple(t.shape), t.stride(), shape)
            for t in tensors
        )
        return _geometry(shape, stride, strides, count, (None,) * (len(tensors) - count))


class _Geometry(NamedTuple):
    layout: Layout
    numbers: tuple[int, ...]
    programs: int
    slots: tuple[tuple[int, tuple[int, ...]], ...]  # of each sum: partial sums, and the dimensions they keep


def _order(shape: Sequence[int], stride: Sequence[int]) -> list[int]:
    """The dimensions with more than one element, as they lie in memory, the innermost last."""
    return sorted((d for d in range(len(shape)) if shape[d] != 1), key=lambda d: -stride[d])


def _geometry(
    full: tuple[int, ...], layout: tuple[int, ...], operands: tuple[tuple[int, ...], ...], n_in: int,
    sums: tuple[tuple[int, ...] | None, ...],
) -> _Geometry:  # fmt: skip
    """operands: strides of the inputs, expanded to `full`, then of the outputs; for a result that is summed to
    a shape those of that shape, 0 where it is summed. layout: strides in whose order to pass through."""
    order = _order(full, layout)
    summed = [k for k, shape in enumerate(sums, n_in) if shape is not None]
    groups: dict[tuple[bool, ...], list[int]] = {} if order else {(): []}  # by the sums that keep a dimension
    for d in order:
        groups.setdefault(tuple(operands[k][d] != 0 for k in summed), []).append(d)
    kinds = list(groups)
    if summed:  # the last axis is passed through in steps: one that no sum keeps, or else not all of them
        inner = next(kind for kind in kinds if order[-1] in groups[kind])
        loop = max(
            kinds,
            key=lambda kind: (not any(kind), not all(kind), kind is not inner, _size(full, groups[kind])),
        )
        kinds.remove(loop)
        kinds.append(loop)
    axes = [groups[kind] for kind in kinds]

    index = launch.contiguous_stride(tuple(full[d] for d in order))
    flat = [not summed and tuple(s[d] for d in order) == index for s in operands]
    moving = [k for k in range(len(operands)) if not flat[k] and k not in summed]
    sizes: list[int] = []
    strides: dict[int, list[int]] = {k: [] for k in moving}
    counts = []
    for axis in axes:
        start = len(sizes)
        for d in axis:  # a dimension that every operand passes through together with the one outside it
            if len(sizes) > start and all(strides[k][-1] == operands[k][d] * full[d] for k in moving):
                sizes[-1] *= full[d]
                for k in moving:
                    strides[k][-1] = operands[k][d]
            else:
                sizes.append(full[d])
                for k in moving:
                    strides[k].append(operands[k][d])
        counts.append(len(sizes) - start)
    moves = tuple(
        None if flat[k] else tuple(d for d, s in enumerate(strides[k]) if s) if k in strides else ()
        for k in range(len(operands))
    )
    numbers = [*sizes] if any(moves) else []
    for k in moving:
        numbers += [s for s in strides[k] if s]
    if not any(moves):
        counts = [0] * len(counts)
    reach = max((sum((n - 1) * s for n, s in zip(sizes, strides[k], strict=True)) for k in moving), default=0)
    total = [_size(full, axis) for axis in axes]
    if not summed:
        wide = max(total[0], reach) > _MANY - BLOCK
        return _Geometry(
            Layout(moves, tuple(counts), wide=wide), (total[0], *numbers), -(-total[0] // BLOCK), ()
        )
    tile = _tile(total, kinds, kinds.index(inner))
    tiles = [-(-n // t) for n, t in zip(total, tile, strict=True)]
    outer = math.prod(tiles[:-1])
    steps = -(-tiles[-1] // min(tiles[-1], max(1, SLOTS // outer))) if 0 not in tiles else 0
    tiles[-1] = slots = -(-tiles[-1] // steps) if steps else 0
    kept = [tuple(j for j in range(len(axes)) if kinds[j][place]) for place in range(len(summed))]
    partial = [math.prod(tiles[j] for j in range(len(axes)) if j not in k) for k in kept]
    most = [n * math.prod(total[j] for j in k) for n, k in zip(partial, kept, strict=True)]
    wide = max(total[-1] + steps * tile[-1], *total[:-1], *most, reach) > _MANY - BLOCK
    return _Geometry(
        Layout(moves, tuple(counts), tuple(tile), tuple(kept), wide),
        (*total, *tiles[:-1], steps, *numbers),
        outer * slots,
        tuple((n, tuple(d for j in k for d in axes[j])) for n, k in zip(partial, kept, strict=True)),
    )


def _size(full: Sequence[int], dimensions: Sequence[int]) -> int:
    return math.prod(full[d] for d in dimensions)


def _tile(total: Sequence[int], kinds: Sequence[tuple[bool, ...]], inner: int) -> list[int]:
    """How many elements of each axis a program has at a time: powers of two, `BLOCK` together or all there are.

    First some that lie side by side in memory, then those of axes along which a tile is summed up at once,
    which leaves fewer partial sums; then those of the last axis, and of axes that all sums keep; if there is
    room left, more side by side.
    """
    last, tile = len(total) - 1, [1] * len(total)
    order = sorted(range(len(total)), key=lambda j: (j != inner, j == last or all(kinds[j]), j != last))
    for most, j in [
        (WIDTH if any(kinds[inner]) else BLOCK, inner),
        *((BLOCK, j) for j in (*order[1:], inner)),
    ]:
        room = BLOCK // (math.prod(tile) // tile[j])
        tile[j] = min(most, room, 1 << max(total[j] - 1, 0).bit_length())
    return tile

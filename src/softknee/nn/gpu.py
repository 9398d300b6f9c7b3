"""Runs an operator's kernel on torch tensors in GPU memory, with Triton.

Nothing here waits for the GPU, and all memory comes from torch's allocator, so that calls work on any
stream and in CUDA graphs (after one call outside, which compiles). Without Triton, without a GPU or
without a compiler for Triton's launcher, torch operations serve, silently.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import struct
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from softknee.kernels.llvm import Operand, Scalar
from softknee.kernels.plan import Plan, kernel_of
from softknee.kernels.triton import BLOCK, BYTES, OPTIONS, Layout, tables, to_triton

if TYPE_CHECKING:
    from softknee.nn.pointwise import Call, Pointwise

__all__ = ["codes_for", "missing", "require", "run", "run_coded", "usable"]

_MANY = 1 << 31
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
    """One operator's kernel for one layout; what depends on alignment and size is Triton's to compile."""

    __slots__ = ("_ready", "function", "places", "tables")

    def __init__(self, plan: Plan, layout: Layout, places: tuple[int, ...] = ()) -> None:
        self.places = places
        kernel = kernel_of(plan, "gpu")
        self.function = _function(to_triton(kernel, layout))
        self.tables = tables(kernel)
        self._ready: dict[object, Any] = {}

    def __call__(
        self, programs: int, tensors: Sequence[Tensor], numbers: Sequence[int], scalars: Sequence[float]
    ) -> None:
        device = tensors[0].device
        if device.type == "cuda" and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):
                self._launch(device, programs, tensors, numbers, scalars)
        else:
            self._launch(device, programs, tensors, numbers, scalars)

    def _launch(
        self,
        device: torch.device,
        programs: int,
        tensors: Sequence[Tensor],
        numbers: Sequence[int],
        scalars: Sequence[float],
    ) -> None:
        """By Triton's launcher the first time, then by what it compiled: the launcher looks at every
        argument again, at several times the cost of the launch."""
        arguments = [*tensors, *(_table(*t, device) for t in self.tables), *numbers, *scalars]
        # all that Triton compiles for: aligned addresses; numbers that are 1, multiples of 16, or long
        key = (
            device.index,
            *[t.data_ptr() % 16 == 0 for t in tensors],
            *[(v == 1, v % 16 == 0, v >= _MANY) for v in numbers],
        )
        ready = self._ready.get(key)
        if ready is None:
            self._ready[key] = self.function[programs,](*arguments, **OPTIONS)
        else:
            ready[programs, 1, 1](*arguments)


def _compile(
    op: Pointwise, storages: Sequence[str], results: Sequence[Operand], layout: Layout, precision: Any
) -> _Compiled:
    """The kernel that reads only the tensors that are used."""
    places = tuple(k for k, name in enumerate(op.tensors) if name in op.used)
    inputs = [(op.tensors[k], Operand(storages[k])) for k in places]  # type: ignore[arg-type]
    scalars = [(name, Scalar()) for name in op.scalars]
    expressions = tuple(zip(op.expressions, results, strict=True))
    return _Compiled(Plan(expressions, (*inputs, *scalars), precision, op.factors), layout, places)


def run(op: Pointwise, tensors: tuple[Tensor, ...], call: Call, outs: tuple[Tensor | None, ...]) -> Any:
    """The operator's results, written into `outs` where one is given; None where this combination of
    shapes is left to torch operations."""
    from softknee.nn.launch import STORAGE, dense

    first = tensors[0]
    dtype, shape, stride = first.dtype, first.shape, first.stride()
    for t in tensors:
        if t.dtype is not dtype or t.shape != shape or t.stride() != stride:
            return _shaped(op, tensors, call, outs)
    if not (call.plain or all(s is None or s == shape for s in call.shapes)):
        return _shaped(op, tensors, call, outs)
    if not dense(first):
        return _shaped(op, tensors, call, outs)
    outputs = [torch.empty_like(first) if o is None else o for o in outs]
    if any(o.stride() != stride or o.shape != shape for o in outputs):
        return _shaped(op, tensors, call, outs)
    size = first.numel()
    wide = size > _MANY - BLOCK
    key = ("gpu", dtype, call.precision, wide)
    kernel = op.kernels.get(key)
    if kernel is None:
        storage = STORAGE[dtype]
        results = [Operand(storage) for _ in outputs]
        layout = Layout((None,) * (len([n for n in op.tensors if n in op.used]) + len(outputs)), wide=wide)
        kernel = op.kernels[key] = _compile(op, (storage,) * len(tensors), results, layout, call.precision)
    if size:
        if any(not t.data_ptr() for t in tensors):  # of forward-mode derivatives: zeros without memory
            return None
        kernel(-(-size // BLOCK), [*(tensors[k] for k in kernel.places), *outputs], (size,), call.scalars)
    return outputs[0] if op.single else tuple(outputs)


def codes_for(x: Tensor, planes: int) -> Tensor:
    """Memory for so many truth values an element: each plane has a row of bytes."""
    rows = -(-x.numel() // BLOCK)
    return torch.empty((planes, rows * BYTES), dtype=torch.uint8, device=x.device)


def run_coded(
    made: dict[Any, Any], plan: Callable[[], Plan], key: tuple[Any, ...], like: tuple[Any, Any],
    tensors: Sequence[Tensor], count: int, scalars: Sequence[float],
) -> bool:  # fmt: skip
    """Runs the kernel of a plan some of whose operands are truth values, a row of `codes_for` each (uint8).

    They follow each other as the elements do of a dense tensor like `like` (shape, strides). made: where
    to keep kernels; key: what the plan depends on; count: how many of the tensors are inputs. False where a
    tensor has no memory.
    """
    from softknee.nn.launch import expanded

    shape, stride = tuple(like[0]), like[1]
    if 0 in shape:
        return True
    if any(not t.data_ptr() for t in tensors):
        return False
    order = sorted((d for d in range(len(shape)) if shape[d] != 1), key=lambda d: -stride[d])
    running = [0] * len(shape)
    for d, step in zip(order, _running([shape[d] for d in order]), strict=True):
        running[d] = step
    strides = tuple(
        tuple(running) if t.dtype is torch.uint8 else expanded(tuple(t.shape), t.stride(), shape)
        for t in tensors
    )
    geometry = _geometry(shape, tuple(stride), strides, count, (None,) * (len(tensors) - count))
    assert geometry is not None
    kernel = made.get((*key, geometry.layout))
    if kernel is None:
        kernel = made[(*key, geometry.layout)] = _Compiled(plan(), geometry.layout)
    kernel(geometry.programs, tensors, geometry.numbers, scalars)
    return True


class _Geometry(NamedTuple):
    layout: Layout
    numbers: tuple[int, ...]
    programs: int
    slots: int
    kept: tuple[int, ...]  # dimensions of the partial sums, in their order


@lru_cache(maxsize=512)
def _geometry(
    full: tuple[int, ...], layout: tuple[int, ...], operands: tuple[tuple[int, ...], ...], n_in: int,
    targets: tuple[tuple[int, ...] | None, ...],
) -> _Geometry | None:  # fmt: skip
    """operands: strides of the inputs, expanded to `full`, then of the outputs; for a summed output
    those of its contiguous target, 0 where it is summed. None: nothing is summed that could be."""
    order = sorted((d for d in range(len(full)) if full[d] != 1), key=lambda d: -layout[d])
    sums = [operands[n_in + k] for k, t in enumerate(targets) if t is not None]
    kept = [d for d in order if not sums or any(s[d] for s in sums)]
    summed = [d for d in order if d not in kept]
    if sums and len(kept) == len(order):
        return None
    index = _running([full[d] for d in kept])
    flat = [
        not sums and [s[d] for d in kept] == index for s in operands
    ]  # reached without counting dimensions
    moving = [k for k in range(len(operands)) if not flat[k] and (k < n_in or targets[k - n_in] is None)]
    sizes: list[int] = []
    strides: dict[int, list[int]] = {k: [] for k in moving}
    counts = []
    for group in (kept, summed):
        start = len(sizes)
        for d in group:  # a dimension that every operand passes through together with the one outside it
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
    total = [1, 1]
    for d, s in enumerate(sizes):
        total[d >= counts[0]] *= s
    numbers = [*sizes] if any(moves) else []
    for k in moving:
        numbers += [s for s in strides[k] if s]
    reach = max((sum((n - 1) * s for n, s in zip(sizes, strides[k], strict=True)) for k in moving), default=0)
    if not sums:
        wide = max(total[0], reach) > _MANY - BLOCK
        return _Geometry(
            Layout(moves, counts[0], wide=wide), (total[0], *numbers), -(-total[0] // BLOCK), 0, ()
        )
    # consecutive elements side by side: along the kept dimensions where the innermost one is kept
    inner = bool(order) and order[-1] in kept
    sides = [min(BLOCK, 1 << max(t - 1, 0).bit_length()) for t in total]
    rows = min(64, sides[0]) if inner else min(sides[0], BLOCK // sides[1])
    columns = min(sides[1], BLOCK // rows)
    blocks, tiles = -(-total[0] // rows), -(-total[1] // columns)
    steps = -(-tiles // min(tiles, max(1, SLOTS // blocks))) if tiles else 0
    slots = -(-tiles // steps) if steps else 0
    wide = max(total[1] + steps * columns, total[0] * max(slots, 1), reach) > _MANY - BLOCK
    return _Geometry(
        Layout(moves, counts[0], counts[1], (rows, columns), wide),
        (total[0], total[1], blocks, steps, *numbers),
        blocks * slots,
        slots,
        tuple(kept),
    )


def _running(sizes: list[int]) -> list[int]:
    """The strides of elements that follow each other."""
    strides, step = [], 1
    for s in reversed(sizes):
        strides.append(step)
        step *= s
    return strides[::-1]


def _shaped(op: Pointwise, tensors: tuple[Tensor, ...], call: Call, outs: tuple[Tensor | None, ...]) -> Any:
    from softknee.nn import launch

    made = launch.results_of(op, tensors, call, outs)
    if made is None:
        return None
    full, outputs, targets, layout = made
    inputs = [t for t, name in zip(tensors, op.tensors, strict=True) if name in op.used]
    strides = [launch.expanded(tuple(t.shape), t.stride(), full) for t in inputs]
    strides += [
        launch.expanded(full, o.stride(), full) if t is None
        else launch.expanded(t, launch.contiguous_stride(t), full)
        for o, t in zip(outputs, targets, strict=True)
    ]  # fmt: skip
    geometry = _geometry(full, layout, tuple(strides), len(inputs), tuple(targets))
    if geometry is None:
        return None
    dtypes = tuple(t.dtype for t in tensors)
    key = ("gpu", dtypes, geometry.layout, tuple(o.dtype for o in outputs), call.precision)
    kernel = op.kernels.get(key)
    if kernel is None:
        results = [
            Operand(launch.STORAGE[o.dtype]) if t is None else Operand("float64", "sum")
            for o, t in zip(outputs, targets, strict=True)
        ]
        storages = [launch.STORAGE[d] for d in dtypes]
        kernel = op.kernels[key] = _compile(op, storages, results, geometry.layout, call.precision)
    sizes = [full[d] for d in geometry.kept]
    device = tensors[0].device
    buffers = [
        o if t is None else torch.empty((geometry.slots, *sizes), dtype=torch.float64, device=device)
        for o, t in zip(outputs, targets, strict=True)
    ]
    if 0 not in full:
        if any(not t.data_ptr() for t in inputs):
            return None
        kernel(geometry.programs, [*inputs, *buffers], geometry.numbers, call.scalars)
    finished = []
    for buffer, o, target in zip(buffers, outputs, targets, strict=True):
        if target is None:
            finished.append(buffer)
            continue
        total = buffer.sum(0)  # over the slots, in an order that depends on the shape alone
        ascending = sorted(range(len(sizes)), key=lambda k: geometry.kept[k])
        spread = [full[d] if d in geometry.kept else 1 for d in range(len(full))]
        total = total.permute(ascending).reshape(spread)
        missing_ones = (1,) * (len(full) - len(target)) + target
        finished.append(total.sum_to_size(missing_ones).reshape(target).to(o.dtype))
    return finished[0] if op.single else tuple(finished)

"""Runs an operator's kernel on torch tensors: those in CPU memory here, those of a GPU in `gpu.py`.

Everything that depends on shapes and types alone is worked out once and kept: the compiled kernel,
and for shapes that are not one contiguous row the geometry (rows, strides, chunks).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softknee.kernels import entry, native
from softknee.kernels.entry import CHUNK, HUGE, SERIAL
from softknee.kernels.llvm import Operand, Scalar
from softknee.kernels.plan import Plan, compile_plan
from softknee.nn import gpu

if TYPE_CHECKING:
    from softknee.nn.pointwise import Call, Pointwise

__all__ = [
    "STORAGE",
    "broadcast_shapes",
    "contiguous_stride",
    "dense",
    "eligible",
    "expanded",
    "met",
    "over_rows",
    "quiet",
    "results_of",
    "run",
    "stripped",
    "strips",
    "write",
]

STORAGE: dict[torch.dtype, Any] = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}

_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
_tracing = getattr(torch._C, "_get_tracing_state", lambda: None)
_exact = (Tensor, torch.nn.Parameter)
_strided_layout = torch.strided
_empty_like = torch.empty_like
_grad_enabled = torch.is_grad_enabled
_scalar = torch.empty((), device="cpu")


@lru_cache(maxsize=1024)
def _broadcast(*shapes: torch.Size) -> torch.Size:
    return torch.broadcast_tensors(*[_scalar.expand(shape) for shape in shapes])[0].shape


def broadcast_shapes(*shapes: torch.Size) -> torch.Size:
    """As `torch.broadcast_shapes`, which imports torch's tracer: longer than all the rest of a first call, if nothing is
    traced."""
    traced = torch.compiler.is_dynamo_compiling() or _modes() or _tracing() is not None
    return torch.broadcast_shapes(*shapes) if traced else _broadcast(*shapes)


def _library(name: str) -> ctypes.CDLL | None:
    """One of torch's own, which is loaded; None where it is called otherwise."""
    ending = {"linux": "so", "darwin": "dylib"}.get(sys.platform)
    try:
        return ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", f"{name}.{ending}"))
    except OSError:
        return None


def _connect() -> bool:
    """Takes torch's own OpenMP pool, and what makes tensors; False where this build of torch has no pool."""
    library, python = _library("libtorch_cpu"), _library("libtorch_python")
    native.maker(library, python)
    return library is not None and os.environ.get("SOFTKNEE_THREADS") != "python" and native.connect(library)


_pool = _connect()
_forked = False
if native.watch(_library("libc10"), _library("libtorch_cpu"), torch.empty(0), torch._C._parse_dispatch_key):
    native.exchange(Tensor, torch.get_num_threads)
native.llvm()  # takes more than all the rest of a first call: better here, beside the import of torch


def _after_fork() -> None:
    # the threads of a pool do not exist in the child: it computes on one thread
    global _pool, _forked
    _pool, _forked = False, True
    native.connect(None)
    _python_pool.cache_clear()


@cache
def _python_pool() -> ThreadPoolExecutor:
    """Where torch brings no OpenMP that we can call: Python's threads; kernels release the lock."""
    return ThreadPoolExecutor(thread_name_prefix="softknee")


def launch(kernel: native.NativeCall, size: int, groups: int, threads: int, *rest: Any) -> None:
    """Runs a kernel on so many threads."""
    if threads == 1 or _pool:
        kernel(size, groups, threads, *rest)
    elif _forked:
        kernel(size, groups, 1, *rest)
    else:
        shares = [
            _python_pool().submit(kernel, size, groups, -(threads + 65536 * me), *rest)
            for me in range(threads)
        ]
        for share in shares:
            share.result()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def eligible(tensors: tuple[Any, ...]) -> bool:
    """Plain tensors of a floating type, in CPU memory or of one GPU, and nobody watching the operations."""
    here = True
    for t in tensors:
        if type(t) not in _exact or t.dtype not in STORAGE or t.layout is not _strided_layout or t.is_neg():
            return False
        if not t.is_cpu:
            here = False
    return not _modes() and _tracing() is None and (here or gpu.usable(tensors))


def plain(gradient: Tensor) -> bool:
    """Whether backward may give an incoming gradient to a kernel: nobody watches, nothing is recorded.

    Autograd has seen to its type, shape and device."""
    return (
        type(gradient) is Tensor
        and not _grad_enabled()
        and not gradient.is_neg()
        and not _modes()
        and _tracing() is None
    )


def run(op: Pointwise, tensors: tuple[Tensor, ...], call: Call, out: Tensor | None = None) -> Any:
    """The operator's results; None where this combination of shapes is left to torch operations."""
    first = tensors[0]
    if not first.is_cpu:
        return gpu.run(op, tensors, call, (out,) * len(op.outputs))
    dtype, shape = first.dtype, first.shape
    # all of one shape, nothing summed, and no gaps in what is written over
    alike = call.plain or all(s is None or s == shape for s in call.shapes)
    alike = alike and all(t.dtype is dtype and t.shape == shape for t in tensors)
    if alike and (out is None or out.is_contiguous()):
        kernel = op.kernels.get((dtype, call.precision)) or flat_kernel(op, dtype, call.precision)
        picked = kernel.picked(tensors)
        if out is None and (made := kernel.on(*picked, *call.scalars)) is not None:
            return made
        results = [_empty_like(first) for _ in op.outputs] if out is None else [out]
        if kernel.on(*picked, *results, *call.scalars):
            return results[0] if op.single else tuple(results)
    key = None
    if out is None:
        key = met(tensors, call)
        if (ready := op.ready.get(key)) is not None:
            return ready(tensors, call)
    if first.numel() and any(t.data_ptr() == 0 for t in tensors):
        return None  # a tensor of zeros without memory, which forward-mode derivatives make
    return _strided(op, tensors, call, out, key)


def met(tensors: Sequence[Tensor], call: Call) -> tuple[Any, ...]:
    """What a call is kept by in `op.ready`"""
    return (call.precision, call.shapes, *[(t.dtype, t.shape, t.stride()) for t in tensors])


def quiet(x: Tensor) -> bool:
    """Whether a plain tensor in CPU memory may be given to a kernel and nobody watches"""
    return x.is_cpu and x.layout is _strided_layout and not _modes() and _tracing() is None and not x.is_neg()


def write(
    op: Pointwise, tensors: tuple[Tensor, ...], call: Call, outs: tuple[Tensor | None, ...]
) -> tuple[Tensor, ...] | None:
    """The operator's results, written into `outs` where one is given; None where no kernel can do it."""
    results = (_strided if tensors[0].is_cpu else gpu.run)(op, tensors, call, outs)
    return (results,) if op.single and results is not None else results


def fresh_like(x: Tensor) -> Tensor:
    """A new tensor to write results into, in huge pages if it is large."""
    made = _empty_like(x)
    if made.is_cpu and made.numel() * made.element_size() >= HUGE:
        _advise(made)
    return made


@lru_cache(maxsize=256)
def strips(rows: int, length: int, *apart: int) -> _Geometry:
    """So many stretches of a length in every tensor; apart: how far one lies from the next in each."""
    return _Geometry([rows, length], [[step, 1] for step in apart], ["row"] * len(apart), [])


def stripped(
    kernel: native.NativeCall, geometry: _Geometry, size: int, fresh: Sequence[Tensor], rest: tuple[Any, ...]
) -> None:
    """Runs a kernel on the strips of some tensors."""
    threads = 1
    if size >= SERIAL:
        threads = torch.get_num_threads()
        for o in fresh:
            if o.numel() * o.element_size() >= HUGE:
                _advise(o)
    launch(kernel, -geometry.address, threads, threads, *rest)


def over_rows(kernel: native.NativeCall, dim: int, tensors: tuple[Tensor, ...], *scalars: float) -> Tensor:
    """The result of a kernel of `kernels.rows` along a dimension of tensors of one shape and type."""
    rows = [t.movedim(dim, -1).contiguous() for t in tensors]
    result = fresh_like(rows[0])
    size, length = result.numel(), result.shape[-1]
    threads = torch.get_num_threads() if size >= SERIAL else 1
    geometry = (ctypes.c_int64 * 2)(size // length, length)  # how many rows; their length
    addresses = [t.data_ptr() for t in (*rows, result)]
    launch(
        kernel, -ctypes.addressof(geometry) - 8, min(threads, size // length), threads, *addresses, *scalars
    )
    return result.movedim(-1, dim)


class _Compiled:
    __slots__ = ("bound", "call", "on", "picked", "places", "whole")

    def __init__(self, loaded: native.Loaded, places: tuple[int, ...], count: int) -> None:
        self.call, self.on, self.bound = loaded.call, loaded.on, loaded.bound
        self.places = places
        self.whole = whole = places == tuple(range(count))
        self.picked: Any = (lambda ts: ts) if whole else (lambda ts: [ts[p] for p in places])


def _compile(
    op: Pointwise,
    storages: tuple[Any, ...],
    accesses: tuple[Any, ...],
    results: tuple[Operand, ...],
    precision: Any,
) -> _Compiled:
    """The kernel that reads only the tensors that are used."""
    places = tuple(k for k, name in enumerate(op.tensors) if name in op.used)
    inputs = [(op.tensors[k], Operand(storages[k], accesses[k])) for k in places]
    scalars = [(name, Scalar()) for name in op.scalars]
    plan = Plan(tuple(zip(op.expressions, results, strict=True)), (*inputs, *scalars), precision, op.factors)
    return _Compiled(compile_plan(plan), places, len(op.tensors))


def flat_kernel(op: Pointwise, dtype: torch.dtype, precision: str) -> _Compiled:
    """The kernel for tensors that are one row each, kept with the operator"""
    kernel = op.kernels[dtype, precision] = kernel_for(op, dtype, ("row",) * len(op.tensors), precision)
    return kernel


def turns_kernel(
    op: Pointwise, dtype: torch.dtype, turns: Sequence[Operand], results: tuple[Operand, ...], precision: str
) -> native.Loaded:
    """The kernel whose first tensors are those operands, the others one row each; it reads all of them"""
    others = [Operand(STORAGE[dtype])] * (len(op.tensors) - len(turns))
    inputs = list(zip(op.tensors, (*turns, *others), strict=True))
    scalars = [(name, Scalar()) for name in op.scalars]
    outputs = tuple(zip(op.expressions, results, strict=True))
    return compile_plan(Plan(outputs, (*inputs, *scalars), precision, op.factors))  # type: ignore[arg-type]


def kernel_for(op: Pointwise, dtype: torch.dtype, accesses: tuple[Any, ...], precision: str) -> _Compiled:
    """The kernel for tensors of one type, each a row or one number for all"""
    storage = STORAGE[dtype]
    results = tuple(Operand(storage) for _ in op.outputs)
    return _compile(op, (storage,) * len(accesses), accesses, results, precision)


# Shapes that are not one row


class _Geometry:
    """Rows and strides, as the kernel reads them, and how each operand moves along a row."""

    __slots__ = ("accesses", "address", "buffer", "elements", "tile", "tiled", "units", "values")

    def __init__(
        self, sizes: list[int], strides: list[list[int]], accesses: list[str], slots: list[int],
        tile: int = 1, tiled: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        #: of how many rows a row is made, and their length; whose rows are repeated for it
        self.tile, self.tiled = (tile, sizes[-1] // tile if sizes else 1), tiled
        length = sizes[-1] if sizes else 1
        outer = sizes[:-1]
        rows = 1
        for s in outer:
            rows *= s
        chunk = CHUNK
        chunks = max(1, -(-length // chunk))
        self.units = rows * chunks if length else 0
        self.elements = rows * length
        self.accesses = accesses
        self.values = values = [self.units, length, chunk, chunks, len(outer), *reversed(outer)]
        for s in strides:
            values += reversed(s[:-1]) if sizes else ()
        values += slots
        self.buffer = (ctypes.c_int64 * len(values))(*values)
        self.address = ctypes.addressof(self.buffer) + 8  # behind the number of units


@lru_cache(maxsize=512)
def _geometry(
    full: tuple[int, ...], layout: tuple[int, ...], operands: tuple[tuple[int, ...], ...], n_in: int,
    targets: tuple[tuple[int, ...] | None, ...],
) -> _Geometry | list[int]:  # fmt: skip
    """operands: strides of the inputs, expanded to `full`, then of the outputs; for a summed output
    the strides of its contiguous target. Returns the inputs to copy where a row cannot be formed."""
    order = sorted((d for d in range(len(full)) if full[d] != 1), key=lambda d: -layout[d])
    sizes = [full[d] for d in order]
    strides = [[s[d] for d in order] for s in operands]
    d = len(sizes) - 1
    while d > 0:  # neighbouring dimensions that every operand passes through as one
        if all(s[d - 1] == s[d] * sizes[d] for s in strides):
            sizes[d - 1 : d + 1] = [sizes[d - 1] * sizes[d]]
            for s in strides:
                s[d - 1 : d + 1] = [s[d]]
        d -= 1
    if not sizes:
        sizes, strides = (
            [1],
            [[0 if k < n_in or t is not None else 1] for k, t in _with_targets(strides, n_in, targets)],
        )
    tile, tiled = _tiled(sizes, strides)
    several = sizes[-1] <= FEW and len(sizes) > 1 and not any(targets)  # rows in a vector
    accesses, copies = [], []
    for k, target in _with_targets(strides, n_in, targets):
        step = strides[k][-1]
        if k < n_in:
            accesses.append("row" if step else "each" if several else "splat")
            if step not in (0, 1):
                copies.append(k)
        elif target is None:
            accesses.append("row")
            if step not in (0, 1) or (step == 0 and sizes[-1] != 1):
                copies.append(k)
        else:
            accesses.append("sum_row" if step == 0 else "sum_rows")
            if step not in (0, 1):
                copies.append(k)
    if copies:
        return copies
    slots = [
        _count(t) * (tile if k in tiled else 1)
        for k, t in _with_targets(strides, n_in, targets)
        if t is not None
    ]
    return _Geometry(sizes, strides, accesses, slots, tile, tiled)


def _tiled(sizes: list[int], strides: list[list[int]]) -> tuple[int, tuple[int, ...]]:
    """Short rows, side by side in some operands and the same row in the others: makes rows of several, in
    place. Returns of how many, and the operands whose row must be repeated as often."""
    if len(sizes) < 2 or sizes[-1] >= SHORT or sizes[-2] < MANY:
        return 1, ()
    rows, length = sizes[-2:]
    ends = [tuple(s[-2:]) for s in strides]
    same = tuple(k for k, end in enumerate(ends) if end == (0, 1))
    if any(any(strides[k][:-1]) for k in same) or not {*ends} <= {(length, 1), (0, 1), (0, 0)}:
        return 1, ()
    tile = max(n for n in range(1, CHUNK // length + 1) if rows % n == 0)
    sizes[-2:] = [rows // tile, length * tile]
    for s in strides:
        s[-2] *= tile
    return tile, same


#: rows of so many elements at most may share a vector; it is the same on every machine
FEW = 32
#: rows of fewer elements are worth joining, if there are so many
SHORT, MANY = 512, 512


def _with_targets(strides: list[list[int]], n_in: int, targets: Any) -> list[tuple[int, Any]]:
    return [(k, targets[k - n_in] if k >= n_in else None) for k in range(len(strides))]


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for s in shape:
        total *= s
    return total


def expanded(shape: tuple[int, ...], stride: tuple[int, ...], full: tuple[int, ...]) -> tuple[int, ...]:
    """Strides over the full shape: 0 where a dimension is broadcast."""
    missing = len(full) - len(shape)
    return (0,) * missing + tuple(
        0 if s == 1 and f != 1 else t for s, t, f in zip(shape, stride, full[missing:], strict=True)
    )


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    stride, step = [], 1
    for s in reversed(shape):
        stride.append(step)
        step *= max(s, 1)
    return tuple(reversed(stride))


def results_of(
    op: Pointwise, tensors: tuple[Tensor, ...], call: Call, outs: tuple[Tensor | None, ...]
) -> tuple[tuple[int, ...], list[Tensor], list[tuple[int, ...] | None], tuple[int, ...]] | None:
    """The broadcast shape, a tensor for each result, the shapes that results are summed to (None: they
    are not; else the tensor stands for its type), and the strides in whose order to pass through."""
    shapes = {t.shape for t in tensors}
    full = tuple(tensors[0].shape if len(shapes) == 1 else _broadcast(*shapes))
    dtypes = tuple(t.dtype for t in tensors)
    leader = next((t for t in tensors if tuple(t.shape) == full), None)
    ranked = [t for t in tensors if t.dim()] or tensors  # a 0-dimensional tensor counts as a number
    common = ranked[0].dtype
    for t in ranked[1:]:
        common = torch.promote_types(common, t.dtype)
    if common not in STORAGE:
        return None
    outputs: list[Tensor] = []
    targets: list[tuple[int, ...] | None] = []
    device = tensors[0].device
    for output, shape, given in zip(op.outputs, call.shapes, outs, strict=True):
        target = None if shape is None or tuple(shape) == full else tuple(shape)
        targets.append(target)
        dtype = common if output.target is None else dtypes[output.target]
        if target is not None:
            outputs.append(torch.empty(0, dtype=dtype, device=device))
        elif given is not None:
            outputs.append(given)
        elif leader is not None:
            outputs.append(torch.empty_like(leader, dtype=dtype))
        else:
            outputs.append(torch.empty(full, dtype=dtype, device=device))
        if given is not None and tuple(given.shape) != full:
            raise RuntimeError(
                f"a result of shape {full} cannot be written over an input of shape {tuple(given.shape)}; "
                "use inplace=False"
            )
    whole = next((o for o, t in zip(outputs, targets, strict=True) if t is None), None)
    if whole is None and leader is not None and dense(leader):
        whole = leader
    return full, outputs, targets, tuple(whole.stride()) if whole is not None else contiguous_stride(full)


def _strided(
    op: Pointwise, tensors: tuple[Tensor, ...], call: Call, out: Tensor | tuple[Tensor | None, ...] | None,
    key: Any = None,
) -> Any:  # fmt: skip
    """key: where to keep how it is done, for calls that give no tensor to write into."""
    outs = out if isinstance(out, tuple) else (out,) * len(op.outputs)
    made = results_of(op, tensors, call, outs)
    if made is None:
        return None
    full, outputs, targets, layout = made
    used = [k for k, name in enumerate(op.tensors) if name in op.used]
    inputs = [tensors[k] for k in used]
    for attempt in range(2):
        strides = [expanded(tuple(t.shape), t.stride(), full) for t in inputs]
        for o, t in zip(outputs, targets, strict=True):
            strides.append(
                expanded(full, o.stride(), full) if t is None else expanded(t, contiguous_stride(t), full)
            )
        geometry = _geometry(full, layout, tuple(strides), len(inputs), tuple(targets))
        if isinstance(geometry, _Geometry):
            break
        if attempt or any(k >= len(inputs) for k in geometry):  # no row fits: torch operations
            return None
        for k in geometry:  # copied in the order in which the rows run
            like = inputs[k].expand(full)
            copied = torch.empty(full, dtype=like.dtype, device="cpu")
            if _covers(full, layout):
                copied = copied.as_strided(full, layout)
            inputs[k] = copied.copy_(like)
    ready = _Ready(op, tensors, used, geometry, outputs, targets, call.precision)
    if key is not None and not attempt:
        if len(op.ready) >= READY:
            op.ready.clear()
        op.ready[key] = ready
    return ready.run(inputs, outputs, call, [given is None for given in outs])


#: shapes for which an operator keeps how a call is done
READY = 256


class _Ready:
    """How a call on tensors of some shapes, strides and types is done."""

    __slots__ = (
        "_bound",
        "brief",
        "geometry",
        "groups",
        "kernel",
        "on",
        "places",
        "results",
        "single",
        "size",
        "sums",
    )

    def __init__(
        self, op: Pointwise, tensors: tuple[Tensor, ...], used: list[int], geometry: _Geometry,
        outputs: list[Tensor], targets: list[tuple[int, ...] | None], precision: str,
    ) -> None:  # fmt: skip
        self.single, self.places, self.geometry = op.single, used, geometry
        #: shape, strides and type of a result, or the shape it is summed to and its type
        self.results = [
            (tuple(o.shape), o.stride(), o.dtype) if t is None else (t, None, o.dtype)
            for o, t in zip(outputs, targets, strict=True)
        ]
        self.size = geometry.elements
        sums = [t for t in targets if t is not None]
        #: a few elements, and nothing to repeat
        self.brief = 0 < self.size < SERIAL and not geometry.tiled
        self.groups = 0  # as many as threads
        if sums:  # fixed by the shapes alone, so that the sums do not depend on the number of threads
            largest = max(map(_count, sums))
            few = max(
                2, min(1 << 20, self.size // 16) // max(largest, 1)
            )  # partial sums: few beside the data
            self.groups = 1 if self.brief else max(1, min(geometry.units, 64, few, -(-self.size // 2048)))
        joined = {t: geometry.tile[0] if k in geometry.tiled else 1 for k, t in enumerate(targets, len(used))}
        #: partial sums, those of one shape together
        self.sums = {t: (targets.count(t), self.groups, joined[t], *t) for t in sums}
        dtypes = tuple(t.dtype for t in tensors)
        key = (dtypes, tuple(geometry.accesses), tuple(o.dtype for o in outputs), precision)
        kernel = op.kernels.get(key)
        if kernel is None:
            accesses: dict[int, Any] = dict(zip(used, geometry.accesses, strict=False))
            results = tuple(
                Operand("float64" if a.startswith("sum") else STORAGE[o.dtype], a)  # type: ignore[arg-type]
                for o, a in zip(outputs, geometry.accesses[len(used) :], strict=True)
            )
            every = tuple(accesses.get(k, "row") for k in range(len(tensors)))
            kernel = op.kernels[key] = _compile(
                op, tuple(STORAGE[d] for d in dtypes), every, results, precision
            )
        self.kernel, self._bound = kernel.call, kernel.bound
        self.on = self.bound(tensors)

    def bound(self, tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]] | None = None) -> Any:
        """What is called with tensors of exactly these shapes and strides, and scalars, and gives the results; or None,
        where another must be asked. tensors: those of a call, or others of as many elements; shapes: of the results,
        if they are others."""
        if self.geometry.tiled or (self.sums and not self._sums_at_once()):
            return declined
        given = [
            entry.Tensor(STORAGE[tensors[k].dtype], tuple(tensors[k].shape), tensors[k].stride())
            for k in self.places
        ]
        made, places = [], [entry.Place(k) for k in range(len(given))]
        for k, (shape, stride, dtype) in enumerate(self.results):
            here = tuple(shapes[k]) if shapes else shape
            made.append(
                entry.Tensor(STORAGE[dtype], here, contiguous_stride(here) if stride is None else stride)
            )
            places.append(entry.Place(len(places), sums=_count(here) if stride is None else 0))
        on = self._bound(self.geometry.values, self.size, given, made, places)
        if len(self.places) == len(tensors):
            return on
        return lambda *operands: on(*[operands[k] for k in self.places], *operands[len(tensors) :])

    def _sums_at_once(self) -> bool:
        """Whether sums are few enough to be made, and rounded once, while results are"""
        few = sum(_count(shape) for shape, stride, _ in self.results if stride is None) <= SHORT
        halves = any(dtype is torch.float16 for _, stride, dtype in self.results if stride is None)
        return self.brief and few and not halves

    def __call__(self, tensors: Sequence[Tensor], call: Call) -> Any:
        if (made := self.on(*tensors, *call.scalars)) is not None:
            return made
        if self.brief:
            return self._briefly(tensors, call)
        outputs = [
            None if stride is None else torch.empty_strided(shape, stride, dtype=dtype, device="cpu")
            for shape, stride, dtype in self.results
        ]
        inputs = [tensors[k] for k in self.places]
        return self.run(inputs, outputs, call, [True] * len(outputs))

    def _briefly(self, tensors: Sequence[Tensor], call: Call) -> Any:
        """`run` for a few elements, on this thread"""
        addresses = [tensors[k].data_ptr() for k in self.places]
        if 0 in addresses:
            return None
        results = []
        for shape, stride, dtype in self.results:
            if stride is None:
                y = torch.zeros(shape, dtype=torch.float64, device="cpu")
            else:
                y = torch.empty_strided(shape, stride, dtype=dtype, device="cpu")
            addresses.append(y.data_ptr())
            results.append(y)
        self.kernel(-self.geometry.address, 1, 1, *addresses, *call.scalars)
        if self.sums:
            results = [y.to(dtype) for y, (_, _, dtype) in zip(results, self.results, strict=True)]
        return results[0] if self.single else tuple(results)

    def run(self, inputs: list[Tensor], outputs: Sequence[Any], call: Call, fresh: Sequence[bool]) -> Any:
        """The results, or None where an input has no memory: a tensor of zeros that forward-mode derivatives
        make. outputs: tensors to write into, but for those that are summed."""
        partial = {t: torch.zeros(p, dtype=torch.float64, device="cpu") for t, p in self.sums.items()}
        slots = {t: p.data_ptr() for t, p in partial.items()}
        size = self.size
        if size:
            for k in self.geometry.tiled:
                if k < len(inputs):
                    inputs[k] = inputs[k].as_strided(self.geometry.tile, (0, 1)).contiguous()
            addresses = [t.data_ptr() for t in inputs]
            for (shape, stride, _), o, new in zip(self.results, outputs, fresh, strict=True):
                if stride is None:
                    addresses.append(slots[shape])
                    slots[shape] += partial[shape].stride(0) * 8
                    continue
                addresses.append(o.data_ptr())
                if new and size * o.element_size() >= HUGE:
                    _advise(o)
            if 0 in addresses:
                return None
            threads = torch.get_num_threads() if size >= SERIAL else 1
            geometry = -self.geometry.address
            launch(self.kernel, geometry, self.groups or threads, threads, *addresses, *call.scalars)
        totals = {t: iter(_totals(p)) for t, p in partial.items()}
        results = [
            o if stride is not None else next(totals[shape]).to(dtype)
            for (shape, stride, dtype), o in zip(self.results, outputs, strict=True)
        ]
        return results[0] if self.single else tuple(results)


def declined(*_: Any) -> None:
    """Of a call that cannot be bound"""


def _totals(partial: Tensor) -> Sequence[Tensor]:
    """The sums that partial sums of (results, groups, repetitions, *shape) make."""
    if len(partial) > 1:
        return partial.sum((1, 2)).unbind()
    shape = partial.shape[3:]
    return [partial.view(shape) if partial.stride(0) == shape.numel() else partial.sum((0, 1, 2))]


def dense(t: Tensor) -> bool:
    """Whether the elements fill a stretch of memory, in whatever order of dimensions."""
    return _covers(t.shape, t.stride())


def _covers(shape: Sequence[int], stride: Sequence[int]) -> bool:
    count = _count(tuple(shape))
    return (1 + sum((s - 1) * d for s, d in zip(shape, stride, strict=True)) if count else 0) == count


def _advise(t: Tensor) -> None:
    """Asks the system for huge pages before the first write."""
    start = (t.data_ptr() + 4095) & ~4095
    length = t.numel() * t.element_size() - (start - t.data_ptr())
    if _madvise is not None and length > 0:
        _madvise(start, length & ~4095, 14)  # MADV_HUGEPAGE


def _find_madvise() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


_madvise = _find_madvise()

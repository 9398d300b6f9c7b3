"""How Python calls a kernel: the part of its LLVM IR that knows CPython, threads and tensors.

Two functions of CPython's METH_FASTCALL type. `@call` takes addresses, and works for every shape.
`@on` takes the tensors themselves, where they lie alike in memory: asking Python for what a tensor is
takes longer than a small kernel, so it asks the tensor's library by DLPack's exchange of C functions
(https://dmlc.github.io/dlpack/latest/c_api.html, `DLPackExchangeAPI`).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["CHUNK", "HUGE", "RUNTIME", "SERIAL", "entry", "kept", "on_kept", "on_tensors"]

#: elements of a row in one unit of work
CHUNK = 4096
#: below this many elements a call stays on one thread
SERIAL = 16384
#: outputs of this many bytes are asked for in huge pages: a page fault costs more than the arithmetic
HUGE = 4 << 20

#: addresses needed at run time, in this order; `native.py` fills the table
RUNTIME = (
    "PyLong_AsVoidPtr", "PyLong_AsSsize_t", "PyFloat_AsDouble", "PyEval_SaveThread",
    "PyEval_RestoreThread", "Py_IncRef", "Py_DecRef", "PyErr_Clear", "PyObject_CallNoArgs",
    "_Py_NoneStruct", "_Py_TrueStruct", "GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads",
    "tensor_of", "threads_of", "madvise",
)  # fmt: skip

#: DLPack's type codes with their bits, as the four bytes of a DLDataType of one lane
_TYPES = {
    storage: code | bits << 8 | 1 << 16
    for storage, (code, bits) in {
        "float32": (2, 32), "float64": (2, 64), "float16": (2, 16), "bfloat16": (4, 16), "bits": (1, 8),
    }.items()
}  # fmt: skip
#: bytes of a DLTensor
_DLTENSOR = 48
_MADV_HUGEPAGE = 14


def _runtime(*names: str) -> list[str]:
    """Loads entries of the table as %rt.NAME"""
    lines = []
    for name in names:
        k = RUNTIME.index(name)
        lines += [
            f"  %rt.p.{k} = getelementptr ptr, ptr @runtime, i64 {k}",
            f"  %rt.{name} = load ptr, ptr %rt.p.{k}",
        ]
    return lines


def _scalars(n: int, m: int, first: int) -> list[str]:
    """Arguments `first`, `first` + 1, ... as the kernel's scalars"""
    lines = []
    for k in range(m):
        lines += [
            f"  %arg.s.p.{k} = getelementptr ptr, ptr %args, i64 {first + k}",
            f"  %arg.s.{k} = load ptr, ptr %arg.s.p.{k}",
            f"  %scalar.{k} = call double %rt.PyFloat_AsDouble(ptr %arg.s.{k})",
            f"  %to.s.{k} = getelementptr i64, ptr %work, i64 {7 + n + k}",
            f"  store double %scalar.{k}, ptr %to.s.{k}",
        ]
    return lines


#: the text of @on where no tensors suit
_NEVER = "\n".join(
    ["define ptr @on(ptr %self, ptr %args, i64 %nargs) #0 {", *_runtime("Py_IncRef", "_Py_NoneStruct"),
     "  call void %rt.Py_IncRef(ptr %rt._Py_NoneStruct)", "  ret ptr %rt._Py_NoneStruct", "}", ""]
)  # fmt: skip


def entry(n: int, m: int, on: str = _NEVER) -> str:
    """@call(self, args, nargs), for n operands and m scalars; behind it `on`, the text of @on.

    Arguments: size, groups, threads, one address an operand, one float a scalar. size >= 0: one
    contiguous row of that many elements; size < 0: -size is the address of a geometry. The units
    are cut into `groups` (partial sums have one slot each), which `threads` threads share; with one
    thread the interpreter lock is kept unless the work is long. threads = -(all + 65536 me) does the
    share of thread `me` of `all` alone, for a thread pool of Python's.
    """
    lines = ["define ptr @call(ptr %self, ptr %args, i64 %nargs) #0 {", "entry:"]
    put = lines.append
    lines += _runtime(
        "PyLong_AsVoidPtr", "PyLong_AsSsize_t", "PyFloat_AsDouble", "Py_IncRef", "_Py_NoneStruct"
    )
    put(f"  %work = alloca [{7 + n + m} x i64], align 16")

    def argument(k: int) -> str:
        put(f"  %arg.p.{k} = getelementptr ptr, ptr %args, i64 {k}")
        put(f"  %arg.{k} = load ptr, ptr %arg.p.{k}")
        return f"%arg.{k}"

    for k, name in enumerate(("size", "groups", "threads")):
        put(f"  %{name} = call i64 %rt.PyLong_AsSsize_t(ptr {argument(k)})")
    for k in range(n):
        put(f"  %address.{k} = call ptr %rt.PyLong_AsVoidPtr(ptr {argument(3 + k)})")
        put(f"  %to.{k} = getelementptr i64, ptr %work, i64 {7 + k}")
        put(f"  store ptr %address.{k}, ptr %to.{k}")
    lines += _scalars(n, m, 3 + n)
    put("""  call void @run(ptr %work, i64 %size, i64 %groups, i64 %threads)
  call void %rt.Py_IncRef(ptr %rt._Py_NoneStruct)
  ret ptr %rt._Py_NoneStruct
}
""")
    return f"@runtime = external global [{len(RUNTIME)} x ptr]\n\n" + "\n".join(lines) + _run(n) + on


def _run(n: int) -> str:
    """@run: the kernel over one row or a geometry, by the threads that are asked for"""
    runtime = "\n".join(_runtime("PyEval_SaveThread", "PyEval_RestoreThread", "GOMP_parallel"))
    region = "\n".join(_runtime("omp_get_thread_num", "omp_get_num_threads"))
    return f"""
define internal void @run(ptr %work, i64 %size, i64 %groups, i64 %threads) #0 {{
entry:
  %flat = alloca [4 x i64], align 16
{runtime}
  %is.flat = icmp sge i64 %size, 0
  br i1 %is.flat, label %one.row, label %many.rows
one.row:
  store i64 %size, ptr %flat
  %f.1 = getelementptr i64, ptr %flat, i64 1
  store i64 {CHUNK}, ptr %f.1
  %f.up = add i64 %size, {CHUNK - 1}
  %f.chunks = udiv i64 %f.up, {CHUNK}
  %f.2 = getelementptr i64, ptr %flat, i64 2
  store i64 %f.chunks, ptr %f.2
  %f.3 = getelementptr i64, ptr %flat, i64 3
  store i64 0, ptr %f.3
  br label %ready
many.rows:
  %given = sub i64 0, %size
  %given.p = inttoptr i64 %given to ptr
  %units.p = getelementptr i64, ptr %given.p, i64 -1
  %given.units = load i64, ptr %units.p
  br label %ready
ready:
  %geometry = phi ptr [ %flat, %one.row ], [ %given.p, %many.rows ]
  %units = phi i64 [ %f.chunks, %one.row ], [ %given.units, %many.rows ]
  %w.1 = getelementptr i64, ptr %work, i64 1
  %w.2 = getelementptr i64, ptr %work, i64 2
  store ptr %geometry, ptr %work
  store i64 %units, ptr %w.1
  store i64 %groups, ptr %w.2
  %one.share = icmp slt i64 %threads, 0
  br i1 %one.share, label %share.only, label %whole
share.only:
  %coded = sub i64 0, %threads
  %share.all = and i64 %coded, 65535
  %share.me = lshr i64 %coded, 16
  %state.0 = call ptr %rt.PyEval_SaveThread()
  call void @share(ptr %work, i64 %share.me, i64 %share.all)
  call void %rt.PyEval_RestoreThread(ptr %state.0)
  ret void
whole:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %serial, label %parallel
serial:
  %brief = icmp sle i64 %units, 4
  br i1 %brief, label %keep, label %release
keep:
  call void @share(ptr %work, i64 0, i64 1)
  ret void
release:
  %state.1 = call ptr %rt.PyEval_SaveThread()
  call void @share(ptr %work, i64 0, i64 1)
  call void %rt.PyEval_RestoreThread(ptr %state.1)
  ret void
parallel:
  %threads.32 = trunc i64 %threads to i32
  %state.2 = call ptr %rt.PyEval_SaveThread()
  call void %rt.GOMP_parallel(ptr @region, ptr %work, i32 %threads.32, i32 0)
  call void %rt.PyEval_RestoreThread(ptr %state.2)
  ret void
}}

define internal void @region(ptr %work) #0 {{
{region}
  %me = call i32 %rt.omp_get_thread_num()
  %all = call i32 %rt.omp_get_num_threads()
  %me.64 = zext i32 %me to i64
  %all.64 = zext i32 %all to i64
  call void @share(ptr %work, i64 %me.64, i64 %all.64)
  ret void
}}

; one thread's share: groups me, me + all, me + 2 all, ...
define internal void @share(ptr %work, i64 %me, i64 %all) #0 {{
entry:
  %geometry = load ptr, ptr %work
  %w.1 = getelementptr i64, ptr %work, i64 1
  %units = load i64, ptr %w.1
  %w.2 = getelementptr i64, ptr %work, i64 2
  %groups = load i64, ptr %w.2
  %operands = getelementptr i64, ptr %work, i64 7
  %scalars = getelementptr i64, ptr %work, i64 {7 + n}
  br label %head
head:
  %g = phi i64 [ %me, %entry ], [ %g.next, %step ]
  %more = icmp ult i64 %g, %groups
  br i1 %more, label %step, label %done
step:
  %a = mul i64 %g, %units
  %first = udiv i64 %a, %groups
  %g.one = add i64 %g, 1
  %b = mul i64 %g.one, %units
  %last = udiv i64 %b, %groups
  call void @kernel(ptr %operands, ptr %scalars, ptr %geometry, i64 %g, i64 %first, i64 %last)
  %g.next = add i64 %g, %all
  br label %head
done:
  ret void
}}
"""


def on_tensors(inputs: Sequence[tuple[str, str]], results: Sequence[str], size: int, m: int) -> str:
    """@on(self, args, nargs): the kernel on tensors and m scalars. True where it ran; None, with nothing
    done, where the tensors do not suit it.

    inputs: storage and access of each; results: storage of each, rows all. Suited are tensors in the CPU's
    memory, of those types, of one shape, with the strides of the first result, which must have no gaps; a
    "splat" has strides 0, and "bits", never the first result, are as long as they must be. size: the bytes of
    an element of the first result. Where there is no pool of threads, many elements are left to a caller that
    has one; but those with bits, which nothing else computes, are done on this thread.
    """
    operands, model = [*inputs, *((storage, "row") for storage in results)], len(inputs)
    n = len(operands)
    bits = any(storage == "bits" for storage, _ in operands)
    types = ", ".join(f"i32 {_TYPES[storage]}" for storage, _ in operands)
    # a stride is the model's times this; -1: not compared
    steps = ", ".join(
        f"i64 {-1 if storage == 'bits' else int(access == 'row')}" for storage, access in operands
    )
    runtime = "\n".join(
        _runtime("PyLong_AsSsize_t", "PyFloat_AsDouble", "Py_IncRef", "Py_DecRef", "PyErr_Clear",
                 "PyObject_CallNoArgs", "_Py_NoneStruct", "_Py_TrueStruct", "GOMP_parallel", "tensor_of",
                 "threads_of", "madvise")
    )  # fmt: skip
    scalars = "\n".join(_scalars(n, m, n))
    return f"""
@types = internal constant [{n} x i32] [{types}]
@steps = internal constant [{n} x i64] [{steps}]

define ptr @on(ptr %self, ptr %args, i64 %nargs) #0 {{
entry:
{runtime}
  %work = alloca [{7 + n + m} x i64], align 16
  %seen = alloca [{n * _DLTENSOR} x i8], align 16
  %exchange = icmp ne ptr %rt.tensor_of, null
  br i1 %exchange, label %look, label %unsuited
look:
  %k = phi i64 [ 0, %entry ], [ %k.next, %found ]
  %arg.p = getelementptr ptr, ptr %args, i64 %k
  %arg = load ptr, ptr %arg.p
  %d.at = mul i64 %k, {_DLTENSOR}
  %d = getelementptr i8, ptr %seen, i64 %d.at
  %failed = call i32 %rt.tensor_of(ptr %arg, ptr %d)
  %raised = icmp ne i32 %failed, 0
  br i1 %raised, label %error, label %seen.it
seen.it:
  %device.p = getelementptr i8, ptr %d, i64 8
  %device = load i32, ptr %device.p
  %type.p = getelementptr i8, ptr %d, i64 20
  %type = load i32, ptr %type.p
  %wanted.p = getelementptr i32, ptr @types, i64 %k
  %wanted = load i32, ptr %wanted.p
  %data = load i64, ptr %d
  %offset.p = getelementptr i8, ptr %d, i64 40
  %offset = load i64, ptr %offset.p
  %address = add i64 %data, %offset
  %to.p = getelementptr i64, ptr %work, i64 %k
  %to = getelementptr i64, ptr %to.p, i64 7
  store i64 %address, ptr %to
  %on.cpu = icmp eq i32 %device, 1
  %of.type = icmp eq i32 %type, %wanted
  %has.data = icmp ne i64 %data, 0
  %fine.1 = and i1 %on.cpu, %of.type
  %fine = and i1 %fine.1, %has.data
  br i1 %fine, label %found, label %unsuited
found:
  %k.next = add i64 %k, 1
  %k.more = icmp ult i64 %k.next, {n}
  br i1 %k.more, label %look, label %shapes
shapes:
  %m = getelementptr i8, ptr %seen, i64 {model * _DLTENSOR}
  %m.rank.p = getelementptr i8, ptr %m, i64 16
  %m.rank = load i32, ptr %m.rank.p
  %rank = zext i32 %m.rank to i64
  %m.shape.p = getelementptr i8, ptr %m, i64 24
  %m.shape = load ptr, ptr %m.shape.p
  %m.strides.p = getelementptr i8, ptr %m, i64 32
  %m.strides = load ptr, ptr %m.strides.p
  br label %count
count:
  %j = phi i64 [ 0, %shapes ], [ %j.next, %times ]
  %size = phi i64 [ 1, %shapes ], [ %size.next, %times ]
  %j.more = icmp ult i64 %j, %rank
  br i1 %j.more, label %times, label %counted
times:
  %extent.p = getelementptr i64, ptr %m.shape, i64 %j
  %extent = load i64, ptr %extent.p
  %size.next = mul i64 %size, %extent
  %j.next = add i64 %j, 1
  br label %count
counted:
  br label %compare
compare:
  %c = phi i64 [ 0, %counted ], [ %c.next, %alike ]
  %c.more = icmp ult i64 %c, {n}
  br i1 %c.more, label %one, label %suited
one:
  %step.p = getelementptr i64, ptr @steps, i64 %c
  %step = load i64, ptr %step.p
  %c.at = mul i64 %c, {_DLTENSOR}
  %o = getelementptr i8, ptr %seen, i64 %c.at
  %compared = icmp sge i64 %step, 0
  br i1 %compared, label %ranks, label %alike
ranks:
  %o.rank.p = getelementptr i8, ptr %o, i64 16
  %o.rank = load i32, ptr %o.rank.p
  %same.rank = icmp eq i32 %o.rank, %m.rank
  br i1 %same.rank, label %each, label %unsuited
each:
  %o.shape.p = getelementptr i8, ptr %o, i64 24
  %o.shape = load ptr, ptr %o.shape.p
  %o.strides.p = getelementptr i8, ptr %o, i64 32
  %o.strides = load ptr, ptr %o.strides.p
  br label %dimension
dimension:
  %i = phi i64 [ 0, %each ], [ %i.next, %same ]
  %i.more = icmp ult i64 %i, %rank
  br i1 %i.more, label %test, label %alike
test:
  %ms.p = getelementptr i64, ptr %m.shape, i64 %i
  %ms = load i64, ptr %ms.p
  %os.p = getelementptr i64, ptr %o.shape, i64 %i
  %os = load i64, ptr %os.p
  %mt.p = getelementptr i64, ptr %m.strides, i64 %i
  %mt = load i64, ptr %mt.p
  %ot.p = getelementptr i64, ptr %o.strides, i64 %i
  %ot = load i64, ptr %ot.p
  %expected = mul i64 %mt, %step
  %same.shape = icmp eq i64 %ms, %os
  %same.stride = icmp eq i64 %ot, %expected
  %single = icmp eq i64 %ms, 1
  %any.stride = or i1 %same.stride, %single
  %both = and i1 %same.shape, %any.stride
  br i1 %both, label %same, label %unsuited
same:
  %i.next = add i64 %i, 1
  br label %dimension
alike:
  %c.next = add i64 %c, 1
  br label %compare
suited:
{scalars}
  %small = icmp ult i64 %size, {SERIAL}
  br i1 %small, label %go, label %ask
ask:
  %pool = icmp ne ptr %rt.GOMP_parallel, null
  br i1 %pool, label %ask.threads, label %{"alone" if bits else "unsuited"}
alone:
  br label %go
ask.threads:
  %answer = call ptr %rt.PyObject_CallNoArgs(ptr %rt.threads_of)
  %answered = icmp ne ptr %answer, null
  br i1 %answered, label %threads.known, label %error
threads.known:
  %asked = call i64 %rt.PyLong_AsSsize_t(ptr %answer)
  call void %rt.Py_DecRef(ptr %answer)
  %bytes = mul i64 %size, {size}
  %large = icmp uge i64 %bytes, {HUGE}
  %advisable = icmp ne ptr %rt.madvise, null
  %advised = and i1 %large, %advisable
  br i1 %advised, label %advise, label %go
advise:
  %a = phi i64 [ {model}, %threads.known ], [ %a.next, %advise.next ]
  %a.p = getelementptr i64, ptr %work, i64 %a
  %a.to = getelementptr i64, ptr %a.p, i64 7
  %a.address = load i64, ptr %a.to
  %a.step.p = getelementptr i64, ptr @steps, i64 %a
  %a.step = load i64, ptr %a.step.p
  %a.whole = icmp sge i64 %a.step, 0
  br i1 %a.whole, label %advise.one, label %advise.next
advise.one:
  %a.up = add i64 %a.address, 4095
  %a.start = and i64 %a.up, -4096
  %a.end = add i64 %a.address, %bytes
  %a.rest = sub i64 %a.end, %a.start
  %a.length = and i64 %a.rest, -4096
  %a.done = call i32 %rt.madvise(i64 %a.start, i64 %a.length, i32 {_MADV_HUGEPAGE})
  br label %advise.next
advise.next:
  %a.next = add i64 %a, 1
  %a.more = icmp ult i64 %a.next, {n}
  br i1 %a.more, label %advise, label %go
go:
  %threads = phi i64 [ 1, %suited ], [ 1, %alone ], [ %asked, %threads.known ], [ %asked, %advise.next ]
  call void @run(ptr %work, i64 %size, i64 %threads, i64 %threads)
  call void %rt.Py_IncRef(ptr %rt._Py_TrueStruct)
  ret ptr %rt._Py_TrueStruct
error:
  call void %rt.PyErr_Clear()
  br label %unsuited
unsuited:
  call void %rt.Py_IncRef(ptr %rt._Py_NoneStruct)
  ret ptr %rt._Py_NoneStruct
}}
"""


def kept(
    shape: Sequence[int], size: int, most: int, addresses: Sequence[int], scalars: Sequence[float] = ()
) -> tuple[Any, int]:
    """A call that is the same every time but for its tensors: the memory, which the caller keeps, and its address
    for `on_kept`. size: as `entry` has it; most: as many threads at most."""
    steps, step = [], 1
    for extent in reversed(shape):
        steps += [step, extent]
        step *= extent
    numbers = [size, most, len(shape), *reversed(steps), *addresses]
    made = ctypes.create_string_buffer(struct.pack(f"{len(numbers)}q{len(scalars)}d", *numbers, *scalars))
    return made, ctypes.addressof(made)


def on_kept(tensors: int, n: int, m: int) -> str:
    """@on(self, args, nargs): the kernel in a call that was `kept`: (its address, *tensors), which are the first of
    n operands. True where it ran; None, with nothing done, where a tensor is not contiguous float32 of the shape that
    is kept, in the CPU's memory, or there is no pool of threads for many elements."""
    runtime = "\n".join(
        _runtime("PyLong_AsVoidPtr", "PyLong_AsSsize_t", "Py_IncRef", "Py_DecRef", "PyErr_Clear",
                 "PyObject_CallNoArgs", "_Py_NoneStruct", "_Py_TrueStruct", "GOMP_parallel", "tensor_of",
                 "threads_of")
    )  # fmt: skip
    rest = "\n".join(
        f"""  %rest.p.{k} = getelementptr i64, ptr %rest, i64 {k}
  %rest.{k} = load i64, ptr %rest.p.{k}
  %rest.to.{k} = getelementptr i64, ptr %work, i64 {7 + tensors + k}
  store i64 %rest.{k}, ptr %rest.to.{k}"""
        for k in range(n - tensors + m)
    )
    return f"""
define ptr @on(ptr %self, ptr %args, i64 %nargs) #0 {{
entry:
{runtime}
  %work = alloca [{7 + n + m} x i64], align 16
  %d = alloca [{_DLTENSOR} x i8], align 16
  %kept.o = load ptr, ptr %args
  %kept = call ptr %rt.PyLong_AsVoidPtr(ptr %kept.o)
  %size = load i64, ptr %kept
  %most.p = getelementptr i64, ptr %kept, i64 1
  %most = load i64, ptr %most.p
  %rank.p = getelementptr i64, ptr %kept, i64 2
  %rank = load i64, ptr %rank.p
  %shape = getelementptr i64, ptr %kept, i64 3
  %exchange = icmp ne ptr %rt.tensor_of, null
  br i1 %exchange, label %look, label %unsuited
look:
  %k = phi i64 [ 0, %entry ], [ %k.next, %found ]
  %k.next = add i64 %k, 1
  %arg.p = getelementptr ptr, ptr %args, i64 %k.next
  %arg = load ptr, ptr %arg.p
  %failed = call i32 %rt.tensor_of(ptr %arg, ptr %d)
  %raised = icmp ne i32 %failed, 0
  br i1 %raised, label %error, label %seen
seen:
  %device.p = getelementptr i8, ptr %d, i64 8
  %device = load i32, ptr %device.p
  %type.p = getelementptr i8, ptr %d, i64 20
  %type = load i32, ptr %type.p
  %d.rank.p = getelementptr i8, ptr %d, i64 16
  %d.rank.32 = load i32, ptr %d.rank.p
  %d.rank = zext i32 %d.rank.32 to i64
  %data = load i64, ptr %d
  %offset.p = getelementptr i8, ptr %d, i64 40
  %offset = load i64, ptr %offset.p
  %address = add i64 %data, %offset
  %to.p = getelementptr i64, ptr %work, i64 %k
  %to = getelementptr i64, ptr %to.p, i64 7
  store i64 %address, ptr %to
  %extents.p = getelementptr i8, ptr %d, i64 24
  %extents = load ptr, ptr %extents.p
  %steps.p = getelementptr i8, ptr %d, i64 32
  %steps = load ptr, ptr %steps.p
  %on.cpu = icmp eq i32 %device, 1
  %of.type = icmp eq i32 %type, {_TYPES["float32"]}
  %of.rank = icmp eq i64 %d.rank, %rank
  %has.data = icmp ne i64 %data, 0
  %fine.1 = and i1 %on.cpu, %of.type
  %fine.2 = and i1 %of.rank, %has.data
  %fine = and i1 %fine.1, %fine.2
  br i1 %fine, label %dimension, label %unsuited
dimension:
  %i = phi i64 [ 0, %seen ], [ %i.next, %same ]
  %i.more = icmp ult i64 %i, %rank
  br i1 %i.more, label %test, label %found
test:
  %twice = mul i64 %i, 2
  %wanted.p = getelementptr i64, ptr %shape, i64 %twice
  %wanted = load i64, ptr %wanted.p
  %step.p = getelementptr i64, ptr %wanted.p, i64 1
  %step = load i64, ptr %step.p
  %extent.p = getelementptr i64, ptr %extents, i64 %i
  %extent = load i64, ptr %extent.p
  %d.step.p = getelementptr i64, ptr %steps, i64 %i
  %d.step = load i64, ptr %d.step.p
  %same.extent = icmp eq i64 %extent, %wanted
  %same.step = icmp eq i64 %d.step, %step
  %single = icmp eq i64 %wanted, 1
  %any.step = or i1 %same.step, %single
  %both = and i1 %same.extent, %any.step
  br i1 %both, label %same, label %unsuited
same:
  %i.next = add i64 %i, 1
  br label %dimension
found:
  %k.more = icmp ult i64 %k.next, {tensors}
  br i1 %k.more, label %look, label %suited
suited:
  %pairs = mul i64 %rank, 2
  %rest = getelementptr i64, ptr %shape, i64 %pairs
{rest}
  %alone = icmp eq i64 %most, 1
  br i1 %alone, label %go, label %several
several:
  %pool = icmp ne ptr %rt.GOMP_parallel, null
  br i1 %pool, label %ask, label %unsuited
ask:
  %answer = call ptr %rt.PyObject_CallNoArgs(ptr %rt.threads_of)
  %answered = icmp ne ptr %answer, null
  br i1 %answered, label %known, label %error
known:
  %asked = call i64 %rt.PyLong_AsSsize_t(ptr %answer)
  call void %rt.Py_DecRef(ptr %answer)
  %fewer = icmp slt i64 %asked, %most
  %threads.several = select i1 %fewer, i64 %asked, i64 %most
  br label %go
go:
  %threads = phi i64 [ 1, %suited ], [ %threads.several, %known ]
  call void @run(ptr %work, i64 %size, i64 %threads, i64 %threads)
  call void %rt.Py_IncRef(ptr %rt._Py_TrueStruct)
  ret ptr %rt._Py_TrueStruct
error:
  call void %rt.PyErr_Clear()
  br label %unsuited
unsuited:
  call void %rt.Py_IncRef(ptr %rt._Py_NoneStruct)
  ret ptr %rt._Py_NoneStruct
}}
"""

"""How Python calls a kernel: LLVM IR that knows CPython, threads and tensors, compiled once for all kernels.

Two functions of CPython's METH_FASTCALL type. `@call` takes addresses, and works for every shape.
`@on` takes the tensors themselves, where they lie alike in memory, and makes the results where none are
given: asking Python what a tensor is, or for a new one, takes longer than a small kernel, so it asks the
tensor's library by DLPack's exchange of C functions
(https://dmlc.github.io/dlpack/latest/c_api.html, `DLPackExchangeAPI`) and makes tensors by torch's C interface.

Which kernel is called, and what it takes, stands in a description (`Form.words`): the bytes that are the `self` of
the Python function. `@on` of a description that says more, shapes and strides (`bound`), is for tensors of those alone,
which need not lie alike.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "CHUNK",
    "HUGE",
    "RUNTIME",
    "SERIAL",
    "SERIAL_LIGHT",
    "TEXT",
    "WATCHING",
    "Form",
    "Place",
    "Tensor",
    "bound",
    "kept",
]

Shape = tuple[int, ...]

#: elements of a row in one unit of work
CHUNK = 4096
#: below this many elements a call stays on one thread, of a kernel of few instructions below as many as in torch
SERIAL, SERIAL_LIGHT = 16384, 32769
#: outputs of this many bytes are asked for in huge pages: a page fault costs more than the arithmetic
HUGE = 4 << 20

#: torch's keys that a thread's calls have while a dispatch mode, a transform of torch.func or a tracer watches
WATCHING = ("Python", "FuncTorchDynamicLayerFrontMode", "Tracer")
#: addresses needed at run time, in this order, and the numbers of those keys; `native.py` fills the table
RUNTIME = (
    "PyBytes_AsString", "PyLong_AsVoidPtr", "PyLong_AsSsize_t", "PyFloat_AsDouble", "PyEval_SaveThread",
    "PyEval_RestoreThread", "PyTuple_New", "PyTuple_SetItem", "Py_IncRef", "Py_DecRef", "PyErr_Clear",
    "PyObject_CallNoArgs", "_Py_NoneStruct", "_Py_TrueStruct", "GOMP_parallel", "omp_get_thread_num",
    "omp_get_num_threads", "tensor_of", "threads_of", "new_tensor", "data_of", "free_tensor", "object_of", "madvise",
    "has_key", "is_negative", "place_of_tensor", *WATCHING,
)  # fmt: skip

#: DLPack's type codes with their bits, as the four bytes of a DLDataType of one lane; torch's number of the type
_TYPES = {
    storage: (code | bits << 8 | 1 << 16, number)
    for storage, (code, bits, number) in {
        "float32": (2, 32, 6), "float64": (2, 64, 7), "float16": (2, 16, 5), "bfloat16": (4, 16, 15), "bits": (1, 8, 0),
    }.items()
}  # fmt: skip
#: bytes of a DLTensor
_DLTENSOR = 48
_MADV_HUGEPAGE = 14
#: words of a description before its operands, and words an operand
_HEAD, _EACH = 11, 3
#: words of a call before the operands' addresses: the geometry, units, groups, the kernel, how many operands, whether it
#: goes backwards
_WORK = 6
#: elements, or a few more, in a row on the way backwards
_STRETCH = 32768


class Form(NamedTuple):
    """What a kernel takes: an address for each operand, results last, then scalars.

    inputs: storage and access of each; results: storage of each, rows all. Without them `@on` declines
    every call. serial: below so many elements `@on` stays on one thread. backwards: each thread does what it has
    last first: what came before left in the caches what it did last.
    """

    operands: int
    scalars: int
    inputs: tuple[tuple[str, str], ...] = ()
    results: tuple[str, ...] = ()
    serial: int = SERIAL
    backwards: bool = False

    def words(self, kernel: int) -> list[int]:
        """The description of the kernel at that address"""
        every = [*self.inputs, *((storage, "row") for storage in self.results)]
        rows = [k for k, (storage, access) in enumerate(self.inputs) if storage != "bits" and access == "row"]
        head = [
            kernel,
            self.operands,
            len(self.inputs),
            self.scalars,
            _TYPES[self.results[0]][0] >> 11 & 31 if self.results else 0,  # bytes of an element
            any(storage == "bits" for storage, _ in every),
            rows[0] if rows else -1,  # what results are made like; `bound`: where it says where operands lie
            0,  # elements, and where the geometry begins, in words: see `bound`; `kept` has others here
            0,
            int(self.backwards),
            self.serial,
        ]
        for storage, access in every:
            # a stride is the model's times the last of the three; -1: not compared
            head += [*_TYPES[storage], -1 if storage == "bits" else int(access == "row")]
        return head


class Tensor(NamedTuple):
    """What a description says of a tensor"""

    storage: str
    shape: Shape
    strides: Shape


class Place(NamedTuple):
    """Where an operand lies: in which tensor, from which byte on. sums: it is as many sums, which are made in
    float64 before they become the tensor's, of any type but float16."""

    tensor: int
    start: int = 0
    sums: int = 0


def bound(
    form: Form, kernel: int, geometry: Sequence[int], elements: int, inputs: Sequence[Tensor],
    results: Sequence[Tensor], places: Sequence[Place] | None = None,
) -> list[int]:  # fmt: skip
    """The description of a kernel for tensors of some shapes and strides, and a geometry, which begins with the number
    of units. places: of the kernel's operands in the tensors; None: each is a tensor, results last."""
    tensors = [*inputs, *results]
    given, made = tuple((t.storage, "row") for t in inputs), tuple(t.storage for t in results)
    words = form._replace(operands=len(tensors), inputs=given, results=made).words(kernel)
    words[7] = elements
    _describe(words, [(t.shape, t.strides) for t in tensors])
    places = [Place(k) for k in range(len(tensors))] if places is None else places
    words[6] = len(words)
    words += [len(places), sum(p.sums for p in places)]
    for p in places:
        words += p
    words[8] = len(words) + 1  # behind the number of units
    return [*words, *geometry]


def kept(
    form: Form, kernel: int, tensors: Sequence[tuple[Shape, Shape]], size: int, most: int, addresses: Sequence[int],
    scalars: Sequence[float] = (),
) -> list[int]:  # fmt: skip
    """The description of a call that is the same every time but for its tensors, float32 and the first operands:
    their shapes and strides, the addresses of the other operands, and scalars. size: as `@call` has it; most: as many
    threads at most."""
    words = form._replace(inputs=(("float32", "row"),) * len(tensors)).words(kernel)
    words[5], words[7] = most, size
    _describe(words, tensors)
    words[8] = len(words)
    return [*words, *addresses, *struct.unpack(f"{len(scalars)}q", struct.pack(f"{len(scalars)}d", *scalars))]


def _describe(words: list[int], tensors: Sequence[tuple[Shape, Shape]]) -> None:
    """Writes shapes and strides behind a description"""
    for k, (shape, strides) in enumerate(tensors):
        words[_HEAD + _EACH * k + 2] = len(words)
        words += [len(shape), *shape, *strides]


def _runtime(*names: str) -> str:
    """Loads entries of the table as %rt.NAME"""
    lines = []
    for name in names:
        k = RUNTIME.index(name)
        lines += [
            f"  %rt.p.{k} = getelementptr ptr, ptr @runtime, i64 {k}",
            f"  %rt.{name} = load ptr, ptr %rt.p.{k}",
        ]
    return "\n".join(lines)


def _words(base: str, **places: int) -> str:
    """Loads words of a description or a call as %NAME"""
    lines = []
    for name, k in places.items():
        kind = "ptr" if name == "kernel" else "i64"
        lines += [
            f"  %{name}.p = getelementptr i64, ptr {base}, i64 {k}",
            f"  %{name} = load {kind}, ptr %{name}.p",
        ]
    return "\n".join(lines)


_DESCRIBED = f"""  %d = call ptr %rt.PyBytes_AsString(ptr %self)
{_words("%d", kernel=0, n=1, inputs=2, m=3, size=4, bits=5, rows=6, backwards=9, serial=10)}
  %operands.and.scalars = add i64 %n, %m
  %words = add i64 %operands.and.scalars, {_WORK}
  %work = alloca i64, i64 %words, align 16
  %w.kernel = getelementptr i64, ptr %work, i64 3
  store ptr %kernel, ptr %w.kernel
  %w.n = getelementptr i64, ptr %work, i64 4
  store i64 %n, ptr %w.n
  %w.backwards = getelementptr i64, ptr %work, i64 5
  store i64 %backwards, ptr %w.backwards
  %addresses = getelementptr i64, ptr %work, i64 {_WORK}
  %numbers = getelementptr i64, ptr %addresses, i64 %n"""


def _scalars(after: str, first: str, then: str) -> str:
    """Arguments `first`, `first` + 1, ... as the kernel's scalars"""
    return f"""
  br label %scalars
scalars:
  %s = phi i64 [ 0, %{after} ], [ %s.next, %scalar ]
  %s.more = icmp ult i64 %s, %m
  br i1 %s.more, label %scalar, label %{then}
scalar:
  %s.at = add i64 {first}, %s
  %s.arg.p = getelementptr ptr, ptr %args, i64 %s.at
  %s.arg = load ptr, ptr %s.arg.p
  %s.value = call double %rt.PyFloat_AsDouble(ptr %s.arg)
  %s.to = getelementptr double, ptr %numbers, i64 %s
  store double %s.value, ptr %s.to
  %s.next = add i64 %s, 1
  br label %scalars"""


#: @call(self, args, nargs): size, groups, threads, one address an operand, one float a scalar. size >= 0: one
#: contiguous row of that many elements; size < 0: -size is the address of a geometry. The units are cut into
#: `groups` (partial sums have one slot each), which `threads` threads share; with one thread the interpreter lock
#: is kept unless the work is long. threads = -(all + 65536 me) does the share of thread `me` of `all` alone, for a
#: thread pool of Python's.
_CALL = f"""
define ptr @call(ptr %self, ptr %args, i64 %nargs) #0 {{
entry:
{_runtime("PyBytes_AsString", "PyLong_AsVoidPtr", "PyLong_AsSsize_t", "PyFloat_AsDouble", "Py_IncRef", "_Py_NoneStruct")}
{_DESCRIBED}
  %size.arg = load ptr, ptr %args
  %length = call i64 %rt.PyLong_AsSsize_t(ptr %size.arg)
  %groups.arg.p = getelementptr ptr, ptr %args, i64 1
  %groups.arg = load ptr, ptr %groups.arg.p
  %groups = call i64 %rt.PyLong_AsSsize_t(ptr %groups.arg)
  %threads.arg.p = getelementptr ptr, ptr %args, i64 2
  %threads.arg = load ptr, ptr %threads.arg.p
  %threads = call i64 %rt.PyLong_AsSsize_t(ptr %threads.arg)
  br label %operands
operands:
  %k = phi i64 [ 0, %entry ], [ %k.next, %operand ]
  %k.more = icmp ult i64 %k, %n
  br i1 %k.more, label %operand, label %placed
operand:
  %k.at = add i64 %k, 3
  %arg.p = getelementptr ptr, ptr %args, i64 %k.at
  %arg = load ptr, ptr %arg.p
  %address = call ptr %rt.PyLong_AsVoidPtr(ptr %arg)
  %to = getelementptr i64, ptr %addresses, i64 %k
  store ptr %address, ptr %to
  %k.next = add i64 %k, 1
  br label %operands
placed:
  %first.scalar = add i64 %n, 3{_scalars("placed", "%first.scalar", "go")}
go:
  call void @run(ptr %work, i64 %length, i64 %groups, i64 %threads)
  call void %rt.Py_IncRef(ptr %rt._Py_NoneStruct)
  ret ptr %rt._Py_NoneStruct
}}
"""

#: @run: the kernel over one row or a geometry, by the threads that are asked for
_RUN = f"""
define internal void @run(ptr %work, i64 %size, i64 %groups, i64 %threads) #0 {{
entry:
  %flat = alloca [4 x i64], align 16
{_runtime("PyEval_SaveThread", "PyEval_RestoreThread", "GOMP_parallel")}
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
  %row = load i64, ptr %geometry ; its length
  %row.chunk = icmp ult i64 %row, {CHUNK}
  %unit.most = select i1 %row.chunk, i64 %row, i64 {CHUNK}
  %elements.most = mul i64 %units, %unit.most
  %brief = icmp ule i64 %elements.most, {SERIAL}
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
{_runtime("omp_get_thread_num", "omp_get_num_threads")}
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
{_words("%work", units=1, groups=2, kernel=3, n=4, backwards=5)}
  %operands = getelementptr i64, ptr %work, i64 {_WORK}
  %scalars = getelementptr i64, ptr %operands, i64 %n
  %from.end = icmp ne i64 %backwards, 0
{_words("%geometry", length=0, chunk=1)}
  %unit.1 = call i64 @llvm.umin.i64(i64 %length, i64 %chunk)
  %unit = call i64 @llvm.umax.i64(i64 %unit.1, i64 1)
  %stretch.1 = udiv i64 {_STRETCH}, %unit
  %stretch = add i64 %stretch.1, 1
  br label %head
head:
  %g = phi i64 [ %me, %entry ], [ %g.next, %through ]
  %more = icmp ult i64 %g, %groups
  br i1 %more, label %step, label %done
step:
  %a = mul i64 %g, %units
  %first = udiv i64 %a, %groups
  %g.one = add i64 %g, 1
  %b = mul i64 %g.one, %units
  %last = udiv i64 %b, %groups
  br label %part
part:
  %end = phi i64 [ %last, %step ], [ %begin, %part ]
  %left = sub i64 %end, %first
  %too.many = icmp ugt i64 %left, %stretch
  %cut = and i1 %too.many, %from.end
  %units.now = select i1 %cut, i64 %stretch, i64 %left
  %begin = sub i64 %end, %units.now
  call void %kernel(ptr %operands, ptr %scalars, ptr %geometry, i64 %g, i64 %begin, i64 %end)
  br i1 %cut, label %part, label %through
through:
  %g.next = add i64 %g, %all
  br label %head
done:
  ret void
}}
"""

#: a row like the model's, or bits, as many as it has elements
_LIKE_MODEL = f"""  %r.step.p = getelementptr i64, ptr %r.about, i64 {_HEAD + 2}
  %r.step = load i64, ptr %r.step.p
  %r.row = icmp sge i64 %r.step, 0
  %r.rank = select i1 %r.row, i64 %rank, i64 1
  %r.shape = select i1 %r.row, ptr %m.shape, ptr %bits.shape
  %r.strides = select i1 %r.row, ptr %m.strides, ptr %bits.stride"""

#: the shape and strides that the description gives
_LIKE_SAID = f"""  %r.said.p = getelementptr i64, ptr %r.about, i64 {_HEAD + 2}
  %r.said = load i64, ptr %r.said.p
  %r.rank.p = getelementptr i64, ptr %d, i64 %r.said
  %r.rank = load i64, ptr %r.rank.p
  %r.shape = getelementptr i64, ptr %r.rank.p, i64 1
  %r.strides = getelementptr i64, ptr %r.shape, i64 %r.rank"""

#: what is called for tensors
_FOR_TENSORS = (
    "PyBytes_AsString", "PyLong_AsSsize_t", "PyFloat_AsDouble", "PyTuple_New", "PyTuple_SetItem", "Py_IncRef",
    "Py_DecRef", "PyErr_Clear", "PyObject_CallNoArgs", "_Py_NoneStruct", "_Py_TrueStruct", "GOMP_parallel", "tensor_of",
    "threads_of", "new_tensor", "data_of", "free_tensor", "object_of", "madvise", "has_key", "is_negative",
    "place_of_tensor", *WATCHING,
)  # fmt: skip

_SETUP = f"""{_runtime(*_FOR_TENSORS)}
{_DESCRIBED}
  %seen.bytes = mul i64 %n, {_DLTENSOR}
  %seen = alloca i8, i64 %seen.bytes, align 16
  %handles = alloca ptr, i64 %n
  %handle = alloca ptr
  %bits.shape = alloca i64
  %bits.stride = alloca i64
  store i64 1, ptr %bits.stride
"""


def _unwatched(then: str) -> str:
    """Goes from block `quiet` to block `then` where nothing watches this thread's calls"""
    lines = []
    for k, key in enumerate(WATCHING):
        following = f"quiet.{k + 1}" if k + 1 < len(WATCHING) else then
        lines += [
            f"quiet.{k}:" if k else "quiet:",
            f"  %key.{k} = ptrtoint ptr %rt.{key} to i16",
            f"  %has.{k} = call zeroext i1 %rt.has_key(i16 zeroext %key.{k})",
            f"  br i1 %has.{k}, label %unsuited, label %{following}",
        ]
    return "\n".join(lines) + "\n"


def _look(start: str, fine: str) -> str:
    """Asks for the first %given tensors, from block `start` on; one of the kernel's types, and no view of the negative
    of another, goes on in block `fine`, which ends in block `found`."""
    return f"""look:
  %k = phi i64 [ 0, %{start} ], [ %k.next, %found ]
  %arg.p = getelementptr ptr, ptr %args, i64 %k
  %arg = load ptr, ptr %arg.p
  %t.at = mul i64 %k, {_DLTENSOR}
  %t = getelementptr i8, ptr %seen, i64 %t.at
  %failed = call i32 %rt.tensor_of(ptr %arg, ptr %t)
  %raised = icmp ne i32 %failed, 0
  br i1 %raised, label %error, label %seen.it
seen.it:
  %device.p = getelementptr i8, ptr %t, i64 8
  %device = load i32, ptr %device.p
  %type.p = getelementptr i8, ptr %t, i64 20
  %type.32 = load i32, ptr %type.p
  %type = zext i32 %type.32 to i64
  %k.words = mul i64 %k, {_EACH}
  %k.about = getelementptr i64, ptr %d, i64 %k.words
  %wanted.p = getelementptr i64, ptr %k.about, i64 {_HEAD}
  %wanted = load i64, ptr %wanted.p
  %data = load i64, ptr %t
  %offset.p = getelementptr i8, ptr %t, i64 40
  %offset = load i64, ptr %offset.p
  %address = add i64 %data, %offset
  %to = getelementptr i64, ptr %addresses, i64 %k
  store i64 %address, ptr %to
  %on.cpu = icmp eq i32 %device, 1
  %of.type = icmp eq i64 %type, %wanted
  %has.data = icmp ne i64 %data, 0
  %inside = ptrtoint ptr %rt.place_of_tensor to i64
  %held = getelementptr i8, ptr %arg, i64 %inside
  %negative = call zeroext i1 %rt.is_negative(ptr %held)
  %as.stored = xor i1 %negative, true
  %fine.1 = and i1 %on.cpu, %of.type
  %fine.2 = and i1 %fine.1, %as.stored
  %fine = and i1 %fine.2, %has.data
  br i1 %fine, label %{fine}, label %unsuited
found:
  %k.next = add i64 %k, 1
  %k.more = icmp ult i64 %k.next, %given
  br i1 %k.more, label %look, label %shapes
"""


def _finish(like: str, size: str, work: str = "%work", before: str = "", after: str = "") -> str:
    """From tensors that suit and scalars to what is returned. like: sets %r.rank, %r.shape and %r.strides of result
    %r; size and work: what @run takes; before and after: what is done around it."""
    return f"""hands:
  %small = icmp ult i64 %elements, %serial
  br i1 %small, label %results, label %ask
ask:
  %pool = icmp ne ptr %rt.GOMP_parallel, null
  br i1 %pool, label %ask.threads, label %poolless
poolless:
  %with.bits = icmp ne i64 %bits, 0
  br i1 %with.bits, label %results, label %unsuited
ask.threads:
  %answer = call ptr %rt.PyObject_CallNoArgs(ptr %rt.threads_of)
  %answered = icmp ne ptr %answer, null
  br i1 %answered, label %threads.known, label %error
threads.known:
  %asked = call i64 %rt.PyLong_AsSsize_t(ptr %answer)
  call void %rt.Py_DecRef(ptr %answer)
  br label %results
results:
  %threads = phi i64 [ 1, %hands ], [ 1, %poolless ], [ %asked, %threads.known ]
  br label %make
make:
  %r = phi i64 [ %given, %results ], [ %r.next, %made ]
  %r.more = icmp ult i64 %r, %n
  br i1 %r.more, label %new, label %pages
new:
  %r.words = mul i64 %r, {_EACH}
  %r.about = getelementptr i64, ptr %d, i64 %r.words
  %r.number.p = getelementptr i64, ptr %r.about, i64 {_HEAD + 1}
  %r.number = load i64, ptr %r.number.p
  %r.type = trunc i64 %r.number to i32
{like}
  %r.failed = call i32 %rt.new_tensor(i64 %r.rank, ptr %r.shape, ptr %r.strides, i32 %r.type, i32 0, i32 0, ptr %handle)
  %r.fine = icmp eq i32 %r.failed, 0
  br i1 %r.fine, label %made, label %unmake
made:
  %r.handle = load ptr, ptr %handle
  %r.to = getelementptr ptr, ptr %handles, i64 %r
  store ptr %r.handle, ptr %r.to
  %r.address = getelementptr i64, ptr %addresses, i64 %r
  %r.told = call i32 %rt.data_of(ptr %r.handle, ptr %r.address)
  %r.next = add i64 %r, 1
  br label %make
unmake:
  %u = phi i64 [ %given, %new ], [ %u.next, %free ]
  %u.more = icmp ult i64 %u, %r
  br i1 %u.more, label %free, label %unsuited
free:
  %u.p = getelementptr ptr, ptr %handles, i64 %u
  %u.handle = load ptr, ptr %u.p
  %u.freed = call i32 %rt.free_tensor(ptr %u.handle)
  %u.next = add i64 %u, 1
  br label %unmake
pages:
  %bytes = mul i64 %elements, %size
  %large = icmp uge i64 %bytes, {HUGE}
  %advisable = icmp ne ptr %rt.madvise, null
  %advised = and i1 %large, %advisable
  br i1 %advised, label %advise, label %go
advise:
  %a = phi i64 [ %inputs, %pages ], [ %a.next, %advise.next ]
  %a.to = getelementptr i64, ptr %addresses, i64 %a
  %a.address = load i64, ptr %a.to
  %a.words = mul i64 %a, {_EACH}
  %a.about = getelementptr i64, ptr %d, i64 %a.words
  %a.step.p = getelementptr i64, ptr %a.about, i64 {_HEAD + 2}
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
  %a.more = icmp ult i64 %a.next, %n
  br i1 %a.more, label %advise, label %go
go:
{before}  call void @run(ptr {work}, i64 {size}, i64 %threads, i64 %threads)
{after}  br i1 %makes, label %objects, label %true
true:
  call void %rt.Py_IncRef(ptr %rt._Py_TrueStruct)
  ret ptr %rt._Py_TrueStruct
objects:
  %results.count = sub i64 %n, %inputs
  %several = icmp ugt i64 %results.count, 1
  br i1 %several, label %tuple, label %object
tuple:
  %whole = call ptr %rt.PyTuple_New(i64 %results.count)
  br label %object
object:
  %b = phi i64 [ %inputs, %objects ], [ %inputs, %tuple ], [ %b.next, %kept ]
  %all = phi ptr [ null, %objects ], [ %whole, %tuple ], [ %all, %kept ]
  %b.p = getelementptr ptr, ptr %handles, i64 %b
  %b.handle = load ptr, ptr %b.p
  %b.object = call ptr %rt.object_of(ptr %b.handle)
  %b.freed = call i32 %rt.free_tensor(ptr %b.handle)
  %b.next = add i64 %b, 1
  br i1 %several, label %kept, label %alone
alone:
  ret ptr %b.object
kept:
  %b.place = sub i64 %b, %inputs
  %b.set = call i32 %rt.PyTuple_SetItem(ptr %all, i64 %b.place, ptr %b.object)
  %b.more = icmp ult i64 %b.next, %n
  br i1 %b.more, label %object, label %together
together:
  ret ptr %all
error:
  call void %rt.PyErr_Clear()
  br label %unsuited
unsuited:
  call void %rt.Py_IncRef(ptr %rt._Py_NoneStruct)
  ret ptr %rt._Py_NoneStruct
}}
"""


#: @on(self, args, nargs): the kernel on tensors and scalars. With results among the tensors, True where it ran;
#: without, the results, a tuple where there are several. None, with nothing done, where the tensors do not suit it.
#: Suited are tensors in the CPU's memory, of the kernel's types, of one shape, with the strides of the first
#: result, which must have no gaps; a "splat" has strides 0, and "bits", never the first result, are as long as they
#: must be. Nothing is suited while a dispatch mode, a transform or a tracer watches. Results are made like the first tensor, if it has no gaps. Where there is no pool of threads, many
#: elements are left to a caller that has one; but those with bits, which nothing else computes, are done on this thread.
_ON = f"""
define ptr @on(ptr %self, ptr %args, i64 %nargs) #0 {{
entry:
{_SETUP}  %exchange = icmp ne ptr %rt.tensor_of, null
  %takes.tensors = icmp ne i64 %inputs, 0
  %can = and i1 %exchange, %takes.tensors
  br i1 %can, label %quiet, label %unsuited
{_unwatched("arity")}arity:
  %without = add i64 %inputs, %m
  %makes = icmp eq i64 %nargs, %without
  %given = select i1 %makes, i64 %inputs, i64 %n
  %model = select i1 %makes, i64 %rows, i64 %inputs
  %maker = icmp ne ptr %rt.new_tensor, null
  %has.model = icmp sge i64 %model, 0
  %can.make = and i1 %maker, %has.model
  %makeable = and i1 %can.make, %makes
  %as.it.is = xor i1 %makes, true
  %with = add i64 %n, %m
  %has.results = icmp eq i64 %nargs, %with
  %whole.call = and i1 %has.results, %as.it.is
  %start = or i1 %makeable, %whole.call
  br i1 %start, label %look, label %unsuited
{_look("arity", "found")}shapes:
  %model.at = mul i64 %model, {_DLTENSOR}
  %like = getelementptr i8, ptr %seen, i64 %model.at
  %m.rank.p = getelementptr i8, ptr %like, i64 16
  %m.rank = load i32, ptr %m.rank.p
  %rank = zext i32 %m.rank to i64
  %m.shape.p = getelementptr i8, ptr %like, i64 24
  %m.shape = load ptr, ptr %m.shape.p
  %m.strides.p = getelementptr i8, ptr %like, i64 32
  %m.strides = load ptr, ptr %m.strides.p
  br label %count
count:
  %j = phi i64 [ 0, %shapes ], [ %j.next, %judged ]
  %elements = phi i64 [ 1, %shapes ], [ %elements.next, %judged ]
  %dense = phi i1 [ true, %shapes ], [ %dense.next, %judged ]
  %j.more = icmp ult i64 %j, %rank
  br i1 %j.more, label %times, label %counted
times:
  %extent.p = getelementptr i64, ptr %m.shape, i64 %j
  %extent = load i64, ptr %extent.p
  %pace.p = getelementptr i64, ptr %m.strides, i64 %j
  %pace = load i64, ptr %pace.p
  %elements.next = mul i64 %elements, %extent
  %j.next = add i64 %j, 1
  %only.one = icmp eq i64 %extent, 1
  %no.matter = or i1 %only.one, %as.it.is
  br i1 %no.matter, label %judged, label %below
below: ; a stride is the elements of all dimensions with smaller ones, and no two are equal
  %q = phi i64 [ 0, %times ], [ %q.next, %beside ]
  %step.due = phi i64 [ 1, %times ], [ %step.due.next, %beside ]
  %clash = phi i1 [ false, %times ], [ %clash.next, %beside ]
  %q.more = icmp ult i64 %q, %rank
  br i1 %q.more, label %beside, label %judge
beside:
  %q.extent.p = getelementptr i64, ptr %m.shape, i64 %q
  %q.extent = load i64, ptr %q.extent.p
  %q.pace.p = getelementptr i64, ptr %m.strides, i64 %q
  %q.pace = load i64, ptr %q.pace.p
  %q.less = icmp slt i64 %q.pace, %pace
  %q.factor = select i1 %q.less, i64 %q.extent, i64 1
  %step.due.next = mul i64 %step.due, %q.factor
  %q.equal = icmp eq i64 %q.pace, %pace
  %q.other = icmp ne i64 %q, %j
  %q.many = icmp ne i64 %q.extent, 1
  %q.both = and i1 %q.equal, %q.other
  %q.clash = and i1 %q.both, %q.many
  %clash.next = or i1 %clash, %q.clash
  %q.next = add i64 %q, 1
  br label %below
judge:
  %due = icmp eq i64 %pace, %step.due
  %alone.there = xor i1 %clash, true
  %fits = and i1 %due, %alone.there
  br label %judged
judged:
  %in.place = phi i1 [ true, %times ], [ %fits, %judge ]
  %dense.next = and i1 %dense, %in.place
  br label %count
counted:
  br i1 %dense, label %compare, label %unsuited
compare:
  %c = phi i64 [ 0, %counted ], [ %c.next, %alike ]
  %c.more = icmp ult i64 %c, %given
  br i1 %c.more, label %one, label %suited
one:
  %c.words = mul i64 %c, {_EACH}
  %c.about = getelementptr i64, ptr %d, i64 %c.words
  %step.p = getelementptr i64, ptr %c.about, i64 {_HEAD + 2}
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
  %in.units = add i64 %elements, 63
  %in.words = lshr i64 %in.units, 6
  %bits.bytes = shl i64 %in.words, 3
  store i64 %bits.bytes, ptr %bits.shape{_scalars("suited", "%given", "hands")}
{_finish(_LIKE_MODEL, "%elements")}"""

#: that a tensor has the shape and strides that the description gives
_CHECK = f"""check:
  %said.p = getelementptr i64, ptr %k.about, i64 {_HEAD + 2}
  %said = load i64, ptr %said.p
  %rank.p = getelementptr i64, ptr %d, i64 %said
  %rank = load i64, ptr %rank.p
  %shape = getelementptr i64, ptr %rank.p, i64 1
  %strides = getelementptr i64, ptr %shape, i64 %rank
  %t.rank.p = getelementptr i8, ptr %t, i64 16
  %t.rank.32 = load i32, ptr %t.rank.p
  %t.rank = zext i32 %t.rank.32 to i64
  %t.shape.p = getelementptr i8, ptr %t, i64 24
  %t.shape = load ptr, ptr %t.shape.p
  %t.strides.p = getelementptr i8, ptr %t, i64 32
  %t.strides = load ptr, ptr %t.strides.p
  %same.rank = icmp eq i64 %t.rank, %rank
  br i1 %same.rank, label %dimension, label %unsuited
dimension:
  %i = phi i64 [ 0, %check ], [ %i.next, %test ]
  %i.more = icmp ult i64 %i, %rank
  br i1 %i.more, label %test, label %found
test:
  %extent.p = getelementptr i64, ptr %shape, i64 %i
  %extent = load i64, ptr %extent.p
  %t.extent.p = getelementptr i64, ptr %t.shape, i64 %i
  %t.extent = load i64, ptr %t.extent.p
  %stride.p = getelementptr i64, ptr %strides, i64 %i
  %stride = load i64, ptr %stride.p
  %t.stride.p = getelementptr i64, ptr %t.strides, i64 %i
  %t.stride = load i64, ptr %t.stride.p
  %same.extent = icmp eq i64 %extent, %t.extent
  %same.stride = icmp eq i64 %stride, %t.stride
  %single = icmp eq i64 %extent, 1
  %any.stride = or i1 %same.stride, %single
  %same = and i1 %same.extent, %any.stride
  %i.next = add i64 %i, 1
  br i1 %same, label %dimension, label %unsuited
"""


def _place(word: str, k: int) -> str:
    """Loads a word of the place of operand %p as %p.NAME"""
    return f"""  %p.{word}.i = add i64 %p.row, {k}
  %p.{word}.p = getelementptr i64, ptr %table, i64 %p.{word}.i
  %p.{word} = load i64, ptr %p.{word}.p
"""


#: what @run takes where operands lie in tensors: places and scalars
_PLACES = f"""  %table = getelementptr i64, ptr %d, i64 %rows
  %p.count = load i64, ptr %table
  %sums.p = getelementptr i64, ptr %table, i64 1
  %sums = load i64, ptr %sums.p
  %p.words.0 = add i64 %p.count, %m
  %p.words = add i64 %p.words.0, {_WORK}
  %placed = alloca i64, i64 %p.words, align 16
  %totals = alloca double, i64 %sums, align 16
  %p.kernel.p = getelementptr i64, ptr %placed, i64 3
  store ptr %kernel, ptr %p.kernel.p
  %p.count.p = getelementptr i64, ptr %placed, i64 4
  store i64 %p.count, ptr %p.count.p
  %p.backwards.p = getelementptr i64, ptr %placed, i64 5
  store i64 %backwards, ptr %p.backwards.p
  %p.operands = getelementptr i64, ptr %placed, i64 {_WORK}
  %p.scalars = getelementptr i64, ptr %p.operands, i64 %p.count
  br label %zeros
zeros:
  %z = phi i64 [ 0, %go ], [ %z.next, %zero ]
  %z.more = icmp ult i64 %z, %sums
  br i1 %z.more, label %zero, label %copies
zero:
  %z.p = getelementptr double, ptr %totals, i64 %z
  store double 0.0, ptr %z.p
  %z.next = add i64 %z, 1
  br label %zeros
copies:
  %y = phi i64 [ 0, %zeros ], [ %y.next, %copy ]
  %y.more = icmp ult i64 %y, %m
  br i1 %y.more, label %copy, label %places
copy:
  %y.from = getelementptr i64, ptr %numbers, i64 %y
  %y.word = load i64, ptr %y.from
  %y.to = getelementptr i64, ptr %p.scalars, i64 %y
  store i64 %y.word, ptr %y.to
  %y.next = add i64 %y, 1
  br label %copies
places:
  %p = phi i64 [ 0, %copies ], [ %p.next, %place ]
  %p.row = phi i64 [ 2, %copies ], [ %p.row.next, %place ]
  %p.total = phi i64 [ 0, %copies ], [ %p.total.next, %place ]
  %p.more = icmp ult i64 %p, %p.count
  br i1 %p.more, label %place, label %ready
place:
{_place("tensor", 0)}{_place("start", 1)}{_place("sums", 2)}  %p.at = getelementptr i64, ptr %addresses, i64 %p.tensor
  %p.base = load i64, ptr %p.at
  %p.there = add i64 %p.base, %p.start
  %p.total.p = getelementptr double, ptr %totals, i64 %p.total
  %p.total.there = ptrtoint ptr %p.total.p to i64
  %p.summed = icmp ne i64 %p.sums, 0
  %p.address = select i1 %p.summed, i64 %p.total.there, i64 %p.there
  %p.to = getelementptr i64, ptr %p.operands, i64 %p
  store i64 %p.address, ptr %p.to
  %p.next = add i64 %p, 1
  %p.row.next = add i64 %p.row, 3
  %p.total.next = add i64 %p.total, %p.sums
  br label %places
ready:
"""

#: sums become the numbers of their tensors
_TOTALS = f"""  br label %owners
owners:
  %o = phi i64 [ 0, %ready ], [ %o.next, %owned ]
  %o.row = phi i64 [ 2, %ready ], [ %o.row.next, %owned ]
  %o.total = phi i64 [ 0, %ready ], [ %o.total.next, %owned ]
  %o.more = icmp ult i64 %o, %p.count
  br i1 %o.more, label %owner, label %settled
owner:
{_place("tensor", 0).replace("%p.", "%o.")}{_place("sums", 2).replace("%p.", "%o.")}  %o.at = getelementptr i64, ptr %addresses, i64 %o.tensor
  %o.base = load ptr, ptr %o.at
  %o.words = mul i64 %o.tensor, {_EACH}
  %o.about = getelementptr i64, ptr %d, i64 %o.words
  %o.number.p = getelementptr i64, ptr %o.about, i64 {_HEAD + 1}
  %o.number = load i64, ptr %o.number.p
  %o.wide = icmp eq i64 %o.number, {_TYPES["float64"][1]}
  %o.short = icmp eq i64 %o.number, {_TYPES["bfloat16"][1]}
  br label %every
every:
  %e = phi i64 [ 0, %owner ], [ %e.next, %sum.short ], [ %e.next, %sum.single ], [ %e.next, %sum.wide ]
  %e.more = icmp ult i64 %e, %o.sums
  br i1 %e.more, label %sum, label %owned
sum:
  %e.next = add i64 %e, 1
  %e.i = add i64 %o.total, %e
  %e.p = getelementptr double, ptr %totals, i64 %e.i
  %e.total = load double, ptr %e.p
  %e.single = fptrunc double %e.total to float
  br i1 %o.wide, label %sum.wide, label %sum.narrow
sum.wide:
  %e.double.p = getelementptr double, ptr %o.base, i64 %e
  store double %e.total, ptr %e.double.p
  br label %every
sum.narrow:
  br i1 %o.short, label %sum.short, label %sum.single
sum.short: ; to nearest even, as torch makes it of float32
  %e.bits = bitcast float %e.single to i32
  %e.high = lshr i32 %e.bits, 16
  %e.last = and i32 %e.high, 1
  %e.half = add i32 %e.last, 32767
  %e.up = add i32 %e.bits, %e.half
  %e.rounded = lshr i32 %e.up, 16
  %e.nan = fcmp uno double %e.total, %e.total
  %e.number = select i1 %e.nan, i32 32704, i32 %e.rounded
  %e.short = trunc i32 %e.number to i16
  %e.short.p = getelementptr i16, ptr %o.base, i64 %e
  store i16 %e.short, ptr %e.short.p
  br label %every
sum.single:
  %e.single.p = getelementptr float, ptr %o.base, i64 %e
  store float %e.single, ptr %e.single.p
  br label %every
owned:
  %o.next = add i64 %o, 1
  %o.row.next = add i64 %o.row, 3
  %o.total.next = add i64 %o.total, %o.sums
  br label %owners
settled:
"""

#: @bound(self, args, nargs): the kernel on tensors of the shapes and strides that its description gives, and scalars:
#: the results. None, with nothing done, for any others, and where `@on` declines for want of a pool.
_BOUND = f"""
define ptr @bound(ptr %self, ptr %args, i64 %nargs) #0 {{
entry:
{_SETUP}{_words("%d", elements=7, begin=8)}
  %given = add i64 %inputs, 0
  %makes = icmp eq i64 0, 0
  %exchange = icmp ne ptr %rt.tensor_of, null
  %maker = icmp ne ptr %rt.new_tensor, null
  %both = and i1 %exchange, %maker
  %expected = add i64 %inputs, %m
  %complete = icmp eq i64 %nargs, %expected
  %takes.tensors = icmp ne i64 %inputs, 0
  %fitting = and i1 %complete, %takes.tensors
  %can = and i1 %both, %fitting
  br i1 %can, label %quiet, label %unsuited
{_unwatched("plain")}plain:
  br label %look
{_look("plain", "check")}{_CHECK}shapes:
  %place.p = getelementptr i64, ptr %d, i64 %begin
  %place.address = ptrtoint ptr %place.p to i64
  %there = sub i64 0, %place.address{_scalars("shapes", "%given", "hands")}
{_finish(_LIKE_SAID, "%there", "%placed", _PLACES, _TOTALS)}"""

#: @kept(self, args, nargs): @call with everything but the tensors, the first operands, from the description: True where
#: it ran, None, with nothing done, for tensors that are not as it says, or where there is no pool for several threads.
_KEPT = f"""
define ptr @kept(ptr %self, ptr %args, i64 %nargs) #0 {{
entry:
{_SETUP}{_words("%d", length=7, begin=8, most=5)}
  %given = add i64 %inputs, 0
  %exchange = icmp ne ptr %rt.tensor_of, null
  %complete = icmp eq i64 %nargs, %inputs
  %can = and i1 %exchange, %complete
  br i1 %can, label %look, label %unsuited
{_look("entry", "check")}{_CHECK}shapes:
  %rest.p = getelementptr i64, ptr %d, i64 %begin
  br label %rest
rest:
  %r = phi i64 [ %inputs, %shapes ], [ %r.next, %copy ]
  %r.more = icmp ult i64 %r, %operands.and.scalars
  br i1 %r.more, label %copy, label %hands
copy:
  %r.at = sub i64 %r, %inputs
  %r.p = getelementptr i64, ptr %rest.p, i64 %r.at
  %r.word = load i64, ptr %r.p
  %r.to = getelementptr i64, ptr %addresses, i64 %r
  store i64 %r.word, ptr %r.to
  %r.next = add i64 %r, 1
  br label %rest
hands:
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
  %at.most = select i1 %fewer, i64 %asked, i64 %most
  br label %go
go:
  %threads = phi i64 [ 1, %hands ], [ %at.most, %known ]
  call void @run(ptr %work, i64 %length, i64 %threads, i64 %threads)
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

#: the module that all kernels are called through
TEXT = f"""@runtime = external global [{len(RUNTIME)} x ptr]
{_CALL}{_RUN}{_ON}{_BOUND}{_KEPT}
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
attributes #0 = {{ nounwind "no-frame-pointer-elim"="false" }}
"""

"""The CPU backend: a `Kernel` is spelled as LLVM IR, in explicit vectors.

One function a kernel, `@kernel(operands, scalars, geometry, slot, first, last)`; how Python calls it is the same
for all (`entry.py`). The iteration space is a set of rows (all dimensions but the innermost)
cut into chunks; a *unit* is one chunk of one row. `geometry` describes it at run time (see
`Geometry`), so one kernel serves every shape; only how an operand moves along a row (`Access`) is
compiled in.

The loop body is emitted once. What is left of a row after its whole vectors waits in a buffer on the stack, in
pieces, for what is left of the next rows, until that same body does a vector of them; where a row's elements
are summed or share a number, no other row's join them. So every element gets the same treatment, there is no
scalar loop, and rows narrower than a vector do not leave most of it empty.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from softknee.kernels.entry import Form
from softknee.kernels.program import PICKED, Instruction, Program, Value

__all__ = ["SPELLING", "Finer", "Kernel", "Operand", "Scalar", "Shortcut", "to_llvm"]

#: "bits": truth values, eight a byte, read as 0 or 1 and written where a result is not 0; always a
#: whole number of vectors long, in one contiguous row
Storage = Literal["float32", "float64", "float16", "bfloat16", "bits"]
#: how an operand moves along a row: element by element, not at all ("each": in rows so short that a
#: vector takes several), or (an output) summed along
#: the row into one element, or summed over the rows into a row; "sum": the GPU's, which has no rows
Access = Literal["row", "splat", "each", "sum_row", "sum_rows", "sum"]

SIZE = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "bits": 0}
MEMORY = {"float32": "float", "float64": "double", "float16": "half", "bfloat16": "i16"}
LLVM = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "bool": "i1"}
#: elements that are computed again together
_GROUP = 8
#: instructions, no gathers among them, that half as wide registers do as soon: the time goes into memory
LIGHT = 30
#: what is left of rows is put together to a vector; such a part of one is copied at once
PIECES = 4


@dataclass(frozen=True)
class Operand:
    """A tensor that a kernel reads (or writes, as an output).

    turns: it is every turns-th element of a row, from the `turn`-th on; its address is the row's. Outputs in
    turns (of two) share an address, and are written together."""

    storage: Storage
    access: Access = "row"
    turns: int = 1
    turn: int = 0


@dataclass(frozen=True)
class Scalar:
    """A number given at the call, as float64."""


@dataclass(frozen=True)
class Shortcut:
    """A program with the same inputs whose results stand where the condition holds."""

    program: Program
    condition: Value
    results: tuple[Value, ...]


@dataclass(frozen=True)
class Finer:
    """A program with the same inputs whose results, by their place, stand where the kernel's own may not be good
    enough: where a condition of the kernel's program holds; or without one, and then they are rounded to odd, beside the
    middle of two 16-bit numbers.

    error: the largest relative one of the kernel's own results: float64 arithmetic makes 2^-42, and 2^-32 of terms
    that cancel to a thousandth."""

    program: Program
    results: dict[int, Value]
    condition: Value | None = None
    error: float = 0.0

    @property
    def inputs(self) -> list[int]:
        return sorted({i.payload for _, i in self.program if i.op == "input"})  # type: ignore[misc]

    @property
    def kind(self) -> str:
        """The type in which its results take the place of others"""
        return "f32" if self.condition is None else "f64"


@dataclass(frozen=True)
class Kernel:
    """What is compiled: a program, where its inputs come from and where its results go.

    inputs[k] is what the program's `input(k)` reads; results are (value, operand) pairs. Summed
    outputs are float64 partial sums, one slot a group of units.
    """

    program: Program
    inputs: tuple[Operand | Scalar, ...]
    results: tuple[tuple[Value, Operand], ...]
    lanes: int = 16
    header: str = ""
    shortcut: Shortcut | None = None
    finer: Finer | None = None
    #: results, by their place, that are bfloat16 numbers already: there is nothing to round
    exact: frozenset[int] = frozenset()

    @property
    def operands(self) -> list[Operand]:
        return [i for i in self.inputs if isinstance(i, Operand)] + [o for _, o in self.results]

    @property
    def scalars(self) -> int:
        return sum(isinstance(i, Scalar) for i in self.inputs)


def form_of(inputs: Sequence[Operand | Scalar], results: Sequence[Operand]) -> Form:
    """How a kernel is called: with tensors, too, where nothing is summed and the first result is one's elements"""
    given = [i for i in inputs if isinstance(i, Operand)]
    every = [*given, *results]
    count = len(every), len(inputs) - len(given)
    if results[0].storage == "bits" or any(o.access not in ("row", "splat") or o.turns > 1 for o in every):
        return Form(*count)
    return Form(*count, tuple((i.storage, i.access) for i in given), tuple(o.storage for o in results))


def _moves(operand: Operand) -> bool:
    """Whether it is read or written element by element along a row"""
    return operand.access in ("row", "sum_rows")


def _waits(operand: Operand) -> bool:
    """Whether vectors of it are put together of pieces"""
    return operand.storage != "bits" and (_moves(operand) or operand.access == "each")


class _Text:
    """Lines of one function, with fresh names."""

    def __init__(self, lanes: int, features: frozenset[str]) -> None:
        self.lanes = lanes
        self.features = features
        self.lines: list[str] = []
        self.globals: dict[str, str] = {}
        self.declared: set[str] = set()
        self._count = 0
        self._reciprocals: dict[tuple[str, str], str] = {}

    def fresh(self, hint: str = "t") -> str:
        self._count += 1
        return f"%{hint}.{self._count}"

    def put(self, text: str, hint: str = "t") -> str:
        name = self.fresh(hint)
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def vector(self, kind: str) -> str:
        return f"<{self.lanes} x {LLVM.get(kind, kind)}>"

    def intrinsic(self, name: str, kind: str, *args: str) -> str:
        """A call of an LLVM intrinsic whose operands and result are of one vector type."""
        v = self.vector(kind)
        full = f"@llvm.{name}.v{self.lanes}{kind}"
        self.declared.add(f"declare {v} {full}({', '.join([v] * len(args))})")
        return self.put(f"call {v} {full}({', '.join(f'{v} {a}' for a in args)})")

    def const(self, number: float | int, kind: str) -> str:
        return f"splat ({LLVM[kind]} {literal(number, kind)})"


def literal(number: float | int, kind: str) -> str:
    if kind in ("i32", "i64"):
        return str(number)
    if kind == "f32" and number == number and abs(number) != float("inf"):
        number = struct.unpack("f", struct.pack("f", number))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


Speller = Callable[[_Text, Instruction, list[str]], str]


def _binary(opcode: str) -> Speller:
    return lambda t, i, a: t.put(f"{opcode} {t.vector(i.args[0].type)} {a[0]}, {a[1]}")


def _call(name: str) -> Speller:
    return lambda t, i, a: t.intrinsic(name, i.type, *a)


def _compare(code: str) -> Speller:
    return lambda t, i, a: t.put(f"fcmp {code} {t.vector(i.args[0].type)} {a[0]}, {a[1]}")


def _cast(opcode: str) -> Speller:
    return lambda t, i, a: t.put(f"{opcode} {t.vector(i.args[0].type)} {a[0]} to {t.vector(i.type)}")


def _floor(t: _Text, i: Instruction, a: list[str]) -> str:
    if _wide_registers(t) and i.type == "i32":
        down = ("<16 x i32>", "zeroinitializer"), ("i16", "-1"), ("i32", "9")
        return _registers(t, "mask.cvtps2dq.512", "i32", (a[0], "f32"), *down)
    kind = i.args[0].type
    return t.put(f"fptosi {t.vector(kind)} {t.intrinsic('floor', kind, a[0])} to {t.vector(i.type)}")


def _select(t: _Text, i: Instruction, a: list[str]) -> str:
    v = t.vector(i.type)
    return t.put(f"select {t.vector('bool')} {a[0]}, {v} {a[1]}, {v} {a[2]}")


def _not(t: _Text, i: Instruction, a: list[str]) -> str:
    return t.put(f"xor {t.vector('bool')} {a[0]}, splat (i1 true)")


def _quotient(t: _Text, i: Instruction, a: list[str]) -> str:
    """a/b by the machine's reciprocal estimate (14 bits), refined; else a true division."""
    if "avx512f" not in t.features or t.lanes % (8 if i.type == "f64" else 16):
        return t.put(f"fdiv {t.vector(i.type)} {a[0]}, {a[1]}")
    one, v = t.const(1.0, i.type), t.vector(i.type)
    minus = t.put(f"fneg {v} {a[1]}")
    key = (i.type, a[1])
    if key not in t._reciprocals:
        r = _estimate(t, i.type, a[1])
        if i.type == "f64":  # one Newton step: 14 bits -> 28
            r = t.intrinsic("fma", i.type, t.intrinsic("fma", i.type, minus, r, one), r, r)
        t._reciprocals[key] = r
    r = t._reciprocals[key]
    q = t.put(f"fmul {v} {a[0]}, {r}")
    rest = t.intrinsic("fma", i.type, minus, q, a[0])
    return t.intrinsic("fma", i.type, rest, r, q)


def _estimate(t: _Text, kind: str, value: str) -> str:
    """The reciprocal to 14 bits"""
    register, mask = ("<8 x double>", "i8") if kind == "f64" else ("<16 x float>", "i16")
    name = f"rcp14.{'pd' if kind == 'f64' else 'ps'}.512"
    return _registers(t, name, kind, (value, kind), (register, "zeroinitializer"), (mask, "-1"))


def _registers(t: _Text, name: str, kind: str, *arguments: tuple[str, str]) -> str:
    """An AVX-512 intrinsic on vectors of any length, register by register. An argument is (a vector,
    the kind of its elements), or (a type, a text) that is the same for every register."""
    width = 8 if "f64" in (kind, *(second for _, second in arguments)) else 16
    result = f"<{width} x {LLVM[kind]}>"
    full = f"@llvm.x86.avx512.{name}"
    parts = []
    for start in range(0, t.lanes, width):
        given = []
        for first, second in arguments:
            if second in LLVM:
                v = t.vector(second)
                part = _shuffle(t, first, v, first, range(start, start + width))
                given.append((f"<{width} x {LLVM[second]}>", part))
            else:
                given.append((first, second))
        t.declared.add(f"declare {result} {full}({', '.join(type_ for type_, _ in given)})")
        parts.append(t.put(f"call {result} {full}({', '.join(f'{a} {b}' for a, b in given)})"))
    size = width
    while len(parts) > 1:
        joined = f"<{size} x {LLVM[kind]}>"
        parts = [
            _shuffle(t, p, joined, q, range(2 * size)) for p, q in zip(parts[::2], parts[1::2], strict=True)
        ]
        size *= 2
    return parts[0]


def _wide_registers(t: _Text) -> bool:
    """Whether a vector of 32-bit elements fills AVX-512 registers."""
    return "avx512f" in t.features and t.lanes % 16 == 0


def _pick(t: _Text, i: Instruction, a: list[str]) -> str:
    """Two registers hold the table; elsewhere it lies in memory."""
    table: tuple[float, ...] = i.payload  # type: ignore[assignment]
    if _wide_registers(t):
        low, high = (
            "<" + ", ".join(f"float {literal(x, 'f32')}" for x in half) + ">"
            for half in (table[:16], table[16:])
        )
        register = "<16 x float>"
        return _registers(t, "vpermi2var.ps.512", "f32", (register, low), (a[0], "i32"), (register, high))
    index = t.put(f"and {t.vector('i32')} {a[0]}, splat (i32 {PICKED - 1})")
    return _gathered(t, _numbers(t, table, "f32"), "f32", index, "i32")


def _scale(t: _Text, i: Instruction, a: list[str]) -> str:
    if _wide_registers(t):
        none, all_, here = ("<16 x float>", "zeroinitializer"), ("i16", "-1"), ("i32", "4")
        return _registers(t, "mask.scalef.ps.512", "f32", (a[0], "f32"), (a[1], "f32"), none, all_, here)
    # Three powers of two: only the last product can be inexact.
    f32, i32, b = t.vector("f32"), t.vector("i32"), t.vector("bool")
    n = t.intrinsic("floor", "f32", a[1])
    for order, limit in (("ogt", -378.0), ("olt", 378.0)):  # NaN becomes a limit: it must not be converted
        c = t.const(limit, "f32")
        n = t.put(f"select {b} {t.put(f'fcmp {order} {f32} {n}, {c}')}, {f32} {n}, {f32} {c}")
    whole = t.put(f"fptosi {f32} {n} to {i32}")
    third = t.put(f"sdiv {i32} {whole}, splat (i32 3)")
    rest = t.put(f"sub {i32} {whole}, {t.put(f'shl {i32} {third}, splat (i32 1)')}")
    value = a[0]
    for part in (third, third, rest):
        field = t.put(f"shl {i32} {t.put(f'add {i32} {part}, splat (i32 127)')}, splat (i32 23)")
        value = t.put(f"fmul {f32} {value}, {t.put(f'bitcast {i32} {field} to {f32}')}")
    return value


def _shuffle(t: _Text, a: str, kind: str, b: str, lanes: Sequence[int] | range) -> str:
    mask = ", ".join(f"i32 {k}" for k in lanes)
    return t.put(f"shufflevector {kind} {a}, {kind} {b}, <{len(lanes)} x i32> <{mask}>")


def _gathered(t: _Text, table: str, kind: str, index: str, index_kind: str) -> str:
    """Elements of a table in memory"""
    pointers = t.put(f"getelementptr {LLVM[kind]}, ptr {table}, {t.vector(index_kind)} {index}")
    v, p, m = t.vector(kind), f"<{t.lanes} x ptr>", t.vector("bool")
    full = f"@llvm.masked.gather.v{t.lanes}{kind}.v{t.lanes}p0"
    t.declared.add(f"declare {v} {full}({p}, {m}, {v})")
    size = 8 if kind == "f64" else 4
    return t.put(f"call {v} {full}({p} align {size} {pointers}, {m} splat (i1 true), {v} zeroinitializer)")


def _numbers(t: _Text, table: tuple[float, ...], kind: str) -> str:
    """The name of a constant array"""
    name = f"@table.{kind}.{abs(hash(table)):x}"
    values = ", ".join(f"{LLVM[kind]} {literal(x, kind)}" for x in table)
    t.globals[name] = (
        f"{name} = private unnamed_addr constant [{len(table)} x {LLVM[kind]}] [{values}], align 64"
    )
    return name


def _gather(t: _Text, i: Instruction, a: list[str]) -> str:
    return _gathered(t, _numbers(t, i.payload, "f64"), "f64", a[0], "i64")  # type: ignore[arg-type]


def _lookup(t: _Text, i: Instruction, a: list[str]) -> str:
    return _look_up(t, i.payload, a[0])  # type: ignore[arg-type]


def _look_up(t: _Text, table: bytes, index: str) -> str:
    name = f"@lookup.{zlib.crc32(table):x}"
    text = "\\" + table.hex("\\")
    t.globals[name] = f'{name} = private unnamed_addr constant [{len(table)} x i8] c"{text}", align 64'
    return _gathered(t, name, "f32", index, "i32")


def _mend(t: _Text, i: Instruction, a: list[str]) -> str:
    """A vector that meets none of the numbers goes by the table."""
    payload: tuple[int, int, bytes] = i.payload  # type: ignore[assignment]
    first, count, table = payload
    v, whole, b = t.vector("f32"), t.vector("i32"), t.vector("bool")
    size = t.put(f"and {whole} {a[1]}, splat (i32 32767)")
    place = t.put(f"sub {whole} {size}, splat (i32 {first})")
    among = t.put(f"icmp ult {whole} {place}, splat (i32 {count})")
    word = t.put(f"bitcast {b} {among} to i{t.lanes}")
    some = t.put(f"icmp ne i{t.lanes} {word}, 0")
    here, mend, then = (t.fresh(name)[1:] for name in ("plain", "mend", "mended"))
    t.do(f"br label %{here}")
    t.label(here)
    t.do(f"br i1 {some}, label %{mend}, label %{then}")
    t.label(mend)
    entries = _look_up(t, table, a[1])
    right = t.put(f"select {b} {among}, {v} {entries}, {v} {a[0]}")
    t.do(f"br label %{then}")
    t.label(then)
    return t.put(f"phi {v} [ {a[0]}, %{here} ], [ {right}, %{mend} ]")


#: how each operation of a Program is written in LLVM IR
SPELLING: dict[str, Speller] = {
    "add": _binary("fadd"), "sub": _binary("fsub"), "mul": _binary("fmul"), "div": _binary("fdiv"),
    "quotient": _quotient, "fma": _call("fma"),
    "neg": lambda t, i, a: t.put(f"fneg {t.vector(i.type)} {a[0]}"),
    "abs": _call("fabs"), "sqrt": _call("sqrt"), "rint": _call("rint"), "copysign": _call("copysign"),
    "lt": _compare("olt"), "le": _compare("ole"), "gt": _compare("ogt"), "ge": _compare("oge"),
    "eq": _compare("oeq"), "ne": _compare("une"), "and": _binary("and"), "or": _binary("or"),
    "not": _not, "select": _select, "bits": _cast("bitcast"), "from_bits": _cast("bitcast"),
    "iadd": _binary("add"), "isub": _binary("sub"), "iand": _binary("and"), "ior": _binary("or"),
    "ixor": _binary("xor"), "ishl": _binary("shl"), "ilshr": _binary("lshr"), "iashr": _binary("ashr"),
    "to_int": _cast("fptosi"), "floor": _floor, "to_float": _cast("sitofp"), "widen": _cast("fpext"),
    "narrow": _cast("fptrunc"), "gather": _gather, "lookup": _lookup, "mend": _mend, "pick": _pick, "scale": _scale,
}  # fmt: skip


def _load(t: _Text, storage: Storage, pointer: str, kind: str, turns: int = 1, turn: int = 0) -> str:
    """A vector from memory, widened to the type it is computed in. Exact."""
    if storage == "bits":
        word = t.put(f"load i{t.lanes}, ptr {pointer}, align 1")
        mask = t.put(f"bitcast i{t.lanes} {word} to {t.vector('bool')}")
        one, zero = (f"{t.vector(kind)} {t.const(x, kind)}" for x in (1.0, 0.0))
        return t.put(f"select {t.vector('bool')} {mask}, {one}, {zero}")
    memory = f"<{t.lanes * turns} x {MEMORY[storage]}>"
    raw = t.put(f"load {memory}, ptr {pointer}, align {SIZE[storage]}")
    if turns > 1:
        raw = _shuffle(t, raw, memory, raw, range(turn, t.lanes * turns, turns))
    return _widen(t, storage, raw, kind, t.vector)


def _widen(t: _Text, storage: Storage, raw: str, kind: str, shaped: Callable[[str], str]) -> str:
    if kind == "i32":  # the bits of a 16-bit number
        if storage == "float16":
            raw = t.put(f"bitcast {shaped('half')} {raw} to {shaped('i16')}")
        return t.put(f"zext {shaped('i16')} {raw} to {shaped('i32')}")
    if storage == "bfloat16":
        wide = t.put(f"zext {shaped('i16')} {raw} to {shaped('i32')}")
        sixteen = "splat (i32 16)" if shaped("i32").startswith("<") else "16"
        high = t.put(f"shl {shaped('i32')} {wide}, {sixteen}")
        raw = t.put(f"bitcast {shaped('i32')} {high} to {shaped('f32')}")
    elif storage == "float16":
        raw = t.put(f"fpext {shaped('half')} {raw} to {shaped('f32')}")
    if storage != "float64" and kind == "f64":
        raw = t.put(f"fpext {shaped('f32')} {raw} to {shaped('f64')}")
    return raw


def _store(t: _Text, storage: Storage, pointer: str, value: str, kind: str, exact: bool) -> None:
    """Rounds once to the storage type, to nearest even, and stores."""
    if storage == "bits":
        mask = t.put(f"fcmp une {t.vector(kind)} {value}, zeroinitializer")
        word = t.put(f"bitcast {t.vector('bool')} {mask} to i{t.lanes}")
        t.do(f"store i{t.lanes} {word}, ptr {pointer}, align 1")
        return
    value = _rounded(t, storage, value, kind, exact)
    t.do(f"store {t.vector(MEMORY[storage])} {value}, ptr {pointer}, align {SIZE[storage]}")


def _store_turns(t: _Text, storage: Storage, pointer: str, values: dict[int, str]) -> None:
    """Two vectors, element by element in turns"""
    places = [k // 2 + t.lanes * (k % 2) for k in range(2 * t.lanes)]
    joined = _shuffle(t, values[0], t.vector(MEMORY[storage]), values[1], places)
    t.do(f"store <{2 * t.lanes} x {MEMORY[storage]}> {joined}, ptr {pointer}, align {SIZE[storage]}")


def _rounded(t: _Text, storage: Storage, value: str, kind: str, exact: bool = False) -> str:
    """Rounded once to the storage type, to nearest even. exact: it is a number of that type."""
    if storage == "float32" and kind == "f64":
        value = t.put(f"fptrunc {t.vector('f64')} {value} to {t.vector('f32')}")
    elif storage in ("float16", "bfloat16"):
        if kind == "f64":
            value = _to_odd(t, value)
        if storage == "float16":
            value = t.put(f"fptrunc {t.vector('f32')} {value} to {t.vector('half')}")
        else:
            value = _upper_half(t, value) if exact else _to_bfloat16(t, value)
    return value


def _upper_half(t: _Text, value: str) -> str:
    f32, i32, i16 = t.vector("f32"), t.vector("i32"), t.vector("i16")
    bits = t.put(f"lshr {i32} {t.put(f'bitcast {f32} {value} to {i32}')}, splat (i32 16)")
    return t.put(f"trunc {i32} {bits} to {i16}")


def _to_odd(t: _Text, value: str) -> str:
    """float64 -> float32 rounded to odd, so that a second rounding to 16 bits is right.

    (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums".)
    """
    f64, f32, i32, b = t.vector("f64"), t.vector("f32"), t.vector("i32"), t.vector("bool")
    if "avx512f" in t.features and t.lanes % 8 == 0:  # there a conversion can round toward 0
        none, all_, toward_zero = ("<8 x float>", "zeroinitializer"), ("i8", "-1"), ("i32", "11")
        cut = _registers(t, "mask.cvtpd2ps.512", "f32", (value, "f64"), none, all_, toward_zero)
        back = t.put(f"fpext {f32} {cut} to {f64}")
        bits = t.put(f"bitcast {f32} {cut} to {i32}")
    else:
        near = t.put(f"fptrunc {f64} {value} to {f32}")
        back = t.put(f"fpext {f32} {near} to {f64}")
        sizes = t.intrinsic("fabs", "f64", back), t.intrinsic("fabs", "f64", value)
        above = t.put(f"fcmp ogt {f64} {sizes[0]}, {sizes[1]}")
        bits = t.put(f"bitcast {f32} {near} to {i32}")
        bits = t.put(f"sub {i32} {bits}, {t.put(f'zext {b} {above} to {i32}')}")
    inexact = t.put(f"fcmp one {f64} {back}, {value}")
    odd = t.put(f"or {i32} {bits}, {t.put(f'zext {b} {inexact} to {i32}')}")
    return t.put(f"bitcast {i32} {odd} to {f32}")


def _to_bfloat16(t: _Text, value: str) -> str:
    f32, i32, i16, b = t.vector("f32"), t.vector("i32"), t.vector("i16"), t.vector("bool")
    bits = t.put(f"bitcast {f32} {value} to {i32}")
    last = t.put(f"and {i32} {t.put(f'lshr {i32} {bits}, splat (i32 16)')}, splat (i32 1)")
    up = t.put(f"add {i32} {t.put(f'add {i32} {bits}, splat (i32 32767)')}, {last}")
    nan = t.put(f"fcmp uno {f32} {value}, {value}")
    quiet = t.put(f"or {i32} {bits}, splat (i32 4194304)")
    chosen = t.put(f"select {b} {nan}, {i32} {quiet}, {i32} {up}")
    return t.put(f"trunc {i32} {t.put(f'lshr {i32} {chosen}, splat (i32 16)')} to {i16}")


Given = Callable[[int, str], str]


def _body(t: _Text, program: Program, given: Given) -> dict[Value, str]:
    """Every instruction of the program, in order; returns the name of each value. given: input(place, type)"""
    names: dict[Value, str] = {}
    t._reciprocals.clear()  # another block's
    for value, instruction in program:
        if instruction.op == "const":
            names[value] = t.const(instruction.payload, value.type)  # type: ignore[arg-type]
        elif instruction.op == "input":
            names[value] = given(instruction.payload, value.type)  # type: ignore[arg-type]
        else:
            spell = SPELLING[instruction.op]
            names[value] = spell(t, instruction, [names[a] for a in instruction.args])
    return names


def _either(t: _Text, kernel: Kernel, short: Shortcut, given: Given) -> list[str]:
    """The results, all float32, by the shortcut where its condition holds. What an element gives does not
    depend on its neighbours; that the others are computed at all does."""
    v, b = t.vector("f32"), t.vector("bool")
    names = _body(t, short.program, given)
    found, condition = [names[value] for value in short.results], names[short.condition]
    word = t.put(f"bitcast {b} {condition} to i{t.lanes}")
    everywhere = t.put(f"icmp eq i{t.lanes} {word}, -1")
    t.do("br label %shortcut")
    t.label("shortcut")
    t.do(f"br i1 {everywhere}, label %either, label %usual")
    t.label("usual")
    names = _body(t, kernel.program, given)
    decided = _decided(t, kernel, kernel.finer, names, given) if kernel.finer else {}
    results = [decided.get(k) or (names[value], value.type) for k, (value, _) in enumerate(kernel.results)]
    usual = [_rounded(t, "float32", *result) for result in results]  # 0 stays 0
    right = [t.put(f"select {b} {condition}, {v} {x}, {v} {y}") for x, y in zip(found, usual, strict=True)]
    t.do("br label %either")
    t.label("either")
    last = "decided" if decided else "usual"
    return [t.put(f"phi {v} [ {x}, %shortcut ], [ {y}, %{last} ]") for x, y in zip(found, right, strict=True)]


def _decided(
    t: _Text, kernel: Kernel, finer: Finer, names: dict[Value, str], given: Given
) -> dict[int, tuple[str, str]]:
    """The results that `finer` has too. 16-bit ones become float32 numbers, to be rounded again: that is right but beside
    a middle. Few vectors have such a number, and next to none one so near that float64 could be on the wrong side."""
    b, word, results = (
        t.vector("bool"),
        f"i{t.lanes}",
        {k: names[kernel.results[k][0]] for k in finer.results},
    )
    kind, v, f64 = LLVM[finer.kind], t.vector(finer.kind), t.vector("f64")
    if finer.condition is not None:
        t.do("br label %plain")
        t.label("plain")
        best, ways = results, {k: [f"[ {value}, %plain ]"] for k, value in results.items()}
        unsure = dict.fromkeys(results, names[finer.condition])
    else:
        storage: dict[int, Storage] = {k: kernel.results[k][1].storage for k in results}
        plain = {k: t.put(f"fptrunc {f64} {value} to {v}") for k, value in results.items()}
        near = _word(t, [_beside_a_middle(t, s, plain[k], finer.error) for k, s in storage.items()])
        t.do("br label %plain")
        t.label("plain")
        t.do(f"br i1 {t.put(f'icmp ne {word} {near}, 0')}, label %near, label %decided, !prof !0")
        t.label("near")
        best, unsure = {}, {}
        for k, s in storage.items():
            best[k] = _to_odd(t, results[k])
            ends = [
                t.put(f"fmul {f64} {results[k]}, {t.const(1 + e, 'f64')}")
                for e in (finer.error, -finer.error)
            ]
            up, down = (_rounded(t, s, end, "f64") for end in ends)
            unsure[k] = t.put(
                f"{'fcmp one' if s == 'float16' else 'icmp ne'} {t.vector(MEMORY[s])} {up}, {down}"
            )
        ways = {k: [f"[ {plain[k]}, %plain ]", f"[ {best[k]}, %near ]"] for k in results}
    groups = _word(t, list(unsure.values()))
    t.do(f"br i1 {t.put(f'icmp ne {word} {groups}, 0')}, label %finer, label %decided, !prof !0")
    t.label("finer")
    for k in finer.inputs:
        t.do(f"store {f64} {given(k, 'f64')}, ptr %given.{k}")
    t.do("br label %finer.head")
    t.label("finer.head")
    t.do(f"%finer.at = phi {word} [ 0, %finer ], [ %finer.next, %finer.step ]")
    t.do(f"%finer.more = icmp ult {word} %finer.at, {t.lanes}")
    t.do("br i1 %finer.more, label %finer.group, label %finer.end")
    t.label("finer.group")
    group = t.put(f"trunc {word} {t.put(f'lshr {word} {groups}, %finer.at')} to i{_GROUP}")
    t.do(f"br i1 {t.put(f'icmp ne i{_GROUP} {group}, 0')}, label %finer.call, label %finer.step")
    t.label("finer.call")
    places = [f"getelementptr double, ptr %given.{k}, {word} %finer.at" for k in finer.inputs]
    places += [f"getelementptr {kind}, ptr %again.{k}, {word} %finer.at" for k in results]
    t.do(f"call void @finer({', '.join(f'ptr {t.put(place)}' for place in places)})")
    t.do("br label %finer.step")
    t.label("finer.step")
    t.do(f"%finer.next = add {word} %finer.at, {_GROUP}")
    t.do("br label %finer.head")
    t.label("finer.end")
    for k, value in best.items():
        again, chosen = t.put(f"load {v}, ptr %again.{k}"), unsure[k]
        if finer.condition is not None:  # what it does not know is NaN
            chosen = t.put(f"and {b} {chosen}, {t.put(f'fcmp ord {v} {again}, {again}')}")
        right = t.put(f"select {b} {chosen}, {v} {again}, {v} {value}")
        ways[k].append(f"[ {right}, %finer.end ]")
    t.do("br label %decided")
    t.label("decided")
    return {k: (t.put(f"phi {v} {', '.join(way)}"), finer.kind) for k, way in ways.items()}


def _finer(finer: Finer, features: frozenset[str]) -> tuple[_Text, str]:
    """A function that computes some of the elements of a vector again"""
    t = _Text(_GROUP, features)
    names = _body(t, finer.program, lambda k, kind: t.put(f"load {t.vector(kind)}, ptr %given.{k}, align 8"))
    for k, value in finer.results.items():
        found = _to_odd(t, names[value]) if finer.kind == "f32" else names[value]
        t.do(f"store {t.vector(finer.kind)} {found}, ptr %again.{k}, align 4")
    given = [f"ptr %given.{k}" for k in finer.inputs] + [f"ptr %again.{k}" for k in finer.results]
    head = f"define internal void @finer({', '.join(given)}) noinline cold #0 {{"
    return t, "\n".join([head, *t.lines, "  ret void", "}", ""])


def _word(t: _Text, conditions: list[str]) -> str:
    """A bit for each lane: whether any of the conditions holds there"""
    b, first = t.vector("bool"), conditions[0]
    for other in conditions[1:]:
        first = t.put(f"or {b} {first}, {other}")
    return t.put(f"bitcast {b} {first} to i{t.lanes}")


def _beside_a_middle(t: _Text, storage: Storage, value: str, error: float) -> str:
    """Whether float32 numbers are, up to an error and their own rounding, the middle of two 16-bit numbers"""
    room = 2 if error <= 2.0**-25 else 8  # of these numbers on either side; an error of 2^-22 is 4
    f32, i32, b = t.vector("f32"), t.vector("i32"), t.vector("bool")
    rest = 16
    if storage == "float16":  # 2^-14 brings the digits of subnormal numbers to where normal ones have them
        rest, least = 13, t.const(2.0**-14, "f32")
        value = t.intrinsic("fabs", "f32", value)
        small = t.put(f"fcmp olt {f32} {value}, {least}")
        value = t.put(f"select {b} {small}, {f32} {t.put(f'fadd {f32} {value}, {least}')}, {f32} {value}")
    bits = t.put(f"bitcast {f32} {value} to {i32}")
    above = t.put(f"add {i32} {bits}, splat (i32 {(1 << rest - 1) + room})")
    cut = t.put(f"and {i32} {above}, splat (i32 {(1 << rest) - 2 * room})")
    return t.put(f"icmp eq {i32} {cut}, zeroinitializer")


def to_llvm(kernel: Kernel, features: frozenset[str] = frozenset()) -> str:
    """The text of a module with @kernel, the loop."""
    t = _Text(kernel.lanes, features)
    lanes, operands = kernel.lanes, kernel.operands
    n_in = sum(isinstance(i, Operand) for i in kernel.inputs)
    sums = [k for k, o in enumerate(operands) if o.access.startswith("sum")]
    #: whether what is left of several rows may share a vector
    joins = all(o.access in ("row", "each") and o.storage != "bits" for o in operands)
    brief = any(o.access == "each" for o in operands)  # no row has a whole vector
    kinds: dict[int, set[str]] = {}
    programs = [each.program for each in (kernel, kernel.shortcut, kernel.finer) if each]
    for v, i in (each for program in programs for each in program):
        if i.op == "input":
            kinds.setdefault(i.payload, set()).add(v.type)  # type: ignore[arg-type]

    t.label("entry")
    for k in range(len(operands)):
        t.do(f"%at.{k} = getelementptr ptr, ptr %operands, i64 {k}")
        t.do(f"%base.{k} = load ptr, ptr %at.{k}")
        if _waits(operands[k]):
            elements = lanes + lanes // PIECES  # a piece is written as a whole, whatever it holds
            spare = f"[{elements * operands[k].turns} x {MEMORY[operands[k].storage]}]"
            t.do(f"%spare.{k} = alloca {spare}, align 64")
            t.do(f"store {spare} zeroinitializer, ptr %spare.{k}")
    if kernel.finer:
        for k in kernel.finer.inputs:
            t.do(f"%given.{k} = alloca {t.vector('f64')}, align 64")
        for k in kernel.finer.results:
            t.do(f"%again.{k} = alloca {t.vector(kernel.finer.kind)}, align 64")
    for k, name in enumerate(("length", "chunk", "chunks", "outer")):
        t.do(f"%g.{name} = getelementptr i64, ptr %geometry, i64 {k}")
        t.do(f"%{name} = load i64, ptr %g.{name}")
    inputs: dict[tuple[int, str], str] = {}
    scalar = 0
    for k, source in enumerate(kernel.inputs):
        if isinstance(source, Scalar):
            for kind in sorted(kinds.get(k, ())):
                pointer = t.put(f"getelementptr double, ptr %scalars, i64 {scalar}")
                raw = t.put(f"load double, ptr {pointer}")
                if kind == "f32":
                    raw = t.put(f"fptrunc double {raw} to float")
                inputs[k, kind] = _splat(t, raw, kind)
        scalar += isinstance(source, Scalar)
    moving_rows = [k for k, o in enumerate(operands) if _moves(o) and o.storage != "bits"]
    repeated = [k for k, o in enumerate(operands) if o.access == "each"]
    copied_in = [k for k in moving_rows if k < n_in or k in sums]
    in_turns = [k for k in moving_rows if k >= n_in and operands[k].turns > 1]  # the last of them writes
    copied_out = [k for k in moving_rows if k >= n_in and k not in in_turns[:-1]]
    for k in repeated:
        t.do(f"%p.{k} = getelementptr i8, ptr %spare.{k}, i64 0")
    for k in copied_out:
        t.do(f"%goals.{k} = alloca [{lanes} x ptr]")
    for name in ("kept.i", "kept.m"):
        t.do(f"%{name} = alloca i64")
    for name in ("counts", "places"):
        t.do(f"%{name} = alloca [{lanes} x i64]")
    t.do("br label %unit")

    # one unit: a chunk of a row
    t.label("unit")
    t.do("%u = phi i64 [ %first, %entry ], [ %v.next, %unit.end ]")
    t.do("%q = phi i64 [ 0, %entry ], [ %t.q, %unit.end ]")  # elements that wait, and pieces
    t.do("%m = phi i64 [ 0, %entry ], [ %t.m, %unit.end ]")
    t.do("%u.more = icmp ult i64 %u, %last")
    t.do("br i1 %u.more, label %where, label %done")
    t.label("where")
    t.do("%row = udiv i64 %u, %chunks")
    t.do("%row.first = mul i64 %row, %chunks")
    t.do("%part = sub i64 %u, %row.first")
    t.do("%begin = mul i64 %part, %chunk")
    t.do("%left = sub i64 %length, %begin")
    t.do("%short = icmp ult i64 %left, %chunk")
    t.do("%n = select i1 %short, i64 %left, i64 %chunk")
    t.do("br label %offset")
    t.label("offset")  # the row's place in every operand, dimension by dimension
    t.do("%d = phi i64 [ 0, %where ], [ %d.next, %offset.step ]")
    t.do("%r = phi i64 [ %row, %where ], [ %r.next, %offset.step ]")
    for k in range(len(operands)):
        t.do(f"%off.{k} = phi i64 [ 0, %where ], [ %off.next.{k}, %offset.step ]")
    t.do("%d.more = icmp ult i64 %d, %outer")
    t.do("br i1 %d.more, label %offset.step, label %placed")
    t.label("offset.step")
    t.do("%size.i = add i64 %d, 4")
    t.do("%size.p = getelementptr i64, ptr %geometry, i64 %size.i")
    t.do("%size = load i64, ptr %size.p")
    t.do("%r.next = udiv i64 %r, %size")
    t.do("%r.whole = mul i64 %r.next, %size")
    t.do("%index = sub i64 %r, %r.whole")
    for k in range(len(operands)):
        t.do(f"%st.a.{k} = mul i64 %outer, {k + 1}")
        t.do(f"%st.b.{k} = add i64 %st.a.{k}, %size.i")
        t.do(f"%st.p.{k} = getelementptr i64, ptr %geometry, i64 %st.b.{k}")
        t.do(f"%st.{k} = load i64, ptr %st.p.{k}")
        t.do(f"%st.m.{k} = mul i64 %st.{k}, %index")
        t.do(f"%off.next.{k} = add i64 %off.{k}, %st.m.{k}")
    t.do("%d.next = add i64 %d, 1")
    t.do("br label %offset")
    t.label("placed")

    def bytes_of(k: int, elements: str) -> str:
        size = 8 if k in sums else SIZE[operands[k].storage]
        return t.put(f"mul i64 {elements}, {size}" if size else f"lshr i64 {elements}, 3")

    for k, o in enumerate(operands):
        begin = t.put(f"mul i64 %begin, {o.turns}") if o.turns > 1 else "%begin"
        element = t.put(f"add i64 %off.{k}, {begin}") if _moves(o) else f"%off.{k}"
        if k in sums:  # every group of units has a slot of partial sums of its own
            t.do(f"%slot.i.{k} = mul i64 %slot, %slotsize.{k}")
            element = t.put(f"add i64 {element}, %slot.i.{k}")
        t.do(f"%place.{k} = getelementptr i8, ptr %base.{k}, i64 {bytes_of(k, element)}")
    t.do("%whole.rows = icmp eq i64 %chunks, 1")
    t.do("%several.rows = icmp ne i64 %outer, 0")
    t.do("%runs = and i1 %whole.rows, %several.rows")
    t.do("br i1 %runs, label %run, label %begin.unit")
    t.label("run")  # the next rows of the innermost dimension lie at a constant distance
    t.do("%run.size.p = getelementptr i64, ptr %geometry, i64 4")
    t.do("%run.size = load i64, ptr %run.size.p")
    t.do("%run.index = urem i64 %row, %run.size")
    t.do("%run.ahead = sub i64 %run.size, %run.index")
    for k in range(len(operands)):
        t.do(f"%by.i.{k} = mul i64 %outer, {k + 1}")
        at_ = t.put(f"add i64 %by.i.{k}, 4")
        stride = t.put(f"load i64, ptr {t.put(f'getelementptr i64, ptr %geometry, i64 {at_}')}")
        t.do(f"%by.run.{k} = add i64 {bytes_of(k, stride)}, 0")
    t.do("br label %begin.unit")
    t.label("begin.unit")
    t.do("%v = phi i64 [ %u, %placed ], [ %u, %run ], [ %v.next, %next.row ]")
    t.do("%v.q = phi i64 [ %q, %placed ], [ %q, %run ], [ %t.q, %next.row ]")
    t.do("%v.m = phi i64 [ %m, %placed ], [ %m, %run ], [ %t.m, %next.row ]")
    t.do("%ahead = phi i64 [ 1, %placed ], [ %run.ahead, %run ], [ %ahead.next, %next.row ]")
    for k in range(len(operands)):
        t.do(
            f"%start.{k} = phi ptr [ %place.{k}, %placed ], [ %place.{k}, %run ], [ %start.next.{k}, %next.row ]"
        )
        t.do(f"%by.{k} = phi i64 [ 0, %placed ], [ %by.run.{k}, %run ], [ %by.{k}, %next.row ]")
    t.do("%v.next = add i64 %v, 1")
    t.do("%v.last = icmp eq i64 %v.next, %last")
    place = 0
    for k, source in enumerate(kernel.inputs):
        if isinstance(source, Operand):
            for kind in sorted(kinds.get(k, ())) if source.access == "splat" else ():
                memory = MEMORY[source.storage]
                raw = t.put(f"load {memory}, ptr %start.{place}")
                wide = _widen(t, source.storage, raw, kind, lambda s: LLVM.get(s, s))
                inputs[k, kind] = _splat(t, wide, kind)
            place += 1
    t.do("br label %vector")

    # one vector
    rowwise = [k for k in sums if operands[k].access == "sum_row"]
    wide = t.vector("f64")
    t.label("vector")
    t.do("%i = phi i64 [ 0, %begin.unit ], [ %i.next, %vector.end ], [ %c.i, %scattered ]")
    t.do("%w.q = phi i64 [ %v.q, %begin.unit ], [ %w.q, %vector.end ], [ 0, %scattered ]")
    t.do("%w.m = phi i64 [ %v.m, %begin.unit ], [ %w.m, %vector.end ], [ 0, %scattered ]")
    for k in rowwise:
        t.do(f"%acc.{k} = phi {wide} [ zeroinitializer, %begin.unit ], [ %acc.next.{k}, %vector.end ], "
             f"[ %acc.next.{k}, %scattered ]")  # fmt: skip
    t.do("%rest = sub i64 %n, %i")
    for k in (k for k, o in enumerate(operands) if o.storage == "bits"):
        # whole vectors of bits are read and written in place: what they hold beyond the end is padding
        t.do(f"%mem.i.{k} = lshr i64 %i, 3")
        t.do(f"%p.{k} = getelementptr i8, ptr %start.{k}, i64 %mem.i.{k}")
    t.do(f"%full = icmp sge i64 %rest, {lanes}")
    t.do(f"br i1 {'false' if brief else '%full'}, label %direct, label %tail")
    t.label("direct")
    for k in moving_rows:
        t.do(f"%mem.i.{k} = mul i64 %i, {_group(operands[k])}")
        t.do(f"%mem.{k} = getelementptr i8, ptr %start.{k}, i64 %mem.i.{k}")
    t.do("br label %compute")

    # what is left of a row waits, in pieces, until a vector is full of them or no row follows
    t.label("tail")
    t.do("%t.i = phi i64 [ %i, %vector ], [ %t.i.next, %waiting ]")
    t.do("%t.q = phi i64 [ %w.q, %vector ], [ %t.q.next, %waiting ]")
    t.do("%t.m = phi i64 [ %w.m, %vector ], [ %t.m.next, %waiting ]")
    t.do("%t.rest = sub i64 %n, %t.i")
    t.do("%t.over = icmp sle i64 %t.rest, 0")
    piece = lanes // PIECES  # at least half a piece is read again soonest where registers begin
    t.do(f"%t.q.up = add i64 %t.q, {piece - 1}")
    t.do(f"%t.q.even = and i64 %t.q.up, {-piece}")
    t.do(f"%t.large = icmp sgt i64 %t.rest, {piece // 2}")
    t.do("%t.at = select i1 %t.large, i64 %t.q.even, i64 %t.q")
    t.do(f"%t.full = icmp eq i64 %t.at, {lanes}")
    t.do("%t.some = icmp ne i64 %t.q, 0")
    t.do(f"%t.end = and i1 %t.over, {'%v.last' if joins else 'true'}")
    t.do("%t.end.some = and i1 %t.end, %t.some")
    t.do("%t.go = or i1 %t.full, %t.end.some")
    t.do("br i1 %t.go, label %flush, label %tail.more")
    t.label("tail.more")
    t.do("br i1 %t.over, label %unit.end, label %wait")
    t.label("wait")
    t.do(f"%t.room = sub i64 {lanes}, %t.at")
    t.do("%t.fit = call i64 @llvm.umin.i64(i64 %t.rest, i64 %t.room)")
    t.do(f"%count = call i64 @llvm.umin.i64(i64 %t.fit, i64 {piece})")
    t.declared.add("declare i64 @llvm.umin.i64(i64, i64)")
    for k in moving_rows:
        begin = t.put(f"mul i64 %t.i, {_group(operands[k])}")
        t.do(f"%from.{k} = getelementptr i8, ptr %start.{k}, i64 {begin}")
    for k in copied_out:
        t.do(f"store ptr %from.{k}, ptr {t.put(f'getelementptr ptr, ptr %goals.{k}, i64 %t.m')}")
    for k in repeated:
        one = t.put(f"load {MEMORY[operands[k].storage]}, ptr %start.{k}")
        several = _splat(t, one, MEMORY[operands[k].storage], piece)
        where = f"ptr {_piece(t, k, operands[k], '%t.at')}, align {SIZE[operands[k].storage]}"
        t.do(f"store <{piece} x {MEMORY[operands[k].storage]}> {several}, {where}")
    t.do(f"store i64 %count, ptr {t.put('getelementptr i64, ptr %counts, i64 %t.m')}")
    t.do(f"store i64 %t.at, ptr {t.put('getelementptr i64, ptr %places, i64 %t.m')}")
    _copy(
        t,
        "in",
        "wait",
        "waiting",
        "%count",
        [(f"%from.{k}", _piece(t, k, operands[k], "%t.at"), operands[k]) for k in copied_in],
        out=False,
    )
    t.label("waiting")
    t.do("%t.i.next = add i64 %t.i, %count")
    t.do("%t.q.next = add i64 %t.at, %count")
    t.do("%t.m.next = add i64 %t.m, 1")
    t.do("br label %tail")

    t.label("flush")  # by way of memory, to leave the registers to whole vectors
    t.do("store i64 %t.i, ptr %kept.i")
    t.do("store i64 %t.m, ptr %kept.m")
    t.do("br label %compute")
    t.label("compute")
    for k in moving_rows:
        t.do(f"%p.{k} = phi ptr [ %mem.{k}, %direct ], [ %spare.{k}, %flush ]")
    at = {
        k: n for n, (k, i) in enumerate((k, i) for k, i in enumerate(kernel.inputs) if isinstance(i, Operand))
    }

    def given(k: int, kind: str) -> str:
        if (k, kind) in inputs:
            return inputs[k, kind]
        source = kernel.inputs[k]
        assert isinstance(source, Operand)
        return _load(t, source.storage, f"%p.{at[k]}", kind, source.turns, source.turn)

    if kernel.shortcut:
        results = [(name, "f32") for name in _either(t, kernel, kernel.shortcut, given)]
    else:
        names = _body(t, kernel.program, given)
        results = [(names[value], value.type) for value, _ in kernel.results]
        if kernel.finer:
            decided = _decided(t, kernel, kernel.finer, names, given)
            results = [decided.get(k, each) for k, each in enumerate(results)]
    if sums:
        step = ", ".join(f"i64 {k}" for k in range(lanes))
        limit = _splat(t, "%rest", "i64")
        inside = t.put(f"icmp slt {t.vector('i64')} <{step}>, {limit}")
    turns: dict[int, str] = {}
    for (term, kind), k in zip(results, range(n_in, len(operands)), strict=True):
        operand = operands[k]
        if operand.turns > 1:
            turns[operand.turn] = _rounded(t, operand.storage, term, kind, k - n_in in kernel.exact)
            if len(turns) == operand.turns:
                _store_turns(t, operand.storage, f"%p.{k}", turns)
                turns = {}
            continue
        if operand.access == "row":
            _store(t, operand.storage, f"%p.{k}", term, kind, k - n_in in kernel.exact)
            continue
        if kind == "f32":
            term = t.put(f"fpext {t.vector('f32')} {term} to {t.vector('f64')}")
        term = t.put(f"select {t.vector('bool')} {inside}, {wide} {term}, {wide} zeroinitializer")
        if operand.access == "sum_row":
            t.do(f"%acc.next.{k} = fadd {wide} %acc.{k}, {term}")
        else:
            before = t.put(f"load {wide}, ptr %p.{k}, align 8")
            t.do(f"store {wide} {t.put(f'fadd {wide} {before}, {term}')}, ptr %p.{k}, align 8")
    t.do(f"br i1 {'false' if brief else '%full'}, label %vector.end, label %scatter")
    t.label("vector.end")
    t.do(f"%i.next = add i64 %i, {lanes}")
    t.do("br label %vector")
    t.label("scatter")
    t.do("%c.i = load i64, ptr %kept.i")
    t.do("%c.m = load i64, ptr %kept.m")
    t.do("br label %scatter.head")
    t.label("scatter.head")
    t.do("%s = phi i64 [ 0, %scatter ], [ %s.next, %gone ]")
    t.do("%s.more = icmp ult i64 %s, %c.m")
    t.do("br i1 %s.more, label %go, label %scattered")
    t.label("go")
    for k in copied_out:
        t.do(f"%goal.{k} = load ptr, ptr {t.put(f'getelementptr ptr, ptr %goals.{k}, i64 %s')}")
    t.do(f"%s.place = load i64, ptr {t.put('getelementptr i64, ptr %places, i64 %s')}")
    t.do(f"%s.count = load i64, ptr {t.put('getelementptr i64, ptr %counts, i64 %s')}")
    _copy(
        t,
        "out",
        "go",
        "gone",
        "%s.count",
        [(_piece(t, k, operands[k], "%s.place"), f"%goal.{k}", operands[k]) for k in copied_out],
        out=True,
    )
    t.label("gone")
    t.do("%s.next = add i64 %s, 1")
    t.do("br label %scatter.head")
    t.label("scattered")
    t.do("br label %vector")
    t.label("unit.end")
    for k in sums:
        if operands[k].access == "sum_row":
            total = f"@llvm.vector.reduce.fadd.v{lanes}f64"
            t.declared.add(f"declare double {total}(double, {t.vector('f64')})")
            part = t.put(f"call reassoc double {total}(double 0.0, {t.vector('f64')} %acc.{k})")
            old = t.put(f"load double, ptr %start.{k}")
            t.do(f"store double {t.put(f'fadd double {old}, {part}')}, ptr %start.{k}")
    t.do("%ahead.next = sub i64 %ahead, 1")
    t.do("%row.follows = icmp ne i64 %ahead.next, 0")
    t.do("%v.more = icmp ult i64 %v.next, %last")
    t.do("%on = and i1 %row.follows, %v.more")
    t.do("br i1 %on, label %next.row, label %unit")
    t.label("next.row")
    for k in range(len(operands)):
        t.do(f"%start.next.{k} = getelementptr i8, ptr %start.{k}, i64 %by.{k}")
    t.do("br label %begin.unit")
    t.label("done")
    t.do("ret void")

    slots = []
    for position, k in enumerate(sums):  # the size of a slot follows the strides in the geometry
        slots += [f"  %ss.a.{k} = mul i64 %outer, {len(operands) + 1}", f"  %ss.b.{k} = add i64 %ss.a.{k}, {4 + position}",
                  f"  %ss.p.{k} = getelementptr i64, ptr %geometry, i64 %ss.b.{k}", f"  %slotsize.{k} = load i64, ptr %ss.p.{k}"]  # fmt: skip
    entry_end = t.lines.index("  br label %unit")
    t.lines[entry_end:entry_end] = slots
    attributes = ["nounwind", '"no-frame-pointer-elim"="false"']
    widest = any(".512(" in d or "gather" in d for d in t.declared)
    narrow_will_do = len(kernel.program) <= LIGHT and not widest
    if "prefer-256-bit" in features and narrow_will_do:
        attributes += ['"prefer-vector-width"="256"', '"min-legal-vector-width"="0"']
    head = "".join(f"; {line}\n" for line in kernel.header.splitlines())
    function = (
        "define void @kernel(ptr %operands, ptr %scalars, ptr %geometry, i64 %slot, i64 %first, i64 %last) #0 {\n"
        + "\n".join(t.lines)
        + "\n}\n"
    )
    if kernel.finer:
        other, text = _finer(kernel.finer, features)
        t.globals |= other.globals
        t.declared |= other.declared
        function += text
    return "\n".join(
        [
            head,
            *t.globals.values(),
            function,
            *sorted(t.declared),
            f"attributes #0 = {{ {' '.join(attributes)} }}",
            '!0 = !{!"branch_weights", i32 1, i32 1000}',
            "",
        ]
    )


def _splat(t: _Text, scalar: str, kind: str, lanes: int = 0) -> str:
    lanes = lanes or t.lanes
    v, element = f"<{lanes} x {LLVM.get(kind, kind)}>", LLVM.get(kind, kind)
    one = t.put(f"insertelement {v} poison, {element} {scalar}, i64 0")
    return t.put(f"shufflevector {v} {one}, {v} poison, <{lanes} x i32> zeroinitializer")


def _group(operand: Operand) -> int:
    """Bytes that it takes for one element of a row"""
    return operand.turns * (8 if operand.access.startswith("sum") else SIZE[operand.storage])


def _piece(t: _Text, k: int, operand: Operand, place: str) -> str:
    """Where a piece of an operand waits"""
    return t.put(f"getelementptr i8, ptr %spare.{k}, i64 {t.put(f'mul i64 {place}, {_group(operand)}')}")


def _copy(
    t: _Text, name: str, origin: str, then: str, count: str, what: list[tuple[str, str, Operand]], out: bool
) -> None:
    """Copies at most a piece of each operand, from -> to, and no more than `count` elements of a row: in one masked
    instruction where there is one for every type, else group by group. out: it comes from where it waits."""
    masks: dict[int, str] = {}
    if t.features >= {"avx512bw", "avx512vl"}:
        for source, target, o in what:
            size, bits = t.lanes // PIECES * o.turns, _group(o) // o.turns * 8
            v, b = f"<{size} x i{bits}>", f"<{size} x i1>"
            if size not in masks:
                limit = _splat(t, t.put(f"trunc i64 {count} to i8"), "i8", size)
                step = ", ".join(f"i8 {k // o.turns}" for k in range(size))
                masks[size] = t.put(f"icmp ult <{size} x i8> <{step}>, {limit}")
            address, mask = f"ptr align {bits // 8}", f"{b} {masks[size]}"
            if out:
                value = t.put(f"load {v}, ptr {source}, align {bits // 8}")
                full = f"void @llvm.masked.store.v{size}i{bits}.p0"
                t.declared.add(f"declare {full}({v}, ptr, {b})")
                t.do(f"call {full}({v} {value}, {address} {target}, {mask})")
            else:
                full = f"{v} @llvm.masked.load.v{size}i{bits}.p0"
                t.declared.add(f"declare {full}(ptr, {b}, {v})")
                value = t.put(f"call {full}({address} {source}, {mask}, {v} zeroinitializer)")
                t.do(f"store {v} {value}, ptr {target}, align {bits // 8}")
        t.do(f"br label %{then}")
        return
    if not what:
        t.do(f"br label %{then}")
        return
    t.do(f"br label %{name}.head")
    t.label(f"{name}.head")
    t.do(f"%{name}.j = phi i64 [ 0, %{origin} ], [ %{name}.j.next, %{name}.step ]")
    t.do(f"%{name}.more = icmp slt i64 %{name}.j, {count}")
    t.do(f"br i1 %{name}.more, label %{name}.step, label %{then}")
    t.label(f"{name}.step")
    for source, target, o in what:
        align = _group(o) // o.turns
        group = f"<{o.turns} x i{8 * align}>" if o.turns > 1 else f"i{8 * align}"
        a = t.put(f"getelementptr {group}, ptr {source}, i64 %{name}.j")
        b = t.put(f"getelementptr {group}, ptr {target}, i64 %{name}.j")
        t.do(f"store {group} {t.put(f'load {group}, ptr {a}, align {align}')}, ptr {b}, align {align}")
    t.do(f"%{name}.j.next = add i64 %{name}.j, 1")
    t.do(f"br label %{name}.head")

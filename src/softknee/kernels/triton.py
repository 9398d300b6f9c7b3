"""The GPU backend: a `Kernel` is spelled as Triton source.

Two templates. Without sums every program of the grid computes `BLOCK` consecutive elements. With
sums a program computes tiles of (kept, summed) elements, adds each tile to float64 totals of its own
and writes them to a slot of partial sums: which elements meet in which slot depends on the shapes
alone, so the sums are the same every time. Truth values ("bits") lie eight to a byte in the order of the
index, the first in the lowest bit, as on the CPU; each program has whole bytes of its own. How an operand is reached is compiled in (`Layout`); sizes
and strides are given at the call, so that one kernel serves every shape.

Nothing is left to Triton's approximations: additions and products are not contracted (the launch
forbids it), quotients are `/` only where the program says that 2^-22 will do, and `exp` and its kin are
the polynomials that the program spells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from softknee.kernels.llvm import Kernel, Operand, Scalar
from softknee.kernels.program import PICKED, Instruction, Value

__all__ = ["BLOCK", "BYTES", "OPTIONS", "SPELLING", "Layout", "names", "tables", "to_triton"]

#: elements a program computes at a time
BLOCK = 1024
#: bytes of truth values that a program reads or writes, whatever the number of elements
BYTES = BLOCK // 8
#: how a kernel is compiled: four warps, and a * b + c is not contracted
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}

TYPE = {"f32": "tl.float32", "f64": "tl.float64", "i32": "tl.int32", "i64": "tl.int64", "bool": "tl.int1"}
MEMORY = {
    "float32": "tl.float32", "float64": "tl.float64", "float16": "tl.float16", "bfloat16": "tl.bfloat16",
}  # fmt: skip
_BITS = {"f32": "tl.int32", "f64": "tl.int64"}
_UNSIGNED = {"i32": "tl.uint32", "i64": "tl.uint64"}
_SIGN = {"f32": -(1 << 31), "f64": -(1 << 63)}


@dataclass(frozen=True)
class Layout:
    """How the operands are reached, inputs first.

    moves: an operand's dimensions: None, the elements follow each other as the index does; else
    those in which it moves, each with a stride. kept and summed: how many dimensions an index runs
    over; without sums all are kept. tile: (kept, summed) elements. wide: 64-bit indices.
    """

    moves: tuple[tuple[int, ...] | None, ...]
    kept: int = 0
    summed: int = 0
    tile: tuple[int, int] = (BLOCK, 1)
    wide: bool = False


Speller = Callable[[Instruction, list[str]], str]


def _infix(sign: str) -> Speller:
    return lambda i, a: f"{a[0]} {sign} {a[1]}"


def _cast(i: Instruction, a: list[str]) -> str:
    return f"{a[0]}.to({TYPE[i.type]})"


def _bitcast(i: Instruction, a: list[str]) -> str:
    return f"{a[0]}.to({TYPE[i.type]}, bitcast=True)"


def _divide(i: Instruction, a: list[str]) -> str:
    # Triton's / on float32 is an approximation, its / on float64 is not
    return f"tl.div_rn({a[0]}, {a[1]})" if i.type == "f32" else f"{a[0]} / {a[1]}"


def _root(i: Instruction, a: list[str]) -> str:
    return f"tl.sqrt_rn({a[0]})" if i.type == "f32" else f"tl.sqrt({a[0]})"


def _copysign(i: Instruction, a: list[str]) -> str:
    bits, sign = _BITS[i.type], _SIGN[i.type]
    x, y = (f"{v}.to({bits}, bitcast=True)" for v in a)
    return f"(({x} & {~sign}) | ({y} & {sign})).to({TYPE[i.type]}, bitcast=True)"


def _rint(i: Instruction, a: list[str]) -> str:
    """Adding 2^52 (2^23) to a smaller size rounds it; larger numbers are integers."""
    whole = 2.0**52 if i.type == "f64" else 2.0**23
    size = f"tl.abs({a[0]})"
    return f"tl.where({size} < {whole}, {_copysign(i, [f'(({size} + {whole}) - {whole})', a[0]])}, {a[0]})"


def _logical_shift(i: Instruction, a: list[str]) -> str:
    return f"({a[0]}.to({_UNSIGNED[i.type]}, bitcast=True) >> {a[1]}).to({TYPE[i.type]}, bitcast=True)"


def _mend(i: Instruction, a: list[str]) -> str:
    payload: tuple[int, int, bytes] = i.payload  # type: ignore[assignment]
    first, count, _ = payload
    place = f"(({a[1]} & 32767) - {first}).to(tl.uint32, bitcast=True)"
    return f"tl.where({place} < {count}, tl.load({a[2]} + {a[1]}), {a[0]})"


#: how each operation of a Program is written in Triton
SPELLING: dict[str, Speller] = {
    "add": _infix("+"), "sub": _infix("-"), "mul": _infix("*"), "div": _divide, "quotient": _infix("/"),
    "fma": lambda i, a: f"tl.fma({a[0]}, {a[1]}, {a[2]})",
    "neg": lambda i, a: f"{a[0]} * -1.0",  # some versions write -x as 0 - x: wrong for 0
    "abs": lambda i, a: f"tl.abs({a[0]})", "sqrt": _root, "rint": _rint, "copysign": _copysign,
    "lt": _infix("<"), "le": _infix("<="), "gt": _infix(">"), "ge": _infix(">="), "eq": _infix("=="),
    "ne": _infix("!="), "and": _infix("&"), "or": _infix("|"), "not": lambda i, a: f"~{a[0]}",
    "select": lambda i, a: f"tl.where({a[0]}, {a[1]}, {a[2]})", "bits": _bitcast, "from_bits": _bitcast,
    "iadd": _infix("+"), "isub": _infix("-"), "iand": _infix("&"), "ior": _infix("|"), "ixor": _infix("^"),
    "ishl": _infix("<<"), "ilshr": _logical_shift, "iashr": _infix(">>"), "to_int": _cast,
    "floor": lambda i, a: f"tl.floor({a[0]}).to({TYPE[i.type]})",
    "to_float": _cast, "widen": _cast, "narrow": _cast,
    "scale": lambda i, a: f"scale({a[0]}, {a[1]})",
    "gather": lambda i, a: f"tl.load({a[1]} + {a[0]})", "lookup": lambda i, a: f"tl.load({a[1]} + {a[0]})",
    "pick": lambda i, a: f"tl.load({a[1]} + ({a[0]} & {PICKED - 1}))", "mend": _mend,
}  # fmt: skip
#: operations that take from a table: they are given its name as one operand more
_FROM_TABLES = ("gather", "lookup", "pick", "mend")
#: operations that take more than an expression, by the name of the function that the source has for them
FUNCTIONS = {
    "scale": """
@triton.jit
def scale(a, b):
    # a 2^floor(b) by two powers of two: only the second product can be inexact; far below, 0
    far = b < -250.0
    b = tl.minimum(tl.maximum(b, -250.0), 250.0)
    shifted = b + 12582912.0
    k = shifted.to(tl.int32, bitcast=True) - 0x4B400000 - (shifted - 12582912.0 > b).to(tl.int32)
    half = k >> 1
    first = ((half + 127) << 23).to(tl.float32, bitcast=True)
    second = ((k - half + 127) << 23).to(tl.float32, bitcast=True)
    return tl.where(far, a * 0.0, a * first * second)
""",
    "unpacked": """
@triton.jit
def unpacked(bytes, count: tl.constexpr):
    # a bit an element, the lowest first: a thread expands the byte it has read
    places = tl.arange(0, 8)[None, :]
    return tl.reshape((bytes.to(tl.int32)[:, None] >> places) & 1, (count,)) != 0
""",
    "packed": """
@triton.jit
def packed(bits, count: tl.constexpr):
    places = tl.arange(0, 8)[None, :]
    return tl.sum(tl.reshape(bits.to(tl.int32), (count // 8, 8)) << places, axis=1).to(tl.uint8)
""",
}


def tables(kernel: Kernel) -> list[tuple[str, object]]:
    """(type, contents) of the tables a kernel looks things up in: arguments of their own."""
    found: dict[tuple[str, object], None] = {}
    for _, i in kernel.program:
        if i.op in _FROM_TABLES:
            found[i.type, _contents(i)] = None
    return list(found)


def _contents(i: Instruction) -> object:
    return i.payload[2] if i.op == "mend" else i.payload  # type: ignore[index]


def _literal(number: object, kind: str) -> str:
    if kind in ("i32", "i64"):
        return f"tl.full((), {number}, {TYPE[kind]})"
    assert isinstance(number, float)
    if number == 0 and math.copysign(1, number) < 0:  # some versions make it 0
        return f"tl.full((), 0.0, {TYPE[kind]}) * -1.0"
    text = repr(number) if math.isfinite(number) else f'float("{number}")'
    return f"tl.full((), {text}, {TYPE[kind]})"


def _body(kernel: Kernel, load: Callable[[int], str], shape: str) -> tuple[list[str], dict[Value, str]]:
    """Every instruction in order, constants first; the names of the values."""
    constants, lines, named = [], [], {}
    given = tables(kernel)
    raw: dict[int, str] = {}
    for value, i in kernel.program:
        name = named[value] = f"v{value.index}"
        if i.op == "const":
            constants.append(f"{name} = {_literal(i.payload, i.type)}")
            continue
        if i.op == "input":
            assert isinstance(i.payload, int)
            source = kernel.inputs[i.payload]
            if isinstance(source, Scalar):
                wide = f"tl.full((), s{i.payload}, tl.float64)"
                text = wide if i.type == "f64" else f"{wide}.to({TYPE[i.type]})"
            else:
                if i.payload not in raw:
                    raw[i.payload] = f"a{i.payload}"
                    lines.append(f"a{i.payload} = {load(i.payload)}")
                text = f"a{i.payload}"
                if source.storage == "bits":
                    text = f"tl.where({text}, 1.0, 0.0)"
                elif i.type == "i32":
                    text = f"{text}.to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF"
                elif source.storage.endswith("16"):
                    text += ".to(tl.float32)"
                text += f".to({TYPE[i.type]})" if i.type == "f64" and source.storage != "float64" else ""
        else:
            operands = [named[a] for a in i.args]
            if i.op in _FROM_TABLES:
                operands.append(f"t{given.index((i.type, _contents(i)))}")
            text = SPELLING[i.op](i, operands)
        lines.append(f"{name} = {text}")
    return constants + lines, named


def _rounded(name: str, kind: str, storage: str, lines: list[str]) -> str:
    """The value as it is stored, rounded once: by way of float32 rounded to odd where that is two steps.

    (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums".)
    """
    if kind == "f64" and storage.endswith("16"):
        lines += [
            f"{name}_near = {name}.to(tl.float32)",
            f"{name}_back = {name}_near.to(tl.float64)",
            f"{name}_bits = {name}_near.to(tl.int32, bitcast=True)",
            f"{name}_bits -= (tl.abs({name}_back) > tl.abs({name})).to(tl.int32)",
            f"{name}_bits |= (({name}_back < {name}) | ({name}_back > {name})).to(tl.int32)",
        ]
        name = f"{name}_bits.to(tl.float32, bitcast=True)"
    return f"{name}.to({MEMORY[storage]})"


def _offset(k: int, moves: tuple[int, ...], first: int, last: int, suffix: str = "") -> str:
    """The sum of index times stride over an operand's dimensions from first up to last."""
    parts = [f"d{d}{suffix} * o{k}_{d}" for d in moves if first <= d < last]
    return " + ".join(parts)


def _decode(index: str, first: int, last: int, used: set[int]) -> list[str]:
    """d_first ... d_last-1 from an index that runs over them, the last one fastest."""
    lines, rest = [], index
    for d in range(last - 1, first - 1, -1):
        if not any(u <= d for u in used if u >= first):
            break
        if d == first:
            lines.append(f"d{d} = {rest}")
        else:
            lines.append(f"d{d} = {rest} % n{d}")
            lines.append(f"e{d} = {rest} // n{d}")
            rest = f"e{d}"
    return lines


def names(kernel: Kernel, layout: Layout) -> list[str]:
    """The arguments of the kernel, in order."""
    dimensions = layout.kept + layout.summed
    found = [f"p{k}" for k in range(len(kernel.operands))]
    found += [f"t{k}" for k in range(len(tables(kernel)))]
    found += ["n"] if not layout.summed else ["kept", "summed", "blocks", "steps"]
    if any(layout.moves):
        found += [f"n{d}" for d in range(dimensions)]
    for k, moves in enumerate(layout.moves):
        found += [f"o{k}_{d}" for d in moves or ()]
    return found + [f's{k}: "fp64"' for k, i in enumerate(kernel.inputs) if isinstance(i, Scalar)]


def to_triton(kernel: Kernel, layout: Layout) -> str:
    """The source of a module with one Triton function, `kernel`."""
    place = {k: p for p, k in enumerate(k for k, i in enumerate(kernel.inputs) if isinstance(i, Operand))}
    count = len(place)
    used = {d for moves in layout.moves for d in moves or ()}
    wide = ".to(tl.int64)" if layout.wide else ""
    summing = layout.summed > 0
    total = layout.kept + layout.summed

    def reach(p: int) -> str:
        moves = layout.moves[p]
        if moves is None:
            return f"p{p} + i"
        if not summing:
            return f"p{p} + ({_offset(p, moves, 0, total)})" if moves else f"p{p}"
        ends = (_offset(p, moves, 0, layout.kept), _offset(p, moves, layout.kept, total))
        parts = [f"({e}){axis}" for e, axis in zip(ends, ("[:, None]", "[None, :]"), strict=True) if e]
        return f"p{p} + ({' + '.join(parts)})" if parts else f"p{p}"

    def bytes_of(p: int) -> str:
        assert layout.moves[p] is None, "truth values are reached by the index"
        return f"p{p} + (pid{wide} * {layout.tile[0] // 8} + tl.arange(0, {layout.tile[0] // 8}))"

    def load(k: int) -> str:
        if kernel.operands[place[k]].storage == "bits":
            return f"unpacked(tl.load({bytes_of(place[k])}), {layout.tile[0]})"
        address = reach(place[k])
        if "+" not in address:
            return f"tl.load({address})"
        both = layout.moves[place[k]] is None or not summing
        if not both:
            moves = layout.moves[place[k]] or ()
            rows, columns = any(d < layout.kept for d in moves), any(d >= layout.kept for d in moves)
            mask = "inside" if rows and columns else "inside_k[:, None]" if rows else "inside_r[None, :]"
            return f"tl.load({address}, mask={mask}, other=0.0)"
        return f"tl.load({address}, mask=inside, other=0.0)"

    body, named = _body(kernel, load, "")
    constants = [line for line in body if "= tl.full((), " in line]
    body = [line for line in body if "= tl.full((), " not in line]
    totals = [k for k, (_, o) in enumerate(kernel.results) if o.access.startswith("sum")]
    shape = f"({layout.tile[0]}, {layout.tile[1]})"
    for k, (value, o) in enumerate(kernel.results):
        if k in totals:
            body.append(f"sum{k} += tl.where(inside, {named[value]}.to(tl.float64), 0.0)")
            continue
        if o.storage == "bits":
            each = f"tl.broadcast_to({named[value]} != 0.0, ({layout.tile[0]},))"
            body.append(f"tl.store({bytes_of(count + k)}, packed({each}, {layout.tile[0]}))")
            continue
        stored = _rounded(named[value], value.type, o.storage, body)
        size = shape if summing else f"({layout.tile[0]},)"
        depends = f"tl.broadcast_to({stored}, {size})"
        body.append(f"tl.store({reach(count + k)}, {depends}, mask=inside)")

    head = [f"# {line}" for line in kernel.header.splitlines()]
    lines = ["pid = tl.program_id(0)"]
    if not summing:
        lines += [f"i = pid{wide} * {layout.tile[0]} + tl.arange(0, {layout.tile[0]})", "inside = i < n"]
        lines += _decode("i", 0, total, used) + constants + body
    else:
        rows, columns = layout.tile
        lines += [
            f"k = (pid % blocks){wide} * {rows} + tl.arange(0, {rows})",
            "slot = pid // blocks",
            "inside_k = k < kept",
            *_decode("k", 0, layout.kept, used),
            *constants,
            *(f"sum{k} = tl.zeros({shape}, tl.float64)" for k in totals),
            "for step in range(steps):",
            f"    r = (slot * steps + step){wide} * {columns} + tl.arange(0, {columns})",
            "    inside_r = r < summed",
            "    inside = inside_k[:, None] & inside_r[None, :]",
            *(f"    {line}" for line in [*_decode("r", layout.kept, total, used), *body]),
            *(
                f"tl.store(p{count + k} + slot{wide} * kept + k, tl.sum(sum{k}, axis=1), mask=inside_k)"
                for k in totals
            ),
        ]
    arguments = ", ".join(names(kernel, layout))
    return "\n".join(
        [
            *head,
            "import triton",
            "import triton.language as tl",
            "",
            *(text for name, text in FUNCTIONS.items() if any(f" {name}(" in line for line in lines)),
            "",
            "@triton.jit",
            f"def kernel({arguments}):",
            *(f"    {line}" for line in lines),
            "",
        ]
    )

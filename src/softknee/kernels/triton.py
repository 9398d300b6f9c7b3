"""The GPU backend: a `Kernel` is spelled as Triton source.

Every program of the grid computes tiles of `BLOCK` elements, one without sums. With sums it passes through
the last of several axes in steps, and adds up each tile along the axes that a sum does not keep: over the steps,
in float64, where the last is among those, else for each tile. What it has goes to a slot of partial sums. Which
elements meet in which slot depends on the shapes alone, so the sums are the same every time. Truth values
("bits") lie eight to a byte in the order of the index, the first in the lowest bit, as on the CPU; each program
has whole bytes of its own. How an operand is reached is compiled in (`Layout`); sizes and strides are given
at the call, so that one kernel serves every shape.

Nothing is left to Triton's approximations: additions and products are not contracted (the launch
forbids it), quotients are `/` only where the program says that 2^-22 will do, and `exp` and its kin are
the polynomials that the program spells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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

    moves: an operand's dimensions: None, the elements follow each other as the index does; else those in
    which it moves, each with a stride. axes: how many dimensions each index runs over, in turn; tile: how
    many elements of each a program has at a time. sums: of each result that is summed, the axes that it
    keeps; where there are any, a program passes through the last axis in steps. wide: 64-bit indices.
    """

    moves: tuple[tuple[int, ...] | None, ...]
    axes: tuple[int, ...] = (0,)
    tile: tuple[int, ...] = (BLOCK,)
    sums: tuple[tuple[int, ...], ...] = ()
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


def _body(kernel: Kernel, load: Callable[[int], str]) -> tuple[list[str], list[str], dict[Value, str]]:
    """The constants, the other instructions in order, and the names of the values."""
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
                constants.append(f"{name} = {wide}" + ("" if i.type == "f64" else f".to({TYPE[i.type]})"))
                continue
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
    return constants, lines, named


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


def names(kernel: Kernel, layout: Layout) -> list[str]:
    """The arguments of the kernel, in order."""
    found = [f"p{k}" for k in range(len(kernel.operands))]
    found += [f"t{k}" for k in range(len(tables(kernel)))]
    found += [f"m{j}" for j in range(len(layout.axes))]  # how many elements
    if layout.sums:
        found += [f"b{j}" for j in range(len(layout.axes) - 1)] + ["steps"]  # how many tiles
    if any(layout.moves):
        found += [f"n{d}" for d in range(sum(layout.axes))]
    for k, moves in enumerate(layout.moves):
        found += [f"o{k}_{d}" for d in moves or ()]
    return found + [f's{k}: "fp64"' for k, i in enumerate(kernel.inputs) if isinstance(i, Scalar)]


class _Tile:
    """How the source names the elements that a program has at a time: along axis j these are number i{j} of
    m{j}, in tile number c{j}, those that there are in{j}; d{k} is their place in dimension k."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.axes = layout, range(len(layout.axes))
        ends = [sum(layout.axes[: j + 1]) for j in self.axes]
        self.dimensions = [range(e - n, e) for e, n in zip(ends, layout.axes, strict=True)]
        self.used = {d for moves in layout.moves for d in moves or ()}
        self.wide = ".to(tl.int64)" if layout.wide else ""
        self.shape = f"({', '.join(map(str, layout.tile))},)"

    def along(self, j: int) -> list[str]:
        """The elements along an axis, from the number of the tile"""
        size = self.layout.tile[j]
        lines = [f"i{j} = c{j}{self.wide} * {size} + tl.arange(0, {size})", f"in{j} = i{j} < m{j}"]
        return lines + _decode(f"i{j}", self.dimensions[j], self.used)

    def beside(self, text: str, j: int, axes: Sequence[int]) -> str:
        """What runs along axis j, in a tensor of those axes"""
        return text if len(axes) == 1 else f"{text}[{', '.join(':' if a == j else 'None' for a in axes)}]"

    def mask(self, along: Sequence[int], axes: Sequence[int]) -> str:
        return " & ".join(self.beside(f"in{j}", j, axes) for j in along)

    def reach(self, p: int) -> tuple[str, Sequence[int]]:
        """The addresses of an operand's elements, and the axes along which it moves"""
        moves = self.layout.moves[p]
        if moves is None:
            return f"p{p} + i0", (0,)
        along = [j for j in self.axes if self._steps(p, j)]
        parts = [self.beside(f"({self._steps(p, j)})", j, self.axes) for j in along]
        return " + ".join([f"p{p}", *parts]), along

    def _steps(self, p: int, j: int) -> str:
        return " + ".join(f"d{d} * o{p}_{d}" for d in self.layout.moves[p] or () if d in self.dimensions[j])

    def load(self, p: int) -> str:
        address, along = self.reach(p)
        if not along:
            return f"tl.load({address})"
        mask = "inside" if len(along) == len(self.axes) else self.mask(along, self.axes)
        return f"tl.load({address}, mask={mask}, other=0.0)"

    def store(self, p: int, value: str) -> str:
        return f"tl.store({self.reach(p)[0]}, tl.broadcast_to({value}, {self.shape}), mask=inside)"

    def bytes(self, p: int) -> str:
        """The addresses of a program's truth values"""
        assert self.layout.moves[p] is None, "truth values are reached by the index"
        return (
            f"p{p} + (c0{self.wide} * {self.layout.tile[0] // 8} + tl.arange(0, {self.layout.tile[0] // 8}))"
        )

    def total(self, p: int, value: str, kept: Sequence[int]) -> str:
        """Stores what the tile sums up to, in a slot for the tiles that meet in it"""
        last = self.axes[-1]
        slot, place = "slot" if last not in kept else "", ""
        for j in self.axes:
            if j not in kept and j != last:
                slot = f"({slot} * b{j} + c{j})" if slot else f"c{j}"
        for j in self.axes[::-1]:
            if j not in kept:
                value = f"tl.sum({value}, axis={j})"
        for j in kept:
            index = self.beside(f"i{j}", j, kept)
            place = f"({place}) * m{j} + {index}" if place else index
        address = " * ".join([f"p{p} + {slot}{self.wide}", *(f"m{j}" for j in kept)])
        if not kept:
            return f"tl.store({address}, {value})"
        return f"tl.store({address} + {place}, {value}, mask={self.mask(kept, kept)})"


def to_triton(kernel: Kernel, layout: Layout) -> str:
    """The source of a module with one Triton function, `kernel`."""
    place = {k: p for p, k in enumerate(k for k, i in enumerate(kernel.inputs) if isinstance(i, Operand))}
    tile, count, last = _Tile(layout), len(place), len(layout.axes) - 1

    def load(k: int) -> str:
        if kernel.operands[place[k]].storage == "bits":
            return f"unpacked(tl.load({tile.bytes(place[k])}), {layout.tile[0]})"
        return tile.load(place[k])

    constants, body, named = _body(kernel, load)
    kept = iter(layout.sums)
    started, finished = [], []
    for p, (value, o) in enumerate(kernel.results, count):
        name = named[value]
        if o.access.startswith("sum"):
            axes, each = next(kept), f"tl.where(inside, {name}.to(tl.float64), 0.0)"
            if last in axes:
                body.append(tile.total(p, each, axes))
            else:
                started.append(f"sum{p} = tl.zeros({tile.shape}, tl.float64)")
                body.append(f"sum{p} += {each}")
                finished.append(tile.total(p, f"sum{p}", axes))
        elif o.storage == "bits":
            each = f"tl.broadcast_to({name} != 0.0, {tile.shape})"
            body.append(f"tl.store({tile.bytes(p)}, packed({each}, {layout.tile[0]}))")
        else:
            body.append(tile.store(p, _rounded(name, value.type, o.storage, body)))

    step = [*tile.along(last), f"inside = {tile.mask(tile.axes, tile.axes)}", *body]
    if not layout.sums:
        lines = ["c0 = tl.program_id(0)", *constants, *step]
    else:
        lines = ["slot = tl.program_id(0)"]
        for j in range(last):
            lines += [f"c{j} = slot % b{j}", f"slot = slot // b{j}", *tile.along(j)]
        lines += [*constants, *started, "for step in range(steps):", f"    c{last} = slot * steps + step"]
        lines += [*(f"    {line}" for line in step), *finished]
    return "\n".join(
        [
            *(f"# {line}" for line in kernel.header.splitlines()),
            "import triton",
            "import triton.language as tl",
            "",
            *(text for name, text in FUNCTIONS.items() if any(f" {name}(" in line for line in lines)),
            "",
            "@triton.jit",
            f"def kernel({', '.join(names(kernel, layout))}):",
            *(f"    {line}" for line in lines),
            "",
        ]
    )


def _decode(index: str, dimensions: range, used: set[int]) -> list[str]:
    """The place in each dimension from an index that runs over them, the last one fastest."""
    lines, rest = [], index
    for d in dimensions[::-1]:
        if not any(u in dimensions and u <= d for u in used):
            break
        if d == dimensions[0]:
            lines.append(f"d{d} = {rest}")
        else:
            lines += [f"d{d} = {rest} % n{d}", f"e{d} = {rest} // n{d}"]
            rest = f"e{d}"
    return lines

"""Straight-line programs: what every backend prints.

A `Program` is a list of instructions in single-assignment form over one vector lane. Lowering
(`lower.py`) writes it, a backend (`llvm.py`) spells each instruction; nothing here knows how
wide a vector is or which machine it runs on. Equal instructions are written once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["OPERATIONS", "PICKED", "Instruction", "Program", "Value"]

FLOATS = ("f32", "f64")
INTEGERS = ("i32", "i64")

#: name -> (operand kinds, result kind). Kinds: F a float type, I an integer type, B a truth
#: value; the F (or I) operands of one instruction share one type, which is the result's too.
OPERATIONS: dict[str, tuple[str, str]] = {
    "add": ("FF", "F"),
    "sub": ("FF", "F"),
    "mul": ("FF", "F"),
    "div": ("FF", "F"),
    "quotient": ("FF", "F"),  # a/b within 2^-44 (f64) or 2^-22 (f32); b finite, normal, not 0
    "fma": ("FFF", "F"),
    "neg": ("F", "F"),
    "abs": ("F", "F"),
    "sqrt": ("F", "F"),
    "rint": ("F", "F"),  # to the nearest integer, ties to even
    "copysign": ("FF", "F"),
    "lt": ("FF", "B"),
    "le": ("FF", "B"),
    "gt": ("FF", "B"),
    "ge": ("FF", "B"),
    "eq": ("FF", "B"),
    "ne": ("FF", "B"),  # true for NaN, the other comparisons are false
    "and": ("BB", "B"),
    "or": ("BB", "B"),
    "not": ("B", "B"),
    "select": ("BFF", "F"),
    "bits": ("F", "I"),
    "from_bits": ("I", "F"),
    "iadd": ("II", "I"),
    "isub": ("II", "I"),
    "iand": ("II", "I"),
    "ior": ("II", "I"),
    "ixor": ("II", "I"),
    "ishl": ("II", "I"),
    "ilshr": ("II", "I"),
    "iashr": ("II", "I"),
    "to_int": ("F", "I"),  # toward zero; the value must fit
    "floor": ("F", "I"),  # the largest integer that is not larger; it must fit
    "to_float": ("I", "F"),
    "widen": ("f32", "f64"),
    "narrow": ("f64", "f32"),
    "gather": ("i64", "f64"),  # payload: a tuple of floats; the operand is an index into it
    "pick": ("i32", "f32"),  # payload: PICKED floats; the operand modulo PICKED is an index
    "scale": ("FF", "F"),  # f32: a 2^floor(b), rounded once; |a| 0 or from 2^-60 on, b from -378 to 378
    "lookup": ("i32", "f32"),  # payload: the bytes of a float32 array; the operand is an index
    # payload: first, count, the bytes of a float32 array. The second operand holds the bits of a 16-bit number;
    # where they are, without the sign, among the `count` from `first` on, the array's entry for them
    "mend": ("f32 i32", "f32"),
}

#: entries of a table that `pick` takes from: two vector registers of the widest machines
PICKED = 32

_PARTNER = {"f32": "i32", "f64": "i64", "i32": "f32", "i64": "f64"}


@dataclass(frozen=True, slots=True)
class Value:
    """The result of one instruction: its place in the program and its type."""

    index: int
    type: str


@dataclass(frozen=True, slots=True)
class Instruction:
    op: str  # a name of OPERATIONS, "const" or "input"
    args: tuple[Value, ...]
    type: str
    payload: object = None  # const: the number; input: its place; gather, pick: its table


class Program:
    """A growing list of instructions; every method appends one (or finds an equal one)."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._known: dict[tuple[object, ...], Value] = {}

    def __iter__(self) -> Iterator[tuple[Value, Instruction]]:
        for index, instruction in enumerate(self.instructions):
            yield Value(index, instruction.type), instruction

    def __len__(self) -> int:
        return len(self.instructions)

    def _append(
        self, op: str, args: tuple[Value, ...], kind: str, payload: object = None, key: object = None
    ) -> Value:
        known = (op, args, kind, payload if key is None else key)
        if known not in self._known:
            self._known[known] = Value(len(self.instructions), kind)
            self.instructions.append(Instruction(op, args, kind, payload))
        return self._known[known]

    def input(self, place: int, kind: str) -> Value:
        """The kernel's input at this place, widened to a float type; "i32": the bits of a 16-bit one."""
        return self._append("input", (), kind, place)

    def const(self, number: float, kind: str = "f64") -> Value:
        """A literal. Floats are told apart by their bits, so that -0.0 is not 0.0."""
        if kind in FLOATS:
            number = float(number)
            if kind == "f32" and math.isfinite(number):
                number = struct.unpack("f", struct.pack("f", number))[0]
            return self._append("const", (), kind, number, key=struct.pack("d", number))
        return self._append("const", (), kind, int(number))

    def op(self, name: str, *args: Value, payload: object = None) -> Value:
        """Appends one operation after checking its operands against `OPERATIONS`."""
        kinds, result = OPERATIONS[name]
        if name in ("widen", "narrow", "gather", "lookup", "pick", "mend"):
            expected, kind = kinds.split(), result
        else:
            if len(kinds) != len(args):
                raise TypeError(f"{name} takes {len(kinds)} operands, got {len(args)}")
            leading = {a.type for a, k in zip(args, kinds, strict=True) if k in "FI"}
            if len(leading) > 1:
                raise TypeError(f"{name}: operands of different types {sorted(leading)}")
            base = leading.pop() if leading else "bool"
            expected = ["bool" if k == "B" else base for k in kinds]
            if base != "bool" and (base in FLOATS) != ("F" in kinds):
                raise TypeError(f"{name} does not take {base}")
            if result == "B":
                kind = "bool"
            elif kinds.replace("B", "")[:1] == result or base == "bool":
                kind = base
            else:
                kind = _PARTNER[base]
        if [a.type for a in args] != expected:
            raise TypeError(f"{name}: expected {expected}, got {[a.type for a in args]}")
        return self._append(name, args, kind, payload)

    def abs(self, a: Value) -> Value:
        """|a|, that of -b as |b| and that of c b as |c| |b|: then sigmoid(x) and sigmoid(-x) share their exponential"""
        made = self.instructions[a.index]
        if made.op == "neg":
            return self.abs(made.args[0])
        if made.op == "mul":
            for one, other in (made.args, made.args[::-1]):
                literal = self.instructions[one.index]
                if literal.op == "const":
                    return self.mul(self.const(math.fabs(literal.payload), a.type), self.abs(other))  # type: ignore[arg-type]
        return self.op("abs", a)

    def __getattr__(self, name: str) -> Callable[..., Value]:
        """`program.fma(a, b, c)` is `program.op("fma", a, b, c)`; `or_` and `and_` and `not_` too."""
        name = name.rstrip("_")
        if name in OPERATIONS:
            return lambda *args, payload=None: self.op(name, *args, payload=payload)
        raise AttributeError(name)

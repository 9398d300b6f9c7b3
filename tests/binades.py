"""Where a kernel goes on as before: proven on its instructions, for all numbers of one sign and exponent.

A value of a program goes on from one binade to the next if at 2x it is 2^k times what it is at x, to the
last bit. That follows instruction by instruction: of a product k is the sum of its factors' where nothing
leaves the normal range, in a sum what is far below the other term's last digit does not count, a decided
condition picks one branch. Bounds of every value on every binade decide these things, and show what is the
same number throughout; they are computed in the program's own rounding, which is monotone, or a little wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from softknee.kernels.arrays import run_program
from softknee.kernels.llvm import Kernel
from softknee.kernels.program import PICKED, Instruction, Program, Value

__all__ = ["EXPONENTS", "goes_on"]

#: of normal float32 numbers, as they are stored
EXPONENTS = range(1, 255)
FLOAT = {"f32": np.float32, "f64": np.float64}
#: digits; smallest normal number; below it a product of two others may lose digits of an exact sum
DIGITS = {"f32": 24, "f64": 53}
NORMAL = {"f32": 2.0**-126, "f64": 2.0**-1022}
EXACT = {"f32": 2.0**-98, "f64": 2.0**-960}
UNKNOWN = {"i32": (-(2**31), 2**31 - 1), "i64": (-(2**63), 2**63 - 1), "bool": (0, 1)}


@dataclass
class Bounds:
    """Of a value on each binade; k: from it to the next, NaN where that is not known"""

    low: Any
    high: Any
    k: Any
    type: str

    def __post_init__(self) -> None:
        if self.type in FLOAT:
            lost = np.isnan(self.low) | np.isnan(self.high)
            self.low = np.where(lost, -np.inf, self.low).astype(FLOAT[self.type])
            self.high = np.where(lost, np.inf, self.high).astype(FLOAT[self.type])
        point = self.point
        one = point & follows(point) & (self.low == follows(self.low))
        self.k = np.where(one, 0.0, self.k)
        self.k[-1] = np.nan

    @property
    def point(self) -> Any:
        same = self.low == self.high
        return same & (np.signbit(self.low) == np.signbit(self.high)) if self.type in FLOAT else same

    @property
    def least(self) -> Any:
        """Bounds of the size"""
        inside = (self.low <= 0) & (self.high >= 0)
        return np.where(inside, 0, np.minimum(np.abs(self.low), np.abs(self.high))).astype("f8")

    @property
    def most(self) -> Any:
        return np.maximum(np.abs(self.low), np.abs(self.high)).astype("f8")

    @property
    def sign(self) -> Any:
        return np.sign(self.low) * (np.sign(self.low) == np.sign(self.high))

    @property
    def normal(self) -> Any:
        """Here and on the next binade"""
        here = (self.least >= 2 * NORMAL[self.type]) & np.isfinite(self.most)
        return here & follows(here)


def follows(array: Any) -> Any:
    """What it is on the next binade"""
    return np.append(array[1:], array[-1:])


def _both(a: Any) -> Any:
    return a & follows(a)


def _wider(low: Any, high: Any, by: float) -> tuple[Any, Any]:
    return low - by * np.abs(low) - 5e-324, high + by * np.abs(high) + 5e-324


def _rounded(low: Any, high: Any, kind: str) -> tuple[Any, Any]:
    """Bounds of what was computed in float64, in the type, a little wider"""
    if kind == "f64":
        return _wider(low, high, 2.0**-50)
    low, high = low.astype("f4"), high.astype("f4")
    return np.nextafter(low, np.float32(-np.inf)), np.nextafter(high, np.float32(np.inf))


def _products(a: Bounds, b: Bounds, operation: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    found = [operation(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return np.min(found, axis=0), np.max(found, axis=0)


def _where(*cases: tuple[Any, Any]) -> Any:
    """k by the first condition that holds"""
    return np.select([c for c, _ in cases], [k for _, k in cases], np.nan)


def _sum(a: Bounds, b: Bounds, kind: str) -> Bounds:
    low, high, far = a.low + b.low, a.high + b.high, 2.0 ** -(DIGITS[kind] + 2)
    only_a, only_b = b.most < far * a.least, a.most < far * b.least
    low = np.where(only_a, a.low, np.where(only_b, b.low, low))
    high = np.where(only_a, a.high, np.where(only_b, b.high, high))
    finite = _both(np.isfinite(low) & np.isfinite(high))
    same = finite & (a.k == b.k)
    return Bounds(low, high, _where((same, a.k), (_both(only_a), a.k), (_both(only_b), b.k)), kind)


def _fused(a: Bounds, b: Bounds, c: Bounds, kind: str) -> Bounds:
    low, high = _products(*(_as(v, "f8") for v in (a, b)), np.multiply)
    if kind == "f64":
        low, high = _wider(low, high, 2.0**-50)
    product = Bounds(low, high, np.full(len(low), np.nan), "f64")
    digits = DIGITS[kind]
    only_c = product.most < 2.0 ** -(digits + 2) * c.least
    # an exact product is on the middle of two numbers or 2^-2p of it away: of the rest the sign alone counts
    hardly_c = c.most < 2.0 ** -(2 * digits + 3) * product.least
    low, high = _rounded(low + c.low.astype("f8"), high + c.high.astype("f8"), kind)
    made = Bounds(low, high, np.full(len(low), np.nan), kind)
    k = a.k + b.k
    exact = _both((product.least >= EXACT[kind]) & np.isfinite(made.most))
    steady = (c.sign == follows(c.sign)) & ((c.sign != 0) | (c.most == 0))
    ks = _where(
        ((k == c.k) & (made.normal | exact), k),
        (_both(only_c), c.k),
        (_both(hardly_c) & _both(steady) & made.normal, k),
    )
    low, high = np.where(only_c, c.low, made.low), np.where(only_c, c.high, made.high)
    points = a.point & b.point
    if points.any():
        low, high = (
            np.where(points, _fused_points(a.low, b.low, end, kind), old)
            for end, old in ((c.low, low), (c.high, high))
        )
    return Bounds(low, high, ks, kind)


def _fused_points(a: Any, b: Any, c: Any, kind: str) -> Any:
    """a b + c, rounded once"""
    if kind == "f64":
        return np.array([_fused_point(*v) for v in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)])
    product, c = a.astype("f8") * b, c.astype("f8")
    total = product + c
    part = total - product
    lost = (product - (total - part)) + (c - part)
    even = total.view("u8") % 2 == 0  # rounded to odd, it may be rounded again
    total = np.where((lost != 0) & even, np.nextafter(total, np.copysign(np.inf, lost)), total)
    return total.astype("f4")


@lru_cache(maxsize=1 << 14)
def _fused_point(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return math.nan
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(exact) if exact else a * b + c
    except OverflowError:
        return math.nan


def _as(v: Bounds, dtype: str) -> Bounds:
    return Bounds(v.low.astype(dtype), v.high.astype(dtype), v.k, "f64")


def _compared(op: str, a: Bounds, b: Bounds) -> Bounds:
    if op in ("gt", "ge"):
        return _compared({"gt": "lt", "ge": "le"}[op], b, a)
    apart = (a.high < b.low) | (a.low > b.high)
    same = a.point & b.point & (a.low == b.low)
    sure, never = {
        "lt": (a.high < b.low, a.low >= b.high),
        "le": (a.high <= b.low, a.low > b.high),
        "eq": (same, apart),
        "ne": (apart, same),
    }[op]
    zero = [_both(v.point & (v.low == 0)) for v in (a, b)]
    known = (a.k == b.k) | (zero[0] & np.isfinite(b.k)) | (zero[1] & np.isfinite(a.k))
    return Bounds(sure.astype(int), 1 - never.astype(int), np.where(known, 0.0, np.nan), "bool")


def _selected(c: Bounds, a: Bounds, b: Bounds, kind: str) -> Bounds:
    yes, no = c.low == 1, c.high == 0
    low = np.where(yes, a.low, np.where(no, b.low, np.minimum(a.low, b.low)))
    high = np.where(yes, a.high, np.where(no, b.high, np.maximum(a.high, b.high)))
    either = (c.k == 0) & (a.k == b.k)
    return Bounds(low, high, _where((_both(yes), a.k), (_both(no), b.k), (either, a.k)), kind)


def _scaled(a: Bounds, b: Bounds) -> Bounds:
    factors = Bounds(
        np.exp2(np.floor(b.low.astype("f8"))), np.exp2(np.floor(b.high.astype("f8"))), b.k, "f64"
    )
    low, high = _products(_as(a, "f8"), factors, np.multiply)  # both exact
    low, high = low.astype("f4"), high.astype("f4")
    made = Bounds(low, high, np.full(len(low), np.nan), "f32")
    made.k = np.where(made.normal & (b.k == 0), a.k, np.nan)
    return made


_INTEGERS: dict[str, Callable[[Any, Any], Any]] = {
    "iadd": np.add, "isub": np.subtract, "iand": np.bitwise_and, "ior": np.bitwise_or, "ixor": np.bitwise_xor,
    "ishl": np.left_shift, "iashr": np.right_shift,
}  # fmt: skip


def _at_points(i: Instruction, given: list[Bounds]) -> tuple[Any, Any]:
    """Bounds of what is computed for single arguments only"""
    low, high = UNKNOWN.get(i.type, (-np.inf, np.inf))
    first = given[0]
    if i.op in _INTEGERS:
        found = _INTEGERS[i.op](*(v.low for v in given))
    elif i.op == "bits":
        found = first.low.view("i4" if first.type == "f32" else "i8").astype("i8")
    elif i.op == "from_bits":
        found = first.low.astype("i4" if i.type == "f32" else "i8").view(FLOAT[i.type])
    elif i.op in ("gather", "pick"):
        table = np.array(i.payload)
        low, high = table.min(), table.max()
        found = table[first.low % len(table) if i.op == "pick" else np.clip(first.low, 0, len(table) - 1)]
        assert i.op == "gather" or len(table) == PICKED
    else:
        return np.full(len(first.low), low), np.full(len(first.low), high)
    point = np.logical_and.reduce([v.point for v in given])
    return np.where(point, found, low), np.where(point, found, high)


def _quotients(a: Any, b: Any, kind: str) -> Any:
    """By the machine, whose estimates decide their last digits"""
    program = Program()
    result = program.quotient(program.input(0, kind), program.input(1, kind))
    return run_program(program, [result], [a, b], "float32" if kind == "f32" else "float64")[0]


def _bounds(i: Instruction, given: list[Bounds]) -> Bounds:
    kind, op = i.type, i.op
    unknown = np.full(len(given[0].low), np.nan)
    if op in ("add", "sub"):
        a, b = given
        return _sum(a, b if op == "add" else Bounds(-b.high, -b.low, b.k, kind), kind)
    if op == "fma":
        return _fused(*given, kind)
    if op in ("mul", "div", "quotient"):
        a, b = given
        low, high = _products(a, b, np.multiply if op == "mul" else np.divide)
        if op == "quotient":
            low, high = _wider(low, high, 2.0**-20)
            points, found = a.point & b.point, _quotients(a.low, b.low, kind)
            low, high = np.where(points, found, low), np.where(points, found, high)
        if op != "mul":
            low, high = (np.where(b.least > 0, v, np.nan) for v in (low, high))
        made = Bounds(low, high, unknown, kind)
        k = a.k + b.k if op == "mul" else a.k - b.k
        fine = made.normal if op == "mul" else made.normal & b.normal & a.normal
        return Bounds(low, high, np.where(fine, k, np.nan), kind)
    if op == "neg":
        return Bounds(-given[0].high, -given[0].low, given[0].k, kind)
    if op == "abs":
        return Bounds(given[0].least, given[0].most, given[0].k, kind)
    if op == "copysign":
        a, b = given
        sign = b.sign
        low = np.where(sign > 0, a.least, -a.most)
        high = np.where(sign < 0, -a.least, a.most)
        return Bounds(low, high, np.where(np.isfinite(b.k), a.k, np.nan), kind)
    if op == "sqrt":
        low, high = np.sqrt(given[0].low), np.sqrt(given[0].high)
        return Bounds(low, high, np.where(given[0].k % 2 == 0, given[0].k / 2, np.nan), kind)
    if op == "rint":
        return Bounds(np.rint(given[0].low), np.rint(given[0].high), unknown, kind)
    if op in ("floor", "to_int"):
        least, most = UNKNOWN[kind]
        turn = np.floor if op == "floor" else np.trunc
        low, high = (turn(v.astype("f8")) for v in (given[0].low, given[0].high))
        fits = (low > least) & (high < most)
        return Bounds(
            np.where(fits, low, least / 2).astype("i8"),
            np.where(fits, high, most / 2).astype("i8"),
            unknown,
            kind,
        )
    if op in ("to_float", "widen"):
        k = given[0].k if op == "widen" else unknown
        return Bounds(given[0].low.astype(FLOAT[kind]), given[0].high.astype(FLOAT[kind]), k, kind)
    if op == "narrow":
        made = Bounds(given[0].low.astype("f4"), given[0].high.astype("f4"), unknown, kind)
        return Bounds(made.low, made.high, np.where(made.normal, given[0].k, np.nan), kind)
    if op in ("lt", "le", "gt", "ge", "eq", "ne"):
        return _compared(op, *given)
    if op in ("and", "or"):
        join = np.minimum if op == "and" else np.maximum
        return Bounds(join(given[0].low, given[1].low), join(given[0].high, given[1].high), unknown, kind)
    if op == "not":
        return Bounds(1 - given[0].high, 1 - given[0].low, unknown, kind)
    if op == "select":
        return _selected(*given, kind)
    if op == "scale":
        return _scaled(*given)
    return Bounds(*_at_points(i, given), unknown, kind)


def _followed(program: Program, x: int, sign: int) -> dict[Value, Bounds]:
    """Of all values; the input at place x is the number, others are 1"""
    powers = np.exp2(np.arange(EXPONENTS.start - 127, EXPONENTS.stop - 127.0))
    last = powers * (2 - 2.0**-23)
    found: dict[Value, Bounds] = {}
    for value, i in program:
        if i.op == "input" and i.payload == x:
            ends = (powers, last) if sign > 0 else (-last, -powers)
            found[value] = Bounds(*(e.astype(FLOAT[i.type]) for e in ends), np.ones(len(powers)), i.type)
            continue
        if i.op in ("input", "const"):
            number = 1 if i.op == "input" else i.payload
            level = np.full(len(powers), number, FLOAT.get(i.type, np.int64))
            found[value] = Bounds(level, level, np.zeros(len(powers)), i.type)
            continue
        given = [found[a] for a in i.args]
        made = _bounds(i, given)
        same = np.logical_and.reduce([v.k == 0 for v in given])
        found[value] = Bounds(made.low, made.high, np.where(same, 0.0, made.k), i.type)
    return found


def goes_on(kernel: Kernel, x: int, sign: int) -> Any:
    """For each exponent of float32 numbers x: k if at 2x the kernel's first result, as float32, is 2^k times
    that at x, for all x with this exponent; else NaN"""
    with np.errstate(all="ignore"):
        k = _result(_followed(kernel.program, x, sign)[kernel.results[0][0]])
        if kernel.shortcut is None:
            return k
        found = _followed(kernel.shortcut.program, x, sign)
        taken, left = (_both(c) for c in _decided(found[kernel.shortcut.condition]))
        return _where((taken, _result(found[kernel.shortcut.results[0]])), (left, k))


def _decided(condition: Bounds) -> tuple[Any, Any]:
    return condition.low == 1, condition.high == 0


def _result(v: Bounds) -> Any:
    made = Bounds(v.low.astype("f4"), v.high.astype("f4"), np.full(len(v.low), np.nan), "f32")
    return np.where(made.normal | (made.k == 0) | (v.k == 0), np.where(made.k == 0, 0.0, v.k), np.nan)

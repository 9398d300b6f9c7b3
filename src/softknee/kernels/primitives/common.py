"""What the three arithmetics share: how a literal is taken, and what needs no knowledge of how a number is held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from softknee.kernels.program import Instruction, Program, Value

__all__ = ["FIRST_EXPONENT", "LOG2E", "MAGIC", "ONE", "SIGN", "Common", "exact", "nearest", "two_over_pi"]

ONE = 0x3FF0000000000000  # the bits of 1.0
_ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
_MANTISSA = (1 << 52) - 1
SIGN = -(1 << 63)
MAGIC = 1.5 * 2.0**52  # x + MAGIC has the nearest integer to x in its low mantissa bits
LOG2E = 1 / math.log(2)
FIRST_EXPONENT = -40


def exact(number: Any) -> Fraction:
    """A finite int, float, Fraction or mpmath.mpf as a Fraction."""
    if hasattr(number, "_mpf_"):
        sign, mantissa, exponent, _ = number._mpf_
        return (-1 if sign else 1) * Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return Fraction(number)


def nearest(number: Any) -> float:
    """The nearest f64; infinities and NaN as they are."""
    if isinstance(number, float):
        return number
    try:
        return float(number) if math.isinf(number) or math.isnan(number) else float(exact(number))
    except OverflowError:
        return math.copysign(math.inf, number)


@cache
def two_over_pi(words: int) -> tuple[tuple[float, ...], ...]:
    """For e = -40 ... 1023: 2^e 2/pi mod 2^54, cut into `words` consecutive f64.

    A mantissa M in [1, 2) of 53 bits times a multiple of 2^54 is a multiple of 4: full turns.
    """
    bits = 1400
    # Machin: pi = 16 atan(1/5) - 4 atan(1/239), in integers with guard bits.
    one = 1 << (bits + 64)

    def arctangent(n: int) -> int:
        total = term = one // n
        k = 1
        while term:
            term //= -n * n
            k += 2
            total += term // k
        return total

    pi = 16 * arctangent(5) - 4 * arctangent(239)
    inverse = (2 << (2 * bits + 64)) // pi  # 2/pi in units of 2^-bits
    table: list[list[float]] = [[] for _ in range(words)]
    for e in range(FIRST_EXPONENT, 1024):
        unit = 1 << (bits - e)  # 1.0, where `inverse` stands for 2^e 2/pi
        turn = unit << 54
        rest = inverse % turn
        if rest > turn // 2:
            rest -= turn
        for word in table:
            # 53 leading bits; the division of Python integers is correctly rounded.
            word.append(rest / unit)
            ratio = Fraction(word[-1])
            rest -= ratio.numerator * unit // ratio.denominator
    return tuple(tuple(word) for word in table)


class Common:
    """What does not depend on how a number is held."""

    def __init__(self, program: Program) -> None:
        self.program = self.p = program

    def instruction(self, value: Value) -> Instruction:
        return self.p.instructions[value.index]

    def _number(self, value: Value) -> float | None:
        """The literal that a value is"""
        made = self.instruction(value)
        return float(made.payload) if made.op == "const" else None  # type: ignore[arg-type]

    def power(self: Any, a: Any, exponent: Any) -> Any:
        """a^n by squaring; a^b = exp(b log a) for a > 0."""
        if not isinstance(exponent, int):
            return self.exp(self.mul(exponent, self.log(a)))
        if exponent < 0:
            return self.div(self.const(1), self.power(a, -exponent))
        result = None
        while exponent:
            if exponent & 1:
                result = a if result is None else self.mul(result, a)
            exponent >>= 1
            if exponent:
                a = self.mul(a, a)
        return self.const(1) if result is None else result

    def _min(self, a: Value, limit: float) -> Value:
        """min(a, limit), NaN where a is; one instruction on most machines."""
        c = self.p.const(limit)
        return self.p.select(self.p.lt(c, a), c, a)

    def _max(self, a: Value, limit: float) -> Value:
        c = self.p.const(limit)
        return self.p.select(self.p.gt(c, a), c, a)

    def _horner(self, z: Value, c: Sequence[float]) -> Value:
        """sum c_j z^j"""
        total = self.p.const(c[-1])
        for x in reversed(c[:-1]):
            total = self.p.fma(total, z, self.p.const(x))
        return total

    def _two_sum(self, a: Value, b: Value) -> tuple[Value, Value]:
        """a + b = s + e exactly (Knuth 1969)"""
        p = self.p
        s = p.add(a, b)
        t = p.sub(s, a)
        return s, p.add(p.sub(a, p.sub(s, t)), p.sub(b, t))

    def _product(self, a: Value, b: Value) -> tuple[Value, Value]:
        h = self.p.mul(a, b)
        return h, self.p.fma(a, b, self.p.neg(h))

    def _power_of_two(self, shifted: Value) -> Value:
        p = self.p
        bits = p.ishl(p.bits(shifted), p.const(52, "i64"))
        return p.from_bits(p.iadd(bits, p.const(ONE, "i64")))

    def _split_normal(self, x: Value) -> tuple[Value, Value]:
        """(-k, m) with x = 2^k m, m in [sqrt(1/2), sqrt(2)), for normal x > 0.

        -k because a zero of that sign keeps the sign of zero in -k (-ln2) + (+-0).
        """
        p = self.p
        i = p.isub(p.bits(x), p.const(_ROOT_HALF - (1024 << 52), "i64"))
        biased = p.ior(p.ilshr(i, p.const(52, "i64")), p.const(0x433 << 52, "i64"))
        minus_k = p.sub(p.const(2.0**52 + 1024), p.from_bits(biased))
        m = p.iadd(p.iand(i, p.const(_MANTISSA, "i64")), p.const(_ROOT_HALF, "i64"))
        return minus_k, p.from_bits(m)

    def _logarithm_at_limits(self, x: Value, y: Value) -> Value:
        """y = log(x) where x is positive and finite; else -inf, NaN, inf, NaN."""
        p = self.p
        zero = p.const(0.0)
        y = p.select(p.lt(x, p.const(math.inf)), y, x)
        outside = p.select(p.eq(x, zero), p.const(-math.inf), p.const(math.nan))
        return p.select(p.le(x, zero), outside, y)

    def _turns(self, x: Value, words: int) -> tuple[Value, list[Value]]:
        """(M, T): M T = x 2/pi modulo full turns, M the mantissa of x, for |x| >= 2^-40"""
        p = self.p
        # NaN goes to the upper limit: the index must stay inside the table.
        a, top = p.abs(x), p.const(math.ldexp(1.0, 1023))
        a = self._max(p.select(p.lt(a, top), a, top), math.ldexp(1.0, FIRST_EXPONENT))
        place = p.isub(p.ilshr(p.bits(a), p.const(52, "i64")), p.const(1023 + FIRST_EXPONENT, "i64"))
        kept = p.iand(p.bits(x), p.const(SIGN | _MANTISSA, "i64"))
        m = p.from_bits(p.ior(kept, p.const(ONE, "i64")))
        return m, [p.gather(place, payload=word) for word in two_over_pi(words)]

    def _quarters(self, k: Value, quarter: int) -> tuple[Value, Value]:
        """(k + quarter in the top two bits, whether it is even): it reads 0, 2, -0 or -2 there."""
        p = self.p
        if quarter:
            k = p.iadd(k, p.const(quarter, "i64"))
        state = p.ishl(k, p.const(62, "i64"))
        return state, p.eq(p.from_bits(state), p.const(0.0))

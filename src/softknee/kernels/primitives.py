"""Three arithmetics that write elementary functions into a `Program`.

A kernel computes in about twice the precision of its result and rounds once:

* `Double`, one f64, for results in float32, float16 and bfloat16;
* `Pair`, an unevaluated sum of two f64, for results in float64;
* `Single`, one f32, for float32 results at full speed with a stated error.

All have the same methods, named as the operations of `softknee.lang`. Everything is branch-free
and without calls: exp is a polynomial whose exponent is set by integer addition, log takes its
exponent by a shift, sin and cos look 2/pi up in a table.

`DOUBLE_ERROR`, `PAIR_ERROR` (relative, as a power of two) and `SINGLE_ERROR` (in ULP) are the
bounds that the tests hold each primitive to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from softknee.kernels import coefficients as fitted
from softknee.kernels.program import Instruction, Program, Value

__all__ = ["DOUBLE_ERROR", "Double", "Pair", "Single", "exact", "single_error"]

#: largest relative error of each primitive, given as its logarithm to base 2
DOUBLE_ERROR = {
    "exp": -43.5, "expm1": -43, "log": -44, "log1p": -43.5, "tanh": -42.5, "sigmoid": -43,
    "softplus": -43, "erf": -43, "normal_cdf": -42.5, "normal_pdf": -43, "sin": -44, "cos": -43,
    "atan": -43, "asinh": -43,
}  # fmt: skip

_ONE = 0x3FF0000000000000  # the bits of 1.0
_ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
_MANTISSA = (1 << 52) - 1
_SIGN = -(1 << 63)
_MAGIC = 1.5 * 2.0**52  # x + _MAGIC has the nearest integer to x in its low mantissa bits
_LN2 = math.log(2)
_LOG2E = 1 / math.log(2)
_LEAST = -1020 * _LN2  # of exp's arguments: the smallest result, 2^-1020, stands for 0


def exact(number: Any) -> Fraction:
    """A finite int, float, Fraction or mpmath.mpf as a Fraction."""
    if hasattr(number, "_mpf_"):
        sign, mantissa, exponent, _ = number._mpf_
        return (-1 if sign else 1) * Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return Fraction(number)


def _nearest(number: Any) -> float:
    """The nearest f64; infinities and NaN as they are."""
    if isinstance(number, float):
        return number
    try:
        return float(number) if math.isinf(number) or math.isnan(number) else float(exact(number))
    except OverflowError:
        return math.copysign(math.inf, number)


@cache
def _two_over_pi(words: int) -> tuple[tuple[float, ...], ...]:
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
    for e in range(_FIRST_EXPONENT, 1024):
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


_FIRST_EXPONENT = -40


class _Common:
    """What does not depend on how a number is held."""

    def __init__(self, program: Program) -> None:
        self.program = self.p = program

    def instruction(self, value: Value) -> Instruction:
        return self.p.instructions[value.index]


class Double(_Common):
    """Numbers are single f64 values, good to about 2^-43.

    Written for float32 data. Results below 1e-290 may come out as anything below 1e-290.
    """

    name = "double"

    # numbers ------------------------------------------------------------------------------------

    def const(self, number: Any) -> Value:
        return self.p.const(_nearest(number))

    def from_value(self, value: Value) -> Value:
        return self.p.widen(value) if value.type == "f32" else value

    def to_value(self, a: Value) -> Value:
        return a

    # arithmetic ---------------------------------------------------------------------------------

    def add(self, a: Value, b: Value) -> Value:
        for x, y in ((a, b), (b, a)):
            made = self.instruction(x)
            if made.op == "mul":
                return self.p.fma(*made.args, y)
            if made.op == "neg":
                return self.sub(y, made.args[0])
        return self.p.add(a, b)

    def sub(self, a: Value, b: Value) -> Value:
        left, right = self.instruction(a), self.instruction(b)
        if left.op == "mul":
            return self.p.fma(*left.args, self.neg(b))
        if right.op == "mul":
            return self.p.fma(self.neg(right.args[0]), right.args[1], a)
        if right.op == "neg":
            return self.add(a, right.args[0])
        return self.p.sub(a, b)

    def mul(self, a: Value, b: Value) -> Value:
        for x, y in ((a, b), (b, a)):
            made = self.instruction(x)
            if made.op == "const" and made.payload == 1.0:
                return y
            if made.op == "const" and made.payload == -1.0:
                return self.neg(y)
        return self.p.mul(a, b)

    def div(self, a: Value, b: Value) -> Value:
        divisor = self.instruction(b)
        if divisor.op == "const":
            inverse = 1 / float(divisor.payload) if divisor.payload else math.inf  # type: ignore[arg-type]
            if 1e-300 < abs(inverse) < 1e300:
                return self.mul(a, self.p.const(inverse))
        if self._at_least(b) >= 1e-300:
            return self._ratio(a, self._min(b, 1e300))
        return self.p.div(a, b)

    def neg(self, a: Value) -> Value:
        made = self.instruction(a)
        if made.op == "neg":
            return made.args[0]
        if made.op == "const":
            return self.p.const(-float(made.payload))  # type: ignore[arg-type]
        return self.p.neg(a)

    def abs(self, a: Value) -> Value:
        made = self.instruction(a)
        return self.abs(made.args[0]) if made.op == "neg" else self.p.abs(a)

    def sqrt(self, a: Value) -> Value:
        return self.p.sqrt(a)

    def sign(self, a: Value) -> Value:
        zero = self.p.const(0.0)
        below = self.p.select(self.p.lt(a, zero), self.p.const(-1.0), a)
        return self.p.select(self.p.gt(a, zero), self.p.const(1.0), below)

    def minimum(self, a: Value, b: Value) -> Value:
        return self._extreme("lt", a, b)

    def maximum(self, a: Value, b: Value) -> Value:
        return self._extreme("gt", a, b)

    def _extreme(self, order: str, a: Value, b: Value) -> Value:
        if self.instruction(b).op == "const":
            a, b = b, a
        chosen = self.p.op(order, a, b)  # false for NaN: b, which is NaN unless a is
        if self.instruction(a).op != "const":
            chosen = self.p.or_(chosen, self.is_nan(a))
        return self.p.select(chosen, a, b)

    def power(self, a: Value, exponent: int | Value) -> Value:
        """a^n by squaring; a^b = exp(b log a) for a > 0."""
        if not isinstance(exponent, int):
            return self.exp(self.mul(exponent, self.log(a)))
        if exponent < 0:
            return self.div(self.p.const(1.0), self.power(a, -exponent))
        result = None
        while exponent:
            if exponent & 1:
                result = a if result is None else self.mul(result, a)
            exponent >>= 1
            if exponent:
                a = self.mul(a, a)
        return self.p.const(1.0) if result is None else result

    def lt(self, a: Value, b: Value) -> Value:
        return self.p.lt(a, b)

    def le(self, a: Value, b: Value) -> Value:
        return self.p.le(a, b)

    def gt(self, a: Value, b: Value) -> Value:
        return self.p.gt(a, b)

    def ge(self, a: Value, b: Value) -> Value:
        return self.p.ge(a, b)

    def eq(self, a: Value, b: Value) -> Value:
        return self.p.eq(a, b)

    def ne(self, a: Value, b: Value) -> Value:
        return self.p.ne(a, b)

    def is_nan(self, a: Value) -> Value:
        return self.p.ne(a, a)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        return self.p.select(condition, a, b)

    # tools --------------------------------------------------------------------------------------

    def _min(self, a: Value, limit: float) -> Value:
        """min(a, limit), NaN where a is; one instruction on most machines."""
        c = self.p.const(limit)
        return self.p.select(self.p.lt(c, a), c, a)

    def _max(self, a: Value, limit: float) -> Value:
        c = self.p.const(limit)
        return self.p.select(self.p.gt(c, a), c, a)

    def _at_least(self, a: Value) -> float:
        """A lower bound of a, infinities included, from how it was computed."""
        made = self.instruction(a)
        if made.op == "const":
            return float(made.payload)  # type: ignore[arg-type]
        if made.op == "abs" or (made.op == "mul" and made.args[0] == made.args[1]):
            return 0.0
        if made.op == "add":
            return self._at_least(made.args[0]) + self._at_least(made.args[1])
        if made.op == "fma":
            square = made.args[0] == made.args[1]
            positive = min(self._at_least(made.args[0]), self._at_least(made.args[1])) >= 0
            return self._at_least(made.args[2]) if square or positive else -math.inf
        if made.op == "mul" and min(map(self._at_least, made.args)) >= 0:
            return 0.0
        if made.op == "select":
            return min(map(self._at_least, made.args[1:]))
        if made.op == "sqrt":
            return math.sqrt(max(0.0, self._at_least(made.args[0])))
        return -math.inf

    def _ratio(self, a: Value, b: Value) -> Value:
        """a/b, b finite, normal and not 0; keeps the sign of a zero, which `quotient` need not."""
        return self.p.mul(a, self.p.quotient(self.p.const(1.0), b))

    def _polynomial(self, z: Value, c: Sequence[float]) -> Value:
        """sum c_j z^j by Horner's rule."""
        total = self.p.const(c[-1])
        for x in reversed(c[:-1]):
            total = self.p.fma(total, z, self.p.const(x))
        return total

    def _twice(self, a: Value) -> Value:
        """2a; 2 (x/2) = x, so that tanh(x/2) and sigmoid(x) share their exponential."""
        made = self.instruction(a)
        if made.op == "mul":
            for x, y in (made.args, made.args[::-1]):
                constant = self.instruction(y)
                if constant.op == "const":
                    return self.mul(x, self.p.const(2 * float(constant.payload)))  # type: ignore[arg-type]
        return self.p.add(a, a)

    def _reduce(self, x: Value, scale: float = 1.0) -> tuple[Value, Value]:
        """(2^52 k as an integer, r/scale) with scale x = k ln2 + r, |r| <= ln2/2.

        k ln2 is exact enough in one fma: 1024 times the error of ln2 is below 2^-45.
        """
        p = self.p
        shifted = p.fma(x, p.const(_LOG2E * scale), p.const(_MAGIC))
        k = p.sub(shifted, p.const(_MAGIC))
        r = p.fma(k, p.const(-_LN2 / scale), x)
        return p.ishl(p.bits(shifted), p.const(52, "i64")), r

    def _expm1_factor(self, r: Value, scale: float = 1.0) -> Value:
        """Q with e^(scale r) - 1 = r Q; scale is a power of two, or its negative."""
        return self._polynomial(r, [c * scale ** (j + 1) for j, c in enumerate(fitted.EXPM1_DOUBLE)])

    def _exp(self, x: Value, scale: float = 1.0) -> Value:
        """e^(scale x) for scale x in [_LEAST, 1024 ln2]; the upper end gives infinity.

        There r is exactly 0 and the mantissa exactly 1, so that adding k to the exponent field
        of 1.0 makes the bits of infinity.
        """
        p = self.p
        k, r = self._reduce(x, scale)
        mantissa = p.fma(r, self._expm1_factor(r, scale), p.const(1.0))
        return p.from_bits(p.iadd(p.bits(mantissa), k))

    def _exp_minus_one(self, x: Value, half: bool = False) -> Value:
        """e^x - 1 (or half of it, up to 1024 ln2) = s r Q - (1 - s), s = 2^k.

        The sum is written so that x = -0 gives -0.
        """
        p = self.p
        k, r = self._reduce(x)
        q = p.mul(r, self._expm1_factor(r))
        s = p.from_bits(p.iadd(k, p.const(_ONE - ((1 << 52) if half else 0), "i64")))
        return p.fma(s, q, p.neg(p.sub(p.const(0.5 if half else 1.0), s)))

    # exponentials -------------------------------------------------------------------------------

    def exp(self, x: Value) -> Value:
        p = self.p
        y = self._exp(self._min(x, 1024 * _LN2))
        return p.select(p.lt(x, p.const(_LEAST)), p.const(0.0), y)

    def expm1(self, x: Value) -> Value:
        m = self._exp_minus_one(self._max(self._min(x, 1024 * _LN2), -64.0), half=True)
        return self.p.add(m, m)

    def sigmoid(self, x: Value) -> Value:
        """sigmoid(x) = E/(1 + E), sigmoid(-x) = 1/(1 + E), E = e^x"""
        p = self.p
        made = self.instruction(x)
        negated = made.op == "neg"
        if negated:
            x = made.args[0]
        # Up to 2^1000, so that 1 + E is finite; its inverse is then as good as 0.
        e = self._exp(self._max(self._min(x, 1000 * _LN2), _LEAST))
        r = p.quotient(p.const(1.0), p.add(e, p.const(1.0)))
        return r if negated else p.mul(e, r)

    def tanh(self, x: Value) -> Value:
        """tanh(x) = m/(m + 2), m = e^2x - 1"""
        p = self.p
        m = self._exp_minus_one(self._max(self._min(self._twice(x), 64.0), -64.0))
        return self._ratio(m, p.add(m, p.const(2.0)))

    def softplus(self, x: Value) -> Value:
        """softplus(x) = max(x, 0) + log1p(t), t = e^-|x|; log1p(t) = 2 atanh(t/(t + 2))"""
        p = self.p
        t = self._exp(self._max(p.neg(self.abs(x)), _LEAST))
        s = self._ratio(t, p.add(t, p.const(2.0)))
        zero = p.const(0.0)
        positive = p.select(p.gt(x, zero), x, zero)
        return p.fma(s, self._polynomial(p.mul(s, s), fitted.LOG1P_DOUBLE), positive)

    # logarithms ---------------------------------------------------------------------------------

    def _split(self, x: Value) -> tuple[Value, Value]:
        """(-k, m) with x = 2^k m, m in [sqrt(1/2), sqrt(2)), for normal x > 0.

        -k because a zero of that sign keeps the sign of zero in -k (-ln2) + (+-0).
        """
        p = self.p
        i = p.isub(p.bits(x), p.const(_ROOT_HALF - (1024 << 52), "i64"))
        biased = p.ior(p.ilshr(i, p.const(52, "i64")), p.const(0x433 << 52, "i64"))
        minus_k = p.sub(p.const(2.0**52 + 1024), p.from_bits(biased))
        m = p.iadd(p.iand(i, p.const(_MANTISSA, "i64")), p.const(_ROOT_HALF, "i64"))
        return minus_k, p.from_bits(m)

    def _log(self, minus_k: Value, f: Value) -> Value:
        """k ln2 + log(1 + f), log(1 + f) = 2 atanh(s), s = f/(2 + f)"""
        p = self.p
        s = self._ratio(f, p.add(f, p.const(2.0)))
        y = p.mul(s, self._polynomial(p.mul(s, s), fitted.LOG_DOUBLE))
        return p.fma(minus_k, p.const(-_LN2), y)

    def _log_limits(self, x: Value, y: Value) -> Value:
        """y = log(x) where x is positive and finite; else -inf, NaN, inf, NaN."""
        p = self.p
        zero = p.const(0.0)
        y = p.select(p.lt(x, p.const(math.inf)), y, x)
        outside = p.select(p.eq(x, zero), p.const(-math.inf), p.const(math.nan))
        return p.select(p.le(x, zero), outside, y)

    def log(self, x: Value) -> Value:
        minus_k, m = self._split(x)
        return self._log_limits(x, self._log(minus_k, self.p.sub(m, self.p.const(1.0))))

    def log1p(self, x: Value) -> Value:
        """As log(1 + x), but where 1 + x needs no exponent, x itself takes the place of m - 1."""
        p = self.p
        w = p.add(x, p.const(1.0))
        minus_k, m = self._split(w)
        f = p.select(p.eq(minus_k, p.const(0.0)), x, p.sub(m, p.const(1.0)))
        return self._log_limits(w, self._log(minus_k, f))

    def asinh(self, x: Value) -> Value:
        """asinh(x) = sign(x) log1p(a + a^2/(1 + sqrt(1 + a^2))), a = |x|; log(2a) for huge a"""
        p = self.p
        a = self.abs(x)
        one = p.const(1.0)
        huge = p.gt(a, p.const(2.0**500))
        square = p.mul(a, a)
        w = p.add(a, self._ratio(square, p.add(p.sqrt(p.add(square, one)), one)))
        y = self._log1p_finite(p.select(huge, a, w))
        y = p.add(y, p.select(huge, p.const(_LN2), p.const(0.0)))
        return p.copysign(p.select(p.lt(a, p.const(math.inf)), y, a), x)

    def _log1p_finite(self, x: Value) -> Value:
        """log1p for finite x >= 0"""
        p = self.p
        minus_k, m = self._split(p.add(x, p.const(1.0)))
        f = p.select(p.eq(minus_k, p.const(0.0)), x, p.sub(m, p.const(1.0)))
        return self._log(minus_k, f)

    # the normal distribution --------------------------------------------------------------------

    def _gauss(self, x: Value) -> tuple[Value, Value]:
        """a = |x| cut off at 37, and e^(-a^2/2)"""
        a = self._min(self.abs(x), 37.0)
        return a, self._exp(self.p.mul(a, a), -0.5)

    def normal_pdf(self, x: Value) -> Value:
        return self.p.mul(self._gauss(x)[1], self.p.const(1 / math.sqrt(2 * math.pi)))

    def normal_cdf(self, x: Value) -> Value:
        """normal_cdf(-a) = e^(-a^2/2) U(a)/L(a)"""
        p = self.p
        a, e = self._gauss(x)
        upper = self._polynomial(a, fitted.MILLS_DOUBLE_UPPER)
        lower = self._polynomial(a, fitted.MILLS_DOUBLE_LOWER)
        tail = self._ratio(p.mul(e, upper), lower)
        return p.select(p.gt(x, p.const(0.0)), p.sub(p.const(1.0), tail), tail)

    def erf(self, x: Value) -> Value:
        """erf(a) = 1 - e^-w, w = a U(a)/L(a)"""
        p = self.p
        a = self._min(self.abs(x), 5.6)
        upper = self._polynomial(a, fitted.ERF_DOUBLE_UPPER)
        lower = self._polynomial(a, fitted.ERF_DOUBLE_LOWER)
        w = self._ratio(p.mul(a, upper), lower)
        return p.copysign(self._exp_minus_one(p.neg(w)), x)

    # trigonometry -------------------------------------------------------------------------------

    def _quadrant(self, x: Value) -> tuple[Value, Value]:
        """(k, f): x = (k + f) pi/2 modulo full turns, |f| <= 1/2; k in the low bits.

        M T with T = 2^e 2/pi mod 2^54 in three words. Each sum is exact where it cancels, so f is
        good to 2^-50 relative for every x of up to 53 bits. For |x| < 2^-40, k = 0.
        """
        p = self.p
        # NaN goes to the upper limit: the index must stay inside the table.
        a, top = p.abs(x), p.const(math.ldexp(1.0, 1023))
        a = self._max(p.select(p.lt(a, top), a, top), math.ldexp(1.0, _FIRST_EXPONENT))
        place = p.isub(p.ilshr(p.bits(a), p.const(52, "i64")), p.const(1023 + _FIRST_EXPONENT, "i64"))
        w1, w2, w3 = (p.gather(place, payload=word) for word in _two_over_pi(3))
        kept = p.iand(p.bits(x), p.const(_SIGN | _MANTISSA, "i64"))
        m = p.from_bits(p.ior(kept, p.const(_ONE, "i64")))
        h1, h2 = p.mul(m, w1), p.mul(m, w2)
        l1 = p.fma(m, w1, p.neg(h1))
        l2 = p.fma(m, w3, p.fma(m, w2, p.neg(h2)))
        turns = p.rint(p.mul(h1, p.const(0.25)))
        h1 = p.fma(turns, p.const(-4.0), h1)
        shifted = p.add(p.add(p.add(h1, l1), h2), p.const(_MAGIC))
        k = p.sub(shifted, p.const(_MAGIC))
        f = p.add(p.add(p.add(p.sub(h1, k), l1), h2), l2)
        return p.bits(shifted), f

    def _trigonometric(self, x: Value, quarter: int) -> Value:
        """sin(x + quarter pi/2), NaN at infinities; wrong below 2^-40 in size for quarter 0."""
        p = self.p
        k, f = self._quadrant(x)
        z = p.mul(f, f)
        sine = p.mul(f, self._polynomial(z, fitted.SIN_DOUBLE))
        cosine = self._polynomial(z, fitted.COS_DOUBLE)
        if quarter:
            k = p.iadd(k, p.const(quarter, "i64"))
        # The last two bits of k moved to the top are 0, 2, -0 or -2.
        state = p.ishl(k, p.const(62, "i64"))
        even = p.eq(p.from_bits(state), p.const(0.0))
        y = p.bits(p.select(even, sine, cosine))
        y = p.from_bits(p.ixor(y, p.iand(state, p.const(_SIGN, "i64"))))
        return p.select(p.lt(p.abs(x), p.const(math.inf)), y, p.const(math.nan))

    def sin(self, x: Value) -> Value:
        p = self.p
        small = p.lt(p.abs(x), p.const(2.0**-30))
        return p.select(small, x, self._trigonometric(x, 0))

    def cos(self, x: Value) -> Value:
        return self._trigonometric(x, 1)

    def atan(self, x: Value) -> Value:
        """atan(a) = b + atan(t): (b, t) = (0, a), (pi/4, (a - 1)/(a + 1)) or (pi/2, -1/a)"""
        p = self.p
        one = p.const(1.0)
        a = self._min(self.abs(x), 2.0**100)
        low = p.lt(a, p.const(math.sqrt(2) - 1))
        high = p.gt(a, p.const(math.sqrt(2) + 1))
        upper = p.select(low, a, p.select(high, p.const(-1.0), p.sub(a, one)))
        lower = p.select(low, one, p.select(high, a, p.add(a, one)))
        base = p.select(low, p.const(0.0), p.select(high, p.const(math.pi / 2), p.const(math.pi / 4)))
        t = self._ratio(upper, lower)
        return p.copysign(p.fma(t, self._polynomial(p.mul(t, t), fitted.ATAN_DOUBLE), base), x)


class Pair(Double):
    """Not yet what it says."""


class Single(Double):
    """Not yet what it says."""


def single_error(expression: Any, scalars: Any) -> float:
    """Not yet: Single is never good enough."""
    return math.inf

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
from typing import Any, NamedTuple

from softknee.kernels import coefficients as fitted
from softknee.kernels.program import PICKED, Instruction, Program, Value

__all__ = [
    "DOUBLE_ERROR",
    "PAIR_ERROR",
    "SINGLE_ERROR",
    "SINGLE_SUBNORMAL_ERROR",
    "Double",
    "Pair",
    "Single",
    "Wide",
    "exact",
]

#: largest relative error of each primitive, given as its logarithm to base 2; measured with a
#: `quotient` that is 2^-44 off. Results below 1e-290 are not measured.
DOUBLE_ERROR = {
    "exp": -44, "expm1": -43, "log": -43, "log1p": -43, "tanh": -42.5, "sigmoid": -43,
    "softplus": -42, "erf": -42.5, "normal_cdf": -42.5, "normal_pdf": -44, "sin": -47, "cos": -47,
    "atan": -43, "asinh": -43,
}  # fmt: skip

#: the same of the unevaluated sum; where the result is subnormal, f64 is within 2 ULP
PAIR_ERROR = {
    "exp": -62, "expm1": -61, "log": -64.5, "log1p": -64.5, "tanh": -61, "sigmoid": -62,
    "softplus": -62, "erf": -63, "normal_cdf": -62, "normal_pdf": -62, "sin": -63.5, "cos": -63.5,
    "atan": -62, "asinh": -64.5,
}  # fmt: skip

#: largest error of each primitive of `Single` in ULP of f32, rounded up; sampled, and by `make exhaustive`
#: tested over every f32
SINGLE_ERROR = {
    "exp": 0.6, "expm1": 1.2, "sigmoid": 0.6, "tanh": 1.05, "softplus": 1.15, "normal_pdf": 0.6,
    "normal_cdf": 1.05, "log": 0.9, "log1p": 1.0,
}  # fmt: skip
#: the same where the result is subnormal
SINGLE_SUBNORMAL_ERROR = 0.85

_ONE = 0x3FF0000000000000  # the bits of 1.0
_ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
_MANTISSA = (1 << 52) - 1
_SIGN = -(1 << 63)
_MAGIC = 1.5 * 2.0**52  # x + _MAGIC has the nearest integer to x in its low mantissa bits
_MAGIC_SINGLE = 1.5 * 2.0**23
_MAGIC_32 = 1.5 * 2.0**18  # x + _MAGIC_32 has the nearest multiple of 1/32 to x in its low mantissa bits
_ROOT_HALF_SINGLE = 0x3F3504F3
_FAR = 200.0  # e^-_FAR, even times the largest f32, is 0 as an f32
_LN2 = math.log(2)
_LOG2E = 1 / math.log(2)
_LARGEST = 709.782712893384  # the largest argument with a finite exponential
_SINGLE_LARGEST = 2.0**128 - 2.0**104  # the largest f32
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


def _toward_zero(number: float) -> float:
    """number cut to an f32"""
    if not math.isfinite(number):
        return number
    mantissa, exponent = math.frexp(number)
    return math.ldexp(math.trunc(mantissa * 2**24), exponent - 24)


def _is_power_of_two(number: float) -> bool:
    """Up to sign, and with an inverse in every type"""
    return math.frexp(abs(number))[0] == 0.5 and 2.0**-120 < abs(number) < 2.0**120


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
        a = self._max(p.select(p.lt(a, top), a, top), math.ldexp(1.0, _FIRST_EXPONENT))
        place = p.isub(p.ilshr(p.bits(a), p.const(52, "i64")), p.const(1023 + _FIRST_EXPONENT, "i64"))
        kept = p.iand(p.bits(x), p.const(_SIGN | _MANTISSA, "i64"))
        m = p.from_bits(p.ior(kept, p.const(_ONE, "i64")))
        return m, [p.gather(place, payload=word) for word in _two_over_pi(words)]

    def _quarters(self, k: Value, quarter: int) -> tuple[Value, Value]:
        """(k + quarter in the top two bits, whether it is even): it reads 0, 2, -0 or -2 there."""
        p = self.p
        if quarter:
            k = p.iadd(k, p.const(quarter, "i64"))
        state = p.ishl(k, p.const(62, "i64"))
        return state, p.eq(p.from_bits(state), p.const(0.0))


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
        return self._horner(r, [c * scale ** (j + 1) for j, c in enumerate(fitted.EXPM1_DOUBLE)])

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
        return p.fma(s, self._horner(p.mul(s, s), fitted.LOG1P_DOUBLE), positive)

    # logarithms ---------------------------------------------------------------------------------

    def _log(self, minus_k: Value, f: Value) -> Value:
        """k ln2 + log(1 + f), log(1 + f) = 2 atanh(s), s = f/(2 + f)"""
        p = self.p
        s = self._ratio(f, p.add(f, p.const(2.0)))
        y = p.mul(s, self._horner(p.mul(s, s), fitted.LOG_DOUBLE))
        return p.fma(minus_k, p.const(-_LN2), y)

    def log(self, x: Value) -> Value:
        minus_k, m = self._split_normal(x)
        return self._logarithm_at_limits(x, self._log(minus_k, self.p.sub(m, self.p.const(1.0))))

    def log1p(self, x: Value) -> Value:
        """As log(1 + x), but where 1 + x needs no exponent, x itself takes the place of m - 1."""
        p = self.p
        w = p.add(x, p.const(1.0))
        minus_k, m = self._split_normal(w)
        f = p.select(p.eq(minus_k, p.const(0.0)), x, p.sub(m, p.const(1.0)))
        return self._logarithm_at_limits(w, self._log(minus_k, f))

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
        minus_k, m = self._split_normal(p.add(x, p.const(1.0)))
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
        upper = self._horner(a, fitted.MILLS_DOUBLE_UPPER)
        lower = self._horner(a, fitted.MILLS_DOUBLE_LOWER)
        tail = self._ratio(p.mul(e, upper), lower)
        return p.select(p.gt(x, p.const(0.0)), p.sub(p.const(1.0), tail), tail)

    def erf(self, x: Value) -> Value:
        """erf(a) = 1 - e^-w, w = a U(a)/L(a)"""
        p = self.p
        a = self._min(self.abs(x), 5.6)
        upper = self._horner(a, fitted.ERF_DOUBLE_UPPER)
        lower = self._horner(a, fitted.ERF_DOUBLE_LOWER)
        w = self._ratio(p.mul(a, upper), lower)
        return p.copysign(self._exp_minus_one(p.neg(w)), x)

    # trigonometry -------------------------------------------------------------------------------

    def _quadrant(self, x: Value) -> tuple[Value, Value]:
        """(k, f): x = (k + f) pi/2 modulo full turns, |f| <= 1/2; k in the low bits.

        M T with T = 2^e 2/pi mod 2^54 in three words. Each sum is exact where it cancels, so f is
        good to 2^-50 relative for every x of up to 53 bits. For |x| < 2^-40, k = 0.
        """
        p = self.p
        m, (w1, w2, w3) = self._turns(x, 3)
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
        sine = p.mul(f, self._horner(z, fitted.SIN_DOUBLE))
        cosine = self._horner(z, fitted.COS_DOUBLE)
        state, even = self._quarters(k, quarter)
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
        return p.copysign(p.fma(t, self._horner(p.mul(t, t), fitted.ATAN_DOUBLE), base), x)


class Wide(NamedTuple):
    """high + low, high the nearest f64 to the sum; low None: exactly 0. Where high is infinite or
    NaN, low is anything.
    """

    high: Value
    low: Value | None


def _low_of(a: Wide) -> Value:
    assert a.low is not None
    return a.low


class Pair(_Common):
    """Numbers are unevaluated sums of two f64, good to about 2^-60 after a few operations.

    What leaves a method is normalised. The arithmetic guards infinities: an error term that is not
    finite counts as 0. Inside primitives, whose arguments are clamped first, it is not guarded.
    """

    # numbers ------------------------------------------------------------------------------------

    def const(self, number: Any) -> Wide:
        high = _nearest(number)
        low = float(exact(number) - Fraction(high)) if math.isfinite(high) else 0.0
        return self._constant((high, low))

    def _constant(self, pair: tuple[float, float]) -> Wide:
        return Wide(self.p.const(pair[0]), self.p.const(pair[1]) if pair[1] else None)

    def from_value(self, value: Value) -> Wide:
        return Wide(self.p.widen(value) if value.type == "f32" else value, None)

    def to_value(self, a: Wide) -> Value:
        return a.high

    # exact building blocks ----------------------------------------------------------------------

    def _two_sum(self, a: Value, b: Value) -> tuple[Value, Value]:
        """a + b = s + e exactly (Knuth 1969)"""
        p = self.p
        s = p.add(a, b)
        t = p.sub(s, a)
        return s, p.add(p.sub(a, p.sub(s, t)), p.sub(b, t))

    def _fast(self, a: Value, b: Value) -> Wide:
        """a + b normalised, for |a| >= |b| or a = 0 (Dekker 1971)"""
        s = self.p.add(a, b)
        return Wide(s, self.p.sub(b, self.p.sub(s, a)))

    def _product(self, a: Value, b: Value) -> tuple[Value, Value]:
        h = self.p.mul(a, b)
        return h, self.p.fma(a, b, self.p.neg(h))

    def _sum(self, first: Value, *others: Value | None) -> Value:
        for other in others:
            if other is not None:
                first = self.p.add(first, other)
        return first

    def _finite(self, a: Value) -> Value:
        """a where it is finite, else 0"""
        p = self.p
        return p.select(p.lt(p.abs(a), p.const(math.inf)), a, p.const(0.0))

    # unguarded arithmetic -----------------------------------------------------------------------

    def _add(self, a: Wide, b: Wide) -> Wide:
        s, e = self._two_sum(a.high, b.high)
        return self._fast(s, self._sum(e, a.low, b.low))

    def _plus(self, large: float, a: Wide) -> Wide:
        """large + a, |large| >= |a|"""
        s = self._fast(self.p.const(large), a.high)
        return s if a.low is None else self._fast(s.high, self._sum(_low_of(s), a.low))

    def _product_low(self, e: Value, a: Wide, b: Wide) -> Value:
        """e plus the cross terms of a b"""
        if b.low is not None:
            e = self.p.fma(a.high, b.low, e)
        return e if a.low is None else self.p.fma(a.low, b.high, e)

    def _mul(self, a: Wide, b: Wide) -> Wide:
        h, e = self._product(a.high, b.high)
        return self._fast(h, self._product_low(e, a, b))

    def _scale(self, a: Wide, power_of_two: float | Value) -> Wide:
        c = power_of_two if isinstance(power_of_two, Value) else self.p.const(power_of_two)
        return Wide(self.p.mul(a.high, c), None if a.low is None else self.p.mul(a.low, c))

    def _ratio(self, a: Wide, b: Wide) -> Wide:
        """a/b for finite a and b, b normal and not huge. The sign of a zero is kept."""
        p = self.p
        inverse = p.quotient(p.const(1.0), b.high)
        q = p.mul(a.high, inverse)
        rest = p.fma(p.neg(q), b.high, a.high)
        if b.low is not None:
            rest = p.fma(p.neg(q), b.low, rest)
        return self._fast(q, p.mul(self._sum(rest, a.low), inverse))

    def _negative(self, a: Wide) -> Wide:
        return Wide(self.p.neg(a.high), None if a.low is None else self.p.neg(a.low))

    def _choose(self, condition: Value, a: Wide, b: Wide) -> Wide:
        p = self.p
        high = p.select(condition, a.high, b.high)
        if a.low is None and b.low is None:
            return Wide(high, None)
        zero = p.const(0.0)
        return Wide(high, p.select(condition, a.low or zero, b.low or zero))

    def _with_sign(self, a: Wide, x: Value) -> Wide:
        """a >= 0 with the sign of x"""
        p = self.p
        if a.low is None:
            return Wide(p.copysign(a.high, x), None)
        sign = p.iand(p.bits(x), p.const(_SIGN, "i64"))
        return Wide(p.copysign(a.high, x), p.from_bits(p.ixor(p.bits(a.low), sign)))

    def _within(self, a: Wide, low: float, high: float) -> Wide:
        """a clamped, NaN kept"""
        p = self.p
        clamped = self._max(self._min(a.high, high), low)
        if a.low is None:
            return Wide(clamped, None)
        return Wide(clamped, p.select(p.eq(clamped, a.high), a.low, p.const(0.0)))

    def _polynomial(self, z: Wide, c: Sequence[tuple[float, float] | float], ordered: bool = True) -> Wide:
        """sum c_j z^j: pairs in pairs, the rest in f64; ordered: |c_j| > |the terms above it|."""
        p = self.p
        pairs = [x for x in c if isinstance(x, tuple)]
        total = Wide(self._horner(z.high, [x for x in c if not isinstance(x, tuple)]), None)
        for high, low in reversed(pairs):
            h, e = self._product(z.high, total.high)
            e = self._product_low(e, z, total)
            if ordered:
                s, rest = self._fast(p.const(high), h)
            else:
                s, rest = self._two_sum(p.const(high), h)
            assert rest is not None
            e = p.add(rest, e)
            total = Wide(s, p.add(e, p.const(low)) if low else e)
        return total

    # arithmetic ---------------------------------------------------------------------------------

    def add(self, a: Wide, b: Wide) -> Wide:
        s, e = self._two_sum(a.high, b.high)
        return self._fast(s, self._finite(self._sum(e, a.low, b.low)))

    def sub(self, a: Wide, b: Wide) -> Wide:
        return self.add(a, self.neg(b))

    def mul(self, a: Wide, b: Wide) -> Wide:
        for x, y in ((a, b), (b, a)):
            factor = self._number(x.high)
            if x.low is None and factor is not None and abs(math.frexp(factor)[0]) == 0.5:
                if abs(factor) == 1:
                    return y if factor > 0 else self.neg(y)
                return self._scale(y, factor)
        h, e = self._product(a.high, b.high)
        return self._fast(h, self._finite(self._product_low(e, a, b)))

    def div(self, a: Wide, b: Wide) -> Wide:
        p = self.p
        if b.low is None:
            factor = self._number(b.high)
            if factor is not None and abs(math.frexp(factor)[0]) == 0.5 and abs(factor) > 1e-300:
                return self.mul(a, Wide(p.const(1 / factor), None))
        q = p.div(a.high, b.high)
        rest = p.fma(p.neg(q), b.high, a.high)
        if b.low is not None:
            rest = p.fma(p.neg(q), b.low, rest)
        return self._fast(q, self._finite(p.div(self._sum(rest, a.low), b.high)))

    def neg(self, a: Wide) -> Wide:
        return Wide(self._minus(a.high), None if a.low is None else self._minus(a.low))

    def _minus(self, a: Value) -> Value:
        made = self.instruction(a)
        if made.op == "neg":
            return made.args[0]
        number = self._number(a)
        return self.p.neg(a) if number is None else self.p.const(-number)

    def abs(self, a: Wide) -> Wide:
        p = self.p
        made = self.instruction(a.high)
        if made.op == "neg":
            return self.abs(self.neg(a))
        if a.low is None:
            return Wide(p.abs(a.high), None)
        return Wide(p.abs(a.high), self._with_sign(Wide(a.high, a.low), a.high).low)

    def sqrt(self, a: Wide) -> Wide:
        p = self.p
        s = p.sqrt(a.high)
        rest = self._sum(p.fma(p.neg(s), s, a.high), a.low)
        return self._fast(s, self._finite(p.div(rest, p.add(s, s))))

    def sign(self, a: Wide) -> Wide:
        p = self.p
        zero = p.const(0.0)
        below = p.select(p.lt(a.high, zero), p.const(-1.0), a.high)
        return Wide(p.select(p.gt(a.high, zero), p.const(1.0), below), None)

    def minimum(self, a: Wide, b: Wide) -> Wide:
        return self._choose(self.p.or_(self.lt(a, b), self.is_nan(a)), a, b)

    def maximum(self, a: Wide, b: Wide) -> Wide:
        return self._choose(self.p.or_(self.gt(a, b), self.is_nan(a)), a, b)

    def _compare(self, strict: str, order: str, a: Wide, b: Wide) -> Value:
        """a.high strict b.high, or they are equal and a.low order b.low"""
        p = self.p
        if a.low is None and b.low is None:
            return p.op(order, a.high, b.high)
        zero = p.const(0.0)
        low = p.op(order, a.low or zero, b.low or zero)
        if order in {"le", "ge"}:  # equal infinities have no low part to compare
            low = p.or_(low, p.eq(p.abs(a.high), p.const(math.inf)))
        tie = p.and_(p.eq(a.high, b.high), low)
        return p.or_(p.op(strict, a.high, b.high), tie)

    def lt(self, a: Wide, b: Wide) -> Value:
        return self._compare("lt", "lt", a, b)

    def le(self, a: Wide, b: Wide) -> Value:
        return self._compare("lt", "le", a, b)

    def gt(self, a: Wide, b: Wide) -> Value:
        return self._compare("gt", "gt", a, b)

    def ge(self, a: Wide, b: Wide) -> Value:
        return self._compare("gt", "ge", a, b)

    def eq(self, a: Wide, b: Wide) -> Value:
        if a.low is None and b.low is None:
            return self.p.eq(a.high, b.high)
        return self.p.and_(self.le(a, b), self.ge(a, b))

    def ne(self, a: Wide, b: Wide) -> Value:
        return self.p.not_(self.eq(a, b))

    def is_nan(self, a: Wide) -> Value:
        return self.p.ne(a.high, a.high)

    def select(self, condition: Value, a: Wide, b: Wide) -> Wide:
        return self._choose(condition, a, b)

    # exponentials -------------------------------------------------------------------------------

    def _exponent(self, x: Wide) -> tuple[Value, Wide]:
        """(shifted k, e^r - 1) with x = k ln2 + r; k is in the low bits of the first.

        e^r - 1 = r + s + s (r C), s = r^2/2: the last product alone is not taken to all digits.
        """
        p = self.p
        shifted = p.fma(x.high, p.const(_LOG2E), p.const(_MAGIC))
        minus_k = p.sub(p.const(_MAGIC), shifted)
        high, low = fitted.LN2_PARTS
        # 42 bits times 11 bits: the product is exact, and so is the difference.
        rest = p.fma(minus_k, p.const(high), x.high)
        low_part = p.mul(minus_k, p.const(low)) if x.low is None else p.fma(minus_k, p.const(low), x.low)
        r = self._fast(rest, low_part)
        assert r.low is not None
        half = p.mul(r.high, p.const(0.5))
        square, e = self._product(half, r.high)
        s = Wide(square, p.fma(r.high, r.low, e))
        v, e = self._product(r.high, (c := self._polynomial(r, fitted.EXPM1_PAIR)).high)
        v_low = self._product_low(e, r, c)
        w, e = self._product(s.high, v)
        w_low = self._product_low(e, s, Wide(v, v_low))
        m = self._fast(r.high, s.high)
        m2 = self._fast(m.high, w)
        return shifted, self._fast(m2.high, self._sum(w_low, s.low, r.low, m.low, m2.low))

    def _power_of_two(self, shifted: Value) -> Value:
        p = self.p
        bits = p.ishl(p.bits(shifted), p.const(52, "i64"))
        return p.from_bits(p.iadd(bits, p.const(_ONE, "i64")))

    def _exp(self, x: Wide) -> Wide:
        """e^x; x already within [-746, 710]. In two steps, as 2^k alone need not be normal."""
        p = self.p
        shifted, m = self._exponent(x)
        small = p.lt(x.high, p.const(-690.0))
        s = self._power_of_two(p.add(shifted, p.select(small, p.const(127.0), p.const(-1.0))))
        y = self._scale(self._plus(1.0, m), s)
        return self._scale(y, p.select(small, p.const(2.0**-127), p.const(2.0)))

    def exp(self, x: Wide) -> Wide:
        return self._exp(self._within(x, -746.0, 710.0))

    def _expm1(self, x: Wide) -> Wide:
        """x within [-100, 710]; exact near 0, where k = 0. The sign of a zero is lost."""
        p = self.p
        shifted, m = self._exponent(x)
        s = self._power_of_two(p.sub(shifted, p.const(1.0)))
        e = self._scale(self._scale(self._plus(1.0, m), s), 2.0)
        near = p.eq(shifted, p.const(_MAGIC))
        return self._choose(near, m, self._add(e, Wide(p.const(-1.0), None)))

    def expm1(self, x: Wide) -> Wide:
        p = self.p
        y = self._expm1(self._within(x, -100.0, _LARGEST))
        y = self._choose(p.gt(x.high, p.const(_LARGEST)), Wide(p.const(math.inf), None), y)
        return Wide(p.copysign(y.high, x.high), y.low)

    def _decay(self, x: Wide) -> Wide:
        """e^-|x|"""
        return self._exp(self._within(self._negative(self.abs(x)), -746.0, 0.0))

    def sigmoid(self, x: Wide) -> Wide:
        """1/(1 + t) or t/(1 + t), t = e^-|x|"""
        p = self.p
        t = self._decay(x)
        one = Wide(p.const(1.0), None)
        upper = self._choose(p.gt(x.high, p.const(0.0)), one, t)
        return self._ratio(upper, self._plus(1.0, t))

    def tanh(self, x: Wide) -> Wide:
        """tanh(a) = -m/(2 + m), m = e^-2a - 1"""
        twice = self._scale(self._negative(self.abs(x)), 2.0)
        m = self._expm1(self._within(twice, -100.0, 0.0))
        return self._with_sign(self._ratio(self._negative(m), self._plus(2.0, m)), x.high)

    def softplus(self, x: Wide) -> Wide:
        """max(x, 0) + log1p(t), t = e^-|x|"""
        p = self.p
        y = self._log1p(self._decay(x))
        positive = self._choose(p.gt(x.high, p.const(0.0)), x, Wide(p.const(0.0), None))
        return self.add(positive, y)

    # logarithms ---------------------------------------------------------------------------------

    def _split(self, x: Wide) -> tuple[Value, Wide]:
        """(-k, m - 1) with x = 2^k m, m in [sqrt(1/2), sqrt(2)), for finite x > 0"""
        p = self.p
        tiny = p.lt(x.high, p.const(2.0**-960))
        x = self._scale(x, p.select(tiny, p.const(2.0**60), p.const(1.0)))
        minus_k, m = self._split_normal(x.high)
        f: Wide
        if x.low is None:
            f = Wide(p.sub(m, p.const(1.0)), None)
        else:
            # 2^-k; above 2^1022 the low part no longer counts.
            field = p.add(self._max(minus_k, -1023.0), p.const(2.0**52 + 1023))
            inverse = p.ishl(p.bits(field), p.const(52, "i64"))
            f = self._fast(p.sub(m, p.const(1.0)), p.mul(x.low, p.from_bits(inverse)))
        return p.add(minus_k, p.select(tiny, p.const(60.0), p.const(0.0))), f

    def _log(self, minus_k: Value, f: Wide) -> Wide:
        """k ln2 + log(1 + f), log(1 + f) = 2 atanh(s), s = f/(2 + f)"""
        p = self.p
        s = self._ratio(f, self._plus(2.0, f))
        y = self._mul(s, self._polynomial(self._square(s), fitted.LOG_PAIR))
        assert y.low is not None
        high, low = fitted.LN2_PARTS
        total = self._fast(p.mul(minus_k, p.const(-high)), y.high)
        assert total.low is not None
        return self._fast(total.high, p.add(total.low, p.fma(minus_k, p.const(-low), y.low)))

    def _square(self, a: Wide) -> Wide:
        """a^2, not normalised"""
        p = self.p
        h, e = self._product(a.high, a.high)
        return Wide(h, e if a.low is None else p.fma(p.add(a.high, a.high), a.low, e))

    def _log_limits(self, x: Value, y: Wide) -> Wide:
        return Wide(self._logarithm_at_limits(x, y.high), y.low)

    def log(self, x: Wide) -> Wide:
        return self._log_limits(x.high, self._log(*self._split(x)))

    def _log1p(self, x: Wide) -> Wide:
        """log1p for finite x > -1; where 1 + x needs no exponent, f is x itself."""
        p = self.p
        minus_k, f = self._split(self._add(Wide(p.const(1.0), None), x))
        return self._log(minus_k, self._choose(p.eq(minus_k, p.const(0.0)), x, f))

    def log1p(self, x: Wide) -> Wide:
        p = self.p
        w = p.add(x.high, p.const(1.0))
        y = self._log_limits(w if x.low is None else p.add(w, self._finite(x.low)), self._log1p(x))
        return self._unless_tiny(x, Wide(p.copysign(y.high, x.high), y.low))

    def _unless_tiny(self, x: Wide, y: Wide) -> Wide:
        """x where |x| < 2^-80, y elsewhere: y may lose the last bit of a subnormal."""
        return self._choose(self.p.lt(self.p.abs(x.high), self.p.const(2.0**-80)), x, y)

    def asinh(self, x: Wide) -> Wide:
        """asinh(a) = log1p(a + a^2/(1 + sqrt(1 + a^2))), a = |x|; log(2a) for huge a"""
        p = self.p
        a = self.abs(x)
        huge = p.gt(a.high, p.const(2.0**500))
        b = self._within(a, 0.0, 2.0**500)
        square = self._mul(b, b)
        one = Wide(p.const(1.0), None)
        root = self._add(one, square)
        s = p.sqrt(root.high)
        rest = self._sum(p.fma(p.neg(s), s, root.high), root.low)
        half = p.mul(p.quotient(p.const(1.0), s), p.const(0.5))
        lower = self._add(one, self._fast(s, p.mul(rest, half)))
        y = self._log1p(self._choose(huge, a, self._add(b, self._ratio(square, lower))))
        y = self._add(y, self._choose(huge, self._constant(fitted.LN2), Wide(p.const(0.0), None)))
        y = Wide(p.select(p.lt(a.high, p.const(math.inf)), y.high, a.high), y.low)
        return self._with_sign(self._unless_tiny(a, y), x.high)

    # the normal distribution --------------------------------------------------------------------

    def _gauss(self, square: Wide) -> Wide:
        """e^(-square/2)"""
        return self._exp(self._scale(square, -0.5))

    def _mills(self, a: Wide) -> Wide:
        """R(a) = P(y)/(a + 4), y = (a - 4)/(a + 4) = 1 - 8/(a + 4)"""
        p = self.p
        one = Wide(p.const(1.0), None)
        inverse = self._ratio(one, self._add(Wide(p.const(4.0), None), a))
        y = self._add(one, self._scale(inverse, -8.0))
        return self._mul(self._polynomial(y, fitted.MILLS_PAIR, ordered=False), inverse)

    def normal_pdf(self, x: Wide) -> Wide:
        a = self._within(self.abs(x), 0.0, 39.0)
        return self._mul(self._gauss(self._mul(a, a)), self._constant(fitted.INVERSE_ROOT_TWO_PI))

    def normal_cdf(self, x: Wide) -> Wide:
        p = self.p
        a = self._within(self.abs(x), 0.0, 39.0)
        tail = self._mul(self._gauss(self._mul(a, a)), self._mills(a))
        upper = self._plus(1.0, self._negative(tail))
        return self._choose(p.gt(x.high, p.const(0.0)), upper, tail)

    def erf(self, x: Wide) -> Wide:
        """x P(x^2) near 0, else 1 - 2 normal_cdf(-sqrt2 a)"""
        p = self.p
        a = self._within(self.abs(x), 0.0, 6.5)
        square = self._mul(a, a)
        near = self._mul(a, self._polynomial(square, fitted.ERF_PAIR))
        tail = self._mul(
            self._exp(self._negative(square)), self._mills(self._mul(a, self._constant(fitted.ROOT_TWO)))
        )
        y = self._choose(
            p.lt(a.high, p.const(0.5)), near, self._plus(1.0, self._negative(self._scale(tail, 2.0)))
        )
        return self._with_sign(y, x.high)

    # trigonometry -------------------------------------------------------------------------------

    def _quadrant(self, x: Value) -> tuple[Value, Wide]:
        """(k, f): x = (k + f) pi/2 modulo full turns, |f| <= 1/2; k in the low bits.

        As in `Double`, with a fourth word and no digit dropped where the sum cancels.
        """
        p = self.p
        m, (w1, w2, w3, w4) = self._turns(x, 4)
        h1, l1 = self._product(m, w1)
        h2, l2 = self._product(m, w2)
        h3, l3 = self._product(m, w3)
        l3 = p.fma(m, w4, l3)
        h1 = p.fma(p.rint(p.mul(h1, p.const(0.25))), p.const(-4.0), h1)
        shifted = p.add(p.add(p.add(h1, l1), h2), p.const(_MAGIC))
        s, e1 = self._two_sum(p.sub(h1, p.sub(shifted, p.const(_MAGIC))), l1)
        s, e2 = self._two_sum(s, h2)
        e, e3 = self._two_sum(e1, e2)
        l, e4 = self._two_sum(l2, h3)
        t, e5 = self._two_sum(e, l)
        s, e6 = self._two_sum(s, t)
        low = p.add(p.add(e3, e4), p.add(e5, l3))
        s, e7 = self._two_sum(s, e6)
        return p.bits(shifted), self._fast(s, p.add(e7, low))

    def _trigonometric(self, x: Wide, quarter: int) -> Wide:
        """sin(x + quarter pi/2), NaN at infinities; wrong below 2^-40 in size for quarter 0."""
        p = self.p
        k, f = self._quadrant(x.high)
        if x.low is not None:
            # The low part may hold turns too. Infinities have no low part.
            k2, f2 = self._quadrant(x.low)
            small = p.lt(p.abs(x.low), p.const(math.ldexp(1.0, _FIRST_EXPONENT)))
            linear = self._mul(Wide(x.low, None), self._constant(fitted.TWO_OVER_PI))
            k2 = p.bits(p.select(small, p.const(0.0), p.from_bits(k2)))
            f = self._add(f, self._choose(small, linear, f2))
            shifted = p.add(f.high, p.const(_MAGIC))
            f = self._add(f, Wide(p.sub(p.const(_MAGIC), shifted), None))
            k = p.iadd(p.iadd(k, k2), p.bits(shifted))
        z = self._square(f)
        sine = self._mul(f, self._polynomial(z, fitted.SIN_PAIR))
        cosine = self._polynomial(z, fitted.COS_PAIR)
        assert cosine.low is not None
        state, even = self._quarters(k, quarter)
        y = self._choose(even, sine, self._fast(cosine.high, cosine.low))
        assert y.low is not None
        sign = p.iand(state, p.const(_SIGN, "i64"))
        high, low = (p.from_bits(p.ixor(p.bits(v), sign)) for v in (y.high, y.low))
        return Wide(p.select(p.lt(p.abs(x.high), p.const(math.inf)), high, p.const(math.nan)), low)

    def sin(self, x: Wide) -> Wide:
        p = self.p
        small = p.lt(p.abs(x.high), p.const(math.ldexp(1.0, _FIRST_EXPONENT)))
        return self._choose(small, x, self._trigonometric(x, 0))

    def cos(self, x: Wide) -> Wide:
        return self._trigonometric(x, 1)

    def atan(self, x: Wide) -> Wide:
        """atan(a) = b + atan(t): (b, t) = (0, a), (pi/4, (a - 1)/(a + 1)) or (pi/2, -1/a)"""
        p = self.p
        one, minus, zero = (Wide(p.const(c), None) for c in (1.0, -1.0, 0.0))
        a = self._within(self.abs(x), 0.0, 2.0**200)
        near = p.lt(a.high, p.const(math.sqrt(2) - 1))
        far = p.gt(a.high, p.const(math.sqrt(2) + 1))
        upper = self._choose(near, a, self._choose(far, minus, self._add(a, minus)))
        lower = self._choose(near, one, self._choose(far, a, self._add(a, one)))
        half, quarter = (
            self._constant(fitted.HALF_PI),
            self._constant((fitted.HALF_PI[0] / 2, fitted.HALF_PI[1] / 2)),
        )
        base = self._choose(near, zero, self._choose(far, half, quarter))
        t = self._ratio(upper, lower)
        y = self._mul(t, self._polynomial(self._square(t), fitted.ATAN_PAIR))
        total = self._fast(base.high, y.high)
        assert total.low is not None
        return self._with_sign(self._fast(total.high, self._sum(total.low, base.low, y.low)), x.high)


class Scaled(NamedTuple):
    """(value + low) 2^floor(exponent); low None: 0, exponent None: 0.

    low is what a product can still use of a literal or of a primitive before it is rounded, so that
    x sigmoid(x) is rounded once. The exponent is a float: a result too small for f32 keeps its digits
    until the end, so that x sigmoid(x) is right where sigmoid(x) alone is subnormal. bounded: |value| is
    finite, at most 1 or so, for every input.
    """

    value: Value
    low: Value | None = None
    exponent: Value | None = None
    bounded: bool = False


class Single(_Common):
    """Numbers are f32 values, with a low part and a power of two carried along where they are needed.

    Errors are in `SINGLE_ERROR`, measured over every f32. What is not here is not worth it: `Double`
    serves it.
    """

    # numbers ------------------------------------------------------------------------------------

    def _c(self, number: float) -> Value:
        return self.p.const(number, "f32")

    def const(self, number: Any) -> Scaled:
        nearest = _nearest(number)
        if abs(nearest) >= 2.0**128 - 2.0**103:  # rounds to infinity
            nearest = math.copysign(math.inf, nearest)
        high = _toward_zero(nearest)
        lost = float(exact(number) - Fraction(high)) if math.isfinite(high) else 0.0
        if abs(lost) < 2.0**-140:
            return Scaled(self._c(nearest))
        return Scaled(self._c(high), self._c(lost))

    def from_value(self, value: Value) -> Scaled:
        return Scaled(value)

    def to_value(self, a: Scaled) -> Value:
        value = a.value
        if a.low is not None:
            literal, low = self._number(a.value), self._number(a.low)
            both = literal is not None and low is not None
            value = self._c(literal + low) if both else self.p.add(a.value, a.low)  # type: ignore[operator]
        return value if a.exponent is None else self.p.scale(value, a.exponent)

    _plain = to_value

    # arithmetic ---------------------------------------------------------------------------------

    def add(self, a: Scaled, b: Scaled) -> Scaled:
        x, y = self._plain(a), self._plain(b)
        for left, right in ((x, y), (y, x)):
            made = self.instruction(left)
            if made.op == "mul":
                return Scaled(self.p.fma(*made.args, right))
        return Scaled(self.p.add(x, y))

    def sub(self, a: Scaled, b: Scaled) -> Scaled:
        p = self.p
        x, y = self._plain(a), self._plain(b)
        left, right = self.instruction(x), self.instruction(y)
        if left.op == "mul":
            return Scaled(p.fma(*left.args, p.neg(y)))
        if right.op == "mul":
            return Scaled(p.fma(p.neg(right.args[0]), right.args[1], x))
        return Scaled(p.sub(x, y))

    def mul(self, a: Scaled, b: Scaled) -> Scaled:
        p = self.p
        for x, y in ((a, b), (b, a)):
            number = self._number(x.value)
            if number is not None and abs(number) == 1 and x.low is None:
                return y if number > 0 else self.neg(y)
        exponent = a.exponent or b.exponent
        if a.exponent is not None and b.exponent is not None:
            # multiples of 1/32: the floor of the sum need not be the sum of the floors
            exponent = p.add(self._floor(a.exponent), self._floor(b.exponent))
        cross = None
        for x, y, other in ((a, b, None), (b, a, a.low)):
            if x.low is not None:  # an infinite y makes the product infinite, not its correction
                small = y.value if y.bounded else self._clamp(y.value, -_SINGLE_LARGEST, _SINGLE_LARGEST)
                if other is not None:  # the product of the low parts counts, too: they may be a hundredth
                    small = p.add(small, other)
                cross = p.mul(x.low, small) if cross is None else p.fma(x.low, small, cross)
        if cross is None:
            return Scaled(p.mul(a.value, b.value), None, exponent)
        return Scaled(p.fma(a.value, b.value, cross), None, exponent, a.bounded and b.bounded)

    def div(self, a: Scaled, b: Scaled) -> Scaled:
        divisor = self._number(b.value)
        if divisor is not None and 2.0**-120 < abs(divisor) < 2.0**120:
            lost = 0.0 if b.low is None else self._number(b.low)
            if lost is not None:  # a product with all the digits of the literal's inverse: one rounding
                return self.mul(a, self.const(1 / (Fraction(divisor) + Fraction(lost))))
        rounded = self._plain(Scaled(a.value, a.low))
        return Scaled(self.p.div(rounded, self._plain(b)), None, a.exponent)

    def neg(self, a: Scaled) -> Scaled:
        low = None if a.low is None else self._minus(a.low)
        return Scaled(self._minus(a.value), low, a.exponent, a.bounded)

    def _minus(self, a: Value) -> Value:
        made = self.instruction(a)
        if made.op == "neg":
            return made.args[0]
        number = self._number(a)
        return self.p.neg(a) if number is None else self._c(-number)

    def abs(self, a: Scaled) -> Scaled:
        rounded = self._plain(Scaled(a.value, a.low))
        made = self.instruction(rounded)
        return Scaled(self.p.abs(made.args[0] if made.op == "neg" else rounded), None, a.exponent)

    def sqrt(self, a: Scaled) -> Scaled:
        return Scaled(self.p.sqrt(self._plain(a)))

    def sign(self, a: Scaled) -> Scaled:
        p = self.p
        zero, rounded = self._c(0.0), self._plain(Scaled(a.value, a.low))
        below = p.select(p.lt(rounded, zero), self._c(-1.0), rounded)
        return Scaled(p.select(p.gt(rounded, zero), self._c(1.0), below))

    def minimum(self, a: Scaled, b: Scaled) -> Scaled:
        return self.select(self.p.or_(self.lt(a, b), self.is_nan(a)), a, b)

    def maximum(self, a: Scaled, b: Scaled) -> Scaled:
        return self.select(self.p.or_(self.gt(a, b), self.is_nan(a)), a, b)

    def lt(self, a: Scaled, b: Scaled) -> Value:
        return self.p.lt(self._plain(a), self._plain(b))

    def le(self, a: Scaled, b: Scaled) -> Value:
        return self.p.le(self._plain(a), self._plain(b))

    def gt(self, a: Scaled, b: Scaled) -> Value:
        return self.p.gt(self._plain(a), self._plain(b))

    def ge(self, a: Scaled, b: Scaled) -> Value:
        return self.p.ge(self._plain(a), self._plain(b))

    def eq(self, a: Scaled, b: Scaled) -> Value:
        return self.p.eq(self._plain(a), self._plain(b))

    def ne(self, a: Scaled, b: Scaled) -> Value:
        return self.p.ne(self._plain(a), self._plain(b))

    def is_nan(self, a: Scaled) -> Value:
        return self.p.ne(a.value, a.value)

    def select(self, condition: Value, a: Scaled, b: Scaled) -> Scaled:
        def choose(x: Value | None, y: Value | None, default: float) -> Value | None:
            if x is None and y is None:
                return None
            c = self._c(default)
            return self.p.select(condition, x or c, y or c)

        value = self.p.select(condition, a.value, b.value)
        exponent = choose(a.exponent, b.exponent, 0.0)
        return Scaled(value, choose(a.low, b.low, 0.0), exponent, a.bounded and b.bounded)

    # exponentials -------------------------------------------------------------------------------

    def _floor(self, exponent: Value) -> Value:
        """The whole part of a multiple of 1/32"""
        p = self.p
        return p.sub(p.rint(p.add(exponent, self._c(0.5 + 2.0**-6))), self._c(1.0))

    def _pick(self, table: Sequence[float], index: Value) -> Value:
        return self.p.pick(index, payload=tuple(table))

    def _reduced(self, x: Value) -> tuple[Value, Value, Value, Value, Value]:
        """(k, exponent, h, t, low): e^x = 2^floor(exponent) (t + low) e^(h - k rest), rest that of
        `LN2_SHORT_SINGLE`, |h| < ln2/64, t in [1/2, 1).

        k is a multiple of 1/32 whose fraction selects t; 11 bits of ln 2 times it are exact, and so is
        h. t below 1: a product with it cannot overflow before its exponent makes it small.
        """
        p = self.p
        high = fitted.LN2_SHORT_SINGLE[0]
        shifted = p.fma(x, self._c(_LOG2E), self._c(_MAGIC_32))
        k = p.sub(shifted, self._c(_MAGIC_32))
        h = p.fma(k, self._c(-high), x)
        place = p.bits(shifted)
        t, low = (self._pick(table, place) for table in (fitted.POWERS_SINGLE, fitted.POWERS_SINGLE_LOW))
        return k, p.sub(shifted, self._c(_MAGIC_32 - 1)), h, t, low

    def _exponent(self, x: Value, low: Value | None = None) -> tuple[Value, Value, Value]:
        """(k, t, w): e^(x + low) = 2^floor(k) (t + w) to 2^-30, |w| < 0.011 t"""
        p = self.p
        k, exponent, h, t, t_low = self._reduced(x)
        r = p.fma(k, self._c(-fitted.LN2_SHORT_SINGLE[1]), h)
        if low is not None:
            r = p.add(r, low)
        m = p.fma(p.mul(r, r), self._horner(r, fitted.EXP_SINGLE), r)
        return exponent, t, p.fma(t, m, t_low)

    def _horner(self, z: Value, c: Sequence[float]) -> Value:
        total = self._c(c[-1])
        for x in reversed(c[:-1]):
            total = self.p.fma(total, z, self._c(x))
        return total

    def exp(self, x: Scaled) -> Scaled:
        k, t, w = self._exponent(self._clamp(self._plain(x), -_FAR, _FAR))
        return Scaled(t, w, k, bounded=True)

    def _clamp(self, x: Value, low: float, high: float) -> Value:
        """x within [low, high], NaN kept"""
        return self._least(self._most(x, high), low)

    def _least(self, x: Value, low: float) -> Value:
        c = self._c(low)
        return self.p.select(self.p.gt(c, x), c, x)

    def _most(self, x: Value, high: float) -> Value:
        c = self._c(high)
        return self.p.select(self.p.lt(c, x), c, x)

    def expm1(self, x: Scaled) -> Scaled:
        """(2^k t - 1) + 2^k w, w = t (e^r - 1), halved so that it overflows only where it must.

        Near 0 all of the result is in w: h, the exact part of r, enters it last. Tiny x are left alone.
        """
        p = self.p
        v = self._plain(x)
        k, exponent, h, t, t_low = self._reduced(self._clamp(v, -18.0, 89.0))
        tail = p.mul(k, self._c(-fitted.LN2_SHORT_SINGLE[1]))
        r = p.add(h, tail)
        m = p.fma(p.mul(r, r), self._horner(r, fitted.EXPM1_SINGLE), tail)
        w = p.fma(t, h, p.fma(t, m, t_low))
        half = p.sub(exponent, self._c(1.0))
        y = p.add(p.sub(p.scale(t, half), self._c(0.5)), p.scale(w, half))
        return Scaled(p.select(p.lt(p.abs(v), self._c(2.0**-30)), v, p.add(y, y)))

    def _decay(self, x: Value) -> tuple[Value, Value, Value, Value, Value]:
        """(k, t, w, s, low): e^-|x| = 2^floor(k) (t + w) = s + low"""
        p = self.p
        k, t, w = self._exponent(self._least(p.neg(p.abs(x)), -_FAR))
        return k, t, w, p.scale(t, k), p.scale(w, k)

    def _ratio(self, n: Value, low: Value, d: Value, e: Value) -> tuple[Value, Value]:
        """(q, rest): (n + low)/(d + e) = q + rest, e below the last bit of d"""
        p = self.p
        inverse = p.quotient(self._c(1.0), d)
        q = p.mul(n, inverse)
        minus = p.neg(q)
        rest = p.add(p.fma(minus, e, p.fma(minus, d, n)), low)
        return q, p.mul(rest, inverse)

    def sigmoid(self, x: Scaled) -> Scaled:
        """1/(1 + s) or s/(1 + s), s = e^-|x|"""
        p = self.p
        v = self._plain(x)
        k, t, w, s, low = self._decay(v)
        one, zero = self._c(1.0), self._c(0.0)
        d = p.add(one, p.add(s, low))
        e = p.add(p.sub(s, p.sub(d, one)), low)
        positive = p.gt(v, zero)
        q, rest = self._ratio(p.select(positive, one, t), p.select(positive, zero, w), d, e)
        return Scaled(q, rest, p.select(positive, zero, k), bounded=True)

    def tanh(self, x: Scaled) -> Scaled:
        """A polynomial in |x| - centre, four of them an octave; from 9.9 on it is 1"""
        p = self.p
        v = self._plain(x)
        a = self._most(p.abs(v), 9.9)
        # all below 1/8 goes where 0.1171875 would: just before the first octave
        place = p.ilshr(p.bits(self._least(a, 0.1171875)), p.const(21, "i32"))
        first = (0x3DF00000 >> 21) % PICKED
        centre, *c = (
            self._pick([row[(j - first) % PICKED] for j in range(PICKED)], place)
            for row in fitted.TANH_PIECES
        )
        d = p.sub(a, centre)
        y = c[-1]
        for below in reversed(c[:-1]):
            y = p.fma(y, d, below)
        return Scaled(p.copysign(y, v))

    def softplus(self, x: Scaled) -> Scaled:
        """max(x, 0) + 2 atanh(q), q = s/(2 + s), s = e^-|x|"""
        p = self.p
        v = self._plain(x)
        k, t, w, s, low = self._decay(v)
        two, zero = self._c(2.0), self._c(0.0)
        d = p.add(two, p.add(s, low))
        e = p.add(p.sub(s, p.sub(d, two)), low)
        q, rest = self._ratio(t, w, d, e)  # without its power of two
        c = p.add(q, rest)
        z = p.scale(c, k)
        z = p.mul(z, z)
        low = p.fma(rest, two, p.mul(p.mul(c, z), self._horner(z, fitted.LOG1P_SINGLE)))
        y = p.scale(p.fma(q, two, low), k)
        return Scaled(p.add(y, p.select(p.gt(v, zero), v, zero)))

    def _gauss(self, a: Value) -> tuple[Value, Value, Value]:
        """(k, t, w) of e^(-a^2/2); what a^2 loses in rounding goes into the exponent too."""
        p = self.p
        minus_half = p.mul(a, self._c(-0.5))
        u = p.mul(minus_half, a)
        return self._exponent(u, p.fma(minus_half, a, p.neg(u)))

    def _product(self, a: Value, a_low: Value, b: Value, b_low: Value) -> tuple[Value, Value]:
        """(a + a_low)(b + b_low) as a sum of two"""
        p = self.p
        value = p.mul(a, b)
        low = p.fma(a, b_low, p.fma(a, b, p.neg(value)))
        return value, p.fma(a_low, p.add(b, b_low), low)

    def normal_pdf(self, x: Scaled) -> Scaled:
        k, t, w = self._gauss(self._most(self.p.abs(self._plain(x)), 20.0))
        high, low = fitted.INVERSE_ROOT_TWO_PI_SINGLE
        return Scaled(*self._product(t, w, self._c(high), self._c(low)), k, bounded=True)

    def normal_cdf(self, x: Scaled) -> Scaled:
        """normal_cdf(-a) = e^(-a^2/2) U(a), U a polynomial around the nearest multiple of 15/32"""
        p = self.p
        v = self._plain(x)
        a = self._most(p.abs(v), 20.0)  # far beyond 0, so that x normal_cdf(x) is 0 for every large x
        k, t, w = self._gauss(a)
        a = self._most(a, 14.7)
        shifted = p.fma(a, self._c(32 / 15), self._c(_MAGIC_SINGLE))
        d = p.fma(p.sub(shifted, self._c(_MAGIC_SINGLE)), self._c(-15 / 32), a)
        low, first, *c = (self._pick(row, p.bits(shifted)) for row in fitted.MILLS_PIECES)
        rest = c[-1]
        for below in reversed(c[:-1]):
            rest = p.fma(rest, d, below)
        tail, tail_low = self._product(t, w, first, p.fma(rest, d, low))
        one, zero = self._c(1.0), self._c(0.0)
        s = p.scale(tail, k)
        upper = p.sub(one, s)
        upper_low = p.sub(p.sub(p.sub(one, upper), s), p.scale(tail_low, k))
        positive = p.gt(v, zero)
        return Scaled(
            p.select(positive, upper, tail),
            p.select(positive, upper_low, tail_low),
            p.select(positive, zero, k),
            bounded=True,
        )

    # logarithms ---------------------------------------------------------------------------------

    def _split(self, x: Value) -> tuple[Value, Value]:
        """(-k, m - 1): x = 2^k m, m in [sqrt(1/2), sqrt(2)), for normal x > 0"""
        p = self.p
        i = p.isub(p.bits(x), p.const(_ROOT_HALF_SINGLE - (128 << 23), "i32"))
        biased = p.ior(p.ilshr(i, p.const(23, "i32")), p.const(0x4B000000, "i32"))
        minus_k = p.sub(self._c(2.0**23 + 128), p.from_bits(biased))
        m = p.iadd(p.iand(i, p.const((1 << 23) - 1, "i32")), p.const(_ROOT_HALF_SINGLE, "i32"))
        return minus_k, p.sub(p.from_bits(m), self._c(1.0))

    def _log(self, minus_k: Value, f: Value, c: Value | None = None) -> Value:
        """k ln2 + (f + c) + (f + c)^2 P(f + c)"""
        p = self.p
        high, low = fitted.LN2_SINGLE
        tail = p.mul(minus_k, self._c(-low)) if c is None else p.fma(minus_k, self._c(-low), c)
        g = f if c is None else p.add(f, c)
        y = p.fma(p.mul(g, g), self._horner(g, fitted.LOG_SINGLE), tail)
        return p.fma(minus_k, self._c(-high), p.add(f, y))

    def _log_limits(self, x: Value, y: Value) -> Value:
        p = self.p
        zero = self._c(0.0)
        y = p.select(p.lt(x, self._c(math.inf)), y, x)
        outside = p.select(p.eq(x, zero), self._c(-math.inf), self._c(math.nan))
        return p.select(p.le(x, zero), outside, y)

    def log(self, x: Scaled) -> Scaled:
        p = self.p
        v = self._plain(x)
        tiny = p.lt(v, self._c(2.0**-126))
        minus_k, f = self._split(p.mul(v, p.select(tiny, self._c(2.0**24), self._c(1.0))))
        minus_k = p.add(minus_k, p.select(tiny, self._c(24.0), self._c(0.0)))
        return Scaled(self._log_limits(v, self._log(minus_k, f)))

    def log1p(self, x: Scaled) -> Scaled:
        """As log(1 + x), what 1 + x loses in rounding added to m - 1."""
        p = self.p
        v = self._plain(x)
        one = self._c(1.0)
        w = p.add(one, v)
        t = p.sub(w, one)
        e = p.add(p.sub(one, p.sub(w, t)), p.sub(v, t))
        minus_k, f = self._split(w)
        least = self._c(-127.0)
        field = p.add(p.select(p.gt(least, minus_k), least, minus_k), self._c(2.0**23 + 127))
        scale = p.from_bits(p.ishl(p.bits(field), p.const(23, "i32")))
        y = self._log_limits(w, self._log(minus_k, f, p.mul(e, scale)))
        return Scaled(p.copysign(y, v))

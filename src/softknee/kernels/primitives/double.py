"""Elementary functions in one f64, for results in float32, float16 and bfloat16."""

from __future__ import annotations

import math
from typing import Any

from softknee.kernels import coefficients as fitted
from softknee.kernels.primitives.common import FIRST_EXPONENT, LOG2E, MAGIC, ONE, SIGN, Common, exact, nearest
from softknee.kernels.program import Value

__all__ = ["Double"]

_LN2 = math.log(2)
_LEAST = -1020 * _LN2  # of exp's arguments: the smallest result, 2^-1020, stands for 0


class Double(Common):
    """Numbers are single f64 values, good to about 2^-43.

    Written for float32 data. Results below 1e-290 may come out as anything below 1e-290.
    """

    name = "double"

    # numbers ------------------------------------------------------------------------------------

    def const(self, number: Any) -> Value:
        return self.p.const(nearest(number))

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
        shifted = p.fma(x, p.const(LOG2E * scale), p.const(MAGIC))
        k = p.sub(shifted, p.const(MAGIC))
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
        s = p.from_bits(p.iadd(k, p.const(ONE - ((1 << 52) if half else 0), "i64")))
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
        shifted = p.add(p.add(p.add(h1, l1), h2), p.const(MAGIC))
        k = p.sub(shifted, p.const(MAGIC))
        f = p.add(p.add(p.add(p.sub(h1, k), l1), h2), l2)
        return p.bits(shifted), f

    def _lost(self, x: Value) -> Value | None:
        """What a product lost when it was rounded; None for what is no product, or an exact one."""
        made = self.instruction(x)
        if made.op != "mul" or sum(map(self._bits, made.args)) <= 53:
            return None
        return self.p.fma(*made.args, self.p.neg(x))

    def _bits(self, value: Value) -> int:
        """The most bits that a number may have between its first and its last"""
        made = self.instruction(value)
        if made.op == "const":
            size = abs(exact(made.payload).numerator)
            return (size // (size & -size or 1)).bit_length()
        if made.op == "neg":
            return self._bits(made.args[0])
        return 24 if made.op == "widen" else 53

    def _trigonometric(self, x: Value, quarter: int) -> Value:
        """sin(x + quarter pi/2), NaN at infinities; wrong below 2^-40 in size for quarter 0."""
        p = self.p
        k, f = self._quadrant(x)
        if (lost := self._lost(x)) is not None:  # which is many turns where x is large
            more, rest = self._quadrant(lost)
            small = p.lt(p.abs(lost), p.const(math.ldexp(1.0, FIRST_EXPONENT)))
            rest = p.select(small, p.mul(lost, p.const(2 / math.pi)), rest)
            shifted = p.add(p.add(f, rest), p.const(MAGIC))
            f = p.add(p.sub(f, p.sub(shifted, p.const(MAGIC))), rest)
            k = p.iadd(p.iadd(k, more), p.bits(shifted))
        z = p.mul(f, f)
        sine = p.mul(f, self._horner(z, fitted.SIN_DOUBLE))
        cosine = self._horner(z, fitted.COS_DOUBLE)
        state, even = self._quarters(k, quarter)
        y = p.bits(p.select(even, sine, cosine))
        y = p.from_bits(p.ixor(y, p.iand(state, p.const(SIGN, "i64"))))
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

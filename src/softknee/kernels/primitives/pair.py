"""Elementary functions in unevaluated sums of two f64, for results in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from softknee.kernels import coefficients as fitted
from softknee.kernels.primitives.common import FIRST_EXPONENT, LOG2E, MAGIC, SIGN, Common, exact, nearest
from softknee.kernels.program import Value

__all__ = ["Odd", "Pair", "Wide"]

_LARGEST = 709.782712893384  # the largest argument with a finite exponential


class Wide(NamedTuple):
    """high + low, high the nearest f64 to the sum; low None: exactly 0. Where high is infinite or
    NaN, low is anything.
    """

    high: Value
    low: Value | None


def _low_of(a: Wide) -> Value:
    assert a.low is not None
    return a.low


class Pair(Common):
    """Numbers are unevaluated sums of two f64, good to about 2^-60 after a few operations.

    What leaves a method is normalised. The arithmetic guards infinities: an error term that is not
    finite counts as 0. Inside primitives, whose arguments are clamped first, it is not guarded.
    """

    # numbers ------------------------------------------------------------------------------------

    def const(self, number: Any) -> Wide:
        high = nearest(number)
        low = float(exact(number) - Fraction(high)) if math.isfinite(high) else 0.0
        return self._constant((high, low))

    def _constant(self, pair: tuple[float, float]) -> Wide:
        return Wide(self.p.const(pair[0]), self.p.const(pair[1]) if pair[1] else None)

    def from_value(self, value: Value) -> Wide:
        return Wide(self.p.widen(value) if value.type == "f32" else value, None)

    def to_value(self, a: Wide) -> Value:
        return a.high

    # exact building blocks ----------------------------------------------------------------------

    def _fast(self, a: Value, b: Value) -> Wide:
        """a + b normalised, for |a| >= |b| or a = 0 (Dekker 1971)"""
        s = self.p.add(a, b)
        return Wide(s, self.p.sub(b, self.p.sub(s, a)))

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
        sign = p.iand(p.bits(x), p.const(SIGN, "i64"))
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
        shifted = p.fma(x.high, p.const(LOG2E), p.const(MAGIC))
        minus_k = p.sub(p.const(MAGIC), shifted)
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
        near = p.eq(shifted, p.const(MAGIC))
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
        shifted = p.add(p.add(p.add(h1, l1), h2), p.const(MAGIC))
        s, e1 = self._two_sum(p.sub(h1, p.sub(shifted, p.const(MAGIC))), l1)
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
            small = p.lt(p.abs(x.low), p.const(math.ldexp(1.0, FIRST_EXPONENT)))
            linear = self._mul(Wide(x.low, None), self._constant(fitted.TWO_OVER_PI))
            k2 = p.bits(p.select(small, p.const(0.0), p.from_bits(k2)))
            f = self._add(f, self._choose(small, linear, f2))
            shifted = p.add(f.high, p.const(MAGIC))
            f = self._add(f, Wide(p.sub(p.const(MAGIC), shifted), None))
            k = p.iadd(p.iadd(k, k2), p.bits(shifted))
        z = self._square(f)
        sine = self._mul(f, self._polynomial(z, fitted.SIN_PAIR))
        cosine = self._polynomial(z, fitted.COS_PAIR)
        assert cosine.low is not None
        state, even = self._quarters(k, quarter)
        y = self._choose(even, sine, self._fast(cosine.high, cosine.low))
        assert y.low is not None
        sign = p.iand(state, p.const(SIGN, "i64"))
        high, low = (p.from_bits(p.ixor(p.bits(v), sign)) for v in (y.high, y.low))
        return Wide(p.select(p.lt(p.abs(x.high), p.const(math.inf)), high, p.const(math.nan)), low)

    def sin(self, x: Wide) -> Wide:
        p = self.p
        small = p.lt(p.abs(x.high), p.const(math.ldexp(1.0, FIRST_EXPONENT)))
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


class Odd(Pair):
    """Pairs whose results are rounded to odd, so that rounding them again to fewer digits is right.

    (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums".)
    """

    def to_value(self, a: Wide) -> Value:
        """The high part where it is the sum, or odd; else the number beyond the sum"""
        p = self.p
        if a.low is None:
            return a.high
        bits = p.bits(a.high)
        apart = p.ixor(bits, p.bits(a.low))
        smaller = p.iashr(apart, p.const(63, "i64"))  # -1 where the sum is, in size; else 0
        odd = p.from_bits(p.ior(p.iadd(bits, smaller), p.const(1, "i64")))
        rounded = p.lt(p.const(0.0), p.abs(a.low))
        return p.select(p.and_(rounded, p.lt(p.abs(a.high), p.const(math.inf))), odd, a.high)

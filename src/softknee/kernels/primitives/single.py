"""Elementary functions in f32, for float32 results at full speed with a stated error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from softknee.kernels import coefficients as fitted
from softknee.kernels.primitives.common import LOG2E, Common, exact, nearest
from softknee.kernels.program import PICKED, Value

__all__ = ["Single"]

_MAGIC_SINGLE = 1.5 * 2.0**23
_MAGIC_32 = 1.5 * 2.0**18  # x + _MAGIC_32 has the nearest multiple of 1/32 to x in its low mantissa bits
_ROOT_HALF_SINGLE = 0x3F3504F3
_FAR = 200.0  # e^-_FAR, even times the largest f32, is 0 as an f32
_SINGLE_LARGEST = 2.0**128 - 2.0**104  # the largest f32


def _toward_zero(number: float) -> float:
    """number cut to an f32"""
    if not math.isfinite(number):
        return number
    mantissa, exponent = math.frexp(number)
    return math.ldexp(math.trunc(mantissa * 2**24), exponent - 24)


def _next(number: float, direction: float) -> float:
    """The next f32 in the direction of a sign"""
    mantissa, exponent = math.frexp(abs(number))
    down = direction * number < 0 and mantissa == 0.5  # to a smaller power of two
    return number + math.copysign(math.ldexp(1.0, exponent - 24 - down), direction)


class Scaled(NamedTuple):
    """(value + low) 2^floor(exponent); low None: 0, exponent None: 0.

    low is what a product can still use of a literal or of a primitive before it is rounded, so that
    x sigmoid(x) is rounded once. The exponent is a float: a result too small for f32 keeps its digits
    until the end, so that x sigmoid(x) is right where sigmoid(x) alone is subnormal. bounded: |value| is
    finite, at most 1 or so, for every input. literal: the number that it is.
    """

    value: Value
    low: Value | None = None
    exponent: Value | None = None
    bounded: bool = False
    literal: Fraction | None = None


class Single(Common):
    """Numbers are f32 values, with a low part and a power of two carried along where they are needed.

    Errors are in `SINGLE_ERROR`, measured over every f32. What is not here is not worth it: `Double`
    serves it.
    """

    # numbers ------------------------------------------------------------------------------------

    def _c(self, number: float) -> Value:
        return self.p.const(number, "f32")

    def const(self, number: Any) -> Scaled:
        rounded = nearest(number)
        if abs(rounded) >= 2.0**128 - 2.0**103:  # rounds to infinity
            rounded = math.copysign(math.inf, rounded)
        high = _toward_zero(rounded)
        lost = float(exact(number) - Fraction(high)) if math.isfinite(high) else 0.0
        if abs(lost) < 2.0**-140:
            return Scaled(self._c(rounded))
        return Scaled(self._c(high), self._c(lost), literal=exact(number))

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
                return self._with_lost(self.p.fma(*made.args, right), a, b)
        return self._with_lost(self.p.add(x, y), a, b)

    def sub(self, a: Scaled, b: Scaled) -> Scaled:
        p = self.p
        x, y = self._plain(a), self._plain(b)
        left, right = self.instruction(x), self.instruction(y)
        if left.op == "mul":
            total = p.fma(*left.args, p.neg(y))
        elif right.op == "mul":
            total = p.fma(p.neg(right.args[0]), right.args[1], x)
        else:
            total = p.sub(x, y)
        return self._with_lost(total, a, self.neg(b) if b.literal else b)

    def _lost(self, a: Scaled) -> float:
        """What a literal is beside the nearest f32"""
        return 0.0 if a.literal is None else float(a.literal - Fraction(self._number(self._plain(a)) or 0.0))

    def _with_lost(self, total: Value, *terms: Scaled) -> Scaled:
        """A sum, and what literals in it are beside their f32: next to a root it is all that is left"""
        for lost in filter(None, map(self._lost, terms)):
            total = self.p.add(total, self._c(lost))
        return Scaled(total)

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
        literal = None if a.literal is None else -a.literal
        return Scaled(self._minus(a.value), low, a.exponent, a.bounded, literal)

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
        return self._extreme(self.p.lt, a, b)

    def maximum(self, a: Scaled, b: Scaled) -> Scaled:
        return self._extreme(self.p.gt, a, b)

    def _extreme(self, order: Callable[[Value, Value], Value], a: Scaled, b: Scaled) -> Scaled:
        if self._number(b.value) is not None:
            a, b = b, a
        if self._number(a.value) is not None:
            a = Scaled(self._plain(a))
        chosen = order(self._plain(a), self._plain(b))  # false for NaN: b, which is NaN unless a is
        if self._number(a.value) is None:
            chosen = self.p.or_(chosen, self.is_nan(a))
        return self.select(chosen, a, b)

    def _border(self, a: Scaled, upward: bool) -> Value:
        """a; of a literal that is no f32 the next f32 above or below: what is computed is on the same side of it"""
        value, lost = self._plain(a), self._lost(a)
        if not lost or upward == (lost < 0):
            return value
        return self._c(_next(self._number(value) or 0.0, lost))

    def lt(self, a: Scaled, b: Scaled) -> Value:
        return self.p.lt(self._border(a, False), self._border(b, True))

    def le(self, a: Scaled, b: Scaled) -> Value:
        return self.p.le(self._border(a, True), self._border(b, False))

    def gt(self, a: Scaled, b: Scaled) -> Value:
        return self.p.gt(self._border(a, True), self._border(b, False))

    def ge(self, a: Scaled, b: Scaled) -> Value:
        return self.p.ge(self._border(a, False), self._border(b, True))

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
        shifted = p.fma(x, self._c(LOG2E), self._c(_MAGIC_32))
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

    def _wide_product(self, a: Value, a_low: Value, b: Value, b_low: Value) -> tuple[Value, Value]:
        """(a + a_low)(b + b_low) as a sum of two"""
        p = self.p
        value = p.mul(a, b)
        low = p.fma(a, b_low, p.fma(a, b, p.neg(value)))
        return value, p.fma(a_low, p.add(b, b_low), low)

    def normal_pdf(self, x: Scaled) -> Scaled:
        k, t, w = self._gauss(self._most(self.p.abs(self._plain(x)), 20.0))
        high, low = fitted.INVERSE_ROOT_TWO_PI_SINGLE
        return Scaled(*self._wide_product(t, w, self._c(high), self._c(low)), k, bounded=True)

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
        tail, tail_low = self._wide_product(t, w, first, p.fma(rest, d, low))
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

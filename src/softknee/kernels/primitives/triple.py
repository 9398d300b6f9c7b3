"""Elementary functions in unevaluated sums of up to three f64, for the few results whose terms cancel in pairs of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import count, zip_longest
from typing import Any

from softknee.kernels.primitives.common import LOG2E, MAGIC, Common, exact, nearest
from softknee.kernels.primitives.double import Double
from softknee.kernels.program import Value

__all__ = ["Triple"]

#: a sum of one to three f64, each below the last digit of the one before
Parts = tuple[Value, ...]
#: the binary digits that series and constants are taken to
_DIGITS = 150


class Triple(Common):
    """Numbers are unevaluated sums of three f64, good to about 2^-130 of their terms.

    It is short rather than quick: series that need no fitted coefficients, and logarithms and arcs by one step of
    Newton's or Halley's from `Double`. What it does not know is NaN: infinities, exponentials that overflow, angles from
    2^50 on, and the normal distribution beyond 4.2. The sign of a zero is lost.
    """

    # numbers ------------------------------------------------------------------------------------

    def const(self, number: Any) -> Parts:
        parts = [nearest(number)]
        if math.isfinite(parts[0]):
            for _ in range(2):
                parts.append(float(exact(number) - sum(map(Fraction, parts))))
        return tuple(self.p.const(part) for part in parts if part or part is parts[0])

    def _accurate(self, number: Callable[[Any], Any]) -> Parts:
        """A constant of mpmath's"""
        from mpmath import mp

        with mp.workprec(2 * _DIGITS):
            return self.const(number(mp))

    def from_value(self, value: Value) -> Parts:
        return (value,)

    def to_value(self, a: Parts) -> Value:
        return a[0]

    def _gathered(self, orders: list[list[Value]]) -> Parts:
        """The sum of terms, given by their order in size, each 2^-53 of the one before. Those of the last are rounded."""
        parts, carried = [], list[Value]()
        for terms in orders[:-1]:
            total, *others = *terms, *carried
            carried = []
            for other in others:
                total, lost = self._two_sum(total, other)
                carried.append(lost)
            parts.append(total)
        total, *others = *orders[-1], *carried
        for other in others:
            total = self.p.add(total, other)
        parts.append(total)
        for _ in parts[1:]:  # more than once, as the first ones may have cancelled
            for k in reversed(range(len(parts) - 1)):
                parts[k : k + 2] = self._two_sum(*parts[k : k + 2])
        return tuple(parts)

    # arithmetic; most: the parts that a result may have -------------------------------------------

    def add(self, a: Parts, b: Parts, most: int = 3) -> Parts:
        orders = [[x for x in pair if x] for pair in zip_longest(a, b)]
        return self._gathered([*orders, []][:most])

    def sub(self, a: Parts, b: Parts) -> Parts:
        return self.add(a, self.neg(b))

    def mul(self, a: Parts, b: Parts, most: int = 3) -> Parts:
        orders: list[list[Value]] = [[] for _ in range(min(most, len(a) + len(b)))]
        for i, x in enumerate(a):
            for j, y in enumerate(b[: len(orders) - i]):
                if i + j + 1 < len(orders):
                    product, lost = self._product(x, y)
                    orders[i + j + 1].append(lost)
                else:
                    product = self.p.mul(x, y)
                orders[i + j].append(product)
        return self._gathered(orders)

    def div(self, a: Parts, b: Parts) -> Parts:
        """Digit by digit, a digit being an f64"""
        digits = []
        for _ in range(3):
            digits.append(self.p.div(a[0], b[0]))
            a = self.sub(a, self.mul(digits[-1:], b))  # type: ignore[arg-type]
        return self._gathered([[digit] for digit in digits])

    def neg(self, a: Parts) -> Parts:
        return tuple(map(self.p.neg, a))

    def abs(self, a: Parts) -> Parts:
        return self._with_sign_of(a[0], a)

    def _with_sign_of(self, x: Value, a: Parts) -> Parts:
        """a for x >= 0, else -a"""
        return self.select(self.p.lt(x, self.p.const(0.0)), self.neg(a), a)

    def sqrt(self, a: Parts) -> Parts:
        p = self.p
        root: Parts = (p.sqrt(a[0]),)
        for _ in range(2):
            rest = self.sub(a, self.mul(root, root))
            root = self.add(root, (p.div(rest[0], p.add(root[0], root[0])),))
        return self.select(p.eq(a[0], p.const(0.0)), a, root)

    def sign(self, a: Parts) -> Parts:
        return (Double(self.p).sign(a[0]),)

    def _together(self, a: Parts, b: Parts) -> Iterable[tuple[Value, Value]]:
        return zip_longest(a, b, fillvalue=self.p.const(0.0))

    def select(self, condition: Value, a: Parts, b: Parts) -> Parts:
        return tuple(self.p.select(condition, x, y) for x, y in self._together(a, b))

    def minimum(self, a: Parts, b: Parts) -> Parts:
        return self.select(self.lt(a, b), a, b)

    def maximum(self, a: Parts, b: Parts) -> Parts:
        return self.select(self.lt(b, a), a, b)

    def lt(self, a: Parts, b: Parts) -> Value:
        p = self.p
        (x, y), *smaller = reversed(list(self._together(a, b)))
        less = p.lt(x, y)
        for x, y in smaller:
            less = p.or_(p.lt(x, y), p.and_(p.eq(x, y), less))
        return less

    def gt(self, a: Parts, b: Parts) -> Value:
        return self.lt(b, a)

    def le(self, a: Parts, b: Parts) -> Value:
        return self.p.not_(self.lt(b, a))

    def ge(self, a: Parts, b: Parts) -> Value:
        return self.p.not_(self.lt(a, b))

    def eq(self, a: Parts, b: Parts) -> Value:
        return self.p.and_(self.le(a, b), self.ge(a, b))

    def ne(self, a: Parts, b: Parts) -> Value:
        return self.p.not_(self.eq(a, b))

    # tools --------------------------------------------------------------------------------------

    def _series(self, z: Parts, limit: Fraction, ratio: Callable[[int], Fraction]) -> Parts:
        """1 + r_1 z + r_1 r_2 z^2 + ... for |z| <= limit, with as many parts as a term may count in"""
        terms = [(Fraction(1), 0.0)]
        for k in count(1):
            c = terms[-1][0] * ratio(k)
            size = math.log2(abs(c)) + k * math.log2(limit)
            if size < -_DIGITS:
                break
            terms.append((c, size))
        total: Parts = self.const(terms[-1][0])[:1]
        for c, size in reversed(terms[:-1]):
            most = min(3, math.ceil((_DIGITS + size) / 53))
            total = self.add(self.mul(total, z[:most], most), self.const(c)[:most], most)
        return total

    def _twice(self, a: Parts) -> Parts:
        return tuple(self.p.add(part, part) for part in a)

    def _known(self, condition: Value, a: Parts) -> Parts:
        return self.select(condition, a, self.const(math.nan))

    # exponentials -------------------------------------------------------------------------------

    def _exponent(self, x: Parts) -> tuple[Parts, Parts]:
        """(2^k, e^r - 1) with x = k ln2 + r, x within [-700, 700]; e^(r/16) - 1 is a series."""
        p = self.p
        shifted = p.fma(x[0], p.const(LOG2E), p.const(MAGIC))
        k = p.sub(shifted, p.const(MAGIC))
        r = self.sub(x, self.mul((k,), self._accurate(lambda mp: +mp.ln2)))
        r = tuple(p.mul(part, p.const(1 / 16)) for part in r)
        m = self.mul(r, self._series(r, Fraction(1, 46), lambda n: Fraction(1, n + 1)))
        for _ in range(4):
            m = self.mul(m, self.add(m, self.const(2)))
        return (self._power_of_two(shifted),), m

    def expm1(self, x: Parts) -> Parts:
        p = self.p
        scale, m = self._exponent(self.maximum(x, self.const(-700)))
        y = self.add(self.mul(scale, m), self.sub(scale, self.const(1)))
        return self._known(p.lt(x[0], p.const(700.0)), y)

    def exp(self, x: Parts) -> Parts:
        p = self.p
        scale, m = self._exponent(self.maximum(x, self.const(-700)))
        return self._known(p.lt(x[0], p.const(700.0)), self.mul(scale, self.add(m, self.const(1))))

    def _decay(self, x: Parts) -> Parts:
        """e^-|x|"""
        return self.exp(self.neg(self.abs(x)))

    def sigmoid(self, x: Parts) -> Parts:
        """1/(1 + t) or t/(1 + t), t = e^-|x|"""
        one, t = self.const(1), self._decay(x)
        return self.div(self.select(self.p.gt(x[0], self.p.const(0.0)), one, t), self.add(one, t))

    def tanh(self, x: Parts) -> Parts:
        """tanh(a) = -m/(2 + m), m = e^-2a - 1"""
        m = self.expm1(self._twice(self.neg(self.abs(x))))
        return self._with_sign_of(x[0], self.div(self.neg(m), self.add(self.const(2), m)))

    def softplus(self, x: Parts) -> Parts:
        """max(x, 0) + log1p(e^-|x|)"""
        return self.add(self.maximum(x, self.const(0)), self.log1p(self._decay(x)))

    # logarithms ---------------------------------------------------------------------------------

    def log(self, x: Parts) -> Parts:
        """y + 2 (x - e^y)/(x + e^y), of which the error is the cube of that of y"""
        y = (Double(self.p).log(x[0]),)
        e = self.exp(y)
        return self.add(y, self.div(self._twice(self.sub(x, e)), self.add(x, e)))

    def log1p(self, x: Parts) -> Parts:
        y = (Double(self.p).log1p(x[0]),)
        m = self.expm1(y)
        return self.add(y, self.div(self._twice(self.sub(x, m)), self.add(self.add(x, m), self.const(2))))

    def asinh(self, x: Parts) -> Parts:
        """asinh(a) = log1p(a + a^2/(1 + sqrt(1 + a^2))), a = |x|"""
        one, a = self.const(1), self.abs(x)
        square = self.mul(a, a)
        root = self.sqrt(self.add(one, square))
        return self._with_sign_of(x[0], self.log1p(self.add(a, self.div(square, self.add(one, root)))))

    # the normal distribution --------------------------------------------------------------------

    def erf(self, x: Parts) -> Parts:
        """2/sqrt(pi) x e^-x^2 (1 + 2x^2/3 (1 + 2x^2/5 (...))), for |x| < 3"""
        p = self.p
        square = self.mul(x, x)
        y = self.mul(self._accurate(lambda mp: 2 / mp.sqrt(mp.pi)), self.mul(x, self.exp(self.neg(square))))
        series = self._series(self._twice(square), Fraction(18), lambda n: Fraction(1, 2 * n + 1))
        return self._known(p.lt(p.abs(x[0]), p.const(3.0)), self.mul(y, series))

    def normal_cdf(self, x: Parts) -> Parts:
        """(1 + erf(x/sqrt2))/2"""
        y = self.erf(self.mul(x, self._accurate(lambda mp: mp.sqrt(0.5))))
        return self.mul(self.add(self.const(1), y), self.const(0.5))

    def normal_pdf(self, x: Parts) -> Parts:
        """e^(-x^2/2)/sqrt(2 pi)"""
        e = self.exp(self.mul(self.mul(x, x), self.const(-0.5)))
        return self.mul(e, self._accurate(lambda mp: 1 / mp.sqrt(2 * mp.pi)))

    # trigonometry -------------------------------------------------------------------------------

    def _trigonometric(self, x: Parts, quarter: int) -> Parts:
        """sin(x + quarter pi/2) of x = k pi/2 + r"""
        p = self.p
        shifted = p.fma(x[0], p.const(2 / math.pi), p.const(MAGIC))
        k = p.sub(shifted, p.const(MAGIC))
        r = self.sub(x, self.mul((k,), self._accurate(lambda mp: mp.pi / 2)))
        z = self.mul(r, r)
        sine = self._series(z, Fraction(5, 8), lambda n: Fraction(-1, 2 * n * (2 * n + 1)))
        cosine = self._series(z, Fraction(5, 8), lambda n: Fraction(-1, 2 * n * (2 * n - 1)))
        state, even = self._quarters(p.bits(shifted), quarter)
        y = self._with_sign_of(
            p.copysign(p.const(1.0), p.from_bits(state)), self.select(even, self.mul(r, sine), cosine)
        )
        return self._known(p.lt(p.abs(x[0]), p.const(2.0**50)), y)

    def sin(self, x: Parts) -> Parts:
        return self._trigonometric(x, 0)

    def cos(self, x: Parts) -> Parts:
        return self._trigonometric(x, 1)

    def atan(self, x: Parts) -> Parts:
        """y + (x cos y - sin y)/(cos y + x sin y), of which the error is the cube of that of y"""
        y = (Double(self.p).atan(x[0]),)
        sine, cosine = self.sin(y), self.cos(y)
        rest = self.sub(self.mul(x, cosine), sine)
        return self.add(y, self.div(rest, self.add(cosine, self.mul(x, sine))))

"""How far a result is from the truth: one number, in units in the last place, for every pair of values.

The unit is that of the correctly rounded result, so that 0.5 is the best that can be had. The metric
is total: infinities count as the value after the largest, subnormals and 0 have the spacing of the
subnormals, a NaN is right where the truth is one and infinitely wrong elsewhere. The sign of a zero
does not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mpmath as mp

__all__ = ["FORMATS", "Format", "format_of", "rounded", "ulp", "ulp_error"]


@dataclass(frozen=True)
class Format:
    """A binary floating-point type: bits of the significand, and the exponents of its normal numbers."""

    name: str
    precision: int
    least: int
    most: int

    @property
    def largest(self) -> float:
        return math.ldexp(2 - math.ldexp(1, 1 - self.precision), self.most)

    @property
    def smallest_normal(self) -> float:
        return math.ldexp(1, self.least)

    @property
    def smallest(self) -> float:
        return math.ldexp(1, self.least - self.precision + 1)


FORMATS = {
    f.name: f
    for f in (
        Format("float64", 53, -1022, 1023),
        Format("float32", 24, -126, 127),
        Format("float16", 11, -14, 15),
        Format("bfloat16", 8, -126, 127),
    )
}


def format_of(dtype: Any) -> Format:
    """The format of a torch or numpy dtype, or of its name."""
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    if name not in FORMATS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, got {dtype!r}")
    return FORMATS[name]


def _exponent(value: Any) -> int:
    """e with 2^e <= |value| < 2^(e + 1)"""
    return int(mp.frexp(value)[1]) - 1


def _spacing(value: Any, form: Format) -> int:
    """The exponent of the distance between the numbers of this type around a finite value."""
    e = form.least if not value else min(max(_exponent(value), form.least), form.most)
    return e - form.precision + 1


def ulp(value: Any, dtype: Any) -> Any:
    """The distance from |value| to the next number of this type."""
    return mp.ldexp(1, _spacing(mp.mpf(value), format_of(dtype)))


def rounded(exact: Any, dtype: Any) -> Any:
    """The number of this type nearest to an exact value, ties to even; beyond the largest, infinity."""
    form = format_of(dtype)
    if mp.isnan(exact) or mp.isinf(exact):
        return exact
    with mp.workprec(max(mp.mp.prec, 2200)):
        exact = mp.mpf(exact)
        step = _spacing(exact, form)
        nearest = mp.ldexp(mp.nint(mp.ldexp(exact, -step)), step)
        return mp.sign(exact) * mp.inf if abs(nearest) > form.largest else nearest


def ulp_error(got: Any, exact: Any, dtype: Any, *, floor: Any = 0) -> float:
    """|got - exact| in units in the last place of the correctly rounded result.

    exact: an mpmath number of more digits than the type holds, or a float. floor: a number whose
    unit is the smallest that is used; around a root of a derivative the unit is that of 1/4 (see
    `softknee.testing.Regions`).

    >>> ulp_error(0.1, 0.1, "float64"), ulp_error(1.0, 1.0 + 2**-23, "float32")
    (0.0, 1.0)
    """
    form = format_of(dtype)
    got = mp.mpf(got)
    exact = mp.mpf(exact) if not isinstance(exact, mp.mpf) else exact
    if mp.isnan(got) or mp.isnan(exact):
        return 0.0 if mp.isnan(got) and mp.isnan(exact) else math.inf
    if got == exact:
        return 0.0
    right = rounded(exact, form.name)
    beyond = mp.ldexp(1, form.most + 1)
    if mp.isinf(right) and got == right:
        return 0.0
    if mp.isinf(exact):
        exact = mp.sign(exact) * beyond
    if mp.isinf(got):
        got = mp.sign(got) * beyond
    if mp.isinf(right):
        right = mp.sign(right) * form.largest
    step = _spacing(right, form)
    if floor:
        step = max(step, _spacing(mp.mpf(floor), form))
    with mp.workprec(300):
        error = mp.ldexp(abs(got - exact), -step)
        return float(error) if error < 1e300 else math.inf

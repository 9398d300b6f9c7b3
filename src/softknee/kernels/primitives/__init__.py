"""The arithmetics that write elementary functions into a `Program`.

A kernel computes in about twice the precision of its result and rounds once:

* `Double`, one f64, for results in float32, float16 and bfloat16;
* `Pair`, an unevaluated sum of two f64, for results in float64;
* `Odd`, the same for 16-bit results beside the middle of two numbers, where `Double` cannot tell the nearer one;
* `Triple`, of three f64, for float64 results whose terms have most digits in common;
* `Single`, one f32, for float32 results at full speed with a stated error.

All have the same methods, named as the operations of `softknee.lang`. Everything is branch-free
and without calls: exp is a polynomial whose exponent is set by integer addition, log takes its
exponent by a shift, sin and cos look 2/pi up in a table.

`DOUBLE_ERROR`, `PAIR_ERROR` (relative, as a power of two) and `SINGLE_ERROR` (in ULP) are the
bounds that the tests hold each primitive to.
"""

from __future__ import annotations

from softknee.kernels.primitives.common import exact
from softknee.kernels.primitives.double import Double
from softknee.kernels.primitives.pair import Odd, Pair, Wide
from softknee.kernels.primitives.single import Single
from softknee.kernels.primitives.triple import Triple

__all__ = [
    "DOUBLE_ERROR",
    "PAIR_ERROR",
    "SINGLE_ERROR",
    "SINGLE_SUBNORMAL_ERROR",
    "Double",
    "Odd",
    "Pair",
    "Single",
    "Triple",
    "Wide",
    "exact",
]

#: largest relative error of each primitive, given as its logarithm to base 2; measured with a
#: `quotient` that is 2^-44 off. Results below 1e-290 are not measured.
DOUBLE_ERROR = {
    "exp": -45, "expm1": -45, "log": -43, "log1p": -43, "tanh": -42.5, "sigmoid": -45.5,
    "softplus": -45, "erf": -42.5, "normal_cdf": -42.5, "normal_pdf": -44, "sin": -47, "cos": -47,
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

"""Fits every polynomial of `softknee.kernels.primitives` and writes `coefficients.py`.

    python tools/fit_coefficients.py            # write
    python tools/fit_coefficients.py --check    # fail if the file is not what this script gives

Each of `recipes()` is a function on an interval, in the variable and with the error measure that
its primitive uses. Where few bits are kept, coefficients are rounded one after the other, the rest
being fitted again to what the rounded ones left over.
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mpmath import mp, mpf

from remez import Fit, chebyshev_grid, polynomial, quotient

OUTPUT = Path(__file__).parents[1] / "src" / "softknee" / "kernels" / "coefficients.py"

Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Recipe:
    name: str
    formula: str
    function: Function
    interval: tuple[mpf, mpf]
    degree: int
    lower: int = 0  # degree of the denominator
    kind: str = "f64"  # how coefficients are rounded: f64, f32
    pairs: int = 0  # the first so many are pairs of f64
    refitted: int = 0  # after how many rounded coefficients the others are fitted again
    weight: Function | None = None  # of the absolute error; none: the relative error
    points: int = 300
    fixed: tuple[mpf, ...] = ()


def _f32(number: mpf) -> float:
    """To the nearest f32 (through f64: a double rounding that is harmless in a fit)."""
    return float(struct.unpack("f", struct.pack("f", float(number)))[0])


def _pair(number: mpf) -> tuple[float, float]:
    high = float(number)
    return high, float(number - mpf(high))


def fit(recipe: Recipe) -> tuple[list[object], list[object], mpf]:
    """The rounded coefficients of both polynomials and the largest error before rounding."""
    grid = chebyshev_grid(*recipe.interval, recipe.points)
    target = [recipe.function(x) for x in grid]
    weight = [1 / t for t in target] if recipe.weight is None else [recipe.weight(x) for x in grid]
    if recipe.lower:
        both = quotient(target, weight, grid, recipe.degree, recipe.lower)
        return [float(c) for c in both.numerator], [float(c) for c in both.denominator], both.error
    rounded: list[object] = []
    exact: list[mpf] = []
    for c in recipe.fixed:
        rounded.append(_pair(c) if recipe.pairs else float(c))
        exact.append(c)
    best: Fit = polynomial(target, weight, grid, recipe.degree, exact)
    for place in range(len(exact), recipe.degree + 1):
        c = best.numerator[place]
        if place < recipe.pairs:
            high, low = _pair(c)
            rounded.append((high, low))
            exact.append(mpf(high) + mpf(low))
        else:
            value = _f32(c) if recipe.kind == "f32" else float(c)
            rounded.append(value)
            exact.append(mpf(value))
        if place < recipe.refitted:
            best = polynomial(target, weight, grid, recipe.degree, exact)
    return rounded, [], best.error


@dataclass(frozen=True)
class Pieces:
    """One polynomial in x - centre for each interval; table j holds coefficient j of every interval.

    The first coefficient is exact to some 7 bits more than an f32 holds: either the centre is chosen
    for it near the middle (`settled`), or its low part is a table of its own.
    """

    name: str
    formula: str
    function: Function
    intervals: tuple[tuple[mpf, mpf], ...]
    degree: int
    settled: bool

    def tables(self) -> tuple[list[list[float]], mpf]:
        columns: list[list[float]] = []
        worst = mpf(0)
        for low, high in self.intervals:
            centre = (low + high) / 2 if low else mpf(0)
            if self.settled and low:
                # near the middle, or anywhere in the middle half where the function is nearly flat
                steps = [mpf(2) ** -22 * centre, (high - low) / 400]
                near = (mpf(_f32(centre + k * step)) for step in steps for k in range(-100, 100))
                centre = min(near, key=lambda c: abs(self.function(c) / mpf(_f32(self.function(c))) - 1))
            grid = chebyshev_grid(low - centre, high - centre, 80)
            grid = [d for d in grid if d]
            target = [self.function(centre + d) for d in grid]
            first = self.function(centre)
            found = polynomial(target, [1 / t for t in target], grid, self.degree, fixed=(first,))
            worst = max(worst, found.error)
            c = [_f32(x) for x in found.numerator]
            columns.append([_f32(centre) if self.settled else _f32(first - mpf(c[0])), *c])
        columns += [columns[-1]] * (32 - len(columns))
        return [list(row) for row in zip(*columns, strict=True)], worst


def _quarter_octaves() -> tuple[tuple[mpf, mpf], ...]:
    """[0, 1/8), then four intervals an octave, up to 10: beyond, tanh is 1"""
    ends = [mpf(0), *((1 + mpf(q) / 4) * mpf(2) ** e for e in range(-3, 4) for q in range(4))]
    return tuple(pair for pair in pairwise(ends) if pair[0] < 9)


def pieces() -> list[Pieces]:
    width = mpf(15) / 32
    return [
        Pieces("TANH_PIECES", "tanh(a): centres, then coefficients", mp.tanh, _quarter_octaves(), 5, True),
        Pieces(
            "MILLS_PIECES",
            "exp(a^2/2) normal_cdf(-a) around 15 k/32: low part of the first coefficient, then coefficients",
            _mills,
            tuple(((k - mpf("0.5")) * width, (k + mpf("0.5")) * width) for k in range(32)),
            6,
            False,
        ),
    ]


def _even(function: Function, limit: mpf | int) -> Function:
    """z -> function(sqrt z) / sqrt z, for an odd function with this slope at 0."""

    def of_square(z: mpf) -> mpf:
        return mpf(limit) if z == 0 else function(mp.sqrt(z)) / mp.sqrt(z)

    return of_square


def _expm1_over(r: mpf) -> mpf:
    return mpf(1) if r == 0 else mp.expm1(r) / r


def _mills(a: mpf) -> mpf:
    """R(a) with normal_cdf(-a) = exp(-a^2/2) R(a)."""
    return mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2)) / 2


def _erf_exponent(a: mpf) -> mpf:
    """w/a with erf(a) = 1 - exp(-w)."""
    return 2 / mp.sqrt(mp.pi) if a == 0 else -mp.log(mp.erfc(a)) / a


def _erf_exponent_weight(a: mpf) -> mpf:
    """d erf / erf per unit of w/a."""
    return mp.sqrt(mp.pi) / 2 if a == 0 else a * mp.erfc(a) / mp.erf(a)


def _exp_third(r: mpf) -> mpf:
    """C with e^r = 1 + r + r^2/2 (1 + r C)"""
    if abs(r) < mpf(2) ** -20:
        return mpf(1) / 3 + r / 12 + r**2 / 60 + r**3 / 360 + r**4 / 2520
    return ((mp.expm1(r) - r) * 2 / r**2 - 1) / r


def _exp_half(r: mpf) -> mpf:
    """Q with e^r = 1 + r + r^2 Q"""
    return (1 + r * _exp_third(r)) / 2


def _log_cubic(f: mpf) -> mpf:
    """P with log(1 + f) = f + f^2 P"""
    if abs(f) < mpf(2) ** -20:
        return -mpf(1) / 2 + f / 3 - f**2 / 4 + f**3 / 5
    return (mp.log1p(f) - f) / f**2


def _mills_flat(y: mpf) -> mpf:
    """R(a) (a + 4), y = (a - 4)/(a + 4)"""
    a = 4 * (1 + y) / (1 - y)
    return _mills(a) * (a + 4)


def recipes() -> list[Recipe]:
    half = mp.ln2 / 2
    # A little slack: the multiple of ln 2 is chosen from a rounded product.
    slack = mpf("1.0001")
    tenth = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * slack
    eighth = (mp.tan(mp.pi / 8) * slack) ** 2
    quarter = mpf("0.5") ** 2 * slack
    return [
        Recipe("EXPM1_DOUBLE", "expm1(r)/r, |r| <= ln2/2", _expm1_over, (-half * slack, half * slack), 10),
        Recipe(
            "LOG_DOUBLE",
            "2 atanh(s)/s in s^2, |s| <= (sqrt2 - 1)/(sqrt2 + 1)",
            _even(lambda s: 2 * mp.atanh(s), 2),
            (mpf(0), tenth),
            5,
        ),
        Recipe(
            "LOG1P_DOUBLE",
            "2 atanh(s)/s in s^2, 0 <= s <= 1/3",
            _even(lambda s: 2 * mp.atanh(s), 2),
            (mpf(0), mpf(1) / 9 * slack),
            10,
        ),
        Recipe(
            "MILLS_DOUBLE",
            "exp(a^2/2) normal_cdf(-a), 0 <= a <= 20",
            _mills,
            (mpf(0), mpf(20)),
            7,
            8,
            points=400,
        ),
        Recipe(
            "ERF_DOUBLE",
            "-log(erfc(a))/a, 0 <= a <= 5.6, weighted for erf",
            _erf_exponent,
            (mpf(0), mpf("5.6")),
            6,
            5,
            weight=_erf_exponent_weight,
        ),
        Recipe(
            "ATAN_DOUBLE",
            "atan(t)/t in t^2, |t| <= tan(pi/8)",
            _even(mp.atan, 1),
            (mpf(0), eighth),
            8,
        ),
        Recipe(
            "SIN_DOUBLE",
            "sin(pi f/2)/f in f^2, |f| <= 1/2",
            _even(lambda f: mp.sin(mp.pi * f / 2), mp.pi / 2),
            (mpf(0), quarter),
            5,
        ),
        Recipe(
            "COS_DOUBLE",
            "cos(pi f/2) in f^2, |f| <= 1/2",
            lambda z: mp.cos(mp.pi * mp.sqrt(z) / 2),
            (mpf(0), quarter),
            6,
        ),
        Recipe(
            "EXPM1_PAIR",
            "C(r): e^r = 1 + r + r^2/2 (1 + r C), |r| <= ln2/2, weighted for e^r",
            _exp_third,
            (-half * slack, half * slack),
            10,
            pairs=1,
            weight=lambda r: (r * r + mpf("0.02")) / 2,
        ),
        Recipe(
            "LOG_PAIR",
            "2 atanh(s)/s in s^2, |s| <= (sqrt2 - 1)/(sqrt2 + 1)",
            _even(lambda s: 2 * mp.atanh(s), 2),
            (mpf(0), tenth),
            8,
            pairs=2,
            fixed=(mpf(2),),
        ),
        Recipe(
            "ATAN_PAIR",
            "atan(t)/t in t^2, |t| <= tan(pi/8)",
            _even(mp.atan, 1),
            (mpf(0), eighth),
            12,
            pairs=3,
            fixed=(mpf(1),),
        ),
        Recipe(
            "SIN_PAIR",
            "sin(pi f/2)/f in f^2, |f| <= 1/2",
            _even(lambda f: mp.sin(mp.pi * f / 2), mp.pi / 2),
            (mpf(0), quarter),
            7,
            pairs=3,
        ),
        Recipe(
            "COS_PAIR",
            "cos(pi f/2) in f^2, |f| <= 1/2",
            lambda z: mp.cos(mp.pi * mp.sqrt(z) / 2),
            (mpf(0), quarter),
            8,
            pairs=3,
            fixed=(mpf(1),),
        ),
        Recipe(
            "ERF_PAIR",
            "erf(x)/x in x^2, |x| <= 1/2",
            _even(mp.erf, 2 / mp.sqrt(mp.pi)),
            (mpf(0), quarter),
            9,
            pairs=3,
        ),
        Recipe(
            "MILLS_PAIR",
            "exp(a^2/2) normal_cdf(-a) (a + 4) in (a - 4)/(a + 4), 0 <= a <= 39",
            _mills_flat,
            (mpf(-1), mpf(35) / 43),
            26,
            pairs=8,
        ),
        Recipe(
            "EXPM1_SINGLE",
            "Q(r): e^r = 1 + r + r^2 Q, |r| <= ln2/64, weighted for e^r - 1",
            _exp_half,
            (-half / 32 * mpf("1.001"), half / 32 * mpf("1.001")),
            2,
            kind="f32",
            refitted=1,
            weight=lambda r: abs(r) + mpf("0.0001"),
        ),
        Recipe(
            "EXP_SINGLE",
            "Q(r): e^r = 1 + r + r^2 Q, |r| <= ln2/64, weighted for e^r",
            _exp_half,
            (-half / 32 * mpf("1.001"), half / 32 * mpf("1.001")),
            1,
            kind="f32",
            refitted=1,
            weight=lambda r: r * r + mpf("0.000001"),
        ),
        Recipe(
            "LOG_SINGLE",
            "P(f): log(1 + f) = f + f^2 P, sqrt(1/2) <= 1 + f <= sqrt(2), weighted for the logarithm",
            _log_cubic,
            (mp.sqrt(mpf("0.5")) - 1, mp.sqrt(2) - 1),
            8,
            kind="f32",
            refitted=4,
            weight=lambda f: abs(f) + mpf("0.01"),
        ),
        Recipe(
            "LOG1P_SINGLE",
            "(2 atanh(s) - 2s)/s^3 in s^2, 0 <= s <= 1/3, weighted for the logarithm",
            lambda z: mpf(2) / 3 if z == 0 else (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) * 2 / z,
            (mpf(0), mpf(1) / 9 * slack),
            4,
            kind="f32",
            refitted=2,
            weight=lambda z: (z + mpf("0.005")) / 2,
        ),
    ]


def _write(value: object) -> str:
    if isinstance(value, tuple) and len(value) > 2:
        return "(\n" + "".join(f"        {v!r},\n" for v in value) + "    )"
    if isinstance(value, tuple):
        return f"({value[0]!r}, {value[1]!r})"
    return repr(value)


def _table(name: str, values: Sequence[object]) -> list[str]:
    return [f"{name} = (", *(f"    {_write(v)}," for v in values), ")"]


def source() -> str:
    mp.prec = 160
    lines = ['"""Made by tools/fit_coefficients.py: do not edit. Constant term first."""', ""]
    constants = {
        "LN2": mp.ln2,
        "TWO_OVER_PI": 2 / mp.pi,
        "HALF_PI": mp.pi / 2,
        "ROOT_TWO": mp.sqrt(2),
        "INVERSE_ROOT_TWO_PI": 1 / mp.sqrt(2 * mp.pi),
    }
    lines += [f"{name} = {_write(_pair(+value))}" for name, value in constants.items()]
    high = mp.floor(mp.ln2 * 2**42) / 2**42
    for name, value in {"LN2": mp.ln2, "INVERSE_ROOT_TWO_PI": 1 / mp.sqrt(2 * mp.pi)}.items():
        short = _f32(+value)
        lines.append(f"{name}_SINGLE = {_write((short, _f32(value - mpf(short))))}")
    lines.append("# 42 bits of ln 2 and the rest")
    lines.append(f"LN2_PARTS = {_write((float(high), float(mp.ln2 - high)))}")
    short = mp.floor(mp.ln2 * 2**11) / 2**11
    lines.append("# 11 bits of ln 2 and the rest")
    lines.append(f"LN2_SHORT_SINGLE = {_write((float(short), _f32(mp.ln2 - short)))}")
    powers = [mpf(2) ** (mpf(j) / 32 - 1) for j in range(32)]
    lines.append("# 2^(j/32 - 1), and what an f32 of it lacks")
    lines += _table("POWERS_SINGLE", [_f32(t) for t in powers])
    lines += _table("POWERS_SINGLE_LOW", [_f32(t - mpf(_f32(t))) for t in powers])
    for piece in pieces():
        tables, error = piece.tables()
        lines.append(f"# {piece.formula}: 2^{float(mp.log(error, 2)):.1f}")
        lines += _table(piece.name, [tuple(row) for row in tables])
    for recipe in recipes():
        upper, lower, error = fit(recipe)
        lines.append(f"# {recipe.formula}: 2^{float(mp.log(error, 2)):.1f}")
        if lower:
            lines += _table(recipe.name + "_UPPER", upper) + _table(recipe.name + "_LOWER", lower)
        else:
            lines += _table(recipe.name, upper)
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file, write nothing")
    text = source()
    if not parser.parse_args().check:
        OUTPUT.write_text(text)
        return 0
    if OUTPUT.read_text() == text:
        return 0
    print(f"{OUTPUT} is not what the script gives", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

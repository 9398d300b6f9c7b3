"""Where functions go wrong: the inputs every law is tried at.

Zeros of both signs, subnormals, the largest numbers, infinities and NaN; the neighbours of every kink,
every root and every extremum of f and f'; the thresholds at which exponentials overflow and underflow
in any of the types; and where the function saturates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from softknee.catalogue.definition import Definition
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import Node, substitute
from softknee.testing.metric import Format, format_of, rounded

__all__ = ["breaks", "hard_points", "log_uniform", "roots", "special_points"]

#: e^x, e^-x^2 and their kin overflow, underflow or reach 1 here, in one type or another
THRESHOLDS = (
    2.41, 3.47, 4.16, 4.51, 5.54, 6.0, 6.25, 7.63, 8.32, 9.01, 9.7, 10.4, 11.1, 12.0, 13.2, 14.2, 16.64, 17.33,
    18.0, 18.72, 20.0, 26.5, 36.0, 36.7, 37.5, 38.6, 40.0, 44.0, 50.0, 65.0, 87.3, 88.72, 88.73, 92.5, 100.0, 103.28,
    103.97, 104.0, 177.4, 354.9, 700.0, 708.4, 709.78, 710.0, 744.44, 745.13, 745.14, 746.0, 1e3, 1e4,
)  # fmt: skip


def neighbours(place: float, form: Format) -> list[float]:
    """The number of this type at a place, and those next to it."""
    if not math.isfinite(place):
        return []
    at = float(rounded(place, form.name))
    if math.isinf(at):
        return []
    step = max(math.ldexp(1, (math.frexp(at)[1] if at else form.least) - form.precision), form.smallest)
    found = [at, at - step, at + step]
    if at and not math.isclose(abs(math.frexp(at)[0]), 0.5):
        return found
    half = max(step / 2, form.smallest)
    return [*found, at - half, at + half]


def special_points(dtype: Any) -> list[float]:
    """The points that do not depend on the function."""
    form = format_of(dtype)
    found: list[float] = [0.0, math.inf, math.nan, 1.0, 2.0, 0.5]
    found += [form.smallest, 3 * form.smallest, form.smallest_normal - form.smallest, form.smallest_normal]
    found += [
        math.ldexp(1, form.least // 2),
        math.ldexp(1, -form.precision),
        math.ldexp(1, -form.precision // 2),
    ]
    found += [math.ldexp(1, e) for e in range(4, form.most, max(1, form.most // 16))]
    found += [
        form.largest,
        form.largest / 2,
        form.largest / 16,
        math.sqrt(form.largest),
        form.largest ** (1 / 3),
    ]
    found += [1 - math.ldexp(1, -form.precision), 1 + math.ldexp(1, 1 - form.precision)]
    found += THRESHOLDS
    kept = [v for v in found if not math.isfinite(v) or abs(v) <= form.largest]
    return [s * v for v in kept for s in (1, -1)]


def breaks(definition: Definition, values: Mapping[str, Any]) -> list[float]:
    """The places of the kinks for these parameter values."""
    return [float(_evaluated(place, values)) for place in definition.kinks]


def _evaluated(node: Node, values: Mapping[str, Any]) -> float:
    return float(compiled((node,), tuple(values), "float")(*map(float, values.values()))[0])


_GRID = np.unique(
    np.concatenate(
        [
            s * g
            for s in (1, -1)
            for g in (
                np.linspace(0, 12, 601) + 1e-3,
                np.geomspace(12, 120, 120),
                np.geomspace(1e-4, 1e-2, 20),
            )
        ]
    )
)


@lru_cache(maxsize=1024)
def roots(expression: Node, most: int = 12) -> tuple[float, ...]:
    """The places, within 120 of 0, where an expression in x changes its sign; those nearest to 0."""
    function = compiled((expression,), ("x",), "numpy")
    with np.errstate(all="ignore"):
        y = np.broadcast_to(np.asarray(function(_GRID)[0], dtype=float), _GRID.shape)
        products = y[:-1] * y[1:]
    found = []
    for i in np.flatnonzero((products < 0) & np.isfinite(products)):
        low, high, below = float(_GRID[i]), float(_GRID[i + 1]), y[i]
        for _ in range(60):
            middle = (low + high) / 2
            with np.errstate(all="ignore"):
                here = float(function(np.float64(middle))[0])
            low, high = (middle, high) if here * below > 0 else (low, middle)
        found.append((low + high) / 2)
    return tuple(sorted(found, key=abs)[:most])


def hard_points(
    definition: Definition,
    dtype: Any,
    values: Mapping[str, Any] | None = None,
    choices: Mapping[str, Any] | None = None,
) -> list[float]:
    """Every input at which this function is likely to go wrong in this type, each once, sorted; NaN last."""
    form = format_of(dtype)
    given = {p.name: p.default if p.default is not None else p.example for p in definition.parameters} | dict(
        values or {}
    )
    f = substitute(definition.chosen(choices or {}), {n: v for n, v in given.items() if v is not None})
    found = special_points(form.name)
    places = breaks(definition, {n: v for n, v in given.items() if v is not None})
    for k in range(3):  # roots of f, f' and f'': roots and extrema of f and f'
        places += roots(derivative(f, "x", k))
    for place in places:
        found += neighbours(place, form)
    return distinct(found, form)


def distinct(found: list[float], form: Format) -> list[float]:
    """Rounded to the type, each once (0.0 and -0.0 are two), sorted."""
    kept: dict[bytes, float] = {}
    for v in found:
        r = v if not math.isfinite(v) else float(rounded(v, form.name))
        if r == 0:
            r = math.copysign(0.0, v)
        kept["nan" if r != r else r.hex()] = r  # type: ignore[index]
    return sorted(kept.values(), key=lambda v: (v != v, v, math.copysign(1, v)))


def log_uniform(dtype: Any, count: int, seed: int = 0) -> list[float]:
    """Half of both signs over the whole range of the type, half where networks live, 2^-10 to 2^6."""
    form = format_of(dtype)
    random = np.random.default_rng(seed)
    wide = random.uniform(form.least - form.precision + 1, form.most, count // 2)
    usual = random.uniform(-10, 6, count - count // 2)
    exponents = np.concatenate([wide, usual])
    signs = random.choice([-1.0, 1.0], count)
    found = [
        float(s) * math.ldexp(2 ** float(e % 1), math.floor(e)) for s, e in zip(signs, exponents, strict=True)
    ]
    return [v for v in distinct(found, form) if math.isfinite(v)]

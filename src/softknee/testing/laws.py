"""The laws every activation must obey, one function each; `Failure`s are returned, not raised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import torch

from softknee.testing.cases import Case
from softknee.testing.metric import format_of, rounded, ulp_error

__all__ = ["BOUNDS", "Failure", "accuracy", "derivatives_agree", "kinks", "limits", "totality"]

#: largest error in ULP: type -> of the value, of the first derivative
BOUNDS: dict[str, tuple[float, float]] = {
    "float32": (2.0, 4.0),
    "float64": (4.0, 4.0),
    "float16": (0.5, 0.5),  # that is: correctly rounded
    "bfloat16": (0.5, 0.5),
}
#: the same for a float64 result below 2^-1000, where the exponential is subnormal and has lost digits
#: before it is multiplied (docs/accuracy.md)
SUBNORMAL = 2000.0


@dataclass(frozen=True)
class Failure:
    """law: which one was broken, in what: by which function, type and order of derivative; at: where."""

    law: str
    case: str
    detail: str
    at: float | None = None
    got: Any = None
    expected: Any = None

    def __str__(self) -> str:
        text = f"{self.case}: {self.law}: {self.detail}"
        if self.at is not None:
            text += f" at x = {self.at!r}"
        if self.expected is not None:
            shown = mp.nstr(self.expected, 18) if isinstance(self.expected, mp.mpf) else self.expected
            text += f": got {self.got!r}, expected {shown}"
        return text


def _dtype(name: str) -> torch.dtype:
    return getattr(torch, name)  # type: ignore[no-any-return]


def accuracy(
    case: Case, dtype: str, xs: Sequence[float] | None = None, order: int = 1, samples: int = 64
) -> tuple[list[Failure], list[float]]:
    """Values and first derivatives against the truth; also the largest error of each, in ULP."""
    points = [v for v in (case.points(dtype, samples) if xs is None else xs) if math.isfinite(v)]
    failures, worst = [], [0.0] * (order + 1)
    for k, found in enumerate(case.derivatives(points, _dtype(dtype), order)):
        bound = BOUNDS[dtype][min(k, 1)]
        for x, got in zip(points, found, strict=True):
            exact = case.exact.derivative(x, k)
            if mp.isnan(exact):
                continue
            error = ulp_error(got, exact, dtype, floor=case.floor(x, k) if bound > 0.5 else 0)
            worst[k] = max(worst[k], error)
            if dtype == "float64" and abs(exact) < mp.mpf(2) ** -1000:
                right = error <= SUBNORMAL
                if right:
                    continue
            right = error <= bound if bound > 0.5 else got == rounded(exact, dtype) or error == 0
            if not right and bound == 0.5:  # a midpoint, or so near to one that more digits must decide
                exact = case.exact.settled(x, k)
                right = got == rounded(exact, dtype)
            if not right:
                failures.append(
                    Failure("accuracy", str(case), f"{_nth(k)} in {dtype}, {error:.3g} ULP", x, got, exact)
                )
    return failures, worst


def _nth(k: int) -> str:
    return ("value", "derivative", "second derivative", "third derivative")[k]


def limits(case: Case, dtype: str, order: int = 2) -> tuple[list[Failure], list[str]]:
    """f, f' and f'' at both infinities are the limits; and NaN in, NaN out. Also, what is not known."""
    failures, unproven = [], []
    ends = (math.inf, -math.inf, math.nan)
    for k, found in enumerate(case.derivatives(ends, _dtype(dtype), order)):
        for x, got in zip(ends, found, strict=True):
            if x != x:
                if got == got and (k == 0 or not _piecewise_constant(case, k)):
                    failures.append(Failure("NaN", str(case), f"{_nth(k)} in {dtype}", x, got, "nan"))
                continue
            known = case.limit(x, k)
            if known.value is None:
                if known.how == "unproven":
                    unproven.append(f"the limit of the {_nth(k)} at {x}")
                elif math.isfinite(got) or got == got:
                    pass  # it oscillates: any value of it will do
                continue
            right = float(rounded(known.value, dtype))
            near = (
                abs(got - right) <= 4 * float(abs(mp.mpf(right)) * 2.0 ** (1 - format_of(dtype).precision))
                if math.isfinite(right)
                else got == right
            )
            if not near:
                failures.append(
                    Failure("limit", str(case), f"{_nth(k)} in {dtype} ({known.how})", x, got, known.value)
                )
    return failures, unproven


def _piecewise_constant(case: Case, order: int) -> bool:
    """Whether the order-th derivative takes one value a piece: conditions on x, and nothing else of x."""
    from softknee.lang.differentiate import derivative

    root = derivative(case.definition.chosen(case.choices), "x", order)
    reached, stack = set(), [root]
    while stack:
        n = stack.pop()
        if id(n) in reached:
            continue
        reached.add(id(n))
        if n.op == "symbol" and n.payload == "x":
            return False
        if n.op == "sign":
            continue
        stack += n.args[1:] if n.op == "where" else n.args
    return True


def totality(case: Case, dtype: str, order: int = 2) -> list[Failure]:
    """No NaN and no infinity at a finite point unless the mathematics has it."""
    form = format_of(dtype)
    points = [v for v in case.points(dtype, 0) if math.isfinite(v)]
    failures = []
    for k, found in enumerate(case.derivatives(points, _dtype(dtype), order)):
        for x, got in zip(points, found, strict=True):
            if math.isfinite(got):
                continue
            exact = case.exact.derivative(x, k)
            if mp.isnan(exact) or (got == got and abs(exact) > form.largest):
                continue
            failures.append(Failure("totality", str(case), f"{_nth(k)} in {dtype}", x, got, exact))
    return failures


#: largest error of a second or third derivative in float64, relative to the largest value around
HIGHER = 1e-9


def derivatives_agree(case: Case, order: int = 3, samples: int = 24) -> list[Failure]:
    """The second and third derivatives by autograd in float64 against the truth, where networks live."""
    points = [v for v in case.points("float64", samples) if math.isfinite(v) and 2.0**-12 < abs(v) < 40]
    points = points[:: max(1, len(points) // samples)]
    failures = []
    for k, found in enumerate(case.derivatives(points, torch.float64, order)):
        if k < 2:
            continue
        for x, got in zip(points, found, strict=True):
            exact = case.exact.derivative(x, k)
            if mp.isnan(exact):
                continue
            room = mp.mpf(2) ** -1022 + HIGHER * (  # what underflows is right as 0
                abs(exact) + mp.mpf(10) ** -6 * max(abs(case.exact.derivative(x, j)) for j in range(k))
            )
            if not abs(mp.mpf(got) - exact) <= room:
                failures.append(
                    Failure("higher derivatives", str(case), f"{_nth(k)} in float64", x, got, exact)
                )
    return failures


def kinks(case: Case) -> list[Failure]:
    """At every kink the slope used is the stated one, and every kink is stated."""
    from softknee.analysis.facts import facts

    failures = []
    places = [v for v in case.kinks if math.isfinite(v)]
    for x, got in zip(places, case.derivatives(places, torch.float64, 1)[1] if places else [], strict=True):
        exact = case.exact.derivative(x, 1)
        if not mp.isnan(exact) and ulp_error(got, exact, "float64") > 4:
            failures.append(
                Failure("kink", str(case), "the slope that is used is not the one stated", x, got, exact)
            )
    found = facts(case.definition, dict(case.choices), **{n: float(v) for n, v in case.values.items()})
    for kink in found.kinks:
        if not kink.declared:
            detail = (
                f"the slope jumps from {kink.left:g} to {kink.right:g}, which the definition does not state"
            )
            failures.append(Failure("kink", str(case), detail, float(kink.place)))
    return failures

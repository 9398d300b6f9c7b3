"""Minimax approximation in multiple precision: Remez exchange for polynomials and quotients of polynomials.

All of it runs on a fixed grid of Chebyshev points, so that the result is the same on every
machine: `fit_coefficients.py --check` depends on that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mpmath import mp, mpf

__all__ = ["Fit", "chebyshev_grid", "polynomial", "quotient"]

Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Fit:
    """Coefficients from the constant term up, and the largest weighted error on the grid."""

    numerator: tuple[mpf, ...]
    denominator: tuple[mpf, ...]
    error: mpf


def chebyshev_grid(low: mpf, high: mpf, count: int) -> list[mpf]:
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def _horner(coefficients: Sequence[mpf], x: mpf) -> mpf:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def _alternation(errors: Sequence[mpf], count: int) -> list[int]:
    """Places of `count` extrema of alternating sign, the largest ones."""
    places: list[int] = []
    for i, e in enumerate(errors):
        if places and (e > 0) == (errors[places[-1]] > 0):
            if abs(e) > abs(errors[places[-1]]):
                places[-1] = i
        else:
            places.append(i)
    while len(places) > count:
        # Drop the smaller end, or the smallest inner one with its smaller neighbour.
        if len(places) == count + 1:
            places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
            continue
        smallest = min(range(len(places)), key=lambda j: abs(errors[places[j]]))
        if smallest in (0, len(places) - 1):
            places.pop(smallest)
        else:
            beside = min(smallest - 1, smallest + 1, key=lambda j: abs(errors[places[j]]))
            for j in sorted((smallest, beside), reverse=True):
                places.pop(j)
    return places


def polynomial(
    target: Sequence[mpf],
    weight: Sequence[mpf],
    grid: Sequence[mpf],
    degree: int,
    fixed: Sequence[mpf] = (),
) -> Fit:
    """The c minimising max |weight (target - sum c_j x^j)| with the first few c_j given."""
    first = len(fixed)
    unknown = degree + 1 - first
    rest = [t - _horner(fixed, x) for t, x in zip(target, grid, strict=True)]
    largest = max(abs(w * r) for w, r in zip(weight, rest, strict=True))
    if unknown <= 0:
        return Fit(tuple(fixed), (mpf(1),), largest)
    if first:
        # What is left is divided by x^first; near 0, where that says nothing, points are left out.
        reach = max(abs(x) for x in grid) / 500
        kept = [
            (x, r / x**first, w * abs(x) ** first)
            for x, r, w in zip(grid, rest, weight, strict=True)
            if abs(x) > reach
        ]
        grid, rest, weight = zip(*kept, strict=True)
    count = unknown + 1
    step = (len(grid) - 1) / (count + 1)
    places = [round((j + 1) * step) for j in range(count)]
    free: list[mpf] = []
    for _ in range(30):
        matrix = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for i, place in enumerate(places):
            for j in range(unknown):
                matrix[i, j] = grid[place] ** j
            matrix[i, unknown] = (-1) ** i / weight[place]
            right[i] = rest[place]
        solution = mp.lu_solve(matrix, right)
        free = [solution[j] for j in range(unknown)]
        level = abs(solution[unknown])
        errors = [w * (r - _horner(free, x)) for w, r, x in zip(weight, rest, grid, strict=True)]
        largest = max(abs(e) for e in errors)
        if largest < level * mpf("1.001"):
            break
        exchanged = _alternation(errors, count)
        if len(exchanged) < count:
            break
        places = exchanged
    return Fit((*fixed, *free), (mpf(1),), largest)


def quotient(
    target: Sequence[mpf], weight: Sequence[mpf], grid: Sequence[mpf], upper: int, lower: int
) -> Fit:
    """The P/Q of degrees (upper, lower), Q(0) = 1, minimising max |weight (target - P/Q)|."""
    count = upper + lower + 2
    step = (len(grid) - 1) / (count - 1)
    places = [round(j * step) for j in range(count)]
    level = mpf(0)
    p: list[mpf] = []
    q: list[mpf] = []
    largest = mpf("inf")
    for _ in range(40):
        # (target + (-1)^i level / weight) Q = P, with the level from the round before in the
        # product and its change as an unknown: a Newton step on the bilinear system.
        known = [mpf(1)] * count if not q else [_horner(q, grid[k]) for k in places]
        for _ in range(8):
            matrix = mp.matrix(count, count)
            right = mp.matrix(count, 1)
            for i, place in enumerate(places):
                x, sign = grid[place], (-1) ** i / weight[place]
                value = target[place] - sign * level
                for j in range(upper + 1):
                    matrix[i, j] = x**j
                for j in range(lower):
                    matrix[i, upper + 1 + j] = -value * x ** (j + 1)
                matrix[i, count - 1] = sign * known[i]
                right[i] = value
            solution = mp.lu_solve(matrix, right)
            p = [solution[j] for j in range(upper + 1)]
            q = [mpf(1)] + [solution[upper + 1 + j] for j in range(lower)]
            change = solution[count - 1]
            level += change
            known = [_horner(q, grid[k]) for k in places]
            if abs(change) < abs(level) * mpf("1e-6"):
                break
        errors = [
            w * (t - _horner(p, x) / _horner(q, x)) for w, t, x in zip(weight, target, grid, strict=True)
        ]
        largest = max(abs(e) for e in errors)
        if largest < abs(level) * mpf("1.001"):
            break
        exchanged = _alternation(errors, count)
        if len(exchanged) < count:
            break
        places = exchanged
    return Fit(tuple(p), tuple(q), largest)

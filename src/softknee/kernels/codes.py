"""What is saved for backward in place of an input: a code of the derivative, bit by bit.

The bits are expressions like any other, so that a kernel writes them in the pass that computes the
value, and reads them back as symbols. Nothing here knows what a bit is stored in.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from softknee.lang.nodes import Node, number, symbols_in, where
from softknee.lang.simplify import simplify

__all__ = ["Codes", "EvenCodes", "even_codes", "exact_codes", "rounded_codes"]


@dataclass(frozen=True)
class Codes:
    """What backward needs to know of a derivative that takes few values: which of them it is.

    planes: 0 or 1 as expressions of the inputs, one a bit of the code, the highest first; levels: the
    derivative's values by code, expressions without tensors. Saved in place of the input.
    """

    planes: tuple[Node, ...]
    levels: tuple[Node, ...]

    def decoded(self, bits: Sequence[Node]) -> Node:
        """The derivative, from symbols that stand for the saved bits."""
        return _chosen(tuple(bits), self.levels)


@dataclass(frozen=True)
class EvenCodes:
    """The same for 2^n levels a step apart: the code is how many steps a level lies above the lowest."""

    planes: tuple[Node, ...]
    lowest: float
    step: float

    def decoded(self, bits: Sequence[Node]) -> Node:
        steps: Node = number(0)
        for bit in bits:
            steps = 2 * steps + bit
        return number(self.lowest) + number(self.step) * steps


def _chosen(bits: tuple[Node, ...], levels: tuple[Node, ...]) -> Node:
    if len(levels) == 1:
        return levels[0]
    half = 1 << (len(bits) - 1)
    below = _chosen(bits[1:], levels[:half])
    return below if len(levels) <= half else where(bits[0] > 0, _chosen(bits[1:], levels[half:]), below)


_ARITHMETIC: dict[str, Callable[..., Node]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "neg": operator.neg,
}


def _branches(n: Node) -> Node:
    """sign, and sums and products of choices, as choices between sums and products"""
    if n.op == "sign":
        x = n.args[0]
        return where(x > 0, number(1), where(x < 0, number(-1), number(0)))
    if n.op == "where":
        return where(n.args[0], _branches(n.args[1]), _branches(n.args[2]))
    if n.op in _ARITHMETIC:
        args = [_branches(a) for a in n.args]
        for k, a in enumerate(args):
            if a.op == "where":
                chosen = ([*args[:k], choice, *args[k + 1 :]] for choice in a.args[1:])
                return where(a.args[0], *(_branches(simplify(_ARITHMETIC[n.op](*c))) for c in chosen))
    return n


def exact_codes(derivative: Node, tensors: AbstractSet[str]) -> Codes | None:
    """Codes of a derivative that is piecewise constant (two to eight slopes, none of which depends on a
    tensor): one to three bits an element say all of it. None for any other.

    Slopes are counted as they are written: one that no input reaches (a choice made twice) counts, too."""
    derivative = _branches(derivative)
    levels: list[Node] = []  # equal expressions are one object
    branches = [derivative]
    while branches:
        n = branches.pop()
        if n.op == "where":
            branches += n.args[1:]
        elif tensors & set(symbols_in(n)):
            return None
        elif all(n is not known for known in levels):
            levels.append(n)
    if not 2 <= len(levels) <= 8:
        return None

    def plane(n: Node, bit: int) -> Node:
        if n.op == "where":
            return where(n.args[0], plane(n.args[1], bit), plane(n.args[2], bit))
        return number(place[id(n)] >> bit & 1)

    place = {id(n): k for k, n in enumerate(levels)}
    count = (len(levels) - 1).bit_length()
    return Codes(tuple(plane(derivative, b) for b in reversed(range(count))), tuple(levels))


def rounded_codes(derivative: Node, levels: Sequence[float]) -> Codes:
    """Codes of the nearest of 2^n levels, which rise."""

    def plane(bit: int, low: int, high: int) -> Node:
        """Bit `bit` of a code that lies in low ... high - 1"""
        if high - low == 1 or high - low == 1 << bit:
            return number(low >> bit & 1)
        middle = (low + high) // 2
        border = number((levels[middle - 1] + levels[middle]) / 2)
        upper, lower = plane(bit, middle, high), plane(bit, low, middle)
        return upper if upper is lower else where(derivative > border, upper, lower)

    count = (len(levels) - 1).bit_length()
    return Codes(tuple(plane(b, 0, len(levels)) for b in reversed(range(count))), tuple(map(number, levels)))


def even_codes(derivative: Node, lowest: float, highest: float, bits: int) -> EvenCodes:
    """Codes of the nearest of 2^bits levels from lowest to highest, all as far apart."""
    step = (highest - lowest) / ((1 << bits) - 1)
    border: Node = number(lowest + step * (2 ** (bits - 1) - 0.5))
    planes = []
    for bit in reversed(range(bits)):
        above = derivative >= border
        planes.append(where(above, number(1), number(0)))
        border = border + where(above, number(step * 2**bit / 2), number(-step * 2**bit / 2))
    return EvenCodes(tuple(planes), lowest, step)

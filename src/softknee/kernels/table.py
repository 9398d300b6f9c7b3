"""Tables of 65,536 results: 16-bit functions of one variable, correctly rounded by construction.

A table holds the function at every 16-bit number, as float32 rounded to odd: rounding that to 16
bits, or multiplying it by a 16-bit gradient and rounding the product, is as good as rounding the
exact value (Boldo and Melquiond 2008). The values come from our float64 kernel; where one lies so
near the middle between two 16-bit numbers that its own error could decide, mpmath decides.
"""

from __future__ import annotations

import math
from struct import pack, unpack
from typing import TYPE_CHECKING, Any

from softknee.lang.nodes import Node, number, symbol, symbols_in, walk
from softknee.lang.simplify import simplify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = ["factors", "is_choice", "is_exact", "quotient", "split", "table_of"]

#: operations whose result, rounded once, is exact: a part made of these needs no table
_EXACT = {
    "number", "constant", "symbol", "neg", "abs", "sign", "minimum", "maximum", "where", "detach",
    "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not",
}  # fmt: skip
#: digits to which mpmath may go to find the side of a middle on which a value lies
_DIGITS = (60, 400)
#: |x| next to 0, and far from it
NEAR, FAR = 2.0**-40, 2.0**12


def is_choice(root: Node, nearest: bool = False) -> bool:
    """Whether a result is one of its inputs or of its literals, up to sign, all of them float32 numbers; or,
    with `nearest`, all of them rounded to the same 16-bit number by way of float32."""
    return all(
        n.op in _EXACT - {"constant"} and (n.op != "number" or _is_float32(n.payload, nearest))
        for n in walk(root)
    )


def is_exact(root: Node, narrow: Collection[str]) -> bool:
    """Whether float32 has the result before it is rounded to 16 bits: choices by 16-bit numbers, named in `narrow`, among
    them and products of two. Where such a product leaves float32's range, what 16 bits make of it is the same."""
    if root.op == "mul":
        return all(_is_narrow(a, narrow) for a in root.args)
    if root.op == "where":
        condition, *values = root.args
        return is_choice(condition) and all(is_exact(a, narrow) for a in values)
    if root.op in ("neg", "abs", "minimum", "maximum", "detach"):
        return all(is_exact(a, narrow) for a in root.args)
    return is_choice(root)


def _is_narrow(root: Node, narrow: Collection[str]) -> bool:
    """Whether it is one of the 16-bit numbers, up to sign, or a literal that is one of every type"""
    return is_choice(root) and all(
        n.payload in narrow if n.op == "symbol" else abs(n.payload) in (0, 1)
        for n in walk(root)
        if n.op in ("symbol", "number")
    )


def _is_float32(value: Any, nearest: bool) -> bool:
    close = float(value)
    if close - close != 0:
        return close == value
    try:
        there = unpack("f", pack("f", close))[0]
    except OverflowError:
        return False
    # the middle of two 16-bit numbers has at most 12 digits
    return there == value or (nearest and unpack("I", pack("f", there))[0] & 0xFFF != 0)


def split(roots: list[Node], narrow: set[str]) -> tuple[list[Node], dict[str, tuple[str, Node]]]:
    """Replaces what depends on one 16-bit input alone by a new symbol: a whole expression, or all of
    a product but for factors that are symbols (incoming gradients, the other input of a gate).

    Returns the expressions and what the new symbols stand for: (input, part). Nothing else is
    tabulated: an intermediate result may leave float32's range.
    """
    parts: dict[str, tuple[str, Node]] = {}
    results = []
    for root in roots:
        above, below = factors(root)
        others = [f for f in above if f.op == "symbol"]
        for name in narrow:
            rest = [f for f in above if f.op != "symbol" or f.payload == name]
            free = [f for f in others if f.payload != name]
            part = quotient(rest, below)
            if symbols_in(part) == [name] and any(n.op not in _EXACT for n in walk(part)):
                key = f"table{len(parts)}_"
                parts[key] = (name, part)
                root = symbol(key)
                for factor in free:
                    root = factor * root
                break
        results.append(root)
    return results, parts


def factors(n: Node) -> tuple[list[Node], list[Node]]:
    """The factors above and below the line of a product."""
    if n.op == "mul":
        (a, b), (c, d) = map(factors, n.args)
        return a + c, b + d
    if n.op == "div":
        (a, b), (c, d) = map(factors, n.args)
        return a + d, b + c
    if n.op == "neg":
        a, b = factors(n.args[0])
        return [number(-1), *a], b
    return [n], []


def quotient(above: list[Node], below: list[Node]) -> Node:
    top: Node = number(1)
    for factor in above:
        top = top * factor
    bottom: Node | None = None
    for factor in below:
        bottom = factor if bottom is None else bottom * factor
    return simplify(top if bottom is None else top / bottom)


def table_of(part: Node, name: str, storage: str, evaluate: Callable[[Any], Any]) -> bytes:
    """The float32 entries (rounded to odd) of a function of `name` at all numbers of a storage type.

    evaluate: its values at an array of float64, within a few units of float64.
    """
    import numpy as np

    bits = np.arange(65536, dtype=np.uint16)
    with np.errstate(all="ignore"):
        x = bits.view(np.float16).astype(np.float64) if storage == "float16" else _wide(bits)
        values = evaluate(x)
        odd = _to_odd(values)
        # the middle between the two 16-bit neighbours of each value
        below = _toward_zero(values, storage)
        above = _next(below, storage)
        middle = (below + above) / 2
        near = (
            np.isfinite(values)
            & np.isfinite(middle)
            & (np.abs(values - middle) <= 8 * np.spacing(np.abs(values)))
        )
        for k, side in _sides(part, name, x, middle, np.flatnonzero(near)):
            entry = np.float32(middle[k])
            odd[k] = entry if side == 0 else np.nextafter(entry, np.float32(side * np.inf))
    return odd.astype("<f4").tobytes()


def _wide(bits: Any) -> Any:
    import numpy as np

    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _to_odd(values: Any) -> Any:
    """float64 -> float32, rounded to odd"""
    import numpy as np

    near = values.astype(np.float32)
    back = near.astype(np.float64)
    bits = near.view(np.uint32)
    inexact = (back != values) & ~np.isnan(values)
    bits = np.where(inexact, (bits - (np.abs(back) > np.abs(values))) | 1, bits)
    return bits.astype(np.uint32).view(np.float32)


def _toward_zero(values: Any, storage: str) -> Any:
    """The 16-bit number next to each value on the side of 0."""
    import numpy as np

    if storage == "bfloat16":
        near = values.astype(np.float32)
        bits = near.view(np.uint32) - (np.abs(near.astype(np.float64)) > np.abs(values)).astype(np.uint32)
        return (bits & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    near = values.astype(np.float16)
    bits = near.view(np.uint16) - (np.abs(near.astype(np.float64)) > np.abs(values)).astype(np.uint16)
    return bits.view(np.float16).astype(np.float64)


def _next(values: Any, storage: str) -> Any:
    """The 16-bit number next to each 16-bit number, away from 0."""
    import numpy as np

    if storage == "bfloat16":
        bits = values.astype(np.float32).view(np.uint32) + np.uint32(0x10000)
        return bits.view(np.float32).astype(np.float64)
    return (values.astype(np.float16).view(np.uint16) + np.uint16(1)).view(np.float16).astype(np.float64)


def _sides(part: Node, name: str, x: Any, middle: Any, near: Any) -> Iterator[tuple[int, int]]:
    """Places and the sides of their middles. Next to 0, and far from it, a function may be a line through the middles
    and very little more: which side that is on, its ends and three places between them tell."""
    together: dict[tuple[float, bool, bool], list[int]] = {}
    for k in near.tolist():
        size = abs(x[k])
        line = middle[k] / x[k] if NEAR > size > 0 or size > FAR else math.nan
        together.setdefault((line, size > 1, x[k] < 0) if line == line else (k, True, True), []).append(k)
    for places in together.values():
        places.sort(key=lambda k: abs(x[k]))
        told = [places[(len(places) - 1) * n // 4] for n in range(5)]
        sides = {k: _side(part, name, float(x[k]), float(middle[k])) for k in {*told}}
        alike = len({*sides.values()}) == 1
        for k in places:
            yield k, sides[told[0]] if alike else _side(part, name, float(x[k]), float(middle[k]))


def _side(part: Node, name: str, x: float, middle: float) -> int:
    """-1, 0 or 1: where the exact value lies. Nearer than 10^-400 counts as on the middle."""
    import mpmath as mp

    from softknee.lang.evaluate import compiled

    function = compiled((part,), (name,), "mpmath")
    for digits in _DIGITS:
        with mp.workdps(digits + 20):
            difference = function(mp.mpf(x))[0] - mp.mpf(middle)
            if abs(difference) > abs(mp.mpf(middle)) * mp.mpf(10) ** -digits:
                return int(mp.sign(difference))
    return 0

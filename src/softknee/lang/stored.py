"""Expressions as text that can be read back: what caches on disk find them by, and what they keep.

>>> from softknee.lang import number, symbol
>>> x = symbol("x")
>>> to_json(x * x + number("0.5"))
'[[["symbol",[],"x"],["mul",[0,0],null],["number",[],"1/2"],["add",[1,2],null]],[3]]'
>>> from_json(to_json(x * x, x)) == (x * x, x)
True
"""

from __future__ import annotations

import json
from fractions import Fraction

from softknee.lang.nodes import Node, make, walk

__all__ = ["from_json", "to_json"]


def to_json(*roots: Node) -> str:
    """Each node once, operands before the nodes that use them, by their places; then the places of the roots."""
    place: dict[int, int] = {}
    nodes = []
    for n in walk(*roots):
        place[id(n)] = len(place)
        nodes.append((n.op, [place[id(a)] for a in n.args], n.payload))
    return json.dumps((nodes, [place[id(root)] for root in roots]), separators=(",", ":"), default=str)


def from_json(text: str | bytes) -> tuple[Node, ...]:
    """The expressions of a text. A ValueError for any other text."""
    nodes: list[Node] = []
    try:
        written, roots = json.loads(text)
        for op, args, payload in written:
            if op == "number" and isinstance(payload, str):
                payload = Fraction(payload)
            nodes.append(make(op, [nodes[place] for place in args], payload))
        return tuple([nodes[place] for place in roots])
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"no expressions: {text!r:.60}") from error

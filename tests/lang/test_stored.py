"""Expressions as text that is read back: the same objects, whatever they hold."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from softknee.lang import OPS, Node, exp, number, pi, symbol
from softknee.lang.nodes import make
from softknee.lang.stored import from_json, to_json

x = symbol("x")


@pytest.mark.parametrize("op", [op for op, rule in OPS.items() if rule.operands])
def test_every_operation(op: str) -> None:
    n = make(op, [x if kind == "R" else x > 0 for kind in OPS[op].operands])
    assert from_json(to_json(n))[0] is n


@pytest.mark.parametrize(
    "value",
    [0, -3, 2**200, 0.1, -0.0, 5e-324, math.inf, -math.inf, math.nan, Fraction(-1, 3), Fraction(1, 2**180), 1e22],
)  # fmt: skip
def test_every_kind_of_number(value: float | Fraction) -> None:
    (found,) = from_json(to_json(number(value)))
    assert found is number(value)


def test_shared_parts_are_written_once() -> None:
    shared = exp(x) + pi
    roots = (shared * shared, shared, x)
    text = to_json(*roots)
    assert text.count("exp") == 1
    assert all(a is b for a, b in zip(from_json(text), roots, strict=True))


def test_different_expressions_have_different_texts() -> None:
    every: list[tuple[Node, ...]] = [
        (x,), (symbol("y"),), (-x,), (x, -x), (-x, x), (x - 1,), (1 - x,), (number(1),), (number("0.5"),), (number(0.5),),
        (number(-0.0),), (number(0),),
    ]  # fmt: skip
    assert len({to_json(*roots) for roots in every}) == len(every)


def test_how_deep_they_are_does_not_matter() -> None:
    n = x
    for _ in range(5000):
        n = exp(n)
    assert from_json(to_json(n))[0] is n


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "null", "7", "{}", "[[]]", "[[],[0]]", '[[["exp",[0],null]],[0]]', '[[["nonsense",[],null]],[0]]',
        '[[["number",[],"1/0"]],[0]]', '[[["number",[],"x"]],[0]]', '[[["add",[],null]],[0]]', '[[["number",[],[]]],[0]]',
        "[[[[],[],null]],[0]]", "[" * 100_000, b"\xff\xfe", b"\x80\x04.",
    ],
)  # fmt: skip
def test_any_other_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="no expressions"):
        from_json(text)

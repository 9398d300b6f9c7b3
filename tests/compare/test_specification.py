"""Activation specifications: what parses, and what an error says."""

from __future__ import annotations

import math

import pytest

from softknee.compare.errors import SpecificationError
from softknee.compare.specification import Specification, parse, ranged, specifications


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relu", [Specification("relu")]),
        (" relu , gelu ", [Specification("relu"), Specification("gelu")]),
        ("relu()", [Specification("relu")]),
        ("leaky_relu(negative_slope=0.3)", [Specification("leaky_relu", (("negative_slope", 0.3),))]),
        ("a(x=1e-3,y=-2),b", [Specification("a", (("x", 1e-3), ("y", -2))), Specification("b")]),
        ("a(x=.5, y=2.)", [Specification("a", (("x", 0.5), ("y", 2.0)))]),
        ("gelu(approximate='tanh')", [Specification("gelu", (("approximate", "tanh"),))]),
        ("gelu(approximate=tanh)", [Specification("gelu", (("approximate", "tanh"),))]),
        ("a(x=true,y=False,z=inf)", [Specification("a", (("x", True), ("y", False), ("z", math.inf)))]),
    ],
)
def test_what_parses(text: str, expected: list[Specification]) -> None:
    assert parse(text) == expected


def test_a_label_parses_to_itself() -> None:
    for one in parse("relu,leaky_relu(negative_slope=0.3),gelu(approximate=tanh),a(k=1,b=true)"):
        assert parse(str(one)) == [one]


def test_the_order_of_parameters_does_not_matter() -> None:
    assert parse("a(x=1,y=2)") == parse("a(y=2,x=1)")


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "an activation's name"),
        ("relu,,gelu", 6, "an activation's name"),
        ("relu,", 6, "an activation's name"),
        ("relu gelu", 6, "',' or the end"),
        ("leaky_relu(0.3)", 12, "a parameter's name"),
        ("leaky_relu(negative_slope)", 26, "'='"),
        ("leaky_relu(negative_slope=)", 27, "a number"),
        ("leaky_relu(negative_slope=0.3", 30, "',' or ')'"),
        ("leaky_relu(negative_slope=0.3))", 31, "',' or the end"),
        ("elu(alpha=1+1)", 12, "',' or ')'"),
        ("elu(alpha=__import__('os'))", 21, "',' or ')'"),
        ("elu(alpha=0.5x)", 11, "a number"),
        ("elu(alpha='x)", 11, "a number"),
        ("3relu", 1, "an activation's name"),
        ("re/lu", 3, "',' or the end"),
    ],
)
def test_an_error_points_at_the_place_and_names_the_remedy(text: str, position: int, expected: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        parse(text)
    message = str(caught.value)
    assert f"position {position}," in message
    assert expected in message
    assert f"    {' ' * (position - 1)}^" in message.splitlines()
    assert "name(parameter=value)" in message


def test_doubles_are_refused() -> None:
    with pytest.raises(SpecificationError, match="given twice"):
        parse("elu(alpha=1,alpha=2)")


def test_a_list_may_mix_texts_and_specifications() -> None:
    assert [str(s) for s in specifications(["relu,gelu", Specification("elu")])] == ["relu", "gelu", "elu"]


def test_a_range_is_several_activations() -> None:
    assert [str(s) for s in parse("elu(alpha=0.1..10:3), relu")] == [
        "elu(alpha=0.1)",
        "elu(alpha=1.0)",
        "elu(alpha=10.0)",
        "relu",
    ]
    assert len(parse("hardtanh(min_val=-2..-1:2, max_val=1..2:2)")) == 4
    assert ranged("0..1") == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert ranged("-1..1:3") == [-1.0, 0.0, 1.0]
    for bad in ("2..1", "1..", "..1", "1..2:1", "1...2", "a..b", "1..inf"):
        assert ranged(bad) is None
    with pytest.raises(SpecificationError, match="expected a range"):
        parse("elu(alpha=2..1)")

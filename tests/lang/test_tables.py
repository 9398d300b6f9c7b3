"""Every table that spells or transforms the language covers exactly its operations."""

from __future__ import annotations

import math
import random
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch

from softknee import catalogue
from softknee.kernels import llvm, lower, program
from softknee.lang import OPS, javascript, latex, mathml, number, symbol, text
from softknee.lang.cost import WEIGHTS
from softknee.lang.differentiate import RULES, derivative
from softknee.lang.evaluate import BACKENDS, evaluate
from softknee.lang.nodes import make
from softknee.testing import Exact

#: leaves that are spelled by the compiler itself
_SYMBOL = {"symbol"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_evaluation(backend: str) -> None:
    assert set(BACKENDS[backend]()) == set(OPS) - _SYMBOL


@pytest.mark.parametrize(
    ("name", "table"),
    [("differentiate", RULES), ("lower", lower.SPELLING), ("cost", WEIGHTS)],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_transformations(name: str, table: dict[str, object]) -> None:
    assert set(table) == set(OPS)


@pytest.mark.parametrize("table", [latex.SPELLING, text.SPELLING], ids=["latex", "text"])
def test_languages_of_people(table: dict[str, object]) -> None:
    assert set(table) == set(OPS)


def test_instructions() -> None:
    assert set(llvm.SPELLING) >= set(program.OPERATIONS) - {"input", "const"}
    assert set(llvm.SPELLING) <= set(program.OPERATIONS)


x, y = symbol("x"), symbol("y")
REAL = [op for op, rule in OPS.items() if rule.result == "R" and rule.operands in ("R", "RR")]


def node(op: str) -> object:
    return make(op, (x,) if OPS[op].operands == "R" else (x, y))


def points(op: str) -> list[tuple[float, float]]:
    """Where the operation is defined and smooth."""
    draw = random.Random(1)
    low = 0.1 if op in ("log", "sqrt", "pow") else -0.9 if op == "log1p" else -3.0
    return [(draw.uniform(low, 3), draw.uniform(-3, 3) or 1.0) for _ in range(12)]


@pytest.mark.parametrize("op", REAL)
def test_backends_agree(op: str) -> None:
    for a, b in points(op):
        values = {"x": a, "y": b} if OPS[op].operands == "RR" else {"x": a}
        want = float(evaluate(node(op), values, "mpmath"))
        assert evaluate(node(op), values, "float") == pytest.approx(want, rel=1e-13, abs=1e-15)
        assert evaluate(node(op), {k: np.array([v]) for k, v in values.items()})[0] == pytest.approx(
            want, rel=1e-13, abs=1e-15
        )
        tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in values.items()}
        assert float(evaluate(node(op), tensors, "torch")[0]) == pytest.approx(want, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("op", [op for op in REAL if op != "detach"])
@pytest.mark.parametrize("order", [1, 2])
def test_rules_of_differentiation(op: str, order: int) -> None:
    """Against differences of values, with 60 digits and more."""
    slope = derivative(node(op), "x", order)
    for a, b in points(op)[:6]:
        values = {"y": b} if OPS[op].operands == "RR" else {}
        want = float(Exact(node(op), values).derivative(a, order))
        got = evaluate(slope, {"x": a, **values}, "float")
        assert got == pytest.approx(want, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(
    "op",
    ["exp", "expm1", "log", "log1p", "sqrt", "tanh", "sigmoid", "softplus", "asinh", "atan", "normal_cdf"],
)
def test_ieee_at_infinity(op: str) -> None:
    for at in (math.inf, -math.inf, math.nan):
        one = evaluate(make(op, (x,)), {"x": at}, "float")
        with np.errstate(all="ignore"):
            two = evaluate(make(op, (x,)), {"x": at})
        assert one == two or (math.isnan(one) and math.isnan(two)), at


def test_numbers_are_exact() -> None:
    assert number("0.1") is not number(0.1)
    assert number(2.0) is number(2)
    assert number(-0.0) is not number(0.0)


def test_javascript() -> None:
    assert set(javascript.SPELLING) == set(OPS)


def test_torch_code_is_the_function() -> None:
    """What `to_torch` writes for the whole catalogue returns what the definitions are."""
    at = torch.linspace(-5, 5, 41, dtype=torch.float64)
    for d in catalogue.all_definitions():
        values = {p.name: float(p.example if p.default is None else p.default) for p in d.parameters}  # type: ignore[arg-type]
        for expression in d.expression.values():
            got = eval(text.to_torch(expression), {"torch": torch, "math": math, "x": at, **values})
            want = evaluate(expression, {"x": at.numpy(), **values})
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-8, atol=1e-8, err_msg=d.name)


def test_mathml_of_the_whole_catalogue() -> None:
    """It is well-formed, and holds every number and name of the LaTeX."""
    for d in catalogue.all_definitions():
        for expression in d.expression.values():
            for each in (expression, derivative(expression, "x")):
                said = "".join(ET.fromstring(mathml.to_mathml(each, name="f(x)")).itertext())
                tex = re.sub(r"\\[a-zA-Z]+|\{cases\}", " ", latex.to_latex(each))
                assert all(word in said for word in re.findall(r"\d+(?:\.\d+)?|[a-zA-Z]+", tex)), (
                    d.name,
                    said,
                )

"""Formulas as text and as LaTeX."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from softknee import lang
from softknee.lang import (
    OPS,
    Node,
    absolute,
    as_node,
    atan,
    clamp,
    erf,
    exp,
    expm1,
    latex,
    log1p,
    log_sigmoid,
    maximum,
    minimum,
    normal_cdf,
    number,
    pi,
    sigmoid,
    sin,
    softplus,
    sqrt,
    symbol,
    tanh,
    text,
    where,
)  # fmt: skip
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import evaluate
from softknee.lang.latex import name_to_latex, to_latex
from softknee.lang.text import to_text

x, alpha, beta, lambd, p1, p2 = map(symbol, ("x", "alpha", "beta", "lambd", "p1", "p2"))
SCOPE = vars(lang) | {"x": x, "alpha": alpha, "beta": beta, "lambd": lambd, "p1": p1, "p2": p2}

ELU = where(x > 0, x, alpha * expm1(x))
GELU_TANH = number("0.5") * x * (1 + tanh(sqrt(2 / pi) * (x + number("0.044715") * x**3)))
SOFTSHRINK = where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))

FORMULAS: list[tuple[Node, str, str]] = [
    (ELU, "where(x > 0, x, alpha*expm1(x))",
     r"\begin{cases} x & \text{if } x > 0 \\ \alpha (e^{x} - 1) & \text{if } x \le 0 \end{cases}"),
    (derivative(ELU, "x"), "where(x > 0, 1, alpha*exp(x))",
     r"\begin{cases} 1 & \text{if } x > 0 \\ \alpha e^{x} & \text{if } x \le 0 \end{cases}"),
    (x * tanh(softplus(x)), "x*tanh(softplus(x))", r"x \tanh(\operatorname{softplus}(x))"),
    (x * sigmoid(number("1.702") * x), "x*sigmoid(1.702*x)", r"x \sigma(1.702 x)"),
    (x * normal_cdf(x), "x*normal_cdf(x)", r"x \Phi(x)"),
    (GELU_TANH, "0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))",
     r"\frac{1}{2} x \left(1 + \tanh\left(\sqrt{\frac{2}{\pi}} (x + 0.044715 x^{3})\right)\right)"),
    (SOFTSHRINK, "where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))",
     r"\begin{cases} x - \lambda & \text{if } x > \lambda \\ x + \lambda & \text{if } x < -\lambda \\ 0 & \text{otherwise} \end{cases}"),
    (derivative(SOFTSHRINK, "x"), "where(x > lambd, 1, where(x < -lambd, 1, 0))",
     r"\begin{cases} 1 & \text{if } x > \lambda \text{ or } x < -\lambda \\ 0 & \text{otherwise} \end{cases}"),
    (where(x > 0, where(x > 1, 1, x), 0), "where(x > 0, where(x > 1, 1, x), 0)",
     r"\begin{cases} 0 & \text{if } x \le 0 \\ 1 & \text{if } x > 1 \\ x & \text{otherwise} \end{cases}"),
    (softplus(beta * x) / beta, "softplus(beta*x)/beta", r"\frac{\operatorname{softplus}(\beta x)}{\beta}"),
    (maximum(0, x) + minimum(0, alpha * expm1(x / alpha)),
     "maximum(0, x) + minimum(0, alpha*expm1(x/alpha))",
     r"\max(0, x) + \min(0, \alpha (e^{x / \alpha} - 1))"),
    (x / (1 + absolute(x)), "x/(1 + abs(x))", r"\frac{x}{1 + \left|x\right|}"),
    ((p1 - p2) * x * sigmoid(beta * (p1 - p2) * x) + p2 * x,
     "(p1 - p2)*x*sigmoid(beta*(p1 - p2)*x) + p2*x",
     r"x (p_{1} - p_{2}) \, \sigma(\beta x (p_{1} - p_{2})) + p_{2} x"),
    (x * clamp(x + 3, 0, 6) / 6, "x*minimum(maximum(x + 3, 0), 6)/6",
     r"\frac{1}{6} x \min(\max(x + 3, 0), 6)"),
    (log_sigmoid(x), "-softplus(-x)", r"-\operatorname{softplus}(-x)"),
    (x + sin(alpha * x) ** 2 / alpha, "x + sin(alpha*x)**2/alpha", r"x + \frac{\sin(\alpha x)^{2}}{\alpha}"),
    (exp(-x * x), "exp(-x*x)", r"e^{-x^{2}}"),
    (x * (number("0.5") + atan(x) / pi), "x*(0.5 + atan(x)/pi)",
     r"x \left(\frac{1}{2} + \frac{\arctan(x)}{\pi}\right)"),
    (where((x > 0) & (x <= 1), 1, 0), "where((x > 0) & (x <= 1), 1, 0)",
     r"\begin{cases} 1 & \text{if } 0 < x \le 1 \\ 0 & \text{otherwise} \end{cases}"),
    (-alpha * where(x > 0, x, 0), "-alpha*where(x > 0, x, 0)",
     r"-\alpha \begin{cases} x & \text{if } x > 0 \\ 0 & \text{if } x \le 0 \end{cases}"),
    (where(x > 0, x, 0) + 1, "where(x > 0, x, 0) + 1",
     r"1 + \begin{cases} x & \text{if } x > 0 \\ 0 & \text{if } x \le 0 \end{cases}"),
    (tanh(where(x > 0, x, 0)), "tanh(where(x > 0, x, 0))",
     r"\tanh\left(\begin{cases} x & \text{if } x > 0 \\ 0 & \text{if } x \le 0 \end{cases}\right)"),
    (x - (x - alpha) - (-x), "x - (x - alpha) - -x", r"\alpha + x"),
    (erf(x) / sqrt(pi) * sqrt(pi), "erf(x)/sqrt(pi)*sqrt(pi)", r"\operatorname{erf}(x)"),
    ((-x) ** 2, "(-x)**2", "x^{2}"),
    (x * number(Fraction(1, 3)), "x*1/3", r"\frac{x}{3}"),
    (number(0.3) * x + 1e-5, "0.3*x + 1e-05", "0.3 x + 10^{-5}"),
    (2 * (x * 3), "2*x*3", "6 x"),
    (where(x >= beta, 1, where(x < beta, 0, lang.detach(x))), "where(x >= beta, 1, where(x < beta, 0, detach(x)))",
     r"\begin{cases} 1 & \text{if } x \ge \beta \\ 0 & \text{if } x < \beta \end{cases}"),
    (log1p(x * x), "log1p(x**2)", r"\ln(1 + x^{2})"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "line", "tex"), FORMULAS, ids=lambda v: v if isinstance(v, str) else "")
def test_as_a_paper_prints_it(node: Node, line: str, tex: str) -> None:
    assert repr(node) == to_text(node) == line
    assert to_latex(node) == tex
    assert node._repr_latex_() == f"${tex}$"


@pytest.mark.parametrize("node", [node for node, _, _ in FORMULAS], ids=to_text)
def test_text_is_python(node: Node) -> None:
    assert eval(to_text(node, exact=True), SCOPE) is node
    values = {"x": 0.7, "alpha": 1.3, "beta": 0.4, "lambd": 0.5, "p1": 1.1, "p2": 0.2}
    read = as_node(eval(to_text(node), SCOPE))
    for at in (-1.9, -0.6, 0.3, 0.9, 2.2):
        assert math.isclose(
            evaluate(read, values | {"x": at}), evaluate(node, values | {"x": at}), rel_tol=1e-15
        )


def _one_of_each() -> list[Node]:
    condition = x > 0
    nodes = []
    for op, rule in OPS.items():
        if op not in ("number", "constant", "symbol"):
            nodes.append(
                lang.nodes.make(op, tuple(condition if kind == "B" else x for kind in rule.operands))
            )
    return [*nodes, number(2), number(-0.0), number(math.inf), number(-math.inf), number(math.nan), pi, alpha]


@pytest.mark.parametrize("node", _one_of_each(), ids=lambda n: f"{n.op}-{n.payload}")
def test_every_operation(node: Node) -> None:
    read = eval(to_text(node, exact=True), SCOPE)
    assert (read if isinstance(read, Node) else number(read)) is node
    assert to_latex(node).count("{") == to_latex(node).count("}")


def test_the_tables_cover_the_language() -> None:
    assert text.SPELLING.keys() == OPS.keys() == latex.SPELLING.keys()


@pytest.mark.parametrize(
    ("name", "tex"),
    [("x", "x"), ("alpha", r"\alpha"), ("lambd", r"\lambda"), ("p1", "p_{1}"), ("t_l", "t_{l}"),
     ("negative_slope", r"\mathrm{negative\_slope}"), ("alpha_p", r"\alpha_{p}"), ("min_val", r"\mathrm{min\_val}"),
     ("beta_max", r"\beta_{\mathrm{max}}")],
)  # fmt: skip
def test_names(name: str, tex: str) -> None:
    assert name_to_latex(name) == tex


def test_names_can_be_given() -> None:
    slope = symbol("negative_slope")
    assert to_latex(slope * x, {"negative_slope": "a"}) == "a x"


def test_no_expression_takes_long() -> None:
    third = derivative(x * tanh(softplus(x)), "x", 3)
    assert len(to_latex(third)) + len(to_text(third)) < 10_000

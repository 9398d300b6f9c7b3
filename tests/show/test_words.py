"""Facts in words, formulas in Unicode, the pages for terminal and notebook, the list."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from softknee import catalogue
from softknee.analysis import facts
from softknee.analysis.summary import summaries
from softknee.catalogue import get
from softknee.lang.differentiate import derivative
from softknee.lang.latex import to_latex
from softknee.show.facts import html, render
from softknee.show.formula import one_line, set_lines
from softknee.show.listing import Filter, select
from softknee.show.listing import render as table
from softknee.show.words import cautions, normal_rows, number, shape_rows, signature, typeset


def printed(what: RenderableType, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), no_color=True)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gelu", "x Φ((x − μ) / σ)"),
        ("elu", "x if x > 0, α (eˣ − 1) if x ≤ 0"),
        ("softsign", "x / (1 + |x|)"),
        ("gaussian", "e^(−x²)"),
        ("snake", "x + sin(α x)² / α"),
        ("gelu_tanh", "½ x (1 + tanh(√(2 / π) (x + 0.044715 x³)))"),
        ("elish", "σ(x) {x if x > 0, eˣ − 1 if x ≤ 0}"),
        ("acon_c", "x (p₁ − p₂) σ(β x (p₁ − p₂)) + p₂ x"),
        ("isru", "x / √(1 + α x²)"),
    ],
)
def test_formulas(name: str, line: str) -> None:
    assert one_line(to_latex(get(name).chosen({}))) == line


def test_no_latex_is_left_over() -> None:
    for definition in catalogue.all_definitions():
        for expression in definition.expression.values():  # type: ignore[union-attr]
            for root in (expression, derivative(expression, "x")):
                tex = to_latex(root)
                for text in (one_line(tex), "".join(set_lines(tex, "f(x)"))):
                    assert not set(text) & set("\\&"), (definition.name, text)


def test_cases_below_each_other() -> None:
    assert set_lines(to_latex(get("hardswish").chosen({})), "f(x)") == [
        "       ⎧ 0             if x ≤ −3",
        "f(x) = ⎨ x             if x ≥ 3",
        "       ⎩ ⅙ x (x + 3)   otherwise",
    ]
    assert set_lines(to_latex(get("elu").chosen({})), "f(x)")[1] == "f(x) = ⎨"


def test_numbers() -> None:
    assert [number(v) for v in (1.23456789, -0.5, 1e-15, float("-inf"), 3e-7, float("nan"))] == [
        "1.2346", "−0.5", "0", "−∞", "3·10⁻⁷", "undefined",
    ]  # fmt: skip


def test_signs_of_print() -> None:
    assert typeset("sigma -> 0, x >= -1 and alpha <= 0.5, +-2") == "sigma → 0, x ≥ −1 and alpha ≤ 0.5, ±2"
    assert typeset("R² x 100, 4e-06, 1 - x, Phi(-b)") == "R² × 100, 4e−6, 1 − x, Phi(−b)"
    assert (
        typeset("gains -0.37 [-0.09, +1.08], p = 0.37 points")
        == "gains −0.37 [−0.09, +1.08] (p = 0.37) points"
    )
    assert typeset("grows 1e+09 times, 57% of 0.0e+00") == "grows 1e9 times, 57\N{NO-BREAK SPACE}% of 0"
    for as_it_is in ("MNIST-5k, 128-64, SHA-256, leaky-relu", "`x >= -1`", "[-0.1, 0.2], p = 0.3."[1:]):
        assert typeset(as_it_is) == as_it_is.replace("-0.1", "−0.1")


def test_rows() -> None:
    assert dict(shape_rows(facts(get("identity"))))["steepest slope"] == "1 everywhere (Lipschitz constant)"
    found = dict(shape_rows(facts(get("elu"), alpha=1.5)))
    assert found["range"] == "(−1.5, ∞)"
    assert found["x → −∞"] == "→ −1.5 from above; soft saturation"
    assert found["x → ∞"] == "→ ∞ along y = x"
    assert found["kink at 0"] == "slope 1.5 | 1, used 1.5"
    assert found["identity"] == "f′ = f + 1.5 for x < 0"
    step = dict(shape_rows(facts(get("binary_step"))))
    assert step["x → ∞"] == "1 throughout; hard saturation"
    assert step["jump at 0"] == "f = 0 | 1, there 1; slope 0 | 0, used 0"
    assert dict(shape_rows(facts(get("sine"))))["x → ∞"] == "no limit: it oscillates"
    assert dict(shape_rows(facts(get("asinh"))))["x → ∞"] == "→ ∞ slower than any line"
    assert dict(shape_rows(facts(get("cube"))))["x → −∞"] == "→ −∞ faster than any line"
    assert dict(shape_rows(facts(get("hardtanh"))))["fixed points"] == "from −1 to 1"
    assert dict(shape_rows(facts(get("silu"))))["monotone"] == "no: falls to −1.2785, then rises"
    assert dict(normal_rows(facts(get("relu"))))["exactly 0"] == "50 % of the outputs, 50 % of the slopes"


def test_every_page_can_be_shown() -> None:
    for definition in catalogue.all_definitions()[::4]:
        known = facts(definition, **{p.name: 1.0 for p in definition.parameters if p.default is None})
        for width in (60, 120):
            text = printed(render(definition, known), width)
            assert max(map(len, text.splitlines())) <= width
            assert definition.name in text
        assert "N(0, 1)" in html(known)


def test_a_page() -> None:
    text = printed(render(get("softplus"), facts(get("softplus"), beta=2.0)))
    assert "softplus(beta=2)" in text
    assert "f(x) = softplus(β x) / β" in text  # no threshold that is never reached
    assert "torch.nn.functional.softplus" in text
    assert "Incorporating" in text


def test_html_is_a_fragment_that_needs_nothing() -> None:
    page = facts(get("mish"))._repr_html_()
    assert page.startswith("<div")
    assert "<script" not in page
    assert r"$$f(x) = x \tanh(\operatorname{softplus}(x))$$" in page


def test_signature() -> None:
    assert signature(get("gelu"), facts(get("gelu"), approximate="tanh")) == "gelu(approximate=tanh)"
    assert (
        signature(get("threshold"), facts(get("threshold"), threshold=1, value=0))
        == "threshold(threshold=1, value=0)"
    )


# The list


def names(**asked: object) -> set[str]:
    every = catalogue.all_definitions()
    return {d.name for d in select(every, Filter(**asked), summaries(every))}  # type: ignore[arg-type]


def test_filters() -> None:
    assert {"gelu", "silu", "mish"} <= names(family="gated", smooth=True)
    assert "hardswish" not in names(family="gated", smooth=True)
    assert {"sigmoid", "tanh"} <= names(monotone=True, bounded=True)
    assert "relu" in names(torch=True, learnable=False)
    assert {"prelu", "swish"} <= names(learnable=True)
    assert names(words=("Hendrycks", "gelu")) >= {"gelu"}
    assert names(words=("no such thing",)) == set()
    with pytest.raises(ValueError, match="no family is called 'curly'; there are: piecewise linear"):
        names(family="curly")


def test_the_list_shows_everything() -> None:
    every = catalogue.all_definitions()
    text = printed(table(every, summaries(every)), 160)
    assert all(d.name in text for d in every)
    assert all(family in text for family in catalogue.FAMILIES)


def test_families_of_the_list_share_their_columns() -> None:
    """What a family is has the width of the line, and the columns stand below each other."""
    chosen = [get(n) for n in ("relu", "softplus", "gelu", "binary_step")]
    lines = printed(table(chosen, summaries(chosen)), 100).splitlines()
    assert "piecewise linear  Piecewise linear functions: cheap, exact in low precision, with kinks." in map(
        str.rstrip, lines
    )
    (head,) = (line for line in lines if line.startswith("name"))
    years = [line.index(year) for line in lines for year in ("2010", "2000", "2016", "1943") if year in line]
    assert years == 4 * [head.index("since")]


def test_summaries_are_kept_and_survive_a_damaged_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTKNEE_CACHE", str(tmp_path))
    three = [get(n) for n in ("relu", "gelu", "threshold")]
    told: list[tuple[int, int]] = []
    first = summaries(three, lambda *how_far: told.append(how_far))
    assert told == [(0, 3), (1, 3), (2, 3)]
    assert summaries(three, lambda *_: pytest.fail("computed again")) == first
    assert (first["gelu"].direction, first["relu"].smoothness, first["gelu"].smooth) == (None, "C0", True)
    for damaged in ("{", "[]", '{"a": {"low": 1}}', '{"a": 3}'):
        (tmp_path / "summaries.json").write_text(damaged)
        assert summaries(three) == first
    monkeypatch.setenv("SOFTKNEE_CACHE", str(tmp_path / "summaries.json"))  # a file, no folder
    assert summaries(three) == first
    monkeypatch.setenv("SOFTKNEE_CACHE", "off")
    assert summaries(three) == first


def test_cautions_follow_from_the_facts() -> None:
    def said(name: str) -> str:
        return " ".join(cautions(facts(get(name))))

    assert said("binary_step").startswith("Where a gradient must pass")
    assert "at most 0.25" in said("sigmoid")
    assert "must not die" in said("relu")
    assert "0.399" in said("relu")
    assert "has kinks" in said("relu")
    assert "has kinks" not in said("gelu")
    assert "no true zeros" in said("gelu")
    assert "faster than any line" in said("relu2")
    assert "vanish" not in said("elu")

"""The explorer in a real browser: its numbers are Python's, and it can be used by keyboard, screen reader and phone."""

from __future__ import annotations

import math
import random
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from typer.testing import CliRunner

import softknee as sk
from softknee import catalogue
from softknee.analysis import facts, function_of
from softknee.analysis.gaussian import gaussian
from softknee.catalogue.translations import translations
from softknee.claims import records
from softknee.cli import app
from softknee.explorer.data import gates, record
from softknee.lang.evaluate import evaluate
from softknee.show.words import typeset

Visit = Callable[..., Any]


def _settings(
    definition: catalogue.Definition, choices: dict[str, Any], draw: random.Random
) -> list[dict[str, float]]:
    """The defaults, and other values of the parameters that the constraints allow."""
    conditions = definition.conditions(choices)
    sliders = record(definition)["parameters"]
    default = {p["name"]: math.inf if p["default"] == "inf" else p["default"] for p in sliders}
    found = [default]
    for _ in range(50):
        one = {p["name"]: draw.uniform(p["low"], p["high"]) for p in sliders}
        if len(found) < 3 and one and all(evaluate(c, one, "float") for c in conditions):
            found.append(one)
    return found


VALUES = """cases => cases.map(([name, k, values, points]) => {
    const rows = points.map(x => softknee.functions[name].v[k](x, ...values.map(Number)));
    const bends = points.map(x => softknee.functions[name].w[k](x, ...values.map(Number))[0]);
    return [...[0, 1].map(order => rows.map(row => row[order])), bends].map(row => row.map(String));
})"""


def _values(look: Visit, cases: list[Any]) -> list[Any]:
    """What the page computes: for each case the values, the derivatives and the second derivatives."""
    ready = [
        (name, k, [repr(float(v)).replace("inf", "Infinity") for v in values.values()], points)
        for name, k, values, points in cases
    ]
    found = look().evaluate(VALUES, ready)
    return [[[float(v.replace("Infinity", "inf")) for v in row] for row in rows] for rows in found]


def test_values_and_derivatives_of_the_whole_catalogue(look: Visit) -> None:
    """At random points, for the defaults and random parameters, against the definitions in mpmath."""
    draw = random.Random(8)
    cases, functions = [], []
    for d in catalogue.all_definitions():
        for k, key in enumerate(d.expression):
            choices = dict(zip(d.choices, key, strict=True))
            for values in _settings(d, choices, draw):
                points = [
                    0.0,
                    *(draw.gauss(0, 3) for _ in range(8)),
                    *(draw.uniform(-60, 60) for _ in range(3)),
                ]
                cases.append((d.name, k, values, points))
                functions.append(function_of(d, choices, **values))
    worst = 0.0
    for case, function, got in zip(cases, functions, _values(look, cases), strict=True):
        for order, row in enumerate(got):
            points = case[3] if order < 2 else case[3][1:4]  # at a kink there is no second derivative
            for x, ours in zip(points, row if order < 2 else row[1:4], strict=True):
                want = float(function.exact(x, order, 20))
                # a slope is relative to 1/1000 near its roots; subnormals have fewer digits
                allowed = 1e-12 * max(abs(want), 1e-3 if order else 1e-290)
                assert ours == want or abs(ours - want) <= allowed, (case, order, x, want, ours)
                worst = max(worst, abs(ours - want) / allowed if math.isfinite(want) else 0)
    assert len(cases) > 150
    assert worst > 0  # else nothing was compared


def test_values_are_those_the_library_returns(look: Visit) -> None:
    points = np.linspace(-9, 9, 37)
    cases = [(n, 0, {}, points.tolist()) for n in sk.names()[::12] if not sk.get(n).parameters]
    for (name, *_), (values, slopes, _) in zip(cases, _values(look, cases), strict=True):
        np.testing.assert_allclose(values, sk.get(name)(points), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(slopes, sk.get(name).derivative(points), rtol=1e-12, atol=1e-15)


def test_facts_found_in_the_page(look: Visit) -> None:
    """Its sampling finds what analysis computes."""
    names = [n for n in sk.names()[::3] if all(p.default is not None for p in sk.get(n).parameters)]
    given = {n: [float(p.default) for p in sk.get(n).parameters] for n in names}  # type: ignore[arg-type]
    found = look().evaluate(
        """given => Object.fromEntries(Object.entries(given).map(([name, values]) => {
            const k = softknee.factsOf(x => softknee.functions[name].v[0](x, ...values.map(v => v ?? Infinity)));
            return [name, {...k, low: k.low.value, high: k.high.value, kinks: k.kinks.map(e => e.place)}];
        }))""",
        {n: [v if math.isfinite(v) else None for v in values] for n, values in given.items()},
    )
    for name, got in found.items():
        known = facts(catalogue.get(name))
        close = {"mean": known.mean, "second": known.second_moment, "chi": known.chi, "low": known.range.low}
        close |= {"high": known.range.high, "correlation": known.correlation}
        for key, want in close.items():
            assert got[key] == pytest.approx(float(want), rel=2e-4, abs=2e-6), (name, key)
        assert (got["rises"] or got["falls"]) == known.monotone, name
        assert (got["odd"], got["even"]) == (known.odd, known.even), name
        near = [k.place for k in known.kinks if abs(k.place) < 12]
        assert sorted(got["kinks"]) == pytest.approx(near, abs=1e-6), name


def test_depth_by_theory_and_by_a_network(look: Visit) -> None:
    """The map of second moments is that of analysis; a wide network is near the theory."""
    tab = look("#f=tanh")
    line = "{depth: 6, gain: 1.3, bias: 0.2}"
    theory = tab.evaluate(f"softknee.meanField(x => softknee.functions.tanh.v[0](x), {line})")
    q = 1.3**2 + 0.2**2
    for layer in theory:
        moments = gaussian(catalogue.get("tanh"), q=q)
        assert layer["q"] == pytest.approx(q, rel=1e-9)
        assert layer["mean"] == pytest.approx(0, abs=1e-9)
        assert layer["factor"] == pytest.approx(1.3**2 * moments.slope_second_moment, rel=1e-6)
        q = 1.3**2 * moments.second_moment + 0.2**2
    measured = tab.evaluate(
        "softknee.simulate(x => softknee.functions.tanh.v[0](x), "
        "{width: 256, depth: 6, gain: 1.3, bias: 0.2, seed: 3, layer: 5}).layers"
    )
    for ours, theirs in zip(measured, theory, strict=True):
        assert ours["q"] == pytest.approx(theirs["q"], rel=0.15)
        assert ours["gradient"] == pytest.approx(theirs["gradient"], rel=0.4)


FORMULAS = {
    "x*sigmoid(beta*x)": {"beta": 1.5},
    "where(x > 0, x, alpha*(exp(x) - 1))": {"alpha": 0.7},
    "max(0, x) - 0.25*max(0, -x)": {},
    "-x^2/2 + 2*x**-3": {},
    "x * Phi(x) + log1p(exp(-abs(x))) / sqrt(1 + x*x)": {},
    "clamp(x, -1, 1) + relu(x)**a": {"a": 1.5},
    "where((x < -1) | (x >= 2), sin(x), erf(x) * pi)": {},
    "−x²/2 + α·x × ε − π÷3³": {"alpha": 0.7, "epsilon": 2},  # as papers print it
}


def test_own_formulas_and_the_python_they_become(look: Visit) -> None:
    """Values and derivatives in the page are those of what its Python line defines."""
    tab = look()
    x = np.array([-3.3, -1.2, -0.4, 0.3, 0.9, 2.6])
    for text, values in FORMULAS.items():
        curve = {"text": text, "values": values}
        got = tab.evaluate(
            """([curve, points]) => {
                const made = softknee.ownFunction(curve);
                return [softknee.definition(made), points.map(x => made.f(x).map(String)), softknee.toMathML(made.slope)];
            }""",
            [curve, x.tolist()],
        )
        scope: dict[str, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kinks that are not declared
            exec(got[0], scope)
        mine = scope["mine"]
        ours = np.array(got[1], dtype=float)
        np.testing.assert_allclose(ours[:, 0], mine(x), rtol=1e-12, atol=1e-14, err_msg=text)
        np.testing.assert_allclose(ours[:, 1], mine.derivative(x), rtol=1e-11, atol=1e-13, err_msg=text)
        assert got[2]


WRONG = {
    "": "write a formula in x",
    "2 + 3": "does not depend on x",
    "x +": "ends too early",
    "exp x": "exp is a function",
    "foo(x)": "no function is called foo",
    "max(x)": "takes 2 arguments, got 1",
    "where(x, 1, 2)": "needs a condition",
    "x > 0": "this is a condition",
    "x < 1 < 2": "two things at a time",
    "constructor(x)": "no function is called constructor",
    "x['a']": "not part of the language",
    "(" * 300 + "x": "is missing at the end",
    "x" * 500: "at most 400",
    "a+b+c+d+e+f+x": "at most five",
    "2x": "missing before “x”",
    "x(2)": "no function is called x",
    "x + 1/0": "1/0 is not a finite number",
    "x**9**9**9**9": "is not a finite number",  # Python would compute it for ever
    "1e999*x": "too large",
    "x*nan": "has no nan",
    "x*name": "can be called name",  # an argument of define
    "x*self": "can be called self",
    "x*if": "can be called if",
    "T*x": "can be called T",
}


def test_what_is_wrong_with_a_formula_is_said(look: Visit) -> None:
    caught = look().evaluate(
        """texts => texts.map(text => {
            try { softknee.parse(text); return ''; } catch (e) { return e.message; }
        })""",
        list(WRONG),
    )
    for text, said, expected in zip(WRONG, caught, WRONG.values(), strict=True):
        assert expected in said, text


def test_typing_a_formula(visit: Visit) -> None:
    """While it is wrong nothing else is told of it; written by hand into the address it is understood, too."""
    tab = visit("#f=!x*tanh(a*x);!x*tanh(a*x)(a=2)&at=1")
    got = [float(v) for v in tab.locator("#readout tbody td:nth-child(2)").all_inner_texts()]
    assert got == pytest.approx([math.tanh(1), math.tanh(2)], rel=1e-6)
    field, python = tab.get_by_label("Your own formula"), tab.locator("pre", has_text="sk.define")
    field.fill("x*(")
    expect(tab.get_by_role("alert").first).to_contain_text("ends too early")
    expect(python).to_be_hidden()
    field.fill("−x²")
    expect(python).to_contain_text("lambda x: -x**2")
    expect(tab).to_have_url(re.compile("x%C2%B2"))
    tab.reload()
    expect(field).to_have_value("−x²")


def test_no_two_curves_share_a_label(look: Visit) -> None:
    long = f"x*sigmoid(beta*x)%2B{'x*' * 20}x"
    tab = look(
        f"#f=!x*tanh(a*x);!x*tanh(a*x)(a=2);!a*x(a=1.00001);!a*x(a=1.00002);!{long};!{long}*2;gelu;gelu"
    )
    labels = tab.locator("#chips .name").all_inner_texts()
    assert labels[:4] == ["x*tanh(a*x)", "x*tanh(a*x) (a=2)", "a*x (a=1)", "a*x (a=1) #2"]
    assert labels[-2:] == ["gelu", "gelu #2"]
    assert len(set(labels)) == len(labels) == 8


def test_on_paper(visit: Visit) -> None:
    tab = visit("#f=gelu", dark=True)
    tab.emulate_media(media="print", color_scheme="dark")
    expect(tab.get_by_role("searchbox")).to_be_hidden()
    assert tab.locator("#picture-0 svg").is_visible()
    for event, theme in (("beforeprint", "light"), ("afterprint", "dark")):
        tab.evaluate("name => dispatchEvent(new Event(name))", event)
        assert tab.evaluate("document.documentElement.dataset.theme") == theme


def test_back_and_forward(visit: Visit) -> None:
    """Each address that was opened shows its own view again."""
    tab = visit("#f=relu")
    tab.evaluate("location.hash = '#f=gelu'")
    shown = tab.locator("#chips .name")
    expect(shown).to_have_text(["gelu"])
    tab.go_back()
    expect(shown).to_have_text(["relu"])
    tab.go_forward()
    expect(shown).to_have_text(["gelu"])


def test_a_formula_is_never_run_as_code(visit: Visit, page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert not re.search(
        r"\beval\s*\(|new Function|setTimeout\(\s*[\"'`]|<script src|<link rel=\"?stylesheet|@import|fetch\(",
        text,
    )
    tab = visit("#f=!globalThis.hacked%3d1;!x%2balert%281%29")
    assert tab.evaluate("globalThis.hacked") is None
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'")  # so the browser itself refuses eval and every address
    assert "unsafe-eval" not in policy


def test_one_page_below_a_megabyte_and_a_half(page_file: Path) -> None:
    assert page_file.stat().st_size < 1_500_000


def test_choosing_searching_reading_off_and_sharing(visit: Visit) -> None:
    tab = visit()
    tab.get_by_role("searchbox").fill("self normalizing klambauer")
    assert tab.locator("#count").inner_text().startswith("1 / ")
    tab.get_by_label("selu", exact=True).check()
    tab.get_by_role("searchbox").fill("")
    tab.get_by_role("button", name="exact zeros").click()
    shown = {r["name"] for r in map(record, catalogue.all_definitions()) if "exact zeros" in r["traits"]}
    assert set(tab.locator("#list label:visible").all_inner_texts()) == shown
    assert tab.locator("h2").first.inner_text() == "selu"
    box = tab.locator("#picture-0 svg").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    place = float(tab.locator("#pictures").get_attribute("aria-valuenow"))
    row = tab.locator("#readout tbody tr", has_text="selu").locator("td")
    assert float(row.first.inner_text().replace("−", "-")) == pytest.approx(sk.get("selu")(place), rel=1e-5)
    expect(tab).to_have_url(re.compile(r"f=.*selu.*at="))  # written a moment later
    again = visit(tab.evaluate("location.hash"))
    assert again.locator("#chips .name").all_inner_texts() == tab.locator("#chips .name").all_inner_texts()
    assert again.locator("#readout").inner_text() == tab.locator("#readout").inner_text()


def test_parameters_and_approximations(look: Visit) -> None:
    tab = look("#f=swish;gelu")
    tab.get_by_label("beta, exactly").fill("2.505")
    told = tab.get_by_role("slider", name="beta").get_attribute("aria-valuetext")
    assert told == "2.505"  # not the place of the handle, which has steps
    tab.get_by_label("beta, exactly").fill("2.5")
    expect(tab.locator("#chips .name").first).to_have_text("swish(beta=2.5)")
    expect(tab.locator("pre").first).to_contain_text("beta=2.5")  # drawn a moment later
    tab.locator("#chips .name").nth(1).click()
    tab.get_by_role("button", name="Compare its forms").click()
    table = tab.locator("#details table.readout tbody tr")
    assert table.count() == len(catalogue.get("gelu").expression) - 1
    x = np.linspace(-4, 4, 4001)
    far = np.abs(sk.get("gelu")(x, approximate="tanh") - sk.get("gelu")(x)).max()
    assert float(
        table.filter(has_text="approximate=tanh").locator("td").first.inner_text().split(",")[0]
    ) == pytest.approx(far, rel=1e-3)
    tab.get_by_label("sigma, exactly").fill("-1")
    tab.get_by_text("gelu needs sigma > 0").wait_for()


#: pulls every slider to its ends, and tells the values of all after each pull
PULLED = """() => {
    const ends = [...document.querySelectorAll("#details .slider")].map(e => [...e.querySelectorAll("input")]);
    const pulls = ["max", "min"].flatMap(end => ends.map(([place]) => [place, place[end]]));
    return [...pulls, ...pulls.reverse()].map(([place, to]) => {
        place.value = to;
        place.dispatchEvent(new Event("input"));
        return ends.map(([, exact]) => exact.value);
    });
}"""


def test_no_slider_makes_an_invalid_function(look: Visit) -> None:
    """Nor with others at their ends, nor where a condition belongs to a choice."""
    views = [
        (d, key)
        for d in catalogue.all_definitions()
        for key in (d.default_choice, *d.constraints_of)
        if d.conditions(dict(zip(d.choices, key, strict=True)))
    ]
    assert len(views) > 10
    for d, key in views:
        choices = dict(zip(d.choices, key, strict=True))
        tab = look(f"#f={d.name}({','.join(f'{n}={v}' for n, v in choices.items())})")
        for pulled in tab.evaluate(PULLED):
            values = dict(
                zip((p.name for p in d.parameters), (float(v or "inf") for v in pulled), strict=True)
            )
            assert all(evaluate(c, values, "float") for c in d.conditions(choices)), (d.name, choices, values)
        assert tab.locator("#details .error").first.inner_text() == ""


def test_by_keyboard(visit: Visit) -> None:
    tab = visit("#f=relu")  # a page of its own: nothing has the focus yet
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    slider = tab.get_by_role("slider", name="Place on the x axis")
    slider.focus()
    tab.keyboard.press("Home")
    assert tab.get_by_role("table", name="Facts").count() == 1
    assert slider.get_attribute("aria-valuetext").startswith("x = −4: relu 0, slope 0")
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowLeft")
    assert float(slider.get_attribute("aria-valuenow")) == pytest.approx(3.92)
    tab.get_by_role("tab", name="Functions").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.get_by_role("tabpanel").get_attribute("id") == "depth"
    expect(tab.locator(".verdict")).to_contain_text("relu, gain 1.414")


NAMELESS = """[...document.querySelectorAll('button, input, select, [role=slider]')].filter(e =>
    !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).map(e => e.outerHTML)"""
FAINT = """() => {
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const paper = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)|rgba/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
    return [...document.querySelectorAll('main p, main td, main th, main label, main h2, main h3, main pre, main legend, footer p')].filter(e => e.offsetParent && e.textContent.trim()).filter(e => {
        const [a, b] = [light(getComputedStyle(e).color), light(paper(e))].sort((p, q) => q - p);
        return (a + 0.05) / (b + 0.05) < 4.5;
    }).map(e => e.outerHTML.slice(0, 120));
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_width_and_colour(look: Visit, width: int, dark: bool) -> None:
    """Nothing is cut off, everything has a name, text stands out from its background."""
    for fragment in (
        "#f=gelu;swish(beta=2);!x*tanh(a*x)&show=2",
        "#f=relu;softplus&show=1",
        "#f=selu&tab=depth",
    ):
        tab = look(fragment, width=width, dark=dark)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(NAMELESS) == []
        assert tab.evaluate(FAINT) == []
        assert tab.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")


def test_a_phone_shows_whole_tables_and_code(visit: Visit) -> None:
    """Long names and four columns have room, and no button lies on the code that it copies."""
    for fragment in (
        "#f=swiglu",
        "#f=gelu;gelu(approximate=tanh)&view=difference",
        "#f=leaky_relu(negative_slope=0.1);gelu&at=-3",
    ):
        tab = visit(fragment + "&lang=ru", width=390)
        tab.locator("#readout td").first.wait_for()
        for table in tab.locator(".scroll").all():
            assert table.evaluate("e => e.scrollWidth <= e.clientWidth"), fragment
        under = "b => { const r = document.createRange(); r.selectNodeContents(b.previousSibling); return r.getBoundingClientRect().top - b.getBoundingClientRect().bottom; }"
        assert all(b.evaluate(under) >= 0 for b in tab.locator(".code button").all())


def test_a_small_difference_has_a_scale(look: Visit) -> None:
    """Three ticks at least, none of them cut off."""
    tab = look("#f=gelu;gelu(approximate=tanh)&view=difference", width=390)
    for picture in ("#picture-0", "#picture-1"):
        ticks = tab.locator(f"{picture} .grid text[text-anchor=end]")
        assert ticks.count() >= 3
        assert all(t.evaluate("e => e.getBBox().x") >= 0 for t in ticks.all())


def test_the_verdict_of_depth_is_that_of_its_picture(look: Visit) -> None:
    """A factor of 4 is not called constant, and the gain is the one in the field."""
    tab = look("#f=selu;tanh&tab=depth")
    assert "gradient grows by the factor 4 " in tab.locator(".verdict").inner_text()
    tab.locator("#lab-function").select_option("tanh")
    gain = tab.get_by_label("gain, exactly").input_value()
    assert f"gain {gain}:" in tab.locator(".verdict").inner_text()


def test_what_is_called_so_is_found_first(visit: Visit) -> None:
    tab = visit()
    everything = tab.locator("#list label").all_inner_texts()
    tab.get_by_role("searchbox").fill("swish")
    assert tab.locator("#list label:visible").first.inner_text() in {
        "swish",
        "silu",
    }  # which is called swish, too
    tab.get_by_role("searchbox").fill("relu")
    assert tab.locator("#list label:visible").first.inner_text() == "relu"
    tab.get_by_role("searchbox").fill("")
    assert tab.locator("#list label").all_inner_texts() == everything


def test_any_address_opens(look: Visit) -> None:
    for fragment in (
        "#", "#f=", "#f=nothing;relu(negative_slope=;!%", "#f=constructor;__proto__", "#x=5,1&at=no&show=99&depth=,,,,",
        "#f=softplus(threshold=inf,beta=-1)&x=-1e99,1e99", "#tab=depth&f=&depth=9,99,9999,9,9,9,99",
    ):  # fmt: skip
        tab = look(fragment)
        assert tab.locator("#chips, .laboratory").first.count() == 1


def test_second_derivatives_gates_and_claims(look: Visit) -> None:
    tab = look("#f=swiglu(up=2)&view=second&at=1")
    row = tab.locator("#readout tbody td").all_inner_texts()
    silu = sk.get("silu")
    want = [
        2 * silu(1.0),
        2 * silu.derivative(1.0),
        2 * silu.derivative(1.0, order=2),
        silu(1.0),
    ]  # last: by up
    assert [float(v.replace("−", "-")) for v in row] == pytest.approx(want, rel=1e-5)
    assert tab.get_by_text("f″(x)").count() == 2  # over the picture and over the column
    assert tab.locator("#readout thead th").last.inner_text() == "∂/∂up"
    assert "F.swiglu(gate, up" in tab.locator("pre").first.inner_text()
    assert tab.locator("#details .formula math").count() == 3  # of f and of both derivatives
    tab = look("#f=gelu")
    about = {typeset(r.claim) for r in records().values() if "gelu" in r.about}
    assert set(tab.locator(".claims span").all_inner_texts()) == about


def test_the_code_of_a_gate_computes_it() -> None:
    first, second = torch.randn(5), torch.randn(5)
    for one, definition in gates():
        values = {p.name: p.default for p in definition.parameters} | dict(
            zip(one["inputs"], (first, second), strict=True)
        )
        got = eval(one["variants"][0]["code"], {"torch": torch, "math": math, **values})
        given = eval(f"[{one['call']}]", {"torch": torch, **values})
        wanted = getattr(sk.functional, one["name"])(*given)
        torch.testing.assert_close(got, wanted)


def test_the_command(tmp_path: Path, page_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "page.html"
    written = sys.modules["softknee.explorer.page"]  # in the package this name is its function
    monkeypatch.setattr(written, "page", lambda *_, **__: page_file.read_text(encoding="utf-8"))
    done = CliRunner().invoke(app, ["explore", "elu(alpha=0.5)", "--no-open", "--out", str(out)])
    assert done.stdout.strip() == f"{out.as_uri()}#f=elu(alpha=0.5)"
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    for words, said in (
        (["elu(alpha=0,"], "elu"),
        (["softplus(beta=-1)"], "needs"),
        (["-o", "/nowhere/x.html"], "no folder"),
    ):
        failed = CliRunner().invoke(app, ["explore", "--no-open", *words])
        assert failed.exit_code == 2
        assert said in failed.output


def test_in_other_languages(visit: Visit) -> None:
    """What is translated is, what is not stays English, and the address says which."""
    tab = visit("#f=relu;elu(alpha=2)&lang=ru")
    assert tab.locator("html").get_attribute("lang") == "ru"
    assert tab.get_by_role("tab", name="Функции").count() == 1
    words = translations("ru")
    assert tab.get_by_text(words["use"]["relu"]).count() == 1
    assert tab.get_by_text(words["names"]["relu"]).count() == 1
    facts_told = tab.locator("#details .facts").first.inner_text()
    assert words["phrases"]["hard saturation"] in facts_told
    assert "saturation" not in facts_told
    tab.locator("#chips .name").nth(1).click()
    assert tab.get_by_text(words["parameters"][catalogue.get("elu").parameters[0].doc]).count() == 1
    assert tab.get_by_text(words["notes"]["elu"]).count() == 1
    assert tab.locator("#pictures").get_attribute("aria-label") == words["labels"]["Place on the x axis"]
    tab.get_by_label(words["labels"]["Language"]).select_option("ko")
    tab.get_by_role("tab", name="함수").wait_for()
    assert visit("#f=relu&lang=xx").locator("html").get_attribute("lang") == "en"


def test_what_is_not_translated(visit: Visit, page_file: Path) -> None:
    """Labels and uses that a language lacks are English there; the others are not."""
    words, page = translations("ru"), page_file.read_text(encoding="utf-8")
    for key, told in (("Functions", words["labels"]["Functions"]), ("relu", words["use"]["relu"])):
        entry = f'"{key}":"{told}"'
        assert entry in page
        page = page.replace(f"{entry},", "").replace(entry, "")
    tab = visit("#f=relu&lang=ru")
    tab.set_content(page)
    expect(tab.get_by_role("tab", name="Functions")).to_be_visible()
    expect(tab.get_by_role("tab", name=words["labels"]["Depth"])).to_be_visible()
    expect(tab.get_by_text(sk.get("relu").definition.use)).to_be_visible()
    expect(tab.get_by_text(words["names"]["relu"])).to_be_visible()


def test_embedded_in_another_page(visit: Visit) -> None:
    tab = visit("#f=swish(beta=2)&embed=1", width=760)
    assert tab.get_by_label("beta, exactly").is_visible()
    assert not tab.locator("header").is_visible()
    assert not tab.get_by_text("Facts").first.is_visible()

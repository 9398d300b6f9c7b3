"""The catalogue: names that resolve, data that is complete, definitions that check themselves."""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from softknee import catalogue
from softknee.catalogue import Definition, DefinitionError, Noise, Parameter, Reference, x
from softknee.catalogue.definition import LEFT, MEAN, RIGHT
from softknee.lang import Node, exp, sigmoid, sin, symbol, symbols_in
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import evaluate

DEFINITIONS = catalogue.all_definitions()
EVERY = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
TORCH = pytest.mark.parametrize("definition", [d for d in DEFINITIONS if d.torch], ids=lambda d: d.name)

# What users find here, whatever else is added.
PROMISED = """
    identity binary_step heaviside threshold sigmoid logistic tanh relu relu6 abs absolute_rectification
    leaky_relu prelu rrelu shifted_relu srelu s_shaped_relu elu selu celu gelu silu swish1 swish mish
    acon_a acon_b acon_c meta_acon softplus logsigmoid softsign hardtanh hardsigmoid hardswish
    hardshrink softshrink tanhshrink stochastic_gelu soi_map noisy_relu noisy_relu6 squareplus relu2
    squared_relu quick_gelu lisht tanhexp snake sine gaussian laplace bent_identity elish hard_elish
    isru isrlu serf phish logish smish star_relu xielu
"""
ELSEWHERE = {
    "transformers": """
        gelu gelu_10 gelu_fast gelu_new gelu_python gelu_pytorch_tanh gelu_python_tanh gelu_accurate
        hardswish laplace leaky_relu mish quick_gelu relu relu2 relu6 sigmoid silu sqrtsoftplus swish
        tanh prelu xielu
    """,
    "timm": """
        silu swish mish relu relu6 leaky_relu elu celu selu gelu gelu_tanh quick_gelu sigmoid tanh
        hard_sigmoid hard_swish hard_mish prelu identity
    """,
    "keras": """
        celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
        log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus
        sparse_sigmoid squareplus tanh tanh_shrink threshold
    """,
    "jax": """
        celu elu gelu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid relu identity
        relu6 selu sigmoid soft_sign softplus sparse_plus sparse_sigmoid silu swish squareplus mish tanh
    """,
    "mlx": """
        sigmoid relu relu2 relu6 leaky_relu elu softplus softsign softshrink celu silu log_sigmoid gelu
        gelu_approx gelu_fast_approx step selu prelu mish hardswish hard_tanh hard_shrink tanh
    """,
}


@pytest.fixture
def own() -> Iterator[list[str]]:
    """Names that a test has added, to be taken out again."""
    state = [dict(t) for t in (catalogue._by_name, catalogue._by_key, catalogue._by_module)]
    yield []
    for table, before in zip(
        (catalogue._by_name, catalogue._by_key, catalogue._by_module), state, strict=True
    ):
        table.clear()
        table.update(before)


def value(node: object, definition: Definition) -> float:
    """A place or slope at the default (or example) parameters."""
    if not isinstance(node, Node):
        return float(node)  # type: ignore[arg-type]
    return float(evaluate(node, at_defaults(definition)))


def at_defaults(definition: Definition) -> dict[str, float]:
    given = {p.name: p.example if p.default is None else p.default for p in definition.parameters}
    return {name: float(v) for name, v in given.items() if v is not None}


# Names


@pytest.mark.parametrize("name", PROMISED.split())
def test_the_promised_name_resolves(name: str) -> None:
    found = catalogue.get(name)
    assert name in (found.name, *found.aliases)


@pytest.mark.parametrize("library", ELSEWHERE)
def test_every_name_of_another_library_resolves(library: str) -> None:
    unknown = []
    for name in ELSEWHERE[library].split():
        try:
            catalogue.get(name)
        except KeyError:
            unknown.append(name)
    assert not unknown


def test_there_are_at_least_85() -> None:
    assert len(catalogue.names()) >= 85
    assert catalogue.names() == sorted(catalogue.names())


def test_names_and_aliases_are_unique() -> None:
    words = [word for d in DEFINITIONS for word in {catalogue._key(w) for w in (d.name, *d.aliases)}]
    assert len(words) == len(set(words))
    assert set(catalogue.aliases().values()) <= set(catalogue.names())


@pytest.mark.parametrize("spelled", ["Leaky_ReLU", "leakyrelu", "LEAKY-RELU", "leaky relu", "lrelu"])
def test_case_and_separators_do_not_matter(spelled: str) -> None:
    assert catalogue.get(spelled).name == "leaky_relu"


def test_what_is_not_the_same_is_no_alias() -> None:
    assert catalogue.get("quick_gelu") is not catalogue.get("silu")
    assert catalogue.get("srelu") is not catalogue.get("shifted_relu")
    with pytest.raises(KeyError):  # torch's functional.linear is another thing
        catalogue.get("linear")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(KeyError, match=r"no activation is called 'misch'; did you mean .*'mish'") as caught:
        catalogue.get("misch")
    assert not str(caught.value).startswith('"')
    with pytest.raises(KeyError, match="names\\(\\) lists them all"):
        catalogue.get("zzzzzzzz")
    with pytest.raises(TypeError, match="int"):
        catalogue.get(3)  # type: ignore[arg-type]


# Data


@EVERY
def test_the_data_is_complete(definition: Definition) -> None:
    assert definition.family in catalogue.FAMILIES
    assert definition.reference is not None
    assert definition.use.endswith(".")
    assert "\n" not in definition.use
    assert definition.use.count(". ") == 0, "one sentence"
    assert all(p.doc for p in definition.parameters)
    assert all(p.default is not None or p.example is not None for p in definition.parameters)
    assert all(p.default is not None for p in definition.learnable)


@EVERY
def test_the_reference_can_be_followed(definition: Definition) -> None:
    source = definition.reference
    assert source is not None
    assert 1900 < source.year < 2100
    assert source.title
    assert source.authors
    if source.arxiv:
        year, month = int(source.arxiv[:2]), int(source.arxiv[2:4])
        assert 1 <= month <= 12
        assert 2000 + year <= source.year <= 2000 + year + 2
    if source.doi:
        assert source.doi.startswith("10.")
    if source.url:
        assert source.url.startswith("https://")
    assert str(source.year) in str(source)


@EVERY
def test_the_defaults_keep_the_constraints(definition: Definition) -> None:
    for constraint in definition.constraints:
        assert evaluate(constraint, at_defaults(definition))


@EVERY
def test_a_nan_stays_a_nan(definition: Definition) -> None:
    given = {"x": math.nan, **at_defaults(definition)}
    for expression in definition.expression.values():  # type: ignore[union-attr]
        assert math.isnan(evaluate(expression, given))
    for expression in (definition.training or {}).values():  # type: ignore[union-attr]
        noise = {n.name: 0.5 for n in definition.noise}
        assert math.isnan(evaluate(expression, given | noise))


@EVERY
def test_the_expression_implies_the_stated_slope_at_every_kink(definition: Definition) -> None:
    slope = derivative(definition.expression[definition.default_choice], "x")  # type: ignore[index]
    given = at_defaults(definition)
    for place, stated in definition.kinks.items():
        at = value(place, definition)
        if not math.isfinite(at):
            continue
        step = 1e-7 * max(1.0, abs(at))
        left, here, right = (evaluate(slope, {"x": v, **given}) for v in (at - step, at, at + step))
        expected = (
            {LEFT: left, RIGHT: right, MEAN: (left + right) / 2}.get(stated)
            if isinstance(  # type: ignore[call-overload]
                stated, str
            )
            else value(stated, definition)
        )
        assert here == pytest.approx(expected, abs=1e-5)


# torch


def test_every_pointwise_function_of_torch_is_there() -> None:
    listed = {d.torch for d in DEFINITIONS if d.torch}
    activations = {
        name
        for name, module in vars(torch.nn.modules.activation).items()
        if inspect.isclass(module)
        and issubclass(module, torch.nn.Module)
        and module.__module__ == "torch.nn.modules.activation"
    }
    modules = {d.module for d in DEFINITIONS if d.torch}
    not_pointwise = {"GLU", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
    assert activations - not_pointwise == modules
    for name in listed:
        assert hasattr(F, name)  # type: ignore[arg-type]


@TORCH
def test_the_signature_of_the_function_is_torchs(definition: Definition) -> None:
    function = getattr(F, definition.torch)  # type: ignore[arg-type]
    try:
        signature = inspect.signature(function)
    except ValueError:
        pytest.skip("torch's function has no signature to be read; its module is compared")
    theirs = {name: p.default for name, p in list(signature.parameters.items())[1:]}
    ours = {name: default(definition, name) for name in definition.positional}
    assert list(ours.items()) == list(theirs.items())


@TORCH
def test_the_arguments_of_the_module_are_torchs(definition: Definition) -> None:
    not_ours = ("device", "dtype", "num_parameters", "min_value", "max_value")
    theirs = {
        name: p.default
        for name, p in inspect.signature(getattr(torch.nn, definition.module)).parameters.items()
        if p.kind is p.POSITIONAL_OR_KEYWORD and name not in not_ours
    }
    spelled = {p.name: p.init_name or p.name for p in definition.parameters}
    names = [name for name in definition.positional if name != "training"]
    ours = {spelled.get(name, name): default(definition, name) for name in names}
    assert list(ours.items()) == list(theirs.items())


def default(definition: Definition, name: str) -> object:
    value = definition.default_of(name)
    return inspect.Parameter.empty if value is None else value


TORCH_CASES = [
    *[(d.torch, {}) for d in DEFINITIONS if d.torch and d.torch not in ("threshold", "prelu")],
    ("threshold", {"threshold": 0.1, "value": 20.0}),
    ("elu", {"alpha": 2.0}),
    ("celu", {"alpha": 2.0}),
    ("celu", {"alpha": -2.0}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("hardtanh", {"min_val": -2.0, "max_val": 0.5}),
    ("hardtanh", {"min_val": 0.5, "max_val": 0.5}),
    ("hardshrink", {"lambd": 1.0}),
    ("hardshrink", {"lambd": 0.0}),
    ("hardshrink", {"lambd": -1.0}),
    ("softshrink", {"lambd": 0.0}),
    ("softshrink", {"lambd": 2.0}),
    ("softplus", {"beta": 2.0, "threshold": 2.0}),
    ("rrelu", {"lower": 0.1, "upper": 0.9}),
    ("gelu", {"approximate": "tanh"}),
]


@pytest.mark.parametrize(("name", "given"), TORCH_CASES, ids=str)
def test_values_and_slopes_are_torchs_at_the_kinks_too(name: str, given: dict[str, object]) -> None:
    definition = catalogue.get(name)
    choices = {k: v for k, v in given.items() if k in definition.choices}
    numbers = at_defaults(definition) | {k: v for k, v in given.items() if k not in choices}
    at = [0.0, 0.1, -0.1, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 6.0, -6.0, 4.7, 12.0, -4.2]
    inputs = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    outputs = getattr(F, name)(inputs, **given)
    (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    expression = definition.chosen(choices)  # type: ignore[arg-type]
    slope = derivative(expression, "x")
    for v, output, expected in zip(at, outputs.tolist(), slopes.tolist(), strict=True):
        assert evaluate(expression, {"x": v, **numbers}) == pytest.approx(output, rel=1e-7, abs=1e-12)
        assert evaluate(slope, {"x": v, **numbers}) == pytest.approx(expected, rel=1e-7, abs=1e-9)


# Adding


def test_adding_takes_one_value(own: list[str]) -> None:
    swoosh = catalogue.add(Definition("swoosh", x * sigmoid(x + 1), use="Nowhere.", aliases=("woosh",)))
    assert catalogue.get("SWOOSH") is catalogue.get("woosh") is swoosh
    assert "swoosh" in catalogue.names()
    assert swoosh.module == "Swoosh"


def test_a_name_is_not_taken_twice(own: list[str]) -> None:
    with pytest.raises(DefinitionError, match="called 'mish' already"):
        catalogue.add(Definition("mish", x, use="Nowhere."))
    with pytest.raises(
        DefinitionError, match="'mine' takes the name 'Hard-Swish', which belongs to 'hardswish'"
    ):
        catalogue.add(Definition("mine", x, use="Nowhere.", aliases=("Hard-Swish",)))
    with pytest.raises(DefinitionError, match="'mine' names its module 'ReLU', as 'relu' does"):
        catalogue.add(Definition("mine", x, use="Nowhere.", module="ReLU"))
    assert "mine" not in catalogue.names()


def test_replacing_is_asked_for(own: list[str]) -> None:
    catalogue.add(Definition("mine", x, use="Nowhere.", aliases=("my_own",)))
    again = catalogue.add(Definition("mine", x + 1, use="Nowhere."), replace=True)
    assert catalogue.get("mine") is again
    with pytest.raises(KeyError):
        catalogue.get("my_own")
    with pytest.raises(DefinitionError, match="'mine' takes the name 'gelu'"):
        catalogue.add(Definition("mine", x, use="Nowhere.", aliases=("gelu",)), replace=True)
    assert catalogue.get("mine") is again


a = symbol("a")
CONTRADICTIONS = [
    ("must be named in lower case", {"name": "My Act"}),
    ("uses the undeclared symbol 'a'", {"expression": a * x}),
    ("does not depend on its input x", {"expression": exp(1)}),
    ("declares 'a' but no expression uses it", {"parameters": [Parameter("a")]}),
    ("declares 'a' twice", {"expression": a * x, "parameters": [Parameter("a"), Parameter("a")]}),
    ("declares 'x' twice", {"parameters": [Parameter("x")]}),
    ("uses the undeclared symbol 'a'", {"constraints": [a > 0]}),
    ("uses the undeclared symbol 'x'", {"constraints": [x > 0]}),
    ("uses 'a' in a kink, which is no parameter", {"kinks": {a: LEFT}}),
    ("gives the slope 'up' at a kink", {"kinks": {0: "up"}}),
    ("declares 'n' but no expression uses it", {"training": x, "noise": [Noise("n", "normal")]}),
    ("does not say when to use it", {"use": ""}),
    ("gives its aliases as the string 'other'", {"aliases": "other"}),
    ("has choices \\['mode'\\] but one expression", {"choices": {"mode": ("a", "b")}}),
    (
        "has an expression for \\('c',\\), which its choices do not offer",
        {"expression": {"a": x, "c": x}, "choices": {"mode": ("a", "b")}},
    ),
    ("has no expression for the default choice", {"expression": {"b": x}, "choices": {"mode": ("a", "b")}}),
]


@pytest.mark.parametrize(("message", "change"), CONTRADICTIONS, ids=[m for m, _ in CONTRADICTIONS])
def test_a_definition_checks_itself_and_names_the_culprit(message: str, change: dict[str, object]) -> None:
    sound: dict[str, object] = {"name": "mine", "expression": sin(x), "use": "Nowhere."}
    with pytest.raises(DefinitionError, match=message) as caught:
        Definition(**(sound | change))  # type: ignore[arg-type]
    assert repr((sound | change)["name"]) in str(caught.value)


def test_noise_needs_an_expression_for_training() -> None:
    with pytest.raises(DefinitionError, match="'n'"):
        Definition("mine", x, use="Nowhere.", noise=[Noise("n", "normal")])  # type: ignore[arg-type]


def test_a_choice_that_is_not_offered_is_an_error() -> None:
    gelu = catalogue.get("gelu")
    with pytest.raises(ValueError, match="approximate must be one of 'none', 'tanh', 'sigmoid', got 'quick'"):
        gelu.chosen({"approximate": "quick"})
    with pytest.raises(ValueError, match=r"no expression for .*'cauchy'"):
        gelu.chosen({"approximate": "tanh", "cdf": "cauchy"})


def test_a_reference_reads_well() -> None:
    source = Reference("On bends", "A. Author", 2020, arxiv="2001.00001", where="equation 3")
    assert str(source) == "A. Author (2020): On bends, equation 3. arXiv:2001.00001"


# The package


def test_importing_the_catalogue_is_cheap() -> None:
    code = (
        "import dataclasses, fractions, inspect, sys, time; t = time.process_time(); import softknee.catalogue; "
        "print(time.process_time() - t, *({'torch', 'numpy', 'mpmath', 'scipy'} & set(sys.modules)))"
    )
    seconds = []
    for _ in range(5):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("COV_", "COVERAGE_"))}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            timeout=120,
        )
        took, *heavy = done.stdout.split()
        assert not heavy
        seconds.append(float(took))
    # 20 ms on an idle machine with its byte code cached; a busy one may take several times that
    assert min(seconds) < 0.1


def test_expressions_use_no_symbol_that_is_not_declared() -> None:
    for d in DEFINITIONS:
        roots = list(d.expression.values())  # type: ignore[union-attr]
        assert set(symbols_in(*roots)) <= {"x", *(p.name for p in d.parameters)}


def test_the_step_has_slope_zero_even_as_an_expression() -> None:
    # what cannot be trained by gradient can be told from the derivative alone
    step = catalogue.get("binary_step").chosen({})
    assert derivative(step, "x").payload == 0

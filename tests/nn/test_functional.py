"""The torch side beside the laws: what falls through, randomness, options, user definitions, numpy and floats."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import softknee as sk
from softknee import functional as F
from softknee import nn
from softknee.catalogue import Definition
from softknee.lang.evaluate import evaluate
from softknee.testing import check_activation

DEFINITIONS = [sk.get(name).definition for name in sk.names()]
STOCHASTIC = [d for d in DEFINITIONS if d.training is not None]


# Names


def test_every_other_name_is_torchs() -> None:
    assert F.linear is torch.nn.functional.linear
    assert F.cross_entropy is torch.nn.functional.cross_entropy
    assert nn.Linear is torch.nn.Linear
    assert nn.Sequential is torch.nn.Sequential
    assert nn.functional is F or nn.functional.linear is F.linear


def test_aliases_find_their_function() -> None:
    for definition in DEFINITIONS:
        for alias in definition.aliases:
            assert sk.get(alias).definition is definition


@pytest.mark.parametrize("name", [d.torch for d in DEFINITIONS if d.torch and d.inplace])
def test_the_underscored_name_works_in_place(name: str) -> None:
    given = {p.name: 0.5 for p in sk.get(name).parameters if p.default is None}
    x = torch.linspace(-2, 2, 9)
    want = getattr(F, name)(x, **given)
    assert getattr(F, name + "_")(x, **given) is x
    assert torch.equal(x, want)


# Kinds of input


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_in_numpy_out(dtype: Any) -> None:
    x = np.linspace(-3, 3, 24, dtype=dtype).reshape(4, 6)
    mish = sk.get("mish")
    for a in (x, x.T, x[:, ::-1], x[::-2], np.asfortranarray(x), x[0, 0], x[:0]):
        y = mish(a)
        assert isinstance(y, np.generic | float if np.ndim(a) == 0 else np.ndarray)
        assert np.asarray(y).dtype == dtype
        assert np.array_equal(
            y, np.vectorize(lambda v: mish(np.array([v], dtype=dtype))[0], otypes=[dtype])(a)
        )
    assert np.array_equal(x, np.linspace(-3, 3, 24, dtype=dtype).reshape(4, 6))


def test_floats_in_floats_out() -> None:
    assert sk.get("tanh")(0.5) == pytest.approx(math.tanh(0.5), rel=1e-15)
    assert type(sk.get("relu")(2)) is float
    assert sk.get("tanh").derivative(0.0) == 1.0
    assert sk.get("tanh").derivative(0.0, order=3) == pytest.approx(-2.0)


def test_expressions_in_expressions_out() -> None:
    from softknee.lang import symbol

    t = symbol("t")
    made = sk.get("silu")(2 * t)
    assert evaluate(made, {"t": 0.5}) == pytest.approx(1 / (1 + math.exp(-1)))


def test_derivative_with_respect_to_a_parameter() -> None:
    got = sk.get("elu").derivative(-1.0, wrt="alpha", alpha=1.7)
    assert got == pytest.approx(math.expm1(-1))


# Randomness


@pytest.mark.parametrize("definition", STOCHASTIC, ids=lambda d: d.name)
def test_randomness_is_torchs_and_drawn_an_element(definition: Definition) -> None:
    """In training the value is the training expression at draws of torch's generator; the seed decides."""
    activation = sk.get(definition.name)
    x = torch.linspace(-3, 3, 501, dtype=torch.float64).requires_grad_()
    torch.manual_seed(3)
    first = activation(x, training=True)
    torch.manual_seed(3)
    assert torch.equal(first, activation(x, training=True))
    assert not torch.equal(first, activation(x, training=True))
    assert torch.equal(activation(x), activation(x, training=False))
    torch.manual_seed(3)
    drawn = {
        n.name: (torch.rand_like(x) if n.distribution == "uniform" else torch.randn_like(x))
        for n in definition.noise
    }
    values = {n: float(v) for n, v in definition.defaults.items()}
    reference = x.detach().clone().requires_grad_()
    want = evaluate(definition.chosen({}, training=True), {"x": reference, **values, **drawn}, "torch")
    assert torch.allclose(first, want, rtol=1e-12, atol=1e-14)
    (g,), (w,) = torch.autograd.grad(first.sum(), x), torch.autograd.grad(want.sum(), reference)
    assert torch.allclose(g, w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("definition", STOCHASTIC, ids=lambda d: d.name)
def test_modules_are_random_in_training_only(definition: Definition) -> None:
    module = getattr(nn, definition.module)()
    x = torch.linspace(-3, 3, 101)
    assert not torch.equal(module.train()(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


# Options


def test_exact_results() -> None:
    from softknee.testing import ulp_error
    from softknee.testing.oracle import Exact

    x = torch.linspace(-20, 5, 301)
    with sk.options(precision="exact"):
        y = F.mish(x)
    exact = Exact(sk.get("mish").expression)
    assert (
        max(ulp_error(float(g), exact.value(float(v)), "float32") for g, v in zip(y, x, strict=True)) <= 0.51
    )
    assert sk.options is not None
    with pytest.raises(ValueError, match="precision"), sk.options(precision="sloppy"):
        pass


# Definitions of one's own


def test_a_definition_is_a_full_citizen() -> None:
    swoosh = sk.define(
        "swoosh_for_tests",
        lambda x, beta: x * torch.sigmoid(beta * x),
        beta=sk.Parameter(1.0, learnable=True, doc="the gate's sharpness"),
    )
    report = check_activation(swoosh, dtypes=["float32", "float16"], samples=16, raises=False)
    assert not [f for f in report.failures if f.law != "gradcheck"], str(report)
    assert "swoosh_for_tests" in sk.names()
    module = nn.SwooshForTests(num_parameters=2)
    module(torch.randn(3, 2)).sum().backward()
    assert module.beta.grad is not None
    x = torch.linspace(-3, 3, 50)
    assert torch.equal(F.swoosh_for_tests(x), F.silu(x))


@pytest.mark.parametrize("library", ["torch", "numpy", "math", "softknee"])
def test_functions_of_any_library_are_understood(library: str) -> None:
    from softknee import lang

    functions: dict[str, Any] = {
        "torch": lambda x: x * torch.tanh(x),
        "numpy": lambda x: x * np.tanh(x),
        "math": lambda x: x * math.tanh(x),
        "softknee": lambda x: x * lang.tanh(x),
    }
    made = sk.define("tanh_of_a_library", functions[library], use=library)
    assert made.expression is sk.get("lisht").expression or made(0.5) == pytest.approx(0.5 * math.tanh(0.5))


def test_an_undeclared_kink_is_stated_and_said() -> None:
    with pytest.warns(UserWarning, match=r"slope jumps from 0\.5 to 1"):
        made = sk.define("kinked_for_tests", lambda x: torch.where(x > 0, x, x / 2))
    assert check_activation(made, dtypes=["float32"], samples=8).ok
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sk.define("kinked_for_tests", lambda x: torch.where(x > 0, x, x / 2), kinks={0: "mean"})
    assert sk.get("kinked_for_tests").derivative(0.0) == 0.75


def test_a_report_says_what_is_not_proven() -> None:
    from softknee.lang import sin, symbol

    x = symbol("x")
    report = check_activation(
        Definition("odd_for_tests", sin(x * x * x) / (1 + x * x), use="For a test."),
        dtypes=["float32"],
        samples=8,
        raises=False,
    )
    assert isinstance(str(report), str)
    assert "odd_for_tests" in str(report)


def test_submodules_of_torch_nn_are_found_under_our_name() -> None:
    """`from softknee import nn` in place of `from torch import nn`, whatever stands behind the dot."""
    scope: dict[str, Any] = {}
    theirs = torch.nn.utils.rnn, torch.nn.utils.rnn.PackedSequence
    exec(
        "import softknee.nn.functional\nfrom softknee.nn.utils.rnn import pad_sequence\n"
        "from softknee.nn.parameter import Parameter\nfrom softknee.nn import init",
        scope,
    )
    assert scope["pad_sequence"] is torch.nn.utils.rnn.pad_sequence
    assert scope["Parameter"] is torch.nn.Parameter
    assert scope["init"] is nn.init is torch.nn.init
    assert nn.attention.sdpa_kernel is torch.nn.attention.sdpa_kernel
    # theirs is not changed, and not there twice
    assert torch.nn.utils.__spec__.name == "torch.nn.utils"
    assert theirs == (
        torch.nn.utils.rnn,
        sys.modules["softknee.nn.utils.rnn"].PackedSequence,
    )
    with pytest.raises(ModuleNotFoundError, match=r"softknee\.nn\.nothing"):
        exec("import softknee.nn.nothing", scope)
    with pytest.raises(AttributeError, match="did you mean 'ReLU'"):
        _ = nn.Relu


def test_arrays_of_other_kinds() -> None:
    swapped = np.linspace(-1, 1, 5).astype(">f4")
    assert sk.get("silu")(swapped).dtype == np.float32
    np.testing.assert_array_equal(sk.get("silu")(swapped), sk.get("silu")(swapped.astype("f4")))
    with pytest.raises(TypeError, match=r"astype\(numpy\.float64\)"):
        sk.get("silu")(np.ones(2, np.longdouble))


def test_a_built_in_function_of_torch_defines_an_activation() -> None:
    """It shows no signature: its input alone"""
    act = sk.define("tanh_of_torch_for_tests", torch.tanh)
    x = torch.linspace(-3, 3, 7)
    assert torch.equal(act(x), F.tanh(x))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        sk.define("prelu_of_torch_for_tests", torch.prelu)

"""Parameters: gradients of every shape, modules that load torch's state, signatures that are torch's."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import mpmath as mp
import pytest
import torch
from tests.laws.common import DEFINITIONS, assert_none, cases, every, learnable, unusual

from softknee.catalogue import Definition
from softknee.lang.differentiate import derivative
from softknee.nn.classes import module_of
from softknee.nn.functional import function_of
from softknee.testing import Failure, mechanics
from softknee.testing.metric import ulp_error
from softknee.testing.oracle import Exact

TORCH_MODULES = [d for d in DEFINITIONS if isinstance(getattr(torch.nn, d.module, None), type)]
TORCH_FUNCTIONS = [d for d in DEFINITIONS if d.torch]
torch_module = pytest.mark.parametrize("definition", TORCH_MODULES, ids=lambda d: d.name)
torch_function = pytest.mark.parametrize("definition", TORCH_FUNCTIONS, ids=lambda d: d.name)


@learnable
def test_parameter_gradients(definition: Definition) -> None:
    """One value for all, one a channel, one an element: each gradient is the sum over what it belongs to."""
    assert_none([f for case in cases(definition) for f in mechanics.parameter_gradients(case)])


@learnable
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameter_gradients_of_huge_inputs(definition: Definition, dtype: str) -> None:
    """Each against the derivative of the formula: it vanishes or grows as that does, for parameters of any sign."""
    xs = [s * v for v in (3.0, 2.0**61, 1e20, 1e30, 3e38) for s in (1, -1)]
    x = torch.tensor(xs, dtype=getattr(torch, dtype))
    failures = []
    for case in [*cases(definition), *unusual(definition)]:
        given = {
            n: torch.full_like(x, float(case.values[n])).requires_grad_()
            for n in sorted(p.name for p in definition.learnable)
        }
        values = {n: float(v) for n, v in case.values.items()} | {
            n: float(t.detach()[0]) for n, t in given.items()
        }
        y = replace(case, values=values, tensors=frozenset(given)).call(x, given)
        slopes = torch.autograd.grad(y, list(given.values()), torch.ones_like(y), materialize_grads=True)
        for name, found in zip(given, slopes, strict=True):
            exact = Exact(derivative(definition.chosen(case.choices), name), values)
            for at, got in zip(x.tolist(), found.tolist(), strict=True):
                right = exact.value(at)
                if not mp.isnan(right) and ulp_error(got, right, dtype, floor=0.25) > 8:
                    failures.append(
                        Failure("huge inputs", str(case), f"by {name} in {dtype}", at, got, right)
                    )
    assert_none(failures)


@every
def test_modules(definition: Definition) -> None:
    assert_none([f for case in cases(definition) for f in mechanics.modules(case)])


@every
def test_dtypes(definition: Definition) -> None:
    assert_none([f for case in cases(definition) for f in mechanics.dtypes(case)])


@every
def test_in_place(definition: Definition) -> None:
    assert_none([f for case in cases(definition) for f in mechanics.in_place(case)])


def _required(definition: Definition) -> dict[str, Any]:
    return {p.name: float(p.example or 0.5) for p in definition.parameters if p.default is None}


@torch_module
def test_modules_are_torchs(definition: Definition) -> None:
    """The same constructor, repr and state_dict; either loads the other's state."""
    ours, theirs = module_of(definition), getattr(torch.nn, definition.module)
    assert issubclass(ours, theirs)
    given = _required(definition)
    mine, other = ours(**given), theirs(**given)
    assert repr(mine) == repr(other)
    assert list(mine.state_dict()) == list(other.state_dict())
    for p in other.parameters():
        torch.nn.init.uniform_(p)
    mine.load_state_dict(other.state_dict())
    other.load_state_dict(mine.state_dict())
    x = torch.randn(2, 3)
    assert torch.allclose(mine.eval()(x), other.eval()(x), rtol=1e-5, atol=1e-6)
    wanted, given = (list(inspect.signature(module).parameters.values()) for module in (theirs, ours))
    if [p.name for p in wanted] == ["args", "kwargs"] != [p.name for p in given]:  # torch's that take nothing
        wanted = []
    assert [(p.name, p.kind, p.default) for p in given[: len(wanted)]] == [
        (p.name, p.kind, p.default) for p in wanted
    ]
    assert all(p.kind is p.KEYWORD_ONLY for p in given[len(wanted) :])


@torch_function
def test_functions_are_torchs(definition: Definition) -> None:
    """The positional arguments and their defaults; what we add is keyword-only."""
    try:
        theirs = inspect.signature(getattr(torch.nn.functional, definition.torch or "")).parameters
    except ValueError:
        pytest.skip("torch's is built in and shows no signature")
    ours = inspect.signature(function_of(definition)).parameters
    named = [n for n in theirs if n not in ("args", "kwargs")]
    assert [n for n in ours if n in named] == named
    for name in named:
        assert ours[name].default == theirs[name].default, name
    assert all(ours[n].kind is inspect.Parameter.KEYWORD_ONLY for n in ours if n not in named)


@learnable
def test_one_value_a_channel(definition: Definition) -> None:
    """num_parameters values along dimension 1 are used one a channel; `dim` chooses another."""
    made = module_of(definition)
    given = _required(definition)
    module = made(3, **given)
    for k, p in enumerate(module.parameters()):
        assert p.shape == (3,)
        with torch.no_grad():
            p.add_(torch.tensor([0.0, 0.05, 0.1]) * (k + 1))
    x = torch.randn(4, 3, 5)
    y = module(x)
    for channel in range(3):
        single = made(1, **given)
        with torch.no_grad():
            for p, q in zip(single.parameters(), module.parameters(), strict=True):
                p.copy_(q[channel : channel + 1])
        assert torch.allclose(y[:, channel], single(x[:, channel]), rtol=1e-6, atol=1e-7)
    if not isinstance(getattr(torch.nn, definition.module, None), type):
        last = made(3, **given, dim=-1)
        last.load_state_dict(module.state_dict())
        assert torch.equal(last(x.transpose(1, 2)), y.transpose(1, 2))

"""Functions with choices and numbers: what was made before is found at once, and says and does the same."""

from __future__ import annotations

import math
import operator
from collections import deque

import pytest
import torch

import softknee as sk
import softknee.functional as F
from softknee.lang.nodes import as_node, symbol, where
from softknee.nn.functional import function_of, observed
from softknee.nn.pointwise import Call, Pointwise
from softknee.nn.runtime import MOST, SEEN, WRITTEN, runtime


def _forget(monkeypatch: pytest.MonkeyPatch, function, run) -> None:
    monkeypatch.setattr(run, "met", {})
    monkeypatch.setattr(run, "_seen", deque(maxlen=SEEN))
    monkeypatch.setitem(function.__globals__, "_met", run.met)


def test_a_choice_made_before_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    run, x = runtime(sk.get("gelu").definition), torch.randn(100)
    _forget(monkeypatch, F.gelu, run)
    F.gelu(x, approximate="tanh")
    first = F.gelu(x, approximate="tanh")
    # mu and sigma, and the two choices
    assert list(run.met) == [(0.0, 1.0, "tanh", "normal")]

    def unused(*args: object, **more: object) -> object:
        raise AssertionError

    monkeypatch.setitem(F.gelu.__globals__, "_run", unused)
    assert torch.equal(F.gelu(x, approximate="tanh"), first)
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.gelu(y, approximate="tanh").sum(), y)
    torch.testing.assert_close(slope, torch.autograd.functional.jvp(
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"), x, torch.ones_like(x))[1])  # fmt: skip
    with pytest.raises(AssertionError):
        F.gelu(x, approximate="sigmoid")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "values"), [("leaky_relu", (0.3,)), ("elu", (0.5,)), ("hardtanh", (-2, 3)), ("swish", (1.7,))]
)
def test_numbers_given_before_take_the_short_way(
    name, values, dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, function = runtime(sk.get(name).definition), getattr(F, name)
    _forget(monkeypatch, function, run)
    x = torch.randn(7, 12).to(dtype)
    leaf, g = x.clone().requires_grad_(), torch.randn(7, 12).to(dtype)
    first = function(x, *values)
    (slope,) = torch.autograd.grad(function(leaf, *values), leaf, g)
    assert list(run.met) == [values]
    usual = function.__globals__["_run"]

    def unused(*args: object, **more: object) -> object:
        raise AssertionError

    monkeypatch.setitem(function.__globals__, "_run", unused)
    assert torch.equal(function(x, *values), first)
    assert torch.equal(function(x[:, ::2], *values), first[:, ::2])
    y = function(leaf, *values)
    (again,) = torch.autograd.grad(y, leaf, g, create_graph=True)
    torch.testing.assert_close(again, slope)
    (second,) = torch.autograd.grad((again.square() + leaf).sum(), leaf)
    assert not (second == 0).all()
    transformed = torch.func.grad(lambda t: (function(t, *values) * g).sum())(x)
    torch.testing.assert_close(transformed, again)
    with sk.options(precision="exact"):
        torch.testing.assert_close(function(x, *values), first)
    with pytest.raises(AssertionError):
        function(x, values[0] + 0.25, *values[1:])
    monkeypatch.setitem(function.__globals__, "_run", usual)
    for k in range(200):  # numbers that change all the time are not kept
        function(x, values[0] - k / 1024, *values[1:])
    assert list(run.met) == [values]
    for k in range(300):
        function(x, values[0] - (k // 2) / 1024, *values[1:])
    assert len(run.met) <= MOST


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "values"),
    [("leaky_relu", (0.0,)), ("hardtanh", (0.0, 6.0)), ("threshold", (0.0, 0.3)), ("swish", (0.0,)), ("frelu", (0.0,)),
     ("elu", (1e-300,)), ("softshrink", (0.0,))],
)  # fmt: skip
def test_numbers_written_into_the_expression_change_nothing_at_the_limits(
    name, values, dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 x is NaN where x is, though simplification takes it for 0"""
    run, function = runtime(sk.get(name).definition), getattr(F, name)
    x = torch.tensor([math.nan, -math.inf, math.inf, 0.0, -0.0, 1e-40, 3e38, -3e38, 0.3, -2.0], dtype=dtype)
    found = []
    for most in (WRITTEN, 0):
        _forget(monkeypatch, function, run)
        monkeypatch.setattr("softknee.nn.runtime.WRITTEN", most)
        monkeypatch.setattr(run, "written", set())
        leaf = x.clone().requires_grad_()
        y = function(leaf, *values)
        (slope,) = torch.autograd.grad(y.sum(), leaf)
        found.append((y.detach(), slope[1:]))
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-6, atol=0, equal_nan=True)


def test_only_the_first_numbers_get_kernels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    run, x = runtime(sk.get("leaky_relu").definition), torch.randn(100)
    _forget(monkeypatch, F.leaky_relu, run)
    monkeypatch.setattr(run, "written", set())
    before = len(run._operators)
    for k in range(50):
        slope = 0.01371 + k / 64
        torch.testing.assert_close(F.leaky_relu(x, slope), torch.nn.functional.leaky_relu(x, slope))
    assert len(run.written) == WRITTEN
    assert len(run._operators) <= before + WRITTEN + 1


@pytest.mark.parametrize("border", [0.3, 0.7, 1 / 3, 2.1, 1 - 2.0**-30, 1 + 2.0**-30, -0.3, -1 + 2.0**-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_borders_that_no_float32_is(border: float, dtype: torch.dtype) -> None:
    """Numbers on either side of it are on the right side."""
    near, x = torch.tensor(border, dtype=dtype), symbol("x")
    at = torch.stack([torch.nextafter(near, -near), near, torch.nextafter(near, 2 * near)])
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        for swapped in (False, True):
            sides = (as_node(border), x) if swapped else (x, border)
            step = Pointwise.of(where(compare(*sides), 2, 1), ("x",))
            wanted = compare(border, at.double()) if swapped else compare(at.double(), border)
            assert torch.equal(step(at, Call()) == 2, wanted), (compare, swapped)
    moved = Pointwise.of(x - border, ("x",))
    torch.testing.assert_close(moved(at, Call()), (at.double() - border).to(dtype), rtol=2.0**-23, atol=0)


def test_zeros_are_one_number_whatever_was_met_before(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget(monkeypatch, F.leaky_relu, runtime(sk.get("leaky_relu").definition))
    x = torch.tensor([-1.0, 1.0])
    signs = [F.leaky_relu(x, zero).signbit().tolist() for zero in (-0.0, 0.0, 0.0, -0.0)]
    assert signs == signs[:1] * 4


def test_the_last_call_may_be_another_thread_s() -> None:
    """Here it is made by what compares the dimensions"""
    x, weight = torch.randn(4, 4, 4), torch.tensor([0.1, 0.2, 0.3, 0.4])
    wanted = [F.prelu(x, weight, dim=dim) for dim in (1, 2)]

    class Dim(int):
        def __eq__(self, other: object) -> bool:
            F.prelu(x, weight, dim=2)
            return int(self) == other

        __hash__ = int.__hash__

    for _ in range(3):
        F.prelu(x, weight, dim=1)
        assert torch.equal(F.prelu(x, weight, dim=Dim(1)), wanted[0])
        assert torch.equal(F.prelu(x, weight, dim=2), wanted[1])


def test_observers_see_it_all_the_same() -> None:
    x, seen = torch.randn(100), []
    F.gelu(x, approximate="tanh")

    def observer(definition: object, given: object, values: object, choices: object, run: object) -> object:
        seen.append(choices)
        return run()  # type: ignore[operator]

    with observed(observer):
        function_of(sk.get("gelu").definition)(x, approximate="tanh")
    assert [c["approximate"] for c in seen] == ["tanh"]
    F.gelu(x, approximate="tanh")
    assert len(seen) == 1

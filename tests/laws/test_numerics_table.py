"""Known defects of other libraries, and what is right: one named test each."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import pytest
import torch

import softknee as sk
from softknee import functional as F
from softknee.testing import Exact, ulp_error

INF, NAN, ZERO = math.inf, math.nan, 0.0
LARGEST = float(torch.finfo(torch.float32).max)

# (what others do, the activation, its arguments, order of derivative, x, what is right in float32;
# None: what mpmath gives for the formula)
TABLE: list[tuple[str, str, dict[str, Any], int, float, float | None]] = [
    ("17 % off", "gelu", {}, 0, -5.0, None),
    ("57 % off", "gelu", {}, 0, -5.5, None),
    ("exactly 0 below -6", "gelu", {}, 0, -8.0, None),
    ("exactly 0 in the subnormals", "gelu", {}, 0, -14.0, None),
    ("NaN", "gelu", {}, 0, INF, INF),
    ("NaN", "gelu", {}, 0, -INF, ZERO),
    ("NaN at large finite x", "gelu", {}, 0, -LARGEST, ZERO),
    ("NaN at large finite x", "gelu", {}, 0, LARGEST, LARGEST),
    ("as bad as the value", "gelu", {}, 1, -5.5, None),
    ("NaN gradient", "gelu", {}, 1, INF, 1.0),
    ("NaN gradient", "gelu", {}, 1, -INF, ZERO),
    ("30 % off", "gelu", {"approximate": "tanh"}, 0, -5.0, None),
    ("0 below -5.06", "gelu", {"approximate": "tanh"}, 0, -5.5, None),
    ("NaN gradient", "gelu", {"approximate": "tanh"}, 1, -1e30, ZERO),
    ("NaN", "silu", {}, 0, -INF, ZERO),
    ("NaN gradient", "silu", {}, 1, -INF, ZERO),
    ("NaN gradient", "silu", {}, 1, INF, 1.0),
    ("NaN", "mish", {}, 0, -INF, ZERO),
    ("NaN gradient", "mish", {}, 1, -INF, ZERO),
    ("NaN gradient", "mish", {}, 1, INF, 1.0),
    ("NaN", "hardswish", {}, 0, -INF, ZERO),
    ("NaN second derivative", "mish", {}, 2, 100.0, None),
    ("second derivative 0", "mish", {}, 2, 12.0, None),
    ("gradient exactly 0 from 16.64", "sigmoid", {}, 1, 17.0, None),
    ("gradient exactly 0 from 16.64", "sigmoid", {}, 1, 88.0, None),
    ("gradient exactly 0 from 9.01", "tanh", {}, 1, 10.0, None),
    ("gradient exactly 0 from 9.01", "tanh", {}, 1, -40.0, None),
    ("second derivative 0", "silu", {}, 2, 20.0, None),
    ("second derivative 0", "sigmoid", {}, 2, 20.0, None),
    ("second derivative 0", "logsigmoid", {}, 2, 20.0, None),
    ("17 % off in the second derivative", "softplus", {}, 2, 15.0, None),
    ("infinite", "softplus", {"beta": 1e30}, 0, 1.0, 1.0),
    ("0 instead of 3.3e-13", "tanhshrink", {}, 0, 1e-4, None),
    ("4.8 % off", "tanhshrink", {}, 0, 1e-3, None),
    ("NaN", "softsign", {}, 0, INF, 1.0),
    ("NaN", "softsign", {}, 0, -INF, -1.0),
    ("NaN gradient", "softsign", {}, 1, INF, ZERO),
    ("infinity above 5.7e37", "hardswish", {}, 0, 1e38, 1e38),
    ("857 ULP around its root", "silu", {}, 1, -1.2784645, None),
    ("1,736 ULP around its root", "mish", {}, 1, -1.1924012, None),
    ("NaN gradient: 0 times inf in the branch not taken", "elu", {}, 1, 100.0, 1.0),
    ("NaN gradient: 0 times inf in the branch not taken", "elu", {}, 1, 710.0, 1.0),
    ("NaN gradient: 0 times inf in the branch not taken", "celu", {}, 1, 100.0, 1.0),
    ("NaN gradient: 0 times inf in the branch not taken", "selu", {}, 1, 1e4, None),
    ("all digits lost near 0", "elu", {}, 0, -1e-20, None),
    ("slope at 0: alpha, the left one", "elu", {"alpha": 2.0}, 1, 0.0, 2.0),
    ("slope at 0: the left one", "selu", {}, 1, 0.0, 1.7580993408473766),
    ("digits lost below 1e-7", "gelu", {}, 0, 1e-9, None),
    ("NaN becomes 0", "softshrink", {}, 0, NAN, NAN),
    ("NaN differs between vector and tail", "hardshrink", {}, 0, NAN, NAN),
    ("libraries disagree at 3", "hardswish", {}, 1, 3.0, None),
    ("libraries disagree at -3", "hardswish", {}, 1, -3.0, None),
    ("libraries disagree at 3", "hardsigmoid", {}, 1, 3.0, None),
    ("libraries disagree at -3", "hardsigmoid", {}, 1, -3.0, None),
]
IDS = [f"{n}{a.get('approximate', '')}-{o}-{x:g}" for _, n, a, o, x, _ in TABLE]


def _derivative(
    name: str, arguments: dict[str, Any], order: int, points: list[float], dtype: torch.dtype
) -> torch.Tensor:
    x = torch.tensor(points, dtype=torch.float64).to(dtype).requires_grad_(order > 0)
    y = getattr(F, name)(x, **arguments)
    for _ in range(order):
        (y,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
    return y.detach()


@pytest.mark.parametrize(("others", "name", "arguments", "order", "x", "right"), TABLE, ids=IDS)
def test_right_where_others_are_not(
    others: str, name: str, arguments: dict[str, Any], order: int, x: float, right: float | None
) -> None:
    # 37 copies: a vector lane and the tail must agree
    found = _derivative(name, arguments, order, [x] * 37, torch.float32)
    got = float(found[0])
    assert all(v == got or v != v for v in found.tolist())
    definition = sk.get(name).definition
    at = float(torch.tensor(x))
    floor = 0.0
    expected: Any = right
    if right is None:
        choices = {n: v for n, v in arguments.items() if n in definition.choices}
        exact = Exact(definition.chosen(choices), dict(definition.defaults), definition.kinks)
        expected = exact.derivative(at, order)
        floor = 0.25 if order and "root" in others else 0.0
    bound = (2, 4, 8)[order]
    assert ulp_error(got, expected, "float32", floor=floor) <= bound, (
        f"{others}: got {got}, expected {mp.nstr(expected, 12)}"
    )


@pytest.mark.parametrize(
    ("name", "at"),
    [("sigmoid", {"float16": 9.0, "bfloat16": 8.0}), ("tanh", {"float16": 4.6, "bfloat16": 4.0})],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bit_gradients_do_not_vanish_early(name: str, at: dict[str, float], dtype: torch.dtype) -> None:
    x = at[str(dtype).removeprefix("torch.")]
    got = float(_derivative(name, {}, 1, [x], dtype)[0])
    exact = Exact(sk.get(name).expression).derivative(float(torch.tensor(x).to(dtype)), 1)
    assert got == float(torch.tensor(float(exact), dtype=torch.float64).to(dtype))
    assert got > 0


def test_float64_gradients_of_saturated_elu() -> None:
    """Elsewhere 0 at -40 in float64: the true value is 4.2e-18."""
    for name in ("elu", "selu"):
        scale = 1.0 if name == "elu" else 1.7580993408473766
        got = float(_derivative(name, {}, 1, [-40.0], torch.float64)[0])
        assert got == pytest.approx(scale * math.exp(-40), rel=1e-14)


def test_softplus_refuses_beta_0() -> None:
    with pytest.raises(ValueError, match="beta"):
        F.softplus(torch.ones(2), beta=0.0)


def test_leaky_relu_in_place_with_a_negative_slope() -> None:
    """From the result alone the gradient cannot be told: right, or refused, never wrong."""
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    try:
        y = F.leaky_relu(x * 1, negative_slope=-0.5, inplace=True)
    except RuntimeError:
        return
    (g,) = torch.autograd.grad(y.sum(), x)
    assert g.tolist() == [-0.5, 1.0]


def test_elu_with_negative_alpha_in_place_and_twice_differentiated() -> None:
    x = torch.tensor([-1.0, 2.0], dtype=torch.float64, requires_grad=True)
    try:
        y = F.elu(x * 1, alpha=-2.0, inplace=True)
    except RuntimeError:
        return
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert g.tolist() == pytest.approx([-2 * math.exp(-1), 1.0])
    assert h.tolist() == pytest.approx([-2 * math.exp(-1), 0.0])


@pytest.mark.parametrize("name", sk.names())
def test_gradients_are_finite_at_ordinary_points(name: str) -> None:
    """At 0, +-1, +-50, +-100 and +-10,000; and bfloat16 stays bfloat16."""
    activation = sk.get(name)
    given = {p.name: float(p.example or 0.5) for p in activation.parameters if p.default is None}
    x = torch.tensor([0.0, 1.0, -1.0, 50.0, -50.0, 100.0, -100.0, 1e4, -1e4], requires_grad=True)
    y = activation(x, **given)
    finite = torch.isfinite(y.double()) | (activation(x.detach().double(), **given).abs() > LARGEST)
    assert finite.all()
    if y.requires_grad:
        (g,) = torch.autograd.grad(y.sum(), x, materialize_grads=True)
        slope = activation.derivative(x.detach().double(), **given)
        assert (torch.isfinite(g) | (slope.abs() > LARGEST)).all()
    assert activation(x.detach().bfloat16(), **given).dtype is torch.bfloat16

"""Known defects of other libraries, and what is right: one named test each."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
import torch
from benchmarks import defects
from benchmarks.defects import TABLE, Defect

import softknee as sk
from softknee import functional as F
from softknee.testing import Exact

IDS = [f"{d.name}{d.arguments.get('approximate', '')}-{d.order}-{d.x:g}" for d in TABLE]
LARGEST = defects.LARGEST


@pytest.mark.parametrize("defect", TABLE, ids=IDS)
def test_right_where_others_are_not(defect: Defect) -> None:
    # 37 copies: a vector lane and the tail must agree
    found = defects.results(F, defect, [defect.x] * 37)
    got = float(found[0])
    assert all(v == got or v != v for v in found.tolist())
    bound = (2, 4, 8)[defect.order]
    assert defect.ulp(got) <= bound, f"{defect.others}: got {got}, expected {mp.nstr(defect.exact, 12)}"


def test_torch_is_wrong_at_many_of_them() -> None:
    """The page that shows it compares something."""
    assert sum(d.ulp(defects.torch_result(d)) > defects.ROUNDING for d in TABLE) >= 30
    assert defects.markdown().count("\n| `") == len(TABLE)


@pytest.mark.parametrize(
    ("name", "at"),
    [("sigmoid", {"float16": 9.0, "bfloat16": 8.0}), ("tanh", {"float16": 4.6, "bfloat16": 4.0})],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bit_gradients_do_not_vanish_early(name: str, at: dict[str, float], dtype: torch.dtype) -> None:
    x = at[str(dtype).removeprefix("torch.")]
    got = float(defects.results(F, Defect("", name, {}, 1, x), [x], dtype)[0])
    exact = Exact(sk.get(name).expression).derivative(float(torch.tensor(x).to(dtype)), 1)
    assert got == float(torch.tensor(float(exact), dtype=torch.float64).to(dtype))
    assert got > 0


def test_float64_gradients_of_saturated_elu() -> None:
    """Elsewhere 0 at -40 in float64: the true value is 4.2e-18."""
    for name in ("elu", "selu"):
        scale = 1.0 if name == "elu" else 1.7580993408473766
        got = float(defects.results(F, Defect("", name, {}, 1, -40.0), [-40.0], torch.float64)[0])
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

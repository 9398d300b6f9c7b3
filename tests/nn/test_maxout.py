"""Maxout against torch's maximum; the activations it contains; how well it fits a convex function."""

from __future__ import annotations

import warnings
from importlib import import_module

import pytest
import torch
from torch import Tensor

from softknee import functional as F
from softknee import nn


@pytest.fixture(params=["few", "many"])
def amount(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done for few elements, and what for many"""
    if request.param == "many":
        monkeypatch.setattr(import_module("softknee.nn.maxout"), "FEW", 0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).requires_grad_()


@pytest.mark.usefixtures("amount")
@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_it_is_the_largest_of_consecutive_units(pieces: int, dim: int) -> None:
    x = drawn(12, 12, 12)
    got = F.maxout(x, pieces, dim)
    want = x.movedim(dim, -1).reshape(12, 12, 12 // pieces, pieces).amax(-1).movedim(-1, dim)
    assert torch.equal(got, want)
    weights = drawn(*got.shape).detach()
    assert torch.equal(*(torch.autograd.grad((y * weights).sum(), x)[0] for y in (got, want)))


@pytest.mark.usefixtures("amount")
@pytest.mark.parametrize("pieces", [2, 6])
def test_derivatives_of_every_kind(pieces: int) -> None:
    f, x = (lambda x: F.maxout(x, pieces)), drawn(2, 12)
    assert torch.autograd.gradcheck(f, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (x,))
    assert torch.autograd.gradcheck(f, (x,), check_batched_grad=True)
    plain = x.detach()
    assert torch.equal(torch.func.vmap(f)(plain), f(plain))
    assert torch.equal(torch.func.jacrev(f)(plain[0]), torch.func.jacfwd(f)(plain[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        assert torch.equal(torch.compile(f, fullgraph=True, backend="aot_eager")(x), f(x))


@pytest.mark.parametrize(("pieces", "bytes_"), [(2, 1), (6, 1), (300, 4)])
def test_places_of_many_are_kept_in_small_numbers(pieces: int, bytes_: int) -> None:
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = F.maxout(drawn(300_000 // pieces, pieces), pieces)
    assert [t.nbytes for t in kept] == [y.numel() * bytes_]


@pytest.mark.usefixtures("amount")
@pytest.mark.parametrize("pieces", [2, 6])
def test_of_equal_units_the_first_has_the_slope(pieces: int) -> None:
    x = torch.zeros(12, requires_grad=True)
    F.maxout(x, pieces).sum().backward()
    assert x.grad.reshape(-1, pieces).tolist() == [[1.0] + [0.0] * (pieces - 1)] * (12 // pieces)


def test_values_alone_are_the_same() -> None:
    x = drawn(6, 8)
    x.data[0, :2] = torch.tensor([float("nan"), 1.0])
    assert torch.equal(F.maxout(x.detach(), 2).nan_to_num(7), F.maxout(x, 2).detach().nan_to_num(7))


@pytest.mark.parametrize(
    ("slopes", "function"),
    [
        ((0.0, 1.0), F.relu),
        ((-1.0, 1.0), torch.abs),
        ((0.01, 1.0), F.leaky_relu),
        ((0.25, 1.0), lambda x: F.prelu(x, torch.tensor([0.25]))),
        ((1.0, 1.0), lambda x: x),
    ],
)
def test_with_fixed_weights_it_is(slopes: tuple[float, float], function) -> None:
    layer = nn.Maxout(1, 1, pieces=2, bias=False)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor(slopes).reshape(2, 1))
    x = torch.tensor([-3.0, -1e-3, 0.0, 0.5, 7.0, float("inf")])[:, None].requires_grad_()
    x = x if slopes[0] else x[:-1].detach().requires_grad_()  # 0 * inf
    y, want = layer(x), function(x)
    assert torch.equal(y, want)
    got, expected = (torch.autograd.grad(v[v.isfinite()].sum(), x)[0] for v in (y, want))
    away = x.detach() != 0
    assert torch.equal(got[away], expected[away])


def test_modules() -> None:
    layer, x = nn.Maxout(3, 4, pieces=5), torch.randn(2, 3)
    assert layer(x).shape == (2, 4)
    assert torch.equal(layer(x), layer.linear(x).reshape(2, 4, 5).amax(-1))
    assert sorted(layer.state_dict()) == ["linear.bias", "linear.weight"]
    traced = torch.fx.symbolic_trace(layer)
    assert torch.equal(traced(x), layer(x))


@pytest.mark.parametrize(
    ("pieces", "dim", "error", "text"),
    [
        (4, -1, ValueError, r"4 pieces do not divide dimension -1 of the input, whose size is 6"),
        (0, -1, ValueError, r"positive whole number, got 0"),
        (2.0, -1, ValueError, r"positive whole number, got 2\.0"),
        (2, 3, IndexError, r"no dimension 3 in an input of shape \(5, 6\)"),
    ],
)
def test_errors_say_what_to_do(pieces: int, dim: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        F.maxout(torch.ones(5, 6), pieces, dim)

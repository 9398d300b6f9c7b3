"""Gated units against what one writes with torch; what they save; layouts, limits, learned parameters, modules."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as T
from torch import Tensor

import softknee as sk
from softknee import functional as F
from softknee import nn
from softknee.catalogue.gates import GATES
from softknee.nn.parts import Layout
from softknee.testing.metric import rounded


def gpt_oss(gate: Tensor, up: Tensor) -> Tensor:
    gate, up = gate.clamp(min=None, max=7.0), up.clamp(min=-7.0, max=7.0)
    return (up + 1) * (gate * torch.sigmoid(gate * 1.702))


TORCH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "glu": lambda a, b: torch.sigmoid(a) * b,
    "siglu": lambda a, b: torch.sigmoid(a) * b,
    "swiglu": lambda a, b: T.silu(a) * b,
    "geglu": lambda a, b: T.gelu(a) * b,
    "reglu": lambda a, b: T.relu(a) * b,
    "bilinear": lambda a, b: a * b,
    "gtu": lambda a, b: torch.sigmoid(a) * torch.tanh(b),
    "clamped_swiglu": gpt_oss,
}


def of_two(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of (gate, up)."""
    f = getattr(F, name)
    return (lambda gate, up: f(up, gate=gate)) if name == "glu" else f


def drawn(*shape: int, dtype: torch.dtype = torch.float64, scale: float = 3.0) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(7)) * scale).to(dtype).requires_grad_()


def both(f: Callable[..., Tensor], *x: Tensor) -> list[Tensor]:
    """The value and its gradients, for an incoming gradient that is not constant."""
    y = f(*x)
    return [y, *torch.autograd.grad(y, x, torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape))]


def test_every_unit_is_here() -> None:
    assert sorted(TORCH) == sorted(g.name for g in GATES)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("dim", [-1, 0, 1])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("gate_first", [False, True])
def test_halves_are_torchs_composition(name: str, dim: int, interleaved: bool, gate_first: bool) -> None:
    x = drawn(4, 6, 10)

    def theirs(x: Tensor) -> Tensor:
        index = (
            torch.arange(x.shape[dim]).reshape(-1, 2).T
            if interleaved
            else torch.arange(x.shape[dim]).reshape(2, -1)
        )
        halves = [x.index_select(dim, i) for i in index]
        return TORCH[name](*(halves if gate_first else halves[::-1]))

    ours = both(lambda x: getattr(F, name)(x, dim=dim, interleaved=interleaved, gate_first=gate_first), x)
    for got, want in zip(ours, both(theirs, x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("shapes", [((3, 5), (3, 5)), ((4, 1, 5), (3, 1)), ((5,), (2, 5))])
def test_two_tensors_are_torchs_composition(name: str, shapes: Any) -> None:
    x = [drawn(*shapes[0]), drawn(*shapes[1], scale=4.0)]
    for got, want in zip(both(of_two(name), *x), both(TORCH[name], *x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_glu_is_torchs() -> None:
    x = drawn(3, 8, 6, dtype=torch.float32)
    for arguments in ((), (1,)):
        torch.testing.assert_close(F.glu(x, *arguments), T.glu(x, *arguments))
    assert F.bilinear(torch.ones(2, 3), torch.ones(2, 4), torch.ones(5, 3, 4)).tolist() == [[12.0] * 5] * 2


@pytest.mark.parametrize("activation", ["mish", "hardswish", "tanhshrink", "elu", "prelu", "softplus", "erf"])
def test_any_activation_makes_a_unit(activation: str) -> None:
    x = [drawn(7), drawn(7)]
    want = both(lambda gate, up: sk.get(activation)(gate) * up, *x)
    for got, expected in zip(both(nn.GatedUnit(activation), *x), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


def test_what_names_an_activation() -> None:
    x = drawn(3, 4)
    want = F.gated_unit(x, None, "leaky_relu", negative_slope=0.3)
    unit = nn.GatedUnit("leaky_relu(negative_slope=0.3)")
    assert torch.equal(unit(x), want)
    assert "negative_slope=0.3" in repr(unit)
    for made in (
        F.gated_unit(x, None, sk.get("mish")),
        nn.GatedUnit(sk.get("mish"))(x),
        nn.GatedUnit(nn.Mish)(x),
    ):
        assert torch.equal(made, F.gated_unit(x, None, "mish"))


def test_a_random_activation_is_random_in_training_only() -> None:
    unit, x = nn.GatedUnit("rrelu"), -torch.ones(400)
    assert unit.train()(x, x).unique().numel() > 100
    assert unit.eval()(x, x).unique().numel() == 1


# What is saved, and where gradients are written


def saved(f: Callable[..., Tensor], *x: Tensor) -> list[Tensor]:
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        f(*x)
    return kept


@pytest.mark.parametrize("name", TORCH)
def test_the_inputs_are_all_that_is_saved(name: str) -> None:
    x = [drawn(64), drawn(64)]
    assert {t.data_ptr() for t in saved(of_two(name), *x)} <= {t.data_ptr() for t in x}
    (whole,) = {t.untyped_storage().data_ptr() for t in saved(getattr(F, name), x[0])}
    assert whole == x[0].data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("shape", "dim"), [((6, 20), -1), ((3, 4, 5), 1), ((2, 8200), -1)])
@pytest.mark.parametrize("layout", [(False, True), (True, True), (True, False)])
def test_no_half_is_copied(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, shape: Any, dim: int, layout: tuple[bool, bool]
) -> None:
    """Nor are the gradients; and the results are those of two tensors, to the last bit."""
    interleaved, gate_first = layout
    halves = Layout(dim, 2, interleaved, not gate_first)
    x = drawn(*shape, dtype=dtype).detach().requires_grad_()
    parts = [t.contiguous() for t in halves.parts(x.detach())]
    for name in ("joined", "apart"):
        monkeypatch.setattr(Layout, name, None)
    got = both(lambda x: F.swiglu(x, dim=dim, interleaved=interleaved, gate_first=gate_first), x)
    want = both(F.swiglu, *(t.requires_grad_() for t in parts))
    assert got[1].is_contiguous()
    for a, b in zip((got[0], *halves.parts(got[1])), want, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["swiglu", "reglu", "bilinear"])
@pytest.mark.parametrize("size", [0, 7, 40_000])  # on one thread, and on several
def test_short_ways_are_the_long_one(name: str, size: int) -> None:
    """Tensors in one piece are launched without looking at strides; the values are the same bits."""
    unit, gate, up = of_two(name), torch.randn(3, size), torch.randn(3, size)
    whole = torch.cat([up, gate], -1)
    incoming = torch.randn(3, size)

    def results(f: Callable[..., Tensor], *x: Tensor) -> list[Tensor]:
        x = tuple(t.detach().requires_grad_() for t in x)
        y = f(*x)
        one = torch.autograd.grad(y.sum(), x, retain_graph=True)  # one number for all
        several = torch.autograd.grad(
            y, x, torch.stack([incoming] * 2), is_grads_batched=True, retain_graph=True
        )
        return [y, f(*[t.detach() for t in x]), *torch.autograd.grad(y, x, incoming), *one, *several]

    def apart(t: Tensor) -> Tensor:
        return torch.stack([t, t], -1)[..., 0]  # every other element

    want = results(unit, apart(gate), apart(up))
    for made in (results(unit, gate, up), results(lambda a, b: unit(a, b.detach() + 0 * b), gate, up)[:2]):
        for a, b in zip(made, want, strict=False):
            assert torch.equal(a, b)
    y, plain, slopes, ones, batched = results(lambda x: getattr(F, name)(x, gate_first=False), whole)
    assert torch.equal(y, want[0])
    assert torch.equal(plain, want[0])
    for got, at in ((slopes, 2), (ones, 4), (batched, 6)):
        assert torch.equal(got, torch.cat([want[at + 1], want[at]], -1))


# Derivatives of every kind


@pytest.mark.parametrize("name", ["swiglu", "clamped_swiglu", "gtu"])
@pytest.mark.parametrize("interleaved", [False, True])
def test_derivatives_of_second_order(name: str, interleaved: bool) -> None:
    x = drawn(2, 4, scale=1.0)
    f = lambda x: getattr(F, name)(x, interleaved=interleaved)  # noqa: E731
    assert torch.autograd.gradcheck(f, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (x,))


def test_the_gradient_of_a_parameter_by_channel() -> None:
    x, beta = drawn(3, 8), torch.tensor([0.5, 1.0, 1.5, 2.0], dtype=torch.float64, requires_grad=True)
    want = both(lambda x, beta: x[:, :4] * torch.sigmoid(beta * x[:, :4]) * x[:, 4:], x, beta)
    for got, expected in zip(both(lambda x, b: F.swiglu(x, beta=b), x, beta), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradgradcheck(lambda x, b: F.swiglu(x, beta=b), (x, beta))


def test_transforms() -> None:
    x = drawn(3, 8).detach()
    f = lambda x: F.swiglu(x, limit=2.5)  # noqa: E731
    assert torch.equal(torch.func.vmap(f)(x), f(x))
    assert torch.equal(torch.func.vmap(f, in_dims=1, out_dims=1)(x.T), f(x).T)
    total = lambda x: f(x).sum()  # noqa: E731
    torch.testing.assert_close(
        torch.func.hessian(total)(x[0]),
        torch.autograd.functional.hessian(total, x[0]),
        rtol=1e-12,
        atol=1e-14,
    )


@pytest.mark.inductor
@pytest.mark.parametrize("name", ["glu", "clamped_swiglu"])
def test_compiled(name: str) -> None:
    torch._dynamo.reset()
    f, x = getattr(F, name), drawn(3, 8, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        compiled = both(torch.compile(f, fullgraph=True), x)
        for got, want in zip(compiled, both(f, x), strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.inductor
def test_compiled_with_one_tensor_for_both() -> None:
    torch._dynamo.reset()
    x = drawn(3, 8, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        compiled = both(torch.compile(lambda x: F.swiglu(x, x), fullgraph=True), x)
        for got, want in zip(compiled, both(lambda x: F.swiglu(x, x), x), strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.inductor
def test_a_compiled_block() -> None:
    block, x = nn.GatedMLP(4, 6, "mish"), torch.randn(2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        torch.testing.assert_close(torch.compile(block, fullgraph=True)(x), block(x))


def test_one_node_of_a_graph() -> None:
    traced = torch.fx.symbolic_trace(
        nn.Sequential(nn.SwiGLU(learnable=True), nn.GatedUnit("mish", limit=3.0))
    )
    called = [n.target.__name__ for n in traced.graph.nodes if n.op == "call_function"]
    assert called == ["swiglu", "gated_unit"]
    x = drawn(2, 8, dtype=torch.float32)
    torch.testing.assert_close(traced(x), F.gated_unit(F.swiglu(x), activation="mish", limit=3.0))


# Numbers


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["swiglu", "geglu", "clamped_swiglu"])
def test_results_of_16_bits_are_rounded_once(name: str, dtype: torch.dtype) -> None:
    x = drawn(8, 32, dtype=dtype, scale=2.0)
    exact = both(getattr(F, name), x.detach().double().requires_grad_())[0]
    assert both(getattr(F, name), x)[0].tolist() == nearest(exact, dtype)
    incoming = torch.linspace(-1, 2, exact.numel(), dtype=dtype).reshape(exact.shape)
    got, wide = torch.autograd.grad(getattr(F, name)(x), x, incoming)[0], x.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(getattr(F, name)(wide), wide, incoming.double())
    assert got.tolist() == nearest(exact, dtype)


def nearest(exact: Tensor, dtype: torch.dtype) -> list[list[float]]:
    """Correctly rounded; torch's conversion of float64 rounds twice."""
    return [[float(rounded(v, dtype)) for v in row] for row in exact.tolist()]


def test_at_infinity_and_far_away() -> None:
    inf = float("inf")
    gate = torch.tensor([-inf, -1e30, -1e4, 0.0, 1e4, 1e30, inf, float("nan")])
    up = torch.full_like(gate, 2.0)
    assert F.swiglu(gate, up).nan_to_num(7.0).tolist() == [
        0,
        0,
        0,
        0,
        2e4,
        pytest.approx(2e30),
        3.4028234663852886e38,
        7,
    ]
    x = [gate[:7].clone().requires_grad_(), up[:7].clone().requires_grad_()]
    by_gate, by_up = torch.autograd.grad(F.swiglu(*x).sum(), x)
    assert by_gate.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert by_up.tolist() == [0, 0, 0, 0, 1e4, pytest.approx(1e30), inf]


def test_at_the_limit_itself_the_slope_is_that_of_torchs_clamp() -> None:
    x = [
        torch.tensor([7.0, 8.0, 6.0, 7.0]).requires_grad_(),
        torch.tensor([7.0, -7.0, 9.0, -9.0]).requires_grad_(),
    ]
    for got, want in zip(both(F.clamped_swiglu, *x), both(gpt_oss, *x), strict=True):
        torch.testing.assert_close(got, want)


# Modules


def test_modules() -> None:
    assert repr(nn.GLU(1)) == repr(torch.nn.GLU(1))
    assert isinstance(nn.GLU(), torch.nn.GLU)
    assert nn.Bilinear is torch.nn.Bilinear
    assert repr(nn.ClampedSwiGLU(limit=5.0)) == "ClampedSwiGLU(dim=-1, limit=5.0)"
    x = drawn(2, 8, dtype=torch.float32)
    for g in GATES:
        module = getattr(nn, g.module)()
        assert not module.state_dict()
        for other in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(other(x), getattr(F, g.name)(x))
    unit = nn.SwiGLU(learnable=True, beta=1.5, num_parameters=4)
    assert unit.state_dict()["beta"].tolist() == [1.5] * 4
    unit(x).sum().backward()
    assert unit.beta.grad.abs().min() > 0
    assert nn.GatedUnit("elu", learnable=["alpha"]).alpha.requires_grad


def test_the_block_takes_the_weights_of_llama_like_models() -> None:
    weights = {
        "gate_proj.weight": drawn(6, 4),
        "up_proj.weight": drawn(6, 4),
        "down_proj.weight": drawn(4, 6),
    }
    block = nn.GatedMLP(4, 6, dtype=torch.float64)
    block.load_state_dict(weights)
    gate, up, down = weights.values()
    x = drawn(2, 3, 4)
    torch.testing.assert_close(block(x), (T.silu(x @ gate.T) * (x @ up.T)) @ down.T)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: F.swiglu(x[:, :5]), ValueError, r"halves dimension -1 .* 5 is odd"),
        (lambda x: nn.GatedUnit(nn.ReLU()), TypeError, r"a name or an Activation, got ReLU"),
        (lambda x: F.swiglu(x, dim=1.0), TypeError, r"whole number, got 1.0"),
        (lambda x: F.swiglu(x, dim=2), IndexError, r"no dimension 2 in an input of shape \(4, 6\)"),
        (lambda x: F.swiglu(x, x[:, :5]), ValueError, r"\(4, 6\) does not broadcast .* \(4, 5\)"),
        (lambda x: F.swiglu(x.long()), TypeError, r"int64 tensors; convert"),
        (lambda x: F.swiglu([1.0, 2.0]), TypeError, r"takes one tensor or two, got list"),
        (lambda x: F.glu(x, x), TypeError, r"give a second tensor as gate="),
        (lambda x: F.swiglu(x, limit=0.0), ValueError, r"needs limit > 0, got limit = 0"),
        (lambda x: F.swiglu(x, beta=torch.ones(5)), ValueError, r"beta has 5 values"),
        (lambda x: F.geglu(x, approximate="sin"), ValueError, r"must be one of 'none', 'tanh', 'sigmoid'"),
        (lambda x: F.gated_unit(x, activation="swih"), KeyError, r"did you mean 'swish'"),
        (lambda x: nn.GatedUnit("elu", beta=1.0), TypeError, r"no parameter 'beta'; its parameters: alpha"),
        (lambda x: nn.GatedUnit("relu", learnable=True), ValueError, r"no parameter that is usually learned"),
        (lambda x: nn.GatedUnit("elu", learnable=["beta"]), ValueError, r"no parameter 'beta' to learn"),
    ],
)
def test_errors_say_what_to_do(call: Callable[[Tensor], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(torch.ones(4, 6))

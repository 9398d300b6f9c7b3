"""What backward keeps: codes of the slope where they say all of it, rounded slopes where asked for."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import softknee as sk
from softknee import functional as F
from softknee.kernels.codes import Codes
from softknee.lang.nodes import number, symbol, where
from softknee.nn import saved

#: piecewise linear, with the bits that their slopes need
EXACT = {
    "relu": 1, "leaky_relu": 1, "relu6": 1, "hardtanh": 1, "hardsigmoid": 1, "softshrink": 1, "hardshrink": 1,
    "threshold": 1, "abs": 2,
}  # fmt: skip
ARGUMENTS = {"threshold": (0.1, 0.5)}
POINTS = torch.cat([torch.linspace(-7, 7, 301), torch.tensor([0.0, -0.0, float("inf"), -float("inf")])])


def kept(run) -> tuple[torch.Tensor, float]:
    """The result, and the bits it keeps for backward, each element's share"""
    found: list[torch.Tensor] = []
    with saved_tensors_hooks(lambda t: found.append(t) or t, lambda t: t):
        y = run()
    return y, sum(8 * t.numel() * t.element_size() for t in found) / y.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", EXACT)
def test_codes_hold_the_slope_exactly(name: str, dtype: torch.dtype) -> None:
    x = POINTS.repeat(7).to(dtype)
    gradient = torch.linspace(-3, 3, len(x)).to(dtype)
    arguments = ARGUMENTS.get(name, ())
    leaf = x.clone().requires_grad_()
    y, bits = kept(lambda: getattr(F, name)(leaf, *arguments))
    assert bits < EXACT[name] + 0.05
    y.backward(gradient)
    # torch operations of the derivative, as for a tensor on another device
    values = dict(zip(("threshold", "value"), arguments, strict=False))
    slope = sk.get(name).derivative(x.double(), **values)
    wanted = (gradient.double() * slope).to(dtype)
    if name == "hardsigmoid" and dtype is torch.float64:  # 1/6 has more digits than a float64
        assert torch.allclose(leaf.grad, wanted, rtol=2.5e-16, atol=0)
    else:
        assert torch.equal(leaf.grad, wanted)


def test_slopes_of_ones_own_and_slopes_given_at_the_call() -> None:
    def steps(x):
        return torch.where(x > 1, 2 * x - 1, torch.where(x < -1, 0.5 * x - 0.5, x))

    act = sk.define("three_slopes_for_tests", steps, kinks={1: "left", -1: "left"})
    x = torch.tensor([-3.0, -0.5, 0.5, 4.0], requires_grad=True)
    y, bits = kept(lambda: act(x.repeat(64)))
    y.sum().backward()
    assert bits <= 3
    assert x.grad.tolist() == [32.0, 64.0, 64.0, 128.0]
    y, bits = kept(lambda: F.leaky_relu(x.repeat(64), 0.3))
    assert bits == 1
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == pytest.approx([19.2, 19.2, 64.0, 64.0])


def test_a_learnable_slope_needs_the_input() -> None:
    x, weight = torch.randn(64, requires_grad=True), torch.tensor([0.25], requires_grad=True)
    assert kept(lambda: F.prelu(x, weight))[1] > 32


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(3, 5, 7),
        lambda: torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        lambda: torch.randn(6, 5).t(),
        lambda: torch.randn(6, 10)[:, ::2],
        lambda: torch.randn(()),
        lambda: torch.randn(0),
        lambda: torch.randn(200, 300),
    ],
)
def test_any_layout(make, inplace: bool) -> None:
    x = make()
    gradient = torch.randn(x.shape)
    wanted = torch.where(x > 0, gradient, 0.01 * gradient)
    leaf = x.clone().requires_grad_()
    inner = leaf * 1
    y = F.leaky_relu(inner, inplace=inplace)
    assert torch.allclose(y, torch.where(x > 0, x, 0.01 * x))
    assert (y.data_ptr() == inner.data_ptr()) == (inplace or not x.numel())
    y.backward(gradient)
    assert torch.allclose(leaf.grad, wanted)


def test_hooks_checkpoints_a_second_backward_and_threads() -> None:
    x = torch.randn(40_000, requires_grad=True)
    y = F.relu(x)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(y.sum(), x)[0])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), x)
    again = torch.autograd.grad(checkpoint(F.relu, x, use_reentrant=False).sum(), x)[0]
    assert torch.equal(first, again)
    with torch.autograd.graph.save_on_cpu():
        y = F.relu(x)
    assert torch.equal(first, torch.autograd.grad(y.sum(), x)[0])
    # the product with the incoming gradient can be differentiated again
    weight = torch.ones(40_000, requires_grad=True)
    (g,) = torch.autograd.grad((F.relu(x) * weight).sum(), x, create_graph=True)
    assert torch.equal(torch.autograd.grad(g.sum(), weight)[0], first)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["gelu", "silu", "tanh", "mish", "elu", "softplus", "relu"])
def test_lean_gradients_are_the_nearest_level(name: str, bits: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(64_000)
    true = sk.get(name).derivative(x)
    leaf = x.clone().requires_grad_()
    with sk.options(saved="lean", bits=bits):
        y, size = kept(lambda: getattr(F, name)(leaf))
    assert size == (1 if name == "relu" else bits)
    assert torch.equal(y, getattr(F, name)(x))  # the value itself is not touched
    y.sum().backward()
    if name == "relu":
        assert torch.equal(leaf.grad, true)
        return
    levels = leaf.grad.unique()
    assert len(levels) == 2**bits if bits < 8 else 250 <= len(levels) <= 256  # some lie beyond this sample
    nearest = levels[(true[:, None] - levels).abs().argmin(1)]
    # but at the borders, to a rounding error
    assert (leaf.grad != nearest).float().mean() < 1e-3 * max(1, 2**bits / 16)
    if bits == 8:
        assert levels.diff().max() < 1.01 * levels.diff().median()
        return
    step = (true.max() - true.min()) / 2**bits  # equal steps over the range would be worse
    equal = true.min() + ((true - true.min()) / step).floor().clamp(max=2**bits - 1) * step + step / 2
    assert (leaf.grad - true).pow(2).mean() < (equal - true).pow(2).mean()


GATES = {
    "swiglu": (F.swiglu, {}),
    "swiglu, clamped": (F.swiglu, {"limit": 1.5, "offset": 1.0}),
    "geglu": (F.geglu, {"approximate": "tanh"}),
    "bilinear": (F.bilinear, {}),
    "by name": (partial(F.gated_unit, activation="mish"), {}),
}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_lean_gates(gate, dtype: torch.dtype, bits: int) -> None:
    """Of two tensors, of halves that are no whole vectors, and of elements in turns: the same codes"""
    unit, options = gate
    torch.manual_seed(0)
    a, b = (torch.randn(31, 4, 101).to(dtype).requires_grad_() for _ in range(2))
    g = torch.randn(31, 4, 101).to(dtype)
    full = unit(a, b, **options)
    wanted = torch.autograd.grad(full, (a, b), g)
    with sk.options(saved="lean", bits=bits):
        y, size = kept(lambda: unit(a, b, **options))
        assert 2 * bits <= size < 2.01 * bits
        found = torch.autograd.grad(y, (a, b), g, retain_graph=True)
        torch.testing.assert_close(y, full)
        for one, true in zip(found, wanted, strict=True):
            error = (one - true).double().square().mean() / true.double().square().mean()
            assert error < {2: 0.25, 4: 0.02, 8: 0.001}[bits]
        for interleaved in (False, True):
            pair = torch.stack([a, b], -1).flatten(-2) if interleaved else torch.cat([a, b], -1)
            pair = pair.detach().requires_grad_()
            h, size = kept(lambda x=pair, i=interleaved: unit(x, interleaved=i, **options))
            # rows are padded to whole vectors
            assert size < 2.01 * bits * (1 if interleaved else 128 / 101)
            assert torch.equal(h, y)
            (both,) = torch.autograd.grad(h, pair, g)
            parts = both.unflatten(-1, (-1, 2)).unbind(-1) if interleaved else both.chunk(2, -1)
            assert all(map(torch.equal, parts, found))
    # whatever comes later
    (one,) = torch.autograd.grad(y, a, g[:1].expand(31, 4, 101), retain_graph=True)
    torch.testing.assert_close(one, found[0] / g * g[:1], rtol=0.02, atol=1e-3)
    (several,) = torch.autograd.grad(y, a, torch.stack([g, 2 * g]), is_grads_batched=True)
    torch.testing.assert_close(several, torch.stack([found[0], 2 * found[0]]))


def test_lean_gates_of_any_layout() -> None:
    a = torch.randn(2, 6, 5, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    b, g = torch.randn(5, 8, 2, 6).permute(2, 3, 0, 1).requires_grad_(), torch.randn(2, 6, 5, 8)
    plain = [t.detach().contiguous().requires_grad_() for t in (a, b)]
    with sk.options(saved="lean"):
        y, z = F.swiglu(a, b), F.swiglu(*plain)
        large = torch.randn(4, 300, 2, 500).transpose(1, 2).requires_grad_()  # its halves have gaps
        h, size = kept(lambda: F.swiglu(large, dim=1))
    assert size == 8
    assert torch.equal(y, z)
    assert all(map(torch.equal, torch.autograd.grad(y, (a, b), g), torch.autograd.grad(z, plain, g)))
    (gradient,) = torch.autograd.grad(h.sum(), large)
    (exact,) = torch.autograd.grad(F.swiglu(large, dim=1).sum(), large)
    assert (gradient - exact).square().mean() < 0.02 * exact.square().mean()


def test_lean_gates_of_which_one_input_needs_no_gradient() -> None:
    a, b = torch.randn(64, requires_grad=True), torch.randn(64)
    with sk.options(saved="lean"):
        y = F.swiglu(a, b)
    (exact,) = torch.autograd.grad(F.swiglu(a, b).sum(), a)
    (gradient,) = torch.autograd.grad(y.sum(), a)
    assert (gradient - exact).square().mean() < 0.05 * exact.square().mean()


@pytest.mark.parametrize("unit", [lambda x: F.gelu(x), lambda x: F.swiglu(x, x), lambda x: F.swiglu(x)])
def test_rounded_slopes_cannot_be_differentiated_again(unit) -> None:
    x = torch.randn(64, requires_grad=True)
    with sk.options(saved="lean"):
        y = unit(x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert first.requires_grad
    with pytest.raises(RuntimeError, match='saved="full"'):
        (first.square().sum() + x.sum()).backward()


@pytest.mark.parametrize("unit", [lambda x: F.gelu(x), lambda x: F.swiglu(x, x), lambda x: F.swiglu(x)])
def test_products_with_rounded_slopes_can_be_differentiated_by_the_other_factor(unit) -> None:
    x = torch.randn(64, requires_grad=True)
    with sk.options(saved="lean"):
        y = unit(x)
    weight = torch.ones_like(y, requires_grad=True)
    (first,) = torch.autograd.grad(y, x, weight, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), weight)
    assert torch.allclose((weight * second).sum(), first.sum(), rtol=1e-4)
    assert second.count_nonzero() == second.numel()


@pytest.mark.parametrize("mode", ["full", "lean"])
@pytest.mark.parametrize(
    "unit",
    [lambda x: F.relu(x), lambda x: F.elu(x, 0.5), lambda x: F.swiglu(x), lambda x: F.swiglu(x, 2 * x),
     lambda x: F.swiglu(x.t(), 2 * x.t())],
)  # fmt: skip
def test_backward_asks_once_for_what_is_saved(unit, mode: str) -> None:
    """As a checkpoint allows, whatever the incoming gradient looks like"""
    x = torch.randn(8, 16, requires_grad=True)
    with sk.options(saved=mode):
        for use in (torch.sum, lambda y: (y.t() * torch.arange(len(y))).sum()):
            (wanted,) = torch.autograd.grad(use(unit(x)), x)
            (found,) = torch.autograd.grad(use(checkpoint(unit, x, use_reentrant=False)), x)
            assert torch.equal(found, wanted)


def test_what_hooks_bring_back_may_lie_in_another_order() -> None:
    x = torch.randn(8, 16, requires_grad=True)
    (wanted,) = torch.autograd.grad(F.swiglu(x), x, torch.ones(8, 8))
    with saved_tensors_hooks(lambda t: t, lambda t: t.t().contiguous().t()):
        y = F.swiglu(x)
    assert torch.equal(torch.autograd.grad(y, x, torch.ones(8, 8))[0], wanted)


def test_codes_that_no_kernel_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written over is copied first"""
    x = torch.randn(64, requires_grad=True)
    monkeypatch.setattr(saved.Coding, "forward", lambda *_: SimpleNamespace(on=lambda *_: None))
    y = F.leaky_relu_(1 * x, -0.5)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.where(x > 0, 1.0, -0.5))


@pytest.mark.parametrize(
    "call",
    [lambda x: F.swish(x, beta=0.0), lambda x: F.swish(x, beta=float("inf")), lambda x: F.elu(x, float("nan")),
     lambda x: F.elu(x, 1e30), lambda x: F.squareplus(x, b=1e-30), lambda x: F.acon_b(x, p=1)],
)  # fmt: skip
@pytest.mark.parametrize("bits", [4, 8])
def test_lean_where_a_slope_has_no_levels(call, bits: int) -> None:
    """It is one number, not finite, or made of numbers beyond float64"""
    x = torch.randn(64, requires_grad=True)
    with sk.options(saved="lean", bits=bits):
        y = call(x)
    (lean,) = torch.autograd.grad(y.sum(), x)
    (exact,) = torch.autograd.grad(call(x).sum(), x)
    assert torch.equal(lean.isfinite(), exact.isfinite())
    assert not (lean - exact)[exact.isfinite()].abs().gt(0.5 * exact.abs().max()).any()


def test_lean_codes_know_the_parameters_of_a_call() -> None:
    x = torch.randn(4096, requires_grad=True)
    found = []
    for beta in (0.5, 3.0, *torch.linspace(1, 2, 40).tolist()):
        with sk.options(saved="lean"):
            y, size = kept(lambda beta=beta: F.swish(x, beta=beta))
        found.append(size)
        assert torch.equal(y, F.swish(x, beta=beta))
        (exact,) = torch.autograd.grad(F.swish(x, beta=beta).sum(), x)
        (lean,) = torch.autograd.grad(y.sum(), x)
        assert (lean - exact).square().mean() < 0.001
    # not for ever: a parameter may change with every call
    assert found[:4] == [4] * 4
    assert found[-4:] == [32] * 4


def test_levels_are_the_best_for_normal_inputs() -> None:
    def slope(x):
        return 1 - np.tanh(x) ** 2

    x = np.random.default_rng(0).standard_normal(200_000)

    def error(levels) -> float:
        return float((np.abs(slope(x)[:, None] - np.asarray(levels)).min(1) ** 2).mean())

    best = saved.levels_for(slope(saved._normal(1024, 1)[0]), 3)
    assert len(best) == 8
    assert all(
        error([*best[:k], best[k] + d, *best[k + 1 :]]) > error(best) for k in range(8) for d in (-0.02, 0.02)
    )


def test_a_wrong_plane_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Codes((where(symbol("x") >= -1, number(1), number(0)),), (number(0), number(1)))
    monkeypatch.setattr(saved, "exact_codes", lambda slope, tensors: wrong)
    act = sk.define("relu_with_a_fault_for_tests", lambda x: torch.where(x > 0, x, 0), kinks={0: "left"})
    x = torch.tensor([-0.5, 0.5], requires_grad=True)
    act(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_options_are_checked_and_restored() -> None:
    for arguments in ({"saved": "some"}, {"bits": 5}, {"precision": "half"}):
        with pytest.raises(ValueError, match=next(iter(arguments))), sk.options(**arguments):
            pass
    with sk.options(saved="lean", bits=2), sk.options(precision="exact"):
        assert kept(lambda: F.silu(torch.randn(64, requires_grad=True)))[1] == 2
    assert kept(lambda: F.silu(torch.randn(64, requires_grad=True)))[1] == 32


BY_OUTPUT = ["sigmoid", "tanh", "elu", "selu", "celu", "softplus", "logsigmoid"]


@pytest.mark.parametrize("name", BY_OUTPUT)
def test_the_output_is_kept_where_it_gives_the_slope(name: str) -> None:
    x = torch.linspace(-3, 3, 4097).requires_grad_()  # further out the output says less of the slope
    found: list[torch.Tensor] = []
    with sk.options(saved="output"), saved_tensors_hooks(lambda t: found.append(t) or t, lambda t: t):
        y = getattr(F, name)(x)
    assert [t.data_ptr() for t in found] == [y.data_ptr()]  # no memory of its own
    assert torch.equal(y, getattr(F, name)(x))
    (gradient,) = torch.autograd.grad(y, x, torch.linspace(1, 2, 4097))
    wanted = sk.get(name).derivative(x.detach().double()) * torch.linspace(1, 2, 4097)
    assert torch.allclose(gradient.double(), wanted, rtol=1e-4)
    points = torch.tensor([-2.0, -0.3, 0.4, 1.7], dtype=torch.float64, requires_grad=True)
    with sk.options(saved="output"):
        assert torch.autograd.gradcheck(getattr(F, name), points)
        assert torch.autograd.gradgradcheck(getattr(F, name), points)


def test_the_output_is_no_use_to_others() -> None:
    x = torch.randn(64, requires_grad=True)
    with sk.options(saved="output"):
        assert kept(lambda: F.relu(x))[1] == 1
        y, bits = kept(lambda: F.silu(x))
    assert bits == 32
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.autograd.grad(F.silu(x).sum(), x)[0])


def test_the_output_may_lie_where_the_input_was() -> None:
    x = torch.randn(100, requires_grad=True)
    with sk.options(saved="output"):
        before = x * 1
        y = F.elu_(before)
    assert y.data_ptr() == before.data_ptr()
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(gradient, torch.autograd.grad(torch.nn.functional.elu(x).sum(), x)[0])
    with sk.options(saved="output"):
        y = F.tanh(x)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("name", ["relu", "silu"])
@pytest.mark.parametrize("of", ["gradient", "input"])
def test_gradients_lie_as_they_like(name: str, of: str) -> None:
    """in another order of memory than the input; one at a time, and several at once"""
    x, g = torch.randn(4, 6, 5, 3), torch.randn(4, 6, 5, 3)
    if of == "input":
        x = x.to(memory_format=torch.channels_last)
    else:
        g = g.to(memory_format=torch.channels_last)
    x.requires_grad_()
    wanted = g * sk.get(name).derivative(x.detach())
    y = getattr(F, name)(x)
    (one,) = torch.autograd.grad(y, x, g, retain_graph=True)
    (several,) = torch.autograd.grad(y, x, torch.stack([g, 2 * g]), is_grads_batched=True)
    torch.testing.assert_close(one, wanted)
    torch.testing.assert_close(several, torch.stack([wanted, 2 * wanted]))

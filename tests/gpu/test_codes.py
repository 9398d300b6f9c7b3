"""What the GPU's kernels keep for backward in place of an input: the codes that the CPU's keep, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from softknee import catalogue, options
from softknee.catalogue.gates import gated
from softknee.nn import gpu, saved
from softknee.nn.pointwise import Call, Pointwise
from softknee.nn.runtime import runtime

CALL = Call()


def _operator(name: str) -> Pointwise:
    return runtime(catalogue.get(name)).operator({}, {})


def _piecewise() -> Pointwise:
    """Five slopes: three bits"""
    from softknee.lang import symbol
    from softknee.lang.nodes import number, where

    x = symbol("x")
    value = number(0)
    for border, slope in ((-2, 2), (-1, -1), (0, 4), (1, -3)):
        value = where(x > border, slope * x, value)
    return Pointwise.of(value, ("x",))


def _forms(op: Pointwise, *kept: Any) -> tuple[Any, Any]:
    """What records a CPU tensor, and what records a GPU's"""
    form = saved._made(op, *kept)
    form = form.at(()) if isinstance(form, saved.Lean) else form
    assert isinstance(form, saved.Coded)
    return form.apply, form.elsewhere


def _kept(y: Tensor) -> list[bytes]:
    """The planes that a result keeps, without what lies beyond the last whole byte"""
    planes = [t for s in y.grad_fn.saved_tensors for t in (s if s.dim() == 2 else [s])]  # type: ignore[union-attr]
    assert all(p.dtype is torch.uint8 for p in planes)
    return [bytes(p[: y.numel() // 8].tolist()) for p in planes]


@pytest.mark.parametrize("size", [1, 8, 1023, 1025, 2053])
@pytest.mark.parametrize("op", [_operator("relu"), _operator("hardtanh"), _piecewise()], ids=["1", "1", "3"])
def test_slopes_are_kept_as_on_the_cpu_and_lose_nothing(op: Pointwise, size: int) -> None:
    here, there = _forms(op, "full", 4)
    values, gradient = torch.randn(size) * 2, torch.randn(size)
    x, z = values.clone().requires_grad_(), values.cpu().requires_grad_()
    y, w = there(x, CALL, False), here(z, CALL, False)
    assert _kept(y) == _kept(w)
    assert torch.equal(y.cpu(), w)
    y.backward(gradient)
    w.backward(gradient.cpu())
    assert torch.equal(x.grad.cpu(), z.grad)  # type: ignore[union-attr]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_lean_codes_are_those_of_the_cpu(bits: int) -> None:
    op = _operator("silu")
    here, there = _forms(op, "lean", bits)
    values = torch.randn(7, 293)
    x, z = values.clone().requires_grad_(), values.cpu().requires_grad_()
    y, w = there(x, CALL, False), here(z, CALL, False)
    assert _kept(y) == _kept(w)
    assert len(_kept(y)) == bits
    assert torch.equal(y.detach(), op.evaluate((values, CALL)))  # values stay as they are
    assert _kept(there(x, CALL, False)) == _kept(y)  # every time
    (gradient,) = torch.autograd.grad(y.sum(), x)  # one number for all
    assert torch.equal(gradient.cpu(), torch.autograd.grad(w.sum(), z)[0])
    assert (1 << bits) * 0.9 < len(gradient.unique()) <= 1 << bits


@pytest.mark.parametrize("bits", [2, 8])
def test_lean_codes_of_a_gate_are_those_of_the_cpu(bits: int) -> None:
    """Both inputs' codes, and both gradients, for inputs and a gradient that lie in orders of their own"""
    op = runtime(gated(catalogue.get("silu"))).operator({}, {})
    here, there = _forms(op, "lean", bits)
    a, b, g = torch.randn(7, 293), torch.randn(293, 7).t(), torch.randn(293, 7).t()
    inputs = [t.clone().requires_grad_() for t in (a, b)]
    theirs = [t.cpu().contiguous().requires_grad_() for t in (a, b)]
    y, w = there(*inputs, CALL, False), here(*theirs, CALL, False)
    assert _kept(y) == _kept(w)
    assert len(_kept(y)) == 2 * bits
    assert torch.equal(y.detach(), op.evaluate((a, b, CALL)))
    kept = _kept(y)
    found, wanted = torch.autograd.grad(y, inputs, g), torch.autograd.grad(w, theirs, g.cpu())
    assert all(torch.equal(f.cpu(), e) for f, e in zip(found, wanted, strict=True))
    from softknee import functional as F

    with options(saved="lean", bits=bits):
        z = F.swiglu(torch.cat([a, b], 1).requires_grad_())
    assert torch.equal(z.detach(), y.detach())
    assert _kept(z) == kept


ARRANGED = {
    "transposed": lambda x: x.transpose(0, 3),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "every second": lambda x: x[..., ::2],
    "expanded": lambda x: x[:1].expand(3, *x.shape[1:]),
    "0-dimensional": lambda x: x.flatten()[0],
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("kept", ["full", "lean"])
@pytest.mark.parametrize("arranged", ARRANGED.values(), ids=ARRANGED)
def test_codes_of_any_strides(arranged: Any, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input and incoming gradient in different orders; 64-bit offsets, too."""
    op = _operator("relu" if kept == "full" else "tanh")
    x = arranged(torch.randn(3, 4, 5, 40)).detach().requires_grad_()
    g = torch.randn(x.shape[::-1]).permute(tuple(range(x.dim()))[::-1])
    found = []
    for many in (gpu._MANY, 0):
        monkeypatch.setattr(gpu, "_MANY", many)
        _, there = _forms(op, kept, 2)
        y = there(x, CALL, False)
        (gradient,) = torch.autograd.grad(y, x, g)
        found.append((y, gradient))
    assert torch.equal(y, op.evaluate((x.detach(), CALL)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    if kept == "full":
        assert torch.equal(gradient, g * (x > 0))
    else:
        one, contiguous = torch.ones_like(g), x.detach().contiguous().requires_grad_()
        (slopes,) = torch.autograd.grad(there(contiguous, CALL, False), contiguous, one)
        torch.testing.assert_close(gradient, g * slopes, rtol=1e-6, atol=0)


def test_in_place_and_differentiated_again() -> None:
    from softknee import functional as F

    x = torch.randn(6, 70, requires_grad=True)
    start = x * 1
    y = F.hardtanh(start, inplace=True)
    assert y is start
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, torch.where(x.abs() < 1, 2 * x, 0))
    (second,) = torch.autograd.grad(gradient.sum(), x)
    assert torch.equal(second, torch.where(x.abs() < 1, 2.0, 0.0))


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_the_output_is_kept_where_that_is_asked_for(name: str) -> None:
    from softknee import functional as F

    x = torch.randn(5, 60, requires_grad=True)
    with options(saved="output"):
        y = getattr(F, name)(x)
        assert [t.data_ptr() for t in y.grad_fn.saved_tensors] == [y.data_ptr()]
        (gradient,) = torch.autograd.grad(y.sum(), x)
        start = x * 1
        assert runtime(catalogue.get(name))(start, {}, inplace=True) is start
    torch.testing.assert_close(gradient, torch.autograd.grad(getattr(torch, name)(x).sum(), x)[0])
    assert torch.equal(start, y)
    torch.testing.assert_close(torch.autograd.grad(start.sum(), x)[0], gradient)


def test_a_code_takes_its_bits_and_no_more() -> None:
    """Padded to a program's block at most"""
    for size in (1, 1024, 100_000):
        assert gpu.codes_for(torch.empty(size), 3).numel() * 8 <= 3 * (size + 1023)

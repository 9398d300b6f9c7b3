"""Rows of every width: narrower than a vector, where several share one, and with something left of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import softknee.functional as F
from softknee.kernels import native
from softknee.kernels.entry import Place, Tensor
from softknee.kernels.llvm import Operand, form_of, to_llvm
from softknee.kernels.plan import Plan, compile_plan, kernel_of
from softknee.lang.nodes import symbol

WIDTHS = (1, 2, 3, 5, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 130)
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit"""
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_halves_of_short_rows_are_as_two_tensors(width: int, dtype: torch.dtype) -> None:
    for rows in (1, 2, 7, 100):
        x = torch.randn(rows, 2 * width, dtype=torch.float64).to(dtype).requires_grad_()
        gate, up = (t.detach().contiguous().requires_grad_() for t in x.chunk(2, -1))
        halves, two = F.swiglu(x), F.swiglu(gate, up)
        gradient = torch.randn_like(two)
        (slope,) = torch.autograd.grad(halves, x, gradient)
        assert _same(halves, two)
        assert _same(F.swiglu(x.detach()), two)
        assert _same(slope, torch.cat(torch.autograd.grad(two, (gate, up), gradient), -1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_weight_a_channel_of_few_elements(width: int, dtype: torch.dtype) -> None:
    """Values, and gradients, whose sums are those of float64"""
    x = torch.randn(3, 5, width, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.linspace(-1, 1, 5, dtype=torch.float64).to(dtype).requires_grad_()
    result = F.prelu(x, weight)
    apart = [F.prelu(x.detach()[:, k].contiguous(), weight.detach()[k : k + 1]) for k in range(5)]
    assert _same(result, torch.stack(apart, 1))
    assert _same(F.prelu(x.detach(), weight.detach()), result)
    gradient = torch.randn_like(result)
    for _ in range(2):  # as it is found out, and as it is kept
        slopes = torch.autograd.grad(F.prelu(x, weight), (x, weight), gradient)
        wide = [t.detach().double().requires_grad_() for t in (x, weight)]
        wanted = torch.autograd.grad(torch.nn.functional.prelu(*wide), wide, gradient.double())
        tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {}
        for got, right in zip(slopes, wanted, strict=True):
            torch.testing.assert_close(got, right.to(dtype), **tolerance)


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
@pytest.mark.parametrize("masked", [True, False])
def test_with_masked_instructions_and_without(storage: Any, masked: bool) -> None:
    x, g = symbol("x"), symbol("g")
    for access in ("row", "each"):
        inputs = (("x", Operand(storage)), ("g", Operand(storage, access)))  # type: ignore[arg-type]
        plan = Plan(((x * g, Operand(storage)),), inputs)
        form = form_of([i for _, i in inputs], [plan.outputs[0][1]])
        features = native.features() - (frozenset() if masked else {"avx512bw"})
        kernel = native.load_text(to_llvm(kernel_of(plan), features), form)
        dtype = getattr(torch, storage)
        for width in (1, 3, 16, 21, 70) if access == "row" else (1, 3, 16, 21):
            a = torch.randn(9, 2 * width).to(dtype)
            b = torch.randn(9, width if access == "row" else 1).to(dtype)
            given = [Tensor(storage, tuple(t.shape), t.stride()) for t in (a, b)]
            made = [Tensor(storage, (9, width), (width, 1))]
            strides = (2 * width, b.shape[1], width)
            geometry = [9, width, 4096, 1, 1, 9, *strides]
            right = [Place(0, width * a.element_size()), Place(1), Place(2)]
            on = kernel.bound(geometry, 9 * width, given, made, right)
            assert _same(on(a, b), a[:, width:] * b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_a_bound_call_are_rounded_once(dtype: torch.dtype) -> None:
    """Sums that nearly cancel, and one that is the middle between two numbers of 16 bits"""
    x = -torch.tensor([1.0, 2.0**-8, 2.0**-20, -3.0, 1e4], dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.tensor([0.5], dtype=dtype, requires_grad=True)
    gradient = -torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64).to(dtype)
    total = sum(float(a) * float(b) for a, b in zip(x.tolist(), gradient.tolist(), strict=True) if a < 0)
    for _ in range(3):
        slope = torch.autograd.grad(F.prelu(x, weight), weight, gradient)[0]
        assert slope.dtype == dtype
        assert float(slope) == float(torch.tensor(total, dtype=torch.float64).to(dtype))


def test_a_bound_call_declines_other_parts() -> None:
    plan = Plan(((symbol("x") * symbol("x"), Operand("float32")),), (("x", Operand("float32")),))
    whole, part = Tensor("float32", (4, 6), (6, 1)), Tensor("float32", (4, 3), (3, 1))
    bound = compile_plan(plan).bound(
        [4, 3, 4096, 1, 1, 4, 6, 3], 12, [whole], [part], [Place(0, 12), Place(1)]
    )
    x = torch.randn(4, 6)
    assert torch.equal(bound(x), x[:, 3:] ** 2)
    for others in ((), (x, x), (x.t().contiguous(),), (x.double(),), (x[:, ::2],)):
        assert bound(*others) is None

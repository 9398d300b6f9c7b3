"""The softmax family against torch and against bisection in mpmath; masks, extremes, derivatives of every kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest
import torch
import torch.nn.functional as T
from torch import Tensor

from softknee import functional as F
from softknee import nn
from softknee.nn import normalisers

INF = float("inf")
SPARSE: dict[str, Callable[..., Tensor]] = {
    "sparsemax": F.sparsemax,
    "entmax15": F.entmax15,
    "entmax(1.3)": lambda x, **k: F.entmax(x, 1.3, **k),
    "entmax(3)": lambda x, **k: F.entmax(x, 3.0, **k),
    "entmax(tensor)": lambda x, **k: F.entmax(x, torch.full((1,) * x.dim(), 1.7, dtype=torch.float64), **k),
}
FAMILY: dict[str, Callable[..., Tensor]] = {**SPARSE, "softmax1": F.softmax1}


def drawn(*shape: int, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(3)) * scale).to(dtype).requires_grad_()


def bisected(row: list[float], alpha: float) -> list[Any]:
    """entmax by its definition: the weights ((alpha - 1) x - tau)_+^(1 / (alpha - 1)) that sum to 1."""
    with mp.workdps(40):
        e = mp.mpf(alpha) - 1
        if e == 0:
            grown = [mp.exp(mp.mpf(v) - max(row)) for v in row]
            return [g / sum(grown) for g in grown]
        scores = [e * mp.mpf(v) for v in row]
        low, high = max(scores) - 1, max(scores)

        def weights(tau: Any) -> list[Any]:
            return [max(s - tau, mp.mpf(0)) ** (1 / e) for s in scores]

        for _ in range(140):
            middle = (low + high) / 2
            low, high = (middle, high) if sum(weights(middle)) >= 1 else (low, middle)
        return weights(low)


@pytest.mark.parametrize("alpha", [1.0, 1.0001, 1.1, 1.5, 1.9, 2.0, 2.7, 5.0])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-14), (torch.float32, 4e-7)])
def test_entmax_is_its_definition(alpha: float, dtype: torch.dtype, bound: float) -> None:
    # above 2 the smallest weights are roots of differences, and hang on every digit of them
    bound = bound if alpha <= 2 else bound ** (1 / (alpha - 1)) * 2
    rows = torch.cat([drawn(3, 9), drawn(1, 9, scale=1e-3), drawn(1, 9, scale=1e4), torch.zeros(1, 9)]).to(
        dtype
    )
    for got, row in zip(F.entmax(rows, alpha).tolist(), rows.tolist(), strict=True):
        for g, w in zip(got, bisected(row, alpha), strict=True):
            assert abs(g - w) <= bound


def test_long_rows_with_ties_and_steps() -> None:
    n = 3000
    for row in (torch.zeros(n), -torch.linspace(0, 40, n).exp2().reciprocal(), 1 / torch.arange(1.0, n + 1)):
        for alpha in (1.01, 1.5, 2.0, 4.0):
            p = F.entmax(row.double(), alpha)
            assert abs(float(p.sum()) - 1) < (1e-12 if alpha <= 2 else 1e-6)
            assert bool((p >= 0).all())
            assert bool((p.diff().sign() * row.double().diff().sign() >= 0).all())  # the order is kept


def test_the_named_members() -> None:
    x = drawn(4, 6)
    for got, alpha in ((F.sparsemax(x), 2.0), (F.entmax15(x), 1.5), (T.softmax(x, -1), 1.0)):
        torch.testing.assert_close(got, F.entmax(x, alpha), rtol=1e-13, atol=1e-15)
    assert F.sparsemax(torch.tensor([1.0, 0.5, -1.0])).tolist() == [0.75, 0.25, 0.0]  # by hand
    quiet = F.softmax1(x)
    torch.testing.assert_close(quiet, torch.cat([x, torch.zeros(4, 1)], -1).softmax(-1)[:, :-1])


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_every_dimension(name: str, dim: int) -> None:
    x = drawn(3, 4, 5)
    torch.testing.assert_close(
        FAMILY[name](x, dim=dim), FAMILY[name](x.movedim(dim, -1), dim=-1).movedim(-1, dim)
    )


@pytest.mark.parametrize("name", FAMILY)
def test_derivatives_of_second_order(name: str) -> None:
    x = drawn(3, 5)
    assert torch.autograd.gradcheck(FAMILY[name], (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(FAMILY[name], (x,))


@pytest.mark.parametrize("alpha", [1.05, 1.5, 2.0, 2.6])
def test_the_derivative_by_alpha(alpha: float) -> None:
    x, a = drawn(3, 5), torch.full((3, 1), alpha, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(F.entmax, (x, a), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(F.entmax, (x, a))


def test_the_derivative_by_alpha_at_softmax() -> None:
    x, one = drawn(6), torch.ones((), dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(F.entmax(x, one)[2], one)
    log = x.log_softmax(-1)
    torch.testing.assert_close(got, (log.exp() * ((log.exp() * log**2).sum() - log**2) / 2)[2])
    for small in (1e-12, 1e-6, 1e-3):  # no cancellation on the way there
        near = torch.full((), 1 + small, dtype=torch.float64, requires_grad=True)
        torch.testing.assert_close(
            torch.autograd.grad(F.entmax(x, near)[2], near)[0], got, rtol=9 * small, atol=1e-9
        )


@pytest.mark.parametrize("name", FAMILY)
def test_transforms(name: str) -> None:
    f, x = FAMILY[name], drawn(3, 5).detach()
    torch.testing.assert_close(torch.func.vmap(f)(x), f(x), rtol=1e-14, atol=0)
    torch.testing.assert_close(torch.func.vmap(f, in_dims=1, out_dims=1)(x.T), f(x).T, rtol=1e-14, atol=0)
    jacobian = torch.autograd.functional.jacobian(f, x[0])
    for made in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(made(f)(x[0]), jacobian)
    torch.testing.assert_close(torch.func.vmap(torch.func.jacrev(f))(x)[0], jacobian)


def test_vmap_over_alpha() -> None:
    x, alpha = drawn(3, 5).detach(), torch.tensor([1.0, 1.5, 2.5], dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(F.entmax)(x, alpha), F.entmax(x, alpha.reshape(3, 1)))
    torch.testing.assert_close(torch.func.vmap(F.entmax, (None, 0))(x, alpha)[1], F.entmax15(x))


@pytest.mark.parametrize("name", ["sparsemax", "entmax(tensor)", "softmax1"])
def test_compiled(name: str) -> None:
    torch._dynamo.reset()
    f, x, y = FAMILY[name], drawn(3, 5), drawn(3, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        (torch.compile(f, fullgraph=True, backend="aot_eager")(x) ** 2).sum().backward()
    (f(y) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


# Masks and extremes


@pytest.mark.parametrize("name", [*SPARSE, "softmax", "softmax1", "softmin", "log_softmax"])
def test_masks(name: str) -> None:
    f = FAMILY.get(name) or getattr(F, name)
    x = drawn(3, 4, 6)
    mask = torch.tensor([True, False, True, True, False, True]).expand(4, 6)
    nothing, rest = (-INF, 0.0) if name == "log_softmax" else (0.0, 0.0)
    got = f(x, dim=-1, mask=mask)
    assert got[..., ~mask[0]].unique().tolist() == [nothing]
    torch.testing.assert_close(got[..., mask[0]], f(x[..., mask[0]], dim=-1))
    (gradient,) = torch.autograd.grad(got[..., mask[0]].square().sum(), x)
    assert gradient[..., ~mask[0]].unique().tolist() == [rest]


@pytest.mark.parametrize("name", [*SPARSE, "softmax", "softmin", "log_softmax"])
def test_a_row_in_which_nothing_takes_part(name: str) -> None:
    f = FAMILY.get(name) or getattr(F, name)
    x, mask = drawn(2, 3), torch.tensor([[True, True, False], [False, False, False]])
    assert f(x, dim=-1, mask=mask)[1].isnan().all()
    zeros = f(x, dim=-1, mask=mask, zero_rows=True)
    assert zeros[1].tolist() == [-INF if name == "log_softmax" else 0.0] * 3
    torch.testing.assert_close(zeros[0], f(x, dim=-1, mask=mask)[0])
    weights = torch.where(zeros.isinf(), 0, zeros)
    (gradient,) = torch.autograd.grad(weights.square().sum(), x, create_graph=True)
    assert gradient[1].tolist() == [0, 0, 0]
    assert gradient[0].isfinite().all()
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert second.isfinite().all()
    assert F.softmax1(x, mask=mask)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", [*FAMILY, "softmax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_extremes(name: str, dtype: torch.dtype) -> None:
    f = FAMILY.get(name) or F.softmax
    x = (
        torch.tensor([[1e4, -1e4, 0.0], [-INF, 1e4, -INF], [-1e4, -INF, -1e4 - 1000]])
        .to(dtype)
        .requires_grad_()
    )
    p = f(x, dim=-1)
    assert p.dtype is dtype
    last = [0.0, 0.0, 0.0] if name == "softmax1" else [1.0, 0.0, 0.0]
    assert p.tolist() == [[1, 0, 0], [0, 1, 0], last]
    (gradient,) = torch.autograd.grad((p * torch.tensor([1.0, 2.0, 3.0], dtype=dtype)).sum(), x)
    assert gradient.tolist() == [[0, 0, 0]] * 3
    assert f(torch.tensor([0.0, math.nan]).to(dtype), dim=-1).isnan().all()
    assert f(torch.zeros(0, 3, dtype=dtype), dim=-1).shape == (0, 3)
    assert f(torch.zeros((), dtype=dtype), dim=-1).tolist() == (0.5 if name == "softmax1" else 1.0)


@pytest.mark.parametrize("name", [*FAMILY, "softmax"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bits_are_accumulated_in_float32(name: str, dtype: torch.dtype) -> None:
    f = FAMILY.get(name) or F.softmax
    x = (drawn(2, 4096, scale=0.5)).detach().to(dtype)
    want = f(x.double(), dim=-1)
    assert ((f(x, dim=-1).double() - want).abs() <= want * torch.finfo(dtype).eps * 0.51 + 3e-8).all()


# torch's own, and the modules


def test_torchs_results_and_signatures() -> None:
    x = drawn(2, 3, 4, 5, dtype=torch.float32)
    for name in ("softmax", "log_softmax", "softmin"):
        assert torch.equal(getattr(F, name)(x, 1), getattr(T, name)(x, 1))
        assert torch.equal(
            getattr(F, name)(x, dim=1, dtype=torch.float64), getattr(T, name)(x, dim=1, dtype=torch.float64)
        )
        with pytest.warns(UserWarning, match="Implicit dimension choice"):
            getattr(F, name)(x)
    torch.manual_seed(5)
    want = T.gumbel_softmax(x, 0.7)
    torch.manual_seed(5)
    torch.testing.assert_close(F.gumbel_softmax(x, 0.7), want)
    assert torch.equal(nn.Softmax2d()(x), torch.nn.Softmax2d()(x))
    for name in ("Softmax", "LogSoftmax", "Softmin"):
        ours, theirs = getattr(nn, name)(1), getattr(torch.nn, name)(1)
        assert isinstance(ours, getattr(torch.nn, name))
        assert repr(ours) == repr(theirs)
        assert torch.equal(ours(x), theirs(x))


def test_gumbel_softmax() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.5, 0.3, 0.2]).log().requires_grad_()
    mask = torch.tensor([[True, True, True], [True, False, True], [False] * 3]).repeat_interleave(20_000, 0)
    one = F.gumbel_softmax(logits.expand(60_000, 3), hard=True, mask=mask, zero_rows=True)
    assert one.unique().tolist() == [0, 1]  # exactly
    shares = one.detach().reshape(3, 20_000, 3).mean(1)
    expected = torch.tensor([[0.5, 0.3, 0.2], [5 / 7, 0, 2 / 7], [0, 0, 0]])
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-9).all()
    (gradient,) = torch.autograd.grad((one * torch.arange(3)).sum(), logits)
    assert gradient.isfinite().all()
    assert gradient.abs().min() > 0
    half = F.gumbel_softmax(torch.zeros(20_000, dtype=torch.float16), dim=0)
    assert half.isfinite().all()
    for randomness in ("different", "same"):
        p = torch.func.vmap(F.gumbel_softmax, randomness=randomness)(torch.zeros(4, 5))
        assert torch.equal(p[0], p[1]) is (randomness == "same")


def test_a_learned_alpha() -> None:
    module, x = nn.Entmax(1.25, learnable=True), drawn(2, 5, dtype=torch.float32)
    assert module.alpha.item() == pytest.approx(1.25)
    torch.testing.assert_close(module(x), F.entmax(x, 1.25))
    module(x).square().sum().backward()
    assert module.logit.grad.abs() > 0
    assert list(module.state_dict()) == ["logit"]
    assert repr(module) == "Entmax(alpha=1.25, dim=-1, learnable=True)"
    assert not nn.Entmax().state_dict()


def test_one_node_of_a_graph() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Sparsemax(), nn.Softmax1()))
    assert [n.target.__name__ for n in traced.graph.nodes if n.op == "call_function"] == [
        "sparsemax",
        "softmax1",
    ]
    x = drawn(2, 4)
    assert torch.equal(traced(x), F.softmax1(F.sparsemax(x)))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: F.sparsemax(x.long()), TypeError, r"int64 tensors; convert"),
        (lambda x: F.sparsemax([1.0]), TypeError, r"takes a tensor, got list"),
        (lambda x: F.entmax15(x, 2), IndexError, r"no dimension 2 in an input of shape \(2, 3\)"),
        (lambda x: F.softmax(x, 1, mask=torch.ones(2, 3)), TypeError, r"tensor of bool.*got torch\.float32"),
        (
            lambda x: F.sparsemax(x, mask=torch.ones(4, 3).bool()),
            ValueError,
            r"\(4, 3\) does not broadcast .*\(2, 3\)",
        ),
        (
            lambda x: F.softmin(x, 1, mask=torch.ones(5, 2, 3).bool()),
            ValueError,
            r"softmin: a mask of shape \(5, 2, 3\)",
        ),
        (lambda x: F.entmax(x, 0.5), ValueError, r"alpha of at least 1, got 0\.5"),
        (lambda x: F.entmax(x, torch.tensor(0.5)), ValueError, r"alpha of at least 1, got 0\.5"),
        (lambda x: F.entmax(x, torch.full((2, 3), 1.5)), ValueError, r"size 1 in dimension 1; got \(2, 3\)"),
        (lambda x: nn.Entmax(2.5, learnable=True), ValueError, r"between 1 and 2, got 2\.5"),
        (lambda x: F.gumbel_softmax(x, tau=0), ValueError, r"needs tau > 0, got 0"),
        (lambda x: F.softmax2d(x), ValueError, r"\(N, C, H, W\) or \(C, H, W\)"),
    ],
)
def test_errors_say_what_to_do(call: Callable[[Tensor], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(torch.ones(2, 3))


# The kernels of sparsemax and entmax15


@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_agree_with_torchs_operations(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every length around a vector's, along every dimension, with entries and rows that take no part."""
    f, torch_threads = getattr(F, name), torch.get_num_threads()
    torch.manual_seed(0)
    shapes = [((3, n), -1) for n in (1, 2, 15, 16, 17, 31, 33, 200)] + [
        ((2, 5, 7), 1),
        ((6, 4), 0),
        ((40, 1000), 1),
    ]
    cases = []
    for shape, dim in shapes:
        x = torch.randn(shape, dtype=dtype) * 3
        x[torch.rand(shape) < 0.2] = -math.inf
        x.movedim(dim, -1).flatten(0, -2)[0] = -math.inf
        cases.append((x * 1e4 if len(cases) == 3 else x, dim, torch.randn(shape, dtype=dtype)))
    cases.append(
        (
            torch.tensor([[1.0, math.nan, 0.0], [1.0, math.inf, 0.0], [2.0, 2.0, 2.0]], dtype=dtype),
            1,
            cases[0][2],
        )
    )

    def results(zero_rows: bool) -> list[Tensor]:
        found = []
        for x, dim, g in cases:
            leaf = x.clone().requires_grad_()
            y = f(leaf, dim, zero_rows=zero_rows)
            assert torch.equal(f(x, dim, zero_rows=zero_rows), y) or y.isnan().any()
            found += [
                y.detach(),
                torch.autograd.grad(y, leaf, g.expand_as(y) if g.shape == y.shape else torch.ones_like(y))[0],
            ]
        return found

    for zero_rows in (False, True):
        torch.set_num_threads(2)
        ours = results(zero_rows)
        torch.set_num_threads(torch_threads)
        with monkeypatch.context() as patch:
            patch.setattr(normalisers, "_by_kernel", lambda *_: None)
            theirs = results(zero_rows)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == dtype
            assert torch.allclose(
                a, b, rtol=0, atol=3e-7 if dtype == torch.float32 else 1e-13, equal_nan=True
            )

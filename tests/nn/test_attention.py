"""MultiheadAttention: torch's with softmax, our path with everything else; AdaptiveLogSoftmaxWithLoss is torch's."""

from __future__ import annotations

import inspect
import pickle
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from softknee import functional as F
from softknee import nn

SETTINGS: list[dict[str, Any]] = [
    {}, {"batch_first": True, "bias": False}, {"add_bias_kv": True, "add_zero_attn": True},
    {"kdim": 3, "vdim": 5, "batch_first": True},
]  # fmt: skip
MASKS = ("none", "attention", "float", "heads", "padding", "both")


def softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, -1)


def masks(kind: str) -> dict[str, Any]:
    attention = torch.ones(4, 6).triu(1).bool()
    padding = torch.zeros(2, 6).bool()
    padding[0, 4:] = True
    return {
        "none": {}, "attention": {"attn_mask": attention}, "float": {"attn_mask": torch.randn(4, 6).double()},
        "heads": {"attn_mask": torch.randn(4, 4, 6).double()}, "padding": {"key_padding_mask": padding},
        "both": {"attn_mask": attention, "key_padding_mask": padding},
    }[kind]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize(("setting", "mask"), list(product(SETTINGS, MASKS)))
def test_our_path_is_torchs(setting: dict[str, Any], mask: str) -> None:
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(8, 2, dtype=torch.float64, **setting).eval()
    same = nn.MultiheadAttention(8, 2, dtype=torch.float64, **setting).eval()
    ours = nn.MultiheadAttention(8, 2, dtype=torch.float64, normaliser=softmax, **setting).eval()
    for module in (same, ours):
        module.load_state_dict(theirs.state_dict())
        assert list(module.state_dict()) == list(theirs.state_dict())
    assert repr(same) == repr(theirs)
    theirs.load_state_dict(ours.state_dict())
    q = torch.randn(2, 4, 8, dtype=torch.float64)
    k = torch.randn(2, 6, setting.get("kdim", 8), dtype=torch.float64)
    v = torch.randn(2, 6, setting.get("vdim", 8), dtype=torch.float64)
    given = [q, k, v] if setting.get("batch_first") else [t.transpose(0, 1) for t in (q, k, v)]
    given_masks = masks(mask)
    for need, average in ((True, True), (True, False), (False, True)):
        want = theirs(*given, need_weights=need, average_attn_weights=average, **given_masks)
        for module in (same, ours):
            got = module(*given, need_weights=need, average_attn_weights=average, **given_masks)
            assert torch.allclose(got[0], want[0], atol=1e-12)
            assert (got[1] is None) == (want[1] is None)
            assert got[1] is None or torch.allclose(got[1], want[1], atol=1e-12)
    if mask in ("none", "attention"):
        want = theirs(q[0], k[0], v[0], **given_masks)
        got = ours(q[0], k[0], v[0], **given_masks)
        assert all(
            a.shape == b.shape and torch.allclose(a, b, atol=1e-12) for a, b in zip(got, want, strict=True)
        )


def attention(name: Any, **setting: Any) -> Any:
    torch.manual_seed(0)
    return nn.MultiheadAttention(8, 2, batch_first=True, normaliser=name, dtype=torch.float64, **setting)


def test_other_normalisers_by_the_formula() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    seen: list[Tensor] = []

    def spy(scores: Tensor) -> Tensor:
        seen.append(scores)
        return torch.softmax(scores, -1)

    attention(spy)(x, x, x)
    (scores,) = seen
    for name, want in (
        ("sigmoid", 1 / (1 + 5 * torch.exp(-scores))),
        ("relu", scores.clamp(min=0) / 5),
        ("relu2", scores.clamp(min=0) ** 2 / 5),
    ):
        got = attention(name)(x, x, x, average_attn_weights=False)[1]
        assert torch.allclose(got, want, atol=1e-12), name
    for name, weights in (
        ("sparsemax", F.sparsemax(scores)), ("entmax15", F.entmax15(scores)), ("softmax1", F.softmax1(scores)),
        ("entmax(alpha=1.3)", F.entmax(scores, 1.3)), ("leaky_relu(negative_slope=0.5)", F.leaky_relu(scores, 0.5) / 5),
    ):  # fmt: skip
        layer = attention(name)
        got = layer(x, x, x, average_attn_weights=False)[1]
        assert torch.allclose(got, weights, atol=1e-12)
        again = pickle.loads(pickle.dumps(layer))
        assert torch.equal(again(x, x, x)[0], layer(x, x, x)[0])
        assert repr(name) in repr(again)


def test_a_normaliser_that_learns() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    layer = attention(nn.Entmax(1.5, learnable=True))
    assert [n for n in layer.state_dict() if "logit" in n] == ["normaliser.logit"]
    layer(x, x, x)[0].square().sum().backward()
    assert layer.normaliser.logit.grad.abs() > 0


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("setting", [{"normaliser": "relu"}, {"zero_rows": True}])
def test_torchs_encoder_leaves_its_fast_path(setting: dict[str, Any]) -> None:
    """In evaluation torch's layer computes softmax attention itself, from the weights, unless told not to."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    layer.self_attn = nn.MultiheadAttention(8, 2, batch_first=True, **setting)
    encoder = torch.nn.TransformerEncoder(layer, 2).eval()
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 2 + [True] * 3])
    want = encoder(x, src_key_padding_mask=padding).detach()
    with torch.no_grad():
        assert torch.allclose(encoder(x, src_key_padding_mask=padding), want, atol=1e-6)
    with pytest.raises(ValueError, match="enable_nested_tensor=False"):
        layer.self_attn(*[torch.nested.nested_tensor([x[0], x[1]])] * 3)


def test_masked_keys_have_no_weight() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(5, 5).triu(1).bool()
    mask[0] = True  # the first query sees nothing
    for name in ("sigmoid", "relu", "softplus", "tanh"):
        out, weights = attention(name)(x, x, x, attn_mask=mask)
        assert not weights[:, mask].any()
        (slope,) = torch.autograd.grad(out.sum(), x)
        assert slope.isfinite().all()


NORMALISERS = ("softmax", "sparsemax", "entmax15", "softmax1", "sigmoid", "relu", softmax)


@pytest.mark.parametrize("name", NORMALISERS)
def test_rows_without_a_key_give_zeros_on_request(name: Any) -> None:
    """A causal mask and a padding mask that together leave a query without keys."""
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    given: dict[str, Any] = {
        "attn_mask": torch.ones(5, 5).triu(1).bool(),
        "key_padding_mask": torch.zeros(2, 5).bool(),
    }
    given["key_padding_mask"][1, :2] = True  # the second sample's first two queries see nothing
    layer, plain = attention(name, zero_rows=True), attention(name)
    for need in (True, False):
        out, weights = layer(x, x, x, need_weights=need, **given)
        want, usual = plain(x, x, x, need_weights=need, **given)
        assert torch.equal(out[1, :2], layer.out_proj.bias.expand(2, -1))
        keep = torch.ones(2, 5).bool()
        keep[1, :2] = False
        assert torch.allclose(out[keep], want[keep], atol=1e-12)
        if need:
            assert not weights[1, :2].any()
            assert torch.allclose(weights[keep], usual[keep], atol=1e-12)
        (slope,) = torch.autograd.grad(out.sum(), x)
        assert slope.isfinite().all()
    as_numbers = torch.zeros(5, 5).masked_fill(
        given["attn_mask"], float("-inf")
    )  # float32, for float64 scores
    padding = torch.zeros(2, 5).masked_fill(given["key_padding_mask"], float("-inf"))
    again = layer(x, x, x, attn_mask=as_numbers, key_padding_mask=padding)[0]
    assert torch.allclose(again, out, atol=1e-12)
    assert "zero_rows=True" in repr(layer)


def test_signatures_are_torchs() -> None:
    for method in ("__init__", "forward"):
        wanted = inspect.signature(getattr(torch.nn.MultiheadAttention, method)).parameters
        given = inspect.signature(getattr(nn.MultiheadAttention, method)).parameters
        kept = {n: p for n, p in given.items() if n not in ("normaliser", "zero_rows")}
        assert [(p.name, p.default, p.kind) for p in kept.values()] == [
            (p.name, p.default, p.kind) for p in wanted.values()
        ]


@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_transforms() -> None:
    layer = attention("entmax15", zero_rows=True)
    x = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(5, 5).tril().bool()  # the last query sees nothing

    def call(x: Tensor) -> Tensor:
        return layer(x, x, x, attn_mask=mask)[0]

    want = call(x)
    (slope,) = torch.autograd.grad(want.sum(), x)
    assert torch.allclose(torch.func.vmap(call)(x), want, atol=1e-12)
    got = torch.compile(call, backend="aot_eager", fullgraph=True)(x)
    assert torch.allclose(got, want, atol=1e-12)
    assert torch.allclose(torch.autograd.grad(got.sum(), x)[0], slope, atol=1e-12)
    assert torch.allclose(layer.bfloat16()(*[x.bfloat16()] * 3, attn_mask=mask)[0].double(), want, atol=0.02)


def test_it_learns_and_drops() -> None:
    layer, x = attention("relu", dropout=0.5), torch.randn(2, 5, 8, dtype=torch.float64)
    layer(x, x, x)[0].square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in layer.parameters())
    assert not torch.equal(layer(x, x, x)[0], layer(x, x, x)[0])
    layer.eval()
    assert torch.equal(layer(x, x, x)[0], layer(x, x, x)[0])


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: attention("Sparsmax"), ValueError, r"no normaliser 'Sparsmax' \(did you mean 'sparsemax'\?\).*softmax1"),
        (lambda: attention(3), ValueError, "3"),
        (lambda: attention("entmax(alpha=0.3)"), ValueError, "alpha of at least 1, got 0.3"),
        (lambda: attention("leaky_relu(slope=1)"), TypeError, "slope"),
        (lambda: attention("prelu"), TypeError, "prelu.*weight.*give a module"),
        (lambda: attention("softmax", dropout=1.5), ValueError, "from 0 to 1, got 1.5"),
        (lambda: attention("relu")(*[torch.randn(1, 2, 7).double()] * 3), ValueError, "query must have 8 features, got 7"),
        (lambda: attention("relu")(*[torch.randn(1, n, 8).double() for n in (2, 3, 4)]), ValueError, "1 x 2, 1 x 3, 1 x 4"),
        (lambda: attention("relu")(*[torch.randn(1, 2, 8).double()] * 3, attn_mask=[1]), TypeError, "attn_mask.*list"),
        (lambda: attention("relu")(*[torch.randn(8).double()] * 3), ValueError, "dimensions"),
        (lambda: attention("relu")(*[torch.randn(1, 2, 8).double()] * 3, is_causal=True), RuntimeError, "mask"),
        (
            lambda: attention("relu")(*[torch.randn(1, 2, 8).double()] * 3, attn_mask=torch.zeros(3, 2)),
            RuntimeError,
            r"\(2, 2\).*\(3, 2\)",
        ),
        (
            lambda: attention("relu")(*[torch.randn(1, 2, 8).double()] * 3, key_padding_mask=torch.zeros(1, 2).int()),
            TypeError,
            "int32",
        ),
        (lambda: attention(lambda s: s.sum(-1))(*[torch.randn(1, 2, 8).double()] * 3), ValueError, "shape"),
    ],
)  # fmt: skip
def test_clear_errors(call: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        call()


def test_the_adaptive_softmax_is_torchs() -> None:
    assert nn.AdaptiveLogSoftmaxWithLoss is torch.nn.AdaptiveLogSoftmaxWithLoss
    torch.manual_seed(0)
    layer = nn.AdaptiveLogSoftmaxWithLoss(6, 20, cutoffs=[5, 10], div_value=2.0)
    x, target = torch.randn(30, 6), torch.randint(20, (30,))
    table = layer.log_prob(x)
    assert torch.allclose(table.exp().sum(1), torch.ones(30), atol=1e-5)
    assert torch.allclose(layer(x, target).loss, -table[torch.arange(30), target].mean(), atol=1e-5)

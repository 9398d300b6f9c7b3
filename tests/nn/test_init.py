"""`softknee.init`: gains of anything, and which activation follows which layer."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import softknee as sk
from softknee import catalogue, nn
from softknee import functional as F
from softknee.analysis import gaussian
from softknee.catalogue.gates import gated


def std(layer: Any) -> float:
    """The standard deviation of the weights times sqrt(fan_in)."""
    return float(layer.weight.detach().std()) * math.sqrt(layer.weight[0].numel())


# Gains (E f^2 of a standard normal input, known values)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("relu", 1.4142136), ("elu", 1.2452), ("selu", 1.0), ("gelu", 1.5335), ("silu", 1.6765),
        ("mish", 1.4868), ("tanh", 1.5925), ("sigmoid", 1.8462), ("softplus", 1.0419),
    ],
)  # fmt: skip
def test_gains(name: str, want: float) -> None:
    assert sk.init.gain(name) == pytest.approx(want, abs=6e-5)


def test_a_gain_takes_parameters_modules_and_ones_own() -> None:
    assert sk.init.gain("leaky_relu", negative_slope=0.2) == pytest.approx(math.sqrt(2 / 1.04))
    assert sk.init.gain(torch.nn.LeakyReLU(0.2)) == pytest.approx(math.sqrt(2 / 1.04))
    assert sk.init.gain(nn.PReLU(3, init=0.2)) == pytest.approx(math.sqrt(2 / 1.04), rel=1e-6)
    assert sk.init.gain("gelu", approximate="tanh") == sk.init.gain("gelu_tanh")
    assert sk.init.gain(sk.define("doubled", lambda x: 2 * x)) == pytest.approx(0.5)
    assert sk.init.gain(None) == 1


@pytest.mark.parametrize(
    ("name", "want"),
    [("tanh", 1.304), ("gelu", 1.547), ("silu", 1.680), ("mish", 1.463), ("elu", 1.229), ("selu", 0.938)],
)
def test_the_edge_of_chaos(name: str, want: float) -> None:
    point = sk.init.edge_of_chaos(name, bias_std=0.2)
    assert point.gain == pytest.approx(want, abs=6e-4)
    # both of its equations, in samples of another kind than the quadrature's
    z = torch.special.ndtri((torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000)
    x = (math.sqrt(point.q) * z).requires_grad_()
    y = getattr(F, name)(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert point.gain**2 * float(slope.square().mean()) == pytest.approx(1, abs=1e-4)
    assert point.gain**2 * float(y.detach().square().mean()) + 0.04 == pytest.approx(point.q, rel=1e-4)


def test_the_edge_of_a_scale_free_function_needs_no_bias() -> None:
    assert sk.init.edge_of_chaos("relu", bias_std=0).gain == pytest.approx(math.sqrt(2))
    with pytest.raises(ValueError, match="bias_std=0"):
        sk.init.edge_of_chaos("relu")


def test_gains_of_gated_units() -> None:
    """E f(z, u)^2 of independent inputs: a product where the other input is linear."""
    for name, activation in (("swiglu", "silu"), ("geglu", "gelu"), ("reglu", "relu"), ("siglu", "sigmoid")):
        assert sk.init.gain(name) == pytest.approx(sk.init.gain(activation), rel=1e-12)
    assert sk.init.gain("bilinear") == pytest.approx(1)
    assert sk.init.gain("gtu") == pytest.approx(sk.init.gain("sigmoid") * sk.init.gain("tanh"), rel=1e-12)
    torch.manual_seed(0)
    z = torch.randn(2, 2_000_000, dtype=torch.float64)
    for unit in (nn.ClampedSwiGLU(), nn.GatedUnit("elu", alpha=0.5, limit=1.5, offset=0.3)):
        want = unit(*z).square()
        assert float(want.mean()) ** -0.5 == pytest.approx(
            sk.init.gain(unit), rel=5 * float(want.std()) / 2_000_000**0.5
        )
    found = gaussian(gated(catalogue.get("silu")))
    a, b = z.requires_grad_().unbind()
    y = F.swiglu(a, b)
    (slopes,) = torch.autograd.grad(y.sum(), z)
    assert float(slopes.square().sum(0).mean()) == pytest.approx(found.slope_second_moment, rel=0.01)
    assert float(
        F.swiglu(1.01 * a, 1.01 * b).detach().square().mean() / y.detach().square().mean()
    ) == pytest.approx(1.0201**found.variance_slope, rel=1e-3)


# One tensor


def test_torchs_own_are_torchs() -> None:
    assert sk.init.kaiming_normal_ is torch.nn.init.kaiming_normal_
    assert nn.init is torch.nn.init
    a, b = torch.empty(30, 20, 3, 3), torch.empty(30, 20, 3, 3)
    for mode in ("fan_in", "fan_out"):
        for ours, theirs in (
            (sk.init.he_normal_, sk.init.kaiming_normal_),
            (sk.init.he_uniform_, sk.init.kaiming_uniform_),
        ):
            ours(a, "relu", mode, generator=torch.Generator().manual_seed(1))
            theirs(b, mode=mode, nonlinearity="relu", generator=torch.Generator().manual_seed(1))
            assert torch.allclose(a, b, rtol=1e-6)  # fmt: skip


def test_lecun() -> None:
    torch.manual_seed(0)
    weight = torch.empty(100, 40, 5)
    for fill in (sk.init.lecun_normal_, sk.init.lecun_uniform_):
        assert float(fill(weight).var()) == pytest.approx(1 / 200, rel=0.05)
    assert float(weight.detach().abs().max()) <= math.sqrt(3 / 200)


# What follows which layer


class Functional(torch.nn.Module):
    """Calls of every kind, a residual, a gate, and a path around an activation."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("a", "b", "c", "d", "gate", "up", "last"):
            setattr(self, name, nn.Linear(200, 200))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.nn.functional.leaky_relu(self.a(x), 0.3)
        x = F.mish(self.b(x))
        x = torch.tanh(self.c(x)) + x
        x = self.d(x).flatten(1).relu()
        return self.last(torch.nn.functional.silu(self.gate(x)) * self.up(x))


def test_functional_calls_are_read() -> None:
    torch.manual_seed(0)
    model = Functional()
    report = sk.init.initialize_(model)
    assert {r.layer: r.activation for r in report.rows} == {
        "a": "leaky_relu(negative_slope=0.3)", "b": "mish", "c": "tanh", "d": "relu", "gate": "silu", "up": None,
        "last": None,
    }  # fmt: skip
    assert not report.unseen
    for row in report.rows:
        layer = model.get_submodule(row.layer)
        assert std(layer) == pytest.approx(row.gain, rel=0.02)
        assert not layer.bias.any()
    assert std(model.a) == pytest.approx(math.sqrt(2 / 1.09), rel=0.02)
    assert "leaky_relu" in str(report)


class Gates(torch.nn.Module):
    """A unit of every kind: in a block, of two calls, of the halves of one tensor, and as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.GatedMLP(64, 64, "gelu", approximate="tanh")
        for name in ("a", "b", "d", "last"):
            setattr(self, name, nn.Linear(64, 64))
        self.c, self.e = nn.Linear(64, 128), nn.Linear(64, 128)
        self.unit = nn.ClampedSwiGLU()

    def forward(self, x: Tensor) -> Tensor:
        x = F.reglu(self.a(self.block(x)), self.b(x))
        x = F.gated_unit(self.c(x), activation="mish", limit=2.0)
        return self.last(self.unit(self.e(F.glu(self.d(x).repeat(1, 2)))))


def test_gated_units_are_read() -> None:
    report = sk.init.initialize_(Gates(), scheme="he")
    rows = {r.layer: (r.activation, r.gain) for r in report.rows}
    for layers, unit, name in (
        (("block.gate_proj", "block.up_proj"), nn.GatedUnit("gelu", approximate="tanh"), "gated_gelu(approximate=tanh)"),
        (("a", "b"), "reglu", "reglu"), (("c",), nn.GatedUnit("mish", limit=2.0), "gated_mish(limit=2)"),
        (("e",), nn.ClampedSwiGLU(), "clamped_swiglu"),
    ):  # fmt: skip
        for layer in layers:
            assert rows[layer] == (name, pytest.approx(sk.init.gain(unit) ** 0.5))
    before = {r.layer: r.gain for r in sk.init.initialize_(Gates(), side="before").rows}
    assert before["block.down_proj"] == pytest.approx(sk.init.gain("gelu", approximate="tanh"))
    assert before["last"] == pytest.approx(sk.init.gain(nn.ClampedSwiGLU()))
    with pytest.raises(TypeError, match="by its name or as a module"):
        sk.init.gain(3)


def test_the_activation_before_is_read() -> None:
    report = sk.init.initialize_(Functional(), side="before")
    assert {r.layer: r.activation for r in report.rows} == {
        "a": None, "b": "leaky_relu(negative_slope=0.3)", "c": "mish", "d": "tanh", "gate": "relu", "up": "relu",
        "last": None,
    }  # fmt: skip


class Untraceable(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 8, 3))
        self.body = Functional()
        self.dense = nn.Linear(4, 4)
        self.act = nn.SiLU()
        self.out = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.head(x)) if x.sum() > 0 else self.body(x)


def test_what_cannot_be_traced_is_read_piece_by_piece_and_named() -> None:
    report = sk.init.initialize_(Untraceable())
    found = {r.layer: r.activation for r in report.rows}
    assert found["head.0"] == "gelu"
    assert found["body.d"] == "relu"
    assert found["dense"] == "silu"
    assert found["out"] is None
    assert "Untraceable" in report.unseen[0]
    told = sk.init.initialize_(nn.Sequential(nn.GRU(2, 2))).unseen
    assert told[-2:] == (
        "0: a recurrent layer, left as it is",
        "no linear or convolutional layer to initialise",
    )


def test_other_libraries_activations_count() -> None:
    made = type(
        "NewGELUActivation",
        (torch.nn.Module,),
        {"__module__": "transformers.activations", "forward": lambda s, x: x},
    )
    model = nn.Sequential(nn.Linear(4, 4), made(), nn.Linear(4, 4))  # fmt: skip
    assert sk.init.initialize_(model).rows[0].activation == "gelu_tanh"


def test_schemes_distributions_and_bias() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 600), nn.Tanh(), nn.Linear(600, 300))
    first, last = model[0], model[2]
    gain = sk.init.gain("tanh")
    sk.init.initialize_(model, "xavier", bias=0.1, distribution="uniform")
    assert float(first.weight.detach().std()) == pytest.approx(gain * math.sqrt(2 / 900), rel=0.02)
    assert float(first.weight.detach().abs().max()) <= gain * math.sqrt(6 / 900)
    assert torch.equal(first.bias, torch.full((600,), 0.1))
    assert not last.bias.any()
    sk.init.initialize_(model, "lecun")
    assert std(first) == pytest.approx(1, rel=0.02)
    sk.init.initialize_(model, "edge_of_chaos", bias_std=0.3)
    assert std(first) == pytest.approx(sk.init.edge_of_chaos("tanh", bias_std=0.3).gain, rel=0.02)
    assert float(first.bias.detach().std()) == pytest.approx(0.3, rel=0.1)
    sk.init.initialize_(model, activation="relu")
    assert std(first) == pytest.approx(math.sqrt(2), rel=0.02)
    assert std(last) == pytest.approx(1, rel=0.02)


def test_it_keeps_the_variance_and_the_generator() -> None:
    """With the gain of the activation before, pre-activations have variance 1 in every layer."""
    torch.manual_seed(0)
    layers = [m for _ in range(10) for m in (nn.Linear(512, 512), nn.Tanh())]
    model = nn.Sequential(*layers)
    sk.init.initialize_(model, side="before", generator=torch.Generator().manual_seed(3))
    first = model[0].weight.clone()
    x, seen = torch.randn(256, 512), []
    for m in model:
        x = m(x)
        seen += [float(x.detach().var())] if isinstance(m, nn.Linear) else []
    assert all(0.85 < v < 1.15 for v in seen), seen
    sk.init.initialize_(model, side="before", generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, model[0].weight)


def plain(activation: Any, depth: int, norm: bool = False) -> torch.nn.Module:
    more = [nn.LayerNorm(8)] if norm else []
    return nn.Sequential(*(m for _ in range(depth) for m in (nn.Linear(8, 8), *more, activation())))


def test_an_unstable_gain_is_told_where_it_matters() -> None:
    for name, want in (("SiLU", 1.1726), ("GELU", 1.1441)):
        with pytest.warns(UserWarning, match=r"unstable fixed point.*edge_of_chaos"):
            report = sk.init.initialize_(plain(getattr(nn, name), 12))
        assert report.unstable == {name.lower(): pytest.approx(want, abs=1e-4)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (
            plain(nn.Tanh, 12),
            plain(nn.ReLU, 30),
            plain(nn.SiLU, 2),
            plain(nn.SiLU, 12, norm=True),
        ):
            assert not sk.init.initialize_(model).unstable


def test_shared_and_computed_weights_are_left_alone_and_named() -> None:
    tied = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 5, bias=False))
    tied[3].weight = tied[0].weight
    normed = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    lazy = nn.LazyLinear(3)
    shared = nn.Linear(4, 4)
    model = nn.ModuleList([tied, normed, lazy, shared, nn.Sequential(shared)])
    before = tied[0].weight.clone()
    report = sk.init.initialize_(model)
    assert torch.equal(before, tied[0].weight)
    assert {r.layer for r in report.rows} == {"0.1", "3"}
    told = "\n".join(report.unseen)
    for text in (
        "0.3: it shares its weight with 0.0 (Embedding)",
        "1: its weight is computed",
        "2: its weight has no shape",
    ):
        assert text in told  # fmt: skip


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: sk.init.gain("reelu"), KeyError, "'relu'"),
        (lambda: sk.init.gain("relu", alpha=1), TypeError, "alpha"),
        (lambda: sk.init.gain(None, alpha=1), TypeError, "alpha"),
        (lambda: sk.init.gain(nn.Linear(2, 2)), TypeError, "Linear"),
        (lambda: sk.init.he_normal_(torch.empty(3)), ValueError, "2 dimensions"),
        (lambda: sk.init.he_normal_(torch.empty(3, 3), mode="fan"), ValueError, "'fan'"),
        (lambda: sk.init.initialize_(3), TypeError, "int"),
        (lambda: sk.init.initialize_(nn.Linear(2, 2), "hee"), ValueError, "'hee'"),
        (lambda: sk.init.initialize_(nn.Linear(2, 2), bias=math.nan), ValueError, "nan"),
        (lambda: sk.init.initialize_(nn.Linear(2, 2), "edge_of_chaos", bias=1), ValueError, "bias_std"),
        (lambda: sk.init.edge_of_chaos("tanh", bias_std=-1), ValueError, "-1"),
        (lambda: sk.init.glorot_, AttributeError, "glorot_"),
    ],
)
def test_clear_errors(call: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        call()


def test_layers_that_are_not_known_are_named() -> None:
    class Transposed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

    model = torch.nn.Sequential(Transposed(), torch.nn.ReLU(), Transposed(), torch.nn.Linear(2, 2))
    told = str(sk.init.initialize_(model))
    assert "0 and 1 more: Transposed, not a layer that is known here, left as it is" in told
    assert torch.equal(model[0].weight, torch.ones(2, 2))

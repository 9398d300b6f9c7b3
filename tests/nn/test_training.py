"""What helps in training: learnable activations on any dimension, parameter groups, penalties,
straight-through gradients, and noise that is right in every mode."""

from __future__ import annotations

import math
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import softknee as sk
from softknee import functional as F
from softknee import nn
from softknee.catalogue import Definition, Parameter
from softknee.lang import maximum, minimum, symbol
from softknee.nn.classes import module_of

LEARNABLE = [name for name in sk.names() if sk.get(name).definition.learnable]
STOCHASTIC = [name for name in sk.names() if sk.get(name).definition.training is not None]


# Learnable activations


@pytest.mark.parametrize("name", LEARNABLE)
def test_a_parameter_a_channel_on_any_dimension(name: str) -> None:
    torch.manual_seed(0)
    kind = getattr(nn, sk.get(name).definition.module)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    base = kind(4, dtype=torch.float64)
    for p in base.parameters():
        with torch.no_grad():
            p.mul_(torch.rand_like(p) / 2 + 0.75)
    want = base(x.movedim(2, 1)).movedim(1, 2)
    for dim in (2, -2):
        moved = kind(4, dim=dim, dtype=torch.float64)
        moved.load_state_dict(base.state_dict())
        assert torch.allclose(moved(x), want, rtol=1e-12, atol=1e-15)
        assert f"dim={dim}" in repr(moved)


@pytest.mark.parametrize("shape", [(8, 3), (600, 16), (2, 4, 9, 5), (300, 16, 16)])
def test_the_short_way_of_a_shape_is_torchs(shape: tuple[int, ...]) -> None:
    """From its second call on, with every gradient: of all, of the parameter alone, one number for all, batched,
    and to be differentiated again."""
    torch.manual_seed(0)
    x, w = torch.randn(shape, requires_grad=True), torch.rand(shape[1]).requires_grad_()
    g, several = torch.randn(shape), torch.randn(2, *shape)

    def results(f: Any) -> list[Tensor]:
        grad = torch.autograd.grad
        found = [f(x.detach(), w.detach()), *grad(f(x, w), (x, w), g), *grad(f(x, w), w, g)]
        found += grad(f(x, w).sum(), w)
        found += grad(f(x, w), w, several, is_grads_batched=True)
        (slope,) = grad(f(x, w), x, g, create_graph=True)
        return [*found, *grad((slope * g).sum(), w)]

    want = results(torch.nn.functional.prelu)
    for _ in range(3):
        for got, wanted in zip(results(F.prelu), want, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-3)


def test_constraints_are_put_back() -> None:
    layer = nn.PELU(3)
    with torch.no_grad():
        layer.a.copy_(torch.tensor([-1.0, 0.5, 2.0]))
    assert layer.constrain_().a.tolist() == pytest.approx([0.01, 0.5, 2.0])
    hinges = nn.SReLU(2)  # t_l <= t_r
    with torch.no_grad():
        hinges.t_l.copy_(torch.tensor([0.0, 3.0]))
    assert torch.cat([hinges.constrain_().t_l, hinges.t_r]).tolist() == pytest.approx([0, 2, 1, 2])
    with pytest.raises(IndexError, match="no dimension 9"):
        nn.SReLU(2, dim=9)(torch.randn(2, 2))
    snake = nn.Snake(4)  # alpha != 0
    with torch.no_grad():
        snake.alpha.copy_(torch.tensor([0.0, -1e-4, 1e-4, -3.0]))
    assert snake.constrain_().alpha.tolist() == pytest.approx([0.01, -0.01, 0.01, -3.0])
    unit = nn.GatedUnit("pelu", learnable=True)
    with torch.no_grad():
        unit.b.fill_(-1)
    assert unit.constrain_().b.item() == pytest.approx(0.01)
    assert unit(torch.randn(2, 4)).isfinite().all()


def test_constraints_between_parameters() -> None:
    """To the nearest point at which all of them hold."""
    x, low, high, size = (symbol(n) for n in ("x", "low", "high", "size"))
    d = Definition(
        "banded", minimum(maximum(x, low), high) * size, use="A test.", family="user",
        parameters=[Parameter("low", -1.0, learnable=True), Parameter("high", 1.0, learnable=True), Parameter("size", 1.0, learnable=True)],
        constraints=[low <= high, size * size <= 4],
    )  # fmt: skip
    layer = module_of(d)(3)
    with torch.no_grad():
        layer.low.copy_(torch.tensor([2.0, -1.0, 0.0]))
        layer.high.copy_(torch.tensor([-1.0, 1.0, 0.0]))
        layer.size.copy_(torch.tensor([-3.0, 1.0, 7.0]))
    layer.constrain_()
    assert layer.low.tolist() == pytest.approx([0.5, -1, 0])
    assert layer.high.tolist() == pytest.approx([0.5, 1, 0])
    assert layer.size.tolist() == pytest.approx([-2, 1, 2])


def test_meta_acon_computes_its_switch_from_the_channels() -> None:
    torch.manual_seed(0)
    layer, x = nn.MetaAconC(32), torch.randn(2, 32, 4, 5, requires_grad=True)
    net = layer.beta_network
    m = x.mean((2, 3))
    beta = torch.sigmoid((m @ net.reduce.weight.T + net.reduce.bias) @ net.expand.weight.T + net.expand.bias)
    want = F.acon_c(x, layer.p1, layer.p2, beta[:, :, None, None])
    assert torch.allclose(layer(x), want, atol=1e-6)
    layer(x).sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in layer.parameters())
    last = nn.MetaAconC(32, dim=-1)
    last.load_state_dict(layer.state_dict())
    assert torch.allclose(last(x.movedim(1, -1)), want.movedim(1, -1), atol=1e-6)
    with pytest.raises(ValueError, match="32 channels"):
        layer(torch.randn(2, 31))
    with pytest.raises(ValueError, match="reduction"):
        nn.MetaAconC(32, reduction=0)


# Groups and penalties


def test_weight_decay_leaves_activations_alone() -> None:
    gate = nn.SwiGLU(learnable=True) if "learnable" in nn.SwiGLU.__init__.__kwdefaults__ else nn.PReLU()
    model = nn.Sequential(
        nn.Linear(4, 4), nn.PReLU(4), nn.Sequential(nn.Swish()), torch.nn.PReLU(), nn.LayerNorm(4), nn.MetaAconC(4), gate
    )  # fmt: skip
    decayed, exempt = sk.parameter_groups(model, weight_decay=0.1)
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.1, 0.0)
    want = [model[1].weight, model[2][0].beta, model[3].weight, model[5].p1, model[5].p2, *gate.parameters()]
    assert list(map(id, exempt["params"])) == list(map(id, want))
    assert len(decayed["params"]) + len(want) == len(list(model.parameters()))
    before = model[1].weight.detach().clone()
    optimizer = torch.optim.AdamW([decayed, exempt], lr=0.1)
    sum(p.sum() * 0 for p in model.parameters()).backward()
    optimizer.step()
    assert torch.equal(model[1].weight, before)
    for layer, exempt in (
        (
            nn.MultiheadAttention(4, 2, add_bias_kv=True, normaliser=nn.Entmax(learnable=True)),
            ["normaliser.logit"],
        ),
        (nn.LSTM(2, 3, activation="swish"), ["activation.beta"]),
    ):
        groups, names = (
            sk.parameter_groups(layer, weight_decay=1),
            {id(p): n for n, p in layer.named_parameters()},
        )
        assert [names[id(p)] for p in groups[1]["params"]] == exempt
    (only,) = sk.parameter_groups(nn.Linear(2, 2), weight_decay=0)
    assert len(only["params"]) == 2
    for bad, error in ((-1, ValueError), (math.nan, ValueError), ("a", ValueError)):
        with pytest.raises(error, match="weight_decay"):
            sk.parameter_groups(model, weight_decay=bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int"):
        sk.parameter_groups(3, weight_decay=0)  # type: ignore[arg-type]


def test_penalties_in_the_loss() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2), nn.Tanh())
    x = torch.randn(7, 3)
    h = torch.relu(model[0](x))
    activity = nn.ActivityRegularizer(model, l1=0.1, l2=0.2, where="1")
    weights = nn.WeightRegularizer(model, l1=0.3)
    loss = model(x).square().mean() + activity() + weights()
    want = 0.1 * h.abs().sum() / 7 + 0.2 * h.square().sum() / 7
    want = want + 0.3 * (model[0].weight.abs().sum() + model[2].weight.abs().sum()) + model(x).square().mean()
    assert torch.allclose(loss, want)
    ours = torch.autograd.grad(loss, model[0].weight)[0]
    assert torch.allclose(ours, torch.autograd.grad(want, model[0].weight)[0], atol=1e-6)
    activity()
    model.eval()(x)
    with pytest.raises(RuntimeError, match="training mode"):
        activity()
    model.train()(x)
    activity.remove()
    assert not model[1]._forward_hooks
    with pytest.raises(ValueError, match="l1 or l2"):
        nn.WeightRegularizer(model)
    with pytest.raises(ValueError, match="no module where 'x'"):
        nn.ActivityRegularizer(model, 0.1, where="x")
    with pytest.raises(ValueError, match="functional calls"):
        nn.ActivityRegularizer(nn.Linear(2, 2), 0.1)
    with pytest.raises(TypeError, match=r"WeightRegularizer takes .*, got int"):
        nn.WeightRegularizer(3, 0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"pattern or a predicate.*slice"):
        nn.ActivityRegularizer(model, 0.1, where=slice(1))
    gated = nn.ActivityRegularizer(unit := nn.SwiGLU(), l1=1.0)
    assert torch.allclose(unit(x[:, :2]).abs().sum() / 7, gated())
    with pytest.raises(ValueError, match="nan"):
        nn.WeightRegularizer(model, math.nan)


# Straight through


def test_straight_through_is_one_value_and_anothers_slope() -> None:
    x = torch.tensor(
        [-math.inf, -2.0, -1.0, -0.3, 0.0, 0.7, 1.0, 1.5, math.inf, math.nan], requires_grad=True
    )
    for f, g, value, slope in (
        ("sign", None, torch.sign, lambda x: ((x >= -1) & (x <= 1)).float()),
        ("binary_step", "sigmoid", lambda x: torch.where(x.isnan(), x, (x >= 0).float()), lambda x: torch.sigmoid(x) * torch.sigmoid(-x)),
        (torch.round, "pass", torch.round, torch.ones_like),
        (nn.Sign(), "tanh", torch.sign, lambda x: 1 / torch.cosh(x) ** 2),
    ):  # fmt: skip
        y = nn.StraightThrough(f, g)(x)
        assert torch.equal(
            y.nan_to_num(9),
            value(x).nan_to_num(9) if f is torch.round else torch.where(x.isnan(), x, value(x)).nan_to_num(9),
        )
        (got,) = torch.autograd.grad(y.sum(), x)
        assert torch.allclose(got[:-1], slope(x.detach())[:-1], atol=1e-6)


def test_straight_through_transforms() -> None:
    layer, x = nn.StraightThrough("sign", "tanh"), torch.randn(6, dtype=torch.float64)
    slope = 1 - x.tanh() ** 2
    assert torch.allclose(torch.func.vmap(torch.func.grad(layer))(x), slope)
    assert torch.allclose(torch.func.jvp(layer, (x,), (torch.ones_like(x),))[1], slope)
    second = torch.func.vmap(torch.func.grad(torch.func.grad(layer)))(x)
    assert torch.allclose(second, -2 * x.tanh() * slope)
    assert "sign" in repr(layer)
    with pytest.raises(ValueError, match="keeps the shape"):
        nn.StraightThrough(torch.sum)(torch.ones(3))
    with pytest.raises(TypeError, match="hardtanh has no parameter 'a'"):
        nn.StraightThrough("sign", "hardtanh(a=1)")
    for bad, error, told in ((("sing",), KeyError, "sign"), ((3,), TypeError, "3"), (("threshold",), TypeError, "threshold"), (("sign", "x"), KeyError, "'x'")):  # fmt: skip
        with pytest.raises(error, match=told):
            nn.StraightThrough(*bad)
    with pytest.raises(TypeError, match="int64"):
        layer(torch.arange(3))


@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_straight_through_compiles_and_travels() -> None:
    layer = nn.StraightThrough("hardtanh(min_val=-0.5)", "tanh")
    x = torch.tensor([-2.0, -0.1, 0.4, math.inf], requires_grad=True)

    def both(x: Tensor) -> Tensor:
        return layer(x) + F.straight_through(x, "sign", "sigmoid") + F.binarize(x)

    want = both(x)
    (slope,) = torch.autograd.grad(want.sum(), x)
    got = torch.compile(both, backend="aot_eager", fullgraph=True)(x)
    assert torch.equal(got, want)
    assert torch.allclose(torch.autograd.grad(got.sum(), x)[0], slope, atol=1e-6)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))  # with kernels that were used


def test_a_binary_layer_learns_with_signs() -> None:
    torch.manual_seed(0)
    layer = nn.BinaryLinear(16, 1, bias=False)
    x = torch.randn(200, 16)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    target = torch.where(torch.randn(16) > 0, 1.0, -1.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        (layer(x)[:, 0] - x @ target).square().mean().backward()
        optimizer.step()
        layer.clip_()
    assert torch.equal(torch.where(layer.weight[0] >= 0, 1.0, -1.0), target)
    assert torch.allclose(layer(x)[:, 0], x @ target, atol=1e-5)
    assert float(layer.weight.detach().abs().max()) <= 1
    assert set(F.binarize(torch.tensor([-3.0, -0.0, 0.0, 2.0])).tolist()) == {-1.0, 1.0}
    drawn = F.binarize(torch.full((100_000,), 0.4), stochastic=True)
    assert float(drawn.mean()) == pytest.approx(0.4, abs=4 * math.sqrt(0.84 / 1e5))
    assert "stochastic=True" in repr(nn.BinaryLinear(2, 2, stochastic=True))


# Noise

N = 400_000


def moments(y: Tensor) -> tuple[float, float]:
    return float(y.double().mean()), float(y.double().square().mean())


def rectified(mean: float, std: float) -> tuple[float, float]:
    """First and second moment of max(0, X), X ~ N(mean, std^2)."""
    a = mean / std
    density, below = math.exp(-a * a / 2) / math.sqrt(2 * math.pi), (1 + math.erf(a / math.sqrt(2))) / 2
    return mean * below + std * density, (mean**2 + std**2) * below + mean * std * density


def relu6_noisy(x: float) -> tuple[float, float]:
    if not 0 < x < 6:
        return min(max(x, 0), 6), min(max(x, 0), 6) ** 2
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    weight, y = torch.exp(-z * z / 2), (x + z).clamp(0, 6)
    return float((weight * y).sum() / weight.sum()), float((weight * y * y).sum() / weight.sum())


def phi(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


# (call, x) -> the first two moments, from the mathematics alone
MOMENTS: dict[str, tuple[Any, Any]] = {
    "rrelu": (
        lambda x: F.rrelu(x, training=True),
        lambda x: (
            (x * 11 / 48, x * x * ((1 / 3) ** 3 - (1 / 8) ** 3) / 3 / (1 / 3 - 1 / 8))
            if x < 0
            else (x, x * x)
        ),
    ),
    "rrelu of the paper": (
        lambda x: F.rrelu(x, 3, 8, training=True, divisor=True),
        lambda x: (x * math.log(8 / 3) / 5, x * x * (1 / 3 - 1 / 8) / 5) if x < 0 else (x, x * x),
    ),
    "stochastic gelu": (
        lambda x: F.stochastic_gelu(x, training=True),
        lambda x: (x * phi(x), x * x * phi(x)),
    ),
    "noisy relu": (
        lambda x: F.noisy_relu(x, training=True),
        lambda x: rectified(x, math.sqrt(1 / (1 + math.exp(-x)))),
    ),
    "noisy relu6": (lambda x: F.noisy_relu6(x, training=True), relu6_noisy),
    "dropout": (lambda x: nn.Dropout(0.3)(x), lambda x: (x, x * x / 0.7)),
}


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("x", [-2.0, -0.5, 0.4, 3.0, 5.5])
def test_the_first_two_moments(name: str, x: float) -> None:
    torch.manual_seed(7)
    call, expected = MOMENTS[name]
    y = call(torch.full((N,), x, dtype=torch.float64))
    for power, want in enumerate(expected(x), 1):
        sample = y**power
        error = float(sample.std()) / math.sqrt(N)
        assert abs(float(sample.mean()) - want) <= 4.5 * error + 30 / N, (power, float(sample.mean()), want)


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("kind", ["AlphaDropout", "FeatureAlphaDropout"])
def test_alpha_dropout_keeps_mean_0_and_variance_1_under_selu(kind: str, p: float) -> None:
    torch.manual_seed(1)
    h = F.selu(torch.randn(1000, N // 1000))
    layer = getattr(nn, kind)(p)
    # one draw a channel of 2: a sample of its own for each channel
    y = layer(h.reshape(N, 1, 1) if kind.startswith("Feature") else h)
    first, second = moments(y)
    assert abs(first) < 0.01
    assert second == pytest.approx(1, abs=0.02)


def random_calls() -> dict[str, Any]:
    calls: dict[str, Any] = {n: partial(getattr(F, n), training=True) for n in STOCHASTIC}
    for kind in ("Dropout", "AlphaDropout", "FeatureAlphaDropout"):
        calls[kind] = getattr(nn, kind)(0.5)
    return calls


@pytest.mark.parametrize("name", random_calls())
def test_noise_in_every_mode(name: str) -> None:
    call, x = random_calls()[name], torch.linspace(-2, 4, 64).reshape(8, 8)
    torch.manual_seed(5)
    first = call(x)
    torch.manual_seed(5)
    assert torch.equal(first, call(x))
    assert not torch.equal(first, call(x))
    batch = x.expand(3, 8, 8).contiguous()
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(call)(batch)
    same = torch.func.vmap(call, randomness="same")(batch)
    assert torch.equal(same[0], same[1])
    different = torch.func.vmap(call, randomness="different")(batch)
    assert not torch.equal(different[0], different[1])
    if name in STOCHASTIC:
        layer = getattr(nn, sk.get(name).definition.module)().eval()
        assert torch.equal(layer(x), getattr(F, name)(x))
        assert torch.equal(layer.train()(x * 0 + 9), getattr(F, name)(x * 0 + 9)) or name == "noisy_relu"
    else:
        assert torch.equal(call.eval()(x), x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_noise_is_drawn_anew_under_compile() -> None:
    def both(x: Tensor) -> Tensor:
        return F.rrelu(x, training=True) + F.noisy_relu6(x, training=True)

    compiled = torch.compile(both, backend="aot_eager", fullgraph=True)
    x = torch.full((1000,), -1.0, requires_grad=True)
    torch.manual_seed(2)
    first = compiled(x)
    torch.manual_seed(2)
    assert torch.equal(first, compiled(x))
    assert not torch.equal(first, compiled(x))
    (slope,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(slope, -first.detach())  # the slope that was drawn
    assert 1 / 8 <= float(slope.min()) < float(slope.max()) <= 1 / 3


def test_dropout_takes_probabilities_only() -> None:
    for kind in ("Dropout", "AlphaDropout", "FeatureAlphaDropout"):
        for p in (-0.1, 1.5):
            with pytest.raises(ValueError, match=str(p)):
                getattr(nn, kind)(p)

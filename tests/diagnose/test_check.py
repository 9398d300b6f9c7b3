"""`softknee.check` on networks whose state is known."""

from __future__ import annotations

import copy
import json
import random
import warnings
from collections import UserDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.diagnosis.networks import ACTIVATIONS, FAMILIES, build, digits, train
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import softknee
from softknee.diagnose.errors import CheckError
from softknee.diagnose.records import Report
from softknee.diagnose.session import check


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def batch(features: int = 64, classes: int = 10, samples: int = 256) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, features), torch.randint(classes, (samples,))


def mlp(depth: int = 3, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(64, 64), act())], nn.Linear(64, 10))


def found(report: Report, rule: str) -> list[str]:
    return [f.layer for f in report.findings if f.rule_name == rule and f.severity != "note"]


# Healthy

CASES = [
    *(("mlp", a) for a in ACTIVATIONS),
    *((f, a) for f in FAMILIES if f != "mlp" for a in ("relu", "gelu", "tanh")),
]


@pytest.mark.parametrize(("family", "activation"), CASES)
def test_a_fresh_network_is_healthy(family: str, activation: str) -> None:
    model = build(family, activation).model
    report = check(model, digits(512), loss=F.cross_entropy)
    assert report.healthy, report
    assert not report.unseen
    assert len(report.layers) >= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_network_is_healthy(family: str) -> None:
    model = train(build(family, "gelu").model, digits(1024), epochs=3, lr=1e-3)
    report = check(model.eval(), digits(), loss=F.cross_entropy)
    assert report.healthy, report


def test_torchs_own_transformer_is_healthy_and_its_layer_is_named() -> None:
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0), 2, enable_nested_tensor=False
    )
    report = check(encoder, torch.randn(32, 8, 32))
    assert report.healthy, report
    assert [row.layer for row in report.layers] == ["layers.0.linear1", "layers.1.linear1"]


def test_without_data_it_says_what_it_ran() -> None:
    report = check(mlp())
    assert report.healthy
    assert "standard normal input of shape 256 x 64" in report.did
    assert check(nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10))).healthy


# Sick, with known truth


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_dead_units_are_the_ones_that_were_killed(layer: int) -> None:
    model = mlp()
    with torch.no_grad():
        model[layer].bias[:19] = -50
    (finding,) = [f for f in check(model, batch()).findings if f.severity == "warning"]
    assert (finding.rule_name, finding.layer) == ("dead-units", str(layer + 1))
    assert set(range(19)) <= set(finding.units)
    assert "bias" in finding.cause
    assert all(evidence.text for evidence in finding.evidence)


def test_a_unit_is_dead_over_all_batches_not_over_one() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model[0].bias.zero_()
    negative, positive = -torch.rand(300, 1) - 1, torch.rand(300, 1) + 1
    (finding,) = check(model, [(negative,)], select=["dead-units"]).findings
    assert finding.units == (0,)
    assert not check(model, [(negative,), (positive,)], select=["dead-units"]).findings


def test_units_that_face_away_from_the_data_are_a_note() -> None:
    model, data = mlp(), batch(samples=512)
    with torch.no_grad():
        model[2].weight[:10] -= 0.05  # of ordinary size, against inputs that are all positive
        model[2].bias[:10] = -0.1
    report = check(model, data, "cross_entropy")
    (finding,) = [f for f in report.findings if f.rule_name == "dead-units" and f.layer == "3"]
    assert finding.severity == "note"
    assert {*range(10)} <= {*finding.units}
    with torch.no_grad():
        model[2].weight[:10] *= 30
    assert found(check(model, data, "cross_entropy"), "dead-units") == ["3"]


@pytest.mark.parametrize("how", ["module", "function", "halves", "interleaved", "glu"])
def test_gated_units_of_ours_are_seen(how: str) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp = softknee.nn.GatedMLP(64, 32, bias=True)
            self.gate, self.up, self.both = nn.Linear(64, 32), nn.Linear(64, 32), nn.Linear(64, 64)
            self.down, self.head = nn.Linear(32, 64), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            if how == "module":
                return self.head(x + self.mlp(x))
            if how == "function":
                h = softknee.functional.geglu(self.gate(x), self.up(x))
            elif how == "glu":
                h = softknee.functional.glu(self.both(x))
            else:
                h = softknee.functional.swiglu(self.both(x), interleaved=how == "interleaved")
            return self.head(x + self.down(h))

    model, data = Gated(), batch()
    assert check(model, data, "cross_entropy").healthy
    gate = {"module": model.mlp.gate_proj, "function": model.gate}.get(how, model.both)
    part = {"halves": slice(0, 32), "interleaved": slice(0, None, 2), "glu": slice(32, None)}.get(
        how, slice(None)
    )
    with torch.no_grad():
        gate.bias[part] = -25
    report = check(model, data, "cross_entropy", fix=True)
    (finding,) = report.findings
    name = {"module": "mlp.unit", "function": "gate"}.get(how, "both")
    assert (finding.rule_name, finding.layer, finding.severity) == ("collapsed-gate", name, "error")
    assert "The bias" in finding.cause
    assert report.repaired is not None
    assert check(report.repaired, data, "cross_entropy").healthy
    with softknee.watch(model, every=1) as watch:
        for _ in range(2):
            F.cross_entropy(model(data[0]), data[1]).backward()
    assert [f.rule_name for f in watch.report().findings] == ["collapsed-gate"]


def test_a_channel_is_a_unit() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    nn.init.constant_(model[0].bias[:4], -50)
    (finding,) = [f for f in check(model, torch.randn(256, 3, 8, 8)).findings if f.rule_name == "dead-units"]
    assert finding.units == (0, 1, 2, 3)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("act", [F.relu, torch.relu, Tensor.relu, softknee.functional.relu, F.relu_])
def test_functional_calls_are_seen(act: Callable[[Tensor], Tensor], shared: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.head = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
            self.act = nn.ReLU() if shared else None

        def forward(self, x: Tensor) -> Tensor:
            f = self.act if shared else act
            return self.head(f(self.fc2(f(self.fc1(x)))))

    net = Net()
    nn.init.constant_(net.fc2.bias, -50)
    report = check(net, batch())
    assert [row.layer for row in report.layers] == ["fc1", "fc2"]
    assert found(report, "dead-units") == ["fc2"]


CAUSES: list[tuple[str, Callable[[nn.Sequential], Any], Any]] = [
    ("bias", lambda m: nn.init.constant_(m[2].bias, 20.0), None),
    ("weights are too large", lambda m: nn.init.normal_(m[2].weight, std=20.0), None),
    ("What the layer is given", lambda m: None, (1000 * torch.randn(256, 64),)),
    ("few samples", lambda m: None, (torch.cat([1000 * torch.randn(255, 64), torch.full((1, 64), 1e7)]),)),
]


@pytest.mark.parametrize(("words", "plant", "data"), CAUSES)
def test_causes_are_told_apart(words: str, plant: Callable[[nn.Sequential], Any], data: Any) -> None:
    model = mlp(act=nn.Tanh)
    plant(model)
    report = check(model, data or batch())
    findings = [f for f in report.findings if f.rule_name == "saturated-units"]
    assert findings
    assert words in findings[0].cause


def test_vanishing_names_the_layer_that_stops_the_gradient() -> None:
    model = mlp(5, nn.Tanh)
    with torch.no_grad():
        model[4].weight *= 1e-6
    report = check(model, batch(), loss=F.cross_entropy)
    assert found(report, "vanishing-gradient") == ["4"]
    assert "weights are too small" in next(
        f.cause for f in report.findings if f.rule_name == "vanishing-gradient"
    )


class Towers(nn.Module):
    """Two heads on one layer"""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(64, 64), nn.Tanh())
        self.heads = nn.ModuleList(mlp(1) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        return [head(x) for head in self.heads]


class Scaled(nn.Module):
    """Branches that begin as next to nothing, behind an activation that is on none of them"""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.stem = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64)) for _ in range(3)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in self.branches:
            x = x + self.scale * branch(x)
        return self.head(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("weights", [(1.0, 1e-6), (1e-6, 1.0)])
def test_gradients_of_layers_side_by_side_are_not_compared(weights: tuple[float, float]) -> None:
    def loss(outputs: list[Tensor], y: Tensor) -> Tensor:
        return sum(w * F.cross_entropy(o, y) for w, o in zip(weights, outputs, strict=True))  # type: ignore[return-value]

    report = check(Towers(), batch(), loss)
    assert report.healthy, report


def test_gradients_on_a_branch_are_not_compared_with_those_before_it() -> None:
    report = check(Scaled(1e-6), batch(), F.cross_entropy)
    assert report.healthy, report


def test_a_loss_of_several_terms_is_no_residual_connection() -> None:
    model = mlp(12)
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight *= 0.05

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output, y) + 1e-4 * output.square().sum()

    assert found(check(model, batch(), loss), "wrong-init")
    assert found(check(model, batch(), loss), "vanishing-gradient")


def test_stuck_sigmoids_paralyse() -> None:
    model = mlp(3, nn.Sigmoid)
    for layer in (0, 2, 4):
        nn.init.constant_(model[layer].bias, -12.0)
    report = check(model, batch(), loss=F.cross_entropy)
    assert found(report, "saturated-units") == ["1", "3", "5"]
    assert found(report, "vanishing-gradient")


def test_non_finite_names_the_first_layer() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.normalize(x) * (x - 100).log()

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), Root(), nn.Linear(64, 10))
    report = check(model, batch(), loss=F.cross_entropy)
    assert [f.layer for f in report.findings if f.rule_name == "non-finite"] == ["2"]


def masked(x: Tensor, rows: Tensor) -> Tensor:
    scores = x.unsqueeze(2) * x.unsqueeze(1)
    return (scores.masked_fill(rows, -torch.inf).softmax(2) @ x.unsqueeze(2)).squeeze(2)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.log(x), "log"),
        (lambda x: torch.log(F.relu(x)), "log"),
        (lambda x: F.relu(x.sqrt()), "sqrt"),
        (lambda x: torch.exp(1e4 * x), "exp"),
        (lambda x: (1e6 * x).half().float(), "half"),
        (lambda x: masked(x, torch.ones(64, 64, dtype=torch.bool)), "softmax"),
        (lambda x: masked(x, torch.ones(64, 64, dtype=torch.bool).triu(1)), None),
        (lambda x: torch.where(x > 0, torch.log(x), x), None),
        (lambda x: torch.fft.fft(x).real, None),
    ],
)
def test_non_finite_names_the_function(function: Callable[[Tensor], Tensor], name: str | None) -> None:
    class Has(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    model = nn.Sequential(nn.Linear(64, 64), Has(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    said = [f for f in check(model, batch(), F.cross_entropy).findings if f.rule_name == "non-finite"]
    assert [(f.layer, f.message.split()[0]) for f in said] == ([] if name is None else [("1", name)])


def test_a_loss_that_refuses_nan_is_no_end() -> None:
    model = nn.Sequential(*mlp(1), nn.Sigmoid())
    target = torch.rand(256, 10)
    with torch.no_grad():
        model[0].weight.fill_(torch.inf)
    report = check(model, (torch.randn(256, 64), target), F.binary_cross_entropy)
    assert [f.layer for f in report.errors if f.rule_name == "non-finite"] == ["0"]
    assert any("the loss failed" in text for text in report.unseen)
    with pytest.raises(CheckError, match="the loss failed"):
        check(mlp(1), (torch.randn(256, 64), target), F.binary_cross_entropy)


LOSSES = [
    (nn.Softmax(1), F.cross_entropy, "softmax-before-cross-entropy", "error"),
    (nn.LogSoftmax(1), F.cross_entropy, "softmax-before-cross-entropy", "warning"),
    (nn.Sigmoid(), nn.CrossEntropyLoss(), "softmax-before-cross-entropy", "error"),
    (nn.ReLU(), F.cross_entropy, "activation-on-logits", "error"),
    (nn.Tanh(), "cross_entropy", "activation-on-logits", "error"),
    (nn.Softmax(1), F.nll_loss, "output-activation", "error"),
    (nn.Identity(), F.nll_loss, "output-activation", "error"),
]


@pytest.mark.parametrize(("last", "loss", "rule", "severity"), LOSSES)
def test_output_and_loss(last: nn.Module, loss: Any, rule: str, severity: str) -> None:
    findings = [
        f for f in check(nn.Sequential(*mlp(1), last), batch(), loss=loss).findings if f.severity != "note"
    ]
    assert [(f.rule_name, f.severity) for f in findings] == [(rule, severity)]


@pytest.mark.parametrize(
    ("last", "loss", "target"),
    [
        (nn.LogSoftmax(1), F.nll_loss, torch.randint(10, (256,))),
        (nn.Sigmoid(), F.binary_cross_entropy, torch.rand(256, 10).round()),
        (nn.Identity(), F.binary_cross_entropy_with_logits, torch.rand(256, 10).round()),
        (nn.Identity(), F.mse_loss, torch.randn(256, 10)),
        (nn.Tanh(), F.mse_loss, torch.rand(256, 10) * 2 - 1),
        (nn.Softmax(1), lambda p, y: -torch.log(p[range(len(y)), y]).mean(), torch.randint(10, (256,))),
    ],
)
def test_what_goes_together_is_let_pass(last: nn.Module, loss: Any, target: Tensor) -> None:
    report = check(nn.Sequential(*mlp(1), last), (torch.randn(256, 64), target), loss=loss)
    assert report.healthy, report


@pytest.mark.parametrize(("shape", "fits"), [((256,), False), ((256, 1), True), ((1, 256, 1), True)])
def test_a_prediction_that_broadcasts(shape: tuple[int, ...], fits: bool) -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using a target size")
        report = check(model, (torch.randn(256, 64), torch.randn(shape)), F.mse_loss)
    assert found(report, "output-activation") == ([] if fits else ["2"])


def test_a_bottleneck_and_a_separable_convolution_are_let_pass() -> None:
    low = nn.Sequential(nn.Linear(64, 4), nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 10))
    assert not found(check(low, batch()), "linear-after-linear")
    separable = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10)
    )
    assert not found(check(separable, torch.randn(64, 8, 8, 8)), "linear-after-linear")


# What it leaves as it was


def test_nothing_is_changed() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(144, 10),
    )
    model[1].eval()
    model(torch.randn(8, 1, 8, 8)).sum().backward()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    gradients = [p.grad for p in model.parameters()]
    values = [g.clone() for g in gradients]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    check(model, (torch.randn(64, 1, 8, 8), torch.randint(10, (64,))), loss=F.cross_entropy)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert all(
        p.grad is g and torch.equal(g, v)
        for p, g, v in zip(model.parameters(), gradients, values, strict=True)
    )
    assert [m.training for m in model] == [True, False, True, True, True, True]
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    generator = torch.get_rng_state()
    check(model)  # without data: images that fit are found
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_weight_that_is_computed_stays_as_it_is() -> None:
    model = nn.Sequential(spectral_norm(nn.Linear(64, 64)), nn.ReLU(), spectral_norm(nn.Linear(64, 10)))
    before = {n: t.clone() for n, t in model.state_dict().items()}
    check(model, batch(), F.cross_entropy)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    with softknee.watch(model, every=1) as watch:
        model(batch()[0]).sum().backward()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    watch.report()
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_our_functions_are_as_fast_as_before_afterwards() -> None:
    function = softknee.functional.mish
    scope = function.__globals__
    before = scope["_op"], scope["_run"]
    check(nn.Sequential(nn.Linear(64, 8), softknee.nn.Mish(), nn.Linear(8, 2)), torch.randn(32, 64))
    assert (scope["_op"], scope["_run"]) == before
    assert "_unobserved" not in scope


# Recurrent layers


class Reads(nn.Module):
    """The last output of a recurrent layer, or of a cell, to a head"""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.rnn, self.head = layer, nn.LazyLinear(3)
        self(torch.randn(2, 6, 8))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.rnn, nn.RNNCellBase):
            state: Any = None
            for step in x.unbind(1):
                state = self.rnn(step, state)
            return self.head(state[0] if isinstance(state, tuple) else state)
        if self.rnn.num_layers == 3:
            x = nn.utils.rnn.pack_padded_sequence(x, torch.arange(len(x)) % 6 + 1, True, enforce_sorted=False)
        state = self.rnn(x)[1]
        return self.head((state[0] if isinstance(state, tuple) else state)[-1])


FUSED = [
    (nn.LSTM(8, 16, batch_first=True), "_l0", 0, "input gate of layer 0"),
    (nn.LSTM(8, 16, 3, bidirectional=True, dropout=0.5, batch_first=True), "_l1_reverse", 48, "output gate of layer 1, backwards"),
    (nn.LSTM(8, 16, 2, proj_size=4, batch_first=True), "_l1", 16, "forget gate of layer 1"),
    (nn.GRU(8, 16, batch_first=True), "_l0", 16, "update gate of layer 0"),
    (nn.GRU(8, 16, 2, bias=False, batch_first=True), "_l0", 0, "reset gate of layer 0"),
    (nn.LSTMCell(8, 16), "", 48, "output gate"),
    (nn.GRUCell(8, 16), "", 0, "reset gate"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("layer", "ending", "start", "name"), FUSED)
@pytest.mark.parametrize("state", ["shut", "open"])
def test_gates_of_fused_recurrent_layers(layer: Any, ending: str, start: int, name: str, state: str) -> None:
    model = Reads(copy.deepcopy(layer))
    data = torch.randn(64, 6, 8), torch.randint(3, (64,))
    assert check(model, data, "cross_entropy").healthy
    sign = 1.0 if state == "open" else -1.0
    with torch.no_grad():
        if hasattr(model.rnn, "bias_ih" + ending):
            getattr(model.rnn, "bias_ih" + ending)[start : start + 16] = 20 * sign
            cause = "The bias holds them there"
        else:
            model.rnn.weight_ih_l0[start : start + 16] = 0
            model.rnn.weight_ih_l0[start : start + 16, 0] = 20 * sign
            data[0][:, :, 0] = 1.0
            cause = "The weights are too large"
    report = check(model, data, "cross_entropy", select=["collapsed-gate"], fix=True)
    (finding,) = report.findings
    assert (finding.layer, finding.units) == ("rnn", tuple(range(16)))
    assert f"16 of 16 gates are always {state} ({name})" in finding.message
    assert finding.cause.startswith(cause)
    assert report.repair.after == ()


@pytest.mark.parametrize("kind", [softknee.nn.LSTM, softknee.nn.GRU])
def test_steps_in_time_are_one_activation(kind: Any) -> None:
    model = Reads(kind(8, 16, batch_first=True, activation="mish"))
    data = torch.randn(64, 6, 8), torch.randint(3, (64,))
    report = check(model, data, "cross_entropy")
    assert report.healthy, report
    assert {row.samples for row in report.layers} == {6 * 64}
    nn.init.constant_(model.rnn.bias_ih_l0[:16], -20.0)
    (finding,) = check(model, data, "cross_entropy", select=["collapsed-gate"]).findings
    assert (finding.layer, finding.units) == ("rnn", tuple(range(16)))
    assert "bias of 'rnn'" in finding.cause


def test_units_that_are_the_same() -> None:
    model = mlp(2, nn.Tanh)
    for p in model.parameters():
        nn.init.constant_(p, 0.01)
    assert found(check(model, batch(), F.cross_entropy), "identical-units") == ["0", "2"]
    nn.init.normal_(model[4].weight)  # what comes back to each is different now
    assert found(check(model, batch(), F.cross_entropy), "identical-units") == ["0"]
    scripted = torch.jit.script(mlp(1))
    assert not found(check(scripted, batch(), F.cross_entropy), "identical-units")


def test_data_that_are_at_fault() -> None:
    regression = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
    x, y = torch.randn(256, 64), torch.randn(256, 1)
    (said,) = check(regression, (x, torch.where(y > 0, y, torch.nan)), F.mse_loss).errors
    assert said.message.startswith("the targets hold")
    (said,) = check(mlp(1), (torch.ones_like(x), torch.randint(10, (256,))), F.cross_entropy).errors
    assert (said.rule_name, said.layer) == ("constant-output", "")
    assert "the data are at fault" in said.cause.lower()


class Cut(nn.Module):
    """cut: what becomes of the gradient between two layers"""

    def __init__(self, cut: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cut, self.body, self.other, self.head = cut, mlp(1), nn.Linear(64, 3), nn.Linear(10, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.cut(self.body(x))), self.other(x)


def whole_numbers(x: Tensor) -> Tensor:
    return F.one_hot(x.argmax(1), 10).float()


@pytest.mark.parametrize(
    ("cut", "layer"),
    [
        (Tensor.detach, "body.2"),
        (lambda x: x.data, "body.2"),
        (whole_numbers, "body.2"),
        (lambda x: x + (x.round() - x).detach(), None),  # straight through
    ],
)
def test_a_gradient_that_is_cut_off(cut: Callable[[Tensor], Tensor], layer: str | None) -> None:
    model = Cut(cut)

    def loss(outputs: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return F.cross_entropy(outputs[0], y)

    def said(**more: Any) -> list[tuple[str, str]]:
        every = check(model, batch(), loss, select="cut-off-gradient", **more).findings
        return [(f.severity, f.layer) for f in every]

    known = [] if layer is None else [layer]
    assert said() == [("note", name) for name in known]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert said(optimizer=optimizer) == [("warning", name) for name in known]
    model.body.requires_grad_(False)
    assert said(optimizer=optimizer) == []


class Before(nn.Module):
    """Normalised before each branch, all in one function"""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 10)
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(3))
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(F.relu(norm(x)))
        return self.head(F.relu(x))  # type: ignore[no-any-return]


def test_places_along_a_residual_stream_are_told_apart() -> None:
    model = Before()
    nn.init.constant_(model.norms[1].bias, -50.0)
    report = check(model, batch(), F.cross_entropy)
    assert [row.dead for row in report.layers] == [0, 64, 0, 0]


def test_a_last_layer_that_starts_at_zero_is_a_note() -> None:
    model = mlp()
    nn.init.zeros_(model[-1].weight)
    report = check(model, batch(), "cross_entropy")
    assert report.healthy
    (finding,) = [f for f in report.findings if f.rule_name == "constant-output"]
    assert "leave zero with the first step" in finding.cause


def test_units_that_the_draw_decides_are_a_note() -> None:
    """Behind a pooling, inputs hardly differ: half the units are on for all of them, half off."""
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    nn.init.zeros_(model[0].bias)
    x = 1 + 0.001 * torch.randn(256, 64)
    with torch.no_grad():
        w = model[0].weight
        w *= w.sum(1, keepdim=True).sign() * torch.tensor([-1.0] * 6 + [1.0] * 2).unsqueeze(1)
    report = check(model, x, select=["dead-units"])
    assert [(f.severity, len(f.units)) for f in report.findings] == [("note", 6)]
    with torch.no_grad():
        w[6:] *= -1
    assert [f.severity for f in check(model, x, select=["dead-units"]).findings] == ["error"]


# Input of every kind


def test_batches_of_every_kind() -> None:
    x, y = batch()

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(1)

        def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            logits = self.net(x)
            return (
                {"logits": logits}
                if labels is None
                else {"loss": F.cross_entropy(logits, labels), "logits": logits}
            )

    assert check(Named(), {"x": x, "labels": y}).loss is not None
    assert check(Named(), {"x": x, "labels": y}, loss=F.cross_entropy).healthy
    tokenised = UserDict({"x": x, "labels": y})  # as a tokeniser gives it
    assert check(Named(), tokenised, loss=F.cross_entropy).healthy
    assert check(Named(), [tokenised, tokenised]).layers[0].samples == 512
    assert check(mlp(1), x).healthy
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=64)
    assert check(mlp(1), loader, loss=F.cross_entropy).layers[0].samples == 256


def test_inputs_that_are_nested() -> None:
    x, y = batch()

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(1)

        def forward(self, given: Any) -> Tensor:
            a, b = given.values() if isinstance(given, dict) else given
            return self.net(a + b)  # type: ignore[no-any-return]

    pair, named = ((x, x), y), ({"a": x, "b": x}, y)
    for data in (pair, [list(pair[0]), y], named, [pair, pair], [named, named], (v for v in (pair, named))):
        assert check(Nested(), data, F.cross_entropy).healthy
    aim = (x, {"class": y})
    assert check(mlp(1), aim, lambda out, target: F.cross_entropy(out, target["class"])).loss is not None


def test_symbols_that_are_cut_are_still_data() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.net = nn.Embedding(10, 64), mlp(1)

        def forward(self, symbols: Tensor) -> Tensor:
            logits = self.net(self.embedding(symbols[:, :-1]))
            return F.cross_entropy(logits.flatten(0, 1), symbols[:, 1:].flatten())

    report = check(Language(), torch.randint(10, (64, 12)))
    assert [row.layer for row in report.layers] == ["net.1"]
    assert report.layers[0].gradient
    assert report.unseen == ()


def test_where_gradients_are_off_they_are_taken_all_the_same() -> None:
    model = mlp(1)
    for off in (torch.no_grad(), torch.inference_mode()):
        with off:
            assert check(model, batch(), F.cross_entropy).layers[0].gradient


def test_one_number_a_sample_is_an_output() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    data = torch.randn(256, 64), torch.randint(2, (256,)).float()
    assert check(model, data, "binary_cross_entropy_with_logits").healthy
    nn.init.constant_(model[2].weight, 1e-9)
    (found,) = check(model, data, "binary_cross_entropy_with_logits").errors
    assert found.rule_name == "constant-output"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check(lambda x: x, torch.randn(4, 4)), "takes a torch.nn.Module, got function"),
        (lambda: check(nn.Sequential(mlp(), nn.Unflatten(1, (3, 7))), batch()), "RuntimeError: unflatten"),
        (lambda: check(mlp(), torch.randn(8, 3)), r"failed on input of shape \(8, 3\)"),
        (lambda: check(mlp(), batch(), loss=lambda o, y: o), r"must be one number, got shape \(256, 10\)"),
        (lambda: check(mlp(), torch.randn(8, 64), loss=F.cross_entropy), "no target"),
        (lambda: check(mlp(), batch(), loss="cros_entropy"), "has a loss 'cros_entropy'"),
        (lambda: check(mlp(), []), "have no batch"),
        (lambda: check(mlp(), torch.randn(0, 64)), "no samples"),
        (lambda: check(mlp(), 3), "the data are of type int"),
        (lambda: check(mlp(), (1 // n for n in [0])), "the data failed: ZeroDivisionError"),
        (lambda: check(mlp(), (torch.randn(8, 64), 3), F.cross_entropy), "target of shape int"),
        (lambda: check(mlp(), batch(), batches=-1), "batches must be a positive integer"),
        (lambda: check(mlp(), batch(), optimizer="Adam"), "the optimizer must be one of torch's, got str"),
        (lambda: check(mlp(), batch(), loss="Linear"), "Linear failed: TypeError"),
        (lambda: check(mlp(), batch(), select="dead"), "nearest: dead-units"),
        (lambda: check(mlp(), batch(), select=["dead"]), "nearest: dead-units"),
        (lambda: check(nn.Sequential(nn.ReLU())), "the model has none: give data"),
    ],
)
def test_bad_input_is_said_clearly(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(CheckError, match=words):
        call()


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def test_models_of_which_little_is_to_be_seen() -> None:
    frozen = mlp().requires_grad_(False)
    assert any("frozen" in text for text in check(frozen, batch(), loss=F.cross_entropy).unseen)
    assert any("not one known activation" in text for text in check(nn.Linear(4, 4)).unseen)
    detached = nn.Sequential(mlp(), Detached())
    (said,) = check(detached, batch(), loss=F.cross_entropy).unseen
    assert said.startswith("no gradient could be taken")
    recurrent = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.GRU(64, 64, batch_first=True))
    (said,) = [t for t in check(recurrent, torch.randn(64, 5, 64)).unseen if "fused" in t]
    assert said.startswith("2 is computed by one fused function (gru)")
    with pytest.raises(CheckError, match="lazy layers"):
        check(nn.Sequential(nn.LazyLinear(4), nn.ReLU()), batch())
    scripted = nn.Sequential(torch.jit.script(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 10))
    assert any("TorchScript" in text for text in check(scripted, batch()).unseen)
    (said,) = [t for t in check(torch.jit.script(mlp()), batch()).unseen if "TorchScript" in t]
    assert said.startswith("the model is a TorchScript module")


def test_tensors_whose_numbers_do_not_lie_in_a_row() -> None:
    class Graphs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own: Tensor
            self.register_buffer("own", torch.eye(256).to_sparse())
            self.words, self.net = nn.EmbeddingBag(32, 64, sparse=True), mlp(1)

        def forward(self, words: Tensor, edges: Tensor) -> Tensor:
            return self.net(torch.sparse.mm(self.own, edges @ self.words(words)))  # type: ignore[no-any-return]

    model = Graphs()
    data = torch.randint(32, (256, 8)), torch.eye(256).to_sparse(), torch.randint(10, (256,))
    report = check(model, data, F.cross_entropy)
    assert report.healthy
    assert report.layers[0].gradient
    assert torch.equal(model.own.to_dense(), torch.eye(256))

    class Uneven(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nested.nested_tensor([super().forward(x[:2]), super().forward(x[2:])])  # type: ignore[no-any-return]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert any("no gradient" in text for text in check(Uneven(*mlp(1)), batch()[0]).unseen)


def test_an_overflow_is_said_once() -> None:
    model = mlp(2).half()
    with torch.no_grad():
        model[0].weight *= 1e4
        model[2].weight *= 1e3
    report = check(model, (torch.randn(256, 64).half(), torch.randint(10, (256,))), F.cross_entropy)
    assert found(report, "non-finite")
    assert not found(report, "bias-shift")


def test_half_precision() -> None:
    report = check(
        mlp().bfloat16(),
        (torch.randn(256, 64, dtype=torch.bfloat16), torch.randint(10, (256,))),
        F.cross_entropy,
    )
    assert report.healthy, report


def test_select_and_ignore_and_json() -> None:
    model = nn.Sequential(*mlp(), nn.Softmax(1))
    nn.init.constant_(model[2].bias, -50)
    assert {f.code for f in check(model, batch(), F.cross_entropy, select=["SK401"]).findings} == {"SK401"}
    assert {f.code for f in check(model, batch(), F.cross_entropy, select="SK401").findings} == {"SK401"}
    report = check(model, batch(), F.cross_entropy, ignore=["softmax-before-cross-entropy"])
    assert not found(report, "softmax-before-cross-entropy")
    data = json.loads(report.to_json())
    assert data["findings"][0]["severity"] == "error"
    assert not data["healthy"]
    assert report.exit_status == 1

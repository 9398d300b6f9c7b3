"""The batched engine against the plain loop, and what it measures."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from softknee.compare.activations import Activation, activation, gain, slope
from softknee.compare.data import load
from softknee.compare.engine import Batched, Training, train
from softknee.compare.memory import peak
from softknee.compare.plain import train_plain
from softknee.compare.protocol import Protocol, Run
from softknee.compare.specification import parse
from softknee.compare.tasks import Task

IRIS, DIGITS = load("iris"), load("digits")
DOUBLE = Protocol(width=16, epochs=2, batch_size=64, dtype="float64")


def named(text: str) -> Activation:
    return activation(parse(text)[0])


def own(function) -> Activation:
    return Activation("own", function, 1.0, 1.0, "own")


def after(runs: list[Run], contestant: Activation, task: Task, protocol: Protocol, steps: int) -> Batched:
    model = Batched(runs, contestant, task, protocol)
    batches = (batch for epoch in range(protocol.epochs) for batch in model.batches(epoch))
    for batch in itertools.islice(batches, steps):
        model.step(batch)
    return model


@torch.no_grad()
def difference(model: Batched, contestant: Activation, task: Task, protocol: Protocol, steps: int) -> float:
    """The largest difference of any parameter from the plain loop's, over all runs."""
    worst = 0.0
    for i, run in enumerate(model.runs):
        with torch.enable_grad():
            plain = train_plain(run, contestant, task, protocol, steps)
        theirs = [value for layer in plain.layers for value in (layer.weight.T, layer.bias)] + [
            *plain.learned
        ]
        own = {id(v) for site in model.builder.sites for v in site.learned.values()}
        if protocol.batch_norm:
            theirs += [value for norm in plain.norms for value in (norm.weight, norm.bias)]
            theirs += [value for norm in plain.norms for value in (norm.running_mean, norm.running_var)]
        norms = [p for p in model.parameters if p.dim() == 2]
        ours = [p for p in model.parameters if p.dim() == 3] + [p for p in model.parameters if id(p) in own]
        ours += norms + model.builder.buffers
        for one, other in zip(theirs, ours, strict=True):
            worst = max(worst, float((one.squeeze() - other[i].squeeze()).abs().max()))
    return worst


@pytest.mark.parametrize(("name", "depth"), [("relu", 1), ("gelu", 3), ("sigmoid", 6)])
@pytest.mark.parametrize("init", ["own", "same"])
def test_in_float64_the_parameters_are_the_plain_loops_after_20_steps(
    name: str, depth: int, init: str
) -> None:
    protocol, contestant = dataclasses.replace(DOUBLE, init=init, depth=depth), named(name)
    runs = [Run(name, rate, seed) for seed in range(3) for rate in (1e-3, 1e-2)]
    model = after(runs, contestant, DIGITS, protocol, 20)
    assert difference(model, contestant, DIGITS, protocol, 20) < 1e-8


@pytest.mark.parametrize(
    "change",
    [
        {"optimiser": "sgd"},
        {"noise": 0.5},
        {"scale": 3.0, "bias": 0.1},
        {"weight_penalty": 1e-2, "activation_penalty": 0.1},
        {"dropout": 0.3},
        {"samples": 200},
        {"batch_norm": True, "bias": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["gelu", "prelu"])
def test_so_they_are_in_every_condition(name: str, change: dict) -> None:
    protocol, contestant = dataclasses.replace(DOUBLE, epochs=10, **change), named(name)
    runs = [Run(name, rate, seed) for seed in range(2) for rate in (1e-3, 1e-2)]
    model = after(runs, contestant, DIGITS, protocol, 20)
    assert difference(model, contestant, DIGITS, protocol, 20) < 1e-8
    unchanged = dataclasses.replace(protocol, **{k: getattr(Protocol(), k) for k in change})
    if protocol.batch_norm == unchanged.batch_norm:
        assert difference(model, contestant, DIGITS, unchanged, 20) > 1e-8


def test_the_test_above_would_notice_another_learning_rate_order_or_split() -> None:
    contestant, runs = named("gelu"), [Run("gelu", 1e-3, seed) for seed in range(2)]
    model = after(runs, contestant, DIGITS, DOUBLE, 20)
    for changed in ({"learning_rate": 1.001e-3}, {"seed": 5}):
        model.runs = [dataclasses.replace(run, **changed) for run in runs]
        assert difference(model, contestant, DIGITS, DOUBLE, 20) > 1e-8


def test_the_same_call_gives_the_same_bits() -> None:
    protocol, contestant = Protocol(width=16, epochs=2), named("mish")
    runs = [Run("mish", 3e-3, seed) for seed in range(4)]
    one, two = (train(Training(runs, contestant, IRIS, protocol)) for _ in range(2))
    for run in runs:
        a, b = (dataclasses.replace(found[run], step_seconds=0.0) for found in (one, two))
        assert a == b


def test_a_run_does_not_depend_on_its_company() -> None:
    contestant = named("tanh")
    runs = [Run("tanh", rate, seed) for seed in range(3) for rate in (1e-3, 1e-2)]
    together = train(Training(runs, contestant, IRIS, DOUBLE))
    alone = train(Training(runs[3:4], contestant, IRIS, DOUBLE))
    np.testing.assert_allclose(together[runs[3]].train_loss, alone[runs[3]].train_loss, rtol=1e-10)


def test_a_run_that_diverges_leaves_the_others_alone() -> None:
    contestant = own(lambda z: torch.where(z.abs() < 1e3, z, math.nan))
    good, bad = Run("own", 1e-3, 0), Run("own", 1e8, 0)
    found = train(Training([bad, good], contestant, IRIS, DOUBLE))
    alone = train(Training([good], contestant, IRIS, DOUBLE))
    assert found[bad].failure == "diverged"
    assert found[bad].test_score == 0.0
    assert found[good].failure != "diverged"
    np.testing.assert_allclose(found[good].train_loss, alone[good].train_loss, rtol=1e-10)


def test_a_network_that_learns_nothing_is_stuck() -> None:
    run = Run("own", 1e-3, 0)
    assert train(Training([run], own(lambda z: 0 * z), IRIS, DOUBLE))[run].failure == "stuck"


def test_it_learns() -> None:
    runs = [Run("relu", 1e-2, seed) for seed in range(3)]
    protocol = Protocol(depth=1, width=32, epochs=30, batch_size=16)
    for outcome in train(Training(runs, named("relu"), IRIS, protocol)).values():
        assert outcome.test_score > 0.85
        assert outcome.failure == ""
        assert outcome.train_loss[-1] < outcome.train_loss[0] / 2
        assert len(outcome.validation_curve) == 30
        assert outcome.together == 3
        assert outcome.step_seconds > 0


def test_dead_and_saturated_shares_of_a_known_network() -> None:
    model = Batched([Run("relu", 1e-3, 0)], named("relu"), IRIS, DOUBLE)
    with torch.no_grad():
        model.parameters[1][0, 0, :4] = -1e6  # four of sixteen units of the first layer never fire,
        model.parameters[1][0, 0, 4:] = 1e6  # the others always do
        model.parameters[2][:] = 0.0
        model.parameters[3][0, 0, :2] = -1.0  # two of the second layer's never fire
        model.parameters[3][0, 0, 2:] = 1.0
    dead, saturated = model.health()
    assert dead[0].tolist() == [0.25, 0.125]
    np.testing.assert_allclose(saturated[0], [0.25, 0.125])


def test_progress_is_told_after_every_step() -> None:
    seen: list[float] = []
    protocol = Protocol(epochs=4, batch_size=30)  # of 90 samples
    train(
        Training([Run("relu", 1e-3, 0)], named("relu"), IRIS, protocol), lambda share, _: seen.append(share)
    )
    assert seen == pytest.approx([step / 12 for step in range(1, 13)])


@pytest.mark.parametrize("steps", [1, 7, 9], ids=["first", "middle of an epoch", "end of one"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gelu", {"noise": 0.5, "patience": 2}),
        ("prelu", {"dropout": 0.3, "batch_norm": True, "optimiser": "sgd"}),
    ],
    ids=str,
)
def test_a_stopped_training_goes_on_to_the_same_bits(name: str, change: dict, steps: int) -> None:
    runs = [Run(name, rate, seed) for rate in (1e-3, 3e-2) for seed in range(2)]
    protocol = Protocol(width=8, epochs=6, batch_size=30, **change)
    training = Training(runs, named(name), IRIS, protocol)
    states: list[bytes] = []
    begun: list[float] = []

    def stop(_: float, state) -> None:
        states.append(state())
        if len(states) == steps:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(training, stop)
    whole = train(training)
    rest = train(dataclasses.replace(training, state=states[-1]), lambda share, _: begun.append(share))
    assert begun[0] == pytest.approx((steps + 1) / 18)
    for run in runs:
        a, b = (dataclasses.replace(found[run], step_seconds=0.0) for found in (whole, rest))
        assert a == b
    damaged = train(dataclasses.replace(training, state=states[-1][:1000]))
    assert damaged[runs[0]].train_loss == whole[runs[0]].train_loss


def test_evaluation_in_chunks_is_evaluation_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Batched([Run("gelu", 1e-3, s) for s in range(2)], named("gelu"), DIGITS, DOUBLE)
    at_once = (*model.evaluate(model.train), *model.health())
    monkeypatch.setattr("softknee.compare.engine._ELEMENTS", 64 * 2 * 100)
    for a, b in zip(at_once, (*model.evaluate(model.train), *model.health()), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (torch.relu, 2**0.5),  # E relu(z)^2 = 1/2
        (torch.nn.functional.selu, 1.0),  # its fixed point
        (lambda z: z, 1.0),
        (torch.erf, (2 / math.pi * math.asin(2 / 3)) ** -0.5),  # E erf(z)^2, Williams 1997
        (torch.nn.functional.softsign, 2.3375),
    ],
)
def test_the_gain_keeps_the_mean_square_at_one(function, expected: float) -> None:
    assert gain(function) == pytest.approx(
        expected, rel=1e-4 if function is torch.nn.functional.softsign else 1e-6
    )
    z = torch.randn(400_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float((gain(function) * function(z)).square().mean()) == pytest.approx(1.0, abs=0.02)


def test_slope_is_the_derivative() -> None:
    z = torch.linspace(-3, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(slope(torch.tanh, z), 1 - torch.tanh(z) ** 2)


def test_memory_of_a_step() -> None:
    def work() -> torch.Tensor:
        given_back = torch.ones(1000)
        kept = torch.ones(2000)
        del given_back
        torch.ones(500)
        return kept

    assert peak(work)[1] == 4 * (1000 + 2000)
    with torch.profiler.profile():
        assert peak(work)[1] == 0
    each = []
    for seeds in (1, 8):
        model = Batched(
            [Run("relu", 1e-3, seed) for seed in range(seeds)], named("relu"), DIGITS, Protocol(depth=2)
        )
        _, saved, most = model.measured_step(model.batches(0)[0])
        each.append((saved, most))
    weights = 4 * ((64 + 1) * 64 * 2 + (64 + 1) * 10)
    assert each[0] == pytest.approx(each[1], rel=0.02)
    assert 4 * 64 * (64 + 64) < each[0][0] < 4 * 64 * (64 + 64 + 64 + 64 + 10)  # a batch in each layer
    assert 4 * weights + each[0][0] < each[0][1] < 4 * weights + 2 * each[0][0]  # gradients, two moments

"""The networks: what they compute, that runs keep to themselves, and networks of one's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from softknee.compare.activations import activation
from softknee.compare.data import load
from softknee.compare.engine import Batched, Training, train
from softknee.compare.errors import CompareError
from softknee.compare.experiment import compare
from softknee.compare.networks import chosen
from softknee.compare.protocol import Protocol, Run
from softknee.compare.specification import parse
from softknee.compare.tasks import Task, multilabel, next_token, regression

DOUBLE = Protocol(width=8, epochs=2, batch_size=16, dtype="float64")
DRAW = np.random.default_rng(0)
IMAGES = Task("images", DRAW.random((60, 64)), np.arange(60) % 3, ("a", "b", "c"), shape=(1, 8, 8))
SIGNALS = Task("signals", DRAW.random((60, 24)), np.arange(60) % 3, ("a", "b", "c"), shape=(2, 12))
TOKENS = next_token("tokens", np.arange(641) % 7, 16, "abcdefg")
SUMS = regression("sums", "sums", x := DRAW.random((60, 4)), x.sum(1))
LABELS = multilabel("labels", "labels", x, (x > 0.5).astype(int))


def named(text: str):
    return activation(parse(text)[0])


@pytest.mark.parametrize(
    ("network", "task"),
    [
        ("mlp", SUMS),
        ("mlp", LABELS),
        ("autoencoder", SUMS),
        ("cnn", IMAGES),
        ("cnn", SIGNALS),
        ("resnet", SIGNALS),
        ("transformer", IMAGES),
        ("transformer", TOKENS),
        ("gated_transformer", TOKENS),
        ("gru", SIGNALS),
        ("lstm", SIGNALS),
        ("rnn", TOKENS),
    ],
    ids=lambda v: v if isinstance(v, str) else v.name,
)
def test_together_is_as_alone(network: str, task: Task) -> None:
    """Two learning rates and two seeds at once leave what each leaves alone."""
    protocol = dataclasses.replace(DOUBLE, network=network)
    runs = [Run("swish", rate, seed) for rate in (1e-3, 1e-2) for seed in (0, 1)]
    together = train(Training(runs, named("swish"), task, protocol))
    for run in (runs[0], runs[3]):
        alone = train(Training([run], named("swish"), task, protocol))[run]
        for name in ("train_loss", "validation_loss", "test_loss", "test_score", "dead"):
            np.testing.assert_allclose(
                getattr(together[run], name), getattr(alone, name), rtol=1e-9, atol=1e-12
            )
        assert together[run].learned["beta"][0] == (1.0,) * len(alone.dead)
        assert together[run].learned["beta"][-1] != (1.0,) * len(alone.dead)
        assert len(set(together[run].train_loss)) == 2


def test_a_convolutional_network_is_torchs() -> None:
    model = Batched(
        [Run("relu", 1e-3, s) for s in (0, 1)],
        named("relu"),
        IMAGES,
        dataclasses.replace(DOUBLE, network="cnn"),
    )
    for i in (0, 1):
        first, second, last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 3)
        theirs = nn.Sequential(
            first, nn.ReLU(), nn.AvgPool2d(2), second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last
        )
        theirs.double()
        w1, b1, w2, b2, w3, b3 = (p.detach()[i] for p in model.parameters)
        for layer, weight, bias in ((first, w1, b1), (second, w2, b2), (last, w3.T, b3[0])):
            layer.weight.data.copy_(weight), layer.bias.data.copy_(bias)
        x = model.standardised(model.train)
        torch.testing.assert_close(model.network(x)[i], theirs(x[i].view(-1, 1, 8, 8)))


def test_text_is_read_from_the_left_only() -> None:
    for network in ("transformer", "gru"):
        model = Batched(
            [Run("gelu", 1e-3, 0)], named("gelu"), TOKENS, dataclasses.replace(DOUBLE, network=network)
        )
        tokens = torch.from_numpy(TOKENS.inputs[None, :3])
        changed = tokens.clone()
        changed[..., 9] = (changed[..., 9] + 1) % 7
        with torch.no_grad():
            one, other = model.network(tokens), model.network(changed)
        assert torch.equal(one[:, :, :9], other[:, :, :9])
        assert not torch.equal(one[:, :, 9], other[:, :, 9])


def test_gated_units_are_compared_in_gated_blocks() -> None:
    """swiglu is silu's, glu sigmoid's; gtu has no activation of one input that makes it."""
    protocol = dataclasses.replace(DOUBLE, network="gated_transformer", depth=1)

    def trained(name: str) -> dict:
        run = Run(name, 1e-2, 0)
        return dataclasses.asdict(train(Training([run], named(name), TOKENS, protocol))[run])

    for gate, plain in (
        ("swiglu", "silu"),
        ("glu", "sigmoid"),
        ("clamped_swiglu(limit=inf, offset=0)", "quick_gelu"),
    ):
        one, other = trained(gate), trained(plain)
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-9)
        assert one["saturated"] == pytest.approx(other["saturated"])
    assert named("geglu").gain == pytest.approx(named("gelu").gain, rel=1e-6)
    assert trained("gtu")["train_loss"] != trained("glu")["train_loss"]
    with pytest.raises(CompareError, match=r"swiglu is a gated unit.* mlp gives its activations one"):
        compare("iris", "relu,swiglu", depth=1)


def test_layers_with_the_activation() -> None:
    assert chosen("all", 4) == {1, 2, 3, 4}
    assert (chosen("first", 4), chosen("last", 4), chosen("even", 4)) == ({1}, {4}, {2, 4})
    assert (chosen("3", 4), chosen("2-9", 4)) == ({3}, {2, 3, 4})
    model = Batched(
        [Run("tanh", 1e-3, 0)], named("tanh"), SUMS, dataclasses.replace(DOUBLE, depth=3, layers="2")
    )
    assert [site.activation.label for site in model.builder.sites] == ["relu", "tanh", "relu"]


def test_early_stopping_tests_the_best_weights() -> None:
    protocol = Protocol(epochs=60, width=64, patience=2, batch_size=8)
    run = Run("relu", 0.03, 0)
    task = load("iris")
    found = train(Training([run, Run("relu", 1e-5, 0)], named("relu"), task, protocol))[run]
    epochs = len(found.validation_loss)
    assert epochs < 60
    assert found.best_epoch == int(np.argmin(found.validation_loss)) == epochs - 3
    assert found.validation_score == found.validation_curve[found.best_epoch]
    ended_there = dataclasses.replace(protocol, epochs=found.best_epoch + 1, patience=0)
    again = train(Training([run, Run("relu", 1e-5, 0)], named("relu"), task, ended_there))[run]
    assert again.test_loss == found.test_loss


def build(activation):
    return nn.Sequential(
        nn.Linear(4, 8), activation(), nn.Dropout(0.2), nn.Linear(8, 8), activation(), nn.Linear(8, 3)
    )


def finished():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


OWN = {"data": "iris", "activations": "tanh,prelu", "seeds": 2, "epochs": 2, "lr": (0.01, 0.02)}


@pytest.mark.parametrize("network", [build, finished, finished()], ids=["built", "swapped", "instance"])
def test_a_network_of_ones_own(network) -> None:
    one, two = (compare(**OWN, network=network) for _ in range(2))
    assert [s.scores for s in one.levels[0].standings] == [s.scores for s in two.levels[0].standings]
    learned = one.levels[0].of("prelu").learned["weight"]
    assert len(learned) == (2 if network is build else 1)
    assert learned[0].middle[0] == 0.25 != learned[0].middle[-1]
    assert "relu" not in one.labels
    if isinstance(network, nn.Module):
        assert isinstance(network[1], nn.ReLU)  # the caller's model is left alone


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda activation: nn.Sequential(nn.Linear(4, 3), activation), r"write activation\(\)"),
        (lambda activation: nn.Linear(4, 3), "the activation is nowhere in the model"),
        (lambda activation: nn.Sequential(nn.Linear(5, 3), activation()), r"fails on inputs of shape"),
        (lambda activation: nn.Sequential(nn.Linear(4, 2), activation()), r"puts out shape .* needs shape"),
        (lambda: nn.Linear(4, 3), "no activation that can be exchanged"),
        (lambda activation: 3, "returned int"),
        ("nowhere.py:build", "no file nowhere.py"),
        ("nowhere:build", "cannot be imported"),
        (3, "is a int; a function or"),
    ],
)
def test_a_network_that_cannot_be_used(network, message: str) -> None:
    with pytest.raises(CompareError, match=message):
        compare(**OWN, network=network)


def test_depth_is_not_for_ones_own() -> None:
    with pytest.raises(CompareError, match="for the networks that softknee builds"):
        compare(**OWN, network=build, depth=3)

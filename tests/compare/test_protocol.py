"""A seed fixes everything but the activation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softknee.compare.activations import Activation
from softknee.compare.data import load
from softknee.compare.engine import Batched
from softknee.compare.protocol import Protocol, Run, key, order, partition

DIGITS = load("digits")


@pytest.mark.parametrize("name", ["iris", "wine", "digits"])
def test_a_partition_uses_every_sample_once_and_keeps_the_classes_shares(name: str) -> None:
    task = load(name)
    for seed in range(3):
        part = partition(task, Protocol(), seed)
        together = np.concatenate([part.train, part.validation, part.test])
        assert sorted(together) == list(range(len(task.targets)))
        for samples, share in ((part.test, 0.25), (part.validation, 0.15), (part.train, 0.6)):
            counts = np.bincount(task.targets[samples], minlength=task.classes)
            assert np.abs(counts - share * np.bincount(task.targets)).max() <= 2


def test_sizes_do_not_depend_on_the_seed_but_samples_do() -> None:
    one, two = (partition(DIGITS, Protocol(), seed) for seed in (0, 1))
    assert one.test.shape == two.test.shape
    assert set(one.test) != set(two.test)


def test_every_sample_is_tested_as_often_as_any_other() -> None:
    task, counts = load("iris"), np.zeros(150)
    for seed in range(400):
        counts[partition(task, Protocol(), seed).test] += 1
    share = counts / 400  # 38/150 each; standard deviation 0.022
    assert abs(share.mean() - 38 / 150) < 1e-12
    assert np.abs(share - 38 / 150).max() < 0.1


def weights(protocol: Protocol, seed: int, gain: float) -> list[torch.Tensor]:
    contestant = Activation("own", torch.relu, gain, 1.0, "own")
    model = Batched([Run("own", 1e-3, seed)], contestant, DIGITS, protocol)
    return [weight.detach()[0] for weight in model.builder.weights]


def test_activations_of_one_seed_differ_in_the_scale_of_their_weights_alone() -> None:
    protocol = Protocol(depth=3, dtype="float64")
    one, two = (weights(protocol, 7, gain) for gain in (1.0, 1.5))
    assert torch.equal(one[0], two[0])  # the first layer reads the data, not the activation
    for a, b in zip(one[1:], two[1:], strict=True):
        torch.testing.assert_close(1.5 * a, b, rtol=1e-14, atol=0)
    same = Protocol(init="same")
    for a, b in zip(weights(same, 7, 1.0), weights(same, 7, 1.5), strict=True):
        assert torch.equal(a, b)


def test_the_weights_have_the_standard_deviation_they_should() -> None:
    drawn = weights(Protocol(width=300), 0, 1.7)
    for weight, gain in zip(drawn, (1.0, 1.7, 1.7), strict=True):
        np.testing.assert_allclose(weight.std(), gain / weight.shape[0] ** 0.5, rtol=0.03)
    same = weights(Protocol(width=300, init="same"), 0, 1.7)
    np.testing.assert_allclose(same[1].std(), (2 / 300) ** 0.5, rtol=0.03)


def test_orders_are_permutations_and_differ_by_seed_and_epoch() -> None:
    orders = [tuple(order(seed, epoch, 50)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert all(sorted(o) == list(range(50)) for o in orders)


def test_a_key_changes_with_everything_that_defines_a_run() -> None:
    run, protocol, versions = Run("relu", 1e-3, 0), Protocol(), {"torch": "1"}
    keys = {
        key(run, protocol, DIGITS, "f", versions),
        key(Run("gelu", 1e-3, 0), protocol, DIGITS, "f", versions),
        key(run, Protocol(depth=3), DIGITS, "f", versions),
        key(Run("relu", 2e-3, 0), protocol, DIGITS, "f", versions),
        key(Run("relu", 1e-3, 1), protocol, DIGITS, "f", versions),
        key(run, Protocol(width=65), DIGITS, "f", versions),
        key(run, Protocol(init="same"), DIGITS, "f", versions),
        key(run, protocol, load("iris"), "f", versions),
        key(run, protocol, DIGITS, "g", versions),
        key(run, protocol, DIGITS, "f", {"torch": "2"}),
    }
    assert len(keys) == 10
    assert key(run, protocol, load("digits"), "f", dict(versions)) in keys

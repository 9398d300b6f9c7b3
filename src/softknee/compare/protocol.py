"""What a run is, and what its seed fixes: the split, the initial weights, the order of the samples and all noise.

Everything here depends on the seed and never on the activation, so that runs of one seed are pairs: they differ
in the activation alone. The one exception is the scale of the initial weights (`init="own"`), which is the
activation's own by definition; the standard normal numbers that it scales are still the seed's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from softknee.compare.tasks import Task

Init = Literal["own", "same"]
Optimiser = Literal["adam", "sgd"]


@dataclass(frozen=True)
class Protocol:
    """One condition: everything that defines a training but the data, the activation, learning rate and seed.

    Attributes:
        network: "mlp", "cnn", "resnet", "autoencoder", "transformer", "gated_transformer", "gru", "lstm", "rnn", or
            the name of the caller's own.
        depth: hidden layers; of a transformer or residual network: blocks.
        width: units, channels or features of each.
        optimiser: "adam": Kingma & Ba 2015, arXiv 1412.6980 (betas 0.9, 0.999, eps 1e-8); "sgd": momentum 0.9.
        init: see `networks.Builder.weight`.
        noise: standard deviation of Gaussian noise added to the standardised inputs, in training and tests alike,
            new in every step.
        scale: a factor on the standardised inputs.
        bias: the initial bias of every hidden layer.
        samples: how many training samples are used; 0: all.
        weight_penalty: times the sum of squares of all weights (not biases), added to the loss.
        activation_penalty: times the mean square of each activation's outputs, summed over layers.
        batch_norm: batch normalisation between each hidden layer and its activation.
        dropout: share of each activation's outputs set to 0 in training.
        layers: which hidden layers have the activation: all, first, last, odd, even, a number or a range such
            as 3-5; the others have `activations.OTHER`.
        patience: epochs without a lower validation loss after which a run ends, with the weights of its best
            epoch; 0: every run takes all epochs and ends with its last weights.
    """

    network: str = "mlp"
    depth: int = 2
    width: int = 64
    epochs: int = 15
    batch_size: int = 64
    optimiser: Optimiser = "adam"
    init: Init = "own"
    noise: float = 0.0
    scale: float = 1.0
    bias: float = 0.0
    samples: int = 0
    weight_penalty: float = 0.0
    activation_penalty: float = 0.0
    batch_norm: bool = False
    dropout: float = 0.0
    layers: str = "all"
    patience: int = 0
    validation: float = 0.15
    test: float = 0.25
    dtype: str = "float32"

    @property
    def own(self) -> bool:
        """Whether the network is the caller's own."""
        return "#" in self.network

    @property
    def network_name(self) -> str:
        """As the caller knows it: behind one's own there is a hash of what it does."""
        return self.network.partition("#")[0]


@dataclass(frozen=True)
class Run:
    """One training of a condition: which activation, which learning rate, which seed."""

    activation: str
    learning_rate: float
    seed: int


@dataclass(frozen=True, eq=False)
class Partition:
    """Sample numbers of one seed's training, validation and test data, each class in proportion."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def partition(task: Task, protocol: Protocol, seed: int) -> Partition:
    """The seed's split; its sizes are the same for every seed. Any prefix of a part has the classes in proportion."""
    draw = random(seed, "split")
    place = np.empty(len(task.inputs))  # of each sample in its class, in [0, 1), in a random order
    strata = task.targets if task.kind == "classification" else np.zeros(len(place), np.int64)
    for label in range(int(strata.max()) + 1):
        members = np.flatnonzero(strata == label)
        place[members] = (draw.permutation(len(members)) + draw.random()) / len(members)
    tests, validations = (round(share * len(place)) for share in (protocol.test, protocol.validation))
    test, validation, train = np.split(np.argsort(place, kind="stable"), [tests, tests + validations])
    return Partition(train[: protocol.samples or None], validation, test)


def order(seed: int, epoch: int, samples: int) -> NDArray[np.int64]:
    """In which order the seed's training samples are seen in an epoch."""
    return random(seed, f"order {epoch}").permutation(samples)


def key(run: Run, protocol: Protocol, task: Task, fingerprint: str, versions: dict[str, str]) -> str:
    """A name for the run made of everything that defines its result: SHA-256, 64 hexadecimal digits."""
    defines = [asdict(run), asdict(protocol), task.digest, fingerprint, versions]
    return hashlib.sha256(json.dumps(defines, sort_keys=True).encode()).hexdigest()


def random(seed: int, purpose: str) -> np.random.Generator:
    """An independent stream for each seed and purpose."""
    return np.random.default_rng([seed, _number(purpose)])


def noise(seed: int, purpose: str) -> torch.Generator:
    """The same for numbers by the million."""
    return torch.Generator().manual_seed(_number(f"{seed} {purpose}") >> 1)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

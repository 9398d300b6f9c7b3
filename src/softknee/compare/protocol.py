"""What a run is, and what its seed fixes: the split, the initial weights and the order of the samples.

Everything here depends on the seed and never on the activation, so that runs of one seed are pairs: they differ
in the activation alone. The one exception is the scale of the initial weights (`init="own"`), which is the
activation's own by definition; the standard normal numbers that it scales are still the seed's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softknee.compare.data import Task

Init = Literal["own", "same"]


@dataclass(frozen=True)
class Protocol:
    """How every run is trained: Adam (Kingma & Ba 2015, arXiv 1412.6980; betas 0.9, 0.999, eps 1e-8) on
    cross-entropy, a multilayer perceptron without normalisation layers."""

    width: int = 64
    epochs: int = 15
    batch_size: int = 64
    init: Init = "own"
    validation: float = 0.15
    test: float = 0.25
    dtype: str = "float32"


@dataclass(frozen=True)
class Run:
    """One training: which activation, how many hidden layers, which learning rate, which seed."""

    activation: str
    depth: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, eq=False)
class Partition:
    """Sample numbers of one seed's training, validation and test data, each class in proportion."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def partition(task: Task, protocol: Protocol, seed: int) -> Partition:
    """The seed's split; its sizes are the same for every seed."""
    random = _random(seed, "split")
    place = np.empty(len(task.labels))  # of each sample in its class, in [0, 1), in a random order
    for label in range(task.classes):
        members = np.flatnonzero(task.labels == label)
        place[members] = (random.permutation(len(members)) + random.random()) / len(members)
    tests, validations = (round(share * len(place)) for share in (protocol.test, protocol.validation))
    test, validation, train = np.split(np.argsort(place, kind="stable"), [tests, tests + validations])
    return Partition(train, validation, test)


def shapes(task: Task, protocol: Protocol, depth: int) -> list[tuple[int, int]]:
    """(fan in, fan out) of every layer: `depth` hidden ones and the output."""
    sizes = [task.inputs.shape[1], *[protocol.width] * depth, task.classes]
    return list(itertools.pairwise(sizes))


def weights(task: Task, protocol: Protocol, depth: int, seed: int, gain: float) -> list[NDArray[np.float64]]:
    """Initial weights: N(0, 1) numbers of the seed times `scale / sqrt(fan_in)`; biases start at 0.

    `init="own"`: the scale is the activation's gain, 1/sqrt(E f(z)^2) for z ~ N(0, 1), so that every layer's
    outputs have mean square 1 at the start; the first layer reads standardised inputs and has scale 1 (for SELU
    this is LeCun's, Klambauer et al. 2017, arXiv 1706.02515). `init="same"`: sqrt(2) for every layer and
    activation (He et al. 2015, arXiv 1502.01852).
    """
    random = _random(seed, "weights")
    scales = [2**0.5] * (depth + 1) if protocol.init == "same" else [1.0, *[gain] * depth]
    return [
        random.standard_normal((fan_in, fan_out)) * (scale / fan_in**0.5)
        for scale, (fan_in, fan_out) in zip(scales, shapes(task, protocol, depth), strict=True)
    ]


def order(seed: int, epoch: int, samples: int) -> NDArray[np.int64]:
    """In which order the seed's training samples are seen in an epoch."""
    return _random(seed, f"order {epoch}").permutation(samples)


def key(run: Run, protocol: Protocol, task: Task, fingerprint: str, versions: dict[str, str]) -> str:
    """A name for the run made of everything that defines its result: SHA-256, 64 hexadecimal digits."""
    defines = [asdict(run), asdict(protocol), task.digest, fingerprint, versions]
    return hashlib.sha256(json.dumps(defines, sort_keys=True).encode()).hexdigest()


def _random(seed: int, purpose: str) -> np.random.Generator:
    """An independent stream for each seed and purpose."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")])

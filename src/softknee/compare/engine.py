"""Trains many runs of one activation and depth as one batched model.

Every weight has a leading axis of runs, (runs, fan_in, fan_out); one `torch.baddbmm` a layer serves all runs.
The loss is the sum of the runs' mean losses: no run's gradient sees another run, and a run that diverges
leaves the others alone. `plain.py` does the same one run at a time; the tests hold the two together.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from softknee.compare.activations import Activation, Function, slope
from softknee.compare.data import Task
from softknee.compare.protocol import Protocol, Run, order, partition, weights

Failure = Literal["", "diverged", "stuck"]

DEAD = 1e-3  # a unit whose |f'| stays below this share of max|f'| on every training sample is dead
SATURATED = 1e-2  # an element whose |f'| is below this share of max|f'| is saturated
STUCK = 0.15  # of the way from guessing the most frequent class to all right, on the training data

_ELEMENTS = 1 << 22  # evaluate in chunks of at most so many numbers a layer


@dataclass(frozen=True)
class Outcome:
    """What one run left. Accuracies are shares in [0, 1]; outputs that are not finite count as wrong.

    Curves have one value an epoch: the mean cross-entropy (nats) over the epoch's training batches, and
    cross-entropy and accuracy on the validation data after it. `step_seconds`: processor time
    of a training step of the whole batch of `together` runs on one core, median over the epochs, divided by
    `together`; other programs on the machine disturb it little. `dead` and `saturated`
    have one share for each hidden layer, on the training data, after training.
    """

    test_accuracy: float
    validation_accuracy: float
    train_accuracy: float
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_curve: tuple[float, ...]
    dead: tuple[float, ...]
    saturated: tuple[float, ...]
    step_seconds: float
    together: int
    failure: Failure


class Batched:
    """Several runs of one activation and depth, trained together; `parameters` is [weight, bias] * layers."""

    def __init__(self, runs: Sequence[Run], activation: Activation, task: Task, protocol: Protocol) -> None:
        if len({(run.activation, run.depth) for run in runs}) != 1:
            raise ValueError("the runs of a batch share their activation and depth")
        self.runs = sorted(runs, key=lambda run: run.learning_rate)
        self.activation, self.task, self.protocol = activation, task, protocol
        dtype = getattr(torch, protocol.dtype)
        parts = [partition(task, protocol, run.seed) for run in self.runs]
        self.train, self.validation, self.test = (
            torch.from_numpy(np.stack([getattr(part, name) for part in parts]))
            for name in ("train", "validation", "test")
        )
        inputs = torch.from_numpy(task.inputs)
        training = inputs[self.train]  # (runs, samples, features)
        deviation = training.std(1, correction=0, keepdim=True)
        self.mean = training.mean(1, keepdim=True).to(dtype)
        self.scale = torch.where(deviation > 0, 1 / deviation, 0.0).to(
            dtype
        )  # a constant column says nothing
        self.inputs, self.labels = inputs.to(dtype), torch.from_numpy(task.labels)
        drawn = [weights(task, protocol, run.depth, run.seed, activation.gain) for run in self.runs]
        self.parameters: list[Tensor] = []
        for layer in zip(*drawn, strict=True):
            weight = torch.from_numpy(np.stack(layer)).to(dtype)
            self.parameters += [weight, weight.new_zeros(len(runs), 1, weight.shape[2])]
        for parameter in self.parameters:
            parameter.requires_grad_()
            parameter.grad = torch.zeros_like(parameter)
        self.optimiser = torch.optim.Adam(self._groups(), fused=True)

    def _groups(self) -> list[dict[str, object]]:
        """One group of parameters for each learning rate: views on the runs that have it, gradients too."""
        rates = [run.learning_rate for run in self.runs]
        groups: list[dict[str, object]] = []
        for rate in sorted(set(rates)):
            first, count = rates.index(rate), rates.count(rate)
            views = []
            for parameter in self.parameters:
                assert parameter.grad is not None
                view = parameter.detach()[first : first + count].requires_grad_()
                view.grad = parameter.grad[first : first + count]
                views.append(view)
            groups.append({"params": views, "lr": rate})
        return groups

    def standardised(self, samples: Tensor) -> Tensor:
        """Inputs of the samples, (runs, samples, features), by mean and deviation of each run's training data."""
        return (self.inputs[samples] - self.mean) * self.scale

    def forward(self, x: Tensor, before: list[Tensor] | None = None) -> Tensor:
        """Logits (runs, samples, classes); the inputs of every activation are appended to `before`."""
        function: Function = self.activation.function
        *hidden, weight, bias = self.parameters
        for w, b in zip(hidden[::2], hidden[1::2], strict=True):
            z = torch.baddbmm(b, x, w)
            if before is not None:
                before.append(z)
            x = function(z)
        return torch.baddbmm(bias, x, weight)

    def losses(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each run and sample, and which are answered rightly: (runs, samples) both."""
        logits = self.forward(self.standardised(samples))
        labels = self.labels[samples]
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        return loss, (logits.argmax(2) == labels) & logits.isfinite().all(2)

    def step(self, samples: Tensor) -> Tensor:
        """One step of Adam on these samples, (runs, batch); the mean loss of each run before it."""
        torch._foreach_zero_([parameter.grad for parameter in self.parameters])
        loss = self.losses(samples)[0].mean(1)
        loss.sum().backward()
        self.optimiser.step()
        return loss.detach()

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """Sample numbers of each step of an epoch, (runs, batch) each."""
        samples = self.train.shape[1]
        orders = torch.from_numpy(np.stack([order(run.seed, epoch, samples) for run in self.runs]))
        return self.train.gather(1, orders).split(self.protocol.batch_size, dim=1)

    @torch.no_grad()
    def evaluate(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy and accuracy of each run on its samples."""
        parts = [self.losses(chunk) for chunk in self._chunks(samples)]
        return torch.cat([p[0] for p in parts], 1).mean(1), torch.cat([p[1] for p in parts], 1).double().mean(
            1
        )

    @torch.no_grad()
    def health(self) -> tuple[Tensor, Tensor]:
        """Dead share of the units and saturated share of the elements on the training data: (runs, layers)."""
        alive: list[Tensor] = []
        saturated: list[Tensor] = []
        for chunk in self._chunks(self.train):
            before: list[Tensor] = []
            self.forward(self.standardised(chunk), before)
            slopes = [slope(self.activation.function, z).abs() / self.activation.steepest for z in before]
            alive.append(torch.stack([(s >= DEAD).any(1) for s in slopes]))  # (layers, runs, units)
            saturated.append(torch.stack([(s < SATURATED).double().mean(2).sum(1) for s in slopes]))
        dead = 1 - torch.stack(alive).any(0).double().mean(2)
        return dead.T, torch.stack(saturated).sum(0).T / self.train.shape[1]

    def _chunks(self, samples: Tensor) -> tuple[Tensor, ...]:
        widest = max(self.protocol.width, self.inputs.shape[1])
        return samples.split(max(1, _ELEMENTS // (len(self.runs) * widest)), dim=1)


def train(
    runs: Sequence[Run],
    activation: Activation,
    task: Task,
    protocol: Protocol,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> dict[Run, Outcome]:
    """Trains the runs together and measures each; `on_epoch` is called after every epoch with its number."""
    model = Batched(runs, activation, task, protocol)
    train_loss, validation_loss, validation_curve, seconds = [], [], [], []
    for epoch in range(protocol.epochs):
        batches = model.batches(epoch)
        start = time.thread_time()
        total = sum(model.step(batch) * batch.shape[1] for batch in batches)
        seconds.append((time.thread_time() - start) / len(batches) / len(runs))
        loss, accuracy = model.evaluate(model.validation)
        train_loss.append(total / model.train.shape[1])
        validation_loss.append(loss)
        validation_curve.append(accuracy)
        on_epoch(epoch)
    test, fitted = model.evaluate(model.test)[1], model.evaluate(model.train)[1]
    dead, saturated = model.health()
    curves = [torch.stack(curve, 1).tolist() for curve in (train_loss, validation_loss, validation_curve)]
    outcomes = {}
    for i, run in enumerate(model.runs):
        outcomes[run] = Outcome(
            test_accuracy=float(test[i]),
            validation_accuracy=curves[2][i][-1],
            train_accuracy=float(fitted[i]),
            train_loss=tuple(curves[0][i]),
            validation_loss=tuple(curves[1][i]),
            validation_curve=tuple(curves[2][i]),
            dead=tuple(dead[i].tolist()),
            saturated=tuple(saturated[i].tolist()),
            step_seconds=statistics.median(seconds),
            together=len(runs),
            failure=_failure(curves[0][i] + curves[1][i], float(fitted[i]), task.majority),
        )
    return outcomes


def _failure(losses: list[float], train_accuracy: float, majority: float) -> Failure:
    if not np.isfinite(losses).all():
        return "diverged"
    return "stuck" if train_accuracy < majority + STUCK * (1 - majority) else ""

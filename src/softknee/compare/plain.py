"""The plain loop: one run at a time, `torch.nn` modules and `torch.optim.Adam`, for a multilayer perceptron.

Slow and obvious. The batched engine must give the same parameters; nothing but the protocol is shared.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from softknee.compare.activations import Activation
from softknee.compare.protocol import Protocol, Run, noise, order, partition, random
from softknee.compare.tasks import Task


class Network(nn.Module):
    """Linear layers, perhaps batch normalisation, the activation between them, perhaps dropout."""

    def __init__(self, run: Run, activation: Activation, task: Task, protocol: Protocol) -> None:
        super().__init__()
        self.activation, self.protocol = activation, protocol
        dtype = getattr(torch, protocol.dtype)
        sizes = [task.inputs.shape[1], *[protocol.width] * protocol.depth, task.classes]
        self.layers = nn.ModuleList(nn.Linear(a, b, dtype=dtype) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(b, dtype=dtype) for b in sizes[1:-1])
        self.learned = nn.ParameterList(
            nn.Parameter(torch.tensor(value, dtype=dtype))
            for _ in sizes[1:-1]
            for _, value in activation.learnable
        )
        draw, scale = random(run.seed, "weights"), 1.0
        for layer in self.layers:
            scale = 2**0.5 if protocol.init == "same" else scale
            weight = (
                draw.standard_normal((layer.in_features, layer.out_features)) * scale / layer.in_features**0.5
            )
            layer.weight.data.copy_(torch.from_numpy(weight.T))
            layer.bias.data.fill_(
                protocol.bias if layer is not self.layers[-1] and not protocol.batch_norm else 0
            )
            scale = activation.gain
        for norm in self.norms:
            norm.bias.data.fill_(protocol.bias)

    def forward(self, x: Tensor, dropped: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The outputs, and the mean squares of the activations' outputs, summed over layers, where they count."""
        *hidden, last = self.layers
        names = [name for name, _ in self.activation.learnable]
        learned = iter(self.learned)
        activity = x.new_zeros(())
        for layer, norm in zip(hidden, self.norms, strict=True):
            z = norm(layer(x)) if self.protocol.batch_norm else layer(x)
            x = self.activation.function(z, **{name: next(learned) for name in names})
            if self.protocol.activation_penalty:
                activity = activity + x.square().mean()
            if self.protocol.dropout:
                keep = torch.rand(x.shape, generator=dropped) >= self.protocol.dropout
                x = x * keep / (1 - self.protocol.dropout)
        return last(x), activity


def train_plain(
    run: Run, activation: Activation, task: Task, protocol: Protocol, steps: int | None = None
) -> Network:
    """The network after all epochs, or after so many steps, of a classification."""
    part = partition(task, protocol, run.seed)
    train = task.inputs[part.train].astype("float64")
    mean, deviation = (train.mean(), train.std()) if task.shape else (train.mean(0), train.std(0))
    if not task.shape:
        deviation[deviation == 0] = float("inf")
    x = torch.from_numpy((task.inputs - mean) / deviation * protocol.scale).to(getattr(torch, protocol.dtype))
    y = torch.from_numpy(task.targets)
    network = Network(run, activation, task, protocol)
    make, more = (
        (torch.optim.Adam, {}) if protocol.optimiser == "adam" else (torch.optim.SGD, {"momentum": 0.9})
    )
    optimiser = make(network.parameters(), lr=run.learning_rate, **more)  # type: ignore[operator]
    done = 0
    for epoch in range(protocol.epochs):
        shuffled = torch.from_numpy(part.train[order(run.seed, epoch, len(part.train))])
        drawn = noise(run.seed, f"epoch {epoch}")
        for batch in shuffled.split(protocol.batch_size):
            if done == steps:
                return network
            optimiser.zero_grad()
            inputs = x[batch]
            if protocol.noise:
                inputs = inputs + protocol.noise * torch.randn(inputs.shape, generator=drawn)
            out, activity = network(inputs, drawn)
            loss = nn.functional.cross_entropy(out, y[batch])
            if protocol.activation_penalty:
                loss = loss + protocol.activation_penalty * activity
            if protocol.weight_penalty:
                loss = loss + protocol.weight_penalty * sum(v.weight.square().sum() for v in network.layers)
            loss.backward()
            optimiser.step()
            done += 1
    return network

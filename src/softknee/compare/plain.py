"""The plain loop: one run at a time, `torch.nn` modules and `torch.optim.Adam`.

Slow and obvious. The batched engine must give the same parameters; nothing but the protocol is shared.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from softknee.compare.activations import Activation
from softknee.compare.data import Task
from softknee.compare.protocol import Protocol, Run, order, partition, shapes, weights


class Network(nn.Module):
    """Linear layers with the activation between them."""

    def __init__(self, run: Run, activation: Activation, task: Task, protocol: Protocol) -> None:
        super().__init__()
        self.function = activation.function
        dtype = getattr(torch, protocol.dtype)
        self.layers = nn.ModuleList(
            nn.Linear(*shape, dtype=dtype) for shape in shapes(task, protocol, run.depth)
        )
        initial = weights(task, protocol, run.depth, run.seed, activation.gain)
        for layer, weight in zip(self.layers, initial, strict=True):
            layer.weight.data.copy_(torch.from_numpy(weight.T))
            layer.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = self.function(layer(x))
        return last(x)


def train_plain(
    run: Run, activation: Activation, task: Task, protocol: Protocol, steps: int | None = None
) -> Network:
    """The network after all epochs, or after so many steps."""
    part = partition(task, protocol, run.seed)
    mean, deviation = task.inputs[part.train].mean(0), task.inputs[part.train].std(0)
    deviation[deviation == 0] = float("inf")
    x = torch.from_numpy((task.inputs - mean) / deviation).to(getattr(torch, protocol.dtype))
    y = torch.from_numpy(task.labels)
    network = Network(run, activation, task, protocol)
    optimiser = torch.optim.Adam(network.parameters(), lr=run.learning_rate)
    done = 0
    for epoch in range(protocol.epochs):
        shuffled = torch.from_numpy(part.train[order(run.seed, epoch, len(part.train))])
        for batch in shuffled.split(protocol.batch_size):
            if done == steps:
                return network
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimiser.step()
            done += 1
    return network

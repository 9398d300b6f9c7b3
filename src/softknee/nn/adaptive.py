"""Activation parameters that are computed from the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["ChannelNetwork"]


class ChannelNetwork(torch.nn.Module):
    """sigmoid(W2 W1 m + b), m the mean of every channel: one value a sample and channel, between 0 and 1.

    W1 reduces the channels by `reduction`, to 16 or more if there are that many.

    Source: Ma, Zhang, Liu, Sun (2021), Activate or not: learning customized activation, section 4.2.
    """

    def __init__(self, channels: int, reduction: int = 16, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if not isinstance(reduction, int) or reduction < 1:
            raise ValueError(f"reduction must be a positive integer, got {reduction!r}")
        hidden = min(channels, max(16, channels // reduction))
        self.reduce = torch.nn.Linear(channels, hidden, device=device, dtype=dtype)
        self.expand = torch.nn.Linear(hidden, channels, device=device, dtype=dtype)

    def forward(self, input: Tensor, dim: int = 1) -> Tensor:
        channels, rank = self.reduce.in_features, input.dim()
        if rank < 2 or not -rank <= dim < rank or input.shape[dim] != channels:
            raise ValueError(
                f"a network on {channels} channels needs an input with that many in dimension {dim}, behind the batch; "
                f"got the shape {tuple(input.shape)}"
            )
        others = [d for d in range(1, rank) if d != dim % rank]
        means = input.mean(others) if others else input
        values = torch.sigmoid(self.expand(self.reduce(means)))
        return values.reshape([s if d in (0, dim % rank) else 1 for d, s in enumerate(input.shape)])

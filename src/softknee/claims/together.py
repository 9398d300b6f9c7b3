"""Several networks of one shape, trained as one: a leading axis of runs, one product for each layer.

The loss is the sum of the runs' losses, so that no run's gradient sees another run. The results are those of training
one after the other, up to rounding, several times sooner.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["OPTIMISERS", "ORDER", "Penalty", "fit_together"]

ORDER = 1_000_003  # the order of the samples is drawn from a stream of its own
OPTIMISERS: dict[str, Any] = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD}

#: (weights of the linear layers, outputs of the activations), all with the leading axis -> one number a run
Penalty = Callable[[list[Tensor], list[Tensor]], Tensor]


class _Linear(nn.Module):
    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.weight = nn.Parameter(torch.stack([m.weight.detach().T for m in layers]).contiguous())
        self.bias = nn.Parameter(torch.stack([m.bias.detach()[None] for m in layers]))

    def forward(self, h: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, h, self.weight)

    def give_back(self) -> None:
        for i, layer in enumerate(self.layers):
            layer.weight.copy_(self.weight[i].T)
            layer.bias.copy_(self.bias[i, 0])


class _Channels(nn.Module):
    """Modules whose parameters and buffers belong to channels (dimension 1): the runs become channels."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers, self.one = tuple(layers), copy.deepcopy(layers[0])
        self.flat = isinstance(layers[0], nn.BatchNorm1d)
        self.names = [n for n, t in layers[0].state_dict().items() if t.ndim]
        for name in self.names:
            joined = torch.cat([m.state_dict()[name].detach() for m in layers])
            learned = name in dict(self.one.named_parameters())
            setattr(self.one, name, nn.Parameter(joined) if learned else joined)
        for count in ("num_features", "num_parameters"):
            if hasattr(self.one, count):
                setattr(self.one, count, getattr(self.one, count) * len(layers))

    def forward(self, h: Tensor) -> Tensor:
        h = h.transpose(0, 1)
        y = self.one(h.flatten(1)).unflatten(1, h.shape[1:]) if self.flat else self.one(h)
        return y.transpose(0, 1)

    def give_back(self) -> None:
        for name in self.names:
            for layer, part in zip(self.layers, getattr(self.one, name).chunk(len(self.layers)), strict=True):
                getattr(layer, name).copy_(part)


def _joined(layers: Sequence[nn.Module]) -> nn.Module:
    if isinstance(layers[0], nn.Linear):
        return _Linear(layers)  # type: ignore[arg-type]
    return _Channels(layers) if layers[0].state_dict() else layers[0]


def fit_together(
    models: Sequence[nn.Sequential],
    x: Tensor,
    y: Tensor,
    *,
    epochs: int = 15,
    lr: float = 3e-3,
    batch: int = 64,
    optimiser: str = "adam",
    weight_decay: float = 0.0,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    penalty: Penalty | None = None,
    decay_slopes: bool = True,
) -> list[list[float]]:
    """Trains `models[i]` on x[i], y[i]; the mean loss of every run and epoch. `decay_slopes`: the weight decay acts on
    the activations' parameters, too."""
    layers = [_joined(each) for each in zip(*models, strict=True)]
    linear = [m for m in layers if isinstance(m, _Linear)]
    slopes = [p for m in layers if not isinstance(m, _Linear) for p in m.parameters()]
    groups = [{"params": [p for m in linear for p in m.parameters()]}]
    groups += [{"params": slopes, "weight_decay": weight_decay * decay_slopes}] if slopes else []
    made = OPTIMISERS[optimiser](groups, lr=lr, weight_decay=weight_decay, fused=True)
    torch.manual_seed(0)  # dropout and the like
    orders = [torch.Generator().manual_seed(seed + ORDER) for seed in range(len(models))]
    runs = torch.arange(len(models))[:, None]
    for layer in layers:
        layer.train()
    losses = []
    for _ in range(epochs):
        total = torch.zeros(len(models))
        for chosen in torch.stack([torch.randperm(y.shape[1], generator=g) for g in orders]).split(batch, 1):
            h, outputs = x[runs, chosen], []
            for layer in layers:
                h = layer(h)
                if not isinstance(layer, _Linear):
                    outputs.append(h)
            value = torch.func.vmap(loss)(h, y[runs, chosen])
            objective = value if penalty is None else value + penalty([m.weight for m in linear], outputs)
            made.zero_grad()
            objective.sum().backward()
            made.step()
            total += value.detach() * chosen.shape[1]
        losses.append((total / y.shape[1]).tolist())
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, (_Linear, _Channels)):
                layer.give_back()
    return [[epoch[i] for epoch in losses] for i in range(len(models))]

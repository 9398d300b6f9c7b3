"""Families of networks for judging the diagnosis: small, on data sets of scikit-learn, trained in seconds.

Their layers are named alike, so that a fault can be planted in any of them: see `faults.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import softknee

__all__ = ["FAMILIES", "Built", "Data", "accuracy", "build", "data_set", "digits", "train"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "relu6": nn.ReLU6,
    "prelu": nn.PReLU,
    "ours: mish": lambda: softknee.nn.Mish(),
    "ours: prelu": lambda: softknee.nn.PReLU(),
}


class MLP(nn.Sequential):
    def __init__(
        self,
        act: Callable[[], nn.Module],
        depth: int = 3,
        width: int = 64,
        inputs: int = 64,
        outputs: int = 10,
    ) -> None:
        layers: list[nn.Module] = []
        before = inputs
        for _ in range(depth):
            layers += [nn.Linear(before, width), act()]
            before = width
        super().__init__(*layers, nn.Linear(before, outputs))


class Functional(nn.Module):
    """An MLP whose activation is one module, called for every layer."""

    def __init__(
        self,
        act: Callable[[], nn.Module],
        depth: int = 3,
        width: int = 64,
        inputs: int = 64,
        outputs: int = 10,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs if i == 0 else width, width) for i in range(depth))
        self.act = act()
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(layer(x))
        return self.head(x)


class CNN(nn.Module):
    def __init__(self, act: Callable[[], nn.Module], norm: bool = True) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16) if norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(32) if norm else nn.Identity()
        self.act1, self.act2, self.act3 = act(), act(), act()
        self.fc, self.head = nn.Linear(32 * 4, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 8, 8)
        x = nn.functional.max_pool2d(self.act1(self.norm1(self.conv1(x))), 2)
        x = nn.functional.max_pool2d(self.act2(self.norm2(self.conv2(x))), 2)
        return self.head(self.act3(self.fc(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, act: Callable[[], nn.Module], channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm2.weight)  # each block begins as the identity
        self.act1, self.act2 = act(), act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act2(x + self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x))))))


class Residual(nn.Module):
    def __init__(self, act: Callable[[], nn.Module], blocks: int = 3, channels: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(act, channels) for _ in range(blocks)))
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x.view(-1, 1, 8, 8))).mean((2, 3)))


class Layer(nn.Module):
    """A pre-norm Transformer layer."""

    def __init__(self, act: Callable[[], nn.Module] | str, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.mlp: nn.Module | None = None
        if isinstance(act, str):
            self.mlp = softknee.nn.GatedMLP(dim, 2 * dim, act, bias=True)
        else:
            self.up, self.act, self.down = nn.Linear(dim, 2 * dim), act(), nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = self.norm2(x)
        return x + (self.mlp(y) if self.mlp is not None else self.down(self.act(self.up(y))))


class Transformer(nn.Module):
    """Rows of the image are tokens."""

    def __init__(self, act: Callable[[], nn.Module] | str, layers: int = 2, dim: int = 32) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(8, dim), nn.Parameter(0.1 * torch.randn(8, dim))
        self.layers = nn.Sequential(*(Layer(act, dim) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.embed(x.view(-1, 8, 8)) + self.place)).mean(1))


class Gated(nn.Module):
    """Residual layers with a logistic gate: x + gate(x) * value(x)."""

    def __init__(
        self,
        act: Callable[[], nn.Module],
        depth: int = 2,
        width: int = 64,
        inputs: int = 64,
        outputs: int = 10,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.value = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.gate = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.act, self.head = act(), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for value, gate in zip(self.value, self.gate, strict=True):
            x = x + torch.sigmoid(gate(x)) * self.act(value(x))
        return self.head(x)


class Units(nn.Module):
    """Residual layers of softknee's gated units: a module, and a function of the halves of one tensor."""

    def __init__(self, act: str, width: int = 64, inputs: int = 64, outputs: int = 10) -> None:
        super().__init__()
        self.activation = act
        self.first = nn.Linear(inputs, width)
        self.mlp = softknee.nn.GatedMLP(width, width, act, bias=True)
        self.both, self.down = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.mlp(x)
        x = x + self.down(softknee.functional.gated_unit(self.both(x), activation=self.activation))
        return self.head(x)


FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "deep mlp": lambda act, **sizes: MLP(act, depth=6, **sizes),
    "units": Units,
    "gated transformer": Transformer,
    "functional": Functional,
    "cnn": CNN,
    "plain cnn": lambda act: CNN(act, norm=False),
    "residual": Residual,
    "transformer": Transformer,
    "gated": Gated,
}


@dataclass
class Built:
    family: str
    activation: str
    seed: int
    model: nn.Module

    @property
    def name(self) -> str:
        return f"{self.family}, {self.activation}, seed {self.seed}"


#: families whose activation is that of softknee's gated units, by name
BY_NAME = ("units", "gated transformer")


def build(family: str, activation: str, seed: int = 0, **sizes: int) -> Built:
    """sizes: inputs and outputs, of the families that take rows of features."""
    torch.manual_seed(seed)
    act = activation if family in BY_NAME else ACTIVATIONS[activation]
    return Built(family, activation, seed, FAMILIES[family](act, **sizes))


@dataclass
class Data:
    """x: standardised; loss: its name in torch.nn.functional; sizes: what networks need for it."""

    x: Tensor
    y: Tensor
    loss: str
    sizes: dict[str, int]

    @property
    def both(self) -> tuple[Tensor, Tensor]:
        return self.x, self.y


def data_set(name: str, samples: int | None = 512) -> Data:
    """digits (8 x 8 pixels, 10 classes), breast_cancer (30 features, 2), wine (13, 3), diabetes (10, a number)"""
    if name == "digits":
        return Data(*digits(samples), "cross_entropy", {})
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    x = torch.tensor(data.data, dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    y = torch.tensor(data.target)
    loss, outputs = "cross_entropy", len(y.unique())
    if name == "diabetes":
        y, loss, outputs = ((y - y.mean()) / y.std()).float().unsqueeze(1), "mse_loss", 1
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:samples]
    return Data(x[order], y[order], loss, {"inputs": x.shape[1], "outputs": outputs})


def digits(samples: int | None = None) -> tuple[Tensor, Tensor]:
    """Standardised pixels and labels, shuffled."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)
    y = torch.tensor(data.target)
    x = (x - x.mean()) / x.std()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:samples]
    return x[order], y[order]


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    epochs: int = 10,
    lr: float = 3e-3,
    loss: str = "cross_entropy",
) -> nn.Module:
    """Adam, batches of 64; the order of the samples is the same for all."""
    x, y = data
    loss_of = getattr(nn.functional, loss)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for index in torch.randperm(len(y), generator=generator).split(64):
            if len(index) < 2:
                continue
            optimizer.zero_grad()
            loss_of(model(x[index]), y[index]).backward()
            optimizer.step()
    return model


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """The share of samples that it gets right; for numbers, of the variance that it explains."""
    was = model.training
    model.eval()
    out, y = model(data[0]), data[1]
    if y.is_floating_point():
        share = 1 - float((out - y).square().mean() / y.var())
    else:
        share = float((out.argmax(1) == y).float().mean())
    model.train(was)
    return share

"""MNIST-1D by its authors' protocol, in plain torch, and how much of the score is the size of the training set.

    python benchmarks/mnist1d_perceptron.py     # two minutes

Greydanus & Kobak (arXiv 2011.14439) give 68 % for a perceptron: 40-100-100-10 with a residual second layer, ReLU, Adam
at 0.01, 6,000 steps of 100 samples, 4,000 samples for training and 1,000 for the test. `softknee compare` keeps 15 % of
all samples for validation and 25 % for the test, which leaves 3,000 for training.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(40, 100), nn.Linear(100, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        return self.last(h + self.second(h).relu())


def accuracy(data: dict[str, Tensor], seed: int, samples: int) -> float:
    torch.manual_seed(seed)
    model = Perceptron()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    for _ in range(6000):
        batch = torch.randint(0, samples, (100,))
        loss = cross_entropy(model(data["x"][batch]), data["y"][batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return float((model(data["x_test"]).argmax(1) == data["y_test"]).float().mean())


def main() -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make_dataset(get_dataset_args())
    data = {name: torch.tensor(made[name]) for name in ("x", "y", "x_test", "y_test")}
    data |= {name: data[name].float() for name in ("x", "x_test")}
    for samples in (4000, 3000):
        found = [100 * accuracy(data, seed, samples) for seed in range(3)]
        print(f"{samples} training samples: {', '.join(f'{v:.1f}' for v in found)} %")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

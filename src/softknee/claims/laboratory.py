"""What the claims' scripts share: small data sets, plain networks, a training loop, a look inside.

Everything random hangs on the seed: the split, the first weights (the same standard normal numbers whatever the
activation), the order of the samples. So seeds are paired across whatever else is varied.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from softknee.claims.together import OPTIMISERS, ORDER, fit_together
from softknee.compare import activations, conditions
from softknee.compare.data import load
from softknee.compare.engine import Outcome, Training, train
from softknee.compare.experiment import RATES
from softknee.compare.protocol import Protocol, Run
from softknee.compare.specification import parse

__all__ = [
    "Split", "Trial", "accuracies", "accuracy", "activation", "compared", "data", "fit", "gain", "in_turns", "inside",
    "mlp", "per_layer_gradients", "scores", "trials",
]  # fmt: skip


_loaded = functools.cache(load)


class Split(NamedTuple):
    """Training and test data."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def data(name: str = "digits", seed: int = 0, scaling: str = "standard", samples: int | None = None) -> Split:
    """A data set of `softknee compare`, two thirds to train on, or `samples`. scaling: "standard" (mean 0, variance 1
    of each feature in the training data), "unit" (0 to 1) or "raw"."""
    task = _loaded(name)
    inputs, labels = torch.from_numpy(task.inputs).float(), torch.from_numpy(task.targets).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    cut = 2 * len(labels) // 3
    train, test = order[:cut][:samples], order[cut:]
    x = inputs[train]
    if scaling == "standard":
        spread = x.std(0, correction=0)
        shift, scale = x.mean(0), torch.where(spread > 0, 1 / spread, 0.0)
    elif scaling == "unit":
        width = x.max(0).values - x.min(0).values
        shift, scale = x.min(0).values, torch.where(width > 0, 1 / width, 0.0)
    elif scaling == "raw":
        shift, scale = torch.zeros(()), torch.ones(())
    else:
        raise ValueError(f"scaling must be standard, unit or raw, got {scaling!r}")
    return Split((x - shift) * scale, labels[train], (inputs[test] - shift) * scale, labels[test])


def activation(text: str) -> nn.Module:
    """`leaky_relu(negative_slope=0.3)` as a module."""
    from softknee import catalogue
    from softknee.nn.classes import module_of

    (one,) = parse(text)
    return module_of(catalogue.get(one.name))(**dict(one.settings))


def gain(text: str) -> float:
    """1/sqrt(E f(z)^2), z ~ N(0, 1): the scale of weights that belongs to an activation."""
    from softknee import catalogue
    from softknee.analysis.facts import facts

    (one,) = parse(text)
    definition = catalogue.get(one.name)
    given, choices = dict(one.settings), {}
    for name in list(given):
        if name in definition.choices:
            choices[name] = given.pop(name)
    return float(facts(definition, choices, **given).gain)


def mlp(
    sizes: Sequence[int],
    act: str | Callable[[], nn.Module] = nn.ReLU,
    seed: int = 0,
    *,
    scale: float | None = None,
    bias: float = 0.0,
    norm: bool = False,
    pieces: int = 1,
    dropout: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """Linear layers with an activation between them. Weights are N(0, scale^2 / fan_in); `scale`: the activation's own
    gain, and 1 in the first layer, which reads the data. `norm`: batch norm before each activation. `pieces`: instead of
    the activation the largest of so many linear units (maxout), whose `scale` must be given."""
    random = torch.Generator().manual_seed(seed)
    own = scale if scale is not None else gain(act) if isinstance(act, str) else 2**0.5
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        units = fan_out if i == len(sizes) - 2 else fan_out * pieces
        linear = nn.Linear(fan_in, units)
        with torch.no_grad():
            size = (1.0 if i == 0 and scale is None else own) / fan_in**0.5
            linear.weight.copy_(torch.randn(units, fan_in, generator=random) * size)
            linear.bias.fill_(bias if i < len(sizes) - 2 else 0.0)
        layers.append(linear)
        if i < len(sizes) - 2:
            layers += [nn.BatchNorm1d(units)] if norm else []
            own_act = _Largest(pieces) if pieces > 1 else activation(act) if isinstance(act, str) else act()
            layers.append(own_act)
            layers += [dropout()] if dropout else []
    return nn.Sequential(*layers)


def fit(
    model: nn.Module,
    split: Split,
    *,
    epochs: int = 15,
    lr: float = 3e-3,
    batch: int = 64,
    seed: int = 0,
    optimiser: str = "adam",
    weight_decay: float = 0.0,
    loss: Callable[..., Tensor] = nn.functional.cross_entropy,
    after_step: Callable[[], object] = lambda: None,
) -> list[float]:
    """Trains any model; the mean loss of every epoch. optimiser: "adam" or "sgd"."""
    torch.manual_seed(seed)  # dropout and the like
    made = OPTIMISERS[optimiser](model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    random = torch.Generator().manual_seed(seed + ORDER)
    losses = []
    model.train()
    for _ in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(split.y), generator=random).split(batch):
            value = loss(model(split.x[chosen]), split.y[chosen])
            made.zero_grad()
            value.backward()
            made.step()
            after_step()
            total += float(value.detach()) * len(chosen)
        losses.append(total / len(split.y))
    return losses


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of right answers; outputs that are not finite are wrong."""
    model.eval()
    outputs = model(x)
    right = (outputs.argmax(-1) == y) & outputs.isfinite().all(-1)
    return float(right.float().mean())


class _Largest(nn.Module):
    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, z: Tensor) -> Tensor:
        from softknee.nn.maxout import maxout

        return maxout(z, self.pieces)


@dataclass(frozen=True)
class Trial:
    """One trained network. `losses`: mean training loss of every epoch, in nats."""

    model: nn.Sequential
    split: Split
    losses: list[float]

    @property
    def accuracy(self) -> float:
        return accuracy(self.model, self.split.test_x, self.split.test_y)

    @property
    def train_accuracy(self) -> float:
        return accuracy(self.model, self.split.x, self.split.y)

    @property
    def explained(self) -> float:
        """R² on the test data, of networks whose targets are numbers."""
        self.model.eval()
        with torch.no_grad():
            wrong = (self.model(self.split.test_x) - self.split.test_y).square().sum()
        return float(1 - wrong / (self.split.test_y - self.split.test_y.mean(0)).square().sum())


def trials(
    seeds: int,
    conditions: Mapping[str, Mapping[str, Any]],
    **common: Any,
) -> dict[str, list[Trial]]:
    """For every condition and seed: data, network, training. What the seed fixes is the same for all conditions.

    A condition, with what is `common` to all: `act`; `name`, `scaling`, `samples` of the data, `change(split)` to alter
    them; `hidden` sizes, `outputs`; `net`, arguments of `mlp`; the rest goes to `fit_together`.
    """
    return {label: _trials(seeds, **{**common, **each}) for label, each in conditions.items()}


def _trials(
    seeds: int,
    act: str | Callable[[], nn.Module] = nn.ReLU,
    name: str = "digits",
    scaling: str = "standard",
    samples: int | None = None,
    change: Callable[[Split], Split] = lambda split: split,
    hidden: Sequence[int] = (64, 64, 64),
    outputs: int | None = None,
    net: Mapping[str, Any] | None = None,
    **how: Any,
) -> list[Trial]:
    splits = [change(data(name, seed, scaling, samples)) for seed in range(seeds)]
    last = outputs or int(splits[0].y.max()) + 1
    models = [mlp([s.x.shape[1], *hidden, last], act, seed, **(net or {})) for seed, s in enumerate(splits)]
    losses = fit_together(
        models, torch.stack([s.x for s in splits]), torch.stack([s.y for s in splits]), **how
    )
    return [Trial(*each) for each in zip(models, splits, losses, strict=True)]


def accuracies(found: Mapping[str, Sequence[Trial]]) -> dict[str, list[float]]:
    """Test accuracies."""
    return {label: [one.accuracy for one in each] for label, each in found.items()}


def compared(
    data: str, names: str, *, seeds: int = 8, lr: Sequence[float] = RATES, **settings: Any
) -> dict[str, dict[str, list[Outcome]]]:
    """The networks and tasks of `softknee compare`: condition -> activation -> one outcome a seed, of the learning rate
    that the seed's validation data choose. `settings`: those of `softknee.compare`, one value or several."""
    usual = asdict(Protocol()) | dict.fromkeys(("network", "depth", "width", "init"))
    for fixed in ("validation", "test", "dtype"):
        del usual[fixed]
    found: dict[str, dict[str, list[Outcome]]] = {}
    for cell in conditions.conditions([_loaded(data)], usual | settings):
        for contestant in map(activations.activation, parse(names)):
            runs = [Run(contestant.label, rate, seed) for seed in range(seeds) for rate in lr]
            done = train(Training(runs, contestant, cell.task, cell.protocol))
            of_seed = [[done[run] for run in runs if run.seed == seed] for seed in range(seeds)]
            best = [max(each, key=lambda one: one.validation_score) for each in of_seed]
            found.setdefault(cell.title, {})[contestant.label] = best
    return found


def scores(found: Mapping[str, Sequence[Outcome]]) -> dict[str, list[float]]:
    """Test scores: accuracy, or R²."""
    return {label: [one.test_score for one in each] for label, each in found.items()}


def inside(model: nn.Sequential, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(input, output) of every activation of a plain network for these samples."""
    model.eval()
    found = []
    with torch.no_grad():
        for layer in model:
            before, x = x, layer(x)
            if not isinstance(layer, (nn.Linear, nn.BatchNorm1d)) and "Dropout" not in type(layer).__name__:
                found.append((before, x))
    return found


def per_layer_gradients(model: nn.Sequential, x: Tensor, y: Tensor) -> list[float]:
    """The Frobenius norm of each linear layer's weight gradient of the mean cross-entropy."""
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    linear = [m for m in model if isinstance(m, nn.Linear)]
    found = [0.0 if m.weight.grad is None else float(m.weight.grad.norm()) for m in linear]
    model.zero_grad()
    return found


def in_turns(actions: Mapping[str, Callable[[], Any]], turns: int = 20) -> dict[str, float]:
    """Median processor seconds of each action. They take turns, so that what else the machine does falls on all of
    them alike; the first turn, in which things are compiled, does not count."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(turns + 1):
        for name, action in actions.items():
            start = time.process_time()
            action()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(each) for name, each in times.items()}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Results that do not depend on how many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

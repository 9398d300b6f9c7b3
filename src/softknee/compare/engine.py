"""Trains many runs of one activation and condition as one batched model.

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

from softknee.compare import user
from softknee.compare.activations import Activation, slope
from softknee.compare.errors import CompareError
from softknee.compare.networks import NETWORKS, Builder, places
from softknee.compare.protocol import Protocol, Run, order, partition
from softknee.compare.tasks import Task

Failure = Literal["", "diverged", "stuck"]

DEAD = 1e-3  # a unit whose |f'| stays below this share of max|f'| on every training sample is dead
SATURATED = 1e-2  # an element whose |f'| is below this share of max|f'| is saturated
STUCK = {"classification": 0.15}  # of the way from guessing to a perfect score, on the training data
_STUCK = 0.05  # for the other tasks, where a perfect score may be out of reach

_ELEMENTS = 1 << 22  # evaluate in chunks of at most so many numbers a layer
_KEPT = 1 << 24  # keep the standardised inputs of all seeds, if they are so many numbers at most
_PROBED = 2_000  # training samples of each run on which health is measured, at most


@dataclass(frozen=True)
class Outcome:
    """What one run left. Scores are shares, 1 at best: accuracy, R² (not below -1) or F1; outputs that are not
    finite count as wrong, or as a guess in R².

    Curves have one value an epoch: the mean loss (cross-entropy in nats, or the mean squared error in units of the
    training targets' variance) over the epoch's training batches, without penalties; loss and score on the
    validation data after it. `learned` has the activations' learned parameters at the start and after every epoch,
    layer by layer. `step_seconds`: processor time of a training step of the whole batch of `together` runs on one
    core, median over the epochs, divided by `together`; other programs on the machine disturb it little. `saved`:
    bytes that a step keeps for its backward pass. `dead` and `saturated` have one share for each hidden layer, on
    the training data, after training.
    """

    test_score: float
    test_loss: float
    validation_score: float
    train_score: float
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_curve: tuple[float, ...]
    dead: tuple[float, ...]
    saturated: tuple[float, ...]
    learned: dict[str, tuple[tuple[float, ...], ...]]
    best_epoch: int
    step_seconds: float
    saved: int
    together: int
    failure: Failure


class Batched:
    """Several runs of one activation and condition, trained together."""

    def __init__(self, runs: Sequence[Run], activation: Activation, task: Task, protocol: Protocol) -> None:
        if len({run.activation for run in runs}) != 1:
            raise ValueError("the runs of a batch share their activation")
        self.runs = sorted(runs, key=lambda run: run.learning_rate)
        self.activation, self.task, self.protocol = activation, task, protocol
        self.kind = "reconstruction" if protocol.network == "autoencoder" else task.kind
        self.builder = Builder(self.runs, activation, task, protocol)
        own = protocol.network not in NETWORKS
        self.network = (user.architecture(protocol.network) if own else NETWORKS[protocol.network][0])(
            self.builder
        )
        self.parameters, self.dtype = self.builder.parameters, self.builder.dtype
        parts = {seed: partition(task, protocol, seed) for seed in self.builder.seeds}
        self.train, self.validation, self.test = (
            torch.from_numpy(np.stack([getattr(parts[run.seed], name) for run in self.runs]))
            for name in ("train", "validation", "test")
        )
        self.inputs, self.targets = torch.from_numpy(task.inputs), torch.from_numpy(task.targets)
        self.first_row = torch.tensor(self.builder.which).unsqueeze(1) * len(self.inputs)
        each = self._each_seed
        if task.kind != "next_token":
            self.mean, self.scale = each(
                lambda seed: _standard(self.inputs[parts[seed].train], bool(task.shape))
            )
            self.scale *= protocol.scale
            self.inputs = self.inputs.to(self.dtype)
        self.rows = self._standardised_once()
        if task.kind == "regression":
            self.target_mean, self.target_scale = each(
                lambda seed: _standard(self.targets[parts[seed].train], whole=False)
            )
            self.targets = self.targets.to(self.dtype)
        make = torch.optim.Adam if protocol.optimiser == "adam" else torch.optim.SGD
        more = {} if protocol.optimiser == "adam" else {"momentum": 0.9}
        self.optimiser = make(self._groups(), fused=True, **more)  # type: ignore[arg-type]

    def _each_seed(self, compute: Callable[[int], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        found = [compute(seed) for seed in self.builder.seeds]
        first, second = (
            torch.stack([found[i][k] for i in self.builder.which]).to(self.dtype) for k in (0, 1)
        )
        return first, second

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

    def _standardised_once(self) -> Tensor | None:
        """All samples as each seed standardises them, one seed after the other, (seeds * samples, features), where
        that is not too much to keep."""
        seeds = self.builder.seeds
        if self.task.kind == "next_token" or len(seeds) * self.inputs.numel() > _KEPT:
            return None
        first = [self.builder.which.index(i) for i in range(len(seeds))]  # a run of each seed
        return ((self.inputs - self.mean[first]) * self.scale[first]).flatten(0, 1)

    def standardised(self, samples: Tensor) -> Tensor:
        """Inputs of the samples, (runs, samples, features), by mean and deviation of each run's training data; of
        a text its tokens."""
        if self.rows is not None:
            return _taken(self.rows, samples + self.first_row)
        x = _taken(self.inputs, samples)
        return x if self.task.kind == "next_token" else (x - self.mean) * self.scale

    def wanted(self, samples: Tensor) -> Tensor:
        """What the outputs are compared with."""
        if self.kind == "reconstruction":
            return self.standardised(samples)
        targets = _taken(self.targets, samples)
        return (targets - self.target_mean) * self.target_scale if self.kind == "regression" else targets

    def forward(self, samples: Tensor) -> Tensor:
        """The outputs, (runs, samples, outputs); of a text (runs, samples, length, tokens)."""
        x = self.standardised(samples)
        if self.protocol.noise:
            x = x + self.protocol.noise * self.builder.drawn(torch.randn, x.shape)
        return self.network(x)

    def step(self, samples: Tensor) -> Tensor:
        """One step on these samples, (runs, batch), inside a `begin`; the mean loss of each run before it."""
        torch._foreach_zero_([parameter.grad for parameter in self.parameters])
        self.builder.activity = None
        loss = losses(self.kind, self.forward(samples), self.wanted(samples)).mean(1)
        total = loss.sum()
        if self.protocol.weight_penalty:
            total = total + self.protocol.weight_penalty * sum(w.square().sum() for w in self.builder.weights)
        if self.builder.activity is not None:
            total = total + self.protocol.activation_penalty * self.builder.activity.sum()
        total.backward()
        self.optimiser.step()
        return loss.detach()

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """Sample numbers of each step of an epoch, (runs, batch) each; the noise of the steps begins anew."""
        self.builder.begin(f"epoch {epoch}", training=True)
        samples = self.train.shape[1]
        orders = np.stack([order(seed, epoch, samples) for seed in self.builder.seeds])
        return self.train.gather(1, torch.from_numpy(orders[self.builder.which])).split(
            self.protocol.batch_size, 1
        )

    @torch.no_grad()
    def evaluate(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and score of each run on its samples."""
        self.builder.begin("evaluation", training=False)
        loss, above, below = [], [], []
        for chunk in self._chunks(samples):
            out, wanted = self.forward(chunk), self.wanted(chunk)
            loss.append(losses(self.kind, out, wanted))
            for parts, part in zip((above, below), hits(self.kind, out, wanted), strict=True):
                parts.append(part.double().sum(1))
        score = torch.stack(above).sum(0) / torch.stack(below).sum(0).clamp(min=1e-300)
        return torch.cat(loss, 1).mean(1), score.nan_to_num(0.0).clamp(min=-1.0)

    @torch.no_grad()
    def health(self) -> tuple[Tensor, Tensor]:
        """Dead share of the units and saturated share of the elements on the training data: (runs, layers)."""
        sites = self.builder.sites
        alive: list[list[Tensor]] = [[] for _ in sites]
        saturated: list[list[Tensor]] = [[] for _ in sites]
        chunks = self._chunks(self.train[:, :_PROBED])
        for chunk in chunks:
            self.builder.begin("evaluation", training=False, watching=True)
            self.forward(chunk)
            for number, site in enumerate(sites):
                for z in site.before:
                    steep = slope(site.function, z).abs() / site.activation.steepest
                    by_unit = steep.movedim(site.units, 1).flatten(2)  # (runs, units, everything else)
                    alive[number].append((by_unit >= DEAD).any(2))
                    saturated[number].append((by_unit < SATURATED).double().mean((1, 2)) * chunk.shape[1])
        self.builder.begin("evaluation", training=False)
        if unread := [i + 1 for i, parts in enumerate(alive) if not parts]:
            raise CompareError(
                f"{self.protocol.network}: activation {unread[0]} is in the model and never called"
            )
        dead = [1 - torch.stack(parts).any(0).double().mean(1) for parts in alive]
        passed = sum(chunk.shape[1] for chunk in chunks)
        # a recurrent site reads every sample once in each step
        shares = [torch.stack(parts).sum(0) * len(chunks) / len(parts) / passed for parts in saturated]
        return torch.stack(dead, 1), torch.stack(shares, 1)

    def saved(self) -> int:
        """Bytes that a training step of one run keeps for its backward pass, besides parameters and inputs."""
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        self.builder.begin("evaluation", training=False)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = self.forward(self.train[:, : self.protocol.batch_size])
        own = {t.untyped_storage().data_ptr() for t in (*self.parameters, out)}
        return sum(size for place, size in sizes.items() if place not in own) // len(self.runs)

    def learned(self) -> dict[str, list[Tensor]]:
        """The activations' parameters by name, one (runs,) tensor a layer."""
        names = [name for name, _ in self.activation.learnable]
        sites = [site for site in self.builder.sites if site.activation is self.activation]
        return {name: [site.learned[name].detach().clone() for site in sites] for name in names}

    def state(self) -> list[Tensor]:
        """Everything that training changes and a test depends on, each with its axis of runs."""
        return [*(p.detach() for p in self.parameters), *self.builder.buffers]

    def _chunks(self, samples: Tensor) -> tuple[Tensor, ...]:
        widest = max(4 * self.protocol.width * places(self.task, self.protocol), self.task.inputs.shape[1])
        return samples.split(max(1, _ELEMENTS // (len(self.runs) * widest)), dim=1)


def losses(kind: str, out: Tensor, wanted: Tensor) -> Tensor:
    """The loss of each run and sample, (runs, samples): of a text the mean over its positions."""
    if kind in ("classification", "next_token"):
        each = F.cross_entropy(out.transpose(1, -1), wanted.transpose(1, -1), reduction="none")
        return each if each.dim() == 2 else each.mean(1)
    if kind == "multilabel":
        return F.binary_cross_entropy_with_logits(out, wanted.to(out.dtype), reduction="none").mean(2)
    return (out - wanted).square().mean(2)


def hits(kind: str, out: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Two numbers for each run and sample; the sum of the first over the sum of the second is the score."""
    if kind in ("classification", "next_token"):
        right = ((out.argmax(-1) == wanted) & out.isfinite().all(-1)).double()
        right = right.view(*right.shape[:2], -1)  # a text has a time axis
        return right.sum(2), torch.ones_like(right).sum(2)
    if kind == "multilabel":
        said = (out > 0) & out.isfinite()
        return 2.0 * (said & (wanted > 0)).sum(2), said.sum(2) + (wanted > 0).sum(2)
    spread, wrong = wanted.double().square().sum(2), (out - wanted).double().square().sum(2)
    return spread - wrong, spread


def train(
    runs: Sequence[Run],
    activation: Activation,
    task: Task,
    protocol: Protocol,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> dict[Run, Outcome]:
    """Trains the runs together and measures each; `on_epoch` is called after every epoch with its number."""
    if protocol.network in NETWORKS:
        return _train(runs, activation, task, protocol, on_epoch)
    found = {}
    for run in runs:
        with torch.random.fork_rng(devices=[]):  # the caller's own dropout draws from torch's generator
            torch.manual_seed(run.seed)
            found |= _train([run], activation, task, protocol, on_epoch)
    return found


def _train(
    runs: Sequence[Run],
    activation: Activation,
    task: Task,
    protocol: Protocol,
    on_epoch: Callable[[int], None],
) -> dict[Run, Outcome]:
    model = Batched(runs, activation, task, protocol)
    saved = model.saved()
    curves: list[list[list[float]]] = [[[], [], []] for _ in model.runs]  # of each run: its three curves
    learned = {
        name: [[[float(v[i]) for v in sites]] for i in range(len(runs))]
        for name, sites in model.learned().items()
    }
    best = torch.full((len(runs),), torch.inf, dtype=torch.float64)
    best_epoch = torch.zeros(len(runs), dtype=torch.long)
    going, kept = torch.ones(len(runs), dtype=torch.bool), []
    if protocol.patience:
        kept = [value.clone() for value in model.state()]
    seconds = []
    for epoch in range(protocol.epochs):
        batches = model.batches(epoch)
        start = time.thread_time()
        total = sum(model.step(batch) * batch.shape[1] for batch in batches)
        seconds.append((time.thread_time() - start) / len(batches) / len(runs))
        loss, score = model.evaluate(model.validation)
        now = [(total / model.train.shape[1]).tolist(), loss.tolist(), score.tolist()]
        values = model.learned()
        for i in going.nonzero().flatten().tolist():
            for curve, value in zip(curves[i], now, strict=True):
                curve.append(value[i])
            for name, sites in values.items():
                learned[name][i].append([float(v[i]) for v in sites])
        if protocol.patience:
            better = going & (loss < best)
            for old, new in zip(kept, model.state(), strict=True):
                old[better] = new[better]
            best[better], best_epoch[better] = loss[better].double(), epoch
            going &= epoch - best_epoch < protocol.patience
        else:
            best_epoch.fill_(epoch)
        on_epoch(epoch)
        if not going.any():
            break
    for old, new in zip(kept, model.state(), strict=bool(kept)):
        new.copy_(old)
    (test_loss, test), (_, fitted) = model.evaluate(model.test), model.evaluate(model.train)
    dead, saturated = model.health()
    outcomes = {}
    for i, run in enumerate(model.runs):
        train_loss, validation_loss, validation = map(tuple, curves[i])
        outcomes[run] = Outcome(
            test_score=float(test[i]),
            test_loss=float(test_loss[i]),
            validation_score=validation[int(best_epoch[i])],
            train_score=float(fitted[i]),
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_curve=validation,
            dead=tuple(dead[i].tolist()),
            saturated=tuple(saturated[i].tolist()),
            learned={name: tuple(map(tuple, found[i])) for name, found in learned.items()},
            best_epoch=int(best_epoch[i]),
            step_seconds=statistics.median(seconds),
            saved=saved,
            together=len(runs),
            failure=_failure(train_loss + validation_loss, float(fitted[i]), model),
        )
    return outcomes


def _taken(rows: Tensor, numbers: Tensor) -> Tensor:
    """rows[numbers]; five times as fast for small rows."""
    return rows.index_select(0, numbers.flatten()).view(*numbers.shape, *rows.shape[1:])


def _standard(values: Tensor, whole: bool) -> tuple[Tensor, Tensor]:
    """Mean and 1/deviation of each column, or of everything; 0 for a constant, which says nothing. (1, columns) both."""
    values = values.double()
    columns = values.reshape(-1, 1) if whole else values
    deviation = columns.std(0, correction=0, keepdim=True)
    return columns.mean(0, keepdim=True), torch.where(deviation > 0, 1 / deviation, 0.0)


def _failure(loss: Sequence[float], train_score: float, model: Batched) -> Failure:
    if not np.isfinite(loss).all():
        return "diverged"
    guess = 0.0 if model.kind == "reconstruction" else model.task.majority
    return "stuck" if train_score < guess + STUCK.get(model.kind, _STUCK) * (1 - guess) else ""

"""The comparison itself: what is to be run, what is there already, the runs, the judgement."""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import importlib.metadata
import itertools
import math
import platform
import random
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softknee.compare import backends, user
from softknee.compare.activations import DEFAULT, Activation, activation
from softknee.compare.conditions import Condition, conditions, many
from softknee.compare.data import load
from softknee.compare.engine import Outcome
from softknee.compare.errors import CompareError
from softknee.compare.files import task_of
from softknee.compare.judge import answer, judge, ranks
from softknee.compare.networks import NETWORKS, check_gate, work
from softknee.compare.protocol import Init, Optimiser, Protocol, Run, key, partition
from softknee.compare.records import Comparison, DataSummary
from softknee.compare.schedule import Batch, Listener, Schedule
from softknee.compare.search import Round, Search, checked, rounds
from softknee.compare.specification import Specification, specifications
from softknee.compare.statistics import seeds_for, seeds_needed, smallest_p
from softknee.compare.store import Store, is_url, masked
from softknee.compare.tasks import Kind, Task

#: a value, several, or a text of values and ranges: 2, (2, 12), "2,12", "0..1", "0..1:5"
Values = Any

RATES = (0.001, 0.003, 0.01)
_NUMBERS = 1 << 24  # parameters of the runs that are trained together, at most


def compare(
    data: str | Path | Task | Sequence[Any] = "digits",
    activations: str | Iterable[str | Specification] = DEFAULT,
    *,
    network: str | Callable[..., Any] | torch.nn.Module | Sequence[Any] | None = None,
    seeds: int | Sequence[int] = 10,
    depth: int | Values = None,
    width: int | Values = None,
    epochs: int | Values = 15,
    lr: float | Values = RATES,
    batch_size: int | Values = 64,
    optimiser: Optimiser | Values = "adam",
    init: Init | Values = None,
    noise: float | Values = 0.0,
    scale: float | Values = 1.0,
    bias: float | Values = 0.0,
    samples: int | Values = 0,
    weight_penalty: float | Values = 0.0,
    activation_penalty: float | Values = 0.0,
    batch_norm: bool | Values = False,
    dropout: float | Values = 0.0,
    layers: str | Values = "all",
    patience: int | Values = 0,
    kind: Kind | None = None,
    out: str | Path | None = None,
    store: str | None = None,
    search: Search = "grid",
    trials: int | None = None,
    jobs: int | None = None,
    backend: backends.Name | None = None,
    address: str | None = None,
    progress: Listener = lambda event: None,
) -> Comparison:
    """Trains networks that differ in the activation alone, and says which differences are real.

    Every setting from `network` to `patience` but `seeds` and `lr` takes one value, several, or ranges ("0..1" is
    five values, "0..1:9" nine); all combinations are run, each is a condition with a ranking of its own.

    Args:
        data: a name (`softknee data` lists them), a file (.npz, .csv, .parquet, .txt, idx), `module:function`,
            inputs and targets, a `Task`; or a list of such, or names with commas between them.
        activations: `"relu,leaky_relu(negative_slope=0.3),elu(alpha=0.1..2)"` or a list of such. A parameter that
            is learned, as prelu's, is learned layer by layer unless it is given.
        network: mlp, autoencoder, cnn, resnet, transformer, gated_transformer, gru, lstm or rnn (default: what fits);
            or one's own: `module:function` or the function, which gets a maker of activation modules
            (`activation()`) and returns a model; or a finished model, or a function without arguments that returns
            one, in which `softknee.swap` exchanges the activations.
        seeds: how many, or which; a seed fixes split, initial numbers, order and noise for all activations alike.
        depth: hidden layers, or blocks.
        width: units or channels in each of them.
        epochs: how often each training sample is seen.
        lr: learning rates; of several, each seed's validation data choose, for every activation alike.
        batch_size: samples in a step.
        optimiser: "adam", or "sgd" with momentum 0.9.
        init: "own": the weight scale that belongs to the activation; "same": sqrt(2/fan_in) for all. One's own
            network is "same" unless "own" is asked for: its weights are as it is built; "own": `init.initialize_`.
        noise: standard deviation of Gaussian noise on the standardised inputs, in training and test.
        scale: a factor on the standardised inputs.
        bias: the initial bias of the hidden layers.
        samples: training samples used; 0: all.
        weight_penalty: times the sum of squared weights, added to the loss.
        activation_penalty: times the mean square of the activations' outputs, added to the loss.
        batch_norm: batch normalisation before every activation.
        dropout: share of the activations' outputs dropped in training.
        layers: which hidden layers have the activation (all, first, last, odd, even, 3, 2-5); the others have relu.
        patience: epochs without a lower validation loss until a run stops, with its best weights; 0: never.
        kind: classification, regression or multilabel, where a file does not show it.
        out: a folder that keeps the finished runs: the next call continues there.
        store: postgresql://user@host/database keeps them there instead, for several machines.
        search: "grid": the learning rates are those of `lr`; "optuna": they are searched for between its ends.
        trials: how many rates "optuna" tries for each activation and condition; default: 6.
        jobs: how many batches are trained side by side, each on one core; default: `torch.get_num_threads()`.
        backend: "threads" of this process; "joblib": processes, which start in seconds and use many cores better;
            "ray": a cluster. Default: threads, but processes for a network of one's own, where joblib is installed.
        address: of a Ray cluster: "auto" for one that runs here, or "host:port"; None: one is started here.
        progress: gets `Progress` events.

    Raises:
        CompareError: what was asked for cannot be done; the message says what and how to mend it.
    """
    experiment = Experiment(
        data, network=network, depth=depth, width=width, epochs=epochs, lr=lr, batch_size=batch_size, optimiser=optimiser,
        init=init, noise=noise, scale=scale, bias=bias, samples=samples, weight_penalty=weight_penalty,
        activation_penalty=activation_penalty, batch_norm=batch_norm, dropout=dropout, layers=layers, patience=patience,
        kind=kind, out=out, store=store, search=search, trials=trials, jobs=jobs, backend=backend, address=address,
    )  # fmt: skip
    seeds = whole("seeds", range(seeds) if isinstance(seeds, int) else seeds, 0)
    contestants = [activation(one) for one in specifications(activations)]
    for label, times in collections.Counter(c.label for c in contestants).items():
        if times > 1:
            raise CompareError(
                f"{label} is named {times} times, perhaps by an alias; name each activation once"
            )
    labels = [c.label for c in contestants]
    with experiment.open(progress) as schedule:
        usual = experiment.batches(contestants, seeds, schedule.backend.slots)  # in number alone
        schedule.work, schedule.expected = (
            sum(batch.work for batch in usual),
            sum(len(batch.runs) for batch in usual),
        )
        for number, rates in enumerate(experiment.rounds(labels, schedule.outcomes)):
            batches = experiment.batches(contestants, seeds, schedule.backend.slots, rates)
            if number == 0:
                before = len(schedule.store.find([name for batch in batches for name in batch.runs]))
                there = f", {before:,} of them finished before" * (before > 0)
                schedule.tell("", f"{schedule.expected:,} runs{there}")
                schedule.tell("", announcement(len(seeds), len(contestants)))
                for warning in schedule.store.warnings:
                    schedule.tell("", warning)
            if schedule.store.place is not None:
                random.shuffle(batches)  # processes that share a store seldom meet
            schedule.run(sorted(batches, key=lambda batch: -batch.work))
    return experiment.comparison(contestants, seeds, schedule)


class Experiment:
    """What a call asks for but the activations and the seeds, checked: the settings are those of `compare`."""

    def __init__(
        self, data: Any, *, lr: Any, kind: Kind | None, out: str | Path | None, store: str | None, search: str,
        trials: int | None, jobs: int | None, backend: str | None, address: str | None, **given: Any,
    ) -> None:  # fmt: skip
        self._start = time.perf_counter()
        self.tasks, self._names = _tasks(data, kind)
        if callable(given["network"]):  # a module is callable, too
            given["network"] = [given["network"]]
        self._given, self._kind = given, kind
        self.rates, self.search = _rates(lr), search
        self.tries = checked(search, self.rates, trials)
        self.cells = conditions(self.tasks, given)
        self.own = any(cell.protocol.network not in NETWORKS for cell in self.cells)
        if store is not None and not is_url(store):
            raise CompareError(
                f"store={masked(store)!r}: a URL such as postgresql://user@host/database is needed"
            )
        self._out, self._store = out, store
        jobs = whole("jobs", [torch.get_num_threads() if jobs is None else jobs], 1)[0]
        self._address, self._backend = address, backend or self._fitting(jobs)
        self._jobs = (
            1 if self.own and self._backend == "threads" else jobs
        )  # theirs may draw from torch's generator

    def _fitting(self, jobs: int) -> backends.Name:
        """Networks of one's own need processes to be trained side by side, where they can be sent there."""
        networks = [user.known(cell.protocol.network) for cell in self.cells]
        return "joblib" if self.own and jobs > 1 and backends.Processes.take(networks) else "threads"

    def with_epochs(self, epochs: int) -> Experiment:
        """The same with another number of epochs."""
        other = copy.copy(self)
        other._given = self._given | {"epochs": epochs}
        other.cells = conditions(self.tasks, other._given)
        return other

    @contextlib.contextmanager
    def open(self, progress: Listener) -> Iterator[Schedule]:
        """What trains it; at the end the store and the workers are closed."""
        for cell in self.cells:
            _fits(cell, 0)
        with (
            Store(self._store or self._out) as kept,
            contextlib.closing(backends.backend(self._backend, self._jobs, self._address)) as workers,
        ):
            yield Schedule(kept, progress, workers)

    def rounds(self, labels: Sequence[str], outcomes: Any) -> Iterator[Round]:
        """Which learning rates to try next, until the search's budget is spent."""
        return rounds(self.search, self.rates, self.tries, self.cells, labels, outcomes)

    def batches(
        self, contestants: Sequence[Activation], seeds: Sequence[int], jobs: int, rates: Round | None = None
    ) -> list[Batch]:
        """The runs of each condition and activation, as many together as memory and the number of jobs allow."""
        for cell, contestant in itertools.product(self.cells, contestants):
            check_gate(cell.protocol, contestant)
        if rates is None:  # as many as will be tried
            labels = [contestant.label for contestant in contestants]
            rates = dict.fromkeys(itertools.product(self.cells, labels), tuple(range(self.tries)))
        return _batches(self.cells, contestants, rates=rates, seeds=seeds, jobs=jobs)

    def comparison(
        self,
        contestants: Sequence[Activation],
        seeds: Sequence[int],
        schedule: Schedule,
        outcomes: Mapping[Condition, Mapping[Run, Outcome]] | None = None,
    ) -> Comparison:
        """The judgement on these outcomes, or on all that the schedule has."""
        labels = [c.label for c in contestants]
        found = schedule.outcomes if outcomes is None else outcomes
        levels = judge({cell: found[cell] for cell in self.cells}, labels, seeds)
        settings = self._settings(labels, seeds)
        notes = tuple(schedule.store.warnings)
        if schedule.store.unsaved:
            notes += (
                f"{schedule.store.unsaved} finished runs could not be kept in {masked(str(self._store or self._out))}",
            )
        cell_of = {cell.task: cell for cell in reversed(self.cells)}  # the first of each
        return Comparison(
            answer=answer(levels, len(seeds)),
            levels=levels,
            data=tuple(_summary(task, cell_of[task], seeds[0]) for task in self.tasks),
            ranks=ranks(levels),
            learning_rates=self.rates,
            seeds=tuple(seeds),
            smallest_p=smallest_p(len(seeds)),
            seeds_needed=seeds_needed(),
            command=_command(settings),
            call=f"softknee.compare({', '.join(f'{name}={value!r}' for name, value in settings.items())})",
            environment=environment(),
            gains={c.label: c.gain for c in contestants},
            trained=schedule.trained,
            found=schedule.found,
            seconds=time.perf_counter() - self._start,
            folder=None if self._out is None else str(self._out),
            notes=notes,
        )

    def _settings(self, labels: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
        """How to call `compare` for the same."""
        settings: dict[str, Any] = {
            "data": self._names,
            "activations": ",".join(labels),
            "seeds": len(seeds) if tuple(seeds) == tuple(range(len(seeds))) else tuple(seeds),
            "lr": self.rates if len(self.rates) > 1 else self.rates[0],
        }
        usual = Protocol()
        for name in self._given:
            used = tuple(dict.fromkeys(getattr(cell.protocol, name) for cell in self.cells))
            if name == "network":
                used = tuple(one.partition("#")[0] for one in used)
            if name in ("network", "depth", "width", "epochs") or used != (getattr(usual, name),):
                settings[name] = used if len(used) > 1 else used[0]
        if self.own:
            settings = {name: value for name, value in settings.items() if name not in ("depth", "width")}
        if self._kind is not None:
            settings["kind"] = self._kind
        if self.search != "grid":
            settings |= {"search": self.search, "trials": self.tries}
        if self._out is not None:
            settings["out"] = str(self._out)
        if self._store is not None:
            settings["store"] = masked(self._store)
        return settings


def _tasks(data: Any, kind: Kind | None) -> tuple[list[Task], str]:
    """The tasks, and their names as the command line takes them."""
    if isinstance(data, str):
        data = [part.strip() for part in data.split(",")]
    elif isinstance(data, tuple) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        data = [task_of(data, "the data", kind)]
    elif not isinstance(data, (list, tuple)):
        data = [data]
    found = [
        load(one, kind) if isinstance(one, (str, Path)) else task_of(one, "the data", kind) for one in data
    ]
    names = [
        str(one) if isinstance(one, (str, Path)) else task.name for one, task in zip(data, found, strict=True)
    ]
    if not found:
        raise CompareError("no data set is given")
    if len({task.name for task in found}) < len(found):
        raise CompareError(f"two data sets have the same name in {', '.join(names)}")
    return found, ",".join(names)


def _fits(cell: Condition, seed: int) -> None:
    """The split must leave something to train with and as many samples as were asked for."""
    asked = cell.protocol.samples
    there = round((1 - cell.protocol.test - cell.protocol.validation) * len(cell.task.inputs))
    if asked > there:
        raise CompareError(f"samples={asked}: {cell.task.name} has {there} training samples")
    if 0 < asked < 2:
        raise CompareError("samples: two training samples are the fewest")


def _batches(
    cells: Sequence[Condition],
    contestants: Sequence[Activation],
    *,
    rates: Round,
    seeds: Sequence[int],
    jobs: int,
) -> list[Batch]:
    found = []
    for cell in cells:
        size, cost = work(cell.task, cell.protocol, contestants[0])
        samples = len(partition(cell.task, cell.protocol, seeds[0]).train)
        for contestant in contestants:
            tried = rates[cell, contestant.label]
            seeds_at_once, rates_at_once = max(1, _NUMBERS // size // len(tried)), len(tried)
            if len(cells) * len(contestants) < jobs:
                seeds_at_once = min(
                    seeds_at_once, math.ceil(len(seeds) * len(cells) * len(contestants) / jobs)
                )
            if cell.protocol.network not in NETWORKS:  # one run at a time: each is kept when it is finished
                seeds_at_once = rates_at_once = 1
            for part in itertools.product(_parts(tried, rates_at_once), _parts(seeds, seeds_at_once)):
                runs = [Run(contestant.label, rate, seed) for rate, seed in itertools.product(*part)]
                keyed = {
                    key(run, cell.protocol, cell.task, contestant.fingerprint, versions()): run
                    for run in runs
                }
                found.append(Batch(contestant, cell, keyed, samples * cost))
    return found


def _parts(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[first : first + size] for first in range(0, len(values), size)]


def _summary(task: Task, cell: Condition, seed: int) -> DataSummary:
    part = partition(task, cell.protocol, seed)
    split = (len(part.train), len(part.validation), len(part.test))
    samples, features = task.inputs.shape
    return DataSummary(
        task.name, task.kind, samples, features, task.classes, task.majority, task.digest, split
    )


def announcement(seeds: int, contestants: int) -> str:
    """What so many seeds can show, said before they are run."""
    if contestants == 1:
        return "one activation: nothing to test against"
    p, needed = smallest_p(seeds), seeds_needed()
    if seeds < needed:
        return f"{seeds} seeds cannot show a difference: the smallest p attainable is {p:.2g}; {needed} seeds can"
    small, large = seeds_for(0.5), seeds_for(1.0)
    return (
        f"{seeds} seeds: the smallest p attainable is {p:.2g} ({needed} seeds are the fewest that can reach 0.05); "
        f"a difference of one standard deviation between seeds takes about {large}, of half a one {small}"
    )


def versions() -> dict[str, str]:
    """The packages whose version can change a result."""
    return {"softknee": _version("softknee"), "torch": torch.__version__, "numpy": np.__version__}


def environment() -> dict[str, str]:
    """Where it ran."""
    return (
        versions()
        | {
            "scipy": _version("scipy"),
            "scikit-learn": _version("scikit-learn"),
            "Python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "torch threads": str(torch.get_num_threads()),
            "device": "CPU",
        }
        | ({"commit": found} if (found := _commit()) else {})
    )


@functools.cache
def _commit() -> str:
    """Of a checkout that this package is used from; "+" says that files in it have changed."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _command(settings: dict[str, Any]) -> str:
    words = ["softknee", "compare"]
    for name, value in settings.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        text += (
            "," if name == "seeds" and isinstance(value, tuple) and len(value) == 1 else ""
        )  # that seed alone
        words += [f"--{name.replace('_', '-')}", shlex.quote(text)]
    return " ".join(words)


def whole(name: str, values: Iterable[Any], least: int) -> tuple[int, ...]:
    found = tuple(values)
    if not found or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in found):
        raise CompareError(f"{name}: whole numbers from {least} are needed, not {list(found) or 'none'}")
    if len(set(found)) < len(found):
        raise CompareError(f"{name}: a number is given twice in {list(found)}")
    return found


def _rates(given: Any) -> tuple[float, ...]:
    values = many("lr", given)
    try:
        found = tuple(sorted(float(v) for v in values))
    except (TypeError, ValueError):
        found = (math.nan,)
    if not all(0 < v < float("inf") for v in found) or len(set(found)) < len(found):
        raise CompareError(f"lr: different positive numbers are needed, not {list(values)}")
    return found

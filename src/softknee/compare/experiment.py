"""The comparison itself: what is to be run, what is there already, the runs, the judgement."""

from __future__ import annotations

import collections
import functools
import importlib.metadata
import platform
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from softknee.compare.activations import DEFAULT, Activation, activation
from softknee.compare.data import Task, load
from softknee.compare.engine import Outcome, train
from softknee.compare.errors import CompareError
from softknee.compare.judge import answer, judge
from softknee.compare.protocol import Init, Protocol, Run, key, partition
from softknee.compare.records import Comparison, DataSummary
from softknee.compare.specification import Specification, specifications
from softknee.compare.statistics import seeds_needed, smallest_p
from softknee.compare.store import Store


@dataclass(frozen=True)
class Progress:
    """An event: `done` of `total` units of work (about proportional to time), what is being trained, and
    now and then a `note` worth a line of its own."""

    done: float
    total: float
    text: str
    note: str = ""


Listener = Callable[[Progress], None]


def compare(
    data: str | Path | Task = "digits",
    activations: str | Iterable[str | Specification] = DEFAULT,
    *,
    seeds: int | Sequence[int] = 10,
    depth: int | Sequence[int] = (2, 12),
    width: int = 64,
    epochs: int = 15,
    lr: float | Sequence[float] = 0.003,
    batch_size: int = 64,
    init: Init = "own",
    out: str | Path | None = None,
    progress: Listener = lambda event: None,
) -> Comparison:
    """Trains multilayer perceptrons that differ in the activation alone, and says which differences are real.

    Args:
        data: a scikit-learn set (digits, breast_cancer, wine, iris), a file ending in .npz or .csv, or a `Task`.
        activations: `"relu,leaky_relu(negative_slope=0.3)"` or a list of such.
        seeds: how many, or which; a seed fixes split, initial numbers and order for all activations alike.
        depth: numbers of hidden layers.
        width: units in each of them.
        epochs: how often each training sample is seen.
        lr: Adam's learning rate; of several, each seed's validation data choose, for every activation alike.
        batch_size: samples in a step.
        init: "own": the weight scale that belongs to the activation; "same": sqrt(2/fan_in) for all.
        out: a folder that keeps the finished runs: the next call continues there.
        progress: gets `Progress` events.
    """
    start = time.perf_counter()
    task = data if isinstance(data, Task) else load(data)
    wanted = specifications(activations)
    seeds = _numbers("seeds", range(seeds) if isinstance(seeds, int) else seeds, 0)
    depths = _numbers("depth", [depth] if isinstance(depth, int) else depth, 1)
    rates = _rates([lr] if isinstance(lr, (int, float)) else lr)
    for name, value in (("width", width), ("epochs", epochs), ("batch_size", batch_size)):
        _numbers(name, [value], 1)
    if init not in ("own", "same"):
        raise CompareError(f"init={init!r}; it is 'own' or 'same'")
    contestants = [activation(one) for one in wanted]
    for label, times in collections.Counter(c.label for c in contestants).items():
        if times > 1:
            raise CompareError(
                f"{label} is named {times} times, perhaps by an alias; name each activation once"
            )
    protocol = Protocol(width, epochs, batch_size, init)
    with Store(out) as store:
        work = _Work(task, protocol, store, progress, contestants, depths, rates, seeds)
        outcomes = work.all()
        notes = tuple(store.warnings)
        if store.unsaved:
            notes += (f"{store.unsaved} finished runs could not be kept in {out}",)
    levels = judge(outcomes, [c.label for c in contestants], depths, rates, seeds)
    part = partition(task, protocol, seeds[0])
    settings = {
        "data": data.name if isinstance(data, Task) else str(data),
        "activations": ",".join(c.label for c in contestants),
        "seeds": len(seeds) if seeds == tuple(range(len(seeds))) else seeds,
        "depth": depths,
        "width": width,
        "epochs": epochs,
        "lr": rates if len(rates) > 1 else rates[0],
        "batch_size": batch_size,
        "init": init,
    } | ({"out": str(out)} if out is not None else {})
    return Comparison(
        answer=answer(task.name, levels, len(seeds)),
        levels=levels,
        data=DataSummary(
            task.name,
            *task.inputs.shape,
            task.classes,
            task.majority,
            task.digest,
            (len(part.train), len(part.validation), len(part.test)),
        ),
        protocol=protocol,
        learning_rates=rates,
        seeds=seeds,
        smallest_p=smallest_p(len(seeds)),
        seeds_needed=seeds_needed(),
        command=_command(settings),
        call=f"softknee.compare({', '.join(f'{name}={value!r}' for name, value in settings.items())})",
        environment=environment(),
        gains={c.label: c.gain for c in contestants},
        trained=work.trained,
        found=work.found,
        seconds=time.perf_counter() - start,
        folder=None if out is None else str(out),
        notes=notes,
    )


@dataclass
class _Work:
    """All runs of a comparison: batches of one activation and depth, those that are not in the store yet."""

    task: Task
    protocol: Protocol
    store: Store
    listener: Listener
    contestants: Sequence[Activation]
    depths: Sequence[int]
    rates: Sequence[float]
    seeds: Sequence[int]
    trained: int = 0
    found: int = 0
    done: float = 0.0

    def all(self) -> dict[Run, Outcome]:
        outcomes: dict[Run, Outcome] = {}
        batches = [(c, depth, self._keys(c, depth)) for depth in self.depths for c in self.contestants]
        finished = self.store.find([k for _, _, keys in batches for k in keys])
        self.total = sum(len(keys) * self._cost(depth) for _, depth, keys in batches)
        runs = sum(len(keys) for _, _, keys in batches)
        self._tell(
            "", f"{runs} runs, {len(finished)} of them finished before" if finished else f"{runs} runs"
        )
        self._tell("", _announcement(len(self.seeds), len(self.contestants)))
        for warning in self.store.warnings:
            self._tell("", warning)
        try:
            for contestant, depth, keys in batches:
                outcomes |= self._batch(contestant, depth, keys)
        except KeyboardInterrupt:
            kept = (
                f"kept in {self.store.place}; the same call continues"
                if self.store.place
                else "lost: no folder"
            )
            raise KeyboardInterrupt(
                f"stopped: {self.found + self.trained} of {runs} runs are {kept}"
            ) from None
        return outcomes

    def _keys(self, contestant: Activation, depth: int) -> dict[str, Run]:
        runs = [Run(contestant.label, depth, rate, seed) for rate in self.rates for seed in self.seeds]
        return {key(run, self.protocol, self.task, contestant.fingerprint, versions()): run for run in runs}

    def _cost(self, depth: int) -> float:
        """Units of work of one run: epochs times layers, two more for what does not depend on the depth."""
        return float(self.protocol.epochs * (depth + 2))

    def _batch(self, contestant: Activation, depth: int, keys: dict[str, Run]) -> dict[Run, Outcome]:
        finished = self.store.find(keys)  # asked again: another process may share the folder
        missing = {k: run for k, run in keys.items() if k not in finished}
        self.done += len(finished) * self._cost(depth)
        self.found += len(finished)
        text = f"{contestant.label}, {depth} hidden layer{'s' * (depth > 1)}"
        outcomes = {keys[k]: outcome for k, outcome in finished.items()}
        if not missing:
            self._tell(text)
            return outcomes
        before = self.done

        def on_epoch(epoch: int) -> None:
            self.done = before + len(missing) * self._cost(depth) * (epoch + 1) / self.protocol.epochs
            self._tell(text)

        new = train(list(missing.values()), contestant, self.task, self.protocol, on_epoch)
        warned = len(self.store.warnings)
        self.store.save({k: (run, new[run]) for k, run in missing.items()})
        for warning in self.store.warnings[warned:]:
            self._tell(text, warning)
        self.trained += len(new)
        return outcomes | new

    def _tell(self, text: str, note: str = "") -> None:
        self.listener(Progress(self.done, self.total, text, note))


def _announcement(seeds: int, contestants: int) -> str:
    """What so many seeds can show, said before they are run."""
    if contestants == 1:
        return "one activation: nothing to test against"
    p, needed = smallest_p(seeds), seeds_needed()
    if seeds < needed:
        return f"{seeds} seeds cannot show a difference: the smallest p attainable is {p:.2g}; {needed} seeds can"
    return f"{seeds} seeds: the smallest p attainable is {p:.2g} ({needed} seeds are the fewest that can reach 0.05)"


def versions() -> dict[str, str]:
    """The packages whose version can change a result."""
    return {"softknee": _version("softknee"), "torch": torch.__version__, "numpy": np.__version__}


def environment() -> dict[str, str]:
    """Where it ran."""
    return versions() | {
        "scipy": _version("scipy"),
        "scikit-learn": _version("scikit-learn"),
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch threads": str(torch.get_num_threads()),
        "device": "CPU",
    }


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _command(settings: dict[str, object]) -> str:
    words = ["softknee", "compare"]
    for name, value in settings.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        text += (
            "," if name == "seeds" and isinstance(value, tuple) and len(value) == 1 else ""
        )  # that seed alone
        words += [f"--{name.replace('_', '-')}", shlex.quote(text)]
    return " ".join(words)


def _numbers(name: str, values: Iterable[int], least: int) -> tuple[int, ...]:
    found = tuple(values)
    if not found or any(isinstance(v, bool) or not isinstance(v, int) or v < least for v in found):
        raise CompareError(f"{name}: whole numbers from {least} are needed, not {list(found) or 'none'}")
    if len(set(found)) < len(found):
        raise CompareError(f"{name}: a number is given twice in {list(found)}")
    return found


def _rates(values: Iterable[float]) -> tuple[float, ...]:
    found = tuple(sorted(float(v) for v in values))
    if not found or not all(0 < v < float("inf") for v in found) or len(set(found)) < len(found):
        raise CompareError(f"lr: different positive numbers are needed, not {list(found) or 'none'}")
    return found

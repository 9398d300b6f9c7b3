"""The comparison itself: what is to be run, what is there already, the runs, the judgement."""

from __future__ import annotations

import collections
import functools
import importlib.metadata
import platform
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from softknee.compare.activations import DEFAULT, Activation, activation
from softknee.compare.data import Task, load
from softknee.compare.errors import CompareError
from softknee.compare.judge import answer, judge
from softknee.compare.protocol import Init, Protocol, Run, key, partition
from softknee.compare.records import Comparison, DataSummary
from softknee.compare.schedule import Batch, Listener, Schedule
from softknee.compare.specification import Specification, specifications
from softknee.compare.statistics import seeds_needed, smallest_p
from softknee.compare.store import Store


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
    jobs: int | None = None,
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
        jobs: how many batches are trained side by side, each on one core; default: `torch.get_num_threads()`.
        progress: gets `Progress` events.
    """
    start = time.perf_counter()
    task = data if isinstance(data, Task) else load(data)
    wanted = specifications(activations)
    seeds = _numbers("seeds", range(seeds) if isinstance(seeds, int) else seeds, 0)
    depths = _numbers("depth", [depth] if isinstance(depth, int) else depth, 1)
    rates = _rates([lr] if isinstance(lr, (int, float)) else lr)
    for name, value in (
        ("width", width),
        ("epochs", epochs),
        ("batch_size", batch_size),
        ("jobs", jobs or 1),
    ):
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
        batches = [
            Batch(c, depth, _runs(task, protocol, c, depth, rates, seeds))
            for depth in depths
            for c in contestants
        ]
        schedule = Schedule(batches, task, protocol, store, progress, jobs or torch.get_num_threads())
        keys = [name for batch in batches for name in batch.runs]
        before = len(store.find(keys))
        schedule.tell("", f"{len(keys)} runs" + f", {before} of them finished before" * (before > 0))
        schedule.tell("", _announcement(len(seeds), len(contestants)))
        for warning in store.warnings:
            schedule.tell("", warning)
        outcomes = schedule.run()
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
        trained=schedule.trained,
        found=schedule.found,
        seconds=time.perf_counter() - start,
        folder=None if out is None else str(out),
        notes=notes,
    )


def _runs(
    task: Task,
    protocol: Protocol,
    contestant: Activation,
    depth: int,
    rates: Sequence[float],
    seeds: Sequence[int],
) -> dict[str, Run]:
    """The runs of one activation and depth by their keys."""
    runs = [Run(contestant.label, depth, rate, seed) for rate in rates for seed in seeds]
    return {key(run, protocol, task, contestant.fingerprint, versions()): run for run in runs}


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

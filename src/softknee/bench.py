"""How fast softknee is beside others, on this machine.

Every repetition times all of them one after the other, each time in another order, so that whatever else
the machine does falls on all. A repetition calls a function often enough to last a while; every call
allocates its output, as in a model. A ratio is the peer's time over softknee's (above 1: softknee is
faster); what is reported is the median of the repetitions' ratios, between their quartiles.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

import softknee.functional as ours
from softknee import __version__, catalogue
from softknee.catalogue.definition import Definition
from softknee.nn import launch
from softknee.nn.pointwise import Call
from softknee.nn.runtime import runtime
from softknee.testing.metric import format_of

__all__ = [
    "DTYPES",
    "PASSES",
    "PEERS",
    "SIZES",
    "Measurement",
    "available",
    "cases",
    "everywhere",
    "largest_error",
    "measure",
    "seconds_of",
    "settings",
    "usual",
]

SIZES = (4_096, 65_536, 1_048_576, 8_388_608)
DTYPES = ("float32", "bfloat16", "float16", "float64")
PASSES = ("forward", "forward+backward")

Function = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Measurement:
    """One activation against one peer.

    Times are medians of one call, in microseconds. copy_share: the time of a copy of the input (into
    a new tensor) over softknee's, of a forward pass; into_share: the same of passes into a tensor that is there. kept, peer_kept: bits that backward keeps, each
    element's share. ulp, peer_ulp: the largest error of values (`largest_error`) at 65,536 numbers over the whole
    range of the type, for 16 bits all there are; of float64, beside which there is nothing finer, None.
    """

    function: str
    dtype: str
    size: int
    passes: str
    peer: str
    peer_us: float
    softknee_us: float
    ratio: float
    ratio_low: float
    ratio_high: float
    copy_share: float | None
    kept: float | None
    peer_kept: float | None
    repetitions: int
    calls: int
    ulp: float | None = None
    peer_ulp: float | None = None
    into_share: float | None = None

    @property
    def spread(self) -> float:
        """How many times the upper quartile of the ratio is the lower one"""
        return self.ratio_high / self.ratio_low

    @property
    def steady(self) -> bool:
        return self.spread < STEADY


# The peers: each gives a function for a definition and its arguments, or None where it has none.


def _torch(definition: Definition, arguments: Mapping[str, Any]) -> Function | None:
    name = definition.torch or definition.name
    found = getattr(torch.nn.functional, name, None) or getattr(torch, name, None)
    return None if found is None else lambda x: found(x, **arguments)


def _compiled(definition: Definition, arguments: Mapping[str, Any]) -> Function | None:
    eager = _torch(definition, arguments)
    return None if eager is None else torch.compile(eager, dynamic=False)  # type: ignore[no-any-return]


def _transformers(definition: Definition, arguments: Mapping[str, Any]) -> Function | None:
    from transformers.activations import ACT2FN  # type: ignore[import-not-found]

    return None if arguments or definition.name not in ACT2FN else ACT2FN[definition.name]


def _timm(definition: Definition, arguments: Mapping[str, Any]) -> Function | None:
    from timm.layers import get_act_fn  # type: ignore[import-not-found]

    try:
        return None if arguments else get_act_fn(definition.name)
    except KeyError:
        return None


def _torch_activation(definition: Definition, arguments: Mapping[str, Any]) -> Function | None:
    import torch_activation  # type: ignore[import-not-found]

    names = {n.lower(): n for n in dir(torch_activation)}
    found = names.get(definition.name.replace("_", ""))
    return None if found is None or arguments else getattr(torch_activation, found)()


#: bytes of results before measuring: a virtual machine whose host took idle memory back gets it page by page
FRESH = 2**30
#: elements from which on memory is what counts
LARGE = 2**20
#: how often a figure is measured, at most; and how far its quartiles may be apart not to be measured again
ATTEMPTS, STEADY = 3, 1.25

#: name -> (the module it needs, what makes a function)
PEERS: dict[str, tuple[str, Callable[[Definition, Mapping[str, Any]], Function | None]]] = {
    "torch": ("torch", _torch),
    "torch.compile": ("torch", _compiled),
    "transformers": ("transformers.activations", _transformers),
    "timm": ("timm.layers", _timm),
    "torch-activation": ("torch_activation", _torch_activation),
}


def usual() -> list[str]:
    """What torch has, too, and needs no arguments: the activations that are measured by default."""
    return [
        d.name
        for d in catalogue.all_definitions()
        if d.torch and all(p.default is not None and not p.learnable for p in d.parameters)
    ]


def available(peers: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The peers that can be imported, and of the others why they cannot; an error for a name that is none."""
    present, missing = [], {}
    for name in peers:
        if name not in PEERS:
            raise ValueError(f"{name!r} is not a peer; they are {', '.join(PEERS)}")
        package = PEERS[name][0].partition(".")[0]
        try:
            if find_spec(package) is None:
                missing[name] = f"not installed: pip install {package.replace('_', '-')}"
                continue
            import_module(PEERS[name][0])
        except Exception as error:  # noqa: BLE001 (whatever another package raises)
            missing[name] = f"{package} cannot be imported: {error}"
        else:
            present.append(name)
    return present, missing


@cache
def _peer(name: str, activation: str, arguments: tuple[tuple[str, Any], ...]) -> Function | None:
    return PEERS[name][1](catalogue.get(activation), dict(arguments))


# Measuring


def cases(
    activations: Sequence[tuple[str, Mapping[str, Any]]], sizes: Sequence[int], dtypes: Sequence[str],
    passes: Sequence[str],
) -> Iterator[tuple[str, Mapping[str, Any], str, int, str]]:  # fmt: skip
    """What `measure` takes, case by case."""
    for dtype in dtypes:
        for which in passes:
            for size in sizes:
                for name, arguments in activations:
                    yield name, arguments, dtype, size, which


def measure(
    name: str, arguments: Mapping[str, Any], dtype: str, size: int, passes: str, *,
    peers: Sequence[str] = ("torch",), repetitions: int = 15, seconds: float = 0.01, device: str = "cpu",
) -> list[Measurement]:  # fmt: skip
    """softknee against each peer that has the activation; standard normal input, contiguous."""
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(size, generator=generator).to(device, getattr(torch, dtype)) for _ in range(2))
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    function = getattr(ours, name)
    functions: dict[str, Function] = {"softknee": lambda t: function(t, **arguments)}
    for peer in peers:
        found = _peer(peer, name, tuple(arguments.items()))
        if found is not None:
            functions[peer] = found
    runs: dict[str, Callable[[], object]] = {}
    kept: dict[str, float | None] = dict.fromkeys(functions)
    if passes == "forward":
        runs = {n: (lambda f=f: f(x)) for n, f in functions.items()}  # type: ignore[misc]
        runs["copy"] = x.clone
        if (into := _into(catalogue.get(name), arguments, x)) is not None:
            runs |= {"into": into[0], "copy into": into[1]}
    else:
        leaf = x.clone().requires_grad_()
        kept = {n: None if n == "torch.compile" else _kept(f, leaf) for n, f in functions.items()}
        runs = {
            n: (lambda f=f: torch.autograd.grad(f(leaf), leaf, gradient))  # type: ignore[misc]
            for n, f in functions.items()
        }
    for run in runs.values():  # compile, fill caches
        seconds_of(run, max(3, min(64, FRESH // (x.numel() * x.element_size()))), wait)
    slowest = max(min(seconds_of(run, 1, wait) for _ in range(3)) for run in runs.values())
    calls = max(1, min(10_000, round(seconds / slowest)))
    # where something else on the machine got in between, again; what scattered least is what counts
    attempts = (_times(runs, calls, repetitions, wait) for _ in range(ATTEMPTS))
    times = _steadiest(attempts, [peer for peer in functions if peer != "softknee"])
    us = {n: statistics.median(t) * 1e6 for n, t in times.items()}
    label = name if not arguments else f"{name}({', '.join(f'{k}={v}' for k, v in arguments.items())})"
    errors = dict.fromkeys(functions)
    if passes == "forward" and dtype != "float64":
        every = everywhere(dtype).to(device)
        exact = function(every.double(), **arguments)
        errors = {n: _short(largest_error(f(every), exact)) for n, f in functions.items()}  # type: ignore[misc]
    results = []
    for peer in functions:
        if peer == "softknee":
            continue
        low, middle, high = _quartiles(times, peer)
        figures = (_short(v) for v in (us[peer], us["softknee"], middle, low, high))
        share = _short(us["copy"] / us["softknee"]) if "copy" in us else None
        there = _short(us["copy into"] / us["into"]) if "into" in us else None
        results.append(Measurement(label, dtype, size, passes, peer, *figures, share, kept["softknee"], kept[peer],
                                   repetitions, calls, errors["softknee"], errors[peer], there))  # fmt: skip
    return results


def _into(
    definition: Definition, arguments: Mapping[str, Any], x: torch.Tensor
) -> tuple[Callable[[], object], ...] | None:
    """The function's values and a copy of its input, each into the same tensor; of large ones, and without numbers"""
    if x.numel() < LARGE or not x.is_cpu or not definition.choices.keys() >= arguments.keys():
        return None
    op, call, out = runtime(definition).operator(arguments, {}), Call(), torch.empty_like(x)
    return lambda: launch.run(op, (x,), call, out=out), lambda: out.copy_(x)


@cache
def everywhere(dtype: str) -> torch.Tensor:
    """The finite ones of 65,536 numbers of a type: of 16 bits all there are, of 32 and 64 bits a number in the middle of
    each stretch that begins with other 16 bits"""
    kind = getattr(torch, dtype)
    size = kind.itemsize
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    first = torch.arange(-(2**15), 2**15, dtype=torch.int64) << 8 * size - 16
    numbers = (first + (1 << 8 * size - 17 if size > 2 else 0)).to(integer).view(kind)
    return numbers[numbers.isfinite()]


def largest_error(got: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest distance from float64 values in units in the last place of the correctly rounded results, as
    `softknee.testing.ulp_error` has it for one, but at least 0.5."""
    form = format_of(got.dtype)
    right, got = exact.to(got.dtype).double(), got.double()
    wrong = (got != right) & ~(got.isnan() & right.isnan())
    beyond = 2.0 ** (form.most + 1)  # where the infinities stand
    got, right, exact = got[wrong].nan_to_num(torch.nan, beyond, -beyond), right[wrong], exact[wrong]
    exponent = torch.frexp(right.abs().clamp(max=form.largest)).exponent - 1
    unit = torch.ldexp(torch.ones_like(right), exponent.clamp(min=form.least) - form.precision + 1)
    error = (got - exact.nan_to_num(torch.nan, beyond, -beyond)).abs() / unit
    return max(0.5, float(error.nan_to_num(torch.inf, torch.inf).max())) if error.numel() else 0.5


def steadier(first: Sequence[Measurement], again: Sequence[Measurement]) -> list[Measurement]:
    """Of two measurements of a case, for each peer the one that scatters less"""
    return [min(pair, key=lambda m: m.spread) for pair in zip(first, again, strict=True)]


def _times(
    runs: Mapping[str, Callable[[], object]], calls: int, repetitions: int, wait: Callable[[], object]
) -> dict[str, list[float]]:
    """Seconds of a call, by name, in turns that begin with another one each"""
    times: dict[str, list[float]] = {n: [] for n in runs}
    for repetition in range(repetitions):
        names = list(runs)
        turn = repetition % len(names)
        for n in names[turn:] + names[:turn]:
            times[n].append(seconds_of(runs[n], calls, wait))
    return times


def _quartiles(times: Mapping[str, Sequence[float]], peer: str) -> list[float]:
    """Of the peer's time over softknee's"""
    ratios = [a / b for a, b in zip(times[peer], times["softknee"], strict=True)]
    return statistics.quantiles(ratios, n=4, method="inclusive")


def _steadiest(attempts: Iterable[dict[str, list[float]]], peers: Sequence[str]) -> dict[str, list[float]]:
    """The first whose ratios lie close together, or that of which they lie the closest"""
    best: tuple[float, dict[str, list[float]]] | None = None
    for times in attempts:
        spread = max((high / low for low, _, high in (_quartiles(times, p) for p in peers)), default=1.0)
        if best is None or spread < best[0]:
            best = spread, times
        if spread < STEADY:
            break
    assert best is not None
    return best[1]


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def seconds_of(
    run: Callable[[], object], calls: int, synchronize: Callable[[], object] = lambda: None
) -> float:
    """The time of one call among so many"""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    synchronize()
    return (time.perf_counter() - start) / calls


def _kept(function: Function, x: torch.Tensor) -> float:
    """Bits that backward keeps, each element's share"""
    found: list[int] = []

    def keep(t: torch.Tensor) -> torch.Tensor:
        found.append(8 * t.numel() * t.element_size())
        return t

    with saved_tensors_hooks(keep, lambda t: t):
        function(x)
    return _short(sum(found) / max(1, x.numel()))


def settings(
    threads: int, seconds: float, device: str = "cpu", peers: Sequence[str] = ("torch",)
) -> dict[str, Any]:
    """What was measured where: the first line of a file of measurements."""

    def told(peer: str) -> str:
        if PEERS[peer][0] == "torch":
            return "torch.nn.functional, eager" if peer == "torch" else peer
        try:
            return f"{peer} {version(peer)}"
        except PackageNotFoundError:  # imported from a folder that was never installed
            return peer

    return {
        "benchmark": "activations",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "least_seconds_a_repetition": seconds,
        "input": "standard normal, contiguous",
        "peer": "; ".join(map(told, peers)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "softknee": __version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

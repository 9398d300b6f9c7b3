"""How fast softknee is against torch: eager, forward, and forward with backward.

    python benchmarks/forward.py                            # everything; about five minutes
    python benchmarks/forward.py --functions mish gelu --sizes 65536 --repetitions 31

In every repetition both are timed one after the other, and which comes first alternates, so that whatever
else the machine does falls on both. A repetition calls a function often enough to last `--seconds`; every
call allocates its output, as in a model. The ratio is torch's time over softknee's: above 1, softknee is
faster. What is reported is the median of the repetitions' ratios, between their quartiles.

Results are appended to nothing: each run replaces benchmarks/results/forward-DEVICE.jsonl. Its first line
says what was measured where; every other line is one measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as torch_functional
from rich.console import Console
from rich.progress import track
from rich.table import Table

import softknee
import softknee.functional as softknee_functional

RESULTS = Path(__file__).parent / "results"
# What torch calls an activation; its name there, and the arguments where the defaults are not meant.
FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, {})
        for name in (
            "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign",
            "tanh", "sigmoid", "logsigmoid", "tanhshrink", "softshrink", "hardshrink", "hardsigmoid", "hardswish",
        )
    },
    "gelu (tanh)": ("gelu", {"approximate": "tanh"}),
}  # fmt: skip
SIZES = (4_096, 65_536, 1_048_576, 8_388_608)
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
PASSES = ("forward", "forward+backward")


@dataclass(frozen=True)
class Measurement:
    function: str
    dtype: str
    size: int
    passes: str
    torch_us: float  # the median of one call
    softknee_us: float
    ratio: float
    ratio_low: float  # quartiles of the repetitions' ratios
    ratio_high: float
    repetitions: int
    calls: int  # in each repetition


def call(
    module: Any, function: str, x: torch.Tensor, gradient: torch.Tensor, passes: str
) -> Callable[[], object]:
    name, arguments = FUNCTIONS[function]
    f = getattr(module, name)
    if passes == "forward":
        x = x.detach()
        return lambda: f(x, **arguments)
    return lambda: torch.autograd.grad(f(x, **arguments), x, gradient)


def seconds(f: Callable[[], object], calls: int, synchronize: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        f()
    synchronize()
    return (time.perf_counter() - start) / calls


def measure(
    function: str, dtype: str, size: int, passes: str, device: torch.device, repetitions: int, least: float
) -> Measurement:
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(size, generator=generator).to(device, DTYPES[dtype]) for _ in range(2))
    x.requires_grad_()
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    pair = [call(module, function, x, gradient, passes) for module in (torch_functional, softknee_functional)]
    for f in pair:  # compile, fill caches
        seconds(f, 3, synchronize)
    slowest = max(seconds(f, 1, synchronize) for f in pair)
    calls = max(1, min(10_000, round(least / slowest)))
    times: list[list[float]] = [[], []]
    for repetition in range(repetitions):
        for which in (0, 1) if repetition % 2 else (1, 0):
            times[which].append(seconds(pair[which], calls, synchronize))
    ratios = [a / b for a, b in zip(*times, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    torch_us, softknee_us = (statistics.median(t) * 1e6 for t in times)
    return Measurement(
        function, dtype, size, passes, *(float(f"{v:.5g}") for v in (torch_us, softknee_us, middle, low, high)),
        repetitions, calls,
    )  # fmt: skip


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def settings(device: torch.device, threads: int, least: float) -> dict[str, Any]:
    return {
        "benchmark": "forward",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "least_seconds_a_repetition": least,
        "input": "standard normal, contiguous",
        "peer": "torch.nn.functional, eager",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "softknee": softknee.__version__,
    }


def cases(options: argparse.Namespace) -> Iterator[tuple[str, str, int, str]]:
    for dtype in options.dtypes:
        for passes in options.passes:
            for size in options.sizes:
                for function in options.functions:
                    yield function, dtype, size, passes


def table(results: list[Measurement], dtype: str, passes: str) -> Table:
    sizes = sorted({r.size for r in results})
    shown = Table(title=f"{passes}, {dtype}: torch's time over softknee's (quartiles)", title_justify="left")
    shown.add_column("elements")
    for size in sizes:
        shown.add_column(f"{size:,}", justify="right")
    for function in dict.fromkeys(r.function for r in results):
        row = {r.size: r for r in results if (r.function, r.dtype, r.passes) == (function, dtype, passes)}
        cells = []
        for size in sizes:
            r = row.get(size)
            colour = "" if r is None else "red" if r.ratio_high < 1 else "green" if r.ratio_low > 1 else "dim"
            cells.append(
                "" if r is None else f"[{colour}]{r.ratio:.2f}[/] ({r.ratio_low:.2f} to {r.ratio_high:.2f})"
            )
        shown.add_row(function, *cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="softknee against torch, eager")
    parser.add_argument(
        "--functions", nargs="+", choices=list(FUNCTIONS), default=list(FUNCTIONS), metavar="NAME"
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), metavar="N")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["float32", "bfloat16"])
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=list(PASSES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.01, help="the least a repetition lasts")
    parser.add_argument(
        "--out", type=Path, help="where to write; default: benchmarks/results, for a full run only"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, console = torch.device(options.device), Console()

    results = []
    for case in track(list(cases(options)), "Measuring", console=Console(stderr=True)):
        results.append(measure(*case, device, options.repetitions, options.seconds))
    for passes in options.passes:
        for dtype in options.dtypes:
            console.print(table(results, dtype, passes))

    full = len(results) >= len(FUNCTIONS) * len(SIZES) * len(PASSES)
    out = options.out or (RESULTS / f"forward-{device.type}.jsonl" if full else None)
    if out is not None:
        records = [settings(device, options.threads, options.seconds), *map(asdict, results)]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        console.print(f"Written to {os.path.relpath(out)}")


if __name__ == "__main__":
    sys.exit(main())

"""How fast the softmax family is against torch, or against what one writes with torch.

    python benchmarks/normalisers.py                            # everything; some minutes
    python benchmarks/normalisers.py --threads 1 --record       # and written down: the table of docs/gates.md
    python benchmarks/normalisers.py --functions sparsemax --dtypes float32

The peer of softmax, log_softmax and softmin is the function of that name in torch.nn.functional. torch has none of
the others: softmax1 is torch.softmax of the scores and a zero behind them; sparsemax, entmax15 and entmax with alpha =
1.3 are those of the package entmax (`pip install entmax`), the last one with the 24 steps of bisection that it
recommends for float32. A row is the last dimension; "masked" has a mask of bool that keeps three quarters, which peers
are given as scores of minus infinity. Both run in turns in the same process; with one thread the clock is the thread's
own, which does not count what other programs take.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as T
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import softknee.functional as S
from softknee.bench import DTYPES, PASSES, settings

try:
    import entmax
except ImportError:
    raise SystemExit("the peer of the sparse functions is missing: pip install entmax") from None

RESULTS = Path(__file__).parent / "results" / "normalisers-cpu.jsonl"
SHAPES = ((1, 64), (64, 64), (256, 256), (1024, 1024), (32, 32768))
INF = float("inf")


def softmax1(x: Tensor, mask: Tensor | None = None) -> Tensor:
    x = x if mask is None else x.masked_fill(~mask, -INF)
    return torch.softmax(torch.cat([x, x.new_zeros(*x.shape[:-1], 1)], -1), -1)[..., :-1]


def seconds_of(run: Callable[[], object], calls: int) -> float:
    """The time of one call among so many."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(calls):
        run()
    return (clock() - start) / calls


def of_torch(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, mask=None: f(x if mask is None else x.masked_fill(~mask, -INF), -1)


def of_entmax(name: str, *args: float, **given: int) -> Callable[..., Tensor]:
    f = getattr(entmax, name)
    return lambda x, mask=None: f(x if mask is None else x.masked_fill(~mask, -INF), *args, -1, **given)


# function -> (softknee's, the peer's)
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "softmax": (S.softmax, of_torch(T.softmax)),
    "log_softmax": (S.log_softmax, of_torch(T.log_softmax)),
    "softmin": (S.softmin, of_torch(T.softmin)),
    "softmax1": (S.softmax1, softmax1),
    "sparsemax": (S.sparsemax, of_entmax("sparsemax")),
    "entmax15": (S.entmax15, of_entmax("entmax15")),
    "entmax (1.3)": (lambda x, **k: S.entmax(x, 1.3, **k), of_entmax("entmax_bisect", 1.3, n_iter=24)),
}


def measure(
    name: str, dtype: str, shape: tuple[int, int], passes: str, masked: bool, repetitions: int, least: float
) -> dict[str, Any]:
    ours, theirs = FUNCTIONS[name]
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=getattr(torch, dtype))
    gradient = torch.randn_like(x)
    given = {"mask": torch.rand(shape) < 0.75} if masked else {}
    leaf = x.clone().requires_grad_()

    def call(f: Callable[..., Tensor], dim: dict[str, int]) -> Callable[[], object]:
        if passes == "forward":
            return lambda: f(x, **dim, **given)
        return lambda: torch.autograd.grad(f(leaf, **dim, **given), leaf, gradient)

    calls_of = [call(theirs, {}), call(ours, {"dim": -1})]
    for f in calls_of:
        seconds_of(f, 3)
    slowest = max(seconds_of(f, 1) for f in calls_of)
    calls = max(1, min(2_000, round(least / slowest)))
    times: list[list[float]] = [[], []]
    for repetition in range(repetitions):
        for which in (0, 1) if repetition % 2 else (1, 0):
            times[which].append(seconds_of(calls_of[which], calls))
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(*times, strict=True)], n=4, method="inclusive"
    )
    torch_us, softknee_us = (min(t) * 1e6 for t in times)
    numbers = {
        "torch_us": torch_us, "softknee_us": softknee_us, "ratio": middle, "ratio_low": low, "ratio_high": high,
    }  # fmt: skip
    return {
        "function": name, "dtype": dtype, "shape": list(shape), "passes": passes, "masked": masked,
        **{k: float(f"{v:.4g}") for k, v in numbers.items()}, "repetitions": repetitions, "calls": calls,
    }  # fmt: skip


def table(results: list[dict[str, Any]], dtype: str, passes: str) -> Table:
    shapes = [list(s) for s in SHAPES if any(r["shape"] == list(s) for r in results)]
    shown = Table(
        title=f"{passes}, {dtype}: the peer's time over softknee's (quartiles)", title_justify="left"
    )
    for heading in ("function", *(f"{a} x {b}" for a, b in shapes)):
        shown.add_column(heading)
    for name, masked in dict.fromkeys((r["function"], r["masked"]) for r in results):
        cells = [
            f"{r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f})"
            for shape in shapes
            for r in results
            if (r["function"], r["masked"], r["dtype"], r["passes"], r["shape"])
            == (name, masked, dtype, passes, shape)
        ]
        if cells:
            shown.add_row(f"{name}, masked" if masked else name, *cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="the softmax family against its peers")
    parser.add_argument(
        "--functions", nargs="+", choices=list(FUNCTIONS), default=list(FUNCTIONS), metavar="NAME"
    )
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["float32", "bfloat16"])
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=list(PASSES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.01, help="the least a repetition lasts")
    parser.add_argument("--out", type=Path, help="where to write what was measured")
    parser.add_argument("--record", action="store_true", help="all of it, into benchmarks/results")
    options = parser.parse_args()
    if options.record and any(
        getattr(options, n) != parser.get_default(n) for n in ("functions", "dtypes", "passes")
    ):
        parser.error("--record measures everything: leave out what chooses a part")
    torch.set_num_threads(options.threads)
    cases = [
        (name, dtype, shape, passes, masked)
        for dtype in options.dtypes
        for passes in options.passes
        for name in options.functions
        for masked in (False, True)
        for shape in (SHAPES if not masked else SHAPES[2:3])
    ]
    console = Console()
    results = [
        measure(*case, options.repetitions, options.seconds)
        for case in track(cases, "Measuring", console=Console(stderr=True))
    ]
    for dtype in options.dtypes:
        for passes in options.passes:
            console.print(table(results, dtype, passes))
    out = RESULTS if options.record else options.out
    if out is not None:
        first = settings(options.threads, options.seconds) | {
            "benchmark": "normalisers",
            "entmax": entmax.__version__,
        }
        out.write_text("".join(json.dumps(r) + "\n" for r in [first, *results]), encoding="utf-8")
        console.print(f"Written to {out}")


if __name__ == "__main__":
    sys.exit(main())

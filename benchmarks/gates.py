"""How fast gated units are against torch's eager composition, and what they save for backward.

    python benchmarks/gates.py                                  # everything; some minutes
    python benchmarks/gates.py --record                         # and written down: the tables of docs/gates.md
    python benchmarks/gates.py --units swiglu --sizes 1048576 --repetitions 31
    python benchmarks/gates.py --roofline --sizes 1048576 8388608   # what memory leaves to be won
    python benchmarks/gates.py --short-rows --sizes 8192 65536      # glu along rows of few elements, against torch's

"two tensors" is unit(gate, up); "halves" is unit(x), x of twice as many elements in rows of 2 x 1,024;
"interleaved" the same with gate and up in turns. The peer is what one writes with torch.nn.functional, for
example silu(gate) * up, on the same tensors. How it is measured is told in src/softknee/bench.py. What is
saved is counted by torch.autograd.graph.saved_tensors_hooks: bytes of different storages, for each element of
the result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as torch_functional
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import softknee.functional as softknee_functional
from softknee.bench import ATTEMPTS, DTYPES, FRESH, PASSES, STEADY, seconds_of, settings

RESULTS = Path(__file__).parent / "results"

T, S = torch_functional, softknee_functional
SIZES = (4_096, 65_536, 1_048_576, 8_388_608)
ROW = 1_024
#: of the halves of short rows
WIDTHS = (1, 2, 4, 8, 16, 24, 32, 33, 48, 64, 100, 128)


def clamped(gate: Tensor, up: Tensor) -> Tensor:
    gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
    return (up + 1) * (gate * torch.sigmoid(gate * 1.702))


# unit -> (softknee's, torch's)
UNITS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "glu": (S.siglu, lambda a, b: torch.sigmoid(a) * b),
    "swiglu": (S.swiglu, lambda a, b: T.silu(a) * b),
    "geglu": (S.geglu, lambda a, b: T.gelu(a) * b),
    "geglu (tanh)": (
        lambda *x, **k: S.geglu(*x, approximate="tanh", **k),
        lambda a, b: T.gelu(a, approximate="tanh") * b,
    ),
    "reglu": (S.reglu, lambda a, b: T.relu(a) * b),
    "bilinear": (S.bilinear, lambda a, b: a * b),
    "gtu": (S.gtu, lambda a, b: torch.sigmoid(a) * torch.tanh(b)),
    "clamped_swiglu": (S.clamped_swiglu, clamped),
}
FORMS = ("two tensors", "halves", "interleaved")


def pair(unit: str, form: str, size: int, dtype: str, device: torch.device) -> list[tuple[Any, list[Tensor]]]:
    """(function, inputs) of torch and of softknee."""
    ours, theirs = UNITS[unit]
    generator = torch.Generator().manual_seed(0)

    def made(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, getattr(torch, dtype)).requires_grad_()

    if form == "two tensors":
        x = [made(size), made(size)]
        return [(theirs, x), (ours, x)]
    row = min(ROW, size)
    x = [made(size // row, 2 * row)]
    if form == "halves":
        return [(lambda x: theirs(*x.chunk(2, -1)), x), (lambda x: ours(x, interleaved=False), x)]
    return [(lambda x: theirs(x[..., ::2], x[..., 1::2]), x), (lambda x: ours(x, interleaved=True), x)]


def saved(f: Callable[..., Tensor], x: list[Tensor]) -> float:
    """Bytes kept for backward, for each element of the result."""
    storages = {}

    def keep(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        result = f(*x)
    return sum(storages.values()) / result.numel()


def measure(
    unit: str,
    form: str,
    dtype: str,
    size: int,
    passes: str,
    device: torch.device,
    repetitions: int,
    least: float,
) -> dict[str, Any]:
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    both = pair(unit, form, size, dtype, device)
    gradient = torch.randn_like(both[0][0](*both[0][1]).detach())

    def call(f: Callable[..., Tensor], x: list[Tensor]) -> Callable[[], object]:
        if passes == "forward":
            plain = [t.detach() for t in x]
            return lambda: f(*plain)
        return lambda: torch.autograd.grad(f(*x), x, gradient)

    calls_of = [call(f, x) for f, x in both]
    for f in calls_of:  # fills caches, and takes memory that a virtual machine's host may have to bring
        seconds_of(f, max(3, min(64, FRESH // (gradient.numel() * gradient.element_size()))), synchronize)
    best = None
    for _ in range(ATTEMPTS):  # where something else on the machine got in between, again
        times, calls = timed(calls_of, repetitions, least, synchronize)
        low, middle, high = statistics.quantiles(
            [a / b for a, b in zip(*times, strict=True)], n=4, method="inclusive"
        )
        if best is None or high / low < best[0]:
            best = high / low, times, calls, (low, middle, high)
        if best[0] < STEADY:
            break
    assert best is not None
    _, times, calls, (low, middle, high) = best  # what scattered least is what counts
    torch_us, softknee_us = (statistics.median(t) * 1e6 for t in times)
    numbers = {
        "torch_us": torch_us, "softknee_us": softknee_us, "ratio": middle, "ratio_low": low, "ratio_high": high,
        "torch_saved_bytes": saved(*both[0]), "softknee_saved_bytes": saved(*both[1]),
    }  # fmt: skip
    return {
        "unit": unit, "form": form, "dtype": dtype, "size": size, "passes": passes,
        **{k: float(f"{v:.5g}") for k, v in numbers.items()},
        "repetitions": repetitions, "calls": calls,
    }  # fmt: skip


def timed(
    both: list[Callable[[], object]], repetitions: int, least: float, synchronize: Callable[[], object]
) -> tuple[list[list[float]], int]:
    """Seconds of each, in turns, and of how many calls in a row they are the mean."""
    for f in both:
        seconds_of(f, 3, synchronize)
    slowest = max(seconds_of(f, 1, synchronize) for f in both)
    calls = max(1, min(10_000, round(least / slowest)))
    times: list[list[float]] = [[], []]
    for repetition in range(repetitions):
        for which in (0, 1) if repetition % 2 else (1, 0):
            times[which].append(seconds_of(both[which], calls, synchronize))
    return times, calls


def short_rows(size: int, dtype: str, repetitions: int, least: float, shown: Table) -> None:
    """glu along rows whose halves have few elements, against torch's: a row of the table for each pass"""

    def ratio(width: int, passes: str) -> str:
        x = torch.randn(max(1, size // width), 2 * width, dtype=getattr(torch, dtype))
        leaf, gradient = x.clone().requires_grad_(), torch.randn_like(x[:, :width])

        def call(f: Callable[[Tensor], Tensor]) -> Callable[[], object]:
            if passes == "forward":
                return lambda: f(x)
            return lambda: torch.autograd.grad(f(leaf), leaf, gradient)

        times, _ = timed([call(T.glu), call(S.glu)], repetitions, least, lambda: None)
        return f"{statistics.median(a / b for a, b in zip(*times, strict=True)):.2f}"

    for passes in PASSES:
        shown.add_row(f"{size:,}", passes, *(ratio(width, passes) for width in WIDTHS))


def roofline(units: list[str], size: int, repetitions: int) -> Table:
    """Forward and backward against the memory traffic that no implementation can do without: reading gate, up and the
    gradient, and gate and up once more, writing the result and two gradients. torch.add into a tensor that exists
    moves three tensors, and nothing else; what is moved counts 8/3 of its time."""
    a, b, out = (torch.randn(size) for _ in range(3))
    both = {unit: pair(unit, "two tensors", size, "float32", a.device) for unit in units}
    gradient = torch.randn(size)
    calls: dict[Any, Callable[[], object]] = {"add": lambda: torch.add(a, b, out=out)}
    for unit in units:
        for which, (f, x) in enumerate(both[unit]):
            calls[unit, which] = lambda f=f, x=x: torch.autograd.grad(f(*x), x, gradient)  # type: ignore[misc]
    times: dict[Any, list[float]] = {key: [] for key in calls}
    for _ in range(repetitions):
        for key, call in calls.items():
            times[key].append(min(seconds_of(call, 1, lambda: None) for _ in range(5)) * 1e6)
    middle = {key: statistics.median(found) for key, found in times.items()}
    memory = middle["add"] * 8 / 3
    shown = Table(
        title=f"forward+backward of two tensors, {size:,} float32 elements: microseconds, and ratios of them; memory "
        f"alone takes {memory:.0f}",
        title_justify="left",
    )
    for heading in ("unit", "torch", "softknee", "torch / softknee", "torch / memory", "memory / softknee"):
        shown.add_column(heading, justify="left" if heading == "unit" else "right")
    for unit in units:
        theirs, ours = middle[unit, 0], middle[unit, 1]
        ratios = (theirs / ours, theirs / memory, memory / ours)
        shown.add_row(unit, f"{theirs:.0f}", f"{ours:.0f}", *(f"{r:.2f}" for r in ratios))
    return shown


def table(results: list[dict[str, Any]], dtype: str, form: str, passes: str) -> Table:
    sizes = sorted({r["size"] for r in results})
    shown = Table(
        title=f"{form}, {passes}, {dtype}: torch's time over softknee's (quartiles)", title_justify="left"
    )
    for heading in ("elements", *(f"{s:,}" for s in sizes), "saved, bytes an element: torch", "softknee"):
        shown.add_column(heading, justify="left" if heading == "elements" else "right")
    for unit in dict.fromkeys(r["unit"] for r in results):
        rows = {
            r["size"]: r
            for r in results
            if (r["unit"], r["form"], r["dtype"], r["passes"]) == (unit, form, dtype, passes)
        }
        cells = [
            f"{rows[s]['ratio']:.2f} ({rows[s]['ratio_low']:.2f} to {rows[s]['ratio_high']:.2f})"
            for s in sizes
        ]
        last = rows[sizes[-1]]
        shown.add_row(unit, *cells, f"{last['torch_saved_bytes']:g}", f"{last['softknee_saved_bytes']:g}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="gated units against torch's eager composition")
    parser.add_argument("--units", nargs="+", choices=list(UNITS), default=list(UNITS), metavar="NAME")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), metavar="N")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["float32"])
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=list(PASSES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.01, help="the least a repetition lasts")
    parser.add_argument("--out", type=Path, help="where to write what was measured")
    parser.add_argument("--record", action="store_true", help="all of it, into benchmarks/results")
    parser.add_argument(
        "--roofline", action="store_true", help="units of two tensors against memory alone, and no more"
    )
    parser.add_argument(
        "--short-rows", action="store_true", help="glu along rows of few elements, and no more"
    )
    options = parser.parse_args()
    if options.record and any(
        getattr(options, name) != parser.get_default(name)
        for name in ("units", "forms", "sizes", "dtypes", "passes")
    ):
        parser.error("--record measures everything: leave out what chooses a part")
    torch.set_num_threads(options.threads)
    device, console = torch.device(options.device), Console()
    if options.roofline:
        for size in options.sizes:
            console.print(roofline(options.units, size, options.repetitions))
        return
    if options.short_rows:
        for dtype in options.dtypes:
            shown = Table(
                title=f"glu, {dtype}: torch's time over softknee's, by elements of a half",
                title_justify="left",
            )
            for heading in ("elements", "passes", *map(str, WIDTHS)):
                shown.add_column(heading, justify="right")
            for size in options.sizes:
                short_rows(size, dtype, options.repetitions, options.seconds, shown)
            console.print(shown)
        return

    cases = [
        (unit, form, dtype, size, passes)
        for dtype in options.dtypes
        for form in options.forms
        for passes in options.passes
        for size in options.sizes
        for unit in options.units
    ]
    results = [
        measure(*case, device, options.repetitions, options.seconds)
        for case in track(cases, "Measuring", console=Console(stderr=True))
    ]
    for dtype in options.dtypes:
        for form in options.forms:
            for passes in options.passes:
                console.print(table(results, dtype, form, passes))

    out = RESULTS / f"gates-{device.type}.jsonl" if options.record else options.out
    if out is not None:
        first = settings(options.threads, options.seconds) | {"benchmark": "gates"}
        out.write_text("".join(json.dumps(r) + "\n" for r in [first, *results]), encoding="utf-8")
        console.print(f"Written to {out}")


if __name__ == "__main__":
    sys.exit(main())

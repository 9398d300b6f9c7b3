"""How fast softknee is on a GPU: against a copy, torch eager, torch.compile and Liger-Kernel.

    python benchmarks/gpu.py                     # within eight minutes; what did not fit is named
    python benchmarks/gpu.py --minutes 60 --all  # every activation of one input
    python benchmarks/gpu.py --dry-run           # tries the script on the CPU, at tiny sizes; measures nothing

Times are medians of repetitions between CUDA events, the peers taken in turns. The share of a copy is what a
copy of the same bytes takes, over what the kernel takes. A ratio is the peer's time over softknee's: above 1,
softknee is faster. At small sizes the time of many calls in a row is taken, which is the time to launch them.

Each run replaces benchmarks/results/gpu-DEVICE.jsonl; its first line says what was measured where. A line is written
as soon as it is measured: a run that is stopped (Ctrl-C, SIGTERM) shows and keeps what it has. What fails is a
line that says why, and the rest goes on. Liger-Kernel is a peer where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as torch_functional
from rich.console import Console
from rich.table import Table

import softknee
import softknee.functional as softknee_functional
from softknee import catalogue

RESULTS = Path(__file__).parent / "results"
#: what torch calls an activation, and the arguments where the defaults are not meant
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
LARGE = 64 << 20
SIZES = (4_096, 65_536, 1_048_576, 16_777_216, LARGE, 1 << 30)
BANDWIDTH = ("float32", "bfloat16")
USUAL = ("relu", "gelu", "silu", "mish", "tanh")
GATES = {"swiglu": ("silu", {}), "geglu": ("gelu", {})}
Call = Callable[[], object]


class Clock:
    """Times calls on one device."""

    def __init__(self, device: torch.device, repetitions: int) -> None:
        self.device, self.repetitions = device, repetitions

    def once(self, call: Call, calls: int) -> float:
        """Microseconds a call"""
        if self.device.type != "cuda":
            start = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - start) / calls * 1e6
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e3 / calls

    def compare(self, calls: dict[str, Call]) -> dict[str, list[float]]:
        """Microseconds of each, in turns: first one, then the other."""
        times: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            self.once(call, 3)
        slowest = max(self.once(call, 2) for call in calls.values())
        count = max(1, min(200, round(4_000 / slowest)))
        for repetition in range(self.repetitions):
            order = list(calls) if repetition % 2 else list(calls)[::-1]
            for name in order:
                times[name].append(self.once(calls[name], count))
        return times


def figures(times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians in microseconds, and each peer's time over softknee's, with quartiles."""
    found: dict[str, Any] = {f"{n}_us": float(f"{statistics.median(t):.5g}") for n, t in times.items()}
    for name, t in times.items():
        if name not in ("softknee", "copy"):
            ratios = [a / b for a, b in zip(t, times["softknee"], strict=True)]
            found[f"over_{name}"] = [
                float(f"{v:.4g}") for v in statistics.quantiles(ratios, n=4, method="inclusive")
            ]
    if "copy" in times:
        share = statistics.median(a / b for a, b in zip(times["copy"], times["softknee"], strict=True))
        found["share_of_copy"] = float(f"{share:.4g}")
    return found


def data(size: int, dtype: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    made = [
        torch.empty(size, dtype=getattr(torch, dtype), device=device).normal_(generator=generator)
        for _ in range(2)
    ]
    return made[0], made[1]


def passes(f: Any, x: torch.Tensor, g: torch.Tensor, which: str) -> Call:
    """One call of the forward or (on a graph that is kept) of the backward pass."""
    if which == "forward":
        return lambda: f(x)
    leaf = x.detach().requires_grad_()
    y = f(leaf)
    return lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)


def pointwise(
    name: str, size: int, dtype: str, which: str, clock: Clock, copy: bool, compiled: bool
) -> dict[str, Any]:
    x, g = data(size, dtype, clock.device)
    ours = getattr(softknee_functional, name.split()[0])
    if name in FUNCTIONS:
        theirs, arguments = FUNCTIONS[name]
        ours = partial(getattr(softknee_functional, theirs), **arguments)
    calls = {"softknee": passes(ours, x, g, which)}
    if name in FUNCTIONS:
        f = getattr(torch_functional, theirs)
        calls["torch"] = passes(lambda t: f(t, **arguments), x, g, which)
        if compiled:
            torch._dynamo.reset()
            fused = torch.compile(lambda t: f(t, **arguments), dynamic=False)
            calls["torch_compile"] = passes(fused, x, g, which)
    if copy:  # the same bytes: one read and one write forward; backward what was kept is read, too
        kept = 0 if which == "forward" else saved_bytes(ours, x) // x.element_size()
        count = size + kept // 2
        source, target = (torch.empty(count, dtype=x.dtype, device=x.device) for _ in range(2))
        calls["copy"] = lambda: target.copy_(source)
    times = clock.compare(calls)
    return {
        "what": "pointwise",
        "function": name,
        "dtype": dtype,
        "size": size,
        "pass": which,
        **figures(times),
    }


def liger() -> dict[str, Any]:
    try:
        from liger_kernel.ops.geglu import LigerGELUMulFunction
        from liger_kernel.ops.swiglu import LigerSiLUMulFunction
    except ImportError:
        return {}
    return {"swiglu": LigerSiLUMulFunction.apply, "geglu": LigerGELUMulFunction.apply}


def gate(name: str, rows: int, dtype: str, clock: Clock, compiled: bool) -> dict[str, Any]:
    """Forward and backward of a gate of two tensors, (rows, 4096) each. Liger's geglu uses tanh."""
    activation, arguments = GATES[name]
    theirs = getattr(torch_functional, activation)
    approximate = {"approximate": "tanh"} if name == "geglu" else {}
    functions: dict[str, Any] = {
        "softknee": lambda a, b: getattr(softknee_functional, name)(a, b, **approximate),
        "torch": lambda a, b: theirs(a, **approximate, **arguments) * b,
    }
    if compiled:
        torch._dynamo.reset()
        functions["torch_compile"] = torch.compile(functions["torch"], dynamic=False)
    if name in liger() and clock.device.type == "cuda":
        functions["liger"] = liger()[name]
    x, g = data(rows * 4096, dtype, clock.device)
    g = g.view(rows, 4096)

    def call(f: Any) -> Call:
        # Liger writes its gradients over what it saved: every call needs its own forward pass
        a, b = (t.view(rows, 4096).clone().requires_grad_() for t in (x, g))
        return lambda: torch.autograd.grad(f(a, b), (a, b), g)

    times = clock.compare({n: call(f) for n, f in functions.items()})
    return {"what": "gate", "function": name, "dtype": dtype, "size": rows * 4096, **figures(times)}


def saved_bytes(f: Any, x: torch.Tensor) -> int:
    """Bytes kept for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = f(x.detach().requires_grad_())
    del y
    return sum(kept.values())


class Attention(torch.nn.Module):
    """The other half of a block, the same for all: x + attention(norm(x)), heads of 64."""

    def __init__(self, norm: torch.nn.Module, width: int, length: int, causal: bool) -> None:
        super().__init__()
        self.norm, self.length, self.causal = norm, length, causal
        self.heads = max(1, width // 64)
        self.into, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens, width = x.shape
        parts = self.into(self.norm(x)).view(tokens // self.length, self.length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = torch_functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return x + self.out(y.transpose(1, 2).reshape(tokens, width))


class VisionBlock(torch.nn.Module):
    """A ViT-B block."""

    def __init__(self, act: Any, width: int, length: int) -> None:
        super().__init__()
        self.attention = Attention(torch.nn.LayerNorm(width), width, length, causal=False)
        self.norm, self.act = torch.nn.LayerNorm(width), act
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attention(x)
        return x + self.down(self.act(self.up(self.norm(x))))


class GatedBlock(torch.nn.Module):
    """A Llama block, without its rotations."""

    def __init__(self, act: Any, width: int, length: int) -> None:
        super().__init__()
        self.attention = Attention(torch.nn.RMSNorm(width), width, length, causal=True)
        hidden = 11 * width // 4
        self.norm, self.act = torch.nn.RMSNorm(width), act
        self.gate, self.up, self.down = (
            torch.nn.Linear(*ends, bias=False) for ends in ((width, hidden), (width, hidden), (hidden, width))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attention(x)
        h = self.norm(x)
        return x + self.down(self.act(self.gate(h), self.up(h)))


def block(kind: str, tokens: int, length: int, width: int, clock: Clock) -> dict[str, Any]:
    """Step time and peak memory of four blocks in bfloat16, forward and backward."""
    acts = {
        "vit": {"softknee": softknee_functional.gelu, "torch": torch_functional.gelu},
        "llama": {"softknee": softknee_functional.swiglu, "torch": lambda a, b: torch_functional.silu(a) * b},
    }[kind]
    made = VisionBlock if kind == "vit" else GatedBlock
    calls, peaks = {}, {}
    for name, act in acts.items():
        torch.manual_seed(0)
        model = torch.nn.Sequential(*(made(act, width, length) for _ in range(4))).to(
            clock.device, torch.bfloat16
        )
        x = torch.randn(tokens, width, device=clock.device, dtype=torch.bfloat16)

        def step(model: Any = model, x: torch.Tensor = x) -> None:
            model.zero_grad()
            model(x).square().mean().backward()

        calls[name] = step
        step()
        if clock.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            step()
            peaks[f"{name}_peak_bytes"] = torch.cuda.max_memory_allocated() - before
    return {"what": "block", "kind": kind, "tokens": tokens, "width": width, **peaks,
            **figures(clock.compare(calls))}  # fmt: skip


def settings(device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    versions = {}
    for package in ("triton", "liger-kernel"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "benchmark": "gpu",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU (dry run)",
        "cuda": torch.version.cuda,
        "repetitions": options.repetitions,
        "input": "standard normal, contiguous",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "softknee": softknee.__version__,
        **versions,
    }


def kept(name: str, size: int, device: torch.device) -> dict[str, Any]:
    """Bytes an element that backward keeps, by default and with saved="lean" at 4 bits"""
    x, _ = data(size, "bfloat16", device)
    ours, theirs = getattr(softknee_functional, name), getattr(torch_functional, name)
    found = {"softknee": saved_bytes(ours, x), "torch": saved_bytes(theirs, x)}
    with softknee.options(saved="lean", bits=4):
        found["softknee_lean"] = saved_bytes(ours, x)
    return {"what": "saved bytes", "function": name, "dtype": "bfloat16", "size": size,
            **{n: float(f"{v / size:.4g}") for n, v in found.items()}}  # fmt: skip


def work(clock: Clock, options: argparse.Namespace) -> Iterator[Callable[[], dict[str, Any]]]:
    """What is measured, the most telling first."""
    dry = options.dry_run
    large, sizes = (4096, (64, 4096)) if dry else (LARGE, SIZES)
    names = list(FUNCTIONS)
    if options.all:
        names += sorted(
            {d.name for d in catalogue.all_definitions() if hasattr(softknee_functional, d.name)}
            - {*FUNCTIONS}
        )
        names = [n for n in names if n in FUNCTIONS or not catalogue.get(n).learnable]
    for name in GATES:
        for dtype in BANDWIDTH:
            yield lambda n=name, d=dtype: gate(n, 1 if dry else 16384, d, clock, not dry)
    for kind, tokens, length, width in (("vit", 64 * 197, 197, 768), ("llama", 8192, 2048, 2048)):
        shape = (8, 4, 32) if dry else (tokens, length, width)
        yield lambda k=kind, s=shape: block(k, *s, clock)
    for name in USUAL:
        yield lambda n=name: kept(n, 1 << (10 if dry else 20), clock.device)
    for name in USUAL:
        for size in sizes:
            for which in ("forward", "backward") if size < 1 << 30 else ("forward",):
                yield lambda n=name, s=size, w=which: pointwise(
                    n, s, "bfloat16", w, clock, copy=s == large, compiled=s == large and not dry
                )
    for name in names:
        for dtype in BANDWIDTH:
            for which in ("forward", "backward"):
                if not (name in USUAL and dtype == "bfloat16"):
                    yield lambda n=name, d=dtype, w=which: pointwise(
                        n, large, d, w, clock, copy=True, compiled=False
                    )


def summary(results: list[dict[str, Any]]) -> Table:
    table = Table(title="In short", title_justify="left")
    for column in ("what", "least", "median", "of"):
        table.add_column(column, justify="left" if column == "what" else "right")

    def row(title: str, values: list[float]) -> None:
        if values:
            table.add_row(title, f"{min(values):.2f}", f"{statistics.median(values):.2f}", str(len(values)))

    for dtype in BANDWIDTH:
        for which in ("forward", "backward"):
            row(
                f"share of a copy, {dtype}, {which}, the largest size",
                [r["share_of_copy"] for r in results
                 if r.get("dtype") == dtype and r.get("pass") == which and "share_of_copy" in r],
            )  # fmt: skip
    point = [r for r in results if r["what"] == "pointwise" and "over_torch" in r]
    row(
        "torch's time over ours, from 1 million elements",
        [r["over_torch"][1] for r in point if r["size"] >= 1 << 20],
    )
    row("torch's time over ours, smaller", [r["over_torch"][1] for r in point if r["size"] < 1 << 20])
    for peer in ("torch", "torch_compile", "liger"):
        row(f"gates: {peer}'s time over ours", [r[f"over_{peer}"][1] for r in results
                                                if r["what"] == "gate" and f"over_{peer}" in r])  # fmt: skip
    for ours in ("softknee", "softknee_lean"):
        kind = ', saved="lean"' if ours.endswith("lean") else ""
        row(f"bytes kept: torch's over ours{kind}",
            [r["torch"] / r[ours] for r in results if r["what"] == "saved bytes"])  # fmt: skip
    row("blocks: torch's step over ours", [r["over_torch"][1] for r in results if r["what"] == "block"])
    row(
        "blocks: torch's peak memory over ours",
        [r["torch_peak_bytes"] / r["softknee_peak_bytes"] for r in results if "torch_peak_bytes" in r],
    )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="softknee on a GPU")
    parser.add_argument("--all", action="store_true", help="every activation of one input, not torch's alone")
    parser.add_argument("--minutes", type=float, default=7.5, help="nothing new is begun after this long")
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, tiny: tries the script")
    parser.add_argument(
        "--out", type=Path, help="where to write; default: benchmarks/results/gpu-DEVICE.jsonl"
    )
    options = parser.parse_args()
    if not options.dry_run:
        from softknee.nn import gpu

        try:
            gpu.require()
        except RuntimeError as error:
            sys.exit(f"Nothing was measured. {error}")
    device = torch.device("cpu" if options.dry_run else "cuda")
    console, clock = Console(), Clock(device, options.repetitions)
    described = settings(device, options)
    out = options.out
    if out is None and not options.dry_run:
        out = RESULTS / f"gpu-{described['device'].replace(' ', '-')}.jsonl"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(described) + "\n", encoding="utf-8")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start, results, failed, late = time.monotonic(), [], 0, 0
    try:
        for measure in work(clock, options):
            if time.monotonic() - start > options.minutes * 60:
                late += 1
                continue
            try:
                found = measure()
                results.append(found)
            except Exception as error:  # noqa: BLE001 - the rest is worth having
                text = f"{type(error).__name__}: {error}"
                found = {"what": "failed", "of": str(measure.__defaults__), "why": text[:1000]}
                failed += 1
            if out is not None:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
            print(json.dumps(found), file=sys.stderr)
            if device.type == "cuda":
                torch.cuda.empty_cache()
    except KeyboardInterrupt:
        console.print("Stopped.")
    if out is not None:
        console.print(f"Written to {os.path.relpath(out)}")
    took = time.monotonic() - start
    console.print(
        f"{described['device']}: {len(results)} measurements in {took:.0f} s; {failed} failed; {late} did not fit into "
        f"{options.minutes:g} minutes"
    )
    console.print(summary(results))
    if options.dry_run:
        console.print("A dry run on the CPU: none of these figures is a measurement of a GPU.")


if __name__ == "__main__":
    main()

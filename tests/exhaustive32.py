"""Every float32 number, value and first derivative, of every activation without a learnable parameter.

    python tests/exhaustive32.py               everything, into benchmarks/results/exhaustive-float32.jsonl
    python tests/exhaustive32.py gelu silu     these only
    python tests/exhaustive32.py --jobs 1      on one core

Both precisions of `softknee.options` are compared with our float64 kernel of the same function, which
`tests/laws` holds to mpmath. The error is counted in units in the last place of the right result; for a
derivative around its root in those of 1/4 (docs/accuracy.md). Interrupt it at will: what the same kernels
have been through is not done again. The record is that of a processor with AVX-512.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from softknee import catalogue
from softknee.kernels.llvm import Operand
from softknee.kernels.plan import Plan, compile_plan, kernel_of
from softknee.nn.pointwise import Pointwise
from softknee.nn.runtime import runtime
from softknee.testing import Case, cases_of

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "exhaustive-float32.jsonl"
ORDERS = ("value", "derivative")
PRECISIONS = ("default", "exact")
#: numbers at a time: what they need fits a core's cache
CHUNK = 1 << 14
#: the unit of 1/4, which counts around the root of a derivative
QUARTER = 2.0**-25


@dataclass(frozen=True, eq=False)
class Sweep:
    """One function, value (0) or the gradient that an incoming 1 gives (1)."""

    case: Case
    order: int

    @property
    def what(self) -> str:
        d, choices = self.case.definition, self.case.choices
        chosen = [f"{n}={v}" for n, v in choices.items() if v != d.choices[n][0]]
        name = f"{d.name}({', '.join(chosen)})" if chosen else d.name
        return f"{name} {ORDERS[self.order]}"

    @cached_property
    def operator(self) -> Pointwise | None:
        """None where the derivative is 0 everywhere"""
        op = runtime(self.case.definition).operator(dict(self.case.choices), {})
        if not self.order:
            return op
        derived = op.backward((True,))
        return None if derived is None else derived[0]

    def plan(self, storage: Any, precision: Any) -> Plan:
        op = self.operator
        assert op is not None
        inputs = [(n, Operand(storage, "row" if n == "x" else "splat")) for n in op.tensors if n in op.used]
        return Plan(((op.expressions[0], Operand(storage)),), tuple(inputs), precision, op.factors)

    @property
    def key(self) -> str:
        """Changes with what is computed, not with how the sources look"""
        plans = [self.plan("float32", p) for p in PRECISIONS] + [self.plan("float64", "default")]
        kernels = [kernel_of(plan) for plan in plans]
        programs = [(k.program.instructions, [v for v, _ in k.results]) for k in kernels]
        short = [k.shortcut.program.instructions for k in kernels if k.shortcut]
        return hashlib.sha256(repr((programs, short) if short else programs).encode()).hexdigest()[:16]

    def errors(self, x: Any) -> dict[str, Any]:
        """The error of each precision in ULP, at an array of float32 numbers."""
        return Comparison(self, len(x))(x)


class Comparison:
    """The kernels of both precisions against the float64 kernel, for so many numbers at a time. Nothing is
    allocated in between: fresh memory would cost more than the arithmetic."""

    def __init__(self, sweep: Sweep, size: int) -> None:
        plans = {p: sweep.plan("float32", p) for p in PRECISIONS}
        if kernel_of(plans["default"]).header == kernel_of(plans["exact"]).header:
            del plans["default"]  # the same computation
        self.size = size
        self.ones = {"float32": np.ones(1, "f4"), "float64": np.ones(1)}
        self.x, self.right = np.empty(size), np.empty(size)
        self.got = {p: np.empty(size, "f4") for p in plans}
        self.unit, self.error = np.empty(size), {p: np.empty(size) for p in plans}  # unit: its reciprocal
        self.calls = {p: self._call(plan, "float32", self.got[p]) for p, plan in plans.items()}
        self.reference = self._call(sweep.plan("float64", "default"), "float64", self.right)
        self.near = sweep.case._regions(1) if sweep.order else []

    def _call(self, plan: Plan, storage: str, out: Any) -> Any:
        call, one = compile_plan(plan).call, self.ones[storage].ctypes.data
        names = [name for name, _ in plan.inputs]
        return lambda x: call(
            self.size, 1, 1, *(x.ctypes.data if n == "x" else one for n in names), out.ctypes.data
        )

    def __call__(self, x: Any) -> dict[str, Any]:
        right, unit = self.right, self.unit
        with np.errstate(invalid="ignore", over="ignore"):
            np.copyto(self.x, x)
            self.reference(self.x)
            bits = unit.view(np.uint64)  # 1 / unit: 2^23 over the power of 2 below |right|
            np.bitwise_and(right.view(np.uint64), 0x7FF << 52, out=bits)
            np.maximum(bits, (1023 - 126) << 52, out=bits)
            np.subtract((2 * 1023 + 23) << 52, bits, out=bits)
            for low, high in self.near:
                near = (x >= low) & (x <= high) & (np.abs(right) < 0.25)
                unit[near] = np.minimum(unit[near], 1 / QUARTER)
            for p, call in self.calls.items():
                call(x)
                error = self.error[p]
                np.subtract(self.got[p], right, out=error)
                np.multiply(np.abs(error, out=error), unit, out=error)
                if not error.max() < np.inf:
                    self._infinite(self.got[p], error)
        return {p: self.error.get(p, self.error["exact"]) for p in PRECISIONS}

    def _infinite(self, got: Any, error: Any) -> None:
        """As `softknee.testing.metric`: infinity counts as the number after the largest"""
        odd = ~(error < np.inf)
        g, r = got[odd].astype(np.float64), self.right[odd]
        beyond = np.where(np.isinf(g), np.copysign(2.0**128, g), g)
        units = np.maximum(self.unit[odd], 2.0**-104)
        found = np.abs(beyond - np.clip(r, -(2.0**128), 2.0**128)) * units
        found[np.isnan(g) | np.isnan(r)] = np.inf
        found[(g == r.astype(np.float32)) | (np.isnan(g) & np.isnan(r))] = 0.0
        error[odd] = found


def numbers() -> Iterator[Any]:
    """Every float32 number, in chunks"""
    for start in range(0, 1 << 32, CHUNK):
        yield np.arange(start, start + CHUNK, dtype=np.uint32).view(np.float32)


def sweep(sweep: Sweep, chunks: Any = None) -> dict[str, Any]:
    """The largest error of each precision, and where it is"""
    torch.set_num_threads(1)
    worst = dict.fromkeys(PRECISIONS, (0.0, 0.0))
    compare = Comparison(sweep, CHUNK)
    for x in numbers() if chunks is None else chunks:
        for p, errors in compare(x).items():
            k = int(errors.argmax())
            if errors[k] > worst[p][0]:
                worst[p] = float(errors[k]), float(x[k])
    return {"what": sweep.what, "kernels": sweep.key} | {
        p: {"ulp": round(ulp, 4), "at": at.hex() if at == at else "nan"} for p, (ulp, at) in worst.items()
    }


def sweeps(names: list[str]) -> dict[str, Sweep]:
    found = {}
    definitions = catalogue.all_definitions()
    for definition in sorted(definitions, key=lambda d: (d.torch is None, d.name)):  # torch's own first
        if not definition.learnable and (not names or definition.name in names):
            for case in cases_of(definition, "float32"):
                fixed = all(p.default is not None for p in definition.parameters)
                for order in range(2):
                    one = Sweep(case, order)
                    if fixed and len(definition.inputs) == 1 and one.operator is not None:
                        found[one.what] = one
    return found


def known(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The newest result of each; a last line cut short by an interrupt is none."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[entry["what"]] = entry
    return found


def _named(name: str, what: str) -> dict[str, Any]:
    return sweep(sweeps([name])[what])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="activations; all where none is given")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    if unknown := [n for n in given.names if n not in catalogue.names()]:
        parser.error(f"no activation is called {unknown[0]!r}")
    work, done = sweeps(given.names), known(given.out)
    left = [s for what, s in work.items() if done.get(what, {}).get("kernels") != s.key]
    left.sort(key=lambda s: "=" in s.what)  # the usual forms first
    print(
        f"{len(work)} functions and derivatives, 4,294,967,296 numbers each; {len(work) - len(left)} are done"
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with Progress(*columns) as progress, ProcessPoolExecutor(given.jobs) as pool:
        bar = progress.add_task("sweeping", total=len(left))
        tasks = [pool.submit(_named, s.case.definition.name, s.what) for s in left]
        try:
            for task in as_completed(tasks):
                entry = task.result()
                done[entry["what"]] = entry
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
                text = ", ".join(f"{p} {entry[p]['ulp']:.3f} ULP" for p in PRECISIONS)
                progress.console.print(f"{entry['what']}: {text}")
                progress.advance(bar)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

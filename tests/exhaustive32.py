"""Every float32 number, value and first derivative, of every activation without a learnable parameter.

    python tests/exhaustive32.py               everything, into benchmarks/results/exhaustive-float32.jsonl
    python tests/exhaustive32.py gelu silu     these only
    python tests/exhaustive32.py --jobs 1      on one core

Both precisions of `softknee.options` are compared with our float64 kernel of the same function, which
`tests/laws` holds to mpmath. The error is counted in units in the last place of the right result; for a
derivative around its root in those of 1/4 (docs/accuracy.md). Interrupt it at will: what the same kernels
have been through is not done again. The record is that of a processor with AVX-512.

A function takes 10 to 50 seconds of one core, because two things are not done. The float64 kernel is not run at every
number: polynomials stand for it on chunks of neighbouring numbers, to within a quarter of 2^-15 ULP, and the
largest errors are then measured against the kernel. Numbers of an exponent at which a kernel provably does
what it did at half of them are not gone through again (`binades.py`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from softknee import catalogue
from softknee.kernels import native
from softknee.kernels.llvm import Kernel, Operand, Scalar, form_of, to_llvm
from softknee.kernels.plan import Plan, compile_plan, kernel_of
from softknee.kernels.program import Program
from softknee.lang.nodes import walk
from softknee.nn.pointwise import Pointwise
from softknee.nn.runtime import runtime
from softknee.testing import Case, cases_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.binades import EXPONENTS, goes_on

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "exhaustive-float32.jsonl"
ORDERS = ("value", "derivative")
PRECISIONS = ("default", "exact")
#: numbers of one sign and exponent
BLOCK = 1 << 23
#: numbers at a time: what they need fits a core's cache
CHUNK = 1 << 14
#: degree of a polynomial over a chunk; its largest error in ULP is a quarter of what is less than a printed digit
DEGREE, SLACK = 7, 2.0**-15
#: suspects in a chunk from which on all of it is compared with the kernel
MANY = 256
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
        inputs = [
            (n, Operand(storage, "row" if n == "x" else "splat"))
            for n in op.tensors
            if n in op.used or n == "x"
        ]
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
        """Takes the address of the numbers"""
        call, one, to = compile_plan(plan).call, self.ones[storage].ctypes.data, out.ctypes.data
        before = [one] * [name for name, _ in plan.inputs].index("x")
        after = [one] * (len(plan.inputs) - len(before) - 1) + [to]
        return lambda x: call(self.size, 1, 1, *before, x, *after)

    def __call__(self, x: Any) -> dict[str, Any]:
        right, unit = self.right, self.unit
        with np.errstate(invalid="ignore", over="ignore"):
            np.copyto(self.x, x)
            self.reference(self.x.ctypes.data)
            bits = unit.view(np.uint64)  # 1 / unit: 2^23 over the power of 2 below |right|
            np.bitwise_and(right.view(np.uint64), 0x7FF << 52, out=bits)
            np.maximum(bits, (1023 - 126) << 52, out=bits)
            np.subtract((2 * 1023 + 23) << 52, bits, out=bits)
            for low, high in self.near:
                near = (x >= low) & (x <= high) & (np.abs(right) < 0.25)
                unit[near] = np.minimum(unit[near], 1 / QUARTER)
            for p, call in self.calls.items():
                call(x.ctypes.data)
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


@dataclass(frozen=True, eq=False)
class Block:
    """For each chunk: of x what makes it go from -1 to 1, the largest 1 / unit, the coefficients; and, where
    all have a polynomial, the float64 kernel's results, their units, and where that is the unit of 1/4."""

    polynomials: list[list[float] | None]
    values: Any = None
    unit: Any = None
    near: Any = None

    def goes_on_from(self, other: Block, k: float) -> bool:
        """Whether a kernel with 2^k times the results it has there has the same errors"""
        if self.values is None or other.values is None or (self.near != other.near).any():
            return False
        if k and (self.near.any() or min(np.abs(b.values).min() for b in (self, other)) < 2.0**-125):
            return False
        away = np.abs(self.values - other.values * 2.0**k).max(axis=1)
        return bool((away <= SLACK / 4 * self.unit).all())


class Polynomials:
    """What stands for the float64 kernel, a chunk of neighbouring numbers at a time: a polynomial, in a tenth
    of the kernel's time, where it keeps to the kernel at points in between and at both ends.

    Zeros, subnormal numbers, infinities and NaN have none, nor has a chunk with a root in it, a kink, a number
    that the definition mentions, or an end of where the other unit counts."""

    def __init__(self, sweep: Sweep, compare: Comparison) -> None:
        op = sweep.operator
        assert op is not None
        literals = {float(n.payload) for n in walk(*op.expressions) if n.op == "number"}
        ends = [end for region in compare.near for end in region]
        places = np.array([*sweep.case.kinks, *ends, *literals, *(-n for n in literals)])
        self.places = np.sort(places[np.isfinite(places)])
        self.regions, self.reference, self.right = compare.near, compare.reference, compare.right
        nodes = np.cos((np.arange(DEGREE + 1) + 0.5) * np.pi / (DEGREE + 1))
        self.points = np.array([*nodes, *(nodes[1:] + nodes[:-1]) / 2 + 0.01, -1, 1])
        self.powers = self.points ** np.arange(DEGREE + 1)[:, None]
        self.fit = np.linalg.inv(self.powers[:, : DEGREE + 1])

    def __call__(self, block: int) -> Block:
        starts = np.arange(block * BLOCK, (block + 1) * BLOCK, CHUNK, dtype=np.uint32)
        if block % 256 not in EXPONENTS:
            return Block([None] * len(starts))
        first, last = (bits.view("f4").astype("f8") for bits in (starts, starts + np.uint32(CHUNK - 1)))
        middle, half = (first + last) / 2, (last - first) / 2
        low, high = np.minimum(first, last), np.maximum(first, last)
        values = self._values(middle[:, None] + half[:, None] * self.points)
        sizes, coefficients = np.abs(values), values[:, : DEGREE + 1] @ self.fit
        near = np.zeros(len(starts), bool)
        for start, end in self.regions:
            near |= (low >= start) & (high <= end)
        _, exponent = np.frexp(np.maximum(sizes.min(axis=1), 2.0**-126))
        unit = np.maximum(np.ldexp(1.0, exponent - 24), np.where(near, QUARTER, 0))
        with np.errstate(invalid="ignore"):
            away = np.abs(coefficients @ self.powers - values).max(axis=1)
            one_sign = (values > 0).all(axis=1) | (values < 0).all(axis=1) | (values == 0).all(axis=1)
        kept = (away <= SLACK / 4 * unit) & one_sign & (sizes.max(axis=1) < 2.0**127)
        kept &= np.searchsorted(self.places, low) == np.searchsorted(self.places, high, side="right")
        most = np.where(near, 1 / QUARTER, 2.0**149)
        rows = np.column_stack([1 / half, -middle / half, most, coefficients]).tolist()
        kept_rows = [row if keep else None for row, keep in zip(rows, kept.tolist(), strict=True)]
        return Block(kept_rows, values, unit, near) if kept.all() else Block(kept_rows)

    def _values(self, x: Any) -> Any:
        found = np.resize(x, -(-x.size // CHUNK) * CHUNK)
        for part in found.reshape(-1, CHUNK):
            self.reference(part.ctypes.data)
            part[:] = self.right
        return found[: x.size].reshape(x.shape)


def _suspects(count: int) -> Any:
    """Compiled: which of `count` float32 results are farther from a polynomial than a limit, in ULP, or not
    finite. Takes size, 1, 1, the addresses of numbers, results and bits, the limits, and what a `Block` has"""
    p = Program()
    x, *got = (p.input(k, "f64") for k in range(1 + count))
    scalars = [p.input(1 + count + k, "f64") for k in range(count + 4 + DEGREE)]
    limits, (scale, shift, most, *c) = scalars[:count], scalars[count:]
    at, right = p.fma(x, scale, shift), c[-1]
    for coefficient in reversed(c[:-1]):
        right = p.fma(right, at, coefficient)
    least = p.const(2.0**-126)
    size = p.select(p.lt(p.abs(right), least), least, p.abs(right))
    power = p.iand(p.bits(size), p.const(0x7FF << 52, "i64"))
    units = p.from_bits(p.isub(p.const((2 * 1023 + 23) << 52, "i64"), power))
    units = p.select(p.lt(units, most), units, most)
    near = [p.le(p.mul(p.abs(p.sub(g, right)), units), limit) for g, limit in zip(got, limits, strict=True)]
    far = p.select(p.not_(reduce(p.and_, near)), p.const(1.0), p.const(0.0))
    row = Operand("float32")
    inputs = (*[row] * (1 + count), *[Scalar()] * len(scalars))
    text = to_llvm(Kernel(p, inputs, ((far, Operand("bits")),), lanes=64), native.features())
    return native.load_text(text, form_of(inputs, [Operand("bits")])).call


def _goes_on(sweep: Sweep, precisions: list[str], sign: int) -> dict[int, float]:
    """By exponent: k if from there to the next one both precisions' results grow 2^k-fold"""
    found = []
    for p in precisions:
        plan = sweep.plan("float32", p)
        found.append(goes_on(kernel_of(plan), [n for n, _ in plan.inputs].index("x"), sign))
    return {
        e: k for e, k, *others in zip(EXPONENTS, *found, strict=True) if k == k and {k}.issuperset(others)
    }


class Search:
    """For the largest error: numbers whose error against a polynomial comes near it are compared again."""

    def __init__(self, sweep: Sweep) -> None:
        self.compare = Comparison(sweep, CHUNK)
        self.polynomials = Polynomials(sweep, self.compare)
        self.quick = _suspects(len(self.compare.calls))
        self.numbers, self.x = np.arange(CHUNK, dtype=np.uint32), np.empty(CHUNK, "f4")
        self.far = np.empty(CHUNK // 8, np.uint8)
        arrays = (self.x, *self.compare.got.values(), self.far)
        self.addresses = [a.ctypes.data for a in arrays]
        self.worst = dict.fromkeys(PRECISIONS, (0.0, 0.0))
        self.suspects: list[Any] = []
        self.goes_on = [_goes_on(sweep, list(self.compare.calls), sign) for sign in (1, -1)]
        self.last, self.before, self.k = -1, Block([]), 0.0

    def __call__(self, block: int) -> None:
        here = self.polynomials(block)
        sign, exponent = divmod(block, 256)
        self.k += self.goes_on[sign].get(exponent - 1, np.nan) if block == self.last + 1 else np.nan
        self.last = block
        if here.goes_on_from(self.before, self.k):
            return
        self.before, self.k = here, 0.0
        for k, polynomial in enumerate(here.polynomials):
            np.add(self.numbers, np.uint32(block * BLOCK + k * CHUNK), out=self.x.view(np.uint32))
            found = None if polynomial is None else self._quickly(polynomial)
            if found is None or len(found) > MANY:
                self._exactly(self.x)
            elif len(found):
                self.suspects.append(found)
        if self.suspects:
            x = np.concatenate(self.suspects)
            for part in np.resize(x, -(-len(x) // CHUNK) * CHUNK).reshape(-1, CHUNK):
                self._exactly(part)
            self.suspects.clear()

    def _quickly(self, polynomial: list[float]) -> Any:
        """The numbers whose errors may be the largest"""
        address = self.addresses[0]
        for call in self.compare.calls.values():
            call(address)
        limits = [max(self.worst[p][0] - SLACK, SLACK) for p in self.compare.calls]
        self.quick(CHUNK, 1, 1, *self.addresses, *limits, *polynomial)
        if not self.far.any():
            return ()
        return self.x[np.unpackbits(self.far, bitorder="little").astype(bool)]

    def _exactly(self, x: Any) -> None:
        for p, errors in self.compare(x).items():
            k = int(errors.argmax())
            if errors[k] > self.worst[p][0]:
                self.worst[p] = float(errors[k]), float(x[k])


def sweep(sweep: Sweep, blocks: Iterable[int] = range(1 << 9)) -> dict[str, Any]:
    """The largest error of each precision, and where it is, of numbers of these signs and exponents"""
    torch.set_num_threads(1)
    search = Search(sweep)
    for block in blocks:
        search(block)
    return {"what": sweep.what, "kernels": sweep.key} | {
        p: {"ulp": round(ulp, 4), "at": at.hex() if at == at else "nan"}
        for p, (ulp, at) in search.worst.items()
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


def _named(name: str, what: str, known: str | None) -> dict[str, Any] | None:
    """None where the known result is that of the same kernels"""
    one = sweeps([name])[what]
    return None if known == one.key else sweep(one)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="activations; all where none is given")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    if unknown := [n for n in given.names if n not in catalogue.names()]:
        parser.error(f"no activation is called {unknown[0]!r}")
    done = {what: entry["kernels"] for what, entry in known(given.out).items()}
    # what is not known first, and the usual forms
    work = sorted(sweeps(given.names).values(), key=lambda s: (s.what in done, "=" in s.what))
    new = sum(s.what not in done for s in work)
    print(
        f"{len(work)} functions and derivatives, 4,294,967,296 numbers each; {len(work) - new} are recorded, and "
        f"done again if their kernels are others now.\n{new} are not: about {new * 20 / 60 / given.jobs:.0f} minutes."
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with Progress(*columns) as progress, ProcessPoolExecutor(given.jobs) as pool:
        bar = progress.add_task("sweeping", total=len(work))
        tasks = [pool.submit(_named, s.case.definition.name, s.what, done.get(s.what)) for s in work]
        try:
            for task in as_completed(tasks):
                entry = task.result()
                progress.advance(bar)
                if entry is None:
                    continue
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
                text = ", ".join(f"{p} {entry[p]['ulp']:.3f} ULP" for p in PRECISIONS)
                progress.console.print(f"{entry['what']}: {text}")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

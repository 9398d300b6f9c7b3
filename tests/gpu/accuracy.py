"""How exact the arithmetic of the GPU's kernels is, measured without a GPU.

    python -m tests.gpu.accuracy                 everything, into benchmarks/results/gpu-accuracy.jsonl
    python -m tests.gpu.accuracy gelu mish       these only, in their places there

The operations of each kernel (the same list, in the same arithmetic, rounded once in the end) are compiled for the
CPU, where each rounds as IEEE 754 says, as it does on a GPU: nothing is contracted on either, and only a quotient for
which 2^-22 will do may differ. Every 16-bit number, and 400,000 float32 numbers of all sizes; value and first
derivative, against the float64 kernels of the CPU. What this leaves open is the spelling, which is
tested operation by operation (test_spelling.py), and what a GPU's own compiler makes of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import torch
from tests.exhaustive import every_number, nearest

from softknee import catalogue
from softknee.kernels import native
from softknee.kernels.llvm import form_of, to_llvm
from softknee.kernels.plan import Plan, kernel_of
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import evaluate_mp
from softknee.nn import launch, pointwise
from softknee.testing import Case, cases_of
from softknee.testing.metric import FORMATS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "gpu-accuracy.jsonl"
TYPES = ("float32", "bfloat16", "float16")
#: largest error of values and of derivatives
BOUNDS = {"float32": 2.0, "bfloat16": 0.502, "float16": 0.502}
COUNT = 400_000
#: of an oscillation as far out as float32 reaches, and of what is left of it beside a root
DIGITS = 120


def _compiled(plan: Plan) -> native.Loaded:
    form = form_of([i for _, i in plan.inputs], [o for _, o in plan.outputs])
    return native.load(f"gpu {plan.key()}", lambda: to_llvm(kernel_of(plan, "gpu"), native.features()), form)


@contextmanager
def gpu_arithmetic() -> Iterator[None]:
    """CPU tensors are computed with the operations of the GPU's kernels, and keep their inputs."""
    before = launch.compile_plan, pointwise.saved_form
    known = [(kept, dict(kept)) for op in pointwise._operators for kept in (op.kernels, op.ready, op.forms)]
    launch.compile_plan, pointwise.saved_form = _compiled, lambda op, *kept: None
    for kept, _ in known:
        kept.clear()
    try:
        yield
    finally:
        launch.compile_plan, pointwise.saved_form = before
        for op in pointwise._operators:
            for kept in (op.kernels, op.ready, op.forms):
                kept.clear()
        for kept, contents in known:
            kept.update(contents)


def numbers(case: Case, dtype: str) -> torch.Tensor:
    """Sorted finite numbers: all there are of 16 bits; of float32 all sizes, densely where networks live, and
    the points where functions go wrong."""
    if dtype != "float32":
        found = every_number(dtype)
        return found[torch.isfinite(found)].sort().values
    random = np.random.default_rng(0)
    sizes = [2.0 ** random.uniform(-149, 128, COUNT // 8), random.uniform(0, 20, COUNT // 4)]
    sizes += [random.uniform(0, 1, COUNT // 16), random.uniform(20, 120, COUNT // 16)]
    sizes += [[0.0, 2.0**-149, 2.0**-126, float(np.finfo("f4").max)]]
    positive = np.concatenate(sizes)
    found = np.unique(np.concatenate([positive, -positive, case.points(dtype, 0)]).astype("f4"))
    return torch.from_numpy(found[np.isfinite(found)])


def both(case: Case, x: torch.Tensor) -> list[Any]:
    """Value and derivative as float64 numbers"""
    x = x.detach().requires_grad_()
    y = case(x)
    slope = (
        torch.autograd.grad(y.sum(), x, materialize_grads=True)[0] if y.requires_grad else torch.zeros_like(x)
    )
    return [t.detach().double().numpy() for t in (y, slope)]


def _strays(given: Any, exact: Any, rounded: Any, exponent: Any) -> Any:
    """Where float32 results are off by more than what is allowed"""
    off = np.abs(given - exact) > BOUNDS["float32"] * np.ldexp(1.0, exponent - 23)
    return np.flatnonzero(off & (given != rounded) & np.isfinite(given) & np.isfinite(exact))


def _touches(case: Case, x: Any) -> bool:
    """Whether x lies beside a root at which the derivative has an extremum: those far out, of functions that
    oscillate, are not in the list of regions."""
    slope, bend, third = (derivative(case._function, "x", order) for order in (1, 2, 3))
    root = start = mp.mpf(float(x))
    with mp.workdps(DIGITS):
        for _ in range(20):
            divisor = evaluate_mp(third, {"x": root}, DIGITS)
            if not divisor:
                return False
            root -= evaluate_mp(bend, {"x": root}, DIGITS) / divisor
        sizes = [abs(evaluate_mp(slope, {"x": p}, DIGITS)) for p in (root, (root + start) / 2, start)]
        return bool(sizes[0] < 1e-9 and sizes == sorted(sizes))


def errors(case: Case, dtype: str) -> list[tuple[float, float]]:
    """Of the value and of the derivative: the largest error in ULP, and where."""
    form, x = FORMATS[dtype], numbers(case, dtype)
    right = both(case, x.double())
    with gpu_arithmetic():
        got = both(case, x)
    found = []
    with np.errstate(all="ignore"):
        for order in (0, 1):
            exact, given = right[order], got[order]
            rounded = nearest(exact, form)
            sizes = np.where(np.isfinite(exact), np.abs(exact), 1.0)
            exponent = np.maximum(np.frexp(sizes)[1] - 1, form.least)
            if order and dtype == "float32":
                small = np.abs(exact) < 0.25
                for low, high in case._regions(1):
                    around = small & (x.numpy() >= low) & (x.numpy() <= high)
                    exponent = np.where(around, np.maximum(exponent, -2), exponent)
                exponent[
                    [k for k in _strays(given, exact, rounded, exponent) if small[k] and _touches(case, x[k])]
                ] = -2
            beyond = np.copysign(
                2.0 ** (np.frexp(form.largest)[1]), given
            )  # infinity: the number after the largest
            reached = np.where(np.isinf(given) & np.isfinite(rounded), beyond, given)
            error = np.abs(reached - exact) / np.ldexp(1.0, exponent - form.precision + 1)
            error = np.where((given == rounded) | (np.isnan(given) & np.isnan(exact)), 0.0, error)
            error = np.where(np.isnan(error), np.inf, error)
            worst = int(error.argmax())
            found.append((float(error[worst]), float(x[worst])))
    return found


def measured(names: list[str]) -> Iterator[dict[str, Any]]:
    for definition in catalogue.all_definitions():
        if names and definition.name not in names:
            continue
        for dtype in TYPES:
            for case in cases_of(definition, dtype):
                value, derivative = errors(case, dtype)
                yield {"function": str(case), "dtype": dtype, "value": value, "derivative": derivative}


def main() -> None:
    names = sys.argv[1:]
    found = {}
    if names:
        rows = map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines())
        found = {(row["function"], row["dtype"]): row for row in rows}
    for row in measured(names):
        found[row["function"], row["dtype"]] = row
        if names or max(row["value"][0], row["derivative"][0]) > BOUNDS[row["dtype"]]:
            print(json.dumps(row), flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in found.values()), encoding="utf-8")


if __name__ == "__main__":
    main()

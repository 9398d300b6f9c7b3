"""All 65,536 inputs of both 16-bit types, value and first derivative, of every activation.

    python tests/exhaustive.py                 everything, into benchmarks/results/exhaustive.jsonl
    python tests/exhaustive.py gelu mish       these only
    python tests/exhaustive.py --dtype float16

A result must be the correctly rounded one. Our float64 result decides where it lies clearly between two
rounding boundaries, mpmath on the textbook formula where it does not, where the two disagree, and at
256 inputs drawn at random. Interrupt it at will: what was done with the same sources is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softknee import catalogue
from softknee.testing import Case, cases_of
from softknee.testing.metric import FORMATS, Format, rounded, ulp_error

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "exhaustive.jsonl"
TYPES = ("bfloat16", "float16")
ORDERS = ("value", "derivative")


@cache
def sources() -> str:
    """A hash of everything a result depends on."""
    digest = hashlib.sha256(torch.__version__.encode())
    for part in ("lang", "catalogue", "kernels", "nn", "testing"):
        for path in sorted((ROOT / "src" / "softknee" / part).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def every_number(dtype: str) -> torch.Tensor:
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(getattr(torch, dtype))


def nearest(values: Any, form: Format) -> Any:
    """float64 -> the nearest numbers of a 16-bit type, ties to even, as float64."""
    with np.errstate(all="ignore"):
        exponent = np.maximum(np.frexp(np.where(np.isfinite(values), values, 1.0))[1] - 1, form.least)
        step = np.ldexp(1.0, exponent - form.precision + 1)
        result = np.rint(values / step) * step
        result = np.where(np.abs(result) > form.largest, np.copysign(np.inf, values), result)
        return np.where(np.isfinite(values), result, values)


def undecided(values: Any, form: Format) -> Any:
    """Where an error of 2^-40 in a float64 result could change its rounding, or it is not finite."""
    low, high = nearest(values * (1 - 2.0**-40), form), nearest(values * (1 + 2.0**-40), form)
    return (low != high) | ~np.isfinite(values)


def wrong_results(
    case: Case, dtype: str, order: int, seed: int = 0
) -> tuple[list[tuple[float, float, float]], float, int]:
    """(x, got, right) of every result that is not the correctly rounded one, the largest error in ULP, and
    how many were decided by mpmath."""
    form = FORMATS[dtype]
    x = every_number(dtype)
    finite = torch.isfinite(x)
    x = x[finite]
    points = x.double().tolist()
    got = np.array(case.derivatives(points, getattr(torch, dtype), order)[order])
    reference = np.array(case.derivatives(points, torch.float64, order)[order])
    right = nearest(reference, form)
    ask = undecided(reference, form)
    ask |= (got != right) & ~(np.isnan(got) & np.isnan(right))
    ask[np.random.default_rng(seed).choice(len(points), 256, replace=False)] = True
    wrong, worst = [], 0.0
    for k in np.flatnonzero(ask):
        exact = case.exact.derivative(points[k], order)
        if exact != exact:  # no derivative there, and none stated
            continue
        best = float(rounded(exact, dtype))
        if got[k] != best:  # a midpoint, or so near to one that more digits must decide
            exact = case.exact.settled(points[k], order)
            best = float(rounded(exact, dtype))
        if got[k] != best:
            wrong.append((points[k], float(got[k]), best))
            worst = max(worst, ulp_error(float(got[k]), exact, dtype))
    return wrong, worst, int(ask.sum())


def tasks(names: list[str], dtypes: list[str]) -> Iterator[tuple[Case, str, int]]:
    for definition in catalogue.all_definitions():
        if names and definition.name not in names:
            continue
        for dtype in dtypes:
            for case in cases_of(definition, dtype):
                for order in range(2):
                    yield case, dtype, order


def key_of(case: Case, dtype: str, order: int) -> str:
    return f"{case} {dtype} {ORDERS[order]}"


def known(path: Path) -> dict[str, dict[str, Any]]:
    """Results of these very sources; a last line cut short by an interrupt is none."""
    found = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if entry["sources"] == sources():
                found[entry["what"]] = entry
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="activations; all where none is given")
    parser.add_argument("--dtype", choices=TYPES, action="append", help="one type only")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    if unknown := [n for n in given.names if n not in catalogue.names()]:
        parser.error(f"no activation is called {unknown[0]!r}")
    work = list(tasks(given.names, given.dtype or list(TYPES)))
    done = known(given.out)
    left = [t for t in work if key_of(*t) not in done]
    print(
        f"{len(work)} functions, types and orders of 65,536 inputs each; {len(work) - len(left)} are done already"
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    failed = [
        what for what, entry in done.items() if entry["wrong"] and any(key_of(*t) == what for t in work)
    ]
    with given.out.open("a", encoding="utf-8") as file:
        for count, (case, dtype, order) in enumerate(left, 1):
            begun = time.monotonic()
            what = key_of(case, dtype, order)
            wrong, worst, asked = wrong_results(case, dtype, order)
            entry = {
                "what": what, "wrong": len(wrong), "worst_ulp": worst, "by_mpmath": asked,
                "examples": wrong[:3], "seconds": round(time.monotonic() - begun, 2), "sources": sources(),
            }  # fmt: skip
            file.write(json.dumps(entry) + "\n")
            file.flush()
            remaining = (time.monotonic() - start) / count * (len(left) - count)
            verdict = "correctly rounded" if not wrong else f"{len(wrong)} WRONG, e.g. {wrong[0]}"
            print(f"[{count}/{len(left)}, about {remaining / 60:.0f} min left] {what}: {verdict}", flush=True)
            if wrong:
                failed.append(what)
    print(
        f"{len(work) - len(failed)} of {len(work)} are correctly rounded at every input"
        + "".join(f"\n  not: {w}" for w in failed)
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

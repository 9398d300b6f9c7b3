"""Processor time of a function's first call in a process, with an empty and with a filled cache of kernels.

    python benchmarks/first_call.py               # the whole catalogue; a quarter of an hour
    python benchmarks/first_call.py gelu mish     # these only, printed and not recorded

Each call is the first one of a process of its own, after the imports of torch and softknee.functional: of 64 numbers
from N(0, 1), with tensors for learnable parameters; the value alone, or the value and its gradients. It is made twice
with a folder for the cache that is empty at first: "cold" finds, compiles and keeps what "warm" reads. Writes
benchmarks/results/first-call.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from softknee import bench, catalogue

RESULTS = Path(__file__).parent / "results" / "first-call.jsonl"
DTYPES = ("float32", "bfloat16")
#: seconds within which a first call should be done
LIMITS = {"cold": 0.2, "warm": 0.03}

CALL = """
import sys, time
import torch
import softknee.functional as F

name, dtype, passes, *given = sys.argv[1:]
values = {n: float(v) for n, v in (g.split("=") for g in given)}
kind = {"dtype": getattr(torch, dtype), "requires_grad": passes == "forward+backward"}
x = torch.randn(64, **kind)
function = getattr(F, name)
for p in function.definition.learnable:
    values[p.name] = torch.full((1,), values[p.name], **kind)
start = time.process_time()
y = function(x, **values)
if y.requires_grad:
    y.sum().backward()
print(time.process_time() - start)
"""


def first_call(name: str, dtype: str, passes: str, folder: str) -> float:
    """Seconds of processor time of a call that is the first one of its process"""
    required = [p for p in catalogue.get(name).parameters if p.default is None or p.learnable]
    given = [f"{p.name}={1 if p.default is None else float(p.default)}" for p in required]
    command = [sys.executable, "-c", CALL, name, dtype, passes, *given]
    environment = os.environ | {"SOFTKNEE_CACHE": folder}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measured(name: str, dtype: str, passes: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        seconds = {cache: round(first_call(name, dtype, passes, folder), 4) for cache in LIMITS}
    return {"function": name, "dtype": dtype, "passes": passes} | seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="activations; the whole catalogue where none is given")
    parser.add_argument("--passes", nargs="+", choices=bench.PASSES, default=bench.PASSES)
    parser.add_argument("--slowest", type=int, default=10, help="how many of the slowest are printed")
    parser.add_argument("--out", type=Path, help=f"where to record; {RESULTS.name} for the whole catalogue")
    given = parser.parse_args()
    every = [n for n in catalogue.names() if len(catalogue.get(n).inputs) == 1]
    names = given.names or every
    if unknown := [n for n in names if n not in every]:
        parser.error(f"{unknown[0]!r} is no function of one tensor in the catalogue")
    out = given.out or (Path(os.devnull) if given.names else RESULTS)
    run = bench.settings(torch.get_num_threads(), 0)
    run |= {"benchmark": "first calls", "input": "64 numbers from N(0, 1)", "limits": LIMITS}
    rows = []
    cases = list(product(names, DTYPES, given.passes))
    with out.open("w", encoding="utf-8", buffering=1) as file:
        file.write(json.dumps(run) + "\n")
        for case in track(cases, "First calls", console=Console(stderr=True), transient=True):
            rows.append(measured(*case))
            file.write(json.dumps(rows[-1]) + "\n")
    for cache, limit in LIMITS.items():
        table = Table(title=f"The slowest first calls, {cache} cache", title_justify="left")
        for head in ("function", "dtype", "passes", "ms"):
            table.add_column(head, justify="right" if head == "ms" else "left")
        for row in sorted(rows, key=lambda r: -r[cache])[: given.slowest]:
            table.add_row(row["function"], row["dtype"], row["passes"], f"{1000 * row[cache]:.1f}")
        Console().print(table)
        seconds = [row[cache] for row in rows]
        print(
            f"{cache}: median {1000 * statistics.median(seconds):.1f} ms, "
            f"{sum(s < limit for s in seconds)} of {len(seconds)} below {1000 * limit:.0f} ms\n"
        )


if __name__ == "__main__":
    main()

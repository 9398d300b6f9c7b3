"""softknee beside torch.compile of torch's own function: calls once compiled, and the first call.

    python benchmarks/compiled.py                  # everything; a quarter of an hour on two cores
    python benchmarks/compiled.py gelu tanh        # these only
    python benchmarks/compiled.py --first          # the first calls alone

The first call is made in a process of its own with empty caches, after the imports of torch and of what compiles
(llvmlite, torch's inductor) that another function's first call brings: what the next function costs. torch.compile
writes C++ and calls the machine's compiler; softknee writes LLVM IR.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from softknee import bench

RESULTS = Path(__file__).parent / "results" / "compiled-cpu.jsonl"
SIZES = (4_096, 65_536, 1_048_576)

FIRST = """
import json, sys, time
import torch
import softknee.functional as F
from softknee import catalogue

name = sys.argv[1]
definition = catalogue.get(name)
theirs = getattr(torch.nn.functional, definition.torch, None) or getattr(torch, definition.torch)
x = torch.randn(4096)
found = {}
for who, function, other in (
    ("softknee", getattr(F, name), F.softsign if name != "softsign" else F.relu),
    ("torch.compile", torch.compile(theirs, dynamic=False), torch.compile(lambda x: x.sin(), dynamic=False)),
):
    other(x)
    start = time.perf_counter()
    function(x)
    found[who] = time.perf_counter() - start
print(json.dumps(found))
"""


def first_calls(name: str) -> dict[str, float]:
    """Seconds of the first call of softknee's function and of torch's, compiled"""
    with tempfile.TemporaryDirectory() as empty:
        caches = {"SOFTKNEE_CACHE": f"{empty}/ours", "TORCHINDUCTOR_CACHE_DIR": f"{empty}/theirs"}
        command = [sys.executable, "-c", FIRST, name]
        done = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="activations; those that torch has where none is given")
    parser.add_argument("--first", action="store_true", help="the first calls alone")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    names = given.names or bench.usual()
    if unknown := [n for n in names if n not in bench.usual()]:
        parser.error(f"{unknown[0]!r}: one of {', '.join(bench.usual())}")
    console = Console(stderr=True)
    run = bench.settings(torch.get_num_threads(), 0.01) | {"peer": "torch.nn.functional, torch.compile"}
    rows: list[dict[str, Any]] = []
    cases = [] if given.first else bench.cases([(n, {}) for n in names], SIZES, ["float32"], bench.PASSES)
    with given.out.open("w", encoding="utf-8") as file:

        def keep(*found: dict[str, Any]) -> None:
            rows.extend(found)
            file.write("".join(json.dumps(r) + "\n" for r in found))
            file.flush()

        keep(run | {"torch_compile": "inductor, dynamic=False"})
        for name in track(names, "First calls", console=console, transient=True):
            keep({"function": name, "first": first_calls(name)})
        for case in track(list(cases), "Measuring", console=console, transient=True):
            torch._dynamo.reset()
            bench._peer.cache_clear()
            found = bench.measure(*case, peers=("torch.compile",), repetitions=given.repetitions)
            keep(*map(asdict, found))
    first = [r["first"] for r in rows if "first" in r]
    for who in ("softknee", "torch.compile"):
        times = sorted(f[who] for f in first)
        print(
            f"first call, {who}: median {statistics.median(times):.3f} s, {times[0]:.3f} to {times[-1]:.3f}"
        )
    print(
        f"ratio of the two: median {statistics.median(f['torch.compile'] / f['softknee'] for f in first):.1f}"
    )
    for passes in bench.PASSES:
        for size in SIZES:
            ratios = [r["ratio"] for r in rows if r.get("passes") == passes and r["size"] == size]
            if ratios:
                mean = statistics.geometric_mean(ratios)
                print(
                    f"{passes}, {size:,}: geometric mean {mean:.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
                )


if __name__ == "__main__":
    main()

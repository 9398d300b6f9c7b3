"""What a training step keeps for backward, and what lean gradients do to the result.

    python benchmarks/memory.py             # about two minutes

Two feed-forward blocks (one as in a vision transformer, one gated as in Llama) and a ReLU network: the bytes
that backward keeps, each memory counted once, and the time of a step as a ratio to torch's. Then the error of lean
slopes, and classifiers of the digits, trained with exact and with lean gradients, ten paired seeds. Writes
benchmarks/results/memory-cpu.jsonl.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats
from sklearn.datasets import load_digits
from torch.autograd.graph import saved_tensors_hooks

import softknee as sk
from softknee import functional as F

OUTPUT = Path(__file__).parent / "results" / "memory-cpu.jsonl"
TOKENS, WIDTH = 1024, 256
EXACT: dict[str, Any] = {}
BITS = (8, 4, 3, 2)
SMOOTH = ("gelu", "silu", "mish", "elu", "tanh", "sigmoid", "softplus")
GATES = ("glu", "swiglu", "geglu")


def blocks(dtype: torch.dtype) -> dict[str, tuple[Callable[[torch.Tensor, Any], torch.Tensor], torch.Tensor]]:
    """name -> (a block as a function of its input and of where its activations come from, an input)"""

    def weight(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape) / shape[-1] ** 0.5).to(dtype).requires_grad_()

    up, gate, down = weight(4 * WIDTH, WIDTH), weight(4 * WIDTH, WIDTH), weight(WIDTH, 4 * WIDTH)
    linear = torch.nn.functional.linear

    def vit(x: torch.Tensor, functions: Any) -> torch.Tensor:
        return linear(functions.gelu(linear(x, up)), down)

    def llama(x: torch.Tensor, functions: Any) -> torch.Tensor:
        a, b = linear(x, gate), linear(x, up)
        hidden = functions.swiglu(a, b) if hasattr(functions, "swiglu") else functions.silu(a) * b
        return linear(hidden, down)

    def relu(x: torch.Tensor, functions: Any) -> torch.Tensor:
        return linear(functions.relu(linear(functions.leaky_relu(linear(x, up)), down)), up)

    x = torch.randn(TOKENS, WIDTH).to(dtype).requires_grad_()
    return {"ViT-like, GELU": (vit, x), "Llama-like, SwiGLU": (llama, x), "LeakyReLU, ReLU": (relu, x)}


def kept(run: Callable[[], torch.Tensor], inputs: set[int]) -> int:
    """Bytes kept for backward, but for the parameters and the input"""
    found: dict[int, int] = {}

    def keep(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in inputs:
            found[storage.data_ptr()] = storage.nbytes()
        return t

    with saved_tensors_hooks(keep, lambda t: t):
        run()
    return sum(found.values())


def measured(dtype: torch.dtype) -> list[dict[str, Any]]:
    rows = []
    for name, (block, x) in blocks(dtype).items():
        ours = {"torch": (torch.nn.functional, EXACT), "full": (F, EXACT)}
        ours |= {f"lean, {bits} bits": (F, {"saved": "lean", "bits": bits}) for bits in (8, 4, 2)}
        step = partial(_run, block, x)
        constants = {x.untyped_storage().data_ptr()}
        constants |= {c.cell_contents.untyped_storage().data_ptr() for c in block.__closure__ or ()
                      if isinstance(c.cell_contents, torch.Tensor)}  # fmt: skip
        size = {k: kept(partial(step, *how), constants) for k, how in ours.items()}
        seconds: dict[str, list[float]] = {k: [] for k in ours}
        for _ in range(15):
            for k, (functions, options) in ours.items():
                start = time.perf_counter()
                step(functions, options).sum().backward()
                seconds[k].append(time.perf_counter() - start)
        for k in ours:
            ratio = statistics.median(t / o for t, o in zip(seconds["torch"], seconds[k], strict=True))
            rows.append({"block": name, "dtype": str(dtype)[6:], "saved": k, "bytes": size[k],
                         "share": size[k] / size["torch"], "speed": ratio})  # fmt: skip
    return rows


def _run(block: Any, x: torch.Tensor, functions: Any, options: dict[str, Any]) -> torch.Tensor:
    with sk.options(**options) if options else nullcontext():
        return block(x, functions)  # type: ignore[no-any-return]


def errors(name: str) -> list[dict[str, Any]]:
    """Root mean square errors of lean slopes for a million numbers from N(0, 1), by bits; of a gated unit a row for
    each input's slope"""
    function, gated = getattr(F, name), name in GATES
    draw = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1_000_000, generator=draw).requires_grad_() for _ in range(1 + gated)]

    def slopes() -> tuple[torch.Tensor, ...]:
        gate = {"gate": inputs[0]} if name == "glu" else {}  # torch's order
        y = function(inputs[1], **gate) if gate else function(*inputs)
        return torch.autograd.grad(y.sum(), inputs)

    exact = slopes()
    rows = [{"slope": f"{name}, {part}"} for part in ("gate", "other")] if gated else [{"slope": name}]
    for bits in BITS:
        with sk.options(saved="lean", bits=bits):  # type: ignore[arg-type]
            found = slopes()
        for row, one, true in zip(rows, found, exact, strict=True):
            row[str(bits)] = float((one - true).double().square().mean().sqrt())  # type: ignore[assignment]
    return rows  # type: ignore[return-value]


def trained(seed: int, unit: str, options: dict[str, Any]) -> float:
    """Test accuracy of a 64-64-64-10 network of GELU or SwiGLU on the digits after 20 epochs"""
    gated = unit in GATES
    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.target))
    x = torch.tensor(data.data[order] / 8 - 1, dtype=torch.float32)
    y = torch.tensor(data.target[order])
    torch.manual_seed(seed)
    wide, function = 128 if gated else 64, getattr(F, unit)
    layers = [torch.nn.Linear(64, wide), torch.nn.Linear(64, wide), torch.nn.Linear(64, 10)]
    optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=3e-3)

    def network(batch: torch.Tensor) -> torch.Tensor:
        return layers[2](function(layers[1](function(layers[0](batch)))))  # type: ignore[no-any-return]

    cut = 1300
    with sk.options(**options) if options else nullcontext():
        for _ in range(20):
            for batch in torch.randperm(cut).split(64):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
                optimizer.step()
    with torch.no_grad():
        return float((network(x[cut:]).argmax(1) == y[cut:]).double().mean())


def main() -> None:
    console = Console()
    rows = [row for dtype in (torch.float32, torch.bfloat16) for row in measured(dtype)]
    table = Table("block", "dtype", "saved", "MiB kept", "of torch's", "speed", title="Kept for backward")
    for r in rows:
        cells = (f"{r['bytes'] / 2**20:.2f}", f"{r['share']:.2f}", f"{r['speed']:.2f}")
        table.add_row(r["block"], r["dtype"], r["saved"], *cells)
    console.print(table)
    rows += [row for name in (*SMOOTH, *GATES) for row in errors(name)]
    for unit in ("gelu", "swiglu"):
        runs = partial(track, range(10), console=console)
        exact = np.array([trained(s, unit, EXACT) for s in runs(description=f"{unit}, exact gradients")])
        for bits in BITS:
            kind = {"saved": "lean", "bits": bits}
            lean = np.array([trained(s, unit, kind) for s in runs(description=f"{unit}, {bits} bits")])
            change = lean - exact
            spread = stats.t.interval(0.95, len(change) - 1, change.mean(), stats.sem(change) or 1e-9)
            rows.append({"task": "digits", "unit": unit, "bits": bits, "exact": exact.mean(), "lean": lean.mean(),
                         "difference": change.mean(), "interval": list(spread)})  # fmt: skip
            console.print(
                f"{unit}, {bits} bits: accuracy {lean.mean():.4f} against {exact.mean():.4f} with exact gradients; "
                f"difference {change.mean():+.4f} [{spread[0]:+.4f}, {spread[1]:+.4f}], 10 paired seeds"
            )
    head = {"torch": torch.__version__, "softknee": sk.__version__, "processor": platform.machine(),
            "threads": torch.get_num_threads(), "tokens": TOKENS, "width": WIDTH}  # fmt: skip
    OUTPUT.write_text("".join(json.dumps(r, default=float) + "\n" for r in (head, *rows)))


if __name__ == "__main__":
    main()

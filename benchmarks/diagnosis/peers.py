"""What other tools say of the networks of `truth.py`: those with a planted fault, and healthy ones after training.

    pip install torchmortem torch-audit torchdiag
    python benchmarks/diagnosis/peers.py

Generous to all: a fault counts as found when a tool gives any warning or error at the right layer, whatever it takes
the cause to be, and tools that watch a training get thirty steps of it. A healthy network counts as a false alarm
when it gets any warning or error.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from faults import planted
from networks import build, digits, train
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import softknee

HERE = Path(__file__).parent
STEPS, BATCH = 30, 64
#: (the layers that a warning or an error names; "": it names none)
Said = set[str]


def steps(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> Iterator[float]:
    for k in range(STEPS):
        part = torch.arange(k * BATCH, (k + 1) * BATCH) % len(x)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[part]), y[part])
        loss.backward()
        optimizer.step()
        yield loss.item()


def with_softknee(model: nn.Module, x: Tensor, y: Tensor) -> Said:
    report = softknee.check(model, (x, y), "cross_entropy")
    return {f.layer or "" for f in (*report.errors, *report.warnings)}


def with_torchmortem(model: nn.Module, x: Tensor, y: Tensor) -> Said:
    from torchmortem import Autopsy, Severity

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with Autopsy(model, optimizer=optimizer) as autopsy:
        for loss in steps(model, optimizer, x, y):
            autopsy.step(loss=loss)
    grave = [f for f in autopsy.get_report().findings if f.severity != Severity.INFO]
    return {layer for f in grave for layer in (f.affected_layers or [""])}


def with_torch_audit(model: nn.Module, x: Tensor, y: Tensor) -> Said:
    from torch_audit import Severity, audit_dynamic

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with audit_dynamic(
        model, optimizer=optimizer, every_n_steps=1, reporters=[], suppress_internal_errors=True
    ) as audit:
        for k in range(STEPS):
            part = torch.arange(k * BATCH, (k + 1) * BATCH) % len(x)
            optimizer.zero_grad()
            audit.backward(nn.functional.cross_entropy(audit.forward(x[part]), y[part]))
            audit.optimizer_step(optimizer)
        found = audit.finish().findings
    return {
        f.module_path or (f.entity or "").rpartition(".")[0] for f in found if f.severity != Severity.INFO
    }


def with_torchdiag(model: nn.Module, x: Tensor, y: Tensor) -> Said:
    import torchdiag

    nn.functional.cross_entropy(model(x), y).backward()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        torchdiag.check_dead_neurons(model, x)
        torchdiag.check_gradients(model)
    words = ("neurons dead", "vanishing", "exploding", "disconnected")
    lines = [line for line in said.getvalue().splitlines() if any(w in line for w in words)]
    names = {line.partition(":")[0].strip(" -!*•") for line in lines}
    modules = {n for n, _ in model.named_modules()}
    return {n if n in modules else n.rpartition(".")[0] for n in names}


TOOLS: dict[str, Callable[[nn.Module, Tensor, Tensor], Said]] = {
    "softknee": with_softknee,
    "torchmortem": with_torchmortem,
    "torch-audit": with_torch_audit,
    "torchdiag": with_torchdiag,
}


def asked(tool: str, model: nn.Module, x: Tensor, y: Tensor) -> Said | None:
    """What the tool says of a copy; None where it fails."""
    try:
        return TOOLS[tool](copy.deepcopy(model).train(), x, y)
    except Exception as error:  # noqa: BLE001 another's code may raise anything, and that counts
        print(f"{tool}: {type(error).__name__}: {error}")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--epochs", type=int, default=10, help="of training for the healthy networks")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "diagnosis-peers.json")
    given = parser.parse_args()
    x, y = digits(512)
    found: Counter[tuple[str, str]] = Counter()
    failed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for fault in track(list(planted()), "planted faults"):
        if fault.optimizer is not None:
            continue  # only softknee is told of it
        total[fault.rule] += 1
        for tool in given.tools:
            said = asked(tool, fault.model, fault.inputs(x), y)
            failed[tool] += said is None
            found[tool, fault.rule] += bool(said and (fault.layers is None or said & set(fault.layers)))
    alarms: Counter[str] = Counter()
    healthy = 0
    for family in ("mlp", "cnn", "residual", "transformer", "gated"):
        for activation in ("relu", "gelu", "tanh"):
            model = build(family, activation).model
            train(model, (x, y), given.epochs, lr=1e-3)
            healthy += 1
            for tool in track(given.tools, f"healthy: {family}, {activation}"):
                said = asked(tool, model, x, y)
                failed[tool] += said is None
                alarms[tool] += bool(said)
    table = Table("", *given.tools, title="found, of the faults planted")
    for rule, count in sorted(total.items()):
        table.add_row(f"{rule} ({count})", *(str(found[t, rule]) for t in given.tools))
    every = sum(total.values())
    table.add_row(
        f"all ({every})", *(f"{sum(found[t, r] for r in total)}" for t in given.tools), end_section=True
    )
    table.add_row(f"false alarms ({healthy} healthy networks)", *(str(alarms[t]) for t in given.tools))
    table.add_row("raised an error", *(str(failed[t]) for t in given.tools))
    Console().print(table)
    versions = {t: version(t) for t in given.tools}
    rows = {
        t: {"found": {r: f"{found[t, r]} of {n}" for r, n in sorted(total.items())},
            "healthy networks": healthy, "false alarms": alarms[t], "raised": failed[t], "version": versions[t]}
        for t in given.tools
    }  # fmt: skip
    given.out.write_text(json.dumps({"torch": torch.__version__, **rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

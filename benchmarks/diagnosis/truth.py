"""Recall, false alarms and repairs of `softknee.check` on networks whose state is known.

    python benchmarks/diagnosis/truth.py

Planted faults are those of `faults.py`. One counts as found when its rule reports an error or warning in the right
layer and, where one is stated, names the cause. It counts as repaired when, in the copy that `fix=True` makes, the
rule is silent in that layer, and training brings the copy to within 0.05 of the accuracy of the same network
without the fault, trained alike. Healthy networks are trained ones of every family, activation and data set that learnt
their task (0.9 of the samples right, 0.4 of the variance explained); one counts against the check when it gets any
error or warning. Untrained ones are counted beside them. Pretrained ones are those of `pretrained.py`, which says what
to install for them.

It takes hours on one core. With `--kept FILE` each outcome is a line of that file as soon as it is known, and what is
in it is not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from faults import Planted, planted
from networks import BY_NAME, Built, Data, accuracy, build, data_set, train
from pretrained import pretrained
from rich.progress import track

import softknee
from softknee.diagnose.rules import RULES

HERE = Path(__file__).parent
ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "mish", "elu", "tanh", "hardswish", "relu6", "prelu")
GATES = ("silu", "gelu", "relu", "sigmoid", "mish")
ROWS = ("mlp", "functional", "gated", "units")  # families that take rows of features
DATA = {
    "digits": (*ROWS, "cnn", "transformer", "gated transformer", "residual"),
    "breast_cancer": ROWS, "wine": ROWS, "diabetes": ROWS,
}  # fmt: skip
LEARNT = {"cross_entropy": 0.9, "mse_loss": 0.4}
CLOSE = 0.05  # in accuracy


def hit(fault: Planted, report: Any) -> bool:
    return any(
        f.rule_name == fault.rule
        and f.severity != "note"
        and (fault.layers is None or f.layer in fault.layers)
        and fault.cause in f.cause
        for f in report.findings
    )


class Kept:
    """Outcomes by name, one a line of a file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        self.known: dict[str, Any] = dict(json.loads(line) for line in lines)

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        if name not in self.known:
            self.known[name] = run()
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([name, self.known[name]]) + "\n")
        return self.known[name]


def faults(data: Data, epochs: int, repairs: bool, kept: Kept) -> dict[str, Any]:
    repairable = {r.name for r in RULES.values() if r.repair is not None}
    outcomes = {}
    for k, fault in enumerate(track(list(planted()), "planted faults")):
        wanted = repairs and fault.rule in repairable and fault.healthy is not None
        name = f"{k}: {fault.rule}, {fault.what}, {fault.layers}"
        outcome = outcomes[name] = kept(name, lambda: examined(fault, data, epochs if wanted else None, kept))  # noqa: B023
        if not outcome["found"] or not outcome.get("repaired", True):
            print(name, outcome, flush=True)
    result: dict[str, Any] = {
        "found": shares((o["rule"], o["found"]) for o in outcomes.values()),
        "recall": statistics.fmean(o["found"] for o in outcomes.values()),
        "missed": [f"{name}: {o['said']}" for name, o in outcomes.items() if not o["found"]],
    }
    tried = {name: o for name, o in outcomes.items() if "accuracy" in o}
    if not tried:
        return result
    kinds = ("healthy", "as it was", "repaired")
    scores = {kind: [o["accuracy"].get(kind, 0.0) for o in tried.values()] for kind in kinds}
    return result | {
        "epochs": epochs,
        "repaired": shares((o["rule"], o["repaired"]) for o in tried.values()),
        "learns with the fault": shares(
            (o["rule"], o["accuracy"]["as it was"] >= o["accuracy"]["healthy"] - CLOSE)
            for o in tried.values()
        ),
        "repaired share": statistics.fmean(o["repaired"] for o in tried.values()),
        "unrepaired": [
            f"{n}: {o['accuracy']}, {o['applied']}" for n, o in tried.items() if not o["repaired"]
        ],
        "median accuracy after training": {k: round(statistics.median(v), 3) for k, v in scores.items()},
        "mean accuracy after training": {k: round(statistics.fmean(v), 3) for k, v in scores.items()},
    }


def shares(outcomes: Iterator[tuple[str, bool]]) -> dict[str, str]:
    count: dict[str, list[bool]] = defaultdict(list)
    for rule, good in outcomes:
        count[rule].append(good)
    return {rule: f"{sum(good)} of {len(good)}" for rule, good in sorted(count.items())}


def examined(fault: Planted, data: Data, epochs: int | None, kept: Kept) -> dict[str, Any]:
    """epochs: how long the repaired copy, the sick network and the healthy one are trained; None: not at all."""
    batch = fault.inputs(data.x), data.y
    report = softknee.check(fault.model, batch, fault.loss, optimizer=fault.optimizer, fix=epochs is not None)
    outcome: dict[str, Any] = {
        "rule": fault.rule,
        "found": hit(fault, report),
        "said": [(f.rule_name, f.layer, f.severity) for f in report.findings],
    }
    if epochs is None:
        return outcome

    def reached(model: Any) -> float:
        return accuracy(train(model, batch, epochs, loss=fault.loss), batch)

    twin = fault.healthy
    scores = {"healthy": kept(f"twin {twin}", lambda: reached(build(*twin).model))}  # type: ignore[misc]
    if report.repaired is not None and not hit(fault, softknee.check(report.repaired, batch, fault.loss)):
        scores["repaired"] = reached(report.repaired)
    scores["as it was"] = reached(fault.model)
    good = scores.get("repaired", 0.0) >= scores["healthy"] - CLOSE
    return outcome | {"accuracy": scores, "repaired": good, "applied": report.repair.applied}


def networks(seeds: int) -> Iterator[tuple[Built, str]]:
    for seed in range(seeds):
        for name, families in DATA.items():
            sizes = data_set(name).sizes
            for family in families:
                for act in GATES if family in BY_NAME else ACTIVATIONS:
                    yield build(family, act, seed, **sizes), name


def healthy(epochs: int, seeds: int, kept: Kept) -> dict[str, Any]:
    sets = {name: data_set(name) for name in DATA}
    said: dict[str, dict[str, list[Any]]] = {"trained": {}, "untrained": {}}
    slow = []
    for built, name in track(list(networks(seeds)), "healthy networks"):
        what = f"{name}, {built.name}"
        outcome = kept(what, lambda: judged(built, name, sets[name], epochs))  # noqa: B023
        said["untrained"][what] = outcome["untrained"]
        if "trained" in outcome:
            said["trained"][what] = outcome["trained"]
        else:
            slow.append(f"{what}: {outcome['score']:.2f}")
    return alarmed(said) | {"did not learn": slow, "epochs": epochs}


def alarmed(said: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """said: by kind and network, the warnings and errors"""
    return {
        "healthy networks": {kind: len(all_of) for kind, all_of in said.items()},
        "false alarms": {kind: sum(map(bool, all_of.values())) for kind, all_of in said.items()},
        "alarms": {kind: {n: v for n, v in all_of.items() if v} for kind, all_of in said.items()},
    }


def shipped(kept: Kept) -> dict[str, Any]:
    def judge(make: Callable[[], tuple[Any, Any]]) -> list[str]:
        report = softknee.check(*make())
        return [str(f) for f in (*report.errors, *report.warnings)]

    found = {}
    for name, make in track(list(pretrained()), "pretrained networks"):
        found[name] = kept(f"pretrained: {name}", lambda: judge(make))  # noqa: B023
    return alarmed({"pretrained": found}) | {"pretrained": list(found)}


def judged(built: Built, name: str, data: Data, epochs: int) -> dict[str, Any]:
    def alarms() -> list[str]:
        report = softknee.check(built.model, data.both, data.loss)
        return [str(f) for f in (*report.errors, *report.warnings)]

    outcome: dict[str, Any] = {"untrained": alarms()}
    rate = 1e-3 if name == "digits" and built.family != "residual" else 3e-3
    train(built.model, data.both, epochs, rate, data.loss)
    outcome["score"] = accuracy(built.model, data.both)
    if outcome["score"] >= LEARNT[data.loss]:
        outcome["trained"] = alarms()
    return outcome


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Tables by kind of network keep the kinds that were not run again."""
    tables = {k: {**old.get(k, {}), **v} for k, v in new.items() if isinstance(v, dict)}
    return old | new | tables


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=15, help="of training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--skip", nargs="*", choices=("faults", "healthy", "repairs", "pretrained"), default=()
    )
    parser.add_argument("--kept", type=Path, help="a file of outcomes; those in it are not run again")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "diagnosis.json")
    given = parser.parse_args()
    result = json.loads(given.out.read_text(encoding="utf-8")) if given.skip and given.out.exists() else {}
    kept = Kept(given.kept)
    result["torch"] = torch.__version__
    if "faults" not in given.skip:
        result |= faults(data_set("digits"), given.epochs, "repairs" not in given.skip, kept)
    if "healthy" not in given.skip:
        result = merged(result, healthy(given.epochs, given.seeds, kept))
    if "pretrained" not in given.skip:
        result = merged(result, shipped(kept))
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

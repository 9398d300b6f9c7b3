"""Recall, false alarms and repairs of `softknee.check` on networks whose state is known.

    python benchmarks/diagnosis/truth.py

Planted faults are those of `faults.py`. One counts as found when its rule reports an error or warning in the right
layer and, where one is stated, names the cause. It counts as repaired when, in the copy that `fix=True` makes, the
rule is silent in that layer, and training brings the copy to within 0.05 of the accuracy of the same network
without the fault, trained alike. Healthy networks are trained ones of every family, activation and data set that learnt
their task (0.9 of the samples right, 0.4 of the variance explained); one counts against the check when it gets any
error or warning. Untrained ones are counted beside them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from faults import Planted, planted
from networks import BY_NAME, Built, Data, accuracy, build, data_set, train
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


def faults(data: Data, epochs: int, seeds: int, repairs: bool) -> dict[str, Any]:
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    repaired: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    scores: dict[str, list[float]] = defaultdict(list)
    missed, unrepaired = [], []

    @cache
    def twin(*what: Any) -> float:
        """The accuracy of the network without the fault"""
        return accuracy(train(build(*what).model, data.both, epochs), data.both)

    repairable = {r.name for r in RULES.values() if r.repair is not None}
    for fault in track([f for s in range(seeds) for f in planted(s)], "planted faults"):
        x, y = fault.inputs(data.x), data.y
        wanted = repairs and fault.rule in repairable and fault.healthy is not None
        report = softknee.check(fault.model, (x, y), fault.loss, optimizer=fault.optimizer, fix=wanted)
        name = f"{fault.rule}, {fault.what}, {fault.layers}"
        found[fault.rule][1] += 1
        if hit(fault, report):
            found[fault.rule][0] += 1
        else:
            missed.append(f"{name}: {[(f.rule_name, f.layer, f.severity) for f in report.findings]}")
            print("missed:", missed[-1], flush=True)
        if not wanted:
            continue
        repaired[fault.rule][1] += 1
        reached = {"healthy": twin(*fault.healthy)}
        scores["healthy"].append(reached["healthy"])
        for kind, model in (("repaired", report.repaired), ("as it was", fault.model)):
            if model is not None:
                silent = kind != "repaired" or not hit(fault, softknee.check(model, (x, y), fault.loss))
                train(model, (x, y), epochs, loss=fault.loss)
                reached[kind] = accuracy(model, (x, y)) if silent else 0.0
                scores[kind].append(reached[kind])
        if reached.get("repaired", 0.0) >= reached["healthy"] - CLOSE:
            repaired[fault.rule][0] += 1
        else:
            unrepaired.append(f"{name}: {reached}, {report.repair.applied if report.repair else ()}")
            print("unrepaired:", unrepaired[-1], flush=True)
    total = [sum(v[k] for v in found.values()) for k in (0, 1)]
    result: dict[str, Any] = {
        "found": {rule: f"{a} of {b}" for rule, (a, b) in sorted(found.items())},
        "recall": total[0] / total[1],
        "missed": missed,
    }
    if not repairs:
        return result
    mended = [sum(v[k] for v in repaired.values()) for k in (0, 1)]
    return result | {
        "repaired": {rule: f"{a} of {b}" for rule, (a, b) in sorted(repaired.items())},
        "repaired share": mended[0] / mended[1],
        "unrepaired": unrepaired,
        "median accuracy after training": {
            kind: round(statistics.median(v), 3) for kind, v in scores.items()
        },
        "mean accuracy after training": {kind: round(statistics.fmean(v), 3) for kind, v in scores.items()},
    }


def networks(seeds: int) -> Iterator[tuple[Built, str]]:
    for seed in range(seeds):
        for name, families in DATA.items():
            sizes = data_set(name).sizes
            for family in families:
                for act in GATES if family in BY_NAME else ACTIVATIONS:
                    yield build(family, act, seed, **sizes), name


def healthy(epochs: int, seeds: int) -> dict[str, Any]:
    alarms: dict[str, list[str]] = {"trained": [], "untrained": []}
    rules: Counter[str] = Counter()
    count, slow = Counter(dict.fromkeys(alarms, 0)), []
    sets = {name: data_set(name) for name in DATA}

    def judge(kind: str, name: str, model: Any, batch: Any, loss: Any) -> None:
        report = softknee.check(model, batch, loss)
        count[kind] += 1
        if not report.healthy:
            said = [str(f) for f in (*report.errors, *report.warnings)]
            rules.update({f.rule_name for f in (*report.errors, *report.warnings)})
            alarms[kind].append(f"{name}: {said}")

    for built, name in track(list(networks(seeds)), "healthy networks"):
        data = sets[name]
        judge("untrained", f"{name}, {built.name}", built.model, data.both, data.loss)
        rate = 1e-3 if name == "digits" and built.family != "residual" else 3e-3
        train(built.model, data.both, epochs, rate, data.loss)
        score = accuracy(built.model, data.both)
        if score < LEARNT[data.loss]:
            slow.append(f"{name}, {built.name}: {score:.2f}")
            continue
        judge("trained", f"{name}, {built.name}, {score:.2f}", built.model, data.both, data.loss)
    return {
        "healthy networks": dict(count),
        "false alarms": {kind: len(said) for kind, said in alarms.items()},
        "false alarms by rule": dict(rules),
        "alarms": alarms,
        "did not learn": slow,
        "epochs": epochs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=15, help="of training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--skip", nargs="*", choices=("faults", "healthy", "repairs"), default=())
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "diagnosis.json")
    given = parser.parse_args()
    result = json.loads(given.out.read_text(encoding="utf-8")) if given.skip and given.out.exists() else {}
    result["torch"] = torch.__version__
    if "faults" not in given.skip:
        result |= faults(data_set("digits"), given.epochs, 1, "repairs" not in given.skip)
    if "healthy" not in given.skip:
        result |= healthy(given.epochs, given.seeds)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Recall and false alarms of `softknee.check` on networks whose state is known.

Healthy networks are fresh ones of every family and activation, and, with --train, the same after training; planted
faults are those of `faults.py`. A fault counts as found when its rule reports an error or warning in the right layer
and, where one is stated, names the cause. A healthy network counts against the check when it gets any error or warning.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import torch
from faults import planted
from networks import accuracy, build, digits, train

import softknee

HERE = Path(__file__).parent
HEALTHY = ("relu", "leaky_relu", "gelu", "silu", "mish", "elu", "tanh", "hardswish", "relu6", "prelu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--train", type=int, default=0, metavar="EPOCHS", help="train the healthy networks first"
    )
    parser.add_argument("--families", default="mlp,functional,cnn,residual,transformer,gated")
    parser.add_argument("--activations", default=",".join(HEALTHY))
    parser.add_argument("--skip-faults", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "diagnosis.json")
    given = parser.parse_args()
    data = digits(512)
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    missed = []
    for fault in () if given.skip_faults else planted():
        inputs = fault.inputs(data[0])
        report = softknee.check(fault.model, (inputs, data[1]), "cross_entropy", optimizer=fault.optimizer)
        hits = [
            f
            for f in report.findings
            if f.rule_name == fault.rule
            and f.severity != "note"
            and (fault.layers is None or f.layer in fault.layers)
            and fault.cause in f.cause
        ]
        found[fault.rule][0] += bool(hits)
        found[fault.rule][1] += 1
        if not hits:
            said = [(f.rule_name, f.layer, f.severity) for f in report.findings]
            missed.append(f"{fault.rule}, {fault.what}, {fault.layers}: {said}")
    alarms, healthy = [], 0
    for family in given.families.split(","):
        for activation in given.activations.split(","):
            built = build(family, activation)
            if given.train:
                train(built.model, data, given.train, lr=1e-3)
            report = softknee.check(built.model, data, "cross_entropy")
            healthy += 1
            if not report.healthy:
                said = [str(f) for f in (*report.errors, *report.warnings)]
                alarms.append(f"{built.name}, accuracy {accuracy(built.model, data):.2f}: {said}")
    total = [sum(v[k] for v in found.values()) for k in (0, 1)]
    result = {
        "torch": torch.__version__,
        "found": {rule: f"{hit} of {of}" for rule, (hit, of) in sorted(found.items())},
        "recall": total[0] / total[1] if total[1] else None,
        "missed": missed,
        "healthy networks": healthy,
        "epochs": given.train,
        "false alarms": alarms,
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

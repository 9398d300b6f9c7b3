"""A comparison for other programs: one row a run as CSV, everything as JSON, the ranking as a LaTeX table."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from softknee.compare.records import Comparison, Standing


def rows(comparison: Comparison) -> str:
    """One row for each condition, activation and seed."""
    varying = list(comparison.levels[0].varies)
    file = io.StringIO()
    write = csv.writer(file, lineterminator="\n").writerow
    write(
        [
            "data",
            *varying,
            "activation",
            "seed",
            "learning_rate",
            "metric",
            "test_score",
            "train_score",
            "best_epoch",
            "failure",
            "step_microseconds",
            "step_peak_bytes",
            "step_saved_bytes",
        ]
    )
    for level in comparison.levels:
        for s in level.standings:
            failures = dict(s.failures)
            for seed, rate, score, train, epoch in zip(
                comparison.seeds, s.rates, s.scores, s.train_scores, s.best_epochs, strict=True
            ):
                write([level.data, *level.varies.values(), s.label, seed, rate, level.metric, repr(score), repr(train), epoch + 1,
                       failures.get(seed, ""), f"{1e6 * s.step_seconds[0]:.4g}", s.peak, s.saved])  # fmt: skip
    return file.getvalue()


def summary(comparison: Comparison) -> str:
    """Everything; numbers that are not finite are null."""
    return json.dumps(_finite(asdict(comparison)), indent=1, ensure_ascii=False)


def latex(comparison: Comparison) -> str:
    """The scores in percent with their intervals, one column a condition; bold: not distinguishable from the best."""
    levels = comparison.levels
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * len(levels)}}}",
        r"\toprule",
        " & ".join(["", *(_escaped(level.title) for level in levels)]) + r" \\",
        r"\midrule",
    ]
    lines += [
        " & ".join([_escaped(s.label), *(_cell(level.of(s.label)) for level in levels)]) + r" \\"
        for s in levels[0].standings
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(s: Standing) -> str:
    mean = f"{100 * s.score.mean:.1f}"
    mean = rf"\mathbf{{{mean}}}" if s.tied else mean
    if not math.isfinite(s.score.low):
        return f"${mean}$"
    return rf"${mean}\;[{100 * s.score.low:.1f}, {100 * s.score.high:.1f}]$"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


_ESCAPES = {sign: f"\\{sign}" for sign in "_%&#${}"} | {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
}  # fmt: skip


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

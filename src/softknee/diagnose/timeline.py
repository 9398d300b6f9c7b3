"""What happened to each activation over the steps of a training: plain numbers, and ways to write them out."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["SERIES", "History", "Timeline"]

#: what is kept of a layer at each step that was observed
SERIES = {
    "mean": "mean of the input",
    "variance": "variance of the input over samples",
    "output_mean": "mean of the output (of a gate: how open it is)",
    "output_second_moment": "mean square of the output",
    "flat": "share of values with a slope below 1 % of the steepest",
    "zero": "share of outputs that are 0",
    "silent": "share of units without slope on every sample of the step",
    "gradient_in": "norm of the gradient at the output",
    "gradient_out": "norm of the gradient at the input",
    "drift": "mean square of the output over what theory expects for normal input",
    "update": "size of the step of the layer's weights, relative to the weights",
}


@dataclass(frozen=True)
class History:
    """One activation over time. steps: when it was observed; series: one value a step, NaN where there is none.

    Units, by number: born_dead never had a slope; died: (unit, the last step at which it had one);
    revived: how often units were silent for a whole window and came back.
    """

    layer: str
    activation: str
    units: int
    steps: tuple[int, ...]
    series: dict[str, tuple[float, ...]]
    born_dead: tuple[int, ...]
    died: tuple[tuple[int, int], ...]
    revived: int

    def last(self, name: str) -> float:
        known = [v for v in self.series.get(name, ()) if not math.isnan(v)]
        return known[-1] if known else math.nan


@dataclass(frozen=True)
class Timeline:
    """Every activation over time; window: after so many observed steps of silence a unit counts as dead."""

    layers: tuple[History, ...]
    steps: int
    every: int
    window: int

    def of(self, layer: str) -> History | None:
        return next((h for h in self.layers if h.layer == layer), None)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row a layer and step."""
        for history in self.layers:
            for i, step in enumerate(history.steps):
                yield {"layer": history.layer, "step": step} | {n: s[i] for n, s in history.series.items()}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_csv(self, path: str | Path) -> Path:
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["layer", "step", *SERIES])
            writer.writeheader()
            writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in self.rows())
        return path

    def to_jsonl(self, path: str | Path) -> Path:
        path = Path(path)
        with path.open("w", encoding="utf-8") as file:
            for row in self.rows():
                file.write(json.dumps({k: None if v != v else v for k, v in row.items()}) + "\n")
        return path

    def to_tensorboard(self, writer: Any, prefix: str = "softknee") -> None:
        """writer: a torch.utils.tensorboard.SummaryWriter, or whatever has its `add_scalar`."""
        for row in self.rows():
            for name in SERIES:
                if row[name] == row[name]:
                    writer.add_scalar(f"{prefix}/{row['layer']}/{name}", row[name], row["step"])

    def to_wandb(self, run: Any, prefix: str = "softknee") -> None:
        """run: a wandb run, or whatever has its `log(values)`. The steps are an axis of their own
        (PREFIX/step), so that it does not matter how far the run's own step has come."""
        if hasattr(run, "define_metric"):
            run.define_metric(f"{prefix}/step")
            run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/step")
        by_step: dict[int, dict[str, float]] = {}
        for row in self.rows():
            values = by_step.setdefault(row["step"], {f"{prefix}/step": row["step"]})
            values |= {f"{prefix}/{row['layer']}/{n}": row[n] for n in SERIES if row[n] == row[n]}
        for step in sorted(by_step):
            run.log(by_step[step])

"""What `softknee.watch` costs: the time of a training step with it, as a ratio to the step without.

A 4-layer, 512-wide MLP at batch 256, ReLU, SGD. The variants take turns within one process; each ratio is that of
the medians over all rounds, and the spread is that of the ratios of the rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

import softknee

HERE = Path(__file__).parent


def step_time(every: int | None, steps: int) -> float:
    torch.manual_seed(0)
    layers = [m for _ in range(4) for m in (nn.Linear(512, 512), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(256, 512), torch.randint(10, (256,))
    context: Any = nullcontext() if every is None else softknee.watch(model, every=every)
    with context:
        start = 0.0
        for i in range(steps + 2):
            if i == 2:  # the first step also finds out what is connected with what
                start = time.perf_counter()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "watch-overhead.json")
    given = parser.parse_args()
    variants: dict[str, int | None] = {"bare": None, "every=10": 10, "every=1": 1}
    for every in variants.values():
        step_time(every, 3)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(given.rounds):
        for name, every in variants.items():
            times[name].append(step_time(every, given.steps))
    found: dict[str, Any] = {
        "torch": torch.__version__, "threads": torch.get_num_threads(), "processor": platform.processor(),
        "rounds": given.rounds, "steps": given.steps, "step_ms": 1e3 * statistics.median(times["bare"]),
    }  # fmt: skip
    for name in variants:
        ratios = sorted(t / b for t, b in zip(times[name], times["bare"], strict=True))
        found[name] = {
            "ratio_of_medians": statistics.median(times[name]) / statistics.median(times["bare"]),
            "ratio_of_minima": min(times[name]) / min(times["bare"]),
            "quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
        }
    text = json.dumps(found, indent=1)
    print(text)
    given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

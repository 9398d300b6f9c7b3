"""What `softknee.watch` costs: the time of a training step with it, as a ratio to the step without.

A 4-layer, 512-wide MLP at batch 256, ReLU, SGD. The variants train side by side in one process and take turns of ten
steps, of which "every=10" observes one. A ratio is that of the medians (or minima) over all turns; quartiles are of the
ratios of turns that follow each other.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

import softknee

HERE = Path(__file__).parent


TURN = 10  # steps


class Training:
    """One of the variants: every: the argument of `watch`; None: without it."""

    def __init__(self, every: int | None) -> None:
        torch.manual_seed(0)
        layers = [m for _ in range(4) for m in (nn.Linear(512, 512), nn.ReLU())]
        self.model = nn.Sequential(*layers, nn.Linear(512, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.x, self.y = torch.randn(256, 512), torch.randint(10, (256,))
        self.watch: Any = nullcontext() if every is None else softknee.watch(self.model, every=every)
        self.times: list[float] = []

    def turn(self) -> None:
        start = time.perf_counter()
        for _ in range(TURN):
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(self.x), self.y).backward()
            self.optimizer.step()
        self.times.append((time.perf_counter() - start) / TURN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "watch-overhead.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    variants = {"bare": Training(None), "every=10": Training(10), "every=1": Training(1)}
    with ExitStack() as stack:
        for variant in variants.values():
            stack.enter_context(variant.watch)
            variant.turn()  # the first step also finds out what is connected with what
            variant.times.clear()
        for _ in range(given.rounds):
            for variant in variants.values():
                variant.turn()
    bare = variants["bare"].times
    found: dict[str, Any] = {
        "torch": torch.__version__, "threads": given.threads, "processor": platform.processor(),
        "rounds": given.rounds, "steps a round": TURN, "step_ms": 1e3 * statistics.median(bare),
    }  # fmt: skip
    for name, variant in variants.items():
        ratios = sorted(t / b for t, b in zip(variant.times, bare, strict=True))
        found[name] = {
            "ratio_of_medians": statistics.median(variant.times) / statistics.median(bare),
            "ratio_of_minima": min(variant.times) / min(bare),
            "quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
        }
    text = json.dumps(found, indent=1)
    print(text)
    given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""How fast `softknee compare` trains: its batched engine against a plain loop over runs.

    python benchmarks/comparing.py             # the ratio, activation by activation; some minutes
    python benchmarks/comparing.py --whole     # also 20 activations x 10 seeds x 5 learning rates, on all cores

The task is the one of the project's target: a perceptron 64-64-64-10 on digits, 20 epochs, batches of 64. In every
repetition the batch of 50 runs and two plain runs are timed one after the other, in processor time of one thread, so
that other programs disturb it little. The plain loop is `softknee.compare.plain`: torch.nn and torch.optim.Adam, one
run at a time, without the batched engine's measurements. The ratio is 50 plain runs over the batch; what is reported
is the median over repetitions, with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from datetime import datetime, timezone
from pathlib import Path

import torch

from softknee.compare.activations import activation
from softknee.compare.data import load
from softknee.compare.engine import Training, train
from softknee.compare.experiment import compare
from softknee.compare.plain import train_plain
from softknee.compare.protocol import Protocol, Run
from softknee.compare.specification import parse

RESULT = Path(__file__).parent / "results" / "comparing.json"
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
TWENTY = (
    "relu,leaky_relu,elu,selu,gelu,silu,mish,hardswish,softplus,softsign,tanh,sigmoid,celu,relu6,hardtanh,"
    "hardsigmoid,logsigmoid,tanhshrink,squareplus,relu_squared"
)
PROTOCOL = Protocol(depth=2, width=64, epochs=20)


def ratios(name: str, repetitions: int) -> dict[str, object]:
    """One activation: the batch of 50 against plain runs."""
    task, contestant = load("digits"), activation(parse(name)[0])
    runs = [Run(contestant.label, rate, seed) for rate in RATES for seed in range(10)]
    found, plain, batched = [], [], []
    for repetition in range(repetitions):
        start = time.thread_time()
        train(Training(runs, contestant, task, PROTOCOL))
        batched.append((time.thread_time() - start) / len(runs))
        start = time.thread_time()
        for run in runs[repetition : repetition + 2]:
            train_plain(run, contestant, task, PROTOCOL)
        plain.append((time.thread_time() - start) / 2)
        found.append(plain[-1] / batched[-1])
    return {
        "activation": name,
        "ratio": statistics.median(found),
        "least": min(found),
        "most": max(found),
        "plain_run_seconds": statistics.median(plain),
        "batched_run_seconds": statistics.median(batched),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--activations", nargs="+", default=["relu", "gelu", "tanh"])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--whole", action="store_true", help="the whole comparison, in seconds")
    arguments = parser.parse_args()
    cores = os.cpu_count() or 1
    whole = None
    if arguments.whole:
        start, load_before = (time.perf_counter(), time.process_time()), os.getloadavg()[0]
        compare("digits", TWENTY, seeds=10, lr=RATES, depth=2, width=64, epochs=20, jobs=cores)
        whole = {
            "seconds": time.perf_counter() - start[0],
            "processor_seconds": time.process_time() - start[1],
            "load_before": load_before,
        }
        print(
            "20 activations x 10 seeds x 5 learning rates: {seconds:.0f} s, {processor_seconds:.0f} s of processor "
            "time, load before {load_before:.1f}".format(**whole)
        )
    torch.set_num_threads(1)
    measured = [ratios(name, arguments.repetitions) for name in arguments.activations]
    for row in measured:
        print("{activation}: {ratio:.1f} times faster ({least:.1f} to {most:.1f})".format(**row))
    RESULT.write_text(
        json.dumps(
            {
                "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "machine": {"system": platform.platform(), "cores": cores, "torch": torch.__version__},
                "whole": whole,
                "ratios": measured,
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()

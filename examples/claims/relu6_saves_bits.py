"""ReLU6's bound saves bits in fixed-point arithmetic.

Taught: notes on torch.nn's activations.

A fixed-point code spreads its steps over a range. ReLU6's range is known in advance; ReLU's must be measured, and one large
value stretches it for all. Networks trained with either are run with hidden outputs rounded to 3 to 8 bits: over [0, 6] for
ReLU6, over [0, largest seen in training] for ReLU, and over its 99.9 % quantile.

Practice: Calibrate ReLU's range by a quantile: then it needs no more bits than ReLU6. The bound pays where no
calibration is possible.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Speed and precision", ("relu6", "relu")


def rounded(one: laboratory.Trial, bits: int, top: str) -> float:
    """Test accuracy with every hidden output rounded to so many bits."""
    tops = [
        6.0
        if top == "6"
        else float(h.max())
        if top == "max"
        else float(torch.quantile(h.flatten()[:60_000], 0.999))
        for _, h in laboratory.inside(one.model, one.split.x)
    ]
    h, levels, layers = one.split.test_x, 2**bits - 1, iter(tops)
    with torch.no_grad():
        for layer in one.model:
            h = layer(h)
            if not isinstance(layer, torch.nn.Linear):
                step = next(layers) / levels
                h = (h / step).round().clamp(max=levels) * step
    return float((h.argmax(1) == one.split.test_y).float().mean())


def measure(e: Evidence) -> str:
    found = laboratory.trials(8, {n: {"act": n} for n in ("relu6", "relu")}, epochs=6)
    kinds = {"relu6 over [0, 6]": ("relu6", "6"), "relu over [0, max]": ("relu", "max")}
    kinds |= {"relu over 99.9 %": ("relu", "quantile")}
    bits = (2, 3, 4, 5, 6, 8)
    scores = {k: [[rounded(t, b, top) for b in bits] for t in found[n]] for k, (n, top) in kinds.items()}
    e.lines("Test accuracy by bits of the hidden outputs", bits, scores, "bits", "accuracy")
    pairs = {b: {k: [r[i] for r in v] for k, v in scores.items()} for i, b in enumerate(bits)}
    tests = {b: e.tests(f"Test accuracy at {b} bits", pairs[b]) for b in (3, 8)}
    low, high = tests[3], tests[8]
    largest = max(float(h.max()) for t in found["relu"] for _, h in laboratory.inside(t.model, t.split.x))
    e.say(f"""ReLU's largest hidden output is {largest:.1f}. At 3 bits: ReLU6 {low.mean("relu6 over [0, 6]")} %; ReLU over its
        whole range {low.difference("relu over [0, max]")} points, over its 99.9 % quantile
        {low.difference("relu over 99.9 %")}. At 8 bits the differences are {high.difference("relu over [0, max]")} and
        {high.difference("relu over 99.9 %")}.""")
    saves = low["relu over [0, max]"] == "lower"
    return "holds only if ReLU's range is taken whole and bits are few" if saves else "not distinguishable"


if __name__ == "__main__":
    run(__file__)

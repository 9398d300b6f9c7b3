"""GELU's range is from 0 to infinity.

Taught: lecture notebooks, among the properties of GELU.

Right: from -0.169971... (at x = -0.751792...) to infinity.

Effect: GELU is neither monotone nor non-negative. Who relies on outputs of at least 0 (a square root, a logarithm, a
non-negative code) gets NaN; who quantises GELU's output to unsigned integers cuts a real part of the signal off.

The minimum is a root of the derivative, found to full precision. How much lies below 0 for a standard normal input is
an integral; and we quantise to 8 bits once with the range as taught and once with the right one.

Practice: Look a function's range up (`softknee show gelu`); do not guess it from its picture at the scale of a slide.
"""

import numpy as np
import torch

import softknee as sk
from softknee.analysis.gaussian import expectation
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("gelu", "silu", "mish")


def measure(e: Evidence) -> str:
    gelu = sk.get("gelu")
    lowest = gelu.facts().range
    rows = []
    for name in ("gelu", "silu", "mish"):
        facts = sk.get(name).facts()
        rows.append([name, f"{facts.range.low:.9f}", f"{facts.range.low_at[0]:.9f}"])
    e.table("Minima", ["function", "minimum", "at x"], rows)
    (below, square), _ = expectation(lambda z: np.stack([np.minimum(gelu(z), 0) ** 2, gelu(z) ** 2]), [0.0])
    z = torch.randn(10**6, generator=torch.Generator().manual_seed(0))
    y, errors = gelu(z), {}
    for name, low in {"0 to 4": 0.0, "-0.17 to 4": float(lowest.low)}.items():
        step = (4 - low) / 255
        errors[f"8 bits for {name}"] = float(
            ((y.clamp(low, 4) - low).div(step).round() * step + low - y).square().mean() ** 0.5
        )
    e.bars("Root mean square error of 8-bit codes of gelu(z), z ~ N(0, 1)", errors, "error", log="x")
    x = np.linspace(-4, 1, 400)
    e.lines("Below 0", x, {"gelu(x)": gelu(x), "silu(x)": sk.get("silu")(x), "mish(x)": sk.get("mish")(x)})
    a, b = errors.values()
    e.say(f"""The minimum is {lowest.low:.9f} at x = {lowest.low_at[0]:.9f}. For z ~ N(0, 1) half of all outputs are negative;
        they carry {below / square:.1%} of the mean square. Eight-bit codes for [0, 4] have an error of {a:.3f},
        codes for the right range {b:.4f}, {a / b:.0f} times less.""")
    return "refuted" if lowest.low < 0 else "holds"


if __name__ == "__main__":
    run(__file__)

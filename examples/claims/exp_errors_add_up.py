"""Rounding errors of exp add up through the layers of a sigmoid network.

Taught: notes on vanishing gradients: "the computer's error in approximating exp(x) accumulates as well".

We run the same network in float64 and in a narrower type, and measure the relative error of the outputs by depth: for
sigmoid, tanh and, as the control that has no exponential at all, ReLU. The weights are rounded to the narrow type first,
so that only the arithmetic differs.

Practice: Blame the element type, not the exponential: matrix products in bfloat16 bring the error. A contracting
activation such as sigmoid even damps it.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Speed and precision", ("sigmoid", "tanh", "relu", "elu")


def errors(act: str, dtype: torch.dtype, seed: int) -> list[float]:
    """Relative error of every layer's outputs, by norm."""
    model = laboratory.mlp([64, *[256] * 16, 10], act, seed).to(dtype)
    x = laboratory.data("digits", seed).x[:200].to(dtype)
    rough = [h.double() for _, h in laboratory.inside(model, x)]
    exact = [h for _, h in laboratory.inside(model.double(), x.double())]
    return [float((a - b).norm() / b.norm()) for a, b in zip(rough, exact, strict=True)]


def measure(e: Evidence) -> str:
    rows, final = [], {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype)[6:]
        curves = {act: [errors(act, dtype, seed) for seed in range(4)] for act in ABOUT}
        e.lines(
            f"Relative error of the outputs in {name}",
            range(1, 17),
            curves,
            "layer",
            "relative error",
            log="y",
        )
        for act, runs in curves.items():
            first, last = (sum(r[i] for r in runs) / len(runs) for i in (0, -1))
            final[name, act] = last
            rows.append([name, act, f"{first:.1e}", f"{last:.1e}", last / first])
    e.table("Error by depth", ["type", "function", "layer 1", "layer 16", "growth"], rows)
    single, half = (final[t, "sigmoid"] for t in ("float32", "bfloat16"))
    e.say(f"""After 16 layers a sigmoid network's outputs are off by {single:.0e} in float32 and {half:.0e} in bfloat16; a ReLU
        network's, which never computes an exponential, by {final["float32", "relu"]:.0e} and
        {final["bfloat16", "relu"]:.0e}.""")
    return (
        "refuted"
        if all(final[t, "sigmoid"] <= 1.5 * final[t, "relu"] for t in ("float32", "bfloat16"))
        else "holds"
    )


if __name__ == "__main__":
    run(__file__)

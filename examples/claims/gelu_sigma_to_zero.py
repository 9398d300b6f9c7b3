"""GELU with mean 0 and deviation sigma -> 0 becomes ReLU.

Taught: notes on torch.nn's activations, after the paper (Hendrycks & Gimpel 2016, arXiv:1606.08415).

GELU(x; mu, sigma) = x Phi((x - mu)/sigma) is scale-similar: sigma GELU(x/sigma; 0, 1). So its distance from ReLU is sigma
times a constant, the largest of |x| Phi(-|x|) = 0.16997, at x = 0.752 sigma on either side: it is uniform, and it is linear
in sigma. The slope does not converge at 0 itself: it stays 1/2.

Practice: GELU with sigma = 1 on inputs of deviation 10 is ReLU to the eye. The scale of the pre-activations decides how
smooth a "smooth" activation is.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Derivatives and kinks", ("gelu", "relu")


def measure(e: Evidence) -> str:
    gelu, sigmas = sk.get("gelu"), [3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001]
    distances = []
    for sigma in sigmas:
        x = np.linspace(-5 * sigma, 5 * sigma, 100_001)
        distances.append(float(np.abs(gelu(x, sigma=sigma) - np.maximum(x, 0)).max()))
    ratios = [d / s for d, s in zip(distances, sigmas, strict=True)]
    slopes = [gelu.derivative(0.0, sigma=s) for s in sigmas]
    rows = [
        [f"{s:g}", d, f"{r:.6f}", f"{v:.3f}"]
        for s, d, r, v in zip(sigmas, distances, ratios, slopes, strict=True)
    ]
    e.table("Distance from ReLU", ["sigma", "largest |difference|", "the same / sigma", "slope at 0"], rows)
    x = np.linspace(-2, 2, 401)
    e.lines(
        "GELU and ReLU",
        x,
        {f"sigma = {s:g}": gelu(x, sigma=s) for s in (1.0, 0.3, 0.05)} | {"relu": np.maximum(x, 0)},
    )
    e.say(f"""The largest distance from ReLU is {ratios[0]:.5f} sigma, at every sigma from 3 to 0.001. At 0 the slope stays
        {slopes[-1]:g}.""")
    return "holds" if max(ratios) - min(ratios) < 1e-4 else "refuted"


if __name__ == "__main__":
    run(__file__)

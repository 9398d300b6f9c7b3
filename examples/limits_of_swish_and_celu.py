"""One parameter moves swish from x / 2 to relu, and celu from relu to the identity; how fast, is a law.

python examples/limits_of_swish_and_celu.py
"""

from __future__ import annotations

import numpy as np

import picture
import softknee as sk

X = 60 * np.sinh(np.linspace(-9, 9, 24_001)) / np.sinh(9)  # dense around 0
SCALES = np.geomspace(0.1, 100, 13)


def main() -> None:
    swish, celu, relu = sk.get("swish"), sk.get("celu"), sk.get("relu")(X)
    to_relu = np.array([np.abs(swish(X, beta=b) - relu).max() for b in SCALES])
    to_half = np.array([np.abs(swish(X, beta=1 / b) - X / 2)[np.abs(X) <= 1].max() for b in SCALES])
    down = np.array([np.abs(celu(X, alpha=1 / a) - relu).max() for a in SCALES])
    up = np.array([np.abs(celu(X, alpha=a) - X)[np.abs(X) <= 1].max() for a in SCALES])

    # swish(x, beta) - relu(x) is largest where t = beta |x| solves 1 = t / (1 + e^-t): 0.27846 / beta
    assert np.allclose(to_relu, 0.2784645 / SCALES, rtol=1e-3)
    assert np.allclose(to_half[-4:], 0.25 / SCALES[-4:], rtol=1e-2)  # x sigmoid(bx) = x/2 + b x^2 / 4 - ...
    assert np.allclose(down, 1 / SCALES, rtol=5e-3)  # celu tends to -alpha, relu to 0
    assert np.allclose(
        up[-4:], 0.5 / SCALES[-4:], rtol=2e-2
    )  # alpha expm1(x / alpha) = x + x^2 / (2 alpha) + ...
    for c in (0.1, 3.0, 50.0):
        assert np.allclose(celu(X, alpha=0.7), celu(c * X, alpha=0.7 * c) / c, rtol=1e-12, atol=1e-15)

    figure, (left, middle, right) = picture.panels(3, 3.9, 3.4)
    near = X[np.abs(X) <= 4]
    for b, colour in zip((0.1, 0.5, 1, 3, 20), picture.COLOURS, strict=False):
        left.plot(near, swish(near, beta=b), color=colour, label=f"β = {b:g}")
    for a, colour in zip((20, 3, 1, 0.5, 0.1), picture.COLOURS, strict=False):
        middle.plot(near, celu(near, alpha=a), color=colour, label=f"α = {a:g}")
    for ax, title in ((left, "swish: from x / 2 to relu"), (middle, "celu: from the identity to relu")):
        ax.set(title=title, ylim=(-2.2, 3.2), xlim=(-4, 4), xlabel="x")
        ax.legend(loc="upper left")
    for values, label, colour in (
        (to_relu, "swish to relu, s = β", picture.COLOURS[0]), (to_half, "swish to x / 2, s = 1 / β", picture.COLOURS[1]),
        (down, "celu to relu, s = 1 / α", picture.COLOURS[2]), (up, "celu to x, s = α", picture.COLOURS[3]),
    ):  # fmt: skip
        right.loglog(SCALES, values, "o-", color=colour, markersize=3.5, label=label)
    right.set(title="Distance to the limit falls as 1 / s", xlabel="s", ylim=(1e-4, 20))
    right.legend(loc="lower left")
    print("largest distance at s = 100:", *(f"{v[-1]:.3g}" for v in (to_relu, to_half, down, up)))
    picture.save(figure, "limits_of_swish_and_celu")


if __name__ == "__main__":
    main()

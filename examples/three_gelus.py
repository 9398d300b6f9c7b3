"""GELU, x Phi(x), and its two approximations: how far they are off, where, and in their slopes.

python examples/three_gelus.py
"""

from __future__ import annotations

import numpy as np

import picture
import softknee as sk

FORMS = ("tanh", "sigmoid")
X = np.linspace(-6, 6, 24_001)


def main() -> None:
    gelu = sk.get("gelu")
    exact, slope = gelu(X), gelu.derivative(X)
    figure, (left, middle, right) = picture.panels(3, 3.9, 3.4)
    print("form      largest error  at x     of the slope  at x")
    found = {}
    for form, colour in zip(FORMS, picture.COLOURS, strict=False):
        error = gelu(X, approximate=form) - exact
        tilt = gelu.derivative(X, approximate=form) - slope
        where, there = np.abs(error).argmax(), np.abs(tilt).argmax()
        found[form] = abs(error[where]), abs(tilt[there])
        print(
            f"{form:9} {abs(error[where]):.3e}      {X[where]:+.3f}   {abs(tilt[there]):.3e}     {X[there]:+.3f}"
        )
        left.plot(X, gelu(X, approximate=form), color=colour, label=f"{form} form", linewidth=1.4)
        middle.semilogy(X, np.abs(error) + 1e-300, color=colour, label=f"{form} form")
        right.semilogy(X, np.abs(tilt) + 1e-300, color=colour, label=f"{form} form")
    left.plot(X, exact, color=picture.INK, linestyle=(0, (1, 2)), label="exact")
    left.set(title="Three GELUs", xlim=(-4, 3), ylim=(-0.3, 2), xlabel="x")
    left.legend(loc="upper left")
    for ax, title in ((middle, "Error of the value"), (right, "Error of the slope")):
        ax.set(title=title, xlabel="x", ylim=(1e-7, 0.5))
        ax.legend(loc="upper center", ncols=2)
    picture.save(figure, "three_gelus")

    assert 4.6e-4 < found["tanh"][0] < 4.8e-4
    assert 0.0202 < found["sigmoid"][0] < 0.0204
    assert found["sigmoid"][1] > 25 * found["tanh"][1]
    # an approximation cannot be told by its limits: all are 0 and x. The sigmoid form is not silu:
    assert np.abs(gelu(X, approximate="sigmoid") - sk.get("silu")(X)).max() > 0.1
    assert np.allclose(gelu(X, approximate="sigmoid"), sk.get("swish")(X, beta=1.702), rtol=1e-12, atol=0)


if __name__ == "__main__":
    main()

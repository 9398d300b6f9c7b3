"""Maxout approximates a convex function, the better the more pieces it has.

    python examples/maxout_convex.py

One maxout unit of one input is the largest of k lines, and is trained to fit x^2 on [-1, 1]. No function of
k lines can fit it with a root mean square error below (2/k)^2 / sqrt(180): each line fits best on an interval
of its own, all of length 2/k. With every piece more the error falls, as 1/k^2; this is asserted.
"""

from __future__ import annotations

import itertools
import math

import torch

import picture
from softknee import nn

PIECES = (1, 2, 3, 4, 5, 6)
STEPS = 300


def best(pieces: int) -> float:
    """The smallest root mean square error of any maximum of so many lines."""
    return (2 / pieces) ** 2 / math.sqrt(180)


def fitted(pieces: int, x: torch.Tensor, y: torch.Tensor) -> torch.nn.Module:
    """A maxout unit after training. Its lines start as tangents of x^2 / 2, so that each is the largest
    somewhere: one that is the largest nowhere has no gradient, and stays as it is."""
    unit = nn.Maxout(1, 1, pieces, dtype=torch.float64)
    slopes = torch.linspace(-1, 1, pieces + 2)[1:-1, None]
    with torch.no_grad():
        unit.linear.weight.copy_(slopes)
        unit.linear.bias.copy_(-slopes[:, 0].square() / 2)
    optimiser = torch.optim.LBFGS(
        unit.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=0
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = (unit(x) - y).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    return unit


def draw(results: dict[int, tuple[torch.Tensor, float]], x: torch.Tensor, y: torch.Tensor) -> None:
    figure, (left, right) = picture.panels(2)
    blue, orange, *_ = picture.COLOURS
    wide = {"color": "#b8bec6", "linewidth": 5, "solid_capstyle": "round"}
    left.plot(x, y, **wide)
    left.annotate("x²", (0.97, 0.7), color=picture.COLOURS[-1])
    for pieces, colour in ((2, orange), (4, blue)):
        left.plot(x, results[pieces][0], color=colour)
    left.annotate("2 pieces", (0.42, 0.29), (-8, 4), textcoords="offset points", color=orange, ha="right")
    left.annotate("4 pieces", (-0.72, 0.5), (8, 8), textcoords="offset points", color=blue)
    left.set(xlabel="x", title="The largest of 2 and of 4 lines", xticks=(-1, -0.5, 0, 0.5, 1))
    count = list(results)
    right.loglog(count, [best(k) for k in count], **wide)
    right.loglog(count, [results[k][1] for k in count], "o", color=blue)
    text = {"textcoords": "offset points"}
    right.annotate("best possible: (2/k)²/√180", (2, best(2)), (12, 4), color=picture.COLOURS[-1], **text)
    right.annotate("trained", (3, results[3][1]), (-9, -9), color=blue, ha="right", **text)
    right.set(xlabel="pieces", title="Root mean square error", xticks=count, xticklabels=count)
    right.minorticks_off()
    picture.save(figure, "maxout_convex")


def main() -> None:
    x = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]
    y = x.square()
    results = {}
    print("pieces   error     best possible")
    for pieces in PIECES:
        unit = fitted(pieces, x, y)
        with torch.no_grad():
            curve = unit(x)
            error = float((curve - y).square().mean().sqrt())
        print(f"{pieces:6d}   {error:.6f}  {best(pieces):.6f}")
        results[pieces] = curve, error
        # the grid has 401 points, so that its best fit may lie a little below that on the interval
        assert 0.97 * best(pieces) <= error <= 1.1 * best(pieces), (
            f"{pieces} pieces: {error} is not near the best"
        )
    errors = [error for _, error in results.values()]
    assert all(a > b for a, b in itertools.pairwise(errors)), "the error does not fall with every piece"
    draw(results, x, y)


if __name__ == "__main__":
    main()

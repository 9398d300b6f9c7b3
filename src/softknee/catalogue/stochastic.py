"""Functions that are random while training: the noise regularises, evaluation uses its mean or none."""

from __future__ import annotations

from softknee.catalogue.definition import (
    LEFT,
    RIGHT,
    Claims,
    Definition,
    Noise,
    Parameter,
    Reference,
    x,
)
from softknee.catalogue.references import HENDRYCKS_2016, KRIZHEVSKY_2010, NAIR_2010
from softknee.lang import detach, maximum, minimum, normal_cdf, sigmoid, sqrt, symbol, where

FAMILY = "stochastic"

lower, upper = symbol("lower"), symbol("upper")
n, u = symbol("n"), symbol("u")  # the noise

_mean = (lower + upper) / 2  # of the slopes (or divisors) of rrelu
_drawn = lower + (upper - lower) * u

DEFINITIONS = (
    Definition(
        "rrelu",
        {False: where(x > 0, x, _mean * x), True: where(x > 0, x, x / _mean)},
        training={False: where(x > 0, x, _drawn * x), True: where(x > 0, x, x / _drawn)},
        noise=[Noise("u", "uniform")],
        parameters=[
            Parameter("lower", 1 / 8, doc="the least slope (with divisor, the least divisor)"),
            Parameter("upper", 1 / 3, doc="the largest slope (with divisor, the largest divisor)"),
        ],
        choices={"divisor": (False, True)},
        constraints=[lower <= upper],
        constraints_of={True: [lower > 0]},  # a divisor of 0 would be drawn
        kinks={0: LEFT},
        torch="rrelu",
        inplace=True,
        module="RReLU",
        aliases=("randomized_leaky_relu",),
        reference=Reference(
            "Empirical evaluation of rectified activations in convolutional network",
            "Bing Xu, Naiyan Wang, Tianqi Chen, Mu Li",
            2015,
            arxiv="1505.00853",
        ),
        use="Where a network overfits a small data set: the random slope is a mild regulariser; on large data "
        "leaky_relu or prelu do as well without noise.",
        note="The paper divides: x / a with a from U(3, 8), and x / 5.5 in evaluation. divisor=True with "
        "lower=3 and upper=8 is that form. torch multiplies by a slope from U(1/8, 1/3), whose mean "
        "11/48 = 0.229 is not the paper's 2/11 = 0.182.",
    ),
    Definition(
        "stochastic_gelu",
        x * normal_cdf(x),
        training=where(u >= normal_cdf(x), 0, x),  # kept with probability Phi(x); NaN stays NaN
        noise=[Noise("u", "uniform")],
        module="StochasticGELU",
        aliases=("soi_map",),
        reference=HENDRYCKS_2016,
        use="To see where gelu comes from, and as a dropout that depends on the input; gelu itself is its "
        "expectation and trains with less noise.",
        note="In training the input passes or becomes 0; the mask is a constant to the gradient.",
    ),
    Definition(
        "noisy_relu",
        maximum(x, 0),
        training=maximum(x + detach(sqrt(sigmoid(x)) * n), 0),
        noise=[Noise("n", "normal")],
        kinks={0: LEFT},
        module="NoisyReLU",
        aliases=("nrelu",),
        reference=NAIR_2010,
        use="For restricted Boltzmann machines and as noise injected into a rectifier; in plain supervised "
        "networks dropout is the usual regulariser.",
        note="The noise has variance sigmoid(x) (not standard deviation, as is sometimes written): the sum "
        "of infinitely many Bernoulli units with shifted biases has about this mean and variance. The "
        "noise is a constant to the gradient.",
    ),
    Definition(
        "noisy_relu6",
        minimum(maximum(x, 0), 6),
        training=minimum(maximum(x + where((x > 0) & (x < 6), n, 0), 0), 6),
        noise=[Noise("n", "normal")],
        kinks={0: LEFT, 6: RIGHT},
        module="NoisyReLU6",
        reference=KRIZHEVSKY_2010,
        use="For restricted Boltzmann machines whose units must be silent or bounded; relu6 is its use "
        "without noise.",
        note="Six Bernoulli units with shifted biases, with noise of standard deviation 1 where "
        "0 < x < 6 and none elsewhere; the noisy sum is kept within [0, 6].",
        claims=Claims(range=(0, 6), monotone=True),
    ),
)

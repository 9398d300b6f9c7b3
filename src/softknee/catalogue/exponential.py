"""Functions with an exponential on the negative side: a mean nearer to 0 than a rectifier's."""

from __future__ import annotations

from math import expm1 as _expm1
from math import log as _log

from softknee.catalogue.definition import (
    LEFT,
    RIGHT,
    Claims,
    Definition,
    Parameter,
    Reference,
    x,
)
from softknee.catalogue.references import CLEVERT_2015, HAFNER_2023
from softknee.lang import exp, expm1, number, softplus, symbol, where

FAMILY = "exponential"

a, alpha, b, beta = map(symbol, ("a", "alpha", "b", "beta"))
alpha_n, alpha_p = symbol("alpha_n"), symbol("alpha_p")

SELU_ALPHA = number("1.6732632423543772848170429916717")
SELU_SCALE = number("1.0507009873554804934193349852946")
SERLU_ALPHA = number("2.90427")
SERLU_SCALE = number("1.07862")

INF = float("inf")

DEFINITIONS = (
    Definition(
        "exponential",
        exp(x),
        aliases=("exp",),
        reference=Reference(
            "Generalized linear models",
            "John A. Nelder, Robert W. M. Wedderburn",
            1972,
            doi="10.2307/2344614",
            where="the inverse of the log link",
        ),
        use="For positive outputs such as rates and variances, where relative changes matter; not between "
        "layers, as it overflows above 88 in float32.",
    ),
    Definition(
        "symexp",
        where(x < 0, -expm1(-x), expm1(x)),
        module="SymExp",
        reference=HAFNER_2023,
        use="For turning predictions made in the scale of symlog back; not between layers, as it explodes.",
        claims=Claims(odd=True, monotone=True),
    ),
    Definition(
        "elu",
        where(x > 0, x, alpha * expm1(x)),
        parameters=[Parameter("alpha", 1.0, doc="the function tends to -alpha on the left")],
        kinks={0: LEFT},
        torch="elu",
        inplace=True,
        module="ELU",
        reference=CLEVERT_2015,
        use="Where a mean activation near 0 helps, as in networks without normalisation; it costs an "
        "exponential and saturates for negative inputs.",
        note="Below 0 its derivative is elu(x) + alpha. Only alpha = 1 has no kink at 0.",
        claims=Claims(limits=(-1, INF), monotone=True),
    ),
    Definition(
        "selu",
        SELU_SCALE * where(x > 0, x, SELU_ALPHA * expm1(x)),
        kinks={0: LEFT},
        torch="selu",
        inplace=True,
        module="SELU",
        reference=Reference(
            "Self-normalizing neural networks",
            "Günter Klambauer, Thomas Unterthiner, Andreas Mayr, Sepp Hochreiter",
            2017,
            arxiv="1706.02515",
            where="equation 2",
        ),
        use="For deep plain feed-forward networks without normalisation; it needs LeCun normal weights, "
        "standardised inputs and alpha dropout, and loses its point with skip connections.",
        note="Its two constants make mean 0 and variance 1 a fixed point: alpha = 1.67326..., "
        "scale = 1.05070... (1.67733, which is printed in places, is wrong).",
        claims=Claims(limits=(-1.7581, INF), monotone=True),
    ),
    Definition(
        "celu",
        where(x > 0, x, alpha * expm1(x / alpha)),
        parameters=[Parameter("alpha", 1.0, doc="the function tends to -alpha on the left")],
        constraints=[alpha != 0],
        torch="celu",
        inplace=True,
        module="CELU",
        reference=Reference(
            "Continuously differentiable exponential linear units",
            "Jonathan T. Barron",
            2017,
            arxiv="1704.07483",
        ),
        use="In place of elu when alpha is not 1: its slope is continuous for every alpha; with alpha = 1 "
        "the two are the same.",
        note="alpha -> 0+ gives relu and alpha -> infinity the identity. A negative alpha, which torch "
        "allows too, makes it unbounded below.",
        claims=Claims(limits=(-1, INF), monotone=True),
    ),
    Definition(
        "pelu",
        where(x > 0, a / b * x, a * expm1(x / b)),
        parameters=[
            Parameter("a", 1.0, learnable=True, doc="the function tends to -a on the left; positive"),
            Parameter("b", 1.0, learnable=True, doc="the scale of the exponential; positive"),
        ],
        constraints=[a > 0, b > 0],
        module="PELU",
        aliases=("parametric_elu",),
        reference=Reference(
            "Parametric exponential linear unit for deep convolutional neural networks",
            "Ludovic Trottier, Philippe Giguère, Brahim Chaib-draa",
            2016,
            arxiv="1605.09332",
        ),
        use="Where elu helps and its shape may be learned per layer; keep a and b positive (the authors "
        "bound them by 0.1).",
    ),
    Definition(
        "mpelu",
        where(x > 0, x, alpha * expm1(beta * x)),
        parameters=[
            Parameter("alpha", 1.0, learnable=True, doc="the function tends to -alpha on the left"),
            Parameter("beta", 1.0, learnable=True, doc="how fast it gets there; positive"),
        ],
        kinks={0: LEFT},
        module="MPELU",
        reference=Reference(
            "Improving deep neural network with multiple parametric exponential linear units",
            "Yang Li, Chunxiao Fan, Yong Li, Qiong Wu, Yue Ming",
            2016,
            arxiv="1606.00305",
        ),
        use="Where the choice between relu, leaky_relu and elu should be learned: it contains or approaches "
        "all three; two more parameters a channel.",
    ),
    Definition(
        "serlu",
        where(x >= 0, SERLU_SCALE * x, SERLU_SCALE * SERLU_ALPHA * x * exp(x)),
        kinks={0: RIGHT},
        module="SERLU",
        reference=Reference(
            "Effectiveness of scaled exponentially-regularized linear units (SERLUs)",
            "Guoqiang Zhang, Haopeng Li",
            2018,
            arxiv="1807.10117",
        ),
        use="As selu, where a bump that returns to 0 on the negative side is preferred; it needs the same "
        "care with initialisation.",
    ),
    Definition(
        "elu_plus_one",
        where(x > 0, x + 1, exp(x)),
        module="ELUPlusOne",
        reference=Reference(
            "Transformers are RNNs: fast autoregressive transformers with linear attention",
            "Angelos Katharopoulos, Apoorv Vyas, Nikolaos Pappas, François Fleuret",
            2020,
            arxiv="2006.16236",
        ),
        use="The feature map of linear attention: elu(x) + 1, positive everywhere; for positive outputs of "
        "other kinds softplus is smoother.",
    ),
    Definition(
        "xielu",
        where(
            x > 0,
            softplus(alpha_p) * x * x + beta * x,
            (beta + softplus(alpha_n)) * (expm1(x) - x) + beta * x,
        ),
        parameters=[
            Parameter(
                "alpha_p", _log(_expm1(0.8)), learnable=True, doc="softplus of it: the curvature right"
            ),
            Parameter(
                "alpha_n",
                _log(_expm1(0.8 - 0.5)),
                learnable=True,
                doc="beta + softplus of it: the size of the left part",
            ),
            Parameter("beta", 0.5, doc="the slope at 0"),
        ],
        module="XIELU",
        reference=Reference(
            "Deriving activation functions using integration",
            "Allen Hao Huang, Imanol Schlag",
            2024,
            arxiv="2411.13010",
        ),
        use="In large language models without gating, where its authors found it ahead of relu2 and SwiGLU; "
        "it grows quadratically on the right.",
        note="The learned numbers pass through softplus and start where the effective values are both 0.8. "
        "Some implementations clamp x at -1e-6 in the left part, which moves the function by that much.",
    ),
)

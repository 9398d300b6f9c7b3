"""Smooth, monotone relatives of the rectifier: the softplus family."""

from __future__ import annotations

from softknee.catalogue.definition import LEFT, Claims, Definition, Parameter, Reference, x
from softknee.catalogue.references import BLONDEL_2019
from softknee.lang import exp, log, log_sigmoid, number, softplus, sqrt, symbol, where

FAMILY = "softplus-like"

b, beta, threshold = map(symbol, ("b", "beta", "threshold"))

INF = float("inf")

DEFINITIONS = (
    Definition(
        "softplus",
        where(beta * x > threshold, x, softplus(beta * x) / beta),
        parameters=[
            Parameter("beta", 1.0, doc="how sharp the knee is; relu as it grows"),
            Parameter("threshold", INF, spelled=20.0, doc="where beta x is above it the function is x"),
        ],
        constraints=[beta > 0],
        kinks={threshold / beta: LEFT},
        torch="softplus",
        reference=Reference(
            "Incorporating second-order functional knowledge for better option pricing",
            "Charles Dugas, Yoshua Bengio, François Bélisle, Claude Nadeau, René Garcia",
            2000,
            url="https://papers.nips.cc/paper/1920-incorporating-second-order-functional-knowledge-for-"
            "better-option-pricing",
        ),
        use="For positive outputs such as variances and rates; between layers relu and gelu mostly train "
        "better, as its mean is far from 0.",
        note="torch spells its default threshold 20 and replaces the function by x above it; here the "
        "default is the function itself, and only another threshold cuts it.",
        claims=Claims(limits=(0, INF), smooth=True, monotone=True),
    ),
    Definition(
        "logsigmoid",
        log_sigmoid(x),
        torch="logsigmoid",
        module="LogSigmoid",
        aliases=("log_sigmoid",),
        reference=Reference(
            "Applied logistic regression, third edition",
            "David W. Hosmer, Stanley Lemeshow, Rodney X. Sturdivant",
            2013,
            doi="10.1002/9781118548387",
            where="the log-likelihood",
        ),
        use="Inside losses, for the logarithm of a probability without underflow; rarely as an activation.",
        note="Equal to -softplus(-x).",
        claims=Claims(limits=(-INF, 0), smooth=True, monotone=True),
    ),
    Definition(
        "shifted_softplus",
        softplus(x) - log(number(2)),
        aliases=("ssp",),
        reference=Reference(
            "SchNet: a continuous-filter convolutional neural network for modeling quantum interactions",
            "Kristof T. Schütt, Pieter-Jan Kindermans, Huziel E. Sauceda, Stefan Chmiela, "
            "Alexandre Tkatchenko, Klaus-Robert Müller",
            2017,
            arxiv="1706.08566",
        ),
        use="In networks for molecules and forces, which need a smooth function with f(0) = 0 and "
        "derivatives of every order; elsewhere silu is more usual.",
        claims=Claims(limits=(-0.6931, INF), smooth=True, monotone=True),
    ),
    Definition(
        "sqrt_softplus",
        # sqrt(softplus(x)), which is exp(x / 2) to 35 digits below -80 and would underflow there
        where(x < -80, exp(x / 2), sqrt(softplus(x))),
        aliases=("sqrtsoftplus",),
        reference=Reference(
            "transformers.activations.SqrtSoftplusActivation",
            "The Hugging Face team",
            2026,
            url="https://github.com/huggingface/transformers/blob/main/src/transformers/activations.py",
        ),
        use="For scores of experts in a mixture (the router of DeepSeek V4); it is positive and grows slowly, "
        "and is not meant for hidden layers.",
    ),
    Definition(
        "squareplus",
        x / 2 + sqrt((x / 2) ** 2 + b / 4),  # (x + sqrt(x^2 + b)) / 2 would overflow
        parameters=[Parameter("b", 4.0, doc="how wide the knee is; 0 would be relu")],
        constraints=[b > 0],
        reference=Reference(
            "Squareplus: a softplus-like algebraic rectifier", "Jonathan T. Barron", 2021, arxiv="2112.11687"
        ),
        use="In place of softplus where exponentials are slow or overflow is feared; its left tail falls only "
        "as 1 / |x|.",
        claims=Claims(limits=(0, INF), smooth=True, monotone=True),
    ),
    Definition(
        "sparse_plus",
        where(x <= -1, 0, where(x >= 1, x, (x + 1) * (x + 1) / 4)),
        reference=BLONDEL_2019,
        use="In place of softplus where exact zeros are wanted: 0 up to -1, x from 1 on and a parabola "
        "between.",
        note="Its derivative is sparse_sigmoid.",
        claims=Claims(limits=(0, INF), monotone=True),
    ),
)

"""Functions of powers, roots and logarithms that are not bounded."""

from __future__ import annotations

from softknee.catalogue.definition import Claims, Definition, Parameter, Reference, x
from softknee.catalogue.references import CARLILE_2017, HAFNER_2023
from softknee.lang import absolute, asinh, clamp, log1p, sqrt, symbol, where

FAMILY = "algebraic"

alpha, b, s = map(symbol, ("alpha", "b", "s"))

INF = float("inf")

_clipped = clamp(x, -2, 2)

DEFINITIONS = (
    Definition(
        "relu2",
        where(x <= 0, 0, x * x),
        module="ReLU2",
        aliases=("squared_relu", "relu_squared", "requ"),
        reference=Reference(
            "Primer: searching for efficient transformers for language modeling",
            "David R. So, Wojciech Mańke, Hanxiao Liu, Zihang Dai, Noam Shazeer, Quoc V. Le",
            2021,
            arxiv="2109.08668",
        ),
        use="For the feed-forward layers of language models that should stay sparse and fast; it grows "
        "quadratically, so it wants normalised inputs.",
        claims=Claims(limits=(0, INF), monotone=True),
    ),
    Definition(
        "star_relu",
        where(x <= 0, b, s * (x * x) + b),
        parameters=[
            Parameter("s", 0.8944, learnable=True, doc="the scale"),
            Parameter("b", -0.4472, learnable=True, doc="the output for x < 0"),
        ],
        module="StarReLU",
        elsewhere=("StarReLU",),
        reference=Reference(
            "MetaFormer baselines for vision",
            "Weihao Yu, Chenyang Si, Pan Zhou, Mi Luo, Yichen Zhou, Jiashi Feng, Shuicheng Yan, Xinchao Wang",
            2022,
            arxiv="2210.13452",
        ),
        use="In place of gelu in vision MetaFormers: cheaper, and with mean 0 and variance 1 for a standard "
        "normal input.",
        note="The exact constants are 2 / sqrt(5) and -1 / sqrt(5); the paper prints four digits. Its code "
        "starts the learned s and b at 1 and 0.",
    ),
    Definition(
        "cube",
        x * x * x,
        aliases=("cubic",),
        reference=Reference(
            "A fast and accurate dependency parser using neural networks",
            "Danqi Chen, Christopher D. Manning",
            2014,
            doi="10.3115/v1/D14-1082",
        ),
        use="For one hidden layer over embeddings, where it multiplies up to three features; in deeper "
        "networks it explodes.",
    ),
    Definition(
        "isrlu",
        where(x > 0, x, x / sqrt(1 + alpha * x * x)),
        parameters=[Parameter("alpha", 1.0, doc="the function tends to -1 / sqrt(alpha) on the left")],
        constraints=[alpha >= 0],
        module="ISRLU",
        reference=CARLILE_2017,
        use="In place of elu where exponentials are slow: much the same shape, with a continuous second "
        "derivative.",
        claims=Claims(limits=(-1, INF), monotone=True),
    ),
    Definition(
        "bent_identity",
        x + x * (x / (2 * (sqrt(x * x + 1) + 1))),  # x + (sqrt(x^2 + 1) - 1) / 2 without cancellation
        reference=Reference(
            "Activation function",
            "Wikipedia contributors",
            2015,
            url="https://en.wikipedia.org/wiki/Activation_function",
        ),
        use="A smooth function with slopes between 1/2 and 3/2 whose gradient cannot vanish; too near the "
        "identity to be strong between layers.",
    ),
    Definition(
        "sqnl",
        _clipped - _clipped * absolute(_clipped) / 4,
        module="SQNL",
        aliases=("square_nonlinearity",),
        reference=Reference(
            "SQNL: a new computationally efficient activation function",
            "Adedamola Wuraola, Nitish Patel",
            2018,
            doi="10.1109/IJCNN.2018.8489043",
        ),
        use="A tanh of parabolas for microcontrollers: exactly -1 and 1 beyond +-2, where no gradient "
        "passes.",
        claims=Claims(range=(-1, 1), limits=(-1, 1), odd=True, monotone=True),
    ),
    Definition(
        "asinh",
        asinh(x),
        aliases=("arcsinh",),
        reference=Reference(
            "Alternative transformations to handle extreme values of the dependent variable",
            "John B. Burbidge, Lonnie Magee, A. Leslie Robb",
            1988,
            doi="10.1080/01621459.1988.10478575",
        ),
        use="For inputs of both signs and many orders of magnitude: linear near 0, logarithmic far away; it "
        "compresses, so it is rare between layers.",
    ),
    Definition(
        "symlog",
        where(x < 0, -log1p(-x), log1p(x)),
        module="SymLog",
        reference=HAFNER_2023,
        use="For observations, rewards and targets of unknown scale; its inverse is symexp.",
        claims=Claims(odd=True, monotone=True),
    ),
)

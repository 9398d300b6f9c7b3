"""S-shaped functions: bounded, rising from one level to another."""

from __future__ import annotations

from softknee.catalogue.definition import LEFT, Claims, Definition, Parameter, Reference, x
from softknee.catalogue.references import CARLILE_2017, GOMES_2011, LECUN_1998
from softknee.lang import (
    absolute,
    atan,
    exp,
    expm1,
    maximum,
    normal_cdf,
    number,
    sigmoid,
    sqrt,
    symbol,
    tanh,
    where,
)
from softknee.lang import (
    erf as erf_,
)

FAMILY = "sigmoidal"

a, alpha, mu, sigma = map(symbol, ("a", "alpha", "mu", "sigma"))

DEFINITIONS = (
    Definition(
        "sigmoid",
        sigmoid(x),
        torch="sigmoid",
        aliases=("logistic", "logistic_sigmoid", "expit"),
        reference=Reference(
            "Learning representations by back-propagating errors",
            "David E. Rumelhart, Geoffrey E. Hinton, Ronald J. Williams",
            1986,
            doi="10.1038/323533a0",
        ),
        use="For probabilities and gates; between layers its slope of at most 1/4 makes gradients vanish and "
        "its mean of 1/2 shifts the next layer.",
        note="The logistic function is Verhulst's (1838). Its derivative is s (1 - s).",
        claims=Claims(range=(0, 1), limits=(0, 1), smooth=True, monotone=True),
    ),
    Definition(
        "tanh",
        tanh(x),
        torch="tanh",
        aliases=("hyperbolic_tangent", "tansig"),
        reference=LECUN_1998,
        use="For recurrent networks and bounded, zero-centred outputs; in deep plain networks it saturates "
        "and its gradients vanish.",
        note="Equal to 2 sigmoid(2x) - 1. Its derivative is 1 - t^2.",
        claims=Claims(range=(-1, 1), limits=(-1, 1), smooth=True, monotone=True, odd=True),
    ),
    Definition(
        "lecun_tanh",
        number("1.7159") * tanh(2 * x / 3),
        aliases=("scaled_tanh",),
        module="LeCunTanh",
        reference=LECUN_1998,
        use="For classical networks on standardised inputs: f(1) is about 1 and the curvature is largest "
        "there; later functions train better in deep networks.",
    ),
    Definition(
        "bipolar_sigmoid",
        tanh(x / 2),
        reference=Reference(
            "Fundamentals of neural networks: architectures, algorithms, and applications",
            "Laurene Fausett",
            1994,
        ),
        use="For textbook networks with targets of -1 and 1; tanh is the same function with its input "
        "doubled, and the usual choice.",
        note="Equal to 2 sigmoid(x) - 1.",
        claims=Claims(range=(-1, 1), limits=(-1, 1), smooth=True, monotone=True, odd=True),
    ),
    Definition(
        "penalized_tanh",
        where(x > 0, tanh(x), a * tanh(x)),
        parameters=[Parameter("a", 0.25, doc="the weight of the negative side, between 0 and 1")],
        kinks={0: LEFT},
        aliases=("ptanh",),
        reference=Reference(
            "Revise saturated activation functions",
            "Bing Xu, Ruitong Huang, Mu Li",
            2016,
            arxiv="1602.05980",
        ),
        use="Where tanh's bounds are wanted and depth makes it saturate; later studies found it stable over "
        "many language tasks.",
        claims=Claims(limits=(-0.25, 1), monotone=True),
    ),
    Definition(
        "rectified_tanh",
        tanh(maximum(x, 0)),
        kinks={0: LEFT},
        reference=Reference(
            "Deeplearning4j: ActivationRectifiedTanh",
            "The Deeplearning4j contributors",
            2016,
            url="https://github.com/deeplearning4j/deeplearning4j",
        ),
        use="For firing rates that are neither negative nor unbounded, as in models of neurons; it saturates "
        "on both sides.",
    ),
    Definition(
        "softsign",
        x / (1 + absolute(x)),
        torch="softsign",
        aliases=("soft_sign",),
        reference=Reference(
            "Quadratic features and deep architectures for chunking",
            "Joseph Turian, James Bergstra, Yoshua Bengio",
            2009,
            url="https://aclanthology.org/N09-2062/",
        ),
        use="In place of tanh where heavier tails should keep some gradient: it approaches its bounds only "
        "as 1 / |x|, without exponentials.",
        claims=Claims(range=(-1, 1), limits=(-1, 1), odd=True, monotone=True),
    ),
    Definition(
        "elliott",
        # 1/2 + x / (2 (1 + |x|)), on each side in the form that does not cancel
        where(x < 0, 1 / (2 * (1 - x)), 1 - 1 / (2 * (1 + x))),
        aliases=("elliott_sigmoid",),
        reference=Reference(
            "A better activation function for artificial neural networks",
            "David L. Elliott",
            1993,
            url="https://drum.lib.umd.edu/handle/1903/5355",
        ),
        use="A sigmoid without exponentials for slow hardware; its tails approach 0 and 1 only as 1 / |x|.",
        note="Some libraries give this name to softsign, which is 2 elliott(x) - 1.",
        claims=Claims(range=(0, 1), limits=(0, 1), monotone=True),
    ),
    Definition(
        "arctan",
        atan(x),
        aliases=("atan",),
        reference=Reference(
            "Approximation by superpositions of a sigmoidal function",
            "George Cybenko",
            1989,
            doi="10.1007/BF02551274",
            where="a sigmoidal function after scaling",
        ),
        use="A bounded, odd function with heavy tails, used as a surrogate gradient's integral in spiking "
        "networks; tanh is the usual choice elsewhere.",
    ),
    Definition(
        "isru",
        x / sqrt(1 + alpha * x * x),
        parameters=[Parameter("alpha", 1.0, doc="the bounds are +-1 / sqrt(alpha)")],
        constraints=[alpha >= 0],
        module="ISRU",
        reference=CARLILE_2017,
        use="A tanh without exponentials, for recurrent networks on hardware with a fast inverse square "
        "root.",
        claims=Claims(range=(-1, 1), limits=(-1, 1), smooth=True, monotone=True, odd=True),
    ),
    Definition(
        "erf",
        erf_(x),
        aliases=("error_function",),
        reference=Reference(
            "Computing with infinite networks",
            "Christopher K. I. Williams",
            1996,
            url="https://papers.nips.cc/paper/1197-computing-with-infinite-networks",
        ),
        use="For theory: the kernel of an infinitely wide erf network is known in closed form; in practice "
        "tanh does the same.",
        claims=Claims(range=(-1, 1), limits=(-1, 1), smooth=True, monotone=True, odd=True),
    ),
    Definition(
        "normal_cdf",
        normal_cdf(x),
        aliases=("probit", "gaussian_cdf", "ndtr"),
        module="NormalCDF",
        reference=GOMES_2011,
        use="For probabilities under a probit model; its tails are far thinner than sigmoid's, so confident "
        "mistakes cost more.",
        note="The inverse of the probit link of statistics, after which the paper names it.",
        claims=Claims(range=(0, 1), limits=(0, 1), smooth=True, monotone=True),
    ),
    Definition(
        "laplace",
        normal_cdf((x - mu) / sigma),
        parameters=[
            Parameter("mu", 0.707107, doc="where it is 1/2"),
            Parameter("sigma", 0.282095, doc="how wide the step is"),
        ],
        constraints=[sigma > 0],
        reference=Reference(
            "Mega: moving average equipped gated attention",
            "Xuezhe Ma, Chunting Zhou, Xiang Kong, Junxian He, Liangke Gui, Graham Neubig, Jonathan May, "
            "Luke Zettlemoyer",
            2022,
            arxiv="2209.10655",
        ),
        use="For attention weights without softmax, as in Mega: it follows relu2 where most scores lie and "
        "stays bounded.",
        note="Despite its name it is the distribution function of the normal law, not of Laplace's. The "
        "defaults are 1 / sqrt(2) and 1 / sqrt(4 pi) in six digits, as transformers has them.",
        claims=Claims(range=(0, 1), limits=(0, 1), smooth=True, monotone=True),
    ),
    Definition(
        "cloglog",
        -expm1(-exp(x)),
        aliases=("complementary_log_log",),
        module="CLogLog",
        reference=GOMES_2011,
        use="For probabilities of rare events and of survival, whose two errors are not alike: it nears 1 much "
        "faster than 0.",
        claims=Claims(range=(0, 1), limits=(0, 1), smooth=True, monotone=True),
    ),
    Definition(
        "loglog",
        exp(-exp(-x)),
        aliases=("gompertz",),
        module="LogLog",
        reference=GOMES_2011,
        use="The mirror image of cloglog: it nears 0 much faster than 1; the gate of golu.",
        note="Equal to 1 - cloglog(-x), and the Gumbel distribution's function.",
        claims=Claims(range=(0, 1), limits=(0, 1), smooth=True, monotone=True),
    ),
)

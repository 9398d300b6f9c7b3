"""Periodic and bump-shaped functions: they rise and fall more than once, or return to 0."""

from __future__ import annotations

from softknee.catalogue.definition import Claims, Definition, Parameter, Reference, x
from softknee.lang import cos, exp, sigmoid, sin, square, symbol

FAMILY = "oscillating"

a, alpha, b, beta, omega = map(symbol, ("a", "alpha", "b", "beta", "omega"))

DEFINITIONS = (
    Definition(
        "sine",
        sin(omega * x),
        parameters=[Parameter("omega", 1.0, doc="the frequency; SIREN uses 30")],
        aliases=("sin", "siren"),
        reference=Reference(
            "Implicit neural representations with periodic activation functions",
            "Vincent Sitzmann, Julien N. P. Martel, Alexander W. Bergman, David B. Lindell, Gordon Wetzstein",
            2020,
            arxiv="2006.09661",
        ),
        use="For coordinates to signals (implicit representations), with SIREN's omega = 30 and its "
        "initialisation; elsewhere its many optima make training hard.",
        claims=Claims(range=(-1, 1), odd=True, smooth=True),
    ),
    Definition(
        "cosine",
        cos(x),
        aliases=("cos",),
        reference=Reference(
            "There exists a neural network that does not make avoidable mistakes",
            "A. Ronald Gallant, Halbert White",
            1988,
            doi="10.1109/ICNN.1988.23903",
        ),
        use="For random Fourier features and periodic inputs; between layers it is even and easily "
        "oscillates.",
        note="The reference's cosine squasher is half a period of it, made monotone.",
        claims=Claims(range=(-1, 1), even=True, smooth=True),
    ),
    Definition(
        "gcu",
        x * cos(x),
        module="GCU",
        aliases=("growing_cosine_unit",),
        reference=Reference(
            "Growing cosine unit: a novel oscillatory activation function that can speedup training and "
            "reduce parameters in convolutional neural networks",
            "Mathew Mithra Noel, Arunkumar L, Advait Trivedi, Praneet Dutta",
            2021,
            arxiv="2108.12943",
        ),
        use="Where a single neuron should separate more than two regions (it solves XOR); unbounded "
        "oscillation makes it sensitive to the scale of its inputs.",
    ),
    Definition(
        "snake",
        x + square(sin(alpha * x)) / alpha,
        parameters=[Parameter("alpha", 1.0, learnable=True, doc="the frequency; not 0")],
        constraints=[alpha != 0],
        reference=Reference(
            "Neural networks fail to learn periodic functions and how to fix it",
            "Liu Ziyin, Tilman Hartwig, Masahito Ueda",
            2020,
            arxiv="2006.08195",
        ),
        use="For periodic data that must be continued beyond the training range, and for audio generation; "
        "it keeps the identity's trend.",
        claims=Claims(monotone=True, smooth=True),
    ),
    Definition(
        "snake_beta",
        x + square(sin(alpha * x)) / beta,
        parameters=[
            Parameter("alpha", 1.0, learnable=True, doc="the frequency"),
            Parameter("beta", 1.0, learnable=True, doc="the inverse of the ripple's height; not 0"),
        ],
        constraints=[beta != 0],
        reference=Reference(
            "BigVGAN: a universal neural vocoder with large-scale training",
            "Sang-gil Lee, Wei Ping, Boris Ginsburg, Bryan Catanzaro, Sungroh Yoon",
            2022,
            arxiv="2206.04658",
        ),
        use="For vocoders: snake with the height of its ripple learned apart from the frequency; monotone "
        "only while |alpha| is at most |beta|.",
        note="The paper's code learns the logarithms of alpha and beta.",
    ),
    Definition(
        "sinlu",
        (x + a * sin(b * x)) * sigmoid(x),
        parameters=[
            Parameter("a", 1.0, learnable=True, doc="the ripple's height"),
            Parameter("b", 1.0, learnable=True, doc="the ripple's frequency"),
        ],
        module="SinLU",
        reference=Reference(
            "SinLU: sinu-sigmoidal linear unit",
            "Ashis Paul, Rajarshi Bandyopadhyay, Jin Hee Yoon, Zong Woo Geem, Ram Sarkar",
            2022,
            doi="10.3390/math10030337",
        ),
        use="silu with a learned ripple, for small networks; two more parameters and a sine for a gain that "
        "few have measured apart from its authors.",
    ),
    Definition(
        "gaussian",
        exp(-(x * x)),
        aliases=("gaussian_bump", "radbas"),
        reference=Reference(
            "Multivariable functional interpolation and adaptive networks",
            "David S. Broomhead, David Lowe",
            1988,
            url="https://www.complex-systems.com/abstracts/v02_i03_a05/",
        ),
        use="For radial basis functions and coordinate networks, where a unit should answer near one place "
        "only; far inputs get no gradient.",
        claims=Claims(range=(0, 1), maximum=1, limits=(0, 0), even=True, smooth=True),
    ),
)

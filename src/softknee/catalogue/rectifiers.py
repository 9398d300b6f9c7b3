"""Piecewise linear functions: cheap, exact in low precision, with kinks."""

from __future__ import annotations

from softknee.catalogue.definition import (
    LEFT,
    MEAN,
    RIGHT,
    Claims,
    Definition,
    Parameter,
    Reference,
    x,
)
from softknee.catalogue.references import (
    BLONDEL_2019,
    CLEVERT_2015,
    HOWARD_2019,
    KRIZHEVSKY_2010,
    NAIR_2010,
)
from softknee.lang import absolute, clamp, detach, maximum, minimum, sign, symbol, where

FAMILY = "piecewise linear"

a_l, a_r, t_l, t_r = map(symbol, ("a_l", "a_r", "t_l", "t_r"))
alpha, b, c, delta, theta = map(symbol, ("alpha", "b", "c", "delta", "theta"))
max_val, min_val, negative_slope, weight = map(symbol, ("max_val", "min_val", "negative_slope", "weight"))
threshold, value = symbol("threshold"), symbol("value")

DEFINITIONS = (
    Definition(
        "identity",
        x,
        elsewhere=("LinearActivation",),
        reference=Reference(
            "Adaptive switching circuits",
            "Bernard Widrow, Marcian E. Hoff",
            1960,
            where="the linear unit of ADALINE",
        ),
        aliases=("adaline",),
        use="For outputs of a regression, and as the control that shows what a nonlinearity adds; layers "
        "with nothing else between them collapse into one linear layer.",
    ),
    Definition(
        "binary_step",
        # detach(x) is reached by NaN only: NaN stays NaN and the slope is 0 everywhere
        where(x >= b, 1, where(x < b, 0, detach(x))),
        parameters=[Parameter("b", 0.0, doc="where the step is")],
        kinks={b: 0},
        aliases=("heaviside", "step", "perceptron_threshold", "hard_limit"),
        reference=Reference(
            "A logical calculus of the ideas immanent in nervous activity",
            "Warren S. McCulloch, Walter Pitts",
            1943,
            doi="10.1007/BF02478259",
        ),
        use="For the history of the perceptron and for decisions after training; not for training, as its "
        "gradient is 0.",
        note="Its derivative is 0 almost everywhere: gradient descent cannot train what lies before it. At "
        "the step itself it is 1, as the perceptron's; libraries differ there (0, 1/2 or 1).",
        claims=Claims(range=(0, 1), limits=(0, 1), monotone=True),
    ),
    Definition(
        "sign",
        where(x > 0, 1, where(x < 0, -1, detach(x))),  # detach(x): 0 and NaN
        kinks={0: 0},
        aliases=("signum", "bipolar_step", "hard_limit_symmetric"),
        reference=Reference(
            "Binarized neural networks: training deep neural networks with weights and activations "
            "constrained to +1 or -1",
            "Matthieu Courbariaux, Itay Hubara, Daniel Soudry, Ran El-Yaniv, Yoshua Bengio",
            2016,
            arxiv="1602.02830",
        ),
        use="For binarised networks, with a surrogate gradient of your own; on its own it cannot be trained "
        "through.",
        note="Its derivative is 0 almost everywhere. sign(0) is 0 here; binarised networks often use 1.",
        claims=Claims(range=(-1, 1), odd=True, monotone=True),
    ),
    Definition(
        "threshold",
        where(x <= threshold, value, x),
        parameters=[
            Parameter("threshold", example=0.1, doc="inputs above it pass"),
            Parameter("value", example=20.0, doc="what replaces all others"),
        ],
        kinks={threshold: LEFT},
        torch="threshold",
        inplace=True,
        reference=Reference(
            "Zero-bias autoencoders and the benefits of co-adapting features",
            "Kishore Konda, Roland Memisevic, David Krueger",
            2014,
            arxiv="1402.3337",
        ),
        use="For cutting off small inputs at a level of your choice; it jumps unless value equals "
        "threshold, and passes no gradient below.",
        note="The reference is for the case value = 0 (see thresholded_relu); the general form is torch's.",
    ),
    Definition(
        "thresholded_relu",
        where(x <= theta, 0, x),
        parameters=[Parameter("theta", 1.0, doc="inputs above it pass")],
        kinks={theta: LEFT},
        aliases=("trec", "truncated_rectified"),
        module="ThresholdedReLU",
        reference=Reference(
            "Zero-bias autoencoders and the benefits of co-adapting features",
            "Kishore Konda, Roland Memisevic, David Krueger",
            2014,
            arxiv="1402.3337",
        ),
        use="For sparse codes without biases, as in zero-bias autoencoders; elsewhere its jump at theta "
        "makes training harder than relu does.",
    ),
    Definition(
        "relu",
        maximum(x, 0),
        kinks={0: LEFT},
        torch="relu",
        inplace=True,
        module="ReLU",
        aliases=("rectifier", "ramp", "positive_part"),
        reference=NAIR_2010,
        use="The default where speed, sparsity or quantisation matter; watch for units that never fire, "
        "and prefer a smooth function in transformers and where second derivatives are used.",
        note="Used long before its reference (Fukushima 1969). Its mean is positive: 0.399 for a standard "
        "normal input.",
        claims=Claims(limits=(0, float("inf")), monotone=True),
    ),
    Definition(
        "relu6",
        minimum(maximum(x, 0), 6),
        kinks={0: LEFT, 6: RIGHT},
        torch="relu6",
        inplace=True,
        module="ReLU6",
        reference=KRIZHEVSKY_2010,
        use="For small networks that will run in 8 bits: the bound keeps the quantisation range known; it "
        "saturates on both sides.",
        claims=Claims(range=(0, 6), limits=(0, 6), monotone=True),
    ),
    Definition(
        "abs",
        absolute(x),
        kinks={0: MEAN},
        aliases=("absolute_rectification", "absolute", "vrelu"),
        reference=Reference(
            "What is the best multi-stage architecture for object recognition?",
            "Kevin Jarrett, Koray Kavukcuoglu, Marc'Aurelio Ranzato, Yann LeCun",
            2009,
            doi="10.1109/ICCV.2009.5459469",
        ),
        use="For features whose sign carries no meaning, such as edges of either polarity; it keeps the "
        "energy of its input but can tell no sign.",
    ),
    Definition(
        "leaky_relu",
        where(x > 0, x, negative_slope * x),
        parameters=[Parameter("negative_slope", 0.01, doc="the slope for x < 0")],
        kinks={0: LEFT},
        torch="leaky_relu",
        inplace=True,
        module="LeakyReLU",
        aliases=("lrelu", "leaky_rectifier"),
        reference=Reference(
            "Rectifier nonlinearities improve neural network acoustic models",
            "Andrew L. Maas, Awni Y. Hannun, Andrew Y. Ng",
            2013,
            url="https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf",
        ),
        use="Where relu units die: it is as fast and keeps a gradient on the negative side, at the price of "
        "exact zeros.",
        note="The default slope is torch's and jax's; keras has 0.2 (0.3 in older releases).",
    ),
    Definition(
        "prelu",
        where(x > 0, x, weight * x),
        parameters=[
            Parameter("weight", 0.25, learnable=True, init_name="init", doc="the slope for x < 0"),
        ],
        kinks={0: LEFT},
        torch="prelu",
        module="PReLU",
        aliases=("parametric_relu",),
        reference=Reference(
            "Delving deep into rectifiers: surpassing human-level performance on ImageNet classification",
            "Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
            2015,
            arxiv="1502.01852",
            where="equation 1",
        ),
        use="On large data sets, where the slope below 0 can be learned per channel; exempt its weight from "
        "weight decay, which would pull it towards relu.",
    ),
    Definition(
        "frelu",
        maximum(x, 0) + b,
        parameters=[Parameter("b", 0.0, learnable=True, doc="the output for x < 0")],
        kinks={0: LEFT},
        aliases=("flexible_relu",),
        module="FReLU",
        reference=Reference(
            "FReLU: flexible rectified linear units for improving convolutional neural networks",
            "Suo Qiu, Xiangmin Xu, Bolun Cai",
            2017,
            arxiv="1706.08098",
        ),
        use="Like relu, with a learned level for the silent state; a bias in the next layer can do the same "
        "unless padding or normalisation comes between.",
        note="Funnel activation shares the abbreviation FReLU; that one is a spatial maximum, not pointwise.",
    ),
    Definition(
        "shifted_relu",
        maximum(x, -1),
        kinks={-1: LEFT},
        module="ShiftedReLU",
        reference=CLEVERT_2015,
        use="A control for elu with the same lower bound -1 and none of the smoothness; it shows what the "
        "bound alone brings.",
        note="The ELU paper calls it SReLU. The S-shaped srelu shares the abbreviation and is another function.",
    ),
    Definition(
        "srelu",
        where(x >= t_r, t_r + a_r * (x - t_r), where(x > t_l, x, t_l + a_l * (x - t_l))),
        parameters=[
            Parameter("t_l", 0.0, learnable=True, doc="where the left piece ends"),
            Parameter("a_l", 0.2, learnable=True, doc="the slope of the left piece"),
            Parameter("t_r", 1.0, learnable=True, doc="where the right piece starts; not below t_l"),
            Parameter("a_r", 1.0, learnable=True, doc="the slope of the right piece"),
        ],
        constraints=[t_l <= t_r],
        kinks={t_l: LEFT, t_r: RIGHT},
        module="SReLU",
        aliases=("s_shaped_relu",),
        reference=Reference(
            "Deep learning with S-shaped rectified linear activation units",
            "Xiaojie Jin, Chunyan Xu, Jiashi Feng, Yunchao Wei, Junjun Xiong, Shuicheng Yan",
            2015,
            arxiv="1512.07030",
        ),
        use="Where four more parameters a channel are affordable and both convex and concave responses may "
        "help; start it as a leaky relu, as its authors do.",
        note="The initial t_r depends on data in the paper; while a_r is 1 its value changes nothing. The "
        "shifted_relu of the ELU paper shares the abbreviation and is another function.",
    ),
    Definition(
        "plu",
        # max(alpha (x + c) - c, min(alpha (x - c) + c, x)), with the comparisons made on x
        where(absolute(x) <= c, x, alpha * x + (1 - alpha) * c * sign(x)),
        parameters=[
            Parameter("alpha", 0.1, doc="the slope of the outer pieces"),
            Parameter("c", 1.0, doc="where they start"),
        ],
        constraints=[c >= 0],
        kinks={-c: RIGHT, c: LEFT},
        module="PLU",
        aliases=("piecewise_linear_unit",),
        reference=Reference(
            "PLU: the piecewise linear unit activation function", "Andrei Nicolae", 2018, arxiv="1809.09534"
        ),
        use="A piecewise linear stand-in for tanh whose gradient never vanishes; it gives no sparsity.",
    ),
    Definition(
        "tent",
        maximum(delta - absolute(x), 0),
        parameters=[Parameter("delta", 1.0, learnable=True, doc="half the width, and the height")],
        kinks={-delta: LEFT, 0: MEAN, delta: RIGHT},
        reference=Reference(
            "Improved adversarial robustness by reducing open space risk via tent activations",
            "Andras Rozsa, Terrance E. Boult",
            2019,
            arxiv="1908.02435",
        ),
        use="Where large inputs should count as unknown, as against adversarial examples; its gradient is 0 "
        "outside a narrow band, so scale the inputs.",
    ),
    Definition(
        "hardtanh",
        clamp(x, min_val, max_val),
        parameters=[
            Parameter("min_val", -1.0, doc="the lower bound"),
            Parameter("max_val", 1.0, doc="the upper bound"),
        ],
        constraints=[min_val <= max_val],
        kinks={min_val: LEFT, max_val: RIGHT},
        torch="hardtanh",
        inplace=True,
        aliases=("hard_tanh", "clip", "htanh", "satlins"),
        reference=Reference(
            "Large scale machine learning",
            "Ronan Collobert",
            2004,
            url="https://ronan.collobert.com/pub/matos/2004_phdthesis_lip6.pdf",
        ),
        use="For bounded outputs without exponentials, as on small devices; outside the bounds no gradient "
        "passes.",
        claims=Claims(range=(-1, 1), limits=(-1, 1), odd=True, monotone=True),
    ),
    Definition(
        "hardsigmoid",
        (clamp(x, -3, 3) + 3) / 6,
        kinks={-3: LEFT, 3: RIGHT},
        torch="hardsigmoid",
        inplace=True,
        aliases=("hard_sigmoid",),
        reference=HOWARD_2019,
        use="For gates on small devices, in place of sigmoid; outside [-3, 3] no gradient passes.",
        note="Several functions share the name: keras before version 3 had the slope 0.2, and the one of "
        "BinaryConnect has 0.5 (sparse_sigmoid here).",
        claims=Claims(range=(0, 1), limits=(0, 1), monotone=True),
    ),
    Definition(
        "sparse_sigmoid",
        (clamp(x, -1, 1) + 1) / 2,
        kinks={-1: LEFT, 1: RIGHT},
        reference=BLONDEL_2019,
        use="For probabilities that may be exactly 0 or 1, with a Fenchel-Young loss; outside [-1, 1] no "
        "gradient passes.",
        note="It is the derivative of sparse_plus, and the hard sigmoid of BinaryConnect.",
        claims=Claims(range=(0, 1), limits=(0, 1), monotone=True),
    ),
)

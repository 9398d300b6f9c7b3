"""The input times a gate between 0 and 1, or nearly so: smooth, with a dip below 0."""

from __future__ import annotations

from softknee.catalogue.definition import LEFT, RIGHT, Claims, Definition, Parameter, Reference, x
from softknee.catalogue.references import (
    BASIRAT_2018,
    BISWAS_2021,
    ELFWING_2017,
    HENDRYCKS_2016,
    HOWARD_2019,
    MA_2020,
    RAMACHANDRAN_2017,
)
from softknee.lang import (
    atan,
    clamp,
    erf,
    exp,
    expm1,
    log1p,
    minimum,
    normal_cdf,
    number,
    pi,
    sigmoid,
    softplus,
    sqrt,
    symbol,
    tanh,
    where,
)
from softknee.lang.nodes import Node

FAMILY = "gated"

alpha, beta, gamma, delta = map(symbol, ("alpha", "beta", "gamma", "delta"))
mu, p, p1, p2, sigma = map(symbol, ("mu", "p", "p1", "p2", "sigma"))

INF = float("inf")


def _cauchy_cdf(a: Node) -> Node:
    """atan(a) / pi + 1/2, in a form that keeps its digits on the left."""
    return where(a < -1, -atan(1 / minimum(a, -1)) / pi, atan(a) / pi + 0.5)


def _normal_cdf_tanh(a: Node) -> Node:
    return (1 + tanh(sqrt(2 / pi) * (a + number("0.044715") * a**3))) / 2


def _normal_cdf_sigmoid(a: Node) -> Node:
    return sigmoid(number("1.702") * a)


def _acon(first: Node, second: Node | float) -> Node:
    """A smooth maximum of first * x and second * x."""
    return (first - second) * x * sigmoid(beta * (first - second) * x) + second * x


_gelu = x * normal_cdf(x)
_z = (x - mu) / sigma
_colu_grown = exp(x + exp(x))

BETA = Parameter("beta", 1.0, learnable=True, doc="how sharp the switch is; the sharper, the nearer to relu")

DEFINITIONS = (
    Definition(
        "gelu",
        {
            ("none", "normal"): x * normal_cdf(_z),
            ("none", "logistic"): x * sigmoid(_z),
            ("none", "cauchy"): x * _cauchy_cdf(_z),
            ("tanh", "normal"): x * _normal_cdf_tanh(_z),
            ("sigmoid", "normal"): x * _normal_cdf_sigmoid(_z),
        },
        choices={"approximate": ("none", "tanh", "sigmoid"), "cdf": ("normal", "logistic", "cauchy")},
        parameters=[
            Parameter("mu", 0.0, doc="the mean of the distribution"),
            Parameter("sigma", 1.0, doc="its scale; relu as it goes to 0"),
        ],
        constraints=[sigma > 0],
        torch="gelu",
        signature=("approximate",),
        module="GELU",
        aliases=("gelu_python", "gaussian_error_linear_unit"),
        reference=HENDRYCKS_2016,
        use="The default of BERT- and GPT-like transformers: a smooth relu with a small dip; where speed or "
        "exact zeros matter, relu or relu2 are cheaper.",
        note="The tanh form is an approximation to it, and so is the sigmoid form (quick_gelu), which is "
        "not silu. Its range starts at -0.17, not at 0. The Cauchy form tends to -1 / pi on the left.",
        claims=Claims(smooth=True, monotone=False),
    ),
    Definition(
        "gelu_tanh",
        x * _normal_cdf_tanh(x),
        module="GELUTanh",
        elsewhere=(
            "NewGELUActivation",
            "FastGELUActivation",
            "AccurateGELUActivation",
            "PytorchGELUTanh",
            "BloomGelu",
        ),
        aliases=(
            "gelu_new",
            "gelu_fast",
            "gelu_accurate",
            "gelu_pytorch_tanh",
            "gelu_python_tanh",
            "gelu_approx",
        ),
        reference=HENDRYCKS_2016,
        use="To match models trained with it (GPT-2, Gemma, PaLM, everything from jax's default gelu); it is "
        "within 0.0005 of gelu.",
    ),
    Definition(
        "quick_gelu",
        x * _normal_cdf_sigmoid(x),
        module="QuickGELU",
        aliases=("gelu_sigmoid", "gelu_fast_approx"),
        reference=HENDRYCKS_2016,
        use="To match models trained with it, such as CLIP; it is within 0.021 of gelu and cheaper.",
        note="It is swish with beta = 1.702, and neither gelu nor silu.",
    ),
    Definition(
        "gelu_10",
        where(x > 10, 10, _gelu),
        kinks={10: LEFT},
        module="ClippedGELU",
        aliases=("clipped_gelu",),
        reference=Reference(
            "Integer quantization for deep learning inference: principles and empirical evaluation",
            "Hao Wu, Patrick Judd, Xiaojie Zhang, Mikhail Isaev, Paulius Micikevicius",
            2020,
            arxiv="2004.09602",
        ),
        use="For BERT-like models that will run in 8 bits: gelu kept below 10, so that one scale fits its "
        "negative values too.",
        note="gelu clipped to [-10, 10]. It never gets near -10, and passes 10 within 1e-22 of x = 10, "
        "where it is cut here.",
    ),
    Definition(
        "silu",
        x * sigmoid(x),
        torch="silu",
        inplace=True,
        module="SiLU",
        elsewhere=("Swish",),
        aliases=("swish1", "swish_1", "sigmoid_linear_unit", "sil"),
        reference=ELFWING_2017,
        use="The default of many vision networks and, inside SwiGLU, of language models; smooth, cheap, not "
        "sparse.",
        note="keras, jax, timm and transformers call it swish, too; here swish has the learned beta.",
        claims=Claims(minimum=-0.28, minimum_at=-1.28, smooth=True, monotone=False),
    ),
    Definition(
        "swish",
        x * sigmoid(beta * x),
        parameters=[BETA],
        aliases=("swish_beta",),
        reference=RAMACHANDRAN_2017,
        use="silu with a learned sharpness; the gain over silu is small, so start with silu.",
        note="beta -> 0 gives x / 2 and beta -> infinity relu. With beta = 1 it is silu, which many "
        "libraries mean by swish.",
        claims=Claims(limits=(0, INF), smooth=True, monotone=False),
    ),
    Definition(
        "e_swish",
        beta * x * sigmoid(x),
        parameters=[Parameter("beta", 1.25, doc="the scale, from 1 to 2 in the paper")],
        module="ESwish",
        aliases=("eswish",),
        reference=Reference(
            "E-swish: adjusting activations to different network depths",
            "Eric Alcaide",
            2018,
            arxiv="1801.07145",
        ),
        use="silu with a larger slope, which moves a network's gain; a fitting initialisation does the same.",
        note="The paper tries several beta between 1 and 2; the default here is one of its recommended range.",
    ),
    Definition(
        "dsilu",
        sigmoid(x) * (1 + x * sigmoid(-x)),
        module="DSiLU",
        reference=ELFWING_2017,
        use="The derivative of silu as an activation, a sigmoid with overshoot, for small reinforcement "
        "learning networks; elsewhere it is a curiosity.",
        claims=Claims(minimum=-0.1, maximum=1.1, smooth=True, monotone=False),
    ),
    Definition(
        "hardswish",
        where(x <= -3, 0, where(x >= 3, x, x * (x + 3) / 6)),
        kinks={-3: LEFT, 3: RIGHT},
        torch="hardswish",
        inplace=True,
        aliases=("hard_swish", "hard_silu", "hswish"),
        reference=HOWARD_2019,
        use="In place of silu on phones and in 8 bits; it has two kinks and is exactly 0 below -3.",
    ),
    Definition(
        "hard_mish",
        where(x <= -2, 0, where(x >= 0, x, x * (x + 2) / 2)),
        kinks={-2: LEFT},
        reference=Reference(
            "H-Mish",
            "Diganta Misra",
            2020,
            url="https://github.com/digantamisra98/H-Mish",
        ),
        use="In place of mish on small devices; exactly x above 0 and 0 below -2.",
    ),
    Definition(
        "mish",
        x * tanh(softplus(x)),
        torch="mish",
        inplace=True,
        reference=Reference(
            "Mish: a self regularized non-monotonic activation function",
            "Diganta Misra",
            2019,
            arxiv="1908.08681",
        ),
        use="In place of silu in vision networks, as in YOLOv4; a little dearer, and the difference is often "
        "within the noise.",
        claims=Claims(minimum=-0.31, limits=(0, INF), smooth=True, monotone=False),
    ),
    Definition(
        "lisht",
        x * tanh(x),
        module="LiSHT",
        reference=Reference(
            "LiSHT: non-parametric linearly scaled hyperbolic tangent activation function for neural "
            "networks",
            "Swalpa Kumar Roy, Suvojit Manna, Shiv Ram Dubey, Bidyut Baran Chaudhuri",
            2019,
            arxiv="1901.05894",
        ),
        use="Where the sign of a feature carries no meaning: a smooth |x|; it cannot tell an input from its "
        "negative.",
        claims=Claims(even=True, smooth=True),
    ),
    Definition(
        "tanhexp",
        x * tanh(exp(x)),
        module="TanhExp",
        aliases=("telu",),
        reference=Reference(
            "TanhExp: a smooth activation function with high convergence speed for lightweight neural "
            "networks",
            "Xinyu Liu, Xiaoguang Di",
            2020,
            arxiv="2003.09855",
        ),
        use="In place of mish in small vision networks; closer to the identity above 0 and as cheap.",
        note="TeLU (2024) is the same function.",
        claims=Claims(limits=(0, INF), smooth=True, monotone=False),
    ),
    Definition(
        "serf",
        x * erf(softplus(x)),
        reference=Reference(
            "SERF: towards better training of deep neural networks using log-Softplus ERror activation "
            "Function",
            "Sayan Nag, Mayukh Bhattacharyya",
            2021,
            arxiv="2108.09598",
        ),
        use="In place of mish, which it resembles; erf for tanh, at about the same price.",
        claims=Claims(limits=(0, INF), smooth=True, monotone=False),
    ),
    Definition(
        "pserf",
        x * erf(gamma * softplus(delta * x)),
        parameters=[
            Parameter("gamma", 1.25, learnable=True, doc="the gate's scale"),
            Parameter("delta", 0.85, learnable=True, doc="the gate's sharpness"),
        ],
        reference=BISWAS_2021,
        use="serf with two learned numbers; the gain over fixed functions is small outside its authors' "
        "networks.",
        claims=Claims(smooth=True, monotone=False),
    ),
    Definition(
        "erfact",
        x * erf(alpha * exp(beta * x)),
        parameters=[
            Parameter("alpha", 0.75, learnable=True, doc="the gate's scale"),
            Parameter("beta", 0.75, learnable=True, doc="the gate's sharpness"),
        ],
        module="ErfAct",
        reference=BISWAS_2021,
        use="tanhexp with erf for tanh and two learned numbers; the gain over fixed functions is small "
        "outside its authors' networks.",
        claims=Claims(smooth=True, monotone=False),
    ),
    Definition(
        "phish",
        x * tanh(_gelu),
        reference=Reference(
            "Phish: a novel hyper-optimizable activation function",
            "Philip Naveen",
            2022,
            doi="10.36227/techrxiv.17283824",
        ),
        use="A gate that closes near 0: small inputs of both signs give positive outputs of second order; "
        "little tested.",
    ),
    Definition(
        "logish",
        x * log1p(sigmoid(x)),
        reference=Reference(
            "Logish: a new nonlinear nonmonotonic activation function for convolutional neural network",
            "Hegui Zhu, Huimin Zeng, Jinhai Liu, Xiangde Zhang",
            2021,
            doi="10.1016/j.neucom.2021.06.067",
        ),
        use="silu with a logarithm around its gate, for vision networks; its slope on the right is log 2, so "
        "deep networks need a larger initialisation.",
        claims=Claims(smooth=True, monotone=False),
    ),
    Definition(
        "smish",
        x * tanh(log1p(sigmoid(x))),
        reference=Reference(
            "Smish: a novel activation function for deep learning methods",
            "Xueliang Wang, Honge Ren, Achuan Wang",
            2022,
            doi="10.3390/electronics11040540",
        ),
        use="logish with a tanh around its gate; its slope on the right is 0.6, so deep networks need a "
        "larger initialisation.",
        claims=Claims(minimum=-0.25, smooth=True, monotone=False),
    ),
    Definition(
        "gish",
        x * log1p(-expm1(-exp(x))),  # log(2 - exp(-exp(x)))
        reference=Reference(
            "Gish: a novel activation function for image classification",
            "Mustafa Kaytan, İbrahim Berkan Aydilek, Celaleddin Yeroğlu",
            2023,
            doi="10.1007/s00521-023-09035-5",
        ),
        use="A relative of logish with a sharper gate, for vision networks; its slope on the right is log 2.",
    ),
    Definition(
        "golu",
        x * exp(-exp(-x)),
        module="GoLU",
        reference=Reference(
            "Gompertz linear units: leveraging asymmetry for enhanced learning dynamics",
            "Indrashis Das, Mahmoud Safari, Steven Adriaensen, Frank Hutter",
            2025,
            arxiv="2502.03654",
        ),
        use="In place of gelu or silu, with a gate that is steeper on the left; new, and tested mostly by its "
        "authors.",
    ),
    Definition(
        "elish",
        where(x > 0, x, expm1(x)) * sigmoid(x),
        module="ELiSH",
        reference=BASIRAT_2018,
        use="A blend of silu (right) and elu (left) found by genetic search; silu and mish are better tested.",
    ),
    Definition(
        "hard_elish",
        where(x >= 1, x, where(x > 0, x, expm1(x)) * ((clamp(x, -1, 1) + 1) / 2)),
        kinks={-1: LEFT, 1: RIGHT},
        module="HardELiSH",
        reference=BASIRAT_2018,
        use="elish with a piecewise linear gate: exactly 0 below -1; hardswish is the usual choice of this "
        "kind.",
    ),
    Definition(
        "colu",
        # x / (1 - x exp(-(x + exp(x)))), on the left with numerator and denominator times exp(x + exp(x))
        where(x > 0, x / (1 - x * exp(-(x + exp(x)))), x * _colu_grown / (_colu_grown - x)),
        module="CoLU",
        reference=Reference(
            "Deeper learning with CoLU activation", "Advait Vagerwal", 2021, arxiv="2112.12078"
        ),
        use="A relative of mish and tanhexp for deeper convolutional networks; tested by its author only.",
        claims=Claims(smooth=True, monotone=False),
    ),
    Definition(
        "aria2",
        x * exp(-alpha * softplus(-(beta * x))),  # x sigmoid(beta x)^alpha
        parameters=[
            Parameter("alpha", 1.5, doc="the power of the gate"),
            Parameter("beta", 2.0, doc="the gate's sharpness"),
        ],
        module="ARiA2",
        reference=Reference(
            "ARiA: utilizing Richard's curve for controlling the non-monotonicity of the activation "
            "function in deep neural nets",
            "Narendra Patwardhan, Madhura Ingalhalikar, Rahee Walambe",
            2018,
            arxiv="1805.08878",
        ),
        use="swish with a second number for how the gate opens; both are set by hand, and silu is the usual "
        "choice.",
    ),
    Definition(
        "smu",
        alpha * x + (1 - alpha) * x * normal_cdf(sqrt(number(2)) * mu * (1 - alpha) * x),
        parameters=[
            Parameter("alpha", 0.25, doc="the slope far on the left"),
            Parameter("mu", 1.0, learnable=True, doc="how sharp the knee is"),
        ],
        module="SMU",
        reference=Reference(
            "SMU: smooth activation function for deep networks using smoothing maximum technique",
            "Koushik Biswas, Sandeep Kumar, Shilpak Banerjee, Ashish Kumar Pandey",
            2021,
            arxiv="2111.04682",
        ),
        use="A smooth leaky_relu whose knee is learned, for vision networks; with alpha = 0 and "
        "mu = 1 / sqrt(2) it is gelu.",
        note="The paper writes ((1 + a) x + (1 - a) x erf(mu (1 - a) x)) / 2. It starts mu so large that "
        "training begins with leaky_relu; 1 shows the shape.",
        claims=Claims(smooth=True),
    ),
    Definition(
        "acon_a",
        x * sigmoid(beta * x),
        parameters=[BETA],
        module="AconA",
        reference=MA_2020,
        use="The smooth maximum of x and 0 of the ACON family, which is swish; use swish or silu by name.",
        note="The same function as swish.",
    ),
    Definition(
        "acon_b",
        _acon(number(1), p),
        parameters=[
            Parameter("p", 0.25, learnable=True, doc="the slope far on the left"),
            BETA,
        ],
        module="AconB",
        reference=MA_2020,
        use="A smooth prelu: the smooth maximum of x and p x; acon_c contains it.",
    ),
    Definition(
        "acon_c",
        _acon(p1, p2),
        parameters=[
            Parameter("p1", 1.0, learnable=True, doc="the slope far on the right"),
            Parameter("p2", 0.0, learnable=True, doc="the slope far on the left"),
            BETA,
        ],
        module="AconC",
        aliases=("acon",),
        reference=MA_2020,
        use="For vision networks that may learn, per channel, both slopes and whether to be nonlinear at "
        "all; three more parameters a channel.",
        note="beta = 0 makes it linear. The paper's code draws p1 and p2 from N(0, 1); here they start "
        "as silu.",
    ),
    Definition(
        "meta_acon",
        _acon(p1, p2),
        parameters=[
            Parameter("p1", 1.0, learnable=True, doc="the slope far on the right"),
            Parameter("p2", 0.0, learnable=True, doc="the slope far on the left"),
            Parameter(
                "beta",
                example=0.5,
                computed=True,
                doc="the switch, computed from the input by a small network",
            ),
        ],
        module="MetaAconC",
        aliases=("meta_acon_c",),
        reference=MA_2020,
        use="acon_c whose switch depends on the image: the module computes beta from the channel means; for "
        "vision networks that can pay for the extra layers.",
        note="The same expression as acon_c; what differs is where beta comes from.",
    ),
)

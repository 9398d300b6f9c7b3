"""Functions that pull their input towards 0, from sparse coding and denoising."""

from __future__ import annotations

from softknee.catalogue.definition import Claims, Definition, Parameter, Reference, x
from softknee.lang import absolute, symbol, tanh, where

FAMILY = "shrinkage"

lambd = symbol("lambd")

DEFINITIONS = (
    Definition(
        "hardshrink",
        where(absolute(x) <= lambd, 0, x),
        parameters=[Parameter("lambd", 0.5, doc="inputs of this size or less become 0")],
        kinks={-lambd: 0, lambd: 0},
        torch="hardshrink",
        aliases=("hard_shrink", "hard_thresholding"),
        reference=Reference(
            "Ideal spatial adaptation by wavelet shrinkage",
            "David L. Donoho, Iain M. Johnstone",
            1994,
            doi="10.1093/biomet/81.3.425",
        ),
        use="For sparse codes that keep the size of what survives; it jumps at +-lambd, so softshrink trains "
        "better.",
    ),
    Definition(
        "softshrink",
        where(absolute(x) <= lambd, 0, where(x > 0, x - lambd, x + lambd)),
        parameters=[Parameter("lambd", 0.5, doc="how far the input is moved towards 0")],
        constraints=[lambd >= 0],
        kinks={-lambd: 0, lambd: 0},
        torch="softshrink",
        aliases=("soft_shrink", "soft_thresholding"),
        reference=Reference(
            "De-noising by soft-thresholding", "David L. Donoho", 1995, doi="10.1109/18.382009"
        ),
        use="For sparse coding and unrolled ISTA: it is the proximal map of the L1 norm; large inputs lose "
        "lambd, so hidden layers shrink.",
        claims=Claims(odd=True, monotone=True),
    ),
    Definition(
        "tanhshrink",
        x - tanh(x),
        torch="tanhshrink",
        aliases=("tanh_shrink",),
        reference=Reference(
            "torch.nn.Tanhshrink",
            "The PyTorch contributors",
            2017,
            url="https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanhshrink.html",
        ),
        use="A smooth shrinkage for sparse codes; near 0 it is x^3 / 3, so small signals and their gradients "
        "all but vanish.",
    ),
)

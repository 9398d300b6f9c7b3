"""The names of `softknee.functional` and `softknee.nn` that no definition of the catalogue makes, and
the module of this package that has each. They come before torch's."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["FUNCTIONS", "MODULES", "function", "module"]

FUNCTIONS: dict[str, str] = {
    **dict.fromkeys(
        ("bilinear", "clamped_swiglu", "gated_unit", "geglu", "glu", "gtu", "reglu", "siglu", "swiglu"),
        "gates",
    ),
    **dict.fromkeys(("binarize", "straight_through"), "straight"),
    **dict.fromkeys(
        (
            "entmax",
            "entmax15",
            "gumbel_softmax",
            "log_softmax",
            "softmax",
            "softmax1",
            "softmax2d",
            "softmin",
            "sparsemax",
        ),
        "normalisers",
    ),
    "maxout": "maxout",
}
MODULES: dict[str, str] = {
    **dict.fromkeys(
        (
            "BilinearGLU", "ClampedSwiGLU", "GEGLU", "GLU", "GTU", "GatedMLP", "GatedUnit", "ReGLU", "SiGLU",
            "SwiGLU",
        ),
        "gates",
    ),
    "MultiheadAttention": "multihead",
    **dict.fromkeys(("GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"), "recurrent"),
    **dict.fromkeys(("BinaryLinear", "StraightThrough"), "straight"),
    **dict.fromkeys(("ActivityRegularizer", "WeightRegularizer"), "regularise"),
    **dict.fromkeys(
        (
            "Entmax", "Entmax15", "GumbelSoftmax", "LogSoftmax", "Softmax", "Softmax1", "Softmax2d", "Softmin",
            "Sparsemax",
        ),
        "normalisers",
    ),
    "Maxout": "maxout",
}  # fmt: skip


def function(name: str) -> Any:
    """The function of this name, None if there is none."""
    return _found(FUNCTIONS, name)


def module(name: str) -> Any:
    """The module class of this name, None if there is none."""
    return _found(MODULES, name)


def _found(table: dict[str, str], name: str) -> Any:
    home = table.get(name)
    return None if home is None else getattr(import_module(f"softknee.nn.{home}"), name)

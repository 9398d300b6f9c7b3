"""What other libraries call these functions: their name -> the function here, with what they set differently."""

from __future__ import annotations

__all__ = ["ELSEWHERE", "called_elsewhere"]

_SAME = ("celu", "elu", "gelu", "mish", "relu", "relu6", "selu", "sigmoid", "softplus", "tanh")


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


ELSEWHERE: dict[str, dict[str, str]] = {
    "transformers.activations.ACT2FN": {
        **_same("gelu", "gelu_10", "laplace", "leaky_relu", "mish", "quick_gelu", "relu", "relu2", "relu6"),
        **_same("sigmoid", "silu", "tanh", "xielu", "prelu"),
        "gelu_python": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
        "gelu_accurate": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "gelu_python_tanh": "gelu_tanh",
        "linear": "identity",
        "sqrtsoftplus": "sqrt_softplus",
        "swish": "silu",
    },
    "timm.layers.create_act_layer": {
        **_same("celu", "elu", "gelu", "gelu_tanh", "hard_mish", "identity", "leaky_relu", "mish"),
        **_same("quick_gelu", "relu", "relu6", "selu", "sigmoid", "silu", "tanh"),
        "hard_sigmoid": "hardsigmoid",
        "hard_swish": "hardswish",
        "prelu": "prelu",
        "swish": "silu",
    },
    "keras.activations": {
        **_same(*_SAME, "exponential", "silu", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus"),
        "threshold": "threshold",
        "hard_shrink": "hardshrink",
        "hard_sigmoid": "hardsigmoid",
        "hard_silu": "hardswish",
        "hard_swish": "hardswish",
        "hard_tanh": "hardtanh",
        "leaky_relu": "leaky_relu(negative_slope=0.2)",
        "linear": "identity",
        "log_sigmoid": "logsigmoid",
        "soft_shrink": "softshrink",
        "swish": "silu",
        "tanh_shrink": "tanhshrink",
    },
    "jax.nn": {
        **{name: name for name in _SAME if name != "gelu"},
        **_same("identity", "leaky_relu", "silu", "sparse_plus", "sparse_sigmoid", "squareplus"),
        "gelu": "gelu(approximate=tanh)",
        "gelu(approximate=False)": "gelu",
        "hard_sigmoid": "hardsigmoid",
        "hard_silu": "hardswish",
        "hard_swish": "hardswish",
        "hard_tanh": "hardtanh",
        "log_sigmoid": "logsigmoid",
        "soft_sign": "softsign",
        "swish": "silu",
    },
    "mlx.nn": {
        **_same(*_SAME, "hardswish", "leaky_relu", "prelu", "relu2", "silu", "softshrink", "softsign"),
        "gelu_approx": "gelu(approximate=tanh)",
        "gelu_fast_approx": "quick_gelu",
        "hard_shrink": "hardshrink",
        "hard_tanh": "hardtanh",
        "log_sigmoid": "logsigmoid",
        "step": "binary_step",
    },
}


def called_elsewhere(name: str) -> dict[str, list[tuple[str, str]]]:
    """library -> (their name, what it is here): of the function of this name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for library, names in ELSEWHERE.items():
        mine = [(theirs, ours) for theirs, ours in names.items() if ours.partition("(")[0] == name]
        if mine:
            found[library] = mine
    return found

"""Tracing: torch, numpy and math functions applied to a node extend the expression."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from softknee.lang import nodes as n
from softknee.lang.nodes import Node

__all__ = ["TraceError", "extend", "method", "trace"]


class TraceError(TypeError):
    """A function used something the expression language does not have."""


def _clip(a: Any, low: Any = None, high: Any = None, **names: Any) -> Node:
    """clamp under all of its spellings: (a, min, max), (a, a_min, a_max), min=, max=, low=, high="""
    low = next((names[k] for k in ("min", "a_min", "min_val") if k in names), low)
    high = next((names[k] for k in ("max", "a_max", "max_val") if k in names), high)
    return n.clamp(a, low, high)


def _plain(function: Callable[..., Node]) -> Callable[..., Node]:
    """A function whose torch spelling may carry arguments that do not matter here."""
    return lambda *args, inplace=False, **kw: function(*args, **kw)


def _gelu(a: Any, approximate: str = "none") -> Node:
    a = n.as_node(a)
    if approximate == "tanh":
        inner = n.sqrt(2 / n.pi) * (a + n.number("0.044715") * a * a * a)
        return a * n.sigmoid(2 * inner)
    return a * n.normal_cdf(a)


def _leaky(a: Any, slope: Any = 0.01, *, negative_slope: Any = None) -> Node:
    a = n.as_node(a)
    return n.where(a > 0, a, (slope if negative_slope is None else negative_slope) * a)


def _elu(a: Any, alpha: Any = 1.0) -> Node:
    a = n.as_node(a)
    return n.where(a > 0, a, alpha * n.expm1(a))


def _softplus(a: Any, beta: Any = 1, threshold: Any = 20) -> Node:
    return n.softplus(beta * n.as_node(a)) / beta


def _mish(a: Any) -> Node:
    return n.as_node(a) * n.tanh(n.softplus(a))


#: the language's meaning of every function name that torch, numpy and math share
MEANING: dict[str, Callable[..., Node]] = {
    "add": lambda a, b: n.as_node(a) + b, "sub": lambda a, b: n.as_node(a) - b,
    "subtract": lambda a, b: n.as_node(a) - b, "mul": lambda a, b: n.as_node(a) * b,
    "multiply": lambda a, b: n.as_node(a) * b, "div": lambda a, b: n.as_node(a) / b,
    "divide": lambda a, b: n.as_node(a) / b, "true_divide": lambda a, b: n.as_node(a) / b,
    "neg": lambda a: -n.as_node(a), "negative": lambda a: -n.as_node(a), "positive": n.as_node,
    "reciprocal": lambda a: 1 / n.as_node(a), "rsqrt": lambda a: 1 / n.sqrt(a),
    "square": n.square, "pow": n.power, "power": n.power, "float_power": n.power, "sqrt": n.sqrt,
    "exp": n.exp, "exp2": lambda a: n.exp(n.log(n.number(2)) * n.as_node(a)), "expm1": n.expm1,
    "log": lambda a, base=None: n.log(a) if base is None else n.log(a) / n.log(n.as_node(base)),
    "log1p": n.log1p, "log2": lambda a: n.log(a) / n.log(n.number(2)),
    "log10": lambda a: n.log(a) / n.log(n.number(10)), "tanh": n.tanh, "sinh": n.sinh, "cosh": n.cosh,
    "sigmoid": n.sigmoid, "expit": n.sigmoid, "softplus": _softplus, "logsigmoid": n.log_sigmoid,
    "log_sigmoid": n.log_sigmoid, "logaddexp": lambda a, b: b + n.softplus(n.as_node(a) - b),
    "erf": n.erf, "erfc": n.erfc, "ndtr": n.normal_cdf, "special_ndtr": n.normal_cdf,
    "special_erf": n.erf, "special_erfc": n.erfc, "special_expit": n.sigmoid, "special_expm1": n.expm1,
    "special_log1p": n.log1p, "sin": n.sin, "cos": n.cos,
    "tan": lambda a: n.sin(a) / n.cos(a), "atan": n.atan, "arctan": n.atan, "asinh": n.asinh,
    "arcsinh": n.asinh, "abs": n.absolute, "absolute": n.absolute, "fabs": n.absolute,
    "sign": n.sign, "sgn": n.sign, "minimum": n.minimum, "maximum": n.maximum, "fmin": n.minimum,
    "fmax": n.maximum, "clamp": _clip, "clip": _clip, "clamp_min": lambda a, min: n.maximum(a, min),
    "clamp_max": lambda a, max: n.minimum(a, max), "where": n.where, "detach": n.detach,
    "lt": lambda a, b: n.as_node(a) < b, "less": lambda a, b: n.as_node(a) < b,
    "le": lambda a, b: n.as_node(a) <= b, "less_equal": lambda a, b: n.as_node(a) <= b,
    "gt": lambda a, b: n.as_node(a) > b, "greater": lambda a, b: n.as_node(a) > b,
    "ge": lambda a, b: n.as_node(a) >= b, "greater_equal": lambda a, b: n.as_node(a) >= b,
    "eq": lambda a, b: n.as_node(a) == b, "equal": lambda a, b: n.as_node(a) == b,
    "ne": lambda a, b: n.as_node(a) != b, "not_equal": lambda a, b: n.as_node(a) != b,
    "logical_and": n.logical_and, "logical_or": n.logical_or, "logical_not": n.logical_not,
    "bitwise_and": n.logical_and, "bitwise_or": n.logical_or, "bitwise_not": n.logical_not,
    "relu": n.relu, "relu6": lambda a: n.clamp(a, 0, 6), "silu": n.silu, "gelu": _gelu, "mish": _mish,
    "elu": _elu, "leaky_relu": _leaky, "hardtanh": lambda a, low=-1.0, high=1.0, **k: _clip(a, low, high, **k),
    "softsign": lambda a: n.as_node(a) / (1 + n.absolute(a)),
    "hardsigmoid": lambda a: n.clamp(n.as_node(a) + 3, 0, 6) / 6,
    "hardswish": lambda a: n.as_node(a) * (n.clamp(n.as_node(a) + 3, 0, 6) / 6),
    "heaviside": lambda a, b: n.where(n.as_node(a) > 0, 1, n.where(n.as_node(a) < 0, 0, b)),
}  # fmt: skip

_REFLECTED = {"rsub": "sub", "rdiv": "div", "__rsub__": "sub", "__rdiv__": "div", "__rpow__": "pow",
              "__rtruediv__": "div"}  # fmt: skip


@cache
def _known(name: str) -> Callable[..., Node] | None:
    name = name.rstrip("_") if not name.startswith("__") else name.strip("_")
    return MEANING.get(name)


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", None) or function)


def extend(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Node:
    """The node that a torch or numpy function applied to nodes and numbers stands for."""
    name = _name_of(function)
    if name in _REFLECTED:
        args, name = args[::-1], _REFLECTED[name]
    meaning = _known(name)
    if meaning is None:
        raise TraceError(
            f"{name}() is not in the expression language, so a function that uses it cannot be traced; "
            f"write it with: {', '.join(sorted(set(n.OPS) - {'number', 'symbol', 'constant'}))}"
        )
    kept = {
        k: v for k, v in kwargs.items() if v is not None and k not in ("inplace", "out", "input", "other")
    }
    args = (*args, *(kwargs[k] for k in ("input", "other") if k in kwargs))
    return meaning(*map(_plain_number, args), **{k: _plain_number(v) for k, v in kept.items()})


def _plain_number(value: Any) -> Any:
    """A one-element tensor or array as the number it holds."""
    if not isinstance(value, (Node, bool, int, float, str)) and hasattr(value, "item"):
        return value.item()
    return value


def method(node: Node, name: str) -> Callable[..., Node]:
    """node.sigmoid(), node.clamp(min=0): tensor methods that mean an operation of the language."""
    meaning = _known(name)
    if meaning is None:
        raise AttributeError(f"expressions have no method {name!r}")
    return lambda *args, **kwargs: extend(_Named(name), (node, *args), kwargs)


class _Named:
    def __init__(self, name: str) -> None:
        self.__name__ = name


#: math's functions ask for float(x), which an expression cannot give: they are replaced while tracing
_MATH = ("exp", "expm1", "log", "log1p", "tanh", "sinh", "cosh", "sqrt", "sin", "cos", "tan", "atan",
         "asinh", "erf", "erfc", "fabs", "pow")  # fmt: skip


_tracing = threading.RLock()


def trace(function: Callable[..., Any], symbols: Sequence[str]) -> Node:
    """The expression a function computes, found by calling it with symbols.

    The function may use operators, and torch, numpy, math or softknee functions.
    """
    saved: dict[str, Any] = {}

    def replaced(name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if any(isinstance(a, Node) for a in args):
                return extend(_Named(name), args, {})
            return saved[name](*args)

        return call

    with _tracing:  # one at a time: the replaced functions are everybody's
        saved = {name: getattr(math, name) for name in _MATH}
        try:
            for name in _MATH:
                setattr(math, name, replaced(name))
            result = function(*map(n.symbol, symbols))
        finally:
            for name, original in saved.items():
                setattr(math, name, original)
    return n.as_node(result)

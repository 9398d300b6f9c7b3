"""Evaluation in Python floats, numpy, mpmath and torch: one spelling table each.

An expression is compiled once to a Python function with one line a node (shared nodes once), so
that evaluating it costs what its operations cost and torch tracers see plain operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from softknee.lang.nodes import Node, walk

__all__ = ["BACKENDS", "compiled", "evaluate", "evaluate_mp"]

Backend = Literal["float", "numpy", "mpmath", "torch"]


def _numpy_table() -> dict[str, Any]:
    import numpy as np
    from scipy import special

    return {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
        "pow": np.power, "sqrt": np.sqrt, "exp": np.exp, "expm1": np.expm1, "log": np.log,
        "log1p": np.log1p, "tanh": np.tanh, "sigmoid": special.expit,
        "softplus": lambda a: np.logaddexp(a, 0), "erf": special.erf, "normal_cdf": special.ndtr,
        "normal_pdf": lambda a: np.exp(-0.5 * np.square(a)) / math.sqrt(2 * math.pi),
        "sin": np.sin, "cos": np.cos, "atan": np.arctan, "asinh": np.arcsinh, "abs": np.abs,
        "sign": np.sign, "minimum": np.minimum, "maximum": np.maximum, "where": np.where,
        "detach": lambda a: a, "lt": np.less, "le": np.less_equal, "gt": np.greater,
        "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "and": np.logical_and,
        "or": np.logical_or, "not": np.logical_not, "number": np.float64, "constant": lambda _: np.pi,
    }  # fmt: skip


def _ieee(function: Callable[..., float], overflow: float = math.inf) -> Callable[..., float]:
    """A function of math with IEEE's results where Python raises."""

    def call(*args: float) -> float:
        try:
            return function(*args)
        except OverflowError:
            return overflow
        except ValueError:
            return math.nan

    return call


def _float_table() -> dict[str, Any]:
    """Python floats with IEEE semantics and nothing to import; scalars only."""
    nan, inf = math.nan, math.inf

    def divide(a: float, b: float) -> float:
        if b == 0:
            return nan if a == 0 or a != a else math.copysign(inf, a) * math.copysign(1, b)
        return a / b

    def power(a: float, b: float) -> float:
        if a == 0 and b < 0:
            return inf
        return _ieee(math.pow)(a, b)

    exp = _ieee(math.exp)

    def sigmoid(a: float) -> float:
        return 1 / (1 + exp(-a)) if a >= 0 else exp(a) / (1 + exp(a)) if a == a else a

    def log(a: float) -> float:
        return -inf if a == 0 else _ieee(math.log)(a)

    def either_nan(choose: Callable[[float, float], float]) -> Callable[[float, float], float]:
        return lambda a, b: nan if a != a or b != b else choose(a, b)

    def rounded(value: Any) -> float:
        return float(value)

    return {
        "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": divide,
        "neg": lambda a: -a, "pow": power, "sqrt": _ieee(math.sqrt), "exp": exp,
        "expm1": _ieee(math.expm1), "log": log,
        "log1p": lambda a: -inf if a == -1 else _ieee(math.log1p)(a), "tanh": math.tanh,
        "sigmoid": sigmoid, "softplus": lambda a: (a if a > 0 else a * 0 if a != a else 0.0)
        + math.log1p(exp(-abs(a))), "erf": math.erf,
        "normal_cdf": lambda a: 0.5 * math.erfc(-a / math.sqrt(2)),
        "normal_pdf": lambda a: exp(-0.5 * a * a) / math.sqrt(2 * math.pi), "sin": _ieee(math.sin),
        "cos": _ieee(math.cos), "atan": math.atan, "asinh": math.asinh, "abs": abs,
        "sign": lambda a: a if a != a else float((a > 0) - (a < 0)), "minimum": either_nan(min),
        "maximum": either_nan(max), "where": lambda c, a, b: a if c else b, "detach": lambda a: a,
        "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
        "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a,
        "number": rounded, "constant": lambda _: math.pi,
    }  # fmt: skip


def _mpmath_table() -> dict[str, Any]:
    import mpmath as mp

    def sigmoid(a: Any) -> Any:
        return 1 / (1 + exp(-a)) if a >= 0 else exp(a) / (1 + exp(a))

    edge = mp.mpf(10) ** 6

    def exp(a: Any) -> Any:
        # e^(10^6) stands for all that is larger: no power of two of any type is near it
        return mp.exp(a if a < edge else edge) if a > -edge else mp.mpf(0)

    def erfc(a: Any) -> Any:
        return mp.erfc(a) if abs(a) < edge else mp.mpf(0 if a > 0 else 2)

    def real(function: Any, lowest: Any) -> Any:
        """NaN outside the domain, where mpmath goes on with complex numbers."""
        return lambda a: function(a) if a > lowest else mp.ninf if a == lowest else mp.nan

    def log1p(a: Any) -> Any:
        # below the working precision 1 + a is 1: the series' first terms are exact there
        if abs(a) < mp.mpf(2) ** (-mp.mp.prec):
            return a - a * a / 2
        return mp.log1p(a) if a > -1 else mp.ninf if a == -1 else mp.nan

    def divide(a: Any, b: Any) -> Any:
        return a / b if b else mp.nan if not a else mp.sign(a) * mp.inf  # in a branch that is not taken

    @lru_cache(maxsize=1024)
    def at(value: Any, precision: int) -> Any:
        return mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else mp.mpf(value)

    def literal(value: Any) -> Any:
        return at(value, mp.mp.prec)

    def power(a: Any, b: Any) -> Any:
        if a == 0 and b < 0:
            return mp.inf
        return mp.power(a, int(b)) if b == int(b) else mp.power(a, b)

    return {
        "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
        "div": divide, "neg": lambda a: -a, "pow": power,
        "sqrt": lambda a: mp.sqrt(a) if a >= 0 else mp.nan, "exp": exp,
        "expm1": lambda a: mp.expm1(a) if abs(a) < edge else exp(a) - 1, "log": real(mp.log, 0),
        "log1p": log1p, "tanh": lambda a: mp.tanh(a) if abs(a) < edge else mp.sign(a), "sigmoid": sigmoid,
        "softplus": lambda a: (a if a > 0 else 0) + log1p(exp(-abs(a))),
        "erf": lambda a: mp.erf(a) if abs(a) < edge else mp.sign(a),
        "normal_cdf": lambda a: erfc(-a / mp.sqrt(2)) / 2,
        "normal_pdf": lambda a: exp(-a * a / 2) / mp.sqrt(2 * mp.pi), "sin": mp.sin, "cos": mp.cos,
        "atan": mp.atan, "asinh": mp.asinh, "abs": abs, "sign": mp.sign, "minimum": min, "maximum": max,
        "where": lambda c, a, b: a if c else b, "detach": lambda a: a, "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
        "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "and": lambda a, b: a and b,
        "or": lambda a, b: a or b, "not": lambda a: not a, "number": literal,
        "constant": lambda _: +mp.pi,
    }  # fmt: skip


def _torch_table() -> dict[str, Any]:
    import torch

    def extremum(clamp: str, of_two: Any) -> Callable[[Any, Any], Any]:
        def apply(a: Any, b: Any) -> Any:
            if not isinstance(b, torch.Tensor):
                return torch.clamp(a, **{clamp: b})
            if not isinstance(a, torch.Tensor):
                return torch.clamp(b, **{clamp: a})
            return of_two(a, b)

        return apply

    def softplus(a: Any) -> Any:
        return torch.clamp(a, min=0) + torch.log1p(torch.exp(-torch.abs(a)))

    return {
        "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b, "neg": lambda a: -a, "pow": lambda a, b: a**b, "sqrt": torch.sqrt,
        "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p,
        "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": softplus, "erf": torch.erf,
        "normal_cdf": lambda a: 0.5 * torch.special.erfc(a * -math.sqrt(0.5)),  # ndtr is 0 below -5.5
        "normal_pdf": lambda a: torch.exp(-0.5 * a * a) * (1 / math.sqrt(2 * math.pi)),
        "sin": torch.sin, "cos": torch.cos, "atan": torch.atan, "asinh": torch.asinh, "abs": torch.abs,
        "sign": torch.sign, "minimum": extremum("max", torch.minimum),
        "maximum": extremum("min", torch.maximum), "where": torch.where, "detach": torch.detach,
        "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
        "and": lambda a, b: a & b, "or": lambda a, b: a | b, "not": lambda a: ~a,
        "number": float, "constant": lambda _: math.pi,
    }  # fmt: skip


#: backend -> its spelling table, made on first use (each imports a library)
BACKENDS: dict[str, Callable[[], dict[str, Any]]] = {
    "float": _float_table,
    "numpy": _numpy_table,
    "mpmath": _mpmath_table,
    "torch": _torch_table,
}

#: mpmath literals are made anew on every call: their precision is the caller's
_LITERAL_EACH_CALL = {"mpmath"}


@lru_cache(maxsize=4096)
def compiled(roots: tuple[Node, ...], names: tuple[str, ...], backend: Backend) -> Callable[..., Any]:
    """A function of the named symbols, in order, that returns the tuple of the roots' values."""
    table = BACKENDS[backend]()
    fixed: set[int] = set()  # parts without symbols, which torch's functions would not take
    scope: dict[str, Any] = {"_" + op: spelled for op, spelled in table.items()}
    place: dict[int, str] = {}
    lines = []
    for index, node in enumerate(walk(*roots)):
        if node.op == "symbol":
            if node.payload not in names:
                raise KeyError(f"the expression depends on {node.payload!r}, which was not given")
            place[id(node)] = node.payload
            continue
        if backend == "torch" and node.args and all(id(a) in fixed for a in node.args):
            scope[f"k{index}"] = compiled((node,), (), "float")()[0]
            fixed.add(id(node))
            place[id(node)] = f"k{index}"
            continue
        if node.op in ("number", "constant"):
            fixed.add(id(node))
            key = f"k{index}"
            scope[key] = node.payload
            text = f"_{node.op}({key})"
            if backend not in _LITERAL_EACH_CALL:
                scope[key] = table[node.op](node.payload)
                text = key
        else:
            text = f"_{node.op}({', '.join(place[id(a)] for a in node.args)})"
        place[id(node)] = f"t{index}"
        lines.append(f"    t{index} = {text}")
    results = "".join(place[id(r)] + ", " for r in roots)
    source = "\n".join([f"def function({', '.join(names)}):", *lines, f"    return ({results})"])
    exec(compile(source, "<softknee expression>", "exec"), scope)
    return scope["function"]


def evaluate(root: Node, values: Mapping[str, Any], backend: Backend = "numpy") -> Any:
    """The value of an expression where its symbols have these values.

    Python floats in give a Python float out ("numpy" backend, IEEE semantics: overflow is inf).
    """
    function = compiled((root,), tuple(values), backend)
    if backend != "numpy":
        return function(*values.values())[0]
    import numpy as np

    with np.errstate(all="ignore"):
        result = function(*(np.float64(v) if isinstance(v, (int, float)) else v for v in values.values()))[0]
    if all(isinstance(v, (int, float)) for v in values.values()):
        return bool(result) if isinstance(result, (bool, np.bool_)) else float(result)
    return result


def evaluate_mp(root: Node, values: Mapping[str, Any], digits: int = 30) -> Any:
    """The value to `digits` significant decimal digits, by raising the precision until two agree.

    Finite arguments only. A value below 10^-5000 in size counts as 0.
    """
    import mpmath as mp

    function = compiled((root,), tuple(values), "mpmath")
    previous = None
    for work in (digits + 15, 2 * digits + 60, 4 * digits + 300, 8 * digits + 1200, 6000):
        with mp.workdps(work):
            value = function(*(_mpf(v) for v in values.values()))[0]
            if isinstance(value, bool):
                return value
            if not mp.isfinite(value) or abs(value) < mp.mpf(10) ** -5000:
                value = mp.mpf(0) if mp.isfinite(value) else value
            if previous is not None and (
                value == previous or abs(value - previous) <= abs(value) * mp.mpf(10) ** -digits
            ):
                return value
        previous = value
    return previous


def _mpf(value: Any) -> Any:
    import mpmath as mp

    if isinstance(value, Fraction):
        return mp.mpf(value.numerator) / value.denominator
    return mp.mpf(value)

"""Inert expression nodes: what an activation is made of.

A node knows its operation and its operands and nothing else; every operation on expressions is a
module of its own beside this one. Nodes are interned: equal expressions are the same object, so
sharing is free and identity is equality. `bool(node)` raises, because an expression has no truth
value; `==` builds a comparison.

torch, numpy and math functions applied to a node extend it, so a function written for tensors can
be traced by calling it with symbols.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Union

__all__ = [
    "OPS", "Node", "Number", "Op", "absolute", "as_node", "asinh", "atan", "clamp", "constant", "cos",
    "cosh", "detach", "erf", "erfc", "exp", "expm1", "log", "log1p", "log_sigmoid", "logical_and",
    "logical_not", "logical_or", "maximum", "minimum", "normal_cdf", "normal_pdf", "number", "pi",
    "power", "relu", "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "sqrt", "square",
    "substitute", "symbol", "symbols_in", "tanh", "walk", "where",
]  # fmt: skip

Number = Union[int, float, Fraction]
Operand = Union["Node", int, float, Fraction]


@dataclass(frozen=True)
class Op:
    """One operation of the language: operand kinds and result kind (R real, B truth value)."""

    operands: str
    result: str
    doc: str


#: The whole language. Every table that spells or transforms it must cover exactly these names.
OPS: dict[str, Op] = {
    "number": Op("", "R", "a literal; a Python float is its float64 value, a Fraction is exact"),
    "constant": Op("", "R", "pi"),
    "symbol": Op("", "R", "the input or a parameter"),
    "add": Op("RR", "R", "a + b"),
    "sub": Op("RR", "R", "a - b"),
    "mul": Op("RR", "R", "a b"),
    "div": Op("RR", "R", "a / b"),
    "neg": Op("R", "R", "-a"),
    "pow": Op("RR", "R", "a^b"),
    "sqrt": Op("R", "R", "square root"),
    "exp": Op("R", "R", "e^a"),
    "expm1": Op("R", "R", "e^a - 1, exact near 0"),
    "log": Op("R", "R", "natural logarithm"),
    "log1p": Op("R", "R", "log(1 + a), exact near 0"),
    "tanh": Op("R", "R", "hyperbolic tangent"),
    "sigmoid": Op("R", "R", "1 / (1 + e^-a)"),
    "softplus": Op("R", "R", "log(1 + e^a)"),
    "erf": Op("R", "R", "error function"),
    "normal_cdf": Op("R", "R", "Phi(a), the standard normal distribution function"),
    "normal_pdf": Op("R", "R", "phi(a) = e^(-a^2/2) / sqrt(2 pi)"),
    "sin": Op("R", "R", "sine"),
    "cos": Op("R", "R", "cosine"),
    "atan": Op("R", "R", "inverse tangent"),
    "asinh": Op("R", "R", "inverse hyperbolic sine"),
    "abs": Op("R", "R", "|a|"),
    "sign": Op("R", "R", "-1, 0 or 1"),
    "minimum": Op("RR", "R", "the smaller; NaN if either is NaN"),
    "maximum": Op("RR", "R", "the larger; NaN if either is NaN"),
    "where": Op("BRR", "R", "b where a holds, else c"),
    "detach": Op("R", "R", "a, but a constant to differentiation"),
    "lt": Op("RR", "B", "a < b"),
    "le": Op("RR", "B", "a <= b"),
    "gt": Op("RR", "B", "a > b"),
    "ge": Op("RR", "B", "a >= b"),
    "eq": Op("RR", "B", "a = b"),
    "ne": Op("RR", "B", "a != b"),
    "and": Op("BB", "B", "both"),
    "or": Op("BB", "B", "either"),
    "not": Op("B", "B", "not"),
}

_interned: weakref.WeakValueDictionary[tuple[object, ...], Node] = weakref.WeakValueDictionary()


class Node:
    """One operation applied to operands. Build nodes with the functions of this module."""

    __slots__ = ("__weakref__", "args", "op", "payload")
    op: str
    args: tuple[Node, ...]
    payload: Any

    #: numpy must hand `array * node` to us instead of mapping over the array
    __array_ufunc__: Any
    __array_priority__ = 1000

    def __init__(self) -> None:
        raise TypeError("build expressions with softknee.lang functions, not with Node()")

    def __repr__(self) -> str:
        from softknee.lang.text import to_text

        return to_text(self)

    def _repr_latex_(self) -> str:
        from softknee.lang.latex import to_latex

        return f"${to_latex(self)}$"

    def __bool__(self) -> bool:
        raise TypeError(
            f"the truth value of the expression {self!r} is not known while it is being built; "
            "use where(condition, a, b) instead of if, and & | ~ instead of and, or, not"
        )

    # An expression is immutable and interned: copies are the object itself.
    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Node:
        return self

    def __reduce__(self) -> tuple[Callable[..., Node], tuple[object, ...]]:
        return make, (self.op, self.args, self.payload)

    __hash__ = object.__hash__

    def __add__(self, other: Operand) -> Node:
        return _binary("add", self, other)

    def __radd__(self, other: Operand) -> Node:
        return _binary("add", other, self)

    def __sub__(self, other: Operand) -> Node:
        return _binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Node:
        return _binary("sub", other, self)

    def __mul__(self, other: Operand) -> Node:
        return _binary("mul", self, other)

    def __rmul__(self, other: Operand) -> Node:
        return _binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Node:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Operand) -> Node:
        return _binary("div", other, self)

    def __pow__(self, other: Operand) -> Node:
        return _binary("pow", self, other)

    def __rpow__(self, other: Operand) -> Node:
        return _binary("pow", other, self)

    def __neg__(self) -> Node:
        return make("neg", (self,))

    def __pos__(self) -> Node:
        return self

    def __abs__(self) -> Node:
        return make("abs", (self,))

    def __lt__(self, other: Operand) -> Node:
        return _binary("lt", self, other)

    def __le__(self, other: Operand) -> Node:
        return _binary("le", self, other)

    def __gt__(self, other: Operand) -> Node:
        return _binary("gt", self, other)

    def __ge__(self, other: Operand) -> Node:
        return _binary("ge", self, other)

    def __eq__(self, other: object) -> Node:  # type: ignore[override]
        return _binary("eq", self, other)

    def __ne__(self, other: object) -> Node:  # type: ignore[override]
        return _binary("ne", self, other)

    def __and__(self, other: Node) -> Node:
        return make("and", (self, other))

    def __or__(self, other: Node) -> Node:
        return make("or", (self, other))

    def __invert__(self) -> Node:
        return make("not", (self,))

    def __array__(self, *args: object, **kwargs: object) -> object:
        raise TypeError("an expression is not an array; numpy functions that have a counterpart "
                        "here extend it, others cannot")  # fmt: skip

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Node:
        from softknee.lang.trace import extend

        return extend(func, args, kwargs)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Node:
        from softknee.lang.trace import extend

        return extend(func, args, kwargs or {})

    # Methods as tensors have them, so that x.sigmoid() and x.clamp(min=0) trace too.
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        from softknee.lang.trace import method

        return method(self, name)


def _numpy_ufunc(self: Node, ufunc: Any, call: str, *inputs: Any, **kwargs: Any) -> Node:
    from softknee.lang.trace import extend

    if call != "__call__":
        raise TypeError(f"np.{ufunc.__name__}.{call} is not an operation on expressions")
    return extend(ufunc, inputs, kwargs)


Node.__array_ufunc__ = _numpy_ufunc


def make(op: str, args: Iterable[Node] = (), payload: Any = None) -> Node:
    """The interned node of this operation. Checks arity and kinds: the language's specification."""
    args = tuple(args)
    key = (op, tuple(map(id, args)), type(payload), _payload_key(payload))
    node = _interned.get(key)
    if node is None:
        rule = OPS[op]
        kinds = "".join(OPS[a.op].result for a in args)
        if kinds != rule.operands:
            raise TypeError(f"{op} takes operands {rule.operands!r} (R real, B truth value), got {kinds!r}")
        node = object.__new__(Node)
        node.op, node.args, node.payload = op, args, payload
        _interned[key] = node
    return node


def _payload_key(payload: Any) -> Any:
    """-0.0 and 0.0, and every NaN, are told apart from what they compare equal or unequal to."""
    return payload.hex() if isinstance(payload, float) else payload


def number(value: Number | str) -> Node:
    """A literal. Give decimals that are meant exactly as a string or Fraction: number("1.0507")."""
    if isinstance(value, str):
        value = Fraction(value)
    if isinstance(value, Fraction) and value.denominator == 1:
        value = value.numerator
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 and math.copysign(1, value) > 0:
        value = int(value)
    return make("number", (), value)


def symbol(name: str) -> Node:
    """A free variable: the input x or a parameter."""
    if not name.isidentifier():
        raise ValueError(f"a symbol's name must be a Python identifier, got {name!r}")
    return make("symbol", (), name)


def constant(name: str) -> Node:
    if name != "pi":
        raise ValueError(f"the only named constant is 'pi', got {name!r}")
    return make("constant", (), name)


pi = constant("pi")


def as_node(value: object) -> Node:
    """A node for a node or a plain number; everything else is a TypeError that says what came."""
    if isinstance(value, Node):
        return value
    if isinstance(value, (int, float, Fraction)):
        return number(value)
    if hasattr(value, "item") and getattr(value, "size", None) == 1:  # a numpy scalar
        return number(value.item())
    raise TypeError(f"expected an expression or a number, got {type(value).__name__}: {value!r:.80}")


def _binary(op: str, a: object, b: object) -> Any:
    try:
        return make(op, (as_node(a), as_node(b)))
    except TypeError:
        if isinstance(a, Node) and isinstance(b, Node):
            raise
        return NotImplemented


def _unary(op: str) -> Callable[[Operand], Node]:
    def build(a: Operand) -> Node:
        return make(op, (as_node(a),))

    build.__name__ = build.__qualname__ = op
    build.__doc__ = OPS[op].doc
    return build


sqrt, exp, expm1, log, log1p = map(_unary, ("sqrt", "exp", "expm1", "log", "log1p"))
tanh, sigmoid, softplus, erf = map(_unary, ("tanh", "sigmoid", "softplus", "erf"))
normal_cdf, normal_pdf, sin, cos = map(_unary, ("normal_cdf", "normal_pdf", "sin", "cos"))
atan, asinh, sign, detach, absolute = map(_unary, ("atan", "asinh", "sign", "detach", "abs"))


def minimum(a: Operand, b: Operand) -> Node:
    """The smaller of a and b. Where they are equal its derivative is b's."""
    return make("minimum", (as_node(a), as_node(b)))


def maximum(a: Operand, b: Operand) -> Node:
    """The larger of a and b. Where they are equal its derivative is b's: maximum(x, 0)'(0) = 0."""
    return make("maximum", (as_node(a), as_node(b)))


def where(condition: Node, a: Operand, b: Operand) -> Node:
    """a where the condition holds, else b; so is its derivative."""
    return make("where", (condition, as_node(a), as_node(b)))


def power(a: Operand, b: Operand) -> Node:
    return make("pow", (as_node(a), as_node(b)))


def logical_and(a: Node, b: Node) -> Node:
    return make("and", (a, b))


def logical_or(a: Node, b: Node) -> Node:
    return make("or", (a, b))


def logical_not(a: Node) -> Node:
    return make("not", (a,))


# What follows is not part of the language: shorthands written with it.


def relu(a: Operand) -> Node:
    return maximum(a, 0)


def square(a: Operand) -> Node:
    node = as_node(a)
    return node * node


def clamp(a: Operand, low: Operand | None = None, high: Operand | None = None) -> Node:
    """a kept within [low, high]; the derivative is 0 at both ends, as torch's hardtanh has it."""
    node = as_node(a)
    if low is not None:
        node = maximum(node, low)
    return node if high is None else minimum(node, high)


def silu(a: Operand) -> Node:
    return as_node(a) * sigmoid(a)


def log_sigmoid(a: Operand) -> Node:
    """log(1 / (1 + e^-a)) = -softplus(-a)"""
    return -softplus(-as_node(a))


def erfc(a: Operand) -> Node:
    """1 - erf(a) = 2 Phi(-sqrt(2) a), exact in the tail"""
    return 2 * normal_cdf(-(sqrt(number(2)) * as_node(a)))


def sinh(a: Operand) -> Node:
    """(e^a - e^-a) / 2, written with expm1 so that it is exact near 0"""
    node = as_node(a)
    return (expm1(node) - expm1(-node)) / 2


def cosh(a: Operand) -> Node:
    node = as_node(a)
    return (exp(node) + exp(-node)) / 2


def walk(*roots: Node) -> Iterator[Node]:
    """Every node below the roots once, operands before the nodes that use them."""
    seen: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if id(node) in seen:
            continue
        if ready or not node.args:
            seen.add(id(node))
            yield node
        else:
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))


def symbols_in(*roots: Node) -> list[str]:
    """The names of the free variables, in the order of their first appearance."""
    return [node.payload for node in walk(*roots) if node.op == "symbol"]


def rebuild(root: Node, rule: Callable[[Node], Node | None]) -> Node:
    """The expression with every node, bottom up, replaced by what the rule returns (None: kept)."""
    done: dict[int, Node] = {}
    for node in walk(root):
        args = tuple(done[id(a)] for a in node.args)
        same = all(a is b for a, b in zip(args, node.args, strict=True))
        fresh = node if same else make(node.op, args, node.payload)
        changed = rule(fresh)
        done[id(node)] = fresh if changed is None else changed
    return done[id(root)]


def substitute(root: Node, values: Mapping[str, Operand]) -> Node:
    """The expression with free variables replaced by expressions or numbers."""
    nodes = {name: as_node(value) for name, value in values.items()}
    return rebuild(root, lambda n: nodes.get(n.payload) if n.op == "symbol" else None)

"""An expression as one readable line that is also Python over the names of softknee.lang.

>>> from softknee.lang import symbol, where, expm1
>>> x, alpha = symbol("x"), symbol("alpha")
>>> to_text(where(x > 0, x, alpha * expm1(x)))
'where(x > 0, x, alpha*expm1(x))'
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from softknee.lang.nodes import Node, Number, walk

__all__ = ["SPELLING", "decimal", "to_text", "to_torch"]

# Python's precedences, as far as they matter here
_COMPARE, _OR, _AND, _SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(8)

#: infix operation -> symbol, its precedence, the least precedence its operands may have bare
_INFIX: dict[str, tuple[str, int, int, int]] = {
    "add": (" + ", _SUM, _SUM, _SUM), "sub": (" - ", _SUM, _SUM, _PRODUCT),
    "mul": ("*", _PRODUCT, _PRODUCT, _PRODUCT), "div": ("/", _PRODUCT, _PRODUCT, _UNARY),
    "pow": ("**", _POWER, _ATOM, _UNARY),
    "lt": (" < ", _COMPARE, _OR, _OR), "le": (" <= ", _COMPARE, _OR, _OR),
    "gt": (" > ", _COMPARE, _OR, _OR), "ge": (" >= ", _COMPARE, _OR, _OR),
    "eq": (" == ", _COMPARE, _OR, _OR), "ne": (" != ", _COMPARE, _OR, _OR),
    "and": (" & ", _AND, _AND, _SUM), "or": (" | ", _OR, _OR, _AND),
}  # fmt: skip
_PREFIX = {"neg": "-", "not": "~"}
_CALL = (
    "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "erf", "normal_cdf", "normal_pdf",
    "sin", "cos", "atan", "asinh", "sign", "minimum", "maximum", "where", "detach",
)  # fmt: skip
_LEAF = ("number", "constant", "symbol")

#: operation -> how it is spelled; covers the language
SPELLING: dict[str, str] = (
    {op: sign.strip() for op, (sign, *_) in _INFIX.items()}
    | _PREFIX
    | {op: op for op in (*_CALL, *_LEAF)}
    | {"abs": "abs"}
)

Text = tuple[str, int]  # the text, and the precedence of its outermost operation


def decimal(value: Number) -> str:
    """A literal as decimals, exactly where they end soon, else the shortest that give its float64."""
    if isinstance(value, Fraction) and (places := _decimal_places(value)) is not None and places <= 25:
        digits = f"{abs(value) * 10**places}".rjust(places + 1, "0")
        whole, part = (digits[:-places], digits[-places:]) if places else (digits, "")
        return f"{'-' if value < 0 else ''}{whole}{'.' + part if part else ''}"
    if isinstance(value, Fraction):
        value = float(value)
    return repr(value)


def _decimal_places(value: Fraction) -> int | None:
    """How many digits follow the point, or None where they never end."""
    denominator, counts = value.denominator, {2: 0, 5: 0}
    for prime in counts:
        while denominator % prime == 0:
            denominator //= prime
            counts[prime] += 1
    return max(counts.values()) if denominator == 1 else None


def _literal(value: Number, exact: bool) -> Text:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')", _ATOM
    if exact and isinstance(value, Fraction):
        return f"number('{value}')", _ATOM
    if isinstance(value, Fraction) and _decimal_places(value) is None:
        return f"{value.numerator}/{value.denominator}", _PRODUCT if value > 0 else _SUM
    text = decimal(value)
    return text, _UNARY if text.startswith("-") else _ATOM


def _bare(text: Text, least: int) -> str:
    return text[0] if text[1] >= least else f"({text[0]})"


def _infix(node: Node, args: list[Text], exact: bool) -> Text:
    sign, own, left, right = _INFIX[node.op]
    a, b = args
    if exact:
        if all(n.op == "number" for n in node.args):  # else Python would compute it
            a = (a[0] if a[0].startswith("number(") else f"number({a[0]})", _ATOM)
        right = max(right, {"add": _PRODUCT, "mul": _UNARY}.get(node.op, right))  # keep a + (b + c)
    elif node.op == "mul" and node.args[0] is node.args[1]:
        return f"{_bare(a, _ATOM)}**2", _POWER
    elif node.op == "add" and b[0].startswith("-") and b[1] >= _PRODUCT:
        return f"{_bare(a, left)} - {b[0][1:]}", own
    return _bare(a, left) + sign + _bare(b, right), own


def _spell(node: Node, args: list[Text], exact: bool) -> Text:
    if node.op == "number":
        return _literal(node.payload, exact)
    if node.op in _LEAF:
        return node.payload, _ATOM
    if node.op in _INFIX:
        return _infix(node, args, exact)
    if node.op in _PREFIX:
        if exact and node.args[0].op == "number" and not args[0][0].startswith("number("):
            args = [(f"number({args[0][0]})", _ATOM)]
        # a minus before a product is the same number without parentheses
        least = _PRODUCT if node.op == "neg" and not exact else _UNARY
        return _PREFIX[node.op] + _bare(args[0], least), min(
            args[0][1], _UNARY
        ) if least == _PRODUCT else _UNARY
    return f"{SPELLING[node.op]}({', '.join(text for text, _ in args)})", _ATOM


def to_text(root: Node, exact: bool = False) -> str:
    """The expression as a line of Python over softknee.lang.

    Evaluated, it is the same function, its literals rounded to float64. With exact=True it is less
    pleasant and evaluates to the very same expression, literals and grouping included.
    """
    return _render(root, lambda node, args: _spell(node, args, exact))[0]


def _render(root: Node, spell: Callable[[Node, list[Text]], Text]) -> Text:
    done: dict[int, Text] = {}
    for node in walk(root):
        done[id(node)] = spell(node, [done[id(a)] for a in node.args])
    return done[id(root)]


#: operation -> how a function of tensors and how one of numbers is called; what is missing is infix
_TORCH: dict[str, tuple[str, str]] = {
    **{op: (f"torch.{op}({{0}})", f"math.{op}({{0}})")
       for op in ("sqrt", "exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "atan", "asinh")},
    "abs": ("torch.abs({0})", "abs({0})"), "detach": ("{0}.detach()", "{0}"),
    "sign": ("torch.sign({0})", "math.copysign(1, {0})"),
    "sigmoid": ("torch.sigmoid({0})", "(1/(1 + math.exp(-({0}))))"),
    "softplus": ("torch.nn.functional.softplus({0})", "math.log1p(math.exp({0}))"),
    "normal_cdf": ("torch.special.ndtr({0})", "(0.5*math.erfc(-({0})/math.sqrt(2)))"),
    "normal_pdf": ("(torch.exp(-0.5*({0})**2)/math.sqrt(2*math.pi))", "(math.exp(-0.5*({0})**2)/math.sqrt(2*math.pi))"),
    "minimum": ("torch.minimum({0}, {1})", "min({0}, {1})"),
    "maximum": ("torch.maximum({0}, {1})", "max({0}, {1})"),
    "where": ("torch.where({0}, {1}, {2})", "({1} if {0} else {2})"),
}  # fmt: skip


def to_torch(root: Node, tensors: tuple[str, ...] = ("x",)) -> str:
    """The expression as a line of Python over torch and math; symbols but `tensors` are numbers there.

    >>> from softknee.lang import symbol, relu, sqrt, exp
    >>> x, beta = symbol("x"), symbol("beta")
    >>> to_torch(relu(x) + exp(beta * x) / sqrt(beta))
    'torch.clamp(x, min=0) + torch.exp(beta*x)/math.sqrt(beta)'
    """
    varies: dict[int, bool] = {}
    for n in walk(root):
        varies[id(n)] = n.payload in tensors if n.op == "symbol" else any(varies[id(a)] for a in n.args)

    def spell(n: Node, args: list[Text]) -> Text:
        given = [text for text, _ in args]
        if n.op == "number" and isinstance(n.payload, float) and not math.isfinite(n.payload):
            return {"inf": "math.inf", "-inf": "-math.inf"}.get(str(n.payload), "math.nan"), _UNARY
        if n.op == "constant":
            return f"math.{n.payload}", _ATOM
        if n.op in ("minimum", "maximum") and varies[id(n.args[0])] != varies[id(n.args[1])]:
            inner, bound = given if varies[id(n.args[0])] else reversed(given)
            return f"torch.clamp({inner}, {'max' if n.op == 'minimum' else 'min'}={bound})", _ATOM
        if n.op in _TORCH:
            return _TORCH[n.op][0 if varies[id(n)] else 1].format(*given), _ATOM
        return _spell(n, args, exact=False)

    return _render(root, spell)[0]

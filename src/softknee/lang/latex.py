r"""An expression as LaTeX, the way a paper prints it.

>>> from softknee.lang import symbol, tanh, softplus
>>> x = symbol("x")
>>> to_latex(x * tanh(softplus(x)))
'x \\tanh(\\operatorname{softplus}(x))'

Nothing but amsmath is needed. Sums and products are brought to a form one would write by hand: like
terms and equal factors collected, one fraction, literals first. Literals whose decimals never end,
and those with a denominator of 2, 4 or 8, are fractions; all others are decimals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

from softknee.lang.nodes import Node, exp, log, make, number, rebuild, walk
from softknee.lang.text import decimal

__all__ = ["SPELLING", "name_to_latex", "to_latex"]

_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
}  # fmt: skip

#: what binds how tightly; cases are open to the right, so they stand bare only at the very end
_OPEN, _LOGIC, _COMPARE, _SUM, _PRODUCT, _POWER, _ATOM = range(7)

Tex = tuple[str, int]  # LaTeX, and how tightly its outermost operation binds
Done = Mapping[int, Tex]  # what the nodes below became

_FUNCTION = {
    "log": r"\ln", "tanh": r"\tanh", "sigmoid": r"\sigma", "softplus": r"\operatorname{softplus}",
    "erf": r"\operatorname{erf}", "normal_cdf": r"\Phi", "normal_pdf": r"\varphi", "sin": r"\sin",
    "cos": r"\cos", "atan": r"\arctan", "asinh": r"\operatorname{arsinh}",
    "sign": r"\operatorname{sgn}", "minimum": r"\min", "maximum": r"\max",
}  # fmt: skip
_RELATION = {"lt": "<", "le": r"\le", "gt": ">", "ge": r"\ge", "eq": "=", "ne": r"\ne"}
_OPPOSITE = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_CONNECTIVE = {"and": r"\text{ and }", "or": r"\text{ or }"}
_TALL = re.compile(r"\\(frac|begin|left)")
_SIMPLE_FRACTION = re.compile(r"(-?)\\frac\{([\w\\ ^]+)\}\{([\w\\]+)\}")


def name_to_latex(name: str) -> str:
    r"""A symbol's name: greek letters by name, `p1` and `t_l` with a subscript, words upright."""
    base, _, below = name.partition("_")
    if not below and (match := re.fullmatch(r"([a-z]+?)(\d+)", base)):
        base, below = match[1], match[2]
    base = "lambda" if base == "lambd" else base
    if len(base) > 1 and base not in _GREEK:
        return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"
    letter = "\\" + base if base in _GREEK else base
    if not below:
        return letter
    return f"{letter}_{{{below}}}" if len(below) == 1 else rf"{letter}_{{\mathrm{{{below}}}}}"


def _paren(text: str) -> str:
    return rf"\left({text}\right)" if _TALL.search(text) else f"({text})"


def _bare(tex: Tex, least: int) -> str:
    return tex[0] if tex[1] >= least else _paren(tex[0])


# Sums and products. A term is a rational times powers of nodes: {id: (node, exponent)}.

Powers = dict[int, tuple[Node, int]]


def _finite(node: Node) -> bool:
    return node.op == "number" and math.isfinite(node.payload)


def _whole_power(node: Node) -> bool:
    return node.op == "pow" and type(node.args[1].payload) is int and node.args[0].op != "number"


def _term(node: Node, exponent: int = 1) -> tuple[Fraction, Powers]:
    if _finite(node) and (exponent > 0 or node.payload != 0):
        return Fraction(node.payload) ** exponent, {}
    if _whole_power(node):
        return _term(node.args[0], exponent * node.args[1].payload)
    if node.op not in ("neg", "mul", "div"):
        return Fraction(1), {id(node): (node, exponent)}
    signs = (1, -1 if node.op == "div" else 1)
    c, powers = _merged([_term(a, exponent * s) for a, s in zip(node.args, signs, strict=False)])
    roots = [(n.args[0], e // 2) for n, e in powers.values() if n.op == "sqrt" and e % 2 == 0]
    if roots:  # sqrt(a)^2 is a
        kept = {key: (n, e) for key, (n, e) in powers.items() if n.op != "sqrt" or e % 2}
        c, powers = _merged([(c, kept), *(_term(n, e) for n, e in roots)])
    return -c if node.op == "neg" and exponent % 2 else c, powers


def _merged(terms: list[tuple[Fraction, Powers]]) -> tuple[Fraction, Powers]:
    """The product of terms."""
    coefficient, powers = Fraction(1), Powers()
    for c, factors in terms:
        coefficient *= c
        for key, (n, e) in factors.items():
            powers[key] = n, e + powers.get(key, (n, 0))[1]
    return coefficient, {key: (n, e) for key, (n, e) in powers.items() if e}


def _terms(node: Node, sign: int = 1) -> list[tuple[Fraction, Powers]]:
    """The terms of a sum, like ones collected, none of them 0."""
    if node.op in ("add", "sub"):
        a, b = node.args
        found = _terms(a, sign) + _terms(b, sign if node.op == "add" else -sign)
    else:
        coefficient, powers = _term(node)
        coefficient *= sign
        only = next(iter(powers.values()), None)
        if abs(coefficient) == 1 and len(powers) == 1 and only[1] == 1 and only[0].op in ("add", "sub"):  # type: ignore[index]
            return _terms(only[0], int(coefficient))  # type: ignore[index]
        found = [(coefficient, powers)]
    collected: dict[frozenset[tuple[int, int]], tuple[Fraction, Powers]] = {}
    for coefficient, powers in found:
        key = frozenset((i, e) for i, (_, e) in powers.items())
        collected[key] = coefficient + collected.get(key, (Fraction(0), powers))[0], powers
    return [term for term in collected.values() if term[0]]


def _literal(value: Fraction) -> Tex:
    """A positive rational."""
    n, d = value.numerator, value.denominator
    if d > 1 and (d in (2, 4, 8) or (10 ** d.bit_length() % d and d < 10**6)):
        return rf"\frac{{{n}}}{{{d}}}", _ATOM
    text = decimal(value)
    if "e" not in text:
        return text, _ATOM
    mantissa, exponent = text.split("e")
    head = "" if mantissa == "1" else rf"{mantissa} \cdot "
    return f"{head}10^{{{int(exponent)}}}", _PRODUCT


def _rank(node: Node) -> int:
    """Constants, parameters, the input, sums, everything else as written, cases last."""
    if node.op == "symbol":
        return 2 if node.payload == "x" else 1
    if not any(n.op == "symbol" for n in walk(node)):
        return 0
    return {"add": 3, "sub": 3, "where": 5}.get(node.op, 4)


def _side_by_side(coefficient: str, powers: list[tuple[Node, int]], done: Done) -> Tex:
    """A product without fractions; nothing stands between its factors where nothing need."""
    parts = [coefficient] if coefficient != "1" or not powers else []
    powers = sorted(powers, key=lambda p: _rank(p[0]))
    for i, (node, exponent) in enumerate(powers):
        if exponent > 1:
            parts.append(f"{_bare(done[id(node)], _ATOM)}^{{{exponent}}}")
        elif done[id(node)][1] == _OPEN and i == len(powers) - 1:
            parts.append(done[id(node)][0])
            return _join(parts), _OPEN
        else:
            parts.append(
                _bare(done[id(node)], _PRODUCT) if parts or i < len(powers) - 1 else done[id(node)][0]
            )
    alone = len(parts) == 1 and powers and powers[0][1] == 1
    return _join(parts), done[id(powers[0][0])][1] if alone else _PRODUCT


def _join(parts: list[str]) -> str:
    text = parts[0]
    for previous, part in pairwise(parts):
        wordy = re.search(r"\\mathrm\{[^{}]+\}$", previous) or (previous[-1] == ")" and part[0] != "(")
        wordy = wordy or part.startswith(r"\mathrm")
        text += (r" \cdot " if part[0].isdigit() else r" \, " if wordy else " ") + part
    return text


def _product(coefficient: Fraction, powers: Powers, done: Done) -> Tex:
    """|coefficient| times powers, as one fraction where something divides."""
    size = abs(coefficient)
    top = [(n, e) for n, e in powers.values() if e > 0]
    bottom = [(n, -e) for n, e in powers.values() if e < 0]
    if not top and not bottom:
        return _literal(size)
    literal = _literal(size)[0]
    if not bottom and "frac" in literal and len(top) == 1 and top[0][0].op == "symbol":
        return rf"\frac{{{_side_by_side(str(size.numerator), top, done)[0]}}}{{{size.denominator}}}", _PRODUCT
    if not bottom:
        return _side_by_side(literal, top, done)
    inverse = _literal(1 / size)[0]
    if "frac" in literal and "frac" in inverse:
        over, under = str(size.numerator), str(size.denominator)
    else:  # 1 / 0.3 is not 10 / 3
        over, under = (literal, "1") if len(literal) <= len(inverse) else ("1", inverse)
    numerator, _ = _side_by_side(over, top, done)
    return rf"\frac{{{numerator}}}{{{_side_by_side(under, bottom, done)[0]}}}", _PRODUCT


def _arithmetic(node: Node, done: Done) -> Tex:
    if node.op == "number" and not _finite(node):
        return {"inf": (r"\infty", _ATOM), "-inf": (r"-\infty", _SUM)}.get(
            str(node.payload), (r"\text{NaN}", _ATOM)
        )
    terms = _terms(node)
    if not terms:
        return "0", _ATOM
    rendered = [(c < 0, *_product(c, powers, done)) for c, powers in terms]
    rendered.sort(key=lambda t: t[2] == _OPEN)  # cases come last
    if rendered[0][0]:  # something positive in front, where there is something
        first = next((i for i, t in enumerate(rendered) if not t[0] and t[2] != _OPEN), 0)
        rendered.insert(0, rendered.pop(first))
    text = ""
    for i, (negative, part, binds) in enumerate(rendered):
        if len(rendered) == 1 and not negative:
            return part, binds
        if (binds == _OPEN and i < len(rendered) - 1) or (binds == _SUM and (negative or part[0] == "-")):
            part, binds = _paren(part), _ATOM
        text += (" - " if negative else " + ") + part
    return ("-" if text[1] == "-" else "") + text[3:], _OPEN if binds == _OPEN else _SUM


# Everything else


def _flattened(exponent: str) -> str:
    """x/alpha instead of a fraction, where both are simple: for exponents."""
    match = _SIMPLE_FRACTION.fullmatch(exponent)
    return f"{match[1]}{match[2]} / {match[3]}" if match else exponent


def _exp(node: Node, done: Done) -> Tex:
    argument = _flattened(done[id(node.args[0])][0])
    if _TALL.search(argument):
        return rf"\exp{_paren(argument)}", _ATOM
    return f"e^{{{argument}}}", _POWER


def _power(node: Node, done: Done) -> Tex:
    base, exponent = node.args
    if _whole_power(node):
        return _arithmetic(node, done)
    return f"{_bare(done[id(base)], _ATOM)}^{{{_flattened(done[id(exponent)][0])}}}", _POWER


def _nested(node: Node, op: str) -> list[Node]:
    return [m for a in node.args for m in (_nested(a, op) if a.op == op else [a])]


def _call(node: Node, done: Done) -> Tex:
    args = _nested(node, node.op) if node.op in ("minimum", "maximum") else node.args
    return _FUNCTION[node.op] + _paren(", ".join(done[id(a)][0] for a in args)), _ATOM


def _compare(node: Node, done: Done, relation: str = "") -> Tex:
    a, b = (done[id(n)][0] for n in node.args)
    return f"{a} {_RELATION[relation or node.op]} {b}", _COMPARE


def _logic(node: Node, done: Done) -> Tex:
    a, b = node.args
    if node.op == "and" and {a.op, b.op} <= {"lt", "le", "gt", "ge"}:  # a < b and b < c is a < b < c
        ways = [((n.op, *n.args), (_MIRRORED[n.op], *reversed(n.args))) for n in (a, b)]
        chains: list[Any] = [(p, q) for p in ways[0] for q in ways[1]] + [
            (q, p) for p in ways[0] for q in ways[1]
        ]
        for (r, low, middle), (s, other, high) in chains:
            if r[0] == s[0] == "l" and middle is other:
                t = [done[id(n)][0] for n in (low, middle, high)]
                return f"{t[0]} {_RELATION[r]} {t[1]} {_RELATION[s]} {t[2]}", _COMPARE
    return f"{_bare(done[id(a)], _LOGIC)}{_CONNECTIVE[node.op]}{_bare(done[id(b)], _COMPARE)}", _LOGIC


def _otherwise(condition: Node, done: Done) -> str:
    if condition.op in _OPPOSITE:
        return _compare(condition, done, _OPPOSITE[condition.op])[0]
    return (
        done[id(condition.args[0])][0]
        if condition.op == "not"
        else rf"\text{{not }}{_paren(done[id(condition)][0])}"
    )


def _rows(node: Node, done: Done, given: tuple[str, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """Nested wheres as one list of (value, conditions), each holding where none before it does."""
    if node.op != "where":
        return [(done[id(node)][0], given)]
    condition, a, b = node.args
    holds, fails = done[id(condition)][0], _otherwise(condition, done)
    if a.op == "where" and b.op != "where":  # the branch without branches first
        return [*_rows(b, done, (*given, fails)), *_rows(a, done, given)]
    return [*_rows(a, done, (*given, holds)), *_rows(b, done, given)]


def _cases(node: Node, done: Done) -> Tex:
    rows: list[tuple[str, str]] = []  # (value, condition), equal neighbours merged
    fails = ""
    for value, conditions in _rows(node, done):
        text = r" \text{ and } ".join(conditions)
        if rows and rows[-1][0] == value:
            rows[-1] = value, rf"{rows[-1][1]} \text{{ or }} {text}"
        else:
            rows.append((value, text))
        if text and text == fails:  # the rows before leave nothing to what follows
            break
        fails = _otherwise(node.args[0], done)
    condition, a, b = node.args
    if len(rows) == 2 and "where" not in (a.op, b.op) and condition.op in _OPPOSITE:
        rows[-1] = rows[-1][0], fails
    lines = [rf"{value} & \text{{if }} {c}" for value, c in rows[:-1]]
    last = rf"\text{{if }} {rows[-1][1]}" if rows[-1][1] == fails else r"\text{otherwise}"
    body = r" \\ ".join([*lines, f"{rows[-1][0]} & {last}"])
    return rf"\begin{{cases}} {body} \end{{cases}}", _OPEN


#: operation -> (node, what its operands became) -> LaTeX; covers the language
SPELLING: dict[str, Callable[[Node, Done], Tex]] = {
    **dict.fromkeys(("number", "add", "sub", "mul", "div", "neg"), _arithmetic),
    "constant": lambda n, done: (r"\pi", _ATOM),
    "symbol": lambda n, done: (name_to_latex(n.payload), _ATOM),
    "pow": _power,
    "exp": _exp,
    "expm1": lambda n, done: (_exp(n, done)[0] + " - 1", _SUM),
    "log1p": lambda n, done: (rf"\ln{_paren('1 + ' + _bare(done[id(n.args[0])], _PRODUCT))}", _ATOM),
    "sqrt": lambda n, done: (rf"\sqrt{{{done[id(n.args[0])][0]}}}", _ATOM),
    "detach": lambda n, done: done[id(n.args[0])],
    "abs": lambda n, done: (rf"\left|{done[id(n.args[0])][0]}\right|", _ATOM),
    **dict.fromkeys(_FUNCTION, _call),
    **dict.fromkeys(_RELATION, _compare),
    **dict.fromkeys(_CONNECTIVE, _logic),
    "not": lambda n, done: (_otherwise(n.args[0], done), _COMPARE),
    "where": _cases,
}


def _tidy(node: Node) -> Node | None:
    """What reads better: ln(1 + a) for log1p, x < 3 for x + 3 < 6 and for max(x, 0) < 3."""
    if node.op == "expm1":
        return exp(node.args[0]) - 1
    if node.op == "log1p":
        return log(1 + node.args[0])
    if node.op in _RELATION and _finite(node.args[1]):
        a, b = node.args
        if a.op in ("add", "sub") and _finite(a.args[1]):
            moved = Fraction(a.args[1].payload) * (-1 if a.op == "add" else 1)
            return make(node.op, (a.args[0], number(Fraction(b.payload) + moved)))
        if a.op in ("maximum", "minimum"):  # the bound that cannot decide is dropped
            bounds = [n for n in a.args if _finite(n)]
            others = [n for n in a.args if not _finite(n)]
            beyond = len(bounds) == 1 and (bounds[0].payload < b.payload) == (a.op == "maximum")
            if beyond and bounds[0].payload != b.payload and node.op not in ("eq", "ne"):
                return make(node.op, (others[0], b))
    return None


def to_latex(root: Node, names: Mapping[str, str] | None = None) -> str:
    """LaTeX, without dollars. `names` overrides how symbols are printed."""
    while (tidier := rebuild(root, _tidy)) is not root:
        root = tidier
    done: dict[int, Tex] = {}
    for node in walk(root):
        if node.op == "symbol" and names and node.payload in names:
            done[id(node)] = (names[node.payload], _ATOM)
        else:
            done[id(node)] = SPELLING[node.op](node, done)
    return done[id(root)][0]

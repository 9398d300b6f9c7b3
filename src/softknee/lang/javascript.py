"""Expressions as JavaScript, for pages that compute without a server.

>>> from softknee.lang import symbol, sigmoid
>>> x, beta = symbol("x"), symbol("beta")
>>> to_javascript((x * sigmoid(beta * x),), ("x", "beta"))
'(x,beta)=>[(x*M.sigmoid((beta*x)))]'

`M` is the object of `runtime()`: the operations JavaScript's own Math lacks, in float64.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache

from softknee.lang.nodes import OPS, Node, walk

__all__ = ["SPELLING", "operations", "runtime", "to_javascript"]

#: operation -> how it is spelled, {0} {1} {2} being its operands; covers the language
SPELLING: dict[str, str] = {
    "number": "", "constant": "Math.PI", "symbol": "",
    "add": "({0}+{1})", "sub": "({0}-{1})", "mul": "({0}*{1})", "div": "({0}/{1})", "neg": "(-{0})",
    "pow": "Math.pow({0},{1})", "sqrt": "Math.sqrt({0})", "exp": "Math.exp({0})",
    "expm1": "Math.expm1({0})", "log": "Math.log({0})", "log1p": "Math.log1p({0})",
    "tanh": "Math.tanh({0})", "sigmoid": "M.sigmoid({0})", "softplus": "M.softplus({0})",
    "erf": "M.erf({0})", "normal_cdf": "M.normal_cdf({0})", "normal_pdf": "M.normal_pdf({0})",
    "sin": "Math.sin({0})", "cos": "Math.cos({0})", "atan": "Math.atan({0})", "asinh": "Math.asinh({0})",
    "abs": "Math.abs({0})", "sign": "Math.sign({0})", "minimum": "Math.min({0},{1})",
    "maximum": "Math.max({0},{1})", "where": "({0}?{1}:{2})", "detach": "{0}", "lt": "({0}<{1})",
    "le": "({0}<={1})", "gt": "({0}>{1})", "ge": "({0}>={1})", "eq": "({0}==={1})", "ne": "({0}!=={1})",
    "and": "({0}&&{1})", "or": "({0}||{1})", "not": "(!{0})",
}  # fmt: skip

_RESERVED = frozenset(
    [
        "M",
        "Math",
        "NaN",
        "Infinity",
        "arguments",
        "await",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "debugger",
        "default",
        "delete",
        "do",
        "else",
        "enum",
        "eval",
        "export",
        "extends",
        "false",
        "finally",
        "for",
        "function",
        "if",
        "implements",
        "import",
        "in",
        "instanceof",
        "interface",
        "let",
        "new",
        "null",
        "package",
        "private",
        "protected",
        "public",
        "return",
        "static",
        "super",
        "switch",
        "this",
        "throw",
        "true",
        "try",
        "typeof",
        "undefined",
        "var",
        "void",
        "while",
        "with",
        "yield",
    ]
)

# Phi(-a) = e^(-a^2/2) g(a) / (a + 3): g has a short Chebyshev series in t = (a - 3) / (a + 3). The square is
# taken in two parts, the first exact, so that its rounding does not grow with it.
_RUNTIME = """\
const M=(()=>{{
const G=[{series}];
const tail=a=>{{const t=(a-3)/(a+3);let p=0,q=0;
for(let i=G.length-1;i>0;i--){{const s=2*t*p-q+G[i];q=p;p=s}}
const h=Math.round(a*16)/16;
return Math.exp(-h*h/2)*Math.exp((h-a)*(h+a)/2)*(t*p-q+G[0])/(a+3)}};
const normal_cdf=a=>a!==a?a:a<-40?0:a>40?1:a<0?tail(-a):1-tail(a);
const normal_pdf=a=>Math.exp(-a*a/2)/Math.sqrt(2*Math.PI);
const sigmoid=a=>{{if(a>=0)return 1/(1+Math.exp(-a));const e=Math.exp(a);return e/(1+e)}};
const softplus=a=>a>0?a+Math.log1p(Math.exp(-a)):Math.log1p(Math.exp(a));
const erf=a=>{{if(Math.abs(a)>0.5)return a>0?1-2*normal_cdf(-Math.SQRT2*a):2*normal_cdf(Math.SQRT2*a)-1;
let term=a,sum=a;for(let n=1;n<16;n++){{term*=-a*a/n;sum+=term/(2*n+1)}}return sum*2/Math.sqrt(Math.PI)}};
return {{normal_cdf,normal_pdf,sigmoid,softplus,erf}}}})();"""


@lru_cache(maxsize=1)
def _tail_series() -> tuple[float, ...]:
    """Chebyshev coefficients of Phi(-a) e^(a^2/2) (a + 3) in t = (a - 3) / (a + 3), |t| <= 1."""
    import mpmath as mp

    count = 56
    with mp.workdps(50):
        angles = [mp.pi * (2 * k + 1) / (2 * count) for k in range(count)]
        values = []
        for angle in angles:
            t = mp.cos(angle)
            a = 3 * (1 + t) / (1 - t)
            values.append(mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a * a / 2) * (a + 3))
        series = [
            2 * mp.fsum(v * mp.cos(j * angle) for v, angle in zip(values, angles, strict=True)) / count
            for j in range(count)
        ]
        series[0] /= 2
        while abs(series[-1]) < 1e-18:
            series.pop()
        return tuple(float(c) for c in series)


def runtime() -> str:
    """JavaScript that defines `M`, what `to_javascript` calls."""
    return _RUNTIME.format(series=",".join(f"{c:.17g}" for c in _tail_series()))


def operations() -> str:
    """JavaScript: an object with a function for every operation that has operands."""
    letters = "abc"
    entries = []
    for op, rule in OPS.items():
        names = letters[: len(rule.operands)]
        if names:
            entries.append(f"{op}:({','.join(names)})=>{SPELLING[op].format(*names)}")
    return "{" + ",".join(entries) + "}"


def _name(symbol: str) -> str:
    return symbol + "_" if symbol in _RESERVED or symbol.startswith("t$") else symbol


def _literal(value: object) -> str:
    number = float(value)  # type: ignore[arg-type]
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "(-Infinity)"
    text = repr(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    if number == 0 and math.copysign(1, number) < 0:
        text = "-0"
    return f"({text})" if text.startswith("-") else text


def to_javascript(roots: tuple[Node, ...], names: tuple[str, ...]) -> str:
    """An arrow function of the named symbols that returns the array of the roots' values.

    What is used more than once is computed once.
    """
    uses = Counter(id(a) for n in walk(*roots) for a in n.args)
    uses.update(map(id, roots))
    done: dict[int, str] = {}
    lines: list[str] = []
    for n in walk(*roots):
        if n.op == "symbol":
            if n.payload not in names:
                raise KeyError(f"the expression depends on {n.payload!r}, which was not given")
            text = _name(n.payload)
        elif n.op == "number":
            text = _literal(n.payload)
        else:
            text = SPELLING[n.op].format(*(done[id(a)] for a in n.args))
            if uses[id(n)] > 1 and n.args and n.op != "detach":
                lines.append(f"t${len(lines)}={text}")
                text = f"t${len(lines) - 1}"
        done[id(n)] = text
    head = f"({','.join(map(_name, names))})=>"
    body = f"[{','.join(done[id(r)] for r in roots)}]"
    return f"{head}{{const {','.join(lines)};return{body}}}" if lines else head + body

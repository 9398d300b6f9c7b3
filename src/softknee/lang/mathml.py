r"""An expression as MathML, which browsers set without a script.

The layout is decided by `latex`; this module reads the LaTeX that it writes (and no other) and says
the same in MathML.

>>> from softknee.lang import symbol, sigmoid
>>> x = symbol("x")
>>> to_mathml(x * sigmoid(x), display=False)
'<math><mi>x</mi><mi>σ</mi><mo>&#8289;</mo><mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo></math>'
"""

from __future__ import annotations

import re
from html import escape

from softknee.lang.latex import to_latex
from softknee.lang.nodes import Node

__all__ = ["latex_to_mathml", "shortened", "to_mathml"]

_PARTS = re.compile(
    r"\\(?:left|right)[()|]|\\begin\{cases\}|\\end\{cases\}|\\(?:text|mathrm|operatorname)\{((?:\\_|[^{}])*)\}"
    r"|\\[a-zA-Z]+|\\[,_\\]|[0-9]+(?:\.[0-9]+)?|[a-zA-Z]|\s+|."
)
_SYMBOLS = {
    r"\cdot": "·", r"\le": "≤", r"\ge": "≥", r"\ne": "≠", "-": "−", "+": "+", "=": "=", "<": "&lt;",
    ">": "&gt;", "/": "/", "'": "′", r"\to": "→", r"\sim": "∼", r"\in": "∈", r"\pm": "±", r"\approx": "≈",
}  # fmt: skip
_LETTERS = {
    r"\infty": "∞", r"\pi": "π", r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ",
    r"\epsilon": "ϵ", r"\zeta": "ζ", r"\eta": "η", r"\theta": "θ", r"\iota": "ι", r"\kappa": "κ",
    r"\lambda": "λ", r"\mu": "μ", r"\nu": "ν", r"\xi": "ξ", r"\rho": "ρ", r"\sigma": "σ", r"\tau": "τ",
    r"\phi": "ϕ", r"\varphi": "φ", r"\chi": "χ", r"\psi": "ψ", r"\omega": "ω", r"\Phi": "Φ", r"\partial": "∂",
}  # fmt: skip
_FUNCTIONS = {rf"\{name}": name for name in ["ln", "tanh", "sin", "cos", "arctan", "min", "max", "exp"]}
_NAMED_FUNCTION = {r"\sigma", r"\Phi", r"\varphi"}  # letters that are functions where a parenthesis follows
_APPLY = "<mo>&#8289;</mo>"


class _Reader:
    def __init__(self, tex: str) -> None:
        self.parts: list[tuple[str, str | None]] = [
            (m[0], m[1]) for m in _PARTS.finditer(tex) if not m[0].isspace()
        ]
        self.at = 0

    def peek(self) -> str:
        return self.parts[self.at][0] if self.at < len(self.parts) else ""

    def next(self) -> tuple[str, str | None]:
        if self.at == len(self.parts):
            raise ValueError("the formula ends too early")
        self.at += 1
        return self.parts[self.at - 1]

    def row(self, *ends: str) -> str:
        """Atoms with their scripts up to one of the ends, which is left."""
        parts: list[str] = []
        operand = False  # whether what stands before can be an operand: then a minus is binary
        while self.at < len(self.parts) and self.peek() not in ends:
            if self.peek() in ("^", "_"):
                base = parts.pop() if parts else "<mrow></mrow>"
                parts.append(self.scripts(base))
                continue
            part = self.peek()
            atom = self.atom()
            if part in ("-", "+") and not operand:
                atom = atom.replace("<mo>", '<mo form="prefix">')
            operand = not (part in _SYMBOLS and part != "'") and part not in ("(", ",")
            parts.append(atom)
        return "".join(parts)

    def scripts(self, base: str) -> str:
        sign, _ = self.next()
        tag = "msup" if sign == "^" else "msub"
        return f"<{tag}>{base}{_grouped(self.atom())}</{tag}>"

    def atom(self) -> str:
        part, word = self.next()
        if part == "{":
            inside = self.row("}")
            self.next()
            return _grouped(inside)
        if part == r"\frac":
            return f"<mfrac>{self.atom()}{self.atom()}</mfrac>"
        if part == r"\sqrt":
            return f"<msqrt>{self.atom()}</msqrt>"
        if part == r"\begin{cases}":
            return self.cases()
        if part.startswith(r"\left"):
            inside = self.row(r"\right)", r"\right|")
            close = self.next()[0][-1]
            opened = f'<mo fence="true" form="prefix">{part[-1]}</mo>'
            return f'<mrow>{opened}{inside}<mo fence="true" form="postfix">{close}</mo></mrow>'
        if part in "()":
            return f'<mo stretchy="false">{part}</mo>'
        if word is not None:
            return self.word(part, word.replace(r"\_", "_"))
        if part in _FUNCTIONS:
            return f"<mi>{_FUNCTIONS[part]}</mi>{_APPLY}"
        if part in _LETTERS:
            follows = self.peek() in ("(", r"\left(")
            return f"<mi>{_LETTERS[part]}</mi>" + (_APPLY if part in _NAMED_FUNCTION and follows else "")
        if part == "'":
            return '<mo lspace="0" rspace="0">′</mo>'
        if part in _SYMBOLS:
            return f"<mo>{_SYMBOLS[part]}</mo>"
        if part == ",":
            return '<mo separator="true">,</mo>'
        if part == r"\,":
            return '<mspace width="0.17em"/>'
        if part[0].isdigit():
            return f"<mn>{part}</mn>"
        if part.isalpha():
            return f"<mi>{part}</mi>"
        raise ValueError(f"cannot set {part!r} in MathML")

    def word(self, part: str, text: str) -> str:
        if part.startswith(r"\text"):
            return f"<mtext>{escape(text).replace(' ', '&#160;')}</mtext>"
        applied = _APPLY if part.startswith(r"\operatorname") else ""
        normal = ' mathvariant="normal"' if len(text) == 1 else ""
        return f"<mi{normal}>{escape(text)}</mi>{applied}"

    def cases(self) -> str:
        rows = []
        while True:
            value = self.row("&")
            self.next()
            condition = self.row("\\\\", r"\end{cases}")
            rows.append(f"<mtr><mtd>{value}</mtd><mtd>{condition}</mtd></mtr>")
            if self.next()[0] == r"\end{cases}":
                return f'<mtable class="sk-cases">{"".join(rows)}</mtable>'


def _grouped(parts: str) -> str:
    """One element: what holds several in a row of its own."""
    return f"<mrow>{parts}</mrow>"


def latex_to_mathml(tex: str, display: bool = True) -> str:
    """What `to_latex` writes, as MathML; a ValueError for what it does not write."""
    reader = _Reader(tex)
    inside = reader.row()
    return f"<math{' display=' + chr(34) + 'block' + chr(34) if display else ''}>{inside}</math>"


def shortened(mathml: str) -> str:
    """The first digits of long decimals: what is read on a page. The LaTeX has all of them."""
    return re.sub(r"<mn>(\d+\.\d{5})\d{3,}</mn>", r"<mn>\1…</mn>", mathml)


def to_mathml(root: Node, display: bool = True, name: str = "") -> str:
    """The expression as MathML, as `name = ...` where a name (in LaTeX) is given.

    A definition by cases is an mtable of the class "sk-cases": the page draws its brace, which
    stretches then whatever the fonts.
    """
    tex = to_latex(root)
    return latex_to_mathml(f"{name} = {tex}" if name else tex, display)

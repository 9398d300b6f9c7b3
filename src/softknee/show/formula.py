r"""Formulas for the terminal: LaTeX, as `softknee.lang.latex` writes it, set in Unicode characters.

>>> one_line(r"\frac{x}{1 + \left|x\right|}")
'x / (1 + |x|)'
"""

from __future__ import annotations

import re

__all__ = ["one_line", "set_lines"]

_WORDS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Phi": "Φ",
    "infty": "∞", "le": "≤", "ge": "≥", "ne": "≠", "cdot": "·", "ln": "ln", "tanh": "tanh", "sin": "sin",
    "cos": "cos", "arctan": "arctan", "max": "max", "min": "min", "exp": "exp", "left": "", "right": "",
}  # fmt: skip
_RAISED = dict(zip("0123456789+−=()xniaαβ", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ˣⁿⁱᵃᵅᵝ", strict=True))
_LOWERED = dict(zip("0123456789aeilnoprx", "₀₁₂₃₄₅₆₇₈₉ₐₑᵢₗₙₒₚᵣₓ", strict=True))
_VULGAR = {"1/2": "½", "1/3": "⅓", "2/3": "⅔", "1/4": "¼", "3/4": "¾", "1/6": "⅙", "5/6": "⅚", "1/8": "⅛"}
_TOKEN = re.compile(r"\\begin\{cases\}|\\end\{cases\}|\\[a-zA-Z]+|\\[\\,_ ]|[{}^_&]|-| +|[^\\{}^_& -]+")
_CASES = re.compile(r"\\begin\{cases\} (.*?) \\end\{cases\}$")


class _Reader:
    """A recursive descent over the commands that the LaTeX printer uses."""

    def __init__(self, tex: str) -> None:
        self.tokens = _TOKEN.findall(tex)
        self.at = 0

    def group(self) -> str:
        """What stands in the braces that begin here."""
        self.at += 1
        text = self.text("}")
        self.at += 1
        return text

    def text(self, end: str = "") -> str:
        parts: list[str] = []
        while self.at < len(self.tokens) and self.tokens[self.at] != end:
            part = self.tokens[self.at]
            self.at += 1
            parts.append(self.meaning(part))
        return "".join(parts)

    def meaning(self, part: str) -> str:
        if part == r"\frac":
            return _fraction(self.group(), self.group())
        if part == r"\sqrt":
            return "√" + _enclosed(self.group(), "bottom")
        if part in (r"\text", r"\mathrm", r"\operatorname"):
            return self.group()
        if part == r"\begin{cases}":
            return _inline(self.text(r"\end{cases}"), self)
        if part in ("^", "_"):
            return _shifted(part, self.group())
        if part == "{":
            self.at -= 1
            return self.group()
        if part[1:] in _WORDS and part[0] == "\\":
            return _WORDS[part[1:]]
        return {"-": "−", r"\,": " ", r"\_": "_", r"\\": "\n"}.get(part, part)


def _inline(body: str, reader: _Reader) -> str:
    reader.at += 1
    rows = [tuple(part.strip() for part in row.split("&")) for row in body.split("\n")]
    return "{" + ", ".join(f"{value} {condition}" for value, condition in rows) + "}"


def _enclosed(text: str, place: str) -> str:
    """In parentheses where a slash beside it would otherwise bind wrongly."""
    outside = text
    while outside != (outside := re.sub(r"\([^()]*\)|\|[^|]*\||√\([^()]*\)", "_", outside)):
        pass
    loose = r" [+−] |^−" if place == "top" else r"[ /]|^−"
    return f"({text})" if re.search(loose, outside) else text


def _fraction(top: str, bottom: str) -> str:
    if top.isdigit() and bottom.isdigit():
        return _VULGAR.get(f"{top}/{bottom}", f"({top}/{bottom})")
    return f"{_enclosed(top, 'top')} / {_enclosed(bottom, 'bottom')}"


def _shifted(sign: str, text: str) -> str:
    table = _RAISED if sign == "^" else _LOWERED
    tight = text.replace(" ", "")
    if all(c in table for c in tight):
        return "".join(table[c] for c in tight)
    return f"{sign}{text}" if re.fullmatch(r"\w+", text) else f"{sign}({text})"


def _tidied(text: str) -> str:
    return re.sub(r"  +", " ", text).replace("( ", "(").strip()


def one_line(tex: str) -> str:
    """A formula on one line; cases are listed one after the other."""
    text = _tidied(_Reader(tex).text())
    return text[1:-1] if re.fullmatch(r"\{[^{}]*\}", text) else text


def set_lines(tex: str, name: str = "") -> list[str]:
    """A formula as `name = ...`; cases below each other behind a brace."""
    lead = f"{name} = " if name else ""
    match = _CASES.search(tex)
    if not match or match[1].count(r"\begin"):
        return [lead + one_line(tex)]
    before = one_line(tex[: match.start()])
    lead += f"{before} " if before else ""
    rows = [[_tidied(_Reader(cell).text()) for cell in row.split("&")] for row in match[1].split(r" \\ ")]
    width = max(len(value) for value, _ in rows)
    braces = ["⎧", *["⎪"] * (len(rows) - 2), "⎩"]
    lines = [
        f"{brace} {value:<{width}}   {condition}"
        for brace, (value, condition) in zip(braces, rows, strict=True)
    ]
    if len(rows) % 2:
        lines[len(rows) // 2] = "⎨" + lines[len(rows) // 2][1:]
    else:
        lines.insert(len(rows) // 2, "⎨")
    middle = len(lines) // 2
    return [(lead if i == middle else " " * len(lead)) + line for i, line in enumerate(lines)]

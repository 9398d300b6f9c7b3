"""Activation specifications: `relu, leaky_relu(negative_slope=0.3), gelu(approximate=tanh), elu(alpha=0.1..2)`.

    list      = activation {"," activation}
    activation = name [ "(" [ setting {"," setting} ] ")" ]
    setting   = name "=" ( number | range | true | false | word | quoted word )
    range     = number ".." number [ ":" count ]

A range stands for several activations, one for each of its values (5 of them unless it says how many).
Nothing is evaluated: what the grammar does not know is an error that points at the place.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from softknee.compare.errors import SpecificationError

Value = float | int | bool | str

_TOKEN = re.compile(
    r"""\s*(?:(?P<range>[-+.\deE]+?\.\.[-+.\deE]+(?::\d+)?(?![\w.]))
          |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
          |(?P<word>[A-Za-z_][\w-]*)
          |(?P<quoted>'[^']*'|"[^"]*")
          |(?P<sign>[(),=])
          |(?P<end>$)
          |(?P<other>.))""",
    re.VERBOSE | re.DOTALL,
)
_LITERALS: dict[str, Value] = {"true": True, "false": False, "inf": float("inf")}


@dataclass(frozen=True)
class Specification:
    """One activation as the user named it; its text, `str(specification)`, is its label everywhere."""

    name: str
    settings: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        if not self.settings:
            return self.name
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in self.settings)})"


def parse(text: str) -> list[Specification]:
    """The activations named in `text`.

    >>> [str(s) for s in parse("relu, leaky_relu(negative_slope=0.3)")]
    ['relu', 'leaky_relu(negative_slope=0.3)']
    """
    return _Parser(text).activations()


def specifications(activations: str | Iterable[str | Specification]) -> list[Specification]:
    """The same from one text or from several."""
    if isinstance(activations, str):
        return parse(activations)
    return [s for item in activations for s in ([item] if isinstance(item, Specification) else parse(item))]


def ranged(text: str) -> list[float] | None:
    """The values of `low..high` (five) or `low..high:count`, to three digits: in equal ratios where both ends are
    positive and at least tenfold apart, else in equal steps. None: it is no range."""
    match = re.fullmatch(r"\s*([^.:]+?|[^:]*?[^.:])\.\.([^:]+)(?::(\d+))?\s*", text)
    try:
        low, high, count = float(match[1]), float(match[2]), int(match[3] or 5)  # type: ignore[index]
    except (TypeError, ValueError):
        return None
    if not low < high or not 2 <= count <= 1000 or not math.isfinite(high - low):
        return None
    steps = [i / (count - 1) for i in range(count)]
    if low > 0 and high >= 10 * low:
        return [float(f"{low * (high / low) ** t:.3g}") for t in steps]
    return [float(f"{low + (high - low) * t:.3g}") for t in steps]


class _Parser:
    """Recursive descent over the tokens, one function a rule."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.advance()

    def advance(self) -> None:
        match = _TOKEN.match(self.text, self.position)
        assert match is not None  # `other` and `end` match anything
        assert match.lastgroup is not None
        self.kind, self.token = match.lastgroup, match[match.lastgroup]
        self.start, self.position = match.start(match.lastgroup), match.end()

    def fail(self, expected: str) -> SpecificationError:
        found = "the end" if self.kind == "end" else repr(self.token)
        return SpecificationError(
            f"expected {expected} at position {self.start + 1}, found {found}\n"
            f"    {self.text}\n    {' ' * self.start}^\n"
            'write name or name(parameter=value), separated by commas: "relu,leaky_relu(negative_slope=0.3)"'
        )

    def take(self, kind: str, expected: str) -> str:
        if self.kind != kind:
            raise self.fail(expected)
        token = self.token
        self.advance()
        return token

    def takes(self, sign: str) -> bool:
        found = self.kind == "sign" and self.token == sign
        if found:
            self.advance()
        return found

    def activations(self) -> list[Specification]:
        found = self.activation()
        while self.takes(","):
            found += self.activation()
        if self.kind != "end":
            raise self.fail("',' or the end")
        return found

    def activation(self) -> list[Specification]:
        name = self.take("word", "an activation's name")
        settings: dict[str, list[Value]] = {}
        if self.takes("(") and not self.takes(")"):
            while True:
                key = self.take("word", "a parameter's name, as in negative_slope=0.3")
                if key in settings:
                    raise SpecificationError(f"{name}: the parameter {key} is given twice")
                if not self.takes("="):
                    raise self.fail("'='")
                settings[key] = self.value()
                if self.takes(")"):
                    break
                if not self.takes(","):
                    raise self.fail("',' or ')'")
        return [
            Specification(name, tuple(sorted(zip(settings, chosen, strict=True))))
            for chosen in itertools.product(*settings.values())
        ]

    def value(self) -> list[Value]:
        kind, token = self.kind, self.token
        if kind not in ("number", "range", "word", "quoted"):
            raise self.fail("a number, true, false or a word")
        if kind == "range" and (found := ranged(token)) is None:
            raise self.fail("a range, as in 0.1..2 or 0.1..2:9")
        self.advance()
        if kind == "range":
            return list(found or ())
        if kind == "number":
            return [int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)]
        if kind == "quoted":
            return [token[1:-1]]
        return [_LITERALS.get(token.lower(), token)]

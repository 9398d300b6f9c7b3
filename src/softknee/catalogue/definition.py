"""What an activation is: one value that checks itself when it is made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from types import MappingProxyType
from typing import Any, Literal, Union

from softknee.lang.nodes import Node, Number, as_node, symbol, symbols_in

__all__ = [
    "LEFT", "MEAN", "RIGHT", "Choice", "Claims", "Definition", "DefinitionError", "Noise",
    "Parameter", "Reference", "x",
]  # fmt: skip

#: the input
x = symbol("x")

Side = Literal["left", "right", "mean"]
#: The slope used at a kink: the one-sided derivative from the left, from the right, or their mean.
LEFT: Side = "left"
RIGHT: Side = "right"
MEAN: Side = "mean"

Slope = Union[Node, int, float, Side]
Choice = Union[str, bool]


class DefinitionError(ValueError):
    """A definition that contradicts itself; the message names the culprit."""


@dataclass(frozen=True)
class Parameter:
    """A number an activation takes besides its input.

    learnable: its module holds it as a `torch.nn.Parameter` of `num_parameters` values that
    broadcast along the channel dimension (1). spelled: the default as torch's signature spells it,
    where that differs from its mathematics (softplus spells "no threshold" as 20). example: a value
    to plot, document and test a parameter with that has no default.
    """

    name: str
    default: Number | None = None  # None: the caller must give it
    learnable: bool = False
    init_name: str | None = None  # the module argument that sets its initial value (PReLU: init)
    spelled: float | None = None
    example: Number | None = None
    computed: bool = False
    doc: str = ""

    @property
    def symbol(self) -> Node:
        return symbol(self.name)


@dataclass(frozen=True)
class Noise:
    """A random input of the training-time expression: an independent draw for every element."""

    name: str
    distribution: Literal["uniform", "normal"]  # U(0, 1) or N(0, 1)

    @property
    def symbol(self) -> Node:
        return symbol(self.name)


@dataclass(frozen=True)
class Reference:
    """Where a function comes from. At least one of arxiv, doi, url for anything published."""

    title: str
    authors: str
    year: int
    arxiv: str | None = None
    doi: str | None = None
    url: str | None = None
    where: str | None = None  # "equation 3", "section 2.1"

    def __str__(self) -> str:
        link = f"arXiv:{self.arxiv}" if self.arxiv else f"doi:{self.doi}" if self.doi else self.url or ""
        place = f", {self.where}" if self.where else ""
        return f"{self.authors} ({self.year}): {self.title}{place}. {link}".strip()


@dataclass(frozen=True)
class Claims:
    """What the function's own source says of it, for the default parameters: tested, not trusted."""

    range: tuple[float, float] | None = None
    minimum: float | None = None
    minimum_at: float | None = None
    maximum: float | None = None
    limits: tuple[float, float] | None = None
    smooth: bool | None = None
    monotone: bool | None = None
    odd: bool | None = None
    even: bool | None = None
    zero_at_zero: bool | None = None


def _key(chosen: tuple[Choice, ...]) -> Any:
    return chosen[0] if len(chosen) == 1 else chosen


@dataclass(frozen=True, eq=False)
class Definition:
    """An activation: one expression and what cannot be derived from it.

    expression: in the inputs (one, `x`; a gated unit has two) and the parameters; with `choices`, a mapping from the chosen value (or the
    tuple of them) to an expression. The first value of a choice is its default.
    constraints: conditions on the parameters, checked on every call; where a choice has further ones,
    `constraints_of` has them by its value (the tuple of them).
    kinks: where the slope jumps -> the slope used there; places and slopes may be expressions in
    the parameters. training: the expression used in training mode where that differs (stochastic
    activations); its `noise` inputs are drawn from torch's generators.
    elsewhere: what module classes of other libraries that compute it are called, where it is not `module`.
    torch: its name in torch.nn.functional, if it has one. inplace: torch's signature has `inplace`.
    signature: the positional arguments after the input, where they are not the parameters, then
    training and inplace; what is not positional is keyword-only.
    """

    name: str
    expression: Node | Mapping[Any, Node]
    use: str
    reference: Reference | None = None
    family: str = ""
    aliases: Sequence[str] = ()
    parameters: Sequence[Parameter] = ()
    constraints: Sequence[Node] = ()
    constraints_of: Mapping[Any, Sequence[Node]] = field(default_factory=dict)
    kinks: Mapping[Any, Slope] = field(default_factory=dict)
    choices: Mapping[str, Sequence[Choice]] = field(default_factory=dict)
    training: Node | Mapping[Any, Node] | None = None
    noise: Sequence[Noise] = ()
    module: str = ""
    elsewhere: Sequence[str] = ()
    torch: str | None = None
    inplace: bool = False
    signature: tuple[str, ...] | None = None
    note: str = ""
    claims: Claims = Claims()
    inputs: tuple[str, ...] = ("x",)

    def __post_init__(self) -> None:
        put: Callable[[str, object], None] = lambda k, v: object.__setattr__(self, k, v)  # noqa: E731
        if isinstance(self.aliases, str):
            raise self._error(f"gives its aliases as the string {self.aliases!r}, not as a list of them")
        for name in ("aliases", "parameters", "constraints", "noise", "elsewhere"):
            put(name, tuple(getattr(self, name)))
        put("choices", MappingProxyType({k: tuple(v) for k, v in self.choices.items()}))
        by_choice = {k if isinstance(k, tuple) else (k,): tuple(v) for k, v in self.constraints_of.items()}
        put("constraints_of", MappingProxyType(by_choice))
        put("kinks", MappingProxyType({as_node(k): v for k, v in self.kinks.items()}))
        put("expression", self._by_choice(self.expression))
        put("training", None if self.training is None else self._by_choice(self.training))
        put("module", self.module or "".join(p.capitalize() for p in self.name.split("_")))
        self._check()

    def _by_choice(self, given: Node | Mapping[Any, Node]) -> Mapping[Any, Node]:
        if not isinstance(given, Mapping):
            if self.choices:
                raise self._error(f"has choices {list(self.choices)} but one expression")
            return MappingProxyType({(): as_node(given)})
        keyed = {k if isinstance(k, tuple) else (k,): as_node(v) for k, v in given.items()}
        possible = set(product(*self.choices.values()))
        if unknown := [k for k in keyed if k not in possible]:
            raise self._error(f"has an expression for {unknown[0]!r}, which its choices do not offer")
        if (default := tuple(v[0] for v in self.choices.values())) not in keyed:
            raise self._error(f"has no expression for the default choice {default!r}")
        return MappingProxyType(keyed)

    def __getstate__(self) -> dict[str, Any]:
        return {k: dict(v) if isinstance(v, MappingProxyType) else v for k, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({k: MappingProxyType(v) if isinstance(v, dict) else v for k, v in state.items()})

    def _error(self, text: str) -> DefinitionError:
        return DefinitionError(f"definition of {self.name!r} {text}")

    def _check(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise self._error("must be named in lower case letters, digits and underscores")
        names = [p.name for p in self.parameters] + [n.name for n in self.noise] + list(self.choices)
        inputs = set(self.inputs)
        if double := {n for n in names if names.count(n) > 1} | (inputs & set(names)):
            raise self._error(f"declares {min(double)!r} twice")
        known = inputs | {p.name for p in self.parameters}
        noisy = known | {n.name for n in self.noise}
        evaluated = list(self.expression.values())
        trained = list(self.training.values()) if self.training is not None else []
        for roots, allowed in (
            (evaluated, known),
            (trained, noisy),
            ([*self.constraints, *chain(*self.constraints_of.values())], known - inputs),
        ):
            if undeclared := [s for s in symbols_in(*roots) if s not in allowed]:
                raise self._error(f"uses the undeclared symbol {undeclared[0]!r}")
        used = set(symbols_in(*evaluated, *trained))
        if missing := [n for n in self.inputs if n not in used]:
            raise self._error(f"does not depend on its input {missing[0]}")
        if unused := [n for n in names if n not in used and n not in self.choices]:
            raise self._error(f"declares {unused[0]!r} but no expression uses it")
        if self.noise and not trained:
            raise self._error("declares noise but has no training expression")
        for place, slope in self.kinks.items():
            parts = [place] + ([slope] if isinstance(slope, Node) else [])
            if undeclared := [s for s in symbols_in(*parts) if s not in known - inputs]:
                raise self._error(f"uses {undeclared[0]!r} in a kink, which is no parameter")
            if isinstance(slope, str) and slope not in (LEFT, RIGHT, MEAN):
                raise self._error(f"gives the slope {slope!r} at a kink: use LEFT, RIGHT, MEAN or a value")
        if not self.use:
            raise self._error("does not say when to use it")

    # Derived

    @property
    def default_choice(self) -> tuple[Choice, ...]:
        return tuple(values[0] for values in self.choices.values())

    @property
    def learnable(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.learnable)

    @property
    def defaults(self) -> dict[str, Number]:
        """The default values of the parameters that have one."""
        return {p.name: p.default for p in self.parameters if p.default is not None}

    @property
    def positional(self) -> tuple[str, ...]:
        """The positional arguments of its function after the input."""
        if self.signature is not None:
            return self.signature
        names = [p.name for p in self.parameters]
        return (*names, *(["training"] if self.noise else []), *(["inplace"] if self.inplace else []))

    @property
    def keywords(self) -> tuple[str, ...]:
        """The keyword-only arguments of its function."""
        every = (*(p.name for p in self.parameters), *self.choices)
        return tuple(name for name in every if name not in self.positional)

    def default_of(self, name: str) -> Any:
        """The default of an argument, as its signature spells it; None where it must be given."""
        if name in ("training", "inplace"):
            return False
        if name in self.choices:
            return self.choices[name][0]
        parameter = next(p for p in self.parameters if p.name == name)
        return parameter.default if parameter.spelled is None else parameter.spelled

    def conditions(self, choices: Mapping[str, Choice]) -> tuple[Node, ...]:
        """The constraints that hold for these choices."""
        key = tuple(choices.get(name, values[0]) for name, values in self.choices.items())
        return (*self.constraints, *self.constraints_of.get(key, ()))

    def chosen(self, choices: Mapping[str, Choice], training: bool = False) -> Node:
        """The expression for these choices; a value that is not offered is a ValueError."""
        if training and self.training is not None:
            table: Mapping[Any, Node] = self.training  # type: ignore[assignment]
        else:
            table = self.expression  # type: ignore[assignment]
        if not self.choices:
            return table[()]
        for name, value in choices.items():
            if value not in self.choices[name]:
                offered = ", ".join(map(repr, self.choices[name]))
                raise ValueError(f"{self.name}: {name} must be one of {offered}, got {value!r}")
        key = tuple(choices.get(name, values[0]) for name, values in self.choices.items())
        if key not in table:
            offered = ", ".join(str(_key(k)) for k in table)
            raise ValueError(f"{self.name}: no expression for {dict(choices)!r}; there are: {offered}")
        return table[key]


def definitions_in(namespace: Mapping[str, object]) -> list[Definition]:
    return [value for value in namespace.values() if isinstance(value, Definition)]


def described_by(function: Callable[..., object]) -> list[str]:
    """The argument names of a user's function: the input first, then its parameters."""
    return list(inspect.signature(function).parameters)

"""The catalogue: every activation softknee knows, one value each.

The values stand in one module a mathematical family; this module finds them by name. To add an
activation, append one `Definition` to the `DEFINITIONS` of its family's module; nothing else.
"""

from __future__ import annotations

from types import ModuleType

from softknee.catalogue import (
    algebraic,
    exponential,
    gated,
    oscillating,
    rectifiers,
    shrinking,
    sigmoidal,
    smooth_rectifiers,
    stochastic,
)
from softknee.catalogue.definition import (
    LEFT,
    MEAN,
    RIGHT,
    Claims,
    Definition,
    DefinitionError,
    Noise,
    Parameter,
    Reference,
    x,
)

__all__ = [
    "FAMILIES", "LEFT", "MEAN", "RIGHT", "Claims", "Definition", "DefinitionError", "Noise",
    "Parameter", "Reference", "UnknownActivationError", "add", "aliases", "all_definitions", "get",
    "names", "x",
]  # fmt: skip

_MODULES: tuple[ModuleType, ...] = (
    rectifiers,
    smooth_rectifiers,
    exponential,
    algebraic,
    sigmoidal,
    gated,
    shrinking,
    oscillating,
    stochastic,
)

#: family -> what its members have in common
FAMILIES: dict[str, str] = {m.FAMILY: (m.__doc__ or "").partition("\n")[0] for m in _MODULES}

_by_name: dict[str, Definition] = {}
_by_key: dict[str, Definition] = {}  # names and aliases in the form in which they are compared
_by_module: dict[str, Definition] = {}


class UnknownActivationError(KeyError):
    """No activation has this name; the message names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


def names() -> list[str]:
    """The name of every activation, sorted; aliases are not among them."""
    return sorted(_by_name)


def aliases() -> dict[str, str]:
    """Every alias and the name it stands for."""
    return {alias: d.name for d in all_definitions() for alias in d.aliases}


def all_definitions() -> list[Definition]:
    """Every definition, sorted by name."""
    return [_by_name[name] for name in names()]


def get(name: str) -> Definition:
    """The definition with this name or alias; case, "_", "-" and spaces do not matter."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an activation is a string, got {type(name).__name__}")
    found = _by_key.get(_key(name))
    if found is None:
        raise UnknownActivationError(f"no activation is called {name!r}{_advice(name)}")
    return found


def add(definition: Definition, *, replace: bool = False) -> Definition:
    """Enter a definition in the catalogue; every function that takes a name finds it from then on.

    A name or alias that another definition has is an error. `replace=True` puts the definition in
    the place of the one that has the same name, if there is one.
    """
    previous = _by_name.get(definition.name)
    if previous is not None and not replace:
        raise DefinitionError(
            f"there is an activation called {definition.name!r} already; choose another name, or "
            "give replace=True to put this one in its place"
        )
    for word in (definition.name, *definition.aliases):
        other = _by_key.get(_key(word))
        if other is not None and other is not previous:
            raise DefinitionError(
                f"definition of {definition.name!r} takes the name {word!r}, which belongs to {other.name!r}"
            )
    other = _by_module.get(definition.module)
    if other is not None and other is not previous:
        raise DefinitionError(
            f"definition of {definition.name!r} names its module {definition.module!r}, "
            f"as {other.name!r} does"
        )
    if previous is not None:
        _by_module.pop(previous.module, None)
        for word in (previous.name, *previous.aliases):
            _by_key.pop(_key(word), None)
    _by_name[definition.name] = _by_module[definition.module] = definition
    for word in (definition.name, *definition.aliases):
        _by_key[_key(word)] = definition
    return definition


def _key(name: str) -> str:
    return name.lower().translate(_SEPARATORS)


_SEPARATORS = str.maketrans("", "", "_- ")


def _advice(name: str) -> str:
    from difflib import get_close_matches

    spelled = {_key(word): word for d in all_definitions() for word in (*d.aliases, d.name)}
    near = [spelled[key] for key in get_close_matches(_key(name), list(spelled), n=3, cutoff=0.6)]
    if not near:
        return "; names() lists them all"
    *first, last = map(repr, near)
    return f"; did you mean {', '.join(first)} or {last}?" if first else f"; did you mean {last}?"


for _module in _MODULES:
    for _definition in _module.DEFINITIONS:
        object.__setattr__(
            _definition, "family", _module.FAMILY
        )  # a definition stands in its family's module
        add(_definition)

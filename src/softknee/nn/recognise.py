"""Which activation a module, a class or a function is: ours, torch's, timm's and transformers'.

Other libraries are not imported: their classes are known by the package they come from and their name.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from softknee import catalogue
from softknee.catalogue.definition import Definition

__all__ = ["Known", "called_by", "chosen", "class_of", "function", "module", "table", "with_values"]

_THEIRS = ("timm", "transformers")
_SUFFIXES = ("Activation", "JitAutoFn", "Jit", "Me")  # GELUActivation, SwishJit, SwishMe


@dataclass(frozen=True)
class Known:
    """An activation with the parameters and choices that a module or a call gives it.

    A learnable parameter counts with its mean. inplace: it overwrites its input.
    """

    definition: Definition
    values: Mapping[str, float] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    inplace: bool = False

    def __str__(self) -> str:
        differs = {n: v for n, v in self.values.items() if v != self.definition.defaults.get(n)}
        differs |= {n: v for n, v in self.choices.items() if v != self.definition.choices[n][0]}
        shown = ", ".join(f"{n}={v:.4g}" if isinstance(v, float) else f"{n}={v}" for n, v in differs.items())
        return f"{self.definition.name}({shown})" if shown else self.definition.name


def class_of(kind: type) -> Definition | None:
    """The definition of a module class, or of the nearest of its bases that has one."""
    for base in kind.__mro__:
        ours = vars(base).get("definition")
        if isinstance(ours, Definition):
            return ours
        found = None
        if base.__module__.startswith("torch.nn.modules."):
            found = next((d for d in catalogue.all_definitions() if d.module == base.__name__), None)
        elif base.__module__.partition(".")[0] in _THEIRS:
            found = _elsewhere(base.__name__, ".activations" in base.__module__)
        if found is not None:
            return found
    return None


def _elsewhere(name: str, among_activations: bool) -> Definition | None:
    """Where only activations are defined, any name of the catalogue counts; elsewhere, what is known
    to be one."""
    stripped = next((name[: -len(s)] for s in _SUFFIXES if name.endswith(s)), name)
    for d in catalogue.all_definitions():
        if name in d.elsewhere or stripped in d.elsewhere:
            return d
    if not among_activations:
        return None
    try:
        return catalogue.get(stripped)
    except KeyError:
        return None


def module(given: torch.nn.Module) -> Known | None:
    """The activation a module is; None where it is something else, or not known."""
    definition = class_of(type(given))
    if definition is None:
        return None
    theirs = type(given).__module__.startswith(tuple(f"{name}." for name in _THEIRS))

    def find(name: str) -> Any:
        value = getattr(given, name, None)
        return None if theirs and isinstance(value, Tensor) else value  # what they learn may be its logarithm

    return with_values(definition, find)


def function(
    called: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> Known | None:
    """The activation that a call of a function or a tensor's method is; args: what follows the input."""
    definition, in_place = called_by(called)
    if definition is None:
        return None
    given = dict(zip(definition.positional, args, strict=False)) | dict(kwargs or {})
    known = with_values(definition, given.get)
    return replace(known, inplace=in_place or known.inplace)


def called_by(called: Any) -> tuple[Definition | None, bool]:
    """The definition of a function, and whether its very name says that it works in place."""
    definition = getattr(called, "definition", None)
    if isinstance(definition, Definition):
        return definition, False
    try:
        return _by_function().get(called, (None, False))
    except TypeError:  # not hashable
        return None, False


def with_values(definition: Definition, find: Callable[[str], Any]) -> Known:
    """A definition with the parameters and choices that are found by their names."""
    values, choices = {}, {}
    for p in definition.parameters:
        value = find(p.name)
        if isinstance(value, Tensor):
            value = value.detach().double().mean().item() if value.numel() and not value.is_meta else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value != p.spelled:
            values[p.name] = float(value)
    for n, offered in definition.choices.items():
        value = find(n)
        if isinstance(value, (str, bool)) and value in offered:
            choices[n] = value
    return Known(definition, values, choices, find("inplace") is True)


@lru_cache(maxsize=1)
def _by_function() -> dict[Any, tuple[Definition, bool]]:
    """torch's functions and tensor methods, with whether they work in place."""
    found: dict[Any, tuple[Definition, bool]] = {}
    for d in catalogue.all_definitions():
        for name in {d.name, d.torch or d.name}:
            for home in (torch.nn.functional, torch, Tensor):
                for spelled, in_place in ((name, False), (f"{name}_", True)):
                    theirs = getattr(home, spelled, None)
                    if callable(theirs) and not inspect.isclass(theirs):
                        found.setdefault(theirs, (d, in_place))
        for alias in d.aliases:
            theirs = getattr(torch.special, alias, None)
            if theirs is not None:
                found.setdefault(theirs, (d, False))
    return found


def chosen(where: Any, name: str, module: Any) -> bool:
    """Whether a pattern of names, or a predicate of name and module, chooses a module; None chooses all."""
    if isinstance(where, str):
        return fnmatch.fnmatchcase(name, where)
    return where is None or bool(where(name, module))


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Lines of text with aligned columns; a column without content is left out."""
    kept = [k for k in range(len(head)) if any(row[k] for row in rows)]
    lines = [[row[k] for k in kept] for row in (head, *rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(kept))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )

"""A module from whatever names an activation."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import Any

import torch

from softknee import catalogue
from softknee.catalogue.definition import Definition
from softknee.nn.classes import module_of

__all__ = ["call_of", "maker", "named"]


def named(given: Any) -> tuple[Definition, dict[str, Any]] | None:
    """The definition and the arguments of a name ("mish", or "leaky_relu(negative_slope=0.3)") or of
    what has a definition, such as an Activation; None for a module, and anything else."""
    name, arguments = call_of(given) if isinstance(given, str) else (given, {})
    definition = catalogue.get(name) if isinstance(name, str) else getattr(name, "definition", None)
    if isinstance(definition, Definition) and not isinstance(given, torch.nn.Module):
        return definition, arguments
    return None


def maker(given: Any) -> Callable[..., torch.nn.Module]:
    """What makes a module of an activation: of a name ("mish", or "leaky_relu(negative_slope=0.3)"), an
    Activation, a module (which is copied), or something to call. The argument: whether it shall work in
    place, where there is a choice."""
    if isinstance(given, torch.nn.Module):
        return lambda _=False: copy.deepcopy(given)
    found = named(given)
    if found is not None:
        definition, arguments = found
        kind = given if isinstance(given, type) else module_of(definition)

        def make(in_place: bool = False) -> torch.nn.Module:
            more = {"inplace": True} if in_place and definition.inplace else {}
            return kind(**arguments, **more)

        return make
    if callable(given):
        return lambda _=False: _checked(given)
    raise TypeError(
        f"an activation is given by its name, as a module or a class of modules, got {given!r:.60}"
    )


def _checked(given: Callable[[], Any]) -> torch.nn.Module:
    try:
        made = given()
    except TypeError as error:
        if isinstance(given, type):
            raise
        raise TypeError(f"{given!r:.60} does not make a module when it is called: {error}") from None
    if not isinstance(made, torch.nn.Module):
        raise TypeError(f"{given!r:.60} made a {type(made).__name__}, not a module")
    return made


def call_of(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of a text such as "mish" or "leaky_relu(negative_slope=0.3)"."""
    if "(" not in text:
        return text, {}
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        pass
    raise ValueError(f'write {text!r} like "leaky_relu(negative_slope=0.3)"')

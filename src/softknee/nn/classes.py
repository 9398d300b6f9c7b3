"""`softknee.nn`: torch.nn with our activations.

A module class an activation, made from its definition. Where torch.nn has the class, ours is a
subclass of it: the same constructor, `repr` and state_dict keys, and `isinstance` holds; only
`forward` differs. Every other name of torch.nn falls through to torch.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from softknee import catalogue
from softknee.catalogue.definition import Definition
from softknee.nn import beyond
from softknee.nn.adaptive import ChannelNetwork
from softknee.nn.constrain import constrain_
from softknee.nn.functional import docstring, function_of
from softknee.nn.runtime import runtime

__all__: list[str]

_classes: dict[str, type[torch.nn.Module]] = {}


def module_of(definition: Definition) -> type[torch.nn.Module]:
    """The module class of a definition."""
    made = _classes.get(definition.name)
    if made is None or made.definition is not definition:
        made = _classes[definition.name] = _make(definition)
    return made


class Activation(torch.nn.Module):
    """Base of the activation modules that torch.nn does not have.

    A learnable parameter is a `torch.nn.Parameter` of `num_parameters` values, one for all or one a
    channel of dimension `dim`; everything else is kept as it was given.
    """

    definition: Definition

    def extra_repr(self) -> str:
        shown = []
        if self.definition.learnable:
            shown.append(f"num_parameters={self.num_parameters}")
            if self.dim != 1:
                shown.append(f"dim={self.dim}")
        learnable = {p.name for p in self.definition.learnable}
        for name in (*self.definition.positional, *self.definition.keywords):
            if name in learnable or name == "training":
                continue
            value = getattr(self, name)
            if value is None or (name == "inplace" and not value):
                continue
            if name in self.definition.choices and value == self.definition.choices[name][0]:
                continue
            shown.append(f"{name}={value!r}")
        return ", ".join(shown)

    def constrain_(self) -> Activation:
        """Puts learnable parameters back into the range that the definition allows, for use after a step of
        the optimizer. What must be positive is kept at 0.01 or more, what must not be 0 that far from it."""
        constrain_(self, self.definition)
        return self

    def reset_parameters(self) -> None:
        """Learnable parameters back to their initial values."""
        for p in self.definition.learnable:
            torch.nn.init.constant_(getattr(self, p.name), self._initial[p.name])


def _constructor(definition: Definition) -> str:
    """The arguments of a module: torch.nn's where it has the class, else learnable counts and
    initial values, then the rest."""
    arguments, keywords = [], []
    if definition.learnable:
        arguments.append("num_parameters=1")
    for name in (*definition.positional, *definition.keywords):
        if name == "training":
            continue
        parameter = next((p for p in definition.parameters if p.name == name), None)
        computed = parameter is not None and parameter.computed
        default = definition.default_of(name)
        shown = (parameter.init_name or name) if parameter is not None and parameter.learnable else name
        if default is None:
            text = f"{shown}=None" if computed else shown
        elif default == float("inf"):
            text = f'{shown}=float("inf")'
        else:
            text = f"{shown}={default!r}"
        if text == shown and any("=" in a for a in arguments[1 if definition.learnable else 0 :]):
            text = f"{shown}=None"  # behind a default: checked by `_fill`
        (arguments if name in definition.positional else keywords).append(text)
    if definition.learnable:
        keywords += ["dim=1", "device=None", "dtype=None"]
    if any(p.computed for p in definition.parameters):
        keywords.append("reduction=16")
    return ", ".join(["self", *arguments, *(["*", *keywords] if keywords else [])])


def _fill(module: Any, definition: Definition, values: dict[str, Any]) -> None:
    """Sets up a new module from its constructor's arguments."""
    module._initial = {}
    learnable = {p.name: p for p in definition.learnable}
    if learnable:
        count = values["num_parameters"]
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{definition.module}: num_parameters must be a positive integer, got {count!r}")
        module.num_parameters, module.dim = count, values["dim"]
    computed = {p.name for p in definition.parameters if p.computed}
    numbers = {}
    for name in (*definition.positional, *definition.keywords):
        if name == "training":
            continue
        if name in learnable:
            initial = float(values[learnable[name].init_name or name])
            module._initial[name] = numbers[name] = initial
            weight = torch.full(
                (module.num_parameters,), initial, device=values["device"], dtype=values["dtype"]
            )
            setattr(module, name, torch.nn.Parameter(weight))
        else:
            setattr(module, name, values[name])
            if name in computed and values[name] is None:
                network = ChannelNetwork(
                    module.num_parameters, values["reduction"], values["device"], values["dtype"]
                )
                setattr(module, f"{name}_network", network)
                continue
            if name in {p.name for p in definition.parameters}:
                numbers[name] = values[name]
    choices = {n: getattr(module, n) for n in definition.choices}
    definition.chosen(choices)  # says what is not offered
    runtime(definition)._given(numbers, choices)  # says what is out of range


def _make(definition: Definition) -> type[torch.nn.Module]:
    theirs = getattr(torch.nn, definition.module, None)
    function = function_of(definition)
    run = runtime(definition)
    learnable = [p.name for p in definition.learnable]
    arguments = [*definition.positional, *definition.keywords]
    inherited = isinstance(theirs, type)
    scope: dict[str, Any] = {"_function": function, "_fill": _fill, "_definition": definition}
    namespace: dict[str, Any] = {
        "definition": definition,
        "__doc__": docstring(definition),
        "__module__": "softknee.nn",
    }
    extra: list[str] = []
    if inherited:
        known = theirs.__init__.__code__.co_varnames if hasattr(theirs.__init__, "__code__") else ()
        extra = [n for n in definition.keywords if n not in known] + ["dim"] * bool(learnable)
        defaults = {n: 1 if n == "dim" else definition.default_of(n) for n in extra}
        if extra:  # arguments of ours that torch's class does not have

            def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
                given = {n: kwargs.pop(n, defaults[n]) for n in extra}
                theirs.__init__(self, *args, **kwargs)
                for n, v in given.items():
                    setattr(self, n, v)
                choices = {n: getattr(self, n) for n in definition.choices}
                definition.chosen(choices)
                run._given({n: getattr(self, n) for n in run.parameters if n not in learnable}, choices)

            __init__.__signature__ = _extended_signature(theirs, defaults)  # type: ignore[attr-defined]
            namespace["__init__"] = __init__
        base: type = theirs
    else:
        base = Activation
        text = (
            f"def __init__({_constructor(definition)}):\n"
            "    given = dict(locals())\n"
            "    _base.__init__(self)\n"
            "    _fill(self, _definition, given)\n"
        )
        scope["_base"] = Activation
        exec(compile(text, f"<softknee.nn.{definition.module}>", "exec"), scope)
        namespace["__init__"] = scope["__init__"]
    passed = []
    computed = {p.name for p in definition.parameters if p.computed}
    for n in arguments:
        attribute = "getattr(self, 'inplace', False)" if n == "inplace" else f"self.{n}"
        if n in computed:
            attribute = f"self.{n}_network(input, self.dim) if self.{n} is None else self.{n}"
        passed.append(attribute if n in definition.positional else f"{n}={attribute}")
    if learnable:
        passed.append("dim=self.dim")
    body = f"def forward(self, input):\n    return _function({', '.join(['input', *passed])})\n"
    exec(compile(body, f"<softknee.nn.{definition.module}.forward>", "exec"), scope)
    namespace["forward"] = scope["forward"]
    if extra:
        namespace["extra_repr"] = _extended_repr(theirs, defaults)
    made = type(definition.module, (base,), namespace)
    for name in ("__init__", "forward", "extra_repr"):
        if name in namespace:
            namespace[name].__qualname__ = f"{definition.module}.{name}"
    return made


def _extended_signature(theirs: Any, defaults: dict[str, Any]) -> inspect.Signature:
    """Of a constructor: torch's arguments, and ours by keyword."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = [p for p in inspect.signature(theirs.__init__).parameters.values() if p.kind not in variable]
    more = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=v) for n, v in defaults.items()]
    return inspect.Signature([*known, *more])


def _extended_repr(theirs: Any, defaults: dict[str, Any]) -> Any:
    def extra_repr(self: Any) -> str:
        more = [f"{n}={getattr(self, n)!r}" for n, default in defaults.items() if getattr(self, n) != default]
        return ", ".join([theirs.extra_repr(self), *more])

    return extra_repr


def find(name: str) -> Any:
    """A module class by its class name: ours, else torch.nn's."""
    for definition in catalogue.all_definitions():
        if definition.module == name:
            return module_of(definition)
    theirs = beyond.module(name) or getattr(torch.nn, name, None)
    if theirs is None:
        raise AttributeError(f"neither softknee.nn nor torch.nn has {name!r}{_advice(name)}")
    return theirs


def _advice(name: str) -> str:
    from difflib import get_close_matches

    every = [*(d.module for d in catalogue.all_definitions()), *beyond.MODULES]
    every += [n for n in dir(torch.nn) if n[:1].isupper()]
    names = {n.lower(): n for n in every}
    near = [names[n] for n in get_close_matches(name.lower(), names, n=3, cutoff=0.6)]
    return "; did you mean " + " or ".join(map(repr, near)) + "?" if near else ""

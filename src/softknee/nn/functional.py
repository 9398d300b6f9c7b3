"""`softknee.functional`: torch.nn.functional with our activations.

Every activation of the catalogue is a function here, with torch's name, signature and defaults where
torch has it; every other name of torch.nn.functional falls through to torch, so that
`from softknee import functional as F` is the only line that changes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from softknee import catalogue
from softknee.catalogue.definition import Definition
from softknee.nn import beyond
from softknee.nn.options import current
from softknee.nn.runtime import PLAIN, runtime

__all__: list[str]

_functions: dict[str, Callable[..., Any]] = {}


def function_of(definition: Definition) -> Callable[..., Any]:
    """The torch function of a definition: torch's signature, our derivatives and kernels."""
    made = _functions.get(definition.name)
    if made is None or made.definition is not definition:  # type: ignore[attr-defined]
        made = _functions[definition.name] = _make(definition)
    return made


def signature_text(definition: Definition, first: str = "input", named: bool = True) -> str:
    """The arguments as Python writes them: `input, alpha=1.0, inplace=False`."""

    def written(name: str) -> str:
        default = definition.default_of(name)
        if default is None:
            return name
        if definition.torch and name in {p.name for p in definition.learnable}:
            return name  # torch's signature has no default
        if not named:  # the very object, so that `is` recognises it
            return f"{name}=_d_{name}"
        text = (
            f'float("{default}")'
            if isinstance(default, float) and not math.isfinite(default)
            else repr(default)
        )
        return f"{name}={text}"

    positional = [written(n) for n in definition.positional]
    given = [k for k, text in enumerate(positional) if "=" in text]
    if given:  # Python wants the required arguments first: behind a default they are checked at the call
        positional[given[0] :] = [t if "=" in t else f"{t}=None" for t in positional[given[0] :]]
    keywords = [written(n) for n in definition.keywords]
    extra = ["dim=1"] if definition.learnable else []
    return ", ".join([first, *positional, *(["*", *keywords, *extra] if keywords or extra else [])])


def _make(definition: Definition) -> Callable[..., Any]:
    """Compiles a function with the definition's own signature.

    The first test is the common call: a plain floating tensor and every argument at its default; then that with
    other numbers and choices, given before.
    """
    run = runtime(definition)
    names = (*definition.positional, *definition.keywords)
    parameters = [p.name for p in definition.parameters]
    values = "{" + ", ".join(f"{n!r}: {n}" for n in parameters) + "}"
    choices = "{" + ", ".join(f"{n!r}: {n}" for n in definition.choices) + "}"
    flags = "".join(f", {n}={n}" for n in ("training", "inplace") if n in names)
    flags += ", dim=dim" if definition.learnable else ""
    scope: dict[str, Any] = {
        "_run": run,
        "_exact": Tensor,
        "_options": current,
        "_met": run.met,
        "_plain": PLAIN,
    }
    scope["_compiling"] = torch.compiler.is_dynamo_compiling
    scope |= {f"_d_{n}": definition.default_of(n) for n in names}
    lines = [f"def {definition.name}({signature_text(definition, named=False)}):"]
    if run.plain is not None:
        scope["_op"] = run.plain.unary(lambda x: run(x, {}))
        tests = "".join(f" and {n} is _d_{n}" for n in names)
        lines += [f"    if type(input) is _exact{tests}:", "        return _op(input)"]
    options = [n for n in names if n not in (*parameters, *definition.choices)]
    if key := [*parameters, *definition.choices]:  # values that have been met before
        tests = "".join(f" and {n} is _d_{n}" for n in options)
        tests += "".join(f" and type({n}) in _plain" for n in key)
        lines += [
            f"    if type(input) is _exact{tests} and not _compiling():",
            f"        if (op := _met.get(({', '.join(key)},))) is not None:",
            "            return op(input)",
        ]
    if names and set(names) == set(parameters) == {p.name for p in definition.learnable}:
        scope["_op"] = run.learned()
        lines += [
            f"    if type(input) is _exact and (y := _op(input, {', '.join(names)}, dim=dim)) is not None:",
            "        return y",
        ]
    lines.append(f"    return _run(input, {values}, {choices}{flags}, precision=_options.call.precision)")
    exec(compile("\n".join(lines), f"<softknee.functional.{definition.name}>", "exec"), scope)
    made: Callable[..., Any] = scope[definition.name]
    made.__module__ = "softknee.functional"
    made.__doc__ = docstring(definition)
    made.definition = definition  # type: ignore[attr-defined]
    if _observers:
        _observe(made)
    return made


_observers: list[Callable[..., Any]] = []


@contextmanager
def observed(observer: Callable[..., Any]) -> Iterator[None]:
    """Within the block, every call of an activation's function is
    `observer(definition, input, values, choices, run)`, which returns `run()`.

    The functions themselves are changed for that while, so that they cost nothing otherwise.
    """
    _observers.append(observer)
    for made in _functions.values():
        _observe(made)
    try:
        yield
    finally:
        _observers.remove(observer)
        if not _observers:
            for made in _functions.values():
                made.__globals__.update(made.__globals__.pop("_unobserved", {}))


def _observe(made: Callable[..., Any]) -> None:
    scope, definition = made.__globals__, made.definition  # type: ignore[attr-defined]
    if "_unobserved" in scope:
        return
    scope["_unobserved"] = {n: scope[n] for n in ("_op", "_met", "_run") if n in scope}
    scope["_met"] = {}
    run = scope["_run"]

    def _run(input: Any, values: Any, choices: Any = None, **more: Any) -> Any:
        return _observers[-1](
            definition, input, values, choices or {}, lambda: run(input, values, choices, **more)
        )

    scope["_run"] = _run
    if "_op" in scope:
        op = scope["_op"]
        scope["_op"] = lambda x, *values, **_: (
            None if values else _observers[-1](definition, x, {}, {}, lambda: op(x))
        )


def docstring(definition: Definition) -> str:
    """What a definition says of itself, as documentation of its function."""
    from softknee.lang.text import to_text

    formula = to_text(definition.chosen({}))
    lines = [f"{definition.name}(x) = {formula}", "", definition.use]
    if definition.note:
        lines += ["", definition.note]
    described = [p for p in definition.parameters if p.doc]
    if described or definition.choices:
        lines += ["", "Args:", "    input: a tensor of any shape"]
        lines += [f"    {p.name}: {p.doc}" for p in described]
        lines += [f"    {n}: one of {', '.join(map(repr, v))}" for n, v in definition.choices.items()]
        if definition.inplace:
            lines += ["    inplace: write the result over the input"]
    kinks = [
        f"    at x = {to_text(k)}: {s if isinstance(s, str) else to_text_of(s)}"
        for k, s in definition.kinks.items()
    ]
    if kinks:
        lines += [
            "",
            "Slope used at a kink (left, right or mean of the one-sided slopes, or a value):",
            *kinks,
        ]
    if definition.reference is not None:
        lines += ["", f"Source: {definition.reference}"]
    return "\n".join(lines)


def to_text_of(value: Any) -> str:
    from softknee.lang.nodes import as_node
    from softknee.lang.text import to_text

    return to_text(as_node(value))


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    # torch's own name comes first: F.linear is torch's, whatever an alias says
    try:
        definition = catalogue.get(name)
    except KeyError:
        definition = None
    if definition is not None and name == definition.name:
        made = function_of(definition)
        if definition.family != "user":  # a user's own may be defined again
            globals()[name] = made
        return made
    if (found := beyond.function(name)) is not None:
        globals()[name] = found
        return found
    theirs = getattr(torch.nn.functional, name, None)
    if name.endswith("_") and not name.startswith("_"):  # relu_, elu_: in place
        try:
            base = catalogue.get(name[:-1])
        except KeyError:
            base = None
        if base is not None and base.inplace and base.name == name[:-1]:
            made = globals()[name] = _in_place(function_of(base))
            return made
    if theirs is not None:
        return theirs
    if definition is not None:
        return function_of(definition)
    raise AttributeError(_unknown(name))


def _unknown(name: str) -> str:
    try:
        catalogue.get(name)
    except KeyError as error:
        return f"neither softknee nor torch.nn.functional has {name!r}: {error}"
    return name


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, inplace=True, **kwargs)  # type: ignore[no-any-return]

    call.__name__ = call.__qualname__ = function.__name__ + "_"
    call.__module__ = "softknee.functional"
    call.__doc__ = f"In-place version of {function.__name__}."
    return call


def __dir__() -> list[str]:
    theirs = [
        n
        for n in dir(torch.nn.functional)
        if not n.startswith("_") and not inspect.ismodule(getattr(torch.nn.functional, n))
    ]
    return sorted({*catalogue.names(), *beyond.FUNCTIONS, *theirs})

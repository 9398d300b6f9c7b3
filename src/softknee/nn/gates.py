"""Gated units: functions of two tensors, or of the two halves of one.

A gated unit is a definition with two inputs (`softknee.catalogue.gates`), so one pass over the data
gives its value and one pass both gradients, and the two inputs (or the one tensor of which they are
the halves) are all that is saved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from softknee import catalogue
from softknee.catalogue.definition import Definition
from softknee.catalogue.gates import GATES, USUAL, Gate, gated
from softknee.nn import parts, recognise
from softknee.nn.constrain import constrain_
from softknee.nn.launch import broadcast_shapes
from softknee.nn.make import named
from softknee.nn.options import current
from softknee.nn.pointwise import Call, constant
from softknee.nn.recognise import Known
from softknee.nn.runtime import Runtime, runtime, shaped

__all__ = ["GatedMLP", "GatedUnit", "Opened", "dispatched", "gated_unit", "is_unit", "opened", "unit_of"]


def _apply(
    run: Runtime, gate: Tensor, up: Tensor | None, values: dict[str, Any], choices: dict[str, Any], dim: int,
    gate_first: bool, interleaved: bool, training: bool = False,
) -> Tensor:  # fmt: skip
    """The unit at two tensors, or (up is None) at the halves of one."""
    definition, name = run.definition, run.name
    _floating(name, gate)
    layout = parts.Layout(dim, 2, interleaved, not gate_first)
    given = run._given(values, choices)
    if up is None:
        _halvable(name, gate, dim)
        like = layout.parts(gate)[0] if given or training else gate
    else:
        _floating(name, up)
        like = _wider(name, gate, up)
    chosen = {n: v for n, v in choices.items() if v != definition.choices[n][0]}
    training = training and definition.training is not None
    op = run.operator(chosen, given, training)
    more = [_drawn(n.distribution, like) for n in definition.noise] if training else []
    more += [
        v if v.dim() == 0 else shaped(name, n, v, like, dim)
        for n, v in given.items()
        if isinstance(v, Tensor)
    ]
    call = Call(tuple([float(given[n]) for n in op.scalars]), (None,), current.call.precision)
    if up is None:
        return parts.apply(op, gate, layout, tuple(more), call)
    return op(gate, up, *more, call)  # type: ignore[no-any-return]


def _floating(name: str, t: Any) -> None:
    if not isinstance(t, Tensor):
        raise TypeError(f"{name} takes one tensor or two, got {type(t).__name__}: {t!r:.60}")
    if not t.is_floating_point() or t.layout is not torch.strided:
        kind = t.layout if t.layout is not torch.strided else t.dtype
        raise TypeError(f"{name} is not defined for {kind} tensors; convert the input, e.g. with x.float()")


def _halvable(name: str, x: Tensor, dim: int) -> None:
    if not isinstance(dim, int):
        more = "; give a second tensor as gate=..." if isinstance(dim, Tensor) else f", got {dim!r:.60}"
        raise TypeError(f"{name}: dim is a whole number{more}")
    if not -x.dim() <= dim < x.dim():
        raise IndexError(f"{name}: there is no dimension {dim} in an input of shape {tuple(x.shape)}")
    if x.shape[dim] % 2:
        raise ValueError(
            f"{name} halves dimension {dim} of its input, but {x.shape[dim]} is odd (shape {tuple(x.shape)})"
        )


def _wider(name: str, gate: Tensor, up: Tensor) -> Tensor:
    """One of the two, as it is broadcast."""
    if gate.shape == up.shape:
        return gate
    try:
        return gate.broadcast_to(broadcast_shapes(gate.shape, up.shape))
    except RuntimeError:
        raise ValueError(
            f"{name}: a gate of shape {tuple(gate.shape)} does not broadcast with an other input of shape "
            f"{tuple(up.shape)}"
        ) from None


def _drawn(distribution: str, like: Tensor) -> Tensor:
    return torch.rand_like(like) if distribution == "uniform" else torch.randn_like(like)


# Functions

_runtimes = SimpleNamespace()  # activation -> the runtime of its gated unit


@constant
def _prepare(activation: str) -> str:
    """Makes what a tracer must not see being made; returns where it is kept."""
    definition = catalogue.get(activation)
    setattr(_runtimes, definition.name, runtime(gated(definition)))
    return definition.name


def gated_unit(
    gate: Tensor, up: Tensor | None = None, activation: Any = USUAL, *, limit: float | Tensor = float("inf"),
    offset: float | Tensor = 0.0, dim: int = -1, gate_first: bool = True, interleaved: bool = False,
    training: bool = False, **parameters: Any,
) -> Tensor:  # fmt: skip
    """activation(gate) * up, with any activation by name.

    Args:
        gate: a tensor; alone, its halves are the two inputs
        up: the other input, of a shape that broadcasts
        activation: a name or alias of the catalogue, or an Activation
        limit: min(gate, limit) and max(-limit, min(up, limit)) take the place of gate and up
        offset: added to up, behind its limits
        dim: the dimension that is halved, and the one along which parameters of several values lie
        gate_first: whether the first half is the gate
        interleaved: the halves take turns (gate, up, gate, up, ...) instead of following one another
        training: for activations that are random in training
        parameters: the activation's parameters and choices, by name
    """
    if has_torch_function((gate, up)):
        return handle_torch_function(
            gated_unit, (gate, up), gate, up, activation, limit=limit, offset=offset, dim=dim,
            gate_first=gate_first, interleaved=interleaved, training=training, **parameters,
        )  # fmt: skip
    run = getattr(_runtimes, _prepare(activation if isinstance(activation, str) else _named(activation)[0]))
    _known(run.definition, parameters)
    choices = {n: v for n, v in parameters.items() if n in run.definition.choices}
    values = {n: v for n, v in parameters.items() if n not in choices} | {"limit": limit, "offset": offset}
    return _apply(run, gate, up, values, choices, dim, gate_first, interleaved, training)


def _named(activation: Any) -> tuple[str, dict[str, Any]]:
    """Its name in the catalogue, and the parameters given with it."""
    found = None if isinstance(activation, torch.nn.Module) else named(activation)
    if found is None:
        raise TypeError(
            f"the activation of a gated unit is a name or an Activation, got {activation!r:.60}; its parameters "
            'are keywords, or written like "leaky_relu(negative_slope=0.3)"'
        )
    return found[0].name, found[1]


def _known(definition: Definition, given: dict[str, Any]) -> None:
    has = [*(p.name for p in definition.parameters), *definition.choices]
    if unknown := [n for n in given if n not in has]:
        raise TypeError(
            f"{definition.name} has no parameter {unknown[0]!r}; its parameters: {', '.join(has)}"
        )


def signature_text(g: Gate, module: bool = False) -> str:
    """The arguments of its function, or of its module, as Python writes them, with their types."""
    d = g.definition

    def typed(name: str) -> str:
        default = d.default_of(name)
        if name in d.choices:
            return f"{name}: Literal[{', '.join(map(repr, d.choices[name]))}] = {default!r}"
        shown = 'float("inf")' if default == float("inf") else repr(default)
        return f"{name}: {'float' if module else 'float | Tensor'} = {shown}"

    positional, keywords = [typed(n) for n in d.positional], [typed(n) for n in d.keywords]
    if module:
        head = ["self", "dim: int = -1"]
        keywords = [*positional, *keywords]
    elif g.torch:
        head, keywords = (
            ["input: Tensor", "dim: int = -1"],
            ["gate: Tensor | None = None", *positional, *keywords],
        )
    else:
        head, keywords = (
            ["gate: Tensor", "up: Tensor | None = None", *positional],
            [*keywords, "dim: int = -1"],
        )
    keywords += [f"gate_first: bool = {g.gate_first}", f"interleaved: bool = {g.interleaved}"]
    if module:
        keywords += [
            "learnable: bool | Sequence[str] = False",
            "num_parameters: int = 1",
            "device: Any = None",
            "dtype: Any = None",
        ]
    return ", ".join([*head, "*", *keywords])


def _function(g: Gate) -> Callable[..., Tensor]:
    """Compiles the function of a gated unit, with a signature of its own."""
    d = g.definition
    values = "{" + ", ".join(f"{p.name!r}: {p.name}" for p in d.parameters) + "}"
    choices = "{" + ", ".join(f"{n!r}: {n}" for n in d.choices) + "}"
    first, second = ("gate", "input") if g.torch else ("gate", "up")
    alone = "    if gate is None:\n        gate, input = input, None\n" if g.torch else ""
    parameters = (*d.positional, *d.keywords)
    every = ", ".join(f"{n}={n}" for n in (*parameters, "dim", "gate_first", "interleaved"))
    usual = " and ".join(f"{n} is _d_{n}" for n in parameters)
    arguments = signature_text(g)
    for n in parameters:  # the very object, so that `is` recognises it
        arguments = re.sub(rf"(\b{n}: [^=]*) = [^,]*(?=, |$)", rf"\1 = _d_{n}", arguments)
    heads = "input, gate=gate" if g.torch else "gate, up"
    one, two = ("input", "gate") if g.torch else ("gate", "up")
    text = f"""from __future__ import annotations
def {g.name}({arguments}) -> Tensor:
    if {usual} and type({one}) is _exact:
        if {two} is None:
            if type(dim) is int and (y := _halved({one}, dim, interleaved, not gate_first)) is not None:
                return y
        elif type({two}) is _exact and (y := _joint({first}, {second})) is not None:
            return y
    if _overridden(({first}, {second})):
        return _handle({g.name}, ({first}, {second}), {heads}, {every})
{alone}    return _apply(_run, {first}, {second}, {values}, {choices}, dim, gate_first, interleaved)
"""
    run = runtime(d)
    op = run.operator({}, {})
    scope: dict[str, Any] = {
        "_apply": _apply, "_run": run, "_handle": handle_torch_function, "_overridden": has_torch_function,
        "_joint": op.joint(), "_halved": parts.halved(op), "_exact": Tensor, **{f"_d_{n}": d.default_of(n) for n in parameters},
    }  # fmt: skip
    exec(compile(text, f"<softknee.functional.{g.name}>", "exec"), scope)
    made: Callable[..., Tensor] = scope[g.name]
    made.__module__ = "softknee.functional"
    made.__doc__ = _docstring(g)
    made.gate = g  # type: ignore[attr-defined]
    return made


def _docstring(g: Gate) -> str:
    from softknee.lang.nodes import substitute
    from softknee.lang.simplify import simplify
    from softknee.lang.text import to_text

    d = g.definition
    plain = {p.name: 1.0 if p.learnable else p.default for p in d.parameters if not g.defaults}
    formula = to_text(simplify(substitute(d.chosen({}), plain)))  # type: ignore[arg-type]
    halves = f"{'first' if g.gate_first else 'second'} half"
    if g.interleaved:
        halves = f"{'even' if g.gate_first else 'odd'} elements"
    lines = [
        f"{g.name}(gate, up) = {formula}",
        "",
        g.use,
        "",
        "Args:",
        *(
            ["    input: the tensor to halve; with a gate, the tensor that the gate multiplies"]
            if g.torch
            else ["    gate: a tensor; alone, its halves are the two inputs", "    up: the other input"]
        ),
        "    dim: the dimension that is halved, and the one along which parameters of several values lie",
        f"    gate_first: whether the first half is the gate; here, usually, the gate is the {halves}",
        "    interleaved: gate and other input take turns instead of following one another",
        *(f"    {p.name}: {p.doc}" for p in d.parameters if p.doc),
        *(f"    {n}: one of {', '.join(map(repr, v))}" for n, v in d.choices.items()),
        "",
        f"Source: {g.reference}",
    ]
    return "\n".join(lines)


_functions: dict[str, Callable[..., Tensor]] = {g.name: _function(g) for g in GATES}


_product = _functions["bilinear"]
_joint_product = runtime(_product.gate.definition).operator({}, {}).joint()  # type: ignore[attr-defined]


def bilinear(
    input1: Tensor, input2: Tensor | None = None, weight: Tensor | None = None, bias: Tensor | None = None,
    **options: Any,
) -> Tensor:  # fmt: skip
    """gate * up, of two tensors or the halves of one; with a weight it is torch's function of that name.

    options: limit, offset, dim, gate_first and interleaved, as `gated_unit` has them
    """
    if weight is not None:
        return torch.nn.functional.bilinear(input1, input2, weight, bias)  # type: ignore[arg-type]
    if not options:
        if type(input1) is Tensor is type(input2) and (y := _joint_product(input1, input2)) is not None:
            return y  # type: ignore[no-any-return]
        return _product(input1, input2)
    return _functions["bilinear"](input1, input2, **options)


# Modules


class GatedUnit(torch.nn.Module):
    """activation(gate) * up: of two tensors, or of the two halves of one.

    Args:
        activation: a name or alias of the catalogue, also "leaky_relu(negative_slope=0.3)"; or an Activation
        dim, gate_first, interleaved, limit, offset: as `softknee.functional.gated_unit` has them
        learnable: True makes the activation's learnable parameters `torch.nn.Parameter`s; a list of
            names, these
        num_parameters: how many values each has: one, or one an element of dimension `dim`
        parameters: values of the activation's parameters (where they are learnable, their first
            values) and its choices
    """

    named: Gate | None = None
    activation: str
    dim: int

    def __init__(
        self, activation: Any, dim: int = -1, *, gate_first: bool = True, interleaved: bool = False,
        learnable: bool | Sequence[str] = False, num_parameters: int = 1, device: Any = None, dtype: Any = None,
        **parameters: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.activation, written = _named(activation)
        parameters = {**written, **parameters}
        self.dim, self.gate_first, self.interleaved = dim, gate_first, interleaved
        definition = self.definition
        _known(definition, parameters)
        choices = {n: v for n, v in parameters.items() if n in definition.choices}
        definition.chosen(choices)
        runtime(definition)._given({n: v for n, v in parameters.items() if n not in choices}, choices)
        if learnable is True and not definition.learnable:
            raise ValueError(
                f"{self.activation} has no parameter that is usually learned; name them, for example "
                f"learnable={[p.name for p in definition.parameters][:1]}"
            )
        learned = [p.name for p in definition.learnable] if learnable is True else list(learnable or ())
        if unknown := [n for n in learned if n not in {p.name for p in definition.parameters}]:
            raise ValueError(f"{self.activation} has no parameter {unknown[0]!r} to learn")
        self.num_parameters = num_parameters
        self._options = (*(p.name for p in definition.parameters), *definition.choices)
        for name in self._options:
            value = parameters.get(name, definition.default_of(name))
            if name in learned:
                value = torch.nn.Parameter(torch.full((num_parameters,), value, device=device, dtype=dtype))
            setattr(self, name, value)

    @property
    def definition(self) -> Definition:
        return gated(catalogue.get(self.activation)) if self.named is None else self.named.definition

    def forward(self, gate: Tensor, up: Tensor | None = None) -> Tensor:
        return gated_unit(gate, up, self.activation, training=self.training, **self._given())

    def constrain_(self) -> GatedUnit:
        """Puts learned parameters back into the range that the activation's definition allows."""
        constrain_(self, self.definition)
        return self

    def _given(self) -> dict[str, Any]:
        given = {n: getattr(self, n) for n in self._options}
        return {**given, "dim": self.dim, "gate_first": self.gate_first, "interleaved": self.interleaved}

    def extra_repr(self) -> str:
        g, d = self.named, self.definition
        usual = {n: d.default_of(n) for n in self._options}
        usual |= {"gate_first": g is None or g.gate_first, "interleaved": g is not None and g.interleaved}
        shown = [repr(self.activation)] if g is None else []
        shown.append(f"dim={self.dim}")
        for name, value in usual.items():
            now = getattr(self, name)
            if isinstance(now, Tensor):
                shown.append(f"{name}: {now.numel()} learned")
            elif now != value:
                shown.append(f"{name}={now!r}")
        return ", ".join(shown)


_CONSTRUCTED = ("gate_first", "interleaved", "learnable", "num_parameters", "device", "dtype")


def _class(g: Gate) -> type[GatedUnit]:
    """The module class of a gated unit with a name; a subclass of torch.nn's where torch.nn has it."""
    function = _functions[g.name]
    theirs = getattr(torch.nn, g.module, None)

    d = g.definition
    passed = ", ".join(f"{n}={n}" for n in (*d.positional, *d.keywords, *_CONSTRUCTED))
    text = (
        "from __future__ import annotations\n"
        f"def __init__({signature_text(g, module=True)}) -> None:\n"
        f"    _base.__init__(self, _activation, dim, {passed})\n"
    )
    scope: dict[str, Any] = {"_base": GatedUnit, "_activation": g.activation}
    exec(compile(text, f"<softknee.nn.{g.module}>", "exec"), scope)
    __init__ = scope["__init__"]

    def forward(self: Any, gate: Tensor, up: Tensor | None = None) -> Tensor:
        return function(gate, up, **self._given())

    def torchs(self: Any, input: Tensor, gate: Tensor | None = None) -> Tensor:
        return function(input, gate=gate, **self._given())

    namespace = {
        "named": g,
        "__init__": __init__,
        "forward": torchs if g.torch else forward,
        "__doc__": f"The module of `softknee.functional.{g.name}`. {g.use}\n\n"
        f"Takes one tensor or two; see `GatedUnit` for the arguments.\n\nSource: {g.reference}",
        "__module__": __name__,
    }
    made = type(g.module, (GatedUnit, theirs) if isinstance(theirs, type) else (GatedUnit,), namespace)
    for method in (__init__, forward, torchs):
        method.__qualname__ = f"{g.module}.{method.__name__}"
    torchs.__name__ = "forward"
    return made


_classes: dict[str, type[GatedUnit]] = {g.module: _class(g) for g in GATES}


class GatedMLP(torch.nn.Module):
    """A feed-forward block: down_proj(activation(gate_proj(x)) * up_proj(x)).

    Its weights have the names and shapes of the blocks of Llama-like models: gate_proj and up_proj
    (hidden, dim), down_proj (dim, hidden).

    Args:
        dim: the size of the input and of the result
        hidden: the size between
        activation: of the gate; a name or alias of the catalogue
        bias: whether the three linear maps have one
        options: of the unit; see `GatedUnit`
    """

    def __init__(
        self, dim: int, hidden: int, activation: Any = USUAL, *, bias: bool = False, device: Any = None,
        dtype: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.gate_proj = torch.nn.Linear(dim, hidden, bias, **kind)
        self.up_proj = torch.nn.Linear(dim, hidden, bias, **kind)
        self.down_proj = torch.nn.Linear(hidden, dim, bias, **kind)
        self.unit = GatedUnit(activation, **options, **kind)

    def forward(self, input: Tensor) -> Tensor:
        return self.down_proj(self.unit(self.gate_proj(input), self.up_proj(input)))  # type: ignore[no-any-return]


def unit_of(called: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Known | None:
    """The gated unit that a module, or a call of a function with these arguments, is; its definition has
    two inputs. None where it is something else."""
    if isinstance(called, GatedUnit):
        return recognise.with_values(called.definition, lambda n: getattr(called, n, None))
    given = dict(kwargs or {})
    named = getattr(called, "gate", None)
    if called is gated_unit:
        given |= dict(zip(("gate", "up", "activation"), args, strict=False))
        definition = gated(catalogue.get(given.get("activation", USUAL)))
    elif called is bilinear:
        given |= dict(zip(("input1", "input2", "weight"), args, strict=False))
        if given.get("weight") is not None:
            return None
        definition = _functions["bilinear"].gate.definition  # type: ignore[attr-defined]
    elif isinstance(named, Gate):
        definition = named.definition
        order = ("input", "dim") if named.torch else ("gate", "up", *definition.positional)
        given |= dict(zip(order, args, strict=False))
    else:
        return None
    return recognise.with_values(definition, given.get)


@dataclass(frozen=True)
class Opened:
    """What a call of a gated unit is made of: the two inputs, and the activation of the first.

    given: the tensors that the two come from; one and the same where they are its halves. part: which elements
    of its dimension are the gate then."""

    gate: Tensor
    up: Tensor
    given: tuple[Tensor, Tensor]
    part: slice
    activation: Definition
    values: dict[str, Any]
    choices: dict[str, Any]


def is_unit(called: Any) -> bool:
    """Whether a function is a gated unit, of ours or torch's."""
    return isinstance(getattr(called, "gate", None), Gate) or called in (
        gated_unit,
        bilinear,
        torch.nn.functional.glu,
    )


def opened(called: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Opened | None:
    """None where the function is no gated unit. The limit of the gate is applied."""
    if called is torch.nn.functional.glu:
        called = _functions["glu"]
    named = getattr(called, "gate", None)
    if called is gated_unit:
        order: tuple[str, ...] = ("gate", "up", "activation")
    elif called is bilinear and "weight" not in kwargs and len(args) < 3:
        named, order = _functions["bilinear"].gate, ("gate", "up")  # type: ignore[attr-defined]
    elif isinstance(named, Gate):
        order = ("input", "dim") if named.torch else ("gate", "up", *named.definition.positional)
    else:
        return None
    given = dict(zip(order, args, strict=False)) | dict(kwargs)
    activation = catalogue.get(given.get("activation", USUAL) if named is None else named.activation)
    given = {**({} if named is None else named.defaults), **given}
    gate, up = given.get("gate"), given.get("up")
    if named is not None and named.torch:
        gate, up = (gate, given["input"]) if gate is not None else (given["input"], None)
    if not isinstance(gate, Tensor):
        return None
    whole, part = (gate, gate if up is None else up), slice(None)
    if up is None:
        first = given.get("gate_first", named is None or named.gate_first)
        interleaved = given.get("interleaved", named is not None and named.interleaved)
        gate, up = parts.Layout(given.get("dim", -1), 2, interleaved, not first).parts(gate)
        n = gate.shape[given.get("dim", -1)]
        part = slice(int(not first), None, 2) if interleaved else slice(0, n) if first else slice(n, None)
    limit = given.get("limit", float("inf"))
    if isinstance(limit, Tensor) or limit != float("inf"):
        gate = torch.minimum(gate, torch.as_tensor(limit, dtype=gate.dtype, device=gate.device))
    values = {p.name: given[p.name] for p in activation.parameters if given.get(p.name) is not None}
    choices = {n: given[n] for n in activation.choices if n in given}
    return Opened(gate, up, whole, part, activation, values, choices)


@contextmanager
def dispatched() -> Iterator[None]:
    """Within the block, modes that watch torch's functions see the calls of gated units, too: these do not take
    their short way."""
    scopes = [made.__globals__ for made in _functions.values()]
    for scope in scopes:
        scope["_exact"] = None
    try:
        yield
    finally:
        for scope in scopes:
            scope["_exact"] = Tensor


def __getattr__(name: str) -> Any:
    for made in (_functions, _classes):
        if name in made:
            return made[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What a definition becomes in torch: its operators, made on first use and kept.

A parameter that is a Python number is written into the expression: its default always, others as long as
a function meets few of them. Numbers that keep changing are given to one kernel at the call, as float64;
a tensor (a learnable parameter) is one more input.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
import torch.fx
from torch import Tensor

from softknee.catalogue.definition import Definition
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import Node, substitute, symbols_in
from softknee.lang.stabilise import rewrite
from softknee.nn.launch import broadcast_shapes
from softknee.nn.pointwise import Call, Pointwise, constant, current
from softknee.nn.saved import saved_form

__all__ = ["Runtime", "runtime"]

_exact = (Tensor, torch.nn.Parameter)
#: types of values by which a call is found again
PLAIN = frozenset({float, int, str})
#: how many calls with other values than the usual ones a function keeps, and how many it remembers before
MOST, SEEN = 64, 8
#: for how many numbers, or combinations of them, a function has expressions and kernels of their own
WRITTEN = 16
_PLAIN = Call()
_EXACT = Call(precision="exact")


#: every runtime made, so that a tracer can name one by its number
_numbered: list[Runtime] = []


@constant
def _prepare(number: int, key: Any) -> str:
    """Makes an operator that tracing needs but must not see being made; returns its attribute."""
    run = _numbered[number]
    op = run._operators.get(key) or run._make(*key)
    name = f"_operator_{op.number}"
    setattr(run, name, op)
    return name


class Runtime:
    """The torch side of one definition."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.name = definition.name
        self._operators: dict[object, Pointwise] = {}
        self.number = len(_numbered)
        _numbered.append(self)
        self.parameters = {p.name: p for p in definition.parameters}
        # everything at its default: the path that must be quick
        fixed = all(p.default is not None and not p.learnable for p in definition.parameters)
        self.plain = self.operator({}, {}) if fixed else None
        #: the same with other numbers and choices, by all their values: functions of a tensor
        self.met: dict[tuple[Any, ...], Any] = {}
        self._seen: deque[tuple[Any, ...]] = deque(maxlen=SEEN)
        #: the numbers that are written into expressions
        self.written: set[tuple[tuple[str, float], ...]] = set()

    def operator(
        self, choices: Mapping[str, Any], given: Mapping[str, Any], training: bool = False, order: int = 0,
        wrt: str = "x",
    ) -> Pointwise:  # fmt: skip
        """given: a Tensor (an input of the operator) or a number for each parameter that is not at
        its default."""
        tensors = tuple([n for n, v in given.items() if not isinstance(v, (int, float))])
        numbers = tuple([(n, v) for n, v in given.items() if n not in tensors])
        compiling = torch.compiler.is_dynamo_compiling()
        written = numbers if numbers and not compiling and self._writes(numbers) else ()
        scalars = () if written else tuple([n for n, _ in numbers])
        key = (tuple(choices.items()), tensors, scalars, written, training, order, wrt)
        if compiling:
            return getattr(self, _prepare(self.number, key))  # type: ignore[no-any-return]
        op = self._operators.get(key)
        return self._make(*key) if op is None else op

    def _writes(self, numbers: tuple[tuple[str, float], ...]) -> bool:
        """Whether these are among the first that are met; and float32 has them, with all that they lose in it."""
        if numbers in self.written:
            return True
        if len(self.written) >= WRITTEN or any(v and not 2.0**-99 < abs(v) < 2.0**99 for _, v in numbers):
            return False
        self.written.add(numbers)
        return True

    def _make(
        self, choices: tuple[tuple[str, Any], ...], tensors: tuple[str, ...], scalars: tuple[str, ...],
        written: tuple[tuple[str, float], ...], training: bool, order: int, wrt: str,
    ) -> Pointwise:  # fmt: skip
        expression: Node = self.definition.chosen(dict(choices), training)
        if order:
            expression = derivative(rewrite(expression), wrt, order)
        given = {*tensors, *scalars}
        defaults = {
            n: p.default for n, p in self.parameters.items() if n not in given and p.default is not None
        }
        expression = substitute(expression, defaults | dict(written))
        noise = tuple(n.name for n in self.definition.noise) if training else ()
        used = symbols_in(expression)
        inputs = self.definition.inputs
        op = Pointwise.of(
            expression, (*inputs, *noise, *tensors), tuple(n for n in scalars if n in used), inputs[:1]
        )
        usual = {n: float(self.parameters[n].default or 0.5) for n in op.scalars}
        op.samples = {n: (v, -v, 0.5) for n, v in usual.items()}
        op.data = inputs
        if written and not _as_good(op, expression):
            op = self._make(choices, tensors, tuple(n for n, _ in written), (), training, order, wrt)
        self._operators[choices, tensors, scalars, written, training, order, wrt] = op
        return op

    # Calls

    def __call__(
        self, x: Any, values: Mapping[str, Any], choices: Mapping[str, Any] | None = None, *,
        training: bool = False, inplace: bool = False, dim: int = 1, precision: str = "default", order: int = 0,
        wrt: str = "x",
    ) -> Any:  # fmt: skip
        """The function's value (or derivative) for these arguments; see `softknee.functional`."""
        if isinstance(x, torch.fx.Proxy):
            return self._leaf(x, values, choices, training, inplace, dim)
        if not hasattr(x, "__torch_function__"):
            raise TypeError(
                f"softknee.functional.{self.name} takes a tensor, got {type(x).__name__}; "
                f'softknee.get("{self.name}")(x) takes numpy arrays and floats too'
            )
        given, declared = self._given(values, choices), self.definition.choices
        choices = {n: v for n, v in (choices or {}).items() if v != declared[n][0]}
        if any(v not in declared[n] for n, v in choices.items()):
            self.definition.chosen(choices)  # says which
        if isinstance(x, Tensor) and not (x.is_floating_point() and x.layout is torch.strided):
            return self._other_dtype(x, values, choices, inplace, order)
        tensors = [v if v.dim() == 0 else shaped(self.name, n, v, x, dim)
                   for n, v in given.items() if isinstance(v, Tensor)]  # fmt: skip
        if tensors and isinstance(x, Tensor) and torch.is_autocast_enabled(x.device.type):
            tensors = [t.to(x.dtype) for t in tensors]
        training = training and self.definition.training is not None
        op = self.operator(choices, given, training, order, wrt)
        noise = []
        if training:
            for n in self.definition.noise:
                noise.append(torch.rand_like(x) if n.distribution == "uniform" else torch.randn_like(x))
        call = Call(tuple(float(given[n]) for n in op.scalars), (None,), precision)
        if op.tensors == ("x",) and not (
            training or inplace or order or torch.compiler.is_dynamo_compiling()
        ):
            self._meet(op, call, values, choices)
        if not inplace:
            return op(x, *noise, *tensors, call)
        return in_place(op, (x, *noise, *tensors, call))

    def _meet(self, op: Pointwise, call: Call, values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
        """Keeps how a call with these numbers and choices is done, if one not long ago had the same: some parameters
        change with every step."""
        declared = self.definition.choices
        key = (*[values.get(n, p.default) for n, p in self.parameters.items()],
               *[choices.get(n, options[0]) for n, options in declared.items()])  # fmt: skip
        if not all(type(v) in PLAIN for v in key):
            return
        if key not in self._seen:
            self._seen.append(key)
        elif key not in self.met:
            if len(self.met) >= MOST:
                self.met.clear()
            self.met[key] = op.unary(lambda x: self(x, values, choices), call.scalars)

    def learned(self) -> Any:
        """The function of x, a tensor for each parameter, and their dimension. None where something watches, or a
        parameter is a number: such calls are not for it.

        A shape that it has met before takes the short way, as in `Pointwise.unary`.
        """
        from softknee.nn import launch
        from softknee.nn.learned import Way, recorded

        names, kept = tuple(self.parameters), {}  # type: ignore[var-annotated]
        active, compiling = torch._C._are_functorch_transforms_active, torch.compiler.is_dynamo_compiling
        grad_enabled, autocast = torch.is_grad_enabled, torch.is_autocast_enabled
        dual_level = torch.autograd.forward_ad
        modes, tracing = launch._modes, launch._tracing
        #: dimension and options of the last call, and how it is done
        latest: Any = (None, None, None)

        def call(x: Tensor, *values: Any, dim: int) -> Any:
            nonlocal latest
            if compiling() or dual_level._current_level >= 0:
                return None
            options, needed = current.call, False
            for v in values:
                if type(v) not in _exact:
                    return None
                needed = needed or v.requires_grad
            needed = (needed or x.requires_grad) and grad_enabled()
            last_dim, last_options, way = latest  # at once: another thread may be calling, too
            if (
                last_dim == dim
                and last_options is options
                and (way.alike or not autocast("cpu"))
                and (y := way.on(x, *values)) is not None  # it asks for the rest
            ):
                return recorded((way, y), x, *values) if needed else y
            if (
                active()
                or autocast("cpu")
                or modes()
                or tracing() is not None
                or not x.is_cpu
                or x.layout is not torch.strided
                or any(t.is_neg() for t in (x, *values))
            ):
                return None
            key: Any = (dim, options.precision, x.dtype, x.shape, x.stride())
            for v in values:
                if not v.is_cpu or v.layout is not torch.strided:
                    return None
                key += (v.dtype, v.shape, v.stride())
            way = kept.get(key)
            if way is None:
                op = self.operator({}, dict(zip(names, values, strict=True)))
                tensors = [
                    v if v.dim() == 0 else shaped(self.name, n, v, x, dim)
                    for n, v in zip(names, values, strict=True)
                ]
                with torch.no_grad():
                    result = op(x, *tensors, options)
                ready = op.ready.get(launch.met((x, *tensors), options))
                if ready is None:
                    return None if needed else result
                if len(kept) >= launch.READY:
                    kept.clear()
                way = kept[key] = Way(op, ready, (x, *values), [t.shape for t in (x, *tensors)], options)
                if not needed:
                    return result
            latest = dim, options, way
            return recorded((way, None), x, *values) if needed else way.values((x, *values))

        return call

    def _leaf(self, x: Any, values: Any, choices: Any, training: bool, inplace: bool, dim: int) -> Any:
        """One node of a torch.fx graph: a call of the function itself."""
        from softknee.nn.functional import function_of

        flags = {"training": training, "inplace": inplace} if self.definition.positional else {}
        flags = {n: v for n, v in flags.items() if n in self.definition.positional}
        if self.definition.learnable:
            flags["dim"] = dim  # type: ignore[assignment]
        arguments = {n: v for n, v in {**values, **(choices or {}), **flags}.items() if v is not None}
        return x.tracer.create_proxy("call_function", function_of(self.definition), (x,), arguments)

    def _given(self, values: Mapping[str, Any], choices: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters that are not at their default, checked."""
        given: dict[str, Any] = {}
        for name, value in values.items():
            parameter = self.parameters[name]
            if value is None:
                raise TypeError(f"{self.name}() needs a value for {name!r} ({parameter.doc or 'no default'})")
            if not isinstance(value, (int, float)):
                if isinstance(value, Tensor) or hasattr(value, "dim"):
                    given[name] = value
                    continue
                if not hasattr(value, "__float__"):
                    raise TypeError(
                        f"{self.name}: {name} must be a number or a tensor, got {type(value).__name__}: {value!r:.60}"
                    )
                value = float(value)
            if isinstance(value, bool):
                value = int(value)
            if parameter.spelled is not None and value == parameter.spelled:
                continue
            if parameter.default is None or value != parameter.default:
                given[name] = value or 0  # not -0.0: no call finds it apart from 0.0
        if given and not torch.compiler.is_dynamo_compiling():
            self._check(given, choices or {})
        return given

    def _check(self, given: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
        """Every constraint whose parameters are all numbers."""
        known = {n: p.default for n, p in self.parameters.items() if p.default is not None} | dict(given)
        for condition in self.definition.conditions(choices):
            names = tuple(symbols_in(condition))
            if all(isinstance(known.get(n), (int, float)) for n in names):
                values = tuple(float(known[n]) for n in names)
                if not compiled((condition,), names, "float")(*values)[0]:
                    got = ", ".join(f"{n} = {known[n]:g}" for n in names)
                    raise ValueError(f"{self.name}: needs {condition!r}, got {got}")

    def _other_dtype(
        self, x: Tensor, values: Mapping[str, Any], choices: Mapping[str, Any], inplace: bool, order: int
    ) -> Any:
        """Integers, truth values and complex numbers: as torch has them, else a clear error."""
        theirs = getattr(torch.nn.functional, self.definition.torch or self.name, None) or getattr(
            torch, self.name, None
        )
        if theirs is not None and not order and not choices:
            try:
                more = {"inplace": True} if inplace else {}
                return theirs(x, **{n: v for n, v in values.items() if v is not None}, **more)
            except (RuntimeError, NotImplementedError, TypeError):
                pass
        if x.layout is not torch.strided:
            raise TypeError(
                f"{self.name} is not defined for {x.layout} tensors; convert the input with x.to_dense()"
            )
        raise TypeError(
            f"{self.name} is not defined for {x.dtype} tensors"
            + ("" if x.is_complex() else "; convert the input first, e.g. with x.float()")
        )


def _as_good(op: Pointwise, expression: Node) -> bool:
    """Whether what was made of an expression with numbers in it is still NaN where that is: 0 x was taken for 0."""
    names = tuple(symbols_in(expression))
    before = compiled((expression,), names, "float")
    after = compiled(op.expressions, names, "float")
    for k in range(len(names)):
        at = [math.nan if j == k else 1.0 for j in range(len(names))]
        if math.isnan(before(*at)[0]) > math.isnan(after(*at)[0]):
            return False
    return True


def shaped(name: str, parameter: str, value: Tensor, x: Any, dim: int) -> Tensor:
    """A parameter tensor as it broadcasts: one value for all, one a channel (dimension `dim`), or
    one an element (two or more dimensions, torch's broadcasting)."""
    rank = x.dim()
    if value.dim() != 1:
        try:
            broadcast_shapes(value.shape, x.shape)
        except RuntimeError:
            raise ValueError(
                f"{name}: {parameter} of shape {tuple(value.shape)} does not broadcast with the input of "
                f"shape {tuple(x.shape)}"
            ) from None
        return value
    if value.numel() == 1:
        return value.reshape(()) if rank == 0 else value
    if rank > 1 and not -rank <= dim < rank:
        raise IndexError(f"{name}: there is no dimension {dim} in an input of shape {tuple(x.shape)}")
    channels = x.shape[dim] if rank > 1 else 1 if rank == 0 else x.shape[0]
    if channels != value.numel():
        raise ValueError(
            f"{name}: {parameter} has {value.numel()} values, one a channel, but dimension {dim} of the input of "
            f"shape {tuple(x.shape)} has {channels if rank > 1 else 'no'} channels"
        )
    if rank < 2:
        return value
    after = rank - 1 - (dim % rank)
    return value.reshape(-1, *([1] * after)) if after else value


def in_place(op: Pointwise, args: tuple[Any, ...]) -> Any:
    """The result written over the input. Where autograd needs the input, a copy of it is kept."""
    from softknee.nn import launch

    x = args[0]
    if torch.compiler.is_dynamo_compiling():
        return x.copy_(op(x.clone(), *args[1:]))
    if any(t.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() for t in args[1:-1]):
        return x.copy_(op(x.clone(), *(t.clone() for t in args[1:-1]), args[-1]))  # a parameter is part of x
    recording = torch.is_grad_enabled() and any(t.requires_grad for t in args[:-1])
    plain = (
        not recording
        and not torch.compiler.is_compiling()
        and launch.eligible(args[:-1])
        and not torch._C._are_functorch_transforms_active()
        and all(s != 0 or n == 1 for s, n in zip(x.stride(), x.shape, strict=True))
    )
    if plain and torch.autograd.forward_ad._current_level < 0:
        result = launch.run(op, args[:-1], args[-1], out=x)
        if result is not None:
            torch.autograd.graph.increment_version(x)
            return x
    if recording and x.requires_grad and x.is_leaf:
        raise RuntimeError(
            "a leaf tensor that requires gradients cannot be changed in place; use inplace=False or x.clone()"
        )
    if recording and len(args) == 2 and not torch._C._are_functorch_transforms_active() and plain_forward():
        form = saved_form(op, current.kept, args[-1].scalars)
        compiling = torch.compiler.is_compiling()
        if form is not None and form.free and not compiling and launch.eligible(args[:1]):
            way = form.way(x)
            if way is not None:
                return way(x, args[-1], True)
    return x.copy_(op(x.clone(), *args[1:]))


def plain_forward() -> bool:
    """No forward-mode derivative is being taken."""
    return torch.autograd.forward_ad._current_level < 0


_runtimes: dict[int, Runtime] = {}


def runtime(definition: Definition) -> Runtime:
    """The one `Runtime` of a definition."""
    found = _runtimes.get(id(definition))
    if found is None:
        found = _runtimes[id(definition)] = Runtime(definition)
    return found


def plain_call(precise: bool = False) -> Call:
    return _EXACT if precise else _PLAIN

"""Records a run of a model: every call of a torch function and every activation, with its module.

Modules and functional calls are seen alike, since both end in torch functions (or in ours, which
tell an observer). What cannot be seen is what leaves Python: scripted and compiled modules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from softknee.catalogue.definition import Definition
from softknee.diagnose.graph import Call, Graph, kind_of
from softknee.diagnose.probes import Site, slope_at
from softknee.diagnose.recurrent import gates_of
from softknee.nn import gates, recognise
from softknee.nn.functional import observed
from softknee.nn.runtime import runtime

__all__ = ["Recorder", "arguments_of", "compiled_in", "dense", "tensors_in"]


def arguments_of(
    definition: Definition, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The parameters and choices of a call with torch's signature; None where they do not fit."""
    given = dict(zip(definition.positional, args[1:], strict=False)) | kwargs
    parameters = {p.name for p in definition.parameters}
    values = {n: v for n, v in given.items() if n in parameters and v is not None}
    choices = {n: v for n, v in given.items() if n in definition.choices}
    if any(not isinstance(v, (int, float, Tensor)) for v in values.values()):
        return None
    for p in definition.parameters:
        if p.spelled is not None and values.get(p.name) == p.spelled:
            del values[p.name]
        elif p.default is None and p.name not in values:
            return None
    return values, choices


def tensors_in(value: Any, depth: int = 3) -> Iterator[Tensor]:
    """The tensors in arguments or results, also in lists, dictionaries and data classes."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for v in value.values():
            yield from tensors_in(v, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for v in value:
            yield from tensors_in(v, depth - 1)
    elif depth and is_dataclass(value) and not isinstance(value, type):
        yield from tensors_in(list(vars(value).values()), depth)


def dense(tensor: Tensor) -> bool:
    """Its numbers can be counted as they lie: it is neither sparse nor nested."""
    return tensor.layout is torch.strided and not tensor.is_nested


def compiled_in(model: nn.Module) -> bool:
    """Whether it or a part of it was compiled, by torch.compile or in place."""
    return any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in model.modules())


#: what may lie between a weight and the activation of its units
THROUGH = ("pass", "norm", "dropout", "other", "add", "scale")


class Recorder(TorchFunctionMode):
    """Watches one run. Use it as a context around `model(...)`; `sites` collects over several runs.

    keep: also build the graph (of the last run).
    """

    def __init__(
        self, model: nn.Module, sites: dict[Any, Site] | None = None, gradients: bool = True
    ) -> None:
        super().__init__()
        self.model = model
        self.sites: dict[Any, Site] = {} if sites is None else sites
        self.gradients = gradients
        self.graph = Graph()
        self.unseen: list[str] = []
        self.first_bad: tuple[str, str] | None = None  # (module, function) of the first non-finite result
        self._modules: list[tuple[str, nn.Module]] = [("", model)]
        self._names = {id(m): n for n, m in model.named_modules()}
        self._parameters = {id(p): p for p in model.parameters()}
        self._of: dict[int, int] = {}
        self._alive: list[Any] = []  # so that ids stay unique during the run
        self._counts: Counter[str] = Counter()
        self._feeding: dict[int, frozenset[Any] | None] = {}
        self._origins: dict[Any, frozenset[Any] | None] = {}
        self._hooks: list[Any] = []
        self._observing = ExitStack()
        self._inside = False
        self._whole: list[
            tuple[nn.Module, recognise.Known, Tensor, Tensor]
        ] = []  # modules that are one activation, written out

    # What brackets a run

    def __enter__(self) -> Any:
        scripted: list[str] = []
        for name, module in self.model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                if not any(not outer or name.startswith(f"{outer}.") for outer in scripted):
                    scripted.append(name)
                continue
            if name:
                self._hooks.append(module.register_forward_pre_hook(self._entered))
                self._hooks.append(module.register_forward_hook(self._left, always_call=True))
        self.unseen += [
            f"{name or 'the model'} is a TorchScript module: what it computes cannot be seen"
            for name in scripted
        ]
        self._observing.enter_context(observed(self._ours))
        self._observing.enter_context(gates.dispatched())
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._observing.close()
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def inputs(self, *values: Any) -> None:
        """Says what the data are."""
        for tensor in tensors_in(values):
            call = self._new("input", "input", ())
            call.shape = tuple(tensor.shape)
            self._remember(tensor, call)

    def finished(self, result: Any) -> None:
        """Says what the model returned; ends what is recorded under modules."""
        self.graph.outputs = tuple(self._of[id(t)] for t in tensors_in(result) if id(t) in self._of)

    def judged(self, loss: Tensor) -> None:
        """Says what the loss is."""
        self.graph.loss = self._of.get(id(loss))

    def release(self) -> None:
        self._alive.clear()
        self._of.clear()

    def _entered(self, module: nn.Module, args: Any) -> None:
        self._modules.append((self._names[id(module)], module))
        if not self._inside and (known := _written_out(module)) and args and isinstance(args[0], Tensor):
            self._whole.append((module, known, args[0], args[0].detach().clone()))
            self._inside = True

    def _left(self, module: nn.Module, args: Any, result: Any) -> None:
        if self._whole and self._whole[-1][0] is module:
            _, known, x, before = self._whole.pop()
            self._inside = False
            if isinstance(result, Tensor):
                values, choices = dict(known.values), dict(known.choices)
                self._activation(known.definition, x, values, choices, lambda: result, before)
        name, _ = self._modules.pop()
        known = [self._of[id(t)] for t in tensors_in(args) if id(t) in self._of]
        for tensor in tensors_in(result):
            if id(tensor) not in self._of and known:  # what it did inside was not seen
                call = self._new("opaque", type(module).__name__, tuple(known))
                call.module = name
                self._remember(tensor, call)

    # Calls

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return function(*args, **kwargs)
        definition, _ = recognise.called_by(function)
        if definition is not None and args and isinstance(args[0], Tensor):
            found = arguments_of(definition, args, kwargs)
            if found is not None:
                return self._activation(definition, args[0], *found, lambda: function(*args, **kwargs))
        if gates.is_unit(function) and (unit := gates.opened(function, args, kwargs)) is not None:
            return self._unit(unit, function, args, kwargs)
        name = getattr(function, "__name__", "")
        sources = [self._of[id(t)] for t in tensors_in((args, kwargs)) if id(t) in self._of]
        result = function(*args, **kwargs)
        if sources:
            self._recorded(name, args, kwargs, tuple(sources), result)
        return result

    def _unit(self, unit: gates.Opened, function: Any, args: Any, kwargs: Any) -> Any:
        """A gated unit of ours: an activation whose value multiplies the other input."""
        gate, up = unit.gate.detach(), unit.up.detach()
        for part, whole in zip((gate, up), unit.given, strict=True):
            if id(whole) in self._of:
                call = self._new("pass", "chunk", (self._of[id(whole)],))
                call.shape = tuple(part.shape)
                call.details["part"] = unit.part
                self._remember(part, call)
        values, choices = unit.values, unit.choices
        with torch.no_grad():
            opening = self._activation(
                unit.activation,
                gate,
                values,
                choices,
                lambda: runtime(unit.activation)(gate, values, choices),
            )
        result = function(*args, **kwargs)
        if id(opening) in self._of:
            last = self.graph.calls[self._of[id(opening)]]
            if last.site is not None:
                last.site.gate = True
            sources = tuple(self._of[id(t)] for t in (opening, up) if id(t) in self._of)
            call = self._new("mul", function.__name__, sources)
            call.shape = tuple(result.shape)
            self._remember(result, call)
        return result

    def _recorded(self, name: str, args: Any, kwargs: Any, sources: tuple[int, ...], result: Any) -> None:
        made = [t for t in tensors_in(result) if t.is_floating_point() or t.is_complex()]
        if not made:  # symbols that were cut or shifted are still those that were given; a mask is none
            for tensor in tensors_in(result):
                if tensor.dtype is not torch.bool:
                    self._remember(tensor, self.graph.calls[sources[0]])
            return
        kind = kind_of(name)
        weight = bias = None
        if kind == "affine":
            weight = args[1] if len(args) > 1 else kwargs.get("weight")
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
        elif kind == "product":
            others = [t for t in tensors_in((args, kwargs)) if id(t) not in self._of and t.dim() > 1]
            kind = "affine" if others and len(set(sources)) == 1 else "other"
            weight = self._own(others[0]) if kind == "affine" else None
        elif kind == "add" and len(set(sources)) < 2:
            kind = "pass"
        elif kind == "mul" and len(set(sources)) < 2:
            kind = "scale"
        call = self._new(kind, name, sources)
        call.weight, call.bias, call.shape = weight, bias, tuple(made[0].shape)
        if kind == "affine" and args and isinstance(args[0], Tensor) and dense(args[0]):
            x = args[0].detach().double() if args[0].device.type != "mps" else args[0].detach().float()
            call.details["input_mean"], call.details["input_rms"] = (
                float(x.mean()),
                float(x.square().mean().sqrt()),
            )
        elif kind == "recurrent" and self.gradients:
            call.details["gates"] = gates_of(name, args)
        if kind == "softmax":
            call.details["dim"] = call_dim(args, kwargs)
            call.details["size"] = made[0].shape[call.details["dim"]]
        elif kind == "loss":
            call.details["target"] = args[1] if len(args) > 1 else kwargs.get("target")
            call.details["prediction"] = args[0] if args else kwargs.get("input")
        elif kind == "dropout":
            call.details["training"] = kwargs.get("training", True)
        for tensor in made:
            self._remember(tensor, call)
        if self.first_bad is None and dense(made[0]):
            self._check_finite(made[0].detach(), call)

    def _check_finite(self, tensor: Tensor, call: Call) -> None:
        """The sum of a tensor is finite if its elements are (and nearly the other way round)."""
        wide = torch.float64 if tensor.device.type != "mps" else torch.float32
        total = tensor.sum(dtype=None if tensor.is_complex() else wide)
        if bool(torch.isfinite(total)) or bool(torch.isfinite(tensor).all()):
            return
        call.details["bad"] = "nan" if bool(torch.isnan(tensor).any()) else "inf"
        if call.kind not in ("pass", "other", "attention"):  # these may be meant, as in a mask
            self._blame(call)

    def _blame(self, call: Call) -> None:
        """What is not finite may come from a function whose result is bad on purpose at times; but a softmax is given
        infinities by every mask."""
        source: Call | None = call
        while source is not None:
            call = source
            bad = ("nan",) if call.kind == "softmax" else ("nan", "inf")
            before = (self.graph.calls[i] for i in call.sources)
            source = next((c for c in before if c.details.get("bad") in bad), None)
        self.first_bad = (call.module, call.name)

    def _own(self, tensor: Tensor) -> Tensor | None:
        """A parameter of the model, or a transposed view of one."""
        if id(tensor) in self._parameters:
            return tensor
        base = tensor._base
        return self._parameters.get(id(base)) if base is not None else None

    def _ours(self, definition: Definition, x: Any, values: Any, choices: Any, run: Callable[[], Any]) -> Any:
        """A call of one of softknee's functions."""
        if self._inside or not isinstance(x, Tensor):
            return run()
        given = {n: v for n, v in values.items() if v is not None}
        for p in definition.parameters:
            if p.spelled is not None and given.get(p.name) == p.spelled:
                del given[p.name]
        return self._activation(definition, x, given, dict(choices), run)

    def _activation(
        self, definition: Definition, x: Tensor, values: Any, choices: Any, run: Callable[[], Any],
        before: Tensor | None = None,
    ) -> Any:  # fmt: skip
        sources = (self._of[id(x)],) if id(x) in self._of else ()
        self._inside = True
        try:
            usable = x.is_floating_point() and x.numel() > 0 and bool(sources)
            before = x.detach().clone() if usable and before is None else before
            watched = usable and self.gradients and x.requires_grad and torch.is_grad_enabled()
            site = self._site(definition, values, choices, x, sources[0]) if usable else None
            if watched:
                x.register_hook(_gradient_to(site, "gradient"))
            result = run()
            if usable:
                if watched and result is not x:
                    result.register_hook(_gradient_to(site, "output_gradient"))
                self._measure(site, before, result.detach(), sources[0])
        finally:
            self._inside = False
        if sources:
            call = self._new("activation", definition.name, sources)
            call.definition, call.site, call.shape = definition, site, tuple(result.shape)
            if site is not None:
                site.index = call.index if site.index < 0 else site.index
                if self.first_bad is None and site.moments.bad:
                    self._blame(call)
            self._remember(result, call)
        return result

    def _site(self, definition: Definition, values: Any, choices: Any, x: Tensor, source: int) -> Site:
        """The activation that is called here; in the steps of a recurrent network it is one."""
        module, leaf = self._where()
        key = self._key(module, definition, x, source)
        if key is None:
            key = (module, self._counts[module])
            self._counts[module] += 1
        site = self.sites.get(key)
        if site is None or site.definition is not definition:
            site = self.sites[key] = Site(key, module, leaf, definition, dict(values), dict(choices))
        return site

    def _key(self, module: str, definition: Definition, x: Tensor, source: int) -> tuple[Any, ...] | None:
        """What calls in one place have in common that are given the same part of what the same weights make; None
        where it cannot be told."""
        first = self.graph.back(source, THROUGH).index
        found = self._weights_of(first)
        if not found:
            return None
        key = (module, definition.name, found, _part(x))
        # a step in time calls the weights anew; one result with something added to it on its way is another place
        every = self._weights_of(source)
        return key if self._origins.setdefault((key, first), every) == every else (*key, every)

    def _weights_of(self, index: int) -> frozenset[Any] | None:
        """Those with whose results a call's result was made, without others in between."""
        waiting, known = [index], self._feeding
        while waiting:
            call = self.graph.calls[waiting[-1]]
            missing = [i for i in call.sources if i not in known] if call.kind != "affine" else []
            waiting += missing
            if missing:
                continue
            if call.kind == "affine":
                own = (
                    id(call.weight)
                    if id(call.weight) in self._parameters
                    else call.module
                    if call.leaf
                    else None
                )
                known[call.index] = None if own is None else frozenset([own])
            else:
                several = [known[i] for i in call.sources]
                whole = None not in several and call.kind != "opaque"
                known[call.index] = frozenset().union(*several) if whole else None  # type: ignore[arg-type]
            waiting.pop()
        return known[index]

    @torch.no_grad()
    def _measure(self, site: Site, z: Tensor, f: Tensor, source: int) -> None:
        if not site.moments.samples:
            site.dim = self._unit_dimension(z, source)
            site.same = True
        slope = slope_at(site.definition, z.float() if z.dtype in _HALF else z, site.values, site.choices)
        site.moments.add(z, f, slope, site.profile.steepest, site.dim)
        site.same = site.same and bool(torch.equal(z, f))

    def _unit_dimension(self, z: Tensor, source: int) -> int:
        """Which dimension counts the units: channels for convolutions, features for matrices."""
        call = self.graph.back(source, THROUGH)
        after_convolution = call.kind == "affine" and call.name.startswith("conv")
        if z.dim() < 3:
            return -1
        if call.kind == "affine":
            width = call.shape[1] if after_convolution else call.shape[-1]
            usual = 1 if after_convolution else -1
            if z.shape[usual] == width:
                return usual
            if width in z.shape[1:]:
                return 1 + z.shape[1:].index(width)
        return 1 if z.dim() > 3 else -1

    def _where(self) -> tuple[str, bool]:
        name, module = self._modules[-1]
        return name, len(self._modules) > 1 and not any(True for _ in module.children())

    def _new(self, kind: str, name: str, sources: tuple[int, ...]) -> Call:
        module, leaf = self._where()
        call = Call(len(self.graph.calls), kind, name, module, leaf, sources)
        self.graph.calls.append(call)
        return call

    def _remember(self, tensor: Tensor, call: Call) -> None:
        self._of[id(tensor)] = call.index
        self._alive.append(tensor)


def _written_out(module: nn.Module) -> recognise.Known | None:
    """An activation module of another library, which computes it from smaller functions."""
    if type(module).__module__.startswith(("torch.nn", "softknee")) or any(True for _ in module.children()):
        return None
    return recognise.module(module)


def call_dim(args: Any, kwargs: Any) -> int:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
    return dim if isinstance(dim, int) else -1


_HALF = (torch.float16, torch.bfloat16)


def _part(x: Tensor) -> tuple[int, int] | None:
    """Where a part of a larger tensor begins, and how wide it is."""
    if type(x) is not Tensor or x.numel() * x.element_size() >= x.untyped_storage().nbytes():
        return None
    return x.storage_offset(), x.shape[-1]


def _gradient_to(site: Site, name: str) -> Callable[[Tensor], None]:
    def hook(gradient: Tensor) -> None:
        g = gradient.detach()
        square = (
            float(g.double().square().sum()) if g.device.type != "mps" else float(g.float().square().sum())
        )
        site.gradient_seen = True
        if square != square or square == float("inf"):
            site.gradient_bad = True
        setattr(site, name, getattr(site, name) + square)

    return hook


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Python's, numpy's and torch's random numbers go on as if nothing had happened."""
    import random

    import numpy as np

    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)  # noqa: NPY002

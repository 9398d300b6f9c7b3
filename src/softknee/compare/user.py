"""Networks of one's own: a function that builds one with a given activation, or a finished model whose activations
are exchanged. They are trained one run at a time."""

from __future__ import annotations

import copy
import hashlib
import inspect
import io
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from softknee import catalogue
from softknee.compare.activations import Activation
from softknee.compare.errors import CompareError
from softknee.compare.files import imported
from softknee.compare.networks import Builder, Layer, Site
from softknee.nn.initialise import initialize_
from softknee.nn.swap import swap

Build = Callable[..., nn.Module]

_known: dict[str, Build | nn.Module] = {}  # by name and hash
_seeding = threading.Lock()  # torch's own generator belongs to all threads


def register(network: str | Build | nn.Module) -> str:
    """The name under which `architecture` finds it: what it is called, `#`, and a hash of what it does."""
    found = imported(network) if isinstance(network, str) else network
    if isinstance(found, nn.Module):
        file = io.BytesIO()
        torch.save({name: value.cpu() for name, value in found.state_dict().items()}, file)
        defines, name = repr(found).encode() + file.getvalue(), type(found).__name__
    elif callable(found):
        try:  # the whole file: what it calls counts, too
            defines = inspect.getsource(inspect.getmodule(found) or found).encode()
        except (OSError, TypeError):
            defines = repr(found).encode()
        name = getattr(found, "__name__", type(found).__name__)
    else:
        raise CompareError(
            f"network={network!r} is a {type(found).__name__}; a function or a torch.nn.Module is needed"
        )
    key = f"{network if isinstance(network, str) else name}#{hashlib.sha256(defines).hexdigest()[:8]}"
    _known[key] = found
    return key


def called(name: str) -> str:
    """A registered name as the caller knows it."""
    return name.partition("#")[0]


def known(name: str) -> Build | nn.Module | None:
    """What is registered under the name, for another process; None: it finds it by the name, as built-in ones."""
    return None if ":" in name else _known.get(name)


def know(name: str, network: Build | nn.Module) -> None:
    _known[name] = network


def architecture(name: str) -> Callable[[Builder], Layer]:
    """The way from input to output of a registered network, for one run."""
    if name not in _known:
        register(name.rpartition("#")[0])
    return lambda builder: _Own(builder, _known[name]).forward


class Place(nn.Module):
    """The activation as a module, with parameters of its own where it learns any."""

    def __init__(self, builder: Builder) -> None:
        super().__init__()
        with torch.no_grad():
            self.site = Site(builder, builder.activation, -1, learned={})
        for name, value in builder.activation.learnable:
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))

    def share(self) -> None:
        """The site has the parameters as they are now, with an axis of runs."""
        self.site.learned = {name: p.unsqueeze(0) for name, p in self.named_parameters(recurse=False)}

    def forward(self, z: Tensor) -> Tensor:
        self.share()
        self.site.units = 2 if z.dim() > 3 else -1  # a convolution's channels
        return self.site(z.unsqueeze(0)).squeeze(0)

    def extra_repr(self) -> str:
        return self.site.activation.label


class _Own:
    def __init__(self, builder: Builder, source: Build | nn.Module) -> None:
        if len(builder.runs) > 1:
            raise ValueError("networks of one's own are trained one run at a time")
        self.builder = builder
        with _seeding, torch.random.fork_rng(devices=[]):
            torch.manual_seed(builder.runs[0].seed)
            self.model = _model(source, lambda: Place(builder), builder.activation)
            places = [
                module for module in self.model.modules() if isinstance(module, Place)
            ]  # in their order
            builder.sites[:] = [place.site for place in places]
            if not builder.sites:
                raise CompareError(
                    f"{called(builder.protocol.network)}: the activation is nowhere in the model; make one wherever it "
                    "belongs: activation()"
                )
            self.model.to(builder.dtype)
            if builder.protocol.init == "own":
                initialize_(self.model, generator=torch.Generator().manual_seed(builder.runs[0].seed))
            for place in places:
                place.share()
        for parameter in self.model.parameters():
            if not parameter.requires_grad:
                continue
            leaf = parameter.detach().unsqueeze(0).requires_grad_()  # the same numbers, with an axis of runs
            leaf.grad = torch.zeros_like(leaf)
            parameter.grad = leaf.grad[0]
            builder.parameters.append(leaf)
            if parameter.dim() > 1:
                builder.weights.append(parameter)
        builder.buffers += [b.unsqueeze(0) for b in self.model.buffers()]

    def forward(self, x: Tensor) -> Tensor:
        builder, task = self.builder, self.builder.task
        self.model.train(builder.training)
        x = x[0].unflatten(1, task.shape) if task.shape else x[0]
        try:
            y = self.model(x)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CompareError(
                f"{called(builder.protocol.network)} fails on inputs of shape {(*x.shape,)}: {str(error).splitlines()[0]}"
            ) from error
        wanted = (*x.shape, task.classes) if task.kind == "next_token" else (len(x), task.classes)
        if not isinstance(y, Tensor) or y.shape != wanted:
            what = f"shape {(*y.shape,)}" if isinstance(y, Tensor) else type(y).__name__
            raise CompareError(
                f"{called(builder.protocol.network)} puts out {what}; {task.name} needs shape {wanted}"
            )
        return y.unsqueeze(0)


def _model(source: Build | nn.Module, make: Callable[[], Place], activation: Activation) -> nn.Module:
    """Built with the activation, or a copy of a finished one with its activations exchanged."""
    if not isinstance(source, nn.Module):
        takes = bool(inspect.signature(source).parameters)
        try:
            model = source(make) if takes else source()
        except TypeError as error:
            raise CompareError(
                f"the model does not accept the activation {activation.label}: {error}; the function gets a maker of "
                "modules: write activation() where one belongs"
            ) from error
        if not isinstance(model, nn.Module):
            raise CompareError(f"the function returned {type(model).__name__}; a torch.nn.Module is needed")
        if takes:
            return model
    else:
        model = copy.deepcopy(source)
    mapping: Mapping[str, Any] = dict.fromkeys((d.name for d in catalogue.all_definitions()), make)
    done = swap(model, mapping, quiet=True)
    if not done.replaced:
        raise CompareError(f"the model has no activation that can be exchanged: {'; '.join(done.unseen)}")
    return model

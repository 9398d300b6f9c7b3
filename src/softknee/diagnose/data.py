"""Data, losses and models as users give them."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from softknee.diagnose.errors import CheckError
from softknee.diagnose.trace import tensors_in

__all__ = ["Batch", "batches_of", "called", "first_of", "imported", "invented", "loss_of", "model_of"]

_TARGETS = ("labels", "label", "target", "targets", "y")


@dataclass
class Batch:
    """What the model is called with, and the target of the loss; None: there is none."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: Any = None

    @property
    def samples(self) -> int:
        first = next(tensors_in((self.args, self.kwargs)), None)
        return 0 if first is None or first.dim() == 0 else first.shape[0]


def batches_of(data: Any, device: torch.device, with_loss: bool, most: int) -> Iterator[Batch]:
    """The first batches of data: one batch, or anything that yields batches.

    A tensor is the input; the last of a tuple is the target (the only one is not), the others are given to the model
    as they are; of a dictionary, what is called labels, label, target, targets or y is the target, if there is a loss
    of its own.
    """
    if isinstance(data, (Tensor, Mapping)) or _is_batch(data):
        yield _batch(data, device, with_loss)
        return
    if not isinstance(data, Iterable):
        raise CheckError(
            f"the data are of type {type(data).__name__}; give a tensor, a tuple (inputs, targets), a dictionary, or "
            "something that yields these, such as a DataLoader"
        )
    for item in first_of(data, most):
        if not (isinstance(item, (Tensor, Mapping)) or _is_batch(item)):
            raise CheckError(
                f"the data yield {type(item).__name__}; each batch must be a tensor, a tuple or a dictionary of tensors"
            )
        yield _batch(item, device, with_loss)


def first_of(data: Iterable[Any], most: int) -> Iterator[Any]:
    try:
        yield from itertools.islice(data, most)
    except Exception as error:
        raise CheckError(f"the data failed: {type(error).__name__}: {error}") from error


def _is_batch(data: Any) -> bool:
    """A tensor stands in it: ((a, b), y), ({"x": x}, y) and (x, {"boxes": y}) are batches, [(x, y), (x, y)] is a list
    of them."""
    return isinstance(data, (tuple, list)) and any(isinstance(v, Tensor) for v in data)


def _batch(data: Any, device: torch.device, with_loss: bool) -> Batch:
    moved = _to(data, device)
    if isinstance(moved, Mapping):
        kwargs = dict(moved)
        target = next((kwargs.pop(n) for n in _TARGETS if n in kwargs), None) if with_loss else None
        made = Batch((), kwargs, target)
    elif isinstance(moved, Tensor):
        made = Batch((moved,), {})
    else:
        *inputs, last = moved
        made = Batch(tuple(inputs), {}, last) if inputs else Batch((last,), {})
    if not made.samples:
        raise CheckError("the batch has no samples")
    return made


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return (value.clone() if value.is_inference() else value).to(device)
    if isinstance(value, Mapping):
        return {k: _to(v, device) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_to(v, device) for v in value]
    return value


def invented(model: nn.Module, samples: int = 256) -> tuple[Batch, str]:
    """Standard normal input of the shape that the model's first layer asks for, and what it is in words."""
    for name, module in model.named_modules():
        shape: tuple[int, ...] | None = None
        if isinstance(module, nn.Linear):
            shape = (samples, module.in_features)
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            rank = len(module.kernel_size)
            side = _side_of(model, module.in_channels, rank)
            shape = (64, module.in_channels, *([side] * rank))
        elif isinstance(module, (nn.LSTM, nn.GRU, nn.RNN)):
            shape = (64, 16, module.input_size)
        elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            index = torch.randint(0, module.num_embeddings, (64, 16), device=module.weight.device)
            return Batch((index,), {}), f"64 random sequences of 16 symbols, for {name or 'the model'}"
        if shape is not None:
            p = next(module.parameters())
            dtype = p.dtype if p.is_floating_point() else torch.float32
            x = torch.randn(shape, device=p.device).to(dtype)
            text = " x ".join(map(str, shape))
            return Batch((x,), {}), f"standard normal input of shape {text}, for {name or 'the model'}"
    raise CheckError(
        "without data, the shape of the input is guessed from the first linear, convolutional, recurrent or embedding "
        "layer, and the model has none: give data"
    )


def _side_of(model: nn.Module, channels: int, rank: int) -> int:
    """The size of an image that the model accepts: a matrix behind the convolutions may fix it."""
    p = next(model.parameters())
    for side in (32, 28, 64, 16, 8, 96, 224):
        try:
            with torch.no_grad():
                model(torch.zeros(2, channels, *([side] * rank), device=p.device, dtype=p.dtype))
        except (RuntimeError, ValueError):
            continue
        return side
    raise CheckError(
        "without data, images of 8 to 224 pixels were tried, and the model accepts none of them: give data"
    )


def imported(text: str, what: str) -> Any:
    """`package.module:name` or `file.py:name`."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise CheckError(f"{what} is given as module:name or file.py:name, got {text!r}")
    path = Path(place)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise CheckError(f"{place}: no such file")
    sys.path.insert(0, str(path.parent.resolve() if is_file else Path.cwd()))
    here = sys.path[0]
    try:
        module = _executed(path) if is_file else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise CheckError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(here)
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            has = [n for n in dir(found) if not n.startswith("_")]
            raise CheckError(f"{place} has no {name!r}; it has {', '.join(has[:12]) or 'nothing'}")
        found = getattr(found, part)
    return found


def _executed(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"softknee_target_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def called(function: Callable[..., Any], text: str, *args: Any) -> Any:
    """What a user's function returns; text: its name."""
    try:
        return function(*args)
    except (Exception, SystemExit) as error:
        raise CheckError(f"{text} failed: {type(error).__name__}: {error}") from error


def model_of(target: str) -> nn.Module:
    """The model that a callable returns, or that the name is."""
    found = imported(target, "the model")
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise CheckError(f"{target} is of type {type(found).__name__}, not a function that returns a model")
    made = called(found, target)
    if not isinstance(made, nn.Module):
        raise CheckError(f"{target} returned something of type {type(made).__name__}, not a torch.nn.Module")
    return made


def loss_of(given: Any) -> Callable[..., Any] | None:
    """A loss by its name in torch.nn.functional or torch.nn, as module:name, or as it is."""
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]
    if not isinstance(given, str):
        raise CheckError(f"the loss must be a function or its name, got {type(given).__name__}")
    if ":" in given:
        given = imported(given, "the loss")
    else:
        found = getattr(nn.functional, given, None) or getattr(nn, given, None)
        if found is None:
            raise CheckError(
                f"neither torch.nn.functional nor torch.nn has a loss {given!r}; give one of theirs, or module:name"
            )
        given = found
    return called(given, given.__name__) if isinstance(given, type) else given  # type: ignore[no-any-return]

"""The gates of torch's fused recurrent layers, which show none: computed once more from their weights and inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Gate", "gates_of", "together"]

#: the gates among the rows of a layer's weights, in their order; None: no gate
_ROWS = {"lstm": ("input", "forget", None, "output"), "gru": ("reset", "update", None)}
#: those that keep the state where they are open: memory, as long as others move
_KEEPING = ("forget", "update")


@dataclass
class Gate:
    """One gate of one layer. mean, low, high: its input on average, and the extremes of its value, by unit;
    ending: what the names of its parameters end with; start: its first row in them."""

    name: str
    ending: str
    start: int
    bias: Tensor
    mean: Tensor
    low: Tensor
    high: Tensor
    count: int

    @property
    def keeps(self) -> bool:
        return self.name in _KEEPING

    @property
    def label(self) -> str:
        where = self.ending.removesuffix("_reverse").removeprefix("_l")
        backwards = ", backwards" if self.ending.endswith("_reverse") else ""
        return f"{self.name} gate" + (f" of layer {where}{backwards}" if where else "")


@torch.no_grad()
def gates_of(name: str, args: tuple[Any, ...]) -> list[Gate]:
    """name, args: of torch's function: lstm, gru, or that of one of their cells. Dropout between layers is left out."""
    kind = name.removesuffix("_cell")
    if kind not in _ROWS:
        return []
    if kind != name:
        state = args[1][0] if isinstance(args[1], (tuple, list)) else args[1]
        return list(_gates(kind, "", args[0], state, args[2:]))
    packed = isinstance(args[1], Tensor) and not args[1].is_floating_point()
    x, state, flat, biases, layers, _, _, both, *rest = (args[0], *args[2:]) if packed else args
    if packed:
        sizes = args[1].tolist()
    else:
        x = x.transpose(0, 1) if rest[0] else x
        sizes = [x.shape[1]] * x.shape[0]
        x = x.reshape(-1, x.shape[-1])
    states = [s.float() for s in (state if isinstance(state, (tuple, list)) else (state,))]
    x, ways, found = x.float(), 1 + both, list[Gate]()
    weights = [w.float() for w in flat]
    per = len(weights) // (layers * ways)
    for layer in range(layers):
        here = weights[layer * ways * per : (layer + 1) * ways * per]
        first = [s[layer * ways : (layer + 1) * ways].contiguous() for s in states]
        hx = tuple(first) if kind == "lstm" else first[0]
        with torch.backends.cudnn.flags(enabled=False):
            y = getattr(torch, kind)(x, torch.tensor(sizes), hx, here, biases, 1, 0.0, False, both)[0]
        for way, part in enumerate(y.chunk(ways, 1)):
            before = _before(part, first[0][way], sizes, way == 1)
            ending = f"_l{layer}" + "_reverse" * way
            w = here[way * per : (way + 1) * per]
            found += _gates(kind, ending, x, before, w if biases else (*w[:2], None, None))
        x = y
    return found


def _before(h: Tensor, first: Tensor, sizes: list[int], backwards: bool) -> Tensor:
    """The state that each sample had before each step, from those that it had after them."""
    blocks = h.split(sizes)
    if backwards:
        after = [*blocks[1:], first[:0]]
        return torch.cat([torch.cat([b, first[len(b) : n]]) for b, n in zip(after, sizes, strict=True)])
    return torch.cat([first[: sizes[0]], *(b[:n] for b, n in zip(blocks, sizes[1:], strict=False))])


def _gates(kind: str, ending: str, x: Tensor, h: Tensor, weights: Any) -> Iterator[Gate]:
    rows = _ROWS[kind]
    wide = [None if w is None else w.detach().float() for w in weights[:4]]
    forward, back, *biases = wide
    bias = sum((b for b in biases if b is not None), forward.new_zeros(len(forward)))  # type: ignore[union-attr, arg-type]
    z = x.detach().float() @ forward.T + h.detach().float() @ back.T + bias  # type: ignore[union-attr]
    units = z.shape[1] // len(rows)
    for k, name in enumerate(rows):
        if name is not None:
            part = slice(k * units, (k + 1) * units)
            value = z[:, part].sigmoid()
            extremes = value.amin(0).cpu(), value.amax(0).cpu()
            yield Gate(name, ending, k * units, bias[part].cpu(), z[:, part].mean(0).cpu(), *extremes, len(z))


def together(several: Iterable[Gate]) -> list[Gate]:
    """A cell is called for every step in time: its gates over all of these."""
    found: dict[tuple[str, str], Gate] = {}
    for g in several:
        old = found.get((g.name, g.ending))
        if old is not None:
            n = old.count + g.count
            mean = (old.mean * old.count + g.mean * g.count) / n
            low, high = torch.minimum(old.low, g.low), torch.maximum(old.high, g.high)
            g = Gate(g.name, g.ending, g.start, g.bias, mean, low, high, n)
        found[g.name, g.ending] = g
    return list(found.values())

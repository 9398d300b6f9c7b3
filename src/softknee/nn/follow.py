"""Which activation, or gated unit, comes after each layer of a model, and which before it.

The model is traced with torch.fx. Of a part that cannot be traced, the children are read one by one;
those of a Sequential are linked in their order; of other modules, an activation is taken to follow the
layer that it is registered behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx

from softknee.nn import recognise
from softknee.nn.gates import GatedUnit, unit_of
from softknee.nn.recognise import Known

__all__ = ["LAYERS", "Neighbours", "neighbours"]

nn = torch.nn
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
#: the layers with weights to initialise
LAYERS: tuple[type, ...] = (nn.Linear, *_CONVOLUTIONS)

_NORMS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm,
    *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []),
)  # fmt: skip
# What a signal passes and keeps its kind: a path goes on behind it.
_PASSING = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd, nn.Upsample, nn.PixelShuffle,
    nn.PixelUnshuffle, nn.modules.pooling._AvgPoolNd, nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.padding._ConstantPadNd, nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd,
)  # fmt: skip
_PASSING_CALLS = {
    "cat", "concat", "chunk", "clone", "contiguous", "detach", "expand", "flatten", "float", "getitem",
    "interpolate", "mean", "movedim", "narrow", "pad", "permute", "reshape", "split", "squeeze", "stack", "to",
    "transpose", "type", "unflatten", "unsqueeze", "view",
}  # fmt: skip
_PASSING_PREFIXES = ("dropout", "alpha_dropout", "feature_", "avg_pool", "max_pool", "adaptive_")
_SUMS = {"add", "iadd", "add_"}
_NORM_CALLS = ("layer_norm", "batch_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm")


@dataclass
class Neighbours:
    """Around one layer. after, before: the activations on every path from and to it, up to the next layer
    or anything that is neither layer nor activation. normalised: a normalisation or a sum with another
    path lies beside the layer. last: nothing but the model's output comes after. note: what could not
    be read."""

    after: list[Known] = field(default_factory=list)
    before: list[Known] = field(default_factory=list)
    normalised: bool = False
    last: bool = False
    note: str = ""


class _Node:
    """One step of a model: a layer, an activation, or something that passes, normalises, sums or ends."""

    def __init__(self, kind: str, layer: str = "", known: Known | None = None) -> None:
        self.kind, self.layer, self.known = kind, layer, known
        self.next: list[_Node] = []
        self.previous: list[_Node] = []

    def to(self, other: _Node) -> None:
        self.next.append(other)
        other.previous.append(self)


class _Tracer(torch.fx.Tracer):
    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return (
            isinstance(m, (LAYERS, _NORMS, _PASSING, GatedUnit))
            or recognise.module(m) is not None
            or super().is_leaf_module(m, module_qualified_name)
        )


def neighbours(model: torch.nn.Module) -> tuple[dict[str, Neighbours], list[str]]:
    """Every layer in the model's order, by its qualified name, and what could not be read."""
    nodes: list[_Node] = []
    unseen: list[str] = []
    _read(model, "", nodes, unseen)
    by_layer: dict[str, list[_Node]] = {}
    for node in nodes:
        if node.kind == "layer":
            by_layer.setdefault(node.layer, []).append(node)
    found = {}
    inside: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            inside.append(f"{name}." if name else "")
            unseen.append(f"{name or type(module).__name__}: an attention layer, left as it is")
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            unseen.append(f"{name or type(module).__name__}: a recurrent layer, left as it is")
        if not isinstance(module, LAYERS) or any(name.startswith(p) for p in inside):
            continue
        around = found[name] = Neighbours()
        if name not in by_layer:
            around.note = "never called where torch.fx could see; taken to have no activation"
        for node in by_layer.get(name, []):
            _look(node, around)
    for kind, names in _unknown(model).items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        unseen.append(f"{names[0]}{more}: {kind}, not a layer that is known here, left as it is")
    return found, unseen


#: modules with weights that no activation belongs to, or several
_OTHER = (*_NORMS, nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


def _unknown(model: torch.nn.Module) -> dict[str, list[str]]:
    """Modules with a matrix of weights that are no layers known here, by their type."""
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter) or isinstance(module, (*LAYERS, *_OTHER)):
            continue
        if not nn.parameter.is_lazy(weight) and weight.dim() > 1:
            found.setdefault(type(module).__name__, []).append(name or "the model")
    return found


def _look(node: _Node, around: Neighbours) -> None:
    ends = []
    for direction, known in (("next", around.after), ("previous", around.before)):
        for reached in _beyond(node, direction):
            if reached.known is not None:
                known.append(reached.known)
            elif reached.kind in ("norm", "sum"):
                around.normalised = True
            elif direction == "next":
                ends.append(reached.kind)
    around.last = not around.after and bool(ends) and all(kind == "end" for kind in ends)
    if "unlinked" in ends and not around.after:
        around.note = "what follows could not be read; taken to have no activation"


def _beyond(start: _Node, direction: str) -> Iterator[_Node]:
    """The activations on the paths from a node, the normalisations and sums passed, and where paths stop."""
    seen, waiting = {id(start)}, list(getattr(start, direction))
    while waiting:
        node = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        ahead = getattr(node, direction)
        if node.kind in ("pass", "norm", "sum") or (node.kind in ("end", "unlinked") and ahead):
            if node.kind in ("norm", "sum"):
                yield node
            waiting += ahead
            if ahead:
                continue
        yield node


def _read(module: torch.nn.Module, prefix: str, nodes: list[_Node], unseen: list[str]) -> tuple[_Node, _Node]:
    """Adds the nodes of a module; returns the one where its input enters and the one where it leaves."""
    kind, known = _kind_of(module)
    if kind is not None:
        node = _Node(kind, prefix, known)
        nodes.append(node)
        return node, node
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # noqa: BLE001 - tracing runs the model's own code: anything may happen
        return _children(module, prefix, nodes, unseen, error)
    return _from_graph(graph, module, prefix, nodes)


def _children(
    module: torch.nn.Module, prefix: str, nodes: list[_Node], unseen: list[str], error: Exception
) -> tuple[_Node, _Node]:
    first, last = _Node("pass"), _Node("end")
    at = first
    sequential = isinstance(module, nn.Sequential)
    if not sequential:
        told = (str(error).strip() or type(error).__name__).splitlines()[0]
        unseen.append(
            f"{prefix or type(module).__name__}: torch.fx cannot trace it ({told:.100}); its children were read one by one"
        )
    for name, child in module.named_children():
        entry, leave = _read(child, f"{prefix}.{name}" if prefix else name, nodes, unseen)
        if sequential or (entry.kind == "activation" and at.kind in ("layer", "pass")):
            at.to(entry)
        elif at is not first:
            at.to(_Node("unlinked"))
        at = leave
    at.to(last if sequential else _Node("unlinked"))
    nodes += [first, last]
    return first, last


def _from_graph(
    graph: torch.fx.Graph, module: torch.nn.Module, prefix: str, nodes: list[_Node]
) -> tuple[_Node, _Node]:
    first, last = _Node("pass"), _Node("end")
    made: dict[torch.fx.Node, _Node] = {}
    for one in graph.nodes:
        if one.op == "placeholder":
            made[one] = first
            continue
        if one.op == "output":
            node = last
        else:
            kind, layer, known = "stop", "", None
            if one.op == "call_module":
                target = module.get_submodule(one.target)
                found, known = _kind_of(target)
                kind = found or "stop"
                layer = f"{prefix}.{one.target}" if prefix else str(one.target)
            elif one.op != "get_attr":
                kind, known = _kind_of_call(one)
            node = _Node(kind, layer, known)
        for before in one.all_input_nodes:
            if before in made:
                made[before].to(node)
        made[one] = node
        nodes.append(node)
    nodes.append(first)
    return first, last


def _kind_of(module: torch.nn.Module) -> tuple[str | None, Known | None]:
    if isinstance(module, LAYERS):
        return "layer", None
    if isinstance(module, _NORMS):
        return "norm", None
    if isinstance(module, _PASSING):
        return "pass", None
    if isinstance(module, nn.MultiheadAttention):
        return "stop", None
    known = recognise.module(module) or unit_of(module)
    return ("activation", known) if known is not None else (None, None)


def _kind_of_call(one: torch.fx.Node) -> tuple[str, Known | None]:
    called: Any = one.target
    if one.op == "call_method":
        called = getattr(torch.Tensor, str(one.target), None)
    name = getattr(called, "__name__", str(one.target))
    known = recognise.function(called, one.args[1:], one.kwargs) or unit_of(called, one.args, one.kwargs)
    if known is not None:
        return "activation", known
    if name in _SUMS:
        summed = [a for a in one.args if isinstance(a, torch.fx.Node)]
        return ("sum" if len(summed) > 1 else "pass"), None
    if name in _NORM_CALLS:
        return "norm", None
    if name in _PASSING_CALLS or name.startswith(_PASSING_PREFIXES):
        return "pass", None
    return "stop", None

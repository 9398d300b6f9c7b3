"""Activations in the wrong place: before a loss, on logits, twice, nowhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from softknee.diagnose.graph import Call
from softknee.diagnose.records import ERROR, WARNING, Evidence, Finding
from softknee.diagnose.rules.base import Context, Example, Rule, percent, weight_scale

__all__ = ["RULES"]

_LOGITS = (
    "cross_entropy",
    "binary_cross_entropy_with_logits",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
)
_REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def _ends(context: Context) -> Iterator[tuple[Call, Call]]:
    """(loss, the call that its prediction comes from)"""
    for loss in context.graph.of_kind("loss"):
        source = context.graph.source(loss, ("pass", "dropout"))
        if source is not None:
            yield loss, source


def _squashes(call: Call) -> bool:
    return call.kind == "softmax" or (call.site is not None and call.site.profile.squashing)


def _softmax(rule: Rule, context: Context) -> Iterator[Finding]:
    for loss, end in _ends(context):
        if loss.name not in _LOGITS or not _squashes(end):
            continue
        logarithm = "log" in end.name
        spread = None
        for output in context.outputs[:1]:
            spread = float(output.double().flatten(1).std(1).mean()) if output.dim() > 1 else None
        yield rule.finding(
            WARNING if logarithm else ERROR,
            end.module,
            f"{end.name} before {loss.name}, which applies its own",
            [Evidence(f"the prediction of {loss.name} comes from {end.name}"
                      + (f"; its values differ by {spread:.3g} (standard deviation)" if spread is not None else "")
                      + ", expected unbounded logits", 1.0, 0.0)],
            "It is done twice: the second time changes nothing, and costs time." if logarithm else
            "Probabilities from 0 to 1 are taken for logits: the loss cannot come near 0, and gradients are small.",
            f"Leave {end.name} out while training" + (", or use nll_loss." if logarithm else "."),
        )  # fmt: skip


def _on_logits(rule: Rule, context: Context) -> Iterator[Finding]:
    for loss, end in _ends(context):
        if loss.name not in _LOGITS or end.site is None or _squashes(end):
            continue
        if end.site.profile.linear or not _is_last(context, end):
            continue
        profile = end.site.profile
        cut = profile.lowest > -2 or profile.highest < 2
        yield rule.finding(
            ERROR if cut else WARNING,
            end.site.layer,
            f"{end.site.label} on the logits, before {loss.name}",
            [Evidence(f"logits lie between {profile.lowest:.3g} and {profile.highest:.3g} now, expected unbounded",
                      profile.lowest)],
            "The loss needs logits of either sign: what the activation cuts off cannot be said, and where it is flat "
            "nothing is learnt.",
        )  # fmt: skip


def _is_last(context: Context, call: Call) -> bool:
    return not context.graph.hidden(call)


def _output(rule: Rule, context: Context) -> Iterator[Finding]:
    for loss, end in _ends(context):
        prediction, target = loss.details.get("prediction"), loss.details.get("target")
        if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
            continue
        p = prediction.detach().double()
        if loss.name == "nll_loss":
            total = p.exp().sum(1) if p.dim() > 1 else p.exp()
            off = float((total - 1).abs().max())
            if off > 1e-2:
                kind = "probabilities" if _squashes(end) else "raw scores"
                yield rule.finding(
                    ERROR, end.module, f"nll_loss is given {kind}",
                    [Evidence(f"the exponentials of its input sum to {float(total.mean()):.3g} on average, expected 1",
                              float(total.mean()), 1.0)],
                    "The negative log-likelihood takes the logarithm of probabilities.",
                    "Use cross_entropy on raw scores, or log_softmax before nll_loss.",
                )  # fmt: skip
        elif loss.name == "binary_cross_entropy" and end.kind == "softmax":
            many = p.dim() > 1 and p.shape[1] > 1 and bool((target.double().sum(-1) > 1).any())
            if many:
                yield rule.finding(
                    WARNING, end.module, "softmax with several labels at once",
                    [Evidence("targets have more than one label a sample, expected one for softmax", 2.0, 1.0)],
                    "A softmax shares one unit of probability among the labels: no two can be near 1.",
                    "Use one logit a label and binary_cross_entropy_with_logits.",
                )  # fmt: skip
        elif loss.name == "binary_cross_entropy_with_logits":
            outside = (target < 0) | (target > 1)
            if bool(outside.any()):
                yield rule.finding(
                    ERROR, end.module, "targets outside 0 to 1 for a binary loss",
                    [Evidence(f"{percent(float(outside.double().mean()))} of the targets, from "
                              f"{float(target.min()):.3g} to {float(target.max()):.3g}", float(target.max()), 1.0)],
                    "Class numbers are given to a loss that takes probabilities.", "Use cross_entropy for classes.",
                )  # fmt: skip
        elif loss.name == "cross_entropy" and p.dim() == 2 and p.shape[1] == 1:
            yield rule.finding(
                ERROR, end.module, "cross_entropy over a single class",
                [Evidence("the prediction has 1 class, expected 2 or more", 1.0, 2.0)],
                "The softmax of one number is 1, whatever the number: the loss is 0 and so is every gradient.",
                "Use binary_cross_entropy_with_logits with one output, or cross_entropy with two.",
            )  # fmt: skip
        elif loss.name in _REGRESSION:
            yield from _regression(rule, context, loss, end, p, target.double())


def _regression(
    rule: Rule, context: Context, loss: Call, end: Call, p: Tensor, target: Tensor
) -> Iterator[Finding]:
    compared = math.prod(torch.broadcast_shapes(p.shape, target.shape))
    if compared != p.numel() or compared != target.numel():
        yield rule.finding(
            ERROR, end.module, f"{loss.name} broadcasts a prediction of shape {tuple(p.shape)} against a target of shape "
            f"{tuple(target.shape)}",
            [Evidence(f"{p.numel():,} predictions and {target.numel():,} targets make {compared:,} differences, expected one each",
                      compared, p.numel())],
            "Every prediction is compared with every target: the best answer is their mean.",
            "Give both the same shape, e.g. with squeeze(-1).",
        )  # fmt: skip
        return
    if end.kind == "softmax":
        low, high, label, layer = 0.0, 1.0, end.name, end.module
    elif end.site is not None and _is_last(context, end):
        low, high, label, layer = (
            end.site.profile.lowest,
            end.site.profile.highest,
            end.site.label,
            end.site.layer,
        )
    else:
        return
    outside = float(((target < low - 1e-3) | (target > high + 1e-3)).double().mean())
    if outside > 0.01:
        yield rule.finding(
            ERROR, layer, f"{label} cannot reach {percent(outside)} of the targets",
            [Evidence(f"targets from {float(target.min()):.3g} to {float(target.max()):.3g}; it gives {low:.3g} to "
                      f"{high:.3g}", outside, 0.0)],
            "The range of the last activation does not hold the targets.",
            "Leave the activation out for regression, or scale the targets into its range.",
        )  # fmt: skip


def _linear(rule: Rule, context: Context) -> Iterator[Finding]:
    graph = context.graph
    for call in graph.of_kind("affine"):
        previous = graph.source(call, ("pass", "dropout"))
        if previous is None or previous.kind != "affine" or previous.module == call.module:
            continue
        if len(graph.consumers.get(previous.index, ())) > 1 or "bilinear" in (call.name, previous.name):
            continue
        first, second = weight_scale(previous), weight_scale(call)
        if first is None or second is None or not isinstance(previous.weight, Tensor):
            continue
        alike = call.name == previous.name and not _grouped(context, previous) and not _grouped(context, call)
        if not alike:
            continue
        middle, least = previous.weight.shape[0], min(previous.weight.shape[1], call.weight.shape[0])
        if middle < least:
            continue  # a bottleneck saves parameters
        yield rule.finding(
            WARNING,
            call.module,
            f"{previous.module} and {call.module} have no activation between them",
            [Evidence(f"two linear maps of widths {previous.weight.shape[1]} → {middle} → {call.weight.shape[0]} are one, "
                      f"of rank {least} at most", 2.0, 1.0)],
            "The composition of two linear maps is a linear map: the second layer adds parameters and no expression.",
            f"Put an activation behind {previous.module}, or leave one of the two out.",
        )  # fmt: skip


def _grouped(context: Context, call: Call) -> bool:
    return getattr(context.modules.get(call.module), "groups", 1) != 1


def _no_op(rule: Rule, context: Context) -> Iterator[Finding]:
    graph = context.graph
    for call in graph.of_kind("softmax"):
        if call.details.get("size") == 1:
            yield rule.finding(
                ERROR, call.module, f"{call.name} over a dimension of size 1 is constant",
                [Evidence("the dimension has size 1, expected 2 or more", 1.0, 2.0)],
                "A single number, divided by itself, is 1: no gradient passes.",
                "Choose another dimension, or use a sigmoid for one output.",
            )  # fmt: skip
    for call in graph.of_kind("activation"):
        site = call.site
        if site is None or not site.moments.samples:
            continue
        previous = graph.source(call, ("pass",))
        if previous is None or previous.site is None:
            continue
        low, high = previous.site.profile.lowest, previous.site.profile.highest
        values = np.linspace(max(low, -30.0), min(high, 30.0), 2001)
        values = np.unique(previous.site.function.numpy(0)(np.linspace(-30, 30, 2001))[0])
        with np.errstate(all="ignore"):
            again = site.function.numpy(0)(values)[0]
        if not np.array_equal(again, values):
            continue
        yield rule.finding(
            WARNING,
            site.layer,
            f"{site.label} after {previous.site.label} changes nothing",
            [Evidence(f"{site.label} is the identity on everything {previous.site.label} gives, {low:.3g} to {high:.3g}",
                      0.0)],
            "It stands there twice.",
            f"Leave {site.layer or 'one of them'} out.",
        )  # fmt: skip


@torch.no_grad()
def _leave_out(model: nn.Module, finding: Finding, context: Context) -> str | None:
    modules = dict(model.named_modules())
    module = modules.get(finding.layer)
    if (
        not finding.layer
        or module is None
        or any(True for _ in module.children())
        or list(module.parameters())
    ):
        return None
    uses = [
        c for c in context.graph.calls if c.module == finding.layer and c.kind in ("activation", "softmax")
    ]
    if len(uses) != 1:
        return None
    parent, _, name = finding.layer.rpartition(".")
    setattr(modules[parent], name, nn.Identity())
    return f"left {finding.layer} out"


RULES = (
    Rule(
        "SK401", "softmax-before-cross-entropy", "Softmax, or sigmoid, before a loss that takes logits",
        "cross_entropy applies log_softmax itself, binary_cross_entropy_with_logits applies sigmoid. Before them, a "
        "softmax or sigmoid makes probabilities pass for logits: of ten classes, the loss cannot fall below 1.46.",
        "Every time; log_softmax twice is harmless and a warning.",
        "Give the loss the raw outputs; apply the softmax when you read probabilities.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3), nn.Softmax(dim=1))
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            """,
        ),
        _softmax, _leave_out,
    ),
    Rule(
        "SK402", "activation-on-logits", "A hidden activation on the output",
        "Behind the last layer, a rectifier turns every negative logit to 0: the network cannot say that a class is "
        "unlikely, and an output whose logits are all negative gets no gradient.",
        "Every time that cross_entropy or a loss with logits takes the output of an activation that is not a line.",
        "Leave the last activation out.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3), nn.ReLU())
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            """,
        ),
        _on_logits, _leave_out,
    ),
    Rule(
        "SK403", "linear-after-linear", "Two linear layers without an activation between them",
        "Two linear maps, one after the other, are one linear map. Without an activation the second adds cost and no "
        "expression.",
        "Matrices, or convolutions of one kind without groups, directly after one another (dropout and reshaping between "
        "them do not count), where the middle is not a bottleneck.",
        "Put an activation between them, or leave one out.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
            """,
        ),
        _linear,
    ),
    Rule(
        "SK404", "no-op-activation", "An activation that changes nothing, or gives a constant",
        "A rectifier behind a rectifier is the identity. A softmax over a dimension of size 1 is the constant 1, and "
        "stops every gradient.",
        "Every time: the second activation is the identity on the range of the first.",
        "Leave it out.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.ReLU(), nn.Linear(32, 3))
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            """,
        ),
        _no_op, _leave_out,
    ),
    Rule(
        "SK405", "output-activation", "An output that does not go with the loss",
        "Which output goes with which loss: one logit, binary_cross_entropy_with_logits (yes or no); a logit a label, the "
        "same (several labels at once); a logit a class, cross_entropy (one of several); a line, mse_loss or l1_loss "
        "(a number).",
        "nll_loss on what are no log-probabilities, cross_entropy over one class, targets outside the range of the last "
        "activation or the loss, a prediction that broadcasts against its target.",
        "Choose the pair from the list above.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.Tanh())
            batch = (torch.randn(256, 8), 20 * torch.randn(256, 1))
            loss = F.mse_loss
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
            batch = (torch.randn(256, 8), 20 * torch.randn(256, 1))
            loss = F.mse_loss
            """,
        ),
        _output,
    ),
)  # fmt: skip

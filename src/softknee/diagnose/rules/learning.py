"""Activations that learn: their parameters, and what the optimiser does to them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from softknee.diagnose.records import ERROR, WARNING, Evidence, Finding
from softknee.diagnose.rules.base import Context, Example, Rule
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import symbols_in

__all__ = ["RULES"]


def _learnt(context: Context) -> Iterator[tuple[str, str, Tensor, str]]:
    """(layer, name of the model's parameter, its value, its name in the activation)"""
    seen = set()
    for site in context.sites:
        for name, value in site.values.items():
            if isinstance(value, Tensor) and id(value) in context.parameter_names and id(value) not in seen:
                seen.add(id(value))
                yield site.layer, context.parameter_names[id(value)], value, name


def _decay(rule: Rule, context: Context) -> Iterator[Finding]:
    if context.optimizer is None:
        return
    decays = {id(p): g.get("weight_decay", 0) for g in context.optimizer.param_groups for p in g["params"]}
    for layer, parameter, value, name in _learnt(context):
        decay = decays.get(id(value), 0)
        if decay:
            yield rule.finding(
                WARNING, layer, f"{parameter} is decayed towards 0",
                [Evidence(f"weight_decay {decay:g}, expected 0", decay, 0.0)],
                f"{name} shapes the activation; 0 is no neutral value for it, and decay biases it (He et al. 2015 leave it "
                "out).",
            )  # fmt: skip


def _bound(rule: Rule, context: Context) -> Iterator[Finding]:
    for site in context.sites:
        learnt = {
            n: v for n, v in site.values.items()
            if isinstance(v, Tensor) and id(v) in context.parameter_names
        }  # fmt: skip
        if not learnt or not site.moments.samples:
            continue
        name, value = next(iter(learnt.items()))
        middle = float(value.detach().double().mean())
        said: tuple[str, Evidence, str] | None = None
        if site.profile.linear:
            said = (
                f"{site.label} has become a straight line",
                Evidence(f"{name} = {middle:.3g}: f(x) is proportional to x within 2 %", middle),
                "The parameter has learnt the activation away: the layers around it are one linear map.",
            )
        elif site.profile.steepest > 10:
            said = (
                f"{site.label} has become steep",
                Evidence(f"{name} = {middle:.3g}: slopes up to {site.profile.steepest:.3g}, expected about 1",
                         site.profile.steepest, 1.0),
                "The parameter has run away: it scales signal and gradient.",
            )  # fmt: skip
        else:
            for condition in site.definition.constraints:
                margin = _margin(condition, {**site.definition.defaults, **site.function.values})
                if margin is not None and margin < 1e-3:
                    said = (
                        f"{name} is at the end of its range",
                        Evidence(f"{name} = {middle:.3g}; it needs {condition!r}", middle),
                        "The next step may leave the range in which the activation is defined.",
                    )
        if said is not None:
            message, evidence, cause = said
            yield rule.finding(
                ERROR if not math.isfinite(middle) else WARNING, site.layer, message, [evidence], cause
            )


def _margin(condition: object, values: dict[str, object]) -> float | None:
    """How far an inequality is from equality."""
    if getattr(condition, "op", "") not in ("gt", "ge", "lt", "le"):
        return None
    left, right = condition.args  # type: ignore[attr-defined]
    names = tuple(symbols_in(left, right))
    numbers = compiled((left, right), names, "float")(*(float(values[n]) for n in names))  # type: ignore[arg-type]
    return abs(float(numbers[0]) - float(numbers[1]))


@torch.no_grad()
def _reset(model: nn.Module, finding: Finding, context: Context) -> str | None:
    module = dict(model.named_modules()).get(finding.layer)
    reset = getattr(module, "reset_parameters", None)
    if reset is None:
        return None
    reset()
    return f"reset the parameters of {finding.layer}"


RULES = (
    Rule(
        "SK501", "weight-decay-on-slope", "Weight decay on the parameters of an activation",
        "Weight decay pulls parameters towards 0. For a learnt slope or gate, 0 is not neutral: it makes a PReLU a ReLU.",
        "Every time; the optimiser must be given (optimizer=).",
        "Put the parameters of activations into a group of their own with weight_decay=0.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.PReLU(), nn.Linear(32, 3))
            optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.PReLU(), nn.Linear(32, 3))
            optimizer = torch.optim.AdamW([
                {"params": [*model[0].parameters(), *model[2].parameters()], "weight_decay": 0.01},
                {"params": model[1].parameters(), "weight_decay": 0.0},
            ])
            """,
        ),
        _decay,
    ),
    Rule(
        "SK502", "learned-slope-at-bound", "A learnt slope that has run to an end",
        "A slope that has become 1 makes a PReLU the identity; one that has run away scales everything; one at the end of "
        "its range leaves it with the next step.",
        "The activation is a line within 2 %, has slopes above 10, or a parameter is within 0.001 of its constraint.",
        "Reset the parameter; lower its learning rate.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.PReLU(init=1.0), nn.Linear(32, 3))
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.PReLU(init=0.25), nn.Linear(32, 3))
            """,
        ),
        _bound, _reset,
    ),
)  # fmt: skip

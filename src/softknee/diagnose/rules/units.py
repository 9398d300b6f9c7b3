"""Units that do nothing: dead, saturated, gates that never move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from softknee.diagnose.graph import Call
from softknee.diagnose.probes import Site
from softknee.diagnose.records import ERROR, NOTE, WARNING, Evidence, Finding, Severity
from softknee.diagnose.recurrent import Gate, together
from softknee.diagnose.rules.base import (
    Context,
    Example,
    Rule,
    count,
    give_weight,
    percent,
    weight_of,
    weight_scale,
)
from softknee.diagnose.theory import FLAT, STILL

__all__ = ["RULES", "cause_of_shift", "reset_units"]

FEW = 200  # samples from which on a unit that is never alive is believed to be dead
DEVIATIONS = 3.0  # with fewer samples, its input must also lie this many deviations from where it would live
NOTABLE, MOST = 0.1, 0.9  # of a layer's units
NEAR = 4.0  # times what is usual in the layer: so far out lie units that were drawn that way, and may wake up
ASLEEP = 0.5  # of a layer's units: from here on these are a warning, too
OPEN, SHUT = 0.99, 0.01
FEW_GATES = 16  # samples


def _severity(share: float) -> Severity:
    return ERROR if share >= MOST else WARNING if share >= NOTABLE else NOTE


def _one_sided(site: Site) -> bool:
    """Flat for a good part of normal input, as rectifiers are: there, silence is death, not saturation."""
    return site.profile.flat_share >= 0.2 or not site.profile.bounded


def _stuck(site: Site, share: float = 1.0) -> Tensor:
    """Units flat on this share of the samples or more."""
    return site.moments.per_unit("flat") >= share


def _certain(site: Site, stuck: Tensor) -> Tensor:
    """With few samples: only where the input lies far from all places with a slope."""
    m = site.moments
    if m.samples >= FEW:
        return stuck
    mean = m.per_unit("z")
    spread = (m.per_unit("zz") - mean * mean).clamp(min=0).sqrt()
    living = _edge(site)
    return stuck & ((mean - living).abs() > DEVIATIONS * spread)


def _edge(site: Site) -> float:
    """Where the slope dies, on the side where dead units are: below zero."""
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    slope = torch.from_numpy(site.function.numpy(1)(z.numpy())[0].copy()).abs()
    alive = z[slope >= STILL * site.profile.steepest]
    return float(alive.min()) if len(alive) else 0.0


def cause_of_shift(context: Context, site: Site, units: Tensor) -> tuple[str, str, list[Evidence]]:
    """Why the inputs of these units lie where they do: (which cause, the cause in words, its evidence).

    The input of a unit is w.x + b: the bias, the size of the weights and the size of x are told apart.
    """
    m = site.moments
    mean = m.per_unit("z")[units]
    spread = (m.per_unit("zz")[units] - mean * mean).clamp(min=0).sqrt()
    middle, width = float(mean.median()), float(spread.median())
    shown = Evidence(
        f"their inputs are {middle:.3g} on average, with a standard deviation of {width:.3g} over samples",
        middle,
    )
    bias, where = _bias(context, site, units)
    affine = context.affine_before(site)
    from_inputs = affine.details.get("input_rms", 1.0) if affine is not None else 1.0
    if (outlier := _outlier(context)) > 30 and from_inputs > 10:
        return (
            "outlier",
            "A few samples are far larger than the others and pull everything towards them.",
            [shown, Evidence(f"the largest sample is {outlier:.3g} times the median one", outlier, 3.0)],
        )
    if bias is not None:
        typical = float(bias.median())
        if abs(typical) > 0.5 * abs(middle) and abs(typical) > max(width, 0.5) and typical * middle > 0:
            return (
                "bias",
                f"The bias {where} holds them there: it is {typical:.3g}, larger than anything the weights add.",
                [shown, Evidence(f"bias {typical:.3g}", typical, 0.0)],
            )
    scale = weight_scale(affine) if affine is not None else None
    if scale is not None and affine is not None:
        expected = max(site.profile.gain if site.profile.gain < 10 else 1.0, 1.0)
        rows = _row_scales(affine, units, _part(context, site))
        if rows > 3 * expected and from_inputs < 10:
            return (
                "weights",
                "The weights are too large: they carry ordinary inputs far out.",
                [
                    shown,
                    Evidence(
                        f"weights {rows:.3g} / sqrt(fan_in), expected about {expected:.3g}", rows, expected
                    ),
                ],
            )
        if from_inputs > 10:
            return (
                "inputs",
                "What the layer is given is too large: its inputs, not its weights, carry the units out.",
                [shown, Evidence(f"inputs of the layer have a root mean square of {from_inputs:.3g}, expected about 1",
                                 from_inputs, 1.0)],
            )  # fmt: skip
        if abs(affine.details.get("input_mean", 0.0)) > 0.2 * from_inputs:
            return (
                "moved",
                "The weights have moved together against inputs that are mostly of one sign, as one step that is too "
                "large does: bias and weights are of ordinary size.",
                [shown],
            )
    return "unknown", "Neither the bias nor the size of the weights or inputs explains it.", [shown]


def _part(context: Context, site: Site) -> slice:
    """Which outputs of the layer before it are its input: all, but for a gated unit that halves one tensor."""
    before = context.graph.source(context.call_of(site), ())
    part: slice = before.details.get("part", slice(None)) if before is not None else slice(None)
    return part


def _bias(context: Context, site: Site, units: Tensor) -> tuple[Tensor | None, str]:
    call = context.graph.source(context.call_of(site), ("pass", "dropout", "other"))
    if call is None:
        return None, ""
    bias: Any = call.bias
    if call.kind == "add":  # of the input's weights and the state's, in a recurrent layer
        both = [context.graph.back(i) for i in call.sources]
        biases = [c.bias for c in both if isinstance(c.bias, Tensor)]
        alike = bool(biases) and len({b.shape for b in biases}) == 1
        bias = _nearest(sum(b.detach() for b in biases), site) if alike else None
    if call.kind == "norm":
        bias = getattr(context.modules.get(call.module), "bias", None)
    if isinstance(bias, Tensor):
        bias = bias[_part(context, site)]
    if not isinstance(bias, Tensor) or bias.numel() != len(units):
        return None, ""
    return bias.detach().cpu().double()[units], f"of '{call.module}'" if call.module else ""


def _nearest(bias: Any, site: Site) -> Tensor | None:
    """The part of a bias that the activation's units have, if these are a part: where it is nearest to their inputs."""
    parts = [p for p in bias.split(site.units) if len(p) == site.units]
    mean = site.moments.per_unit("z")
    return min(parts, key=lambda p: float((p.cpu().double() - mean).abs().sum()), default=None)


def _row_scales(affine: Call, units: Tensor, part: slice) -> float:
    w = affine.weight.detach()
    if affine.name == "linear" or (affine.name.startswith("conv") and "transpose" not in affine.name):
        if len(w := w[part]) == len(units):
            w = w[units.to(w.device)]
        return float(w.double().flatten(1).norm(dim=1).median())
    found = weight_scale(affine)
    return found[0] if found else 0.0


def _outlier(context: Context) -> float:
    for x in context.inputs:
        if x.dim() > 1 and len(x) > 4:
            sizes = x.double().flatten(1).square().mean(1).sqrt()
            middle = float(sizes.median())
            return float(sizes.max()) / middle if middle > 0 else 0.0
    return 0.0


_FIXES = {
    "outlier": "Clip or remove the outlying samples, or clip the gradient's norm (torch.nn.utils.clip_grad_norm_); then "
    "reset these units.",
    "bias": "Reset the bias of these units to 0 and draw their weights anew; if it comes back, lower the learning rate "
    "or leave the bias out of weight decay and momentum restarts.",
    "weights": "Draw the weights with the activation's gain (softknee.init), or normalise before the activation.",
    "inputs": "Standardise the inputs (mean 0, standard deviation 1), or normalise before this layer.",
    "moved": "Lower the learning rate, warm it up, or clip gradients; then draw these units anew.",
    "birth": "None is needed for a few; else normalise before the activation, or draw the weights anew.",
    "unknown": "Draw the weights of these units anew with the activation's gain and set their bias to 0.",
}


def _far(site: Site, dead: Tensor, history: Any) -> Tensor:
    """The dead units that something threw out: their inputs lie where those of the others never come, or they
    died while they were watched. A healthy network has some that face away from its data, in reach."""
    if bool(dead.all()):
        return dead
    usual = float(site.moments.per_unit("zz")[~dead].median().sqrt())
    far = dead & ((site.moments.per_unit("z") - _edge(site)).abs() > NEAR * usual)
    if history is not None:
        for unit, _ in history.died:
            far[unit] = dead[unit]
    return far


def _by_chance(dead: int, units: int) -> bool:
    """Where inputs hardly differ, as behind a pooling, the draw of the weights decides on which side each unit is:
    about half of them, which training wakes up."""
    return sum(math.comb(units, k) for k in range(dead, units + 1)) > 0.01 * 2**units


def _dead(rule: Rule, context: Context) -> Iterator[Finding]:
    for site in context.hidden_sites:
        m = site.moments
        if not _one_sided(site):
            continue
        dead = _certain(site, site.dead)
        share = float(dead.double().mean())
        if not share:
            continue
        units = dead.nonzero().flatten()
        which, cause, shown = cause_of_shift(context, site, dead)
        if which == "moved" and not context.trained:
            which = "birth"
            cause = (
                "The model looks untrained: these units were born dead. Their weights, as drawn, point away from inputs "
                "that are mostly of one sign, as deep in a network of rectifiers."
            )
        history = context.steps.of(site.layer) if context.steps is not None else None
        if history is not None:
            shown = [*shown, *_over_time(history)]
            if which in ("moved", "unknown", "birth") and history.died:
                steps = [s for s in history.series["update"] if s == s]
                if steps and max(steps) > 0.1:
                    which = "moved"
                    cause = f"Steps that are too large threw them there: one moved the weights by {percent(max(steps))}."
        usual = site.profile.flat_share
        drawn = which == "birth" and _by_chance(len(units), site.units)
        far = share if share >= ASLEEP else float(_far(site, dead, history).double().mean())
        severity = NOTE if drawn else _severity(far)
        yield rule.finding(
            severity,
            site.layer,
            f"{len(units)} of {site.units} units never have a slope ({site.label})",
            [
                Evidence(f"{percent(share)} of the units are dead on all {m.samples:,} samples, expected none", share, 0.0),
                *shown,
                Evidence(
                    f"{percent(m.mean('flat'))} of single values are flat; normal input would give {percent(usual)}",
                    m.mean("flat"), usual,
                ),
            ],
            cause,
            _FIXES[which],
            units.tolist(),
        )  # fmt: skip


def _over_time(history: Any) -> list[Evidence]:
    """When they died."""
    shown = []
    if history.born_dead:
        shown.append(
            Evidence(f"dead from the first step on: {len(history.born_dead)}", len(history.born_dead), 0.0)
        )
    if history.died:
        when = sorted(step for _, step in history.died)
        text = f"{len(when)} died, the first after step {when[0]}"
        if len(when) > 1:
            text += f", half of them by step {when[len(when) // 2]}"
        shown.append(Evidence(text, len(when), 0.0))
    if history.revived:
        shown.append(Evidence(f"silent units came back: {history.revived}", history.revived))
    return shown


def _saturated(rule: Rule, context: Context) -> Iterator[Finding]:
    for site in context.hidden_sites:
        m = site.moments
        if _one_sided(site):
            continue
        stuck = _stuck(site, 0.99)
        if m.samples < FEW:
            mean = m.per_unit("z")
            stuck &= mean.abs() > 3.0
        share, flat = float(stuck.double().mean()), m.mean("flat")
        usual = context.theory(site)
        if not share and flat < 0.5:
            continue
        which, cause, shown = cause_of_shift(context, site, stuck if share else torch.ones_like(stuck))
        severity = _severity(share)
        if severity == NOTE and flat >= 0.5:
            severity = WARNING
        yield rule.finding(
            severity,
            site.layer,
            f"{int(stuck.sum())} of {site.units} units sit where {site.label} is flat"
            if share
            else f"{percent(flat)} of the values lie where {site.label} is flat",
            [
                Evidence(
                    f"{percent(flat)} of the values have a slope below {percent(FLAT)} of the steepest; standard normal "
                    f"input would give {percent(site.profile.flat_share)}"
                    + (f", normal input as wide as theirs {percent(usual.flat)}" if usual else ""),
                    flat, site.profile.flat_share,
                ),
                *shown,
            ],
            cause,
            _FIXES[which],
            stuck.nonzero().flatten().tolist(),
        )  # fmt: skip


def _collapsed(site: Site) -> tuple[Tensor, Tensor]:
    """Which gates are always open, and which always shut. One without an upper bound has no state that is open: it is
    shut where it is flat."""
    m = site.moments
    if site.profile.squashing:
        return m.f_low.cpu() > OPEN, m.f_high.cpu() < SHUT
    shut = _stuck(site) if site.profile.flat_below else torch.zeros(site.units, dtype=torch.bool)
    return torch.zeros_like(shut), shut


def _gates(rule: Rule, context: Context) -> Iterator[Finding]:
    def found(
        layer: str, what: str, opened: Tensor, shut: Tensor, below: str, samples: int, cause: str,
        shown: list[Evidence], keeps: bool = False,
    ) -> Iterator[Finding]:  # fmt: skip
        stuck = opened | shut
        share = float(stuck.double().mean())
        if share < NOTABLE:
            return
        memory = keeps and share < MOST and not bool(shut.any())  # it remembers; others of its layer forget
        state = "open" if int(opened.sum()) >= int(shut.sum()) else "shut"
        text = (
            f"{int(opened.sum())} are above {OPEN} and {int(shut.sum())} {below} on all {samples:,} samples"
        )
        yield rule.finding(
            NOTE if memory else _severity(share), layer,
            f"{int(stuck.sum())} of {len(shut)} gates are always {state} ({what})",
            [Evidence(text, share, 0.0), *shown], cause, units=stuck.nonzero().flatten().tolist(),
        )  # fmt: skip

    for site in context.gates:
        if site.moments.samples >= FEW_GATES:
            opened, shut = _collapsed(site)
            _, cause, shown = cause_of_shift(context, site, opened | shut)
            below = f"below {SHUT}" if site.profile.squashing else "flat"
            yield from found(site.layer, site.label, opened, shut, below, site.moments.samples, cause, shown)
    for module, gates in fused_gates(context).items():
        for g in gates:
            if g.count >= FEW_GATES:
                opened, shut = g.low > OPEN, g.high < SHUT
                cause, shown = _of_fused(g, opened | shut)
                yield from found(
                    module, g.label, opened, shut, f"below {SHUT}", g.count, cause, shown, g.keeps
                )


def _of_fused(gate: Gate, stuck: Tensor) -> tuple[str, list[Evidence]]:
    if not bool(stuck.any()):
        return "", []
    middle, bias = float(gate.mean[stuck].median()), float(gate.bias[stuck].median())
    shown = [
        Evidence(f"their inputs are {middle:.3g} on average", middle),
        Evidence(f"bias {bias:.3g}", bias, 0.0),
    ]
    if bias * middle > 0 and abs(bias) > 0.5 * abs(middle):
        return f"The bias holds them there: both biases add up to {bias:.3g}.", shown
    return "The weights are too large, or what the layer is given is: the bias does not explain it.", shown


def fused_gates(context: Context) -> dict[str, list[Gate]]:
    """Those of torch's fused recurrent layers, by module"""
    found: dict[str, list[Gate]] = {}
    for call in context.graph.of_kind("recurrent"):
        found.setdefault(call.module, []).extend(call.details.get("gates", ()))
    return {module: together(gates) for module, gates in found.items()}


@torch.no_grad()
def _reset_gates(model: nn.Module, finding: Finding, context: Context) -> str | None:
    gates = fused_gates(context).get(finding.layer)
    if gates is None:
        return reset_units(model, finding, context)
    module, drawn = model.get_submodule(finding.layer), 0
    generator = torch.Generator().manual_seed(0)
    for g in gates:
        units = ((g.low > OPEN) | (g.high < SHUT)).nonzero().flatten()
        drawn += len(units)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            held = getattr(module, name + g.ending, None)
            if isinstance(held, Tensor):
                bound = len(g.low) ** -0.5 if name.startswith("weight") else 0.0
                fresh = bound * (2 * torch.rand(held[units].shape, generator=generator) - 1)
                held[g.start + units] = fresh.to(held)
    return f"drew {count(drawn, 'gate')} of {finding.layer or 'the model'} anew, bias 0"


@torch.no_grad()
def reset_units(model: nn.Module, finding: Finding, context: Context) -> str | None:
    """Draws the incoming weights of the finding's units anew, with the activation's gain; bias 0."""
    site = next((s for s in context.sites if s.layer == finding.layer), None)
    affine = context.affine_before(site) if site is not None else None
    if site is None or affine is None:
        return None
    module = dict(model.named_modules()).get(affine.module)
    weight = weight_of(module)
    if module is None or weight is None or "transpose" in affine.name:
        return None
    rows = range(weight.shape[0])[_part(context, site)]
    units = [rows[u] for u in finding.units if u < len(rows)] or list(rows)
    fan_in = weight[0].numel()
    gain = min(site.profile.gain, 4.0)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn((len(units), *weight.shape[1:]), generator=generator) * gain / fan_in**0.5
    fresh = weight.detach().clone()
    fresh[units] = drawn.to(weight)
    give_weight(module, fresh)
    if isinstance(bias := getattr(module, "bias", None), Tensor):
        bias[units] = 0
    between = context.graph.source(context.call_of(site), ("pass", "dropout", "other"))
    if between is not None and between.kind == "norm":
        norm = dict(model.named_modules()).get(between.module)
        for name, value in (("weight", 1.0), ("bias", 0.0)):
            held = getattr(norm, name, None)
            if isinstance(held, Tensor) and len(held) == site.units:
                held[units] = value
    return f"drew {count(len(units), 'unit')} of {affine.module or 'the model'} anew, gain {gain:.3g}, bias 0"


RULES = (
    Rule(
        "SK101", "dead-units", "Units that are zero, or flat, whatever the input",
        "A unit whose activation has no slope on any sample gets no gradient: its weights never change again, and it "
        "adds a constant. Many zeros are no death: a rectifier gives about half, the feed-forward layers of trained "
        "Transformers 90 % and more, each unit for other samples. Dead is a unit that fires for none. A convolution's "
        "unit is a channel.",
        "One unit whose slope is below 1/1000 of the steepest on every one of 200 samples or more; on fewer, its "
        "input must also lie 3 standard deviations away. A note below 10 % of a layer's units, an error from 90 %. Units "
        "whose inputs stay within 4 times what is usual in the layer were drawn that way and may wake up: up to half of "
        "a layer they are a note.",
        "Find out whether the bias, the weights, the input or the step size put them there (the finding says), and draw "
        "their weights anew.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            nn.init.constant_(model[0].bias, -20.0)
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            nn.init.zeros_(model[0].bias)
            """,
        ),
        _dead, reset_units,
    ),
    Rule(
        "SK102", "saturated-units", "Units that sit where a bounded activation is flat",
        "Bounded activations pass a gradient only near their middle. A unit that stays on a plateau learns at a "
        "thousandth of the pace, or not at all. Flat is measured by the activation's own derivative: below 1 % of its "
        "maximum.",
        "Half of the layer's values, or 10 % of its units for 99 % of the samples, are flat. An error from 90 % of the "
        "units.",
        "Bring the inputs of the activation back to a standard deviation of about 1.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3))
            nn.init.normal_(model[0].weight, std=50.0)
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3))
            nn.init.normal_(model[0].weight, std=1.6 / 8**0.5)
            """,
        ),
        _saturated, reset_units,
    ),
    Rule(
        "SK103", "collapsed-gate", "Gates that are always open or always shut",
        "A gate multiplies a signal by a number from 0 to 1 that depends on the input. One that is above 0.99, or below "
        "0.01, for every sample decides nothing and hardly learns.",
        "10 % of a gate's units, on 16 samples or more. A gate without an upper bound, as in SwiGLU, is shut where its "
        "activation is flat. Those of torch's LSTM and GRU are computed once more from the weights and the data. A "
        "gate that keeps the state (forget, update) and is open in a part of the units is a memory, and a note.",
        "Set the bias of the gate to 0 (or to +1 where it should start open) and draw its weights anew.",
        Example(
            """
            class Gated(nn.Module):
                def __init__(self, bias):
                    super().__init__()
                    self.value, self.gate, self.head = nn.Linear(8, 32), nn.Linear(8, 32), nn.Linear(32, 3)
                    nn.init.constant_(self.gate.bias, bias)

                def forward(self, x):
                    return self.head(self.value(x) * torch.sigmoid(self.gate(x)))

            model = Gated(bias=-15.0)
            """,
            """
            class Gated(nn.Module):
                def __init__(self, bias):
                    super().__init__()
                    self.value, self.gate, self.head = nn.Linear(8, 32), nn.Linear(8, 32), nn.Linear(32, 3)
                    nn.init.constant_(self.gate.bias, bias)

                def forward(self, x):
                    return self.head(self.value(x) * torch.sigmoid(self.gate(x)))

            model = Gated(bias=0.0)
            """,
        ),
        _gates, _reset_gates,
    ),
)  # fmt: skip

"""What happens to signal and gradient from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from softknee.diagnose.graph import Call
from softknee.diagnose.probes import Site
from softknee.diagnose.records import ERROR, NOTE, WARNING, Evidence, Finding
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

__all__ = ["RULES", "draw_anew"]

VANISHING = 1e-4  # gradient at one layer over the largest at a later one
EXPLODING = 1e3
COLLAPSE, GROWTH = 1e-7, 1e4  # variance over samples, against the first hidden layer
CONSTANT = 1e-9  # share of the second moment that differs from sample to sample
TINY = 1e-4  # weights of a standard deviation below this over sqrt(fan_in): no more than zeros
OFFSET, VARIES = 3.0, 1e-2  # an offset this large, with less than this share of the second moment varying


def _gradients(context: Context) -> list[tuple[Site, float, float]]:
    """(activation, gradient at its input, at its output), in order."""
    return [
        (
            s,
            math.sqrt(s.gradient),
            math.sqrt(s.output_gradient) if s.output_gradient else math.sqrt(s.gradient),
        )
        for s in context.hidden_sites
        if s.gradient_seen and not s.gradient_bad
    ]


def _named(context: Context, site: Site, by_slope: bool) -> str:
    """The activation's layer, or that of the weights before it."""
    affine = None if by_slope else context.affine_before(site)
    return affine.module if affine is not None else site.layer


def _vanishing(rule: Rule, context: Context) -> Iterator[Finding]:
    chain = _gradients(context)
    if context.graph.residual:  # branches may start at zero on purpose; what passes the sums must not vanish
        chain = [(s, g, g) for s, g, _ in chain if g > 0]
        if len(chain) < 2 or chain[0][1] >= VANISHING * max(g for _, g, _ in chain):
            return
    worst: tuple[float, int, int] | None = None
    for i, (_, g, _) in enumerate(chain):
        j = max((i, *_later(context, [s for s, _, _ in chain], i)), key=lambda k: chain[k][2])
        reference = chain[j][2]
        if reference > 0 and g < VANISHING * reference and (worst is None or g / reference < worst[0]):
            worst = (g / reference, i, j)
    if worst is None:
        return
    ratio, i, j = worst
    chain = [chain[k] for k in (i, *_later(context, [s for s, _, _ in chain], i)) if k <= j]
    i, j = 0, len(chain) - 1
    drops = []  # (factor, layer, whether the activation or the weights do it)
    for k in range(i, j + 1):
        site, g, out = chain[k]
        drops.append((g / out if out else 1.0, site, True))
        if k < j:
            drops.append((out / chain[k + 1][1] if chain[k + 1][1] else 1.0, chain[k + 1][0], False))
    factor, site, by_slope = min(drops, key=lambda d: d[0])
    layer = _named(context, site, by_slope)
    if factor > 0.3 * ratio ** (1 / len(drops)):  # all of them alike
        layer = chain[i][0].layer
    slopes = math.prod(d[0] for d in drops if d[2])
    weights = math.prod(d[0] for d in drops if not d[2])
    total = max(abs(math.log10(max(ratio, 1e-300))), 1e-9)
    part = min(1.0, abs(math.log10(max(slopes, 1e-300))) / total)
    if by_slope and factor < 1e-3:
        cause = f"The slope of {site.label} at {site.layer} stops it: the units there are dead or saturated."
    elif part > 0.5:
        cause = (
            f"The slopes of the activations make up {percent(part)} of the loss: each lets through only a part, layer "
            "after layer."
        )
    else:
        cause = "The weights are too small: each layer scales the gradient down."
    yield rule.finding(
        ERROR if ratio < 1e-7 else WARNING,
        layer,
        f"the gradient at {_which(chain[i][0], chain[j][0])} is {ratio:.2g} of that at {_which(chain[j][0], chain[i][0])}"
        if i != j else f"the gradient at the input of {chain[i][0].layer} is {ratio:.2g} of that at its output",
        [
            Evidence(f"norm {chain[i][1]:.3g} against {chain[j][2]:.3g}, expected above {VANISHING:g} of it",
                     ratio, VANISHING),
            Evidence(f"{_named(context, site, by_slope)} alone lets through {factor:.2g}", factor, 1.0),
            Evidence(f"by slopes {slopes:.2g}, by weights {weights:.2g}", slopes),
        ],
        cause,
    )  # fmt: skip


def _later(context: Context, sites: list[Site], i: int) -> list[int]:
    """Those behind it, whose gradient becomes its own."""
    early = context.call_of(sites[i])
    return [k for k in range(i + 1, len(sites)) if context.graph.compares(early, context.call_of(sites[k]))]


def _which(site: Site, other: Site) -> str:
    """Its name; where the other has the same, as in a recurrent layer, also which activation it is."""
    return site.layer if site.layer != other.layer else f"{site.layer} ({site.label}, call {site.index})"


def _exploding(rule: Rule, context: Context) -> Iterator[Finding]:
    chain = [(s, g) for s, g, _ in _gradients(context) if g > 0]
    later = [[i, *_later(context, [s for s, _ in chain], i)] for i in range(len(chain))]
    if not chain:
        return
    ratio, i = max((g / min(chain[k][1] for k in later[i]), i) for i, (_, g) in enumerate(chain))
    if ratio < EXPLODING or not math.isfinite(ratio):
        return
    chain = [chain[k] for k in later[i]]
    i, j = 0, min(range(len(chain)), key=lambda k: chain[k][1])
    k = max(range(i, j), key=lambda k: chain[k][1] / chain[k + 1][1])
    layer = chain[k + 1][0]
    before = context.affine_before(layer)
    scale = weight_scale(before) if before is not None else None
    wanted = layer.profile.gain
    shown = [
        Evidence(f"norm {chain[i][1]:.3g} at {chain[i][0].layer} against {chain[j][1]:.3g} at {chain[j][0].layer}, "
                 f"expected below {EXPLODING:g} times", ratio, EXPLODING),
        Evidence(f"{_named(context, layer, False)} alone scales it by {chain[k][1] / chain[k + 1][1]:.3g}", chain[k][1] / chain[k + 1][1], 1.0),
    ]  # fmt: skip
    if scale is not None:
        shown.append(
            Evidence(f"weights {scale[0]:.3g} / sqrt(fan_in), expected about {wanted:.3g}", scale[0], wanted)
        )
    yield rule.finding(
        ERROR if ratio > 1e6 else WARNING,
        _named(context, layer, False),
        f"the gradient grows {ratio:.2g} times on its way back",
        shown,
        "The weights are too large: each layer scales the gradient up.",
    )


def _variances(context: Context) -> list[tuple[Site, float]]:
    """Variance over samples of the activation's input, without what a normalisation sets."""
    return [(s, s.moments.variance) for s in context.hidden_sites if not context.normalised_between(s)]


def _told(context: Context, site: Site, before: Site | None) -> list[Evidence]:
    """Whether theory expects what was measured, for this activation and these weights."""
    affine = context.affine_before(site)
    scale = weight_scale(affine) if affine is not None else None
    if scale is None:
        return []
    text = f"weights {scale[0]:.3g} / sqrt(fan_in), expected about {site.profile.gain:.3g}"
    shown = [Evidence(text, scale[0], site.profile.gain)]
    if before is not None and (theory := context.theory(before)) is not None:
        predicted = scale[0] ** 2 * theory.second_moment
        measured = site.moments.mean("zz")
        shown.append(
            Evidence(f"second moment {measured:.3g}; mean-field theory for these weights says {predicted:.3g}",
                     measured, predicted)
        )  # fmt: skip
    return shown


def _collapse(rule: Rule, context: Context) -> Iterator[Finding]:
    chain = _variances(context)
    if context.graph.normalised or len(chain) < 2:
        return
    for i in range(1, len(chain)):
        reference = max(v for _, v in chain[:i])
        site, variance = chain[i]
        if not (0 <= variance < COLLAPSE * reference):
            continue
        k = min(range(1, i + 1), key=lambda k: chain[k][1] / chain[k - 1][1] if chain[k - 1][1] else 1.0)
        culprit = chain[k][0]
        ratio = variance / reference
        shown = _told(context, culprit, chain[k - 1][0])
        yield rule.finding(
            ERROR if ratio < 1e-10 else WARNING,
            _named(context, culprit, False),
            f"what tells samples apart has shrunk to {ratio:.2g} at {site.layer}",
            [
                Evidence(f"variance over samples {variance:.3g} against {reference:.3g} before, expected above "
                         f"{COLLAPSE:g} of it", ratio, COLLAPSE),
                *shown,
            ],
            "The weights are too small for this activation, or the units before it are dead or saturated: every layer "
            "shrinks the signal.",
        )  # fmt: skip
        return


def _growth(rule: Rule, context: Context) -> Iterator[Finding]:
    chain = [(s, s.moments.mean("zz")) for s, _ in _variances(context)]
    if context.graph.normalised or len(chain) < 2:
        return
    for i in range(1, len(chain)):
        reference = max(min(v for _, v in chain[:i]), 1.0)
        site, second = chain[i]
        if not (second > GROWTH * reference and math.isfinite(second)):
            continue
        k = max(range(1, i + 1), key=lambda k: chain[k][1] / chain[k - 1][1] if chain[k - 1][1] else 1.0)
        culprit = chain[k][0]
        shown = _told(context, culprit, chain[k - 1][0])
        yield rule.finding(
            ERROR if second > 1e10 * reference else WARNING,
            _named(context, culprit, False),
            f"the signal has grown to a second moment of {second:.2g} at {site.layer}",
            [
                Evidence(f"second moment {second:.3g} against {reference:.3g} before, expected below {GROWTH:g} times",
                         second / reference, GROWTH),
                *shown,
            ],
            "The weights are too large for this activation: every layer enlarges the signal."
            + (" Sums of branches without normalisation double it each time." if context.graph.residual else ""),
        )  # fmt: skip
        return


def _shift(rule: Rule, context: Context) -> Iterator[Finding]:
    for site in context.hidden_sites:
        m = site.moments
        share = 1 - m.variation
        offset = math.sqrt(max(m.mean("ff") * share, 0.0))
        if m.samples < 16 or offset < OFFSET * max(1.0, site.profile.gain**-1) or m.variation > VARIES:
            continue
        if not math.isfinite(offset):
            continue
        if float(site.dead.double().mean()) >= 0.9 or m.variation < CONSTANT:
            continue  # said by other rules
        middle = m.mean("z")
        yield rule.finding(
            WARNING,
            site.layer,
            f"its outputs are {offset:.3g} whatever the input: {percent(share)} of them is offset",
            [
                Evidence(f"{percent(share)} of the second moment of the outputs is the units' mean; standard normal "
                         f"input would give {percent(site.profile.offset)}", share, site.profile.offset),
                Evidence(f"mean input {middle:.3g}, standard deviation over samples {math.sqrt(m.variance):.3g}", middle),
            ],
            "The mean of the units is far larger than their variation: the next layer sees one and the same vector, and "
            "its gradients for all samples point the same way.",
        )  # fmt: skip


def _constant(rule: Rule, context: Context) -> Iterator[Finding]:
    output = next((o for o in context.outputs if o.dim() > 0 and o.shape[0] > 1), None)
    if output is None or context.samples < 4 or not bool(torch.isfinite(output).all()):
        return
    flat = output.double().reshape(len(output), -1)
    if flat.shape[1] > 4096:
        flat = flat[:, :: flat.shape[1] // 4096]
    varying = float(flat.var(0, unbiased=False).mean())
    second = float(flat.square().mean())
    share = varying / second if second > 0 else 0.0
    if share >= CONSTANT:
        return
    if context.inputs and all(bool((x == x[:1]).all()) for x in context.inputs if x.dim()):
        yield rule.finding(
            ERROR, "", "the output is the same for every sample, and so is the input",
            [Evidence("every sample is the same, expected ones that differ", 0.0, None)],
            "The data are at fault, not the model.", "Look at what is loaded, and at what is done to it before the model.",
        )  # fmt: skip
        return
    where, at, cause = "", None, "the weights before the output are zero or far too small."
    severity = ERROR
    for site in context.hidden_sites:
        if not context.graph.residual and _silent(site):
            where, at = site.layer, site
            break
    if not where:
        calls = [context.graph.calls[i] for i in context.graph.outputs[:1]]
        call = (
            context.graph.back(calls[0].index, ("pass", "softmax", "activation", "dropout"))
            if calls
            else None
        )
        where = call.module if call is not None else ""
        if call is not None and _starts_at_zero(context, call):
            severity = NOTE
            cause = "the weights before the output are zero. They have a gradient, and leave zero with the first step."
        elif call is not None and (scale := weight_scale(call)) is not None and scale[0] > TINY:
            cause = f"what {where or 'the last layer'} is given is the same for every sample."
    yield rule.finding(
        severity,
        where,
        "the output is the same for every sample",
        [Evidence(f"{share:.2g} of the output's second moment differs from sample to sample, expected above {CONSTANT:g}",
                  share, CONSTANT)]
        + ([Evidence(f"nothing of the input is left behind {where} ({at.label})", at.moments.variation)] if at else []),
        f"The network is paralysed: the units of {where} are dead or saturated, and what follows is a constant."
        if at is not None else cause[0].upper() + cause[1:],
    )  # fmt: skip


def _starts_at_zero(context: Context, call: Call) -> bool:
    """A last layer that was set to zero on purpose, as in diffusion models: it learns."""
    if call.weight is None or bool(call.weight.any()):
        return False
    gradient = context.parameter_gradients.get(context.parameter_names.get(id(call.weight), ""))
    return gradient is not None and bool(gradient.any())


def _silent(site: Site) -> bool:
    """Nothing of the input is left behind the activation."""
    m = site.moments
    varying = (m.per_unit("ff") - m.per_unit("f") ** 2).clamp(min=0)
    return m.variation < CONSTANT or float(varying.mean()) < 1e-10 or float(site.dead.double().mean()) > 0.99


def _cut_off(rule: Rule, context: Context) -> Iterator[Finding]:
    end = context.graph.loss
    if end is None or not context.loss_given:
        return
    of_weight = context.parameter_names
    used = {c.index: of_weight[id(c.weight)] for c in context.graph.of_kind("affine")
            if id(c.weight) in of_weight and context.graph.leads(c, end)}  # fmt: skip
    lost = {n for n, gradient in context.parameter_gradients.items() if gradient is None}
    missing = {i: n for i, n in used.items() if n in lost}
    if not missing:
        return
    groups = context.optimizer.param_groups if context.optimizer is not None else ()
    trained = {of_weight.get(id(p)) for g in groups for p in g["params"]}
    meant = any(n in trained for n in missing.values())
    last = context.graph.calls[max(missing)].module
    number, every = len(set(missing.values())), len(set(used.values()))
    yield rule.finding(
        WARNING if meant else NOTE,
        last,
        "the loss depends on it, and no gradient comes back",
        [Evidence(f"{number} of {every} matrices that the loss depends on get no gradient, {last or 'the last of them'} "
                  "and what is before it, expected none" + ("; the optimiser holds them" if meant else ""), number, 0.0)],
        f"What stands behind {last or 'it'} lets values through, and no gradient.",
    )  # fmt: skip


def _non_finite(rule: Rule, context: Context) -> Iterator[Finding]:
    def said(layer: str, what: str, number: float, cause: str, fix: str = "") -> Finding:
        return rule.finding(ERROR, layer, what, [Evidence(what, number, 0.0)], cause, fix)

    bad_parameters = [n for n, p in context.model.named_parameters() if not bool(torch.isfinite(p).all())]
    bad_inputs = []
    for what, given in (("data", context.inputs), ("targets", context.targets)):
        bad = [x for x in given if not bool(torch.isfinite(x).all())]
        if bad:
            number = int(sum((~torch.isfinite(x)).sum() for x in bad))
            yield said(
                "", f"the {what} hold {count(number, 'value')} that are NaN or infinite", number,
                f"The {what} are broken before the model sees them.", "Find and fill or drop these values.",
            )  # fmt: skip
        bad_inputs += bad
    for name in bad_parameters:
        layer = name.rpartition(".")[0]
        yield said(
            layer, f"{name} holds NaN or infinite values", 1.0,
            "An earlier step went wrong: a loss or gradient that was not finite was applied.",
            "Go back to a checkpoint before it, lower the learning rate, clip gradients.",
        )  # fmt: skip
    if bad_inputs or bad_parameters:
        return
    if context.first_bad is not None:
        module, function = context.first_bad
        yield said(
            module, f"{function} in {module or 'the model'} is the first with a result that is NaN or infinite", 1.0,
            "The numbers grew beyond the range of their type, or a division, a logarithm or a root met a zero or a "
            "negative number.",
        )  # fmt: skip
    elif context.loss is not None and not math.isfinite(context.loss):
        yield said(
            "",
            f"the loss is {context.loss}",
            context.loss,
            "The loss overflows, or takes the logarithm of 0.",
        )
    else:
        for name, g in context.parameter_gradients.items():
            if isinstance(g, Tensor) and not bool(torch.isfinite(g).all()):
                yield said(
                    name.rpartition(".")[0], f"the gradient of {name} is NaN or infinite", 1.0,
                    "A derivative is infinite where it was taken: a root or a norm at 0, or an overflow on the way "
                    "back.",
                )  # fmt: skip
                return


def _unstable(rule: Rule, context: Context) -> Iterator[Finding]:
    if not context.plain or context.trained:
        return
    sites = context.hidden_sites
    if len(sites) < 8:
        return
    names = {s.definition.name for s in sites}
    if len(names) > 1:
        return
    profile = sites[0].profile
    scales = []
    for site in sites[1:]:
        affine = context.affine_before(site)
        found = weight_scale(affine) if affine is not None else None
        if found is not None:
            scales.append(found[0])
    if not scales or not profile.growth > 1.02:
        return
    typical = sorted(scales)[len(scales) // 2]
    if abs(typical / profile.gain - 1) > 0.25:
        return
    factor = profile.growth ** len(sites)
    if factor < 3:
        return
    first, last = sites[0].moments.mean("zz"), sites[-1].moments.mean("zz")
    drifted = max(last / first, first / last) if first > 0 and last > 0 else math.inf
    yield rule.finding(
        WARNING if drifted > 20 else NOTE,
        sites[-1].layer,
        f"{sites[0].label} with its gain is an unstable balance over {len(sites)} layers",
        [
            Evidence(f"an error in the scale grows {profile.growth:.3g} times a layer, {factor:.3g} times over all of "
                     "them; below 1 it would die out", profile.growth, 1.0),
            Evidence(f"second moment {first:.3g} in the first hidden layer, {last:.3g} in the last", last, first),
        ],
        "The gain keeps the scale where it is exactly 1 only: Q'(1) > 1, so that whatever differs grows from layer to "
        "layer.",
    )  # fmt: skip


@torch.no_grad()
def draw_anew(model: nn.Module, finding: Finding, context: Context) -> str | None:
    """Draws every hidden matrix and convolution with the gain of the activation behind it; biases 0."""
    modules, done = dict(model.named_modules()), []
    generator = torch.Generator().manual_seed(0)
    drawn: set[str] = set()
    for site in context.hidden_sites:
        affine = context.affine_before(site)
        module = modules.get(affine.module) if affine is not None else None
        weight = weight_of(module)
        if module is None or affine is None or weight is None:
            continue
        if affine.module in drawn or "transpose" in affine.name:
            continue
        drawn.add(affine.module)
        previous = context.graph.source(affine, ("pass", "dropout", "norm", "other"))
        gain = 1.0
        if previous is not None and previous.site is not None:
            gain = min(previous.site.profile.gain, 4.0)
        _draw(module, weight, gain, generator)
        done.append(affine.module)
    return f"drew the weights of {', '.join(done)} anew, each with its gain, biases 0" if done else None


def _draw(module: nn.Module, weight: Tensor, gain: float, generator: torch.Generator) -> None:
    drawn = torch.randn(weight.shape, generator=generator) * gain / weight[0].numel() ** 0.5
    give_weight(module, drawn.to(weight))
    if isinstance(bias := getattr(module, "bias", None), Tensor):
        bias.zero_()


@torch.no_grad()
def _draw_last(model: nn.Module, finding: Finding, context: Context) -> str | None:
    """Draws a last matrix of zeros anew; where it has weights, the matrices before it."""
    module = dict(model.named_modules()).get(finding.layer)
    weight = weight_of(module)
    if module is None or weight is None:
        return draw_anew(model, finding, context)
    if float(weight.double().square().mean() * weight[0].numel()) > TINY**2:
        return draw_anew(model, finding, context)
    _draw(module, weight, 1.0, torch.Generator().manual_seed(0))
    return f"drew the weights of {finding.layer} anew, bias 0"


def _deep(init: str) -> str:
    return f"""
            model = nn.Sequential(
                *[layer for _ in range(12) for layer in (nn.Linear(64, 64), nn.Tanh())], nn.Linear(64, 3)
            )
            for layer in model[::2]:
                nn.init.normal_(layer.weight, std={init})
                nn.init.zeros_(layer.bias)
            batch = (torch.randn(256, 64), torch.randint(3, (256,)))
            """


_DIM = "Use normalisation, sums of branches (residual connections) or an activation that keeps the scale; draw the weights with the gain of the activation (softknee.init.initialize_)."

RULES = (
    Rule(
        "SK201", "vanishing-gradient", "The gradient dies on its way back",
        "The first layers learn from what the last ones pass back. Every layer multiplies the gradient by its weights "
        "and by the slope of its activation; where the product stays below 1, layer after layer, little arrives.",
        "At one hidden activation the gradient's norm is below 1e-4 of that at a later one; an error below 1e-7. In "
        "networks with sums of branches, the first activation against all later ones.",
        _DIM,
        Example(_deep("0.4 / 8"), _deep("1.2 / 8")),
        _vanishing, draw_anew, thorough=True,
    ),
    Rule(
        "SK202", "exploding-gradient", "The gradient grows on its way back",
        "Where weights are too large, every layer enlarges the gradient. The first layers then take steps that destroy "
        "what they learnt.",
        "The gradient's norm at an early hidden activation is 1000 times that at a later one; an error from a million.",
        "Draw the weights with the gain of the activation (softknee.init.initialize_), normalise, or clip gradients.",
        Example(_deep("1.2 / 8").replace("nn.Tanh", "nn.ReLU").replace("1.2 / 8", "4.0 / 8"),
                _deep("1.2 / 8").replace("nn.Tanh", "nn.ReLU").replace("1.2 / 8", "1.41 / 8")),
        _exploding, draw_anew, thorough=True,
    ),
    Rule(
        "SK203", "variance-collapse", "Samples become indistinguishable from layer to layer",
        "What tells samples apart is the variance over samples of a unit's input. Theory follows it from layer to layer: "
        "q' = sigma_w^2 E f(sqrt(q) z)^2 + sigma_b^2. Where it shrinks, the last layers see one and the same input.",
        "Below 1e-7 of an earlier hidden layer, in networks without normalisation; an error below 1e-10.",
        _DIM,
        Example(_deep("0.1 / 8"), _deep("1.2 / 8")),
        _collapse, draw_anew, thorough=True,
    ),
    Rule(
        "SK204", "variance-growth", "The signal grows from layer to layer",
        "Where weights are too large for the activation, the second moment multiplies from layer to layer, and gradients "
        "with it, until numbers overflow.",
        "Above 10,000 times an earlier hidden layer (and 1), in networks without normalisation.",
        _DIM,
        Example(_deep("1.2 / 8").replace("nn.Tanh", "nn.ReLU").replace("1.2 / 8", "4.0 / 8"),
                _deep("1.2 / 8").replace("nn.Tanh", "nn.ReLU").replace("1.2 / 8", "1.41 / 8")),
        _growth, draw_anew, thorough=True,
    ),
    Rule(
        "SK205", "bias-shift", "Outputs that are nearly all offset",
        "A unit's output is its mean plus what differs from sample to sample. Where the mean is nearly all of it, the "
        "next layer is given a constant with a little noise, and the gradients of all samples agree.",
        "More than 99 % of the outputs' second moment is the units' mean, and that mean is 3 or more.",
        "Set the biases of the layer to 0, subtract the mean (normalise), or use an activation with mean 0.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Softplus(), nn.Linear(32, 3))
            nn.init.constant_(model[0].bias, 100.0)
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Softplus(), nn.Linear(32, 3))
            nn.init.zeros_(model[0].bias)
            """,
        ),
        _shift, draw_anew, thorough=True,
    ),
    Rule(
        "SK206", "constant-output", "The network gives one answer, whatever the input",
        "A network whose last hidden layer is dead, saturated or fed with zeros returns a constant: its loss stays at "
        "that of guessing, and no gradient leads out.",
        "Less than 1e-9 of the output's second moment differs from sample to sample.",
        "Repair the layer that the finding names first; the output follows.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 3))
            nn.init.constant_(model[0].bias, -25.0)
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 3))
            """,
        ),
        _constant, _draw_last, thorough=True,
    ),
    Rule(
        "SK207", "non-finite", "NaN or infinity",
        "One NaN spreads to every parameter with the next step. The finding names the first place where it comes up: "
        "data, parameters, a layer, the loss or a gradient.",
        "One value.",
        "Look at what goes into the layer that is named; lower the learning rate, clip gradients, add a small number "
        "under roots and logarithms.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            with torch.no_grad():
                model[2].weight[0, 0] = float("nan")
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            """,
        ),
        _non_finite,
    ),
    Rule(
        "SK208", "unstable-gain", "A gain that cannot hold the scale in depth",
        "The gain 1 / sqrt(E f^2) makes a second moment of 1 a fixed point. For some activations it repels: where "
        "Q'(1) = E[f f' z] / E f^2 is above 1, small differences grow geometrically with depth.",
        "8 or more hidden layers without normalisation or branches, weights within 25 % of the gain, and a growth of 3 "
        "or more over all layers; a warning where the scale has drifted 20-fold.",
        "Normalise, add residual connections, or draw weights and biases at the edge of chaos, where chi = 1.",
        Example(
            """
            model = nn.Sequential(
                *[layer for _ in range(60) for layer in (nn.Linear(64, 64), nn.SiLU())], nn.Linear(64, 3)
            )
            for layer in model[::2]:
                nn.init.normal_(layer.weight, std=1.68 / 8)
                nn.init.zeros_(layer.bias)
            batch = (torch.randn(256, 64), torch.randint(3, (256,)))
            """,
            """
            model = nn.Sequential(
                *[layer for _ in range(60) for layer in (nn.Linear(64, 64), nn.LayerNorm(64), nn.SiLU())],
                nn.Linear(64, 3),
            )
            batch = (torch.randn(256, 64), torch.randint(3, (256,)))
            """,
        ),
        _unstable,
    ),
    Rule(
        "SK209", "cut-off-gradient", "Layers that the loss depends on and no gradient reaches",
        "detach(), .data, torch.no_grad(), whole numbers (argmax, rounding to integers) and tensors made anew from values "
        "end the way of the gradient: layers before them stay as they were drawn, and what is behind them learns from "
        "random features.",
        "One matrix or convolution whose parameter is not frozen, with a loss. A note, and a warning where the optimiser "
        "(optimizer=) holds it: then it was meant to be trained.",
        "Remove what cuts the gradient off; where it is meant, say so with requires_grad_(False).",
        Example(
            """
            class Cut(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)

                def forward(self, x):
                    return self.head(torch.relu(self.body(x)).detach())

            model = Cut()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            """,
            """
            class Whole(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)

                def forward(self, x):
                    return self.head(torch.relu(self.body(x)))

            model = Whole()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            """,
        ),
        _cut_off,
    ),
)  # fmt: skip

"""What an activation needs around it: the scale of weights and inputs, its company."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from softknee.diagnose.graph import Call
from softknee.diagnose.probes import Site
from softknee.diagnose.records import NOTE, WARNING, Evidence, Finding
from softknee.diagnose.rules.base import (
    Context,
    Example,
    Rule,
    give_weight,
    percent,
    sharded,
    weight_of,
    weight_scale,
)
from softknee.diagnose.rules.flow import draw_anew

__all__ = ["RULES"]

OFF = 3.0  # times the scale that is expected
DEFAULT = 3**-0.5  # what torch's layers start with, in units of 1 / sqrt(fan_in)


def _before_and_after(context: Context) -> list[tuple[Call, Site | None, Site]]:
    """(matrix or convolution, activation before it, activation behind it)"""
    found = []
    for site in context.hidden_sites:
        affine = context.affine_before(site)
        if affine is None:
            continue
        previous = context.graph.source(affine, ("pass", "dropout", "norm", "other"))
        found.append((affine, previous.site if previous is not None else None, site))
    return found


def _wrong_init(rule: Rule, context: Context) -> Iterator[Finding]:
    if not context.plain or context.trained:
        return
    for affine, previous, site in _before_and_after(context):
        scale = weight_scale(affine)
        if scale is None or scale[1] < 2:
            continue
        wanted = min(previous.profile.gain, 2.0) if previous is not None else 1.0
        low, high = min(DEFAULT, wanted) / OFF, max(DEFAULT, wanted) * OFF
        if low <= scale[0] <= high:
            continue
        too = "large" if scale[0] > high else "small"
        yield rule.finding(
            WARNING,
            affine.module,
            f"its weights are {scale[0] / wanted:.3g} times as large as they should be",
            [
                Evidence(f"standard deviation {scale[0]:.3g} / sqrt(fan_in), expected {wanted:.3g} / sqrt(fan_in)"
                         + (f", the gain of {previous.label}" if previous is not None else " for standardised inputs"),
                         scale[0], wanted),
                Evidence(f"fan_in {scale[1]}; the input of {site.layer} has a standard deviation of "
                         f"{math.sqrt(site.moments.variance):.3g}, expected about 1", math.sqrt(site.moments.variance), 1.0),
            ],
            f"The weights were drawn too {too}: every layer like this scales the signal by {scale[0] / wanted:.3g}.",
        )  # fmt: skip


def _unscaled(rule: Rule, context: Context) -> Iterator[Finding]:
    first = next((c for c in context.graph.calls if c.kind not in ("input", "pass", "dropout")), None)
    if context.invented or first is None or first.kind in ("norm", "embedding"):
        return
    for x in context.inputs[:1]:
        if x.dim() < 2 or x.shape[0] < 8 or not bool(torch.isfinite(x).all()):
            continue
        flat = x.double()
        rms, mean, spread = float(flat.square().mean().sqrt()), float(flat.mean()), float(flat.std())
        channels = flat.movedim(1, -1).reshape(-1, flat.shape[1]) if flat.dim() != 3 else flat.flatten(0, 1)
        each = channels.std(0)
        each = each[each > 0]
        spans = float(each.max() / each.median()) if len(each) > 1 else 1.0
        shown = [
            Evidence(
                f"mean {mean:.3g}, standard deviation {spread:.3g}, expected about 0 and 1", spread, 1.0
            ),
            Evidence(f"the widest feature is {spans:.3g} times as wide as the median one", spans, 1.0),
        ]
        if rms > 20:
            what, cause = (
                "far from standard",
                "The inputs are too large for weights that expect a standard deviation of 1.",
            )
        elif 0 < spread < 1e-2:
            what, cause = (
                "nearly constant",
                "The inputs hardly differ from one another for weights that expect a standard deviation of 1.",
            )
        elif spans > 100 and rms > 3:
            what, cause = "of very different widths", "A few features drown the others."
        else:
            continue
        yield rule.finding(WARNING, "", f"the inputs are {what}", shown, cause)


def _self_normalising(rule: Rule, context: Context) -> Iterator[Finding]:
    sites = [s for s in context.hidden_sites if s.profile.self_normalising]
    if not sites:
        return
    layers = dict.fromkeys(s.layer for s in sites)
    for site in sites:
        affine = context.affine_before(site)
        scale = weight_scale(affine) if affine is not None else None
        if affine is None or scale is None or context.trained or scale[1] < 8 or not context.plain:
            continue
        if not 0.7 <= scale[0] <= 1.4:
            usual = abs(scale[0] - DEFAULT) < 0.06 * DEFAULT * (1 + 20 / scale[1])
            yield rule.finding(
                NOTE if usual and len(layers) < 4 else WARNING,
                affine.module,
                f"{site.label} needs weights of variance 1 / fan_in",
                [Evidence(f"standard deviation {scale[0]:.3g} / sqrt(fan_in), expected 1", scale[0], 1.0)],
                "torch's default initialisation has a third of the variance." if usual else "The weights were drawn otherwise.",
                "Initialise with torch.nn.init.kaiming_normal_(weight, nonlinearity='linear') (LeCun normal), biases 0.",
            )  # fmt: skip
    for site in sites:
        for after in context.graph.forward(context.call_of(site), ("pass",)):
            if after.kind == "dropout" and "alpha" not in after.name and after.details.get("training", True):
                yield rule.finding(
                    WARNING, after.module or site.layer, f"{after.name} behind {site.label} moves mean and variance",
                    [Evidence("plain dropout sets values to 0, expected alpha_dropout, which keeps mean 0 and variance 1",
                              0.0)],
                    "Plain dropout breaks the balance that the activation is made for.",
                    "Use AlphaDropout.",
                )  # fmt: skip
        if context.normalised_between(site):
            yield rule.finding(
                NOTE, site.layer, f"{site.label} normalises by itself; there is a normalisation before it",
                [Evidence("a normalisation directly before it, expected none", 1.0, 0.0)],
                "The two do the same work twice.", "Leave one of them out.",
            )  # fmt: skip
    x = next((x for x in context.inputs if x.dim() > 1), None)
    if x is not None and not context.invented and bool(torch.isfinite(x).all()):
        mean, spread = float(x.double().mean()), float(x.double().std())
        if abs(mean) > 2 or not 0.2 < spread < 5:
            yield rule.finding(
                WARNING, sites[0].layer, f"{sites[0].label} needs standardised inputs",
                [Evidence(f"mean {mean:.3g}, standard deviation {spread:.3g}, expected 0 and 1", spread, 1.0)],
                "The balance starts from mean 0 and variance 1.", "Standardise the inputs.",
            )  # fmt: skip


def _sigmoids(rule: Rule, context: Context) -> Iterator[Finding]:
    if not context.plain:
        return
    sites = [
        s for s in context.hidden_sites
        if s.profile.bounded and s.profile.monotone and s.profile.offset > 0.5 and s.profile.steepest <= 0.5
    ]  # fmt: skip
    if len(sites) < 3:
        return
    seen = [s for s in sites if s.gradient_seen and s.gradient > 0]
    ratio = math.sqrt(seen[0].gradient / seen[-1].gradient) if len(seen) > 1 else 1.0
    yield rule.finding(
        WARNING if ratio < 1e-3 else NOTE,
        sites[0].layer,
        f"{len(sites)} hidden layers of {sites[0].label}",
        [
            Evidence(f"slope at most {sites[0].profile.steepest:.3g}; the gradient at the first is {ratio:.2g} of that at "
                     "the last", ratio, 1.0),
            Evidence(f"{percent(sites[0].profile.offset)} of the output's second moment is its mean", sites[0].profile.offset),
        ],
        f"Every layer multiplies the gradient by at most {sites[0].profile.steepest:.3g} times its weights, and passes on "
        "mostly a constant.",
    )  # fmt: skip


def _identical(rule: Rule, context: Context) -> Iterator[Finding]:
    weights = dict(context.model.named_parameters())
    for name, gradient in context.parameter_gradients.items():
        if gradient is None or gradient.dim() < 2 or len(gradient) < 2 or sharded(gradient):
            continue
        weight = weights[name]
        most = gradient.abs().max()  # rows of a gradient are summed in one order or another
        if (
            not most > 0
            or bool((weight != weight[:1]).any())
            or (gradient - gradient[:1]).abs().max() > 1e-5 * most
        ):
            continue
        layer = name.rpartition(".")[0]
        yield rule.finding(
            WARNING, layer, f"all {len(gradient)} units are one and the same",
            [Evidence(f"the {len(gradient)} rows of {name} are equal, and so are those of its gradient, expected rows that differ",
                      1.0, float(len(gradient)))],
            "The weights before and behind them were set to one number: every step changes all of them alike.",
        )  # fmt: skip


@torch.no_grad()
def _repair_self_normalising(model: nn.Module, finding: Finding, context: Context) -> str | None:
    modules = dict(model.named_modules())
    module = modules.get(finding.layer)
    if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d)):
        parent, _, name = finding.layer.rpartition(".")
        setattr(modules[parent], name, nn.AlphaDropout(module.p))
        return f"{finding.layer} is AlphaDropout now"
    weight = weight_of(module)
    if module is not None and weight is not None:
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(weight.shape, generator=generator).to(weight) / weight[0].numel() ** 0.5
        give_weight(module, drawn)
        if isinstance(bias := getattr(module, "bias", None), torch.Tensor):
            bias.zero_()
        return f"drew the weights of {finding.layer} with variance 1 / fan_in, biases 0"
    return None


RULES = (
    Rule(
        "SK301", "wrong-init", "Weights drawn at the wrong scale",
        "Weights with a standard deviation of gain / sqrt(fan_in) keep the second moment of the signal. torch knows the "
        "gain of six functions; here it is computed by quadrature, for any activation.",
        "Three times beyond both the gain and torch's default, 1 / sqrt(3 fan_in); in networks that are not trained yet "
        "and have no normalisation, branches, attention or recurrence.",
        "Call softknee.init.initialize_(model), which draws each layer's weights with the gain of the activation before "
        "it.",
        Example(
            """
            model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
            nn.init.normal_(model[2].weight, std=1.0)
            batch = (torch.randn(256, 64), torch.randint(3, (256,)))
            """,
            """
            model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
            nn.init.kaiming_normal_(model[2].weight, nonlinearity="relu")
            batch = (torch.randn(256, 64), torch.randint(3, (256,)))
            """,
        ),
        _wrong_init, draw_anew, thorough=True,
    ),
    Rule(
        "SK302", "unscaled-input", "Inputs that are not standardised",
        "Weights are drawn for inputs with mean 0 and standard deviation 1. Pixels from 0 to 255 or columns in different "
        "units saturate or drown the first layer.",
        "A root mean square above 20, a standard deviation below 0.01, or one feature 100 times as wide as the median "
        "one; not where a normalisation or an embedding comes first, and not without data.",
        "Subtract the mean and divide by the standard deviation of the training data, feature by feature, or begin with "
        "a batch normalisation.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            batch = (torch.rand(256, 8) * 255, torch.randint(3, (256,)))
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
            batch = ((torch.rand(256, 8) - 0.5) * 12**0.5, torch.randint(3, (256,)))
            """,
        ),
        _unscaled,
    ),
    Rule(
        "SK303", "selu-conditions", "A self-normalising activation without what it needs",
        "SELU keeps mean 0 and variance 1 from layer to layer, but only with weights of variance 1 / fan_in (LeCun "
        "normal), alpha dropout in place of dropout, and standardised inputs. The rule applies to every activation with "
        "that fixed point.",
        "Weights 0.7 to 1.4 times the right scale are let pass, and those of networks with normalisation or branches; torch's default in fewer than 4 layers is a note.",
        "LeCun normal weights, biases 0, AlphaDropout, standardised inputs.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 64), nn.SELU(), nn.Dropout(0.1), nn.Linear(64, 3))
            nn.init.kaiming_normal_(model[0].weight, nonlinearity="linear")
            """,
            """
            model = nn.Sequential(nn.Linear(8, 64), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(64, 3))
            nn.init.kaiming_normal_(model[0].weight, nonlinearity="linear")
            """,
        ),
        _self_normalising, _repair_self_normalising,
    ),
    Rule(
        "SK304", "sigmoid-in-depth", "Many layers of a shallow, offset activation",
        "The slope of the logistic function is at most 1/4, and its mean 1/2: layer after layer, the gradient loses "
        "three quarters and more, and the signal becomes a constant.",
        "Three hidden layers of a bounded, monotone activation that is mostly offset, without normalisation; a note, and "
        "a warning where the gradient at the first is below 1/1000 of that at the last.",
        "Use a rectifier or a zero-centred activation in hidden layers (softknee.swap replaces them), and keep the "
        "logistic function for gates and outputs.",
        Example(
            """
            model = nn.Sequential(
                *[layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.Sigmoid())], nn.Linear(64, 3)
            )
            batch = (torch.randn(256, 64), torch.randint(3, (256,)))
            """,
            """
            model = nn.Sequential(
                *[layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 3)
            )
            batch = (torch.randn(256, 64), torch.randint(3, (256,)))
            """,
        ),
        _sigmoids,
    ),
    Rule(
        "SK305", "identical-units", "Units that are, and stay, the same",
        "Units of one layer that begin with the same weights, and are used in the same way, get the same gradient: no step "
        "tells them apart, and a layer of a hundred does the work of one. Weights are drawn at random for this reason.",
        "All rows of a matrix, or filters of a convolution, are exactly equal, and the rows of their gradient to within "
        "1e-5 of its largest number.",
        "Draw the weights at random (softknee.init.initialize_); only biases may begin alike.",
        Example(
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3))
            for parameter in model.parameters():
                nn.init.constant_(parameter, 0.1)
            """,
            """
            model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3))
            """,
        ),
        _identical, draw_anew, thorough=True,
    ),
)  # fmt: skip

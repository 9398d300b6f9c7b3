"""What a rule is, and what it may look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from softknee.diagnose.errors import CheckError
from softknee.diagnose.graph import Call, Graph
from softknee.diagnose.probes import Site
from softknee.diagnose.records import Evidence, Finding, Severity
from softknee.diagnose.theory import Expected, expected

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = [
    "Context",
    "Example",
    "Rule",
    "count",
    "give_weight",
    "named",
    "percent",
    "sharded",
    "weight_of",
    "weight_scale",
]


@dataclass(frozen=True)
class Example:
    """A model that breaks the rule and its repair, as code: each defines `model`, and may define `batch`,
    `loss` and `optimizer`."""

    failing: str
    repaired: str


@dataclass(frozen=True)
class Rule:
    """One fault: how it is recognised, what it means, what to do.

    judge: yields findings. repair: changes a model in place for one finding and says what it did;
    None: not to be done without knowing what the user wants. thorough: it draws all weights anew, what was learnt is
    lost; it is done where the repairs of single places were not enough. limit: what it takes to be reported.
    """

    code: str
    name: str
    title: str
    why: str
    limit: str
    remedy: str
    example: Example
    judge: Callable[[Rule, Context], Iterator[Finding]]
    repair: Callable[[nn.Module, Finding, Context], str | None] | None = None
    thorough: bool = False

    def finding(
        self, severity: Severity, layer: str, message: str, evidence: Iterable[Evidence], cause: str,
        fix: str = "", units: Iterable[int] = (),
    ) -> Finding:  # fmt: skip
        return Finding(
            self.code, self.name, severity, layer, message, tuple(evidence), cause, fix or self.remedy,
            tuple(units), self.repair is not None,
        )  # fmt: skip


@dataclass
class Context:
    """What was measured of one model."""

    model: nn.Module
    graph: Graph
    sites: list[Site]
    samples: int
    invented: bool = False  # the input was standard normal, not data
    loss_given: bool = False
    loss: float | None = None
    optimizer: Any = None
    inputs: list[Tensor] = field(default_factory=list)  # floating ones of the first batch
    targets: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    parameter_gradients: dict[str, Tensor | None] = field(default_factory=dict)
    first_bad: tuple[str, str] | None = None
    steps: Any = None  # of a watch: what happened over time

    # Where things are

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        return dict(self.model.named_modules())

    @cached_property
    def parameter_names(self) -> dict[int, str]:
        return {id(p): n for n, p in self.model.named_parameters()}

    def call_of(self, site: Site) -> Call:
        return self.graph.calls[site.index]

    def affine_before(self, site: Site) -> Call | None:
        """The matrix or convolution whose results the activation gets."""
        return self.graph.feeding(self.call_of(site))

    @cached_property
    def hidden_sites(self) -> list[Site]:
        """Activations inside the network, in order; not gates (whose value multiplies another), not the output."""
        return [
            s for s in self.sites
            if s.moments.samples and not self.is_gate(s) and self.graph.hidden(self.call_of(s))
        ]  # fmt: skip

    @cached_property
    def gates(self) -> list[Site]:
        return [s for s in self.sites if s.moments.samples and self.is_gate(s)]

    def is_gate(self, site: Site) -> bool:
        """The gate of a gated unit; or bounded between 0 and 1, and multiplied with something that depends on data."""
        return site.gate or (
            site.profile.squashing
            and any(
                c.kind == "mul" for c in self.graph.forward(self.call_of(site), ("pass", "other", "dropout"))
            )
        )

    def normalised_between(self, site: Site) -> bool:
        """Whether a normalisation stands directly before the activation."""
        call: Call | None = self.call_of(site)
        while call is not None and call.sources:
            call = self.graph.source(call, ("pass", "dropout"))
            if call is None or call.kind == "affine":
                return False
            if call.kind == "norm":
                return True
        return False

    @cached_property
    def plain(self) -> bool:
        """No normalisation, no sum of branches, no attention and no recurrence: layer after layer."""
        return not (
            self.graph.normalised or self.graph.residual or self.graph.of_kind("attention", "recurrent")
        )

    @cached_property
    def trained(self) -> bool:
        """The biases are not as an initialiser leaves them, or the weights' means have moved: guessed from
        a normality-free sign, the spread of the biases against torch's bound 1/sqrt(fan_in)."""
        moved = total = 0
        used = {call.module: call.weight for call in self.graph.of_kind("affine")}
        for name, module in self.modules.items():
            # what is no parameter is computed when it is asked for, and a spectral norm moves with that
            own = dict(module.named_parameters(recurse=False))
            weight, bias = own.get("weight", used.get(name)), own.get("bias")
            if isinstance(weight, Tensor) and weight.dim() > 1 and isinstance(bias, Tensor) and len(bias) > 3:
                total += 1
                bound = (weight.numel() / len(weight)) ** -0.5
                shown = bias.to_local() if sharded(bias) else bias
                moved += bool((shown.detach().abs() > bound * 1.001).any())
        return total > 0 and moved > total / 2

    def theory(self, site: Site) -> Expected | None:
        """For normal input with the mean and variance that were measured."""
        m = site.moments
        mean = m.mean("z")
        return expected(site.function, mean, max(m.mean("zz") - mean * mean, 0.0))


def named(rules: Iterable[Rule], name: str) -> Rule:
    rules = list(rules)
    wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
    for rule in rules:
        if wanted in (rule.code.lower(), rule.name):
            return rule
    every = [r.name for r in rules]
    near = get_close_matches(wanted, every, 3, 0.4) or every
    raise CheckError(f"no rule is called {name!r}; nearest: {', '.join(near)}")


def sharded(tensor: Any) -> TypeGuard[DTensor]:
    """Each process has a part of it."""
    return hasattr(tensor, "full_tensor")


def weight_of(module: nn.Module | None) -> Tensor | None:
    """The matrix or convolution of a module, if `give_weight` can give it another: it is a parameter, or computed from
    parameters that can be found back from it (weight_norm)."""
    weight = getattr(module, "weight", None)
    if module is None or not isinstance(weight, Tensor) or weight.dim() < 2:
        return None
    if parametrize.is_parametrized(module, "weight"):
        steps = module.parametrizations["weight"]  # type: ignore[index]
        return weight if all(hasattr(step, "right_inverse") for step in steps) else None  # type: ignore[union-attr]
    return weight if isinstance(weight, nn.Parameter) else None


@torch.no_grad()
def give_weight(module: nn.Module, weight: Tensor) -> None:
    if parametrize.is_parametrized(module, "weight"):
        module.weight = weight
    else:
        module.weight.copy_(weight)  # type: ignore[operator, union-attr]


def percent(share: float) -> str:
    if share >= 0.995:
        return f"{100 * share:.4g} %" if share < 1 else "100 %"
    return f"{100 * share:.2g} %"


def count(number: int, of: str) -> str:
    return f"{number:,} {of}" + "s" * (number != 1)


def weight_scale(call: Call) -> tuple[float, int] | None:
    """Of a matrix or convolution: sqrt(fan_in) times the weights' standard deviation, and fan_in."""
    weight = call.weight
    if not isinstance(weight, Tensor) or weight.dim() < 2 or weight.numel() < 2:
        return None
    w = weight.detach()
    transposed = "transpose" in call.name
    by_product = call.name not in ("linear", "bilinear") and not call.name.startswith("conv")
    if transposed or by_product:
        fan_in = w.shape[0] * (w[0, 0].numel() if w.dim() > 2 else 1)
    else:
        fan_in = w[0].numel()
    with torch.no_grad():
        scale = float(w.double().square().mean().sqrt()) * fan_in**0.5
    return (scale, fan_in) if math.isfinite(scale) else None

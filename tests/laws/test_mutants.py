"""Every law bites: with one thing broken on purpose, the law that is about it fails.

Each mutant breaks the library or a definition, in this process only, and names the law that must see
it; without the mutation the same law holds on the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from softknee.catalogue import RIGHT, Definition, Parameter, x
from softknee.kernels import plan, primitives
from softknee.lang import differentiate, exp, log, maximum, number, sigmoid, stabilise, symbol, tanh, where
from softknee.nn import launch, pointwise, runtime
from softknee.testing import Case, Failure, cases_of, laws, mechanics

Law = Callable[[Case], list[Failure]]
Patch = pytest.MonkeyPatch
beta = symbol("beta")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: Patch) -> Iterator[None]:
    """No kernel and no derived expression outlives a mutation."""

    def forget() -> None:
        for cached in (differentiate.derivative, stabilise.rewrite):
            cached.cache_clear()

    monkeypatch.setenv("SOFTKNEE_CACHE", "off")
    forget()
    yield
    monkeypatch.undo()
    forget()


def made(expression: Any, **more: Any) -> Definition:
    return Definition("mutant", expression, use="To be broken.", **more)


def gated() -> Definition:
    return made(x * sigmoid(x))


def learned() -> Definition:
    return made(x * sigmoid(beta * x), parameters=[Parameter("beta", 1.0, learnable=True)])


def vanishing() -> Definition:
    """At -log(3)/beta"""
    return made(x * (sigmoid(beta * x) - number(1) / 4), parameters=[Parameter("beta", 1.0, learnable=True)])


def accuracy(dtype: str) -> Law:
    return lambda case: laws.accuracy(case, dtype, samples=24)[0]


def limits(case: Case) -> list[Failure]:
    return laws.limits(case, "float32")[0]


# Mutations


def wrong_rule(size: float) -> Callable[[Patch], None]:
    rule = lambda n: (n * (1 - n) * number(1 + size),)  # noqa: E731
    return lambda patch: patch.setitem(differentiate.RULES, "sigmoid", rule)


def forgetful_rule(patch: Patch) -> None:
    """tanh' as 1 - tanh^2: right, but without a digit in the tails."""
    patch.setitem(differentiate.RULES, "tanh", lambda n: (1 - n * n,))
    no_rewriting(patch)


def wrong_second_rule(patch: Patch) -> None:
    """The first derivative is right; the derivative of sigmoid(-x) within it is not."""
    right = differentiate.RULES["sigmoid"]

    def rule(n: Any) -> Any:
        return right(n) if n.args[0].op == "symbol" else (right(n)[0] * number(1 + 2**-18),)

    patch.setitem(differentiate.RULES, "sigmoid", rule)


def wrong_coefficient(patch: Patch) -> None:
    for kind in (primitives.Double, primitives.Pair, primitives.Single):
        for name in ("sigmoid", "exp"):
            if name in vars(kind):
                right = vars(kind)[name]
                patch.setattr(
                    kind,
                    name,
                    lambda self, a, right=right: self.mul(right(self, a), self.const(1 + 2.0**-20)),
                )


def pairs_alone(patch: Patch) -> None:
    patch.setattr(plan, "beside_roots", lambda *_: None)


def no_stabilising(patch: Patch) -> None:
    patch.setattr(pointwise, "stabilise", lambda root, *_: root)


def no_rewriting(patch: Patch) -> None:
    patch.setattr(pointwise, "rewrite", lambda root: root)
    patch.setattr(pointwise, "stabilise", lambda root, *_: root)


def changed_results(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        right = launch.run

        def run(op: Any, tensors: Any, call: Any, out: Any = None) -> Any:
            result = right(op, tensors, call, out)
            return change(result) if isinstance(result, torch.Tensor) and out is None else result

        patch.setattr(launch, "run", run)
        patch.setattr(pointwise, "saved_form", lambda op, *kept: None)  # which runs kernels of its own

    return mutate


def next_16_bit(y: torch.Tensor) -> torch.Tensor:
    return (y.view(torch.int16) + 1).view(y.dtype) if y.dtype is torch.bfloat16 else y


def halved_sums(patch: Patch) -> None:
    right = launch.run

    def run(op: Any, tensors: Any, call: Any, out: Any = None) -> Any:
        result = right(op, tensors, call, out)
        if isinstance(result, tuple):
            return tuple(
                r / 2 if s is not None and r.numel() < tensors[0].numel() else r
                for r, s in zip(result, call.shapes, strict=True)
            )
        return result

    patch.setattr(launch, "run", run)


def strides_ignored(patch: Patch) -> None:
    right = launch._strided
    patch.setattr(
        launch,
        "_strided",
        lambda op, tensors, call, out, key: right(
            op, tuple(t.flip(0) if t.dim() else t for t in tensors), call, out
        ),
    )


def wrong_vmap(patch: Patch) -> None:
    right = pointwise._function_of

    def make(op: Any) -> Any:
        function = right(op)
        rule = function.vmap

        def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
            result, dims = rule(info, in_dims, *args)
            return (result.flip(0) if isinstance(result, torch.Tensor) and result.dim() else result), dims

        function.vmap = staticmethod(vmap)
        return function

    patch.setattr(pointwise, "_function_of", make)


def wrong_jvp(patch: Patch) -> None:
    right = pointwise._function_of

    def make(op: Any) -> Any:
        function = right(op)
        rule = function.jvp
        function.jvp = staticmethod(lambda ctx, *tangents: rule(ctx, *tangents) * 1.001)
        return function

    patch.setattr(pointwise, "_function_of", make)


def not_in_place(patch: Patch) -> None:
    patch.setattr(runtime, "in_place", lambda op, args: op(*args))


def version_kept(patch: Patch) -> None:
    patch.setattr(torch.autograd.graph, "increment_version", lambda tensor: None)


def nothing(patch: Patch) -> None:
    """The definition itself is what is wrong."""


def totality(case: Case) -> list[Failure]:
    return laws.totality(case, "float32")


MUTANTS: dict[str, tuple[Callable[[Patch], None], Callable[[], Definition], Callable[[], Definition], Law]] = {
    # name: (mutation, the healthy definition, the mutated one, the law that must see it)
    "a rule of differentiation": (wrong_rule(2.0**-18), gated, gated, accuracy("float32")),
    "a rule of differentiation, by finite differences": (wrong_rule(2.0**-7), gated, gated, mechanics.gradients),
    "a rule that loses the tails": (forgetful_rule, lambda: made(tanh(x)), lambda: made(tanh(x)), accuracy("float32")),
    "a rule of the second derivative": (wrong_second_rule, gated, gated, laws.derivatives_agree),
    "a coefficient": (wrong_coefficient, gated, gated, accuracy("float32")),
    "a coefficient, in float64": (wrong_coefficient, lambda: made(sigmoid(x)), lambda: made(sigmoid(x)), accuracy("float64")),
    "terms that cancel, in pairs of float64": (pairs_alone, vanishing, vanishing, accuracy("float64")),
    "the last bit of a 16-bit result": (changed_results(next_16_bit), gated, gated, accuracy("bfloat16")),
    "no limits at infinity": (no_stabilising, gated, gated, limits),
    "no rewriting": (no_rewriting, lambda: made(log(1 + exp(x))), lambda: made(log(1 + exp(x))), totality),
    "NaN becomes 0": (nothing, lambda: made(maximum(x, 0), kinks={0: 0}), lambda: made(where(x > 0, x, 0), kinks={0: 0}), limits),
    "the slope at a kink": (nothing, lambda: _leaky(number(1) / 4), lambda: _leaky(RIGHT), laws.kinks),
    "a kink that is not stated": (nothing, lambda: _leaky(number(1) / 4), lambda: replace_kinks(_leaky(RIGHT)), laws.kinks),
    "the type of a result": (changed_results(lambda y: y.float()), gated, gated, mechanics.dtypes),
    "strides": (strides_ignored, gated, gated, mechanics.strides),
    "the vmap rule": (wrong_vmap, gated, gated, mechanics.transforms),
    "the jvp rule": (wrong_jvp, gated, gated, mechanics.transforms),
    "the sums of parameter gradients": (halved_sums, learned, learned, mechanics.parameter_gradients),
    "not in place": (not_in_place, lambda: made(tanh(x), inplace=True), lambda: made(tanh(x), inplace=True), mechanics.in_place),
    "the version counter": (version_kept, lambda: made(tanh(x), inplace=True), lambda: made(tanh(x), inplace=True), mechanics.in_place),
}  # fmt: skip


def _leaky(slope: Any) -> Definition:
    return made(where(x > 0, x, x / 4), kinks={0: slope})


def replace_kinks(definition: Definition) -> Definition:
    return replace(definition, expression=definition.chosen({}), kinks={})


@pytest.mark.parametrize("name", MUTANTS)
def test_the_law_sees_it(name: str, monkeypatch: Patch) -> None:
    mutate, healthy, broken, law = MUTANTS[name]
    assert [str(f) for case in cases_of(healthy()) for f in law(case)] == []
    differentiate.derivative.cache_clear()
    stabilise.rewrite.cache_clear()
    mutate(monkeypatch)
    assert [f for case in cases_of(broken()) for f in law(case)] != []


def test_a_report_of_a_broken_activation(monkeypatch: Patch) -> None:
    from softknee.testing import CheckError, check_activation

    with pytest.raises(CheckError, match="kink") as caught:
        check_activation(_leaky(RIGHT), dtypes=["float32"], samples=4)
    report = caught.value.report
    assert not report.ok
    assert not report
    assert {"kink"} <= {f.law for f in report.failures} <= {"kink", "accuracy"}
    assert "the slope" in str(report)
    assert (
        check_activation(_leaky(RIGHT), dtypes=["float32"], samples=4, raises=False).failures
        == report.failures
    )

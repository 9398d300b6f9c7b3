"""Values and first derivatives of every activation against mpmath on its textbook formula."""

from __future__ import annotations

import math
import zlib

import mpmath as mp
import numpy as np
import pytest
from tests.laws.common import TYPES, assert_none, cases, every, parametrised, unusual

from softknee.catalogue import Definition
from softknee.lang.evaluate import evaluate
from softknee.lang.nodes import substitute
from softknee.nn.runtime import WRITTEN, runtime
from softknee.testing import Case, hard_points, laws, log_uniform
from softknee.testing.points import roots


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_derivative(definition: Definition, dtype: str) -> None:
    """Within 2 and 4 ULP in float32, within 4 in float64, over the whole range, tails and subnormals."""
    assert_none([f for case in cases(definition) for f in laws.accuracy(case, dtype, samples=48)[0]])


@every
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_results_are_correctly_rounded(definition: Definition, dtype: str) -> None:
    assert_none([f for case in cases(definition, dtype) for f in laws.accuracy(case, dtype, samples=48)[0]])


#: what docs/accuracy.md says is not reached
LIMITS = {
    # inputs near the largest; e_swish: results below the smallest normal number
    "float64": ("e_swish", "sine", "sinlu", "snake", "snake_beta", "softplus"),
    "bfloat16": ("penalized_tanh", "sine"),  # of numbers so small that they are a x but for a part in 2^250
}
OFTEN = {("written", "float32"), ("written", "bfloat16"), ("given", "float32"), ("given", "float64")}


@parametrised
@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        pytest.param(how, dtype, marks=[] if (how, dtype) in OFTEN else pytest.mark.exhaustive)
        for how in ("written", "given")
        for dtype in TYPES
    ],
)
def test_other_parameters(
    definition: Definition,
    how: str,
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Python numbers, which keep their float64 value beside narrower tensors: written into the expression, or given to a
    kernel at the call."""
    if definition.name in LIMITS.get(dtype, ()) and (how, dtype) != ("written", "bfloat16"):
        request.applymarker(pytest.mark.xfail(strict=True, reason="docs/accuracy.md"))
    _take_numbers(definition, how, monkeypatch)
    failures = []
    for case in unusual(definition):
        points = hard_points(definition, dtype, case.values, case.choices)[::3] + log_uniform(dtype, 24)
        failures += laws.accuracy(case, dtype, points)[0]
    assert_none(failures)


def _take_numbers(definition: Definition, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softknee.nn.runtime.WRITTEN", WRITTEN if how == "written" else 0)
    monkeypatch.setattr(runtime(definition), "written", set())


def _anywhere(definition: Definition, random: np.random.Generator) -> Case:
    """Parameters at random, as far as the constraints allow; those that are learned as numbers or as tensors."""
    (base, *_) = cases(definition)
    while True:
        values = {p.name: float(np.float32(random.normal(0, 1.5))) for p in definition.parameters}
        if "threshold" in values:
            values["threshold"] = math.inf
        if all(evaluate(c, values) for c in definition.constraints):
            return Case(
                definition, base.choices, values, base.tensors if random.random() < 0.5 else frozenset()
            )


def _beside_roots(case: Case, dtype: str) -> list[float]:
    """The numbers next to roots of the value that are not 0, and some that share fewer digits with them"""
    kind = np.dtype(dtype).type
    found = []
    for near in roots(substitute(case.definition.chosen(case.choices), dict(case.values)), 3):
        ends = (near * (1 - 2.0**-30), near * (1 + 2.0**-30))
        if abs(near) < 1e-6 or not case.exact.value(ends[0]) * case.exact.value(ends[1]) < 0:
            continue
        with mp.workdps(40):
            root = kind(mp.findroot(lambda x: case.exact._at(x)[0], ends, solver="anderson", verify=False))
        found += [float(root + k * np.spacing(root)) for k in range(-8, 9)]
        found += [float(kind(root * (1 + s * 2.0**-k))) for s in (1, -1) for k in range(5, 45, 6)]
    return found


@parametrised
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", ["written", "given"])
def test_roots_that_move_with_parameters(
    definition: Definition, how: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There all the digits that the terms of a sum begin with are lost."""
    _take_numbers(definition, how, monkeypatch)
    random = np.random.default_rng(zlib.crc32(definition.name.encode()))
    failures = []
    for case in (_anywhere(definition, random) for _ in range(8)):
        failures += laws.accuracy(case, dtype, _beside_roots(case, dtype), order=0)[0]
    assert_none(failures)

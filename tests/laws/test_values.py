"""Values and first derivatives of every activation against mpmath on its textbook formula."""

from __future__ import annotations

import pytest
from tests.laws.common import assert_none, cases, every, parametrised, unusual

from softknee.catalogue import Definition
from softknee.testing import hard_points, laws, log_uniform


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_derivative(definition: Definition, dtype: str) -> None:
    """Within 2 and 4 ULP in float32, within 4 in float64, over the whole range, tails and subnormals."""
    assert_none([f for case in cases(definition) for f in laws.accuracy(case, dtype, samples=48)[0]])


@every
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_results_are_correctly_rounded(definition: Definition, dtype: str) -> None:
    assert_none([f for case in cases(definition, dtype) for f in laws.accuracy(case, dtype, samples=48)[0]])


@parametrised
def test_other_parameters(definition: Definition) -> None:
    """Given as Python numbers, which keep their float64 value beside a float32 tensor."""
    failures = []
    for case in unusual(definition):
        points = hard_points(definition, "float32", case.values, case.choices)[::3] + log_uniform(
            "float32", 24
        )
        failures += laws.accuracy(case, "float32", points)[0]
    assert_none(failures)

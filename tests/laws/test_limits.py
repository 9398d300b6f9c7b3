"""Infinities, NaN and the largest numbers, in every type, second derivatives included."""

from __future__ import annotations

from tests.laws.common import assert_none, cases, every, every_type, parametrised, unusual

from softknee.catalogue import Definition
from softknee.testing import laws


@every
@every_type
def test_limits_at_infinity(definition: Definition, dtype: str) -> None:
    """f, f' and f'' there are their limits; NaN in gives NaN out; every limit is known."""
    for case in cases(definition, dtype):
        failures, unproven = laws.limits(case, dtype)
        assert_none(failures)
        assert not unproven, f"{case}: not proven: {unproven}"


@every
@every_type
def test_nothing_overflows_on_the_way(definition: Definition, dtype: str) -> None:
    assert_none([f for case in cases(definition, dtype) for f in laws.totality(case, dtype)])


@parametrised
def test_limits_with_other_parameters(definition: Definition) -> None:
    assert_none([f for case in unusual(definition) for f in laws.limits(case, "float32")[0]])

"""Derivatives of every order, by autograd, of every activation and with respect to its parameters."""

from __future__ import annotations

from tests.laws.common import assert_none, cases, every

from softknee.catalogue import Definition
from softknee.testing import laws, mechanics


@every
def test_gradcheck_and_gradgradcheck(definition: Definition) -> None:
    """Reverse and forward mode, batched gradients, forward over reverse; parameters as tensors."""
    assert_none([f for case in cases(definition) for f in mechanics.gradients(case)])


@every
def test_second_and_third_derivatives(definition: Definition) -> None:
    assert_none([f for case in cases(definition) for f in laws.derivatives_agree(case)])


@every
def test_kinks(definition: Definition) -> None:
    """At a kink the slope is the one stated, and every kink is stated."""
    assert_none([f for case in cases(definition) for f in laws.kinks(case)])


@every
def test_transforms(definition: Definition) -> None:
    assert_none([f for case in cases(definition) for f in mechanics.transforms(case)])

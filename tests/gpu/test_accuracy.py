"""The arithmetic of the GPU's kernels, run on the CPU (see accuracy.py): no GPU, no interpreter, every function."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from tests.gpu.accuracy import BOUNDS, RESULTS, errors, gpu_arithmetic
from tests.gpu.conftest import BEYOND, LIMITS, bounds_of
from tests.laws.common import DEFINITIONS, TYPES, assert_none, cases

from softknee import catalogue
from softknee.catalogue import Definition
from softknee.testing import cases_of, laws


@pytest.fixture(autouse=True)
def on_the_gpu() -> None:
    """Not here: the CPU runs the GPU's operations."""


@cache
def record() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def test_all_that_is_on_record_is_within_bounds_or_listed() -> None:
    found = {r["function"].split("(")[0] for r in record()}
    assert found == {d.name for d in DEFINITIONS}
    beyond = {}
    for r in record():
        name, dtype = r["function"].split("(")[0], r["dtype"]
        value, derivative = bounds_of(name, dtype)
        assert r["value"][0] <= value, r
        assert r["derivative"][0] <= derivative, r
        if r["derivative"][0] > BOUNDS[dtype]:
            beyond[name] = r["derivative"][0]
    assert beyond.keys() == BEYOND.keys()
    assert all(BEYOND[n] - e < 0.002 for n, e in beyond.items())


@pytest.mark.parametrize(("name", "dtype"), [("mish", "float16"), ("silu", "float32"), ("tanh", "bfloat16")])
def test_what_is_on_record_is_measured_again(name: str, dtype: str) -> None:
    (case,) = cases_of(catalogue.get(name), dtype)
    (known,) = (r for r in record() if (r["function"], r["dtype"]) == (name, dtype))
    value, derivative = errors(case, dtype)
    assert value[0] <= known["value"][0] + 1e-3
    assert derivative[0] <= known["derivative"][0] + 1e-3


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_the_laws_in_this_arithmetic(
    definition: Definition, dtype: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the same points, the same bounds, the same exceptions."""
    known = LIMITS.get(f"test_value_and_derivative[{dtype}-{definition.name}]")
    if known:
        request.applymarker(pytest.mark.xfail(reason=known, strict=True))
    monkeypatch.setitem(laws.BOUNDS, dtype, bounds_of(definition.name, dtype))
    failures = []
    with gpu_arithmetic():
        for case in cases(definition, dtype):
            failures += laws.accuracy(case, dtype, case.points(dtype, 16))[0]
            failures += laws.limits(case, dtype, 1)[0]
    assert_none(failures)

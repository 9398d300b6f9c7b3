"""The sweep of all float32 numbers: its recorded results still hold on a sample, and it counts rightly."""

from __future__ import annotations

import numpy as np
import pytest
from tests import exhaustive32

from softknee.kernels import native
from softknee.testing.metric import ulp_error

RECORDS = exhaustive32.known()
#: the bounds of docs/accuracy.md; precision="exact" has one for both
BOUNDS = {"value": 2.0, "derivative": 4.0}


def sample(seed: int = 0, count: int = 1 << 13) -> np.ndarray:
    bits = np.random.default_rng(seed).integers(0, 1 << 32, count, dtype=np.uint32)
    return np.concatenate([bits.view("f4"), np.random.default_rng(seed).normal(0, 3, count).astype("f4")])


@pytest.mark.parametrize("name", sorted({entry["what"].rpartition(" ")[0] for entry in RECORDS.values()}))
def test_recorded_errors_are_not_exceeded(name: str) -> None:
    """A ratchet: what a change makes worse fails here. What it makes better is recorded by a new sweep."""
    works = exhaustive32.sweeps([name.partition("(")[0]])
    for order in exhaustive32.ORDERS:
        entry = RECORDS.get(f"{name} {order}")
        if entry is None:
            continue
        worst_places = [float.fromhex(entry[p]["at"]) for p in exhaustive32.PRECISIONS]
        x = np.concatenate([sample(), np.array(worst_places, "f4")])
        for precision, errors in works[entry["what"]].errors(x).items():
            # elsewhere there are no pieces
            same = precision == "exact" or "avx512f" in native.features()
            limit = entry[precision]["ulp"] + 1e-4 if same else BOUNDS[order]
            assert errors.max() <= limit, (precision, float(x[errors.argmax()]))
        assert entry["default"]["ulp"] <= BOUNDS[order]
        assert entry["exact"]["ulp"] <= 0.51


def test_the_sweep_is_recorded() -> None:
    """Without records the ratchet above would hold nothing."""
    assert len(RECORDS) >= 20


def test_errors_are_those_of_the_metric() -> None:
    """With a wrong float32 result, against mpmath: tails, subnormals, a root of the derivative, infinities."""
    work = exhaustive32.sweeps(["mish"])["mish derivative"]
    near_roots = [-1.3, -1.1924, -1.19]
    x = np.array([-103, -90, -88.5, -20, *near_roots, 0, 1e-40, 0.7, 5, 90, 3e38, np.nan], "f4")
    compare = exhaustive32.Comparison(work, len(x))
    right = compare.calls["exact"]
    for wrong in (
        lambda y: y,
        lambda y: np.nextafter(y, np.float32(np.inf)),
        lambda y: y * np.float32(np.inf),
    ):

        def call(x: np.ndarray, wrong=wrong) -> None:
            right(x)
            compare.got["exact"][:] = wrong(compare.got["exact"])

        compare.calls["exact"] = call
        with np.errstate(all="ignore"):
            found = compare(x)["exact"].copy()
        exact = [work.case.exact.derivative(float(v), 1) for v in x]
        want = [
            ulp_error(float(g), e, "float32", floor=work.case.floor(float(v), 1))
            for g, e, v in zip(compare.got["exact"], exact, x, strict=True)
        ]
        assert found == pytest.approx(want, rel=1e-6, abs=1e-6)


def test_one_short_sweep() -> None:
    work = exhaustive32.sweeps(["relu"])["relu value"]
    entry = exhaustive32.sweep(work, [np.arange(exhaustive32.CHUNK, dtype=np.uint32).view("f4")])
    assert entry["default"]["ulp"] == entry["exact"]["ulp"] == 0
    assert entry["kernels"] == work.key

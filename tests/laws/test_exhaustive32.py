"""The sweep of all float32 numbers: its recorded results still hold on a sample, and it counts rightly."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from tests import binades, exhaustive32

from softknee.kernels import native
from softknee.kernels.plan import kernel_of
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

        def call(address: int, wrong=wrong) -> None:
            right(address)
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
    entry = exhaustive32.sweep(work, [127, 128])
    assert entry["default"]["ulp"] == entry["exact"]["ulp"] == 0
    assert entry["kernels"] == work.key


def test_quick_errors_are_the_slow_ones() -> None:
    """Polynomials find the same largest errors at the same numbers; between roots and kinks they suffice."""
    work = exhaustive32.sweeps(["mish"])["mish derivative"]
    search, slow = exhaustive32.Search(work), exhaustive32.Search(work)
    slow.polynomials = lambda block: exhaustive32.Block([None] * (exhaustive32.BLOCK // exhaustive32.CHUNK))
    search(127)
    slow(127)
    assert search.worst == slow.worst
    kept = [p is not None for p in search.polynomials(127).polynomials]
    assert np.mean(kept) > 0.95


def test_a_lone_wrong_result_is_found() -> None:
    """One number of 8,388,608, wrong by 3 units: no polynomial hides it, no exponent is passed over."""
    work = exhaustive32.sweeps(["silu"])["silu value"]
    search = exhaustive32.Search(work)
    right, got, at = search.compare.calls["exact"], search.compare.got["exact"], np.float32(1.2345678)

    def call(address: int) -> None:
        right(address)
        x = np.frombuffer((ctypes.c_char * got.nbytes).from_address(address), "f4")
        got[x == at] *= np.float32(1 + 3 * 2.0**-23)

    search.compare.calls["exact"] = call
    search(127)
    assert search.worst["exact"][1] == at
    assert 2 < search.worst["exact"][0] < 7


@pytest.mark.parametrize("name", ["gelu", "tanh", "hardswish"])
@pytest.mark.parametrize("order", [0, 1])
def test_kernels_go_on_as_proven(name: str, order: int) -> None:
    """Where a kernel's results are said to grow 2^k-fold from one exponent to the next, they do."""
    work = exhaustive32.sweeps([name])[f"{name} {exhaustive32.ORDERS[order]}"]
    compare = exhaustive32.Comparison(work, 64)
    mantissas = np.random.default_rng(0).integers(0, 1 << 23, 64, dtype=np.uint32)
    mantissas[:2] = 0, (1 << 23) - 1
    proven = 0
    for p, call in compare.calls.items():
        plan = work.plan("float32", p)
        place = [n for n, _ in plan.inputs].index("x")
        for sign in (1, -1):
            previous = None
            found = binades.goes_on(kernel_of(plan), place, sign)
            for exponent, k in zip(binades.EXPONENTS, found, strict=True):
                x = (mantissas | np.uint32(exponent << 23 | (sign < 0) << 31)).view("f4")
                call(x.ctypes.data)
                here = compare.got[p].astype("f8")
                if previous is not None and previous[1] == previous[1]:
                    assert np.array_equal(here, previous[0] * 2.0 ** previous[1]), (p, exponent)
                    proven += 1
                previous = here, k
    assert proven > 200 * len(compare.calls)

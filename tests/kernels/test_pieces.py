"""Functions in pieces: what float32 kernels take where networks live."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import softknee.lang as f
from softknee.kernels import native, pieces
from softknee.kernels.arrays import run
from softknee.kernels.llvm import Kernel, Operand
from softknee.kernels.measure import around_roots
from softknee.kernels.plan import Plan, compile_plan, kernel_of
from softknee.kernels.program import PICKED
from softknee.lang.differentiate import derivative
from softknee.lang.nodes import Node, symbol, symbols_in
from softknee.lang.stabilise import stabilise

pytestmark = pytest.mark.skipif("avx512f" not in native.features(), reason="needs registers to pick from")

X, G, UP = symbol("x"), symbol("g"), symbol("up")
FUNCTIONS = {
    "silu": X * f.sigmoid(X),
    "gelu": X * f.normal_cdf(X),
    "gelu(tanh)": X * f.sigmoid(2 * f.sqrt(2 / f.pi) * (X + 0.044715 * X**3)),
    "mish": X * f.tanh(f.softplus(X)),
    "selu": 1.0507009873554805 * f.where(X > 0, X, 1.6732632423543772 * f.expm1(X)),
    "softplus": f.softplus(X),
    "tanhshrink": X - f.tanh(X),
}


def _plan(*roots: Node, storage: Any = "float32", factors: frozenset[str] = frozenset(), **more: Any) -> Plan:
    names = symbols_in(*roots)
    inputs = tuple((name, Operand(storage)) for name in names)
    return Plan(tuple((r, Operand(storage)) for r in roots), inputs, factors=factors, **more)


def _at(plan: Plan, **given: Any) -> list[Any]:
    storage = plan.outputs[0][1].storage
    arrays = [np.asarray(given[n], "f4" if storage == "float32" else "f8") for n, _ in plan.inputs]
    return run(compile_plan(plan).call, kernel_of(plan), arrays)


def _reach(kernel: Kernel) -> float:
    """Of the shortcut, as its condition has it"""
    assert kernel.shortcut is not None
    program = kernel.shortcut.program
    (compared,) = (i for _, i in program if i.op == "lt")
    return float(program.instructions[compared.args[1].index].payload)  # type: ignore[arg-type]


def _inside(reach: float) -> Any:
    """Floats of all sizes below reach, and next to every border"""
    random = np.random.default_rng(0)
    borders = (np.arange(-PICKED // 2, PICKED // 2 + 1) * reach / (PICKED // 2)).astype("f4")
    small = 2.0 ** random.uniform(-149, 0, 4000) * random.choice([-1, 1], 4000)
    near = [np.nextafter(borders, np.float32(s)) for s in (-99, 99)]
    x = np.concatenate([borders, *near, small, random.uniform(-reach, reach, 60000)]).astype("f4")
    return np.unique(x[np.abs(x) < reach])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives(name: str) -> None:
    value = stabilise(FUNCTIONS[name])
    slope = stabilise(derivative(FUNCTIONS[name], "x"))
    for root, factors, limit in ((value, frozenset[str](), 1.5), (G * slope, frozenset({"g"}), 2.0)):
        plan = _plan(root, factors=factors)
        if factors and name in ("selu", "tanhshrink"):  # a jump at 0; short as it is
            assert kernel_of(plan).shortcut is None
            continue
        reach = _reach(kernel_of(plan))
        assert reach >= 3.5
        x = _inside(reach)
        (found,) = _at(plan, x=x, g=np.ones_like(x))
        (right,) = _at(_plan(root, storage="float64"), x=x, g=np.ones_like(x))
        unit = np.spacing(np.abs(right).astype("f4")).astype("f8")
        if factors:
            unit = np.where(around_roots(right), np.maximum(unit, 2.0**-25), unit)
        assert np.max(np.abs(found - right) / unit) <= limit


def test_what_an_element_gives_is_its_own_affair() -> None:
    """One number beyond makes its neighbours no different"""
    mish = stabilise(FUNCTIONS["mish"])
    plan = _plan(mish)
    kernel = kernel_of(plan)
    reach = _reach(kernel)
    x = np.random.default_rng(0).uniform(-reach, reach, 4 * kernel.lanes + 5).astype("f4")
    (inside,) = _at(plan, x=x)
    place = kernel.lanes + 3
    for stray in (reach, -reach, 50.0, -200.0, np.inf, -np.inf, np.nan):
        y = x.copy()
        y[place] = stray
        (found,) = _at(plan, x=y)
        (right,) = _at(_plan(mish, storage="float64"), x=y)
        assert np.isclose(found[place], right[place], rtol=2.0**-22, equal_nan=True)
        assert np.array_equal(np.delete(found, place), np.delete(inside, place))


def test_signs_of_zero_and_of_the_smallest() -> None:
    x = np.array([0.0, -0.0, 2.0**-149, -(2.0**-149)], "f4")
    for name in ("silu", "mish", "tanhshrink", "selu"):
        (found,) = _at(_plan(stabilise(FUNCTIONS[name])), x=x)
        assert list(np.signbit(found)) == [False, True, False, True]


def test_products_of_three_lose_nothing_on_the_way() -> None:
    """g up f'(x): f'(x) g alone would be subnormal, or infinite"""
    slope = stabilise(derivative(FUNCTIONS["silu"], "x"))
    plan = _plan(G * UP * slope, G * stabilise(FUNCTIONS["silu"]), factors=frozenset({"g"}))
    assert kernel_of(plan).shortcut is not None
    x = np.full(300, 2.5, "f4")
    for g, up in ((1e-42, 1e30), (3.4e38, 0.5), (0.0, 3e38), (-1e-30, 1e20), (1.0, 1e-40)):
        given = {"x": x, "g": np.full_like(x, g), "up": np.full_like(x, up)}
        wide = Plan(
            tuple((e, Operand("float64")) for e, _ in plan.outputs),
            tuple((n, Operand("float64")) for n, _ in plan.inputs),
        )
        for found, right in zip(_at(plan, **given), _at(wide, **given), strict=True):
            with np.errstate(over="ignore"):
                assert np.allclose(found, right.astype("f4"), rtol=2.0**-22, atol=2.0**-149)


def test_infinity_is_ruled_out_where_pieces_are() -> None:
    """What a derivative says of infinite inputs stands in no finite one's way"""
    awkward = f.where(abs(X) == float("inf"), 0, UP * f.sigmoid(X) * f.sigmoid(-X))
    assert kernel_of(_plan(G * awkward, factors=frozenset({"g"}))).shortcut is not None
    other = f.where(abs(UP) == float("inf"), 0, UP * f.sigmoid(X) * f.sigmoid(-X))  # `up` may be
    assert kernel_of(_plan(G * other, factors=frozenset({"g"}))).shortcut is None


@pytest.mark.parametrize(
    "awkward",
    [
        f.sigmoid(X) * abs(X - 0.1),  # a kink within a piece
        f.tanh(X - 0.1),  # a root other than at 0
        f.sigmoid(30 * X),  # steep
        f.where(X > 0, f.sigmoid(X), 2 * f.sigmoid(X)),  # 0 belongs to the left
        f.where(X > 1, f.sigmoid(X), 2 * f.sigmoid(X)),  # so does 1, a border
        f.where(X == 0.3, 0, f.sigmoid(X)),  # a single point
        f.sin(X) * f.exp(X) / X**2,  # a pole
        f.tanh(X) ** 5,  # too small around 0
    ],
)
def test_what_has_no_pieces(awkward: Node) -> None:
    assert all(pieces.fitted(awkward, "x", reach, False) is None for reach in pieces.REACHES)


def test_exact_wide_and_narrow_kernels_have_none() -> None:
    value = FUNCTIONS["gelu"]
    assert kernel_of(_plan(value)).shortcut is not None
    assert kernel_of(_plan(value, precision="exact")).shortcut is None
    assert kernel_of(_plan(value, storage="float64")).shortcut is None
    assert kernel_of(_plan(value, storage="bfloat16")).shortcut is None
    assert kernel_of(_plan(f.tanh(X))).shortcut is None  # as short as its pieces would be


def test_other_machines_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "features", frozenset)
    assert kernel_of(_plan(FUNCTIONS["gelu"])).shortcut is None

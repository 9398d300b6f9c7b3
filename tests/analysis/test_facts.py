"""Facts about single functions, against known values."""

from __future__ import annotations

import copy
import math
import pickle
import time

import pytest

from softknee.analysis import Measured, facts, function_of
from softknee.catalogue import LEFT, Definition, Parameter, get, x
from softknee.lang import absolute, clamp, exp, log, maximum, normal_cdf, sin, sqrt, symbol, tanh, where

INF = math.inf


@pytest.mark.parametrize(
    ("name", "minimum", "place"),
    [("gelu", -0.16997, -0.75179), ("silu", -0.27846, -1.27846), ("mish", -0.30884, -1.19245),
     ("hardswish", -0.375, -1.5), ("lisht", 0.0, 0.0)],
)  # fmt: skip
def test_minima(name: str, minimum: float, place: float) -> None:
    found = facts(get(name)).range
    assert found.low == pytest.approx(minimum, abs=5.1e-6)
    assert found.low_at == pytest.approx((place, place), abs=2e-5)
    assert found.low_closed
    assert not found.high_closed
    assert found.high == INF


def test_minimum_to_the_last_digit() -> None:
    found = facts(get("gelu")).range
    assert float(found.low) == -0.16997120747990366  # mpmath: -0.169971207479903661694
    assert found.low.error < 1e-16


@pytest.mark.parametrize(
    ("name", "printed", "low_at", "high_at"),
    [("sigmoid", "(0, 1)", None, None), ("tanh", "(-1, 1)", None, None), ("relu", "[0, ∞)", (-INF, 0.0), None),
     ("hardtanh", "[-1, 1]", (-INF, -1.0), (1.0, INF)), ("binary_step", "[0, 1]", (-INF, 0.0), (0.0, INF)),
     ("gaussian", "(0, 1]", None, (0.0, 0.0)), ("identity", "(-∞, ∞)", None, None), ("gcu", "(-∞, ∞)", None, None),
     ("sine", "[-1, 1]", (-math.pi / 2, -math.pi / 2), (math.pi / 2, math.pi / 2))],
)  # fmt: skip
def test_ranges(name: str, printed: str, low_at: object, high_at: object) -> None:
    found = facts(get(name)).range
    assert str(found) == printed
    assert found.low_at == (None if low_at is None else pytest.approx(low_at))
    assert found.high_at == (None if high_at is None else pytest.approx(high_at))


@pytest.mark.parametrize(
    ("name", "kinks", "smoothness"),
    [
        ("relu", [(0, 0, 1, 0)], "C0"),
        ("leaky_relu", [(0, 0.01, 1, 0.01)], "C0"),
        ("selu", [(0, 1.7580993408473766, 1.0507009873554805, 1.7580993408473766)], "C0"),
        ("hardswish", [(-3, 0, -0.5, 0), (3, 1.5, 1, 1)], "C0"),
        ("softshrink", [(-0.5, 1, 0, 0), (0.5, 0, 1, 0)], "C0"),
        ("hardtanh", [(-1, 0, 1, 0), (1, 1, 0, 0)], "C0"),
        ("elu", [], "C1"),
        ("softsign", [], "C1"),
        ("isrlu", [], "C2"),
        ("mish", [], "C∞"),
    ],
)
def test_kinks(name: str, kinks: list[tuple[float, ...]], smoothness: str) -> None:
    found = facts(get(name))
    assert [(k.place, k.left, k.right, k.used) for k in found.kinks] == [
        pytest.approx(k, abs=1e-15) for k in kinks
    ]
    assert all(k.declared for k in found.kinks)
    assert found.smoothness == smoothness


def test_kinks_move_with_the_parameters() -> None:
    assert [k.place for k in facts(get("softshrink"), lambd=2.25).kinks] == [-2.25, 2.25]
    assert [(k.left, k.right, k.used) for k in facts(get("elu"), alpha=2.0).kinks] == [(2, 1, 2)]
    assert facts(get("elu")).closed_kinks == (0.0,)


def test_a_jump() -> None:
    (kink,) = facts(get("threshold"), threshold=1.0, value=-2.0).kinks
    assert kink.jump
    assert (kink.left_value, kink.right_value, kink.value) == (-2, 1, -2)
    assert facts(get("binary_step")).flat_share == 1
    assert "no gradient" in facts(get("binary_step")).remarks[0]


def test_limits_and_asymptotes() -> None:
    gelu = facts(get("gelu"))
    assert gelu.limits == (0, INF)
    assert [line.slope for line in gelu.asymptotes] == [0, 1]
    assert facts(get("gelu"), cdf="cauchy").limits == (pytest.approx(-1 / math.pi, abs=1e-16), INF)
    assert facts(get("tanhshrink")).asymptotes[1].intercept == -1
    sine = facts(get("sine"))
    assert sine.limits == (None, None)
    assert [d.how for d in sine.limit_details] == ["numeric", "numeric"]


@pytest.mark.parametrize(
    ("name", "constant", "place"),
    [("sigmoid", 0.25, 0), ("tanh", 1, 0), ("gelu", 1.1289, math.sqrt(2)), ("silu", 1.0998, 2.3994), ("relu", 1, 0),
     ("softplus", 1, INF), ("selu", 1.7581, 0), ("relu2", INF, INF), ("binary_step", INF, 0), ("gcu", INF, INF)],
)  # fmt: skip
def test_lipschitz(name: str, constant: float, place: float) -> None:
    found = facts(get(name))
    assert found.lipschitz == pytest.approx(constant, abs=5e-5)
    assert found.lipschitz_at == pytest.approx(place, abs=5e-5)


def test_shape() -> None:
    relu, silu, tanh_, sine = (facts(get(n)) for n in ("relu", "silu", "tanh", "sine"))
    assert [(p.low, p.high, p.direction) for p in relu.pieces] == [
        (-INF, 0, "constant"),
        (0, INF, "increasing"),
    ]
    assert (relu.monotone, relu.direction, relu.curvature) == (True, "increasing", "convex")
    assert [p.direction for p in silu.pieces] == ["decreasing", "increasing"]
    assert (silu.monotone, silu.curvature) == (False, None)
    assert (tanh_.odd, tanh_.even, facts(get("lisht")).even, silu.odd) == (True, False, True, False)
    assert facts(get("hardtanh")).saturation == ("hard", "hard")
    assert silu.saturation == ("soft", "none")
    assert tanh_.saturation == ("soft", "soft")
    assert (relu.zero_share, relu.flat_share) == (0.5, 0.5)
    assert (sine.bounded, silu.bounded) == (True, False)
    assert facts(get("hardshrink")).zero_share == pytest.approx(0.38292492254802624, abs=1e-15)


def test_fixed_points() -> None:
    (everywhere,) = facts(get("relu")).fixed_points
    assert (everywhere.low, everywhere.high, everywhere.stability) == (0, INF, "neutral")
    below, zero = facts(get("selu")).fixed_points
    assert (zero.low, zero.stability) == (0, "repelling")
    assert (below.stability, below.low) == ("attracting", pytest.approx(-1.2588, abs=1e-4))
    (sigmoid,) = facts(get("sigmoid")).fixed_points
    assert sigmoid.low == pytest.approx(0.6590460684, abs=1e-9)
    assert [round(p.low / math.pi, 9) for p in facts(get("snake")).fixed_points][-3:] == [
        7,
        8,
        9,
    ]  # tangent there


def test_selu_normalises_itself() -> None:
    found = facts(get("selu"))
    assert found.zero_centred
    assert found.second_moment == pytest.approx(1, abs=1e-13)
    assert found.variance_slope < 1
    assert any("normalises itself" in remark for remark in found.remarks)
    assert facts(get("selu")).identities[0].where == "x < 0"


def test_identities() -> None:
    assert [i.text for i in facts(get("sigmoid")).identities] == ["f' = f (1 - f)", "f(-x) = 1 - f(x)"]
    assert [i.text for i in facts(get("tanh")).identities] == ["f' = 1 - f²"]
    (elu,) = facts(get("elu"), alpha=1.5).identities
    assert (elu.text, elu.where) == ("f' = f + 1.5", "x < 0")
    assert [i.text for i in facts(get("silu")).identities] == ["f(x) - f(-x) = x"]
    assert facts(get("relu")).identities == ()
    (step,) = facts(get("binary_step")).identities
    assert (step.text, step.where) == ("f(-x) = 1 - f(x)", "x ≠ 0")  # at 0 it is 1
    assert all(i.error < 1e-11 for i in facts(get("softsign")).identities)


def test_an_undeclared_kink_is_found() -> None:
    a = symbol("a")
    bent = Definition(
        "bent", where(x * x > a, absolute(x) - a, 0), parameters=[Parameter("a", 1.0)], use="test"
    )
    found = facts(bent, a=2.0)
    assert [(k.place, k.declared, k.jump) for k in found.kinks] == [
        (pytest.approx(-math.sqrt(2), abs=1e-15), False, True),
        (pytest.approx(math.sqrt(2), abs=1e-15), False, True),
    ]
    assert any("not declared" in remark for remark in found.remarks)


def test_odd_cases() -> None:
    root = facts(Definition("root", sqrt(absolute(x)), use="test"))
    assert (root.kinks[0].left, root.kinks[0].right, root.lipschitz) == (-INF, INF, INF)
    half = facts(Definition("half", log(x) + 0 * x, use="test"))  # defined for x > 0 only
    assert half.limits == (None, INF)
    assert [(p.low, p.high, p.direction) for p in half.pieces] == [(0, INF, "increasing")]
    flat = facts(Definition("flat", 3 + 0 * x + clamp(x, 100, 101), kinks={100: 0, 101: 0}, use="test"))
    assert str(flat.range) == "[103, 104]"
    fast = facts(Definition("fast", sin(30 * x) * exp(-x * x), use="test"))
    assert fast.lipschitz == pytest.approx(30, rel=1e-6)
    steep = facts(Definition("steep", x * normal_cdf(1e6 * x), use="test"))
    assert steep.lipschitz == pytest.approx(1.1289, abs=1e-4)


def test_arguments() -> None:
    with pytest.raises(TypeError, match="no default for threshold and value: give threshold="):
        facts(get("threshold"))
    with pytest.raises(TypeError, match=r"gelu has no parameter 'alpha'; it has mu, sigma, approximate, cdf"):
        facts(get("gelu"), alpha=1)
    with pytest.raises(ValueError, match="approximate must be one of"):
        facts(get("gelu"), approximate="best")
    with pytest.raises(ValueError, match="softplus needs"):
        facts(get("softplus"), beta=-1.0)
    with pytest.raises(TypeError, match="must be a number"):
        facts(get("elu"), alpha="2")
    assert facts(get("gelu"), approximate="tanh") is facts(get("gelu"), {"approximate": "tanh"})


def test_measured_is_a_float_with_an_error() -> None:
    value = Measured(1.5, 1e-3)
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert (again, again.error) == (1.5, 1e-3)
    assert repr(value) == "1.5 +- 0.001"
    assert value + 1 == 2.5
    found = facts(get("elu"))
    assert pickle.loads(pickle.dumps(found)).gain == found.gain


def test_fast() -> None:
    facts(get("relu"))  # imports
    definition = Definition("once", x * tanh(maximum(x, 0) + exp(-x * x)), use="test")
    start = time.process_time()
    facts(definition)
    assert time.process_time() - start < 1.5  # 0.05 s on an idle core
    assert function_of(definition) is function_of(definition)


def test_slope_at_a_kink_is_the_stated_one() -> None:
    stated = Definition("stated", maximum(x, 0), kinks={0: 0.5}, use="test")
    left = Definition("left", maximum(x, 0), kinks={0: LEFT}, use="test")
    assert (facts(stated).kinks[0].used, facts(left).kinks[0].used) == (0.5, 0)

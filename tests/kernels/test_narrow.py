"""16-bit results: rounded once from float64, from a table, or in float32 where that gives the same."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import softknee.lang as f
from softknee.kernels import native, plan
from softknee.kernels.arrays import from_bfloat16, run, run_program
from softknee.kernels.llvm import Operand, Scalar, form_of, to_llvm
from softknee.kernels.lower import lower
from softknee.kernels.plan import Plan, compile_plan, kernel_of
from softknee.kernels.primitives import Single
from softknee.kernels.program import Program, Value
from softknee.kernels.table import _to_odd, is_choice, is_exact, table_of
from softknee.lang.nodes import Node, number, symbol, symbols_in, walk, where
from softknee.lang.stabilise import stabilise
from softknee.testing.metric import format_of, rounded
from softknee.testing.oracle import exact_value

X, A = symbol("x"), symbol("a")


def _operations(expression: Node, storage: Any = "bfloat16") -> set[str]:
    kernel = kernel_of(Plan(((expression, Operand(storage)),), (("x", Operand(storage)),)))
    return {i.op for _, i in kernel.program} & {"lookup", "mend"}


@pytest.fixture
def slow_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine, but for what it may have"""
    found = native.features() - {"quick-gather"}
    monkeypatch.setattr(native, "features", lambda: found)
    monkeypatch.setattr(plan, "sources", lambda: "slow gathers")  # kernels of their own


def test_a_table_where_gathers_are_quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "features", lambda: frozenset({"avx512f", "quick-gather"}))
    assert _operations(f.tanh(X)) == _operations(X / (1 + abs(X)), "float16") == {"lookup"}
    assert not _operations(f.maximum(X, 0))
    monkeypatch.undo()
    for said, quick in {
        "Not affected": True, "Vulnerable": True, "Mitigation: Microcode": False,
        "Unknown: Dependent on hypervisor status": False, None: False,
    }.items():  # fmt: skip
        monkeypatch.setattr(native, "_GATHER", tmp_path / "gather_data_sampling")
        if said is not None:
            (tmp_path / "gather_data_sampling").write_text(said + "\n")
        else:
            (tmp_path / "gather_data_sampling").unlink()
        assert native._quick_gather() == ({"quick-gather"} if quick else set())


@pytest.mark.parametrize(
    "expression",
    [f.maximum(X, 0), f.where(abs(X) > 0.3, X, 0), f.minimum(f.maximum(X, -1.5), 6), f.tanh(X),
     f.where(X > 1, X, 0.7), A * f.where(X > 0, number(1), number(0)), A * f.where(X > 0, number(1), number(2)),
     f.maximum(X, 2.0**-140)],
    ids=repr,
)  # fmt: skip
def test_what_needs_no_rounding_is_not_rounded(expression: Node) -> None:
    inputs = tuple(
        (str(n.payload), Operand("bfloat16")) for n in (X, A) if n.payload in symbols_in(expression)
    )
    made = Plan(((expression, Operand("bfloat16")),), inputs)
    kernel = kernel_of(made)
    given = np.arange(65536, dtype=np.uint16)
    other = np.random.default_rng(0).permutation(given)
    (found,) = run(compile_plan(made).call, kernel, [given, other][: len(inputs)])
    always = replace(kernel, exact=frozenset())
    form = form_of(kernel.inputs, [o for _, o in kernel.results])
    rounding = native.load(f"rounding {made.key()}", lambda: to_llvm(always, native.features()), form)
    (right,) = run(rounding.call, always, [given, other][: len(inputs)])
    assert np.isnan(from_bfloat16(found[found != right])).all()
    rounded = any(n.op == "number" and n.payload in (0.7, 2, 2.0**-140) for n in walk(expression))
    table = expression.op == "tanh" and "lookup" not in _operations(expression)
    assert kernel.exact == (frozenset() if rounded or table else frozenset({0}))


@pytest.mark.usefixtures("slow_gathers")
def test_float32_takes_the_place_of_a_table_where_it_gives_the_same() -> None:
    assert not _operations(f.tanh(X))
    assert not _operations(X / (1 + abs(X)))
    assert _operations(f.atan(9 * X)) == {"lookup"}  # no such primitive in float32, and too steep for pieces


@pytest.mark.usefixtures("slow_gathers")
@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
def test_the_table_mends_what_float32_cannot_tell(storage: Any) -> None:
    """Some x/100 are subnormal, and beside the middle of two of them"""
    expression = f.where(X > 0, X, 0.01 * X)
    assert _operations(expression, storage) == {"mend"}
    plans = [Plan(((expression, Operand(o)),), (("x", Operand(storage)),)) for o in (storage, "float64")]
    given = np.arange(65536, dtype=np.uint16)
    for x in (given, given[::-1]):  # vectors with many such numbers, and the last one not whole
        x = np.concatenate([np.repeat(x, 3), x[:5]]).view(np.float16 if storage == "float16" else np.uint16)
        narrow, wide = (run(compile_plan(p).call, kernel_of(p), [x])[0] for p in plans)
        program = Program()
        (right,) = run_program(program, [program.input(0, "f64")], [wide], "float64", storage)
        a, b = narrow.view(np.uint16), right.view(np.uint16)
        assert np.all((a == b) | np.isnan(wide) | ((a | b) & 0x7FFF == 0))


@pytest.mark.usefixtures("slow_gathers")
@pytest.mark.skipif("avx512f" not in native.features(), reason="needs registers to pick from")
@pytest.mark.parametrize("expression", [f.sigmoid(X), f.softplus(X), X * f.tanh(f.softplus(X))], ids=repr)
def test_pieces_where_they_give_the_same(expression: Node) -> None:
    """Beyond them, and where they would not, the table"""
    expression = stabilise(expression)
    assert _operations(expression) == {"mend"}
    entries = table_of(expression, "x", "bfloat16", partial(plan._values, expression, "x"))
    made = Plan(((expression, Operand("bfloat16")),), (("x", Operand("bfloat16")),))
    x = np.random.default_rng(0).permutation(np.arange(65536, dtype=np.uint16))
    (found,) = run(compile_plan(made).call, kernel_of(made), [np.concatenate([x, np.sort(x)])])
    program = Program()
    table = np.frombuffer(entries, "<f4")[np.concatenate([x, np.sort(x)])]
    (right,) = run_program(program, [program.input(0, "f32")], [table], "float32", "bfloat16")
    nan = np.isnan(table)
    zero = (found | right) & 0x7FFF == 0  # of either sign
    assert np.all((found == right) | nan | zero)
    assert np.isnan(from_bfloat16(found[nan])).all()


def test_how_far_float32_strays() -> None:
    entries = table_of(f.tanh(X), "x", "bfloat16", partial(plan._values, f.tanh(X), "x"))

    def tanh(program: Program) -> Value:
        return lower([f.tanh(X)], program, Single(program), {"x": program.input(0, "f32")})[0]

    strays = partial(plan._strays_in_float32, tanh, "bfloat16")
    assert strays(entries) == (0, 0)
    spoiled = np.frombuffer(entries, "<f4").copy()
    spoiled[[0x0107, 0x8103]] *= 1 + 2.0**-7
    assert strays(spoiled.tobytes()) == (0x0103, 5)
    spoiled[0x3F00] *= 1 + 2.0**-7  # 0.5, which networks meet
    assert strays(spoiled.tobytes()) is None


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
@pytest.mark.parametrize("machine", ["this", "any"])
def test_float64_is_rounded_once(storage: Any, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the middles of neighbours by less than float32 can tell, from subnormal numbers to the largest."""
    if machine == "any":
        monkeypatch.setattr(native, "features", frozenset)
    random = np.random.default_rng(3)
    middles = random.integers(1 << 11, 1 << 12, 4000) * 2.0 ** random.integers(-160, 120, 4000)
    bits = 8 if storage == "bfloat16" else 11
    unit = 2.0 ** (np.floor(np.log2(middles)) - bits)
    middles = np.floor(middles / unit) * unit
    x = np.concatenate([middles * (1 + k * 2.0**-52) for k in (-1, 0, 1)])
    x = np.concatenate([x, -x, [0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-300]])
    program = Program()
    (found,) = run_program(program, [program.input(0, "f64")], [x], "float64", storage)
    copied = Program()
    with np.errstate(over="ignore"):
        odd = _to_odd(x)
    (right,) = run_program(copied, [copied.input(0, "f32")], [odd], "float32", storage)
    np.testing.assert_array_equal(found.view(np.uint16), right.view(np.uint16))
    if storage == "float16":
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(found, x.astype(np.float16))


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
@pytest.mark.parametrize("machine", ["this", "any"])
def test_what_float64_cannot_tell_from_a_middle(
    storage: Any, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There pairs of float64 decide, and only there."""
    if machine == "any":
        monkeypatch.setattr(native, "features", frozenset)
    form = format_of(storage)
    numbers = np.arange(65536, dtype=np.uint16).view(np.float16 if storage == "float16" else np.uint16)
    places = np.flatnonzero(np.isfinite(_wide(numbers, storage)))[::7]

    def errors(expression: Node, a: float, *xs: int) -> int:
        made = Plan(((stabilise(expression), Operand(storage)),), (("x", Operand(storage)), ("a", Scalar())))
        kernel = kernel_of(made)
        assert kernel.finer is not None
        found = _wide(run(compile_plan(made).call, kernel, [numbers], (a,))[0], storage)
        x = _wide(numbers, storage)
        return sum(
            found[k] != float(rounded(exact_value(expression, {"x": float(x[k]), "a": a}), storage))
            for k in (*xs, *places)
        )

    middle = 1 + 2.0**-form.precision
    assert middle / 5 * 5 == middle != Fraction(middle / 5) * 5
    fives = np.flatnonzero(np.isin(np.abs(_wide(numbers, storage)), 5 * 2.0 ** np.arange(-140, 100)))
    for a in (middle / 5, 0.75, 0.01):  # near a middle, one, and neither
        assert not errors(A * X, a, *fives)
    # half of an odd multiple of the smallest number, and a trace more
    assert not errors(X * f.sigmoid(A * X), 1.25, *range(64), *range(32768, 32832))


def test_what_float64_has_exactly_is_not_computed_again() -> None:
    inputs = tuple((name, Operand("bfloat16")) for name in ("x", "a", "b"))

    def finer(expression: Node, storage: Any = "bfloat16") -> bool:
        return (
            kernel_of(Plan(((expression, Operand(storage)),), (*inputs, ("c", Scalar())))).finer is not None
        )

    b, c = symbol("b"), symbol("c")
    assert not finer(f.where(X > 0, X, A * X))
    assert not finer(f.minimum(A * b * -X, 0.375))
    assert finer(c * X)
    assert finer(f.where(X > A, A * X / 3, X))
    assert finer(f.minimum(A * X, Fraction(3, 10)))
    assert finer(A + X)
    assert finer(X * f.sigmoid(A * X))
    assert not finer(X * f.sigmoid(A * X), "float32")


def test_few_instructions_take_narrower_registers_where_wide_ones_slow_a_processor_down() -> None:
    machine = frozenset({"avx512f", "prefer-256-bit"})

    def narrow(expression: Node, storage: Any, features: frozenset[str] = machine) -> bool:
        kernel = kernel_of(Plan(((expression, Operand(storage)),), (("x", Operand(storage)),)))
        return '"prefer-vector-width"="256"' in to_llvm(kernel, features)

    relu = f.where(X > 0, X, 0)
    assert narrow(relu, "float32")
    assert not narrow(relu, "float32", machine - {"prefer-256-bit"})
    assert not narrow(f.exp(X), "float32")
    assert not narrow(X * f.sigmoid(X), "bfloat16")  # few instructions, but one of them gathers


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "slope", [f.where(X > 0, 1, 0.01), 1 - f.tanh(X) ** 2, f.maximum(X / 3 + 0.5, 0.0625)]
)
def test_a_slope_times_a_gradient(slope: Node, storage: Any) -> None:
    """Correctly rounded where the gradient is 1, else within 0.5 + 2^-9 (float16) or 2^-12 (bfloat16) ULP, also
    where the slope alone would be rounded to 0."""
    inputs = tuple((name, Operand(storage)) for name in ("x", "g"))
    wanted = Plan(((slope, Operand("float64")),), inputs[:1])
    made = Plan(((symbol("g") * slope, Operand(storage)),), inputs, factors=frozenset({"g"}))
    assert not any(i.op == "widen" or i.type == "f64" for _, i in kernel_of(made).program)
    x = np.arange(65536, dtype=np.uint16)
    g = np.random.default_rng(1).permutation(x)
    if storage == "float16":
        x, g = x.view(np.float16), g.view(np.float16)
    (right,) = run(compile_plan(wanted).call, kernel_of(wanted), [x])
    form = format_of(storage)
    one, extra = (np.float16(1), 2**-9) if storage == "float16" else (np.uint16(0x3F80), 2**-12)
    for gradient, bound in ((np.full_like(x, one), 0.5), (g, 0.5 + extra)):
        (found,) = run(compile_plan(made).call, kernel_of(made), [x, gradient])
        found, gradient = (_wide(n, storage) for n in (found, gradient))
        with np.errstate(all="ignore"):
            product = right * gradient
            unit = 2.0 ** (np.maximum(np.frexp(product)[1] - 1, form.least) - form.precision + 1)
            within = np.abs(found - product) <= bound * unit
        assert np.all(within | ~(np.abs(product) <= form.largest))


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
def test_a_slope_times_a_gradient_where_it_must_be_exact(storage: Any) -> None:
    """A table's entry is a float32 number: its product is computed again where that could decide"""
    slope = f.sigmoid(X) * f.sigmoid(-X)
    inputs = tuple((name, Operand(storage)) for name in ("x", "g"))
    made = Plan(((symbol("g") * slope, Operand(storage)),), inputs, "exact", factors=frozenset({"g"}))
    assert "lookup" in {i.op for _, i in kernel_of(made).program}
    x = np.arange(65536, dtype=np.uint16)
    x = np.repeat(x.view(np.float16) if storage == "float16" else x, 8)
    g = np.random.default_rng(1).permutation(x)
    (found,) = run(compile_plan(made).call, kernel_of(made), [x, g])
    found, x, g = (_wide(n, storage) for n in (found, x, g))
    right, form = plan._values(slope, "x", x), format_of(storage)
    with np.errstate(all="ignore"):
        product = right * g
        unit = 2.0 ** (np.frexp(product)[1] - form.precision)
        low, high = (np.rint(product * (1 + e) / unit) * unit for e in (-(2.0**-50), 2.0**-50))
        usual = (
            (np.abs(product) > form.smallest_normal) & (np.abs(product) < form.largest) & (right > 2.0**-126)
        )
    decided = usual & (low == high)
    assert np.count_nonzero(decided) > 200_000
    np.testing.assert_array_equal(found[decided], low[decided])


def _wide(numbers: Any, storage: str) -> Any:
    with np.errstate(invalid="ignore"):  # NaNs of all kinds
        return (numbers if storage == "float16" else from_bfloat16(numbers)).astype(float)


def test_literals_by_way_of_float32() -> None:
    assert is_choice(f.where(X > 0, 0.5, X))
    assert not is_choice(f.where(X > 0, 0.01, X))
    assert is_choice(f.where(X > 0, 0.01, X), nearest=True)
    assert not is_choice(
        f.where(X > 0, 1 + 2**-8 + 2**-40, X), nearest=True
    )  # a middle of bfloat16, in float32


@pytest.mark.parametrize(("storage", "digits", "least"), [("bfloat16", 8, -126), ("float16", 11, -14)])
def test_products_of_two_inputs_need_no_float64(storage: Any, digits: int, least: int) -> None:
    """Nor where they are subnormal or overflow; of all numbers, each with some others"""
    zero = number(0)
    row, dtype = Operand(storage), getattr(torch, storage)
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    for root, exact in (
        (X * A, lambda x, a: x * a),
        (where(X > 0, X, zero) * A, lambda x, a: np.where(x > 0, x, 0) * a),
        (where(X > 0, X, X * A), lambda x, a: np.where(x > 0, x, x * a)),
    ):
        plan = Plan(((root, row),), (("x", row), ("a", row)))
        assert "Single" in kernel_of(plan).header
        on = compile_plan(plan).on
        for seed in range(10):
            other = every[torch.randperm(65536, generator=torch.Generator().manual_seed(seed))]
            with np.errstate(all="ignore"):
                wanted = exact(every.double().numpy(), other.double().numpy())  # 22 digits at most
                unit = 2.0 ** (np.maximum(np.frexp(wanted)[1] - 1, least) + 1 - digits)
                right = np.where(np.isfinite(wanted), np.rint(wanted / unit) * unit, wanted)
                right[np.abs(right) > torch.finfo(dtype).max] *= np.inf
            np.testing.assert_array_equal(on(every, other).double().numpy(), right)


def test_other_products_are_not_exact() -> None:
    table = symbol("table")
    for root in (X * A * X, X * table, number(0.1) * A, X * A + A, where(X * A > 0, X, A)):
        assert not is_exact(root, {"x", "a"})

"""16-bit results: rounded once from float64, from a table, or in float32 where that gives the same."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import softknee.lang as f
from softknee.kernels import native, plan
from softknee.kernels.arrays import run_program
from softknee.kernels.llvm import Operand, to_llvm
from softknee.kernels.plan import Plan, kernel_of
from softknee.kernels.program import Program
from softknee.kernels.table import _to_odd, table_of
from softknee.lang.nodes import Node, symbol

X = symbol("x")


def _reads_a_table(expression: Node) -> bool:
    kernel = kernel_of(Plan(((expression, Operand("bfloat16")),), (("x", Operand("bfloat16")),)))
    return any(i.op == "lookup" for _, i in kernel.program)


def test_float32_takes_the_place_of_a_table_where_it_gives_the_same() -> None:
    assert not _reads_a_table(f.tanh(X))
    assert not _reads_a_table(X / (1 + abs(X)))
    assert _reads_a_table(
        X * f.sigmoid(X)
    )  # x/2 lies in the middle of two subnormal numbers, x sigmoid(x) above it
    assert _reads_a_table(f.atan(X))  # no such primitive in float32


def test_one_different_entry_keeps_the_table() -> None:
    entries = table_of(f.tanh(X), "x", "bfloat16", partial(plan._values, f.tanh(X), "x"))
    assert plan._sooner_in_float32(f.tanh(X), "x", "bfloat16", entries)
    spoiled = np.frombuffer(entries, "<f4").copy()
    spoiled[0x3F00] *= 1 + 2.0**-7
    assert not plan._sooner_in_float32(f.tanh(X), "x", "bfloat16", spoiled.tobytes())


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

"""Every operation of a Program is spelled for the GPU, and does what it does on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.gpu.conftest import INTERPRETED

from softknee.kernels.arrays import run_program
from softknee.kernels.llvm import Kernel, Operand
from softknee.kernels.program import OPERATIONS, PICKED, Program, Value
from softknee.kernels.triton import OPTIONS, SPELLING, Layout, tables, to_triton
from softknee.nn import gpu

DEVICE = "cpu" if INTERPRETED else "cuda"
#: floats that go wrong, and some that do not
HARD = [-19.5, 17.25, -20.6, -3.0, 0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 0.1, -0.3, 1e-40, -3e-42, 3e38, -2e38, 8388607.5, -4194305.5,
        2.0**52 + 1, 1e15 + 0.5, np.inf, -np.inf, np.nan, 7.0, -1e-3]  # fmt: skip
TYPE = {"f32": "float32", "f64": "float64"}


def interpreted(kernel: Kernel, arrays: list[Any]) -> Any:
    """A kernel of one result on float arrays, by the GPU's backend."""
    function = gpu._function(to_triton(kernel, Layout((None,) * len(kernel.operands))))
    given = [torch.from_numpy(a).to(DEVICE) for a in arrays]
    out = torch.empty(arrays[0].shape, dtype=getattr(torch, kernel.results[0][1].storage), device=DEVICE)
    looked_up = [gpu._table(*t, out.device) for t in tables(kernel)]
    function[1,](*given, out, *looked_up, out.numel(), **OPTIONS)
    return out.cpu()


def program_of(name: str, kind: str) -> tuple[Program, Value, int]:
    """A program of one operation between floats, and how many inputs it has."""
    p = Program()
    operands, result = OPERATIONS[name]
    if name == "pick":
        place = p.bits(p.input(0, "f32"))
        return p, p.pick(place, payload=tuple(k + 0.5 for k in range(PICKED))), 1
    if name == "scale":  # its contract: sizes of the first, and of the second
        small, step = p.const(2.0**-60, "f32"), p.const(7.3, "f32")
        a = p.select(p.lt(p.abs(p.input(0, "f32")), p.const(2.0**60, "f32")), p.input(0, "f32"), step)
        a = p.select(p.lt(p.abs(a), small), p.const(-0.0, "f32"), a)
        b = p.input(1, "f32")
        fits = p.lt(p.abs(b), p.const(1000.0, "f32"))
        return p, p.scale(a, p.mul(p.select(fits, b, p.const(-17.9, "f32")), step)), 2
    if name == "mend":
        place = p.iand(p.bits(p.input(0, "f32")), p.const(3, "i32"))
        entries = np.array([0.5, 1.5, -2.5, 3.5], "<f4").tobytes()
        return p, p.mend(p.input(1, "f32"), place, payload=(1, 2, entries)), 2
    integer = {"f32": "i32", "f64": "i64"}[kind]
    if name in ("gather", "lookup"):
        place = p.const(2, operands)
        payload: Any = (0.5, 1.5, -2.5) if name == "gather" else np.array([0.5, 1.5, -2.5], "<f4").tobytes()
        value = p.op(name, place, payload=payload)
        x = p.input(0, kind)
        return p, p.add(p.mul(x, p.const(0.0, kind)), value), 1
    if name == "narrow":
        return p, p.narrow(p.input(0, "f64")), 1
    if name == "widen":
        return p, p.widen(p.input(0, "f32")), 1
    args, count = [], 0
    for k in operands:
        x = p.input(count, kind)
        count += 1
        if k == "B":
            args.append(p.lt(x, p.const(0.25, kind)))
        elif k == "I" and args and name in ("ishl", "ilshr", "iashr"):
            args.append(p.const(7, integer))
        elif k == "I":
            args.append(p.bits(x))
        else:
            args.append(x)
    if name == "to_int":  # numbers that fit
        inside = p.select(p.lt(p.abs(args[0]), p.const(1e6, kind)), args[0], p.const(2.75, kind))
        args = [inside]
    value = p.op(name, *args)
    if result == "I":
        value = p.to_float(value) if name == "to_int" else p.from_bits(value)
    if result == "B":
        value = p.select(value, p.const(1.0, kind), p.const(2.0, kind))
    return p, value, count


def test_every_operation_has_a_spelling() -> None:
    assert set(SPELLING) == set(OPERATIONS)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_the_same_on_both(name: str, kind: str) -> None:
    if (name, kind) in (
        ("narrow", "f32"),
        ("widen", "f64"),
        ("lookup", "f64"),
        ("gather", "f32"),
        ("pick", "f64"),
        ("scale", "f64"),
        ("mend", "f64"),
    ):
        pytest.skip("of the other type")
    program, value, count = program_of(name, kind)
    source, result = TYPE[kind], TYPE[value.type]
    side = np.array(HARD, TYPE[kind])
    if name == "quotient":
        side = side[np.isfinite(side) & (np.abs(side) > 1e-30) & (np.abs(side) < 1e15)]  # its contract
    grids = np.meshgrid(*[side, side, side[::3]][:count], indexing="ij")
    arrays = [np.ascontiguousarray(g.ravel()[-1024:]) for g in grids]
    with np.errstate(all="ignore"):
        (expected,) = run_program(program, [value], arrays, source, result)
    kernel = Kernel(program, tuple(Operand(source) for _ in arrays), ((value, Operand(result)),))
    found = interpreted(kernel, arrays).numpy()
    if name == "quotient":
        np.testing.assert_allclose(found, expected, rtol=2.0**-22 if kind == "f32" else 2.0**-44)
        return
    same = (found.view(f"i{found.itemsize}") == expected.view(f"i{found.itemsize}")) | (
        np.isnan(found) & np.isnan(expected)
    )
    assert same.all(), (arrays[0][~same][:3], found[~same][:3], expected[~same][:3])


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_a_literal_keeps_the_sign_of_zero(kind: str) -> None:
    """Some versions of Triton make tl.full((), -0.0) a 0"""
    p = Program()
    x = p.input(0, kind)
    value = p.select(p.lt(x, p.const(0.0, kind)), p.const(-0.0, kind), p.const(0.0, kind))
    kernel = Kernel(p, (Operand(TYPE[kind]),), ((value, Operand(TYPE[kind])),))
    assert "full((), -0.0" not in to_triton(kernel, Layout((None, None)))
    assert np.signbit(interpreted(kernel, [np.array([-1, 1], TYPE[kind])]).numpy()).tolist() == [True, False]


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_float64_is_rounded_once_to_16_bits(storage: Any) -> None:
    """Just above the middle between two 16-bit numbers, by less than float32 can tell."""
    p = Program()
    x = p.input(0, "f64")
    spacing = 2.0**-10 if storage == "float16" else 2.0**-7
    middles = 1 + spacing * (np.arange(64) + 0.5)
    values = np.concatenate([middles, middles * (1 + 1e-15), middles * (1 - 1e-15), HARD])
    kernel = Kernel(p, (Operand("float64"),), ((x, Operand(storage)),))
    found = interpreted(kernel, [values]).double().numpy()
    k = np.arange(64)
    above, below = 1 + spacing * (k + 1), 1 + spacing * k
    np.testing.assert_array_equal(found[64:128], above)
    np.testing.assert_array_equal(found[128:192], below)
    np.testing.assert_array_equal(found[:64], np.where(k % 2, above, below))  # ties to even
    hard = torch.tensor(HARD, dtype=torch.float64, device="cpu").to(getattr(torch, storage)).double().numpy()
    np.testing.assert_array_equal(found[192:], hard)

"""Kernels called with tensors: what suits them is computed, and nothing else is touched."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import BaseTorchDispatchMode

import softknee
import softknee.functional as F
from softknee.kernels import native
from softknee.kernels.entry import CHUNK, HUGE, RUNTIME, SERIAL, SERIAL_LIGHT, Tensor
from softknee.kernels.llvm import Operand, Scalar
from softknee.kernels.plan import Plan, compile_plan
from softknee.lang.nodes import sigmoid, symbol, where
from softknee.nn.launch import _library

X, G = symbol("x"), symbol("g")
SQUARE = Plan(((X * X, Operand("float32")),), (("x", Operand("float32")),))


def _times(access: Any = "row") -> Any:
    inputs = (("x", Operand("float32")), ("g", Operand("float32", access)))
    return compile_plan(Plan(((X * G, Operand("float32")),), inputs)).on


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5, 2), (SERIAL - 1,), (SERIAL,), (HUGE // 4 + 3,)])
def test_tensors_that_lie_alike(shape: Any) -> None:
    x, result = torch.randn(shape), torch.full(shape, torch.nan)
    assert compile_plan(SQUARE).on(x, result) is True
    torch.testing.assert_close(result, x * x)


def test_any_order_of_dimensions_and_one_number_for_all() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    result = torch.empty_like(x)
    assert _times()(x, x, result)
    torch.testing.assert_close(result, x * x)
    one = torch.tensor(3.0).expand(x.shape)
    assert _times()(x, one, result) is None
    assert _times("splat")(x, x, result) is None
    assert _times("splat")(x, one, result)
    torch.testing.assert_close(result, 3 * x)


def test_numbers_behind_the_tensors() -> None:
    a = symbol("a")
    plan = Plan(((X * a, Operand("float32")),), (("x", Operand("float32")), ("a", Scalar())))
    x, result = torch.randn(9), torch.empty(9)
    assert compile_plan(plan).on(x, result, 0.25)
    torch.testing.assert_close(result, x / 4)
    torch.testing.assert_close(compile_plan(plan).on(x, 0.25), x / 4)


@settings(max_examples=200)
@given(st.data())
def test_results_are_made_like_the_input_where_it_has_no_gaps(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 3), max_size=4))
    order, strides, step = data.draw(st.permutations(range(len(shape)))), [0] * len(shape), 1
    for d in order:
        strides[d], step = step, step * shape[d]
    for d in range(len(shape)):  # gaps, overlaps, and strides that do not matter
        if data.draw(st.integers(0, 4)) == 0:
            strides[d] = data.draw(st.integers(0, 9))
    x = torch.randn(100).as_strided(shape, strides)
    made = compile_plan(SQUARE).on(x)
    assert (made is not None) == torch.ops.aten.is_non_overlapping_and_dense(x)
    if made is not None:
        assert (made.shape, made.stride()) == (x.shape, torch.empty_like(x).stride())
        assert torch.equal(made, x * x)


def test_several_results_are_made_together() -> None:
    outputs = tuple((e, Operand("float64")) for e in (X + G, X * G))
    kernel = compile_plan(Plan(outputs, tuple((n, Operand("float64")) for n in "xg")))
    x, g = torch.randn(2, 70, 3, dtype=torch.float64)
    total, product = kernel.on(x, g)
    torch.testing.assert_close((total, product), (x + g, x * g))
    bits = (where(X > 0, 1, 0), Operand("bits"))
    y, plane = compile_plan(Plan((SQUARE.outputs[0], bits), SQUARE.inputs)).on(torch.arange(-40.0, 60.0))
    assert (plane.dtype, plane.shape) == (torch.uint8, (16,))
    assert plane[:8].tolist() == [0, 0, 0, 0, 0, 254, 255, 255]
    assert y[0] == 1600


def test_what_is_made_is_an_ordinary_tensor() -> None:
    on, x = compile_plan(SQUARE).on, torch.randn(50)
    made = on(x)
    assert type(made) is torch.Tensor
    assert not made.requires_grad
    assert made.resize_(60).shape == (60,)
    with torch.inference_mode():
        assert on(x).is_inference()
    before = sys.getrefcount(x)
    kept = [on(x) for _ in range(1000)]
    assert sys.getrefcount(x) == before
    assert len({m.data_ptr() for m in kept}) == 1000
    watched = weakref.ref(kept[0])
    del kept
    assert watched() is None


UNSUITED = {
    "another type": torch.zeros(6, 4, dtype=torch.float64),
    "another shape": torch.zeros(4, 6),
    "another rank": torch.zeros(24),
    "other strides": torch.zeros(4, 6).t(),
    "gaps": torch.zeros(6, 8)[:, ::2],
    "another device": torch.zeros(6, 4, device="meta"),
    "no memory": torch._efficientzerotensor((6, 4)),
    "sparse": torch.zeros(6, 4).to_sparse(),
    "no tensor": "text",
}


@pytest.mark.parametrize("name", UNSUITED)
@pytest.mark.parametrize("place", [0, 1])
def test_what_does_not_suit_is_left_alone(name: str, place: int) -> None:
    result = torch.full((6, 4), 7.0)
    operands = [torch.zeros(6, 4), torch.zeros(6, 4), result]
    operands[place] = UNSUITED[name]
    assert _times()(*operands) is None
    assert _times()(*operands[:2]) is None
    assert torch.all(result == 7)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc's way to tell what is in use")
def test_nothing_is_left_of_a_call() -> None:
    class Told(ctypes.Structure):
        _fields_ = tuple(
            (name, ctypes.c_size_t)
            for name in ("arena", "free", "small", "maps", "mapped", "_", "cached", "used", "rest", "top")
        )

    told = ctypes.CDLL(None).mallinfo2
    told.restype = Told
    on, x = compile_plan(SQUARE).on, torch.randn(50)

    def grown() -> int:
        before = told().used
        for _ in range(20_000):
            on(x)
        return int(told().used) - before

    assert min(grown() for _ in range(3)) < 20_000


@pytest.fixture(params=["tensor_of", "new_tensor"])
def alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """A tensor library without the exchange of functions, or without those that make tensors"""
    place = RUNTIME.index(request.param)
    kept, native._runtime[place] = native._runtime[place], None
    yield
    native._runtime[place] = kept


@pytest.mark.parametrize("name", ["relu", "silu", "hardshrink", "leaky_relu"])
@pytest.mark.parametrize("inplace", [False, True])
def test_the_same_results_without_the_exchange(name: str, inplace: bool, alone: None) -> None:
    more = {"inplace": inplace} if name != "hardshrink" else {}
    for shape in [(), (0,), (33, 3), (SERIAL + 1,)]:
        x = torch.randn(shape, requires_grad=True)
        result, wanted = (getattr(f, name)(1 * x, **more) for f in (F, torch.nn.functional))
        torch.testing.assert_close(result, wanted)
        slopes = [torch.autograd.grad(y.sum(), x)[0] for y in (result, wanted)]
        torch.testing.assert_close(*slopes)
        torch.testing.assert_close(getattr(F, name)(x.detach()), wanted.detach())


def test_a_call_with_too_few_or_too_many_operands_is_declined() -> None:
    x = torch.randn(6, 4)
    on = _times()
    for operands in ((), (x,), (x, x, x, x), (x, x, x, x, x)):
        assert on(*operands) is None
    like = Tensor("float32", (6, 4), (4, 1))
    bound = compile_plan(SQUARE).bound([1, 24, 4096, 1, 0], 24, [like], [like])
    assert torch.equal(bound(x), x * x)
    for others in ((), (x, x), (x.t(),), (x[:5],), (x.double(),), (None,)):
        assert bound(*others) is None


@pytest.fixture
def threads_again() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _inside(watching: str, call: Any, x: Any) -> Any:
    """What a call gives while something watches"""
    results = []

    def kept(t: Any) -> Any:
        results.append(call(t))
        return t

    if watching == "mode":
        with BaseTorchDispatchMode():
            kept(x)
    elif watching == "tracer":
        torch.jit.trace(kept, x, check_trace=False)
    elif watching == "negative":
        kept(torch._neg_view(x))
    else:
        getattr(torch, watching)(kept)(x)
    (result,) = results
    return result


@pytest.mark.filterwarnings("ignore:.*jit.trace", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("watching", ["mode", "tracer", "vmap", "negative"])
def test_nothing_is_done_while_something_watches_or_for_a_view_of_the_negative(watching: str) -> None:
    """Even of a tensor that takes no part"""
    x, other = torch.randn(6, 4), torch.randn(6, 4)
    like = Tensor("float32", (6, 4), (4, 1))
    for kernel in (
        compile_plan(SQUARE).on,
        compile_plan(SQUARE).bound([1, 24, 4096, 1, 0], 24, [like], [like]),
    ):
        assert torch.equal(kernel(x), x * x)
        assert _inside(watching, lambda t, k=kernel: k(t if watching == "negative" else other), x) is None
        assert torch.equal(kernel(x), x * x)


@pytest.mark.parametrize("watching", ["mode", "tracer", "vmap", "negative"])
@pytest.mark.filterwarnings("ignore:.*jit.trace", "ignore::torch.jit.TracerWarning")
def test_functions_of_what_is_watched(watching: str) -> None:
    """Twice in the ordinary way, so that the short one is there"""
    x, weight = torch.randn(6, 4), torch.tensor([0.3])
    functions = [
        F.silu,
        lambda t: F.prelu(t, weight),
        lambda t: F.siglu(t, t),
        F.glu,
        lambda t: F.bilinear(t, t),
    ]
    for function in functions:
        for _ in range(2):
            function(x)
        result = _inside(watching, function, x)
        wanted = function(-x if watching == "negative" else x)
        if watching != "vmap":
            torch.testing.assert_close(result, wanted)
        else:
            torch.testing.assert_close(torch.vmap(function)(x), wanted)


def test_without_the_functions_that_tell_who_watches_nothing_is_taken() -> None:
    def unknown(name: str) -> Any:
        raise RuntimeError(f"could not parse dispatch key: {name}")

    kept = list(native._runtime)
    assert not native.watch(None, None, torch.empty(0), torch._C._parse_dispatch_key)
    assert not native.watch(_library("libc10"), _library("libtorch_cpu"), torch.empty(0), unknown)
    assert list(native._runtime) == kept


def _product(x: Any = X, factor: bool = True) -> native.Loaded:
    inputs = (("x", Operand("float32")), ("g", Operand("float32")))
    return compile_plan(
        Plan(((x * G, Operand("float32")),), inputs, factors=frozenset({"g"} if factor else ()))
    )


@pytest.mark.parametrize("size", [1, 4097, 10 * CHUNK, 21 * CHUNK + 5, 64 * CHUNK])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradients_are_made_from_the_end(size: int, threads: int, threads_again: None) -> None:
    torch.set_num_threads(threads)
    x, g = torch.randn(size), torch.randn(size)
    assert torch.equal(_product().on(x, g), x * g)


def test_a_gradient_from_the_end_may_be_written_behind_where_it_is_read(threads_again: None) -> None:
    torch.set_num_threads(1)
    ahead, size = 10 * CHUNK, 64 * CHUNK
    x, g = torch.randn(size), torch.randn(size)
    for factor in (True, False):
        memory = torch.cat([x, torch.zeros(ahead)])
        assert _product(factor=factor).on(memory[:size], g, memory[ahead:])
        assert torch.equal(memory[ahead:], x * g) is factor


def test_rows_from_the_end(threads_again: None) -> None:
    """Long ones with gaps, and short ones with a factor a row, whose gradient is summed"""
    torch.set_num_threads(1)
    for shape, weights in (((3, 30_011), ()), ((20_000, 5), (20_000, 1)), ((500, 300), (300,))):
        x = torch.randn(shape[0], 2 * shape[1])[:, : shape[1]].requires_grad_()
        weight, g = torch.rand(weights, requires_grad=True), torch.randn(shape)
        found = torch.autograd.grad(
            F.prelu(x, weight, dim=-1) if len(weights) < 2 else F.swish(x, weight), (x, weight), g
        )
        with torch.no_grad():
            leaves = [t.double().requires_grad_() for t in (x, weight)]
        a, b = leaves
        y = a * torch.sigmoid(b * a) if len(weights) == 2 else torch.where(a > 0, a, b * a)
        for one, other in zip(found, torch.autograd.grad(y, leaves, g.double()), strict=True):
            torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=1e-4)


def test_a_few_instructions_stay_on_one_thread_as_long_as_torchs() -> None:
    assert compile_plan(SQUARE).form.serial == SERIAL_LIGHT
    assert _product(sigmoid(X)).form.serial == SERIAL


def test_a_function_of_no_tensor_at_all() -> None:
    """Its value, and the slope of the identity: at tensors with gaps, and again"""
    constant = softknee.define("constant_for_tests", lambda x: 0 * x + 3)
    same = softknee.define("same_for_tests", lambda x: x)
    for x in (torch.randn(4, 6)[:, ::2].requires_grad_(), torch.randn(0, requires_grad=True), torch.randn(5)):
        for _ in range(3):
            assert torch.equal(constant(x), torch.full(x.shape, 3.0))
            if x.requires_grad:
                (slope,) = torch.autograd.grad(same(x), x, torch.full(x.shape, 2.0))
                assert torch.equal(slope, torch.full(x.shape, 2.0))


def test_what_is_kept_for_a_shape_serves_that_shape_alone() -> None:
    """Twice each, in turn: the second time goes by what the first one found out."""
    base = torch.randn(4, 6, 4, 6)
    ways = [
        base,
        base.to(memory_format=torch.channels_last),
        base.transpose(0, 2),
        base[:, :, ::2],
        base.double(),
    ]
    for _ in range(2):
        for x in ways:
            for weight in (torch.randn(6), torch.randn(1), torch.randn(2, 6)[0], torch.randn(6, 2)[:, 0]):
                leaves = [t.to(x.dtype).detach().requires_grad_() for t in (x, weight)]
                result, wanted = F.prelu(*leaves), torch.nn.functional.prelu(*leaves)
                torch.testing.assert_close(result, wanted)
                assert result.stride() == wanted.stride()
                gradient = torch.randn_like(wanted)
                torch.testing.assert_close(
                    torch.autograd.grad(result, leaves, gradient),
                    torch.autograd.grad(wanted, leaves, gradient),
                )
                assert torch.equal(F.prelu(*(t.detach() for t in leaves)), result)


def test_without_a_pool_of_threads_a_bit_an_element_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    place = RUNTIME.index("GOMP_parallel")
    x = torch.randn(SERIAL + 1, requires_grad=True)
    before, native._runtime[place] = native._runtime[place], None
    monkeypatch.setattr("softknee.nn.launch._pool", False)
    try:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
            y = F.relu(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
    finally:
        native._runtime[place] = before
    assert sum(kept) < SERIAL / 7
    assert torch.equal(slope, (x > 0).float())

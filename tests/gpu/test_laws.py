"""The laws, through the GPU's kernels: in the interpreter on a few activations that use, together, all
operations of the language; on a GPU on all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.gpu.conftest import INTERPRETED, LIMITS, bounds_of
from tests.laws.common import DEFINITIONS, TYPES, assert_none, cases

from softknee.catalogue import Definition
from softknee.lang.nodes import walk
from softknee.nn import gpu
from softknee.nn.runtime import runtime
from softknee.testing import laws, mechanics


def _operations(definition: Definition) -> set[str]:
    """The operations of the value and of the gradient."""
    op = runtime(definition).operator({}, dict.fromkeys((p.name for p in definition.learnable), "tensor"))
    back = op.backward((True,) * len(op.tensors))
    roots = [*op.expressions, *(back[0].expressions if back else ())]
    return {n.op for n in walk(*roots)}


def _representative() -> list[Definition]:
    """Few definitions that use all operations that any uses, one with learnable parameters first."""
    left = {d.name: _operations(d) for d in DEFINITIONS}
    chosen, missing = [], set().union(*left.values())
    while missing:
        best = max(DEFINITIONS, key=lambda d: (len(left[d.name] & missing), bool(d.learnable)))
        chosen.append(best)
        missing -= left[best.name]
    return chosen


TRIED = _representative() if INTERPRETED else DEFINITIONS
#: what computes a 16-bit result computes a float32 one; how it is stored, a few show
PAIRS = [
    pytest.param(d, t, id=f"{t}-{d.name}")
    for d in TRIED
    for t in TYPES
    if not INTERPRETED or not t.endswith("16") or d in TRIED[:2]
]
#: for laws about the mechanism, whatever the expression
SIMPLE = min((d for d in DEFINITIONS if d.learnable), key=lambda d: len(_operations(d)))
mechanism = pytest.mark.parametrize(
    "definition", [SIMPLE] if INTERPRETED else DEFINITIONS, ids=lambda d: d.name
)


@pytest.mark.parametrize(("definition", "dtype"), PAIRS)
def test_values_and_derivatives(
    definition: Definition, dtype: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = LIMITS.get(f"test_value_and_derivative[{dtype}-{definition.name}]")
    if known:  # the same expressions fall short in the same places
        request.applymarker(pytest.mark.xfail(reason=known, strict=True))
    monkeypatch.setitem(laws.BOUNDS, dtype, bounds_of(definition.name, dtype))
    failures = []
    for case in cases(definition, dtype):
        points = case.points(dtype, 16)
        failures += laws.accuracy(
            case, dtype, points[:: max(1, len(points) // 40)] if INTERPRETED else points
        )[0]
        failures += laws.limits(case, dtype, 1)[0]
    assert_none(failures)


@mechanism
def test_gradients_of_inputs_and_parameters(definition: Definition) -> None:
    """gradcheck in both modes; learnable slopes a channel, summed in the kernel."""
    for case in cases(definition):
        if not INTERPRETED:
            assert_none(mechanics.gradients(case))
        if case.tensors:
            assert_none(mechanics.parameter_gradients(case))


@mechanism
def test_any_strides(definition: Definition) -> None:
    assert_none([f for case in cases(definition)[:1] for f in mechanics.strides(case)])


@mechanism
def test_in_place(definition: Definition) -> None:
    assert_none([f for case in cases(definition)[:1] for f in mechanics.in_place(case)])


# Sums: any pattern of dimensions, deterministic, in one pass


def _gate() -> Any:
    """a sigmoid(b) and its gradients"""
    from softknee.lang import sigmoid, symbol
    from softknee.nn.pointwise import Pointwise

    return Pointwise.of(symbol("a") * sigmoid(symbol("b")), ("a", "b"), inputs=("a", "b"))


SHAPES = [
    ((5, 7), (5, 7)),
    ((40, 70), (70,)),
    ((40, 70), (40, 1)),
    ((3, 7, 9, 5), (7, 1, 1)),
    ((3, 1, 9, 5), (3, 4, 1, 5)),
    ((2, 3, 5), ()),
    ((2, 1, 1100), (3, 1)),
    ((1, 4), (6, 1)),
    ((0, 4), (4,)),
    ((1,), (1,)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gates_of_any_two_shapes(left: Any, right: Any, dtype: torch.dtype, monkeypatch: Any) -> None:
    """Value and both gradients, each summed to the shape of its input, against torch in float64."""
    from softknee.nn.pointwise import Call

    torch.manual_seed(1)
    a = torch.randn(left, dtype=torch.float64).to(dtype).requires_grad_()
    b = torch.randn(right, dtype=torch.float64).to(dtype).requires_grad_()
    launched = []
    original = gpu._Launch.__call__
    monkeypatch.setattr(
        gpu._Launch, "__call__", lambda self, *r: (launched.append(self), original(self, *r))[1]
    )
    y = _gate()(a, b, Call())
    g = torch.randn(y.shape, dtype=torch.float64).to(dtype)
    y.backward(g)
    c, d = (t.detach().double().requires_grad_() for t in (a, b))
    expected = c * torch.sigmoid(d)
    expected.backward(g.double())
    near = {"atol": 1e-12, "rtol": 1e-12} if dtype is torch.float64 else {"atol": 1e-5, "rtol": 2e-6}
    if dtype is torch.bfloat16:
        near = {"atol": 1e-4, "rtol": 2.0**-8}
    for found, right_ in ((y, expected), (a.grad, c.grad), (b.grad, d.grad)):
        assert found.shape == right_.shape
        torch.testing.assert_close(found.double(), right_, **near)
    if y.numel():
        assert len(launched) == 2  # one pass for both gradients


@pytest.mark.parametrize(
    "shapes",
    [((20, 1, 1), (1, 70, 1), (1, 1, 3)), ((2, 70, 1), (2, 1, 5), (5,)), ((9, 4, 1, 3), (4, 30, 1), (3,))],
    ids=str,
)
def test_sums_in_several_directions(shapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three gradients in one pass, in many steps and slots; of small integers, so that every sum is exact."""
    from softknee.lang import symbol
    from softknee.nn.pointwise import Call, Pointwise

    monkeypatch.setattr(gpu, "SLOTS", 3)
    a, b, c = map(symbol, "abc")
    product = Pointwise.of(a * b * c + a * b, ("a", "b", "c"), inputs=("a", "b", "c"))
    torch.manual_seed(1)
    ours, theirs = ([torch.randint(-3, 4, s).float().requires_grad_() for s in shapes] for _ in range(2))
    for x, y in zip(ours, theirs, strict=True):
        y.data = x.data.clone()
    a_, b_, c_ = theirs
    expected = a_ * b_ * c_ + a_ * b_
    g = torch.randint(-3, 4, expected.shape).float()
    launched: list[Any] = []
    original = gpu._Launch.__call__
    monkeypatch.setattr(
        gpu._Launch, "__call__", lambda self, *r: (launched.append(self), original(self, *r))[1]
    )
    found = [torch.autograd.grad(product(*ours, Call()), ours, g) for _ in range(2)]
    assert len(launched) == 4
    for f, again, e in zip(*found, torch.autograd.grad(expected, theirs, g), strict=True):
        assert torch.equal(f, e)
        assert torch.equal(f, again)


def test_transposed_and_channels_last_tensors_are_one_row() -> None:
    """Dense tensors are passed through in the order of memory, without counting dimensions."""
    for x in (torch.randn(4, 6).t(), torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)):
        op = _gate()
        from softknee.nn.pointwise import Call

        y = op(x, x, Call())
        assert y.stride() == x.stride()
        ((_, _, layout, *_),) = op.kernels
        assert set(layout.moves) == {None}
        torch.testing.assert_close(y, x * torch.sigmoid(x))


def test_64_bit_indices_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from softknee.nn.pointwise import Call

    a, b = torch.randn(3, 5, 300), torch.randn(5, 1)
    before = _gate()(a, b, Call())
    monkeypatch.setattr(gpu, "_MANY", 0)
    op = _gate()
    torch.testing.assert_close(op(a, b, Call()), before, rtol=0, atol=0)
    assert all(key[2].wide for key in op.kernels)


def test_every_element_belongs_to_one_slot_whatever_the_size() -> None:
    """Partial sums: the same total for sizes around a tile and a slot; nothing beyond the end is counted, though the
    gradient of a sum, one number for all, is there, too."""
    from softknee.lang import symbol
    from softknee.nn.pointwise import Call, Pointwise

    for rows, columns in ((1, 1), (1, 1023), (300, 3)):
        a, b = torch.ones(rows, columns, requires_grad=True), torch.zeros(columns, requires_grad=True)
        Pointwise.of(symbol("a") + 2 * symbol("b"), ("a", "b"), inputs=("a", "b"))(
            a, b, Call()
        ).sum().backward()
        assert torch.equal(b.grad, torch.full_like(b, 2 * rows))


# Without a GPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_asking_for_a_gpu_where_there_is_none_is_a_clear_error() -> None:
    with pytest.raises(RuntimeError, match="torch finds no GPU"):
        gpu.require()
    assert not gpu.usable((torch.empty(1, device="meta"),))


def test_the_launcher_is_asked_once_for_each_kind_of_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later calls go to what it compiled; another alignment or size is another kind."""
    asked, launched = [], []

    class Ready:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *arguments: launched.append((grid, arguments[-1]))

    class Function:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *arguments, **options: (asked.append(arguments[-1]), Ready())[1]

    kernel = object.__new__(gpu._Compiled)
    kernel.function, kernel.contents, kernel._tables, kernel._made = Function(), [], {}, {}
    x = torch.zeros(4096)
    ready = {}
    for size in (1024, 2048, 1024, 1000, 1, 1 << 31):
        geometry = gpu._Geometry(gpu.Layout((None,)), (size,), 1, ())
        ready.setdefault(size, gpu._Launch(kernel, geometry))([x], ())
    ready[1024]([x[1:]], ())
    ready[1024]([x, x[1:]], ())
    ready[1024]([x[1:], x], ())
    assert asked == [1024, 1000, 1, 1 << 31, 1024, 1024, 1024]
    assert launched == [((1, 1, 1), 2048), ((1, 1, 1), 1024)]

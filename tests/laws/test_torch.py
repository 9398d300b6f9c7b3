"""What torch does with functions and modules: a sample of activations under everything it has.

Laws that are cheap (transforms, layouts, modules) run over the whole catalogue elsewhere; here are those
that take a compiler, a process, or many shapes.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
import warnings
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.laws.common import assert_none, cases, every
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import softknee as sk
from softknee import functional as F
from softknee import nn
from softknee.testing import mechanics

#: piecewise linear, smooth, oscillating, learnable, with parameters, with a jump
SAMPLE = ("relu", "hardswish", "gelu", "mish", "snake", "swish", "prelu", "srelu", "softshrink", "threshold")
COMPILED = ("gelu", "prelu", "hardtanh", "mish")
sample = pytest.mark.parametrize("name", SAMPLE)


def case_of(name: str) -> Any:
    return cases(sk.get(name).definition)[0]


@every
def test_layouts(definition: Any) -> None:
    assert_none(mechanics.strides(cases(definition)[0]))


# Shapes and strides, drawn


@st.composite
def tensors(draw: Any) -> Tensor:
    """A tensor of up to four dimensions: permuted, sliced with steps, expanded or shifted in memory."""
    shape = draw(st.lists(st.integers(0, 6), max_size=4))
    steps = [draw(st.integers(1, 3)) for _ in shape]
    offset = draw(st.integers(0, 3))
    order = draw(st.permutations(range(len(shape))))
    expanded = draw(st.sets(st.sampled_from(range(len(shape))), max_size=2)) if shape else set()
    base = [1 if d in expanded else s * k for d, (s, k) in enumerate(zip(shape, steps, strict=True))]
    size = 1
    for s in base:
        size *= s
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randn(size + offset, generator=generator)[offset:].reshape(base) * 3
    x = x[tuple(slice(None, None, 1 if d in expanded else k) for d, k in enumerate(steps))]
    return x.expand(shape).permute(*order) if shape else x


@sample
@given(x=tensors())
@settings(max_examples=20)
def test_any_shape_and_stride(name: str, x: Tensor) -> None:
    case = case_of(name)
    plain = x.clone(memory_format=torch.contiguous_format).flatten()
    assert torch.equal(case(x), case(plain).reshape(x.shape))
    leaf, flat = x.detach().requires_grad_(), plain.requires_grad_()
    weights = torch.rand_like(plain)
    y = case(leaf)
    if y.requires_grad:
        (g,) = torch.autograd.grad(y, leaf, weights.reshape(x.shape))
        (w,) = torch.autograd.grad(case(flat), flat, weights)
        assert torch.equal(g, w.reshape(x.shape))


@sample
@pytest.mark.parametrize(
    "size", [0, 1, 7, 8, 15, 16, 17, 31, 33, 63, 65, 127, 129, 511, 513, 4095, 4097, 40_000]
)
def test_sizes_around_vectors_and_chunks(name: str, size: int) -> None:
    case = case_of(name)
    x = torch.linspace(-4, 4, 40_000)
    assert torch.equal(case(x[:size].clone()), case(x)[:size])


@given(
    channels=st.integers(1, 5),
    batch=st.integers(0, 4),
    rest=st.lists(st.integers(1, 5), max_size=3),
    last=st.booleans(),
)
def test_parameters_broadcast(channels: int, batch: int, rest: list[int], last: bool) -> None:
    """A weight a channel, in any shape and layout: value and both gradients as torch's prelu."""
    x = torch.randn(batch, channels, *rest)
    if last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.rand(channels) if x.numel() else torch.full((channels,), 0.3)
    a, v = x.clone().requires_grad_(), weight.clone().requires_grad_()
    b, w = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y, z = F.prelu(a, v), torch.nn.functional.prelu(b, w)
    assert torch.equal(y, z)
    ours, theirs = torch.autograd.grad((y * y).sum(), (a, v)), torch.autograd.grad((z * z).sum(), (b, w))
    assert torch.allclose(ours[0], theirs[0])
    assert torch.allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-6)


@sample
def test_the_number_of_threads_changes_nothing(name: str) -> None:
    case = case_of(name)
    x = torch.randn(64, 3, 400, generator=torch.Generator().manual_seed(1))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            ts = {
                n: torch.full((3,), float(case.values[n]), requires_grad=True) for n in sorted(case.tensors)
            }
            y = case.call(leaf, ts)
            results.append([y.detach(), *torch.autograd.grad((y * y).sum(), [leaf, *ts.values()])])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(p, q) for p, q in zip(results[0], other, strict=True))


# Compilers and tracers


@pytest.mark.inductor
@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compile(name: str) -> None:
    assert_none(mechanics.compiled(case_of(name)))


#: torch's own, while it compiles
quiet = pytest.mark.filterwarnings("ignore")


@pytest.mark.inductor
@quiet
@pytest.mark.slow
def test_compile_uses_our_derivatives() -> None:
    """torch's own gradients of tanh and sigmoid are exactly 0 at 10 and 17."""
    torch._dynamo.reset()
    x = torch.tensor([10.0, 17.0], requires_grad=True)

    @torch.compile(fullgraph=True)
    def step(x: Tensor) -> Tensor:
        return torch.stack([F.tanh(x[0]), F.sigmoid(x[1])])

    (g,) = torch.autograd.grad(step(x).sum(), x)
    assert g.tolist() == pytest.approx([8.2446145e-09, 4.1399377e-08], rel=1e-4)


@pytest.mark.inductor
@quiet
@pytest.mark.slow
def test_a_compiled_training_step() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.PReLU(16), nn.Linear(16, 16), nn.Mish(), nn.Linear(16, 2))
    other = copy.deepcopy(model)
    x, y = torch.randn(5, 8), torch.tensor([0, 1, 0, 1, 1])
    F.cross_entropy(torch.compile(model, fullgraph=True)(x), y).backward()
    F.cross_entropy(other(x), y).backward()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, rtol=1e-4, atol=1e-6)


@sample
def test_export_and_tracers(name: str) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    case = case_of(name)
    module = getattr(nn, case.definition.module)
    given = {p.name: float(case.values[p.name]) for p in case.definition.parameters if p.default is None}
    module = module(**given).eval()
    x = torch.randn(3, 4)
    want = module(x)
    assert torch.allclose(torch.export.export(module, (x,)).module()(x), want, rtol=1e-5, atol=1e-6)
    assert torch.allclose(make_fx(case)(x)(x), case(x), rtol=1e-5, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, (x,))
    assert torch.allclose(traced(x + 1), module(x + 1), rtol=1e-5, atol=1e-6)


@sample
def test_fx_symbolic_trace(name: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), getattr(nn, sk.get(name).definition.module)(
        **{p.name: 0.5 for p in sk.get(name).parameters if p.default is None}))  # fmt: skip
    x = torch.randn(2, 3)
    assert torch.allclose(torch.fx.symbolic_trace(model)(x), model(x), rtol=1e-5, atol=1e-6)


@sample
def test_fake_and_meta_tensors(name: str) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    case = case_of(name)
    with FakeTensorMode():
        y = case(torch.empty(3, 4, dtype=torch.bfloat16))
        assert y.shape == (3, 4)
        assert y.dtype is torch.bfloat16
    if not case.tensors:
        assert case(torch.empty(2, 5, device="meta")).shape == (2, 5)
        assert case(torch.empty(2, 5, device="meta")).device.type == "meta"


# Autograd's own features


@sample
def test_checkpoint(name: str) -> None:
    case = case_of(name)
    x = torch.randn(6)
    want = _gradient(case, x)
    for reentrant in (True, False):
        leaf = x.clone().requires_grad_()
        y = checkpoint(case, leaf, use_reentrant=reentrant)
        (g,) = torch.autograd.grad(y.sum(), leaf) if not reentrant else (_backward(y, leaf),)
        assert torch.equal(g, want)


def _gradient(case: Any, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(case(leaf).sum(), leaf)[0]


def _backward(y: Tensor, leaf: Tensor) -> Tensor:
    y.sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@sample
def test_saved_tensor_hooks(name: str) -> None:
    case = case_of(name)
    x = torch.randn(6)
    packed: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: packed.append(t) or t.numpy().copy(), torch.from_numpy
    ):
        leaf = x.clone().requires_grad_()
        y = case(leaf)
    assert packed
    assert torch.equal(torch.autograd.grad(y.sum(), leaf)[0], _gradient(case, x))


@sample
def test_a_changed_input_is_noticed(name: str) -> None:
    case = case_of(name)
    x = torch.randn(6, requires_grad=True)
    inner = x * 1
    expected = _gradient(case, inner.detach())
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        kept = case(inner)
    if all(t.dtype is torch.uint8 for t in saved):  # codes of the slope: the input may change
        inner.add_(1)
        kept.sum().backward()
        assert torch.allclose(x.grad, expected)
        return
    y = case(inner)
    inner.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@sample
def test_batched_gradients(name: str) -> None:
    case = case_of(name)
    x = torch.randn(4, dtype=torch.float64).requires_grad_()
    y = case(x)
    (g,) = torch.autograd.grad(y, x, torch.eye(4, dtype=torch.float64), is_grads_batched=True)
    assert torch.allclose(g, torch.diag(_gradient(case, x.detach())))


@sample
def test_forward_mode_and_forward_over_reverse(name: str) -> None:
    from torch.autograd import forward_ad

    case = case_of(name)
    x = mechanics.away_from_kinks(case)
    with forward_ad.dual_level():
        primal, tangent = forward_ad.unpack_dual(case(forward_ad.make_dual(x, torch.ones_like(x) * 2)))
    assert torch.equal(primal, case(x))
    assert torch.allclose(tangent, 2 * _gradient(case, x))
    mixed = torch.func.jvp(torch.func.grad(lambda v: case(v).sum()), (x,), (torch.ones_like(x),))[1]
    second = torch.func.jacrev(torch.func.grad(lambda v: case(v).sum()))(x).diagonal()
    assert torch.allclose(mixed, second)


@sample
def test_inference_mode_and_no_grad(name: str) -> None:
    case = case_of(name)
    x = torch.randn(5, requires_grad=True)
    with torch.inference_mode():
        y = case(x)
        assert y.is_inference()
    with torch.no_grad():
        assert not case(x).requires_grad
    assert torch.equal(y.clone(), case(x).detach())


@sample
def test_autocast(name: str) -> None:
    definition = sk.get(name).definition
    module = getattr(nn, definition.module)(
        **{p.name: 0.5 for p in definition.parameters if p.default is None}
    )
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(torch.randn(2, 4))
    y.float().sum().backward()
    assert torch.isfinite(y).all()
    assert model[0].weight.grad.dtype is torch.float32


class Tagged(Tensor):
    """A subclass that sees every operation."""

    seen: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen.append(getattr(func, "__name__", "?"))
        return super().__torch_function__(func, types, args, kwargs or {})


@sample
def test_subclasses(name: str) -> None:
    case = case_of(name)
    x = torch.randn(5)
    y = case(x.as_subclass(Tagged))
    assert isinstance(y, Tagged)
    assert torch.allclose(y.as_subclass(Tensor), case(x), rtol=1e-5, atol=1e-6)


def test_functional_call() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), nn.PReLU())
    parameters = {n: torch.full_like(p, 0.5) for n, p in model.named_parameters()}
    x = torch.randn(4, 3)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(model, parameters, (x,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for k in range(4):
        one = torch.func.grad(loss)(parameters, x[k])
        assert all(torch.allclose(each[n][k], one[n], rtol=1e-5, atol=1e-6) for n in one)


# Threads and processes


def _work(x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = F.mish(leaf)
    return y.detach(), torch.autograd.grad(y.sum(), leaf)[0]


def test_python_threads() -> None:
    x = torch.randn(50_000)
    want, results = _work(x), []
    threads = [
        threading.Thread(target=lambda: results.append([_work(x) for _ in range(5)])) for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    assert all(torch.equal(a, b) for run in results for got in run for a, b in zip(got, want, strict=True))


def _child(send: Any) -> None:
    value, slope = _work(torch.linspace(-3, 3, 20_000))
    send.send_bytes(pickle.dumps((value[::1000].tolist(), slope[::1000].tolist())))
    send.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes(method: str) -> None:
    """Also after the pool of threads has been used: a forked child has none of its threads. The size is
    one at which we use threads and torch's own operations, which hang in such a child, do not."""
    value, slope = _work(torch.linspace(-3, 3, 20_000))
    context = multiprocessing.get_context(method)
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(send,))
    process.start()
    send.close()
    assert receive.poll(60), "the child hangs"
    assert pickle.loads(receive.recv_bytes()) == (value[::1000].tolist(), slope[::1000].tolist())
    process.join(20)
    assert process.exitcode == 0


class Activated(torch.utils.data.Dataset[Tensor]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        return F.gelu(torch.full((20_000,), index - 4.0))


def test_data_loader_workers() -> None:
    F.gelu(torch.randn(100_000))  # the parent's pool is in use before the workers start
    batches = list(torch.utils.data.DataLoader(Activated(), batch_size=4, num_workers=2))
    got = torch.cat(batches)[:, 0]
    assert torch.equal(got, F.gelu(torch.arange(8) - 4.0))


@sample
def test_deepcopy_and_pickle_of_functions(name: str) -> None:
    activation = sk.get(name)
    assert copy.deepcopy(activation) == activation
    assert pickle.loads(pickle.dumps(activation)) == activation


def test_in_place_where_torch_refuses() -> None:
    x = torch.randn(4, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        F.relu(x, inplace=True)
    expanded = torch.randn(1).expand(4)
    with pytest.raises(RuntimeError):
        F.elu(expanded, inplace=True)

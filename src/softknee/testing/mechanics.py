"""What torch asks of every function, whatever its values: shapes, strides, transforms, modules."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from softknee import catalogue
from softknee.nn.classes import module_of
from softknee.nn.functional import function_of
from softknee.testing.cases import Case
from softknee.testing.laws import Failure

__all__ = [
    "away_from_kinks", "compiled", "dtypes", "gradients", "in_place", "modules", "parameter_gradients", "strides",
    "transforms",
]  # fmt: skip


def away_from_kinks(case: Case, count: int = 11, span: float = 3.0) -> Tensor:
    """Points in [-span, span], each at least 1e-3 from every kink, where finite differences hold."""
    x = torch.linspace(-span, span, count, dtype=torch.float64) + 0.0137
    for kink in case.kinks:
        close = (x - kink).abs() < 1e-2
        x = torch.where(close, kink + 0.02, x)
    return x


def _tensors(
    case: Case, dtype: torch.dtype, shape: tuple[int, ...] = (), grad: bool = False
) -> dict[str, Tensor]:
    return {
        n: torch.full(shape, float(case.values[n]), dtype=dtype, requires_grad=grad)
        for n in sorted(case.tensors)
    }


def _normal(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The same numbers on every device: drawn on the CPU, for the default one"""
    drawn = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=dtype, device="cpu")
    return drawn.to(torch.get_default_device())


def _failure(law: str, case: Case, error: object) -> list[Failure]:
    return [Failure(law, str(case), " ".join(str(error).split())[:300])]


def gradients(case: Case, second: bool = True) -> list[Failure]:
    """torch's gradcheck and gradgradcheck, with respect to the input and to tensor parameters."""
    x = away_from_kinks(case).requires_grad_()
    tensors = {n: t.detach().clone().requires_grad_() for n, t in _apart(case).items()}
    names = list(tensors)

    def f(x: Tensor, *values: Tensor) -> Any:
        return case.call(x, dict(zip(names, values, strict=True)))

    failures = []
    inputs = (x, *tensors.values())
    try:
        torch.autograd.gradcheck(f, inputs, check_forward_ad=True, check_batched_grad=True)
    except (RuntimeError, AssertionError, ValueError) as error:
        failures += _failure("gradcheck", case, error)
    if second and f(*inputs).grad_fn is not None:
        try:
            torch.autograd.gradgradcheck(f, inputs, check_fwd_over_rev=True)
        except (RuntimeError, AssertionError, ValueError) as error:
            failures += _failure("gradgradcheck", case, error)
    return failures


def _apart(case: Case) -> dict[str, Tensor]:
    """Tensor parameters a little off their special values, so that no place of a kink meets a point."""
    return {n: t + 0.003 * (k + 1) for k, (n, t) in enumerate(_tensors(case, torch.float64).items())}


def parameter_gradients(case: Case) -> list[Failure]:
    """Gradients of tensor parameters, one for all, one a channel and one an element, are the sums of the
    derivative over what each belongs to, as the formula in torch operations gives them."""
    from softknee.lang.evaluate import compiled as formula

    failures = []
    names = sorted(case.tensors)
    x = (_normal((4, 3, 5), 7, torch.float64) * 2 + 0.013).requires_grad_()
    reference = formula((case.definition.chosen(case.choices),), ("x", *case.values), "torch")
    weights = _normal((4, 3, 5), 8, torch.float64)
    for shape, broadcast in (
        ((), ()),
        ((1,), (1,)),
        ((3,), (3, 1)),
        ((4, 3, 5), (4, 3, 5)),
        ((3, 1), (3, 1)),
    ):
        start = _apart(case)
        spread = torch.linspace(0, 0.05, max(1, torch.Size(shape).numel()), dtype=torch.float64).reshape(
            shape
        )
        ours = {n: (start[n] + spread).requires_grad_() for n in names}
        theirs = {n: (start[n] + spread).requires_grad_() for n in names}
        y = case.call(x, ours)
        others = {
            n: theirs[n].reshape(broadcast) if n in theirs else torch.tensor(float(v), dtype=torch.float64)
            for n, v in case.values.items()
        }
        right = reference(x, *others.values())[0]
        got = torch.autograd.grad(y, [x, *ours.values()], weights, allow_unused=True)
        want = torch.autograd.grad(right, [x, *theirs.values()], weights, allow_unused=True)
        for name, g, w in zip(("x", *names), got, want, strict=True):
            g = torch.zeros(()) if g is None else g
            w = torch.zeros_like(g) if w is None else w
            if g.shape != w.shape or not torch.allclose(g, w, rtol=1e-9, atol=1e-11):
                failures += _failure(
                    "parameter gradients",
                    case,
                    f"gradient of {name} with parameters of shape {shape}: got {g.flatten()[:3].tolist()}, expected {w.flatten()[:3].tolist()}",
                )
    return failures


def _both(case: Case, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.detach()
    leaf.requires_grad_()
    y = case(leaf)
    weights = torch.linspace(-1, 2, max(x.numel(), 1), dtype=x.dtype)[: x.numel()].reshape(x.shape)
    if not y.requires_grad:
        return y, torch.zeros_like(x)
    return y.detach(), torch.autograd.grad(y, leaf, weights, materialize_grads=True)[0]


def _same(a: Tensor, b: Tensor) -> bool:
    return (
        a.shape == b.shape
        and a.dtype == b.dtype
        and torch.equal(a.nan_to_num(12345.0), b.nan_to_num(12345.0))
    )


def arrangements(x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The same kind of data, arranged in memory in every way torch has; x: 4-dimensional."""
    return {
        "contiguous": lambda: x,
        "transposed": lambda: x.transpose(0, 3),
        "channels_last": lambda: x.contiguous(memory_format=torch.channels_last),
        "every second": lambda: x[..., ::2],
        "offset": lambda: x.flatten()[1:],
        "expanded": lambda: x[:1].expand(3, *x.shape[1:]),
        "0-dimensional": lambda: x.flatten()[0],
        "empty": lambda: x[:0],
        "one element": lambda: x.flatten()[:1],
    }


def strides(case: Case, dtype: torch.dtype = torch.float32) -> list[Failure]:
    """Memory layout does not change a bit of the value or of the gradient."""
    failures = []
    base = _normal((3, 5, 4, 7), 3).mul(2).to(dtype)
    for name, make in arrangements(base).items():
        x = make()
        y, g = _both(case, x)
        flat = x.contiguous().flatten().clone()
        right = case(flat).reshape(x.shape)
        if y.shape != x.shape or not _same(y, right):
            failures += _failure("strides", case, f"the value of a tensor that is {name}")
        _, slope = _both(case, x.contiguous().clone())
        if not _same(g, slope):
            failures += _failure("strides", case, f"the gradient of a tensor that is {name}")
        if name == "channels_last" and y.stride() != x.stride():
            failures += _failure("strides", case, "channels_last is not kept")
    return failures


def dtypes(
    case: Case, names: tuple[str, ...] = ("float32", "float64", "bfloat16", "float16")
) -> list[Failure]:
    """The result and the gradient have the type of the input."""
    failures = []
    for name in names:
        dtype = getattr(torch, name)
        y, g = _both(case, torch.linspace(-2, 2, 9, dtype=dtype))
        if y.dtype != dtype or g.dtype != dtype:
            failures += _failure("dtypes", case, f"{name} in, {y.dtype} out, gradient {g.dtype}")
    return failures


def transforms(case: Case) -> list[Failure]:
    """torch.func: vmap, grad, jvp, jacrev, jacfwd and hessian agree with plain autograd."""
    failures = []
    x = away_from_kinks(case, 7)
    y, _ = _both(case, x)
    leaf = x.clone().requires_grad_()
    out = case(leaf)
    slope = (
        torch.autograd.grad(out.sum(), leaf, materialize_grads=True)[0]
        if out.requires_grad
        else torch.zeros_like(x)
    )
    func = torch.func
    total: Callable[[Tensor], Tensor] = lambda v: case(v).sum()  # noqa: E731

    def close(law: str, got: Tensor, want: Tensor) -> None:
        if got.shape != want.shape or not torch.allclose(got, want, rtol=1e-12, atol=1e-14):
            failures.extend(_failure("transforms", case, f"{law} differs from autograd"))

    tries: list[tuple[str, Callable[[], Tensor], Tensor]] = [
        ("vmap", lambda: func.vmap(case)(x), y),
        (
            "vmap over the last dimension",
            lambda: func.vmap(case, in_dims=1, out_dims=1)(x.repeat(2, 1)),
            y.repeat(2, 1),
        ),
        ("grad", lambda: func.grad(total)(x), slope),
        ("vmap(grad)", lambda: func.vmap(func.grad(case))(x), slope),
        ("jvp", lambda: func.jvp(case, (x,), (torch.ones_like(x),))[1], slope),
        ("jacrev", lambda: func.jacrev(case)(x), torch.diag(slope)),
        ("jacfwd", lambda: func.jacfwd(case)(x), torch.diag(slope)),
        ("hessian", lambda: func.hessian(total)(x), func.jacrev(func.jacrev(total))(x)),
    ]
    for law, run, want in tries:
        try:
            close(law, run(), want)
        except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError) as error:
            failures += _failure("transforms", case, f"{law}: {error}")
    return failures


def in_place(case: Case) -> list[Failure]:
    """inplace=True writes the same values over the input, and its gradient is the same."""
    if not case.definition.inplace:
        return []
    function = function_of(case.definition)
    given = {n: float(v) for n, v in case.values.items()} | dict(case.choices)
    given = {n: v for n, v in given.items() if _spelled(case, n) is None}
    failures = []
    x = away_from_kinks(case).float()
    target, version = x.clone(), x._version
    result = function(target, **given, inplace=True)
    if result is not target or not _same(target, function(x, **given)):
        failures += _failure("in place", case, "the values differ, or are not written over the input")
    if target._version == version:
        failures += _failure("in place", case, "the version counter stays as it was")
    leaf = x.clone().requires_grad_()
    try:
        inner = leaf * 1
        function(inner, **given, inplace=True)
        got = torch.autograd.grad(inner.sum(), leaf)[0]
        want = torch.autograd.grad(function(leaf, **given).sum(), leaf)[0]
        if not _same(got, want):
            failures += _failure("in place", case, "the gradient differs")
    except RuntimeError as error:
        if "in place" not in str(error) and "inplace" not in str(error):
            failures += _failure("in place", case, error)
    return failures


def _spelled(case: Case, name: str) -> Any:
    """A value that the signature spells in its own way, where the parameter is at its default."""
    found = [p for p in case.definition.parameters if p.name == name and p.spelled is not None]
    return found[0].spelled if found and found[0].default == case.values[name] else None


def modules(case: Case) -> list[Failure]:
    """The module computes the function; it survives deepcopy, pickle, torch.save and its state_dict."""
    definition = case.definition
    made = module_of(definition)
    given = {p.name: float(case.values[p.name]) for p in definition.parameters if p.default is None} | dict(
        case.choices
    )
    failures: list[Failure] = []
    module = made(**given).eval()
    x = _normal((2, 3, 4), 5)
    y = module(x)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    loaded = made(**given).eval()
    for p in loaded.parameters():
        torch.nn.init.constant_(p, 0.123)
    loaded.load_state_dict(torch.load(buffer))
    for name, other in (("deepcopy", copy.deepcopy(module)), ("state_dict", loaded)):
        if not _same(other(x), y):
            failures += _failure("modules", case, f"{name} changes the value")
    if definition.name in catalogue.names():  # else its class has no name that could be looked up
        try:
            if not _same(pickle.loads(pickle.dumps(module))(x), y):
                failures += _failure("modules", case, "pickle changes the value")
        except (pickle.PicklingError, AttributeError) as error:
            failures += _failure("modules", case, f"pickle: {error}")
    if sorted(module.state_dict()) != sorted(p.name for p in definition.learnable):
        failures += _failure("modules", case, f"its state_dict has the keys {sorted(module.state_dict())}")
    if not repr(module).startswith(made.__name__ + "("):
        failures += _failure("modules", case, f"its repr is {module!r}")
    return failures


def compiled(case: Case) -> list[Failure]:
    """torch.compile(fullgraph=True): the same value and gradient, in the tails too."""
    failures: list[Failure] = []
    x = torch.cat([away_from_kinks(case, 9).float(), torch.tensor([10.0, -10.0, 17.0, -17.0, 30.0, -30.0])])
    torch._dynamo.reset()
    function = function_of(case.definition)
    given = {
        n: float(v) for n, v in case.values.items() if n not in case.tensors and _spelled(case, n) is None
    }
    given |= dict(case.choices)

    def call(x: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        return function(x, **given, **tensors)

    tensors = _tensors(case, torch.float32)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        y = torch.compile(call, fullgraph=True)(ours, tensors)
    want = call(theirs, tensors)
    if not torch.allclose(y, want, rtol=1e-5, atol=1e-12):
        failures += _failure("compile", case, "the value differs")
    if want.requires_grad:
        g = torch.autograd.grad(y.sum(), ours, materialize_grads=True)[0]
        w = torch.autograd.grad(want.sum(), theirs, materialize_grads=True)[0]
        if not torch.allclose(g, w, rtol=1e-4, atol=1e-12):
            failures += _failure(
                "compile", case, f"the gradient differs: {g.tolist()}, expected {w.tolist()}"
            )
    return failures

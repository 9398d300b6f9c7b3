"""The softmax family: from scores to weights that are at least 0 and sum to 1 (softmax1: to less than 1).

softmax and log_softmax are torch's own kernels, which run at the speed of memory, and softmax1 is torch's
softmax with one more score; what is added is masks and rows without an entry. The sparse members (Peters, Niculae and Martins 2019) are one function,
entmax: with z = x - max x and e = alpha - 1, the weights are p = (1 + e (z - t))^(1/e) where that base is
positive, else 0; t makes them sum to 1. e = 0 is softmax, e = 1 sparsemax. t is found by Newton's method
within a bracket, not by sorting: every step is a pass over the data, and a few steps are enough. For e = 1
and e = 1/2 on the CPU a kernel does that row by row (`kernels.rows`); else it is torch's operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from softknee.kernels import rows
from softknee.nn import launch

__all__ = [
    "Entmax", "Entmax15", "GumbelSoftmax", "LogSoftmax", "Softmax", "Softmax1", "Softmax2d", "Softmin",
    "Sparsemax", "entmax", "entmax15", "gumbel_softmax", "log_softmax", "softmax", "softmax1", "softmax2d",
    "softmin", "sparsemax",
]  # fmt: skip

_NARROW = (torch.float16, torch.bfloat16)
_INF = float("inf")


def _overridable(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Tracers and tensor subclasses see the function itself, as they do torch's."""

    @wraps(function)
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if has_torch_function_unary(input):
            return handle_torch_function(call, (input,), input, *args, **kwargs)  # type: ignore[no-any-return]
        return function(input, *args, **kwargs)

    call.__module__ = "softknee.functional"
    return call


# Masks, and rows without an entry


def _checked(name: str, x: Tensor, dim: int) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} takes a tensor, got {type(x).__name__}: {x!r:.60}")
    if not x.is_floating_point():
        raise TypeError(
            f"{name} is not defined for {x.dtype} tensors; convert the input, e.g. with x.float()"
        )
    if not -max(x.dim(), 1) <= dim < max(x.dim(), 1):
        raise IndexError(f"{name}: there is no dimension {dim} in an input of shape {tuple(x.shape)}")


def _masked(name: str, x: Tensor, mask: Tensor | None) -> Tensor:
    """Minus infinity where the mask is False."""
    if mask is None:
        return x
    if not isinstance(mask, Tensor) or mask.dtype is not torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"{name}: a mask is a tensor of bool, True where an entry takes part; got {kind}")
    try:
        fits = mask.shape == x.shape or launch.broadcast_shapes(mask.shape, x.shape) == x.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: a mask of shape {tuple(mask.shape)} does not broadcast to the input's shape {tuple(x.shape)}"
        )
    return torch.where(mask, x, -_INF)


def _filled(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Rows of nothing but minus infinity filled with zeros, and which they are."""
    empty = (x == -_INF).all(dim, keepdim=True)
    return x.masked_fill(empty, 0), empty


def _dimension(name: str, x: Tensor, stacklevel: int) -> int:
    """torch's rule for calls without dim, and its warning."""
    return torch.nn.functional._get_softmax_dim(name, x.dim(), stacklevel + 2)  # type: ignore[no-any-return]


# softmax and its relatives


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None, *,
    mask: Tensor | None = None, zero_rows: bool = False,
) -> Tensor:  # fmt: skip
    """e^x / sum e^x along dim, as torch has it.

    Args:
        input: scores
        dim: the dimension that sums to 1
        dtype: the type to compute in and return
        mask: True where an entry takes part; broadcasts to the input
        zero_rows: a row in which no entry takes part (all are masked, or minus infinity) gives zeros
            and a gradient of zeros, instead of NaN
    """
    if dim is not None and dtype is None and mask is None and not zero_rows and type(input) is Tensor:
        return torch.softmax(input, dim)  # on a few scores every question takes as long as the answer
    if has_torch_function_unary(input):
        return handle_torch_function(  # type: ignore[no-any-return]
            softmax, (input,), input, dim, _stacklevel, dtype, mask=mask, zero_rows=zero_rows
        )
    if dim is None:
        dim = _dimension("softmax", input, _stacklevel)
    x = input if mask is None else _masked("softmax", input, mask)
    if not zero_rows:
        return torch.softmax(x, dim, dtype)
    x, empty = _filled(x, dim)
    return torch.softmax(x, dim, dtype).masked_fill(empty, 0)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None, *,
    mask: Tensor | None = None, zero_rows: bool = False,
) -> Tensor:  # fmt: skip
    """The logarithm of softmax, whose arguments see. With zero_rows a row in which no entry takes part
    is minus infinity, instead of NaN."""
    if dim is not None and dtype is None and mask is None and not zero_rows and type(input) is Tensor:
        return torch.log_softmax(input, dim)  # on a few scores every question takes as long as the answer
    if has_torch_function_unary(input):
        return handle_torch_function(  # type: ignore[no-any-return]
            log_softmax, (input,), input, dim, _stacklevel, dtype, mask=mask, zero_rows=zero_rows
        )
    if dim is None:
        dim = _dimension("log_softmax", input, _stacklevel)
    x = input if mask is None else _masked("log_softmax", input, mask)
    if not zero_rows:
        return torch.log_softmax(x, dim, dtype)
    x, empty = _filled(x, dim)
    return torch.log_softmax(x, dim, dtype).masked_fill(empty, -_INF)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None, *,
    mask: Tensor | None = None, zero_rows: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(-x), whose arguments see. Entries of plus infinity take no part."""
    if dim is not None and dtype is None and mask is None and not zero_rows and type(input) is Tensor:
        return torch.softmax(-input, dim)  # on a few scores every question takes as long as the answer
    if has_torch_function_unary(input):
        return handle_torch_function(  # type: ignore[no-any-return]
            softmin, (input,), input, dim, _stacklevel, dtype, mask=mask, zero_rows=zero_rows
        )
    if dim is None:
        dim = _dimension("softmin", input, _stacklevel)
    x = -input if mask is None else _masked("softmin", -input, mask)
    return softmax(x, dim, dtype=dtype, zero_rows=zero_rows)


@_overridable
def softmax2d(input: Tensor, *, mask: Tensor | None = None, zero_rows: bool = False) -> Tensor:
    """softmax over the channels of images, (N, C, H, W) or (C, H, W), at every place."""
    if input.dim() not in (3, 4):
        raise ValueError(
            f"softmax2d takes (N, C, H, W) or (C, H, W), got an input of shape {tuple(input.shape)}"
        )
    return softmax(_masked("softmax2d", input, mask), -3, zero_rows=zero_rows)


@_overridable
def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1, *,
    mask: Tensor | None = None, zero_rows: bool = False,
) -> Tensor:  # fmt: skip
    """softmax((logits + noise) / tau), the noise drawn from the Gumbel distribution: a differentiable draw
    of one of the entries (Jang, Gu and Poole 2016; Maddison, Mnih and Teh 2016). The same draws as torch's
    under the same seed.

    Args:
        logits: unnormalised logarithms of probabilities
        tau: the temperature, above 0; the nearer to 0, the nearer to one entry of 1
        hard: exactly one entry of 1, with the gradient of the soft result
        eps: not used, as in torch
        dim: the dimension that sums to 1
        mask: as softmax has it
        zero_rows: as softmax has it
    """
    _checked("gumbel_softmax", logits, dim)
    if not isinstance(tau, (int, float, Tensor)):
        raise TypeError(f"gumbel_softmax: tau is a number or a tensor, got {tau!r:.60}")
    if not isinstance(tau, Tensor) and not tau > 0:
        raise ValueError(f"gumbel_softmax: needs tau > 0, got {tau!r}; for exact draws use hard=True")
    wide = logits.float() if logits.dtype in _NARROW else logits
    if torch._C._are_functorch_transforms_active():  # rand_like knows vmap's kinds of randomness
        drawn = (-torch.log1p(-torch.rand_like(wide))).clamp_min(torch.finfo(wide.dtype).tiny)
    else:
        drawn = torch.empty_like(wide, memory_format=torch.legacy_contiguous_format).exponential_()
    x = _masked("gumbel_softmax", (wide - drawn.log()) / tau, mask)
    soft = softmax(x, dim, zero_rows=zero_rows)
    if hard:
        first = torch.zeros_like(soft).scatter(dim, soft.argmax(dim, keepdim=True), 1.0)
        if zero_rows:
            first = first * (soft.detach().amax(dim, keepdim=True) > 0)
        soft = first + (soft - soft.detach())
    return soft.to(logits.dtype)


def softmax1(input: Tensor, dim: int = -1, *, mask: Tensor | None = None) -> Tensor:
    """e^x / (1 + sum e^x) along dim: softmax with one more score of 0 whose weight is dropped, so that all
    weights can be near 0 ("quiet" attention). A row in which no entry takes part gives zeros.

    Args:
        input: scores
        dim: the dimension that sums to less than 1
        mask: True where an entry takes part; broadcasts to the input
    """
    if has_torch_function_unary(input):
        return handle_torch_function(softmax1, (input,), input, dim, mask=mask)  # type: ignore[no-any-return]
    _checked("softmax1", input, dim)
    x = input if mask is None else _masked("softmax1", input, mask)
    if not x.dim():
        return softmax1(x.reshape(1), 0).reshape(())
    behind = (x.dim() - 1 - dim) % x.dim()  # dimensions
    more = torch.constant_pad_nd(x, (*(0,) * (2 * behind + 1), 1))
    return torch.softmax(more, dim).narrow(dim, 0, x.shape[dim])


for _f in (softmax, log_softmax, softmin, softmax1):
    _f.__module__ = "softknee.functional"


def _plain() -> bool:
    """Nobody traces or transforms."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def _call(usual: Any, traced: Any, *args: Any) -> Any:
    if torch.compiler.is_dynamo_compiling():  # which cannot trace a function with its own jvp or vmap
        return traced.apply(*args)
    if not _plain():
        return usual.apply(*args)
    if torch.autograd.forward_ad._current_level < 0 and not (
        torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args)
    ):
        return usual.forward(*args)
    # Function.apply asks for the signature of forward on every call; the C function does not
    return super(torch.autograd.Function, usual).apply(*args)


# The sparse members


#: from here on 1 + e t is near enough to (1 + e t)^(1/e) for a power; below, by logarithms
_POWER = 0.2


def _weights(t: Tensor, e: float | Tensor) -> Tensor:
    """p = (1 + e t)^(1/e), 0 where the base is not positive."""
    if isinstance(e, float):
        if e == 0:
            return t.exp()
        base = (e * t).clamp_min_(-1)
        return (
            (base.add_(1) if e == 1 else base.add_(1).pow_(1 / e))
            if e >= _POWER
            else (base.log1p_() / e).exp_()
        )
    t = t.clamp_min(-1e30)
    log = torch.where(e == 0, t, (e * t).clamp_min(-1).log1p() / torch.where(e == 0, 1, e))
    return log.exp()


def _threshold(z: Tensor, e: float | Tensor, dim: int) -> Tensor:
    """The t of every row at which its weights sum to 1. The largest entry of a row of z is 0; where it is minus
    infinity or NaN, t is NaN.

    Newton's method for S(t)^e = 1, S the sum of the weights: for alpha up to 2, S^e is convex and
    nearly linear, and t climbs to the root from 0. For alpha above 2 the bracket is halved.
    """
    dead = z.amax(dim, keepdim=True) != 0
    if isinstance(e, float) and e == 0:
        return torch.where(dead, math.nan, z.logsumexp(dim, keepdim=True))
    e_ = e if isinstance(e, Tensor) else z.new_tensor(e)
    lowest, highest = (float(e.min()), float(e.max())) if isinstance(e, Tensor) else (e, e)
    e_safe = torch.where(e_ == 0, 1, e_)
    count = math.log(z.shape[dim])
    t = torch.zeros_like(dead, dtype=z.dtype)
    low, high = t, torch.where(e_ == 0, count, -torch.expm1(-e_ * count) / e_safe) + t
    z = z.clamp_min(-1e30)  # times 0 it is 0
    scaled = e_ * z
    u, p = torch.empty_like(scaled), torch.empty_like(scaled)
    eps = torch.finfo(z.dtype).eps
    if highest > 1:
        for _ in range(3 - round(math.log2(eps))):
            t = (low + high) / 2
            torch.sub(scaled, e_ * t, out=u).clamp_min_(-1)
            if lowest >= _POWER:
                torch.pow(u.add_(1), 1 / e, out=p)
            else:
                torch.where(e_ == 0, z - t, torch.log1p(u) / e_safe, out=p).exp_()
            enough = p.sum(dim, keepdim=True) >= 1
            low, high = torch.where(enough, t, low), torch.where(enough, high, t)
        return torch.where(dead, math.nan, (low + high) / 2)
    # where the slope has no jumps the error is squared in a step
    tolerance = math.sqrt(eps) / 8 if highest <= 0.5 else 8 * eps
    for _ in range(100):
        torch.sub(scaled, e_ * t, out=u).clamp_min_(-1)
        if lowest >= _POWER and highest < 1:
            slope = torch.pow(u.add_(1), 1 / e - 1, out=p).sum(dim, keepdim=True)
            total = p.mul_(u).sum(dim, keepdim=True)
        else:
            if lowest >= _POWER:
                torch.pow(u.add_(1), 1 / e, out=p)
            else:
                torch.where(e_ == 0, z - t, torch.log1p(u) / e_safe, out=p).exp_()
                u.add_(1)
            total = p.sum(dim, keepdim=True)
            slope = torch.where(u > 0, p / u, 0).sum(dim, keepdim=True)
        log = total.log()
        move = torch.where(e_ == 0, log, torch.expm1(e_ * log) / e_safe) * torch.exp((1 - e_) * log) / slope
        better = (t + move).clamp(low, high).masked_fill(dead, 0)
        moved = (better - t).abs()
        t = better
        if bool((moved <= tolerance * (1 + t)).all()):
            break
    return torch.where(dead, math.nan, t)


@torch.library.custom_op("softknee::entmax_threshold", mutates_args=())
def _threshold_op(z: Tensor, e: Tensor | None, value: float, dim: int) -> Tensor:
    """`_threshold` for torch.compile and vmap, which cannot see a loop that ends when it is done."""
    return _threshold(z, value if e is None else e, dim)


@_threshold_op.register_fake
def _(z: Tensor, e: Tensor | None, value: float, dim: int) -> Tensor:
    return z.new_empty([1 if d == dim else s for d, s in enumerate(z.shape)])


@_threshold_op.register_vmap
def _(info: Any, in_dims: Any, z: Tensor, e: Tensor | None, value: float, dim: int) -> tuple[Tensor, int]:
    def first(x: Tensor, d: int | None) -> Tensor:
        return x.unsqueeze(0) if d is None else x.movedim(d, 0)

    z = first(z, in_dims[0]).expand(info.batch_size, *[-1] * (z.dim() - (in_dims[0] is not None)))
    return _threshold_op(z, None if e is None else first(e, in_dims[1]), value, dim + 1), 0


def _exponential_rest(y: Tensor) -> Tensor:
    """(e^y - 1 - y) / y^2"""
    small = y.abs() < 0.1
    far = torch.where(small, 1, y)
    near = torch.where(small, y, 0)
    series = torch.zeros_like(y)
    for k in range(11, 1, -1):
        series = (series + 1) * near / (k + 1)
    return torch.where(small, (series + 1) / 2, (torch.expm1(far) - far) / (far * far))


#: by alpha - 1
_MEMBERS: dict[float, rows.Member] = {1.0: "sparsemax", 0.5: "entmax15"}
#: a step of Newton's method after which another one would change nothing
_LAST_STEP: dict[rows.Row, float] = {"float32": 1e-7, "float64": 1e-12}


def _by_kernel(value: float, *tensors: Tensor) -> rows.Row | None:
    """The type that a kernel computes these in; None where torch's operations have to."""
    storage = launch.STORAGE.get(tensors[0].dtype)
    if (
        value in _MEMBERS
        and storage in _LAST_STEP
        and _plain()
        and tensors[0].is_cpu
        and torch.autograd.forward_ad._current_level < 0
        and launch.eligible(tensors)
        and all(t.dtype == tensors[0].dtype and not t._is_zerotensor() for t in tensors)
    ):
        return storage  # type: ignore[no-any-return]
    return None


class _Entmax(torch.autograd.Function):
    """e is None where alpha is a number, whose value - 1 is `value`; dim is not negative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, e: Tensor | None, value: float, dim: int, zero_rows: bool) -> Tensor:
        if e is None and (storage := _by_kernel(value, x)):
            filling = 0.0 if zero_rows else math.nan
            kernel = rows.forward(_MEMBERS[value], storage)
            return launch.over_rows(kernel, dim, (x,), filling, _LAST_STEP[storage])
        top = x.amax(dim, keepdim=True)
        z = x - torch.where(top == -_INF, 0, top)
        by = value if e is None else e
        t = _threshold(z, by, dim) if _plain() else _threshold_op(z, e, value, dim)
        if zero_rows:
            t = torch.where(top == -_INF, 0, t)
        p = _weights(z - t, by)
        if isinstance(by, float) and by <= 1:
            return p
        total = p.sum(dim, keepdim=True)  # above alpha = 2 the last digit of t shows in it
        return p / torch.where(total > 0, total, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _, e, ctx.value, ctx.dim, _ = inputs
        ctx.save_for_backward(output, e)
        ctx.save_for_forward(output, e)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        p, e = ctx.saved_tensors
        by_x = _Entmax.along(ctx, p, e, g) if ctx.needs_input_grad[0] else None
        by_e = (g * _by_alpha(p, e, ctx.dim)).sum_to_size(e.shape) if ctx.needs_input_grad[1] else None
        return by_x, by_e, None, None, None

    @staticmethod
    def jvp(ctx: Any, t: Tensor | None, t_e: Tensor | None, *_: Any) -> Tensor:
        p, e = ctx.saved_tensors
        result = torch.zeros_like(p) if t is None else _Entmax.along(ctx, p, e, t)
        return result if t_e is None else result + t_e * _by_alpha(p, e, ctx.dim)

    @staticmethod
    def along(ctx: Any, p: Tensor, e: Tensor | None, g: Tensor) -> Tensor:
        """The Jacobian, which is symmetric, times g: with s = p^(1 - e), it is diag(s) - s s' / sum s."""
        if e is None and not torch.is_grad_enabled() and (storage := _by_kernel(ctx.value, p, g)):
            return launch.over_rows(rows.backward(_MEMBERS[ctx.value], storage), ctx.dim, (p, g))
        inside = p != 0  # NaN is not: it goes on
        safe = torch.where(inside, p, 1)
        if e is None and ctx.value == 1:
            s = torch.where(p > 0, 1, p.detach())
        elif e is None and ctx.value == 0.5:
            s = torch.where(inside, safe.sqrt(), 0)
        elif e is None and ctx.value < 1 and not torch.is_grad_enabled():
            s = p.pow(1 - ctx.value)
        else:
            s = torch.where(inside, ((1 - (ctx.value if e is None else e)) * safe.log()).exp(), 0)
        total = s.sum(ctx.dim, keepdim=True)
        mean = (s * g).sum(ctx.dim, keepdim=True) / torch.where(total > 0, total, 1)
        return s * (g - mean)


def _by_alpha(p: Tensor, e: Tensor, dim: int) -> Tensor:
    """dp / dalpha. The formula of Correia, Niculae and Martins (2019, proposition 1) divides differences
    by (alpha - 1)^2; this one has no cancellation, and holds at alpha = 1: with L = log p and
    r = (p^-e - 1 + e L) / e^2, it is p (P - r - e (L P + H r)) / (1 + e (H + e P)), H and P the means of
    -L and r under p."""
    inside = p > 0
    log = torch.where(inside, p, 1).log()
    rest = log * log * _exponential_rest(-e * log)
    h = -(p * log).sum(dim, keepdim=True)
    mean = (p * rest).sum(dim, keepdim=True)
    return p * (mean - rest - e * (log * mean + h * rest)) / (1 + e * (h + e * mean))


class _EntmaxTraced(torch.autograd.Function):
    forward = _Entmax.forward
    setup_context = _Entmax.setup_context
    backward = _Entmax.backward


def _entmax(
    name: str, x: Tensor, alpha: float | Tensor, dim: int, mask: Tensor | None, zero_rows: bool
) -> Tensor:
    _checked(name, x, dim)
    x = _masked(name, x, mask)
    if not x.numel():
        return x * 1
    if not x.dim():
        return _entmax(name, x.reshape(1), alpha, 0, None, zero_rows).reshape(())
    wide = x.float() if x.dtype in _NARROW else x
    dim %= x.dim()
    e = None
    if isinstance(alpha, Tensor):
        e = _exponents(name, alpha, wide, dim)
        alpha = 2.0
    elif not isinstance(alpha, (int, float)):
        raise TypeError(f"{name}: alpha is a number or a tensor, got {alpha!r:.60}")
    elif not 1 <= alpha < _INF:
        raise ValueError(f"{name}: needs a finite alpha of at least 1, got {alpha!r}")
    return _call(_Entmax, _EntmaxTraced, wide, e, float(alpha) - 1, dim, zero_rows).to(x.dtype)  # type: ignore[no-any-return]


def _exponents(name: str, alpha: Tensor, x: Tensor, dim: int) -> Tensor:
    """alpha - 1, with as many dimensions as x."""
    missing = x.dim() - alpha.dim()
    shape = (1,) * missing + tuple(alpha.shape)
    if (
        missing < 0
        or any(a not in (1, s) for a, s in zip(shape, x.shape, strict=True))
        or (shape and shape[dim] != 1)
    ):
        raise ValueError(
            f"{name}: alpha is one number, or one a row: of a shape that broadcasts to the input's "
            f"{tuple(x.shape)} with size 1 in dimension {dim}; got {tuple(alpha.shape)}"
        )
    return alpha.to(x.dtype).reshape(shape) - 1


@_overridable
def sparsemax(input: Tensor, dim: int = -1, *, mask: Tensor | None = None, zero_rows: bool = False) -> Tensor:
    """The point of the simplex nearest to the scores; most weights are exactly 0 (Martins and Astudillo 2016).
    For mask and zero_rows see softmax."""
    return _entmax("sparsemax", input, 2.0, dim, mask, zero_rows)


@_overridable
def entmax15(input: Tensor, dim: int = -1, *, mask: Tensor | None = None, zero_rows: bool = False) -> Tensor:
    """entmax with alpha = 1.5: between softmax and sparsemax (Peters, Niculae and Martins 2019)."""
    return _entmax("entmax15", input, 1.5, dim, mask, zero_rows)


@_overridable
def entmax(
    input: Tensor, alpha: float | Tensor = 1.5, dim: int = -1, *, mask: Tensor | None = None,
    zero_rows: bool = False,
) -> Tensor:  # fmt: skip
    """From softmax (alpha = 1) over entmax15 to sparsemax (alpha = 2) and beyond: the larger alpha, the
    more weights are exactly 0 (Peters, Niculae and Martins 2019).

    Args:
        input: scores
        alpha: a number of at least 1, or a tensor that may be learned: one value, or one a row (of size 1 in
            dimension dim)
        dim: the dimension that sums to 1
        mask: as softmax has it
        zero_rows: as softmax has it
    """
    if isinstance(alpha, Tensor) and not torch.compiler.is_dynamo_compiling():
        _at_least_one(alpha)
    return _entmax("entmax", input, alpha, dim, mask, zero_rows)


def _at_least_one(alpha: Tensor) -> None:
    if torch._C._are_functorch_transforms_active() or alpha.is_meta:
        return
    lowest = float(alpha.detach().min())
    if not lowest >= 1:
        raise ValueError(
            f"entmax: needs an alpha of at least 1, got {lowest:g}; nn.Entmax(learnable=True) keeps it"
        )


# Modules


class _Masked:
    """What the modules of torch.nn get: masks, and zeros for rows in which no entry takes part."""

    function: Callable[..., Tensor]

    def __init__(self, dim: int | None = None, *, zero_rows: bool = False) -> None:
        super().__init__(dim)  # type: ignore[call-arg]
        self.zero_rows = zero_rows

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return type(self).function(input, self.dim, _stacklevel=5, mask=mask, zero_rows=self.zero_rows)  # type: ignore[attr-defined]


class Softmax(_Masked, torch.nn.Softmax):
    """The module of `softknee.functional.softmax`: torch's, and forward(input, mask=None)."""

    function = staticmethod(softmax)


class LogSoftmax(_Masked, torch.nn.LogSoftmax):
    """The module of `softknee.functional.log_softmax`: torch's, and forward(input, mask=None)."""

    function = staticmethod(log_softmax)


class Softmin(_Masked, torch.nn.Softmin):
    """The module of `softknee.functional.softmin`: torch's, and forward(input, mask=None)."""

    function = staticmethod(softmin)


class Softmax2d(torch.nn.Softmax2d):
    """The module of `softknee.functional.softmax2d`: torch's, and forward(input, mask=None)."""

    def __init__(self, *, zero_rows: bool = False) -> None:
        super().__init__()
        self.zero_rows = zero_rows

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return softmax2d(input, mask=mask, zero_rows=self.zero_rows)


class GumbelSoftmax(torch.nn.Module):
    """The module of `softknee.functional.gumbel_softmax`: random in training and in evaluation."""

    def __init__(self, tau: float = 1, hard: bool = False, dim: int = -1, *, zero_rows: bool = False) -> None:
        super().__init__()
        if not tau > 0:
            raise ValueError(f"GumbelSoftmax: needs tau > 0, got {tau!r}")
        self.tau, self.hard, self.dim, self.zero_rows = tau, hard, dim, zero_rows

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return gumbel_softmax(input, self.tau, self.hard, dim=self.dim, mask=mask, zero_rows=self.zero_rows)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, hard={self.hard}, dim={self.dim}"


class Softmax1(torch.nn.Module):
    """The module of `softknee.functional.softmax1`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return softmax1(input, self.dim, mask=mask)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class _Sparse(torch.nn.Module):
    def __init__(self, dim: int = -1, *, zero_rows: bool = False) -> None:
        super().__init__()
        self.dim, self.zero_rows = dim, zero_rows

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Sparsemax(_Sparse):
    """The module of `softknee.functional.sparsemax`."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return sparsemax(input, self.dim, mask=mask, zero_rows=self.zero_rows)


class Entmax15(_Sparse):
    """The module of `softknee.functional.entmax15`."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return entmax15(input, self.dim, mask=mask, zero_rows=self.zero_rows)


class Entmax(_Sparse):
    """The module of `softknee.functional.entmax`.

    Args:
        alpha: at least 1; where it is learned, its first value, between 1 and 2
        dim: the dimension that sums to 1
        learnable: alpha is learned, as 1 + sigmoid(logit), which stays between 1 and 2 (Correia, Niculae and
            Martins 2019); `logit` is the module's parameter
        zero_rows: as softmax has it
    """

    def __init__(
        self, alpha: float = 1.5, dim: int = -1, *, learnable: bool = False, zero_rows: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(dim, zero_rows=zero_rows)
        if not 1 <= alpha < _INF:
            raise ValueError(f"Entmax: needs a finite alpha of at least 1, got {alpha!r}")
        if learnable and not 1 < alpha < 2:
            raise ValueError(f"Entmax: a learned alpha starts between 1 and 2, got {alpha!r}")
        self.first = alpha
        self.logit = None
        if learnable:
            logit = math.log((alpha - 1) / (2 - alpha))
            self.logit = torch.nn.Parameter(torch.tensor(logit, device=device, dtype=dtype))

    @property
    def alpha(self) -> float | Tensor:
        return self.first if self.logit is None else 1 + torch.sigmoid(self.logit)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        return entmax(input, self.alpha, self.dim, mask=mask, zero_rows=self.zero_rows)

    def extra_repr(self) -> str:
        shown = f"alpha={torch.as_tensor(self.alpha).item():g}, dim={self.dim}"
        return shown if self.logit is None else f"{shown}, learnable=True"

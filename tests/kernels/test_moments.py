"""The kernel of per-unit sums against float64 sums of torch."""

from __future__ import annotations

import ctypes
import math

import pytest
import torch
from torch import Tensor

from softknee.kernels import moments
from softknee.nn import launch

SHAPES = [
    (256, 512, 1),
    (300, 37, 1),
    (1, 5, 1),
    (600, 16, 1),
    (4, 5, 49),
    (3, 1, 5),
    (9, 7, 1000),
    (900, 4, 2),
]


def plainly(z: Tensor, f: Tensor, first: float, last: float, low: float, high: float) -> Tensor:
    z, f = (t.double().movedim(1, -1).flatten(0, 1) for t in (z, f))
    alive = ((z >= first) & (z <= last)).any(0)
    flat, zero = (z < low) | (z > high), f == 0
    sums = [t.sum(0).double() for t in (z, z * z, f, f * f, alive[None], flat, zero)]
    return torch.stack([*sums, f.amin(0), -f.amax(0)])


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize(("threads", "parts"), [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_float64(shape: tuple[int, ...], threads: int, parts: int, rising: bool) -> None:
    torch.manual_seed(0)
    z = torch.randn(shape) + 3
    f = z.relu()
    limits = (-1.0, math.inf if rising else 4.0, 2.5, math.inf if rising else 5.0)
    rows, units, inner = shape
    both = torch.zeros(2, 9, units + 3, dtype=torch.float64)
    both[:, 7:] = math.inf
    memory, address = moments.geometry(rows, units, inner, units + 3, parts)
    kernel = moments.kernel(inner > 1, rising).call
    start = both.data_ptr() + 8
    for _ in range(2):  # it adds
        launch.launch(kernel, address, threads, threads, z.data_ptr(), f.data_ptr(), start, *limits)
    assert memory
    result = torch.cat([both[:, :7].sum(0), both[:, 7:].amin(0)])
    assert both[1, 0].any() == (parts == 2 and inner == 1 and rows > 1)
    assert not result[:7, [0, -2, -1]].any()  # nothing beside the units' columns
    got, expected = result[:, 1:-2], plainly(z, f, *limits)
    got[4] = got[4] > 0
    expected[[0, 1, 2, 3, 5, 6]] *= 2
    if rising:
        assert got[7:].isinf().all()
        got, expected = got[:7], expected[:7]
    torch.testing.assert_close(got, expected, rtol=2e-6, atol=1e-5)


def test_a_variance_keeps_its_digits_far_from_zero() -> None:
    torch.manual_seed(0)
    z = 1000 + torch.randn(512, 16) / 128
    result = torch.zeros(9, 16, dtype=torch.float64)
    _, address = moments.geometry(512, 16, 1, 16)
    limits = (-math.inf, math.inf, -math.inf, math.inf)
    kernel = moments.kernel(False, True).call
    launch.launch(kernel, address, 1, 1, z.data_ptr(), z.data_ptr(), result.data_ptr(), *limits)
    mean, second = result[0] / 512, result[1] / 512
    torch.testing.assert_close(second - mean * mean, z.double().var(0, correction=0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("units", [40, 5])
def test_a_step_that_is_over_goes_into_the_window(units: int) -> None:
    """Of three layers: one before, which saw nothing, and one after"""
    torch.manual_seed(0)
    total, n, now, late = units + 8, 100, 50, 5
    step, window, norms = (
        torch.rand(s, dtype=torch.float64) for s in ((2, 9, total), (9, total), (3, 2, moments.SLOTS))
    )
    step[:, 4] = (torch.rand(2, total) > 0.7) * 3.0
    last, gone = torch.randint(-1, 10, (total,)), torch.full((total,), -2)
    rows, flag = torch.zeros(3, 10, dtype=torch.float64), (ctypes.c_int64 * 1)()
    layers = (ctypes.c_int64 * 11)(3, total, *(3, 0, 0), *(units, 3, n), *(5, units + 3, 2 * n))
    tensors = (step, window, last, gone, rows, norms)
    was = [t.clone() for t in tensors]
    at = -ctypes.addressof(layers) - 8
    addresses = [t.data_ptr() for t in tensors]
    launch.launch(moments.step_over(), at, 1, 1, *addresses, ctypes.addressof(flag), now, late)
    for t, b in zip(tensors[:4], was, strict=False):  # of the first layer nothing
        assert torch.equal(t[..., :3], b[..., :3])
    assert not rows[0].any()
    assert torch.equal(norms[0], was[-1][0])
    new, before, since = torch.cat([was[0][:, :7].sum(0), was[0][:, 7:].amin(0)]), was[1], was[2]
    alive = new[4] > 0
    new[4] = alive
    back = alive & (since < late)
    for number, columns, values in ((1, slice(3, units + 3), n), (2, slice(units + 3, total), 2 * n)):
        assert torch.equal(window[:7, columns], (before + new)[:7, columns])
        assert torch.equal(window[7:, columns], torch.minimum(before, new)[7:, columns])
        assert not step[:, :7, columns].any()
        assert step[:, 7:, columns].isinf().all()
        assert torch.equal(last[columns], torch.where(alive, now, since)[columns])
        assert torch.equal(gone[columns], torch.where(back, since, -2)[columns])
        means = new[:7, columns].mean(1) / values
        means[4] *= values
        torch.testing.assert_close(rows[number, :7], means)
        far = (new[0, columns] / values).square().mean()[None]
        torch.testing.assert_close(rows[number, 7:], torch.cat([far, was[-1][number].sum(1)]))
    assert flag[0] == back[3:].any()
    assert not norms[1:].any()


@pytest.mark.parametrize("shape", [(300, 24), (40, 3, 2)])
def test_what_is_kept_takes_tensors_of_one_kind_alone(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    z = torch.randn(shape, requires_grad=True)
    f, n = z.relu(), z.numel()
    result = torch.zeros(2, moments.SLOTS, dtype=torch.float64)
    on = moments.squares().kept([(shape, z.stride())] * 2, n, 2, [result.data_ptr()])
    others: list[object] = [
        f.double(),
        f.bfloat16(),
        f.detach()[:-1],
        f.flatten(),
        f.mT,
        f.to("meta"),
        None,
        3.0,
    ]
    others += [f.detach()[:1].expand(shape), torch.stack([f, f], -1)[..., 0]]
    for other in others:
        assert on(z, other) is None
        assert on(other, z) is None
    assert not result.any()
    assert on(z, f) is True
    expected = torch.stack([z.detach().double().square().sum(), f.detach().double().square().sum()])
    torch.testing.assert_close(result.sum(1), expected)

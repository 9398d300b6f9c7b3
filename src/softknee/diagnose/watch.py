"""`softknee.watch`: what happens to the activations of a model while it is trained.

Between the steps that are observed nothing is attached to the model but one hook that counts. In an
observed step the statistics of an activation take one pass over its input and output; they stay
on the device, and nothing waits for them before `report()`. The first step finds out where activations are
called. Where all of them are modules, hooks on these are enough from then on; else torch's functions are watched.
"""

from __future__ import annotations

import ctypes
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from softknee.analysis.function import Function
from softknee.diagnose.errors import CheckError
from softknee.diagnose.graph import Graph
from softknee.diagnose.probes import Moments, Site, by_unit
from softknee.diagnose.records import Report
from softknee.diagnose.rules import Context
from softknee.diagnose.rules.base import sharded
from softknee.diagnose.session import Measured, judged, name_sites
from softknee.diagnose.theory import FLAT, STILL, expected
from softknee.diagnose.timeline import History, Timeline
from softknee.diagnose.trace import Recorder, compiled_in, tensors_in
from softknee.kernels import moments
from softknee.kernels.moments import PARTS, ROWS, SLOTS
from softknee.lang.nodes import number, symbol, where
from softknee.nn import gates, launch, recognise
from softknee.nn.pointwise import Call, Output, Pointwise, Term

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Watch", "watch"]

EVERY = 10
WINDOW = 20  # observed steps
SUMMED = len(Moments.SUMS)
RING = 1 << 17  # numbers of the steps that are kept for evaluating them together: what a cache holds
BLOCK = 64  # steps whose rows lie together
MOST = 1 << 16  # threads
SAMPLE = 1 << 14  # elements of a weight from which the size of its update is taken

_HALF = (torch.float16, torch.bfloat16)


def watch(model: nn.Module, *, every: int = EVERY, window: int = WINDOW, updates: bool = True) -> Watch:
    """Watches a model while it is trained; see `Watch`.

    every: observe one step in so many. A step ends when an optimiser that holds parameters of the model
    steps; without one, every forward pass in training mode is a step. window: a unit that had no slope
    for so many observed steps is dead. updates: also measure how far the weights move.

    >>> import softknee as sk, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    >>> with sk.watch(model, every=1) as watch:
    ...     for _ in range(3):
    ...         model(torch.randn(32, 8)).sum().backward()
    >>> watch.report().timeline.of("1").steps
    (0, 1, 2)
    """
    return Watch(model, every, window, updates)


@lru_cache(maxsize=256)
def _living(function: Function, share: float) -> tuple[float, float]:
    """The interval outside of which the slope is below this share of the steepest (-inf, inf: no such place)."""

    def slope(z: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.abs(function.numpy(1)(np.asarray(z, dtype=np.float64))[0])

    z = np.linspace(-40, 40, 80_001)
    every = slope(z)
    least = share * float(np.nanmax(every[np.abs(z) <= 10]))
    alive = np.flatnonzero(every >= least)
    if not len(alive):
        return math.inf, -math.inf

    def edge(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if slope([middle])[0] >= least else (inside, middle)
        return inside

    first, last = alive[0], alive[-1]
    low = -math.inf if first == 0 else edge(z[first], z[first - 1])
    return low, math.inf if last == len(z) - 1 else edge(z[last], z[last + 1])


def _sums() -> Pointwise:
    """The sums of `Moments.SUMS` over everything but the units: one pass over z and f."""
    z, f, first, last, low, high = map(symbol, ("z", "f", "first", "last", "low", "high"))
    one, none = number(1), number(0)
    alive = where((z >= first) & (z <= last), one, none)
    flat = where((z < low) | (z > high), one, none)
    zero = where(f == 0, one, none)
    outputs = tuple(Output((Term(e),), target=2) for e in (z, z * z, f, f * f, alive, flat, zero))
    return Pointwise(outputs, ("z", "f", "unit"), ("first", "last", "low", "high"))


_SUMS = _sums()


class _Board:
    """The sums of the activations on one device, side by side: one column a unit. On a CPU, a kernel evaluates each
    step when it is over; elsewhere some are kept as they are, and evaluated for all activations and steps at once."""

    def __init__(self, device: torch.device, window: int) -> None:
        self.device = device
        self.sites: list[_Watched] = []
        self.steps: list[int] = []
        self.counts: list[tuple[int, ...]] = []  # values a unit, by site: what the rows are means of
        self.backward: list[
            tuple[int, ...]
        ] = []  # which gradients there were, by site: 1 at the output, 2 at the input
        self.rows: list[Tensor] = []  # (10, sites): see `evaluate`
        self.returned: list[
            Tensor
        ] = []  # (unit, the last step before a silence, the first one after) by column
        self._window = window
        self._at_once = device.type == "cpu"  # a step is evaluated when it is over, by a kernel
        self._flag = (ctypes.c_int64 * 1)()
        self._flag_at = ctypes.addressof(self._flag)
        self._over = moments.step_over() if self._at_once else None
        self._filled = 0  # of the rows of steps, which a kernel writes in blocks
        self._wide = torch.float64 if device.type != "mps" else torch.float32
        self.held = 0  # steps that are over, and in the ring
        self.ring = torch.zeros(
            1, PARTS if self._at_once else 1, len(ROWS), 0, dtype=self._wide, device=device
        )
        self.squares = torch.zeros(1, 0, 2, SLOTS, dtype=self._wide, device=device)  # of gradients
        self._turn()
        self.window = self.step.clone()
        self.before: Tensor | None = None  # the previous window
        self.last_alive = torch.zeros(0, dtype=torch.int64, device=device)  # a step by unit; -1: none yet
        self._gone = (
            self.last_alive.clone()
        )  # of units that came back in this step: the last one before; else -2

    def _turn(self) -> None:
        """The next step begins."""
        self.step, self.norms = self.ring[self.held, 0], self.squares[self.held]
        self.sums_at, self.norms_at = self.step.data_ptr(), self.norms.data_ptr()

    def add(self, watched: _Watched, units: int) -> None:
        self.evaluate()
        going, norms, total = self.ring[0], self.norms, self.step.shape[1] + units
        watched.start, watched.units, watched.number = total - units, units, len(self.sites)
        self.sites.append(watched)
        for w in self.sites:  # rows are of another length now
            w.forget()
        size = 1 if self._at_once else max(1, min(self._window, RING // (len(ROWS) * total)))
        self.ring = going.new_zeros(size, len(going), len(ROWS), total)
        self.ring[:, :, SUMMED:] = math.inf
        self.squares = going.new_zeros(size, len(self.sites), 2, SLOTS)
        self._turn()
        self.ring[0, :, :, : total - units] = going
        self.norms[: len(norms)] = norms
        more = self.step[:, total - units :]
        self.window = torch.cat([self.window, more], 1)
        if self.before is not None:
            self.before = torch.cat([self.before, more], 1)
        self.last_alive = torch.cat([self.last_alive, self.last_alive.new_full((units,), -1)])
        self._gone = torch.full_like(self.last_alive, -2)
        layers = [n for w in self.sites for n in (w.units, w.start, 0)]
        self._layers = (ctypes.c_int64 * (2 + len(layers)))(len(self.sites), total, *layers)
        self._block = torch.empty(BLOCK, len(self.sites), len(ROWS) + 1, dtype=torch.float64)
        self._point()

    def _point(self) -> None:
        """Where things are for the kernel that ends a step."""
        tensors = (self.step, self.window, self.last_alive, self._gone)
        self._at = [-ctypes.addressof(self._layers) - 8, 1, 1, *[t.data_ptr() for t in tensors]]
        self._rows_at = self._block.data_ptr()
        self._row_size = 8 * self._block[0].numel()

    def end_step(self, step: int) -> None:
        counts = tuple([w.values for w in self.sites])
        if not any(counts):
            return
        self.steps.append(step)
        self.counts.append(counts)
        self.backward.append(tuple([w.backward for w in self.sites]))
        for w in self.sites:
            current = w.counts[1]
            current[0] += w.values
            current[1] += w.samples
            w.values = w.samples = w.backward = 0
        if self._at_once:
            self._evaluate_one(step, counts)
            return
        self.held += 1
        if self.held == len(self.ring):
            self.evaluate()
        else:
            self._turn()

    def _evaluate_one(self, step: int, counts: tuple[int, ...]) -> None:
        """`evaluate`, for the step that is over."""
        k = self._filled
        if not all(counts):
            self._block[k, :, :8], self._block[k, :, 8:] = math.nan, 0
        late = self.steps[-1 - self._window] if len(self.steps) > self._window else -2
        self._layers[4::3] = counts
        rows = self._rows_at + k * self._row_size
        self._over(*self._at, rows, self.norms_at, self._flag_at, step, late)
        self._filled = k + 1
        if self._filled == BLOCK:
            self.evaluate()
        if self._flag[0]:
            self._flag[0] = 0
            unit = (self._gone > -2).nonzero()[:, 0]
            self.returned.append(torch.stack([unit, self._gone[unit], torch.full_like(unit, step)]))
            self._gone.fill_(-2)

    @torch.no_grad()
    def evaluate(self) -> None:
        """Adds the steps in the ring to the window. Their rows hold the means over each layer of `ROWS`, but for
        the share of units alive and the mean square of the units' means; then the sums of squares of gradients."""
        if self._filled:
            self.rows += self._block[: self._filled].clone().mT.unbind()
            self._filled = 0
        if not self.held:
            return
        held, norms = self.ring[: self.held, 0], self.squares[: self.held]
        alive = held[:, 4] > 0
        held[:, 4] = alive
        self._follow(alive)
        self.window[:SUMMED] += held[:, :SUMMED].sum(0)
        self.window[SUMMED:] = torch.minimum(self.window[SUMMED:], held[:, SUMMED:].amin(0))
        torch.mul(held[:, 0], held[:, 0], out=held[:, 7])
        rows = torch.stack([held[:, :8, w.columns].sum(-1) for w in self.sites], -1)
        units = torch.tensor([w.units for w in self.sites], dtype=self._wide, device=self.device)
        n = torch.tensor(self.counts[-self.held :], dtype=self._wide, device=self.device).unsqueeze(1)
        divisor = (units * n).repeat(1, 8, 1)
        divisor[:, 4] = torch.where(n[:, 0] > 0, units, 0)
        divisor[:, 7] *= n[:, 0]
        self.rows += torch.cat([rows / divisor, norms.sum(-1).transpose(1, 2)], 1).unbind()
        held[:, :SUMMED] = 0
        held[:, SUMMED:] = math.inf
        norms.zero_()
        self.held = 0
        self._turn()

    def _follow(self, alive: Tensor) -> None:
        """When each unit was last alive, and which came back after they had been silent for a window."""
        first = len(self.steps) - self.held
        late = [
            self.steps[k - self._window] if k >= self._window else -2 for k in range(first, len(self.steps))
        ]
        step, late = torch.tensor([self.steps[first:], late], device=self.device).unsqueeze(2)
        seen = torch.where(alive, step, -1)
        last = torch.cat([self.last_alive.unsqueeze(0), seen]).cummax(0).values
        back = (alive & (last[:-1] < late)).nonzero()
        if len(back):
            place, unit = back.T
            self.returned.append(torch.stack([unit, last[place, unit], step[place, 0]]))
        self.last_alive = last[-1]

    def one_step(self) -> None:
        """All that was observed so far belongs to step 0."""
        self.evaluate()
        if self.rows:
            known = torch.stack([row for row in self.rows if row.shape == self.rows[-1].shape])
            self.rows = [torch.cat([known[:, :8].nanmean(0), known[:, 8:].sum(0)])]
            self.steps = [0]
            self.counts = [tuple(map(max, zip(*self.counts[-len(known) :], strict=True)))]
            self.backward = [tuple(map(max, zip(*self.backward[-len(known) :], strict=True)))]
        self.returned.clear()
        self.last_alive.clamp_(max=0)

    def rotate(self) -> None:
        """A window is over."""
        self.evaluate()
        self.before = self.window
        self.window = torch.zeros_like(self.before)
        self.window[SUMMED:] = math.inf
        self._point()
        for w in self.sites:
            w.rotate()


def _unknown(*_: Any) -> None:
    """A kernel that takes no tensors."""


class _Watched:
    """One activation: where its units are on the board, and how much it saw."""

    start: int
    units: int
    number: int
    rows_each: int  # samples in tensors of the shape that is known
    values_each: int  # values a unit
    weight: str | None = None  # the name of the one before it

    def __init__(self, site: Site, board: _Board) -> None:
        self.site, self.board = site, board
        self.values = self.samples = 0  # of this step
        self.backward = 0  # which gradients came back
        self.counts = [[0, 0], [0, 0]]  # the same, of the previous and of the current window
        self.copied = False  # its input is overwritten, so that it must be copied before
        self.alone = False  # its input goes nowhere else
        self.between: type | None = None  # the kind of function that takes its input and gives its output
        self._place = 0  # of its input among those of that
        self.limits: tuple[float, ...] = ()
        self.rising = False
        self._learnt = any(isinstance(v, Tensor) for v in site.values.values())
        self._learn()
        self.forget()

    def _learn(self) -> None:
        function = self.site.function
        self.limits = (*_living(function, STILL), *_living(function, FLAT))
        highest = self.limits[1] == self.limits[3] == math.inf
        self.rising = highest and not self.site.profile.squashing  # what squashes may be a gate

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.units)

    def follow(self, z: Tensor, f: Tensor) -> None:
        """Has the gradients on both sides looked at when they come back. Where one function lies between z and f
        alone, one hook on that sees both."""
        node, before = f.grad_fn, z.grad_fn
        if self.alone and node is not None and before is not None and f.output_nr == 0:
            places = [k for k, (n, _) in enumerate(node.next_functions) if n is before]
            if len(places) == 1 and node.next_functions[places[0]][1] == z.output_nr:
                self._place, self.between = places[0], type(node)
                node.register_hook(self.at_both)
                return
        z.register_hook(self.at_input)
        f.register_hook(self.at_output)

    def at_input(self, gradient: Tensor) -> None:
        self._squares(None, gradient)

    def at_output(self, gradient: Tensor) -> None:
        self._squares(gradient, None)

    def at_both(self, given: tuple[Tensor | None, ...], taken: tuple[Tensor | None, ...]) -> None:
        a, b = taken[0], given[self._place]
        if self._sum_squares(a, b):
            self.backward = 3
        else:
            self._squares(a, b)

    def _squares(self, a: Tensor | None, b: Tensor | None) -> None:
        """Adds up those of the gradient at the output, and at the input."""
        self.backward |= (a is not None) | (b is not None) << 1
        board = self.board
        for k, g in enumerate((a, b)):
            if g is not None:
                norm = torch.linalg.vector_norm(g.detach(), dtype=board.norms.dtype)
                board.norms[self.number, k, 0] += norm * norm

    def observe(self, z: Tensor, f: Tensor) -> None:
        """Adds up what it took and gave."""
        if z.dtype in _HALF:
            z, f = z.detach().float(), f.detach().float()
        if self.sum_up(z, f):
            self.samples += self.rows_each
            self.values += self.values_each
            return
        dim = self.site.dim % z.dim()
        if z.shape[dim] != self.units:  # what was taken for units is of another number now: no sums of these
            return
        self.samples += z.shape[0]
        self.values += z.numel() // self.units
        z, f = z.detach(), f.detach()
        if not (z.dtype is torch.float32 is f.dtype and z.is_cpu and launch.eligible((z, f))):
            self._by_operator(z, f, dim)
        elif z.is_contiguous() and f.is_contiguous():
            self._by_kernel(z, f, dim, keep=True)
        else:
            z, f = (t.movedim(dim, -1).contiguous() for t in (z, f))
            self._by_kernel(z, f, z.dim() - 1, keep=False)

    def _by_kernel(self, z: Tensor, f: Tensor, dim: int, keep: bool) -> None:
        """By a kernel of its own. keep: the next tensors of this shape are given to it as they are."""
        board, rows, inner = self.board, math.prod(z.shape[:dim]), math.prod(z.shape[dim + 1 :])
        large = z.numel() >= launch.SERIAL
        memory, address = moments.geometry(
            rows, self.units, inner, board.step.shape[1], PARTS if large else 1
        )
        kernel = moments.kernel(inner > 1, self.rising)
        threads, sums = torch.get_num_threads() if large else 1, board.sums_at + 8 * self.start
        launch.launch(kernel.call, address, threads, threads, z.data_ptr(), f.data_ptr(), sums, *self.limits)
        if keep:
            most, squares = MOST if large else 1, board.norms_at + 16 * SLOTS * self.number
            both = [(z.shape, z.stride())] * 2
            self.sum_up = kernel.kept(both, address, most, [sums], self.limits)
            self._sum_squares = moments.squares().kept(both, z.numel(), min(most, SLOTS), [squares])
            self.rows_each, self.values_each = len(z), rows * inner
            self._memory = memory

    @torch.no_grad()
    def _by_operator(self, z: Tensor, f: Tensor, dim: int) -> None:
        board = self.board
        shape = (self.units,) + (1,) * (z.dim() - 1 - dim)
        sums, extremes = board.step[:SUMMED, self.columns], board.step[SUMMED:, self.columns]
        unit = torch.empty(shape, dtype=sums.dtype, device=z.device)
        made = _SUMS.evaluate((z, f, unit, Call(self.limits, (unit.shape,) * SUMMED)))
        sums += torch.stack(made).view(SUMMED, self.units)
        if not self.rising:
            columns = by_unit(f, self.site.dim)
            extremes.copy_(torch.minimum(extremes, torch.stack([columns.amin(0), -columns.amax(0)])))

    def rotate(self) -> None:
        self.counts = [self.counts[1], [0, 0]]
        if self._learnt:
            self._learn()
            self.forget()

    def forget(self) -> None:
        """The next call works out anew how its sums are taken."""
        self.sum_up: Callable[..., bool | None] = _unknown
        self._sum_squares: Callable[..., bool | None] = _unknown
        self._memory: Any = None

    def moments(self) -> Moments:
        """Of the last window or two."""
        made, board = Moments(), self.board
        made.values, made.samples = (a + b for a, b in zip(*self.counts, strict=True))
        if made.values:
            parts = [w[:, self.columns] for w in (board.before, board.window) if w is not None]
            made.sums = sum((p[:SUMMED] for p in parts[1:]), parts[0][:SUMMED].clone())
            extremes = torch.stack([p[SUMMED:] for p in parts]).amin(0)
            made.f_low, made.f_high = extremes[0], -extremes[1]
        return made

    def rows(self) -> tuple[tuple[int, ...], Tensor]:
        """(the steps at which it was observed, one row each)"""
        board = self.board
        seen = [k for k, c in enumerate(board.counts) if len(c) > self.number and c[self.number]]
        found = [board.rows[k][:, self.number] for k in seen]
        return tuple(board.steps[k] for k in seen), torch.stack(found).cpu() if found else torch.zeros(0, 10)

    def silences(self) -> dict[int, list[tuple[float, float]]]:
        """By unit, those that may have lasted a window: (the last step before, or -1; the first one after)."""
        board, found = self.board, dict[int, list[tuple[float, float]]]()
        for returned in board.returned:
            for unit, before, after in returned.T.tolist():
                if self.start <= unit < self.start + self.units:
                    found.setdefault(unit - self.start, []).append((before, after))
        latest = board.last_alive[self.columns]
        for unit in (latest < int(latest.max())).nonzero().flatten().tolist():
            found.setdefault(unit, []).append((int(latest[unit]), math.inf))
        return found

    def gradients(self) -> Tensor:
        """(observed steps, 2): squares of the gradient at the output and at the input; -1 where none came back"""
        came = [b[self.number] for b, c in zip(self.board.backward, self.board.counts, strict=True)
                if len(c) > self.number and c[self.number]]  # fmt: skip
        there = torch.tensor([[b & 1, b & 2] for b in came], dtype=torch.bool).view(-1, 2)
        return torch.where(there, self.rows()[1][:, 8:], -1.0)


class _Light(Recorder):
    """Records activations; the first time also what lies between them, to give them names."""

    def __init__(self, owner: Watch, full: bool) -> None:
        super().__init__(owner.model, gradients=False)
        self.owner, self.full = owner, full
        self._order: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not (self.full or self._inside or recognise.called_by(function)[0] or gates.is_unit(function)):
            return function(*args, **(kwargs or {}))
        return super().__torch_function__(function, types, args, kwargs)

    def _check_finite(self, tensor: Tensor, call: Any) -> None:
        """Not here: it would wait for the device."""

    def _activation(
        self,
        definition: Any,
        x: Tensor,
        values: Any,
        choices: Any,
        run: Callable[[], Any],
        before: Any = None,
    ) -> Any:
        if not _usable(x):
            return run()
        module, leaf = self._where()
        place = (module, self._order[module])
        self._order[module] += 1
        if self.full and id(x) not in self._of:
            return run()
        watched = self.owner._site(self, place, leaf, definition, values, choices, x)
        if watched is None:
            return run()
        self._inside = True
        try:
            recording = x.requires_grad and torch.is_grad_enabled()
            if recording:
                x.register_hook(watched.at_input)
            version = x._version
            held = before if before is not None else x.detach().clone() if watched.copied else x
            result = run()
            if held is x and x._version != version:
                watched.copied = True  # its input is lost; the next time it is copied before
                held = None
            if recording and result is not x:
                result.register_hook(watched.at_output)
            if held is not None:
                watched.observe(held, result)
        finally:
            self._inside = False
        if self.full:
            call = self._new("activation", definition.name, (self._of[id(x)],))
            call.definition, call.site, call.shape = definition, watched.site, tuple(result.shape)
            if watched.site.index < 0:
                watched.site.index = call.index
            self._remember(result, call)
        return result


def _nothing(*_: Any, **__: Any) -> None:
    """The hooks of a watch, in a model that was loaded."""


class _Gone:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


class _Hooking:
    """Its methods are hooks of the model: one that is copied meanwhile, as the best so far, shares them, and one that is
    saved has hooks that do nothing."""

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        return _Gone, ()


class _Module(_Hooking):
    """A module that is an activation. several: what its calls in one pass are, one after the other."""

    def __init__(self, watch: Watch, several: tuple[_Watched, ...]) -> None:
        self.watch, self.several = watch, several
        # a longer sequence than the one that was seen first
        self.beyond = several[0] if len(several) > 1 and len(set(several)) == 1 else None
        self.turn = self.count = 0
        self.before: tuple[_Watched, Tensor, Tensor] | None = None

    def attach(self, module: nn.Module) -> list[Any]:
        if any(w.copied for w in self.several):
            return [
                module.register_forward_pre_hook(self.entered, with_kwargs=True),
                module.register_forward_hook(self.left, with_kwargs=True),
            ]
        return [module.register_forward_hook(self.called, with_kwargs=True)]

    def which(self) -> _Watched | None:
        """The activation that this call is."""
        turn = self.watch.turn
        if not turn:
            return None
        if turn != self.turn:
            self.turn, self.count = turn, 0
        k = self.count
        self.count = k + 1
        return self.several[k] if k < len(self.several) else self.beyond

    def called(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        watched = self.which()
        if watched is None:
            return
        x = args[0] if args else next(iter(kwargs.values()), None)
        if result is x:  # in place: its input is lost; the next time it is copied before
            watched.copied = True
            self.watch.detach()
            return
        if watched.sum_up(x, result):
            watched.samples += watched.rows_each
            watched.values += watched.values_each
            node = result.grad_fn
            if node is None:
                return
            if type(node) is watched.between:
                node.register_hook(watched.at_both)
                return
        elif _usable(x) and isinstance(result, Tensor):
            watched.observe(x, result)
        else:
            return
        if x.requires_grad and torch.is_grad_enabled():
            watched.follow(x, result)

    def entered(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        x = args[0] if args else next(iter(kwargs.values()), None)
        watched, self.before = self.which(), None
        if watched is not None and _usable(x):
            if x.requires_grad and torch.is_grad_enabled():
                x.register_hook(watched.at_input)
            self.before = watched, x, x.detach().clone()

    def left(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if self.before is None:
            return
        (watched, x, before), self.before = self.before, None
        if result is not x and x.requires_grad and torch.is_grad_enabled():
            result.register_hook(watched.at_output)
        watched.observe(before, result)


class Watch(_Hooking):
    """A context around training; afterwards (or in between) `report()` says what was seen.

    Under DistributedDataParallel and FSDP call `report()` in every process: units count as alive where they
    were in any of them, and sums are added up; the timeline's series are of the process's own samples. Recomputation of checkpointed layers is not counted again.
    Passes in evaluation mode are not observed. A model that is compiled, or has a part that is, runs
    uncompiled in the steps that are observed.
    """

    def __init__(self, model: nn.Module, every: int, window: int, updates: bool) -> None:
        if not isinstance(model, nn.Module):
            raise CheckError(f"watch takes a torch.nn.Module, got {type(model).__name__}")
        for name, value in (("every", every), ("window", window)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckError(f"{name} must be a positive integer, got {value!r}")
        self.outer = model
        inner = getattr(model, "_orig_mod", model)
        self.model: nn.Module = inner
        self.compiled = compiled_in(model)
        self.every, self.window, self.updates = every, window, updates
        self.step = 0
        self.unseen: list[str] = []
        self._sites: dict[Any, _Watched] = {}
        self._boards: dict[torch.device, _Board] = {}
        self._late: dict[str, None] = {}  # modules with activations that the first observed step did not call
        self._places: dict[tuple[str, int], _Watched] = {}
        self._graph: Graph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._updates: dict[int, dict[str, Tensor]] = {}
        self._weights: dict[str, tuple[nn.Parameter, Tensor]] | None = None
        self._handles: list[Any] = []
        self._compiled_call: Callable[..., Any] | None = None
        self._direct: dict[nn.Module, _Module] | None = None
        self._attached: list[Any] = []
        self.turn = 0  # the number of the observed pass that is under way
        self._passes = 0
        self._due = True  # this step is observed
        self._steered: list[str] = []  # the names of weights before activations
        self._recorder: _Light | None = None
        self._stance: Any = None
        self._optimised = False
        self._forwards = 0  # in this step
        self._observed = 0
        self._parameters = {id(p) for p in inner.parameters()}

    def __enter__(self) -> Self:
        if self._handles:
            raise CheckError("this watch is running already")
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        self._handles = [
            register_optimizer_step_pre_hook(self._before_update),
            register_optimizer_step_post_hook(self._after_update),
        ]
        self._compiled_call = self.outer._compiled_call_impl
        if self._compiled_call is None:
            self._handles += [
                self.outer.register_forward_pre_hook(self._before, with_kwargs=True),
                self.outer.register_forward_hook(self._after, with_kwargs=True, always_call=True),
            ]
        else:  # by `model.compile()`: hooks would be compiled with it
            self.outer._compiled_call_impl = self._around
        return self

    def _around(self, *args: Any, **kwargs: Any) -> Any:
        """A call of a model that was compiled in place."""
        self._before(self.outer, args, kwargs)
        result = None
        try:
            result = (self.outer._call_impl if self.turn else self._compiled_call)(*args, **kwargs)  # type: ignore[operator]
        finally:
            self._after(self.outer, args, kwargs, result)
        return result

    def __exit__(self, *error: object) -> None:
        self._close()
        self.detach()
        for handle in self._handles:
            handle.remove()
        if self._compiled_call is not None:
            self.outer._compiled_call_impl = self._compiled_call
        self._handles = []
        self._weights = None

    # Steps

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if module is not self.outer or self.turn or not module.training or not torch.is_grad_enabled():
            return
        if not self._optimised and self._forwards:
            self._next()
        self._forwards += 1
        if not self._due:
            if self._attached:
                self.detach()
            return
        self._passes += 1
        self.turn = self._passes
        if self._forwards == 1:
            self._observed += 1
            if self._observed > 1 and (self._observed - 1) % self.window == 0:
                for board in self._boards.values():
                    board.rotate()
        if self.compiled:
            self._stance = torch.compiler.set_stance("force_eager")
            self._stance.__enter__()
        self._inputs = _floating(args[0] if len(args) == 1 and not kwargs else (args, kwargs))
        if self._direct is not None:
            if not self._attached:
                for activation, direct in self._direct.items():
                    self._attached += direct.attach(activation)
            return
        recorder = self._recorder = _Light(self, full=self._graph is None)
        if recorder.full:
            recorder.inputs(args, kwargs)
        recorder.__enter__()

    def _after(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if module is not self.outer or not self.turn:
            return
        self._outputs = _floating(result)
        recorder = self._recorder
        if recorder is not None and recorder.full:
            recorder.finished(result)
            if recorder.graph.outputs:
                self._graph = recorder.graph
                self.unseen += recorder.unseen
                self._direct = self._modules_alone()
                self._steered = self._weights_before()
        self._close()

    def _close(self) -> None:
        self.turn = 0
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            recorder.__exit__(None, None, None)
            recorder.release()
            if recorder.graph is not self._graph:
                recorder.graph = Graph()
        if self._stance is not None:
            stance, self._stance = self._stance, None
            stance.__exit__(None, None, None)
        if self.every > 1:
            self.detach()

    # Hooks on the modules that are activations

    def _modules_alone(self) -> dict[nn.Module, _Module] | None:
        """The modules whose calls are all that has to be seen; None where functions were called, too."""
        modules, calls = dict(self.model.named_modules()), self._graph.calls if self._graph else []
        uses = Counter(source for call in calls for source in call.sources)
        found: dict[nn.Module, list[_Watched]] = {}
        for (name, _), watched in self._places.items():
            module, site = modules[name], watched.site
            known = recognise.module(module) if site.leaf else None
            if known is None or known.definition is not site.definition:
                return None
            found.setdefault(module, []).append(watched)
            watched.alone = uses[calls[site.index].sources[0]] == 1 if site.index >= 0 else False
        return {m: _Module(self, tuple(w)) for m, w in found.items()}

    def detach(self) -> None:
        for handle in self._attached:
            handle.remove()
        self._attached.clear()

    def _weights_before(self) -> list[str]:
        parameters = dict(self.model.named_parameters())
        names = {id(p): n for n, p in parameters.items()}
        found = []
        for watched in self._sites.values():
            watched.weight = _weight_before(watched.site, self._graph, names)  # type: ignore[arg-type]
            if watched.weight is not None and parameters[watched.weight].requires_grad:
                found.append(watched.weight)
        return list(dict.fromkeys(found))

    # Steps

    def _next(self) -> None:
        self._end_step()
        self._begin(self.step + 1)

    def _begin(self, step: int) -> None:
        self.step, self._forwards = step, 0
        self._due = step % self.every == 0

    def _end_step(self) -> None:
        if self._due:
            for board in self._boards.values():
                board.end_step(self.step)

    def _holds(self, optimizer: Any) -> bool:
        own = self._parameters
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in own:
                    return True
        return False

    def _before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if (
            self._due
            and self.updates
            and self._forwards
            and self._observed % 10 == 1
            and self._holds(optimizer)
        ):
            held = dict(self.model.named_parameters())
            with torch.no_grad():
                self._weights = {n: (held[n], _sampled(held[n]).clone()) for n in self._steered}

    def _after_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._forwards or not self._holds(optimizer):
            return
        if not self._optimised and self.step:  # what was taken for steps was one, its gradients added up
            self._end_step()
            for board in self._boards.values():
                board.one_step()
            self.step = 0
        self._optimised = True
        if self._weights is not None:
            with torch.no_grad():
                self._updates[self.step] = {
                    n: torch.stack([torch.linalg.vector_norm(t) for t in (_sampled(p) - before, before)])
                    for n, (p, before) in self._weights.items()
                }
            self._weights = None
        self._next()

    # Sites

    def _site(
        self,
        recorder: _Light,
        place: tuple[str, int],
        leaf: bool,
        definition: Any,
        values: Any,
        choices: Any,
        x: Tensor,
    ) -> _Watched | None:
        """The activation that is called here. Calls in one place with one and the same weight before them, as in a
        recurrent network's steps, are one activation."""
        found = self._places.get(place)
        if found is not None or not recorder.full:
            if found is not None and found.site.definition is definition:
                return found
            self._late[place[0]] = None
            return None
        source = recorder._of[id(x)]
        key = recorder._key(place[0], definition, x, source) or place
        watched = self._sites.get(key)
        if watched is None:
            site = Site(place, place[0], leaf, definition, dict(values), dict(choices))
            site.dim = recorder._unit_dimension(x, source)
            board = self._boards.get(x.device)
            if board is None:
                board = self._boards[x.device] = _Board(x.device, self.window)
            watched = self._sites[key] = _Watched(site, board)
            board.add(watched, x.shape[site.dim])
        self._places[place] = watched
        return watched

    # What was seen

    def report(self) -> Report:
        """The findings of `softknee.check` on the last windows of steps, and the timeline."""
        self._end_step()
        for board in self._boards.values():
            board.evaluate()
        if not self._sites or self._graph is None:
            if self._observed == 0:
                raise CheckError("no step in training mode was seen: train the model inside the block")
            self.unseen.append("not one known activation was called in the model's forward pass")
        context = Context(self.model, self._graph or Graph(), [], 0)
        context.inputs, context.outputs = self._inputs, self._outputs
        for watched in self._sites.values():
            site = watched.site
            site.moments = _added_up(watched)
            if site.moments.sums is not None:  # what died within the window is dead now
                last, since = self._last(watched)
                site.moments.sums[4] *= (last >= since).to(site.moments.sums)
            squares = watched.gradients()
            squares = squares[(squares != -1).any(1)][-self.window :]
            sums = torch.where(squares == -1, 0, squares).sum(0).tolist()
            site.output_gradient, site.gradient = _added(sums, watched.board.device)
            site.gradient_seen = bool(len(squares))
            site.gradient_bad = not (math.isfinite(site.gradient) and math.isfinite(site.output_gradient))
            rows = watched.rows()[1]
            if context.first_bad is None and len(rows) and not bool(torch.isfinite(rows[-1, :8]).all()):
                context.first_bad = (site.module, site.definition.name)
        context.sites = sorted((w.site for w in self._sites.values()), key=lambda s: s.index)
        context.samples = max((s.moments.samples for s in context.sites), default=0)
        name_sites(context)
        ordered = sorted(self._sites.values(), key=lambda w: w.site.index)
        silences = zip(*_everywhere([w.silences() for w in ordered]), strict=True)
        timeline = Timeline(
            tuple(self._history(w, context, s) for w, s in zip(ordered, silences, strict=True)),
            self.step + (self._forwards > 0), self.every, self.window,
        )  # fmt: skip
        context.steps = timeline
        if self._direct is not None:
            own = {
                n: m for n, m in self.model.named_modules()
                if m not in self._direct and recognise.module(m) is not None
            }  # fmt: skip
            self._late |= dict.fromkeys(own)
        late = [
            f"{name or 'the model'} has an activation that the first observed step did not call: it is not watched"
            for name in self._late
        ]
        did = f"{timeline.steps:,} training steps, one in {self.every} observed; findings are of the last {self.window} to {2 * self.window}"
        return judged(Measured(context, [*self.unseen, *late], did), timeline)

    def _last(self, watched: _Watched) -> tuple[Tensor, int]:
        """(by unit, the last step at which it had a slope, the first step of the last window)"""
        steps = watched.rows()[0]
        since = steps[-self.window] if len(steps) >= self.window else (steps or (0,))[0]
        return _greatest(watched.board.last_alive[watched.columns]), since

    def _revived(self, silences: Any, steps: tuple[int, ...]) -> int:
        """How often a unit was silent in every process for a window, and came back; silences: of each process."""
        first, *others = silences
        count = 0
        for unit, common in first.items():
            for other in others:
                pairs = [(max(a, c), min(b, d)) for a, b in common for c, d in other.get(unit, ())]
                common = [(a, b) for a, b in pairs if a < b]
            ended = [(a, b) for a, b in common if a >= 0 and b < math.inf]
            count += sum(bisect_left(steps, b) - bisect_right(steps, a) >= self.window for a, b in ended)
        return count

    def _history(self, watched: _Watched, context: Context, silences: Any) -> History:
        site = watched.site
        steps, rows = watched.rows()
        rows = rows.double()
        mean, second, output_mean, output_second, alive, flat, zero, mean_square = rows.T[:8]
        columns = {
            "mean": mean, "variance": (second - mean_square).clamp(min=0), "output_mean": output_mean,
            "output_second_moment": output_second, "flat": flat, "zero": zero, "silent": 1 - alive,
        }  # fmt: skip
        series = {n: tuple(v.tolist()) for n, v in columns.items()}
        norms = watched.gradients()
        norms = torch.where(norms == -1, math.nan, norms).sqrt().T.tolist()
        series |= {n: tuple(v) for n, v in zip(("gradient_in", "gradient_out"), norms, strict=True)}
        drift = []
        for mean, second, measured in zip(
            rows[:, 0].tolist(), rows[:, 7].tolist(), rows[:, 3].tolist(), strict=True
        ):
            theory = expected(site.function, mean, max(second - mean * mean, 0.0))
            drift.append(measured / theory.second_moment if theory and theory.second_moment > 0 else math.nan)
        series["drift"] = tuple(drift)
        moved = [self._updates.get(s, {}).get(watched.weight) for s in steps]
        if sharded(dict(self.model.named_parameters()).get(watched.weight or "")):
            moved = [
                m if m is None else torch.tensor(_added(m.square().tolist(), m.device)).sqrt() for m in moved
            ]
        series["update"] = tuple(math.nan if m is None else float(m[0] / m[1]) for m in moved)
        last, since = self._last(watched)
        return History(
            site.layer, site.label, site.units, steps, series,
            tuple((last < 0).nonzero().flatten().tolist()),
            tuple((u, int(last[u])) for u in ((last >= 0) & (last < since)).nonzero().flatten().tolist()),
            self._revived(silences, steps),
        )  # fmt: skip


def _weight_before(site: Site, graph: Graph, names: dict[int, str]) -> str | None:
    """The name of the parameter before an activation; FSDP has another tensor of it while it is used."""
    affine = graph.feeding(graph.calls[site.index]) if site.index >= 0 else None
    if affine is None:
        return None
    name = names.get(id(affine.weight), f"{affine.module}.weight")
    return name if name in names.values() else None


def _floating(value: Any) -> list[Tensor]:
    found = (value,) if isinstance(value, Tensor) else tensors_in(value)
    return [t.detach() for t in found if t.is_floating_point()]


def _usable(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.numel() > 0 and x.dim() > 0


def _sampled(weight: nn.Parameter) -> Tensor:
    """All of a weight, or of a large one some of its rows, evenly spaced."""
    w = weight.to_local() if sharded(weight) else weight.detach()
    return w[:: -(-w.numel() // SAMPLE)] if w.dim() and w.numel() > SAMPLE else w


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _greatest(last: Tensor) -> Tensor:
    """Over all processes: a unit is alive where it is alive in any of them."""
    if _distributed():
        last = last.clone()
        torch.distributed.all_reduce(last, torch.distributed.ReduceOp.MAX)
    return last.cpu()


def _everywhere(value: Any) -> list[Any]:
    """What all processes have."""
    if not _distributed():
        return [value]
    every: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, value)
    return every


def _added(numbers: list[float], device: torch.device) -> list[float]:
    """Over all processes."""
    if not _distributed():
        return numbers
    total = torch.tensor(
        numbers, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device
    )
    torch.distributed.all_reduce(total)
    return total.tolist()  # type: ignore[no-any-return]


def _added_up(watched: _Watched) -> Moments:
    moments = watched.moments()
    if _distributed() and moments.sums is not None:
        total = moments.sums.clone()
        torch.distributed.all_reduce(total)
        if watched.site.profile.squashing:
            low = torch.stack([moments.f_low, -moments.f_high])
            torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MIN)
            moments.f_low, moments.f_high = low[0], -low[1]
        counts = torch.tensor([moments.values, moments.samples], device=total.device)
        torch.distributed.all_reduce(counts)
        moments.sums = total
        moments.values, moments.samples = (int(c) for c in counts)
    return moments

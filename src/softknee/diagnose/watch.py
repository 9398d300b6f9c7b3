"""`softknee.watch`: what happens to the activations of a model while it is trained.

Between the steps that are observed nothing is attached to the model but one hook that counts. In an
observed step the statistics of an activation take one pass over its input and output; they stay
on the device, and nothing waits for them before `report()`.
"""

from __future__ import annotations

import math
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
from softknee.diagnose.session import Measured, judged, name_sites
from softknee.diagnose.theory import FLAT, STILL, expected
from softknee.diagnose.timeline import History, Timeline
from softknee.diagnose.trace import Recorder, tensors_in
from softknee.lang.nodes import number, symbol, where
from softknee.nn import recognise
from softknee.nn.pointwise import Call, Output, Pointwise, Term

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Watch", "watch"]

EVERY = 10
WINDOW = 20  # observed steps


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


class _Watched:
    """One activation: its state per unit, and its series, on the device."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.steps: list[int] = []
        self.rows: list[Tensor] = []
        self.gradients: dict[int, dict[str, Tensor]] = {}
        self.last_alive: Tensor | None = None  # by unit: the last observed step with a slope; -1: none yet
        self.revived: Tensor | None = None
        self.windows: list[list[Tensor]] = [[], []]  # sums of the previous and of the current window
        self.extremes: list[Tensor | None] = [None, None]
        self.counts = [0, 0]
        self.samples = [0, 0]

    @torch.no_grad()
    def observe(self, z: Tensor, f: Tensor, step: int, window: int) -> None:
        site = self.site
        function = site.function
        self.samples[1] += z.shape[0]
        dim = site.dim % z.dim()
        units = z.shape[dim]
        n = z.numel() // units
        wide = torch.float64 if z.device.type != "mps" else torch.float32
        unit = torch.empty((units,) + (1,) * (z.dim() - 1 - dim), dtype=wide, device=z.device)
        limits = (*_living(function, STILL), *_living(function, FLAT))
        sums = torch.stack(_SUMS.evaluate((z, f, unit, Call(limits, (unit.shape,) * 7)))).view(7, units)
        alive = sums[4] > 0
        extremes = None
        if site.profile.squashing:  # it may be a gate
            columns = by_unit(f, site.dim)
            extremes = torch.stack([columns.amin(0), -columns.amax(0)])
        self._extend(sums, extremes, n)
        row = self._row(sums, alive, n)
        if self.steps and self.steps[-1] == step:  # another forward pass of the same step
            self.rows[-1] = (self.rows[-1] + row) / 2
        else:
            self.steps.append(step)
            self.rows.append(row)
        if self.last_alive is None:
            self.last_alive = torch.full((units,), -1, dtype=torch.int64, device=z.device)
            self.revived = torch.zeros((), dtype=torch.int64, device=z.device)
        late = self.steps[-window - 1] if len(self.steps) > window else -1
        if late >= 0:
            self.revived += (alive & (self.last_alive >= 0) & (self.last_alive < late)).sum()
        self.last_alive = torch.where(alive, step, self.last_alive)

    @staticmethod
    def _row(sums: Tensor, alive: Tensor, n: int) -> Tensor:
        """The means over the layer, the share of units alive, and the mean square of the units' means"""
        units = sums.shape[1]
        row = torch.empty(8, dtype=sums.dtype, device=sums.device)
        torch.mean(sums, 1, out=row[:7])
        row /= n
        torch.mean(alive.to(sums.dtype), 0, out=row[4])
        torch.linalg.vecdot(sums[0], sums[0], out=row[7])
        row[7] /= n * n * units
        return row

    def _extend(self, sums: Tensor, extremes: Tensor | None, n: int) -> None:
        self.windows[1] = [self.windows[1][0].add_(sums)] if self.windows[1] else [sums]
        before = self.extremes[1]
        if extremes is not None:
            self.extremes[1] = extremes if before is None else torch.minimum(before, extremes)
        self.counts[1] += n

    def one_step(self) -> None:
        """All that was observed so far belongs to step 0."""
        if self.rows:
            self.rows, self.steps = [torch.stack(self.rows).mean(0)], [0]
        total: dict[str, Tensor] = {}
        for kept in self.gradients.values():
            for name, square in kept.items():
                total[name] = total[name] + square if name in total else square
        self.gradients = {0: total} if total else {}
        if self.last_alive is not None:
            self.last_alive = self.last_alive.clamp(max=0)

    def rotate(self) -> None:
        """A window is over."""
        for pair in (self.windows, self.extremes, self.counts, self.samples):
            pair[0] = pair[1]
        self.windows[1], self.extremes[1], self.counts[1], self.samples[1] = [], None, 0, 0

    def moments(self) -> Moments:
        """Of the last window or two."""
        made = Moments()
        parts = [w[0] for w in self.windows if w]
        if parts:
            made.sums = sum(parts[1:], parts[0]).clone()
            kept = [e for e in self.extremes if e is not None]
            if kept:
                extremes = kept[0] if len(kept) == 1 else torch.minimum(*kept)
                made.f_low, made.f_high = extremes[0], -extremes[1]
            made.values, made.samples = sum(self.counts), sum(self.samples)
        return made


class _Light(Recorder):
    """Records activations; the first time also what lies between them, to give them names."""

    def __init__(self, owner: Watch, full: bool) -> None:
        super().__init__(owner.model)
        self.owner, self.full = owner, full
        self._order: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.full and not self._inside and recognise.called_by(function)[0] is None:
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
        if not (x.is_floating_point() and x.numel() and x.dim()):
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
            step = self.owner.step
            if before is None:
                before = x.detach()
            recording = x.requires_grad and torch.is_grad_enabled()
            version = x._version
            if recording:
                x.register_hook(_keep_gradient(watched, step, "gradient_out"))
            held = before.clone() if _may_overwrite(definition) else before
            result = run()
            if before is held and x._version != version:
                held = None  # overwritten: its input is lost; the next time it is copied before
                _overwriting.add(definition.name)
            if recording and result is not x:
                result.register_hook(_keep_gradient(watched, step, "gradient_in"))
            if held is not None:
                watched.observe(held, result.detach(), step, self.owner.window)
        finally:
            self._inside = False
        if self.full:
            call = self._new("activation", definition.name, (self._of[id(x)],))
            call.definition, call.site, call.shape = definition, watched.site, tuple(result.shape)
            if watched.site.index < 0:
                watched.site.index = call.index
            self._remember(result, call)
        return result


_overwriting: set[str] = set()


def _may_overwrite(definition: Any) -> bool:
    return definition.name in _overwriting


def _keep_gradient(watched: _Watched, step: int, name: str) -> Callable[[Tensor], None]:
    def hook(gradient: Tensor) -> None:
        g = gradient.detach()
        square = torch.linalg.vector_norm(
            g, dtype=torch.float32 if g.dtype != torch.float64 else None
        ).square()
        kept = watched.gradients.setdefault(step, {})
        kept[name] = kept[name] + square if name in kept else square

    return hook


class Watch:
    """A context around training; afterwards (or in between) `report()` says what was seen.

    Under DistributedDataParallel and FSDP call `report()` in every process: units count as alive where they
    were in any of them, and sums are added up. Recomputation of checkpointed layers is not counted again.
    Passes in evaluation mode are not observed. A model compiled by `torch.compile(model)` runs
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
        self.compiled = inner is not model
        self.every, self.window, self.updates = every, window, updates
        self.step = 0
        self.unseen: list[str] = []
        self._sites: dict[Any, _Watched] = {}
        self._places: dict[tuple[str, int], _Watched] = {}
        self._graph: Graph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._updates: dict[int, dict[str, Tensor]] = {}
        self._weights: dict[str, Tensor] | None = None
        self._handles: list[Any] = []
        self._recorder: _Light | None = None
        self._stance: Any = None
        self._optimised = False
        self._forwards = 0  # in this step
        self._observed = 0
        self._parameters = {id(p) for p in inner.parameters()}
        if getattr(inner, "_compiled_call_impl", None) is not None:
            self.unseen.append(
                "the model was compiled in place by model.compile(): nothing inside can be seen; use torch.compile(model), "
                "whose observed steps run uncompiled"
            )

    def __enter__(self) -> Self:
        if self._handles:
            raise CheckError("this watch is running already")
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        self._handles = [
            self.outer.register_forward_pre_hook(self._before, with_kwargs=True),
            self.outer.register_forward_hook(self._after, with_kwargs=True, always_call=True),
            register_optimizer_step_pre_hook(self._before_update),
            register_optimizer_step_post_hook(self._after_update),
        ]
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._weights = None

    # Steps

    def _wanted(self) -> bool:
        return self.step % self.every == 0

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._recorder is not None or not module.training or not torch.is_grad_enabled():
            return
        if not self._optimised and self._forwards:
            self._next()
        self._forwards += 1
        if not self._wanted():
            return
        if self._forwards == 1:
            self._observed += 1
            if self._observed > 1 and (self._observed - 1) % self.window == 0:
                for watched in self._sites.values():
                    watched.rotate()
        if self.compiled:
            self._stance = torch.compiler.set_stance("force_eager")
            self._stance.__enter__()
        recorder = self._recorder = _Light(self, full=self._graph is None)
        recorder.inputs(args, kwargs)
        self._inputs = [t.detach() for t in tensors_in((args, kwargs)) if t.is_floating_point()]
        recorder.__enter__()

    def _after(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        recorder.finished(result)
        if recorder.full and recorder.graph.outputs:
            self._graph = recorder.graph
            self.unseen += recorder.unseen
        self._outputs = [t.detach() for t in tensors_in(result) if t.is_floating_point()]
        self._close()

    def _close(self) -> None:
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            recorder.__exit__(None, None, None)
            recorder.release()
            if recorder.graph is not self._graph:
                recorder.graph = Graph()
        if self._stance is not None:
            stance, self._stance = self._stance, None
            stance.__exit__(None, None, None)

    def _next(self) -> None:
        self.step += 1
        self._forwards = 0

    def _holds(self, optimizer: Any) -> bool:
        return any(id(p) in self._parameters for g in optimizer.param_groups for p in g["params"])

    @torch.no_grad()
    def _before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if (
            self.updates
            and self._forwards
            and self._wanted()
            and self._observed % 10 == 1
            and self._holds(optimizer)
        ):
            self._weights = {
                n: p.detach().clone()
                for n, p in self.model.named_parameters()
                if p.dim() > 1 and p.requires_grad
            }

    @torch.no_grad()
    def _after_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._forwards or not self._holds(optimizer):
            return
        if not self._optimised and self.step:  # what was taken for steps was one, its gradients added up
            for watched in self._sites.values():
                watched.one_step()
            self.step = 0
        self._optimised = True
        if self._weights is not None:
            self._updates[self.step] = {
                n: torch.linalg.vector_norm(p.detach() - self._weights[n])
                / torch.linalg.vector_norm(self._weights[n])
                for n, p in self.model.named_parameters()
                if n in self._weights
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
            return found if found is not None and found.site.definition is definition else None
        source = recorder._of[id(x)]
        weight = recorder.graph.back(source, ("pass", "norm", "dropout", "other", "add", "scale")).weight
        key = (place[0], definition.name, id(weight)) if weight is not None else place
        watched = self._sites.get(key)
        if watched is None:
            site = Site(place, place[0], leaf, definition, dict(values), dict(choices))
            site.dim = recorder._unit_dimension(x, source)
            watched = self._sites[key] = _Watched(site)
        self._places[place] = watched
        return watched

    # What was seen

    def report(self) -> Report:
        """The findings of `softknee.check` on the last windows of steps, and the timeline."""
        if not self._sites or self._graph is None:
            if self._observed == 0:
                raise CheckError("no step in training mode was seen: train the model inside the block")
            self.unseen.append("not one known activation was called in the model's forward pass")
        context = Context(self.model, self._graph or Graph(), [], 0)
        context.inputs, context.outputs = self._inputs, self._outputs
        for watched in self._sites.values():
            site = watched.site
            site.moments = _added_up(watched)
            last = [watched.gradients[s] for s in sorted(watched.gradients)[-self.window :]]
            site.gradient = float(sum(float(g.get("gradient_out", 0.0)) for g in last))
            site.output_gradient = float(sum(float(g.get("gradient_in", 0.0)) for g in last))
            site.gradient_seen = bool(last)
            site.gradient_bad = not (math.isfinite(site.gradient) and math.isfinite(site.output_gradient))
            if (
                context.first_bad is None
                and bool(watched.rows)
                and not bool(torch.isfinite(watched.rows[-1]).all())
            ):
                context.first_bad = (site.module, site.definition.name)
        context.sites = sorted((w.site for w in self._sites.values()), key=lambda s: s.index)
        context.samples = max((s.moments.samples for s in context.sites), default=0)
        name_sites(context)
        timeline = Timeline(
            tuple(self._history(w, context) for w in sorted(self._sites.values(), key=lambda w: w.site.index)),
            self.step + (self._forwards > 0), self.every, self.window,
        )  # fmt: skip
        context.steps = timeline
        did = f"{timeline.steps:,} training steps, one in {self.every} observed; findings are of the last {self.window} to {2 * self.window}"
        return judged(Measured(context, list(self.unseen), did), timeline)

    def _history(self, watched: _Watched, context: Context) -> History:
        site = watched.site
        rows = torch.stack(watched.rows).double().cpu() if watched.rows else torch.zeros(0, 8)
        mean, second, output_mean, output_second, alive, flat, zero, mean_square = rows.T
        columns = {
            "mean": mean, "variance": (second - mean_square).clamp(min=0), "output_mean": output_mean,
            "output_second_moment": output_second, "flat": flat, "zero": zero, "silent": 1 - alive,
        }  # fmt: skip
        series = {n: tuple(v.tolist()) for n, v in columns.items()}
        for name in ("gradient_in", "gradient_out"):
            series[name] = tuple(
                math.sqrt(float(g[name])) if name in (g := watched.gradients.get(s, {})) else math.nan
                for s in watched.steps
            )
        drift = []
        for mean, second, measured in zip(
            rows[:, 0].tolist(), rows[:, 7].tolist(), rows[:, 3].tolist(), strict=True
        ):
            theory = expected(site.function, mean, max(second - mean * mean, 0.0))
            drift.append(measured / theory.second_moment if theory and theory.second_moment > 0 else math.nan)
        series["drift"] = tuple(drift)
        affine = context.affine_before(site) if site.index >= 0 else None
        weight = context.parameter_names.get(id(affine.weight)) if affine is not None else None
        series["update"] = tuple(
            float(self._updates[s][weight]) if weight in self._updates.get(s, {}) else math.nan
            for s in watched.steps
        )
        last = _greatest(watched.last_alive) if watched.last_alive is not None else torch.zeros(0)
        since = (
            watched.steps[-self.window] if len(watched.steps) >= self.window else (watched.steps or [0])[0]
        )
        return History(
            site.layer, site.label, site.units, tuple(watched.steps), series,
            tuple((last < 0).nonzero().flatten().tolist()),
            tuple((u, int(last[u])) for u in ((last >= 0) & (last < since)).nonzero().flatten().tolist()),
            int(watched.revived) if watched.revived is not None else 0,
        )  # fmt: skip


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _greatest(last: Tensor) -> Tensor:
    """Over all processes: a unit is alive where it is alive in any of them."""
    if _distributed():
        last = last.clone()
        torch.distributed.all_reduce(last, torch.distributed.ReduceOp.MAX)
    return last.cpu()


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

"""`softknee.check`: runs a model forward and backward on data, as it is, and judges what was measured."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from softknee.diagnose.data import Batch, batches_of, first_of, invented, loss_of
from softknee.diagnose.errors import CheckError
from softknee.diagnose.probes import Site
from softknee.diagnose.records import LayerRow, Report
from softknee.diagnose.rules import RULES, Context, find
from softknee.diagnose.rules.base import sharded
from softknee.diagnose.trace import Recorder, compiled_in, dense, kept_random_state, tensors_in

__all__ = ["Measured", "check", "judged", "name_sites", "rows"]

BATCHES = 64  # how many batches of an iterable are looked at


def check(
    model: nn.Module,
    batch: Any = None,
    loss: Any = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    batches: int = BATCHES,
    fix: bool = False,
) -> Report:
    """Why does this network not learn? Runs it forward and backward on data and reports what is wrong.

    model: any module; it is not changed (parameters, buffers, gradients, random numbers, mode). It runs in the mode
    it is in, so call `model.eval()` first to examine the network as it will be used.
    batch: a tensor, a tuple (inputs, ..., targets), a dictionary of arguments (with labels), or an
    iterable of these, of which `batches` are looked at; None: standard normal input. Under DistributedDataParallel and
    FSDP call it in every process; each reports on its own data.
    loss: `loss(output, target)`, or its name in torch.nn.functional. Without one, gradients are those of
    what the data suggest, and rules about the loss are silent.
    optimizer: for the rules that look at it. select, ignore: codes or names of rules.
    fix: also repair a copy, as far as that is safe: `report.repaired`, and before and after in `report.repair`.

    >>> import softknee as sk, torch
    >>> bad = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Softmax(dim=1))
    >>> report = sk.check(bad, (torch.randn(64, 8), torch.randint(4, (64,))), loss="cross_entropy")
    >>> report.findings[0].rule_name, report.findings[0].layer
    ('softmax-before-cross-entropy', '1')
    """
    if not isinstance(model, nn.Module):
        raise CheckError(f"check takes a torch.nn.Module, got {type(model).__name__}")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise CheckError(f"the optimizer must be one of torch's, got {type(optimizer).__name__}")
    if not isinstance(batches, int) or isinstance(batches, bool) or batches < 1:
        raise CheckError(f"batches must be a positive integer, got {batches!r}")
    chosen = [
        tuple(find(n).code for n in ([names] if isinstance(names, str) else names))
        for names in (select, ignore)
    ]

    if fix and isinstance(
        batch, Iterator
    ):  # the copy is shown the same; a deque is no batch, as a list may be
        batch = deque(first_of(batch, batches))

    def examined(one: nn.Module) -> tuple[Report, Measured]:
        seen = _measured(one, batch, loss_of(loss), optimizer, batches)
        return judged(seen).only(*chosen), seen

    report, seen = examined(model)
    if fix:
        from softknee.diagnose.fixes import repaired

        report = repaired(report, seen, examined)
    return report


@dataclass
class Measured:
    """A context and how it came about."""

    context: Context
    unseen: list[str] = field(default_factory=list)
    did: str = ""


def judged(measured: Measured, timeline: Any = None) -> Report:
    context = measured.context
    _gather(context)
    findings = [f for rule in RULES.values() for f in rule.judge(rule, context)]
    return Report(
        model=type(context.model).__name__,
        findings=tuple(findings),
        layers=tuple(rows(context)),
        unseen=tuple(dict.fromkeys([*measured.unseen, *_fused(context)])),
        did=measured.did,
        loss=context.loss,
        timeline=timeline,
    )


def _fused(context: Context) -> list[str]:
    """What is not seen of fused recurrent layers: `watch` sees no gates, `check` does, but of LSTMs and GRUs alone."""
    said = []
    for call in context.graph.of_kind("recurrent"):
        where, gates = call.module or "the model", call.details.get("gates")
        if gates is None:
            said.append(f"{where} is computed by one fused function ({call.name}): its gates cannot be seen during "
                        "training; check computes them")  # fmt: skip
        else:
            also = "; its gates were computed once more, without dropout" if gates else ""
            said.append(
                f"{where} is computed by one fused function ({call.name}): the activations inside cannot be seen{also}"
            )
    return said


def _measured(
    model: nn.Module, data: Any, loss: Callable[..., Any] | None, optimizer: Any, most: int
) -> Measured:
    unseen: list[str] = []
    compiled = compiled_in(model)
    if compiled:
        unseen.append("the model is compiled: it was run uncompiled, which computes the same")
        model = getattr(model, "_orig_mod", model)
    first = next((p for p in model.parameters()), None)
    if any(
        isinstance(p, nn.parameter.UninitializedParameter) for p in (*model.parameters(), *model.buffers())
    ):
        raise CheckError(
            "the model has lazy layers, whose weights have no shape yet: run it on a batch first"
        )
    device = first.device if first is not None else torch.device("cpu")
    if device.type == "meta":
        raise CheckError(
            "the model's parameters are on the meta device and have no values: materialise them first"
        )
    with (
        torch.inference_mode(False), _unchanged(model), _alone(model),
        _uncompiled() if compiled else nullcontext(),
    ):  # fmt: skip
        words = ""
        if data is None:
            torch.manual_seed(0)
            one, words = invented(model)
            found = iter([one])
        else:
            found = batches_of(data, device, loss is not None, most)
        sites: dict[Any, Site] = {}
        context: Context | None = None
        samples = 0
        for one in found:
            samples += one.samples
            made = _run(model, one, loss, sites, unseen, context is None, words)
            context = context or made
        if context is None:
            raise CheckError("the data have no batch: nothing could be run")
    context.samples, context.invented, context.optimizer = samples, data is None, optimizer
    context.loss_given = loss is not None
    context.sites = sorted((s for s in sites.values() if s.index >= 0), key=lambda s: s.index)
    name_sites(context)
    if not context.sites:
        unseen.append(
            "not one known activation was called: rules about activations had nothing to look at "
            "(softknee.define makes your own known)"
        )
    mode = "training" if model.training else "evaluation"
    ran = words or f"{samples:,} sample{'s' * (samples != 1)} of data"
    did = f"{ran}, forward{' and backward' if context.parameter_gradients else ' only'}, in {mode} mode"
    return Measured(context, unseen, did)


@contextmanager
def _unchanged(model: nn.Module) -> Any:
    """The model comes out as it went in."""
    state = [(t, t.detach().clone()) for t in (*model.parameters(), *model.buffers())]
    modes = [(m, m.training) for m in model.modules()]
    with kept_random_state():
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, before in state:
                    if not (dense(tensor) and tensor.shape == before.shape and torch.equal(tensor, before)):
                        tensor.set_(before) if tensor.shape != before.shape else tensor.copy_(before)
            for module, training in modes:
                module.training = training


def _uncompiled() -> AbstractContextManager[Any]:
    return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return, no-untyped-call]


def _alone(model: nn.Module) -> AbstractContextManager[Any]:
    """DistributedDataParallel waits for no gradients of this run."""
    return model.no_sync() if isinstance(model, nn.parallel.DistributedDataParallel) else nullcontext()


def _run(
    model: nn.Module, batch: Batch, loss: Callable[..., Any] | None, sites: dict[Any, Site],
    unseen: list[str], first: bool, made_up: str,
) -> Context:  # fmt: skip
    """One batch, forward and backward. made_up: where its input comes from, if it is no data."""
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    recorder = Recorder(model, sites)
    recorder.inputs(batch.args, batch.kwargs)
    recorder.unseen = unseen
    with torch.enable_grad():
        with recorder:
            result = _called(model, batch, made_up)
            recorder.finished(result)
            try:
                value, words = _loss(result, batch, loss)
            except CheckError as error:
                if recorder.first_bad is None:
                    raise
                value, words = None, str(error)  # no wonder: the output holds NaN, and a rule says so
            if value is not None:
                recorder.judged(value)
        gradients = _gradients(value, parameters, unseen) if value is not None and first else {}
        if not first and value is not None and value.requires_grad:
            _gradients(value, parameters, [])
    if first and words:
        unseen.append(words)
    context = Context(model, recorder.graph, [], batch.samples)
    context.inputs, context.targets, context.outputs = (
        [t.detach() for t in tensors_in(given) if t.is_floating_point() and dense(t)]
        for given in ((batch.args, batch.kwargs), batch.target, result)
    )
    context.loss = None if value is None else float(value.detach())
    context.parameter_gradients = gradients
    context.first_bad = recorder.first_bad
    recorder.release()
    return context


def _called(model: nn.Module, batch: Batch, made_up: str) -> Any:
    try:
        return model(*batch.args, **batch.kwargs)
    except CheckError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors_in((batch.args, batch.kwargs)))
        raise CheckError(
            f"the model failed on input of shape {shapes}: {type(error).__name__}: {error}"
            + (f"\nThat input was made up ({made_up}): give data" if made_up else "")
        ) from error


def _loss(result: Any, batch: Batch, loss: Callable[..., Any] | None) -> tuple[Tensor | None, str]:
    """The loss, and what has to be said about it."""
    outputs = [t for t in tensors_in(result) if t.is_floating_point() and dense(t)]
    if loss is not None:
        main = outputs[0] if outputs and not isinstance(result, Tensor) and _plain(loss) else result
        if batch.target is None:
            raise CheckError("there is a loss but no target: give the batch as (inputs, targets)")
        try:
            value = loss(main, batch.target)
        except Exception as error:
            shapes = f"{_shape(main)} and target of shape {_shape(batch.target)}"
            raise CheckError(
                f"the loss failed on output of shape {shapes}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise CheckError(
                f"the loss must be one number, got "
                f"{'shape ' + _shape(value) if isinstance(value, Tensor) else type(value).__name__}; "
                "use its mean or sum"
            )
        return value.reshape(()), ""
    scalar = next((t for t in outputs if t.numel() == 1), None)
    if scalar is not None and (len(outputs) > 1 or not scalar.dim()) and scalar.requires_grad:
        return scalar.reshape(()), ""
    if not outputs:
        return None, "the model returned no floating-point tensor: no gradient was taken"
    out, target = outputs[0], batch.target
    functional = nn.functional
    words = "no loss was given: gradients are those of"
    if isinstance(target, Tensor):
        if not target.is_floating_point() and out.dim() > 1 and target.shape == out.shape[:1] + out.shape[2:]:
            known = int(target.min()) >= 0 and int(target.max()) < out.shape[1]
            if known:
                return functional.cross_entropy(out.float(), target.long()), f"{words} the cross-entropy"
        if target.shape == out.shape:
            return functional.mse_loss(out.float(), target.float()), f"{words} the mean squared error"
    generator = torch.Generator(device="cpu").manual_seed(0)
    direction = torch.randn(out.shape, generator=generator).to(out.device)
    return (out.float() * direction).sum() / math.sqrt(
        out.numel()
    ), f"{words} a random combination of the outputs"


def _plain(loss: Callable[..., Any]) -> bool:
    """One of torch's own losses, which take a tensor."""
    return isinstance(loss, nn.Module) or getattr(loss, "__module__", "").startswith("torch")


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _gradients(
    value: Tensor, parameters: dict[str, nn.Parameter], unseen: list[str]
) -> dict[str, Tensor | None]:
    if not value.requires_grad:
        frozen = (
            "every parameter is frozen"
            if not parameters
            else "nothing in it depends on a parameter that is trained"
        )
        unseen.append(f"no gradient could be taken: {frozen}")
        return {}
    if not parameters:
        unseen.append("every parameter is frozen: rules about gradients saw nothing")
        return {}
    every = list(parameters.values())
    if any(map(sharded, every)):  # the graph holds their gathered copies
        return dict(zip(parameters, _by_backward(value, every), strict=True))
    try:
        found = torch.autograd.grad(value, every, allow_unused=True)
    except RuntimeError as error:
        if "checkpoint" not in str(error).lower() or ".grad()" not in str(error):
            raise CheckError(f"the backward pass failed: {error}") from error
        found = _by_backward(value, every)
    numbers = [g.coalesce().values() if g is not None and g.is_sparse else g for g in found]
    return dict(zip(parameters, numbers, strict=True))


def _by_backward(value: Tensor, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """For reentrant checkpoints and sharded parameters, which torch.autograd.grad does not work with."""
    before = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    try:
        value.backward()
        return [p.grad for p in parameters]
    finally:
        for p, g in zip(parameters, before, strict=True):
            p.grad = g


@torch.no_grad()
def _gather(context: Context) -> None:
    """Weights that FSDP has freed after use: here they are put together again, in every process."""
    if not any(sharded(p) for p in context.model.parameters()):
        return
    for call in context.graph.calls:
        for name in ("weight", "bias"):
            used = getattr(call, name)
            if not isinstance(used, Tensor) or used.untyped_storage().size() or not used.numel():
                continue
            held = getattr(context.modules.get(call.module), name, None)
            setattr(call, name, held.full_tensor() if sharded(held) else None)


def name_sites(context: Context) -> None:
    """An activation is called by its module where it has one of its own, else by the layer whose
    results it gets, else by the module that calls it."""
    uses: dict[str, int] = {}
    for site in context.sites:
        uses[site.module] = uses.get(site.module, 0) + 1
    for site in context.sites:
        if site.leaf and uses[site.module] == 1:
            site.layer = site.module
        else:
            before = context.affine_before(site)
            site.layer = before.module if before is not None and before.module else site.module


def rows(context: Context) -> list[LayerRow]:
    """One row an activation."""
    made = []
    for site in context.sites:
        m = site.moments
        if m.sums is None:
            continue
        theory = context.theory(site)
        made.append(
            LayerRow(
                site.layer, site.label, site.units, m.samples, m.mean("z"), m.mean("zz"), m.mean("f"), m.mean("ff"),
                theory and theory.second_moment, m.mean("flat"), theory and theory.flat, m.mean("zero"),
                theory and theory.zero, int(site.dead.sum()),
                math.sqrt(site.gradient) if site.gradient_seen else None,
            )
        )  # fmt: skip
    return made

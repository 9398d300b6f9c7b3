"""`Pointwise`: the one autograd mechanism.

Several expressions over several tensors, evaluated in one pass, each result summed down to the
shape of the tensor it belongs to. The derivative of a pointwise expression is a pointwise
expression, so its backward (and its forward-mode derivative) is again a `Pointwise`, and so
differentiable again, to any order. The gradient of a summed result is expanded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from softknee.kernels import native
from softknee.kernels.plan import sources
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import Node, number, symbol, symbols_in, walk
from softknee.lang.simplify import simplify
from softknee.lang.stabilise import guard_dead_branches, rewrite, stabilise
from softknee.lang.stored import from_json, to_json
from softknee.nn import launch
from softknee.nn.saved import saved_form

__all__ = ["Call", "Output", "Pointwise", "Term", "constant", "current"]

Shape = tuple[int, ...]
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Term:
    """expression, times the incoming gradients (or tangents) named by factors"""

    expression: Node
    factors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output:
    """A sum of terms; target: the position of the tensor whose shape it is summed down to."""

    terms: tuple[Term, ...]
    target: int | None = None


class Call:
    """What a call carries besides tensors: parameter values, and the shapes results are summed to."""

    __slots__ = ("plain", "precision", "scalars", "shapes")

    def __init__(
        self,
        scalars: tuple[float, ...] = (),
        shapes: tuple[Shape | None, ...] = (None,),
        precision: str = "default",
    ) -> None:
        self.scalars = scalars
        self.shapes = shapes
        self.precision = precision
        self.plain = shapes == (None,) * len(shapes)  # nothing is summed


#: what a call carries without parameters, summed results and options
usual = Call()


class _Current(threading.local):
    """The options of this thread; `call` is what a call without parameters carries."""

    call = usual
    kept = ("full", 4)  # what backward keeps: see options
    usual = True  # whether both are these


current = _Current()

# In eager mode this is the cheaper question; other tracers bring tensors of their own types.
_is_compiling = torch.compiler.is_dynamo_compiling
_functorch_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
_grad_enabled = torch.is_grad_enabled
_dual_level = torch.autograd.forward_ad
_exact = (Tensor, torch.nn.Parameter)


class Pointwise:
    """Expressions over the tensors named by `tensors` and the numbers named by `scalars`.

    Call it with the tensors and a `Call`; it returns one tensor, or a tuple where there are
    several outputs. Build it from one expression with `Pointwise.of`.
    """

    def __init__(
        self,
        outputs: tuple[Output, ...],
        tensors: tuple[str, ...],
        scalars: tuple[str, ...] = (),
        inputs: tuple[str, ...] = ("x",),
    ) -> None:
        self.outputs = outputs
        self.tensors = tensors
        self.scalars = scalars
        self.inputs = inputs  # the symbols that may be infinite or huge: see stabilise.tame
        self.single = len(outputs) == 1
        self.kernels: dict[object, Any] = {}  # by what they were compiled for; see launch
        self.ready: dict[Any, Any] = {}  # how calls on some shapes are done; see launch
        self.forms: dict[Any, Any] = {}  # what is kept for backward; see saved
        self.samples: dict[str, tuple[float, ...]] = {}  # values of other symbols to try in tame
        self.data = ("x",)  # the tensors that are no parameters
        self.number = len(_operators)
        _operators.append(self)
        self._derived: dict[object, tuple[Pointwise, tuple[int, ...]] | None] = {}

    @classmethod
    def of(
        cls,
        expression: Node,
        tensors: Sequence[str],
        scalars: Sequence[str] = (),
        inputs: Sequence[str] = ("x",),
    ) -> Pointwise:
        return cls((Output((Term(rewrite(expression)),)),), tuple(tensors), tuple(scalars), tuple(inputs))

    def __repr__(self) -> str:
        return f"Pointwise({', '.join(map(repr, self.expressions))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.outputs, self.tensors, self.scalars, self.inputs)

    # What is evaluated

    @cached_property
    def expressions(self) -> tuple[Node, ...]:
        """One stable expression an output; in a kernel several share what they can."""
        return self._stable(not self.single)

    def _stable(self, several: bool) -> tuple[Node, ...]:
        terms = tuple([term.expression for output in self.outputs for term in output.terms])
        stable = iter(_stabilised(terms, self.inputs, self.samples, several))
        results = []
        for output in self.outputs:
            total: Node = number(0)
            for term in output.terms:
                value = next(stable)
                for factor in term.factors:
                    value = simplify(symbol(factor) * value)
                total = simplify(total + value)
            results.append(total)
        return tuple(results)

    @cached_property
    def emitted(self) -> Any:
        """The expressions as a function of torch operations."""
        roots = tuple(map(guard_dead_branches, self._stable(False)))
        return compiled(roots, (*self.tensors, *self.scalars), "torch")

    # What is derived

    def backward(self, needs: tuple[bool, ...]) -> tuple[Pointwise, tuple[int, ...]] | None:
        """The operator that gives the gradients of the tensors that need one, and which tensors
        those are; None where all gradients are zero. Its tensors are ours and one gradient an
        output, as far as it uses them."""
        if needs not in self._derived:
            self._derived[needs] = self._backward(needs)
        return self._derived[needs]

    def _backward(self, needs: tuple[bool, ...]) -> tuple[Pointwise, tuple[int, ...]] | None:
        incoming = self._fresh("g", len(self.outputs))
        results = []
        for j, name in enumerate(self.tensors):
            if not needs[j]:
                continue
            terms = []
            for out, gradient in zip(self.outputs, incoming, strict=True):
                for term in _differentiated(out, name):
                    terms.append(Term(term.expression, (*term.factors, gradient)))
            if terms:
                alone = len(self.tensors) == 1 and all(o.target is None for o in self.outputs)
                results.append(
                    (j, Output(tuple(terms), None if alone else j))
                )  # alone: nothing was broadcast
        return self._with(results, incoming)

    def jvp(self, has: tuple[bool, ...]) -> tuple[Pointwise, tuple[int, ...]] | None:
        """The operator that gives the tangents of the outputs, from one tangent a tensor that has one."""
        key = ("jvp", has)
        if key not in self._derived:
            incoming = self._fresh("t", len(self.tensors))
            results = []
            for i, out in enumerate(self.outputs):
                terms = []
                for name, tangent, present in zip(self.tensors, incoming, has, strict=True):
                    if present:
                        for term in _differentiated(out, name):
                            terms.append(Term(term.expression, (*term.factors, tangent)))
                if terms:
                    results.append((i, Output(tuple(terms), out.target)))
            self._derived[key] = self._with(results, incoming)
        return self._derived[key]

    def _fresh(self, letter: str, count: int) -> tuple[str, ...]:
        return tuple(f"{letter}{len(self.tensors)}_{i}" for i in range(count))

    def _with(
        self, results: list[tuple[int, Output]], incoming: tuple[str, ...]
    ) -> tuple[Pointwise, tuple[int, ...]] | None:
        if not results:
            return None
        places = tuple(place for place, _ in results)
        outputs = tuple(output for _, output in results)
        derived = Pointwise(outputs, (*self.tensors, *incoming), self.scalars, self.inputs)
        derived.samples = self.samples
        return derived, places

    @cached_property
    def spelled(self) -> bool:
        """Whether kernels can do it: a power with a variable exponent is left to torch."""
        return not any(n.op == "pow" and n.args[1].op != "number" for n in walk(*self.expressions))

    @cached_property
    def used(self) -> frozenset[str]:
        """The tensors whose values the results depend on."""
        return frozenset(self.tensors) & set(symbols_in(*self.expressions))

    @cached_property
    def factors(self) -> frozenset[str]:
        """The incoming gradients and tangents"""
        return frozenset(f for output in self.outputs for term in output.terms for f in term.factors)

    @cached_property
    def reads_all(self) -> bool:
        return self.used == frozenset(self.tensors)

    # What is called

    def __call__(self, *args: Any) -> Any:
        if _is_compiling():
            return self._traced(*args)
        grad = False
        for t in args[:-1]:
            if type(t) not in _exact:
                return self._foreign(args)
            if t.requires_grad:
                grad = True
        if _functorch_active():
            return self.function.apply(*args)
        tensors = args[:-1]
        if grad and _grad_enabled() and _dual_level._current_level < 0 and _alike(tensors):
            form = saved_form(self, current.kept, args[-1].scalars)
            if form is not None and launch.eligible(tensors) and (way := form.way(*tensors)) is not None:
                return way(*args, False)
        if (grad and _grad_enabled()) or _dual_level._current_level >= 0:
            # a recording tracer wants operations it can write down, not a function of ours
            return self._apply(*args) if launch._tracing() is None else self.emit(args)
        return self.evaluate(args)

    def _traced(self, *args: Any) -> Any:
        """What torch.compile and torch.export see: a function whose forward and backward are plain
        torch operations of the derived expressions."""
        for k, t in enumerate(args[:-1]):
            if any(t is other for other in args[:k]):  # torch.compile wants each to be another one
                args = (*args[:k], t.view_as(t), *args[k + 1 :])
        needs = tuple([t.requires_grad for t in args[:-1]])
        name = _prepare(self.number, needs)
        call = args[-1]
        if True not in needs:
            return self.emit(args)
        return getattr(self, name).apply(*args[:-1], call.scalars, call.shapes)

    def _foreign(self, args: tuple[Any, ...]) -> Any:
        """Tensor subclasses and tracers' proxies: operations they can see."""
        tensors = [a for a in args[:-1] if isinstance(a, Tensor)]
        if len(tensors) < len(args) - 1 or any(type(t).__torch_function__ is not Tensor.__torch_function__
                                               for t in tensors if type(t) not in _exact):  # fmt: skip
            return self.emit(args)
        return self.function.apply(*args)

    @cached_property
    def _apply(self) -> Any:
        # Function.apply inspects the signature of forward on every call; the C function does not
        return super(torch.autograd.Function, self.function).apply  # type: ignore[misc]

    def evaluate(self, args: tuple[Any, ...]) -> Any:
        """The values, without recording: by our kernel where it can run, else by torch operations."""
        tensors = args[:-1]
        if self.spelled and launch.eligible(tensors):
            try:
                results = launch.run(self, tensors, args[-1])
            except RuntimeError as error:
                if "data pointer" not in str(error):  # a tensor without memory of its own: vmap's old kind
                    raise
                results = None
            if results is not None:
                return results
        return self.emit(args)

    def gradients(
        self, tensors: tuple[Tensor, ...], incoming: tuple[Tensor, ...], call: Call, needs: tuple[bool, ...]
    ) -> list[Any]:
        """For backward: a gradient for each tensor that needs one, else None."""
        results: list[Any] = [None] * len(tensors)
        derived = self.backward(needs)
        if derived is None:
            return results
        back, places = derived
        if back.outputs[0].target is not None:
            call = Call(call.scalars, tuple([tensors[p].shape for p in places]), call.precision)
        if _grad_enabled() or _functorch_active() or _dual_level._current_level >= 0:
            values = back(*tensors, *incoming, call)  # to be differentiated again
        else:
            values = back.evaluate((*tensors, *incoming, call))
        for place, value in zip(places, (values,) if back.single else values, strict=True):
            results[place] = value
        return results

    def emit(self, args: tuple[Any, ...]) -> Any:
        """The values by torch operations; 16-bit tensors are computed in float32."""
        call: Call = args[-1]
        tensors = args[:-1]
        dtypes = [t.dtype if isinstance(t, Tensor) else None for t in tensors]  # None: a tracer's proxy
        if torch.float16 in dtypes or torch.bfloat16 in dtypes:
            results = self.emitted(*(_widened(t) for t in tensors), *call.scalars)
        else:
            results = self.emitted(*tensors, *call.scalars)
        full = [t for t in tensors if isinstance(t, Tensor)]
        finished = []
        for result, shape, output in zip(results, call.shapes, self.outputs, strict=True):
            dtype = dtypes[output.target] if output.target is not None else _common(dtypes)
            if full:
                if not isinstance(result, Tensor):  # an expression that is a plain number
                    result = torch.full_like(full[0], result)
                wide = torch.broadcast_shapes(*(t.shape for t in full))
                result = result.expand(wide) if result.shape != wide else result
                if shape is not None and result.shape != shape:
                    result = result.sum_to_size(shape)
            if dtype is not None and result.dtype != dtype:
                result = result.to(dtype)
            finished.append(result)
        return finished[0] if self.single else tuple(finished)

    def unary(self, otherwise: Any, scalars: tuple[float, ...] = ()) -> Any:
        """The operator as a function of one tensor, exactly a Tensor. One without gaps, of a type that it has met
        before, takes the short way: at small sizes the time goes into asking the tensor what it is.
        otherwise: called with every tensor that is not of a floating type; scalars: the numbers that it is given."""
        recorded, values = (
            (self.forms, self.ready) if not scalars else ({}, {})
        )  # by type, for the usual options
        own = Call(scalars) if scalars else usual
        modes, tracing, strided = launch._modes, launch._tracing, torch.strided

        def recording(dtype: torch.dtype) -> Any:
            if dtype not in launch.STORAGE:
                return None
            form = saved_form(self, current.kept, scalars)
            made = (lambda x: self._apply(x, own)) if form is None else form.usual(dtype, own)
            recorded[dtype] = made
            return made

        def evaluating(dtype: torch.dtype) -> Any:
            kernel = self.kernels.get((dtype, "default"))
            if kernel is None or not kernel.whole:
                return None
            on = kernel.on
            made = values[dtype] = (lambda x: on(x, *scalars)) if scalars else on
            return made

        def now() -> Call:
            return Call(scalars, (None,), current.call.precision) if scalars else current.call

        def call(x: Any) -> Any:
            if _is_compiling():
                return self._traced(x, now())
            if current.usual and _dual_level._current_level < 0:
                if not (x.requires_grad and _grad_enabled()):  # the kernel asks for the rest
                    if (on := values.get(x.dtype) or evaluating(x.dtype)) is not None and (
                        result := on(x)
                    ) is not None:
                        return result
                elif (
                    x.is_cpu
                    and x.layout is strided
                    and not _functorch_active()
                    and not modes()
                    and tracing() is None
                    and not x.is_neg()
                    and (record := recorded.get(x.dtype) or recording(x.dtype)) is not None
                ):
                    return record(x)
            floating = x.is_floating_point() and x.layout is strided
            return self(x, now()) if floating else otherwise(x)

        return call

    def joint(self) -> Any:
        """The operator as a function of two tensors, as `unary` has it for one; None where they are not of one shape and
        floating type."""
        recorded, values = self.forms, self.ready  # by type, for the usual options
        modes, tracing, strided = launch._modes, launch._tracing, torch.strided
        product, large = self.product, launch.HUGE // 2

        def recording(dtype: torch.dtype) -> Any:
            form = saved_form(self, current.kept) if dtype in launch.STORAGE else None
            made = recorded[dtype] = None if form is None else form.usual(dtype, usual)
            return made

        def evaluating(dtype: torch.dtype) -> Any:
            kernel = self.kernels.get((dtype, "default"))
            if kernel is None or not kernel.whole:
                return None
            values[dtype] = kernel.on
            return kernel.on

        def call(a: Tensor, b: Tensor) -> Any:
            compiling = _is_compiling()
            short = not compiling and current.usual and _dual_level._current_level < 0
            recorded_now = _grad_enabled() and (a.requires_grad or b.requires_grad)
            if (
                short
                and not recorded_now  # the kernel asks for the rest
                and (on := values.get(a.dtype) or evaluating(a.dtype)) is not None
                and (result := on(a, b)) is not None
            ):
                return result
            alike = a.layout is strided is b.layout and a.dtype is b.dtype and a.shape == b.shape
            if not (alike and a.is_floating_point()):
                return None
            if compiling:
                return self._traced(a, b, current.call)
            if (
                short
                and recorded_now
                and a.is_cpu
                and b.is_cpu
                and not _functorch_active()
                and not modes()
                and tracing() is None
                and not a.is_neg()
                and not b.is_neg()
            ):
                if product and a.numel() * a.element_size() < large:  # then torch's node is sooner done
                    return torch.mul(a, b)
                if (record := recorded.get(a.dtype) or recording(a.dtype)) is not None:
                    return record(a, b)
            return self(a, b, current.call)

        return call

    @cached_property
    def product(self) -> bool:
        """Whether it is the product of its two tensors and nothing else: torch's has the same roundings, of
        the gradients too, and small ones are done sooner."""
        if len(self.tensors) != 2 or not self.single or self.outputs[0].target is not None:
            return False
        (term, *more) = self.outputs[0].terms
        whole = simplify(symbol(self.tensors[0]) * symbol(self.tensors[1]))
        return not (more or term.factors) and term.expression is whole

    @cached_property
    def function(self) -> type[torch.autograd.Function]:
        return _function_of(self)


def _stabilised(
    roots: tuple[Node, ...], inputs: tuple[str, ...], samples: Mapping[str, tuple[float, ...]], several: bool
) -> tuple[Node, ...]:
    """`stabilise` of each, from the cache on disk: to find a series or a limit takes up to 40 ms."""

    def make() -> bytes:
        return to_json(*[stabilise(root, inputs, samples, several) for root in roots]).encode()

    key = repr((to_json(*roots), inputs, sorted(samples.items()), several, sources()))
    try:
        found = from_json(native.cached(key, "json", make))
    except ValueError:
        found = ()
    return found if len(found) == len(roots) else from_json(make())  # else: whole, but nothing that we wrote


#: every operator made, so that a tracer can name one by its number
_operators: list[Pointwise] = []


def constant(function: _Function) -> _Function:
    """`torch.compiler.assume_constant_result`, which imports the compiler for it: a second that only its users should wait"""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant
def _prepare(number: int, needs: tuple[bool, ...]) -> str:
    """Makes what tracing needs but must not see being made; returns the attribute it is kept in."""
    op = _operators[number]
    name = "_traced_" + "".join("ny"[n] for n in needs)
    if not hasattr(op, name):
        op.emitted  # noqa: B018
        setattr(op, name, _traced_function(op, needs))
    return name


def _traced_function(op: Pointwise, needs: tuple[bool, ...]) -> Any:
    """An autograd function without the hooks that torch.compile cannot trace."""
    derived = op.backward(needs)
    back, places = derived if derived is not None else (None, ())
    if back is not None:
        back.emitted  # noqa: B018
    count = len(op.tensors)

    class TracedFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            ctx.save_for_backward(*args[:count])
            ctx.scalars, ctx.shapes = args[count], args[count + 1]
            return op.emit((*args[:count], Call(args[count], args[count + 1])))

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            results: list[Any] = [None] * (count + 2)
            if back is not None:
                tensors = ctx.saved_tensors
                shapes = tuple(
                    [
                        None if o.target is None else tensors[p].shape
                        for p, o in zip(places, back.outputs, strict=True)
                    ]
                )
                values = back(*tensors, *gradients, Call(ctx.scalars, shapes))
                for place, value in zip(places, (values,) if back.single else values, strict=True):
                    results[place] = value
            return tuple(results)

    return TracedFunction


def _alike(tensors: Sequence[Tensor]) -> bool:
    """Whether they have one shape and type"""
    first = tensors[0]
    return all(t.dtype is first.dtype and t.shape == first.shape for t in tensors[1:])


def _widened(t: Any) -> Any:
    return t.float() if isinstance(t, Tensor) and t.dtype in (torch.float16, torch.bfloat16) else t


@lru_cache(maxsize=256)
def _promoted(dtypes: tuple[torch.dtype, ...]) -> torch.dtype:
    result = dtypes[0]
    for dtype in dtypes[1:]:
        result = torch.promote_types(result, dtype)
    return result


def _common(dtypes: Sequence[torch.dtype | None]) -> torch.dtype | None:
    if None in dtypes:
        return None
    return dtypes[0] if all(d is dtypes[0] for d in dtypes) else _promoted(tuple(dtypes))  # type: ignore[arg-type]


def _differentiated(output: Output, name: str) -> list[Term]:
    """The terms of an output's derivative with respect to a tensor or an incoming gradient."""
    terms = []
    for term in output.terms:
        if name in term.factors:
            terms.append(Term(term.expression, tuple(f for f in term.factors if f != name)))
        slope = rewrite(derivative(term.expression, name))
        if not (slope.op == "number" and slope.payload == 0):
            terms.append(Term(slope, term.factors))
    return terms


def _function_of(op: Pointwise) -> type[torch.autograd.Function]:
    """The autograd function of an operator, made once."""
    count = len(op.tensors)

    class PointwiseFunction(torch.autograd.Function):
        @staticmethod
        def forward(*args: Any) -> Any:
            return op.evaluate(args)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            tensors = inputs[:count]
            ctx.call = inputs[count]
            ctx.save_for_backward(*tensors)
            if _dual_level._current_level >= 0 or _functorch_active():
                ctx.save_for_forward(*tensors)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return *op.gradients(ctx.saved_tensors, gradients, ctx.call, ctx.needs_input_grad[:count]), None

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            given = tangents[:count]
            has = tuple(t is not None for t in given)
            derived = op.jvp(has)
            tensors = ctx.saved_tensors
            like = [torch.zeros(s, dtype=tensors[0].dtype, device=tensors[0].device)
                    if s is not None else torch.zeros_like(torch.broadcast_tensors(*tensors)[0])
                    for s in ctx.call.shapes]  # fmt: skip
            if derived is not None:
                forward, places = derived
                filled = [
                    t if t is not None else torch.zeros_like(x) for t, x in zip(given, tensors, strict=True)
                ]
                call = Call(ctx.call.scalars, tuple(ctx.call.shapes[p] for p in places), ctx.call.precision)
                values = forward(*tensors, *filled, call)
                for place, value in zip(places, (values,) if forward.single else values, strict=True):
                    like[place] = value
            return like[0] if op.single else tuple(like)

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
            # the batch dimension comes first, every tensor gets the rank of the widest behind it
            tensors, dims, call = args[:count], in_dims[:count], args[count]
            rank = max(t.dim() - (d is not None) for t, d in zip(tensors, dims, strict=True))
            moved, logical = [], []
            for t, d in zip(tensors, dims, strict=True):
                if d is not None:
                    t = t.movedim(d, 0)
                    logical.append(t.shape[1:])
                    t = t.reshape(t.shape[0], *([1] * (rank - t.dim() + 1)), *t.shape[1:])
                else:
                    logical.append(t.shape)
                moved.append(t)
            wide, final = [], []
            full = torch.broadcast_shapes(*logical)
            for shape in call.shapes:
                final.append((info.batch_size, *(full if shape is None else shape)))
                padded = [1] * (rank - len(final[-1]) + 1)
                wide.append(None if shape is None else (info.batch_size, *padded, *final[-1][1:]))
            if not any(d is not None for d in dims):
                result = op(*tensors, call)
                return result, None if op.single else tuple(None for _ in op.outputs)
            # a result summed to the shape of a tensor that has no batch is one a sample
            results = op(*moved, Call(call.scalars, tuple(wide), call.precision))
            results = (results,) if op.single else results
            shaped = tuple(
                r.expand(f) if s is None else r.reshape(f)
                for r, f, s in zip(results, final, wide, strict=True)
            )
            return (shaped[0], 0) if op.single else (shaped, tuple(0 for _ in shaped))

    PointwiseFunction.__name__ = PointwiseFunction.__qualname__ = "Pointwise"
    return PointwiseFunction

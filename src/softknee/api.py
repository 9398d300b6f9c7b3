"""The public `Activation`: a facade over a definition; facts, functions and plots are imported on use."""

from __future__ import annotations

import inspect
import keyword
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from softknee import catalogue
from softknee.catalogue.definition import LEFT, MEAN, RIGHT, Definition
from softknee.catalogue.definition import Parameter as _Parameter
from softknee.lang.nodes import Node

if TYPE_CHECKING:
    from softknee.analysis.facts import Facts

__all__ = ["Activation", "Parameter", "define", "get", "names"]


class Activation:
    """One activation function. Call it: a tensor (with autograd), a numpy array or a float in, the
    same kind out.

    >>> import softknee as sk
    >>> mish = sk.get("mish")
    >>> round(mish(1.0), 6), round(mish.derivative(1.0), 6)
    (0.865098, 1.049036)
    """

    __slots__ = ("definition",)

    def __init__(self, definition: Definition) -> None:
        self.definition = definition

    name = property(lambda self: self.definition.name, doc="its name in the catalogue")
    aliases = property(lambda self: self.definition.aliases, doc="other names that find it")
    family = property(lambda self: self.definition.family, doc="the mathematical family")
    parameters = property(lambda self: self.definition.parameters, doc="its parameters, in order")
    reference = property(lambda self: self.definition.reference, doc="the paper it comes from")
    use = property(lambda self: self.definition.use, doc="when to use it")
    expression = property(lambda self: self.definition.chosen({}), doc="the expression that defines it")

    def __repr__(self) -> str:
        return f"Activation({self.name}: {self.expression!r})"

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def _repr_html_(self) -> str:
        return self.facts()._repr_html_()  # type: ignore[attr-defined, no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return get, (self.name,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and other.definition is self.definition

    def __hash__(self) -> int:
        return hash(self.name)

    # Values

    def __call__(self, x: Any, **parameters: Any) -> Any:
        """f(x). Parameters and choices by name; a tensor parameter may be learnable."""
        return self._value(x, 0, "x", parameters)

    def derivative(self, x: Any, order: int = 1, wrt: str = "x", **parameters: Any) -> Any:
        """The order-th derivative with respect to the input or a parameter, at x.

        At a kink it is the slope that the definition states (`facts().kinks`).
        """
        if not isinstance(order, int) or order < 0:
            raise ValueError(f"order must be an integer of 0 or more, got {order!r}")
        known = ["x", *(p.name for p in self.parameters)]
        if wrt not in known:
            raise ValueError(
                f"{self.name} can be differentiated with respect to {', '.join(known)}; got {wrt!r}"
            )
        return self._value(x, order, wrt, parameters)

    def _value(self, x: Any, order: int, wrt: str, parameters: dict[str, Any]) -> Any:
        values, choices, flags = self._arguments(parameters)
        import numpy as np
        import torch

        from softknee.nn.options import current
        from softknee.nn.runtime import runtime

        run = runtime(self.definition)
        flags["precision"] = current.call.precision
        if isinstance(x, torch.Tensor):
            return run(x, values, choices, order=order, wrt=wrt, **flags)
        if isinstance(x, Node):
            from softknee.lang.differentiate import derivative
            from softknee.lang.nodes import substitute

            root = derivative(self.definition.chosen(choices), wrt, order)
            numbers = {p.name: values.get(p.name, p.default) for p in self.parameters}
            return substitute(root, {"x": x} | {n: v for n, v in numbers.items() if v is not None})
        scalar = isinstance(x, (int, float)) and not isinstance(x, bool)
        array = np.asarray(x, dtype=np.float64 if scalar else None)
        if array.dtype.kind not in "fiu":
            raise TypeError(
                f"{self.name} takes a tensor, a numpy array or a float, got {type(x).__name__}: {x!r:.60}"
            )
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            raise TypeError(
                f"{self.name} has no kernels for {array.dtype}, whose digits would be lost; "
                "convert the array with .astype(numpy.float64) first"
            )
        native = array.dtype.newbyteorder("=")
        array = array.astype(native if array.dtype.kind == "f" else np.float64, copy=False)
        given = {n: torch.from_numpy(np.ascontiguousarray(v)) if isinstance(v, np.ndarray) else v
                 for n, v in values.items()}  # fmt: skip
        with torch.no_grad():
            tensor = torch.from_numpy(np.array(array, order="C", copy=None))
            result = run(tensor, given, choices, order=order, wrt=wrt, **flags).numpy()
        return float(result) if scalar else result if array.ndim else result[()]

    def _arguments(self, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Sorts arguments into parameter values, choices and flags; learnable ones get their default."""
        flags = {n: parameters.pop(n) for n in ("training", "dim") if n in parameters}
        names = {p.name for p in self.parameters}
        values: dict[str, Any] = {}
        choices: dict[str, Any] = {}
        for name, value in parameters.items():
            if name in names:
                values[name] = value
            elif name in self.definition.choices:
                choices[name] = value
            else:
                has = ", ".join([*(p.name for p in self.parameters), *self.definition.choices]) or "none"
                raise TypeError(f"{self.name} has no parameter {name!r}; its parameters: {has}")
        for p in self.parameters:
            if p.default is None and p.name not in values:
                raise TypeError(f"{self.name} needs a value for {p.name!r} ({p.doc or 'no default'})")
        return values, choices, flags

    # What is derived

    def latex(self, order: int = 0, **choices: Any) -> str:
        """The formula, or that of the order-th derivative, as LaTeX."""
        from softknee.lang.differentiate import derivative
        from softknee.lang.latex import to_latex

        root = self.definition.chosen(choices)
        return to_latex(derivative(root, "x", order) if order else root)

    def facts(self, **parameters: Any) -> Facts:
        """Range, limits, kinks, Gaussian moments and more, computed for these parameters."""
        from softknee.analysis.facts import facts

        choices = {n: parameters.pop(n) for n in list(parameters) if n in self.definition.choices}
        return facts(self.definition, choices, **parameters)

    def plot(self, **options: Any) -> Any:
        """A matplotlib figure of the function. Parameters and choices by name; vary={"beta": [0.5, 1, 2]}
        draws it for several values of one parameter; other options as `softknee.show.plot.figure` has them."""
        from softknee.show.plot import curve, family, figure

        known = {*(p.name for p in self.parameters), *self.definition.choices}
        given = {n: options.pop(n) for n in list(options) if n in known}
        varied = options.pop("vary", None)
        if varied is None:
            return figure([curve(self.definition, **given)], **options)
        if len(varied) != 1:
            raise ValueError(f"vary takes one parameter and its values, got {varied!r}")
        ((parameter, values),) = varied.items()
        return figure(family(self.definition, parameter, values, **given), ordered=True, **options)

    def source(
        self,
        backend: Literal["cpu", "assembly", "gpu"] = "cpu",
        order: int = 0,
        dtype: str = "float32",
        **parameters: Any,
    ) -> str:
        """The code that runs for the function or its order-th derivative: LLVM IR, the processor's
        instructions, or the GPU's Triton source (which needs no GPU to be read)."""
        from softknee.kernels.llvm import Operand, Scalar
        from softknee.kernels.plan import Plan, source
        from softknee.nn.runtime import runtime

        backends, dtypes = ("cpu", "assembly", "gpu"), ("float32", "float64", "bfloat16", "float16")
        if backend not in backends:
            raise ValueError(f"backend must be one of {', '.join(backends)}, got {backend!r}")
        if dtype not in dtypes:
            raise ValueError(f"dtype must be one of {', '.join(dtypes)}, got {dtype!r}")
        values, choices, _ = self._arguments(dict(parameters))
        run = runtime(self.definition)
        op = run.operator(choices, run._given(values, choices), order=order)
        storage: Any = dtype
        inputs = [(n, Operand(storage)) for n in op.tensors if n in op.used]
        plan = Plan(((op.expressions[0], Operand(storage)),), (*inputs, *((n, Scalar()) for n in op.scalars)))
        from softknee.lang.differentiate import derivative
        from softknee.lang.text import to_text

        formula = to_text(derivative(self.definition.chosen(choices), "x", order))
        mark = ";" if backend == "cpu" else "#"
        title = f"{mark} {self.name}{chr(39) * order}(x) = {formula}, for {dtype}"
        return f"{title}\n{source(plan, backend)}"


def names() -> list[str]:
    """The name of every activation in the catalogue, sorted."""
    return catalogue.names()


def get(name: str) -> Activation:
    """The activation of this name or alias; case, "_", "-" and spaces do not matter.

    Raises a KeyError that names the nearest names where there is none.
    """
    return Activation(catalogue.get(name))


def Parameter(
    default: float | None = None, *, learnable: bool = False, init_name: str | None = None, doc: str = ""
) -> _Parameter:
    """A parameter of `define`: its default value, and whether its module learns it."""
    return _Parameter("_", default, learnable, init_name, doc=doc)


_defined: set[str] = set()  # names that `define` made, and may make again


#: what no parameter of one's own can be called: modules use it already
RESERVED = ("dim", "input", "training", "inplace", "forward", "self")


def define(
    name: str,
    function: Callable[..., Any] | Node,
    *,
    use: str = "",
    kinks: dict[Any, Any] | None = None,
    aliases: tuple[str, ...] = (),
    reference: catalogue.Reference | None = None,
    **parameters: Any,
) -> Activation:
    """Makes an activation of your own, in one line; afterwards it is found by name everywhere.

    function: its first argument is the input, the others are parameters; it may use operators and
    torch, numpy, math or softknee functions, and is traced once. parameters: a number (the
    default) or a `Parameter` each. kinks: places where the slope jumps and the slope to use there;
    a kink that is not declared keeps the slope the formula implies, and a warning says which.

    >>> swoosh = define("swoosh", lambda x, beta: x / (1 + (-beta * x).exp()), beta=Parameter(1.0, learnable=True))
    """
    from softknee.lang.trace import trace

    if isinstance(function, Node):
        expression, arguments = function, list(parameters)
    elif callable(function):
        try:
            signature: Any = inspect.signature(function).parameters
        except ValueError:  # torch.relu and its like are built in and show none: the input alone
            signature = ("x",)
        arguments = list(signature)[1:]
        for argument in arguments:
            default = signature[argument].default
            if default is not inspect.Parameter.empty:
                parameters.setdefault(argument, default)
        if not signature:
            raise TypeError(f"define({name!r}): the function must take the input as its first argument")
        expression = trace(function, ["x", *arguments])
    else:
        raise TypeError(
            f"define({name!r}): expected a function or an expression, got {type(function).__name__}"
        )
    if unknown := [n for n in parameters if n not in arguments]:
        raise TypeError(
            f"define({name!r}): {unknown[0]!r} is not an argument of the function, which has {arguments}"
        )
    if keyword.iskeyword(name) or not name.isidentifier():
        raise ValueError(f"define({name!r}): the name must be a Python identifier that is not a keyword")
    made = []
    for argument in arguments:
        if argument in RESERVED or argument.startswith("_"):
            raise ValueError(
                f"define({name!r}): a parameter cannot be called {argument!r}, which modules use already"
            )
        given = parameters.get(argument)
        if isinstance(given, _Parameter):
            made.append(replace(given, name=argument))
        else:
            if given is not None and not isinstance(given, (int, float)):
                raise TypeError(
                    f"define({name!r}): the default of {argument!r} must be a number, got {given!r}"
                )
            made.append(_Parameter(argument, None if given is None else float(given)))
    definition = Definition(
        name,
        expression,
        use=use or "Defined by the user.",
        family="user",
        aliases=aliases,
        parameters=tuple(made),
        kinks=kinks or {},
        reference=reference,
    )
    if name not in _defined:
        _refuse_names_of_torch(definition)
    definition = _with_kinks(definition)
    catalogue.add(definition, replace=name in _defined)
    _defined.add(name)
    return Activation(definition)


def _refuse_names_of_torch(definition: Definition) -> None:
    """`from softknee import nn` must go on meaning torch's own for torch's names."""
    import torch

    for home, name in ((torch.nn.functional, definition.name), (torch.nn, definition.module)):
        if hasattr(home, name):
            raise ValueError(
                f"{home.__name__} has {name!r} already: choose another name than {definition.name!r}"
            )


def _with_kinks(definition: Definition) -> Definition:
    """The definition with the slopes that were asked for at its kinks; a kink that was found and not
    declared keeps the slope the formula implies, and a warning says which.

    A slope s in place of the implied t at a kink p is the term where(x = p, (s - t) (x - p), 0): it
    changes no value, and its derivative is s - t at p. One-sided slopes are taken at the default
    parameters.
    """
    from softknee.analysis.facts import facts
    from softknee.catalogue.definition import x
    from softknee.lang.evaluate import evaluate
    from softknee.lang.nodes import as_node, where

    if any(p.default is None for p in definition.parameters):
        return definition
    root = definition.chosen({})
    defaults = definition.defaults
    bare = replace(definition, expression=root, kinks={})
    found = {k.place: k for k in facts(bare).kinks}
    declared = {float(evaluate(place, defaults, "float")): slope for place, slope in definition.kinks.items()}
    said, kinks = [], dict(definition.kinks)
    for place, k in found.items():
        if place not in declared:
            side = LEFT if k.used == k.left else RIGHT if k.used == k.right else MEAN
            kinks[place] = side if side != MEAN or k.used == (k.left + k.right) / 2 else k.used
            said.append(
                f"at x = {place:g} the slope jumps from {k.left:g} to {k.right:g}; {k.used:g} is used there"
            )
            continue
        sides = {LEFT: k.left, RIGHT: k.right, MEAN: (k.left + k.right) / 2}
        slope = declared[place]
        wanted = (
            sides[slope] if isinstance(slope, str) else float(evaluate(as_node(slope), defaults, "float"))
        )
        if wanted != k.used:
            root = root + where(x == place, (wanted - k.used) * (x - place), 0)
    if said:
        warnings.warn(
            f"{definition.name}: " + "; ".join(said) + " (declare kinks={place: slope} to choose)",
            stacklevel=3,
        )
    return replace(definition, expression=root, kinks=kinks)

"""What the page knows of every activation: plain records, ready for JSON, and the functions as JavaScript."""

from __future__ import annotations

import inspect
import keyword
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from softknee.analysis import Facts, facts
from softknee.api import RESERVED, define
from softknee.catalogue import Definition, Parameter, x
from softknee.catalogue.gates import GATES, Gate
from softknee.claims import records
from softknee.claims.record import kind
from softknee.lang.differentiate import RULES, derivative
from softknee.lang.evaluate import evaluate
from softknee.lang.javascript import to_javascript
from softknee.lang.latex import name_to_latex
from softknee.lang.mathml import latex_to_mathml, shortened, to_mathml
from softknee.lang.nodes import (
    OPS,
    Node,
    Number,
    clamp,
    cosh,
    erfc,
    log_sigmoid,
    make,
    relu,
    silu,
    sinh,
    square,
    substitute,
    symbol,
)  # fmt: skip
from softknee.lang.stabilise import rewrite, stabilise
from softknee.lang.text import to_text, to_torch
from softknee.show.facts import printed
from softknee.show.words import normal_rows, precision, shape_rows, typeset

__all__ = ["GATED", "claims", "functions", "gates", "language", "record"]

#: the family of the gates, which have two inputs
GATED = "gated units"


def record(definition: Definition) -> dict[str, Any]:
    """What is shown and searched, without the functions themselves."""
    known = facts(definition, **_examples(definition))
    return {
        "name": definition.name,
        "family": definition.family,
        "aliases": list(definition.aliases),
        "use": definition.use,
        "note": definition.note,
        "source": _source(definition),
        "parameters": [_parameter(definition, p) for p in definition.parameters],
        "choices": {name: list(values) for name, values in definition.choices.items()},
        "variants": [_variant(definition, key, known) for key in definition.expression],
        "facts": [list(row) for row in shape_rows(known)],
        "normal": [list(row) for row in normal_rows(known)],
        "precision": precision(known),
        "remarks": list(known.remarks),
        "traits": traits(definition, known),
        "training": definition.training is not None,
        "module": definition.module,
        "torch": _torch_name(definition),
        "inputs": ["x"],
        "call": "",
    }


def gates() -> list[tuple[dict[str, Any], Definition]]:
    """The gated units, as functions of their gate: the other input is a parameter, with a slider. Nothing is
    computed of them here but their formulas."""
    return [(_gate(gate), _sliced(gate)) for gate in GATES]


def _sliced(gate: Gate) -> Definition:
    made = gate.definition
    first, second = made.inputs
    return replace(
        made,
        inputs=("x",),
        expression={key: substitute(e, {first: x}) for key, e in made.expression.items()},
        training=None,
        noise=(),
        parameters=(Parameter(second, 1.0, doc="the other input"), *made.parameters),
    )


def _gate(gate: Gate) -> dict[str, Any]:
    made, sliced = gate.definition, _sliced(gate)
    inputs = list(made.inputs if gate.gate_first else reversed(made.inputs))
    joined = f"torch.cat(({', '.join(inputs)}), dim=-1)" if gate.torch else ", ".join(inputs)
    return {
        "name": gate.name,
        "family": GATED,
        "aliases": [],
        "use": gate.use,
        "note": made.note,
        "source": _source(made),
        "parameters": [_parameter(sliced, p) for p in sliced.parameters],
        "choices": {name: list(values) for name, values in made.choices.items()},
        "variants": [_gate_variant(made, key) for key in made.expression],
        "facts": [],
        "normal": [],
        "precision": "",
        "remarks": [],
        "traits": [],
        "training": False,
        "module": made.module,
        "torch": None,
        "inputs": list(made.inputs),
        "call": joined,
    }


def _gate_variant(made: Definition, key: tuple[Any, ...]) -> dict[str, Any]:
    choices = dict(zip(made.choices, key, strict=True))
    shown = printed(made, choices, made.defaults)
    slopes = (
        to_mathml(derivative(shown, name), name=rf"\frac{{\partial f}}{{\partial {name_to_latex(name)}}}")
        for name in made.inputs
    )
    return {
        "choices": list(key),
        "needs": [to_text(c) for c in made.conditions(choices)],
        "formula": shortened(to_mathml(shown, name=f"f({', '.join(map(name_to_latex, made.inputs))})")),
        "derivative": list(slopes),
        "code": to_torch(shown, made.inputs),
    }


def claims() -> list[list[Any]]:
    """What is claimed of activations and was measured: name, claim, verdict, the activations it is about."""
    return [[r.name, typeset(r.claim), kind(r.verdict), r.about] for r in records().values()]


def traits(definition: Definition, known: Facts) -> list[str]:
    """The words that the page can filter by."""
    said = {
        "smooth": known.smooth,
        "monotone": known.monotone,
        "bounded": known.bounded,
        "zero-centred": known.zero_centred,
        "odd or even": known.odd or known.even,
        "exact zeros": known.zero_share > 0,
        "never saturates": known.saturation == ("none", "none"),
        "keeps the gradient": 0.95 <= known.chi <= 1.1,
        "learnable": bool(definition.learnable),
        "in torch.nn": definition.torch is not None,
    }
    return [word for word, holds in said.items() if holds]


def functions(definition: Definition, other: str | None = None) -> str:
    """JavaScript: {v: [(x, parameters...) => [f, f'], ... one for each variant], w: [... => [f''], ...],
    u: [... => [derivative by a gate's other input], ...] or null, c: [parameters => [condition, ...], ...]}."""
    names = ("x", *(p.name for p in definition.parameters))
    samples = {
        name: (float(v), -float(v), 0.5) if math.isfinite(v) else (20.0, 1.0, 0.5)
        for name, v in _values(definition).items()
    }
    variants, bends, others = [], [], []
    for expression in definition.expression.values():
        stable = rewrite(expression)
        roots = [stabilise(derivative(stable, "x", order), ("x",), samples) for order in range(3)]
        variants.append(to_javascript(tuple(roots[:2]), names))
        bends.append(to_javascript((roots[2],), names))
        if other is not None:
            slope = stabilise(derivative(stable, other), ("x",), samples)
            others.append(to_javascript((slope,), names))
    conditions = (
        to_javascript(definition.conditions(dict(zip(definition.choices, key, strict=True))), names[1:])
        for key in definition.expression
    )
    partial = f"[{','.join(others)}]" if others else "null"
    return f"{{v:[{','.join(variants)}],w:[{','.join(bends)}],u:{partial},c:[{','.join(conditions)}]}}"


def language() -> dict[str, Any]:
    """The expression language for the page's own parser and differentiation: what each function takes, the
    shorthands as trees, and for each operation the partial derivatives as trees."""
    a, b, c = map(symbol, "abc")
    shorthands = {f.__name__: ("a", f(a)) for f in (relu, silu, square, log_sigmoid, erfc, sinh, cosh)}
    shorthands[clamp.__name__] = ("abc", clamp(a, b, c))
    rules = {}
    for op, kinds in OPS.items():
        if kinds.result == "R" and "B" not in kinds.operands and kinds.operands:
            rules[op] = [_tree(partial) for partial in RULES[op](make(op, (a, b)[: len(kinds.operands)]))]
    return {
        "operations": {op: [kinds.operands, kinds.doc] for op, kinds in OPS.items() if kinds.operands},
        "shorthands": {name: [taken, _tree(body)] for name, (taken, body) in shorthands.items()},
        "rules": rules,
        "reserved": sorted({*keyword.kwlist, *RESERVED, *inspect.signature(define).parameters}),
    }


def _tree(node: Node) -> Any:
    """[operation, operands...]; a number; a symbol's name; "pi"."""
    if node.op == "number":
        return float(node.payload)
    if node.op in ("symbol", "constant"):
        return node.payload
    return [node.op, *map(_tree, node.args)]


def _examples(definition: Definition) -> dict[str, Number]:
    return {p.name: _example(p) for p in definition.parameters if p.default is None}


def _example(parameter: Parameter) -> Number:
    return 1.0 if parameter.example is None else parameter.example


def _values(definition: Definition) -> dict[str, Number]:
    return {**definition.defaults, **_examples(definition)}


def _variant(definition: Definition, key: tuple[Any, ...], known: Facts) -> dict[str, Any]:
    choices = dict(zip(definition.choices, key, strict=True))
    shown = printed(definition, choices, known.parameters)
    return {
        "choices": list(key),
        "needs": [to_text(c) for c in definition.conditions(choices)],
        "formula": shortened(to_mathml(shown, name="f(x)")),
        "derivative": shortened(to_mathml(derivative(shown, "x"), name="f'(x)")),
        "code": to_torch(shown),
    }


def _parameter(definition: Definition, parameter: Parameter) -> dict[str, Any]:
    default = _values(definition)[parameter.name]
    low, high = _slider(definition, parameter.name, float(default))
    return {
        "name": parameter.name,
        "symbol": latex_to_mathml(name_to_latex(parameter.name), display=False),
        "default": "inf" if math.isinf(default) else float(default),
        "required": parameter.default is None,
        "low": low,
        "high": high,
        "learnable": parameter.learnable,
        "doc": parameter.doc,
    }


def _slider(definition: Definition, name: str, default: float) -> tuple[float, float]:
    """Round ends around the default, within what the constraints allow while the others are at theirs."""
    if math.isinf(default):
        return -4.0, 8.0
    reach = max(2.0, 2 * abs(default))
    steps = [default + reach * k / 100 for k in range(-100, 101)]
    values = _values(definition)

    def allowed(value: float) -> bool:
        return all(evaluate(c, {**values, name: value}, "float") for c in definition.constraints)

    fine = [v for v in steps if allowed(v)]
    return _rounded(min(fine), definition, allowed), _rounded(max(fine), definition, allowed)


def _rounded(value: float, definition: Definition, allowed: Any) -> float:
    short = round(value, 2)
    return short if allowed(short) else value


def _source(definition: Definition) -> dict[str, str] | None:
    r = definition.reference
    if r is None:
        return None
    address = (
        f"https://arxiv.org/abs/{r.arxiv}" if r.arxiv else f"https://doi.org/{r.doi}" if r.doi else r.url
    )
    where = f", {r.where}" if r.where else ""
    return {"text": f"{r.authors} ({r.year})", "title": r.title, "where": where, "address": address or ""}


def _torch_name(definition: Definition) -> Mapping[str, str] | None:
    if definition.torch is None:
        return None
    return {"function": definition.torch, "module": definition.module}

"""Exercises with folded solutions, generated from the definitions and checked while they are made."""

from __future__ import annotations

import math
import textwrap

from softknee import catalogue
from softknee.analysis import facts, function_of
from softknee.catalogue import Definition
from softknee.lang.differentiate import derivative
from softknee.lang.mathml import to_mathml
from softknee.show import words

PLACE = 0.5
PRIME = "f'(x)"


def folded(title: str, body: str) -> str:
    return f'??? success "{title}"\n\n{textwrap.indent(body, "    ")}\n'


def by_function() -> str:
    """Differentiate, locate and compute: one exercise for each function of torch without parameters."""
    asked = [
        d
        for d in catalogue.all_definitions()
        if d.torch and not d.parameters and not d.choices and d.training is None
    ]
    return "\n".join(_exercise(number, d) for number, d in enumerate(asked, 1))


def _exercise(number: int, d: Definition) -> str:
    known, expression = facts(d), d.chosen({})
    f, slope = (float(function_of(d).exact(PLACE, order)) for order in (0, 1))
    shape = dict(words.shape_rows(known))
    solution = [
        f'<div class="sk-formula">{to_mathml(derivative(expression, "x"), name=PRIME)}</div>',
        f"f({PLACE}) = {words.number(f, 7)} and f′({PLACE}) = {words.number(slope, 7)}.",
        f"Steepest slope: {shape['steepest slope']}. For x → −∞: {shape['x → −∞']}; for x → ∞: {shape['x → ∞']}.",
    ]
    solution += [
        f"Kink at {words.number(k.place)}: {shape[f'kink at {words.number(k.place)}']}."
        for k in known.kinks
        if not k.jump
    ]
    solution += [
        f"Also true: {text}." for label, text in words.shape_rows(known) if label.startswith("ident")
    ]
    solution.append(
        f'```python\nimport softknee as sk\n\nact = sk.get("{d.name}")\nact({PLACE}), act.derivative({PLACE})\n```'
    )
    question = (
        f"**{number}.** Differentiate\n\n"
        f'<div class="sk-formula">{to_mathml(expression, name="f(x)")}</div>\n\n'
        f"by hand. Where is it steepest, and what becomes of the slope far out on either side? Compute f and f′ at {PLACE}.\n"
    )
    return (
        f"{question}\n{folded(f'Solution: {d.name}', chr(10).join(f'{part}{chr(10)}' for part in solution))}"
    )


# One step by hand: two inputs, two hidden units, one output.
X, TARGET, RATE = (1.0, 2.0), 1.0, 0.1
W, B = ((0.5, -0.25), (-1.0, 0.25)), (0.1, 0.2)
V, C = (1.0, -1.0), 0.0


def backward_step() -> str:
    """The worked step for three functions, every number computed here."""
    names = [d.name for d in catalogue.all_definitions() if d.torch and facts_are_simple(d)]
    return "\n".join(folded(f"Solution with {name}", _step(catalogue.get(name))) for name in names)


def facts_are_simple(d: Definition) -> bool:
    """Functions of one short formula, of which the slope is asked for at school."""
    return d.choices == {} and not d.parameters and d.training is None and len(str(d.chosen({}))) <= 13


def _step(d: Definition) -> str:
    function = function_of(d)
    z = [sum(w * x for w, x in zip(row, X, strict=True)) + b for row, b in zip(W, B, strict=True)]
    h, s = ([float(function.exact(v, order)) for v in z] for order in (0, 1))
    y = sum(v * a for v, a in zip(V, h, strict=True)) + C
    error = y - TARGET
    delta = [error * v * slope for v, slope in zip(V, s, strict=True)]
    grad_w = [[g * x for x in X] for g in delta]
    n = lambda v: words.number(v, 5)  # noqa: E731
    row = lambda values: ", ".join(map(n, values))  # noqa: E731
    updated = [[w - RATE * g for w, g in zip(ws, gs, strict=True)] for ws, gs in zip(W, grad_w, strict=True)]
    lines = [
        "| quantity | how | values |",
        "| --- | --- | --- |",
        f"| inputs of the hidden units | z = W x + b | {row(z)} |",
        f"| their outputs | h = f(z) | {row(h)} |",
        f"| their slopes | f′(z) | {row(s)} |",
        f"| output, loss | y = v·h + c, (y − t)²/2 | {n(y)}, {n(error**2 / 2)} |",
        f"| error at the output | y − t | {n(error)} |",
        f"| gradient of v | (y − t) h | {row(error * a for a in h)} |",
        f"| error at the hidden units | δ = (y − t) v f′(z) | {row(delta)} |",
        f"| gradient of W | δ x, row by row | {'; '.join(row(r) for r in grad_w)} |",
        f"| new W | W − {RATE} δ x | {'; '.join(row(r) for r in updated)} |",
    ]
    if any(slope == 0 for slope in s):
        lines.append("\nA unit with slope 0 learns nothing in this step: its row of W stays as it was.")
    if not all(map(math.isfinite, (y, *delta))):
        raise ArithmeticError(f"the step with {d.name} is not finite")
    return "\n".join(lines)

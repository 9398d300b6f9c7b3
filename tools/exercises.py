"""Exercises with folded solutions, generated from the definitions and checked while they are made."""

from __future__ import annotations

import math
import textwrap

from softknee import catalogue
from softknee.analysis import facts, function_of
from softknee.catalogue import Definition
from softknee.lang.differentiate import derivative
from softknee.lang.mathml import shortened, to_mathml
from softknee.show import words

PLACE = 0.5
PRIME = "f'(x)"

# What the exercises say, in each language; a formula is the same everywhere.
WORDS = {
    "en": {
        "solution": "Solution",
        "with": "Solution with",
        "differentiate": "Differentiate",
        "question": "by hand. Where is it steepest, and what becomes of the slope far out on either side? Compute f and f′ at {}.",
        "and": "and",
        "table": "quantity, how, values",
        "rows": "inputs of the hidden units, their outputs, their slopes, output and loss, error at the output, gradient of v, "
        "error at the hidden units, gradient of W row by row, new W",
        "still": "A unit with slope 0 learns nothing in this step: its row of W stays as it was.",
    },
    "ru": {
        "solution": "Решение",
        "with": "Решение с",
        "differentiate": "Продифференцируйте",
        "question": "вручную. Где наклон наибольший и что с ним становится далеко в обе стороны? Вычислите f и f′ в точке {}.",
        "and": "и",
        "table": "величина, как, значения",
        "rows": "входы скрытых нейронов, их выходы, их наклоны, выход и потери, ошибка на выходе, градиент v, "
        "ошибка скрытых нейронов, градиент W по строкам, новое W",
        "still": "Нейрон с наклоном 0 на этом шаге ничему не учится: его строка в W осталась прежней.",
    },
    "zh": {
        "solution": "解答",
        "with": "解答：",
        "differentiate": "手工求导",
        "question": "它在何处最陡？向两侧远处斜率如何变化？计算 f 和 f′ 在 {} 处的值。",
        "and": "，",
        "table": "量, 算法, 值",
        "rows": "隐藏单元的输入, 它们的输出, 它们的斜率, 输出与损失, 输出处的误差, v 的梯度, 隐藏单元处的误差, W 的梯度（逐行）, 新的 W",
        "still": "斜率为 0 的单元在这一步什么也没学到：W 中它的那一行保持不变。",
    },
    "ko": {
        "solution": "풀이",
        "with": "풀이:",
        "differentiate": "손으로 미분하라:",
        "question": "어디서 가장 가파르고, 양쪽 먼 곳에서 기울기는 어떻게 되는가? {}에서 f와 f′를 계산하라.",
        "and": ",",
        "table": "양, 방법, 값",
        "rows": "은닉 유닛의 입력, 그 출력, 그 기울기, 출력과 손실, 출력의 오차, v의 기울기, 은닉 유닛의 오차, W의 기울기(행마다), 새 W",
        "still": "기울기가 0인 유닛은 이 걸음에서 아무것도 배우지 않는다: W의 그 행은 그대로이다.",
    },
}


def folded(title: str, body: str) -> str:
    return f'??? success "{title}"\n\n{textwrap.indent(body, "    ")}\n'


def by_function(language: str = "en") -> str:
    """Differentiate, locate and compute: one exercise for each function of torch without parameters."""
    asked = [
        d
        for d in catalogue.all_definitions()
        if d.torch and not d.parameters and not d.choices and d.training is None
    ]
    return "\n".join(_exercise(number, d, language) for number, d in enumerate(asked, 1))


def _exercise(number: int, d: Definition, language: str) -> str:
    say = WORDS[language]
    known, expression = facts(d), d.chosen({})
    f, slope = (float(function_of(d).exact(PLACE, order)) for order in (0, 1))
    shape = dict(words.shape_rows(known))
    solution = [
        f'<div class="sk-formula">{shortened(to_mathml(derivative(expression, "x"), name=PRIME))}</div>',
        f"f({PLACE}) = {words.number(f, 7)} {say['and']} f′({PLACE}) = {words.number(slope, 7)}.",
    ]
    if language == "en":
        solution.append(
            f"Steepest slope: {shape['steepest slope']}. For x → −∞: {shape['x → −∞']}; for x → ∞: {shape['x → ∞']}."
        )
        solution += [
            f"Kink at {words.number(k.place)}: {shape[f'kink at {words.number(k.place)}']}."
            for k in known.kinks
            if not k.jump
        ]
    else:  # the same without words
        ends = ", ".join(f"{words.number(v)} (x → {at})" for v, at in zip(known.limits, ("−∞", "∞"), strict=True) if v is not None)  # fmt: skip
        solution.append(f"max |f′| = {words.number(known.lipschitz)}; f → {ends}.")
    also = "Also true: " if language == "en" else ""
    solution += [f"{also}{text}." for label, text in words.shape_rows(known) if label.startswith("ident")]
    solution.append(
        f'```python\nimport softknee as sk\n\nact = sk.get("{d.name}")\nact({PLACE}), act.derivative({PLACE})\n```'
    )
    question = (
        f"**{number}.** {say['differentiate']}\n\n"
        f'<div class="sk-formula">{shortened(to_mathml(expression, name="f(x)"))}</div>\n\n'
        f"{say['question'].format(PLACE)}\n"
    )
    body = "\n".join(f"{part}\n" for part in solution)
    title = f"{say['solution']}: {d.name}"
    return f"{question}\n{folded(title, body)}"


# One step by hand: two inputs, two hidden units, one output.
X, TARGET, RATE = (1.0, 2.0), 1.0, 0.1
W, B = ((0.5, -0.25), (-1.0, 0.25)), (0.1, 0.2)
V, C = (1.0, -1.0), 0.0


def backward_step(language: str = "en") -> str:
    """The worked step for three functions, every number computed here."""
    names = [d.name for d in catalogue.all_definitions() if d.torch and facts_are_simple(d)]
    return "\n".join(
        folded(f"{WORDS[language]['with']} {name}", _step(catalogue.get(name), language)) for name in names
    )


def facts_are_simple(d: Definition) -> bool:
    """Functions of one short formula, of which the slope is asked for at school."""
    return d.choices == {} and not d.parameters and d.training is None and len(str(d.chosen({}))) <= 13


def _step(d: Definition, language: str) -> str:
    say = WORDS[language]
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
    cells = (
        ("z = W x + b", row(z)),
        ("h = f(z)", row(h)),
        ("f′(z)", row(s)),
        ("y = v·h + c, (y − t)²/2", f"{n(y)}, {n(error**2 / 2)}"),
        ("y − t", n(error)),
        ("(y − t) h", row(error * a for a in h)),
        ("δ = (y − t) v f′(z)", row(delta)),
        ("δ x", "; ".join(row(r) for r in grad_w)),
        (f"W − {RATE} δ x", "; ".join(row(r) for r in updated)),
    )
    lines = [f"| {' | '.join(say['table'].split(', '))} |", "| --- | --- | --- |"]
    lines += [
        f"| {quantity} | {how} | {values} |"
        for quantity, (how, values) in zip(say["rows"].split(", "), cells, strict=True)
    ]
    if any(slope == 0 for slope in s):
        lines.append(f"\n{say['still']}")
    if not all(map(math.isfinite, (y, *delta))):
        raise ArithmeticError(f"the step with {d.name} is not finite")
    return "\n".join(lines)

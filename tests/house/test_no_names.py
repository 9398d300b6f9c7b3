"""No activation is special: its name stands in the catalogue and nowhere else in the package.

The words of the expression language (tanh, sigmoid, abs, ...) may stand where expressions are taken apart
or spelled: in `lang`, `kernels`, `analysis` and `testing`. `__all__` names Python objects.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import softknee
from softknee import lang
from softknee.lang.nodes import OPS

SOURCE = Path(__file__).parents[2] / "src" / "softknee"

WORDS = {*OPS, *lang.__all__}
SPEAKS_THE_LANGUAGE = ("lang", "kernels", "analysis", "testing")

# File -> the names it may spell, and why.
ALLOWED: dict[str, tuple[set[str], str]] = {
    "compare/specification.py": ({"sign"}, "a kind of token: a punctuation sign"),
    "nn/initialise.py": ({"relu"}, "the default of He's initialisation, as in torch.nn.init"),
    "nn/multihead.py": ({"sigmoid"}, "the normaliser that has a bias of its own"),
    "nn/recurrent.py": ({"relu", "sigmoid", "tanh"}, "what torch's recurrent kernels compute"),
    "diagnose/timeline.py": ({"step"}, "the column that counts steps of a training"),
    "show/formula.py": ({"arctan", "cos", "exp", "sin", "tanh"}, "commands of LaTeX, printed as words"),
    "lang/mathml.py": ({"arctan"}, "a command of LaTeX, set as a word"),
    "show/plot.py": ({"symlog"}, "a scale of matplotlib's axes"),
    "show/words.py": ({"identity"}, "the label of an equation that holds for all x"),
    "nn/inside.py": ({"tanh", "sigmoid"}, "what torch's recurrent layers and GLU compute"),
    "lang/nodes.py": ({"sine", "cosine"}, "what sin and cos are called in words"),
    "lang/trace.py": (
        {
            "arcsinh", "arctan", "clip", "elu", "expit", "gelu", "hardsigmoid", "hardswish", "hardtanh", "heaviside",
            "leaky_relu", "logsigmoid", "mish", "ndtr", "relu6", "softsign",
        },
        "functions of torch, numpy and scipy that a user's function may call while it is traced",
    ),
}  # fmt: skip


def literals(text: str) -> Iterator[tuple[int, str]]:
    """(line, value) of every string in the code; docstrings are none."""
    tree = ast.parse(text)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            prose |= set(map(id, ast.walk(node.value)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def offences(text: str, file: str, names: Collection[str]) -> list[str]:
    allowed = set(ALLOWED.get(file, (set(), ""))[0])
    if file.split("/")[0] in SPEAKS_THE_LANGUAGE:
        allowed |= WORDS
    return [
        f"{file}:{line} spells {value!r}"
        for line, value in literals(text)
        if value in names and value not in allowed
    ]


def _names() -> set[str]:
    return {name for each in softknee.names() for name in (each, *softknee.get(each).aliases)}


def test_activation_names_stand_in_the_catalogue_only() -> None:
    names, found = _names(), []
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE).as_posix()
        if not file.startswith("catalogue/"):
            found += offences(path.read_text(encoding="utf-8"), file, names)
    assert not found, "\n".join(found)


def test_a_special_case_is_caught() -> None:
    planted = 'def kernel(name):\n    """mish"""\n    return 1 if name == "mish" else 2\n'
    assert offences(planted, "kernels/plan.py", {"mish"}) == ["kernels/plan.py:3 spells 'mish'"]
    assert offences('SPELLED = {"tanh": "__tanh"}', "kernels/cpu.py", {"tanh"}) == []
    assert offences('SPELLED = {"tanh": "__tanh"}', "nn/classes.py", {"tanh"}) != []


def test_every_exception_is_still_needed() -> None:
    for file, (names, why) in ALLOWED.items():
        assert why
        spelled = {value for _, value in literals((SOURCE / file).read_text(encoding="utf-8"))}
        assert names <= spelled, f"{file} no longer spells {names - spelled}"

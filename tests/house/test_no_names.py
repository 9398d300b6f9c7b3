"""No activation is special: its name stands in the catalogue and nowhere else in the package.

Names of the expression language's own operations (tanh, sigmoid, ...) are words of the language, and
may stand where it is spelled: in `lang` and in `kernels`.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import softknee
from softknee.lang.nodes import OPS

SOURCE = Path(__file__).parents[2] / "src" / "softknee"

# File -> the names it may spell, and why.
ALLOWED: dict[str, tuple[set[str], str]] = {}


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
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def offences(text: str, file: str, names: Collection[str]) -> list[str]:
    allowed = set(ALLOWED.get(file, (set(), ""))[0])
    if file.split("/")[0] in ("lang", "kernels"):
        allowed |= set(OPS)
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
    assert offences('SPELLED = {"tanh": "__tanh"}', "nn/modules.py", {"tanh"}) != []


def test_every_exception_is_still_needed() -> None:
    for file, (names, why) in ALLOWED.items():
        assert why
        spelled = {value for _, value in literals((SOURCE / file).read_text(encoding="utf-8"))}
        assert names <= spelled, f"{file} no longer spells {names - spelled}"

"""Imports point one way, so that a reader can stop at any layer.

Every import counts, wherever it stands, also the ones inside functions, under TYPE_CHECKING and
through importlib. Only a record that shows itself in a notebook may reach for `show` while it does so:
in a method named `_repr_..._`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "softknee"

# What each part of the package may import, besides itself. This table is the architecture.
_BASE = {"lang", "catalogue"}
_TORCH = _BASE | {"kernels", "analysis", "nn"}
_RECORDS = _TORCH | {"bench", "diagnose", "compare"}
MAY_IMPORT: dict[str, set[str]] = {
    "lang": set(),
    "catalogue": {"lang"},
    "kernels": _BASE,
    "analysis": _BASE,
    "nn": _BASE | {"kernels", "analysis"},
    "functional": _TORCH,  # the public name of nn's functions
    "testing": _TORCH,
    "bench": _TORCH | {"functional", "testing"},
    "diagnose": _TORCH,
    "compare": _TORCH,
    "claims": _TORCH | {"compare"},
    "show": _RECORDS | {"claims"},
    "api": _RECORDS | {"functional", "testing", "show"},
    "explorer": _RECORDS | {"functional", "testing", "claims", "show", "api"},
    "cli": _RECORDS | {"functional", "testing", "claims", "show", "api", "explorer"},
    "__main__": {"cli"},
}
# These may also import the package itself: `from softknee import get`.
ABOVE_API = {"cli", "explorer"}


def part_of(module: str) -> str:
    """The part of the package a dotted name belongs to: 'softknee.lang.nodes' -> 'lang'; the package: ''."""
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of everything of softknee that this module imports."""
    package = module if is_package else module.rpartition(".")[0]
    notebook = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and re.fullmatch(r"_repr_\w+_", node.name)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            # `from softknee import nn` imports the part, `from softknee.nn import X` something in it
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "softknee" else [base]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names = [str(node.args[0].value)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "softknee" and not (id(node) in notebook and part_of(name) == "show"):
                yield node.lineno, name


def violations(text: str, module: str, is_package: bool = False) -> list[str]:
    part = part_of(module)
    if part not in MAY_IMPORT:
        return [f"{module}: {part!r} has no place in the architecture; give it one in MAY_IMPORT"]
    found = []
    for line, name in imported(ast.parse(text), module, is_package):
        target = part_of(name)
        if target not in MAY_IMPORT:  # the package itself, or a public name taken from it
            allowed = part in ABOVE_API or target == "__version__"
        else:
            allowed = target == part or target in MAY_IMPORT[part]
        if not allowed:
            found.append(f"{module}:{line} imports {name}")
    return found


def test_imports_point_one_way() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if module != "softknee":
            found += violations(path.read_text(encoding="utf-8"), module, is_package)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("softknee.lang.nodes", "import softknee.kernels"),
        ("softknee.lang.nodes", "from ..catalogue import definition"),
        ("softknee.catalogue.smooth", "def f():\n    from softknee.nn import functional"),
        ("softknee.kernels.plan", "from softknee import analysis"),
        ("softknee.kernels.plan", "import importlib\nimportlib.import_module('softknee.nn')"),
        ("softknee.analysis.shape", "from softknee import get"),
        (
            "softknee.nn.classes",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import softknee.api",
        ),
        ("softknee.compare.run", "from softknee.show import table"),
        ("softknee.diagnose.rules", "from softknee.compare import store"),
        ("softknee.api", "def explore():\n    from softknee.explorer import serve"),
        ("softknee.helpers", "import math"),
    ],
)
def test_a_planted_violation_is_caught(module: str, text: str) -> None:
    assert len(violations(text, module)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("softknee.lang.latex", "from softknee.lang.nodes import Node\nfrom .nodes import walk"),
        ("softknee.nn.functional", "from softknee.kernels import launch\nfrom ..catalogue import definition"),
        ("softknee.show.terminal", "from softknee.compare.store import Run"),
        ("softknee.analysis.facts", "def _repr_html_(self):\n    from softknee.show import facts"),
        ("softknee.cli", "def show():\n    from softknee import get"),
    ],
)
def test_what_is_allowed_passes(module: str, text: str) -> None:
    assert violations(text, module) == []


def test_a_relative_import_in_a_package_is_resolved_from_the_package() -> None:
    assert violations("from .nodes import Node", "softknee.lang", is_package=True) == []
    assert violations("from ..nn import Node", "softknee.lang", is_package=True) != []

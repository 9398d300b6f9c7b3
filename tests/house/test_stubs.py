"""Editors and type checkers know every name: the generated stubs say what the package does."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from softknee import catalogue
from softknee.nn import classes, functional

ROOT = Path(__file__).parents[2]
NN = ROOT / "src" / "softknee" / "nn"


def definitions(stub: Path, kind: type[ast.FunctionDef | ast.ClassDef]) -> dict[str, ast.AST]:
    return {n.name: n for n in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(n, kind)}


def test_every_function_has_its_own_signature() -> None:
    stubs = definitions(NN / "functional.pyi", ast.FunctionDef)
    for d in catalogue.all_definitions():
        written = stubs[d.name]
        assert isinstance(written, ast.FunctionDef)
        arguments = [a.arg for a in (*written.args.args, *written.args.kwonlyargs)]
        assert arguments == list(inspect.signature(functional.function_of(d)).parameters)
        assert ast.get_docstring(written)


def test_every_module_is_there() -> None:
    stubs = definitions(NN / "__init__.pyi", ast.ClassDef)
    assert {d.module for d in catalogue.all_definitions()} <= set(stubs)
    for d in catalogue.all_definitions():
        assert ast.get_docstring(stubs[d.module])
        assert classes.module_of(d).__name__ == d.module


@pytest.mark.slow
def test_a_type_checker_accepts_and_rejects(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import torch\n"
        "from softknee import nn\n"
        "from softknee.nn import functional as F\n"
        "x = torch.randn(3)\n"
        "y: torch.Tensor = F.gelu(F.mish(x), approximate='tanh') + F.linear(x, x)\n"
        "model = nn.Sequential(nn.Linear(3, 3), nn.GELU(approximate='tanh'), nn.PReLU(3), nn.Mish())\n"
        "F.gelu(x, approximate='nonsense')\n"
        "F.mush(x)\n"
        "nn.Mush()\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--no-incremental",
        "--config-file=",
        str(program),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    found = re.findall(r"program\.py:(\d+): error", done.stdout)
    assert found == ["7", "8", "9"], done.stdout + done.stderr

"""`import softknee` is cheap: everything heavy is loaded when it is first used."""

from __future__ import annotations

import os
import subprocess
import sys

HEAVY = ("torch", "numba", "llvmlite", "triton", "matplotlib", "scipy", "sklearn", "mpmath", "jinja2")
SECONDS = 0.15


def _python(code: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COV_", "COVERAGE_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    return done.stdout.strip()


def test_import_alone_loads_nothing_heavy() -> None:
    loaded = _python(f"import sys, softknee; print(*(m for m in {HEAVY} if m in sys.modules))")
    assert loaded == ""


def test_import_alone_is_fast() -> None:
    code = "import time; t = time.process_time(); import softknee; print(time.process_time() - t)"
    best = min(float(_python(code)) for _ in range(5))
    assert best < SECONDS, f"import softknee takes {best:.3f} s"


def test_the_public_names_are_there_without_loading_anything() -> None:
    loaded = _python(f"import sys, softknee; dir(softknee); print(*(m for m in {HEAVY} if m in sys.modules))")
    assert loaded == ""

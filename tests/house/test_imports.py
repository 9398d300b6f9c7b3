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


def test_functions_do_not_load_the_compiler() -> None:
    loaded = _python(
        "import sys, torch, softknee.functional as F; x = torch.randn(9, requires_grad=True); "
        "F.gelu(x).sum().backward(); F.swiglu(x, x).sum().backward(); print('torch._dynamo' in sys.modules)"
    )
    assert loaded == "False"


def test_constant_is_what_torch_means_by_it() -> None:
    import torch

    from softknee.nn.pointwise import constant

    ours, theirs = constant(lambda: 0), torch.compiler.assume_constant_result(lambda: 0)
    assert vars(ours) == vars(theirs) != {}

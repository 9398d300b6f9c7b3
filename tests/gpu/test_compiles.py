"""Kernels compile for a GPU (compute capability 9.0) on a machine without one, to what was meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: elements that a thread computes: BLOCK elements by four warps
EACH = 8


@pytest.mark.slow
def test_kernels_compile_ahead_of_time() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.ahead"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr[-3000:]
    *found, launches = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 8
    for f in found:
        assert f["approximations"] == [], f
        # no product and sum became one operation: error-free transformations would be none
        assert not f["contracted"], f
        if f["kernel"] != "sums":
            assert f["fma"] <= EACH * f["fma in the program"], f
        assert f["wide loads"], f
        if "bit" in f["kernel"]:  # a thread packs its own eight elements into a byte, and expands its own
            assert f["bytes"] == 1, f
            assert not f["shared"], f
    # on the stream of the moment, also where Triton's launcher is passed by
    assert [(c["programs"], c["stream"]) for c in launches["launched"]] == [(4, 11), (8, 12), (5, 13)]
    assert {c["arguments"] for c in launches["launched"]} == {3}
    # made again, a call is one launch and the memory of its results (and of partial sums): nothing is loaded,
    # asked, copied or waited for, so that a CUDA graph can capture it
    assert launches["repeated"] == {
        "value": [1, 1], "in place": [1, 0], "a number given at the call": [1, 1], "strided": [1, 1],
        "sums": [1, 2], "sums both ways": [1, 2], "codes written": [1, 2], "codes read": [1, 1],
    }  # fmt: skip
    single = found[1]
    assert single["fma"] == EACH * single["fma in the program"]
    assert single["narrow loads"] == EACH * single["looked up"]

"""The examples run, and what they show holds: each asserts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNNABLE = sorted(p.name for p in EXAMPLES.glob("*.py") if "__main__" in p.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNABLE)
def test_an_example_shows_what_it_says(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    stem = Path(name).stem
    assert set(drawn) == {f"{stem}{kind}-{s}.svg" for kind in ("", "-phone") for s in ("light", "dark")}
    for picture, text in drawn.items():
        assert ("#222222" in text) == ("light" in picture), picture  # ink for a light page

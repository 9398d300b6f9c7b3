"""The notebooks run, cell by cell, and are stored without outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
#: each with names of its own, in one process: it takes longer to load torch than to run most of them
RUN = """
import json, pathlib, sys, traceback
for path in map(pathlib.Path, sys.argv[1:]):
    names = {"__name__": "__main__"}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"])
            try:
                exec(code, names)
            except Exception:
                sys.exit(f"{path.name}\\n{code}\\n\\n{traceback.format_exc()}")
"""


def test_notebooks_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, *map(str, NOTEBOOKS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr


def test_they_are_stored_without_outputs_and_have_an_exercise() -> None:
    assert len(NOTEBOOKS) > 1
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert not any(c.get("outputs") or c.get("execution_count") for c in cells), path.name
        assert any("<summary>Solution</summary>" in "".join(c["source"]) for c in cells), path.name

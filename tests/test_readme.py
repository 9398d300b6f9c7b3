"""What the README and the documentation show runs: every block of Python, page by page."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    """Those at the margin, and those in folded notes, where they are indented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


WITH_PYTHON = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"), "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_its_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block in one namespace, as a reader would type them. In this process, which has imported torch
    already; comparisons start processes themselves, and get one of their own."""
    code = "\n\n".join(blocks(page.read_text(encoding="utf-8"), "python"))
    if "compare(" in code:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return
    monkeypatch.chdir(tmp_path)
    given: dict[str, object] = {"__name__": "page"}
    for number, code in enumerate(blocks(page.read_text(encoding="utf-8"), "python"), 1):
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            exec(compile(code, f"{page.name}, block {number}", "exec"), given)


def test_the_readme_shows_python() -> None:
    assert ROOT / "README.md" in WITH_PYTHON


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = "\n".join(
        [
            *blocks(page.read_text(encoding="utf-8"), "bash"),
            *re.findall(r"`(make [a-z-]+)`", page.read_text(encoding="utf-8")),
        ]
    )
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= targets


def test_the_versions_agree() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', text, re.MULTILINE)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    import softknee

    assert softknee.__version__ == version

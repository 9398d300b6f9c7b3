"""What the README and the documentation show runs: every block of Python, page by page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


WITH_PYTHON = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"), "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_its_python_runs(page: Path, tmp_path: Path) -> None:
    code = "\n\n".join(blocks(page.read_text(encoding="utf-8"), "python"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page.name}\n{done.stderr}"


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

"""What the hook of the documentation does to a page: code that breaks in the right places, Chinese without stray spaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = """
import sys
sys.path.insert(0, "tools")
import docs
for text in sys.argv[2:]:
    print(getattr(docs, sys.argv[1])(text))
"""


def _made(function: str, *texts: str) -> list[str]:
    """Of each text, by a function of the hook; in a process of its own, as the hook changes the path."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, function, *texts],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_code_in_a_line_breaks_where_its_names_do() -> None:
    pytest.importorskip("mkdocs")
    assert _made(
        "on_page_content",
        "<code>softknee plot gelu --derivative -o a.png</code>",
        "<code>ClampedSwiGLU</code> <code>gelu_tanh(cdf=0.25)</code>",
        "<pre><code>gelu_tanh --derivative</code></pre>",
    ) == [
        '<code>softknee plot gelu <span class="sk-whole">--derivative</span> <span class="sk-whole">-o</span> a.png</code>',
        "<code>Clamped<wbr>SwiGLU</code> <code>gelu_<wbr>tanh(<wbr>cdf=<wbr>0.25)</code>",
        "<pre><code>gelu_tanh --derivative</code></pre>",
    ]


def test_chinese_lines_are_joined_without_a_space() -> None:
    pytest.importorskip("mkdocs")
    assert _made("joined", "都无法\n让它恢复。\n只对", "relu\n单元", "잃지\n않는다") == [
        "都无法让它恢复。只对",
        "relu",
        "单元",
        "잃지",
        "않는다",
    ]

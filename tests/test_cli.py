"""The command line, as it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from softknee import __version__
from softknee.cli import app


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    if code:
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_help_and_version() -> None:
    assert run("--version").output.strip() == f"softknee {__version__}"
    for command in ("list", "show", "source", "plot", "animate", "gallery", "explore", "compare"):
        assert command in run("--help").output
        assert "Example: softknee" in run(command, "--help").output


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom softknee.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print(*(m for m in ('torch', 'numpy', 'matplotlib', 'scipy', 'rich', 'mpmath') if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ, timeout=120
    )
    assert done.stderr.strip() == ""


def test_list() -> None:
    assert "hardswish" in run("list", "--family", "gated", "--no-smooth").output
    assert "no activation is like that" in run("list", "nothing like it", code=1).output
    assert "there are: piecewise linear" in run("list", "--family", "curly", code=2).output


def test_show() -> None:
    output = run("show", "gelu", "elu(alpha=0.5)").output
    assert "Φ" in output
    assert "1.5335" in output
    assert "elu(alpha=0.5)" in output
    assert "threshold=..., value=..." in run("show", "threshold", code=2).output
    assert "threshold(threshold=1, value=0)" in run("show", "threshold(threshold=1, value=0)").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "gleu"), "did you mean"),
        (("show", "elu(alpha=)"), "elu(alpha=)"),
        (("show", "elu(beta=2)"), "has no parameter 'beta'"),
        (("show", "gelu(approximate=best)"), "approximate must be one of"),
        (("show", "softplus(beta=-1)"), "softplus needs"),
        (("source", "gelu", "--backend", "abacus"), "backend"),
        (("source", "gelu,silu"), "one activation, please"),
        (("plot", "gelu", "--out", "picture.jpg"), "png, svg, pdf"),
        (("plot", "gelu", "--x", "3"), "two numbers"),
        (("plot", "gelu", "--size", "poster"), "paper, wide, slide"),
        (("plot", "gelu", "--error"), "takes two"),
        (("plot", "gelu", "silu", "--vary", "mu=1,2"), "name one"),
        (("plot", "swish", "--vary", "gamma=1,2"), "no parameter 'gamma'"),
        (("plot", "swish", "--vary", "beta"), "beta=0.5,1,2"),
        (("plot", "gelu", "--ulp", "float12"), "dtype must be one of"),
        (("animate", "swish", "--vary", "beta=1"), "two ends"),
        (("animate", "swish", "--vary", "beta=1,2", "--out", "a.avi"), "gif or mp4"),
        (("compare", "--seeds", "some"), "--seeds takes numbers"),
        (("compare", "--activations", "gleu"), "gelu"),
        (("compare", "--data", "nowhere"), "nowhere"),
        (("plot",), "Missing argument"),
        (("nothing",), "No such command"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_status_2(words: tuple[str, ...], said: str) -> None:
    assert said in run(*words, code=2).output


def test_source() -> None:
    assert "define" in run("source", "silu", "--order", "1").output
    assert run("source", "silu", "--backend", "assembly").output != run("source", "silu").output


def test_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("plot", "gelu", "silu").output.strip() == "gelu-silu.png"
    assert Path("gelu-silu.png").read_bytes().startswith(b"\x89PNG")
    run("plot", "swish", "--vary", "beta=0.5,2", "--asymptotes", "--saturation", "--out", "family.pdf")
    run("plot", "gelu", "gelu(approximate=tanh)", "--error", "--derivative", "--out", "error.png")
    run("plot", "silu", "--ulp", "float32", "--x=-1,1", "--out", "ulp.png")
    run("animate", "swish", "--vary", "beta=0,2", "--frames", "2")
    assert all(
        Path(name).stat().st_size > 3000 for name in ("family.pdf", "error.png", "ulp.png", "swish.gif")
    )
    run("plot", "relu", "--derivative", "--dark", "--size", "wide", "--x=-2,2", "--y=-1,2", "--out", "r.svg")
    assert b"<svg" in Path("r.svg").read_bytes()


def test_compare(tmp_path: Path) -> None:
    words = ("compare", "--data", "iris", "--activations", "relu,elu(alpha=0.5)", "--seeds", "0,1", "--lr", "0.01", "--depth", "1",
             "--epochs", "1", "--width", "8", "--out", str(tmp_path))  # fmt: skip
    output = run(*words).output
    assert "elu(alpha=0.5)" in output
    assert "Answer" in output
    assert "elu(alpha=0.5)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (
        "0 runs trained, 2 found finished" in " ".join(run(*words).output.split())
        or "4 found" in run(*words).output
    )


def test_the_help_says_whole_sentences_of_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"], terminal_width=80).output
    assert "Compare activations" in shown
    assert "..." not in shown.replace("[ARGS]...", "")

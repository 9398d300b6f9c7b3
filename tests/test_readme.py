"""What the README and the documentation show runs: every block of Python, page by page, and every command.

A comment that begins with an arrow tells the value of its line. A block of text is what the Python before it prints.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import io
import re
import shlex
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import MagicMock

import click
import pytest
import torch
import typer
from typer.testing import CliRunner

from softknee import catalogue
from softknee.catalogue.gates import GATES
from softknee.cli import app

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
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=400)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return
    monkeypatch.chdir(tmp_path)
    given: dict[str, object] = {"__name__": "page"}
    printed = ""
    for number, (kind, code) in enumerate(told(page.read_text(encoding="utf-8")), 1):
        if kind == "text":
            assert not printed or printed.strip() == code.strip(), f"{page.name}, block {number}"
            continue
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()) as out:
            warnings.simplefilter("default")
            run(code, f"{page.name}, block {number}", given)
        printed = out.getvalue()


def told(text: str) -> list[tuple[str, str]]:
    """Blocks of Python and of text, in their order."""
    found = re.findall(r"^( *)```(python|text)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [(kind, textwrap.dedent(code)) for _, kind, code in found]


def run(code: str, name: str, given: dict[str, object]) -> None:
    """Statement by statement; where one ends in an arrow, its value must be what follows."""
    lines = code.splitlines()
    for node in ast.parse(code).body:
        claimed = re.search(r"  # → (.*)$", lines[(node.end_lineno or 1) - 1])
        if claimed and isinstance(node, ast.Expr):
            value = eval(compile(ast.Expression(node.value), name, "eval"), given)
            assert claimed[1] in (str(value), repr(value)), f"{name}: {value!r}"
        else:
            exec(compile(ast.Module([node], []), name, "exec"), given)


def test_the_readme_shows_python() -> None:
    assert ROOT / "README.md" in WITH_PYTHON


@pytest.mark.parametrize("line", ["1 + 1  # → 3", "'a'  # → b", "[1]  # → 1"])
def test_a_value_that_is_not_so_is_seen(line: str) -> None:
    with pytest.raises(AssertionError):
        run(line, "page", {})
    run("1 + 1  # → 2\n'a'  # → a", "page", {})


def test_callbacks_of_other_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks that need what is not installed here run with stand-ins."""
    from softknee.diagnose import callbacks
    from softknee.diagnose.timeline import Timeline

    bases = {n: type(n, (), {}) for n in ("Callback", "LightningModule", "TrainerCallback", "Trainer")}
    stand_in = types.SimpleNamespace(**bases)
    monkeypatch.setattr(callbacks, "import_module", lambda _: stand_in)
    for name in callbacks.__all__:
        monkeypatch.delitem(vars(callbacks), name, raising=False)
    given: dict[str, object] = {n: MagicMock() for n in ("lightning", "transformers", "model", "data", "run")}
    given["report"] = types.SimpleNamespace(timeline=Timeline((), steps=0, every=1, window=1))
    shown = blocks((ROOT / "docs" / "diagnosis.md").read_text(encoding="utf-8"), "py")
    assert len(shown) == 3
    for code in shown:
        run(code, "diagnosis.md", given)
    for name in callbacks.__all__:
        vars(callbacks).pop(name, None)
    assert all(p.name == "diagnosis.md" or not blocks(p.read_text(encoding="utf-8"), "py") for p in PAGES)


def test_the_code_of_generated_pages_runs() -> None:
    """The calls on the page of every activation and gated unit, and the checks of the exercises."""
    spec = importlib.util.spec_from_file_location("pages_of_the_documentation", ROOT / "tools" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    assert list(pages.ragged("| a | b |\n| --- | --- |\n| x | 1 / |y| |\n| `|z|` | |\n")) == [
        "| x | 1 / |y| |"
    ]
    imports = "from softknee import nn, functional as F\n"
    given = {"x": torch.ones(2, 64, device="meta")}  # computes nothing
    for definition in catalogue.all_definitions():
        run(imports + pages.usage(definition), definition.name, dict(given))
    for gate in GATES:
        (code,) = [c for c in blocks(pages.gate_page(gate), "python") if "F." in c]
        run(code, gate.name, given | {"gate": given["x"], "up": given["x"]})
    solved = blocks(pages.exercises.by_function(), "python")
    assert len(solved) > 10
    for code in solved:
        run(code, "exercises", {})


def test_a_chapter_that_is_not_translated_is_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    chapters = importlib.import_module("chapters")
    monkeypatch.setattr(chapters, "LEARN", tmp_path)
    (tmp_path / "new.md").write_text(
        "# New\n\n[there](../there.md)\n\n<!-- live 9rem: f=relu -->\n", encoding="utf-8"
    )
    assert chapters.chapter("new", "ru").startswith("# New\n\n[there](../../there.md)\n")
    (tmp_path / "ru").mkdir()
    (tmp_path / "ru" / "new.md").write_text("# Новое\n\n<!-- block 1 -->\n", encoding="utf-8")
    assert chapters.chapter("new", "ru") == "# Новое\n\n<!-- live 9rem: f=relu&lang=ru -->\n"


# Commands

#: what the commands that take long are given, so that they do little; later options count
LITTLE = {
    "compare": "--seeds 2 --epochs 1 --samples 50 --lr 0.01 --width 4 --out runs",
    "animate": "--frames 2",
    "bench": "--sizes 64 --repetitions 2 --out bench.jsonl",
    "explore": "--no-open",
}
#: needs other machines, packages, minutes, or a file that the page only names; or is several in one
ELSEWHERE = re.compile(
    r"--peers trans|--address|--store|--recommend|mymodel|model\.py|claims run|\bNAME\b|\.\.\.| \| "
)


def commands() -> Iterator[tuple[str, str]]:
    """Each with its page: the lines of its blocks, and what it says between backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = "\n".join(re.sub(r" *\\\n *", " ", block) for block in blocks(text, "bash"))
        inline = re.findall(
            r"`(softknee [^`]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
        )
        shown = [*re.findall(r"^(softknee .*?)(?: {2,}#.*)?$", code, re.MULTILINE), *inline]
        shown += [f"softknee plot {a}" for a in re.findall(r"<!-- picture: (.+?) -->", text)]
        yield from ((page.name, " ".join(one.split())) for one in dict.fromkeys(shown))


def silent(command: typer.core.TyperGroup) -> typer.core.TyperGroup:
    """With the same options, and nothing done."""
    for each in command.commands.values():
        if isinstance(each, typer.core.TyperGroup):
            each.invoke_without_command = True
            silent(each)
        each.callback = lambda **_: None
    return command


def test_commands_are_understood() -> None:
    """Every command that a page shows exists, and has the options and arguments that it is given."""
    shown = list(commands())
    assert len(shown) > 50
    command = silent(typer.main.get_command(app))  # type: ignore[arg-type]
    for page, line in shown:
        words = shlex.split(line)[1:]
        if len(words) == 1:
            assert words[0] in command.commands, f"{page}: {line}"
            continue
        try:
            command.main(words, standalone_mode=False)
        except click.ClickException as problem:
            pytest.fail(f"{page}: {line}: {problem.format_message()}")


@pytest.mark.exhaustive
@pytest.mark.parametrize("line", sorted({line for _, line in commands() if len(line.split()) > 2}))
def test_a_command_runs(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ELSEWHERE.search(line):
        pytest.skip("names what is elsewhere")
    monkeypatch.chdir(tmp_path)
    _, verb, *rest = shlex.split(line)
    done = CliRunner().invoke(app, [verb, *rest, *LITTLE.get(verb, "").split()])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = "\n".join(
        [
            *blocks(page.read_text(encoding="utf-8"), "bash"),
            *re.findall(r"`(make [a-z-]+)`", page.read_text(encoding="utf-8")),
        ]
    )
    assert set(re.findall(r"\bmake (?:-o \S+ )?([a-z-]+)", code)) <= targets


def test_the_versions_agree() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', text, re.MULTILINE)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    import softknee

    assert softknee.__version__ == version

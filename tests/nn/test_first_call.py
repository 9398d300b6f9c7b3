"""What a first call finds out is kept on disk; whatever the folder holds, results are the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from softknee import catalogue
from softknee.kernels import native
from softknee.lang import Node, symbol
from softknee.lang.stored import to_json
from softknee.nn import pointwise
from softknee.nn.runtime import Runtime

#: terms that cancel at 0, so that a series must be found: that alone takes longer than a first call with all of it may
NAME = "shifted_softplus"
SECONDS = 0.03
x = symbol("x")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOFTKNEE_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "_told", False)
    return tmp_path


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """The expressions that were made stable, not read"""
    every: list[Node] = []
    search = pointwise.stabilise
    monkeypatch.setattr(
        pointwise, "stabilise", lambda root, *given: every.append(root) or search(root, *given)
    )
    return every


def expressions() -> tuple[Node, ...]:
    """Those of a new operator and its gradient"""
    op = Runtime(catalogue.get(NAME)).operator({}, {})
    derived = op.backward((True,))
    assert derived is not None
    return op.expressions + derived[0].expressions


def same(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
    return all(m is n for m, n in zip(a, b, strict=True))


def test_they_are_read_again(cache: Path, found: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    first = expressions()
    assert len(found) == 2
    assert same(expressions(), first)
    assert len(found) == 2
    monkeypatch.setenv("SOFTKNEE_CACHE", "off")
    assert same(expressions(), first)
    assert len(found) == 4


def test_the_code_that_finds_them_is_part_of_the_key(
    cache: Path, found: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = expressions()
    monkeypatch.setattr(pointwise, "sources", lambda: "another version")
    assert same(expressions(), first)
    assert len(found) == 4


def test_all_that_is_given_is_part_of_the_key(cache: Path, found: list[Node]) -> None:
    root = x * symbol("beta")
    for inputs, samples, several in (
        (("x",), {}, False), (("x",), {}, True), (("x", "beta"), {}, False), (("x",), {"beta": (1.0, 2.0)}, False),
    ):  # fmt: skip
        pointwise._stabilised((root,), inputs, samples, several)
    assert len(found) == 4


def contents(body: bytes) -> bytes:
    return native._MAGIC + hashlib.sha256(body).digest() + body


DAMAGE = {
    "empty": b"",
    "cut": None,
    "foreign": b"x" * 500,
    "whole, but no text": contents(b"\x80\x04."),
    "whole, but no expressions": contents(b"{}"),
    "whole, but too few": contents(b"[[],[]]"),
    "whole, but of no language": contents(b'[[["exp",[],null]],[0]]'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(cache: Path, found: list[Node], damage: str) -> None:
    first = expressions()
    for path in cache.rglob("*.json"):
        path.write_bytes(path.read_bytes()[:-9] if (body := DAMAGE[damage]) is None else body)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(expressions(), first)
    assert len(found) == 4


def test_what_a_whole_file_says_is_taken(cache: Path) -> None:
    """Else the tests above would hold without a cache."""
    first = expressions()
    for path in cache.rglob("*.json"):
        path.write_bytes(contents(to_json(x + 1).encode()))
    assert not same(expressions(), first)


def test_no_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = expressions()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOFTKNEE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="not cached on disk"):
        assert same(expressions(), first)


CALL = """
import sys, time
import torch
import softknee.functional as F

call, dtype = sys.argv[1:]
x = torch.randn(64, 8, dtype=getattr(torch, dtype), requires_grad=True)
weight = torch.full((8,), 0.25, dtype=x.dtype, requires_grad=True)
start = time.process_time()
eval(call).sum().backward()
print(time.process_time() - start, *{"mpmath", "sympy"}.intersection(sys.modules))
"""


def test_shapes_that_differ_do_not_load_the_tracer() -> None:
    code = """
    import sys, torch, softknee.functional as F
    x = torch.randn(8, 6)
    F.prelu(x, x[0])
    F.swish(x, beta=x[:, :1])
    F.swiglu(x, x[:, :1])
    F.softmax(x, -1, mask=x[0] < 9)
    sys.exit("sympy" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False).returncode == 0


@pytest.mark.parametrize(
    ("call", "dtype"),
    [(f"F.{NAME}(x)", "float32"), (f"F.{NAME}(x)", "bfloat16"), ("F.prelu(x, weight)", "float32")],
)
def test_with_a_filled_cache_it_is_quick(cache: Path, call: str, dtype: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COV_", "COVERAGE_"))}
    command = [sys.executable, "-c", CALL, call, dtype]
    seconds = []
    for _ in range(3):
        done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
        took, *loaded = done.stdout.split()
        seconds.append(float(took))
    assert not loaded, "they take longer than all the rest"
    assert min(seconds[1:]) < SECONDS, f"first calls with a filled cache take {seconds[1:]} s"
